#!/usr/bin/env python3
"""Run the candidates of every turn in the state after its history.

The history is replayed in the environment of the pull request's base commit, and each observation
is compared with the recorded one. Then king, challenger, samples and the reference run in separate
branches; if one changes files, the pull request's tests run after it, too. Judges and choosers
see the output and changes of each. A turn without an environment waits for one; until then it is
judged only by reading.

reads   answer*/<source>_<order>.json     Answer, from king.py and ch.py; _samples/ next to it
        commit/<instance_id>.json         Commit: its tests
        env/<repo_name>.json              Environment of the base commit ([run] environments)
writes  executed/<source>_<order>.json    Executed
        executed/_ledger.jsonl            a line per attempt
        (--states: executed/_states/<trajectory>.json, TurnStates: which tests pass at each turn of
        the trajectories of --source, for prompt.py)

  python run_turns.py --limit 3           # a taste
  python run_turns.py                     # what is missing, stale or failed
"""
from functools import partial

from codedata.disk.store import Derived, Store
from codedata.duel.agreement import samples_of
from codedata.llm import Models
from codedata.records import Answer, Commit, Executed, Prompt, TurnStates
from codedata.run import cli, start
from codedata.run.stage import Reads, Stage, Writes
from codedata.sampling.draw import prompts_of, trajectory_name
from codedata.sampling.trajectories import hub_of, open_source
from codedata.sandbox.factory import SandboxFactory
from codedata.settings import Settings
from codedata.suites.environments import JUDGED_BY
from codedata.turns.execute import Runner, environments_of


def main(argv=None) -> int:
    parser = cli.parser(__doc__, "run", "prompt", "sandbox",
                        without=(*cli.OF_MODELS, "base_image"))
    add = parser.add_argument_group("flags of run_turns.py").add_argument
    add("--states", action="store_true", help="run the tests at each turn of trajectories instead")
    add("--source", help="with --states: the trajectories, as in prompt.py")
    cli.sandbox_flags(parser, pod_prefix="code-data-turn")
    args = parser.parse_args(argv)
    settings, options = cli.with_sandboxes(args)
    return start.run(partial(states if args.states else executed, settings), settings, options)


def runner_of(settings: Settings, models: Models) -> Runner:
    """Return the object that replays histories and runs commands in sandboxes."""
    return Runner(settings, SandboxFactory(settings, models.stop), samples_of)


def executed(settings: Settings, models: Models) -> Stage:
    """Return the stage that runs the candidates of turns."""
    return Stage(
        "run_turns", make=runner_of(settings, models).make, then="ch.py; validate.py",
        writes=Writes(Store(settings.root, Executed)), **inputs(settings))


def states(settings: Settings, models: Models) -> Stage:
    """Return the stage that runs the tests at each turn of trajectories."""
    prompt, hub = settings.prompt, hub_of(settings, models.http)
    source = open_source(prompt.source, hub, prompt.split, prompt.config)
    return Stage(
        "run_turns.states", make=runner_of(settings, models).states,
        reads=Reads(trajectories(source), ("instance_id", "messages", "tools")),
        also_reads=inputs(settings)["also_reads"], writes=Writes(Store(settings.root, TurnStates)),
        then="prompt.py")


def trajectories(source) -> Derived:
    """Return the last turn of each trajectory in a source, by the trajectory's name."""
    def last_turn(_, rows: list[dict]) -> dict[str, Prompt]:
        prompts, _ = prompts_of(rows[0])
        return {trajectory_name(rows[0]): prompts[-1]} if prompts else {}

    def readers() -> dict:
        return {f"row {i}": partial(source.rows, i, 1) for i in range(source.n_rows)}

    return Derived(readers, last_turn, place="trajectories", derived=False)


def inputs(settings: Settings) -> dict:
    """Return the inputs of both stages."""
    return {"reads": Reads(Store(settings.root, Answer), made_by="king", needs=("king",),
                           beside=samples_of,
                           fields=("instance_id", "messages", "tools", "king", "challenger",
                                   "assistant")),
            "also_reads": (Reads(Store(settings.root, Commit), ("repo", "base_commit", "patch",
                                                            "test_patch"), command="prompt.py"),
                       # the id of its image is in `verified`
                       Reads(environments_of(settings), (*JUDGED_BY, "verified"),
                             made_by="env_setup",
                             command="pr_tasks.py --setup")),
            "after": "king.py"}


if __name__ == "__main__":
    cli.main(main)
