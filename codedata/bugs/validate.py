"""Judge the candidates of bug_inject.py scale: its step `validate`.

Screening says which tests fail with each; a share of its verdicts, drawn by the candidates' own
texts, is made again by the whole suite in a fresh container, and so is every one with --full.
Screening that is found wrong fails its file, and in the end excludes the rest of the repository.
"""
from __future__ import annotations

import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from codedata.analysis.measure import READ
from codedata.bugs.generate import Configs
from codedata.bugs.instances import is_of_agent
from codedata.bugs.prove import grade_of, new_messages_of, normalised
from codedata.bugs.register import known
from codedata.bugs.screening import Screened, Screener
from codedata.checks.proof import GOOD, PASSED, Prover, Quick, judged, known_results, time_limit
from codedata.code.source import Files
from codedata.errors import BrokenRecord, Excluded, ItemFailed
from codedata.records import BugConfig, BugVerdict, Candidate, Candidates, Environment, Verdicts
from codedata.run_loop import Stage
from codedata.sandbox import SandboxDied
from codedata.sandbox.docker import LOST
from codedata.sandbox.docker_engine import reason
from codedata.sandbox.factory import SandboxFactory
from codedata.settings import Settings
from codedata.states import Reads, Writes
from codedata.store import Store, View, digest
from codedata.texts import printable

BY_HAND = "by-hand"        # the operator of a candidate that names none
MAX_WRONG, MAX_WRONG_SHARE = 1, 0.01   # audits of a repository that may find screening wrong


@dataclass(frozen=True)
class ScaleBatch(Candidates):
    """Hold the candidates of a file under its name."""

    name: str = ""


class ScaleCandidates(Store):
    """Hold the files of candidates that no agent made."""

    def __init__(self, root: Path):
        super().__init__(root, Candidates)

    def names(self) -> list[str]:
        """Return the names of the files in natural order."""
        return [name for name in super().names() if not is_of_agent(name)]

    def covers(self, name: str) -> bool:
        """Return whether there is a file of this name, or it is an agent's."""
        return name in self or is_of_agent(name)

    def read(self, name: str) -> ScaleBatch:
        """Return the candidates of a file. Raise BrokenRecord where they are not of the repository
        that its name says."""
        record = super().read(name)
        if name.rpartition(".")[0] != record.repo_name:
            raise BrokenRecord(f"holds candidates of another repository: {record.repo_name[:80]!r}",
                               str(self.path(name)), "Rename the file, or mend it.")
        return ScaleBatch(**vars(record), name=name)


@dataclass(frozen=True)
class Judged:
    """Hold the verdict on a candidate."""

    verdict: str           # GOOD, or in a word why it is no bug
    trouble: str           # the same in words; "" for a bug
    failing: list[str]     # tests that passed before, sorted
    how: str
    n_run: int
    seconds: float
    before: Files          # those that it changes
    after: Files
    is_audited: bool = False


class Screeners:
    """Lend screeners, whose sandboxes stay warm from one file of candidates to the next."""

    def __init__(self):
        self._lock = threading.Lock()
        self._idle: list[tuple[str, Screener]] = []

    @contextmanager
    def lent(self, key: str, make: Callable[[], Screener]) -> Iterator[Screener]:
        """Yield an idle screener under a key; else the one that make() returns, after one under
        another key is closed. It is closed, too, where its use fails."""
        with self._lock:
            found = next((one for one in self._idle if one[0] == key), None)
            taken = found or next(iter(self._idle), None)
            if taken:
                self._idle.remove(taken)
        if taken and not found:
            taken[1].close()
        screener = found[1] if found else make()
        with ExitStack() as failed:
            failed.callback(screener.close)
            yield screener
            failed.pop_all()
        with self._lock:
            self._idle.append((key, screener))

    def close(self) -> None:
        """Close all that are idle."""
        while self._idle:
            self._idle.pop()[1].close()


