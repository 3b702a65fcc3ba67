"""Find held-out cases of a bug in Python: calls like those that the tests make, with other
arguments, and what the right tree gives.

A case must not refuse a right repair. So only literals change, to values that the tests give the
same argument or to ones near them, of the same type and sign; and the outcome must be of the kind
and type that the recorded call has. Verifiers compare values, and of exceptions only the types.

Before a bug is kept, wrong repairs are tried (wrong_repairs.py). The ones that are right for the
values in failing tests pass these, by construction; the cases have to stop them.
"""
from __future__ import annotations

import ast
import random
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import chain, count
from operator import itemgetter
from typing import Any

from codedata.disk.store import digest
from codedata.errors import Excluded, ItemFailed
from codedata.records import Environment, Object
from codedata.run.talk import begin_step
from codedata.sandbox import Sandbox
from codedata.sandbox.factory import SandboxFactory
from codedata.suites.environments import open_environment
from codedata.suites.recorded_calls import (
    RESULT,
    Event,
    Outcome,
    ReplayJob,
    distinct,
    jobs_of,
    record,
    replay,
)
from codedata.tasks.kinds import Case
from codedata.tasks.prove.first_run import FirstRun
from codedata.tasks.prove.suite_outcomes import PASSED, time_limit
from codedata.tasks.screen.wrong_repairs import NOTE, WAY, wrong_repairs
from codedata.tasks.verifier.suite import is_expected

CASES = 1                  # raise it when other cases are found
MAX_TESTS, MAX_BASES = 40, 20   # of failing tests, and as many calls of others
MAX_OTHERS = 8             # calls that the bug does not change
MAX_VARIED, MIN_OF_BASE = 80, 3   # variants of calls that the bug changes; of any call
MAX_CASES, MAX_EQUAL, MAX_TRIED = 30, 10, 10   # that the bug changes or not; for a wrong repair
MIN_STOPPED = 0.75         # of the wrong repairs
RECORD_S, REPLAY_S = 300, 90
WEAK = "its tests and cases stop fewer than 3 of 4 wrong repairs"
NO_CALL = "no recorded call shows the bug"
DIGITS, WORDS = re.compile(r"\d+"), re.compile(r"[A-Za-z]{2,}")
Pair = tuple[Outcome, Outcome]   # in the right tree; with the bug


@dataclass
class HeldOut:
    """Find the cases of bugs. The calls of a whole suite are recorded once for an environment."""

    _events: dict[str, list[Event]] = field(default_factory=dict)

    def of(self, run: FirstRun, environment: Environment, host: SandboxFactory, label: str
           ) -> tuple[list[Case], Object]:
        """Return (the cases, entries for proof.json). Raise Excluded if wrong repairs pass."""
        begin_step("held-out cases")
        if not all(path.endswith(".py") for path in (*run.before, *run.after)):
            return [], {"cases": {"none": "another language than Python"}}
        try:
            with open_environment(environment, host, label) as sandbox:
                limit_s = 5 * time_limit(environment, host.run_timeout_s)
                trees = _Trees(sandbox, environment.test_script, run)
                return self._found(trees, environment.repo_name, limit_s)
        except ItemFailed as e:
            return [], {"cases": {"none": e.what}}

    def _found(self, trees: _Trees, name: str, limit_s: float) -> tuple[list[Case], Object]:
        events = trees.of_failing_tests()
        if name not in self._events:
            self._events[name] = record(trees.sandbox, trees.script, limit_s)[1]
        others = self._events[name]
        bases = trees.bases(events, others)
        if not bases:
            return [], {"cases": {"none": NO_CALL}}
        pairs = trees.varied(bases, [*events, *others])
        changed = [pair for pair in pairs if not _agree(*pair)]
        equal = [pair for pair in pairs if _agree(*pair) and trees.has_run(pair[0])]
        cases = [*_spread(changed, _outcome)[:MAX_CASES], *_spread(equal, _outcome)[:MAX_EQUAL]]
        strength = trees.strength([right for right, _ in cases[:MAX_TRIED]])
        if not changed or strength["killed"] < MIN_STOPPED * strength["tried"]:
            raise Excluded(WEAK)
        return [([*one.lines, one.last], one.kind, one.told) for one, _ in cases], {
            "cases": {"changed": min(len(changed), MAX_CASES), "n": len(cases)},
            "strength": strength}


