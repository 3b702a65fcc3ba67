"""Record the calls that the tests of a Python project make, and turn them into facts:
self-contained scripts, with the outcomes of their last expressions.

The calls that made and changed a call's operands become the lines of its script. The script is a
fact only if three processes (programs/replay_calls.py) give the recorded outcome. They have
different hash seeds and working directories, and the third one's clock is 400 days ahead.
"""
from __future__ import annotations

import ast
import json
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import chain, takewhile, zip_longest
from operator import attrgetter
from pathlib import Path

from codedata.bounded import read_bounded
from codedata.disk.locks import temporary_folder
from codedata.errors import BrokenRecord, ItemFailed
from codedata.records import parse
from codedata.sandbox import Sandbox
from codedata.sandbox.archives import Bounds
from codedata.suites.contexts import sources_in
from codedata.suites.leftovers import activation
from codedata.suites.project_suite import PLUGINS, Run, placed_plugin, run_suite
from codedata.suites.source import run_tool
from codedata.terminal import plural, say
from codedata.texts import printable, storable

FOLDER = f"{PLUGINS}calls"
REPLAYS = f"{PLUGINS}replays"
DATA = Bounds(max_bytes=200_000_000, max_files=1_000, max_depth=2, max_seconds=120)
ANSWERS = Bounds(max_bytes=100_000_000, max_files=4, max_depth=2, max_seconds=60)
END_S = 120                # seconds that a program may go on after the time of its scripts is up
SCRIPT_S = 5               # seconds of one run of a script
MAX_LINES = 60             # lines of a script before it is pruned
MAX_KEPT = 500             # events considered for a script
MAX_ROW_BYTES = 20_000
MAX_USES = 50              # results that an event uses
MAX_EXPR = 2_000           # characters
MAX_OF_RUN = 40_000        # events of a process, as in pytest_calls.py
MAX_EVENTS = 100_000
MAX_OF_CALLEE = 40         # scripts of one callee
RESULT = re.compile(r"\br(\d+)\b")
UNTOLD = ("hash", "id")    # calls whose values have no meaning outside of the run
READS = ("attribute", "item", "effect")   # events that do not change their operands


@dataclass(frozen=True)
class Event:
    """Hold a recorded expression of a test (programs/pytest_calls.py)."""

    n: int
    test: str
    kind: str
    expr: str | None
    of: str
    lines: list[str]
    uses: list[int]
    raised: str
    type: str
    result: str | None
    why: str = ""

    @property
    def is_public(self) -> bool:
        """Return whether the expression, and the lines that it needs, have only public names."""
        try:
            tree = ast.parse("\n".join([*self.lines, str(self.expr)]))
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return False
        names = (getattr(node, kind, None) for node in ast.walk(tree)
                 for kind in ("attr", "id", "arg", "name", "module"))
        parts = [part for name in names if isinstance(name, str) for part in name.split(".")]
        return not any(part[:1] == "_" and not part.endswith("__") and part.strip("_")
                       for part in parts)

    def statement(self, objects: Collection[int]) -> str:
        """Return the event's line in a script that uses the results with the numbers `objects`."""
        if self.raised:
            return f"try:\n    {self.expr}\nexcept Exception:\n    pass"
        return f"r{self.n} = {self.expr}" if self.n in objects else str(self.expr)


@dataclass(frozen=True)
class ReplayJob:
    """Hold a script to run and, if one was recorded, the outcome that it must give."""

    lines: list[str]
    last: str                  # its last expression; "": nothing is printed
    recorded: dict | None = None


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


# recording ---------------------------------------------------------------------------------------

def record(sandbox: Sandbox, test_script: str, timeout_s: float) -> tuple[Run, list[Event]]:
    """Run the tests. Return the run, with the recorded events of the tests that passed. Raise
    ItemFailed if pytest is missing, the tests do not end in time, or the events cannot be read."""
    source = sandbox.run("pwd -P").output.strip()
    tests = sorted(file.path for file in sources_in(sandbox).files if file.is_test)
    settings = json.dumps({"source": source, "tests": tests}).encode()
    with placed_plugin(sandbox, "calls", {"settings.json": settings}) as variables:
        if not variables:
            raise ItemFailed("no pytest was found whose calls can be recorded")
        sandbox.run(f"mkdir -m 777 {FOLDER}/data")
        run = run_suite(sandbox, test_script, timeout_s, env=variables)
        with temporary_folder() as folder:
            sandbox.get(f"{FOLDER}/data", folder, DATA)
            events = [event for file in sorted(folder.rglob("*.jsonl"))
                      for event in sorted(events_in(file), key=attrgetter("n"))]
    if run.timed_out:
        raise ItemFailed(f"its tests ran longer than {timeout_s:g} s while recorded")
    return run, events


