"""Disturb each script with seeded faults, and check that a plain run then finishes without a loss.

A round runs a chain of scripts on a small root, with threads or on two nodes of a Ray cluster.
Scripts are killed with SIGKILL, sometimes with half of a ledger's last line cut off; workers of Ray
are killed; the file system of the root fills up; the clock jumps by hours; connections to the model
drop, hang or end in errors. Then the faults end, each script runs once more, and the root is
compared with that of an undisturbed run. Round i has the seed --seed + i, which sets its chain, its
engine and its faults.

  python benchmarks/chaos.py --minutes 10
  python benchmarks/chaos.py --minutes 0 --seed 7        # only the round of seed 7

Linux only. A line on stderr names what is left out: the full file system without the right to
mount, the clock without libfaketime (a package of Debian), containers without a Docker engine with
codedata-base:bookworm. One JSON line on stdout; exit code 1 if a check fails: the roots are kept
then. benchmarks/README.md defines the figures.
"""
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from pathlib import Path

from measure import PROJECT, SETTINGS_FROM_OUTSIDE, machine, mock_llm, parser_of, script

sys.path += [str(PROJECT), str(PROJECT / "tests")]
from a_task import write_foreign
from ray_nodes import nodes
from root import different_files

from codedata.disk.ledger import calls_of, read_lines
from codedata.sandbox.process_labels import of_root

SAMPLES, IMAGE = PROJECT / "samples", "codedata-base:bookworm"
CHAINS = {"duel": ("prompt", "king", "ch", "validate", "report", "export"),
          "solve": ("solve --n 1",),
          "pulls": ("pr_tasks --prs git:berthbook --setup --planner recipe --limit 1",),
          "bugs": ("env_setup --input repos.jsonl --planner recipe", "analyze",
                   "bug_inject scale --limit 2")}
RECORDS = ("prompt", "commit", "answer", "score", "final", "refined", "defeat", "attempt", "env",
           "task", "coverage", "bug")
ALONE = ("prompt", "report", "export")   # scripts without --engine and --workers
MOUNT_MB, WORKERS, MAX_S, SENT_S = 24, "4", 300, 1.0
CLOCK = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
BAD = ("--error-rate", "429:0.04,500:0.04", "--drop-rate", 0.04, "--hang-rate", 0.02,
       "--truncate-rate", 0.02)
CHAIN_TOML = """[llm]\nbase_url = "{}"\nmodel = "mock"\nretry_wait_s = 0.1\ncall_timeout_s = 5.0
[leak]\nmodels = []\n[judge]\nmodels = ["a", "b"]\n[export]\nrejected_too = true
[prompt]\nsource = "{samples}/trajectories.json"\nprs = "{samples}/prs.json"\ncount = 8
[solve]\nmax_steps = 4\n[prices]\nmock = {{ in = 1.0, out = 1.0 }}\n"""
TASK = {"task.toml": f'[environment]\ndocker_image = "{IMAGE}"\nworkdir = "/app"\n',
        "environment/Dockerfile": f"FROM {IMAGE}\n",
        "tests/test.sh": "echo 1 > /logs/verifier/reward.txt\n"}


def main() -> int:
    """Run rounds for some minutes; return 1 if a check of any has failed."""
    p = parser_of(__doc__)
    p.add_argument("--minutes", type=float, default=10, metavar="N",
                   help="no round begins that would probably end later (%(default)g)")
    p.add_argument("--seed", type=int, default=0, metavar="N", help="of the first round (0)")
    args = p.parse_args()
    began, longest, rounds = time.monotonic(), 0.0, []
    base = Path(tempfile.mkdtemp(prefix="codedata_chaos."))
    with ExitStack() as held:
        here = Machine(base, held)
        while not rounds or time.monotonic() - began + longest < 60 * args.minutes:
            started = time.monotonic()
            rounds.append(Round(here, args.seed + len(rounds)).run())
            longest = max(longest, time.monotonic() - started)
            print(json.dumps(rounds[-1]), file=sys.stderr, flush=True)
    wrong = [one["seed"] for one in rounds if one["wrong"]] + left_processes(base)
    if not wrong:
        shutil.rmtree(base)
    print(json.dumps({"benchmark": "chaos", **machine(), "wrong": wrong, "rounds": rounds,
                      "minutes": (time.monotonic() - began) / 60}))
    return 1 if wrong else 0


