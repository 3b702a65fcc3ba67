"""Prove by execution that a change of a repository is a task. With the change, some tests fail that
passed before, and the other tests still pass. In an image for agents, the gold (the reverse of
the change) makes all tests pass.

Each run is of the whole suite, in a fresh container without network. One run without the change is
shared by all candidates. A candidate's own proof takes four runs: one with the change in the image
of env/; then, in the task's own image, one without the hidden tests, one with the gold and one
without it. If the environment's own runs do not show that its tests are stable, there are two more
runs with the gold. If the gold is reduced, up to MAX_RUNS runs show first which hunks of the
reverse are needed. In the run without the gold, exactly the tests that failed in the run with the
change must fail. This run replaces repeated runs in the image of env/, since it shows the same and
also tests the task's image. Without the hidden tests, the other tests must pass; if they do not,
more tests are hidden, or none.

Tests that are flaky according to env/, or that need the network, do not count. The proof holds for
these runs, with the script that graders run. A test with the same result in all runs may still be
flaky.

A change that solves something, such as a pull request, is a task, too: some of its tests fail
before it and pass after it. Then the suite runs twice with the change and its tests, then once with
only its tests; the task's image is the base commit with the earlier tests.
"""
from __future__ import annotations

import json
import math
import threading
from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from statistics import mode

from codedata.checks.demands import lacking, names_brought, values_brought
from codedata.code.entities import language_of
from codedata.code.patches import diff_of
from codedata.disk.store import digest
from codedata.errors import Excluded, ItemFailed
from codedata.records import (
    BUG,
    PULL_REQUEST,
    STRIPPED_PATCH,
    Candidate,
    Coverage,
    Environment,
    Object,
    Rules,
    Task,
)
from codedata.run.talk import begin_step
from codedata.sandbox import Sandbox
from codedata.sandbox.factory import WORKDIR, SandboxFactory
from codedata.sandbox.images.registry import image_name
from codedata.suites.contexts import sources_in
from codedata.suites.environments import JUDGED_BY, image_of
from codedata.suites.project_suite import Run
from codedata.suites.source import Files, apply_patch, is_text
from codedata.suites.test_results import place_of
from codedata.tasks.folder.eval_script import eval_script, misread, run_evaluation, script_of
from codedata.tasks.folder.task_folder import CONFIG, proven, verifier_config, with_about
from codedata.tasks.folder.task_folder import image_of as image_of_task
from codedata.tasks.folder.tests_folder import READS, Case, suite_tests
from codedata.tasks.image.repository import SuiteVerifier, task_of, with_image
from codedata.tasks.image.task_image import TaskImage, check_task_image, derive, lead_from_testbed
from codedata.tasks.prove.baseline import Baseline, run_baseline
from codedata.tasks.prove.effects import effects
from codedata.tasks.prove.gold_grades import GOLD_RUNS, NotRewarded, prove_gold
from codedata.tasks.prove.grader import Grader
from codedata.tasks.prove.hidden_tests import COPY, without_tests
from codedata.tasks.prove.minimal_change import healed_files
from codedata.tasks.prove.outcomes import (
    FAILED,
    PASSED,
    SURVIVES,
    check_drift,
    known_results,
    outcome_of,
    was_ended,
)
from codedata.tasks.prove.rules import rules_of, screening_rules
from codedata.tasks.prove.run_suite import FirstRun, Grading, first_run, row_of
from codedata.terminal import named
from codedata.texts import printable
from codedata.verifier.agent_work import STEERS
from codedata.verifier.junit import escaped_name

TRIES = "codedata-bug-try/"
LABELS = {BUG: "bug", STRIPPED_PATCH: "nl2repo", PULL_REQUEST: "pr"}   # prefixes of labels
IMAGES = {kind: f"codedata-{label}/" for kind, label in LABELS.items()}   # prefixes of names
STEPS = 6                 # number of steps of a proof, for messages
ROW_RUNS = 3              # runs without a patch if no verification has found the flaky tests before
RUNS_AFTER = 2            # runs with a solution
# The run without a solution may take TIMES_AFTER times as long as the longest run with it, plus
# MORE_S seconds. A further MORE_S seconds are for ending its processes and reading its results.
TIMES_AFTER, MORE_S = 3, 30


