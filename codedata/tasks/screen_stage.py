"""Screen the candidates of a kind of task: the stage for every kind that changes the source of a
repository.

A verdict is kept in the reply log of its item as soon as it is known, so that a kill loses only the
work in flight. A change that a warm sandbox cannot judge is judged by the whole suite in a fresh
container. With `is_full`, every candidate is judged in that way.
"""
from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Protocol

from codedata.llm.reply_log import current_reply_log
from codedata.progress import current_step
from codedata.records import Coverage, Environment, parse
from codedata.run_loop import Stage
from codedata.sandbox import SandboxDied
from codedata.sandbox.factory import SandboxFactory
from codedata.states import Reads, Writes
from codedata.store import Derived, digest
from codedata.suites.environments import JUDGED_BY, labelled
from codedata.tasks.first_run import FirstRun, Screened, ScreeningRules, first_run
from codedata.tasks.screen import WHOLE_SUITE, Found, Screener
from codedata.tasks.suite_outcomes import GOOD, time_limit


@dataclass(frozen=True, slots=True)
class DiffsToScreen:
    """Hold the diffs of an item that are to be screened, and how."""

    diffs: Sequence[str]
    coverage: Coverage | None
    record_of: Callable       # (verdicts, one a diff; seconds) → the record that is written
    why_whole: str = ""       # why no tests can be chosen for a diff; "" where they can
    limit_s: float = 0.0      # of a run of the whole suite; 0: as it needs in env/
    in_fresh: frozenset[int] = frozenset()   # numbers of diffs that need a fresh container


class ScreenedKind(Protocol):
    """Describe how the candidates of a kind of task are screened."""

    stage: str                # its key in ledgers
    label: str                # what labels of containers begin with
    rules: ScreeningRules
    identity: dict            # this and the following as in Stage
    reads: Reads
    joined: tuple[Reads, ...]   # beside the environments
    writes: Writes
    after: str
    then: str
    lint: Callable | None     # returns a list of messages for each good (files before, after)

    def to_screen(self, item, environment: Environment, *joined) -> DiffsToScreen:
        """Return the diffs of an item to screen, and how to screen them."""


def screen_stage(kind: ScreenedKind, environments: Derived, host: SandboxFactory,
                 is_full: bool = False) -> Stage:
    """Return the stage that screens the candidates of a kind in these environments."""
    screening = Screening(kind, host, is_full)
    return Stage(
        kind.stage, make=screening.make, finish=screening.finish, reads=kind.reads,
        joined=(Reads(environments, JUDGED_BY, made_by="env_setup", same="base_commit"),
                *kind.joined),
        writes=kind.writes, refresh=is_full,
        identity=kind.identity | ({"is_full": True} if is_full else {}),
        cost_note="no calls: no model is asked", after=kind.after, then=kind.then)


