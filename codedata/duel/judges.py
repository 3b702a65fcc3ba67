"""Ask a panel which of two answers is the better next turn: every judge, by default in both orders.

An entry of Score.judges, one per judge and order:

    {judge, order: "king_first" | "challenger_first", parse_ok, verdict {metric: "king" | "challenger" | "draw"},
     scores {metric: 1 | 0.5 | 0}, reason, raw, truncated, usage {tokens_in, tokens_out, cost_usd}, seconds, error,
     attempt, marker, settings}

`raw` is the reply as it came (its reasoning, where it said nothing else). Empty verdict and scores: it could not be
read; `error`: no reply came. `marker` is a digest of the conversation, both answers, judge, order and attempt. It
stands around the answers in the request, so no answer can forge it, and an entry whose marker is not that of the
answers as they are now is of earlier ones. A verdict that cannot be read is asked for once more, with another marker.

The judges are shown the conversation and the two answers, never the pull request, and never which answer is whose.
"""
from __future__ import annotations

import re
from pathlib import Path

from codedata.config import Settings
from codedata.duel.leaks import LeakJudges
from codedata.duel.panel import kin_of
from codedata.duel.score import BOTH, CHALLENGER_FIRST, scores_of, turn_score
from codedata.duel.texts import packaged_text, prompt_digest
from codedata.duel.verdict import UNSTORABLE, parse_verdict
from codedata.errors import EndpointDown, ItemFailed, Trouble
from codedata.ledger import LEDGER, calls_of, read_lines
from codedata.llm import Client, Models, Reply
from codedata.progress import named
from codedata.records import METRICS, Answer, ReferenceScore, Score, variant
from codedata.resume import Parts, Reads, Writes
from codedata.store import Store, digest, shards_of
from codedata.texts import fill

ATTEMPTS = 2           # at a verdict that can be read
LEFT_ALONE_S = 60.0    # an endpoint that is down, before it is asked again
SCHEMA = {"name": "verdict", "strict": True, "schema": {
    "type": "object", "additionalProperties": False, "required": ["reason", *METRICS],
    "properties": {"reason": {"type": "string"}, **{m: {"type": "integer", "enum": [0, 1, 2]} for m in METRICS}}}}
USAGE = ("tokens_in", "tokens_out", "cost_usd", "tries", "timeouts", "throttled")   # the last three where not usual
SCORES = {"king": Score, "reference": ReferenceScore}   # by [duel] mode
SIDES = {"king": "king", "reference": "assistant"}      # the field of an Answer that the challenger is put against


