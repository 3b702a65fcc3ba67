"""Make the candidates of a repository by operators: the step `generate` of bug_inject.py scale.

All edits of its files are found at once and put into an order that a seed gives: many functions,
many operators, hot functions first. A file of candidates is a part of that order. Nothing is run:
where it is known what tests ran, an edit of what none ran is left out.
"""
from __future__ import annotations

import math
import random
import re
import secrets
import threading
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path
from typing import Any

from codedata.analysis.analyse import is_counted
from codedata.analysis.measure import lines_by_test
from codedata.bugs.operators import TABLES, Edit, operators, unique_edits
from codedata.bugs.prove import normalised
from codedata.bugs.register import known
from codedata.code.contexts import Masks, add_lines, mask_of, masks_of, sources_in
from codedata.code.entities import Entity, SourceFile, entities_of, tree_of
from codedata.code.environments import open_environment
from codedata.code.patches import SpanDiffs, diff_of, hunks_of
from codedata.code.source import Files, is_text
from codedata.errors import BrokenRecord, Excluded, ItemFailed
from codedata.records import (
    Analysis,
    BugConfig,
    Candidate,
    Candidates,
    Coverage,
    Environment,
)
from codedata.run_loop import Stage
from codedata.sandbox.factory import SandboxFactory
from codedata.settings import Settings
from codedata.states import Reads, Writes
from codedata.store import Store, View, digest

METHOD = "procedural"
BATCH = 200                # candidates of a file
MAX_BATCHES = 10_000       # of a repository
MAX_KEPT = 3               # repositories whose candidates are kept
HEAT = 3                   # the hottest function has its next candidate in a quarter of the time of
                           # the coldest one
EVERY = 25                 # candidates, of which an operator has one, while there are others
SOURCE = ("base_image", "base_commit", "image_name", "install_script")   # fields that the source
                                                                         # depends on
GENERATED = re.compile(rb"(?m)@generated\b|^// Code generated .* DO NOT EDIT\.$")
MAX_HEAD = 2_000           # bytes of a file in which it says that a program wrote it
QUOTED = set('"\\\t\n\r')   # git quotes a path with one of them


# the items ---------------------------------------------------------------------------------------

class Configs(Store):
    """Hold the configs that can be read; the others are in `broken`."""

    def __init__(self, root: Path):
        super().__init__(root, BugConfig)
        self._records: dict[str, BugConfig] = {}

    def open(self) -> Configs:
        """Read all configs, and return self."""
        super().open()
        for name in super().names():
            try:
                self._records[name] = super().read(name)
            except BrokenRecord as e:
                self.broken.append(e)
        return self

    def names(self) -> list[str]:
        """Return the repositories that have one."""
        return [*self._records]

    def __contains__(self, name: str) -> bool:
        return name in self._records

    def read(self, name: str) -> BugConfig:
        """Return the config of a repository."""
        return self._records[name]


@dataclass(frozen=True)
class BatchItem(BugConfig):
    """Hold the config of a repository for one of its files of candidates, numbered from 1."""

    number: int = 0


class BatchItems(View):
    """Give the items of a strategy, <repo_name>.<prefix><part>: each the config of a repository
    with one of the parts that `parts` gives of it. Items of others are covered, too."""

    derived, place = True, f"{BugConfig.directory}/"

    def __init__(self, configs: Configs, cls: type[BugConfig], prefix: str,
                 parts: Callable[[BugConfig], Iterable[tuple[str, dict]]]):
        super().__init__()
        self.cls = cls
        self._configs, self._prefix, self._parts = configs, prefix, parts
        self._index: dict[str, tuple[str, dict]] = {}

    def open(self) -> BatchItems:
        """Open the configs, and return self."""
        self.broken = self._configs.open().broken
        self._index = {f"{name}.{self._prefix}{part}": (name, added)
                       for name in self._configs.names()
                       for part, added in self._parts(self._configs.read(name))}
        return self

    def names(self):
        """Return the names of the items, in the order of work."""
        return self._index.keys()

    def covers(self, name: str) -> bool:
        """Return whether an item is there, or may be, or is of another strategy."""
        repo_name, _, part = name.rpartition(".")
        is_own = part.startswith(self._prefix) and part.removeprefix(self._prefix).isalnum()
        is_broken = self._configs.covers(repo_name) and repo_name not in self._configs
        return name in self._index or not is_own or is_broken

    def __contains__(self, name: str) -> bool:
        return name in self._index

    def failed(self, stage: str, name: str):
        """Return the failed last attempt of a stage to make the config, or None."""
        return self._configs.failed(stage, self._index[name][0])

    def read(self, name: str) -> BugConfig:
        """Return an item."""
        repo_name, added = self._index[name]
        return self.cls(**vars(self._configs.read(repo_name)), **added)


