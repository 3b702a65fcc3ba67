"""Choose, from the good candidates, the bugs that `bug_inject.py scale` writes: within the caps of
[bug], in an order drawn by its seed.

Bugs in functions whose tests notice wrong code come first: screening has tried other changes of the
same function, and counts its survivors, the changes that no test noticed. Then subtle bugs come
before blunt ones, then the first bug of each operator, the second of each, and so on. Of one
operator's bugs, the ones that break fewer tests come first. A bug is taken if it fits under all
caps. Bugs on disk that are still good, and bugs that the proof has refused, come before all others.
So a proven bug is neither lost nor paid for twice, further candidates only add bugs, and a refused
bug is not replaced. An interrupted run makes the same choice as a complete one.
"""
from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from operator import itemgetter
from pathlib import Path

from codedata.bugs.instances import (
    bug_tasks,
    is_of_agent,
    is_of_scale,
    name_of,
    operator_of,
    scale_candidates,
)
from codedata.disk.store import Derived, Store, digest
from codedata.errors import BrokenRecord
from codedata.records import Verdicts, safe_name
from codedata.settings import BugSettings
from codedata.tasks.kinds import Candidate
from codedata.tasks.prove.suite_outcomes import SURVIVES

MAX_SURVIVORS = 2   # a bug in a function with more of them comes last
STAGE = "bug_inject.report"   # the stage that writes the chosen bugs
AGAIN = "Delete the file and run: python bug_inject.py scale --steps validate"


@dataclass(frozen=True, slots=True)
class GoodCandidate:
    """Hold the data by which a good candidate is chosen."""

    name: str          # of its task: <repo_name>.<operator>.<8 hex digits of the change>
    instance_id: str   # the repository's name, under which ledgers list the candidate
    operator: str
    place: str         # id of the changed function, or the file's path if the change is in none
    failing: str       # digest of the names of the failing tests
    n_failing: int
    is_subtle: bool
    digests: dict[str, str]   # of the base commit and the diff, which the proof reads
    survives: bool = False    # no test noticed it: not a bug, but counted for its place
    n_survivors: int = 0      # at its place

    @property
    def change(self) -> str:
        """Return the last part of the name: a digest of the normalised diff."""
        return self.name.rpartition(".")[2]


def chosen_in(root: Path, settings: BugSettings) -> Derived:
    """Return the chosen bugs of all repositories, by instance id."""
    candidates = scale_candidates(root)
    verdicts = Store(root, Verdicts, only=is_of_scale)

    def bugs_of(item: str, record: Verdicts) -> dict[str, Candidate]:
        """Return {name: candidate} of a file's good candidates and survivors, leaving out diffs
        that were edited after the verdict. Raise BrokenRecord if a verdict's instance id differs
        from its candidate's name, belongs to an agent's bug, or is not a safe file name."""
        bugs = {}
        batch = candidates.read(item) if item in candidates else None
        for candidate, verdict in zip(batch.candidates if batch else (), record.verdicts,
                                      strict=False):
            survives = verdict["evidence"].get("verdict") == SURVIVES[0]
            if not (verdict["good"] or survives) or verdict["diff"] != digest(candidate["diff"]):
                continue
            name = name_of(batch.repo_name, candidate)
            if verdict["instance_id"] != name or is_of_agent(name) or not safe_name(name):
                raise BrokenRecord(
                    f"has a verdict with a wrong instance id: {verdict['instance_id'][:80]!r}.",
                    str(verdicts.path(item)), AGAIN)
            bugs[name] = Candidate(
                name, batch.repo_name, batch.base_commit, candidate["diff"], item, batch.method,
                words=candidate, screened=verdict["evidence"])
        return bugs

    def is_kept(name: str) -> bool:
        """Return whether a name belongs to a repository with a file that could not be read."""
        unread = tuple(f"{item.rpartition('.')[0]}." for item in chosen.unread)
        return name.startswith(unread)

    chosen = Derived(verdicts, bugs_of, joined=(candidates,), facts_of=_facts_of, keeps=is_kept,
                     choose=lambda candidates: _choose_all(root, settings, candidates.values()))
    return chosen


def _choose_all(root: Path, settings: BugSettings,
                candidates: Iterable[GoodCandidate]) -> Iterator[str]:
    """Yield the names of the chosen bugs, one repository after another."""
    bugs = bug_tasks(root).open()
    of_agents = {(name.rpartition(".agent-")[0], name.rpartition(".")[2])
                 for name in bugs.names() if is_of_agent(name)}
    refused = {name for stage, name in bugs.ledger.excluded if stage == STAGE}
    by_repository = defaultdict(list)
    for good in candidates:
        if (good.instance_id, good.change) not in of_agents:
            by_repository[good.instance_id].append(good)
    for _, several in sorted(by_repository.items()):
        survivors = Counter(one.place for one in several if one.survives)
        several = [replace(one, n_survivors=survivors[one.place]) for one in several
                   if not one.survives]
        for good in choose(several, settings, refused.union(bugs.names())):
            yield good.name


def _facts_of(candidate: Candidate) -> GoodCandidate:
    screened, words = candidate.screened, candidate.words
    failing = screened.get("failing")
    failing = failing if isinstance(failing, list) else []
    return GoodCandidate(
        candidate.name, candidate.repo_name, operator_of(words),
        words.get("symbol") or str(words.get("path", "")), digest(failing), len(failing),
        screened.get("grade") != "blunt",
        {"base_commit": digest(candidate.base_commit), "diff": digest(candidate.diff)},
        screened.get("verdict") == SURVIVES[0])


# the choice --------------------------------------------------------------------------------------

def choose(candidates: Iterable[GoodCandidate], settings: BugSettings,
           kept: Collection[str]) -> list[GoodCandidate]:
    """Return the bugs chosen from a repository's good candidates: all in `kept`, and others that
    fit under the caps together with these. Of equal changes only the first is taken."""
    taken: dict[str, GoodCandidate] = {}   # by change
    counts: Counter = Counter()
    order = in_order(candidates, settings)
    for good in sorted(order, key=lambda good: good.name not in kept):
        caps = _caps(good, settings, len(taken))
        fits = all(counts[cap] + 1 <= most for cap, most in caps)
        if good.change not in taken and (fits or good.name in kept):
            taken[good.change] = good
            counts.update(cap for cap, _ in caps)
    return [*taken.values()]


def _caps(good: GoodCandidate, settings: BugSettings,
          n_taken: int) -> list[tuple[tuple[str, str], float]]:
    """Return (group, cap) for each group in which a bug counts. A blunt bug is in one more group.
    """
    caps = [(("instances", ""), settings.max_instances),
            (("symbol", good.place), settings.max_per_symbol),
            (("operator", good.operator), settings.max_per_operator),
            (("failing", good.failing), settings.max_per_failing_set)]
    blunt = [(("blunt", ""), settings.max_trivial_share * (n_taken + 1))]
    return caps if good.is_subtle else caps + blunt


def in_order(candidates: Iterable[GoodCandidate], settings: BugSettings) -> list[GoodCandidate]:
    """Return candidates in the order in which they are chosen."""
    by_operator, seed = defaultdict(list), settings.seed
    for good in candidates:
        is_weak = good.n_survivors > MAX_SURVIVORS
        by_operator[is_weak, not good.is_subtle, good.operator].append(good)
    places = []
    for (*kind, operator), several in by_operator.items():
        several.sort(key=lambda good: (good.n_failing, digest([seed, good.name]), good.name))
        places += [((*kind, n, digest([seed, operator]), good.name), good)
                   for n, good in enumerate(several)]
    return [good for _, good in sorted(places, key=itemgetter(0))]
