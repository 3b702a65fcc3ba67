"""Format and print lines for the terminal.

Everything goes to stderr. Control characters never reach the terminal.
"""
from __future__ import annotations

import logging
import os
import re
import shlex
import shutil
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from codedata.driver import in_driver
from codedata.texts import printable, terminal_safe

log = logging.getLogger(__name__)   # receives every printed line, for --log-file
NAMED = 3   # maximum number of items that a line lists by name
_IN_WHEEL = Path(__file__).with_name("scripts")
IS_INSTALLED = _IN_WHEEL.is_dir()   # from a wheel, not a clone of the repository
HOME = _IN_WHEEL if IS_INSTALLED else _IN_WHEEL.parents[1]   # holds scripts, tools and samples
# matches commands in messages; _completed() adds this Python, the scripts' folder and the root
COMMAND = re.compile(r"(?<![\w./-])(?:python (\w+\.py)\b|(tools/[\w-]+)|python(?= -m codedata\b)"
                     r"|(pip install)(?= '\.| --no-deps llm)|(?<=pip install )'\.)(?=([^\n]*))")
_root: list[str] = []   # as given by --root; empty for the current folder


@in_driver
def say(text: str) -> None:
    """Print a line on stderr, and log it.

    If stderr is a closed pipe, continue silently: the answers are already paid for.
    """
    text = terminal_safe(runnable(text))
    log.info(text)
    try:
        print(text, file=sys.stderr, flush=True)
    except (OSError, ValueError):
        _go_silent(2)


def work_in(root: str) -> None:
    """Add --root with this root to commands in messages."""
    _root[:] = [root] * (root != ".")


def runnable(text: str) -> str:
    """Return a text whose commands (`python king.py …`, pip's) can be copied and run."""
    return COMMAND.sub(_completed, text)


def _completed(match: re.Match) -> str:
    script, tool, install, rest = match.groups()
    this = shlex.quote(python())
    if script:
        root = ["--root", *_root] if _root and "--root" not in rest else []
        return shlex.join([*program(script), *root])
    if tool:
        return shlex.join(program(tool))
    if install:   # an environment of uv has no pip
        return f"{this} -m {install}" if find_spec("pip") else f"uv {install} --python {this}"
    return this if match[0] == "python" else f"'{'codedata' if IS_INSTALLED else HOME}"


def python() -> str:
    """Return the path of this Python, which has the packages of its environment."""
    return _from_here(sys.executable)


def program(script: str) -> list[str]:
    """Return the command, as words, that runs one of our scripts or tools from the current folder.
    """
    path = HOME / script
    if path.exists() and IS_INSTALLED:
        return [*command(), path.stem]
    shown = _from_here(str(path)) if path.exists() else script
    return [python(), shown] if path.suffix else [shown]


def command() -> list[str]:
    """Return the command, as words, that runs `codedata` from the current folder."""
    beside = Path(sys.executable).with_name("codedata")
    found = shutil.which("codedata")
    if found and os.path.realpath(found) == os.path.realpath(beside):
        return ["codedata"]
    return [_from_here(str(beside))] if beside.exists() else [python(), "-m", "codedata"]


def _from_here(path: str) -> str:
    short = os.path.relpath(path)
    return path if short.startswith("..") else short


def write_out() -> None:
    """Flush stdout; ignore a reader that has ended, such as `head`."""
    try:
        print(end="", flush=True)
    except BrokenPipeError:
        _go_silent(1)


def _go_silent(stream: int) -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream)   # the interpreter's flush at exit then does not fail


def usd(cost: float) -> str:
    """Return an amount as "$1.23", with four decimals below one dollar."""
    return f"${cost:.2f}" if cost >= 1 or not cost else f"${cost:.4f}"


@dataclass
class Spending:
    """Add up calls and their costs. str() never shows an unknown cost as 0."""

    n_calls: float = 0      # a fraction in some estimates
    n_unpriced: float = 0   # calls whose cost is unknown
    cost_usd: float = 0.0   # without the unpriced calls
    n_uncounted: float = 0  # unpriced calls whose endpoint reported no usage

    def add(self, call: dict) -> None:
        """Add a call, or a sum of `n` calls from a compacted ledger."""
        n = call.get("n", 1)
        self.n_calls += n
        if call["cost_usd"] is None:
            self.n_unpriced += n
            self.n_uncounted += n * (None in (call.get("tokens_in"), call.get("tokens_out")))
        else:
            self.cost_usd += call["cost_usd"]

    def __str__(self) -> str:
        if not self.n_unpriced:
            return usd(self.cost_usd)
        missing = "reported usage" if self.n_uncounted == self.n_unpriced else "price"
        if self.n_unpriced == self.n_calls:
            return f"cost unknown (no {missing})"
        calls = plural(round(self.n_unpriced), "call")
        return f"{usd(self.cost_usd)} + {calls} without a {missing}"


def plural(n: int, noun: str) -> str:
    """Return "1 turn" or "2,000 turns"."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def named(names: list[str], at_most: int = NAMED) -> str:
    """Return the first names of a list and how many more there are."""
    rest = len(names) - at_most
    shown = ", ".join(printable(name, 300) for name in names[:at_most])
    return f"{shown} and {rest} more" if rest > 0 else shown


def table(columns: list[str], rows: list[list[str]], align: str) -> str:
    """Return a Markdown table; `|` and line breaks in cells are escaped."""
    def line(cells):
        escaped = [cell.replace("|", "\\|").replace("\n", " ") for cell in cells]
        return f"| {' | '.join(escaped)} |"

    rule = "|".join("---:" if side == "r" else "---" for side in align)
    return "\n".join([line(columns), f"|{rule}|", *map(line, rows)])


def aligned(rows: list[list[str]]) -> list[str]:
    """Return rows as lines of equal columns, the first two flush left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) if i < 2 else cell.rjust(width)
                      for i, (cell, width) in enumerate(zip(row, widths, strict=True)))
            for row in rows]


def duration(seconds: float) -> str:
    """Return a time in words: "41 s" or "4 min 12 s"."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
