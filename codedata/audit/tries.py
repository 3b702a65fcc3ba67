"""Grade scripts as work on a task, without a root: `audit.py try FOLDER SCRIPT…`."""
from __future__ import annotations

import argparse
import threading
from pathlib import Path

from codedata.audit.cheats import patched
from codedata.bounded import read_bounded
from codedata.disk.layouts import load_folder
from codedata.errors import ItemFailed
from codedata.records import Task, parse
from codedata.sandbox.factory import SandboxFactory
from codedata.settings import Settings
from codedata.suites.environments import labelled
from codedata.tasks.folder.check import faults_of
from codedata.tasks.prove.grader import Grade, grader_of
from codedata.terminal import say
from codedata.texts import printable

MAX_SCRIPT_BYTES = 1_000_000
LINES = 12               # last lines shown of a verifier's output


def try_scripts(settings: Settings, parser: argparse.ArgumentParser, paths: list[str]) -> int:
    """Print the faults of a task's folder. Then run each script as the task's agent, and print its
    grade. Return the exit code: 0 if all scripts were graded, else 1. Raise Trouble if the folder
    cannot be read."""
    if len(paths) < 2:
        parser.error("try takes the folder of a task, and scripts: audit.py try FOLDER SCRIPT…")
    folder, host = Path(paths[0]).resolve(), SandboxFactory(settings, threading.Event())
    faults = faults_of(folder)
    for fault in faults:
        say(f"{fault.place or folder.name}: {fault.what}. {fault.todo}")
    task = parse(Task, Task.completed(load_folder(folder, Task.places)), str(folder))
    with labelled(host, task.instance_id, "audit") as label:
        grader, code = grader_of(task, host, label), 0
        for path in paths[1:]:
            try:
                script = read_bounded(path, MAX_SCRIPT_BYTES).decode()
                if path.endswith(".patch"):   # a patch of a script next to it, as in rivals/
                    beside = {one.name: one.read_text() for one in Path(path).parent.glob("*.sh")}
                    script = patched(Path(path).name, script, beside)
                work, printed = grader.work(script)
                show(path, grader.grade(work, before="export PYTEST_ADDOPTS=--tb=short; "), printed)
            except (OSError, UnicodeDecodeError, ItemFailed) as e:
                say(f"{path}: {e}")
                code = 1
    return code


def show(path: str, grade: Grade, printed: str) -> None:
    """Print a grade: the reward, the failed tests, and the end of the output."""
    say(f"{path}: reward {grade.reward:g}, {grade.seconds:.1f} s")
    passed = grade.passed()
    for name in dict.fromkeys(phase[0] for phase in grade.phases if phase[0] not in passed):
        say(f"  failed: {name}")
    lines = grade.log.strip().splitlines() if grade.reward < 1 else []
    for line in [*printed.strip().splitlines()[-3:], *lines[-LINES:]]:
        say(f"  {printable(line, 300)}")
