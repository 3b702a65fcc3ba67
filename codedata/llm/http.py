"""Send HTTP requests over one pooled `requests` session: retries, timeouts, HTTP 429, and giving up.

A `Line` holds the state of one endpoint: how many calls may be in flight (additive increase, multiplicative
decrease on 429), whether it ever answered, and since when it has answered only 429. Retries are implemented here,
because urllib3's raise on a fractional Retry-After. `trust_env` is off: looking up proxies and netrc on each call
costs more than the call. A body is read up to the call's limit, counted after decompression.
"""
from __future__ import annotations

import http.client
import json
import logging
import random
import socket
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.util.ssl_ import create_urllib3_context

from codedata.errors import EndpointDown, HttpTrouble, Interrupted, RunStopped, Trouble, start_thread
from codedata.texts import printable

log = logging.getLogger(__name__)
CONNECT_TIMEOUT_S = 10.0
FATAL = {401: "refused the key", 402: "wants payment", 403: "refused access"}
BAD_REQUEST = (requests.exceptions.InvalidURL, requests.exceptions.MissingSchema, requests.exceptions.InvalidSchema,
               requests.exceptions.InvalidHeader, requests.exceptions.InvalidProxyURL, UnicodeError)
NO_CONNECTION = (urllib3.exceptions.NewConnectionError, urllib3.exceptions.ConnectTimeoutError,
                 urllib3.exceptions.SSLError, urllib3.exceptions.ProxyError)   # no server, or none we may talk to
DEAD = {"certificate": "Give its authority's certificate: [llm] ca_bundle.",
        "Too many open files": "Raise the limit (ulimit -n) or lower --workers.",
        "": "Start the endpoint or check its base URL."}
MANY_CUTS = 20   # connections lost in a row without an answer: the endpoint, not the request, is to blame
PIECE = 1 << 20                   # bytes of a body read at a time
ERROR_BYTES = 64_000              # bytes read of an error response: its start is enough
MAX_DATA_BYTES = 500_000_000      # limit for a page of rows, or a whole file where a server ignores Range
MAX_INT_DIGITS = 400              # digits read of an integer in JSON


@dataclass(frozen=True)
class Retry:
    """Set when to retry and how much to read; the fields are those of [llm]."""

    retry_max: int = 3
    retry_wait_s: float = 1.5
    call_timeout_s: float = 300.0
    max_429_wait_s: float = 60.0
    max_429_total_s: float = 1800.0
    max_reply_bytes: int = 20_000_000


@dataclass
class Tries:
    """Count the attempts, timeouts, HTTP 429s and seconds of one request."""

    n: int = 0
    timeouts: int = 0
    throttled: int = 0
    seconds: float = 0.0   # taken by the successful attempt


class Line:
    """Hold one endpoint's state, shared by all threads that call it."""

    def __init__(self, name: str, limit: int):
        self.name, self.limit = name, max(1, limit)
        self.capacity = float(self.limit)
        self.in_flight = self.n_answers = 0
        self.n_cuts = 0                 # connection failures since the last answer of any kind
        self._cut_at = 0.0              # a 429 to a call started before the last reduction changes nothing
        self._throttled_since: float | None = None
        self._free = threading.Condition()

    def enter(self, stop: threading.Event) -> float:
        """Wait for a free place and return time.monotonic(); raise Interrupted when the run ends first."""
        with self._free:
            while self.in_flight >= int(self.capacity) and not stop.is_set():
                self._free.wait(0.2)
            if stop.is_set():
                raise Interrupted()
            self.in_flight += 1
        return time.monotonic()

    def leave(self) -> None:
        """Free the place of a call that has ended."""
        with self._free:
            self.in_flight -= 1
            self._free.notify()

    def answered(self) -> None:
        """Note a good answer: it ends a series of 429s and may raise the capacity."""
        with self._free:
            self.n_answers += 1
            self._throttled_since = None
            if self.capacity < self.limit:   # about one more place each time all places have answered
                self.capacity = min(self.limit, self.capacity + 1 / self.capacity)
                self._free.notify()

    def throttled(self, started: float, now: float) -> float:
        """Note a 429 and lower the capacity; return for how many seconds there has been nothing but 429."""
        with self._free:
            if started >= self._cut_at:
                self.capacity = max(1.0, min(self.capacity, self.in_flight + 1) * 0.7)
                self._cut_at = now
            if self._throttled_since is None:
                self._throttled_since = now
            return now - self._throttled_since


