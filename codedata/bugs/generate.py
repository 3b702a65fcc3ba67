"""Make the candidates of a repository by operators: the step `generate` of bug_inject.py scale.

All edits of its files are found at once and put into an order drawn by a seed: functions and
operators alternate, and functions that many tests reach come more often. A file of candidates is a
slice of that order. No code is run. Where coverage is known, edits of lines that no test runs are
left out.
"""
from __future__ import annotations

import random
import re
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from operator import itemgetter
from pathlib import Path, PurePosixPath
from typing import Any

from codedata.analysis.analyse import COVERAGE_FIELDS, is_counted
from codedata.code.entities import SourceFile, entities_of, is_text, tree_of
from codedata.code.operators import TABLES, SpanEdit, operators, unique_edits
from codedata.code.patches import SpanDiffs, diff_of, hunks_of, normalised
from codedata.disk.store import Derived, Store, digest
from codedata.errors import Excluded, ItemFailed
from codedata.records import Analysis, BugConfig, Candidates, Coverage, Environment, ProposedChange
from codedata.run.stage import Reads, Stage, Writes
from codedata.run.talk import begin_step
from codedata.sandbox.factory import SandboxFactory
from codedata.settings import Settings
from codedata.suites.contexts import Masks, add_lines, lines_by_test, mask_of, masks_of, sources_in
from codedata.suites.environments import labelled, open_environment
from codedata.suites.source import Files

METHOD = "procedural"
BATCH = 40                 # candidates in a file
PER_TASK = 4               # with --limit N, candidates made and screened for each task
MAX_BATCHES = 10_000       # of a repository
MAX_KEPT = 3               # repositories whose programs are kept in memory
HEAT = 3                   # the hottest function comes 1 + HEAT times as often as the coldest
EVERY = 25                 # an operator makes at most one candidate in this many if others are left
# fields of an environment that its source depends on
SOURCE = ("base_image", "base_commit", "image_name", "install_script")
GENERATED = re.compile(rb"(?m)@generated\b|^// Code generated .* DO NOT EDIT\.$")
MAX_HEAD = 2_000           # bytes at the start of a file that are searched for GENERATED
QUOTED = {'"', "\\"}       # git quotes a path that contains one of them


# the items ---------------------------------------------------------------------------------------

@dataclass(frozen=True)
class BatchItem(BugConfig):
    """Hold a repository's config, and the number of the file of candidates to make, from 1."""

    part: int = 0


def batch_items(root: Path, prefix: str, n_of: Callable[[BugConfig], int]) -> Derived:
    """Return the items of a strategy, <repo_name>.<prefix><number>: each is a repository's config
    with the number of one of its n_of(config) files. Items of other strategies count as kept, not
    as orphans."""
    def items_of(repo_name: str, config: BugConfig) -> dict[str, BatchItem]:
        return {f"{repo_name}.{prefix}{k}": BatchItem(**vars(config), part=k)
                for k in range(1, n_of(config) + 1)}

    def is_of_others(name: str) -> bool:
        part = name.rpartition(".")[2]
        return not (part.startswith(prefix) and part.removeprefix(prefix).isalnum())

    return Derived(Store(root, BugConfig), items_of, keeps=is_of_others)


# the step ----------------------------------------------------------------------------------------

def generate_stage(settings: Settings, strategy: str, stores: tuple[Derived | Store, ...],
                   n_of: Callable[[BugConfig], int],
                   make: Callable[..., tuple[list[ProposedChange], dict]],
                   cost_note: str = "", **more) -> Stage:
    """Return the stage that makes files of candidates by a strategy. n_of() returns the number of
    files of a repository; make() returns the candidates of an item and the usage of its calls.
    `stores` are the environments, the analyses and the coverages; a repository may lack an analysis
    or a coverage. A strategy with a `cost_note` pays for its candidates, so they do not become
    stale when an analysis or a coverage is edited."""
    def candidates(item: BatchItem, *joined) -> Candidates:
        made, usage = make(item, *joined)
        return Candidates(item.repo, item.repo_name, item.base_commit, strategy, made, "", usage,
                          0.0)

    environments, analyses, coverages = stores
    items = batch_items(settings.root, "" if strategy == METHOD else f"{strategy}-", n_of)
    return Stage(
        "bug_inject.generate", make=candidates, cost_note=cost_note,
        reads=Reads(items, tuple(BatchItem.__dataclass_fields__), made_by="bug_inject.register"),
        joined=(Reads(environments, SOURCE, made_by="env_setup", same="base_commit"),
                Reads(analyses, () if cost_note else ("entities", "edges", "hotspots"),
                      same="base_commit", optional=True),
                Reads(coverages, () if cost_note else COVERAGE_FIELDS, same="base_commit",
                      optional=True)),
        writes=Writes(Store(settings.root, Candidates)),
        after="bug_inject.py scale --steps register", then="bug_inject.py scale --steps validate",
        **more)


