"""Make the candidates of a repository by operators: the steps `register` and `generate` of
bug_inject.py scale.

The config of a repository selects the files that operators may change, and sets limits. A user may
edit it; the edits are kept. All edits of these files are found at once and put into an order drawn
by a seed: functions and operators alternate. A file of candidates is a slice of that order, and
only the candidates that it needs are checked. No code is run. Left out are changes that do not
parse, change no syntax, look artificial (giveaways.py), or equal an earlier change. If coverage is
known, changes of lines that no test or import runs are left out, too.
"""
from __future__ import annotations

import random
import re
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import cache
from itertools import islice
from pathlib import Path, PurePosixPath

from codedata.analysis.analyse import COVERAGE_FIELDS, is_counted
from codedata.bugs.giveaways import giveaways
from codedata.code.entities import LANGUAGES, SourceFile, entities_of, is_text, tree_of
from codedata.code.operators import TABLES, Operator, operators, unique_edits
from codedata.code.operators.syntax import Span, syntax_of
from codedata.code.patches import hunks_of, normalised, text_diff
from codedata.disk.store import Derived, Store, digest
from codedata.errors import Excluded, ItemFailed
from codedata.records import BugConfig, Candidates, Coverage, Environment, ProposedChange
from codedata.run.stage import Reads, Stage, Writes
from codedata.run.talk import begin_step
from codedata.sandbox.factory import SandboxFactory
from codedata.settings import Settings
from codedata.suites.contexts import Masks, add_lines, lines_by_test, mask_of, masks_of, sources_in
from codedata.suites.environments import JUDGED_BY, fresh_sandbox
from codedata.tasks.prove.outcomes import time_limit
from codedata.texts import toml_of

PLUGIN = "plugin"
SEED = 0   # for random draws
METHOD = "procedural"
BATCH = 40                 # candidates in a file
PER_TASK = 4               # with --limit N, candidates made and screened for each task
NOTHING = "has no source that an operator changes."
MAX_KEPT = 3               # repositories whose candidates are kept in memory
# fields of an environment that its source depends on
SOURCE = ("base_image", "base_commit", "image_name", "install_script")
GENERATED = re.compile(rb"(?m)@generated\b|^// Code generated .* DO NOT EDIT\.$")
MAX_HEAD = 2_000           # bytes at the start of a file that are searched for GENERATED
QUOTED = {'"', "\\"}       # git quotes a path that contains one of them


# the configs -------------------------------------------------------------------------------------

def register_stage(settings: Settings, host: SandboxFactory, environments: Derived) -> Stage:
    """Return the stage that writes the configs of these environments."""
    bug = settings.bug

    def make(environment: Environment) -> BugConfig:
        return BugConfig(
            environment.repo, environment.repo_name, environment.base_commit,
            digest([getattr(environment, field) for field in JUDGED_BY]),
            ["."], patterns(), PLUGIN, time_limit(environment, host.run_timeout_s),
            bug.max_candidates, SEED)

    return Stage(
        "bug_inject.register", make=make, is_local=True,
        identity={"seed": SEED, "max_candidates": bug.max_candidates,
                  "exclude": digest(patterns())},
        reads=Reads(environments, JUDGED_BY, made_by="env_setup"),
        writes=Writes(Store(settings.root, BugConfig)),
        after="env_setup.py", then="bug_inject.py scale --steps generate")


def patterns() -> list[str]:
    """Return the path patterns of files that get no bugs: tests, and the paths that register.toml
    excludes."""
    tests = {pattern for table in LANGUAGES.values() for pattern in table["test_files"]}
    return [*sorted(tests), *toml_of(__package__, "register.toml")["exclude"]]


# the items ---------------------------------------------------------------------------------------

@dataclass(frozen=True)
class BatchItem(BugConfig):
    """Hold a repository's config, and the number of the file of candidates to make, from 1."""

    part: int = 0


