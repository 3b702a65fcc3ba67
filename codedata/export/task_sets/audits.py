"""Read the audits of the exported tasks: figures for their task.toml and the card.

An audit counts only for the task's present content. Evidence and survivors stay in audit/: they are
hints at the gold.
"""
from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from codedata.checks.intervals import at_most, wilson
from codedata.disk.store import Store
from codedata.errors import BrokenRecord
from codedata.records import (
    AUDIT_RESULTS,
    FAILED,
    UNFINISHED,
    Object,
    RivalledTask,
    Task,
    TaskAudit,
)
from codedata.tasks.folder.task_folder import Problem, audited_digest, rivals_digest
from codedata.terminal import plural
from codedata.texts import printable

MAX_COUNT = 1_000_000_000   # larger figures count as 0: a user may have edited the audit
FIGURES = {   # {exported name: (check, {exported name: name of the figure in the check})}
    "strength": ("strength", {"killed": "killed", "tried": "tried"}),
    "rewrites": ("fairness", {"accepted": "accepted", "tried": "rewrites"}),
    "cheats": ("cheats", {"rewarded": "rewarded", "tried": "tried"}),
    "gold": ("gold", {"rewarded": "rewarded", "runs": "runs"}),
    "flakes": ("flakes", {"failed": "failed", "runs": "runs"}),
    "rivals": ("rivals", {"right": "right", "right_refused": "right refused",
                          "wrong": "wrong", "wrong_accepted": "wrong accepted"})}
NONE_AUDITED = ("None of these tasks is audited as it is now: `python audit.py --root ROOT` says "
                "how often the verdict on a solution is wrong.")


class Audits:
    """Hold the audits of a root; `broken` lists the unreadable ones."""

    def __init__(self, root: Path):
        """List the audits."""
        self._store, self._tasks = Store(root, TaskAudit).open(), Store(root, RivalledTask).open()
        self.broken = [*self._store.broken]

    def of(self, task: Task) -> TaskAudit | None:
        """Return the audit of a task's present content, or None. Leave out the check of rivals if
        their scripts have changed."""
        name = task.instance_id
        try:
            audit = self._store.read(name) if name in self._store else None
            if not audit or audit.content != audited_digest(task):
                return None
            if rivals_digest(self._tasks.read(name)) != audit.rivals:
                return replace(audit, checks=[one for one in audit.checks
                                              if one["name"] != "rivals"])
        except BrokenRecord as e:
            self.broken.append(e)
            return None
        return audit


def figures_of(audit: TaskAudit) -> Object:
    """Return the figures of an audit by exported name, and its worst result. Leave out a check that
    was not made, or that tried nothing."""
    checks = {one["name"]: one["figures"] for one in audit.checks}
    counts = {name: {ours: _count(checks.get(check, {}).get(theirs)) for ours, theirs in
                     names.items()} for name, (check, names) in FIGURES.items()}
    found: Object = {name: one for name, one in counts.items() if any(one.values())}
    if "flakes" in found:
        found["flakes"]["at_most"] = _bound(found["flakes"]["failed"], found["flakes"]["runs"])
    results = [one["result"] if one["result"] in AUDIT_RESULTS else UNFINISHED
               for one in audit.checks]
    return {"worst": min(results, key=AUDIT_RESULTS.index, default=UNFINISHED), **found}


def _count(figure) -> int:
    return figure if type(figure) is int and 0 <= figure < MAX_COUNT else 0


def audit_problem(audited_only: bool, audit: TaskAudit | None) -> Problem | None:
    """Return why a task with this audit is not exported, or None. The detail quotes no evidence."""
    if audited_only and not audit:
        return "not audited", "audit/ has no audit of it as it is now: run python audit.py"
    failed = [one["name"] for one in (audit.checks if audit else ()) if one["result"] == FAILED]
    if audited_only and failed:
        return "failed its audit", printable(", ".join(failed), 200)
    return None


def rate_problem(wanted: tuple[float, ...], named: str, rates: Object) -> Problem | None:
    """Return why a task with these models' pass rates is not exported, or None. If [export]
    pass_rate is set, the rate of the `named` agent ("": of any agent) must lie in it."""
    found = {agent: one for agent, one in rates.items() if named in ("", agent)}
    if not wanted or any(wanted[0] <= one["rate"] <= wanted[-1] for one in found.values()):
        return None
    if not found:
        return "no attempts", (f"attempt/ has none of {named or 'a model'} at it as it is now: run "
                               "python solve.py")
    return "pass rate", ", ".join("{} {:.2f} ({:.2f}–{:.2f})".format(
        agent, one["rate"], *one["interval"]) for agent, one in found.items())


# the card ----------------------------------------------------------------------------------------

def audit_section(figures: Sequence[Object], n_tasks: int) -> str:
    """Return the section of a card with the figures of the audited tasks among `n_tasks`."""
    if not figures:
        return NONE_AUDITED
    sums = {name: Counter() for name in FIGURES}
    for audit in figures:
        for name in sums.keys() & audit.keys():
            sums[name].update(audit[name])
    strength, rewrites, cheats, gold, flakes, rivals = sums.values()
    rows = {
        "audited as they are now": f"{len(figures):,} of {plural(n_tasks, 'task')}",
        "wrong variants of the gold that are not rewarded":
            _estimated(strength["killed"], strength["tried"]),
        "right rewrites of the gold that are rewarded":
            _share(rewrites["accepted"], rewrites["tried"]),
        "cheats rewarded": _share(cheats["rewarded"], cheats["tried"]),
        "runs of the gold that are not rewarded":
            _bounded(max(0, gold["runs"] - gold["rewarded"]), gold["runs"]),
        "the same under load": _bounded(flakes["failed"], flakes["runs"]),
        "right rivals refused": _share(rivals["right_refused"], rivals["right"]),
        "wrong rivals accepted": _share(rivals["wrong_accepted"], rivals["wrong"])}
    return "\n".join(["| | |", "|---|---|",
                      *(f"| {title} | {text} |" for title, text in rows.items())])


def attempts_section(rates: Sequence[Object]) -> str:
    """Return a sentence on how often models solve the tasks that they attempted, or ""."""
    highest = [max(one["rate"] for one in found.values()) for found in rates]
    if not rates:
        return ""
    return (f"\nModels attempted {plural(len(rates), 'task')}: {sum(map(bool, highest))} are "
            f"solved at least once, {highest.count(1.0)} by a model each time (`rates` in the "
            "manifest).\n")


def _share(part: int, whole: int) -> str:
    return f"{min(part, whole):,} of {whole:,}" if whole else "not tried"


def _estimated(part: int, whole: int) -> str:
    """Return a share with Wilson's 95 % interval."""
    if not whole:
        return _share(part, whole)
    low, high = wilson(min(part / whole, 1.0), whole)
    return f"{_share(part, whole)} (95 %: {low:.1%} to {high:.1%})"


def _bounded(part: int, whole: int) -> str:
    """Return a share with its one-sided upper bound."""
    text = _share(part, whole)
    return f"{text} (with 95 % at most {_bound(part, whole):.1%})" if whole else text


def _bound(part: int, whole: int) -> float:
    return round(at_most(min(part, whole), whole), 3) if whole else 0.0
