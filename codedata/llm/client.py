"""Chat with a model over an OpenAI-compatible endpoint; no finished reply is lost or paid twice.

A script creates one `Models`, and Models.client(role) returns the client of a role. A reply and its
cost are saved in the `ReplyLog` of the current item (codedata/llm/replies.py) before they are used.
`LLMServerHTTP` is the same client for use as a library, outside a script.
"""
from __future__ import annotations

import hashlib
import itertools
import json
import re
import secrets
import time
from argparse import Namespace
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from math import inf
from typing import NoReturn

import orjson

from codedata.config import PRICE_LINE, load
from codedata.driver import StaysInDriver, in_worker
from codedata.errors import HttpTrouble, ItemFailed, Trouble
from codedata.llm.costs import Money
from codedata.llm.cures import CURES, Parts
from codedata.llm.http import (
    CUTS,
    FLAGGED,
    ONE_CHOICE,
    SLIP,
    WRONG_SHAPE,
    Http,
    Tries,
    address,
    is_stream,
    read_json,
)
from codedata.llm.replies import current_reply_log
from codedata.llm.streams import completion_of
from codedata.llm.trim import Fitted, estimate_tokens, fit, text_sent
from codedata.llm.vendors import addressed, import_converter, price_of
from codedata.llm.written_calls import MARK, written_calls
from codedata.settings import NOT_SENT, Endpoint, ModelSpec, Settings
from codedata.terminal import say

MAX_TOKENS = 10**12   # larger token counts in a reply are ignored
MIN_SECRET_CHARS = 8   # values of headers may be keys: mask values of this length or longer
# headers whose values are not masked
PUBLIC_HEADERS = ("accept", "content-type", "user-agent", "referer", "http-referer", "x-title")
BASE_URL = re.compile(r"https?://([^/@]*@)?[^/:@]+(:\d+)?(/|$)")
# matches finish reasons of a filtered reply; Gemini's may have a prefix
FILTERED = re.compile("content_filter|safety|prohibited_content|recitation|blocklist|spii",
                      re.IGNORECASE)
# finish reasons of a reply that the endpoint broke off
BROKEN_OFF = ("error", "abort", "insufficient_system_resource")
PARALLEL = "parallel_tool_calls"
REFUSES_A_PART = (400, 422)   # HTTP statuses that may refuse a parameter
# matches a refusal of a parameter, as opposed to a refusal of its value
REFUSAL = re.compile(r"unsupported|not support|n't support|unrecogni[sz]ed|unknown|unexpected|"
                     r"not permitted|not allowed|deprecated|both be specified|"
                     r"only \S+ is allowed", re.IGNORECASE)
# matches the name that a refusal proposes for the limit of tokens
PROPOSAL = re.compile(r"\buse \W*(max_\w*tokens)", re.IGNORECASE)
# keys of a request that extra_body may not set
SET_BY_US = {"model", "messages", "tools", "response_format", "stream", "n"}
# parameters to leave out or rename only after a refusal that names them
ALWAYS_SENT = ("temperature", "max_tokens", "max_completion_tokens", "stream_options")
# parameters to leave out, in this order, after a refusal that names no parameter
NOT_EVERYWHERE = ("n", "response_format", PARALLEL)
IN_WORDS = {"n": "gives one answer a call (n): further answers take further calls",
            **{name: cure.says for name, cure in CURES.items()}}
SHARE_COUNTED = 0.9   # average number of real tokens per estimated token (docs/costs.md)
MIN_CHECKED = 2000    # check the counted tokens of requests with this estimate or more
BYTES_OF_CUT = 6      # bytes of a request for each counted token, above which they are checked
RUN = re.compile(r"(.)\1+", re.DOTALL)   # matches equal characters, which may be one token
AGENTS = ("agent", "solve", "dp_")   # prefixes of roles whose requests contain commands' output
# matches times and durations in the output of commands; they are ignored when requests are
# compared, because they differ in a re-run after a kill
TIMES = re.compile(
    rb"(?<![\d.])(?:\d{4}-\d\d-\d\d|\d{1,2}:\d\d(?::\d\d)?(?:[.,]\d+)?|1[6-9]\d{8}(?:\.\d+)?"
    rb"|(?:\d+m)?\d+(?:\.\d+)? ?(?:m?s|sec(?:onds?)?|min(?:utes?)?)(?![a-z]))(?!\d)"
    rb"|duration_ms \d+(?:\.\d+)?"
    rb"|(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) [ \d]\d(?!\d)"
    rb"|(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)(?=[ ,])")
