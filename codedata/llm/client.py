"""Chat with a model over an OpenAI-compatible endpoint; no finished reply is lost or paid for twice.

A script opens `Models` once; `client(role)` returns the client of a role. A reply and its cost are saved in the
`Calls` of the current item (codedata/llm/calls.py) before they are used. `LLMServerHTTP` is the same client for
use as a library, outside a script.
"""
from __future__ import annotations

import hashlib
import itertools
import json
import re
import secrets
import threading
import time
from dataclasses import dataclass, field, replace
from typing import NoReturn

import orjson

from codedata.config import PRICE_LINE, for_endpoint
from codedata.errors import HttpTrouble, ItemFailed, Trouble
from codedata.llm.calls import Money, current
from codedata.llm.http import Http, Retry, Tries, read_json
from codedata.llm.trim import Fitted, estimate_tokens, fit
from codedata.settings import ModelSpec, Settings

MAX_TOKENS = 10**12   # larger counts reported for a call are ignored
WHAT_TO_DO = {400: "Read what the endpoint says; for a request that is too long, set max_prompt_tokens.",
              404: "Check --model and the base URL: --show-config tells which are used.",
              413: "The request is too long: set max_prompt_tokens.",
              422: "The endpoint does not accept a field of the request; read what it says."}


@dataclass(frozen=True)
class Reply:
    """Hold a model's reply; `reasoning` is its thinking, kept apart from `text`."""

    text: str
    reasoning: str = ""
    finish_reason: str = ""
    model: str = ""
    tool_calls: list[dict] = field(default_factory=list, hash=False)   # in the API's form: `arguments` is a string
    call: dict = field(default_factory=dict, compare=False)   # as in the ledger: tokens, cost_usd, seconds, …

    @property
    def truncated(self) -> bool:
        """Return whether the reply was cut off at max_tokens."""
        return self.finish_reason == "length"


@dataclass(frozen=True)
class _Request:
    data: bytes     # the body
    digest: str


