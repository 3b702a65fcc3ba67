#!/usr/bin/env python3
"""Let an agent attempt tasks, grade its work, and report how often each task is solved.

An attempt runs in a container of the task's image without network; the task's own verifier grades
its work in another container. Agents: `own`, a model with tools; `nop`, which changes nothing;
`gold`, the task's own solution; `command`, a program of yours.

`compare A B` compares two agents, each named as in attempt/ or by its model, on the tasks that both
attempted. Without a word, attempts are made.

reads   task/<id>/                                    Task, ours or from elsewhere
writes  attempt/<task>.<content 8>.<agent>.<k>/       Attempt: trajectory.json (ATIF), patch.diff,
                                                      record.json; a line per attempt in a ledger
        attempt/_rates/<task>.<content 8>.json        how often agents solve it
        attempt/_compare/<A>_vs_<B>.json              the comparison (compare)

  python solve.py --root runs/mine --n 4 --model some-model
  python solve.py --root runs/mine --n 8              # four more attempts
  python solve.py --root runs/theirs --tasks some-tasks/ --agent gold   # are they sound?
  python solve.py compare checkpoint-1000 checkpoint-2000 --root runs/mine
  python solve.py --root runs/mine --prune            # [solve] keep: messages of solved tasks
  python solve.py --agent command '/opt/agent/bin/mini -m openai/{model} -t {task}'
"""
from dataclasses import replace
from functools import partial
from pathlib import Path

from codedata.audit.others import copy_tasks
from codedata.bounded import inside
from codedata.conversation.recorded_steps import check_problem
from codedata.disk.layouts import to_json, write_atomic
from codedata.errors import Trouble
from codedata.llm import Models
from codedata.records import Attempt
from codedata.run import cli, start
from codedata.run.stage import Stage
from codedata.run.status import is_gathering
from codedata.sampling.readers import forms
from codedata.sandbox.factory import SandboxFactory
from codedata.settings import Settings
from codedata.solving.agents import AGENTS, Own
from codedata.solving.attempt import solve_stage
from codedata.solving.prune import prune_saturated
from codedata.tasks.compared import COMPARE, compare, in_words
from codedata.terminal import say
from codedata.texts import terminal_safe

SHOWN = 10   # gained, and lost, tasks in the terminal


def main(argv=None) -> int:
    """Run the script, and return its exit code."""
    parser = cli.parser(__doc__, "solve", "sandbox", without=["base_image"])
    add = parser.add_argument_group("flags of solve.py").add_argument
    add("word", choices=["attempt", "compare"], nargs="?", default="attempt",
        metavar="attempt|compare", help="the work to do (default: attempt)")
    add("names", nargs="*", metavar="A B", help="the agents or models to compare")
    add("--n", type=int, metavar="N",
        help="attempts at each task, including existing ones (default: 4)")
    add("--agent", nargs="+", action="extend", metavar=("AGENT", "COMMAND"),
        help="own, nop, gold, or command and its COMMAND: bash in the container, with {task} and "
        "{model} filled in, that calls OPENAI_BASE_URL (default: own)")
    add("--network", action="store_true", default=None, help="let agents use the network")
    add("--tasks", metavar="PATH",
        help="tasks of others, copied into task/ first, as in audit.py")
    cli.sandbox_flags(parser)
    args = parser.parse_args(argv)
    if args.agent:
        args.agent, args.command = args.agent[0], " ".join(args.agent[1:])
    if len(args.names) != (2 if args.word == "compare" else 0):
        parser.error("compare takes two names, of agents or models; attempt takes none")
    if args.word == "compare":
        return compared(args)
    settings, options = cli.with_sandboxes(args)
    if issubclass(AGENTS[settings.solve.agent], Own):   # they wait for the model
        llm = replace(settings.llm, workers=settings.solve.workers)
        settings = replace(settings, llm=llm)
    if (settings.solve.agent == "command") != bool(settings.solve.command):
        parser.error("--agent is own, nop, gold, or command with a COMMAND")
    if args.tasks:
        for line in copy_tasks(Path(args.tasks), settings.root, options.selection,
                               options.read_only):
            say(line)
    return start.run_steps({"solve": partial(attempts, args, settings)}, settings, options,
                           [Attempt])


def compared(args) -> int:
    """Compare two agents, print the result, and write it if it is of all tasks."""
    settings, options = cli.read(args)
    start.check_root(settings.root)
    found = compare(settings.root, args.names, options.selection.matches)
    file = f"{Attempt.directory}/{COMPARE}/{'_vs_'.join(found['agents'])}.json"
    lines = in_words(found, SHOWN)
    if not (options.read_only or args.only):
        write_atomic(inside(settings.root, file), to_json(found))
        lines.append(f"all tasks: {file}")
    print(terminal_safe("\n".join(lines)))
    return 0


def attempts(args, settings: Settings, models: Models) -> Stage:
    """Return the stage that lets the chosen agent attempt tasks."""
    solve, host = settings.solve, SandboxFactory(settings, models.stop)
    limits = {"max_iterations": solve.max_steps,
              "max_seconds": settings.agent.max_seconds, "max_usd": settings.agent.max_usd}
    agent = AGENTS[solve.agent]
    asked = (models.client("solve"), limits, solve.network) if issubclass(agent, Own) else ()
    more = (solve.command, solve.agent_image) if solve.agent == "command" else ()
    as_begun = is_gathering() and "solve.n" not in settings.given
    stage = solve_stage(settings, host, models.stop, agent(*asked, *more),
                        0 if as_begun else solve.n)
    return replace(stage, prune=partial(prune_saturated, settings.root, solve.keep, is_checked))


def is_checked(attempt: Attempt) -> bool:
    """Return whether an attempt ends in a check."""
    try:
        row = forms.read(attempt.trajectory, attempt.instance_id)
    except Trouble:   # earlier calls were rewritten as texts: no set takes it
        return False
    return not check_problem(row["messages"], row["tools"])


if __name__ == "__main__":
    cli.main(main)
