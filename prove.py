#!/usr/bin/env python3
"""Prove candidates by running the tests of their repositories, and write them as tasks.

A candidate is a folder: change.patch, candidate.toml, and, if it has them, tests.patch and
instruction.md. Makers leave it, or you write it (docs/tasks.md).
  rows       with --rows: a candidate of each row of SWE-bench, SWE-Gym or SWE-smith
  prove      run the tests with the change and without it, also in the task's image
  instruct   the candidate's instruction.md, if it has one

reads   candidate/<id>/               Candidate
        env/<repo_name>.json          Environment of its base commit, or the rows of --input
writes  candidate/<id>/               Candidate (rows); <id>.refused.txt, why it is no task
        task/<id>/                    Task, as Harbor takes it (prove; instruct)
        a _ledger.jsonl in each       a line an attempt

  python prove.py --root runs/mine
  python prove.py --root runs/mine --rows rows.jsonl
"""
from dataclasses import replace
from functools import partial

from codedata.analysis.analyse import coverage_reads
from codedata.bugs.held_out import HeldOutCases
from codedata.env.inputs import clone_for
from codedata.llm import Models
from codedata.nl2repo.strip_tasks import unrelated_tests
from codedata.pulls.row_candidates import rows_stage
from codedata.records import Candidate, Task
from codedata.run import cli, start
from codedata.run.stage import Reads, Stage
from codedata.sampling.github import GitHub
from codedata.sampling.pull_requests import all_prs
from codedata.sampling.trajectories import hub_of
from codedata.sandbox.factory import SandboxFactory
from codedata.suites.environments import chosen_by
from codedata.tasks.prove.proof import PatchProver
from codedata.tasks.stages import Maker

STEPS = {"rows": Candidate, "prove": Task, "instruct": Task}


def main(argv=None) -> int:
    """Prove the candidates of a root."""
    parser = cli.parser(__doc__, "sandbox")
    flags = parser.add_argument_group("flags of prove.py")
    cli.steps_flag(flags, STEPS)
    flags.add_argument("--rows", metavar="SPEC", default="",
                       help="a path or glob of rows, or hf:NAME[:SPLIT]: make candidates of them")
    cli.environment_flags(parser, only_newest=False)   # a candidate names its commit
    cli.sandbox_flags(parser)
    args = parser.parse_args(argv)
    settings, options = cli.with_sandboxes(args)
    root, environments = settings.root, partial(chosen_by, args, settings.root)
    if args.rows or args.input:
        options.make_root()

    def rows(models: Models) -> Stage:
        found = all_prs(args.rows, hub_of(settings, models.http), GitHub(settings, models.http),
                        partial(clone_for, clones="", root=root))
        return rows_stage(root, args.rows, found, environments())

    def prove(models: Models) -> Stage:
        coverage = replace(coverage_reads(root), optional=True, fields=())
        return Maker(root).prove_stage(
            "prove.prove", environments(),
            PatchProver(SandboxFactory(settings, models.stop), HeldOutCases().of, unrelated_tests),
            (coverage,), after="bug_inject.py scale", then="audit.py; export.py")

    def has_text(name: str) -> bool:
        return (root / Candidate.directory / name / Candidate.places["instruction"]).is_file()

    def instruct(models: Models) -> Stage:
        texts = Reads(Maker(root).candidates(), ("instruction",))
        return Maker(root, owns=has_text).instruct_stage(
            "prove.instruct", texts, lambda task, candidate: candidate.instruction,
            then="audit.py; export.py")

    makers = {"rows": rows, "prove": prove, "instruct": instruct}
    return start.run_steps(makers, settings, options, STEPS,
                           [step for step in args.steps if step != "rows" or args.rows])


if __name__ == "__main__":
    cli.main(main)