class Screening:
    """Screen the items of a kind; make() is the item function."""

    def __init__(self, kind: ScreenedKind, host: SandboxFactory, is_full: bool):
        self._kind, self._host, self._is_full = kind, host, is_full
        self._screeners: dict[int, Screener] = {}   # by worker
        self._notes: dict[str, str] = {}            # how a repository was screened otherwise
        self._n_kept = 0                            # verdicts that an unfinished run has left
        self._lock = threading.Lock()

    def finish(self) -> list[str]:
        """Close the sandboxes. Return lines for the terminal."""
        for screener in self._screeners.values():
            screener.close()
        lines = [f"      {name}: {note}" for name, note in sorted(self._notes.items())]
        if self._n_kept:
            lines.append(f"      {self._n_kept:,} verdicts kept from an earlier run")
        return lines

    def make(self, item, environment: Environment, *joined):
        """Return the record of an item with a verdict on each of its diffs."""
        started = time.monotonic()
        batch = self._kind.to_screen(item, environment, *joined)
        how = digest([self._is_full, asdict(self._kind.rules), batch.why_whole, batch.limit_s,
                      batch.coverage and vars(batch.coverage),
                      *(getattr(environment, field) for field in JUDGED_BY)])
        verdicts = KeptVerdicts([digest([how, i in batch.in_fresh, diff])
                                 for i, diff in enumerate(batch.diffs)], self._kind.lint)
        with self._lock:
            self._n_kept += len(verdicts.found)
        with labelled(self._host, environment.repo_name, self._kind.label) as label:
            self._screen(batch, environment, verdicts, label)
        return batch.record_of([verdicts.found[i] for i in range(len(batch.diffs))],
                               round(time.monotonic() - started, 1))

    def _screen(self, batch: DiffsToScreen, environment: Environment, verdicts: KeptVerdicts,
                label: str) -> None:
        """Screen the diffs that have no verdict yet."""
        note = batch.why_whole and f"{WHOLE_SUITE}, as {batch.why_whole}"
        warm = [i for i in verdicts.missing() if i not in batch.in_fresh]
        if warm and not note and not self._is_full:
            screener = self._screener(batch, environment, label)
            for found, in_doubt in screener.verdicts([batch.diffs[i] for i in warm]):
                verdicts.add({warm[n]: one for n, one in found.items()})
                verdicts.drop([warm[n] for n in in_doubt])
            note = screener.note
        if note and not self._is_full:
            self._notes[environment.repo_name] = note
        for i in verdicts.missing():
            try:
                run = first_run(environment, batch.diffs[i], self._host, label, self._kind.rules,
                                batch.limit_s)
            except SandboxDied as e:
                run = FirstRun(Screened("crash", f"the suite ends its sandbox: {e.what}"))
            verdicts.add({i: (run.screened, run.before, run.after)})

    def _screener(self, batch: DiffsToScreen, environment: Environment, label: str) -> Screener:
        """Return this worker's screener, whose sandbox stays warm from one item to the next of the
        same environment."""
        worker = threading.get_ident()
        screener = self._screeners.get(worker)
        if not screener or screener.environment.repo_name != environment.repo_name:
            if screener:
                screener.close()
            limit_s = batch.limit_s or time_limit(environment, self._host.run_timeout_s)
            screener = Screener(environment, batch.coverage, limit_s, self._host, f"{label}-warm",
                                self._kind.rules)
            self._screeners[worker] = screener
        return screener


class KeptVerdicts:
    """Keep the verdicts on the diffs of an item as they come in, and show how many there are."""

    def __init__(self, keys: Sequence[str], lint: Callable | None):
        """Read the verdicts that were kept. `keys` has a digest for each diff, of all that its
        verdict depends on."""
        self._keys, self._lint, self._log = keys, lint, current_reply_log()
        self.found: dict[int, Screened] = {
            i: parse(Screened, kept, str(self._log.path), "Delete that file.")
            for i, key in enumerate(keys) if (kept := self._log.result_of(key))}
        self._show()

    def missing(self) -> list[int]:
        """Return the numbers of the diffs without a verdict."""
        return [i for i in range(len(self._keys)) if i not in self.found]

    def add(self, found: Found) -> None:
        """Keep verdicts. Add the linter's messages to good ones."""
        good = [i for i in found if self._lint and found[i][0].verdict == GOOD]
        messages = dict(zip(good, self._lint(found[i][1:] for i in good) if good else (),
                            strict=True))
        for i, (screened, _, _) in found.items():
            self.found[i] = replace(screened, new_messages=messages.get(i, []))
            self._log.keep(self._keys[i], asdict(self.found[i]))
        self._show()

    def drop(self, numbers: Sequence[int]) -> None:
        """Remove the verdicts on these changes, also from the log."""
        for i in numbers:
            del self.found[i]
            self._log.keep(self._keys[i], None)
        self._show()

    def _show(self) -> None:
        n_good = sum(one.verdict == GOOD for one in self.found.values())
        current_step().within = f"{len(self.found)} of {len(self._keys)} judged, {n_good} good"
