"""Refine turns: ask the challenger again for a turn that won too narrowly, and show it the judges'
reasons.

`ch.py --refine` appends attempts to answer/_attempts/<stem>.jsonl. `validate.py --refine` judges
each attempt against the king and writes score/_attempts/<stem>.<n>.json. If an attempt scores
higher than the current turn, its answer and score replace the current ones, which move to
_replaced/. Choosing the best of several attempts inflates the score: a turn that was refined often
owes part of its score to chance.
"""
from __future__ import annotations

import re
from contextlib import ExitStack
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path

from codedata.duel.answer import ask_knowing, challenger_messages
from codedata.duel.duel_state import NO_SETTINGS, load_duel_state, write_duel
from codedata.duel.panel import Panel
from codedata.duel.prompt_texts import packaged_text, prompt_digest
from codedata.errors import Trouble
from codedata.leak.cache import LeakCheck
from codedata.ledger import FileState
from codedata.llm import Client, Models
from codedata.progress import plural
from codedata.records import Answer, Attempts, AttemptScore, Commit, Defeat, Message, Refined, Sample, Score
from codedata.settings import Settings
from codedata.states import Reads, Writes, read_digest
from codedata.store import Store, View, digest, digests_of, lock
from codedata.texts import fill

NO_REASON = "(they gave no reason)"


@dataclass(frozen=True)
class TurnToRefine(Sample):
    """Hold a turn to refine, with the attempts that were made at it before."""

    attempts: tuple[dict, ...] = ()


class TurnsToRefine(View):
    """Read the turns to refine: those of refined/ and, if `also_defeat`, those of defeat/."""

    cls = Refined

    def __init__(self, root: Path, also_defeat: bool):
        super().__init__()
        self._stores = [Store(root, cls) for cls in ((Refined, Defeat) if also_defeat else (Refined,))]
        self._answers, self._attempts = Store(root, Answer), Store(root, Attempts)
        self._in = {}

    def open(self) -> TurnsToRefine:
        """Read the listings of the stores and return self."""
        self._answers.open()
        self._attempts.open()
        for store in self._stores:
            self._in.update(dict.fromkeys(store.open().names(), store))
            self.broken += store.broken
        return self

    def names(self):
        """Return the stems of the turns to refine."""
        return self._in.keys()

    def __contains__(self, name: str) -> bool:
        return name in self._in

    def covers(self, name: str) -> bool:
        """Return whether the turn has an answer: its attempts are no orphans even after it moved to
        another bucket.
        """
        return name in self._answers

    def facts(self, name: str) -> FileState:
        """Return the digests of a turn from the store that holds it."""
        return self._in[name].facts(name)

    def read(self, name: str) -> TurnToRefine:
        """Return a turn with the attempts at it."""
        attempts = self._attempts.read(name).attempts if name in self._attempts else ()
        return TurnToRefine(**vars(self._in[name].read(name)), attempts=tuple(attempts))


class Pairs(View):
    """Read each attempt as an Answer with the king of its turn, named <stem>.<n> with n from 1."""

    cls = Answer

    def __init__(self, root: Path):
        super().__init__()
        self.answers, self._attempts = Store(root, Answer), Store(root, Attempts)
        self._index: dict[str, tuple[str, int]] = {}

    def open(self) -> Pairs:
        """Index every attempt whose turn has a king, and return self."""
        self.answers.open()
        for stem in self._attempts.open().names():
            if stem in self.answers and "king" in self.answers.facts(stem).digests:
                n = len(self._attempts.read(stem).attempts)
                self._index.update({f"{stem}.{k}": (stem, k) for k in range(1, n + 1)})
        self.broken = [*self.answers.broken, *self._attempts.broken]
        return self

    def names(self):
        """Return the names of all attempts."""
        return self._index.keys()

    def read(self, name: str) -> Answer:
        """Return the answer of the turn with the attempt as its challenger."""
        stem, k = self._index[name]
        return replace(self.answers.read(stem), challenger=self._attempts.read(stem).attempts[k - 1]["challenger"])

    def by_turn(self) -> dict[str, list[str]]:
        """Return {stem: names of its attempts}."""
        found: dict[str, list[str]] = {}
        for name, (stem, _) in self._index.items():
            found.setdefault(stem, []).append(name)
        return found


class Refiner:
    """Make new attempts for `ch.py --refine`; make() is the item function."""

    def __init__(self, settings: Settings, models: Models):
        self._root = settings.root
        self._client, self._leaks = models.client("challenger"), LeakCheck(settings, models)

    def reads(self, also_defeat: bool) -> Reads:
        """Return the turns to refine and the fields of them that an attempt depends on."""
        return Reads(TurnsToRefine(self._root, also_defeat), fields=("messages", "challenger", "reasons"))

    def writes(self) -> Writes:
        """Return the store of the attempts, which a run appends to."""
        return Writes(Store(self._root, Attempts), fields=("attempts",))

    def identity(self) -> dict:
        """Return the settings that an attempt depends on: model, prompts and leak check."""
        prompts = ("challenger.md", "pull_request.md", "refine.md", "leak.md", "form.md")
        return {**self._client.spec.identity(), "prompt": [*map(prompt_digest, prompts)],
                "leaks": self._leaks.identity()}

    def requests(self, turn: Sample, commit: Commit):
        """Yield (client, messages) of the calls to expect, for --dry-run."""
        yield self._client, messages_for(self._client, turn, commit)
        yield from self._leaks.requests(turn, commit)

    def make(self, turn: TurnToRefine, commit: Commit) -> Attempts:
        """Return the attempts at a turn with a new one appended."""
        layout = partial(messages_for, self._client, turn, commit)
        made = {"instance_id": turn.instance_id,
                "challenger": ask_knowing(self._client, layout, turn.messages, commit, self._leaks),
                "instead_of": digest(turn.challenger), "score_then": turn.score}
        return Attempts(turn.instance_id, [*turn.attempts, made])


