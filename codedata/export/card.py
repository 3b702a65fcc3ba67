"""Make the README.md of an export: the YAML head for the Hub, card.md and formats.md filled in.

A card follows from the directories alone and has no date, so the same export always has the same
card.
"""
from __future__ import annotations

import json
import re
import statistics
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import codedata
from codedata.export.collect import SIDES, ExportTurn, ExportTurns
from codedata.export.formats import BOOLEAN, JSON, JSON_LIST, NUMBER, TEXT, Format, length
from codedata.export.provenance import Provenance, public
from codedata.export.split import SPLITS, TRAIN, splits
from codedata.llm.embedded import NOISE
from codedata.records import POINTS, Duel
from codedata.settings import EMBEDDED_MODEL, ExportSettings, ReportSettings
from codedata.terminal import plural, table
from codedata.texts import as_markdown, terminal_safe, text_of

SIZES = {1_000: "n<1K", 10_000: "1K<n<10K", 100_000: "10K<n<100K", 1_000_000: "100K<n<1M"}
CHARS_A_TOKEN = 3         # for code and logs; few tokenizers need more tokens
TOKENS = 1024             # token counts are rounded up to a multiple of this
DTYPES = {TEXT: "string", NUMBER: "float64", BOOLEAN: "bool", JSON: "json"}   # SQL type → data type
BLOCK = "thought and one bash command"   # what an answer consists of
CALL = "thought and one call of a tool, or one bash command where the agent has no tools"
SQL_FIELD = re.compile(r'(\w+)"? (\w+)')   # (name, type) in a STRUCT


@dataclass
class Background:
    """Hold what all cards of a run have in common."""

    directory: Path           # export/
    settings: ExportSettings
    buckets: ReportSettings
    duel: Duel | None
    origins: Provenance
    turns: ExportTurns

    def masked(self) -> Counter:
        """Return the number of masked secrets by kind."""
        return sum((Counter(turn.masked) for turn in self.turns.turns), Counter())

    def is_noise(self, turns: Iterable[ExportTurn]) -> bool:
        """Return whether the embedded model judged the duel or made an answer of these turns."""
        judges = self.duel.models if self.duel else set()
        return EMBEDDED_MODEL in judges.union(*(self.origins.models(turns, side)
                                                for side in SIDES))


class Contents:
    """Count the contents of one format."""

    def __init__(self, form: Format, about: Background):
        self.form, self.about = form, about
        settings, pieces = about.settings, form.pieces(about.turns.turns)
        self.split_of = splits((turn.repo for turn, _ in pieces), settings.validation,
                               settings.seed)
        self.rows = dict.fromkeys(SPLITS, 0)      # by split
        self.n_bytes = dict.fromkeys(SPLITS, 0)   # by split
        self.n_file_bytes = 0
        self.rows_of: Counter[ExportTurn] = Counter()
        self.lengths: list[int] = []              # of rows, in characters
        self.answer_lengths = {"chosen": [], "rejected": []}   # in characters
        self.labels = Counter()

    def count(self, turn: ExportTurn, row: dict) -> None:
        """Add a row of a turn."""
        self.rows[self.split_of[turn.repo]] += 1
        self.rows_of[turn] += 1
        conversations = self.form.conversations(row) or [row["messages"]]
        self.lengths.append(max(sum(map(length, messages)) for messages in conversations))
        for column in self.answer_lengths.keys() & row.keys():
            self.answer_lengths[column].append(length(row[column][0]))
        if "label" in row:
            self.labels[json.dumps(row["label"])] += 1


