"""Have a model rebuild stripped functions from their document alone, and grade it as Harbor would.

  python benchmarks/rebuild.py --root ROOT --only 'toolz.community.*' --limit 2

It reads task/ of a root that `nl2repo.py` has filled: an agent works in the image of each stripped
patch, with its instruction and without a network; what the task collects goes to a fresh container,
where its verifier runs the tests, and the held-out cases beside them. Trajectories lie in
ROOT/nl2repo/_rebuilt/. One JSON line on stdout.
"""
import json
import re
import sys

from measure import PROJECT, machine

sys.path.insert(0, str(PROJECT))
from codedata import cli
from codedata.agent import (
    Agent,
    ToolBashExecutor,
    create_file,
    edit_file,
    search,
    submit,
    view_file,
)
from codedata.config import load
from codedata.llm import Models
from codedata.records import STRIPPED_PATCH, Task
from codedata.sandbox.factory import SandboxFactory
from codedata.states import Selection
from codedata.store import Store
from codedata.tasks.folder import image_of, task_problem, verifier_config
from codedata.tasks.grade import Grader

SYSTEM = ("You are a careful engineer. You work in a container without a network, by tools: look, "
          "write, run what you wrote. Hand in by submit when all functions are written.")
COMMAND_S = 120
CASES = re.compile(r"^cases beside the tests: (\d+) of (\d+) passed$", re.MULTILINE)


def main() -> int:
    parser = cli.parser(__doc__, "nl2repo", "sandbox")
    cli.sandbox_flags(parser, pod_prefix="code-data-rebuild")
    args = parser.parse_args()
    settings = load(args)
    chosen = Selection(only=args.only or "")
    tasks = Store(settings.root, Task, kind=STRIPPED_PATCH).open()
    rows = []
    with Models(settings) as models:
        host = SandboxFactory(settings, models.stop)
        for name in filter(chosen.matches, tasks.names()):
            task = tasks.read(name)
            if not task_problem(task) and len(rows) < (args.limit or len(tasks.names())):
                rows.append(rebuilt(task, models.client("agent"), host, settings))
                print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    print(json.dumps({"benchmark": "rebuild", **machine(), "patches": rows}))
    return 0


def rebuilt(task: Task, client, host: SandboxFactory, settings) -> dict:
    """Return the reward that a model gets for a task, and what it cost."""
    name, image = task.instance_id, image_of(task)
    grader = Grader(host, task, image, "rebuild")
    try:
        with host.open(image, "rebuild", grader.workdir, is_stateful=True) as sandbox:
            result = Agent(
                SYSTEM, [ToolBashExecutor(COMMAND_S), view_file, search, edit_file, create_file,
                         submit],
                client, sandbox, max_iterations=2 * settings.nl2repo.max_iterations,
                trajectory=settings.root / f"nl2repo/_rebuilt/{name}.json").run(task.instruction)
            work = grader.packed(sandbox)
        grade = grader.grade(work)
    finally:
        host.forget("rebuild")
    return {"id": name, "functions": len(task.about["functions"]), "status": result.status,
            "reward": grade.reward, "n_tests": len(verifier_config(task)["FAIL_TO_PASS"]),
            "cases": cases_of(grade.log), "usage": result.usage, "log": grade.log[-1000:]}


def cases_of(log: str) -> dict | None:
    """Return how many of the cases beside the tests passed, None of a task without any. What is
    tested may print such a line, too, but the verifier's is the last."""
    found = CASES.findall(log)
    return {"passed": int(found[-1][0]), "of": int(found[-1][1])} if found else None


if __name__ == "__main__":
    sys.exit(main())
