import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

from . import fields, lists, settings, store, tickets
from .errors import Invalid, Missing, Refused

db = store.connect()


def one(query, name, default=None):
    return query[name][-1] if name in query else default


def listing(queue, query):
    states = tuple(dict.fromkeys(one(query, "state", ",".join(settings.LISTED)).split(",")))
    if any(s not in settings.STATES for s in states):
        raise Invalid("state is unknown")
    assignee = lists.ANYBODY
    if "assignee" in query:
        if "unassigned" in query:
            raise Invalid("assignee or unassigned, not both")
        assignee = fields.text(one(query, "assignee"), "assignee")
    elif one(query, "unassigned") == "1":
        assignee = None
    elif "unassigned" in query:
        raise Invalid("unassigned has to be 1")
    try:
        limit = int(one(query, "limit", settings.PAGE))
    except ValueError:
        raise Invalid("limit has to be a number")
    fields.integer(limit, "limit", 1, settings.MAX_PAGE)
    after = one(query, "after")
    return lists.page(db, queue, states, assignee, limit, lists.from_cursor(after) if after is not None else None)


def route(method, path, query, body):
    parts = [fields.text(unquote(p, errors="strict"), "path") for p in path.strip("/").split("/")]
    if (method, parts) == ("GET", ["health"]):
        return 200, {"ok": True}
    if len(parts) == 2 and parts[0] == "tickets":
        ident = parts[1]
        if method == "GET":
            return 200, tickets.get(db, ident)
        if method == "PUT":
            return 201, tickets.create(db, ident, body)
        if method == "PATCH":
            return 200, tickets.change(db, ident, body)
        if method == "DELETE":
            tickets.delete(db, ident)
            return 200, {"deleted": ident}
    if len(parts) == 3 and parts[0] == "queues":
        queue, what = parts[1:]
        if (method, what) == ("GET", "tickets"):
            return 200, listing(queue, query)
        if (method, what) == ("GET", "counts"):
            return 200, lists.counts(db, queue)
        if (method, what) == ("POST", "claim"):
            agent = body.get("agent") if isinstance(body, dict) else None
            return 200, lists.claim(db, queue, fields.text(agent, "agent"))
    raise Missing("no such page")


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def answer(self):
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            url = urlsplit(self.path)
            body = json.loads(raw) if raw else None
            query = parse_qs(url.query, keep_blank_values=True, errors="strict")
            status, result = route(self.command, url.path, query, body)
        except Refused as problem:
            status, result = problem.status, {"error": str(problem)}
        except ValueError:
            status, result = 400, {"error": "the request is not valid"}
        except Exception as problem:
            self.log_error("%r", problem)
            status, result = 500, {"error": "internal error"}
        data = json.dumps(result).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_PUT = do_PATCH = do_DELETE = do_POST = answer

    def log_request(self, code="-", size="-"):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64


if __name__ == "__main__":
    Server(("127.0.0.1", settings.PORT), Handler).serve_forever()