class _Trees:
    """Run calls in a sandbox with the right source, the bug, or wrong repairs of it."""

    def __init__(self, sandbox: Sandbox, test_script: str, run: FirstRun):
        self.sandbox, self.script, self._run = sandbox, test_script, run
        self._repairs = wrong_repairs(run.before, run.after)

    def _put(self, files: Mapping[str, bytes]) -> None:
        self.sandbox.put({**files}, self.sandbox.workdir)

    def _put_repairs(self) -> None:
        if self._repairs:
            self._put({self._repairs.path: self._repairs.text})

    def _replay(self, scripts: Sequence[Outcome], ways: Sequence[str] = ()
                ) -> list[Outcome | None]:
        """Return the outcomes of scripts in a wrong tree; with `ways`, in each of these."""
        lines = [[f"__import__('os').environ[{WAY!r}] = {way!r}"] for way in ways] or [[]]
        jobs = [ReplayJob([([*line, *one.lines], one.last)]) for line in lines for one in scripts]
        return replay(self.sandbox, jobs, self.script, total_s=REPLAY_S, is_once=True)

    def _record(self, way: str):
        return record(self.sandbox, f"export {WAY}='{way}'\n{self.script}", RECORD_S,
                      self._run.fail_to_pass[:MAX_TESTS])

    def of_failing_tests(self) -> list[Event]:
        """Return the calls that failing tests make in the right tree, and note the values of the
        changed statements there."""
        self._put_repairs()
        try:
            return self._record(NOTE)[1]
        finally:
            self._put(self._run.before)

    def bases(self, events: Sequence[Event], others: Sequence[Event]) -> list[Pair]:
        """Return calls of failing tests, and calls of the same functions by other tests, with their
        outcomes in the right tree and with the bug: first those that the bug changes."""
        own, more = (_spread(jobs_of(several), lambda job: _callee(job.tries[0][1]))
                     for several in (events, others))
        jobs = own[:MAX_BASES]
        callees = {_callee(job.tries[0][1]) for job in jobs}
        jobs += [job for job in more if _callee(job.tries[0][1]) in callees][:MAX_BASES]
        found = replay(self.sandbox, jobs, self.script, total_s=REPLAY_S)
        pairs = self.with_bug(distinct(filter(None, found)))
        changed = [pair for pair in pairs if not _agree(*pair)]
        near = [pair for pair in pairs if _agree(*pair) and self.has_run(pair[0])]
        if not any(self.has_run(right) for right, _ in changed):
            self._repairs = None   # the function runs at import alone
        return [*changed, *near[:MAX_OTHERS]] if changed else []

    def has_run(self, one: Outcome) -> bool:
        """Return whether a script runs the changed function; the changed file, if no function."""
        ran = {path: lines for path, lines in one.ran.items() if path in self._run.before}
        lines = self._repairs and self._repairs.lines
        return any(not lines or lines.start < line < lines.stop
                   for several in ran.values() for line in several)

    def with_bug(self, scripts: Sequence[Outcome]) -> list[Pair]:
        """Return pairs of the outcomes in the right tree and with the bug, where both are known."""
        self._put(self._run.after)
        try:
            return [pair for pair in zip(scripts, self._replay(scripts), strict=True) if pair[1]]
        finally:
            self._put(self._run.before)

    def varied(self, bases: Sequence[Pair], events: Sequence[Event]) -> list[Pair]:
        """Return pairs as of with_bug() of calls with other arguments, whose outcomes in the right
        tree are like those of recorded ones."""
        slots, known = slots_of(events), {RESULT.sub("r", event.expr or "") for event in events}
        types = {(_callee(one.last), one.kind, one.type) for one, _ in bases}
        n_changed = sum(not _agree(*pair) for pair in bases)
        tried = []
        for i, (base, _) in enumerate(bases):
            n = max(MIN_OF_BASE, MAX_VARIED // n_changed if i < n_changed else 0)
            fresh = [one for one in variants(base, slots) if RESULT.sub("r", one.last) not in known]
            tried += [(base, one) for one in fresh[:n]]
        jobs = [ReplayJob([(one.lines, one.last)]) for _, one in tried]
        found = replay(self.sandbox, jobs, self.script, total_s=REPLAY_S)
        return self.with_bug(distinct(
            one for (base, _), one in zip(tried, found, strict=True)
            if one and (one.kind, one.type) in (
                (base.kind, base.type), *((base.kind, type_) for callee, kind, type_ in types
                                          if (callee, kind) == (_callee(base.last), "value")))))

    def strength(self, cases: Sequence[Outcome]) -> Object:
        """Return how many wrong repairs are tried, how many the cases and tests stop, and the
        names of others."""
        repairs = self._repairs
        ways = [*repairs.ways, *repairs.unsure] if repairs else []
        self._put_repairs()
        found = self._replay(cases, ways) if ways else []
        passed = [way for at, way in enumerate(ways)
                  if all(map(_agree, cases, found[at * len(cases):]))]
        survivors = [way for way in passed if way in repairs.ways or not self._is_stopped(way)]
        return {"killed": len(ways) - len(survivors), "tried": len(ways), "survivors": survivors}

    def _is_stopped(self, way: str) -> bool:
        """Return whether a failing test does not pass with a wrong repair."""
        statuses = {case.name: case.status for case in self._record(way)[0].results}
        return any(statuses.get(test) != PASSED for test in self._run.fail_to_pass[:MAX_TESTS])


def _agree(right: Outcome, other: Outcome | None) -> bool:
    """Return whether a verifier that expects one outcome takes the other."""
    return bool(other) and is_expected(vars(other), [right.kind, right.told])


def _spread(several: Iterable, key: Callable) -> list:
    """Return things in an order in which each key has one, then each a second one, and so on."""
    ranks: dict[Any, Iterator[int]] = defaultdict(count)
    return sorted(several, key=lambda one: next(ranks[key(one)]))


def _outcome(pair: Pair) -> tuple[str, str]:
    return _callee(pair[0].last), pair[0].told


def _callee(code: str) -> str:
    return RESULT.sub("", code.partition("(")[0])


# other arguments ---------------------------------------------------------------------------------

def slots_of(events: Iterable[Event]) -> dict[str, list]:
    """Return the literals of recorded calls, by the argument in which they stand."""
    slots: dict[str, dict] = defaultdict(dict)
    for event in events:
        for *_, value, slot in _literals(event.expr or ""):
            slots[slot].setdefault(repr(value), value)
    return {slot: [*values.values()] for slot, values in slots.items()}


def variants(base: Outcome, slots: Mapping[str, list]) -> list[Outcome]:
    """Return a script with one literal replaced, a text wherever it stands, in a drawn order."""
    code = [*base.lines, base.last]
    draw = random.Random(digest(code))
    found: dict[tuple, None] = {}
    for at, line in enumerate(code):
        for start, _, value, slot in _literals(line):
            same = [one for one in slots.get(slot, ()) if type(one) is type(value)]
            for new in (*same, *_near(value, same)):
                if isinstance(value, str):
                    changed = [_replaced(one, value, new) for one in code]
                else:
                    changed = [*code[:at], _replaced(line, value, new, start), *code[at + 1:]]
                found.setdefault(tuple(changed))
    found.pop(tuple(code), None)
    several = [replace(base, lines=[*lines], last=last) for *lines, last in found]
    return draw.sample(several, len(several))


def _literals(code: str) -> list[tuple[int, int, object, str]]:
    """Return (start, end, value, slot) of numbers, texts and lists of these that are arguments, in
    a line of code; offsets are in bytes."""
    try:
        tree = ast.parse(code if "\n" not in code else "")
    except (SyntaxError, ValueError, RecursionError):
        return []
    found: dict[tuple, tuple] = {}
    for call in ast.walk(tree):   # inner calls come later
        if isinstance(call, ast.Call):
            for key, argument in (*enumerate(call.args),
                                  *((one.arg, one.value) for one in call.keywords)):
                slot = f"{ast.unparse(call.func).rpartition('.')[2]} {key}"
                for node in _inside(argument):
                    with suppress(ValueError):
                        value = ast.literal_eval(node)
                        found[node.col_offset, node.end_col_offset] = value, slot
    return [(*place, *one) for place, one in found.items()]


def _inside(node: ast.expr) -> Iterator[ast.expr]:
    """Yield the literals in an argument, apart from keys, subscripts and parts of f-strings."""
    number = node.operand if isinstance(node, ast.UnaryOp) else node
    if isinstance(number, ast.Constant) and type(number.value) in (int, float, str):
        yield node
    if isinstance(node, ast.List) and node.elts:
        yield node
    if isinstance(node, ast.Dict):
        yield from chain.from_iterable(map(_inside, node.values))
    if isinstance(node, ast.List | ast.Tuple | ast.Set):
        yield from chain.from_iterable(map(_inside, node.elts))


def _near(value, others: Sequence) -> Iterator:
    """Yield values similar to a literal, of its type and sign."""
    if isinstance(value, list):
        yield from (value + value, value[::-1], value[:-1] or value)
    elif isinstance(value, str):
        for match in DIGITS.finditer(value):
            digits = "".join(str((int(one) + 3) % 10) for one in match[0]).lstrip("0")
            for new in (digits or "1", f"1{match[0]}"):
                yield value[:match.start()] + new + value[match.end():]
        words = sorted({word for other in others for word in WORDS.findall(other)})
        for match in WORDS.finditer(value):
            new = match[0][1:].lower() + match[0][0].lower()
            upper = [match[0].upper()] if any(one != one.lower() for one in others) else []
            for word in (new.capitalize() if match[0].istitle() else new, match[0] * 2, *upper,
                         *words):
                yield value[:match.start()] + word + value[match.end():]
        if " " in value:
            yield from (f"{value} {value}", value.rpartition(" ")[0])
    else:
        longer = (type(value)(f"{'-' * (value < 0)}{digit}{abs(value)}") for digit in "12")
        yield from (one for one in (value + 1, value - 1, value * 3, *longer)
                    if one * value > 0 or (not value and one > 0))


def _replaced(code: str, old, new, only: int = -1) -> str:
    """Return code with a literal replaced: everywhere, or only at the byte `only`."""
    text = code.encode()
    for start, end, value, _ in sorted(_literals(code), key=itemgetter(0), reverse=True):
        if type(value) is type(old) and value == old and only in (-1, start):
            text = text[:start] + repr(new).encode() + text[end:]
    return text.decode()
