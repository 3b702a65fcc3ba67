"""Tell agents what to write: the stage `instruct` of the step `doc` puts the document of a task's
functions into its instruction.md. One that a person has edited is kept."""
from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path

from codedata.records import STRIPPED_PATCH, RepoDocument, Task
from codedata.run_loop import Stage
from codedata.states import Reads, Writes
from codedata.store import Derived, Store
from codedata.tasks.folder import BEFORE_DOCUMENT, verifier_config
from codedata.texts import fill, text_of


@dataclass(frozen=True)
class TaskDocument:
    """Hold the document of the functions that a task is about."""

    instance_id: str
    functions: list[str]
    text: str


def task_documents(root: Path) -> Derived:
    """Return the documents of the tasks all of whose functions are documented, by task."""
    def documents_of(_: str, whole: RepoDocument) -> dict[str, TaskDocument]:
        texts = {one.get("subject"): str(one.get("text", "")).strip() for one in whole.sections}
        wanted = {id: ["", *one["functions"]] for id, one in whole.index.items()}
        return {id: TaskDocument(id, names[1:], "\n\n".join(texts[name] for name in names))
                for id, names in wanted.items() if all(map(texts.get, names))}

    return Derived(Store(root, RepoDocument), documents_of, place="document of all its functions")


def instruct_stage(root: Path) -> Stage:
    """Return the stage that writes the instructions of tasks."""
    tasks = Store(root, Task, kind=STRIPPED_PATCH, derived=True)   # of a repository
    return Stage(
        "nl2repo.instruct", make=make_instruction, cost_note="no calls: no model is asked",
        reads=Reads(tasks, ("tests",), made_by="nl2repo.proof"),
        joined=(Reads(task_documents(root), ("functions", "text"), made_by="nl2repo.doc"),),
        writes=Writes(tasks, ("instruction",)),
        after="nl2repo.py --steps relationship", then="export.py --formats nl2repo,harbor")


def make_instruction(task: Task, document: TaskDocument) -> Task:
    """Return a task that tells which functions are to be written, and their document."""
    names = defaultdict(list)
    for function in document.functions:
        path, _, name = function.partition("::")
        names[path].append(f"`{name}`")
    lines = "\n".join(f"- `{path}`: {', '.join(names[path])}" for path in sorted(names))
    python = f"{verifier_config(task).get('activation', '')}python3"
    return replace(task, instruction=fill(
        text_of("codedata.nl2repo", "instruction.md"), functions=lines, python=python,
        before=BEFORE_DOCUMENT, document=document.text))
