"""Make the candidates of a repository by operators: the step `generate` of bug_inject.py scale.

All edits of its files are found at once and put into an order drawn by a seed: changes of several
places alternate with edits of one, functions and operators alternate, too, and functions that many
tests reach come more often. A file of candidates is a slice of that order. No code is run. Changes
that give themselves away (giveaways.py) are left out, and where coverage is known, edits of lines
that no test runs.
"""
from __future__ import annotations

import random
import re
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from itertools import chain, zip_longest
from operator import itemgetter
from pathlib import Path, PurePosixPath
from typing import Any

from codedata.analysis.analyse import COVERAGE_FIELDS, is_counted
from codedata.bugs.giveaways import giveaways
from codedata.code.entities import SourceFile, entities_of, is_text, tree_of
from codedata.code.operators import TABLES, SpanEdit, operators, several_places, unique_edits
from codedata.code.operators.several_places import Change, applied
from codedata.code.patches import SpanDiffs, diff_of, hunks_of, normalised
from codedata.disk.store import Derived, Store, digest
from codedata.errors import Excluded, ItemFailed
from codedata.records import Analysis, BugConfig, Candidates, Coverage, Environment, ProposedChange
from codedata.run.stage import Reads, Stage, Writes
from codedata.run.talk import begin_step
from codedata.sandbox import Sandbox
from codedata.sandbox.factory import SandboxFactory
from codedata.settings import Settings
from codedata.suites.contexts import Masks, add_lines, lines_by_test, mask_of, masks_of, sources_in
from codedata.suites.environments import labelled, open_environment
from codedata.suites.source import Files

METHOD = "procedural"
BATCH = 40                 # candidates in a file
PER_TASK = 4               # with --limit N, candidates made and screened for each task
NOTHING = "has no source that an operator changes."
MAX_BATCHES = 10_000       # of a repository
MAX_KEPT = 3               # repositories whose programs are kept in memory
HEAT = 3                   # the hottest function comes 1 + HEAT times as often as the coldest
# an operator makes at most one candidate in this many if others are left: of one place, of several
EVERY = 25, 6
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

def generate_stage(settings: Settings, strategy: str, cache: ProgramCache, nothing: str,
                   *stores: Derived | Store, ask: Callable[..., tuple] | None = None,
                   **more) -> Stage:
    """Return the stage that makes files of candidates by a strategy: slices of the list that a
    cache makes of a repository; `nothing` says why a list is empty. `stores` are the environments,
    the analyses and the coverages; a repository may lack an analysis or a coverage. With `ask`, a
    file is what ask(item, entry of the list) returns: ([candidate], usage of its calls). It is paid
    for, so it does not become stale when an analysis or a coverage is edited."""
    size = 1 if ask else BATCH

    def candidates(item: BatchItem, *joined) -> Candidates:
        drawn, usage = cache.get(item, *joined), {}
        some = drawn[size * (item.part - 1):size * item.part]
        if not some:
            raise Excluded(f"has no more candidates: earlier files hold all {len(drawn):,}."
                           if drawn else nothing, item.repo_name)
        if ask:
            some, usage = ask(item, *some)
        return Candidates(item.repo, item.repo_name, item.base_commit, strategy, some, "", usage,
                          0.0)

    environments, analyses, coverages = stores
    items = batch_items(settings.root, "" if strategy == METHOD else f"{strategy}-",
                        (lambda config: settings.bug.max_model_candidates) if ask else n_batches)
    return Stage(
        "bug_inject.generate", make=candidates, per_limit=1.0 if ask else PER_TASK / BATCH,
        reads=Reads(items, tuple(BatchItem.__dataclass_fields__), made_by="bug_inject.register"),
        joined=(Reads(environments, SOURCE, made_by="env_setup", same="base_commit"),
                Reads(analyses, () if ask else ("entities", "edges", "hotspots"),
                      same="base_commit", optional=True),
                Reads(coverages, () if ask else COVERAGE_FIELDS, same="base_commit",
                      optional=True)),
        writes=Writes(Store(settings.root, Candidates)),
        after="bug_inject.py scale --steps register", then="bug_inject.py scale --steps validate",
        **more)


def candidate_of(before: Files, after: Files, strategy: str, summary: str, symbol: str
                 ) -> ProposedChange:
    """Return the candidate that turns the files `before` into `after`. Its lines are the changed
    lines of the first file."""
    hunks = hunks_of(diff_of(before, after, n_context=0))
    path = hunks[0].path
    lines = [line for hunk in hunks if hunk.path == path
             for line in (hunk.start, hunk.start + max(0, hunk.length - 1))]
    return {"diff": diff_of(before, after), "symbol": symbol, "operator": strategy,
            "family": strategy, "path": path, "lines": [min(lines), max(lines)],
            "summary": summary}


def operators_stage(settings: Settings, host: SandboxFactory, *stores: Derived | Store) -> Stage:
    """Return the stage that makes candidates by operators."""
    tables = {name: [*map(repr, operators(name))] for name in TABLES}
    return generate_stage(settings, METHOD, ProgramCache(
        host, lambda program, config, _: draw(program, config)), NOTHING, *stores,
        identity={"operators": digest(tables)})


