"""Build audit/index.html, the page on which a reviewer reads the results of audits.

All data are read from audit/*.json and the folders in task/; codedata/page/ draws them. A task's
details are its survivors and files; tasks get them as long as they fit into DETAIL_BYTES. Equal
files give equal bytes.
"""
from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from codedata.checks.intervals import wilson
from codedata.code.entities import is_text
from codedata.disk.layouts import content_of, write_atomic
from codedata.disk.store import Store
from codedata.errors import BrokenRecord
from codedata.page.blocks import (
    LISTING,
    Block,
    box,
    card,
    column,
    count,
    part,
    section,
    table,
    unreadable,
)
from codedata.page.builder import Packed, build, pack_fitting, shortened
from codedata.records import AUDIT_RESULTS, UNFINISHED, AuditCheck, Object, RivalledTask, TaskAudit
from codedata.tasks.folder.folder import DOCKERFILE, TOML, audited_digest, rivals_digest
from codedata.texts import printable

PAGE = "index.html"
DETAIL_BYTES = 20_000_000             # of the details of all tasks
MAX_CHARS, MAX_FILES = 20_000, 200    # characters of a file, files of a task
MAX_DIFF_CHARS, MAX_FIGURES = 20_000, 500
SURVIVOR = ("path", "line", "operator", "place", "diff", "verdict", "quote", "why")   # its texts
AS_AUDITED = "as it was audited"
COLOURS = dict(zip(AUDIT_RESULTS, ("red", "violet", "amber", "green", "grey"), strict=True))
TABLE = {
    "noun": "task", "searches": "Search ids, kinds, reasons, evidence",
    "colours": COLOURS | {"wrong": "red", "equal": "green", "not said": "amber"},   # of survivors
    "columns": [
        column("id", "name", "task", place="table"), column("kind", room="middle"),
        column("result", "badge", order=AUDIT_RESULTS),
        column("checks", "findings", "findings", room="narrow", place="table",
               hint="Checks that failed, were not made, or need a reader"),
        column("killed", "ratio", room="narrow",
               hint="Wrong variants that were killed, of those tried"),
        column("seconds", "number", room="middle", digits=1), column("content", place="facts"),
        column("mark", "text", "folder", place="facts", missing=AS_AUDITED)],
    "filters": ["kind", "result", "check", "folder"]}
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
    """Return the row of each audited task, the worst first; the details of tasks, as many as fit
    into `room` bytes; and the faults of files that cannot be read."""
    audits, tasks = Store(root, TaskAudit).open(), Store(root, RivalledTask).open()
    rows, broken = [], [*audits.broken]
    for name in audits.names():
        try:
            rows.append(audit_row(name, audits.read(name)))
        except BrokenRecord as e:
            broken.append(e)
    rows.sort(key=_rank)
    details = pack_fitting(enumerate(_details(rows, tasks)), room)
    return rows, details, [printable(str(one)) for one in broken]


def _details(rows: list[Object], tasks: Store) -> Iterator[Block]:
    """Yield the details of each row. In the row, set how its folder is, and remove its survivors.
    """
    for row in rows:
        row["mark"], files = _folder_of(tasks, row.pop("audit"))
        row["folder"] = row["mark"].partition(":")[0] or AS_AUDITED
        full = {"kind": "checks", "checks": row["checks"]}
        row["checks"] = [{**check, "tries": []} for check in row["checks"]]
        yield [full, files and part("Files", {"kind": "files", "files": files})]


def audit_row(name: str, audit: TaskAudit) -> Object:
    """Return an audit as a row of the page, with its checks, the worst first."""
    checks = sorted(map(_shown, audit.checks), key=_rank)
    killed, tried = _counts(checks, *SHARES["wrong variants killed"])
    return {"id": name, "kind": audit.kind.replace("_", " "), "content": audit.content,
            "result": checks[0]["result"] if checks else UNFINISHED, "checks": checks,
            "second": next((check["why"] for check in checks if check["why"]), ""),
            "killed": [killed, tried] if tried else None,
            "seconds": sum(check["seconds"] for check in checks), "audit": audit}


