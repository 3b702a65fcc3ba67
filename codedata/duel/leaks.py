"""Leak verdicts on the turns of a duel: asked for in ch.py, kept beside the answers, completed by validate.py.

What ch.py tried stands in answer*/_leaks/<stem>.json: {instance_id, tries [{turn, defence, findings, verdicts}]}. The
verdicts are those of codedata/leak/judge.py; where no leak judge is set, the certain facts of codedata/leak/facts.py
bar a turn. A verdict is found again by the digest of history, turn and pull request, and is never paid for twice.
"""
from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path

import orjson

from codedata.bounded import read_bounded
from codedata.config import Settings
from codedata.errors import BrokenRecord, ItemFailed
from codedata.leak.facts import find_facts
from codedata.leak.judge import findings_text, judge_settings, judge_turn, request, verdict_digest
from codedata.llm import Models
from codedata.llm.calls import current
from codedata.records import HOW, UNJUDGED, Answer, Attempts, Commit, LeakVerdict, Message, Score, variant
from codedata.resume import name_hash
from codedata.store import Store, shards_of, to_json, write_atomic

KEPT = "_leaks"            # the folder beside the answers
CHALLENGER, KING = "challenger", "king"
# in the place of a finding, in final/ and its neighbours: exports leave such a turn out
NO_VERDICT = {"judge": "", "kind": UNJUDGED, "text": "", "why": "no leak judge has seen this turn: run validate.py"}
MAX_TOLD_CHARS = 300       # of the findings in an error


@dataclass(frozen=True)
class Try:
    """One turn that ch.py was given, and what was found in it. `findings` [{quote, kind, why}] bar it."""

    turn: str
    findings: list[dict]
    defence: str = ""
    verdicts: list[LeakVerdict] = field(default_factory=list)

    def told(self) -> str:
        return "; ".join(f'"{one["quote"]}" ({one["why"]})' for one in self.findings)[:MAX_TOLD_CHARS]


def refused_text(tries: list[Try]) -> str:
    """Return the refused turns with their findings, as the challenger is told them."""
    return "\n\n".join(f"{one.turn}\n\n{findings_text(one.findings)}" for one in tries)


def facts_as_findings(history: list[Message], turn: str, commit: Commit) -> list[dict]:
    """Return the facts that bar a turn where there is no leak judge, in the form of a judge's findings."""
    return [{"quote": fact.text, "kind": fact.kind, "why": fact.why} for fact in find_facts(history, turn, commit)
            if fact.certain]


def verdicts_of(score: Score, side: str) -> list[dict]:
    """Return the leak judges' verdicts on one side of a turn."""
    return [verdict for verdict in score.leaks or () if verdict["side"] == side]


def challenger_leaks(settings: Settings, answer: Answer, score: Score, commit: Commit | None,
                     ) -> tuple[list[dict] | None, bool]:
    """Return ([{judge, kind, text, why}] that bar the challenger's turn, whether a leak judge has not seen it yet).

    None in place of the list where there is no pull request to compare with. Without any verdict the certain facts bar.
    """
    if commit is None:
        return None, False
    verdicts = verdicts_of(score, CHALLENGER)
    lacks = bool({speaker.role for speaker in settings.leak_judges()} - {verdict["judge"] for verdict in verdicts})
    found = [(verdict["judge"], one) for verdict in verdicts for one in verdict["findings"]]
    if not verdicts:
        found = [("facts", one) for one in facts_as_findings(answer.messages, answer.challenger or "", commit)]
    return [{"judge": judge, "kind": one["kind"], "text": one["quote"], "why": one["why"]}
            for judge, one in found], lacks


class LeakCheck:
    """Looks at turns for ch.py. `is_on` is False where [challenger] leak_retries is -1."""

    def __init__(self, settings: Settings, models: Models, is_on: bool = True):
        self.retries = settings.challenger.leak_retries
        self.is_on = is_on and self.retries >= 0
        self._clients = models.leak_judges() if self.is_on else []

    def identity(self) -> list[str]:
        """Return what a challenger's turn depends on through this check."""
        return [judge_settings(client) for client in self._clients]

    def look_at(self, history: list[Message], turn: str, commit: Commit, tries: list[Try], defence: str) -> Try:
        """Return the turn with what every leak judge finds in it, or the facts where there is none."""
        if not self._clients:
            return Try(turn, facts_as_findings(history, turn, commit), defence)
        before = [asdict(one) for one in tries if one.turn != turn]
        verdicts = [judge_turn(client, history, turn, commit, tries=before, defence=defence)
                    for client in self._clients]
        return Try(turn, [one for verdict in verdicts for one in verdict.findings], defence, verdicts)

    def requests(self, answer: Answer, commit: Commit):
        """Yield (client, messages) of one look by each judge; the turn itself is not known yet."""
        for client in self._clients:
            yield client, request(client, answer.messages, answer.king or "", commit, "")

    def keep(self, tries: list[Try]) -> None:
        """Write the tries of the item in hand beside its record, and their number into its ledger line."""
        calls = current()
        if len(tries) > 1:
            calls.notes["asked_again"] = len(tries) - 1
        if self._clients and calls.item:
            path = calls.directory / KEPT / f"{calls.item}.json"
            write_atomic(path, to_json({"tries": [*tries_in(path), *map(asdict, tries)]}))


