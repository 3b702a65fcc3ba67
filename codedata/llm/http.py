"""Send HTTP requests through urllib3's connection pools: retries, timeouts, HTTP 429, giving up.

limiter.py limits the calls in flight to an endpoint. This module implements retries itself, because
urllib3's retries raise an error on a fractional Retry-After. It implements redirects (only of GET)
itself, because urllib3 would read the whole body of each redirect. Proxy variables of the
environment and netrc are not used. A body is read up to the call's limit, counted after
decompression.

`call_timeout_s` bounds a call from its start to its last byte, even if bytes arrive slowly: before
each send or receive, the socket's timeout is cut to the remaining time. The DNS lookup is not
bounded, nor is the handshake with an endpoint behind an https proxy (TLS within TLS).
"""
from __future__ import annotations

import http.client
import json
import logging
import random
import re
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache, partial
from ssl import SSLContext
from urllib.parse import unquote, urlencode, urljoin, urlsplit

import certifi
import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.util.ssl_ import create_urllib3_context

from codedata.errors import EndpointDown, HttpTrouble, Interrupted, RunStopped, Trouble
from codedata.llm.limiter import EndpointState
from codedata.settings import LLM
from codedata.texts import printable, squeezed

log = logging.getLogger(__name__)
CONNECT_TIMEOUT_S = 10.0
FLAGGED = "the endpoint flagged it: "   # prefix of the reason why it refuses an item's content
# words of llama.cpp's HTTP 500 if a request asks for several choices
ONE_CHOICE = "one completion choice"
# error codes of OpenAI, Azure, Kimi and Qwen for a prompt that is refused for its content
FLAG_CODES = {"content_filter", "invalid_prompt", "data_inspection_failed"}
# matches a refusal for an empty account, which no waiting ends
SPENT = re.compile(r"insufficient[_ ](?:quota|balance|credits?)\b|plan and billing details"
                   r"|credit balance|out of credits", re.IGNORECASE)
# matches a refusal that waiting ends, though it may say how to pay for a higher limit
PASSING = re.compile(r"RetryInfo|\b(?:try again|retry) in\b|\brate[ _-]limit", re.IGNORECASE)
# matches Groq's HTTP 400 for a malformed call by the model
SLIP = re.compile("tool_use_failed|Failed to call a function")
FATAL = {401: "refused the key", 402: "wants payment", 403: "refused access"}
CUTS = (504, 524)   # statuses of gateways that end a long call, which is paid for all the same
RETRIED_4XX = (408, 425)   # statuses of temporary refusals
NO_RETRIES = urllib3.Retry(False)
MAX_REDIRECTS = 30
MAX_LIMITS = 100   # a request waits for the end of a rate limit at most this many times
HEADERS = {"User-Agent": "codedata", **urllib3.util.make_headers(accept_encoding=True)}
# errors raised if a connection cannot be established
NO_CONNECTION = (urllib3.exceptions.NewConnectionError, urllib3.exceptions.ConnectTimeoutError,
                 urllib3.exceptions.SSLError, urllib3.exceptions.ProxyError)
ADVICE = {   # {word in the error: advice} for an endpoint that does not answer
    "certificate": "Give its authority's certificate: [llm] ca_bundle.",
    "Too many open files": "Raise the limit (ulimit -n) or lower --workers.",
    "": "Start the endpoint or check its base URL.",
}
MAX_RESETS = 20   # this many lost connections in a row count as a fault of the endpoint
READ_BYTES = 1 << 20           # bytes of a body read at a time
SEND_BYTES = 1 << 14           # bytes sent at a time: one TLS record
ERROR_BYTES = 64_000           # bytes of an error response that are read
MAX_429_WAIT_S = 60.0          # the longest single wait on HTTP 429
MAX_REPLY_BYTES = 20_000_000   # limit for a model's reply, decompressed
MAX_DATA_BYTES = 500_000_000   # limit for a page of rows, or for a file if a server ignores Range
MAX_INT_DIGITS = 400           # further digits of an integer in JSON are cut off
# errors raised if JSON has an unexpected shape
WRONG_SHAPE = (ValueError, LookupError, TypeError, AttributeError, RecursionError)
# limits of the call that the thread is making: `ends_at` (a time.monotonic()) and `max_bytes`
_limits = threading.local()


