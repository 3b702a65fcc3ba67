"""Test replies of models: reasoning, wrong answers, usage; kept replies; keys that show nowhere."""
import json
import re

import pytest
from conftest import (
    KEY,
    answers,
    everything_under,
    flags_for,
    item_calls,
    kill_king_after,
    ledger_lines,
    read_answer,
    run_here,
    run_king,
    run_script,
    settings_for,
    spent_usd,
)
from fake_judges import verdict
from fake_llm import ABSENT, HTML, OK, Say, Status, truncated
from line_tables import rows
from root import json_lines, read_json

import ch
import king
from codedata.errors import HttpTrouble, ItemFailed
from codedata.llm import Models
from codedata.llm.asking import Rejected, object_in, read_reply, refuse_empty
from codedata.settings import Price

NO_BLOCK = "I would run ls."
TURN = "THOUGHT: I look.\n\n```bash\nls\n```"
ASK = [{"role": "user", "content": "p"}]


def answered(fake, root, read=refuse_empty, key="", **llm):
    """Return (reply, the calls that were paid for) of one request as the king."""
    with Models(settings_for(fake, key, **llm)) as models, item_calls(root) as calls:
        return read_reply(models.client("king"), ASK, read), calls.unbilled


def only_yes(reply):
    """Return a reply that says "yes"."""
    if refuse_empty(reply).text != "yes":
        raise Rejected("not yes")
    return reply


def refused(fake, root) -> int:
    """Return how many completions a request with a schema receives whose replies are no good."""
    before = len(fake.answered)
    with Models(settings_for(fake)) as models, item_calls(root) as calls:
        with pytest.raises(ItemFailed):
            read_reply(models.client("king"), ASK, only_yes, schema={"name": "s"})
        calls.finish(made=False)
    return len(fake.answered) - before


def short(value) -> str:
    return repr(value)[:40]


def failure(root) -> str:
    [line] = ledger_lines(root / "answer", state="failed")
    return line["error"]


def partial(root):
    return root / "answer/_partial/prompts_1_1_1.jsonl"


# what is in a reply ------------------------------------------------------------------------------

@pytest.mark.parametrize("message", json.loads("""[
    {"content": "I look", "reasoning": "hm"}, {"content": "I look", "reasoning_content": "hm"},
    {"content": [{"type": "text", "text": "I "}, {"type": "image_url"},
                 {"type": "text", "text": "look"}], "reasoning": "hm"}]"""), ids=short)
def test_an_answer_is_put_together_and_kept_apart_from_reasoning(tmp_path, fake_llm, message):
    fake_llm.script({"choices": [{"message": message, "finish_reason": "stop"}]})
    reply, _ = answered(fake_llm, tmp_path)
    assert (reply.text, reply.reasoning) == ("I look", "hm")


def test_reasoning_of_the_king_is_beside_its_answer_and_nothing_else_is_kept(tmp_path, fake_llm):
    tmp_path.with_prompts(1).with_commits(1)
    fake_llm.always(Say(TURN, reasoning="my secret plan"))
    assert run_king(tmp_path, fake_llm) == 0
    assert read_answer(tmp_path, "prompts_1_1_1")["king"] == TURN
    assert run_script("ch.py", tmp_path, *flags_for(fake_llm)).returncode == 0
    beside = tmp_path / "answer/_reasoning/prompts_1_1_1.json"
    assert read_json(beside) == {"king": "my secret plan"}
    beside.unlink()
    assert "my secret plan" not in everything_under(tmp_path)


@pytest.mark.parametrize("wrong", [
    "no", "", *map(Say, [None, " \n\t", [], [{"type": "image_url"}]]),
    Say([{"type": "text", "text": None}]), Say("", reasoning="I think long"),
], ids=short)
def test_an_empty_or_rejected_answer_is_asked_again_and_fails_the_item_after_two_more_tries(
        tmp_path, fake_llm, wrong):
    fake_llm.script(wrong, wrong, "yes")
    assert answered(fake_llm, tmp_path, only_yes)[0].text == "yes" and fake_llm.n_requests == 3
    fake_llm.always(wrong)
    with pytest.raises(ItemFailed, match="not yes" if wrong == "no" else "empty answer"):
        answered(fake_llm, tmp_path / "2", only_yes)
    assert fake_llm.n_requests == 6


