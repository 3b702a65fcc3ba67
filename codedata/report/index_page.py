"""Write index.html, the page of a root: its sets and costs, failed items, the verdict of its duels,
and its turns, tasks, attempts and environments in one table, up to 10,000 of each.

A page has only as many items as a browser opens in two seconds; further items go to index-2.html,
index-3.html and so on. index.html links to these pages and is written last. The items of at most
two pages are in memory at a time.
"""
from __future__ import annotations

import io
import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import redirect_stderr, suppress
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

from codedata.conversation.turn import plain, turn_text
from codedata.datapoints.approval import is_as_proven
from codedata.datapoints.contents import known_checks
from codedata.datapoints.datapoint_folder import APPROVED, DP, labels_of, read_datapoint
from codedata.disk.layouts import content_of, load, write_atomic
from codedata.disk.store import Store, known, known_in
from codedata.duel.executed import execution_of
from codedata.duel.panel import SIDES
from codedata.duel.scoring import BOTH, is_parsed
from codedata.errors import BrokenRecord, Trouble
from codedata.llm.costs import costs_of
from codedata.page.elements import Html, document, fold, joined, marked, shown, sides, table, tag
from codedata.records import (
    AUDIT_RESULTS,
    DATAPOINT,
    METRICS,
    UNFINISHED,
    Answer,
    Attempt,
    Environment,
    Object,
    RivalledTask,
    Score,
    TaskAudit,
)
from codedata.report.buckets import MAX_LISTED
from codedata.report.content import by_metric, costs_table, figures, made, number, outcome, warnings
from codedata.report.turn_rows import ReportTurns, TurnRow, command_of, open_duel
from codedata.run import status
from codedata.run.status import StageStatus
from codedata.settings import Settings
from codedata.tasks.compared import COMPARE, in_words
from codedata.tasks.folder.task_folder import (
    DOCKERFILE,
    GOLD,
    audited_digest,
    part_faults,
    verifier_config,
)
from codedata.terminal import plural
from codedata.texts import printable

PAGE = "index.html"
LATER = re.compile(r"index-(\d+)\.html")
MAX_ITEMS, MAX_CHARS = 2_000, 12_000_000   # limits of a page: Chromium opens it in 2 s
MAX_FAILED, MAX_CELL, MAX_LINE = 200_000, 300, 400   # characters
MAX_BROKEN = 500
COLUMNS = ("name", "kind", "result", "score", "reward", "checks", "model", "repo", "language")
LEADS = {
    "king": "The king answered each turn and saw only the conversation. The challenger knew the "
            "pull request that solved the task (informed), or is an answer by a model that saw "
            "only the conversation and was picked with the pull request (chosen).",
    "reference": "The challenger knew the pull request that solved the task. It is compared with "
                 "the data set’s own turn."}
FIELDS = {**SIDES, "challenger": "challenger"}   # field of an Answer for each side
MAX_FILES = 200
NOUNS = {DATAPOINT: "terminal task", "": "task of others"}
EDITED = "approved, edited"   # edited since the approval: to be proven again
# cells of COLUMNS; a line that says more; details
Item = tuple[Object, str, list[Html]]
Entry = tuple[str, Object, Html]   # path from the root without .json, cells of COLUMNS, details


class InReview(RivalledTask):
    """Hold a terminal task that is not approved."""

    directory = DP


def write_index(settings: Settings, stages: Iterable[StageStatus] = (),
                known: ReportTurns | None = None) -> Path:
    """Write the pages of a root, and return the path of the first one. `known` are the turns of a
    duel that were read already."""
    root, results, links, first, left = settings.root, Counter(), [], [], []
    name = f"{root.resolve().name} · {time.strftime('%Y-%m-%d %H:%M')}"
    with redirect_stderr(io.StringIO()):   # the page shows these messages
        duels, broken = _duels(settings, known)
        failed = [*status.failed_in(root, stages)]
        entries = _entries(root, duels, {one.name: one.cause for one in failed}, broken, left)
        for n, batch in enumerate(_batches(entries), 1):
            results.update((cells["kind"], cells["result"]) for _, cells, _ in batch)
            if n == 1:
                first = [_listing(batch)]
                continue
            file = f"index-{n}.html"
            links.append(tag("div", tag(
                "a", f"{file}: {batch[0][0]} to {batch[-1][0]}", href=file)))
            write_atomic(root / file, _page(f"{name} · {file}", {
                "Items": [tag("a", "first page", href=PAGE), _listing(batch)]}))
        costs = known.costs if known else costs_of(root)
        write_atomic(root / PAGE, _page(name, {
            "Sets and costs": marked(made(root, ".")),
            f"Failed and left out: {len(failed):,}": failed and tag(
                "pre", "\n".join(status.failed_lines(failed))[:MAX_FAILED]),
            f"{plural(len(broken), 'record')} cannot be read": broken and tag(
                "pre", "\n".join(printable(str(e)) for e in broken[:MAX_BROKEN])),
            **{f"Challenger against {turns.duel.mode}": _duel(turns) for turns in duels},
            **_attempts(root),
            "Costs": costs and table(*costs_table(costs)),
            "Stages": tag("pre", status.table(stages) if stages else "see status.py --html"),
            "Items": [table(["kind", "result", "items"], [
                [*key, f"{n:,}"] for key, n in sorted(results.items())], "llr"), links and tag(
                    "div", "More pages (the filter searches one page):", links), left, first]}))
    for path in root.glob("index-*.html"):
        later = LATER.fullmatch(path.name)
        if later and int(later[1]) > len(links) + 1:
            path.unlink()
    return root / PAGE


