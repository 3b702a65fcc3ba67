"""Measure a command in a Docker sandbox beside `docker exec`, and eight sandboxes at once.

`true` is run N times each way, in turns and in the same container: by `docker exec` itself, and by
SandboxDocker.run(), which also keeps directory and environment, caps the output and watches the
time. Then eight sandboxes are opened, work and are closed at the same time.

  python benchmarks/sandbox.py             # needs a Docker engine (tools/docker-up); half a minute
  python benchmarks/sandbox.py --n 200

One JSON line on stdout, a table on stderr. Exit 1 where a target is missed.
"""
import argparse
import json
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from codedata.sandbox import docker_engine, process_labels
from codedata.sandbox.docker import SandboxDocker

RUN = "benchmark-sandbox"
RATIO = 1.5       # the most that run() may take of what `docker exec` takes
MAX_PARALLEL = 8  # sandboxes
COMMANDS = 20     # in each of them
WORK = "python3 -c 'print(sum(range(10**6)))' > sum; cat sum"


def seconds(call) -> float:
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def exec_overhead(n: int) -> dict:
    ours = []
    theirs = []
    with SandboxDocker(run_label=RUN) as sandbox:
        plain = ["docker", "exec", sandbox.id, "true"]
        for _ in range(n):
            theirs.append(seconds(lambda: subprocess.run(plain, check=True)))
            ours.append(seconds(lambda: sandbox.run("true")))
    docker_exec_ms = 1000 * statistics.median(theirs)
    run_ms = 1000 * statistics.median(ours)
    return {"docker_exec_ms": docker_exec_ms, "run_ms": run_ms, "ratio": run_ms / docker_exec_ms,
            "n": n}


def at_once() -> dict:
    """Return for sandboxes at once: seconds to open and close all, and their commands a second."""
    boxes = []

    def work(box: SandboxDocker) -> bool:
        return all(box.run(WORK).output == "499999500000\n" for _ in range(COMMANDS))

    with ThreadPoolExecutor(MAX_PARALLEL) as pool:
        try:
            opened = (pool.submit(SandboxDocker, run_label=RUN) for _ in range(MAX_PARALLEL))
            open_s = seconds(lambda: boxes.extend(one.result() for one in list(opened)))
            good = []
            work_s = seconds(lambda: good.extend(pool.map(work, boxes)))
        finally:
            close_s = seconds(lambda: list(pool.map(SandboxDocker.close, boxes)))
    return {"sandboxes": MAX_PARALLEL, "open_s": open_s, "close_s": close_s,
            "commands_per_s": MAX_PARALLEL * COMMANDS / work_s,
            "all_right": all(good)}


def left() -> int:
    """Return the number of containers and networks that carry the benchmark's label."""
    api = docker_engine.connect()
    ours = {"label": f"{process_labels.RUN}={RUN}"}
    return len(api.containers(all=True, filters=ours)) + len(api.networks(filters=ours))


def main() -> int:
    p = argparse.ArgumentParser(description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--n", type=int, default=50, help="commands each way (%(default)s)")
    args = p.parse_args()
    report = {"benchmark": "sandbox", **exec_overhead(args.n), **at_once(), "left": left()}
    report = {key: round(value, 3) if isinstance(value, float) else value
              for key, value in report.items()}
    good = report["ratio"] <= RATIO and report["all_right"] and not report["left"]
    table(report)
    print(json.dumps(report))
    return 0 if good else 1


def table(report: dict) -> None:
    print(f"\n  docker exec true {report['docker_exec_ms']:8.1f} ms   (median of {report['n']})\n"
          f"  run('true')      {report['run_ms']:8.1f} ms   {report['ratio']:.2f} x (target: at "
          f"most {RATIO})\n"
          f"  {MAX_PARALLEL} at once: open {report['open_s']:.1f} s, "
          f"{report['commands_per_s']:.1f} commands a second, "
          f"close {report['close_s']:.1f} s, left behind {report['left']}\n", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
