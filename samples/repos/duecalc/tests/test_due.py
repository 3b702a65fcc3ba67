from datetime import date

import pytest
from freezegun import freeze_time

from duecalc import due_date, is_overdue


@pytest.mark.parametrize("terms, expected", [
    ("0", date(2024, 1, 31)), ("30", date(2024, 3, 1)), ("eom", date(2024, 1, 31)), ("eom+1", date(2024, 2, 29)),
])
def test_due_date(terms, expected):
    assert due_date(date(2024, 1, 31), terms) == expected


def test_never_on_a_weekend():
    assert due_date(date(2024, 6, 1), "0") == date(2024, 6, 3)


def test_unknown_terms_are_refused():
    with pytest.raises(ValueError):
        due_date(date(2024, 1, 1), "soon")


@freeze_time("2024-02-01")
def test_overdue_from_the_day_after():
    assert is_overdue(date(2024, 1, 1), "30")
    assert not is_overdue(date(2024, 1, 2), "30")