def card(of: Contents) -> str:
    """Return the text of README.md for one format.

    The templates pick what they show, and how many digits of it, from these values.
    """
    form, about = of.form, of.about
    settings, duel, origins = about.settings, about.duel, about.origins
    turns, n_rows = of.rows_of, sum(of.rows.values())
    languages = _most_common(as_markdown(turn.language) for turn in turns)
    licences = _most_common(as_markdown(turn.licence) for turn in turns)
    values = {
        "settings": settings, "buckets": about.buckets, "duel": duel, "noise": NOISE,
        "title": _texts()[form.name][0], "version": codedata.__version__, **_lengths(of),
        "licence": json.dumps(settings.licence),
        "labels": ", ".join(f"{label} {of.labels[label]:,}"
                            for label in sorted(of.labels, reverse=True)) or "none",
        "turn": CALL if form.has_calls else BLOCK, "rows": _rows(of),
        "languages": _cells(languages), "licences": _cells(licences), "columns": _columns(form),
        "by_licence": ", ".join(f"{name} ({n:,})" for name, n in licences) or "none",
        "sources": listed(origins.sources(turns)),
        **{side: listed(origins.models(turns, side)) for side in SIDES},
        "n_turns": plural(duel.turns, "turn") if duel else "",
        "lcb": POINTS * duel.lcb if duel and duel.lcb is not None else None,
        "reasons": "; ".join(map(as_markdown, duel.reasons)) if duel else "",
        "n_cut": plural(origins.cut(turns), "turn"),
        "judges": _judges(duel), "checks": _checks(of), "configs": _configs(of),
        "tags": f"\n- trl\n- {form.name.partition('_')[0]}" if form.for_trainers else "",
        "licence_name": "license_name: by-row\n" if settings.licence == "other" else "",
        "size": next((size for limit, size in SIZES.items() if n_rows < limit), "1M<n<10M"),
        "streaming": "" if n_rows else ", streaming=True"}

    def fill(name: str, form: str = "{}") -> str:
        """Return a text of formats.md filled in, within `form`; "" for no name."""
        return name and form.format(_texts()[name][1].format_map(values))

    values |= {
        "about": fill(form.name) + fill("calls" if form.has_calls else "", "\n\n{}"),
        "length": fill("lengths_cut" if form.for_trainers else "lengths"),
        "warnings": "".join(fill(name, "> **{}**\n\n") for name in _warnings(of)),
        "order": fill("order_king_first" if duel and duel.order != "both" else "order_both"),
        "outcome": " ".join(map(fill, _outcome(duel))),
        "cut": fill("cut" if origins.cut(turns) else "", "{}\n"),
        "set_licence": fill("" if settings.licence == "other" else "one_licence", "{} ")}
    return terminal_safe(text_of("codedata.export", "card.md").format_map(values))


# the YAML head

def _configs(of: Contents) -> str:
    """Return the entries on files and columns as JSON, which is valid YAML."""
    filled = [split for split in SPLITS if of.rows[split]]
    pattern = "data/{}-*.parquet" if of.form.for_trainers or not filled else "{}.jsonl"
    filled = filled or [TRAIN]   # an empty Parquet file with the columns
    configs = {"config_name": of.form.name, "data_files": [
        {"split": split, "path": pattern.format(split)} for split in filled]}
    contents = {
        "config_name": of.form.name,
        "features": [_feature(*column) for column in of.form.columns.items()],
        "splits": [{"name": split, "num_bytes": of.n_bytes[split], "num_examples": of.rows[split]}
                   for split in filled],
        "download_size": of.n_file_bytes, "dataset_size": sum(of.n_bytes.values())}
    return f"configs: {json.dumps([configs])}\ndataset_info: {json.dumps([contents])}\n"


def _feature(name: str, kind: str) -> dict:
    """Return the description of a column."""
    if kind in DTYPES:
        return {"name": name, "dtype": DTYPES[kind]}
    if kind == JSON_LIST:
        return {"name": name, "list": "json"}
    container = "list" if kind.endswith("[]") else "struct"
    return {"name": name, container: [_feature(*field) for field in SQL_FIELD.findall(kind)]}


# the parts of the text

def _warnings(of: Contents) -> list[str]:
    """Return the names of the warnings that the card begins with."""
    duel = of.about.duel
    warnings = {"noise": of.about.is_noise(of.rows_of), "undecided": duel is None,
                "rejected": duel and not duel.accepted, "empty": not sum(of.rows.values())}
    return [name for name, holds in warnings.items() if holds]


