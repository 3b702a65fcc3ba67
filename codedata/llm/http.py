"""HTTP over one pooled `requests` session: retries, time-outs, HTTP 429, and when to stop asking an endpoint.

A `Line` is what is known of one endpoint: how many calls may be in flight (additive increase, multiplicative decrease
on 429), whether it ever answered, since when it says nothing but 429. Retries are ours: urllib3's own raise on a
fractional Retry-After. `trust_env` is off: proxy and netrc look-ups on each call cost more than the call.
"""
from __future__ import annotations

import json
import logging
import random
import threading
import time
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.util.ssl_ import create_urllib3_context

from codedata.errors import HttpTrouble, Interrupted, RunStopped, Trouble

log = logging.getLogger(__name__)
CONNECT_TIMEOUT_S = 10.0
CHUNK = 65_536
FATAL = {401: "refused the key", 402: "wants payment", 403: "refused access"}
CONNECTION_ERRORS = (requests.ConnectionError, requests.exceptions.ChunkedEncodingError,
                     requests.exceptions.ContentDecodingError)
BAD_URL = (requests.exceptions.InvalidURL, requests.exceptions.MissingSchema, requests.exceptions.InvalidSchema)
NO_CONNECTION = (urllib3.exceptions.NewConnectionError, urllib3.exceptions.ConnectTimeoutError,
                 urllib3.exceptions.SSLError, urllib3.exceptions.ProxyError)   # nobody there, or nobody we may talk to
MANY_CUTS = 20   # connections cut in a row, without an answer: then it is not the one request


@dataclass(frozen=True)
class Retry:
    """When to try again; the fields are those of [llm]."""

    retry_max: int = 3
    retry_wait_s: float = 1.5
    call_timeout_s: float = 300.0
    max_429_wait_s: float = 60.0
    max_429_total_s: float = 1800.0


@dataclass
class Tries:
    """What one request took, beside its answer."""

    n: int = 0
    timeouts: int = 0
    throttled: int = 0
    seconds: float = 0.0   # of the attempt that was answered


class Line:
    """One endpoint's state, shared by all threads that call it."""

    def __init__(self, name: str, limit: int):
        self.name, self.limit = name, max(1, limit)
        self.capacity = float(self.limit)
        self.in_flight = self.n_answers = 0
        self.n_throttled = 0
        self.n_cuts = 0                 # connection failures since the last answer of any kind
        self._cut_at = 0.0              # calls that started before the last cut say nothing new
        self._throttled_since: float | None = None
        self._free = threading.Condition()

    def enter(self, stop: threading.Event) -> float:
        """Wait for a place; returns the time. Interrupted when the run ends first."""
        with self._free:
            while self.in_flight >= int(self.capacity) and not stop.is_set():
                self._free.wait(0.2)
            if stop.is_set():
                raise Interrupted()
            self.in_flight += 1
        return time.monotonic()

    def leave(self) -> None:
        with self._free:
            self.in_flight -= 1
            self._free.notify()

    def answered(self) -> None:
        with self._free:
            self.n_answers += 1
            self._throttled_since = None
            if self.capacity < self.limit:   # about one more place each time all places have answered
                self.capacity = min(self.limit, self.capacity + 1 / self.capacity)
                self._free.notify()

    def throttled(self, started: float, now: float) -> float:
        """Note a 429: fewer calls at a time for a while. Returns for how long there was nothing but 429."""
        with self._free:
            self.n_throttled += 1
            if started >= self._cut_at:
                self.capacity = max(1.0, min(self.capacity, self.in_flight + 1) * 0.7)
                self._cut_at = now
            if self._throttled_since is None:
                self._throttled_since = now
            return now - self._throttled_since


