"""Screen changes of a repository: which tests fail with each, in a sandbox that stays warm.

    with Screener(environment, coverage, "", limit_s, host, label, max_broken_share) as screener:
        for shown in screener.screen(diffs):
            ...

A plugin of pytest judges a batch in the project's own process (pytest_screen.py). Where that cannot
be, the whole suite runs for each change in the same sandbox, which is put back after it. Screening
is no proof: tasks/prove.py is.
"""
from __future__ import annotations

import json
import re
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import lru_cache, reduce
from operator import or_
from pathlib import Path, PurePosixPath
from signal import SIGXCPU

from codedata.bounded import read_bounded
from codedata.code.entities import SourceFile, entities_of, is_test_file, tree_of
from codedata.code.patches import Edit, edited, edits_of
from codedata.errors import BrokenRecord, ItemFailed, Trouble, start_thread
from codedata.progress import begin_step, current_step, named
from codedata.records import Coverage, Environment, Seconds, parse
from codedata.sandbox import Sandbox, SandboxDied
from codedata.sandbox.archives import Bounds
from codedata.sandbox.factory import SandboxFactory
from codedata.sandbox.process_labels import temporary_folder
from codedata.suites.contexts import lines_by_test, mask_of, masks_of, sources_in
from codedata.suites.environments import open_environment
from codedata.suites.source import Files, is_text, restore
from codedata.suites.suite import CRASHED, PLUGINS, place_plugin, run_script, run_suite
from codedata.tasks.suite_outcomes import (
    FAILED,
    GOOD,
    PASSED,
    Outcome,
    judged,
    known_results,
    outcome_of,
)
from codedata.texts import printable

FOLDER = f"{PLUGINS}screen"
ANSWERS = Bounds(max_bytes=200_000_000, max_files=10, max_depth=1, max_seconds=60)
MIN_S = 2.0                # least limit of a change's process, in seconds of CPU
START_S = 120              # seconds for a driver to start, beside a run of the suite
CANDIDATE_S = 60           # seconds for each candidate: its process has a far smaller limit
MAX_LEFT_OUT = 0.05        # share of the tests that may come out otherwise in a forked process
COUNT_EVERY_S = MIN_S      # how often is looked how far the driver is
NOT_RUN = "missing"        # what the driver says of a test that it has not come to
WORD = re.compile(r"\w+")
# that of another change is taken for this one's where size and second are the same
NO_BYTECODE = "find . -name __pycache__ -prune -exec rm -rf {} +"
# what is in the source's folder, as a list beside it; remove what is new, and fail if more differs
THERE = "/tmp/codedata-there"
LIST = "find . -path ./.git -prune -o -print0 | LC_ALL=C sort -z"
CLEAN = f"{LIST} | LC_ALL=C comm -z -13 {THERE} - | xargs -0r rm -rf; {LIST} | cmp -s - {THERE}"


@dataclass(frozen=True, slots=True)
class Screened:
    """Hold what a change comes to."""

    outcome: Outcome
    verdict: str           # GOOD, or in a word why it is no bug
    trouble: str           # the same in words; "" for a bug
    failing: list[str]     # tests that passed before, sorted
    how: str               # swap | import | suite; full: in a fresh container
    n_run: int             # tests that ran
    seconds: float
    before: Files          # those that it changes
    after: Files
    is_audited: bool = False


@dataclass(frozen=True, slots=True)
class Change:
    """Hold a change that can be put into the source."""

    edits: dict[str, list[Edit]]
    tests: list[str] | None   # ids of those that may notice it, likeliest files first; None: all
    at_import: bool = False   # whether it changes what runs when a file is imported


@dataclass(frozen=True)
class Answer:
    """Hold a line of the driver: on a change that begins, or that has ended."""

    i: int                   # of the change
    how: str                 # begun | swap | import | suite: only the whole suite can judge it
    is_done: bool = False    # whether its process has run the tests that were wanted
    timed_out: bool = False
    signal: int = 0          # that has ended the process
    stopped: str = ""        # why pytest stopped early
    seconds: Seconds = 0.0
    dirty: list[str] = field(default_factory=list)   # what is not as it was before
    lost: list[str] = field(default_factory=list)    # what cannot be collected
    statuses: dict[str, str] = field(default_factory=dict)   # by id, of the tests that were wanted
    seconds_by_test: dict[str, Seconds] = field(default_factory=dict)
    names: dict[str, list[str]] = field(default_factory=dict)   # by id: those in results
    modules: list[str] = field(default_factory=list)   # imported ones that are not the project's