# cases(run with the change, proof) returns (the cases that a reward needs in addition to
# the tests, entries for proof.json). It raises Excluded if wrong repairs pass, ItemFailed if
# another run may find cases.
Cases = Callable[[FirstRun, "CandidateProof"], tuple[list[Case], Object]]
# refusal(run with the change, proof) returns why a candidate is no task, or ""
Refusal = Callable[[FirstRun, "CandidateProof"], str]


class PatchProver:
    """Prove candidates, and keep the Baseline of each environment. The caller must call
    factory.forget() to remove the images made under a label."""

    def __init__(self, factory: SandboxFactory, cases: Cases | None = None,
                 refusal: Refusal | None = None):
        self.factory, self._checks = factory, (cases, refusal)
        self._baselines: dict[str, Baseline] = {}
        # let only one thread at a time run an environment's suite without a change
        self._locks = defaultdict(threading.Lock)

    def prove(self, candidate: Candidate, label: str, environment: Environment,
              coverage: Coverage | None = None) -> Task:
        """Return the proven task of a candidate, without an instruction, and keep its image. Raise
        Excluded if a run disproves the task, no image can be made, or graders could not read its
        results; ItemFailed if the environment differs from its record in env/."""
        rules = rules_of(candidate)
        if reason := self.factory.no_images:
            raise Excluded(f"no image can be made: {reason}.", candidate.name)
        counted = replace(environment, flaky=[*environment.flaky, *rules.ungraded])
        return CandidateProof(candidate, rules, counted, coverage, self.factory, label,
                              partial(self.baseline_of, counted, label)).task(*self._checks)

    def baseline_of(self, environment: Environment, label: str) -> Baseline:
        """Return the results of the suite without a change, from one run for all candidates. Raise
        ItemFailed if the results differ from env/, Excluded if graders could not read them."""
        key = digest([getattr(environment, name) for name in ("repo_name", *JUDGED_BY)])
        begin_step("tests without the patch", 1, STEPS)
        with self._locks[key]:
            if key not in self._baselines:
                runs = 1 if environment.install_script else ROW_RUNS
                baseline = run_baseline(environment, self.factory, label, runs)
                if environment.install_script:   # a name that env/ lacks may contain the time
                    known = known_results(environment)
                    baseline = replace(baseline, statuses={
                        test: status for test, status in baseline.statuses.items()
                        if test in known or COPY in test})
                check_drift(environment, baseline.statuses, baseline.ignored)
                self._baselines[key] = baseline
        return self._baselines[key]


