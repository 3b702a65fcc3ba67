"""Prove the candidates of agents: the step `prove` of bug_inject.py. What is no bug gets a verdict
with its reason; only an environment that is not as env/ says makes an item fail."""
from __future__ import annotations

import hashlib
import re
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

from codedata.analysis.analyse import entity_of_test
from codedata.bugs.instances import as_texts, bug_tasks, is_of_agent
from codedata.code.entities import language_of
from codedata.code.patches import diff_of, hunks_of, normalised
from codedata.errors import BrokenRecord
from codedata.progress import current_step
from codedata.records import (
    BUG,
    Analysis,
    BugVerdict,
    Candidate,
    Candidates,
    Environment,
    Object,
    RepoMeta,
    Task,
    Verdicts,
)
from codedata.run_loop import Stage
from codedata.sandbox import open_sandbox
from codedata.sandbox.factory import SandboxFactory
from codedata.settings import Settings
from codedata.states import Reads, Writes
from codedata.store import Derived, Store, digest
from codedata.suites.environments import READ, labelled
from codedata.tasks.folder import with_about
from codedata.tasks.prove import IMAGES, Proof, Prover

CATEGORY = "debugging"     # of tasks, as Harbor has them
MAX_SUBTLE, MAX_SUBTLE_SHARE = 5, 0.1   # tests that a subtle bug breaks: whichever is more
MAX_LINTED = 1_000_000     # bytes of a file that pyflakes is given
LINT_S, LINT_TEXT_S = 60, 2   # seconds for pyflakes, and for each text
MESSAGE = re.compile(r"(\w+\.py):\d+:(?:\d+:?)? (.*)")
Proven = tuple[str, Object, Task | None]   # see proven()
LINE = re.compile(r"line \d+")     # another one of the file, which a patch may have moved


@dataclass(frozen=True)
class Batch(Candidates):
    """Hold the candidates of a file under its name; of agents, where the same change was before."""

    name: str = ""
    same_as: tuple[str, ...] = ()   # of each candidate: the earlier item of its repository, or ""


@dataclass(frozen=True, slots=True)
class Change:
    """Hold a change that is to be proven, and who made it."""

    instance_id: str
    candidate: Candidate
    method: str
    item: str                # its file in bug/_candidates/


def batches_in(root: Path) -> Derived:
    """Return the candidates of agents in bug/_candidates/, each file with what its repository has
    before it."""
    store = Store(root, Candidates, only=is_of_agent)
    # (repository, commit, change) → the item that has it first, its place there
    first: dict[tuple[str, str, str], tuple[str, int]] = {}

    def batch_of(name: str, record: Candidates) -> dict[str, Batch]:
        check_repository(record, store, name)
        same_as = []
        for i, candidate in enumerate(record.candidates):
            change = record.repo_name, record.base_commit, normalised(candidate["diff"])
            before = first.setdefault(change, (name, i))
            same_as.append("" if before == (name, i) else before[0])
        return {name: Batch(**vars(record), name=name, same_as=tuple(same_as))}

    return Derived(store, batch_of, keeps=store.covers, derived=False)


class BugProver:
    """Prove candidates; make() is the item function."""

    def __init__(self, settings: Settings, host: SandboxFactory):
        self._settings, self._host = settings, host
        bug = settings.bug
        self._prover = Prover(host, bug.hide_tests, bug.max_broken_share)

    def stage(self, environments, analyses) -> Stage:
        """Return the stage that proves the candidates of these environments. `analyses` gives the
        Analysis of a repository by name; where it has none, distances are not known."""
        root, bug = self._settings.root, self._settings.bug
        return Stage(
            "bug_inject.prove", make=self.make,
            reads=Reads(batches_in(root), ("base_commit", "candidates", "same_as"),
                        made_by="bug_inject.inject"),
            joined=read_by_proof(root, environments, (*READ, "test_script"), analyses),
            writes=Writes(Store(root, Verdicts), tuple(Verdicts.__dataclass_fields__),
                          lacks=self._find_lost()),
            identity={"hide_tests": bug.hide_tests, "max_broken_share": bug.max_broken_share},
            cost_note="no calls: no model is asked",
            after="bug_inject.py agent --steps inject", then="bug_inject.py agent --steps issue")

    def _find_lost(self) -> Callable[[str], str]:
        """Return a function that says of a file of candidates which image of its bugs is gone."""
        why_lost, tasks = self._host.find_lost(IMAGES), bug_tasks(self._settings.root, is_of_agent)

        @cache
        def bugs_by_file() -> dict[str, list[str]]:
            bugs = defaultdict(list)
            for name in tasks.open().names():
                bugs[name.rpartition(".")[0]].append(name)
            return bugs

        return lambda item: next(filter(None, map(why_lost, bugs_by_file().get(item, ()))), "")

    def make(self, batch: Batch, environment: Environment, analysis: Analysis | None,
             meta: RepoMeta | None) -> Verdicts:
        """Return a verdict for each candidate. Raise ItemFailed where the environment has drifted,
        Excluded where no image can be made of it."""
        name = environment.repo_name
        started = time.monotonic()
        with labelled(self._host, name) as label:
            prove = partial(proven, self._prover, environment, analysis, meta, label)
            verdicts = [_verdict(batch, i, prove) for i in range(len(batch.candidates))]
        return Verdicts(environment.repo, name, environment.base_commit, verdicts,
                        round(time.monotonic() - started, 1))


