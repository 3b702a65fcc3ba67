"""Get the leak verdicts on a duel's turns: ch.py asks for them, validate.py for the missing ones.

ch.py stores its tries beside the answers, in _leaks/<stem>.json: {tries [{turn, defence, findings,
verdicts}]}. The verdicts are made by codedata/leak/judge.py; without a leak judge in the settings,
the certain facts of codedata/leak/facts.py bar a turn. A stored verdict is recognized by the digest
of history, turn and pull request, and is reused instead of being paid for again.
"""
from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path

import orjson

from codedata.bounded import read_bounded
from codedata.errors import BrokenRecord, ItemFailed
from codedata.layouts import to_json, write_atomic
from codedata.leak.facts import find_facts
from codedata.leak.judge import findings_text, judge_settings, judge_turn, request, verdict_digest
from codedata.llm import Models
from codedata.llm.calls import current
from codedata.records import (
    HOW,
    UNJUDGED,
    Answer,
    Attempts,
    Commit,
    Finding,
    LeakVerdict,
    Message,
    Score,
    parse,
    variant,
)
from codedata.settings import Settings
from codedata.states import name_hash
from codedata.store import Store, shards_of

KEPT = "_leaks"            # the folder beside the answers
CHALLENGER, KING = "challenger", "king"
# stands in for a finding in final/, refined/ and defeat/; exports leave such a turn out
NO_VERDICT = {"judge": "", "kind": UNJUDGED, "text": "", "why": "no leak judge has seen this turn: run validate.py"}
MAX_FINDINGS_CHARS = 300       # length limit of the findings in an error message


@dataclass(frozen=True)
class Try:
    """Hold one turn that ch.py received, and the `findings` [{quote, kind, why}] that bar it."""

    turn: str
    findings: list[Finding]
    defence: str = ""
    verdicts: list[LeakVerdict] = field(default_factory=list)

    def describe(self) -> str:
        """Return the findings as one text of at most MAX_FINDINGS_CHARS characters."""
        return "; ".join(f'"{one["quote"]}" ({one["why"]})' for one in self.findings)[:MAX_FINDINGS_CHARS]


def refused_text(tries: list[Try]) -> str:
    """Return the refused turns with their findings, as text for the challenger's next request."""
    return "\n\n".join(f"{one.turn}\n\n{findings_text(one.findings)}" for one in tries)


def facts_as_findings(history: list[Message], turn: str, commit: Commit) -> list[dict]:
    """Return the facts that bar a turn if no leak judge is set, in the form of findings."""
    return [{"quote": fact.text, "kind": fact.kind, "why": fact.why} for fact in find_facts(history, turn, commit)
            if fact.certain]


def verdicts_of(score: Score, side: str) -> list[dict]:
    """Return the leak judges' verdicts on one side of a turn."""
    return [verdict for verdict in score.leaks or () if verdict["side"] == side]


def challenger_leaks(settings: Settings, answer: Answer, score: Score, commit: Commit | None,
                     ) -> tuple[list[dict] | None, bool]:
    """Return (findings that bar the challenger's turn, whether a leak judge's verdict is missing).

    The findings are [{judge, kind, text, why}]: those of the leak judges or, without any verdict,
    the certain facts. They are None if there is no pull request to compare with.
    """
    if commit is None:
        return None, False
    verdicts = verdicts_of(score, CHALLENGER)
    lacks = bool({spec.role for spec in settings.leak_judges()} - {verdict["judge"] for verdict in verdicts})
    found = [(verdict["judge"], one) for verdict in verdicts for one in verdict["findings"]]
    if not verdicts:
        found = [("facts", one) for one in facts_as_findings(answer.messages, answer.challenger or "", commit)]
    return [{"judge": judge, "kind": one["kind"], "text": one["quote"], "why": one["why"]}
            for judge, one in found], lacks


class LeakCheck:
    """Check turns for leaks in ch.py. `is_on` is False if [challenger] leak_retries is -1."""

    def __init__(self, settings: Settings, models: Models, is_on: bool = True):
        self.retries = settings.challenger.leak_retries
        self.is_on = is_on and self.retries >= 0
        self._clients = models.leak_judges() if self.is_on else []

    def identity(self) -> list[str]:
        """Return a digest per leak judge of its settings, on which a challenger's turn depends."""
        return [judge_settings(client) for client in self._clients]

    def look_at(self, history: list[Message], turn: str, commit: Commit, tries: list[Try], defence: str) -> Try:
        """Return the turn with all leak judges' findings or, if none is set, the certain facts."""
        if not self._clients:
            return Try(turn, facts_as_findings(history, turn, commit), defence)
        before = [asdict(one) for one in tries if one.turn != turn]
        verdicts = [judge_turn(client, history, turn, commit, tries=before, defence=defence)
                    for client in self._clients]
        return Try(turn, [one for verdict in verdicts for one in verdict.findings], defence, verdicts)

    def requests(self, answer: Answer, commit: Commit):
        """Yield (client, messages): one request per judge, with the king's turn as placeholder."""
        for client in self._clients:
            yield client, request(client, answer.messages, answer.king or "", commit, "")

    def keep(self, tries: list[Try]) -> None:
        """Write the current item's tries beside its record; note the retries in its ledger line."""
        calls = current()
        if len(tries) > 1:
            calls.notes["asked_again"] = len(tries) - 1
        if self._clients and calls.item:
            path = calls.directory / KEPT / f"{calls.item}.json"
            write_atomic(path, to_json({"tries": [*tries_in(path), *map(asdict, tries)]}))


