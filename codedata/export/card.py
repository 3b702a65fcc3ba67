"""Make the README.md of an export: the YAML head for the Hub, card.md and formats.md filled in.

A card follows from the directories alone and has no date, so the same export always has the same
card.
"""
from __future__ import annotations

import html
import json
import re
import statistics
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from string import Template

import codedata
from codedata.export.collect import FINDING, LEAK, SIDES, ExportTurn, ExportTurns
from codedata.export.formats import (
    BOOLEAN,
    FINDINGS,
    LEAKS,
    MESSAGES,
    METRIC_SCORES,
    NUMBER,
    REASONS,
    TEXT,
    Format,
)
from codedata.export.provenance import Provenance, public
from codedata.export.split import SPLITS, splits
from codedata.llm.costs import Cost
from codedata.llm.embedded import NOISE
from codedata.progress import plural, table
from codedata.records import METRICS, Duel
from codedata.settings import EMBEDDED_MODEL, ExportSettings, ReportSettings
from codedata.texts import printable, terminal_safe, text_of

MARKUP = re.compile(r"[\\`*\[\]]")
SIZES = {1_000: "n<1K", 10_000: "1K<n<10K", 100_000: "10K<n<100K", 1_000_000: "100K<n<1M"}
CHARS_A_TOKEN = 3         # for code and logs; few tokenizers need more tokens
TOKENS = 1024             # token counts are rounded up to a multiple of this
MEANINGS = {
    "messages": "the history, and the answer where it is to be learnt",
    "prompt": "the history, as the agent saw it",
    "completion": "the answer, one message of the assistant", "chosen": "the answer that won",
    "rejected": "the answer that lost", "label": "true: it won", "side": "`challenger` or `king`",
    "instance_id": "the pull request that the trajectory worked on", "repo": "of the pull request",
    "language": "of the repository",
    "licence": "of the repository, SPDX where its source has it, or `unknown`",
    "source": "the turn's name in `manifest.json`", "bucket": "`final`, `refined` or `defeat`",
    "score": "the challenger's, from 0 to 100", "metrics": "the score by metric",
    "king": "the king's answer", "challenger": "the challenger's answer",
    "assistant": "the data set's own next turn", "reasons": "the reasons that judges gave",
    "injections": "passages of the answers that address a judge",
    "leaks": "what the challenger's answer shows that the history does not; null: there is no pull "
             "request to compare with"}
SCALARS = {TEXT: ("string", "text"), NUMBER: ("float64", "number"),
           BOOLEAN: ("bool", "true or false")}   # SQL type → (data type, words)
LISTS = {MESSAGES: ("role", "content"), REASONS: ("judge", "order", "reason"), FINDINGS: FINDING,
         LEAKS: LEAK}


@dataclass
class Background:
    """Hold what all cards of a run have in common."""

    directory: Path           # export/
    settings: ExportSettings
    buckets: ReportSettings
    duel: Duel | None
    origins: Provenance
    costs: list[Cost]
    turns: ExportTurns

    @cached_property
    def split_of(self) -> dict[str, str]:
        """Return {repository: split} of the turns that may be exported."""
        repos = {turn.repo for turn in self.turns.turns}
        return splits(repos, self.settings.validation, self.settings.seed)

    def masked(self) -> Counter:
        """Return the number of masked secrets by kind."""
        return sum((Counter(turn.masked) for turn in self.turns.turns), Counter())

    def is_noise(self, turns: list[ExportTurn]) -> bool:
        """Return whether the embedded model judged the duel or made an answer of these turns."""
        judges = self.duel.models if self.duel else set()
        return EMBEDDED_MODEL in judges.union(*(self.origins.models(turns, side)
                                                for side in SIDES))


@dataclass
class Contents:
    """Count the contents of one format."""

    form: Format
    rows: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SPLITS, 0))      # by split
    n_bytes: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SPLITS, 0))   # by split
    n_file_bytes: int = 0
    turns: dict[str, ExportTurn] = field(default_factory=dict)   # name → turn with a row
    split_of: dict[str, str] = field(default_factory=dict)       # turn → split
    rows_of: Counter = field(default_factory=Counter)            # turn → rows
    lengths: list[int] = field(default_factory=list)             # of rows, in characters
    answer_lengths: dict[str, list[int]] = field(default_factory=dict)   # by column
    labels: Counter = field(default_factory=Counter)

    def count(self, turn: ExportTurn, split: str, row: dict) -> None:
        """Add a row of a turn."""
        self.rows[split] += 1
        self.turns[turn.name] = turn
        self.split_of[turn.name] = split
        self.rows_of[turn.name] += 1
        conversations = self.form.conversations(row) or [row["messages"]]
        self.lengths.append(max(sum(len(m["content"]) for m in messages)
                                for messages in conversations))
        for column in ("chosen", "rejected"):
            if column in row:
                length = len(row[column][0]["content"])
                self.answer_lengths.setdefault(column, []).append(length)
        if "label" in row:
            self.labels[str(row["label"]).lower()] += 1