# usage of further replies to a request: all tokens are counted in the first reply
IN_THE_FIRST = {"tokens_in": 0, "tokens_out": 0, "tokens_cached": 0}
ADVICE = {   # {HTTP status: advice}
    400: "Read the endpoint's message; for a request that is too long, set max_prompt_tokens.",
    404: "Check --model and the base URL, which mostly ends in /v1: --show-config tells which are "
         "used.",
    413: "The request is too long: set max_prompt_tokens.",
    422: "The endpoint does not accept a field of the request; read its message.",
    **dict.fromkeys(CUTS, "A gateway cuts long calls: set stream = true in the endpoint's table."),
}
TOOL_PARSER = "set vLLM's or SGLang's --tool-call-parser for this model"
NO_KEY = ("set QIANFAN_BEARER_TOKEN, OPENAI_API_KEY or api_key_env (OPENAI_API_KEY goes only to "
          "OPENAI_BASE_URL and OpenAI's own address)")
WAYS_OUT = """\
Put the key into the environment or .env ({variable}; or OPENAI_API_KEY with OPENAI_BASE_URL), \
or name another endpoint: --llm-base-url URL [--llm-auth-token KEY],
  [endpoints.NAME] in chain.toml with --llm NAME, or --llm embedded for a small model \
on this machine (for trying only)."""


@dataclass(frozen=True)
class Reply:
    """Hold a model's reply. `reasoning` is the model's thinking, which `text` does not contain."""

    text: str
    reasoning: str = ""
    finish_reason: str = ""
    model: str = ""
    # in the form of the chat API: `arguments` is JSON text
    tool_calls: list[dict] = field(default_factory=list, hash=False)
    # the call's entry for the ledger: tokens, cost_usd, seconds, …
    call: dict = field(default_factory=dict, compare=False)
    request: str = field(default="", compare=False)   # digest of the answered request

    @property
    def truncated(self) -> bool:
        """Return whether the reply was cut off at max_tokens."""
        return self.finish_reason == "length"


@dataclass(frozen=True)
class _Request:
    data: bytes     # the body
    digest: str


