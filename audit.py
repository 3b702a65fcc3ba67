#!/usr/bin/env python3
"""Audit tasks: estimate how often each task's verifier is wrong, with commands that reproduce it.

The verifier grades, in fresh containers, the gold, known cheats, wrong variants of the gold,
correct rewrites of it, and the scripts in rivals/. docs/tasks.md describes the checks and their
limits. If [audit] model is set, that model classifies the variants that pass, and writes cheats
for each task.

reads   task/<id>/             Task, with the scripts in its rivals/
writes  audit/<id>.json        TaskAudit, and a line per attempt in _ledger.jsonl

  python audit.py --root runs/mine
  python audit.py --root runs/mine --only 'heron.*' --checks strength,fairness
  python audit.py --root runs/mine --thorough       # ten runs of each gold under load
  python audit.py --root runs/theirs --tasks some-tasks/   # tasks from elsewhere; or FILE.parquet
  python audit.py try task/heron.agent-1.0123abcd wrong.sh other.sh
"""
import argparse
from functools import partial
from pathlib import Path

from codedata.audit.audit_stage import CHECKS, audit_stage, checks_named
from codedata.audit.others import copy_tasks
from codedata.audit.tries import try_scripts
from codedata.llm import Models
from codedata.records import TaskAudit
from codedata.run import cli, start
from codedata.run.stage import Stage
from codedata.sandbox.factory import SandboxFactory
from codedata.settings import Settings
from codedata.terminal import say


def main(argv=None) -> int:
    parser = cli.parser(__doc__, "sandbox")
    add = parser.add_argument_group("flags of audit.py").add_argument
    add("word", nargs="?", choices=["try"], help="grade scripts of an agent")
    add("paths", nargs="*", metavar="PATH", help="for try: a task's folder, and bash scripts")
    add("--checks", type=checks, metavar="CHECK,…",
        help=f"some of {', '.join(CHECKS)} (default: all but the slow ones; adversary and reading "
        "need [audit] model)")
    add("--thorough", action="store_true",
        help="also run the gold ten times under load, and on another day")
    add("--tasks", metavar="PATH",
        help="tasks to copy into task/ first (--only selects some): folders in Harbor's form, "
        "or a Parquet file (columns path and task_binary)")
    cli.sandbox_flags(parser)
    args = parser.parse_args(argv)
    settings, options = cli.with_sandboxes(args)
    if args.word:
        return try_scripts(settings, parser, args.paths)
    if args.tasks:
        for line in copy_tasks(Path(args.tasks), settings.root, options.selection,
                               options.read_only):
            say(line)
    names = args.checks or [name for name, check in CHECKS.items()
                            if (args.thorough or not check.is_thorough)
                            and (settings.audit.model or not check.texts)]
    return start.run_steps({"audit": partial(audit, args, settings, names)}, settings, options,
                              [TaskAudit])


def checks(text: str) -> tuple[str, ...]:
    """Return the names of checks in a list with commas."""
    names = text.split(",")
    if unknown := {*names} - CHECKS.keys():
        raise argparse.ArgumentTypeError(f"no check: {', '.join(sorted(unknown))}")
    return tuple(name for name in CHECKS if name in names)


def audit(args, settings: Settings, names: list[str], models: Models) -> Stage:
    """Return the stage that audits tasks."""
    host = SandboxFactory(settings, models.stop)
    found = checks_named(names, settings, models)
    return audit_stage(settings.root, host, found, then="status.py --html; export.py")


if __name__ == "__main__":
    cli.main(main)
