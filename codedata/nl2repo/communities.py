"""Find functions that the same tests reach, and draw what is stripped together: the step
`relationship` of nl2repo.py. Its record may be edited: `candidates` are what is tried.

Tests and functions are a graph, whose communities (Louvain's) belong together. A function that more
than half of the tests reach is in none.
"""
from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import reduce
from operator import or_

from codedata.analysis.analyse import COVERAGE_FIELDS
from codedata.errors import Excluded
from codedata.nl2repo.sources import sources_of
from codedata.nl2repo.strip import Strippable
from codedata.progress import plural
from codedata.records import Communities, Coverage, SourceCopy, StripCandidate
from codedata.run_loop import Stage
from codedata.settings import Settings
from codedata.states import Reads, Writes
from codedata.store import Store

MAX_SHARE = 0.5            # of the counted tests that a function of a community is reached by
FIELDS = ("repo", "repo_name", "base_commit", "eligible", "left_out", "communities", "candidates")


class Relater:
    """Find the communities of repositories; make() is the item function."""

    def __init__(self, settings: Settings):
        self._root, self._settings = settings.root, settings.nl2repo
        self._rules: Counter[str] = Counter()   # functions that this run has left out

    def stage(self) -> Stage:
        """Return the step."""
        nl2repo = self._settings
        return Stage(
            "nl2repo.relationship", make=self.make, finish=self.finish,
            title="nl2repo.communities",
            identity={"seed": nl2repo.seed, "max_functions": nl2repo.max_functions,
                      "max_candidates": nl2repo.max_candidates},
            reads=Reads(Store(self._root, SourceCopy), ("base_commit", "files"),
                        made_by="nl2repo.extract"),
            joined=(Reads(Store(self._root, Coverage), COVERAGE_FIELDS,
                          made_by="analyze.coverage", same="base_commit"),),
            writes=Writes(Store(self._root, Communities), FIELDS),
            cost_note="no calls: no model is asked", after="nl2repo.py --steps extract,coverage",
            then="nl2repo.py --steps doc_part2,doc_part1,doc")

    def make(self, copy: SourceCopy, coverage: Coverage) -> Communities:
        """Return the communities of a repository. Raise Excluded where nothing can be stripped."""
        name, nl2repo = copy.repo_name, self._settings
        if coverage.contexts == "none":
            raise Excluded(f"which test runs what is not known: {coverage.reason}.", name)
        strippable = Strippable(sources_of(self._root, name), coverage)
        left_out = {rule: sorted(ids) for rule, ids in sorted(strippable.left_out.items())}
        self._rules.update({rule: len(ids) for rule, ids in left_out.items()})
        if not strippable.ids:
            raise Excluded(f"has no function that can be stripped: {_counts(left_out)}.", name)
        found = communities(sets_of(strippable, coverage), nl2repo.max_functions, nl2repo.seed)
        drawn = draw(strippable, found, nl2repo.max_candidates, nl2repo.seed)
        return Communities(copy.repo, name, copy.base_commit, strippable.ids, left_out, found,
                           drawn)

    def finish(self) -> list[str]:
        """Return lines for the terminal: how many functions each rule has left out."""
        return [f"      left out: {plural(n, 'function')}: {rule}"
                for rule, n in self._rules.most_common()]


def _counts(left_out: Mapping[str, list[str]]) -> str:
    return ", ".join(f"{rule} ({len(ids)})" for rule, ids in left_out.items()) or "it has none"


# communities -------------------------------------------------------------------------------------

Sets = Counter[tuple[str, ...]]   # of functions that a test reaches: how many tests do


def sets_of(strippable: Strippable, coverage: Coverage) -> Sets:
    """Return the sets of functions that counted tests reach, of those that can be stripped and that
    few enough tests reach."""
    by_test = defaultdict(list)
    n_tests = reduce(or_, strippable.tests.values()).bit_count()
    for id in sorted(strippable.ids):
        mask = strippable.tests[id]
        if mask.bit_count() <= MAX_SHARE * n_tests:
            for i in range(len(coverage.tests)):
                if mask >> i & 1:
                    by_test[i].append(id)
    return Counter(map(tuple, by_test.values()))


def communities(sets: Sets, max_functions: int, seed: int) -> list[list[str]]:
    """Return the communities of functions, each sorted, those with the most functions first; equal
    sets and seeds give equal ones. One that cannot be divided any more is cut into pieces."""
    found = []
    queue = [*_louvain(sets, seed)]
    for some in queue:   # which grows
        if len(some) <= max_functions:
            found.append(some)
            continue
        parts = [*_louvain(_within(sets, {*some}), seed)]
        if len(parts) == 1:
            parts = [some[i:i + max_functions] for i in range(0, len(some), max_functions)]
        queue += parts
    return sorted(found, key=lambda some: (-len(some), some))


def _within(sets: Sets, ids: set[str]) -> Sets:
    """Return the sets without functions outside of some."""
    inner: Sets = Counter()
    for some, n in sets.items():
        if kept := tuple(id for id in some if id in ids):
            inner[kept] += n
    return inner


def _louvain(sets: Sets, seed: int) -> Iterator[list[str]]:
    """Yield the communities that Louvain's method finds. Tests that reach the same functions are
    one node, whose edges weigh as much as there are tests."""
    import networkx
    ids = sorted({id for some in sets for id in some})
    nodes = {id: n for n, id in enumerate(ids)}   # numbers: the order of texts in a set varies
    graph = networkx.Graph()
    graph.add_nodes_from(nodes.values())
    for k, (some, n) in enumerate(sorted(sets.items()), len(nodes)):
        graph.add_weighted_edges_from((k, nodes[id], n) for id in some)
    for found in networkx.community.louvain_communities(graph, seed=seed):
        if members := [ids[node] for node in sorted(found) if node < len(ids)]:
            yield members


# candidates --------------------------------------------------------------------------------------

def draw(strippable: Strippable, found: Iterable[list[str]], max_candidates: int,
         seed: int) -> list[StripCandidate]:
    """Return what is tried: all functions together, those of each module and of each community, and
    as many single ones as fit, drawn over all ranks. Of equal sets the first is taken."""
    by_module = defaultdict(list)
    for id in strippable.ids:
        by_module[strippable.entity(id).path].append(id)
    several = [("package", strippable.ids), *(("module", ids) for ids in by_module.values()),
               *(("community", ids) for ids in found)]
    ranked = sorted(strippable.ids, key=lambda id: (-strippable.tests[id].bit_count(), id))
    order = [*several, *(("function", [id]) for id in random.Random(seed).sample(
        ranked, len(ranked)))]
    taken: dict[tuple[str, ...], StripCandidate] = {}
    for kind, ids in order:
        key = tuple(sorted(ids))
        if (len(ids) > 1 or kind == "function") and len(taken) < max_candidates:
            taken.setdefault(key, {"kind": kind, "functions": [*key]})
    return [*taken.values()]
