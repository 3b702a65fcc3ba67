"""Write stripped patches, their tasks and documents as nl2repo.py leaves them, without any run.

    write_strip(root, "heron.function.0123abcd")
"""
import json
from dataclasses import replace
from pathlib import Path

from a_task import COMMIT, STRIP, STRIP_ID, WORDS, a_strip, proven_again, write_task

from codedata.disk.store import Store
from codedata.nl2repo.strip_tasks import TaskDocument, instruction_of
from codedata.records import RepoDocument, StripPatch, Task
from codedata.tasks.folder.task_folder import verifier_config

TEXTS = {"": "# heron\n\nWhat herons do.\n", "heron.py::fly": "## fly\n\nReturn `away`.\n",
         WORDS: "## words\n\nReturn the lower-case words of a text.\n"}
DOCUMENT = f"{TEXTS['']}\n{TEXTS[WORDS]}".rstrip("\n")


def write_patch(root: Path, patch: StripPatch, fail_to_pass: list[str]) -> Task:
    """Write a patch that was proven with its task, which has no instruction yet; return that."""
    root.put(patch.id, patch)
    task = a_strip(patch.id, None, functions=patch.functions, repo=patch.repo)
    config = {**verifier_config(task), "FAIL_TO_PASS": fail_to_pass}
    task = proven_again(task, tests={"config.json": json.dumps(config).encode()})
    write_task(root, task)
    return task


def write_strip(root: Path, instance_id: str = STRIP_ID, refused: str = "") -> Task:
    """Write a patch of heron with its task, of which the document of the repository tells; or why
    it was refused."""
    name = instance_id.partition(".")[0]
    patch = StripPatch(f"birds/{name}", name, COMMIT, instance_id, "function", [WORDS], ["0" * 16],
                       STRIP, {"verdict": "good"})
    root.with_record(
        RepoDocument, name, base_commit=COMMIT, licence="MIT",
        index={instance_id: {"kind": "function", "functions": [WORDS]}},
        sections=[{"name": f"{name}.{i}", "subject": subject, "text": text,
                   "title": subject.partition("::")[2]}
                  for i, (subject, text) in enumerate(TEXTS.items())])
    if refused:
        root.put(patch.id, patch)
        Store(root, Task).open().note(instance_id, stage="nl2repo.proof", state="excluded",
                                      read="0", error=refused)
        return a_strip(instance_id)
    task = write_patch(root, patch, ["tests/test_words.py::test_none"])
    document = TaskDocument(instance_id, [WORDS], DOCUMENT)
    task = replace(task, instruction=instruction_of(task, document))
    write_task(root, task)
    return task
