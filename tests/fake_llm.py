"""Serve the tests as an OpenAI-compatible endpoint that answers, and misbehaves, as scripted.

    with FakeLLM() as fake:                        # or the fixture `fake_llm`
        fake.script("no block here", DROP, OK)     # the next calls, in order of arrival; then OK
        fake.always(Say("", reasoning="hm"))       # comes after the script, instead of OK
        ... a client of fake.base_url ...
        assert fake.n_requests == 3 and fake.prompts_seen == ["p1", "p1", "p1"]

A reply is one of:
    OK                      the default: a well-formed turn (turn_for(request)), a call of the first
                            tool where there are tools (call_for), usage USAGE; for a GET the file
    "text"                  a completion with this content
    Say(...)                a completion: reasoning, calls, finish_reason, usage, model, latency_s
    {...}                   this object as the whole body, status 200; a completion where it has
                            "choices"
    Status(code, ...)       any status, body and headers (also 200 with a body that is none: HTML)
    DROP                    a right head, half of the body, then the connection is closed
    CUT                     the connection is closed without a word
    HANG, HANG_IN_BODY      no answer at all; half an answer and then nothing, till the client or
                            the fake goes away
    Flood(piece, headers)   a head, then the piece again and again, without end
    Drip(every_s, part)     a good answer, byte by byte: of the "head", the "body", or a "chunked"
                            body
    a function              called with the Request, gives one of the above

Every request is in `requests` with body, headers and time of arrival. GETs of a path in `files` are
served with ranges.
As a proxy it answers what it is asked, whatever the host (`path` is the whole URL then).
`certificate=(cert, key)` makes it an HTTPS server. Nothing of the project is imported here.
"""
import hashlib
import json
import re
import select
import socket
import ssl
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# the usage of every answer: a call's cost is known
USAGE = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}
ABSENT = object()   # Say(usage=ABSENT): no such key in the body


@dataclass(frozen=True)
class Say:
    """Reply with a chat completion."""

    text: object = ""              # content: a text, None, or a list of parts
    reasoning: str | None = None   # reasoning_content
    calls: tuple = ()              # tool calls: (name, arguments: an object or its text)
    finish_reason: str | None = "stop"
    usage: object = field(default_factory=lambda: USAGE)
    model: object = None           # None: the requested one
    latency_s: float = 0.0


@dataclass(frozen=True)
class Status:
    """Reply with something that is no completion."""

    code: int
    body: object = ""              # text, bytes, or an object for JSON
    headers: dict = field(default_factory=dict)
    latency_s: float = 0.0


@dataclass(frozen=True)
class Drip:
    """Send a good answer, a byte every `every_s`: within the head, the body, or a chunked body."""

    every_s: float
    part: str = "body"


@dataclass(frozen=True)
class Flood:
    """Send an answer without end."""

    piece: bytes = b"x" * 65_536
    headers: dict = field(default_factory=dict)


class Fault(str):
    pass


OK, DROP, CUT, HANG, HANG_IN_BODY = map(Fault, ("OK", "DROP", "CUT", "HANG", "HANG_IN_BODY"))
HTML = Status(200, "<!DOCTYPE html><html><body>Welcome to the portal</body></html>",
              {"Content-Type": "text/html"})


def truncated(text: str) -> Say:
    """Return an answer that was cut at max_tokens."""
    return Say(text, finish_reason="length")


