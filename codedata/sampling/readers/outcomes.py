"""Read how a trajectory ended, by the keys that rows and files of agents have for it.

Those of `info` are of SWE-agent and mini-swe-agent, `report` and `test_result` of OpenHands;
`rewards` is in the result.json that Harbor writes beside the folder of a trajectory. Beside the
trajectory of an attempt of solve.py lies its record.json.
"""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from sys import float_info

from codedata.bounded import MAX_ROW_BYTES, inside, read_bounded, row_in
from codedata.errors import BrokenRecord
from codedata.records import SOLVED, Attempt
from codedata.sampling.readers.chat import decoded

NESTED = ("info", "report", "test_result", "verifier_result", "rewards")
TRUTHS = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}
PATCHES = ("model_patch", "generated_patch", "submission", "git_patch")
Outcome = tuple[bool | None, float | None, str, str]


def outcome_of(document, name: str = "") -> Outcome:
    """Return (resolved, reward, exit status, the agent's patch); None or "" for what nothing tells.

    They are in the document or, if `name` is its file in agent/ of a trial of Harbor, in the
    result.json there, unless another file continues it or it summarizes another; or in the
    record.json of an attempt. A file that cannot be read tells nothing.
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
    """Yield the keys and values of an object, after those of the objects under NESTED."""
    document = decoded(document)
    if isinstance(document, dict):
        for name in NESTED:
            yield from _values(document.get(name))
        yield from ((key, value) for key, value in document.items() if value is not None)
