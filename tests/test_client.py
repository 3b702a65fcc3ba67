"""What a model says: reasoning, empty and cut answers, usage; replies that are kept; keys that turn up nowhere."""
from __future__ import annotations

import json

import pytest
from conftest import (
    KEY,
    answers,
    everything_under,
    flags_for,
    item_calls,
    kill,
    ledger_lines,
    read_answer,
    run_here,
    run_script,
    settings_for,
    spent_usd,
    start_script,
    write_commits,
    write_prompts,
    write_toml,
)
from fake_llm import ABSENT, EMPTY, HANG, HTML, OK, Say, Status, truncated

import ch
import king
from codedata.errors import HttpTrouble, ItemFailed, RunStopped
from codedata.llm import Models

NO_BLOCK = "I would run ls."
TURN = "THOUGHT: I look.\n\n```bash\nls\n```"
ASK = [{"role": "user", "content": "p"}]


def chat(fake, root, accept=None, key="", **llm):
    """(reply, the calls that were paid for) of one chat() as the king."""
    with Models(settings_for(fake, key, **llm)) as models, item_calls(root) as calls:
        return models.client("king").chat(ASK, accept), calls.uncounted


# what is in a reply --------------------------------------------------------------------------------------------------

def test_a_request_carries_model_messages_and_sampling(tmp_path, fake_llm):
    chat(fake_llm, tmp_path, model="some/model", temperature=0.3, max_tokens=77)
    assert fake_llm.requests[0].path == "/v1/chat/completions"
    assert fake_llm.requests[0].body == {"model": "some/model", "messages": ASK, "temperature": 0.3, "max_tokens": 77}


def test_the_key_goes_with_each_call_and_without_a_key_none(tmp_path, fake_llm):
    chat(fake_llm, tmp_path / "a", key=KEY)
    chat(fake_llm, tmp_path / "b")
    with_key, without = (request.headers for request in fake_llm.requests)
    assert with_key["authorization"] == f"Bearer {KEY}" and "authorization" not in without


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_reasoning_is_kept_apart_from_the_answer(tmp_path, fake_llm, name):
    fake_llm.script({"choices": [{"message": {"content": "said", name: "thought"}, "finish_reason": "stop"}]})
    reply, _ = chat(fake_llm, tmp_path)
    assert (reply.text, reply.reasoning) == ("said", "thought")


def test_reasoning_is_in_no_record(tmp_path, fake_llm):
    write_prompts(tmp_path, 1)
    fake_llm.always(Say(TURN, reasoning="my secret plan"))
    assert run_here(king.main, tmp_path, *flags_for(fake_llm)) == 0
    assert read_answer(tmp_path, "prompts_1_1_1")["king"] == TURN
    assert "my secret plan" not in everything_under(tmp_path)


@pytest.mark.parametrize("empty", [EMPTY, Say(None), Say(" \n\t"), Say("", reasoning="I think long"), Say([]),
                                   Say([{"type": "image_url"}]), Say([{"type": "text", "text": None}]), Say(7)],
                         ids=["empty", "null", "blanks", "reasoning only", "no parts", "no text part", "null part",
                              "number"])
def test_an_empty_answer_is_asked_again(tmp_path, fake_llm, empty):
    fake_llm.script(empty, TURN)
    assert chat(fake_llm, tmp_path)[0].text == TURN
    assert fake_llm.n_requests == 2


def test_an_answer_that_stays_empty_fails_the_item_after_format_retries(tmp_path, fake_llm):
    fake_llm.always(EMPTY)
    with pytest.raises(ItemFailed, match="empty answer, 3 tries"):
        chat(fake_llm, tmp_path)
    assert fake_llm.n_requests == 3


def test_an_answer_that_accept_rejects_is_asked_again(tmp_path, fake_llm):
    fake_llm.script("no", "no", "yes")
    assert chat(fake_llm, tmp_path, lambda reply: None if reply.text == "yes" else "not yes")[0].text == "yes"
    fake_llm.always("no")
    with pytest.raises(ItemFailed, match="not yes, 3 tries"):
        chat(fake_llm, tmp_path / "2", lambda reply: "not yes")
    assert fake_llm.n_requests == 6


