"""Ask a panel of judges which of two answers is the better next turn. Each judge is asked in both
orders of the answers or, if [judge] order is "king_first", only with the challenger second.

Score.judges has one entry per judge and order:

    {judge, order: "king_first" | "challenger_first", parse_ok,
     verdict {metric: "king" | "challenger" | "draw"}, scores {metric: 1 | 0.5 | 0}, reason, raw,
     truncated, usage {tokens_in, tokens_out, cost_usd}, seconds, error, attempt, marker, ran,
     by_program, settings}

`raw` is the text of the reply, or the reply's reasoning if the text is empty. `verdict` and
`scores` are empty if the reply could not be parsed. `error` is the reason why there is no verdict.
`usage` is empty if no reply came. `marker` is a digest of the conversation, both answers, `ran`,
judge, order and attempt. The marker surrounds the answers in the request, so that no answer can
forge it. If an entry's marker does not match the present texts, the entry was made for earlier
texts. If a verdict cannot be parsed, it is requested once more, with another marker.

The judges see the conversation, the two answers and, if both answers were run, the results of both
runs (`ran` is a digest of the results). They see neither the pull request nor its tests, nor which
side gave which answer. If a program finds that both answers do the same, the verdict is a draw and
no judge is asked (`by_program`).
"""
from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

from codedata.conversation.steps import same_turn
from codedata.conversation.turn import form_of, has_several_calls, plain, turn_text
from codedata.disk.ledger import LEDGER, calls_of, read_lines
from codedata.disk.store import Derived, Store, digest, shards_of
from codedata.duel.executed import Execution, execution_of
from codedata.duel.judge_stats import doubts, same_family, self_judging
from codedata.duel.prompt_texts import packaged_text, prompt_digest
from codedata.duel.scoring import (
    BOTH,
    CHALLENGER_FIRST,
    TurnScore,
    has_reply,
    is_parsed,
    scores_of,
    sides_shown,
    turn_score,
)
from codedata.duel.verdict import UNSTORABLE, parse_verdict
from codedata.errors import BrokenRecord, EndpointDown, ItemFailed
from codedata.leak.cache import LeakJudges
from codedata.llm import Client, Models
from codedata.records import DUEL, METRICS, Answer, Duel, Message, ReferenceScore, Score, variant
from codedata.run.stage import Parts, Reads, Stage, Writes
from codedata.settings import Settings
from codedata.terminal import named
from codedata.texts import fill

UNREAD = ("the reply has no object of its own that gives all five metrics (if it is `truncated`, "
          "the judge's max_tokens cut it off)")
ATTEMPTS = 2           # requests per verdict, until one can be parsed
COOL_DOWN_S = 60.0    # seconds before an endpoint that is down is tried again
SCHEMA = json.loads(packaged_text("verdict.json"))
# keys of `usage`; the last three are present only if they differ from their default
USAGE = ("tokens_in", "tokens_out", "cost_usd", "tries", "timeouts", "throttled")
SCORES = {"king": Score, "reference": ReferenceScore}   # the record class for each [duel] mode
SIDES = {"king": "king", "reference": "assistant"}      # the Answer field of the challenger's rival
MODEL = re.compile(r"\bmodel[ _]?([12])\b", re.IGNORECASE)
SAME = "both change the same"
FEW_TURNS = 20         # with fewer answered turns, the leak judges check every king's turn:
                       # king_share of them could be none
ALL_DOWN = "Wait and run again, or take the judge out of [judge] models: that costs nothing."


@dataclass(frozen=True)
class Panel:
    """Hold the judges of a duel, the challenger's rival, and the order of the answers."""

    models: dict[str, str]   # {judge: its model}
    order: str               # [judge] order
    rival: str = "king"      # "king" or "reference": the challenger's opponent

    @property
    def names(self) -> list[str]:
        """Return the names of the judges."""
        return [*self.models]

    @property
    def orders(self) -> list[str]:
        """Return the orders of the answers that each judge sees, one or two."""
        return [f"{self.rival}_first", *([CHALLENGER_FIRST] if self.order == BOTH else [])]

    @property
    def sides(self) -> tuple[str, str]:
        """Return the two fields of an Answer that the judges compare."""
        return SIDES[self.rival], "challenger"

    def score(self, entries: list[dict]) -> TurnScore:
        """Return the score of a turn from the entries of these judges."""
        return turn_score(entries, self.names, self.order)


