"""Prove stripped patches as bugs are proven, in fresh containers: the stage `proof` of the step
`relationship`. What is proven becomes a task in task/, what is not is excluded with its reason.
Only a test that needs one of the bodies may fail. Doctests are never graded: they stand in the
docstrings that a solver sees."""
from __future__ import annotations

import time
from dataclasses import replace

from codedata.analysis.analyse import COVERAGE_FIELDS
from codedata.code.entities import is_test_file
from codedata.errors import Excluded
from codedata.nl2repo.screen_strips import ALL, id_of, strip_patches
from codedata.outcomes import of_strips
from codedata.progress import named
from codedata.records import (
    STRIPPED_PATCH,
    Communities,
    Coverage,
    Environment,
    RepoMeta,
    SourceCopy,
    StripPatch,
    Task,
)
from codedata.run_loop import Stage
from codedata.sandbox.factory import SandboxFactory
from codedata.settings import Settings
from codedata.states import Reads, Writes
from codedata.store import Derived, Store, all_readable, digest
from codedata.suites.contexts import LANGUAGE
from codedata.suites.environments import JUDGED_BY, labelled
from codedata.suites.test_results import place_of
from codedata.tasks.first_run import ScreeningRules
from codedata.tasks.folder import PROVEN_FIELDS, with_about
from codedata.tasks.prove import Proof, Prover
from codedata.tasks.screen import Screener
from codedata.tasks.suite_outcomes import GOOD, known_results, time_limit
from codedata.texts import printable

IMAGES = "codedata-nl2repo/"


class StripProver:
    """Prove patches; make() is the item function."""

    def __init__(self, settings: Settings, host: SandboxFactory):
        self._root, self._host = settings.root, host
        self._prover = Prover(host, hide_tests=True, max_broken_share=ALL, images=IMAGES,
                              is_long=True)

    def stage(self, environments: Derived) -> Stage:
        """Return the stage."""
        tasks = Store(self._root, Task, kind=STRIPPED_PATCH)
        return Stage(
            "nl2repo.proof", make=self.make,
            reads=Reads(strip_patches(self._root), ("base_commit", "functions", "diff"),
                        made_by="nl2repo.patches"),
            joined=(Reads(environments, JUDGED_BY, made_by="env_setup", same="base_commit"),
                    Reads(Store(self._root, Coverage), COVERAGE_FIELDS,
                          made_by="analyze.coverage", same="base_commit"),
                    Reads(Store(self._root, SourceCopy), ("files", "others"),
                          made_by="nl2repo.extract", same="base_commit"),
                    Reads(Store(self._root, RepoMeta), ("licence",), made_by="nl2repo.meta",
                          same="base_commit"),
                    Reads(Store(self._root, Communities), ("ungraded",), same="base_commit",
                          optional=True)),
            writes=Writes(tasks, PROVEN_FIELDS, lacks=self._host.find_lost(IMAGES)),
            cost_note="no calls: no model is asked",
            sum_up=lambda: [of_strips(all_readable(self._root, StripPatch), tasks.names(),
                                      tasks.ledger.excluded)],
            after="nl2repo.py --steps relationship",
            then="nl2repo.py --steps doc_part2,doc_part1,doc")

    def make(self, patch: StripPatch, environment: Environment, coverage: Coverage,
             copy: SourceCopy, meta: RepoMeta, found: Communities | None) -> Task:
        """Return the task of a patch. Raise Excluded where screening or the proof refuses it, or no
        image can be made of its environment, ItemFailed where that has drifted."""
        if patch.screened.get("verdict") != GOOD:
            raise Excluded(f"screening says no: {patch.screened.get('reason')}", patch.id)
        started = time.monotonic()
        skipped = (found and found.ungraded) or []
        graded = replace(environment, flaky=[*environment.flaky, *skipped,
                                             *_ungraded(environment, copy)])
        touched = tuple(sorted({id.partition("::")[0] for id in patch.functions}))
        with labelled(self._host, patch.repo_name, "nl2repo") as label:
            proof = self._prover.prove(
                graded, patch.diff, id_of(patch.repo_name, patch.kind, patch.diff), label,
                STRIPPED_PATCH, touched)
            if reason := proof.trouble or self._why_unrelated(
                    proof, patch, environment, coverage, label):
                raise Excluded(reason, patch.id)
        made_from = {"directory": StripPatch.directory, "item": patch.id,
                     "digest": digest(patch.diff)}
        task = with_about(
            proof.task, method=patch.kind, functions=patch.functions, licence=meta.licence,
            language=LANGUAGE, made_from=made_from,
            labels={"category": "rebuild", "tags": [LANGUAGE, "nl2repo", patch.kind]})
        return replace(task, proof={**task.proof, "seconds": round(time.monotonic() - started, 1)})

    def _why_unrelated(self, proof: Proof, patch: StripPatch, environment: Environment,
                       coverage: Coverage, label: str) -> str:
        """Return which tests fail that run none of the functions, as far as it is known what they
        run; "" where there are none. A fixture or a cache that tests share is run by one of them,
        and the others need it, too: they fail where none but them run."""
        wanted, free = {*patch.functions}, {}
        for test in coverage.tests:
            k = test["functions"]
            ran = () if k is None else (coverage.functions[i] for i in coverage.function_sets[k])
            if k is not None and not test["starts"] and wanted.isdisjoint(ran):
                free[test["name"]] = test
        odd = free.keys() & {*proof.fail_to_pass}
        if not odd:
            return ""
        ids = [i for i, id in enumerate(coverage.functions) if id in wanted]
        alone = replace(coverage, function_sets=[ids],
                        tests=[{**free[name], "functions": 0} for name in sorted(odd)])
        with Screener(environment, alone, time_limit(environment, self._host.run_timeout_s),
                      self._host, label, ScreeningRules(ALL)) as screener:
            shown, = screener.screen([patch.diff])
        if shown:
            odd -= {*shown.failing}
        return f"tests fail that do not need it: {printable(named(sorted(odd)))}" if odd else ""


def _ungraded(environment: Environment, copy: SourceCopy) -> list[str]:
    """Return the tests that are in no file of tests, as doctests are."""
    paths = {*copy.files, *copy.others}
    return [test for test in known_results(environment)
            if (path := place_of(test, paths)[0]) and not is_test_file(path)]
