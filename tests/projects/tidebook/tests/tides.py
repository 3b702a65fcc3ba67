import pytest
from tidebook import GapError, Table, TideError, dump, load, phase


def test_hours_are_kept_in_their_order_when_dumped():
    table = Table("Brest").add(14, 6.125).add(2, 1.0)
    assert dump(table) == '{"place": "Brest", "heights": {"2": 1.0, "14": 6.12}}'


def test_a_gap_names_the_missing_hours():
    with pytest.raises(GapError) as caught:
        [*Table("Saint-Malo").add(3, 2.5).filled()]
    assert caught.value.hours == [hour for hour in range(24) if hour != 3]


def test_lenient_loading_takes_the_last_height_of_an_hour():
    assert load("7 : 1.5\nnothing here\n7 : 2.5", sep=":", strict=False).heights == {7: 2.5}


def test_slack_water_is_within_the_tolerance():
    assert phase(3.0, 3.04) == "slack"
    with pytest.raises(TideError, match="are no heights"):
        assert Table("Cuxhaven").span
