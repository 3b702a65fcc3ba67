"""Measure what judging costs: validate.py by the call, a re-run with nothing to do, and report.py,
on 10,000 judged turns.

Writes N turns with both answers, has validate.py judge them (three judges, both orders, answered by
mock_llm.py without latency), then runs it again, then report.py twice.

  python benchmarks/judging.py                     # 10,000 turns, 60,000 calls: some minutes
  python benchmarks/judging.py --n 1000

One JSON line on stdout, a table on stderr. What is counted stands in benchmarks/README.md.
"""
import argparse
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

from measure import Others, machine, mock_llm, run, script, write_root

CPU_TARGET_MS, REPORT_TARGET_S = 1.5, 30.0   # a call of validate.py; report.py, wall
JUDGES = ["judge-a", "judge-b", "judge-c"]


def main() -> None:
    args = parser().parse_args()
    root = Path(tempfile.mkdtemp(prefix="codedata_judging.", dir=args.tmp)) / "root"
    try:
        write_root(root, args.n, args.history_chars, commits=True, answers=True)
        report = {"benchmark": "judging", "n": args.n, "judges": len(JUDGES), "order": "both",
                  "history_chars": args.history_chars, **machine(), **measure(root, args)}
    finally:
        shutil.rmtree(root.parent)
    table(report)
    print(json.dumps(report))


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--n", type=int, default=10_000, help="turns (%(default)s)")
    p.add_argument("--workers", type=int, default=64, help="turns under way (%(default)s)")
    p.add_argument("--history-chars", type=int, default=4000, metavar="N",
                   help="of a turn (%(default)s)")
    p.add_argument("--tmp", metavar="DIR",
                   help="where the temporary root goes: its file system is part of the figures")
    return p


def measure(root: Path, args) -> dict:
    n_calls = args.n * len(JUDGES) * 2
    # start-up and the plan of N missing items
    idle = run(script("validate.py", root, "--status"), root)
    load, others = os.getloadavg()[0], Others()
    with mock_llm("--latency", 0) as mock:
        (root / "chain.toml").write_text(
            f'[llm]\nbase_url = "{mock.base_url}"\n[judge]\nmodels = {JUDGES}\n'
            "[leak]\nmodels = []\n")
        judged = run(script("validate.py", root, "--workers", args.workers), root)
    others_used = others.cores(judged.cpu_s)
    again = run(script("validate.py", root), root)
    duel = json.loads((root / "score" / "_duel.json").read_text())
    if mock.stats["paid"] != n_calls or duel["turns_parsed"] != args.n:
        sys.exit(f"{mock.stats['paid']} calls of {n_calls}, {duel['turns_parsed']} turns of "
                 f"{args.n}\n{judged.stderr}")
    validate = {"wall_s": judged.wall_s, "cpu_s": judged.cpu_s, "start_up_cpu_s": idle.cpu_s,
                "cpu_ms_a_call": 1000 * (judged.cpu_s - idle.cpu_s) / n_calls,
                "peak_mb": judged.peak_mb, "system_share": judged.system_s / judged.cpu_s,
                "server_cpu_ms_a_call": 1000 * mock.stats["cpu_s"] / n_calls}
    figures = {"validate": validate, "validate again": _cost(again),
               "report": _cost(run(script("report.py", root), root)),
               "report again": _cost(run(script("report.py", root), root))}
    rounded = {name: {key: round(value, 2) for key, value in row.items()}
               for name, row in figures.items()}
    return {"n_calls": n_calls, "load_1m_before": round(load, 2),
            "cores_used_by_others": others_used, **rounded}


def _cost(cost) -> dict:
    return {"wall_s": cost.wall_s, "cpu_s": cost.cpu_s, "peak_mb": cost.peak_mb}


def table(report: dict) -> None:
    print(f"\n{report['n']:,} turns, {report['n_calls']:,} calls   wall s    CPU s  peak MB",
          file=sys.stderr)
    for name in ("validate", "validate again", "report", "report again"):
        row = report[name]
        print(f"  {name:<30}" + "".join(f"{row[key]:>9.2f}"
                                        for key in ("wall_s", "cpu_s", "peak_mb")), file=sys.stderr)
    print(f"a call: {report['validate']['cpu_ms_a_call']} ms of CPU (target {CPU_TARGET_MS}); "
          f"report under {REPORT_TARGET_S:g} s", file=sys.stderr)


if __name__ == "__main__":
    main()
