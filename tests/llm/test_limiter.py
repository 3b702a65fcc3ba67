"""Test the limit of calls in flight without an HTTP 429, and groups of endpoints."""
import json
from argparse import Namespace
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import answers, item_calls, ledger_lines, run_script
from fake_llm import HANG, FakeLLM, Say, Status
from test_http import PROMPT, ask_many, http

from codedata.config import load
from codedata.llm import Models

GROUP = '''
[llm]
endpoint = "both"
model = "m"
retry_wait_s = 0.05
[endpoints]
both = {{ endpoints = ["one", "two"] }}
one = {{ base_url = "{0.base_url}", extra_body = {{ top_k = 1 }} }}
two = {{ base_url = "{1.base_url}" }}
'''
KNEE = 16


def queues_beyond_the_knee(request):
    return Say("x" * 500, latency_s=0.3 * max(1.0, request.in_flight / KNEE))


def hangs_beyond_the_knee(request):
    return HANG if request.in_flight > KNEE else Say("x", latency_s=0.05)


def answers_at_ten_times_the_length_later(request):
    n_chars = 500 if request.n < 200 else 5000
    return Say("x" * n_chars, latency_s=n_chars / 5000)


@pytest.mark.parametrize("reply, n_calls, limits", [
    (queues_beyond_the_knee, 500, range(KNEE - 4, 56)),
    (hangs_beyond_the_knee, 300, range(1, 2 * KNEE)),
    (answers_at_ten_times_the_length_later, 500, range(64, 65))])
def test_the_limit_settles_where_the_server_gives_most_without_a_queue(fake_llm, reply, n_calls,
                                                                       limits):
    fake_llm.always(reply)
    client = http(workers=64, call_timeout_s=2.0, retry_max=30)
    ask_many(client, fake_llm.base_url, 64, n_threads=64, n_calls=n_calls)   # none fails
    assert int(client.endpoint(fake_llm.base_url, 64).capacity) in limits


def test_a_group_goes_on_while_a_member_is_down_and_shares_again_when_it_is_back(tmp_path):
    tmp_path.with_prompts(600)
    with FakeLLM() as one, FakeLLM() as two, ThreadPoolExecutor(1) as pool:
        one.latency_s = two.latency_s = 0.2
        (tmp_path / "chain.toml").write_text(GROUP.format(one, two))

        def kill_and_restart():
            two.wait_for(40, "answered")
            two.close()
            one.wait_for(one.n_requests + 60)
            return FakeLLM(port=two.port)

        restarted = pool.submit(kill_and_restart)
        assert run_script("king.py", tmp_path, "--workers", 16).returncode == 0
        with restarted.result() as again:
            n_there = sum(request.at > again.requests[0].at for request in one.requests)
            assert len(again.answered) > 0.3 * (len(again.answered) + n_there)
            assert len(one.answered) + len(two.answered) + len(again.answered) <= 600 + 16
        n_calls = sum(len(line["calls"]) for line in ledger_lines(tmp_path / "answer"))
        assert len(answers(tmp_path)) == n_calls == 600
        assert one.requests[0].body["top_k"] == 1 and "top_k" not in two.requests[0].body


def test_calls_go_to_another_member_while_one_is_throttled(fake_llm):
    fake_llm.always(Status(429, headers={"Retry-After": "20"}))
    client = http(max_429_total_s=0.5)
    with FakeLLM() as other:
        other.latency_s = 0.05
        places = {place: one for url in (fake_llm.base_url, other.base_url) for place, one in
                  client.at(client.endpoint(url, 8), f"{url}/chat/completions",
                            json.dumps(PROMPT).encode()).items()}
        for _ in range(30):
            client.send(places, lambda *answer: None)
        assert fake_llm.n_requests < 9 and len(other.answered) == 30


def test_a_reply_that_one_endpoint_gave_is_not_paid_for_again_at_another(tmp_path):
    """The digest is the role's, whether it has a group or the endpoint alone."""
    with FakeLLM() as one, FakeLLM() as two:
        (tmp_path / "chain.toml").write_text(GROUP.format(one, two))
        one.always(Status(503))
        replies = []
        for endpoint in ("both", "two", "both"):
            settings = load(Namespace(root=tmp_path, llm=endpoint))
            with Models(settings) as models, item_calls(tmp_path):
                replies.append(models.client("king").ask(PROMPT["messages"]))
            two.close()
        assert replies[0] == replies[1] == replies[2] and len(two.answered) == 1
