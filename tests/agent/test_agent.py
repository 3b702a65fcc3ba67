"""Test every way through the agent's loop, with scripted models and commands that are run."""
import json
import time
from pathlib import Path

import pytest
from conftest import KEY, REPO, everything_under, item_calls, settings_for
from fake_llm import CUT, FakeLLM, Say, Status
from projects import docker
from root import read_json
from scenario import Scenario
from steps_seen import StepsSeen

from codedata import (
    SCRIPT_BASH_FUNC,
    Agent,
    AgentResult,
    LLMServerHTTP,
    SandboxDocker,
    SandboxLocal,
    ToolBashExecutor,
)
from codedata.agent import Failed, Stop, stop, view_file
from codedata.agent.react_loop import usage_of
from codedata.errors import RunStopped, Trouble
from codedata.llm import Models
from codedata.run.talk import showing

PAGE = (REPO / "docs/agents.md").read_text()
EXAMPLE = '''
from codedata import Agent, LLMServerHTTP, SandboxLocal, SCRIPT_BASH_FUNC, ToolBashExecutor
sandbox = SandboxLocal(python_bin="python3", scripts=[SCRIPT_BASH_FUNC])
llm_server = LLMServerHTTP(base_url="https://api.example.com/v2", model="your-model-name")
agent = Agent(system_prompt="You are a helpful coding assistant.", tools=[ToolBashExecutor()], llm_server=llm_server, sandbox=sandbox)
result = agent.run("List all Python files under /tmp")
print(result.to_dict())
sandbox.close()
'''  # noqa: E501
PRICE = '[prices]\nm = { in = 10.0, out = 50.0 }\n'   # with the fake's usage: $0.002 a call


@pytest.fixture(autouse=True)
def _quick(tmp_path):
    """Let every test of calls retry without waiting."""
    tmp_path.with_settings()


@pytest.fixture
def sandbox():
    with SandboxLocal(scripts=[SCRIPT_BASH_FUNC]) as box:
        yield box


def run(model: FakeLLM, sandbox, task: str = "do it", tools=(), **options):
    """Run an agent with bash (and `tools`); return its result."""
    server = LLMServerHTTP(base_url=model.base_url, model="m")
    return Agent("You act.", [ToolBashExecutor(), *tools], server, sandbox, **options).run(task)


def play(scenario: str | dict, sandbox, *args, **options):
    with Scenario(scenario if isinstance(scenario, dict) else f"{scenario}.json") as model:
        return run(model, sandbox, *args, **options)


def scene(*replies, **more) -> dict:
    """Return a scenario of these replies, in either protocol."""
    return {"scenes": [{"native": list(replies), "text": list(replies)}], **more}


def bash(command: str) -> dict:
    return {"calls": [["bash", {"command": command}]]}


SUBMIT = {"calls": [["submit", {"answer": "x"}]]}


def submit(answer: str) -> Stop | Failed:
    """Hand in a number.

    answer: a number
    """
    return Stop(answer) if answer.isdecimal() else Failed("not handed in: no number")


def check(result: AgentResult, **expected) -> None:
    """Check fields of a result."""
    assert {name: getattr(result, name) for name in expected} == expected, result.error


def observations(result) -> list[str]:
    return [m["content"] for m in result.messages if m["role"] == "tool"]


# what comes of it --------------------------------------------------------------------------------

def test_the_example_of_the_docs_runs_as_it_stands_and_has_all_that_was_said(capsys):
    with Scenario("list_files.json") as model:
        assert EXAMPLE.strip() in PAGE
        exec(EXAMPLE.replace("https://api.example.com/v2", model.base_url), said := {})
        assert [tool["function"]["name"] for tool in model.requests[0].body["tools"]] == ["bash",
                                                                                          "submit"]
    result = said["result"]
    check(result, status="success", answer="These are the Python files.", error="", iterations=2,
          malformed=0, protocol="native", handed_in=True)
    assert eval(capsys.readouterr().out) == result.to_dict()
    assert not Path(said["sandbox"].workdir).exists()
    assert [m["role"] for m in result.messages] == ["system", "user", "assistant", "tool",
                                                    "assistant"]
    assert result.messages[1]["content"] == "List all Python files under /tmp"
    call, answer = result.messages[2]["tool_calls"][0], result.messages[3]
    assert call["function"]["name"] == "bash" and answer["tool_call_id"] == call["id"]
    assert result.usage.pop("seconds") > 0   # an unknown price is not 0
    used = {"calls": 2, "tokens_in": 200, "tokens_out": 40, "cost_usd": None}
    assert result.usage.items() >= used.items()


