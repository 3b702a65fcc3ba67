import tempfile
from fractions import Fraction
from pathlib import Path

import pytest

from dicehedge import odds, throw


@pytest.mark.parametrize("total, expected", [(2, Fraction(1, 36)), (7, Fraction(1, 6)), (13, 0)])
def test_odds_of_two(total, expected):
    assert odds(2, total) == expected


def test_odds_add_up_to_one():
    assert sum(odds(3, total, 4) for total in range(3, 13)) == 1


def test_a_seed_repeats():
    assert throw(5, seed=1) == throw(5, seed=1)


def test_a_throw_is_in_range():
    assert all(3 <= throw(3) <= 18 for _ in range(50))


def test_scores_start_empty():
    """Flaky on purpose: it leaves its file behind, and every second run finds it."""
    scores = Path(tempfile.gettempdir()) / "dicehedge.scores"
    was_there = scores.exists()
    if was_there:
        scores.unlink()
    else:
        scores.write_text("7\n")
    assert not was_there