def n_batches(config: BugConfig) -> int:
    """Return the number of files of candidates that are made of a repository without a model."""
    return min(MAX_BATCHES, -(-config.max_candidates // BATCH))


# the source --------------------------------------------------------------------------------------

@dataclass(frozen=True)
class SelectedSources:
    """Hold the sources of a repository into which bugs may be put."""

    files: list[SourceFile]
    analysis: Analysis | None
    tests: Masks | None        # lines that tests ran; None: not known
    imports: Masks             # lines that ran outside of tests


class ProgramCache:
    """Keep the results of make(program, config, sandbox) for a few repositories. Each is made once:
    other threads that ask for it wait."""

    def __init__(self, host: SandboxFactory,
                 make: Callable[[SelectedSources, BugConfig, Sandbox], Any]):
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
                    program = program_of(sources_in(sandbox).files, config, analysis, coverage)
                    made = self._make(program, config, sandbox)
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

def draw(program: SelectedSources, config: BugConfig) -> list[ProposedChange]:
    """Return as many candidates as a config asks for, in the order of its seed, all different."""
    hotspots = program.analysis.hotspots if program.analysis else []
    ranks = {one["id"]: rank for rank, one in enumerate(hotspots)}   # most tests: 0
    edits = [edit for file in program.files for edit in _edits(file, program)]
    ones = [Change(edit.operator.name, edit.operator.family, [(file, edit.span)], symbol)
            for file, symbol, edit in edits]
    ones, several = (in_order(sites, ranks, config.seed, every) for sites, every in
                     zip((ones, [*_several(program.files, edits)]), EVERY, strict=True))
    turns = zip_longest(_of_several(several), _of_one(ones, program.files))
    by_change: dict[str, ProposedChange] = {}
    for before, after, candidate in filter(None, chain.from_iterable(turns)):
        if len(by_change) == config.max_candidates:
            break
        if not giveaways(before, after):
            by_change.setdefault(normalised(candidate["diff"]), candidate)
    return [*by_change.values()]


def _of_one(sites: list[Change], files: list[SourceFile]
            ) -> Iterator[tuple[Files, Files, ProposedChange]]:
    """Yield (files before, after, candidate) of edits of one place."""
    diffs = {file: SpanDiffs(file.path, file.text) for file in files}
    for site in sites:
        (file, span), = site.places
        diff, lines = diffs[file].diff(*span)
        yield {file.path: file.text}, {file.path: applied(file.text, [span])}, {
            "diff": diff, "symbol": site.symbol, "operator": site.operator,
            "family": site.family, "path": file.path, "lines": [*lines],
            "summary": f"{site.operator} in line {lines[0]} of {file.path}"}


def _of_several(sites: list[Change]) -> Iterator[tuple[Files, Files, ProposedChange]]:
    """Yield (files before, after, candidate) of changes of several places."""
    for site in sites:
        before = {file.path: file.text for file, _ in site.places}
        after = {path: applied(text, [span for file, span in site.places if file.path == path])
                 for path, text in before.items()}
        yield before, after, candidate_of(
            before, after, site.operator, f"{site.operator} in {len(site.places)} places",
            site.symbol) | {"family": site.family}


def _edits(file: SourceFile,
           program: SelectedSources) -> Iterator[tuple[SourceFile, str, SpanEdit]]:
    """Yield the edits of a file whose lines tests or imports run, with the ids of the innermost
    functions around them; without coverage, all edits."""
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
            yield file, function.id if function else "", edit


def _several(files: list[SourceFile],
             edits: list[tuple[SourceFile, str, SpanEdit]]) -> Iterator[Change]:
    """Yield the changes of several places. One of the edits, of lines that tests run, lies in a
    place of each."""
    starts = defaultdict(list)
    for file, symbol, edit in edits:
        starts[file].append((symbol, edit.start))
    program = several_places.Program(files)
    for change in chain(several_places.removals(program), several_places.contracts(program),
                        several_places.copies(edits)):
        places = sorted(change.places, key=lambda place: place[1][0] - place[1][1])   # long ones
        symbols = [symbol for file, (start, end, _) in places
                   for symbol, at in starts[file] if start <= at <= end]
        if symbols:
            yield replace(change, symbol=symbols[0])


def in_order(sites: list[Change], ranks: dict[str, int], seed: int, every: int) -> list[Change]:
    """Return sites in an order in which functions take turns, hot ones more often, and no operator
    comes more often than once in `every`, if others are left."""
    drawn = random.Random(seed)
    n_sites = Counter(site.operator for site in sites)
    by_symbol: dict[tuple[str, str], list[tuple[float, Change]]] = defaultdict(list)
    for site in sites:   # a common operator waits longer, so all are as likely to come first
        wait = drawn.expovariate(1 / n_sites[site.operator])
        by_symbol[site.places[0][0].path, site.symbol].append((wait, site))
    timed = []
    for (_, symbol), waiting in by_symbol.items():
        pace = 1 + HEAT * ranks.get(symbol, len(ranks)) / max(1, len(ranks))
        phase = drawn.random()
        timed += [((turn + phase) * pace, site) for turn, site in enumerate(_sorted(waiting))]
    n_before: Counter[str] = Counter()
    places = []
    for place, site in enumerate(_sorted(timed)):
        operator = site.operator
        places.append((max(place, every * n_before[operator]), site))
        n_before[operator] += 1
    return _sorted(places)


def _sorted(pairs: list[tuple[float, Change]]) -> list[Change]:
    """Return the sites of (time, site) pairs in the order of their times."""
    return [site for _, site in sorted(pairs, key=itemgetter(0))]