def test_a_truncated_answer_is_recorded_and_no_turn(tmp_path, fake_llm):
    tmp_path.with_prompts(1)
    fake_llm.script(truncated(TURN), truncated(TURN))
    assert run_king(tmp_path, fake_llm) == 0
    [line] = ledger_lines(tmp_path / "answer", state="done")
    assert [call.get("truncated", False) for call in line["calls"]] == [True, True, False]


def test_thinking_that_used_up_max_tokens_is_called_truncated(tmp_path, fake_llm):
    """Check that max_tokens is named as what to mend: `empty answer` does not tell."""
    tmp_path.with_prompts(1)
    fake_llm.always(Say("", reasoning="I think and think", finish_reason="length"))
    assert run_king(tmp_path, fake_llm) == 1 and "max_tokens" in failure(tmp_path)


# a reply's usage: IN, OUT and OF are its keys | tokens in, out and cached that are booked
@pytest.mark.parametrize("usage, tokens", rows("""
{IN: 7, OUT: 3}                          | 7 3 0
{IN: 7.0, OUT: 3.0}                      | 7 3 0
{IN: 7, OUT: 3, OF: CACHED 5}}           | 7 3 5
{IN: 7, OUT: 3, OF: null}                | 7 3 0
{IN: 7, OUT: 3, OF: []}                  | 7 3 0
{IN: 7, OUT: 3, OF: "none"}              | 7 3 0
{IN: "7", OUT: true}                     | 7 None 0
{IN: HUGE, OUT: -3}                      | None None 0
{IN: "many", OUT: 3}                     | None 3 0
{"input_tokens": 7, "output_tokens": 3, "input_tokens_details": CACHED 5}} | 7 3 5
# Gemini's total alone counts its thinking; cached tokens are in the prompt's, or apart
{IN: 10, OUT: 1, TOTAL 19}                 | 10 9 0
{IN: 90, OUT: 1, TOTAL 99, OF: CACHED 70}} | 90 9 70
{IN: 90, OUT: 1, TOTAL 91, OF: CACHED 70}} | 90 1 70
{IN: 10, OUT: 1, TOTAL 81, OF: CACHED 70}} | 10 1 70
{IN: 10, OUT: 1, TOTAL 15, OF: CACHED 4}}  | 10 1 4
{IN: 368, OUT: 19, TOTAL 10923, "cache_read_input_tokens": 10536} | 368 19 0
{IN: 10, OUT: 1, TOTAL 101, "cache_creation_input_tokens": 90}    | 10 1 0
{IN: 10, OUT: 1, TOTAL 105, "cache_creation_input_tokens": 90}    | 10 5 0
{IN: NaN, OUT: Infinity}                 | None None 0
{IN: 7, OUT: 1000000000000000000, OF: CACHED HUGE}} | 7 None 0
null                                     | None None 0
absent                                   | None None 0
{}                                       | None None 0
[]                                       | None None 0
"x"                                      | None None 0
"""))
def test_usage_in_every_shape(tmp_path, fake_llm, usage, tokens):
    """It is booked under the model that was asked for: the served name may add a date."""
    for word, text in {"IN:": '"prompt_tokens":', "OUT:": '"completion_tokens":',
                       "OF:": '"prompt_tokens_details":', "CACHED": '{"cached_tokens":',
                       "TOTAL": '"total_tokens":', "HUGE": "1" + "0" * 300}.items():
        usage = usage.replace(word, text)
    usage = ABSENT if usage == "absent" else json.loads(usage)
    fake_llm.script(Say(TURN, usage=usage, model="m-2024-05-01"))
    reply, [call] = answered(fake_llm, tmp_path)
    assert (reply.text, call["model"]) == (TURN, "m")
    booked = call["tokens_in"], call["tokens_out"], call["tokens_cached"]
    assert [*map(str, booked)] == tokens.split()


NO_COMPLETIONS = """{"error": {"message": "overloaded"}}
{"choices": []}
{"choices": null}
{"choices": {}}
{"choices": [null]}
{"choices": ["x"]}
{"choices": [[]]}
{"choices": [{"message": null}]}
{"choices": [{"message": "x"}]}
{"choices": [{}]}
{"choices": [{"message": {"content": [{"text": 7}]}}]}
{"choices": [{"message": {"content": [["x"]]}}]}
{"choices": [{"message": {"content": ["x"]}}]}
{"choices": [{"message": {"content": {}}}]}
{"choices": [{"message": {"content": 7}}]}
[]
null"""