def _verdict(batch: Batch, i: int, prove: Callable[[Change], Proven]) -> BugVerdict:
    candidate = batch.candidates[i]
    current_step().within = f"candidate {i + 1} of {len(batch.candidates)}"
    name = f"{batch.name}.{normalised(candidate['diff'])[:8]}"
    why, shown, task = f"it is the same change as {batch.same_as[i]}", {}, None
    if not batch.same_as[i]:
        why, shown, task = prove(Change(name, candidate, batch.method, batch.name))
    return BugVerdict(diff=digest(candidate["diff"]), instance_id=name, good=not why, reason=why,
                      instance=task and as_texts(task), evidence=shown)


def read_by_proof(root: Path, environments: Derived, fields: tuple[str, ...],
                  analyses: Store) -> tuple[Reads, ...]:
    """Return what a proof reads beside a candidate: its environment and, where they are there, the
    analysis, for distances, and the licence, for which nothing is proven again."""
    return (Reads(environments, fields, made_by="env_setup", same="base_commit"),
            Reads(analyses, ("entities", "edges", "files"), same="base_commit", optional=True),
            Reads(Store(root, RepoMeta), (), same="base_commit", optional=True))


def check_repository(record: Candidates, store: Store, name: str) -> None:
    """Raise BrokenRecord where a file has candidates of another repository than its name says."""
    if name.rpartition(".")[0] != record.repo_name:
        raise BrokenRecord(f"holds candidates of another repository: {record.repo_name[:80]!r}",
                           str(store.path(name)), "Rename the file, or mend its repo_name.")


def proven(prover: Prover, environment: Environment, analysis: Analysis | None,
           meta: RepoMeta | None, label: str, change: Change) -> Proven:
    """Return (why a change is no bug, or ""; what the runs showed; its task without an instruction,
    None where it is none). Raise as Prover.prove() does."""
    diff, method = change.candidate["diff"], change.method
    proof = prover.prove(environment, diff, change.instance_id, label, kind=BUG)
    if proof.trouble:
        return proof.trouble, {"runs": proof.runs, "log": proof.log}, None
    shown = {**proof.task.proof, **effects(proof, analysis)}
    symbols, language = shown["symbols"], language_of(min(proof.before | proof.after))
    symbol = change.candidate.get("symbol") or ""
    licence = meta.licence if meta else environment.row.get("licence")
    tags = language, BUG, str(change.candidate.get("family") or method)
    return "", shown, with_about(
        replace(proof.task, proof=shown), method=method, language=language,
        symbol=symbols[0] if symbols and symbol not in symbols else symbol,
        grade=grade_of(shown["broken"], shown["tests"], shown["new_messages"]),
        licence=licence and str(licence), labels={
            "category": CATEGORY, "tags": [*filter(None, tags)]},
        made_from={"directory": Candidates.directory, "item": change.item, "digest": digest(diff)})


def grade_of(n_broken: int, n_before: int, new_messages: Sequence[str]) -> str:
    """Return whether a bug is subtle or blunt, by how many tests fail of those that passed, and by
    what a linter says."""
    is_subtle = n_broken <= max(MAX_SUBTLE, MAX_SUBTLE_SHARE * n_before) and not new_messages
    return "subtle" if is_subtle else "blunt"


# what a bug does ---------------------------------------------------------------------------------

