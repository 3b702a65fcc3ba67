#!/usr/bin/env python3
"""Answer every turn as the challenger, which knows the hidden pull request and must not show it.

If a leak judge finds that a turn uses facts not shown in the conversation, the model gets the
findings and writes another turn; if leaks remain after two more tries, the item fails.
--how selects the use of the pull request.

reads   answer*/<source>_<order>.json   Answer, from king.py (its instance_id and messages)
        commit/<instance_id>.json       Commit, the PR record
writes  answer*/<source>_<order>.json   the same record, its field `challenger`
        answer*/_leaks/<item>.json      the tries, and the leak judges' verdicts
        answer*/_ledger.jsonl           a line per attempt
        (if --how differs from [challenger] how: variants/<how>/)

  python ch.py                          # answer what is missing, stale or failed
  python ch.py --dry-run                # the calls, tokens and cost to come
  python ch.py --how chosen --limit 50  # the best of several blind answers, in variants/chosen/
"""
from functools import partial

from codedata.duel.variants import Challenger
from codedata.records import HOW
from codedata.run import cli, start


def main(argv=None) -> int:
    parser = cli.parser(__doc__)
    add = parser.add_argument_group("flags of ch.py").add_argument
    add("--how", choices=HOW, help="how the pull request is used (default: [challenger] how)")
    args = parser.parse_args(argv)
    settings, options = cli.read(args)
    how = args.how or settings.challenger.how
    return start.run(partial(Challenger.stage, how, settings), settings, options)


if __name__ == "__main__":
    cli.main(main)
