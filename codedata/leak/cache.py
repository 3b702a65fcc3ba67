"""Get the leak verdicts on a duel's turns: first in ch.py, missing ones in validate.py.

ch.py stores its tries next to the answers, in _leaks/<stem>.json: {tries [{turn, defence, findings,
verdicts}]}. judge.py makes the verdicts; without a leak judge in the settings, the `certain` facts
of leaked_facts.py bar a turn. A stored verdict is looked up by the digest of history, turn
and pull request, so it is not paid for again.
"""
from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path

import orjson

from codedata.bounded import read_bounded
from codedata.conversation.turn import plain, turn_text
from codedata.disk.store import Store, shards_of
from codedata.driver import in_driver
from codedata.errors import BrokenRecord, ItemFailed
from codedata.leak.judge import Suspect, judge_settings, judge_turn, request
from codedata.leak.leaked_facts import certain_findings
from codedata.llm import Client
from codedata.llm.replies import current_reply_log
from codedata.records import (
    HOW,
    UNJUDGED,
    Answer,
    Commit,
    Finding,
    LeakVerdict,
    Score,
    Side,
    parse,
    variant,
)
from codedata.texts import name_hash

KEPT = "_leaks"            # folder in the answers' directory
CHALLENGER, KING = "challenger", "king"
# replaces findings in final/, refined/ and defeat/; exports leave such a turn out
NO_VERDICT = {"judge": "", "kind": UNJUDGED, "text": "",
              "why": "no leak judge has seen this turn: run python validate.py"}
MAX_FINDINGS_CHARS = 300       # length limit of findings, or of an error, in a message


@dataclass(frozen=True)
class Try:
    """Hold one turn that ch.py received, and the `findings` [{quote, kind, why}] that bar it."""

    turn: str
    findings: list[Finding]
    defence: str = ""
    verdicts: list[LeakVerdict] = field(default_factory=list)


def verdicts_of(score: Score, side: str) -> list[dict]:
    """Return the leak judges' verdicts on one side of a turn."""
    return [verdict for verdict in score.leaks or () if verdict["side"] == side]


def challenger_leaks(judges: set[str], answer: Answer, score: Score,
                     commit: Commit | None) -> tuple[list[dict] | None, bool]:
    """Return (findings that bar the challenger's turn, whether one of `judges` gave no verdict).

    The findings are [{judge, kind, text, why}]: from the leak judges or, without any verdict, from
    certain_findings(); None if there is no pull request to compare with.
    """
    if commit is None:
        return None, False
    findings = {verdict["judge"]: verdict["findings"] for verdict in verdicts_of(score, CHALLENGER)}
    lacks_verdict = not judges <= findings.keys()
    if not findings:
        turn = turn_text(answer.challenger, answer.messages)
        findings["facts"] = certain_findings(answer.messages, turn, commit)
    return [{"judge": judge, "kind": one["kind"], "text": one["quote"], "why": one["why"]}
            for judge, of_judge in findings.items() for one in of_judge], lacks_verdict


class LeakCheck:
    """Check turns for leaks in ch.py."""

    def __init__(self, clients: list[Client]):
        self._clients = clients

    def identity(self) -> list[str]:
        """Return the digest of each leak judge's settings; a challenger's turn depends on them."""
        return [judge_settings(client) for client in self._clients]

    def check(self, answer: Answer, side: Side, commit: Commit, tries: list[Try],
              defence: str) -> Try:
        """Return the try for a side: its text, with all leak judges' findings or, without a leak
        judge, the certain_findings()."""
        history = plain(answer.messages, answer.tools)
        turn = turn_text(side, answer.messages)
        if not self._clients:
            return Try(turn, certain_findings(history, turn, commit), defence)
        earlier = tries_in(current_reply_log().path_beside(KEPT))
        known = known_leaks([*earlier, *map(asdict, tries)], turn)
        suspect = Suspect(history, turn, commit, known, defence)
        verdicts = [judge_turn(client, suspect) for client in self._clients]
        findings = [finding for verdict in verdicts for finding in verdict.findings]
        return Try(turn, findings, defence, verdicts)

    def requests(self, answer: Answer, commit: Commit):
        """Yield (client, messages): one request per judge, with the king's turn in place of the
        challenger's, which does not exist yet."""
        for client in self._clients:
            yield client, request(client, Suspect.of(answer, KING, commit))

    def save(self, tries: list[Try]) -> None:
        """Write the current item's tries next to its record; note the number of retries for its
        ledger line."""
        calls = current_reply_log()
        if len(tries) > 1:
            calls.note(asked_again=len(tries) - 1)
        if self._clients:
            earlier = tries_in(calls.path_beside(KEPT))
            calls.put_beside(KEPT, {"tries": [*earlier, *map(asdict, tries)]})


