"""Read the origins of exported judged turns: the turns, the duel and its outcome."""
from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import duckdb

import codedata
from codedata.disk.store import digest
from codedata.errors import RunStopped, Trouble
from codedata.export.card import card_values
from codedata.export.collect import SIDES, ExportTurn, ExportTurns, masked_in
from codedata.export.exports import MIN_ROWS, VALIDATION, Export
from codedata.export.provenance import Provenance
from codedata.llm.embedded import NOISE
from codedata.records import DUEL, Duel, Score
from codedata.settings import EMBEDDED_MODEL, ExportSettings, ReportSettings
from codedata.terminal import named


def read_duel(root: Path) -> Duel | None:
    """Return the outcome of a root's duel; None if there is none."""
    try:
        return Duel.read(_duel_path(root), "king", "Run: python validate.py", complete=False)
    except FileNotFoundError:
        return None


def duel_refusal(root: Path, rejected_too: bool) -> Trouble | None:
    """Return the error that stops the export of judged turns, or None.

    A challenger that is not better than the king has won its turns by chance, so they are not
    exported. Raise BrokenRecord if the outcome cannot be read.
    """
    duel = read_duel(root)
    if rejected_too:
        return None
    todo = ("To export all the same, with a warning in the cards: python export.py "
            "--rejected-too (or rejected_too in [export]).")
    path = str(_duel_path(root))
    if duel is None:
        return Trouble("is not there: the duel is not decided yet.", path,
                       f"Run: python validate.py; then: python report.py\n  {todo}")
    if duel.accepted:
        return None
    return RunStopped(f"says that the duel was not accepted: {'; '.join(duel.reasons)}. Its turns "
                      "are not exported. That is an outcome, no fault.", path, todo, exit_code=0)


def _duel_path(root: Path) -> Path:
    return root / Score.directory / DUEL


@dataclass(frozen=True)
class TurnOrigins:
    """Hold the origins of the rows in all formats of turns."""

    directory: Path           # export/
    settings: ExportSettings
    buckets: ReportSettings
    turns: ExportTurns
    duel: Duel | None
    provenance: Provenance
    kept_settings: tuple[str, ...] = (
        "dpo_min_margin", "duplicate_similarity", "licence", "licences", "max_chars",
        "secrets_in_tests", "validation")   # the keys of [export] that are in the manifest
    template: str = "card.md"   # file of the package
    noun = "rows"
    card_values = staticmethod(card_values)

    @property
    def n_broken(self) -> int:
        """Return the number of records that cannot be read."""
        return self.turns.n_broken

    def is_noise(self, turns: Collection[ExportTurn]) -> bool:
        """Return whether the embedded model judged the duel or made an answer of these turns."""
        judges = self.duel.models if self.duel else set()
        return EMBEDDED_MODEL in judges.union(*(self.provenance.models(turns, side)
                                                for side in SIDES))

    def inputs(self, export: Export) -> dict:
        """Return the part of the manifest that lists the turns of the rows."""
        duel = self.duel
        split_of = {row.turn: row.split for row in export.rows}
        n_rows = Counter(row.turn for row in export.rows)
        return {
            "made_by": f"codedata {codedata.__version__}, duckdb {duckdb.__version__}",
            "buckets": asdict(self.buckets),
            **({"tool_calls": "native"} if export.form.has_calls else {}),
            "duel": duel and {"digest": digest(duel.raw), "accepted": duel.accepted,
                              "margin": duel.margin, "lcb": duel.lcb},
            "turns": [{"name": turn.name, "bucket": turn.bucket, "instance_id": turn.instance_id,
                       "digest": turn.digest,
                       **({"rejected_digest": turn.rejected}
                          if turn.rejected and "rejected" in export.form.answers else {}),
                       "commit_digest": turn.commit,
                       "split": split, "rows": n_rows[turn], "masked": turn.masked}
                      for turn, split in split_of.items()]}

    def summary(self, exports: Sequence[Export]) -> tuple[str, Counter, list[str]]:
        """Return the number of records read, the masked secrets, and warnings to read before
        training on the sets.
        """
        n_in = ", ".join(f"{bucket}/ {n:,}" for bucket, n in self.turns.in_bucket.items())
        noun = "trajectories" if exports[0].form.whole else "turns"
        head = f"{n_in} → {self.directory.name}/   {len(self.turns.turns):,} {noun}"
        return head, masked_in(self.turns.turns), [*self._warnings(exports)]

    def _warnings(self, exports: Sequence[Export]) -> Iterator[str]:
        turns = self.turns
        unsplit = [export.form.name for export in exports if not export.of_split(VALIDATION)]
        if turns.edited:
            yield f"edited by hand, exported as they are: {named(turns.edited)}"
        if turns.left_out.counts()["not up to date"]:
            yield ("answers or scores were changed since the buckets were filled: first run "
                   "python report.py")
        if not turns.turns:
            yield "no turn came through: the sets are empty"
        elif self.settings.validation and unsplit:
            yield (f"no validation rows in {', '.join(unsplit)}: a set of fewer than {MIN_ROWS} "
                   "rows is not split, nor one whose repositories are all in train")
        if n := sum(turn.winner == "challenger" and turn.score < 50 + self.settings.dpo_min_margin
                    for turn in turns.turns):
            yield f"pairs that lead by less than dpo_min_margin (final/, chosen with reasons): {n}"
        for export in exports:
            if len(labels := {row.label for row in export.rows if row.label}) == 1:
                yield f"{export.form.name}: every label is {labels.pop()}, and KTO needs both"
        if not (exports[0].form.whole or (self.duel and self.duel.accepted)):
            yield "the duel was not accepted, which the cards say"
        if self.is_noise(turns.turns):
            yield NOISE