def card(of: Contents, about: Background) -> str:
    """Return the text of README.md for one format."""
    settings, duel, origins = about.settings, about.duel, about.origins
    title, text = _texts()[of.form.name]
    lengths = _lengths(of)
    length_text = _texts()["cut" if of.form.for_trainers else "lengths"][1]
    turns = list(of.turns.values())
    labels = ", ".join(f"{label} {n:,}" for label, n in sorted(of.labels.items(), reverse=True))
    about_format = Template(text).substitute(
        path="PATH", tokens=lengths["tokens"].replace(",", "_"), labels=labels or "none",
        margin=f"{settings.dpo_min_margin:g}", chosen_chars=_mean(of, "chosen"),
        rejected_chars=_mean(of, "rejected"))
    parts = {
        "head": "\n".join(_yaml(_head(of, settings.licence, title))), "title": title,
        "warnings": _warnings(of, about), "about": about_format, "rows": _rows(of),
        "spread": _spread(turns), "length": Template(length_text).substitute(lengths),
        "columns": _columns(of.form), "sources": _listed(origins.sources(turns)),
        "order": _order(duel), "outcome": _outcome(duel), "cut": _cut(origins.cut(turns)),
        "refined": _refined(origins.refined(turns)),
        **{side: _listed(origins.models(turns, side)) for side in SIDES},
        "final_min": f"{about.buckets.final_min:g}", "defeat_min": f"{about.buckets.defeat_min:g}",
        "judges": _judges(duel), "buckets": _buckets(of, about), "seed": str(settings.seed),
        "share": f"{settings.validation:g}", "costs": _costs(about.costs),
        "checks": _checks(of, about), "licences": _licences(turns, settings.licence),
        "version": codedata.__version__}
    return terminal_safe(Template(text_of("codedata.export", "card.md")).substitute(parts))


# the YAML head

def _head(of: Contents, licence: str, title: str) -> dict:
    """Return the head for _yaml(). Texts are written as JSON, which is valid YAML."""
    n = sum(of.rows.values())
    name = of.form.name
    trainer_tags = ["trl", name.partition("_")[0]] if of.form.for_trainers else []
    head = {"pretty_name": json.dumps(title), "license": json.dumps(licence)}
    if licence == "other":
        head["license_name"] = "by-row"
    head |= {"language": ["en"], "task_categories": ["text-generation"],
             "tags": ["code", "agent", *trainer_tags],
             "size_categories": [next((size for limit, size in SIZES.items() if n < limit),
                                      "1M<n<10M")]}
    filled = [split for split in SPLITS if of.rows[split]]
    if not filled:   # without rows there is no file for a loader to open
        return head
    pattern = "data/{}-*.parquet" if of.form.for_trainers else "{}.jsonl"
    return {
        **head,
        "configs": [{"config_name": name, "data_files": [
            {"split": split, "path": pattern.format(split)} for split in filled]}],
        "dataset_info": [{
            "config_name": name,
            "features": [_feature(*column) for column in of.form.columns.items()],
            "splits": [{"name": split, "num_bytes": of.n_bytes[split],
                        "num_examples": of.rows[split]} for split in filled],
            "download_size": of.n_file_bytes, "dataset_size": sum(of.n_bytes.values())}]}


def _feature(name: str, kind: str) -> dict:
    """Return the description of a column."""
    if kind in SCALARS:
        return {"name": name, "dtype": SCALARS[kind][0]}
    if kind == METRIC_SCORES:
        return {"name": name, "struct": [_feature(metric, NUMBER) for metric in METRICS]}
    return {"name": name, "list": [_feature(key, TEXT) for key in LISTS[kind]]}


