"""Judge the candidates of bug_inject.py scale: its step `validate`.

Screening says which tests fail with each; a share of its verdicts, drawn by the candidates' own
texts, is made again by the whole suite in a fresh container, and so is every one with --full.
Screening that is found wrong fails its file, and in the end excludes the rest of the repository.
"""
from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from codedata.analysis.analyse import COVERAGE_FIELDS
from codedata.analysis.measure import JUDGED_BY
from codedata.bugs.instances import is_of_scale
from codedata.bugs.prove import Batch, check_repository, grade_of, new_messages_of
from codedata.bugs.register import why_not_chosen
from codedata.code.patches import normalised
from codedata.errors import Excluded, ItemFailed
from codedata.llm.reply_log import current_reply_log
from codedata.progress import current_step
from codedata.records import (
    BugConfig,
    BugVerdict,
    Candidate,
    Candidates,
    Coverage,
    Environment,
    Verdicts,
    parse,
)
from codedata.run_loop import Stage
from codedata.sandbox import SandboxDied
from codedata.sandbox.factory import SandboxFactory
from codedata.settings import Settings
from codedata.states import Reads, Writes
from codedata.store import Derived, Store, digest
from codedata.suites.environments import labelled
from codedata.tasks.first_run import FirstRun, first_run
from codedata.tasks.screen import Screened, Screener
from codedata.tasks.suite_outcomes import GOOD, PASSED, Outcome, known_results, time_limit
from codedata.texts import printable

BY_HAND = "by-hand"        # the operator of a candidate that names none
MAX_WRONG, MAX_WRONG_SHARE = 1, 0.01   # audits of a repository that may find screening wrong
FIRST_PART, PART_S = 20, 300.0   # candidates of a file's first part, most seconds of a later one


def scale_candidates(root: Path) -> Derived:
    """Return the files of candidates that no agent made. Those of another repository than their
    names say are broken."""
    store = Store(root, Candidates, only=is_of_scale)

    def batch_of(name: str, record: Candidates) -> dict[str, Batch]:
        check_repository(record, store, name)
        return {name: Batch(**vars(record), name=name)}

    return Derived(store, batch_of, names_of=lambda name: [name], keeps=store.covers)


