#!/usr/bin/env python3
"""Check the judges with pairs of answers whose right verdict is known.

`probe`: can a prompt injection sway a judge? An answer is compared with a copy of itself that
contains one. `sanity`: can a judge tell good from bad at all? The data set's own turn is compared
with nothing, its shuffled words, another task's turn, and itself. By default, both checks run.

reads   answer*/<source>_<order>.json          --turns Answers, from king.py and ch.py
writes  probe/<source>_<order>.<attack>.json   Score of each pair
        probe/_probe.json                      the results
        sanity/                                the same for `sanity`
        a _ledger.jsonl in each                a line per attempt

  python check_judges.py --turns 3   # a taste
  python check_judges.py             # both checks on 10 turns: what is missing, stale or failed
  python check_judges.py sanity      # only this one
"""
from functools import partial

from codedata.duel.judge_checks import CHECKS, check_stage
from codedata.llm import Models
from codedata.run import cli, start
from codedata.run.stage import Stage

TURNS = 10


def main(argv=None) -> int:
    parser = cli.parser(__doc__)
    add = parser.add_argument_group("flags of check_judges.py").add_argument
    add("check", nargs="?", choices=[*CHECKS], help="only this check")
    add("--turns", type=cli.positive, metavar="N",
        help=f"make pairs of N evenly spaced turns (default: {TURNS})")
    args = parser.parse_args(argv)
    settings, options = cli.read(args)

    def check(name: str, models: Models) -> Stage:
        return check_stage(name, args.turns or TURNS, settings.root, models.judges(),
                           settings.judge.order, args.refresh)

    checks = {name: partial(check, name) for name in ([args.check] if args.check else CHECKS)}
    holds = [CHECKS[name][0] for name in checks]
    return start.run_steps(checks, settings, options, holds)


if __name__ == "__main__":
    cli.main(main)
