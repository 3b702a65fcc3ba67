"""Version 2 of the catalogue, asked over HTTP, and what version 1 says in between."""
import http.client
import json
import os
import signal
import socket
import subprocess
import urllib.parse

import pytest

REPO = "/app"
MERGE = "application/merge-patch+json"


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def tag(self):
        return self.headers.get("etag")


def too_slow(*_):
    raise AssertionError("the service takes too long")


class Catalogue:
    def __init__(self, folder, articles):
        path = os.path.join(str(folder), "seed.json")
        with open(path, "w") as f:
            json.dump(articles, f)
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        self.process = subprocess.Popen(
            ["sh", os.path.join(REPO, "bin", "serve")], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd="/",
            start_new_session=True, env=dict(os.environ, PORT=str(self.port), CATALOGUE_DATA=path))
        signal.signal(signal.SIGALRM, too_slow)
        signal.alarm(150)
        line = self.process.stdout.readline()
        assert line.strip() == b"ready", line

    def ask(self, method, path, body=None, **headers):
        "A body that is no text is sent as JSON, as a merge patch if it is a PATCH"
        headers = {name.replace("_", "-"): value for name, value in headers.items() if value is not None}
        if body is not None:
            if not isinstance(body, str):
                body = json.dumps(body)
            headers.setdefault("Content-Type", MERGE if method == "PATCH" else "application/json")
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, None if body is None else body.encode(), headers)
            answer = connection.getresponse()
            return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def get(self, path, **headers):
        return self.ask("GET", path, **headers)

    def patch(self, number, body, match="*", **headers):
        return self.ask("PATCH", "/v2/articles/a-%d" % number, body, If_Match=match, **headers)

    def end(self):
        signal.alarm(0)
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        self.process.stdout.close()


@pytest.fixture
def serve(tmp_path):
    made = []

    def start(articles):
        made.append(Catalogue(tmp_path, articles))
        return made[-1]

    yield start
    for catalogue in made:
        catalogue.end()


def article(number, name="Thing", price=100, currency="EUR", tags="", stock=0):
    return {"id": number, "name": name, "price": price, "currency": currency, "tags": tags, "stock": stock}


SEED = [
    article(3, "Fork", 5, "EUR", " iron,, hand tools ,iron,", 2),
    {"stock": 7, "tags": "x", "currency": "KWD", "price": 1, "name": "Sieve", "id": 4},
    article(9, "Spade", 9007199254740991, "USD", "", 3000000),
    article(12, "Kettle", 0, "JPY", "tea", 1),
]


def shown(number, name, amount, currency, tags=(), stock=0, note=None, size=None):
    return {"id": "a-%d" % number, "name": name, "price": {"amount": amount, "currency": currency},
            "tags": list(tags), "stock": stock, "note": note, "size": size}


