"""Limit the calls in flight to one endpoint by its HTTP 429s, its time-outs and its latency.

HTTP 429 lowers the capacity, good answers raise it (additive increase, multiplicative decrease).
Servers such as vLLM queue calls instead. So the cost of answers is watched, in seconds in flight
for a byte; the seconds of time-outs are added. If it is SLOWER times the usual cost, half of the
capacity is tried. It is kept if SAME of the bytes per second remain, and is halved again while the
cost is that high. Otherwise the answers are just longer: the capacity is restored, and their cost
becomes the usual one.
"""
from __future__ import annotations

import threading
import time
from math import inf

from codedata.errors import Interrupted

SLOWER = 2.0
SAME = 0.9
SAMPLE = 32       # calls in a sample, at least; the first sample has an eighth of the limit
GROWTH = 1 / 16   # growth of the capacity by good answers to all calls in flight, at least one call


class EndpointState:
    """Hold one endpoint's state, shared by all threads that call it."""

    def __init__(self, limit: int):
        self.limit = max(1, limit)
        self.capacity = float(self.limit)
        self.in_flight = 0
        self.n_answers = 0
        self.about_key = "Check the key and the account; --show-config tells which are used."
        # returns the seconds until a rate limit ends, given the (status, headers) of a refusal; 0
        # if the refusal has another reason
        self.limit_s = lambda status, headers: 0.0
        self.n_resets = 0               # connections lost since the last answer of any kind
        self.rests_until = 0.0          # time.monotonic(), after a failure; 0 after a good answer
        self.is_down = False            # the last call got no answer, by the endpoint's fault
        self._changed_at = 0.0          # begin of the sample; ignore calls that started before it
        self._throttled_since = None    # time.monotonic() of the first 429 in an unbroken series
        self._free = threading.Condition()
        # the sample: (calls in flight at its start, seconds, bytes) of each call
        self._calls = []
        self._usual_cost = inf          # the lowest cost since the last vain trial
        self._before = None             # in a trial: capacity, bytes per second and cost before it

    @property
    def exit_code(self) -> int:
        """Return the exit code of a run stopped by this endpoint: 2 if it never answered, else 1.
        """
        return 1 if self.n_answers else 2

    def load(self) -> tuple[float, bool]:
        """Return the share of the capacity in use, and whether the endpoint is down. After a
        failure the share is infinite, except for a single call that tries the rested endpoint."""
        is_out = self.rests_until and (self.in_flight or time.monotonic() < self.rests_until)
        return (inf if is_out else self.in_flight / self.capacity), self.is_down

    def acquire(self, stop: threading.Event) -> int:
        """Take a slot if one becomes free in 0.2 s. Return the number of calls in flight, or 0 if
        none becomes free. Raise Interrupted if the run ends."""
        with self._free:
            is_free = self._free.wait_for(
                lambda: stop.is_set() or self.in_flight < int(self.capacity), 0.2)
            if stop.is_set():
                raise Interrupted()
            if not is_free:
                return 0
            self.in_flight += 1
            return self.in_flight

    def release(self, n_in_flight: int, started: float, n_bytes: int | None) -> None:
        """Free the slot of a finished call; acquire() returned `n_in_flight` for it. `n_bytes` is
        the size of a good answer, 0 for a time-out, None for another failure, which has no cause
        in the load."""
        with self._free:
            if n_bytes is not None and started >= self._changed_at:
                self._calls.append((n_in_flight, time.monotonic() - started, n_bytes))
                n_wanted = (max(SAMPLE, self.capacity) if self._usual_cost < inf
                            else self.limit / 8)
                if len(self._calls) >= n_wanted:
                    self._end_sample()
            self.in_flight -= 1
            self._free.notify()

    def answered(self) -> None:
        """Note a good answer, which ends a series of 429s and may raise the capacity."""
        with self._free:
            self.n_answers += 1
            self.rests_until, self.is_down = 0.0, False
            self._throttled_since = None
            if self.capacity < self.limit:
                self.capacity = min(self.limit, self.capacity + max(1 / self.capacity, GROWTH))
                self._free.notify()

    def refused(self) -> None:
        """Note an answer that is neither good nor a 429. It also ends a series of 429s."""
        with self._free:
            self._throttled_since = None

    @property
    def throttled_s(self) -> float:
        """Return the seconds since the present series of 429s began."""
        since = self._throttled_since
        return 0.0 if since is None else time.monotonic() - since

    def throttled(self, started: float) -> None:
        """Note a 429 and lower the capacity."""
        now = time.monotonic()
        with self._free:
            if started >= self._changed_at:
                self._change(min(self.capacity, self.in_flight + 1) * 0.7)
            if self._throttled_since is None:
                self._throttled_since = now

    def _end_sample(self) -> None:
        """Begin a trial of half the calls, end one, or go on with another sample."""
        sum_in_flight, seconds, n_bytes = map(sum, zip(*self._calls, strict=True))
        n_in_flight = sum_in_flight / len(self._calls)
        cost = seconds / n_bytes if n_bytes else inf
        speed = n_in_flight / cost   # bytes per second (Little's law)
        capacity, speed_before, cost_before = self._before or (0.0, 0.0, 0.0)
        if speed < SAME * speed_before:
            self._usual_cost = cost_before
            self._change(capacity)
        elif cost >= SLOWER * self._usual_cost:
            self._change(n_in_flight / 2, (self.capacity, speed, cost))
        else:
            self._usual_cost = min(self._usual_cost, cost)
            self._change(self.capacity)

    def _change(self, capacity: float, before: tuple[float, float, float] | None = None) -> None:
        """Set the capacity and begin a sample of later calls; with `before`, it is a trial."""
        self.capacity = max(1.0, capacity)
        self._before = before
        self._changed_at = time.monotonic()
        self._calls = []
        self._free.notify_all()
