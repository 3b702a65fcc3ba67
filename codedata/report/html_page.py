"""Build report.html, the page of a duel: outcome, panel, costs, a row per turn, some turns in full.

codedata/page/ assembles the HTML file; page.js and page.css beside this file lay it out. A section
without data is left out.

The table has every turn. Histories, answers and raw replies are included for up to `detail_turns`
turns, spread evenly over the buckets and within each, up to DETAIL_BYTES in total; for the others
the page names their files.
"""
from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict

from codedata.duel.panel import SIDES
from codedata.errors import BrokenRecord
from codedata.llm.costs import Cost
from codedata.llm.embedded import NOISE
from codedata.page import charts
from codedata.page.builder import build, pack
from codedata.records import METRICS, Answer, Score
from codedata.report.buckets import BUCKETS
from codedata.report.pr_effect import Section
from codedata.report.turn_rows import TurnRow
from codedata.report.verdict_codes import READ, VerdictCode, letter
from codedata.settings import EMBEDDED_MODEL, Settings
from codedata.store import Store
from codedata.texts import text_of

DETAIL_BYTES = 20_000_000    # size limit of the turns in full
# limit for all commands in the table: each is cut to an equal share, and the rest is not searched
SEARCHED_CHARS = 8_000_000
MAX_COMMAND_CHARS = 1000
MAX_PATCH_CHARS = 20_000     # length limit in characters
LABEL_CHARS = 120            # length limit for the name of a repository, language or instance
BIN = 5                      # width in points of a column in the distribution of scores
FINDINGS, PLACES = ("leaks", "injections"), ("start", "end")
SAID = {VerdictCode.CHALLENGER: "challenger", VerdictCode.RIVAL: "{rival}", VerdictCode.DRAW: "draw",
        VerdictCode.TURNED: "changes with the order"}
COLOURS = {VerdictCode.CHALLENGER: "challenger", VerdictCode.RIVAL: "rival", VerdictCode.DRAW: "draw",
           VerdictCode.TURNED: "turned"}


def html(settings: Settings, duel: dict, rows: list[TurnRow], *, read: Callable[[str], tuple[Answer, Score]],
         costs: Iterable[Cost] = (), counts: Iterable[tuple[str, str]] = (),
         notes: Iterable[Section] = (), is_outdated: bool = False, commits: Store | None = None) -> bytes:
    """Return the page as HTML.

    `duel` is the content of _duel.json. `read(name)` returns the records of a turn; it is called
    only for turns shown in full. `notes` are further sections, each (heading, sentences and
    tables). `commits` is the store of the pull requests.
    """
    panel = list(duel["judges"])
    details = _details(rows, duel, read, settings.report.detail_turns, commits)
    is_noise = any(judge["model"] == EMBEDDED_MODEL for judge in duel["judges"].values())
    data = {
        "rival": duel["mode"], "metrics": METRICS, "panel": panel, "duel": duel, "noise": NOISE if is_noise else "",
        "is_outdated": is_outdated, "buckets": _buckets(settings, rows) if duel["mode"] == "king" else [],
        "languages": _languages(rows), "counts": list(counts), "notes": [note for note in notes if note[1]],
        "costs": [{**asdict(cost), "said": cost.said} for cost in costs], "said": _said(rows, panel),
        "panel_note": text_of("codedata.report", "panel.md").replace("*", "").strip(), "n_turns": len(rows),
        "n_details": len(details), "searched_chars": _searched_chars(rows)}
    return build(f"Challenger against {duel['mode']}", data, script=text_of("codedata.report", "report.js"),
                 style=text_of("codedata.report", "report.css"), charts=_charts(duel, rows, panel),
                 blocks={"turns": _table(rows), **details})


# the overview --------------------------------------------------------------------------------------------------------

def _buckets(settings: Settings, rows: list[TurnRow]) -> list[dict]:
    low, high = settings.report.defeat_min, settings.report.final_min
    scores = {"final": f"{high:g} and more", "refined": f"{low:g} up to {high:g}", "defeat": f"below {low:g}"}
    found = Counter(row.bucket for row in rows)
    return [{"name": cls.directory, "scores": scores[cls.directory], "turns": found[cls.directory]} for cls in BUCKETS]


