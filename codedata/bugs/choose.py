"""Choose the bugs that `bug_inject.py scale` writes: from what screening calls good, within the
caps of [bug], in an order drawn by its seed.

Each bug has one place in that order: subtle before blunt, then the first of each operator, the
second of each, and so on; of one operator, those that fewer tests notice first. Whoever fits
under all caps is taken. A bug that is on disk and still good, and one that the proof has refused,
come first whatever the order: what was proven is neither lost nor paid for twice, further
candidates only add to it, and a bug that was refused is not replaced by others. A run that was cut
short comes to the same choice as one that was not.
"""
from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from codedata.bugs.instances import is_of_agent
from codedata.bugs.validate import operator_of
from codedata.errors import BrokenRecord
from codedata.ledger import FileState
from codedata.records import Bug, BugVerdict, Candidate, Candidates, Verdicts, safe_name
from codedata.settings import BugSettings
from codedata.store import Store, View, digest

STAGE = "bug_inject.report"   # which writes what is chosen
CHANGE = re.compile("[0-9a-f]{8}")
AGAIN = "Delete the file and run: python bug_inject.py scale --steps validate"


@dataclass(frozen=True, slots=True)
class Good:
    """Hold what is known of a good candidate."""

    name: str          # its instance id: <repo_name>.<operator>.<8 hex digits of the change>
    repo_name: str
    operator: str
    place: str         # id of the changed function, or the path where it is in none
    failing: str       # digest of the tests that notice it
    n_failing: int
    is_subtle: bool
    item: str = ""     # its file in bug/_candidates/, and
    i: int = 0         # its number there
    digests: tuple[str, str] = ("", "")   # of its base commit and its diff

    @property
    def change(self) -> str:
        """Return the digits that stand for its normalised diff."""
        return self.name.rpartition(".")[2]


@dataclass(frozen=True)
class ChosenBug:
    """Hold a chosen candidate with its verdict."""

    name: str
    repo_name: str
    base_commit: str
    diff: str
    method: str
    candidate: Candidate
    verdict: BugVerdict
    usage: dict

    @property
    def instance_id(self) -> str:
        """Return the name under which ledgers list it: the repository's."""
        return self.repo_name


class Chosen(View):
    """Hold the chosen bugs of all repositories, by instance id."""

    cls, place, derived = Verdicts, f"{Verdicts.directory}/", True

    def __init__(self, root: Path, settings: BugSettings):
        super().__init__()
        self._candidates, self._verdicts = Store(root, Candidates), Store(root, Verdicts)
        self._bugs = Store(root, Bug)
        self._settings = settings
        self._index: dict[str, Good] = {}
        self._unread: set[str] = set()   # repositories of which not all is known

    def open(self) -> Chosen:
        """Choose among all good verdicts, and return self."""
        stores = self._candidates.open(), self._verdicts.open(), self._bugs.open()
        self.broken = [*stores[0].broken, *stores[1].broken]
        found = defaultdict(list)
        for name in self._verdicts.names():
            if not is_of_agent(name) and name in self._candidates:
                for good in self._good_of(name):
                    found[good.repo_name].append(good)
        of_agents = {name for name in self._bugs.names() if is_of_agent(name)}
        refused = {name for stage, name in self._bugs.ledger.excluded if stage == STAGE}
        kept = refused.union(self._bugs.names())
        for repo_name in sorted(found):
            known = {name.rpartition(".")[2] for name in of_agents
                     if name.startswith(f"{repo_name}.agent-")}
            news = [good for good in found[repo_name] if good.change not in known]
            self._index |= {good.name: good for good in choose(news, self._settings, kept)}
        return self

    def _good_of(self, item: str) -> list[Good]:
        """Return the good candidates of a file whose verdicts are those of what stands there."""
        try:
            record, verdicts = self._candidates.read(item), self._verdicts.read(item).verdicts
        except BrokenRecord as e:
            self.broken.append(e)
            self._unread.add(item.rpartition(".")[0])
            return []
        commit, repo_name = digest(record.base_commit), record.repo_name
        good = [_good(repo_name, item, i, candidate, verdict, commit)
                for i, (candidate, verdict) in enumerate(
                    zip(record.candidates, verdicts, strict=False))
                if verdict["good"] and verdict["diff"] == digest(candidate["diff"])]
        if odd := [one.name for one in good if not is_name(one.name, repo_name, one.operator)]:
            self.broken.append(BrokenRecord(
                f"has an instance of another name: {odd[0][:80]!r}.",
                str(self._verdicts.path(item)), AGAIN))
            self._unread.add(repo_name)
            return []
        return good

    def names(self):
        """Return the ids of what is chosen, in the order of the choice."""
        return self._index.keys()

    def __contains__(self, name: str) -> bool:
        return name in self._index

    def covers(self, name: str) -> bool:
        """Return whether an instance is chosen, may be in a file that cannot be read, or is an
        agent's."""
        return (name in self._index or is_of_agent(name)
                or any(name.startswith(f"{repo_name}.") for repo_name in self._unread))

    def facts(self, name: str) -> FileState:
        """Return the digests of what the proof reads; the file is not opened again for it."""
        good = self._index[name]
        return FileState(good.repo_name, dict(zip(("base_commit", "diff"), good.digests,
                                                  strict=True)))

    def read(self, name: str) -> ChosenBug:
        """Return a chosen candidate. Raise BrokenRecord where its file has changed meanwhile."""
        good = self._index[name]
        record = self._candidates.read(good.item)
        verdicts = self._verdicts.read(good.item).verdicts
        if good.i >= min(len(record.candidates), len(verdicts)):
            raise BrokenRecord("is shorter than it was.", str(self._candidates.path(good.item)),
                               "Run again.")
        candidate = record.candidates[good.i]
        return ChosenBug(name, record.repo_name, record.base_commit, candidate["diff"],
                         record.method, candidate, verdicts[good.i], record.usage)

    def failed(self, stage: str, name: str):
        """Return the failed last attempt of a stage to judge its file, or None."""
        return self._verdicts.failed(stage, self._index[name].item)


