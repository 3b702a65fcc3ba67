"""Start the server on a free port and a folder of its own, and talk to it through sockets."""
import contextlib
import hashlib
import hmac
import http.client
import json
import os
import random
import signal
import socket
import subprocess
import time
from resource import RLIMIT_FSIZE, prlimit

SECRET = "only for these tests"
PATIENCE_S = 30
DEEP = 32768


def assert_soon(condition, complaint):
    """Wait for a condition to hold."""
    for _ in range(PATIENCE_S * 20):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError(complaint)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def is_open(port, host="127.0.0.1"):
    with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=PATIENCE_S):
        return True
    return False


@contextlib.contextmanager
def running(folder, room=None):
    """Run the server until it is killed at the end; yield its port and its id. No file gets more
    bytes than there is room for."""
    port = free_port()
    env = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "PORT": str(port),
           "DATA_DIR": str(folder), "HOOK_SECRET": SECRET}
    server = subprocess.Popen(["/usr/bin/node", "/app/server.js"], env=env, cwd="/app",
                              stdin=subprocess.DEVNULL, start_new_session=True,
                              stderr=subprocess.DEVNULL if room else None)
    if room:
        prlimit(server.pid, RLIMIT_FSIZE, (room, prlimit(server.pid, RLIMIT_FSIZE)[1]))
    try:
        assert_soon(lambda: server.poll() is not None or is_open(port), "it does not listen")
        assert server.poll() is None, "the server ended at its start"
        yield port, server.pid
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait(timeout=PATIENCE_S)


@contextlib.contextmanager
def inbox(folder):
    with running(folder) as (port, _):
        yield port


def connect(port):
    try:
        return socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
    except OSError as error:
        raise AssertionError(f"the server is gone: {error}") from error


def read_answer(client):
    """Return (status, value) of the answer; the value is bytes where they are nested too deep."""
    response = http.client.HTTPResponse(client)
    try:
        response.begin()
        body = response.read()
        if body.count(b"[") > DEEP:
            return response.status, body
        return response.status, json.loads(body)
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise AssertionError(f"no answer in JSON: {error!r}") from error


def send(client, data):
    try:
        client.sendall(data)
    except OSError as error:
        raise AssertionError(f"the server hung up: {error}") from error


def exchange(port, *pieces):
    with connect(port) as client:
        for piece in pieces:
            send(client, piece)
        return read_answer(client)


def sign(body):
    return "sha256=" + hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()


def head(source, name, signature, length):
    lines = [f"POST /hooks/{source} HTTP/1.1", "Host: inbox", "Connection: close", length]
    lines += [f"X-Hook-Id: {name}"] if name is not None else []
    lines += [f"X-Hook-Signature: {signature}"] if signature is not None else []
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def delivery(source, name, body, signature):
    return head(source, name, signature, f"Content-Length: {len(body)}") + body


def post(port, source, name, value):
    body = json.dumps(value, ensure_ascii=False).encode()
    return exchange(port, delivery(source, name, body, sign(body)))


def get(port, path):
    request = f"GET {path} HTTP/1.1\r\nHost: inbox\r\nConnection: close\r\n\r\n"
    return exchange(port, request.encode())


def journal(folder):
    path = folder / "journal.ndjson"
    assert path.is_file(), "there is no journal"
    text = path.read_text(encoding="utf-8", errors="replace")
    assert text.endswith("\n"), "the journal's last line is torn"
    try:
        return [json.loads(line) for line in text.split("\n")[:-1]]
    except ValueError as error:
        raise AssertionError(f"a line of the journal is not JSON: {error}") from error


def event(seq, source, name, body):
    return {"seq": seq, "source": source, "id": name, "body": body}


