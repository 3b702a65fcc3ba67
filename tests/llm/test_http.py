"""Test HTTP calls: what is tried again, HTTP 429, time-outs, when a run stops, TLS, proxies."""
import gzip
import itertools
import json
import socket
import ssl
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import pytest
from conftest import REPO, answers, eventually, ledger_lines, run_here, run_king
from fake_llm import CUT, DROP, HANG, HANG_IN_BODY, HTML, OK, Drip, FakeLLM, Flood, Status
from line_tables import rows

import king
from codedata.errors import HttpTrouble, Interrupted, RunStopped, Trouble
from codedata.llm.http import Http, Tries, retry_after_s
from codedata.settings import LLM
from codedata.texts import tomllib

PROMPT = {"messages": [{"role": "user", "content": "p"}]}
SHORT_429 = Status(429, headers={"Retry-After": "0.02"})


def http(**settings) -> Http:
    return Http(LLM(**{"retry_wait_s": 0.01, "call_timeout_s": 10.0, **settings}))


def ask(client: Http, url: str, limit: int = 8, tries: Tries | None = None,
        data: bytes = b"") -> str:
    """Return the content of one completion."""
    def content(status, headers, body):
        return json.loads(body)["choices"][0]["message"]["content"]
    return client.send(client.at(client.endpoint(url, limit), url + "/chat/completions",
                                 data or json.dumps(PROMPT).encode()), content, tries=tries)


def ask_many(client: Http, url: str, limit: int, n_threads: int, n_calls: int) -> None:
    with ThreadPoolExecutor(n_threads) as pool:
        assert all(pool.map(lambda _: ask(client, url, limit), range(n_calls)))


# what is tried again -----------------------------------------------------------------------------

@pytest.mark.parametrize("fault", [
    Status(500), Status(503, "busy"), Status(502), Status(408), DROP, CUT, HANG,
    Status(200, "x", {"Content-Encoding": "gzip"}), Status(200, "x", {"X": "y" * 100_000}),
    Status(200, "[" * 100_000),
], ids=lambda fault: repr(fault)[:40])
def test_a_passing_fault_is_tried_again_and_a_lasting_one_given_up(fake_llm, fault):
    fake_llm.script(fault, fault)
    client, tries = http(retry_max=2, call_timeout_s=0.2 if fault is HANG else 10.0), Tries()
    assert "THOUGHT" in ask(client, fake_llm.base_url, tries=tries)
    assert (tries.n, tries.timeouts) == (3, 2 if fault is HANG else 0)
    assert [r.body for r in fake_llm.requests] == [PROMPT] * 3   # it goes out the same each time
    fake_llm.always(fault)
    with pytest.raises(HttpTrouble, match="3 tries"):
        ask(client, fake_llm.base_url)
    assert fake_llm.n_requests == 6


def test_a_refused_connection_is_tried_again_till_the_endpoint_is_up():
    with FakeLLM() as gone, ThreadPoolExecutor(1) as pool:
        gone.close()
        call = pool.submit(ask, http(retry_max=6, retry_wait_s=0.1), gone.base_url)
        time.sleep(0.3)
        with FakeLLM(port=gone.port):
            assert "THOUGHT" in call.result(60)


@pytest.mark.long
def test_waits_between_tries_grow_from_retry_wait_s(fake_llm):
    fake_llm.script(*[Status(500)] * 3)
    ask(http(retry_wait_s=0.1), fake_llm.base_url)
    # half of the waits, since a busy server may be late to see a request
    assert all(b.at - a.at > least for (a, b), least in zip(
        itertools.pairwise(fake_llm.requests), (0.04, 0.08, 0.16), strict=True))


@pytest.mark.parametrize("value", ["Größe €", "a\nb"])
def test_a_header_that_cannot_be_sent_is_trouble_not_a_bug(fake_llm, value):
    """requests raises ValueErrors of its own before anything is sent."""
    client = http()
    with pytest.raises(Trouble):
        client.send(client.at(client.endpoint("x", 1), fake_llm.base_url, b"{}",
                              {"X-Team": value}), lambda *_: None)