def test_format_retries_is_the_number_of_further_tries(tmp_path, fake_llm):
    write_prompts(tmp_path, 1)
    write_toml(tmp_path, more="[king]\nformat_retries = 0\n")
    fake_llm.script(NO_BLOCK)
    assert run_here(king.main, tmp_path, *flags_for(fake_llm)) == 1
    assert fake_llm.n_requests == 1 and answers(tmp_path) == []


def test_a_truncated_answer_is_recorded_and_no_turn(tmp_path, fake_llm):
    write_prompts(tmp_path, 1)
    fake_llm.script(truncated(TURN), truncated(TURN))
    assert run_here(king.main, tmp_path, *flags_for(fake_llm)) == 0
    [line] = ledger_lines(tmp_path / "answer", state="done")
    assert [call.get("truncated", False) for call in line["calls"]] == [True, True, False]


def test_thinking_that_used_up_max_tokens_is_called_truncated(tmp_path, fake_llm):
    """What to mend is max_tokens, which `empty answer` does not tell."""
    write_prompts(tmp_path, 1)
    fake_llm.always(Say("", reasoning="I think and think", finish_reason="length"))
    assert run_here(king.main, tmp_path, *flags_for(fake_llm)) == 1
    [line] = ledger_lines(tmp_path / "answer", state="failed")
    assert "max_tokens" in line["error"]


def test_content_in_parts_is_put_together(tmp_path, fake_llm):
    parts = [{"type": "text", "text": "THOUGHT: "}, {"type": "image_url"}, {"type": "text", "text": "I look"}]
    fake_llm.script(Say(parts))
    assert chat(fake_llm, tmp_path)[0].text == "THOUGHT: I look"


@pytest.mark.parametrize("usage, tokens", [
    ({"prompt_tokens": 7, "completion_tokens": 3}, (7, 3, 0)),
    ({"prompt_tokens": 7, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 5}}, (7, 3, 5)),
    ({"prompt_tokens": 7, "completion_tokens": 3, "prompt_tokens_details": None}, (7, 3, 0)),
    ({"prompt_tokens": 7, "completion_tokens": 3, "prompt_tokens_details": []}, (7, 3, 0)),
    ({"prompt_tokens": 7, "completion_tokens": 3, "prompt_tokens_details": "none"}, (7, 3, 0)),
    ({"prompt_tokens": 7.0, "completion_tokens": 3.0}, (7, 3, 0)),
    ({"prompt_tokens": "7", "completion_tokens": True}, (None, None, 0)),
    ({"prompt_tokens": 10**399, "completion_tokens": -3}, (None, None, 0)),
    ({"prompt_tokens": float("nan"), "completion_tokens": float("inf")}, (None, None, 0)),
    ({"prompt_tokens": 7, "completion_tokens": 10**18, "prompt_tokens_details": {"cached_tokens": 10**300}},
     (7, None, 0)),
    (None, (None, None, 0)), (ABSENT, (None, None, 0)), ({}, (None, None, 0)), ([], (None, None, 0)),
    ("x", (None, None, 0)),
], ids=["plain", "cached", "details null", "details list", "details text", "floats", "no numbers",
        "400 digits", "not finite", "more than anybody has", "null", "absent",
        "empty", "list", "text"])
def test_usage_in_every_shape(tmp_path, fake_llm, usage, tokens):
    fake_llm.script(Say(TURN, usage=usage))
    reply, [call] = chat(fake_llm, tmp_path)
    assert reply.text == TURN
    assert (call["tokens_in"], call["tokens_out"], call["tokens_cached"]) == tokens


@pytest.mark.parametrize("served", ["m-2024-05-01", 7, "", False])
def test_a_call_is_booked_under_the_model_that_was_asked_for(tmp_path, fake_llm, served):
    """The served name may add a date, and prices are for the one that was asked."""
    fake_llm.script(Say(TURN, model=served))
    _, [call] = chat(fake_llm, tmp_path, model="m")
    assert call["model"] == "m"


