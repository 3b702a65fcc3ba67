"""Work on the jobs of a directory: python3 -m spool work DIR"""
import argparse
from pathlib import Path

from spool.worker import work


def main() -> None:
    parser = argparse.ArgumentParser(prog="spool", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("work", help="run jobs until all have ended")
    command.add_argument("directory", type=Path, metavar="DIR")
    work(parser.parse_args().directory.absolute())


if __name__ == "__main__":
    main()
