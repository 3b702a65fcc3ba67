"""Test programs of others at a task: what they may ask, how they end, and mini-swe-agent."""
import json
import socket
import subprocess
import sys
import threading
from http.client import HTTPConnection

import pytest
from conftest import KEY, REPO, item_calls, settings_for
from fake_llm import Say, Status
from proof_heron import factory_of
from steps_seen import StepsSeen

from codedata.disk.layouts import load_folder
from codedata.errors import RunStopped
from codedata.llm.client import Models
from codedata.records import Task
from codedata.run.talk import showing
from codedata.sandbox.docker import engine
from codedata.sandbox.local import SandboxLocal
from codedata.solving.proxy import AGENT, FOLDER, MAX_AT_ONCE, Proxy
from codedata.suites.environments import labelled
from codedata.tasks.prove.grader import grader_of

LIMITS = {"max_iterations": 20, "max_seconds": 100}
HELLO = {"role": "user", "content": "hello"}
TOOL = {"type": "function", "function": {"name": "act", "parameters": {"required": []}}}
ASKS = {"messages": [HELLO], "tools": [TOOL]}
ACTS = Say("I act.\ud83d", calls=(("act", {"how": "well"}),))
IMAGE = {"type": "image_url", "text": "a wader", "image_url": {"url": "data:,"}}
TOO_LONG = Status(400, {"error": {"message": "the context length is 10"}})
ASK = """python3 - <<'END'
import json, os, urllib.request
for n in SIZES:
    body = json.dumps({"messages": [{"role": "user", "content": f"{i} of {n}"} for i in range(n)]})
    urllib.request.urlopen(os.environ["OPENAI_BASE_URL"] + "/chat/completions", body.encode())
END
"""   # so many messages in each request


MINI = f"{AGENT}/bin/mini -m openai/{{model}} -t {{task}}"
# the model hears what a command prints: where the key is, in words that do not have it
LOOK = f"""env; for one in /proc/[0-9]*; do tr '\\0' '\\n' < $one/environ; done
grep -rsh '{KEY[:-1]}[{KEY[-1]}]' /app /etc /home /root /run /tmp /var
touch {AGENT}/x {FOLDER}/x"""


class Here(SandboxLocal):
    """Run commands on this machine, with the places that the mounts give a container."""

    def __init__(self, proxy):
        super().__init__()
        self.folder, self.n_ended = str(proxy.folder), 0

    def run(self, command, *, timeout_s, env):
        command = command.replace(f"{AGENT}/bin/python3", sys.executable)
        return super().run(command.replace(FOLDER, self.folder), timeout_s=timeout_s, env={
            name: value.replace(FOLDER, self.folder) for name, value in env.items()})

    def end_all(self):
        self.n_ended += 1


@pytest.fixture
def client(fake_llm):
    return Models(settings_for(fake_llm, KEY)).client("king")


def ask(proxy, body=ASKS, path="/v1/chat/completions", **headers):
    """Return the status and the body of an answer."""
    connection = HTTPConnection("localhost")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(str(proxy.folder / "socket"))
    connection.request("POST", path, body and json.dumps(body), headers)
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def run(client, command, **limits):
    """Return the result of a program."""
    with Proxy(client, LIMITS | limits) as proxy, Here(proxy) as sandbox:
        try:
            return proxy.run(command, "wade {model} 'deep'", sandbox)
        finally:
            assert sandbox.n_ended
            with pytest.raises(FileNotFoundError):
                ask(proxy)


def test_a_request_goes_to_our_model_with_our_settings(client, fake_llm):
    fake_llm.always(ACTS)
    theirs, step = {"model": "theirs", "temperature": 9, "max_tokens": 1}, StepsSeen()
    with showing(step), Proxy(client, LIMITS) as proxy:
        status, text = ask(proxy, ASKS | theirs | {"messages": [HELLO | {"cache_control": {}}]})
        parts = {"messages": [{"role": "user", "content": [{"type": "text", "text": "hello"}]}]}
        *events, end, _ = ask(proxy, ASKS | parts | {"stream": True})[1].split("\n\n")
    answer, sent = json.loads(text), fake_llm.requests[0]
    assert "call 1 of at most 20: asking the model" in step.seen
    assert str(step) == 'call 2 of at most 20: act {"how": "well"}'
    assert status == 200 and answer["usage"]["total_tokens"] == 120
    assert answer["choices"][0]["message"]["tool_calls"][0]["function"] == {
        "name": "act", "arguments": '{"how": "well"}'}
    assert {key: sent.body[key] for key in ASKS} == ASKS
    assert fake_llm.requests[1].body["messages"] == [HELLO]
    assert not theirs.items() & {key: sent.body[key] for key in theirs}.items()
    assert sent.headers["authorization"] == f"Bearer {KEY}" and KEY not in text
    first, last = (json.loads(event.removeprefix("data: "))["choices"][0] for event in events)
    assert first["delta"]["content"] == "I act.?" and first["delta"]["tool_calls"][0]["index"] == 0
    assert last["finish_reason"] == "stop" and end == "data: [DONE]"


