"""Build index.html, the page of a root, or of several beside each other: what came of it, and every
turn, task, attempt and environment in one table.

codedata/page/ draws it; rows and details are those of the pages of each directory. The page has at
most MAX_BYTES: it holds as many rows in full as fit, drawn at random, and links to the files of
all.
"""
from __future__ import annotations

import io
import os
import random
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from codedata.audit.index_page import audit_row, task_files
from codedata.conversation.turn import plain, turn_text
from codedata.datapoints.contents import known_checks
from codedata.datapoints.folder import folder_of, folders_in_dp, read_all
from codedata.datapoints.index_page import task_details, task_row
from codedata.disk.layouts import write_atomic
from codedata.disk.store import Store
from codedata.duel.panel import SIDES, records_of
from codedata.errors import BrokenRecord
from codedata.llm.costs import costs_of
from codedata.page.blocks import (
    LISTING,
    Block,
    box,
    card,
    column,
    count,
    folded,
    part,
    section,
    table,
    unreadable,
)
from codedata.page.builder import build, pack_fitting, shortened
from codedata.records import (
    AUDIT_RESULTS,
    BUG,
    DATAPOINT,
    DUEL,
    METRICS,
    PULL_REQUEST,
    SOLVED,
    STRIPPED_PATCH,
    Answer,
    Attempt,
    Environment,
    Object,
    RivalledTask,
    TaskAudit,
)
from codedata.report.html_page import LABEL_CHARS, letters_of, turn_details, turn_row
from codedata.report.make_report import read_duelled
from codedata.report.turn_rows import ReportTurns
from codedata.run.status import PAGES, StageStatus, table_of
from codedata.settings import Settings
from codedata.solving.index_page import attempt_details, attempt_row
from codedata.tasks.folder.folder import GOLD, REVERSE, part_faults, verifier_config
from codedata.tasks.rates import attempts_in
from codedata.terminal import named, plural
from codedata.texts import printable

PAGE = "index.html"
MAX_BYTES = 20_000_000
BLOCK_BYTES = 80     # of the element around a row's details
MAX_LISTED = 500     # broken records, tests
SHOWN_CHARS = 1000   # of a text, in its row
N_BEST = 3           # pairs
WON = "won, in defeat"
COLOURS = {
    "final": "green", "refined": "mint", "defeat": "grey", WON: "blue", "proven": "green",
    "approved": "green", "success": "green", "error": "red", SOLVED: "green", "wrong": "amber",
    "cheated": "red", "passed": "green", "failed": "red", "not checked": "violet",
    "review": "amber"}
NOUNS = {BUG: "bug", STRIPPED_PATCH: "stripped patch", PULL_REQUEST: "pull request",
         DATAPOINT: "terminal task"}
PATCHES = {BUG: (REVERSE, "The bug"), STRIPPED_PATCH: (REVERSE, "The bodies that were taken out")}
COLUMNS = [
    column("name", "name", place="table"), column("root", room="narrow"),
    column("kind", room="narrow"), column("result", "badge", width="8.5rem"),
    column("score", "score", digits=1, room="narrow"),
    column("audit", "badge", order=AUDIT_RESULTS, room="narrow"),
    column("killed", "ratio", room="middle", hint="Wrong variants killed, of those tried"),
    column("solved", "ratio", room="middle", hint="Attempts that solved it"),
    column("reward", "number", room="middle"), column("model", room="middle"),
    column("repo", title="repository", room="wide", width="11rem"), column("language", room="wide"),
    column("seconds", "number", digits=1, room="wide"),
    *(column(key, title=title, place="facts") for key, title in (
        ("instance", "instance"), ("step", "step"), ("agent", "agent"), ("attempt", "attempt"),
        ("steps", "steps"), ("cost_usd", "cost, $"), ("why", "why"), ("category", "category"),
        ("difficulty", "difficulty"), ("tags", "tags"), ("image", "image"))),
    column("files", "links", place="facts")]
FILTERS = ["root", "kind", "result", "audit", {"key": "repo", "title": "Repository"}, "language",
           "model"]
Entry = tuple[Object, Callable[[], Block]]   # a row, and what returns its details


@dataclass
class RootContent:
    """Hold what the page shows of a root."""

    settings: Settings
    stages: list[StageStatus]
    name: str
    label: str                        # its name, "" if it is alone on the page
    place: str                        # of the root, from the page
    broken: list[BrokenRecord] = field(default_factory=list)
    turns: ReportTurns | None = None
    entries: list[Entry] = field(default_factory=list)