class Client(StaysInDriver):
    """Send the requests of one role to its model. ask() sends a request; fit() cuts a request to
    the model's limit.

    All clients of the same Models share the limits of an endpoint. The members of a group share its
    requests.
    """

    copied = ("spec",)

    def __init__(self, spec: ModelSpec, models: Models, added: dict | None = None):
        self._by_litellm = spec.endpoint.api == "litellm"
        self.spec = spec = addressed(spec) if self._by_litellm else spec
        self._place = spec.endpoint.base_url, spec.model
        # {refused parameter: the name to send it under, or ""}
        self._changes = models.changes.setdefault(self._place, {})
        self.forms = models.forms
        self.cool_down_reason = ""
        self._left_alone_until = 0.0
        self._models = models
        endpoint = spec.endpoint
        self._is_embedded = endpoint.name == "embedded"
        workers = models.settings.llm.workers
        limit = min(workers, endpoint.max_concurrency or workers)
        self._endpoint = models.http.endpoint(f"{endpoint.name} {endpoint.base_url}", limit)
        self._headers = {"Content-Type": "application/json", **endpoint.headers}
        if endpoint.api_key:
            self._headers["Authorization"] = f"Bearer {endpoint.api_key}"
        values = [value for name, value in endpoint.headers.items()
                  if name.lower() not in PUBLIC_HEADERS]
        if not endpoint.api_key and not endpoint.headers:
            self._endpoint.about_key = f"no key was sent: {endpoint.api_key.withheld or NO_KEY}"
        for value in (endpoint.api_key, *values, *(one.split(" ")[-1] for one in values)):
            if len(value) >= MIN_SECRET_CHARS:
                models.http.secrets |= {value, json.dumps(value)[1:-1]}
        prices = models.money.prices
        if self._by_litellm and spec.model not in prices and (price := price_of(spec.model)):
            prices[spec.model] = price
        self._added = added   # what a member of a group adds to the body
        self.members = [
            Client(replace(spec, endpoint=one), models, one.extra_body | endpoint.extra_body)
            for one in endpoint.members] or [self]

    @cached_property
    def _converter(self):
        """Return the LiteLLM converter of the model; import LiteLLM on first use."""
        return import_converter().Converter(self._models.http, self.spec)

    @in_worker
    def give_up(self, problem: str, *rejected: Reply) -> NoReturn:
        """Raise ItemFailed. The next run requests the `rejected` replies again; by default, all
        replies of the item."""
        current_reply_log().discard(*(reply.request for reply in rejected))
        raise ItemFailed(problem)

    def ask(self, messages: list[dict], grammar: str = "", schema: dict | None = None,
            tools: list[dict] | None = None, n: int = 1, parallel: bool | None = None) -> Reply:
        """Return one reply, unchecked.

        With `n`, the call asks the endpoint for `n` replies, if it supports that. The replies after
        the first are kept for the next ask() with the same messages and no schema.

        `schema` (a JSON schema) is sent if the endpoint accepts schemas. `parallel` (whether a
        reply may have several tool calls) is sent if the endpoint accepts it, unless it is None.
        `tools` are always sent, since a model without tools needs other instructions. `grammar`
        (GBNF) is sent only to the embedded model, since other endpoints may not support it.
        """
        plain = self._request(messages, grammar, None, tools, parallel)
        if schema is not None and not self._is_embedded:
            whole = self._request(messages, grammar, schema, tools, parallel)
            has_kept = current_reply_log().has_kept
            # leave the schema out if only a reply without it is kept: the endpoint refused it
            if has_kept(whole.digest) or not has_kept(plain.digest):
                return self._reply(whole)
        return self._reply(plain, n)

    @property
    def takes_tools(self) -> bool | None:
        """Return whether the model accepts requests that offer tools: False for the embedded model,
        None if this run does not know yet."""
        return False if self._is_embedded else self._models.take_tools.get(self._place)

    def note_tools(self, takes: bool, refusal: str = "") -> None:
        """Note for this run whether the model accepts requests that offer tools. A refusal is
        printed, and replaces an earlier True."""
        if takes:
            self._models.take_tools.setdefault(self._place, True)
        else:
            self._models.take_tools[self._place] = False
            self._say_once("takes no tools: it is asked in the text form", refusal)

    def note_thinking(self, messages: list[dict]) -> None:
        """Note the `reasoning_content` of messages by other models, for endpoints that want it
        before each call. LiteLLM gets none, since it would send it to all vendors."""
        for message in () if self._by_litellm else messages:
            for call in message.get("tool_calls") or ():
                self._parts.setdefault(call["id"], (message["reasoning_content"], {}))

    def _say_once(self, what: str, why: str = "") -> None:
        # print only once: setdefault is atomic, so only one of several threads gets its own object
        mine = object()
        if self._models.was_said.setdefault((self._place, what), mine) is mine:
            because = f" ({why})" if why else ""
            say(self._models.http.masked(f"{self.spec.role}  {self.spec.model} {what}{because}"))

    def _learn(self, changes: dict[str, str]) -> None:
        """Note for this run, and print, which parameters the endpoint refuses, and which cures it
        needs. `changes` maps a refused parameter to the name to send it under, or to "" to leave it
        out. A cure, named as in CURES, is mapped to ""."""
        for name, other in changes.items():
            self._changes[name] = other
            what = f"sent as {other}" if other else "left out"
            self._say_once(IN_WORDS.get(name, f"does not take {name}: it is {what}"))

    def has_kept(self, messages: list[dict], **options) -> bool:
        """Return whether a reply to this request is kept. `options` are arguments of ask()."""
        return current_reply_log().has_kept(self._request(messages, **options).digest)

    def cool_down(self, seconds: float, why: str) -> None:
        """Send nothing for `seconds`. Meanwhile, a request without a kept reply fails immediately,
        with the reason `why`."""
        self._left_alone_until = time.monotonic() + seconds
        self.cool_down_reason = why

    @property
    def is_cooling_down(self) -> bool:
        """Return whether cool_down() is still in effect."""
        return time.monotonic() < self._left_alone_until

    @in_worker
    def fit(self, history: list[dict], fixed: str = "", patches: tuple[str, ...] = ()) -> Fitted:
        """Return the parts of a request, cut to max_prompt_tokens. Note the cuts for the ledger."""
        if self.spec.endpoint.name == "embedded":
            fitted = self.fit_embedded(history, fixed, patches)
        elif not self.spec.max_prompt_tokens:
            return Fitted(history, list(patches))
        else:
            fitted = fit(history, self.spec.max_prompt_tokens, estimate_tokens, fixed, patches)
        if fitted.cut:
            current_reply_log().note_cut(fitted.cut)
        return fitted

    def fit_embedded(self, history: list[dict], fixed: str, patches: tuple[str, ...]) -> Fitted:
        """Return the parts of a request, cut to the embedded model's limit. Tokens are counted by
        the model's tokenizer."""
        embedded = self._models.embedded
        room = embedded.CONTEXT - self.spec.max_tokens
        return fit(history, min(self.spec.max_prompt_tokens or room, room), embedded.tokens, fixed,
                   patches)

    def estimate(self, messages: list[dict], n: float = 1, of_in: float = 1, of_out: float = 1
                 ) -> dict:
        """Return the estimated usage of a request. `n` is the number of calls; `of_in` and `of_out`
        are factors for the tokens. `max_usd` is the cost if the reply takes all of max_tokens, or
        None if the price is unknown."""
        spec, cost = self.spec, self._models.money.cost
        tokens = sum(estimate_tokens(text_sent(m)) for m in messages)
        tokens = min(tokens, spec.max_prompt_tokens or tokens)
        usage = {"tokens_in": tokens * SHARE_COUNTED * of_in,
                 "tokens_out": spec.max_tokens * spec.usual_share * of_out}
        return {"n": n, **usage, "cost_usd": cost(spec.model, **usage),
                "max_usd": cost(spec.model, tokens, spec.max_tokens)}

    def _request(self, messages: list[dict], grammar="", schema=None, tools=None, parallel=None
                 ) -> _Request:
        spec, endpoint = self.spec, self.spec.endpoint
        body = {"model": spec.model, "messages": messages}
        if endpoint.temperature != NOT_SENT:
            body["temperature"] = spec.temperature
        body["max_tokens"] = spec.max_tokens
        if grammar and self._is_embedded:
            body["grammar"] = grammar
        if schema:
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        if tools:
            body["tools"] = tools
        if parallel is not None:
            body[PARALLEL] = parallel
        data = orjson.dumps({**body, **endpoint.extra_body})
        same = TIMES.sub(b"", data) if spec.role.startswith(AGENTS) else data
        return _Request(data, hashlib.blake2b(same, digest_size=8).hexdigest())

    def _reply(self, request: _Request, n: int = 1) -> Reply:
        """Return the kept reply to a request or, if there is none, a new one; see _new_reply().
        Calls that the server left in its text become calls of the reply."""
        attempt, kept = current_reply_log().next_attempt(request.digest)
        if not (kept and kept["reply"]):   # {}: an unusable reply
            kept = self._new_reply(request, n, attempt)
        reply = Reply(**kept["reply"], call=kept["call"], request=request.digest)
        if MARK.search(reply.text) and not (reply.tool_calls or reply.truncated):
            tools = orjson.loads(request.data).get("tools", ())
            if found := written_calls(reply.text, tools, request.digest):
                self._say_once("leaves calls in its text: they are read from there", TOOL_PARSER)
                reply = replace(reply, text=found[0], tool_calls=found[1])
        return _without_parts(reply, request, self._parts)

    def _new_reply(self, request: _Request, n: int, attempt: int) -> dict:
        """Ask for up to `n` replies and keep them. Return the kept line of the first."""
        if self.is_cooling_down:
            raise HttpTrouble(self.cool_down_reason)
        tries = Tries()
        replies, usage = self._send(request, tries, 1 if self._is_embedded else n)
        lines = []
        for i, reply in enumerate(replies):
            call = self._call(usage, tries) if i == 0 else self._call(IN_THE_FIRST, Tries())
            if Reply(**reply).truncated:
                call["truncated"] = True
            # LiteLLM and two cures add this to later requests
            if reply["tool_calls"] and (self._by_litellm or {"thinking", "signatures"}.intersection(
                    self._changes)):
                added = json.dumps([call.get("extra_content") for call in reply["tool_calls"]])
                call["sent_back"] = estimate_tokens(reply["reasoning"] + added)
            lines.append(current_reply_log().save(request.digest, attempt + i, reply, call))
        self._models.money.add(lines[0]["call"])
        return lines[0]

    @property
    def _parts(self) -> Parts:
        """Return the thinking and the extra_content to send back with each of the model's own calls
        in the current item."""
        return current_reply_log().parts.setdefault(self._place, {})

    def _send(self, request: _Request, tries: Tries, n: int) -> tuple[list[dict], dict]:
        """Return up to `n` replies, with Reply's fields, and their usage. Leave parameters that the
        endpoint refuses out of all later requests in this run, and apply the cures that it needs.
        """
        wanted = {"stream": ""} if self.spec.endpoint.stream else {}
        changes = wanted | self._changes
        while True:
            sent = _changed(request, n, changes, self.spec.endpoint.extra_body, self._parts)
            try:
                found = self._post(sent, tries, 1 if "n" in changes else n)
            except HttpTrouble as e:
                changes |= self._refused(e, sent, changes)
                continue
            self._learn({name: changes[name] for name in changes if name not in wanted})
            return found

    def _refused(self, refusal: HttpTrouble, sent: _Request, changes: dict) -> dict[str, str]:
        """Return {cure: ""} for a refusal that has a cure. Otherwise, return {parameter: the name
        to send it under, or ""} for the parameter that the refusal names or, if it names none, for
        the first of NOT_EVERYWHERE in the request. Raise the refusal if the request has no such
        parameter."""
        text = refusal.what
        is_about_a_part = refusal.status in REFUSES_A_PART and not text.startswith(FLAGGED)
        if SLIP.search(text) or (not is_about_a_part and ONE_CHOICE not in text):
            raise refusal
        for name, cure in CURES.items():
            if name not in changes and cure.refusal.search(text):
                return {name: ""}
        keys = read_json(sent.data).keys() - self.spec.endpoint.extra_body.keys()
        words = re.findall(r"\w+", text) if REFUSAL.search(text) else ()
        named = [key for key in (*ALWAYS_SENT, PARALLEL) if key in words]
        name = next((key for key in (*named, *NOT_EVERYWHERE) if key in keys), None)
        if name is None:
            raise refusal
        proposed = PROPOSAL.findall(text) if "tokens" in name else ()
        return {name: next((one for one in proposed if one not in (name, *changes)), "")}

    def _post(self, request: _Request, tries: Tries, n: int) -> tuple[list[dict], dict]:
        """Return the first `n` replies and their usage; save the cost of unusable ones."""
        models = self._models

        def decode(status, headers, body):
            usage, marks = {}, {}
            try:
                answer, is_whole = (completion_of(body) if is_stream(headers, body)
                                    else (read_json(body), True))
                usage = _usage(answer)
                if len(request.data) > BYTES_OF_CUT * (usage["tokens_in"] or inf):
                    self._check_counted(request, usage["tokens_in"], answer["usage"])
                if not is_whole:
                    if usage["tokens_out"] is None:
                        usage, marks = _estimated(request, answer), {"estimated": True}
                    raise ValueError("a stream that broke off")
                choices = answer["choices"][:n]
                replies = json.dumps(_whole_ones(choices, answer))
                if len(choices) == 1 < n:
                    self._learn({"n": ""})
                # Mask the keys that a reply may repeat, but not a proxy's short password, which may
                # be any word of the reply.
                return json.loads(models.http.masked(replies, MIN_SECRET_CHARS)), usage
            except (*WRONG_SHAPE, HttpTrouble) as e:
                # save the cost of a reply that is unusable, but billed
                if usage.get("tokens_in") or usage.get("tokens_out"):
                    call = self._call(usage, tries) | marks
                    current_reply_log().save(request.digest, f"useless {call['id']}", {}, call)
                    models.money.add(call)
                if isinstance(e, HttpTrouble):
                    raise
                raise ValueError(str(e) if type(e) is ValueError else
                                 "without a chat completion in it") from e

        places = {}
        for one in self.members:
            places |= one._at(request.data, self._parts)
        try:
            return models.http.send(places, decode, tries=tries, gate=models.money.gate)
        except HttpTrouble as e:
            # give no advice about address and model if they have worked before
            have_worked = e.status == 404 and any(one.n_answers for one in places)
            todo = "" if have_worked else ADVICE.get(e.status, e.todo)
            raise HttpTrouble(e.what, f"{self.spec.model}:", todo, e.status) from e

    def _at(self, data: bytes, parts: Parts) -> dict:
        """Return send()'s `places` for this client's own endpoint."""
        base_url = self.spec.endpoint.base_url
        if self._by_litellm:
            exchange = partial(self._converter.exchange, data, parts)
            return {self._endpoint: (base_url, exchange)}
        if self._added:
            data = json.dumps({**read_json(data), **self._added}).encode()
        if self._is_embedded:
            base_url = self._models.embedded.base_url()
        return self._models.http.at(self._endpoint, address(base_url, "chat/completions"), data,
                                    self._headers, self._is_embedded)

    def _check_counted(self, request: _Request, tokens_in: int, usage: dict) -> None:
        """Say once for this run if the endpoint counts less than half of a low estimate of the
        tokens in a request's messages."""
        counted = tokens_in + sum(_cached(usage))   # some endpoints count cached tokens apart
        # one token for each 3 characters, whatever their bytes; equal ones in a row count once
        estimate = sum(len(RUN.sub(r"\1", text_sent(message))) // 3
                       for message in read_json(request.data)["messages"])
        if estimate >= max(MIN_CHECKED, 2 * counted):
            self._say_once("counts less than half of a request: the server may have cut it, as "
                           "Ollama does at num_ctx",
                           f"{counted:,} of at least {estimate:,} tokens")

    def _call(self, usage: dict, tries: Tries) -> dict:
        """Return a call's entry for the ledger."""
        # Name the requested model, which [prices] lists; the endpoint may add a date to the name.
        model = self.spec.model
        models = self._models
        call = {"id": f"{models.run}-{next(models.n_calls)}", "model": model, **usage,
                "cost_usd": models.money.cost(model, **usage),
                "seconds": round(tries.seconds, 3)}
        counts = {"tries": tries.n if tries.n > 1 else 0, "timeouts": tries.timeouts,
                  "throttled": tries.throttled}
        return call | {name: n for name, n in counts.items() if n}