class Unscreenable(Exception):
    """Say why no driver can judge changes of an environment."""


# which tests -------------------------------------------------------------------------------------

class Choice:
    """Choose the tests that may notice a change, by what each of them ran."""

    def __init__(self, coverage: Coverage, texts: Mapping[str, str]):
        self.blind: list[str] = []          # tests of which it is not known all that they run
        self._texts = texts
        self._at_import = masks_of(coverage.import_lines)
        self._ran: dict[str, tuple] = {}    # lines by path, and number of functions
        self._by_function: dict[str, set[str]] = defaultdict(set)
        self._words = {path: {*WORD.findall(text)} for path, text in texts.items()}
        self._functions = lru_cache(64)(self._functions_in)
        for test, lines in zip(coverage.tests, lines_by_test(coverage), strict=True):
            name, functions = test["name"], test["functions"]
            if functions is None or test["starts"]:
                self.blind.append(name)
                continue
            self._ran[name] = lines, len(coverage.function_sets[functions])
            for k in coverage.function_sets[functions]:
                self._by_function[coverage.functions[k]].add(name)

    def tests(self, path: str, edit: Edit) -> tuple[list[str], bool]:
        """Return (the tests that may notice an edit, whether it changes what runs when the file is
        imported). First are those that ran its very lines, and little else."""
        last = edit.line + len(edit.old) - 1
        around = mask_of([edit.line, last] if edit.old else [max(1, edit.line - 1), edit.line])
        functions = self._functions(path)
        bodies = [body for _, body, _ in functions if body & around]
        inside = reduce(or_, bodies, 0)
        is_outside = around & ~inside if edit.old else not inside
        at_import = bool(is_outside or inside & self._at_import.get(path, 0))
        names = {name for id, body, whole in functions if (body if bodies else whole) & around
                 for name in self._by_function[id]}
        if at_import:
            names.update(self._users(path))

        def rank(name: str) -> tuple:
            lines, n_functions = self._ran[name]
            return not lines.get(path, 0) & around, n_functions, name

        return sorted(names, key=rank), at_import

    def _users(self, path: str) -> list[str]:
        """Return the tests that ran a line of a file, or of one that may import it, itself or
        through others: a source that imports a module names it."""
        found, queue = {path}, [path]
        for one in queue:   # which grows
            stem = PurePosixPath(one.removesuffix("/__init__.py")).stem
            more = [user for user, words in self._words.items()
                    if stem in words and user not in found]
            found.update(more)
            queue += more
        return [name for name, (lines, _) in self._ran.items() if found & lines.keys()]

    def _functions_in(self, path: str) -> list[tuple[str, int, int]]:
        """Return (id, lines of the body, all lines) of the functions of a file."""
        file = SourceFile(path, "python", self._texts[path].encode(), is_test=False)
        return [(one.id, mask_of(one.body_lines), mask_of([one.line, one.end_line]))
                for one in entities_of(file, tree_of(file)) if one.kind != "class"]


# a sandbox ---------------------------------------------------------------------------------------

@dataclass(frozen=True, slots=True)
class Unchanged:
    """Hold a run of all tests without a change, in a forked process."""

    ids: dict[str, str]          # of the tests that pass there, too, by name, in the suite's order
    seconds: dict[str, float]    # of these ids
    left_out: list[str]          # tests that pass in env/ alone
    touched: list[str]           # files and folders that it changes
    modules: list[str]           # that it imports, and are not the project's


