"""Make the candidates of a repository by operators: the step `generate` of bug_inject.py scale.

All edits of its files are found at once and put into an order that a seed gives: many functions,
many operators, hot functions first. A file of candidates is a part of that order. Nothing is run:
where it is known what tests ran, an edit of what none ran is left out.
"""
from __future__ import annotations

import random
import re
import secrets
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from operator import itemgetter
from pathlib import Path, PurePosixPath
from typing import Any

from codedata.analysis.analyse import COVERAGE_FIELDS, is_counted
from codedata.bugs.operators import TABLES, SpanEdit, operators, unique_edits
from codedata.bugs.prove import symbols_at
from codedata.code.entities import SourceFile, entities_of, tree_of
from codedata.code.patches import SpanDiffs, diff_of, hunks_of, normalised
from codedata.errors import Excluded, ItemFailed
from codedata.records import (
    Analysis,
    BugConfig,
    Candidate,
    Candidates,
    Coverage,
    Environment,
)
from codedata.run_loop import Stage
from codedata.sandbox import Sandbox
from codedata.sandbox.factory import SandboxFactory
from codedata.settings import Settings
from codedata.states import Reads, Writes
from codedata.store import Derived, Store, digest
from codedata.suites.contexts import Masks, add_lines, lines_by_test, mask_of, masks_of, sources_in
from codedata.suites.environments import open_environment
from codedata.suites.source import Files, is_text

METHOD = "procedural"
BATCH = 200                # candidates of a file
MAX_BATCHES = 10_000       # of a repository
MAX_KEPT = 3               # repositories of which something is kept
HEAT = 3                   # the hottest function has its next candidate in a quarter of the time of
                           # the coldest one
EVERY = 25                 # candidates, of which an operator has one, while there are others
SOURCE = ("base_image", "base_commit", "image_name", "install_script")   # fields that the source
                                                                         # depends on
GENERATED = re.compile(rb"(?m)@generated\b|^// Code generated .* DO NOT EDIT\.$")
MAX_HEAD = 2_000           # bytes of a file in which it says that a program wrote it
QUOTED = {'"', "\\"}       # git quotes a path with one of them
BatchPart = int | list[str]     # of what is made of a repository: see BatchItem
PartsOf = Callable[[BugConfig], Iterable[tuple[str, BatchPart]]]   # each with the end of its item's name


# the items ---------------------------------------------------------------------------------------

@dataclass(frozen=True)
class BatchItem(BugConfig):
    """Hold the config of a repository for one of its files of candidates."""

    part: BatchPart = 0   # which of them: its number from 1, or what combine or mirror makes it of


def batch_items(root: Path, prefix: str, parts_of: PartsOf) -> Derived:
    """Return the items of a strategy, <repo_name>.<prefix><…>: each the config of a repository with
    one of its parts. Items of others are covered, too."""
    def items_of(repo_name: str, config: BugConfig) -> dict[str, BatchItem]:
        return {f"{repo_name}.{prefix}{name}": BatchItem(**vars(config), part=part)
                for name, part in parts_of(config)}

    def is_of_others(name: str) -> bool:
        part = name.rpartition(".")[2]
        return not (part.startswith(prefix) and part.removeprefix(prefix).isalnum())

    return Derived(Store(root, BugConfig), items_of, keeps=is_of_others)


def numbered(n: int) -> Iterable[tuple[str, int]]:
    """Return n parts that are numbers."""
    return ((str(k), k) for k in range(1, n + 1))


# the step ----------------------------------------------------------------------------------------