class LLMServerHTTP(Client):
    """Call a model behind an OpenAI-compatible endpoint from your own code.

    The key (QIANFAN_BEARER_TOKEN), proxy, certificates, retries and prices are read as in the
    scripts, from the environment, .env and chain.toml. A reply's `call` holds tokens, cost and
    seconds. Nothing is kept on disk, except within `recording(ReplyLog(...))`.
    """

    def __init__(self, base_url: str, model: str, api_key: str = "", temperature: float = 1.0,
                 max_tokens: int = 8192):
        settings = load(Namespace(llm_base_url=base_url, llm_auth_token=api_key, model=model))
        models = Models(settings)
        super().__init__(ModelSpec("agent", model, settings.endpoints["base_url"], temperature,
                                   max_tokens, max_prompt_tokens=0), models)
        models.check(self)

    def close(self) -> None:
        """Close the connections."""
        self._models.http.close()

    def __enter__(self) -> LLMServerHTTP:
        return self

    def __exit__(self, *_) -> None:
        self.close()


class Models(StaysInDriver):
    """Share connections, limits, spending and the embedded model among the calls of a run."""

    def __init__(self, settings: Settings):
        self.settings = settings
        self.http = Http(settings.llm)
        self.stop = self.http.stop
        self.http.secrets.update(filter(None, (settings.hf_token, settings.github_token)))
        self.money = Money(dict(settings.prices), settings.budget_usd, settings.shard,
                           settings.budget_run_usd)
        self.changes: dict[tuple, dict[str, str]] = {}   # {(base_url, model): Client._changes}
        self.take_tools = {}          # {(base_url, model): whether it accepts tools}
        self.forms: set[bool] = set()   # forms of the root's answers; True: text (duel/answer.py)
        self.was_said = {}            # {((base_url, model), text): object of the first caller}
        self._clients = {}            # {role: client}
        self.run, self.n_calls = secrets.token_hex(5), itertools.count(1)   # parts of calls' ids

    @cached_property
    def embedded(self):
        """Return the embedded model's manager, which starts the model's process at the first call.
        """
        from codedata.llm.embedded import Embedded  # an optional extra, imported on first use
        return Embedded()

    def client(self, role: str) -> Client:
        """Return the client of a role."""
        return self._client(self.settings.model_spec(role))

    def judges(self) -> list[Client]:
        """Return the panel's clients in the order of [judge] models. A judge's name is its client's
        spec.role."""
        return [self._client(spec) for spec in self.settings.judges()]

    def leak_judges(self) -> list[Client]:
        """Return the clients of [leak] models. They are not shared with the panel."""
        return [self._client(spec, "leak ") for spec in self.settings.leak_judges()]

    def _client(self, spec: ModelSpec, kind: str = "") -> Client:
        return self._clients.setdefault(kind + spec.role, Client(spec, self))

    def clients(self) -> list[Client]:
        """Return all clients created so far."""
        return list(self._clients.values())

    def check(self, *others: Client) -> None:
        """Raise Trouble before the first call if a key, endpoint, extra or price is missing. With a
        budget, add up the root's spending."""
        has_budget = self.money.is_limited
        prices = self.money.prices
        for client in (*self._clients.values(), *others):
            spec = client.spec
            if client._is_embedded:
                self.embedded.check()
            else:
                for one in (*client.members, client):
                    _check_endpoint(one.spec.endpoint)
            if client._by_litellm:
                import_converter()
                if spec.model in prices.keys() - self.settings.prices.keys():
                    client._say_once(f"has LiteLLM's price: {prices[spec.model].in_} in, "
                                     f"{prices[spec.model].out} out (USD for a million tokens)")
            if has_budget and spec.model not in prices:
                raise Trouble(f"a budget needs a price for {spec.model!r}.",
                              todo=PRICE_LINE.format(model=spec.model))
        if self.money.budget_usd is not None:
            self.money.add_up(self.settings.root)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.http.close()
        if "embedded" in vars(self):
            self.embedded.close()


