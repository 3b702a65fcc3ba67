"""Read and make a task's folder: its task.toml, its proof, and the faults that prevent its export.

`proof.json` holds the digest of the proven parts: environment/, solution/, tests/ and task.toml
without its metadata, keywords and image name (the image's id is recorded separately). An edit of
any of these makes the proof invalid; the instruction may be edited.
"""
from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import NamedTuple

from codedata.checks.secrets import credential_in
from codedata.disk.layouts import content_of, files_digest
from codedata.disk.store import digest
from codedata.records import KINDS, Files, Object, Proof, RivalledTask, Task
from codedata.tasks.folder.task_toml import toml_faults
from codedata.texts import fill, printable

TOML = Task.places["config"]
SCHEMA = "1.4"              # version of Harbor's task.toml
# Version: increase it if a change may refuse tasks that were proven before. These tasks then count
# as made with other settings, and --refresh proves them again. A proof without a version graded the
# gold once.
PROOF = 2
DOCKERFILE, IGNORE, SOLVE = "Dockerfile", ".dockerignore", "solve.sh"
GOLD, REVERSE = "gold.patch", "reverse.patch"   # in solution/; the reverse creates the task
CONFIG, TEST_SCRIPT, TEST_PATCH, HIDDEN = "config.json", "tests.sh", "test.patch", "hidden"
ARCHIVE = "/var/tmp/codedata-work.tar"   # an agent's work, in tasks whose own commands write it
TASK_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)*")   # Harbor's rule
IMAGE = re.compile(r"[a-z0-9][\w.:/@-]*", re.ASCII | re.IGNORECASE)   # no blank, no line break
BEFORE_DOCUMENT = (   # the last line of an instruction before the document of its functions
    "- Tests decide, also some that you do not have: those that fail without the bodies are "
    "counted, those that pass now have to go on passing.")
PROVEN_FIELDS = ("config", "environment", "solution", "tests", "proof")   # all but instruction
# Folders of the verifier: an agent's working directory must not overlap them.
OF_VERIFIER = ("/tests", "/logs", "/bin", "/sbin", "/lib", "/lib64", "/etc", "/usr/bin",
               "/usr/sbin", "/usr/lib", "/usr/local/bin", "/usr/local/sbin", "/usr/local/lib")
PARTS = ("environment", "solution", "tests")   # folders of a task
Problem = tuple[str, str]   # (reason, detail)


@dataclass(frozen=True)
class Container:
    """Describe the container of a task, for its task.toml."""

    workdir: str
    image: str = ""            # "": built from environment/
    agent_user: str = ""       # "": the user of the image
    agent_s: float = 1800.0
    verifier_s: float = 600.0
    cpus: float = 1.0
    memory_mb: int = 2048
    network: str = "no-network"
    collect: str = ""          # bash that writes ARCHIVE at the end; "": workdir is taken


def config_of(instance_id: str, container: Container, about: Object,
              labels: Mapping = MappingProxyType({})) -> Object:
    """Return the task.toml of a task. `about` becomes [metadata.codedata]; `labels` are its
    difficulty, category and tags. Keys with Harbor's default value are left out.

    [verifier.environment] docker_image is not set, since readers assume that an image named there
    holds /tests. Without it the verifier gets the image of [environment].
    """
    one, user = container, {"user": container.agent_user} if container.agent_user else {}
    hooks = {"collect": [{"command": one.collect}]} if one.collect else {}
    image = {"docker_image": one.image} if one.image else {}
    about = {key: value for key, value in about.items() if value is not None}
    return {
        "schema_version": SCHEMA, "artifacts": [ARCHIVE if one.collect else one.workdir],
        "task": {"name": f"codedata/{instance_id}", "keywords": [*labels.get("tags", [])]},
        "metadata": {**labels, "codedata": about},
        "agent": {"timeout_sec": one.agent_s, **user},
        "verifier": {"timeout_sec": one.verifier_s, "environment_mode": "separate", **hooks},
        "environment": {**image, "workdir": one.workdir, "cpus": one.cpus,
                        "memory_mb": one.memory_mb, "network_mode": one.network}}


def from_image(image: str) -> Files:
    """Return the environment/ of a task whose image exists."""
    return {DOCKERFILE: from_line(image).encode()}


def from_line(image: str) -> str:
    """Return the Dockerfile that uses an image unchanged."""
    return f"FROM {image}\n"


def image_of(task: Task) -> str:
    """Return the image that a task's task.toml names; "" if it is built from the Dockerfile."""
    return _entry(task, "environment", "docker_image")


def workdir_of(task: Task) -> str:
    """Return the working directory of the task's agent."""
    return _entry(task, "environment", "workdir")


def agent_of(task: Task) -> str:
    """Return the user that the agent works as; "" for the default user of the image."""
    return _entry(task, "agent", "user")