def _yaml(value: dict | list, indent: str = "") -> Iterator[str]:
    """Yield the lines of a dict or list of plain values, dicts and lists."""
    for key in value:
        item = value[key] if isinstance(value, dict) else key
        if isinstance(value, list):
            first, *others = _yaml(item, indent + "  ") if isinstance(item, dict) else [item]
            yield f"{indent}- {first.lstrip()}"
            yield from others
        elif isinstance(item, list):
            yield f"{indent}{key}:"
            yield from _yaml(item, indent)
        else:
            yield f"{indent}{key}: {item}"


# the parts of the text

def _warnings(of: Contents, about: Background) -> str:
    duel = about.duel
    lines = []
    if about.is_noise(list(of.turns.values())):
        lines.append(f"Noise, not for training: answers or verdicts were {NOISE}.")
    if duel is None:
        lines.append("Nobody decided the duel that these turns come from.")
    elif not duel.accepted:
        lines.append("The duel that these turns come from was not accepted: the challenger was not "
                     f"shown to be better than the king ({_reasons(duel)}).")
    if not sum(of.rows.values()):
        lines.append("There is no row in this set: no turn came through.")
    return "".join(f"> **{line}**\n\n" for line in lines)


def _rows(of: Contents) -> str:
    rows = []
    for split in SPLITS:
        turns = [of.turns[name] for name, where in of.split_of.items() if where == split]
        numbers = (of.rows[split], len(turns), len({turn.repo for turn in turns}),
                   len({turn.instance_id for turn in turns}))
        rows.append([split, *_thousands(numbers)])
    return table(["split", "rows", "turns", "repositories", "pull requests"], rows, "lrrrr")


def _spread(turns: list[ExportTurn]) -> str:
    """Return two tables: turns by language, and turns by licence."""
    return "\n\n".join(
        table([kind, "turns"], _most_common(Counter(getattr(turn, kind) for turn in turns)), "lr")
        for kind in ("language", "licence"))


