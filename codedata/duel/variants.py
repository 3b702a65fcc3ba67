"""Make the challenger in one of four variants, and choose the directory of its records.

informed   the prompt contains the pull request; the default
hinted     the prompt contains one sentence on where to look next, drawn from it by another call
chosen     a model that sees the pull request picks one of several blind answers
placebo    the prompt is that of `informed` without the pull request: the effect of the prompt alone

The variant of the root's settings fills answer/; `ch.py --how X` with another one writes
variants/X/, which `validate.py --how X` judges.
"""
from __future__ import annotations

import json
import re
from dataclasses import replace
from functools import partial
from pathlib import Path

from codedata.duel.answer import (
    ask_knowing,
    ask_turn,
    challenger_messages,
    challenger_note,
    king_messages,
    placebo_messages,
    with_note,
)
from codedata.duel.prompt_texts import packaged_text, prompt_digest
from codedata.errors import Excluded
from codedata.leak.cache import LeakCheck
from codedata.leak.request import with_pull_request
from codedata.llm import Client, Models, Reply
from codedata.records import Answer, Commit, Message, variant
from codedata.settings import Settings
from codedata.states import Reads, Writes
from codedata.store import Store
from codedata.texts import fill

BLIND_TEMPERATURE = 1.0   # temperature of the candidates: at 0 they would all be the same
MAX_HINT_CHARS = 600
CHOICE = {"name": "choice", "strict": True, "schema": {
    "type": "object", "additionalProperties": False, "required": ["why", "choice"],
    "properties": {"why": {"type": "string"}, "choice": {"type": "integer"}}}}
PROMPTS = {   # on which a turn depends
    "informed": ("challenger.md", "pull_request.md", "leak.md", "form.md"),
    "hinted": ("challenger.md", "pull_request.md", "hint.md", "leak.md", "form.md"),
    "chosen": ("choose.md", "pull_request.md", "form.md"),
    "placebo": ("challenger.md", "form.md")}


class Challenger:
    """Make the challenger of one variant; make() is the item function of ch.py."""

    def __init__(self, how: str, settings: Settings, models: Models):
        self.how, self._n_candidates = how, settings.challenger.candidates
        self._client = models.client("challenger")
        is_blind = how in ("chosen", "placebo")
        self._leaks = LeakCheck(settings, models, is_on=not is_blind)
        king = models.client("king") if how == "chosen" else None
        self._blind = king and Client(
            replace(king.spec, temperature=BLIND_TEMPERATURE), models)

    def make(self, answer: Answer, commit: Commit) -> Answer:
        """Return the record with the challenger's turn.

        Raise Excluded if no blind answer is chosen.
        """
        return replace(answer, challenger=self._turn(answer, commit))

    def _turn(self, answer: Answer, commit: Commit) -> str:
        """Return the challenger's turn."""
        if self.how == "placebo":
            return ask_turn(self._client, placebo_messages(self._client, answer))
        if self.how == "chosen":
            return self._choose(answer, commit)
        layout = partial(challenger_messages, self._client, answer, commit)
        if self.how == "hinted":
            layout = partial(_hinted_messages, self._client, answer, self._hint(answer, commit))
        return ask_knowing(self._client, layout, answer.messages, commit, self._leaks)

    def requests(self, answer: Answer, commit: Commit, **_):
        """Yield (client, messages) of the calls that are certain to be made, for --dry-run."""
        if self.how == "chosen":
            candidate = self._blind, king_messages(self._blind, answer.messages)
            yield from [candidate] * self._n_candidates
        if self.how == "placebo":
            yield self._client, placebo_messages(self._client, answer)
        else:
            yield self._client, challenger_messages(self._client, answer, commit)
        yield from self._leaks.requests(answer, commit)

    def identity(self) -> dict:
        """Return the settings that a turn depends on besides its inputs."""
        how = {"how": self.how} if self.how != "informed" else {}
        blind = self._blind and {"blind": self._blind.spec.identity(),
                                 "candidates": self._n_candidates}
        return {**self._client.spec.identity(), **how, **(blind or {}),
                "prompt": [*map(prompt_digest, PROMPTS[self.how])],
                "leaks": self._leaks.identity()}

    def _hint(self, answer: Answer, commit: Commit) -> str:
        """Return the hint that a model makes from the pull request, in one line."""
        messages = with_pull_request(self._client, answer.messages, _note("hint.md"), commit)
        return " ".join(self._client.chat(messages).text.split())[:MAX_HINT_CHARS]

    def _choose(self, answer: Answer, commit: Commit) -> str:
        """Return the blind answer that a model picks; raise Excluded if it picks none."""
        messages = king_messages(self._blind, answer.messages)
        turns = [ask_turn(self._blind, messages) for _ in range(self._n_candidates)]
        turns = list(dict.fromkeys(turns))
        candidates = "\n\n".join(f"[[{i}]]\n{turn}" for i, turn in enumerate(turns, 1))
        request = with_pull_request(self._client, answer.messages, _note("choose.md"), commit,
                                    candidates=candidates)
        reply = self._client.chat(request, accept=partial(_choice_problem, n=len(turns)),
                                  schema=CHOICE)
        choice = _choice(reply.text)
        if not choice:
            raise Excluded("none of the blind answers was picked")
        return turns[choice - 1]


def reads(root: Path) -> Reads:
    """Return the answers and the fields of them that a challenger depends on."""
    return Reads(Store(root, Answer), fields=("instance_id", "messages"), made_by="king")


def writes(settings: Settings, how: str, answers: Store) -> Writes:
    """Return the store of a variant's turns: answer/ for the root's own, else variants/<how>/."""
    if how == settings.challenger.how:
        return Writes(answers, fields=("challenger",))
    return Writes(Store(settings.root, variant(Answer, how)), copies=("assistant", "king"),
                  fields=("instance_id", "messages", "assistant", "king", "challenger"))


def _note(name: str) -> str:
    """Return a note whose {given} is the text with the pull request."""
    return fill(packaged_text(name), given=packaged_text("pull_request.md").strip()).strip()


def _hinted_messages(client: Client, answer: Answer, hint: str, more: str = "") -> list[Message]:
    """Return the request with the hint in place of the pull request."""
    note = challenger_note("What is known of the pull request is one sentence, the place of the "
                           f"next useful look: {hint}")
    return with_note(client, answer.messages, note + more)


def _choice(text: str) -> int | None:
    """Return the choice in a reply, 0 for no candidate; None if the reply holds no number."""
    objects = re.findall(r'\{[^{}]*"choice"[^{}]*\}', text)
    try:
        choice = json.loads(objects[-1])["choice"]
    except (ValueError, LookupError):
        return None
    return choice if type(choice) is int else None


def _choice_problem(reply: Reply, n: int) -> str | None:
    """Return the problem with a reply that makes no valid choice, or None."""
    choice = _choice(reply.text)
    return None if choice is not None and 0 <= choice <= n else f"no choice from 0 to {n}"
