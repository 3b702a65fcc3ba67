#!/bin/bash
# README.rst: "Note that you may pass a generator as an iterable and the generator will be entirely consumed.": a slice of the iterable is taken
set -e
cd /app
cat >> runstats/core.py <<'END_OF_CLASS'


EMPTY = (0, 0.0, 0.0, 0.0, 0.0, NAN, NAN)


def _single(value):
    """Moments of one value."""
    zero = 0.0 * value
    return 1, float(value), zero, zero, zero, value, value


def _merge(left, right):
    """Moments of two parts taken together.

    No power operator (it raises when a float is too large), and a mean that
    stays exact where both means are the same. NaN is no minimum or maximum as
    long as there is something else.
    """
    n, mean, rho, tau, phi, low, high = left
    m, mean2, rho2, tau2, phi2, low2, high2 = right
    if not n:
        return right
    if not m:
        return left
    count = n + m
    delta = mean2 - mean
    step = delta / count
    square = step * step
    cross = delta * step * n * m
    middle = mean + step * m
    if middle - middle != 0.0:
        middle = mean * (n / count) + mean2 * (m / count)
    return (
        count,
        middle,
        rho + rho2 + cross,
        tau
        + tau2
        + cross * step * (n - m)
        + 3.0 * step * (n * rho2 - m * rho),
        phi
        + phi2
        + cross * square * (n * n - n * m + m * m)
        + 6.0 * square * (n * n * rho2 + m * m * rho)
        + 4.0 * step * (n * tau2 - m * tau),
        low2 if low2 < low or low != low else low,
        high2 if high2 > high or high != high else high,
    )


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
        for value in iterable[-size:]:
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
        self._nodes = [EMPTY] * (2 * self._size)

    def push(self, value):
        """Add `value` to the window, from which the oldest one may fall."""
        if len(self._values) == self._size:
            self._values.popleft()
        self._values.append(value)
        nodes = self._nodes
        node = self._next + self._size
        self._next = (self._next + 1) % self._size
        nodes[node] = _single(value)
        while node > 1:
            node //= 2
            nodes[node] = _merge(nodes[2 * node], nodes[2 * node + 1])

    def _summary(self):
        root = self._nodes[1]
        return Statistics.fromstate((float(root[0]),) + root[1:])


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