def _page(title: str, sections: dict[str, object]) -> bytes:
    """Return a page of sections by heading; empty ones are left out."""
    there = {heading: inside for heading, body in sections.items() if (inside := joined(body))}
    links = [tag("a", heading, href=f"#{quote(heading)}") for heading in there]
    return document(title, tag("header", tag("h1", title), links), [
        tag("section", tag("h2", heading), body, id=heading) for heading, body in there.items()])


def _duels(settings: Settings, known: ReportTurns | None) -> tuple[list[ReportTurns], list]:
    """Return the turns of each decided duel, and the errors of duels that cannot be read."""
    duels, broken = [], []
    for mode in LEADS:
        try:
            duels.append(known if known and known.duel.mode == mode else open_duel(
                replace(settings, duel=replace(settings.duel, mode=mode))).read_rows())
        except BrokenRecord as e:
            broken.append(e)
        except Trouble:   # there is no such duel
            continue
    return duels, broken


def _duel(turns: ReportTurns) -> list[Html]:
    """Return the outcome of a duel, its terms explained, warnings, the best pairs and figures."""
    duel, note = turns.duel, turns.thresholds.note
    asked = plural(len(duel.judges), "judge") + " compared the two answers " + (
        "in both orders" if duel.order == BOTH else "once")
    return [
        tag("p", outcome(duel), class_="good" if duel.accepted else "bad"),
        tag("p", f"{LEADS[duel.mode]} {asked}, not knowing whose is which. A score is the "
            "challenger’s: 100, it won everything; 50, a draw. Buckets go by score: a turn that "
            "the challenger won, but not clearly, is in defeat, too.", class_="quiet"),
        *(tag("p", text, class_="notice") for text in (note, *warnings(turns)) if text),
        *(tag("div", tag("h3", f"One of the best pairs: {pair.name}"), tag("p", pair.why),
              fold("task", shown(pair.task)),
              sides({"king": pair.king, "challenger": pair.challenger}), class_="card")
          for pair in turns.pairs),
        *([tag("h3", heading), *(
            table(*item) if isinstance(item, tuple) else shown(item) if isinstance(item, list)
            else tag("p", marked(item), class_="quiet") for item in items)]
          for heading, items in figures(turns, []))]


def _attempts(root: Path) -> dict[str, object]:
    """Return by heading how often each agent solved each task, up to MAX_ITEMS lines, and the
    comparisons of two agents, as solve.py wrote them."""
    rows, found = [], {}
    for path in sorted(root.glob(f"{Attempt.directory}/_*/*.json")):
        # leave out an edited one
        with suppress(BrokenRecord, AttributeError, LookupError, ValueError, TypeError):
            data = load(path)
            if path.parent.name == COMPARE:
                found[path.stem] = tag("pre", "\n".join(in_words(data, MAX_ITEMS)))
            else:
                rows += [[path.stem.rpartition(".")[0], agent,
                          f"{one['solved']} of {one['attempts']}",
                          "{:.2f} to {:.2f}".format(*one["interval"])]
                         for agent, one in data["rates"].items()]
    heads = ["task", "agent", "solved", "95 % interval"]
    return {"Attempts by task": rows and table(heads, rows[:MAX_ITEMS], "llrr"), **found}


# items -------------------------------------------------------------------------------------------