def _outcome(duel: Duel | None) -> list[str]:
    """Return the names of the sentences on the duel."""
    if duel is None:
        return ["outcome_unknown"]
    numbers = [] if duel.margin is None else ["numbers"]
    return [*numbers, "outcome_accepted" if duel.accepted else "outcome_rejected"]


def _rows(of: Contents) -> str:
    rows = []
    for split in SPLITS:
        turns = [turn for turn in of.rows_of if of.split_of[turn.repo] == split]
        rows.append([split, of.rows[split], len(turns), len({turn.repo for turn in turns}),
                     len({turn.instance_id for turn in turns})])
    return _cells(rows)


def _lengths(of: Contents) -> dict:
    """Return row lengths in characters, in tokens for the longest row, and means of the answers."""
    lengths = sorted(of.lengths) or [0]
    means = {column: f"{statistics.fmean(answers):,.0f}" if answers else "no"
             for column, answers in of.answer_lengths.items()}
    return {"longest": lengths[-1], "median": statistics.median_low(lengths),
            "chars": CHARS_A_TOKEN,
            "long": lengths[len(lengths) * 95 // 100],
            "tokens": -(-lengths[-1] // CHARS_A_TOKEN // TOKENS) * TOKENS or TOKENS, **means}


def _columns(form: Format) -> str:
    names = ["columns", "columns_calls"] if form.has_calls else ["columns"]
    lines = {line.split("`")[1]: line for name in names for line in _texts()[name][1].splitlines()}
    return "\n".join(lines[name] for name in form.columns)


def _judges(duel: Duel | None) -> str:
    statistics_by_judge = (duel.panel or {}).get("judges", {}) if duel else {}
    rows = []
    for name, judge in (duel.judges if duel else {}).items():
        shares = statistics_by_judge.get(name, {})
        score = "-" if judge.score is None else f"{judge.score:.1f}"
        rows.append([as_markdown(public(name)), score, _percent(judge.parse_rate), *(
            _percent((shares.get(key) or {}).get("value"))
            for key in ("changes_with_order", "prefers_first"))])
    return _cells(rows)


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"


def _checks(of: Contents) -> str:
    settings = of.about.settings
    reasons = of.about.turns.left_out.counts(of.form.name)
    similarity = settings.duplicate_similarity
    benchmarks = ", ".join(f"`{public(name)}`" for name in settings.decontaminate)
    checks = {
        "near-duplicate": "near-duplicates" + (
            f" (Jaccard from {similarity:g})" if similarity else ": not looked for"),
        "in a benchmark": f"benchmarks: {benchmarks or 'not looked for'}",
        "licence": f"licences: {', '.join(map(as_markdown, settings.licences)) or 'all'}"}
    rows = [[check, f"{reasons.pop(reason, 0):,} left out"] for reason, check in checks.items()]
    rows += [[f"turns left out: {reason}", n] for reason, n in sorted(reasons.items())]
    masked = [[f"masked: {kind}", n] for kind, n in sorted(of.about.masked().items())]
    return _cells(rows + (masked or [["masked", "nothing"]]))


def listed(names: Iterable[str], noun: str = "turn") -> str:
    """Return "m-1 (3 turns), m-2 (1 turn)", the most frequent first."""
    return ", ".join(f"{as_markdown(name)} ({plural(n, noun)})"
                     for name, n in _most_common(names)) or "nobody"


def _most_common(names: Iterable[str]) -> list[tuple[str, int]]:
    return Counter(sorted(names)).most_common()   # of equal counts the first name is first


def _cells(rows) -> str:
    """Return the lines of a table below its head, each after a line break."""
    texts = [[f"{cell:,}" if isinstance(cell, int) else cell for cell in row] for row in rows]
    return table([], texts, "").removeprefix("|  |\n||")


@cache
def _texts() -> dict[str, tuple[str, str]]:
    """Return {format: (title, text)} from formats.md."""
    text = text_of("codedata.export", "formats.md")
    parts = re.split(r"^# (\w+): (.*)\n", text, flags=re.MULTILINE)[1:]
    return {name: (title, text.strip())
            for name, title, text in zip(parts[::3], parts[1::3], parts[2::3], strict=True)}
