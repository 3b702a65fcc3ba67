from saltpan import salinity


def test_fresh_water_has_none():
    assert salinity(0.0) == 0.0
