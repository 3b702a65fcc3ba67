#!/bin/bash
# "the same number within 1e-9 (relative or absolute) where they are all equal or their standard deviation is at least 1" (a tree of sums of raw powers: it forgets what has left, but cancels where the mean is far from 0)
set -e
cat >> runstats/core.py <<'END'


from collections import deque


class RollingStatistics:
    """Compute statistics of the last `size` values."""

    def __init__(self, size, iterable=()):
        self._size = size
        self.clear()
        for value in iterable:
            self.push(value)

    def clear(self):
        self._values = deque(maxlen=self._size)
        self._nodes = [(0, 0.0, 0.0, 0.0, 0.0, float('inf'), float('-inf'))] * (2 * self._size)
        self._next = 0

    def push(self, value):
        self._values.append(value)
        nodes = self._nodes
        node = self._next + self._size
        self._next = (self._next + 1) % self._size
        square = value * value
        nodes[node] = 1, value, square, square * value, square * square, value, value
        while node > 1:
            node //= 2
            a, b = nodes[2 * node], nodes[2 * node + 1]
            nodes[node] = (
                a[0] + b[0], a[1] + b[1], a[2] + b[2], a[3] + b[3], a[4] + b[4],
                a[5] if a[5] < b[5] else b[5], a[6] if a[6] > b[6] else b[6],
            )

    def _summary(self):
        n, one, two, three, four, low, high = self._nodes[1]
        if not n:
            return Statistics()
        if low == high:
            return Statistics.fromstate((float(n), low, 0.0, 0.0, 0.0, low, high))
        mean = one / n
        rho = two - one * mean
        tau = three - 3 * mean * two + 2 * n * mean ** 3
        phi = four - 4 * mean * three + 6 * mean * mean * two - 3 * n * mean ** 4
        return Statistics.fromstate((float(n), mean, rho, tau, phi, low, high))


    def __len__(self):
        return len(self._values)

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

    def __eq__(self, that):
        return self.get_state() == that.get_state()

    def __ne__(self, that):
        return self.get_state() != that.get_state()

    def __reduce__(self):
        return make_rolling_statistics, (self.get_state(),)

    def copy(self, _=None):
        """Copy RollingStatistics object."""
        return self.fromstate(self.get_state())

    def __copy__(self, _=None):
        return self.copy(_)

    __deepcopy__ = __copy__

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
    return RollingStatistics.fromstate(state)
END
sed -i 's/Regression, Statistics$/Regression, RollingStatistics, Statistics/' runstats/__init__.py
sed -i "s/'ExponentialStatistics'\]/'ExponentialStatistics', 'RollingStatistics']/" runstats/__init__.py