@dataclass(frozen=True)
class CandidateProof:
    """Run the proof of one candidate."""

    candidate: Candidate
    rules: Rules
    environment: Environment   # tests that are not graded count as flaky
    coverage: Coverage | None
    host: SandboxFactory
    label: str
    unchanged: Callable[[], Baseline]

    def task(self, find_cases: Cases | None, refusal: Refusal | None) -> Task:
        """Return the proven task. See PatchProver.prove()."""
        candidate, rules, kind = self.candidate, self.rules, self.candidate.kind
        baseline, first = self._solved() if candidate.solves else self._broken()
        if refusal and (reason := refusal(first, self)):
            raise self._excluded(reason)
        bug = first
        if rules.reduce_gold:
            bug = replace(first, before=healed_files(
                first, lambda patch: self._run_patched(patch, baseline)))
        gold, change = diff_of(bug.after, bug.before), diff_of(bug.before, bug.after)
        begin_step("its image", 3, STEPS)
        image, hidden, left, visible = self._hide_tests(first, baseline, gold)
        cases, held_out = [], {}
        if rules.needs_cases and find_cases:
            cases, held_out = find_cases(bug, self)
        verifier = SuiteVerifier(
            # if only listed files count, read only reports, since listed files can print anything
            self.environment.test_script, baseline.reads if rules.counts is None else READS[0],
            hidden, "" if visible else diff_of(left, hidden),
            [*map(escaped_name, first.fail_to_pass)], [*map(escaped_name, first.pass_to_pass)],
            rules.counts, cases=cases, steering=[*filter(STEERS.search, bug.before | bug.after)])
        task, rows = self._run_task(verifier, (gold, change), image, first)
        kept = self.host.keep(image.name, image_name(IMAGES[kind], candidate.name))
        measured = effects(bug)
        task = with_about(
            with_image(task, kept.name), **{
                **self._described(bug, measured["symbols"]), "tests_visible": visible,
                **self._demands(image, gold, hidden),
                "source_commit": self.environment.base_commit, "task_commit": image.base_commit,
                "created_at": baseline.created_at})
        return proven(task, {"runs": [first.row, *rows], "log": first.log,
                             "image_id": kept.image_id, "rules": asdict(rules),
                             "words": candidate.words, **held_out, **measured})

    def _described(self, bug: FirstRun, symbols: list[str]) -> Object:
        """Return the entries for [metadata.codedata], and the labels of the task."""
        config, repo = self.candidate.config, self.environment.repo
        about = {
            **config.get("about", {}), "kind": self.candidate.kind, "method": config["method"],
            "repo": repo, "split": repo,
            "licence": config.get("licence") or self.environment.row.get("licence"), "made_from": {
                "directory": Candidate.directory, "item": self.candidate.name,
                "digest": digest([self.candidate.change, self.candidate.tests])}}
        languages = [language_of(path) for path in sorted(bug.before | bug.after)]
        about["language"] = mode([*filter(None, languages)] or [None])
        if "symbol" in about and symbols and about["symbol"] not in symbols:
            about["symbol"] = symbols[0]
        labels = config.get("labels", {})
        tags = [*filter(None, (about["language"], *labels.get("tags", [])))]
        return {**about, "labels": {**labels, "tags": tags}}

    def _demands(self, image: TaskImage, gold: str, tests: Files) -> Object:
        """Return the demands of the tests that no source in the image has: {"new_names": names and
        wording, "new_values": words in literals}; None for none."""
        patch, host = diff_of({}, tests), self.host
        found = {"new_names": names_brought(gold, patch), "new_values": values_brought(gold, patch)}
        if not any(found.values()):
            return dict.fromkeys(found)
        with host.open(image.name, self.label, host.workdir_of(image.name)) as sandbox:
            files = sources_in(sandbox).files
        return {key: lacking(demands, files) or None for key, demands in found.items()}

    def _excluded(self, reason: str) -> Excluded:
        return Excluded(reason, self.candidate.name)

    # a change that breaks something --------------------------------------------------------------

    def _broken(self) -> tuple[Baseline, FirstRun]:
        """Return the run of the suite without the change, and with it. Raise Excluded if it shows
        that the change cannot become a task."""
        baseline = self.unchanged()
        begin_step("tests with the patch", 2, STEPS)
        first = self._run_patched(self.candidate.change, baseline)
        if reason := first.screened.reason:
            raise self._excluded(reason)
        return baseline, first

    def _run_patched(self, patch: str, baseline: Baseline) -> FirstRun:
        """Run the suite with a patch in the image of env/, and return the run."""
        script = eval_script(suite_tests(self.environment.test_script, reads=baseline.reads))
        return first_run(self.environment, patch, self.host, self.label, self._screening,
                         graded=Grading(script, baseline.statuses, baseline.copies))

    @property
    def _screening(self):
        return screening_rules(self.candidate.kind, self.rules)

    # a change that solves something --------------------------------------------------------------

    def _solved(self) -> tuple[Baseline, FirstRun]:
        """Return the runs of the suite with the change and its tests, and with only its tests. In
        the second, `before` has the files with the solution, `after` at the base commit. Raise
        Excluded if the image shows the change, if its patches do not apply, if tests fail only with
        it, or if none fails without it."""
        candidate, environment = self.candidate, self.environment
        begin_step("its image", 1, STEPS)
        image = self._derive("", candidate.change, candidate.tests or "")
        begin_step("tests with the change", 1, STEPS)
        changed: dict[str, Files] = {}

        def prepare(sandbox: Sandbox) -> None:
            for names, patch in ((("before", "after"), candidate.change),
                                 (("shown", "tests"), candidate.tests)):
                *files, reason = apply_patch(sandbox, patch)
                if reason:
                    raise self._excluded(printable(reason))
                changed.update(zip(names, files, strict=True))

        baseline = run_baseline(environment, self.host, self.label, RUNS_AFTER, prepare)
        known = known_results(environment)
        failing = sorted(test for test, status in baseline.statuses.items()
                         if status in FAILED and known.get(test) not in FAILED)
        if failing:
            raise self._excluded(f"with it, tests fail: {named(failing)}")
        limit_s = math.ceil(TIMES_AFTER * baseline.seconds + MORE_S)
        script = eval_script(suite_tests(environment.test_script, reads=baseline.reads,
                                         timeout_s=limit_s))
        begin_step("tests before the change", 2, STEPS)
        first = first_run(environment, candidate.tests, self.host, self.label, self._screening,
                          limit_s + MORE_S,
                          Grading(script, baseline.statuses, baseline.copies, may_patch_tests=True))
        if first.screened.verdict == SURVIVES[0]:
            raise self._excluded("no test fails before it and passes after it")
        if first.screened.reason:
            raise self._excluded(f"before it, {first.screened.reason}")
        unknown = sorted(test for test in first.screened.not_run
                         if baseline.files[test] in changed["tests"])
        if unknown:
            raise self._excluded("before it, the suite ends before tests that it changes: "
                                 f"{named(unknown)}")
        baseline = replace(baseline, image=image, shown=changed["shown"], tests=changed["tests"])
        return baseline, replace(first, before=changed["after"], after=changed["before"])

    # the image -----------------------------------------------------------------------------------

    def _hide_tests(self, first: FirstRun, baseline: Baseline, gold: str
                    ) -> tuple[TaskImage, Files, Files, str]:
        """Return (the image of a task; the files of its failing tests, which graders restore after
        the agent's work; the contents of these files in the image; why the agent can see the
        failing tests, or ""). In the image, a file keeps its other tests if they pass there. For a
        solution, all test files that it changes are hidden. Raise Excluded if an image shows the
        gold patch or hidden tests, before any run in it."""
        if baseline.image:
            return baseline.image, {**baseline.tests, **baseline.copies}, baseline.shown, ""
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
            image = self._derive(patch, gold, diff_of(left, hidden))
            script = eval_script(suite_tests(self.environment.test_script, workdir=WORKDIR,
                                             reads=baseline.reads))
            run = self._run_image(image.name, script)[0]
            passed = {case.name for case in run.results if case.status == PASSED}
            lost = [test for test in first.pass_to_pass if test not in passed
                    and baseline.files[test] not in tests.keys() - left.keys()
                    and place_of(test, tests) not in failing and COPY not in test]
            if not lost:
                return image, hidden, left, ""
            visible = f"hiding the files of the failing tests breaks other tests: {named(lost)}"
        image = self._derive(diff_of(first.before, first.after), gold)
        return image, {**tests, **baseline.copies}, {}, visible

    def _derive(self, patch: str, gold: str, hidden: str = "") -> TaskImage:
        """Make a task's image, with a patch applied. Raise Excluded if it shows a line of the
        patches `gold` and `hidden`."""
        host, label = self.host, self.label
        base = image_of(self.environment, host, label).name
        image = derive(host, base, patch, host.temporary_name(TRIES), label,
                       self.environment.test_script)
        image = lead_from_testbed(host, image, label)
        if traces := self._traces_in(image, gold, hidden):
            raise self._excluded(f"its image shows the gold or hidden tests: {named(traces)}")
        return image

    def _traces_in(self, image: TaskImage, gold: str, hidden: str) -> list[str]:
        """Return the places in an image that show the gold patch or the hidden tests, and unread
        archives that its base image lacks. Raise ItemFailed if the image is gone."""
        host, environment = self.host, self.environment
        if self.rules.may_be_shown:   # other code may share lines: only long runs count
            gold, hidden = "", gold + hidden
        find = partial(check_task_image, gold=gold, hidden=hidden, files_of=host.files_of)
        traces, unread = find(image.name)
        base = environment.base_image or environment.image_name
        if (traces or unread) and host.has_image(base):
            in_base = find(base)
            unread = {place: unread[place] for place in unread.keys() - in_base[1]}
            # a source from a folder on this machine leaves no traces in our base image
            if base == host.base_image and environment.row.get("reformat_path"):
                traces = [line for line in traces if line not in in_base[0]]
        # a gone image cannot be read, which counted as a trace
        if traces and not host.has_image(image.name):
            raise ItemFailed("its image is gone.", image.name)
        return [*traces, *unread.values()]

    # the task ------------------------------------------------------------------------------------

    def _run_task(self, verifier: SuiteVerifier, patches: tuple[str, str], image: TaskImage,
                  first: FirstRun) -> tuple[Task, list[Object]]:
        """Return (the task with the first variant of its verifier that rewards the gold, but not
        the untouched image; its runs). Raise Excluded if no variant does."""
        reason = ""
        for variant in verifier.variants():
            task = task_of(self.candidate.name, self.candidate.kind, variant, patches, image.name,
                           image.base_commit, first.row["seconds"])
            rows, reason = self._grade(task, first)
            if not reason:
                return task, rows
        raise self._excluded(reason)

    def _grade(self, task: Task, first: FirstRun) -> tuple[list[Object], str]:
        """Grade the gold as Harbor does, and the image without the gold as graders of SWE-bench do.
        Return (the runs, why they do not prove the task, or ""). The image without the gold comes
        second, so that an unsuitable verifier costs only two runs."""
        rows: list[Object] = []
        grader = Grader(self.host, task, image_of_task(task), self.label)
        try:
            begin_step("tests in its image with the gold patch", 4, STEPS)
            work = prove_gold(grader, rows, grader.gold()[0], [1])
            begin_step("tests in its image", 5, STEPS)
            row, reason = self._run_untouched(task, first)
            rows.append(row)
            if not reason:
                begin_step("tests in its image with the gold patch", 6, STEPS)
                prove_gold(grader, rows, work, range(2, self._gold_runs + 1))
        except NotRewarded as e:
            log = printable(e.grade.log.strip()[-500:])
            reason = f"its verifier does not reward the gold patch ({e.run}): {log}"
        return rows, reason

    @property
    def _gold_runs(self) -> int:
        """Return how often the gold is graded: once if all tests are the environment's, and were
        the same in its own runs."""
        is_stable = (len(self.environment.verified.get("test_s", ())) >= GOLD_RUNS
                     and not self.environment.flaky and not self.candidate.solves)
        return 1 if is_stable else GOLD_RUNS

    def _run_untouched(self, task: Task, first: FirstRun) -> tuple[Object, str]:
        """Run the tests of a task in its unchanged image. Return (the run, how its results differ
        from the first run with the patch, or "")."""
        run, reason = self._run_image(image_of_task(task), self._script(task, first))
        shown = self._screening.screened(outcome_of(run, first.known), first.known, "full",
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

    def _run_image(self, image: str, script: str) -> tuple[Run, str]:
        """Run an evaluation script in an image. Return (the run, why graders would read other
        results from its output, or "")."""
        host = self.host
        with host.open(image, self.label, host.workdir_of(image)) as sandbox:
            run, printed = run_evaluation(sandbox, script, host.run_timeout_s)
        return run, "" if was_ended(run) else misread(run, printed)
