"""Build attempt/_index.html, the page on which attempts are filtered, and read step by step.

All data are read from attempt/; codedata/page/ draws them. The page has the trajectories of as many
attempts as fit into `room` bytes, with long texts cut. Equal files give an equal page.
"""
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from codedata.disk.layouts import write_atomic
from codedata.disk.store import Store
from codedata.errors import BrokenRecord
from codedata.page.blocks import LISTING, Block, card, column, section, unreadable
from codedata.page.builder import build, pack_fitting
from codedata.records import ATTEMPT_STATUSES, CHEATED, SOLVED, WRONG, Attempt, Object
from codedata.texts import without_middle

PAGE = f"{Attempt.directory}/_index.html"
MAX_CHARS = 10_000   # of a text
MAX_STEPS = 150      # of a trajectory, at its start and at its end
CUT = "{n} characters left out: the attempt's files have them"
TABLE = {
    "noun": "attempt", "searches": "Search tasks, agents, reasons",
    "colours": {SOLVED: "green", WRONG: "amber", CHEATED: "red"},
    "columns": [
        column("task", "name", place="table"), column("kind", room="wide"),
        column("model", room="middle", width="10.5rem"),
        column("status", "badge", order=ATTEMPT_STATUSES, width="9rem"),
        *(column(key, "number", room="middle") for key in (
            "attempt", "reward", "steps", "calls", "tokens_in", "tokens_out", "cost_usd",
            "seconds")),
        column("agent", place="facts"), column("second", title="why", place="facts")],
    "filters": ["task", "kind", "model", "agent", "status"]}


def write_index(root: Path, room: int = 15_000_000) -> list[str]:
    """Write the page of the attempts in a root. Return [a line that names it]; write nothing and
    return [] if there are none."""
    attempts = Store(root, Attempt).open()
    rows = []

    def read() -> Iterator[Block]:
        for name in attempts.names():
            try:
                attempt = attempts.read(name)
            except BrokenRecord as e:
                attempts.broken.append(e)
            else:
                rows.append(attempt_row(attempt))
                yield attempt_details(attempt)

    details = pack_fitting(enumerate(read()), room)
    if not rows and not attempts.broken:
        return []
    counts = {"kind": "cross", "title": "Attempts", "down": "model", "across": {"key": "status"}}
    rates = {**counts, "down": "task", "across": {"key": "model"}, "of": {"status": SOLVED}}
    write_atomic(root / PAGE, build("Attempts", [section(
        "attempts", "Attempts", unreadable([*map(str, attempts.broken)], "attempt", 500),
        card("Attempts by model and status", counts),
        card("Solved attempts by task and model", rates), LISTING)], TABLE, rows, details))
    return [f"      attempts as a page: {PAGE}"]


def attempt_row(attempt: Attempt) -> Object:
    """Return the row of an attempt in the table. An edited task counts as another one."""
    outcome = attempt.outcome
    return {**outcome["usage"], **outcome, "id": attempt.instance_id, "verifier": "",
            "settings": "", "short": "",
            "task": f"{outcome['task']}.{outcome['content'][:8]}",
            "model": outcome["model"] or outcome["agent"], "second": outcome["why"],
            "steps": len(attempt.trajectory["steps"]), "seconds": outcome["seconds"].get("all")}


def attempt_details(attempt: Attempt) -> list[Block]:
    """Return the details that the page shows when an attempt is opened, below its row."""
    steps = attempt.trajectory["steps"]
    results = [["verifier", attempt.outcome["verifier"], True],
               ["patch.diff", attempt.patch or "", True]]
    return _cut([{"kind": "texts", "texts": results},
                 {"kind": "trajectory", "n": len(steps),
                  "steps": steps[:MAX_STEPS] + steps[MAX_STEPS:][-MAX_STEPS:]}])


def _cut(value):
    """Return a JSON value with the middle of its long texts left out."""
    if isinstance(value, str):
        return without_middle(value, MAX_CHARS, CUT)
    if isinstance(value, dict):
        return {key: _cut(one) for key, one in value.items()}
    return [*map(_cut, value)] if isinstance(value, list) else value
