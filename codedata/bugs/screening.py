"""Screen changes of a repository: which tests fail with each, in a sandbox that stays warm.

    with Screener(environment, coverage, config, host, label, max_broken_share) as screener:
        for shown in screener.screen(diffs):
            ...

A plugin of pytest judges a batch in the project's own process (pytest_screen.py). Where that cannot
be, the whole suite runs for each change in the same sandbox, which is put back after it. Screening
is no proof: checks/proof.py is.
"""
from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from codedata.analysis.measure import lines_by_test
from codedata.bounded import read_bounded
from codedata.checks.proof import FAILED, PASSED, Outcome, known_results, outcome_of
from codedata.code.contexts import mask_of, sources_in
from codedata.code.entities import SourceFile, entities_of, tree_of
from codedata.code.environments import open_environment
from codedata.code.patches import Edit, edited, edits_of
from codedata.code.source import Files, is_text, restore
from codedata.code.suite import CRASHED, PLUGINS, place_plugin, run_script, run_suite
from codedata.errors import ItemFailed
from codedata.progress import named
from codedata.records import BugConfig, Coverage, Environment
from codedata.sandbox import Sandbox, SandboxDied
from codedata.sandbox.archives import Bounds
from codedata.sandbox.factory import SandboxFactory
from codedata.texts import printable

FOLDER = f"{PLUGINS}screen"
ANSWERS = Bounds(max_bytes=200_000_000, max_files=10, max_depth=1, max_seconds=60)
MIN_S = 2.0                # least limit of a change's process, in seconds of CPU
START_S = 120              # seconds for a driver to start, beside a run of the suite
MAX_S = 1e6                # seconds that an answer may say
CANDIDATE_S = 60           # seconds for each candidate: its process has a far smaller limit
MAX_LEFT_OUT = 0.05        # share of the tests that may come out otherwise in a forked process
WORD = re.compile(r"\w+")
# what is in the source's folder, as a list beside it; remove what is new, and fail if more differs
THERE = "/tmp/codedata-there"
LIST = "find . -path ./.git -prune -o -print0 | LC_ALL=C sort -z"
CLEAN = f"{LIST} | LC_ALL=C comm -z -13 {THERE} - | xargs -0r rm -rf; {LIST} | cmp -s - {THERE}"


@dataclass(frozen=True, slots=True)
class Screened:
    """Hold what screening shows of a change."""

    outcome: Outcome
    failing: list[str]     # tests that passed before, sorted
    how: str               # swap | import | suite
    n_run: int             # tests that ran
    seconds: float
    before: Files          # those that it changes
    after: Files


@dataclass(frozen=True, slots=True)
class Change:
    """Hold a change that can be put into the source."""

    edits: dict[str, list[Edit]]
    tests: list[str]       # ids of those that may notice it, files with the likeliest first


class Unscreenable(Exception):
    """Say why no driver can judge changes of an environment."""


# which tests -------------------------------------------------------------------------------------

class Choice:
    """Choose the tests that may notice a change, by what each of them ran."""

    def __init__(self, coverage: Coverage, texts: Mapping[str, str]):
        self.blind: list[str] = []          # tests of which it is not known all that they run
        self._texts = texts
        self._ran: dict[str, tuple] = {}    # lines by path, and number of functions
        self._by_function: dict[str, set[str]] = {}
        self._words = {path: {*WORD.findall(text)} for path, text in texts.items()}
        self._functions = lru_cache(64)(self._functions_in)
        for test, lines in zip(coverage.tests, lines_by_test(coverage), strict=True):
            name, functions = test["name"], test["functions"]
            if functions is None or test["starts"]:
                self.blind.append(name)
                continue
            self._ran[name] = lines, len(coverage.function_sets[functions])
            for k in coverage.function_sets[functions]:
                self._by_function.setdefault(coverage.functions[k], set()).add(name)

    def tests(self, path: str, edit: Edit) -> list[str]:
        """Return the tests that ran a function which an edit changes: those first that ran its
        very lines, and little else."""
        last = edit.line + len(edit.old) - 1
        around = mask_of([edit.line, last] if edit.old else [max(1, edit.line - 1), edit.line])
        names = {name for id in self._changed(path, around)
                 for name in self._by_function.get(id, ())}

        def rank(name: str) -> tuple:
            lines, n_functions = self._ran[name]
            return not lines.get(path, 0) & around, n_functions, name

        return sorted(names, key=rank)

    def users(self, path: str) -> list[str]:
        """Return the tests that ran a line of a file, or of one that may import it, itself or
        through others: a source that imports a module names it."""
        found, queue = {path}, [path]
        for one in queue:   # which grows
            stem = PurePosixPath(one.removesuffix("/__init__.py")).stem
            more = [user for user, words in self._words.items()
                    if stem in words and user not in found]
            found.update(more)
            queue += more
        return sorted(name for name, (lines, _) in self._ran.items() if found & lines.keys())

    def _changed(self, path: str, around: int) -> list[str]:
        """Return the functions that lines are of, in a body or else as a whole."""
        functions = self._functions(path)
        inner = [id for id, body, _ in functions if body & around]
        return inner or [id for id, _, whole in functions if whole & around]

    def _functions_in(self, path: str) -> list[tuple[str, int, int]]:
        file = SourceFile(path, "python", self._texts[path].encode(), is_test=False)
        return [(one.id, mask_of(one.body_lines), mask_of([one.line, one.end_line]))
                for one in entities_of(file, tree_of(file)) if one.kind != "class"]