@pytest.mark.parametrize("body", [{"error": {"message": "overloaded"}}, {"choices": []}, {"choices": None},
                                  {"choices": [None]}, {"choices": ["x"]}, {"choices": [{"message": None}]},
                                  {"choices": [{"message": "x"}]}, {"choices": [{}]},
                                  Status(200, "[]"), Status(200, "null"), Status(200, ""), HTML,
                                  Status(200, b"\xff\xfe{"), Status(200, "[" * 100_000)],
                         ids=["error", "no choice", "null choices", "null choice", "text choice", "null message",
                              "text message", "no message", "list", "null", "nothing", "html", "bytes", "deep"])
def test_a_body_that_is_no_completion_is_asked_again_then_fails_the_item(tmp_path, fake_llm, body):
    fake_llm.script(body)
    assert "THOUGHT" in chat(fake_llm, tmp_path)[0].text
    fake_llm.always(body)
    with pytest.raises(HttpTrouble, match="without a chat completion"):
        chat(fake_llm, tmp_path / "2", retry_max=1)
    assert fake_llm.n_requests == 4


def spoilt(**message) -> dict:
    return {"choices": [{"message": {"content": TURN, **message}, "finish_reason": {}}], "model": ["m"],
            "usage": {"prompt_tokens": 70, "completion_tokens": 30}}


DEEP = '[{"id": {}, "function": {"name": [1], "arguments": ' + "[" * 600 + "]" * 600 + "}}]"


WRONG = ('[{"text": 7}]', '[["x"]]', '["x"]', "7", "{}")   # as the content


@pytest.mark.parametrize("body", [*(spoilt(content=json.loads(text)) for text in WRONG), {**spoilt(), "choices": {}},
                                  {**spoilt(), "choices": [[]]}], ids=[*WRONG, "choices", "choice"])
def test_a_reply_of_the_wrong_shape_is_a_failed_call_that_stays_in_the_ledger(tmp_path, fake_llm, body):
    write_prompts(tmp_path, 2)
    write_toml(tmp_path, {"retry_max": 1, "model": "m"}, '[prices]\n"m" = { in = 1000.0, out = 1000.0 }\n')
    fake_llm.script(body, body, body)   # the first item fails; the second is answered at its second try
    done = run_script("king.py", tmp_path, *flags_for(fake_llm, "--workers", 1))
    assert done.returncode == 1 and "Traceback" not in done.stderr and "without a chat completion" in done.stderr
    paid = [[call["tokens_in"] for call in line["calls"]] for line in ledger_lines(tmp_path / "answer")]
    assert paid == [[70, 70], [70, 100]]
    assert spent_usd(tmp_path) == pytest.approx(0.1 * 3 + 0.12)


@pytest.mark.parametrize("tool_calls", ["7", "[7, {}, {\"function\": []}]", DEEP, "9" * 5_000],
                         ids=["number", "rubbish", "deep", "5,000 digits"])
def test_what_nobody_reads_in_a_reply_may_have_any_shape(tmp_path, fake_llm, tool_calls):
    fake_llm.script(Status(200, json.dumps(spoilt(tool_calls="HERE")).replace('"HERE"', tool_calls)))
    reply, [call] = chat(fake_llm, tmp_path)
    assert (reply.text, reply.finish_reason, reply.model, call["tokens_out"]) == (TURN, "", "", 30)


def test_a_spoilt_reply_of_a_killed_run_is_paid_for_by_the_next(tmp_path, fake_llm):
    write_prompts(tmp_path, 1)
    fake_llm.script(spoilt(content=7), HANG)
    process = start_script("king.py", tmp_path, *flags_for(fake_llm))
    fake_llm.wait_for(2)
    kill(process)
    assert run_script("king.py", tmp_path, *flags_for(fake_llm)).returncode == 0
    [line] = ledger_lines(tmp_path / "answer")
    assert [call["tokens_in"] for call in line["calls"]] == [70, 100]
    assert not list((tmp_path / "answer" / "_partial").glob("*"))


@pytest.mark.parametrize("code, says", [(400, "max_prompt_tokens"), (404, "--model"), (413, "max_prompt_tokens"),
                                        (422, "field")])
