"""Change single lines by the patterns of generic.toml, in languages that have no mutation operators
of their own (codedata/code/operators/).

The patterns are for families of languages and ignore syntax, so a changed file may not parse.
"""
from __future__ import annotations

import re
from collections.abc import Container, Iterator

from codedata.code.entities import language_of
from codedata.texts import toml_of

TABLES = toml_of(__package__, "generic.toml")
MAX_LINE = 500   # bytes of a line to search


def language_or_family(path: str, text: bytes) -> str:
    """Return the language of a file, or else the first family of generic.toml that matches its path
    and the start of its text."""
    head = f"{path}\n{_characters(text)}"
    return language_of(path) or next(name for name, family in TABLES["families"].items()
                                     if re.search(family["files"], head))


def pattern_edits(family: str, text: bytes,
                  lines: Container[int]) -> Iterator[tuple[str, int, int, bytes]]:
    """Yield (operator, start, end, replacement) for each possible change of these lines."""
    skip = TABLES["families"][family]["skip"]
    operators = [one for one in TABLES["operators"] if family in one["families"]]
    at = 0
    for number, line in enumerate(text.split(b"\n"), 1):
        searched = re.split(skip, _characters(line), maxsplit=1)[0] if number in lines else ""
        for operator in operators if searched else ():
            for match in re.finditer(operator["pattern"], searched):
                for new in _replacements(match, operator["to"]):
                    yield operator["name"], at + match.start(), at + match.end(), new
        at += len(line) + 1


def _replacements(match: re.Match[str], to: list[str | int]) -> list[bytes]:
    texts = [match.expand(one) if isinstance(one, str)
             else str(abs(int(match[0]) + one))   # 0 - 1 becomes 1
             for one in to]
    return [text.encode("latin-1") for text in texts]


def _characters(text: bytes) -> str:
    """Return the start of a text with one character for each byte."""
    return text[:MAX_LINE].decode("latin-1")
