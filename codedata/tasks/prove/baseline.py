"""Run a repository's suite without a change, as a task's verifier will run it."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from codedata.errors import Excluded, ItemFailed
from codedata.records import Environment
from codedata.sandbox import Sandbox
from codedata.sandbox.factory import SandboxFactory
from codedata.suites.contexts import sources_in
from codedata.suites.environments import open_environment
from codedata.suites.project_suite import Run, compare
from codedata.suites.source import Files, commit_date
from codedata.suites.test_results import place_of
from codedata.tasks.folder.eval_script import eval_script, misread, run_evaluation
from codedata.tasks.folder.tests_folder import READS, suite_tests
from codedata.tasks.image.task_image import TaskImage
from codedata.tasks.prove.hidden_tests import DOCUMENT, EXAMPLE, copied_examples
from codedata.tasks.prove.outcomes import ignored_tests, known_results


@dataclass(frozen=True, slots=True)
class Baseline:
    """Hold the results of a suite without a change. For a solution (a change that makes tests
    pass), hold the results with it."""

    statuses: dict[str, str]     # only for the counting tests
    files: dict[str, str]        # {test: its file, or "" if no file fits its name}
    texts: Files                 # the contents of these files
    copies: Files                # hidden files with copies of the examples in doctests
    created_at: str              # date of the commit, "" if there is none
    reads: str                   # where evaluation scripts find the results, one of READS
    ignored: set[str]            # tests that do not count
    seconds: float               # duration of the longest run
    # for a solution: the task's image; the solution's test files in the image, and with it
    image: TaskImage | None = None
    shown: Files = field(default_factory=dict)
    tests: Files = field(default_factory=dict)


def run_baseline(environment: Environment, host: SandboxFactory, label: str, n_runs: int,
                 prepare: Callable[[Sandbox], None] = lambda sandbox: None) -> Baseline:
    """Run the suite `n_runs` times, each in a sandbox that prepare() has changed. Raise ItemFailed
    if it does not end, Excluded if graders could not read its results."""
    name = environment.repo_name
    runs: list[Run] = []
    reads = [*READS]
    while len(runs) < n_runs:
        script = eval_script(suite_tests(environment.test_script, reads=reads[0]))
        with open_environment(environment, host, label) as sandbox:
            prepare(sandbox)
            sources = sources_in(sandbox).files
            examples = {file.path: file.text for file in sources
                        if EXAMPLE.search(file.text) and not file.is_test}
            tested = {place_of(test, examples)[0] for test in known_results(environment)}
            copies = copied_examples({path: examples[path] for path in tested - {""}})
            sandbox.put(copies, ".")
            created_at = commit_date(sandbox, environment.base_commit)
            run, printed = run_evaluation(sandbox, script, host.run_timeout_s)
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
