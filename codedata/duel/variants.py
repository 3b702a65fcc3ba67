"""Make the challenger in one of two variants, and choose the directory of its records.

informed   the prompt contains the pull request; the default
chosen     the best of several blind answers. An edit that passes fewer of the pull request's tests
           than another edit is dropped. A model that sees the pull request picks one of the rest;
           it must pick the same answer in two orders

The variant in the root's settings fills answer/. `ch.py --how X` with another variant X writes
variants/X/, which `validate.py --how X` judges.
"""
from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import pairwise

from codedata.conversation.turn import Form, clean, plain, turn_text
from codedata.disk.store import Store, digest
from codedata.duel.agreement import (
    MIN_SAMPLES,
    ask_samples,
    n_samples,
    sampler_of,
    samples_of,
    take_same_step,
)
from codedata.duel.answer import (
    TurnRecord,
    ask_turn,
    form_note,
    king_messages,
    note_forms,
    read_turn,
    to_count,
    tools_json,
)
from codedata.duel.executed import Execution, execution_of
from codedata.duel.oversized import oversized
from codedata.duel.prompt_texts import packaged_text, prompt_digest
from codedata.errors import Excluded
from codedata.leak.cache import MAX_FINDINGS_CHARS, LeakCheck, Try
from codedata.leak.judge import findings_text
from codedata.leak.request import RULE, SHARED, with_pull_request
from codedata.llm import Client, Models, Reply
from codedata.llm.asking import Rejected, object_in, read_reply, refuse_empty
from codedata.llm.replies import current_reply_log
from codedata.messages import to_send
from codedata.records import Answer, Commit, Executed, Message, Object, Side, variant
from codedata.run.stage import Reads, Stage, Writes
from codedata.settings import Settings
from codedata.texts import fill

CHOICE = packaged_text("choice.json")   # a schema with an empty enum, filled in by _pick()
PROMPTS = {   # the prompt files that a turn depends on
    "informed": ("challenger.md", "given_informed.md", "leak.md", "form.md"),
    "chosen": ("choose.md", "form.md")}
COMMIT_FIELDS = ("repo", "language", "issue", "description", "files", "patch", "test_patch")
OPTIONAL = "tools", "several"   # fields of an answer
LEAK_RETRIES = 2   # further tries if an answer reveals the pull request
DEFENCE = re.compile(r"\W*mine, because\b", re.IGNORECASE)


