"""Test models that LiteLLM calls, on fakes that answer in each vendor's own form."""
import json
import re
import signal
import sys
from argparse import Namespace
from base64 import b64encode
from importlib.util import find_spec
from itertools import product
from pathlib import Path

import pytest
from conftest import item_calls, kill, read_answer, run_process, start_script
from fake_judges import run_main, score, verdict
from fake_llm import CUT, HANG, FakeLLM, Flood, Request, Status
from root import QUICK, a_prompt, read_json, write_json
from tool_turns import FOREIGN, TOOLS, calls

import king
import validate
from codedata import config
from codedata.agent import Agent, ToolBashExecutor
from codedata.llm import Models
from codedata.llm.vendors import import_converter
from codedata.sandbox.local import SandboxLocal

pytestmark = pytest.mark.litellm
# each vendor's answer n: a call, or a text, as a whole or as events
ANSWERS = read_json(Path(__file__).with_name("vendors_answers.json"))
STAND_IN = b64encode(b"skip_thought_signature_validator").decode()
# {model: (form of its answers, what goes back with its call n)}
VENDORS = {
    "openai/responses/gpt-5.5": ("responses", '"encrypted_content": "signed {0}"'),
    "gemini/gemini-3.1-pro-preview": ("gemini", '"thoughtSignature": "AAA{0}"'),
    "anthropic/claude-opus-4-7": ("claude", '"thinking": "thought {0}", "signature": "signed {0}"'),
    "deepseek/deepseek-reasoner": ("chat", '"reasoning_content": "signed {0}"'),
    "mistral/devstral-medium-latest": ("chat", '"text": "signed {0}"'),
    "openai/gpt-5.5": ("chat", '"reasoning_content": "signed {0}"'),
}
KEY = "key-of-the-vendor"
PLANTED = "API_KEY", "API_BASE", "BASE_URL", "AUTH_TOKEN", "ORG_ID", "PROJECT_ID"


def answer_of(model: str, name: str, n: int = 0, end: int | None = None):
    """Return a vendor's answer n; of events, the first `end`."""
    found = json.loads(json.dumps(ANSWERS[VENDORS[model][0]][name]).replace("%n%", str(n)))
    if isinstance(found, dict):
        return found
    lines = [f"data: {json.dumps(event)}\n\n" for event in found[:end]]
    return Status(200, "".join(lines), {"Content-Type": "text/event-stream"})


@pytest.fixture(params=VENDORS)
def model(request, fake_llm, tmp_path, monkeypatch):
    """Let the fake answer as a vendor: three calls in a conversation, then a text."""
    if not find_spec("litellm"):   # to import it here would fetch prices from the network
        pytest.skip("needs the extra litellm")

    def answer(asked: Request):
        sent = json.dumps(asked.body)
        assert "planted" not in f"{asked.path} {asked.headers} {sent}"
        assert re.search(r'"max\w+tokens": 1024[,}]', sent) and '"bash"' in sent
        own = sorted({*re.findall(r"echo step (\d)", sent)})
        if "gemini" in asked.path and "call_of_another" in sent and STAND_IN not in sent:
            return Status(400, "A signature is missing.")
        for n in own:
            if VENDORS[request.param][1].format(n) not in sent:
                return Status(400, f"What goes with call {n} is missing.")
        is_stream = asked.body.get("stream") or ":stream" in asked.path
        return answer_of(request.param, ("call" if len(own) < 3 else "text")
                         + "_events" * bool(is_stream), len(own))
    fake_llm.always(answer)
    for name in product(import_converter().litellm.provider_list, PLANTED):
        monkeypatch.setenv("_".join(name).upper(), "http://planted.test")
    monkeypatch.setenv("V_KEY", KEY)
    tmp_path.with_settings({"endpoint": "v", "model": request.param, "workers": 1, **QUICK},
                           f'[endpoints.v]\napi = "litellm"\nbase_url = "{fake_llm.base_url}"\n'
                           'api_key_env = "V_KEY"\n')
    return request.param