class Client:
    """Send the requests of one role to its model: chat(), ask(), and fit() to cut a request."""

    def __init__(self, spec: ModelSpec, models: Models):
        self.spec, self._models = spec, models
        self._embedded = spec.endpoint.name == "embedded"
        self._alone_till, self.cool_down_reason = 0.0, ""
        workers = models.settings.llm.workers
        limit = min(workers, spec.endpoint.max_concurrency or workers)
        self._line = models.http.line(spec.endpoint.name + " " + spec.endpoint.base_url, limit)
        self._headers = {"Content-Type": "application/json", **spec.endpoint.headers}
        if spec.endpoint.api_key:
            self._headers["Authorization"] = f"Bearer {spec.endpoint.api_key}"
        for value in (str(spec.endpoint.api_key), *spec.endpoint.headers.values()):
            if len(value) >= 8:   # a header may hold a key; masking shorter values would garble messages
                models.http.secrets |= {value, json.dumps(value)[1:-1]}

    def chat(self, messages: list[dict], accept=None, grammar: str = "", tools: list[dict] | None = None,
             once_more=None, schema: dict | None = None) -> Reply:
        """Return a reply that `accept` approves; accept(reply) returns what is wrong, or None.

        Ask up to 1 + format_retries times, then raise ItemFailed. A retry sends the messages that
        once_more(what is wrong) returns, or the same ones. `grammar` (GBNF) is sent to the embedded model only:
        other endpoints may not support it.
        """
        problem, requests = "", []
        n_tries = 1 + self.spec.format_retries
        for _ in range(n_tries):
            again = once_more(problem) if once_more and problem else messages
            requests.append(self._request(again, grammar, schema, tools))
            reply = self.ask(again, grammar, schema, tools) if schema else self._reply(requests[-1])
            if not reply.text.strip() and not reply.tool_calls:
                problem = "empty answer" + (": max_tokens went into thinking" if reply.truncated else "")
            else:
                problem = accept(reply) if accept else None
            if problem is None:
                return reply
        for request in requests:
            current().useless(request.digest)
        raise ItemFailed(f"{problem}, {n_tries} tries" if n_tries > 1 else problem)

    def with_speaker(self, spec: ModelSpec) -> Client:
        """Return a client with other settings; calls to the same endpoint share its limits."""
        return Client(spec, self._models)

    def give_up(self, problem: str) -> NoReturn:
        """Raise ItemFailed though the replies are well-formed; the next run requests new ones."""
        current().useless()
        raise ItemFailed(problem)

    def ask(self, messages: list[dict], grammar: str = "", schema: dict | None = None,
            tools: list[dict] | None = None) -> Reply:
        """Return one reply, whatever it says; send `schema` (JSON schema) where the endpoint accepts one.

        An endpoint that refuses a schema (HTTP 400, 422) and answers without it gets none again in this run.
        `tools` are always sent: a model without them needs other instructions.
        """
        refuses, place = self._models.without_schema, (self.spec.endpoint.base_url, self.spec.model)
        plain = self._request(messages, grammar, tools=tools)
        if schema is None or self._embedded:
            return self._reply(plain)
        with_schema, calls = self._request(messages, grammar, schema, tools), current()
        if not calls.has_kept(with_schema.digest) and (place in refuses or calls.has_kept(plain.digest)):
            return self._reply(plain)
        try:
            return self._reply(with_schema)
        except HttpTrouble as e:
            if e.status not in (400, 422):
                raise
        reply = self._reply(plain)
        refuses.add(place)
        return reply

    def cool_down(self, seconds: float, why: str) -> None:
        """Send nothing for `seconds`: requests without a kept reply fail at once, with `why`."""
        self._alone_till, self.cool_down_reason = time.monotonic() + seconds, why

    @property
    def is_cooling_down(self) -> bool:
        """Return whether cool_down() is still in effect."""
        return time.monotonic() < self._alone_till

    def _request(self, messages: list[dict], grammar: str = "", schema: dict | None = None,
                 tools: list[dict] | None = None) -> _Request:
        spec = self.spec
        body = {"model": spec.model, "messages": messages, "temperature": spec.temperature,
                "max_tokens": spec.max_tokens}
        if grammar and self._embedded:
            body["grammar"] = grammar
        if schema:
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        if tools:
            body["tools"] = tools
        data = orjson.dumps(body)
        return _Request(data, hashlib.blake2b(data, digest_size=8).hexdigest())

    def _reply(self, request: _Request) -> Reply:
        calls = current()
        attempt, kept = calls.take(request.digest)
        if kept:
            return Reply(**kept["reply"], call=kept["call"])
        if self.is_cooling_down:
            raise HttpTrouble(self.cool_down_reason)
        return self._ask(request, attempt, calls)

    def fit(self, history: list[dict], fixed: str = "", patches: tuple[str, ...] = ()) -> Fitted:
        """Return the request's parts cut to max_prompt_tokens; note for the ledger what was cut."""
        spec, limit = self.spec, self.spec.max_prompt_tokens
        if self._embedded:
            room = self._models.embedded.CONTEXT - spec.max_tokens
            limit = min(limit or room, room)
        if not limit:
            return Fitted(history, list(patches))
        tokens = self._models.embedded.tokens if self._embedded else estimate_tokens
        fitted = fit(history, limit, tokens, fixed, patches)
        if fitted.cut:
            current().cuts.append(fitted.cut)
        return fitted

    def estimate(self, messages: list[dict]) -> tuple[int, float | None]:
        """Return (estimated tokens of a request, maximum cost in USD or None) without a call."""
        tokens = sum(estimate_tokens(m["content"]) for m in messages)
        tokens = min(tokens, self.spec.max_prompt_tokens or tokens)
        return tokens, self._models.money.cost(self.spec.model, tokens, self.spec.max_tokens)

    def _ask(self, request: _Request, attempt: int, calls) -> Reply:
        models, tries = self._models, Tries()

        def decode(status, headers, body):
            usage = {}
            try:
                answer = read_json(body)
                usage = _usage(answer)
                return _decode(answer), usage
            except WRONG_SHAPE as e:
                if usage.get("tokens_in") or usage.get("tokens_out"):   # unusable, but billed
                    call = self._call(usage, tries)
                    calls.keep(request.digest, f"useless {call['id']}", {}, call)
                    models.money.add(call)
                raise ValueError("without a chat completion in it") from e

        here = {"proxies": {}} if self._embedded else {}
        url = (models.embedded.base_url() if self._embedded else self.spec.endpoint.base_url) + "/chat/completions"
        try:
            reply, usage = models.http.send("POST", url, self._line, decode, tries=tries, gate=models.money.gate,
                                            data=request.data, headers=self._headers, **here)
        except HttpTrouble as e:
            raise HttpTrouble(e.what, f"{self.spec.model}:", WHAT_TO_DO.get(e.status, e.todo), e.status) from e
        call = self._call(usage, tries)
        if reply.truncated:
            call["truncated"] = True
        said = {"text": reply.text, "reasoning": reply.reasoning, "finish_reason": reply.finish_reason,
                "model": reply.model, **({"tool_calls": reply.tool_calls} if reply.tool_calls else {})}
        calls.keep(request.digest, attempt, said, call)
        models.money.add(call)
        return replace(reply, call=call)


    def _call(self, usage: dict, tries: Tries) -> dict:
        """Return a call's entry for the ledger."""
        # The cost uses the requested model name, which has a price; the served name may add a date.
        return {"id": self._models.next_id(), "model": self.spec.model, **usage,
                "cost_usd": self._models.money.cost(self.spec.model, **usage), "seconds": round(tries.seconds, 3),
                **{key: n for key, n in (("tries", tries.n), ("timeouts", tries.timeouts),
                                         ("throttled", tries.throttled)) if n > (key == "tries")}}


