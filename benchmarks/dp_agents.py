"""Measure `build_dp.py agents`: 22 agents in four processes take 20 seeds to approved datapoints,
two agents and one process are killed in the middle, builders take ten times as long as reviewers.

  python benchmarks/dp_agents.py           # what validation finds lies in dp/_checks/ already
  python benchmarks/dp_agents.py --real    # 3 seeds, each datapoint is validated, nobody is killed
  python benchmarks/dp_agents.py --twins   # 10,000 drafts: how long does it take to find a twin?

Replies come from a server on this machine (samples/replay.py), the sandboxes are containers. An
agent is idle while a task of its type is pending and it holds none. Exit 1 where a draft is lost or
built twice, more calls are paid again than killed agents had in flight, an agent is idle for longer
than IDLE_S, or it takes too long.
"""
import argparse
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

from measure import PROJECT, machine

sys.path.insert(0, str(PROJECT))
sys.path.insert(0, str(PROJECT / "tests"))
sys.path.insert(0, str(PROJECT / "tests/datapoints"))
from a_datapoint import PARTS
from recorded import Replay, builder_turns, idea_turns, judged, record, review_turns

from codedata.checks.duplicates import Texts
from codedata.datapoints.queue import TaskManager

# idea, builder, review of each process; all but the first are killed once they hold so many tasks
PROCESSES = (((3, 7, 4), 0), ((0, 1, 0), 1), ((0, 1, 0), 1), ((1, 3, 2), 2))
REAL = (((2, 2, 1), 0),)
TYPES = ("generate_idea", "build_datapoint", "review_datapoint")
ROLES = ("idea", "builder", "review")
LATENCY_S = {"generate_idea": 0.5, "build_datapoint": 3.0, "review_datapoint": 0.3}
MAX_S, MAX_REAL_S, IDLE_S, LEASE_S = 600, 900, 3.0, 10
N_DRAFTS, N_TWINS, MAX_MS = 10_000, 30, 20.0
CHAIN = """[llm]
base_url = "{url}"
model = "m"
ca_bundle = "{bundle}"
[dp]
drafts = 1
profile = "general"
lease_s = {lease_s}
[prices]
m = {{ in = 1.0, out = 2.0 }}
"""


class Slow(Replay):
    """Answer builders ten times as slowly as reviewers."""

    def latency_of(self, task: str) -> float:
        """Return the seconds of a reply."""
        return next(s for type, s in LATENCY_S.items() if type in task)


