"""Make the stages that prove the candidates of a kind, and write the instructions of its tasks."""
from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from codedata.errors import BrokenRecord, Excluded
from codedata.layouts import load
from codedata.records import Task
from codedata.run_loop import Stage
from codedata.sandbox.factory import SandboxFactory
from codedata.states import Writes
from codedata.suites.environments import labelled
from codedata.tasks.folder import PROOF, PROVEN_FIELDS
from codedata.tasks.kinds import Candidate, Kind
from codedata.tasks.prove import PatchProver

NO_CALLS = "no calls: no model is asked"


def prove_stage(kind: Kind, name: str, host: SandboxFactory, **more) -> Stage:
    """Return the stage that proves the candidates of a kind and writes their tasks. What is refused
    is excluded with its reason."""
    prover = PatchProver(kind, host)

    def make(candidate: Candidate, *joined) -> Task:
        if candidate.refused:
            raise Excluded(candidate.refused, candidate.name)
        started = time.monotonic()
        with labelled(host, candidate.name, kind.name) as label:
            task = prover.prove(candidate, label, *joined)
        return replace(task, proof={**task.proof, "seconds": round(time.monotonic() - started, 1)})

    tasks, why_lost = kind.tasks(), host.find_lost(kind.image_prefix)
    return Stage(
        name, make=make, reads=kind.candidates(), joined=kind.joined(),
        writes=Writes(tasks, PROVEN_FIELDS, lacks=lambda task: (
            why_lost(task) or why_outdated(tasks.path(task)))),
        cost_note=NO_CALLS, **more)


def why_outdated(folder: Path) -> str:
    """Return that the proof of the task in a folder is of an earlier version, or ""."""
    proof = {}
    with suppress(BrokenRecord):   # whoever reads the task names it
        proof = load(folder / Task.places["proof"])
    return "its proof is of an earlier version" if proof.get("proof", 1) in range(PROOF) else ""


def instruct_stage(kind: Kind, name: str, **more) -> Stage:
    """Return the stage that writes the instructions of a kind's tasks. One that a person has edited
    is kept."""
    reads, texts = kind.instructed()
    return Stage(
        name, make=lambda task, text: replace(task, instruction=kind.instruction(task, text)),
        reads=reads, joined=(texts,), writes=Writes(reads.store, ("instruction",)),
        cost_note=NO_CALLS, **more)
