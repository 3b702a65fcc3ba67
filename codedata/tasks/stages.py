"""Make the stages that screen the candidates of a kind, prove them, and write the instructions of
its tasks.

A verdict of screening is kept in the reply log of its item immediately, so that a kill loses only
the work in flight. A change that a warm sandbox cannot judge is judged by the whole suite in a
fresh container. With `is_full`, every candidate is.
"""
from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace

from codedata.disk.store import Derived, Store, digest
from codedata.errors import Excluded
from codedata.llm.replies import current_reply_log
from codedata.records import Environment, Task, parse
from codedata.run.stage import Reads, Stage, Writes
from codedata.run.talk import begin_step, current_step
from codedata.sandbox import SandboxDied
from codedata.sandbox.factory import SandboxFactory
from codedata.suites.environments import JUDGED_BY, labelled
from codedata.tasks.folder.task_folder import PROOF
from codedata.tasks.prove.kinds import DiffsToScreen, Kind, Prover, Screens
from codedata.tasks.prove.outcomes import GOOD, time_limit
from codedata.tasks.prove.run_suite import FirstRun, Screened, first_run
from codedata.tasks.screen.screening import WHOLE_SUITE, Found, Screener
from codedata.terminal import plural, say


def screen_stage(screens: Screens, name: str, environments: Derived, host: SandboxFactory,
                 identity: dict, is_full: bool = False, refresh: bool = False,
                 **more) -> Stage:
    """Return the stage that screens a maker's items and writes its verdicts."""
    screening = Screening(screens, host, is_full)
    return Stage(
        name, make=screening.make, close=screening.close, reads=screens.items,
        also_reads=(_judged_in(environments), *screens.also_reads), writes=screens.verdicts,
        refresh=refresh or is_full,
        identity=identity | ({"is_full": True} if is_full else {}), **more)


def prove_stage(kind: Kind, name: str, prover: Prover, host: SandboxFactory,
                environments: Derived | None = None, identity: dict | None = None,
                **more) -> Stage:
    """Return the stage that proves the candidates of a kind, each with its environment if any are
    given, and writes their tasks. A candidate that is refused is excluded with the reason."""
    joined = kind.candidates_with
    if environments:
        joined = _judged_in(environments), *joined

    def make(candidate, *joined) -> Task:
        if candidate.refused:
            raise Excluded(candidate.refused, candidate.name)
        started = time.monotonic()
        with labelled(host, candidate.name, kind.label) as label:
            task = prover.prove(candidate, label, *joined)
        return replace(task, proof={"seconds": round(time.monotonic() - started, 1), **task.proof})

    return Stage(
        name, make=make, reads=kind.candidates, also_reads=joined,
        writes=Writes(kind.tasks, kind.proven, lacks=prover.lacks),
        identity={"proof": PROOF, **(identity or {})}, **more)


def instruct_stage(tasks: Store, name: str, texts: Reads, instruction: Callable[..., str],
                   stale_by: tuple[str, ...] = ("kind",), **more) -> Stage:
    """Return the stage that writes the instructions of tasks: instruction(task, its record among
    the `texts`). An instruction is stale if a field in `stale_by` has changed. Instructions edited
    by a user are kept."""
    return Stage(
        name, make=lambda task, text: replace(task, instruction=instruction(task, text)),
        is_local=True, reads=Reads(tasks, stale_by), also_reads=(texts,),
        writes=Writes(tasks, ("instruction",)), **more)


def _judged_in(environments: Derived) -> Reads:
    return Reads(environments, JUDGED_BY, made_by="env_setup", same="base_commit")


# screening ---------------------------------------------------------------------------------------

