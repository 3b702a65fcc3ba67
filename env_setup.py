#!/usr/bin/env python3
"""Set up every repository: install script, test script and image, each verified in fresh
containers.

reads   --input FILE.jsonl           lines {repo, repo_name, image_name, reformat_path};
                                     or --repo PATH|GIT_URL[@COMMIT]
writes  env/<repo_name>.json         Environment; if its `status` is not success, the next run tries
                                     it again
        env/_ledger.jsonl            a line per attempt
        env/_trajectories/           trajectories of agents, written as they run

  python env_setup.py --input repos.jsonl --planner recipe   # without a model
  python env_setup.py --repo ../my-project                   # an agent if no recipe verifies
  python env_setup.py --input repos.jsonl --sandbox kubernetes --namespace data-synthesis
  python env_setup.py --reap                                 # list what killed runs have left
"""
from pathlib import Path

from codedata.disk.store import Store
from codedata.env.inputs import one_repository, repositories_of
from codedata.env.setup import READ, setup_stage
from codedata.llm import Models
from codedata.records import Environment
from codedata.run import cli, start
from codedata.run.stage import Reads, Stage
from codedata.sandbox.factory import SandboxFactory


def main(argv=None) -> int:
    parser = cli.parser(__doc__, "env", "sandbox")
    flags = parser.add_argument_group("flags of env_setup.py")
    add = flags.add_argument
    add("--repo", metavar="PATH|GIT_URL[@COMMIT]", help="one repository instead")
    cli.planner_flag(flags)
    add("--no-image", action="store_true", default=None, help="make no image after verification")
    cli.row_flags(flags, "the repositories, one JSON object per line")
    cli.sandbox_flags(parser, pod_prefix="code-data-env-agent")
    args = parser.parse_args(argv)
    settings, options = cli.with_sandboxes(args)
    if bool(args.input) == bool(args.repo) and (args.input or not args.status):
        parser.error("one of --input and --repo is needed")
    options.make_root()
    if args.repo:
        repositories = one_repository(args.repo, settings.root, may_clone=not options.read_only)
    elif args.input:
        repositories = repositories_of(Path(args.input))
    else:   # --status of all records, whatever their source
        repositories = Store(settings.root, Environment)
    reads = Reads(repositories, READ if args.repo or args.input else ())

    def stage(models: Models) -> Stage:
        host = SandboxFactory(settings, models.stop)
        return setup_stage(settings, models, host, reads, then="analyze.py")

    return start.run(stage, settings, options)


if __name__ == "__main__":
    cli.main(main)
