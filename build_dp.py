#!/usr/bin/env python3
"""Make terminal tasks with agents of any kind, and check them: each is solved by its own solution,
not solved already, and hard to cheat.

`validate`: ten checks of each folder in fresh containers; again: nothing to do.
`tool NAME`: a command of agents, on the queue and on datapoints: JSON on stdout, 1 where it is
refused. --status without a word: what the queue and dp/ hold.

reads   the folders: prompt.md, dockerfile, tests.py, weights.json, solution.sh, metadata.json,
        files/ (Datapoint); without a folder those of dp/
writes  dp/_checks/<content>.json   DatapointChecks, and a line an attempt in _ledger.jsonl
        dp/_index.html              all of it as a page (validate)
        dp/_queue.jsonl             what became of each task; dp/_queue.sqlite is made of it
        dp/_seeds/, _ideas/, _drafts/, _staging/, dp/<id>/   what the commands make

  python build_dp.py validate samples/datapoints/* --json
  python build_dp.py validate --root runs/mine
  python build_dp.py --root runs/mine tool init_seed_tasks samples/seed_tasks
  python build_dp.py --root runs/mine tool next --agent a --task-type generate_idea
"""
import argparse
import threading
import time
from pathlib import Path

from codedata import cli, config, run_loop
from codedata.checks.datapoints import META
from codedata.datapoints.command_line import run_command
from codedata.datapoints.commands import Commands, commands_of
from codedata.datapoints.contents import Contents, complaints, results_of, validate_stage
from codedata.datapoints.queue import TaskManager
from codedata.layouts import to_json
from codedata.progress import say
from codedata.records import Datapoint, DatapointChecks
from codedata.sandbox.factory import SandboxFactory

PAUSE_S = 3.0
PROFILES = ("all", "backend", "general")


def main(argv=None) -> int:
    words = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for name in ("--root", "--config"):
        words.add_argument(name, default=[], type=lambda value, name=name: [name, value])
    common, rest = words.parse_known_args(argv)
    if rest[:1] == ["tool"]:
        return run_tool([*common.root, *common.config], rest[1:])
    parser = cli.parser(__doc__, "sandbox")
    parser.add_argument("word", choices=["validate"], nargs="?", metavar="validate|tool",
                        help="what is done")
    parser.add_argument("paths", nargs="*", metavar="PATH", help="folders of datapoints")
    flags = parser.add_argument_group("flags of build_dp.py")
    flags.add_argument("--json", action="store_true", help="print what was found")
    flags.add_argument("--watch", action="store_true",
                       help="show --status again every few seconds, till Ctrl-C")
    flags.add_argument("--profile", choices=PROFILES, default="all",
                       help="whose categories hold (default: all)")
    cli.sandbox_flags(parser, pod_prefix="code-data-dp")
    args = parser.parse_args(argv)
    settings = cli.with_container_workers(config.load(args), args)
    options = cli.options(args)
    cli.reap(args, settings, options)
    if not args.word:
        if not args.status:
            parser.error("validate or tool, or --status")
        while not run_tool([*common.root, *common.config], ["status"]) and args.watch:
            time.sleep(PAUSE_S)
        return 0
    folders = [*map(Path, args.paths)] or sorted(
        path.parent for path in settings.root.glob(f"{Datapoint.directory}/[!_.]*/{META}"))
    if not options.read_only:
        settings.root.mkdir(parents=True, exist_ok=True)
    contents = Contents(folders)
    code = run_loop.run_steps(
        {"validate": lambda models: validate_stage(
            settings, SandboxFactory(settings, models.stop, args.keep_images), contents)},
        settings, options, (DatapointChecks,))
    if options.read_only:
        return code
    found = results_of(settings.root, contents, args.profile)
    for line in complaints(found):
        say(line)
    if args.json:
        print(to_json(found).decode(), end="")
    return code or int(not all(one["ok"] for one in found))


def run_tool(flags: list[str], words: list[str]) -> int:
    """Run a command of agents; return the exit code."""
    settings = config.load(cli.parser("", "sandbox").parse_args(flags))
    (settings.root / Datapoint.directory).mkdir(parents=True, exist_ok=True)
    manager = TaskManager(settings.root / Datapoint.directory)
    host = SandboxFactory(settings, threading.Event())
    return run_command(commands_of(Commands(settings, manager, host)), words)


if __name__ == "__main__":
    cli.main(main)