def test_max_iteration_is_the_end_without_an_answer(sandbox):
    result = play("endless", sandbox, max_iterations=6)
    check(result, status="max_iteration", iterations=6, answer="")
    # an action that works is not interrupted
    assert "6 replies" in result.error and sandbox.run("wc -l < log").output == "6\n"


def test_a_tool_that_stops_ends_the_run_and_what_stood_behind_it_is_not_run(sandbox):
    result = play("gives_up", sandbox, tools=[stop])
    check(result, status="tool_stop", answer="There is no network.",
          error="the tool stop asked to stop")
    assert sandbox.run("ls").output == ""


@pytest.mark.parametrize("limit, error",
                         [({"max_tokens": 300}, "max_tokens is reached: 360 of 300"),
                          ({"max_usd": 0.005}, "max_usd is reached: 0.006 of 0.005")])
def test_a_limit_is_a_tool_stop_that_names_it(tmp_path, sandbox, limit, error):
    tmp_path.with_settings(more=PRICE)
    result = play("endless", sandbox, **limit)
    check(result, status="tool_stop", iterations=3)
    assert error in result.error and result.usage["cost_usd"] == pytest.approx(0.006)
    assert usage_of([{"cost_usd": 0.1}] * 3)["cost_usd"] == 0.3   # no digits of binary fractions


def test_the_limit_of_seconds_ends_a_running_command(sandbox):
    started = time.monotonic()
    result = play(scene(bash("echo begun; sleep 60")), sandbox, max_seconds=2)
    assert time.monotonic() - started < 30 and result.cause == "seconds"
    assert result.status == "tool_stop" and "max_seconds is reached" in result.error
    assert "begun" in result.messages[-1]["content"]


def test_a_limit_in_usd_cannot_be_kept_without_a_price(sandbox):
    result = play("endless", sandbox, max_usd=1.0)
    assert (result.status, result.iterations) == ("error", 1) and "price" in result.error


@pytest.mark.parametrize("reply", [Status(401, "no"), CUT])
def test_what_ends_more_than_a_run_is_raised_and_the_trajectory_says_running(
        tmp_path, sandbox, fake_llm, reply):
    fake_llm.always(reply)
    if reply is CUT:
        fake_llm.close()
    with pytest.raises(RunStopped):
        run(fake_llm, sandbox, trajectory=tmp_path / "t.json")
    assert not (tmp_path / "t.json").exists()


# an answer in prose ------------------------------------------------------------------------------

PROSE = "There are no Python files."


@pytest.mark.parametrize("protocol", ["auto", "native", "text"])
def test_a_model_that_simply_answers_has_answered_once_it_was_told_how_to_hand_in(
        sandbox, protocol):
    result = play(scene("Let me see.", {"after": "hand it in", "text": PROSE}), sandbox,
                  protocol=protocol)
    check(result, status="success", answer=PROSE, handed_in=False, error="", iterations=2,
          malformed=0)
    assert [m["role"] for m in result.messages[2:]] == ["assistant", "user", "assistant"]
    # auto may go on in text
    assert ("```bash" in result.messages[3]["content"]) is (protocol != "native")


@pytest.mark.parametrize(
    "act", [bash("ls"), {"calls": [["bsh", {}]]}, {"calls": [["bash", "{"]]}, "```bash\nls",
            {"text": "I go on", "finish_reason": "length"}, {"text": ""}])
def test_only_two_replies_in_prose_in_a_row_are_an_answer(sandbox, act):
    result = play(scene(PROSE, act, PROSE, act, SUBMIT), sandbox, protocol="native")
    check(result, status="success", answer="x", handed_in=True, iterations=5)


@pytest.mark.parametrize("scenario, protocol", [
    ("nonsense", "native"),
    *((scene(block), "text") for block in ("T\n\n```bash\nls", "```bash\n\n```", "```sh\nls\n```",
                                           2 * "```bash\na\n```\n"))],
    ids=["native", "open", "empty", "sh", "two"])
