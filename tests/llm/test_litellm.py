"""Test models that LiteLLM calls, on fakes that answer in each vendor's own form."""
import base64
import json
import re
from argparse import Namespace
from argparse import Namespace

import pytest
from conftest import item_calls, read_answer
from fake_judges import run_main
from fake_llm import Request, Status
from root import QUICK, a_prompt, write_json
from tool_turns import TOOLS, asks, call, calls, result

import king
from codedata import config
from codedata.agent import Agent, ToolBashExecutor
from codedata.llm import Models
from codedata.sandbox.local import SandboxLocal

pytest.importorskip("litellm")
FOREIGN = [{"role": "user", "content": "Fix it."},
           asks(call("bash", {"command": "ls"}, "call_of_another"),
                call("bash", {"command": "pwd"}, "functions.bash:1")),
           result("call_of_another", "a.py"), result("functions.bash:1", "/src")]
STAND_IN = base64.b64encode(b"skip_thought_signature_validator").decode()
USED = {"input_tokens": 100, "output_tokens": 20}


def gpt(n: int) -> dict:
    call = {"type": "function_call", "id": f"fc_{n}", "call_id": f"c_{n}", "name": "bash",
            "arguments": json.dumps({"command": f"echo step {n}"}), "status": "completed"}
    text = {"type": "message", "id": "m", "role": "assistant", "status": "completed",
            "content": [{"type": "output_text", "text": "It is done.", "annotations": []}]}
    return {"id": "r", "object": "response", "created_at": 1, "model": "gpt", "tools": [],
            "status": "completed", "parallel_tool_calls": True, "tool_choice": "auto",
            "output": [{"type": "reasoning", "id": f"rs_{n}", "summary": [],
                        "encrypted_content": f"signed {n}"}, call if n < 3 else text],
            "usage": {**USED, "total_tokens": 120, "output_tokens_details": {},
                      "input_tokens_details": {"cached_tokens": 40}}}


def gemini(n: int) -> dict:
    call = {"functionCall": {"name": "bash", "args": {"command": f"echo step {n}"}},
            "thoughtSignature": base64.b64encode(f"signed {n}".encode()).decode()}
    return {"candidates": [{"finishReason": "STOP", "content": {
        "role": "model", "parts": [call if n < 3 else {"text": "It is done."}]}}],
        "usageMetadata": {"promptTokenCount": 100, "candidatesTokenCount": 5,
                          "thoughtsTokenCount": 15, "totalTokenCount": 120,
                          "cachedContentTokenCount": 40}}


def claude(n: int) -> dict:
    call = {"type": "tool_use", "id": f"toolu_{n}", "name": "bash",
            "input": {"command": f"echo step {n}"}}
    return {"id": "m", "type": "message", "role": "assistant", "model": "claude", "content": [
        {"type": "thinking", "thinking": f"thought {n}", "signature": f"signed {n}"},
        call if n < 3 else {"type": "text", "text": "It is done."}], "stop_reason": "tool_use",
        "usage": {**USED, "input_tokens": 60, "cache_read_input_tokens": 40,
                  "cache_creation_input_tokens": 0}}


def chat(n: int) -> dict:
    message = calls(id=f"abcdefgh{n}", command=f"echo step {n}") if n < 3 else {
        "role": "assistant", "content": "It is done."}
    return {"id": "c", "object": "chat.completion", "created": 1, "model": "x", "choices": [
        {"index": 0, "finish_reason": "stop",
         "message": {**message, "reasoning_content": f"signed {n}"}}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120,
                  "prompt_tokens_details": {"cached_tokens": 40}}}


# {model: (form of its answers, what goes back with its call n)}
VENDORS = {
    "openai/responses/gpt-5.5": (gpt, '"encrypted_content": "signed {}"'),
    "gemini/gemini-3-pro-preview": (gemini, '"thoughtSignature": "{}"'),
    "anthropic/claude-opus-4-7": (claude, '"signature": "signed {}"'),
    "deepseek/deepseek-reasoner": (chat, '"reasoning_content": "signed {}"'),
    "mistral/devstral-medium-latest": (chat, '"text": "signed {}"'),
    "openai/gpt-5.5": (chat, '"reasoning_content": "signed {}"'),
}


@pytest.fixture(params=VENDORS)
def model(request, fake_llm, tmp_path, monkeypatch):
    """Let the fake answer as a vendor: three calls in a conversation, then a text."""
    form, goes_back = VENDORS[request.param]

    def answer(asked: Request):
        sent = json.dumps(asked.body)
        own = sorted({int(n) for n in re.findall(r"echo step (\d)", sent)})
        for n in own:
            mark = base64.b64encode(f"signed {n}".encode()).decode() if form is gemini else n
            if goes_back.format(mark) not in sent:
                return Status(400, f"What goes with call {n} is missing.")
        if "call_of_another" in sent and form is gemini and STAND_IN not in sent:
            return Status(400, "A signature is missing.")
        return form(len(own))
    fake_llm.always(answer)
    monkeypatch.setenv("V_KEY", "key-of-the-vendor")
    tmp_path.with_settings({"endpoint": "v", "model": request.param, "workers": 1, **QUICK},
                           f'[endpoints.v]\napi = "litellm"\nbase_url = "{fake_llm.base_url}"\n'
                           'api_key_env = "V_KEY"\n')
    return request.param


def test_histories_with_calls_of_another_model(model, fake_llm, tmp_path):
    write_json(tmp_path / "prompt/p.json", [
        a_prompt(n, messages=FOREIGN, tools=TOOLS, assistant=calls(command="make"))
        for n in (1, 2)])
    for _ in range(2):
        printed = run_main(king.main, tmp_path, "--config", tmp_path / "chain.toml")
    assert fake_llm.n_requests == 2
    made = read_answer(tmp_path, "p_2")["king"]
    assert set(made["tool_calls"][0]) == {"id", "type", "function"}, printed


def test_an_agent_that_is_killed_and_begun_again(model, fake_llm, tmp_path):
    settings = config.load(Namespace(root=tmp_path, config=tmp_path / "chain.toml"))
    for steps in (2, 9):   # the first run ends after two steps, as if it was killed
        with Models(settings) as models, item_calls(tmp_path) as log, SandboxLocal() as box:
            client = models.client("king")
            ended = Agent("You act.", [ToolBashExecutor()], client, box,
                          max_iterations=steps).run("do it")
    assert ended.status == "success", ended.error
    assert fake_llm.n_requests == len(log.unbilled) == 5   # none was paid twice
    assert [set(one["tool_calls"][0]) for one in ended.messages if "tool_calls" in one] == [
        {"id", "type", "function"}] * 3
    price = models.money.prices[model]
    for call in log.unbilled:
        assert [call[key] for key in ("tokens_in", "tokens_out", "tokens_cached")] == [100, 20, 40]
        assert call["cost_usd"] * 1e6 == pytest.approx(
            60 * price.in_ + 40 * price.cached + 20 * price.out)
