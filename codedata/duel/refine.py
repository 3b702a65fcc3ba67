"""Refine turns: ask the challenger again for a turn that won too narrowly, and show it the judges'
reasons.

The step `answer` of refine.py appends attempts to answer/_attempts/<stem>.jsonl. The step `judge`
judges each attempt against the king and writes score/_attempts/<stem>.<n>.json. If an attempt
scores higher than the current turn, its answer and score replace the current ones, which move to
_replaced/. Choosing the best of several attempts inflates the score: a turn that was refined often
owes part of its score to chance.
"""
from __future__ import annotations

import re
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

from codedata.code.turn import turn_text
from codedata.duel.answer import challenger_messages
from codedata.duel.duel_state import NO_SETTINGS, load_duel_state, write_duel
from codedata.duel.panel import Panel
from codedata.duel.prompt_texts import packaged_text
from codedata.duel.variants import Challenger
from codedata.llm import Models
from codedata.progress import plural
from codedata.records import (
    Answer,
    Attempts,
    AttemptScore,
    Commit,
    Defeat,
    Message,
    Refined,
    Sample,
    Score,
)
from codedata.settings import Settings
from codedata.states import Reads, Writes, read_digest
from codedata.store import Derived, Store, digest, digests_of, lock
from codedata.texts import fill

NO_REASON = "(they gave no reason)"


@dataclass(frozen=True)
class TurnToRefine(Sample):
    """Hold a turn to refine, with the attempts that were made at it before."""

    attempts: tuple[dict, ...] = ()


def turns_to_refine(root: Path, also_defeat: bool) -> Derived:
    """Return the turns to refine: those of refined/ and, if `also_defeat`, those of defeat/. The
    attempts at a turn are no orphans even after it moved to another bucket."""
    turns, answers, attempts = (Store(root, cls) for cls in (Refined, Answer, Attempts))
    if also_defeat:
        turns.directories.append(turns.root / Defeat.directory)

    def with_attempts(name: str, turn: Sample) -> dict[str, TurnToRefine]:
        made = attempts.read(name).attempts if name in attempts else ()
        return {name: TurnToRefine(**vars(turn), attempts=tuple(made))}

    return Derived(turns, with_attempts, joined=(answers, attempts), names_of=lambda name: [name],
                   keeps=answers.__contains__, derived=False)


def attempt_pairs(root: Path) -> Derived:
    """Return each attempt as an Answer with the king of its turn, named <stem>.<n> with n from 1.

    An attempt that was made for another history than the turn has now is left out.
    """
    answers = Store(root, Answer)

    def pairs_of(stem: str, record: Attempts) -> dict[str, Answer]:
        digests = answers.facts(stem).digests if stem in answers else {}
        if "king" not in digests:
            return {}
        answer, history = answers.read(stem), digests["messages"]
        return {f"{stem}.{k}": replace(answer, challenger=attempt["challenger"])
                for k, attempt in enumerate(record.attempts, 1)
                if attempt.get("history", history) == history}

    return Derived(Store(root, Attempts), pairs_of, joined=(answers,))


class Refiner(Challenger):
    """Make new attempts, in the step `answer`; make() is the item function."""

    prompts = ("challenger.md", "given_informed.md", "refine.md", "leak.md", "form.md")

    def __init__(self, settings: Settings, models: Models, also_defeat: bool):
        super().__init__("informed", settings, models)
        self._turns = turns_to_refine(settings.root, also_defeat)

    def reads(self) -> Reads:
        """Return the turns to refine and the fields of them that an attempt depends on."""
        return Reads(self._turns, fields=("messages", "challenger", "reasons", "tools"))

    def writes(self) -> Writes:
        """Return the store of the attempts, which a run appends to."""
        return Writes(Store(self._settings.root, Attempts), fields=("attempts",))

    def make(self, turn: TurnToRefine, commit: Commit) -> Attempts:
        """Return the attempts at a turn with a new one appended."""
        attempt = {"instance_id": turn.instance_id,
                   "challenger": super().make(turn, commit).challenger,
                   "instead_of": digest(turn.challenger), "score_then": turn.score,
                   "history": digest(turn.messages)}
        return Attempts(turn.instance_id, [*turn.attempts, attempt])

    def messages(self, turn: Sample, commit: Commit, more: str = "") -> list[Message]:
        """Return the challenger's request with its turn and the judges' reasons appended."""
        reasons = "\n".join(f"- {_addressed(entry['reason'])}" for entry in turn.reasons)
        note = fill(packaged_text("refine.md"), turn=turn_text(turn.challenger, turn.messages),
                    reasons=reasons or NO_REASON)
        return challenger_messages(self._client, turn, commit, "\n\n" + note.strip() + more)