@dataclass
class Tries:
    """Count the attempts, timeouts, HTTP 429s and seconds of one request."""

    n: int = 0
    timeouts: int = 0
    throttled: int = 0
    seconds: float = 0.0   # taken by the successful attempt


@dataclass(eq=False)
class _AttemptFailed(Exception):
    """Report an attempt without a usable answer."""

    problem: str
    status: int | None = None     # None if no answer came
    headers: Mapping = field(default_factory=dict)
    flagged: str = ""             # why the endpoint will not answer this prompt
    is_timeout: bool = False      # the call took longer than call_timeout_s
    is_down: bool = False         # the fault lies with the endpoint, not with the request
    endpoint: EndpointState | None = None
    started: float = 0.0          # time.monotonic()


class Http:
    """Send requests for all threads, with the limits of [llm]. In error messages, `secrets` are
    masked. Setting the event `stop` ends all waits and refuses new requests."""

    def __init__(self, llm: LLM):
        self.llm = llm
        self.stop = threading.Event()
        self.secrets: set[str] = set()
        if password := urlsplit(llm.proxy).password:
            self.secrets.add(password)
        self.ssl_context = _ssl_context(llm.ca_bundle)
        self._without_proxy = _Pools(llm.workers, self.ssl_context)
        self._pools = _Pools(llm.workers, self.ssl_context, llm.proxy)
        self._endpoints = {}   # EndpointState by name

    def endpoint(self, name: str, limit: int) -> EndpointState:
        """Return the state of the endpoint `name`; create the state on first use."""
        return self._endpoints.setdefault(name, EndpointState(limit))

    def at(self, endpoint: EndpointState, url: str, *args, **kwargs) -> dict:
        """Return send()'s `places` for a request to one endpoint, with exchange()'s arguments."""
        return {endpoint: (url, partial(self.exchange, url, *args, **kwargs))}

    def send(self, places: Mapping[EndpointState, tuple[str, Callable]], decode: Callable, *,
             tries: Tries | None = None, gate: Callable | None = None, max_bytes: int = 0):
        """Return decode(status, headers, body) of the first good answer; retry if decode() raises
        ValueError.

        `places` has the URL of each endpoint and a function that sends the request there and
        returns status, headers and body. Each attempt is made at the endpoint with the smallest
        load; after a failure it rests. Wait only if all rest. `gate()` is called right before an
        attempt and may raise an error to end the request, for instance if the budget is used up.

        Raise HttpTrouble after the last retry, or if a good answer is larger than `max_bytes` (0:
        MAX_REPLY_BYTES), RunStopped if the endpoint is unusable, Interrupted if the run is ending.
        """
        tries, n_failures = tries or Tries(), 0
        answers_before = sum(one.n_answers for one in places)
        while True:
            try:
                return self._attempt(places, decode, tries, gate, max_bytes)
            except _AttemptFailed as e:
                failure, endpoint, url = e, e.endpoint, places[e.endpoint][0]
            wait_s = endpoint.limit_s(failure.status, failure.headers)
            if wait_s and tries.throttled < MAX_LIMITS:
                tries.throttled += 1
            elif failure.status == 429:
                tries.throttled += 1
                endpoint.throttled(failure.started)
                wait_s = self._429_s(failure, url, min(one.throttled_s for one in places),
                                     tries.throttled)
            else:
                tries.timeouts += failure.is_timeout
                _stop_if_final(failure, url, endpoint)
                n_failures += 1
                is_cut_again = n_failures > 1 and failure.status in CUTS
                if is_cut_again or n_failures > self.llm.retry_max:
                    failure.is_down = (
                        failure.is_down and answers_before == sum(one.n_answers for one in places)
                        and all(one.is_down for one in places if one is not endpoint))
                    raise _last_error(failure, url, min(one.exit_code for one in places),
                                      n_failures)
                wait_s = max(min(retry_after_s(failure.headers), MAX_429_WAIT_S),
                             self._back_off_s(n_failures - 1))
            endpoint.rests_until = time.monotonic() + wait_s
            wait_s = max(0, min(one.rests_until for one in places) - time.monotonic())
            log.info("%s: %s; again in %.1f s", url, failure.problem, wait_s)
            self.wait(wait_s)

    def _attempt(self, places: Mapping, decode: Callable, tries: Tries, gate: Callable | None,
                 max_bytes: int):
        """Send the request to the endpoint with the smallest load. Return the decoded answer. Raise
        _AttemptFailed if there is no good one."""
        n_in_flight, n_bytes = 0, None
        while not n_in_flight:
            endpoint = min(places, key=EndpointState.load)
            n_in_flight = endpoint.acquire(self.stop)
        (url, exchange), started = places[endpoint], time.monotonic()
        try:
            if gate:
                gate()
            tries.n += 1
            value, n_bytes = self._answer(url, endpoint, decode, max_bytes, exchange)
            endpoint.answered()
            tries.seconds = time.monotonic() - started
            return value
        except _AttemptFailed as e:
            e.endpoint, e.started, endpoint.is_down = endpoint, started, e.is_down
            n_bytes = 0 if e.is_timeout else None
            raise
        finally:
            endpoint.release(n_in_flight, started, n_bytes)

    def _answer(self, url: str, endpoint: EndpointState, decode, max_bytes: int,
                exchange: Callable) -> tuple:
        """Return the decoded answer of one endpoint and its size in bytes. Raise _AttemptFailed if
        there is no good answer."""
        _limits.ends_at = time.monotonic() + self.llm.call_timeout_s
        _limits.max_bytes = max_bytes or MAX_REPLY_BYTES
        try:
            status, headers, body = exchange()
        except ValueError as e:   # a malformed address or header
            raise RunStopped(f"cannot be asked: {self.masked(str(e))}", url,
                             "Check the base URL and the key.", exit_code=2) from None
        except (urllib3.exceptions.HTTPError, OSError) as e:
            raise self._no_answer(e, endpoint) from e
        endpoint.n_resets = 0
        if not 200 <= status < 300:
            if status != 429:
                endpoint.refused()
            headers["Location"] = self.masked(headers.get("Location", "no Location"))
            problem = f"HTTP {status}: {self._excerpt(body)}".rstrip(": ")
            flagged = printable(self.masked(_flagged(body)), 300)
            if status == 429 and _is_spent(headers, body):
                status = 402
            raise _AttemptFailed(problem, status, headers, flagged)
        try:
            return decode(status, headers, body), len(body)
        except (ValueError, RecursionError) as e:
            problem = f"unreadable answer: HTTP {status} {e}: {self._excerpt(body)!r}"
            raise _AttemptFailed(problem, 402 if _is_spent(headers, body) else status) from e

    def _no_answer(self, error: Exception, endpoint: EndpointState) -> _AttemptFailed:
        """Return the failure of a request that got no answer."""
        # compare the exact type: a refused connection raises a subclass, NewConnectionError
        if type(error) is urllib3.exceptions.ConnectTimeoutError:
            return _AttemptFailed("no connection in time", is_down=True)
        # check the clock, too: urllib3 reports a timeout while sending as a lost connection
        is_late = time.monotonic() >= _limits.ends_at
        if is_late or isinstance(error, urllib3.exceptions.ReadTimeoutError):
            return _AttemptFailed(f"timeout {self.llm.call_timeout_s:g} s", is_timeout=True)
        endpoint.n_resets += 1
        text = str(error)
        is_down = endpoint.n_resets >= MAX_RESETS
        if isinstance(error, NO_CONNECTION):
            text = text.rpartition(": ")[2]
            is_down = True
        return _AttemptFailed(self.masked(f"connection failed: {squeezed(text)[-160:]}"),
                              is_down=is_down)

    def exchange(self, url: str, data: bytes | None = None, headers: dict | None = None,
                  direct: bool = False, one_host: bool = False) -> tuple[int, Mapping, bytes]:
        """Send one request and return status, headers and body of the answer.

        The request is a POST if `data` is given, else a GET. Follow redirects of a GET; with
        `one_host`, only on its host. `direct` bypasses the proxy."""
        headers = {**HEADERS, **(headers or {})}
        for _ in range(MAX_REDIRECTS):
            left = _seconds_left()
            pool, target = (self._without_proxy if direct else self._pools).place(url)
            raw = pool.urlopen("GET" if data is None else "POST", target, data, headers, NO_RETRIES,
                               redirect=False, assert_same_host=False, preload_content=False,
                               timeout=urllib3.Timeout(connect=min(CONNECT_TIMEOUT_S, left),
                                                       read=left))
            body = _read_body(raw, url)
            elsewhere = urljoin(url, raw.get_redirect_location() or "")
            if elsewhere == url or data is not None:
                break
            if urlsplit(elsewhere)[:2] != urlsplit(url)[:2]:   # never send keys to another host
                if one_host:
                    break
                headers = {name: value for name, value in headers.items()
                           if name in HEADERS or name == "Range"}
            url = elsewhere
        return raw.status, raw.headers, body

    def masked(self, text: str, min_chars: int = 1) -> str:
        """Return the text with secrets of `min_chars` or more characters replaced, since an
        endpoint may repeat the key in its answer."""
        # replace long secrets first: a short one may be the prefix of a long one
        for secret in sorted(self.secrets, key=len, reverse=True):
            if len(secret) >= min_chars:
                text = text.replace(secret, "****")
        return text

    def _excerpt(self, body: bytes) -> str:
        """Return the start of a body, masked before it is cut, so that no part of a key is left."""
        text = self.masked(body[:20_000].decode("utf-8", "replace"))
        return printable(squeezed(text), 300)

    def _429_s(self, failure: _AttemptFailed, url: str, throttled_s: float, n_throttled: int
               ) -> float:
        """Return the seconds to wait after a 429. Raise EndpointDown if the endpoint has answered
        only 429 for max_429_total_s."""
        left = self.llm.max_429_total_s - throttled_s
        if left <= 0:
            raise EndpointDown(
                f"answered nothing but HTTP 429 for {throttled_s:.0f} s, the last: "
                f"{failure.problem}.", url,
                "Wait for the quota, or lower --workers, and run again: what is done is kept.")
        wait_s = retry_after_s(failure.headers) or self._back_off_s(min(n_throttled - 1, 6))
        return min(wait_s, MAX_429_WAIT_S, left + 0.01)

    def _back_off_s(self, doublings: int) -> float:
        return self.llm.retry_wait_s * 2 ** doublings * random.uniform(0.8, 1.2)

    def wait(self, seconds: float) -> None:
        """Wait; raise Interrupted if the run ends."""
        if self.stop.wait(seconds):
            raise Interrupted()

    # The dataset sources use these methods.

    def get_json(self, url: str, params: dict | None = None, **kwargs):
        """Return the parsed JSON at `url`."""
        url += f"?{urlencode(params)}" if params else ""
        return self._get(url, lambda *answer: read_json(answer[-1]), **kwargs)

    def get_range(self, url: str, start: int, end: int, headers: dict = HEADERS) -> bytes:
        """Return the bytes start..end (inclusive) of `url`."""
        n_bytes = end + 1 - start

        def decode(status, answer_headers, body):
            if status != 206:   # cut out the range: the server has ignored Range and sent the file
                body = body[start:end + 1]
            if len(body) != n_bytes:
                raise ValueError(f"{len(body)} bytes for the range {start}-{end}")
            return body
        return self._get(url, decode, max(MAX_DATA_BYTES, n_bytes),
                         headers={**headers, "Range": f"bytes={start}-{end}"})

    def get_size(self, url: str, headers: dict = HEADERS) -> int:
        """Return the size of `url` in bytes. Request one byte, since object stores often refuse
        HEAD."""
        def decode(status, answer_headers, body):
            total = answer_headers.get("Content-Range", "").rpartition("/")[2]
            return int(total) if status == 206 else len(body)
        return self._get(url, decode, headers={**headers, "Range": "bytes=0-0"})

    def _get(self, url: str, decode, max_bytes: int = MAX_DATA_BYTES, **kwargs):
        endpoint = self.endpoint("host " + url.split("/")[2], 8)
        return self.send(self.at(endpoint, url, **kwargs), decode, max_bytes=max_bytes)

    @property
    def has_answered(self) -> bool:
        """Return whether any endpoint has answered."""
        return any(endpoint.n_answers for endpoint in self._endpoints.values())

    def close(self) -> None:
        """Close the connections."""
        self._pools.clear()
        self._without_proxy.clear()


