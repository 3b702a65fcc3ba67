"""The wire: what is tried again and what is not, HTTP 429, time-outs, when a run stops, TLS, proxies."""
from __future__ import annotations

import gc
import gzip
import json
import socket
import ssl
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime

import pytest
from conftest import REPO, answers, eventually, flags_for, ledger_lines, run_script, write_prompts, write_toml
from fake_llm import CUT, DROP, HANG, HANG_IN_BODY, HTML, OK, Drip, FakeLLM, Flood, Status

from codedata.errors import HttpTrouble, Interrupted, RunStopped, Trouble
from codedata.llm.http import Http, Retry, Tries

PROMPT = {"messages": [{"role": "user", "content": "p"}]}
NOTHING_429 = {"Retry-After": "0.02"}


def http(**retry) -> Http:
    return Http(Retry(**{"retry_wait_s": 0.01, "call_timeout_s": 10.0, **retry}))


def ask(client: Http, url: str, limit: int = 8, tries: Tries | None = None) -> str:
    """The content of one completion."""
    line = client.line(url, limit)
    def content(status, headers, body):
        return json.loads(body)["choices"][0]["message"]["content"]
    return client.send("POST", url + "/chat/completions", line, content, tries=tries, data=json.dumps(PROMPT).encode())


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


# what is tried again -------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("fault", [Status(500), Status(503, "busy"), Status(502), DROP, CUT, HTML, Status(200, "{half"),
                                   Status(408)], ids=["500", "503", "502", "drop", "cut", "html", "half json", "408"])
def test_a_passing_fault_is_tried_again_and_the_answer_kept(fake_llm, fault):
    fake_llm.script(fault, fault)
    assert "THOUGHT" in ask(http(), fake_llm.base_url)
    assert fake_llm.n_requests == 3


@pytest.mark.parametrize("fault", [Status(500, "oh dear"), HTML], ids=["500", "html"])
def test_a_lasting_fault_is_given_up_after_retry_max_more_tries(fake_llm, fault):
    fake_llm.always(fault)
    with pytest.raises(HttpTrouble, match="3 tries"):
        ask(http(retry_max=2), fake_llm.base_url)
    assert fake_llm.n_requests == 3


@pytest.mark.parametrize("code", [400, 404, 405, 413, 422])
def test_a_refused_request_is_not_asked_again_and_the_error_says_why(fake_llm, code):
    fake_llm.always(Status(code, {"error": "max_tokens is too large"}))
    with pytest.raises(HttpTrouble, match=f"HTTP {code}.*max_tokens is too large") as trouble:
        ask(http(), fake_llm.base_url)
    assert fake_llm.n_requests == 1 and trouble.value.status == code and not isinstance(trouble.value, RunStopped)


def test_a_refused_connection_is_tried_again_till_the_endpoint_is_up():
    port, fakes = free_port(), []
    timer = threading.Timer(0.3, lambda: fakes.append(FakeLLM(port=port)))
    timer.start()
    try:
        assert "THOUGHT" in ask(http(retry_max=6, retry_wait_s=0.1), f"http://127.0.0.1:{port}/v1")
    finally:
        timer.join()
        fakes[0].close()


def test_waits_between_tries_grow_from_retry_wait_s(fake_llm):
    fake_llm.script(Status(500), Status(500), Status(500))
    ask(http(retry_wait_s=0.1), fake_llm.base_url)
    assert all(gap >= least for gap, least in zip(fake_llm.gaps(), (0.08, 0.16, 0.32), strict=True))
    fake_llm.script(Status(500))
    ask(http(retry_wait_s=0.01), fake_llm.base_url)
    assert fake_llm.gaps()[-1] < 0.08


def test_a_request_goes_out_the_same_each_time(fake_llm):
    fake_llm.script(Status(500), DROP, Status(429, headers=NOTHING_429))
    ask(http(), fake_llm.base_url)
    assert [r.body for r in fake_llm.requests] == [PROMPT] * 4


@pytest.mark.parametrize("headers", [{"X-Team": "Größe €"}, {"X-Team": "a\nb"}], ids=["not latin-1", "line end"])
def test_a_header_that_cannot_be_sent_is_trouble_not_a_bug(fake_llm, headers):
    """requests raises ValueErrors of its own before anything is sent."""
    client = http()
    with pytest.raises(Trouble):
        client.send("POST", fake_llm.base_url, client.line("x", 1), lambda *_: None, data=b"{}", headers=headers)