def numbered(n: int) -> Iterator[tuple[str, dict]]:
    """Yield n parts with their numbers."""
    for k in range(1, n + 1):
        yield str(k), {"number": k}


# the step ----------------------------------------------------------------------------------------

def generate_stage(settings: Settings, make: Callable, items: BatchItems, environments: View,
                   identity: dict, cost_note: str = "no calls: no model is asked") -> Stage:
    """Return the stage that makes files of candidates by a strategy."""
    return Stage(
        "bug_inject.generate", make=make, identity=identity, cost_note=cost_note,
        reads=Reads(items, tuple(items.cls.__dataclass_fields__), made_by="bug_inject.register"),
        joined=Reads(environments, SOURCE, made_by="env_setup"),
        writes=Writes(Store(settings.root, Candidates), tuple(Candidates.__dataclass_fields__)),
        after="bug_inject.py scale --steps register", then="bug_inject.py scale --steps validate")


def candidate_of(before: Files, after: Files, strategy: str, symbol: str,
                 summary: str) -> Candidate:
    """Return a candidate that changes whole files; its lines are those of the first one."""
    hunks = [*hunks_of(diff_of(before, after, n_context=0), "")]
    path = min(before | after)
    lines = [line for hunk in hunks if hunk.path == path
             for line in (hunk.start, hunk.start + max(0, hunk.length - 1))]
    return {"diff": diff_of(before, after), "symbol": symbol, "operator": strategy,
            "family": strategy, "path": path, "lines": [min(lines), max(lines)],
            "summary": summary}


class Kept:
    """Keep what was made last of repositories, a few of them. Each is made once: whoever asks for
    it meanwhile waits."""

    def __init__(self):
        self._lock = threading.Lock()
        self._locks: dict[str, threading.Lock] = defaultdict(threading.Lock)
        self._made: OrderedDict[str, Any] = OrderedDict()

    def get(self, config: BugConfig, environment: Environment, make: Callable[[], Any]) -> Any:
        """Return what make() returns, for this config and source of a repository."""
        key = digest([*(getattr(config, field) for field in BugConfig.__dataclass_fields__),
                      *(getattr(environment, field) for field in SOURCE)])
        with self._lock:
            lock = self._locks[key]
        with lock:
            found = self._made[key] if key in self._made else make()
            with self._lock:
                self._made[key] = found
                self._made.move_to_end(key)
                while len(self._made) > MAX_KEPT:
                    self._made.popitem(last=False)
            return found


