"""Let any program work at a task, and answer its requests to a model.

The program runs in a container without network. Its requests to OPENAI_BASE_URL go over a Unix
socket to this process, and a Client sends them to the model. So keys never enter the container, and
settings, budget and kept replies work as for other agents. Only the messages and tools of a request
are used. If the program runs again after a kill, kept replies answer only requests that are equal
to earlier ones. A command that the model ran may send requests, too.
"""
from __future__ import annotations

import re
import sys
import threading
import time
from contextlib import ExitStack
from contextvars import copy_context
from functools import partial
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from shlex import quote
from socketserver import ThreadingUnixStreamServer

import orjson

from codedata.agent import AgentResult
from codedata.agent.protocols import SHOWN_CHARS
from codedata.agent.react_loop import FAILED, cause_of, limits_reached, usage_since
from codedata.conversation.atif_writer import atif_of
from codedata.disk.locks import temporary_folder
from codedata.errors import ItemFailed, start_thread
from codedata.llm import Reply
from codedata.llm.client import Client
from codedata.llm.http import WRONG_SHAPE
from codedata.records import Object, check_of
from codedata.run.talk import begin_step, current_step
from codedata.sandbox import Result
from codedata.sandbox.docker.container import SandboxDocker
from codedata.texts import check_nesting, fill, printable, storable, text_of

AGENT = "/opt/agent"      # in the container: folder of the program, with bin/python3
FOLDER = "/run/agent"     # in the container: folder of a Proxy's files
RUN = f"exec {AGENT}/bin/python3 {FOLDER}/forward.py {FOLDER}/socket bash {FOLDER}/command"
ENVIRONMENT = {"OPENAI_API_KEY": "none", "CODEDATA_TASK": f"{FOLDER}/task.md"}
LENGTH = re.compile("[0-9]{1,7}")   # size of a request: below 10 MB
MAX_PARTS = 100_000       # maximum of objects and lists in a request
MAX_AT_ONCE = 4           # requests answered at a time; further ones wait
READ_S = 60.0             # time limit of a pause in a request
NO_LIMIT_S = 86_400.0
PATHS = ("/v1/chat/completions", "/chat/completions")
KEYS = ("name", "tool_calls", "tool_call_id")   # fields of a message, apart from role and content
OVER = "the attempt is over"


class Proxy(ExitStack):
    """Answer the requests that an attempt sends from its container, until run() ends. The caller
    mounts `mounts` in the container. `limits` has max_iterations and max_seconds, and may have
    max_tokens and max_usd, as for Agent. They are checked before each call."""

    def __init__(self, client: Client, limits: Object):
        super().__init__()
        self.client = client
        self.calls = []                 # answered calls
        self.free = threading.Semaphore(MAX_AT_ONCE)
        self._limits = limits
        self._n_begun = 0
        self._lock = threading.Lock()
        self._messages = []             # the longest conversation, with its reply
        self._tools = []                # the tools sent with that conversation
        self._outcome = ()              # (status, answer, error, cause): once set, no call begins
        self._stopped = None            # the exception that run() will raise
        self._sandbox = None

    def __enter__(self) -> Proxy:
        self._context = copy_context()   # has the item's kept replies
        self._started = time.monotonic()
        self.folder = Path(self.enter_context(temporary_folder()))
        self.folder.chmod(0o755)         # its parent is closed to other users of this machine
        self.mounts = {str(self.folder): FOLDER}
        self._server = self.enter_context(_Server(str(self.folder / "socket"), _Handler))
        self._server.proxy = self
        start_thread(partial(self._server.serve_forever, 0.05))
        self.callback(self._end_serving)
        return self

    def _end_serving(self) -> None:
        """Stop serving after the calls in flight are answered, since they are paid for."""
        self._server.shutdown()
        for _ in range(MAX_AT_ONCE):
            self.free.acquire()

    def run(self, command: str, task: str, sandbox: SandboxDocker) -> AgentResult:
        """Run a bash command, with {task} and {model} filled in, up to its end or a limit, and
        return the result. Then end all processes that the program left running. Raise RunStopped
        for a refused key, an exceeded budget, or Ctrl-C."""
        self._sandbox, self._started = sandbox, time.monotonic()
        words = fill(command, task=quote(task), model=quote(self.client.spec.model))
        for name, text in (("task.md", task), ("command", words),
                           ("forward.py", text_of(__package__, "forward.py"))):
            (self.folder / name).write_text(text, encoding="utf-8")
        for path in self.folder.iterdir():
            path.chmod(0o666)   # for the container's user; its mount is read-only
        try:
            self._end(*self._outcome_of(sandbox.run(
                RUN, timeout_s=self._limits["max_seconds"] or NO_LIMIT_S, env=ENVIRONMENT)))
        except ItemFailed as e:
            self._end("error", "", str(e), cause_of(e))
        finally:
            sandbox.end_all()
            self.close()
        if self._stopped:
            raise self._stopped
        status, answer, error, cause = self._outcome
        return AgentResult(
            status, answer, error, len(self.calls), 0, "native" if self._tools else "text",
            self._messages or [{"role": "user", "content": task}], self._tools, [],
            usage_since(self._started, self.calls), status == "success", cause)

    def _outcome_of(self, result: Result) -> tuple[str, ...]:
        if result.timed_out:
            return "tool_stop", "", "max_seconds is reached", "seconds"
        if result.ok:
            return "success", "", "", ""
        output = printable(result.output[-1000:].strip())
        error = f"the command ended with {result.exit_code}: {output}"
        return "error", "", error, "" if self.calls else FAILED

    def _end(self, *outcome: str) -> None:
        """Set the outcome, unless one is set."""
        with self._lock:
            self._outcome = self._outcome or outcome

    def stop(self, error: BaseException) -> None:
        """End the program, and make run() raise an error."""
        self._stopped = error
        self._end("error", "", str(error), FAILED)
        self.end_if_over()

    def end_if_over(self) -> None:
        """End the program if there is an outcome."""
        if self._outcome and self._sandbox:
            self._sandbox.end_all()

    # a request

    def answer(self, body: bytes) -> tuple[int, dict | bytes]:
        """Return (HTTP status, answer) for a request. The answer is an error or a chat completion,
        which is a stream of events if the request asks for one. Raise RunStopped as run() does."""
        try:
            if body.count(b"{") + body.count(b"[") > MAX_PARTS:
                raise ValueError("it would take much memory")
            request = orjson.loads(body)
            messages = storable([_message(**one) for one in request["messages"]])
            tools = storable(request.get("tools") or [])
            check_nesting([messages, tools])
            if check_of("list[Message]")(messages) or check_of("Tools")(tools):
                raise ValueError
            atif_of(messages, tools, "", {})   # raises now if the request cannot be recorded later
        except WRONG_SHAPE:
            return 400, _error("this is no request for a chat completion with only texts")
        if not self._begin_call():
            return 403, _error(OVER)
        context = self._context.copy()
        context.run(current_step).within = (
            f"call {self._n_begun} of at most {self._limits['max_iterations']}")
        context.run(begin_step, "asking the model")
        try:
            reply = context.run(self.client.ask, messages, tools=tools or None)
        except ItemFailed as e:
            self._end("error", "", str(e), cause_of(e))
            return 500, _error(OVER)
        context.run(begin_step, printable(" ".join(
            text for call in reply.tool_calls for text in call["function"].values()), SHOWN_CHARS))
        completion = self._completion(messages, tools, reply)
        return 200, _events(completion) if request.get("stream") else completion

    def _begin_call(self) -> bool:
        """Return whether a call may be made, and count it."""
        with self._lock:
            used = {**usage_since(self._started, self.calls), "calls": self._n_begun}
            self._outcome = self._outcome or next(limits_reached(self._limits, used), ())
            if self._outcome:
                return False
            self._n_begun += 1
            return True

    def _completion(self, messages: list[dict], tools: list[dict], reply: Reply) -> dict:
        """Record a reply, and return it as a chat completion."""
        message = storable(_message("assistant", reply.text or None, tool_calls=reply.tool_calls))
        with self._lock:
            self.calls.append(reply.call)
            if len(messages) >= len(self._messages) - 1:
                self._messages, self._tools = [*messages, message], tools
        n_in, n_out = (reply.call.get(key) or 0 for key in ("tokens_in", "tokens_out"))
        return {"id": f"chatcmpl-{reply.request}", "object": "chat.completion", "created": 0,
                "model": self.client.spec.model,
                "choices": [{"index": 0, "message": message,
                             "finish_reason": reply.finish_reason or "stop"}],
                "usage": {"prompt_tokens": n_in, "completion_tokens": n_out,
                          "total_tokens": n_in + n_out}}


