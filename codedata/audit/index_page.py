"""Build audit/index.html, the page on which a reviewer reads how the verdicts of tasks were tried.

All data are read from audit/*.json and the folders in task/. index_page.js and index_page.css
beside this file lay them out. A task's survivors and files are a compressed block, which is
inflated when the task is opened. As many tasks have one as fit into DETAIL_BYTES. Equal files give
equal bytes.
"""
from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from codedata.checks.intervals import wilson
from codedata.code.entities import is_text
from codedata.disk.layouts import content_of, write_atomic
from codedata.disk.store import Store
from codedata.errors import BrokenRecord
from codedata.page.builder import Packed, build, pack, shortened
from codedata.records import AUDIT_RESULTS, UNFINISHED, AuditCheck, Object, RivalledTask, TaskAudit
from codedata.tasks.folder.folder import DOCKERFILE, TOML, audited_digest, rivals_digest
from codedata.texts import printable, text_of

PAGE = "index.html"
DETAIL_BYTES = 20_000_000             # of all tasks in full
MAX_CHARS, MAX_FILES = 20_000, 200    # of a file, of a task
MAX_DIFF_CHARS, MAX_FIGURES = 20_000, 500
SHARES = {   # {title: (check, figure of the part, figure of the whole)}
    "wrong variants killed": ("strength", "killed", "tried"),
    "right rivals refused": ("rivals", "right refused", "right"),
    "wrong rivals accepted": ("rivals", "wrong accepted", "wrong"),
    "cheats rewarded": ("cheats", "rewarded", "tried"),
    "gold refused beside load": ("flakes", "failed", "runs")}


def write_index(root: Path) -> list[str]:
    """Write the page of the audits in a root. Return [a line that names it]; write nothing and
    return [] if there are none."""
    rows, details, broken = read_audits(root)
    if not rows and not broken:
        return []
    path = Path(root, TaskAudit.directory, PAGE)
    write_atomic(path, page(rows, details, broken))
    return [f"      audits as a page: {path.relative_to(root)}"]


def read_audits(root: Path, room: int = DETAIL_BYTES
                ) -> tuple[list[Object], dict[str, Packed], list[str]]:
    """Return the row of each audited task, the worst first, the details of as many as fit into
    `room` bytes, and what cannot be read."""
    audits, tasks = Store(root, TaskAudit).open(), Store(root, RivalledTask).open()
    rows, details, broken = [], {}, [*audits.broken]
    for name in audits.names():
        try:
            rows.append(_row(name, audits.read(name)))
        except BrokenRecord as e:
            broken.append(e)
    rows.sort(key=lambda row: AUDIT_RESULTS.index(row["worst"]))
    for k, row in enumerate(rows):
        row["folder"], files = _folder_of(tasks, row)
        tries = {check["name"]: [*map(_readable, check.pop("tries"))] for check in row["checks"]}
        packed = pack({"tries": tries, "files": files})
        if len(packed) <= room:
            details[f"task-{k}"] = packed
            room -= len(packed)
    return rows, details, [printable(str(one)) for one in broken]


def _row(name: str, audit: TaskAudit) -> Object:
    """Return an audit as the page shows it; a result that is unknown counts as not checked."""
    checks = [{**check, "words": shortened(_in_words(check["figures"]), MAX_FIGURES),
               "result": check["result"] if check["result"] in AUDIT_RESULTS else UNFINISHED}
              for check in audit.checks]
    worst = min((check["result"] for check in checks), key=AUDIT_RESULTS.index, default=UNFINISHED)
    return {**vars(audit), "id": name, "checks": checks, "worst": worst}


def _in_words(figures: Object) -> str:
    return ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in figures.items())


def _counts(checks: Iterable[AuditCheck], name: str, *keys: str) -> list[float]:
    """Return sums of figures over the checks of a name. A figure that is no count is 0: a person
    may have edited it."""
    figures = [check["figures"] for check in checks if check["name"] == name]
    return [sum(one[key] for one in figures if type(one.get(key)) in (int, float)
                and 0 <= one[key] < 1e9) for key in keys]


def _folder_of(tasks: Store, row: Object) -> tuple[str, list[Object]]:
    """Return ("" or why the audit is not of the folder as it is now, the texts in the folder)."""
    name = row["id"]
    if name not in tasks:
        return "is missing", []
    try:
        task = tasks.read(name)
        now = audited_digest(task), rivals_digest(task)
        files = {"instruction.md": (task.instruction or "").encode(), TOML: tasks.path(name) / TOML}
        for part in ("environment", "solution", "tests", "rivals"):
            files |= {f"{part}/{path}": file for path, file in (getattr(task, part) or {}).items()
                      if part != "environment" or path == DOCKERFILE}
        texts = [_text(path, content_of(file)) for path, file in [*files.items()][:MAX_FILES]]
    except BrokenRecord as e:
        return printable(f"cannot be read: {e}"), []
    return "" if now == (row["content"], row["rivals"]) else "was edited since its audit", texts


def _text(path: str, content: bytes) -> Object:
    """Return the start of a file's text; null for what is none."""
    text = content.decode() if is_text(content) else None
    return {"path": path, "text": text and text[:MAX_CHARS],
            "size": len(content if text is None else text)}


def _readable(one: Object) -> Object:
    """Return a survivor as short texts, as a person may have edited it."""
    return {key: shortened(str(one.get(key, "")), MAX_DIFF_CHARS)
            for key in ("path", "line", "operator", "place", "diff")}


def page(rows: list[Object], details: dict[str, Packed], broken: list[str]) -> bytes:
    """Return the page as HTML."""
    checks, shares = [check for row in rows for check in row["checks"]], []
    for title, figures in SHARES.items():
        part, whole = _counts(checks, *figures)
        interval = wilson(min(part / whole, 1.0), whole) if whole else None
        shares.append({"title": title, "part": part, "whole": whole, "interval": interval})
    data = {"results": AUDIT_RESULTS, "shares": shares, "broken": broken[:MAX_FILES],
            "n_broken": len(broken), "n_details": len(details), "max_chars": MAX_CHARS,
            "max_files": MAX_FILES}
    return build("Audits of tasks", data, script=text_of(__package__, "index_page.js"),
                 style=text_of(__package__, "index_page.css"), blocks={"rows": rows, **details})