@pytest.mark.parametrize("body", [*NO_COMPLETIONS.split("\n"), "", HTML.body, b"\xff\xfe{",
                                  "[" * 100_000], ids=short)
def test_a_body_that_is_no_completion_is_asked_again_then_fails_the_item(tmp_path, fake_llm, body):
    fake_llm.script(Status(200, body))
    assert "THOUGHT" in answered(fake_llm, tmp_path)[0].text
    fake_llm.always(Status(200, body))
    with pytest.raises(HttpTrouble, match="without a chat completion"):
        answered(fake_llm, tmp_path / "2", retry_max=1)
    assert fake_llm.n_requests == 4


def spoilt(**message) -> dict:
    choice = {"message": {"content": TURN, **message}, "finish_reason": {}}
    return {"choices": [choice], "model": ["m"],
            "usage": {"prompt_tokens": 70, "completion_tokens": 30}}


def test_a_reply_of_the_wrong_shape_is_a_failed_call_that_stays_in_the_ledger(tmp_path, fake_llm):
    tmp_path.with_prompts(2)
    tmp_path.with_settings({"retry_max": 1, "model": "m"},
                           '[prices]\n"m" = { in = 1000.0, out = 1000.0 }\n')
    fake_llm.script(*[spoilt(content=7)] * 3)   # item 1 fails; item 2 is answered at its second try
    assert run_king(tmp_path, fake_llm) == 1 and "without a chat completion" in failure(tmp_path)
    lines = ledger_lines(tmp_path / "answer")
    paid = [[call["tokens_in"] for call in line["calls"]] for line in lines]
    assert paid == [[70, 70], [70, 100]]
    assert spent_usd(tmp_path) == pytest.approx(0.1 * 3 + 0.12)


def test_a_choice_that_ends_in_an_error_is_asked_for_again_and_a_filtered_one_fails_its_item(
        tmp_path, fake_llm):
    cut = spoilt()
    cut["choices"][0] |= {"finish_reason": "error", "error": {"code": 502, "message": "upstream"}}
    fake_llm.script(cut, Say(TURN, finish_reason="abort"))
    reply, calls = answered(fake_llm, tmp_path)
    assert "THOUGHT" in reply.text and [call["tokens_in"] for call in calls] == [70, 100, 100]
    fake_llm.script(Say(TURN, finish_reason="content_filter: PROHIBITED_CONTENT"))
    with Models(settings_for(fake_llm)) as models, item_calls(tmp_path / "2") as calls:
        with pytest.raises(HttpTrouble, match="content filter"):
            read_reply(models.client("king"), ASK)
    assert fake_llm.n_requests == 4 and len(calls.unbilled) == 1


@pytest.mark.parametrize("answer, keeps", [
    (truncated('{"win": ' + " \n" * 200), False), ("Both are good.", False), ('{"w": 1}', True)])
def test_a_reply_that_a_schema_has_spoilt_is_asked_for_again_without_it(tmp_path, fake_llm,
                                                                        answer, keeps):
    fake_llm.script(answer, '{"win": 1}')
    for _ in range(2):   # the second time with kept replies
        with Models(settings_for(fake_llm)) as models, item_calls(tmp_path) as log:
            assert read_reply(models.client("king"), ASK, one_win,
                              schema={"name": "s"}) == {"win": 1}
            assert len(log.to_count()) == 2
    assert ["response_format" in one.body for one in fake_llm.requests] == [True, keeps]


def one_win(reply):
    """Return the JSON object of a reply."""
    return object_in(reply.text, lambda one: "win" in one, "with a win")


DEEP = '[{"id": {}, "function": {"name": [1], "arguments": ' + "[" * 600 + "]" * 600 + "}}]"


@pytest.mark.parametrize(
    "tool_calls", ["7", '[7, {}, {"function": []}]', DEEP, "9" * 5_000], ids=short)
def test_what_nobody_reads_in_a_reply_may_have_any_shape(tmp_path, fake_llm, tool_calls):
    body = json.dumps(spoilt(tool_calls="HERE")).replace('"HERE"', tool_calls)
    fake_llm.script(Status(200, body))
    reply, [call] = answered(fake_llm, tmp_path)
    assert (reply.text, reply.finish_reason, reply.model, call["tokens_out"]) == (TURN, "", "", 30)


