"""Odds of sums of dice, counted and thrown."""
from __future__ import annotations

import random
import time
from fractions import Fraction


def odds(dice: int, total: int, sides: int = 6) -> Fraction:
    ways = {0: 1}
    for _ in range(dice):
        after: dict[int, int] = {}
        for so_far, n in ways.items():
            for side in range(1, sides + 1):
                after[so_far + side] = after.get(so_far + side, 0) + n
        ways = after
    return Fraction(ways.get(total, 0), sides ** dice)


def throw(dice: int, sides: int = 6, seed: int | None = None) -> int:
    source = random.Random(time.time_ns() if seed is None else seed)
    return sum(source.randint(1, sides) for _ in range(dice))
