"""Make rows and tasks of stripped patches that were proven: a document, and the source without the
bodies that it describes.

What is not as it was proven, or not documented, is left out by name. tasks/verifier/suite.py says
what an agent's code can do in a task's verifier, and what not.
"""
from __future__ import annotations

import itertools
import os
import shlex
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path

from codedata.checks.evidence import matches_proof
from codedata.checks.secrets import credential_in
from codedata.code.leftovers import activation
from codedata.errors import BrokenRecord, Excluded
from codedata.export.harbor import (
    GradedTask,
    Problem,
    task_problem,
)
from codedata.export.swebench import columns_of, write_splits
from codedata.export.tasks import TaskFormat
from codedata.records import HarborTask, RepoDocument, RepoMeta, StripPatch
from codedata.sandbox.factory import WORKDIR, SandboxFactory
from codedata.store import Store
from codedata.tasks.eval_script import files_in, texts_in
from codedata.tasks.folder import ARCHIVE, HIDDEN, TEST_SCRIPT
from codedata.tasks.tests_folder import TestFiles, seconds_for_tests, suite_tests
from codedata.texts import fill, printable, text_of

COLUMNS = columns_of("""instance_id repo base_commit licence kind functions document patch
    strip_patch test_patch FAIL_TO_PASS PASS_TO_PASS eval_script image_name task_commit created_at
    tests_visible tests_user""")
HOW = {"user": "nobody", "canary": ""}   # a verifier runs tests, where a proof does not say
AGENT_S = 3600.0
MIN_VERIFIER_S, VERIFIER_TIMES = 600.0, 10   # times as long as the longest run of the proof
GRADE = ("mkdir -p /logs/verifier; cd /tests && bash solve.sh && sh collect.sh && bash test.sh; "
         "echo reward $(cat /logs/verifier/reward.txt)")
STEPS = "--steps doc_part2,doc_part1,doc"


@dataclass(frozen=True)
class StripTask(GradedTask):
    """Hold a stripped patch as a task; `problem` says why it is none."""

    problem: Problem | None = None
    row: dict = field(default_factory=dict, repr=False)


def rows_in(root: Path) -> Callable[[StripPatch], StripTask]:
    """Return the function that makes a task of a root's patch whose instruction is the document."""
    return _tasks_in(root, lambda patch, document: document)


def tasks_in(root: Path) -> Callable[[StripPatch], StripTask]:
    """Return the function that makes a task of a root's patch, as Harbor runs it."""
    return _tasks_in(root, instruction_of)


def instruction_of(patch: StripPatch, document: str) -> str:
    """Return what an agent is told: which functions it has to write, and their document."""
    names = defaultdict(list)
    for function in patch.functions:
        path, _, name = function.partition("::")
        names[path].append(f"`{name}`")
    lines = "\n".join(f"- `{path}`: {', '.join(names[path])}" for path in sorted(names))
    python = activation(files_in(patch.proof["eval_script"])[TEST_SCRIPT]) + "python3"
    return fill(text_of("codedata.export", "strip_task.md"), functions=lines, python=python,
                document=document)


def _tasks_in(root: Path, instruct: Callable[[StripPatch, str], str]
              ) -> Callable[[StripPatch], StripTask]:
    @cache
    def of_repository(cls: type, name: str):
        """Return a repository's record; None where there is none that can be read."""
        store = Store(root, cls).open()
        try:
            return store.read(name) if name in store else None
        except BrokenRecord:
            return None   # nl2repo.py names it

    def task_of(patch: StripPatch) -> StripTask:
        meta = of_repository(RepoMeta, patch.repo_name)
        repository = of_repository(RepoDocument, patch.repo_name)
        texts = {section.get("subject"): str(section.get("text", "")).strip()
                 for section in repository.sections} if repository else {}
        licence = meta and meta.licence
        if problem := _problem(patch, texts):
            return StripTask(patch.id, patch.repo, "", "", "", WORKDIR, "", {}, {}, {},
                             licence=licence, problem=problem)
        document = "\n\n".join(texts[name] for name in ("", *patch.functions))
        return _task(patch, instruct(patch, document), licence)

    return task_of


def _problem(patch: StripPatch, texts: dict[str, str]) -> Problem | None:
    """Return why a patch is left out, or None. `texts` are the sections of its document."""
    proof = patch.proof
    if not (proof and proof["proven"]):
        reason = proof["reason"] if proof else patch.screened.get("reason")
        return "not proven", str(reason or "run: python nl2repo.py --steps relationship")
    if not matches_proof(patch):
        return "not as proven", "edited since its runs: patches, tests or image"
    if len(texts_in(proof["eval_script"])) == 1:
        return "not proven", ("by this version: its eval_script is an earlier one's. "
                              "Run: python nl2repo.py --steps relationship --force")
    if not texts:
        return "no document", f"run: python nl2repo.py {STEPS}"
    for name in ("", *patch.functions):
        if not texts.get(name):
            return "not documented", f"{name or 'the project'}: run: python nl2repo.py {STEPS}"
    texts_that_run = (patch.diff, proof["patch"], proof["test_patch"],
                      *texts_in(proof["eval_script"]))
    if kind := credential_in(texts_that_run):   # masking would change what was proven
        return "secret in a file that runs", kind
    return None