def _addressed(reason: str) -> str:
    """Return a reason with the challenger called "your turn" and the king "the other turn"."""
    reason = re.sub(r"\b(?:the )?challenger\b", "your turn", reason, flags=re.IGNORECASE)
    return re.sub(r"\b(?:the )?king\b", "the other turn", reason, flags=re.IGNORECASE)


class RefineRun:
    """Judge the attempts and put the better ones into place, in the step `judge`."""

    def __init__(self, settings: Settings, models: Models, refresh: bool):
        self._settings, self.pairs = settings, attempt_pairs(settings.root)
        self.panel = Panel(settings, models, refresh, cls=AttemptScore)

    def finish(self) -> list[str]:
        """Replace turns by better attempts, decide the duel again, return lines to print."""
        answers, scores = (self._settings.root / cls.directory for cls in (Answer, Score))
        # no other process may write there meanwhile
        with lock(answers, None, "refine.py"), lock(scores, None, "refine.py"):
            gains = self._put_better()
        mean = f", {sum(gains) / len(gains):.1f} points on the mean" if gains else ""
        return [f"      {plural(len(gains), 'turn')} replaced by a better attempt{mean}",
                *write_duel(self._settings)]

    def _put_better(self) -> list[float]:
        """Replace turns by their best attempt if it is better; return the points gained by each."""
        state = load_duel_state(self._settings, Panel(self._settings))
        attempts = Store(self._settings.root, AttemptScore).open()
        current, edited, gains = set(state.plan.counting), set(state.plan.names["edited"]), []
        for stem, names in groupby(self.pairs.names(), lambda name: name.rpartition(".")[0]):
            scores = {name: score for name in names if name in attempts
                      and (score := attempts.read(name)).score is not None}
            if not scores or stem in edited or stem not in state.scores:
                continue
            best = max(scores, key=lambda name: scores[name].score)
            before, answer = state.scores.read(stem).score, self.pairs.read(best)
            was_killed = stem not in current and (   # after the answer, before the score
                state.answers.read(stem).challenger == answer.challenger)
            if was_killed or (stem in current and scores[best].score > (before or 0.0)):
                detail = {"refined": best, "score_before": before,
                          "score_after": scores[best].score}
                self._put_answer(state.answers, stem, answer, detail)
                self._put_score(state.scores, stem, answer, scores[best], detail)
                gains.append(scores[best].score - (before or 0.0))
        return gains

    def _put_answer(self, store: Store, stem: str, answer: Answer, detail: dict) -> None:
        """Write the attempt's challenger over the turn's, with the ledger line of a made one."""
        made = store.ledger.succeeded.get(("ch", stem))
        line = {"read": made.read, "settings": made.settings} if made else {}
        _replace(store, stem, answer, ("challenger",), stage="ch", detail=detail, **line)

    def _put_score(self, store: Store, stem: str, answer: Answer, score: AttemptScore,
                   detail: dict) -> None:
        """Write the attempt's score over the turn's, with the ledger line of a judged one."""
        parts = self.panel.parts()
        read = read_digest(digests_of(answer), self.panel.reads().fields)
        _replace(store, stem, replace(score, answer_file=f"{stem}.json"),
                 tuple(Score.__dataclass_fields__), stage="validate", detail=detail, read=read,
                 settings=NO_SETTINGS, parts=parts.of(score), view=parts.view)


def _replace(store: Store, name: str, record, owned: tuple[str, ...], **line) -> None:
    """Write the `owned` fields of a record and a ledger line; move the old record to _replaced/."""
    store.set_aside(name)
    state, edits = store.put(name, record, owned=owned, keep_edits=False)
    store.note(name, state="done", found=edits, **state.line(owned), **line)
