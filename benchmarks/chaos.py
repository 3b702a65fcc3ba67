"""Disturb scripts with seeded faults, and check that plain runs then finish without a loss.

A round runs a chain of scripts on a small root, with threads or on two nodes of a Ray cluster.
Scripts are killed with SIGKILL, sometimes with half of a ledger's last line cut off; workers of Ray
are killed; the file system of the root fills up; the clock jumps by hours; connections to the model
drop, hang or end in errors. Then the faults end, each script runs once more, and the root is
compared with that of an undisturbed run. Round i has the seed --seed + i, which sets its chain, its
engine and its faults.

  python benchmarks/chaos.py --minutes 10
  python benchmarks/chaos.py --minutes 0 --seed 7        # only the round of seed 7

Linux only. A line on stderr names what is left out: the full file system without the right to
mount, the clock without a C compiler, containers without a Docker engine with
codedata-base:bookworm. One JSON line on stdout; exit code 1 if a check fails: the folder of the
rounds is kept then. benchmarks/README.md defines the figures.
"""
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from engine import kill as kill_on_cluster
from measure import PROJECT, SETTINGS_FROM_OUTSIDE, machine, mock_llm, parser_of, script

sys.path += [str(PROJECT), str(PROJECT / "tests")]
from ray_nodes import nodes
from root import different_files

from codedata.disk.ledger import calls_of, read_lines
from codedata.sandbox.process_labels import of_root

SAMPLES = PROJECT / "samples"
# scripts with their flags; {}: the engine, which some scripts do not have
CHAINS = {"duel": ("prompt", "king {}", "ch {}", "validate {}", "report", "export"),
          "solve": ("solve --n 1 {}",),
          "pulls": ("pr_tasks --prs git:berthbook@HEAD~2..HEAD --setup --planner recipe {}",),
          "bugs": ("env_setup --input repos.jsonl --planner recipe {}", "analyze {}",
                   "bug_inject scale {}")}
# shell commands that make the input of a chain in its root; images get names of their own
INPUTS = {"duel": "", "solve": """
for i in 1 2 3; do
    mkdir -p task/task-$i/environment task/task-$i/tests
    cd task/task-$i
    echo 'environment = {docker_image = "codedata-base:bookworm", workdir = "/app"}' > task.toml
    echo FROM codedata-base:bookworm > environment/Dockerfile
    echo "Say $i." > instruction.md
    echo 'echo 1 > /logs/verifier/reward.txt' > tests/test.sh
    cd ../..
done""", "pulls": f"""
export GIT_CONFIG_GLOBAL=/dev/null GIT_COMMITTER_NAME=A GIT_COMMITTER_EMAIL=a@example.org
git init -q -b main berthbook
git -C berthbook remote add origin https://example.org/chaos/berthbook.git
git -C berthbook am -q --committer-date-is-author-date {SAMPLES}/pulls/*.patch
""", "bugs": 'echo \'{"repo": "samples/spanset", "repo_name": "chaos_spanset", '
             f'"reformat_path": "{SAMPLES}/repos/spanset"}}\' > repos.jsonl'}
RECORDS = "prompt commit answer score final refined defeat attempt env task coverage bug"
SETTINGS = """[llm]\nbase_url = "{}"\nmodel = "mock"\nretry_wait_s = 0.1\ncall_timeout_s = 5.0
[leak]\nmodels = []\n[judge]\nmodels = ["a", "b"]\n[export]\nrejected_too = true
[prompt]\nsource = "{samples}/trajectories.json"\nprs = "{samples}/prs.json"\ncount = 8
[solve]\nmax_steps = 4\n[bug]\nmax_candidates = 2\nmax_instances = 1\n"""
BAD = "--error-rate 429:0.05,500:0.05 --drop-rate 0.05 --hang-rate 0.02"
# shell commands that succeed where faults and chains are possible; the first makes the library that
# moves the clock. libfaketime does not serve: under it, Python's time.sleep() fails (EINVAL) if the
# monotonic clock is to stay as it is.
NEEDED = {"clock": "cc -shared -fPIC -o clock.so -x c - <<'END'\n" r"""
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
int clock_gettime(clockid_t id, struct timespec *at) {
    int code = syscall(SYS_clock_gettime, id, at), file = -1;
    char seconds[20] = "";
    if (id == CLOCK_REALTIME && (file = open(getenv("CHAOS_CLOCK"), O_RDONLY)) >= 0) {
        if (read(file, seconds, 19) > 0) at->tv_sec += atol(seconds);
        close(file);
    }
    return code;
}
""" "END",
          "full": "unshare -m mount -t tmpfs none /mnt",
          "solve pulls bugs": "docker image inspect codedata-base:bookworm"}
