"""Find functions that belong together, because the same tests reach them or they call each other,
and draw candidates, the sets of functions to strip together: the step `relationship` of nl2repo.py.
A user may edit `candidates` in its record.

Communities are found by Louvain's method in the graph of functions and of their common tests and
calls. A function that more than half of the tests reach is in no community.
"""
from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from functools import partial, reduce
from operator import or_

from codedata.analysis.analyse import coverage_reads
from codedata.code.entities import branches_of
from codedata.disk.store import Store
from codedata.errors import Excluded
from codedata.nl2repo.facts import facts_about, is_describable
from codedata.nl2repo.sources import sources_of
from codedata.nl2repo.strip import EMPTY, Strippable
from codedata.records import (
    Analysis,
    Communities,
    Coverage,
    Object,
    RepoFacts,
    SourceCopy,
    StripCandidate,
)
from codedata.run.stage import Reads, Stage, Writes
from codedata.settings import Settings
from codedata.terminal import plural

NOT_DESCRIBED = "too few facts: only a model can describe it (--writer llm)"
MAX_SHARE = 0.5            # share of the counted tests that may reach a function of a community
SEED = 0                   # for communities and for drawing candidates
MAX_FUNCTIONS = 40         # a larger community is divided again
MAX_CANDIDATES = 400       # candidates of a repository
MAX_LINES = 2_000          # lines of source to rebuild from an empty folder
FIELDS = ("repo", "repo_name", "base_commit", "eligible", "left_out", "communities", "candidates")


def communities_stage(settings: Settings, from_empty: bool) -> Stage:
    """Return the stage that finds communities and draws candidates; with `from_empty`, the only
    candidate is the whole source."""
    root, nl2repo = settings.root, settings.nl2repo
    rules: Counter[str] = Counter()   # {rule: number of functions left out by it in this run}
    return Stage(
        "nl2repo.relationship", make=partial(relate, settings, from_empty, rules),
        title="nl2repo.communities", is_local=True,
        finish=lambda: [f"      left out: {plural(n, 'function')}: {rule}"
                        for rule, n in rules.most_common()],
        identity={"seed": SEED, "max_functions": MAX_FUNCTIONS,
                  "max_candidates": MAX_CANDIDATES, "writer": nl2repo.writer,
                  "from_empty": from_empty},
        reads=Reads(Store(root, SourceCopy), ("base_commit", "files"), made_by="nl2repo.extract"),
        also_reads=(coverage_reads(root),
                Reads(Store(root, Analysis), ("edges",), same="base_commit", optional=True),
                Reads(Store(root, RepoFacts), ("facts",), made_by="nl2repo.facts",
                      same="base_commit", optional=True)),
        writes=Writes(Store(root, Communities), FIELDS),
        after="nl2repo.py --steps extract,coverage",
        then="nl2repo.py --steps doc_part2,doc_part1,doc")


def relate(settings: Settings, from_empty: bool, rules: Counter[str], copy: SourceCopy,
           coverage: Coverage, analysis: Analysis | None, recorded: RepoFacts | None
           ) -> Communities:
    """Return the communities of a repository, and add to `rules` how many functions each rule
    leaves out. If no model writes documents, functions that only a model can describe are left out.
    Raise Excluded if nothing can be stripped."""
    name, nl2repo = copy.repo_name, settings.nl2repo
    if coverage.contexts == "none":
        raise Excluded(f"it is not known which test runs which function: {coverage.reason}.", name)
    strippable = Strippable(sources_of(settings.root, name), coverage, from_empty)
    n_lines = sum(text.count(b"\n") for text in strippable.emptied()[0].values())
    if from_empty and n_lines > MAX_LINES:
        raise Excluded(f"{n_lines:,} lines of source are more than the {MAX_LINES:,} that are "
                       "rebuilt from an empty folder.", name)
    if nl2repo.writer == "template":
        facts = {id: facts_about(id, recorded.facts if recorded else []) for id in strippable.ids}
        strippable.leave_out(NOT_DESCRIBED, [id for id in strippable.ids if not (
            facts[id] or (strippable.entity(id).docstring and "._" not in id.replace("::", "."))
            if from_empty else is_describable(id, facts[id]))])
    left_out = {rule: sorted(ids) for rule, ids in sorted(strippable.left_out.items())}
    rules.update({rule: len(ids) for rule, ids in left_out.items()})
    if not strippable.ids:
        counts = ", ".join(f"{rule} ({len(ids)})" for rule, ids in left_out.items())
        raise Excluded(f"has no function that can be stripped: {counts or 'it has none'}.", name)
    sets = with_calls(sets_of(strippable, coverage), analysis.edges if analysis else [])
    groups = communities(sets, MAX_FUNCTIONS)
    candidates: list[StripCandidate] = [{"kind": EMPTY, "functions": strippable.ids}]
    if not from_empty:
        candidates = draw(strippable, groups, MAX_CANDIDATES, SEED)
    return Communities(copy.repo, name, copy.base_commit, strippable.ids, left_out, groups,
                       candidates)