def events_in(file: Path) -> list[Event]:
    """Return at most MAX_OF_RUN events from the file of a process, without events of failed tests.
    Any process of the tests may write to the file, so print how many rows are not events. Raise
    ItemFailed if the file cannot be read."""
    try:
        lines = read_bounded(file, DATA.max_bytes).splitlines()
    except OSError as e:
        raise ItemFailed(f"its recorded calls cannot be read: {printable(str(e), 200)}") from e
    events: list[Event] = []
    failed: set[str] = set()
    n_unreadable = 0
    for row in map(_row_in, lines):
        if "failed" in row:
            failed.add(str(row["failed"]))
        elif len(events) < MAX_OF_RUN:
            if event := _event_of(row, file.name):
                events.append(event)
            else:
                n_unreadable += 1
    if n_unreadable:
        say(f"      recorded calls: {plural(n_unreadable, 'row')} left out, of another form")
    return [event for event in events if event.test not in failed]


def _row_in(line: bytes) -> dict:
    """Return the JSON object in a line; {} if the line has none or is too long."""
    with suppress(ValueError, RecursionError):
        row = json.loads(line) if len(line) <= MAX_ROW_BYTES else {}
        return row if isinstance(row, dict) else {}
    return {}


def _event_of(row: dict, where: str) -> Event | None:
    """Return the event in a row; None if the row has another form, or is too long."""
    try:
        event = parse(Event, row, where)
    except BrokenRecord:
        return None
    return event if len(event.uses) <= MAX_USES and len(event.expr or "") <= MAX_EXPR else None


# scripts -----------------------------------------------------------------------------------------

def jobs_of(events: Sequence[Event], callees: Collection[str] | None = None) -> list[ReplayJob]:
    """Return a job for each expression that can be a script, alternating between callees. Leave out
    repeated scripts, and events with private names. Each callee has at most MAX_OF_CALLEE jobs,
    from as many tests as possible. With `callees`, return all jobs of these callees and no others,
    sorted by test within a callee."""
    jobs, seen = defaultdict(lambda: defaultdict(list)), set()   # by callee and test
    events = [one for one in events[:MAX_EVENTS] if one.is_public]
    earlier = _Earlier(events)
    for event in events:
        is_wanted = event.kind != "put" and event.of not in UNTOLD and (
            callees is None or event.of in callees)
        script = _script(event, earlier) if event.expr is not None and is_wanted else None
        key = _numbered(json.dumps(script))
        if script and key not in seen:
            seen.add(key)
            recorded = {"raised": event.raised, "result": event.result, "type": event.type}
            jobs[event.of][event.test].append(ReplayJob(*script, recorded))
    return _in_turn(_in_turn(tests.values())[:MAX_OF_CALLEE] if callees is None
                    else chain(*tests.values()) for tests in jobs.values())


def _numbered(script: str) -> str:
    """Return a script with its results renumbered in order of occurrence."""
    names: dict[str, str] = {}
    return RESULT.sub(lambda found: names.setdefault(found[0], f"r{len(names)}"), script)


def _in_turn(groups: Iterable[Iterable]) -> list:
    """Return the first item of each group, then the second item of each, and so on."""
    return [one for turn in zip_longest(*groups) for one in turn if one]


class _Earlier:
    """Look up earlier events by number, and by the results that they use."""

    def __init__(self, events: Sequence[Event]):
        self.by_number = {event.n: event for event in events}
        self._touching: dict[tuple, list[Event]] = defaultdict(list)
        for one in sorted(self.by_number.values(), key=attrgetter("n")):
            if one.kind not in READS:
                for n in {*one.uses}:
                    self._touching[n, one.test].append(one)

    def touching(self, n: int, event: Event) -> Iterator[Event]:
        """Yield the event that made object `n`, and the events of the same test that used it before
        `event`."""
        for found in ([self.by_number[n]] if n in self.by_number else [],
                      *(self._touching[n, test] for test in {"", event.test})):
            yield from takewhile(lambda one: one.n < event.n, found)


def _script(event: Event, earlier: _Earlier) -> tuple[list[str], str] | None:
    """Return (lines, last expression) of the script of an event; the lines are the earlier events
    that used its objects. Return None if an object has no source form, or the script would be too
    long."""
    objects = {*event.uses}
    left = [*event.uses]           # results whose events have not been looked up yet
    kept: set[int] = set()
    lines: dict[int, Event] = {}   # the events that became lines
    while left:
        for one in earlier.touching(left.pop(), event):
            kept.add(one.n)
            if one.expr is not None:
                lines[one.n] = one
            left += {*one.uses} - objects
            objects.update(one.uses)
            if len(lines) > MAX_LINES or len(kept) > MAX_KEPT:
                return None
    if not objects <= lines.keys():
        return None
    steps = [lines[n] for n in sorted(lines)]
    before = dict.fromkeys(line for one in [*steps, event] for line in one.lines)
    first = sorted(before, key=lambda line: not line.startswith(("import ", "from ")))
    return [*first, *(one.statement(objects) for one in steps)], str(event.expr)


