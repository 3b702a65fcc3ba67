#!/usr/bin/env python3
"""Try the turns of refined/ once more, knowing what the judges said, and keep what is better.

Two steps, one after the other. `answer` makes an attempt at each turn, `judge` has the attempts
judged; one that scores higher than its turn takes its place, in answer/ and score/, and what was
there goes to _replaced/.

reads   refined/<source>_<order>.json               Sample, from report.py (--defeat: defeat/ too)
        commit/<instance_id>.json                   Commit, the PR record
        answer*/, score/                            the turns that attempts are compared with
writes  answer/_attempts/<source>_<order>.jsonl     Attempts, one a line (step answer)
        score/_attempts/<source>_<order>.<n>.json   the Score of each (step judge)
        answer*/, score/                            the attempts that are better
        a _ledger.jsonl in each                     a line an attempt

  python refine.py --limit 3        # a taste
  python refine.py                  # both steps: what is missing, stale or failed
  python refine.py --steps answer   # attempts alone, to be read or edited before they are judged
  python refine.py --defeat         # the turns that were lost, too
"""
import argparse
from dataclasses import replace

from codedata import cli, config, run_loop
from codedata.duel.refine import Refiner, RefineRun, only_attempts
from codedata.errors import Trouble
from codedata.llm import Models
from codedata.settings import Settings


def main(argv=None) -> int:
    parser = cli.parser(__doc__)
    add = parser.add_argument_group("flags of refine.py").add_argument
    add("--steps", type=steps, default=[*STEPS], metavar="A,B",
        help="of answer,judge (default: both)")
    add("--defeat", action="store_true", help="the turns of defeat/ too")
    args = parser.parse_args(argv)
    settings = config.load(args)
    if "answer" in args.steps and settings.challenger.how != "informed":
        raise Trouble("is not `informed`: refine.py tells the challenger what the judges said.",
                      "[challenger] how")
    if "judge" in args.steps and settings.duel.mode != "king":
        raise Trouble("is not `king`: refine.py is about the king.", "[duel] mode",
                      "Unset DUEL_MODE, or set it to 2.")
    codes = []
    for step in args.steps:
        with Models(settings) as models:   # a step names and checks the models that it asks
            codes.append(STEPS[step](args, settings, models))
        if codes[-1] > 1:
            break
    return max(codes)


def steps(text: str) -> list[str]:
    """Return --steps in the order in which they run."""
    if unknown := set(text.split(",")) - STEPS.keys():
        raise argparse.ArgumentTypeError(f"{', '.join(unknown)} is not one of {', '.join(STEPS)}")
    return [step for step in STEPS if step in text.split(",")]


def answer(args, settings: Settings, models: Models) -> int:
    """Make attempts; return the exit code."""
    stage = Refiner(settings, models, args.defeat).stage(
        after="report.py", then="" if "judge" in args.steps else "refine.py --steps judge",
        command="refine.py --steps answer")
    return run_loop.run(stage, settings, models, cli.options(args))


def judge(args, settings: Settings, models: Models) -> int:
    """Judge the attempts and put the better ones into place; return the exit code."""
    run = RefineRun(settings, models, args.refresh)
    options = cli.options(args)
    only = only_attempts(settings.root, options.selection.only)
    options = replace(options, selection=replace(options.selection, only=only))
    stage = run.panel.stage(run.pairs, finish=run.finish, after="refine.py --steps answer",
                            command="refine.py --steps judge")
    return run_loop.run(stage, settings, models, options)


STEPS = {"answer": answer, "judge": judge}

if __name__ == "__main__":
    cli.main(main)