def test_a_refused_request_fails_its_item_and_says_what_to_mend(tmp_path, fake_llm, code, says):
    write_prompts(tmp_path, 2)
    write_toml(tmp_path)
    fake_llm.script(Status(code, "because"))
    assert run_here(king.main, tmp_path, *flags_for(fake_llm, "--workers", 1)) == 1
    [line] = ledger_lines(tmp_path / "answer", state="failed")
    assert says in line["error"] and "because" in line["error"] and len(answers(tmp_path)) == 1


@pytest.mark.parametrize("text", ["THOUGHT: half \ud800.\n\n```bash\nls\n```", "THOUGHT: a \x00.\n\n```bash\nls\n```"],
                         ids=["surrogate", "NUL"])
def test_a_reply_that_cannot_be_stored_fails_its_item_alone(tmp_path, fake_llm, text):
    write_prompts(tmp_path, 2)
    fake_llm.script(*[text] * 3)
    done = run_script("king.py", tmp_path, *flags_for(fake_llm, "--workers", 1))
    assert done.returncode == 1 and "Traceback" not in done.stderr and answers(tmp_path) == ["prompts_2_1_2"]


def test_roles_may_have_their_own_endpoint_and_model(tmp_path, fake_llm):
    write_prompts(tmp_path, 1)
    write_toml(tmp_path, {"model": "wrong"}, '[king]\nendpoint = "mine"\nmodel = "own"\ntemperature = 0.5\n'
               f'[endpoints.mine]\nbase_url = "{fake_llm.base_url}/"\nheaders = {{ "X-Team" = "data" }}\n')
    assert run_here(king.main, tmp_path) == 0
    request = fake_llm.requests[0]
    assert (request.body["model"], request.body["temperature"], request.headers["x-team"]) == ("own", 0.5, "data")
    assert request.path == "/v1/chat/completions"


# kept replies --------------------------------------------------------------------------------------------------------

def partial(root, name="prompts_1_1_1"):
    path = root / "answer" / "_partial" / f"{name}.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines() if line] if path.exists() else []


def test_a_reply_of_an_unfinished_item_is_not_asked_for_again(tmp_path, fake_llm):
    write_prompts(tmp_path, 1)
    fake_llm.script(NO_BLOCK, Status(400, "no"))
    assert run_here(king.main, tmp_path, *flags_for(fake_llm)) == 1
    assert [line["reply"]["text"] for line in partial(tmp_path)] == [NO_BLOCK]
    fake_llm.script(NO_BLOCK, TURN)   # tries 2 and 3: the first one is there already
    assert run_here(king.main, tmp_path, *flags_for(fake_llm)) == 0
    assert fake_llm.n_requests == 4 and read_answer(tmp_path, "prompts_1_1_1")["king"] == TURN


def test_a_good_reply_without_its_record_makes_the_record_without_a_call(tmp_path, fake_llm):
    """So a kill leaves it that comes between the reply and the record."""
    write_prompts(tmp_path, 1)
    fake_llm.script(NO_BLOCK, Status(400))
    run_here(king.main, tmp_path, *flags_for(fake_llm))
    path = tmp_path / "answer" / "_partial" / "prompts_1_1_1.jsonl"
    path.write_text(path.read_text().replace(json.dumps(NO_BLOCK), json.dumps(TURN)))
    assert run_here(king.main, tmp_path, *flags_for(fake_llm)) == 0
    assert fake_llm.n_requests == 2 and read_answer(tmp_path, "prompts_1_1_1")["king"] == TURN


def test_kept_replies_are_gone_when_the_record_is_there(tmp_path, fake_llm):
    write_prompts(tmp_path, 2)
    fake_llm.script(NO_BLOCK)
    assert run_here(king.main, tmp_path, *flags_for(fake_llm)) == 0
    assert [p.name for p in (tmp_path / "answer" / "_partial").glob("*")] == []


def test_after_a_kill_rejected_replies_count_as_tries(tmp_path, fake_llm):
    write_prompts(tmp_path, 1)
    fake_llm.script(NO_BLOCK, NO_BLOCK, HANG)
    run = start_script("king.py", tmp_path, *flags_for(fake_llm))
    fake_llm.wait_for(3)
    kill(run)
    fake_llm.script(NO_BLOCK)   # the third and last try
    again = run_script("king.py", tmp_path, *flags_for(fake_llm))
    assert again.returncode == 1 and "3 tries" in again.stderr
    assert fake_llm.n_requests == 4


