"""Build dp/_index.html, the page on which tasks are filtered and read: by status, checks, seconds,
costs and lineage. All data are read from files: the folders of datapoints in dp/ and task/, their
records in dp/_checks/, and ledgers.

codedata/page/ draws the page. It has the texts of as many tasks as fit into DETAIL_BYTES. Equal
files give an equal page.
"""
from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from codedata.datapoints.approval import TAXONOMY, is_as_proven
from codedata.datapoints.contents import known_checks
from codedata.datapoints.folder import (
    APPROVED,
    DP,
    PARTS,
    content_digest,
    context_of,
    folders_in,
    labels_of,
    read_all,
    texts_of,
)
from codedata.datapoints.profiles import gaps_in, say_gaps
from codedata.disk.layouts import write_atomic
from codedata.errors import BrokenRecord
from codedata.llm.costs import costs_of
from codedata.page.blocks import (
    LISTING,
    Block,
    box,
    card,
    column,
    costs_section,
    count,
    part,
    section,
    table,
    unreadable,
)
from codedata.page.builder import Packed, build, pack_fitting, shortened
from codedata.records import AUDIT_RESULTS, UNFINISHED, DatapointChecks, Object, Task
from codedata.terminal import plural
from codedata.texts import printable

PAGE = "_index.html"
DETAIL_BYTES = 20_000_000            # of the details of all tasks
MAX_CHARS = 20_000                   # of a part of a task
SEARCHED_CHARS = 1000                # of a prompt, for the search in the table
LABEL_CHARS, MAX_LABELS = 300, 30    # of values in metadata
MAX_LISTED = 500                     # of files, weights, broken folders
EDITED = "approved, edited"           # edited since the approval: to be proven again
STATUSES = {"in review": "blue", "approved": "green", EDITED: "amber", "returned": "blue",
            "cancelled": "grey"}   # and their colours
UNKNOWN = "not validated"
TABLE = {
    "noun": "task", "searches": "Search ids, prompts, categories, tags",
    "colours": STATUSES | {"passed": "green", "failed": "red", "not checked": "violet"},
    "columns": [
        column("id", "name", "task", place="table"),
        column("status", "badge", room="narrow", width="9.6rem"),
        column("category", room="middle", width="11rem"), column("tags", room="wide"),
        column("difficulty", room="narrow", order=TAXONOMY["difficulties"]),
        column("languages", room="middle"),
        column("checks", "passed", missing=UNKNOWN, hint="Checks that passed"),
        column("seconds", "number", room="middle", digits=1),
        column("review", "notes", "for review", room="wide"),
        column("engine_s", "number", "of that in the engine", digits=1, place="facts"),
        *(column(key, place="facts")
          for key in ("base image", "content", "reason", "licence"))],
    "filters": ["status", "category", {"key": "tags", "title": "Tag"}, "difficulty",
                {"key": "languages", "title": "Language"}, {"key": "result", "title": "Checks"},
                "check", "seed"]}


def write_index(root: Path) -> list[str]:
    """Write the page of the datapoints in a root. Return [a line that names it]; write nothing and
    return [] if there are no datapoints."""
    tasks, details, broken = read_tasks(root)
    if not tasks and not broken:
        return []
    write_atomic(root / DP / PAGE, page(root, tasks, details, broken))
    return [f"      tasks as a page: {DP}/{PAGE}"]


def read_tasks(root: Path, room: int = DETAIL_BYTES
               ) -> tuple[list[Object], dict[str, Packed], list[str]]:
    """Return (the row of each datapoint; the details of as many as fit into `room` bytes; messages
    about folders that cannot be read)."""
    broken: list[BrokenRecord] = []
    tasks = []

    def read() -> Iterator[Block]:
        for task in read_all(folders_in(root, broken), broken):
            tasks.append(task_row(task, known_checks(root, task)))
            draft = f"_drafts/{task.instance_id}.md"   # beside the page
            yield task_details(task, draft if Path(root, DP, draft).is_file() else "", tasks[-1])

    details = pack_fitting(enumerate(read()), room)
    return tasks, details, [printable(str(one)) for one in broken]