@pytest.mark.parametrize("code, says", [(400, "max_prompt_tokens"), (404, "ends in /v1"), (405, ""),
                                        (413, "max_prompt_tokens"), (422, "field")])
def test_a_refused_request_fails_its_item_at_once_and_says_what_to_mend(
        tmp_path, fake_llm, code, says):
    tmp_path.with_prompts(2)
    fake_llm.script(Status(code, {"error": "because"}))
    assert run_king(tmp_path, fake_llm) == 1 and len(answers(tmp_path)) == 1
    assert re.search(f"HTTP {code}.*because", failure(tmp_path)) and says in failure(tmp_path)
    assert fake_llm.n_requests == 2


# kept replies ------------------------------------------------------------------------------------

def test_after_a_kill_rejected_replies_are_tries_and_spoilt_ones_are_paid(
        tmp_path, fake_llm):
    tmp_path.with_prompts(1)
    kill_king_after(tmp_path, fake_llm, NO_BLOCK, NO_BLOCK, spoilt(content=7))
    fake_llm.script(NO_BLOCK)   # the third and last try
    assert run_king(tmp_path, fake_llm) == 1 and "3 tries" in failure(tmp_path)
    [line] = ledger_lines(tmp_path / "answer")
    assert [call["tokens_in"] for call in line["calls"]] == [100, 100, 70, 100]


def test_kept_replies_of_another_stage_survive(tmp_path, fake_llm):
    tmp_path.with_prompts(1).with_commits(1)
    run_king(tmp_path, fake_llm)
    fake_llm.script(NO_BLOCK, Status(400))
    assert run_here(ch.main, tmp_path, *flags_for(fake_llm)) == 1
    assert run_king(tmp_path, fake_llm, "--force") == 0
    assert {line["stage"] for line in json_lines(partial(tmp_path))} == {"ch"}
    n = fake_llm.n_requests
    fake_llm.script(NO_BLOCK, TURN)   # its tries 2 and 3
    assert run_here(ch.main, tmp_path, *flags_for(fake_llm)) == 0
    assert fake_llm.n_requests == n + 2
    assert read_answer(tmp_path, "prompts_1_1_1")["challenger"] == TURN


def test_refused_replies_can_be_looked_at_until_the_item_is_done(tmp_path, fake_llm, capsys):
    def kept() -> list:
        return [line["refused"]["text"] for line in json_lines(partial(tmp_path))]
    tmp_path.with_prompts(1)
    for text in ("one", "two"):
        fake_llm.script(*[text] * 3)
        assert run_king(tmp_path, fake_llm, "--model", "m") == 1 and kept() == [text] * 3
    fake_llm.script(Status(400))   # what was refused before is still the newest
    assert run_king(tmp_path, fake_llm) == 1 and kept() == ["two"] * 3
    assert spent_usd(tmp_path, {"m": Price(1e6, 0)}) == 100 * len(fake_llm.answered)
    capsys.readouterr()
    assert run_king(tmp_path, fake_llm, "--status") == 0
    assert "answer/_partial/prompts_1_1_1.jsonl" in capsys.readouterr().err
    failed = run_script("status.py", tmp_path, "--failed").stdout
    assert "answer/_partial/prompts_1_1_1.jsonl" in failed
    assert run_king(tmp_path, fake_llm) == 0 and not partial(tmp_path).exists()


# keys --------------------------------------------------------------------------------------------

def assert_hidden(root, *runs) -> None:
    assert not any(KEY in run.stdout + run.stderr for run in runs)
    assert KEY not in everything_under(root)


def echo(code):
    """Return a reply that repeats the key."""
    return lambda request: Status(code, request.headers["authorization"])


@pytest.mark.parametrize("reply", [*map(echo, [200, 400, 401, 500]),
                                   lambda request: Status(302, "", {
                                       "Location": request.headers["authorization"]}),
                                   lambda request: {"error": request.headers["authorization"]}])
