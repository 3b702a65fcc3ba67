"""Ask a model whether a turn shows knowledge of the pull request that its conversation lacks.

answer*/_leaks/ and score/ store a verdict as:

    {judge, side: "challenger" | "king", of, attempt, leak, findings [{quote, kind, why}],
     hedged_claims, raw, usage {tokens_in, tokens_out, cost_usd}, seconds, settings}

`of` is a digest of history, turn and pull request: a verdict on other texts is ignored. If a
reply does not fit the schema, or quotes a text that is not in the turn, the judge is asked once
more. If this reply is invalid, too, ch.py fails the item; validate.py goes on without the verdict.
"""
from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import count

from codedata.conversation.turn import plain, turn_text
from codedata.disk.store import digest
from codedata.leak.leaked_facts import certain_findings
from codedata.leak.request import SHARED, with_pull_request
from codedata.llm import Client, Reply
from codedata.llm.asking import Rejected, object_in, read_reply
from codedata.records import Answer, Commit, LeakVerdict, Message
from codedata.texts import fill, holds, squeezed, storable, text_of

MAX_FINDINGS = 20            # findings kept per turn
SCHEMA = json.loads(text_of("codedata.leak", "verdict.json"))
FINDING = SCHEMA["schema"]["properties"]["findings"]["items"]["properties"]   # {key: its schema}
OF_COMMIT = ("issue", "description", "files", "patch", "test_patch")
USAGE = ("tokens_in", "tokens_out", "cost_usd")
HINTS = """
A program found these texts of the candidate in the pull request and nowhere in the conversation. \
It compares letters:
{lines}
"""
KNOWN = """
Known leaks at this turn: words of turns that were refused, whoever wrote them, and what the \
conversation lacks. The same
knowledge in other words is the same leak. That others leaked says nothing else of this candidate.
{lines}
"""
DEFENCE = """
The writer contests what was found in this candidate: "{text}" A finding falls only where the \
conversation shows that very
thing; that it shows something near it, or that one could have come to it, is not enough.
"""


@dataclass(frozen=True)
class Suspect:
    """Hold a turn that may leak, and the texts that a leak judge sees with it.

    `known` holds the findings in refused turns at this point; `defence` is the writer's objection
    to the findings in this turn; `ran` shows the turn's output and changes when run, "" if unknown.
    """

    history: list[Message]
    turn: str
    commit: Commit
    known: Sequence[dict] = ()
    defence: str = ""
    ran: str = ""

    @classmethod
    def of(cls, answer: Answer, side: str, commit: Commit) -> Suspect:
        """Return the suspect for one side of an Answer, or of an object with the same fields.
        `side` is the field's name: "king" or "challenger"."""
        turn = turn_text(getattr(answer, side), answer.messages)
        return cls(plain(answer.messages, answer.tools), turn, commit)

    @cached_property
    def digest(self) -> str:
        """Return the digest of history, turn and pull request, which identifies the input."""
        texts = (getattr(self.commit, name) for name in OF_COMMIT)
        return digest([self.history, self.turn, *texts])


def judge_turn(client: Client, suspect: Suspect, side: str = "challenger") -> LeakVerdict:
    """Return a leak judge's verdict. Raise ItemFailed if two replies are invalid, or none comes.
    """
    attempts = count(1)

    def read(reply: Reply) -> LeakVerdict:
        attempt = next(attempts)
        shown = [suspect.ran, *(message["content"] for message in suspect.history)]
        try:
            answer = verdict_in(reply.text or reply.reasoning, suspect.turn, shown)
        except Rejected as e:
            raise Rejected(f"the leak judge {client.spec.role} cannot be read: {e}") from e
        usage = {key: reply.call.get(key) for key in USAGE}
        return LeakVerdict(client.spec.role, side, suspect.digest, attempt, **answer,
                           raw=storable(reply.text), usage=usage, seconds=reply.call["seconds"],
                           settings=judge_settings(client))

    return read_reply(client, request(client, suspect), read,
                      lambda *_: request(client, suspect, attempt=2), schema=SCHEMA)


def request(client: Client, suspect: Suspect, attempt: int = 1) -> list[Message]:
    """Return the judge's request: history, pull request, instructions and turn.

    The hints are only the facts marked `certain`: on samples/leak, a judge that got all labels
    right called 70 of 76 `certain` facts leaks, but only 82 of the 217 other facts.
    """
    facts = certain_findings(suspect.history, suspect.turn, suspect.commit)
    hints = "\n".join(f"- {one['quote']} ({one['why']})" for one in facts)
    known = findings_text(suspect.known)
    defence = squeezed(suspect.defence)
    marker = digest([suspect.digest, attempt])
    ran = fill(text_of("codedata.leak", "ran.md"), ran=suspect.ran, marker=marker)
    return with_pull_request(
        client, suspect.history, text_of("codedata.leak", "judge.md"), suspect.commit,
        turn=suspect.turn, marker=marker,
        ran=ran if suspect.ran else "",
        hints=fill(HINTS, lines=hints) if hints else "",
        known=fill(KNOWN, lines=known) if known else "",
        defence=fill(DEFENCE, text=defence) if defence else "")


def findings_text(findings: Sequence[dict]) -> str:
    """Return the findings as text for a model, one per line."""
    lines = ((squeezed(one["quote"]), squeezed(one["why"])) for one in findings)
    return "\n".join(f'- "{quote}": {why}' for quote, why in lines)


def verdict_in(text: str, turn: str, shown: Sequence[str] = ()) -> dict:
    """Return {leak, findings, hedged_claims} from a reply. Raise Rejected if it is invalid: each
    finding must quote the turn. Ignore JSON objects that the reply copies from the turn or from the
    `shown` texts, which the judge was sent with the turn."""
    found = object_in(text, lambda one: {"leak", "findings"} <= one.keys(),
                      "with `findings` and `leak`", [turn, *shown])
    leak, findings, hedged = found["leak"], found["findings"], found.get("hedged_claims", 0)
    if type(leak) is not bool or not isinstance(findings, list) or (
            type(hedged) is not int or hedged < 0):
        raise Rejected("`leak`, `findings` or `hedged_claims` is of the wrong type")
    kept = []
    for one in findings[:MAX_FINDINGS] if leak else ():
        if not isinstance(one, dict) or not all(isinstance(one.get(key), str) for key in FINDING):
            raise Rejected("a finding is no {quote, kind, why}")
        if not holds(turn, one["quote"]):
            raise Rejected(f"it quotes what the turn does not say: {one['quote'][:80]!r}")
        kind = one["kind"] if one["kind"] in FINDING["kind"]["enum"] else "mention"
        kept.append(storable({"quote": one["quote"], "kind": kind, "why": one["why"]}))
    if leak and not kept:
        raise Rejected("it says leak and quotes nothing")
    return {"leak": leak, "findings": kept, "hedged_claims": min(hedged, 100)}


def judge_settings(client: Client) -> str:
    """Return a digest (8 characters) of the judge's model settings and prompt."""
    return digest([client.spec.identity(), SHARED, text_of("codedata.leak", "judge.md")])[:8]
