"""Measure scripts that have nothing to do: --status and a plain re-run, on up to 100,000 answers.

It builds each root as a user would: prompts and PR records as prompt.py writes them, then answers
by king.py and ch.py from mock_llm.py without latency. Then it measures king.py and ch.py on the
root, each with --status and without a flag.

  python benchmarks/resume.py                        # builds the roots first: some minutes
  python benchmarks/resume.py --n 10000,20000        # smaller
  python benchmarks/resume.py --root DIR             # builds them there, or uses existing ones

One JSON line on stdout, a table on stderr. benchmarks/README.md defines the figures.
"""
import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

from measure import machine, mock_llm, parser_of, run, script, write_root

WALL_TARGET_S, PEAK_TARGET_MB = 5.0, 500   # at 100,000 answers
# written last: a root without it was cut short and is built again
BUILT = "_built.json"


def main() -> None:
    args = parser().parse_args()
    base = args.root or Path(tempfile.mkdtemp(prefix="codedata_resume.", dir=args.tmp))
    try:
        report = {"benchmark": "resume", "history_chars": args.history_chars, **machine(),
                  "repeat": args.repeat,
                  "empty": measure(empty_root(base), 0, args.repeat), "sizes": []}
        for n in sorted(args.n):
            built = build(base / f"root_{n}", n, args.history_chars)
            report["sizes"].append({"n": n, "built": built, "load_1m": round(os.getloadavg()[0], 2),
                                    "costs": measure(base / f"root_{n}", n, args.repeat)})
        report["growth"] = growth(report)
    finally:
        if not args.root:
            shutil.rmtree(base)
    table(report)
    print(json.dumps(report))


def parser() -> argparse.ArgumentParser:
    p = parser_of(__doc__)
    p.add_argument("--n", type=lambda text: [int(n) for n in text.split(",")],
                   default=[10_000, 100_000], metavar="N,N",
                   help="answers in a root (10000,100000)")
    p.add_argument("--history-chars", type=int, default=2000, metavar="N",
                   help="of a prompt (%(default)s)")
    p.add_argument("--repeat", type=int, default=3, metavar="N",
                   help="runs of each command (%(default)s)")
    p.add_argument("--root", type=Path, metavar="DIR",
                   help="where the roots are built and stay (default: temporary)")
    p.add_argument("--tmp", metavar="DIR", help="where the temporary root goes")
    return p


def empty_root(base: Path) -> Path:
    """Return a root without items, to measure only start-up."""
    root = base / "root_0"
    root.mkdir(parents=True, exist_ok=True)
    (root / "chain.toml").touch()
    return root


def build(root: Path, n: int, chars: int) -> dict:
    """Make prompts, PR records and both answers; return the seconds that king.py and ch.py took."""
    if (root / BUILT).exists():
        return json.loads((root / BUILT).read_text())
    shutil.rmtree(root, ignore_errors=True)
    started = time.monotonic()
    write_root(root, n, chars, commits=True)
    built = {"history_chars": chars, "write_root_s": round(time.monotonic() - started, 1)}
    for name in ("king", "ch"):
        with mock_llm("--latency", 0) as mock:
            (root / "chain.toml").write_text(
                f'[llm]\nbase_url = "{mock.base_url}"\nmodel = "mock"\n'
                "[leak]\nmodels = []\n")
            cost = run(script(f"{name}.py", root, "--workers", 64), root)
        if mock.stats["paid"] != n:
            sys.exit(f"{name}.py paid {mock.stats['paid']} calls for {n} answers\n{cost.stderr}")
        built[name] = {"wall_s": round(cost.wall_s, 1),
                       "cpu_ms_a_call": round(1000 * cost.cpu_s / n, 2),
                       "peak_mb": round(cost.peak_mb)}
    (root / BUILT).write_text(json.dumps(built))
    return built


def measure(root: Path, n: int, repeat: int) -> dict:
    """Return {command: its cost}: the medians of wall and CPU time, and the largest peak memory."""
    figures = {}
    for name in ("king", "ch"):
        for flags in (["--status"], []):
            costs = [run(script(f"{name}.py", root, *flags), root) for _ in range(repeat)]
            if n and f"done {n} " not in costs[-1].stderr.replace(",", " "):
                sys.exit(f"{name}.py should find {n} done:\n{costs[-1].stderr}")
            figures[" ".join([f"{name}.py", *flags])] = {
                "wall_s": round(statistics.median(c.wall_s for c in costs), 2),
                "cpu_s": round(statistics.median(c.cpu_s for c in costs), 2),
                "peak_mb": round(max(c.peak_mb for c in costs))}
    return figures


def growth(report: dict) -> dict:
    """Return how costs without start-up grow from the smallest root to the largest; 1.0 is linear.
    """
    small, large = report["sizes"][0], report["sizes"][-1]
    factor = large["n"] / small["n"]
    out = {}
    for command, figures in large["costs"].items():
        empty, least = report["empty"][command], small["costs"][command]
        out[command] = {key: round((figures[key] - empty[key])
                                   / max(0.01, least[key] - empty[key]) / factor, 2)
                        for key in figures}
    return out


def table(report: dict) -> None:
    def row(name, figures):
        print(f"  {name:<18}" + "".join(f"{figures[k]:>9.2f}"
                                        for k in ("wall_s", "cpu_s", "peak_mb")), file=sys.stderr)

    for size in [{"n": 0, "costs": report["empty"]}, *report["sizes"]]:
        print(f"\n{size['n']:>7,} answers          wall s    CPU s  peak MB", file=sys.stderr)
        for name, figures in size["costs"].items():
            row(name, figures)
    print(f"\ntargets at 100,000: < {WALL_TARGET_S:g} s, < {PEAK_TARGET_MB} MB; growth over "
          "start-up, 1.00 is linear:", file=sys.stderr)
    for name, figures in report["growth"].items():
        row(name, figures)


if __name__ == "__main__":
    main()
