"""Call a model in its vendor's form. LiteLLM only converts: our chat completion to the vendor's
request, and the vendor's answer to a chat completion.

LiteLLM's requests are sent by Http.exchange. LiteLLM gets a placeholder, which the transport
replaces by the key. So LiteLLM cannot print the key, and a request without it is not sent. Import
this module by vendors.import_converter(), which hides the environment's keys.
"""
from __future__ import annotations

import json
import logging
import re
import threading
from collections.abc import Iterable

import httpx
import litellm
import openai
import orjson
from litellm.llms.custom_httpx.http_handler import HTTPHandler
from urllib3 import HTTPHeaderDict

from codedata.llm.cures import Parts
from codedata.llm.http import Http
from codedata.settings import Endpoint, ModelSpec
from codedata.texts import storable

PLACEHOLDER = "the-key-of-codedata"
# names of the headers that vendors need; LiteLLM's others describe this machine or LiteLLM
SENT = {"authorization", "x-api-key", "x-goog-api-key", "content-type", "accept",
        "anthropic-version", "anthropic-beta"}
# parameters that LiteLLM converts; others are added to the request that it makes
CONVERTED = litellm.constants.DEFAULT_CHAT_COMPLETION_PARAM_VALUES.keys()
PLAIN = {"role", "content", "tool_calls", "function_call", "reasoning_content"}
SIGNED = "__thought__"   # separates a Gemini call's id from its signature
# matches the event that ends a stream
END = re.compile(rb'^data: ?\[DONE\]|"type": ?"(?:message_stop|response\.(?:completed|incomplete))"'
                 rb'|"finish(?:_r|R)eason": ?"', re.MULTILINE)
# matches a vendor's usage; LiteLLM makes up a missing one
COUNTED = re.compile(rb'"(?:prompt_tokens|input_tokens|promptTokenCount)": ?\d')

litellm.suppress_debug_info = True
litellm.telemetry = False
for _name in ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy"):
    logging.getLogger(_name).disabled = True


class _Transport(httpx.BaseTransport):
    """Send LiteLLM's requests, and hold the answer to each thread's last one."""

    def __init__(self, http: Http, endpoint: Endpoint):
        self.http, self.endpoint = http, endpoint
        self.last = threading.local()   # `extra`: parameters to add; `answer`; `error`

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request. Keep an error, since LiteLLM raises another one in its place."""
        try:
            self.last.answer = self._send(str(request.url), request.headers, request.read())
        except Exception as e:
            self.last.error = e
            raise
        status, headers, body = self.last.answer
        kind = headers.get("Content-Type", "application/json")
        return httpx.Response(status, headers={"Content-Type": kind}, content=body,
                              request=request)

    def _send(self, url: str, headers: httpx.Headers, data: bytes):
        if httpx.URL(url).join("/") != httpx.URL(self.endpoint.base_url).join("/"):
            raise ValueError(f"LiteLLM would ask {url}")
        if not any(PLACEHOLDER in value for value in headers.values()):
            raise ValueError("LiteLLM would send another key")
        sent = {name: value.replace(PLACEHOLDER, self.endpoint.api_key)
                for name, value in headers.items() if name in SENT}
        if self.last.extra:
            data = orjson.dumps({**orjson.loads(data), **self.last.extra})
        return self.http.exchange(url, data, {**sent, **self.endpoint.headers})


class _Client(HTTPHandler):
    """Be the client that LiteLLM wants for any vendor: its own, or OpenAI's for some."""

    def __init__(self, transport: _Transport):
        client = httpx.Client(transport=transport, trust_env=False)
        super().__init__(client=client)
        self.of_openai = openai.OpenAI(api_key=PLACEHOLDER, base_url=transport.endpoint.base_url,
                                       http_client=client, max_retries=0)

    def __getattr__(self, name: str):
        return getattr(self.of_openai, name)

    def post(self, *args, **kwargs):
        """Send a request; OpenAI's client has its `body` where LiteLLM's has `data`."""
        owner = self.of_openai if "body" in kwargs else super()
        return owner.post(*args, **kwargs)


class Converter:
    """Convert the calls to one model. Thread-safe."""

    def __init__(self, http: Http, spec: ModelSpec):
        self._transport = _Transport(http, spec.endpoint)
        self._fixed = {"api_key": PLACEHOLDER, "api_base": spec.endpoint.base_url,
                       "client": _Client(self._transport), "num_retries": 0, "max_retries": 0,
                       "drop_params": False}

    def exchange(self, data: bytes, parts: Parts) -> tuple[int, HTTPHeaderDict, bytes]:
        """Return (status, headers, chat completion) for a request, or the vendor's own answer if it
        is an error. A stream that broke off is returned as the stream of a chat completion.

        A request that LiteLLM cannot convert is answered as by a vendor that refuses it.
        """
        body, last, chunks = orjson.loads(data), self._transport.last, []
        last.extra = {name: body.pop(name) for name in body.keys() - CONVERTED}
        last.answer = last.error = None
        _restore(body["messages"], parts)
        body["messages"] = storable(body["messages"])   # thinking may have a lone surrogate
        try:
            answer = litellm.completion(**{**body, **self._fixed})
            if body.get("stream"):
                chunks.extend(answer)
                answer = litellm.stream_chunk_builder(chunks)
            if not chunks or END.search(last.answer[2]):
                return 200, HTTPHeaderDict(), _completion(answer, last.answer[2])
        except openai.OpenAIError as e:
            problem = str(e)
        if last.error:
            raise last.error
        if chunks:
            return 200, HTTPHeaderDict({"Content-Type": "text/event-stream"}), _unended(chunks)
        return last.answer or (
            400, HTTPHeaderDict(), json.dumps({"error": {"message": problem}}).encode())


def _restore(messages: list[dict], parts: Parts) -> None:
    """Make the model's own messages as LiteLLM returned them, with its ids."""
    ids = {}
    for message in messages:
        for call in message.get("tool_calls") or ():
            thinking, kept = parts.get(call["id"], ("", {}))
            if thinking:
                message["reasoning_content"] = thinking
            message |= kept.get("message", {})
            ids[call["id"]] = kept.get("id", call["id"])
            call |= {name: kept[name] for name in kept if name != "message"}
        if "tool_call_id" in message:
            message["tool_call_id"] = ids.get(message["tool_call_id"], message["tool_call_id"])


def _completion(answer: litellm.ModelResponse, body: bytes) -> bytes:
    """Return a chat completion whose calls hold, as extra_content, what _restore() needs. Leave
    out a made-up usage."""
    completion = answer.model_dump(exclude_none=True)
    if not COUNTED.search(body):
        completion.pop("usage", None)
    for choice in completion["choices"]:
        message = choice["message"]
        whole = {"message": {name: message[name] for name in message.keys() - PLAIN}}
        for call in message.get("tool_calls") or ():
            call["extra_content"] = whole | {
                name: call[name] for name in call.keys() - {"function", "type", "index"}}
            call["id"] = call["id"].partition(SIGNED)[0]
            whole = {}
    return json.dumps(completion).encode()


def _unended(chunks: Iterable[litellm.ModelResponseStream]) -> bytes:
    """Return the chunks of a stream without the end and the usage that LiteLLM may have made up."""
    lines = []
    for chunk in chunks:
        plain = chunk.model_dump(exclude_none=True, exclude={"usage"})
        for choice in plain["choices"]:
            choice.pop("finish_reason", None)
        lines.append(f"data: {json.dumps(plain)}\n")
    return "".join(lines).encode()
