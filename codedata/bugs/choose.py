"""Choose the bugs that `bug_inject.py scale` writes, from the good candidates, in an order drawn by
SEED. Caps limit the bugs of a repository and of a set of failing tests (settings in [bug]), and the
bugs of a function and of an operator (constants).

Bugs are taken in rounds, one bug of each function a round. In a round, these come last: bugs that
more than MAX_FAILING tests notice, and bugs of functions with more than MAX_SURVIVORS survivors. A
survivor is a change of the function that no test noticed when screening tried it. The other bugs
are taken from each operator in turn. Of one operator, bugs that break fewer tests come first, but
bugs that break only one test come last. A bug is taken if it fits under all caps.

Bugs on disk that are still good, and bugs that the proof has refused, come before all others: no
proven bug is lost or paid for twice, further candidates only add bugs, and a refused bug is not
replaced. An interrupted run makes the same choice as a complete one.
"""
from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from codedata.bugs.generate import SEED
from codedata.bugs.instances import (
    READ,
    candidate_in,
    is_of_agent,
    is_of_scale,
    name_of,
    operator_of,
    scale_candidates,
)
from codedata.disk.store import Derived, Store, digest, digests_of
from codedata.errors import BrokenRecord
from codedata.records import BUG, Candidate, Verdicts
from codedata.run.stage import Reads
from codedata.settings import BugSettings
from codedata.tasks.prove.outcomes import SURVIVES
from codedata.tasks.stages import Maker
from codedata.texts import safe_name

MAX_PER_SYMBOL = 3   # bugs in a function
MAX_PER_OPERATOR = 20   # bugs of an operator in a repository
MAX_SURVIVORS = 2   # changes of a function that no test noticed
MAX_FAILING = 10    # tests that notice a bug: few people would commit one that more tests notice
STAGE = "bug_inject.report"   # the stage that writes the chosen bugs
AGAIN = "Delete the file and run: python bug_inject.py scale --steps validate"


@dataclass(frozen=True, slots=True)
class GoodCandidate:
    """Hold the fields of a good candidate that decide the choice."""

    name: str          # name of its task: <repo_name>.<operator>.<8 hex digits of the change>
    instance_id: str   # the repository's name, under which ledgers list the candidate
    operator: str
    place: str         # id of the changed function, or the file's path if the change is in none
    failing: str       # digest of the names of the failing tests
    n_failing: int
    digests: dict[str, str]   # digests of the candidate's fields
    survives: bool = False    # no test noticed it: not a bug, but counted for its place

    @property
    def change(self) -> str:
        """Return the last part of the name: a digest of the normalised diff."""
        return self.name.rpartition(".")[2]


def chosen_in(root: Path, settings: BugSettings) -> Reads:
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
            bugs[name] = candidate_in(
                batch, candidate, name, "operator", operator=operator_of(candidate),
                screened=verdict["evidence"])
        return bugs

    def is_kept(name: str) -> bool:
        """Return whether a name belongs to a repository with a file that could not be read."""
        unread = tuple(f"{item.rpartition('.')[0]}." for item in chosen.unread)
        return name.startswith(unread)

    chosen = Derived(verdicts, bugs_of, also_reads=(candidates,), facts_of=_facts_of, keeps=is_kept,
                     choose=lambda candidates: _choose_all(root, settings, candidates.values()))
    return Reads(chosen, READ, made_by="bug_inject.validate")


def _choose_all(root: Path, settings: BugSettings,
                candidates: Iterable[GoodCandidate]) -> Iterator[str]:
    """Yield the names of the chosen bugs, one repository after another."""
    bugs = Maker(root, BUG).tasks().open()
    of_agents = {(name.rpartition(".agent-")[0], name.rpartition(".")[2])
                 for name in bugs.names() if is_of_agent(name)}
    refused = {name for stage, name in bugs.ledger.excluded if stage == STAGE}
    by_repository = defaultdict(list)
    for good in candidates:
        if (good.instance_id, good.change) not in of_agents:
            by_repository[good.instance_id].append(good)
    for _, several in sorted(by_repository.items()):
        for good in choose(several, settings, refused.union(bugs.names())):
            yield good.name


def _facts_of(candidate: Candidate) -> GoodCandidate:
    words, screened = candidate.words, candidate.words["screened"]
    failing = screened.get("failing")
    failing = failing if isinstance(failing, list) else []
    return GoodCandidate(
        candidate.name, candidate.instance_id, operator_of(words),
        words.get("symbol") or str(words.get("path", "")), digest(failing), len(failing),
        digests_of(candidate), screened.get("verdict") == SURVIVES[0])


# the choice --------------------------------------------------------------------------------------

def choose(candidates: Iterable[GoodCandidate], settings: BugSettings,
           kept: Collection[str]) -> list[GoodCandidate]:
    """Return the bugs chosen from a repository's good candidates: all in `kept`, and others that
    fit under the caps together with these. Take only the first of equal changes, and no
    survivor."""
    order = in_order([*candidates])
    alone = _added((), order, settings)   # if nothing were kept; these come after the kept bugs
    return _added(_added((good for good in order if good.name in kept), alone, settings),
                  order, settings)


def _added(taken: Iterable[GoodCandidate], order: list[GoodCandidate],
           settings: BugSettings) -> list[GoodCandidate]:
    """Return the bugs in `taken`, and bugs in `order` that fit under the caps together with them.
    In round n, a place may have n bugs."""
    by_change = {good.change: good for good in taken}
    counts = Counter(cap for good in by_change.values() for cap in _caps(good, settings))
    for n in range(1, MAX_PER_SYMBOL + 1):
        for good in order:
            caps = _caps(good, settings, n)
            if good.change not in by_change and all(
                    counts[cap] < most for cap, most in caps.items()):
                by_change[good.change] = good
                counts.update([*caps])   # add 1 to the count of each group
    return [*by_change.values()]


def _caps(good: GoodCandidate, settings: BugSettings, per_symbol: int = MAX_PER_SYMBOL
          ) -> dict[tuple[str, str], int]:
    """Return {(kind of group, group): the most bugs of the group} for the groups of a bug."""
    return {("instances", ""): settings.max_instances,
            ("symbol", good.place): per_symbol,
            ("operator", good.operator): MAX_PER_OPERATOR,
            ("failing", good.failing): settings.max_per_failing_set}


def in_order(candidates: Sequence[GoodCandidate]) -> list[GoodCandidate]:
    """Return the candidates, without survivors, in the order of choice."""
    counts: Counter = Counter()
    survivors = Counter(one.place for one in candidates if one.survives)
    turns = []
    for good in sorted((one for one in candidates if not one.survives), key=lambda good: (
            good.n_failing == 1, good.n_failing, digest([SEED, good.name]), good.name)):
        kind = survivors[good.place] > MAX_SURVIVORS or good.n_failing > MAX_FAILING, good.operator
        counts[kind] += 1
        turns.append((kind[0], counts[kind], digest([SEED, good.operator]), good.name, good))
    return [good for *_, good in sorted(turns)]
