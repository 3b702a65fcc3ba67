"""Compare --engine ray with threads, and count lost items when Ray's processes are killed.

It runs king.py over prompts that mock_llm.py answers: on a cluster of this machine that ends with
the run (overhead, wide), then on a cluster of three `ray start` processes (nodes, kills, outage).
In kills, workers, nodes and the driver are killed with SIGKILL. Linux only.

  python benchmarks/engine.py                            # all: a quarter of an hour
  python benchmarks/engine.py --only overhead,wide
  python benchmarks/engine.py --only kills --seeds 3,4

One JSON line on stdout, a table on stderr. benchmarks/README.md defines the figures.
"""
import argparse
import json
import os
import random
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

from measure import PROJECT, Others, machine, mock_llm, parser_of, run, script, write_root

sys.path.insert(0, str(PROJECT / "tests"))
from ray_nodes import nodes

OVERHEAD_TARGET_MS = 20   # maximum per item, compared with threads
WIDE_TARGET = 1.15        # maximum multiple of the ideal time, with 256 calls in flight
PARTS = ("overhead", "wide", "nodes", "kills", "outage")
N, WORKERS, DOWN_S = 100, 12, 20   # in kills and outage
FAULTS = ("--latency", 2, "--jitter", 1, "--error-rate", "429:0.02,500:0.02", "--drop-rate", 0.02)


def main() -> None:
    args = parser().parse_args()
    base = Path(tempfile.mkdtemp(prefix="codedata_engine."))
    report = {"benchmark": "engine", **machine()}
    try:
        if "overhead" in args.only:
            report["overhead"] = [pair(base, f"overhead_{i}", 200, 0.02, 1)
                                  for i in range(args.repeat)]
        if "wide" in args.only:
            report["wide"] = [pair(base, "wide", args.n_wide, 5.0, 256)]
        if {"nodes", "kills", "outage"} & {*args.only}:
            report |= on_nodes(base, args)
    finally:
        shutil.rmtree(base)
    report = json.loads(json.dumps(report), parse_float=lambda text: round(float(text), 3))
    table(report)
    print(json.dumps(report))


def parser() -> argparse.ArgumentParser:
    p = parser_of(__doc__)
    p.add_argument("--only", type=lambda text: text.split(","), default=PARTS, metavar="PART,PART",
                   help=f"of {', '.join(PARTS)} (all)")
    p.add_argument("--seeds", type=lambda text: [int(n) for n in text.split(",")],
                   default=[*range(10)], metavar="N,N", help="of kills (0 to 9)")
    p.add_argument("--repeat", type=int, default=3, help="pairs of overhead (%(default)s)")
    p.add_argument("--n-wide", type=int, default=1024, help="prompts, 256 at a time (1024)")
    return p


def new_root(base: Path, name: str, n: int, base_url: str, chars: int = 2000) -> Path:
    """Return a fresh root with `n` prompts."""
    prompts = base / f"prompts_{n}_{chars}"
    if not prompts.exists():
        write_root(prompts, n, chars)
    root = Path(shutil.copytree(prompts, base / name))
    (root / "chain.toml").write_text(
        f'[llm]\nbase_url = "{base_url}"\nmodel = "mock"\nretry_max = 6\n')
    return root


def answers(root: Path) -> dict[str, bytes]:
    """Return the contents of the answer files, which hold no times or call ids."""
    return {path.name: path.read_bytes() for path in (root / "answer").glob("[!_]*.json")}


def timed(base: Path, name: str, n: int, latency: float, workers: int, *flags) -> dict:
    """Return figures of one run of king.py over `n` prompts, and its answers."""
    with mock_llm("--latency", latency) as mock:
        root = new_root(base, name, n, mock.base_url)
        cost = run(script("king.py", root, "--workers", workers, *flags), root)
    got, last_t = answers(root), (root / "answer/_ledger.jsonl").stat().st_mtime
    if not len(got) == mock.stats["paid"] == n:
        sys.exit(f"{len(got)} answers, {mock.stats['paid']} calls of {n}\n{cost.stderr}")
    wall_s = last_t - mock.stats["first_t"]
    return {"answers": got, "wall_s": wall_s, "start_end_s": cost.wall_s - wall_s,
            "wall_over_ideal": wall_s / (n * latency / workers), "items_a_s": n / wall_s,
            "max_in_flight": mock.stats["max_in_flight"], "driver_mb": cost.peak_mb,
            "driver_cpu_s": cost.cpu_s, "server_cpu_s": mock.stats["cpu_s"]}


