"""Make a folder of export/ that holds a folder for each task, whatever directory it comes from.

Which image a task has is in its record, by tag. tools/push-images notes in the manifest of the
export what it has pushed, and later exports of the same task name that.
"""
from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import codedata
from codedata.checks.contamination import Material
from codedata.checks.secrets import mask
from codedata.errors import BrokenRecord
from codedata.export import folders
from codedata.export.card import listed
from codedata.export.collect import UNKNOWN, ExportRules, LeftOutLog, record_digest
from codedata.export.folders import FOLDER
from codedata.export.harbor import Image, Problem, task_files, task_problem, write_task
from codedata.export.provenance import public
from codedata.export.split import SPLITS, splits
from codedata.layouts import NEW
from codedata.progress import plural, say
from codedata.records import HarborTask
from codedata.settings import Settings
from codedata.store import Store, digest
from codedata.texts import terminal_safe, text_of

IMAGES = "images"   # of the manifest: {tag: {made_of, docker_image, image_id}}, by push-images
SETTINGS = ("licences", "validation", "seed", "licence", "harbor_network")   # of a task


@dataclass(frozen=True)
class TaskFormat:
    """Define a folder of export/ with a folder for each task of some directories."""

    name: str
    sources: dict[type, Callable[[Any], HarborTask]]   # record class → makes a task of a record
    check: Callable[[Settings], None] = lambda settings: None   # nothing bars all tasks

    @property
    def reads(self) -> tuple[str, ...]:
        """Return the directories that it is made of."""
        return tuple(cls.directory for cls in self.sources)


class TaskExport:
    """Read the tasks of a format, and make their folders and the one that holds them."""

    noun = "tasks"

    def __init__(self, form: TaskFormat, settings: Settings, left_out: LeftOutLog):
        directory = settings.root / "export"
        self.form, self.left_out, self._settings = form, left_out, settings.export
        self.place, self.new = directory / form.name, directory / NEW / form.name
        self.tasks: list[HarborTask] = []
        self.masked: Counter[str] = Counter()   # secrets by kind
        self.n_in = dict.fromkeys(form.reads, 0)
        self.n_broken = 0
        self._source: dict[str, str] = {}       # task → the directory that it comes from
        self._rules = ExportRules(settings.export, settings.exclude.ids)
        self._images = folders.read_manifest(self.place).get(IMAGES, {})
        for cls, task_of in form.sources.items():
            self._read(Store(settings.root, cls).open(), task_of)
        self._split_of = splits({task.repo for task in self.tasks}, settings.export.validation,
                                settings.export.seed)
        counts = Counter(self._split_of[task.repo] for task in self.tasks)
        self.rows = {split: counts[split] for split in SPLITS}

    def _read(self, store: Store, task_of: Callable[[Any], HarborTask]) -> None:
        """Take the tasks of a directory, with secrets masked, and log what is left out."""
        directory = store.cls.directory
        self.n_in[directory] = len(store.names())
        broken = list(store.broken)
        for name in store.names():
            try:
                task = task_of(store.read(name))
            except BrokenRecord as e:
                broken.append(e)
                self.left_out.add(name, "broken record", e.what, self.form.name)
                continue
            if problem := self._problem(task):
                self.left_out.add(name, *problem, format=self.form.name)
                continue
            instruction, secrets = mask(task.instruction)
            self.masked.update(secrets)
            self.tasks.append(replace(task, instruction=instruction))
            self._source[task.instance_id] = directory
        for error in broken:
            say(f"export.py: {error}")
        self.n_broken += len(broken)

    def _problem(self, task: HarborTask) -> Problem | None:
        """Return why a task is left out, or None."""
        name = task.instance_id
        if self._rules.excludes(name):
            return "[exclude] ids", name
        if name in self._source:
            return "two of one name", f"{self._source[name]}/ has one, too"
        commit = str(task.metadata.get("base_commit", ""))
        texts = {"task": task.instruction, "patch": task.solution}
        reasons = self._rules.against(task.licence or UNKNOWN,
                                      lambda: Material(name, task.repo, commit, texts))
        return reasons[0] if reasons else task_problem(task)

    def fill(self, write: bool) -> None:
        """With `write` write the folders of all tasks, to the folder in _tmp/."""
        if not write:
            return
        self.new.mkdir(parents=True)
        for task in self.tasks:
            known = self._known_image(task)
            image = Image(known.get("docker_image", task.docker_image),
                          known.get("image_id", task.image_id))
            write_task(self.new / task.instance_id, task_files(
                task, image, self._settings.harbor_network, self._split_of[task.repo]))

    def _known_image(self, task: HarborTask) -> dict:
        """Return what push-images noted of a task's image; {} if that was another."""
        known = self._images.get(task.docker_image, {})
        return known if known.get("made_of") == _made_of(task) else {}

    def inputs(self) -> dict:
        """Return the part of the manifest that says which inputs the tasks come from."""
        settings = asdict(self._settings)
        return {
            "format": self.form.name, "rows": self.rows,
            "made_by": f"codedata {codedata.__version__}",
            "decontaminate": [{"name": public(path), "sha256": FOLDER.sha256(Path(path))}
                              for path in self._settings.decontaminate],
            "settings": {key: settings[key] for key in SETTINGS},
            IMAGES: {task.docker_image: known for task in self.tasks
                     if (known := self._known_image(task))},
            "tasks": [{"name": task.instance_id, "repo": task.repo, "digest": record_digest(task),
                       "source": self._source[task.instance_id],
                       "split": self._split_of[task.repo], "docker_image": task.docker_image,
                       "made_of": _made_of(task)} for task in self.tasks]}

    def card(self) -> str:
        """Return the text of the card."""
        def counted(counts: Counter) -> str:
            return ", ".join(f"{name} {n:,}" for name, n in sorted(counts.items())) or "nothing"

        return terminal_safe(text_of("codedata.export", "harbor_card.md").format_map({
            "tasks": plural(len(self.tasks), "task"), "version": codedata.__version__,
            "settings": self._settings, **self.rows, "masked": counted(self.masked),
            "licences": listed((task.licence or UNKNOWN for task in self.tasks), "task"),
            "left_out": counted(self.left_out.counts(self.form.name))}))


def _made_of(task: HarborTask) -> str:
    """Return a digest of what a record says of its image beside the tag."""
    return digest([task.dockerfile, task.image_id])