def panel_of(clients: Iterable[Client], order: str, rival: str = "king") -> Panel:
    """Return the panel of some judges' clients."""
    return Panel({client.spec.role: client.spec.model for client in clients}, order, rival)


def decided_panel(duel: Duel) -> Panel:
    """Return the panel that decided a duel."""
    models = {name: judge["model"] for name, judge in duel.raw["judges"].items()}
    return Panel(models, duel.order, duel.mode)


def records_of(mode: str, how: str, usual: str) -> tuple[type, type]:
    """Return the classes of the answers and scores for a challenger variant `how`: if it is the
    `usual` one, Answer and the score class of the [duel] `mode`, else variants of both."""
    if how == usual:
        return Answer, SCORES[mode]
    return variant(Answer, how), variant(SCORES[mode], how)


def judging_of(settings: Settings, models: Models, refresh: bool, how: str) -> Judging:
    """Return a Judging of the challengers of variant `how`, by the panel and leak judges of the
    settings."""
    root, mode, clients = settings.root, settings.duel.mode, models.judges()
    answers, scores = records_of(mode, how, settings.challenger.how)
    leaks = LeakJudges()
    # ask no leak judge in a duel against the reference, which yields no training turns, or about
    # chosen answers, which were written blind: leaked_facts.py finds matches by memory or luck
    if mode == "king" and how != "chosen":
        share = settings.leak.king_share if answers is Answer else 0.0
        answered = (path for directory in shards_of(root / Answer.directory)
                    for path in directory.glob("[!_.]*.json"))
        if share and len([*answered]) < FEW_TURNS:
            share = 1.0
        leaks = LeakJudges(root, models.leak_judges(), share)
    return Judging(root, panel_of(clients, settings.judge.order, mode), answers, scores,
                   clients=clients, leaks=leaks, refresh=refresh)