def test_nothing_but_malformed_replies_is_an_error_and_no_answer(sandbox, scenario, protocol):
    result = play(scenario, sandbox, protocol=protocol)
    check(result, status="error", iterations=8, malformed=8)
    assert "8 malformed replies in a row" in result.error


def printed(answer: str) -> str:
    return f"T\n\n```bash\nprintf 'COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT\\n{answer}\\n'\n```"


@pytest.mark.parametrize("protocol, refused, last", [
    ("native", ["So.", "many"], "7"), ("text", [printed("many")], printed("7"))])
def test_submit_may_refuse_an_answer(sandbox, protocol, refused, last):
    result = play(scene(*refused, {"after": "no number", "text": last}), sandbox, tools=[submit],
                  protocol=protocol)
    check(result, status="success", answer="7", handed_in=protocol == "text",
          iterations=len(refused) + 1)


# malformed ---------------------------------------------------------------------------------------

def test_every_malformed_call_is_answered_with_what_was_wrong_and_counted(sandbox):
    result = play("malformed", sandbox)     # the scenario itself says what each answer has to hold
    check(result, status="success", malformed=6, iterations=9)
    # no call is in the history that an endpoint cannot read
    calls = [call for m in result.messages for call in m.get("tool_calls", ())]
    assert all(isinstance(json.loads(call["function"]["arguments"]), dict) for call in calls)
    answered = [m["tool_call_id"] for m in result.messages if m["role"] == "tool"]
    assert answered == [call["id"] for call in calls][:-1]   # all but submit


def test_one_bad_call_among_good_ones_is_the_only_one_that_is_not_run_and_ends_nothing(sandbox):
    calls = [["bash", {"command": "echo one"}], ["bsh", {}], ["bash", {"command": "echo three"}]]
    result = play(scene({"calls": calls}), sandbox, max_iterations=12)
    check(result, status="max_iteration", malformed=12)
    assert ["one" in o or "three" in o for o in observations(result)] == [True, False, True] * 12


@pytest.mark.parametrize("protocol", ["native", "text"])
def test_a_reply_that_was_cut_is_not_acted_on_and_told_so(sandbox, protocol):
    check(play("cut_short", sandbox, protocol=protocol), status="success", malformed=1)
    assert sandbox.run("ls").output == ""


# a NUL byte, half a character; nor what a terminal hides
def test_what_cannot_be_stored_is_in_no_message(sandbox):
    command = {"command": "printf 'a\\0b\\033[31mred\\033[0m 10%%\\r20%%\\rdone\\n'"}
    result = play(scene({"text": "a\x00\ud800", "calls": [["bash", command]]}, bash("echo \x00"),
                        bash("echo \udfff"), SUBMIT), sandbox, "do\x00 it \ud83d")
    text = json.dumps(result.to_dict(), ensure_ascii=False)
    assert text.encode() and "\x00" not in text
    # as a terminal shows it
    assert observations(result)[0] == "<returncode>0</returncode>\n<output>\ndone\n</output>"
    assert "NUL byte" in observations(result)[1] and "surrogate" in observations(result)[2]
    check(result, status="success", malformed=2)


def odd(error: str) -> str:
    """Raise something.

    error: what
    """
    raise RunStopped("is over") if error == "stop" else ValueError(error)


SLIPS = {
    "exception": (["odd", {"error": "a\x1b[31m"}], "odd failed: ValueError: a\\x1b[31m"),
    "9 MB": (["bash", {"command": "#" * 9_000_000}], "200,000 characters"),
    "600 levels": (["bash", {"command": json.loads("[" * 600 + "]" * 600)}], "not [[["),
    "64 bit": (["bash", {"command": "true", "timeout_s": 2**70}], "<returncode>0")}


@pytest.mark.parametrize("call, told", SLIPS.values(), ids=SLIPS)
def test_a_slip_is_answered_and_the_run_goes_on(tmp_path, call, told):
    with Scenario(scene({"calls": [call]}, bash("echo on"), SUBMIT)) as model:
        first, second = (run_item(tmp_path, model, tools=[odd]) for _ in range(2))
        assert model.n_requests == 3   # the second was paid by the first
    check(first, status="success", error="", messages=second.messages)
    assert second.usage["calls"] == 3
    answer, after = observations(first)
    assert told in answer and "on\n" in after and len(json.dumps(first.messages)) < 5_000


