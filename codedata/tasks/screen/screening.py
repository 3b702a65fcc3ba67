"""Screen changes of a repository: find the tests that fail with each change, in a warm sandbox.

    with Screener(environment, coverage, limit_s, host, label, ScreeningRules(0.5)) as screener:
        for shown in screener.screen(diffs):
            ...

A plugin of pytest judges a batch in the project's own process (pytest_screen.py). Changes that it
cannot judge are judged by a run of the whole suite (run_suite.py). Screening proves nothing;
proof.py does. The stage for screening is in tasks/stages.py.
"""
from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from itertools import chain
from signal import SIGXCPU

from codedata.bounded import read_bounded
from codedata.code.entities import is_test_file
from codedata.code.patches import Edit, edits_of
from codedata.disk.locks import temporary_folder
from codedata.errors import BrokenRecord, ItemFailed
from codedata.records import Coverage, Environment, Seconds, parse
from codedata.run.talk import begin_step, current_step
from codedata.sandbox import ClosesAtExit, Sandbox, SandboxDied
from codedata.sandbox.archives import Bounds
from codedata.sandbox.factory import SandboxFactory
from codedata.suites.contexts import sources_in
from codedata.suites.environments import open_environment
from codedata.suites.project_suite import CRASHED, PLUGINS, place_plugin, run_script
from codedata.suites.source import is_text
from codedata.tasks.prove.outcomes import SuiteOutcome, known_results, passed_in
from codedata.tasks.prove.run_suite import Screened, ScreeningRules
from codedata.tasks.screen.covering_tests import CoveringTests
from codedata.terminal import named
from codedata.texts import printable

FOLDER = f"{PLUGINS}screen"
ANSWERS = f"{FOLDER}/answers.jsonl"
BOUNDS = Bounds(max_bytes=200_000_000, max_files=10, max_depth=1, max_seconds=60)
MIN_S = 2.0                # minimum limit of a change's process, in seconds of CPU
START_S = 120              # seconds for a driver to start, in addition to a run of the suite
CANDIDATE_S = 60           # seconds for each candidate: its process has a far smaller limit
MAX_LEFT_OUT = 0.05        # share of tests whose results may differ in a forked process
MIN_SAME = 2               # with fewer tests, ending in one type of error is no reason to refuse a
                           # change
READ_EVERY_S = 2.0         # interval of reading the driver's answers
WHOLE_SUITE = "the whole suite runs for each candidate"


Found = dict[str, Screened]   # by diff


@dataclass(frozen=True, slots=True)
class SourceChange:
    """Hold a change that can be applied to the source."""

    edits: dict[str, list[Edit]]
    tests: list[str] | None   # ids of tests that may notice it, likeliest files first; None: all
    at_import: bool = False   # whether it changes code that runs when a file is imported
    on_line: Sequence[str] = ()   # ids of the tests that run a changed line


UNCHANGED = SourceChange({}, None)


@dataclass(frozen=True)
class DriverAnswer:
    """Hold one message of the driver: it begins to judge a change, or has finished with it."""

    i: int                   # index of the change
    # "begun": not yet judged; "swap" or "import": a process got the changed functions, or imported
    # the changed files; "suite": only the whole suite can judge the change
    how: str
    is_done: bool = False    # whether its process has run the requested tests
    timed_out: bool = False
    signal: int = 0          # the signal that ended the process
    stopped: str = ""        # why pytest stopped early
    seconds: Seconds = 0.0
    n_run: int = 0           # tests that ran
    dirty: list[str] = field(default_factory=list)   # paths left changed
    lost: list[str] = field(default_factory=list)    # names that cannot be collected
    statuses: dict[str, str] = field(default_factory=dict)   # by id, for tests that do not pass
    errors: dict[str, str] = field(default_factory=dict)   # types by id; "" for failed checks
    # only for a run without a change:
    seconds_by_test: dict[str, Seconds] = field(default_factory=dict)
    names: dict[str, list[str]] = field(default_factory=dict)   # names in results, by id


class Unscreenable(Exception):
    """Report why no driver can judge changes of an environment."""


