from inimoss import dumps, loads


def test_two_sections():
    assert dumps({"a": {"x": "1"}, "b": {"y": "2"}}) == "[a]\nx = 1\n\n[b]\ny = 2\n"


def test_round_trip():
    sections = {"": {"name": "demo"}, "a": {"x": "1", "y": "two words"}}
    assert loads(dumps(sections)) == sections
