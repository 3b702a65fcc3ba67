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

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path

from codedata.bugs.instances import is_of_agent
from codedata.bugs.validate import ScaleCandidates, name_of, operator_of
from codedata.errors import BrokenRecord
from codedata.ledger import FileState
from codedata.records import Bug, BugVerdict, Candidate, Verdicts, safe_name
from codedata.settings import BugSettings
from codedata.store import Store, View, digest

STAGE = "bug_inject.report"   # which writes what is chosen
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
    item: str          # its file in bug/_candidates/
    digests: dict[str, str]   # of its base commit and its diff

    @property
    def change(self) -> str:
        """Return the digits that stand for its normalised diff."""
        return self.name.rpartition(".")[2]


@dataclass(frozen=True)
class ChosenBug:
    """Hold a good candidate with its verdict."""

    name: str
    repo_name: str
    base_commit: str
    diff: str
    method: str
    candidate: Candidate
    verdict: BugVerdict

    @property
    def instance_id(self) -> str:
        """Return the name under which ledgers list it: the repository's."""
        return self.repo_name


class Chosen(View):
    """Hold the chosen bugs of all repositories, by instance id."""

    cls, place, derived = Verdicts, f"{Verdicts.directory}/", True

    def __init__(self, root: Path, settings: BugSettings):
        super().__init__()
        self._candidates, self._verdicts = ScaleCandidates(root), Store(root, Verdicts)
        self._bugs = Store(root, Bug)
        self._settings = settings
        self._index: dict[str, Good] = {}
        self._unread: set[str] = set()   # repositories of which not all is known

    def open(self) -> Chosen:
        """Choose among all good verdicts, and return self."""
        self.broken = [*self._candidates.open().broken, *self._verdicts.open().broken]
        bugs = self._bugs.open()
        of_agents = {(name.rpartition(".agent-")[0], name.rpartition(".")[2])
                     for name in bugs.names() if is_of_agent(name)}
        refused = {name for stage, name in bugs.ledger.excluded if stage == STAGE}
        found = defaultdict(list)
        for item in self._candidates.names():
            for good in self._good_of(item) if item in self._verdicts else ():
                if (good.repo_name, good.change) not in of_agents:
                    found[good.repo_name].append(good)
        for repo_name in sorted(found):
            chosen = choose(found[repo_name], self._settings, refused.union(bugs.names()))
            self._index |= {good.name: good for good in chosen}
        return self

    def _good_of(self, item: str) -> list[Good]:
        """Return the good candidates of a file; none of one that cannot be read."""
        try:
            return [_good(item, bug) for bug in self._bugs_of(item)]
        except BrokenRecord as e:
            self.broken.append(e)
            self._unread.add(item.rpartition(".")[0])
            return []

    def _bugs_of(self, item: str) -> Iterator[ChosenBug]:
        """Yield the good candidates of a file whose verdicts are those of what stands there. Raise
        BrokenRecord where one has another name than its own."""
        record, verdicts = self._candidates.read(item), self._verdicts.read(item).verdicts
        for candidate, verdict in zip(record.candidates, verdicts, strict=False):
            if not verdict["good"] or verdict["diff"] != digest(candidate["diff"]):
                continue
            name = name_of(record.repo_name, candidate)
            if verdict["instance_id"] != name or is_of_agent(name) or not safe_name(name):
                raise BrokenRecord(
                    f"has an instance of another name: {verdict['instance_id'][:80]!r}.",
                    str(self._verdicts.path(item)), AGAIN)
            yield ChosenBug(name, record.repo_name, record.base_commit, candidate["diff"],
                            record.method, candidate, verdict)

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
        return FileState(good.repo_name, good.digests)

    def read(self, name: str) -> ChosenBug:
        """Return a chosen candidate. Raise BrokenRecord where its file has changed meanwhile."""
        item = self._index[name].item
        for bug in self._bugs_of(item):
            if bug.name == name:
                return bug
        raise BrokenRecord("has changed since.", str(self._candidates.path(item)), "Run again.")

    def failed(self, stage: str, name: str):
        """Return the failed last attempt of a stage to judge its file, or None."""
        return self._verdicts.failed(stage, self._index[name].item)


def _good(item: str, bug: ChosenBug) -> Good:
    evidence, candidate = bug.verdict["evidence"], bug.candidate
    failing = evidence.get("failing")
    failing = failing if isinstance(failing, list) else []
    return Good(bug.name, bug.repo_name, operator_of(candidate),
                candidate.get("symbol") or str(candidate.get("path", "")), digest(failing),
                len(failing), evidence.get("grade") != "blunt", item,
                {"base_commit": digest(bug.base_commit), "diff": bug.verdict["diff"]})


# the choice --------------------------------------------------------------------------------------

def choose(found: Iterable[Good], settings: BugSettings, kept: Collection[str]) -> list[Good]:
    """Return the chosen ones of a repository's good candidates: those in `kept`, and whoever fits
    beside them. Of one change only the first is taken."""
    taken: dict[str, Good] = {}   # by change
    counts: Counter = Counter()
    order = in_order(found, settings.seed)
    for good in sorted(order, key=lambda good: good.name not in kept):
        caps = _caps(good, settings, len(taken))
        fits = all(counts[cap] + 1 <= most for cap, most in caps)
        if good.change not in taken and (fits or good.name in kept):
            taken[good.change] = good
            counts.update(cap for cap, _ in caps)
    return [*taken.values()]


def _caps(good: Good, settings: BugSettings,
          n_taken: int) -> list[tuple[tuple[str, str], float]]:
    """Return what a bug counts for, each with the most that there may be with it."""
    caps = [(("instances", ""), settings.max_instances),
            (("symbol", good.place), settings.max_per_symbol),
            (("operator", good.operator), settings.max_per_operator),
            (("failing", good.failing), settings.max_per_failing_set)]
    blunt = [(("blunt", ""), settings.max_trivial_share * (n_taken + 1))]
    return caps if good.is_subtle else caps + blunt


def in_order(found: Iterable[Good], seed: int) -> list[Good]:
    """Return candidates in the order of their places."""
    by_operator = defaultdict(list)
    for good in found:
        by_operator[good.is_subtle, good.operator].append(good)
    places = []
    for (is_subtle, operator), several in by_operator.items():
        several.sort(key=lambda good: (good.n_failing, digest([seed, good.name]), good.name))
        places += [((not is_subtle, n, digest([seed, operator]), good.name), good)
                   for n, good in enumerate(several)]
    return [good for _, good in sorted(places, key=itemgetter(0))]
