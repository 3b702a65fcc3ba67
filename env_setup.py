#!/usr/bin/env python3
"""Set up every repository: install script, test script and image, each verified in fresh
containers.

reads   --input FILE.jsonl           lines {repo, repo_name, image_name, reformat_path};
                                     or --repo PATH|GIT_URL[@COMMIT]
writes  env/<repo_name>.json         Environment; if its `status` is not success, the next run tries
                                     it again
        env/_ledger.jsonl            a line an attempt
        env/_trajectories/           what agents did, as it goes on

  python env_setup.py --input repos.jsonl --planner recipe   # without a model
  python env_setup.py --repo ../my-project                   # an agent if no recipe verifies
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
    add("--planner", choices=["auto", "recipe", "agent"],
        help="who finds the scripts (default: auto)")
    add("--max-iterations", type=cli.positive, metavar="N",
        help="replies of an agent (default: 100)")
    add("--stage2-max-iterations", type=cli.positive, metavar="N",
        help="replies of its second agent, for JS and TypeScript (default: 60)")
    add("--no-image", action="store_true", default=None, help="make no image of what was verified")
    for flag in ("--skip-existing", "--continue-on-error"):
        add(flag, action="store_true", help="how it always runs")
    add("--stop-on-error", action="store_true",
        help="start no further repository after one that failed")
    cli.sandbox_flags(parser)
    args = parser.parse_args(argv)
    settings = config.load(args)
    options = cli.options(args)
    if not args.workers:   # containers, not calls
        n_workers = max(1, int((os.cpu_count() or 1) // settings.sandbox.cpu_request))
        settings = replace(settings, llm=replace(settings.llm, workers=n_workers))
    with Models(settings) as models:
        host = SandboxFactory(settings, models.stop, args.keep_images)
        left = [] if options.read_only else host.reap()
        if args.reap:
            return 1 if left else 0
        if bool(args.input) == bool(args.repo):
            parser.error("one of --input and --repo is needed")
        if not options.read_only:
            settings.root.mkdir(parents=True, exist_ok=True)
        if args.repo:
            repositories = one_repository(args.repo, settings.root,
                                          may_clone=not options.read_only)
        else:
            repositories = Repositories.of(Path(args.input))
        setup = Setup(settings, models, host)
        stage = run_loop.Stage(
            "env_setup", make=setup.make, identity=setup.identity(), cost_note=setup.bound(),
            reads=Reads(repositories, fields=("repo", "base_image", "base_commit", "source",
                                              "row")),
            writes=Writes(Store(settings.root, Environment), fault=fault_of,
                          fields=tuple(f.name for f in fields(Environment))))
        return run_loop.run(stage, settings, models, options)


if __name__ == "__main__":
    cli.main(main)
