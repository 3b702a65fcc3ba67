#!/usr/bin/env python3
"""Inject bugs that the tests detect into repositories, prove each bug by running the tests, and
report it as a user would.

`agent`: an agent breaks code, breaks a contract between functions, or adds a feature.
  coverage, analysis   analyze.py's two steps (together: preprocess)
  inject               an agent makes each candidate (bug_issue: this step and all below)
  candidates, prove    tests fail with the bug, pass without it; write its task (also: instances)
  issue, instruct      a reproduction, the report; the task's instruction (issue: both)
`scale`: mutation operators make hundreds of bugs in a repository, without a model.
  register             write a config, to be edited: where bugs go, how tests are chosen
  generate             candidates by the seed, 40 per file
  validate             find the tests that detect each (screening); --full: by the whole suite
  candidates, report   choose within the caps of [bug], prove, write tasks; then issue and instruct

reads   env/<repo_name>.json           Environment, from env_setup.py; or the rows of --input
        coverage/, analysis/, nl2repo/_meta/ (licences), if they exist (scale)
writes  coverage/, analysis/           as analyze.py (agent)
        bug/_config/<repo_name>.json   BugConfig (register)
        bug/_candidates/<name>.json    Candidates (inject, generate); bug/_trajectories/ (inject)
        bug/_verdicts/<name>.json      Verdicts (validate)
        candidate/<instance_id>/       Candidate (candidates)
        task/<instance_id>/            Task, as Harbor takes it (prove, report; instruct)
        bug/<instance_id>.json         BugReport (issue); a _ledger.jsonl in each directory

  python bug_inject.py agent --root runs/mine
  python bug_inject.py agent --steps all --input input.jsonl --output enriched.jsonl --output-root o
  python bug_inject.py scale --root runs/mine --only spanset
"""
from functools import partial
from pathlib import Path

from codedata.bugs.bug_stages import Stages
from codedata.bugs.inject import STRATEGIES
from codedata.bugs.preprocess import Preprocessed
from codedata.records import (
    BUG,
    Analysis,
    BugConfig,
    BugReport,
    Candidate,
    Candidates,
    Coverage,
    Task,
    Verdicts,
)
from codedata.run import cli, start
from codedata.suites.environments import chosen_by

WRITTEN = {"agent": {"coverage": Coverage, "analysis": Analysis, "inject": Candidates,
                     "candidates": (Candidate, BUG), "prove": (Task, BUG), "issue": BugReport,
                     "instruct": (Task, BUG)},
           "scale": {"register": BugConfig, "generate": Candidates, "validate": Verdicts,
                     "candidates": (Candidate, BUG), "report": (Task, BUG), "issue": BugReport,
                     "instruct": (Task, BUG)}}
STEPS = {word: tuple(written) for word, written in WRITTEN.items()}
GROUPS = {"preprocess": STEPS["agent"][:2], "instances": STEPS["agent"][3:5],
          "prove": STEPS["agent"][3:5], "report": STEPS["scale"][3:5],
          "issue": STEPS["agent"][5:], "bug_issue": STEPS["agent"][2:]}
OWN = {"agent": ("per_repo", "num_runs", "strategy", "output"), "scale": ("full",)}
WRITERS = {"agent": "llm", "scale": "template"}


def main(argv=None) -> int:
    parser = cli.parser(__doc__, "bug", "sandbox")
    flags = parser.add_argument_group("flags of bug_inject.py")
    add = flags.add_argument
    add("word", choices=STEPS, metavar="agent|scale", help="the maker of the bugs")
    cli.steps_flag(flags, dict.fromkeys([*STEPS["agent"][:5], *STEPS["scale"]]), GROUPS)
    add("--per-repo", type=cli.positive, metavar="N",
        help="agents for each repository, a candidate each (default: 2)")
    add("--num-runs", type=cli.positive, default=1, metavar="N",
        help="runs with coverage in preprocess (default: 1)")
    add("--strategy", choices=STRATEGIES, metavar="HOW",
        help=f"for agent: {', '.join(STRATEGIES)} (default: the first)")
    add("--full", action="store_true",
        help="for scale: run the whole suite, even if chosen tests have judged a candidate")
    add("--issue-writer", choices=["llm", "template"],
        help="template: without a model (default for scale)")
    add("--output", metavar="FILE",
        help="the rows, with the paths of `analysis` and `tests` (preprocess)")
    cli.environment_flags(parser)
    cli.sandbox_flags(parser)
    args = parser.parse_args(argv)
    check_word(parser, args)
    settings, options = cli.with_sandboxes(args)
    preprocessed = Preprocessed(settings, *(path and Path(path)
                                            for path in (args.input, args.output)))
    preprocessed.check()
    if args.input:
        options.make_root()
    stages = Stages(settings, preprocessed, partial(chosen_by, args, settings.root),
                    args.num_runs, args.strategy or STRATEGIES[0], args.full)
    return start.run_steps(getattr(stages, args.word)(), settings, options,
                              WRITTEN[args.word], args.steps)


def check_word(parser, args) -> None:
    """End the script if a flag or a step belongs to the other word. Set the word's
    issue writer."""
    args.defaults = {**args.defaults, "issue.writer": WRITERS[args.word]}
    others = [f"--{name.replace('_', '-')}" for word, names in OWN.items() for name in names
              if word != args.word and name in args.given]
    if "steps" in args.given:
        others += [f"--steps {step}" for step in args.steps if step not in STEPS[args.word]]
    if others:
        parser.error(f"{', '.join(others)} does not go with {args.word}")


if __name__ == "__main__":
    cli.main(main)