class Http:
    """Share one session among threads. `stop` ends waits and refuses requests; messages mask `secrets`."""

    def __init__(self, retry: Retry = Retry(), proxy: str = "", ca_bundle: str = "", pool: int = 32,
                 stop: threading.Event | None = None):
        self.retry, self.stop = retry, stop or threading.Event()
        self.secrets: set[str] = set()
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.proxies = {"http": proxy, "https": proxy} if proxy else {}
        if password := urlsplit(proxy).password:
            self.secrets.add(password)
        self._deadlines = _Deadlines()
        adapter = _Adapter(ca_bundle, pool, self._deadlines)
        self.session.mount("https://", adapter)
        self.session.mount("http://", adapter)
        self._lines: dict[str, Line] = {}
        self._templates: dict[tuple, requests.PreparedRequest] = {}
        self._lock = threading.Lock()

    def line(self, name: str, limit: int) -> Line:
        """Return the line of that name, created on first use."""
        with self._lock:
            return self._lines.setdefault(name, Line(name, limit))

    def send(self, method: str, url: str, line: Line, decode, *, tries: Tries | None = None, gate=None,
             max_bytes: int = 0, **kwargs):
        """Return decode(status, headers, body) of the first good answer; retry when it raises ValueError.

        `gate()` is called right before each attempt and may raise (budget). Raise HttpTrouble after the last retry
        (at once where a good answer is larger than `max_bytes`; 0: max_reply_bytes), RunStopped when the endpoint
        as a whole is unusable, Interrupted when the run ends.
        """
        max_bytes = max_bytes or self.retry.max_reply_bytes
        tries = tries if tries is not None else Tries()
        failures, answers_before = 0, line.n_answers
        while True:
            started, status, wait, nobody_there = line.enter(self.stop), None, None, False
            try:
                if gate:
                    gate()
                tries.n += 1
                status, headers, body = self._once(method, url, max_bytes, kwargs)
                line.n_cuts = 0
                if 200 <= status < 300:
                    try:
                        value = decode(status, headers, body)
                    except (ValueError, RecursionError) as e:
                        problem = f"unreadable answer: HTTP {status} {e}: {self._excerpt(body)!r}"
                    else:
                        line.answered()
                        tries.seconds = time.monotonic() - started
                        return value
                else:
                    problem, wait = f"HTTP {status}: {self._excerpt(body)}".rstrip(": "), retry_after_s(headers)
            except BAD_REQUEST as e:
                raise RunStopped(f"cannot be asked: {self._masked(str(e))}", url, "Check the base URL and the key.",
                                 exit_code=2) from None
            except (requests.Timeout, TimeoutError) as e:
                nobody_there = isinstance(e, requests.ConnectTimeout)
                problem = f"timeout {self.retry.call_timeout_s:g} s" if not nobody_there else "no connection in time"
                tries.timeouts += not nobody_there
                status = None if nobody_there else 0
            except requests.RequestException as e:
                line.n_cuts += 1
                nobody_there, problem = _connection_problem(e)
                problem = self._masked(problem)
            finally:
                line.leave()
            log.info("%s: %s", url, problem)
            now = time.monotonic()
            if status == 429:
                tries.throttled += 1
                self._wait_429(line, url, line.throttled(started, now), wait, tries.throttled)
                continue
            if status in FATAL:
                raise RunStopped(f"{FATAL[status]} ({problem}).", url, "Check the key and the account; --show-config "
                                 "tells which are used.", exit_code=1 if line.n_answers else 2)
            if status and 300 <= status < 400:
                place = printable(headers.get("Location", "no Location"), 300)
                raise RunStopped(f"sends elsewhere (HTTP {status}, {place}).", url,
                                 "Use that address as the base URL.", exit_code=1 if line.n_answers else 2)
            if status and ((400 <= status < 500 and status not in (408, 425)) or status == 501):
                raise HttpTrouble(problem, url, status=status)
            failures += 1
            if failures > self.retry.retry_max:
                is_dead = status is None and (nobody_there or line.n_cuts >= MANY_CUTS)
                if is_dead and line.n_answers == answers_before:
                    todo = next((todo for word, todo in DEAD.items() if word in problem), DEAD[""])
                    raise EndpointDown(f"does not answer: {problem} ({_tries(failures)}).", url, todo,
                                       exit_code=1 if line.n_answers else 2)
                raise HttpTrouble(f"{problem} ({_tries(failures)})", url, status=status or None)
            back_off = self.retry.retry_wait_s * 2 ** (failures - 1) * random.uniform(0.8, 1.2)
            self.wait(max(back_off, min(wait or 0.0, self.retry.max_429_wait_s)))

    def _once(self, method, url, max_bytes, kwargs):
        """Return status, headers and body of one attempt; raise TimeoutError after call_timeout_s."""
        limit = self.retry.call_timeout_s
        with self._deadlines.of(limit, max_bytes) as call:
            try:
                timeout = min(CONNECT_TIMEOUT_S, limit), limit
                if method == "POST":
                    response = self._post(url, timeout=timeout, **kwargs)
                else:
                    response = self.session.request(method, url, timeout=timeout, **kwargs)
                if call.expired:   # the body may be incomplete
                    raise TimeoutError
                return response.status_code, response.headers, response.content
            except requests.RequestException as e:
                if call.expired or "Read timed out" in str(e):   # requests reports it as a lost connection
                    raise TimeoutError from e
                raise

    def _post(self, url: str, data: bytes, timeout, headers: dict | None = None, proxies: dict | None = None):
        """Send a POST prepared once per URL and headers: preparing takes a third of session.post()'s time."""
        headers = headers or {}
        key = url, tuple(headers.items())
        if (template := self._templates.get(key)) is None:
            asked = requests.Request("POST", url, headers=headers, data=b"")
            template = self._templates[key] = self.session.prepare_request(asked)
        request = requests.PreparedRequest()
        request.method, request.url, request.hooks = "POST", template.url, template.hooks
        request.headers = template.headers.copy()
        request.headers["Content-Length"] = str(len(data))
        request.body, request._cookies = data, template._cookies
        proxies = self.session.proxies if proxies is None else proxies
        return self.session.get_adapter(url).send(request, timeout=timeout, verify=True, proxies=proxies)

    def _masked(self, text: str) -> str:
        """Return the text with secrets replaced: an endpoint may repeat the key in its error."""
        for secret in self.secrets:
            text = text.replace(secret, "****")
        return text

    def _excerpt(self, body: bytes) -> str:
        """Return the start of a body for a message, masked before it is cut so that no part of a key is left."""
        return printable(" ".join(self._masked(body[:20_000].decode("utf-8", "replace")).split()), 300)

    def _wait_429(self, line: Line, url: str, throttled_s: float, wait: float | None, k: int) -> None:
        """Wait after a 429; raise EndpointDown after max_429_total_s of nothing but 429."""
        left = self.retry.max_429_total_s - throttled_s
        if left <= 0:
            raise EndpointDown(f"answered nothing but HTTP 429 for {throttled_s:.0f} s.", url,
                               "Wait for the quota, or lower --workers, and run again: what is done is kept.")
        if wait is None:
            wait = self.retry.retry_wait_s * 2 ** min(k - 1, 6) * random.uniform(0.8, 1.2)
        self.wait(min(wait, self.retry.max_429_wait_s, left + 0.01))

    def wait(self, seconds: float) -> None:
        """Wait; raise Interrupted when the run ends."""
        if self.stop.wait(seconds):
            raise Interrupted()

    # The dataset sources use these methods.

    def get_json(self, url: str, params: dict | None = None, headers: dict | None = None):
        """Return the parsed JSON at `url`."""
        return self.send("GET", url, self._host_line(url), lambda status, _, body: read_json(body),
                         params=params, headers=headers, max_bytes=MAX_DATA_BYTES)

    def get_range(self, url: str, start: int, end: int, headers: dict | None = None) -> bytes:
        """Return the bytes start..end (inclusive) of `url`."""
        def decode(status, _, body):
            body = body if status == 206 else body[start:end + 1]   # a server may ignore Range
            if len(body) != end + 1 - start:
                raise ValueError(f"{len(body)} bytes for the range {start}-{end}")
            return body
        return self.send("GET", url, self._host_line(url), decode, max_bytes=max(MAX_DATA_BYTES, end + 1 - start),
                         headers={**(headers or {}), "Range": f"bytes={start}-{end}"})

    def get_size(self, url: str, headers: dict | None = None) -> int:
        """Return the size of `url` in bytes from a one-byte range: object stores often refuse HEAD."""
        def decode(status, found, body):
            total = found.get("Content-Range", "").rpartition("/")[2]
            return int(total) if status == 206 else len(body)
        return self.send("GET", url, self._host_line(url), decode, max_bytes=MAX_DATA_BYTES,
                         headers={**(headers or {}), "Range": "bytes=0-0"})

    def _host_line(self, url: str) -> Line:
        return self.line("host " + url.split("/")[2], 8)

    def close(self) -> None:
        """Close the session and end the deadline thread."""
        self.session.close()
        self._deadlines.close()


