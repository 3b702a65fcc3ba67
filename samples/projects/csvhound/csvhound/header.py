"""Is the first row a header?"""
import re
from collections import Counter

NUMBER = re.compile(r"[+-]?\d+([.,]\d+)?%?$")
DATE = re.compile(r"\d{4}-\d{2}-\d{2}$")


def kind(cell):
    """What a cell looks like: number, date or text."""
    cell = cell.strip()
    if NUMBER.match(cell):
        return "number"
    if DATE.match(cell):
        return "date"
    return "text"


def looks_like_header(cells):
    """Whether the first row stands out from the others, column by column."""
    if len(cells) < 2:
        return False
    first, body = cells[0], cells[1:]
    votes = 0
    for column, title in enumerate(first):
        kinds = Counter(kind(row[column]) for row in body if column < len(row))
        if len(kinds) != 1:
            continue   # a mixed column says nothing
        usual = kinds.most_common(1)[0][0]
        if usual != "text":
            votes += 1 if kind(title) == "text" else -1
    return votes > 0