def test_what_stops_more_than_a_tool_is_no_answer(sandbox):
    with pytest.raises(RunStopped):
        play(scene({"calls": [["odd", {"error": "stop"}]]}), sandbox, tools=[odd])


# loops -------------------------------------------------------------------------------------------

def test_the_same_failing_action_is_interrupted_with_advice_the_third_time(sandbox):
    result = play("stubborn", sandbox)
    # the scenario counts: it was run 3 times, not 4
    assert result.status == "success", result.error
    assert ["is not run again" in text for text in observations(result)] == [False, False, True,
                                                                             True, False]


# the text protocol -------------------------------------------------------------------------------

def test_text_where_the_endpoint_refuses_tools(sandbox):
    result = play("no_tools", sandbox)
    check(result, status="success", protocol="text", malformed=3, tools=[],
          answer="The folder is sub.\nIt is new.")
    # directory and environment stay between commands
    assert "me in sub" in result.messages[-2]["content"]
    assert {m["role"] for m in result.messages} == {"system", "user", "assistant"}
    assert result.messages[0]["content"].startswith("You act.\n\n")
    assert "```bash" in result.messages[0]["content"]


@pytest.mark.parametrize("refusal", [Status(400, '{"error": "tools are not supported"}'),
                                     Status(404, "No endpoints found that support tool use"),
                                     Status(422, "tools: extra fields not permitted"),
                                     Status(500, "tools param requires --jinja flag")])
def test_refusals_as_servers_put_them(sandbox, fake_llm, refusal):
    turn = "THOUGHT: done\n\n```bash\necho COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT\n```"
    fake_llm.always(lambda request: refusal if "tools" in request.body else turn)
    assert run(fake_llm, sandbox).status == "success"
    fake_llm.always(Status(refusal.code, "model `m` does not exist"))   # of something else
    n_before, result = fake_llm.n_requests, run(fake_llm, sandbox)
    check(result, status="error", protocol="native")
    assert refusal.code == 500 or fake_llm.n_requests == n_before + 1


@pytest.mark.parametrize("first, iterations, malformed", [("prose", 3, 0), ("empty", 4, 2)])
def test_text_where_the_model_never_calls(sandbox, first, iterations, malformed):
    result = play("silent", sandbox, task=first)
    check(result, status="success", protocol="text", iterations=iterations, malformed=malformed)
    # the trajectory is one in text from its beginning
    assert "tool" not in json.dumps(result.messages)


def test_text_at_once_where_the_model_speaks_it_already(sandbox):
    turn = "THOUGHT: I look.\n\n```bash\necho found it\n```"
    done = "THOUGHT: Done.\n\n```bash\necho COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT\n```"
    result = play({"scenes": [{"native": [turn],
                               "text": [turn, {"after": "found it", "text": done}]}]}, sandbox)
    check(result, status="success", protocol="text", iterations=2, malformed=0)
    assert result.messages[2]["content"] == turn and "```bash" in result.messages[0]["content"]


def test_a_task_can_be_given_up_in_text_where_there_is_a_tool_for_it(sandbox):
    turn = "T\n\n```bash\nprintf 'TASK_CANNOT_BE_COMPLETED\\nThe database is not here.\\n'\n```"
    result = play(scene(turn), sandbox, tools=[stop], protocol="text")
    check(result, status="tool_stop", answer="The database is not here.")
    assert "TASK_CANNOT_BE_COMPLETED" in result.messages[0]["content"]
    without = play(scene(turn), sandbox, protocol="text")
    assert "CANNOT" not in without.messages[0]["content"]


def test_native_stays_native_when_it_is_asked_for(sandbox):
    result = play("silent", sandbox, task="empty", protocol="native", max_iterations=5)
    check(result, status="max_iteration", protocol="native", malformed=5)
    assert "tool" in play("no_tools", sandbox, protocol="native").error