def compact(value):
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def test_articles_and_their_errors(serve):
    c = serve(SEED)
    for wanted in (
        shown(3, "Fork", "0.05", "EUR", ["iron", "hand tools"], 2),
        shown(4, "Sieve", "0.001", "KWD", ["x"], 7),
        shown(9, "Spade", "90071992547409.91", "USD", [], 3000000),
        shown(12, "Kettle", "0", "JPY", ["tea"], 1),
    ):
        answer = c.get("/v2/articles/" + wanted["id"])
        assert (answer.status, answer.body) == (200, compact(wanted))
    for spelling in ("3", "a-03", "a-", "a-5", "A-3", "a-3x", "a-3.0", "a-1e1"):
        answer = c.get("/v2/articles/" + spelling)
        assert answer.status == 404, spelling
        assert answer.headers["content-type"].split(";")[0] == "application/problem+json"
        assert answer.json["status"] == 404 and isinstance(answer.json["title"], str)

    def post(body, **headers):
        return c.ask("POST", "/v2/articles", body, **headers)

    answer = post({"size": {"height": 1, "width": 100000}, "tags": ["b", "a"], "name": " Axe ",
                   "price": {"currency": "KWD", "amount": "999999999.999"}, "note": "", "stock": 1000000})
    wanted = shown(13, " Axe ", "999999999.999", "KWD", ["b", "a"], 1000000, "", {"width": 100000, "height": 1})
    assert (answer.status, answer.body) == (201, compact(wanted))
    assert answer.headers["location"] == "/v2/articles/a-13"
    assert answer.tag == c.get("/v2/articles/a-13").tag
    assert c.get("/v1/articles/13").body == compact(article(13, " Axe ", 999999999999, "KWD", "b,a", 1000000))
    answer = post('{"name": "Pot", "price": {"amount": "0", "currency": "JPY"}, "note": null}',
                  Content_Type="application/json; charset=utf-8")
    assert (answer.status, answer.body) == (201, compact(shown(14, "Pot", "0", "JPY")))

    def errors(answer):
        assert answer.status == 422, answer.body
        assert answer.headers["content-type"].split(";")[0] == "application/problem+json"
        assert answer.json["status"] == 422
        return [(e["pointer"], e["code"]) for e in answer.json["errors"]]

    price = {"amount": "1.00", "currency": "EUR"}
    for body, wanted in (
        ([], [("", "type")]),
        ("7", [("", "type")]),
        ("null", [("", "type")]),
        ({}, [("/name", "required"), ("/price", "required")]),
        ({"id": "a-15", "name": "N", "price": price}, [("/id", "readonly")]),
        ({"id": None, "name": 5, "price": []}, [("/id", "readonly"), ("/name", "type"), ("/price", "type")]),
        ({"zoo": 1, "size": 1, "note": 2, "stock": "3", "tags": "a", "price": None, "name": "\t", "a/b~c~d/e": 1, "Zoo": 0},
         [("/name", "format"), ("/price", "required"), ("/tags", "type"), ("/stock", "type"), ("/note", "type"),
          ("/size", "type"), ("/Zoo", "unknown"), ("/a~1b~0c~0d~1e", "unknown"), ("/zoo", "unknown")]),
        ({"name": "N", "price": {"vat": 1, "currency": "eur", "amount": "1"}, "tags": None, "stock": None},
         [("/price/currency", "format"), ("/price/vat", "unknown"), ("/tags", "required"), ("/stock", "required")]),
        ({"name": "N", "price": {"currency": "XXX", "amount": 1}},
         [("/price/amount", "type"), ("/price/currency", "format")]),
        ({"name": "N", "price": {"currency": 3}},
         [("/price/amount", "required"), ("/price/currency", "type")]),
        ({"name": "N", "price": {"amount": "1.00", "currency": "toString"}}, [("/price/currency", "format")]),
        ({"name": "N", "price": price, "tags": ["a", "a", "b,c", " d", "", 5, None, "a", "e ", " d"]},
         [("/tags/1", "duplicate"), ("/tags/2", "format"), ("/tags/3", "format"), ("/tags/4", "format"),
          ("/tags/5", "type"), ("/tags/6", "required"), ("/tags/7", "duplicate"), ("/tags/8", "format"),
          ("/tags/9", "format")]),
        ({"name": "N", "price": price, "stock": -1, "size": {"height": 0, "depth": 2}},
         [("/stock", "range"), ("/size/width", "required"), ("/size/height", "range"), ("/size/depth", "unknown")]),
        ({"name": "N", "price": price, "stock": 1.5, "size": {"height": 100001, "width": 1.2}, "note": []},
         [("/stock", "type"), ("/note", "type"), ("/size/width", "type"), ("/size/height", "range")]),
        ({"name": "N", "price": price, "stock": 1000001, "size": []}, [("/stock", "range"), ("/size", "type")]),
    ):
        assert errors(post(body)) == wanted, body
    for currency, amounts in {
        "EUR": ("1", "1.0", "1.000", "01.00", "-1.00", "+1.00", ".50", "1.", "1,00", "1e2", " 1.00", "1.00\n", ""),
        "JPY": ("1.0", "1.", "00", "", "1 "),
        "KWD": ("1.00", "1", "0001.000"),
    }.items():
        for amount in amounts:
            body = {"name": "N", "price": {"amount": amount, "currency": currency}}
            assert errors(post(body)) == [("/price/amount", "format")], amount
    for currency, amount in (("EUR", "10000000000.00"), ("JPY", "1000000000000"), ("KWD", "1" + "0" * 60 + ".000")):
        body = {"name": "N", "price": {"amount": amount, "currency": currency}}
        assert errors(post(body)) == [("/price/amount", "range")], amount
    for body, kind, status in (("{", None, 400), ("", None, 400), ("{}", "text/plain", 415), ("{", MERGE, 415),
                               ("{}", "application/json", 422)):
        answer = post(body, Content_Type=kind) if kind else post(body)
        assert answer.status == status, (body, kind)
        assert answer.json["status"] == status

    # merge patches
    def patched(body, wanted):
        answer = c.patch(14, body)
        assert (answer.status, answer.body) == (200, compact(wanted)), body
        again = c.get("/v2/articles/a-14")
        assert (again.body, again.tag) == (answer.body, answer.tag)

    patched({"nothing": None, "price": {"vat": None}, "size": {"width": 2, "height": 3, "depth": None}},
            shown(14, "Pot", "0", "JPY", size={"width": 2, "height": 3}))
    patched({"id": "a-14", "size": {"height": 4}, "tags": ["t", "u"], "stock": 5, "note": "n"},
            shown(14, "Pot", "0", "JPY", ["t", "u"], 5, "n", {"width": 2, "height": 4}))
    patched({"price": {"currency": "EUR", "amount": "0.10"}, "tags": ["u"]},
            shown(14, "Pot", "0.10", "EUR", ["u"], 5, "n", {"width": 2, "height": 4}))
    patched({"stock": None, "note": None, "tags": None, "size": None}, shown(14, "Pot", "0.10", "EUR"))
    patched({}, shown(14, "Pot", "0.10", "EUR"))
    for body, wanted in (
        ({"price": {"currency": "JPY"}}, [("/price/amount", "format")]),
        ({"price": {"currency": None}}, [("/price/currency", "required")]),
        ({"price": "0.10"}, [("/price", "type")]),
        ({"name": None, "price": None}, [("/name", "required"), ("/price", "required")]),
        ({"size": {"width": 1}}, [("/size/height", "required")]),
        ({"size": {}}, [("/size/width", "required"), ("/size/height", "required")]),
        ({"id": None}, [("/id", "readonly")]),
        ({"id": "a-3", "extra": {"a": None}, "tags": [None]},
         [("/id", "readonly"), ("/tags/0", "required"), ("/extra", "unknown")]),
        ("[]", [("", "type")]),
        ('"x"', [("", "type")]),
        ("null", [("", "type")]),
    ):
        assert errors(c.patch(14, body)) == wanted, body
    assert c.get("/v2/articles/a-14").body == compact(shown(14, "Pot", "0.10", "EUR"))
    # names that objects have from JavaScript are members like others
    for name in ("__proto__", "constructor", "toString"):
        assert errors(c.patch(14, '{"%s": {"a": 1}, "size": {"width": 1, "height": 1, "%s": 1}}' % (name, name))) == [
            ("/size/" + name, "unknown"), ("/" + name, "unknown")], name
    answer = post('{"name": "N", "price": {"amount": "1", "currency": "constructor"}, "__proto__": {"stock": 1}}')
    assert errors(answer) == [("/price/currency", "format"), ("/__proto__", "unknown")]
    # what came through version 1 is shown, however much it costs
    answer = c.ask("POST", "/v1/articles", {"name": "Safe", "price": 9007199254740991, "currency": "KWD"})
    number = answer.json["id"]
    assert c.get("/v2/articles/a-%d" % number).body == compact(shown(number, "Safe", "9007199254740.991", "KWD"))
    # and checked as well
    assert errors(c.patch(9, {"name": "S"})) == [("/price/amount", "range"), ("/stock", "range")]