class Http:
    """One session for all threads. `stop` ends waits and refuses new requests."""

    def __init__(self, retry: Retry = Retry(), proxy: str = "", ca_bundle: str = "", pool: int = 32,
                 stop: threading.Event | None = None):
        self.retry, self.stop = retry, stop or threading.Event()
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.proxies = {"http": proxy, "https": proxy} if proxy else {}
        adapter = _SharedContextAdapter(ca_bundle, pool)
        self.session.mount("https://", adapter)
        self.session.mount("http://", adapter)
        self._lines: dict[str, Line] = {}
        self._lock = threading.Lock()

    def line(self, name: str, limit: int) -> Line:
        """The line of that name, made on first use."""
        with self._lock:
            return self._lines.setdefault(name, Line(name, limit))

    def send(self, method: str, url: str, line: Line, decode, *, tries: Tries | None = None, gate=None, **kwargs):
        """decode(status, headers, body) of the first good answer; retried when it raises ValueError.

        `gate()` is called right before each attempt and may raise (budget). Raises HttpTrouble when given up,
        RunStopped when the endpoint as a whole is no use, Interrupted when the run ends.
        """
        tries = tries if tries is not None else Tries()
        failures, answers_before = 0, line.n_answers
        while True:
            started = line.enter(self.stop)
            try:
                if gate:
                    gate()
                tries.n += 1
                status, headers, body = self._once(method, url, started, kwargs)
                line.n_cuts = 0
                if 200 <= status < 300:
                    value = decode(status, headers, body)
                    line.answered()
                    tries.seconds = time.monotonic() - started
                    return value
                problem, wait = _status_problem(status, body), retry_after_s(headers)
            except BAD_URL as e:
                raise RunStopped(f"cannot be asked: {e}", url, "Check the base URL.", exit_code=2) from e
            except CONNECTION_ERRORS as e:
                line.n_cuts += 1
                (nobody_there, problem), status, wait = _connection_problem(e), None, None
            except (requests.Timeout, TimeoutError):
                status, wait, problem = 0, None, f"timeout {self.retry.call_timeout_s:g} s"
                tries.timeouts += 1
            except ValueError as e:
                problem, wait = f"unreadable answer: {e}", None
            finally:
                line.leave()
            now = time.monotonic()
            log.info("%s: %s", url, problem)
            if status == 429:
                tries.throttled += 1
                self._wait_429(line, url, line.throttled(started, now), wait, tries.throttled)
                continue
            if status in FATAL:
                raise RunStopped(f"{FATAL[status]} ({problem}).", url, "Check the key and the account; --show-config "
                                 "tells which are used.", exit_code=1 if line.n_answers else 2)
            if status is not None and ((400 <= status < 500 and status not in (408, 425)) or status == 501):
                raise HttpTrouble(problem, url, status=status)
            failures += 1
            if failures > self.retry.retry_max:
                if status is None and line.n_answers == answers_before and (nobody_there or line.n_cuts >= MANY_CUTS):
                    raise RunStopped(f"does not answer: {problem} ({failures} tries, no success meanwhile).", url,
                                     "Start the endpoint or check its base URL.", exit_code=1 if line.n_answers else 2)
                raise HttpTrouble(f"{problem} ({failures} tries)", url, status=status or None)
            back_off = self.retry.retry_wait_s * 2 ** (failures - 1) * random.uniform(0.8, 1.2)
            self.wait(max(back_off, min(wait or 0.0, self.retry.max_429_wait_s)))

    def _once(self, method, url, started, kwargs):
        """Status, headers and whole body of one attempt, within call_timeout_s from start to end."""
        limit = self.retry.call_timeout_s
        with self.session.request(method, url, timeout=(min(CONNECT_TIMEOUT_S, limit), limit), stream=True,
                                  allow_redirects=method == "GET", **kwargs) as response:
            chunks = []
            for chunk in response.iter_content(CHUNK):
                chunks.append(chunk)
                if time.monotonic() - started > limit:   # a body that drips resets the socket's own time-out
                    raise TimeoutError
            return response.status_code, response.headers, b"".join(chunks)

    def _wait_429(self, line: Line, url: str, throttled_s: float, wait: float | None, k: int) -> None:
        left = self.retry.max_429_total_s - throttled_s
        if left <= 0:
            raise RunStopped(f"answered nothing but HTTP 429 for {throttled_s:.0f} s.", url,
                             "Wait for the quota, or lower --workers, and run again: what is done is kept.")
        if wait is None:
            wait = self.retry.retry_wait_s * 2 ** min(k - 1, 6) * random.uniform(0.8, 1.2)
        self.wait(min(wait, self.retry.max_429_wait_s, left + 0.01))

    def wait(self, seconds: float) -> None:
        if self.stop.wait(seconds):
            raise Interrupted()

    # what the data-set sources use

    def get_json(self, url: str, params: dict | None = None, headers: dict | None = None):
        return self.send("GET", url, self._host_line(url), lambda status, _, body: json.loads(body),
                         params=params, headers=headers)

    def get_range(self, url: str, start: int, end: int, headers: dict | None = None) -> bytes:
        """Bytes start..end (inclusive) of `url`."""
        def decode(status, _, body):
            body = body if status == 206 else body[start:end + 1]   # a server may ignore Range
            if len(body) != end + 1 - start:
                raise ValueError(f"{len(body)} bytes for the range {start}-{end}")
            return body
        return self.send("GET", url, self._host_line(url), decode,
                         headers={**(headers or {}), "Range": f"bytes={start}-{end}"})

    def get_size(self, url: str, headers: dict | None = None) -> int:
        """The size of what is at `url`, from a one-byte range (a HEAD is often refused by object stores)."""
        def decode(status, found, body):
            total = found.get("Content-Range", "").rpartition("/")[2]
            return int(total) if status == 206 else len(body)
        return self.send("GET", url, self._host_line(url), decode, headers={**(headers or {}), "Range": "bytes=0-0"})

    def _host_line(self, url: str) -> Line:
        return self.line("host " + url.split("/")[2], 8)

    def close(self) -> None:
        self.session.close()