class Machine:
    """Hold what all rounds use: a cluster, the possible faults and chains, undisturbed roots."""

    def __init__(self, base: Path, held: ExitStack):
        """Start the nodes, and print what this machine cannot do."""
        self.base, self.hidden, self.held = base, base / "hidden", held
        self.expected = {}    # {chain: (undisturbed root, {script: seconds})}
        self.faults = ["kill", "tear", "worker", "full", "clock"]
        self.hidden.mkdir()
        os.environ["TMPDIR"] = str(base / "tmp")
        (base / "tmp").mkdir()
        self.cluster = held.enter_context(nodes(self.hidden, base))
        if why := self.mount(self.hidden / "small"):
            self.leave_out("full", why)
        if not CLOCK:
            self.leave_out("clock", "libfaketime is not installed")
        inspect = subprocess.run(["docker", "image", "inspect", IMAGE], capture_output=True)
        self.chains = [*CHAINS] if inspect.returncode == 0 else ["duel"]
        if len(self.chains) == 1:
            print(f"chaos: without containers: no Docker engine with {IMAGE}", file=sys.stderr)

    def mount(self, folder: Path) -> str:
        """Mount a small file system until the end; return why that is not possible, or ""."""
        folder.mkdir()
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={MOUNT_MB}m", "none", folder],
                              capture_output=True, text=True)
        if done.returncode == 0:
            self.held.callback(subprocess.run, ["umount", folder], check=True)
        return done.stderr.strip()

    def leave_out(self, fault: str, why: str) -> None:
        self.faults.remove(fault)
        print(f"chaos: without the fault {fault}: {why}", file=sys.stderr)


