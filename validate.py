#!/usr/bin/env python3
"""Judge every turn: a panel compares king and challenger, and the gate decides the duel.

reads   answer*/<source>_<order>.json   Answer, from king.py and ch.py
writes  score/<source>_<order>.json     Score: each judge's verdict in each order, the turn's score
        score/_duel.json                the outcome: scores, margin, LCB, accepted or why not
        score/_ledger.jsonl             a line an attempt
        (with --mode reference: score_reference/, the challenger against the data set's own turn; with --how and
        another way than [challenger] how: from variants/<how>/ into score_<how>/)

  python validate.py --limit 3 --workers 1    # a taste
  python validate.py                          # judge what is missing, stale, incomplete or failed
  python validate.py --mode reference         # also DUEL_MODE=1
  python validate.py --only '*_17' --force    # this turn again; the old score goes to score/_replaced/
  python validate.py --probe                  # can the judges be talked into a verdict? on 10 turns, kept in probe/
  python validate.py --sanity                 # can they tell good from bad at all? on 10 turns, kept in sanity/
  python validate.py --refine                 # judge the attempts of ch.py --refine, put the better ones into place
"""
from functools import partial

from codedata import cli, config, run_loop
from codedata.duel.duel_state import write_duel
from codedata.duel.judge_checks import JudgeCheck
from codedata.duel.panel import Panel
from codedata.duel.refine import RefineRun
from codedata.llm import Models
from codedata.records import HOW


def main(argv=None) -> int:
    parser = cli.parser(__doc__, "duel")
    add = parser.add_argument_group("flags of validate.py").add_argument
    add("--mode", choices=["king", "reference"], help="whom the challenger is put against (default: king)")
    trials = parser.add_mutually_exclusive_group()
    add("--how", choices=HOW, help="the way in which the challenger was made (default: [challenger] how)")
    few = {"type": cli.positive, "nargs": "?", "const": 10, "metavar": "N"}
    trials.add_argument("--probe", help="try attacks on N turns (10)", **few)
    trials.add_argument("--sanity", help="try known pairs of N turns (10)", **few)
    trials.add_argument("--refine", action="store_true", help="judge the attempts of ch.py --refine")
    args = parser.parse_args(argv)
    settings = config.load(args)
    how = args.how or settings.challenger.how
    if how != settings.challenger.how and (args.probe or args.sanity or args.refine or settings.duel.mode != "king"):
        parser.error("--how is about the king: it goes without --probe, --sanity, --refine and --mode reference")
    with Models(settings) as models:
        panel = Panel(settings, models, args.refresh, how=how, with_leaks=not (args.probe or args.sanity))
        reads, writes = panel.reads(settings.root), panel.writes(settings.root)
        finish = partial(write_duel, settings, how)
        if kind := "probe" if args.probe else "sanity" if args.sanity else "":
            trial = JudgeCheck(kind, getattr(args, kind), panel, settings.root)
            reads, writes, finish = trial.reads(), trial.writes(), trial.finish
        elif args.refine:
            refining = RefineRun(settings, panel)
            reads, writes, finish = refining.reads(), refining.writes(), refining.finish
        stage = run_loop.Stage(
            "validate", make=panel.judge, reads=reads, writes=writes, requests=panel.requests,
            finish=finish, after="ch.py", then="report.py")
        return run_loop.run(stage, settings, models, cli.options(args))


if __name__ == "__main__":
    cli.main(main)