def test_the_setting_of_a_role_is_its_agents_protocol(fake_llm):
    with Models(settings_for(fake_llm, protocol="text")) as models:
        assert Agent("s", [ToolBashExecutor()], models.client("solve"), None).protocol == "text"


def test_what_is_shown_hands_in_nothing_and_what_is_too_long_or_thought_is_no_turn(sandbox):
    sandbox.put({"notes": b"COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT\nnot an answer\n"},
                sandbox.workdir)
    result = play(scene("<think>so</think>T\n\n```bash\ncat notes; echo '</think>'\n```",
                        f"T\n\n```bash\n#{'x' * 9_000_000}\n```"), sandbox, protocol="text",
                  max_iterations=2)
    check(result, status="max_iteration", malformed=1)
    assert result.messages[2]["content"].startswith("T\n\n") and (
        "</think>" in result.messages[3]["content"])


def test_the_text_protocol_needs_bash(sandbox):
    with pytest.raises(Trouble, match="bash"):
        Agent("s", [view_file], None, sandbox, protocol="text")
    with pytest.raises(Trouble, match="auto, native, text"):
        Agent("s", [], None, sandbox, protocol="xml")
    with pytest.raises(Trouble, match="two tools of one name"):
        Agent("s", [view_file, view_file], None, sandbox)


# context -----------------------------------------------------------------------------------------

def test_a_long_output_loses_its_middle_and_lies_whole_in_the_sandbox_or_says_so(sandbox):
    result = play("long", sandbox, max_output_chars=2000)
    # read from the file that was named
    check(result, status="success", answer="1499")
    first = observations(result)[0]
    assert len(first) < 2200 and "1499" not in first
    for part in ("1001", "1998", "left out"):
        assert part in first
    sandbox.run("rm -r ~/agent_output; touch ~/agent_output")
    result = play(scene(bash("seq 9999"), SUBMIT), sandbox)
    assert ("output_3.txt (it is not: ~/agent_output/output_3.txt cannot be written"
            ) in observations(result)[0]
    assert result.status == "success"


def test_old_observations_alone_are_left_out_of_requests_that_the_trajectory_makes_again(sandbox):
    with Scenario("long.json") as model:
        result = run(model, sandbox, max_context_tokens=6000)
    assert result.status == "success" and result.left_out
    assert {result.messages[o["message"]]["role"] for o in result.left_out} == {"tool"}
    assert len(observations(result)[0]) > 4000           # the trajectory has all of it
    at = [i for i, m in enumerate(result.messages) if m["role"] == "assistant"]
    for iteration, (end, request) in enumerate(zip(at, model.requests, strict=True), 1):
        out = {o["message"]: o["placeholder"] for o in result.left_out
               if o["from_iteration"] <= iteration}
        messages = request.body["messages"]
        assert sum(len(m["content"] or "") for m in messages) < 3 * 6000
        assert messages == [{**m, "content": out[i]} if i in out else m
                            for i, m in enumerate(result.messages[:end])]
    # what was left out can be read where its line says
    place = result.left_out[0]["placeholder"].rpartition(" ")[2].rstrip("]")
    assert sandbox.run(f"cat {place}").output == result.messages[result.left_out[0]["message"]][
        "content"]


def test_an_endpoint_with_a_shorter_context_is_asked_again_with_less(sandbox):
    result = play("short_context", sandbox)
    assert result.status == "success" and result.left_out, result.error


def test_a_context_that_is_too_short_for_the_task_is_an_error(sandbox):
    with Scenario(scene("x", context=10)) as model:
        result = run(model, sandbox, "a task of more than ten characters")
    assert result.status == "error" and "context length" in result.error and model.n_requests == 1


def test_an_item_shows_its_agent_s_turn_and_the_call_that_runs(sandbox):
    step = StepsSeen()
    with showing(step):
        play(scene(bash("printf '\x1b[2J'\n" + "true; " * 20), SUBMIT), sandbox)
    shown = [text for text in dict.fromkeys(step.seen) if ": " in text]
    first, call, *_, last = (text.removeprefix("turn 1 of at most 100: ") for text in shown)
    assert (first, last) == ("asking the model", "turn 2 of at most 100: submit x")
    assert call == rf"bash printf '\x1b[2J' {'true; ' * 7}"[:-1] + "…" and not step.within


