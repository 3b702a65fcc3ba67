"""Measure king.py's wall time compared with the ideal, and the client's CPU time per call.

It starts mock_llm.py (0.5 s per answer), writes N prompts into a temporary root, and runs king.py
on them for each number of workers. For comparison, a bare loop of `requests`, with a Session per
thread, sends the same prompts to the same server: without retries, ledger, proxy, files or checks
of answers. This is the floor: the minimum cost of a call.

  python benchmarks/throughput.py                       # 32, 128, 256 workers, 5,000 calls each
  python benchmarks/throughput.py --https --workers 256

One JSON line on stdout, a table on stderr. benchmarks/README.md defines the figures.
"""
import argparse
import json
import os
import resource
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path

import requests
from measure import HERE, Others, machine, mock_llm, parser_of, run, script, write_root

WALL_TARGET = {32: 1.10, 128: 1.10, 256: 1.10}   # multiple of the ideal, by workers
CPU_TARGET_MS = 1.2                              # per call, with answer file and ledger line


def main() -> None:
    args = parser().parse_args()
    if args.floor_url:
        print(json.dumps(floor_of(args)))
        return
    os.environ["MOCK_KEY"] = "key-of-the-mock"
    base = Path(tempfile.mkdtemp(prefix="codedata_throughput.", dir=args.tmp))
    try:
        write_root(base / "prompts", args.n, args.history_chars)
        report = {"benchmark": "throughput", "scheme": "https" if args.https else "http",
                  "n": args.n, "latency_s": args.latency, "history_chars": args.history_chars,
                  **machine(), "runs": []}
        for workers in args.workers:
            figures = king(base, workers, args)
            figures["floor"] = floor(base, workers, args)
            figures["cpu_over_floor"] = round(
                figures["cpu_ms_a_call"] / figures["floor"]["cpu_ms_a_call"], 2)
            report["runs"].append(figures)
    finally:
        if args.keep:
            print(f"kept: {base}", file=sys.stderr)
        else:
            shutil.rmtree(base)
    table(report)
    print(json.dumps(report))


def parser() -> argparse.ArgumentParser:
    p = parser_of(__doc__)
    p.add_argument("--n", type=int, default=5000, help="prompts, each one call (%(default)s)")
    p.add_argument("--workers", type=lambda text: [int(w) for w in text.split(",")],
                   default=[32, 128, 256],
                   metavar="N,N", help="calls in flight, one run each (32,128,256)")
    p.add_argument("--latency", type=float, default=0.5, metavar="S",
                   help="of an answer (%(default)s)")
    p.add_argument("--history-chars", type=int, default=4000, metavar="N",
                   help="of a prompt (%(default)s)")
    p.add_argument("--model", default="mock", help="one with a vendor, such as openai/mock, is "
                   "called through LiteLLM (%(default)s)")
    p.add_argument("--https", action="store_true", help="use TLS")
    p.add_argument("--tmp", metavar="DIR",
                   help="where the temporary root goes: its file system is part of the figures")
    p.add_argument("--keep", action="store_true", help="leave the temporary root")
    p.add_argument("--floor-url", help=argparse.SUPPRESS)
    p.add_argument("--ca-bundle", help=argparse.SUPPRESS)
    return p


def fresh_root(base: Path, name: str) -> Path:
    """Write the prompts into a root for this run.

    Nothing is deleted between two runs: on ext4, recently deleted files slow down the creation of
    new ones.
    """
    return Path(shutil.copytree(base / "prompts", base / name))


def king(base: Path, workers: int, args) -> dict:
    """Run king.py on unanswered prompts; return the figures of the time from its first call."""
    root = fresh_root(base, f"king_{workers}")
    # the cost of start-up: interpreter, imports, settings, plan of N items
    idle = run(script("king.py", root, "--status"), root)
    load, others = os.getloadavg()[0], Others()
    with mock_llm("--latency", args.latency, tls=args.https) as mock:
        settings = (f'[llm]\nendpoint = "mock"\nmodel = "{args.model}"\n'
                    f'ca_bundle = "{mock.ca_bundle}"\n[endpoints.mock]\n'
                    f'base_url = "{mock.base_url}"\napi_key_env = "MOCK_KEY"\n'
                    f'api = "{"litellm" if "/" in args.model else "openai"}"\n')
        (root / "chain.toml").write_text(settings)
        cost = run(script("king.py", root, "--workers", workers), root)
    figures = calls_phase(cost.ended_t - mock.stats["first_t"], cost.cpu_s - idle.cpu_s, workers,
                          args, mock.stats)
    n_files = sum(1 for p in (root / "answer").iterdir() if p.name[0] != "_")
    with open(root / "answer" / "_ledger.jsonl", "rb") as book:
        n_lines = sum(1 for _ in book)
    if not n_files == n_lines == mock.stats["paid"] == args.n:
        sys.exit(f"{n_files} answers, {n_lines} ledger lines, {mock.stats['paid']} calls of "
                 f"{args.n}\n{cost.stderr}")
    return {"workers": workers, **figures, "start_up_cpu_s": round(idle.cpu_s, 2),
            "whole_wall_s": round(cost.wall_s, 2), "whole_cpu_s": round(cost.cpu_s, 2),
            "system_share": round(cost.system_s / cost.cpu_s, 2), "peak_mb": round(cost.peak_mb),
            "load_1m_before": round(load, 2),
            "cores_used_by_others": others.cores(cost.cpu_s + mock.stats["cpu_s"])}