class _Deadlines:
    """Shut down the sockets of overdue calls: a timeout of `requests` starts anew at each byte."""

    EVERY_S = 0.1

    def __init__(self):
        self._calls: set[_Call] = set()
        self._any, self._thread, self._is_closed = threading.Condition(), None, False
        self.mine = threading.local()   # .call is this thread's current call

    @contextmanager
    def of(self, seconds: float, max_bytes: int):
        """Run the block as a call that ends after `seconds` and reads up to `max_bytes`."""
        call = self.mine.call = _Call(time.monotonic() + seconds, max_bytes)
        with self._any:
            if self._thread is None:
                self._thread = start_thread(self._watch)
            self._calls.add(call)
            if len(self._calls) == 1:
                self._any.notify()
        try:
            yield call
        finally:
            with self._any:
                self._calls.discard(call)
            self.mine.call = None

    def close(self) -> None:
        """End the watching thread once the running calls have ended."""
        with self._any:
            self._is_closed = True
            self._any.notify()

    def _watch(self) -> None:
        while True:
            with self._any:
                while not self._calls:
                    if self._is_closed:
                        return
                    self._any.wait()
                now = time.monotonic()
                overdue = [call for call in self._calls if call.ends_at <= now]
                for call in overdue:
                    call.expired = True
                    call.cut()
            time.sleep(self.EVERY_S)


