#!/usr/bin/env python3
"""Run the candidates of every turn at the state that its history leads to.

The history is replayed in the environment of the pull request's base commit, each observation is
compared with the recorded one, and king, challenger, samples and the reference run in branches of
their own; after those that change files, the pull request's tests run, too. Judges and choosers
are shown what was printed and changed. A turn without an environment is judged by reading alone.

reads   answer*/<source>_<order>.json     Answer, from king.py and ch.py; _samples/ beside it
        commit/<instance_id>.json         Commit: its tests
        env/<repo_name>.json              Environment of the base commit ([run] environments)
writes  executed/<source>_<order>.json    Executed
        executed/_ledger.jsonl            a line an attempt

  python run_turns.py --limit 3           # a taste
  python run_turns.py                     # what is missing, stale or failed
"""
from codedata import cli, config, run_loop
from codedata.llm import Models
from codedata.records import Answer, Commit, Executed
from codedata.sandbox.factory import SandboxFactory
from codedata.states import Reads, Writes
from codedata.store import Store
from codedata.turns.execute import Runner


def main(argv=None) -> int:
    parser = cli.parser(__doc__, "run", "sandbox")
    cli.sandbox_flags(parser, pod_prefix="code-data-turn")
    args = parser.parse_args(argv)
    settings = cli.with_container_workers(config.load(args), args)
    options = cli.reap_first(args, settings, cli.options(args))
    with Models(settings) as models:
        runner = Runner(settings, SandboxFactory(settings, models.stop))
        stage = run_loop.Stage(
            "run_turns", make=runner.make,
            reads=Reads(Store(settings.root, Answer), made_by="king", needs=("king",),
                        fields=("instance_id", "messages", "tools", "king", "challenger",
                                "assistant")),
            joined=(Reads(Store(settings.root, Commit),
                          ("repo", "base_commit", "patch", "test_patch"), command="prompt.py"),),
            writes=Writes(Store(settings.root, Executed)),
            identity={"how": settings.run.how}, after="king.py", then="ch.py; validate.py")
        try:
            return run_loop.run(stage, settings, models, options)
        finally:
            runner.close()


if __name__ == "__main__":
    cli.main(main)