def candidate_of(before: Files, after: Files, strategy: str, summary: str, symbol: str
                 ) -> ProposedChange:
    """Return the candidate that turns the files `before` into `after`. Its lines are the changed
    lines of the first file."""
    hunks = hunks_of(diff_of(before, after, n_context=0))
    path = min(before | after)
    lines = [line for hunk in hunks if hunk.path == path
             for line in (hunk.start, hunk.start + max(0, hunk.length - 1))]
    return {"diff": diff_of(before, after), "symbol": symbol, "operator": strategy,
            "family": strategy, "path": path, "lines": [min(lines), max(lines)],
            "summary": summary}


def operators_stage(settings: Settings, host: SandboxFactory, *stores: Derived | Store) -> Stage:
    """Return the stage that makes candidates by operators."""
    cache = ProgramCache(host, draw)

    def make(item: BatchItem, *joined) -> tuple[list[ProposedChange], dict]:
        drawn = cache.get(item, *joined)
        some = drawn[BATCH * (item.part - 1):BATCH * item.part]
        if not some:
            raise Excluded(f"has no more candidates: earlier files hold all {len(drawn):,}.",
                           item.repo_name)
        return some, {}

    tables = {name: [*map(repr, operators(name))] for name in TABLES}
    return generate_stage(
        settings, METHOD, stores, n_batches, make, identity={"operators": digest(tables)},
        per_limit=PER_TASK / BATCH)


