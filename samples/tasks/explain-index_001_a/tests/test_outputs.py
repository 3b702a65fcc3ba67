import base64
import http.client
import json
import os
import random
import secrets
import socket
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from urllib.parse import quote

import redis

APP = "/app"
ALL = "open,pending,closed"
QUEUES = ["a", "a:open", "a:open:pending", "-", "1:a", "none", "ä ö/\n", "\U0001f642"]
METER = secrets.token_hex(16)  # workers can't set Redis' counters back
CONF = "port {port}\nbind 127.0.0.1\ndir {folder}\nsave ''\nuser default on nopass ~* &* +@all -@admin\nuser meter on >{word} ~* &* +@all\n"
AGENTS = ["pending", "-", "none", "*", "b:c", "open", "x", "\U0001f642"]


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Proxy:
    """Stands in front of Redis and calls `hook` before each piece that a client sends."""

    def __init__(self, target):
        self.target, self.hook, self.n, self.problems = target, None, 0, []
        self.lock = threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def arm(self, hook=None):
        self.n, self.hook = 0, hook

    def accept(self):
        while True:
            try:
                client = self.listener.accept()[0]
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self.target))
            for s in (client, server):
                s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self.pump, args=(client, server, True), daemon=True).start()
            threading.Thread(target=self.pump, args=(server, client, False), daemon=True).start()

    def pump(self, source, sink, forward):
        try:
            while data := source.recv(1 << 16):
                if forward:
                    with self.lock:
                        self.n += 1
                        if self.hook:
                            try:
                                self.hook(self.n)
                            except BaseException as problem:
                                self.problems.append(problem)
                sink.sendall(data)
        except OSError:
            pass
        for s in (source, sink):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