def test_both_versions_and_preconditions(serve):
    c = serve(SEED)
    path = "/v2/articles/a-3"
    tags = [c.get(path).tag]
    assert tags[0].startswith('"') and tags[0].endswith('"') and len(tags[0]) > 2

    def now(**changes):
        answer = c.get("/v1/articles/3")
        wanted = dict(article(3, "Fork", 5, "EUR", " iron,, hand tools ,iron,", 2), **changes)
        assert answer.body == compact(wanted)
        return c.get(path).tag

    assert now() == tags[0]
    # nothing changes
    for body in ({}, {"tags": ["iron", "hand tools"]}, {"stock": 2, "note": None}, {"price": {"amount": "0.05"}}):
        answer = c.patch(3, body, tags[0])
        assert (answer.status, answer.tag) == (200, tags[0]), body
        assert now() == tags[0]
    # only what version 2 shows
    answer = c.patch(3, {"note": "rusty"}, tags[0])
    tags.append(answer.tag)
    assert answer.status == 200 and now() == tags[1] != tags[0]
    # the name changes, the tags of version 1 do not
    answer = c.patch(3, {"name": "Fork 2", "tags": ["iron", "hand tools"], "size": {"width": 1, "height": 2}}, tags[1])
    tags.append(answer.tag)
    assert now(name="Fork 2") == tags[2]
    # version 1 writes the same tags otherwise: nothing that version 2 shows
    body = article(3, "Fork 2", 5, "EUR", "iron,hand tools", 2)
    assert c.ask("PUT", "/v1/articles/3", body).body == compact(body)
    assert c.get(path).tag == tags[2]
    # and then a price; the rest stays
    body = dict(body, price=6, id=77)
    assert c.ask("PUT", "/v1/articles/3", body).body == compact(dict(body, id=3))
    answer = c.get(path)
    assert answer.body == compact(shown(3, "Fork 2", "0.06", "EUR", ["iron", "hand tools"], 2, "rusty",
                                        {"width": 1, "height": 2}))
    tags.append(answer.tag)
    # the same order of tags matters
    answer = c.patch(3, {"tags": ["hand tools", "iron"]}, tags[3])
    tags.append(answer.tag)
    assert c.get("/v1/articles/3").json["tags"] == "hand tools,iron"
    assert len(set(tags)) == 5
    # back: the representation has its tag again
    assert c.patch(3, {"tags": ["iron", "hand tools"], "price": {"amount": "0.05"}}).tag == tags[2]
    assert c.ask("PUT", "/v1/articles/3", article(3, "Fork", 5, "EUR", "iron,hand tools", 2)).status == 200
    assert c.patch(3, {"size": None}).tag == tags[1]
    assert c.patch(3, {"note": None}).tag == tags[0]

    good, other = tags[0], tags[1]
    for header, matches in (
        (good, True), ("*", True), ('%s, %s' % (other, good), True), ('"x",%s' % good, True),
        ('"a, b", %s' % good, True), ("W/%s" % good, False), ('W/%s, %s' % (good, other), False), (other, False),
        ('"*"', False), ('"%s"' % good.strip('"')[:-1], False), ('"x, y"', False), ('W/%s, %s' % (other, good), True),
    ):
        answer = c.patch(3, {}, header)
        assert answer.status == (200 if matches else 412), header
        if not matches:
            assert answer.json["status"] == 412
            assert c.ask("DELETE", path, If_Match=header).status == 412
    for header, status in (
        (good, 304), ("W/" + good, 304), ("*", 304), ('"x", W/%s' % good, 304), (other, 200), ('"x", "y"', 200),
    ):
        answer = c.get(path, If_None_Match=header)
        assert (answer.status, answer.tag) == (status, good), header
        assert (answer.body == b"") == (status == 304)
    # which error comes first
    for number, match, body, kind, status in (
        (5, None, "{", "text/plain", 404), (3, None, "{", "text/plain", 428), (3, other, "{", "text/plain", 412),
        (3, good, "{", "text/plain", 415), (3, good, "{}", "application/json", 415), (3, good, "{", MERGE, 400),
        (3, good, "", MERGE, 400), (3, good, '{"name": 1}', MERGE, 422), (3, good, "{}", MERGE + "; charset=utf-8", 200),
    ):
        answer = c.patch(number, body, match, Content_Type=kind)
        assert answer.status == status, (number, match, body, kind)
        if status != 200:
            assert answer.headers["content-type"].split(";")[0] == "application/problem+json"
            assert answer.json["status"] == status
    assert c.get(path).tag == good
    assert c.ask("DELETE", path).status == 428
    assert c.ask("DELETE", "/v2/articles/a-03", If_Match="*").status == 404
    # no two representations have the same tag, whatever it is that differs
    seen = {}
    for body in ({}, {"stock": 8}, {"stock": 0}, {"price": {"amount": "0.002"}}, {"price": {"amount": "0.00", "currency": "EUR"}},
                 {"price": {"currency": "USD"}}, {"name": "sieve"}, {"note": ""}, {"note": "null"}, {"size": {"width": 1, "height": 12}},
                 {"size": {"width": 11, "height": 2}}, {"size": {"width": 2, "height": 11}}, {"tags": ["x y"]}, {"tags": ["x", "y"]},
                 {"tags": []}):
        answer = c.patch(4, body)
        assert answer.status == 200 and answer.tag == c.get("/v2/articles/a-4").tag
        assert seen.setdefault(answer.tag, answer.body) == answer.body, (body, seen)
    assert len(seen) == 15
    # what version 1 removed is gone for version 2, and the other way round
    assert c.patch(3, {"note": "last"}, good).status == 200
    answer = c.ask("DELETE", path, If_Match="*")
    assert (answer.status, answer.body) == (204, b"")
    assert c.get("/v1/articles/3").status == 404 and c.get(path).status == 404
    assert c.ask("DELETE", "/v1/articles/4").status == 204
    assert c.ask("DELETE", "/v2/articles/a-4", If_Match="*").status == 404
    new = c.ask("POST", "/v1/articles", {"name": "New", "price": 1, "currency": "EUR", "note": "no", "size": 1})
    assert new.body == compact(article(13, "New", 1, "EUR"))
    assert c.get("/v2/articles/a-13").body == compact(shown(13, "New", "0.01", "EUR"))
    # the order of members in the data file is not ours to change
    left = c.get("/v1/articles").body
    assert left == b'{"total":3,"articles":[' + b",".join(map(compact, [
        SEED[2], SEED[3], article(13, "New", 1, "EUR")])) + b"]}"


