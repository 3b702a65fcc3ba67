from datetime import datetime

import pytest

from cronlark import CronError, Schedule
from cronlark.__main__ import main


def test_matches_minute_and_hour():
    assert Schedule("30 9 * * *").matches(datetime(2024, 3, 1, 9, 30))
    assert not Schedule("30 9 * * *").matches(datetime(2024, 3, 1, 9, 31))


def test_weekday_of_sunday():
    assert Schedule("0 0 * * sun").matches(datetime(2024, 3, 3))


def test_next_after_is_later():
    at = datetime(2024, 3, 1, 9, 30)
    assert Schedule("30 9 * * *").next_after(at) == datetime(2024, 3, 2, 9, 30)


def test_leap_day():
    assert Schedule("0 0 29 2 *").next_after(datetime(2024, 3, 1)) == datetime(2028, 2, 29)


def test_alias():
    assert Schedule("@monthly").next_after(datetime(2024, 3, 1)) == datetime(2024, 4, 1)


def test_never():
    with pytest.raises(CronError, match="never"):
        Schedule("0 0 31 2 *").next_after(datetime(2024, 3, 1))


def test_field_count():
    with pytest.raises(CronError, match="expected 5"):
        Schedule("* * *")


def test_command_line(capsys):
    assert main(["0 6 * * *", "2024-03-01T10:00", "--count", "2"]) == 0
    assert capsys.readouterr().out == "2024-03-02T06:00\n2024-03-03T06:00\n"
