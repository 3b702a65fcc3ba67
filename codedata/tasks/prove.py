"""Prove by execution that a patch is a bug: tests that passed fail with it, others go on passing,
and an image can be handed on in which its reverse heals it.

Each run is of the whole suite, in a fresh container without network. Tests that env/ calls flaky,
and those that need the network, count for nothing. It is proven what the runs showed, with the very
script that graders run, not that a test which agreed each time will never come out otherwise.
"""
from __future__ import annotations

import secrets
import threading
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial

from codedata.code.patches import diff_of
from codedata.errors import Excluded, ItemFailed
from codedata.progress import begin_step, named
from codedata.records import BUG, Environment, Object, Task
from codedata.sandbox.factory import WORKDIR, KeptImage, SandboxFactory
from codedata.sandbox.registry import image_name
from codedata.store import digest
from codedata.suites.contexts import sources_in
from codedata.suites.environments import image_of, open_environment
from codedata.suites.source import Files, commit_date, is_text
from codedata.suites.suite import Run, compare
from codedata.suites.test_results import place_of
from codedata.tasks.eval_script import eval_script, misread, run_evaluation, script_of
from codedata.tasks.first_run import LOG_CHARS, patch_source
from codedata.tasks.folder import image_of as image_of_task
from codedata.tasks.folder import proven, with_about
from codedata.tasks.grade import Grader
from codedata.tasks.images import TaskImage, check_task_image, derive, lead_from_testbed
from codedata.tasks.known_files import KnownFiles
from codedata.tasks.repository import Graded, Target, task_of, ways, with_image
from codedata.tasks.suite_outcomes import (
    FAILED,
    GOOD,
    PASSED,
    broken_in,
    check_drift,
    ignored_tests,
    judged,
    known_results,
    outcome_of,
    time_limit,
)
from codedata.tasks.tests_folder import READS, suite_tests
from codedata.tasks.verifier.junit import escaped_name
from codedata.tasks.verifier.suite import MARKS
from codedata.texts import printable

IMAGES, TRIES = "codedata-bug/", "codedata-bug-try/"
BUG_RUNS = 3
STEPS = BUG_RUNS + 4       # of a proof
ROW_RUNS = 3              # without a patch, where no verification says which tests are flaky
KNOWN_IMAGES = 2          # whose files are kept at a time


