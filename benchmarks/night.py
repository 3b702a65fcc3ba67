"""Simulate a night of solve.py: many attempts, a slow model, two kills, a restart of the endpoint.

A model of 5 s a step looks around three times, and submits. The run is killed twice with SIGKILL
and started again; once the endpoint goes away for some seconds. All tasks have one image.

  python benchmarks/night.py                             # 20 tasks x 4 attempts, 16 at once
  python benchmarks/night.py --tasks 300 --workers 64    # full size: a quarter of an hour
  python benchmarks/night.py --nodes                     # on two nodes of a Ray cluster

Needs a Docker engine with codedata-base:bookworm. Run it alone on the machine. One JSON line on
stdout. benchmarks/README.md defines the figures.
"""
import json
import re
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from statistics import fmean

from measure import PROJECT, machine, parser_of, script

sys.path.insert(0, str(PROJECT))
sys.path.insert(0, str(PROJECT / "tests"))
from a_task import write_foreign
from fake_llm import FakeLLM, Say
from ray_nodes import nodes

from codedata.disk.ledger import LEDGER, calls_of, read_lines

N = 4                      # attempts at each task
SETTLE_S = 20              # seconds of a start or restart that do not count
STEP_S = 5.0               # of a reply
IMAGE = "codedata-base:bookworm"
TASK = {"task.toml": f'[environment]\ndocker_image = "{IMAGE}"\nworkdir = "/app"\n',
        "environment/Dockerfile": f"FROM {IMAGE}\n",
        "tests/test.sh": "grep -q 42 /app/answer && n=1 || n=0; sleep 0.3\n"
                         "echo $n > /logs/verifier/reward.txt\n"}
CHAIN = """[llm]\nbase_url = "{}"\nmodel = "m"\nretry_max = 9\n[solve]\nworkers = {}
[prices]\nm = {{ in = 1.0, out = 1.0 }}\n"""


def main() -> None:
    """Run a night, and print its figures as a line of JSON."""
    p = parser_of(__doc__)
    p.add_argument("--tasks", type=int, default=20, metavar="N")
    p.add_argument("--workers", type=int, default=16, metavar="N", help="attempts at once (16)")
    p.add_argument("--steps", type=int, default=4, metavar="N", help="replies of an attempt (4)")
    p.add_argument("--nodes", action="store_true", help="two nodes of Ray on this machine")
    args = p.parse_args()
    with tempfile.TemporaryDirectory(prefix="codedata_night.") as base, ExitStack() as held:
        hidden, flags = Path(base) / "hidden", []
        hidden.mkdir()
        if args.nodes:
            cluster = held.enter_context(nodes(hidden, Path(base)))
            flags = ["--engine", "ray", "--ray-address", cluster.address]
        figures = Night(hidden / "root", args, flags).run()
    print(json.dumps({"benchmark": "night", **machine(), **vars(args), **figures}))


class Night:
    """Run solve.py on a new root up to its end, with disturbances, and observe it."""

    def __init__(self, root: Path, args, flags: list):
        self.root, self.args, self.flags = root, args, flags
        self.total = args.tasks * N
        self.samples = []          # (attempts and calls in flight, KB) of each second
        self.disturbed = []        # times of starts and restarts
        self.requests = []         # at all servers
        for i in range(args.tasks):
            write_foreign(root, f"task-{i:03}", TASK)
        (root / ".env").touch()

    def play(self, request) -> Say:
        """Return the reply to a request: commands, then the submission."""
        self.requests.append(request)
        n = sum(one["role"] == "assistant" for one in request.body["messages"])
        command = ["ls", "cat answer", "echo 42 > answer", "cat answer; echo 43"][n % 4]
        is_last = n >= self.args.steps - 1
        call = ("submit", {"answer": "Done."}) if is_last else ("bash", {"command": command})
        return Say("", calls=(call,), latency_s=STEP_S)

    def serve(self, port: int = 0) -> None:
        """Start the model's server."""
        self.fake = FakeLLM(port)
        self.fake.always(self.play)
        self.disturbed.append(time.monotonic())

    def start(self) -> None:
        """Start solve.py."""
        self.disturbed.append(time.monotonic())
        with open(self.root / "_stderr", "a") as err:
            self.process = subprocess.Popen(
                [*map(str, script("solve.py", self.root, "--n", N, *self.flags))],
                cwd=self.root, stdout=err, stderr=err)

    def run(self) -> dict:
        """Run the night; return its figures."""
        self.serve()
        (self.root / "chain.toml").write_text(CHAIN.format(self.fake.base_url, self.args.workers))
        began, ended = time.monotonic(), threading.Event()
        watcher = threading.Thread(target=self.watch, args=(ended,))
        self.start()
        watcher.start()
        for i in (1, 2, 3):
            while self.n_done() < self.total * i / 4 and self.process.poll() in (None, 0):
                time.sleep(0.2)
            if i == 1:
                self.fake.close()
                time.sleep(5)
                self.serve(self.fake.port)
            else:
                self.process.kill()
                self.process.wait()
                self.start()
        code = self.process.wait(3600)
        minutes = (time.monotonic() - began) / 60
        ended.set()
        watcher.join()
        self.fake.close()
        return {"exit_code": code, "minutes": minutes, "ideal_minutes":
                self.total * self.args.steps * STEP_S / self.args.workers / 60, **self.figures()}

    def n_done(self) -> int:
        """Return the number of attempts on disk."""
        return sum(1 for _ in self.root.glob("attempt/[!_]*"))

    def watch(self, ended: threading.Event) -> None:
        """Sample the run every second, while there is work for all workers."""
        while not ended.wait(1):
            at = time.monotonic()
            in_flight = re.findall(r"(\d+) in flight", (self.root / "_stderr").read_text()) or [0]
            status = Path(f"/proc/{self.process.pid}/status")
            memory = re.search(r"VmRSS:\s*(\d+)", status.read_text() if status.exists() else "")
            if self.total - self.n_done() >= self.args.workers and memory and not any(
                    0 <= at - start < SETTLE_S for start in self.disturbed):
                self.samples.append((int(in_flight[-1]), self.fake.in_flight, int(memory[1])))

    def figures(self) -> dict:
        """Return what the samples, the ledger and the records show."""
        workers, third = self.args.workers, max(1, len(self.samples) // 3)
        attempts, calls, memory = [*zip(*self.samples, strict=True)] or [[0]] * 3
        billed = [*map(calls_of, read_lines(self.root / "attempt" / LEDGER))]
        return {"attempts": self.n_done(), "calls_needed": self.total * self.args.steps,
                "calls_billed": sum(map(len, billed)), "calls_answered": len(self.requests),
                "paid_twice_at_most": 3 * workers, "open_share": fmean(attempts) / workers,
                "model_share": fmean(calls) / workers, "seconds_counted": len(self.samples),
                "driver_mb_first": fmean(memory[:third]) / 1024,
                "driver_mb_last": fmean(memory[-third:]) / 1024}


if __name__ == "__main__":
    main()
