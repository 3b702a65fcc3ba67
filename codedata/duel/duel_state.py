"""Find the turns of a duel that count, and write its outcome to score/_duel.json.

Everything is computed from the records on disk, so files that were edited, deleted or added by hand
are taken into account. A turn counts if both its answers exist and its score was made from them (or
edited by a person).
"""
from __future__ import annotations

import fcntl
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from codedata.bounded import open_appending
from codedata.duel.judge_stats import JudgedTurn, same_family, statistics
from codedata.duel.panel import SIDES, Panel, generators
from codedata.duel.scoring import BOTH, KING_FIRST, DuelOutcome, decide, turn_score
from codedata.errors import BrokenRecord
from codedata.llm.embedded import NOISE
from codedata.progress import plural, say
from codedata.records import DUEL, Answer, Score
from codedata.settings import EMBEDDED_MODEL, DuelSettings, Settings
from codedata.states import Plan, States
from codedata.store import Store, digest, to_json, write_atomic

RULES = ("win_margin", "gate_alpha", "seed", "bootstrap", "bootstrap_resamples", "min_valid_turn_frac", "min_turns",
         "min_instances")
# these fields of a judge's entry are kept in memory; its texts are not
COUNTED = ("judge", "order", "parse_ok", "scores", "error", "truncated", "usage")
NO_SETTINGS = digest({})   # stage.run() notes this: each verdict's entry holds its settings


@dataclass(frozen=True)
class DuelState:
    """Hold the state of a duel's turns. `plan.current` names those that count, in natural order."""

    answers: Store
    scores: Store
    plan: Plan

    @property
    def turns_left(self) -> int:
        """Return the number of turns that have both answers but no score that counts."""
        return sum(not item.counts for item in self.plan.todo)


def load_duel_state(settings: Settings, panel: Panel) -> DuelState:
    """Return the state of the turns on disk. Only records that the ledgers do not know are read."""
    reads, writes = panel.reads(), panel.writes()
    plan = States("validate", reads, writes, exclude=settings.exclude, settings=NO_SETTINGS).plan()
    return DuelState(reads.store, writes.store, plan)


def write_duel(settings: Settings, how: str = "") -> list[str]:
    """Decide the duel from the records on disk, write _duel.json, and return its summary lines."""
    panel = Panel(settings, how=how)
    with _alone(settings.root / panel.cls.directory):
        now, judged = load_duel_state(settings, panel), []
        for name in now.plan.counting:
            try:
                judged.append(judged_turn(panel, now.answers.read(name), now.scores.read(name)))
            except BrokenRecord as e:
                say(f"validate.py: {e}")
        duel = duel_record(settings.duel, panel, judged, now.turns_left)
        kin = same_family(panel.models, generators(settings.root))
        duel |= {"missing_answers": len(now.plan.lacking), "panel": statistics(judged, panel.names, kin, panel.order)}
        write_atomic(now.scores.into / DUEL, to_json(duel))
    return summary_lines(duel, f"{now.scores.into.name}/{DUEL}")


def judged_turn(panel: Panel, answer: Answer, score: Score) -> JudgedTurn:
    """Return the data of a turn that decides the duel, without the answers and replies."""
    longer_by = len(answer.challenger or "") - len(getattr(answer, SIDES[panel.rival]) or "")
    entries = [{key: entry[key] for key in COUNTED if key in entry} for entry in score.judges]
    return JudgedTurn(score.instance_id, entries, longer_by)


@contextmanager
def _alone(directory: Path):
    """Lock _duel.json, so that the slower of two shards does not overwrite it with old numbers."""
    directory.mkdir(parents=True, exist_ok=True)
    with open(open_appending(directory / "_duel.lock"), "a") as gate:
        fcntl.flock(gate, fcntl.LOCK_EX)
        yield


def duel_record(own: DuelSettings, panel: Panel, judged: list[JudgedTurn], turns_left: int = 0) -> dict:
    """Return _duel.json without `panel` and `missing_answers`, for turns in natural order."""
    rules = {key: getattr(own, key) for key in RULES}
    clusters = [turn.instance_id for turn in judged]

    def by(order: str) -> tuple[DuelOutcome, list]:
        turns = [turn_score(turn.judges, panel.names, order) for turn in judged]
        return decide(turns, panel.names, own, clusters, turns_left), turns

    (outcome, turns), rival = by(panel.order), panel.rival
    total = outcome.total
    # this is the outcome if each judge had been asked once, king first
    classic = _numbers(by(KING_FIRST)[0], rival) if panel.order == BOTH else None
    judges = {name: {**asdict(judge), "model": panel.models[name]} for name, judge in total.judges.items()}
    return {"mode": rival, "order": panel.order, **_numbers(outcome, rival), **rules,
            "resamples": own.bootstrap_resamples, "turns": total.turns, "turns_parsed": total.turns_parsed,
            "turns_judged": total.turns_judged, "turns_left": turns_left, "instances": len(set(clusters)),
            "metrics": total.metrics, "judges": judges, "classic": classic,
            "verdicts": digest([turn.by_judge for turn in turns])}


def _numbers(outcome: DuelOutcome, rival: str) -> dict:
    total = outcome.total
    return {"challenger_score": total.challenger_score, f"{rival}_score": total.king_score, "margin": total.margin,
            "interval": outcome.interval and list(outcome.interval), "lcb": outcome.lcb, "lcb_turn": outcome.lcb_turn,
            "lcb_cluster": outcome.lcb_cluster, "parsed_frac": total.parsed_frac, "accepted": outcome.accepted,
            "reasons": outcome.reasons}


def summary_lines(duel: dict, where: str) -> list[str]:
    """Return the outcome as one to three lines for the terminal. `where` is the path to print."""
    rival, n = duel["mode"], duel["missing_answers"]
    if duel["margin"] is None:
        numbers = "no scores"
    else:
        numbers = (f"challenger {duel['challenger_score']:.2f}, {rival} {duel[f'{rival}_score']:.2f}, margin "
                   f"{duel['margin']:.2f}, LCB {duel['lcb']:.4f}")
    verdict = "accepted" if duel["accepted"] else "not accepted: " + "; ".join(duel["reasons"])
    left = [f"{plural(duel['turns_left'], 'turn')} not judged yet"] if duel["turns_left"] else []
    left += [f"{plural(n, 'answer record')} without both sides"] if n else []
    lines = [f"      {numbers} over {plural(duel['turns'], 'turn')}: {verdict}   {where}"]
    lines += [f"      not in it: {', '.join(left)}"] if left else []
    return lines + ([f"      {NOISE}"] if any(j["model"] == EMBEDDED_MODEL for j in duel["judges"].values()) else [])
