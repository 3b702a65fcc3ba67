"""Measure how exactly run_turns.py replays trajectories, how long a branch takes, and whether
run_turns.py tells planted edits apart.

  python benchmarks/run_turns.py --root ROOT --source FOLDER             # 60 commands of each
  python benchmarks/run_turns.py --root ROOT --source FOLDER --only '*pydicom*' --commands 500
  sh samples/demo-pr.sh DIR; python benchmarks/run_turns.py --root DIR --planted

ROOT has commit/ and env/ of the trajectories' pull requests, FOLDER the trajectories, as prompt.py
reads them. One JSON line on stdout, a line for each trajectory on stderr. Exit code 1: a target is
missed.
"""
from __future__ import annotations

import json
import re
import shlex
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from urllib.parse import unquote

from measure import PROJECT, machine

sys.path.insert(0, str(PROJECT))
import run_turns
from codedata.code.patches import files_of
from codedata.config import load
from codedata.disk.store import Store
from codedata.duel.agreement import samples_of
from codedata.errors import Trouble
from codedata.llm import Models
from codedata.llm.replies import ReplyLog, recording
from codedata.records import PULL_REQUEST, Answer, Commit, Task
from codedata.run import cli
from codedata.sampling.trajectories import Hub, open_source
from codedata.sandbox.factory import SandboxFactory
from codedata.tasks.folder.task_folder import verifier_config
from codedata.turns.execute import Runner, State, environments_of, run_sides
from codedata.turns.replay import UNEQUAL

MAX_BRANCH_S = 2.0
RUNS = 3                   # runs of the planted edits
N_BRANCHES = 5             # timed branches at each state


def main() -> int:
    """Measure, and print one JSON line."""
    parser = cli.parser(__doc__, "prompt", "run", "sandbox")
    cli.sandbox_flags(parser, pod_prefix="code-data-turn")
    parser.add_argument("--source")
    parser.add_argument("--commands", type=int, default=60, help="of a trajectory (default: 60)")
    parser.add_argument("--planted", action="store_true")
    parser.add_argument("--show", action="store_true", help="print unequal observations")
    args = parser.parse_args()
    settings = load(args)
    with Models(settings) as models:
        runner = Runner(settings, SandboxFactory(settings, models.stop), samples_of)
        figures = (planted(runner, settings) if args.planted else
                   replayed(runner, settings, models, args))
    print(json.dumps({"benchmark": "run_turns", **machine(), **figures}))
    return 1 if figures["missed"] else 0


