"""Test the proxy of a program that works at a task: what it asks, and how it ends."""
from __future__ import annotations

import json
import socket
import sys
import threading
from http.client import HTTPConnection

import pytest
from conftest import KEY, item_calls, settings_for
from fake_llm import Say, Status

from codedata.errors import RunStopped, Trouble
from codedata.llm.client import Models
from codedata.sandbox.factory import SandboxFactory
from codedata.sandbox.local import SandboxLocal
from codedata.settings import SandboxSettings, Settings
from codedata.solving.proxy import AGENT, FOLDER, MAX_AT_ONCE, MAX_BYTES, Proxy

PATH = "/v1/chat/completions"
HELLO = {"role": "user", "content": "hello"}
TOOL = {"type": "function", "function": {"name": "act", "parameters": {"required": ["how"]}}}
ASKS = {"messages": [HELLO], "tools": [TOOL]}
TOO_LONG = Status(400, {"error": {"message": "the context length is 10"}})
# what a program does: ask with so many messages each time
ASK = """python3 - <<'END'
import json, os, urllib.request
for n in {sizes}:
    body = json.dumps({"messages": [{"role": "user", "content": f"{i} of {n}"} for i in range(n)]})
    urllib.request.urlopen(os.environ["OPENAI_BASE_URL"] + "/chat/completions", body.encode())
END
"""


class Here(SandboxLocal):
    """Run commands on this machine, with the places that a container has by its mounts."""

    def __init__(self, proxy):
        super().__init__()
        self.places = {FOLDER: str(proxy.folder), f"{AGENT}/bin/python3": sys.executable}
        self.n_ended = 0

    def run(self, command, *, timeout_s, env):
        def placed(text):
            for there, here in self.places.items():
                text = text.replace(there, here)
            return text
        return super().run(placed(command), timeout_s=timeout_s,
                           env={name: placed(value) for name, value in env.items()})

    def end_all(self):
        self.n_ended += 1


@pytest.fixture
def client(fake_llm):
    return Models(settings_for(fake_llm, KEY)).client("king")


def ask(proxy, body=ASKS, path=PATH, method="POST", **headers):
    """Return the status and the body of an answer."""
    connection = HTTPConnection("localhost")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(str(proxy.folder / "socket"))
    connection.request(method, path, body if isinstance(body, str) else json.dumps(body), headers)
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def run(client, command, task="wade", **limits):
    """Return the result of a program, with how often it was ended."""
    with Proxy(client, **limits) as proxy, Here(proxy) as sandbox:
        try:
            return proxy.run(command, task, sandbox), sandbox.n_ended
        finally:
            with pytest.raises(FileNotFoundError):
                ask(proxy)


def test_a_request_goes_to_our_model_with_our_settings(client, fake_llm):
    fake_llm.script(Say("I act.", calls=(("act", {"how": "well"}),), finish_reason="tool_calls"))
    with Proxy(client) as proxy:
        status, text = ask(proxy, {**ASKS, "model": "theirs", "temperature": 9, "max_tokens": 1,
                                   "messages": [{**HELLO, "cache_control": {}}]})
        assert ask(proxy, None, "/v1/models", "GET")[1].count('"m"') == 1
    choice, = json.loads(text)["choices"]
    assert status == 200 and choice["finish_reason"] == "tool_calls"
    assert choice["message"]["tool_calls"][0]["function"]["arguments"] == '{"how": "well"}'
    assert json.loads(text)["usage"]["total_tokens"] == 120
    sent, = fake_llm.requests
    assert sent.headers["authorization"] == f"Bearer {KEY}" and KEY not in text
    assert sent.body["messages"] == [HELLO] and sent.body["tools"] == [TOOL]
    assert sent.body["model"] == "m" and sent.body["temperature"] != 9
    assert sent.body["max_tokens"] > 1


def test_a_stream_has_the_whole_answer(client, fake_llm):
    fake_llm.script(Say("I act.", calls=(("act", {}),)))
    with Proxy(client) as proxy:
        *events, end, nothing = ask(proxy, {**ASKS, "stream": True})[1].split("\n\n")
    first, last = (json.loads(event.removeprefix("data: "))["choices"][0] for event in events)
    assert (end, nothing) == ("data: [DONE]", "")
    assert first["delta"]["content"] == "I act." and last["finish_reason"] == "stop"
    assert first["delta"]["tool_calls"][0]["index"] == 0


