"""Check that king.py gets along with the field's endpoints as their users set them up."""
from __future__ import annotations

import json

import pytest
from conftest import (
    KEY,
    NO_LEAK_JUDGE,
    ledger_lines,
    read_answer,
    run_script,
    write_prompts,
    write_toml,
)
from fake_llm import USAGE, FakeLLM, Request, Status

TURN = "THOUGHT: I look.\n\n```bash\nls\n```"


def completion(request: Request, *choices: dict, **message) -> dict:
    """Return a completion with as many turns as are asked for, or with these choices."""
    whole = [{"message": {"content": TURN.replace("ls", f"ls {i}"), **message},
              "finish_reason": "stop"} for i in range(request.body.get("n", 1))]
    return {"choices": [*choices] or whole, "usage": USAGE}


def refusal(name: str, why: str, **more) -> Status:
    return Status(400, {"error": {"message": why, "type": "invalid_request_error", "param": name,
                                  "code": "unsupported_parameter", **more}})


def o_series(request: Request):
    body = request.body
    if "max_tokens" in body:
        return refusal("max_tokens", "Unsupported parameter: 'max_tokens' is not supported with "
                       "this model. Use 'max_completion_tokens' instead.")
    if body.get("temperature", 1) != 1:
        return refusal("temperature", "Unsupported value: 'temperature' does not support 0.3 with "
                       "this model. Only the default (1) value is supported.")
    return completion(request) if body["max_completion_tokens"] == 1024 else Status(400)


def azure(request: Request):
    if {"max_tokens", "temperature"} & request.body.keys():
        return Status(400)
    if "task 2" in request.last:
        return refusal("prompt", "The response was filtered", code="content_filter")
    return completion(request) if request.headers["x-team"] == "data" else Status(400)


def openrouter(request: Request):
    if "task 2" in request.last:
        return Status(403, {"error": {"code": 403, "message": "it requires moderation",
                                      "metadata": {"reasons": ["violence"]}}})
    if request.body["provider"] != {"sort": "price"}:
        return Status(400)
    whole = completion(request)["choices"]
    if "task 3" in request.last and len(whole) > 1:
        whole[0] |= {"finish_reason": "error", "error": {"code": 502, "message": "upstream"}}
    return completion(request, *whole)


def vllm(request: Request):
    if request.body["chat_template_kwargs"] != {"enable_thinking": True}:
        return Status(400)
    return completion(request, reasoning="it thinks")


def llama_cpp(request: Request):
    if request.body.get("n", 1) > 1:
        return Status(500, {"error": {"code": 500, "type": "server_error",
                                      "message": "Only one completion choice is allowed"}})
    return completion(request, content=TURN.replace("\n", "<think>it thinks</think>\n", 1))


def ignores_n(request: Request):
    return completion(request, completion(request)["choices"][0])


AZURE = """[king]
endpoint = "azure"
headers = { X-Team = "data" }
[endpoints.azure]
base_url = "{url}/openai/v1"
api_key_env = "AZURE_OPENAI_API_KEY"
temperature = "none"
token_limit_key = "max_completion_tokens"
"""
OPENROUTER = """[king]
samples = 3
endpoint = "openrouter"
extra_body = { provider = { sort = "price" } }
[endpoints.openrouter]
base_url = "{url}/api/v1"
api_key_env = "OPENROUTER_API_KEY"
"""
VLLM = """[king]
samples = 3
[endpoints.base_url]
extra_body = { chat_template_kwargs = { enable_thinking = true } }
"""
THREE = "[king]\nsamples = 3\n"
HERE = {"LLM_BASE_URL": "{url}/v1"}
# what serves, settings, environment, calls that are refused and paid, what fails, what is said
ENDPOINTS = {
    "o-series": (o_series, "[king]\ntemperature = 0.3\n",
                 {"OPENAI_BASE_URL": "{url}/v1", "OPENAI_API_KEY": KEY}, 2, 3, "",
                 ["max_tokens: it is sent as max_completion_tokens", "temperature: it is left"]),
    "Azure": (azure, AZURE, {"AZURE_OPENAI_API_KEY": KEY}, 1, 2, "flagged it: The response", []),
    "OpenRouter": (openrouter, OPENROUTER, {"OPENROUTER_API_KEY": KEY}, 1, 3,
                   "flagged it: violence", ["asks for 3 answers a turn"]),
    "vLLM": (vllm, VLLM, HERE, 0, 3, "", []),
    "llama.cpp": (llama_cpp, THREE, HERE, 1, 9, "", ["one answer a call"]),
    "one that ignores n": (ignores_n, THREE, HERE, 0, 9, "", ["one answer a call"]),
}