def effects(proof: Proof, analysis: Analysis | None) -> Object:
    """Return sizes, shares, new messages of a linter, and how far the failing tests are from the
    change in the call graph: null without an analysis."""
    n_broken = len(proof.fail_to_pass)
    n_before = n_broken + len(proof.pass_to_pass)
    hunks = [*hunks_of(diff_of(proof.before, proof.after, n_context=0), "")]
    lines = {(hunk.path, line) for hunk in hunks
             for line in range(hunk.start, hunk.start + max(hunk.length, 2))}
    symbols = symbols_at(lines, analysis) if analysis else []
    return {"tests": n_before, "broken": n_broken, "share_broken": round(n_broken / n_before, 4),
            "files": len(proof.before | proof.after),
            "lines_removed": sum(len(hunk.old) for hunk in hunks),
            "lines_added": sum(len(hunk.added) for hunk in hunks),
            "symbols": symbols,
            "distance": distances(proof.fail_to_pass, symbols, analysis) if analysis else None,
            "new_messages": new_messages(proof.before, proof.after)}


def symbols_at(lines: Iterable[tuple[str, int]], analysis: Analysis) -> list[str]:
    """Return the ids of the innermost functions around lines of the source, each once."""
    found = {}
    for path, line in sorted(lines):
        around = [one for one in analysis.entities if one["path"] == path
                  and one["kind"] != "class" and one["line"] <= line <= one["end_line"]]
        if around:
            found[max(around, key=lambda one: one["line"])["id"]] = True
    return [*found]


def distances(tests: Iterable[str], symbols: Iterable[str], analysis: Analysis) -> Object:
    """Return how many calls lie between the tests and functions, at least and at most, over all
    edges, and how many of the tests have no way to any of them."""
    steps = steps_to(symbols, analysis.edges)
    paths = {file["path"] for file in analysis.files}
    reached = [steps.get(entity_of_test(test, paths)) for test in tests]
    known = [n for n in reached if n is not None]
    return {"nearest": min(known, default=None), "farthest": max(known, default=None),
            "unreached": len(reached) - len(known)}


def steps_to(symbols: Iterable[str], edges: Iterable[Object]) -> dict[str, int]:
    """Return {caller: number of calls from it to the nearest of some functions}, nearest ones
    first."""
    callers: dict[str, list[str]] = {}
    for edge in edges:
        callers.setdefault(edge["callee"], []).append(edge["caller"])
    steps = dict.fromkeys(symbols, 0)
    queue = [*steps]
    for id in queue:   # which grows
        for caller in callers.get(id, []):
            if caller not in steps:
                steps[caller] = steps[id] + 1
                queue.append(caller)
    return steps


def new_messages(before: Mapping[str, bytes], after: Mapping[str, bytes]) -> list[str]:
    """Return what pyflakes says of the changed files in Python and did not say before."""
    return new_messages_of([(before, after)])[0]


def new_messages_of(changes: Iterable[tuple[Mapping[str, bytes], Mapping[str, bytes]]]
                    ) -> list[list[str]]:
    """Return for each change (files before, files after) what pyflakes says of its files in Python
    and did not say before. It reads texts; nothing of the project is imported."""
    texts: dict[str, bytes] = {}
    sides = [[[_linted(files[path], texts) for path in sorted(files)
               if language_of(path) == "python" and len(files[path]) <= MAX_LINTED]
              for files in change] for change in changes]
    found: dict[str, list[str]] = {}
    for match in map(MESSAGE.match, _pyflakes(texts).splitlines()):
        if match:
            found.setdefault(match[1], []).append(LINE.sub("line …", match[2]))
    return [sorted((_counted(after, found) - _counted(before, found)).elements())
            for before, after in sides]


def _linted(text: bytes, texts: dict[str, bytes]) -> str:
    """Add a text to those that pyflakes is given, each once, and return its name."""
    name = f"{hashlib.blake2b(text, digest_size=12).hexdigest()}.py"
    texts[name] = text
    return name


def _pyflakes(texts: Mapping[str, bytes]) -> str:
    if not texts:
        return ""
    with open_sandbox("local", scripts=[]) as here:
        here.put(texts, ".")
        return here.run(f"'{sys.executable}' -I -m pyflakes {' '.join(texts)}",
                        timeout_s=LINT_S + LINT_TEXT_S * len(texts)).output


def _counted(names: Iterable[str], found: Mapping[str, list[str]]) -> Counter:
    return Counter(message for name in names for message in found.get(name, ()))