@pytest.mark.parametrize(("status", "body", "path", "headers"), [
    (404, ASKS, "/v1/embeddings", {}), (404, ASKS, "/v1/responses", {}),
    (413, "", PATH, {"Content-Length": str(MAX_BYTES + 1)}), (413, "", PATH, {"Content-Length": "x"}),
    *((400, body, PATH, {}) for body in (
        "{", [], {"messages": "hello"}, {"messages": [{"content": "x"}]},
        {"messages": [{**HELLO, "content": {"a": 1}}]}, {**ASKS, "tools": ["act"]}))])
def test_what_is_no_request_for_a_completion_makes_no_call(client, fake_llm, status, body, path,
                                                           headers):
    with Proxy(client) as proxy:
        assert ask(proxy, body, path, **headers)[0] == status
    assert fake_llm.n_requests == 0


def test_replies_that_are_kept_are_served_again_after_a_kill(client, fake_llm, tmp_path):
    answers = []
    for _ in range(2):
        with item_calls(tmp_path), Proxy(client) as proxy:
            answers.append([ask(proxy), ask(proxy), ask(proxy, {"messages": [HELLO] * 3})])
    assert answers[0] == answers[1] and fake_llm.n_requests == 3


def test_a_few_calls_are_made_at_once_and_those_in_flight_end_first(client, fake_llm):
    fake_llm.latency_s = 0.3
    with Proxy(client) as proxy:
        threads = [threading.Thread(target=ask, args=[proxy]) for _ in range(2 * MAX_AT_ONCE)]
        for thread in threads:
            thread.start()
        fake_llm.wait_for(2 * MAX_AT_ONCE)
    assert fake_llm.max_in_flight == MAX_AT_ONCE
    assert len(fake_llm.answered) == len(proxy.calls) == 2 * MAX_AT_ONCE


def test_the_result_has_the_longest_conversation_and_all_that_was_used(client, fake_llm):
    result, n_ended = run(client, 'cat "$CODEDATA_TASK" > seen; [ "$(cat seen)" = {task} ] || exit 5'
                          "\n" + ASK.replace("{sizes}", "[1, 3, 2]"), "wade {model} 'deep'")
    assert (result.status, result.cause, result.error) == ("success", "", "")
    assert result.handed_in and result.iterations == 3 and n_ended == 1
    assert [one["content"] for one in result.messages[:-1]] == ["0 of 3", "1 of 3", "2 of 3"]
    assert result.messages[-1]["role"] == "assistant"
    assert result.usage["tokens_in"] == 300 and result.usage["cost_usd"] is None


@pytest.mark.parametrize(("command", "replies", "limits", "status", "cause", "said"), [
    (ASK.replace("{sizes}", "[1, 2, 3]"), (), {"max_iterations": 2}, "max_iteration", "steps",
     "2 replies"),
    (ASK.replace("{sizes}", "[1, 2]"), (), {"max_tokens": 100}, "tool_stop", "tokens", "120 of"),
    ("sleep 30", (), {"max_seconds": 1}, "tool_stop", "seconds", "is reached"),
    (ASK.replace("{sizes}", "[1]"), (TOO_LONG,), {}, "error", "context", "length is 10"),
    (ASK.replace("{sizes}", "[1]"), (Status(404, "no such model"),), {}, "error", "failed", "404"),
    (ASK.replace("{sizes}", "[1]") + "echo lost; exit 3", (), {}, "error", "", "with 3: lost"),
    ("no-such-program", (), {}, "error", "failed", "not found")])
def test_a_run_without_an_answer_says_its_cause(client, fake_llm, command, replies, limits, status,
                                                cause, said):
    fake_llm.script(*replies)
    result, _ = run(client, command, **limits)
    assert (result.status, result.cause) == (status, cause) and said in result.error
    assert not result.handed_in


def test_a_request_that_is_too_long_may_be_followed_by_a_shorter_one(client, fake_llm):
    fake_llm.script(TOO_LONG)
    with Proxy(client) as proxy:
        status, text = ask(proxy)
        assert status == 400 and "context_length_exceeded" in text
        assert ask(proxy)[0] == 200


def test_what_stops_the_run_stops_the_program(client, fake_llm):
    fake_llm.script(Status(401, "who?"))
    with pytest.raises(RunStopped, match="refused the key"):
        run(client, ASK.replace("{sizes}", "[1, 1]"))
    assert fake_llm.n_requests == 1


def test_only_docker_mounts_folders():
    host = SandboxFactory(Settings(sandbox=SandboxSettings(sandbox="local")), threading.Event())
    with pytest.raises(Trouble, match="--sandbox local mounts nothing"):
        host.open("", "tests", mounts={"/tmp": "/x"})
