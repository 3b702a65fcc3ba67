"""Define a task, the content of its folder task/<instance_id>/, and its proof."""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, TypedDict

from codedata.bounded import read_bounded
from codedata.records.field_types import Files, Object, Seconds
from codedata.texts import toml_tables

# kinds of tasks
KINDS = BUG, STRIPPED_PATCH, DATAPOINT, PULL_REQUEST = (
    "bug", "stripped_patch", "datapoint", "pull_request")


@dataclass(frozen=True)
class Task:
    """Hold a task, the content of its folder task/<instance_id>/, which Harbor accepts unchanged.

    docs/tasks.md describes the folder. All makers of tasks write it; audits, attempts and exports
    read it. A folder from elsewhere is a task, too.
    """

    directory = "task"
    is_shared: ClassVar = True
    places: ClassVar = {"instruction": "instruction.md", "config": "task.toml",
                        "environment": "environment/", "solution": "solution/", "tests": "tests/",
                        "proof": "proof.json"}
    instance_id: str         # the folder's name
    kind: str                # one of KINDS, from `config`; "": not made by codedata
    config: Object           # Harbor's keys; our own data are in [metadata.codedata]
    environment: Files       # the Dockerfile and its build context
    solution: Files
    tests: Files             # the content of /tests in the verifier
    instruction: str | None = None   # for the agent; null: not written yet
    proof: Object | None = None      # results of the runs, and a digest of the proven parts

    @classmethod
    def completed(cls, data: dict) -> dict:
        """Return a folder's fields, with the kind that its task.toml names."""
        return {**data, "kind": cls.kind_of(data["config"])}

    @staticmethod
    def kind_of(config) -> str:
        """Return the kind of task that a task.toml names; "" if it is not one of KINDS."""
        kind = about_in(config).get("kind")
        return kind if kind in KINDS else ""

    @classmethod
    def config_in(cls, folder: Path) -> Object:
        """Return the task.toml of a task's folder; {} if it cannot be read."""
        try:
            return toml_tables(read_bounded(folder / cls.places["config"]).decode())
        except (OSError, ValueError, RecursionError):
            return {}

    @classmethod
    def kind_in(cls, folder: Path) -> str:
        """Return the kind of the task in a folder; "" if it has none, or cannot be read."""
        return cls.kind_of(cls.config_in(folder))

    @property
    def about(self) -> Object:
        """Return our own data on the task: [metadata.codedata] of its task.toml."""
        return about_in(self.config)

    @property
    def new_names(self) -> list[str]:
        """Return the names and texts that the task's tests demand, and that no source in its image
        has."""
        names = self.about.get("new_names")
        return [*map(str, names)] if isinstance(names, list) else []


class Proof(TypedDict, total=False):
    """Hold the results of the runs that prove a task: its proof.json. Kinds of tasks add fields."""

    proof: int               # version; missing: 1
    runs: list[Object]       # {of: the run's name, seconds}; {reward}, or exit_code and counts
    digest: str              # covers the task's parts that the runs prove
    parts: dict[str, str]    # {part: its digest}
    log: str                 # the end of the output of a run without the solution
    image_id: str            # the engine's id
    seconds: Seconds         # all runs together


def about_in(config) -> Object:
    """Return [metadata.codedata] of a task.toml; {} if it has none."""
    metadata = config.get("metadata") if isinstance(config, dict) else None
    about = metadata.get("codedata") if isinstance(metadata, dict) else None
    return about if isinstance(about, dict) else {}


@dataclass(frozen=True)
class RivalledTask(Task):
    """Hold a task with the scripts that test its verifier: rivals/ in its folder."""

    places: ClassVar = {**Task.places, "rivals": "rivals/"}
    rivals: Files | None = None   # right-*, wrong-* and cheat-*; null: there are none

    @classmethod
    def completed(cls, data: dict) -> dict:
        """Return a folder's fields, with its kind; `rivals` is None if there are none."""
        return {**super().completed(data), "rivals": data["rivals"] or None}
