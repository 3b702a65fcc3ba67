"""Ask a panel which of two answers is the better next turn: every judge, by default in both orders.

Score.judges has one entry per judge and order:

    {judge, order: "king_first" | "challenger_first", parse_ok,
     verdict {metric: "king" | "challenger" | "draw"}, scores {metric: 1 | 0.5 | 0}, reason, raw,
     truncated, usage {tokens_in, tokens_out, cost_usd}, seconds, error, attempt, marker, settings}

`raw` is the text of the reply, or its reasoning if the text is empty. `verdict` and `scores` are
empty if the reply could not be parsed; `error` says why no reply came. `marker` is a digest of the
conversation, both answers, judge, order and attempt. It surrounds the answers in the request, so
that no answer can forge it; an entry whose marker does not match the present texts was made for
earlier ones. A verdict that cannot be parsed is asked for once more, with another marker.

The judges see the conversation and the two answers, but neither the pull request nor which side
gave which answer.
"""
from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from codedata.duel.judge_stats import same_family
from codedata.duel.prompt_texts import packaged_text, prompt_digest
from codedata.duel.scoring import BOTH, CHALLENGER_FIRST, scores_of, sides_shown, turn_score
from codedata.duel.verdict import UNSTORABLE, parse_verdict
from codedata.errors import EndpointDown, ItemFailed, Trouble
from codedata.leak.cache import LeakJudges
from codedata.ledger import LEDGER, calls_of, read_lines
from codedata.llm import Client, Models
from codedata.progress import named
from codedata.records import METRICS, Answer, Message, ReferenceScore, Score, variant
from codedata.settings import Settings
from codedata.states import Parts, Reads, Writes
from codedata.store import Store, digest, shards_of
from codedata.texts import fill

ATTEMPTS = 2           # requests per verdict, until one can be parsed
COOL_DOWN_S = 60.0    # seconds before an endpoint that is down is asked again
SCHEMA = {"name": "verdict", "strict": True, "schema": {
    "type": "object", "additionalProperties": False, "required": ["reason", *METRICS],
    "properties": {"reason": {"type": "string"},
                   **{metric: {"type": "integer", "enum": [0, 1, 2]} for metric in METRICS}}}}
# the last three are present only if they differ from the usual value
USAGE = ("tokens_in", "tokens_out", "cost_usd", "tries", "timeouts", "throttled")
SCORES = {"king": Score, "reference": ReferenceScore}   # the record class for each [duel] mode
SIDES = {"king": "king", "reference": "assistant"}      # the Answer field of the challenger's rival
MODEL = re.compile(r"\bmodel[ _]?([12])\b", re.IGNORECASE)
ALL_DOWN = "Wait and run again, or take the judge out of [judge] models: that costs nothing."


class Question(NamedTuple):
    """Hold a request to make: which judge is asked in which order, and for the how-many-th time."""

    client: Client
    order: str
    attempt: int

    @property
    def judge(self) -> str:
        """Return the judge's name in the records."""
        return self.client.spec.role


