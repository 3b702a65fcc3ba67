"""Run king.py, validate.py, agents and try-model at endpoints that answer as vendors do."""
import json
import runpy

import pytest
from conftest import REPO, edit, flags_for, item_calls, read_answer, settings_for, spent_usd
from fake_judges import run_main, score, verdict
from fake_llm import OK, USAGE, Request, Say, Status, streamed, truncated
from line_tables import rows
from root import a_prompt, words, write_json
from tool_turns import FOREIGN, TOOLS, arguments_of, asks, calls, result

import king
import validate
from codedata.agent import Agent, AgentResult, ToolBashExecutor
from codedata.conversation.tool_calls import new_call
from codedata.errors import RunStopped
from codedata.llm import Models
from codedata.llm.cures import CURES
from codedata.sandbox.local import SandboxLocal
from codedata.texts import tomllib

OWN = new_call("bash", '{"command": "make"}')
HISTORY = [*FOREIGN, asks(OWN), result(OWN["id"], words("seen", 2500))]
STAND_IN = {"google": {"thought_signature": "skip_thought_signature_validator"}}
TRY_MODEL = runpy.run_path(str(REPO / "tools/try-model"))["main"]


def turns(request: Request | AgentResult) -> list[dict]:
    """Return the messages of a request, or of a result, that have calls."""
    return [one for one in request.messages if one.get("tool_calls")]


def own(message: dict) -> str:
    """Return the number in a command of the fake model, "" for a call of another model."""
    command = arguments_of(message["tool_calls"][0])["command"]
    return command.removeprefix("echo step ") if command.startswith("echo step ") else ""


def unsigned(request: Request) -> bool:
    return any([call.get("extra_content") for call in one["tool_calls"]] != [
        {"google": {"thought_signature": f"signed {own(one)}"}} if own(one) else STAND_IN,
        *[None] * (len(one["tool_calls"]) - 1)] for one in turns(request))


def thoughtless(request: Request) -> bool:
    return [one.get("reasoning_content") for one in turns(request)] != [
        f"thought {own(one)}" if own(one) else " " for one in turns(request)]


def long_ids(request: Request) -> bool:
    ids = [call["id"] for one in turns(request) for call in one["tool_calls"]]
    assert ids == [one["tool_call_id"] for one in request.messages if one["role"] == "tool"]
    assert len({*ids}) == len(ids)
    return any(len(id) != 9 or not id.isalnum() for id in ids)


def thinking_with_tools(request: Request) -> bool:
    body = request.body
    assert "tools" in body or "reasoning_effort" not in body
    return "tools" in body and body.get("reasoning_effort") != "none"


REFUSED = {
    "gpt_by_chat": thinking_with_tools, "gemini": unsigned, "deepseek": thoughtless,
    "kimi": thoughtless, "mistral": long_ids,
    "only_streams": lambda request: not request.body.get("stream"),
    "groq_slips": lambda request: request.n % 2 == 0}
# refusal: its sentence; says: the only line of the client; counts: tokens in, out, cached of a call
USUAL = {"says": "", "id": "call_{}", "counts": [5000, 100, 0], "usage": {
    "prompt_tokens": 5000, "completion_tokens": 100, "total_tokens": 5100}}
VENDORS = {name: USUAL | row for name, row in tomllib.loads("""
[gpt_by_chat]
refusal = "Function tools with reasoning_effort are not supported for gpt-5.5. Use /v1/responses."
says = "takes tools only without thinking"
counts = [5000, 400, 600]
usage.prompt_tokens = 5000
usage.completion_tokens = 400
usage.prompt_tokens_details.cached_tokens = 600

[gemini]
refusal = "Function call is missing a thought_signature in functionCall parts."
says = "wants each call signed"
id = ""
usage = { prompt_tokens = 5000, completion_tokens = 100, total_tokens = 5900 }
counts = [5000, 900, 0]

[deepseek]
refusal = "The `reasoning_content` in the thinking mode must be passed back to the API."
says = "wants the thinking before each call"
id = "call_00_{}"
usage = { prompt_tokens = 5000, completion_tokens = 300, prompt_cache_hit_tokens = 800 }
counts = [5000, 300, 800]

[kimi]
refusal = "thinking is enabled but reasoning_content is missing in assistant tool call message"
says = "wants the thinking before each call"
id = "functions.bash:{}"

[mistral]
refusal = "Tool call id was functions.bash:1 but must be a-z, A-Z, 0-9, with a length of 9."
says = "wants ids of nine letters or digits"
id = "abcdefgh{}"

[only_streams]
refusal = "Stream must be set to true"
says = "answers only in a stream"

[streams_unasked]

[vllm_loops]
id = "chatcmpl-tool-{}"

[ollama_cuts]
says = "counts less than half of a request"
usage = { prompt_tokens = 40, completion_tokens = 100, total_tokens = 140 }
counts = [40, 100, 0]

[groq_slips]
refusal = "tool_use_failed: Failed to call a function."
""").items()}
SETTINGS = """
[judge]
models = ["m"]
[prices]
m = { in = 10.0, out = 100.0, cached = 1.0 }
"""