def test_connections_are_used_again(fake_llm):
    client = http()
    for _ in range(20):
        ask(client, fake_llm.base_url)
    assert fake_llm.n_requests == 20 and fake_llm.n_connections == 1


def test_256_calls_can_be_in_flight_at_once():
    with FakeLLM(latency_s=1.5) as fake, ThreadPoolExecutor(256) as pool:
        client = Http(Retry(), pool=256)
        replies = list(pool.map(lambda _: ask(client, fake.base_url, 256), range(256)))
    assert len(replies) == 256 and fake.max_in_flight == 256


def test_never_more_calls_in_flight_than_the_endpoint_allows(fake_llm):
    fake_llm.latency_s = 0.02
    client = http()
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda _: ask(client, fake_llm.base_url, 3), range(30)))
    assert fake_llm.max_in_flight == 3


# how much is read ----------------------------------------------------------------------------------------------------

CHUNKED = {"Transfer-Encoding": "chunked"}
GZIP = {"Content-Encoding": "gzip"}
BOMB = gzip.compress(bytes(300_000_000), 1)
ASK = """
import json, resource, sys
from codedata.llm.http import Http, Retry
client = Http(Retry(retry_wait_s=0.01, call_timeout_s=20.0))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    client.send("POST", sys.argv[1], client.line("x", 1), lambda *answer: print(len(answer[2])), data=b"{}")
except Exception as e:
    print(type(e).__name__, e)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.parametrize("reply", [
    Status(200, BOMB, GZIP), Status(200, gzip.compress(BOMB), {"Content-Encoding": "gzip, gzip"}), Flood(),
    Flood(b"10000\r\n" + b"x" * 65_536 + b"\r\n", CHUNKED), Flood(b"-1\r\n" + b"x" * 65_536, CHUNKED),
    Flood(headers={"Content-Length": 10**15}), Status(500, BOMB, GZIP),
], ids=["gzip", "gzip in gzip", "no end", "chunks without end", "negative chunk", "petabyte", "error of 300 MB"])
def test_a_body_larger_than_max_reply_bytes_fails_its_call_in_little_memory(fake_llm, reply):
    fake_llm.always(reply)
    child = subprocess.run([sys.executable, "-c", ASK, fake_llm.base_url], capture_output=True, text=True, cwd=REPO,
                           timeout=60)
    *said, grown_mb = child.stdout.splitlines()
    assert "HttpTrouble" in said[0] or "EndpointDown" in said[0], child.stderr
    assert int(grown_mb) < 120 and fake_llm.n_requests <= 4


def test_a_body_too_large_is_named_and_not_asked_for_again(tmp_path, fake_llm):
    write_prompts(tmp_path, 2)
    write_toml(tmp_path, {"max_reply_bytes": 4_000})
    fake_llm.script(Status(200, "x" * 4_001))
    king = run_script("king.py", tmp_path, *flags_for(fake_llm, "--workers", 1))
    assert king.returncode == 1 and "answered with more than 4,000 bytes" in king.stderr
    assert len(answers(tmp_path)) == 1 and fake_llm.n_requests == 2


def test_a_body_that_goes_on_till_it_is_cut_is_a_timeout_and_no_short_answer(fake_llm):
    fake_llm.always(Flood(b" "))
    with pytest.raises(HttpTrouble, match="timeout"):
        http(call_timeout_s=0.5, retry_max=0).get_json(fake_llm.url)


@pytest.mark.parametrize("body, headers", [("[" * 100_000, {}), ("x", {"X": "y" * 100_000}), ("x", GZIP)],
                         ids=["deep", "headers", "no gzip"])
def test_what_a_data_source_says_wrong_is_a_failed_call(fake_llm, body, headers):
    fake_llm.always(Status(200, body, headers))
    with pytest.raises(HttpTrouble):
        http(retry_max=1).get_json(fake_llm.url)


# HTTP 429 ------------------------------------------------------------------------------------------------------------

def in_seconds(s: float) -> str:
    return format_datetime(datetime.now(timezone.utc) + timedelta(seconds=s), usegmt=True)


@pytest.mark.parametrize("headers, least", [
    (lambda: {"Retry-After": "1"}, 1.0),
    (lambda: {"Retry-After": "0.2"}, 0.2),
    (lambda: {"Retry-After": in_seconds(1.9)}, 0.7),   # a date has whole seconds
    (lambda: {"retry-after-ms": "300"}, 0.3),
    (lambda: {"retry-after-ms": "300", "Retry-After": "30"}, 0.3),
], ids=["seconds", "fraction", "date", "ms", "ms before seconds"])
def test_retry_after_is_honoured(fake_llm, headers, least):
    fake_llm.script(Status(429, headers=headers()))
    ask(http(), fake_llm.base_url)
    assert least <= fake_llm.gaps()[0] < least + 5


@pytest.mark.parametrize("headers", [{"Retry-After": "1e9"}, {"Retry-After": "inf"}, {"retry-after-ms": "1e12"},
                                     {"Retry-After": "Fri, 31 Dec 9999 23:59:59 GMT"}])
def test_an_absurd_retry_after_is_capped_at_max_429_wait_s(fake_llm, headers):
    fake_llm.script(Status(429, headers=headers))
    ask(http(max_429_wait_s=0.3), fake_llm.base_url)
    assert 0.3 <= fake_llm.gaps()[0] < 5


@pytest.mark.parametrize("headers", [{}, {"Retry-After": "soon"}, {"Retry-After": ""}, {"Retry-After": "nan"},
                                     {"Retry-After": "-5"}, {"Retry-After": "0"}, {"retry-after-ms": "-1"},
                                     {"Retry-After": "Sat, 01 Jan 2000 00:00:00 GMT"}],
                         ids=["none", "soon", "empty", "nan", "negative", "zero", "negative ms", "past"])
def test_without_a_usable_retry_after_the_endpoint_is_not_hammered(fake_llm, headers):
    fake_llm.always(Status(429, headers=headers))
    with pytest.raises(RunStopped):
        ask(http(max_429_total_s=0.5, retry_wait_s=0.05), fake_llm.base_url)
    assert 2 <= fake_llm.n_requests <= 15   # with waits of 0.05, 0.1, 0.2 … it is 5


def test_an_unreadable_retry_after_ms_leaves_retry_after_in_force(fake_llm):
    fake_llm.script(Status(429, headers={"retry-after-ms": "soon", "Retry-After": "0.4"}))
    ask(http(), fake_llm.base_url)
    assert 0.4 <= fake_llm.gaps()[0] < 5


def test_429_does_not_use_up_retries(fake_llm):
    fake_llm.script(*[Status(429, headers=NOTHING_429)] * 6, Status(500))
    tries = Tries()
    assert "THOUGHT" in ask(http(retry_max=1), fake_llm.base_url, tries=tries)
    assert fake_llm.n_requests == 8 and tries.throttled == 6


def test_a_429_lowers_the_concurrency_and_answers_bring_it_back(fake_llm):
    fake_llm.latency_s = 0.04
    fake_llm.script(*[Status(429, headers=NOTHING_429, latency_s=0.5)] * 16)   # all 16 in flight get one
    client = http()
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda _: ask(client, fake_llm.base_url, 16), range(240)))
    assert max(r.in_flight for r in fake_llm.requests[:16]) == 16
    assert max(r.in_flight for r in fake_llm.requests[16:30]) <= 12
    assert max(r.in_flight for r in fake_llm.requests[30:]) >= 15


def test_further_429s_lower_it_further(fake_llm):
    fake_llm.latency_s = 0.02
    fake_llm.script(*[Status(429, headers=NOTHING_429, latency_s=0.05)] * 50)
    client = http()
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda _: ask(client, fake_llm.base_url, 16), range(16)))
    assert max(r.in_flight for r in fake_llm.requests[40:50]) <= 5


def test_nothing_but_429_ends_the_run_after_max_429_total_s(fake_llm):
    fake_llm.always(Status(429, headers={"Retry-After": "0.05"}))
    started = time.monotonic()
    with pytest.raises(RunStopped, match="429") as stopped:
        ask(http(max_429_total_s=0.4), fake_llm.base_url)
    assert stopped.value.exit_code == 1 and 0.4 <= time.monotonic() - started < 5


def test_a_success_in_between_starts_the_429_clock_anew(fake_llm):
    client = http(max_429_total_s=1.2)
    for _ in range(5):   # 1.5 s of waits in all
        fake_llm.script(*[Status(429, headers={"Retry-After": "0.15"})] * 2)
        assert ask(client, fake_llm.base_url)


def test_a_run_of_nothing_but_429_exits_1_and_leaves_the_items_missing(tmp_path, fake_llm):
    write_prompts(tmp_path, 3)
    write_toml(tmp_path, {"max_429_total_s": 0.3})
    fake_llm.always(Status(429, headers={"Retry-After": "0.05"}))
    done = run_script("king.py", tmp_path, *flags_for(fake_llm))
    assert done.returncode == 1 and "429" in done.stderr
    assert answers(tmp_path) == [] and ledger_lines(tmp_path / "answer", state="failed") == []
    status = run_script("king.py", tmp_path, *flags_for(fake_llm), "--status")
    assert "missing 3" in status.stderr + status.stdout


# time-outs -----------------------------------------------------------------------------------------------------------

SLOW = {"hang": HANG, "hang in the body": HANG_IN_BODY, "body drips": Drip(0.02, "body"),
        "chunked body drips": Drip(0.02, "chunked"), "head drips": Drip(0.02, "head")}


@pytest.mark.parametrize("reply", SLOW.values(), ids=SLOW.keys())
def test_call_timeout_s_bounds_a_call_from_start_to_last_byte(fake_llm, reply):
    fake_llm.always(reply)   # what drips takes 6 s in all
    tries, started = Tries(), time.monotonic()
    with pytest.raises(HttpTrouble, match=r"timeout 0\.4 s"):
        ask(http(call_timeout_s=0.4, retry_max=0), fake_llm.base_url, tries=tries)
    assert time.monotonic() - started < 3 and tries.timeouts == 1


def test_a_timeout_is_tried_again(fake_llm):
    fake_llm.script(HANG, HANG)
    tries = Tries()
    assert "THOUGHT" in ask(http(call_timeout_s=0.2), fake_llm.base_url, tries=tries)
    assert (tries.n, tries.timeouts) == (3, 2)


def test_hanging_answers_fail_their_items_but_do_not_stop_the_run(tmp_path, fake_llm):
    """An endpoint that is there but slow is not a dead one, however it hangs."""
    write_prompts(tmp_path, 26)
    write_toml(tmp_path, {"call_timeout_s": 0.3, "retry_max": 0, "workers": 26})
    fake_llm.script(*[HANG_IN_BODY] * 25)
    done = run_script("king.py", tmp_path, *flags_for(fake_llm))
    assert done.returncode == 1 and len(answers(tmp_path)) == 1
    failed = ledger_lines(tmp_path / "answer", state="failed")
    assert len(failed) == 25 and all("timeout" in line["error"] for line in failed)


# when a run stops ----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("code", [401, 402, 403])
def test_a_key_refused_at_the_first_call_stops_the_run_with_2(tmp_path, fake_llm, code):
    write_prompts(tmp_path, 12)
    fake_llm.always(Status(code, "no"))
    done = run_script("king.py", tmp_path, *flags_for(fake_llm, "--workers", 3))
    assert done.returncode == 2 and f"HTTP {code}" in done.stderr and "Traceback" not in done.stderr
    assert fake_llm.n_requests <= 3
    assert ledger_lines(tmp_path / "answer", state="failed") == []   # left missing, not failed one by one


@pytest.mark.parametrize("code", [401, 402, 403])
def test_a_key_refused_in_mid_run_stops_it_with_1_and_keeps_what_is_done(tmp_path, fake_llm, code):
    write_prompts(tmp_path, 12)
    fake_llm.script(OK, OK)
    fake_llm.always(Status(code, "no"))
    done = run_script("king.py", tmp_path, *flags_for(fake_llm, "--workers", 1))
    assert done.returncode == 1 and f"HTTP {code}" in done.stderr
    assert fake_llm.n_requests == 3 and answers(tmp_path) == ["prompts_12_1_1", "prompts_12_1_2"]
    assert ledger_lines(tmp_path / "answer", state="failed") == []


def test_an_unreachable_endpoint_stops_the_run_at_once_with_2(tmp_path):
    write_prompts(tmp_path, 40)
    write_toml(tmp_path)
    started = time.monotonic()
    done = run_script("king.py", tmp_path, "--llm-base-url", f"http://127.0.0.1:{free_port()}/v1", "--workers", 4)
    assert done.returncode == 2 and "does not answer" in done.stderr and "base URL" in done.stderr
    assert answers(tmp_path) == [] and ledger_lines(tmp_path / "answer", state="failed") == []
    assert time.monotonic() - started < 10


def test_an_endpoint_that_dies_in_mid_run_stops_it_with_1(tmp_path):
    client = http(retry_max=1)
    with FakeLLM() as fake:
        ask(client, fake.base_url)
    with pytest.raises(RunStopped, match="does not answer") as stopped:
        ask(client, fake.base_url)
    assert stopped.value.exit_code == 1


def test_an_endpoint_that_cuts_every_connection_stops_the_run(tmp_path, fake_llm):
    write_prompts(tmp_path, 80)
    write_toml(tmp_path, {"retry_max": 1})
    fake_llm.always(CUT)
    done = run_script("king.py", tmp_path, *flags_for(fake_llm, "--workers", 1))
    assert done.returncode == 2 and "does not answer" in done.stderr
    assert fake_llm.n_requests < 60


def test_one_request_that_is_always_cut_fails_alone(tmp_path, fake_llm):
    names = write_prompts(tmp_path, 8)
    write_toml(tmp_path, {"retry_max": 1})
    fake_llm.always(lambda request: CUT if request.task == "task 3" else OK)
    done = run_script("king.py", tmp_path, *flags_for(fake_llm, "--workers", 1))
    assert done.returncode == 1 and answers(tmp_path) == [n for n in names if n != "prompts_8_1_3"]
    assert [line["item"] for line in ledger_lines(tmp_path / "answer", state="failed")] == ["prompts_8_1_3"]


def test_a_base_url_that_is_none_stops_the_run_with_2(tmp_path):
    write_prompts(tmp_path, 2)
    done = run_script("king.py", tmp_path, "--llm-base-url", "localhost:80/v1")
    assert done.returncode == 2 and "base URL" in done.stderr and "Traceback" not in done.stderr


def stop_after(client: Http, seconds: float, call) -> float:
    """How long `call` goes on after the stop; it has to end in Interrupted."""
    ended = []
    timer = threading.Timer(seconds, lambda: (ended.append(time.monotonic()), client.stop.set()))
    timer.start()
    with pytest.raises(Interrupted):
        call()
    timer.join()
    return time.monotonic() - ended[0]


def test_a_stop_ends_the_wait_for_retry_after(fake_llm):
    fake_llm.always(Status(429, headers={"Retry-After": "30"}))
    client = http()
    assert stop_after(client, 0.2, lambda: ask(client, fake_llm.base_url)) < 5


def test_a_stop_ends_the_wait_before_a_retry(fake_llm):
    fake_llm.always(Status(500))
    client = http(retry_wait_s=30)
    assert stop_after(client, 0.2, lambda: ask(client, fake_llm.base_url)) < 5
    assert fake_llm.n_requests == 1


def test_a_stop_ends_the_wait_for_a_place_and_the_call_in_flight_finishes(fake_llm):
    fake_llm.latency_s = 2.0
    client, replies = http(), []
    first = threading.Thread(target=lambda: replies.append(ask(client, fake_llm.base_url, 1)))
    first.start()
    fake_llm.wait_for(1, "in_flight")
    assert stop_after(client, 0.1, lambda: ask(client, fake_llm.base_url, 1)) < 1.4
    first.join()
    assert fake_llm.n_requests == 1 and len(replies) == 1


# TLS and proxies -----------------------------------------------------------------------------------------------------

def test_a_certificate_of_nobody_is_refused_without_ca_bundle(certificate):
    with FakeLLM(certificate=certificate) as fake:
        with pytest.raises(RunStopped, match="certificate") as stopped:
            ask(http(retry_max=0), fake.base_url)
    assert stopped.value.exit_code == 2 and fake.n_requests == 0
    assert "ca_bundle" in str(stopped.value)   # what to do


def test_and_accepted_with_it(certificate):
    with FakeLLM(certificate=certificate) as fake:
        assert "THOUGHT" in ask(Http(ca_bundle=certificate[0]), fake.base_url)


def test_a_certificate_for_another_host_is_refused_with_it_too(certificate):
    with FakeLLM(certificate=certificate) as fake:
        with pytest.raises(RunStopped):
            ask(Http(Retry(retry_max=0), ca_bundle=certificate[0]), f"https://localhost:{fake.port}/v1")
    assert fake.n_requests == 0


def test_ca_bundle_adds_to_the_authorities_that_are_known(certificate):
    """`extra certificate authorities`: hosted endpoints go on working beside the one's own."""
    def names(client):
        context = client.session.get_adapter("https://x").poolmanager.connection_pool_kw["ssl_context"]
        return {str(authority["subject"]) for authority in context.get_ca_certs()}
    extra = names(Http(ca_bundle=certificate[0])) - names(Http())
    assert len(extra) == 1 and names(Http()) < names(Http(ca_bundle=certificate[0]))


