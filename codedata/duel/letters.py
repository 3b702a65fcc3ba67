"""The verdicts on a turn in letters: five for each judge of the panel, a metric each. For tables and pages."""
from __future__ import annotations

from codedata.duel.score import BOTH, CHALLENGER_FIRST, combine_orders
from codedata.records import METRICS

CHALLENGER, RIVAL, DRAW, TURNED, UNREAD = "crdt-"   # turned: it changes with the order, and so counts as a draw
READ = (CHALLENGER, RIVAL, DRAW, TURNED)


def letters(judges: list[dict], panel: list[str], order: str) -> tuple[str, ...]:
    """What counts of the stored entries (Score.judges), for each judge of the panel: ("crdtc", "-----")."""
    return tuple(_letters([entry for entry in judges if entry["judge"] == name], order) for name in panel)


def letter(value: float) -> str:
    """Of one stored value, the challenger's: 1, 0.5 or 0."""
    return {1: CHALLENGER, 0.5: DRAW, 0: RIVAL}[value]


def _letters(entries: list[dict], order: str) -> str:
    counted = combine_orders(entries, order)
    if counted is None:
        return UNREAD * len(METRICS)
    scores = {entry["order"] == CHALLENGER_FIRST: entry["scores"] for entry in entries if entry["parse_ok"]}
    turned = {metric for metric in METRICS if order == BOTH and scores[True][metric] != scores[False][metric]}
    return "".join(TURNED if metric in turned else letter(counted[metric]) for metric in METRICS)
