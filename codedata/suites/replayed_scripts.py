"""Run scripts in a sandbox with a Python project; return the outcomes of their last expressions.

An outcome counts only if three processes (programs/replay_scripts.py) agree on it. They have
different hash seeds and working directories, and the third one's clock is 400 days ahead. Held-out
cases run with a stopped clock, also when a verifier runs them.
"""
from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from codedata.bounded import read_bounded
from codedata.disk.locks import temporary_folder
from codedata.errors import ItemFailed
from codedata.sandbox import Sandbox
from codedata.sandbox.archives import Bounds
from codedata.suites.leftovers import activation
from codedata.suites.project_suite import PLUGINS
from codedata.suites.source import run_tool
from codedata.texts import printable, storable

REPLAYS = f"{PLUGINS}replays"
ANSWERS = Bounds(max_bytes=100_000_000, max_files=4, max_depth=2, max_seconds=60)
END_S = 120                # seconds that the program may take beyond the time for its scripts
SCRIPT_S = 5               # seconds of one run of a script
NOW = 1_800_000_000.0      # time of the clock for held-out cases: 2027-01-15, 8:00 UTC
UNTOLD = ("hash", "id")    # calls whose values have no meaning outside of the run


@dataclass(frozen=True)
class ReplayJob:
    """Hold a script to run."""

    lines: list[str]
    last: str                  # its last expression; "": nothing is printed
    test: str = field(default="", compare=False)   # the function of the test it is made from

    @property
    def is_public(self) -> bool:
        """Return whether the script parses, and defines each private name that it uses."""
        try:
            tree = ast.parse("\n".join([*self.lines, self.last]))
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return False
        nodes = [*ast.walk(tree)]
        own = {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)}
        names = (getattr(node, kind, None) for node in nodes
                 for kind in ("attr", "id", "arg", "name", "module"))
        parts = [part for name in names if isinstance(name, str) and name not in own
                 for part in name.split(".")]
        return not any(part[:1] == "_" and not part.endswith("__") and part.strip("_")
                       for part in parts)


@dataclass(frozen=True)
class Outcome:
    """Hold a self-contained script, and the outcome of its last expression."""

    lines: list[str]
    last: str                  # "": nothing is printed, and the last line may raise
    kind: str                  # value | raises
    type: str                  # class of the value or the exception
    text: str                  # the value's repr, or the exception's message
    as_printed: bool = True    # print() shows the same as repr()
    direct: list = field(default_factory=list)   # [path, line] of functions that it calls directly
    ran: dict = field(default_factory=dict)      # {path: lines of the project that ran}
    mro: list = field(default_factory=list)      # names of an exception's classes

    @property
    def shown(self) -> str:
        """Return the outcome as readers see it."""
        return self.text if self.kind == "value" else f"{self.type}: {self.text}".rstrip(": ")

    @property
    def program(self) -> str:
        """Return the text of a program that runs the script and prints the outcome."""
        is_shown = self.kind == "value" and not self.as_printed
        shown = f"print(repr({self.last}))" if is_shown else f"print({self.last})"
        return "\n".join([*self.lines, *([shown] if self.last else [])]) + "\n"


# replays -----------------------------------------------------------------------------------------

def replay(sandbox: Sandbox, jobs: Sequence[ReplayJob], test_script: str, *,
           prune: bool = False, total_s: int = 120, now: float = 0) -> list[Outcome | None]:
    """Run the script of each job in a sandbox with the source, and return the outcomes. An outcome
    is None if runs differ from each other, or if the time is up. With `prune`, a script keeps only
    the lines that its outcome needs. With `now`, scripts are held-out cases: the clock stops at
    that time. Raise ItemFailed if the answers cannot be read."""
    if not jobs:
        return []
    source = sandbox.run("pwd -P").output.strip()
    given = given_to_run(source, jobs, SCRIPT_S, total_s, prune, now)
    sandbox.run(f"rm -rf {REPLAYS}")   # the image may already contain answers
    sandbox.put({"jobs.json": json.dumps(given).encode()}, REPLAYS)
    done = run_tool(sandbox, "replay_scripts.py", REPLAYS, before=activation(test_script),
                    timeout_s=total_s + END_S)
    if done.timed_out:
        raise ItemFailed(f"its scripts do not end {END_S} s after their time of {total_s} s")
    with temporary_folder() as folder:
        try:
            sandbox.get(REPLAYS, folder, ANSWERS)
            answers = json.loads(read_bounded(folder / "answers.json", ANSWERS.max_bytes))
            return [_outcome(one) for one, _ in zip(answers, jobs, strict=True)]
        except (OSError, ValueError, TypeError, KeyError, RecursionError) as e:
            raise ItemFailed(f"its scripts did not run: {printable(str(e), 300)}") from e


def given_to_run(source: str, jobs: Sequence[ReplayJob], seconds: int, total_s: int,
                 prune: bool = False, now: float = 0, runs: int = 3) -> dict:
    """Return the content of jobs.json for programs/replay_scripts.py."""
    imports = sorted({line for job in jobs for line in job.lines
                      if line.startswith(("import ", "from "))})
    return {"source": source, "seconds": seconds, "total_s": total_s, "now": now, "runs": runs,
            "imports": imports, "jobs": [{"lines": job.lines, "last": job.last, "prune": prune}
                                         for job in jobs]}


def _outcome(answer: dict | None) -> Outcome | None:
    """Return the outcome in an answer; None without an answer, or if it shows a path or an address
    in memory."""
    if not answer:
        return None
    keys = Outcome.__dataclass_fields__.keys() & answer.keys()
    outcome = Outcome(**{key: storable(answer[key]) for key in keys})
    texts = [*outcome.lines, outcome.last, outcome.text]
    if any("/tmp/" in text or ("0x" in outcome.text and " at 0x" in text) for text in texts):
        return None
    return outcome


def literals(code: str) -> list[tuple[int, int, object]]:
    """Return (start, end, value) of each number and string in code, except keys of dicts, which may
    be names of options; offsets are in bytes."""
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError, RecursionError):
        return []
    nodes = [*ast.walk(tree)]
    inside = {id(one) for node in nodes if isinstance(node, ast.JoinedStr)
              for one in ast.walk(node)}
    inside.update(id(part) for node in nodes if isinstance(node, ast.Dict)
                  for key in filter(None, node.keys) for part in ast.walk(key))
    starts = [0, *(match.end() for match in re.finditer(b"\n", code.encode()))]
    return [(starts[node.lineno - 1] + node.col_offset,
             starts[node.end_lineno - 1] + node.end_col_offset, node.value)
            for node in nodes if isinstance(node, ast.Constant) and isinstance(
                node.value, int | float | str) and id(node) not in inside]


def distinct(outcomes: Iterable[Outcome]) -> list[Outcome]:
    """Return the outcomes with different scripts; for equal scripts, the last outcome."""
    return [*{one.program: one for one in outcomes}.values()]
