"""Implement stripped patches as a kind of task. Only a test that needs one of the bodies may fail.
Doctests are never graded, since a solver sees them in the docstrings."""
from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path

from codedata.analysis.analyse import COVERAGE_FIELDS
from codedata.code.entities import is_test_file
from codedata.nl2repo.screen_strips import ALL, id_of
from codedata.outcomes import of_strips
from codedata.progress import named
from codedata.records import (
    STRIPPED_PATCH,
    Communities,
    Coverage,
    Environment,
    Object,
    RepoDocument,
    RepoMeta,
    SourceCopy,
    StripPatch,
    Task,
)
from codedata.run_loop import Stage
from codedata.sandbox.factory import SandboxFactory
from codedata.states import Reads
from codedata.store import Derived, Store, all_readable, digest
from codedata.suites.contexts import LANGUAGE
from codedata.suites.test_results import place_of
from codedata.tasks.first_run import ScreeningRules
from codedata.tasks.folder import BEFORE_DOCUMENT, verifier_config
from codedata.tasks.kinds import BrokenRun, Candidate
from codedata.tasks.screen import Screener
from codedata.tasks.stages import instruct_stage, prove_stage
from codedata.tasks.suite_outcomes import GOOD, known_results, time_limit
from codedata.texts import fill, printable, text_of


@dataclass(frozen=True)
class TaskDocument:
    """Hold the document of the functions of a task."""

    instance_id: str
    functions: list[str]
    text: str


def candidates_in(root: Path) -> Derived:
    """Return the stripped patches by id. The id follows from the diff, so an edited patch has a new
    id."""
    def candidate_of(_, patch: StripPatch) -> dict[str, Candidate]:
        name, screened = id_of(patch.repo_name, patch.kind, patch.diff), patch.screened
        refused = ""
        if screened.get("verdict") != GOOD:
            refused = f"rejected by screening: {screened.get('reason')}"
        return {name: Candidate(name, patch.repo_name, patch.base_commit, patch.diff, patch.id,
                                patch.kind, patch.functions, screened=screened, refused=refused)}

    return Derived(Store(root, StripPatch), candidate_of)


def task_documents(root: Path) -> Derived:
    """Return {task id: document} of the tasks whose functions are all documented."""
    def documents_of(_: str, whole: RepoDocument) -> dict[str, TaskDocument]:
        texts = {one.get("subject"): str(one.get("text", "")).strip() for one in whole.sections}
        wanted = {id: ["", *one["functions"]] for id, one in whole.index.items()}
        return {id: TaskDocument(id, names[1:], "\n\n".join(texts[name] for name in names))
                for id, names in wanted.items() if all(map(texts.get, names))}

    return Derived(Store(root, RepoDocument), documents_of, place="document of all its functions")