def _task(patch: StripPatch, instruction: str, licence: str | None) -> StripTask:
    proof = patch.proof
    how = {**HOW, **(proof.get("verifier") or {})}
    row = {**vars(patch), **proof, "instance_id": patch.id, "base_commit": patch.base_commit,
           "licence": licence, "strip_patch": patch.diff, "task_commit": proof["base_commit"],
           "tests_user": how["user"]}
    metadata = {"category": "rebuild", "tags": ["python", "nl2repo", patch.kind],
                "kind": patch.kind, "base_commit": patch.base_commit, "tests_user": how["user"],
                "canary": how["canary"], "tests_visible": proof["tests_visible"]}
    longest_s = max((run["seconds"] for run in proof["runs"]), default=0.0)
    timeout_s = max(MIN_VERIFIER_S, VERIFIER_TIMES * longest_s)
    return StripTask(
        patch.id, patch.repo, instruction, proof["image_name"], "", WORKDIR,
        solution(patch), verifier_files(patch, how, timeout_s), {}, metadata, licence=licence,
        agent_timeout_s=AGENT_S, verifier_timeout_s=timeout_s, collect=collect_script(patch),
        row={name: row.get(name) for name in COLUMNS})


def touched(patch: StripPatch) -> list[str]:
    """Return the paths of the files that a patch changes."""
    return sorted({name.partition("::")[0] for name in patch.functions})


def solution(patch: StripPatch) -> str:
    """Return the script that writes the bodies again."""
    return fill(text_of("codedata.export", "strip_solve.sh"), patch=patch.proof["patch"])


def collect_script(patch: StripPatch) -> str:
    """Return the script that writes the archive of an agent's work."""
    return fill(text_of("codedata.export", "strip_collect.sh"), archive=ARCHIVE,
                touched=shlex.join(touched(patch)), commit=patch.proof["base_commit"])


def verifier_files(patch: StripPatch, how: Mapping[str, str], timeout_s: float) -> TestFiles:
    """Return {path: text} of what a verifier needs that has so many seconds. It reads JUnit XML
    alone: an agent's code could print the rest."""
    proof = patch.proof
    proven = files_in(proof["eval_script"])
    hidden = {path.partition("/")[2]: text.encode() for path, text in proven.items()
              if path.startswith(f"{HIDDEN}/")}
    names = {name: proof[name] for name in ("FAIL_TO_PASS", "PASS_TO_PASS")}
    return suite_tests(proven[TEST_SCRIPT], hidden, workdir=WORKDIR, counts=touched(patch),
                       timeout_s=seconds_for_tests(timeout_s), **names, **how)


def measured_verifier(factory: SandboxFactory, patch: StripPatch, label: str) -> dict[str, str]:
    """Return how a verifier runs the tests of a proven patch such that its gold patch gets the
    whole reward, for `verifier` of its proof: as which user, and in which folder a test lies that
    has to fail; "" where such a test is not run. Raise Excluded where there is no way."""
    test = patch.proof["FAIL_TO_PASS"][0].partition("::")[0]
    folders = [os.path.dirname(test) or ".", ""] if test.endswith(".py") else [""]
    for user, folder in itertools.product((HOW["user"], "root"), folders):
        how = {"user": user, "canary": folder}
        printed = _graded_gold(factory, patch, how, label)
        if printed.endswith("reward 1.0"):
            return how
    raise Excluded(f"its verifier does not reward the gold patch: {printable(printed[-500:])}",
                   patch.id)


def _graded_gold(factory: SandboxFactory, patch: StripPatch, how: Mapping[str, str],
                 label: str) -> str:
    """Return what a verifier prints of the gold patch, and the reward behind it."""
    files = verifier_files(patch, how, factory.run_timeout_s)
    files |= {"solve.sh": solution(patch), "collect.sh": collect_script(patch)}
    with factory.open(patch.proof["image_name"], label, default_rights=True) as sandbox:
        sandbox.put({name: text.encode() for name, text in files.items()}, "/tests")
        return sandbox.run(GRADE, timeout_s=factory.run_timeout_s).output.strip()


def row_of(task: StripTask, image: str) -> dict:
    """Return the row of a patch, with its document as it was masked."""
    return {**task.row, "document": task.instruction, "image_name": image}


def harbor_problem(task: HarborTask) -> Problem | None:
    """Return why a task of whatever source cannot be exported for Harbor, or None."""
    return getattr(task, "problem", None) or task_problem(task)


STRIP_FORMAT = TaskFormat("nl2repo", {StripPatch: rows_in}, lambda root: lambda task: task.problem,
                          partial(write_splits, columns=COLUMNS, row_of=row_of), "nl2repo_card.md")