def pair(base: Path, name: str, n: int, latency: float, workers: int) -> dict:
    """Return figures of threads and of Ray, one run after the other."""
    load, others = os.getloadavg()[0], Others()
    threads = timed(base, f"{name}_threads", n, latency, workers)
    n_cores = others.cores(threads["driver_cpu_s"] + threads["server_cpu_s"])
    ray = timed(base, f"{name}_ray", n, latency, workers, "--engine", "ray")
    return {"n": n, "latency_s": latency, "workers": workers, "load_1m": load,
            "cores_used_by_others": n_cores,
            "ms_an_item": 1000 * (ray["wall_s"] - threads["wall_s"]) / n,
            "equal": ray.pop("answers") == threads.pop("answers"), "threads": threads, "ray": ray}


# on three nodes ----------------------------------------------------------------------------------

def on_nodes(base: Path, args) -> dict:
    """Return the figures of the parts on a cluster of three nodes."""
    report, hidden = {}, base / "hidden"
    hidden.mkdir()
    with nodes(hidden, base) as cluster:
        flags = ("--engine", "ray", "--ray-address", cluster.address)
        if "nodes" in args.only:
            report["nodes"] = [with_memory(base, flags)]
        if "kills" in args.only:
            report["kills"] = [killed(base, cluster, flags, seed) for seed in args.seeds]
        if "outage" in args.only:
            report["outage"] = outage(base, flags)
    return report


def with_memory(base: Path, flags: tuple) -> dict:
    """Return figures of a run, and the memory of nodes, workers, driver and server together."""
    ended, samples = threading.Event(), []

    def sample() -> None:
        while not ended.wait(2):
            samples.append(sum(map(pss_mb, tree(os.getpid()))))

    thread = threading.Thread(target=sample)
    thread.start()
    figures = timed(base, "nodes", 1000, 0.5, 64, *flags)
    ended.set()
    thread.join()
    del figures["answers"]
    return {**figures, "all_mb": max(samples)}


def tree(pid: int) -> list[int]:
    """Return the ids of a process and its descendants."""
    below = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True).stdout
    return [pid, *(one for child in below.split() for one in tree(int(child)))]


def pss_mb(pid: int) -> float:
    """Return a process's memory, with its share of shared pages."""
    with suppress(OSError):   # it has ended
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        return int(text.partition("\nPss:")[2].split()[0]) / 1024
    return 0


def start(root: Path, flags: tuple) -> subprocess.Popen:
    command = map(str, script("king.py", root, "--workers", WORKERS, *flags))
    with open(root / "_stderr", "a") as err:
        return subprocess.Popen([*command], cwd=root, stdout=err, stderr=err)


def killed(base: Path, cluster, flags: tuple, seed: int) -> dict:
    """Run king.py; kill two workers, a node and (odd seeds) the driver, each after a random number
    of paid prompts; restart a killed driver. Return the outcomes of the items."""
    draw, log, died_t = random.Random(seed), base / f"calls_{seed}.jsonl", 0.0
    kinds = ["worker", "worker", "node", *["driver"] * (seed % 2)]
    draw.shuffle(kinds)
    with mock_llm(*FAULTS, "--seed", seed, "--log", log) as mock:
        root = new_root(base, f"kills_{seed}", N, mock.base_url)
        driver = start(root, flags)
        for n_paid, kind in zip(sorted(draw.uniform(5, 80) for _ in kinds), kinds, strict=True):
            wait_until_paid(mock, n_paid)
            time.sleep(draw.uniform(0, 1))
            if kind != "driver":
                kill(kind, cluster, draw)
                continue
            died_t = time.time()
            driver.kill()
            driver.wait()
            driver = start(root, flags)
        exit_code = driver.wait(600)
    cluster.start("--address", cluster.address)   # for the node that was killed
    calls = [json.loads(line) for line in log.read_text().splitlines()]
    # a reply sent just before the kill may not be on disk
    n_in_flight = sum(one["t"] < died_t < one["t"] + one["s"] + 0.2 for one in calls)
    return {"seed": seed, "kills": kinds, **outcome(base, root, exit_code, calls),
            "in_flight_when_the_driver_died": min(n_in_flight, WORKERS)}


