"""Compute confidence intervals of observed shares."""
import math

Z = 1.959963984540054   # the 97.5 % quantile of the standard normal distribution
CONFIDENCE = 0.95


def at_most(k: int, n: int, confidence: float = CONFIDENCE) -> float:
    """Return the highest rate that gives k or fewer successes in n trials a chance of at least
    1 - `confidence`: the one-sided upper bound of Clopper and Pearson."""
    low, high = k / n, 1.0
    ways = [math.lgamma(n + 1) - math.lgamma(i + 1) - math.lgamma(n - i + 1) for i in range(k + 1)]
    while k < n and high - low > 1e-12:
        rate = (low + high) / 2
        chance = sum(math.exp(way + i * math.log(rate) + (n - i) * math.log1p(-rate))
                     for i, way in enumerate(ways))   # logarithms, as comb(n, i) exceeds a float
        low, high = (rate, high) if chance > 1 - confidence else (low, rate)
    return high


def wilson(value: float, n: float, z: float = Z) -> tuple[float, float]:
    """Return Wilson's score interval (low, high) for a share `value`, from 0 to 1, observed in `n`
    > 0 trials. With the default `z`, its confidence level is 95 %."""
    middle = (value + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(value * (1 - value) / n + z * z / (4 * n * n))
    return max(0.0, middle - half), min(1.0, middle + half)


def by_both(yes: int, no: int, enough_yes: int, enough_no: int) -> tuple[float, float]:
    """Return the exact 95 % interval (low, high) of a share if trials end as soon as there are
    enough of both kinds. The last trial has the kind with just enough trials, so one bound uses all
    trials, the other one all but the last."""
    n, half = yes + no, (1 + CONFIDENCE) / 2
    if no == enough_no and yes > enough_yes:
        return 1 - at_most(no - 1, n - 1, half), at_most(yes, n, half)
    if yes == enough_yes and no > enough_no:
        return 1 - at_most(no, n, half), at_most(yes - 1, n - 1, half)
    return 1 - at_most(no, n, half), at_most(yes, n, half)
