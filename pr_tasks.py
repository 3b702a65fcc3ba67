#!/usr/bin/env python3
"""Make tasks of real pull requests, whose tests fail before the change and pass after it.

  records    with --prs: a record of each pull request; without, the records of prompt.py are used
  setup      with --setup: make the missing environments, as env_setup.py does
  candidates a folder for each request that may become a task
  prove      run the tests with a request, before it and in its task's image; write the task
  instruct   write the task's instruction: the issue or, without one, the request's description;
             if these are not good enough, with a script of a failing test and its outputs before
             and after the request, or with --writer llm a model's text

reads   commit/<instance_id>.json     Commit
        env/<repo_name>.json          Environment of the base commit, from env_setup.py
writes  commit/<instance_id>.json     Commit (records)
        env/<repo_name>.json          Environment (setup)
        candidate/<instance_id>/      Candidate (candidates)
        task/<instance_id>/           Task, as Harbor takes it (prove; instruct)
        a _ledger.jsonl in each       a line per attempt; the rule that refuses a request

  python pr_tasks.py --root runs/mine --prs github:owner/name --steps records,candidates
  python pr_tasks.py --root runs/mine --prs git:../clone --setup
  python pr_tasks.py --root runs/mine --prs git:../clone@v1..HEAD --steps records
  python pr_tasks.py --root runs/mine --only '*-120*'   # where env/ has their base commits
"""
from functools import partial
from pathlib import Path

from codedata.disk.store import Store
from codedata.env.inputs import clone_for, clones_for, repositories_in
from codedata.env.setup import READ, setup_stage
from codedata.issues.issue_report import Reporter
from codedata.llm import Models
from codedata.pulls.instructions import TextWriter
from codedata.pulls.pull_records import missing_environments, records_stage
from codedata.pulls.pull_tasks import candidates_stage, proof_stage
from codedata.records import PULL_REQUEST, Candidate, Commit, Environment, Task
from codedata.run import cli, start
from codedata.run.stage import Reads, Stage
from codedata.sampling.github import GitHub
from codedata.sampling.pull_requests import all_prs
from codedata.sampling.trajectories import hub_of
from codedata.sandbox.factory import SandboxFactory
from codedata.tasks.stages import Maker

STEPS = {"records": Commit, "setup": Environment, "candidates": (Candidate, PULL_REQUEST),
         "prove": (Task, PULL_REQUEST), "instruct": (Task, PULL_REQUEST)}
PLANNER = "recipe"


def main(argv=None) -> int:
    args = parse(argv)
    settings, options = cli.with_sandboxes(args)
    root, clones = settings.root, clones_for(args.prs, args.clones, settings.root)
    if args.prs:
        options.make_root()

    def sandboxes(models: Models) -> SandboxFactory:
        return SandboxFactory(settings, models.stop)

    def records(models: Models) -> Stage:
        found = all_prs(args.prs, hub_of(settings, models.http), GitHub(settings, models.http),
                        partial(clone_for, clones=clones, root=root))
        return records_stage(settings, args.prs, clones, found)

    def candidates(models: Models) -> Stage:
        return candidates_stage(settings, after="" if args.prs else "prompt.py")

    def setup(models: Models) -> Stage:
        rows, needed_by = missing_environments(settings, clones, options.selection.limit)
        repositories = Reads(repositories_in(rows, Path(), "commit/", is_all=False), READ,
                             leads_to=needed_by.__getitem__)
        return setup_stage(settings, models, sandboxes(models), repositories,
                           title="pr_tasks.setup", then="pr_tasks.py")

    def instruct(models: Models) -> Stage:
        reporter = Reporter(sandboxes(models), "pr_tasks.py --steps prove", is_of_requests=True)
        writer = TextWriter(settings, models, reporter)
        return Maker(root, PULL_REQUEST).instruct_stage(
            "pr_tasks.instruct", Reads(Store(root, Commit), ("issue", "description")),
            writer.text_of, identity=writer.identity(), cost_note=writer.bound(),
            after="pr_tasks.py", then="audit.py; export.py")

    makers = {"records": records, "setup": setup, "candidates": candidates,
              "prove": lambda models: proof_stage(settings, sandboxes(models)),
              "instruct": instruct}
    wanted = {"records": args.prs, "setup": args.setup or "steps" in args.given}
    steps = [step for step in args.steps if wanted.get(step, True)]
    return start.run_steps(makers, settings, options, STEPS, steps)


def parse(argv):
    """Return the parsed flags."""
    parser = cli.parser(__doc__, "pr_tasks", "env", "sandbox")
    flags = parser.add_argument_group("flags of pr_tasks.py")
    cli.steps_flag(flags, STEPS, {"prove": ("candidates", "prove")})
    add = flags.add_argument
    add("--prs", metavar="SPEC", default="",
        help="github:OWNER/NAME[@A..B], git:PATH[@A..B], hf:NAME[:SPLIT], or a path or glob of "
        "rows: make records of these pull requests")
    add("--clones", metavar="DIR", default="", help="clones: OWNER/NAME, OWNER__NAME, NAME[.git]")
    add("--setup", action="store_true", help="make missing environments")
    add("--writer", choices=["own", "llm"],
        help="own: the request's words; llm: a model (default: own)")
    cli.planner_flag(flags, PLANNER)
    cli.sandbox_flags(parser)
    args = parser.parse_args(argv)
    args.defaults = {**args.defaults, "env.planner": PLANNER}
    if args.steps == ("records",) and not args.prs:
        parser.error("--steps records needs --prs")
    return args


if __name__ == "__main__":
    cli.main(main)