def test_pages(serve):
    names = ["Zinc", "apple", "Apple", "apple", "Éclair", "a", "apple", "Zoo", "B-2", "B-10", "apple", "~"]
    articles = [article(n + 1, name, tags="odd" if n % 2 == 0 else "even, x") for n, name in enumerate(names)]
    c = serve(articles)

    def page(**parameters):
        answer = c.get("/v2/articles?" + urllib.parse.urlencode(parameters))
        assert answer.status == 200, (parameters, answer.body)
        assert list(answer.json) == ["articles", "next"]
        return [int(a["id"][2:]) for a in answer.json["articles"]], answer.json["next"]

    def walk(first, limit=None):
        found, cursor = first
        while cursor is not None:
            more, cursor = page(cursor=cursor, **({"limit": limit} if limit else {}))
            assert more
            found = found + more
        return found

    def order(numbers):
        return sorted(numbers, key=lambda n: (names[n - 1], n))

    everything = order(range(1, 13))
    assert page() == (everything, None)
    for limit in (1, 2, 3, 4, 5, 6, 11, 12, 13, 100):
        assert walk(page(limit=limit), limit) == everything
    assert c.get("/v2/articles?limit=1").json["articles"] == [shown(3, "Apple", "1.00", "EUR", ["odd"])]
    odd = order(range(1, 13, 2))
    assert page(tag="odd") == (odd, None)
    assert page(tag="x") == (order(range(2, 13, 2)), None)
    for tag in ("even, x", "od", "none", "Odd"):
        assert page(tag=tag) == ([], None)
    for limit in (1, 2, 3, 5, 6):
        assert walk(page(limit=limit, tag="odd"), limit) == odd
    # the limit is not the cursor's, the tag is
    first, cursor = page(limit=2, tag="odd")
    assert page(cursor=cursor) == (odd[2:], None)
    assert page(cursor=cursor, limit=1)[0] == odd[2:3]
    # a cursor can be used again, and its page's last article can go anywhere
    assert [names[n - 1] for n in everything[5:9]] == ["a", "apple", "apple", "apple"]
    last = everything[6]
    first, cursor = page(limit=7)
    assert first[-1] == last
    for change in ({"name": "AAA"}, {"name": "zzz"}, None):
        if change:
            assert c.patch(last, change).status == 200
        else:
            assert c.ask("DELETE", "/v1/articles/%d" % last).status == 204
        found = walk(page(cursor=cursor, limit=2), 2)
        assert [n for n in found if n != last] == everything[7:], change
        assert (last in found) == (change == {"name": "zzz"})
    # some come and go in front of the place and behind it
    first, cursor = page(limit=7)
    assert first == everything[:6] + everything[7:8]
    for name in ("A0", "apple", "apples"):
        assert c.ask("POST", "/v1/articles", {"name": name, "price": 1, "currency": "EUR"}).status == 201
    for number in (first[0], first[-1], everything[9]):
        assert c.ask("DELETE", "/v2/articles/a-%d" % number, If_Match="*").status == 204
    kept = [n for n in everything[8:] if n != everything[9]]
    wanted = [(names[n - 1], n) for n in kept] + [("apple", 14), ("apples", 15)]
    assert walk(page(cursor=cursor, limit=1), 1) == [n for _, n in sorted(wanted)]
    # nothing follows any more
    first, cursor = page(limit=8)
    rest, end = page(cursor=cursor)
    for number in rest:
        c.ask("DELETE", "/v2/articles/a-%d" % number, If_Match="*")
    assert end is None and page(cursor=cursor) == ([], None)
    # tags that change
    first, cursor = page(limit=1, tag="odd")
    left = [n for n in page(tag="odd")[0] if n not in first]
    assert c.patch(left[0], {"tags": ["was odd"]}).status == 200
    assert walk(page(cursor=cursor, limit=1), 1) == left[1:]
    # an article whose name needs care in a cursor
    assert c.patch(14, {"name": 'ü"\u20ac\\ %&=#', "tags": ["a&b=c#"]}).status == 200
    first, cursor = page(limit=1, tag="a&b=c#")
    assert (first, cursor) == ([14], None)
    assert walk(page(limit=1), 1) == page()[0]
    _, cursor = page(limit=1)
    for query in ("limit=0", "limit=101", "limit=-1", "limit=1.5", "limit=ten", "limit=", "limit=3&limit=3", "tag=a&tag=b",
                  "cursor=", "cursor=zzz", "cursor=" + cursor + "&tag=odd", "cursor=%s&cursor=%s" % (cursor, cursor),
                  "cursor=" + cursor + "&limit=0", "cursor=null", "cursor=%22%22"):
        answer = c.get("/v2/articles?" + query)
        assert answer.status == 400, query
        assert answer.headers["content-type"].split(";")[0] == "application/problem+json", query
        assert answer.json["status"] == 400
    # a page without a limit
    c = serve([article(n) for n in range(1, 24)])
    first, cursor = page()
    assert first == list(range(1, 21)) and cursor is not None
    assert page(cursor=cursor) == ([21, 22, 23], None)
    _, cursor = page(limit=1)
    assert page(cursor=cursor)[0] == list(range(2, 22))


