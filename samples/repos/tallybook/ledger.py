"""A ledger of two columns, in a text file of one entry a line."""
from __future__ import annotations

from collections import defaultdict
from decimal import Decimal, InvalidOperation
from pathlib import Path

from tabulate import tabulate


def parse(line: str) -> tuple[str, Decimal]:
    account, _, amount = line.rpartition(" ")
    try:
        return account.strip(), Decimal(amount)
    except InvalidOperation:
        raise ValueError(f"no amount in {line!r}") from None


def balances(path: Path) -> dict[str, Decimal]:
    sums: dict[str, Decimal] = defaultdict(Decimal)
    for line in path.read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            account, amount = parse(line)
            sums[account] += amount
    return dict(sums)


def table(sums: dict[str, Decimal]) -> str:
    return tabulate(sorted(sums.items()), headers=["account", "balance"], floatfmt=".2f")