def test_histories_with_calls_of_another_model(model, fake_llm, tmp_path):
    write_json(tmp_path / "prompt/p.json", [
        a_prompt(n, messages=FOREIGN, tools=TOOLS, assistant=calls(command="make"))
        for n in (1, 2)])
    for _ in range(2):
        run_main(king.main, tmp_path, "--config", tmp_path / "chain.toml")
    assert fake_llm.n_requests == 2
    assert all(KEY in str(one.headers) for one in fake_llm.requests)
    made = read_answer(tmp_path, "p_2")["king"]
    assert set(made["tool_calls"][0]) == {"id", "type", "function"}


def test_judges_get_their_schema_and_their_verdicts_are_read(model, fake_llm, tmp_path):
    tmp_path.with_answers(1)
    with open(tmp_path / "chain.toml", "a") as file:
        file.write(f'[judge]\nmodels = ["{model}"]\n')
    said = json.dumps(verdict("12021"))[1:-1]
    fake_llm.always(json.loads(json.dumps(answer_of(model, "text")).replace("It is done.", said)))
    for _ in range(2):
        run_main(validate.main, tmp_path, "--config", tmp_path / "chain.toml")
    assert fake_llm.n_requests == 2 and score(tmp_path, "t_1")["parse_ok"]
    assert all('"correctness"' in json.dumps(one.body) for one in fake_llm.requests)


def acts(root: Path, *limits: int) -> tuple[list[dict], list[dict]]:
    """Run an agent, which is killed after each of these numbers of steps but the last. Return its
    calls, and those with the expected tokens and cost."""
    settings = config.load(Namespace(root=root, config=root / "chain.toml"))
    for steps in limits:
        with Models(settings) as models, item_calls(root) as log, SandboxLocal() as box:
            client = models.client("king")
            ended = Agent("You act.", [ToolBashExecutor()], client, box,
                          max_iterations=steps).run("do it")
    assert ended.status == "success", ended.error
    assert [set(one["tool_calls"][0]) for one in ended.messages if "tool_calls" in one] == [
        {"id", "type", "function"}] * 3
    price = models.money.prices[client.spec.model]
    usd = (60 * price.in_ + 40 * price.cached + 20 * price.out) / 1e6
    paid = {"tokens_in": 100, "tokens_out": 20, "tokens_cached": 40, "cost_usd": pytest.approx(usd)}
    return log.unbilled, [call for call in log.unbilled if call | paid == call]


def test_an_agent_that_is_killed_and_begun_again(model, fake_llm, tmp_path):
    made, as_expected = acts(tmp_path, 2, 9)
    assert fake_llm.n_requests == len(made) == len(as_expected) == 5   # none was paid twice
    assert all(call["sent_back"] for call in made[:3])


@pytest.mark.parametrize("model", ["gemini/gemini-3.1-pro-preview"], indirect=True)
def test_thinking_with_half_a_character_goes_back(model, fake_llm, tmp_path):
    odd = answer_of(model, "call")
    odd["candidates"][0]["content"]["parts"].insert(0, {"text": "why \ud83d", "thought": True})
    fake_llm.script(odd)
    acts(tmp_path, 9)


