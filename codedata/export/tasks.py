"""Make a folder of export/ that holds a folder for each task, whatever directory it comes from.

Which image a task has is in its record, by tag. tools/push-images notes in the manifest of the
export what it has pushed, and later exports of the same task name that.
"""
from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import codedata
from codedata.checks.contamination import Benchmarks, Material
from codedata.checks.secrets import mask
from codedata.errors import BrokenRecord, Trouble
from codedata.export import folders
from codedata.export.card import listed, shown
from codedata.export.collect import UNKNOWN, LeftOutLog
from codedata.export.folders import FOLDER
from codedata.export.harbor import (
    Image,
    Problem,
    dockerfile_digest,
    task_files,
    task_problem,
    write_task,
)
from codedata.export.provenance import public
from codedata.export.split import SPLITS, splits
from codedata.layouts import NEW
from codedata.progress import say
from codedata.records import HarborTask
from codedata.settings import Settings
from codedata.store import Store, digest
from codedata.texts import terminal_safe, text_of

IMAGES = "images"   # of the manifest: {tag: {dockerfile, docker_image, image_id}} of pushed images
OF_A_TASK = ("licences", "validation", "seed", "licence", "harbor_network")   # settings


@dataclass(frozen=True)
class TaskFormat:
    """Define a folder of export/ with a folder for each task of some directories."""

    name: str
    sources: dict[type, Callable[[Any], HarborTask]]   # record class → makes a task of a record

    @property
    def reads(self) -> tuple[str, ...]:
        """Return the directories that it is made of."""
        return tuple(cls.directory for cls in self.sources)

    @staticmethod
    def check(settings: Settings) -> Trouble | None:
        """Return what bars all tasks: nothing; each of them was proven, or is left out."""
        return None


class ExportTasks:
    """Hold the tasks of a format that may be exported; collect() reads them."""

    def __init__(self, form: TaskFormat, settings: Settings, left_out: LeftOutLog):
        self.form, self.settings, self.left_out = form, settings, left_out
        self.tasks: list[HarborTask] = []
        self.masked: Counter = Counter()   # secrets by kind
        self.n_in = dict.fromkeys(form.reads, 0)
        self.n_broken = 0
        self.source: dict[str, str] = {}   # task → its directory
        benchmarks = settings.export.decontaminate
        self._benchmarks = Benchmarks.load(benchmarks) if benchmarks else None
        self._allowed = {licence.lower() for licence in settings.export.licences}

    def collect(self) -> ExportTasks:
        """Read every directory, and return self. Broken records are reported and left out."""
        for cls, task_of in self.form.sources.items():
            store = Store(self.settings.root, cls).open()
            for error in store.broken:
                self._report_broken(error)
            for name in store.names():
                self.n_in[cls.directory] += 1
                try:
                    self._take(cls.directory, task_of(store.read(name)))
                except BrokenRecord as e:
                    self._report_broken(e)
                    self.left_out.add(name, "broken record", e.what, self.form.name)
        return self

    def _take(self, directory: str, task: HarborTask) -> None:
        """Add a task with secrets masked, or log why it is left out."""
        if problem := self._problem(task):
            self.left_out.add(task.instance_id, *problem, format=self.form.name)
            return
        instruction, secrets = mask(task.instruction)
        self.masked.update(secrets)
        self.tasks.append(replace(task, instruction=instruction))
        self.source[task.instance_id] = directory

    def _problem(self, task: HarborTask) -> Problem | None:
        """Return why a task is left out, or None."""
        if task.instance_id in self.settings.exclude.ids:
            return "[exclude] ids", task.instance_id
        if task.instance_id in self.source:
            return "two of one name", f"{self.source[task.instance_id]}/ has one, too"
        licence = task.licence or UNKNOWN
        if self._allowed and licence.lower() not in self._allowed:
            return "licence", licence
        if self._benchmarks:
            material = Material(task.instance_id, task.repo,
                                str(task.metadata.get("base_commit", "")),
                                {"task": task.instruction, "patch": task.solution})
            if hits := self._benchmarks.hits(material):
                return "in a benchmark", str(hits[0])
        return task_problem(task)

    def _report_broken(self, error: BrokenRecord) -> None:
        say(f"export.py: {error}")
        self.n_broken += 1