def _languages(rows: list[TurnRow]) -> list[dict]:
    kinds: dict[str, list[TurnRow]] = {}
    for row in rows:
        kinds.setdefault(_label(row.language), []).append(row)
    scores = {name: [row.score for row in of if row.score is not None] for name, of in kinds.items()}
    return [{"name": name, "turns": len(of), "score": sum(scores[name]) / len(scores[name]) if scores[name] else None,
             "final": sum(row.bucket == "final" for row in of)}
            for name, of in sorted(kinds.items(), key=lambda kind: (-len(kind[1]), kind[0]))]


def _said(rows: list[TurnRow], panel: list[str]) -> dict[str, dict[str, Counter]]:
    """Count the letters: {"judges": {judge: {letter: n}}, "metrics": {metric: {letter: n}}}."""
    judges, metrics = {name: Counter() for name in panel}, {metric: Counter() for metric in METRICS}
    for row in rows:
        for name, of_judge in zip(panel, row.verdicts, strict=True):
            judges[name].update(of_judge)
            for metric, said in zip(METRICS, of_judge, strict=True):
                metrics[metric][said] += 1
    return {"judges": judges, "metrics": metrics}


def _charts(duel: dict, rows: list[TurnRow], panel: list[str]) -> dict[str, str]:
    drawn = {}
    if scored := [row for row in rows if row.score is not None]:
        said = _said(rows, panel)
        drawn["scores"] = charts.columns("How many turns have which score", *_distribution(scored), every=4)
        drawn["judges"] = _shares("Verdicts of each judge", said["judges"], duel["mode"])
        drawn["metrics"] = _shares("Verdicts on each metric", said["metrics"], duel["mode"])
    if duel["margin"] is not None and duel["interval"]:
        (low, high), wanted = duel["interval"], duel["win_margin"]
        title = f"Margin {duel['margin']:.2f}, interval {low:.2f} to {high:.2f}, {wanted:g} wanted"
        drawn["margin"] = charts.interval(title, duel["margin"], low, high, sorted({0, wanted}), "challenger")
    return drawn


