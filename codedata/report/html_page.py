"""Build report.html, the page of a duel: outcome, panel, costs, a row per turn, some turns in full.

codedata/page/ draws it. A section without data is left out. The table has every turn. Histories,
answers and raw replies are included for up to MAX_DETAILS turns, drawn at random, as many as fit
into DETAIL_BYTES; for the others the page names their files.
"""
from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict

from codedata.conversation.turn import plain, turn_text
from codedata.disk.layouts import to_json
from codedata.disk.store import Store, known
from codedata.duel.executed import execution_of
from codedata.duel.panel import SIDES
from codedata.duel.scoring import BOTH, is_parsed
from codedata.errors import BrokenRecord
from codedata.page.blocks import LISTING, Block, box, card, section, table
from codedata.page.builder import build, pack_fitting, shortened
from codedata.records import METRICS, Answer, Duel, JudgeVerdict, Object, Score
from codedata.report.buckets import BestPair, score_ranges
from codedata.report.content import ReportContent, Table, how_judges_judge, judges, points
from codedata.report.turn_rows import TurnRow
from codedata.report.verdict_codes import OF_VALUE, UNREAD
from codedata.settings import ReportSettings
from codedata.terminal import plural
from codedata.texts import text_of, tomllib

MAX_DETAILS = 1000           # turns in full
DETAIL_BYTES = 20_000_000    # size limit of the turns in full
# limit for all commands in the table; what is cut of them is not searched
SEARCHED_CHARS = 8_000_000
MAX_COMMAND_CHARS = 1000
MAX_PULL_CHARS = 20_000      # length limit of each text of a pull request
LABEL_CHARS = 120            # length limit for the name of a repository, language or instance
FIELDS = {**SIDES, "challenger": "challenger"}   # of an Answer, by side
OTHERS = {"reference": "reference: the data set’s own turn"}
LEADS = {
    "king": "The king answered each turn from the conversation alone; the challenger knew the pull "
            "request that solved the task, or is the best of several such answers.",
    "reference": "The challenger, who knew the pull request that solved the task, is put against "
                 "the data set’s own turn."}


