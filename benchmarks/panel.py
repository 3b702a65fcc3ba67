"""Measure whether the panel's statistics are right, on a thousand simulated duels whose judges have
known faults.

Each duel has N turns of some instances. Three judges compare the answers in both orders: a fair
one, one that prefers the first answer, and one that prefers the challenger, a model of its family.
The statistics of codedata/duel/judge_stats.py and scoring.py are compared with the truth, computed
from a very large duel: how often their 95 % intervals cover it, and how wide they are compared with
analytic intervals.

  python benchmarks/panel.py                   # 1,000 duels of 120 turns: half a minute
  python benchmarks/panel.py --duels 100

One JSON line on stdout, a table on stderr. Exit 1 if a target is missed.
"""
import argparse
import json
import math
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from codedata.checks.intervals import Z
from codedata.checks.resampling import cluster_means
from codedata.duel import judge_stats as statistics_of
from codedata.duel.scoring import BOTH, delta, turn_score
from codedata.records import METRICS

JUDGES = {"fair": {}, "first": {"place": 0.55}, "kin": {"own": 0.6}}
COVERAGE, WIDTH = (0.93, 0.97), 1.5
ORDERS = ("king_first", "challenger_first")


def verdicts(draw: np.random.Generator, n: int, per_instance: int, place: float | None = None):
    """Return (scores by judge, order, turn and metric; the turns' instances).

    A judge picks the challenger if the difference that it sees is above 1/3, the king if it is
    below -1/3. The turns of an instance share a part of their quality, and the five metrics of a
    turn share another part.
    """
    instances = np.arange(n) // per_instance
    shared = draw.normal(0.25, 0.5, instances[-1] + 1)[instances]
    of_turn, of_metric = draw.normal(0, 0.5, n), draw.normal(0, 0.5, (n, len(METRICS)))
    quality = shared[:, None] + of_turn[:, None] + of_metric
    scores = np.empty((len(JUDGES), 2, n, len(METRICS)))
    for j, faults in enumerate(JUDGES.values()):
        taste = draw.normal(0, 0.4, (n, len(METRICS)))   # of the judge, equal in both orders
        for o in range(2):
            at_first = 1 if ORDERS[o] == "challenger_first" else -1
            seen = (quality + taste + draw.normal(0, 0.3, (n, len(METRICS)))
                    + faults.get("own", 0.0)
                    + at_first * (faults.get("place", 0.0) if place is None else place))
            scores[j, o] = np.where(seen > 1 / 3, 1.0, np.where(seen < -1 / 3, 0.0, 0.5))
    return scores, instances


def as_turns(scores: np.ndarray, instances: np.ndarray) -> list:
    """Return the duel as validate.py stores it."""
    turns = []
    for t, instance in enumerate(instances):
        entries = [{"judge": name, "order": order, "parse_ok": True, "error": "",
                    "scores": dict(zip(METRICS, scores[j, o, t].tolist(), strict=True))}
                   for j, name in enumerate(JUDGES) for o, order in enumerate(ORDERS)]
        turns.append(statistics_of.JudgedTurn(f"i{instance}", entries))
    return turns


def combined(scores: np.ndarray) -> np.ndarray:
    """Return the scores by judge, turn and metric, with both orders combined."""
    return np.where(scores[:, 0] == scores[:, 1], scores[:, 0], 0.5)


def truths(per_instance: int) -> dict[str, tuple[float, float]]:
    """Return {statistic: (true value, analytic standard error for one cluster)} of a large duel."""
    big = 400_000 // per_instance * per_instance
    scores, _ = verdicts(np.random.default_rng(99), big, per_instance)
    both, found = combined(scores), {}

    def share(name: str, hits: np.ndarray, of: np.ndarray) -> None:
        hits, of = (x.reshape(-1, per_instance).sum(axis=1) for x in (hits, of))   # by instance
        value = hits.sum() / of.sum()
        found[name] = value, (hits - value * of).std() / of.mean()

    for j, name in enumerate(JUDGES):
        wins = (scores[j, 0] == 0).sum(axis=1) + (scores[j, 1] == 1).sum(axis=1)
        share(f"{name} prefers_first", wins, (scores[j] != 0.5).sum(axis=(0, 2)))
        share(f"{name} changes_with_order", (scores[j, 0] != scores[j, 1]).sum(axis=1),
              np.full(big, len(METRICS)))
    apart = 100 * (both[-1].mean(axis=1) - both[:-1].mean(axis=(0, 2)))
    found["kin difference"] = apart.mean(), apart.std() * math.sqrt(1 / per_instance)
    lead = 200 * (both.mean(axis=(0, 2)) - 0.5)
    found["margin"] = lead.mean(), lead.reshape(-1, per_instance).mean(axis=1).std()
    return found


