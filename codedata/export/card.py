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
from dataclasses import dataclass, field
from functools import lru_cache
from string import Template

import codedata
from codedata.export.collect import FINDING, LEAK, SIDES, ExportTurn, LeftOutLog
from codedata.export.formats import FINDINGS, LEAKS, MESSAGES, NUMBER, REASONS, TEXT, Format
from codedata.export.provenance import Provenance, public
from codedata.export.split import SPLITS
from codedata.llm.costs import Cost
from codedata.llm.embedded import NOISE
from codedata.progress import plural, table
from codedata.records import METRICS
from codedata.settings import EMBEDDED_MODEL, Settings
from codedata.texts import printable, terminal_safe, text_of

MARKUP = re.compile(r"[\\`*\[\]]")
SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
CHARS_A_TOKEN = 3         # for code and logs; few tokenizers need more tokens
TOKENS = 1024             # token counts are rounded up to a multiple of this
MEANINGS = {
    "messages": "the history, and the answer where it is to be learnt", "prompt": "the history, as the agent saw it",
    "completion": "the answer, one message of the assistant", "chosen": "the answer that won",
    "rejected": "the answer that lost", "label": "true: it won", "side": "`challenger` or `king`",
    "instance_id": "the pull request that the trajectory worked on", "repo": "of the pull request",
    "language": "of the repository", "licence": "of the repository, SPDX where its source has it, or `unknown`",
    "source": "the turn's name in `manifest.json`", "bucket": "`final`, `refined` or `defeat`",
    "score": "the challenger's, from 0 to 100", "metrics": "the score by metric", "king": "the king's answer",
    "challenger": "the challenger's answer", "assistant": "the data set's own next turn",
    "reasons": "what judges gave as reasons", "injections": "what in the answers speaks to a judge",
    "leaks": "what the challenger's answer shows that the history does not; null: no pull request to compare with"}
LISTS = {MESSAGES: ("role", "content"), REASONS: ("judge", "order", "reason"), FINDINGS: FINDING, LEAKS: LEAK}


@dataclass
class Background:
    """Hold what all cards of a run have in common."""

    settings: Settings
    duel: dict | None
    origins: Provenance
    costs: list[Cost]
    turns: list[ExportTurn]               # the turns that may be exported
    in_bucket: Counter              # records found in final/, refined/, defeat/
    left_out: LeftOutLog


@dataclass
class Contents:
    """Count the contents of one format."""

    form: Format
    rows: dict[str, int]                                             # by split
    n_bytes: dict[str, int]
    n_file_bytes: int = 0
    turns: dict[str, ExportTurn] = field(default_factory=dict)             # name → turn with a row
    split_of: dict[str, str] = field(default_factory=dict)           # turn → split
    rows_of: Counter = field(default_factory=Counter)                # turn → rows
    lengths: list[int] = field(default_factory=list)                 # of rows, in characters
    answer_lengths: dict[str, list[int]] = field(default_factory=dict)   # by column
    labels: Counter = field(default_factory=Counter)


def card(of: Contents, about: Background) -> str:
    """Return the text of README.md for one format."""
    own, duel = about.settings.export, about.duel
    title, text = _texts()[of.form.name]
    lengths = _lengths(of)
    length = _texts()["cut" if of.form.for_trainers else "lengths"][1]
    turns = list(of.turns.values())
    parts = {
        "head": head(of, about, title), "title": title, "warnings": _warnings(of, about), "rows": _rows(of),
        "about": Template(text).substitute(
            path="PATH", tokens=lengths["tokens"].replace(",", "_"), margin=f"{own.dpo_min_margin:g}",
            chosen_chars=_mean(of, "chosen"), rejected_chars=_mean(of, "rejected"),
            labels=", ".join(f"{label} {n:,}" for label, n in sorted(of.labels.items(), reverse=True)) or "none"),
        "spread": _spread(turns), "length": Template(length).substitute(lengths), "columns": _columns(of.form),
        "sources": _counted(about.origins.sources(turns)), "order": _order(duel), "outcome": _outcome(about),
        "refined": _refined(about.origins.refined(turns)), "cut": _cut(about.origins.cut(turns)),
        **{side: _counted(about.origins.models(turns, side)) for side in SIDES},
        "final_min": f"{about.settings.report.final_min:g}", "defeat_min": f"{about.settings.report.defeat_min:g}",
        "judges": _judges(duel), "buckets": _buckets(of, about), "seed": str(own.seed),
        "share": f"{own.validation:g}", "costs": _costs(about.costs), "checks": _checks(of, about),
        "licences": _licences(turns, own.licence), "version": codedata.__version__}
    return terminal_safe(Template(text_of("codedata.export", "card.md")).substitute(parts))