def _entries(root: Path, duels: list[ReportTurns], causes: dict[str, str], broken: list,
             left: list) -> Iterator[Entry]:
    """Yield the readable items of a root, at most MAX_LISTED of a kind. Add the faults of the
    unreadable ones to `broken`, and sentences on the further ones to `left`."""
    rows = [{row.name: row for row in turns.rows} for turns in duels]

    def items_of(path: Path, record) -> list[Item]:
        if isinstance(record, Answer):
            return [turn_item(of_duel[path.stem], record, turns)
                    for turns, of_duel in zip(duels, rows, strict=True) if path.stem in of_duel
                    ] or [unjudged_item(record, causes.get(path.stem, ""))]
        if isinstance(record, RivalledTask):
            return [task_item(root, path, record, isinstance(record, InReview))]
        is_attempt = isinstance(record, Attempt)
        return [(attempt_item if is_attempt else environment_item)(record)]

    for cls in (Answer, RivalledTask, InReview, Attempt, Environment):
        store = Store(root, cls).open()
        names = store.names()
        if len(names) > MAX_LISTED:
            left.append(tag("p", f"Of {len(names):,} in {cls.directory}/, the first "
                            f"{MAX_LISTED:,} are listed and counted."))
        for name in names[:MAX_LISTED]:
            try:
                path = store.path(name)
                items = items_of(path, store.read(name))
            except BrokenRecord as e:
                store.broken.append(e)
                continue
            file = str(path.relative_to(root))
            for n, (cells, line, details) in enumerate(items):
                id = file.removesuffix(".json") + ".reference" * n
                yield id, {"name": name, **cells}, tag(
                    "details", tag("summary", " ".join(line[:MAX_LINE].split()) or "details"),
                    tag("a", file, href=quote(file), id=id), details)
        broken += store.broken


