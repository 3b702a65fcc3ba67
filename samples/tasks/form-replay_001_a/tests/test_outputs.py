import concurrent.futures
import hashlib
import hmac
import http.client
import http.server
import json
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import uuid
from pathlib import Path

import pytest

SETTLE = 1.0
STALL, STALL_SETTLE, LAZY = 1.8, 2.0, 2.2
LATER = """
const [real, shift] = [Date, %d * 864e5];
globalThis.Date = new Proxy(real, {
  apply: () => new real(real.now() + shift).toString(),
  construct: (to, given, made) => Reflect.construct(to, given.length ? given : [real.now() + shift], made),
  get: (to, name) => name === 'now' ? () => real.now() + shift : Reflect.get(to, name),
});
"""
TOKENS = {"shop": "tok-shop-1", "kiosk": "tok-kiosk-2"}


class Bank:
    """A bank that does what is scripted for each payee, POST by POST:

    done, declined: decides and answers; held: answers `done` when it is let go, and does nothing before;
    cut: cuts the connection and does nothing; late: cuts it and does it within the settle time;
    did-cut: does it and cuts; 500: answers 500; did-500: does it and answers 500; did-held: does it, answers when let go;
    gone: cuts the connection when let go, and does nothing;
    lazy: does it and answers after LAZY; shot: payd is killed by `shoot` as it comes, and it does it;
    stalled: does not answer before payd has given it up after STALL, and does it within STALL_SETTLE after that.
    What it does later counts from a time on, whoever is how busy: no thread decides it.
    """

    def __init__(self):
        self.lock = threading.Lock()
        self.scripts, self.states, self.posts, self.lookups = {}, {}, [], []
        self.silent = set()  # payees about whom no question is answered, or not so that it says something
        self.hangs = set()   # payees about whom the first question hangs
        self.tardy = set()   # payees about whom each question is answered late, with what was so when it came
        self.remembers = False   # transfers of the present release that no journal has
        self.shoot = None
        self.payees = {}
        self.free = threading.Event()
        bank = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *args):
                pass

            def answer(self, status, body=None):
                data = json.dumps(body or {}).encode()
                try:
                    self.send_response(status)
                    self.send_header("Content-Length", str(len(data)))
                    self.end_headers()
                    self.wfile.write(data)
                except OSError:
                    pass

            def cut(self):
                self.close_connection = True
                try:
                    self.connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

            def do_GET(self):
                ref = self.path.rsplit("/", 1)[1]
                with bank.lock:
                    bank.lookups.append((ref, time.monotonic()))
                    to = bank.payees.get(ref)
                    silent, hangs = to in bank.silent, to in bank.hangs
                    bank.hangs.discard(to)
                    state = [state for state, since in bank.states.get(ref, []) if since <= time.monotonic()]
                if bank.remembers and re.fullmatch("p[1-9][0-9]{0,5}", ref):
                    state = ["done"]
                if hangs:
                    bank.free.wait(60)
                if to in bank.tardy:
                    time.sleep(0.6 * SETTLE)
                if silent:   # what says nothing, of four kinds
                    [lambda: self.answer(503), self.cut, lambda: self.answer(200, {"ref": ref, "state": "new"}),
                     lambda: self.answer(200, "x")][len(bank.lookups) % 4]()
                elif state:
                    self.answer(200, {"ref": ref, "state": state[-1]})
                else:
                    self.answer(404)

            def do_POST(self):
                order = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                ref, to = order["ref"], order["to"]
                with bank.lock:
                    bank.posts.append((ref, to, order["amount"], time.monotonic()))
                    bank.payees[ref] = to
                    script = bank.scripts.get(to, [])
                    action = script.pop(0) if script else "done"
                if action in ("held", "held-declined", "gone"):
                    bank.free.wait(60)
                if action == "shot":
                    bank.shoot()
                if action == "lazy":
                    time.sleep(LAZY)
                if action in ("done", "declined", "held", "lazy", "shot", "did-cut", "did-500", "did-held", "held-declined"):
                    bank.decide(ref, "declined" if "declined" in action else "done")
                if action == "late":
                    bank.decide(ref, "done", time.monotonic() + 0.9 * SETTLE)
                if action == "did-held":
                    bank.free.wait(60)
                if action == "stalled":
                    bank.decide(ref, "done", time.monotonic() + STALL + 0.6 * STALL_SETTLE)
                    time.sleep(STALL + 0.5)
                if action in ("cut", "late", "did-cut", "gone", "stalled", "shot"):
                    self.cut()
                else:
                    self.answer(500 if action.endswith("500") else 422 if "declined" in action else 201)

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def decide(self, ref, state, since=0.0):
        with self.lock:
            self.states.setdefault(ref, []).append((state, since))

    def orders(self, to):
        with self.lock:
            return [post for post in self.posts if post[1] == to]

    def asked(self, ref):
        """When it was asked about a ref."""
        with self.lock:
            return [at for one, at in self.lookups if one == ref]

    def paid(self, to):
        """How many transfers to this payee were done."""
        with self.lock:
            return sum(state == "done" for ref, states in self.states.items() if self.payees.get(ref) == to
                       for state, _ in states)

    def close(self):
        self.free.set()
        self.server.shutdown()
        self.server.server_close()


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.body = status, body
        self.replayed = headers.get("idempotent-replayed") == "true"


