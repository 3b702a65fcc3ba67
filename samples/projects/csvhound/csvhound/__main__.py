"""Print the dialect of a file: python3 -m csvhound FILE"""
import sys
from pathlib import Path

from .sniff import SniffError, rows, sniff

SHOWN = {"\t": "tab", "": "none"}


def main(argv=None):
    argv = sys.argv[1:] if argv is None else argv
    if len(argv) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    text = Path(argv[0]).read_text()
    try:
        dialect = sniff(text)
    except SniffError as error:
        print(f"csvhound: {argv[0]}: {error}", file=sys.stderr)
        return 1
    print(f"delimiter: {SHOWN.get(dialect.delimiter, dialect.delimiter)}")
    print(f"quote:     {SHOWN.get(dialect.quote, dialect.quote)}")
    print(f"header:    {'yes' if dialect.has_header else 'no'}")
    if dialect.has_header:
        print(f"columns:   {', '.join(rows(text, dialect)[0])}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