def _stop_if_final(failure: _AttemptFailed, url: str, endpoint: EndpointState) -> None:
    """Raise the final error if another attempt would end in the same way."""
    status = failure.status or 0
    if failure.flagged:
        endpoint.answered()   # count the refusal as an answer: key, address and model have worked
        raise HttpTrouble(f"{FLAGGED}{failure.flagged}", url, status=status)
    if status in FATAL:
        raise RunStopped(f"{FATAL[status]} ({failure.problem}).", url, endpoint.about_key,
                         exit_code=endpoint.exit_code)
    if 300 <= status < 400:
        place = printable(failure.headers["Location"], 300)
        raise RunStopped(f"sends elsewhere (HTTP {status}, {place}).", url,
                         "Use that address as the base URL.", exit_code=endpoint.exit_code)
    is_passing = status in RETRIED_4XX or SLIP.search(failure.problem)
    is_refused = 400 <= status < 500 and not is_passing
    if is_refused or status == 501 or (status == 500 and ONE_CHOICE in failure.problem):
        raise HttpTrouble(failure.problem, url, status=status)


def _last_error(failure: _AttemptFailed, url: str, exit_code: int, n_failures: int) -> Trouble:
    """Return the error after the last attempt: EndpointDown if the endpoint is to blame."""
    tries = f"{n_failures} tries" if n_failures > 1 else "1 try"
    if not failure.is_down:
        return HttpTrouble(f"{failure.problem} ({tries})", url, status=failure.status)
    advice = next(advice for word, advice in ADVICE.items() if word in failure.problem)
    return EndpointDown(f"does not answer: {failure.problem} ({tries}).", url, advice,
                        exit_code=exit_code)


