"""Write stripped patches, their tasks and documents as nl2repo.py leaves them, without any run.

    write_strip(root, "heron.function.0123abcd")
"""
import json
from dataclasses import replace
from pathlib import Path

from a_task import COMMIT, STRIP, STRIP_ID, WORDS, a_strip, proven_again, write_task

from codedata.disk.store import Store
from codedata.nl2repo.strip_tasks import TaskDocument, id_of, instruction_of
from codedata.records import BREAKS, STRIPPED_PATCH, Candidate, RepoDocument, Task, candidate_of
from codedata.run.stage import names_of
from codedata.tasks.folder.task_folder import verifier_config

TEXTS = {"": "# heron\n\nWhat herons do.\n", "heron.py::fly": "## fly\n\nReturn `away`.\n",
         WORDS: "## words\n\nReturn the lower-case words of a text.\n"}
DOCUMENT = f"{TEXTS['']}\n{TEXTS[WORDS]}".rstrip("\n")


def a_strip_of(repo_name: str, diff: str, functions: list[str], sources: list[str],
               name: str = "", **config) -> Candidate:
    """Return a candidate that strips functions."""
    return candidate_of(
        name or id_of(repo_name, "function", diff), diff, {"functions": functions},
        environment=repo_name, base_commit=COMMIT, direction=BREAKS, kind=STRIPPED_PATCH,
        method="function", words={"sources": sources}, **config)


def write_candidate(root: Path, candidate: Candidate) -> None:
    """Write a candidate, without a line in the ledger."""
    store = Store(root, Candidate).open()
    store.put(candidate.name, candidate, names_of(Candidate))


def write_patch(root: Path, patch: Candidate, fail_to_pass: list[str]) -> Task:
    """Write a patch that was proven with its task, which has no instruction yet; return that."""
    write_candidate(root, patch)
    task = a_strip(patch.name, None, functions=patch.config["about"]["functions"],
                   repo=patch.config["repo"])
    config = {**verifier_config(task), "FAIL_TO_PASS": fail_to_pass}
    task = proven_again(task, tests={"config.json": json.dumps(config).encode()})
    write_task(root, task)
    return task


def write_strip(root: Path, instance_id: str = STRIP_ID, refused: str = "") -> Task:
    """Write a patch of heron with its task, of which the document of the repository tells; or why
    it was refused."""
    name = instance_id.partition(".")[0]
    patch = a_strip_of(name, STRIP, [WORDS], ["0" * 16], instance_id, repo=f"birds/{name}")
    root.with_record(
        RepoDocument, name, base_commit=COMMIT, licence="MIT",
        index={instance_id: {"kind": "function", "functions": [WORDS]}},
        sections=[{"name": f"{name}.{i}", "subject": subject, "text": text,
                   "title": subject.partition("::")[2]}
                  for i, (subject, text) in enumerate(TEXTS.items())])
    if refused:
        write_candidate(root, patch)
        Store(root, Task).open().note(instance_id, stage="nl2repo.proof", state="excluded",
                                      read="0", error=refused)
        return a_strip(instance_id)
    task = write_patch(root, patch, ["tests/test_words.py::test_none"])
    document = TaskDocument(instance_id, [WORDS], DOCUMENT)
    task = replace(task, instruction=instruction_of(task, document))
    write_task(root, task)
    return task
