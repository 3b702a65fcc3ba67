"""Make a folder of export/ with tasks of task/, each as a folder or as a row.

A task names its image by tag in its task.toml. tools/push-images notes in the manifest of the
export which images it has built and pushed, and later exports of the same task name these.
"""
from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import codedata
from codedata.checks.contamination import Material
from codedata.checks.secrets import mask
from codedata.disk.layouts import NEW, files_digest
from codedata.disk.store import Store, digest, digests_of
from codedata.errors import BrokenRecord
from codedata.export import folders
from codedata.export.audits import Audits, audit_problem, audit_section, figures_of
from codedata.export.card import listed
from codedata.export.collect import UNKNOWN, ExportRules, LeftOutLog
from codedata.export.folders import FOLDER
from codedata.export.provenance import public
from codedata.export.split import SPLITS, splits
from codedata.records import Object, Task
from codedata.sandbox.images.registry import image_name
from codedata.settings import ExportSettings, Settings
from codedata.tasks.folder.folder import GOLD, SOLVE, Problem, image_of, task_problem, text_in
from codedata.terminal import plural, say
from codedata.texts import terminal_safe, text_of

IMAGES = "images"   # of the manifest: {tag: {made_of, docker_image, image_id}}, by push-images
OUR_IMAGES = "codedata-task/"   # begins the names of those that a task's environment/ makes
SETTINGS = ("licences", "validation", "seed", "licence", "harbor_network", "audited_only",
            "secrets_in_tests")   # of a task


@dataclass(frozen=True)
class TaskFormat:
    """Define a folder of export/ with the tasks of some kinds."""

    name: str
    kinds: tuple[str, ...]
    problems: Callable[[TaskExport], dict[str, Problem]]   # of tasks that this format alone refuses
    write: Callable[[TaskExport], None]
    card: str


@dataclass(frozen=True)
class Image:
    """Name the image of a task: by digest once it is pushed, by tag before, "" before it is built.
    """

    ref: str
    id: str = ""


@dataclass
class TasksRead:
    """Hold the tasks of a root, read once for all formats, with secrets masked."""

    store: Store
    kinds: dict[str, str] = field(default_factory=dict)          # by name
    tasks: list[Task] = field(default_factory=list)              # for the formats to choose from
    problems: dict[str, Problem] = field(default_factory=dict)   # why others are in no format
    broken: list[BrokenRecord] = field(default_factory=list)
    masked: dict[str, Counter] = field(default_factory=dict)     # {name: secrets by kind}
    audits: dict[str, Object] = field(default_factory=dict)      # {name: figures}, as it is now


def read_tasks(settings: Settings) -> TasksRead:
    """Return the tasks of a root. What cannot be read is named on the screen."""
    store = Store(settings.root, Task).open()
    read = TasksRead(store, broken=[*store.broken])
    rules, audits = ExportRules(settings.export, settings.exclude.ids), Audits(settings.root)
    for name in store.names():
        try:
            task = store.read(name)
            read.kinds[name] = task.kind
            problem = _problem(rules, task, settings.export.secrets_in_tests)
            if not problem:
                audit = audits.of(task)
                problem = audit_problem(settings.export, audit)
                read.audits |= {name: figures_of(audit)} if audit else {}
        except BrokenRecord as e:
            read.kinds.setdefault(name, Task.kind_in(store.path(name)))
            read.broken.append(e)
            problem = "broken record", e.what
        if problem:
            read.problems[name] = problem
        else:
            instruction, read.masked[name] = mask(task.instruction or "")
            read.tasks.append(replace(task, instruction=instruction))
    read.broken += audits.broken
    for error in read.broken:
        say(f"export.py: {error}")
    return read


def _problem(rules: ExportRules, task: Task, secrets_in_tests: bool) -> Problem | None:
    """Return why a task is in no format, or None."""
    name = task.instance_id
    if rules.excludes(name):
        return "[exclude] ids", name
    texts = {"task": task.instruction or "",
             "patch": text_in(task.solution, GOLD) or text_in(task.solution, SOLVE)}
    reasons = rules.against(licence_of(task), lambda: Material(
        name, about_text(task, "repo"), about_text(task, "source_commit"), texts))
    return reasons[0] if reasons else task_problem(task, secrets_in_tests)


def kinds_in(root: Path) -> set[str]:
    """Return the kinds of the tasks of a root, "" for somebody else's and for what is no task."""
    store = Store(root, Task).open()
    kinds = {Task.kind_in(store.path(name)) for name in store.names()}
    return {*kinds, ""} if store.broken else kinds


def about_text(task: Task, key: str) -> str:
    """Return a key of a task's [metadata.codedata] as a text; "" where it is missing."""
    return str(task.about.get(key) or "")


def licence_of(task: Task) -> str:
    """Return the licence of a task's source."""
    return about_text(task, "licence") or UNKNOWN


