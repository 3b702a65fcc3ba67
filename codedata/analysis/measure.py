"""Measure the lines that each test of an environment executes: the step `coverage` of analyze.py.

The suite runs in fresh containers. coverage.py is in their image, which is removed after the
run; if the sandbox builds no images, it is installed in each container. Only Python code is
measured, and only under pytest; processes that tests start are not.
"""
from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path

from codedata.code.entities import SourceFile, Sources, all_entities
from codedata.disk.store import Store, digest
from codedata.errors import Excluded, ItemFailed, Trouble
from codedata.records import Coverage, Environment
from codedata.run.stage import Parts, Reads, Stage, Writes
from codedata.run.talk import begin_step
from codedata.sandbox import Sandbox
from codedata.sandbox.copies import new_folder, remove_folder
from codedata.sandbox.factory import SandboxFactory
from codedata.suites.contexts import (
    LANGUAGE,
    Masks,
    ObservedRun,
    Trace,
    add_lines,
    functions_by_lines,
    install_coverage,
    lines_by_test,
    masks_of,
    observe,
    ranges_of,
    runnable,
    sources_in,
)
from codedata.suites.environments import JUDGED_BY, image_of, labelled
from codedata.suites.test_results import Case
from codedata.tasks.image.task_image import with_tools
from codedata.terminal import named, plural

RAW = "_raw"               # folder for data files and reports, by repository and run
MAX_OTHERWISE = 0.05       # share of tests whose outcome may differ from env/
MISSING = "missing"        # status of a test that is not in a run's reports
NO_PYTHON = "it has no Python: contexts are known of Python alone"
PLUGIN = 1   # version: increase it if pytest_contexts.py records different facts about a test
NO_PYTEST = "none of its tests runs under a pytest that loads plugins"


def coverage_stage(root: Path, host: SandboxFactory, n_runs: int, environments) -> Stage:
    """Return the stage that measures these environments. Raise Trouble for the local sandbox, since
    this machine's Python must not be changed."""
    if host.name == "local":
        raise Trouble("must not change this machine's Python.", "--sandbox local",
                      "Choose another, or run: python analyze.py --static")
    parts = Parts(wanted=_runs(n_runs), of=lambda record: _runs(record.measured["runs"]),
                  worthwhile=False,
                  is_of=lambda record, digests:
                  digest(record.base_commit) == digests.get("base_commit"))
    coverages = Store(root, Coverage)
    return Stage(
        "analyze.coverage", make=partial(measure, coverages, host, n_runs),
        identity={"plugin": PLUGIN},
        reads=Reads(environments, fields=JUDGED_BY, made_by="env_setup"),
        writes=Writes(coverages, parts=parts),
        finish=lambda: [f"      left out: {name}: {why}"
                        for name, why in environments.left_out.items()],
        in_words=describe_coverage, after="env_setup.py", then="analyze.py --steps analysis")


def measure(coverages: Store, host: SandboxFactory, n_runs: int, environment: Environment,
            name: str, old: Coverage | None) -> Coverage:
    """Make the runs that `old` lacks, and return a coverage record of all runs. Tests that are
    flaky in the record on disk stay flaky. Raise Excluded if no test passes."""
    tally, raw = Tally(environment), coverages.into / RAW / name
    if name in coverages:
        tally.mark_flaky(coverages.read(name))
    if old:
        tally.take(old)
    else:   # without `old`, there may be files of earlier runs
        remove_folder(raw)
    with labelled(host, name, "analyze") as label:
        suite = _Suite(environment, host, label)
        for k in range(tally.n_runs + 1, n_runs + 1):
            begin_step("tests with coverage", k, n_runs)
            tally.add(suite.run(raw / str(k)))
    return tally.record(suite.files)


@dataclass
class _Suite:
    """Run the tests of an environment, each time in a fresh sandbox with coverage.py."""

    environment: Environment
    host: SandboxFactory
    label: str
    image: str = ""                                         # image with coverage.py
    files: list[SourceFile] = field(default_factory=list)   # Python sources; empty before a run

    def run(self, to: Path) -> ObservedRun:
        """Run the tests once and return the run. Put its files into the folder `to`, unless the run
        fails."""
        with new_folder(to) as folder, self._open() as sandbox:
            return observe(sandbox, self.environment.test_script, self.host.run_timeout_s,
                           self.files, folder)

    @contextmanager
    def _open(self) -> Iterator[Sandbox]:
        environment, host, label = self.environment, self.host, self.label
        self.image = self.image or with_tools(
            host, image_of(environment, host, label).name, self._prepare, label,
            environment.repo_name)
        with host.open(self.image, label, host.workdir_of(self.image)) as sandbox:
            yield sandbox

    def _prepare(self, sandbox: Sandbox) -> None:
        """Read the source, which tests may change later, and install coverage.py if there is
        Python."""
        self.files = [file for file in sources_in(sandbox).files if file.language == LANGUAGE]
        if self.files:
            install_coverage(sandbox)


# counting ----------------------------------------------------------------------------------------

@dataclass
class _Test:
    """Collect the statuses and traces of a test."""

    statuses: list[str]
    trace: Trace = field(default_factory=Trace)
    is_traced: bool = False       # whether any run traced it


