"""List the faults of a task's folder, each with its remedy.

  python -m codedata.tasks check task/mine

reads   FOLDER/                 a task as in docs/tasks.md, made by codedata or by others
writes  nothing

Nothing is run, so no container engine is needed. Exit codes: 0 no fault, 1 faults, 2 usage.
"""
from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

from codedata.tasks.folder.check import faults_of
from codedata.terminal import plural, say
from codedata.texts import printable

MAX_CHARS = 10_000   # for one printed fault


def main(argv: list[str] | None = None) -> int:
    """Print the faults of a folder, one on each line; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m codedata.tasks", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("word", choices=["check"], help="what to do")
    parser.add_argument("folder", metavar="FOLDER", type=Path)
    args = parser.parse_args(argv)
    again = f"python -m codedata.tasks check {shlex.quote(str(args.folder))}"
    faults = faults_of(args.folder)
    for fault in faults:
        print(printable(f"{args.folder / fault.place}: {fault.what}. {fault.todo}", MAX_CHARS))
    if faults:
        say(f"check  {plural(len(faults), 'fault')}   again: {again}")
        return 1
    say("check  no fault   next: python export.py --formats harbor; tools/run-harbor export/harbor")
    return 0


if __name__ == "__main__":
    sys.exit(main())
