"""Make the README.md of an export: the YAML head for the Hub, and card.md and formats.md filled in.

A card is derived only from the directories and has no date, so the same export always has the same
card.
"""
from __future__ import annotations

import json
import re
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence

from codedata.export.collect import masked_in
from codedata.export.exports import TRAIN, Export, sections
from codedata.export.formats import (
    ANSWERS,
    BOOLEAN,
    INTEGER,
    JSON,
    JSON_LIST,
    NUMBER,
    TEXT,
    ExportRow,
    Format,
)
from codedata.export.provenance import public
from codedata.llm.embedded import NOISE
from codedata.records import Duel
from codedata.terminal import plural, table
from codedata.texts import as_markdown

SIZES = {1_000: "n<1K", 10_000: "1K<n<10K", 100_000: "10K<n<100K", 1_000_000: "100K<n<1M"}
CHARS_A_TOKEN = 3         # a low estimate for code and logs: most tokenizers need fewer tokens
TOKENS = 1024             # token counts are rounded up to a multiple of this
DTYPES = {TEXT: "string", NUMBER: "float64", INTEGER: "int64", BOOLEAN: "bool",
          JSON: "json"}   # SQL type → data type
BLOCK = "thought and one bash command"   # the form of an answer
CALL = "thought and {} of a tool, or one bash command where the agent has no tools"
SQL_FIELD = re.compile(r'(\w+)"? (\w+)')   # matches (name, type) in a STRUCT


def card_values(export: Export) -> dict:
    """Return the values for card.md, and for the text of a format in formats.md."""
    form, rows, origins = export.form, export.rows, export.origins
    duel = origins.duel
    turns = [*dict.fromkeys(row.turn for row in rows)]
    languages = _most_common(as_markdown(turn.language) for turn in turns)
    licences = _most_common(as_markdown(turn.licence) for turn in turns)
    labels = Counter(row.label for row in rows if row.label)
    n_calls = "one or more calls" if any(turn.has_several for turn in turns) else "one call"
    n_cut, licence = origins.provenance.cut(turns), origins.settings.licence
    values = {
        "settings": origins.settings, "buckets": origins.buckets, "duel": duel, "noise": NOISE,
        **_lengths(rows), "licence": json.dumps(licence),
        "labels": ", ".join(f"{label} {labels[label]:,}"
                            for label in sorted(labels, reverse=True)) or "none",
        "turn": CALL.format(n_calls) if form.has_calls else BLOCK, "rows": _rows(export),
        "languages": _cells(languages), "licences": _cells(licences), "columns": _columns(form),
        "by_licence": ", ".join(f"{name} ({n:,})" for name, n in licences) or "none",
        "sources": listed(origins.provenance.sources(turns)),
        "king": listed(origins.provenance.models(turns, "king")), "configs": _configs(export),
        "n_cut": plural(n_cut, "turn"), "judges": "", "checks": _checks(export),
        "tags": f"\n- trl\n- {form.name.partition('_')[0]}" if form.for_trainers else "",
        "licence_name": "license_name: by-row\n" if licence == "other" else "",
        "size": next((size for limit, size in SIZES.items() if len(rows) < limit), "1M<n<10M"),
        "streaming": "" if rows else ", streaming=True"}
    if duel:
        values |= {"n_turns": plural(duel.turns, "turn"), "judges": _judges(duel),
                   "reasons": "; ".join(map(as_markdown, duel.reasons))}
    by_fact = origins.provenance.by_fact(turns)
    order = "order_both" if duel and duel.order == "both" else "order_king_first"

    def fill(name: str) -> str:
        """Return a text of formats.md filled in; one about a fact counts the turns with it."""
        some = by_fact.get(name.partition("_")[0], turns)
        models = listed(origins.provenance.models(some, "challenger"))
        return sections()[name][1].format_map(
            {**values, "n": plural(len(some), "turn"), "models": models})

    calls = f"calls_{form.name}"
    return values | {
        "calls": f"\n\n{fill(calls if calls in sections() else 'calls')}" if form.has_calls else "",
        "length": fill("lengths_cut" if form.for_trainers else "lengths"),
        "warnings": "".join(f"> **{fill(name)}**\n\n" for name in _warnings(export)),
        "order": fill(order) if duel else "",
        "facts": " ".join(fill(fact) for fact in by_fact) or "it has none.",
        "limits": "".join(f"{fill(name)}\n" for fact in by_fact
                          if (name := f"{fact}_limit") in sections()),
        "outcome": " ".join(map(fill, _outcome(duel))),
        "cut": f"{fill('cut')}\n" if n_cut else "",
        "set_licence": "" if licence == "other" else f"{fill('one_licence')} "}


# the YAML head

def _configs(export: Export) -> str:
    """Return the entries on files and columns as JSON, which is valid YAML."""
    form = export.form
    sizes = {split: (export.new / f"{split}.jsonl").stat().st_size
             for split, n in export.n_rows.items() if n}
    in_parquet = form.for_trainers or not sizes
    pattern = "data/{}-*.parquet" if in_parquet else "{}.jsonl"
    files = export.new.rglob("*.parquet" if form.for_trainers else "*.jsonl")
    sizes = sizes or {TRAIN: 0}   # an empty Parquet file with the columns
    configs = {"config_name": form.name, "data_files": [
        {"split": split, "path": pattern.format(split)} for split in sizes]}
    contents = {
        "config_name": form.name,
        "features": [_feature(*column) for column in form.columns.items()],
        "splits": [{"name": split, "num_bytes": size, "num_examples": export.n_rows[split]}
                   for split, size in sizes.items()],
        "download_size": sum(path.stat().st_size for path in files),
        "dataset_size": sum(sizes.values())}
    return f"configs: {json.dumps([configs])}\ndataset_info: {json.dumps([contents])}\n"


