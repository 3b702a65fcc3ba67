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

from codedata.config import Settings
from codedata.duel.judge_stats import same_family
from codedata.duel.prompt_texts import packaged_text, prompt_digest
from codedata.duel.scoring import BOTH, CHALLENGER_FIRST, scores_of, turn_score
from codedata.duel.verdict import UNSTORABLE, parse_verdict
from codedata.errors import EndpointDown, ItemFailed, Trouble
from codedata.leak.cache import LeakJudges
from codedata.ledger import LEDGER, calls_of, read_lines
from codedata.llm import Client, Models, Reply
from codedata.progress import named
from codedata.records import METRICS, Answer, ReferenceScore, Score, variant
from codedata.states import Parts, Reads, Writes
from codedata.store import Store, digest, shards_of
from codedata.texts import fill

ATTEMPTS = 2           # requests per verdict, until one can be parsed
COOL_DOWN_S = 60.0    # seconds before an endpoint that is down is asked again
SCHEMA = {"name": "verdict", "strict": True, "schema": {
    "type": "object", "additionalProperties": False, "required": ["reason", *METRICS],
    "properties": {"reason": {"type": "string"}, **{m: {"type": "integer", "enum": [0, 1, 2]} for m in METRICS}}}}
# the last three are present only if they differ from the usual value
USAGE = ("tokens_in", "tokens_out", "cost_usd", "tries", "timeouts", "throttled")
SCORES = {"king": Score, "reference": ReferenceScore}   # the record class for each [duel] mode
SIDES = {"king": "king", "reference": "assistant"}      # the Answer field of the challenger's rival


