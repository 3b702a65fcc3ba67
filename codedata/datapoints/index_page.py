"""Build dp/_index.html, the page on which tasks are filtered and read: status, checks, seconds,
costs, lineage. All data are read from files: the folders of datapoints in dp/ and task/, their
records in dp/_checks/ and dp/_attempts/, and ledgers.

codedata/page/ assembles the HTML file; index_page.js and index_page.css beside this file lay it
out. The details of a task are a compressed block, which is inflated when the task is opened. Only
as many tasks as fit into DETAIL_BYTES have such a block. Equal files give an equal page.
"""
from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from codedata.datapoints.approval import is_as_proven
from codedata.datapoints.contents import known_checks
from codedata.datapoints.folder import (
    APPROVED,
    DP,
    PARTS,
    content_digest,
    context_of,
    folder_of,
    folders_in,
    labels_of,
    read_all,
    texts_of,
    weights_in,
)
from codedata.datapoints.profiles import gaps_in, say_gaps
from codedata.datapoints.rates import Attempts, attempts_in, rates_by_model
from codedata.disk.layouts import write_atomic
from codedata.disk.store import Store
from codedata.errors import BrokenRecord
from codedata.llm.costs import costs_of
from codedata.page.builder import Packed, build, pack, shortened
from codedata.records import DatapointChecks, Object, Task
from codedata.texts import printable, text_of

PAGE = "_index.html"
DETAIL_BYTES = 20_000_000            # of the details of all tasks
MAX_CHARS = 20_000                   # of a part of a task
SEARCHED_CHARS = 1000                # of a prompt, in the table
LABEL_CHARS, MAX_LABELS = 300, 30    # of values in metadata
MAX_LISTED = 500                     # of files, weights, broken folders
EDITED = "approved, edited"           # edited since the approval: to be proven again
STATUSES = {"in review": "waiting", "approved": "approved", EDITED: "edited",
            "returned": "waiting", "cancelled": "cancelled"}   # statuses and their colours


def write_index(root: Path, folders: Iterable[Path] = ()) -> list[str]:
    """Write the page of the datapoints in a root and in other folders. Return [a line that names
    it]; write nothing and return [] if there are no datapoints."""
    tasks, details, broken = read_tasks(root, folders)
    if not tasks and not broken:
        return []
    path = Path(root, DP, PAGE)
    write_atomic(path, page(root, tasks, details, broken))
    return [f"      tasks as a page: {path.relative_to(root)}"]


def read_tasks(root: Path, folders: Iterable[Path] = (), room: int = DETAIL_BYTES
               ) -> tuple[list[Object], dict[str, Packed], list[str]]:
    """Return (the row of each datapoint; the details of as many as fit into `room` bytes; messages
    about folders that cannot be read)."""
    broken: list[BrokenRecord] = []
    names = _names_of(folders_in(root, broken), folders)
    checks, attempts = Store(root, DatapointChecks).open(), attempts_in(root)
    tasks, details = [], {}
    for task in read_all(names, broken):
        name = names[folder_of(task)]
        tries = attempts.get((task.instance_id, content_digest(task)), {})
        packed = pack(_in_full(task, tries))
        if len(packed) <= room:
            details[f"task-{len(tasks)}"] = packed
            room -= len(packed)
        draft = f"_drafts/{name}.md"   # beside the page
        has_draft = "/" not in name and Path(root, DP, draft).is_file()
        tasks.append({"id": name, "draft": draft if has_draft else "",
                      **_row(task, known_checks(task, checks))})
    return tasks, details, [printable(str(one)) for one in broken]


def _names_of(own: list[Path], folders: Iterable[Path]) -> dict[Path, str]:
    """Return {folder: its name on the page}: ids for folders of a root, paths for the others."""
    seen = {os.path.realpath(folder) for folder in own}
    others = {os.path.realpath(folder): folder for folder in folders}
    return {**{folder: folder.name for folder in own}, **{
        folder: f"{folder.parent}/{folder.name}"   # `./x` for x: no id has a slash
        for real, folder in others.items() if real not in seen}}


def _row(task: Task, found: DatapointChecks | None) -> Object:
    """Return the row of a datapoint in the table."""
    labels = labels_of(task)
    texts = {key: [*map(_label, value[:MAX_LABELS])] if isinstance(value, list) else _label(value)
             for key, value in vars(labels).items() if key != "lineage"}
    is_edited = labels.status == APPROVED and not is_as_proven(task)
    return {
        **texts, "status": EDITED if is_edited else texts["status"].replace("_", " "),
        "seed": _label(labels.lineage.get("seed") or ""), "content": content_digest(task),
        "prompt": (task.instruction or "")[:SEARCHED_CHARS],
        "found": found and {**vars(found), "audit": []}}   # audit/index.html has that


def _in_full(task: Task, attempts: Attempts) -> Object:
    """Return the details that the page shows when a datapoint is opened, beside its row."""
    try:
        weights = [[name, str(weight)] for name, weight in weights_in(task).items()]
    except ValueError:
        weights = []
    files = context_of(task)
    return {
        "lineage": [[_label(key), _label(value)]
                    for key, value in [*labels_of(task).lineage.items()][:MAX_LABELS]] + [
                        ["passed by " + _label(model), _label(rates)]
                        for model, rates in rates_by_model(attempts).items()][:MAX_LABELS],
        "texts": {PARTS[part]: [text[:MAX_CHARS], len(text)]
                  for part, text in texts_of(task).items()},
        "weights": weights[:MAX_LISTED], "n_files": len(files),
        "files": [[name, _size(files[name])] for name in [*files][:MAX_LISTED]]}


def _size(path: Path) -> int | None:
    return path.stat().st_size if path.is_file() else None


def _label(value) -> str:
    """Return a value of metadata as a text that is short enough for a table."""
    try:
        text = value if isinstance(value, str) else json.dumps(
            value, ensure_ascii=False, default=str)
    except RecursionError:
        text = "…"
    return shortened(text, LABEL_CHARS)


def page(root: Path, tasks: list[Object], details: dict[str, Packed], broken: list[str]) -> bytes:
    """Return the page as HTML."""
    costs = [{**asdict(one), "text": one.said} for one in costs_of(root, DP)]
    data = {"n_details": len(details), "max_chars": MAX_CHARS, "broken": broken[:MAX_LISTED],
            "n_broken": len(broken), "statuses": STATUSES, "costs": costs,
            "gaps": say_gaps(gaps_in(root))}
    return build("Terminal tasks", data, script=text_of(__package__, "index_page.js"),
                 style=text_of(__package__, "index_page.css"),
                 blocks={"tasks": tasks, **details})