def _feature(name: str, kind: str) -> dict:
    """Return the description of a column."""
    if kind in DTYPES:
        return {"name": name, "dtype": DTYPES[kind]}
    if kind == JSON_LIST:
        return {"name": name, "list": "json"}
    return {"name": name, "list" if kind.endswith("[]") else "struct": [
        _feature(*field) for field in SQL_FIELD.findall(kind)]}


# the parts of the text

def _warnings(export: Export) -> list[str]:
    """Return the names of the warnings that the card begins with."""
    if export.form.whole:
        return [] if export.rows else ["empty"]
    duel = export.origins.duel
    is_noise = export.origins.is_noise([row.turn for row in export.rows])
    warnings = {"noise": is_noise, "undecided": duel is None,
                "rejected": duel and not duel.accepted, "empty": not export.rows}
    return [name for name, holds in warnings.items() if holds]


def _outcome(duel: Duel | None) -> list[str]:
    """Return the names of the sentences on the duel."""
    if duel is None:
        return ["outcome_unknown"]
    numbers = [] if duel.margin is None else ["numbers"]
    return [*numbers, "outcome_accepted" if duel.accepted else "outcome_rejected"]


def _rows(export: Export) -> str:
    cells = []
    for split, n in export.n_rows.items():
        turns = {row.turn for row in export.of_split(split)}
        cells.append([split, n, len(turns), len({turn.repo for turn in turns}),
                      len({turn.instance_id for turn in turns})])
    return _cells(cells)


def _lengths(rows: Sequence[ExportRow]) -> dict:
    """Return the lengths of rows in characters (the longest also in tokens), and the mean lengths
    of answers."""
    lengths = sorted(row.n_chars["row"] for row in rows) or [0]
    means = {}
    for column in ANSWERS:
        answers = [row.n_chars[column] for row in rows if column in row.n_chars]
        means[column] = f"{statistics.fmean(answers):,.0f}" if answers else "no"
    return {"longest": lengths[-1], "median": statistics.median_low(lengths),
            "chars": CHARS_A_TOKEN,
            "long": lengths[len(lengths) * 95 // 100],
            "tokens": -(-lengths[-1] // CHARS_A_TOKEN // TOKENS) * TOKENS or TOKENS, **means}


def _columns(form: Format) -> str:
    names = ["columns", "columns_calls"] if form.has_calls else ["columns"]
    names += ["columns_whole"] if form.whole else []
    names += [f"columns_{form.name}"]
    texts = [sections()[name][1] for name in names if name in sections()]
    lines = {line.split("`")[1]: line for text in texts for line in text.splitlines()}
    return "\n".join(lines[name] for name in form.columns)


def _judges(duel: Duel) -> str:
    statistics_by_judge = (duel.panel or {}).get("judges", {})
    rows = []
    for name, judge in duel.judges.items():
        shares = statistics_by_judge.get(name, {})
        score = "-" if judge.score is None else f"{judge.score:.1f}"
        rows.append([as_markdown(public(name)), score, _percent(judge.parse_rate), *(
            _percent((shares.get(key) or {}).get("value"))
            for key in ("changes_with_order", "prefers_first"))])
    return _cells(rows)


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"


def _checks(export: Export) -> str:
    origins = export.origins
    settings, reasons = origins.settings, origins.turns.left_out.counts("", export.form.name)
    similarity = settings.duplicate_similarity
    benchmarks = ", ".join(f"`{public(name)}`" for name in settings.decontaminate)
    checks = {
        "near-duplicate": "near-duplicates" + (
            f" (Jaccard from {similarity:g})" if similarity else ": not looked for"),
        "in a benchmark": f"benchmarks: {benchmarks or 'not looked for'}",
        "licence": f"licences: {', '.join(map(as_markdown, settings.licences)) or 'all'}"}
    rows = [[check, f"{reasons.pop(reason, 0):,} left out"] for reason, check in checks.items()]
    noun = "trajectories" if export.form.whole else "turns"
    rows += [[f"{noun} left out: {reason}", n] for reason, n in sorted(reasons.items())]
    in_rows = masked_in({row.turn for row in export.rows})
    masked = [[f"masked: {kind}", n] for kind, n in sorted(in_rows.items())]
    return _cells(rows + (masked or [["masked", "nothing"]]))


def listed(names: Iterable[str], noun: str = "turn") -> str:
    """Return "m-1 (3 turns), m-2 (1 turn)", the most frequent first."""
    return ", ".join(f"{as_markdown(name)} ({plural(n, noun)})"
                     for name, n in _most_common(names)) or "nobody"


def _most_common(names: Iterable[str]) -> list[tuple[str, int]]:
    return Counter(sorted(names)).most_common()   # equal counts are sorted by name


def _cells(rows) -> str:
    """Return the lines of a table below its head, each after a line break."""
    texts = [[f"{cell:,}" if isinstance(cell, int) else cell for cell in row] for row in rows]
    return table([], texts, "").removeprefix("|  |\n||")