@pytest.fixture(params=VENDORS)
def vendor(request, fake_llm):
    """Let the fake answer as an endpoint of VENDORS: with a call where there are tools, up to three
    in a conversation, else with a verdict."""
    name, row = request.param, VENDORS[request.param]

    def reply(asked: Request):
        if not paid(name, [asked]):
            return Status(400, [{"error": {"code": 400, "message": row["refusal"]}}])
        step = sum(map(bool, map(own, turns(asked))))
        message, reason = {"content": verdict()}, "stop"
        if name == "vllm_loops" and "response_format" in asked.body:
            message, reason = {"content": "{" + " \n" * 600}, "length"
        elif "tools" in asked.body and step < 3:
            message = {**calls(command=f"echo step {step}"), "reasoning_content": f"thought {step}"}
            message["tool_calls"][0] |= {
                "id": row["id"].format(step),
                "extra_content": {"google": {"thought_signature": f"signed {step}"}}}
        whole = {"choices": [{"message": message, "finish_reason": reason}], "usage": row["usage"]}
        is_stream = name == "streams_unasked" or asked.body.get("stream")
        return streamed(whole) if is_stream else whole
    fake_llm.always(reply)
    return name


def paid(vendor: str, requests: list[Request]) -> list[Request]:
    refused = REFUSED.get(vendor, lambda request: False)
    return [one for one in requests if not refused(one)]


NAMES = "p_1", "p_2", "p_3"


def test_no_item_of_king_and_validate_is_lost_and_none_paid_twice(vendor, fake_llm, tmp_path):
    tmp_path.with_model(fake_llm, SETTINGS, workers=1)
    write_json(tmp_path / "prompt/p.json", [
        a_prompt(n, messages=HISTORY, tools=TOOLS, assistant=calls(command="make"))
        for n in (1, 2, 3)])
    says = VENDORS[vendor]["says"]
    printed = run_main(king.main, tmp_path)
    assert [line[:len(says)] for line in printed.split("king  m ")[1:]] == [says] * bool(says)
    assert len(paid(vendor, fake_llm.requests)) == 3
    for name in NAMES:
        made = read_answer(tmp_path, name)["king"]
        assert set(made["tool_calls"][0]) == {"id", "type", "function"}
        assert "thought" not in json.dumps(made)
        edit(tmp_path / f"answer/{name}.json", challenger=calls(command="pwd"))
    for main in (validate.main, validate.main, king.main):
        run_main(main, tmp_path)
        assert all(score(tmp_path, name)["parse_ok"] for name in NAMES)
    n_paid = 15 if vendor == "vllm_loops" else 9
    assert len(paid(vendor, fake_llm.requests)) == n_paid
    n_in, n_out, n_cached = VENDORS[vendor]["counts"]
    a_call = ((n_in - n_cached) * 10 + n_out * 100 + n_cached) / 1e6
    assert spent_usd(tmp_path) == pytest.approx(n_paid * a_call)


def run_agent(fake_llm, root, steps: int, **options) -> AgentResult:
    with Models(settings_for(fake_llm)) as models, item_calls(root), SandboxLocal() as box:
        client = models.client("king")
        client.ask([{"role": "user", "content": f"No tools, {steps}."}])
        return Agent("You act.", [ToolBashExecutor()], client, box, max_iterations=steps,
                     **options).run("do it")


def test_what_belongs_to_an_agents_own_calls_goes_back_also_after_a_kill(vendor, fake_llm,
                                                                         tmp_path):
    for steps in (2, 9):   # the first run ends after two steps, as if it was killed
        ended = run_agent(fake_llm, tmp_path, steps)
    assert (ended.status, ended.protocol) == ("success", "native"), ended.error
    # none was paid twice: three calls, and a text that is asked for once more
    assert len([one for one in paid(vendor, fake_llm.requests) if "tools" in one.body]) == 5
    assert [set(one["tool_calls"][0]) for one in ended.messages if "tool_calls" in one] == [
        {"id", "type", "function"}] * 3


