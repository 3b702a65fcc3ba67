"""Check datapoints. The item of a run is a datapoint's content: the same content in two folders is
checked once. A datapoint in task/ that differs from its proof is checked and proven again.

A content without faults in datapoints/validate.py is then audited by checks of audit.py (AUDITED).
"""
from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

from codedata.audit.audit_stage import CHECKS as AUDIT_CHECKS
from codedata.audit.audit_stage import audit, check_builds_images, has_ended
from codedata.audit.audited import GOLD_GETS
from codedata.datapoints.approval import (
    approval_problem,
    is_as_proven,
    label_faults,
    lacking_rivals,
)
from codedata.datapoints.datapoint_folder import (
    content_digest,
    folder_of,
    folders_in_dp,
    folders_in_tasks,
    read_all,
    read_datapoint,
    texts_of,
)
from codedata.datapoints.task_queue import Refusal
from codedata.datapoints.validate import CHECKS, MAX_EVIDENCE, MAX_LINE, Validation
from codedata.disk.store import Derived, Store, known_in, put_in
from codedata.errors import BrokenRecord, ItemFailed
from codedata.llm.client import Models
from codedata.records import (
    DATAPOINT,
    FAILED,
    NO_CASE,
    REVIEW,
    AuditCheck,
    DatapointCheck,
    DatapointChecks,
    Object,
    RivalledTask,
    Task,
    TaskAudit,
    parse,
)
from codedata.run.stage import Reads, Stage, Writes
from codedata.run.talk import current_step
from codedata.sandbox.copies import at_hand
from codedata.sandbox.docker import engine
from codedata.sandbox.factory import SandboxFactory
from codedata.sandbox.images.dockerfile import base_of
from codedata.suites.environments import labelled
from codedata.tasks.folder.task_folder import PROOF, audited_digest, proven, rivals_digest
from codedata.tasks.prove.grader import NOT_BUILT
from codedata.texts import printable

KEYS = "content", "base_image", "validator", "rivals"
AUDITED = "cheats", "tests_read", "answer", "strength", "fairness", "rivals", "untouched"
HOLDS = {"validate": DatapointChecks, "prove": (Task, DATAPOINT)}   # {step: its kind of record}


@dataclass(frozen=True)
class Content:
    """Hold the digests of a datapoint's content and rivals, its base image and the validator's
    version. While these are unchanged, the content is not checked again."""

    instance_id: str
    folder: str
    content: str
    base_image: str
    validator: int
    rivals: str


def contents_in(folders: Iterable[Path], root: Path, by_name: bool = False) -> Derived:
    """Return the contents of folders by digest, or by folder name with `by_name`. Records of
    contents that are not in these folders do not count as orphans."""
    def content_in(_folder: str, task: Task) -> dict[str, Content]:
        content = content_of(task, known_checks(root, task))
        return {task.instance_id if by_name else content.content: content}

    return Derived(lambda: {str(folder): partial(read_datapoint, folder) for folder in folders},
                   content_in, place="the datapoints", derived=False, keeps=lambda name: True)


def content_of(task: RivalledTask, checks: DatapointChecks | None) -> Content:
    """Return the content of a datapoint. If the engine does not have its base image, use the base
    image on which `checks` were made, or ""."""
    base = base_image_of(task) or (checks.base_image if checks else "")
    return Content(task.instance_id, str(folder_of(task)), content_digest(task), base, PROOF,
                   rivals_digest(task))


def base_image_of(task: Task) -> str:
    """Return the engine's id of a datapoint's base image, "" if the engine does not have it."""
    return engine.image_id(base_of(texts_of(task).dockerfile))


def known_checks(root: Path, task: Task) -> DatapointChecks | None:
    """Return the results of a datapoint's checks: from dp/_checks/, else from its proof."""
    content = content_digest(task)
    checks = known_in(root, DatapointChecks, content)
    if checks or (task.proof or {}).get("content") != content:
        return checks
    with suppress(BrokenRecord):
        return parse(DatapointChecks, {**task.proof, "instance_id": task.instance_id, "ok": True},
                     str(folder_of(task)))
    return None


# the stages --------------------------------------------------------------------------------------

def steps_of(root: Path, folders: Sequence[Path], anew: bool,
             host: Callable[[Models], SandboxFactory]) -> dict[str, Callable[[Models], Stage]]:
    """Return the steps of `validate`. Check the given folders; without any, check the datapoints in
    dp/ and prove the datapoints in task/."""
    tasks = [] if folders else folders_in_tasks(root)
    others = folders or folders_in_dp(root)
    steps = {}
    if others or not tasks:
        steps["validate"] = lambda models: validate_stage(root, host(models), others)
    if tasks:
        steps["prove"] = lambda models: _prove_stage(root, host(models), tasks, anew)
    return steps