def is_noise(about: Background, turns: list[ExportTurn]) -> bool:
    """Return whether the embedded model judged the duel or made an answer of these turns."""
    judges = {judge.get("model", name) for name, judge in about.duel["judges"].items()} if about.duel else set()
    return EMBEDDED_MODEL in judges.union(*(about.origins.models(turns, side) for side in SIDES))


def head(of: Contents, about: Background, title: str) -> str:
    """Return the YAML head, without its dashes. Texts are written as JSON, which is valid YAML."""
    own, n = about.settings.export, sum(of.rows.values())
    filled = [split for split in SPLITS if of.rows[split]]
    paths = {split: f"data/{split}-*.parquet" if of.form.for_trainers else f"{split}.jsonl" for split in filled}
    lines = [f"pretty_name: {json.dumps(title)}", f"license: {json.dumps(own.licence)}"]
    lines += ["license_name: by-row"] if own.licence == "other" else []
    tags = ["code", "agent", *(["trl", of.form.name.partition("_")[0]] if of.form.for_trainers else [])]
    lines += ["language:", "- en", "task_categories:", "- text-generation", "tags:", *(f"- {tag}" for tag in tags),
              "size_categories:", f"- {next((name for limit, name in SIZES if n < limit), '1M<n<10M')}"]
    if filled:   # without rows there is no file for a loader to open
        lines += ["configs:", f"- config_name: {of.form.name}", "  data_files:"]
        lines += [line for split in filled for line in (f"  - split: {split}", f"    path: {paths[split]}")]
        lines += ["dataset_info:", f"- config_name: {of.form.name}", "  features:", *_features(of.form), "  splits:"]
        lines += [line for split in filled for line in (
            f"  - name: {split}", f"    num_bytes: {of.n_bytes[split]}", f"    num_examples: {of.rows[split]}")]
        lines += [f"  download_size: {of.n_file_bytes}", f"  dataset_size: {sum(of.n_bytes.values())}"]
    return "\n".join(lines)


def _features(form: Format) -> list[str]:
    def named(name: str, kind: str, indent: str = "  ") -> list[str]:
        return [f"{indent}- name: {name}", f"{indent}  dtype: {kind}"]

    def parts(name: str, shape: str, keys, kind: str = "string") -> list[str]:
        return [f"  - name: {name}", f"    {shape}:", *(line for key in keys for line in named(key, kind, "    "))]

    kinds = {TEXT: "string", NUMBER: "float64", "BOOLEAN": "bool"}
    out = []
    for name, kind in form.columns.items():
        if kind in LISTS:
            out += parts(name, "list", LISTS[kind])
        elif kind in kinds:
            out += named(name, kinds[kind])
        else:
            out += parts(name, "struct", METRICS, "float64")
    return out


# the parts of the text

def _warnings(of: Contents, about: Background) -> str:
    duel, said = about.duel, []
    if is_noise(about, list(of.turns.values())):
        said.append(f"Noise, not for training: answers or verdicts were {NOISE}.")
    if duel is None:
        said.append("Nobody decided the duel that these turns come from.")
    elif not duel["accepted"]:
        said.append("The duel that these turns come from was not accepted: the challenger was not shown to be better "
                    f"than the king ({_reasons(duel)}).")
    if not sum(of.rows.values()):
        said.append("There is no row in this set: no turn came through.")
    return "".join(f"> **{line}**\n\n" for line in said)


