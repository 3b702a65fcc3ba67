"""Several applications in one process, asked in turn; and what a process is like before and after."""
import json
import os
import select
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

import pytest

REPO = "/app"

# Makes, starts, asks and ends applications as the test says, and prints what came back.
DRIVER = r"""
import json, os, sys
sys.path.insert(0, sys.argv[1])
from concurrent.futures import ThreadPoolExecutor
apps, clients, begun = {}, {}, {}
def ask(name, method, path, body, client):
    headers = {"X-Client": client} if client else {}
    r = clients[name].request(method, path, json=body, headers=headers)
    return [r.status_code, r.json()]
from fastapi.testclient import TestClient
print(json.dumps("ready"), flush=True)
for line in sys.stdin:
    what, name, rest = json.loads(line)
    try:
        if what == "make":
            from booking.config import Settings
            from booking.main import create_app
            apps[name] = create_app(Settings(**rest))
            answer = None
        elif what == "start":
            clients[name] = TestClient(apps[name])
            clients[name].__enter__()
            answer = None
        elif what == "end":
            clients.pop(name).__exit__(None, None, None)
            answer = None
        elif what == "ask":
            answer = ask(name, *rest)
        elif what == "begin":
            begun[name] = ThreadPoolExecutor(1).submit(ask, name, *rest)
            answer = None
        elif what == "finish":
            answer = begun.pop(name).result(60)
        elif what == "python":
            space = {}
            exec(rest, space)
            answer = space["answer"]
    except BaseException as e:
        answer = "raised " + type(e).__name__ + ": " + str(e)
    print(json.dumps(answer), flush=True)
"""

COMMON = {"PATH": os.environ["PATH"], "HOME": "/tmp", "PYTHONDONTWRITEBYTECODE": "1"}
SETTINGS = {
    "a": {"hourly_rate": 2000, "currency": "EUR", "max_minutes": 240, "page_size": 2, "quota": 3, "reference_seed": 11},
    "b": {"hourly_rate": 3150, "currency": "CHF", "max_minutes": 90, "page_size": 3, "quota": 2, "reference_seed": 42},
}


def settings_in(folder, kind):
    os.makedirs(folder, exist_ok=True)
    files = {"database": "rooms.db", "audit_log": "what.log", "outbox": "out.jsonl"}
    return dict(SETTINGS[kind], **{key: os.path.join(folder, name) for key, name in files.items()})


def too_late(*_):
    raise AssertionError("it takes too long")


