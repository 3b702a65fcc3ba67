"""Write a task as a folder that Harbor and its readers load (docs/exports.md has the table).

The reward is the sum of the weights of the tests that passed, from 0 to 1, and 0 whatever goes
wrong. The verifier is a fresh container of the same image; what is in the working directory goes
there. The tests run there as the agent's user, who cannot write the reward; an agent's program that
the tests import, and do not start, could forge what pytest finds.
"""
from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from codedata.bounded import inside
from codedata.checks.secrets import credential_in
from codedata.layouts import Folder, write_atomic
from codedata.records import HarborTask
from codedata.sandbox.dockerfile import read_dockerfile
from codedata.tasks.folder import ARCHIVE
from codedata.tasks.folder import CONFIG as TEST_CONFIG
from codedata.tasks.tests_folder import OF_WEIGHTED, weighted_tests
from codedata.texts import tomllib

CONFIG, DOCKERFILE, TEST_FILE = "task.toml", "environment/Dockerfile", "test_outputs.py"
TEST_SCRIPT = "test.sh"
COMPOSE = "environment/docker-compose.yaml"
IGNORE = "environment/.dockerignore"
NO_NETWORK = "services:\n  main:\n    network_mode: none\n"
SCHEMA = "1.4"
INSTRUCTIONS = ("FROM", "RUN", "WORKDIR", "ENV", "USER", "LABEL")
OURS = (*OF_WEIGHTED, TEST_CONFIG, "Dockerfile", "docker-compose.yaml")
# Of the verifier: an agent's working directory neither holds nor lies in any of it.
OF_VERIFIER = ("/tests", "/logs", "/bin", "/sbin", "/lib", "/lib64", "/etc", "/usr/bin",
               "/usr/sbin", "/usr/lib", "/usr/local/bin", "/usr/local/sbin", "/usr/local/lib")
TASK_FOLDER = Folder(ignored=("manifest.toml",))
BARE_KEY = re.compile(r"[\w-]+", re.ASCII)
OF_EXPORT = ("README.md", "manifest.json")   # beside the folders of tasks
MAX_PATH_BYTES = 255
TASK_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)*")   # as Harbor takes them
Problem = tuple[str, str]   # (reason, detail)


@dataclass(frozen=True)
class GradedTask(HarborTask):
    """Hold a task with a verifier of its own: `tests` has test.sh, which writes the reward, and all
    that it needs. From the agent the verifier gets ARCHIVE alone."""

    collect: str = ""        # bash that writes ARCHIVE when the agent is done


@dataclass(frozen=True)
class ContextTask(HarborTask):
    """Hold a task whose image is built from its dockerfile and a folder: where it runs, unless
    tools/push-images has built it."""

    context: str = ""        # path of the folder, which need not be there


@dataclass(frozen=True)
class Image:
    """Name the final image of a task: by digest once it is pushed, by tag before."""

    ref: str
    id: str = ""


def task_problem(task: HarborTask) -> Problem | None:
    """Return why a task cannot be exported, or None."""
    if not TASK_NAME.fullmatch(task.instance_id) or task.instance_id in OF_EXPORT:
        return "name", f"{task.instance_id} is none that Harbor takes"
    if not task.instruction.strip() or not task.solution.strip() or not task.docker_image:
        return "empty", "instruction, solution and docker_image are needed"
    workdir = PurePosixPath(task.workdir)
    if workdir.root != "/" or ".." in workdir.parts:
        return "workdir", f"{task.workdir!r} is no absolute path"
    for path in map(PurePosixPath, OF_VERIFIER):
        if path.is_relative_to(workdir) or workdir.is_relative_to(path):
            return "workdir", f"{task.workdir!r}: the verifier would take {path} from the agent"
    dockerfile = task.dockerfile or _from(Image(task.docker_image))
    if not isinstance(task, ContextTask) and (problem := dockerfile_problem(dockerfile)):
        return "dockerfile", problem
    is_graded = isinstance(task, GradedTask)
    ours = () if is_graded else OURS
    files = {*ours, *task.tests}
    for path in task.tests:
        place = PurePosixPath(path)
        is_odd = str(place) != path or {"..", "/"} & {*place.parts} or "\0" in path
        is_taken = path in ours or any(str(folder) in files for folder in place.parents)
        if is_odd or is_taken or len(path.encode()) > MAX_PATH_BYTES:
            return "tests", f"{path[:80]!r} is taken, or no path below tests/"
    needed = TEST_SCRIPT if is_graded else TEST_FILE
    if needed not in task.tests:
        return "tests", f"{needed} is missing"
    tags = task.metadata.get("tags", [])
    texts = [task.metadata.get(key, "") for key in ("difficulty", "category")]
    if not isinstance(tags, list) or not all(isinstance(one, str) for one in (*tags, *texts)):
        return "metadata", "difficulty and category are texts, tags is a list of texts"
    weights = task.weights.values()
    is_sound = weights and min(weights) > 0 and abs(sum(weights) - 1) <= 1e-6
    if not (is_graded or is_sound):
        return "weights", "they are not above 0 with a sum of 1"
    # masking would change what was proven
    if kind := credential_in((task.dockerfile, task.solution, *task.tests.values())):
        return "secret in a file that runs", kind
    return None