@pytest.mark.parametrize(("status", "how"), [
    (404, {"path": "/v1/responses"}), (413, {"body": None, "Content-Length": "99999999"}),
    *((400, {"body": body}) for body in (
        "hello", {"messages": "hello"}, {"messages": [{"role": "tool", "content": "x"}]},
        {"messages": [HELLO], "tools": [{}] * 100_001},
        {"messages": [{"content": "x"}]}, ASKS | {"tools": [1]},
        {"messages": [{"role": "user", "content": 7}]},
        {"messages": [{"role": "user", "content": [IMAGE]}]}))])
def test_what_is_no_request_for_a_completion_makes_no_call(client, fake_llm, status, how):
    with Proxy(client, LIMITS) as proxy:
        assert ask(proxy, **how)[0] == status
    assert fake_llm.n_requests == 0


def test_replies_that_are_kept_are_served_again_after_a_kill(client, fake_llm, tmp_path):
    answers = []
    for _ in range(2):
        with item_calls(tmp_path), Proxy(client, LIMITS) as proxy:
            answers.append([ask(proxy), ask(proxy), ask(proxy, {"messages": [HELLO] * 3})])
    assert answers[0] == answers[1] and fake_llm.n_requests == 3


def test_a_few_calls_are_made_at_once_and_those_in_flight_end_first(client, fake_llm):
    fake_llm.latency_s, n = 0.3, 2 * MAX_AT_ONCE
    with Proxy(client, LIMITS) as proxy:
        for _ in range(n):
            threading.Thread(target=ask, args=[proxy]).start()
        fake_llm.wait_for(n)
    assert fake_llm.max_in_flight == MAX_AT_ONCE and len(proxy.calls) == n


def test_the_result_has_the_longest_conversation_and_all_that_was_used(client):
    is_told = '[ "$(cat $CODEDATA_TASK)" = {task} ] && '
    result = run(client, is_told + ASK.replace("SIZES", "[1, 3, 2]"))
    assert (result.status, result.cause, result.handed_in) == ("success", "", True)
    assert [one["content"] for one in result.messages[:-1]] == ["0 of 3", "1 of 3", "2 of 3"]
    assert result.messages[-1]["role"] == "assistant" and result.usage["tokens_in"] == 300


@pytest.mark.parametrize(("command", "reply", "limits", "status", "cause", "said"), [
    (ASK, Say(), {"max_iterations": 2}, "max_iteration", "steps", "2 replies"),
    ("sleep 30", Say(), {"max_seconds": 1}, "tool_stop", "seconds", "is reached"),
    (ASK, TOO_LONG, {}, "error", "context", "length is 10"),
    (ASK, Status(404), {}, "error", "failed", "404"),
    (ASK + "echo lost; exit 3", Say(), {}, "error", "", "with 3: lost"),
    ("no-such-program", Say(), {}, "error", "failed", "not found")])
def test_a_run_without_an_answer_says_its_cause(client, fake_llm, command, reply, limits, status,
                                                cause, said):
    fake_llm.always(reply)
    result = run(client, command.replace("SIZES", "[1, 2, 3]"), **limits)
    assert (result.status, result.cause, result.handed_in) == (status, cause, False)
    assert said in result.error


def test_what_stops_the_run_stops_the_program(client, fake_llm):
    fake_llm.always(Status(401))
    with pytest.raises(RunStopped, match="refused the key"):
        run(client, ASK.replace("SIZES", "[1, 1]"))
    assert fake_llm.n_requests == 1


@pytest.mark.docker
def test_mini_swe_agent_solves_a_task_and_finds_no_key(client, fake_llm):
    image = subprocess.check_output(REPO / "tools/agent-image", text=True).strip()
    host, folder = factory_of(), REPO / "samples/tasks/tally"
    task = Task(**Task.completed(load_folder(folder, Task.places)))

    with labelled(host, "tally", "tests") as label:
        grader = grader_of(task, host, label)

        def attempt(command, *commands):
            fake_llm.script(*(Say(calls=(("bash", {"command": one}),)) for one in commands))
            with Proxy(client, LIMITS | {"max_iterations": 3}) as proxy, host.open(
                    grader.image, label, grader.workdir, True, default_rights=True, user="agent",
                    mounts=proxy.mounts | engine.volume_of(image, AGENT)) as sandbox:
                grader.packed(sandbox)   # which leaves the shell in the work directory
                result = proxy.run(command, task.instruction, sandbox)
                assert not sandbox.run("grep -sl [f]orward /proc/[0-9]*/cmdline").output
                assert sandbox.run("cat rounds").output.count("round\n") < 50
                return result, grader.grade(grader.packed(sandbox)).reward

        result, reward = attempt(MINI, LOOK, (folder / "solution/solve.sh").read_text(),
                                 "echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT")
        assert (result.status, result.iterations, reward) == ("success", 3, 1), result.error
        _, told, _, found, *_ = (one["content"] for one in result.messages)
        assert task.instruction.strip() in told
        assert "OPENAI_API_KEY=none" in found and found.count("Read-only file system") == 2
        assert not any(KEY in request.text for request in fake_llm.requests)
        result, _ = attempt(f"while echo round >> rounds; do {ASK.replace('SIZES', '[1]')}done")
        assert (result.cause, result.iterations, fake_llm.n_requests) == ("steps", 3, 6)