class Screening:
    """Screen the items of a maker; make() is the item function."""

    def __init__(self, screens: Screens, host: SandboxFactory, is_full: bool):
        self._screens, self._host, self._is_full = screens, host, is_full
        self._screeners: dict[int, Screener] = {}   # by worker
        self._notes: dict[str, str] = {}            # lines about how a repository was screened
        self._n_kept = 0                            # verdicts kept by an unfinished run
        self._lock = threading.Lock()

    def close(self) -> list[str]:
        """Close the warm sandboxes of this process. Return lines for the terminal."""
        for screener in self._screeners.values():
            screener.close()
        lines = [f"      {name}: {note}" for name, note in sorted(self._notes.items())]
        if self._n_kept:
            lines.append(f"      {self._n_kept:,} verdicts kept from an earlier run")
        return lines

    def make(self, item, environment: Environment, *joined):
        """Return the record of an item with a verdict on each of its diffs."""
        started = time.monotonic()
        batch = self._screens.to_screen(item, environment, *joined)
        how = digest([self._is_full, asdict(self._screens.rules), batch.why_whole, batch.limit_s,
                      batch.coverage and vars(batch.coverage),
                      *(getattr(environment, field) for field in JUDGED_BY)])
        verdicts = KeptVerdicts({diff: digest([how, diff]) for diff in batch.diffs})
        with self._lock:
            self._n_kept += len(verdicts.found)
        with labelled(self._host, environment.repo_name, self._screens.label) as label:
            self._screen(batch, environment, verdicts, label)
        return batch.record_of(verdicts.found, round(time.monotonic() - started, 1))

    def _screen(self, batch: DiffsToScreen, environment: Environment, verdicts: KeptVerdicts,
                label: str) -> None:
        """Screen the diffs that have no verdict yet."""
        note = batch.why_whole and f"{WHOLE_SUITE}, as {batch.why_whole}"
        warm = verdicts.missing()
        if warm and not note and not self._is_full:
            screener = self._screener(batch, environment, label)
            for found, in_doubt in screener.verdicts(warm):
                verdicts.add(found)
                verdicts.drop(in_doubt)
            note = screener.note
        if note and not self._is_full:
            self._notes[environment.repo_name] = note
        for diff in verdicts.missing():
            begin_step("tests in a fresh container")
            try:
                run = first_run(environment, diff, self._host, label, self._screens.rules,
                                batch.limit_s)
            except SandboxDied as e:
                run = FirstRun(Screened("crash", f"the suite ends its sandbox: {e.what}"))
            verdicts.add({diff: run.screened})

    def _screener(self, batch: DiffsToScreen, environment: Environment, label: str) -> Screener:
        """Return this worker's screener. Its sandbox stays warm while the worker's items have the
        same environment."""
        worker = threading.get_ident()
        screener = self._screeners.get(worker)
        if not screener or screener.environment.repo_name != environment.repo_name:
            if screener:
                screener.close()
            limit_s = batch.limit_s or time_limit(environment, self._host.run_timeout_s)
            screener = Screener(environment, batch.coverage, limit_s, self._host, f"{label}-warm",
                                self._screens.rules)
            self._screeners[worker] = screener
        return screener


class KeptVerdicts:
    """Keep the verdicts on an item's diffs as they arrive, and show their number in the item's
    step."""

    def __init__(self, keys: Mapping[str, str]):
        """Read the kept verdicts. `keys` has one digest for each diff, made from all inputs of the
        verdict."""
        self._keys, self._log = keys, current_reply_log()
        self.found: dict[str, Screened] = {
            diff: parse(Screened, kept, str(self._log.path), "Delete that file.")
            for diff, key in keys.items() if (kept := self._log.result_of(key))}
        self._show()

    def missing(self) -> list[str]:
        """Return the diffs without a verdict."""
        return [diff for diff in self._keys if diff not in self.found]

    def add(self, found: Found) -> None:
        """Keep verdicts."""
        self.found |= found
        for diff, screened in found.items():
            self._log.keep(self._keys[diff], asdict(screened))
        self._show()

    def drop(self, diffs: Sequence[str]) -> None:
        """Remove the verdicts on these diffs, also from the log, and print a line."""
        for diff in diffs:
            del self.found[diff]
            self._log.keep(self._keys[diff], None)
        if diffs:
            say(f"      {self._log.item}: {plural(len(diffs), 'verdict')} taken back, as "
                "tests without a change ended differently after them; judged again")
        self._show()

    def _show(self) -> None:
        n_good = sum(one.verdict == GOOD for one in self.found.values())
        current_step().within = f"{len(self.found)} of {len(self._keys)} judged, {n_good} good"