class _Call:
    """Hold the limits and the socket of one running call."""

    def __init__(self, ends_at: float, max_bytes: int):
        self.ends_at, self.max_bytes, self.expired = ends_at, max_bytes, False
        self.connection = self.sock = None   # http.client drops the socket of an answer that ends with its connection

    def read(self, raw, url: str) -> bytes:
        """Return the decompressed body; raise HttpTrouble where a good answer exceeds max_bytes."""
        is_good = 200 <= raw.status < 300
        limit, parts, n_bytes = self.max_bytes if is_good else ERROR_BYTES, [], 0
        try:
            while n_bytes <= limit and (part := raw.read(min(limit + 1 - n_bytes, PIECE), decode_content=True)):
                parts.append(part)
                n_bytes += len(part)
        except urllib3.exceptions.HTTPError as e:
            raise requests.exceptions.ChunkedEncodingError(e) from e
        if n_bytes <= limit:
            return b"".join(parts)
        raw.close()   # do not wait for the rest
        if is_good:
            raise HttpTrouble(f"answered with more than {limit:,} bytes, the most that is read (of a model's reply: "
                              "[llm] max_reply_bytes).", url)
        return b"".join(parts)[:limit]

    def cut(self) -> None:
        """Shut down the call's socket, which ends a blocked read."""
        try:
            (self.sock or self.connection.sock).shutdown(socket.SHUT_RDWR)
        except (AttributeError, OSError):   # not connected yet (connecting has its own timeout), or closed
            pass


class _Answer(http.client.HTTPResponse):
    """Refuse chunks of negative size."""

    def _safe_read(self, amt):
        if amt < 0:   # a negative chunk size would be read without limit, perhaps without end
            raise http.client.IncompleteRead(b"")
        return super()._safe_read(amt)


