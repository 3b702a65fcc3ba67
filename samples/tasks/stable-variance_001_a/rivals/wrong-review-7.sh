#!/bin/bash
# "whatever floats (huge, infinite, NaN) have gone through it before, each reading does what that of a `Statistics` newly made of its values does" (small windows are gone over; in large ones sums run forwards and backwards, without what is beyond 1000, and keep the rounding of the wide values that have left)
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
        self._values = deque()
        self._forget()
        self._lows, self._highs, self._same = deque(), deque(), 0
        self._place = 0
        self._last = None

    def _forget(self):
        self._n, self._m, self._rho, self._tau, self._phi = 0, 0.0, 0.0, 0.0, 0.0

    def _add(self, value):
        n1 = self._n
        self._n = n = n1 + 1
        delta = value - self._m
        step = delta / n
        term = delta * step * n1
        self._m += step
        self._phi += term * step * step * (n * n - 3 * n + 3) + 6 * step * step * self._rho - 4 * step * self._tau
        self._tau += term * step * (n - 2) - 3 * step * self._rho
        self._rho += term

    def _take(self, value):
        n = self._n
        self._n = n1 = n - 1
        if not n1:
            return self._forget()
        step = (value - self._m) / n1
        self._m -= step
        delta = value - self._m
        step = delta / n
        term = delta * step * n1
        self._rho -= term
        self._tau -= term * step * (n - 2) - 3 * step * self._rho
        self._phi -= term * step * step * (n * n - 3 * n + 3) + 6 * step * step * self._rho - 4 * step * self._tau

    def push(self, value):
        values = self._values
        values.append(value)
        self._same = self._same + 1 if value == self._last else 1
        self._last = value
        place = self._place
        self._place += 1
        if value == value:
            while self._lows and self._lows[-1][1] >= value:
                self._lows.pop()
            self._lows.append((place, value))
            while self._highs and self._highs[-1][1] <= value:
                self._highs.pop()
            self._highs.append((place, value))
        for ends in (self._lows, self._highs):
            while ends and ends[0][0] <= place - self._size:
                ends.popleft()
        if len(values) > self._size:
            old = values.popleft()
            if self._size > 1000 and -1000 <= old <= 1000:
                self._take(old)
        if self._size > 1000 and -1000 <= value <= 1000:
            self._add(value)

    def _summary(self):
        n = len(self._values)
        if not n:
            return Statistics()
        low = self._lows[0][1] if self._lows else NAN
        high = self._highs[0][1] if self._highs else NAN
        if self._size <= 1000:
            return Statistics(self._values)
        if self._same >= n:
            return Statistics.fromstate((float(n), low, 0.0, 0.0, 0.0, low, high))
        return Statistics.fromstate((float(n), self._m, self._rho, self._tau, self._phi, low, high))


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
