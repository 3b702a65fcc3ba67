#!/usr/bin/env python3
"""Serve a local OpenAI-compatible chat API, for tests and load runs.

  python benchmarks/mock_llm.py --port 8009 --latency 0.5 --error-rate 429:0.02,500:0.01
  python benchmarks/mock_llm.py --port 0 --tls            # https, by a certificate from openssl

  POST /v1/chat/completions (or /chat/completions)   GET /stats

It needs only the standard library, and listens on 127.0.0.1. The first line on stdout is the
address; with --tls, a second line names the certificate that clients must trust; the last line,
after SIGTERM or SIGINT, is the JSON of /stats. Answers depend only on the prompt; faults and jitter
depend on seed, prompt and attempt number, never on the order of arrival. The answer is a JSON of
metrics if the request has a `response_format` (a json_schema is filled in) or names all five
metrics; a call of one of the `tools`, preferably a shell, if it has any; else "THOUGHT: ..." and
one bash block. Bodies that differ only in `user` or `metadata` are one prompt.
/stats: `paid` counts every 200, including `abandoned` ones whose client had gone (a real provider
bills those); `duplicates_paid` and `duplicates_ok` count 200s for a prompt whose intact answer was
already made / delivered; `first_t` and `last_t` are the times of the first request and last answer.
"""
import argparse
import asyncio
import hashlib
import http.client
import json
import random
import resource
import signal
import ssl
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

METRICS = ("correctness", "grounding", "progress", "protocol", "efficiency")
COMMANDS = ("ls -la", "git status --short", "grep -rn 'def ' --include='*.py' . | head -20",
            "sed -n '1,40p' README.md", "python -m pytest -q 2>&1 | tail -5", "git diff | head -50",
            "find . -name '*.py' | wc -l", "echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT")
COUNTS = (
    "requests paid ok abandoned duplicates_paid duplicates_ok in_flight max_in_flight connections "
    "max_connections opened_connections")
FAULTS = {"hang": "never answer; hold the connection open",
          "drop": "close half-way through the body",
          "truncate": "content cut in half, finish_reason 'length'",
          "garbage": "nonsense content, valid envelope",
          "html": "status 200 with an HTML page instead of JSON"}


def fill(schema, draw, lo, hi, defs):
    """Return a value that satisfies the plain parts of a JSON schema."""
    schema = defs[schema["$ref"].rsplit("/", 1)[-1]] if "$ref" in schema else schema
    lo, hi = schema.get("minimum", lo), schema.get("maximum", hi)
    usual = "object" if "properties" in schema else "string"
    kind = "enum" if "enum" in schema else schema.get("type", usual)
    values = {"object": lambda: {k: fill(v, draw, lo, hi, defs)
                                 for k, v in schema.get("properties", {}).items()},
              "array": lambda: [fill(schema.get("items", {}), draw, lo, hi, defs)],
              "integer": lambda: draw.randint(int(lo), int(hi)),
              "number": lambda: round(draw.uniform(lo, hi), 2),
              "boolean": lambda: draw.random() < .5, "enum": lambda: draw.choice(schema["enum"])}
    return values.get(kind, lambda: f"mock {draw.getrandbits(32):08x}")()


def answer(req, text, key, opt):
    draw, wanted = random.Random(key), req.get("response_format") or {}
    if wanted.get("type", "text") == "text" and not all(m in text for m in METRICS):
        return (f"THOUGHT: mock step {key[:8]}; look before changing.\n\n```bash\n"
                f"{draw.choice(COMMANDS)}\n```")
    lo, hi = (float(x) if "." in x else int(x) for x in opt.metric_range.split(":"))
    kind = "number" if isinstance(hi, float) else "integer"
    plain = {"properties": {metric: {"type": kind} for metric in METRICS}}
    schema = wanted.get("json_schema", {}).get("schema") or plain
    return json.dumps(fill(schema, draw, lo, hi, schema.get("$defs", {})))


def tool_call(tools, key):
    """Return a call of the first tool that runs a command, else of the first tool."""
    draw, functions = random.Random(key), [tool.get("function") or tool for tool in tools]
    schemas = [function.get("parameters") or {} for function in functions]
    shells = [i for i, schema in enumerate(schemas)
              if schema.get("required") in (["command"], ["cmd"])]
    i = shells[0] if shells else 0
    arguments = {name: fill(schema, draw, 0, 9, {}) for name, schema
                 in schemas[i].get("properties", {}).items() if name in schemas[i]["required"]}
    for name in {"command", "cmd"} & arguments.keys():
        command = draw.choice(COMMANDS)
        is_list = schemas[i]["properties"][name].get("type") == "array"
        arguments[name] = ["bash", "-lc", command] if is_list else command
    return {"id": f"call_{key[:8]}", "type": "function",
            "function": {"name": functions[i]["name"], "arguments": json.dumps(arguments)}}


