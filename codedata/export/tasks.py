"""Make a folder of export/ that holds tasks, whatever directory they come from: a folder for each,
or a row.

Which image a task has is in its record, by tag. tools/push-images notes in the manifest of the
export what it has pushed, and later exports of the same task name that.
"""
from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import codedata
from codedata.bounded import inside
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
from codedata.settings import Settings
from codedata.store import Store, digest
from codedata.texts import terminal_safe, text_of

IMAGES = "images"   # of the manifest: {tag: {made_of, docker_image, image_id}}, by push-images
SETTINGS = ("licences", "validation", "seed", "licence", "harbor_network")   # of a task


class Task(Protocol):
    """Describe what an export reads of a task; a HarborTask is one. Secrets in its instruction are
    masked by dataclasses.replace()."""

    instance_id: str
    repo: str
    instruction: str
    solution: str
    licence: str | None
    docker_image: str
    dockerfile: str
    image_id: str
    metadata: dict


def write_folders(export: TaskExport) -> None:
    """Write a folder for each task of Harbor."""
    for task in export.tasks:
        folder, context = inside(export.new, task.instance_id), getattr(task, "context", "")
        if context and Path(context).is_dir():
            shutil.copytree(context, folder / "environment")
        write_task(folder, task_files(
            task, export.image_of(task), export.settings.harbor_network,
            export.split_of[task.repo]))


@dataclass(frozen=True)
class TaskFormat:
    """Define a folder of export/ with the tasks of some directories."""

    name: str
    # record class → root → the function that makes a task of a record
    sources: dict[type, Callable[[Path], Callable[[Any], Task]]]
    # root → the function that says why a task is left out
    problem: Callable[[Path], Callable[[Any], Problem | None]] = lambda root: task_problem
    write: Callable[[TaskExport], None] = write_folders
    card: str = "harbor_card.md"
    check: Callable[[Settings], None] = lambda settings: None   # nothing bars all tasks
    folder_of: Callable[[str], str] = str   # instance_id → the name of its folder

    @property
    def reads(self) -> tuple[str, ...]:
        """Return the directories that it is made of."""
        return tuple(cls.directory for cls in self.sources)


class TaskExport:
    """Read the tasks of a format, and make the folder that holds them."""

    noun = "tasks"

    def __init__(self, form: TaskFormat, settings: Settings, left_out: LeftOutLog):
        directory = settings.root / "export"
        self.form, self.left_out, self.settings = form, left_out, settings.export
        self.place, self.new = directory / form.name, directory / NEW / form.name
        self.tasks: list[Task] = []
        self.masked: Counter[str] = Counter()   # secrets by kind
        self.n_in = dict.fromkeys(form.reads, 0)
        self.n_broken = 0
        self._source: dict[str, str] = {}       # task → the directory that it comes from
        self._rules = ExportRules(settings.export, settings.exclude.ids)
        self._problem_of = form.problem(settings.root)
        self._images = folders.read_manifest(self.place).get(IMAGES, {})
        for cls, task_of in form.sources.items():
            self._read(Store(settings.root, cls).open(), task_of(settings.root))
        self._leave_out_colliding()
        self.split_of = splits({task.repo for task in self.tasks}, settings.export.validation,
                               settings.export.seed)
        counts = Counter(self.split_of[task.repo] for task in self.tasks)
        self.rows = {split: counts[split] for split in SPLITS}

    def _read(self, store: Store, task_of: Callable[[Any], Task]) -> None:
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

    def _leave_out_colliding(self) -> None:
        """Leave out the tasks whose folders would have one name: neither is more right."""
        folders_of = {task.instance_id: self.form.folder_of(task.instance_id)
                      for task in self.tasks}
        n_tasks = Counter(folders_of.values())
        for name, folder in folders_of.items():
            if n_tasks[folder] > 1:
                self.left_out.add(name, "folders of one name", folder, self.form.name)
                say(f"export.py: {name} is left out: it is not the only {self.form.name}/{folder}/")
        self.tasks = [task for task in self.tasks if n_tasks[folders_of[task.instance_id]] == 1]

    def _problem(self, task: Task) -> Problem | None:
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
        return reasons[0] if reasons else self._problem_of(task)

    def fill(self, write: bool) -> None:
        """With `write` write the files of all tasks, to the folder in _tmp/."""
        if write:
            self.new.mkdir(parents=True)
            self.form.write(self)

    def image_of(self, task: Task) -> Image:
        """Return a task's image: as push-images noted it, else as its record has it."""
        known = self._known_image(task)
        return Image(known.get("docker_image", task.docker_image),
                     known.get("image_id", task.image_id))

    def _known_image(self, task: Task) -> dict:
        """Return what push-images noted of a task's image; {} if that was another."""
        known = self._images.get(task.docker_image, {})
        return known if known.get("made_of") == _made_of(task) else {}

    def inputs(self) -> dict:
        """Return the part of the manifest that says which inputs the tasks come from."""
        settings = asdict(self.settings)
        return {
            "format": self.form.name, "rows": self.rows,
            "made_by": f"codedata {codedata.__version__}",
            "decontaminate": [{"name": public(path), "sha256": FOLDER.sha256(Path(path))}
                              for path in self.settings.decontaminate],
            "settings": {key: settings[key] for key in SETTINGS},
            IMAGES: {task.docker_image: known for task in self.tasks
                     if (known := self._known_image(task))},
            "tasks": [{"name": task.instance_id, "repo": task.repo, "digest": record_digest(task),
                       "source": self._source[task.instance_id],
                       "split": self.split_of[task.repo], "docker_image": task.docker_image,
                       "made_of": _made_of(task)} for task in self.tasks]}

    def card(self) -> str:
        """Return the text of the card."""
        def counted(counts: Counter) -> str:
            return ", ".join(f"{name} {n:,}" for name, n in sorted(counts.items())) or "nothing"

        return terminal_safe(text_of("codedata.export", self.form.card).format_map({
            "tasks": plural(len(self.tasks), "task"), "version": codedata.__version__,
            "settings": self.settings, **self.rows, "masked": counted(self.masked),
            "licences": listed((task.licence or UNKNOWN for task in self.tasks), "task"),
            "left_out": counted(self.left_out.counts(self.form.name))}))


def _made_of(task: Task) -> str:
    """Return a digest of what a record says of its image beside the tag."""
    return digest([task.dockerfile, task.image_id])
