"""Prove each chosen bug as an agent's is proven, and write it: the step `report` of
`bug_inject.py scale`. The proof, not screening, decides; whether both saw the same tests fail is in
proof.json."""
from __future__ import annotations

import time
from dataclasses import replace

from codedata.bugs.choose import STAGE, ChosenBug, chosen_in
from codedata.bugs.instances import PROVEN_FIELDS, ProvenBug, bug_tasks
from codedata.bugs.prove import Change, proven, read_by_proof
from codedata.bugs.validate import operator_of
from codedata.bugs.yields_page import write_yields, yields_in_words
from codedata.errors import Excluded
from codedata.records import Analysis, Environment, RepoMeta, Task
from codedata.run_loop import Stage
from codedata.sandbox.factory import SandboxFactory
from codedata.settings import Settings
from codedata.states import Reads, Writes
from codedata.suites.environments import JUDGED_BY, labelled
from codedata.tasks.prove import IMAGES, Prover

SCREENED = ("verdict", "how", "n_run", "seconds", "audited")   # of a verdict's evidence


class ChosenProver:
    """Prove chosen bugs; make() is the item function."""

    def __init__(self, settings: Settings, host: SandboxFactory):
        self._settings, self._host = settings, host
        bug = settings.bug
        self._prover = Prover(host, bug.hide_tests, bug.max_broken_share)

    def stage(self, environments, analyses) -> Stage:
        """Return the stage that proves and writes what is chosen in these environments. `analyses`
        gives the Analysis of a repository by name; where it has none, distances are not known."""
        root, bug = self._settings.root, self._settings.bug
        return Stage(
            STAGE, make=self.make,
            reads=Reads(chosen_in(root, bug), ("base_commit", "diff"),
                        made_by="bug_inject.validate"),
            joined=read_by_proof(root, environments, JUDGED_BY, analyses),
            writes=Writes(bug_tasks(root), PROVEN_FIELDS, lacks=self._host.find_lost(IMAGES)),
            identity={"hide_tests": bug.hide_tests, "max_broken_share": bug.max_broken_share},
            cost_note="no calls: no model is asked", finish=lambda: write_yields(root, bug),
            sum_up=lambda: yields_in_words(root, bug),
            after="bug_inject.py scale --steps validate",
            then="bug_inject.py scale --steps issue")

    def make(self, chosen: ChosenBug, environment: Environment, analysis: Analysis | None,
             meta: RepoMeta | None) -> Task:
        """Return the task of a chosen bug. Raise Excluded where the proof says that it is none,
        ItemFailed where the environment has drifted."""
        name, candidate = chosen.name, chosen.candidate
        screened, started = chosen.verdict["evidence"], time.monotonic()
        change = Change(name, candidate, chosen.method, chosen.item)
        with labelled(self._host, name) as label:
            trouble, shown, task = proven(self._prover, environment, analysis, meta, label, change)
        if trouble:
            raise Excluded(f"its proof says no: {trouble}", name)
        return replace(task, proof={
            **shown, "operator": operator_of(candidate),
            "family": str(candidate.get("family") or ""),
            "lines": candidate.get("lines") or [], "summary": candidate.get("summary") or "",
            "seconds": round(time.monotonic() - started, 1),
            "screened": {**{key: screened[key] for key in SCREENED if key in screened},
                         "same_tests": screened.get("failing") == ProvenBug.of(task).failing}})
