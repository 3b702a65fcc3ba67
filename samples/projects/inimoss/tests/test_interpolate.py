import pytest

from inimoss import InterpolationError, expand


def test_same_section():
    assert expand({"a": {"x": "1", "y": "${x}2"}}) == {"a": {"x": "1", "y": "12"}}


def test_other_section():
    assert expand({"a": {"x": "1"}, "b": {"y": "${a:x}"}})["b"] == {"y": "1"}


def test_chain():
    assert expand({"a": {"x": "1", "y": "${x}", "z": "${y}"}})["a"]["z"] == "1"


def test_missing():
    with pytest.raises(InterpolationError, match="no value for a:q"):
        expand({"a": {"x": "${q}"}})
