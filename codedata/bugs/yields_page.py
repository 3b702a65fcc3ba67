"""Count the candidates and their outcomes by operator, family, language and repository, and build
the page bug/_report.html. The counts come from bug/ and task/ alone: candidates, verdicts, bugs,
and the ledger's lines of bugs that the proof refused.

codedata/page/ assembles the HTML file; yields_page.js beside this file lays it out. Equal
directories give equal bytes.
"""
from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from codedata.bugs.choose import STAGE, chosen_in
from codedata.bugs.instances import bug_tasks, is_of_scale, operator_of
from codedata.code.entities import language_of
from codedata.errors import BrokenRecord
from codedata.layouts import write_atomic
from codedata.page.builder import build, shortened
from codedata.progress import plural
from codedata.records import BugReport, Candidates, Object, Task, Verdicts
from codedata.settings import BugSettings
from codedata.store import Store, digest, known
from codedata.texts import text_of

PAGE = "_report.html"
NAME_CHARS = 120
GROUPS = ("operator", "family", "language", "repository", "method")
# what becomes of a candidate: the verdict of screening
OUTCOMES = ("good", "survives", "same_error", "timeout", "other", "not judged")
# Counts of candidates. `refused`: good by screening, but refused by the proof. `subtle` and
# `other_tests` count written bugs: subtle ones, and those whose failing tests were others in
# screening than in the proof.
COUNTS = ("candidates", *OUTCOMES, "chosen", "refused", "written", "subtle", "other_tests",
          "screening_s", "proof_s")
Groups = dict[str, dict[str, Counter]]   # in each of GROUPS, the counts of each name


@dataclass(frozen=True, slots=True)
class CandidateOutcome:
    """Hold the screening result of a candidate, and the groups in which it is counted."""

    groups: tuple[str, ...]   # the candidate's name in each of GROUPS
    name: str                 # instance id of a good candidate, else ""
    verdict: str
    seconds: float


def outcomes_in(root: Path) -> Iterator[CandidateOutcome]:
    """Yield the outcome of each candidate's screening. Files that cannot be read are left out."""
    candidates = Store(root, Candidates, only=is_of_scale).open()
    verdicts = Store(root, Verdicts).open()
    for name in candidates.names():
        try:
            record = candidates.read(name)
            judged = verdicts.read(name) if name in verdicts else None
        except BrokenRecord:
            continue
        rows = judged.verdicts if judged else []
        # the seconds of a candidate do not include the warm-up of its container
        own = [_seconds(one["evidence"]) for one in rows]
        shared = max(0.0, judged.seconds - sum(own)) / len(rows) if rows else 0.0
        for candidate, verdict in zip_longest(record.candidates, rows[:len(record.candidates)]):
            groups = (operator_of(candidate), str(candidate.get("family") or ""),
                      language_of(str(candidate.get("path", ""))), record.repo_name,
                      record.method)
            if verdict is None or verdict["diff"] != digest(candidate["diff"]):
                yield CandidateOutcome(groups, "", "not judged", 0.0)
                continue
            evidence = verdict["evidence"]
            yield CandidateOutcome(groups, verdict["instance_id"] if verdict["good"] else "",
                       "good" if verdict["good"] else str(evidence.get("verdict", "other")),
                       _seconds(evidence) + shared)


def _seconds(evidence: Object) -> float:
    seconds = evidence.get("seconds")
    return float(seconds) if isinstance(seconds, int | float) else 0.0


def yields_of(root: Path, settings: BugSettings) -> tuple[Counter, Groups, Counter, Counter]:
    """Return the counts (COUNTS) of all candidates, the counts of each name in each of GROUPS, the
    number of the proof's refusals for each reason, and the number of candidates for each screening
    verdict that is not in OUTCOMES."""
    bugs, chosen = bug_tasks(root).open(), chosen_in(root, settings).open()
    refused = {name: attempt.error for (stage, name), attempt in bugs.ledger.excluded.items()
               if stage == STAGE and name in chosen and name not in bugs}
    total, others = Counter(), Counter()
    groups: Groups = {group: defaultdict(Counter) for group in GROUPS}
    for one in outcomes_in(root):
        outcome = one.verdict if one.verdict in OUTCOMES else "other"
        counts = Counter({"candidates": 1, outcome: 1, "chosen": int(one.name in chosen),
                          "refused": int(one.name in refused), "screening_s": one.seconds})
        if one.name in chosen and (bug := known(bugs, one.name)):
            counts.update(_of_bug(bug))
        if one.verdict not in OUTCOMES:
            others[one.verdict] += 1
        total.update(counts)
        for group, name in zip(GROUPS, one.groups, strict=True):
            groups[group][name].update(counts)
    return total, groups, Counter(refused.values()), others


def _of_bug(bug: Task) -> Counter:
    """Return the counts of a written bug."""
    proof = bug.proof or {}
    screened = proof.get("screened") or {}
    return Counter({"written": 1, "subtle": int(bug.about.get("grade") == "subtle"),
                    "other_tests": int(not screened.get("same_tests", True)),
                    "proof_s": _seconds(proof)})


# what is shown -----------------------------------------------------------------------------------

def write_yields(root: Path, settings: BugSettings) -> list[str]:
    """Write the page and return [a line that names it]; return [] if there are no candidates."""
    total, *others = yields_of(root, settings)
    if not total:
        return []
    path = Path(root, BugReport.directory, PAGE)
    write_atomic(path, page(total, *others))
    return [f"      yields by operator: {path.relative_to(root)}"]


def yields_in_words(root: Path, settings: BugSettings) -> list[str]:
    """Return the counts of candidates and outcomes as lines for the terminal; an empty list if
    there are no candidates."""
    total, _, _, others = yields_of(root, settings)
    whys = others + Counter({"no test fails": total["survives"], "timed out": total["timeout"],
                             "the same error in each test": total["same_error"]})
    listed = ", ".join(f"{name} {n:,}" for name, n in whys.most_common()) or "none"
    return [summed_up(total), f"refused by screening: {listed}; good ones are chosen "
            "up to the caps of [bug] (max_per_failing_set and others)"] if total else []


def summed_up(n: Counter) -> str:
    """Return the counts of all candidates in a line."""
    judged = n["candidates"] - n["not judged"]
    share = f" ({n['good'] / judged:.0%} of these)" if judged else ""
    subtle = f" ({n['subtle'] / n['written']:.0%} subtle)" if n["written"] else ""
    return (f"{plural(n['candidates'], 'candidate')}, judged {judged:,}: good {n['good']:,}{share},"
            f" survived {n['survives']:,}, same error {n['same_error']:,}, "
            f"timeouts {n['timeout']:,}, other {n['other']:,}; "
            f"chosen {n['chosen']:,}, written {n['written']:,}{subtle}, "
            f"refused by the proof {n['refused']:,}")


def page(total: Counter, groups: Groups, refused: Counter, others: Counter) -> bytes:
    """Return the page as HTML."""
    ordered = {group: sorted(named.items(), key=lambda one: (-one[1]["candidates"], one[0]))
               for group, named in groups.items()}
    data = {
        "total": _row("", total), "refused": refused.most_common(), "others": others.most_common(),
        "groups": [[group, [_row(name, counts) for name, counts in named]]
                   for group, named in ordered.items()]}
    return build("Bug yields", data, script=text_of(__package__, "yields_page.js"),
                 style=text_of(__package__, "yields_page.css"))


def _row(name: str, counts: Counter) -> Object:
    return {"name": shortened(name, NAME_CHARS), **{key: round(counts[key], 1) for key in COUNTS}}
