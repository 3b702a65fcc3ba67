"""Build dp/_index.html, the page on which tasks are filtered and read: status, checks, seconds,
costs, lineage. All is read from files: the folders of datapoints, dp/_checks/, ledgers.

codedata/page/ assembles the HTML file; index_page.js and index_page.css beside this file lay it
out. Each task in full is a block, which is inflated when the task is opened: of as many tasks as
fit into DETAIL_BYTES. Equal files give equal bytes.
"""
from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from codedata.checks.datapoints import FILES, PARTS, Datapoints, read_datapoint, weights_of
from codedata.errors import BrokenRecord
from codedata.layouts import write_atomic
from codedata.ledger import LEDGER, calls_of, read_lines
from codedata.llm.costs import costs_of
from codedata.page.builder import Packed, build, pack, shortened
from codedata.records import Datapoint, DatapointChecks, Object
from codedata.store import Store, known
from codedata.texts import printable, text_of

PAGE = "_index.html"
DETAIL_BYTES = 20_000_000            # of all tasks in full
MAX_CHARS = 20_000                   # of a part of a task
SEARCHED_CHARS = 1000                # of a prompt, in the table
LABEL_CHARS, MAX_LABELS = 300, 30    # of what stands in metadata
MAX_LISTED = 500                     # of files, weights, what is broken
EDITED = "approved, edited"           # since then, which voids the approval
STATUSES = {"in review": "waiting", "approved": "approved", EDITED: "edited",
            "cancelled": "cancelled"}   # and their colours


def write_index(root: Path, folders: Iterable[Path] = ()) -> list[str]:
    """Write the page of the datapoints in dp/ and in other folders; return the line that names it,
    none where there is no datapoint."""
    tasks, details, broken = read_tasks(root, folders)
    if not tasks and not broken:
        return []
    path = Path(root, Datapoint.directory, PAGE)
    write_atomic(path, page(root, tasks, details, broken))
    return [f"      tasks as a page: {path.relative_to(root)}"]


def read_tasks(root: Path, folders: Iterable[Path] = (), room: int = DETAIL_BYTES
               ) -> tuple[list[Object], dict[str, Packed], list[str]]:
    """Return the row of each datapoint, the blocks of those in full that fit into `room` bytes, and
    what is broken."""
    view, checks = Datapoints(root).open(), Store(root, DatapointChecks).open()
    costs = _costs(root)
    tasks, details = [], {}
    broken = [*map(str, view.broken)]
    for name, folder in _named(root, view.names(), folders):
        try:
            point = read_datapoint(folder)
        except BrokenRecord as e:
            broken.append(str(e))
            continue
        packed = pack(_in_full(point))
        if len(packed) <= room:
            details[f"task-{len(tasks)}"] = packed
            room -= len(packed)
        draft = f"_drafts/{name}.md"   # beside the page
        has_draft = "/" not in name and Path(root, Datapoint.directory, draft).is_file()
        tasks.append({"id": name, "draft": draft if has_draft else "",
                      **_row(point, known(checks, point.content), costs.get(name))})
    return tasks, details, [printable(one) for one in broken]


def _named(root: Path, names: list[str], folders: Iterable[Path]) -> list[tuple[str, Path]]:
    """Return the folders of dp/ by their ids, then the other ones by their paths, each once."""
    named = [(name, Path(root, Datapoint.directory, name)) for name in names]
    seen = {os.path.realpath(folder) for _, folder in named}
    others = {os.path.realpath(folder): folder for folder in folders}
    return named + [(f"{folder.parent}/{folder.name}", folder)   # ./x: no id has a slash
                    for real, folder in others.items() if real not in seen]


def _costs(root: Path) -> dict[str, float]:
    """Return the cost of each datapoint's agents in USD, without those whose price is unknown."""
    costs, unknown = defaultdict(float), set()
    for line in read_lines(Path(root, Datapoint.directory, LEDGER)):
        name = str(line.get("instance_id"))
        for call in calls_of(line):
            costs[name] += call["cost_usd"] or 0.0
            unknown |= {name} if call["cost_usd"] is None else set()
    return {name: cost for name, cost in costs.items() if name not in unknown}


def _row(point: Datapoint, found: DatapointChecks | None, cost: float | None) -> Object:
    """Return a datapoint as a line of the table."""
    meta, lineage = point.meta, point.meta.lineage
    cost = lineage.get("cost_usd") if cost is None else cost
    is_edited = meta.status == "approved" and meta.approved != point.content
    texts = {key: [*map(_label, value[:MAX_LABELS])] if isinstance(value, list) else _label(value)
             for key, value in vars(meta).items() if key != "lineage" and value is not None}
    return {
        **texts, "status": EDITED if is_edited else texts["status"].replace("_", " "),
        "seed": _label(lineage.get("seed") or ""), "content": point.content,
        "prompt": point.prompt[:SEARCHED_CHARS], "found": found and vars(found),
        "cost_usd": cost if type(cost) in (int, float) and 0 <= cost < 1e9 else None}


def _in_full(point: Datapoint) -> Object:
    """Return what is shown of a datapoint that is opened, besides its line."""
    try:
        weights = [[name, str(weight)] for name, weight in weights_of(point.weights).items()]
    except ValueError:
        weights = []
    texts = {name: vars(point)[part] for part, name in PARTS.items()}
    return {
        "lineage": [[_label(key), _label(value)]
                    for key, value in [*point.meta.lineage.items()][:MAX_LABELS]] + [
                        ["passed by " + _label(model), _label(rates)]
                        for model, rates in [*(point.meta.calibration or {}).items()][:MAX_LABELS]],
        "texts": {name: [text[:MAX_CHARS], len(text)] for name, text in texts.items()},
        "weights": weights[:MAX_LISTED], "n_files": len(point.files),
        "files": [[name, _size(Path(point.folder, FILES, name))]
                  for name in point.files[:MAX_LISTED]]}


def _size(path: Path) -> int | None:
    return path.stat().st_size if path.is_file() else None


def _label(value) -> str:
    """Return a value of metadata as a text that is short enough for a table."""
    try:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    except RecursionError:
        text = "…"
    return shortened(text, LABEL_CHARS)


def page(root: Path, tasks: list[Object], details: dict[str, Packed], broken: list[str]) -> bytes:
    """Return the page as HTML."""
    costs = [{**asdict(one), "text": one.said} for one in costs_of(root, Datapoint.directory)]
    data = {"n_details": len(details), "max_chars": MAX_CHARS, "broken": broken[:MAX_LISTED],
            "n_broken": len(broken), "statuses": STATUSES, "costs": costs}
    return build("Terminal tasks", data, script=text_of(__package__, "index_page.js"),
                 style=text_of(__package__, "index_page.css"),
                 blocks={"tasks": tasks, **details})