class Panel:
    """The judges of one run. judge() and requests() are for the run loop (an output in parts)."""

    def __init__(self, settings: Settings, models: Models | None = None, refresh: bool = False,
                 decided: dict | None = None, how: str = ""):
        """Without `models` it asks nobody, and knows who would be asked. `refresh`: as the flag.

        `decided`: the panel that a _duel.json was decided by, whatever the settings say now. `how`: the way in which
        the challenger was made, where that is not the root's own.
        """
        self.rival, self.order = settings.duel.mode, settings.judge.order
        speakers = [] if decided else settings.judges()
        self.models = {speaker.role: speaker.model for speaker in speakers}
        if decided:
            self.order, self.models = decided["order"], {n: j["model"] for n, j in decided["judges"].items()}
        elif settings.judge.exclude_self:
            self._exclude(kin_of(self.models, generators(settings.root)))
        self.names = list(self.models)
        self.how = how if how != settings.challenger.how else ""
        score = SCORES[self.rival]
        self.cls = variant(score, self.how) if self.how else score   # of the records that are made
        self.clients: list[Client] = [c for c in models.judges() if c.speaker.role in self.models] if models else []
        self.orders = (f"{self.rival}_first", *([CHALLENGER_FIRST] if self.order == BOTH else []))
        prompts = [prompt_digest("judge.md"), prompt_digest("judge_turn.md")]
        self.made_with = {speaker.role: digest([speaker.identity(), prompts])[:8] for speaker in speakers}
        self.refresh = refresh
        # against the reference, or in a trial, nobody's turn is a challenger's that is to be trained on
        self.leaks = None if decided or self.rival != "king" else LeakJudges(settings, models, not self.how)
        self._unasked: dict[str, str] = {}   # name: what --refresh could not ask again, so that the old stands

    def _exclude(self, kin: dict[str, list[str]]) -> None:
        self.models = {name: model for name, model in self.models.items() if name not in kin}
        if not self.models:
            raise Trouble("leaves no judge: all are of the family of a model that answered.", "[judge] exclude_self",
                          "Add a judge of another family, or take exclude_self away.")

    def reads(self, root) -> Reads:
        sides = (SIDES[self.rival], "challenger")
        answers = Store(root, variant(Answer, self.how) if self.how else Answer)
        return Reads(answers, fields=("messages", *sides), needs=sides, made_by="ch")

    def writes(self, root) -> Writes:
        return Writes(Store(root, self.cls), fields=tuple(self.cls.__dataclass_fields__), copies=("instance_id",),
                      optional=("leaks",), parts=self.parts(), fault=self._fault)

    def parts(self) -> Parts:
        wanted = {f"{name} {order}": self.made_with.get(name, "") for name in self.names for order in self.orders}
        return Parts(wanted=wanted | dict.fromkeys(self.leaks.parts if self.leaks else (), ""),
                     of=self._parts_of,
                     enough=self._enough, view=digest([self.names, self.order]), fits=self._fits,
                     is_of=self._is_of)

    def _parts_of(self, score: Score) -> dict[str, str]:
        settled = self.leaks.settled(score) if self.leaks else ()
        return {_part(e): e.get("settings", "") for e in score.judges if _is_final(e)} | dict.fromkeys(settled, "")

    def judge(self, answer: Answer, name: str, old: Score | None) -> Score:
        """The turn's score: what `old` has of these very answers is kept, the rest is asked for."""
        turn = _Turn(self.rival, answer)
        self._unasked.pop(name, None)
        before = {_part(entry): entry for entry in (old.judges if old else []) if turn.is_of(entry)}
        entries = dict(before)
        to_ask = self._to_ask(before)
        if to_ask and all(client.is_left_alone for client, _, _ in to_ask):
            raise EndpointDown(to_ask[0][0].why_left_alone, todo="Wait and run again, or take the judge out of [judge] "
                               "models: that costs nothing.")
        for client, order, attempt in to_ask:
            entry = {**self._ask(turn, client, order, attempt, [c for c, *_ in to_ask]),
                     "settings": self.made_with[client.speaker.role]}
            if entry["error"] and _is_final(before.get(_part(entry))):   # --refresh: what was there counts
                self._unasked[name] = f"{entry['judge']} ({order}): {entry['error']}"
            else:
                entries[_part(entry)] = entry
        own = [entries.pop(f"{judge} {order}") for judge in self.names for order in self.orders]
        if all(entry.get("error") for entry in own):
            raise ItemFailed(f"no judge answered: {own[0]['judge']}: {own[0]['error']}")
        judges = [*own, *entries.values()]   # those of judges that are not asked now stay: they may come back
        total = turn_score(judges, self.names, self.order)
        leaks = old.leaks if old else None   # a judge that is not asked now may come back
        if self.leaks and self.leaks.names:
            leaks = self.leaks.verdicts(answer, name, leaks or [])
        return self.cls(answer.instance_id, f"{name}.json", self.rival, total.score is not None, total.score,
                        total.metrics, _reasons(own), judges, leaks)

    def _to_ask(self, entries: dict[str, dict]) -> list[tuple[Client, str, int]]:
        """(client, order, attempt) of what is not there for good; with --refresh also of what has other settings."""
        found = []
        for client in self.clients:
            for order in self.orders:
                entry = entries.get(f"{client.speaker.role} {order}")
                is_other = bool(entry) and entry.get("settings", "") not in ("", self.made_with[client.speaker.role])
                if self.refresh and is_other:
                    found.append((client, order, 1))
                elif not _is_final(entry):
                    found.append((client, order, _next_attempt(entry)))
        return found

    def _ask(self, turn: _Turn, client: Client, order: str, attempt: int, asked: list[Client]) -> dict:
        """An entry. A judge whose endpoint is down is left alone for a while, if others are asked of this turn."""
        try:
            return turn.ask(client, order, attempt)
        except EndpointDown as e:
            place, why = client.speaker.endpoint.base_url, f"{e.where} {e.what}"
            for other in self.clients:
                if other.speaker.endpoint.base_url == place:
                    other.leave_alone(LEFT_ALONE_S, why)
            if all(other.is_left_alone for other in asked):
                raise
            return turn.unanswered(client, order, attempt, why)

    def requests(self, answer: Answer, name: str, old: Score | None):
        """(client, messages) of the calls that judge() would send; None for messages that this judge cannot take."""
        turn = _Turn(self.rival, answer)
        for client, order, attempt in self._to_ask({_part(entry): entry for entry in (old.judges if old else [])
                                                    if turn.is_of(entry)}):
            try:
                yield client, turn.messages(client, order, attempt)[0]
            except ItemFailed:
                yield client, None
        if self.leaks:
            yield from self.leaks.requests(answer, name, (old.leaks if old else None) or [])

    def _enough(self, there: set[str]) -> bool:
        """True where some judge of the panel has said in every order what it had to say."""
        return any(all(f"{name} {order}" in there for order in self.orders) for name in self.names)

    def _is_of(self, score: Score, digests: dict[str, str]) -> bool:
        own = [digests.get(field, "") for field in ("messages", SIDES[self.rival], "challenger")]
        return all(_marked(entry, own) for entry in score.judges)

    def _fits(self, score: Score) -> bool:
        total = turn_score(score.judges, self.names, self.order)
        return (score.score, score.metrics) == (total.score, total.metrics)

    def _fault(self, score: Score) -> str:
        """Why the item is to be tried again though its record is written."""
        wanted = {f"{name} {order}" for name in self.names for order in self.orders}
        lacking = [e for e in score.judges if _part(e) in wanted and not _is_final(e)]
        if lacking:
            return f"{len(lacking)} of {len(wanted)} verdicts missing: " + "; ".join(
                f"{e['judge']} ({e['order']}): {e.get('error') or 'could not be read'}" for e in lacking)
        if self.leaks and (missing := self.leaks.missing(score)):
            return f"no verdict of {named(missing)}"
        return self._unasked.get(score.answer_file.removesuffix(".json"), "")


