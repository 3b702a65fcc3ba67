"""Make a folder of export/ with tasks of task/, each as a folder or as a row.

A task names its image by tag in its task.toml. tools/push-images notes in the export's manifest
which images it has built and pushed. A later export uses such an image if its task would still
build it from the same parts.
"""
from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from codedata.checks.contamination import Material
from codedata.checks.requests import request_problems
from codedata.checks.secrets import mask
from codedata.disk.layouts import files_digest
from codedata.disk.store import Store, digest, digests_of
from codedata.errors import BrokenRecord
from codedata.export.card import listed
from codedata.export.collect import UNKNOWN, ExportRules, LeftOutLog, masked_in
from codedata.export.exports import Export, splits
from codedata.export.folders import read_manifest
from codedata.export.task_sets.audits import (
    Audits,
    attempts_section,
    audit_problem,
    audit_section,
    figures_of,
    rate_problem,
)
from codedata.records import PULL_REQUEST, Object, Task
from codedata.sandbox.images.registry import image_name
from codedata.settings import ExportSettings
from codedata.tasks.folder.task_folder import (
    GOLD,
    SOLVE,
    Problem,
    audited_digest,
    image_of,
    task_problem,
    text_in,
)
from codedata.tasks.rates import agent_named, attempts_in, rates_by_agent
from codedata.terminal import plural, say

HARBOR, VERIFIERS = "harbor", "verifiers"   # names of formats
IMAGES = "images"   # a key of the manifest: {tag: {made_of, docker_image, image_id}}, written by
                    # push-images
OUR_IMAGES = "codedata-task/"   # prefix of the images built from a task's environment/


@dataclass(frozen=True)
class Image:
    """Name the image of a task: by digest once it is pushed, by tag before that, "" before it is
    built.
    """

    ref: str
    id: str


@dataclass(frozen=True)
class ExportTask:
    """Hold a task that may be exported, with its secrets masked, and the fields that a format
    adds."""

    task: Task
    masked: Counter                 # secrets by kind
    audit: Object | None            # figures of the audit of its present content, if any
    split: str = ""
    noted: Object = field(default_factory=dict)   # facts on its image from push-images
    rates: Object = field(default_factory=dict)   # {agent: rates_of()} for its present content

    @property
    def image(self) -> Image:
        """Return its image as push-images noted it, or else as its folder names it."""
        return Image(self.noted.get("docker_image", image_of(self.task)),
                     self.noted.get("image_id", _image_id(self.task)))


@dataclass(frozen=True)
class TaskFormat:
    """Define a folder of export/ with the tasks of some kinds."""

    name: str
    kinds: tuple[str, ...]
    # {name: problem} of the tasks that only this format refuses
    problems: Callable[[list[Task], TaskOrigins], dict[str, Problem]]
    write: Callable[[Export], None]
    tag: str   # a tag of the card

    def choose(self, tasks: TaskOrigins) -> list[ExportTask]:
        """Return the tasks of these kinds that may be exported, each with its split and image. Log
        the refused tasks of these kinds."""
        mine = [one for one in tasks.tasks if one.task.kind in self.kinds]
        refused = {name: problem for name, kind, problem in tasks.refused if kind in self.kinds}
        refused |= self.problems([one.task for one in mine], tasks)
        for name, problem in refused.items():
            tasks.left_out.add(name, *problem, format=self.name)
        mine = [one for one in mine if one.task.instance_id not in refused]
        split_of = splits((origin_of(one.task) for one in mine), tasks.settings.validation)
        return [replace(one, split=split_of[origin_of(one.task)], noted=tasks.noted(one.task))
                for one in mine]


@dataclass
class TaskOrigins:
    """Hold the tasks of a root, read once for all formats."""

    directory: Path   # export/
    settings: ExportSettings
    left_out: LeftOutLog
    store: Store
    tasks: list[ExportTask] = field(default_factory=list)   # for the formats to choose from
    # (name, kind, why it is in no format) of the other tasks
    refused: list[tuple[str, str, Problem]] = field(default_factory=list)
    n_broken: int = 0
    kept_settings = ("audited_only", "harbor_network", "licence", "licences", "min_words",
                     "pass_rate", "pass_rate_agent", "secrets_in_tests", "validation")
    template = "task_card.md"
    noun = "tasks"

    @cached_property
    def _images(self) -> Object:
        return read_manifest(self.directory / HARBOR).get(IMAGES, {})

    def noted(self, task: Task) -> Object:
        """Return the notes of push-images on a task's image; {} if the image has changed since."""
        found = self._images.get(tag_of(task), {})
        return found if found.get("made_of") == _made_of(task) else {}

    def summary(self, exports: Sequence[Export]) -> tuple[str, Counter, list[str]]:
        """Return (a line with the numbers of tasks, the masked secrets of the exported tasks by
        kind, an empty list of warnings)."""
        rows = {row.task.instance_id: row for export in exports for row in export.rows}
        n_read = len(self.tasks) + len(self.refused)
        head = (f"{Task.directory}/ {n_read:,} → {self.directory.name}/   "
                f"{plural(len(rows), 'task')}")
        return head, masked_in(rows.values()), []

    def inputs(self, export: Export) -> Object:
        """Return the part of the manifest that lists the folder's tasks."""
        return {
            IMAGES: {tag_of(row.task): row.noted for row in export.rows if row.noted},
            "tasks": [{"name": row.task.instance_id, "kind": row.task.kind,
                       "repo": origin_of(row.task), "digest": digest(digests_of(row.task)),
                       "split": row.split, "docker_image": tag_of(row.task),
                       "made_of": _made_of(row.task), "audit": row.audit, "rates": row.rates}
                      for row in export.rows]}

    def card_values(self, export: Export) -> Object:
        """Return the values for task_card.md, and for the text of a format in formats.md."""
        def counted(counts: Counter) -> str:
            return ", ".join(f"{name} {n:,}" for name, n in sorted(counts.items())) or "nothing"

        return {"tasks": plural(len(export.rows), "task"), "settings": self.settings,
                **export.n_rows, "tag": export.form.tag,
                "masked": counted(masked_in(export.rows)),
                "audit": audit_section([row.audit for row in export.rows if row.audit],
                                       len(export.rows)),
                "attempts": attempts_section([row.rates for row in export.rows if row.rates]),
                "tiers": listed((about_text(row.task, "tier") or "no tier" for row in export.rows),
                                "task"),
                "licences": listed((licence_of(row.task) for row in export.rows), "task"),
                "left_out": counted(self.left_out.counts(export.form.name))}