class Desk:
    def __init__(self, port, proxy):
        self.port, self.proxy, self.workers, self.local = port, proxy, [], threading.local()
        self.db = redis.Redis(port=port, username="meter", password=METER, decode_responses=True)

    def env(self, port):
        return {**os.environ, "REDIS_URL": f"redis://127.0.0.1:{port}/0"}

    def call(self, method, path, body=None, worker=0):
        name = f"c{worker}"
        connection = getattr(self.local, name, None)
        if connection is None:
            connection = http.client.HTTPConnection("127.0.0.1", self.workers[worker], timeout=20)
            setattr(self.local, name, connection)
        try:
            connection.request(method, path, None if body is None else json.dumps(body).encode())
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        except (OSError, http.client.HTTPException, ValueError) as problem:
            connection.close()
            raise AssertionError(f"{method} {path}: {problem!r}")

    def put(self, ident, worker=0, **values):
        status, ticket = self.call("PUT", "/tickets/" + quote(ident, safe=""), values, worker)
        assert status == 201, (ident, status, ticket)
        return ticket

    def patch(self, ident, version, worker=0, **values):
        return self.call("PATCH", "/tickets/" + quote(ident, safe=""), {"version": version, **values}, worker)

    def list(self, queue, worker=0, **query):
        path = f"/queues/{quote(queue, safe='')}/tickets?" + "&".join(f"{k}={quote(str(v), safe='')}" for k, v in query.items())
        status, page = self.call("GET", path, worker=worker)
        assert status == 200, (path, status, page)
        return page

    def pages(self, queue, limit=200, **query):
        found, after = [], {}
        for _ in range(500):
            page = self.list(queue, limit=limit, **query, **after)
            found += page["tickets"]
            if page["next"] is None:
                assert len(page["tickets"]) < limit
                return found
            assert len(page["tickets"]) == limit
            after = {"after": page["next"]}
        raise AssertionError("the pages do not end")

    def reindex(self, port=None):
        try:
            done = subprocess.run([sys.executable, "-m", "desk.reindex"], cwd=APP, env=self.env(port or self.port),
                                  timeout=120, capture_output=True, text=True)
        except subprocess.TimeoutExpired:
            raise AssertionError("reindex does not end")
        assert done.returncode == 0, done.stderr[-800:]

    def old(self, ident, queue, state="open", priority=0, due=None, assignee=None, pipe=None):
        """What the old release writes: the hash, nothing else."""
        values = {"queue": queue, "state": state, "priority": priority, "subject": "s", "version": 1, "due": due, "assignee": assignee}
        db = pipe if pipe is not None else self.db
        db.delete("ticket:" + ident)
        db.hset("ticket:" + ident, mapping={k: v for k, v in values.items() if v is not None})

    def hashes(self):
        found, names = [], sorted(set(self.db.scan_iter(match="ticket:*", count=1000)))
        with self.db.pipeline(transaction=False) as pipe:
            for name in names:
                pipe.hgetall(name)
            stored = pipe.execute()
        for name, h in zip(names, stored):
            if h:
                found.append({"id": name[7:], "queue": h["queue"], "state": h["state"], "priority": int(h["priority"]),
                              "due": int(h["due"]) if "due" in h else None, "assignee": h.get("assignee"),
                              "subject": h["subject"], "version": int(h["version"])})
        return sorted(found, key=order)

    def entries(self):
        size = {"zset": self.db.zcard, "set": self.db.scard, "hash": self.db.hlen, "list": self.db.llen, "stream": self.db.xlen}
        assert set(self.db.info("keyspace")) <= {"db0"}, "there is another database"
        names = [n for n in set(self.db.scan_iter(count=1000)) if not n.startswith("ticket:")]
        return sum(size.get(self.db.type(n), lambda _: 1)(n) for n in names)

    def compare(self, queues, agents=(), limit=200, tickets=None):
        tickets = self.hashes() if tickets is None else tickets
        for queue in queues:
            mine = [t for t in tickets if t["queue"] == queue]
            for states in ("open,pending", "closed", ALL):
                here = [t for t in mine if t["state"] in states.split(",")]
                assert self.pages(queue, limit, state=states) == here, (queue, states)
                assert self.pages(queue, limit, state=states, unassigned=1) == [t for t in here if t["assignee"] is None], (queue, states)
                for a in agents:
                    assert self.pages(queue, limit, state=states, assignee=a) == [t for t in here if t["assignee"] == a], (queue, states, a)
            numbers = {s: sum(t["state"] == s for t in mine) for s in ("open", "pending")}
            assert self.call("GET", f"/queues/{quote(queue, safe='')}/counts") == (200, numbers), queue

    def stats(self, what):
        stats = self.db.info("commandstats")
        assert not stats.get("cmdstat_keys"), "KEYS is used"
        return sum(v[what] for k, v in stats.items() if k != "cmdstat_info")

    def busy(self, request):
        """The µs that Redis works on a request, at best."""
        best = []
        for _ in range(7):
            before = self.stats("usec")
            status = request()[0]
            assert status == 200, status
            best.append(self.stats("usec") - before)
        return min(best)

    def used(self, request):
        def calls():
            return self.stats("calls")

        def sent():
            return self.db.info("stats")["total_net_output_bytes"]

        calls_before, a, b = calls(), sent(), sent()
        result = request()
        net = sent() - b - (b - a)
        return result, calls() - calls_before, net

    def cheap(self, most, request):
        result, commands, _ = self.used(request)
        assert result[0] in (200, 201), result
        assert commands <= most, f"{commands} commands, {most} are allowed"
        return result[1]

    def cheap_page(self, queue, **query):
        page, commands, net = self.used(lambda: self.list(queue, **query))
        n = len(page["tickets"])
        assert commands <= 12 + 3 * n, f"{commands} commands for {n} tickets ({queue}, {query})"
        assert net <= 4000 + 1000 * n, f"{net} bytes for {n} tickets"
        return page


def order(t):
    return (-t["priority"], t["due"] is None, t["due"] or 0, t["id"])


