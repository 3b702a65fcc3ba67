"""Delimiter and quote from a sample of the text."""
from collections import Counter
from dataclasses import dataclass

from .header import looks_like_header

DELIMITERS = ",;\t|"
QUOTES = "\"'"
SAMPLE_LINES = 50


class SniffError(ValueError):
    """No dialect fits the text."""


@dataclass(frozen=True)
class Dialect:
    """How the text is written. A `quote` of "" says that none was seen."""
    delimiter: str
    quote: str = ""
    has_header: bool = False


def sniff(text, delimiters=DELIMITERS):
    """The likeliest Dialect of `text`; raises SniffError for one without columns."""
    lines = [line for line in text.splitlines() if line.strip()][:SAMPLE_LINES]
    if not lines:
        raise SniffError("the text is empty")
    quote = guess_quote(lines, delimiters)
    delimiter = guess_delimiter(lines, delimiters)
    cells = [split_row(line, delimiter, quote) for line in lines]
    return Dialect(delimiter, quote, looks_like_header(cells))


def guess_quote(lines, delimiters):
    """The quote that opens cells most often: at the start of a line or after a delimiter."""
    seen = Counter()
    for line in lines:
        before = delimiters[0]
        for char in line:
            if char in QUOTES and before in delimiters:
                seen[char] += 1
            before = char
    return seen.most_common(1)[0][0] if seen else ""


def guess_delimiter(lines, delimiters):
    """The candidate whose count is the same on the most lines; more columns win a tie."""
    best, best_score = None, (0, 0)
    for candidate in delimiters:
        counts = Counter(line.count(candidate) for line in lines)
        usual, agreeing = counts.most_common(1)[0]
        if usual and (agreeing, usual) > best_score:
            best, best_score = candidate, (agreeing, usual)
    if best is None:
        raise SniffError("no delimiter found")
    return best


def split_row(line, delimiter, quote=""):
    """The cells of one line. A doubled quote inside quotes stands for one."""
    cells, cell, quoted, at = [], "", False, 0
    while at < len(line):
        char = line[at]
        if quote and char == quote:
            if quoted and line[at + 1:at + 2] == quote:
                cell += quote
                at += 1
            else:
                quoted = not quoted
        elif char == delimiter and not quoted:
            cells.append(cell)
            cell = ""
        else:
            cell += char
        at += 1
    cells.append(cell)
    return cells


def rows(text, dialect):
    """Every row of the text as a list of cells, the header row too."""
    return [split_row(line, dialect.delimiter, dialect.quote)
            for line in text.splitlines() if line.strip()]
