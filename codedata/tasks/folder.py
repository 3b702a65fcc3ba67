"""Say what is in a task's folder: its task.toml, what of it was proven, why it is not exported.

`proof.json` holds the digest of what the runs are evidence for: environment/, solution/, tests/ and
task.toml, but for its metadata, its keywords and its image, of which the id stands apart. Whoever
edits one of these has another task, which no run has seen; the instruction may be edited.
"""
from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from types import MappingProxyType

from codedata.checks.secrets import credential_in
from codedata.layouts import content_of, files_digest
from codedata.records import KINDS, Files, Object, Task
from codedata.store import digest
from codedata.tasks.task_toml import toml_faults

SCHEMA = "1.4"              # of Harbor's task.toml
# To be raised where a task that was proven would be refused by now: its prove step then proves it
# again. A proof that names none is of the first version.
PROOF = 1
DOCKERFILE, IGNORE, SOLVE = "Dockerfile", ".dockerignore", "solve.sh"
GOLD, REVERSE = "gold.patch", "reverse.patch"   # in solution/: heals it; what has made the task
CONFIG, TEST_SCRIPT, TEST_PATCH, HIDDEN = "config.json", "tests.sh", "test.patch", "hidden"
ARCHIVE = "/var/tmp/codedata-work.tar"   # of an agent's work, where a task says how it is made
TASK_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)*")   # as Harbor takes them
IMAGE = re.compile(r"[a-z0-9][\w.:/@-]*", re.ASCII | re.IGNORECASE)   # no blank, no line break
BEFORE_DOCUMENT = (   # the line of an instruction behind which the document of its functions begins
    "- Tests decide, also some that you do not have: those that fail without the bodies are "
    "counted, those that pass now have to go on passing.")
PROVEN_FIELDS = ("config", "environment", "solution", "tests", "proof")   # all but instruction
# Of the verifier: an agent's working directory neither holds nor lies in any of it.
OF_VERIFIER = ("/tests", "/logs", "/bin", "/sbin", "/lib", "/lib64", "/etc", "/usr/bin",
               "/usr/sbin", "/usr/lib", "/usr/local/bin", "/usr/local/sbin", "/usr/local/lib")
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
    """Return the task.toml of a task: `about` is [metadata.codedata], `labels` are its difficulty,
    category and tags. What is left out is as Harbor sets it, or nobody reads it.

    [verifier.environment] docker_image is not set: readers take an image named there for one that
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
    """Return the environment/ of a task whose image is there already."""
    return {DOCKERFILE: from_line(image).encode()}


def from_line(image: str) -> str:
    """Return the Dockerfile that is no more than an image."""
    return f"FROM {image}\n"


def image_of(task: Task) -> str:
    """Return the image that a task's task.toml names; "" where it is built."""
    return str(_table(task, "environment").get("docker_image") or "")


def workdir_of(task: Task) -> str:
    """Return where its agent works."""
    return str(_table(task, "environment").get("workdir") or "")


def agent_of(task: Task) -> str:
    """Return the user that its agent is; "" for the image's."""
    return str(_table(task, "agent").get("user") or "")


def collect_of(task: Task) -> str:
    """Return the bash that writes ARCHIVE when the agent is done; "" where the work directory is
    taken as it is."""
    hooks = _table(task, "verifier").get("collect") or []
    return "\n".join(str(one.get("command") or "") for one in hooks if isinstance(one, dict))


def _table(task: Task, name: str) -> Object:
    table = task.config.get(name)
    return table if isinstance(table, dict) else {}


def text_in(files: Files, name: str) -> str:
    """Return the text of a file, "" where it is not there."""
    return content_of(files[name]).decode(errors="replace") if name in files else ""


def verifier_config(task: Task) -> Object:
    """Return tests/config.json of a task of ours; {} where it is none that can be read."""
    try:
        config = json.loads(text_in(task.tests, CONFIG) or "{}")
    except (ValueError, RecursionError):
        return {}
    return config if isinstance(config, dict) else {}


# what was proven ---------------------------------------------------------------------------------

def proven_parts(task: Task) -> dict[str, str]:
    """Return the digest of each part of a task that its runs are evidence for."""
    config = {key: value for key, value in task.config.items() if key != "metadata"}
    for table, key in (("task", "keywords"), ("environment", "docker_image")):
        config[table] = {name: value for name, value in _table(task, table).items() if name != key}
    environment = dict(task.environment)
    image = image_of(task)
    if image and text_in(environment, DOCKERFILE) == from_line(image):
        environment[DOCKERFILE] = b"FROM"
    return {"task.toml": digest(config), "environment/": files_digest(environment),
            "solution/": files_digest(task.solution), "tests/": files_digest(task.tests)}


def proven(task: Task, runs: Object) -> Task:
    """Return a task with a proof: what the runs showed, and the digest of what they are of."""
    parts = proven_parts(task)
    return replace(task, proof={**runs, "proof": PROOF, "digest": digest(parts), "parts": parts})