# a sandbox ---------------------------------------------------------------------------------------

@dataclass(frozen=True, slots=True)
class Unchanged:
    """Hold a run of all tests without a change, in a forked process."""

    ids: dict[str, str]          # of the tests that pass there, too, by the names that env/ has
    ranks: dict[str, int]        # of these ids: their order in the suite
    seconds: dict[str, float]    # of these ids
    left_out: list[str]          # tests that pass in env/ alone
    touched: list[str]           # files and folders that it changes
    modules: list[str]           # that it imports, and are not the project's


class Screener:
    """Judge changes of one environment. It keeps a sandbox open until close()."""

    def __init__(self, environment: Environment, coverage: Coverage | None, config: BugConfig,
                 host: SandboxFactory, label: str, max_broken_share: float):
        self.environment, self.known = environment, known_results(environment)
        self.why_whole = "" if config.selection == "plugin" else config.reason or "selection: none"
        if not self.why_whole and coverage is None:
            self.why_whole = "no coverage"
        self._coverage, self._config = coverage, config
        self._host, self._label = host, label
        self._passed = sorted(name for name, status in self.known.items() if status == PASSED)
        self._max_failed = int(max_broken_share * len(self._passed))
        self._open = ExitStack()
        self._sandbox: Sandbox | None = None
        self._variables: dict[str, str] = {}   # that load the driver
        self._n_judged = 0                     # in the sandbox
        self._texts: dict[str, str] = {}
        self._tests: set[str] = set()          # paths of theirs
        self._choice: Choice | None = None
        self._unchanged: Unchanged | None = None

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
        left_out = self._unchanged.left_out if self._unchanged else []
        return left_out and ("these tests do not judge, as they come out otherwise in a forked "
                             f"process: {printable(named(left_out))}")

    def close(self) -> None:
        """Remove the sandbox."""
        self._open.close()
        self._sandbox = None

    def screen(self, diffs: Sequence[str]) -> list[Screened | None]:
        """Return what each diff shows; None for one that only the whole suite in a fresh sandbox
        can judge: it does more than change sources, or what it does stays there."""
        self.opened()
        changes = {i: change for i, diff in enumerate(diffs) if (change := self._change(diff))}
        if self.why_whole:
            shown = {i: self._whole(change) for i, change in changes.items()}
        else:
            shown = self._driven(changes)
        return [shown.get(i) for i in range(len(diffs))]

    def _change(self, diff: str) -> Change | None:
        try:
            edits = edits_of(diff, self._texts)
        except ValueError:
            return None
        if not edits or self._tests & edits.keys():
            return None
        if self.why_whole:
            return Change(edits, [])
        names = [name for path, found in edits.items() for edit in found
                 for name in self._choice.tests(path, edit)]
        return Change(edits, self._ids_of(names))

    def _ids_of(self, names: Iterable[str]) -> list[str]:
        """Return the ids of tests: files in the order of the names, each in that of the suite."""
        known, files = self._unchanged, {}
        ids = [known.ids[name] for name in dict.fromkeys(names) if name in known.ids]
        for id in ids:
            files.setdefault(id.partition("::")[0], len(files))
        return sorted(ids, key=lambda id: (files[id.partition("::")[0]], known.ranks[id]))

    # opening -------------------------------------------------------------------------------------

    def opened(self) -> Sandbox:
        """Return the sandbox, opened where there is none."""
        if self._sandbox is None:
            self._sandbox = self._open.enter_context(
                open_environment(self.environment, self._host, self._label))
            self._n_judged = 0
            if not self._texts:
                files = sources_in(self._sandbox).files
                self._tests = {file.path for file in files if file.is_test}
                self._texts = {file.path: file.text.decode() for file in files
                               if is_text(file.text)}
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
        limit_s = self._config.timeout_s
        ready, shown = [], {"end": "the driver ended"}
        for answer in self._drive([Change({}, [])], START_S + 2 * limit_s, is_first=True,
                                  min_s=limit_s, max_failed=len(self.known), modules=modules):
            ready = answer.get("ready", ready)
            shown = answer if "end" in answer else shown
        if not ready:
            raise Unscreenable("no pytest of its test script takes the driver")
        ids = {name: id for id, names in ready for name in names}
        if missing := [name for name in self._passed if name not in ids]:
            raise Unscreenable("these tests are not collected in one process: "
                               f"{printable(named(missing))}")
        if shown["end"] != "done":
            raise Unscreenable(f"its tests do not end in a forked process: {shown['end']}")
        left_out = [name for name in self._passed if shown["statuses"].get(ids[name]) != PASSED]
        if len(left_out) > MAX_LEFT_OUT * len(self._passed):
            raise Unscreenable(f"{len(left_out)} tests come out otherwise in a forked process: "
                               f"{printable(named(left_out))}")
        if changed := sorted({*shown["dirty"]} & self._texts.keys()):
            raise Unscreenable(f"its tests change its source: {printable(named(changed))}")
        return Unchanged({name: ids[name] for name in self._passed if name not in left_out},
                         {id: n for n, (id, _) in enumerate(ready)},
                         shown["seconds_by_test"], left_out, shown["dirty"], shown["modules"])

    # with the driver -----------------------------------------------------------------------------

    def _driven(self, changes: Mapping[int, Change]) -> dict[int, Screened]:
        """Return what the driver shows of changes. One that it cannot judge, that ends it or that
        leaves something behind is left out, and its sandbox goes."""
        shown: dict[int, Screened] = {}
        todo = [*changes]
        is_alone = False   # one at a time: it is not known which of them ended a sandbox
        while todo:
            now = todo[:1] if is_alone else todo
            is_dirty, begun = False, now[0] if is_alone else None
            for answer in self._ask([changes[i] for i in now]):
                if "begins" in answer:
                    begun = now[answer["begins"]]
                if "end" not in answer and answer.get("how") != "suite":
                    continue
                i, begun = now[answer["i"]], None
                todo = [other for other in todo if other != i]
                is_dirty = bool(answer.get("dirty"))
                if "end" in answer and not is_dirty:
                    shown[i] = self._read(answer, changes[i])
            if not is_dirty and not {*todo} & {*now}:
                is_alone = False
                continue
            self.close()
            is_alone = not is_dirty and begun is None
            todo = [i for i in todo if i != begun]
        return shown

    def _ask(self, changes: Sequence[Change]) -> list[dict]:
        """Return the driver's answers for changes, as far as it comes."""
        self.opened()
        known, ran = self._unchanged, self._coverage.import_lines
        paths = {path for change in changes for path in change.edits}
        return self._drive(
            changes, START_S + self._config.timeout_s + CANDIDATE_S * len(changes),
            touched=known.touched, seconds=known.seconds, modules=known.modules,
            sources={path: self._texts[path] for path in paths},
            import_lines={path: _lines(ran.get(path, [])) for path in paths},
            users={path: self._ids_of(self._choice.users(path)) for path in paths},
            then=self._ids_of(self._choice.blind))

    def _drive(self, changes: Sequence[Change], timeout_s: float, **order) -> list[dict]:
        """Run the driver in the sandbox. Return its answers, as far as they can be read."""
        sandbox = self._sandbox
        batch = {"is_first": False, "min_s": MIN_S, "max_failed": self._max_failed, "then": [],
                 "touched": [], "seconds": {}, "root": sandbox.workdir, "number": self._n_judged,
                 **order, "candidates": [
                     {"tests": change.tests,
                      "files": {path: [(edit.line, len(edit.old), edit.new) for edit in edits]
                                for path, edits in change.edits.items()}} for change in changes]}
        self._n_judged += len(changes)
        with suppress(SandboxDied):   # its files can still be read
            sandbox.run(f"rm -rf {FOLDER}/*.jsonl {FOLDER}/tmp")
            sandbox.put({"batch.json": json.dumps(batch).encode()}, FOLDER)
            run_script(sandbox, self.environment.test_script, timeout_s, self._variables)
        with TemporaryDirectory(prefix="codedata_screen.") as folder:
            try:
                sandbox.get(f"{FOLDER}/answers.jsonl", Path(folder), ANSWERS)
                text = read_bounded(Path(folder, "answers.jsonl"), ANSWERS.max_bytes)
            except (ItemFailed, OSError):
                return []
        return _answers(text, len(changes))

    def _read(self, answer: dict, change: Change) -> Screened:
        """Return what an answer of the driver says."""
        end, how, status = answer["end"], answer["how"], answer.get("status", 0)
        found = answer.get("statuses", {})
        statuses = {**self.known, **{name: found.get(id, PASSED)
                                     for name, id in self._unchanged.ids.items()}}
        if sum(status in FAILED for status in found.values()) > self._max_failed:
            statuses |= dict.fromkeys(self._passed, FAILED[0])   # the rest did not run
        if end != "done":
            statuses = {}
        outcome = Outcome(statuses, answer.get("lost", []), answer["seconds"], end == "timeout",
                          CRASHED + status if 0 < status < CRASHED else 0,
                          end if end.startswith("stopped") else "")
        n_run = len(answer.get("seconds_by_test", ()))
        return self._screened(change, outcome, how, n_run, answer["seconds"])

    def _screened(self, change: Change, outcome: Outcome, how: str, n_run: int,
                  seconds: float) -> Screened:
        before = {path: self._texts[path] for path in change.edits}
        after = {path: edited(text, change.edits[path]) for path, text in before.items()}
        failing = [name for name in self._passed if outcome.statuses.get(name) in FAILED]
        return Screened(outcome, failing, how, n_run, seconds,
                        *({path: text.encode() for path, text in side.items()}
                          for side in (before, after)))

    # the whole suite -----------------------------------------------------------------------------

    def _whole(self, change: Change) -> Screened:
        """Return what a run of the whole suite shows, in the warm sandbox."""
        started, sandbox = time.monotonic(), self.opened()
        sandbox.run(f"[ -e {THERE} ] || {LIST} >{THERE}")
        sandbox.put({path: edited(self._texts[path], edits).encode()
                     for path, edits in change.edits.items()}, ".")
        try:
            run = run_suite(sandbox, self.environment.test_script, self._config.timeout_s)
            outcome, n_run = outcome_of(run), len(run.results)
            is_lost = (run.timed_out or restore(sandbox, self.environment.base_commit or "HEAD")[1]
                       or not sandbox.run(CLEAN).ok)
        except SandboxDied:
            outcome, n_run, is_lost = Outcome({}, exit_code=CRASHED), 0, True
        if is_lost:
            self.close()
        return self._screened(change, outcome, "suite", n_run, time.monotonic() - started)


