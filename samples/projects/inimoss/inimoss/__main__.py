"""Print one value: python3 -m inimoss FILE SECTION KEY"""
import sys
from pathlib import Path

from . import IniError, expand, loads


def main(argv):
    if len(argv) != 3:
        print(__doc__, file=sys.stderr)
        return 2
    path, section, key = argv
    try:
        print(expand(loads(Path(path).read_text(encoding="utf-8")))[section][key])
    except IniError as error:
        print(f"{path}: {error}", file=sys.stderr)
        return 1
    except KeyError:
        print(f"{path}: no {section}:{key}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