class Payd:
    def __init__(self, bank, opening=100000, timeout_ms=30000, settle=SETTLE, journal=""):
        self.bank, self.folder = bank, Path(tempfile.mkdtemp())
        self.merchants = {name: {"token": token, "opening": opening} for name, token in TOKENS.items()}
        (self.folder / "merchants.json").write_text(json.dumps(self.merchants))
        if journal:
            (self.folder / "journal.jsonl").write_text(journal)
        while True:  # below the ports that the system gives to clients
            self.port = random.randrange(12000, 30000)
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)):
                    break
        self.env = {"PATH": "/usr/local/bin:/usr/bin:/bin", "PORT": str(self.port), "BANK_URL": bank.url,
                    "BANK_TIMEOUT_MS": str(timeout_ms), "BANK_SETTLE_MS": str(int(settle * 1000)),
                    "BANK_SECRETS": "new-secret,old-secret,", "DATA_DIR": str(self.folder)}
        self.process = None
        self.start()

    def start(self, days=0):
        """Start it, on a day that is this much later by its clock."""
        if days:
            (self.folder / "later.js").write_text(LATER % days)
            self.env["NODE_OPTIONS"] = f"--require {self.folder / 'later.js'}"
        self.process = subprocess.Popen(["node", "src/server.js"], cwd="/app", env=self.env,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.monotonic() + 10
        while time.monotonic() < end:
            assert self.process.poll() is None, "payd has ended"
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                time.sleep(0.02)
        raise AssertionError("payd does not listen")

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    def close(self):
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def call(self, method, path, body=None, headers=None, limit=10):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=limit)
        try:
            data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
            connection.request(method, path, data, headers or {})
            answer = connection.getresponse()
            text = answer.read()
            names = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, names, json.loads(text) if text else None)
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise AssertionError(f"{method} {path}: {error!r}") from error
        finally:
            connection.close()

    def pay(self, key, body, merchant="shop"):
        headers = {"Authorization": f"Bearer {TOKENS[merchant]}"}
        if key is not None:
            headers["Idempotency-Key"] = key
        return self.call("POST", "/payments", body, headers)

    def get(self, path, merchant="shop"):
        return self.call("GET", path, None, {"Authorization": f"Bearer {TOKENS[merchant]}"})

    def account(self, merchant="shop"):
        body = self.get("/account", merchant).body
        return body["balance"], body["reserved"]

    def callback(self, raw, signature):
        raw = raw if isinstance(raw, bytes) else json.dumps(raw).encode()
        return self.call("POST", "/bank/callback", raw, {"X-Bank-Signature": signature} if signature else {}).status


def sign(raw, secret="new-secret"):
    raw = raw if isinstance(raw, bytes) else json.dumps(raw).encode()
    return hmac.new(secret.encode(), raw, hashlib.sha256).hexdigest()


def until(what, message, limit=8.0):
    end = time.monotonic() + limit
    while time.monotonic() < end:
        result = what()
        if result:
            return result
        time.sleep(0.03)
    raise AssertionError(message)