def _check_endpoint(endpoint: Endpoint) -> None:
    """Raise Trouble if an endpoint's settings would make calls to it fail."""
    where = f"[endpoints.{endpoint.name}]"
    base_url = endpoint.base_url
    if not base_url:
        raise Trouble("has no base_url.", where, WAYS_OUT.format(variable="CHUTES_API_KEY"))
    if not BASE_URL.match(base_url):
        raise Trouble("is no base URL of an endpoint.", repr(base_url),
                      "It looks like http://127.0.0.1:8000/v1 or https://host/v1.")
    if taken := SET_BY_US & endpoint.extra_body.keys():
        raise Trouble(f"has {', '.join(taken)}, which the scripts set.", f"{where} extra_body")
    if "@" in base_url:
        raise Trouble("has a password in its base_url.", where, "Addresses are printed. "
                      "Put the key into the environment and name it: api_key_env.")
    variable = endpoint.api_key_env or (endpoint.api == "litellm" and "api_key_env")
    if variable and not endpoint.api_key:
        problem = endpoint.api_key.withheld or f"{variable} is not set"
        raise Trouble(f"no key for {base_url}: {problem}.", todo=WAYS_OUT.format(variable=variable))
    if not all(" " <= char <= "~" for char in endpoint.api_key):
        raise Trouble("holds a character that a key cannot contain.",
                      endpoint.api_key_env or "--llm-auth-token",
                      "Copy the key again, without line ends or quotes.")