def task_row(task: Task, found: DatapointChecks | None) -> Object:
    """Return the row of a datapoint in the table."""
    labels = labels_of(task)
    texts = {key: [*map(_label, value[:MAX_LABELS])] if isinstance(value, list) else _label(value)
             for key, value in vars(labels).items() if key != "lineage"}
    is_edited = labels.status == APPROVED and not is_as_proven(task)
    checks = [check | {"result": check["status"] if check["status"] in AUDIT_RESULTS
                       else UNFINISHED} for check in found.checks] if found else []
    return {
        "id": task.instance_id, **texts,
        "status": EDITED if is_edited else texts["status"].replace("_", " "),
        "seed": _label(labels.lineage.get("seed") or ""), "content": content_digest(task),
        "second": (task.instruction or "")[:SEARCHED_CHARS], "checks": checks,
        "result": min((check["result"] for check in checks), key=AUDIT_RESULTS.index,
                      default=UNKNOWN),
        **({"seconds": found.seconds, "engine_s": found.engine_s, "review": found.review,
            "base image": found.base_image} if found else {})}


def task_details(task: Task, draft: str, row: Object) -> list[Block]:
    """Return the details that the page shows when a datapoint is opened, below its row."""
    lineage = [[_label(key), _label(value)] for key, value in
               islice(labels_of(task).lineage.items(), MAX_LABELS)]
    if draft:
        lineage.append(["draft", {"kind": "file", "path": draft}])
    texts = [{"path": path, "text": text[:MAX_CHARS], "size": len(text)}
             for path, text in zip(PARTS.values(), texts_of(task), strict=True)]
    files = context_of(task)
    sizes = [[name, path.stat().st_size if path.is_file() else None]
             for name, path in islice(files.items(), MAX_LISTED)]
    return [
        {"kind": "files", "files": texts[:1], "isOpen": True},
        {"kind": "checks", "checks": row["checks"]},
        part("Lineage", {"kind": "facts", "pairs": lineage}, row["seed"] and box(
            "p", "Tasks of this seed: ", count(seed=row["seed"]))),
        part("Parts", {"kind": "files", "files": texts[1:], "isOpen": True}),
        part(f"environment/: {plural(len(files), 'file')}",
             sizes and table("Files", ["file", "bytes"], sizes, "lr"),
             len(files) > MAX_LISTED and f"The first {MAX_LISTED}.")]


def _label(value) -> str:
    """Return a value of metadata as a text that is short enough for a table."""
    try:
        text = value if isinstance(value, str) else json.dumps(
            value, ensure_ascii=False, default=str)
    except RecursionError:
        text = "…"
    return shortened(text, LABEL_CHARS)


def page(root: Path, tasks: list[Object], details: dict[int, Packed], broken: list[str]) -> bytes:
    """Return the page as HTML."""
    sections = [_overview(root, tasks, broken)]
    if tasks:
        by_status = {"kind": "cross", "title": "Categories", "down": "category",
                     "across": {"key": "status", "values": [*STATUSES]}}
        sections += [section("tasks", "Tasks", LISTING), section(
            "counts", "Categories and checks", box(
                "div.cards", card("Tasks by category and status", by_status),
                card("What the checks found", {
                    "kind": "outcomes", "results": ["passed", "failed", "not checked"]})))]
    return build("Terminal tasks", [*sections, costs_section(
        costs_of(root, DP), "Every call under dp/, from the ledgers.")], TABLE, tasks, details)


def _overview(root: Path, tasks: list[Object], broken: list[str]) -> Block:
    seconds, engine_s = (sum(task.get(key, 0) for task in tasks) for key in ("seconds", "engine_s"))
    gaps = say_gaps(gaps_in(root))
    return section(
        "overview", "Overview", unreadable(broken, "folder", MAX_LISTED),
        box("p.lead", "An approved task is in task/, and is exported as it was proven. After an "
                      "edit of more than its labels it has to be proven again. Seconds are the "
                      "time of its checks."),
        {"kind": "numbers", "pairs": [
            ("tasks", len(tasks)), *((status, count(status=status)) for status in STATUSES),
            ("all checks passed", count(result="passed")),
            ("failed checks", count(result="failed")), (UNKNOWN, count(result=UNKNOWN)),
            ("validation", {"kind": "duration", "seconds": seconds}),
            ("of that in the engine", f"{100 * engine_s / seconds:.0f} %" if seconds else None)]},
        gaps and box("p.quiet", f"No task here has the {gaps}."))
