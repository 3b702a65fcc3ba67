"""Make the stages that prove the candidates of a kind, and write the instructions of its tasks."""
from __future__ import annotations

import time
from dataclasses import replace

from codedata.errors import Excluded
from codedata.records import Task
from codedata.run_loop import Stage
from codedata.sandbox.factory import SandboxFactory
from codedata.states import Reads, Writes
from codedata.store import Derived
from codedata.suites.environments import JUDGED_BY, labelled
from codedata.tasks.folder import PROOF, PROVEN_FIELDS
from codedata.tasks.kinds import Candidate, Kind
from codedata.tasks.prove import PatchProver

NO_CALLS = "no calls: no model is asked"


def prove_stage(kind: Kind, name: str, environments: Derived, host: SandboxFactory,
                identity: dict | None = None, **more) -> Stage:
    """Return the stage that proves the candidates of a kind and writes their tasks. A candidate
    that is refused is excluded with the reason."""
    prover = PatchProver(kind, host)

    def make(candidate: Candidate, *joined) -> Task:
        if candidate.refused:
            raise Excluded(candidate.refused, candidate.name)
        started = time.monotonic()
        with labelled(host, candidate.name) as label:
            task = prover.prove(candidate, label, *joined)
        return replace(task, proof={**task.proof, "seconds": round(time.monotonic() - started, 1)})

    return Stage(
        name, make=make, reads=kind.reads, cost_note=NO_CALLS,
        joined=(Reads(environments, JUDGED_BY, made_by="env_setup", same="base_commit"),
                *kind.joined),
        writes=Writes(kind.tasks, PROVEN_FIELDS, lacks=host.find_lost(kind.image_prefix)),
        identity={"proof": PROOF, **(identity or {})}, **more)


def instruct_stage(kind: Kind, name: str, **more) -> Stage:
    """Return the stage that writes the instructions of a kind's tasks. Instructions that a person
    has edited are kept."""
    return Stage(
        name, make=lambda task, text: replace(task, instruction=kind.instruction(task, text)),
        reads=Reads(kind.tasks, kind.instructed), joined=(kind.texts,), cost_note=NO_CALLS,
        writes=Writes(kind.tasks, ("instruction",)), **more)