class LeakJudges:
    """Decide which leak verdicts the score of a turn needs, and ask for missing ones (validate.py).

    A part of a score is named "leak <judge>" or "leak king <judge>". The latter exists only for a
    sample of the kings, which never saw the pull request.
    """

    def __init__(self, settings: Settings, models: Models | None, kings_too: bool = True):
        speakers = settings.leak_judges()
        self.names = [spec.role for spec in speakers]
        self._clients = {c.spec.role: c for c in models.leak_judges()} if models else {}
        self._root = settings.root
        self._king_share = settings.leak.king_share if kings_too else 0.0
        self._commits: Store | None = None

    @property
    def parts(self) -> dict[str, tuple[str, str]]:
        """Return the verdicts that are wanted of the turns: {part: (judge, side)}."""
        sides = [CHALLENGER, *([KING] if self._king_share else [])]
        return {f"leak {'king ' if side == KING else ''}{name}": (name, side) for name in self.names for side in sides}

    def settled(self, score) -> list[str]:
        """Return the parts that a score has or, without a PR or a sampled king, never needs."""
        given = {(one["judge"], one["side"]) for one in score.leaks or ()}
        stem = score.answer_file.removesuffix(".json")
        return [part for part, key in self.parts.items() if key in given or not self._is_wanted(
            stem, score.instance_id, key[1])]

    def missing(self, score) -> list[str]:
        """Return the parts that a score needs and does not have."""
        return [part for part in self.parts if part not in self.settled(score)]

    def _is_wanted(self, stem: str, instance_id: str, side: str) -> bool:
        if self._commits is None:
            self._commits = Store(self._root, Commit).open()
        is_in_sample = side == CHALLENGER or name_hash(f"king {stem}") < self._king_share * 2**64
        return is_in_sample and instance_id in self._commits

    def verdicts(self, answer: Answer, name: str, old: list[dict]) -> list[dict]:
        """Return the verdicts on a turn: stored ones on the same texts, and new ones for the rest.

        A verdict that fails is left out and noted in the ledger; missing() then reports its part.
        Raise ItemFailed if the record of the pull request is broken.
        """
        found = []
        for judge, side, turn, commit, kept in self._to_judge(answer, name, old):
            try:
                found.append(kept or asdict(judge_turn(
                    self._clients[judge], answer.messages, turn, commit, side=side)))
            except ItemFailed as e:
                current().notes["leak_error"] = str(e)[:MAX_FINDINGS_CHARS]
        return found

    def requests(self, answer: Answer, name: str, old: list[dict]):
        """Yield (client, messages) of the calls that verdicts() would send."""
        for judge, _, turn, commit, kept in self._to_judge(answer, name, old):
            if not kept:
                of = verdict_digest(answer.messages, turn, commit)
                client = self._clients[judge]
                yield client, request(client, answer.messages, turn, commit, of)

    def _to_judge(self, answer: Answer, name: str, old: list[dict]):
        """Yield (judge, side, turn, commit, the stored verdict or None) for each wanted verdict."""
        known = {(one["judge"], one["side"], one["of"]): one for one in (*self._kept(name), *old)}
        for judge, side in self.parts.values():
            if not self._is_wanted(name, answer.instance_id, side):
                continue
            try:
                commit = self._commits.read(answer.instance_id)
            except BrokenRecord as e:
                raise ItemFailed(e.what, e.where, e.todo) from e
            turn = getattr(answer, side) or ""
            of = verdict_digest(answer.messages, turn, commit)
            yield judge, side, turn, commit, known.get((judge, side, of))

    def _kept(self, name: str) -> list[dict]:
        """Return the verdicts on this item's challengers that ch.py stored, also with --refine."""
        folders = [*shards_of(self._root / Answer.directory), *(self._root / variant(Answer, how).directory
                                                                for how in HOW), self._root / Attempts.directory]
        names = {name, name.rpartition(".")[0] or name}   # the second is the turn of an attempt
        return [verdict for folder in folders for stem in names for one in tries_in(folder / KEPT / f"{stem}.json")
                for verdict in one["verdicts"]]


def tries_in(path: Path) -> list[dict]:
    """Return the tries in a file; [] if it is missing or not in the expected form."""
    try:
        return [asdict(parse(Try, one, str(path))) for one in orjson.loads(read_bounded(path))["tries"]]
    except (OSError, ValueError, KeyError, TypeError, BrokenRecord):
        return []