@dataclass(frozen=True, slots=True)
class Clean:
    """Hold what is known of an environment without a bug."""

    statuses: dict[str, str]     # of the tests that count
    files: dict[str, str]        # of each of them: its file, or "" where none fits its name
    texts: Files                 # of these files
    created_at: str              # date of the commit, "" where there is none
    reads: str                   # from where its evaluation scripts have the cases, of READS
    # by files that are hidden: the tests that pass without them, as the first bug has shown
    passed_without: dict[frozenset[str], set[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Proof:
    """Hold what the runs showed, up to the first that speaks against the bug."""

    trouble: str = ""            # why it is no bug; "" where it is proven
    runs: list[Object] = field(default_factory=list)
    fail_to_pass: list[str] = field(default_factory=list)   # as run_suite() names them
    pass_to_pass: list[str] = field(default_factory=list)
    before: Files = field(default_factory=dict)   # the files that it changes, and
    after: Files = field(default_factory=dict)    # what they are with the bug
    log: str = ""                # the end of what a run with the bug printed
    bug_patch: str = ""
    patch: str = ""              # its reverse
    test_patch: str = ""
    tests_visible: str = ""      # why no test is hidden; "" where they are
    image: KeptImage = field(default_factory=KeptImage)
    base_commit: str = ""
    created_at: str = ""
    task: Task | None = None     # that it is proof of, without an instruction


class Prover:
    """Prove bugs, and keep what is known of each environment. The caller removes what was made
    under a label, by factory.forget()."""

    def __init__(self, factory: SandboxFactory, hide_tests: bool, max_broken_share: float,
                 images: str = IMAGES, is_long: bool = False):
        """Take the share of the passing tests that a bug may break, what the names of images begin
        with, and whether what heals it is so long that any project has lines of it: then only long
        runs of them, or a whole one, give it away."""
        self._factory, self._images, self._is_long = factory, images, is_long
        self._hide_tests = hide_tests
        self._max_broken_share = max_broken_share
        self._known: dict[str, Clean] = {}
        self._locks = defaultdict(threading.Lock)   # one run without a bug at a time
        self._known_files = lru_cache(KNOWN_IMAGES)(KnownFiles)

    def prove(self, environment: Environment, bug_patch: str, instance_id: str, label: str,
              kind: str = BUG, counts: tuple[str, ...] | None = None) -> Proof:
        """Return the proof that a patch is a bug, with its task and an image that is kept, or why
        it is none. `counts` are the files of an agent's work that count; None: all but tests.
        Raise ItemFailed where the environment is not as env/ says, Excluded where no image can be
        made of it, or graders could not read its results."""
        name = environment.repo_name
        if not self._factory.makes_images:
            raise Excluded(f"no image can be made: --sandbox {self._factory.name} makes none.",
                           name)
        key = digest([name, environment.base_commit, environment.image_name,
                      environment.test_script, environment.test_case_result])
        begin_step("tests without the patch", 1, STEPS)
        with self._locks[key]:
            clean = self._known.get(key) or self._run_clean(environment, label)
            self._known[key] = clean
        proof = replace(self._run_with_bug(environment, bug_patch, clean, label),
                        created_at=clean.created_at)
        target = Target(instance_id, kind, counts)
        return proof if proof.trouble else self._ship(environment, proof, clean, target, label)

    # without the bug -----------------------------------------------------------------------------

    def _run_clean(self, environment: Environment, label: str) -> Clean:
        name = environment.repo_name
        runs: list[Run] = []
        reads = [*READS]
        while len(runs) < (1 if environment.install_script else ROW_RUNS):
            script = eval_script(suite_tests(environment.test_script, reads=reads[0]))
            with open_environment(environment, self._factory, label) as sandbox:
                sources = sources_in(sandbox)
                created_at = commit_date(sandbox, environment.base_commit)
                run, printed = run_evaluation(sandbox, script, self._factory.run_timeout_s)
            if run.timed_out:
                raise ItemFailed("the environment has drifted: its suite does not end.", name)
            trouble = misread(run, printed)
            if trouble and len(reads) == 1:
                raise Excluded(f"{trouble}.", name)
            if trouble:
                del reads[0]   # from now on: it has not all results
            else:
                runs.append(run)
        statuses, flaky = compare(runs)
        ignored = ignored_tests(environment).union(flaky)
        statuses = {test: statuses[test] for test in statuses if test not in ignored}
        if environment.install_script:   # one run: a name that is new may hold the time
            statuses = {test: statuses[test] for test in known_results(environment)
                        if test in statuses}
        check_drift(environment, statuses, ignored)
        texts = {file.path: file.text for file in sources.files}
        files = {test: place_of(test, texts)[0] for test in statuses}
        return Clean(statuses, files, {path: texts[path] for path in {*files.values()} - {""}},
                     created_at, reads[0])

    # with the bug --------------------------------------------------------------------------------

    def _run_with_bug(self, environment: Environment, patch: str, clean: Clean,
                      label: str) -> Proof:
        proof = Proof()
        script = eval_script(suite_tests(environment.test_script, reads=clean.reads))
        for k in range(BUG_RUNS):
            begin_step("tests with the patch", k + 2, STEPS)
            with open_environment(environment, self._factory, label) as sandbox:
                before, after, trouble = patch_source(sandbox, patch)
                if trouble:
                    return replace(proof, trouble=trouble)
                run, printed = run_evaluation(sandbox, script, self._timeout_s(environment))
            outcome = outcome_of(run, clean.statuses)
            broken = broken_in(outcome, clean.statuses)
            verdict, trouble = judged(outcome, clean.statuses, self._max_broken_share)
            if verdict in (GOOD, "survives") and proof.runs and broken != proof.fail_to_pass:
                odd = sorted({*broken} ^ {*proof.fail_to_pass})
                trouble = f"these tests do not fail in every run: {printable(named(odd))}"
            proof = replace(
                proof, trouble=trouble or misread(run, printed), before=before, after=after,
                fail_to_pass=broken, log=printed.rpartition(MARKS[1])[2].strip()[-LOG_CHARS:],
                runs=[*proof.runs, _row("bug", run, clean.statuses)])
            if proof.trouble:
                return proof
        passed = [test for test, status in clean.statuses.items()
                  if status == PASSED and test not in {*broken}]
        return replace(proof, pass_to_pass=passed, bug_patch=diff_of(before, after),
                       patch=diff_of(after, before))

    def _timeout_s(self, environment: Environment) -> float:
        return time_limit(environment, self._factory.run_timeout_s)

    # the image -----------------------------------------------------------------------------------

    def _ship(self, environment: Environment, proof: Proof, clean: Clean, target: Target,
              label: str) -> Proof:
        """Return the proof with the task and the image that holds the bug, where that shows what it
        shows."""
        begin_step("its image", STEPS - 2, STEPS)
        tests, visible = self._tests_to_place(proof, clean)
        image, visible = self._image_of(environment, proof, clean, (tests, visible), label)
        proof = replace(proof, tests_visible=visible, base_commit=image.base_commit,
                        test_patch="" if visible else diff_of({}, tests))
        if traces := self._traces_in(image, environment, proof):
            return replace(proof, trouble=f"its image gives it away: {printable(named(traces))}")
        # where the files that count are listed, no result is taken from what these can print
        reads = clean.reads if target.counts is None else READS[0]
        graded = Graded(environment.test_script, reads, tests, proof.test_patch,
                        [*map(escaped_name, proof.fail_to_pass)],
                        [*map(escaped_name, proof.pass_to_pass)])
        proof = self._grade(image, proof, clean, partial(task_of, target, graded), label)
        if proof.trouble:
            return proof
        kept = self._factory.keep(image.name, image_name(self._images, target.instance_id))
        task = with_about(
            with_image(proof.task, kept.name), repo=environment.repo, split=environment.repo,
            source_commit=environment.base_commit, task_commit=image.base_commit,
            created_at=proof.created_at, tests_visible=proof.tests_visible)
        return replace(proof, image=kept, task=proven(task, {
            "runs": proof.runs, "log": proof.log, "image_id": kept.image_id,
            "image_trouble": kept.trouble}))

    def _image_of(self, environment: Environment, proof: Proof, clean: Clean,
                  hiding: tuple[Files, str], label: str) -> tuple[TaskImage, str]:
        """Return the image of a task, and why the tests cannot be hidden in it, or "": `hiding` are
        the tests, and what is known of that so far."""
        tests, visible = hiding
        image = self._derive(environment, proof, {} if visible else tests, label)
        if visible:
            return image, visible
        # all tests that the bug fails are in these files: that others pass without them is the
        # same for every bug with the same files
        hidden = frozenset(tests)
        if hidden not in clean.passed_without:
            bare = self._script(environment, {}, clean)
            run = self._run_image(image.name, bare, label)[0]
            clean.passed_without[hidden] = {case.name for case in run.results
                                            if case.status == PASSED}
        lost = [test for test in proof.pass_to_pass if clean.files[test] not in tests
                and test not in clean.passed_without[hidden]]
        if not lost:
            return image, ""
        return (self._derive(environment, proof, {}, label),
                f"without them others do not pass: {printable(named(lost))}")

    def _traces_in(self, image: TaskImage, environment: Environment, proof: Proof) -> list[str]:
        """Return where an image gives the gold patch or the hidden tests away. Raise ItemFailed
        where the image is gone."""
        gold, hidden = proof.patch, proof.test_patch
        if self._is_long:
            gold, hidden = "", gold + hidden
        found = partial(check_task_image, image.name, gold, hidden, image.changed,
                        self._files_below(image))
        traces, base = found(), environment.base_image
        # where the source came from a folder, our own base has nothing of the project
        if (traces and base == self._factory.base_image and environment.row.get("reformat_path")
                and self._factory.has_image(base)):
            with self._locks["files"]:
                known = self._known_files(base, WORKDIR)
            traces = found(known)
        if traces and not self._factory.has_image(image.name):   # what cannot be read is a trace
            raise ItemFailed("its image is gone.", image.name)
        return traces

    @staticmethod
    def _script(environment: Environment, hidden: Files, clean: Clean) -> str:
        """Return the evaluation script of an image, which puts hidden tests in place."""
        return eval_script(suite_tests(environment.test_script, hidden, workdir=WORKDIR,
                                       reads=clean.reads))

    def _tests_to_place(self, proof: Proof, clean: Clean) -> tuple[Files, str]:
        """Return the files of the failing tests, which graders put in place whatever an agent has
        left there, and why they cannot be hidden from it, or ""."""
        held = {clean.files[test] for test in proof.fail_to_pass}
        places = sorted(held - {"", *proof.before})
        tests = {path: clean.texts[path] for path in places if is_text(clean.texts[path])}
        if not self._hide_tests:
            return tests, "[bug] hide_tests is off"
        if tests.keys() != held:
            return tests, "some have no file of their own"
        return tests, ""

    def _derive(self, environment: Environment, proof: Proof, hidden: Files,
                label: str) -> TaskImage:
        """Return a task's image with the bug, and without some files."""
        base = image_of(environment, self._factory, label).name
        patch = diff_of({**proof.before, **hidden}, proof.after)
        image = derive(self._factory, base, patch, f"{TRIES}{secrets.token_hex(4)}", label)
        return lead_from_testbed(self._factory, image, label)

    def _files_below(self, image: TaskImage) -> KnownFiles | None:
        """Return the files of the image that one was made of, which many bugs have in common; None
        where it is not known what changed since."""
        if image.changed is None:
            return None
        with self._locks["files"]:
            return self._known_files(image.made_of, self._factory.workdir_of(image.name))

    def _grade(self, image: TaskImage, proof: Proof, clean: Clean,
               task_of: Callable[..., Task], label: str) -> Proof:
        """Return the proof with a task whose verifier rewards the gold patch, and nothing else: in
        the first way to run the suite in which it does."""
        longest_s = max(run["seconds"] for run in proof.runs)
        found = proof
        for way in ways([*map(escaped_name, proof.fail_to_pass)]):
            task = task_of(way, (proof.patch, proof.bug_patch), image.name, image.base_commit,
                           longest_s)
            found = self._graded(replace(proof, task=task), clean, label)
            if not found.trouble:
                break
        return found

    def _graded(self, proof: Proof, clean: Clean, label: str) -> Proof:
        """Return the proof with two runs of its task: of the gold patch, as Harbor grades it, and
        of the image as it is, as graders of SWE-bench do."""
        name = "image with the gold patch"
        begin_step(f"tests in its {name}", STEPS - 1, STEPS)
        grader = Grader(self._factory, proof.task, image_of_task(proof.task), label)
        grade = grader.grade(grader.gold()[0])
        row = {"of": name, "reward": grade.reward, "seconds": round(grade.seconds, 1)}
        if grade.reward != 1.0:
            log = printable(grade.log.strip()[-500:])
            return replace(proof, trouble=f"its verifier does not reward the gold patch: {log}",
                           runs=[*proof.runs, row])
        begin_step("tests in its image", STEPS, STEPS)
        script = script_of(proof.task)
        run, trouble = self._run_image(image_of_task(proof.task), script, label)
        statuses = outcome_of(run, clean.statuses).statuses
        odd = [*(test for test in proof.pass_to_pass if statuses.get(test) != PASSED),
               *(test for test in proof.fail_to_pass if statuses.get(test) not in FAILED)]
        if odd and not trouble:
            trouble = f"these tests come out otherwise: {printable(named(odd))}"
        return replace(proof, trouble=f"its image: {trouble}" if trouble else "",
                       runs=[*proof.runs, _row("image", run, clean.statuses), row])

    def _run_image(self, image: str, script: str, label: str) -> tuple[Run, str]:
        """Return a run of an evaluation script in an image, and why graders would read something
        else, or ""."""
        with self._factory.open(image, label, self._factory.workdir_of(image)) as sandbox:
            run, printed = run_evaluation(sandbox, script, self._factory.run_timeout_s)
        return run, misread(run, printed)


def _row(name: str, run: Run, known: Mapping[str, str]) -> Object:
    n_passed = sum(case.status == PASSED for case in run.results)
    return {"of": name, "broken": len(broken_in(outcome_of(run, known), known)), "passed": n_passed,
            "cases": len(run.results), "exit_code": run.exit_code, "seconds": run.seconds}
