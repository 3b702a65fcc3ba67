"""Count the candidates of `scale` and their outcomes. The counts come only from bug/ and task/:
candidates, verdicts, bugs, and the ledger's lines about bugs that the proof refused.
"""
from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from statistics import median_low

from codedata.bugs.choose import STAGE, chosen_in
from codedata.bugs.instances import bug_tasks, is_of_scale
from codedata.disk.store import Store, digest, known
from codedata.errors import BrokenRecord
from codedata.records import Candidates, Object, Verdicts
from codedata.settings import BugSettings
from codedata.terminal import plural

SIZES = ("hunks", "files", "functions", "broken", "distance")   # in proofs
WORDS = {"survives": "no test fails", "timeout": "timed out",   # verdicts on the terminal
         "same_error": "the same error in each test"}


def verdicts_in(root: Path) -> Iterator[str]:
    """Yield the verdict of screening on each candidate. Skip files that cannot be read."""
    candidates = Store(root, Candidates, only=is_of_scale).open()
    verdicts = Store(root, Verdicts).open()
    for name in candidates.names():
        try:
            record = candidates.read(name)
            judged = verdicts.read(name).verdicts if name in verdicts else []
        except BrokenRecord:
            continue
        for candidate, verdict in zip_longest(record.candidates, judged[:len(record.candidates)]):
            if verdict is None or verdict["diff"] != digest(candidate["diff"]):
                yield "not judged"
            elif verdict["good"]:
                yield "good"
            else:
                yield str(verdict["evidence"].get("verdict", "other"))


def yields_of(root: Path, settings: BugSettings) -> tuple[Counter, dict[str, int], list[Object]]:
    """Return how many candidates got each verdict, how many of the good ones are chosen, refused by
    the proof and written, and the proofs of the written ones."""
    bugs, chosen = bug_tasks(root).open(), [*chosen_in(root, settings).open().names()]
    refused = {name for stage, name in bugs.ledger.excluded if stage == STAGE and name not in bugs}
    proofs = [bug.proof or {} for name in chosen if (bug := known(bugs, name))]
    return Counter(verdicts_in(root)), {
        "chosen": len(chosen), "refused": len(refused.intersection(chosen)),
        "written": len(proofs)}, proofs


def yields_in_words(root: Path, settings: BugSettings) -> list[str]:
    """Return the counts of candidates and verdicts as lines for the terminal; an empty list if
    there are no candidates."""
    verdicts, after, proofs = yields_of(root, settings)
    if not verdicts:
        return []
    n_judged = verdicts.total() - verdicts["not judged"]
    n_good = verdicts["good"]
    share = f" ({n_good / n_judged:.0%} of these)" if n_judged else ""
    refused = Counter({WORDS.get(verdict, verdict): n for verdict, n in verdicts.items()
                       if verdict not in ("good", "not judged")})
    listed = ", ".join(f"{name} {n:,}" for name, n in refused.most_common()) or "none"
    return [f"{plural(verdicts.total(), 'candidate')}, judged {n_judged:,}: good {n_good:,}{share};"
            f" chosen {after['chosen']:,}, written {after['written']:,}{sizes_of(proofs)}, "
            f"refused by the proof {after['refused']:,}",
            f"refused by screening: {listed}; good ones are chosen "
            "up to the caps of [bug] (max_per_failing_set and others)"]


def sizes_of(proofs: list[Object]) -> str:
    """Return the medians of the SIZES of bugs, as a text in brackets; "" if nothing is known."""
    known = {key: [proof[key] for proof in proofs if proof.get(key)] for key in SIZES}
    listed = ", ".join(f"{key} {median_low(some)}" for key, some in known.items() if some)
    return listed and f" (median: {listed})"