@dataclass
class Judging:
    """Score turns with a panel: a stage whose item function is judge()."""

    root: Path
    panel: Panel
    answers: type = Answer             # the class of the answers
    scores: type = Score               # the class of the scores
    pairs: Derived | None = None       # judged instead of answers, to check the judges
    clients: Sequence[Client] = ()     # one per judge; () asks no judge
    leaks: LeakJudges = field(default_factory=LeakJudges)   # by default no leak judge
    refresh: bool = False              # request verdicts made with other settings again

    def __post_init__(self):
        prompts = [*map(prompt_digest, ("judge.md", "judge_turn.md", "judge_ran.md"))]
        made_with = {client.spec.role: digest([client.spec.identity(), prompts])[:8]
                     for client in self.clients}
        self._parts = {f"{name} {order}": made_with.get(name, "")   # {part: its judge's settings}
                       for name, order in product(self.panel.names, self.panel.orders)}
        # {item: reason why --refresh kept an old verdict}
        self._not_refreshed: dict[str, str] = {}

    def _doubts(self) -> list[str]:
        """Return warnings: judges of a side's model family, and doubts about the previous duel."""
        for_leaks = {f"{name} for leaks": client.spec.model
                     for name, client in self.leaks.clients.items()}
        lines = self_judging(find_related(self.root, self.panel.models | for_leaks))
        with suppress(FileNotFoundError, BrokenRecord):
            lines += doubts(Duel.read(self.root / self.scores.directory / DUEL, self.panel.rival,
                                      "", False))
        return [*dict.fromkeys(lines)]

    def stage(self, **words) -> Stage:
        """Return the stage that judges the turns; `words` are its further fields."""
        return Stage("validate", make=self.judge, reads=self.reads(), writes=self.writes(),
                     requests=self.requests, then="report.py", doubts=self._doubts,
                     unread=lambda score: "; ".join(self._lost(score, is_parsed)),
                     **words)

    def reads(self) -> Reads:
        """Return the Answer fields that judging a turn depends on."""
        sides = self.panel.sides
        return Reads(self.pairs or Store(self.root, self.answers),
                     fields=("messages", *sides, "tools"),
                     needs=sides, made_by="" if self.pairs else "ch")

    def writes(self) -> Writes:
        """Return the score fields that judging a turn writes, and a score's parts: a verdict for
        each judge and order, and the leak verdicts."""
        parts = Parts(
            wanted=self._parts | dict.fromkeys(self.leaks.parts, ""), of=self._parts_of,
            enough=self._enough, view=digest([self.panel.names, self.panel.order]),
            fits=self._fits, is_of=self._is_of)
        return Writes(Store(self.root, self.scores), copies=("instance_id",), optional=("leaks",),
                      parts=parts, fault=self._fault)

    def judge(self, answer: Answer, name: str, old: Score | None) -> Score:
        """Return the score of a turn. Keep verdicts in `old` on the same texts; request the others.

        Raise EndpointDown if the endpoints of all judges to ask are down, ItemFailed if none
        answered.
        """
        turn, entries = self._turn(answer, name, old)
        self._ask(turn, name, entries)
        of_panel = [entries.pop(part) for part in self._parts]
        if not any(map(has_reply, of_panel)):
            first = of_panel[0]
            raise ItemFailed(f"no judge answered: {first['judge']}: {first['error']}")
        # keep entries of other judges, because those judges may return to the panel
        judges = [*of_panel, *entries.values()]
        total = self.panel.score(judges)
        # keep leak verdicts without a leak judge, since one may be configured again
        leaks = old.leaks if old else None
        if self.leaks.parts:
            leaks = self.leaks.verdicts(answer, name, leaks or [], turn.ran)
        reasons = "\n".join(f"{e['judge']} ({e['order']}): {e['reason']}"
                            for e in of_panel if e.get("reason"))
        if turn.is_draw:
            reasons = SAME
        return self.scores(answer.instance_id, f"{name}.json", self.panel.rival,
                           total.score is not None, total.score, total.metrics, reasons, judges,
                           leaks)

    def requests(self, answer: Answer, name: str, old: Score | None):
        """Yield (client, messages) of each call of judge(); messages that do not fit are None."""
        turn, entries = self._turn(answer, name, old)
        for client, entry in self._questions(turn, entries):
            try:
                yield client, turn.messages(client, entry)
            except ItemFailed:
                yield client, None
        yield from self.leaks.requests(answer, name, (old and old.leaks) or [], turn.ran)

    def _turn(self, answer: Answer, name: str, old: Score | None) -> tuple[_Turn, dict[str, dict]]:
        """Return a turn and its entries by part: the valid entries of `old`, and draws found by a
        program."""
        runs = [execution_of(self.root, name, getattr(answer, side)) for side in self.panel.sides]
        turn = _Turn(self.panel.rival, answer, runs, finds_draws=self.pairs is None)
        entries = turn.entries_in(old)
        if turn.is_draw:
            entries |= {part: turn.drawn(*part.rsplit(" ", 1)) for part in self._parts}
        return turn, entries

    def _questions(self, turn: _Turn, entries: dict[str, dict]) -> Iterator[tuple[Client, dict]]:
        """Yield (client, entry to fill in) for each missing verdict, and with --refresh for
        outdated ones.

        An unreadable reply counts as an attempt, a missing reply does not.
        """
        for client, order in product(self.clients, self.panel.orders):
            judge = client.spec.role
            settings = self._parts[f"{judge} {order}"]
            old = entries.get(f"{judge} {order}") or {"error": "not asked"}
            attempt = old.get("attempt", 1)
            if self.refresh and old.get("settings", "") not in ("", settings):
                attempt = 1
            elif _is_final(old):
                continue
            elif has_reply(old):
                attempt += 1
            yield client, turn.entry(judge, order, attempt) | {"settings": settings}

    def _ask(self, turn: _Turn, name: str, entries: dict[str, dict]) -> None:
        """Request the verdicts that `entries` lacks, and put the new entries there.

        An endpoint that is down is not tried for COOL_DOWN_S seconds. Raise EndpointDown if that
        leaves no judge to ask for this turn.
        """
        self._not_refreshed.pop(name, None)
        questions = list(self._questions(turn, entries))
        clients = [client for client, _ in questions]
        if clients and all(client.is_cooling_down for client in clients):
            raise EndpointDown(clients[0].cool_down_reason, todo=ALL_DOWN)
        for client, entry in questions:
            try:
                entry |= turn.reply(client, entry)
            except ItemFailed as e:
                entry["error"] = e.what
            except EndpointDown as e:
                entry["error"] = f"{e.where} {e.what}"
                for other in self.clients:
                    if other.spec.endpoint.base_url == client.spec.endpoint.base_url:
                        other.cool_down(COOL_DOWN_S, entry["error"])
                if all(asked.is_cooling_down for asked in clients):
                    raise
            # without a new reply, keep a final old entry
            if not has_reply(entry) and _is_final(entries.get(_part(entry))):
                self._not_refreshed[name] = f"{entry['judge']} ({entry['order']}): {entry['error']}"
            else:
                entries[_part(entry)] = entry

    def _parts_of(self, score: Score) -> dict[str, str]:
        """Return the final parts of a score, with the settings they were made with."""
        verdicts = {_part(e): e.get("settings", "") for e in score.judges if _is_final(e)}
        return verdicts | self.leaks.settled(score)

    def _enough(self, there: set[str]) -> bool:
        """Return whether at least one judge of the panel has a final entry in every order."""
        orders = self.panel.orders
        return any({f"{name} {order}" for order in orders} <= there for name in self.panel.names)

    def _is_of(self, score: Score, digests: dict[str, str]) -> bool:
        """Return whether all entries were made for texts with these digests."""
        texts = [digests.get(field, "") for field in ("messages", *self.panel.sides)]
        return all(_is_marked(entry, texts) for entry in score.judges)

    def _fits(self, score: Score) -> bool:
        """Return whether a score equals the one computed from its entries for this panel."""
        total = self.panel.score(score.judges)
        return (score.score, score.metrics) == (total.score, total.metrics)

    def _lost(self, score: Score, is_there) -> list[str]:
        """Return the missing verdicts of the panel, each with the reason."""
        return [f"{e['judge']} ({e['order']}): {e.get('error') or UNREAD}"
                for e in score.judges if _part(e) in self._parts and not is_there(e)]

    def _fault(self, score: Score) -> str:
        """Return why the turn must be tried again although its record is written, else ""."""
        if missing := self._lost(score, _is_final):
            return f"{len(missing)} of {len(self._parts)} verdicts missing: {'; '.join(missing)}"
        if missing := self.leaks.missing(score):
            return f"no verdict of {named(missing)}"
        return self._not_refreshed.get(score.answer_file.removesuffix(".json"), "")