# the trajectory ----------------------------------------------------------------------------------

def test_the_trajectory_is_on_disk_after_every_step(tmp_path, sandbox):
    path = tmp_path / "runs/t.json"
    look = {"calls": [["bash", {"command": f"cat {path}"}]]}
    result = play(scene(bash("true"), look, SUBMIT), sandbox, trajectory=path)
    seen = json.loads(observations(result)[1].partition("<output>\n")[2].removesuffix("</output>"))
    assert (seen["status"], seen["iterations"], seen["usage"]["calls"]) == ("running", 1, 1)
    assert seen["messages"] == result.messages[:4] and seen["tools"] == result.tools
    assert read_json(path) == result.to_dict()
    assert [p.name for p in path.parent.iterdir()] == ["t.json"]


def test_no_key_is_in_a_trajectory(tmp_path, sandbox, monkeypatch):
    monkeypatch.setenv("QIANFAN_BEARER_TOKEN", KEY)
    with Scenario(scene(bash("env"), {"status": 400, "body": f"bad {KEY}"})) as model:
        result = run(model, sandbox, trajectory=tmp_path / "t/t.json")
        assert model.requests[0].headers["authorization"] == f"Bearer {KEY}"
    assert result.status == "error" and KEY not in everything_under(tmp_path / "t")


# calls of an item --------------------------------------------------------------------------------

def run_item(root: Path, model: FakeLLM, seed: bytes = b"", tools=(), **more) -> AgentResult:
    """Open an agent in a sandbox that asks as a role of a script, within an item of it."""
    with Models(settings_for(model)) as models, item_calls(root), SandboxLocal(
        scripts=[SCRIPT_BASH_FUNC]) as box:
        box.put({"seed": seed}, box.workdir)
        return Agent("You act.", [ToolBashExecutor(), *tools], models.client("king"),
                     box, **more).run("do it")


def test_where_an_observation_comes_out_otherwise_the_model_is_asked_anew(tmp_path):
    with Scenario(scene(bash("cat seed"), bash("true"), SUBMIT)) as model:
        run_item(tmp_path, model, b"1")
        run_item(tmp_path, model, b"2")
        assert model.n_requests == 3 + 2         # the first request was the same


def test_an_agent_goes_on_in_text_once_tools_are_refused_also_after_a_kill(tmp_path, fake_llm):
    def reply(request):
        n = sum(one["role"] == "assistant" for one in request.messages)
        if "tools" not in request.body:
            return f"T\n\n```bash\necho text {n}\n```" if n < 4 else (
                "T\n\n```bash\necho COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT; echo all\n```")
        return Status(404, "no endpoint supports tool use") if n == refused_at else Say(
            "", calls=tuple(("bash", {"command": f"echo call {n} {k}"}) for k in "ab"))
    fake_llm.always(reply)
    refused_at = 2
    run_item(tmp_path, fake_llm, max_iterations=4)   # as if it was killed behind the fourth
    refused_at = None   # the endpoint takes tools again
    result = run_item(tmp_path, fake_llm)
    check(result, status="success", answer="all", protocol="text", text_from=3, tools=[])
    assert fake_llm.n_requests == 5 + 1   # one was refused
    assert {m["role"] for m in result.messages} == {"system", "user", "assistant"}
    assert result.messages[2]["content"] == "```bash\necho call 0 a\necho call 0 b\n```"
    assert "call 1 b" in result.messages[5]["content"] and len(result.messages) == 2 + 9


def test_a_servers_fault_that_names_tools_is_no_refusal_of_them(tmp_path, fake_llm):
    fake_llm.script(Say("", calls=(("bash", {"command": "ls"}),)))
    fake_llm.always(Status(500, "FUNCTION_INVOCATION_FAILED"))
    check(run_item(tmp_path, fake_llm), status="error", protocol="native")


@pytest.mark.docker
def test_a_container_that_died_is_an_error_that_names_it():
    with SandboxDocker(image="debian:bookworm", scripts=[SCRIPT_BASH_FUNC],
                       run_label="test_agent") as box:
        docker("kill", box.id)
        result = play("endless", box)
    check(result, status="error", iterations=1)
    assert "the container ended" in result.error
    assert result.messages[-1]["role"] == "assistant"