def n_batches(config: BugConfig) -> int:
    """Return the number of files of candidates that operators make for a repository."""
    return min(MAX_BATCHES, -(-config.max_candidates // BATCH))


# the source --------------------------------------------------------------------------------------

@dataclass(frozen=True)
class SelectedSources:
    """Hold the sources of a repository into which bugs may be put."""

    files: list[SourceFile]
    analysis: Analysis | None
    tests: Masks | None        # lines that tests ran; None: not known
    imports: Masks             # lines that ran outside of tests

    def ranks(self) -> dict[str, int]:
        """Return {id: rank} of functions. The function that most tests reach has rank 0."""
        hotspots = self.analysis.hotspots if self.analysis else []
        return {one["id"]: rank for rank, one in enumerate(hotspots)}


class ProgramCache:
    """Keep the results of make(program, config) for a few repositories. Each is made once: other
    threads that ask for it wait."""

    def __init__(self, host: SandboxFactory, make: Callable[[SelectedSources, BugConfig], Any]):
        self._host, self._make = host, make
        self._locks: dict[str, threading.Lock] = {}   # by repository
        self._made: dict[str, Any] = {}               # by repository, the last used at the end

    def get(self, config: BugConfig, environment: Environment, analysis: Analysis | None,
            coverage: Coverage | None) -> Any:
        """Return the result for a repository. Raise ItemFailed if its config does not fit the
        source."""
        name = config.repo_name
        with self._locks.setdefault(name, threading.Lock()):
            made = self._made.pop(name, None)
            if made is None:
                begin_step("reading the source")
                with (labelled(self._host, environment.repo_name) as label,
                      open_environment(environment, self._host, label) as sandbox):
                    files = sources_in(sandbox).files
                made = self._make(program_of(files, config, analysis, coverage), config)
            self._made[name] = made
            for old in [*self._made][:-MAX_KEPT]:
                self._made.pop(old, None)
            return made


def program_of(every: list[SourceFile], config: BugConfig, analysis: Analysis | None,
               coverage: Coverage | None) -> SelectedSources:
    """Return the sources that a config selects. Raise ItemFailed if one of its `roots` has no
    source."""
    for root in config.roots:
        if PurePosixPath(root).parts and not any(_is_in(file.path, root) for file in every):
            raise ItemFailed(f"has no source in {root!r}, a root of its config", config.repo_name,
                             f"Correct `roots` in {BugConfig.directory}/{config.repo_name}.json.")
    files = [file for file in every
             if operators(file.language) and not file.is_test and is_text(file.text)
             and any(_is_in(file.path, root) for root in config.roots)
             and not any(fnmatchcase(file.path, pattern) for pattern in config.exclude)
             and file.path.isprintable() and not QUOTED & {*file.path}
             and not GENERATED.search(file.text[:MAX_HEAD])]
    if coverage is None or coverage.contexts != "pytest":
        return SelectedSources(files, analysis, None, {})
    tests: Masks = {}
    for test, lines in zip(coverage.tests, lines_by_test(coverage), strict=True):
        if is_counted(test):
            add_lines(tests, lines)
    return SelectedSources(files, analysis, tests, masks_of(coverage.import_lines))


def _is_in(path: str, root: str) -> bool:
    return PurePosixPath(path).is_relative_to(root)


# the edits ---------------------------------------------------------------------------------------

@dataclass(frozen=True, slots=True)
class Site:
    """Hold an edit and its place in the source."""

    path: str
    symbol: str          # id of the innermost function around it, or ""
    edit: SpanEdit


def draw(program: SelectedSources, config: BugConfig) -> list[ProposedChange]:
    """Return as many candidates as a config asks for, in the order of its seed, all different."""
    diffs = {file.path: SpanDiffs(file.path, file.text) for file in program.files}
    sites = [site for file in program.files for site in _sites(file, program)]
    by_change: dict[str, ProposedChange] = {}
    for site in in_order(sites, program.ranks(), config.seed):
        if len(by_change) == config.max_candidates:
            break
        edit, operator = site.edit, site.edit.operator
        diff, lines = diffs[site.path].diff(edit.start, edit.end, edit.new)
        by_change.setdefault(normalised(diff), {
            "diff": diff, "symbol": site.symbol, "operator": operator.name,
            "family": operator.family, "path": site.path, "lines": [*lines],
            "summary": f"{operator.name} in line {lines[0]} of {site.path}"})
    return [*by_change.values()]


def _sites(file: SourceFile, program: SelectedSources) -> Iterator[Site]:
    """Yield the edits of a file whose lines tests or imports run; without coverage, all edits."""
    functions = [one for one in entities_of(file, tree_of(file)) if one.kind != "class"]
    tests, imports = ((lines or {}).get(file.path, 0) for lines in (program.tests, program.imports))
    for edit in unique_edits(file):
        first = edit.statement[0]
        around = [one for one in functions if one.line <= first <= one.end_line]
        function = around[-1] if around else None   # innermost
        ran = mask_of([*edit.statement]) & (tests | imports if function else imports)
        if function and (first == function.line or edit.operator.counts == "function"):
            ran = mask_of(function.body_lines) & tests
        if ran or program.tests is None:
            yield Site(file.path, function.id if function else "", edit)


def in_order(sites: list[Site], ranks: dict[str, int], seed: int) -> list[Site]:
    """Return sites in an order in which functions take turns, hot ones more often, and no operator
    comes too often."""
    drawn = random.Random(seed)
    n_sites = Counter(site.edit.operator.name for site in sites)
    by_symbol: dict[tuple[str, str], list[tuple[float, Site]]] = defaultdict(list)
    for site in sites:   # a common operator waits longer, so all are as likely to come first
        wait = drawn.expovariate(1 / n_sites[site.edit.operator.name])
        by_symbol[site.path, site.symbol].append((wait, site))
    timed = []
    for (_, symbol), waiting in by_symbol.items():
        pace = 1 + HEAT * ranks.get(symbol, len(ranks)) / max(1, len(ranks))
        phase = drawn.random()
        timed += [((turn + phase) * pace, site) for turn, site in enumerate(_sorted(waiting))]
    n_before: Counter[str] = Counter()
    places = []
    for place, site in enumerate(_sorted(timed)):
        operator = site.edit.operator.name
        places.append((max(place, EVERY * n_before[operator]), site))
        n_before[operator] += 1
    return _sorted(places)


def _sorted(pairs: list[tuple[float, Site]]) -> list[Site]:
    """Return the sites of (time, site) pairs in the order of their times."""
    return [site for _, site in sorted(pairs, key=itemgetter(0))]
