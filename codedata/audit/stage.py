"""Audit the tasks of a root: audit/<id>.json says of each how its verdicts were tried.

A check is a part of the record: one that is added, or whose version is raised, is made alone. A
finished check is kept in the item's reply log, so that a kill loses only the one at work.
"""
from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from functools import partial

from codedata.audit import adversary, cheats, reading, verdicts
from codedata.audit.audited import Audited, CheckResult, GoldRefused
from codedata.audit.index_page import write_index
from codedata.audit.warm import TaskSources, WarmSource
from codedata.disk.archives import UnsafeArchive
from codedata.disk.store import Store, digest
from codedata.errors import ItemFailed, Trouble
from codedata.llm import Models
from codedata.llm.replies import current_reply_log
from codedata.records import NO_CASE, UNFINISHED, AuditCheck, RivalledTask, TaskAudit
from codedata.run.loop import Stage
from codedata.run.states import Parts, Reads, Writes
from codedata.run.talk import begin_step
from codedata.sandbox.factory import SandboxFactory
from codedata.settings import Settings
from codedata.suites.environments import labelled
from codedata.tasks.folder.folder import audited_digest, rivals_digest
from codedata.texts import printable

MAX_EVIDENCE, MAX_LINE = 20, 500
STRENGTH = "strength"
READ = ("instruction", "config", "environment", "solution", "tests", "rivals")


@dataclass(frozen=True)
class Check:
    """Describe one check."""

    run: Callable[[Audited], CheckResult]
    version: str = "1"           # to be raised where it would find something else
    is_thorough: bool = False    # takes long: made with --thorough alone


CHECKS = {
    "gold": Check(verdicts.check_gold, "2"), "cheats": Check(cheats.try_cheats, "2"),
    "tests_read": Check(cheats.spy_on_tests, "3"), "answer": Check(cheats.find_answer, "3"),
    STRENGTH: Check(verdicts.check_strength, "3"),
    "fairness": Check(verdicts.check_fairness, "2"), "rivals": Check(cheats.try_rivals),
    # behind those that fail tests: it lists the tests that none of them has failed
    "untouched": Check(verdicts.check_untouched, "3"),
    "flakes": Check(verdicts.check_flakes, is_thorough=True)}


# with a model; each with the texts that make its question
ASKED = {"adversary": (adversary.try_adversary, adversary.TEXTS),
         "reading": (reading.read_survivors, reading.TEXTS)}


def has_ended(check: AuditCheck) -> bool:
    """Return whether a check has ended: of one with figures, no more than these can be had."""
    return check["result"] != UNFINISHED or bool(check["figures"])


class RivalledTasks(Store):
    """Hold the tasks of a root with their rivals, which the digests in task/'s ledger leave out."""

    def as_left(self, name: str) -> bool:
        """Return whether the folder is as a script left it, and has no rivals."""
        return super().as_left(name) and not self.path(name).joinpath("rivals").is_dir()


class Auditor:
    """Audit tasks; make() is the item function."""

    def __init__(self, settings: Settings, models: Models, host: SandboxFactory,
                 names: Sequence[str], command: str):
        """Prepare the checks of these names. `command` makes them again for a task, whose id and
        check follow. Raise Trouble where no images can be used, or no model is set for ASKED."""
        if not host.builds_images:
            raise Trouble("opens no images of tasks.", f"--sandbox {host.name}", "Choose docker.")
        self._settings, self._host, self._command = settings, host, command
        self._checks = {name: CHECKS[name] for name in names if name not in ASKED}
        asked = [name for name in ASKED if name in names]
        if asked and not settings.audit.model:
            raise Trouble("is not set: there is no model to ask.", "[audit] model",
                          f"Set it, or leave {', '.join(asked)} out of --checks.")
        for name in asked:
            client, (run, texts) = models.client("audit"), ASKED[name]
            self._checks[name] = Check(partial(run, client), reading.version_of(client, texts))
        self._audits = Store(settings.root, TaskAudit)
        self._tasks = RivalledTasks(settings.root, RivalledTask)
        self._sources = TaskSources(settings.root)

    def stage(self, **more) -> Stage:
        """Return the stage that audits the tasks of a root."""
        parts = Parts(
            wanted={name: check.version for name, check in self._checks.items()},
            of=lambda record: {one["name"]: one["version"] for one in record.checks
                               if has_ended(one)},
            enough=bool, view="", fits=bool, worthwhile=False, is_of=lambda record, digests:
            record.content == audited_digest(self._tasks.read(record.instance_id)))
        asks = not ASKED.keys().isdisjoint(self._checks)
        return Stage("audit", make=self.make,
                     cost_note="a call a task, and one for each survivor" if asks else "",
                     reads=Reads(self._tasks, READ),
                     writes=Writes(self._audits, parts=parts),
                     finish=lambda: write_index(self._settings.root), **more)

    def make(self, task: RivalledTask, name: str, old: TaskAudit | None) -> TaskAudit:
        """Return the audit of a task: the checks that `old` has, and those that it lacks."""
        content, rivals = audited_digest(task), rivals_digest(task)
        there = self._audits.read(name) if name in self._audits else None
        if there and there.content != content:
            there = None
        if there and there.rivals != rivals:   # an edit there leaves the other checks as they are
            old = there
        kept = {one["name"]: one for one in (old.checks if old else ())
                if one["name"] != "rivals" or old.rivals == rivals}
        others = [one for one in (there.checks if there else ())
                  if one["name"] not in self._checks]
        log = current_reply_log()
        checks: list[AuditCheck] = []
        with (labelled(self._host, name, "audit") as label,
              closing(WarmSource(self._sources, task, self._host, label)) as warm):
            audited = Audited(task, self._host, label, warm)
            audited.survivors = next((one["tries"] for one in others if one["name"] == STRENGTH),
                                     None)
            for k, check in enumerate(self._checks, 1):
                begin_step(check, k, len(self._checks))
                version = self._checks[check].version
                before = kept.get(check)
                found = before if before and (has_ended(before)
                                              and before["version"] == version) else None
                key = digest([content, rivals, check, version, audited.survivors])
                found = found or log.result_of(key)
                if not found:
                    found = self._run(check, audited)
                    log.keep(key, found)
                checks.append(found)
                if check == STRENGTH:
                    audited.survivors = found["tries"]
        return TaskAudit(name, task.kind, content, rivals, [*checks, *others],
                         round(sum(one["seconds"] for one in checks), 1))

    def _run(self, name: str, audited: Audited) -> AuditCheck:
        """Return what a check found."""
        started = time.monotonic()
        try:
            found = self._checks[name].run(audited)
        except GoldRefused as e:
            found = CheckResult(NO_CASE, e.what)
        except ItemFailed as e:
            if name in ASKED:   # the replies that it has stay for the next run
                raise
            where = f"{e.where} " if isinstance(e, UnsafeArchive) else ""
            found = CheckResult(UNFINISHED, where + e.what)
        found = replace(found, why=printable(found.why, MAX_LINE),
                        evidence=[printable(line, MAX_LINE)
                                  for line in found.evidence[:MAX_EVIDENCE]])
        command = f"{self._command} --only {audited.task.instance_id} --checks {name} --force"
        return {"name": name, "version": self._checks[name].version, **asdict(found),
                "seconds": round(time.monotonic() - started, 1), "command": command}
