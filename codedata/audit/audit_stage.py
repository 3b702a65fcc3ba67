"""Audit the tasks of a root: write the results of a task's checks to audit/<id>.json.

Each check is a part of the record, so a new check, or a check with a raised version, runs without
the others. A finished check is kept in the item's reply log, so a kill loses only the running one.
"""
from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

from codedata.audit import adversary, cheats, reading, verdicts
from codedata.audit.audited import Audited, CheckResult, GoldRefused, Groups
from codedata.audit.warm import TaskSources, screener_of
from codedata.disk.store import Store, digest
from codedata.errors import ItemFailed, Trouble
from codedata.llm import Models
from codedata.llm.replies import current_reply_log
from codedata.records import NO_CASE, UNFINISHED, AuditCheck, RivalledTask, TaskAudit
from codedata.run.stage import Parts, Reads, Stage, Writes
from codedata.run.talk import begin_step
from codedata.sandbox.archives import UnsafeArchive
from codedata.sandbox.factory import SandboxFactory
from codedata.settings import Settings
from codedata.suites.environments import labelled
from codedata.tasks.folder.task_folder import audited_digest, rivals_digest
from codedata.texts import printable

MAX_EVIDENCE, MAX_LINE = 20, 500
STRENGTH = "strength"
READ = ("instruction", "config", "environment", "solution", "tests", "rivals")


@dataclass(frozen=True)
class Check:
    """Describe one check."""

    run: Callable[..., CheckResult]   # run(audited), or run(client, audited) if it has `texts`
    version: str = "1"           # raise it when the check's results change
    is_thorough: bool = False    # slow: runs only with --thorough
    texts: tuple[str, ...] = ()  # files of its prompt and schemas, if it asks a model


CHECKS = {
    "gold": Check(verdicts.check_gold, "2"), "cheats": Check(cheats.try_cheats, "2"),
    "tests_read": Check(cheats.spy_on_tests, "3"), "answer": Check(cheats.find_answer, "3"),
    STRENGTH: Check(verdicts.check_strength, "3"),
    "fairness": Check(verdicts.check_fairness, "2"), "rivals": Check(cheats.try_rivals),
    # after the checks that make tests fail: it lists the tests that never failed
    "untouched": Check(verdicts.check_untouched, "3"),
    "flakes": Check(verdicts.check_flakes, is_thorough=True),
    "adversary": Check(adversary.try_adversary, texts=adversary.TEXTS),
    "reading": Check(reading.read_survivors, texts=reading.TEXTS)}


def has_ended(check: AuditCheck) -> bool:
    """Return whether a check has ended. A check with the result UNFINISHED has also ended if it has
    figures, since another run would give the same result."""
    return check["result"] != UNFINISHED or bool(check["figures"])


class RivalledTasks(Store):
    """Hold the tasks of a root with their rivals, which task/'s ledger does not cover."""

    def as_left(self, name: str) -> bool:
        """Return whether the folder is unchanged since a script wrote it, and has no rivals."""
        return super().as_left(name) and not self.path(name).joinpath("rivals").is_dir()


def checks_named(names: Collection[str], settings: Settings, models: Models) -> dict[str, Check]:
    """Return the checks of these names. Raise Trouble if one asks a model and no model is set."""
    checks = {name: CHECKS[name] for name in names}
    asked = [name for name, check in checks.items() if check.texts]
    if asked and not settings.audit.model:
        raise Trouble("is not set: there is no model to ask.", "[audit] model",
                      f"Set it, or leave {', '.join(asked)} out of --checks.")
    for name in asked:
        client, check = models.client("audit"), checks[name]
        texts = map(reading.packaged_text, check.texts)
        checks[name] = replace(check, run=partial(check.run, client),
                               version=digest([client.spec.identity(), *texts])[:8])
    return checks