def origin_of(task: Task) -> str:
    """Return the origin of a task, all tasks of which are in one split; unknown: its own name."""
    return about_text(task, "split") or about_text(task, "repo") or task.instance_id


class TaskExport:
    """Choose the tasks of a format, and make the folder that holds them."""

    noun = "tasks"

    def __init__(self, form: TaskFormat, settings: ExportSettings, read: TasksRead,
                 left_out: LeftOutLog):
        directory = read.store.root / "export"
        self.form, self.settings, self.read, self.left_out = form, settings, read, left_out
        self.place, self.new = directory / form.name, directory / NEW / form.name
        self._images = folders.read_manifest(self.place).get(IMAGES, {})
        self.tasks = [task for task in read.tasks if task.kind in form.kinds]
        refused = {name: problem for name, problem in read.problems.items()
                   if read.kinds[name] in form.kinds}
        refused |= form.problems(self)
        for name, problem in refused.items():
            left_out.add(name, *problem, format=form.name)
        self.tasks = [task for task in self.tasks if task.instance_id not in refused]
        self._split_of = splits(map(origin_of, self.tasks), settings.validation, settings.seed)
        counts = Counter(map(self.split_of, self.tasks))
        self.rows = {split: counts[split] for split in SPLITS}

    def split_of(self, task: Task) -> str:
        """Return the split of a task."""
        return self._split_of[origin_of(task)]

    def of_splits(self) -> Iterator[tuple[str, list[Task]]]:
        """Yield each split with its tasks."""
        for split in SPLITS:
            yield split, [task for task in self.tasks if self.split_of(task) == split]

    def fill(self, write: bool) -> None:
        """With `write` write the files of all tasks, to the folder in _tmp/."""
        if write:
            self.new.mkdir(parents=True)
            self.form.write(self)

    def image_of(self, task: Task) -> Image:
        """Return a task's image as push-images noted it, or else as its folder names it."""
        known = self._known_image(task)
        return Image(known.get("docker_image", image_of(task)),
                     known.get("image_id", _image_id(task)))

    def _known_image(self, task: Task) -> dict:
        """Return what push-images noted of a task's image; {} if the image has changed since."""
        known = self._images.get(tag_of(task), {})
        return known if known.get("made_of") == _made_of(task) else {}

    def inputs(self) -> dict:
        """Return the part of the manifest that says which inputs the tasks come from."""
        settings = asdict(self.settings)
        return {
            "format": self.form.name, "rows": self.rows,
            "made_by": f"codedata {codedata.__version__}",
            "decontaminate": compared_files(self.settings),
            "settings": {key: settings[key] for key in SETTINGS},
            IMAGES: {tag_of(task): known for task in self.tasks
                     if (known := self._known_image(task))},
            "tasks": [{"name": task.instance_id, "kind": task.kind, "repo": origin_of(task),
                       "digest": digest(digests_of(task)), "split": self.split_of(task),
                       "docker_image": tag_of(task), "made_of": _made_of(task),
                       "audit": self.read.audits.get(task.instance_id)}
                      for task in self.tasks]}

    def card(self) -> str:
        """Return the text of the card."""
        def counted(counts: Counter) -> str:
            return ", ".join(f"{name} {n:,}" for name, n in sorted(counts.items())) or "nothing"

        masked = sum((self.read.masked[task.instance_id] for task in self.tasks), Counter())
        audits = [self.read.audits[task.instance_id] for task in self.tasks
                  if task.instance_id in self.read.audits]
        return terminal_safe(text_of("codedata.export", self.form.card).format_map({
            "tasks": plural(len(self.tasks), "task"), "version": codedata.__version__,
            "settings": self.settings, **self.rows, "masked": counted(masked),
            "audit": audit_section(audits, len(self.tasks)),
            "licences": listed(map(licence_of, self.tasks), "task"),
            "left_out": counted(self.left_out.counts(self.form.name))}))


def compared_files(settings: ExportSettings) -> list[Object]:
    """Return the names and digests of the benchmarks' files, for a manifest."""
    return [{"name": public(path), "sha256": FOLDER.sha256(Path(path))}
            for path in settings.decontaminate]


def tag_of(task: Task) -> str:
    """Return the tag of a task's image; where its task.toml names none, the tag for its build."""
    built = f"{image_name(OUR_IMAGES, task.instance_id)}:{files_digest(task.environment)[:12]}"
    return image_of(task) or built


def _image_id(task: Task) -> str:
    """Return the engine's id of the image that a task was proven in, "" where none is named."""
    return str((task.proof or {}).get("image_id") or "") if image_of(task) else ""


def _made_of(task: Task) -> str:
    """Return a digest of what an image is made of."""
    return digest([files_digest(task.environment), _image_id(task)])
