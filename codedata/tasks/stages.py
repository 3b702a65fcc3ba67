"""Screen the candidates of makers, and make the stages that write candidates, prove them, and write
the instructions of their tasks.

A verdict of screening is kept in the reply log of its item immediately, so that a kill loses only
the work in flight. A change in Python that a warm sandbox cannot judge is judged by the whole suite
in a fresh container; a change in another language, by the whole suite in a warm sandbox. With
`is_full`, every candidate gets a fresh container.
"""
from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from codedata.bounded import inside
from codedata.checks.demands import with_demands
from codedata.code.patches import diff_of
from codedata.disk.layouts import write_atomic
from codedata.disk.store import Derived, Store, digest
from codedata.driver import in_driver
from codedata.errors import Excluded
from codedata.llm.replies import current_reply_log
from codedata.records import Candidate, Coverage, Environment, Task, parse
from codedata.run.stage import Reads, Stage, Writes
from codedata.run.talk import begin_step, current_step
from codedata.sandbox import SandboxDied
from codedata.sandbox.factory import SandboxFactory
from codedata.suites.environments import JUDGED_BY, labelled, open_environment
from codedata.suites.source import apply_patch
from codedata.tasks.folder.task_folder import PROOF, PROVEN_FIELDS, hidden_in
from codedata.tasks.prove.outcomes import ENDED, GOOD, SURVIVES, time_limit
from codedata.tasks.prove.proof import IMAGES, LABELS, PatchProver
from codedata.tasks.prove.run_suite import FirstRun, Screened, ScreeningRules, run_in
from codedata.tasks.screen.screening import WHOLE_SUITE, Found, Screener
from codedata.terminal import plural, say


@dataclass(frozen=True)
class Maker:
    """Select the candidates of a root that a script makes, and their tasks; make the stages that
    all makers have."""

    root: Path
    kind: str = ""                       # kind of the candidates and tasks; "": all kinds
    owns: Callable[[str], bool] = bool   # whether the name of a candidate or task is the script's

    def candidates(self) -> Store:
        """Return the candidates."""
        return Store(self.root, Candidate, kind=self.kind, only=self.owns, derived=True)

    def tasks(self) -> Store:
        """Return the tasks."""
        return Store(self.root, Task, kind=self.kind, only=self.owns, derived=True)

    def candidate_stage(self, name: str, reads: Reads,
                        make: Callable[..., Candidate] = lambda candidate: candidate, **more
                        ) -> Stage:
        """Return the stage that writes the candidates."""
        return Stage(name, make=make, is_local=True, per_limit=0, reads=reads,
                     writes=Writes(self.candidates(), optional=("tests", "instruction")), **more)

    def prove_stage(self, name: str, environments: Derived, prover: PatchProver,
                    also_reads: tuple[Reads, ...] = (), **more) -> Stage:
        """Return the stage that proves the candidates, each with its environment, and writes their
        tasks. It excludes a candidate that is refused, and writes the reason next to it.
        `also_reads` may have the coverage of the environments."""
        kinds = [self.kind] if self.kind else IMAGES
        lost = [prover.factory.find_lost(IMAGES[kind]) for kind in kinds]

        def make(candidate: Candidate, *joined) -> Task:
            started, reason = time.monotonic(), ""
            try:
                with labelled(prover.factory, candidate.name, LABELS[candidate.kind]) as label:
                    task = prover.prove(candidate, label, *joined)
            except Excluded as e:
                reason = e.what
                raise
            finally:
                note_refusal(self.root, candidate.name, reason)
            seconds = round(time.monotonic() - started, 1)
            return replace(task, proof={"seconds": seconds, **task.proof})

        def lacks(task: str) -> str:
            whys = [why_lost(task) for why_lost in lost]
            return whys[0] if all(whys) else ""

        return Stage(
            name, make=make, writes=Writes(self.tasks(), PROVEN_FIELDS, lacks=lacks),
            reads=Reads(self.candidates(), ("base_commit", "kind", "change", "tests", "rules")),
            also_reads=(judged_in(environments), *also_reads),
            identity={"proof": PROOF, **more.pop("identity", {})}, **more)

    def instruct_stage(self, name: str, texts: Reads, instruction: Callable[..., str],
                       stale_by: tuple[str, ...] = ("kind",), **more) -> Stage:
        """Return the stage that writes the instructions of the tasks. It calls instruction(task,
        its record among the `texts`), and appends the names that tests demand and the text lacks.
        An instruction is stale if a field in `stale_by` has changed. Instructions edited by a user
        are kept."""
        tasks = self.tasks()
        return Stage(
            name, make=lambda task, text: replace(task, instruction=with_demands(
                instruction(task, text), task.new_names, hidden_in(task))),
            is_local=True, reads=Reads(tasks, stale_by), also_reads=(texts,),
            writes=Writes(tasks, ("instruction",)), **more)