def test_a_stream_that_breaks_off_is_one_failed_try(model, fake_llm, tmp_path):
    with open(tmp_path / "chain.toml", "a") as file:
        file.write("stream = true\n")
    n_events = len(ANSWERS[VENDORS[model][0]]["call_events"])
    fake_llm.script(answer_of(model, "call_events", end=n_events // 2))
    made, as_expected = acts(tmp_path, 9)
    broken, = [call for call in made if call.get("estimated")]
    assert fake_llm.n_requests == len(made) == len(as_expected) + 1 == 6
    assert broken["tokens_in"] > 50 and broken["cost_usd"]


@pytest.mark.parametrize("model", ["openai/gpt-5.5"], indirect=True)
@pytest.mark.parametrize("has_events", [False, True])
def test_a_reply_without_usage_has_no_cost_of_zero(has_events, model, fake_llm, tmp_path):
    whole = {**answer_of(model, "text"), "usage": None}
    fake_llm.script(answer_of(model, "text_events", end=-1) if has_events else whole)
    stream = "stream = true\n" * has_events
    (tmp_path / "chain.toml").write_text((tmp_path / "chain.toml").read_text() + stream)
    settings = config.load(Namespace(root=tmp_path, config=tmp_path / "chain.toml"))
    with Models(settings) as models:
        reply = models.client("king").ask(FOREIGN[:1])
    assert reply.text and (reply.call["tokens_in"], reply.call["cost_usd"]) == (None, None)


only_claude = pytest.mark.parametrize("model", ["anthropic/claude-opus-4-7"], indirect=True)


@only_claude
@pytest.mark.parametrize("fault, problem", [
    (HANG, "timeout 2 s"), (CUT, "connection failed"), (Flood(), "more than 20,000,000 bytes"),
    (Status(429, {"error": {"type": "insufficient_quota"}}), "wants payment (HTTP 429")])
def test_faults_behind_a_proxy_read_as_in_the_default_client(model, fake_llm, tmp_path, fault,
                                                             problem):
    path = tmp_path.with_prompts(1) / "chain.toml"
    path.write_text(path.read_text().replace(fake_llm.base_url, "http://Vendor.test/v1").replace(
        "call_timeout_s = 10.0", "call_timeout_s = 2\nretry_max = 0"))
    fake_llm.always(fault)
    printed = run_main(king.main, tmp_path, "--config", path, "--proxy", fake_llm.base_url[:-3],
                       code=None)
    assert problem in printed and "chat/completions" not in printed
    assert [one.path for one in fake_llm.requests] == ["http://vendor.test/v1/v1/messages"]


@only_claude
def test_a_second_ctrl_c_ends_a_call_at_once(model, fake_llm, tmp_path):
    tmp_path.with_prompts(1)
    fake_llm.always(HANG)
    process = start_script("king.py", tmp_path, "--config", tmp_path / "chain.toml",
                           env={"V_KEY": KEY})
    fake_llm.wait_for(1)
    process.send_signal(signal.SIGINT)
    assert any("stopping" in process.stderr.readline() for _ in range(9))
    assert "ended at once" in kill(process, signal.SIGINT).stderr


@pytest.mark.parametrize("model", ["openai/responses/gpt-5.5"], indirect=True)
def test_a_failing_call_prints_no_key_and_asks_nobody_else(model, fake_llm, tmp_path):
    tmp_path.with_prompts(1)
    fake_llm.always(Status(400, f"Your key {KEY} is odd."))
    with FakeLLM() as proxy:
        env = {"PYTHONPATH": str(tmp_path), "V_KEY": KEY, "LITELLM_LOG": "DEBUG",
               "HTTP_PROXY": proxy.base_url, "HTTPS_PROXY": proxy.base_url}
        flags = "--config", tmp_path / "chain.toml"
        ran = run_process("king.py", tmp_path, *flags, env=env)
        planned = run_process("king.py", tmp_path, *flags, "--dry-run",
                              env={**env, "PYTHONPROFILEIMPORTTIME": "1"})
        assert proxy.n_connections == 0 and fake_llm.n_requests == 1
    assert "Warning" not in ran.stderr
    assert "Your key **** is odd" in ran.stderr and "LiteLLM's price" in ran.stderr
    assert "tokens in" in planned.stderr and " litellm\n" not in planned.stderr
    written = [path.read_text() for path in tmp_path.rglob("*") if path.is_file()]
    assert KEY not in "".join([ran.stdout, ran.stderr, *written])


def test_without_the_extra_a_line_names_it(fake_llm, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "litellm", None)
    monkeypatch.setenv("V_KEY", KEY)
    tmp_path.with_prompts(1).with_settings(
        {"endpoint": "v", "model": "anthropic/claude-opus-4-7"},
        '[endpoints.v]\napi = "litellm"\napi_key_env = "V_KEY"\n')
    flags = "--config", tmp_path / "chain.toml"
    assert "'codedata[litellm]'" in run_main(king.main, tmp_path, *flags, code=2)
    monkeypatch.delenv("V_KEY")
    assert "no key for https://api.anthropic.com" in run_main(king.main, tmp_path, *flags, code=2)
