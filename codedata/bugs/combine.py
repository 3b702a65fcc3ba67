"""Make candidates of proven bugs, two or three of one file or of one folder at once: the step
`generate` of bug_inject.py scale with --strategy combine.

The file <repo_name>.combine-1 holds the combinations of a repository, each with the failing tests
of its parts. No model is asked. Screening decides whether the failing tests of every combined bug
still fail.
"""
from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import PurePosixPath

from codedata.bugs.generate import BatchItem, candidate_of, generate_stage, open_source
from codedata.bugs.instances import ProvenBug, is_of_scale
from codedata.code.patches import Edit, edited, edits_of
from codedata.errors import Excluded
from codedata.records import BUG, Analysis, BugConfig, Environment, ProposedChange, Task
from codedata.run_loop import Stage
from codedata.sandbox.factory import SandboxFactory
from codedata.settings import Settings
from codedata.store import Derived, Store, all_readable
from codedata.suites.contexts import sources_in
from codedata.suites.source import Files, is_text

COMBINE = "combine"
N_COMBINED = 100           # combinations of a repository, at most
SIZES = (2, 2, 3)          # bugs of a combination: 2 is drawn twice as often as 3
TRIES = 30                 # draws for each of N_COMBINED combinations


# the step ----------------------------------------------------------------------------------------

def combine_stage(settings: Settings, host: SandboxFactory, *stores: Derived | Store) -> Stage:
    """Return the stage that makes the candidates of combine."""
    bugs = Store(settings.root, Task).open()
    readable = all_readable(settings.root, Task)
    return generate_stage(settings, COMBINE, stores, lambda config: combine_parts(config, readable),
                          partial(_combined, bugs, host), {})


def _combined(bugs: Store, host: SandboxFactory, item: BatchItem, environment: Environment,
              analysis: Analysis | None, _coverage) -> tuple[list[ProposedChange], dict]:
    """Return combinations of a repository's bugs. Raise Excluded if no two can be combined."""
    with open_source(environment, host) as sandbox:
        texts = {file.path: file.text.decode() for file in sources_in(sandbox).files
                 if is_text(file.text)}
    parts = [part for name in item.part
             if (part := combinable(ProvenBug.of(bugs.read(name)), texts))]
    found = []
    for chosen, before, after in combinations(parts, texts, item.seed):
        summary = f"{COMBINE} of {', '.join(part.name for part in chosen)}"
        candidate = candidate_of(before, after, COMBINE, summary, analysis=analysis)
        found.append({**candidate, "parts": [part.failing for part in chosen]})
    if not found:
        raise Excluded("has no two proven bugs in one file or folder that can be combined.",
                       item.repo_name)
    return found, {}


def combine_parts(config: BugConfig, bugs: Iterable[Task]) -> Iterator[tuple[str, list[str]]]:
    """Yield ("1", ids of a repository's proven bugs by other strategies) if there are two or more.
    """
    wanted = {"kind": BUG, "repo": config.repo, "source_commit": config.base_commit}
    ids = sorted(bug.instance_id for bug in bugs
                 if bug.about.items() >= wanted.items() and bug.about.get("method") != COMBINE
                 and is_of_scale(bug.instance_id))
    if len(ids) > 1:
        yield "1", ids


# combine -----------------------------------------------------------------------------------------

@dataclass(frozen=True, slots=True)
class CombinableBug:
    """Hold a proven bug that may be combined."""

    name: str
    edits: dict[str, list[Edit]]   # by path
    failing: list[str]             # as env/ names them


def combinable(bug: ProvenBug, texts: dict[str, str]) -> CombinableBug | None:
    """Return a bug with its edits, ready to be combined; None if its patch does more than change
    lines of `texts`, which are {path: text}."""
    try:
        edits = edits_of(bug.bug_patch, texts)
    except (ValueError, KeyError):
        return None
    return CombinableBug(bug.instance_id, edits, bug.failing)


def combinations(parts: list[CombinableBug], texts: dict[str, str],
                 seed: int) -> Iterator[tuple[list[CombinableBug], Files, Files]]:
    """Yield (bugs, the files without them, the files with all of them), drawn by `seed` from one
    file and from one folder in turn. The bugs of a combination have different failing tests, and
    their edits do not touch each other."""
    by_file, by_folder = defaultdict(list), defaultdict(list)
    for part in parts:
        path = min(part.edits)
        by_file[path].append(part)
        by_folder[PurePosixPath(path).parent].append(part)
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


def merged(chosen: list[CombinableBug]) -> dict[str, list[Edit]]:
    """Return the edits of bugs by path, each list in the order of its lines; {} where two of them
    touch each other."""
    found: dict[str, list[Edit]] = defaultdict(list)
    for part in chosen:
        for path, edits in part.edits.items():
            found[path] += edits
    for edits in found.values():
        edits.sort(key=lambda edit: edit.line)
        for one, other in pairwise(edits):
            if one.line + len(one.old) >= other.line:
                return {}
    return found