class _Adapter(HTTPAdapter):
    """Share one SSL context among connections (each takes 21 ms and 0.7 MB for CAs); apply deadlines."""

    def __init__(self, ca_bundle: str, pool: int, deadlines: _Deadlines):
        self._context, self._deadlines = create_urllib3_context(), deadlines
        self._context.load_verify_locations(requests.certs.where())
        try:
            if ca_bundle:
                self._context.load_verify_locations(ca_bundle)
        except OSError as e:
            raise Trouble(f"cannot be used as a CA bundle: {e}", ca_bundle, "Give a PEM file.") from e
        super().__init__(pool_connections=16, pool_maxsize=max(pool, 8))

    def send(self, request, **kwargs):
        """Send a request and read its body up to the limit: `requests` reads a redirect's whole body."""
        response = super().send(request, **kwargs)
        response._content = self._deadlines.mine.call.read(response.raw, request.url)
        response._content_consumed = True
        return response

    def init_poolmanager(self, *args, **kwargs):
        """Create the pool manager with the shared SSL context and watched connections."""
        super().init_poolmanager(*args, ssl_context=self._context, **kwargs)
        self._watch(self.poolmanager)

    def proxy_manager_for(self, *args, **kwargs):
        """Return a proxy's pool manager with the shared SSL context and watched connections."""
        manager = super().proxy_manager_for(*args, ssl_context=self._context, **kwargs)
        self._watch(manager)
        return manager

    def _watch(self, manager) -> None:
        """Make the connections of `manager` register with their thread's current call."""
        mine = self._deadlines.mine

        def watched(pool_class):
            class Connection(pool_class.ConnectionCls):
                response_class = _Answer

                def connect(self):
                    self._tell()
                    super().connect()

                def getresponse(self):
                    self._tell()
                    return super().getresponse()

                def _tell(self):
                    if call := getattr(mine, "call", None):
                        call.connection, call.sock = self, self.sock
            return type(pool_class.__name__, (pool_class,), {"ConnectionCls": Connection})
        manager.pool_classes_by_scheme = {scheme: watched(pool_class) for scheme, pool_class in
                                          (("http", HTTPConnectionPool), ("https", HTTPSConnectionPool))}

    def build_connection_pool_key_attributes(self, request, verify, cert=None):
        """Return the pool key without CA and SSL settings, which the shared context has."""
        host, pool = super().build_connection_pool_key_attributes(request, verify, cert)
        return host, {k: v for k, v in pool.items() if k not in ("ca_certs", "ca_cert_dir", "ssl_context")}

    def cert_verify(self, conn, url, verify, cert):
        """Do nothing: the shared context verifies certificates and has the CAs loaded."""


def read_json(body: bytes):
    """Return the parsed JSON. Integers are cut to MAX_INT_DIGITS digits: int() would refuse longer ones."""
    return json.loads(body, parse_int=lambda digits: int(digits[:MAX_INT_DIGITS]))   # orjson refuses lone surrogates


def retry_after_s(headers) -> float | None:
    """Return the seconds to wait by retry-after-ms or Retry-After (a number or a date), or None."""
    def seconds(value, unit=1.0):
        try:
            found = float(value) * unit
        except (ValueError, TypeError):
            return None
        return found if found > 0 else None   # 0 would hammer an endpoint that just complained; so would NaN

    value = headers.get("Retry-After")
    found = seconds(headers.get("retry-after-ms"), 0.001) or seconds(value)
    if found is None and value:
        try:
            when = parsedate_to_datetime(value)
            when = when if when.tzinfo else when.replace(tzinfo=timezone.utc)
            found = seconds((when - datetime.now(timezone.utc)).total_seconds())
        except (ValueError, TypeError, OverflowError):
            pass
    return found


def _tries(n: int) -> str:
    return f"{n} tries" if n > 1 else "1 try"


def _connection_problem(error: Exception) -> tuple[bool, str]:
    """Return (whether no connection was made at all, what happened)."""
    cause = error.args[0] if error.args else error
    cause = getattr(cause, "reason", None) or cause
    text = str(cause).rpartition(": ")[2] if isinstance(cause, NO_CONNECTION) else str(cause)
    return isinstance(cause, NO_CONNECTION), f"connection failed: {' '.join(text.split())[-160:]}"