class _Turn:
    """Hold the two answers to one conversation, and build the judges' requests from them."""

    def __init__(self, rival: str, answer: Answer, runs: list[Execution | None],
                 finds_draws: bool):
        self.rival, self.history = rival, plain(answer.messages, answer.tools)
        sides = {rival: getattr(answer, SIDES[rival]), "challenger": answer.challenger}
        # show results only if both sides have some: results of one side would reveal the side
        texts = [run.text() for run in runs] if all(runs) else ["", ""]
        self.ran = dict(zip(sides, texts, strict=True))
        self._ran_digest = digest(texts) if all(runs) else ""
        form = form_of(answer.messages, answer.tools)
        read = [form.read(side, answer.messages) for side in sides.values()]
        is_same = same_turn(*(turn.effects for turn in read), lambda a, b: a.split() == b.split()
                            ) or (all(runs) and runs[0].did_the_same(runs[1]))
        self.is_draw = finds_draws and is_same and not any(turn.problem() for turn in read)
        self.answers = {name: turn_text(side, answer.messages) for name, side in sides.items()}
        self._digests = [digest(answer.messages), *map(digest, sides.values())]
        self._rubric = packaged_text("judge.md")
        if answer.tools:
            several = answer.several or has_several_calls(sides.values())
            self._rubric += packaged_text("judge_several.md" if several else "judge_calls.md")

    def entries_in(self, score: Score | None) -> dict[str, dict]:
        """Return {part: entry} of a score, for entries made for this conversation and these
        answers."""
        return {_part(entry): entry for entry in (score.judges if score else [])
                if entry.get("ran", "") == self._ran_digest and _is_marked(entry, self._digests)}

    def entry(self, judge: str, order: str, attempt: int) -> dict:
        """Return an entry without a reply yet."""
        entry = {"judge": judge, "order": order, "attempt": attempt, "parse_ok": False,
                 "verdict": {}, "scores": {}, "raw": "", "reason": "", "truncated": False,
                 "usage": {}, "seconds": 0.0, "error": ""}
        if self._ran_digest:
            entry["ran"] = self._ran_digest
        return entry | {"marker": _marker(entry, self._digests)}

    def drawn(self, judge: str, order: str) -> dict:
        """Return the entry of a draw found by a program."""
        verdict, scores = scores_of(dict.fromkeys(METRICS, 0), order, self.rival)
        return self.entry(judge, order, 1) | {
            "parse_ok": True, "verdict": verdict, "scores": scores, "reason": SAME,
            "by_program": True}

    def messages(self, client: Client, entry: dict) -> list[Message]:
        """Return the request for an entry; raise ItemFailed if it does not fit."""
        sides = sides_shown(entry["order"], self.rival)
        first, second = (self.answers[side] for side in sides)
        ran = [fill(packaged_text("judge_ran.md"), marker=entry["marker"], number=str(number),
                    ran=self.ran[side]) if self._ran_digest else ""
               for number, side in enumerate(sides, 1)]
        rubric, template = self._rubric, packaged_text("judge_turn.md").rstrip("\n")
        # put the conversation first, with its own digest, because endpoints cache prefixes
        context = self._digests[0]
        n_system = len([m for m in self.history[:1] if m["role"] == "system"])
        labelled = [{**m, "content": f"[[{context} {m['role']}]]\n{m['content']}"}
                    for m in self.history[n_system:]]
        fitted = client.fit([*self.history[:n_system], *labelled],
                            "".join((rubric, template, first, second, *ran)))
        texts = [m["content"] for m in fitted.messages]
        text = fill(template, context=context, marker=entry["marker"],
                    system="".join(texts[:n_system]), conversation="\n\n".join(texts[n_system:]),
                    model_1=first.rstrip(), model_2=second.rstrip(), ran_1=ran[0], ran_2=ran[1])
        return [{"role": "system", "content": rubric}, {"role": "user", "content": text}]

    def reply(self, client: Client, entry: dict) -> dict:
        """Return the fields of an entry that come from the judge's reply."""
        # some servers write blanks without end under a schema: the second attempt is without it
        reply = client.ask(self.messages(client, entry), grammar=packaged_text("verdict.gbnf"),
                           schema=SCHEMA if entry["attempt"] == 1 else None)
        raw = reply.text if reply.text.strip() else reply.reasoning
        fields = {"raw": UNSTORABLE.sub("\ufffd", raw), "truncated": reply.truncated,
                  "seconds": reply.call["seconds"],
                  "usage": {key: reply.call[key] for key in USAGE if key in reply.call}}
        shown = [*self.answers.values(), *self.ran.values(), *(m["content"] for m in self.history)]
        verdict = parse_verdict(reply.text, reply.reasoning, reply.finish_reason, shown)
        if verdict:
            sides = sides_shown(entry["order"], self.rival)
            fields["verdict"], fields["scores"] = scores_of(verdict.picks, entry["order"],
                                                            self.rival)
            fields["reason"] = MODEL.sub(lambda match: sides[int(match[1]) - 1], verdict.reason)
            fields["parse_ok"] = True
        else:
            fields["error"] = UNREAD
        return fields