def _batches(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    """Yield the entries of each page."""
    batch, n_chars = [], 0
    for one in entries:
        n_chars += len(one[-1])
        if batch and (len(batch) == MAX_ITEMS or n_chars > MAX_CHARS):
            yield batch
            batch, n_chars = [], len(one[-1])
        batch.append(one)
    if batch:
        yield batch


def _cell(value) -> str:
    return "" if value is None else str(value)[:MAX_CELL]


def _listing(entries: list[Entry]) -> Html:
    """Return the table of a page's items, with its filters."""
    columns = [key for key in COLUMNS if any(_cell(cells.get(key)) for _, cells, _ in entries)]
    kinds = dict.fromkeys(cells["kind"] for _, cells, _ in entries)
    options = [Html('<option value="">any</option>'), *(tag("option", kind) for kind in kinds)]
    bodies = [tag(
        "tbody",
        tag("tr", [tag("td", _cell(cells.get(key))) for key in columns]),
        tag("tr", tag("td", details, colspan=len(columns)))) for _, cells, details in entries]
    return joined([
        tag("p", "Words in a row: ", Html('<input id="text" type="search"> Kind: '),
            tag("select", options, id="kind"), " ", tag("output", id="count")),
        tag("table", tag("thead", tag("tr", [tag("th", tag("button", key)) for key in columns])),
            bodies, class_="rows")])


# the cells of an item, a line that says more, and details -----------------------------------------

# Texts of records are untrusted: elements.py escapes them and cuts long ones.

def unjudged_item(answer: Answer, cause: str) -> Item:
    """Return a turn without verdicts; `cause` says why there are none."""
    pair = {side: turn_text(getattr(answer, side), answer.messages)
            for side in ("king", "challenger")}
    return {"kind": "turn", "result": "not judged"}, cause, [sides(pair), _history(answer)]


def turn_item(row: TurnRow, answer: Answer, turns: ReportTurns) -> Item:
    """Return a judged turn."""
    score = turns.state.scores.read(row.name)
    rival = turns.duel.mode
    texts = {side: turn_text(getattr(answer, field), answer.messages)
             for side, field in FIELDS.items()}
    pair = {side: texts.pop(side) for side in (rival, "challenger")}
    runs = {f"{side}, when it was run": run.text() for side in pair if (
        run := execution_of(turns.root, row.name, getattr(answer, FIELDS[side])))}
    pull = known(turns.commits, row.instance_id)
    about = {"instance": row.instance_id, "step": " → ".join(row.styles),
             "score": "edited: not what the verdicts give" if row.is_edited else "",
             "leaks": _leaks(row), "injections": row.injections or "none found"}
    cells = {"kind": "turn" if rival == "king" else f"turn against the {rival}",
             "result": row.label or "no verdict", "score": row.score and number(row.score),
             "repo": row.repo, "language": row.language}
    return cells, command_of(answer, answer.challenger), [
        sides(pair), sides(runs), shown(about), _verdicts(row, score, rival),
        fold("Refused, and asked for again", shown(row.leaks.tries())),
        fold("Reference, choice, pull request", shown(
            {**texts, "choice": answer.choice, **{f"pull request: {key}": getattr(pull, key, "")
             for key in ("description", "patch", "test_patch")}})),
        _history(answer)]


def _leaks(row: TurnRow) -> list | str:
    """Return the leak verdict on a turn's challenger."""
    if row.leaks.found is None:
        return "not checked: there is no record of the pull request"
    lacking = "no verdict of a leak judge yet" if row.leaks.lacks_verdict else "none found"
    return row.leaks.found or lacking


def _verdicts(row: TurnRow, score: Score, rival: str) -> Html:
    """Return a table of a turn's verdicts, with the judges' reasons."""
    words = {1: "challenger", 0.5: "draw", 0: rival}
    lines = [[entry["judge"], entry["order"], *(
        words[entry["scores"][metric]] if is_parsed(entry) else "not read" for metric in METRICS),
        entry.get("error") or entry.get("reason")] for entry in score.judges]
    lines.append(["score", number(row.score), *by_metric(row.metrics), ""])
    return table(["judge", "order", *METRICS, "reason"], lines, "l" * (3 + len(METRICS)))


def _history(answer: Answer) -> Html:
    messages = plain(answer.messages, answer.tools)
    return fold(f"History: {len(messages)} messages", shown(
        [{one["role"]: one["content"]} for one in messages]))


def attempt_item(one: Attempt) -> Item:
    """Return an attempt."""
    outcome, steps = one.outcome, one.trajectory["steps"]
    cells = {"kind": "attempt", "result": outcome["status"], "reward": outcome["reward"],
             "model": outcome["model"] or outcome["agent"]}
    return cells, outcome["why"], [
        shown({**outcome, "patch": one.patch}),
        fold(f"Trajectory: {len(steps)} steps", shown(steps))]


def environment_item(one: Environment) -> Item:
    """Return an environment."""
    keys = ("error", "summary", "image_name", "seconds", "install_script", "test_script")
    cells = {"kind": "environment", "result": one.status, "repo": one.repo}
    return cells, one.error or one.summary, [shown({key: getattr(one, key) for key in keys})]


def task_item(root: Path, path: Path, task: RivalledTask, is_in_review: bool) -> Item:
    """Return a task, or a terminal task that is not approved."""
    cells, checks, audit = {}, {}, known_in(root, TaskAudit, task.instance_id)
    if task.kind == DATAPOINT or is_in_review:
        task = read_datapoint(path)   # also checks its parts
        labels, found = labels_of(task), known_checks(root, task)
        is_edited = labels.status == APPROVED and not is_as_proven(task)
        cells = {"result": EDITED if is_edited else labels.status.replace("_", " "),
                 "language": ", ".join(labels.languages), "checks": "not validated"}
        checks = {one["name"]: {**one, "result": one["status"]}
                  for one in (found.checks if found else ())}
    if audit and audit.content == audited_digest(task):   # the task has not changed since
        checks |= {one["name"]: one for one in audit.checks}
    if checks:
        cells["checks"] = min(map(_result, checks.values()), key=AUDIT_RESULTS.index)
    fault = next(part_faults(task), None)
    files = _files(task)
    cells = {"kind": NOUNS.get(task.kind, task.kind.replace("_", " ")),
             "result": fault.reason if fault else "ready",
             **{key: task.about.get(key) for key in ("repo", "language")}, **cells}
    first = {"instruction": task.instruction, "gold": files.pop(f"solution/{GOLD}", ""),
             "FAIL_TO_PASS": verifier_config(task).get("FAIL_TO_PASS")}
    return cells, task.instruction or "", [
        shown({**first, "checks": [*checks.values()]}), fold("Files", shown(files))]


def _result(check: Object) -> str:
    """Return the result of a check; an unknown one counts as not checked."""
    return check["result"] if check["result"] in AUDIT_RESULTS else UNFINISHED


def _files(task: RivalledTask) -> dict[str, str]:
    """Return the texts in a task's folder by path; from its environment, only the Dockerfile. Raise
    BrokenRecord if a file cannot be read."""
    files = {f"{place}/{path}": file for place in ("environment", "solution", "tests", "rivals")
             for path, file in (getattr(task, place) or {}).items()
             if place != "environment" or path == DOCKERFILE}
    return {path: content_of(file).decode(errors="replace")
            for path, file in [*files.items()][:MAX_FILES]}
