"""Make candidates of what is there: the step `generate` of bug_inject.py scale with --strategy
combine or mirror.

combine   two or three proven bugs of one file, or of one folder, at once; <repo_name>.combine-1
          has those of a repository, with the failing tests of each part
mirror    the reverse of a pull request in commit/; <repo_name>.mirror-<digest of its instance id>

No model is asked. That each part shows, and that a reverse is a bug, is for the tests to say.
"""
from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import PurePosixPath

from codedata.bugs.generate import (
    BatchItems,
    Configs,
    candidate_of,
    generate_stage,
    program_in,
)
from codedata.bugs.instances import is_of_agent
from codedata.bugs.prove import symbols_at
from codedata.bugs.register import known
from codedata.code.environments import open_environment
from codedata.code.junit import restored_name
from codedata.code.patches import Edit, diff_of, edited, edits_of, hunks_of
from codedata.code.source import Files, apply_patch
from codedata.errors import BrokenRecord, Excluded
from codedata.llm import Models
from codedata.records import Bug, BugConfig, Candidate, Candidates, Commit, Environment
from codedata.run_loop import Stage
from codedata.sandbox import Sandbox
from codedata.sandbox.factory import SandboxFactory
from codedata.settings import Settings
from codedata.store import Store, View, digest

COMBINE, MIRROR = "combine", "mirror"
STRATEGIES = (COMBINE, MIRROR)
N_COMBINED = 100           # of a repository
SIZES = (2, 2, 3)          # bugs of a combination: two of three times two
TRIES = 30                 # draws for each combination that is wanted
COMMIT = re.compile("[0-9a-f]{7,64}")
IS_ANCESTOR = "git -c safe.directory='*' merge-base --is-ancestor {commit} HEAD"


# the step ----------------------------------------------------------------------------------------

@dataclass(frozen=True)
class CombineItem(BugConfig):
    """Hold the config of a repository with the proven bugs that are combined."""

    bugs: list[str] = field(default_factory=list)   # their instance ids, sorted


@dataclass(frozen=True)
class MirrorItem(BugConfig):
    """Hold the config of a repository with a pull request that is undone."""

    pull_request: str = ""   # its instance id
    parent: str = ""         # the commit that it was made of
    patch: str = ""


class Combiner:
    """Make the candidates of combine or mirror; make() of the stage is the item function."""

    def __init__(self, settings: Settings, models: Models, host: SandboxFactory, strategy: str):
        self._settings, self._host, self._strategy = settings, host, strategy
        self._source = Store(settings.root, Bug if strategy == COMBINE else Commit)

    def stage(self, configs: Configs, environments: View, analyses: View,
              coverages: View) -> Stage:
        """Return the stage that makes the candidates of these configs. Analyses, for the functions
        that change, are looked up where there are any."""
        self._analyses = analyses.open()
        cls, items_of, candidates_of = {
            COMBINE: (CombineItem, combine_items, self._combined),
            MIRROR: (MirrorItem, mirror_items, self._mirrored)}[self._strategy]
        self._source.open()

        def make(item: BugConfig, environment: Environment) -> Candidates:
            return Candidates(item.repo, item.repo_name, item.base_commit, self._strategy,
                              candidates_of(item, environment), "", {}, 0.0)

        records = [*readable(self._source)]
        items = BatchItems(configs, cls, f"{self._strategy}-", lambda one: items_of(one, records))
        return generate_stage(self._settings, make, items, environments, {})

    def _combined(self, item: CombineItem, environment: Environment) -> list[Candidate]:
        """Return combinations of a repository's bugs. Raise Excluded where no two fit."""
        program = program_in(environment, item, self._host, None, None)
        texts = {file.path: file.text.decode() for file in program.files}
        parts = [part for name in item.bugs if (part := part_of(self._source.read(name), texts))]
        found = [{**self._candidate(item, before, after, ", ".join(part.name for part in chosen)),
                  "parts": [part.failing for part in chosen]}
                 for chosen, before, after in combinations(parts, texts, item.seed)]
        if not found:
            raise Excluded("has no two proven bugs in one place that can be combined.",
                           item.repo_name)
        return found

    def _mirrored(self, item: MirrorItem, environment: Environment) -> list[Candidate]:
        """Return the reverse of a pull request. Raise Excluded where it cannot be undone."""
        label = f"bug-{environment.repo_name[:40]}-mirror"
        with open_environment(environment, self._host, label) as sandbox:
            trouble = why_no_descendant(sandbox, item.parent)
            if not trouble:
                before, after, trouble = apply_patch(sandbox, item.patch, is_reverse=True)
        if trouble:
            raise Excluded(f"cannot be undone: {trouble}", item.pull_request)
        return [self._candidate(item, before, after, item.pull_request)]

    def _candidate(self, item: BugConfig, before: Files, after: Files, made_of: str) -> Candidate:
        analysis = known(self._analyses, item.repo_name)
        places = [(hunk.path, hunk.start)
                  for hunk in hunks_of(diff_of(before, after, n_context=0), "")]
        symbols = symbols_at(places, analysis) if analysis else []
        return candidate_of(before, after, self._strategy, next(iter(symbols), ""),
                            f"{self._strategy} of {made_of}")


