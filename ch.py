#!/usr/bin/env python3
"""Answer every turn as the challenger: knowing the hidden pull request, under the blind-agent rule.

A turn in which a leak judge finds what the conversation has not shown is asked for again, with what
was found; where it still shows some after [challenger] leak_retries more tries, the item fails.
--how says how the pull request is used.

reads   answer*/<source>_<order>.json   Answer, from king.py (its instance_id and messages)
        commit/<instance_id>.json       Commit, the PR record
writes  answer*/<source>_<order>.json   the same record, its field `challenger`
        answer*/_leaks/<item>.json      what was tried, and the leak judges' verdicts
        answer*/_ledger.jsonl           a line an attempt
        (--how with another way than [challenger] how: variants/<how>/)

  python ch.py                          # answer what is missing, stale or failed
  python ch.py --dry-run                # the calls, tokens and cost to come
  python ch.py --how chosen --limit 50  # the best of several blind answers, in variants/chosen/
"""
from codedata import config
from codedata.duel.variants import Challenger
from codedata.llm import Models
from codedata.records import HOW
from codedata.run import cli, start


def main(argv=None) -> int:
    parser = cli.parser(__doc__)
    add = parser.add_argument_group("flags of ch.py").add_argument
    add("--how", choices=HOW, help="how the pull request is used (default: [challenger] how)")
    args = parser.parse_args(argv)
    settings = config.load(args)
    how = args.how or settings.challenger.how
    with Models(settings) as models:
        stage = Challenger(how, settings, models).stage(
            after="king.py",
            then="validate.py" if how == settings.challenger.how else f"validate.py --how {how}")
        return start.run(stage, settings, models, cli.options(args))


if __name__ == "__main__":
    cli.main(main)
