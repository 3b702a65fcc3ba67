"""Sum up a run of `codedata loop` as one line of JSON, and post it: for cron and its alarms. The
line has no paths and no texts of tasks."""
from __future__ import annotations

import json
import time
from argparse import ArgumentTypeError
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from codedata.errors import Trouble
from codedata.llm.costs import spending
from codedata.llm.http import EndpointState, Http
from codedata.records import SOLVED
from codedata.settings import LLM
from codedata.tasks.rates import outcomes_in, rates_by_kind
from codedata.texts import printable

POST_S = 30.0   # time limit of a try to post, and of HTTP 429


def begin_night(root: Path) -> Callable[[int, list[str]], str]:
    """Return a function of the exit code and the stages with another one than 0 that returns the
    JSON about what was added to a root since now. `rates` are over the new attempts; `cost_usd` is
    null if a cost is unknown."""
    spent, before, started = spending(root), {*outcomes_in(root)}, time.monotonic()

    def line(exit_code: int, unfinished: list[str]) -> str:
        now = spending(root)
        new = [one for name, one in outcomes_in(root).items() if name not in before]
        statuses = Counter(one["status"] for one in new)
        is_known = now.n_unpriced == spent.n_unpriced
        return json.dumps({
            "exit_code": exit_code, "unfinished": unfinished,
            "hours": round((time.monotonic() - started) / 3600, 4),
            "cost_usd": round(now.cost_usd - spent.cost_usd, 6) if is_known else None,
            "attempts": len(new), "solved": statuses.pop(SOLVED, 0),
            "failures": dict(statuses.most_common()), "rates": rates_by_kind(new)})
    return line


def https_url(text: str) -> str:
    """Return an address. Raise ArgumentTypeError, without it, if it is not one of https."""
    if not text.startswith("https://"):
        raise ArgumentTypeError("must be an address of https")
    return text


def post(url: str, line: str, llm: LLM) -> str:
    """Post a JSON text. Return the reason why it failed, without the address, which may be a
    secret, or ""."""
    try:
        http = Http(replace(llm, call_timeout_s=POST_S, max_429_total_s=POST_S))
        http.secrets.add(url)
        http.send(http.at(EndpointState(1), url, line.encode(),
                          {"Content-Type": "application/json"}), lambda *answer: None)
    except Trouble as e:
        return printable(e.what)
    return ""