@pytest.mark.parametrize("name", ENDPOINTS)
def test_no_item_is_lost_and_none_paid_twice_at(tmp_path, fake_llm, name):
    serves, settings, env, n_refused, n_paid, fails, says = ENDPOINTS[name]
    write_prompts(tmp_path, 3)
    mine = tmp_path / "mine.toml"
    mine.write_text(f"{NO_LEAK_JUDGE}{settings}".replace("{url}", fake_llm.url))
    env = {key: value.replace("{url}", fake_llm.url) for key, value in env.items()}
    fake_llm.always(serves)
    done, again = (run_script("king.py", tmp_path, "--workers", 1, "--model", "m", "--config", mine,
                              env=env) for _ in range(2))
    assert done.returncode == again.returncode == bool(fails), done.stderr
    assert all(done.stderr.count(one) == 1 for one in says)
    n_again = 1 if fails else 0   # the second run asks for the failed item alone
    assert (fake_llm.n_requests, len(fake_llm.answered)) == (n_refused + n_paid + n_again, n_paid)
    assert KEY in fake_llm.requests[0].headers.get("authorization", "") or KEY not in env.values()
    assert {fails in line["error"] for line in ledger_lines(tmp_path / "answer", state="failed")
            } == ({True} if fails else set())
    for i in (1, 3):
        item = f"prompts_3_1_{i}"
        assert "think" not in read_answer(tmp_path, item)["king"]
        if "samples" in settings:
            kept = json.loads((tmp_path / f"answer/_samples/{item}.json").read_text())
            assert len(kept["samples"]) == 2
        beside = tmp_path / f"answer/_reasoning/{item}.json"
        assert beside.exists() == (serves in (vllm, llama_cpp))
        assert not beside.exists() or "it thinks" in beside.read_text()


SERVED = {"data": [{"id": "moonshotai/Kimi-K2.6"}, {"id": "b"}]}


@pytest.mark.parametrize("path, models, says", [
    ("/v1", {"data": [{"id": "moonshotai/Kimi-K2.6-TEE"}]}, ""), ("/v1", Status(404), ""),
    ("", Status(404), "at {url}/models: HTTP 404, no models. Did you mean {url}/v1?"),
    ("/v1/chat/completions", Status(404), "Did you mean {url}/v1?"),
    ("/v1", SERVED, "Kimi-K2.6-TEE is not listed at {url}/v1/models: moonshotai/Kimi-K2.6, b"),
    ("/v1", Status(401), "no key was sent: set QIANFAN_BEARER_TOKEN, OPENAI_API_KEY or "
                         "api_key_env"),
], ids=str)
def test_the_list_of_models_is_asked_for_once_and_ends_nothing(tmp_path, fake_llm, path, models,
                                                               says):
    write_prompts(tmp_path, 2)
    fake_llm.models = models
    done = run_script("king.py", tmp_path, "--llm-base-url", fake_llm.url + path)
    assert done.returncode == 0 and len(fake_llm.looks) == 1, done.stderr
    said = says.replace("{url}", fake_llm.url)
    assert said in done.stderr and bool(says) == ("/models" in done.stderr)


def test_an_address_where_nobody_is_is_named_before_the_first_call(tmp_path):
    write_prompts(tmp_path, 1), write_toml(tmp_path, {"retry_max": 0})
    with FakeLLM() as gone:
        pass
    done = run_script("king.py", tmp_path, "--llm-base-url", gone.base_url)
    assert done.returncode == 2
    assert f"{gone.base_url}/models: connection failed: " in done.stderr.split("does not answer")[0]
