#!/usr/bin/env python3
"""Judge every turn: a panel compares king and challenger, and the gate decides the duel.

reads   answer*/<source>_<order>.json   Answer, from king.py and ch.py
writes  score/<source>_<order>.json     Score: each judge's verdict in each order, the turn's score
        score/_duel.json                the outcome: scores, margin, LCB, accepted or why not
        score/_ledger.jsonl             a line an attempt
        (with --mode reference: score_reference/, the challenger against the data set's own turn)

  python validate.py --limit 3 --workers 1    # a taste
  python validate.py                          # judge what is missing, stale, incomplete or failed
  python validate.py --mode reference         # also DUEL_MODE=1
  python validate.py --only '*_17' --force    # this turn again; the old score goes to score/_replaced/
"""
from codedata import config, stage
from codedata.duel.judges import Panel
from codedata.duel.outcome import write_duel
from codedata.llm import Models


def main(argv=None) -> int:
    parser = stage.parser(__doc__, section="duel")
    add = parser.add_argument_group("flags of validate.py").add_argument
    add("--mode", choices=["king", "reference"], help="whom the challenger is put against (default: king)")
    args = parser.parse_args(argv)
    settings = config.load(args)
    with Models(settings) as models:
        panel = Panel(settings, models, args.refresh)
        return stage.run(
            "validate", args, settings, models, panel.judge, reads=panel.reads(settings.root),
            writes=panel.writes(settings.root), requests=panel.requests,
            finish=lambda: write_duel(settings), after="ch.py", then="report.py")


if __name__ == "__main__":
    stage.main(main)
