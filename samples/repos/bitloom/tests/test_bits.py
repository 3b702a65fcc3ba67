import pytest

from bitloom import distance, popcount


@pytest.mark.parametrize("data, count", [(b"", 0), (b"\x00", 0), (b"\xff\x01", 9), (bytes(range(256)), 1024)])
def test_popcount(data, count):
    assert popcount(data) == count


def test_any_buffer_will_do():
    assert popcount(memoryview(bytearray(b"\x0f"))) == 4


def test_text_is_refused():
    with pytest.raises(TypeError):
        popcount("text")


def test_distance():
    assert distance(b"\x00\xf0", b"\x01\xf0") == 1
    with pytest.raises(ValueError):
        distance(b"a", b"ab")