def test_after_a_kill_a_try_that_is_left_is_used(tmp_path, fake_llm):
    write_prompts(tmp_path, 1)
    fake_llm.script(NO_BLOCK, HANG)
    run = start_script("king.py", tmp_path, *flags_for(fake_llm))
    fake_llm.wait_for(2)
    kill(run)
    assert run_script("king.py", tmp_path, *flags_for(fake_llm)).returncode == 0
    assert fake_llm.n_requests == 3 and answers(tmp_path) == ["prompts_1_1_1"]


def test_a_line_torn_by_a_kill_costs_no_other_reply(tmp_path, fake_llm):
    write_prompts(tmp_path, 1)
    fake_llm.script(NO_BLOCK, Status(400))
    run_here(king.main, tmp_path, *flags_for(fake_llm))
    path = tmp_path / "answer" / "_partial" / "prompts_1_1_1.jsonl"
    path.write_bytes(path.read_bytes() + b'{"stage":"king","req')
    fake_llm.script(NO_BLOCK, Status(400))   # the second try is asked, and written behind the torn line
    run_here(king.main, tmp_path, *flags_for(fake_llm))
    assert fake_llm.n_requests == 4
    fake_llm.script(NO_BLOCK)
    run_here(king.main, tmp_path, *flags_for(fake_llm))   # both are served, the third and last try is asked
    assert fake_llm.n_requests == 5 and answers(tmp_path) == []


def test_after_a_failure_for_its_format_the_rerun_asks_anew(tmp_path, fake_llm):
    write_prompts(tmp_path, 1)
    fake_llm.script(NO_BLOCK, NO_BLOCK, NO_BLOCK)
    assert run_here(king.main, tmp_path, *flags_for(fake_llm)) == 1
    assert run_here(king.main, tmp_path, *flags_for(fake_llm)) == 0
    assert fake_llm.n_requests == 4 and answers(tmp_path) == ["prompts_1_1_1"]


def test_a_kept_reply_to_another_request_is_not_served(tmp_path, fake_llm):
    write_prompts(tmp_path, 1)
    fake_llm.script(NO_BLOCK, Status(400))
    run_here(king.main, tmp_path, *flags_for(fake_llm))
    fake_llm.script(NO_BLOCK, NO_BLOCK, TURN)
    assert run_here(king.main, tmp_path, *flags_for(fake_llm, "--model", "another")) == 0
    assert fake_llm.n_requests == 5


def test_kept_replies_of_another_stage_survive(tmp_path, fake_llm):
    write_prompts(tmp_path, 1), write_commits(tmp_path, 1)
    flags = flags_for(fake_llm)
    run_here(king.main, tmp_path, *flags)
    fake_llm.script(NO_BLOCK, Status(400))
    assert run_here(ch.main, tmp_path, *flags) == 1
    assert run_here(king.main, tmp_path, *flags, "--force") == 0
    assert {line["stage"] for line in partial(tmp_path)} == {"ch"}
    n = fake_llm.n_requests
    fake_llm.script(NO_BLOCK, TURN)   # its tries 2 and 3
    assert run_here(ch.main, tmp_path, *flags) == 0
    assert fake_llm.n_requests == n + 2 and read_answer(tmp_path, "prompts_1_1_1")["challenger"] == TURN


def test_force_asks_again(tmp_path, fake_llm):
    write_prompts(tmp_path, 1)
    run_here(king.main, tmp_path, *flags_for(fake_llm))
    fake_llm.script(TURN)
    assert run_here(king.main, tmp_path, *flags_for(fake_llm, "--force")) == 0
    assert fake_llm.n_requests == 2 and read_answer(tmp_path, "prompts_1_1_1")["king"] == TURN


# keys ----------------------------------------------------------------------------------------------------------------

def echo(code):
    """A server that says back what it was sent, the key among it."""
    return lambda request: Status(code, f"bad request: {json.dumps(request.headers)}")


def echo_alone(code):
    return lambda request: Status(code, request.headers["authorization"])