def test_never_more_calls_in_flight_than_the_endpoint_allows_and_connections_are_used_again(
        fake_llm):
    fake_llm.latency_s = 0.02
    ask_many(http(), fake_llm.base_url, 3, n_threads=16, n_calls=30)
    assert fake_llm.max_in_flight == 3 >= fake_llm.n_connections


# how much is read --------------------------------------------------------------------------------

CHUNKED = {"Transfer-Encoding": "chunked"}
GZIP = {"Content-Encoding": "gzip"}
BOMB = gzip.compress(bytes(300_000_000), 1)
TOO_LARGE = {
    "gzip": Status(200, BOMB, GZIP),
    "gzip in gzip": Status(200, gzip.compress(BOMB), {"Content-Encoding": "gzip, gzip"}),
    "no end": Flood(), "chunks without end": Flood(b"10000\r\n" + b"x" * 65_536 + b"\r\n", CHUNKED),
    "negative chunk": Flood(b"-1\r\n" + b"x" * 65_536, CHUNKED),
    "petabyte": Flood(headers={"Content-Length": 10**15}),
    "error of 300 MB": Status(500, BOMB, GZIP),
}
ASK_EACH = """
import resource, sys
from codedata.errors import HttpTrouble
from codedata.llm.http import Http
from codedata.settings import LLM
client = Http(LLM(retry_max=0))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for _ in range(int(sys.argv[2])):
    try:
        client.send(client.at(client.endpoint("x", 1), sys.argv[1], b"{}"),
                    lambda *answer: sys.exit("an answer"))
    except HttpTrouble:
        pass
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_bodies_larger_than_20_mb_fail_their_calls_in_little_memory(fake_llm):
    fake_llm.script(*TOO_LARGE.values())
    command = [sys.executable, "-c", ASK_EACH, fake_llm.base_url, str(len(TOO_LARGE))]
    child = subprocess.run(command, cwd=REPO,
                           capture_output=True, text=True, timeout=120)
    assert child.returncode == 0, child.stderr
    assert int(child.stdout) < 120 and fake_llm.n_requests == len(TOO_LARGE)


# HTTP 429 ----------------------------------------------------------------------------------------

@pytest.mark.parametrize("headers, seconds", rows("""
Retry-After: 1                            | 1
Retry-After: 0.2                          | 0.2
retry-after-ms: 300                       | 0.3
retry-after-ms: 300; Retry-After: 30      | 0.3
retry-after-ms: soon; Retry-After: 0.4    | 0.4
X:                                        | 0
Retry-After: soon                         | 0
Retry-After:                              | 0
Retry-After: nan                          | 0
Retry-After: -5                           | 0
Retry-After: 0                            | 0
retry-after-ms: -1                        | 0
Retry-After: Sat, 01 Jan 2000 00:00:00 GMT                    | 0
Retry-After: Sat, 01 Jan 2050 00:00:00 +99999999999999999999  | 0
"""))
def test_retry_after_in_every_shape(headers, seconds):
    found = dict(header.split(":", 1) for header in headers.split("; "))
    assert retry_after_s({name: value.strip() for name, value in found.items()}) == float(seconds)


@pytest.mark.parametrize("headers", [{"Retry-After": "1e9"}, {"Retry-After": "inf"},
                                     {"retry-after-ms": "1e12"},
                                     {"Retry-After": "Fri, 31 Dec 9999 23:59:59 GMT"}])
def test_an_absurd_retry_after_is_capped_at_a_minute(fake_llm, headers, caplog):
    caplog.set_level("INFO", "codedata.llm.http")
    fake_llm.always(Status(429, headers=headers))
    client = http()
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(ask, client, fake_llm.base_url)
        eventually(lambda: "again in 60.0 s" in caplog.text)
        client.stop.set()
        with pytest.raises(Interrupted):
            call.result(60)


def test_without_a_usable_retry_after_the_endpoint_is_not_hammered(fake_llm):
    fake_llm.always(Status(429))
    with pytest.raises(RunStopped, match="429") as stopped:
        ask(http(max_429_total_s=0.5, retry_wait_s=0.05), fake_llm.base_url)
    # with waits of 0.05, 0.1, 0.2 … it is 5
    assert stopped.value.exit_code == 1 and 2 <= fake_llm.n_requests <= 15


def test_429_does_not_use_up_retries(fake_llm):
    fake_llm.script(*[SHORT_429] * 6, Status(500))
    tries = Tries()
    assert "THOUGHT" in ask(http(retry_max=1), fake_llm.base_url, tries=tries)
    assert fake_llm.n_requests == 8 and tries.throttled == 6


def most_in_flight(requests) -> int:
    return max(request.in_flight for request in requests)


def test_a_429_lowers_the_concurrency_and_answers_bring_it_back(fake_llm):
    fake_llm.latency_s = 0.04
    throttled = Status(429, headers=SHORT_429.headers, latency_s=0.5)
    fake_llm.script(*[throttled] * 16)   # all 16 in flight get one
    ask_many(http(), fake_llm.base_url, 16, n_threads=16, n_calls=240)
    assert most_in_flight(fake_llm.requests[:16]) == 16
    assert most_in_flight(fake_llm.requests[16:30]) <= 12
    assert most_in_flight(fake_llm.requests[30:]) >= 15


@pytest.mark.parametrize("reply", [OK, Status(400)])
def test_any_answer_in_between_starts_the_429_clock_anew(fake_llm, reply):
    client = http(max_429_total_s=0.3)
    fake_llm.script(SHORT_429, reply)
    with suppress(HttpTrouble):
        ask(client, fake_llm.base_url)
    time.sleep(0.4)
    fake_llm.script(SHORT_429)
    assert ask(client, fake_llm.base_url)


# time-outs ---------------------------------------------------------------------------------------

SLOW = {"hang": HANG, "hang in the body": HANG_IN_BODY, "body drips": Drip(0.02, "body"),
        "chunked body drips": Drip(0.02, "chunked"), "head drips": Drip(0.02, "head"),
        "no end": Flood(b" ")}


@pytest.mark.parametrize("reply", SLOW.values(), ids=SLOW.keys())
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_call_timeout_s_bounds_a_call_from_start_to_last_byte(certificate, reply, scheme):
    tries = Tries()
    with FakeLLM(certificate=certificate if scheme == "https" else None) as fake:
        fake.always(reply)   # what drips is a good answer after 6 s
        with pytest.raises(HttpTrouble, match=r"timeout 0\.4 s"):
            client = http(ca_bundle=certificate[0], call_timeout_s=0.4, retry_max=0)
            ask(client, fake.base_url, tries=tries)
    assert tries.timeouts == 1


@contextmanager
def dripping(start: bytes):
    """Listen on a port that reads nothing; send `start` and then x for ever, a byte every 20 ms."""
    def serve():
        with suppress(OSError), server.accept()[0] as connection:
            for byte in itertools.chain(start, itertools.repeat(ord("x"))):
                connection.send(bytes([byte]))
                time.sleep(0.02)

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=serve, daemon=True).start()
        yield f"127.0.0.1:{server.getsockname()[1]}"


def test_it_bounds_the_sending_of_a_request_that_is_read_slowly(certificate):
    received = []

    def serve():
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        plain = server.accept()[0]
        with context.wrap_socket(plain, server_side=True) as connection, suppress(OSError):
            while piece := connection.recv(16_384):
                received.append(piece)
                time.sleep(0.005)

    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as pool:
        done = pool.submit(serve)
        with pytest.raises(HttpTrouble, match=r"timeout 0\.4 s"):
            ask(http(ca_bundle=certificate[0], call_timeout_s=0.4, retry_max=0),
                f"https://127.0.0.1:{server.getsockname()[1]}/v1", data=bytes(50_000_000))
        done.result(60)
    assert sum(map(len, received)) < 40_000_000


@pytest.mark.parametrize("start, url, proxy", [
    (b"\x16\x03\x03\x40\x00", "https://{}/v1", ""),
    (b"HTTP/1.1 200 OK\r\nX: ", "https://model.invalid/v1", "http://{}"),
    (b"", "http://{}/v1", ""),
], ids=["TLS handshake", "answer to CONNECT", "request that nobody reads"])
def test_it_bounds_what_comes_before_the_answer_too(start, url, proxy):
    with dripping(start) as address, pytest.raises(HttpTrouble, match=r"timeout 0\.4 s"):
        ask(http(proxy=proxy.format(address), call_timeout_s=0.4, retry_max=0), url.format(address),
            data=bytes(50_000_000))


def test_an_answer_may_take_longer_than_a_connection(fake_llm):
    fake_llm.latency_s = 10.5
    assert "THOUGHT" in ask(http(call_timeout_s=60.0, retry_max=0), fake_llm.base_url)


# when a run stops --------------------------------------------------------------------------------

FLAGGED = Status(403, {"error": {"message": "requires moderation", "metadata": {
    "reasons": ["violence"]}}})
FILTERED = [Status(400, {"error": {"code": code, "type": kind, "message": "a policy on violence"}})
            for code, kind in (("content_filter", None), (400, "content_filter"),
                               ("invalid_prompt", "invalid_request_error"),
                               ("data_inspection_failed", "data_inspection_failed"))]
ALIKE = "the first items all failed alike: "
REPLIES = {"OK": OK, "CUT": CUT, "HTML": HTML, "hang": HANG_IN_BODY, "flagged": FLAGGED,
           "large": Status(200, "x" * 20_000_001),
           "no model": lambda request: Status(404, f"no model, id {request.n}"),
           "429": Status(429, headers={"Retry-After": "0.3"}),
           "spent": Status(429, {"error": {"message": "You exceeded your current quota, please "
                                           "check your plan and billing details."}}),
           "quota": Status(429, [{"error": {"message": "check your plan and billing", "details": [
               {"@type": "google.rpc.RetryInfo", "retryDelay": "0.1s"}]}}]),
           "limit": Status(429, {"error": {"message": "Rate limit reached: 3 / min. Visit "
                                           "https://example.com/account/billing to pay."}}),
           "no balance": Status(200, {"error": {"message": "Insufficient balance"}}),
           "minimax": Status(200, {"choices": None, "base_resp": {
               "status_code": 1008, "status_msg": "insufficient balance"}}),
           "upstream": Status(200, {"error": {"message": "Provider returned error", "metadata": {
               "raw": "insufficient_quota in billing.py"}}}),
           "slip": Status(400, {"error": {"message": "Failed to call a function. Please adjust "
                                          "your prompt.", "code": "tool_use_failed"}})}


def replies(text: str) -> list:
    """Return the replies of a text, by name or status: replies("2 x OK, 400 no such model")."""
    found = []
    for part in text.split(", "):
        n, _, name = part.rpartition(" x ")
        code, _, body = name.partition(" ")
        found += [REPLIES.get(name) or Status(int(code), body)] * int(n or 1)
    return found


# number of prompts | [llm] | the first replies | all behind them | exit code | numbers of requests,
# answers and failed items | what is printed or in the errors; behind ! what is not
@pytest.mark.parametrize("n, llm, first, then, code, counts, said", rows(f"""
12 | | | 401    | 2 | 1 0 0 | HTTP 401;left 12;\
no key was sent: set QIANFAN_BEARER_TOKEN, OPENAI_API_KEY or api_key_env
12 | | 2 x OK      | 402 | 1 | 3 2 0 | HTTP 402;left 10
12 | | 2 x OK      | 403 | 1 | 3 2 0 | HTTP 403;left 10
12 | | 2 x OK      | spent | 1 | 3 2 0 | wants payment;billing details;left 10
12 | | 2 x OK      | no balance | 1 | 3 2 0 | wants payment;Insufficient balance;left 10
3  | retry_max = 3 | OK | 504 | 1 | 5 1 2 | gateway cuts long calls: set stream = true
2  | | quota       | OK  | 0 | 3 2 0 | !wants payment
12 | | 2 x OK      | minimax | 1 | 3 2 0 | wants payment;insufficient balance;left 10
2  | retry_max = 1 | upstream | OK | 0 | 3 2 0 | !wants payment
2  | | limit       | OK  | 0 | 3 2 0 | !wants payment
2  | retry_max = 1 | slip | OK | 0 | 3 2 0 | !function
6  | | 4 x flagged | OK  | 1 | 6 2 4 | flagged it;violence;!{ALIKE}
6  | | filtered    | OK  | 1 | 6 2 4 | flagged it;violence;!{ALIKE};!HTTP 400
9  | | | no model          | 2 | 3 0 3 | {ALIKE};left 6;\
Check --model and the base URL, which mostly ends in /v1
9  | | | 400 no such model | 2 | 3 0 3 | {ALIKE};left 6;!Check --model
9  | | | HTML              | 2 | 3 0 3 | {ALIKE};left 6;!Check --model
# after an answer; not alike; a passing fault; slow ones, which are not dead
6  | | OK, 4 x 404 | OK  | 1 | 6 2 4 | !{ALIKE}
6  | | 400 6 of 5, 400 7 of 5, 400 6 of 5, 400 7 of 5 | OK | 1 | 6 2 4 | !{ALIKE}
6  | | 4 x 503     | OK  | 1 | 6 2 4 | !{ALIKE}
26 | call_timeout_s = 0.3 | 25 x hang | OK | 1 | 26 1 25 | timeout;!{ALIKE}
2  | | large       | OK  | 1 | 2 1 1 | answered with more than 20,000,000 bytes
3  | max_429_total_s = 0.2 | | 429 | 1 | 2 0 0 | 429;left 3
40 | |             | CUT | 2 | 20 0 19 | does not answer
40 | | OK          | CUT | 1 | 21 1 19 | does not answer
"""))
def test_a_run_fails_items_or_stops_and_goes_on_where_the_endpoint_is_well(
        tmp_path, fake_llm, capsys, n, llm, first, then, code, counts, said):
    names = tmp_path.with_prompts(int(n)).prompts()
    tmp_path.with_settings({"retry_max": 0, **tomllib.loads(llm)})
    first = FILTERED if first == "filtered" else replies(first) if first else []
    then, = replies(then)
    fake_llm.script(*first)
    fake_llm.always(then)
    workers = ("--workers", n) if HANG_IN_BODY in first else ()
    assert run_king(tmp_path, fake_llm, *workers) == int(code)
    failed = ledger_lines(tmp_path / "answer", state="failed")
    printed = capsys.readouterr().err + "".join(line["error"] for line in failed)
    found = fake_llm.n_requests, len(answers(tmp_path)), len(failed)
    assert [*map(str, found)] == counts.split()
    assert all((part.strip("!") in printed) == (part[0] != "!") for part in said.split(";"))
    fake_llm.always(OK)
    assert run_king(tmp_path, fake_llm) == 0 and answers(tmp_path) == sorted(names)


@pytest.mark.parametrize("base_url, says", [
    ("http://127.0.0.1:1/v1", "http://127.0.0.1:1/v1/chat/completions does not answer"),
    ("localhost:80/v1", "base URL")])
def test_an_address_that_nobody_has_is_named_and_stops_the_run_with_2(
        tmp_path, capsys, base_url, says):
    tmp_path.with_prompts(4).with_settings()
    assert run_here(king.main, tmp_path, "--llm-base-url", base_url) == 2
    assert says in capsys.readouterr().err
    assert not ledger_lines(tmp_path / "answer", state="failed")


@pytest.mark.parametrize("reply", [Status(429, headers={"Retry-After": "3000"}), Status(500)],
                         ids=["Retry-After", "retry"])
def test_a_stop_ends_a_wait(fake_llm, reply):
    fake_llm.always(reply)
    client = http(max_429_total_s=9000, retry_wait_s=3000)
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(ask, client, fake_llm.base_url)
        eventually(lambda: fake_llm.n_requests and not fake_llm.in_flight)
        client.stop.set()
        with pytest.raises(Interrupted):
            call.result(60)
    assert fake_llm.n_requests == 1


def test_a_stop_ends_the_wait_for_a_place_and_the_call_in_flight_finishes(fake_llm):
    client, may_answer = http(), threading.Event()
    fake_llm.script(lambda request: OK if may_answer.wait(60) else CUT)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(ask, client, fake_llm.base_url, 1)
        fake_llm.wait_for(1, "in_flight")
        second = pool.submit(ask, client, fake_llm.base_url, 1)
        client.stop.set()
        with pytest.raises(Interrupted):
            second.result(60)
        may_answer.set()
        assert "THOUGHT" in first.result(60) and fake_llm.n_requests == 1


# TLS and proxies ---------------------------------------------------------------------------------

def test_a_certificate_of_nobody_is_accepted_with_ca_bundle_alone_and_for_its_host_alone(
        certificate):
    with FakeLLM(certificate=certificate) as fake:
        with pytest.raises(RunStopped, match="certificate") as stopped:
            ask(http(retry_max=0), fake.base_url)
        assert stopped.value.exit_code == 2 and "ca_bundle" in str(stopped.value)   # what to do
        with pytest.raises(RunStopped):
            ask(http(ca_bundle=certificate[0], retry_max=0), f"https://localhost:{fake.port}/v1")
        assert fake.n_requests == 0
        assert "THOUGHT" in ask(http(ca_bundle=certificate[0]), fake.base_url)


def test_ca_bundle_adds_to_the_authorities_that_are_known(certificate):
    """Check that the authorities are extra ones: hosted endpoints go on working."""
    def names(client):
        return {str(authority["subject"]) for authority in client.ssl_context.get_ca_certs()}
    known, more = names(http()), names(http(ca_bundle=certificate[0]))
    assert known < more and len(more - known) == 1


# what the data-set sources use -------------------------------------------------------------------

def test_get_range_gives_just_those_bytes_also_where_ranges_are_ignored(fake_llm):
    fake_llm.files["/data"] = bytes(range(200))
    fake_llm.script(DROP, OK, Status(200, bytes(range(200))))
    for _ in range(2):
        assert http().get_range(fake_llm.url + "/data", 10, 19) == bytes(range(10, 20))
    assert fake_llm.requests[-1].headers["range"] == "bytes=10-19"


@pytest.mark.parametrize("reply, problem, n_requests", [
    (OK, "404", 1), (Status(206, b"abc", {"Content-Range": "bytes 0-2/3"}), "3 bytes", 2),
], ids=["missing", "short"])
def test_a_download_that_fails_says_so(fake_llm, reply, problem, n_requests):
    fake_llm.always(reply)
    with pytest.raises(HttpTrouble, match=problem):
        http(retry_max=1).get_range(fake_llm.url + "/gone", 0, 9)
    assert fake_llm.n_requests == n_requests


def test_get_size_with_and_without_ranges(fake_llm):
    fake_llm.files["/data"] = b"x" * 4321
    assert http().get_size(fake_llm.url + "/data") == 4321
    fake_llm.script(Status(200, "y" * 99))
    assert http().get_size(fake_llm.url + "/data") == 99


@pytest.mark.parametrize("host, key", [("127.0.0.1", "Bearer hf"), ("localhost", None)])
def test_a_redirect_of_a_download_is_followed_and_takes_the_key_to_no_other_host(
        fake_llm, host, key):
    fake_llm.files["/there"] = b"[1]"
    fake_llm.script(Status(302, headers={"Location": f"http://{host}:{fake_llm.port}/there"}))
    keys = {"Authorization": "Bearer hf", "api-key": "Bearer hf"}
    assert http().get_json(fake_llm.url + "/here", headers=keys) == [1]
    for name in ("authorization", "api-key"):
        first, last = (request.headers.get(name) for request in fake_llm.requests)
        assert (first, last) == ("Bearer hf", key)
