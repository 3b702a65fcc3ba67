import contextlib
import csv
import glob
import http.client
import itertools
import json
import os
import random
import re
import socket
import sqlite3
import statistics
import subprocess
import sys
import time
import unicodedata

import pytest

FIELDS = ("source", "given", "surname", "mail", "phone", "tax", "born")

RELEASE_1 = """
CREATE TABLE records (id INTEGER PRIMARY KEY AUTOINCREMENT, source TEXT, given TEXT, surname TEXT, mail TEXT, phone TEXT,
    tax TEXT, born TEXT, person INTEGER NOT NULL DEFAULT 0);
CREATE INDEX records_person ON records (person);
CREATE TABLE decisions (
    a INTEGER NOT NULL REFERENCES records (id) ON DELETE CASCADE,
    b INTEGER NOT NULL REFERENCES records (id) ON DELETE CASCADE,
    verdict TEXT NOT NULL CHECK (verdict IN ('same', 'different')), PRIMARY KEY (a, b), CHECK (a < b));
CREATE TABLE events (seq INTEGER PRIMARY KEY AUTOINCREMENT, person TEXT NOT NULL, records TEXT NOT NULL);
"""


def normal(record):
    def name(text):
        text = unicodedata.normalize("NFKD", text or "")
        text = "".join(c for c in text if not unicodedata.combining(c)).casefold()
        return re.sub(r"[\W_]+", " ", text).strip()

    return {"given": name(record.get("given")), "surname": name(record.get("surname")),
            "mail": (record.get("mail") or "").strip().casefold(),
            "phone": re.sub("[^0-9]", "", record.get("phone") or "").lstrip("0"),
            "tax": (record.get("tax") or "").strip(), "born": (record.get("born") or "").strip()}


def by_the_rules(records, decisions):
    """{id: record}, {(a, b): verdict} -> people and review."""
    value = {number: normal(record) for number, record in sorted(records.items())}
    names = {}
    for one in value.values():
        for field in ("mail", "phone"):
            names.setdefault((field, one[field]), set()).update({one["given"]} - {""})
    links = {4: {pair: pair for pair, verdict in decisions.items() if verdict == "same"}, 3: {}, 2: {}, 1: {}}
    for level, *fields in ((3, "tax"), (2, "mail", "surname"), (2, "mail", "born"), (1, "phone", "given", "surname")):
        for number, one in value.items():
            what = tuple(one[field] for field in fields)
            if all(what) and len(names.get((fields[0], what[0]), ())) <= 3:
                links[level].setdefault((*fields, *what), []).append(number)

    def contradict(whole):
        return any(len({value[number][field] for number in whole} - {""}) > 1 for field in ("tax", "born")) or any(
            verdict == "different" and whole >= {*pair} for pair, verdict in decisions.items())

    group = {number: (number,) for number in value}
    review = []
    for level in (4, 3, 2, 1):
        beside = {}
        for numbers in links[level].values():
            for number in numbers:
                beside.setdefault(group[number], set()).add(group[numbers[0]])
                beside.setdefault(group[numbers[0]], set()).add(group[number])
        while beside:
            start, todo = beside.popitem()
            found = {start}
            while todo:
                one = todo.pop()
                if one not in found:
                    found.add(one)
                    todo |= beside.pop(one)
            whole = sorted(number for one in found for number in one)
            if len(found) > 1 and contradict(set(whole)):
                review.append((level, whole))
            elif len(found) > 1:
                group.update(dict.fromkeys(whole, tuple(whole)))
    return sorted(map(list, {*group.values()})), sorted(review)


