"""Read the provenance of an export: the source data set, the models, and the outcome of the duel.

These facts are published, so names that are paths on this machine are cut to their last part.
"""
from __future__ import annotations

from collections import Counter
from pathlib import Path, PurePath
from urllib.parse import urlsplit

import orjson

from codedata.bounded import read_bounded
from codedata.errors import Trouble
from codedata.export.collect import ExportTurn
from codedata.ledger import LEDGER, Ledger, calls_of, is_sound, read_lines
from codedata.records import DUEL, Answer, Attempts, Prompt, Score
from codedata.store import shards_of

DUEL_KEYS = ("mode", "order", "accepted", "reasons", "judges", "challenger_score", "king_score", "margin", "lcb",
             "turns", "win_margin", "gate_alpha", "resamples")   # the keys that are read
UNKNOWN_SOURCE = "not told by a ledger"
STAGES = {"king": "king", "challenger": "ch"}   # side → the stage that made it
FILE_ENDINGS = (".parquet", ".jsonl", ".json", ".gz", ".gguf")


def read_duel(root: Path) -> dict | None:
    """Return score/_duel.json, or None where it is missing. Raise Trouble where it is broken."""
    path = Path(root) / Score.directory / DUEL
    try:
        duel = orjson.loads(read_bounded(path))
        for key in DUEL_KEYS:
            duel[key]
        for judge in duel["judges"].values():
            judge["score"], judge["parse_rate"]
        if duel["mode"] != "king" or (duel["margin"] is not None and not all(
                isinstance(duel[key], (int, float)) for key in ("margin", "lcb", "challenger_score", "king_score"))):
            raise ValueError("its numbers are none, or it is not of king and challenger")
        return duel
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError) as e:
        raise Trouble(f"is not the outcome of a duel: {e}", str(path), "Run: python validate.py") from e


class Provenance:
    """Read the source and the models of each turn from the ledgers."""

    def __init__(self, root: Path):
        self._prompts = Ledger(root / Prompt.directory).details
        self._models: dict[tuple[str, str], str] = {}   # (stage, item) → the model of its newest call
        self._refined: set[str] = set()                 # turns whose challenger is an attempt of ch.py --refine
        self._cut: set[tuple[str, str]] = set()         # (stage, item) whose request had to be cut
        attempts = _Models(root / Attempts.directory, {})
        for directory in shards_of(root / Answer.directory):
            found = _Models(directory, attempts.models)
            self._models |= found.models
            self._refined |= found.refined
            self._cut |= found.cut

    def sources(self, turns: list[ExportTurn]) -> Counter:
        """Return {"data set, seed": number of turns}."""
        found: Counter = Counter()
        for turn in turns:
            detail = self._prompts.get(("prompt", turn.name.rpartition("_")[0]), {})
            seed = f", seed {detail['seed']}" if "seed" in detail else ""
            found[public(str(detail.get("source", UNKNOWN_SOURCE))) + seed] += 1
        return found

    def models(self, turns: list[ExportTurn], side: str) -> Counter:
        """Return {model: number of turns} of one side; later edits by a person do not matter."""
        return Counter(public(self._models.get((STAGES[side], turn.name), UNKNOWN_SOURCE)) for turn in turns)

    def refined(self, turns: list[ExportTurn]) -> int:
        """Return how many turns have a challenger's answer from ch.py --refine."""
        return sum(turn.name in self._refined for turn in turns)

    def cut(self, turns: list[ExportTurn]) -> int:
        """Return how many turns either side answered from a history whose middle was left out."""
        return sum(any((stage, turn.name) in self._cut for stage in STAGES.values()) for turn in turns)


class _Models:
    """Read the ledger of a directory of answers. A refined answer has the model of its attempt."""

    def __init__(self, directory: Path, attempts: dict[tuple[str, str], str]):
        self.models: dict[tuple[str, str], str] = {}
        self.refined: set[str] = set()
        self.cut: set[tuple[str, str]] = set()
        for line in read_lines(directory / LEDGER):
            if not is_sound(line):
                continue
            key = line["stage"], line["item"]
            if calls := calls_of(line):
                self.models[key] = calls[-1]["model"]
                (self.cut.add if line.get("cut") else self.cut.discard)(key)
                if key[0] == STAGES["challenger"]:
                    self.refined.discard(key[1])
            elif (line.get("detail") or {}).get("refined"):
                self.models[key] = attempts.get(key, UNKNOWN_SOURCE)
                self.refined.add(key[1])


def public(name: str) -> str:
    """Return the last part of a name that looks like a local path or URL.

    Names of models and of data sets on the Hub stay as they are.
    """
    path = PurePath(urlsplit(name).path if "://" in name else name)
    return path.name if path.is_absolute() or ".." in path.parts or path.suffix in FILE_ENDINGS else name