def streamed(completion: dict, ends: bool = True) -> Status:
    """Return a completion as a stream of events; without `ends`, it breaks off before its end."""
    choice, = completion["choices"]
    message = choice["message"]
    deltas = [{"role": "assistant"}, *({"content": part} for part in message.get("content") or ""),
              *({name: message[name]} for name in ("reasoning_content", "tool_calls")
                if name in message)]
    chunks = [{"choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    if ends:
        chunks += [{"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
                   {"choices": [], "usage": completion.get("usage")}]
    lines = [*map(json.dumps, chunks), *["[DONE]"] * ends]
    return Status(200, "".join(f"data: {line}\n\n" for line in lines),
                  {"Content-Type": "text/event-stream"})


@dataclass(frozen=True)
class Request:
    """Hold one request as it arrived."""

    n: int                # from 0, in order of arrival
    at: float             # time.monotonic()
    method: str
    path: str             # a whole URL where the fake serves as a proxy
    headers: dict         # names in lower case
    raw: bytes
    in_flight: int        # with this one

    @property
    def body(self) -> dict:
        return json.loads(self.raw) if self.raw else {}

    @property
    def messages(self) -> list[dict]:
        return self.body.get("messages", [])

    @property
    def text(self) -> str:
        """Return everything that the model is shown."""
        return "\n".join(_text(m) for m in self.messages)

    @property
    def last(self) -> str:
        """Return the last message."""
        return _text(self.messages[-1]) if self.messages else ""

    @property
    def task(self) -> str:
        """Return the last message as it is in the prompt: without the sentence on form, or the
        challenger's note.
        """
        return re.split(r"\n\n(?:\(Your answer is|# Private note)", self.last)[0]


def turn_for(request: Request) -> str:
    """Return the default answer: well-formed, and determined by the messages."""
    key = hashlib.sha256(json.dumps(request.messages).encode()).hexdigest()[:10]
    return f"THOUGHT: I look at {key} before I change anything.\n\n```bash\ngrep -rn {key} .\n```"


def call_for(request: Request) -> Say:
    """Return the default answer to a request with tools: a call of the first of them."""
    key = hashlib.sha256(json.dumps(request.messages).encode()).hexdigest()[:10]
    function = request.body["tools"][0]["function"]
    arguments = dict.fromkeys(function["parameters"]["required"], f"grep -rn {key} .")
    return Say(f"I look at {key} before I change anything.", calls=((function["name"], arguments),))


def _text(message: dict) -> str:
    """Return a message's text, and its calls as JSON."""
    calls = [call["function"] for call in message.get("tool_calls") or ()]
    content = message.get("content") or ""
    if isinstance(content, list):
        content = "".join(part["text"] for part in content)
    return content + (json.dumps(calls) if calls else "")


def part_of(whole: bytes | None, request: Request) -> Status:
    """Return a file, or the range of it that is asked for."""
    span = request.headers.get("range")
    if whole is None or not span:
        return Status(404, "not here") if whole is None else Status(200, whole)
    start, end = map(int, span.removeprefix("bytes=").split("-"))
    return Status(206, whole[start:end + 1], {"Content-Range": f"bytes {start}-{end}/{len(whole)}"})


class FakeLLM:
    """Run the server, as a context manager; `port` to come up where something else was."""

    def __init__(self, port: int = 0, certificate: tuple[str, str] | None = None):
        self.latency_s = 0.0                  # for every answer; may be changed at any time
        self.files: dict[str, bytes] = {}     # what a GET of a path gives
        self.requests: list[Request] = []
        # requests whose completion was sent whole, with the client still there
        self.answered: list[Request] = []
        self.in_flight = self.max_in_flight = self.n_connections = 0
        # numbers of the requests that are not in flight any more
        self._done: set[int] = set()
        self._script: deque = deque()
        self._default: object = OK
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._server = _Server(("127.0.0.1", port), self, certificate)
        self.port = self._server.server_address[1]
        self.url = f"{'https' if certificate else 'http'}://127.0.0.1:{self.port}"
        self.base_url = self.url + "/v1"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,),
                                        daemon=True)
        self._thread.start()

    # what tests tell it

    def script(self, *replies) -> None:
        """Answer the next calls with these, in order of arrival."""
        with self._changed:
            self._script.extend(replies)

    def always(self, reply) -> None:
        """Answer every call after the script with this."""
        self._default = reply

    # what tests ask it

    @property
    def n_requests(self) -> int:
        return len(self.requests)

    @property
    def prompts_seen(self) -> list[str]:
        """Return the task of each request, in order of arrival."""
        return [request.task for request in self.requests]

    def wait_for(self, n: int, what: str = "requests", timeout_s: float = 20.0) -> None:
        """Wait for `n` of `requests`, `answered` or `in_flight`; raise AssertionError at
        `timeout_s`.
        """
        def count():
            value = getattr(self, what)
            return value if isinstance(value, int) else len(value)
        with self._changed:
            enough = self._changed.wait_for(lambda: count() >= n, timeout_s)
            assert enough, f"{count()} {what} after {timeout_s} s, not {n}"

    def close(self) -> None:
        """Refuse new connections, and end the open ones."""
        if not self._closing.is_set():
            self._closing.set()
            self._server.shutdown()
            self._server.server_close()
            self._server.end_connections()
            self._thread.join()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # what its connections call

    def _arrived(self, handler) -> tuple[Request, object]:
        raw = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        with self._changed:
            self.in_flight += 1
            self.max_in_flight = max(self.max_in_flight, self.in_flight)
            request = Request(len(self.requests), time.monotonic(), handler.command, handler.path,
                              {k.lower(): v for k, v in handler.headers.items()}, raw,
                              self.in_flight)
            self.requests.append(request)
            reply = self._script.popleft() if self._script else self._default
            self._changed.notify_all()
        return request, reply

    def _left(self, request: Request, answered: bool) -> None:
        """Count a request as done with.

        Right before the last byte goes out: no client can be quicker than the count.
        """
        with self._changed:
            if request.n in self._done:
                return
            self._done.add(request.n)
            self.in_flight -= 1
            if answered:
                self.answered.append(request)
            self._changed.notify_all()


class _Server(ThreadingHTTPServer):
    request_queue_size = 512    # 256 clients that come at once are not refused
    daemon_threads = True

    def __init__(self, address, fake: FakeLLM, certificate):
        super().__init__(address, _Handler)
        self.fake, self.tls = fake, None
        self.open: set[socket.socket] = set()
        if certificate:
            self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.tls.load_cert_chain(*certificate)

    def get_request(self):
        connection, address = super().get_request()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.tls:   # the handshake comes with the first read, in the connection's own thread
            connection = self.tls.wrap_socket(connection, server_side=True,
                                              do_handshake_on_connect=False)
        self.open.add(connection)
        self.fake.n_connections += 1
        return connection, address

    def shutdown_request(self, request):
        self.open.discard(request)
        super().shutdown_request(request)

    def end_connections(self) -> None:
        for connection in list(self.open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def handle_error(self, request, client_address):
        """Pass over clients that go away or refuse the certificate: the tests do so on purpose."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        fake: FakeLLM = self.server.fake
        request, reply = fake._arrived(self)
        try:
            while callable(reply):
                reply = reply(request)
            self._give(fake, request, OK if reply is None else reply)
        finally:
            fake._left(request, answered=False)

    do_GET = do_POST

    def _give(self, fake: FakeLLM, request: Request, reply) -> None:
        """Send a reply, unless the client goes away before."""
        if reply is CUT:
            self.close_connection = True
            return
        if reply is HANG:
            self._wait(None)
            return
        if reply is OK and request.method == "GET":
            reply = part_of(fake.files.get(request.path.partition("?")[0]), request)
        if isinstance(reply, Flood):
            self.close_connection = True
            self.connection.sendall(_head(200,
                                          {"Content-Type": "application/json", **reply.headers}))
            while not fake._closing.is_set():   # sendall() raises when the client has gone
                self.connection.sendall(reply.piece)
            return
        status, headers, body, latency_s = _response(request, reply)
        if not self._wait(fake.latency_s + latency_s):
            return
        head = _head(status,
                     {"Content-Type": "application/json", "Content-Length": len(body), **headers})
        if isinstance(reply, Drip):
            self._drip(reply, head, body)
        elif reply is DROP or reply is HANG_IN_BODY:
            self.close_connection = True
            self.connection.sendall(head + body[:len(body) // 2])
            if reply is HANG_IN_BODY:
                self._wait(None)
        else:
            fake._left(request, answered=status == 200 and not isinstance(reply, Status))
            self.connection.sendall(head + body)

    def _drip(self, reply: Drip, head: bytes, body: bytes) -> None:
        self.close_connection = True
        if reply.part == "chunked":
            head = head.replace(b"Content-Length: %d" % len(body), b"Transfer-Encoding: chunked")
        at_once, slowly = (b"", head + body) if reply.part == "head" else (head, body)
        self.connection.sendall(at_once)
        for byte in slowly:
            if not self._wait(reply.every_s):
                return
            self.connection.sendall(b"1\r\n%c\r\n" % byte if reply.part == "chunked"
                                    else bytes([byte]))
        self.connection.sendall(b"0\r\n\r\n" if reply.part == "chunked" else b"")

    def _wait(self, seconds: float | None) -> bool:
        """Wait (None: for ever); return False as soon as the client has gone or the fake closes."""
        end = None if seconds is None else time.monotonic() + seconds
        while not self.server.fake._closing.is_set():
            left = 0.05 if end is None else min(0.05, end - time.monotonic())
            if left <= 0:
                return not self._gone(0)
            if self._gone(left):
                break
        self.close_connection = True
        return False

    def _gone(self, seconds: float) -> bool:
        """Return whether the client closes within `seconds`.

        Over TLS this cannot be seen without reading.
        """
        if isinstance(self.connection, ssl.SSLSocket):
            time.sleep(seconds)
            return False
        try:
            ready = select.poll()   # not select(): its descriptors end at 1024
            ready.register(self.connection, select.POLLIN)
            return bool(ready.poll(seconds * 1000)) and not self.connection.recv(1, socket.MSG_PEEK)
        except OSError:
            return True

    def log_message(self, *_):
        pass


def _response(request: Request, reply) -> tuple[int, dict, bytes, float]:
    """Return status, headers, body and latency of a reply."""
    if isinstance(reply, Status):
        body = reply.body if isinstance(reply.body, (str, bytes)) else json.dumps(reply.body)
        return reply.code, dict(reply.headers), body.encode() if isinstance(
            body, str) else body, reply.latency_s
    if isinstance(reply, dict):
        return 200, {}, json.dumps(reply).encode(), 0.0
    if isinstance(reply, (Fault, Drip)):
        reply = call_for(request) if request.body.get("tools") else Say(turn_for(request))
    elif isinstance(reply, str):
        reply = Say(reply)
    message = {"role": "assistant", "content": reply.text}
    if reply.reasoning is not None:
        message["reasoning_content"] = reply.reasoning
    if reply.calls:
        message["tool_calls"] = [
            {"id": f"call_{request.n}_{i}", "type": "function",
             "function": {"name": name, "arguments": arguments if isinstance(arguments, str)
                          else json.dumps(arguments)}}
            for i, (name, arguments) in enumerate(reply.calls)]
    answer = {"id": f"chatcmpl-{request.n}", "object": "chat.completion",
              "model": request.body.get("model") if reply.model is None else reply.model,
              "choices": [{"index": 0, "message": message, "finish_reason": reply.finish_reason}],
              "usage": reply.usage}
    if reply.usage is ABSENT:
        del answer["usage"]
    return 200, {}, json.dumps(answer).encode(), reply.latency_s


def _head(status: int, headers: dict) -> bytes:
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
             *(f"{k}: {v}" for k, v in headers.items())]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"