def readable(store: Store) -> Iterator[Bug | Commit]:
    """Yield the records of an open store that can be read."""
    for name in store.names():
        with suppress(BrokenRecord):
            yield store.read(name)


def combine_items(config: BugConfig, bugs: Iterable[Bug]) -> Iterator[tuple[str, dict]]:
    """Yield the part of a repository that has two proven bugs or more by other strategies."""
    ids = sorted(bug.instance_id for bug in bugs
                 if bug.repo == config.repo and bug.source_commit == config.base_commit
                 and bug.method != COMBINE and not is_of_agent(bug.instance_id))
    if len(ids) > 1:
        yield "1", {"bugs": ids}


def mirror_items(config: BugConfig, commits: Iterable[Commit]) -> Iterator[tuple[str, dict]]:
    """Yield a part for each pull request of a repository."""
    for commit in commits:
        if commit.repo == config.repo:
            yield digest(commit.instance_id)[:8], {
                "pull_request": commit.instance_id, "parent": commit.base_commit,
                "patch": commit.patch}


# combine -----------------------------------------------------------------------------------------

@dataclass(frozen=True, slots=True)
class Part:
    """Hold a proven bug that may be combined."""

    name: str
    edits: dict[str, list[Edit]]   # by path
    failing: list[str]             # as env/ names them


def part_of(bug: Bug, texts: dict[str, str]) -> Part | None:
    """Return a bug as a part; None where it does more than change lines of these texts."""
    try:
        edits = edits_of(bug.bug_patch, texts)
    except (ValueError, KeyError):
        return None
    return Part(bug.instance_id, edits, sorted(map(restored_name, bug.FAIL_TO_PASS)))


def combinations(parts: list[Part], texts: dict[str, str],
                 seed: int) -> Iterator[tuple[list[Part], Files, Files]]:
    """Yield (bugs, the files before, the files with all of them), drawn by a seed: of one file and
    of one folder in turn, with other failing tests each, in other lines each."""
    by_file, by_folder = {}, {}
    for part in parts:
        path = min(part.edits)
        by_file.setdefault(path, []).append(part)
        by_folder.setdefault(PurePosixPath(path).parent, []).append(part)
    kinds = [[group for group in groups.values() if len(group) > 1]
             for groups in (by_file, by_folder)]
    drawn = random.Random(seed)
    seen: set[frozenset[str]] = set()
    for i in range(TRIES * N_COMBINED):
        groups = kinds[i % 2]
        if not groups or len(seen) == N_COMBINED:
            continue
        group = drawn.choice(groups)
        chosen = drawn.sample(group, min(len(group), drawn.choice(SIZES)))
        chosen.sort(key=lambda part: part.name)
        key = frozenset(part.name for part in chosen)
        if key in seen or len({(*part.failing,) for part in chosen}) < len(chosen):
            continue
        if edits := merged(chosen):
            seen.add(key)
            yield (chosen, {path: texts[path].encode() for path in edits},
                   {path: edited(texts[path], some).encode() for path, some in edits.items()})


def merged(chosen: list[Part]) -> dict[str, list[Edit]]:
    """Return the edits of bugs by path, each list in the order of its lines; {} where two of them
    touch each other."""
    found: dict[str, list[Edit]] = {}
    for part in chosen:
        for path, edits in part.edits.items():
            found.setdefault(path, []).extend(edits)
    for edits in found.values():
        edits.sort(key=lambda edit: edit.line)
        for one, other in pairwise(edits):
            if one.line + len(one.old) >= other.line:
                return {}
    return found


# mirror ------------------------------------------------------------------------------------------

def why_no_descendant(sandbox: Sandbox, parent: str) -> str:
    """Return why the source in a sandbox does not come from a commit, or ""."""
    if not COMMIT.fullmatch(parent):
        return f"its base_commit is no commit: {parent[:80]!r}"
    if not sandbox.run(IS_ANCESTOR.format(commit=parent)).ok:
        return f"its base_commit {parent} is no ancestor of the environment's commit"
    return ""