class Validator:
    """Judge files of candidates; make() is the item function."""

    def __init__(self, settings: Settings, host: SandboxFactory, is_full: bool):
        self._settings, self._host, self._is_full = settings, host, is_full
        self._share = settings.bug.max_broken_share
        self._prover = Prover(host, settings.bug.hide_tests, self._share)
        self._screeners = Screeners()
        self._verdicts = Store(settings.root, Verdicts)
        self._lock = threading.Lock()
        self._n_audited: Counter[str] = Counter()     # by repository
        self._wrong: dict[str, list[str]] = {}        # candidates that an audit judges otherwise
        self._compared: Counter[bool] = Counter()     # verdicts of --full, by whether equal
        self._notes: dict[str, str] = {}              # how a repository was screened otherwise

    def stage(self, environments: View, coverages: View) -> Stage:
        """Return the stage that judges candidates in these environments. What tests ran is looked
        up where `coverages` has it, and so is the config of a repository."""
        root, bug = self._settings.root, self._settings.bug
        self._coverages, self._configs = coverages.open(), Configs(root).open()
        return Stage(
            "bug_inject.validate", make=self.make, finish=self.finish,
            reads=Reads(ScaleCandidates(root), ("base_commit", "candidates"),
                        made_by="bug_inject.generate"),
            joined=Reads(environments, (*READ, "test_script"), made_by="env_setup"),
            writes=Writes(self._verdicts, tuple(Verdicts.__dataclass_fields__)),
            identity={"is_full": self._is_full, "max_broken_share": bug.max_broken_share,
                      "audit_share": bug.audit_share},
            cost_note="no calls: no model is asked",
            after="bug_inject.py scale --steps generate", then="bug_inject.py scale --steps report")

    def finish(self) -> list[str]:
        """Close the sandboxes. Return lines for the terminal."""
        self._screeners.close()
        n_audited, n_wrong = sum(self._n_audited.values()), sum(map(len, self._wrong.values()))
        lines = [f"      {name}: {note}" for name, note in sorted(self._notes.items())]
        if n_audited:
            lines.append(f"      audited {n_audited:,}: {n_audited - n_wrong:,} verdicts the same "
                         "by the whole suite in a fresh container")
        if n := self._compared.total():
            lines.append(f"      {self._compared[True]:,} of {n:,} verdicts equal to those that "
                         "were there")
        return lines

    def make(self, record: ScaleBatch, environment: Environment) -> Verdicts:
        """Return a verdict for each candidate. Raise ItemFailed where they are of another commit
        than the environment, or an audit says otherwise, Excluded where audits have said so too
        often."""
        name = environment.repo_name
        if record.base_commit != environment.base_commit:
            raise ItemFailed(f"its candidates are of another commit: {record.base_commit}", name,
                             f"Run: python bug_inject.py scale --steps register,generate --only "
                             f"{name} --force")
        self._check_trusted(name)
        started, label = time.monotonic(), f"bug-{name[:40]}-{secrets.token_hex(4)}"
        try:
            found = self._judged(record, environment, label)
        except LOST as e:
            raise ItemFailed(f"the engine is gone: {reason(e)}", name) from e
        finally:
            self._host.forget(label)
        verdicts = _verdicts(record, found, [*known_results(environment).values()].count(PASSED))
        if self._is_full and record.name in self._verdicts:
            self._compare(self._verdicts.read(record.name).verdicts, verdicts)
        return Verdicts(environment.repo, name, environment.base_commit, verdicts,
                        round(time.monotonic() - started, 1))

    def _compare(self, before: Sequence[BugVerdict], now: Sequence[BugVerdict]) -> None:
        """Count how many verdicts are those that were there before."""
        then = {one["diff"]: one["good"] for one in before}
        with self._lock:
            self._compared.update(then[one["diff"]] == one["good"] for one in now
                                  if one["diff"] in then)

    # judging -------------------------------------------------------------------------------------

    def _judged(self, record: ScaleBatch, environment: Environment, label: str) -> list[Judged]:
        """Return what is found of each candidate. Of one that combines bugs, each has to show."""
        candidates = record.candidates
        screened: list[Screened | None] = [None] * len(candidates)
        if not self._is_full:
            screened = self._screen([one["diff"] for one in candidates], environment, label)
        found = []
        for candidate, shown in zip(candidates, screened, strict=True):
            diff, parts = candidate["diff"], candidate.get("parts") or []
            if shown is None or parts:
                found.append(_with_parts(self._full(environment, diff, label), parts))
            else:
                found.append(self._audited(environment, diff, self._read(environment, shown),
                                           label))
        return found

    def _full(self, environment: Environment, diff: str, label: str) -> Judged:
        """Return the verdict of the whole suite in a fresh container."""
        started = time.monotonic()
        try:
            quick = self._prover.quick(environment, diff, label)
        except SandboxDied as e:
            quick = Quick(f"the suite ends its sandbox: {e.what}", [], 0, "", "crash")
        return Judged(quick.verdict, quick.trouble, quick.broken, "full",
                      quick.n_passed + len(quick.broken), time.monotonic() - started,
                      quick.before, quick.after)

    def _screen(self, diffs: Sequence[str], environment: Environment,
                label: str) -> list[Screened | None]:
        name = environment.repo_name
        coverage = known(self._coverages, name)
        if coverage and coverage.base_commit != environment.base_commit:
            coverage = None
        config = known(self._configs, name) or BugConfig(   # as `register` would write it
            environment.repo, name, environment.base_commit, "", ["."], [], "plugin", "",
            time_limit(environment, self._host.run_timeout_s), 1, 0)
        key = digest([name, config.selection, config.timeout_s,
                      *(getattr(environment, field) for field in (*READ, "test_script"))])
        with self._screeners.lent(key, lambda: Screener(
                environment, coverage, config, self._host, f"{label}-warm", self._share)) as one:
            shown = one.screen(diffs)
        if note := one.note:
            self._notes[name] = note
        return shown

    def _read(self, environment: Environment, shown: Screened) -> Judged:
        verdict, trouble = judged(shown.outcome, known_results(environment), self._share)
        return Judged(verdict, trouble, shown.failing, shown.how, shown.n_run, shown.seconds,
                      shown.before, shown.after)

    # audits --------------------------------------------------------------------------------------

    def _audited(self, environment: Environment, diff: str, found: Judged, label: str) -> Judged:
        """Return a verdict, audited where it is drawn. Raise ItemFailed where another one is right,
        Excluded where that is one too many."""
        if int(digest(diff), 16) >= self._settings.bug.audit_share * 16 ** 16:
            return found
        name, right = environment.repo_name, self._full(environment, diff, label)
        with self._lock:
            self._n_audited[name] += 1
        if (right.verdict == GOOD) == (found.verdict == GOOD):
            return replace(found, is_audited=True)
        which = (f"{normalised(diff)[:8]} ({found.verdict} by {found.how}, {right.verdict} by the "
                 "whole suite)")
        with self._lock:
            self._wrong.setdefault(name, []).append(which)
        self._check_trusted(name)
        raise ItemFailed(f"screening judges otherwise than the whole suite: {which}", name)

    def _check_trusted(self, name: str) -> None:
        """Raise Excluded where audits of a repository have found screening wrong too often."""
        with self._lock:
            wrong, n_audited = [*self._wrong.get(name, [])], self._n_audited[name]
        if not self._is_full and len(wrong) > max(MAX_WRONG, MAX_WRONG_SHARE * n_audited):
            raise Excluded(f"screening judges {len(wrong)} of {n_audited} audited candidates "
                           f"otherwise than the whole suite: {'; '.join(wrong)}.", name)