def dockerfile_problem(text: str) -> str:
    """Return why a Dockerfile does not rebuild its image without a context, or ""."""
    instructions, fault = read_dockerfile(text)
    names = [one.name for one in instructions]
    if fault:
        return fault
    if names[:1] != ["FROM"] or names.count("FROM") > 1:
        return "it does not begin with its only FROM"
    odd = next((name for name in names if name not in INSTRUCTIONS), "")
    return f"{odd} is not one of {', '.join(INSTRUCTIONS)}" if odd else ""


def task_files(task: HarborTask, image: Image, network: str, split: str) -> dict[str, str]:
    """Return {path: text} of a task's folder. `network` is [export] harbor_network."""
    if network == "auto":   # what a task of a repository lacks may lie on a registry
        network = "public" if isinstance(task, ContextTask) else "no-network"
    tests = task.tests if isinstance(task, GradedTask) else {**weighted_tests(
        task.weights, task.agent_user, task.workdir, task.verifier_timeout_s), **task.tests}
    files = {
        CONFIG: to_toml(_config(task, image, network, split)),
        "instruction.md": _ended(task.instruction),
        DOCKERFILE: _ended(task.dockerfile or _from(image)),
        "solution/solve.sh": _ended(task.solution),
        **{f"tests/{path}": text for path, text in tests.items()}}
    if isinstance(task, ContextTask):
        files[IGNORE] = "Dockerfile\ndocker-compose.yaml\n.dockerignore\n"   # for COPY of all
    return files | {COMPOSE: NO_NETWORK} if network == "compose" else files


def _from(image: Image) -> str:
    return f"FROM {image.ref}\n"


def _ended(text: str) -> str:
    return text.rstrip("\n") + "\n"


def _config(task: HarborTask, image: Image, network: str, split: str) -> dict:
    """Return task.toml. What is left out is as Harbor sets it, or nobody reads it.

    [verifier.environment] docker_image is not set: readers take an image named there for one that
    holds /tests. Without it the verifier gets the image of [environment].
    """
    user = {"user": task.agent_user} if task.agent_user else {}
    mode = {"network_mode": network} if network != "compose" else {}
    is_made = image.id or not isinstance(task, ContextTask)
    artifact, hooks = task.workdir, {}
    if isinstance(task, GradedTask):
        artifact, hooks = ARCHIVE, {"collect": [{"command": task.collect}]}
    return {
        "schema_version": SCHEMA, "artifacts": [artifact],
        "task": {"name": f"codedata/{task.instance_id}",
                 "keywords": task.metadata.get("tags", [])},
        "metadata": {**task.metadata, "repo": task.repo, "licence": task.licence, "split": split,
                     "image_id": image.id or None},
        "agent": {"timeout_sec": task.agent_timeout_s, **user},
        "verifier": {"timeout_sec": task.verifier_timeout_s, "environment_mode": "separate",
                     **hooks},
        "environment": {"docker_image": image.ref if is_made else None, "workdir": task.workdir,
                        "cpus": task.cpus, "memory_mb": task.memory_mb, **mode}}


def write_task(folder: Path, files: dict[str, str]) -> None:
    """Write the files of a task and its manifest.toml, which holds the SHA-256 of each."""
    for name, text in files.items():
        path = inside(folder, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        path.chmod(0o755 if name.endswith(".sh") else 0o644)
    _write_manifest(folder)


def read_image(folder: Path) -> Image:
    """Return the image that a task's folder names."""
    config = tomllib.loads((folder / CONFIG).read_text(encoding="utf-8"))
    return Image(config["environment"].get("docker_image", ""),
                 config["metadata"].get("image_id", ""))


def set_image(folder: Path, image: Image) -> None:
    """Let a task's folder name another image, wherever it names its own."""
    old = read_image(folder)
    config = tomllib.loads((folder / CONFIG).read_text(encoding="utf-8"))
    config["environment"]["docker_image"] = image.ref
    config["metadata"]["image_id"] = image.id
    write_atomic(folder / CONFIG, to_toml(config).encode())
    if (folder / DOCKERFILE).read_text(encoding="utf-8") == _from(old):
        write_atomic(folder / DOCKERFILE, _from(image).encode())
    _write_manifest(folder)


def _write_manifest(folder: Path) -> None:
    text = to_toml({"sha256": TASK_FOLDER.digests(folder)})
    write_atomic(folder / "manifest.toml", text.encode())


def to_toml(tables: dict) -> str:
    """Return values and then tables as TOML; tables within tables stand in one line, null falls
    out.
    """
    top = {key: value for key, value in tables.items() if not isinstance(value, dict)}
    lines = [*_pairs(top)]
    for name, table in tables.items():
        if isinstance(table, dict):
            lines += ["", f"[{name}]", *_pairs(table)]
    return "\n".join(lines).lstrip("\n") + "\n"


def _pairs(table: dict) -> Iterator[str]:
    for key, value in table.items():
        if value is not None:
            yield f"{key if BARE_KEY.fullmatch(key) else _value(key)} = {_value(value)}"


def _value(value) -> str:
    if isinstance(value, dict):
        return f"{{{', '.join(_pairs(value))}}}"
    if isinstance(value, list):
        return f"[{', '.join(_value(entry) for entry in value if entry is not None)}]"
    if isinstance(value, float):   # TOML has inf and nan, too
        return repr(value)
    # a JSON text is one of TOML, too, but for DEL
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
