"""Write datapoints as folders of terminal-bench, where a task is solved if all its tests pass. It
builds the image itself, of the same Dockerfile and context."""
from __future__ import annotations

import json
import re
from collections import Counter

from codedata.bounded import inside
from codedata.export.harbor import write_task
from codedata.export.tasks import TaskExport
from codedata.records import Files, Task
from codedata.tasks.folder import DOCKERFILE, SOLVE, Problem, agent_of, text_in
from codedata.texts import text_of

# files of environment/ of which the exported folder has its own
REPLACED = (DOCKERFILE, "docker-compose.yaml", ".dockerignore")
# terminal-bench reads the summary from the terminal, on which nothing else is printed
RUN_TESTS = '#!/bin/bash\nexec bash "$TEST_DIR/test.sh" summary\n'
DIFFICULTY = {"extremely_hard": "hard"}
# tmux runs the sessions of agent and tests, asciinema records them. terminal-bench makes the two
# folders as the image's user, who may not be allowed to
ADDED = """RUN apt-get update && \\
    apt-get install -y --no-install-recommends tmux asciinema && rm -rf /var/lib/apt/lists/* && \\
    mkdir -p /tests /oracle
USER {user}
"""


def bench_name(id: str) -> str:
    """Return the name of a task's folder, after which terminal-bench names an image. Two tasks may
    get the same."""
    return re.sub(r"[^a-z0-9]+", "-", id.lower()).strip("-")


def bench_problems(export: TaskExport) -> dict[str, Problem]:
    """Return {name: problem} of the tasks whose folders would have one name: none of them is
    exported."""
    folders = {task.instance_id: bench_name(task.instance_id) for task in export.tasks}
    counts = Counter(folders.values())
    return {name: ("folders of one name", folder) for name, folder in folders.items()
            if counts[folder] > 1}


def bench_files(task: Task) -> Files:
    """Return the files of a task's folder."""
    config, labels = task.config, task.config.get("metadata", {})
    difficulty, tags = labels.get("difficulty", ""), [*labels.get("tags", [])]
    about = {
        "instruction": (task.instruction or "").strip() + "\n", "author_name": "codedata",
        "author_email": "unknown", "difficulty": DIFFICULTY.get(difficulty, difficulty),
        "category": labels.get("category", ""),
        "tags": tags + ([difficulty] if difficulty in DIFFICULTY else []), "parser_name": "pytest",
        "max_agent_timeout_sec": config["agent"]["timeout_sec"],
        "max_test_timeout_sec": config["verifier"]["timeout_sec"], "run_tests_in_same_shell": False}
    ours = ["task.yaml", "Dockerfile", "docker-compose.yaml", "run-tests.sh", "solution.sh",
            "tests", ".dockerignore", "manifest.toml"]
    texts = {
        "task.yaml": json.dumps(about, indent=2) + "\n",   # JSON is YAML
        "Dockerfile": text_in(task.environment, DOCKERFILE) + ADDED.format(user=agent_of(task)),
        "docker-compose.yaml": text_of("codedata.export", "bench_compose.yaml"),
        "run-tests.sh": RUN_TESTS, "solution.sh": text_in(task.solution, SOLVE),
        ".dockerignore": "\n".join(ours) + "\n"}
    context = {name: file for name, file in task.environment.items() if name not in REPLACED}
    return {**context, **{f"tests/{name}": file for name, file in task.tests.items()},
            **{name: text.encode() for name, text in texts.items()}}


def write_bench(export: TaskExport) -> None:
    """Write a folder for each task."""
    for task in export.tasks:
        write_task(inside(export.new, bench_name(task.instance_id)), bench_files(task))