def collect_of(task: Task) -> str:
    """Return the bash commands that write ARCHIVE after the agent's work; "" if the work directory
    itself is collected."""
    hooks = _table(task, "verifier").get("collect") or []
    return "\n".join(str(one.get("command") or "") for one in hooks if isinstance(one, dict))


def _table(task: Task, name: str) -> Object:
    table = task.config.get(name)
    return table if isinstance(table, dict) else {}


def _entry(task: Task, table: str, key: str) -> str:
    return str(_table(task, table).get(key) or "")


def text_in(files: Files, name: str) -> str:
    """Return the text of a file, "" if it is missing."""
    return content_of(files[name]).decode(errors="replace") if name in files else ""


def hidden_in(task: Task) -> dict[str, bytes]:
    """Return the test files that graders add, by path."""
    return {path.removeprefix(f"{HIDDEN}/"): content_of(file)
            for path, file in task.tests.items() if path.startswith(f"{HIDDEN}/")}


def verifier_config(task: Task) -> Object:
    """Return tests/config.json of a task of ours; {} if it cannot be read."""
    try:
        config = json.loads(text_in(task.tests, CONFIG) or "{}")
    except (ValueError, RecursionError):
        return {}
    return config if isinstance(config, dict) else {}


# what was proven ---------------------------------------------------------------------------------

def proven_parts(task: Task) -> dict[str, str]:
    """Return the digest of each part of a task that its runs prove."""
    config = {key: value for key, value in task.config.items() if key != "metadata"}
    for table, key in (("task", "keywords"), ("environment", "docker_image")):
        config[table] = {name: value for name, value in _table(task, table).items() if name != key}
    environment = dict(task.environment)
    image = image_of(task)
    if image and text_in(environment, DOCKERFILE) == from_line(image):
        environment[DOCKERFILE] = b"FROM"
    return {"task.toml": digest(config), "environment/": files_digest(environment),
            "solution/": files_digest(task.solution), "tests/": files_digest(task.tests)}


def audited_digest(task: Task) -> str:
    """Return the digest of everything except rivals that a task's audit depends on: its proven
    parts, its instruction, and its `meters` in task.toml."""
    return digest([proven_parts(task), task.instruction, task.about.get("meters")])


def rivals_digest(task: RivalledTask) -> str:
    """Return the digest of a task's rivals."""
    return files_digest(task.rivals or {})


def proven(task: Task, shown: Proof) -> Task:
    """Return a task with a proof: `shown`, the results of the runs, and the digests of the proven
    parts."""
    parts = proven_parts(task)
    return replace(task, proof={**shown, "proof": PROOF, "digest": digest(parts), "parts": parts})


def edited_parts(task: Task) -> list[str]:
    """Return the parts of a task that were edited since its proof; [] if there are none."""
    then, now = (task.proof or {}).get("parts"), proven_parts(task)
    if (task.proof or {}).get("digest") == digest(now):
        return []
    then = then if isinstance(then, dict) else {}
    return [name for name in now if then.get(name) != now[name]] or ["proof.json"]


def with_about(task: Task, /, **more) -> Task:
    """Return a task with the entries `more` in [metadata.codedata] (None removes one) and, if
    given, other `labels`. Neither is part of the proof."""
    labels = more.pop("labels", {})
    metadata = {**task.config.get("metadata", {}), **labels}
    metadata["codedata"] = {key: value for key, value in {**task.about, **more}.items()
                            if value is not None}
    table = {**_table(task, "task"), "keywords": [*metadata.get("tags", [])]}
    return replace(task, config={**task.config, "task": table, "metadata": metadata})


def document_in(instruction: str) -> str:
    """Return the document in the instruction of a stripped patch. If a user has removed the line
    before the document, return the whole instruction."""
    return instruction.split(f"{BEFORE_DOCUMENT}\n\n", 1)[-1].removesuffix("\n")


# why it is not exported --------------------------------------------------------------------------

HOW_TO_INSTRUCT = {
    "bug": "Run: python bug_inject.py {word} --steps issue",
    "stripped_patch": "Run: python nl2repo.py --steps doc_part2,doc_part1,doc",
    "pull_request": "Run: python pr_tasks.py --steps instruct"}
HOW_TO_PROVE = {
    "bug": "Undo the edit, or delete the folder and run: python bug_inject.py {word}",
    "stripped_patch": "Undo the edit, or delete the folder and run: python nl2repo.py "
                      "--steps relationship",
    "pull_request": "Undo the edit, or delete the folder and run: python pr_tasks.py",
    "datapoint": "Run: python build_dp.py validate"}


def how(todos: dict[str, str], task: Task, otherwise: str = "") -> str:
    """Return the remedy for a task of its kind, from `todos`, such as HOW_TO_PROVE."""
    word = "agent" if task.about.get("method") == "agent" else "scale"
    return fill(todos.get(task.kind, otherwise), word=word)