class Challenger:
    """Make the challenger of one variant; make() is the item function of ch.py."""

    def __init__(self, how: str, settings: Settings, models: Models):
        self._how, self._settings = how, settings
        self._client = models.client("challenger")
        self._leaks = LeakCheck(models.leak_judges() if how == "informed" else [])
        king = models.client("king") if how == "chosen" else None
        self._blind = king and sampler_of(king, models)
        self._n_blind = max(settings.king.samples, MIN_SAMPLES)
        self._chooser = Client(replace(self._client.spec, temperature=0.0), models)
        self._answers = Store(settings.root, Answer)

    @classmethod
    def stage(cls, how: str, settings: Settings, models: Models) -> Stage:
        """Return the stage that fills in the challengers of one variant."""
        self, root = cls(how, settings, models), settings.root
        reads = Reads(self._answers, fields=("instance_id", "messages", *OPTIONAL), made_by="king",
                      leaves_out=oversized(root),
                      beside=self._blind and samples_of)
        writes = self.writes()
        stores = {"king": self._answers, "ch": writes.store}
        return Stage("ch", make=self.make, reads=reads, writes=writes,
                     planned=partial(note_forms, models, stores),
                     also_reads=(Reads(Store(root, Commit), COMMIT_FIELDS),), doubts=self.doubts,
                     requests=self.requests, identity=self.identity(), after="king.py",
                     then="validate.py" if how == settings.challenger.how
                     else f"validate.py --how {how}")

    def doubts(self) -> list[str]:
        """Return a line for the plan if the answers have not been run, so that only reading can
        choose."""
        if self._how != "chosen" or (self._settings.root / Executed.directory).exists():
            return []
        return ["chooses by reading only: run_turns.py runs the answers before ch.py"]

    def writes(self) -> Writes:
        """Return the store of the turns: answer/ for the root's own variant, else variants/X/."""
        if self._how == self._settings.challenger.how:
            return Writes(self._answers, fields=("challenger", "choice"), optional=("choice",))
        return Writes(Store(self._settings.root, variant(Answer, self._how)),
                      copies=("assistant", "king"), optional=(*OPTIONAL, "choice"),
                      fields=("instance_id", "messages", "assistant", "king", "challenger",
                              *OPTIONAL, "choice"))

    def identity(self) -> dict:
        """Return the settings that determine a turn, in addition to its inputs."""
        how = {"how": self._how} if self._how != "informed" else {}
        if self._blind:
            how |= {"blind": self._blind.spec.identity(), "candidates": self._n_blind}
        return {**self._client.spec.identity(), **how, "leaks": self._leaks.identity(),
                "prompt": [SHARED, *map(prompt_digest, PROMPTS[self._how])]}

    def make(self, answer: Answer, commit: Commit) -> Answer:
        """Return the record with the challenger's turn.

        Raise Excluded if the blind answers agree, or if none of them is better than the king's.
        """
        item = current_reply_log().item
        if not self._blind:
            current_reply_log().note(how=self._how)
            return replace(answer, challenger=self._ask(answer, commit), choice=None)
        samples = samples_of(self._answers.path(item))
        if not samples:
            layout = partial(king_messages, self._blind)
            samples = ask_samples(self._blind, layout, answer, self._n_blind - 1)
        run_of = partial(execution_of, self._settings.root, item)
        if all(take_same_step(answer, one, other, run_of)
               for one, other in pairwise((answer.king, *samples))):
            raise Excluded(f"agreed: {len(samples) + 1} blind answers take the same step")
        current_reply_log().note(how=self._how)
        turn, choice = self._choose(answer, commit, samples, run_of)
        return replace(answer, challenger=turn, choice=choice)

    def requests(self, answer: Answer, commit: Commit):
        """Yield (client, messages) of the calls that are certain, for --dry-run."""
        if self._blind and n_samples(self._settings) == 1:   # king.py has saved no further answers
            messages = king_messages(self._blind, answer)
            yield from [(self._blind, to_count(messages, answer))] * (self._n_blind - 1)
        request = self._client, to_count(self.messages(answer, commit), answer)
        yield from [request] * (2 if self._blind else 1)
        yield from self._leaks.requests(answer, commit)

    def messages(self, record: TurnRecord, commit: Commit, more: str = "") -> list[Message]:
        """Return the request for a turn: the history, the note with the pull request, and
        `more`."""
        note = fill(packaged_text("challenger.md"), rule=RULE, form=form_note(self._client, record),
                    given=packaged_text("given_informed.md").strip()).strip()
        return with_pull_request(self._client, to_send(record.messages), note + "{more}", commit,
                                 tools_json(record), more=more)

    def _choose(self, answer: Answer, commit: Commit, samples: list[Side],
                run_of: Callable[[Side], Execution | None]) -> tuple[Side, Object]:
        """Return the best of the blind answers, and how it was chosen: {sample, of, picks}. Raise
        Excluded if the king's answer is the best, or if none is.

        `sample` is the number of the best among the `of` further answers, from 1; `picks` are the
        chooser's replies [{number, why}], one per order.
        """
        kings = turn_text(answer.king, answer.messages)
        sides = {kings: answer.king}
        for side in samples:
            if not take_same_step(answer, answer.king, side, run_of):   # else it is no rival
                sides.setdefault(turn_text(side, answer.messages), side)
        runs = {text: run_of(side) for text, side in sides.items()}
        best = _best_by_tests(runs)
        rivals = [text for text in best if text != kings]
        random.Random(current_reply_log().item).shuffle(rivals)
        texts = [kings] * (kings in best) + rivals   # the reverse order ends with the king's
        found, picks = set(), []
        for order in (texts, texts[::-1]) if len(texts) > 1 else ():
            pick, said = self._pick(order, runs, answer, commit)
            found.add(pick)
            picks.append(said)
            if pick in ("", kings):   # no blind answer is chosen, whatever the other order gives
                break
        current_reply_log().note(picks=picks)   # also if no blind answer is chosen
        pick, *others = found or texts
        if others:
            raise Excluded("in another order another blind answer was picked")
        if not pick:
            raise Excluded("none of the blind answers was picked")
        if pick == kings:
            raise Excluded("the king's own answer is the best")
        return sides[pick], {"sample": 1 + samples.index(sides[pick]), "of": len(samples),
                             "picks": picks}

    def _pick(self, texts: list[str], runs: dict[str, Execution | None], answer: Answer,
              commit: Commit) -> tuple[str, Object]:
        """Return (the text that a model picks from this order, "" for none; {number, why} of its
        reply)."""
        marker = digest(texts)
        shown = []
        for i, text in enumerate(texts, 1):
            shown.append(f"[[{marker} {i}]]\n{text}")
            if run := runs[text]:
                shown.append(f"[[{marker} {i}, when it was run]]\n{run.text()}")
        request = with_pull_request(self._chooser, plain(answer.messages, answer.tools),
                                    packaged_text("choose.md").strip(), commit, marker=marker,
                                    candidates="\n\n".join(shown))
        return read_reply(self._chooser, request, partial(_picked, texts, shown), schema=json.loads(
            CHOICE.replace("[]", str([*range(len(texts) + 1)]))))

    def _ask(self, answer: Answer, commit: Commit) -> Side:
        """Return a next turn without leaks: the leak check finds nothing that only the pull request
        shows.

        If it finds something, the turn is requested again with all findings so far, up to
        LEAK_RETRIES times; once, the model may reply with a defence of its turn instead. Raise
        ItemFailed if findings remain.
        """
        turn = ask_turn(self._client, partial(self.messages, commit=commit), answer)
        defence, may_defend = "", True
        tries: list[Try] = []
        while True:
            tries.append(self._leaks.check(answer, turn, commit, tries, defence))
            if not tries[-1].findings or len(tries) > LEAK_RETRIES:
                break
            refused = (f"{one.turn}\n\n{findings_text(one.findings)}" for one in tries)
            note = fill(packaged_text("leak.md"), tries="\n\n".join(refused)).strip()
            read = read_turn
            if may_defend:
                note += "\n\n" + packaged_text("defence.md").strip()
                read = read_turn_or_defence
            layout = partial(self.messages, commit=commit, more="\n\n" + note)
            reply = ask_turn(self._client, layout, answer, read)
            if isinstance(reply, str) and DEFENCE.match(reply):
                defence, may_defend = reply, False
            else:
                turn, defence = reply, ""
        self._leaks.save(tries)
        if tries[-1].findings:
            found = "; ".join(f'"{one["quote"]}" ({one["why"]})' for one in tries[-1].findings)
            self._client.give_up(f"shows what it cannot know: {found[:MAX_FINDINGS_CHARS]}")
        return turn


def read_turn_or_defence(reply: Reply, form: Form) -> Side:
    """Return a turn, or a defence against a leak finding. Raise Rejected if a reply is neither."""
    try:
        return read_turn(reply, form)
    except Rejected:
        if DEFENCE.match(reply.text) and not reply.tool_calls:
            return clean(reply.text)
        raise


def _best_by_tests(runs: dict[str, Execution | None]) -> list[str]:
    """Return the texts of blind answers, without edits that pass fewer hidden tests than another
    edit."""
    n_passed = {text: len(run.passed) for text, run in runs.items() if run and run.changes}
    most = max(n_passed.values(), default=0)
    return [text for text in runs if n_passed.get(text, most) == most]


def _picked(texts: list[str], shown: list[str], reply: Reply) -> tuple[str, Object]:
    """Return the text that a reply chooses by its number, "" for 0, and {number, why}. Raise
    Rejected if it chooses none of them."""
    found = object_in(refuse_empty(reply).text, lambda one: type(one.get("choice")) is int
                      and 0 <= one["choice"] <= len(texts), f"with a choice from 0 to {len(texts)}",
                      shown)
    number = found["choice"]
    return ["", *texts][number], {"number": number, "why": str(found.get("why", ""))}