def edited_parts(task: Task) -> list[str]:
    """Return which parts of a task are not those that were proven; none where it is as proven."""
    then, now = (task.proof or {}).get("parts"), proven_parts(task)
    if (task.proof or {}).get("digest") == digest(now):
        return []
    then = then if isinstance(then, dict) else {}
    return [name for name in now if then.get(name) != now[name]] or ["proof.json"]


def with_about(task: Task, **more) -> Task:
    """Return a task of which [metadata.codedata] says more, and its labels where `labels` are
    given: neither is a part of what was proven."""
    labels = more.pop("labels", {})
    metadata = {**task.config.get("metadata", {}), **labels}
    more = {key: value for key, value in more.items() if value is not None}
    metadata["codedata"] = {**task.about, **more}
    table = {**_table(task, "task"), "keywords": [*metadata.get("tags", [])]}
    return replace(task, config={**task.config, "task": table, "metadata": metadata})


def document_in(instruction: str) -> str:
    """Return the document in an instruction of a stripped patch; all of one whose line before it a
    person removed."""
    _, is_there, document = instruction.partition(f"{BEFORE_DOCUMENT}\n\n")
    return (document if is_there else instruction).removesuffix("\n")


# why it is not exported --------------------------------------------------------------------------

def task_problem(task: Task) -> Problem | None:
    """Return why a task is not exported in any form, or None."""
    if not TASK_NAME.fullmatch(task.instance_id):
        return "name", f"{task.instance_id} is none that Harbor takes"
    if faults := toml_faults(task.config):
        return "task.toml", "; ".join(faults)
    if not (task.instruction or "").strip() and not task.config.get("steps"):
        return "no instruction", HOW_TO_INSTRUCT.get(task.kind, "write instruction.md")
    problem = kind_problem(task) or image_problem(task) or (
        _proof_problem(task) if task.kind else _foreign_problem(task))
    # masking would change what was proven
    if not problem and (kind := credential_in(texts_of(task))):
        return "secret in a file", kind
    return problem


def texts_of(task: Task) -> Iterator[str]:
    """Yield the text of each file of a task, as far as it is one."""
    for file in (*task.environment.values(), *task.solution.values(), *task.tests.values()):
        yield content_of(file).replace(b"\0", b"").decode(errors="replace")   # UTF-16, too


HOW_TO_INSTRUCT = {
    "bug": "run: python bug_inject.py agent|scale --steps issue",
    "stripped_patch": "run: python nl2repo.py --steps doc_part2,doc_part1,doc"}
HOW_TO_PROVE = {
    "bug": "Undo the edit, or delete the folder and run: python bug_inject.py agent|scale",
    "stripped_patch": "Undo the edit, or delete the folder and run: python nl2repo.py "
                      "--steps relationship",
    "datapoint": "Run: python build_dp.py validate"}


def _proof_problem(task: Task) -> Problem | None:
    if problem := workdir_problem(workdir_of(task)) or label_problem(task):
        return problem
    if not task.proof:
        return "not proven", HOW_TO_PROVE[task.kind]
    if parts := edited_parts(task):
        edited = ", ".join(parts)
        return "not as proven", f"edited since its runs: {edited}. {HOW_TO_PROVE[task.kind]}"
    return None


def label_problem(task: Task) -> Problem | None:
    """Return what is wrong with a task's labels, or None."""
    labels = _table(task, "metadata")
    tags = labels.get("tags", [])
    texts = [labels.get(key, "") for key in ("difficulty", "category")]
    if isinstance(tags, list) and all(isinstance(one, str) for one in (*tags, *texts)):
        return None
    return "metadata", "difficulty and category are texts, tags is a list of texts"


def _foreign_problem(task: Task) -> Problem | None:
    has_steps = bool(task.config.get("steps"))   # each with its own tests
    lacks = [name for name, is_there in (
        ("environment/Dockerfile or docker_image", task.environment or image_of(task)),
        ("tests/test.sh", has_steps or "test.sh" in task.tests)) if not is_there]
    return ("no task of Harbor", f"it lacks {', '.join(lacks)}") if lacks else None


def kind_problem(task: Task) -> Problem | None:
    """Return why a task has a kind that there is not: it would pass for one of somebody else, which
    needs no proof."""
    kind = task.about.get("kind")
    if kind is None or kind in KINDS:
        return None
    return "kind", f"{kind!r:.80} is none of {', '.join(KINDS)}"


def image_problem(task: Task) -> Problem | None:
    """Return why what task.toml names is no image, or None. It goes into a Dockerfile as it is, of
    which a line more would be no part of what was proven."""
    image = image_of(task)
    if not image or IMAGE.fullmatch(image):
        return None
    return "docker_image", f"{image[:80]!r} is no name of an image"


def workdir_problem(place: str) -> Problem | None:
    """Return why an agent cannot work in a folder, or None."""
    workdir = PurePosixPath(place)
    if workdir.root != "/" or ".." in workdir.parts:
        return "workdir", f"{place!r} is no absolute path"
    for path in map(PurePosixPath, OF_VERIFIER):
        if path.is_relative_to(workdir) or workdir.is_relative_to(path):
            return "workdir", f"{place!r}: the verifier would take {path} from the agent"
    return None