@pytest.mark.parametrize("name, sentence", rows("""
thinking | Missing `reasoning_content` field in the assistant message at message index 4. For more
ids      | Tool call IDs should be alphanumeric strings with length 9!
-        | Extra inputs are not permitted: reasoning_content
-        | messages.2: property 'reasoning_content' is unsupported
"""))
def test_sentences_of_refusals_are_known(name, sentence):
    assert [one for one, cure in CURES.items() if cure.refusal.search(sentence)] == (
        [name] if name != "-" else [])


def test_thinking_with_half_a_character_goes_back(tmp_path, fake_llm):
    thought = {"message": {**calls(command="ls"), "reasoning_content": "why \ud83d"}}
    fake_llm.script({"choices": [thought], "usage": USAGE},
                    Status(400, "The `reasoning_content` must be passed back"),
                    Status(400, "temperature is not supported"))
    with Models(settings_for(fake_llm)) as models, item_calls(tmp_path):
        client = models.client("king")
        reply = client.ask(HISTORY, tools=TOOLS)
        client.ask([*HISTORY, asks(*reply.tool_calls)], tools=TOOLS)
        fake_llm.script({"choices": [{"message": calls(id="\ud83d", command="ls")}]})
        assert client.ask([{"role": "user", "content": "an odd id"}]).tool_calls
    assert turns(fake_llm.requests[-2])[-1]["reasoning_content"] == "why \ud83d"


def test_an_id_that_the_history_has_tells_no_call(tmp_path, fake_llm):
    again = {"message": {**calls(id="call_of_another", command="ls"), "reasoning_content": "mine"}}
    refusal = Status(400, "The `reasoning_content` must be passed back")
    fake_llm.script({"choices": [again], "usage": USAGE}, refusal)
    with Models(settings_for(fake_llm)) as models, item_calls(tmp_path):
        for n in (1, 2):
            models.client("king").ask([*HISTORY, {"role": "user", "content": str(n)}], tools=TOOLS)
    assert turns(fake_llm.requests[-1])[0]["reasoning_content"] == " "


def test_an_account_without_quota_ends_every_role_with_the_endpoints_sentence(fake_llm, tmp_path):
    sentence = "You exceeded your current quota."
    fake_llm.always(Status(429, {"error": {"message": sentence, "code": "insufficient_quota"}}))
    tmp_path.with_model(fake_llm, SETTINGS).with_prompts(1).with_answers(1)
    for main in (king.main, validate.main, TRY_MODEL):
        assert sentence in run_main(main, tmp_path, *["m"] * (main is TRY_MODEL), code=2)
    with Models(settings_for(fake_llm)) as models, pytest.raises(RunStopped, match=sentence):
        Agent("You act.", [ToolBashExecutor()], models.client("king"), None).run("do it")
    assert fake_llm.n_requests == 4


def test_try_model_shows_a_native_call_and_its_second_step(vendor, fake_llm, tmp_path, capsys):
    assert TRY_MODEL(["m", *flags_for(fake_llm)]) == 0
    printed = capsys.readouterr().out
    assert printed.count(""""I look." and call bash {"command": "echo step""") == 2
    assert ("stream = true" in printed) == (vendor == "only_streams")
    assert len(paid(vendor, fake_llm.requests)) == 3 and not [*tmp_path.iterdir()]


@pytest.mark.parametrize("code, shown, replies", [
    (1, "--reasoning-parser", [Say("", "hm")]),
    (1, "raise [king] max_tokens", [truncated("")]),
    (1, "no results", [OK, OK, Status(400, "no results")]),
    (0, "m does not support tools", [OK, Status(400, "m does not support tools")]),
    (0, "--tool-call-parser", [OK, "I would run ls."])])
def test_try_model_gives_advice(fake_llm, tmp_path, capsys, code, shown, replies):
    fake_llm.script(*replies)
    printed = run_main(TRY_MODEL, tmp_path, "m", *flags_for(fake_llm), code=code)
    assert shown in printed + capsys.readouterr().out and fake_llm.n_requests == len(replies)


