"""Test endpoints that refuse the usual form of a history with tool calls, as vendors do."""
import json

import pytest
from conftest import item_calls, read_answer, settings_for
from fake_judges import run_main
from fake_llm import USAGE, Request, Say, Status, streamed
from line_tables import rows
from root import a_prompt, write_json
from tool_turns import TOOLS, asks, call, calls, result

import king
from codedata.agent import Agent, AgentResult, ToolBashExecutor
from codedata.llm import Models
from codedata.llm.cures import CURES
from codedata.sandbox.local import SandboxLocal

FOREIGN = [{"role": "user", "content": "Fix it."},
           asks(call("bash", {"command": "ls"}, "call_of_another"),
                call("bash", {"command": "pwd"}, "functions.bash:1")),
           result("call_of_another", "a.py"), result("functions.bash:1", "/src")]
STAND_IN = {"google": {"thought_signature": "skip_thought_signature_validator"}}


def turns(request: Request | AgentResult) -> list[dict]:
    """Return the messages of a request, or of a result, that have calls."""
    return [one for one in request.messages if one.get("tool_calls")]


def own(message: dict) -> str:
    """Return the number in a command of the fake model, "" for a call of another model."""
    command = json.loads(message["tool_calls"][0]["function"]["arguments"])["command"]
    return command.removeprefix("echo step ") if command.startswith("echo step ") else ""


def gemini(request: Request) -> str:
    for one in turns(request):
        wanted = {"google": {"thought_signature": f"signed {own(one)}"}} if own(one) else STAND_IN
        if [call.get("extra_content") for call in one["tool_calls"]] != [
                wanted, *[None] * (len(one["tool_calls"]) - 1)]:
            return "Function call is missing a thought_signature in functionCall parts."
    return ""


def deepseek(request: Request) -> str:
    wanted = [f"thought {own(one)}" if own(one) else " " for one in turns(request)]
    return "" if wanted == [one.get("reasoning_content") for one in turns(request)] else (
        "The `reasoning_content` in the thinking mode must be passed back to the API.")


def mistral(request: Request) -> str:
    ids = [call["id"] for one in turns(request) for call in one["tool_calls"]]
    assert ids == [one["tool_call_id"] for one in request.messages if one["role"] == "tool"]
    assert len({*ids}) == len(ids)
    return next((f"Tool call id was {id} but must be a-z, A-Z, 0-9, with a length of 9."
                 for id in ids if len(id) != 9 or not id.isalnum()), "")


def gpt(request: Request) -> str:
    without = "tools" not in request.body
    assert not (without and "reasoning_effort" in request.body)
    return "" if without or request.body.get("reasoning_effort") == "none" else (
        "Function tools with reasoning_effort are not supported for gpt-5.4 in "
        "/v1/chat/completions. Please use /v1/responses instead.")


def only_streams(request: Request) -> str:
    return "" if request.body.get("stream") else "Stream must be set to true"


SAYS = {gemini: "wants each call signed", deepseek: "wants the thinking before each call",
        mistral: "wants ids of nine letters or digits", gpt: "takes tools only without thinking",
        only_streams: "answers only in a stream"}


@pytest.fixture(params=SAYS, ids=lambda vendor: vendor.__name__)
def vendor(request, fake_llm):
    """Let the fake endpoint answer as a vendor: three calls in a conversation, then a text."""
    def answer(asked: Request):
        if problem := request.param(asked):
            return Status(400, [{"error": {"code": 400, "message": problem}}])
        step = sum(map(bool, map(own, turns(asked))))
        message = {**calls(command=f"echo step {step}"), "reasoning_content": f"thought {step}"}
        ids = {gemini: "", mistral: f"abcdefgh{step}"}
        message["tool_calls"][0] |= {
            "id": ids.get(request.param, f"functions.bash:{step}"),
            "extra_content": {"google": {"thought_signature": f"signed {step}"}}}
        if step == 3:
            message = {"content": "It is done."}
        whole = {"choices": [{"message": message, "finish_reason": "stop"}], "usage": USAGE}
        return streamed(whole) if asked.body.get("stream") else whole
    fake_llm.always(answer)
    return request.param


def test_a_refused_history_is_sent_as_the_endpoint_wants_it(vendor, fake_llm, tmp_path):
    tmp_path.with_model(fake_llm, workers=1)
    write_json(tmp_path / "prompt/p.json", [
        a_prompt(n, messages=FOREIGN, tools=TOOLS, assistant=calls(command="make"))
        for n in (1, 2, 3)])
    printed = run_main(king.main, tmp_path)
    assert printed.count(SAYS[vendor]) == 1 and "takes no tools" not in printed
    assert fake_llm.n_requests == 4   # one was refused
    made = read_answer(tmp_path, "p_2")["king"]
    assert set(made["tool_calls"][0]) == {"id", "type", "function"}
    assert "thought" not in json.dumps(made)
    run_main(king.main, tmp_path)
    assert fake_llm.n_requests == 4


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
    assert ended.status == "success", ended.error
    # none was paid twice: three calls, and a text that is asked for once more
    paid = [one for one in fake_llm.requests if "tools" in one.body and not vendor(one)]
    assert len(paid) == 5
    assert [set(one["tool_calls"][0]) for one in ended.messages if "tool_calls" in one] == [
        {"id", "type", "function"}] * 3


@pytest.mark.parametrize("name, sentence", rows("""
thinking | Missing `reasoning_content` field in the assistant message at message index 4. For more
thinking | thinking is enabled but reasoning_content is missing in assistant tool call message
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
                    Status(400, "The `reasoning_content` must be passed back"))
    with Models(settings_for(fake_llm)) as models, item_calls(tmp_path):
        client = models.client("king")
        reply = client.ask(FOREIGN, tools=TOOLS)
        client.ask([*FOREIGN, asks(*reply.tool_calls)], tools=TOOLS)
        fake_llm.script({"choices": [{"message": calls(id="\ud83d", command="ls")}]})
        assert client.ask([{"role": "user", "content": "an odd id"}]).tool_calls
    assert turns(fake_llm.requests[-2])[-1]["reasoning_content"] == "why \ud83d"


def test_an_id_that_the_history_has_tells_no_call(tmp_path, fake_llm):
    again = {"message": {**calls(id="call_of_another", command="ls"), "reasoning_content": "mine"}}
    refusal = Status(400, "The `reasoning_content` must be passed back")
    fake_llm.script({"choices": [again], "usage": USAGE}, refusal)
    with Models(settings_for(fake_llm)) as models, item_calls(tmp_path):
        for n in (1, 2):
            models.client("king").ask([*FOREIGN, {"role": "user", "content": str(n)}], tools=TOOLS)
    assert turns(fake_llm.requests[-1])[0]["reasoning_content"] == " "


HERMES = '<tool_call>\n{"name": "bash", "arguments": {"command": "ls"}}\n</tool_call>'
QWEN = ("<tool_call>\n<function=bash>\n<parameter=command>\nls\n</parameter>\n</function>\n"
        "</tool_call>")
KIMI = ("<|tool_calls_section_begin|><|tool_call_begin|>functions.bash:0"
        '<|tool_call_argument_begin|>{"command": "ls"}<|tool_call_end|><|tool_calls_section_end|>')


@pytest.mark.parametrize("text", [HERMES, QWEN, KIMI])
def test_calls_that_a_server_leaves_in_the_text_are_read(text, fake_llm, tmp_path):
    tmp_path.with_model(fake_llm, workers=1)
    write_json(tmp_path / "prompt/p.json", [
        a_prompt(n, messages=FOREIGN, tools=TOOLS, assistant=calls(command="make"))
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