@dataclass(frozen=True, slots=True)
class UnchangedRun:
    """Hold a run of all tests without a change, in a forked process."""

    ids: dict[str, str]          # {name: id} of tests that pass in env/ and here; in suite order
    seconds: dict[str, float]    # {id: seconds} of the tests
    left_out: list[str]          # tests that pass in env/ but not here
    touched: list[str]           # files and folders that the run changes


class Screener(ClosesAtExit):
    """Judge changes of one environment. It keeps a sandbox open until close()."""

    def __init__(self, environment: Environment, coverage: Coverage, limit_s: float,
                 host: SandboxFactory, label: str, rules: ScreeningRules):
        """Prepare to screen changes. `coverage` has the lines that each test ran; `limit_s` is the
        time limit of the whole suite, in seconds."""
        self.environment, self.known = environment, known_results(environment)
        self._coverage, self._limit_s = coverage, limit_s
        self._host, self._label, self._rules = host, label, rules
        self._passed = sorted(passed_in(self.known))
        self._open = ExitStack()
        self._sandbox: Sandbox | None = None
        self._is_fresh = False                 # whether nothing has been judged in the sandbox
        self.why_none = ""                     # why the driver cannot judge here, or ""
        self._variables: dict[str, str] = {}   # variables that load the driver
        self._texts: dict[str, str] = {}
        self._covering: CoveringTests | None = None
        self._unchanged: UnchangedRun | None = None
        self._has_died = False                 # whether the sandbox ended while the driver ran

    @property
    def note(self) -> str:
        """Return a note for the report: which tests are left out, or why the whole suite runs for
        each change; "" if neither."""
        if self._unchanged and self._unchanged.left_out:
            return ("these tests are left out, since their results differ in a forked process: "
                    f"{named(self._unchanged.left_out)}")
        return self.why_none and f"{WHOLE_SUITE}, as {self.why_none}"

    def close(self) -> None:
        """Remove the sandbox."""
        self._open.close()
        self._sandbox = None

    def screen(self, diffs: Sequence[str]) -> list[Screened | None]:
        """Return the result for each diff. It is None if only the whole suite in a fresh sandbox
        can judge the diff: it changes more than sources, it leaves files in the sandbox, or
        `why_none` says why no diff can be judged here."""
        shown: dict[str, Screened] = {}
        for found, in_doubt in self.verdicts(diffs):
            shown |= found
            for diff in in_doubt:
                del shown[diff]
            current_step().count = f"{len(shown)} of {len(diffs)}"
        return [*map(shown.get, diffs)]

    def verdicts(self, diffs: Iterable[str]) -> Iterator[tuple[Found, list[str]]]:
        """Yield ({diff: its result}, [diffs whose earlier results are in doubt]) as results arrive.
        Diffs in doubt are judged again. Each batch ends with a run without a change. If that run
        differs from the first one, the results of the batch are in doubt, and each half of it is
        judged in a new sandbox. A result is not in doubt if its change was the only one in a fresh
        sandbox, or if a later change ended the sandbox."""
        with ExitStack() as failed:
            failed.callback(self.close)
            if not self.is_opened():
                return
            changes = {diff: change for diff in diffs if (change := self._change(diff))}
            batches = [[*changes]] if changes else []
            while batches and self.is_opened():
                left = {diff: changes[diff] for diff in batches.pop()}
                is_sure, self._is_fresh = self._is_fresh and len(left) == 1, False
                begin_step("screening")
                seen: list[str] = []
                is_lost = yield from self._judge(left, seen)
                is_bad = bool(seen) and not (is_sure or self._has_died or self._is_unchanged())
                if is_bad or is_lost:
                    self.close()
                if left:
                    batches.append([*left])
                if is_bad:
                    yield {}, seen
                    # a change that made the sandbox unusable is the cause, and is not in `seen`
                    middle = 0 if is_lost else len(seen) // 2
                    batches += filter(None, (seen[middle:], seen[:middle]))
            failed.pop_all()

    def _change(self, diff: str) -> SourceChange | None:
        try:
            edits = edits_of(diff, self._texts)
        except ValueError:
            return None
        if not edits or any(map(is_test_file, edits)):
            return None
        names, at_import, running = zip(
            *(self._covering.tests_of(path, edit) for path in edits for edit in edits[path]),
            strict=True)
        return SourceChange(edits, self._ids_of([*chain(*names)]), any(at_import),
                            self._ids_of([*chain(*running)]))

    def _ids_of(self, names: Sequence[str]) -> list[str]:
        """Return the ids of tests: files in the order of `names`, tests of a file in the suite's
        order."""
        ids, wanted = self._unchanged.ids, {*names}
        files = dict.fromkeys(_file_of(ids[name]) for name in names if name in ids)
        ranks = {file: n for n, file in enumerate(files)}
        return sorted((id for name, id in ids.items() if name in wanted),
                      key=lambda id: ranks[_file_of(id)])

    # opening -------------------------------------------------------------------------------------

    def is_opened(self) -> bool:
        """Open the sandbox if it is not open. Return whether a driver can judge in it."""
        if self._sandbox is None and not self.why_none:
            begin_step("tests without a change")
            self._sandbox = self._open.enter_context(
                open_environment(self.environment, self._host, self._label))
            self._is_fresh, self._has_died = True, False
            self._variables = place_plugin(self._sandbox, "screen", {})
            if not self._unchanged:
                self._texts = {file.path: file.text.decode() for file
                               in sources_in(self._sandbox).files if is_text(file.text)}
                try:
                    self._unchanged = self._run_unchanged()
                    self._covering = CoveringTests(self._coverage, self._texts)
                except Unscreenable as e:
                    self.why_none = str(e)
        return not self.why_none

    def _run_unchanged(self) -> UnchangedRun:
        """Run all tests without a change in a forked process. Raise Unscreenable if the results
        differ from env/."""
        answers = [*chain(*self._answers([UNCHANGED], START_S + 2 * self._limit_s,
                                         min_s=self._limit_s, max_failed=len(self.known)))]
        if not answers:
            raise Unscreenable("its test script runs no pytest that loads the driver")
        shown = answers[-1]
        if not shown.is_done:
            raise Unscreenable("its tests do not end in a forked process: "
                               f"{printable(shown.stopped) or f'signal {shown.signal}'}")
        ids = {name: id for id, names in shown.names.items() for name in names}
        if missing := [name for name in self._passed if name not in ids]:
            raise Unscreenable("these tests are not collected in one process: "
                               f"{named(missing)}")
        left_out = [name for name in self._passed if ids[name] in shown.statuses]
        if len(left_out) > MAX_LEFT_OUT * len(self._passed):
            raise Unscreenable(f"{len(left_out)} tests have other results in a forked process: "
                               f"{named(left_out)}")
        if changed := sorted({*shown.dirty} & self._texts.keys()):
            raise Unscreenable(f"its tests change its source: {named(changed)}")
        wanted = {*self._passed}.difference(left_out)
        return UnchangedRun({name: id for name, id in ids.items() if name in wanted},
                            shown.seconds_by_test, left_out, shown.dirty)

    def _is_unchanged(self) -> bool:
        """Return whether all tests that passed in the fresh sandbox still pass without a change."""
        begin_step("tests without a change")
        with suppress(Unscreenable):
            return self._run_unchanged().ids.keys() >= self._unchanged.ids.keys()
        return False

    # the driver ----------------------------------------------------------------------------------

    def _judge(self, left: dict[str, SourceChange], seen: list[str]):
        """Let the driver judge the changes in `left`, and yield its results. Move judged changes
        from `left` to `seen`. A change that the driver cannot judge, that ends the driver, or that
        leaves files behind is removed from `left` but not added to `seen`. Return whether the
        sandbox can no longer be used."""
        changes, order = dict(left), [*left]
        last = order[0]   # used if no answer says which change ended the driver
        is_dirty = False
        known = self._unchanged
        for answers in self._answers(
                [*left.values()], START_S + self._limit_s + CANDIDATE_S * len(left), min_s=MIN_S,
                max_failed=int(self._rules.max_broken_share * len(self._passed)),
                touched=known.touched, seconds=known.seconds,
                then=self._ids_of(self._covering.blind)):
            found: Found = {}
            for answer in answers:
                last, is_dirty = order[answer.i], bool(answer.dirty)
                if answer.how == "begun":
                    continue
                left.pop(last, None)
                if not is_dirty and answer.how != "suite":
                    found[last] = self._read(answer, changes[last])
            seen += found
            yield found, []
        is_lost = bool(left) or is_dirty
        left.pop(last, None)
        return is_lost

    def _answers(self, changes: Sequence[SourceChange], timeout_s: float,
                 **order) -> Iterator[list[DriverAnswer]]:
        """Run the driver in the sandbox. Yield its answers as they come in, up to one that is not
        valid."""
        sandbox, n_read = self._sandbox, 0
        batch = {"root": sandbox.workdir, "then": [], "touched": [], "seconds": {}, **order,
                 "candidates": [
                     {"tests": change.tests, "at_import": change.at_import,
                      "files": {path: [(edit.line, len(edit.old), edit.new) for edit in edits]
                                for path, edits in change.edits.items()}} for change in changes]}

        def drive() -> None:
            try:
                run_script(sandbox, self.environment.test_script, timeout_s, self._variables)
            except SandboxDied:
                self._has_died = True   # its files can still be read

        with suppress(SandboxDied):
            sandbox.run(f"rm -rf {FOLDER}/*.jsonl {FOLDER}/tmp")
            sandbox.put({"batch.json": json.dumps(batch).encode()}, FOLDER)
        pool = ThreadPoolExecutor(1)
        try:
            running, is_over = pool.submit(drive), False
            while not is_over:
                is_over = bool(wait([running], READ_EVERY_S).done)
                if is_over:
                    running.result()
                answers = _parsed(_answers_in(sandbox), len(changes))[n_read:]
                n_read += len(answers)
                yield answers
        finally:
            pool.shutdown(wait=False)

    def _read(self, answer: DriverAnswer, change: SourceChange) -> Screened:
        """Return the result of screening a change that an answer of the driver describes."""
        found = {name: answer.statuses[id] for name, id in self._unchanged.ids.items()
                 if id in answer.statuses}
        error = _same_error(answer, change) if self._rules.drops_same_error else ""
        outcome = SuiteOutcome(
            self.known | found if answer.is_done else {}, answer.lost, answer.seconds,
            answer.timed_out or answer.signal == SIGXCPU, answer.signal and CRASHED + answer.signal,
            answer.stopped, same_error=error)
        return self._rules.screened(outcome, self.known, answer.how, answer.n_run)