@pytest.mark.parametrize("reply", [echo_alone(400), echo(400), echo_alone(401), echo_alone(404), echo_alone(500),
                                   echo_alone(200), lambda request: {"error": request.headers["authorization"]}],
                         ids=["400", "400 headers", "401", "404", "500", "200", "200 json"])
def test_a_key_that_the_endpoint_says_back_is_nowhere(tmp_path, fake_llm, reply):
    write_prompts(tmp_path, 2)
    write_toml(tmp_path, {"retry_max": 1})
    fake_llm.script(OK)
    fake_llm.always(reply)
    done = run_script("king.py", tmp_path, *flags_for(fake_llm, "--log-level", "debug", "--workers", 1),
                      env={"QIANFAN_BEARER_TOKEN": KEY})
    assert done.returncode == 1 and fake_llm.requests[0].headers["authorization"] == f"Bearer {KEY}"
    assert KEY not in done.stdout + done.stderr + everything_under(tmp_path)


@pytest.mark.parametrize("flags, env", [
    (["--llm-auth-token", KEY], {}), ([], {"QIANFAN_BEARER_TOKEN": KEY}),
    (["--llm", "mine"], {"MY_KEY": KEY}), ([], {"QIANFAN_BEARER_TOKEN": KEY, "CHUTES_API_KEY": KEY, "HF_TOKEN": KEY}),
], ids=["flag", "environment", "endpoint", "all"])
def test_a_key_is_in_no_output_of_a_whole_run(tmp_path, fake_llm, flags, env):
    write_prompts(tmp_path, 3)
    write_toml(tmp_path, more=f'[endpoints.mine]\nbase_url = "{fake_llm.base_url}"\napi_key_env = "MY_KEY"\n')
    fake_llm.script(NO_BLOCK, Status(400))   # a failed item and kept replies too
    to = [] if "--llm" in flags else flags_for(fake_llm)
    done = run_script("king.py", tmp_path, *to, *flags, "--log-level", "debug", "--workers", 1, env=env)
    assert done.returncode == 1 and fake_llm.requests[0].headers["authorization"] == f"Bearer {KEY}"
    shown = run_script("king.py", tmp_path, *to, *flags, "--show-config", env=env)
    assert shown.returncode == 0 and fake_llm.base_url in shown.stdout
    assert KEY not in done.stdout + done.stderr + shown.stdout + shown.stderr + everything_under(tmp_path)


def test_the_password_of_a_proxy_is_shown_nowhere(tmp_path, fake_llm):
    write_prompts(tmp_path, 1)
    write_toml(tmp_path, {"retry_max": 0})
    proxy = fake_llm.url.replace("http://", f"http://me:{KEY}@")
    fake_llm.always(Status(503))
    done = run_script("king.py", tmp_path, "--llm-base-url", "http://model.invalid/v1", "--proxy", proxy)
    shown = run_script("king.py", tmp_path, "--proxy", proxy, "--show-config")
    assert fake_llm.n_requests == 1 and "llm.proxy" in shown.stdout
    assert KEY not in done.stdout + done.stderr + shown.stdout + shown.stderr + everything_under(tmp_path)


def test_no_key_is_an_error_that_names_the_ways_out(tmp_path):
    write_prompts(tmp_path, 1)
    done = run_script("king.py", tmp_path)
    assert done.returncode == 2 and answers(tmp_path) == []
    for way in ("CHUTES_API_KEY", "--llm-base-url", "--llm embedded"):
        assert way in done.stderr


@pytest.mark.parametrize("key", ["sk-\u00e9", "sk-a\nb", "sk-a\tb"])
def test_a_key_that_cannot_be_sent_is_refused_before_the_first_call(tmp_path, fake_llm, key):
    write_prompts(tmp_path, 1)
    done = run_script("king.py", tmp_path, *flags_for(fake_llm), env={"QIANFAN_BEARER_TOKEN": key})
    assert done.returncode == 2 and fake_llm.n_requests == 0 and key not in done.stderr


def test_a_wrong_key_is_told_without_a_traceback(tmp_path, fake_llm):
    write_prompts(tmp_path, 1)
    fake_llm.always(Status(401, "invalid api key"))
    with pytest.raises(RunStopped, match="refused the key"):
        chat(fake_llm, tmp_path, key=KEY)
