"""Play a model by a scenario: an OpenAI-compatible server on 127.0.0.1 gives the replies of a file.

    with Scenario("success.json") as model:          # a file of tests/scenarios/
        ... an agent of model.base_url ...
        assert model.n_requests == 3

    {"about": "what is played",
     "refuses_tools": "what it says",                # the endpoint knows no tools: HTTP 400
     "context": 4000,                                # HTTP 400 to messages of more characters
     "scenes": [{
        "when": "parser",                            # of a task that holds this; without it: of any
        "native": [REPLY, …], "text": [REPLY, …]}]}  # to requests with tools, and without

The n-th reply goes to the request that has n messages of the assistant in it, and the last one to
all behind it: so a scenario plays for any number of agents, and for one that starts again. A REPLY
is

    "text"
    {"text": …, "calls": [["tool", {arguments}], …]} arguments: an object, or a text
    {…, "finish_reason": "length", "usage": {…}}
    {…, "after": "…"}                                the last message must hold it; else HTTP 400
    {"status": 503, "body": "…"}
"""
import json
from pathlib import Path

from fake_llm import USAGE, FakeLLM, Request, Say, Status

SCENARIOS = Path(__file__).parent / "scenarios"


class Scenario(FakeLLM):
    """Serve a scenario: the name of a file, or what would stand in one."""

    def __init__(self, scenario: str | Path | dict):
        super().__init__()
        is_read = isinstance(scenario, dict)
        self.scenario = scenario if is_read else json.loads(
            (SCENARIOS / scenario).read_text())
        self.always(self._play)

    def _play(self, request: Request):
        body, messages = request.body, request.messages
        if "tools" in body and (said := self.scenario.get("refuses_tools")):
            return _error(said)
        n_chars = sum(len(message.get("content") or "") for message in messages)
        if n_chars > self.scenario.get("context", n_chars):
            return _error(f"This model's maximum context length is exceeded: {n_chars} characters.")
        task = next(message["content"] for message in messages if message["role"] == "user")
        scene = next((scene for scene in self.scenario["scenes"] if scene.get("when", "") in task),
                     {})
        replies = scene.get("native" if "tools" in body else "text")
        if not replies:
            return _error(f"the scenario has no reply to {task[:80]!r}")
        n = sum(message["role"] == "assistant" for message in messages)
        reply = replies[min(n, len(replies) - 1)]
        reply = {"text": reply} if isinstance(reply, str) else reply
        if reply.get("after", "") not in (messages[-1]["content"] or ""):
            return _error(
                f"reply {n} comes after {reply['after']!r}, not after {messages[-1]['content']!r}")
        if "status" in reply:
            return Status(reply["status"], reply.get("body", ""))
        calls = reply.get("calls", ())
        reason = reply.get("finish_reason") or ("tool_calls" if calls else "stop")
        return Say(reply.get("text"), None, calls, reason, reply.get("usage", USAGE), "m")


def _error(said: str) -> Status:
    return Status(400, {"error": {"message": said, "type": "invalid_request_error"}})
