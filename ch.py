#!/usr/bin/env python3
"""Answer every turn as the challenger: knowing the hidden pull request, under the blind-agent rule.

A turn in which a leak judge finds what the conversation has not shown is asked for again, with what was found; where it
still shows some after [challenger] leak_retries more tries, the item fails. --how says how the pull request is used.

reads   answer*/<source>_<order>.json   Answer, from king.py (its instance_id and messages)
        commit/<instance_id>.json       Commit, the PR record
writes  answer*/<source>_<order>.json   the same record, its field `challenger`
        answer*/_leaks/<item>.json      what was tried, and the leak judges' verdicts
        answer*/_ledger.jsonl           a line an attempt
        (--how with another way than [challenger] how: variants/<how>/; --refine: answer/_attempts/, from refined/)

  python ch.py                          # answer what is missing, stale or failed
  python ch.py --dry-run                # the calls, tokens and cost to come
  python ch.py --how placebo --limit 50 # the control: the same note without a pull request
  python ch.py --refine                 # the turns of refined/ once more, with what the judges said of them
"""
from codedata import cli, config, run_loop
from codedata.duel import variants
from codedata.duel.refine import Refiner
from codedata.llm import Models
from codedata.records import HOW, Commit
from codedata.states import Reads
from codedata.store import Store


def main(argv=None) -> int:
    parser = cli.parser(__doc__)
    add = parser.add_argument_group("flags of ch.py").add_argument
    add("--how", choices=HOW, help="how the pull request is used (default: [challenger] how)")
    add("--refine", action="store_true", help="answer the turns of refined/ again, for validate.py --refine")
    add("--defeat", action="store_true", help="with --refine: those of defeat/ too")
    args = parser.parse_args(argv)
    if args.defeat and not args.refine:
        parser.error("--defeat goes with --refine: it says which turns are refined")
    settings = config.load(args)
    how = args.how or settings.challenger.how
    if args.refine and how != "informed":
        parser.error("--refine goes with the informed way alone: it tells the challenger what the judges said")
    with Models(settings) as models:
        challenger = Refiner(settings, models) if args.refine else variants.Challenger(how, settings, models)
        reads = challenger.reads(args.defeat) if args.refine else variants.reads(settings.root)
        writes = challenger.writes() if args.refine else variants.writes(settings, how, reads.store)
        commits = Reads(Store(settings.root, Commit),
                        fields=("repo", "language", "issue", "description", "files", "patch", "test_patch"))
        then = "validate.py" if how == settings.challenger.how else f"validate.py --how {how}"
        stage = run_loop.Stage(
            "ch", make=challenger.make, reads=reads, joined=commits, writes=writes,
            requests=challenger.requests, identity=challenger.identity(),
            after="report.py" if args.refine else "king.py",
            then="validate.py --refine" if args.refine else then)
        return run_loop.run(stage, settings, models, cli.options(args))


if __name__ == "__main__":
    cli.main(main)
