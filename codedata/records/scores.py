"""Define what validate.py and check_judges.py write: verdicts, and the outcome of a duel."""
from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TypedDict

import orjson

from codedata.bounded import read_bounded
from codedata.records.answers import Answer
from codedata.records.field_types import ABSENT, Object, Points, Seconds
from codedata.records.record_checks import check_of, named_faults, parse, refuse
from codedata.texts import printable, storable

UNJUDGED = "no verdict"   # kind of the finding for a turn that no leak judge has seen
DUEL = "_duel.json"       # the Duel's file in the folder of scores


class Quote(TypedDict):
    """Hold one leak that a leak judge found: an entry of LeakVerdict.findings."""

    quote: str
    kind: str
    why: str


class JudgeVerdict(TypedDict, total=False):
    """Hold a judge's verdict on a turn in one order, as codedata/duel/panel.py describes it.

    A user may have edited it: parse() checks judge, order and parse_ok, the scores of a parsed
    verdict and, if they are present, reason, error, marker, settings and attempt.
    """

    judge: str
    order: str                  # one of ORDERS
    parse_ok: bool
    verdict: dict[str, str]     # {metric: the side that won, or "draw"}
    scores: dict[str, float]    # {metric: challenger's 1, 0.5 or 0}; empty without a verdict
    reason: str
    raw: str                    # the reply's text, or its reasoning if the text is empty
    truncated: bool
    usage: Object               # tokens_in, tokens_out, cost_usd
    seconds: Seconds
    error: str                  # why there is no verdict
    attempt: int
    marker: str
    settings: str
    ran: str                    # digest of the execution results shown; absent: none
    by_program: bool            # true: a program found the draw, without a judge


@dataclass(frozen=True)
class Score:
    """Hold the judges' verdicts on one turn: score/<answer stem>.json.

    `score` and `metrics` grade the challenger.
    """

    directory = "score"
    instance_id: str
    answer_file: str         # <answer stem>.json
    mode: str                # "king" or "reference": the challenger's opponent
    parse_ok: bool           # whether any verdict could be read
    score: Points | None     # null: no verdict could be read
    metrics: dict[str, Points | None]   # empty if `score` is null
    reason: str              # the judges' reasons, a line each
    judges: list[JudgeVerdict]   # an entry for each judge and order
    leaks: list[LeakVerdict] | None = None   # on either side's turn; null: no leak judge was asked


@lru_cache
def variant(cls, how: str):
    """Return the class for records of challengers made as `how` says, such as "informed".

    The directory is variants/<how>/ for Answer, and score_<how>/ for Score.
    """
    directory = f"variants/{how}" if cls is Answer else f"{cls.directory}_{how}"
    return type(f"{cls.__name__}_{how}", (cls,), {"directory": directory})


class ReferenceScore(Score):
    """Hold the score against the reference: score_reference/<answer stem>.json."""

    directory = "score_reference"


class Probe(Score):
    """Hold the score of king's turn with a prompt injection: probe/<answer stem>.<family>.json.

    The turn with the injection is the "challenger", the same turn without it is "king".
    """

    directory = "probe"


class Sanity(Score):
    """Hold the score of a pair whose better side is known: sanity/<answer stem>.<kind>.json.

    The better side is the "challenger". In a pair of the kind "same", both sides are equal.
    """

    directory = "sanity"


class Share(TypedDict):
    """Hold a share or another figure with its 95 % interval and the number of observations."""

    value: float
    low: float
    high: float
    n: int


class JudgeStatistics(TypedDict, total=False):
    """Hold the figures of codedata/duel/judge_stats.py on one judge."""

    changes_with_order: Share | None
    prefers_first: Share | None
    calls: dict[str, int]
    kin_of: list[str]                  # sides answered by a model of the judge's family
    beside_the_others: Object | None   # mean scores: {own, others (unrelated judges), difference}


class PanelStatistics(TypedDict, total=False):
    """Hold the figures of codedata/duel/judge_stats.py on a panel."""

    judges: dict[str, JudgeStatistics]
    alpha: dict[str, float | None]     # Krippendorff's alpha of each metric


@dataclass(frozen=True)
class JudgeResult:
    """Hold the scores of one judge over all turns: an entry of Duel.judges."""

    score: Points | None
    parse_rate: float | None   # share of turns, 0..1, with the judge's verdict
    metrics: dict[str, Points | None] = ABSENT
    model: str = ABSENT


