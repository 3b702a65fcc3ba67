"""Prove by execution that a change of a repository is a task. With the change, some tests fail that
passed before, and the other tests still pass. In an image for agents, the gold (the reverse of
the change) makes all tests pass.

Each run is of the whole suite, in a fresh container without network. One run without the change is
shared by all candidates. A candidate's own proof takes six runs: one with the change in the image
of env/; then, in the task's own image, one without the hidden tests, three with the gold and one
without it. If a kind reduces its golds, up to MAX_RUNS runs show first which hunks of the reverse
are needed. In the run without the gold, exactly the tests that failed in the run with the change
must fail. This run replaces repeated runs in the image of env/, since it shows the same and also
tests the task's image. Without the hidden tests, the other tests must pass; if they do not, more
tests are hidden, or none.

Tests that are flaky according to env/, or that need the network, do not count. The proof holds for
these runs, with the script that graders run. A test with the same result in all runs may still be
flaky.
"""
from __future__ import annotations

import json
import math
import threading
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

from codedata.code.patches import diff_of
from codedata.disk.store import digest
from codedata.errors import Excluded, ItemFailed
from codedata.records import Environment, Object, Task
from codedata.run.talk import begin_step
from codedata.sandbox import Sandbox
from codedata.sandbox.factory import WORKDIR, SandboxFactory
from codedata.sandbox.images.registry import image_name
from codedata.suites.contexts import sources_in
from codedata.suites.environments import JUDGED_BY, image_of, open_environment
from codedata.suites.project_suite import Run, compare
from codedata.suites.source import Files, commit_date, is_text
from codedata.suites.test_results import place_of
from codedata.tasks.folder.eval_script import eval_script, misread, run_evaluation, script_of
from codedata.tasks.folder.task_folder import CONFIG, proven, verifier_config, with_about
from codedata.tasks.folder.task_folder import image_of as image_of_task
from codedata.tasks.folder.tests_folder import READS, suite_tests
from codedata.tasks.image.repository import SuiteVerifier, task_of, with_image
from codedata.tasks.image.task_image import TaskImage, check_task_image, derive, lead_from_testbed
from codedata.tasks.prove.gold_grades import NotRewarded, prove_gold
from codedata.tasks.prove.grader import Grader
from codedata.tasks.prove.hidden_tests import (
    COPY,
    DOCUMENT,
    EXAMPLE,
    copied_examples,
    without_tests,
)
from codedata.tasks.prove.kinds import Candidate, Kind, PatchKind
from codedata.tasks.prove.minimal_change import healed_files
from codedata.tasks.prove.outcomes import (
    PASSED,
    check_drift,
    ignored_tests,
    known_results,
    outcome_of,
    was_ended,
)
from codedata.tasks.prove.run_suite import FirstRun, Grading, first_run, row_of
from codedata.terminal import named
from codedata.texts import printable
from codedata.verifier.agent_work import STEERS
from codedata.verifier.junit import escaped_name

TRIES = "codedata-bug-try/"
STEPS = 6                 # number of steps of a proof, for messages
ROW_RUNS = 3              # runs without a patch if no verification has found the flaky tests before


@dataclass(frozen=True, slots=True)
class Baseline:
    """Hold the results of a suite without a change; for a pull request, the results with the pull
    request."""

    statuses: dict[str, str]     # only for the counting tests
    files: dict[str, str]        # {test: its file, or "" if no file fits its name}
    texts: Files                 # the contents of these files
    copies: Files                # hidden files with copies of the examples in doctests
    created_at: str              # date of the commit, "" if there is none
    reads: str                   # where evaluation scripts find the results, one of READS
    ignored: set[str]            # tests that do not count
    seconds: float               # duration of the longest run
    # for a pull request: its image; code before and after it; tests in the image and after it
    image: TaskImage | None = None
    before: Files = field(default_factory=dict)
    after: Files = field(default_factory=dict)
    shown: Files = field(default_factory=dict)
    tests: Files = field(default_factory=dict)


