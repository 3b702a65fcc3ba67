#!/usr/bin/env python3
"""Put bugs into repositories that their tests notice, prove them by running the tests, and report
each as a user would.

`agent`: an agent breaks one function that matters. Its steps, one after the other; --steps takes
these words, `bug_issue` for the last three, or the names in the ledgers:

  preprocess   analyze.py's two steps: what tests run, which functions matter
  inject       an agent for each candidate
  prove        with the bug tests fail, without it they pass; its image
  issue        a reproduction, and the report

reads   env/<repo_name>.json              Environment, from env_setup.py; or the rows of --input
writes  coverage/, analysis/              as analyze.py (step preprocess)
        bug/_candidates/<repo_name>.agent-<n>.json   Candidates (step inject)
        bug/_trajectories/                what agents did, as it goes on
        bug/_verdicts/<repo_name>.agent-<n>.json     Verdicts (step prove)
        bug/<instance_id>.json            Bug, an instance of SWE-bench (steps prove, issue)
        a _ledger.jsonl in each           a line an attempt

  python bug_inject.py agent --root runs/mine
  python bug_inject.py agent --only 'spanset.*' --steps prove,issue --issue-writer template
  python bug_inject.py agent --steps all --input input.jsonl --output enriched.jsonl --output-root o
"""
import threading
from functools import partial
from pathlib import Path

from codedata import cli, config, run_loop
from codedata.analysis.analyse import Analyser
from codedata.analysis.measure import Measurer
from codedata.bugs.inject import Injector
from codedata.bugs.instances import Instances, instances_stage
from codedata.bugs.issue_report import Reporter
from codedata.bugs.preprocess import Analyses, Preprocessed
from codedata.bugs.prove import BugProver
from codedata.code.environments import Environments
from codedata.llm import Models
from codedata.records import Analysis, Bug, Candidates, Coverage, Verdicts
from codedata.sandbox.factory import SandboxFactory
from codedata.settings import Settings

HOLDS = (Coverage, Analysis, Candidates, Verdicts, Bug)
STEPS = ("coverage", "analysis", "inject", "prove", "instances", "issue")
GROUPS = {"preprocess": STEPS[:2], "prove": STEPS[3:5], "bug_issue": STEPS[2:]}


def main(argv=None) -> int:
    parser = cli.parser(__doc__, "bug", "sandbox", output="the rows of --input (or of env/) with "
                        "`analysis` and `tests`, the paths of their records (step preprocess)")
    parser.add_argument("word", choices=["agent"], metavar="agent", help="who makes the bugs")
    flags = parser.add_argument_group("flags of bug_inject.py")
    cli.steps_flag(flags, STEPS, GROUPS)
    add = flags.add_argument
    add("--per-repo", type=cli.positive, metavar="N",
        help="agents for each repository, a candidate each (default: 2)")
    add("--num-runs", type=cli.positive, default=1, metavar="N",
        help="runs with coverage in preprocess (default: 1)")
    add("--issue-writer", choices=["llm", "template"], help="template: no model (default: llm)")
    add("--report-root", metavar="DIR", help="also write DIR/<repo>/<repo>_test_report.json and "
        "<repo>_analysis.json (step preprocess)")
    add("--unhealthy-too", action="store_true",
        help="environments whose suite is not healthy, too")
    cli.row_flags(parser, "environments instead of env/: {repo, image_name, test_case_result}")
    cli.sandbox_flags(parser, pod_prefix="code-data-bug-agent")
    args = parser.parse_args(argv)
    settings = cli.with_container_workers(config.load(args), args)
    options = cli.options(args)
    preprocessed = Preprocessed(settings, *(path and Path(path) for path in (
        args.input, args.output, args.report_root)))
    preprocessed.check()
    if args.reap or not options.read_only:
        left = SandboxFactory(settings, threading.Event()).reap()
        if args.reap:
            return 1 if left else 0
    if args.input and not options.read_only:
        settings.root.mkdir(parents=True, exist_ok=True)
    return run_loop.run_steps(agent_steps(args, settings, preprocessed), settings, options, HOLDS,
                              args.steps)


def agent_steps(args, settings: Settings, preprocessed: Preprocessed) -> dict:
    """Return the functions that make the stages of `agent`."""
    environments = partial(Environments, settings.root, args.unhealthy_too, preprocessed.rows)
    analyses = partial(Analyses, settings.root, preprocessed.rows)

    def host(models: Models) -> SandboxFactory:
        return SandboxFactory(settings, models.stop, args.keep_images)

    return {
        "coverage": lambda models: preprocessed.step(
            Measurer(settings, host(models), args.num_runs).stage(environments()), "analysis"),
        "analysis": lambda models: preprocessed.written_after(preprocessed.step(
            Analyser(settings, host(models)).stage(environments(), is_static=False), "bug_issue")),
        "inject": lambda models: Injector(settings, models, host(models)).stage(
            environments(), analyses(), partial(analyses, key="tests")),
        "prove": lambda models: BugProver(settings, host(models)).stage(
            environments(), analyses()),
        "instances": lambda models: instances_stage(settings.root),
        "issue": lambda models: Reporter(settings, models, host(models)).stage(
            Instances(settings.root))}


if __name__ == "__main__":
    cli.main(main)
