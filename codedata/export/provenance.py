"""Read the provenance of an export from the ledgers, and of whole trajectories from their records:
the source data set and the models.

These facts are published, so names that are paths on this machine are cut to their last part.
"""
from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePath
from urllib.parse import urlsplit

from codedata.disk.ledger import Ledger, calls_of, sound_lines
from codedata.disk.store import known_in, shards_of
from codedata.export.collect import ExportTurn
from codedata.records import Answer, Prompt, Score, SourceTrajectory

UNKNOWN_SOURCE = "unknown to the ledgers"
STAGES = {"king": "king", "challenger": "ch"}   # side → the stage that made it
# how the challenger's answer was made, and how a turn was judged
FACTS = ("informed", "chosen", "tested", "placebo", "unrecorded", "drawn", "ran", "read")
FILE_ENDINGS = (".parquet", ".jsonl", ".json", ".gz", ".gguf")


class Provenance:
    """Read the source and the models of each turn from the ledgers."""

    def __init__(self, root: Path):
        self._root = root
        self._prompts = Ledger(root / Prompt.directory).details
        # by (stage, item): {model: of the newest call, cut: history was cut, how: the variant}
        self._made = defaultdict(dict)
        for directory in shards_of(root / Answer.directory):
            for line in sound_lines([directory]):
                made = self._made[line["stage"], line["item"]]
                if calls := calls_of(line):
                    made |= {"model": calls[-1]["model"], "cut": line.get("cut")}
                made["how"] = line.get("how", made.get("how"))

    def sources(self, turns: Iterable[ExportTurn]) -> Iterator[str]:
        """Yield "data set, seed" of each turn."""
        for turn in turns:
            whole = known_in(self._root, SourceTrajectory, turn.name)
            of_turn = "prompt", turn.name.rpartition("_")[0]   # the file of the turn's prompt
            detail = vars(whole) if whole else self._prompts.get(of_turn, {})
            seed = f", seed {detail['seed']}" if "seed" in detail else ""
            yield public(str(detail.get("source", UNKNOWN_SOURCE))) + seed

    def models(self, turns: Iterable[ExportTurn], side: str) -> Iterator[str]:
        """Yield the model of one side of each turn, also of a turn that a user edited."""
        for turn in turns:
            yield public(self._made[STAGES[side], turn.name].get("model", UNKNOWN_SOURCE))

    def by_fact(self, turns: Iterable[ExportTurn]) -> dict[str, list[ExportTurn]]:
        """Return {fact: the turns that it applies to}, without facts that apply to no turn."""
        found = {fact: [] for fact in FACTS}
        for turn in turns:
            how = self._made[STAGES["challenger"], turn.name].get("how")
            if turn.n_picks is not None:
                how = "chosen" if turn.n_picks else "tested"
            score = known_in(self._root, Score, turn.name)
            judged = {"drawn" if entry.get("by_program") else "ran" if entry.get("ran") else "read"
                      for entry in (score.judges if score else ())}
            for fact in judged | {how if how in FACTS else "unrecorded"}:
                found[fact].append(turn)
        return {fact: some for fact, some in found.items() if some}

    def cut(self, turns: Iterable[ExportTurn]) -> int:
        """Return how many turns either side answered from a history shortened in the middle."""
        return sum(any(self._made[stage, turn.name].get("cut") for stage in STAGES.values())
                   for turn in turns)


def public(name: str) -> str:
    """Return the last part of a name that looks like a local path or URL.

    Names of models and of data sets on the Hub stay as they are.
    """
    path = PurePath(urlsplit(name).path if "://" in name else name)
    is_path = path.is_absolute() or ".." in path.parts or path.suffix in FILE_ENDINGS
    return path.name if is_path else name