class Generator:
    """Make files of candidates; make() is the item function."""

    def __init__(self, settings: Settings, host: SandboxFactory):
        self._settings, self._host = settings, host
        self._kept = Kept()

    def stage(self, configs: Configs, environments: View, analyses: View,
              coverages: View) -> Stage:
        """Return the stage that makes the candidates of these configs. Analyses, for what is hot,
        and coverages, for what tests run, are looked up where there are any."""
        self._analyses, self._coverages = analyses.open(), coverages.open()
        tables = {name: [*map(repr, operators(name))] for name in TABLES}
        items = BatchItems(configs, BatchItem, "", lambda config: numbered(
            min(MAX_BATCHES, -(-config.max_candidates // BATCH))))
        return generate_stage(self._settings, self.make, items, environments,
                              {"operators": digest(tables)})

    def make(self, item: BatchItem, environment: Environment) -> Candidates:
        """Return a file of candidates. Raise ItemFailed where the config does not fit the
        environment, Excluded where it gives fewer candidates."""
        drawn = self._kept.get(item, environment, lambda: self._draw(item, environment))
        part = drawn.edits[BATCH * (item.number - 1):BATCH * item.number]
        if not part:
            raise Excluded(f"gives only {len(drawn.edits):,} candidates.", item.repo_name)
        return Candidates(item.repo, item.repo_name, item.base_commit, METHOD,
                          [drawn.candidate(one) for one in part], "", {}, 0.0)

    def _draw(self, item: BatchItem, environment: Environment) -> Drawn:
        views = self._analyses, self._coverages
        return draw(program_in(environment, item, self._host, *(
            known(view, item.repo_name) for view in views)), item)


# the source --------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Program:
    """Hold the sources of a repository that bugs may be put into."""

    files: list[SourceFile]
    entities: dict[str, list[Entity]]   # by path
    ranks: dict[str, int]      # of functions by their ids, from 0: the one that most tests reach
    is_measured: bool          # whether it is known what tests ran
    tests: Masks               # lines that ran in tests,
    imports: Masks             # and outside of any

    def hot_functions(self) -> list[tuple[Entity, SourceFile]]:
        """Return the functions with the files that they are in, those first that most tests
        reach."""
        files = {file.path: file for file in self.files}
        found = [one for listed in self.entities.values() for one in listed if one.kind != "class"]
        found.sort(key=lambda one: (self.ranks.get(one.id, len(self.ranks)), one.id))
        return [(one, files[one.path]) for one in found]


def program_in(environment: Environment, config: BugConfig, host: SandboxFactory,
               analysis: Analysis | None, coverage: Coverage | None) -> Program:
    """Return the sources of an environment as a config wants them. Raise ItemFailed where they are
    of another commit, or its roots are not there."""
    name, commit = environment.repo_name, environment.base_commit
    if config.base_commit != commit:
        raise ItemFailed(f"its config is of another commit: {config.base_commit}", name,
                         f"Run: python bug_inject.py scale --steps register --only {name} --force")
    label = f"bug-{name[:40]}-{secrets.token_hex(4)}"
    with open_environment(environment, host, label) as sandbox:
        found = sources_in(sandbox).files
    return program_of(found, config,
                      analysis if analysis and analysis.base_commit == commit else None,
                      coverage if coverage and coverage.base_commit == commit else None)


def program_of(found: list[SourceFile], config: BugConfig, analysis: Analysis | None,
               coverage: Coverage | None) -> Program:
    """Return the sources that a config wants. Raise ItemFailed where a root of it is not there."""
    roots = [Path(root).as_posix() for root in config.roots]
    if lost := [root for root in roots if root != "." and not any(
            _is_in(file.path, root) for file in found)]:
        raise ItemFailed(f"has no source in {lost[0]!r}, a root of its config", config.repo_name,
                         f"Mend `roots` in {BugConfig.directory}/{config.repo_name}.json.")
    files = [file for file in found
             if operators(file.language) and not file.is_test and is_text(file.text)
             and any(_is_in(file.path, root) for root in roots)
             and not any(fnmatchcase(file.path, pattern) for pattern in config.exclude)
             and not QUOTED & {*file.path} and file.path.isprintable()
             and not GENERATED.search(file.text[:MAX_HEAD])]
    is_measured = coverage is not None and coverage.contexts == "pytest"
    tests: Masks = {}
    if is_measured:
        for test, lines in zip(coverage.tests, lines_by_test(coverage), strict=True):
            if is_counted(test):
                add_lines(tests, lines)
    return Program(
        files, {file.path: entities_of(file, tree_of(file)) for file in files},
        {one["id"]: rank for rank, one in enumerate(analysis.hotspots if analysis else [])},
        is_measured, tests, masks_of(coverage.import_lines) if is_measured else {})


def _is_in(path: str, root: str) -> bool:
    return root == "." or path == root or path.startswith(f"{root}/")


# the edits ---------------------------------------------------------------------------------------

@dataclass(frozen=True, slots=True)
class Site:
    """Hold an edit with its place."""

    file: int            # index into the program's files
    symbol: str          # id of the innermost function around it, "" where there is none
    edit: Edit


@dataclass(frozen=True)
class Drawn:
    """Hold the candidates of a repository in their order."""

    diffs: list[SpanDiffs]     # of the program's files
    paths: list[str]
    edits: list[Site]

    def candidate(self, site: Site) -> Candidate:
        """Return a candidate as a record has it."""
        edit, path = site.edit, self.paths[site.file]
        diff, lines = self.diffs[site.file].diff(edit.start, edit.end, edit.new)
        return {"diff": diff, "symbol": site.symbol, "operator": edit.operator.name,
                "family": edit.operator.family, "path": path, "lines": [*lines],
                "summary": f"{edit.operator.name} in line {lines[0]} of {path}"}


def draw(program: Program, config: BugConfig) -> Drawn:
    """Return as many candidates as a config wants, in the order of its seed; no two of them with
    the same change."""
    diffs = [SpanDiffs(file.path, file.text) for file in program.files]
    sites = [site for i, file in enumerate(program.files) for site in _sites(i, file, program)]
    drawn = Drawn(diffs, [file.path for file in program.files], [])
    drawn.edits.extend(islice(
        _without_repeats(in_order(sites, program.ranks, config.seed), diffs),
        min(config.max_candidates, BATCH * MAX_BATCHES)))
    return drawn


def _without_repeats(sites: Iterable[Site], diffs: list[SpanDiffs]) -> Iterator[Site]:
    seen = set()
    for site in sites:
        edit = site.edit
        key = normalised(diffs[site.file].diff(edit.start, edit.end, edit.new)[0])
        if key not in seen:
            seen.add(key)
            yield site


def _sites(number: int, file: SourceFile, program: Program) -> Iterator[Site]:
    """Yield the edits of a file that tests can notice."""
    around = _by_line(file, program.entities[file.path])
    tests, imports = (lines.get(file.path, 0) for lines in (program.tests, program.imports))
    for edit in unique_edits(file):
        function = around[edit.statement[0]]
        ran = mask_of([*edit.statement]) & (tests | imports if function else imports)
        if function and (edit.statement[0] == function.line or edit.operator.counts == "function"):
            ran = mask_of(function.body_lines) & tests
        if ran or not program.is_measured:
            yield Site(number, function.id if function else "", edit)


def _by_line(file: SourceFile, entities: list[Entity]) -> list[Entity | None]:
    """Return the innermost function around each line of a file, from 1."""
    around: list[Entity | None] = [None] * (file.text.count(b"\n") + 3)
    for one in entities:   # outer ones first
        if one.kind != "class":
            around[one.line:one.end_line + 1] = [one] * (one.end_line + 1 - one.line)
    return around


def in_order(sites: list[Site], ranks: dict[str, int], seed: int) -> list[Site]:
    """Return sites in an order in which each function has its turn, hot ones more often, and no
    operator comes too often."""
    drawn = random.Random(seed)
    n_sites = Counter(site.edit.operator.name for site in sites)
    by_symbol: dict[tuple[int, str], list[tuple[float, Site]]] = defaultdict(list)
    for site in sites:   # times of rare events: each operator is as likely as any other
        wait = -math.log(1 - drawn.random()) * n_sites[site.edit.operator.name]
        by_symbol[site.file, site.symbol].append((wait, site))
    timed = []
    for (_, symbol), waiting in by_symbol.items():
        waiting.sort(key=lambda pair: pair[0])
        pace = 1 + HEAT * ranks.get(symbol, len(ranks)) / max(1, len(ranks))
        phase = drawn.random()
        timed += [((turn + phase) * pace, site) for turn, (_, site) in enumerate(waiting)]
    timed.sort(key=lambda pair: pair[0])
    n_before: Counter[str] = Counter()
    places = []
    for place, (_, site) in enumerate(timed):
        places.append((max(place, EVERY * n_before[site.edit.operator.name]), site))
        n_before[site.edit.operator.name] += 1
    places.sort(key=lambda pair: pair[0])
    return [site for _, site in places]