def _seconds_left() -> float:
    """Return the seconds left for the thread's current call; raise TimeoutError if none are."""
    left = _limits.ends_at - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _cut_timeout(sock) -> None:
    """Cut a socket's timeout, which restarts at each byte, to the time left for the call. Keep a
    timeout that is at most 1 % longer than that, to save the system call that sets it."""
    left = _seconds_left()
    if sock.gettimeout() > 1.01 * left:
        sock.settimeout(left)


class _TimedFile(socket.SocketIO):
    """Read from a socket within the call's time limit."""

    def readinto(self, buffer):
        _cut_timeout(self._sock)
        return super().readinto(buffer)


class _Answer(http.client.HTTPResponse):
    """Read head and body within the call's time limit; refuse chunks of negative size."""

    def __init__(self, sock, *args, **kwargs):
        super().__init__(sock, *args, **kwargs)
        self.fp.raw.__class__ = _TimedFile   # a SocketIO, with and without TLS

    def _safe_read(self, amt):
        if amt < 0:   # refuse a negative chunk size: super() would read without limit
            raise http.client.IncompleteRead(b"")
        return super()._safe_read(amt)


class _TimedConnection:
    """Make a urllib3 connection send and receive within the call's time limit."""

    response_class = _Answer
    _body = b""

    def request(self, method, url, body=None, headers=None, **options):
        """Hold the body back for send(), which sends it together with the head."""
        self._body = body or b""
        if body is not None:
            headers = {**headers, "Content-Length": str(len(body))}
        super().request(method, url, None, headers, **options)

    def send(self, data):
        data, self._body = data + self._body, b""
        if self.sock is None:
            self.connect()
        for start in range(0, len(data), SEND_BYTES):
            _cut_timeout(self.sock)
            super().send(data[start:start + SEND_BYTES])