def validate_stage(root: Path, host: SandboxFactory, folders: Iterable[Path]) -> Stage:
    """Return the stage that checks contents. Raise Trouble if the sandbox cannot build images."""
    check_builds_images(host)
    return Stage(
        "build_dp.validate", make=partial(labelled_checks, root, host),
        reads=Reads(contents_in(folders, root), KEYS),
        writes=Writes(Store(root, DatapointChecks), fault=lambda record: not_built(record.checks)))


def _prove_stage(root: Path, host: SandboxFactory, folders: Iterable[Path], anew: bool) -> Stage:
    """Return the stage that proves the datapoints in task/ that differ from their proof. With
    `anew`, ignore earlier check results."""
    check_builds_images(host)

    def prove(content: Content) -> Task:
        with (labelled(host, content.instance_id, "dp") as label,
              at_hand(Path(content.folder)) as folder):
            task = read_datapoint(folder)
            checks = checks_of(
                root, task, lambda found: run_checks(root, host, label, task, found), anew)
            if problem := approval_problem(task, checks, content.base_image):
                raise ItemFailed(problem, content.folder)
            return with_proof(root, task, checks)

    return Stage("build_dp.prove", make=prove, identity={"proof": PROOF},
                 reads=Reads(contents_in(folders, root, by_name=True), KEYS[:3]),
                 writes=Writes(Store(root, ProvenTask, kind=DATAPOINT), ("proof",)))


class ProvenTask(Task):
    """Hold a datapoint in task/, with its proof only if is_as_proven()."""

    @classmethod
    def completed(cls, data: dict) -> dict:
        """Return the fields of a folder; the proof only if the datapoint is_as_proven()."""
        data = super().completed(data)
        if data["kind"] == DATAPOINT and is_as_proven(Task(**data)):
            return data
        return {**data, "proof": None}


def checks_of(root: Path, task: Task, run: Callable[[Content], DatapointChecks],
              anew: bool = False) -> DatapointChecks:
    """Return the results of a datapoint's checks. Known results count if they are for this content,
    base image, validator and rivals, and are audited or have a failed check. Run the checks if
    there are none, if the image was not built, or with `anew`."""
    checks = known_checks(root, task)
    content = content_of(task, checks)
    is_current = checks and (checks.audit or not checks.ok) and not not_built(checks.checks) and (
        all(getattr(checks, key) == getattr(content, key) for key in KEYS))
    if anew or not is_current:
        checks = run(content)
        put_in(root, checks, checks.content)
    return checks


def labelled_checks(root: Path, host: SandboxFactory, content: Content) -> DatapointChecks:
    """Return the results of run_checks(). Remove the images that the checks have built."""
    step = current_step()   # show the id, as the item's name is a digest; keep an agent's text
    step.within = step.within or content.instance_id[:30]
    with (labelled(host, content.instance_id, "dp") as label,
          at_hand(Path(content.folder)) as folder):
        return run_checks(root, host, label, read_datapoint(folder), content)


def run_checks(root: Path, host: SandboxFactory, label: str, task: RivalledTask, content: Content
               ) -> DatapointChecks:
    """Run all checks of a datapoint, and return their results. If only its rivals are new, run only
    the check of rivals."""
    started = time.monotonic()
    validation, kept = Validation(task, host, label), {}
    if before := _but_for_rivals(root, content):
        kept = {one["name"]: one for one in before.audit if one["name"] != "rivals"}
        rows = {one["name"]: one for one in before.checks if one["name"] not in AUDITED}
    else:
        rows = {one["name"]: row_of_check(one) for one in validation.run()}
    known, audits = before or validation, []
    if all(row["status"] == "passed" for row in rows.values()):
        audits = audit(validation, {name: AUDIT_CHECKS[name] for name in AUDITED}, kept, root)
        rows |= {one["name"]: row_of_check(one) for one in audits}
    review = [line for line in known.review if line.partition(":")[0] not in AUDITED]
    review += chain.from_iterable(map(review_of, audits))
    results = [rows[name] for name in (*CHECKS, *AUDITED) if name in rows]
    return DatapointChecks(
        content.instance_id, content.content, content.base_image, content.validator,
        all(row["status"] == "passed" for row in results), results, [*dict.fromkeys(review)],
        round(time.monotonic() - started, 2), round(known.engine_s, 2), known.runs,
        content.rivals, audits)


def _but_for_rivals(root: Path, content: Content) -> DatapointChecks | None:
    """Return the audited results of the same content with other rivals; None if there are none."""
    found = known_in(root, DatapointChecks, content.content)
    is_so = found and found.audit and found.rivals != content.rivals and all(
        getattr(found, key) == getattr(content, key) for key in KEYS[:3])
    return found if is_so else None