def _message(role: str, content: str | list | None = None, **more) -> dict:
    """Return a message with only the API's fields. Raise one of WRONG_SHAPE if a part of its
    content is not text."""
    if isinstance(content, list):   # raises LookupError for a part that is not text
        content = "".join({"text": part["text"]}[part["type"]] for part in content)
    content = content or (None if more.get("tool_calls") else "")
    return {"role": role, "content": content} | {key: more[key] for key in KEYS if more.get(key)}


def _error(what: str) -> dict:
    return {"error": {"message": what}}


def _events(completion: dict) -> bytes:
    """Return a completion as a stream of events: the whole message, then its end."""
    choice, = completion["choices"]
    delta = choice["message"] | {"tool_calls": [
        {"index": i, **call} for i, call in enumerate(choice["message"].get("tool_calls", ()))]}
    lines = [orjson.dumps({**completion, "object": "chat.completion.chunk", "choices": [
        {"index": 0, "delta": part, "finish_reason": ending}]})
             for part, ending in ((delta, None), ({}, choice["finish_reason"]))]
    return b"".join(b"data: %s\n\n" % line for line in [*lines, b"[DONE]"])


class _Server(ThreadingUnixStreamServer):
    daemon_threads = True
    request_queue_size = 64

    def verify_request(self, request, client_address):
        return self.proxy.free.acquire()

    def shutdown_request(self, request):
        super().shutdown_request(request)
        self.proxy.free.release()

    def handle_error(self, request, client_address):
        """Stop the attempt, unless a client has only closed its connection."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            self.proxy.stop(error)


class _Handler(BaseHTTPRequestHandler):
    timeout = READ_S

    def do_POST(self):
        length = self.headers["Content-Length"] or ""
        if not LENGTH.fullmatch(length):
            return self.send_error(413, "the length of the request is not there, or too large")
        body = self.rfile.read(int(length))
        if self.path not in PATHS:
            return self.send_error(404, f"only POST {PATHS[0]} is answered")
        status, answer = self.server.proxy.answer(body)
        self.server.proxy.end_if_over()
        is_stream = isinstance(answer, bytes)
        self.send_response(status)
        self.send_header("Content-Type", "text/event-stream" if is_stream else "application/json")
        self.end_headers()
        self.wfile.write(answer if is_stream else orjson.dumps(answer))

    def log_message(self, *_):
        pass