@contextmanager
def desk(workers=1, through_proxy=0):
    """The first `through_proxy` workers reach Redis through the proxy."""
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        procs = [subprocess.Popen(["redis-server", "-"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)]
        procs[0].stdin.write(CONF.format(port=port, folder=folder, word=METER))
        procs[0].stdin.close()
        d = None
        try:
            wait(lambda: redis.Redis(port=port).ping())
            d = Desk(port, Proxy(port))
            for i in range(workers):
                d.workers.append(free_port())
                env = {**d.env(d.proxy.port if i < through_proxy else port), "PORT": str(d.workers[-1])}
                procs.append(subprocess.Popen([sys.executable, "-m", "desk.server"], cwd=APP, env=env, stderr=subprocess.DEVNULL))
            for i in range(workers):
                wait(lambda: d.call("GET", "/health", worker=i))
            yield d
            assert not d.proxy.problems, d.proxy.problems[0]
        finally:
            if d:
                d.proxy.listener.close()
            for p in procs:
                p.kill()
                p.wait()


def wait(ready):
    end = time.monotonic() + 15
    while True:
        try:
            return ready()
        except (redis.RedisError, AssertionError):
            assert time.monotonic() < end, "does not start"
            time.sleep(0.02)


def some(rng):
    base = 99999999999999000
    return {"state": rng.choice(["open", "pending", "closed"]), "priority": rng.choice([-99, -10, -9, 0, 3, 10, 99]),
            "due": rng.choice([None, 0, 9, 10, base, base + 1, base + rng.randrange(999)]),
            "assignee": rng.choice([None, None, *AGENTS])}


def test_lists_and_limits():
    """Lists, pages, counts and limits over old data with odd names, and what is left after the tickets have gone."""
    rng = random.Random(41)
    with desk() as d:
        with d.db.pipeline() as pipe:
            for i in range(320):
                ident = rng.choice(["", "Z", "z", "é", "\uffee", "\U0001f600", "0:", "-"]) + f"{i % 80}:" + "x" * (i // 80)
                d.old(ident, rng.choice(QUEUES), pipe=pipe, **some(rng))
            for i in range(2000):
                d.old(f"bulk{i}", "bulk", "open" if i % 9 else "pending", i % 5, 1700000000000000 + i * 7 % 1000,
                      "rare" if i % 400 == 7 else "busy" if i % 3 else None, pipe=pipe)
            pipe.execute()
        first = next(t["id"] for t in d.hashes() if (t["queue"], t["state"], t["assignee"]) == ("bulk", "open", None))
        assert d.patch(first, 1, subject="t")[0] == 200
        taken = d.call("POST", "/queues/bulk/claim", {"agent": "busy"})[1]
        assert (taken["id"], taken["version"]) == (first, 3), taken
        tickets = d.hashes()
        bulk = [t for t in tickets if t["queue"] == "bulk"]
        page = d.list("bulk", limit=9)
        assert page["tickets"] == bulk[:9] and d.list("bulk", limit=3, after=page["next"])["tickets"] == bulk[9:12]
        marks = [d.stats("calls")]
        d.proxy.arm(lambda n: marks.append(d.stats("calls")))
        d.reindex(d.proxy.port)
        assert d.proxy.n >= len(tickets) / 200, f"{d.proxy.n} requests for {len(tickets)} tickets: the batches are too large"
        d.proxy.arm()
        marks.append(d.stats("calls"))
        largest = max(b - a for a, b in zip(marks, marks[1:]))
        assert largest <= 4000, f"a batch of {largest} commands"
        assert d.entries() <= 2 * len(tickets) + 20, d.entries()
        # what a worker does once, like loading scripts, does not count
        d.list("bulk", limit=1)
        d.cheap_page("bulk", limit=1)
        assert d.call("GET", "/queues/bulk/counts")[0] == 200

        d.compare(QUEUES, AGENTS, tickets=tickets)
        d.compare(["a:open", "-"], ["-"], limit=3, tickets=tickets)
        for queue in ("bulk", QUEUES[-1], "nothing"):
            mine = [t for t in tickets if t["queue"] == queue]
            for query in ({}, {"state": ALL}, {"assignee": "rare"}, {"unassigned": 1}, {"assignee": AGENTS[-1], "state": "closed,pending"}):
                for limit in (1, 20):
                    page = d.cheap_page(queue, limit=limit, **query)
                    here = [t for t in mine if t["state"] in query.get("state", "open,pending").split(",")
                            and t["assignee"] == query.get("assignee", None if "unassigned" in query else t["assignee"])]
                    assert page["tickets"] == here[:limit], (queue, query)
            numbers = d.cheap(6, lambda: d.call("GET", f"/queues/{quote(queue)}/counts"))
            assert numbers == {s: sum(t["state"] == s for t in mine) for s in ("open", "pending")}
        # a cursor of the old release, deep in the queue; its ticket changes and goes
        at = bulk[700]
        cursor = base64.urlsafe_b64encode(json.dumps([at["priority"], at["due"], at["id"]]).encode()).decode()
        for step in (lambda: None, lambda: d.patch(at["id"], 1, queue="elsewhere", due=3), lambda: d.call("DELETE", "/tickets/" + at["id"])):
            step()
            assert d.cheap_page("bulk", limit=5, after=cursor)["tickets"] == bulk[701:706]
        assert d.list("bulk", limit=1)["next"] == base64.urlsafe_b64encode(
            json.dumps([bulk[0]["priority"], bulk[0]["due"], bulk[0]["id"]]).encode()).decode()

        # writes stay within their limits and move the entries
        new = d.cheap(30, lambda: d.call("PUT", "/tickets/new", {"queue": "bulk", "priority": 50, "due": 0}))
        assert d.db.hgetall("ticket:new") == {"queue": "bulk", "state": "open", "priority": "50", "due": "0", "subject": "", "version": "1"}
        new = d.cheap(30, lambda: d.call("POST", "/queues/bulk/claim", {"agent": "*"}))
        assert (new["id"], new["assignee"], new["version"]) == ("new", "*", 2)
        for values in ({"state": "closed"}, {"queue": "-", "due": None}, {"subject": "t"}, {"state": "pending", "assignee": None}, {"priority": -99}):
            new = d.cheap(30, lambda: d.patch("new", new["version"], **values))
            assert (d.db.ttl("ticket:new") > 29 * 86400) == (new["state"] == "closed")
        d.compare(["bulk", "-"], ["*"])
        d.cheap(30, lambda: d.call("DELETE", "/tickets/new"))
        left = d.hashes()
        for n, t in enumerate(x for x in left if x["queue"] != "bulk"):
            if n % 2:
                assert d.patch(t["id"], t["version"], **{**some(rng), "queue": QUEUES[n % 8]})[0] == 200
        d.compare(QUEUES, AGENTS[:3])
        d.db.delete(*["ticket:" + t["id"] for t in bulk])
        d.reindex()
        for t in left:
            if t["queue"] != "bulk":
                assert d.call("DELETE", "/tickets/" + quote(t["id"], safe=""))[0] == 200
        assert d.entries() <= 20, f"{d.entries()} entries without a ticket"


def test_cost_beside_many_tickets():
    """What requests cost while there are few tickets, and when there are thousands in the same queue."""
    make = """for i = 1, tonumber(ARGV[1]) do redis.call('HSET', 'ticket:m' .. i, 'queue', 'big', 'state', 'open', 'priority', 9,
        'subject', 's', 'version', 1, 'due', 1700000000000000 + i, 'assignee', 'x' .. i % 9) end"""
    with desk() as d:
        for i in range(60):
            d.old(f"t{i}", "big", ["open", "pending"][i % 2], i % 5, i, ["rare", None, None][i % 3])
        version = [0]

        def change():
            version[0] += 1
            return d.patch("t0", version[0], subject=f"s{version[0]}", priority=version[0] % 9)

        requests = {
            "list": lambda: d.call("GET", "/queues/big/tickets?limit=1"),
            "unassigned": lambda: d.call("GET", "/queues/big/tickets?limit=1&unassigned=1"),
            "assignee": lambda: d.call("GET", "/queues/big/tickets?limit=1&assignee=rare"),
            "counts": lambda: d.call("GET", "/queues/big/counts"),
            "patch": change,
            "claim": lambda: d.call("POST", "/queues/big/claim", {"agent": "x1"})}
        d.reindex()
        few = {name: d.busy(request) for name, request in requests.items()}
        d.db.eval(make, 0, 6000)
        d.reindex()
        for name, request in requests.items():
            many = d.busy(request)
            assert many <= 5 * few[name] + 1000, f"{name}: {few[name]} us while there were few tickets, {many} us beside thousands"
        page = d.cheap_page("big", limit=5, unassigned=1, state="open")
        assert d.cheap(30, requests["claim"])["id"] == page["tickets"][0]["id"]


def race(d, first, second, at, queues):
    """Sends `first` to the worker behind the proxy and `second` to the other one, just before the at-th piece for Redis."""
    got = []

    def hook(n):
        if n == at:
            got.append(second())
            tickets = d.hashes()
            for queue in queues:  # by worker 1, as the other one has to wait
                here = [t for t in tickets if t["queue"] == queue]
                assert d.pages(queue, state=ALL, worker=1) == here, f"{queue}: not what the hashes say, in the middle of a write"

    d.proxy.arm(hook)
    answer = first()
    d.proxy.arm()
    assert not d.proxy.problems, d.proxy.problems[0]
    # the next point; from the start again when `first` was through before this one
    return answer, got[0] if got else None, at + 1 if got and at < 11 else 1


def races(d, tag):
    """Each pair of writes, with the second one before each request that the first one makes to Redis."""
    d.put(tag + "warm", queue="warm")
    for kind in ("patch", "put", "delete", "resurrect"):
        at, names = 1, [f"{kind}{n}" for n in range(4)] + ["p1", "p2"]
        for i in range(12 if kind in ("patch", "put") else 22):
            ident, path = f"{tag}{kind}{i}", f"/tickets/{tag}{kind}{i}"
            if kind == "put":
                one, two, at = race(d, lambda: d.call("PUT", path, {"queue": "p1"}), lambda: d.call("PUT", path, {"queue": "p2"}, 1), at, names)
                good, bad = 201, 409
            else:
                d.put(ident, 1, queue=f"{kind}0")
                moved = {"queue": f"{kind}{1 + i % 2}", "priority": i, "assignee": "m"}
                if kind == "patch":
                    one, two, at = race(d, lambda: d.patch(ident, 1, queue="patch3", subject="A"), lambda: d.patch(ident, 1, 1, **moved), at, names)
                    good, bad = 200, 412
                elif kind == "delete":
                    one, two, at = race(d, lambda: d.call("DELETE", path), lambda: d.patch(ident, 1, 1, **moved), at, names)
                    assert one[0] == 200 and (two is None or two[0] in (200, 404)), (one, two)
                else:
                    one, two, at = race(d, lambda: d.patch(ident, 1, **moved), lambda: d.call("DELETE", path, worker=1), at, names)
                    assert one[0] in (200, 404) and (two is None or two[0] == 200), (one, two)
            if kind in ("patch", "put"):
                both = sorted(x[0] for x in (one, two) if x)
                assert both == ([good, bad] if two else [good]), (kind, one, two)
                won = one[1] if one[0] == good else two[1]
                assert d.call("GET", path) == (200, won)
            elif two:
                assert d.call("GET", path)[0] == 404 and not d.db.exists("ticket:" + ident), f"{ident} is back"
        d.compare(names, ["m"])
        for t in d.hashes():
            assert d.call("DELETE", "/tickets/" + t["id"])[0] == 200
    # claims: the whole walk of a worker without an index is one of the cases
    at = 1
    for i in range(10):
        for n in range(2):
            d.put(f"{tag}claim{i}{n}", queue="c")
        one, two, at = race(d, lambda: d.call("POST", "/queues/c/claim", {"agent": "one"}),
                              lambda: d.call("POST", "/queues/c/claim", {"agent": "two"}, 1), at, ["c"])
        assert one[0] == 200 and (two is None or (two[0] == 200 and two[1]["id"] != one[1]["id"])), (one, two)
        for answer in (one, two):
            assert not answer or d.call("GET", "/tickets/" + answer[1]["id"])[1] == answer[1]
        for agent in ("one", "two"):
            assert d.list("c", assignee=agent)["tickets"] == [a[1] for a in (one, two) if a and a[1]["assignee"] == agent]
        for n in range(2):
            assert d.call("DELETE", f"/tickets/{tag}claim{i}{n}")[0] == 200


def test_concurrent_writes():
    """Two workers that write the same tickets, at each point of each other's way; before and after the first run of reindex."""
    with desk(2, through_proxy=1) as d:
        races(d, "x")
        d.reindex()
        races(d, "y")
        assert d.entries() <= 20, f"{d.entries()} entries without a ticket"
        for i in range(24):
            d.put(f"z{i}", i % 2, queue="z", priority=i % 4)
        with ThreadPoolExecutor(8) as pool:
            got = list(pool.map(lambda i: d.call("POST", "/queues/z/claim", {"agent": f"agent{i % 3}"}, i % 2), range(30)))
        ids = [a[1]["id"] for a in got if a[0] == 200]
        assert len(set(ids)) == len(ids) == 24 and sorted(a[0] for a in got)[24:] == [404] * 6
        d.compare(["z"], ["agent0", "agent1", "agent2"])


def test_reindex_beside_work():
    """reindex on old data, killed, beside a worker that changes tickets between any two of its requests, and as a repair."""
    rng = random.Random(7)
    queues = ["q", "r", "still"]
    with desk() as d:
        for i in range(260):
            d.old(f"t{i}", queues[i % 2], **{**some(rng), "assignee": rng.choice([None, "kim", "lee"])})
        for i in range(8):
            d.old(f"still{i}", "still", priority=i)
        still = [t for t in d.hashes() if t["queue"] == "still"]

        # killed before it is done: what is there now is not an index
        for at in (3, 5):
            victim = []
            d.proxy.arm(lambda n: victim[0].kill() if n == at else None)
            victim.append(subprocess.Popen([sys.executable, "-m", "desk.reindex"], cwd=APP, env=d.env(d.proxy.port), stderr=subprocess.DEVNULL))
            victim[0].wait(30)
            d.proxy.arm()
            d.proxy.problems.clear()
            assert d.list("q", limit=3)["tickets"] == [t for t in d.hashes() if t["queue"] == "q" and t["state"] != "closed"][:3]
        t0 = d.call("GET", "/tickets/t0")[1]
        assert d.patch("t0", t0["version"], priority=98, queue="r", state="open")[0] == 200

        def beside(n):
            if n <= 40 or n % 16 == 0:
                assert d.list("still")["tickets"] == still, "the list of a queue that nobody changes is wrong during reindex"
            if n > 12:
                return
            for _ in range(8):
                number = d.changes = (d.changes + 7) % 260
                status, now = d.call("GET", f"/tickets/t{number}")
                if status == 404:
                    d.put(f"t{number}", queue="q", priority=4)
                elif number % 5 == 0:
                    assert d.call("DELETE", f"/tickets/t{number}")[0] == 200
                else:
                    values = {**some(rng), "queue": queues[rng.randrange(2)], "assignee": rng.choice([None, "kim", "lee"])}
                    status, got = d.patch(f"t{number}", now["version"], **values)
                    assert status == 200 and got == {**now, **values, "version": now["version"] + 1}

        def run():
            d.changes = 3
            d.proxy.arm(beside)
            d.reindex(d.proxy.port)
            d.proxy.arm()
            assert not d.proxy.problems, d.proxy.problems[0]
            d.compare(queues, ["kim", "lee"])
            assert d.entries() <= 2 * len(d.hashes()) + 20
            d.cheap_page("still")

        run()
        for i in range(4):
            d.put(f"top{i}", queue="q", priority=99, due=i)
        # the old release comes back for a day
        d.db.delete("ticket:top0")
        d.db.hset("ticket:top1", mapping={"assignee": "kim", "version": 2})
        d.old("top2", "r", priority=99)
        for i in range(0, 260, 3):
            d.old(f"t{i}", queues[rng.randrange(2)], **{**some(rng), "assignee": rng.choice([None, "kim", "lee"])})
        for i in range(0, 260, 4):
            d.db.delete(f"ticket:t{i}")
        for i in range(40):
            d.old(f"u{i}", "q", "pending", due=i)
        shown = d.pages("q", state="pending")
        assert all(t["queue"] == "q" and t["state"] == "pending" for t in shown) and len({t["id"] for t in shown}) == len(shown)
        before = d.hashes()
        free = {t["id"]: t for t in before if (t["queue"], t["state"], t["assignee"]) == ("q", "open", None)}
        for _ in range(8):
            status, got = d.call("POST", "/queues/q/claim", {"agent": "lee"})
            assert status in (200, 404), got
            if status == 200:
                was = free.pop(got["id"], None)
                assert was and got == {**was, "assignee": "lee", "version": was["version"] + 1}, f"{got} was not there to be claimed"
        assert "top3" not in free, "a ticket that only workers wrote was not claimed"
        assert {t["id"] for t in d.hashes()} == {t["id"] for t in before}
        for i in range(0, 260, 10):
            status, now = d.call("GET", f"/tickets/t{i}")
            if status == 200:
                assert d.patch(f"t{i}", now["version"], priority=-5)[0] == 200
        run()
        d.reindex()
        d.compare(queues, ["kim", "lee"])
        assert d.entries() <= 2 * len(d.hashes()) + 20
        for name in list(d.db.scan_iter(match="ticket:*", count=1000)):
            d.db.delete(name)
        d.reindex()
        assert d.entries() <= 20, f"{d.entries()} entries without a ticket"


def test_expired_tickets():
    """Tickets whose hash has expired: not in any list, full pages, and ids that are used again."""
    with desk() as d:
        d.reindex()
        for i in range(90):
            d.put(f"e{i}", queue="e", priority=i % 7, due=i, assignee=["kim", "lee", None][i % 3], state="closed" if i % 5 else "open")
        gone = [f"e{i}" for i in range(90) if i % 5 and i % 4]
        for ident in gone:
            d.db.pexpire("ticket:" + ident, 1)
        time.sleep(0.02)
        left = d.hashes()
        assert len(left) == 90 - len(gone)
        # these ids come back before anybody has looked
        for i, values in ((1, {}), (2, {"state": "closed", "assignee": "new"}), (3, {"state": "closed", "priority": -3}),
                          (6, {"queue": "f", "state": "closed"}), (7, {"state": "closed", "priority": 0, "due": 7, "assignee": "lee"}),
                          (9, {"state": "closed", "due": 9, "assignee": None, "priority": 2}), (11, {"state": "pending", "due": 11})):
            d.put(f"e{i}", **{"queue": "e", **values})
        assert d.patch("e13", 1, state="open")[0] == 404 and not d.db.exists("ticket:e13")
        tickets = d.hashes()
        for query in ({"state": "closed"}, {"state": "closed", "assignee": "kim"}, {"state": "closed", "unassigned": 1}, {"state": ALL}):
            here = [t for t in tickets if t["queue"] == "e" and t["state"] in query["state"]
                    and t["assignee"] == query.get("assignee", None if "unassigned" in query else t["assignee"])]
            assert d.list("e", limit=6, **query)["tickets"] == here[:6], query
            assert d.cheap_page("e", limit=6, **query)["tickets"] == here[:6], query
            assert d.pages("e", 6, **query) == here, query
        d.compare(["e", "f"], ["kim", "lee", "new"], tickets=tickets)
        assert d.call("POST", "/queues/e/claim", {"agent": "lee"})[1]["id"] == next(
            t["id"] for t in tickets if t["queue"] == "e" and t["state"] == "open" and t["assignee"] is None)
        # an expiry is not set anew by other changes, and is taken off when a ticket is opened again
        d.db.expire("ticket:e2", 1000)
        assert d.patch("e2", 1, subject="later", priority=6)[0] == 200 and 0 < d.db.ttl("ticket:e2") <= 1000
        assert d.patch("e2", 2, state="pending")[0] == 200 and d.db.ttl("ticket:e2") == -1
        d.compare(["e"], ["new", "lee"])
        for i in (8, 12, 16):
            d.db.pexpire(f"ticket:e{i}", 1)
        time.sleep(0.02)
        d.reindex()
        d.compare(["e", "f"], ["kim", "lee", "new"])
        tickets = d.hashes()
        assert d.entries() <= 2 * len(tickets) + 20
        for t in tickets:
            assert d.call("DELETE", "/tickets/" + t["id"])[0] == 200
        assert d.entries() <= 20, f"{d.entries()} entries without a ticket"