class Panel:
    """Score turns with the judges of one run. stage.run() calls judge() and requests()."""

    def __init__(self, settings: Settings, models: Models | None = None, refresh: bool = False,
                 decided: dict | None = None, how: str = "", cls: type | None = None, with_leaks: bool = True):
        """Choose the judges from the settings. Without `models` the panel cannot ask its judges.

        `refresh` is the flag --refresh: verdicts made with other settings are asked for again.
        `decided` is the content of a _duel.json, whose judges and order replace those of the
        settings. `how` says how the challenger was made; score_<how>/ is used if it differs from
        [challenger] how. `cls` is the class of the scores, which says where they go; by default that of
        [duel] mode. `with_leaks` is False where no challenger is judged, as in a trial of the
        judges: then no leak judge is asked. Raise Trouble if [judge] exclude_self leaves no judge.
        """
        self.root = settings.root
        self.rival, self.order = settings.duel.mode, settings.judge.order
        speakers = [] if decided else settings.judges()
        self.models = {spec.role: spec.model for spec in speakers}
        if decided:
            self.order, self.models = decided["order"], {n: j["model"] for n, j in decided["judges"].items()}
        elif settings.judge.exclude_self:
            self._exclude(same_family(self.models, generators(settings.root)))
        self.names = list(self.models)
        self.how = how if how != settings.challenger.how else ""
        score = cls or SCORES[self.rival]
        self.cls = variant(score, self.how) if self.how else score   # the type that judge() returns
        self.clients: list[Client] = [c for c in models.judges() if c.spec.role in self.models] if models else []
        self.orders = (f"{self.rival}_first", *([CHALLENGER_FIRST] if self.order == BOTH else []))
        prompts = [prompt_digest("judge.md"), prompt_digest("judge_turn.md")]
        self.made_with = {spec.role: digest([spec.identity(), prompts])[:8] for spec in speakers}
        self.refresh = refresh
        # a duel against the reference yields no training turns, and a decided one asks nobody
        with_leaks = with_leaks and not decided and self.rival == "king"
        self.leaks = LeakJudges(settings, models, not self.how) if with_leaks else None
        self._unasked: dict[str, str] = {}   # name: why --refresh kept an old verdict

    def _exclude(self, kin: dict[str, list[str]]) -> None:
        self.models = {name: model for name, model in self.models.items() if name not in kin}
        if not self.models:
            raise Trouble("leaves no judge: all are of the family of a model that answered.", "[judge] exclude_self",
                          "Add a judge of another family, or take exclude_self away.")

    def reads(self) -> Reads:
        """Return the Answer fields that judging a turn depends on."""
        sides = (SIDES[self.rival], "challenger")
        answers = Store(self.root, variant(Answer, self.how) if self.how else Answer)
        return Reads(answers, fields=("messages", *sides), needs=sides, made_by="ch")

    def writes(self) -> Writes:
        """Return the score fields that judging a turn fills in."""
        return Writes(Store(self.root, self.cls), fields=tuple(self.cls.__dataclass_fields__), copies=("instance_id",),
                      optional=("leaks",), parts=self.parts(), fault=self._fault)

    def parts(self) -> Parts:
        """Return a score's parts: a verdict per judge and order, and the leak verdicts."""
        wanted = {f"{name} {order}": self.made_with.get(name, "") for name in self.names for order in self.orders}
        return Parts(wanted=wanted | dict.fromkeys(self.leaks.parts if self.leaks else (), ""),
                     of=self._parts_of,
                     enough=self._enough, view=digest([self.names, self.order]), fits=self._fits,
                     is_of=self._is_of)

    def _parts_of(self, score: Score) -> dict[str, str]:
        settled = self.leaks.settled(score) if self.leaks else ()
        return {_part(e): e.get("settings", "") for e in score.judges if _is_final(e)} | dict.fromkeys(settled, "")

    def judge(self, answer: Answer, name: str, old: Score | None) -> Score:
        """Return the score of a turn. Keep verdicts in `old` on the same texts; ask for the rest.

        Raise EndpointDown if the endpoints of all judges to ask are down, ItemFailed if none
        answered.
        """
        turn = _Turn(self.rival, answer)
        self._unasked.pop(name, None)
        before = {_part(entry): entry for entry in (old.judges if old else []) if turn.is_of(entry)}
        entries = dict(before)
        to_ask = self._to_ask(before)
        if to_ask and all(client.is_cooling_down for client, _, _ in to_ask):
            raise EndpointDown(to_ask[0][0].cool_down_reason, todo="Wait and run again, or take the judge out of [judge] "
                               "models: that costs nothing.")
        for client, order, attempt in to_ask:
            entry = {**self._ask(turn, client, order, attempt, [c for c, *_ in to_ask]),
                     "settings": self.made_with[client.spec.role]}
            # with --refresh, an earlier verdict is kept if the new request fails
            if entry["error"] and _is_final(before.get(_part(entry))):
                self._unasked[name] = f"{entry['judge']} ({order}): {entry['error']}"
            else:
                entries[_part(entry)] = entry
        own = [entries.pop(f"{judge} {order}") for judge in self.names for order in self.orders]
        if all(entry.get("error") for entry in own):
            raise ItemFailed(f"no judge answered: {own[0]['judge']}: {own[0]['error']}")
        # entries of other judges are kept, because those judges may return to the panel
        judges = [*own, *entries.values()]
        total = turn_score(judges, self.names, self.order)
        leaks = old.leaks if old else None   # kept, as a leak judge may be set again
        if self.leaks and self.leaks.names:
            leaks = self.leaks.verdicts(answer, name, leaks or [])
        return self.cls(answer.instance_id, f"{name}.json", self.rival, total.score is not None, total.score,
                        total.metrics, _reasons(own), judges, leaks)

    def _to_ask(self, entries: dict[str, dict]) -> list[tuple[Client, str, int]]:
        """Return (client, order, attempt) of each missing verdict; --refresh adds outdated ones."""
        found = []
        for client in self.clients:
            for order in self.orders:
                entry = entries.get(f"{client.spec.role} {order}")
                is_other = bool(entry) and entry.get("settings", "") not in ("", self.made_with[client.spec.role])
                if self.refresh and is_other:
                    found.append((client, order, 1))
                elif not _is_final(entry):
                    found.append((client, order, _next_attempt(entry)))
        return found

    def _ask(self, turn: _Turn, client: Client, order: str, attempt: int, asked: list[Client]) -> dict:
        """Return an entry for one request. Skip an endpoint that is down for COOL_DOWN_S seconds.

        Raise EndpointDown if that leaves none of the clients `asked` for this turn.
        """
        try:
            return turn.ask(client, order, attempt)
        except EndpointDown as e:
            place, why = client.spec.endpoint.base_url, f"{e.where} {e.what}"
            for other in self.clients:
                if other.spec.endpoint.base_url == place:
                    other.cool_down(COOL_DOWN_S, why)
            if all(other.is_cooling_down for other in asked):
                raise
            return turn.unanswered(client, order, attempt, why)

    def requests(self, answer: Answer, name: str, old: Score | None):
        """Yield (client, messages) of each call of judge(); messages that do not fit are None."""
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
        """Return whether at least one judge of the panel has a final entry in every order."""
        return any(all(f"{name} {order}" in there for order in self.orders) for name in self.names)

    def _is_of(self, score: Score, digests: dict[str, str]) -> bool:
        own = [digests.get(field, "") for field in ("messages", SIDES[self.rival], "challenger")]
        return all(_marked(entry, own) for entry in score.judges)

    def _fits(self, score: Score) -> bool:
        total = turn_score(score.judges, self.names, self.order)
        return (score.score, score.metrics) == (total.score, total.metrics)

    def _fault(self, score: Score) -> str:
        """Return why the turn must be tried again although its record is written, else ""."""
        wanted = {f"{name} {order}" for name in self.names for order in self.orders}
        lacking = [e for e in score.judges if _part(e) in wanted and not _is_final(e)]
        if lacking:
            return f"{len(lacking)} of {len(wanted)} verdicts missing: " + "; ".join(
                f"{e['judge']} ({e['order']}): {e.get('error') or 'could not be read'}" for e in lacking)
        if self.leaks and (missing := self.leaks.missing(score)):
            return f"no verdict of {named(missing)}"
        return self._unasked.get(score.answer_file.removesuffix(".json"), "")