class Service:
    used = set()

    def __init__(self, path):
        while True:
            self.port = random.randrange(12000, 30000)
            if self.port in self.used:
                continue
            self.used.add(self.port)
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)):
                    break
        self.process = subprocess.Popen([sys.executable, "-m", "whois", "--db", str(path), "--port", str(self.port)],
                                        cwd="/app", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def ready(self):
        end = time.monotonic() + 60
        while time.monotonic() < end:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return self
            assert self.process.poll() is None, "the service has ended"
            time.sleep(0.03)
        raise AssertionError("the service does not listen")

    def call(self, method, path, body=None, status=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            data = None if body is None else json.dumps(body).encode()
            connection.request(method, path, data, {"Content-Type": "application/json"} if data else {})
            answer = connection.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise AssertionError(f"{method} {path}: {error!r}") from error
        finally:
            connection.close()
        if status:
            assert answer.status == status, f"{method} {path} {body}: {answer.status}"
        self.location = answer.getheader("Location")
        self.status = answer.status
        return json.loads(text) if text and answer.status < 300 else None

    def people(self):
        people = self.call("GET", "/people", status=200)
        for one in people:
            assert one["person"] == f"p{min(one['records'])}"
        return [one["records"] for one in people]

    def review(self):
        return [(one["level"], one["records"]) for one in self.call("GET", "/review", status=200)]

    def events(self, after=0):
        return self.call("GET", f"/events?after={after}", status=200)

    def stop(self):
        self.process.kill()
        self.process.wait(10)


@pytest.fixture
def services(tmp_path):
    made = []

    def start(name, ready=True):
        made.append(Service(tmp_path / name))
        return made[-1].ready() if ready else made[-1]

    yield start
    for one in made:
        one.stop()


def rebuild(path, limit=60):
    try:
        done = subprocess.run([sys.executable, "-m", "whois.rebuild", str(path)], cwd="/app", timeout=limit,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True)
    except subprocess.TimeoutExpired as error:
        raise AssertionError("rebuild takes too long") from error
    assert done.returncode == 0, done.stderr[-2000:]


def play(events, people=None):
    people = people if people is not None else {}
    for event in events:
        people[event["person"]] = event["records"]
    return people


CROWD = [line.split("|") for line in """
a1|Ann|Lee|ann@x.example|555 1||1980-01-01
a2|Ann|Lee|Ann@X.example |005551||
a3|Anne|Lee|ann@x.example|||1981-02-02
a4|ANN|lee||(555) 1||
b1|José-María|Strauß|jm@x.example|0049 30 77|T1|
b2|Jose  Maria|STRAUSS||4930/77||
b3|jose maria|Strauss|other@x.example||T1|1970-01-01
b4|J.|Strauss|OTHER@x.example|||1970-01-01
c1|Bea|Kim||777 0||
c2|Bea|Kim||777-0||
c3|Cat|Kim||7770||
c4|Dee|Oz||0007770||
c5|Eva|Kim|eva@x.example|7770||
d1|Bob|Roe|desk@x.example|888||
d2|Bob|Roe||888||
d3|Rob|Roe|desk@x.example|888||
d4||Roe|desk@x.example|888||
d5|Bert|Roe||888||
e1|Flo|Nye|info@x.example|||
e2|Gus|Nye|info@x.example|||
e3|Hal|Nye|info@x.example|||
e4|Ida|Nye|info@x.example|||
f1|Kai|Ott|kai@x.example||T7|1990-09-09
f2|Kai|Ott|||T7|1991-09-09
f3|Kai|Ott|kai@x.example|999||
f4|Kai|Ott||999||1991-09-09
g1|Lea|Poe|lea@x.example||T8|
g2|Lea|Poe|lea@x.example||T9|
g3|Lea|Poe||444||
g4|Léa|Poe||444|T9|
h1|Mia|Rey|mia@x.example|333|T5|
h2|Mia|Rey|mia@x.example|333|T5|
h3|Mia|Rey||333||
k1|Zoe||zoe@x.example|||1999-01-01
k2|Zoë|Fox|zoe@x.example|||1999-01-01
k3|||zoe@x.example|||
k4|_|-|zoe@x.example|222||
k5|!|-||222||
l1|Ｎｏａ|Fish||666||
l2|noa|ﬁsh||666||
m1|Uma|Sol||12٣||
m2|Uma|Sol||12||
n1|Vic|Tan||000||
n2|Vic|Tan||0||
o1|Wes|Urs|||Ta|
o2|Wes|Urs|||tA|
p1|Xan|Vos||| T6 | 2000-02-02
p2|Xan|Vos|||T6|2000-02-02
q1|Yan|Wu|STRASSE@x.example|||
q2|Yan|Wu|straße@x.example|||
r1|Jo Ann|Xu||2468||
r2|Joann|Xu||2468||
""".strip().splitlines()]
VERDICTS = {("h1", "h2"): "different", ("g1", "g3"): "same", ("k3", "k5"): "same", ("a3", "g1"): "same", ("a3", "b1"): "same"}


def test_any_way_to_the_same_people(services, tmp_path):
    crowd = {line[0]: {field: text or None for field, text in zip(FIELDS, line)} for line in CROWD}
    keys = sorted(crowd)
    number = {key: n for n, key in enumerate(keys)}
    people, review = by_the_rules({number[key]: record for key, record in crowd.items()},
                                  {tuple(sorted((number[a], number[b]))): v for (a, b), v in VERDICTS.items()})
    people = {frozenset(keys[n] for n in one) for one in people}
    review = {(level, frozenset(keys[n] for n in one)) for level, one in review}
    assert {level for level, _ in review} == {1, 2, 3, 4} and len(people) < len(crowd) - 8

    running = [services(f"way{way}.db", ready=False) for way in range(3)]
    for way, service in enumerate(running):
        service.ready()
        chance = random.Random(100 + way)
        todo = [("send", key) for key in keys] + [("decide", pair) for pair in VERDICTS]
        if way:
            chance.shuffle(todo)
        ids, later = {}, []

        def send(key, **other):
            ids[key] = service.call("POST", "/records", {**crowd[key], **other}, 201)["id"]

        for kind, what in todo:
            if kind == "send" and what not in ids:
                detour = chance.random() if way else 1
                stranger = crowd[chance.choice(keys)]
                if detour < 0.3:  # wrong at first, with values of somebody else
                    wrong = {field: stranger[field] for field in ("mail", "phone", "tax", "surname", "born")}
                    send(what, **wrong)
                    later.append(("PATCH", f"/records/{ids[what]}", {f: crowd[what][f] for f in wrong}))
                elif detour < 0.5:  # a record that is taken back
                    gone = service.call("POST", "/records", {**stranger, "source": "gone"}, 201)["id"]
                    later.append(("DELETE", f"/records/{gone}", None))
                    send(what)
                else:
                    send(what)
            elif kind == "decide":
                for key in what:
                    if key not in ids:
                        send(key)
                a, b = (ids[key] for key in what)
                if way:
                    service.call("PUT", f"/decisions/{a}-{b}", {"verdict": chance.choice(["same", "different"])}, 200)
                service.call("PUT", f"/decisions/{b}-{a}", {"verdict": VERDICTS[what]}, 200)
            if way and len(ids) > 1 and chance.random() < 0.2:
                pair = chance.sample(sorted(ids), 2)
                if tuple(pair) not in VERDICTS and tuple(pair[::-1]) not in VERDICTS:
                    path = f"/decisions/{ids[pair[0]]}-{ids[pair[1]]}"
                    service.call("PUT", path, {"verdict": "same"}, 200)
                    later.append(("DELETE", path, None))
        for method, path, body in dict((one[:2], one) for one in later).values():
            service.call(method, path, body, 200 if body else 204)
        key_of = {n: key for key, n in ids.items()}
        assert {frozenset(key_of[n] for n in one) for one in service.people()} == people, f"way {way}"
        assert {(level, frozenset(key_of[n] for n in one)) for level, one in service.review()} == review, f"way {way}"

    # The script adds to a database, too, while no service runs.
    order = [key for key in keys if any(key in pair for pair in VERDICTS)]
    order += random.Random(7).sample([key for key in keys if key not in order], len(keys) - len(order))
    key_of = dict(enumerate(order, 1))
    for part in (order[:20], order[20:]):
        file = tmp_path / f"part{len(part)}.csv"
        with open(file, "w", newline="", encoding="utf-8") as out:
            csv.writer(out).writerows([FIELDS, *([crowd[key][field] for field in FIELDS] for key in part)])
        try:
            done = subprocess.run([sys.executable, "scripts/import_csv.py", str(tmp_path / "csv.db"), str(file)], cwd="/app", timeout=60,
                                  stdin=subprocess.DEVNULL, capture_output=True, text=True)
        except subprocess.TimeoutExpired as error:
            raise AssertionError("import_csv does not end") from error
        assert done.returncode == 0, done.stderr[-2000:]
        service = services("csv.db")
        if part[0] == order[0]:
            for pair, verdict in VERDICTS.items():
                service.call("PUT", "/decisions/{}-{}".format(*(order.index(key) + 1 for key in pair)), {"verdict": verdict}, 200)
            service.stop()
    assert {frozenset(key_of[n] for n in one) for one in service.people()} == people, "import_csv"
    assert {(level, frozenset(key_of[n] for n in one)) for level, one in service.review()} == review, "import_csv"
    assert sorted(filter(None, play(service.events()).values())) == service.people(), "import_csv"


WORLD = {"given": ["Ann", " ann", "Bo", "Cy", "Di", "Ed", None], "surname": ["X", "Ý", "y", None],
         "mail": ["a@b", "A@b ", "c@d", None, None], "phone": ["00 12", "12", "34", None], "tax": [None] * 5 + ["t1", "t2"],
         "born": [None, None, "1", "2"], "source": ["shop", "news"]}


def test_after_each_write(services):
    service = services("each.db")
    for seed in (5, 6):
        chance = random.Random(seed)
        for number in [record for person in service.people() for record in person]:
            service.call("DELETE", f"/records/{number}", None, 204)
        records, decisions, people, last, gone = {}, {}, {}, 0, []
        for event in service.events():
            play([event], people)
            last = event["seq"]
        assert not any(people.values())
        for step in range(75):
            where = f"seed {seed}, write {step}"
            some = {field: chance.choice(options) for field, options in WORLD.items()}
            dice = chance.random()
            what = "add"
            if dice < 0.4 or len(records) < 4:
                number = service.call("POST", "/records", some, 201)["id"]
                assert number > max([*records, *gone], default=0), where
                records[number] = some
            elif dice < 0.65:
                number = what = chance.choice(sorted(records))
                some = {field: text for field, text in some.items() if chance.random() < 0.4}
                records[number] = {**records[number], **some}
                shown = service.call("PATCH", f"/records/{number}", some, 200)
                assert {field: shown[field] for field in FIELDS} == records[number]
            elif dice < 0.77:
                number = what = chance.choice(sorted(records))
                service.call("DELETE", f"/records/{number}", None, 204)
                del records[number]
                gone.append(number)
                decisions = {pair: verdict for pair, verdict in decisions.items() if number not in pair}
            elif dice < 0.9 or not decisions:
                pair = chance.sample(sorted(records), 2)
                what = decisions[tuple(sorted(pair))] = chance.choice(["same", "different"])
                service.call("PUT", f"/decisions/{pair[0]}-{pair[1]}", {"verdict": what}, 200)
            else:
                pair = chance.choice(sorted(decisions))
                what = decisions.pop(pair)
                service.call("DELETE", f"/decisions/{pair[1]}-{pair[0]}", None, 204)
            where += f" ({what})"
            right, review = by_the_rules(records, decisions)
            assert service.people() == right, where
            assert service.review() == review, where
            before = dict(people)
            new = service.events(last)
            assert all(one["seq"] > last for one in new) and len({one["person"] for one in new}) == len(new), where
            play(new, people)
            last = new[-1]["seq"] if new else last
            assert {name: numbers for name, numbers in people.items() if numbers} == \
                {f"p{one[0]}": one for one in right}, where
            assert all(before.get(one["person"], []) != one["records"] for one in new), where
        for one in right:
            for number in one:
                found = service.call("GET", f"/people/p{number}")
                if number == one[0]:
                    assert found == {"person": f"p{number}", "records": one}
                else:
                    assert service.status == 301 and service.location.endswith(f"/people/p{one[0]}")
        for number in gone:
            service.call("GET", f"/people/p{number}", None, 404)
        # It is killed as soon as it has answered.
        last = service.call("POST", "/records", {"given": "Ann"}, 201)["id"]
        some = service.call("POST", "/records", {"given": "Bo", "tax": "t1"}, 201)["id"]
        was = service.people(), service.review(), service.events()
        service.call("PUT", f"/decisions/{last}-{some}", {"verdict": "same"}, 200)
        service.stop()
        service = services("each.db")
        decisions[last, some] = "same"
        records.update({last: {"given": "Ann"}, some: {"given": "Bo", "tax": "t1"}})
        assert (service.people(), service.review()) == by_the_rules(records, decisions), "after a kill"
        assert service.events()[:len(was[2])] == was[2], "after a kill"
        people = [records for records in play(service.events()).values() if records]
        assert sorted(people) == service.people(), "after a kill"
        service.call("DELETE", f"/records/{some}", None, 204)
        service.stop()
        service = services("each.db")
        assert service.call("POST", "/records", {"given": "Cy"}, 201)["id"] > some, "an id is used again"


def old_database(path, records, people, decisions=()):
    """A database of release 1: {id: record}, lists of ids by their first, and decisions."""
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.executescript(RELEASE_1)
        person = {number: one[0] for one in people for number in one}
        db.executemany("INSERT INTO records VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                       [(n, *(record.get(field) for field in FIELDS), person[n]) for n, record in records.items()])
        db.executemany("INSERT INTO decisions VALUES (?, ?, ?)", decisions)
        db.executemany("INSERT INTO events (person, records) VALUES (?, ?)",
                       [(f"p{one[0]}", json.dumps(one)) for one in people])


def test_old_databases(services, tmp_path):
    chance = random.Random(77)
    records = {n: {field: chance.choice(options) for field, options in WORLD.items()} for n in range(3, 33)}
    records.update({n: {**records[n], "mail": f"m{n % 7}@x", "phone": None, "tax": None} for n in range(20, 30)})
    decisions = {(3, 9): "same", (4, 5): "different", (20, 27): "different"}
    # Ways of many steps.
    records.update({n: {"given": "Ann"} for n in range(40, 340)})
    for first in range(40, 340, 60):
        steps = chance.sample(range(first, first + 60), 60)
        decisions.update({(min(pair), max(pair)): "same" for pair in zip(steps, steps[1:])})
    order = sorted(records)
    # As they came to be joined; the first record of p1 is gone since.
    people = [[3, 4, 5, 9], [6, 8, 11, 30], [7], [10, 12, 13], *([n] for n in order if n > 13 and n != 30)]
    path = tmp_path / "old.db"
    old_database(path, records, people, [(*pair, verdict) for pair, verdict in decisions.items()])
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE records SET person = 1 WHERE person = 3")
        db.execute("UPDATE events SET person = 'p1' WHERE person = 'p3'")
    old = {f"p{one[0]}": one for one in people}
    old["p1"] = old.pop("p3")

    rebuild(path)
    service = services("old.db")
    right, review = by_the_rules(records, decisions)
    assert service.people() == right and service.review() == review
    events = service.events()
    assert play(events[:len(people)]) == old
    new = events[len(people):]
    names = {f"p{one[0]}": one for one in right}
    assert {name: numbers for name, numbers in play(events).items() if numbers} == names
    assert sorted(one["person"] for one in new) == sorted(
        name for name in old.keys() | names.keys() if old.get(name) != names.get(name))
    service.stop()
    rebuild(path)
    service = services("old.db")
    assert service.events() == events and service.people() == right and service.review() == review
    # It goes on from there.
    for number, change in ((6, {"mail": "m1@x", "surname": "X"}), (21, {"surname": "x", "born": None, "given": "Flo"})):
        records[number] = {**records[number], **change}
        service.call("PATCH", f"/records/{number}", change, 200)
        assert (service.people(), service.review()) == by_the_rules(records, decisions)
    for a, b in ((3, 9), sorted(steps[30:32])):
        service.call("DELETE", f"/decisions/{a}-{b}", None, 204)
        del decisions[a, b]
    assert (service.people(), service.review()) == by_the_rules(records, decisions)


def town(size):
    records = {}
    for n in range(1, size + 1):
        record = {"given": f"G{n % 211}", "surname": f"S{n // 2 % 1009}", "mail": f"m{n // 2}@x", "phone": f"1{n}", "born": None}
        if n % 4 == 0:
            record["phone"] = "030 / 99"
        if n % 10 == 1:
            record["mail"] = "office@x"
        if n % 50 == 11:
            record["tax"] = f"t{n // 100}"
        records[n] = record
    return records


def processor_time():
    """The seconds that the other processes here have had, but for those that have ended apart from their parents."""
    ticks = 0
    for path in glob.glob("/proc/[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(path.split("/")[2]) != os.getpid():
                with open(path) as file:
                    ticks += sum(map(int, file.read().rpartition(")")[2].split()[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def test_writes_stay_quick(services, tmp_path):
    tiny = services("tiny.db")
    numbers = [tiny.call("POST", "/records", {"given": name}, 201)["id"] for name in ("Ann", "Bo")]
    path = "/decisions/{}-{}".format(*numbers)
    tiny.call("PUT", path, {"verdict": "same"}, 200)
    tiny.call("DELETE", path, None, 204)
    assert tiny.people() == [[numbers[0]], [numbers[1]]]
    was = tiny.events()
    for call, status in ((("PUT", "/decisions/1-1", {"verdict": "same"}), 400), (("POST", "/records", {"mail": 7}), 400),
                         (("PUT", "/decisions/1-2", {"verdict": "maybe"}), 400), (("PATCH", "/records/1", {"age": "7"}), 400),
                         (("PUT", "/decisions/1-99", {"verdict": "same"}), 404), (("DELETE", "/decisions/1-2"), 404),
                         (("PATCH", "/records/99", {"given": "Cy"}), 404), (("DELETE", "/records/99"), 404)):
        tiny.call(*call, status=status)
    assert tiny.people() == [[numbers[0]], [numbers[1]]] and tiny.events() == was, "wrong input has done something"
    tiny.stop()

    # Both sizes take turns, so that they meet the same load.
    taken, towns, filed = {}, {}, {}
    for size in (300, 10000):
        records = filed[size] = town(size)
        file = tmp_path / f"town{size}.db"
        old_database(file, records, [[n] for n in records])
        rebuild(file)
        towns[size] = services(file.name)

    begun = processor_time()
    for n, (size, service) in itertools.product(range(15), towns.items()):
        records = filed[size]

        def timed(kind, *call):
            spent, start = processor_time(), time.monotonic()
            found = service.call(*call)
            took = time.monotonic() - start
            what = kind if kind == "club" else f"{call[0]}, {kind}"
            taken.setdefault(what, {}).setdefault(size, []).append((took, processor_time() - spent))
            return found

        def post(kind, **record):
            found = timed(kind, "POST", "/records", record, 201)
            records[found["id"]] = record
            return found["id"], found["person"]

        def patch(kind, number, **fields):
            records[number] = {**records[number], **fields}
            timed(kind, "PATCH", f"/records/{number}", fields, 200)

        staff = 8 + 12 * n
        patch("office", staff, given=f"G{n + 5}")
        one, person = post("office", given=f"G{n}", surname="S7", phone="3099", mail="OFFICE@x")
        assert person == f"p{one}"
        # A twin of a neighbour; a decision joins it to one of the office, and is withdrawn.
        twin, person = post("home", surname=f"s{staff // 2}", mail=f"m{staff // 2}@x")
        assert person == f"p{staff}"
        path = f"/decisions/{twin}-{one}"
        timed("home", "PUT", path, {"verdict": "same"}, 200)
        assert timed("home", "GET", f"/people/p{staff}", None, 200)["records"][-2:] == [one, twin]
        timed("home", "DELETE", path, None, 204)
        assert timed("home", "GET", f"/people/p{staff}", None, 200)["records"][-1] == twin
        timed("office", "DELETE", f"/records/{one}", None, 204)
        del records[one]
        assert timed("home", "GET", f"/people/p{staff}", None, 200)["records"][-1] == twin
        k = staff + 1   # a neighbour, of whom a record has the phone alone
        _, person = post("home", given=f"g{k % 211}", surname=f"S{k // 2 % 1009}", phone=f"01-{k}")
        assert person == service.call("GET", f"/records/{k}", None, 200)["person"]
        # A phone of two people: with the fourth name they fall apart, and are together again where one is corrected.
        if n % 3 == 0:
            club = [post("club", given=given, surname="Club", phone=f"55{n}", tax=f"u{n}" if given == "A" else "")
                    for given in ("A", "A", "B", "B", "C", "D")]
            assert club[1][1] == club[0][1] and club[3][1] == club[2][1]
            if n % 2:
                patch("club", club[5][0], given="c")
                assert timed("club", "GET", f"/people/p{club[5][0]}", None, 301) is None
    spent = processor_time() - begun
    requests = sum(len(each) for times in taken.values() for each in times.values())
    for (size, service), records in zip(towns.items(), filed.values()):
        right, review = by_the_rules(records, {})
        assert service.people() == right and service.review() == review, f"{size} records"
        assert sorted(filter(None, play(service.events()).values())) == right, f"{size} records"
    assert spent < 0.03 * requests, f"a request takes {1000 * spent / requests:.0f} ms of the processor"
    for what, times in taken.items():
        average = statistics.mean(cpu for _, cpu in times[10000])
        assert average < 0.03, f"{what}: takes {1000 * average:.0f} ms of the processor"
        small, large = (statistics.median(took for took, _ in times[size]) for size in towns)
        assert large <= 6 * small + 0.05, f"{what}: takes {1000 * large:.0f} ms, with few records {1000 * small:.0f} ms"
