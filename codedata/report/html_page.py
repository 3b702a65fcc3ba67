"""Build report.html, the page of a duel: outcome, panel, costs, a row per turn, some turns in full.

codedata/page/ assembles the HTML file; report.js and report.css beside this file lay it out. A
section without data is left out.

The table has every turn. Histories, answers and raw replies are included for up to `max_details`
turns, spread evenly over the buckets and within each, up to DETAIL_BYTES in total; for the others
the page names their files.
"""
from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict

from codedata.conversation.turn import plain, turn_text
from codedata.disk.store import Store
from codedata.duel.executed import Executions
from codedata.duel.judge_stats import doubts
from codedata.duel.panel import SIDES
from codedata.errors import BrokenRecord
from codedata.llm.embedded import NOISE
from codedata.page import charts
from codedata.page.builder import build, pack, shortened
from codedata.records import METRICS, Answer, Duel, JudgeVerdict, Score
from codedata.report.buckets import score_ranges
from codedata.report.content import ReportContent
from codedata.report.turn_rows import TurnRow
from codedata.report.verdict_codes import CODES, OF_VALUE
from codedata.settings import EMBEDDED_MODEL, ReportSettings
from codedata.texts import text_of

MAX_DETAILS = 1000           # turns in full
DETAIL_BYTES = 20_000_000    # size limit of the turns in full
# limit for all commands in the table; what is cut of them is not searched
SEARCHED_CHARS = 8_000_000
MAX_COMMAND_CHARS = 1000
MAX_PATCH_CHARS = 20_000     # length limit in characters
LABEL_CHARS = 120            # length limit for the name of a repository, language or instance
BIN = 5                      # width in points of a column in the distribution of scores
COLUMNS = {   # of the table; in pairs the rival is first
    "name": lambda row: row.name, "instance": lambda row: _label(row.instance_id),
    "repo": lambda row: _label(row.repo), "language": lambda row: _label(row.language),
    "bucket": lambda row: row.bucket, "rival": lambda row: row.styles[0],
    "challenger": lambda row: row.styles[1], "score": lambda row: _rounded(row.score, 2),
    "metrics": lambda row: [_rounded(row.metrics.get(metric), 1) for metric in METRICS],
    "verdicts": lambda row: "".join(row.verdicts), "chars": lambda row: row.chars,
    "edited": lambda row: row.is_edited, "repeats": lambda row: row.repeats,
    "files": lambda row: [path.rpartition("/")[0] for path in row.files],
    "leaks": lambda row: row.leaks, "injections": lambda row: row.injections}


