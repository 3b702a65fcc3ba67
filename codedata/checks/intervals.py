"""Compute confidence intervals of observed shares."""
import math

Z = 1.959963984540054   # the 97.5 % quantile of the standard normal distribution
CONFIDENCE = 0.95


def at_most(k: int, n: int, confidence: float = CONFIDENCE) -> float:
    """Return Clopper and Pearson's one-sided upper bound of a rate with k successes in n trials. At
    this rate, k or fewer successes have a chance of 1 - `confidence`."""
    low, high = k / n, 1.0
    ways = [math.lgamma(n + 1) - math.lgamma(i + 1) - math.lgamma(n - i + 1) for i in range(k + 1)]
    while k < n and high - low > 1e-12:
        rate = (low + high) / 2
        chance = sum(math.exp(way + i * math.log(rate) + (n - i) * math.log1p(-rate))
                     for i, way in enumerate(ways))   # logarithms: comb(n, i) may exceed a float
        low, high = (rate, high) if chance > 1 - confidence else (low, rate)
    return high


def wilson(value: float, n: float, z: float = Z) -> tuple[float, float]:
    """Return Wilson's score interval (low, high) for `value`, a share from 0 to 1 observed in `n`
    trials (n > 0). With the default `z`, the confidence level is 95 %."""
    middle = (value + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(value * (1 - value) / n + z * z / (4 * n * n))
    return max(0.0, middle - half), min(1.0, middle + half)


def by_both(yes: int, no: int, enough_yes: int, enough_no: int) -> tuple[float, float]:
    """Return the exact 95 % interval (low, high) of the share of "yes" if trials end as soon as
    there are `enough_yes` and `enough_no`. If only "no" is at its minimum, the last trial was a
    "no", and the low bound ignores it; if only "yes" is, the high bound ignores it."""
    n, half = yes + no, (1 + CONFIDENCE) / 2
    if no == enough_no and yes > enough_yes:
        return 1 - at_most(no - 1, n - 1, half), at_most(yes, n, half)
    if yes == enough_yes and no > enough_no:
        return 1 - at_most(no, n, half), at_most(yes - 1, n - 1, half)
    return 1 - at_most(no, n, half), at_most(yes, n, half)


def student_t(degrees: int) -> float:
    """Return the 97.5 % quantile of Student's t distribution, approximated by a series around the
    normal distribution.

    The result is within 1 % of the exact one from 4 degrees of freedom on.
    """
    v = max(degrees, 2)
    return Z + (Z**3 + Z) / (4 * v) + (5 * Z**5 + 16 * Z**3 + 3 * Z) / (96 * v**2)
