#!/usr/bin/env python3
"""Sample prompts: turns of trajectories, with history, reference and the hidden PR record.

reads   trajectories (--source): Hub data sets, Parquet, JSONL, JSON, or agents' own files
        PR records (--prs): Hub data sets, Parquet, JSONL, JSON, or the commits of a clone
        attempt/, task/                   (--source attempt) the results of solve.py
        executed/_states/                 the turns at which the PR's tests pass, from run_turns.py
writes  prompt/prompts_<count>_<k>.json   lists of at most 200 Prompt
        commit/<instance_id>.json         Commit, the PR record of every sampled instance
        prompt/_trajectories/<id>.json    SourceTrajectory, of --trajectories
        prompt/_ledger.jsonl              a line per file; oversized and unmatched PRs by name
        commit/_ledger.jsonl              a line per record

  python prompt.py                  # 2,000 prompts from the Hub; same seed, same files
  python prompt.py --count 3000     # 1,000 more, after the existing ones
  python prompt.py --source runs/ --prs prs.jsonl --check   # usable turns, and reasons for others
  python prompt.py --source runs/ --prs prs.jsonl --count 50
  python prompt.py --source hf:NAME --trajectories   # place and outcome of each, for export.py
"""
from codedata.llm import Models
from codedata.run import cli
from codedata.sampling import sampler
from codedata.sampling.record_whole import record_trajectories
from codedata.sampling.source_check import check_source


def main(argv=None) -> int:
    parser = cli.parser(__doc__, "prompt", without=cli.OF_MODELS + cli.OF_WORKERS)
    add = parser.add_argument_group("flags of prompt.py").add_argument
    add("--source", help="hf:NAME, attempt, or a path, folder, glob or URL (docs/data.md)")
    add("--prs", help="PR records: hf:NAME[:SPLIT], a path, glob or URL of rows, git:PATH[@A..B] "
        "of a clone, sessions: their own clones, or task: the root's own (default with "
        "--source attempt)")
    add("--split", help="of a Hub data set (default: train)")
    add("--count", type=int, metavar="N", help="prompts in all (default: 2000)")
    add("--seed", type=int, metavar="N", help="of the windows and turns (default: 0)")
    add("--turns", choices=["random", "first", "last", "all"],
        help="which assistant turns of a trajectory")
    add("--max-per-instance", type=int, metavar="N",
        help="prompts of one PR (default: 1; 0: no limit)")
    add("--max-chars", type=int, metavar="N",
        help="longest history with its reference (default: 200,000)")
    add("--keep-unmatched", action="store_true", default=None,
        help="keep prompts whose PR has no record")
    add("--decontaminate", action="append", metavar="PATH",
        help="file or folder of a benchmark to keep out")
    add("--check", action="store_true",
        help="only report which turns of the source can be used, and why others not")
    add("--trajectories", action="store_true",
        help="draw no prompts: record whole trajectories, for export.py")
    args = parser.parse_args(argv)
    settings, options = cli.read(args)
    with Models(settings) as models:
        if args.check:
            return check_source(settings, models.http)
        if args.trajectories:
            return record_trajectories(settings, options)
        return sampler.run(settings, options, models)


if __name__ == "__main__":
    cli.main(main)
