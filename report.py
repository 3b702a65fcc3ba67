#!/usr/bin/env python3
"""Report the duel, and put every judged turn into the bucket of its score.

reads   score/<source>_<order>.json     Score, from validate.py; an edited `score` counts
        score/_duel.json                the outcome
        answer*/<source>_<order>.json   Answer, looked up by name over all answer directories
        commit/, prompt/, _ledger.jsonl languages, oversized PRs, costs
writes  index.html                      the page of the root, with its turns
        report/report.md                the report (--mode reference: in report_reference/)
        report/hugePR.md                the oversized PRs that were left out
        final/, refined/, defeat/       Sample: copies, each in one bucket; every run updates them

  python report.py
  python report.py --status             # show the outcome, write nothing
  python report.py --mode reference     # also DUEL_MODE=1
"""
from codedata.report.make_report import REFUSED_FLAGS, run
from codedata.run import cli


def main(argv=None) -> int:
    parser = cli.parser(__doc__, "duel", without=(
        *REFUSED_FLAGS, *cli.OF_WORKERS, "no_retry", "llm_auth_token", "proxy"))
    add = parser.add_argument_group("flags of report.py").add_argument
    add("--mode", choices=["king", "reference"],
        help="the challenger's opponent (default: king)")
    args = parser.parse_args(argv)
    return run(*cli.read(args))


if __name__ == "__main__":
    cli.main(main)