def _answers(text: bytes, n: int) -> list[dict]:
    """Return the lines that a driver has written for n changes, up to the first that it cannot have
    written."""
    answers = []
    for line in text.split(b"\n")[:-1]:
        try:
            answers.append(_checked(json.loads(line), n))
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
            break
    return answers


def _checked(answer: dict, n: int) -> dict:
    """Return an answer of a driver. Raise one of Python's errors where it has another form."""
    for key in {"i", "begins"} & answer.keys():
        range(n).index(answer[key])
    if "ready" in answer:
        answer["ready"] = [(str(id), [*map(str, names)]) for id, names in answer["ready"]]
    if "end" in answer:
        seconds = min(max(0.0, float(answer["seconds"])), MAX_S)
        answer |= {"how": str(answer["how"]), "end": str(answer["end"]), "seconds": seconds,
                   "dirty": [*map(str, answer["dirty"])]}
        if answer["end"].startswith("status "):
            answer["status"] = int(answer["end"].removeprefix("status "))
    if answer.get("end") == "done":
        answer |= {"lost": [*map(str, answer["lost"])], "modules": [*map(str, answer["modules"])],
                   "statuses": dict(answer["statuses"]),
                   "seconds_by_test": {id: float(seconds) for id, seconds
                                       in answer["seconds_by_test"].items()}}
    return answer


def _lines(ranges: list[int]) -> list[int]:
    return [line for first, last in zip(ranges[::2], ranges[1::2], strict=True)
            for line in range(first, last + 1)]