@pytest.mark.parametrize("text, usage", [
    ("short" * 900, {}), ("-" * 9000, {}), ("\u0926\u0927" * 2500, {}),
    (words("long", 2000), {"prompt_tokens_details": {"cached_tokens": 3000}}),
    (words("long", 2000), {"cache_creation_input_tokens": 3000})])
def test_a_request_that_may_have_few_tokens_is_not_called_cut(fake_llm, capsys, text, usage):
    fake_llm.always(Say("ok", usage={"prompt_tokens": 100, "completion_tokens": 1, **usage}))
    with Models(settings_for(fake_llm)) as models:
        models.client("king").ask([{"role": "user", "content": text}], tools=TOOLS * 50)
    assert not capsys.readouterr().err


def test_a_sources_thinking_goes_to_an_endpoint_that_wants_it(fake_llm, tmp_path):
    tmp_path.with_model(fake_llm)
    history = [FOREIGN[0], {**FOREIGN[1], "reasoning_content": "A list helps."}, *FOREIGN[2:]]
    write_json(tmp_path / "prompt/p.json", [
        a_prompt(1, messages=history, tools=TOOLS, assistant=calls(command="make"))])
    fake_llm.script(Status(400, "The `reasoning_content` must be passed back"))
    fake_llm.always({"choices": [{"message": calls(command="ls")}], "usage": USAGE})
    run_main(king.main, tmp_path)
    assert [one.get("reasoning_content") for request in fake_llm.requests
            for one in turns(request)] == [None, "A list helps."]


HERMES = '<tool_call>\n{"name": "bash", "arguments": {"command": "ls"}}\n</tool_call>'
QWEN = ("<tool_call>\n<function=bash>\n<parameter=command>\nls\n</parameter>\n</function>\n"
        "</tool_call>")
KIMI = ("<|tool_calls_section_begin|><|tool_call_begin|>functions.bash:0"
        '<|tool_call_argument_begin|>{"command": "ls"}<|tool_call_end|><|tool_calls_section_end|>')


@pytest.mark.parametrize("text", [HERMES, QWEN, KIMI])
def test_calls_that_a_server_leaves_in_the_text_are_read(text, fake_llm, tmp_path):
    tmp_path.with_model(fake_llm, workers=1)
    odd = {"function": {"name": "odd", "parameters": {"properties": {"any": True}}}}
    write_json(tmp_path / "prompt/p.json", [
        a_prompt(n, messages=FOREIGN, tools=[*TOOLS, odd], assistant=calls(command="make"))
        for n in (1, 2)])
    fake_llm.always(f"I look.\n{text}")
    assert run_main(king.main, tmp_path).count("--tool-call-parser") == 1
    made = read_answer(tmp_path, "p_1")["king"]
    assert made["content"] == "I look."
    assert made["tool_calls"][0]["function"] == {"name": "bash", "arguments": '{"command": "ls"}'}
    for steps in (2, 3):   # the kept replies are read again, with the same ids
        ended = run_agent(fake_llm, tmp_path, steps)
    assert len({one["tool_calls"][0]["id"] for one in turns(ended)}) == 3
    assert fake_llm.n_requests == 2 + 3 + 2


@pytest.mark.parametrize("text", [
    f"So:\n```\n{HERMES}\n```", f"```\n{KIMI}", f"`{QWEN}`", f"{HERMES} is the form.",
    HERMES.replace("bash", "zsh"), QWEN.replace("</function>", "")])
def test_a_text_that_shows_a_call_is_a_text(text, fake_llm):
    fake_llm.always(text)
    with Models(settings_for(fake_llm)) as models:
        reply = models.client("king").ask(FOREIGN, tools=TOOLS)
    assert (reply.text, reply.tool_calls) == (text, [])


@pytest.mark.parametrize("wanted", [True, False])
def test_thinking_that_goes_back_counts_for_the_limit_of_an_agent(wanted, fake_llm, tmp_path):
    def answer(asked: Request):
        if wanted and not all("reasoning_content" in one for one in turns(asked)):
            return Status(400, "The `reasoning_content` must be passed back")
        n = len(turns(asked))
        return Say("", "x" * 3000, (("bash", {"command": f"printf '%2000s' {n}"}),))
    fake_llm.always(answer)
    for steps in (4, 5):
        ended = run_agent(fake_llm, tmp_path, steps, max_context_tokens=5000)
    assert bool(ended.left_out) == wanted
    assert len(fake_llm.answered) == 5 + 2   # none was paid twice