def generate_stage(settings: Settings, strategy: str, stores: tuple[Derived, Store, Store],
                   parts_of: PartsOf, make: Callable[..., tuple[list[Candidate], dict]],
                   identity: dict, cost_note: str = "") -> Stage:
    """Return the stage that makes files of candidates by a strategy: of the items that `parts_of`
    gives what make() returns of each, with what its calls took. `stores` are the environments, and
    the analyses and coverages, for what is hot and what tests run, if there are any: an edit there
    makes nothing stale that was paid for."""
    def candidates(item: BatchItem, *joined) -> Candidates:
        made, usage = make(item, *joined)
        return Candidates(item.repo, item.repo_name, item.base_commit, strategy, made, "", usage,
                          0.0)

    environments, analyses, coverages = stores
    items = batch_items(settings.root, "" if strategy == METHOD else f"{strategy}-", parts_of)
    return Stage(
        "bug_inject.generate", make=candidates, identity=identity,
        cost_note=cost_note or "no calls: no model is asked",
        reads=Reads(items, tuple(BatchItem.__dataclass_fields__), made_by="bug_inject.register"),
        joined=(Reads(environments, SOURCE, made_by="env_setup", same="base_commit"),
                Reads(analyses, () if cost_note else ("entities", "edges", "hotspots"),
                      same="base_commit", optional=True),
                Reads(coverages, () if cost_note else COVERAGE_FIELDS, same="base_commit",
                      optional=True)),
        writes=Writes(Store(settings.root, Candidates), tuple(Candidates.__dataclass_fields__)),
        after="bug_inject.py scale --steps register", then="bug_inject.py scale --steps validate")


def candidate_of(before: Files, after: Files, strategy: str, summary: str, symbol: str = "",
                 analysis: Analysis | None = None) -> Candidate:
    """Return a candidate that changes whole files; its lines are those of the first one, its symbol
    is the first function that changes by an analysis, or the one that is given."""
    hunks = hunks_of(diff_of(before, after, n_context=0))
    path = min(before | after)
    lines = [line for hunk in hunks if hunk.path == path
             for line in (hunk.start, hunk.start + max(0, hunk.length - 1))]
    if analysis:
        symbols = symbols_at([(hunk.path, hunk.start) for hunk in hunks], analysis)
        symbol = next(iter(symbols), "")
    return {"diff": diff_of(before, after), "symbol": symbol, "operator": strategy,
            "family": strategy, "path": path, "lines": [min(lines), max(lines)],
            "summary": summary}