@dataclass
class Tally:
    """Count the runs of an environment's tests, one after the other."""

    environment: Environment
    tests: dict[str, _Test] = field(default_factory=dict)
    import_lines: Masks = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)    # one per run
    versions: list[dict] = field(default_factory=list)

    def __post_init__(self):
        cases = map(Case.of, self.environment.test_case_result)
        self.expected = {case.name: case.status for case in cases}
        if "passed" not in self.expected.values():
            raise Excluded("has no test that passes.")
        self._flaky = {*self.environment.flaky}

    @property
    def n_runs(self) -> int:
        """Return the number of runs so far."""
        return len(self.seconds)

    def mark_flaky(self, record: Coverage) -> None:
        """Mark the tests that are flaky in a record."""
        self._flaky.update(str(test.get("name")) for test in record.tests if test.get("flaky"))

    def take(self, record: Coverage) -> None:
        """Continue from the runs of a record."""
        self.seconds = [*record.measured["seconds"]]
        self.versions = [*record.measured["versions"]]
        self.import_lines = masks_of(record.import_lines)
        rows = zip(record.tests, record.test_seconds, lines_by_test(record), strict=True)
        for test, seconds, lines in rows:
            trace = Trace(seconds, lines, {*test["starts"]})
            self.tests[test["name"]] = _Test([*test["status"]], trace,
                                             test["functions"] is not None)
        for test in record.otherwise:
            self.tests[test["name"]] = _Test([test["status"]] * self.n_runs)

    def add(self, observed: ObservedRun) -> None:
        """Add a run. Raise ItemFailed if too many tests have a different outcome than in env/."""
        statuses = observed.run.statuses
        names = {*self.expected, *statuses, *self.tests}
        changes = [f"{name} ({self.expected.get(name, MISSING)}, now {statuses.get(name, MISSING)})"
                   for name in sorted(names - self._flaky)
                   if self.expected.get(name) != statuses.get(name)]
        if len(changes) > MAX_OTHERWISE * len(self.expected):
            raise ItemFailed(f"{len(changes)} of {len(self.expected)} tests have other outcomes "
                             f"than in env/: {named(changes)}", self.environment.repo_name)
        for name in names:
            test = self.tests.setdefault(name, _Test([MISSING] * self.n_runs))
            test.statuses.append(statuses.get(name, MISSING))
            if trace := observed.traces.get(name):
                test.is_traced = True
                test.trace.seconds = trace.seconds
                test.trace.starts |= trace.starts
                add_lines(test.trace.lines, trace.lines)
        add_lines(self.import_lines, observed.import_lines)
        self.seconds.append(observed.run.seconds)
        self.versions += [one for one in observed.about if one not in self.versions]

    def record(self, files: list[SourceFile]) -> Coverage:
        """Return the record of all runs; `files` are the Python sources."""
        flaky = self._flaky.union(name for name, test in self.tests.items()
                                  if len({*test.statuses}) > 1)
        counted, otherwise = {}, []
        for name, test in sorted(self.tests.items()):
            status, expected = test.statuses[0], self.expected.get(name, "")
            if name in flaky or status == expected:
                counted[name] = test
            else:
                otherwise.append({"name": name, "expected": expected, "status": status})
        # dicts that number their keys in the order of first use
        paths, ids, line_sets, function_sets = (defaultdict(count().__next__) for _ in range(4))
        reached = functions_by_lines(all_entities(Sources(files))[0])
        rows = []
        for name, test in counted.items():
            lines = {str(paths[path]): line_sets[tuple(ranges_of(mask))]
                     for path, mask in sorted(test.trace.lines.items())}
            ran = tuple(sorted(ids[id] for id in reached(test.trace.lines)))
            rows.append({
                "name": name, "status": test.statuses, "flaky": name in flaky, "lines": lines,
                "functions": function_sets[ran] if test.is_traced else None,
                "starts": sorted(test.trace.starts)})
        n_traced = sum(test.is_traced for test in counted.values())
        measured = {"runs": self.n_runs, "seconds": self.seconds, "versions": self.versions,
                    "without_contexts": len(counted) - n_traced,
                    "image": self.environment.image_name,
                    "test_script": digest(self.environment.test_script)}
        reason = NO_PYTEST if files else NO_PYTHON
        return Coverage(
            self.environment.repo, self.environment.repo_name, self.environment.base_commit,
            "pytest" if n_traced else "none", "" if n_traced else reason, measured, [*paths],
            [*ids], [*map(list, line_sets)], [*map(list, function_sets)], rows,
            [test.trace.seconds for test in counted.values()],
            {path: ranges_of(mask) for path, mask in sorted(self.import_lines.items())},
            {file.path: ranges_of(runnable(file)) for file in files}, otherwise,
            round(sum(self.seconds), 2))


def _runs(n: int) -> dict[str, str]:
    return {f"run {k}": "" for k in range(1, n + 1)}


def describe_coverage(one: Coverage) -> str:
    """Return the numbers of tests, runs and flaky tests, and why there is no coverage by test."""
    n_flaky = sum(test["flaky"] for test in one.tests)
    known = f"; no coverage by test: {one.reason}" if one.reason else ""
    return (f"{plural(len(one.tests), 'test')}, {plural(one.measured['runs'], 'run')}, "
            f"{n_flaky} flaky, {one.seconds:.0f} s{known}")