class Strips:
    """Implement stripped patches as a kind of task. A proof needs a `host`."""

    name, image_prefix, gold_is_long = STRIPPED_PATCH, "codedata-nl2repo/", True
    hides_tests, max_broken_share = True, ALL
    instructed = ("tests",)

    def __init__(self, root: Path, host: SandboxFactory | None = None):
        same = {"same": "base_commit"}
        self._host = host
        self.tasks = Store(root, Task, kind=STRIPPED_PATCH, derived=True)   # of a repository
        self.reads = Reads(candidates_in(root), ("base_commit", "functions", "diff"),
                           made_by="nl2repo.patches")
        self.joined = (
            Reads(Store(root, Coverage), COVERAGE_FIELDS, made_by="analyze.coverage", **same),
            Reads(Store(root, SourceCopy), ("files", "others"), made_by="nl2repo.extract", **same),
            Reads(Store(root, RepoMeta), ("licence",), made_by="nl2repo.meta", **same),
            Reads(Store(root, Communities), ("ungraded",), optional=True, **same))
        self.texts = Reads(task_documents(root), ("functions", "text"), made_by="nl2repo.doc")

    def counted(self, candidate: Candidate, environment: Environment, coverage: Coverage,
                copy: SourceCopy, meta: RepoMeta, communities: Communities | None
                ) -> tuple[Environment, tuple[str, ...]]:
        """Return the environment in which doctests, and tests that a stripped body skips, are not
        graded, and the files of the functions, which are taken from an agent's work."""
        skipped = (communities and communities.ungraded) or []
        paths = {*copy.files, *copy.others}
        # tests that are in no file of tests, as doctests are
        outside = [test for test in known_results(environment)
                   if (path := place_of(test, paths)[0]) and not is_test_file(path)]
        touched = {id.partition("::")[0] for id in candidate.functions}
        return (replace(environment, flaky=[*environment.flaky, *skipped, *outside]),
                tuple(sorted(touched)))

    def refusal(self, candidate: Candidate, run: BrokenRun, label: str, environment: Environment,
                coverage: Coverage, *joined) -> str:
        """Return a reason that names the failing tests which, according to coverage, run none of
        the functions; "" if there are none. A test may need a fixture or a cache that only another
        test runs, so these tests are run again without the others. Tests that fail again need the
        functions, and are not named."""
        wanted, unrelated = {*candidate.functions}, {}
        for test in coverage.tests:
            k = test["functions"]
            ran = () if k is None else (coverage.functions[i] for i in coverage.function_sets[k])
            if k is not None and not test["starts"] and wanted.isdisjoint(ran):
                unrelated[test["name"]] = test
        failing = unrelated.keys() & {*run.fail_to_pass}
        if not failing:
            return ""
        ids = [i for i, id in enumerate(coverage.functions) if id in wanted]
        alone = replace(coverage, function_sets=[ids], tests=[
            {**unrelated[name], "functions": 0} for name in sorted(failing)])
        limit_s = time_limit(environment, self._host.run_timeout_s)
        rules = ScreeningRules(self.max_broken_share)
        with Screener(environment, alone, limit_s, self._host, label, rules) as screener:
            shown, = screener.screen([candidate.diff])
        if shown:
            failing -= {*shown.failing}
        names = printable(named(sorted(failing)))
        return f"tests fail that do not need it: {names}" if failing else ""

    def described(self, candidate: Candidate, run: BrokenRun, environment: Environment,
                  coverage: Coverage, copy: SourceCopy, meta: RepoMeta, *joined
                  ) -> tuple[Object, Object]:
        """Return the entries for [metadata.codedata], such as the functions and the licence, and
        none for proof.json."""
        made_from = {"directory": StripPatch.directory, "item": candidate.item,
                     "digest": digest(candidate.diff)}
        return {"method": candidate.method, "functions": candidate.functions,
                "licence": meta.licence, "language": LANGUAGE, "made_from": made_from,
                "labels": {"category": "rebuild",
                           "tags": [LANGUAGE, "nl2repo", candidate.method]}}, {}

    def instruction(self, task: Task, text: TaskDocument) -> str:
        """Return which functions are to be written, and their document."""
        names = defaultdict(list)
        for function in text.functions:
            path, _, name = function.partition("::")
            names[path].append(f"`{name}`")
        lines = "\n".join(f"- `{path}`: {', '.join(names[path])}" for path in sorted(names))
        python = f"{verifier_config(task).get('activation', '')}python3"
        return fill(text_of("codedata.nl2repo", "instruction.md"), functions=lines, python=python,
                    before=BEFORE_DOCUMENT, document=text.text)


def proof_stage(root: Path, environments: Derived, host: SandboxFactory) -> Stage:
    """Return the stage that proves stripped patches."""
    kind = Strips(root, host)
    tasks = kind.tasks

    def sum_up() -> list[str]:
        return [of_strips(all_readable(root, StripPatch), tasks.names(), tasks.ledger.excluded)]

    return prove_stage(
        kind, "nl2repo.proof", environments, host, sum_up=sum_up,
        after="nl2repo.py --steps relationship", then="nl2repo.py --steps doc_part2,doc_part1,doc")


def instructions_stage(root: Path) -> Stage:
    """Return the stage that writes the instructions of stripped patches."""
    return instruct_stage(
        Strips(root), "nl2repo.instruct", after="nl2repo.py --steps relationship",
        then="export.py --formats nl2repo,harbor")