def _changed(request: _Request, n: int, changes: dict[str, str], fixed: Collection[str],
             parts: Parts) -> _Request:
    """Return a request for `n` replies, with refused parameters renamed or left out, and cures
    applied. Keys in `fixed` stay. The digest stays the same, so that kept replies are found by it.
    """
    if n == 1 and not changes:
        return request
    body = {**orjson.loads(request.data), **({"n": n} if n > 1 else {})}
    for name, cure in CURES.items():
        if name in changes:
            cure.apply(body, parts)
    for name, other in changes.items():
        value = None if name in fixed or name in CURES else body.pop(name, None)
        if other and value is not None:
            body.setdefault(other, value)
    try:
        data = orjson.dumps(body)
    except TypeError:   # a model's thinking may have a lone surrogate
        data = json.dumps(body).encode()
    return replace(request, data=data)


def _without_parts(reply: Reply, request: _Request, parts: Parts) -> Reply:
    """Return a reply whose calls have only the fields of the chat API, and note in `parts` the
    model's thinking and the other fields. Note nothing for an id that is also in the request: such
    an id does not identify one call."""
    if not reply.tool_calls:
        return reply
    calls = [dict(call) for call in reply.tool_calls]
    for call in calls:
        belongs = reply.reasoning, call.pop("extra_content", {})
        known = f'"id":{json.dumps(call["id"], ensure_ascii=False)}'
        if known.encode(errors="replace") not in request.data:
            parts[call["id"]] = belongs
    return replace(reply, tool_calls=calls)


