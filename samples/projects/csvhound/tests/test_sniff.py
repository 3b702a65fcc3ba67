from pathlib import Path

import pytest

from csvhound import Dialect, SniffError, rows, sniff, split_row

DATA = Path(__file__).parent / "data"


def test_comma():
    assert sniff("a,b\n1,2\n").delimiter == ","


def test_semicolon_with_decimal_commas():
    assert sniff("name;price\nnail;0,05\nscrew;0,10\n").delimiter == ";"


def test_tab():
    assert sniff("a\tb\n1\t2\n").delimiter == "\t"


def test_quote():
    assert sniff("'a','b'\n'1','2'\n").quote == "'"
    assert sniff("a,b\nit's,1\n").quote == ""


def test_no_delimiter():
    with pytest.raises(SniffError, match="no delimiter"):
        sniff("one\ntwo\n")


def test_empty():
    with pytest.raises(SniffError, match="empty"):
        sniff("\n\n")


def test_split_row_doubled_quote():
    assert split_row('"a ""b""",c', ",", '"') == ['a "b"', "c"]


def test_rows():
    assert rows("a|b\n\nc|d\n", Dialect("|")) == [["a", "b"], ["c", "d"]]


def test_orders_file():
    dialect = sniff((DATA / "orders.csv").read_text())
    assert dialect == Dialect(";", '"', True)