def _shown(check: AuditCheck) -> Object:
    """Return a check as the page shows it; an unknown result counts as not checked."""
    return {**check, "words": shortened(_in_words(check["figures"]), MAX_FIGURES),
            "result": check["result"] if check["result"] in AUDIT_RESULTS else UNFINISHED,
            "tries": [*map(_readable, check["tries"])]}


def _rank(one: Object) -> int:
    """Return the place of a check, or of a task's row, by its result: the worst comes first."""
    return AUDIT_RESULTS.index(one["result"])


def _in_words(figures: Object) -> str:
    return ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in figures.items())


def _counts(checks: Iterable[AuditCheck], name: str, *keys: str) -> list[float]:
    """Return the sums of some figures over all checks with a name. A figure that is not a count
    counts as 0, since a person may have edited it."""
    figures = [check["figures"] for check in checks if check["name"] == name]
    return [sum(one[key] for one in figures if type(one.get(key)) in (int, float)
                and 0 <= one[key] < 1e9) for key in keys]


def _folder_of(tasks: Store, audit: TaskAudit) -> tuple[str, list[Object]]:
    """Return ("", or why the audit does not fit the folder as it is now; the texts in the folder).
    """
    name = audit.instance_id
    if name not in tasks:
        return "is missing", []
    try:
        task = tasks.read(name)
        now = audited_digest(task), rivals_digest(task)
        texts = task_files(task, tasks.path(name))
    except BrokenRecord as e:
        return printable(f"cannot be read: {e}"), []
    return "" if now == (audit.content, audit.rivals) else "was edited since its audit", texts


def task_files(task: RivalledTask, folder: Path) -> list[Object]:
    """Return the texts in a task's folder, of its environment the Dockerfile alone. Raise
    BrokenRecord if a file cannot be read."""
    files = {"instruction.md": (task.instruction or "").encode(), TOML: folder / TOML}
    for place in ("environment", "solution", "tests", "rivals"):
        files |= {f"{place}/{path}": file for path, file in (getattr(task, place) or {}).items()
                  if place != "environment" or path == DOCKERFILE}
    return [_text(path, content_of(file)) for path, file in [*files.items()][:MAX_FILES]]


def _text(path: str, content: bytes) -> Object:
    """Return the start of a file's text; null if it is not text."""
    text = content.decode() if is_text(content) else None
    return {"path": path, "text": text and text[:MAX_CHARS],
            "size": len(content if text is None else text)}


def _readable(one: Object) -> Object:
    """Return a survivor as short texts, since a person may have edited it."""
    return {"unrun": one.get("unrun") is True, "is_wrong_gold": one.get("gold_keeps_it") is False,
            **{key: shortened(str(one.get(key, "")), MAX_DIFF_CHARS) for key in SURVIVOR}}


def page(rows: list[Object], details: dict[int, Packed], broken: list[str]) -> bytes:
    """Return the page as HTML."""
    checks = [check for row in rows for check in row["checks"]]
    shares = [_share(title, *_counts(checks, *figures)) for title, figures in SHARES.items()]
    overview = section(
        "overview", "Overview", unreadable(broken, "audit", MAX_FILES),
        box("p.lead", "A task counts by the worst result of its checks; the worst come first. "
                      "“review” is a question for a reader: a variant that is still rewarded "
                      "may be wrong, or equal in meaning."),
        {"kind": "numbers", "pairs": [
            ("tasks audited", len(rows)),
            *(({"kind": "swatch", "value": result}, count(result=result)) for result in COLOURS),
            ("audited as they are", count(folder=AS_AUDITED))]},
        box("div.cards",
            card("Checks by result, in tasks", {"kind": "outcomes", "results": [*COLOURS]}),
            card("Of all that was tried",
                 table("Shares", ["", "", "share", "95 % interval"], shares, "lrrr"))))
    tasks = rows and section("tasks", "Tasks", LISTING)
    return build("Audits of tasks", [overview, tasks], TABLE, rows, details)


def _share(title: str, part: float, whole: float) -> list[Block]:
    """Return a line of the table of shares."""
    if not whole:
        return [title, "not tried", None, None]
    low, high = wilson(min(part / whole, 1.0), whole)
    return [title, f"{part:,} of {whole:,}", f"{100 * part / whole:.1f} %",
            f"{100 * low:.1f} % – {100 * high:.1f} %"]