def read_tasks(root: Path, settings: ExportSettings, rules: ExportRules,
               left_out: LeftOutLog) -> TaskOrigins:
    """Return the tasks of a root. Print the errors of unreadable ones. Raise Trouble if [export]
    pass_rate is set, attempts exist, and pass_rate_agent is no agent with a model."""
    store, audits, attempts = Store(root, Task).open(), Audits(root), attempts_in(root)
    agent = settings.pass_rate_agent
    if settings.pass_rate and agent and attempts:
        agent = agent_named(agent, attempts, "[export] pass_rate_agent")
    read = TaskOrigins(root / "export", settings, left_out, store)
    broken = [*store.broken]
    for name in store.names():
        try:
            task = store.read(name)
            problem = _problem(rules, task, settings)
            audit = None if problem else audits.of(task)
            rates = rates_by_agent(attempts.get((name, audited_digest(task)), {}))
            problem = problem or audit_problem(settings.audited_only, audit) or rate_problem(
                settings.pass_rate, agent, rates)
        except BrokenRecord as e:
            broken.append(e)
            problem = "broken record", e.what
        if problem:
            read.refused.append((name, Task.kind_in(store.path(name)), problem))
        else:
            instruction, masked = mask(task.instruction or "")
            read.tasks.append(ExportTask(replace(task, instruction=instruction), masked,
                                         audit and figures_of(audit), rates=rates))
    broken += audits.broken
    for error in broken:
        say(f"export.py: {error}")
    read.n_broken = len(broken)
    return read


def _problem(rules: ExportRules, task: Task, settings: ExportSettings) -> Problem | None:
    """Return why a task is in no format, or None."""
    name = task.instance_id
    if rules.excludes(name):
        return "[exclude] ids", name
    texts = {"task": task.instruction or "",
             "patch": text_in(task.solution, GOLD) or text_in(task.solution, SOLVE)}
    reasons = rules.against(licence_of(task), lambda: Material(
        name, about_text(task, "repo"), about_text(task, "source_commit"), texts))
    problem = reasons[0] if reasons else task_problem(task, settings.secrets_in_tests)
    if problem or task.kind != PULL_REQUEST:
        return problem
    return next(request_problems(texts["task"], task.new_names, settings.min_words), None)


def kinds_in(root: Path) -> set[str]:
    """Return the kinds of the tasks of a root: "" for imported tasks, and for folders in task/ that
    cannot be read."""
    store = Store(root, Task).open()
    kinds = {Task.kind_in(store.path(name)) for name in store.names()}
    return {*kinds, ""} if store.broken else kinds


def about_text(task: Task, key: str) -> str:
    """Return a key of a task's [metadata.codedata] as a text; "" if it is missing."""
    return str(task.about.get(key) or "")


def licence_of(task: Task) -> str:
    """Return the licence of a task's source."""
    return about_text(task, "licence") or UNKNOWN


def origin_of(task: Task) -> str:
    """Return the origin of a task, or its name if unknown. All tasks of an origin are in one
    split."""
    return about_text(task, "split") or about_text(task, "repo") or task.instance_id


def tag_of(task: Task) -> str:
    """Return the tag of a task's image; if its task.toml names none, the tag for its build."""
    built = f"{image_name(OUR_IMAGES, task.instance_id)}:{files_digest(task.environment)[:12]}"
    return image_of(task) or built


def _image_id(task: Task) -> str:
    """Return the engine's id of the image used for a task's proof, "" if its task.toml names no
    image."""
    return str((task.proof or {}).get("image_id") or "") if image_of(task) else ""


def _made_of(task: Task) -> str:
    """Return a digest of the parts from which an image is made."""
    return digest([files_digest(task.environment), _image_id(task)])