def replayed(runner: Runner, settings, models: Models, args) -> dict:
    """Return counts of equal, masked and unequal observations by start, and seconds of branches."""
    source = open_source(settings.prompt.source, Hub(models.http), settings.prompt.split)
    trajectories = run_turns.trajectories(source).open()
    commits = Store(settings.root, Commit).open()
    by_start: dict[str, Counter] = {}
    seconds: list[float] = []
    states = Counter()
    left_out = {}
    for name in trajectories.names():
        if not fnmatch(name, args.only or "*"):
            continue
        last = trajectories.read(name)
        answer = an_answer(last.instance_id, cut(last.messages, args.commands), tools=last.tools)
        began = time.monotonic()
        try:
            with at_state(runner, answer, commits.read(last.instance_id)) as state:
                counts = compared(state.found)
                seconds += branch_seconds(state)
        except Trouble as e:
            left_out[name] = str(e)
            continue
        by_start.setdefault(state.found.start, Counter()).update(counts)
        states[re.sub(r"\d+", "n", state.found.state)] += 1
        print(name, state.found.start, state.found.state, dict(counts),
              f"{time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
        for one in state.found.unequal if args.show else []:
            print("   ", json.dumps(one), file=sys.stderr)
    total = sum(by_start.values(), Counter())
    timed = {"median": round(median(seconds), 3), "p90": round(quantiles(seconds, n=10)[-1], 3)
             } if seconds else {}
    missed = ["a branch"] if timed and timed["median"] > MAX_BRANCH_S else []
    n = total.total()
    return {"trajectories": states.total(), "states": states, "commands": n,
            "share": {key: round(total[key] / n, 3) for key in total} if n else {},
            "by_start": by_start, "branch_s": timed, "left_out": left_out, "missed": missed}


def an_answer(instance_id: str, messages: list, **fields) -> Answer:
    return Answer(**{"instance_id": instance_id, "messages": messages, "assistant": "",
                     "king": None, "challenger": None, **fields})


def cut(messages: list, n_turns: int) -> list:
    """Return the first `n_turns` turns of a conversation, with the results after the last one."""
    turns = [i for i, message in enumerate(messages) if message["role"] == "assistant"]
    return messages[:turns[n_turns]] if len(turns) > n_turns else messages


@contextmanager
def at_state(runner: Runner, answer: Answer, commit: Commit) -> Iterator[State]:
    """Yield a runner's state, with a reply log as in the run loop."""
    environment = environments_of(runner.settings).open().read(answer.instance_id)
    with (TemporaryDirectory() as folder,
          recording(ReplyLog(Path(folder), "run_turns", "benchmark")),
          runner.state(answer, commit, environment) as state):
        yield state


def compared(found) -> Counter:
    """Count observations that are equal, masked, and unequal with and without a changed tree."""
    counts = Counter(found.results.values())
    changed = {one["turn"] for one in found.unequal if one["tree_changed"]}
    counts["unequal, tree changed"] = len(changed)
    counts["unequal, tree unchanged"] = counts.pop(UNEQUAL, 0) - len(changed)
    return counts


def branch_seconds(state: State) -> list[float]:
    """Return the seconds that each branch on a state takes, with a change and a command."""
    times = []
    for i in range(N_BRANCHES):
        began = time.monotonic()
        state.branch.run(f"echo {i} > codedata-benchmark")
        with state.replayer.branches.branch(*state.branch.layers) as branch:
            branch.run("true")
        times.append(time.monotonic() - began)
    return times


# planted edits -----------------------------------------------------------------------------------

def planted(runner: Runner, settings) -> dict:
    """Return how many planted edits get the right label from run_turns.py's records."""
    commits = Store(settings.root, Commit).open()
    tasks = Store(settings.root, Task, kind=PULL_REQUEST).open()
    labels = []
    for i in range(RUNS):
        labels.append({})
        for name in tasks.names():
            edits = edits_of(commits.read(name), settings.root / "task" / name)
            to_pass = {*map(unquote, verifier_config(tasks.read(name))["FAIL_TO_PASS"])}
            said = labels_of(runner, commits.read(name), edits, to_pass)
            labels[i] |= {f"{name} {edit}": label for edit, label in said.items()}
    wrong = [f"{edit}: {label}" for edit, label in labels[0].items()
             if edit.split()[1] != label]
    same = sum(len({run[edit] for run in labels}) == 1 for edit in labels[0])
    n = len(labels[0])
    return {"planted": n, "told_apart": n - len(wrong), "wrong": wrong, "runs": RUNS,
            "labels_equal": round(same / n, 3),
            "missed": wrong + ([] if same == n else ["labels differ between runs"])}


def edits_of(commit: Commit, task: Path) -> dict[str, str]:
    """Return {"label n": command} of ten edits; the `right` ones apply the task's gold patch."""
    gold = (task / "solution/gold.patch").read_text()
    path = next(path for path, _ in files_of(gold) if path.endswith(".py"))
    apply = "git apply <<'END'\n{}END"
    at = f"from pathlib import Path\nfile = Path({path!r})\ntext = file.read_text()\n"
    python = "python3 - <<'END'\n{}END"
    # rename the last added function
    misnamed = re.sub(r"(.*\n\+ *def \w+)", r"\1_", gold, count=1, flags=re.DOTALL)
    return {
        "right 1": apply.format(gold),
        "right 2": f"cat > /tmp/p <<'END'\n{gold}END\ngit apply -v /tmp/p && git diff --stat",
        "wrong 1": apply.format(misnamed),
        "wrong 2": f"echo '# to do' >> {shlex.quote(path)}",
        "wrong 3": "echo 'Read me again.' >> README.md",
        "none 1": f"sed -i 's/this stands nowhere/x/' {shlex.quote(path)}",
        "none 2": python.format(f"{at}file.write_text(text)\n"),
        "crash 1": f"sed -i 's/(/[/' {shlex.quote(path)}.gone",
        "crash 2": python.format(f"{at}raise ValueError(file)\n"),
        "crash 3": python.format(f"{at}file.write_text(text + 'def (:\\n')\n")
        + f"\npython3 {shlex.quote(path)}"}


def labels_of(runner: Runner, commit: Commit, edits: dict[str, str], to_pass: set[str]) -> dict:
    """Return {edit: right, wrong, none or crash}, from a run of each edit."""
    answer = an_answer(commit.instance_id, [{"role": "user", "content": "Go on."}])
    sides = {edit: f"I edit.\n\n```bash\n{command}\n```" for edit, command in edits.items()}
    with at_state(runner, answer, commit) as state:
        runs, before = run_sides(sides, answer, state)
    return {edit: label(run, before, to_pass) for run in runs for edit in run["sides"]}


def label(run: dict, before: dict[str, str], to_pass: set[str]) -> str:
    passed = {name for name, status in run["tests"].items() if status == "passed"}
    passed_before = {name for name, status in before.items() if status == "passed"}
    if run["exit_code"] or (run["changes"] and passed_before and not passed):
        return "crash"
    if not run["changes"]:
        return "none"
    return "right" if passed >= to_pass | passed_before else "wrong"


if __name__ == "__main__":
    sys.exit(main())