def _same_error(answer: DriverAnswer, change: SourceChange) -> str:
    """Return a reason if all of several tests that run a changed line end in one type of error (not
    a failed check); else ""."""
    errors = [answer.errors.get(id, "") for id in change.on_line]
    if len(errors) < MIN_SAME or len({*errors}) > 1 or not errors[0]:
        return ""
    return (f"each of the {len(errors)} tests that run a changed line ends in "
            f"{printable(errors[0], 100)}")


def _answers_in(sandbox: Sandbox) -> bytes:
    """Return the driver's answers so far, b"" if they cannot be read now. They are read from
    outside, since the driver kills processes that it does not know, and the process table may be
    full."""
    with temporary_folder() as folder, suppress(ItemFailed, OSError):
        sandbox.get(ANSWERS, folder, BOUNDS)
        return read_bounded(folder / "answers.jsonl", BOUNDS.max_bytes)
    return b""


def _parsed(text: bytes, n: int) -> list[DriverAnswer]:
    """Return a driver's answers on n changes, up to the first line that is not a valid answer."""
    answers = []
    for line in text.split(b"\n")[:-1]:
        try:
            answer = parse(DriverAnswer, json.loads(line), "")
        except (BrokenRecord, ValueError, RecursionError):
            break
        if not 0 <= answer.i < n:
            break
        answers.append(answer)
    return answers


def _file_of(id: str) -> str:
    return id.partition("::")[0]