def batch_items(root: Path) -> Derived:
    """Return the items <repo_name>.<number>: each is a repository's config with the number of one
    of its files of candidates. A file is no orphan if the last part of its name has other
    characters than letters and digits, as an agent's file has (.agent-3)."""
    def items_of(repo_name: str, config: BugConfig) -> dict[str, BatchItem]:
        n_batches = -(-config.max_candidates // BATCH)
        return {f"{repo_name}.{k}": BatchItem(**vars(config), part=k)
                for k in range(1, n_batches + 1)}

    return Derived(Store(root, BugConfig), items_of,
                   keeps=lambda name: not name.rpartition(".")[2].isalnum())


# the step ----------------------------------------------------------------------------------------

def generate_stage(settings: Settings, host: SandboxFactory, environments: Derived,
                   coverages: Store) -> Stage:
    """Return the stage that makes files of candidates by operators. A repository may lack a
    coverage."""
    programs = ProgramCache(host)

    def candidates(item: BatchItem, *joined) -> Candidates:
        drawn = programs.candidates(BATCH * item.part, item, *joined)
        some = drawn[BATCH * (item.part - 1):BATCH * item.part]
        if not some:
            raise Excluded(f"has no more candidates: earlier files hold all {len(drawn):,}."
                           if drawn else NOTHING, item.repo_name)
        return Candidates(item.repo, item.repo_name, item.base_commit, METHOD, some, "", {}, 0.0)

    tables = {name: [*map(repr, operators(name))] for name in TABLES}
    return Stage(
        "bug_inject.generate", make=candidates, per_limit=PER_TASK / BATCH,
        reads=Reads(batch_items(settings.root), tuple(BatchItem.__dataclass_fields__),
                    made_by="bug_inject.register"),
        also_reads=(Reads(environments, SOURCE, made_by="env_setup", same="base_commit"),
                Reads(coverages, COVERAGE_FIELDS, same="base_commit", optional=True)),
        writes=Writes(Store(settings.root, Candidates)),
        after="bug_inject.py scale --steps register", then="bug_inject.py scale --steps validate",
        identity={"operators": digest(tables)})


# the source --------------------------------------------------------------------------------------

@dataclass(frozen=True)
class SelectedSources:
    """Hold the sources of a repository into which bugs may be put."""

    files: list[SourceFile]
    tests: Masks | None        # lines that tests ran; None: not known
    imports: Masks             # lines that ran outside of tests


class ProgramCache:
    """Keep the candidates of a few repositories. Only one thread at a time draws the candidates of
    a repository."""

    def __init__(self, host: SandboxFactory):
        self._host = host
        self._locks: dict[str, threading.Lock] = {}   # by repository
        # {repository: (candidates so far, iterator over further ones)}, the last used at the end
        self._made: dict[str, tuple[list[ProposedChange], Iterator[ProposedChange]]] = {}

    def candidates(self, n: int, config: BugConfig, environment: Environment,
                   coverage: Coverage | None) -> list[ProposedChange]:
        """Return at least the first n candidates of a repository, or all if it has fewer. Raise
        ItemFailed if its config does not fit the source."""
        name = config.repo_name
        with self._locks.setdefault(name, threading.Lock()):
            made, others = self._made.pop(name, None) or (
                [], self._drawn(config, environment, coverage))
            made += islice(others, max(0, n - len(made)))
            self._made[name] = made, others
            for old in [*self._made][:-MAX_KEPT]:
                self._made.pop(old, None)
            return made

    def _drawn(self, config: BugConfig, environment: Environment, coverage: Coverage | None
               ) -> Iterator[ProposedChange]:
        begin_step("reading the source")
        with fresh_sandbox(environment, self._host) as sandbox:
            program = program_of(sources_in(sandbox).files, config, coverage)
        yield from draw(program, config)


def program_of(every: list[SourceFile], config: BugConfig, coverage: Coverage | None
               ) -> SelectedSources:
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
        return SelectedSources(files, None, {})
    tests: Masks = {}
    for test, lines in zip(coverage.tests, lines_by_test(coverage), strict=True):
        if is_counted(test):
            add_lines(tests, lines)
    return SelectedSources(files, tests, masks_of(coverage.import_lines))


def _is_in(path: str, root: str) -> bool:
    return PurePosixPath(path).is_relative_to(root)


# the edits ---------------------------------------------------------------------------------------

@dataclass(frozen=True, slots=True)
class SiteEdit:
    """Hold an edit of a file."""

    operator: Operator
    file: SourceFile
    span: Span
    symbol: str     # id of the innermost function around it, or ""


def draw(program: SelectedSources, config: BugConfig) -> Iterator[ProposedChange]:
    """Yield different candidates in the order of a config's seed, at most its max_candidates."""
    changes = [edit for file in program.files for edit in _edits(file, program)]
    unchanged = cache(syntax_of)
    seen: set[str] = set()
    for change in in_order(changes, config.seed):
        file, operator, (start, end, new) = change.file, change.operator, change.span
        changed = replace(file, text=file.text[:start] + new + file.text[end:])
        before, after = ({file.path: one.text} for one in (file, changed))
        if syntax_of(changed) in ("", unchanged(file)) or giveaways(before, after):
            continue
        diff = text_diff(before, after)
        if (digest_of_change := normalised(diff)) in seen:
            continue
        seen.add(digest_of_change)
        lines = [max(1, line) for hunk in hunks_of(diff) for line in hunk.changed]
        yield {"diff": diff, "symbol": change.symbol, "operator": operator.name,
               "family": operator.family, "path": file.path, "lines": [lines[0], lines[-1]],
               "summary": f"{operator.name} in line {lines[0]} of {file.path}"}
        if len(seen) == config.max_candidates:
            break


def _edits(file: SourceFile, program: SelectedSources) -> Iterator[SiteEdit]:
    """Yield the edits of a file that are on lines that run; without coverage, all edits.

    A statement in a function must run in a test or at import, a statement outside of functions at
    import. For an edit of a `def` line, or by an operator that counts whole functions, a test must
    run a line of the function's body.
    """
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
            yield SiteEdit(edit.operator, file, edit.span, function.id if function else "")


def in_order(sites: list[SiteEdit], seed: int) -> list[SiteEdit]:
    """Sort sites so that their functions alternate."""
    drawn = random.Random(seed)
    n_sites = Counter(site.operator.name for site in sites)
    # sites of a common operator wait longer, so all operators are equally likely to be first
    waiting = sorted(sites, key=lambda site: drawn.expovariate(1 / n_sites[site.operator.name]))
    n_before: Counter = Counter()   # sites of each function
    turns: dict[int, list[SiteEdit]] = defaultdict(list)
    for site in waiting:
        function = site.file.path, site.symbol
        turns[n_before[function]].append(site)
        n_before[function] += 1
    return [site for turn in turns.values() for site in drawn.sample(turn, len(turn))]