def test_signatures_are_of_the_bytes(tmp_path):
    with inbox(tmp_path / "new" / "data") as port:
        assert not is_open(port, "127.0.0.2") and not is_open(port, "::1"), "open to others"
        values = [{"name": "Zoë Šimůnková", "n": 3**60}, ["…", "日本語", "🦊"], "ñ" * 300]
        for seq, value in enumerate(values, start=1):
            text = json.dumps(value, ensure_ascii=False, indent=1)
            body = text.replace("\n", "\r\n").encode()
            chunks = [b"1\r\n" + body[i:i + 1] + b"\r\n" for i in range(len(body))]
            start = head("shop", f"d{seq}", sign(body), "Transfer-Encoding: chunked")
            assert exchange(port, start, *chunks, b"0\r\n\r\n") == (202, {"seq": seq})
        body = b'{"total": 12}'
        good = sign(body)
        others = [good[:i] + "10"[good[i] == "1"] + good[i + 1:] for i in range(len(good))]
        for bad in [None, "", "sha256=", good[:-1], good + "0", good[7:], "sha1=" + good[7:],
                    "\xe9" * len(good), sign(body + b" "), "x" * 5000, *others,
                    "sha256=" + good[7:].upper()]:
            answer = exchange(port, delivery("shop", "b", body, bad))
            assert answer == (401, {"error": "signature"}), bad
        for bad in ['{"name": "Zoë"}'.encode("latin-1"), b"{", b"", b'"\xed\xa0\x80"', b"NaN",
                    b"\xef\xbb\xbf" + body, b"[1] 2"]:
            assert exchange(port, delivery("shop", "b", bad, sign(bad))) == (400, {"error": "json"})
        for missing in [None, ""]:
            answer = exchange(port, delivery("shop", missing, body, good))
            assert answer == (400, {"error": "id"})
        full = b'"' + b"f" * 65534 + b'"'
        assert exchange(port, delivery("shop", "f", full, sign(full))) == (202, {"seq": 4})
        long = full[:-1] + b'f"'
        chunked = head("shop", "l", sign(long), "Transfer-Encoding: chunked")
        chunked += b"10001\r\n" + long + b"\r\n0\r\n\r\n"
        wide = ('"' + "é" * 32767 + 'f"').encode()
        for request in [delivery("shop", "l", long, sign(long)), chunked,
                        delivery("shop", "w", wide, sign(wide))]:
            assert exchange(port, request) == (413, {"error": "size"})
        assert post(port, "shop", "last", values[0]) == (202, {"seq": 5})
        assert [line["body"] for line in journal(tmp_path / "new" / "data")[:3]] == values


def test_the_first_line_that_applies_is_the_answer(tmp_path):
    with inbox(tmp_path) as port:
        assert post(port, "shop", "1", "known") == (202, {"seq": 1})
        long, broken = b"[" * 65537, b"["
        for name, body, signature, expected in [
                (None, long, "sha256=", (413, {"error": "size"})),
                (None, broken, sign(b"other"), (401, {"error": "signature"})),
                ("1", b'"known"', sign(b"other"), (401, {"error": "signature"})),
                (None, broken, sign(broken), (400, {"error": "id"})),
                ("1", broken, sign(broken), (400, {"error": "json"}))]:
            assert exchange(port, delivery("shop", name, body, signature)) == expected
        halves = b"Host: inbox\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{", b"}"
        for start, end, expected in [
                (head("shop", "2", sign(b""), "Content-Length: 200000") + b"x" * 100000,
                 b"x" * 100000, (413, {"error": "size"})),
                (b"GET /events?limit=0 HTTP/1.1\r\n" + halves[0], halves[1],
                 (400, {"error": "query"})),
                (b"PATCH /hooks/shop HTTP/1.1\r\n" + halves[0], halves[1],
                 (404, {"error": "path"})),
                (b"POST /hooks/shop HTTP/1.1\r\n" + halves[0], halves[1],
                 (401, {"error": "signature"}))]:
            with connect(port) as client:
                send(client, start)
                client.settimeout(0.3)
                with contextlib.suppress(TimeoutError):
                    assert client.recv(1) is None, "answered before the end of the request"
                client.settimeout(PATIENCE_S)
                send(client, end)
                assert read_answer(client) == expected
        assert len(journal(tmp_path)) == 1