class LeakJudges:
    """The leak judges for validate.py: which verdicts a turn's score is to hold, and those that nobody has given yet.

    A part of a score is "leak <judge>" or, for a share of the kings, who know nothing, "leak king <judge>".
    """

    def __init__(self, settings: Settings, models: Models | None, kings_too: bool = True):
        speakers = settings.leak_judges()
        self.names = [speaker.role for speaker in speakers]
        self._clients = {c.speaker.role: c for c in models.leak_judges()} if models else {}
        self._root = settings.root
        self._king_share = settings.leak.king_share if kings_too else 0.0
        self._commits: Store | None = None

    @property
    def parts(self) -> dict[str, tuple[str, str]]:
        """{part: (judge, side)} of what is wanted of the turns."""
        sides = [CHALLENGER, *([KING] if self._king_share else [])]
        return {f"leak {'king ' if side == KING else ''}{name}": (name, side) for name in self.names for side in sides}

    def settled(self, score) -> list[str]:
        """Return the parts that a score has, or never will have: no pull request, a king who is not in the sample."""
        given = {(one["judge"], one["side"]) for one in score.leaks or ()}
        stem = score.answer_file.removesuffix(".json")
        return [part for part, key in self.parts.items() if key in given or not self._is_wanted(
            stem, score.instance_id, key[1])]

    def missing(self, score) -> list[str]:
        """Return the parts that a score is to hold and has not."""
        return [part for part in self.parts if part not in self.settled(score)]

    def _is_wanted(self, stem: str, instance_id: str, side: str) -> bool:
        if self._commits is None:
            self._commits = Store(self._root, Commit).open()
        is_in_sample = side == CHALLENGER or name_hash(f"king {stem}") < self._king_share * 2**64
        return is_in_sample and instance_id in self._commits

    def verdicts(self, answer: Answer, name: str, old: list[dict]) -> list[dict]:
        """Return the verdicts on a turn: kept ones of these very texts, and those that are asked for now. One that
        cannot be had is left out: the item counts as failed for it."""
        found = []
        for judge, side, turn, commit in self._to_judge(answer, name):
            of = verdict_digest(answer.messages, turn, commit)
            kept = next((one for one in (*old, *self._kept(name)) if (
                one["judge"], one["of"], one.get("side", side)) == (judge, of, side)), None)
            try:
                found.append(kept or asdict(judge_turn(self._clients[judge], answer.messages, turn, commit, side=side)))
            except ItemFailed as e:
                current().notes["leak_error"] = str(e)[:MAX_TOLD_CHARS]
        return found

    def requests(self, answer: Answer, name: str, old: list[dict]):
        """Yield (client, messages) of the calls that verdicts() would send."""
        for judge, _, turn, commit in self._to_judge(answer, name):
            of = verdict_digest(answer.messages, turn, commit)
            if not any((one["judge"], one["of"]) == (judge, of) for one in (*old, *self._kept(name))):
                yield self._clients[judge], request(self._clients[judge], answer.messages, turn, commit, of)

    def _to_judge(self, answer: Answer, name: str):
        for judge, side in self.parts.values():
            if self._is_wanted(name, answer.instance_id, side):
                try:
                    yield judge, side, getattr(answer, side) or "", self._commits.read(answer.instance_id)
                except BrokenRecord as e:
                    raise ItemFailed(e.what, e.where, e.todo) from e

    def _kept(self, name: str) -> list[dict]:
        """Return what ch.py and refine were told of this item's turns."""
        folders = [*shards_of(self._root / Answer.directory), *(self._root / variant(Answer, how).directory
                                                                for how in HOW), self._root / Attempts.directory]
        names = {name, name.rpartition(".")[0] or name}   # of an attempt: its turn's
        return [verdict for folder in folders for stem in names for one in tries_in(folder / KEPT / f"{stem}.json")
                for verdict in one["verdicts"] if verdict["side"] == CHALLENGER and not one["defence"]]


def tries_in(path: Path) -> list[dict]:
    """Return the tries in a file; none where it is not there or was edited into something else."""
    try:
        tries = orjson.loads(read_bounded(path))["tries"]
        return [one for one in tries if isinstance(one, dict) and isinstance(one.get("verdicts"), list)]
    except (OSError, ValueError, KeyError, TypeError):
        return []