def _lengths(of: Contents) -> dict[str, str]:
    """Return row lengths in characters and tokens for the longest row, formatted as texts."""
    lengths = sorted(of.lengths) or [0]
    tokens = -(-lengths[-1] // CHARS_A_TOKEN // TOKENS) * TOKENS or TOKENS
    percentile_95 = lengths[min(len(lengths) - 1, len(lengths) * 95 // 100)]
    numbers = {"longest": lengths[-1], "median": statistics.median_low(lengths),
               "long": percentile_95, "tokens": tokens, "chars": CHARS_A_TOKEN}
    return {name: f"{n:,}" for name, n in numbers.items()}


def _columns(form: Format) -> str:
    kinds = {METRIC_SCORES: "object of five numbers",
             **{kind: words for kind, (_, words) in SCALARS.items()},
             **{kind: f"list of {{{', '.join(keys)}}}" for kind, keys in LISTS.items()}}
    return "\n".join(f"| `{name}` | {kinds[kind]} | {MEANINGS[name]} |"
                     for name, kind in form.columns.items())


def _order(duel: Duel | None) -> str:
    if duel is None or duel.order == "both":
        return "each in both orders: a verdict that turned with the order counts as a draw"
    return "each once, the king's answer first"


def _outcome(duel: Duel | None) -> str:
    if duel is None:
        return "The duel has no outcome: its file was not there."
    outcome = "accepted" if duel.accepted else f"not accepted ({_reasons(duel)})"
    if duel.margin is None:
        return f"The duel was {outcome}."
    scores = (f"Over {plural(duel.turns, 'turn')} the challenger scored "
              f"{duel.challenger_score:.2f}, the king {duel.rival_score:.2f}: a margin of "
              f"{duel.margin:.2f} with a lower confidence bound of {duel.lcb:.4f}.")
    rule = (f"To be accepted, the margin has to be {duel.win_margin:g} or more, and the bound "
            f"above 0; the bound is the {duel.gate_alpha:g} quantile of {duel.resamples:,} "
            "resamples.")
    return f"{scores} {rule} The duel was {outcome}."


def _refined(n: int) -> str:
    return (f" {plural(n, 'answer')} of the challenger came about by refining: written again with "
            "the judges' reasons, the best of several attempts.") if n else ""


def _cut(n: int) -> str:
    return (f"- {plural(n, 'turn')} of these did not fit a model that answered: the model saw the "
            "history without its middle, which is whole here.\n") if n else ""


def _judges(duel: Duel | None) -> str:
    statistics_by_judge = (duel.panel or {}).get("judges", {}) if duel else {}
    rows = []
    for name, judge in (duel.judges if duel else {}).items():
        shares = statistics_by_judge.get(name, {})
        rows.append([shown(public(name)), "-" if judge.score is None else f"{judge.score:.1f}",
                     _percent(judge.parse_rate), *(
                         _percent((shares.get(key) or {}).get("value"))
                         for key in ("changes_with_order", "prefers_first"))])
    columns = ["judge", "challenger's score", "verdicts read", "change with the order",
               "for the first shown"]
    return table(columns, rows, "lrrrr")


def _reasons(duel: Duel) -> str:
    return "; ".join(shown(str(reason)) for reason in duel.reasons)


def shown(text: str) -> str:
    """Return an external text as one line, with Markdown and HTML escaped."""
    return MARKUP.sub(r"\\\g<0>", html.escape(printable(text, 200), quote=False))


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"


def _buckets(of: Contents, about: Background) -> str:
    """Return a table that counts the turns of each bucket by outcome."""
    rows = []
    for bucket, n in about.turns.in_bucket.items():
        turns = [turn for turn in about.turns.turns if turn.bucket == bucket]
        won = Counter(turn.winner for turn in turns)
        n_rows = sum(k for name, k in of.rows_of.items() if of.turns[name].bucket == bucket)
        numbers = (n, n - len(turns), won["challenger"], won["king"], won[""], n_rows)
        rows.append([f"{bucket}/", *_thousands(numbers)])
    columns = ["bucket", "turns", "left out", "challenger won", "king won", "neither", "rows here"]
    return table(columns, rows, "lrrrrrr")


def _costs(costs: list[Cost]) -> str:
    rows = [[shown(cost.stage), shown(public(cost.model)),
             *_thousands((cost.calls, cost.tokens_in, cost.tokens_out)), cost.said]
            for cost in costs]
    return table(["stage", "model", "calls", "tokens in", "tokens out", "cost"], rows, "llrrrr")


def _checks(of: Contents, about: Background) -> str:
    settings = about.settings
    reasons = about.turns.left_out.counts(of.form.name)
    similarity = settings.duplicate_similarity
    benchmarks = ", ".join(f"`{public(name)}`" for name in settings.decontaminate)
    checks = {
        "near-duplicate": "near-duplicates" + (
            f" (Jaccard from {similarity:g})" if similarity else ": not looked for"),
        "in a benchmark": f"benchmarks: {benchmarks or 'not looked for'}",
        "licence": f"licences: {', '.join(map(shown, settings.licences)) or 'all'}"}
    rows = [[check, f"{reasons.pop(reason, 0):,} left out"] for reason, check in checks.items()]
    rows += [[f"turns left out: {reason}", f"{n:,}"] for reason, n in sorted(reasons.items())]
    masked = [[f"masked: {kind}", f"{n:,}"] for kind, n in sorted(about.masked().items())]
    return table(["check", "found"], rows + (masked or [["masked", "nothing"]]), "lr")


def _licences(turns: list[ExportTurn], licence: str) -> str:
    counts = _most_common(Counter(turn.licence for turn in turns))
    listed = ", ".join(f"{name} ({n})" for name, n in counts) or "none"
    of_set = "" if licence == "other" else f"The set itself is under `{licence}`. "
    return (f"{of_set}The histories quote repositories; the column `licence` names the licence of "
            f"each, as its source gives it. Turns by licence: {listed}. The terms of the source "
            "data set and of the models that answered hold too.")


def _listed(counts: Counter) -> str:
    """Return "m-1 (3 turns), m-2 (1 turn)", the most frequent first."""
    return ", ".join(f"{name} ({n} turn{'' if n == '1' else 's'})"
                     for name, n in _most_common(counts)) or "nobody"


def _most_common(counts: Counter) -> list[list[str]]:
    entries = sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))
    return [[shown(name), f"{n:,}"] for name, n in entries]


def _thousands(numbers) -> list[str]:
    return [f"{n:,}" for n in numbers]


def _mean(of: Contents, column: str) -> str:
    lengths = of.answer_lengths.get(column)
    return f"{sum(lengths) / len(lengths):,.0f}" if lengths else "no"


@lru_cache
def _texts() -> dict[str, tuple[str, str]]:
    """Return {format: (title, text)} from formats.md."""
    text = text_of("codedata.export", "formats.md")
    parts = re.split(r"^# (\w+): (.*)\n", text, flags=re.MULTILINE)[1:]
    return {name: (title, text.strip())
            for name, title, text in zip(parts[::3], parts[1::3], parts[2::3], strict=True)}