@pytest.fixture
def world():
    banks, made = [Bank()], []

    def start(apart=False, **given):
        """apart: with a bank of its own, since the ids of two payds may be the same."""
        if apart:
            banks.append(Bank())
        made.append(Payd(banks[-1 if apart else 0], **given))
        return made[-1]

    with concurrent.futures.ThreadPoolExecutor(24) as threads:
        try:
            yield banks[0], start, threads
        finally:
            for bank in banks:
                bank.free.set()
            for one in made:
                one.close()
            for bank in banks:
                bank.close()


def test_keys_and_accounts(world):
    bank, start, threads = world
    payd = start(opening=1000)

    first = payd.pay("k1", b'{"to": "ann", "amount": 100, "text": "a"}')
    assert first.status == 201 and not first.replayed
    assert first.body == {"id": first.body["id"], "to": "ann", "amount": 100, "text": "a", "status": "done"}
    again = payd.pay("k1", b'{"text":"\\u0061","amount":1e2,"to":"ann"}')
    assert (again.status, again.replayed, again.body) == (201, True, first.body)
    assert payd.pay("k1", {"to": "ann", "amount": 101, "text": "a"}).status == 422
    assert payd.pay("k1", {"to": "ann", "amount": 100, "text": "b"}).status == 422
    other = payd.pay("k1", {"to": "ann", "amount": 100, "text": "a"}, "kiosk")
    assert other.status == 201 and not other.replayed and other.body["id"] != first.body["id"]
    assert payd.get(f"/payments/{first.body['id']}", "kiosk").status == 404
    assert payd.get(f"/payments/{first.body['id']}").body == first.body
    assert payd.account() == payd.account("kiosk") == (900, 0)

    # What does not use up a key, and what does.
    assert payd.pay(None, {"to": "bob", "amount": 1}).status == 400
    for bad in ({"to": "bob", "amount": 0}, {"to": "bob", "amount": "5"}, {"to": "", "amount": 5}, b"{", b"[]", b"null",
                {"to": "bob", "amount": 1.5}, {"to": "bob", "amount": True}, {"to": ["bob"], "amount": 5}, {"amount": 5}, {"to": "bob"},
                {"to": "bob", "amount": 5, "text": 5}):
        assert payd.pay("k2", bad).status == 400, bad
    assert payd.call("POST", "/payments", {"to": "bob", "amount": 1}, {"Idempotency-Key": "k2"}).status == 401
    for path in ("/account", f"/payments/{first.body['id']}"):
        assert payd.call("GET", path).status == payd.call("GET", path, None, {"Authorization": "Bearer tok"}).status == 401, path
    assert payd.get("/payments/nobody-knows").status == 404
    assert payd.pay("k2", {"to": "bob", "amount": 5}).status == 201
    poor = payd.pay("k3", {"to": "cid", "amount": 5000})
    assert (poor.status, poor.replayed) == (402, False)
    assert poor.body == {"id": poor.body["id"], "to": "cid", "amount": 5000, "text": "", "status": "declined", "reason": "funds"}
    assert payd.get(f"/payments/{poor.body['id']}").body == poor.body
    bank.scripts["dan"] = ["declined"]
    no = payd.pay("k4", {"to": "dan", "amount": 10})
    assert (no.status, no.replayed, no.body["reason"]) == (402, False, "bank")
    again = payd.pay("k4", {"to": "dan", "amount": 10})
    assert (again.status, again.replayed, again.body) == (402, True, no.body)
    assert len(bank.orders("dan")) == 1 and payd.account() == (895, 0)

    # Twins, and more than the account has, at once.
    bank.scripts["eve"] = ["held"]
    running = threads.submit(payd.pay, "k5", {"to": "eve", "amount": 95})
    until(lambda: bank.orders("eve"), "no order")
    assert payd.pay("k5", {"to": "eve", "amount": 95}).status == 409
    bank.scripts["fay"] = ["held"] * 10
    many = [threads.submit(payd.pay, f"m{n}", {"to": "fay", "amount": 250}) for n in range(10)]
    until(lambda: len(bank.orders("fay")) >= 3, "no orders")
    until(lambda: sum(one.done() for one in many) >= 7, "more was ordered than the account has")
    assert payd.account() == (895, 845) and len(bank.orders("fay")) == 3
    assert payd.pay("k6", {"to": "gus", "amount": 51}).status == 402
    bank.free.set()
    assert sorted(one.result(15).status for one in many) == [201] * 3 + [402] * 7
    assert running.result(15).status == 201 and payd.account() == (50, 0)
    assert [payd.pay("k5", {"to": "eve", "amount": 95}).status for _ in range(2)] == [201, 201]
    same = [threads.submit(payd.pay, "k7", {"to": "hal", "amount": 2}) for _ in range(20)]
    same = [one.result(15) for one in same]
    assert {one.status for one in same} <= {201, 409} and sum(one.status == 201 and not one.replayed for one in same) == 1
    assert len(bank.orders("hal")) == len(bank.orders("eve")) == 1

    full = threads.map(lambda n: payd.pay(f"n{n}", {"to": "ivy", "amount": 10**6}), range(300))
    assert {one.status for one in full} == {402}
    payd.kill()
    payd.start(days=400)
    again = payd.pay("k1", {"to": "ann", "amount": 100, "text": "a"}, "kiosk")
    assert (again.status, again.replayed, again.body) == (201, True, other.body)
    for key, body, before in (("k1", {"amount": 100, "to": "ann", "text": "a"}, first), ("k3", {"to": "cid", "amount": 5000}, poor),
                              ("k4", {"to": "dan", "amount": 10}, no)):
        again = payd.pay(key, body)
        assert (again.status, again.replayed, again.body) == (before.status, True, before.body), key
    assert payd.pay("k4", {"to": "dan", "amount": 11}).status == 422
    assert payd.account() == (48, 0) and not bank.orders("cid")