def test_retries_are_stored_once(tmp_path):
    with inbox(tmp_path) as port, contextlib.ExitStack() as stack:
        assert post(port, "shop", "1", {"a": 1}) == (202, {"seq": 1})
        assert post(port, "shop", "1", {"a": 2}) == (200, {"seq": 1, "duplicate": True})
        assert post(port, "till", "1", {"a": 3}) == (202, {"seq": 2})
        odd = [("a:b", "c"), ("a", "b:c"), ("a-b", "c"), ("a", 'b"\\c'), ("a", "constructor"),
               ("a+b", "c"), ("a%20b", "c")]
        for seq, (source, name) in enumerate(odd, start=3):
            assert post(port, source, name, None) == (202, {"seq": seq}), (source, name)
        names = ["same"] * 16 + [f"other{i}" for i in range(8)]
        random.Random(5).shuffle(names)
        waiting = []
        for name in names:   # all but the last byte, so that all of them end at once
            body = json.dumps({"name": name}).encode()
            client = stack.enter_context(connect(port))
            send(client, delivery("shop", name, body, sign(body))[:-1])
            waiting.append((name, client))
        for _, client in waiting:
            send(client, b"}")
        answers = [(name, *read_answer(client)) for name, client in waiting]
        lines = journal(tmp_path)
    seqs = {line["id"]: line["seq"] for line in lines[9:]}
    assert [line["seq"] for line in lines] == list(range(1, 19))
    assert sorted(seqs) == sorted(set(names))
    stored = [name for name, status, _ in answers if status == 202]
    assert sorted(stored) == sorted(set(names))
    for name, status, value in answers:
        mark = {} if status == 202 else {"duplicate": True}
        assert (status in (200, 202), value) == (True, {"seq": seqs[name], **mark})


def test_a_kill_loses_nothing_acknowledged(tmp_path):
    expected = [event(1, "shop", "k1", ["old"]), event(2, "till", "k1", None)]
    lines = "".join(json.dumps(line) + "\n" for line in expected) + '{"seq":3,"source":"shop"'
    (tmp_path / "journal.ndjson").write_text(lines)
    for torn in ['{"seq": 5, "source": "shop", "id": "torn", "body": "Ž'.encode()[:-1], b"{",
                 b'{"seq":9,"source":"shop","id":"torn","body":"whole but for its line feed"}']:
        with inbox(tmp_path) as port:
            for _ in range(4):
                seq = len(expected) + 1
                value = {"text": "Grüße\n", "n": seq * 10**17 + 7}
                assert post(port, "shop", f"k{seq}", value) == (202, {"seq": seq})
                expected.append(event(seq, "shop", f"k{seq}", value))
        assert journal(tmp_path) == expected
        with open(tmp_path / "journal.ndjson", "ab") as out:
            out.write(torn)
        with inbox(tmp_path) as port:
            assert get(port, "/events") == (200, {"events": expected, "next": None})
            for seq in [1, len(expected) - 1]:
                again = post(port, "shop", f"k{seq}", "again")
                assert again == (200, {"seq": seq, "duplicate": True})
            seq = len(expected) + 1
            assert post(port, "shop", f"torn{seq}", "now whole") == (202, {"seq": seq})
            expected.append(event(seq, "shop", f"torn{seq}", "now whole"))
        assert journal(tmp_path) == expected
    with running(tmp_path, room=8192) as (port, pid):   # what finds no room is not acknowledged
        for seq in range(len(expected) + 1, len(expected) + 60):
            try:
                status, _ = post(port, "shop", f"k{seq}", "r" * 200)
            except AssertionError:   # what it answers, or whether it ends, is up to it
                status = 500
            if status not in (200, 202):
                break
            expected.append(event(seq, "shop", f"k{seq}", "r" * 200))
        with contextlib.suppress(AssertionError, ProcessLookupError):   # if it goes on, with room
            prlimit(pid, RLIMIT_FSIZE, (prlimit(pid, RLIMIT_FSIZE)[1],) * 2)
            for name in [f"k{seq}", "later"]:
                if post(port, "shop", name, "room")[0] in (200, 202):
                    expected.append(event(len(expected) + 1, "shop", name, "room"))
    with inbox(tmp_path) as port:
        assert get(port, "/events?limit=100") == (200, {"events": expected, "next": None})


