"""Prove each chosen bug as an agent's is proven, and write it: the step `report` of
`bug_inject.py scale`. The proof, not screening, decides; whether both saw the same tests fail is in
the evidence."""
from __future__ import annotations

import secrets
import time
from functools import lru_cache

from codedata.analysis.measure import READ
from codedata.bugs.choose import STAGE, Chosen, ChosenBug
from codedata.bugs.instances import OF_ISSUE, PROVEN_FIELDS
from codedata.bugs.prove import Change, normalised, proven
from codedata.bugs.validate import operator_of
from codedata.bugs.yields_page import write_yields
from codedata.checks.proof import Prover
from codedata.code.junit import restored_name
from codedata.errors import Excluded, ItemFailed
from codedata.records import Bug, Environment, Object
from codedata.run_loop import Stage
from codedata.sandbox.docker import LOST
from codedata.sandbox.docker_engine import reason
from codedata.sandbox.factory import SandboxFactory
from codedata.settings import Settings
from codedata.states import Reads, Writes
from codedata.store import Store

READ_ANALYSES = 4   # that stay in memory: bugs of one repository follow each other
SCREENED = ("verdict", "how", "n_run", "seconds", "audited")   # of a verdict's evidence


class ChosenProver:
    """Prove chosen bugs; make() is the item function."""

    def __init__(self, settings: Settings, host: SandboxFactory):
        self._settings, self._host = settings, host
        bug = settings.bug
        self._prover = Prover(host, bug.hide_tests, bug.max_broken_share)
        self._analysis_of = lru_cache(READ_ANALYSES)(self._read_analysis)
        self._analyses = None

    def stage(self, environments, analyses) -> Stage:
        """Return the stage that proves and writes what is chosen in these environments. `analyses`
        gives the Analysis of a repository by name; where it has none, distances are not known."""
        self._analyses = analyses.open()
        root, bug = self._settings.root, self._settings.bug
        return Stage(
            STAGE, make=self.make,
            reads=Reads(Chosen(root, bug), ("base_commit", "diff"),
                        made_by="bug_inject.validate"),
            joined=Reads(environments, (*READ, "test_script"), made_by="env_setup"),
            writes=Writes(Store(root, Bug), PROVEN_FIELDS),
            identity={"hide_tests": bug.hide_tests, "max_broken_share": bug.max_broken_share},
            cost_note="no calls: no model is asked", finish=lambda: write_yields(root, bug),
            after="bug_inject.py scale --steps validate",
            then="bug_inject.py scale --steps issue")

    def make(self, chosen: ChosenBug, environment: Environment) -> Bug:
        """Return a chosen bug with its proof. Raise Excluded where the proof says that it is none,
        ItemFailed where the environment has drifted, or is of another commit."""
        name, screened = chosen.name, chosen.verdict["evidence"]
        if chosen.base_commit != environment.base_commit:
            raise ItemFailed(f"its candidate is of another commit: {chosen.base_commit}", name,
                             "Run: python bug_inject.py scale --steps register,generate,validate "
                             f"--only {environment.repo_name}")
        if not name.endswith(f".{normalised(chosen.diff)[:8]}"):
            raise ItemFailed("its verdict has the name of another change.", name)
        if trouble := _unseen_part(chosen.candidate.get("parts"), screened.get("failing") or []):
            raise Excluded(trouble, name)
        started, label = time.monotonic(), f"bug-{name[:40]}-{secrets.token_hex(4)}"
        change = Change(name, chosen.diff, chosen.candidate.get("symbol") or "", chosen.method, "",
                        {})
        try:
            trouble, evidence, instance = proven(self._prover, environment, change,
                                                 self._analysis_of(chosen.repo_name), label)
        except LOST as e:
            raise ItemFailed(f"the engine is gone: {reason(e)}", name) from e
        finally:
            self._host.forget(label)
        if trouble:
            raise Excluded(f"its proof says no: {trouble}", name)
        failing = sorted(map(restored_name, instance["FAIL_TO_PASS"]))
        evidence |= _origin(chosen) | {
            "seconds": round(time.monotonic() - started, 1),
            "screened": {**{key: screened[key] for key in SCREENED if key in screened},
                         "same_tests": screened.get("failing") == failing}}
        return Bug(**dict.fromkeys(OF_ISSUE), **instance, evidence=evidence)

    def _read_analysis(self, repo_name: str):
        return self._analyses.read(repo_name) if repo_name in self._analyses else None


def _origin(chosen: ChosenBug) -> Object:
    """Return how a candidate was made, for the evidence."""
    candidate = chosen.candidate
    return {"operator": operator_of(candidate), "family": str(candidate.get("family") or ""),
            "lines": candidate.get("lines") or [], "summary": candidate.get("summary") or ""}


def _unseen_part(parts: list[list[str]] | None, failing: list[str]) -> str:
    """Return why a bug of several does not show them all, or ""; `parts` are the tests that each
    alone fails, None where it is one bug."""
    for n, part in enumerate(parts or [], 1):
        if not {*failing}.intersection(part):
            return f"no test notices part {n} of {len(parts)}."
    return ""