def kill(kind: str, cluster, draw: random.Random) -> None:
    """Kill a worker process, or a node with all its processes; never the head node, on which the
    driver runs."""
    found = []
    while not found:
        found = [(worker, node) for worker, node in cluster.workers() if kind == "worker"
                 or b"--head" not in Path(f"/proc/{node}/cmdline").read_bytes()]
    worker, node = draw.choice(found)
    if kind == "node":
        cluster.kill_node(node)
    else:
        os.kill(worker, signal.SIGKILL)


def outcome(base: Path, root: Path, exit_code: int, calls: list[dict], chars: int = 2000) -> dict:
    """Return the outcomes of a root's items, compared with an undisturbed run in threads.
    `paid_twice` is mock_llm.py's `duplicates_paid`, over all servers that share a log."""
    expected, got = base / f"expected_{chars}", answers(root)
    if not expected.exists():
        with mock_llm("--latency", 0) as mock:
            new_root(base, expected.name, N, mock.base_url, chars)
            run(script("king.py", expected), expected)
    made, n_twice = set(), 0
    for call in calls:
        if call["status"] == 200:
            n_twice += call["prompt"] in made
            made |= {call["prompt"]} if not call["fault"] else set()
    return {"exit_code": exit_code, "lost": N - len(got), "equal": got == answers(expected),
            "paid_twice": n_twice}


def outage(base: Path, flags: tuple) -> list[dict]:
    """Run king.py on two roots at once, and take their endpoint down for DOWN_S seconds."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log, sizes = base / "calls_outage.jsonl", (1000, 1500)   # so that their prompts differ
    options = (*FAULTS, "--log", log, "--port", port)
    with mock_llm(*options) as mock:
        roots = [new_root(base, f"outage_{chars}", N, mock.base_url, chars) for chars in sizes]
        drivers = [start(root, flags) for root in roots]
        wait_until_paid(mock, 0.4 * N)
    time.sleep(DOWN_S)
    with mock_llm(*options):
        codes = [driver.wait(600) for driver in drivers]
    calls = [json.loads(line) for line in log.read_text().splitlines()]
    return [outcome(base, *one, calls, chars)
            for *one, chars in zip(roots, codes, sizes, strict=True)]


def wait_until_paid(mock, n: float) -> None:
    url, paid = f"{mock.base_url.removesuffix('/v1')}/stats", 0
    while paid < n:
        time.sleep(0.1)
        with urllib.request.urlopen(url) as page:
            paid = json.load(page)["paid"]


def table(report: dict) -> None:
    """Print the figures and the targets."""
    for part in PARTS:
        for one in report.get(part, ()):
            rows = {"": one, **{key: one[key] for key in ("threads", "ray") if key in one}}
            for name, row in rows.items():
                cells = [f"{key} {value}" for key, value in row.items() if key not in rows]
                print(f"{name or part:<9}{', '.join(cells)}", file=sys.stderr)
    if "overhead" in report:
        median = statistics.median(one["ms_an_item"] for one in report["overhead"])
        print(f"overhead an item: {median:.1f} ms (<= {OVERHEAD_TARGET_MS})", file=sys.stderr)
    for one in report.get("wide", ()):
        print(f"256 in flight: {one['ray']['wall_over_ideal']} x ideal (<= {WIDE_TARGET})",
              file=sys.stderr)


if __name__ == "__main__":
    main()