def generators(root: Path) -> dict[str, set[str]]:
    """{side: the models that answered as it}, from the ledgers. Answers written by hand have none."""
    models: dict[str, set[str]] = {"king": set(), "challenger": set()}
    for directory in shards_of(root / Answer.directory):
        for line in read_lines(directory / LEDGER):
            if side := {"king": "king", "ch": "challenger"}.get(str(line.get("stage"))):
                models[side].update(call["model"] for call in calls_of(line))
    return models


class _Turn:
    """The two answers to one conversation, and how they are laid before a judge."""

    def __init__(self, rival: str, answer: Answer):
        self.rival, self.history = rival, answer.messages
        self.sides = {rival: getattr(answer, SIDES[rival]), "challenger": answer.challenger}
        self.context = digest(answer.messages)
        self._own = [self.context, *map(digest, self.sides.values())]

    def marker(self, judge: str, order: str, attempt: int) -> str:
        return _marker(self._own, judge, order, attempt)

    def is_of(self, entry: dict) -> bool:
        """True where a stored entry is of this conversation and these answers."""
        return _marked(entry, self._own)

    def messages(self, client: Client, order: str, attempt: int) -> tuple[list[dict], tuple[str, str]]:
        """(request, the two answers in the order in which they are shown)."""
        first, second = ("challenger", self.rival) if order == CHALLENGER_FIRST else (self.rival, "challenger")
        answers, marker = (self.sides[first], self.sides[second]), self.marker(client.speaker.role, order, attempt)
        rubric, template = packaged_text("judge.md"), packaged_text("judge_turn.md").rstrip("\n")
        # the conversation comes first and under a mark of its own: endpoints cache what requests begin with
        head = 1 if self.history and self.history[0]["role"] == "system" else 0
        laid_out = [*self.history[:head], *({**m, "content": f"[[{self.context} {m['role']}]]\n{m['content']}"}
                                            for m in self.history[head:])]
        history = client.fit(laid_out, "".join((rubric, template, *answers))).messages
        shown = "\n\n".join(m["content"] for m in history[head:])
        text = fill(template.replace("{context}", self.context).replace("{marker}", marker),
                    system=history[0]["content"] if head else "", conversation=shown,
                    model_1=answers[0].rstrip(), model_2=answers[1].rstrip())
        return [{"role": "system", "content": rubric}, {"role": "user", "content": text}], answers

    def unanswered(self, client: Client, order: str, attempt: int, error: str) -> dict:
        return {"judge": client.speaker.role, "order": order, "attempt": attempt, "parse_ok": False, "verdict": {},
                "scores": {}, "raw": "", "reason": "", "truncated": False, "usage": {}, "seconds": 0.0, "error": error,
                "marker": self.marker(client.speaker.role, order, attempt)}

    def ask(self, client: Client, order: str, attempt: int) -> dict:
        entry = self.unanswered(client, order, attempt, "")
        try:
            messages, answers = self.messages(client, order, attempt)
            reply = client.ask(messages, grammar=packaged_text("verdict.gbnf"), schema=SCHEMA)
        except ItemFailed as e:
            return {**entry, "error": e.what}
        entry |= _as_it_came(reply)
        verdict = parse_verdict(reply.text, reply.reasoning, reply.finish_reason, answers)
        if verdict is None:
            return entry
        said, scores = scores_of(verdict.picks, order, self.rival)
        return {**entry, "parse_ok": True, "verdict": said, "scores": scores,
                "reason": _named(verdict.reason, order, self.rival)}