class Round:
    """Run a chain of scripts on a root, with faults if it has a seed."""

    def __init__(self, here: Machine, seed: int | None = None, chain: str = ""):
        self.here, self.seed, self.draw = here, seed, random.Random(seed)
        self.chain = chain or here.chains[seed // 2 % len(here.chains)]
        self.on_ray = seed is not None and seed % 2 == 1
        self.name = name = chain or str(seed)
        self.root = here.hidden / "small" / "root" if seed is not None else here.base / chain
        self.temp, self.log = here.base / f"tmp_{name}", here.base / f"calls_{name}.jsonl"
        self.clock_file, self.errors = here.base / f"clock_{name}", here.base / f"err_{name}"
        self.seconds, self.stopped, self.torn, self.done, self.wrong = {}, [], set(), [], []

    def run(self) -> dict:
        """Disturb each script of the chain, then run each to its end; return the figures."""
        self.write()
        self.set_clock(0)
        options = ("--log", self.log, "--latency", 0.4, "--jitter", 0.3)
        if self.seed is not None:
            if self.chain not in self.here.expected:
                self.here.expected[self.chain] = undisturbed = Round(self.here, None, self.chain)
                undisturbed.run()
            with mock_llm(*options, *BAD, "--seed", self.seed) as mock:
                self.configure(mock)
                for line in CHAINS[self.chain]:
                    self.disturb(line)
            self.set_clock(0)
        with mock_llm(*options) as mock:
            self.configure(mock)
            for line in CHAINS[self.chain]:
                started = time.monotonic()
                if code := self.ended(self.start(line), line):
                    self.wrong.append(f"{line}: exit code {code}")
                self.seconds[line] = time.monotonic() - started
        figures = self.check()
        if self.wrong:
            shutil.copytree(self.root, self.here.base / f"root_{self.name}")
        if self.seed is not None:
            shutil.rmtree(self.root)
        return figures

    def write(self) -> None:
        """Write the chain's input."""
        self.root.mkdir()
        self.temp.mkdir()
        (self.root / ".env").touch()
        if self.chain == "solve":
            for i in range(6):
                write_foreign(self.root, f"task-{i}", {**TASK, "instruction.md": f"Say {i}.\n"})
        elif self.chain == "bugs":
            row = {"repo": "samples/spanset", "repo_name": "chaos_spanset",
                   "reformat_path": str(SAMPLES / "repos/spanset")}
            (self.root / "repos.jsonl").write_text(json.dumps(row))
        elif self.chain == "pulls":
            env = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_COMMITTER_NAME": "A",
                   "GIT_COMMITTER_EMAIL": "a@example.org"}
            for words in (["init", "-q", "-b", "main"],
                          ["remote", "add", "origin", "https://example.org/chaos/berthbook.git"],
                          ["am", "-q", "--committer-date-is-author-date",
                           *sorted(SAMPLES.glob("pulls/*.patch"))]):
                clone = self.root / "berthbook"
                clone.mkdir(exist_ok=True)
                subprocess.run(["git", *words], cwd=clone, env=env, check=True)

    def configure(self, mock) -> None:
        """Write the settings, with the model's address."""
        self.root.joinpath("chain.toml").write_text(CHAIN_TOML.format(
            mock.base_url, samples=SAMPLES))

    def start(self, line: str) -> subprocess.Popen:
        """Start a script with its flags."""
        name, *words = line.split()
        if name not in ALONE:
            words += ["--workers", WORKERS]
            if self.on_ray:
                words += ["--engine", "ray", "--ray-address", self.here.cluster.address]
        env = {key: value for key, value in os.environ.items() if key not in SETTINGS_FROM_OUTSIDE}
        env["TMPDIR"] = str(self.temp)
        if CLOCK:   # files keep their times, as if only the clock had moved
            env |= {"LD_PRELOAD": str(CLOCK), "FAKETIME_TIMESTAMP_FILE": str(self.clock_file),
                    "FAKETIME_CACHE_DURATION": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1",
                    "NO_FAKE_STAT": "1"}
        with open(self.errors, "a") as err:
            return subprocess.Popen([*map(str, script(f"{name}.py", self.root, *words))], env=env,
                                    cwd=self.root, stdout=err, stderr=err)

    def ended(self, process: subprocess.Popen, line: str, timeout_s: float = MAX_S) -> int:
        """Wait for a script's process; return its exit code. Kill it after `timeout_s`."""
        try:
            return process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            self.wrong.append(f"{line}: did not end in {timeout_s} s")
            return process.wait()

    def disturb(self, line: str) -> None:
        """Start a script up to three times, each time with a fault at a random moment."""
        usual_s = self.here.expected[self.chain].seconds[line] * (1 + self.on_ray)
        for _ in range(self.draw.randint(1, 3)):
            fault = self.draw.choice(self.here.faults)
            after_s = self.draw.uniform(0.2, usual_s)
            process = self.start(line)
            with suppress(subprocess.TimeoutExpired):
                process.wait(after_s)
            if process.returncode is None and (fault != "worker" or self.on_ray):
                self.done.append(fault)
                getattr(self, fault)(process)
            self.ended(process, line)

    def kill(self, process: subprocess.Popen) -> None:
        """Kill a script, but nothing that it has started."""
        self.stopped.append((time.time(), time.time()))
        process.kill()
        process.wait()

    def tear(self, process: subprocess.Popen) -> None:
        """Kill a script, and cut the last line of the newest ledger at a random place."""
        self.kill(process)
        ledgers = [path for path in self.ledgers() if path.stat().st_size]
        if ledgers:
            path = max(ledgers, key=lambda one: one.stat().st_mtime_ns)
            *before, last = path.read_bytes().splitlines(keepends=True)
            with suppress(ValueError):   # it is torn
                self.torn |= {call["id"] for call in calls_of(json.loads(last))}
            path.write_bytes(b"".join(before) + last[:self.draw.randrange(len(last))])

    def worker(self, _: subprocess.Popen) -> None:
        """Kill a worker of the cluster, if there is one."""
        if workers := self.here.cluster.workers():
            with suppress(ProcessLookupError):
                os.kill(self.draw.choice(workers)[0], signal.SIGKILL)

    def full(self, process: subprocess.Popen) -> None:
        """Fill the file system of the root until the script ends, at most for 20 s."""
        began, filler = time.time(), self.root.with_name("filler")
        with suppress(OSError), open(filler, "wb", buffering=0) as file:
            while file.write(bytes(4096)):
                pass
        with suppress(subprocess.TimeoutExpired):
            process.wait(20)
        self.stopped.append((began, time.time()))
        filler.unlink()

    def clock(self, _: subprocess.Popen) -> None:
        """Move the clock of this round's scripts."""
        self.set_clock(self.draw.choice((-90_000, -3600, 60, 7200, 90_000)))

    def set_clock(self, seconds: int) -> None:
        self.clock_file.write_text(f"{seconds:+d}")

    # checks --------------------------------------------------------------------------------------

    def ledgers(self) -> list[Path]:
        return [*self.root.glob("*/_ledger*.jsonl")]

    def check(self) -> dict:
        """Compare the root with the undisturbed one, and the ledger with the server's log."""
        calls = [json.loads(line) for line in self.log.read_text().splitlines()]
        n_paid = sum(one["status"] == 200 and one["fault"] != "drop" for one in calls)
        billed = [call["id"] for path in self.ledgers() for line in read_lines(path)
                  for call in calls_of(line)]
        n_lost = n_paid - len({*billed, *self.torn})
        # a reply that was sent right before a kill may not be on disk
        n_in_flight = sum(one["t"] < end and began < one["t"] + one["s"] + SENT_S
                          for one in calls for began, end in self.stopped)
        self.expect(0 <= n_lost <= n_in_flight, f"{n_lost} replies are in no ledger")
        self.expect(len(billed) == len({*billed}), "a reply is billed twice")
        undisturbed = self.here.expected.get(self.chain, self)
        for name in different_files(undisturbed.root, self.root, *RECORDS):
            self.wrong.append(f"{name} differs")
        left = [*self.temp.iterdir(), *self.root.rglob("_tmp*"), *self.root.glob("*/_partial/*"),
                *left_processes(self.temp), *left_containers(self.root)]
        self.wrong += [f"left: {one}" for one in left]
        self.expect("Traceback" not in self.errors.read_text(), f"traceback in {self.errors}")
        return {"seed": self.seed, "chain": self.chain, "engine": ["threads", "ray"][self.on_ray],
                "faults": self.done, "paid": n_paid, "lost": n_lost, "in_flight": n_in_flight,
                "bad_calls": len(calls) - n_paid, "wrong": self.wrong}

    def expect(self, holds: bool, failure: str) -> None:
        if not holds:
            self.wrong.append(failure)


def left_processes(temp: Path) -> list[str]:
    """Return the commands of processes whose TMPDIR is in this folder, after a grace of 20 s."""
    found, end = [""], time.monotonic() + 20
    while found and time.monotonic() < end:
        time.sleep(0.2)
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):   # it has ended
                if folder.name != str(os.getpid()) and (
                        f"TMPDIR={temp}".encode() in (folder / "environ").read_bytes()):
                    found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode())
    return found


def left_containers(root: Path) -> list[str]:
    """Return the ids of containers that runs in a root have left."""
    command = ["docker", "ps", "-aq", "--filter", f"label={of_root(root)}"]
    return subprocess.run(command, capture_output=True, text=True).stdout.split()


if __name__ == "__main__":
    sys.exit(main())
