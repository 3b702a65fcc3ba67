from decimal import Decimal
from pathlib import Path

import ledger
import pytest


@pytest.fixture
def book(tmp_path):
    path = tmp_path / "book.txt"
    path.write_text("# opening\nrent -800.00\nfood market -12.50\nfood market -7.50\n\nwages 2100\n")
    return path


def test_entries_of_an_account_are_added(book):
    assert ledger.balances(book) == {"rent": Decimal("-800.00"), "food market": Decimal("-20.00"),
                                     "wages": Decimal("2100")}


def test_a_line_without_an_amount_is_named():
    with pytest.raises(ValueError, match="rent due"):
        ledger.parse("rent due")


def test_the_table_is_sorted(book):
    assert ledger.table(ledger.balances(book)).splitlines()[2].startswith("food market")


def test_the_file_is_read_once(mocker, book):
    read = mocker.patch.object(Path, "read_text", return_value="a 1\n")
    ledger.balances(book)
    read.assert_called_once()