def _with_parts(found: Judged, parts: Sequence[Sequence[str]]) -> Judged:
    """Return the verdict on a candidate that combines bugs, whose failing tests are `parts`."""
    lost = sorted({test for part in parts for test in part}.difference(found.failing))
    if found.verdict != GOOD or not lost:
        return found
    trouble = f"one of its bugs does not show: {printable(lost[0])}"
    return replace(found, verdict="masked", trouble=trouble)


def _verdicts(record: Candidates, found: Sequence[Judged], n_passed: int) -> list[BugVerdict]:
    """Return the verdicts on candidates as a record has them."""
    good = [one for one in found if one.verdict == GOOD]
    messages = iter(new_messages_of((one.before, one.after) for one in good))
    return [_verdict(record, candidate, one, n_passed,
                     next(messages) if one.verdict == GOOD else [])
            for candidate, one in zip(record.candidates, found, strict=True)]


def _verdict(record: Candidates, candidate: Candidate, found: Judged, n_passed: int,
             messages: list[str]) -> BugVerdict:
    operator, diff = operator_of(candidate), candidate["diff"]
    evidence = {"verdict": found.verdict, "failing": found.failing, "how": found.how,
                "n_run": found.n_run, "seconds": round(found.seconds, 3),
                "audited": found.is_audited}
    if found.verdict == GOOD:
        evidence |= {"grade": grade_of(len(found.failing), n_passed, messages),
                     "new_messages": messages}
    return BugVerdict(
        diff=digest(diff), instance_id=f"{record.repo_name}.{operator}.{normalised(diff)[:8]}",
        good=found.verdict == GOOD, reason=found.trouble, instance=None, evidence=evidence)


def operator_of(candidate: Candidate) -> str:
    """Return the name of the operator that made a candidate."""
    return str(candidate.get("operator") or BY_HAND)