def find_related(root: Path, judges: dict[str, str]) -> dict[str, list[str]]:
    """Return {judge: sides that a model of its family answered}, from the ledgers. `judges` maps a
    judge to its model.

    Hand-written answers have no family.
    """
    models = defaultdict(set)   # {stage: models}
    for directory in shards_of(root / Answer.directory):
        for line in read_lines(directory / LEDGER):
            models[str(line.get("stage"))].update(call["model"] for call in calls_of(line))
    return same_family(judges, {"king": models["king"], "challenger": models["ch"]})


def _marker(entry: dict, digests: list[str]) -> str:
    """Return the marker of an entry for texts with these digests."""
    ran = filter(None, [entry.get("ran")])
    return digest([*digests, *ran, entry["judge"], entry["order"], entry.get("attempt", 1)])


def _is_marked(entry: dict, digests: list[str]) -> bool:
    """Return whether an entry's marker was made from these digests; an absent marker passes."""
    return entry.get("marker", "") in ("", _marker(entry, digests))


def _part(entry: dict) -> str:
    return f"{entry['judge']} {entry['order']}"


def _is_final(entry: dict | None) -> bool:
    """Return whether an entry is final: it has a verdict, or the last attempt was unreadable."""
    return bool(entry) and has_reply(entry) and (
        entry["parse_ok"] or entry.get("attempt", ATTEMPTS) >= ATTEMPTS)
