"""Read and make datapoints: terminal tasks, as folders that Harbor accepts unchanged.

A builder writes prompt, dockerfile, tests, weights and solution. with_texts() puts them in their
places (PARTS) and adds the verifier and the Dockerfile lines that give the work directory to the
agent. Nothing is run here, and no link is followed.
"""
from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from codedata.bounded import inside, read_bounded
from codedata.disk.layouts import NEW, FolderDraft, list_folders, load_files, load_folder, to_json
from codedata.disk.store import Store, digest
from codedata.errors import BrokenRecord, ItemFailed
from codedata.records import DATAPOINT, Files, Object, RivalledTask, Task, parse
from codedata.sandbox.images.dockerfile import read_dockerfile
from codedata.tasks.folder.task_folder import (
    CONFIG,
    DOCKERFILE,
    IGNORE,
    SOLVE,
    Container,
    proven_parts,
    text_in,
)
from codedata.tasks.folder.tests_folder import weighted_tests

DP = "dp"                  # the directory of datapoints in review or cancelled
SEEDS, IDEAS, DRAFTS = "_seeds", "_ideas", "_drafts"   # folders in dp/
TRAJECTORIES = f"{DP}/_trajectories"   # trajectories of agents, by task and attempt number
TESTS = "test_outputs.py"
PARTS = {"prompt": "instruction.md", "dockerfile": f"environment/{DOCKERFILE}",
         "tests": f"tests/{TESTS}", "weights": f"tests/{CONFIG}", "solution": f"solution/{SOLVE}"}
IN_REVIEW, CANCELLED, APPROVED = "in_review", "cancelled", "approved"
RETURNED = "returned"      # returned by its reviewer, for another build
MAX_PART_BYTES = 1_000_000
MIN_WEIGHT = Decimal("1E-9")
AGENT = "agent"            # the user that runs solvers and tests
# the container of a new datapoint, without its work directory. The network is public, so that
# solvers can install missing packages from a registry
BOX = Container("", agent_user=AGENT, network="public")
# appended to a builder's Dockerfile, so that the agent owns the work directory
FOR_AGENT = f"""USER root
RUN id -u {AGENT} >/dev/null 2>&1 || useradd --create-home {AGENT}; \\
    mkdir -p {{workdir}} && chown -R {AGENT}: {{workdir}}
WORKDIR {{workdir}}
"""
ADDED = re.compile(re.escape(FOR_AGENT).replace(re.escape("{workdir}"), r"\S+") + r"\Z")
IGNORED = f"{DOCKERFILE}\ndocker-compose.yaml\n{IGNORE}\n"   # files that `COPY .` leaves out


# reading -----------------------------------------------------------------------------------------

def read_datapoint(folder: Path) -> RivalledTask:
    """Return the datapoint in a folder, with its rivals. Raise BrokenRecord if a part is missing,
    too large or not text, if task.toml does not describe a datapoint, or if the folder has links,
    too many files, or too large ones."""
    where = str(folder)
    try:
        load_files(folder.resolve())   # also checks the additional files
        if missing := [path for path in (*PARTS.values(), Task.places["config"])
                       if not (folder / path).is_file()]:
            raise ValueError(f"{', '.join(missing)} is missing")
        for path in PARTS.values():
            read_bounded(folder / path, MAX_PART_BYTES).decode()
        data = RivalledTask.completed(load_folder(folder, RivalledTask.places))
        to_json(data["config"])   # raises if it cannot be written back
        if not isinstance(data["config"].get("environment"), dict):
            raise ValueError("task.toml has no [environment]")
        if data["kind"] != DATAPOINT:
            raise ValueError(f'task.toml has no [metadata.codedata] kind = "{DATAPOINT}": audit.py '
                             "is for tasks of other kinds, and for tasks from elsewhere")
    except (OSError, ValueError, TypeError, RecursionError) as e:
        raise BrokenRecord(f"is not a datapoint: {e}.", where,
                           "Fix it, or move the folder away.") from e
    return parse(RivalledTask, data, where)


