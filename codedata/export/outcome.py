"""Read the outcome of the duel, and refuse to export the turns of one that was not accepted."""
from __future__ import annotations

from pathlib import Path

from codedata.errors import RunStopped, Trouble
from codedata.records import DUEL, Duel, Score
from codedata.settings import Settings


def read_duel(root: Path) -> Duel | None:
    """Return the outcome of a root's duel; None where there is none."""
    try:
        return Duel.read(_path(root), "king", "Run: python validate.py", complete=False)
    except FileNotFoundError:
        return None


def duel_refusal(settings: Settings) -> Trouble | None:
    """Return the error that stops the export of judged turns, or None.

    A challenger that is not better than the king has won its turns by chance, so they are not
    exported. Raise BrokenRecord if the outcome cannot be read.
    """
    duel = read_duel(settings.root)
    if settings.export.rejected_too:
        return None
    todo = ("To export all the same, with a warning in the cards: python export.py "
            "--rejected-too (or rejected_too in [export]).")
    path = str(_path(settings.root))
    if duel is None:
        return Trouble("is not there: nobody has decided the duel.", path,
                       f"Run: python validate.py; then: python report.py\n  {todo}")
    if duel.accepted:
        return None
    return RunStopped(f"says that the duel was not accepted: {'; '.join(duel.reasons)}. Its turns "
                      "are not exported. That is an outcome, no fault.", path, todo, exit_code=0)


def _path(root: Path) -> Path:
    return root / Score.directory / DUEL