class Screener:
    """Judge changes of one environment. It keeps a sandbox open until close()."""

    def __init__(self, environment: Environment, coverage: Coverage | None, why_whole: str,
                 limit_s: float, host: SandboxFactory, label: str, max_broken_share: float):
        """Take what the tests ran, why the whole suite has to run instead, or "", and the seconds
        of a run of it."""
        self.environment, self.known = environment, known_results(environment)
        self._coverage, self.why_whole, self._limit_s = coverage, why_whole, limit_s
        self._host, self._label, self._share = host, label, max_broken_share
        self._passed = sorted(name for name, status in self.known.items() if status == PASSED)
        self._max_failed = int(max_broken_share * len(self._passed))
        self._open = ExitStack()
        self._sandbox: Sandbox | None = None
        self._variables: dict[str, str] = {}   # that load the driver
        self._texts: dict[str, str] = {}
        self._choice: Choice | None = None
        self._unchanged: Unchanged | None = None
        self._n_sure = 0   # changes to come that cannot see what another has left in the sandbox

    def __enter__(self) -> Screener:
        return self

    def __exit__(self, *exc) -> None:
        self.close()

    @property
    def note(self) -> str:
        """Return how it judges otherwise than by tests that were chosen, or "" where it does not.
        """
        if self.why_whole:
            return f"the whole suite runs for each candidate, as {self.why_whole}"
        if self._unchanged and self._unchanged.left_out:
            return ("these tests do not judge, as they come out otherwise in a forked process: "
                    f"{printable(named(self._unchanged.left_out))}")
        return ""

    def close(self) -> None:
        """Remove the sandbox."""
        self._open.close()
        self._sandbox = None

    def screen(self, diffs: Sequence[str]) -> list[Screened | None]:
        """Return what each diff shows; None for one that only the whole suite in a fresh sandbox
        can judge: it does more than change sources, what it does stays there, or it is good only
        behind another."""
        with ExitStack() as failed:
            failed.callback(self.close)
            self.opened()
            changes = {i: change for i, diff in enumerate(diffs) if (change := self._change(diff))}
            shown = self._sure(changes)
            failed.pop_all()
        return [shown.get(i) for i in range(len(diffs))]

    def _sure(self, changes: Mapping[int, Change]) -> dict[int, Screened]:
        """Return what changes show. Where a sandbox is lost, or tests fail in it without a change
        in the end, what was good there behind another is looked at again in the next one, once."""
        shown: dict[int, Screened] = {}
        todo, again = dict(changes), set()
        self._n_changes = len(changes)
        while todo:
            self.opened()
            begin_step("screening")
            seen, is_lost = {}, False
            while todo and not is_lost:
                is_lost = self._whole(todo, seen) if self.why_whole else self._driven(todo, seen)
            unsure = {i for i in [*seen][self._n_sure:] if seen[i].verdict == GOOD}
            self._n_sure = 0
            if unsure and self._is_clean():
                unsure, self._n_sure = set(), 1
            if is_lost or unsure:
                self.close()
            shown |= {i: one for i, one in seen.items() if i not in unsure}
            todo |= {i: changes[i] for i in sorted(unsure - again)}
            again |= unsure
        return shown

    def _change(self, diff: str) -> Change | None:
        try:
            edits = edits_of(diff, self._texts)
        except ValueError:
            return None
        if not edits or any(map(is_test_file, edits)):
            return None
        if self.why_whole:
            return Change(edits, None)
        found = [self._choice.tests(path, edit) for path, some in edits.items() for edit in some]
        return Change(edits, self._ids_of([name for names, _ in found for name in names]),
                      any(at_import for _, at_import in found))

    def _ids_of(self, names: Sequence[str]) -> list[str]:
        """Return the ids of tests: files in the order of the names, each in that of the suite."""
        ids, wanted = self._unchanged.ids, {*names}
        files = dict.fromkeys(_file_of(ids[name]) for name in names if name in ids)
        ranks = {file: n for n, file in enumerate(files)}
        return sorted((id for name, id in ids.items() if name in wanted),
                      key=lambda id: ranks[_file_of(id)])

    # opening -------------------------------------------------------------------------------------

    def opened(self) -> Sandbox:
        """Return the sandbox, opened where there is none."""
        if self._sandbox is None:
            begin_step("tests without a change")
            self._sandbox = self._open.enter_context(
                open_environment(self.environment, self._host, self._label))
            self._n_sure = 1
            if not self._texts:
                self._texts = {file.path: file.text.decode() for file
                               in sources_in(self._sandbox).files if is_text(file.text)}
            if not self.why_whole:
                self._variables = place_plugin(self._sandbox, "screen", {})
            if not (self.why_whole or self._unchanged):
                try:
                    self._unchanged = self._found_unchanged()
                    self._choice = Choice(self._coverage, self._texts)
                except Unscreenable as e:
                    self.why_whole = str(e)
        return self._sandbox

    def _found_unchanged(self) -> Unchanged:
        """Return a run without a change: one in which modules beside the project's are there from
        the start, as some are slow to import, where that makes no difference."""
        first = self._run_unchanged([])
        with suppress(Unscreenable):
            second = self._run_unchanged(first.modules)
            if (second.ids, second.touched) == (first.ids, first.touched):
                return second
        return replace(first, modules=[])

    def _run_unchanged(self, modules: list[str]) -> Unchanged:
        """Run all tests without a change in a forked process. Raise Unscreenable where that is not
        what env/ says."""
        answers = self._drive([Change({}, None)], START_S + 2 * self._limit_s,
                              min_s=self._limit_s, max_failed=len(self.known), modules=modules)
        if not answers:
            raise Unscreenable("no pytest of its test script takes the driver")
        shown = answers[-1]
        if not shown.is_done:
            raise Unscreenable("its tests do not end in a forked process: "
                               f"{printable(shown.stopped) or f'signal {shown.signal}'}")
        ids = {name: id for id, names in shown.names.items() for name in names}
        if missing := [name for name in self._passed if name not in ids]:
            raise Unscreenable("these tests are not collected in one process: "
                               f"{printable(named(missing))}")
        left_out = [name for name in self._passed if shown.statuses.get(ids[name]) != PASSED]
        if len(left_out) > MAX_LEFT_OUT * len(self._passed):
            raise Unscreenable(f"{len(left_out)} tests come out otherwise in a forked process: "
                               f"{printable(named(left_out))}")
        if changed := sorted({*shown.dirty} & self._texts.keys()):
            raise Unscreenable(f"its tests change its source: {printable(named(changed))}")
        wanted = {*self._passed}.difference(left_out)
        return Unchanged({name: id for name, id in ids.items() if name in wanted},
                         shown.seconds_by_test, left_out, shown.dirty, shown.modules)

    def _is_clean(self) -> bool:
        """Return whether a run without a change is what it was in the fresh sandbox."""
        if self.why_whole:
            seen: dict[int, Screened] = {}
            return not self._whole({0: Change({}, None)}, seen) and seen[0].verdict == "survives"
        with suppress(Unscreenable):
            found = self._run_unchanged(self._unchanged.modules)
            return found.ids.keys() >= self._unchanged.ids.keys()
        return False

    # with the driver -----------------------------------------------------------------------------

    def _driven(self, todo: dict[int, Change], seen: dict[int, Screened]) -> bool:
        """Move changes from `todo` to `seen`, with what the driver shows of them. Return whether
        the sandbox is lost. One that it cannot judge, that ends it or that leaves something behind
        is left out."""
        changes, now, is_dirty = dict(todo), [*todo], False
        last = now[0]   # where nothing says which of them ended the driver
        for answer in self._ask([*todo.values()]):
            last, is_dirty = now[answer.i], bool(answer.dirty)
            if answer.how == "begun":
                continue
            todo.pop(last, None)
            if not is_dirty and answer.how != "suite":
                seen[last] = self._read(answer, changes[last])
        is_lost = bool(todo) or is_dirty
        todo.pop(last, None)
        return is_lost

    def _ask(self, changes: Sequence[Change]) -> list[Answer]:
        """Return the driver's answers for changes, as far as it comes."""
        self.opened()
        known, limit_s = self._unchanged, START_S + self._limit_s + CANDIDATE_S * len(changes)
        with self._counted(len(changes), limit_s):
            return self._drive(
                changes, limit_s, min_s=MIN_S, max_failed=self._max_failed, touched=known.touched,
                seconds=known.seconds, modules=known.modules,
                then=self._ids_of(self._choice.blind))

    @contextmanager
    def _counted(self, n_left: int, limit_s: float) -> Iterator[None]:
        """Show meanwhile how many of the changes the driver has begun."""
        step, sandbox, is_over = current_step(), self._sandbox, threading.Event()

        def count() -> None:
            with suppress(Trouble):   # of the sandbox: who runs the driver will see
                while not is_over.wait(COUNT_EVERY_S):
                    # it never fails, and may take as long as the driver: to end it ends both
                    found = sandbox.run(f"grep -c '\"begun\"' {FOLDER}/answers.jsonl; true",
                                        timeout_s=limit_s).output.strip()
                    if found.isdecimal() and len(found) < 9:
                        step.count = (f"{self._n_changes - n_left + int(found)} of "
                                      f"{self._n_changes}")

        thread = start_thread(count)
        try:
            yield
        finally:
            is_over.set()
            thread.join()

    def _drive(self, changes: Sequence[Change], timeout_s: float, **order) -> list[Answer]:
        """Run the driver in the sandbox. Return its answers, as far as they can be read."""
        sandbox = self._sandbox
        batch = {"root": sandbox.workdir, "then": [], "touched": [], "seconds": {}, **order,
                 "candidates": [
                     {"tests": change.tests, "at_import": change.at_import,
                      "files": {path: [(edit.line, len(edit.old), edit.new) for edit in edits]
                                for path, edits in change.edits.items()}} for change in changes]}
        with suppress(SandboxDied):   # its files can still be read
            sandbox.run(f"rm -rf {FOLDER}/*.jsonl {FOLDER}/tmp")
            sandbox.put({"batch.json": json.dumps(batch).encode()}, FOLDER)
            run_script(sandbox, self.environment.test_script, timeout_s, self._variables)
        with temporary_folder() as folder:
            try:
                sandbox.get(f"{FOLDER}/answers.jsonl", Path(folder), ANSWERS)
                text = read_bounded(Path(folder, "answers.jsonl"), ANSWERS.max_bytes)
            except (ItemFailed, OSError):
                return []
        return _answers(text, len(changes))

    def _read(self, answer: Answer, change: Change) -> Screened:
        """Return what an answer of the driver says."""
        found = answer.statuses
        if sum(status in FAILED for status in found.values()) > self._max_failed:
            found = {id: status for id, status in found.items() if status != NOT_RUN}
        statuses = {**self.known, **{name: found.get(id, PASSED)
                                     for name, id in self._unchanged.ids.items()}}
        outcome = Outcome(statuses if answer.is_done else {}, answer.lost, answer.seconds,
                          answer.timed_out or answer.signal == SIGXCPU,
                          answer.signal and CRASHED + answer.signal, answer.stopped)
        return self._screened(change, outcome, answer.how, len(answer.seconds_by_test))

    def _screened(self, change: Change, outcome: Outcome, how: str, n_run: int) -> Screened:
        failing = [name for name in self._passed if outcome.statuses.get(name) in FAILED]
        return Screened(outcome, *judged(outcome, self.known, self._share), failing, how, n_run,
                        outcome.seconds,
                        {path: self._texts[path].encode() for path in change.edits},
                        self._after(change))

    def _after(self, change: Change) -> Files:
        return {path: edited(self._texts[path], edits).encode()
                for path, edits in change.edits.items()}

    # the whole suite -----------------------------------------------------------------------------

    def _whole(self, todo: dict[int, Change], seen: dict[int, Screened]) -> bool:
        """Do as _driven() does with the first change, by a run of the whole suite."""
        i, sandbox = next(iter(todo)), self._sandbox
        current_step().count = f"{self._n_changes - len(todo) + 1} of {self._n_changes}"
        change = todo.pop(i)
        try:
            sandbox.run(f"{NO_BYTECODE}; [ -e {THERE} ] || {LIST} >{THERE}")
            sandbox.put(self._after(change), ".")
            run = run_suite(sandbox, self.environment.test_script, self._limit_s)
            outcome, n_run = outcome_of(run, self.known), len(run.results)
            is_lost = bool(restore(sandbox, self.environment.base_commit or "HEAD")[1]
                           or not sandbox.run(CLEAN).ok or run.timed_out)
        except SandboxDied:
            outcome, n_run, is_lost = Outcome({}, exit_code=CRASHED), 0, True
        seen[i] = self._screened(change, outcome, "suite", n_run)
        return is_lost


def _answers(text: bytes, n: int) -> list[Answer]:
    """Return the lines that a driver has written for n changes, up to the first that it cannot have
    written."""
    answers = []
    for line in text.split(b"\n")[:-1]:
        try:
            answer = parse(Answer, json.loads(line), "")
        except (BrokenRecord, ValueError, RecursionError):
            break
        if not 0 <= answer.i < n:
            break
        answers.append(answer)
    return answers


def _file_of(id: str) -> str:
    return id.partition("::")[0]
