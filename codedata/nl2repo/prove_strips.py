"""Prove stripped patches as bugs are proven, in fresh containers: the stage `proof` of the step
`relationship`. Only a test that needs one of the bodies may fail. Doctests are never graded: they
stand in the docstrings that a solver sees."""
from __future__ import annotations

import time
from dataclasses import replace

from codedata.analysis.analyse import COVERAGE_FIELDS
from codedata.analysis.measure import JUDGED_BY
from codedata.checks.evidence import strip_digest
from codedata.code.entities import is_test_file
from codedata.code.environments import labelled
from codedata.code.test_results import place_of
from codedata.errors import Excluded
from codedata.export.nl2repo import measured_verifier
from codedata.nl2repo.screen_strips import ALL, id_of
from codedata.outcomes import of_strips
from codedata.progress import begin_step, named
from codedata.records import (
    Communities,
    Coverage,
    Environment,
    SourceCopy,
    StripPatch,
    StripProof,
)
from codedata.run_loop import Stage
from codedata.sandbox.factory import SandboxFactory
from codedata.settings import Settings
from codedata.states import Reads, Writes
from codedata.store import Derived, Store, all_readable
from codedata.tasks.prove import GOOD, Proof, Prover, known_results, time_limit
from codedata.tasks.screen import Screener
from codedata.tasks.verifier.junit import escaped_name
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
        store = Store(self._root, StripPatch, derived=True)   # of a repository
        return Stage(
            "nl2repo.proof", make=self.make,
            reads=Reads(store, ("base_commit", "functions", "diff"), made_by="nl2repo.patches"),
            joined=(Reads(environments, JUDGED_BY, made_by="env_setup", same="base_commit"),
                    Reads(Store(self._root, Coverage), COVERAGE_FIELDS,
                          made_by="analyze.coverage", same="base_commit"),
                    Reads(Store(self._root, SourceCopy), ("files", "others"),
                          made_by="nl2repo.extract", same="base_commit"),
                    Reads(Store(self._root, Communities), ("ungraded",), same="base_commit",
                          optional=True)),
            writes=Writes(store, ("proof",)), cost_note="no calls: no model is asked",
            sum_up=lambda: [of_strips(all_readable(self._root, StripPatch))],
            after="nl2repo.py --steps relationship",
            then="nl2repo.py --steps doc_part2,doc_part1,doc")

    def make(self, patch: StripPatch, environment: Environment, coverage: Coverage,
             copy: SourceCopy, found: Communities | None) -> StripPatch:
        """Return a patch with what its proof says. Raise Excluded where screening rejects it, or no
        image can be made of its environment, ItemFailed where that has drifted."""
        name, verdict = patch.repo_name, patch.screened.get("verdict")
        if verdict != GOOD:
            raise Excluded(f"screening says no: {patch.screened.get('reason')}", patch.id)
        if patch.id != id_of(name, patch.kind, patch.diff):
            raise Excluded("its diff is not the one that its name is of: the file has to be called "
                           f"{id_of(name, patch.kind, patch.diff)}.json", patch.id)
        started = time.monotonic()
        skipped = (found and found.ungraded) or []
        graded = replace(environment, flaky=[*environment.flaky, *skipped,
                                             *_ungraded(environment, copy)])
        with labelled(self._host, name, "nl2repo") as label:
            proof = self._prover.prove(graded, patch.diff, patch.id, label)
            record = _record(proof, proof.trouble or self._why_unrelated(
                proof, patch, environment, coverage, label))
            if not record["reason"]:
                record |= self._as_task(replace(patch, proof=record), label)
        record |= {"proven": not record["reason"], "digest": strip_digest(patch, record),
                   "seconds": round(time.monotonic() - started, 1)}
        return replace(patch, proof=record)

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
        with Screener(environment, alone, "", time_limit(environment, self._host.run_timeout_s),
                      self._host, label, ALL) as screener:
            shown, = screener.screen([patch.diff])
        if shown and not screener.why_whole:
            odd -= {*shown.failing}
        return f"tests fail that do not need it: {printable(named(sorted(odd)))}" if odd else ""

    def _as_task(self, patch: StripPatch, label: str) -> dict:
        """Return how a task's verifier runs the tests, or why it rewards no gold patch."""
        begin_step("its verifier")
        try:
            return {"verifier": measured_verifier(self._host, patch, label)}
        except Excluded as e:
            return {"reason": e.what}


def _ungraded(environment: Environment, copy: SourceCopy) -> list[str]:
    """Return the tests that are in no file of tests, as doctests are."""
    paths = {*copy.files, *copy.others}
    return [test for test in known_results(environment)
            if (path := place_of(test, paths)[0]) and not is_test_file(path)]


def _record(proof: Proof, reason: str) -> StripProof:
    return {
        "proven": False, "reason": reason, "patch": proof.patch,
        "test_patch": proof.test_patch, "tests_visible": proof.tests_visible,
        "FAIL_TO_PASS": [*map(escaped_name, proof.fail_to_pass)],
        "PASS_TO_PASS": [*map(escaped_name, proof.pass_to_pass)],
        "image_name": proof.image.name, "base_commit": proof.base_commit,
        "eval_script": proof.eval_script, "created_at": proof.created_at, "runs": proof.runs,
        "log": proof.log, "verifier": {}, "digest": "", "seconds": 0.0}