# replays -----------------------------------------------------------------------------------------

def replay(sandbox: Sandbox, jobs: Sequence[ReplayJob], test_script: str, *,
           prune: bool = False, total_s: int = 120) -> list[Outcome | None]:
    """Run the script of each job in a sandbox with the source, and return the outcomes. An outcome
    is None if runs differ from each other or from the recording, or if the time is up. With
    `prune`, a script keeps only the lines that its outcome needs. Raise ItemFailed if the answers
    cannot be read."""
    if not jobs:
        return []
    source = sandbox.run("pwd -P").output.strip()
    given = given_to_run(source, jobs, SCRIPT_S, total_s, prune)
    sandbox.run(f"rm -rf {REPLAYS}")   # the image may already contain answers
    sandbox.put({"jobs.json": json.dumps(given).encode()}, REPLAYS)
    done = run_tool(sandbox, "replay_calls.py", REPLAYS, before=activation(test_script),
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
                 prune: bool = False) -> dict:
    """Return the content of jobs.json for programs/replay_calls.py."""
    imports = sorted({line for job in jobs for line in job.lines
                      if line.startswith(("import ", "from "))})
    return {"source": source, "seconds": seconds, "total_s": total_s, "imports": imports,
            "jobs": [{**vars(job), "prune": prune} for job in jobs]}


def _outcome(answer: dict | None) -> Outcome | None:
    """Return the outcome in an answer, with readable names; None without an answer, or if it shows
    a path or an address in memory."""
    if not answer:
        return None
    keys = Outcome.__dataclass_fields__.keys() & answer.keys()
    outcome = Outcome(**{key: storable(answer[key]) for key in keys})
    texts = [*outcome.lines, outcome.last, outcome.text]
    if any("/tmp/" in text or ("0x" in outcome.text and " at 0x" in text) for text in texts):
        return None
    return named(outcome)


def named(outcome: Outcome) -> Outcome:
    """Make the script of an outcome readable: name objects after their callees, and inline objects
    that are used once. If a string of the script contains a result's name, return the outcome
    unchanged."""
    code = [*outcome.lines, outcome.last]
    if not any(map(RESULT.search, code)):
        return outcome
    values = [value for line in code for *_, value in literals(line)]
    if any(isinstance(value, str) and RESULT.search(value) for value in values):
        return outcome
    for at in reversed(range(len(outcome.lines))):
        match = re.fullmatch(r"(r\d+) = (.*)", code[at], re.DOTALL)
        user = code[at + 1]
        if match and len(match[2]) + len(user) < 90 and (
                RESULT.findall("\n".join(code[at + 1:])).count(match[1][1:]) == 1):
            text = match[2] if is_atom(match[2]) else f"({match[2]})"
            new = re.sub(rf"\b{match[1]}\b", lambda _, text=text: text, user)
            if new != user:
                code[at:at + 2] = [new]
    names: dict[str, str] = {}
    for line in code[:-1]:
        if match := re.match(r"(r\d+) = ([\w.]*)", line):
            names[match[1]] = _new_name(match[2], {*names.values()}, "\n".join(code))

    def renamed(text: str) -> str:
        return RESULT.sub(lambda found: names.get(found[0], found[0]), text)

    *lines, last = map(renamed, code)
    return replace(outcome, lines=lines, last=last)


def _new_name(callee: str, taken: Collection[str], code: str) -> str:
    """Return a name, unused in the code, for the result of a callee."""
    word = callee.rpartition(".")[2] or "value"
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", word).lower().strip("_") or "value"
    used = {*taken, *re.findall(r"\w+", code)}
    return next(one for one in (name, *(f"{name}{n}" for n in range(2, 10_000)))
                if one not in used)


def literals(code: str) -> list[tuple[int, int, object]]:
    """Return (start, end, value) of each number and string in code; offsets are in bytes."""
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError, RecursionError):
        return []
    inside = {id(one) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)
              for one in ast.walk(node)}
    starts = [0, *(match.end() for match in re.finditer(b"\n", code.encode()))]
    return [(starts[node.lineno - 1] + node.col_offset,
             starts[node.end_lineno - 1] + node.end_col_offset, node.value)
            for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(
                node.value, int | float | str) and id(node) not in inside]


def is_atom(code: str) -> bool:
    """Return whether an expression can replace a name without parentheses."""
    node = ast.parse(code, mode="eval").body
    return isinstance(node, ast.Call | ast.Attribute | ast.Subscript | ast.Name | ast.List)


def distinct(outcomes: Iterable[Outcome]) -> list[Outcome]:
    """Return the outcomes with different scripts; for equal scripts, the last outcome."""
    return [*{one.program: one for one in outcomes}.values()]