class LLMServerHTTP(Client):
    """Call a model behind an OpenAI-compatible endpoint from a library: ask() and chat().

    Other settings are read as in the scripts, from the environment, .env and chain.toml: the key
    (QIANFAN_BEARER_TOKEN), proxy, certificates, retries and prices. A reply's `call` holds tokens, cost and
    seconds. Nothing is kept on disk, except within `counting(Calls(...))`.
    """

    def __init__(self, base_url: str, model: str, api_key: str = "", temperature: float = 1.0, max_tokens: int = 8192):
        settings = for_endpoint(base_url, model, api_key)
        endpoint = replace(settings.endpoints["base_url"], base_url=base_url.rstrip("/"))
        models = Models(settings)
        super().__init__(ModelSpec("agent", model, endpoint, temperature, max_tokens, max_prompt_tokens=0,
                                 format_retries=0), models)
        models.check(self)

    def close(self) -> None:
        """Close the connections."""
        self._models.http.close()

    def __enter__(self) -> LLMServerHTTP:
        return self

    def __exit__(self, *_) -> None:
        self.close()


class Models:
    """Hold what the calls of a run share: connections, limits, spending, the embedded model."""

    def __init__(self, settings: Settings):
        self.settings, self.stop = settings, threading.Event()
        llm = settings.llm
        self.http = Http(Retry(llm.retry_max, llm.retry_wait_s, llm.call_timeout_s, llm.max_429_wait_s,
                               llm.max_429_total_s, llm.max_reply_bytes),
                         llm.proxy, llm.ca_bundle, llm.workers, self.stop)
        if settings.hf_token:
            self.http.secrets.add(str(settings.hf_token))
        self.money = Money(settings.prices, settings.budget_usd)
        self.without_schema: set[tuple[str, str]] = set()   # (base_url, model) that refused response_format
        self._clients: dict[str, Client] = {}
        self._embedded = None
        self._run, self._count = secrets.token_hex(5), itertools.count(1)

    @property
    def embedded(self):
        """Return the embedded model's manager; its process starts with the first call."""
        if self._embedded is None:
            from codedata.llm.embedded import Embedded  # an optional extra, imported on first use
            self._embedded = Embedded()
        return self._embedded

    def next_id(self) -> str:
        """Return a new unique id for a call."""
        return f"{self._run}-{next(self._count)}"

    def client(self, role: str) -> Client:
        """Return the client of a role."""
        return self._client(self.settings.model_spec(role))

    def judges(self) -> list[Client]:
        """Return the panel's clients in the order of [judge] models; each is named by spec.role."""
        return [self._client(spec) for spec in self.settings.judges()]

    def leak_judges(self) -> list[Client]:
        """Return the clients of [leak] models; a model that is also in the panel has a separate client."""
        return [self._client(spec, "leak ") for spec in self.settings.leak_judges()]

    def _client(self, spec: ModelSpec, kind: str = "") -> Client:
        return self._clients.setdefault(kind + spec.role, Client(spec, self))

    def clients(self) -> list[Client]:
        """Return all clients created so far."""
        return list(self._clients.values())

    def check(self, *others: Client) -> None:
        """Raise Trouble, before the first call, where a key, endpoint, extra or price for --budget is missing."""
        for client in (*self._clients.values(), *others):
            endpoint, model = client.spec.endpoint, client.spec.model
            if endpoint.name == "embedded":
                self.embedded.check()
            elif not endpoint.base_url:
                raise Trouble("has no base_url.", f"[endpoints.{endpoint.name}]", WAYS_OUT)
            elif not re.match(r"https?://([^/@]*@)?[^/:@]+(:\d+)?(/|$)", endpoint.base_url):
                raise Trouble("is no base URL of an endpoint.", repr(endpoint.base_url),
                              "It looks like http://127.0.0.1:8000/v1 or https://host/v1.")
            elif "@" in endpoint.base_url:
                raise Trouble("has a password in its base_url.", f"[endpoints.{endpoint.name}]",
                              "Addresses are printed. Put the key into the environment and name it: api_key_env.")
            elif endpoint.api_key_env and not endpoint.api_key:
                raise Trouble(f"no key for {endpoint.base_url}: {endpoint.api_key_env} is not set.", todo=WAYS_OUT)
            if any(not "\x20" <= c < "\x7f" for c in endpoint.api_key):
                raise Trouble("holds a character that cannot stand in a key.",
                              endpoint.api_key_env or "--llm-auth-token",
                              "Copy the key again, without line ends or quotes.")
            if self.money.budget_usd is not None and model not in self.money.prices:
                raise Trouble(f"--budget needs a price for {model!r}.", todo=PRICE_LINE.format(model=model))
        if self.money.budget_usd is not None:
            self.money.add_up(self.settings.root)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.http.close()
        if self._embedded is not None:
            self._embedded.close()


