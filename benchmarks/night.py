"""Simulate a night of solve.py: many attempts, a slow model, kills, a restart of the endpoint.

A model of 5 s a step looks around three times, and submits. The run is killed twice with SIGKILL
and started again; once the endpoint goes away for some seconds. All tasks have one image.

  python benchmarks/night.py                             # 20 tasks x 4 attempts, 16 at once
  python benchmarks/night.py --tasks 300 --workers 64    # full size: a quarter of an hour
  python benchmarks/night.py --nodes                     # on two nodes of a Ray cluster

Needs a Docker engine with codedata-base:bookworm. Run it alone on the machine. One JSON line on
stdout, a table on stderr. benchmarks/README.md defines the figures.
"""
import argparse
import json
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path

from measure import PROJECT, Others, machine, parser_of, script

sys.path.insert(0, str(PROJECT))
sys.path.insert(0, str(PROJECT / "tests"))
from fake_llm import FakeLLM, Say
from ray_nodes import nodes

from codedata.disk.ledger import LEDGER, calls_of, read_lines
from codedata.sandbox.docker import engine

SETTLE_S = 20              # seconds of a start or restart that do not count
DOWN_S = 5
STEP_S = 5.0               # of a reply
IMAGE = "codedata-base:bookworm"
TASK = {"instruction.md": "Write 42 into /app/answer. It is {name}.\n",
        "task.toml": f'schema_version = "1.4"\n[task]\nname = "night/{{name}}"\n[environment]\n'
                     f'docker_image = "{IMAGE}"\nworkdir = "/app"\n',
        "environment/Dockerfile": f"FROM {IMAGE}\n",
        "solution/solve.sh": "echo 42 > /app/answer\n",
        "tests/test.sh": "grep -q 42 /app/answer && n=1 || n=0; sleep 0.3\n"
                         "echo $n > /logs/verifier/reward.txt\n"}


def main() -> None:
    args = parser().parse_args()
    base = Path(tempfile.mkdtemp(prefix="codedata_night."))
    report = {"benchmark": "night", **machine(), "tasks": args.tasks, "n": args.n,
              "workers": args.workers, "nodes": 2 * args.nodes}
    try:
        with ExitStack() as held:
            flags = []
            if args.nodes:
                hidden = base / "hidden"
                hidden.mkdir()
                cluster = held.enter_context(nodes(hidden, base))
                flags = ["--engine", "ray", "--ray-address", cluster.address]
            report |= Night(new_root(base / "hidden/root", args), args, flags).run()
    finally:
        shutil.rmtree(base, ignore_errors=True)
    print("\n".join(f"{key:<24}{value}" for key, value in report.items()), file=sys.stderr)
    print(json.dumps(report))


def parser() -> argparse.ArgumentParser:
    p = parser_of(__doc__)
    p.add_argument("--tasks", type=int, default=20, metavar="N")
    p.add_argument("--n", type=int, default=4, metavar="N", help="attempts at each task (4)")
    p.add_argument("--workers", type=int, default=16, metavar="N", help="attempts at once (16)")
    p.add_argument("--steps", type=int, default=4, metavar="N", help="replies of an attempt (4)")
    p.add_argument("--kills", type=int, default=2, metavar="N", help="kills of the run (2)")
    p.add_argument("--nodes", action="store_true", help="two nodes of Ray on this machine")
    return p


def new_root(root: Path, args) -> Path:
    """Write a root of tasks, and return it."""
    for i in range(args.tasks):
        for path, text in TASK.items():
            file = root / f"task/task-{i:03}" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text.format(name=f"task-{i:03}") if "{name}" in text else text)
    (root / ".env").touch()
    return root