def html(content: ReportContent, settings: ReportSettings,
         read: Callable[[str], tuple[Answer, Score]], commits: Store,
         room: int = DETAIL_BYTES) -> bytes:
    """Return the page as HTML.

    `read(name)` returns the records of a turn. `commits` is the store of the pull requests. Turns
    in full get `room` bytes.
    """
    duel, rows = content.duel, content.rows
    # each command is cut to an equal share
    max_chars = min(MAX_COMMAND_CHARS, SEARCHED_CHARS // (2 * max(len(rows), 1)))
    checked = [key for key in ("leaks", "injections")
               if any(row.findings[key] is not None for row in rows)]
    sections = [
        _overview(content, settings), duel.judges and _panel(content),
        checked and section("findings", " and ".join(checked).capitalize(), *(
            {"kind": "counts", "key": key, "title": key} for key in checked)),
        content.costs and section(
            "costs", "Costs and time",
            box("p.lead", "Every call under this root, from the ledgers. The time is that of the "
                          "calls one after the other; they ran many at a time."),
            {"kind": "costs", "costs": [{**asdict(cost), "text": str(cost)}
                                        for cost in content.costs]}),
        section("turns", "Turns", LISTING if rows else "No turn is judged yet.")]
    return build(f"Challenger against {duel.mode}", sections, _table(duel),
                 [turn_row(row, duel, max_chars) for row in rows],
                 pack_fitting(_details(rows, duel, read, commits), room))


# the overview ------------------------------------------------------------------------------------

def verdict(content: ReportContent, settings: ReportSettings) -> list[Block]:
    """Return the outcome of a duel, what its words mean, warnings and the best pairs."""
    duel = content.duel
    asked = plural(len(duel.judges), "judge") + " compared the two answers " + (
        "in both orders" if duel.order == BOTH else "once")
    return [
        box("p.outcome.good" if duel.accepted else "p.outcome.bad", content.outcome),
        content.made and box("p", {"kind": "linked", "text": content.made}),
        box("p.lead", f"{LEADS[duel.mode]} {asked}, not knowing whose is which. A score is the "
            "challenger’s: 100, it won everything; 50, a draw. Buckets go by score: a turn that "
            "the challenger won, but not clearly, is in defeat, too."),
        settings.note and box("p.notice", settings.note),
        *(box("p.notice", warning) for warning in content.warnings),
        content.pairs and box("h3", "The best pairs"), *map(_pair, content.pairs)]


def _overview(content: ReportContent, settings: ReportSettings) -> Block:
    duel = content.duel
    *counted, (kinds, none) = content.counts
    is_king, in_points = duel.mode == "king", points(duel)
    return section(
        "overview", "Overview", *verdict(content, settings),
        box("div.cards",
            box("div.stack",
                in_points and box("div.card", table("Points", *in_points),
                                  {"kind": "interval", "duel": duel.raw}),
                card("Which turns count", table("Which turns count", ["", "turns"], [*counted, [
                    box("details.quiet", box("summary", "each of the others"), kinds), none]],
                    "lr"))),
            box("div.stack", card(
                "Buckets" if is_king else "Scores",
                is_king and {"kind": "buckets", "ranges": score_ranges(settings)},
                {"kind": "scores"}))))


def _pair(pair: BestPair) -> Block:
    """Return a pair with its answers beside each other, and why."""
    return box("div.card.pair", box("h3", {"kind": "row", "id": pair.name}),
               {"kind": "texts", "texts": [["task", pair.task]]}, box("p", pair.why),
               {"kind": "sides", "sides": [["king", pair.king], ["challenger", pair.challenger]]})


def _panel(content: ReportContent) -> Block:
    """Return the section on the judges, and what else the report says."""
    duel = content.duel
    turned = (" A verdict that changes with the order in which the answers are shown counts as a "
              "draw.")
    notes = [("How the judges judge", how_judges_judge(duel)),
             ("Trials of the judges", content.trials), *content.sections]
    return section(
        "panel", "Panel",
        box("p.lead", "The challenger’s scores by judge; 50 is a draw.",
            duel.order == BOTH and turned),
        _note("Judges", judges(duel)),
        content.rows and box("div.cards", *(
            box("div.card", {"kind": "shares", "by": by, "title": title}) for by, title in (
                ("judges", "Verdicts of each judge"), ("metrics", "Verdicts on each metric")))),
        *([box("h3", heading), *(_note(heading, item) for item in items)]
          for heading, items in notes if items))


def _note(heading: str, item: str | Table) -> Block:
    """Return a sentence or a table of the report."""
    return {"kind": "text", "text": item} if isinstance(item, str) else table(heading, *item)


# the turns ---------------------------------------------------------------------------------------

def _table(duel: Duel) -> dict:
    """Return the columns and filters of the table."""
    table = tomllib.loads(text_of(__package__, "html_page.toml").replace("RIVAL", duel.mode))
    table["columns"] += [{"key": metric, "kind": "points", "title": f"{metric[:4]}.",
                          "room": "middle", "hint": metric, "place": "table"}
                         for metric in METRICS]
    grid = grid_of(duel)
    *verdicts, unread = [[letter, name] for letter, (_, name) in grid["letters"].items()]
    options = {"verdict": [*verdicts, ["split", "for both sides"], unread],
               "judge": [[name, name.rpartition("/")[2]] for name in duel.judges],
               "metric": [[name] * 2 for name in METRICS]}
    for one in table["filters"]:
        if one["key"] in options:
            one["options"] = options[one["key"]]
    if duel.mode != "king":
        del table["filters"][0]   # there are no buckets
    return {**table, "grid": grid}


def grid_of(duel: Duel) -> Object:
    """Return the judges, the metrics and the letters of verdict_codes() with colour and meaning."""
    turned = {"t": ("violet", "changes with the order")} if duel.order == BOTH else {}
    return {"judges": [*duel.judges], "metrics": METRICS, "letters": {
        "c": ("blue", "challenger"), "r": ("amber", duel.mode), "d": ("grey", "draw"), **turned,
        UNREAD: ("unread", "not read")}}


def turn_row(row: TurnRow, duel: Duel, max_chars: int) -> dict:
    """Return a turn as a row of the table."""
    rival, challenger = row.styles
    commands = [command[:max_chars] for command in row.commands]
    return {
        "id": row.name, "second": commands[1], "bucket": row.label,
        "instance": shortened(row.instance_id, LABEL_CHARS),
        **{key: shortened(getattr(row, key), LABEL_CHARS) for key in ("repo", "language")},
        "score": _rounded(row.score, 2), "step": f"{rival} → {challenger}", "rival": rival,
        "challenger": challenger, "verdicts": "".join(row.verdicts),
        "found": sum(len(found or ()) for found in row.findings.values()) or None,
        "edited": "edited" if row.is_edited else "as judged", "repeats": row.repeats,
        **{key: [str(one["kind"] or "other") for one in found or ()]
           for key, found in row.findings.items()},
        **{metric: _rounded(row.metrics.get(metric), 1) for metric in METRICS},
        "files": row.files,
        "short": [
            *_facts(row, duel),
            {"kind": "verdicts", "scores": _scores(row), "rows": [
                [name.rpartition("/")[2], "counts as", codes, codes]
                for name, codes in zip(duel.judges, row.verdicts, strict=False)]},
            {"kind": "sides", "title": "Commands", "isCode": True, "sides": [
                [side, command or "(none)"]
                for side, command in zip((duel.mode, "challenger"), commands, strict=True)]},
            max_chars in map(len, commands) and f"The first {max_chars:,} characters."]}


def _facts(row: TurnRow, duel: Duel) -> list[Block]:
    """Return both steps, one below the other, and the findings."""
    steps = [[side, style, n, "repeats or stalls" if side in row.repeats else ""]
             for side, style, n in zip((duel.mode, "challenger"), row.styles, row.chars,
                                       strict=True)]
    return [table("Steps", ["", "step", "characters", ""], steps, "llrl"),
            *({"kind": "findings", "title": key.capitalize(), "findings": found}
              for key, found in row.findings.items() if found)]


def _scores(row: TurnRow) -> list[float | None] | None:
    if row.score is None:
        return None
    return [_rounded(row.metrics.get(metric), 1) for metric in METRICS]


def _details(rows: list[TurnRow], duel: Duel, read, commits: Store
             ) -> Iterator[tuple[int, Block]]:
    """Yield (place, details) of turns in a random order, so that those that fit are of all kinds.
    """
    for i, row in random.Random(0).sample([*enumerate(rows)], min(len(rows), MAX_DETAILS)):
        with suppress(BrokenRecord):   # it was edited after the table was read: no details
            yield i, turn_details(row, *read(row.name), duel, commits)


def turn_details(row: TurnRow, answer: Answer, score: Score, duel: Duel, commits: Store
                 ) -> list[Block]:
    """Return what is shown of a turn that the page has in full."""
    rival = duel.mode
    texts = {side: turn_text(getattr(answer, field), answer.messages)
             for side, field in FIELDS.items()}
    ran = dict.fromkeys((rival, "challenger"))
    with suppress(BrokenRecord):   # it was edited after the table was read
        ran = {side: execution_of(commits.root, row.name, getattr(answer, FIELDS[side]))
               for side in ran}
    tries = [{key: attempt[key] for key in ("turn", "defence", "findings")}
             for attempt in row.leaks.tries() if attempt["findings"]]
    entries = [_entry(entry) for entry in score.judges]
    messages = plain(answer.messages, answer.tools)
    history = [[one["role"], one["content"], one["role"] != "assistant", one is messages[-1]]
               for one in messages]
    return [
        *_facts(row, duel),
        {"kind": "sides", "title": "Answers", "sides": [[side, texts.pop(side)] for side in ran]},
        {"kind": "texts", "texts": [
            *([OTHERS.get(side, side), text, False] for side, text in texts.items() if text),
            *([["how it was chosen", to_json(answer.choice).decode(), True]]
              if answer.choice else []),
            *_hidden(row, commits)]},
        any(ran.values()) and {
            "kind": "sides", "title": "When they were run", "isCode": True,
            "sides": [[side, run.text() if run else "(not run)"] for side, run in ran.items()]},
        tries and {"kind": "refused", "tries": tries},
        {"kind": "verdicts", "scores": _scores(row), "rows": [
            [name.rpartition("/")[2] if not k else "", order, codes, counting]
            for name, counting in zip(duel.judges, row.verdicts, strict=False)
            for k, (order, codes) in enumerate([
                (entry["order"].replace("_", " "), entry["codes"])
                for entry in entries if entry["judge"] == name] or [("–", "")])]},
        {"kind": "replies", "replies": entries},
        {"kind": "texts", "title": f"History, {plural(len(messages), 'message')}",
         "texts": history}]


def _hidden(row: TurnRow, commits: Store) -> list[Block]:
    """Return the texts of the pull request, which only the challenger saw."""
    commit = known(commits, row.instance_id)
    return [[f"pull request: {key.replace('_', ' ')}", text[:MAX_PULL_CHARS], True]
            for key in ("description", "patch", "test_patch")
            if (text := getattr(commit, key, ""))]


def _entry(entry: JudgeVerdict) -> dict:
    """Return a stored verdict with the letters of its scores."""
    scores = entry["scores"] if is_parsed(entry) else {}
    return {**entry, "codes": "".join(OF_VALUE[scores[one]] for one in METRICS) if scores else ""}


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