WAYS_OUT = ("Put the key into the environment or .env (CHUTES_API_KEY), or name another endpoint: --llm-base-url URL "
            "[--llm-auth-token KEY],\n  [endpoints.NAME] in chain.toml with --llm NAME, or --llm embedded for a small "
            "model on this machine (for trying only).")


WRONG_SHAPE = (KeyError, IndexError, TypeError, AttributeError, ValueError, RecursionError)


def _decode(answer: dict) -> Reply:
    """Return the reply in a chat completion; raise one of WRONG_SHAPE where there is none."""
    choice = answer["choices"][0]
    message = choice["message"]
    reasoning = message.get("reasoning_content") or message.get("reasoning")
    return Reply(_content(message.get("content")), _text(reasoning), _text(choice.get("finish_reason")),
                 _text(answer.get("model")), _tool_calls(message.get("tool_calls")))


def _content(content) -> str:
    """Return a message's text from a string, None or a list of parts; raise TypeError on other types."""
    if isinstance(content, list):
        content = "".join(part.get("text") or "" for part in content)
    if not isinstance(content, str | None):
        raise TypeError("the content is no text")
    return content or ""


def _text(value) -> str:
    return value if isinstance(value, str) else ""


def _usage(answer: dict) -> dict:
    """Return a call's token counts; invalid ones are None (tokens_cached: 0)."""
    usage = answer.get("usage") if isinstance(answer.get("usage"), dict) else {}
    details = usage.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else None
    return {"tokens_in": _count(usage.get("prompt_tokens")), "tokens_out": _count(usage.get("completion_tokens")),
            "tokens_cached": _count(cached) or 0}


def _tool_calls(found) -> list[dict]:
    """Return a message's tool calls in the API's form, with missing ids and arguments filled in."""
    calls = []
    for call in found if isinstance(found, list) else ():
        function = call.get("function") if isinstance(call, dict) else None
        if isinstance(function, dict):
            arguments = function.get("arguments")
            arguments = arguments if isinstance(arguments, str) else json.dumps({} if arguments is None else arguments)
            calls.append({"id": str(call.get("id") or f"call_{secrets.token_hex(4)}"), "type": "function",
                          "function": {"name": str(function.get("name") or ""), "arguments": arguments}})
    return calls


def _count(value) -> int | None:
    good = isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < MAX_TOKENS
    return int(value) if good else None
