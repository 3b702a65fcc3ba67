"""Convert datapoints: approved ones become tasks, the others get the form that they have in dp/
now; what is kept under the digest of a content is kept under that of the same content's new form.
"""
from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from conversion.old import FAULTS, put, records_in, why

from codedata.datapoints.approval import proof_of
from codedata.datapoints.calibrate import Trial
from codedata.datapoints.commands import STAGING
from codedata.datapoints.folder import (
    APPROVED,
    BOX,
    DP,
    content_digest,
    with_texts,
)
from codedata.datapoints.queue import JOURNAL, TaskManager
from codedata.datapoints.twins import DRAFTS
from codedata.errors import Trouble
from codedata.layouts import (
    NEW,
    Folder,
    FolderDraft,
    list_folders,
    load_files,
    set_aside,
    to_json,
    write_atomic,
    write_files,
)
from codedata.ledger import LEDGER, PARTIAL, to_line
from codedata.records import DATAPOINT, DatapointChecks, Files, Object, SolverAttempt, Task, parse
from codedata.states import read_digest
from codedata.store import Store, digest, digests_of
from codedata.tasks.folder import DOCKERFILE, IGNORE, PROOF, config_of, proven

PARTS = {"prompt": "prompt.md", "dockerfile": "dockerfile", "tests": "tests.py",
         "weights": "weights.json", "solution": "solution.sh"}
META, FILES = "metadata.json", "files"
OLD = Folder(ignored=(META,))      # a content was all but the metadata
OLD_VALIDATOR = "1"                # which looked for what today's does
CALIBRATE = "build_dp.calibrate"
WHOLE = tuple(Task.places)


@dataclass(frozen=True)
class Old:
    """Hold an old datapoint, and its new form without a proof."""

    folder: Path
    content: str
    meta: Object
    task: Task
    others: Files            # that lie beside its parts