def test_many_connections_share_one_ssl_context(certificate):
    def n_contexts():
        gc.collect()
        return sum(isinstance(thing, ssl.SSLContext) for thing in gc.get_objects())
    with FakeLLM(certificate=certificate, latency_s=0.3) as fake, ThreadPoolExecutor(24) as pool:
        client = Http(ca_bundle=certificate[0], pool=24)
        before = n_contexts()
        calls = [pool.submit(ask, client, fake.base_url, 24) for _ in range(24)]
        [call.result() for call in calls]
        assert fake.n_connections == 24 and n_contexts() == before > 0


def test_a_proxy_set_by_setting_is_used(fake_llm):
    ask(Http(proxy=fake_llm.url), "http://model.invalid/v1")
    assert fake_llm.requests[0].path == "http://model.invalid/v1/chat/completions"


def test_the_environments_proxies_are_not_used(fake_llm, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    assert ask(http(retry_max=0), fake_llm.base_url)


def test_no_netrc_of_the_user_is_sent(fake_llm, tmp_path, monkeypatch):
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password hush\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    ask(http(), fake_llm.base_url)
    assert "authorization" not in fake_llm.requests[0].headers


# what the data-set sources use ---------------------------------------------------------------------------------------

def test_get_json_sends_its_parameters_and_is_tried_again(fake_llm):
    fake_llm.files["/rows"] = b'{"rows": [1, 2]}'
    fake_llm.script(Status(503), Status(429, headers=NOTHING_429), Status(200, "<html>"))
    assert http().get_json(fake_llm.url + "/rows", {"offset": 7}, {"Authorization": "Bearer hf"}) == {"rows": [1, 2]}
    assert {(r.path, r.headers["authorization"]) for r in fake_llm.requests} == {("/rows?offset=7", "Bearer hf")}
    assert fake_llm.n_requests == 4


def test_get_json_of_what_is_not_there_says_so(fake_llm):
    with pytest.raises(HttpTrouble, match="404"):
        http().get_json(fake_llm.url + "/gone")
    assert fake_llm.n_requests == 1


def test_get_range_gives_just_those_bytes(fake_llm):
    fake_llm.files["/data"] = bytes(range(200))
    fake_llm.script(DROP)
    assert http().get_range(fake_llm.url + "/data", 10, 19) == bytes(range(10, 20))
    assert fake_llm.requests[-1].headers["range"] == "bytes=10-19"


def test_get_range_from_a_server_that_ignores_ranges(fake_llm):
    fake_llm.always(Status(200, bytes(range(200))))
    assert http().get_range(fake_llm.url + "/data", 10, 19) == bytes(range(10, 20))


def test_get_range_that_comes_short_is_tried_again_then_given_up(fake_llm):
    fake_llm.always(Status(206, b"abc", {"Content-Range": "bytes 0-2/3"}))
    with pytest.raises(HttpTrouble, match="3 bytes"):
        http(retry_max=1).get_range(fake_llm.url + "/data", 0, 9)
    assert fake_llm.n_requests == 2


def test_get_size_with_and_without_ranges(fake_llm):
    fake_llm.files["/data"] = b"x" * 4321
    assert http().get_size(fake_llm.url + "/data") == 4321
    fake_llm.script(Status(200, "y" * 99))
    assert http().get_size(fake_llm.url + "/data") == 99


def test_a_redirect_of_a_download_is_followed(fake_llm):
    fake_llm.files["/there"] = b"[1]"
    fake_llm.script(Status(302, headers={"Location": fake_llm.url + "/there"}))
    assert http().get_json(fake_llm.url + "/here") == [1]


def test_the_fake_sees_a_client_that_goes_away(fake_llm):
    """What the tests of kills count on: an answer that nobody takes is not `answered`."""
    fake_llm.latency_s = 30
    with socket.create_connection(("127.0.0.1", fake_llm.port)) as s:
        s.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}")
        fake_llm.wait_for(1, "in_flight")
    eventually(lambda: fake_llm.in_flight == 0)
    assert fake_llm.n_requests == 1 and not fake_llm.answered