class _HttpPool(urllib3.HTTPConnectionPool):
    ConnectionCls = type("TimedHttp", (_TimedConnection, HTTPConnection), {})


class _HttpsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = type("TimedHttps", (_TimedConnection, HTTPSConnection), {})


class _Pools:
    """Hold a pool of timed connections for each host, or for the proxy. Raise Trouble if `proxy` is
    no address."""

    def __init__(self, workers: int, ssl_context: SSLContext, proxy: str = ""):
        options = {"num_pools": 16, "maxsize": max(workers, 8), "ssl_context": ssl_context}
        self._manager = urllib3.PoolManager(**options)
        try:
            if proxy:
                parts = urllib3.util.parse_url(proxy if "://" in proxy else f"http://{proxy}")
                login = urllib3.util.make_headers(
                    proxy_basic_auth=unquote(parts.auth or "") or None)
                self._manager = urllib3.ProxyManager(
                    parts.url, proxy_headers=login, proxy_ssl_context=ssl_context, **options)
        except ValueError:
            raise Trouble("is no address of a proxy.", "[llm] proxy",
                          "It looks like http://host:port.") from None
        self._manager.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}
        # cache (pool, target) per URL: looking it up takes as long as sending the request
        self.place = lru_cache(64)(self._place)

    def clear(self) -> None:
        """Close the connections that are not in use."""
        self.place.cache_clear()   # drop references to pools: a pool closes when it has none left
        self._manager.clear()

    def _place(self, url: str) -> tuple[urllib3.HTTPConnectionPool, str]:
        """Return the pool for a URL, and the target for the request line."""
        parts = urllib3.util.parse_url(url)
        pool = self._manager.connection_from_host(parts.host, parts.port, parts.scheme)
        is_whole = self._manager.proxy and parts.scheme == "http"
        return pool, parts.url if is_whole else parts.request_uri