class Validator:
    """Judge files of candidates; make() is the item function."""

    def __init__(self, settings: Settings, host: SandboxFactory, is_full: bool):
        self._settings, self._host, self._is_full = settings, host, is_full
        self._share = settings.bug.max_broken_share
        self._verdicts = Store(settings.root, Verdicts)
        self._screeners: dict[int, Screener] = {}   # by worker
        self._lock = threading.Lock()
        self._n_audited: Counter[str] = Counter()     # by repository
        self._wrong: dict[str, list[str]] = {}        # candidates that an audit judges otherwise
        self._compared: Counter[bool] = Counter()     # verdicts of --full, by whether equal
        self._notes: dict[str, str] = {}              # how a repository was screened otherwise
        self._n_kept = 0                              # verdicts that an unfinished run has left
        self._identity = {"is_full": is_full, "max_broken_share": self._share,
                          "audit_share": settings.bug.audit_share}

    def stage(self, environments: Derived, coverages: Store) -> Stage:
        """Return the stage that judges candidates in these environments. What tests ran is looked
        up where `coverages` has it."""
        root = self._settings.root
        return Stage(
            "bug_inject.validate", make=self.make, finish=self.finish,
            reads=Reads(scale_candidates(root), ("base_commit", "candidates"),
                        made_by="bug_inject.generate"),
            joined=(Reads(environments, JUDGED_BY, made_by="env_setup", same="base_commit"),
                    Reads(Store(root, BugConfig), ("selection", "reason", "timeout_s"),
                          made_by="bug_inject.register", same="base_commit"),
                    Reads(coverages, COVERAGE_FIELDS, same="base_commit", optional=True)),
            writes=Writes(self._verdicts, tuple(Verdicts.__dataclass_fields__)),
            identity=self._identity, cost_note="no calls: no model is asked",
            after="bug_inject.py scale --steps generate", then="bug_inject.py scale --steps report")

    def finish(self) -> list[str]:
        """Close the sandboxes. Return lines for the terminal."""
        for screener in self._screeners.values():
            screener.close()
        n_audited, n_wrong = sum(self._n_audited.values()), sum(map(len, self._wrong.values()))
        lines = [f"      {name}: {note}" for name, note in sorted(self._notes.items())]
        if self._n_kept:
            lines.append(f"      {self._n_kept:,} verdicts kept from an earlier run")
        if n_audited:
            lines.append(f"      audited {n_audited:,}: {n_audited - n_wrong:,} verdicts the same "
                         "by the whole suite in a fresh container")
        if n := self._compared.total():
            lines.append(f"      {self._compared[True]:,} of {n:,} verdicts equal to those that "
                         "were there")
        return lines

    def make(self, record: Batch, environment: Environment, config: BugConfig,
             coverage: Coverage | None) -> Verdicts:
        """Return a verdict for each candidate. Raise ItemFailed where an audit says otherwise,
        Excluded where audits have said so too often."""
        name = environment.repo_name
        self._check_trusted(name)
        started = time.monotonic()
        with labelled(self._host, name) as label:
            verdicts = self._verdicts_on(record, environment, label, partial(
                self._screener, environment, config, coverage, label))
        if self._is_full and record.name in self._verdicts:
            before = self._verdicts.read(record.name).verdicts
            was_good = {one["diff"]: one["good"] for one in before}
            with self._lock:
                self._compared.update(was_good[one["diff"]] == one["good"] for one in verdicts
                                      if one["diff"] in was_good)
        return Verdicts(environment.repo, name, environment.base_commit, verdicts,
                        round(time.monotonic() - started, 1))

    # judging -------------------------------------------------------------------------------------

    def _verdicts_on(self, record: Batch, environment: Environment, label: str,
                     screener: Callable[[], Screener]) -> list[BugVerdict]:
        """Return a verdict on each candidate of a file. They are judged in parts, each of which is
        kept at once; what an unfinished run has kept is not judged again. A part takes about as
        long as a run of the suite may, for each has a start and an end of its own."""
        log, fields, n = current_reply_log(), vars(environment), FIRST_PART
        inputs = [self._identity, *map(fields.get, JUDGED_BY)]
        keys = [digest([*inputs, one]) for one in record.candidates]
        done = {key: kept for key in keys if (kept := log.result_of(key))}
        parse(Verdicts, {**fields, "verdicts": [*done.values()], "seconds": 0.0},
              f"what bug/_verdicts/_partial/ keeps of {record.name}", "Delete that file.")
        with self._lock:
            self._n_kept += len(done)
        part_s = time_limit(environment, PART_S)
        left = dict(zip(keys, record.candidates, strict=True))
        while left := {key: one for key, one in left.items() if key not in done}:
            current_step().within = f"{len(done)} of {len(keys)} judged"
            started = time.monotonic()
            part = [*left.values()][:n]
            found = self._judged(part, environment, label, screener)
            for key, verdict in zip(left, _verdicts(environment, part, found), strict=False):
                log.keep(key, verdict)
                done[key] = verdict
            n = max(1, int(n * part_s / (time.monotonic() - started)))
        return [done[key] for key in keys]

    def _judged(self, candidates: Sequence[Candidate], environment: Environment, label: str,
                open_screener: Callable[[], Screener]) -> list[Screened]:
        """Return what is found of each candidate. Of one that combines bugs, each has to show."""
        screened: list[Screened | None] = [None] * len(candidates)
        if not self._is_full:
            screener = open_screener()
            screened = screener.screen([one["diff"] for one in candidates])
            if screener.note:
                self._notes[environment.repo_name] = screener.note
        found = []
        for candidate, shown in zip(candidates, screened, strict=True):
            diff, parts = candidate["diff"], candidate.get("parts") or []
            if shown is None or parts:
                found.append(_with_parts(self._full(environment, diff, label), parts))
            else:
                found.append(self._audited(environment, diff, shown, label))
        return found

    def _full(self, environment: Environment, diff: str, label: str) -> Screened:
        """Return what the whole suite in a fresh container shows."""
        started = time.monotonic()
        try:
            run = first_run(environment, diff, self._host, label, self._share)
        except SandboxDied as e:
            run = FirstRun("crash", f"the suite ends its sandbox: {e.what}")
        return Screened(Outcome({}), run.verdict, run.reason, run.broken, "full",
                        run.n_passed + len(run.broken), time.monotonic() - started,
                        run.before, run.after)

    def _screener(self, environment: Environment, config: BugConfig, coverage: Coverage | None,
                  label: str) -> Screener:
        """Return this worker's screener, whose sandbox stays warm from one file of candidates to
        the next of the same environment."""
        name, worker = environment.repo_name, threading.get_ident()
        screener = self._screeners.get(worker)
        if screener and screener.environment.repo_name == name:
            return screener
        if screener:
            screener.close()
        self._screeners[worker] = Screener(
            environment, coverage, why_not_chosen(config, coverage, environment),
            config.timeout_s, self._host, f"{label}-warm", self._share)
        return self._screeners[worker]

    # audits --------------------------------------------------------------------------------------

    def _audited(self, environment: Environment, diff: str, found: Screened,
                 label: str) -> Screened:
        """Return what is found, audited where it is drawn. Raise ItemFailed where another verdict
        is right, Excluded where that is one too many."""
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
        current_reply_log().discard()
        raise ItemFailed(f"screening judges otherwise than the whole suite: {which}", name)

    def _check_trusted(self, name: str) -> None:
        """Raise Excluded where audits of a repository have found screening wrong too often."""
        with self._lock:
            wrong, n_audited = [*self._wrong.get(name, [])], self._n_audited[name]
        if not self._is_full and len(wrong) > max(MAX_WRONG, MAX_WRONG_SHARE * n_audited):
            raise Excluded(f"screening judges {len(wrong)} of {n_audited} audited candidates "
                           f"otherwise than the whole suite: {'; '.join(wrong)}.", name)


