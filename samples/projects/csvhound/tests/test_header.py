from csvhound import looks_like_header


def test_text_over_numbers():
    assert looks_like_header([["name", "age"], ["ann", "41"], ["bo", "7"]])


def test_numbers_all_the_way():
    assert not looks_like_header([["1", "2"], ["3", "4"]])


def test_text_all_the_way():
    assert not looks_like_header([["a", "b"], ["c", "d"]])


def test_one_row():
    assert not looks_like_header([["name", "age"]])


def test_dates():
    assert looks_like_header([["day", "note"], ["2024-01-01", "x"], ["2024-01-02", "y"]])