def test_unknown_outcomes(world):
    bank, start, threads = world
    old = [{"type": "payment", "id": f"p{n}", "merchant": "shop", "to": "old", "amount": 100, "text": "", "status": "done"}
           for n in (1, 2)]
    payd = start(journal="".join(json.dumps(one) + "\n" for one in old))
    # Meanwhile a bank that does not answer in time, and does it after that.
    waits = start(apart=True, timeout_ms=int(STALL * 1000), settle=STALL_SETTLE)
    waits.bank.scripts["stalled"] = ["stalled"]
    stalled = threads.submit(waits.pay, "w", {"to": "stalled", "amount": 40})
    # And one that has not answered yet when it is asked, for a long time.
    slow = start(apart=True, timeout_ms=250, settle=60)
    slow.bank.scripts["slow"] = ["held"]
    since = time.monotonic()
    waiting = slow.pay("s", {"to": "slow", "amount": 30})
    assert waiting.status == 202 and time.monotonic() - since < 3
    bank.remembers = True
    bank.scripts["lazy"] = ["lazy"]
    lazy = threads.submit(payd.pay, "lazy", {"to": "lazy", "amount": 7})
    cases = {"cut": (1, 2), "late": (1, 1), "did-cut": (1, 1), "500": (1, 2), "did-500": (1, 1), "quiet": (1, 1),
             "lost": (1, 2), "twice": (1, 3), "deny": (0, 2), "hung": (1, 2), "drowsy": (1, 1)}
    for name in cases:
        bank.scripts[name] = {"quiet": ["did-cut"], "lost": ["cut"], "twice": ["cut", "500"],
                              "deny": ["cut", "declined"], "hung": ["cut"], "drowsy": ["late"]}.get(name, [name])
    bank.silent, bank.hangs, bank.tardy = {"quiet", "lost"}, {"hung"}, {"drowsy"}

    begun = {name: threads.submit(payd.pay, name, {"to": name, "amount": 10}) for name in cases}
    begun = {name: one.result(15) for name, one in begun.items()}
    for name, one in begun.items():
        assert (one.status, one.body["status"], one.replayed) == (202, "pending", False), name
    again = payd.pay("lost", {"amount": 10, "to": "lost"})
    assert (again.status, again.replayed, again.body) == (202, True, begun["lost"].body)

    def status(name):
        return payd.get(f"/payments/{begun[name].body['id']}").body["status"]

    for name in cases:
        if name not in bank.silent:
            until(lambda: status(name) != "pending", f"{name} stays pending")
    # By now the settle time is over for the others, too; but nobody has said that the bank has not done them.
    assert {status("quiet"), status("lost")} == {"pending"}
    assert len(bank.orders("quiet")) == len(bank.orders("lost")) == 1
    assert lazy.result(15).status == 201
    assert payd.account() == (100000 - 200 - 87, 20)
    bank.silent = set()
    for name in ("quiet", "lost"):
        until(lambda: status(name) != "pending", f"{name} stays pending", 4)

    for name, (paid, orders) in cases.items():
        assert bank.paid(name) == paid, name
        posts = bank.orders(name)
        assert len(posts) == orders and len({ref for ref, *_ in posts}) == 1, name
        assert all(later[3] - earlier[3] >= SETTLE - 0.02 for earlier, later in zip(posts, posts[1:])), f"{name}: too early"
        again = payd.pay(name, {"to": name, "amount": 10})
        assert (again.status, again.replayed) == (201 if paid else 402, True), name
        assert again.body["id"] == begun[name].body["id"]
    assert payd.account() == (100000 - 200 - 107, 0)

    time.sleep(max(0.0, since + 6.5 - time.monotonic()))
    assert slow.account() == (100000, 30)
    asked = [since, *slow.bank.asked(waiting.body["id"]), time.monotonic()]
    assert max(later - at for at, later in zip(asked, asked[1:])) < 2.6, "it does not go on asking"
    slow.bank.free.set()
    until(lambda: slow.pay("s", {"to": "slow", "amount": 30}).status == 201, "slow stays pending")
    assert (slow.bank.paid("slow"), len(slow.bank.orders("slow")), slow.account()) == (1, 1, (99970, 0))
    assert stalled.result(15).status == 202
    until(lambda: waits.pay("w", {"to": "stalled", "amount": 40}).status == 201, "stalled stays pending")
    assert (waits.bank.paid("stalled"), len(waits.bank.orders("stalled")), waits.account()) == (1, 1, (99960, 0)), "ordered again too early"