class Panel:
    """Score turns with the judges of one run. run_loop.run() calls judge() and requests()."""

    def __init__(self, settings: Settings, models: Models | None = None, refresh: bool = False,
                 decided: dict | None = None, how: str = "", cls: type | None = None):
        """Choose the judges from the settings. Without `models` the panel cannot ask its judges.

        `refresh` is the flag --refresh: verdicts made with other settings are asked for again.
        `decided` is the content of a _duel.json, whose judges and order replace those of the
        settings. `how` says how the challenger was made; score_<how>/ is used if it differs from
        [challenger] how. `cls` is the class of the scores, whose directory they go to; by default
        that of [duel] mode. Raise Trouble if [judge] exclude_self leaves no judge.
        """
        self.root, self.rival, self.refresh = settings.root, settings.duel.mode, refresh
        specs = [] if decided else settings.judges()
        if decided:
            self.order = decided["order"]
            self.models = {name: judge["model"] for name, judge in decided["judges"].items()}
        else:
            self.order = settings.judge.order
            self.models = {spec.role: spec.model for spec in specs}
            if settings.judge.exclude_self:
                self.models = unrelated_judges(self.models, generators(self.root))
        self.names = list(self.models)
        self.orders = [f"{self.rival}_first", *([CHALLENGER_FIRST] if self.order == BOTH else [])]
        self._parts = [f"{name} {order}" for name in self.names for order in self.orders]
        self.how = how if how != settings.challenger.how else ""
        cls = cls or SCORES[self.rival]
        self.cls = variant(cls, self.how) if self.how else cls
        clients = models.judges() if models else []
        self._clients = [client for client in clients if client.spec.role in self.models]
        prompts = [prompt_digest("judge.md"), prompt_digest("judge_turn.md")]
        self._made_with = {spec.role: digest([spec.identity(), prompts])[:8] for spec in specs}
        # a duel against the reference yields no training turns, and a decided one asks nobody
        with_leaks = not decided and self.rival == "king" and settings.leak_judges()
        self._leaks = LeakJudges(settings, models, not self.how) if with_leaks else None
        self._not_refreshed: dict[str, str] = {}   # name: why --refresh kept an old verdict

    def reads(self) -> Reads:
        """Return the Answer fields that judging a turn depends on."""
        sides = (SIDES[self.rival], "challenger")
        answers = Store(self.root, variant(Answer, self.how) if self.how else Answer)
        return Reads(answers, fields=("messages", *sides), needs=sides, made_by="ch")

    def writes(self) -> Writes:
        """Return the score fields that judging a turn fills in."""
        return Writes(Store(self.root, self.cls), fields=tuple(self.cls.__dataclass_fields__),
                      copies=("instance_id",), optional=("leaks",), parts=self.parts(),
                      fault=self._fault)

    def parts(self) -> Parts:
        """Return a score's parts: a verdict per judge and order, and the leak verdicts."""
        wanted = {part: self._made_with.get(part.rpartition(" ")[0], "") for part in self._parts}
        return Parts(wanted=wanted | dict.fromkeys(self._leaks.parts if self._leaks else (), ""),
                     of=self._parts_of, enough=self._enough, view=digest([self.names, self.order]),
                     fits=self._fits, is_of=self._is_of)

    def judge(self, answer: Answer, name: str, old: Score | None) -> Score:
        """Return the score of a turn. Keep verdicts in `old` on the same texts; ask for the rest.

        Raise EndpointDown if the endpoints of all judges to ask are down, ItemFailed if none
        answered.
        """
        turn = _Turn(self.rival, answer)
        entries = turn.entries_in(old)
        self._ask(turn, name, entries)
        of_panel = [entries.pop(part) for part in self._parts]
        if all(entry.get("error") for entry in of_panel):
            first = of_panel[0]
            raise ItemFailed(f"no judge answered: {first['judge']}: {first['error']}")
        # entries of other judges are kept, because those judges may return to the panel
        judges = [*of_panel, *entries.values()]
        total = turn_score(judges, self.names, self.order)
        leaks = old.leaks if old else None   # kept, as a leak judge may be set again
        if self._leaks:
            leaks = self._leaks.verdicts(answer, name, leaks or [])
        reasons = "\n".join(f"{e['judge']} ({e['order']}): {e['reason']}"
                            for e in of_panel if e.get("reason"))
        return self.cls(answer.instance_id, f"{name}.json", self.rival, total.score is not None,
                        total.score, total.metrics, reasons, judges, leaks)

    def requests(self, answer: Answer, name: str, old: Score | None):
        """Yield (client, messages) of each call of judge(); messages that do not fit are None."""
        turn = _Turn(self.rival, answer)
        for question in self._questions(turn.entries_in(old)):
            try:
                yield question.client, turn.messages(question)[0]
            except ItemFailed:
                yield question.client, None
        if self._leaks:
            yield from self._leaks.requests(answer, name, (old and old.leaks) or [])

    def _questions(self, entries: dict[str, dict]) -> list[Question]:
        """Return a question for each missing verdict; --refresh adds those for outdated ones."""
        questions = []
        for client in self._clients:
            for order in self.orders:
                judge = client.spec.role
                entry = entries.get(f"{judge} {order}")
                made_with = entry and entry.get("settings")
                if self.refresh and made_with and made_with != self._made_with[judge]:
                    questions.append(Question(client, order, 1))
                elif not _is_final(entry):
                    questions.append(Question(client, order, _next_attempt(entry)))
        return questions

    def _ask(self, turn: _Turn, name: str, entries: dict[str, dict]) -> None:
        """Ask for the verdicts that `entries` lack, and put the new entries there.

        An endpoint that is down is not asked for COOL_DOWN_S seconds. Raise EndpointDown if that
        leaves none to ask for this turn.
        """
        self._not_refreshed.pop(name, None)
        questions = self._questions(entries)
        clients = [question.client for question in questions]
        if clients and all(client.is_cooling_down for client in clients):
            raise EndpointDown(clients[0].cool_down_reason, todo=ALL_DOWN)
        for question in questions:
            try:
                entry = turn.ask(question)
            except EndpointDown as e:
                entry = turn.unanswered(question, f"{e.where} {e.what}")
                place = question.client.spec.endpoint.base_url
                for client in self._clients:
                    if client.spec.endpoint.base_url == place:
                        client.cool_down(COOL_DOWN_S, entry["error"])
                if all(client.is_cooling_down for client in clients):
                    raise
            entry["settings"] = self._made_with[question.judge]
            if entry["error"] and _is_final(entries.get(_part(entry))):   # the old one still counts
                self._not_refreshed[name] = f"{entry['judge']} ({entry['order']}): {entry['error']}"
            else:
                entries[_part(entry)] = entry

    def _parts_of(self, score: Score) -> dict[str, str]:
        """Return the parts that a score has for good, with the settings they were made with."""
        verdicts = {_part(e): e.get("settings", "") for e in score.judges if _is_final(e)}
        return verdicts | dict.fromkeys(self._leaks.settled(score) if self._leaks else (), "")

    def _enough(self, there: set[str]) -> bool:
        """Return whether at least one judge of the panel has a final entry in every order."""
        return any(all(f"{name} {order}" in there for order in self.orders) for name in self.names)

    def _is_of(self, score: Score, digests: dict[str, str]) -> bool:
        """Return whether all entries were made for texts with these digests."""
        texts = [digests.get(field, "") for field in ("messages", SIDES[self.rival], "challenger")]
        return all(_is_marked(entry, texts) for entry in score.judges)

    def _fits(self, score: Score) -> bool:
        """Return whether a score is what its entries give for this panel."""
        total = turn_score(score.judges, self.names, self.order)
        return (score.score, score.metrics) == (total.score, total.metrics)

    def _fault(self, score: Score) -> str:
        """Return why the turn must be tried again although its record is written, else ""."""
        missing = [f"{e['judge']} ({e['order']}): {e.get('error') or 'could not be read'}"
                   for e in score.judges if _part(e) in self._parts and not _is_final(e)]
        if missing:
            return f"{len(missing)} of {len(self._parts)} verdicts missing: {'; '.join(missing)}"
        if self._leaks and (missing := self._leaks.missing(score)):
            return f"no verdict of {named(missing)}"
        return self._not_refreshed.get(score.answer_file.removesuffix(".json"), "")