def folder_of(task: Task) -> Path:
    """Return the folder that a datapoint was read from."""
    return task.environment[DOCKERFILE].parent.parent


def folders_in_dp(root: Path) -> list[Path]:
    """Return the folders of dp/, without links, .json files and refused names."""
    dp = Path(root, DP)
    return [dp / name for name, _ in list_folders(dp, [])] if dp.is_dir() else []


def folders_in_tasks(root: Path) -> list[Path]:
    """Return the folders of the datapoints in task/, if their kind can be read."""
    tasks = Store(root, Task, kind=DATAPOINT).open()
    return [tasks.path(name) for name in tasks.names()]


def folders_in(root: Path) -> list[Path]:
    """Return the folders of the datapoints of a root, first in dp/, then in task/."""
    return folders_in_dp(root) + folders_in_tasks(root)


def read_all(folders: Iterable[Path], broken: list[BrokenRecord]) -> Iterator[Task]:
    """Yield the datapoints in folders. Add an error to `broken` for each unreadable one."""
    for folder in folders:
        try:
            yield read_datapoint(folder)
        except BrokenRecord as e:
            broken.append(e)


def readable(root: Path) -> Iterator[Task]:
    """Yield the readable datapoints of a root; `build_dp.py validate` reports the others."""
    return read_all(folders_in(root), [])


class PartTexts(NamedTuple):
    """Hold the texts of a datapoint's parts as its builder wrote them."""

    prompt: str
    dockerfile: str
    tests: str
    weights: str
    solution: str


def texts_of(task: Task) -> PartTexts:
    """Return the texts of a datapoint's parts."""
    weights = text_in(task.tests, CONFIG)
    with suppress(ValueError, LookupError, TypeError, RecursionError):
        weights = json.dumps(json.loads(weights)["weights"], indent=2)
    return PartTexts(
        task.instruction or "", builders_lines(text_in(task.environment, DOCKERFILE)),
        text_in(task.tests, TESTS), weights, text_in(task.solution, SOLVE))


def context_of(task: Task) -> Files:
    """Return the files next to a datapoint's Dockerfile."""
    return {name: file for name, file in task.environment.items()
            if name not in (DOCKERFILE, IGNORE)}


def content_digest(task: Task) -> str:
    """Return the digest of a datapoint's content: its proven parts and its prompt, without its
    name."""
    nameless = replace(task, config={**task.config, "task": {}})
    return digest([proven_parts(nameless), task.instruction])


@dataclass(frozen=True)
class DatapointLabels:
    """Hold the labels of a datapoint in task.toml, which are not part of its content."""

    status: str              # in_review | returned | cancelled | approved (no status, but proven)
    category: str            # one of profiles.toml; "" until it is reviewed
    tags: list[str]          # 1 to 3 of taxonomy.toml; [] until it is reviewed
    difficulty: str          # easy | medium | hard | extremely_hard
    languages: list[str]
    reason: str              # why it was cancelled
    licence: str             # SPDX
    lineage: Object          # seed, agents …


def labels_of(task: Task) -> DatapointLabels:
    """Return the labels of a datapoint; values of a wrong type become texts."""
    metadata, about = task.config["metadata"], task.about
    lineage = about.get("lineage")
    status = _text(about, "status") or (APPROVED if task.proof else IN_REVIEW)
    return DatapointLabels(
        status, _text(metadata, "category"), _texts(metadata, "tags"),
        _text(metadata, "difficulty"), _texts(about, "languages"), _text(about, "reason"),
        _text(about, "licence"), lineage if isinstance(lineage, dict) else {})


def _text(table: Object, key: str) -> str:
    return str(table.get(key) or "")


def _texts(table: Object, key: str) -> list[str]:
    value = table.get(key) or []
    return [*map(str, value if isinstance(value, list) else [value])]


# weights and Dockerfiles -------------------------------------------------------------------------