def test_kills(world):
    bank, start, threads = world
    old = [("p1", "shop", "ann", 500, "done", {}), ("p2", "shop", "ünal", 70, "declined", {"reason": "bank"}),
           ("p3", "kiosk", "bob", 40, "done", {})]
    old = [{"type": "payment", "id": i, "merchant": m, "to": to, "amount": a, "text": "", "status": s, **more}
           for i, m, to, a, s, more in old]
    payd = start(opening=10000, journal="".join(json.dumps(one, ensure_ascii=False) + "\n" for one in old))
    assert (payd.account(), payd.account("kiosk")) == ((9500, 0), (9960, 0))
    for event in ({"ref": "p1", "state": "declined"}, {"ref": "p2", "state": "done"}):
        assert payd.callback(event, sign(event)) == 204
    assert payd.get("/payments/p2").body["status"] == "declined" and payd.account() == (9500, 0)

    kept = payd.pay("kept", {"to": "kept", "amount": 100})
    assert kept.status == 201
    actions = {"after": (1, 1), "never": (1, 2), "did-held": (1, 1)}
    for name in actions:
        bank.scripts[name] = [name if name == "did-held" else "gone"]
    for name in actions:
        threads.submit(payd.pay, name, {"to": name, "amount": 1000})
    for name in actions:
        until(lambda: bank.orders(name), f"{name}: no order")
    # After the kill the bank does `after`, but `never` was lost on its way.
    payd.kill()
    killed = time.monotonic()
    bank.decide(bank.orders("after")[0][0], "done", killed + 0.9 * SETTLE)
    bank.free.set()
    payd.start()
    balance, reserved = payd.account()
    assert balance - reserved == 9400 - 3000, "the amounts are not reserved"
    payd.kill()
    payd.start()

    def replay(name):
        again = payd.pay(name, {"to": name, "amount": 1000})
        assert again.status in (201, 202) and again.replayed, name
        return again.status == 201

    for name in actions:
        until(lambda: replay(name), f"{name} is not resolved")
    for name, (paid, orders) in actions.items():
        assert (bank.paid(name), len(bank.orders(name))) == (paid, orders), name
    assert bank.orders("never")[1][3] - killed >= SETTLE - 0.02, "ordered again too early"
    assert payd.account() == (6400, 0)

    # Killed while the bank takes the first order, or the one after a cut.
    bank.shoot = payd.kill
    for name, orders in (("shot", 1), ("reshot", 2)):
        bank.scripts[name] = ["cut"] * (orders - 1) + ["shot"]
        threads.submit(payd.pay, name, {"to": name, "amount": 1000})
        until(lambda: bank.paid(name), f"{name}: no order")
        payd.start()
        until(lambda: replay(name), f"{name} is not resolved")
        assert (bank.paid(name), len(bank.orders(name))) == (1, orders), name
    assert payd.account() == (4400, 0)

    # A line that was cut off, twice; what comes after it has to be readable.
    for n, cut in enumerate((b'{"type":"payment","id":"p9","merchant":"shop","to":"\xc3', b'{"ty')):
        payd.kill()
        with open(payd.folder / "journal.jsonl", "ab") as journal:
            journal.write(cut)
        payd.start()
        assert payd.account()[0] == 4400 - n
        assert payd.pay(f"t{n}", {"to": "torn", "amount": 1}).status == 201
    payd.kill()
    payd.start()
    assert payd.account() == (4398, 0)
    for name, body in (("t0", {"to": "torn", "amount": 1}), ("t1", {"to": "torn", "amount": 1}),
                       ("kept", {"to": "kept", "amount": 100}), ("never", {"to": "never", "amount": 1000})):
        again = payd.pay(name, body)
        assert again.status == 201 and again.replayed, name
    assert bank.paid("torn") == 2 and len(bank.orders("never")) == 2 and len(bank.orders("kept")) == 1
    assert payd.get("/payments/p3", "kiosk").body["amount"] == 40


