#!/usr/bin/env python3
"""Make tasks of real pull requests: their tests fail before them and pass after them.

  records    with --prs: a record of each pull request; without, those of prompt.py are taken
  prove      runs the tests with a request, before it and in its task's image; writes the task
  instruct   the issue as the task's instruction or, without one, what the request says

reads   commit/<instance_id>.json     Commit
        env/<repo_name>.json          Environment of the base commit, from env_setup.py
writes  commit/<instance_id>.json     Commit (records)
        task/<instance_id>/           Task, as Harbor takes it (prove; instruct)
        a _ledger.jsonl in each       a line an attempt; which rule refuses a request

  python pr_tasks.py --root runs/mine --prs git:../clone --steps records
  python env_setup.py --root runs/mine --input rows.jsonl   # of the base commits
  python pr_tasks.py --root runs/mine
"""
from codedata import cli, config, run_loop
from codedata.llm import Models
from codedata.pulls.kind import Pulls
from codedata.pulls.prover import PullProver
from codedata.pulls.records import records_stage
from codedata.records import PULL_REQUEST, Commit, Task
from codedata.sampling.pull_requests import all_prs
from codedata.sampling.trajectories import Hub
from codedata.sandbox.factory import SandboxFactory
from codedata.suites.environments import Environments
from codedata.tasks.stages import instruct_stage, prove_stage

STEPS = {"records": Commit, "prove": (Task, PULL_REQUEST), "instruct": (Task, PULL_REQUEST)}


def main(argv=None) -> int:
    parser = cli.parser(__doc__, "pr_tasks", "sandbox")
    flags = parser.add_argument_group("flags of pr_tasks.py")
    cli.steps_flag(flags, STEPS)
    flags.add_argument("--prs", metavar="SPEC", help="pull requests to make records of: "
                       "git:PATH[@A..B], or a path or glob of JSON")
    cli.sandbox_flags(parser, pod_prefix="code-data-pr")
    args = parser.parse_args(argv)
    settings = cli.with_container_workers(config.load(args), args)
    options = cli.reap_first(args, settings, cli.options(args))

    def records(models: Models) -> run_loop.Stage:
        return records_stage(settings, args.prs, all_prs(args.prs, Hub(models.http)))

    def prove(models: Models) -> run_loop.Stage:
        kind, host = Pulls(settings), SandboxFactory(settings, models.stop, args.keep_images)
        return prove_stage(kind, "pr_tasks.prove", PullProver(kind, host), host,
                           Environments(settings.root), after="env_setup.py",
                           then="pr_tasks.py --steps instruct")

    def instruct(models: Models) -> run_loop.Stage:
        return instruct_stage(Pulls(settings), "pr_tasks.instruct", after="pr_tasks.py",
                              then="export.py")

    makers = {"records": records, "prove": prove, "instruct": instruct}
    steps = [step for step in args.steps if args.prs or step != "records"]
    return run_loop.run_steps(makers, settings, options, STEPS, steps)


if __name__ == "__main__":
    cli.main(main)
