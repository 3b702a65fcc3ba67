"""The turns of a duel as report.py shows them: what counts of each, and what is found by program."""
from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

import orjson

from codedata.config import Settings
from codedata.duel.action import action_style
from codedata.duel.buckets import bucket_of, injections
from codedata.duel.format import parse_turn
from codedata.duel.judges import SCORES, SIDES, Panel
from codedata.duel.loops import repeated, stalls
from codedata.duel.outcome import DUEL, RULES, Standing, decided, judged_turn, standing
from codedata.duel.score import BOTH, KING_FIRST, turn_score
from codedata.errors import BrokenRecord, Trouble
from codedata.progress import say
from codedata.records import Answer, Commit, Score
from codedata.store import Store

STAGE = "report"
MAYBE = (int, float, type(None))
KINDS = {"mode": str, "order": str, "judges": dict, "metrics": dict, "reasons": list, "accepted": bool, "verdicts": str,
         "challenger_score": MAYBE, "margin": MAYBE, "lcb": MAYBE, "lcb_turn": MAYBE, "lcb_cluster": MAYBE,
         "interval": (list, type(None)), "classic": (dict, type(None)), "bootstrap": str, "panel": dict,
         **dict.fromkeys(("turns", "turns_parsed", "turns_judged", "turns_left", "missing_answers", "instances",
                          "resamples", "seed", "min_turns", "bootstrap_resamples"), int),
         **dict.fromkeys(("parsed_frac", "win_margin", "gate_alpha", "min_valid_turn_frac"), (int, float))}
SAME = 1e-9   # a score this near to its verdicts' was not edited


@dataclass(frozen=True)
class Row:
    """A turn in the table."""

    name: str
    language: str
    score: float | None
    metrics: dict[str, float]
    styles: tuple[str, str]   # of the rival's command and of the challenger's
    repeats: tuple[str, ...]  # the sides whose command was given before, or shows and changes nothing
    is_flagged: bool          # one of the answers speaks to its judge
    bucket: str               # "" where it is exported nowhere


@dataclass
class Turns:
    """What the directories hold."""

    now: Standing
    duel: dict                                       # _duel.json
    panel: Panel                                     # that it was decided by
    scores: dict[str, tuple[float | None, dict[str, float]]] = field(default_factory=dict)   # score, metrics by name
    rows: list[Row] = field(default_factory=list)
    edited: list[str] = field(default_factory=list)  # their `score` is not what their verdicts say
    broken: int = 0
    outdated: bool = False                           # _duel.json was made from other verdicts

    @property
    def buckets(self) -> Counter:
        return Counter(row.bucket for row in self.rows if row.bucket)


def read_turns(settings: Settings, judge_again: str) -> Turns:
    """Every turn that counts, in natural order, by the panel of _duel.json. Broken records are named and left out."""
    own = settings.duel
    duel = _read_duel(settings.root / SCORES[own.mode].directory / DUEL, own.mode, f"Run: {judge_again}")
    panel = Panel(settings, decided=duel)
    now = standing(settings, panel)
    turns = Turns(now, duel, panel)
    for e in now.plan.broken.values():
        say(f"{STAGE}.py: {e}")
    commits, judged = Store(settings.root, Commit).open(), []
    of_other_panels = {*now.plan.names["stale"], *now.plan.names["incomplete"], *now.plan.names["failed"]}
    for name in now.plan.current:
        try:
            answer, score = now.answers.read(name), now.scores.read(name)
            judged.append(judged_turn(now, panel, name))
        except BrokenRecord as e:
            say(f"{STAGE}.py: {e}")
            turns.broken += 1
            continue
        meant = turn_score(score.judges, panel.names, panel.order)
        if name in of_other_panels:   # its score is what another panel said
            score = replace(score, score=meant.score, metrics=meant.metrics)
        elif (score.score is None) != (meant.score is None) or abs((score.score or 0) - (meant.score or 0)) > SAME:
            turns.edited.append(name)
        turns.scores[name] = score.score, score.metrics
        turns.rows.append(_row(name, answer, score, _language(commits, answer.instance_id, turns), panel, settings))
    rules = replace(own, **{key: duel[key] for key in RULES})
    turns.outdated = any(duel.get(key) != value for key, value in decided(rules, panel, judged, now.turns_left).items())
    return turns


def _language(commits: Store, instance_id: str, turns: Turns) -> str:
    try:
        return commits.read(instance_id).language if instance_id in commits else "unknown"
    except BrokenRecord as e:   # costs the turn its language, nothing else
        say(f"{STAGE}.py: {e}")
        turns.broken += 1
        return "unknown"


def _row(name: str, answer: Answer, score: Score, language: str, panel: Panel, settings: Settings) -> Row:
    sides = {panel.rival: getattr(answer, SIDES[panel.rival]), "challenger": answer.challenger}
    is_flagged = bool(injections(answer))
    bucket = "" if score.score is None else bucket_of(score.score, settings.report, is_flagged).directory
    idle = tuple(side for side, text in sides.items() if _is_idle(text, answer.messages))
    return Row(name, language, score.score, score.metrics, tuple(map(_style, sides.values())), idle, is_flagged, bucket)


def _style(text: str | None) -> str:
    """What the command of a turn does; "none" where it holds no command that a harness would run."""
    turn = parse_turn(text or "")
    return action_style(turn.command) if turn else "none"


def _is_idle(text: str | None, messages: list[dict]) -> bool:
    turn = parse_turn(text or "")
    return turn is not None and (bool(repeated(turn.command, messages)) or stalls(turn.command))


def _read_duel(path: Path, mode: str, todo: str) -> dict:
    """_duel.json, with everything in it that a report says, or Trouble."""
    try:
        duel = orjson.loads(path.read_bytes())
        for key, kind in KINDS.items():
            if not isinstance(duel[key], kind):
                raise ValueError(f"`{key}` is {duel[key]!r}")
        if duel["mode"] != mode or duel["order"] not in (BOTH, KING_FIRST) or not duel["judges"]:
            raise ValueError("its mode, order or judges are none")
        if not isinstance(duel[f"{mode}_score"], MAYBE):
            raise ValueError(f"`{mode}_score` is {duel[f'{mode}_score']!r}")
        for judge in duel["judges"].values():
            if not (isinstance(judge["score"], MAYBE) and isinstance(judge["parse_rate"], MAYBE)
                    and isinstance(judge["metrics"], dict) and isinstance(judge["model"], str)):
                raise ValueError(f"a judge is {judge!r}")
        return duel
    except FileNotFoundError:
        raise Trouble("is not there.", str(path), todo) from None
    except (ValueError, KeyError, TypeError, AttributeError) as e:
        raise Trouble(f"is not the outcome of a duel: {e}", str(path), todo) from e