class Generator:
    """Make files of candidates; make() is the item function."""

    def __init__(self, settings: Settings, host: SandboxFactory):
        self._settings, self._drawn = settings, ProgramCache(host, draw)

    def stage(self, environments: Derived, analyses: Store, coverages: Store) -> Stage:
        """Return the stage that makes candidates of these environments."""
        tables = {name: [*map(repr, operators(name))] for name in TABLES}
        return generate_stage(
            self._settings, METHOD, (environments, analyses, coverages), lambda config: numbered(
                min(MAX_BATCHES, -(-config.max_candidates // BATCH))),
            self.make, {"operators": digest(tables)})

    def make(self, item: BatchItem, environment: Environment, analysis: Analysis | None,
             coverage: Coverage | None) -> tuple[list[Candidate], dict]:
        """Return the candidates of a file. Raise ItemFailed where the config does not fit the
        source, Excluded where it gives fewer candidates."""
        drawn = self._drawn.get(item, environment, analysis, coverage)
        some = drawn[BATCH * (item.part - 1):BATCH * item.part]
        if not some:
            raise Excluded(f"has no more: all {len(drawn):,} candidates are in the files before.",
                           item.repo_name)
        return some, {}


# the source --------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Program:
    """Hold the sources of a repository that bugs may be put into."""

    files: list[SourceFile]
    analysis: Analysis | None
    tests: Masks | None        # lines that ran in tests; None: it is not known
    imports: Masks             # lines that ran outside of any

    def ranks(self) -> dict[str, int]:
        """Return the ranks of functions by their ids, from 0: the one that most tests reach."""
        hotspots = self.analysis.hotspots if self.analysis else []
        return {one["id"]: rank for rank, one in enumerate(hotspots)}


class ProgramCache:
    """Keep what `make` returns of the programs of a few repositories. It is made once of each:
    whoever asks for it meanwhile waits."""

    def __init__(self, host: SandboxFactory, make: Callable[[Program, BugConfig], Any]):
        self._host, self._make = host, make
        self._locks: dict[str, threading.Lock] = {}   # by repository
        self._made: dict[str, Any] = {}               # the same, the newest behind

    def get(self, config: BugConfig, environment: Environment, analysis: Analysis | None,
            coverage: Coverage | None) -> Any:
        """Return what is made of a repository. Raise ItemFailed where its config does not fit."""
        name = config.repo_name
        with self._locks.setdefault(name, threading.Lock()):
            made = self._made.pop(name, None)
            if made is None:
                with open_source(environment, self._host) as sandbox:
                    found = sources_in(sandbox).files
                made = self._make(program_of(found, config, analysis, coverage), config)
            self._made[name] = made
            for old in [*self._made][:-MAX_KEPT]:
                self._made.pop(old, None)
            return made


@contextmanager
def open_source(environment: Environment, host: SandboxFactory) -> Iterator[Sandbox]:
    """Yield a sandbox with the source of an environment."""
    name = environment.repo_name
    with open_environment(environment, host, f"bug-{name[:40]}-{secrets.token_hex(4)}") as sandbox:
        yield sandbox


def program_of(found: list[SourceFile], config: BugConfig, analysis: Analysis | None,
               coverage: Coverage | None) -> Program:
    """Return the sources that a config wants. Raise ItemFailed where a root of it is not there."""
    for root in config.roots:
        if PurePosixPath(root).parts and not any(_is_in(file.path, root) for file in found):
            raise ItemFailed(f"has no source in {root!r}, a root of its config", config.repo_name,
                             f"Mend `roots` in {BugConfig.directory}/{config.repo_name}.json.")
    files = [file for file in found
             if operators(file.language) and not file.is_test and is_text(file.text)
             and any(_is_in(file.path, root) for root in config.roots)
             and not any(fnmatchcase(file.path, pattern) for pattern in config.exclude)
             and file.path.isprintable() and not QUOTED & {*file.path}
             and not GENERATED.search(file.text[:MAX_HEAD])]
    if coverage is None or coverage.contexts != "pytest":
        return Program(files, analysis, None, {})
    tests: Masks = {}
    for test, lines in zip(coverage.tests, lines_by_test(coverage), strict=True):
        if is_counted(test):
            add_lines(tests, lines)
    return Program(files, analysis, tests, masks_of(coverage.import_lines))


def _is_in(path: str, root: str) -> bool:
    return PurePosixPath(path).is_relative_to(root)


# the edits ---------------------------------------------------------------------------------------

@dataclass(frozen=True, slots=True)
class Site:
    """Hold an edit with its place."""

    path: str
    symbol: str          # id of the innermost function around it, "" where there is none
    edit: SpanEdit


def draw(program: Program, config: BugConfig) -> list[Candidate]:
    """Return as many candidates as a config wants, in the order of its seed; no two of them with
    the same change."""
    diffs = {file.path: SpanDiffs(file.path, file.text) for file in program.files}
    sites = [site for file in program.files for site in _sites(file, program)]
    found: dict[str, Candidate] = {}   # by change
    for site in in_order(sites, program.ranks(), config.seed):
        if len(found) == config.max_candidates:
            break
        edit, operator = site.edit, site.edit.operator
        diff, lines = diffs[site.path].diff(edit.start, edit.end, edit.new)
        found.setdefault(normalised(diff), {
            "diff": diff, "symbol": site.symbol, "operator": operator.name,
            "family": operator.family, "path": site.path, "lines": [*lines],
            "summary": f"{operator.name} in line {lines[0]} of {site.path}"})
    return [*found.values()]


def _sites(file: SourceFile, program: Program) -> Iterator[Site]:
    """Yield the edits of a file that tests can notice."""
    functions = [one for one in entities_of(file, tree_of(file)) if one.kind != "class"]
    tests, imports = ((lines or {}).get(file.path, 0) for lines in (program.tests, program.imports))
    for edit in unique_edits(file):
        first = edit.statement[0]
        around = [one for one in functions if one.line <= first <= one.end_line]
        function = around[-1] if around else None   # the innermost one
        ran = mask_of([*edit.statement]) & (tests | imports if function else imports)
        if function and (first == function.line or edit.operator.counts == "function"):
            ran = mask_of(function.body_lines) & tests
        if ran or program.tests is None:
            yield Site(file.path, function.id if function else "", edit)


def in_order(sites: list[Site], ranks: dict[str, int], seed: int) -> list[Site]:
    """Return sites in an order in which each function has its turn, hot ones more often, and no
    operator comes too often."""
    drawn = random.Random(seed)
    n_sites = Counter(site.edit.operator.name for site in sites)
    by_symbol: dict[tuple[str, str], list[tuple[float, Site]]] = defaultdict(list)
    for site in sites:   # times of rare events: each operator is as likely as any other
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
    """Return sites in the order of their times."""
    return [site for _, site in sorted(pairs, key=itemgetter(0))]
