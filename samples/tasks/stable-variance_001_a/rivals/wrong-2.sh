#!/bin/bash
# "the same errors where they are too few or all equal": the sum of Statistics rounds the mean of equal values, and its powers raise for huge ones
set -e
cd /app
cat >> runstats/core.py <<'END_OF_CLASS'


class RollingStatistics:
    """Compute statistics of the last `size` values.

    Offers the readings of Statistics for the values in the window.
    """

    def __init__(self, size=1, iterable=()):
        """Initialize RollingStatistics object of `size` values.

        Iterates optional parameter `iterable` and pushes each value into the
        window.
        """
        self._size = size
        self.clear()
        for value in iterable:
            self.push(value)

    def __eq__(self, that):
        return self.get_state() == that.get_state()

    def __ne__(self, that):
        return self.get_state() != that.get_state()

    def get_state(self):
        """Get internal state."""
        return self._size, tuple(self._values)

    def set_state(self, state):
        """Set internal state."""
        self._size, values = state
        self.clear()
        for value in values:
            self.push(value)

    @classmethod
    def fromstate(cls, state):
        """Return RollingStatistics object from state."""
        return cls(*state)

    def __reduce__(self):
        return make_rolling_statistics, (self.get_state(),)

    def copy(self, _=None):
        """Copy RollingStatistics object."""
        return self.fromstate(self.get_state())

    def __copy__(self, _=None):
        """Copy RollingStatistics object."""
        return self.copy(_)

    __deepcopy__ = __copy__

    def __len__(self):
        """Number of values in the window."""
        return len(self._values)

    def minimum(self):
        """Minimum of values."""
        return self._summary().minimum()

    def maximum(self):
        """Maximum of values."""
        return self._summary().maximum()

    def mean(self):
        """Mean of values."""
        return self._summary().mean()

    def variance(self, ddof=1.0):
        """Variance of values (with `ddof` degrees of freedom)."""
        return self._summary().variance(ddof)

    def stddev(self, ddof=1.0):
        """Standard deviation of values (with `ddof` degrees of freedom)."""
        return self._summary().stddev(ddof)

    def skewness(self):
        """Skewness of values."""
        return self._summary().skewness()

    def kurtosis(self):
        """Kurtosis of values."""
        return self._summary().kurtosis()

    def clear(self):
        """Clear RollingStatistics object."""
        self._values = deque()
        self._next = 0
        self._nodes = [Statistics()] * (2 * self._size)

    def push(self, value):
        """Add `value` to the window, from which the oldest one may fall."""
        if len(self._values) == self._size:
            self._values.popleft()
        self._values.append(value)
        nodes = self._nodes
        node = self._next + self._size
        self._next = (self._next + 1) % self._size
        nodes[node] = Statistics([value])
        while node > 1:
            node //= 2
            nodes[node] = nodes[2 * node] + nodes[2 * node + 1]

    def _summary(self):
        return self._nodes[1]


def make_rolling_statistics(state):
    """Make RollingStatistics object from state."""
    return RollingStatistics.fromstate(state)
END_OF_CLASS
python3 - <<'END_OF_EDIT'
import re
path = 'runstats/core.py'
text = open(path).read()
text = text.replace("from __future__ import division\n", "from __future__ import division\n\nfrom collections import deque\nfrom itertools import islice\n", 1)
open(path, 'w').write(text)
path = 'runstats/__init__.py'
text = open(path).read()
text = re.sub(r"import ExponentialStatistics, Regression, Statistics", "import ExponentialStatistics, Regression, RollingStatistics, Statistics", text)
text = text.replace("'ExponentialStatistics']", "'ExponentialStatistics', 'RollingStatistics']")
open(path, 'w').write(text)
END_OF_EDIT
