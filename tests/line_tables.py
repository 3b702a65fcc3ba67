"""Read tables written as text, one case on each line."""
import pytest


def rows(text: str) -> list:
    """Return the cells of each line, which `|` parts, for parametrize; lines with # are remarks."""
    lines = [line for line in text.splitlines() if line.strip() and line[0] != "#"]
    return [pytest.param(*map(str.strip, line.split("|")), id=line.strip()[:60]) for line in lines]