def main() -> int:
    p = argparse.ArgumentParser(description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--real", action="store_true", help="validate; 3 seeds")
    p.add_argument("--twins", action="store_true", help="measure the search for twins")
    args = p.parse_args()
    with tempfile.TemporaryDirectory(prefix="codedata_dp_agents.") as folder:
        report, is_good = twins() if args.twins else agents(Path(folder), args.real)
    print(json.dumps({"benchmark": "dp_agents", **machine(), **report}))
    return 0 if is_good else 1


def agents(root: Path, is_real: bool) -> tuple[dict, bool]:
    """Return what a run took, and what it lost."""
    names = [f"seed{n:02d}" for n in range(3 if is_real else 20)]
    server, seeds = prepared(root, names, is_real)
    processes = REAL if is_real else PROCESSES
    started, killed_at = time.time(), {}
    children = [start(root, seeds, processes[0][0])]
    manager = TaskManager(root / "dp")
    while not manager.tasks(state="in_progress"):   # before, one that only builds has nothing to do
        time.sleep(0.1)
    children += [start(root, seeds, counts) for counts, _ in processes[1:]]
    for child, (_, n_held) in zip(children, processes, strict=True):
        if n_held:
            kill_holding(child, n_held, manager)
            killed_at[child.pid] = time.time()
    code = children[0].wait()
    seconds = time.time() - started
    completed = Counter(task["datapoint"] for task in manager.tasks(TYPES[1], "completed"))
    statuses = Counter(json.loads(path.read_text())["status"]
                       for path in (root / "dp").glob("seed*/metadata.json"))
    agents_of = {str(child.pid): counts
                 for child, (counts, _) in zip(children, processes, strict=True)}
    n_killed = sum(sum(agents_of[str(pid)]) for pid in killed_at)
    events = manager.events()
    report = {
        "seeds": len(names), "agents": sum(sum(counts) for counts, _ in processes),
        "killed": n_killed, "seconds": round(seconds, 1), "exit": code,
        "approved": statuses["approved"], "drafts": len([*(root / "dp/_drafts").iterdir()]),
        "built": len(completed), "built_twice": sum(n > 1 for n in completed.values()),
        "calls": sum(server.asked.values()),
        "paid_again": sum(n - 1 for n in server.asked.values()),
        "expired": sum(event["event"] == "expired" for event in events),
        "idle_s": {role: round(idle(events, type, {pid: counts[i]
                                                   for pid, counts in agents_of.items()},
                                    killed_at), 2)
                   for i, (type, role) in enumerate(zip(TYPES, ROLES, strict=True))}}
    is_good = (report["approved"] == report["built"] == report["drafts"] == len(names)
               and not report["built_twice"] and report["paid_again"] <= n_killed
               and seconds <= (MAX_REAL_S if is_real else MAX_S) and not code
               and (is_real or max(report["idle_s"].values()) <= IDLE_S))
    print("".join(f"  {key:12}{value}\n" for key, value in report.items()), file=sys.stderr)
    return report, is_good


def prepared(root: Path, names: list[str], is_real: bool) -> tuple[Replay, Path]:
    """Return the server of recorded replies, and the folder of the seeds, for datapoints of these
    names."""
    folder, seeds = root / "recorded", root / "seeds"
    seeds.mkdir()
    for n, name in enumerate(names):
        (seeds / f"{name}.md").write_text(f"# {name}\n\nAdd up numbers.\n")
        prompt = PARTS["prompt.md"] + "\n" * (n if is_real else 0)   # contents of their own
        record(folder, TYPES[0], name, *idea_turns(name))
        record(folder, TYPES[1], f"{name}_001_a", *builder_turns(prompt=prompt))
        record(folder, TYPES[2], f"{name}_001_a", *review_turns())
    if not is_real:
        judged(root)
    server = (Replay if is_real else Slow)(folder)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    (root / "chain.toml").write_text(CHAIN.format(
        url=server.base_url, lease_s=LEASE_S, bundle=os.environ.get("REQUESTS_CA_BUNDLE", "")))
    return server, seeds


def kill_holding(child: subprocess.Popen, n_held: int, manager: TaskManager) -> None:
    """Kill a process once its agents hold so many tasks. Exit where it ends before."""
    while sum(task["agent"].endswith(f".{child.pid}")
              for task in manager.tasks(state="in_progress")) < n_held:
        if child.poll() is not None:
            sys.exit(f"A process ended before it held {n_held} tasks at once.")
        time.sleep(0.2)
    time.sleep(2)
    child.send_signal(signal.SIGKILL)
    child.wait()


def start(root: Path, seeds: Path, counts: tuple[int, ...]) -> subprocess.Popen:
    """Start a process with so many agents of each role."""
    agents = ",".join(f"{role}={n}" for role, n in zip(ROLES, counts, strict=True) if n)
    with open(root / f"log-{agents}", "ab") as log:
        return subprocess.Popen(
            [sys.executable, PROJECT / "build_dp.py", "agents", "--root", root, "--config",
             root / "chain.toml", "--seeds", seeds, "--agents", agents], stderr=log)


def idle(events: list[dict], type: str, n_agents: dict[str, int], killed_at: dict) -> float:
    """Return the longest time for which a task was pending while an agent of its type had none. The
    agents of a process count from its first claim on."""
    kills = [{"at": at, "event": "killed", "id": type, "pid": str(pid)}
             for pid, at in killed_at.items()]
    pending, holders, alive = set(), {}, set()
    longest, since = 0.0, None
    for event in sorted([*events, *kills], key=lambda one: one["at"]):
        if since is not None:
            longest = max(longest, event["at"] - since)
        step(event, event["id"].startswith(type), pending, holders, alive)
        n_free = (sum(n_agents[pid] for pid in alive)
                  - sum(pid in alive for pid in holders.values()))
        if not pending or n_free <= 0:
            since = None
        elif since is None:
            since = event["at"]
    return longest


def step(event: dict, is_own: bool, pending: set, holders: dict, alive: set) -> None:
    """Take an event into what is pending, who holds what, and which processes are at work."""
    pid = event.get("pid") or str(event.get("agent")).rpartition(".")[2]
    if event["event"] == "killed":
        alive.discard(pid)
    if event["event"] == "claimed":
        alive.add(pid)
    if not is_own or event["event"] in ("killed", "renewed", "updated"):
        return
    holders.pop(event["id"], None)
    pending.discard(event["id"])
    if event["event"] == "claimed":
        holders[event["id"]] = pid
    elif event["state"] == "pending":
        pending.add(event["id"])


def twins() -> tuple[dict, bool]:
    """Return how long it takes to ask 10,000 drafts for a twin, and which are found: copies in
    which every twelfth word is another one."""
    draw = random.Random(0)
    seeds = [path.read_text() for path in sorted((PROJECT / "samples/seed_tasks").rglob("*"))
             if path.name.endswith((".md", "task.yaml"))]
    words = re.findall(r"\w+", " ".join(seeds))
    texts, known = Texts(0.3), []
    for n in range(N_DRAFTS):
        known.append(" ".join(draw.choices(words, k=draw.randint(300, 800))))
        texts.add(str(n), known[-1])
    copies = draw.sample(range(N_DRAFTS), N_TWINS)
    altered = [" ".join(draw.choice(words) if draw.random() < 1 / 12 else word
                        for word in known[n].split()) for n in copies]
    started = time.monotonic()
    found = [texts.nearest(text) for text in altered]
    others = [texts.nearest(text) for text in seeds[:N_TWINS]]
    others += [texts.nearest(" ".join(draw.choices(words, k=500)))
               for _ in range(N_TWINS - len(others))]
    ms = (time.monotonic() - started) / (2 * N_TWINS) * 1000
    report = {"drafts": N_DRAFTS, "ms_a_question": round(ms, 2),
              "found": sum(bool(one) and one.of == str(n)
                           for one, n in zip(found, copies, strict=True)),
              "of": N_TWINS, "false": sum(map(bool, others))}
    print(f"  {report}", file=sys.stderr)
    return report, report["found"] == N_TWINS and not report["false"] and ms <= MAX_MS


if __name__ == "__main__":
    sys.exit(main())
