"""Run a script, a tool or a demo by its name: the command `codedata`.

  codedata king --root runs/mine --limit 3
  codedata duel --root runs/mine --dry-run   # what prompt, king, ch, validate … would cost
  codedata repo ../my-project --limit 5      # into runs/my-project
  codedata demo                              # into runs/demo
"""
from __future__ import annotations

import os
import runpy
import shlex
import sys
from itertools import takewhile

from codedata.run import cli
from codedata.terminal import HOME, command, runnable

# a tool in sh calls scripts by this Python, and names `codedata` in what it prints
RUN = 'export CODEDATA_PYTHON="$0" CODEDATA="$1"; shift; exec "$@"'


def main() -> None:
    """Run what the first word names, with the other words, and exit with its code."""
    word, *words = sys.argv[1:] or [""]
    programs = find_programs()
    path, *given = programs.get(word) or programs.get(word.replace("-", "_")) or [None]
    if path is None:
        cli.main(lambda: list_words(programs, word))
    interpreter, *lines = path.read_text(encoding="utf-8").splitlines()
    if "python" in interpreter:
        sys.argv = [str(path), *words]
        runpy.run_path(str(path), run_name="__main__")
    elif {"-h", "--help"}.intersection(words):
        header = takewhile(lambda line: line.startswith("#"), lines)
        print(*(runnable(line[2:]) for line in header), sep="\n")
    else:
        os.execvp("sh", ["sh", "-c", RUN, sys.executable, shlex.join(command()),
                         *interpreter[2:].split(), str(path), *given, *words])


def find_programs() -> dict[str, tuple]:
    """Return (the program of a word, its first words) by word."""
    programs = {path.stem: (path,) for pattern in ("*.py", "tools/*[a-z]")
                for path in HOME.glob(pattern) if path.read_bytes().startswith(b"#!")}
    demos = {path.stem: (path, f"runs/{path.stem}") for path in HOME.glob("samples/demo*.sh")}
    return programs | demos | {word: (HOME / "tools/chain", word) for word in ("duel", "loop")}


def list_words(programs: dict[str, tuple], word: str) -> int:
    """Print the words, to stderr where none or another one was given; return the exit code."""
    is_help = word in ("-h", "--help")
    out = sys.stdout if is_help else sys.stderr
    print(f"{__doc__}\nWORD is one of:", *sorted(programs), sep="\n  ", file=out)
    return 0 if is_help else 2


if __name__ == "__main__":
    main()
