"""Make tasks of datapoints that were validated and approved as they are: for Harbor, whose reward
is the sum of the weights, and for terminal-bench, which wants all tests to pass.

Both build the image from the dockerfile of the datapoint and its files/.
"""
from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

from codedata.bounded import inside, read_bounded
from codedata.checks.approval import APPROVED, approval_problem
from codedata.checks.datapoints import (
    AGENT,
    FILES,
    META,
    exported_dockerfile,
    weights_of,
    workdir_of,
)
from codedata.checks.secrets import credential_in
from codedata.export.harbor import (
    ContextTask,
    Problem,
    task_problem,
    write_task,
)
from codedata.export.tasks import TaskExport, TaskFormat
from codedata.records import Datapoint, DatapointChecks
from codedata.sandbox import docker_engine
from codedata.sandbox.dockerfile import base_of
from codedata.sandbox.registry import image_name
from codedata.store import Store, known
from codedata.tasks.tests_folder import TestFiles, weighted_tests
from codedata.texts import text_of

# names below files/ that an export needs
TAKEN = {"dockerfile", "docker-compose.yaml", ".dockerignore", "task.yaml", "run-tests.sh",
         "solution.sh", "solution.yaml", "tests", "manifest.toml"}
VERIFIER_S, AGENT_S = 600.0, 1800.0
IMAGES = "codedata-dp/"
# terminal-bench reads the summary from the terminal, on which nothing else is printed
BENCH_TESTS = '#!/bin/bash\nexec bash "$TEST_DIR/test.sh" summary\n'
BENCH_DIFFICULTY = {"extremely_hard": "hard"}
# tmux holds the sessions of agent and tests, asciinema records them. terminal-bench makes the two
# folders as the image's user, who may not
FOR_BENCH = f"""RUN apt-get update && \\
    apt-get install -y --no-install-recommends tmux asciinema && rm -rf /var/lib/apt/lists/* && \\
    mkdir -p /tests /oracle
USER {AGENT}
"""


@dataclass(frozen=True)
class DatapointTask(ContextTask):
    """Hold a datapoint as a task; `problem` says why it is none."""

    problem: Problem | None = None


def tasks_of(root: Path) -> Callable[[Datapoint], DatapointTask]:
    """Return the function that makes tasks of the datapoints of a root."""
    checks = Store(root, DatapointChecks).open()
    return partial(_task_of, checks, cache(docker_engine.image_id))


def _task_of(checks: Store, image_id: Callable[[str], str], datapoint: Datapoint) -> DatapointTask:
    found = known(checks, datapoint.content)
    meta = datapoint.meta
    problem, weights = None, {}
    if meta.status != APPROVED:
        problem = "not approved", meta.status
    elif meta.approved != datapoint.content:
        problem = "not as approved", "edited since: review it again"
    base = base_of(datapoint.dockerfile)
    problem = problem or approval_problem(datapoint, found, image_id(base)) or _secret(datapoint)
    with suppress(ValueError):   # `weight_validation` has not passed then
        weights = {name: float(one) for name, one in weights_of(datapoint.weights).items()}
    metadata = {"difficulty": meta.difficulty, "category": meta.category, "tags": meta.tags,
                "languages": meta.languages, "content": datapoint.content,
                "base_image": base,
                "base_image_id": found.base_image if found else "",
                "weights": weights, "lineage": {key: str(value) for key, value
                                                in meta.lineage.items()}}
    return DatapointTask(
        datapoint.instance_id, str(meta.lineage.get("seed", datapoint.instance_id)),
        datapoint.prompt,
        f"{image_name(IMAGES, datapoint.instance_id)}:{datapoint.content[:12]}",
        exported_dockerfile(datapoint), workdir_of(datapoint.dockerfile),
        datapoint.solution, {"test_outputs.py": datapoint.tests}, weights, metadata,
        agent_user=AGENT, agent_timeout_s=AGENT_S, verifier_timeout_s=VERIFIER_S,
        licence=meta.licence, context=f"{datapoint.folder}/{FILES}", problem=problem)


def _secret(point: Datapoint) -> Problem | None:
    """Return which file beside those that run has a credential; archives are not looked into."""
    for name in (META, *(f"{FILES}/{name}" for name in point.files)):
        data = read_bounded(Path(point.folder, name)).replace(b"\0", b"")   # UTF-16, too
        if kind := credential_in([data.decode(errors="replace"), name]):
            return "secret in a file", f"{name}: {kind}"
    return None


def verifier_of(datapoint: Datapoint) -> TestFiles:
    """Return {path: text} of what lies in /tests of a verifier."""
    weights = {name: float(weight) for name, weight in weights_of(datapoint.weights).items()}
    files = weighted_tests(weights, AGENT, workdir_of(datapoint.dockerfile), VERIFIER_S)
    return {**files, "test_outputs.py": datapoint.tests}


# terminal-bench ----------------------------------------------------------------------------------

def bench_name(id: str) -> str:
    """Return the name of a task's folder, which terminal-bench makes one of an image. Those of two
    tasks may be equal."""
    return re.sub(r"[^a-z0-9]+", "-", id.lower()).strip("-")


def bench_files(task: DatapointTask) -> dict[str, str]:
    """Return {path: text} of a task's folder for terminal-bench."""
    verifier = {f"tests/{path}": text for path, text in {
        **weighted_tests(task.weights, AGENT, task.workdir, VERIFIER_S), **task.tests}.items()}
    difficulty = task.metadata["difficulty"]
    tags = [*task.metadata["tags"], *([difficulty] if difficulty in BENCH_DIFFICULTY else [])]
    config = {
        "instruction": task.instruction.strip() + "\n", "author_name": "codedata",
        "author_email": "unknown", "difficulty": BENCH_DIFFICULTY.get(difficulty, difficulty),
        "category": task.metadata["category"], "tags": tags, "parser_name": "pytest",
        "max_agent_timeout_sec": task.agent_timeout_s,
        "max_test_timeout_sec": task.verifier_timeout_s, "run_tests_in_same_shell": False}
    ours = ["task.yaml", "Dockerfile", "docker-compose.yaml", "run-tests.sh", "solution.sh",
            "tests", ".dockerignore", "manifest.toml"]
    return {
        "task.yaml": json.dumps(config, indent=2) + "\n",   # JSON is YAML
        "Dockerfile": task.dockerfile + FOR_BENCH,
        "docker-compose.yaml": text_of("codedata.export", "bench_compose.yaml"),
        "run-tests.sh": BENCH_TESTS,
        "solution.sh": task.solution, ".dockerignore": "\n".join(ours) + "\n", **verifier}


def write_bench(export: TaskExport) -> None:
    """Write a folder for each task of terminal-bench."""
    for task in export.tasks:
        folder = inside(export.new, bench_name(task.instance_id))
        if Path(task.context).is_dir():
            shutil.copytree(task.context, folder)
        write_task(folder, bench_files(task))


def bench_problem(task: DatapointTask) -> Problem | None:
    """Return why a task cannot be exported, or None."""
    return task.problem or task_problem(task)


BENCH_FORMAT = TaskFormat("terminal-bench", {Datapoint: tasks_of},
                          lambda root: bench_problem, write_bench, "bench_card.md",
                          folder_of=bench_name)