def _marker(digests: list[str], judge: str, order: str, attempt: int) -> str:
    """Of the digests of the conversation, the rival's answer and the challenger's."""
    return digest([*digests, judge, order, attempt])


def _marked(entry: dict, digests: list[str]) -> bool:
    """True where an entry's marker is of these; one without a marker says nothing."""
    return entry.get("marker", "") in ("", _marker(digests, entry["judge"], entry["order"], entry.get("attempt", 1)))


def _as_it_came(reply: Reply) -> dict:
    raw = reply.text if reply.text.strip() else reply.reasoning
    return {"raw": UNSTORABLE.sub("\ufffd", raw), "truncated": reply.truncated, "seconds": reply.call["seconds"],
            "usage": {key: reply.call[key] for key in USAGE if key in reply.call}}


def _part(entry: dict) -> str:
    return f"{entry['judge']} {entry['order']}"


def _is_final(entry: dict | None) -> bool:
    """True where nobody is asked again: a verdict, or a reply that could not be read for the last time."""
    return bool(entry) and not entry.get("error") and (entry["parse_ok"] or entry.get("attempt", ATTEMPTS) >= ATTEMPTS)


def _next_attempt(entry: dict | None) -> int:
    """A request that got no reply is made again as it was; one whose reply could not be read is not."""
    return entry.get("attempt", 1) + (not entry.get("error")) if entry else 1


def _named(reason: str, order: str, rival: str) -> str:
    """The judge's reason with the sides' names, for a reader who does not know who was MODEL 1."""
    sides = ("challenger", rival) if order == CHALLENGER_FIRST else (rival, "challenger")
    return re.sub(r"\bmodel[ _]?([12])\b", lambda m: sides[int(m[1]) - 1], reason, flags=re.IGNORECASE)


def _reasons(entries: list[dict]) -> str:
    return "\n".join(f"{e['judge']} ({e['order']}): {e['reason']}" for e in entries if e.get("reason"))