class Night:
    """Run solve.py on a root up to its end, with disturbances, and observe it."""

    def __init__(self, root: Path, args, flags: list):
        self.root, self.args, self.flags = root, args, flags
        self.total = args.tasks * args.n
        self.requests = []         # their times, at all servers
        self.samples = []          # (time, left, in flight, containers, calls, memory)
        self.disturbed = []        # times of starts and restarts
        self.ended = threading.Event()

    def play(self, request) -> Say:
        """Return the reply to a request: commands, then the submission."""
        self.requests.append(request.at)
        n = sum(one["role"] == "assistant" for one in request.body["messages"])
        command = ["ls", "cat answer", "echo 42 > answer", "cat answer; echo 43"][n % 4]
        call = ("bash", {"command": command})
        if n >= self.args.steps - 1:
            call = ("submit", {"answer": "Done."})
        return Say("", calls=(call,), latency_s=STEP_S)

    def serve(self, port: int = 0) -> FakeLLM:
        fake = FakeLLM(port)
        fake.always(self.play)
        return fake

    def run(self) -> dict:
        """Run the night; return its figures."""
        self.fake = self.serve()
        (self.root / "chain.toml").write_text(
            f'[llm]\nbase_url = "{self.fake.base_url}"\nmodel = "m"\nretry_max = 9\n'
            f'[solve]\nworkers = {self.args.workers}\n[prices]\nm = {{ in = 1.0, out = 1.0 }}\n')
        others, began = Others(), time.monotonic()
        watcher = threading.Thread(target=self.watch)
        watcher.start()
        disturbances = ["restart", *["kill"] * self.args.kills]
        self.start()
        for i, what in enumerate(disturbances, 1):
            while self.n_done() < self.total * i / (len(disturbances) + 1):
                time.sleep(0.2)
            self.disturb(what)
        code = self.process.wait(3600)
        wall_s = time.monotonic() - began
        self.ended.set()
        watcher.join()
        self.fake.close()
        return {"exit_code": code, "minutes": wall_s / 60,
                "ideal_minutes": self.total * self.args.steps * STEP_S
                / self.args.workers / 60, "cores_used": others.cores(0), **self.figures()}

    def start(self) -> None:
        self.disturbed.append(time.monotonic())
        with open(self.root / "_stderr", "a") as err:
            self.process = subprocess.Popen(
                [*map(str, script("solve.py", self.root, "--n", self.args.n, *self.flags))],
                cwd=self.root, stdout=err, stderr=err)

    def disturb(self, what: str) -> None:
        if what == "kill":
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.start()
        else:
            port = self.fake.port
            self.fake.close()
            time.sleep(DOWN_S)
            self.disturbed.append(time.monotonic())
            self.fake = self.serve(port)

    def n_done(self) -> int:
        if self.process.poll() not in (None, 0):
            sys.exit((self.root / "_stderr").read_text()[-3000:])
        return sum(1 for _ in self.root.glob("attempt/[!_]*"))

    def watch(self) -> None:
        """Sample the run every second."""
        while not self.ended.wait(1):
            in_flight = re.findall(r"(\d+) in flight", (self.root / "_stderr").read_text()) or [0]
            left = self.total - sum(1 for _ in self.root.glob("attempt/[!_]*"))
            self.samples.append((
                time.monotonic(), left, int(in_flight[-1]), len({*engine.running(self.root)}),
                self.fake.in_flight, rss_mb(self.process.pid)))

    def figures(self) -> dict:
        """Return what the samples, the ledger and the records show."""
        args = self.args
        counted = [one for one in self.samples if one[1] >= args.workers
                   and not any(0 <= one[0] - t < SETTLE_S for t in self.disturbed)]
        shares = {name: mean(one[i] / args.workers for one in counted)
                  for i, name in enumerate(("open_share", "container_share", "model_share"), 2)}
        outcomes = [json.loads(path.read_text())
                    for path in self.root.glob("attempt/[!_]*/record.json")]
        memory = [one[-1] for one in counted]
        third = max(1, len(memory) // 3)
        return {"attempts": len(outcomes),
                "solved": sum(one["status"] == "solved" for one in outcomes),
                "calls_needed": self.total * args.steps,
                "calls_billed": sum(len(calls_of(line)) for line in
                                    read_lines(self.root / "attempt" / LEDGER)),
                "calls_answered": len(self.requests),
                "paid_twice_at_most": (args.kills + 1) * args.workers, **shares,
                "seconds_counted": len(counted), "driver_mb_first": mean(memory[:third]),
                "driver_mb_last": mean(memory[-third:]),
                "attempt_mb": mean(one["memory_bytes"] / 2**20 for one in outcomes)}


def mean(values) -> float | None:
    values = [*values]
    return round(statistics.fmean(values), 3) if values else None


def rss_mb(pid: int) -> float:
    with suppress(OSError, IndexError, ValueError):
        text = Path(f"/proc/{pid}/status").read_text()
        return int(text.partition("VmRSS:")[2].split()[0]) / 1024
    return 0.0


if __name__ == "__main__":
    main()