def validated(root: Path, task: RivalledTask, rivals: Mapping[str, int]) -> DatapointChecks:
    """Return the known results of a datapoint's checks. Raise Refusal if it may not be approved, or
    lacks some of these rivals."""
    checks = known_checks(root, task)
    problem = approval_problem(task, checks, base_image_of(task)) or lacking_rivals(task, rivals)
    if problem:
        raise Refusal(f"{problem}.")
    return checks


def with_proof(root: Path, task: RivalledTask, checks: DatapointChecks) -> Task:
    """Return an approved datapoint with its checks, which have all passed, as its proof. Write
    audit/<id>.json as audit.py would."""
    if checks.audit:
        seconds = round(sum(one["seconds"] for one in checks.audit), 1)
        audited = TaskAudit(task.instance_id, task.kind, audited_digest(task), checks.rivals,
                            checks.audit, seconds)
        put_in(root, audited, task.instance_id)
    return proven(task, {name: value for name, value in vars(checks).items()
                         if name not in ("instance_id", "ok", "rivals", "audit")})


def row_of_check(found: AuditCheck) -> DatapointCheck:
    """Return the row of a check. A result for review counts as passed. If the gold gets no full
    reward now, although it did when the task was proven, the status is `not checked`."""
    status = ("failed" if found["result"] == FAILED else
              "passed" if has_ended(found) else "not checked")
    if found["result"] == NO_CASE and found["why"].startswith(GOLD_GETS):
        status = "not checked"
    is_bad = status != "passed"
    why = found["why"] or ", ".join(f"{key} {value}" for key, value in found["figures"].items())
    return {"name": found["name"], "status": status, "why": printable(why, MAX_LINE),
            "evidence": found["evidence"] if is_bad else [], "seconds": found["seconds"]}


def review_of(found: AuditCheck) -> list[str]:
    """Return the lines of an audit's check that a reviewer should read."""
    if found["result"] != REVIEW:
        return []
    lines = found["evidence"] or [_change_of(one) for one in found["tries"]] or [found["why"]]
    return [printable(f"{found['name']}: {line}", MAX_LINE) for line in lines[:MAX_EVIDENCE]]


def _change_of(survivor: Object) -> str:
    """Return the changed lines of a survivor as one line."""
    changed = [line for line in survivor["diff"].splitlines()
               if line[:1] in ("+", "-") and line[:3] not in ("+++", "---")]
    return f"rewarded: {survivor['path']}:{survivor['line']} {' → '.join(changed)}"


def not_built(results: Iterable[DatapointCheck]) -> str:
    """Return why the image was not built, or "". Such a build is tried again, since the network may
    have been down."""
    return next((one["why"] for one in results
                 if one["status"] == "failed" and one["why"].startswith(NOT_BUILT)), "")


# results of checks -------------------------------------------------------------------------------

def row_of(task: Task, checks: DatapointChecks | None, profile: str = "") -> dict:
    """Return the results of a datapoint's checks for printing. Its id and labels are checked here,
    as part of `structure`, so that correcting them does not repeat the other checks."""
    faults = label_faults(task, profile)
    results = [*checks.checks] if checks else []
    if results and faults:
        whys = [why for why in (results[0]["why"], *faults) if why]
        results[0] = {**results[0], "status": "failed",
                      "why": printable("; ".join(whys), MAX_LINE)}
    return {"id": task.instance_id, "content": content_digest(task),
            "ok": bool(checks and checks.ok and not faults), "checks": results,
            "review": checks.review if checks else []}


def results_of(root: Path, folders: Iterable[Path], profile: str) -> list[dict]:
    """Return the row of each folder, as `validate --json` prints it. Folders that cannot be read
    come first."""
    broken: list[BrokenRecord] = []
    rows = [row_of(task, known_checks(root, task), profile) for task in read_all(folders, broken)]
    return [{"id": Path(e.where).name, "ok": False, "trouble": str(e)} for e in broken] + rows


def complaints(rows: Iterable[dict]) -> Iterator[str]:
    """Yield a line for each datapoint of results_of() whose checks have not all passed."""
    for row in rows:
        results = row.get("checks", [])
        # if a check has failed, checks that did not run are left out
        named = [one for one in results if one["status"] == "failed"] or [
            one for one in results if one["status"] == "not checked"]
        whys = "; ".join(f"{one['name']} {one['status']}: {one['why']}" for one in named)
        if not row["ok"]:
            yield f"{row['id']}: {row.get('trouble') or whys or 'not validated'}"
