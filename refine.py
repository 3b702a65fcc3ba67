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
from functools import partial

from codedata import cli, config, run_loop
from codedata.duel.refine import Refiner, RefineRun
from codedata.errors import Trouble
from codedata.llm import Models
from codedata.records import Attempts, AttemptScore
from codedata.run_loop import Stage
from codedata.settings import Settings


def main(argv=None) -> int:
    parser = cli.parser(__doc__)
    flags = parser.add_argument_group("flags of refine.py")
    cli.steps_flag(flags, STEPS)
    flags.add_argument("--defeat", action="store_true", help="the turns of defeat/ too")
    args = parser.parse_args(argv)
    settings = config.load(args)
    if "answer" in args.steps and settings.challenger.how != "informed":
        raise Trouble("is not `informed`: refine.py tells the challenger what the judges said.",
                      "[challenger] how")
    if "judge" in args.steps and settings.duel.mode != "king":
        raise Trouble("is not `king`: refine.py is about the king.", "[duel] mode",
                      "Unset DUEL_MODE, or set it to 2.")
    steps = {name: partial(step, args, settings) for name, step in STEPS.items()}
    return run_loop.run_steps(steps, settings, cli.options(args), [Attempts, AttemptScore],
                              args.steps)


def answer(args, settings: Settings, models: Models) -> Stage:
    """Return the stage that makes attempts."""
    return Refiner(settings, models, args.defeat).stage(
        title="refine.answer", after="report.py", then="refine.py --steps judge")


def judge(args, settings: Settings, models: Models) -> Stage:
    """Return the stage that judges the attempts and puts the better ones into place."""
    run = RefineRun(settings, models, args.refresh)
    return run.panel.stage(run.pairs, finish=run.finish, title="refine.judge",
                           after="refine.py --steps answer")


STEPS = {"answer": answer, "judge": judge}

if __name__ == "__main__":
    cli.main(main)