def write_index(roots: list[tuple[Settings, list[StageStatus]]]) -> Path:
    """Write the page of some roots into the first one, and return its path."""
    home = roots[0][0].root
    names = [Path(settings.root).resolve().name for settings, _ in roots]
    contents = []
    for (settings, stages), name in zip(roots, names, strict=True):
        name = name if names.count(name) == 1 else str(settings.root)
        content = RootContent(settings, stages, name, name if len(roots) > 1 else "",
                              os.path.relpath(settings.root, home))
        with redirect_stderr(io.StringIO()):   # the page names broken records
            for read in (_turns, _tasks, _attempts, _environments):
                content.entries += [_placed(content, *entry) for entry in read(content)]
        contents.append(content)
    write_atomic(home / PAGE, page(contents))
    return home / PAGE


def page(roots: list[RootContent]) -> bytes:
    """Return the page as HTML."""
    entries = [entry for content in roots for entry in content.entries]
    n, models = len(entries), dict.fromkeys(
        cost.model for content in roots for cost in costs_of(content.settings.root))
    title = " · ".join(filter(None, (" and ".join(content.name for content in roots),
                                     time.strftime("%Y-%m-%d %H:%M"), named([*models]))))
    while True:
        rows = [row for row, _ in entries]
        listed = {"noun": "item", "searches": "Search names, repositories, texts", "up": "",
                  "colours": COLOURS, "columns": _with_values(COLUMNS, rows),
                  "filters": _with_values(FILTERS, rows), "grid": _grid(roots)}
        cut = len(rows) < n and box("p.notice", f"The first {len(rows):,} of {n:,} items.")
        sections = [_duels(roots), _items(roots, cut), _stages(roots), _pages(roots)]
        size = len(build(title, sections, listed, rows, {}))
        if size <= MAX_BYTES:
            break
        entries = entries[:len(entries) // 2]
    room = MAX_BYTES - size - BLOCK_BYTES * len(rows)
    return build(title, sections, listed, rows, pack_fitting(_details(entries), room))


def _details(entries: list[Entry]) -> Iterator[tuple[int, Block]]:
    """Yield (place, details) of rows in a random order, so that those that fit are of all kinds."""
    for i, (_, details) in random.Random(0).sample([*enumerate(entries)], len(entries)):
        with suppress(BrokenRecord):   # it was edited after the table was read
            yield i, details()


def _with_values(keyed: list, rows: list[Object]) -> list:
    """Return the columns or filters for which some row has a value."""
    there = {key for row in rows for key, value in row.items() if value not in (None, "", [])}
    return [one for one in keyed if (one if isinstance(one, str) else one["key"]) in there]


def _grid(roots: list[RootContent]) -> Object | None:
    duels = [content.turns.duel for content in roots if content.turns]
    judges = [*dict.fromkeys(judge for duel in duels for judge in duel.judges)]
    return {"judges": judges, "metrics": METRICS,
            "letters": letters_of(duels[0])} if duels else None


# sections ----------------------------------------------------------------------------------------

def _duels(roots: list[RootContent]) -> Block:
    """Return the section on the verdicts of duels and their best pairs, or None."""
    duelled = [content for content in roots if content.turns]
    return section(
        "overview", "Verdict",
        box("div.cards", *(card(content.name, {
            "kind": "outcome", "duel": content.turns.duel.raw, "rival": content.turns.duel.mode})
            for content in duelled)),
        box("p.lead", "A score is the challenger’s: 50 is a draw. defeat/ holds every turn that is "
            f"neither final nor refined: one that the challenger won by little is “{WON}”."),
        *([*_pairs(content)] for content in duelled)) if duelled else None


def _pairs(content: RootContent) -> Iterator[Block]:
    """Yield the turns that the challenger won most clearly, and why."""
    turns, rival = content.turns, content.turns.duel.mode
    sound = [row for row in turns.rows if row.bucket and not row.flags]
    for row in sorted(sound, key=lambda row: -row.score)[:N_BEST]:
        with suppress(BrokenRecord):
            answer, score = turns.read(row.name)
            why = next((entry for entry in score.judges if entry.get("reason")), None)
            place = f"{content.label}/{row.name}".removeprefix("/")
            yield {"kind": "sides", "title": f"{place}: score {row.score:g}",
                   "sides": [[side, turn_text(getattr(answer, field) or "", answer.messages)]
                             for side, field in ((rival, SIDES[rival]), ("challenger",) * 2)]}
            yield why and box("p", f"Why, by {why['judge']}: {why['reason']}")


def _items(roots: list[RootContent], cut: Block) -> Block:
    """Return the section with the table of all rows, below how many there are of each kind."""
    kinds = dict.fromkeys(row["kind"] for content in roots for row, _ in content.entries)
    counts = [[kind, *(_counts(content, kind) for content in roots)] for kind in kinds]
    broken = [printable(str(one)) for content in roots for one in content.broken]
    return section(
        "items", "Items", unreadable(broken, "record", MAX_LISTED), cut,
        table("Items by kind", ["", *(content.name for content in roots)], counts,
              "l" + "w" * len(roots)) if counts else "There is nothing yet.", counts and LISTING)


def _counts(content: RootContent, kind: str) -> Block:
    """Return how many rows of a kind there are, by result."""
    results = Counter(row["result"] for row, _ in content.entries if row["kind"] == kind)
    wanted = {"kind": kind, **({"root": content.label} if content.label else {})}
    return [count(**wanted), *([" · ", {"kind": "swatch", "value": result}, " ",
                                count(**wanted, result=result),
                                f" ({100 * n / results.total():.0f} %)"]
                               for result, n in results.most_common())]


def _stages(roots: list[RootContent]) -> Block:
    """Return the section on the work by stage; stages without items are folded."""
    stages = [(one, content.label) for content in roots for one in content.stages]
    order = [*dict.fromkeys((one.stage, one.place) for one, _ in stages)]
    stages.sort(key=lambda entry: order.index((entry[0].stage, entry[0].place)))
    head, *rows = table_of([one for one, _ in stages])
    parts = {True: [], False: []}
    for (one, label), cells in zip(stages, rows, strict=True):
        parts[bool(any(one.counts.values()) or one.n_calls)].append(
            [*cells, {"kind": "duration", "seconds": one.seconds}, label])
    notes = [box("p.quiet", f"{one.stage}: {one.note}") for one, _ in stages if one.note]
    return section(
        "stages", "Stages", _stage_table(head, parts[True]), folded(
            f"{plural(len(parts[False]), 'stage')} without items",
            _stage_table(head, parts[False])), *notes)


def _stage_table(head: list[str], rows: list[list[Block]]) -> Block:
    """Return a table of stages, with the columns in which some have a value, or None."""
    columns = [*zip([*head, "time", "root"], "lw" + "r" * (len(head) - 1) + "l",
                    *rows, strict=True)] if rows else []
    used = [column for column in columns if any(column[2:])]
    titles, align, *cells = map(list, zip(*used, strict=True)) if used else [[], []]
    return table("Stages", titles, cells, "".join(align)) if rows else None


def _pages(roots: list[RootContent]) -> Block:
    """Return the section with links to other pages, or None."""
    links = [box("li", {"kind": "file", "path": os.path.normpath(
                 f"{content.place}/{path.relative_to(content.settings.root)}")}, f"   {what}")
             for content in roots for pattern, what in PAGES.items() if pattern != PAGE
             for path in sorted(content.settings.root.glob(pattern))]
    return section("pages", "Pages", box("ul.listed", *links)) if links else None


# rows and their details --------------------------------------------------------------------------

def _placed(content: RootContent, path: str, row: Object, details: Callable[[], Block]) -> Entry:
    """Return an entry of an item that lies at a path below its root."""
    files = [os.path.normpath(f"{content.place}/{one}") for one in row.get("files", [path])]
    return {"name": name_in(path), "short": [row["second"]], **row, "files": files,
            "id": files[0].removesuffix(".json"), "root": content.label}, details


def name_in(path: str) -> str:
    """Return the name of an item that lies at a path."""
    return Path(path).name.removesuffix(".json")


def _stored(content: RootContent, cls) -> Iterator[tuple]:
    """Yield (path, record, what reads it again) of the readable records of a class."""
    store = Store(content.settings.root, cls).open()
    content.broken += store.broken
    for name in store.names():
        try:
            path = str(store.path(name).relative_to(store.root))
            yield path, store.read(name), partial(store.read, name)
        except BrokenRecord as e:
            content.broken.append(e)


def _turns(content: RootContent) -> Iterator[tuple]:
    settings, judged = content.settings, set()
    mode, how = settings.duel.mode, settings.challenger.how
    if (settings.root / records_of(mode, how, how)[1].directory / DUEL).is_file():
        try:
            content.turns = turns = read_duelled(settings, how, "python validate.py")
        except BrokenRecord as e:
            content.broken.append(e)
        else:
            content.broken += [*turns.broken, *turns.state.plan.broken.values()]
            for row in turns.rows:
                judged.add(row.name)
                result = WON if row.is_won_in_defeat else row.bucket or "no verdict"
                yield row.files[0], {
                    **turn_row(row, turns.duel, SHOWN_CHARS), "kind": "turn",
                    "result": result if mode == "king" else "judged",
                }, lambda row=row: turn_details(row, *turns.read(row.name), turns.duel,
                                                turns.commits)
    for path, answer, read in _stored(content, Answer):
        if name_in(path) not in judged:
            yield path, {"kind": "turn", "result": "not judged", "instance": answer.instance_id,
                         "second": turn_text(answer.challenger or answer.king)[:SHOWN_CHARS]
                         }, lambda read=read: _unjudged(read())


def _unjudged(answer: Answer) -> Block:
    """Return the details of a turn without a verdict."""
    messages = plain(answer.messages, answer.tools)
    return [{"kind": "sides", "title": "Answers", "sides": [
                [side, turn_text(getattr(answer, side) or "", answer.messages)]
                for side in ("king", "challenger")]},
            {"kind": "texts", "title": "History",
             "texts": [[one["role"], one["content"], True] for one in messages]}]


def _tasks(content: RootContent) -> Iterator[tuple]:
    root, folders, tries = content.settings.root, [], defaultdict(list)
    for (task, _), by_agent in attempts_in(root).items():
        tries[task] += [one["status"] for found in by_agent.values() for one in found.values()]
    audits = {audit.instance_id: audit_row(audit.instance_id, audit)
              for path, audit, _ in _stored(content, TaskAudit)}

    def known_of(name: str) -> tuple[Object, list[Block]]:
        """Return what audits and attempts say of a task, for its row and for its details."""
        audit, tried = audits.pop(name, {}), tries[name]
        return {"audit": audit.get("result"), "killed": audit.get("killed"),
                "solved": [tried.count(SOLVED), len(tried)] if tried else None
                }, [{"kind": "checks", "checks": audit.get("checks", [])}]

    for path, task, read in _stored(content, RivalledTask):
        if task.kind == DATAPOINT:
            folders.append(root / path)
            continue
        found, checks = known_of(task.instance_id)
        fault = next(part_faults(task), None)
        yield path, {
            "kind": NOUNS.get(task.kind, "task"), **found,
            "result": fault.reason if fault else "proven" if task.kind else "as it came",
            "second": (task.instruction or "")[:SHOWN_CHARS],
            **{key: shortened(str(task.about.get(key, "")), LABEL_CHARS)
               for key in ("repo", "language")},
        }, lambda path=path, read=read, checks=checks: _of_patch(read(), root / path, checks)
    broken = content.broken
    for task in read_all([*folders_in_dp(root, broken), *folders], broken):
        row, (found, checks) = task_row(task, known_checks(root, task)), known_of(task.instance_id)
        yield str(folder_of(task).relative_to(root)), {
            **{key: row.get(key) for key in ("second", "category", "difficulty", "tags",
                                             "seconds")},
            "kind": NOUNS[DATAPOINT], **found, "result": row["status"],
            "language": row.get("languages"),
        }, lambda task=task, row=row, checks=checks: [
            *task_details(task, "", {**row, "seed": ""}), *checks]
    for name, row in audits.items():
        yield f"{TaskAudit.directory}/{name}.json", {
            "kind": "audit without its task", "result": row["result"], "killed": row["killed"],
            "second": row["second"]}, lambda row=row: {"kind": "checks", "checks": row["checks"]}


def _of_patch(task: RivalledTask, folder: Path, checks: list[Block]) -> Block:
    """Return the details of a task that a patch solves, and of tasks of others."""
    patch, title = PATCHES.get(task.kind, (GOLD, "The solution"))
    texts = {one["path"]: one for one in task_files(task, folder)}
    first = [(name, texts.pop(path)) for name, path in (
        ("Instruction", "instruction.md"), (title, f"solution/{patch}")) if path in texts]
    failing = [str(one) for one in verifier_config(task).get("FAIL_TO_PASS") or ()]
    return [
        *(part(name, {"kind": "files", "files": [text], "isOpen": True}) for name, text in first),
        failing and part(f"Tests that fail before it is solved: {len(failing):,}", box(
            "ul.listed", *(box("li.mono", one) for one in failing[:MAX_LISTED]))),
        *checks, part("Files", {"kind": "files", "files": [*texts.values()]})]


def _attempts(content: RootContent) -> Iterator[tuple]:
    for path, attempt, read in _stored(content, Attempt):
        row = attempt_row(attempt)
        yield path, {**row, "kind": "attempt", "result": row["status"]}, (
            lambda read=read: attempt_details(read()))


def _environments(content: RootContent) -> Iterator[tuple]:
    for path, one, read in _stored(content, Environment):
        yield path, {
            "kind": "environment", "result": one.status, "repo": shortened(one.repo, LABEL_CHARS),
            "image": one.image_name, "seconds": one.seconds,
            "second": (one.error or one.summary)[:SHOWN_CHARS],
        }, lambda read=read: _of_environment(read())


def _of_environment(one: Environment) -> Block:
    """Return the details of an environment."""
    counts = Counter(case["status"] for case in one.test_case_result)
    others = [[case["name"], case["status"]] for case in one.test_case_result
              if case["status"] != "passed"][:MAX_LISTED]
    return [
        {"kind": "texts", "texts": [
            [name, text, True, True] for name, text in (
                ("error", one.error), ("install script", one.install_script),
                ("test script", one.test_script)) if text]},
        part("Tests: " + ", ".join(f"{status} {n:,}" for status, n in counts.items()),
             others and table("Tests", ["test", "result"], others, "ll"))]