def unrelated_judges(judges: dict[str, str], answered: dict[str, set[str]]) -> dict[str, str]:
    """Return the judges {name: model} without those of the family of a model that answered.

    Raise Trouble if none is left.
    """
    related = same_family(judges, answered)
    if len(related) == len(judges):
        raise Trouble("leaves no judge: all are of the family of a model that answered.",
                      "[judge] exclude_self",
                      "Add a judge of another family, or take exclude_self away.")
    return {name: model for name, model in judges.items() if name not in related}


def generators(root: Path) -> dict[str, set[str]]:
    """Return {side: models that answered}, from the ledgers; hand-written answers add none."""
    models: dict[str, set[str]] = {"king": set(), "ch": set()}
    for directory in shards_of(root / Answer.directory):
        for line in read_lines(directory / LEDGER):
            if (stage := str(line.get("stage"))) in models:
                models[stage].update(call["model"] for call in calls_of(line))
    return {"king": models["king"], "challenger": models["ch"]}


class _Turn:
    """Hold the two answers to one conversation, and build the judges' requests from them."""

    def __init__(self, rival: str, answer: Answer):
        self.rival, self.history = rival, answer.messages
        self.answers = {rival: getattr(answer, SIDES[rival]), "challenger": answer.challenger}
        self.context = digest(answer.messages)
        self._digests = [self.context, *map(digest, self.answers.values())]

    def entries_in(self, score: Score | None) -> dict[str, dict]:
        """Return {part: entry} of a score, as far as made for this conversation and answers."""
        return {_part(entry): entry for entry in (score.judges if score else [])
                if _is_marked(entry, self._digests)}

    def messages(self, question: Question) -> tuple[list[Message], tuple[str, str]]:
        """Return (request, answers in the order shown); raise ItemFailed if it does not fit."""
        first, second = sides_shown(question.order, self.rival)
        answers = self.answers[first], self.answers[second]
        rubric, template = packaged_text("judge.md"), packaged_text("judge_turn.md").rstrip("\n")
        # the conversation comes first, under a digest of its own, because endpoints cache prefixes
        n_system = 1 if self.history and self.history[0]["role"] == "system" else 0
        labelled = [{**m, "content": f"[[{self.context} {m['role']}]]\n{m['content']}"}
                    for m in self.history[n_system:]]
        fixed = "".join((rubric, template, *answers))
        history = question.client.fit([*self.history[:n_system], *labelled], fixed).messages
        template = template.replace("{context}", self.context)
        text = fill(template.replace("{marker}", self._marker(question)),
                    system=history[0]["content"] if n_system else "",
                    conversation="\n\n".join(m["content"] for m in history[n_system:]),
                    model_1=answers[0].rstrip(), model_2=answers[1].rstrip())
        return [{"role": "system", "content": rubric}, {"role": "user", "content": text}], answers

    def _marker(self, question: Question) -> str:
        """Return the marker of a request: see the module's docstring."""
        return _marker(self._digests, question.judge, question.order, question.attempt)

    def unanswered(self, question: Question, error: str) -> dict:
        """Return an entry without a reply, with the reason in `error`."""
        return {"judge": question.judge, "order": question.order, "attempt": question.attempt,
                "parse_ok": False, "verdict": {}, "scores": {}, "raw": "", "reason": "",
                "truncated": False, "usage": {}, "seconds": 0.0, "error": error,
                "marker": self._marker(question)}

    def ask(self, question: Question) -> dict:
        """Return the entry for one request. An ItemFailed is stored in its `error`."""
        try:
            messages, answers = self.messages(question)
            reply = question.client.ask(messages, grammar=packaged_text("verdict.gbnf"),
                                        schema=SCHEMA)
        except ItemFailed as e:
            return self.unanswered(question, e.what)
        raw = reply.text if reply.text.strip() else reply.reasoning
        entry = self.unanswered(question, "") | {
            "raw": UNSTORABLE.sub("\ufffd", raw), "truncated": reply.truncated,
            "seconds": reply.call["seconds"],
            "usage": {key: reply.call[key] for key in USAGE if key in reply.call}}
        verdict = parse_verdict(reply.text, reply.reasoning, reply.finish_reason, answers)
        if verdict:
            entry["verdict"], entry["scores"] = scores_of(verdict.picks, question.order, self.rival)
            sides = sides_shown(question.order, self.rival)
            entry["reason"] = MODEL.sub(lambda match: sides[int(match[1]) - 1], verdict.reason)
            entry["parse_ok"] = True
        return entry


def _marker(digests: list[str], judge: str, order: str, attempt: int) -> str:
    """Return the marker for digests of the conversation, rival's answer and challenger's."""
    return digest([*digests, judge, order, attempt])


def _is_marked(entry: dict, digests: list[str]) -> bool:
    """Return whether an entry's marker was made from these digests; an absent marker passes."""
    marker = _marker(digests, entry["judge"], entry["order"], entry.get("attempt", 1))
    return entry.get("marker", "") in ("", marker)


def _part(entry: dict) -> str:
    return f"{entry['judge']} {entry['order']}"


def _is_final(entry: dict | None) -> bool:
    """Return whether an entry is final: it has a verdict, or its last attempt was unreadable."""
    return bool(entry) and not entry.get("error") and (
        entry["parse_ok"] or entry.get("attempt", ATTEMPTS) >= ATTEMPTS)


def _next_attempt(entry: dict | None) -> int:
    """Return the next attempt: one more if the reply was unreadable, the same if none came."""
    attempt = entry.get("attempt", 1) if entry else 1
    return attempt + 1 if entry and not entry.get("error") else attempt
