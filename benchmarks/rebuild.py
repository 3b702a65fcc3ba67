"""Have a model rebuild stripped functions from their document alone, and grade it as Harbor would.

  python benchmarks/rebuild.py --root ROOT --only 'toolz.community.*' --limit 2

It reads nl2repo/ of a root that `nl2repo.py` has filled: an agent works in the image of each patch,
with the document and without a network; the files that the patch touches and new modules go to a
fresh container, where the verifier of the exported task runs the tests. Trajectories lie in
ROOT/nl2repo/_rebuilt/. One JSON line on stdout.
"""
import json
import sys
import tempfile
from pathlib import Path

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
from codedata.bounded import read_bounded
from codedata.config import load
from codedata.export.nl2repo import ARCHIVE, StripTask, tasks_in
from codedata.llm import Models
from codedata.records import StripPatch
from codedata.sandbox.archives import Bounds
from codedata.sandbox.factory import SandboxFactory
from codedata.states import Selection
from codedata.store import Store

SYSTEM = ("You are a careful engineer. You work in a container without a network, by tools: look, "
          "write, run what you wrote. Hand in by submit when all functions are written.")
COMMAND_S = 120
WORK = Bounds(max_bytes=50_000_000, max_files=2, max_depth=2, max_seconds=60)


def main() -> int:
    parser = cli.parser(__doc__, "nl2repo", "sandbox")
    cli.sandbox_flags(parser, pod_prefix="code-data-rebuild")
    args = parser.parse_args()
    settings = load(args)
    chosen = Selection(only=args.only or "")
    patches = Store(settings.root, StripPatch).open()
    task_of, rows = tasks_in(settings.root), []
    with Models(settings) as models:
        host = SandboxFactory(settings, models.stop)
        for name in [name for name in patches.names() if chosen.matches(name)]:
            patch = patches.read(name)
            task = task_of(patch)
            if not task.problem and len(rows) < (args.limit or len(patches.names())):
                rows.append(rebuilt(patch, task, models.client("agent"), host, settings))
                print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    print(json.dumps({"benchmark": "rebuild", **machine(), "patches": rows}))
    return 0


def rebuilt(patch: StripPatch, task: StripTask, client, host: SandboxFactory, settings) -> dict:
    """Return the reward that a model gets for a patch, and what it cost."""
    trajectory = settings.root / f"nl2repo/_rebuilt/{patch.id}.json"
    try:
        with host.open(task.docker_image, "rebuild", task.workdir, is_stateful=True) as sandbox:
            result = Agent(
                SYSTEM, [ToolBashExecutor(COMMAND_S), view_file, search, edit_file, create_file,
                         submit],
                client, sandbox, max_iterations=2 * settings.nl2repo.max_iterations,
                trajectory=trajectory).run(task.instruction)
            sandbox.run(task.collect)
            with tempfile.TemporaryDirectory() as folder:
                sandbox.get(ARCHIVE, Path(folder), WORK)
                work = read_bounded(Path(folder, Path(ARCHIVE).name))
        with host.open(task.docker_image, "rebuild", task.workdir, default_rights=True) as sandbox:
            sandbox.put({Path(ARCHIVE).name: work}, str(Path(ARCHIVE).parent))
            sandbox.put({path: text.encode() for path, text in task.tests.items()}, "/tests")
            printed = sandbox.run("mkdir -p /logs/verifier; cd /tests && bash test.sh; "
                                  "cat /logs/verifier/reward.txt", timeout_s=1800).output.strip()
    finally:
        host.forget("rebuild")
    return {"id": patch.id, "functions": len(patch.functions), "status": result.status,
            "reward": float(printed.rpartition("\n")[2]), "n_tests": len(
                patch.proof["FAIL_TO_PASS"]), "usage": result.usage, "log": printed[-1000:]}


if __name__ == "__main__":
    sys.exit(main())
