"""Encode the verdicts on a turn for tables and pages: for each judge, one letter per metric."""
from __future__ import annotations

from codedata.duel.scoring import BOTH, CHALLENGER_FIRST, combine_orders
from codedata.records import METRICS

# TURNED means that the verdict changes with the order, and so counts as a draw
CHALLENGER, RIVAL, DRAW, TURNED, UNREAD = "crdt-"
READ = (CHALLENGER, RIVAL, DRAW, TURNED)


def letters(judges: list[dict], panel: list[str], order: str) -> tuple[str, ...]:
    """Return each panel judge's letters, from the entries in Score.judges: ("crdtc", "-----")."""
    return tuple(_letters([entry for entry in judges if entry["judge"] == name], order) for name in panel)


def letter(value: float) -> str:
    """Return the letter for a stored value of the challenger: 1, 0.5 or 0."""
    return {1: CHALLENGER, 0.5: DRAW, 0: RIVAL}[value]


def _letters(entries: list[dict], order: str) -> str:
    counted = combine_orders(entries, order)
    if counted is None:
        return UNREAD * len(METRICS)
    scores = {entry["order"] == CHALLENGER_FIRST: entry["scores"] for entry in entries if entry["parse_ok"]}
    turned = {metric for metric in METRICS if order == BOTH and scores[True][metric] != scores[False][metric]}
    return "".join(TURNED if metric in turned else letter(counted[metric]) for metric in METRICS)