def _rows(of: Contents) -> str:
    rows = []
    for split in SPLITS:
        turns = [of.turns[name] for name, where in of.split_of.items() if where == split]
        rows.append([split, f"{of.rows[split]:,}", f"{len(turns):,}", f"{len({turn.repo for turn in turns}):,}",
                     f"{len({turn.instance_id for turn in turns}):,}"])
    return table(["split", "rows", "turns", "repositories", "pull requests"], rows, "lrrrr")


def _spread(turns: list[ExportTurn]) -> str:
    """Return two tables: turns by language, and turns by licence."""
    return "\n\n".join(table([kind, "turns"], _most_common(Counter(getattr(turn, kind) for turn in turns)), "lr")
                       for kind in ("language", "licence"))


def _lengths(of: Contents) -> dict[str, str]:
    """Return row lengths in characters and tokens for the longest row, formatted as texts."""
    lengths = sorted(of.lengths) or [0]
    found = {"longest": lengths[-1], "median": statistics.median_low(lengths),
             "long": lengths[min(len(lengths) - 1, len(lengths) * 95 // 100)]}
    tokens = -(-lengths[-1] // CHARS_A_TOKEN // TOKENS) * TOKENS or TOKENS
    return {**{name: f"{n:,}" for name, n in found.items()}, "tokens": f"{tokens:,}", "chars": str(CHARS_A_TOKEN)}


def _columns(form: Format) -> str:
    kinds = {TEXT: "text", NUMBER: "number", "BOOLEAN": "true or false",
             **{kind: f"list of {{{', '.join(keys)}}}" for kind, keys in LISTS.items()}}
    return "\n".join(f"| `{name}` | {kinds.get(kind, 'object of five numbers')} | {MEANINGS[name]} |"
                     for name, kind in form.columns.items())


def _order(duel: dict | None) -> str:
    both = "each in both orders: a verdict that turned with the order counts as a draw"
    return both if duel is None or duel["order"] == "both" else "each once, the king's answer first"


def _outcome(about: Background) -> str:
    duel = about.duel
    if duel is None:
        return "The duel has no outcome: its file was not there."
    said = "accepted" if duel["accepted"] else f"not accepted ({_reasons(duel)})"
    if duel["margin"] is None:
        return f"The duel was {said}."
    return (f"Over {plural(duel['turns'], 'turn')} the challenger scored {duel['challenger_score']:.2f}, the king "
            f"{duel['king_score']:.2f}: a margin of {duel['margin']:.2f} with a lower confidence bound of "
            f"{duel['lcb']:.4f}. Wanted are a margin of {duel['win_margin']:g} and a bound above 0, the "
            f"{duel['gate_alpha']:g} quantile of {duel['resamples']:,} resamples. The duel was {said}.")


def _refined(n: int) -> str:
    return (f" {plural(n, 'answer')} of the challenger came about by refining: written again with what the judges had "
            "said, the best of several attempts.") if n else ""


def _cut(n: int) -> str:
    return (f"- {plural(n, 'turn')} of these did not fit a model that answered: the middle of the history was left out "
            "for it, and stands here.\n") if n else ""


def _judges(duel: dict | None) -> str:
    judges = duel["judges"] if duel else {}
    panel = (duel.get("panel") or {}).get("judges", {}) if duel else {}
    rows = [[shown(public(name)), "-" if judge["score"] is None else f"{judge['score']:.1f}",
             _percent(judge["parse_rate"]), *(_percent((panel.get(name, {}).get(key) or {}).get("value"))
                                              for key in ("changes_with_order", "prefers_first"))]
            for name, judge in judges.items()]
    columns = ["judge", "challenger's score", "verdicts read", "change with the order", "for the first shown"]
    return table(columns, rows, "lrrrr")


def _reasons(duel: dict) -> str:
    return "; ".join(shown(str(reason)) for reason in duel["reasons"])


def shown(text: str) -> str:
    """Return an external text as one line, with Markdown and HTML escaped."""
    return MARKUP.sub(r"\\\g<0>", html.escape(printable(text, 200), quote=False))


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"


def _buckets(of: Contents, about: Background) -> str:
    """Return a table that counts the turns of each bucket by outcome."""
    rows = []
    for bucket, n in about.in_bucket.items():
        turns = [turn for turn in about.turns if turn.bucket == bucket]
        won = Counter(turn.winner for turn in turns)
        n_rows = sum(k for name, k in of.rows_of.items() if of.turns[name].bucket == bucket)
        numbers = (n, n - len(turns), won["challenger"], won["king"], won[""], n_rows)
        rows.append([f"{bucket}/", *(f"{number:,}" for number in numbers)])
    return table(["bucket", "turns", "left out", "challenger won", "king won", "neither", "rows here"], rows, "lrrrrrr")


def _costs(costs: list[Cost]) -> str:
    rows = [[shown(cost.stage), shown(public(cost.model)), f"{cost.calls:,}", f"{cost.tokens_in:,}",
             f"{cost.tokens_out:,}", cost.said] for cost in costs]
    return table(["stage", "model", "calls", "tokens in", "tokens out", "cost"], rows, "llrrrr")


def _checks(of: Contents, about: Background) -> str:
    own, left = about.settings.export, about.left_out.counts(of.form.name)
    names = ", ".join(f"`{public(name)}`" for name in own.decontaminate)
    masked = sum((Counter(turn.masked) for turn in about.turns), Counter())
    rows = [["near-duplicates" + (f" (Jaccard from {own.duplicate_similarity:g})" if own.duplicate_similarity
                                  else ": not looked for"), f"{left.pop('near-duplicate', 0):,} left out"],
            [f"benchmarks: {names}" if names else "benchmarks: not looked for",
             f"{left.pop('in a benchmark', 0):,} left out"],
            ["licences: " + (", ".join(map(shown, own.licences)) or "all"), f"{left.pop('licence', 0):,} left out"]]
    rows += [[f"turns left out: {reason}", f"{n:,}"] for reason, n in sorted(left.items())]
    rows += [[f"masked: {kind}", f"{n:,}"] for kind, n in sorted(masked.items())] or [["masked", "nothing"]]
    return table(["check", "found"], rows, "lr")


def _licences(turns: list[ExportTurn], licence: str) -> str:
    told = ", ".join(f"{name} ({n})" for name, n in _most_common(Counter(turn.licence for turn in turns))) or "none"
    own = "" if licence == "other" else f"The set itself is under `{licence}`. "
    return (f"{own}The histories quote repositories; the column `licence` names the licence of each, as its source "
            f"gives it. Turns by licence: {told}. The terms of the source data set and of the models that answered "
            "hold too.")


def _most_common(counts: Counter) -> list[list[str]]:
    return [[shown(name), f"{n:,}"] for name, n in sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))]


def _counted(counts: Counter) -> str:
    found = sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))
    return ", ".join(f"{shown(name)} ({plural(n, 'turn')})" for name, n in found) or "nobody"


def _mean(of: Contents, column: str) -> str:
    lengths = of.answer_lengths.get(column)
    return f"{sum(lengths) / len(lengths):,.0f}" if lengths else "no"


@lru_cache
def _texts() -> dict[str, tuple[str, str]]:
    """Return {format: (title, text)} from formats.md."""
    parts = re.split(r"^# (\w+): (.*)\n", text_of("codedata.export", "formats.md"), flags=re.MULTILINE)[1:]
    return {name: (title, text.strip()) for name, title, text in zip(parts[::3], parts[1::3], parts[2::3], strict=True)}