def html(content: ReportContent, settings: ReportSettings,
         read: Callable[[str], tuple[Answer, Score]], commits: Store | None = None,
         executions: Executions | None = None, max_details: int = MAX_DETAILS) -> bytes:
    """Return the page as HTML.

    `read(name)` returns the records of a turn; it is called only for turns shown in full. `commits`
    is the store of the pull requests, `executions` has what candidates did when they were run.
    """
    duel, rows = content.duel, content.rows
    panel = list(duel.judges)
    # each command is cut to an equal share
    searched_chars = min(MAX_COMMAND_CHARS, SEARCHED_CHARS // (2 * max(len(rows), 1)))
    details = _details(rows, duel.mode, read, max_details, commits, executions)
    notes = [("Trials of the judges", content.trials), *content.sections]
    sizes = Counter(row.bucket for row in rows)
    buckets = [{"name": name, "scores": scores, "turns": sizes[name]}
               for name, scores in score_ranges(settings).items()]
    data = {
        "rival": duel.mode, "metrics": METRICS, "panel": panel, "duel": duel.raw,
        "note": settings.note, "is_outdated": content.is_outdated,
        "doubts": doubts(duel),
        "noise": NOISE if EMBEDDED_MODEL in duel.models else "",
        "buckets": buckets if duel.mode == "king" else [], "counts": content.counts,
        "notes": [note for note in notes if note[1]],
        "costs": [{**asdict(cost), "text": cost.said} for cost in content.costs],
        "panel_note": text_of("codedata.report", "panel.md").replace("*", "").strip(),
        "n_turns": len(rows), "n_details": len(details), "searched_chars": searched_chars}
    return build(f"Challenger against {duel.mode}", data, charts=_charts(duel, rows, panel),
                 script=text_of("codedata.report", "report.js"),
                 style=text_of("codedata.report", "report.css"),
                 blocks={"turns": _table(rows, searched_chars), **details})


# the overview ------------------------------------------------------------------------------------

def _charts(duel: Duel, rows: list[TurnRow], panel: list[str]) -> dict[str, str]:
    drawn = {}
    if scored := [row for row in rows if row.score is not None]:
        judges = {name: Counter("".join(row.verdicts[i] for row in rows))
                  for i, name in enumerate(panel)}
        metrics = {metric: Counter(codes[i] for row in rows for codes in row.verdicts)
                   for i, metric in enumerate(METRICS)}
        drawn["scores"] = charts.columns("How many turns have which score", *_distribution(scored),
                                         every=4)
        drawn["judges"] = _shares("Verdicts of each judge", judges, duel.mode)
        drawn["metrics"] = _shares("Verdicts on each metric", metrics, duel.mode)
    if duel.margin is not None and duel.interval:
        low, high = duel.interval
        title = (f"Margin {duel.margin:.2f}, interval {low:.2f} to {high:.2f}, "
                 f"{duel.win_margin:g} wanted")
        drawn["margin"] = charts.interval(title, duel.margin, low, high,
                                          sorted({0, duel.win_margin}), "challenger")
    return drawn


def _distribution(rows: list[TurnRow]) -> tuple[list[str], list[charts.Series]]:
    starts = range(0, 100, BIN)   # a score of 100 is in the last column
    sizes = Counter((row.bucket, min(int(row.score // BIN) * BIN, starts[-1])) for row in rows)
    buckets = {row.bucket for row in rows}
    return [f"{start}–{start + BIN}" for start in starts], [
        charts.Series(bucket or "turns", bucket or "draw",
                      [sizes[bucket, start] or None for start in starts])
        for bucket in ("defeat", "refined", "final", "") if bucket in buckets]


def _shares(title: str, counts: dict[str, Counter], rival: str) -> str:
    """Return a chart of stacked bars, each 100 % of the verdicts that could be parsed."""
    names = {**CODES, "r": rival, "t": "changes with the order"}
    totals = [sum(count[code] for code in CODES) for count in counts.values()]
    return charts.bars(title, [name.rpartition("/")[2] for name in counts], [
        charts.Series(names[code], colour,
                      [100 * count[code] / total if total else None
                       for count, total in zip(counts.values(), totals, strict=True)])
        for code, colour in CODES.items()], percent=True)


# the turns ---------------------------------------------------------------------------------------

def _table(rows: list[TurnRow], max_chars: int) -> dict[str, list]:
    """Return the rows as columns. Findings are None where a turn was not checked."""
    columns = {name: [value_of(row) for row in rows] for name, value_of in COLUMNS.items()}
    return {**columns, "commands": [[command[:max_chars] for command in row.commands]
                                    for row in rows]}


def _details(rows: list[TurnRow], rival: str, read, max_turns: int,
             commits: Store | None, executions: Executions | None) -> dict[str, bytes]:
    """Return {block id: packed turn} for as many chosen turns as fit into DETAIL_BYTES."""
    blocks = {}
    room = DETAIL_BYTES
    chosen = spread([row.bucket for row in rows], max_turns)
    # the order is random, so that the turns that fit are still spread
    for i in random.Random(0).sample(chosen, len(chosen)):
        if room < DETAIL_BYTES / 100:
            break
        try:
            answer, score = read(rows[i].name)
        except BrokenRecord:   # it was edited after the table was read, so it has no details
            continue
        packed = pack({**_in_full(answer, score, rival), **_hidden(rows[i], commits),
                       "ran": _ran(rows[i].name, answer, rival, executions)})
        if len(packed) <= room:
            blocks[i] = packed
            room -= len(packed)
    return {f"turn-{i}": blocks[i] for i in sorted(blocks)}


def spread(kinds: list[str], n: int) -> list[int]:
    """Return sorted indices of up to `n` items, spread evenly over the kinds and along each."""
    groups: dict[str, list[int]] = {}
    for i, kind in enumerate(kinds):
        groups.setdefault(kind, []).append(i)
    chosen = []
    # small kinds come first, so that larger ones can take the share that they leave
    for k, group in enumerate(sorted(groups.values(), key=len)):
        share = min(len(group), n // (len(groups) - k))
        chosen += [group[len(group) * j // share] for j in range(share)]
        n -= share
    return sorted(chosen)


def _hidden(row: TurnRow, commits: Store | None) -> dict:
    """Return what only the challenger saw: the pull request, and its refused turns."""
    try:
        commit = commits.read(row.instance_id) if commits and row.instance_id in commits else None
    except BrokenRecord:
        commit = None
    request = commit and {key: getattr(commit, key)[:limit] for key, limit in (
        ("description", None), ("patch", MAX_PATCH_CHARS), ("test_patch", MAX_PATCH_CHARS))}
    refused = [{"turn": attempt["turn"], "defence": attempt["defence"],
                "findings": attempt["findings"]}
               for attempt in row.tries() if attempt["findings"]]
    return {"pull_request": request, "tries": refused}


def _in_full(answer: Answer, score: Score, rival: str) -> dict:
    texts = {side: turn_text(getattr(answer, field), answer.messages)
             for side, field in {**SIDES, "challenger": "challenger"}.items()}
    messages = plain(answer.messages, answer.tools)
    return {"messages": [[message["role"], message["content"]] for message in messages],
            "sides": {side: texts.pop(side) for side in (rival, "challenger")},
            "others": {side: text for side, text in texts.items() if text},
            "judges": [_entry(entry) for entry in score.judges]}


def _ran(name: str, answer: Answer, rival: str, executions: Executions | None) -> dict[str, str]:
    """Return what the sides printed and changed when they were run, of those that were."""
    runs = {side: executions and executions.of(name, getattr(answer, field))
            for side, field in ((rival, SIDES[rival]), ("challenger", "challenger"))}
    return {side: run.text() for side, run in runs.items() if run}


def _entry(entry: JudgeVerdict) -> dict:
    """Return a stored verdict for the page.

    A person may have edited it: only judge, order, parse_ok and scores are checked on reading.
    """
    scores = entry["scores"] if entry["parse_ok"] and not entry.get("error") else {}
    usage = entry.get("usage") if isinstance(entry.get("usage"), dict) else {}
    return {"judge": entry["judge"], "order": entry["order"],
            "codes": "".join(OF_VALUE[scores[metric]] for metric in METRICS) if scores else "",
            **{key: str(entry.get(key) or "") for key in ("reason", "raw", "error")},
            "is_cut": bool(entry.get("truncated")),
            **{key: entry.get(key) for key in ("attempt", "seconds")},
            **{key: usage.get(key) for key in ("tokens_in", "tokens_out", "cost_usd")}}


def _label(text: str) -> str:
    return shortened(text, LABEL_CHARS)


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
