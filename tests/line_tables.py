"""Read the cases of tests: a table with one on each line, or a TOML file beside the test."""
from pathlib import Path

import pytest

from codedata.texts import tomllib


def toml_beside(test: str, name: str) -> dict:
    """Return what a TOML file holds that lies beside a test, whose `__file__` is given."""
    return tomllib.loads((Path(test).parent / name).read_text("utf-8"))


def rows(text: str) -> list:
    """Return the cells of each line, which `|` parts, for parametrize; lines with # are remarks."""
    lines = [line for line in text.splitlines() if line.strip() and line[0] != "#"]
    return [pytest.param(*map(str.strip, line.split("|")), id=line.strip()[:60]) for line in lines]