# communities -------------------------------------------------------------------------------------

Sets = Counter[tuple[str, ...]]   # {functions, such as all that a test reaches: their weight}


def sets_of(strippable: Strippable, coverage: Coverage) -> Sets:
    """Return the sets of functions that counted tests reach. They hold only functions that can be
    stripped and that at most MAX_SHARE of the tests reach."""
    by_test = defaultdict(list)
    n_tests = reduce(or_, strippable.tests.values()).bit_count()
    for id in sorted(strippable.ids):
        mask = strippable.tests[id]
        if mask.bit_count() <= MAX_SHARE * n_tests:
            for i in range(len(coverage.tests)):
                if mask >> i & 1:
                    by_test[i].append(id)
    return Counter(map(tuple, by_test.values()))


def with_calls(sets: Sets, edges: Iterable[Object]) -> Sets:
    """Return the sets, and further sets: the caller and callee of each resolved call."""
    known = {id for functions in sets for id in functions}
    # A call weighs as much as the tests of an average function, in small and large suites. In
    # three projects 80 % of the calls are then within communities, 59 % without this weight.
    weight = sum(n * len(functions) for functions, n in sets.items()) / max(1, len(known))
    found = Counter(sets)
    found.update(dict.fromkeys((
        tuple(sorted(ends)) for edge in edges if edge["certainty"] == "resolved"
        and (ends := {edge["caller"], edge["callee"]}) <= known), weight))
    return found


def communities(sets: Sets, max_functions: int) -> list[list[str]]:
    """Return the communities of functions, each sorted, the largest first. Equal sets give equal
    communities. A community that is too large is divided again or, if that fails, cut into pieces.
    """
    groups = []
    queue = [*_louvain(sets)]
    for group in queue:   # the queue grows during the loop
        if len(group) <= max_functions:
            groups.append(group)
            continue
        parts = [*_louvain(_within(sets, {*group}))]
        if len(parts) == 1:
            parts = [group[i:i + max_functions] for i in range(0, len(group), max_functions)]
        queue += parts
    return sorted(groups, key=lambda group: (-len(group), group))


def _within(sets: Sets, ids: set[str]) -> Sets:
    """Return the sets without functions outside of `ids`."""
    inner: Sets = Counter()
    for functions, n in sets.items():
        if inside := tuple(id for id in functions if id in ids):
            inner[inside] += n
    return inner


def _louvain(sets: Sets) -> Iterator[list[str]]:
    """Yield the communities that Louvain's method finds in the graph of functions and of sets. A
    set of two functions is an edge; any other set is a node with an edge to each of its functions.
    An edge has the weight of its set, such as the number of tests that reach exactly its functions.
    """
    import networkx
    ids = sorted({id for functions in sets for id in functions})
    nodes = {id: n for n, id in enumerate(ids)}   # numbers, since the order of texts in a set
                                                  # varies
    graph = networkx.Graph()
    graph.add_nodes_from(nodes.values())
    for k, (functions, n) in enumerate(sorted(sets.items()), len(nodes)):
        ends = [nodes[id] for id in functions]
        edges = [ends] if len(ends) == 2 else [(k, end) for end in ends]
        graph.add_edges_from(edges, weight=n)
    for community in networkx.community.louvain_communities(graph, seed=SEED):
        if group := [ids[node] for node in sorted(community) if node < len(ids)]:
            yield group


# candidates --------------------------------------------------------------------------------------

def draw(strippable: Strippable, groups: Iterable[list[str]], max_candidates: int,
         seed: int) -> list[StripCandidate]:
    """Return the candidates: all functions together, the functions of each module and of each
    community, and as many single functions as fit, drawn at random with the weight tests ×
    branches. Equal sets are taken once."""
    by_module = defaultdict(list)
    for id in strippable.ids:
        by_module[strippable.entity(id).path].append(id)
    branches, rng = branches_of(strippable.files.values()), random.Random(seed)
    # the smallest of exponential draws come first: a weighted draw without replacement
    singles = sorted(strippable.ids, key=lambda id: rng.expovariate(
        strippable.tests[id].bit_count() * branches[id]))
    order = [("package", strippable.ids), *(("module", ids) for ids in by_module.values()),
             *(("community", ids) for ids in groups), *(("function", [id]) for id in singles)]
    candidates: dict[tuple[str, ...], StripCandidate] = {}
    for kind, ids in order:
        key = tuple(sorted(ids))
        if (len(ids) > 1 or kind == "function") and len(candidates) < max_candidates:
            candidates.setdefault(key, {"kind": kind, "functions": [*key]})
    return [*candidates.values()]