MOUNT = "mount -t tmpfs -o size=24m none $PWD; cd $PWD;"
# shell commands that print what runs may leave: containers, processes (after some seconds in which
# they may end), files, tracebacks
LEFT = """docker ps -aq --filter label={label}
for i in 1 2 3 4 5 6 7 8 9; do grep -qas TMPDIR={0}.tmp /proc/[0-9]*/environ && sleep 1; done
grep -las TMPDIR={0}.tmp /proc/[0-9]*/environ
find root -path '*/_tmp*' -not -type d -o -path '*/_partial/*'
find {0}.tmp -mindepth 1 -not -name '_lock*'
grep -A 30 Traceback {0}.err; true"""
REMOVE_IMAGES = "docker image ls -q -f reference='codedata-*/chaos*' | xargs -r docker rmi -f"
ENVIRONMENT = "TMPDIR={0}.tmp CHAOS_CLOCK={0}.clock LD_PRELOAD={1}/clock.so"
MAX_S = 900    # the longest run of a script
SENT_S = 1.0   # a reply that was sent so long before a kill may not be on disk


def main() -> int:
    """Run rounds for some minutes; return 1 if a check of any has failed."""
    p = parser_of(__doc__)
    p.add_argument("--minutes", type=float, default=10, metavar="N",
                   help="no round begins later (%(default)g)")
    p.add_argument("--seed", type=int, default=0, metavar="N", help="of the first round (0)")
    args = p.parse_args()
    base, began, rounds = Path(tempfile.mkdtemp(prefix="codedata_chaos.")), time.monotonic(), []
    hidden, possible, usual = base / "hidden", what_is_possible(base), {}
    chains = [chain for chain in CHAINS if chain in possible]
    hidden.mkdir()
    with nodes(hidden, base) as cluster:
        while not rounds or time.monotonic() - began < 60 * args.minutes:
            seed = args.seed + len(rounds)
            chain = chains[seed // 2 % len(chains)]
            if chain not in usual:
                usual[chain] = Round(chain, hidden / chain)
                usual[chain].run()
            rounds.append(Round(chain, hidden / str(seed), usual[chain], seed, possible,
                                cluster if seed % 2 else None).run())
            print(json.dumps(rounds[-1]), file=sys.stderr, flush=True)
    wrong = [one["seed"] for one in rounds if one["wrong"]]
    if wrong:
        print(f"chaos: the roots, which may be mounted, are in {hidden}", file=sys.stderr)
    else:
        shutil.rmtree(base)
    subprocess.run(REMOVE_IMAGES, shell=True, capture_output=True)
    print(json.dumps({"benchmark": "chaos", **machine(), **vars(args), "wrong": wrong,
                      "rounds": rounds}))
    return 1 if wrong else 0


def what_is_possible(base: Path) -> set[str]:
    """Return the names of faults and chains that this machine can run; print what it cannot."""
    possible = {"duel", "kill", "tear", "worker"}
    for names, command in NEEDED.items():
        if subprocess.run(command, shell=True, cwd=base, capture_output=True).returncode:
            print(f"chaos: without {names}: failed: {command[:60]}", file=sys.stderr)
        else:
            possible |= {*names.split()}
    return possible


class Round:
    """Run a chain of scripts in a folder; with the undisturbed round of the chain, disturb it."""

    def __init__(self, chain: str, folder: Path, usual=None, seed: int = 0, possible=(),
                 cluster=None):
        self.chain, self.folder, self.usual, self.seed = chain, folder, usual, seed
        self.draw, self.root, self.cluster = random.Random(seed), folder / "root", cluster
        self.faults = sorted({*possible} - {*CHAINS, *["worker"] * (cluster is None)})
        self.done, self.stopped, self.torn, self.wrong = [], [], [], []
        self.seconds = {}   # {script: duration}

    def run(self) -> dict:
        """Disturb each script of the chain, then run each to its end; return the figures."""
        self.folder.mkdir()
        mount = MOUNT if "full" in self.faults else ""
        self.shell(f"set -e; {mount} mkdir root {self.folder}.tmp; cd root; touch .env; "
                   + INPUTS[self.chain])
        if self.usual:
            self.run_scripts(self.disturb, *BAD.split(), "--seed", self.seed)
        self.run_scripts(self.finish)
        figures = self.figures()
        if mount and not self.wrong:
            self.shell(f"cd /; umount {self.folder}")
        return figures

    def run_scripts(self, step, *options) -> None:
        """Take a step with each script, with a model that behaves as its options say."""
        self.clock(None, 0)
        with mock_llm("--log", f"{self.folder}.calls", "--latency", 0.4, *options) as mock:
            (self.root / "chain.toml").write_text(SETTINGS.format(mock.base_url, samples=SAMPLES))
            for line in CHAINS[self.chain]:
                step(line)

    def shell(self, command: str) -> str:
        """Run a shell command in the folder of the round; return its output."""
        return subprocess.run(command, shell=True, cwd=self.folder, check=True,
                              stdout=subprocess.PIPE, text=True).stdout

    def start(self, line: str) -> subprocess.Popen:
        """Start a script."""
        flags = "--workers 4"
        if self.cluster:
            flags += f" --engine ray --ray-address {self.cluster.address}"
        name, *words = line.format(flags).split()
        env = ENVIRONMENT.format(self.folder, self.folder.parents[1])
        unset = {*SETTINGS_FROM_OUTSIDE} - {"REQUESTS_CA_BUNDLE"}   # installations need it
        command = ["env", *(f"--unset={name}" for name in unset), *env.split(),
                   *map(str, script(f"{name}.py", self.root, *words))]
        with open(f"{self.folder}.err", "a") as err:
            return subprocess.Popen(command, cwd=self.root, stdout=err, stderr=err)

    def finish(self, line: str) -> None:
        """Run a script to its end."""
        began = time.monotonic()
        code = ended(self.start(line))
        self.seconds[line] = time.monotonic() - began
        self.expect(code == 0, f"{line}: exit code {code}")

    def disturb(self, line: str) -> None:
        """Start a script twice with a fault at a random moment, then once without."""
        for fault in [*self.draw.choices(self.faults, k=2), ""]:
            after_s = self.draw.uniform(0.2, 1) * self.usual.seconds[line]
            process = self.start(line)
            if fault and ended(process, after_s) is None:
                self.done.append(fault)
                getattr(self, fault)(process)
            self.expect(ended(process) is not None, f"{line}: runs on after {self.done}")
            process.kill()

    # faults: methods that take the process of a script

    def kill(self, process) -> None:
        """Kill a script, but nothing that it has started."""
        self.stopped.append((time.time(), time.time()))
        process.kill()
        process.wait()

    def tear(self, process) -> None:
        """Kill a script, and cut the last line of the newest ledger at a random place."""
        self.kill(process)
        if ledgers := self.ledgers():
            path = max(ledgers, key=os.path.getmtime)
            text = path.read_bytes()
            at = text.rfind(b"\n", 0, -1) + 1
            path.write_bytes(text[:self.draw.randint(at, len(text))])
            with suppress(ValueError):   # it was torn already
                self.torn += calls_of(json.loads(text[at:]))

    def worker(self, _) -> None:
        """Kill a worker of the cluster, if there is one."""
        if self.cluster.workers():
            kill_on_cluster("worker", self.cluster, self.draw)

    def full(self, process) -> None:
        """Fill the file system of the root until the script ends, for 20 s at most."""
        began = time.time()
        self.shell("cat /dev/zero > filler 2>&1 || true")
        ended(process, 20)
        self.stopped.append((began, time.time()))
        self.shell("rm filler")

    def clock(self, _, seconds: int | None = None) -> None:
        """Move the clock of this round's scripts."""
        if seconds is None:
            seconds = self.draw.randint(-90_000, 90_000)
        self.folder.with_suffix(".clock").write_text(str(seconds))

    # checks

    def ledgers(self) -> list[Path]:
        return [*self.root.glob("*/_ledger*.jsonl")]

    def expect(self, holds: bool, failure: str) -> None:
        if not holds:
            self.wrong.append(failure)

    def figures(self) -> dict:
        """Compare the root with the undisturbed one, and the ledgers with the server's log."""
        calls = [*read_lines(self.folder.with_suffix(".calls"))]
        n_paid = sum(one["status"] == 200 and one["fault"] != "drop" for one in calls)
        billed = [call["id"] for path in self.ledgers() for line in read_lines(path)
                  for call in calls_of(line)]
        counted = {*billed, *(call["id"] for call in self.torn)}
        n_lost = n_paid - len(counted)
        n_in_flight = sum(one["t"] < end and began < one["t"] + one["s"] + SENT_S
                          for one in calls for began, end in self.stopped)
        self.expect(0 <= n_lost <= n_in_flight, f"{n_lost} replies are in no ledger")
        self.expect(len(billed) == len({*billed}), "a reply is billed twice")
        unequal = self.usual and different_files(self.usual.root, self.root, *RECORDS.split())
        self.expect(not unequal, f"not as in an undisturbed root: {unequal}")
        left = self.shell(LEFT.format(self.folder, label=of_root(self.root)))
        self.expect(not left, f"left: {left}")
        return {"seed": self.seed, "chain": self.chain, "faults": self.done, "paid": n_paid,
                "lost": n_lost, "in_flight": n_in_flight, "bad_calls": len(calls) - n_paid,
                "wrong": self.wrong}


def ended(process: subprocess.Popen, timeout_s: float = MAX_S) -> int | None:
    """Wait for a process; return its exit code, or None if it still runs."""
    with suppress(subprocess.TimeoutExpired):
        return process.wait(timeout_s)


if __name__ == "__main__":
    sys.exit(main())
