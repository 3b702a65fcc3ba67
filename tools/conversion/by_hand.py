"""Convert the tasks that somebody has written by hand: task/<id>.json becomes a folder."""
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from conversion.old import FAULTS, put, records_in, why

from codedata.layouts import set_aside
from codedata.records import Object, Task
from codedata.store import Store
from codedata.tasks.folder import DOCKERFILE, SOLVE, Container, config_of, from_image
from codedata.tasks.tests_folder import weighted_tests


def convert_tasks(root: Path, refuse: Callable[[Path, str], None]) -> int:
    """Convert all, and return their number; refuse() is told of what cannot be, and why."""
    store, n = Store(root, Task).open(), 0
    for path, record in records_in(root / Task.directory, "docker_image"):
        try:
            put(store, _task(record), tuple(Task.places))
        except FAULTS as e:
            refuse(path, why(e))
        else:
            set_aside(path, keep=False)
            n += 1
    return n


def _task(record: Object) -> Task:
    """Return a task of which nothing is proven here, as its export was before."""
    one = {"agent_user": "", "agent_timeout_s": 1800.0, "verifier_timeout_s": 600.0, "cpus": 1.0,
           "memory_mb": 2048, "image_id": "", **record}
    container = Container(
        one["workdir"], one["docker_image"], one["agent_user"], one["agent_timeout_s"],
        one["verifier_timeout_s"], one["cpus"], one["memory_mb"])
    verifier = weighted_tests(one["weights"], one["agent_user"], one["workdir"],
                              one["verifier_timeout_s"])
    if taken := verifier.keys() & one["tests"].keys():
        raise ValueError(f"its tests have a file {min(taken)}, which is the verifier's")
    about = {"repo": one["repo"], "licence": one.get("licence")}
    dockerfile = {DOCKERFILE: _ended(one["dockerfile"])} if one["dockerfile"] else {}
    tests = {path: text.encode() for path, text in {**verifier, **one["tests"]}.items()}
    return Task(one["instance_id"], "",
                config_of(one["instance_id"], container, about, _without_null(one["metadata"])),
                {**from_image(one["docker_image"]), **dockerfile},
                {SOLVE: _ended(one["solution"])}, tests, _ended(one["instruction"]).decode(),
                {"image_id": one["image_id"], "converted": True} if one["image_id"] else None)


def _ended(text: str) -> bytes:
    return text.rstrip("\n").encode() + b"\n"


def _without_null(value):
    """Return a JSON value as TOML can hold it."""
    if isinstance(value, dict):
        return {key: _without_null(one) for key, one in value.items() if one is not None}
    return [_without_null(one) for one in value if one is not None] if isinstance(
        value, list) else value