def audit_stage(root: Path, host: SandboxFactory, checks: Mapping[str, Check], **more) -> Stage:
    """Return the stage that audits the tasks of a root. Raise Trouble if the sandbox cannot build
    images."""
    check_builds_images(host)
    audits, tasks = Store(root, TaskAudit), RivalledTasks(root, RivalledTask)
    sources, groups = TaskSources(root), Groups()

    def make(task: RivalledTask, name: str, old: TaskAudit | None) -> TaskAudit:
        content, rivals = audited_digest(task), rivals_digest(task)
        existing = audits.read(name) if name in audits else None
        if existing and existing.content != content:
            existing = None
        if existing and existing.rivals != rivals:   # rivals/ was edited: keep the other checks
            old = existing
        kept = {one["name"]: one for one in (old.checks if old else ())
                if one["name"] != "rivals" or old.rivals == rivals}
        others = [one for one in (existing.checks if existing else ()) if one["name"] not in checks]
        survivors = next((one["tries"] for one in others if one["name"] == STRENGTH), None)
        with (labelled(host, name, "audit") as label,
              screener_of(sources.of(task), host, label) as screener):
            audited = Audited(task, host, label, screener, survivors, groups)
            made = audit(audited, checks, kept, root)
        return TaskAudit(name, task.kind, content, rivals, [*made, *others],
                         round(sum(one["seconds"] for one in made), 1))

    parts = Parts(
        wanted={name: check.version for name, check in checks.items()},
        of=lambda record: {one["name"]: one["version"] for one in record.checks if has_ended(one)},
        worthwhile=False, is_of=lambda record, digests:
        record.content == audited_digest(tasks.read(record.instance_id)))
    asks = any(check.texts for check in checks.values())
    return Stage("audit", make=make, reads=Reads(tasks, READ), writes=Writes(audits, parts=parts),
                 cost_note="one call per task, and one per survivor" if asks else "", **more)


def check_builds_images(host: SandboxFactory) -> None:
    """Raise Trouble if the sandbox cannot build images."""
    if not host.builds_images:
        raise Trouble("builds no images.", f"--sandbox {host.name}", "Choose docker.")


def audit(audited: Audited, checks: Mapping[str, Check], kept: Mapping[str, AuditCheck],
          root: Path) -> list[AuditCheck]:
    """Return the results of a task's checks, in the order of `checks`. A check that has ended, in
    `kept` or in the item's reply log, does not run again."""
    log, found = current_reply_log(), []
    content = audited_digest(audited.task), rivals_digest(audited.task)
    for k, (name, check) in enumerate(checks.items(), 1):
        begin_step(name, k, len(checks))
        one = kept.get(name)
        if not (one and has_ended(one) and one["version"] == check.version):
            key = digest([*content, name, check.version, audited.survivors])
            one = log.result_of(key)
            if not one:
                one = run_check(name, check, audited, root)
                log.keep(key, one)
        found.append(one)
        if name == STRENGTH:
            audited.survivors = one["tries"]
    return found


def run_check(name: str, check: Check, audited: Audited, root: Path = Path(".")) -> AuditCheck:
    """Return the result of a check, with the command that repeats it in a root."""
    started = time.monotonic()
    try:
        found = check.run(audited)
    except GoldRefused as e:
        found = CheckResult(NO_CASE, e.what)
    except ItemFailed as e:
        if check.texts:   # its kept replies stay for the next run
            raise
        where = f"{e.where} " if isinstance(e, UnsafeArchive) else ""
        found = CheckResult(UNFINISHED, where + e.what)
    found = replace(found, why=printable(found.why, MAX_LINE),
                    evidence=[printable(line, MAX_LINE) for line in found.evidence[:MAX_EVIDENCE]])
    command = (f"python audit.py --root {shlex.quote(str(root))} --only "
               f"{audited.task.instance_id} --checks {name} --force")
    return {"name": name, "version": check.version, **asdict(found),
            "seconds": round(time.monotonic() - started, 1), "command": command}