def _distribution(rows: list[TurnRow]) -> tuple[list[str], list[charts.Series]]:
    firsts = range(0, 100, BIN)   # a score of 100 falls into the last column
    found = Counter((row.bucket, min(int(row.score // BIN) * BIN, firsts[-1])) for row in rows)
    kinds = [kind for kind in ("defeat", "refined", "final", "") if any(bucket == kind for bucket, _ in found)]
    return [f"{first}–{first + BIN}" for first in firsts], [
        charts.Series(kind or "turns", kind or "draw", [found[kind, first] or None for first in firsts])
        for kind in kinds]


def _shares(title: str, said: dict[str, Counter], rival: str) -> str:
    """Return a chart of stacked bars, each 100 % of the verdicts that could be parsed."""
    n_read = [sum(counts[one] for one in READ) for counts in said.values()]
    return charts.bars(title, [name.rpartition("/")[2] for name in said], [
        charts.Series(SAID[one].format(rival=rival), COLOURS[one],
                      [100 * counts[one] / n if n else None for counts, n in zip(said.values(), n_read, strict=True)])
        for one in READ], percent=True)


# the turns -----------------------------------------------------------------------------------------------------------

def _searched_chars(rows: list[TurnRow]) -> int:
    return min(MAX_COMMAND_CHARS, SEARCHED_CHARS // (2 * len(rows)) if rows else MAX_COMMAND_CHARS)


def _table(rows: list[TurnRow]) -> dict:
    """Return the rows as columns {field: list}; a field of few values is indices into these."""
    most = _searched_chars(rows)
    columns = {
        "name": [row.name for row in rows], "instance": [_label(row.instance_id) for row in rows],
        "score": [_rounded(row.score, 2) for row in rows],
        "metrics": [[_rounded(row.metrics.get(metric), 1) for row in rows] for metric in METRICS],
        "verdicts": ["".join(row.verdicts) for row in rows],
        "commands": [[row.commands[side][:most] for row in rows] for side in (0, 1)],
        "chars": [[row.chars[side] for row in rows] for side in (0, 1)],
        "edited": [i for i, row in enumerate(rows) if row.is_edited],
        "repeats": {i: row.repeats for i, row in enumerate(rows) if row.repeats},
        "files": [[path.rpartition("/")[0] for path in row.files] for row in rows]}
    for field, of in {"repo": lambda row: _label(row.repo), "language": lambda row: _label(row.language),
                      "bucket": lambda row: row.bucket, "rival": lambda row: row.styles[0],
                      "challenger": lambda row: row.styles[1]}.items():
        values = sorted({of(row) for row in rows})
        places = {value: i for i, value in enumerate(values)}
        columns[field] = {"values": values, "of": [places[of(row)] for row in rows]}
    for field in FINDINGS:   # None means that the turn was not checked
        found = [getattr(row, field, None) for row in rows]
        if any(one is not None for one in found):
            columns[field] = {i: [{key: said for key, said in finding.items() if key not in PLACES} for finding in one]
                              for i, one in enumerate(found) if one}
    return columns


def _details(rows: list[TurnRow], duel: dict, read, at_most: int, commits: Store | None) -> dict[str, bytes]:
    """Return {block id: packed turn} for as many of the chosen turns as fit into DETAIL_BYTES."""
    blocks, room = {}, DETAIL_BYTES
    chosen = spread([row.bucket for row in rows], at_most)
    # the order is random, so that the turns that fit are still spread
    for i in random.Random(0).sample(chosen, len(chosen)):
        if room < DETAIL_BYTES / 100:
            break
        try:
            answer, score = read(rows[i].name)
        except BrokenRecord:   # it was edited after the table was read, so it has no details
            continue
        packed = pack({**_in_full(answer, score, duel["mode"]), **_hidden(rows[i], commits)})
        if len(packed) <= room:
            blocks[i] = packed
            room -= len(packed)
    return {f"turn-{i}": blocks[i] for i in sorted(blocks)}


def spread(kinds: list[str], n: int) -> list[int]:
    """Return sorted indices of up to `n` items, spread evenly over the kinds and along each."""
    places: dict[str, list[int]] = {}
    for i, kind in enumerate(kinds):
        places.setdefault(kind, []).append(i)
    chosen, left = [], n
    # small kinds come first, so that larger ones can take the share that they leave
    for k, of in enumerate(sorted(places.values(), key=len)):
        share = min(len(of), left // (len(places) - k))
        chosen += [of[len(of) * j // share] for j in range(share)]
        left -= share
    return sorted(chosen)


def _hidden(row: TurnRow, commits: Store | None) -> dict:
    """Return what only the challenger saw: the pull request, and its refused turns."""
    try:
        commit = commits.read(row.instance_id) if commits and row.instance_id in commits else None
    except BrokenRecord:
        commit = None
    request = commit and {"description": commit.description, "patch": commit.patch[:MAX_PATCH_CHARS],
                          "test_patch": commit.test_patch[:MAX_PATCH_CHARS]}
    refused = [{key: one.get(key, "") for key in ("turn", "defence")} | {"findings": one["findings"]}
               for one in row.tries() if one.get("findings")]
    return {"pull_request": request, "tries": refused}


def _in_full(answer: Answer, score: Score, rival: str) -> dict:
    sides = {name: getattr(answer, field) or "" for name, field in {**SIDES, "challenger": "challenger"}.items()}
    return {"messages": [[message["role"], message["content"]] for message in answer.messages],
            "sides": {name: sides.pop(name) for name in (rival, "challenger")},
            "others": {name: text for name, text in sides.items() if text},
            "judges": [_entry(entry) for entry in score.judges]}


def _entry(entry: dict) -> dict:
    """Return a stored verdict for the page.

    A person may have edited it: only judge, order, parse_ok and scores are checked on reading.
    """
    scores = entry["scores"] if entry["parse_ok"] and not entry.get("error") else {}
    usage = entry.get("usage") if isinstance(entry.get("usage"), dict) else {}
    return {"judge": entry["judge"], "order": entry["order"],
            "letters": "".join(letter(scores[metric]) for metric in METRICS) if scores else "",
            **{key: str(entry.get(key) or "") for key in ("reason", "raw", "error")},
            "is_cut": bool(entry.get("truncated")), "attempt": entry.get("attempt"), "seconds": entry.get("seconds"),
            **{key: usage.get(key) for key in ("tokens_in", "tokens_out", "cost_usd")}}


def _label(text: str) -> str:
    return text if len(text) <= LABEL_CHARS else text[:LABEL_CHARS - 1] + "…"


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
