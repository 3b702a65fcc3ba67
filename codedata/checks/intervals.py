"""Compute how far an observed share may be from the true one."""
from __future__ import annotations

import math

Z = 1.959963984540054   # the 97.5 % quantile of the standard normal distribution


def wilson(value: float, n: float, z: float = Z) -> tuple[float, float]:
    """Return Wilson's score interval (low, high) of a share `value`, from 0 to 1, that was observed
    in `n` > 0 trials. With the default `z` its confidence level is 95 %."""
    middle = (value + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(value * (1 - value) / n + z * z / (4 * n * n))
    return max(0.0, middle - half), min(1.0, middle + half)
