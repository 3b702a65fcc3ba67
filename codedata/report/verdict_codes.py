"""Encode the verdicts on a turn for tables and pages: for each judge, one letter per metric."""
from __future__ import annotations

from enum import Enum

from codedata.duel.scoring import BOTH, CHALLENGER_FIRST, combine_orders
from codedata.records import METRICS


class VerdictCode(str, Enum):
    """Name the letters: whom a judge prefers on a metric."""

    CHALLENGER = "c"
    RIVAL = "r"
    DRAW = "d"
    TURNED = "t"   # the verdict changes with the order, and so counts as a draw
    UNREAD = "-"


READ = [code for code in VerdictCode if code != VerdictCode.UNREAD]
OF_VALUE = {1: VerdictCode.CHALLENGER, 0.5: VerdictCode.DRAW, 0: VerdictCode.RIVAL}


def verdict_codes(judges: list[dict], panel: list[str], order: str) -> tuple[str, ...]:
    """Return the codes of each judge's verdicts, from the entries in Score.judges: ("crdtc",
    "-----").
    """
    return tuple(_judge_codes([entry for entry in judges if entry["judge"] == name], order)
                 for name in panel)


def code_of(value: float) -> str:
    """Return the code for a stored value of the challenger: 1, 0.5 or 0."""
    return OF_VALUE[value].value


def _judge_codes(entries: list[dict], order: str) -> str:
    """Return the codes of one judge, a letter for each metric."""
    counted = combine_orders(entries, order)
    if counted is None:
        return VerdictCode.UNREAD * len(METRICS)
    codes = {metric: code_of(counted[metric]) for metric in METRICS}
    if order == BOTH:
        scores = {entry["order"] == CHALLENGER_FIRST: entry["scores"]
                  for entry in entries if entry["parse_ok"]}
        codes |= {metric: VerdictCode.TURNED for metric in METRICS
                  if scores[True][metric] != scores[False][metric]}
    return "".join(codes.values())