def test_a_key_that_the_endpoint_says_back_is_nowhere(tmp_path, fake_llm, reply):
    tmp_path.with_prompts(2).with_settings({"retry_max": 1})
    fake_llm.script(OK)
    fake_llm.always(reply)
    flags = flags_for(fake_llm, "--log-level", "debug", "--workers", 1, "--log-file", "run.log")
    done = run_script("king.py", tmp_path, *flags,
                      env={"QIANFAN_BEARER_TOKEN": KEY})
    assert done.returncode == 1 and fake_llm.requests[0].headers["authorization"] == f"Bearer {KEY}"
    assert_hidden(tmp_path, done)


@pytest.mark.parametrize("flags, env", [
    (["--llm-auth-token", KEY], {}), (["--llm", "mine"], {"MY_KEY": KEY}),
    ([], dict.fromkeys(("QIANFAN_BEARER_TOKEN", "CHUTES_API_KEY", "HF_TOKEN"), KEY)),
], ids=["flag", "endpoint", "environment"])
def test_a_key_is_in_no_output_of_a_whole_run(tmp_path, fake_llm, flags, env):
    root = (tmp_path / "root").with_prompts(3).with_commits(3)
    tmp_path.with_settings(
        more=f'[endpoints.mine]\nbase_url = "{fake_llm.base_url}"\n'
             f'api_key_env = "MY_KEY"\nheaders = {{ X = "Bearer {KEY}" }}\n')

    def repeats(request):
        said = f"I use {request.headers['authorization']} {request.headers.get('x')}"
        is_judge = "MODEL 1" in request.last
        text = verdict(2, said) if is_judge else f"THOUGHT: {said}\n\n```bash\nls {said}\n```"
        return Say(text, reasoning=said, model=said)
    fake_llm.script(NO_BLOCK, Status(400))   # a failed item and kept replies too
    fake_llm.always(repeats)
    to = [*([] if "--llm" in flags else flags_for(fake_llm)), *flags, "--config",
          tmp_path / "chain.toml", "--log-level", "debug"]
    runs = [run_script(stage, root, *to, env=env, cwd=tmp_path) for stage in (
        "king.py", "king.py", "ch.py", "validate.py", "report.py")]
    runs.append(run_script("export.py", root, "--rejected-too", env=env, cwd=root))
    assert [run.returncode for run in runs] == [1, 0, 0, 0, 0, 0]
    runs.append(run_script("king.py", root, *to, "--show-config", env=env, cwd=tmp_path))
    assert fake_llm.base_url in runs[-1].stdout and "THOUGHT: I use" in everything_under(root)
    assert_hidden(root, *runs)


def test_the_password_of_a_proxy_is_shown_nowhere(tmp_path, fake_llm):
    tmp_path.with_prompts(1).with_settings({"retry_max": 0})
    proxy = fake_llm.url.replace("http://", f"http://me:{KEY}@")
    fake_llm.always(Status(503))
    done = run_script("king.py", tmp_path, "--llm-base-url", "http://model.invalid/v1",
                      "--proxy", proxy)
    shown = run_script("king.py", tmp_path, "--proxy", proxy, "--show-config")
    assert fake_llm.n_requests == 1 and "llm.proxy" in shown.stdout
    assert_hidden(tmp_path, done, shown)


def test_no_key_is_an_error_that_names_the_ways_out(tmp_path, capsys):
    tmp_path.with_prompts(1)
    assert run_here(king.main, tmp_path) == 2 and answers(tmp_path) == []
    printed = capsys.readouterr().err
    assert all(way in printed for way in ("CHUTES_API_KEY", "--llm-base-url", "--llm embedded"))


@pytest.mark.parametrize("key", ["sk-\u00e9", "sk-a\nb", "sk-a\tb"])
def test_a_key_that_cannot_be_sent_is_refused_before_the_first_call(
        tmp_path, fake_llm, capsys, monkeypatch, key):
    tmp_path.with_prompts(1)
    monkeypatch.setenv("QIANFAN_BEARER_TOKEN", key)
    assert run_king(tmp_path, fake_llm) == 2
    assert fake_llm.n_requests == 0 and key not in capsys.readouterr().err


def test_a_rejected_reply_is_asked_for_anew_also_where_the_endpoint_refuses_schemas(
        tmp_path, fake_llm):
    fake_llm.always(lambda request: Status(400) if "response_format" in request.body else OK)
    assert refused(fake_llm, tmp_path) == refused(fake_llm, tmp_path) == 3