def test_it_goes_on_whatever_it_is_sent(tmp_path):
    with inbox(tmp_path) as port:
        nothing = (404, {"error": "path"})
        for path in ["//", "http://[", "/", "/hooks/shop", "/events/1"]:
            assert get(port, path) == nothing, path
        for line in ["DELETE /events", "PUT /hooks/shop", "POST /events", "POST /hooks/"]:
            request = (f"{line} HTTP/1.1\r\nHost: inbox\r\nConnection: close\r\n"
                       "Content-Length: 2\r\n\r\n{}")
            assert exchange(port, request.encode()) == nothing, line
        for source in ["%", "%E9", "%zz", "a/b"]:
            assert exchange(port, delivery(source, "1", b"1", sign(b"1"))) == nothing, source
        body = b'{"n": 1}'
        more = f"Content-Length: {len(body) + 9}"
        broken = head("shop", "h2", sign(body), "Transfer-Encoding: chunked")
        broken += b"8\r\n" + body + b"\r\nzz\r\n"
        for request in [head("shop", "h1", sign(body), more) + body, broken,
                        b"GET /events HTTP/1.1\r\nHost: inbox\r\nContent-Length: 9\r\n\r\n{",
                        b"PUT /other HTTP/1.1\r\nHost: inbox\r\nContent-Length: 9\r\n\r\n{",
                        b"no HTTP at all\r\n\r\n"]:
            with connect(port) as client:   # and hang up
                send(client, request)
            time.sleep(0.1)   # a server that falls over it does so now
            assert get(port, "/events") == (200, {"events": [], "next": None}), request
        for seq in [1, 2]:   # what did not come whole was not stored
            assert post(port, "shop", f"h{seq}", {"n": 1}) == (202, {"seq": seq})
        deep = b"[" * DEEP + b"]" * DEEP
        assert exchange(port, delivery("deep", "1", deep, sign(deep))) == (202, {"seq": 3})
        digits = [b"12345678901234.567890123456789", b"1e400", b"-0.10", b"9007199254740993"]
        body = b"[" + b",".join(digits) + b"]"
        assert exchange(port, delivery("deep", "2", body, sign(body))) == (202, {"seq": 4})
    with inbox(tmp_path) as port:
        status, listed = get(port, "/events?after=2")
        assert status == 200 and deep in listed
        stored = (tmp_path / "journal.ndjson").read_bytes()
        for number in digits:
            assert number in listed and number in stored, f"{number} has lost digits"


def test_events_come_in_pages(tmp_path):
    numbers = random.Random(6)
    with inbox(tmp_path) as port:
        known = []
        for seq in range(1, 131):
            source = numbers.choice(["shop", "till", "till"]) if seq < 130 else "caf%C3%A9%2F"
            name = source.replace("%C3%A9%2F", "é/")
            known.append(event(seq, name, f"p{seq}", {"value": numbers.randrange(10**6)}))
            assert post(port, source, f"p{seq}", known[-1]["body"]) == (202, {"seq": seq})
        assert post(port, known[0]["source"], "p1", 0) == (200, {"seq": 1, "duplicate": True})
        till = [one for one in known if one["source"] == "till"]
        for query, listed, last in [
                ("", known[:50], 50), ("?limit=100", known[:100], 100),
                ("?limit=5000", known[:100], 100), ("?after=80", known[80:], None),
                ("?after=127&limit=3", known[127:], None),
                ("?after=126&limit=3", known[126:129], 129), ("?after=130", [], None),
                ("?after=999999&limit=1", [], None), ("?source=none", [], None),
                (f"?after=1{'0' * 30}", [], None), (f"?limit=1{'0' * 30}", known[:100], 100),
                ("?after=007&limit=003", known[7:10], 10), ("?source=", [], None),
                ("?source=caf%C3%A9%2F", known[129:], None),
                (f"?source=till&limit={len(till)}", till, None),
                (f"?source=till&limit={len(till) - 1}", till[:-1], till[-2]["seq"]),
                (f"?source=till&after={till[3]['seq']}&limit=2", till[4:6], till[5]["seq"])]:
            assert get(port, f"/events{query}") == (200, {"events": listed, "next": last}), query
        for query in ["after=-1", "after=x", "after=1.5", "after=", "limit=0", "limit=-3",
                      "limit=2a", "limit=1e1", "after=0x5"]:
            assert get(port, f"/events?{query}") == (400, {"error": "query"}), query
        assert get(port, "/event") == (404, {"error": "path"})