def _ssl_context(ca_bundle: str) -> SSLContext:
    """Return one SSL context for all connections, since each takes 21 ms and 0.7 MB."""
    context = create_urllib3_context()
    context.load_verify_locations(certifi.where())
    try:
        if ca_bundle:
            context.load_verify_locations(ca_bundle)
    except OSError as e:
        raise Trouble(f"cannot be used as a CA bundle: {e}", ca_bundle, "Give a PEM file.") from e
    return context


def _read_body(raw, url: str) -> bytes:
    """Return the decompressed body. If a stream breaks off, return the part that was received.
    Raise HttpTrouble if a good answer exceeds the limit."""
    is_good = 200 <= raw.status < 300
    limit = _limits.max_bytes if is_good else ERROR_BYTES
    pieces = []
    room = limit + 1
    may_break = is_stream(raw.headers)
    read = raw.read1 if may_break else raw.read   # read() loses what came before a stream's break
    while room:
        try:
            piece = read(min(room, READ_BYTES), decode_content=True)
        except (urllib3.exceptions.HTTPError, OSError):
            if not (may_break and pieces):
                raise
            raw.close()
            break
        if not piece:
            break
        pieces.append(piece)
        room -= len(piece)
        if raw.length_remaining == 0 and "Content-Encoding" not in raw.headers:
            break   # skip the read that would only return b"": it takes as long as the first one
    if not room:
        raw.close()   # close the connection instead of reading the rest
        if is_good:
            raise HttpTrouble(f"answered with more than {limit:,} bytes.", url)
    return b"".join(pieces)[:limit]


def is_stream(headers: Mapping, body: bytes = b"") -> bool:
    """Return whether a body is a stream of events, by its type or its first bytes."""
    return "event-stream" in headers.get("Content-Type", "") or body.startswith(b"data:")


def address(base_url: str, path: str) -> str:
    """Return the URL of a path at an endpoint. Keep the base URL's query, such as Azure's
    api-version."""
    start, mark, query = base_url.partition("?")
    return f"{start.rstrip('/')}/{path}{mark}{query}"


def read_json(body: bytes):
    """Return the parsed JSON. Integers are cut to MAX_INT_DIGITS digits, since int() refuses very
    long ones."""
    # use json: orjson refuses lone surrogates
    return json.loads(body, parse_int=lambda digits: int(digits[:MAX_INT_DIGITS]))


def _flagged(body: bytes) -> str:
    """Return why an endpoint refuses a prompt's content; "" if it names no such reason."""
    try:
        error = read_json(body)["error"]
        if FLAG_CODES & {error.get("code"), error.get("type")}:
            return str(error.get("message"))
        return ", ".join(map(str, error["metadata"]["reasons"]))
    except WRONG_SHAPE:
        return ""


def _is_spent(headers: Mapping, body: bytes) -> bool:
    """Return whether an error says that the account is empty, and names no time to wait. Only the
    error's own fields are read: others may quote a request or another server's answer."""
    try:
        answer = read_json(body[:ERROR_BYTES])
        answer = answer[0] if isinstance(answer, list) else answer
        error = answer.get("error") or answer["base_resp"]   # base_resp: MiniMax
        words = error if isinstance(error, str) else " ".join(
            str(error.get(key)) for key in ("code", "type", "message", "status_msg", "details"))
    except WRONG_SHAPE:
        return False
    return bool(SPENT.search(words)) and not (PASSING.search(words) or retry_after_s(headers))


def retry_after_s(headers) -> float:
    """Return the seconds in retry-after-ms or Retry-After (a number or a date), or 0."""
    for name, a_second in (("retry-after-ms", 1000), ("Retry-After", 1)):
        seconds = _seconds(headers.get(name)) / a_second
        if seconds > 0:   # ignore 0 and NaN, which would mean a retry without a pause
            return seconds
    return 0.0


def _seconds(value: str | None) -> float:
    """Return a number, or the seconds until a date; 0 if the value is neither."""
    for read in (float, urllib3.Retry().parse_retry_after):
        try:
            return read(value)
        except (urllib3.exceptions.InvalidHeader, ValueError, TypeError, OverflowError):
            continue
    return 0.0
