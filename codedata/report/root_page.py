"""Build index.html, the page of a root, or of two beside each other: what came of it, and every
turn, task, attempt and environment in one table.

codedata/page/ draws it, with the rows and details of the pages of turns, tasks and attempts. The
first items that fit into DETAIL_BYTES are shown in full. Links lead to the files of all.
"""
from __future__ import annotations

import io
import os
import time
from collections.abc import Iterator
from contextlib import redirect_stderr
from dataclasses import dataclass, field
from pathlib import Path

from codedata.conversation.turn import turn_text
from codedata.datapoints.contents import known_checks
from codedata.datapoints.folder import DP, read_datapoint
from codedata.disk.layouts import write_atomic
from codedata.disk.store import Store, known_in
from codedata.errors import BrokenRecord, Trouble
from codedata.export.audits import figures_of
from codedata.llm.costs import costs_of
from codedata.page.blocks import LISTING, Block, box, card, part, section, table
from codedata.page.builder import build, pack, pack_fitting
from codedata.records import (
    DATAPOINT,
    SOLVED,
    Answer,
    Attempt,
    Environment,
    Object,
    RivalledTask,
    TaskAudit,
)
from codedata.report.buckets import best_pairs
from codedata.report.content import ReportContent, made
from codedata.report.html_page import grid_of, turn_details, turn_row, verdict
from codedata.report.item_rows import (
    attempt_details,
    attempt_row,
    checks_of,
    task_files,
    task_row,
)
from codedata.report.make_report import read_duelled
from codedata.report.turn_rows import ReportTurns, TurnRow
from codedata.run.status import (
    PAGES,
    FailedItem,
    StageStatus,
    failed_in,
    failed_lines,
    table_of,
)
from codedata.settings import Settings
from codedata.tasks.folder.folder import GOLD, audited_digest, part_faults, verifier_config
from codedata.terminal import named, plural
from codedata.texts import printable, toml_of

PAGE = "index.html"
DETAIL_BYTES, ROW_BYTES, FAILED_CHARS = 13_000_000, 4_000_000, 200_000   # the page: 20 MB
MAX_LISTED, SHOWN_CHARS = 300, 1000   # tests, broken records; characters of a text in its row
TABLE = toml_of(__package__, "root_page.toml")
NOUNS = {DATAPOINT: "terminal task", "": "task of others"}
Entry = tuple[Object, Block]          # the row of an item, and its details


class InReview(RivalledTask):
    """Hold a terminal task that is not approved."""

    directory = DP


@dataclass
class RootContent:
    """Hold what the page shows of a root."""

    settings: Settings
    stages: list[StageStatus]
    home: Path                        # the folder of the page
    name: str                         # of the root
    turns: ReportTurns | None = None
    judged: dict[str, TurnRow] = field(default_factory=dict)
    failed: list[FailedItem] = field(default_factory=list)
    causes: dict[str, str] = field(default_factory=dict)   # of failed items, by name
    broken: list[Trouble] = field(default_factory=list)


def write_index(roots: list[tuple[Settings, list[StageStatus]]], room: int = DETAIL_BYTES) -> Path:
    """Write the page of some roots into the first one, and return its path. Items in full get
    `room` bytes."""
    home = roots[0][0].root
    names = [settings.root.resolve().name for settings, _ in roots]
    if len({*names}) < len(names):
        names = [str(settings.root) for settings, _ in roots]
    with redirect_stderr(io.StringIO()):   # the page names broken records
        html = page([RootContent(*of_root, home, name)
                     for of_root, name in zip(roots, names, strict=True)], room)
    write_atomic(home / PAGE, html)
    return home / PAGE


