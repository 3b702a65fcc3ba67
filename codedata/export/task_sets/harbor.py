"""Write tasks as folders for Harbor and other programs that read its format (docs/exports.md lists
them): the folder in task/ without proof and rivals, but with the task's split and the name of its
final image. Secrets in instructions are masked.
"""
from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import tomli_w

from codedata.bounded import inside
from codedata.checks.secrets import credential_in, mask
from codedata.disk.layouts import (
    content_of,
    folder_digests,
    load_files,
    write_atomic,
    write_files,
)
from codedata.errors import BrokenRecord
from codedata.export.exports import Export
from codedata.export.task_sets.task_exports import ExportTask, Image, TaskOrigins
from codedata.records import Files, Object, Task, about_in
from codedata.tasks.folder.task_folder import Problem, from_line, image_of, text_in
from codedata.texts import text_of, toml_tables

CONFIG, INSTRUCTION = Task.places["config"], Task.places["instruction"]
DOCKERFILE, COMPOSE = "environment/Dockerfile", "environment/docker-compose.yaml"
NO_NETWORK = b"services:\n  main:\n    network_mode: none\n"
# keys of [environment], [agent] and [verifier] in task.toml
OF_NETWORK = ("network_mode", "allowed_hosts", "allow_internet")
MANIFEST = "manifest.toml"
NOT_EXPORTED = ("proof.json", "rivals", MANIFEST)   # names in a task's folder
OF_EXPORT = ("README.md", "manifest.json")   # next to the folders of tasks


def harbor_problems(tasks: list[Task], origins: TaskOrigins) -> dict[str, Problem]:
    """Return {name: problem} of the tasks that cannot be exported."""
    network = origins.settings.harbor_network
    return {task.instance_id: problem for task in tasks
            if (problem := _problem(task, origins.store.path(task.instance_id), network))}


def _problem(task: Task, folder: Path, network: str) -> Problem | None:
    if task.instance_id in OF_EXPORT:
        return "name", f"{task.instance_id} is a file of the export"
    parts = {f"{part}/{name}" for part in ("environment", "solution", "tests")
             for name in getattr(task, part)}   # task_problem() has searched these for secrets
    if network == "compose" and COMPOSE in parts:
        return "network", f"it has a {COMPOSE} of its own: harbor_network cannot be compose"
    try:
        others = [content_of(file) for path, file in _files_of(folder).items()
                  if path not in parts and not _is_instruction(path)]
    except (BrokenRecord, ValueError) as e:
        return "files", str(e)
    kind = credential_in(data.replace(b"\0", b"").decode(errors="replace") for data in others)
    return ("secret in a file", kind) if kind else None


def verifiers_problems(tasks: list[Task], origins: TaskOrigins) -> dict[str, Problem]:
    """Return {name: problem} of the tasks that cannot be in a package for verifiers, which builds
    no images."""
    todo = "no image", "run tools/push-images on export/harbor, and export again"
    no_image = {task.instance_id: todo for task in tasks
                if not (image_of(task) or origins.noted(task))}
    return no_image | harbor_problems(tasks, origins)


def _is_instruction(path: str) -> bool:
    """Return whether a file is the instruction of a task, or of one of its steps."""
    return path == INSTRUCTION or (path.startswith("steps/") and path.endswith(f"/{INSTRUCTION}"))


def _files_of(folder: Path) -> Files:
    """Return the files of a task's folder that are exported. Raise ValueError for a link."""
    return {path: file for path, file in load_files(folder).items()
            if path.partition("/")[0] not in NOT_EXPORTED}


def write_harbor(export: Export, place: str = ".", network: str = "") -> None:
    """Write a folder for each task, with [export] harbor_network or another network."""
    network = network or export.origins.settings.harbor_network
    for row in export.rows:
        name = row.task.instance_id
        files = exported_files(row, _files_of(export.origins.store.path(name)), network)
        write_task(inside(export.new / place, name), files)


def write_verifiers(export: Export) -> None:
    """Write a package with a folder for each task and a taskset of verifiers, which needs no
    compose file to cut the network."""
    is_compose = export.origins.settings.harbor_network == "compose"
    write_harbor(export, "codedata_tasks/tasks", "no-network" if is_compose else "")
    write_files(export.new, {
        "codedata_tasks/__init__.py": text_of(__package__, "verifiers_taskset.txt").encode(),
        "pyproject.toml": text_of(__package__, "verifiers_pyproject.toml").encode()})


def exported_files(row: ExportTask, files: Files, network: str) -> Files:
    """Return the files of a task's folder in their exported form. `network` is [export]
    harbor_network; "auto" keeps the folder's setting."""
    changed: Files = {CONFIG: _to_toml(_exported_config(row, network))}
    for path in filter(_is_instruction, files):
        masked, secrets = mask(content_of(files[path]).decode(errors="replace"))
        if secrets:
            changed[path] = masked.encode()
    image = row.image.ref
    if image and text_in(files, DOCKERFILE) == from_line(image_of(row.task)):
        changed[DOCKERFILE] = from_line(image).encode()
    if network == "compose":
        changed[COMPOSE] = NO_NETWORK
    return {**files, **changed}


def _exported_config(row: ExportTask, network: str) -> Object:
    """Return the task.toml of an exported folder. Leave out figures of an earlier audit and earlier
    rates, which a re-imported folder has."""
    config, image = deepcopy(row.task.config), row.image
    figures = {"audit": row.audit, "rates": row.rates}
    for key in figures:
        about_in(config).pop(key, None)
    known = {"split": row.split, **({"image_id": image.id} if image.id else {})}
    if row.audit or row.rates:
        known["codedata"] = about_in(config) | {key: one for key, one in figures.items() if one}
    config["metadata"] = {**config.get("metadata", {}), **known}
    environment = config.setdefault("environment", {})
    if image.ref:
        environment["docker_image"] = image.ref
    if network != "auto":
        for name in ("environment", "agent", "verifier"):
            for key in OF_NETWORK:
                config.get(name, {}).pop(key, None)
    if network not in ("auto", "compose"):
        environment["network_mode"] = network
    return config


def write_task(folder: Path, files: Files) -> None:
    """Write the files of a task and its manifest.toml, which holds the SHA-256 of each."""
    write_files(folder, files)
    _write_manifest(folder)


def read_image(folder: Path) -> Image:
    """Return the image that an exported folder names."""
    config = _config_of(folder)
    return Image(config["environment"].get("docker_image", ""),
                 config["metadata"].get("image_id", ""))


def set_image(folder: Path, image: Image) -> None:
    """Replace the image's name everywhere in an exported folder."""
    old, config = read_image(folder), _config_of(folder)
    config["environment"]["docker_image"] = image.ref
    config["metadata"]["image_id"] = image.id
    write_atomic(folder / CONFIG, _to_toml(config))
    dockerfile = folder / DOCKERFILE
    if dockerfile.is_file() and dockerfile.read_text(encoding="utf-8") == from_line(old.ref):
        write_atomic(dockerfile, from_line(image.ref).encode())
    _write_manifest(folder)


def _config_of(folder: Path) -> Object:
    return toml_tables((folder / CONFIG).read_text(encoding="utf-8"))


def _write_manifest(folder: Path) -> None:
    write_atomic(folder / MANIFEST, _to_toml({"sha256": folder_digests(folder, MANIFEST)}))


def _to_toml(tables: Object) -> bytes:
    return tomli_w.dumps(tables).encode()
