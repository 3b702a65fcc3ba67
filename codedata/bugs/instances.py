"""Say what a bug is on disk: a task in task/<instance_id>/, of the kind BUG. The step `instances`,
the end of `prove` of `agent`, writes one of each good verdict; `instruct` gives it the instruction
that its report in bug/ has. The files of `scale` lie in the same directories; each word leaves the
other's alone."""
from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from codedata.errors import BrokenRecord
from codedata.layouts import content_of
from codedata.outcomes import of_bugs
from codedata.records import BUG, BugReport, BugVerdict, Files, Object, Task, Verdicts, parse
from codedata.run_loop import Stage
from codedata.states import Reads, Writes
from codedata.store import Derived, Store, all_readable
from codedata.tasks.folder import (
    GOLD,
    HIDDEN,
    PROVEN_FIELDS,
    REVERSE,
    TEST_PATCH,
    image_of,
    text_in,
    verifier_config,
)
from codedata.tasks.verifier.junit import restored_name

FOLDERS = ("environment", "solution", "tests")
AGENTS = re.compile(r".+\.agent-\d+(\.[0-9a-f]+)?")   # a file of agents, or its instance
AGAIN = "Delete the file and run: python bug_inject.py agent --steps prove"


def is_of_agent(name: str) -> bool:
    """Return whether a name is that of an agent's file or instance; all others are those of
    `scale`."""
    return AGENTS.fullmatch(name) is not None


def is_of_scale(name: str) -> bool:
    """Return whether a name is none of an agent's."""
    return not is_of_agent(name)


@dataclass(frozen=True)
class Word:
    """Say whose bugs a word of bug_inject.py is about."""

    name: str
    maker: str               # the step that writes their tasks
    owns: Callable[[str], bool]   # whether a name is that of one of them
    prefix: str = ""         # in ledgers, of the steps that both words have


AGENT = Word("agent", "instances", is_of_agent)
SCALE = Word("scale", "report", is_of_scale, "scale_")


def bug_tasks(root: Path, owns: Callable[[str], bool] = bool) -> Store:
    """Return the tasks of a root that are bugs, of all or of a word."""
    return Store(root, Task, kind=BUG, only=owns, derived=True)


@dataclass(frozen=True)
class ProvenBug:
    """Hold what the folder of a task says of its bug."""

    instance_id: str
    repo: str
    language: str
    symbol: str              # id of the changed function, as in analysis/
    patch: str               # heals it
    bug_patch: str           # has made it
    FAIL_TO_PASS: list[str]  # escaped as junit.escaped_name() does
    test_patch: str = ""
    hidden: Files = field(default_factory=dict)   # the tests that graders put in place, by path
    image: str = ""
    log: str = ""            # the end of what a run with it printed
    symbols: list[str] = field(default_factory=list)   # of all functions that it changes

    @classmethod
    def of(cls, task: Task) -> ProvenBug:
        """Return the bug of a task."""
        proof, failing = task.proof or {}, verifier_config(task).get("FAIL_TO_PASS")
        repo, language, symbol = (str(task.about.get(key) or "")
                                  for key in ("repo", "language", "symbol"))
        return cls(
            task.instance_id, repo, language, symbol, text_in(task.solution, GOLD),
            text_in(task.solution, REVERSE), [*map(str, failing or [])],
            text_in(task.tests, TEST_PATCH),
            {path.removeprefix(f"{HIDDEN}/"): content_of(file)
             for path, file in task.tests.items() if path.startswith(f"{HIDDEN}/")},
            image_of(task), str(proof.get("log") or ""), [*map(str, proof.get("symbols") or [])])

    @property
    def failing(self) -> list[str]:
        """Return the sorted names of the tests that it fails, as env/ has them."""
        return sorted(map(restored_name, self.FAIL_TO_PASS))


# the step `instances` ----------------------------------------------------------------------------

def as_texts(task: Task) -> Object:
    """Return a task as a verdict holds it, beside its proof: all files of a bug are texts."""
    return {"config": task.config, **{
        name: {path: content_of(file).decode() for path, file in getattr(task, name).items()}
        for name in FOLDERS}}


def instances_in(root: Path) -> Derived:
    """Return the task of each good verdict on an agent's candidate, without an instruction."""
    verdicts = Store(root, Verdicts, only=is_of_agent)

    def tasks_of(item: str, record: Verdicts) -> dict[str, Task | BrokenRecord]:
        where = str(verdicts.path(item))
        tasks = {}
        for verdict in record.verdicts:
            name = verdict["instance_id"]
            if not verdict["good"]:
                continue
            if name.rpartition(".")[0] != item:
                raise BrokenRecord(f"has an instance of another name: {name[:80]!r}.", where, AGAIN)
            try:
                tasks[name] = _task_of(name, verdict, f"{where} ({name})")
            except BrokenRecord as e:
                tasks[name] = e   # the others of the file are none the worse
        return tasks

    return Derived(verdicts, tasks_of)


def _task_of(name: str, verdict: BugVerdict, where: str) -> Task:
    made = verdict["instance"] or {}
    if "eval_script" in made:
        raise BrokenRecord("is of an earlier release.", where, "Run tools/convert-root.")
    files = {folder: {path: str(text).encode() for path, text in made[folder].items()}
             for folder in FOLDERS if isinstance(made.get(folder), dict)}
    return parse(Task, {**made, **files, "instance_id": name, "kind": BUG, "instruction": None,
                        "proof": verdict["evidence"]}, where, AGAIN)


def instances_stage(root: Path) -> Stage:
    """Return the stage that writes the task of each good verdict."""
    return Stage(
        "bug_inject.instances", make=lambda task: task,
        reads=Reads(instances_in(root), PROVEN_FIELDS, made_by="bug_inject.prove"),
        writes=Writes(bug_tasks(root), PROVEN_FIELDS), cost_note="no calls: no model is asked",
        after="bug_inject.py agent --steps prove", then="bug_inject.py agent --steps issue")


# the step `instruct` -----------------------------------------------------------------------------

def instruct_stage(root: Path, word: Word) -> Stage:
    """Return the stage that writes the instruction of each task of a word, as its report has it."""
    tasks = bug_tasks(root, word.owns)
    return Stage(
        f"bug_inject.{word.prefix}instruct",
        make=lambda task, report: replace(task, instruction=report.problem_statement),
        reads=Reads(tasks, ("kind",)),   # which never changes: a report alone makes it stale
        joined=(Reads(Store(root, BugReport), ("problem_statement",),
                      made_by=f"bug_inject.{word.prefix}issue",
                      command=f"bug_inject.py {word.name} --steps issue"),),
        writes=Writes(tasks, ("instruction",)), cost_note="no calls: no model is asked",
        sum_up=lambda: [of_bugs(all_readable(root, Task, BUG))],
        after=f"bug_inject.py {word.name}", then="export.py")