class Datapoints:
    """Convert the datapoints of a root; refuse() is told of what cannot be converted, and why."""

    def __init__(self, root: Path, refuse: Callable[[Path, str], None]):
        self._root, self._dp, self._refuse = root, root / DP, refuse

    def convert(self) -> tuple[int, int]:
        """Convert all, or what a killed run has left; return the numbers of those in task/ and of
        the others. Raise Trouble where agents are at work."""
        folders = [*self._folders()]
        checks = [path for path, one in records_in(self._dp / "_checks", "validator")
                  if isinstance(one["validator"], str)]
        if not folders and not checks:
            return 0, 0
        self._check_idle()
        olds = [old for folder in folders if (old := self._read(folder))]
        new = {old.content: content_digest(old.task) for old in olds}
        self._rename_attempts(olds, new)
        self._rewrite_queue(new)
        found = self._convert_checks(checks, new)
        for old in olds:
            self._put(old, found.get(new[old.content]))
        n_tasks = sum(_is_task(old) for old in olds)
        return n_tasks, len(olds) - n_tasks

    def _check_idle(self) -> None:
        """Raise Trouble where an agent holds a task: nothing else says that one is at work."""
        if (self._dp / JOURNAL).exists():
            held = TaskManager(self._dp).tasks(state="in_progress")
            if held:
                raise Trouble(f"is in use: {held[0]['agent']} holds {held[0]['id']}.",
                              str(self._dp), "Wait for its end, or for that of its lease.")

    # reading -------------------------------------------------------------------------------------

    def _folders(self) -> Iterator[Path]:
        for directory in (self._dp, self._dp / STAGING):
            for name, _ in list_folders(directory, []) if directory.is_dir() else ():
                if (directory / name / META).is_file():
                    yield directory / name

    def _read(self, folder: Path) -> Old | None:
        """Return an old datapoint; None of one that cannot be converted."""
        try:
            files = load_files(folder)
            texts = {part: files[path].read_text(encoding="utf-8") for part, path in PARTS.items()}
            context = {path.removeprefix(f"{FILES}/"): file for path, file in files.items()
                       if path.startswith(f"{FILES}/")}
            if taken := {DOCKERFILE, IGNORE} & {*context}:
                raise ValueError(f"{FILES}/{min(taken)} is taken")
            meta = json.loads(files[META].read_text(encoding="utf-8"))
            others = {path: file for path, file in files.items()
                      if path not in (META, *PARTS.values()) and not path.startswith(f"{FILES}/")}
            made = Task(folder.name, DATAPOINT, self._config(folder.name, meta), context, {}, {})
            return Old(folder, OLD.sha256(folder)[:16], meta, with_texts(made, texts), others)
        except (*FAULTS, OSError) as e:
            self._refuse(folder, why(e))
            return None

    def _config(self, name: str, meta: Object) -> Object:
        lineage = {key: value for key, value in meta["lineage"].items() if value is not None}
        draft = self._dp / DRAFTS / f"{name}.md"
        about = {"kind": DATAPOINT, "repo": str(lineage.get("seed") or name),
                 "languages": meta["languages"], "licence": meta.get("licence"),
                 "lineage": lineage, "made_from": {
                     "directory": f"{DP}/{DRAFTS}", "item": name,
                     "digest": digest(draft.read_text(encoding="utf-8", errors="replace"))}
                 if draft.is_file() else None}
        if meta["status"] != APPROVED:   # what is in task/ is approved
            about |= {"status": meta["status"], "reason": meta.get("reason") or None}
        return config_of(name, BOX, about,
                         {key: meta[key] for key in ("difficulty", "category", "tags")})

    # what is kept under digests ------------------------------------------------------------------

    def _rename_attempts(self, olds: list[Old], new: Mapping[str, str]) -> None:
        """Let the attempts at contents be those at their new forms: records, kept replies, and
        their lines."""
        directory = self._root / SolverAttempt.directory
        starts = {f"{old.task.instance_id}.{old.content[:8]}.":
                  f"{old.task.instance_id}.{new[old.content][:8]}." for old in olds}

        def renamed(name: str) -> str:
            return next((f"{now}{name.removeprefix(start)}" for start, now in starts.items()
                         if name.startswith(start)), name)

        def with_new_item(line: Object) -> Object:
            return {**line, "item": renamed(str(line["item"]))} if "item" in line else line

        _rewrite(directory / LEDGER, with_new_item)
        for path in [*directory.glob(f"{PARTIAL}/*.jsonl")]:
            path.rename(path.with_name(f"{renamed(path.stem)}.jsonl"))
        store = Store(self._root, SolverAttempt).open()
        for path, data in [*records_in(directory, "content")]:
            name = renamed(path.stem)
            if name != path.stem and data["content"] in new:
                self._put_attempt(store, name, path, {**data, "content": new[data["content"]]})

    @staticmethod
    def _put_attempt(store: Store, name: str, path: Path, data: Object) -> None:
        record = parse(SolverAttempt, data, str(path))
        fields = tuple(SolverAttempt.__dataclass_fields__)
        facts = store.put(name, record, fields, keep_edits=False)[0]
        made = store.ledger.succeeded.get((CALIBRATE, name))
        then = {**facts.digests, "content": digest(json.loads(path.read_bytes())["content"])}
        if made and all(one in (then.get(field), facts.digests.get(field))
                        for field, one in made.wrote.items()):   # else it stays edited
            trial = Trial(record.instance_id, "", record.content, record.model, record.attempt)
            store.note(name, stage=CALIBRATE, state="adopted", settings=made.settings,
                       read=read_digest(digests_of(trial), ("content", "model")),
                       **facts.line(fields))
        set_aside(path, keep=False)

    def _rewrite_queue(self, new: Mapping[str, str]) -> None:
        """Let the tasks of the queue name the new contents: what was reviewed is not reviewed once
        more."""
        def with_content(part):
            if isinstance(part, dict) and part.get("content") in new:
                return {**part, "content": new[part["content"]]}
            return part

        def transition(line: Object) -> Object:
            task = line["task"]
            start, _, content = str(task.get("key", "")).rpartition(":")
            key = {"key": f"{start}:{new[content]}"} if content in new else {}
            line = {**line, "task": {**task, **key, "result": with_content(task.get("result"))}}
            return {**line, "data": with_content(line["data"])} if "data" in line else line

        _rewrite(self._dp / JOURNAL, transition)

    def _convert_checks(self, paths: list[Path], new: Mapping[str, str]
                        ) -> dict[str, DatapointChecks]:
        """Return what the checks have found of the contents that are there, by their new digests;
        what they have found of others goes to _replaced/."""
        for path in paths:
            data = json.loads(path.read_bytes())
            if data["content"] in new and data["validator"] == OLD_VALIDATOR:
                content = new[data["content"]]
                write_atomic(path.with_name(f"{content}.json"), to_json(
                    {**data, "content": content, "validator": PROOF}))
            set_aside(path, keep=False)
        store = Store(self._root, DatapointChecks).open()
        return {name: store.read(name) for name in store.names()}

    # folders -------------------------------------------------------------------------------------

    def _put(self, old: Old, found: DatapointChecks | None) -> None:
        """Put the new form of a datapoint in place, and the old one into _replaced/."""
        task, folder = old.task, old.folder
        if not _is_task(old):
            built = folder.parent / NEW / DATAPOINT / folder.name
            values = {place: getattr(task, field) for field, place in Task.places.items()}
            FolderDraft(built, values, DATAPOINT).place()
            write_files(built, old.others)
            set_aside(folder)
            Folder.put(folder, built)
            return
        shown = {**(proof_of(found) if found else {}), "converted": True}
        if old.meta.get("approved") != old.content:   # it stays another than was approved
            proof = {**shown, "content": "", "digest": str(old.meta.get("approved")), "parts": {}}
            task = parse(Task, {**vars(task), "proof": proof}, str(folder))
        elif found and found.ok:
            task = proven(task, shown)
        try:
            put(Store(self._root, Task, kind=DATAPOINT).open(), task, WHOLE)
        except FAULTS as e:
            self._refuse(folder, why(e))
            return
        write_files(self._root / Task.directory / folder.name, old.others)
        set_aside(folder, keep=False)


def _is_task(old: Old) -> bool:
    return old.meta["status"] == APPROVED and old.folder.parent.name == DP


def _rewrite(path: Path, change: Callable[[Object], Object]) -> None:
    """Change the lines of a file of JSON lines; the old file goes to _replaced/. A line that is
    none, or is torn, stays."""
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    new = []
    for line in lines:
        try:
            old = json.loads(line)
            changed = change(old)
            new.append(line if changed == old else to_line(changed))
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            new.append(line)
    if new != lines:
        set_aside(path)
        write_atomic(path, b"".join(new))
