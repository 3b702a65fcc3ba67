"""Read how a trajectory ended, from the keys that agents' rows and files use.

SWE-agent and mini-swe-agent write the keys of `info`, OpenHands `report` and `test_result`, Harbor
`rewards` in the result.json next to the trajectory's folder. An attempt of solve.py has a
record.json next to its trajectory.
"""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from sys import float_info

from codedata.bounded import MAX_ROW_BYTES, inside, read_bounded, row_in
from codedata.errors import BrokenRecord
from codedata.records import SOLVED, Attempt
from codedata.texts import decoded

NESTED = ("info", "report", "test_result", "verifier_result", "rewards")
TRUTHS = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}
PATCHES = ("model_patch", "generated_patch", "submission", "git_patch")
Outcome = tuple[bool | None, float | None, str, str]


def outcome_of(document, name: str = "") -> Outcome:
    """Return (resolved, reward, exit status, the agent's patch), with None or "" for the unknown
    ones.

    They are read from the document. If `name` is its file in agent/ of a Harbor trial, the trial's
    result.json is read, too, unless another file continues the document, or the file is a
    summarization. For an attempt, its record.json is read, too. An unreadable file counts as
    missing.
    """
    found = dict(_values(document))
    folder, file = Path(name).parent, Path(name).name
    is_part = "continued_trajectory_ref" in found or ".summarization" in file
    if folder.name == "agent" and not is_part:
        with suppress(OSError, ValueError, BrokenRecord):
            found |= _read(folder.parent, "result.json")
    elif file == Attempt.places["trajectory"]:
        with suppress(OSError, ValueError, LookupError, BrokenRecord):
            found |= _read(folder, Attempt.places["outcome"])
            found |= {"exit_status": found["status"], "resolved": found["status"] == SOLVED}
    reward = found.get("reward")
    is_number = isinstance(reward, (int, float)) and abs(reward) <= float_info.max
    resolved = found.get("resolved", found.get("target"))
    texts = [found.get("exit_status"), next(filter(None, map(found.get, PATCHES)), None)]
    return (TRUTHS.get(str(resolved).lower()), float(reward) if is_number else None,
            *(text if isinstance(text, str) else "" for text in texts))


def _read(folder: Path, name: str) -> dict:
    return dict(_values(row_in(read_bounded(inside(folder, name), MAX_ROW_BYTES))))


def _values(document) -> Iterator[tuple[str, object]]:
    """Yield the keys and values of the objects under NESTED, then the object's own."""
    document = decoded(document)
    if isinstance(document, dict):
        for name in NESTED:
            yield from _values(document.get(name))
        yield from ((key, value) for key, value in document.items() if value is not None)