def page(roots: list[RootContent], room: int) -> bytes:
    """Return the page as HTML."""
    rows = []
    details = pack_fitting(enumerate(_details(roots, rows)), room)
    n_rows = len(rows)
    while len(pack(rows)) > ROW_BYTES:
        rows = rows[:len(rows) // 2]
    models = dict.fromkeys(cost.model for one in roots for cost in costs_of(one.settings.root))
    title = [" and ".join(one.name for one in roots), time.strftime("%Y-%m-%d %H:%M"),
             named([*models]) or "no model"]
    duels = [one for one in roots if one.turns]
    broken = [printable(str(e)) for one in roots for e in one.broken]
    items = section(
        "items", "Items", broken and box(
            "div.notice", box("strong", f"{plural(len(broken), 'record')} cannot be read:"),
            box("ul", *(box("li", text) for text in broken[:MAX_LISTED]))),
        box("div.cards", *(card(f"By {key}", {
            "kind": "cross", "title": key, "down": key, "across": "root"})
            for key in ("kind", "result")),
            any(row["kind"] == "attempt" for row in rows) and card("Solved attempts", {
                "kind": "cross", "title": "Solved attempts by task and model", "down": "task",
                "across": "model", "of": {"result": SOLVED}})),
        len(rows) < n_rows and box("p.notice", f"The first {len(rows):,} of {n_rows:,}."), LISTING)
    failed = [[one.name, text[:FAILED_CHARS], True, True] for one in roots if (
        text := "\n".join(failed_lines(one.failed)))]
    sections = [
        section("sets", "Sets and costs", *(
            box("p", f"{one.name}: ", {"kind": "linked", "text": made(
                one.settings.root, os.path.relpath(one.settings.root, one.home))})
            for one in roots)),
        duels and section("verdict", "Verdict", box("div.cards", *map(_verdict, duels))), items,
        section("stages", "Stages", _stages(roots)),
        failed and section("failed", "Failed and left out", {"kind": "texts", "texts": failed}),
        _pages(roots)]
    return build(" · ".join(title), sections, {
        **TABLE, "grid": grid_of(duels[0].turns.duel) if duels else None}, rows, details)


# sections ----------------------------------------------------------------------------------------

def _verdict(content: RootContent) -> Block:
    """Return the verdict of a root's duel, with the best pairs."""
    turns = content.turns
    pairs = best_pairs(content.settings.root, turns.duel.mode)
    report = ReportContent(turns.duel, turns.rows, [], [], [], [], pairs, turns.outdated)
    return box("div.stack", box("h3", content.name), *verdict(report, content.settings.report))


def _stages(roots: list[RootContent]) -> Block:
    """Return a table of the stages; None without any."""
    stages = [(one, content.name if roots[1:] else "")
              for content in roots for one in content.stages]
    order = [one.stage for one, _ in stages]
    stages.sort(key=lambda entry: order.index(entry[0].stage))
    head, *rows = table_of([one for one, _ in stages])
    return rows and table(
        "Stages", [*head, "time", "root", ""],
        [[*cells, {"kind": "duration", "seconds": one.seconds}, name, one.note]
         for (one, name), cells in zip(stages, rows, strict=True)],
        "lw" + "r" * (len(head) - 1) + "ww")


def _pages(roots: list[RootContent]) -> Block:
    """Return the section with links to other pages, or an empty list."""
    links = [box("li", {"kind": "file", "path": os.path.relpath(path, content.home)}, f" {what}")
             for content in roots for pattern, what in PAGES.items() if pattern != PAGE
             for path in sorted(content.settings.root.glob(pattern))]
    return links and section("pages", "Pages", box("ul.listed", *links))


# rows and their details --------------------------------------------------------------------------

def _details(roots: list[RootContent], rows: list[Object]) -> Iterator[Block]:
    """Yield the details of each item of the roots; add its row to `rows`."""
    for content in roots:
        settings = content.settings
        content.failed = [*failed_in(settings.root, content.stages)]
        content.causes = {one.name: one.cause[:SHOWN_CHARS] for one in content.failed}
        try:
            content.turns = read_duelled(settings, settings.challenger.how, "")
            content.judged = {row.name: row for row in content.turns.rows}
        except Trouble as e:   # there is no duel, or its outcome cannot be read
            content.broken += [e] if isinstance(e, BrokenRecord) else []
        for cls, entry in ENTRIES.items():
            store = Store(settings.root, cls).open()
            for name in store.names():
                try:
                    path = store.path(name)
                    row, details = entry(content, path, store.read(name))
                except BrokenRecord as e:
                    store.broken.append(e)
                    continue
                file = os.path.relpath(path, content.home)
                rows.append({"second": "", **row, "name": name, "files": [file],
                             "id": file.removesuffix(".json"), "root": content.name})
                yield details
            content.broken += store.broken


def _task(content: RootContent, path: Path, task: RivalledTask) -> Entry:
    root, about, row, found = content.settings.root, task.about, {}, None
    if task.kind == DATAPOINT or isinstance(task, InReview):
        task = read_datapoint(path)   # also checks its parts
        found = known_checks(root, task)
        row = task_row(task, found)
    audit = known_in(root, TaskAudit, task.instance_id)
    if audit and audit.content != audited_digest(task):
        audit = None
    checks = checks_of(found, audit)
    strength = figures_of(audit).get("strength") if audit else None
    fault = next(part_faults(task), None)
    files = task_files(task, path)
    first = [one for one in files if one["path"] in ("instruction.md", f"solution/{GOLD}")]
    failing = verifier_config(task).get("FAIL_TO_PASS")
    tests = [box("li.mono", str(one)) for one in failing[:MAX_LISTED]
             ] if isinstance(failing, list) else []
    return {
        **{key: str(about.get(key, ""))[:SHOWN_CHARS] for key in ("repo", "language")},
        "kind": NOUNS.get(task.kind, task.kind.replace("_", " ")),
        "result": fault.reason if fault else "ready",
        "second": (task.instruction or "")[:SHOWN_CHARS],
        "checked": next((check["result"] for check in checks), "not validated" if row else None),
        "killed": [strength["killed"], strength["tried"]] if strength else None, **row,
    }, [{"kind": "files", "files": first, "isOpen": True},
        tests and part("Tests that fail before it is solved", box("ul.listed", *tests)),
        {"kind": "checks", "checks": checks},
        part("Files", {"kind": "files", "files": files})]


def _turn(content: RootContent, path: Path, answer: Answer) -> Entry:
    turns, row = content.turns, content.judged.get(path.stem)
    if not row:
        return {"kind": "turn", "result": "not judged", "instance": answer.instance_id,
                "second": content.causes.get(path.stem, "")}, {
            "kind": "sides", "sides": [[side, turn_text(getattr(answer, side), answer.messages)]
                                       for side in ("king", "challenger")]}
    in_bucket = row.label if turns.duel.mode == "king" else "judged"
    return {
        **turn_row(row, turns.duel, SHOWN_CHARS), "kind": "turn",
        "result": in_bucket or "no verdict",
    }, turn_details(row, *turns.read(row.name), turns.duel, turns.commits)


def _attempt(content: RootContent, path: Path, attempt: Attempt) -> Entry:
    return attempt_row(attempt), attempt_details(attempt)


def _environment(content: RootContent, path: Path, one: Environment) -> Entry:
    return {"kind": "environment", "result": one.status, "repo": one.repo,
            "why": one.error[:SHOWN_CHARS], "second": one.summary[:SHOWN_CHARS],
            "image": one.image_name, "seconds": one.seconds}, {
        "kind": "texts", "texts": [["install script", one.install_script, True, True],
                                   ["test script", one.test_script, True, True]]}


ENTRIES = {RivalledTask: _task, InReview: _task, Answer: _turn, Attempt: _attempt,
           Environment: _environment}