def _whole_ones(choices: list[dict], answer: dict) -> list[dict]:
    """Return the replies of the complete choices: they are paid for, even if other choices are
    broken. If all are broken, raise the fault of the first one; IndexError if there is none."""
    replies, faults = [], []
    for choice in choices:
        try:
            replies.append(_decode(choice, answer))
        except (*WRONG_SHAPE, HttpTrouble) as e:
            faults.append(e)
    if not replies:
        raise faults[0]
    return replies


def _decode(choice: dict, answer: dict) -> dict:
    """Return the reply of one choice in a chat completion. Raise one of WRONG_SHAPE if the choice
    has no reply, HttpTrouble if a filter cut the reply."""
    finish_reason = _typed(str, choice.get("finish_reason"))
    if FILTERED.search(finish_reason):
        raise HttpTrouble(f"{FLAGGED}its content filter cut the answer", status=200)
    if finish_reason in BROKEN_OFF or choice.get("error"):
        raise ValueError("broken off by the endpoint")
    message = choice["message"]
    reasoning = message.get("reasoning_content") or message.get("reasoning")
    return {"text": _content(message.get("content")), "reasoning": _typed(str, reasoning),
            "finish_reason": finish_reason, "model": _typed(str, answer.get("model")),
            "tool_calls": _tool_calls(message.get("tool_calls"))}


