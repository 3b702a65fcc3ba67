#!/usr/bin/env python3
"""Make terminal tasks with agents, and check each: its own solution passes, doing nothing fails,
and it is hard to cheat.

`agents`: turn seeds into drafts and drafts into datapoints, review these, and move approved ones to
task/; a stopped run can be continued. `validate`: prove and audit datapoints in fresh containers,
also those edited in task/. `tool NAME`: run one command, for use by any agent; exit code 1:
refused. --status without a word: show the queue, dp/ and task/. A task that models solve too often
or too seldom (solve.py) goes back to a builder, at most twice.

reads   PATH…                       folders of datapoints (Task); default: all in dp/ and task/
writes  dp/_checks/<content>.json   DatapointChecks, and a line per attempt in _ledger.jsonl
        task/<id>/proof.json        proof of an approved or edited datapoint, and a ledger
        audit/<id>.json             TaskAudit, as by audit.py
        dp/_ledger.jsonl, _trajectories/, _queue.jsonl   work of the agents
        dp/_seeds/, _ideas/, _drafts/, _staging/, dp/<id>/, task/<id>/   results of the agents

  python build_dp.py agents --root runs/mine --seeds samples/seed_tasks --agents builder=4,review=2
  python build_dp.py validate samples/tasks/same-bytes --json
  python build_dp.py --root runs/mine tool next --agent a --task-type generate_idea
"""
import argparse
from pathlib import Path

from codedata import config
from codedata.datapoints.command_line import run_tool
from codedata.datapoints.contents import HOLDS, complaints, results_of, steps_of
from codedata.datapoints.datapoint_folder import folders_in
from codedata.datapoints.profiles import PROFILES
from codedata.datapoints.workers import LOOK, parse_agents, run_agents, show_status
from codedata.disk.layouts import to_json
from codedata.run import cli, start
from codedata.sandbox.factory import SandboxFactory
from codedata.terminal import plural, say

NEXT = ("solve.py", "export.py --formats harbor")
NOT_OF_AGENTS = ("workers", "only", "force", "refresh", "shard", "prune", "compact")


def main(argv=None) -> int:
    words = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for name in ("--root", "--config", "--queue"):
        words.add_argument(name, default=[], type=lambda value, name=name: [name, value])
    common, rest = words.parse_known_args(argv)
    if rest[:1] == ["tool"]:
        parser = cli.parser("", "sandbox", "dp")
        parser.add_argument("--queue")
        args = parser.parse_args([*common.root, *common.config, *common.queue])
        return run_tool(config.load(args), rest[1:])
    parser = cli.parser(__doc__, "sandbox", "dp")
    add = parser.add_argument_group("flags of build_dp.py").add_argument
    add("word", choices=["agents", "validate"], nargs="?", metavar="agents|validate|tool",
        help="the work to do")
    add("paths", nargs="*", metavar="PATH", help="folders of datapoints to validate")
    add("--agents", metavar="ROLE=N,…",
        help="how many idea, builder and review agents (default: one each)")
    add("--seeds", metavar="PATH", help="seed tasks to queue first")
    add("--queue", metavar="URL", help="postgresql://… of the tasks, in place of dp/_queue.jsonl")
    add("--profile", choices=sorted(PROFILES),
        help="the kind of tasks (default: backend; validate: each datapoint's own)")
    add("--json", action="store_true", help="print the results of validate as JSON")
    cli.sandbox_flags(parser)
    args = parser.parse_args(argv)
    if args.word == "agents" and (given := [name for name in NOT_OF_AGENTS if name in args.given]):
        parser.error(f"--{given[0]} does not go with agents (--agents sets their number)")
    if args.paths and args.word != "validate":
        parser.error("only validate takes PATH; choose datapoints with --only")
    settings, options = cli.with_sandboxes(args)
    if args.status and args.word in (None, "agents"):
        return show_status(settings, options, args.word)
    if not args.word:
        parser.error("name the work (agents, validate or tool), or give --status")
    if args.word == "agents":
        n_agents = parse_agents(args.agents or "idea=1,builder=1,review=1")
        return run_agents(settings, options, n_agents, args.seeds and Path(args.seeds))
    return validate(args, settings, options)


def validate(args, settings, options) -> int:
    """Check the given folders, or all of dp/ and task/; return the exit code."""
    root, given = settings.root, [*map(Path, args.paths)]
    options.make_root()
    steps = steps_of(root, given, options.selection.force,
                     lambda models: SandboxFactory(settings, models.stop))
    code = start.run_steps(steps, settings, options, HOLDS)
    if options.read_only:
        return code
    given = given or folders_in(root)
    rows = results_of(root, given, args.profile or "")
    for line in complaints(rows):
        say(line)
    n_ok = sum(row["ok"] for row in rows)
    say(f"      {n_ok} of {plural(len(rows), 'datapoint')} pass every check")
    for then in () if args.paths or options.quiet else (LOOK, *(NEXT if n_ok else ())):
        say(f"      next:  {options.command(then)}")
    if args.json:
        print(to_json(rows).decode(), end="")
    return code or int(n_ok < len(rows))


if __name__ == "__main__":
    cli.main(main)
