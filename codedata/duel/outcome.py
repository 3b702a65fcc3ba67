"""The outcome of a duel: which turns count, and score/_duel.json made from their verdicts.

Everything is computed from the records as they are on disk, so a file that was edited, deleted or added by hand counts
as it stands. A turn counts where its two answers are there and its score was made from them (or edited by a person).
"""
from __future__ import annotations

import fcntl
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from codedata.config import Settings
from codedata.duel.judges import SCORES, SIDES, Panel, generators
from codedata.duel.panel import JudgedTurn, kin_of, statistics
from codedata.duel.score import BOTH, KING_FIRST, Outcome, decide, turn_score
from codedata.errors import BrokenRecord
from codedata.progress import plural, say
from codedata.resume import WHOLE, Plan, States
from codedata.store import Store, digest, to_json, write_atomic

DUEL = "_duel.json"


@dataclass(frozen=True)
class Standing:
    """The turns of a duel and where they stand. `plan.current` are the names of those that count, in natural order."""

    answers: Store
    scores: Store
    plan: Plan

    @property
    def turns_left(self) -> int:
        """Both answers are there, and no verdict on them."""
        return sum(not item.current for item in self.plan.todo)


def standing(settings: Settings) -> Standing:
    """How the directories are now; reads no record that the ledgers know."""
    panel = Panel(settings)
    reads, writes = panel.reads(settings.root), panel.writes(settings.root)
    plan = States("validate", WHOLE, settings.exclude, reads, writes, None, digest({})).plan()
    return Standing(reads.store, writes.store, plan)


def write_duel(settings: Settings) -> list[str]:
    """Decide the duel from the records on disk and write <score>/_duel.json; returns how it went, for the terminal."""
    panel = Panel(settings)
    with _alone(settings.root / SCORES[panel.rival].directory):
        now, judged = standing(settings), []
        for name in now.plan.current:
            try:
                score, answer = now.scores.read(name), now.answers.read(name)
                longer_by = len(answer.challenger or "") - len(getattr(answer, SIDES[panel.rival]) or "")
                judged.append(JudgedTurn(score.instance_id, score.judges, longer_by))
            except BrokenRecord as e:
                say(f"validate.py: {e}")
        duel = decided(settings, panel, judged)
        kin = kin_of(panel.models, generators(settings.root))
        duel |= {"missing_answers": len(now.plan.lacking), "turns_left": now.turns_left,
                 "panel": statistics(judged, panel.names, kin, panel.order)}
        write_atomic(now.scores.into / DUEL, to_json(duel))
    return told(duel, f"{now.scores.into.name}/{DUEL}")


@contextmanager
def _alone(directory: Path):
    """Two shards that end together would else each write what it saw, and the slower one what it saw long ago."""
    directory.mkdir(parents=True, exist_ok=True)
    with open(directory / "_duel.lock", "a") as gate:
        fcntl.flock(gate, fcntl.LOCK_EX)
        yield


def decided(settings: Settings, panel: Panel, judged: list[JudgedTurn]) -> dict:
    """What _duel.json says of the turns, given in natural order."""
    own = settings.duel
    rules = {"win_margin": own.win_margin, "gate_alpha": own.gate_alpha, "seed": own.seed, "bootstrap": own.bootstrap,
             "min_valid_turn_frac": own.min_valid_turn_frac, "min_turns": own.min_turns}
    clusters = [turn.instance_id for turn in judged]

    def by(order: str) -> Outcome:
        turns = [turn_score(turn.judges, panel.names, order) for turn in judged]
        return decide(turns, panel.names, clusters=clusters, bootstrap_resamples=own.bootstrap_resamples, **rules)

    outcome = by(panel.order)
    total, rival = outcome.total, panel.rival
    classic = _numbers(by(KING_FIRST), rival) if panel.order == BOTH else None   # as if each judge was asked once
    return {"mode": rival, "order": panel.order, **_numbers(outcome, rival), **rules,
            "resamples": own.bootstrap_resamples, "turns": total.turns, "turns_parsed": total.turns_parsed,
            "turns_judged": total.turns_judged, "instances": len(set(clusters)), "metrics": total.metrics,
            "judges": {name: asdict(judge) for name, judge in total.judges.items()}, "classic": classic}


def _numbers(outcome: Outcome, rival: str) -> dict:
    total = outcome.total
    return {"challenger_score": total.challenger_score, f"{rival}_score": total.king_score, "margin": total.margin,
            "interval": outcome.interval, "lcb": outcome.lcb, "lcb_turn": outcome.lcb_turn,
            "lcb_cluster": outcome.lcb_cluster, "parsed_frac": total.parsed_frac, "accepted": outcome.accepted,
            "reasons": outcome.reasons}


def told(duel: dict, where: str) -> list[str]:
    """The outcome in one or two lines."""
    rival, n = duel["mode"], duel["missing_answers"]
    if duel["margin"] is None:
        numbers = "no scores"
    else:
        numbers = (f"challenger {duel['challenger_score']:.2f}, {rival} {duel[f'{rival}_score']:.2f}, margin "
                   f"{duel['margin']:.2f}, LCB {duel['lcb']:.4f}")
    verdict = "accepted" if duel["accepted"] else "not accepted: " + "; ".join(duel["reasons"])
    left = [f"{plural(duel['turns_left'], 'turn')} not judged yet"] if duel["turns_left"] else []
    left += [f"{plural(n, 'answer record')} without both sides"] if n else []
    return [f"      {numbers} over {plural(duel['turns'], 'turn')}: {verdict}   {where}",
            *([f"      not in it: {', '.join(left)}"] if left else [])]
