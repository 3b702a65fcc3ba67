#!/usr/bin/env python3
"""Check terminal tasks: each is solved by its own solution, not solved already, and hard to cheat.

`validate`: ten checks of each folder in fresh containers; again: nothing to do.

reads   the folders: prompt.md, dockerfile, tests.py, weights.json, solution.sh, metadata.json,
        files/ (Datapoint); without a folder those of dp/
writes  dp/_checks/<content>.json   DatapointChecks, and a line an attempt in _ledger.jsonl

  python build_dp.py validate samples/datapoints/* --json
  python build_dp.py validate --root runs/mine
"""
from pathlib import Path

from codedata import cli, config, run_loop
from codedata.checks.datapoints import META
from codedata.datapoints.contents import Contents, results_of, validate_stage
from codedata.layouts import to_json
from codedata.records import Datapoint, DatapointChecks
from codedata.sandbox.factory import SandboxFactory

PROFILES = ("all", "backend", "general")


def main(argv=None) -> int:
    parser = cli.parser(__doc__, "sandbox")
    parser.add_argument("word", choices=["validate"], help="what is done")
    parser.add_argument("paths", nargs="*", metavar="PATH", help="folders of datapoints")
    flags = parser.add_argument_group("flags of build_dp.py")
    flags.add_argument("--json", action="store_true", help="print what was found")
    flags.add_argument("--profile", choices=PROFILES, default="all",
                       help="whose categories hold (default: all)")
    cli.sandbox_flags(parser, pod_prefix="code-data-dp")
    args = parser.parse_args(argv)
    settings = cli.with_container_workers(config.load(args), args)
    options = cli.options(args)
    cli.reap(args, settings, options)
    folders = [*map(Path, args.paths)] or sorted(
        path.parent for path in settings.root.glob(f"{Datapoint.directory}/[!_.]*/{META}"))
    if not options.read_only:
        settings.root.mkdir(parents=True, exist_ok=True)
    contents = Contents(folders, args.profile)
    code = run_loop.run_steps(
        {"validate": lambda models: validate_stage(
            settings, SandboxFactory(settings, models.stop, args.keep_images), contents)},
        settings, options, (DatapointChecks,))
    found = results_of(settings.root, contents)
    if args.json:
        print(to_json(found).decode(), end="")
    return code or int(not all(one["ok"] for one in found))


if __name__ == "__main__":
    cli.main(main)
