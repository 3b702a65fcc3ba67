"""Measure how often the interval of `solve.py compare` covers the true difference, on simulated
comparisons of two agents.

The log-odds of a task's two rates are drawn from a normal distribution and correlated; attempts
are drawn by these rates. The true difference is the mean over all tasks of that distribution.

  python benchmarks/compare.py                          # 1,000 comparisons: a minute
  python benchmarks/compare.py --tasks 20 --level -3    # few, hard tasks
  python benchmarks/compare.py --n 30 --until 2 2       # attempts that [solve] until ends

One JSON line on stdout. Exit 1 if pass@1 or pass@n of 1,000 comparisons is covered in less than
93 % or more than 97 %.
"""
import argparse
import json
import math
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from codedata.checks.intervals import Z
from codedata.tasks.compared import row_of
from codedata.tasks.rates import counted, has_enough

COVERAGE = 0.93, 0.97


def rates(draw: np.random.Generator, tasks: int, args) -> np.ndarray:
    """Return the rates of A and B at each task."""
    shared, *own = draw.normal(size=(3, tasks))
    parts = math.sqrt(args.correlation), math.sqrt(1 - args.correlation)
    level = [args.level + args.spread * (parts[0] * shared + parts[1] * one) for one in own]
    return 1 / (1 + np.exp(-np.array([level[0], level[1] + args.gain])))


def attempts(draw: np.random.Generator, rate: float, n: int, until: list[int]) -> list[dict]:
    """Return the outcomes of an agent at a task, up to `n` or to `until`."""
    found = []
    while len(found) < n and not has_enough(found, until):
        found.append({"status": "solved" if draw.random() < rate else "wrong", "until": until})
    return found


def main() -> int:
    p = argparse.ArgumentParser(description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--comparisons", type=int, default=1000)
    p.add_argument("--tasks", type=int, default=100)
    p.add_argument("--n", type=int, nargs="+", default=[4], help="attempts of A, and of B")
    p.add_argument("--until", type=int, nargs=2, default=[])
    for name, value in {"level": 0.0, "spread": 2.0, "correlation": 0.8, "gain": 0.5}.items():
        p.add_argument(f"--{name}", type=float, default=value, help="of the log-odds (%(default)s)")
    args = p.parse_args()
    big, n = rates(np.random.default_rng(9), 1_000_000, args), (args.n[0], args.n[-1])
    report = {"benchmark": "compare", **vars(args)}
    ks = sorted({1, min(n)} if not args.until else {1})
    truths = {k: np.subtract(*(1 - (1 - big[::-1]) ** k)) for k in ks}
    covered, widths = dict.fromkeys(ks, 0), {k: [] for k in ks}
    for seed in range(args.comparisons):
        draw = np.random.default_rng([1, seed])
        tasks = [{"counted": [counted(attempts(draw, rate, most, args.until))
                              for rate, most in zip(pair, n, strict=True)],
                  "steps": [None, None], "cost_usd": [None, None]}
                 for pair in rates(draw, args.tasks, args).T]
        for k in ks:
            low, high = row_of("all", tasks, k)["interval"]
            covered[k] += low <= truths[k].mean() <= high
            widths[k].append(high - low)
    for k in ks:
        # the narrowest interval that anybody could have: the tasks' rates are known exactly
        floor = 2 * Z * truths[k].std() / math.sqrt(args.tasks)
        report[f"pass@{k}"] = {"truth": round(truths[k].mean(), 4),
                               "covered": covered[k] / args.comparisons,
                               "width": round(np.mean(widths[k]), 4),
                               "width_if_rates_were_known": round(floor, 4)}
    print(json.dumps(report))
    good = all(COVERAGE[0] <= report[f"pass@{k}"]["covered"] <= COVERAGE[1] for k in ks)
    return 0 if good or args.comparisons < 1000 else 1


if __name__ == "__main__":
    sys.exit(main())