def _good(repo_name: str, item: str, i: int, candidate: Candidate, verdict: BugVerdict,
          commit: str) -> Good:
    evidence, name = verdict["evidence"], verdict["instance_id"]
    failing = evidence.get("failing")
    failing = failing if isinstance(failing, list) else []
    return Good(name, repo_name, operator_of(candidate),
                candidate.get("symbol") or str(candidate.get("path", "")), digest(failing),
                len(failing), evidence.get("grade") != "blunt", item, i, (commit, verdict["diff"]))


def is_name(name: str, repo_name: str, operator: str) -> bool:
    """Return whether a name may be that of a bug of this repository and operator."""
    start = f"{repo_name}.{operator}."
    return (name.startswith(start) and CHANGE.fullmatch(name.removeprefix(start)) is not None
            and safe_name(name) and not is_of_agent(name))


# the choice --------------------------------------------------------------------------------------

def choose(found: Iterable[Good], settings: BugSettings, kept: Collection[str]) -> list[Good]:
    """Return the chosen ones of a repository's good candidates: those in `kept`, and whoever fits
    beside them. Of one change only the first is taken."""
    taken: dict[str, Good] = {}   # by change
    counts: Counter = Counter()
    order = [*in_order(found, settings.seed)]
    for good in (good for good in order if good.name in kept):
        taken.setdefault(good.change, good)
    for good in taken.values():
        counts.update(cap for cap, _ in _caps(good, settings))
    for good in order:
        caps = _caps(good, settings)
        if good.change in taken or any(counts[cap] >= most for cap, most in caps):
            continue
        n_blunt = counts["blunt", ""] + 1
        if good.is_subtle or n_blunt <= settings.max_trivial_share * (len(taken) + 1):
            taken[good.change] = good
            counts.update(cap for cap, _ in caps)
    return [*taken.values()]


def _caps(good: Good, settings: BugSettings) -> list[tuple[tuple[str, str], float]]:
    """Return what a bug counts for, each with the most that there may be."""
    return [(("instances", ""), settings.max_instances),
            (("symbol", good.place), settings.max_per_symbol),
            (("operator", good.operator), settings.max_per_operator),
            (("failing", good.failing), settings.max_per_failing_set),
            (("subtle" if good.is_subtle else "blunt", ""), float("inf"))]


def in_order(found: Iterable[Good], seed: int) -> Iterator[Good]:
    """Yield candidates in the order of their places."""
    by_operator = defaultdict(list)
    for good in found:
        by_operator[good.is_subtle, good.operator].append(good)
    places = []
    for (is_subtle, operator), several in by_operator.items():
        several.sort(key=lambda good: (good.n_failing, digest([seed, good.name]), good.name))
        places += [((not is_subtle, n, digest([seed, operator])), good)
                   for n, good in enumerate(several)]
    return (good for _, good in sorted(places, key=lambda place: (*place[0], place[1].name)))