def test_still_version_1(serve):
    c = serve(SEED)
    fork, sieve, spade, kettle = map(compact, SEED)

    def exchange(method, path, body, status, wanted):
        answer = c.ask(method, path, body)
        assert (answer.status, answer.body) == (status, wanted), (method, path, body)
        if wanted:
            assert answer.headers["content-type"] == "application/json; charset=utf-8"

    exchange("GET", "/v1/articles", None, 200,
             b'{"total":4,"articles":[' + b",".join([fork, sieve, spade, kettle]) + b"]}")
    exchange("GET", "/v1/articles?offset=1&limit=2", None, 200,
             b'{"total":4,"articles":[' + b",".join([sieve, spade]) + b"]}")
    exchange("GET", "/v1/articles?offset=x&limit=0", None, 200, b'{"total":4,"articles":[]}')
    exchange("GET", "/v1/articles/04", None, 200, sieve)
    exchange("GET", "/v1/articles/5", None, 404, b'{"error":"no such article"}')
    exchange("GET", "/v1/nothing", None, 404, b'{"error":"no such path"}')
    exchange("POST", "/v1/articles", {"name": "A", "price": 3, "currency": "USD", "more": 1}, 201,
             compact(article(13, "A", 3, "USD")))
    exchange("POST", "/v1/articles", {"name": " ", "price": -1}, 400, b'{"error":"name is missing"}')
    exchange("POST", "/v1/articles", {"name": "B", "price": 1.5}, 400, b'{"error":"price is not a number of cents"}')
    exchange("PUT", "/v1/articles/4", {"name": "C", "price": 1, "currency": "XXX"}, 400,
             b'{"error":"currency is not known"}')
    exchange("PUT", "/v1/articles/4", {"name": "C", "price": 1, "currency": "EUR", "tags": ", ,", "stock": 9000000},
             200, compact(article(4, "C", 1, "EUR", ", ,", 9000000)))
    exchange("DELETE", "/v1/articles/9", None, 204, b"")
    exchange("DELETE", "/v1/articles/9", None, 404, b'{"error":"no such article"}')
    # what is no JSON object, and what is not said to be one
    exchange("POST", "/v1/articles", "{", 400, b'{"error":"Unexpected end of JSON input"}')
    exchange("PUT", "/v1/articles/3", '"x"', 400, b'{"error":"Unexpected token \\" in JSON at position 0"}')
    for kind in (MERGE, "text/plain", "application/problem+json"):
        answer = c.ask("PUT", "/v1/articles/3", json.dumps(article(3)), Content_Type=kind)
        assert (answer.status, answer.body) == (400, b'{"error":"name is missing"}'), kind
    exchange("GET", "/v1/articles/%zz", None, 400, b'{"error":"Failed to decode param \'%zz\'"}')
    exchange("GET", "/v3/articles", None, 404, b'{"error":"no such path"}')
    answer = c.get("/v1/articles/3")
    assert answer.tag.startswith("W/")
    assert c.get("/v1/articles/3", If_None_Match=answer.tag).status == 304
