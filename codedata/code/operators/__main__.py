"""List the operators that `bug_inject.py scale` has.

  python -m codedata.code.operators --list

One line each: name, family, example before and after, languages; columns are aligned.
"""
from __future__ import annotations

import argparse
import signal
import sys

from codedata.code.operators import TABLES, operators

COLUMNS = ("name", "family", "before", "after", "languages")


def main(argv: list[str] | None = None) -> int:
    """Print the list of operators; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m codedata.code.operators", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--list", action="store_true", required=True, help="print the operators")
    parser.parse_args(argv)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)   # as in `… | head`
    rows = [COLUMNS, *_rows()]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(map(str.ljust, row, widths)).rstrip())
    return 0


def _rows() -> list[tuple[str, ...]]:
    """Return a row for each operator of each file, with the languages that share it."""
    languages: dict[str, list[str]] = {}
    for language, file in TABLES.items():
        languages.setdefault(file, []).append(language)
    return [(operator.name, operator.family, _line(operator.before), _line(operator.after),
             ", ".join(names)) for names in languages.values() for operator in operators(names[0])]


def _line(example: str) -> str:
    return example.strip().replace("\n", "\\n").replace("\t", "\\t")


if __name__ == "__main__":
    sys.exit(main())