class TaskExport:
    """Make the folders of the tasks of one format, and the folder that holds them."""

    noun = "tasks"

    def __init__(self, of: ExportTasks, directory: Path):
        self.form, self._of, self._settings = of.form, of, of.settings.export
        self.place, self.new = directory / of.form.name, directory / NEW / of.form.name
        self._images = folders.read_manifest(self.place).get(IMAGES, {})

    @cached_property
    def split_of(self) -> dict[str, str]:
        """Return {repository: split} of the tasks."""
        repos = {task.repo for task in self._of.tasks}
        return splits(repos, self._settings.validation, self._settings.seed)

    @property
    def rows(self) -> dict[str, int]:
        """Return the number of tasks by split."""
        counts = Counter(self.split_of[task.repo] for task in self._of.tasks)
        return {split: counts[split] for split in SPLITS}

    def fill(self, write: bool) -> None:
        """With `write` write the folders of all tasks, to the folder in _tmp/."""
        if not write:
            return
        self.new.mkdir(parents=True)
        for task in self._of.tasks:
            files = task_files(task, self._image(task), self._settings.harbor_network,
                               self.split_of[task.repo])
            write_task(self.new / task.instance_id, files)

    def _image(self, task: HarborTask) -> Image:
        """Return the image of a task: the pushed one if its recipe is the same."""
        known = self._known(task)
        return Image(known["docker_image"], known["image_id"]) if known else Image(
            task.docker_image, task.image_id)

    def _known(self, task: HarborTask) -> dict | None:
        known = self._images.get(task.docker_image, {})
        is_same = known.get("dockerfile") == dockerfile_digest(task)
        return known if is_same and task.image_id in ("", known["image_id"]) else None

    def inputs(self) -> dict:
        """Return the part of the manifest that says which inputs the tasks come from."""
        settings = asdict(self._settings)
        benchmarks = [{"name": public(path), "sha256": FOLDER.sha256(Path(path))}
                      for path in self._settings.decontaminate]
        images = {task.docker_image: known for task in self._of.tasks
                  if (known := self._known(task))}
        return {
            "format": self.form.name, "rows": self.rows, IMAGES: images,
            "made_by": f"codedata {codedata.__version__}", "decontaminate": benchmarks,
            "settings": {key: settings[key] for key in OF_A_TASK},
            "tasks": [{"name": task.instance_id, "repo": task.repo,
                       "source": self._of.source[task.instance_id],
                       "split": self.split_of[task.repo], "docker_image": task.docker_image,
                       "dockerfile": dockerfile_digest(task), "digest": _digest(task)}
                      for task in self._of.tasks]}

    def state(self) -> str:
        """Return how the existing folder differs from what a run would make, for --status."""
        return folders.state(self.place, self.inputs())

    def put(self, force: bool) -> str:
        """Put the folder in place with its card and manifest. Return what was done."""
        return folders.put(self.place, self.new, self.inputs(), self._card(), force)

    def _card(self) -> str:
        settings, tasks = self._settings, self._of.tasks
        reasons = self._of.left_out.counts(self.form.name)
        values = {
            "n_tasks": len(tasks), "version": codedata.__version__, "settings": settings,
            **self.rows, "n_repos": len(self.split_of),
            "sources": listed((f"{name}/" for name in self._of.source.values()), "task"),
            "licences": listed((shown(task.licence or UNKNOWN) for task in tasks), "task"),
            "left_out": ", ".join(f"{reason} {n:,}" for reason, n in sorted(reasons.items()))
                        or "nothing",
            "masked": ", ".join(f"{kind} {n:,}" for kind, n in sorted(self._of.masked.items()))
                      or "nothing",
            "benchmarks": ", ".join(map(public, settings.decontaminate)) or "not looked for"}
        return terminal_safe(text_of("codedata.export", "harbor_card.md").format_map(values))


def _digest(task: HarborTask) -> str:
    return digest({field.name: getattr(task, field.name) for field in fields(task)})