@dataclass(frozen=True)
class Duel:
    """Hold the outcome of a duel: score/_duel.json.

    Files of earlier versions lack the fields that default to ABSENT. An export does not need them,
    a report needs all.
    """

    title = "the outcome of a duel"
    raw: Object                   # the file's content, including keys that are not fields
    mode: str                     # "king" or "reference": the challenger's opponent
    order: str                    # "both" or "king_first"
    accepted: bool
    reasons: list[str]            # why it was not accepted
    judges: dict[str, JudgeResult]
    challenger_score: Points | None
    margin: float | None         # in points, like the scores; null: too few verdicts
    lcb: float | None            # lower confidence bound of the margin
    turns: int
    win_margin: float            # minimum margin for acceptance
    gate_alpha: float            # quantile for the bound
    resamples: int
    interval: list[float] | None = ABSENT   # 95 % interval of the margin, in points
    metrics: dict[str, Points | None] = ABSENT
    panel: PanelStatistics = ABSENT
    verdicts: str = ABSENT                   # digest of the verdicts behind the decision
    turns_parsed: int = ABSENT               # with verdicts of all judges
    turns_judged: int = ABSENT               # with verdicts of one judge or more
    turns_left: int = ABSENT                 # not judged yet
    missing_answers: int = ABSENT            # answer records that lack one side or both
    instances: int = ABSENT
    seed: int = ABSENT
    min_turns: int = ABSENT
    bootstrap_resamples: int = ABSENT
    parsed_frac: float = ABSENT             # turns_parsed / turns
    min_valid_turn_frac: float = ABSENT
    min_instances: int = 0

    @property
    def models(self) -> set[str]:
        """Return the models of the judges."""
        return {judge.model or name for name, judge in self.judges.items()}

    @property
    def rival_score(self) -> float | None:
        """Return the score of the challenger's opponent: king or reference."""
        return self.raw.get(f"{self.mode}_score")

    @classmethod
    def read(cls, path: Path, mode: str, todo: str, complete: bool = True) -> Duel:
        """Return the outcome in a file. Raise FileNotFoundError, or BrokenRecord for a fault.

        With `complete`, every field is required.
        """
        faults = []
        try:
            duel = cls.of(orjson.loads(read_bounded(path)), str(path), todo, complete)
        except ValueError as e:
            faults.append(str(e))
        else:
            if duel.mode != mode:
                faults.append(f"`mode` is {duel.mode!r}, not {mode!r}")
            if complete and (duel.order not in ("both", "king_first") or not duel.judges):
                faults.append("it has no judges, or `order` is not valid")
        refuse(cls, faults, str(path), todo)
        return duel

    @classmethod
    def of(cls, raw: Object, where: str = DUEL, todo: str = "", complete: bool = False) -> Duel:
        """Return the record in a file's content. Raise BrokenRecord with every fault."""
        # accept any text as a judge's name or reason, since it is only displayed
        data = {**storable(raw), "raw": raw} if isinstance(raw, dict) else raw
        duel = parse(cls, data, where, todo, complete)
        if duel.margin is not None:
            scores = {key: (" is missing", check_of("float"))
                      for key in ("lcb", "challenger_score", f"{duel.mode}_score")}
            refuse(cls, named_faults(scores, raw), where, todo)
        return replace(duel, judges={
            name: parse(JudgeResult, judge, f"{where}[{printable(name, 200)}]", todo, complete)
            for name, judge in duel.judges.items()})


@dataclass(frozen=True)
class LeakVerdict:
    """Hold the verdict of one leak judge on one turn: in answer*/_leaks/ and in score/."""

    judge: str
    side: str                # challenger | king (a blind turn, which measures false alarms)
    of: str                  # digest of history, turn and pull request
    attempt: int             # number of the accepted reply; those before it were rejected
    leak: bool
    findings: list[Quote]    # empty if nothing leaks
    hedged_claims: int       # claims in the thought that are stated as guesses
    raw: str                 # the unchanged reply
    usage: Object            # tokens_in, tokens_out, cost_usd
    seconds: Seconds
    settings: str            # digest of model, temperature and prompt text