def generators(root: Path) -> dict[str, set[str]]:
    """Return {side: models that answered}, from the ledgers; hand-written answers add none."""
    models: dict[str, set[str]] = {"king": set(), "challenger": set()}
    for directory in shards_of(root / Answer.directory):
        for line in read_lines(directory / LEDGER):
            if side := {"king": "king", "ch": "challenger"}.get(str(line.get("stage"))):
                models[side].update(call["model"] for call in calls_of(line))
    return models


class _Turn:
    """Hold the two answers to one conversation, and build the judges' requests from them."""

    def __init__(self, rival: str, answer: Answer):
        self.rival, self.history = rival, answer.messages
        self.sides = {rival: getattr(answer, SIDES[rival]), "challenger": answer.challenger}
        self.context = digest(answer.messages)
        self._own = [self.context, *map(digest, self.sides.values())]

    def marker(self, judge: str, order: str, attempt: int) -> str:
        """Return the marker of a request: see the module's docstring."""
        return _marker(self._own, judge, order, attempt)

    def is_of(self, entry: dict) -> bool:
        """Return whether a stored entry was made for this conversation and these answers."""
        return _marked(entry, self._own)

    def messages(self, client: Client, order: str, attempt: int) -> tuple[list[dict], tuple[str, str]]:
        """Return (request, answers in the order shown); raise ItemFailed if it does not fit."""
        first, second = ("challenger", self.rival) if order == CHALLENGER_FIRST else (self.rival, "challenger")
        answers, marker = (self.sides[first], self.sides[second]), self.marker(client.spec.role, order, attempt)
        rubric, template = packaged_text("judge.md"), packaged_text("judge_turn.md").rstrip("\n")
        # the conversation comes first, under a digest of its own, because endpoints cache prefixes
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
        """Return an entry without a reply, with the reason in `error`."""
        return {"judge": client.spec.role, "order": order, "attempt": attempt, "parse_ok": False, "verdict": {},
                "scores": {}, "raw": "", "reason": "", "truncated": False, "usage": {}, "seconds": 0.0, "error": error,
                "marker": self.marker(client.spec.role, order, attempt)}

    def ask(self, client: Client, order: str, attempt: int) -> dict:
        """Return the entry for one request. An ItemFailed is stored in its `error`."""
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
    """Return the marker for digests of the conversation, rival's answer and challenger's."""
    return digest([*digests, judge, order, attempt])


def _marked(entry: dict, digests: list[str]) -> bool:
    """Return whether an entry's marker was made from these digests; an absent marker passes."""
    return entry.get("marker", "") in ("", _marker(digests, entry["judge"], entry["order"], entry.get("attempt", 1)))


def _as_it_came(reply: Reply) -> dict:
    raw = reply.text if reply.text.strip() else reply.reasoning
    return {"raw": UNSTORABLE.sub("\ufffd", raw), "truncated": reply.truncated, "seconds": reply.call["seconds"],
            "usage": {key: reply.call[key] for key in USAGE if key in reply.call}}


def _part(entry: dict) -> str:
    return f"{entry['judge']} {entry['order']}"


def _is_final(entry: dict | None) -> bool:
    """Return whether an entry is final: it has a verdict, or its last attempt was unreadable."""
    return bool(entry) and not entry.get("error") and (entry["parse_ok"] or entry.get("attempt", ATTEMPTS) >= ATTEMPTS)


def _next_attempt(entry: dict | None) -> int:
    """Return the next attempt: one more if the reply was unreadable, the same if none came."""
    return entry.get("attempt", 1) + (not entry.get("error")) if entry else 1


def _named(reason: str, order: str, rival: str) -> str:
    """Return the judge's reason with "MODEL 1" and "MODEL 2" replaced by the names of the sides."""
    sides = ("challenger", rival) if order == CHALLENGER_FIRST else (rival, "challenger")
    return re.sub(r"\bmodel[ _]?([12])\b", lambda m: sides[int(m[1]) - 1], reason, flags=re.IGNORECASE)


def _reasons(entries: list[dict]) -> str:
    return "\n".join(f"{e['judge']} ({e['order']}): {e['reason']}" for e in entries if e.get("reason"))