def test_callbacks(world):
    bank, start, threads = world
    payd = start(opening=1000)
    bank.silent = {"ann", "bob", "cid"}
    for name in bank.silent:
        bank.scripts[name] = ["did-cut"]
    begun = {name: payd.pay(name, {"to": name, "amount": 100}) for name in ("ann", "bob", "cid")}
    assert {one.status for one in begun.values()} == {202}
    ids = {name: one.body["id"] for name, one in begun.items()}

    def status(name):
        return payd.pay(name, {"to": name, "amount": 100}).status

    event = {"ref": ids["ann"], "state": "done"}
    spaced = json.dumps(event, indent=1).encode()
    compact = json.dumps(event, separators=(",", ":")).encode()
    for raw, signature in ((event, None), (event, "abc"), (event, "0" * 64), (event, sign(event, "no-secret")), (event, sign(event, "")),
                           (spaced, sign(compact)), (event, "ü"), (event, sign({**event, "state": "declined"}))):
        assert payd.callback(raw, signature and signature.encode()) == 401, signature
    assert status("ann") == 202 and payd.account() == (1000, 300)

    assert payd.callback(spaced, sign(spaced)) == 204
    assert status("ann") == 201 and payd.account() == (900, 200)
    for other in (event, {**event, "state": "declined"}, event):
        assert payd.callback(other, sign(other)) == 204
    assert status("ann") == 201 and payd.account() == (900, 200)
    event = {"ref": ids["bob"], "state": "declined", "note": "ü"}
    raw = json.dumps(event, ensure_ascii=False).encode()
    assert payd.callback(raw, sign(raw, "old-secret")) == 204
    event = {"ref": ids["bob"], "state": "done"}
    assert payd.callback(event, sign(event)) == 204
    assert status("bob") == 402 and payd.account() == (900, 100)
    for stranger in ({"ref": "nobody-knows", "state": "done"}, {"ref": "__proto__", "state": "done"}):
        assert payd.callback(stranger, sign(stranger)) == 204

    # Early: before the bank answers, and against what it answers then.
    bank.scripts["dan"] = ["held-declined"]
    running = threads.submit(payd.pay, "dan", {"to": "dan", "amount": 50})
    ref = until(lambda: bank.orders("dan"), "no order")[0][0]
    event = {"ref": ref, "state": "done"}
    assert payd.callback(event, sign(event)) == 204
    bank.free.set()
    early = running.result(15)
    assert early.status == 201 and early.body["status"] == "done"
    assert payd.account() == (850, 100)

    payd.kill()
    payd.start()
    assert (status("ann"), status("bob"), status("cid")) == (201, 402, 202)
    assert payd.account() == (850, 100)
    event = {"ref": ids["cid"], "state": "done"}
    assert payd.callback(event, sign(event)) == 204
    payd.kill()
    payd.start()
    assert status("cid") == 201 and payd.account() == (750, 0)
    assert [len(bank.orders(name)) for name in ("ann", "bob", "cid", "dan")] == [1] * 4
