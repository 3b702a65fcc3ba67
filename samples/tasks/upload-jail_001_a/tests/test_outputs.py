"""docs/gate.md, from outside: the service is started, requests are sent, answers are looked at."""
import hashlib
import http.client
import json
import os
import random
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest

HOME = Path("/srv/catalog")

# Starts of SHA-256 of the data that the recorded requests got before there was a gate; depth and fields.
RECORDED = {
    "01-shop-window": ("620fdcf08cb5cae8", (4, 91)),
    "02-generated-by-a-client": ("268a876ad6a31f5e", (5, 26)),
    "03-search": ("efa05c89261b253e", (3, 241)),
    "04-odd-names": ("b6d31121a7d48ea7", (2, 7)),
    "05-count-only": ("543ee64290a4730b", (3, 9)),
    "06-everything-off": ("ddd609324d4512dc", (2, 11)),
}
LIMITS = {"TOO_MANY_FIELDS": 5000, "TOO_DEEP": 12, "TOO_NESTED": 40}


def processes():
    return {one for one in Path("/proc").iterdir() if one.name.isdigit()}


class Service:
    def __init__(self, folder=HOME):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        env = {"PATH": os.environ["PATH"], "PORT": f"{self.port}"}
        self.before = processes()
        self.process = subprocess.Popen(["node", "src/server.js"], cwd=folder, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.connection = None
        self.answers = hashlib.sha256()
        self.reads = folder / "src" / "reads"
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                time.sleep(0.05)
        self.stop()
        assert False, "the service does not start"

    def stop(self):
        if self.connection:
            self.connection.close()
        self.process.kill()
        self.process.wait(10)

    def burnt(self):
        """Seconds of a processor that it and all that came after it have used, whoever has started it."""
        used = 0
        for one in processes() - self.before:
            try:
                used += sum(map(int, (one / "stat").read_text().rpartition(")")[2].split()[11:15]))
            except OSError:
                continue  # it has ended
        return used / os.sysconf("SC_CLK_TCK")

    def http(self, method, path, body=None):
        before = self.burnt()
        try:
            if self.connection is None:
                self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
            self.connection.request(method, path, body)
            res = self.connection.getresponse()
            answer = res.status, json.loads(res.read())
            assert self.burnt() - before < 1, (str(body)[:300], self.burnt() - before)
            return answer
        except (OSError, http.client.HTTPException, ValueError) as err:
            problem = repr(err)
        assert False, f"no answer: {problem}"

    def ask(self, query, variables=None, name=None):
        body = {"query": query}
        if variables is not None:
            body["variables"] = variables
        if name is not None:
            body["operationName"] = name
        return self.http("POST", "/graphql", json.dumps(body))

    def passes(self, depth, fields, query, variables=None, name=None):
        status, body = self.ask(query, variables, name)
        assert status == 200 and set(body) == {"data", "extensions"}, (query[:300], status, str(body)[:600])
        assert body["extensions"] == {"cost": {"depth": depth, "fields": fields}}, (query[:300], variables, body["extensions"])
        self.note(body)
        return body["data"]

    def note(self, body):
        self.answers.update(json.dumps(body["data"], sort_keys=True).encode())

    def looked_at(self):
        return self.http("GET", "/stats"), self.reads.exists() and self.reads.stat().st_size

    def refuses(self, code, query, variables=None, path=(), name=None, **more):
        more = {"limit": LIMITS[code], **more} if code in LIMITS else more
        before = self.looked_at()
        status, body = self.ask(query, variables, name) if isinstance(query, str) else self.http("POST", "/graphql", query)
        self.is_refusal(status, body, code, path, more)
        assert self.looked_at() == before, "something of it was resolved"

    def is_refusal(self, status, body, code, path, more):
        assert status == 422 and len(body.get("errors", [])) == 1 and "data" not in body, (code, status, str(body)[:600])
        error = body["errors"][0]
        assert isinstance(error.pop("message", None), str)
        assert error == {"code": code, "path": [*path], **more}, error

    def is_alive(self):
        assert self.passes(2, 3, "{makers(first: 2) {id}}") == {"makers": [{"id": "m0"}, {"id": "m1"}]}


@pytest.fixture
def service():
    running = Service()
    yield running
    running.stop()


# Notes each look into the catalogue.
WATCHED = """const { appendFileSync } = require('node:fs');
module.exports = new Proxy(require('./whole.js'), { get(all, part) { appendFileSync(`${__dirname}/reads`, '.'); return all[part]; } });
"""
# A schema with other lists.
CHANGED = """
{
  const { fields } = module.exports.types.get('Query');
  fields.get('search').size.max = 4;
  fields.get('products').args.get('first').fallback = 3;
}
"""


def with_limits(folder, schema="", **limits):
    home = folder / "copy"
    shutil.copytree(HOME, home, ignore=shutil.ignore_patterns(".git", "node_modules"))
    path = home / "config" / "gate.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **limits}))
    (home / "src/data.js").rename(home / "src/whole.js")
    (home / "src/data.js").write_text(WATCHED)
    with (home / "src/graphql/schema.js").open("a") as file:
        file.write(schema)
    return Service(home)


def test_what_passes_is_answered_with_its_cost(service):
    passes, refuses = service.passes, service.refuses
    service.is_alive()
    for name, (digest, (depth, fields)) in RECORDED.items():
        status, body = service.http("POST", "/graphql", (HOME / "recorded" / f"{name}.json").read_text())
        assert status == 200 and set(body) == {"data", "extensions"}, (name, body)
        assert hashlib.sha256(json.dumps(body["data"], sort_keys=True).encode()).hexdigest()[:16] == digest, f"{name} is answered differently"
        assert body["extensions"] == {"cost": {"depth": depth, "fields": fields}}, (name, body["extensions"])
    window = json.loads((HOME / "recorded" / "01-shop-window.json").read_text())["query"]
    passes(4, 1501, window, {"n": 100, "withReviews": True})
    refuses("BAD_SIZE", window, {"n": 101, "withReviews": True})
    table = [
        (2, 7, "{products(first: 3) {id name}}"),
        (2, 5, "{makers(first: 2.0) {id name}}"),
        (9, 57, '{product(id: "p5") {reviews {product {maker {products(first: 2) {related(limit: 1) {maker {parent {name}}}}}}}}}'),
        (2, 21, "{products {id}}"),
        (2, 31, '{search(text: "a") {__typename}}'),
        (3, 8, '{product(id: "p1") {reviews {id} tags}}'),
        (3, 11, '{product(id: "p1") {related {id} r: related(limit: 2) {id name}}}'),
        (3, 11, "{products(first: 2) {id ...A ...B ... on Product {maker {id}}}} fragment A on Product {maker {name} id} fragment B on Product {maker {name country}}"),
        (3, 13, "{products(first: 2) {id maker {name} m: maker {name country}}}"),
        (1, 1, "{products(first: 0) {reviews(first: 50) {product {maker {products {id}}}}}}"),
        (3, 12, '{named(id: "p1") {id ... on Maker {products(first: 9) {id}} ... on Product {reviews(first: 2) {id text}}}}'),
        (4, 7, '{search(text: "a", first: 2) {... on Product {id name price} ... on Review {product {maker {id}}}}}'),
        (2, 5, '{search(text: "a", first: 2) {... on Named {id} ... on Product {id name}}}'),
        (3, 7, '{named(id: "m1") {... {id ... on Named {... on Product {maker {id name country x: id}}}}}}'),
        (2, 2, "{maker(id: 1) {id}} fragment Unused on Product {related(limit: 99) {...Unused}}"),
        (2, 2, '{maker(id: "m1") {id products(first: -1) @skip(if: true) {id} ...F @include(if: false)}} fragment F on Maker {parent {...F}}'),
        (1, 1, "{__typename ... @skip(if: true) {makers {id}}}"),
        (3, 4, '{product(id: "p1") {...A ...A ... on Named {...A} maker {... {id}}}} fragment A on Product {a: id}'),
        (1, 4, "{a: __typename constructor: __typename __proto__: __typename hasOwnProperty: __typename a: __typename}"),
    ]
    for depth, fields, query in table:
        passes(depth, fields, query)
    for given, fields in (({}, 21), ({"n": 4}, 5), ({"n": 0}, 1), ({"n": 100}, 101), (None, 21)):
        passes(2 if fields > 1 else 1, fields, "query($n: Int) {products(first: $n) {id}}", given)
    for given, fields in (({}, 8), ({"n": 4}, 5)):
        passes(2, fields, "query($n: Int = 7) {products(first: $n) {id}}", given)
    passes(2, 31, 'query($n: Int) {search(text: "a", first: $n) {__typename}}', {})
    switch = "query($s: Boolean!, $t: Boolean = true) {products(first: 2) {id @skip(if: $s) name @include(if: $s) price @include(if: $t) @skip(if: $s)}}"
    passes(2, 3, switch, {"s": True})
    passes(2, 5, switch, {"s": False})
    passes(2, 3, switch, {"s": False, "t": False})
    passes(2, 3, "query($__proto__: Int = 2) {products(first: $__proto__) {id}}", {})
    two = "query A {makers {id}} query B {products(first: 100) {reviews(first: 50) {id text}}} query C {...D} fragment D on Query {...D}"
    passes(2, 11, two, name="A")
    refuses("TOO_MANY_FIELDS", two, name="B")
    refuses("FRAGMENT_CYCLE", two, name="C")
    assert service.answers.hexdigest()[:16] == "a1a67810b5542ffd", "what passes is answered differently"
    for query, message in (("{nope}", "Query has no nope"), ("{makers {id}", "unexpected end"), ("query A {__typename} query B {__typename}", "which operation?")):
        assert service.ask(query) == (400, {"errors": [{"message": message}]})


def test_what_is_too_much_is_refused_with_the_reason(service, tmp_path):
    passes, refuses = service.passes, service.refuses
    service.is_alive()
    edge = "{products(first: 98) {reviews(first: 50) {id}} __typename %s}"
    passes(3, 5000, edge % "")
    refuses("TOO_MANY_FIELDS", edge % "t: __typename")
    refuses("TOO_MANY_FIELDS", '{named(id: 1) {id ... on Maker {products(first: 100) {reviews(first: 49) {id}}}}}')

    def parents(n):
        return "parent {" * n + "id" + "}" * n

    passes(12, 12, '{maker(id: "m1") {%s}}' % parents(10))
    refuses("TOO_DEEP", '{maker(id: "m1") {%s}}' % parents(11), path=["maker"] + ["parent"] * 11 + ["id"], found=13)
    deep = """{z: products(first: 0) {maker {%s}} named(id: "m1") {id ... on Maker {a: parent {id} ...Late b: parent {...Late}} ... on Product {n: maker {...Late}}}
              maker(id: "m1") {%s}} fragment Late on Maker {a: parent {name c: parent {%s}}}""" % (parents(20), parents(13), parents(8))
    refuses("TOO_DEEP", deep, path=["named", "n", "a", "c"] + ["parent"] * 8 + ["id"], found=15)
    refuses("TOO_DEEP", "query($on: Boolean = false) {%s products {reviews(first: 50) {product {related {reviews(first: 50) {id}}}}} maker(id: 2) {x: id @include(if: $on) ...F @include(if: $on) ... @skip(if: $on) {...F}}} fragment F on Maker {%s}"
                    % ("__typename", parents(14)), path=["maker"] + ["parent"] * 12, found=16)

    for size in ("-1", "101", "null", "1.5", '"3"', "true", "[1]", "{a: 1}", "ten", "99999999999999999999"):
        refuses("BAD_SIZE", "{makers {id} products(first: %s) {id}}" % size)
    for value in (-1, 101, None, 1.5, "3", True, [1], {}):
        refuses("BAD_SIZE", "query($n: Int = 3) {products(first: $n) {id}}", {"n": value})
    refuses("BAD_SIZE", '{product(id: "p1") {tags(first: 11)}}')
    refuses("BAD_SIZE", '{product(id: "p1") {related(limit: 21) {id}}}')
    refuses("BAD_SIZE", "{products(first: 0) {...F}} fragment F on Product {reviews(first: 51) {id}}")
    refuses("BAD_SIZE", "query($n: Int = null) {makers(first: $n) {%s}}" % parents(20))
    refuses("FRAGMENT_CYCLE", "{products(first: 0) {...F}} fragment F on Product {maker {...G}} fragment G on Maker {products(first: -1) {...F}}")
    refuses("FRAGMENT_CYCLE", "{...F} fragment F on Query {...F}")

    def lists(n):
        return "[" * n + "]" * n

    padded = "{makers {id}}#"
    passes(2, 11, padded + "x" * (65536 - len(padded)))
    refuses("TOO_LARGE", padded + "x" * (65537 - len(padded)), limit=65536, found=65537)
    refuses("TOO_LARGE", padded + "\u00e9" * 33000, limit=65536, found=66000 + len(padded))
    many = '{product(id: "p1") {%s}}'
    passes(2, 2, many % ("id " * 19990))
    refuses("TOO_LARGE", many % ("id " * 19991), limit=20000, found=20001)
    assert service.ask(many % ("id " * 19991) + "%")[0] == 400
    refuses("TOO_LARGE", "%" * 65537, limit=65536, found=65537)
    refuses("TOO_LARGE", "{" * 20001, limit=20000, found=20001)
    assert service.ask("{nope ...F products(first: -1) {id}} fragment F on Query {...F}")[0] == 400
    passes(2, 11, "query($x: Any = %s) {makers {id}}" % lists(39))
    refuses("TOO_NESTED", "query($x: Any = %s) {makers {id}}" % lists(40), found=41)
    refuses("TOO_NESTED", "{" * 41, found=41)
    passes(2, 11, '{makers {id}} #' + "{" * 60)
    passes(2, 2, '{maker(id: "%s") {id}}' % ("[" * 60))
    passes(2, 2, '{maker(id: """%s\\"{""") {id}}' % ('"(' * 60))
    nested = '{"query": "{makers {id}}", "variables": {"x": %s}}'
    refuses("TOO_NESTED", (nested % lists(40)).encode(), found=41)
    assert service.http("POST", "/graphql", nested % lists(39))[0] == 200
    service.is_alive()

    small = with_limits(tmp_path, CHANGED, depth=2, fields=6, nesting=5, tokens=60, bytes=300)
    try:
        small.passes(2, 6, "{makers(first: 5) {id}}")
        small.refuses("TOO_MANY_FIELDS", "{makers(first: 6) {id}}", limit=6)
        small.passes(2, 5, '{search(text: "a") {__typename}}')
        small.passes(2, 4, "{products {id}}")
        small.refuses("BAD_SIZE", '{search(text: "a", first: 5) {__typename}}')
        assert small.looked_at()[1], "the catalogue is not read where it lies"
        small.refuses("TOO_DEEP", "{makers {n: parent {id x: id}}}", path=["makers", "n", "id"], limit=2, found=3)
        small.refuses("TOO_NESTED", "{makers {a: parent {a: parent {a: parent {a: parent {id}}}}}}", limit=5, found=6)
        small.refuses("TOO_LARGE", "{makers {%s}}" % ("id " * 56), limit=60, found=61)
        small.refuses("TOO_LARGE", "{makers {id}}" + " " * 300, limit=300, found=313)
    finally:
        small.stop()


def chain(name, on, count, link, end="id"):
    """Fragments name0, name1, ..., each with `link`, in which % stands for the next."""
    made = [f"fragment {name}{i} on {on}{{{link.replace('%', f'...{name}{i + 1}')}}}" for i in range(count)]
    return "".join(made) + f"fragment {name}{count} on {on}{{{end}}}"


def test_those_who_mean_harm_get_a_quick_answer(service):
    passes, refuses = service.passes, service.refuses
    service.is_alive()
    step = "maker{products(first:1){%}}"
    wide = " ".join(f"a{i}:{step}" for i in range(24))
    both = f"a:{step}b:{step}"
    top = '{product(id:"p1"){...F0}}'

    def to(count, link, end="id"):
        return top + chain("F", "Product", count, link, end)

    refuses("TOO_DEEP", to(150, both), path=["product"] + ["a", "products"] * 6, found=302)
    refuses("TOO_DEEP", to(40, wide), path=["product"] + ["a0", "products"] * 6, found=82)
    refuses("TOO_MANY_FIELDS", to(5, wide))
    service.is_alive()
    last = wide + " z:maker{products(first:1){%}}"
    late = chain("F", "Product", 5, last)
    refuses("TOO_MANY_FIELDS", top + late)
    refuses("TOO_DEEP", '{product(id:"p1"){...F0 ...D0}}' + late + chain("D", "Product", 6, step), path=["product"] + ["maker", "products"] * 6, found=14)
    passes(1, 1, "{products(first:0){...F0}}" + chain("F", "Product", 40, wide))
    passes(3, 49, to(30, wide.replace("first:1", "first:0")))
    passes(2, 3, to(300, "%%...on Product{%}...{%%}", "id name"))
    passes(12, 12, to(5, step * 20))
    service.is_alive()

    lined = "{maker(id:1){...c0}}" + chain("c", "Maker", 1800, "%")
    passes(2, 2, lined)
    refuses("FRAGMENT_CYCLE", lined.replace("{id}", "{...c0}"))
    start = "{maker(id:1){...d0}}"
    down = chain("d", "Maker", 1450, "parent{%}")
    refuses("TOO_DEEP", start + down, path=["maker"] + ["parent"] * 12, found=1452)
    refuses("FRAGMENT_CYCLE", start + down.replace("{id}", "{parent{...d700}}"))
    passes(1, 1, "{makers(first:0){...d0}}" + down)
    web = "".join(f"fragment w{i} on Maker{{{' '.join(f'...w{j}' for j in range(i + 1, 70))} id}}" for i in range(70))
    passes(2, 2, "{maker(id:1){...w0}}" + web)
    ladder = "".join(f"fragment w{i} on Maker{{{' '.join(f'a{j}:parent{{...w{j}}}' for j in range(i + 1, 60))} id}}" for i in range(60))
    refuses("TOO_DEEP", "{maker(id:1){...w0}}" + ladder, path=["maker"] + [f"a{i}" for i in range(1, 13)], found=61)
    service.is_alive()

    # One key that stands for two things: it has no exact cost, but no way around the gate either.
    nested = "parent{" * 14 + "id" + "}" * 14
    for query in ('{maker(id:"m1"){x:id x:%s}}' % nested, '{maker(id:"m1"){products(first:1){id} products(first:0){maker{%s}}}}' % nested,
                  '{maker(id:"m1"){products(first:1){id} products(first:0){maker{...d0}}}}' + down,
                  '{product(id:"p1"){related(limit:1){id} related(limit:0){...F0}}}' + chain("F", "Product", 150, both)):
        status, body = service.ask(query)
        assert status in (400, 422) and set(body) == {"errors"} and len(body["errors"]) == 1, (query[:200], status, str(body)[:300])
    service.is_alive()

    aliases = '{product(id:"p1"){%s}}'
    passes(2, 5000, aliases % " ".join(f"a{i}:id" for i in range(4999)))
    refuses("TOO_MANY_FIELDS", aliases % " ".join(f"a{i}:id" for i in range(5000)))
    many = "{" + " ".join(f"a{i}:maker(id:1){{...c0}}" for i in range(900)) + "}"
    passes(2, 1800, many + chain("c", "Maker", 800, "%"))
    refuses("TOO_NESTED", "{a" * 9000, found=9000)
    refuses("TOO_NESTED", "{product(id:" + "[" * 18000, found=18002)
    refuses("TOO_NESTED", "query($x:" + "[" * 15000, found=15001)
    for opening, closing in (("[", "]"), ('{"a":', "}")):
        nested = opening * 6000 + "1" + closing * 6000
        refuses("TOO_NESTED", ('{"query": "{makers {id}}", "variables": {"x": %s}}' % nested).encode(), found=6001)
    service.is_alive()


def leaves(*names):
    return [(name, None, None) for name in names]


# The fields that are drawn: response key and call, the size of a list or None, the type of what is below.
FIELDS = {
    "Query": [("makers(first: 2)", 2, "Maker"), ("products(first: 3)", 3, "Product"), ("p: products(first: 1)", 1, "Product"), ("n: products(first: 0)", 0, "Product"),
              ('named(id: "p1")', 1, "Named"), ('search(text: "a", first: 2)', 2, "Found"), ("maker(id: 1)", 1, "Maker"), *leaves("__typename")],
    "Product": [*leaves("id", "name", "x: name"), ("maker", 1, "Maker"), ("reviews(first: 2)", 2, "Review"), ("reviews2: reviews", 5, "Review"),
                ("related(limit: 0)", 0, "Product"), ("r: related(limit: 1)", 1, "Product"), *leaves("tags")],
    "Maker": [*leaves("id", "name", "x: country"), ("parent", 1, "Maker"), ("x2: parent", 1, "Maker"), ("products(first: $two)", 2, "Product")],
    "Review": [*leaves("id", "stars"), ("product", 1, "Product"), ("p: product", 1, "Product")],
    "Named": [*leaves("id", "name")],
    "Found": [*leaves("__typename")],
}
POSSIBLE = {"Named": ["Product", "Maker"], "Found": ["Product", "Maker", "Review"]}
SWITCHES = [("@skip(if: true)", False), ("@include(if: $no)", False), ("@include(if: $yes)", True), ("@skip(if: $no)", True), ("@skip(if: $yes) @include(if: $yes)", False)]


def possible(name):
    return POSSIBLE.get(name, [name])


class Drawn:
    """A random request, and its cost counted by expanding everything."""

    def __init__(self, seed):
        self.pick = random.Random(seed)
        self.fragments = {}
        for i in reversed(range(self.pick.randrange(6))):
            on = self.pick.choice(["Product", "Product", "Maker", "Maker", "Review", "Named", "Query"])
            self.fragments[f"F{i}"] = (on, self.selections(on, 2))
        self.root = self.selections("Query", 3)
        self.text = "query($two: Int = 2, $yes: Boolean = true, $no: Boolean!) " + self.written(self.root)
        for name, (on, body) in self.fragments.items():
            self.text += f" fragment {name} on {on} {self.written(body)}"

    def selections(self, on, levels):
        made = []
        for _ in range(self.pick.randrange(1, 5)):
            switch = self.pick.choice(SWITCHES) if self.pick.randrange(5) == 0 else ("", True)
            kind = self.pick.randrange(6)
            fitting = [n for n, (t, _) in self.fragments.items() if set(possible(t)) & set(possible(on))]
            if kind < 2 and fitting:
                made.append(("spread", switch, self.pick.choice(fitting)))
            elif kind == 2 and levels:
                to = self.pick.choice([on, *(t for t in ("Product", "Maker", "Named") if set(possible(t)) & set(possible(on)))])
                made.append(("inline", switch, to, self.selections(to, levels - 1)))
            else:
                call, size, below = self.pick.choice([f for f in FIELDS[on] if levels or not f[2]] or [("__typename", None, None)])
                made.append(("field", switch, call, size, below, self.selections(below, levels - 1) if below else None))
        return made

    def written(self, body):
        parts = []
        for kind, (switch, _), *rest in body:
            if kind == "spread":
                parts.append(f"...{rest[0]} {switch}")
            elif kind == "inline":
                parts.append(f"... on {rest[0]} {switch} {self.written(rest[1])}")
            else:
                parts.append(f"{rest[0]} {switch} {self.written(rest[3]) if rest[3] else ''}")
        return "{" + " ".join(parts) + "}"

    def collect(self, on, bodies):
        found, spread = {}, set()

        def walk(body):
            for kind, (_, active), *rest in body:
                if not active:
                    continue
                if kind == "field":
                    found.setdefault(rest[0].split("(")[0].split(":")[0], []).append(rest)
                elif kind == "inline":
                    if on in possible(rest[0]):
                        walk(rest[1])
                elif rest[0] not in spread:
                    spread.add(rest[0])
                    to, inner = self.fragments[rest[0]]
                    if on in possible(to):
                        walk(inner)

        for body in bodies:
            walk(body)
        return found

    def cost(self, on, bodies):
        depth = fields = 0
        for nodes in self.collect(on, bodies).values():
            _, size, below, _ = nodes[0]
            costs = [self.cost(t, [n[3] for n in nodes]) for t in possible(below)] if size else [(0, 0)]
            depth = max(depth, 1 + max(d for d, _ in costs))
            fields += 1 + (size or 0) * max(f for _, f in costs)
        return depth, fields

    def first_deep(self, on, bodies, left):
        for key, nodes in self.collect(on, bodies).items():
            if left == 0:
                return [key]
            if nodes[0][1]:
                for t in possible(nodes[0][2]):
                    rest = self.first_deep(t, [n[3] for n in nodes], left - 1)
                    if rest:
                        return [key, *rest]
        return None


def test_drawn_requests_are_judged_like_a_slow_count(tmp_path):
    service = with_limits(tmp_path, depth=4, fields=40)
    try:
        seen = {"passed": 0, "TOO_DEEP": 0, "TOO_MANY_FIELDS": 0}
        for seed in range(400):
            drawn = Drawn(seed)
            depth, fields = drawn.cost("Query", [drawn.root])
            before = service.looked_at()[1]
            status, body = service.ask(drawn.text, {"no": False})
            assert status == 200 or service.looked_at()[1] == before, f"something is resolved: {drawn.text}"
            if depth > 4:
                path = drawn.first_deep("Query", [drawn.root], 4)
                service.is_refusal(status, body, "TOO_DEEP", path, {"limit": 4, "found": depth})
                seen["TOO_DEEP"] += 1
            elif fields > 40:
                service.is_refusal(status, body, "TOO_MANY_FIELDS", [], {"limit": 40})
                seen["TOO_MANY_FIELDS"] += 1
            else:
                assert status == 200, (drawn.text, body)
                service.note(body)
                assert body.get("extensions") == {"cost": {"depth": depth, "fields": fields}}, (drawn.text, body.get("extensions"), depth, fields)
                seen["passed"] += 1
        assert min(seen.values()) >= 20, seen
        assert service.answers.hexdigest()[:16] == "9b99ba075fecf82c", "what passes is answered differently"
    finally:
        service.stop()
