#!/usr/bin/env python3
"""Find the code that each test of a repository runs, and the functions that matter most.

Two steps: `coverage` runs the tests of every environment again and records the lines that each test
executes; `analysis` finds definitions, calls and hotspots. Neither uses a model.

reads   env/<repo_name>.json         Environment, from env_setup.py; or the rows of --input
writes  coverage/<repo_name>.json    Coverage (step coverage)
        coverage/_raw/<repo_name>/   data files of coverage.py, and reports, by run
        analysis/<repo_name>.json    Analysis (step analysis)
        a _ledger.jsonl in each      a line per attempt

  python analyze.py --root runs/mine
  python analyze.py --steps coverage --num-runs 3   # three runs in all: which tests are flaky?
  python analyze.py --static                        # without running any test
"""
from functools import partial

from codedata.analysis.analyse import analysis_stage
from codedata.analysis.measure import coverage_stage
from codedata.llm import Models
from codedata.records import Analysis, Coverage
from codedata.run import cli, start
from codedata.sandbox.factory import SandboxFactory
from codedata.suites.environments import chosen_by

STEPS = ("coverage", "analysis")


def main(argv=None) -> int:
    parser = cli.parser(__doc__, "sandbox", without=(*cli.OF_MODELS, "base_image"))
    flags = parser.add_argument_group("flags of analyze.py")
    cli.steps_flag(flags, STEPS)
    flags.add_argument("--num-runs", type=cli.positive, default=1, metavar="N",
                       help="runs with coverage, including existing ones (default: 1)")
    flags.add_argument("--static", action="store_true",
                       help="only the step analysis, without coverage; runs no test")
    cli.environment_flags(parser)
    cli.sandbox_flags(parser)
    args = parser.parse_args(argv)
    settings, options = cli.with_sandboxes(args)
    root, environments = settings.root, partial(chosen_by, args, settings.root)

    def host(models: Models) -> SandboxFactory:
        return SandboxFactory(settings, models.stop)

    steps = {"coverage": lambda models: coverage_stage(
                 root, host(models), args.num_runs, environments()),
             "analysis": lambda models: analysis_stage(
                 root, host(models), environments(), args.static)}
    chosen = ("analysis",) if args.static else args.steps
    return start.run_steps(steps, settings, options, [Coverage, Analysis], chosen)


if __name__ == "__main__":
    cli.main(main)