def messages_for(client: Client, turn: Sample, commit: Commit, more: str = "") -> list[Message]:
    """Return the challenger's request with its turn and the judges' reasons appended."""
    said = "\n".join(f"- {_from_its_side(entry['reason'])}" for entry in turn.reasons) or NO_REASON
    answer = Answer(turn.instance_id, turn.messages, turn.assistant, turn.king, turn.challenger)
    note = fill(packaged_text("refine.md"), turn=turn.challenger or "", reasons=said)
    return challenger_messages(client, answer, commit, "\n\n" + note.strip() + more)


def _from_its_side(reason: str) -> str:
    """Return a reason with the challenger called "your turn" and the king "the other turn"."""
    reason = re.sub(r"\b(?:the )?challenger\b", "your turn", reason, flags=re.IGNORECASE)
    return re.sub(r"\b(?:the )?king\b", "the other turn", reason, flags=re.IGNORECASE)


class RefineRun:
    """Judge the attempts for `validate.py --refine`, by stage.run()."""

    def __init__(self, settings: Settings, panel: Panel):
        if panel.rival != "king":
            raise Trouble("--refine is about the king: it does not go with --mode reference.")
        self.settings, self.panel, self._pairs = settings, panel, Pairs(settings.root)
        panel.cls = AttemptScore

    def reads(self) -> Reads:
        """Return the attempts and the fields of them that a score depends on."""
        return Reads(self._pairs, fields=("messages", "king", "challenger"))

    def writes(self) -> Writes:
        """Return the store of the scores of attempts."""
        return self.panel.writes(self.settings.root)

    def finish(self) -> list[str]:
        """Replace turns by better attempts, decide the duel again, return lines to print."""
        with ExitStack() as held:
            for cls in (Answer, Score):   # no other process may write there meanwhile
                held.enter_context(lock(self.settings.root / cls.directory, None, "validate.py --refine"))
            won = self._put_better()
        gain = f", {sum(after - before for before, after in won) / len(won):.1f} points on the mean" if won else ""
        return [f"      {plural(len(won), 'turn')} replaced by a better attempt{gain}", *write_duel(self.settings)]

    def _put_better(self) -> list[tuple[float, float]]:
        """Replace turns by their best attempt if it is better; return [(old, new score)]."""
        now, attempts = load_duel_state(self.settings, Panel(self.settings)), Store(self.settings.root, AttemptScore).open()
        current, edited, won = set(now.plan.counting), set(now.plan.names["edited"]), []
        for stem, names in self._pairs.by_turn().items():
            scores = {name: attempts.read(name) for name in names if name in attempts}
            best = max((n for n in scores if scores[n].score is not None), default="", key=lambda n: scores[n].score)
            if not best or stem in edited or stem not in now.scores:
                continue
            before, answer = now.scores.read(stem), self._pairs.read(best)
            halfway = now.answers.read(stem).challenger == answer.challenger and stem not in current   # killed
            if halfway or (stem in current and scores[best].score > (before.score or 0.0)):
                self._put(now.answers, now.scores, stem, answer, scores[best], best)
                won.append((before.score or 0.0, scores[best].score))
        return won

    def _put(self, answers: Store, scores: Store, stem: str, answer: Answer, attempt: AttemptScore, name: str) -> None:
        """Replace the answer and score of a turn; move the old ones to _replaced/."""
        before = scores.read(stem)
        detail = {"refined": name, "score_before": before.score, "score_after": attempt.score}
        answers.set_aside(stem)
        scores.set_aside(stem)
        made = answers.ledger.succeeded.get(("ch", stem))
        known, found = answers.put(stem, answer, owned=("challenger",), keep_edits=False)
        answers.note(stem, stage="ch", state="done", instance_id=known.instance_id, read=made.read if made else "",
                     found=found, wrote={"challenger": known.digests["challenger"]}, size=known.size,
                     mtime_ns=known.mtime_ns, settings=made.settings if made else "", detail=detail)
        score = Score(**{f.name: getattr(attempt, f.name) for f in fields(Score)} | {"answer_file": f"{stem}.json"})
        parts, digests = self.panel.parts(), digests_of(answer)
        known, found = scores.put(stem, score, owned=tuple(f.name for f in fields(Score)), keep_edits=False)
        scores.note(stem, stage="validate", state="done", instance_id=known.instance_id, found=found,
                    read=read_digest(digests, self.reads().fields), wrote=known.digests, size=known.size,
                    mtime_ns=known.mtime_ns, settings=NO_SETTINGS, parts=parts.of(score), view=parts.view,
                    detail=detail)
