"""Measure how often the interval of `solve.py compare` covers the true difference, on simulated
comparisons of two agents.

The log-odds of a task's two rates are drawn from a normal distribution and correlated; attempts
are drawn by these rates. The true difference is the mean over all tasks of that distribution.

  python benchmarks/compare.py                          # 1,000 comparisons: a minute
  python benchmarks/compare.py --tasks 20 --level -3    # few, hard tasks
  python benchmarks/compare.py --n 8 --until 2 2        # attempts that [solve] until ends

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
from codedata.tasks.compared import row_of
from codedata.tasks.rates import counted, has_enough


def rates(draw: np.random.Generator, tasks: int, level: float) -> np.ndarray:
    """Return the rates of A and B at each task. B is better by half a unit of the log-odds, whose
    correlation is 0.8 and whose deviation is 2."""
    shared, *own = draw.normal(size=(3, tasks))
    odds = [level + gain + 2 * (math.sqrt(0.8) * shared + math.sqrt(0.2) * one)
            for gain, one in zip((0, 0.5), own, strict=True)]
    return 1 / (1 + np.exp(-np.array(odds)))


def attempts(draw: np.random.Generator, rate: float, n: int, until: list[int]) -> list[dict]:
    """Return the outcomes of an agent at a task, up to `n` or to `until`."""
    found = []
    while len(found) < n and not has_enough(found, until):
        found.append({"status": "solved" if draw.random() < rate else "wrong", "until": until})
    return found


def main() -> int:
    """Simulate comparisons, and print the coverage as a line of JSON."""
    p = argparse.ArgumentParser(description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in {"comparisons": 1000, "tasks": 100, "n": 4, "level": 0}.items():
        p.add_argument(f"--{name}", type=int, default=value)
    p.add_argument("--until", type=int, nargs=2, default=[])
    args = p.parse_args()
    many, ks = rates(np.random.default_rng(9), 1_000_000, args.level), (1, args.n)
    truth = {k: np.subtract(*(1 - (1 - many[::-1]) ** k)).mean()
             for k in (ks[:1] if args.until else ks)}
    covered = dict.fromkeys(truth, 0.0)
    for seed in range(args.comparisons):
        draw = np.random.default_rng([1, seed])
        tasks = [{"counted": [counted(attempts(draw, rate, args.n, args.until)) for rate in pair],
                  "steps": [0, 0], "cost_usd": [0, 0], "solved": [0, 0]}
                 for pair in rates(draw, args.tasks, args.level).T]
        for k in truth:
            low, high = row_of("all", tasks, k)["interval"]
            covered[k] += (low <= truth[k] <= high) / args.comparisons
    print(json.dumps({"benchmark": "compare", **vars(args), "truth": truth, "covered": covered}))
    return int(args.comparisons >= 1000 and not all(
        0.93 <= share <= 0.97 for share in covered.values()))


if __name__ == "__main__":
    sys.exit(main())