def floor(base: Path, workers: int, args) -> dict:
    """Run floor_of() in its own process, on a fresh server; return its figures."""
    with mock_llm("--latency", args.latency, tls=args.https) as mock:
        flags = ["--tmp", base / "prompts", "--workers", workers, "--floor-url", mock.base_url,
                 "--ca-bundle", mock.ca_bundle]
        cost = run([sys.executable, HERE / "throughput.py", *flags], base)
    own = json.loads(cost.stdout)
    if own["n_ok"] != args.n:
        sys.exit(f"floor: {own['n_ok']} of {args.n} answers\n{cost.stderr[-2000:]}")
    return {**calls_phase(own["wall_s"], own["cpu_s"], workers, args, mock.stats),
            "peak_mb": round(cost.peak_mb)}


def floor_of(args) -> dict:
    """Send each prompt of the root `--tmp` once; return wall and CPU seconds of only this loop."""
    files = sorted(Path(args.tmp, "prompt").glob("*.json"))
    prompts = iter([prompt for path in files for prompt in json.loads(path.read_bytes())])
    lock, texts = threading.Lock(), []

    def work():
        session = requests.Session()
        session.trust_env = False
        session.verify = args.ca_bundle or True
        while True:
            with lock:
                prompt = next(prompts, None)
            if prompt is None:
                return
            body = {"model": "mock", "messages": prompt["messages"], "temperature": 1.0,
                    "max_tokens": 1024}
            reply = session.post(args.floor_url + "/chat/completions", json=body,
                                 timeout=(10, 300))
            texts.append(reply.json()["choices"][0]["message"]["content"])

    threads = [threading.Thread(target=work) for _ in range(args.workers[0])]
    started, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"n_ok": sum(map(bool, texts)), "wall_s": time.monotonic() - started, "cpu_s": cpu_s}


def calls_phase(wall_s: float, cpu_s: float, workers: int, args, stats: dict) -> dict:
    ideal_s = args.n * args.latency / workers
    return {"ideal_s": round(ideal_s, 2), "wall_s": round(wall_s, 2),
            "wall_over_ideal": round(wall_s / ideal_s, 3),
            "cpu_ms_a_call": round(1000 * cpu_s / args.n, 3),
            "max_in_flight": stats["max_in_flight"], "connections": stats["opened_connections"],
            "server_cpu_ms_a_call": round(1000 * stats["cpu_s"] / args.n, 3)}


def table(report: dict) -> None:
    def say(text):
        print(text, file=sys.stderr)

    def row(name, f, targets=("", "")):
        say(f"{name:<16}{f['ideal_s']:>8.1f}{f['wall_s']:>8.1f}{f['wall_over_ideal']:>8.3f} "
            f"{targets[0]:<8}{f['cpu_ms_a_call']:>7.2f} {targets[1]:<8}"
            f"{f['peak_mb']:>6}{f['server_cpu_ms_a_call']:>8.2f}")

    say(f"\n{report['scheme']}, {report['n']} calls of {report['latency_s']:g} s, load "
        f"{report['load_1m']} before")
    say(" " * 17 + "ideal s  wall s   ratio target  ms/call target      MB  server")
    for figures in report["runs"]:
        workers = figures["workers"]
        wall = WALL_TARGET.get(workers)
        row(f"king {workers}", figures, (f"<= {wall}" if wall else "", f"<= {CPU_TARGET_MS}"))
        row("  floor", figures["floor"])
        say(f"{'':<16}king / floor, CPU: {figures['cpu_over_floor']}; other processes used "
            f"{figures['cores_used_by_others']} of {report['cores']} cores")


if __name__ == "__main__":
    main()
