"""Refining: a turn that won, but not reliably, is answered again with what the judges said of it.

`ch.py --refine` appends attempts to answer/_attempts/<stem>.jsonl. `validate.py --refine` judges each against the king,
keeps that in score/_attempts/<stem>.<n>.json, and where an attempt scores higher than the turn does now, puts answer
and score into place; what was there goes to _replaced/. The best of several attempts looks better than it is: a turn
that was refined often owes part of its score to chance.
"""
from __future__ import annotations

import re
from contextlib import ExitStack
from dataclasses import fields, replace
from functools import partial
from pathlib import Path

from codedata.config import Settings
from codedata.duel.answer import ask_knowing, challenger_messages
from codedata.duel.judges import Panel
from codedata.duel.leaks import LeakCheck
from codedata.duel.outcome import NO_SETTINGS, standing, write_duel
from codedata.duel.texts import packaged_text, prompt_digest
from codedata.errors import Trouble
from codedata.ledger import Known
from codedata.llm import Client, Models
from codedata.progress import plural
from codedata.records import Answer, Attempts, AttemptScore, Commit, Defeat, Message, Refined, Sample, Score
from codedata.resume import Reads, Writes, read_digest
from codedata.store import Store, View, digest, digests_of, lock
from codedata.texts import fill

NO_REASON = "(they gave no reason)"


class Criticised(View):
    """The turns to refine: refined/, and defeat/ where asked."""

    cls = Refined

    def __init__(self, root: Path, also_defeat: bool):
        super().__init__()
        self._stores = [Store(root, cls) for cls in ((Refined, Defeat) if also_defeat else (Refined,))]
        self._answers, self._in = Store(root, Answer), {}

    def open(self) -> Criticised:
        self._answers.open()
        for store in self._stores:
            self._in.update(dict.fromkeys(store.open().names(), store))
            self.broken += store.broken
        return self

    def names(self):
        return self._in.keys()

    def __contains__(self, name: str) -> bool:
        return name in self._in

    def covers(self, name: str) -> bool:
        """Attempts at a turn that has left the bucket, for final/ perhaps, are no orphans."""
        return name in self._answers

    def facts(self, name: str) -> Known:
        return self._in[name].facts(name)

    def read(self, name: str) -> Sample:
        return self._in[name].read(name)