class Process:
    def __init__(self, folder, env={}):
        self.folder = str(folder)
        path = os.path.join(self.folder, "driver.py")
        with open(path, "w") as f:
            f.write(DRIVER)
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", path, REPO], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True, cwd=self.folder, start_new_session=True,
            env=dict(COMMON, **env))
        signal.signal(signal.SIGALRM, too_late)
        signal.alarm(240)
        assert json.loads(self.process.stdout.readline()) == "ready"

    def do(self, what, name=None, rest=None):
        self.process.stdin.write(json.dumps([what, name, rest]) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, "the process died at %s %s" % (what, name)
        return json.loads(line)

    def must(self, *words):
        answer = self.do(*words)
        assert answer is None, (words, answer)

    def threads(self):
        return len(os.listdir("/proc/%d/task" % self.process.pid))

    def settle(self, threads):
        "Do the threads become so few within some seconds?"
        for _ in range(400):
            if self.threads() <= threads:
                return True
            time.sleep(0.05)
        return False

    def open_files(self, folder):
        found = []
        base = "/proc/%d/fd" % self.process.pid
        for number in os.listdir(base):
            try:
                found.append(os.readlink(os.path.join(base, number)))
            except OSError:
                pass
        return [name for name in found if name.startswith(str(folder) + os.sep)]

    def end(self):
        signal.alarm(0)
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@pytest.fixture
def processes(tmp_path):
    made = []

    def make(env={}):
        made.append(Process(tmp_path, env))
        return made[-1]

    yield make
    for process in made:
        process.end()


def booking(start, minutes, client, room=1, **more):
    return "POST", "/bookings", dict(more, room=room, start=start, minutes=minutes), client


def shown(reference, room, client, start, minutes, price, currency):
    return {"reference": "BK-" + reference, "room": room, "client": client, "start": start, "minutes": minutes,
            "price": price, "currency": currency}


def script(kind):
    "Requests to an application of this kind, each with the answer of one that is alone"
    a = kind == "a"
    name = "Hall" if a else "Nook"
    c = "EUR" if a else "CHF"
    refs = REFERENCES[kind]
    percent = 150 if a else 70
    first = shown(refs[0], name, "ann", 600, 60, 2000 if a else 3150, c)
    usd = shown(refs[1 + a], name, "ann", 1100, 31, 827 if a else 1302, "USD")
    yield ("POST", "/rooms", {"name": name}, None), [201, {"id": 1, "name": name}]
    yield ("POST", "/rooms", {"name": "Den"}, None), [201, {"id": 2, "name": "Den"}]
    yield ("POST", "/rooms", {"name": name}, None), [409, {"detail": "there is a room " + name}]
    yield ("GET", "/quote?start=600&minutes=50", None, None), [200, {"price": 1667 if a else 2625, "currency": c}]
    yield booking(600, 60, "ann"), [201, first]
    second = shown(refs[1], "Den", "bob", 0, 120, 2000, c)
    if a:
        yield booking(0, 120, "bob", room=2), [201, second]
    else:
        yield booking(0, 120, "bob", room=2), [422, {"detail": [
            {"loc": ["body", "minutes"], "msg": "at most 90 minutes", "type": "value_error"}]}]
    yield ("PUT", "/bands/day", {"percent": percent}, None), [200, {"until": 1080, "percent": percent}]
    yield ("GET", "/quote?start=600&minutes=50", None, None), [200, {"price": 2500 if a else 1838, "currency": c}]
    yield ("GET", "/quote?start=1079&minutes=20", None, None), [200, {"price": 1000 if a else 735, "currency": c}]
    yield booking(1100, 31, "ann", currency="USD"), [201, usd]
    third = shown(refs[-1], "Den", "ann", 479, 1, 17, c)
    if a:
        yield booking(479, 1, "ann", room=2), [201, third]
    else:
        yield booking(479, 1, "ann", room=2), [429, {"detail": "ann has made 2 bookings"}]
    yield booking(600, 60, "ann"), ([429, {"detail": "ann has made 3 bookings"}] if a else
                                    [429, {"detail": "ann has made 2 bookings"}])
    yield booking(600, 60, "eve", room=9), [404, {"detail": "no room 9"}]
    yield booking(600, 60, None), [422, {"detail": [
        {"loc": ["header", "x-client"], "msg": "field required", "type": "value_error.missing"}]}]
    yield ("PATCH", "/rooms/1", {"name": name + " 2"}, None), [200, {"id": 1, "name": name + " 2"}]
    everything = [first, second, usd, third] if a else [first, usd]
    everything = [dict(b, room=name + " 2") if b["room"] == name else b for b in everything]
    yield ("GET", "/bookings", None, None), [200, {"total": len(everything), "items": everything[:2]}]
    yield ("GET", "/bookings?limit=50", None, None), [200, {"total": len(everything), "items": everything}]
    yield ("PUT", "/bands/dawn", {"percent": 1}, None), [404, {"detail": "no band dawn"}]
    yield ("GET", "/rooms", None, None), [200, [{"id": 1, "name": name + " 2"}, {"id": 2, "name": "Den"}]]
    yield booking(600, 60, "sue", currency=None), [422, {"detail": [
        {"loc": ["body", "currency"], "msg": "none is not an allowed value", "type": "type_error.none.not_allowed"}]}]
    yield ("GET", "/stats", None, None), [200, {"requests": 21, "errors": 6 if a else 8, "bookings": len(everything)}]


REFERENCES = {"a": ["676NM8", "MG6VKF", "C36LAE", "DCNRB7"], "b": ["HBTRQJ", "GF5CBF"]}


def lines(folder, name):
    path = os.path.join(str(folder), name)
    with open(path) as f:
        return f.read().splitlines()


def written(kind):
    "The audit log and the outbox after the script"
    refs = ["BK-" + r for r in REFERENCES[kind]]
    if kind == "a":
        made = [(refs[0], "ann", "20.00 EUR"), (refs[1], "bob", "20.00 EUR"), (refs[2], "ann", "8.27 USD"),
                (refs[3], "ann", "0.17 EUR")]
        log = ["room 1 Hall", "room 2 Den"] + ["booking %s %s %s" % m for m in made]
        log.insert(4, "price day 150")
    else:
        made = [(refs[0], "ann", "31.50 CHF"), (refs[1], "ann", "13.02 USD")]
        log = ["room 1 Nook", "room 2 Den"] + ["booking %s %s %s" % m for m in made]
        log.insert(3, "price day 70")
    return log, [{"to": to, "text": "%s: %s" % (ref, price)} for ref, to, price in made]


def check_files(folder, kind):
    log, out = written(kind)
    assert lines(folder, "what.log") == log
    assert [json.loads(line) for line in lines(folder, "out.jsonl")] == out


def test_applications_share_nothing(processes, tmp_path):
    process = processes()
    folders = {name: tmp_path / name for name in ("a", "b", "a2", "b2")}
    for name in ("b", "a", "a2"):
        process.must("make", name, settings_in(str(folders[name]), name[0]))
    process.must("start", "a")
    process.must("start", "b")
    for (ask, answer), (ask_b, answer_b) in zip(script("a"), script("b")):
        assert process.do("ask", "a", ask) == answer, ("a", ask)
        assert process.do("ask", "b", ask_b) == answer_b, ("b", ask_b)
    # two that come later, one of them after another one has ended
    process.must("end", "b")
    check_files(folders["b"], "b")
    process.must("make", "b2", settings_in(str(folders["b2"]), "b"))
    process.must("start", "b2")
    process.must("start", "a2")
    for (ask, answer), (ask_b, answer_b) in zip(script("a"), script("b")):
        assert process.do("ask", "b2", ask_b) == answer_b, ("b2", ask_b)
        assert process.do("ask", "a2", ask) == answer, ("a2", ask)
    for name in ("a2", "a", "b2"):
        process.must("end", name)
    for name, folder in folders.items():
        check_files(folder, name[0])
    # what the first ones were given is still what counts
    process.must("start", "a")
    assert process.do("ask", "a", ("GET", "/bookings", None, None))[1]["total"] == 4
    assert process.do("ask", "a", booking(600, 241, "zoe"))[1]["detail"][0]["msg"] == "at most 240 minutes"
    process.must("end", "a")
    # another one on the files of one that has ended is like one in a fresh process
    process.must("make", "a3", settings_in(str(folders["a"]), "a"))
    process.must("start", "a3")
    status, made = process.do("ask", "a3", booking(600, 60, "ann"))
    assert (status, dict(made, reference=None)) == (
        201, dict(shown("", "Hall 2", "ann", 600, 60, 2000, "EUR"), reference=None))
    assert process.do("ask", "a3", ("GET", "/stats", None, None)) == [200, {"requests": 2, "errors": 0, "bookings": 1}]
    process.must("end", "a3")


def fill(path):
    "Nothing more can be written into this pipe until somebody reads from it."
    writer = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    for size in (4096, 1):
        try:
            while True:
                os.write(writer, b"\n" * size)
        except BlockingIOError:
            pass
    os.close(writer)


def wait_for_bookings(folder, number):
    "Until so many are in the database and there was time to come to the audit log; not for ever"
    until = time.monotonic() + 10
    found = 0
    while found < number and time.monotonic() < until:
        time.sleep(0.05)
        try:
            db = sqlite3.connect("file:%s/rooms.db?mode=ro" % folder, uri=True)
            found = db.execute("select count(*) from bookings").fetchone()[0]
            db.close()
        except sqlite3.Error:
            pass
    time.sleep(0.5)


def test_applications_at_once(processes, tmp_path):
    process = processes()
    folders = {name: tmp_path / name for name in ("a", "b", "b2")}
    readers = {}
    stats = "GET", "/stats", None, None
    try:
        for name, folder in folders.items():
            settings = settings_in(str(folder), name[0])
            if name != "b2":
                # an audit log that can be made to take nothing for a while
                os.mkfifo(settings["audit_log"])
                readers[name] = os.open(settings["audit_log"], os.O_RDONLY | os.O_NONBLOCK)
            process.must("make", name, settings)
        for name in folders:
            process.must("start", name)
            assert process.do("ask", name, ("POST", "/rooms", {"name": "Loft"}, None))[0] == 201
        log = {name: read_now(reader) for name, reader in readers.items()}
        ref_a = REFERENCES["a"][0]
        ref_b, ref_b_2 = REFERENCES["b"]
        # one in the midst of a booking while others make theirs
        fill(str(folders["a"] / "what.log"))
        process.must("begin", "a", booking(600, 60, "ann"))
        wait_for_bookings(folders["a"], 1)
        for name in ("b", "b2"):
            assert process.do("ask", name, booking(600, 60, "bob")) == [
                201, shown(ref_b, "Loft", "bob", 600, 60, 3150, "CHF")], name
            assert process.do("ask", name, stats) == [200, {"requests": 3, "errors": 0, "bookings": 1}], name
        # two in the midst of one; the one that came first goes on first
        fill(str(folders["b"] / "what.log"))
        process.must("begin", "b", booking(600, 30, "sue"))
        wait_for_bookings(folders["b"], 2)
        log["a"] += read_now(readers["a"])
        assert process.do("finish", "a") == [201, shown(ref_a, "Loft", "ann", 600, 60, 2000, "EUR")]
        assert process.do("ask", "a", stats) == [200, {"requests": 3, "errors": 0, "bookings": 1}]
        log["b"] += read_now(readers["b"])
        assert process.do("finish", "b") == [201, shown(ref_b_2, "Loft", "sue", 600, 30, 1575, "CHF")]
        assert process.do("ask", "b", stats) == [200, {"requests": 5, "errors": 0, "bookings": 2}]
        for name in folders:
            process.must("end", name)
        for name, reader in readers.items():
            log[name] = (log[name] + read_now(reader)).decode().split("\n")
    finally:
        for reader in readers.values():
            os.close(reader)
    log["b2"] = lines(folders["b2"], "what.log")
    room = "room 1 Loft"
    bob = "BK-%s bob 31.50 CHF" % ref_b
    for name, made in (("a", ["BK-%s ann 20.00 EUR" % ref_a]), ("b2", [bob]),
                       ("b", [bob, "BK-%s sue 15.75 CHF" % ref_b_2])):
        assert [line for line in log[name] if line] == [room] + ["booking " + words for words in made]
        told = [json.loads(line) for line in lines(folders[name], "out.jsonl")]
        assert ["%s %s" % (job["to"], job["text"]) for job in told] == [
            "%s %s: %s" % (who, ref, price) for ref, who, price in (words.split(" ", 2) for words in made)]


# those which neither the test client nor the framework has started
OWN_THREADS = r"""
import threading
others = "MainThread", "AnyIO", "ThreadPoolExecutor", "asyncio"
answer = [thread.ident for thread in threading.enumerate() if not thread.name.startswith(others)]
"""


def test_start_and_end(processes, tmp_path):
    process = processes()
    a, b = tmp_path / "a", tmp_path / "b"
    # so that whatever the libraries keep is there before the threads are counted
    process.must("python", None, "import booking.main, booking.config\n"
                 "from fastapi import FastAPI\nfrom fastapi.testclient import TestClient\n"
                 "with TestClient(FastAPI()) as c:\n    c.get('/')\nanswer = None")
    process.settle(1)
    idle = process.threads()
    process.must("python", None, "import random\nrandom.seed(99)\nrandom.before = random.getstate()\nanswer = None")
    process.must("make", "a", settings_in(str(a), "a"))
    process.must("make", "b", settings_in(str(b), "b"))
    assert process.do("python", None, "import random\nanswer = random.getstate() == random.before") is True
    assert os.listdir(str(a)) == [] and os.listdir(str(b)) == []
    assert process.threads() == idle
    process.must("start", "a")
    assert os.listdir(str(b)) == []
    # the worker may open its file itself
    until = time.monotonic() + 20
    while not {"rooms.db", "what.log", "out.jsonl"} <= set(os.listdir(str(a))):
        assert time.monotonic() < until, "files are not opened at the start"
        time.sleep(0.05)
    of_a = process.do("python", None, OWN_THREADS)
    process.must("start", "b")
    for name in "ab":
        assert process.do("ask", name, ("POST", "/rooms", {"name": "Loft"}, None))[0] == 201
    for n in range(40):
        assert process.do("ask", "a", booking(600, 6, "client%d" % n))[0] == 201
        if n % 10 == 0:
            assert process.do("ask", "b", booking(600, 6, "client%d" % n))[0] == 201
    process.must("end", "a")
    assert process.open_files(a) == []
    assert [json.loads(line)["to"] for line in lines(a, "out.jsonl")] == ["client%d" % n for n in range(40)]
    assert len(lines(a, "what.log")) == 41
    assert not set(of_a) & set(process.do("python", None, OWN_THREADS)), "a thread is left"
    # the other one goes on
    assert process.do("ask", "b", booking(700, 6, "late"))[0] == 201
    process.must("end", "b")
    assert process.open_files(b) == []
    assert process.settle(idle), "threads are left"
    assert [json.loads(line)["to"] for line in lines(b, "out.jsonl")] == [
        "client0", "client10", "client20", "client30", "late"]
    assert len(lines(b, "what.log")) == 6
    # again, in another order
    for turn in (1, 2):
        process.must("start", "b")
        process.must("start", "a")
        assert process.do("ask", "b", booking(800, 6, "again%d" % turn))[0] == 201
        assert process.do("ask", "a", booking(800, 6, "again%d" % turn))[0] == 201
        process.must("end", "b")
        assert process.do("ask", "a", booking(801, 6, "more%d" % turn))[0] == 201
        process.must("end", "a")
        for folder, expected in ((a, ["again%d", "more%d"]), (b, ["again%d"])):
            expected = [name % turn for name in expected]
            assert [json.loads(line)["to"] for line in lines(folder, "out.jsonl")][-len(expected):] == expected
            assert [line.split()[2] for line in lines(folder, "what.log")][-len(expected):] == expected
    assert len(lines(a, "out.jsonl")) == 44 and len(lines(a, "what.log")) == 45
    assert len(lines(b, "out.jsonl")) == 7 and len(lines(b, "what.log")) == 8
    assert process.settle(idle), "threads are left"
    assert process.open_files(a) == [] and process.open_files(b) == []


def test_end_waits_for_the_worker(processes, tmp_path):
    process = processes()
    settings = settings_in(str(tmp_path / "slow"), "a")
    # an outbox that takes nothing for a while
    os.mkfifo(settings["outbox"])
    reader = os.open(settings["outbox"], os.O_RDONLY | os.O_NONBLOCK)
    try:
        process.must("make", "slow", settings)
        process.must("start", "slow")
        assert process.do("ask", "slow", ("POST", "/rooms", {"name": "Loft"}, None))[0] == 201
        names = ["%d-" % n + "x" * 4000 for n in range(40)]
        for name in names:
            assert process.do("ask", "slow", booking(600, 6, name))[0] == 201
        process.process.stdin.write(json.dumps(["end", "slow", None]) + "\n")
        process.process.stdin.flush()
        answered = lambda seconds: select.select([process.process.stdout], [], [], seconds)[0]
        assert not answered(1.5), "it has ended before its worker"
        got = b""
        until = time.monotonic() + 60
        while not answered(0.02):
            assert time.monotonic() < until, "it does not end"
            got += read_now(reader)
        assert json.loads(process.process.stdout.readline()) is None
        got += read_now(reader)
        assert [json.loads(line)["to"] for line in got.splitlines()] == names
    finally:
        os.close(reader)


def read_now(reader):
    got = b""
    while True:
        try:
            more = os.read(reader, 1 << 16)
        except BlockingIOError:
            more = b""
        if not more:
            return got
        got += more


LOOK = r"""
import importlib, logging, random
import fastapi, sqlalchemy, sqlalchemy.orm, pydantic
random.seed(99)
before = random.getstate()
def known():
    loggers = [logging.getLogger()] + [l for l in logging.Logger.manager.loggerDict.values() if hasattr(l, "handlers")]
    return sum(len(l.handlers) for l in loggers)
handlers = known()
for name in NAMES:
    importlib.import_module(name)
heard = []
Own = sqlalchemy.orm.declarative_base()
class Thing(Own):
    __tablename__ = "thing"
    id = sqlalchemy.Column(sqlalchemy.Integer, primary_key=True)
    def announcement(self):
        heard.append(self.id)
        return "booking.made", {"reference": "", "client": "", "price": ""}
engine = sqlalchemy.create_engine("sqlite://")
Own.metadata.create_all(engine)
with sqlalchemy.orm.Session(engine) as session:
    session.add(Thing())
    session.commit()
answer = [random.getstate() == before, known() == handlers, heard == []]
"""


def test_imports_have_no_effect(processes, tmp_path):
    # the modules of which an application is made; ones that nothing uses any more may lie beside them
    process = processes()
    process.must("make", "m", settings_in(str(tmp_path / "m"), "a"))
    process.must("start", "m")
    for question, answer in script("a"):
        assert process.do("ask", "m", question) == answer, question
    process.must("end", "m")
    names = process.do("python", None, "import sys, booking.report\nfrom booking.main import app\n"
                       "answer = sorted(n for n in sys.modules if n.split('.')[0] == 'booking')")
    assert isinstance(names, list) and {"booking.main", "booking.config", "booking.report"} <= set(names), names
    folder = tmp_path / "late"
    # nobody can make settings of these
    process = processes({"BOOKING_QUOTA": "many", "BOOKING_PAGE_SIZE": "?", "BOOKING_DATABASE": "/nowhere/x"})
    files = set(os.listdir(str(tmp_path)))
    threads = process.threads()
    assert process.do("python", None, "NAMES = %r\n" % names + LOOK) == [True, True, True]
    assert set(os.listdir(str(tmp_path))) == files
    assert process.threads() == threads
    late = {"BOOKING_" + key.upper(): str(value) for key, value in settings_in(str(folder), "b").items()}
    code = ("import os\nos.environ.update(%r)\nimport booking.main\nfirst = booking.main.app\n"
            "from booking.main import app\nanswer = [app is first, app is booking.main.app]" % late)
    assert process.do("python", None, code) == [True, True]
    assert os.listdir(str(folder)) == []
    # another one in the same process does not disturb it
    process.must("make", "a", settings_in(str(tmp_path / "a"), "a"))
    process.must("start", "a")
    code = ("from booking.main import app\nfrom fastapi.testclient import TestClient\n"
            "with TestClient(app) as client:\n    answer = []\n    for method, path, body, who in %r:\n"
            "        r = client.request(method, path, json=body, headers={'X-Client': who} if who else {})\n"
            "        answer.append([r.status_code, r.json()])\n" % [ask for ask, _ in script("b")])
    assert process.do("python", None, code) == [answer for _, answer in script("b")]
    process.must("end", "a")
    check_files(folder, "b")


def serve(folder, kind):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    env = {"BOOKING_" + key.upper(): str(value) for key, value in settings_in(str(folder), kind).items()}
    process = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", "booking.main:app", "--port", str(port), "--log-level", "critical"],
        cwd=REPO, env=dict(COMMON, **env), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True)
    return process, port, env


def ask(port, method, path, body, client):
    request = urllib.request.Request("http://127.0.0.1:%d%s" % (port, path), method=method)
    request.add_header("Content-Type", "application/json")
    if client:
        request.add_header("X-Client", client)
    data = None if body is None else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(request, data, timeout=20) as answer:
            return [answer.status, json.load(answer)]
    except urllib.error.HTTPError as e:
        return [e.code, json.load(e)]


def test_still_serves_what_it_served(tmp_path):
    for kind in "ab":
        folder = tmp_path / kind
        process, port, env = serve(folder, kind)
        try:
            for _ in range(1200):
                try:
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                except OSError:
                    time.sleep(0.05)
                    assert process.poll() is None
            for question, answer in script(kind):
                assert ask(port, *question) == answer, question
            process.send_signal(signal.SIGTERM)
            process.wait(20)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
        check_files(folder, kind)
        report = subprocess.run([sys.executable, "-m", "booking.report"], cwd=REPO, env=dict(COMMON, **env),
                                stdout=subprocess.PIPE, text=True, timeout=30).stdout
        assert report == ("Den\t2\t2017\nHall 2\t2\t2827\n" if kind == "a" else "Den\t0\t0\nNook 2\t2\t4452\n")