def _with_parts(found: Screened, parts: Sequence[Sequence[str]]) -> Screened:
    """Return what is found of a candidate that combines bugs, whose failing tests are `parts`."""
    lost = sorted({test for part in parts for test in part}.difference(found.failing))
    if found.verdict != GOOD or not lost:
        return found
    trouble = f"one of its bugs does not show: {printable(lost[0])}"
    return replace(found, verdict="masked", trouble=trouble)


def _verdicts(environment: Environment, candidates: Sequence[Candidate],
              found: Sequence[Screened]) -> list[BugVerdict]:
    """Return the verdicts on candidates as a record has them."""
    n_passed = [*known_results(environment).values()].count(PASSED)
    messages = iter(new_messages_of((one.before, one.after) for one in found
                                    if one.verdict == GOOD))
    verdicts = []
    for candidate, one in zip(candidates, found, strict=True):
        is_good = one.verdict == GOOD
        evidence = {"verdict": one.verdict, "failing": one.failing, "how": one.how,
                    "n_run": one.n_run, "seconds": round(one.seconds, 3),
                    "audited": one.is_audited}
        if is_good:
            new = next(messages)
            evidence |= {"grade": grade_of(len(one.failing), n_passed, new), "new_messages": new}
        verdicts.append(BugVerdict(
            diff=digest(candidate["diff"]), instance_id=name_of(environment.repo_name, candidate),
            good=is_good, reason=one.trouble, instance=None, evidence=evidence))
    return verdicts


def operator_of(candidate: Candidate) -> str:
    """Return the name of the operator that made a candidate."""
    return str(candidate.get("operator") or BY_HAND)


def name_of(repo_name: str, candidate: Candidate) -> str:
    """Return the instance id of a candidate."""
    return f"{repo_name}.{operator_of(candidate)}.{normalised(candidate['diff'])[:8]}"