def weights_of(text: str, key: str = "") -> dict[str, Decimal]:
    """Return {test: weight} from a JSON text: its object, or with `key` the object under that key.
    Raise ValueError unless all weights are numbers from MIN_WEIGHT to 1 with a sum of exactly 1."""
    def unique(pairs: Iterable[tuple]) -> dict:
        rows = [*pairs]
        if len(dict(rows)) < len(rows):
            raise ValueError("a test is listed twice")
        return dict(rows)

    def refuse(word: str):
        raise ValueError(f"{word} is not a number")

    try:
        weights = json.loads(text, parse_float=Decimal, parse_int=Decimal, parse_constant=refuse,
                             object_pairs_hook=unique)
    except (ArithmeticError, RecursionError) as e:
        raise ValueError(f"not readable: {e}") from e
    if key and isinstance(weights, dict):
        weights = weights.get(key)
    if not isinstance(weights, dict) or not weights:
        raise ValueError("not an object with a weight for each test")
    for name, weight in weights.items():
        if not isinstance(weight, Decimal) or not MIN_WEIGHT <= weight <= 1:
            raise ValueError(f"{name[:80]!r} has {weight!r:.80}, not a number from "
                             f"{MIN_WEIGHT} to 1")
    if sum(weights.values()) != 1:
        raise ValueError(f"their sum is {sum(weights.values())}, not 1")
    return weights


def weights_in(task: Task) -> dict[str, Decimal]:
    """Return {test: weight} from a datapoint's tests/config.json, by weights_of()."""
    return weights_of(text_in(task.tests, CONFIG), "weights")


def last_workdir(dockerfile: str) -> str:
    """Return the last WORKDIR of a Dockerfile; "" if that is not a plain absolute path."""
    places = [one.rest.strip() for one in read_dockerfile(dockerfile)[0] if one.name == "WORKDIR"]
    place = ["", *places][-1]
    path = PurePosixPath(place)
    is_plain = re.fullmatch(r"/[\w./-]+", place) and ".." not in path.parts
    return str(path) if is_plain else ""


def builders_lines(dockerfile: str) -> str:
    """Return a Dockerfile without the lines that give its work directory to the agent."""
    return ADDED.sub("", dockerfile)


def for_agent(dockerfile: str) -> str:
    """Return a Dockerfile that ends with the lines that give its work directory to the agent. The
    lines occur only once, and not at all if it has no work directory."""
    own = builders_lines(dockerfile)
    workdir = last_workdir(own)
    return f"{own.rstrip()}\n{FOR_AGENT.format(workdir=workdir)}" if workdir else own


# making ------------------------------------------------------------------------------------------

def with_texts(task: Task, texts: Mapping[str, str]) -> Task:
    """Return a datapoint with the new `texts` of some parts. Derive its verifier and settings from
    all parts. Raise ItemFailed if the weights are invalid."""
    parts = texts_of(task)._replace(**texts)
    workdir = last_workdir(parts.dockerfile)
    try:
        weights = weights_of(parts.weights)
    except ValueError as e:
        raise ItemFailed(f"weights.json: {e}.") from e
    config = {**task.config, "artifacts": [workdir],
              "environment": {**task.config["environment"], "workdir": workdir}}
    return replace(
        task, config=config, instruction=parts.prompt,
        environment={**task.environment, IGNORE: IGNORED.encode(),
                     DOCKERFILE: for_agent(parts.dockerfile).encode()},
        solution={**task.solution, SOLVE: parts.solution.encode()},
        tests={**task.tests, **verifier_of(weights, workdir),
               TESTS: parts.tests.encode()})


def verifier_of(weights: Mapping[str, Decimal], workdir: str) -> Files:
    """Return the verifier's files, which are put next to a datapoint's tests."""
    shares = {name: float(weight) for name, weight in weights.items()}
    files = weighted_tests(shares, AGENT, workdir, BOX.verifier_s)
    return {name: text.encode() for name, text in files.items()}


def put(place: Path, task: Task) -> None:
    """Write a datapoint to a folder. An existing datapoint is replaced in one step; other files in
    the folder stay."""
    inside(place.parent, NEW, DATAPOINT, place.name)
    values = {path: getattr(task, field) for field, path in task.places.items()}
    draft = FolderDraft(place, values, DATAPOINT)
    draft.sync()
    draft.place()