class LeakJudges:
    """Find the leak verdicts that a turn's score needs, and ask for missing ones (validate.py).

    A part of a score is named "leak <judge>" or "leak king <judge>". Only a sample of the kings is
    judged, since a king never saw the pull request.
    """

    def __init__(self, root: Path = Path(), clients: Iterable[Client] = (),
                 king_share: float = 0.0):
        self._root, self._king_share = root, king_share
        self.clients = {client.spec.role: client for client in clients}
        self.parts: dict[str, tuple[str, str]] = {}   # part: (judge, side)
        for judge in self.clients:
            self.parts[f"leak {judge}"] = judge, CHALLENGER
            if king_share:
                self.parts[f"leak king {judge}"] = judge, KING

    def settled(self, score: Score) -> dict[str, str]:
        """Return the parts that a score has, or never needs: the turn has no PR, or its king is not
        in the sample."""
        missing = self.missing(score)
        return {part: "" for part in self.parts if part not in missing}

    def missing(self, score: Score) -> list[str]:
        """Return the parts that a score needs and does not have."""
        given = {(verdict["judge"], verdict["side"]) for verdict in score.leaks or ()}
        wanted = self._wanted(score.answer_file.removesuffix(".json"), score.instance_id)
        return [part for part, judge_and_side in wanted.items() if judge_and_side not in given]

    @cached_property
    def _commits(self) -> Store:
        return _commits_of(self._root)

    def _wanted(self, stem: str, instance_id: str) -> dict[str, tuple[str, str]]:
        """Return the parts that the score of a turn needs, as {part: (judge, side)}."""
        if not self.parts or instance_id not in self._commits:
            return {}
        is_in_sample = name_hash(f"king {stem}") < self._king_share * 2**64
        return {part: (judge, side) for part, (judge, side) in self.parts.items()
                if side == CHALLENGER or is_in_sample}

    def verdicts(self, answer: Answer, name: str, old: list[dict],
                 ran: Mapping[str, str]) -> list[dict]:
        """Return the verdicts on a turn: stored ones for the same texts, new ones for the rest. The
        judges see `ran`, the execution result of each side.

        A failed verdict is left out and noted in the ledger; missing() then reports its part.
        Raise ItemFailed if the record of the pull request is broken.
        """
        verdicts = []
        for judge, side, suspect, stored in self._to_judge(answer, name, old, ran):
            try:
                verdicts.append(stored or asdict(judge_turn(self.clients[judge], suspect, side)))
            except ItemFailed as e:
                current_reply_log().note(leak_error=str(e)[:MAX_FINDINGS_CHARS])
        return verdicts

    def requests(self, answer: Answer, name: str, old: list[dict], ran: Mapping[str, str]):
        """Yield (client, messages) of the calls that verdicts() would send."""
        for judge, _, suspect, stored in self._to_judge(answer, name, old, ran):
            if not stored:
                yield self.clients[judge], request(self.clients[judge], suspect)

    def _to_judge(self, answer: Answer, name: str, old: list[dict], ran: Mapping[str, str]):
        """Yield (judge, side, the turn, the stored verdict or None) for each wanted verdict."""
        wanted = self._wanted(name, answer.instance_id).values()
        folders = [*shards_of(self._root / Answer.directory),
                   *(self._root / variant(Answer, how).directory for how in HOW)]
        tries = [one for folder in (folders if wanted else ())
                 for one in tries_in(folder / KEPT / f"{name}.json")]
        kept = [verdict for one in tries for verdict in one["verdicts"]]
        stored = {(one["judge"], one["side"], one["of"]): one for one in (*kept, *old)}
        for judge, side in wanted:
            try:
                commit = self._commits.read(answer.instance_id)
            except BrokenRecord as e:
                raise ItemFailed(e.what, e.where, e.todo) from e
            suspect = Suspect.of(answer, side, commit)
            suspect = replace(suspect, known=known_leaks(tries, suspect.turn),
                              ran=ran.get(side, ""))
            yield judge, side, suspect, stored.get((judge, side, suspect.digest))


def known_leaks(tries: list[dict], turn: str) -> list[Finding]:
    """Return the findings in the tries of other turns; for a turn tried again after a defence, only
    the findings of its last try."""
    findings = {one["turn"]: one["findings"] for one in tries}
    return [finding for of, found in findings.items() if of != turn for finding in found]


@in_driver
def _commits_of(root: Path) -> Store:
    """Return the PR records, which stay in the driver."""
    return Store(root, Commit).open()


@in_driver
def tries_in(path: Path) -> list[dict]:
    """Return the tries in a file; [] if it is missing or not in the expected form."""
    try:
        return [asdict(parse(Try, one, str(path)))
                for one in orjson.loads(read_bounded(path))["tries"]]
    except (OSError, ValueError, KeyError, TypeError, BrokenRecord):
        return []
