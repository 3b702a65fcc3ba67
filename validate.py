#!/usr/bin/env python3
"""Judge every turn: a panel compares king and challenger, and the gate decides the duel.

reads   answer*/<source>_<order>.json   Answer, from king.py and ch.py
writes  score/<source>_<order>.json     Score: each judge's verdict in each order, the turn's score
        score/_duel.json                the outcome: scores, margin, LCB, accepted or why not
        score/_ledger.jsonl             a line per attempt
        (--mode reference compares with the data set's own turn, into score_reference/; a --how
        that differs from [challenger] how reads variants/<how>/, into score_<how>/)

  python validate.py --limit 3 --workers 1    # a taste
  python validate.py                          # judge what is missing, stale, incomplete or failed
  python validate.py --mode reference         # also DUEL_MODE=1
  python validate.py --only '*_17' --force    # this turn again; the old score to score/_replaced/
"""
from functools import partial

from codedata.duel.duel_state import duel_stage
from codedata.records import HOW
from codedata.run import cli, start


def main(argv=None) -> int:
    parser = cli.parser(__doc__, "duel")
    add = parser.add_argument_group("flags of validate.py").add_argument
    add("--mode", choices=["king", "reference"],
        help="the challenger's opponent (default: king)")
    add("--how", choices=HOW,
        help="how the challenger was made (default: [challenger] how)")
    args = parser.parse_args(argv)
    settings, options = cli.read(args)
    how = args.how or settings.challenger.how
    if how != settings.challenger.how and settings.duel.mode != "king":
        parser.error("--how does not go with --mode reference")
    return start.run(partial(duel_stage, settings, args.refresh, how), settings, options)


if __name__ == "__main__":
    cli.main(main)
