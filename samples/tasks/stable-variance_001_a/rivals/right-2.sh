#!/bin/bash
# exact power sums in whole numbers
set -e
cd /app
cat >> runstats/core.py <<'END_OF_CLASS'


UNIT = 2 ** 1074


def _ratio(top, bottom):
    """Quotient of whole numbers as the nearest float."""
    try:
        return top / bottom
    except OverflowError:
        return float('inf') if top > 0 else -float('inf')


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
        self._sums = [0, 0, 0, 0]
        self._odd = 0
        self._first = 0
        self._lows = deque()
        self._highs = deque()

    def _account(self, value, sign):
        """Add a value to the exact power sums, or take it out of them."""
        if value - value != 0:
            self._odd += sign
            return
        top, bottom = float(value).as_integer_ratio()
        number = top * (UNIT // bottom)
        power = sign
        for index in range(4):
            power *= number
            self._sums[index] += power

    def push(self, value):
        """Add `value` to the window, from which the oldest one may fall."""
        if len(self._values) == self._size:
            self._account(self._values.popleft(), -1)
            for queue in (self._lows, self._highs):
                if queue and queue[0][0] == self._first:
                    queue.popleft()
            self._first += 1
        place = self._first + len(self._values)
        self._values.append(value)
        self._account(value, 1)
        if value == value:
            while self._lows and self._lows[-1][1] >= value:
                self._lows.pop()
            self._lows.append((place, value))
            while self._highs and self._highs[-1][1] <= value:
                self._highs.pop()
            self._highs.append((place, value))

    def _summary(self):
        count = len(self._values)
        low = self._lows[0][1] if self._lows else NAN
        high = self._highs[0][1] if self._highs else NAN
        if not count:
            return Statistics()
        if self._odd:
            return Statistics.fromstate(
                (float(count), NAN, NAN, NAN, NAN, low, high)
            )
        s1, s2, s3, s4 = self._sums
        unit = UNIT
        return Statistics.fromstate(
            (
                float(count),
                _ratio(s1, unit * count),
                _ratio(count * s2 - s1 * s1, unit ** 2 * count),
                _ratio(
                    count * count * s3 - 3 * count * s1 * s2 + 2 * s1 ** 3,
                    unit ** 3 * count ** 2,
                ),
                _ratio(
                    count ** 3 * s4
                    - 4 * count ** 2 * s1 * s3
                    + 6 * count * s1 * s1 * s2
                    - 3 * s1 ** 4,
                    unit ** 4 * count ** 3,
                ),
                low,
                high,
            )
        )


def make_rolling_statistics(state):
    """Make RollingStatistics object from state."""
    return RollingStatistics.fromstate(state)
END_OF_CLASS
python3 - <<'END_OF_EDIT'
import re
path = 'runstats/core.py'
text = open(path).read()
text = text.replace("from __future__ import division\n", "from __future__ import division\n\nfrom collections import deque\n", 1)
open(path, 'w').write(text)
path = 'runstats/__init__.py'
text = open(path).read()
text = re.sub(r"import ExponentialStatistics, Regression, Statistics", "import ExponentialStatistics, Regression, RollingStatistics, Statistics", text)
text = text.replace("'ExponentialStatistics']", "'ExponentialStatistics', 'RollingStatistics']")
open(path, 'w').write(text)
END_OF_EDIT
