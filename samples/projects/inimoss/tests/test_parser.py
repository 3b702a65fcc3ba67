import pytest

from inimoss import IniError, loads


def test_sections_and_keys():
    assert loads("[a]\nx = 1\n[b]\ny: 2\n") == {"a": {"x": "1"}, "b": {"y": "2"}}


def test_keys_above_the_first_header():
    assert loads("x = 1\n[a]\n") == {"": {"x": "1"}, "a": {}}


def test_whole_line_comments():
    assert loads("# one\n; two\n[a]\nx = 1\n") == {"a": {"x": "1"}}


def test_inline_comment():
    assert loads("[a]\nx = 1 ; one\ny = 2 # two\n") == {"a": {"x": "1", "y": "2"}}


def test_continuation_line():
    assert loads("[a]\nx = 1\n  2\n") == {"a": {"x": "1\n2"}}


def test_quotes_keep_spaces():
    assert loads("[a]\nx = ' 1 '\n") == {"a": {"x": " 1 "}}


def test_error_names_the_line():
    with pytest.raises(IniError, match="line 2"):
        loads("[a]\nnonsense\n")


def test_duplicate_key():
    with pytest.raises(IniError, match="duplicate"):
        loads("[a]\nx = 1\nx = 2\n")
