#!/usr/bin/env python3
"""Set up every repository: an install script, a test script and an image, each verified in fresh containers.

reads   --input FILE.jsonl           lines {repo, repo_name, image_name, reformat_path}; or --repo PATH|GIT_URL[@COMMIT]
writes  env/<repo_name>.json         Environment; one whose `status` is not success is tried again by the next run
        env/_ledger.jsonl            a line an attempt
        env/_trajectories/           what agents did, as it goes on

  python env_setup.py --input repos.jsonl --planner recipe   # without a model
  python env_setup.py --repo ../my-project                   # an agent where no recipe verifies
  python env_setup.py --input repos.jsonl --sandbox kubernetes --namespace data-synthesis
  python env_setup.py --reap                                 # remove what killed runs have left
"""
import os
from dataclasses import fields, replace
from pathlib import Path

from codedata import cli, config, run_loop
from codedata.env.inputs import Repositories, one_repository
from codedata.env.setup import Setup, fault_of
from codedata.llm import Models
from codedata.records import Environment
from codedata.sandbox.factory import SandboxFactory
from codedata.states import Reads, Writes
from codedata.store import Store


def main(argv=None) -> int:
    parser = cli.parser(__doc__, "env", "sandbox")
    add = parser.add_argument_group("flags of env_setup.py").add_argument
    add("--input", metavar="FILE", help="the repositories, a JSON object a line")
    add("--repo", metavar="PATH|GIT_URL[@COMMIT]", help="one repository instead")
    add("--planner", choices=["auto", "recipe", "agent"], help="who finds the scripts (default: auto)")
    add("--max-iterations", type=cli.positive, metavar="N", help="replies of an agent (default: 100)")
    add("--stage2-max-iterations", type=cli.positive, metavar="N", help="of its second, for JS/TS (default: 60)")
    add("--no-image", action="store_true", default=None, help="make no image of what was verified")
    add("--skip-existing", action="store_true", help="how it always runs")
    add("--continue-on-error", action="store_true", help="how it always runs")
    add("--stop-on-error", action="store_true", help="start no further repository after one that failed")
    cli.sandbox_flags(parser)
    args = parser.parse_args(argv)
    settings = config.load(args)
    if not args.workers:   # containers, not calls
        at_once = max(1, int((os.cpu_count() or 1) // settings.sandbox.cpu_request))
        settings = replace(settings, llm=replace(settings.llm, workers=at_once))
    with Models(settings) as models:
        host = SandboxFactory(settings, models.stop, args.keep_images)
        read_only = cli.options(args).read_only
        left = [] if read_only else host.reap()
        if args.reap:
            return 1 if left else 0
        if bool(args.input) == bool(args.repo):
            parser.error("one of --input and --repo is needed")
        if not read_only:
            settings.root.mkdir(parents=True, exist_ok=True)
        repositories = one_repository(args.repo, settings.root, may_clone=not read_only) if args.repo else (
            Repositories.of(Path(args.input)))
        setup = Setup(settings, models, host)
        environments = Writes(Store(settings.root, Environment), fields=tuple(f.name for f in fields(Environment)),
                              fault=fault_of)
        stage = run_loop.Stage(
            "env_setup", make=setup.make, writes=environments, identity=setup.identity(),
            reads=Reads(repositories, fields=("repo", "base_image", "base_commit", "source", "row")),
            cost_note=setup.bound())
        return run_loop.run(stage, settings, models, cli.options(args))


if __name__ == "__main__":
    cli.main(main)