@in_driver
def note_refusal(root: Path, name: str, reason: str) -> None:
    """Write next to a candidate why its proof refuses it; remove the note if there is no reason."""
    path = inside(root / Candidate.directory, f"{name}.refused.txt")
    if reason:
        write_atomic(path, f"{reason}\n".encode())
    else:
        path.unlink(missing_ok=True)


def judged_in(environments: Derived) -> Reads:
    """Return the Reads of a stage that runs the suites of environments."""
    return Reads(environments, JUDGED_BY, made_by="env_setup", same="base_commit")


# screening ---------------------------------------------------------------------------------------

class Screening:
    """Screen changes in warm sandboxes, one sandbox for each worker. With `is_full`, screen each
    change in a fresh container."""

    def __init__(self, label: str, rules: ScreeningRules, host: SandboxFactory,
                 is_full: bool = False):
        self._label, self._rules, self._host, self._is_full = label, rules, host, is_full
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

    def verdicts(self, diffs: Sequence[str], environment: Environment, coverage: Coverage | None,
                 why_whole: str = "", limit_s: float = 0.0) -> Found:
        """Return the verdict on each diff of an item. `why_whole` says why no tests can be chosen
        for a diff, "" if they can be. `limit_s` is the time limit of the whole suite; 0 means
        time_limit()."""
        how = digest([self._is_full, asdict(self._rules), why_whole, limit_s,
                      coverage and vars(coverage),
                      *(getattr(environment, field) for field in JUDGED_BY)])
        kept = KeptVerdicts({diff: digest([how, diff]) for diff in diffs})
        with self._lock:
            self._n_kept += len(kept.found)
        note = why_whole and f"{WHOLE_SUITE}, as {why_whole}"
        with labelled(self._host, environment.repo_name, self._label) as label:
            warm = kept.missing()
            if warm and not note and not self._is_full:
                screener = self._screener(environment, coverage, limit_s, label)
                for found, in_doubt in screener.verdicts(warm):
                    kept.add(found)
                    kept.drop(in_doubt)
                note = screener.note
            if note and not self._is_full:
                self._notes[environment.repo_name] = note
            self._run_suites(kept, environment, limit_s, label)
        return kept.found

    def _run_suites(self, kept: KeptVerdicts, environment: Environment, limit_s: float, label: str
                    ) -> None:
        """Run the whole suite with each diff that has no verdict. A sandbox serves several diffs,
        until a diff changes Python files or its run does not end by itself. After the last diff,
        the suite runs without a diff: if this run differs from env/, the verdicts are in doubt, and
        each diff gets a fresh sandbox."""
        is_warm, host, rules = not self._is_full, self._host, self._rules
        limit_s = limit_s or time_limit(environment, host.run_timeout_s)
        while diffs := kept.missing():
            with open_environment(environment, host, label) as sandbox:
                for diff in diffs:
                    begin_step("tests in a container")
                    try:
                        run = run_in(sandbox, environment, diff, rules, limit_s)
                    except SandboxDied as e:
                        run = FirstRun(Screened("crash", f"the suite ends its sandbox: {e.what}"))
                    kept.add({diff: run.screened})
                    # Python may load stale bytecode of a file that changes twice in a second
                    if not is_warm or ".py\n" in diff or run.screened.verdict in ENDED:
                        break
                    apply_patch(sandbox, diff_of(run.after, run.before))
                else:
                    unchanged = run_in(sandbox, environment, "", rules, limit_s).screened
                    if unchanged.verdict != SURVIVES[0]:
                        is_warm = False
                        kept.drop(diffs)

    def _screener(self, environment: Environment, coverage: Coverage, limit_s: float, label: str
                  ) -> Screener:
        """Return this worker's screener. Its sandbox stays warm while the worker's items have the
        same environment."""
        worker = threading.get_ident()
        screener = self._screeners.get(worker)
        if not screener or screener.environment.repo_name != environment.repo_name:
            if screener:
                screener.close()
            limit_s = limit_s or time_limit(environment, self._host.run_timeout_s)
            screener = Screener(environment, coverage, limit_s, self._host, f"{label}-warm",
                                self._rules)
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