class Fault(NamedTuple):
    """Hold a fault of a task's folder, and its remedy."""

    place: str         # path below the folder
    what: str
    todo: str
    reason: str = ""   # under which exports count it; "": the fault prevents no export


def task_problem(task: Task, secrets_in_tests: bool = False) -> Problem | None:
    """Return why a task is not exported in any form, or None. Its tests may have secrets if
    `secrets_in_tests`."""
    parts = PARTS[:2] if secrets_in_tests else PARTS
    for fault in chain(config_faults(task), part_faults(task), secret_faults(task, parts)):
        return fault.reason, f"{fault.place or 'its name'}: {fault.what}. {fault.todo}"
    return None


def config_faults(task: Task) -> Iterator[Fault]:
    """Yield the faults of the name and of task.toml that prevent an export."""
    if not TASK_NAME.fullmatch(task.instance_id):
        yield Fault("", f"{task.instance_id} is not a name that Harbor accepts",
                    "Rename the folder: letters, digits, `_`, `-`, and dots between them.",
                    "name")
    for fault in toml_faults(task.config):
        yield Fault(TOML, fault, "Harbor refuses it: correct that key.", "task.toml")
    kind, image = task.about.get("kind"), image_of(task)
    if kind not in (None, *KINDS):   # otherwise it would pass as an imported task without a proof
        yield Fault(TOML, f"kind {kind!r:.80} is none of {', '.join(KINDS)}",
                    "Correct it, or remove it if codedata did not make the task.", "kind")
    wrong = {}
    if image and not IMAGE.fullmatch(image):   # it is written into a Dockerfile unchanged
        wrong["docker_image"] = f"{image[:80]!r} is not an image's name"
    if task.kind:
        wrong |= {"workdir": _workdir_fault(workdir_of(task)), "metadata": _label_fault(task)}
    for key, fault in wrong.items():
        if fault:
            yield Fault(TOML, f"{key}: {fault}", "Correct that key.", key)


def _workdir_fault(place: str) -> str:
    """Return why an agent cannot work in a folder, or ""."""
    workdir = PurePosixPath(place)
    if workdir.root != "/" or ".." in workdir.parts:
        return f"{place!r} is not an absolute path"
    return next((f"{place!r} overlaps {path}, a folder of the verifier"
                 for path in OF_VERIFIER if workdir.is_relative_to(path)
                 or PurePosixPath(path).is_relative_to(workdir)), "")


def _label_fault(task: Task) -> str:
    """Return the fault of a task's labels, or ""."""
    labels = _table(task, "metadata")
    tags = labels.get("tags", [])
    texts = [labels.get(key, "") for key in ("difficulty", "category")]
    if isinstance(tags, list) and all(isinstance(one, str) for one in (*tags, *texts)):
        return ""
    return "difficulty and category must be texts, tags a list of texts"


def part_faults(task: Task) -> Iterator[Fault]:
    """Yield the faults of the instruction, the files and the proof that prevent grading."""
    has_steps = bool(task.config.get("steps"))   # steps have their own instructions and tests
    if not (task.instruction or "").strip() and not has_steps:
        yield Fault("instruction.md", "is missing or empty",
                    how(HOW_TO_INSTRUCT, task, "Write what the agent has to do."),
                    "no instruction")
    if not task.environment and not image_of(task):
        yield Fault(f"environment/{DOCKERFILE}", "is missing, and task.toml names no docker_image",
                    "Write one of the two.", "no task of Harbor")
    if not task.kind and not has_steps and "test.sh" not in task.tests:
        yield Fault("tests/test.sh", "is missing", "Write it. It has to write the reward to "
                    "/logs/verifier/reward.txt.", "no task of Harbor")
    if task.kind and not task.proof:
        yield Fault("proof.json", "is missing: no run has proven the task", how(HOW_TO_PROVE, task),
                    "not proven")
    elif task.kind and (parts := edited_parts(task)):
        yield Fault(parts[0], f"was edited since its runs: {', '.join(parts)}",
                    how(HOW_TO_PROVE, task), "not as proven")


def secret_faults(task: Task, parts: Iterable[str] = PARTS) -> Iterator[Fault]:
    """Yield the secrets in files of these parts, which prevent an export."""
    for part in parts:
        for name, file in getattr(task, part).items():
            text = content_of(file).replace(b"\0", b"").decode(errors="replace")   # finds UTF-16
            if secret := credential_in([text]):   # masking it would change the proven parts
                yield Fault(f"{part}/{printable(name)}", f"has a secret: {secret}",
                            "Remove it, and revoke it if it is a real secret. If it is made up for "
                            "a test: [export] secrets_in_tests.", "secret in a file")
