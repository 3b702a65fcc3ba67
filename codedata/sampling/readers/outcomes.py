"""Read how a trajectory ended, by the keys that rows and files of agents have for it.

Those of `info` are of SWE-agent and mini-swe-agent, `report` and `test_result` of OpenHands;
`rewards` is in the result.json that Harbor writes beside the folder of a trajectory.
"""
from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from codedata.bounded import read_bounded, row_in
from codedata.sampling.readers.chat import decoded

NESTED = ("info", "report", "test_result", "verifier_result", "rewards")
RESOLVED = ("resolved", "target")
PATCHES = ("model_patch", "generated_patch", "submission", "git_patch")
TRUTHS = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}


class Outcome(NamedTuple):
    """Hold how a trajectory ended; None and "" stand for what nothing tells."""

    resolved: bool | None
    reward: float | None
    exit_status: str
    model_patch: str


def outcome_of(document, name: str = "") -> Outcome:
    """Return the outcome in a document or, if `name` is its file in agent/ of a trial of Harbor, in
    the result.json there. One that cannot be read tells nothing.
    """
    documents = [document]
    folder = Path(name).parent
    if folder.name == "agent":
        with suppress(OSError, ValueError):
            documents.append(row_in(read_bounded(folder.parent / "result.json")))

    def first(keys: Iterable[str], *kinds: type) -> Any:
        values = (value for one in documents for key in keys for value in _values(one, key))
        return next((value for value in values if isinstance(value, kinds)), None)

    reward = first(["reward"], int, float)
    return Outcome(TRUTHS.get(str(first(RESOLVED, int, float, str)).lower()),
                   None if reward is None or not math.isfinite(reward) else float(reward),
                   first(["exit_status"], str) or "", first(PATCHES, str) or "")


def _values(document, key: str) -> Iterator:
    """Yield the values of a key in an object, and in those under NESTED."""
    document = decoded(document)
    if isinstance(document, dict):
        if key in document:
            yield document[key]
        for name in NESTED:
            yield from _values(document.get(name), key)
