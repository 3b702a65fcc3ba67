"""Convert stripped patches: the proof in nl2repo/_patches/<id>.json becomes a task."""
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from conversion.carried import Carrier
from conversion.old import FAULTS, as_proven, digests, longest_s, put, records_in, verifier_of, why

from codedata.records import STRIPPED_PATCH, Object, RepoMeta, StripPatch, Task
from codedata.run_loop import Stage
from codedata.settings import Settings
from codedata.store import Store, digest, known
from codedata.suites.contexts import LANGUAGE
from codedata.tasks.folder import with_about
from codedata.tasks.repository import task_of

OF_PATCH = ("functions", "diff")   # that were proven; and of the proof:
OF_PROOF = ("patch", "test_patch", "FAIL_TO_PASS", "PASS_TO_PASS", "eval_script", "image_name",
            "base_commit")
HOW = {"user": "nobody", "canary": ""}   # a verifier ran tests, where a proof did not say


def convert_strips(root: Path, settings: Settings, stage_of: Callable[[str], Stage],
                   refuse: Callable[[Path, str], None]) -> int:
    """Convert all stripped patches of a root, or what a killed run has left; return the number of
    tasks. `stage_of` gives the stages of nl2repo.py by step; refuse() is told of what cannot be
    converted, and why."""
    olds: dict[Path, Object] = {}
    tasks = Store(root, Task, kind=STRIPPED_PATCH).open()
    metas = Store(root, RepoMeta).open()
    fields, n_tasks = stage_of("proof").writes.fields, 0
    for path, patch in records_in(root / StripPatch.directory, "proof"):
        try:
            if patch["proof"] and patch["proof"]["proven"]:
                meta = known(metas, patch["repo_name"], patch["base_commit"])
                put(tasks, _task(patch, meta.licence if meta else None), fields)
                n_tasks += 1
            olds[path] = patch
        except FAULTS as e:
            refuse(path, why(e))
    if olds:
        proof = Carrier(stage_of("proof"), settings, root / StripPatch.directory)
        proof.adopt_all({path.stem: digests(patch) for path, patch in olds.items()})
        proof.refuse_all({path.stem: patch["proof"]["reason"] for path, patch in olds.items()
                          if patch["proof"] and not patch["proof"]["proven"]})
        proof.carry_others()
        patches = Carrier(stage_of("patches"), settings, root / StripPatch.directory)
        for path, patch in olds.items():
            patches.switch(path, patch, {key: value for key, value in patch.items()
                                         if key != "proof"}, patch["repo_name"])
    return n_tasks


def _task(patch: Object, licence: str | None) -> Task:
    proof, kind = patch["proof"], patch["kind"]
    touched = tuple(sorted({name.partition("::")[0] for name in patch["functions"]}))
    verifier = verifier_of(proof, counts=touched, **{**HOW, **(proof.get("verifier") or {})})
    task = task_of(patch["id"], STRIPPED_PATCH, verifier, (proof["patch"], patch["diff"]),
                   proof["image_name"], proof["base_commit"], longest_s(proof["runs"]))
    task = with_about(
        task, repo=patch["repo"], split=patch["repo"], source_commit=patch["base_commit"],
        task_commit=proof["base_commit"], created_at=proof["created_at"],
        tests_visible=proof["tests_visible"], method=kind, functions=patch["functions"],
        licence=licence, language=LANGUAGE,
        made_from={"directory": StripPatch.directory, "item": patch["id"],
                   "digest": digest(patch["diff"])},
        labels={"category": "rebuild", "tags": [LANGUAGE, "nl2repo", kind]})
    was = digest([{name: patch[name] for name in OF_PATCH},
                  {name: proof[name] for name in OF_PROOF}])
    shown = {name: proof[name] for name in ("runs", "log", "seconds")}
    return as_proven(task, shown, was, proof["digest"])