class _SharedContextAdapter(HTTPAdapter):
    """One SSL context for all connections: building one loads the CA bundle, 21 ms and 0.7 MB a connection."""

    def __init__(self, ca_bundle: str, pool: int):
        self._context = create_urllib3_context()
        try:
            self._context.load_verify_locations(ca_bundle or requests.certs.where())
        except OSError as e:
            raise Trouble(f"cannot be used as a CA bundle: {e}", ca_bundle, "Give a PEM file.") from e
        super().__init__(pool_connections=16, pool_maxsize=max(pool, 8))

    def init_poolmanager(self, *args, **kwargs):
        return super().init_poolmanager(*args, ssl_context=self._context, **kwargs)

    def proxy_manager_for(self, *args, **kwargs):
        return super().proxy_manager_for(*args, ssl_context=self._context, **kwargs)

    def build_connection_pool_key_attributes(self, request, verify, cert=None):
        host, pool = super().build_connection_pool_key_attributes(request, verify, cert)
        return host, {k: v for k, v in pool.items() if k not in ("ca_certs", "ca_cert_dir", "ssl_context")}

    def cert_verify(self, conn, url, verify, cert):
        """The shared context has verification on and the authorities loaded."""


def retry_after_s(headers) -> float | None:
    """Seconds to wait by retry-after-ms or Retry-After (a number, also a fraction, or a date); None without."""
    try:
        if value := headers.get("retry-after-ms"):
            return max(0.0, float(value) / 1000)
        value = headers.get("Retry-After")
        if not value:
            return None
        try:
            return max(0.0, float(value))
        except ValueError:
            when = parsedate_to_datetime(value)
            when = when if when.tzinfo else when.replace(tzinfo=timezone.utc)
            return max(0.0, (when - datetime.now(timezone.utc)).total_seconds())
    except (ValueError, TypeError, OverflowError):
        return None


def _status_problem(status: int, body: bytes) -> str:
    text = " ".join(body[:300].decode("utf-8", "replace").split())
    return f"HTTP {status}" + (f": {text}" if text else "")


def _connection_problem(error: Exception) -> tuple[bool, str]:
    """(True where no connection came about at all, what happened)."""
    cause = error.args[0] if error.args else error
    cause = getattr(cause, "reason", None) or cause
    text = str(cause).rpartition(": ")[2] if isinstance(cause, NO_CONNECTION) else str(cause)
    return isinstance(cause, NO_CONNECTION), f"connection failed: {' '.join(text.split())[-160:]}"
