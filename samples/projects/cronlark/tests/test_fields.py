import pytest

from cronlark.fields import HOUR, MINUTE, MONTH, WEEKDAY, CronError, parse_field


def test_star():
    assert parse_field("*", HOUR) == frozenset(range(24))


def test_list_and_range():
    assert parse_field("1,5-7", HOUR) == {1, 5, 6, 7}


def test_star_with_step():
    assert parse_field("*/20", MINUTE) == {0, 20, 40}


def test_range_with_step():
    assert parse_field("1-9/4", HOUR) == {1, 5, 9}


def test_words():
    assert parse_field("jan,DEC", MONTH) == {1, 12}
    assert parse_field("mon-wed", WEEKDAY) == {1, 2, 3}


def test_out_of_bounds():
    with pytest.raises(CronError, match="minute: 60 is not in 0-59"):
        parse_field("60", MINUTE)


def test_backwards_range():
    with pytest.raises(CronError, match="backwards"):
        parse_field("9-5", HOUR)
