"""Check that king.py gets along with the field's endpoints as their users set them up."""

import pytest
from conftest import KEY, read_answer, run_script
from fake_llm import USAGE, Request, Status
from root import read_json

from codedata.texts import tomllib

TURN = "THOUGHT: I look.\n\n```bash\nls\n```"


def completion(request: Request, *choices: dict, **message) -> dict:
    """Return a completion with as many turns as are asked for, or with these choices."""
    whole = [{"message": {"content": TURN.replace("ls", f"ls {i}"), **message},
              "finish_reason": "stop"} for i in range(request.body.get("n", 1))]
    return {"choices": [*choices] or whole, "usage": USAGE}


def refusal(name: str, why: str) -> Status:
    return Status(400, {"error": {"message": why, "param": name, "type": "invalid_request_error"}})


def o_series(request: Request):
    if "max_tokens" in request.body:
        return refusal("max_tokens", "Unsupported parameter: 'max_tokens' is not supported with "
                       "this model. Use 'max_completion_tokens' instead.")
    if request.body.get("temperature", 1) != 1:
        return refusal("temperature", "Unsupported value: 'temperature' does not support 0.3 with "
                       "this model. Only the default (1) value is supported.")
    return completion(request) if request.body["max_completion_tokens"] == 1024 else Status(400)


def kimi(request: Request):
    if request.body.get("temperature") == 0.3:
        return Status(400, {"error": {"message": "invalid temperature: only 1 is allowed for this "
                                      "model", "type": "invalid_request_error"}})
    return completion(request)


def azure(request: Request):
    return o_series(request) if request.path.endswith("/chat/completions?api-version=1") else (
        Status(404))


def openrouter(request: Request):
    whole = completion(request)["choices"]
    if "task 3" in request.last and len(whole) > 1:
        whole[0] |= {"finish_reason": "error", "error": {"code": 502, "message": "upstream"}}
    is_ours = request.body["provider"] == "a" and request.headers["x-team"] == "data"
    return completion(request, *whole) if is_ours else Status(400)


def vllm(request: Request):
    wants = request.body["chat_template_kwargs"] == {"enable_thinking": True}
    return completion(request, reasoning="it thinks") if wants else Status(400)


def llama_cpp(request: Request):
    if "n" in request.body:
        return Status(500, {"error": {"code": 500, "type": "server_error",
                                      "message": "Only one completion choice is allowed"}})
    return completion(request, content=TURN.replace("\n", "<think>it thinks</think>\n", 1))


def ignores_n(request: Request):
    return completion(request, *completion(request)["choices"][:1])


# what serves: settings, environment, all requests of two runs and those that are paid, what is said
ENDPOINTS = tomllib.loads(f"""
[o_series]
settings = '''[king]
temperature = 0.3'''
env = {{OPENAI_BASE_URL = "URL/v1", OPENAI_API_KEY = "{KEY}"}}
requests = [5, 3]
says = ["max_tokens: it is sent as max_completion_tokens", "temperature: it is left"]

[kimi]
settings = '''[king]
temperature = 0.3'''
env.LLM_BASE_URL = "URL/v1"
requests = [4, 3]
says = ["temperature: it is left"]

[azure]
settings = '''[king]
endpoint = "azure"
[endpoints.azure]
base_url = "URL/openai/deployments/m?api-version=1"
api_key_env = "AZURE_OPENAI_API_KEY"
temperature = "none"'''
env.AZURE_OPENAI_API_KEY = "{KEY}"
requests = [4, 3]
says = ["max_tokens: it is sent as max_completion_tokens"]

[openrouter]
settings = '''[king]
samples = 3
endpoint = "openrouter"
extra_body = {{ provider = "a" }}
[endpoints.openrouter]
base_url = "URL/api/v1"
api_key_env = "OPENROUTER_API_KEY"
headers = {{ X-Team = "data" }}'''
env.OPENROUTER_API_KEY = "{KEY}"
requests = [4, 4]
says = ["asks for 3 answers a turn"]

[vllm]
settings = '''[king]
samples = 3
[endpoints.base_url]
extra_body = {{ chat_template_kwargs = {{ enable_thinking = true }} }}'''
env.LLM_BASE_URL = "URL/v1"
requests = [3, 3]
says = []

[llama_cpp]
settings = '''[king]
samples = 3'''
env.LLM_BASE_URL = "URL/v1"
requests = [10, 9]
says = ["one answer a call"]

[ignores_n]
settings = '''[king]
samples = 3'''
env.LLM_BASE_URL = "URL/v1"
requests = [9, 9]
says = ["one answer a call"]
""")


@pytest.mark.parametrize(
    "serves", [o_series, kimi, azure, openrouter, vllm, llama_cpp, ignores_n],
    ids=lambda serves: serves.__name__)
def test_no_item_is_lost_and_none_paid_twice_at(tmp_path, fake_llm, serves):
    case = ENDPOINTS[serves.__name__]
    names = tmp_path.with_prompts(3).prompts()
    mine = tmp_path / "mine.toml"
    mine.write_text(case["settings"].replace("URL", fake_llm.url))
    env = {key: value.replace("URL", fake_llm.url) for key, value in case["env"].items()}
    fake_llm.always(serves)
    runs = [run_script("king.py", tmp_path, "--workers", 1, "--model", "m", "--config", mine,
                       env=env) for _ in range(2)]
    assert [run.returncode for run in runs] == [0, 0], runs[0].stderr
    assert all(runs[0].stderr.count(one) == 1 for one in case["says"])
    assert [fake_llm.n_requests, len(fake_llm.answered)] == case["requests"]
    assert KEY in fake_llm.requests[0].headers.get("authorization", "") or KEY not in env.values()
    for name in names:
        assert "think" not in read_answer(tmp_path, name)["king"]
        beside = tmp_path / f"answer/_reasoning/{name}.json"
        assert beside.exists() == (serves in (vllm, llama_cpp))
        if "samples" in case["settings"]:
            assert len(read_json(tmp_path / f"answer/_samples/{name}.json")["samples"]) == 2