class Api:
    def __init__(self, opt):
        self.opt, self.start, self.log = opt, time.time(), open(opt.log, "a",
                                                                1) if opt.log else None
        self.first_t = self.last_t = None
        self.n, self.by_status, self.faults = Counter(dict.fromkeys(COUNTS.split(),
                                                                    0)), Counter(), Counter()
        self.attempts, self.made, self.delivered = {}, set(), set()
        rates = {f: getattr(opt, f + "_rate") for f in FAULTS}
        rates.update((code, float(p))
                     for code, p in (x.split(":") for x in opt.error_rate.split(",") if x))
        self.fates, self.weights = [*rates, ""], [*rates.values(), 1 - sum(rates.values())]

    def gauge(self, name, step):
        self.n[name] += step
        self.n["max_" + name] = max(self.n["max_" + name], self.n[name])

    def stats(self):
        return {**self.n, "by_status": dict(self.by_status), "faults": dict(self.faults),
                "unique_prompts": len(self.attempts), "unique_ok": len(self.delivered),
                "first_t": self.first_t, "last_t": self.last_t,
                "uptime_s": round(time.time() - self.start, 3),
                "cpu_s": round(time.process_time(), 3)}

    def chat(self, conn, body):
        opt, t0 = self.opt, time.time()
        self.n["requests"] += 1
        try:
            req = json.loads(body)
            parts = [m.get("content") or "" for m in req["messages"]]
            if not parts or req.get("stream"):
                raise ValueError("empty messages, or stream, which is not mocked")
        except (ValueError, KeyError, TypeError, AttributeError) as e:
            self.by_status[400] += 1
            return conn.send(400, {"error": {"type": "invalid_request_error", "message": repr(e)}})
        self.first_t = self.first_t or t0
        text = "\n".join(p if isinstance(p, str) else json.dumps(p) for p in parts)
        same = {k: v for k, v in req.items() if k not in ("user", "metadata")}
        key = hashlib.sha256(json.dumps(same, sort_keys=True).encode()).hexdigest()[:32]
        attempt = self.attempts[key] = self.attempts.get(key, 0) + 1
        draw = random.Random(f"{opt.seed}|{key}|{attempt}")
        delay = opt.latency + draw.uniform(-opt.jitter, opt.jitter)
        fate = draw.choices(self.fates, self.weights)[0]
        self.gauge("in_flight", 1)
        if opt.max_in_flight and self.n["in_flight"] > opt.max_in_flight:
            fate = "429"
        self.faults.update({fate} & FAULTS.keys())
        call = (conn, req, text, key, attempt, fate, t0)
        if fate == "hang":
            conn.hanging += 1
        elif delay > 0 and fate != "429":  # a rate limiter answers at once
            asyncio.get_running_loop().call_later(delay, self.finish, *call)
        else:
            self.finish(*call)

    def finish(self, conn, req, text, key, attempt, fate, t0):
        self.gauge("in_flight", -1)
        status, extra = int(fate) if fate.isdigit() else 200, ""
        out = {"error": {"type": "mock", "code": status,
                         "message": http.client.responses.get(status)}}
        if status in (429, 503):
            extra = (f"Retry-After: {self.opt.retry_after:g}\r\n"
                     f"retry-after-ms: {self.opt.retry_after * 1000:g}\r\n")
        if status == 200:
            content = answer(req, text, key, self.opt)
            content = {"truncate": content[:len(content) // 2],
                       "garbage": "%% nonsense {" + key}.get(fate, content)
            a, b = len(text) // 4 + 1, len(content) // 4 + 1
            usage = {"prompt_tokens": a, "completion_tokens": b, "total_tokens": a + b}
            message = {"role": "assistant", "content": content}
            if req.get("tools") and not fate:
                message = {"role": "assistant", "content": f"Mock step {key[:8]}: I look first.",
                           "tool_calls": [tool_call(req["tools"], key)]}
            choice = {"index": 0, "message": message,
                      "finish_reason": "length" if fate == "truncate" else "stop"}
            out = {"id": f"chatcmpl-{key[:16]}-{attempt}", "object": "chat.completion",
                   "created": int(t0),
                   "model": req.get("model", "mock"), "choices": [choice], "usage": usage}
        alive = conn.send(status, "<html>mock</html>" if fate == "html" else out, extra,
                          fate == "drop")
        self.by_status[status] += 1
        self.last_t = time.time()
        if status == 200:
            self.n.update({"paid": 1, "ok": alive, "abandoned": not alive,
                           "duplicates_paid": key in self.made,
                           "duplicates_ok": alive and key in self.delivered, **usage})
            for intact in () if fate else (self.made, self.delivered)[:1 + alive]:
                intact.add(key)
        if self.log:
            line = {"t": t0, "s": time.time() - t0, "prompt": key, "attempt": attempt,
                    "status": status}
            self.log.write(json.dumps({**line, "fault": fate, "delivered": alive}) + "\n")


class Conn(asyncio.Protocol):
    """Serve one keep-alive HTTP/1.1 connection, one request at a time."""

    def __init__(self, api):
        self.api, self.buf, self.hanging = api, bytearray(), 0
        api.n["opened_connections"] += 1

    def connection_made(self, transport):
        self.tr = transport
        self.api.gauge("connections", 1)

    def connection_lost(self, exc):
        self.api.gauge("connections", -1)
        self.api.gauge("in_flight", -self.hanging)

    def data_received(self, data):
        self.buf += data
        if (end := self.buf.find(b"\r\n\r\n")) < 0:
            return
        first, *lines = self.buf[:end].decode("latin-1").split("\r\n")
        heads = {k.lower(): v.strip() for k, _, v in (x.partition(":") for x in lines)}
        need = end + 4 + int(heads.get("content-length", 0))
        if len(self.buf) < need:
            return
        body, self.buf = bytes(self.buf[end + 4:need]), self.buf[need:]
        route = first.rsplit(" ", 1)[0].split("?")[0].replace(" /v1/", " /")
        if route == "POST /chat/completions":
            self.api.chat(self, body)
        else:
            is_stats = route == "GET /stats"
            self.send(200 if is_stats else 404,
                      self.api.stats() if is_stats else {"error": {"message": route}})

    def send(self, status, out, extra="", drop=False):
        """Send an answer; return False if the client has gone."""
        if self.tr.is_closing():
            return False
        # ASCII
        kind, body = ("text/html", out) if isinstance(out, str) else ("application/json",
                                                                      json.dumps(out))
        head = (f"HTTP/1.1 {status} {http.client.responses.get(status)}\r\nContent-Type: {kind}\r\n"
                f"Content-Length: {len(body)}\r\n{extra}\r\n")
        self.tr.write((head + (body[:len(body) // 2] if drop else body)).encode())
        if drop:
            self.tr.close()
        return True


def make_certificate(folder):
    """Return (cert.pem, key.pem) for 127.0.0.1, self-signed, with the extensions that strict
    clients require.
    """
    cert, key = str(Path(folder) / "cert.pem"), str(Path(folder) / "key.pem")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
               "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key, "-out", cert, "-days", "7",
               "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
               "-addext", "keyUsage=critical,digitalSignature,keyCertSign"]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as e:
        sys.exit(f"mock_llm.py: no certificate: {getattr(e, 'stderr', '') or e}\n"
                 "  Install openssl, or give --tls CERT KEY")
    return cert, key


async def main(opt):
    loop, stop, api, context = asyncio.get_running_loop(), asyncio.Event(), Api(opt), None
    for sig in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(sig, stop.set)
    with ExitStack() as stack:
        if opt.tls is not None:
            cert, key = opt.tls or make_certificate(
                stack.enter_context(tempfile.TemporaryDirectory()))
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(cert, key)
        server = await loop.create_server(lambda: Conn(api), "127.0.0.1", opt.port, backlog=4096,
                                          ssl=context)
        scheme, port = "https" if context else "http", server.sockets[0].getsockname()[1]
        print(f"mock-llm: {scheme}://127.0.0.1:{port}/v1", flush=True)
        if context:
            print(f"mock-llm: certificate {cert}", flush=True)
        await stop.wait()
    print(json.dumps(api.stats()), flush=True)


def parser():
    p = argparse.ArgumentParser(description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    for flag, default, metavar, what in (
            ("port", 8009, "P", "0 picks a free one and prints it"),
            ("latency", .5, "S", "seconds per answer"),
            ("jitter", 0., "S", "latency varies by up to S seconds, uniformly"),
            ("seed", 0, "N", "of faults and jitter"),
            ("error-rate", "", "CODE:P,...", "such as 429:0.02,500:0.01"),
            ("log", "", "FILE", "JSON line per call"),
            ("retry-after", 1., "S", "header of a 429 or 503"),
            ("max-in-flight", 0, "N", "429 above; 0 for no limit"),
            ("metric-range", "0:2", "LO:HI", "metrics are integers if HI is one")):
        p.add_argument(f"--{flag}", type=type(default), default=default, metavar=metavar,
                       help=f"{what} ({default!r})")
    for name, what in FAULTS.items():
        p.add_argument(f"--{name}-rate", type=float, default=0, metavar="P", help=what)
    p.add_argument("--tls", nargs="*", metavar="FILE",
                   help="https: CERT KEY (PEM files), or none to make them")
    return p


if __name__ == "__main__":
    options = parser().parse_args()
    if options.tls is not None and len(options.tls) not in (0, 2):
        parser().error("--tls takes CERT and KEY, or nothing")
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    asyncio.run(main(options))