class PatchProver:
    """Prove candidates of a kind, and keep the Baseline of each environment. The caller must call
    factory.forget() to remove the images made under a label."""

    def __init__(self, kind: PatchKind, factory: SandboxFactory):
        self._kind, self._factory = kind, factory
        self.lacks = factory.find_lost(images_of(kind))
        self._rules = replace(kind.rules, ignores_skipped=False)
        self._baselines: dict[str, Baseline] = {}
        # let only one thread at a time run an environment's suite without a change
        self._locks = defaultdict(threading.Lock)

    def prove(self, candidate: Candidate, label: str, environment: Environment, *joined) -> Task:
        """Return the proven task of a candidate, without an instruction, and keep its image. Raise
        Excluded if a run disproves the task, no image can be made, or graders could not read its
        results; ItemFailed if the environment differs from its record in env/."""
        kind, name = self._kind, candidate.name
        if reason := self._factory.no_images:
            raise Excluded(f"no image can be made: {reason}.", name)
        counted, counts = kind.counted(candidate, environment, *joined)
        baseline = self.baseline_of(counted, label, candidate)
        first = self._run_broken(counted, candidate, baseline, label)
        if reason := kind.refusal(candidate, first, label, environment, *joined):
            raise Excluded(reason, name)
        bug = first
        if kind.reduces_gold(candidate):
            bug = replace(first, before=healed_files(first, lambda patch: self._run_patched(
                counted, patch, baseline, label)))
        gold, change = diff_of(bug.after, bug.before), diff_of(bug.before, bug.after)
        begin_step("its image", 3, STEPS)
        image, hidden, left, visible = self._hide_tests(counted, first, baseline, label, gold)
        cases, held_out = kind.cases(
            candidate, bug, self._factory, label, environment, *joined)
        verifier = SuiteVerifier(
            # if only listed files count, read only reports, since listed files can print anything
            counted.test_script, baseline.reads if counts is None else READS[0], hidden,
            "" if visible else diff_of(left, hidden),
            [*map(escaped_name, first.fail_to_pass)], [*map(escaped_name, first.pass_to_pass)],
            counts, cases=cases, steering=[*filter(STEERS.search, bug.before | bug.after)])
        task, rows = self._run_task(candidate, verifier, (gold, change), image, first, label)
        kept = self._factory.keep(image.name, image_name(images_of(kind), name))
        about, shown = kind.described(candidate, bug, environment, *joined)
        task = with_about(
            with_image(task, kept.name), repo=environment.repo, split=environment.repo,
            source_commit=environment.base_commit, task_commit=image.base_commit,
            created_at=baseline.created_at, tests_visible=visible, **about)
        return proven(task, {"runs": [first.row, *rows], "log": first.log,
                             "image_id": kept.image_id, **held_out, **shown})

    # without the change --------------------------------------------------------------------------

    def baseline_of(self, environment: Environment, label: str,
                    candidate: Candidate | None = None) -> Baseline:
        """Return the results of the suite without a change, from one run for all candidates. Raise
        ItemFailed if the results differ from env/, Excluded if graders could not read them."""
        key = digest([getattr(environment, name) for name in ("repo_name", *JUDGED_BY)])
        begin_step("tests without the patch", 1, STEPS)
        with self._locks[key]:
            if key not in self._baselines:
                runs = 1 if environment.install_script else ROW_RUNS
                baseline = self._run_baseline(environment, label, runs)
                if environment.install_script:   # a name that env/ lacks may contain the time
                    known = known_results(environment)
                    baseline = replace(baseline, statuses={
                        test: status for test, status in baseline.statuses.items()
                        if test in known or COPY in test})
                check_drift(environment, baseline.statuses, baseline.ignored)
                self._baselines[key] = baseline
        return self._baselines[key]

    def _run_baseline(self, environment: Environment, label: str, n_runs: int,
                      prepare: Callable[[Sandbox], None] = lambda sandbox: None) -> Baseline:
        """Run the suite `n_runs` times, each in a sandbox that prepare() has changed."""
        name = environment.repo_name
        runs: list[Run] = []
        reads = [*READS]
        while len(runs) < n_runs:
            script = eval_script(suite_tests(environment.test_script, reads=reads[0]))
            with open_environment(environment, self._factory, label) as sandbox:
                prepare(sandbox)
                sources = sources_in(sandbox).files
                examples = {file.path: file.text for file in sources
                            if EXAMPLE.search(file.text) and not file.is_test}
                tested = {place_of(test, examples)[0] for test in known_results(environment)}
                copies = copied_examples({path: examples[path] for path in tested - {""}})
                sandbox.put(copies, ".")
                created_at = commit_date(sandbox, environment.base_commit)
                run, printed = run_evaluation(sandbox, script, self._factory.run_timeout_s)
            if run.timed_out:
                raise ItemFailed("the environment has drifted: its suite does not end.", name)
            reason = misread(run, printed)
            if reason and len(reads) == 1:
                raise Excluded(f"{reason}.", name)
            if reason:
                del reads[0]   # try the next source, since this one lacks results
            else:
                runs.append(run)
        statuses, flaky = compare(runs)
        doctests = {test for test in statuses   # an agent may edit their examples
                    if place_of(test, examples)[0] or DOCUMENT.fullmatch(test)}
        ignored = ignored_tests(environment).union(flaky, doctests)
        statuses = {test: statuses[test] for test in statuses if test not in ignored}
        texts = {file.path: file.text for file in sources}
        files = {test: place_of(test, texts)[0] for test in statuses}
        texts = {path: texts[path] for path in {*files.values()} - {""}}
        seconds = max(run.seconds for run in runs)
        return Baseline(statuses, files, texts, copies, created_at, reads[0], ignored, seconds)

    # with the change -----------------------------------------------------------------------------

    def _run_broken(self, environment: Environment, candidate: Candidate, baseline: Baseline,
                    label: str) -> FirstRun:
        """Return the run of the suite with the change. Raise Excluded if it shows that the change
        cannot become a task."""
        begin_step("tests with the patch", 2, STEPS)
        first = self._run_patched(environment, candidate.diff, baseline, label)
        if reason := first.screened.reason:
            raise Excluded(reason, candidate.name)
        return first

    def _run_patched(self, environment: Environment, patch: str, baseline: Baseline,
                     label: str) -> FirstRun:
        """Run the suite with a patch in the image of env/, and return the run."""
        script = eval_script(suite_tests(environment.test_script, reads=baseline.reads))
        return first_run(environment, patch, self._factory, label, self._rules,
                         graded=Grading(script, baseline.statuses, baseline.copies))

    # the image -----------------------------------------------------------------------------------

    def _hide_tests(self, environment: Environment, first: FirstRun, baseline: Baseline,
                    label: str, gold: str) -> tuple[TaskImage, Files, Files, str]:
        """Return (the image of a task; the files of its failing tests, which graders restore after
        the agent's work; the contents of these files in the image; why the agent can see the
        failing tests, or ""). A file keeps its other tests if they pass then. Raise Excluded if an
        image shows the gold patch or hidden tests, before any run in it."""
        failing = {place_of(test, baseline.texts) for test in first.fail_to_pass
                   if COPY not in test}
        places = {path for path, _ in failing}
        tests = {path: baseline.texts[path] for path in sorted(places - {"", *first.before})
                 if is_text(baseline.texts[path])}
        visible = "" if tests.keys() == places else "some failing tests have no file of their own"
        parts = {path: part for path, text in tests.items() if (part := without_tests(
            path, text, {name.encode() for file, name in failing if file == path}))}
        for left in () if visible else (parts, {}):
            patch = diff_of({**first.before, **tests}, {**first.after, **left})
            hidden = {**tests, **baseline.copies}
            image = self._derive(environment, patch, label, gold, diff_of(left, hidden))
            script = eval_script(suite_tests(environment.test_script, workdir=WORKDIR,
                                             reads=baseline.reads))
            run = self._run_image(image.name, script, label)[0]
            passed = {case.name for case in run.results if case.status == PASSED}
            lost = [test for test in first.pass_to_pass if test not in passed
                    and baseline.files[test] not in tests.keys() - left.keys()
                    and place_of(test, tests) not in failing and COPY not in test]
            if not lost:
                return image, hidden, left, ""
            visible = f"hiding the files of the failing tests breaks other tests: {named(lost)}"
        image = self._derive(environment, diff_of(first.before, first.after), label, gold)
        return image, {**tests, **baseline.copies}, {}, visible

    def _derive(self, environment: Environment, patch: str, label: str, gold: str,
                hidden: str = "") -> TaskImage:
        """Make a task's image, with a patch applied. Raise Excluded if it shows a line of the
        patches `gold` and `hidden`."""
        base = image_of(environment, self._factory, label).name
        image = derive(self._factory, base, patch, self._factory.temporary_name(TRIES), label,
                       environment.test_script)
        image = lead_from_testbed(self._factory, image, label)
        if traces := self._traces_in(image, environment, gold, hidden):
            raise Excluded(f"its image shows the gold or hidden tests: {named(traces)}",
                           environment.repo_name)
        return image

    def _traces_in(self, image: TaskImage, environment: Environment, gold: str,
                   hidden: str) -> list[str]:
        """Return the places in an image that show the gold patch or the hidden tests, and unread
        archives that its base image lacks. Raise ItemFailed if the image is gone."""
        if self._kind.gold_is_long:
            gold, hidden = "", gold + hidden
        find = partial(check_task_image, gold=gold, hidden=hidden, files_of=self._factory.files_of)
        traces, unread = find(image.name)
        base = environment.base_image or environment.image_name
        if (traces or unread) and self._factory.has_image(base):
            in_base = find(base)
            unread = {place: unread[place] for place in unread.keys() - in_base[1]}
            # a source from a folder on this machine leaves no traces in our base image
            if base == self._factory.base_image and environment.row.get("reformat_path"):
                traces = [line for line in traces if line not in in_base[0]]
        # a gone image cannot be read, which counted as a trace
        if traces and not self._factory.has_image(image.name):
            raise ItemFailed("its image is gone.", image.name)
        return [*traces, *unread.values()]

    # the task ------------------------------------------------------------------------------------

    def _run_task(self, candidate: Candidate, verifier: SuiteVerifier, patches: tuple[str, str],
                  image: TaskImage, first: FirstRun, label: str) -> tuple[Task, list[Object]]:
        """Return (the task with the first variant of its verifier that rewards the gold, but not
        the untouched image; its runs). Raise Excluded if no variant does."""
        reason = ""
        for variant in verifier.variants():
            task = task_of(candidate.name, self._kind.name, variant, patches, image.name,
                           image.base_commit, first.row["seconds"])
            rows, reason = self._grade(task, first, label)
            if not reason:
                return task, rows
        raise Excluded(reason, candidate.name)

    def _grade(self, task: Task, first: FirstRun, label: str) -> tuple[list[Object], str]:
        """Grade the gold as Harbor does, and the image without the gold as graders of SWE-bench do.
        Return (the runs, why they do not prove the task, or ""). The image without the gold comes
        second, so that an unsuitable verifier costs only two runs."""
        rows: list[Object] = []
        grader = Grader(self._factory, task, image_of_task(task), label)
        try:
            begin_step("tests in its image with the gold patch", 4, STEPS)
            work = prove_gold(grader, rows, grader.gold()[0], [1])
            begin_step("tests in its image", 5, STEPS)
            row, reason = self._run_untouched(task, first, label)
            rows.append(row)
            if not reason:
                begin_step("tests in its image with the gold patch", 6, STEPS)
                prove_gold(grader, rows, work, [2, 3])
        except NotRewarded as e:
            log = printable(e.grade.log.strip()[-500:])
            reason = f"its verifier does not reward the gold patch ({e.run}): {log}"
        return rows, reason

    def _run_untouched(self, task: Task, first: FirstRun, label: str) -> tuple[Object, str]:
        """Run the tests of a task in its unchanged image. Return (the run, how its results differ
        from the first run with the patch, or "")."""
        run, reason = self._run_image(image_of_task(task), self._script(task, first), label)
        shown = self._rules.screened(outcome_of(run, first.known), first.known, "full",
                                     len(run.results))
        unexpected = sorted({*shown.failing} ^ {*first.fail_to_pass})
        if unexpected:
            reason = reason or ("these tests have other results than in the first run with the "
                                f"patch: {named(unexpected)}")
        reason = reason or shown.reason
        return row_of("untouched", run, shown), reason and f"its image: {reason}"

    @staticmethod
    def _script(task: Task, first: FirstRun) -> str:
        """Return the evaluation script of a task. If the suite did not end in the first run, the
        script ends it after the same time."""
        if not first.screened.is_cut:
            return script_of(task)
        limit = {"timeout_s": math.ceil(first.row["seconds"])}
        config = json.dumps({**verifier_config(task), **limit}).encode()
        return script_of(replace(task, tests={**task.tests, CONFIG: config}))

    def _run_image(self, image: str, script: str, label: str) -> tuple[Run, str]:
        """Run an evaluation script in an image. Return (the run, why graders would read other
        results from its output, or "")."""
        with self._factory.open(image, label, self._factory.workdir_of(image)) as sandbox:
            run, printed = run_evaluation(sandbox, script, self._factory.run_timeout_s)
        return run, "" if was_ended(run) else misread(run, printed)


def images_of(kind: Kind) -> str:
    """Return the prefix of the names of a kind's images."""
    return f"codedata-{kind.label}/"