class Pairs(View):
    """Every attempt against its king: <stem>.<n>, from 1."""

    cls = Answer

    def __init__(self, root: Path):
        super().__init__()
        self.answers, self._attempts = Store(root, Answer), Store(root, Attempts)
        self._index: dict[str, tuple[str, int]] = {}

    def open(self) -> Pairs:
        self.answers.open()
        for stem in self._attempts.open().names():
            if stem in self.answers and "king" in self.answers.facts(stem).digests:
                n = len(self._attempts.read(stem).attempts)
                self._index.update({f"{stem}.{k}": (stem, k) for k in range(1, n + 1)})
        self.broken = [*self.answers.broken, *self._attempts.broken]
        return self

    def names(self):
        return self._index.keys()

    def read(self, name: str) -> Answer:
        stem, k = self._index[name]
        return replace(self.answers.read(stem), challenger=self._attempts.read(stem).attempts[k - 1]["challenger"])

    def by_turn(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for name, (stem, _) in self._index.items():
            found.setdefault(stem, []).append(name)
        return found


class Refiner:
    """`ch.py --refine`: make() is the item function."""

    def __init__(self, settings: Settings, models: Models):
        self._root = settings.root
        self._client, self._leaks = models.client("challenger"), LeakCheck(settings, models)

    def reads(self, also_defeat: bool) -> Reads:
        return Reads(Criticised(self._root, also_defeat), fields=("messages", "challenger", "reasons"))

    def writes(self) -> Writes:
        return Writes(Store(self._root, Attempts), fields=("attempts",), appends=True)

    def identity(self) -> dict:
        prompts = ("challenger.md", "pull_request.md", "refine.md", "leak.md", "form.md")
        return {**self._client.speaker.identity(), "prompt": [*map(prompt_digest, prompts)],
                "leaks": self._leaks.identity()}

    def requests(self, turn: Sample, commit: Commit, **_):
        yield self._client, messages_for(self._client, turn, commit)
        yield from self._leaks.requests(turn, commit)

    def make(self, turn: Sample, commit: Commit, old: Attempts | None) -> Attempts:
        """Return the attempts at a turn with one more behind them."""
        layout = partial(messages_for, self._client, turn, commit)
        made = {"instance_id": turn.instance_id,
                "challenger": ask_knowing(self._client, layout, turn.messages, commit, self._leaks),
                "instead_of": digest(turn.challenger), "score_then": turn.score}
        return Attempts(turn.instance_id, [*(old.attempts if old else []), made])


def messages_for(client: Client, turn: Sample, commit: Commit, more: str = "") -> list[Message]:
    """Return the challenger's request, with what the judges said of its turn."""
    said = "\n".join(f"- {_from_its_side(entry['reason'])}" for entry in turn.reasons) or NO_REASON
    answer = Answer(turn.instance_id, turn.messages, turn.assistant, turn.king, turn.challenger)
    note = fill(packaged_text("refine.md"), turn=turn.challenger or "", reasons=said)
    return challenger_messages(client, answer, commit, "\n\n" + note.strip() + more)


def _from_its_side(reason: str) -> str:
    reason = re.sub(r"\b(?:the )?challenger\b", "your turn", reason, flags=re.IGNORECASE)
    return re.sub(r"\b(?:the )?king\b", "the other turn", reason, flags=re.IGNORECASE)


class Refining:
    """`validate.py --refine`, for stage.run()."""

    def __init__(self, settings: Settings, panel: Panel):
        if panel.rival != "king":
            raise Trouble("--refine is about the king: it does not go with --mode reference.")
        self.settings, self.panel, self._pairs = settings, panel, Pairs(settings.root)
        panel.cls = AttemptScore

    def reads(self) -> Reads:
        return Reads(self._pairs, fields=("messages", "king", "challenger"))

    def writes(self) -> Writes:
        return self.panel.writes(self.settings.root)

    def finish(self) -> list[str]:
        """Put what is better into place and decide the duel again; returns what to say."""
        with ExitStack() as held:
            for cls in (Answer, Score):   # nobody else may be writing there
                held.enter_context(lock(self.settings.root / cls.directory, None, "validate.py --refine"))
            won = self._put_better()
        gain = f", {sum(after - before for before, after in won) / len(won):.1f} points on the mean" if won else ""
        return [f"      {plural(len(won), 'turn')} replaced by a better attempt{gain}", *write_duel(self.settings)]

    def _put_better(self) -> list[tuple[float, float]]:
        """[(score before, score now)] of the turns that were replaced."""
        now, attempts = standing(self.settings, Panel(self.settings)), Store(self.settings.root, AttemptScore).open()
        current, edited, won = set(now.plan.current), set(now.plan.names["edited"]), []
        for stem, names in self._pairs.by_turn().items():
            scores = {name: attempts.read(name) for name in names if name in attempts}
            best = max((n for n in scores if scores[n].score is not None), default="", key=lambda n: scores[n].score)
            if not best or stem in edited or stem not in now.scores:
                continue
            before, answer = now.scores.read(stem), self._pairs.read(best)
            halfway = now.answers.read(stem).challenger == answer.challenger and stem not in current   # killed then
            if halfway or (stem in current and scores[best].score > (before.score or 0.0)):
                self._put(now.answers, now.scores, stem, answer, scores[best], best)
                won.append((before.score or 0.0, scores[best].score))
        return won

    def _put(self, answers: Store, scores: Store, stem: str, answer: Answer, attempt: AttemptScore, name: str) -> None:
        before = scores.read(stem)
        detail = {"refined": name, "score_before": before.score, "score_after": attempt.score}
        answers.set_aside(stem)
        scores.set_aside(stem)
        made = answers.book.made.get(("ch", stem))
        known, found = answers.put(stem, answer, own=("challenger",), keep_edits=False)
        answers.note(stem, stage="ch", state="done", instance_id=known.instance_id, read=made.read if made else "",
                     found=found, wrote={"challenger": known.digests["challenger"]}, size=known.size,
                     mtime_ns=known.mtime_ns, settings=made.settings if made else "", detail=detail)
        score = Score(**{f.name: getattr(attempt, f.name) for f in fields(Score)} | {"answer_file": f"{stem}.json"})
        parts, digests = self.panel.parts(), digests_of(answer)
        known, found = scores.put(stem, score, own=tuple(f.name for f in fields(Score)), keep_edits=False)
        scores.note(stem, stage="validate", state="done", instance_id=known.instance_id, found=found,
                    read=read_digest(digests, self.reads().fields), wrote=known.digests, size=known.size,
                    mtime_ns=known.mtime_ns, settings=NO_SETTINGS, parts=parts.of(score), view=parts.view,
                    detail=detail)