def stated(turns: list, seed: int) -> dict[str, tuple[float, float]]:
    """Return {statistic: (low, high)} as the duel states them."""
    judges = statistics_of.statistics(turns, list(JUDGES), {"kin": ["challenger"]}, BOTH)["judges"]
    found = {f"{name} {key}": (judges[name][key]["low"], judges[name][key]["high"])
             for name in JUDGES for key in ("prefers_first", "changes_with_order")}
    apart = judges["kin"]["beside_the_others"]["difference"]
    found["kin difference"] = apart["low"], apart["high"]
    means = cluster_means([delta(turn_score(turn.judges, list(JUDGES))) for turn in turns],
                          [turn.instance_id for turn in turns], 2000, seed)
    found["margin"] = tuple(200 * np.quantile(means, (0.025, 0.975)))
    return found


def orders(n: int) -> dict:
    """Return the challenger's share by judges without a position bias, and the errors of biased
    judges if [judge] order is "both" or "king_first".
    """
    draw = np.random.default_rng(7)
    fair, _ = verdicts(draw, n, 1, place=0.0)
    biased, _ = verdicts(draw, n, 1, place=0.4)
    true = combined(fair).mean()
    return {"true_share": round(true, 4), "both_off_by": round(combined(biased).mean() - true, 4),
            "king_first_off_by": round(biased[:, 0].mean() - fair[:, 0].mean(), 4)}


def main() -> int:
    p = argparse.ArgumentParser(description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--duels", type=int, default=1000)
    p.add_argument("--turns", type=int, default=120, help="of a duel (%(default)s)")
    p.add_argument("--per-instance", type=int, default=1, help="turns of an instance (%(default)s)")
    args = p.parse_args()
    true, clusters = truths(args.per_instance), args.turns / args.per_instance
    covered = dict.fromkeys(true, 0)
    widths: dict[str, list[float]] = {name: [] for name in true}
    for seed in range(args.duels):
        turns = as_turns(*verdicts(np.random.default_rng([1, seed]), args.turns, args.per_instance))
        for name, (low, high) in stated(turns, seed).items():
            covered[name] += low <= true[name][0] <= high
            widths[name].append(high - low)
    rows = {}
    for name, (truth, error) in true.items():
        analytic = 2 * Z * error / math.sqrt(clusters)
        rows[name] = {"truth": round(truth, 4), "covered": round(covered[name] / args.duels, 4),
                      "width_over_analytic": round(float(np.mean(widths[name])) / analytic, 3)}
    mean = sum(row["covered"] for row in rows.values()) / len(rows)
    report = {"benchmark": "panel", "duels": args.duels, "turns": args.turns,
              "per_instance": args.per_instance,
              "covered": round(mean, 4), "statistics": rows, **orders(200_000)}
    are_honest = all(COVERAGE[0] <= row["covered"] <= COVERAGE[1]
                     and row["width_over_analytic"] <= WIDTH for row in rows.values())
    good = (are_honest and abs(report["both_off_by"]) <= 0.03
            and abs(report["king_first_off_by"]) >= 0.05)
    table(report, good)
    print(json.dumps(report))
    return 0 if good or args.duels < 1000 else 1


def table(report: dict, good: bool) -> None:
    print(f"\n{report['duels']} duels of {report['turns']} turns   truth   covered  "
          "width / analytic", file=sys.stderr)
    for name, row in report["statistics"].items():
        print(f"  {name:<26}{row['truth']:>10.4f}{100 * row['covered']:>9.1f}%"
              f"{row['width_over_analytic']:>10.2f}", file=sys.stderr)
    print(f"  all {100 * report['covered']:.1f} % (target 93-97 %, of 1,000 duels): "
          f"{'met' if good else 'not met'}\n"
          f"  challenger's share {report['true_share']}: both is off by "
          f"{report['both_off_by']:+.4f}, king_first by {report['king_first_off_by']:+.4f}",
          file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
