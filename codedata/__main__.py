"""Run a script, a tool or a demo by its name: the command `codedata`.

  codedata king --root runs/mine --limit 3
  codedata duel --root runs/mine --dry-run   # what prompt, king, ch, validate … would cost
  codedata repo ../my-project --limit 5      # into runs/my-project
  codedata demo                              # into runs/demo
"""
from __future__ import annotations

import os
import re
import runpy
import shlex
import sys
from itertools import takewhile
from pathlib import Path

from codedata import __version__
from codedata.run import cli
from codedata.terminal import HOME, command, runnable, say
from codedata.texts import did_you_mean

# passes a shell tool the Python that runs scripts, and the command that its messages show
RUN = 'export CODEDATA_PYTHON="$0" CODEDATA="$1"; shift; exec "$@"'


def main() -> None:
    """Run the program named by the first word, with the other words; exit with its code."""
    word, *words = sys.argv[1:] or [""]
    if word == "--version":
        print(f"codedata {__version__}")
        return
    programs = find_programs()
    path, *given = programs.get(word) or programs.get(word.replace("-", "_")) or [None]
    if path is None:
        cli.main(lambda: list_words(programs, word))
    interpreter, *lines = path.read_text(encoding="utf-8").splitlines()
    if "python" in interpreter:
        sys.argv = [str(path), *given, *words]
        runpy.run_path(str(path), run_name="__main__")
    elif {"-h", "--help"}.intersection(words):
        header = takewhile(lambda line: line.startswith("#"), lines)
        print(*(runnable(line[2:]) for line in header), sep="\n")
    else:
        os.execvp("sh", ["sh", "-c", RUN, sys.executable, shlex.join(command()),
                         *interpreter[2:].split(), str(path), *given, *words])


def find_programs() -> dict[str, tuple]:
    """Return {word: (path of its program, fixed first arguments)}."""
    programs = {path.stem: (path,) for pattern in ("*.py", "tools/*[a-z]")
                for path in HOME.glob(pattern) if path.read_bytes().startswith(b"#!")}
    demos = {path.stem: (path, f"runs/{path.stem}") for path in HOME.glob("samples/demo*.sh")}
    chains = {word: (HOME / "tools/chain", word) for word in ("duel", "loop", "sessions")}
    return programs | demos | chains


def list_words(programs: dict[str, tuple], word: str) -> int:
    """Print the known words: to stdout for --help, else to stderr. Return the exit code."""
    is_help = word in ("-h", "--help")
    out = sys.stdout if is_help else sys.stderr
    print(f"{__doc__}\nWORD is one of:", *(
        f"{name:15}  {line_of(found[0])}" for name, found in sorted(programs.items())),
        sep="\n  ", file=out)
    if word and not is_help:
        say(f"\ncodedata: {word} is none of them. {did_you_mean(word, programs)}")
    return 0 if is_help else 2


def line_of(path: Path) -> str:
    """Return a program's purpose: the start of its docstring or header comment, up to a full stop,
    colon or semicolon."""
    text = path.read_text(encoding="utf-8").partition("\n")[2].lstrip('#" ').replace("\n# ", " ")
    return re.split(r"[.:;]\s", text)[0].replace("\n", " ")


if __name__ == "__main__":
    main()
