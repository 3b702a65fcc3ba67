"""Write the bugs of bug/ as rows of the SWE-bench family: `swebench`, for its harness from version
5 on, and `swesmith`, where a patch is the bug itself and its reverse the solution.

A row is a bug as it was proven: what somebody has edited since is left out, by name.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from codedata.checks.evidence import matches_evidence
from codedata.checks.secrets import credential_in
from codedata.errors import BrokenRecord
from codedata.export import folders
from codedata.export.formats import TEXT
from codedata.export.harbor import Problem
from codedata.export.split import SPLITS
from codedata.export.tasks import TaskExport, TaskFormat
from codedata.records import Bug, Verdicts
from codedata.store import Store
from codedata.tasks.eval_script import texts_in
from codedata.texts import text_of

PROFILES = "swesmith_profiles.txt"
TEXTS = f"{TEXT}[]"
LISTS = ("FAIL_TO_PASS", "PASS_TO_PASS", "functions")


def columns_of(names: str) -> dict[str, str]:
    """Return {name: type of the column} of names with blanks between them."""
    return {name: TEXTS if name in LISTS else TEXT for name in names.split()}


SWEBENCH = columns_of("""instance_id repo base_commit patch test_patch problem_statement hints_text
    created_at version FAIL_TO_PASS PASS_TO_PASS environment_setup_commit image eval_script
    log_parser eval_type language method symbol grade bug_patch source_commit image_name""")
SWESMITH = columns_of("""instance_id repo patch FAIL_TO_PASS PASS_TO_PASS image_name created_at
    problem_statement base_commit test_patch eval_script language method symbol grade
    source_commit""")


@dataclass(frozen=True)
class Instance:
    """Hold a bug as a task that TaskExport takes; no licence of its repository is known."""

    instance_id: str
    repo: str
    instruction: str        # the problem statement; "" where there is none yet
    solution: str
    docker_image: str
    metadata: dict
    bug: Bug = field(repr=False)
    licence: str | None = None
    dockerfile: str = ""
    image_id: str = ""


def instance_of(bug: Bug) -> Instance:
    """Return a bug as a task. For benchmarks, its commit is that of the source without the bug."""
    return Instance(bug.instance_id, bug.repo, bug.problem_statement or "", bug.patch, bug.image,
                    {"base_commit": bug.source_commit}, bug)


def problem_in(root: Path) -> Callable[[Instance], Problem | None]:
    """Return the function that says why an instance of a root is left out. Where there are
    verdicts, those that none of them calls good are orphans."""
    verdicts = Store(root, Verdicts).open()
    good = _good(verdicts)
    reported: dict[tuple[str, str], str] = {}   # (repository, report) → the first bug that has it

    def problem(instance: Instance) -> Problem | None:
        bug = instance.bug
        if verdicts.names() and bug.instance_id not in good:
            return "orphan", "no verdict of bug/_verdicts/ calls it good any more"
        if not matches_evidence(bug):
            return "not as proven", "edited since its runs: patches, tests or image"
        if not instance.instruction.strip():
            call = f"bug_inject.py {'agent' if bug.trajectory else 'scale'} --steps issue"
            return "no report", f"run: {call} --issue-writer llm --refresh"
        # masking would change what was proven
        if kind := credential_in((bug.patch, bug.test_patch, *texts_in(bug.eval_script))):
            return "secret in a file that runs", kind
        first = reported.setdefault((bug.repo, " ".join(instance.instruction.split())),
                                    bug.instance_id)
        if first != bug.instance_id:
            return "report of another bug", f"{first} has it, too"
        return None

    return problem


def _good(verdicts: Store) -> set[str]:
    """Return the instances that verdicts call good; files that cannot be read name none."""
    good = set()
    for name in verdicts.names():
        try:
            good |= {one["instance_id"] for one in verdicts.read(name).verdicts if one["good"]}
        except BrokenRecord:
            continue   # bug_inject.py names it
    return good


def swesmith_row(instance: Instance, image: str) -> dict:
    """Return the row that SWE-smith takes; its `patch` makes the bug."""
    return _row(SWESMITH, instance, image) | {"patch": instance.bug.bug_patch}


def _row(columns: dict[str, str], instance: Instance, image: str) -> dict:
    values = {**vars(instance.bug), "problem_statement": instance.instruction, "image": image,
              "image_name": image}
    return {column: values[column] for column in columns}


def write_swebench(export: TaskExport) -> None:
    """Write the rows that `swebench eval` takes."""
    write_splits(export, SWEBENCH, partial(_row, SWEBENCH))


def write_swesmith(export: TaskExport) -> None:
    """Write the rows of `swesmith`, and the module that tells SWE-smith how to read their logs."""
    write_splits(export, SWESMITH, swesmith_row)
    (export.new / "profiles.py").write_text(text_of("codedata.export", PROFILES))


def write_splits(export: TaskExport, columns: dict[str, str],
                 row_of: Callable[[Any, str], dict]) -> None:
    """Write each split as JSON Lines and as Parquet, with the row of each task and its image."""
    for split in SPLITS:
        path = export.new / f"{split}.jsonl"
        rows = [row_of(task, export.image_of(task).ref) for task in export.tasks
                if export.split_of[task.repo] == split]
        if (sizes := folders.write_rows(path, rows)) or not export.tasks:
            # where there is no data file at all, `datasets` loads the manifest as a row
            folders.write_parquet(path, sizes, columns, export.settings.shard_rows)


INSTANCE_FORMATS = {
    name: TaskFormat(name, {Bug: lambda root: instance_of}, problem_in, write, f"{name}_card.md")
    for name, write in (("swebench", write_swebench), ("swesmith", write_swesmith))}
