"""Write bugs as bug_inject.py leaves them, without running any test.

    write_bug(root, "heron.agent-1.0123abcd")              # proven, with an instruction
    write_bug(root, "crane.agent-1.0123abcd", instruction=None)
"""
import re
from pathlib import Path

import a_task

from codedata.bugs.instances import is_of_agent
from codedata.disk.store import Store
from codedata.records import BUG, Task
from codedata.run.plan import read_digest
from codedata.tasks.folder.task_folder import PROVEN_FIELDS


def write_bug(root: Path, instance_id: str = a_task.BUG_ID, **more) -> Task:
    """Write a bug as the step that proves it does."""
    return write_task(root, a_task.a_bug(instance_id, **more))


def write_task(root: Path, bug: Task) -> Task:
    """Write the folder of a bug, with the ledger line of the step that proves it."""
    name, store = bug.instance_id, Store(root, Task, kind=BUG).open()
    known = store.put(name, bug, ())
    step = "prove" if is_of_agent(name) else "report"
    store.note(name, stage=f"bug_inject.{step}", state="done", settings="",
               read=read_digest((known.digests, PROVEN_FIELDS)), **known.line(PROVEN_FIELDS))
    return bug


def bugs_in(root: Path) -> list[str]:
    """Return the names of a root's tasks, sorted."""
    return sorted(path.name for path in (root / "task").glob("[!_]*"))


def bug_images(folder: Path) -> set[str]:
    """Return the images of the bugs in all roots below a folder.

    Other tests of this process leave tasks there too: broken ones, and ones of other makers.
    """
    configs = map(Path.read_bytes, folder.glob("*/**/task/*/task.toml"))
    images = (re.search(rb'^docker_image = "(codedata-bug[^"]*)"$', text, re.M) for text in configs)
    return {found[1].decode() for found in images if found}
