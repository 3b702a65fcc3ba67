"""Count what candidates come to, by operator, family, language and repository, and build the page
bug/_report.html of it. All is read from bug/ alone: candidates, verdicts, bugs, and the ledger's
lines of those that the proof has refused.

codedata/page/ assembles the HTML file; yields_page.js beside this file lays it out. Equal
directories give equal bytes.
"""
from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from codedata.bugs.choose import STAGE, Chosen
from codedata.bugs.instances import is_of_agent
from codedata.bugs.validate import operator_of
from codedata.code.entities import language_of
from codedata.errors import BrokenRecord
from codedata.layouts import write_atomic
from codedata.page import charts
from codedata.page.builder import build, shortened
from codedata.progress import plural
from codedata.records import Bug, Candidates, Object, Verdicts
from codedata.settings import BugSettings
from codedata.store import Store, digest
from codedata.texts import text_of

PAGE = "_report.html"
MAX_BARS = 40        # in a chart: those with the most candidates
NAME_CHARS = 120
GROUPS = ("operator", "family", "language", "repository", "method")
# what becomes of a candidate: the verdict of screening, and its colour
OUTCOMES = {"good": "good", "survives": "survived", "timeout": "timed", "other": "other",
            "not judged": "unjudged"}


@dataclass
class Yield:
    """Count what became of some candidates."""

    outcomes: Counter = field(default_factory=Counter)   # by OUTCOMES
    others: Counter = field(default_factory=Counter)     # verdicts that OUTCOMES does not name
    chosen: int = 0
    written: int = 0
    refused: int = 0          # by the proof, though screening calls it good
    subtle: int = 0           # of those that are written
    other_tests: int = 0      # of those that are written: screening saw other tests fail
    screening_s: float = 0.0
    proof_s: float = 0.0      # of those that are written

    @property
    def candidates(self) -> int:
        """Return how many candidates there are."""
        return self.outcomes.total()


@dataclass(frozen=True, slots=True)
class Fate:
    """Hold what became of one candidate."""

    groups: tuple[str, ...]   # its names in GROUPS
    name: str                 # its instance id; "" where it is not judged
    verdict: str
    seconds: float


def fates_in(root: Path) -> Iterator[Fate]:
    """Yield what screening said of each candidate; files that cannot be read are left out."""
    candidates, verdicts = Store(root, Candidates).open(), Store(root, Verdicts).open()
    for name in candidates.names():
        if is_of_agent(name):
            continue
        try:
            record = candidates.read(name)
            judged = verdicts.read(name).verdicts if name in verdicts else []
        except BrokenRecord:
            continue
        for i, candidate in enumerate(record.candidates):
            verdict = judged[i] if i < len(judged) else None
            groups = (operator_of(candidate), str(candidate.get("family") or ""),
                      language_of(str(candidate.get("path", ""))), record.repo_name,
                      record.method)
            if verdict is None or verdict["diff"] != digest(candidate["diff"]):
                yield Fate(groups, "", "not judged", 0.0)
                continue
            evidence = verdict["evidence"]
            seconds = evidence.get("seconds")
            yield Fate(groups, verdict["instance_id"] if verdict["good"] else "",
                       "good" if verdict["good"] else str(evidence.get("verdict", "other")),
                       float(seconds) if isinstance(seconds, int | float) else 0.0)


def yields_of(root: Path, settings: BugSettings
              ) -> tuple[Yield, dict[str, dict[str, Yield]], Counter]:
    """Return the yield of all candidates, that of each name in each of GROUPS, and how often the
    proof gave each reason to refuse one."""
    bugs, chosen = Store(root, Bug).open(), Chosen(root, settings).open()
    refused = {name: attempt.error for (stage, name), attempt in bugs.ledger.excluded.items()
               if stage == STAGE and name in chosen and name not in bugs}
    total, groups = Yield(), {group: defaultdict(Yield) for group in GROUPS}
    for fate in fates_in(root):
        counted = [total, *(groups[group][name] for group, name in
                            zip(GROUPS, fate.groups, strict=True))]
        _count(counted, fate, chosen, bugs, refused)
    return total, groups, Counter(refused.values())


def _count(counted: Iterable[Yield], fate: Fate, chosen: Chosen, bugs: Store,
           refused: dict[str, str]) -> None:
    """Add one candidate to its yields."""
    bug = bugs.read(fate.name) if fate.name in chosen and fate.name in bugs else None
    screened = bug.evidence.get("screened") if bug else None
    for one in counted:
        one.outcomes[fate.verdict if fate.verdict in OUTCOMES else "other"] += 1
        if fate.verdict not in OUTCOMES:
            one.others[fate.verdict] += 1
        one.screening_s += fate.seconds
        one.chosen += int(fate.name in chosen)
        one.refused += int(fate.name in refused)
        if bug:
            one.written += 1
            one.subtle += int(bug.grade == "subtle")
            one.other_tests += int(not (screened or {}).get("same_tests", True))
            one.proof_s += bug.evidence.get("seconds") or 0.0


# what is shown -----------------------------------------------------------------------------------

def write_yields(root: Path, settings: BugSettings) -> list[str]:
    """Write the page, and return the line that sums it up; no line where there is no candidate."""
    total, groups, refused = yields_of(root, settings)
    if not total.candidates:
        return []
    path = Path(root, Bug.directory, PAGE)
    write_atomic(path, page(total, groups, refused))
    return [f"      {summed_up(total)}", f"      yields by operator: {path.relative_to(root)}"]


def summed_up(total: Yield) -> str:
    """Return the yield of all candidates in a line."""
    n, judged = total.outcomes, total.candidates - total.outcomes["not judged"]
    share = f" ({n['good'] / judged:.0%})" if judged else ""
    subtle = f" ({total.subtle / total.written:.0%} subtle)" if total.written else ""
    return (f"{plural(total.candidates, 'candidate')}: good {n['good']:,}{share}, survived "
            f"{n['survives']:,}, timeouts {n['timeout']:,}, other {n['other']:,}, not judged "
            f"{n['not judged']:,}; chosen {total.chosen:,}, written {total.written:,}{subtle}, "
            f"refused by the proof {total.refused:,}")


def page(total: Yield, groups: dict[str, dict[str, Yield]], refused: Counter) -> bytes:
    """Return the page as HTML."""
    ordered = {group: sorted(yields.items(), key=lambda one: (-one[1].candidates, one[0]))
               for group, yields in groups.items()}
    data = {
        "total": _row("", total), "refused": refused.most_common(),
        "others": total.others.most_common(),
        "groups": [[group, [_row(name, one) for name, one in several]]
                   for group, several in ordered.items()]}
    drawn = {group: charts.bars(
        f"Candidates by {group}", [name or "(none)" for name, _ in ordered[group][:MAX_BARS]],
        [charts.Series(outcome, colour, [one.outcomes[outcome] or None
                                         for _, one in ordered[group][:MAX_BARS]])
         for outcome, colour in OUTCOMES.items()])
        for group in ("operator", "repository")}
    return build("What candidates come to", data, charts=drawn,
                 script=text_of(__package__, "yields_page.js"),
                 style=text_of(__package__, "yields_page.css"))


def _row(name: str, one: Yield) -> Object:
    return {"name": shortened(name, NAME_CHARS), "candidates": one.candidates,
            **{outcome: one.outcomes[outcome] for outcome in OUTCOMES},
            "chosen": one.chosen, "written": one.written, "refused": one.refused,
            "subtle": one.subtle, "other_tests": one.other_tests,
            "screening_s": round(one.screening_s, 1), "proof_s": round(one.proof_s, 1)}