def _content(content) -> str:
    """Return the text of a string, None or a list of parts; raise TypeError for other types."""
    if isinstance(content, list):
        content = "".join(part.get("text") or "" for part in content)
    if not isinstance(content, str | None):
        raise TypeError("the content is no text")
    return content or ""


def _tool_calls(values) -> list[dict]:
    """Return a message's tool calls in the form of the chat API, with Gemini's `extra_content`.
    Fill in missing ids and arguments."""
    calls = []
    for value in _typed(list, values):
        call = _typed(dict, value)
        function = call.get("function")
        if not isinstance(function, dict):
            continue
        arguments = function.get("arguments")
        if not isinstance(arguments, str):
            arguments = json.dumps({} if arguments is None else arguments)
        name = str(function.get("name") or "")
        call_id = str(call.get("id") or f"call_{secrets.token_hex(4)}")
        calls.append({"id": call_id, "type": "function",
                      "function": {"name": name, "arguments": arguments}})
        if extra := _typed(dict, call.get("extra_content")):
            calls[-1]["extra_content"] = extra
    return calls


def _usage(answer: dict) -> dict:
    """Return a call's token counts. An invalid count is None; an invalid `tokens_cached` is 0.
    Tokens that only the total counts are added to the output, as the model's thinking (Gemini).
    Tokens read from or written to a cache are not added if the endpoint counts them apart."""
    usage = _typed(dict, answer.get("usage"))
    n_in = _count(usage.get("prompt_tokens", usage.get("input_tokens")))
    n_out = _count(usage.get("completion_tokens", usage.get("output_tokens")))
    cached = (_count(_details(usage).get("cached_tokens"))
              or _count(usage.get("prompt_cache_hit_tokens")) or 0)   # DeepSeek's name
    total = _count(usage.get("total_tokens"))
    if None not in (n_in, n_out, total):
        read, written = _cached(usage)
        apart, hidden = read + written, max(0, total - n_in - n_out)
        if hidden in (read, written, apart):
            hidden = 0
        elif hidden > apart > n_in:
            hidden -= apart
        n_out += hidden
    return {"tokens_in": n_in, "tokens_out": n_out, "tokens_cached": cached}


def _details(usage: dict) -> dict:
    return _typed(dict, usage.get("prompt_tokens_details", usage.get("input_tokens_details")))


def _cached(usage: dict) -> tuple[int, int]:
    """Return how many prompt tokens were (read from a cache, written to it)."""
    details = _details(usage)
    read = details.get("cached_tokens"), usage.get("cache_read_input_tokens")
    written = (usage.get("cache_creation_input_tokens"), details.get("cache_creation_tokens"),
               details.get("cache_write_tokens"))
    return tuple(next(filter(None, map(_count, counts)), 0) for counts in (read, written))


def _estimated(request: _Request, answer: dict) -> dict:
    """Return the estimated token counts of a call whose stream broke off."""
    n_in, n_out = (round(SHARE_COUNTED * estimate_tokens(text)) for text in (
        request.data.decode(), "".join(map(str, answer["choices"]))))
    return {"tokens_in": n_in, "tokens_out": n_out, "tokens_cached": 0}


def _count(value) -> int | None:
    if isinstance(value, str) and re.fullmatch("[0-9]{1,12}", value):
        return int(value)
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < MAX_TOKENS:
        return int(value)
    return None


def _typed(kind: type, value):
    """Return a value if it has the type `kind`, else an empty value of that type."""
    return value if isinstance(value, kind) else kind()
