"""Count how often solver models have passed a datapoint, from dp/_attempts/."""
from collections import defaultdict
from pathlib import Path
from statistics import fmean

from codedata.checks.intervals import wilson
from codedata.datapoints.approval import PROFILES
from codedata.disk.store import all_readable
from codedata.records import Object, SolverAttempt

Attempts = dict[str, list[SolverAttempt]]   # by model


def attempts_in(root: Path) -> dict[tuple[str, str], Attempts]:
    """Return the attempts of a root by (id, content) of the datapoint, then by model."""
    found: dict = defaultdict(lambda: defaultdict(list))
    for row in all_readable(root, SolverAttempt):
        found[row.instance_id, row.content][row.model].append(row)
    return found


def rates_by_model(attempts: Attempts) -> dict[str, Object]:
    """Return {model: rates_of(its attempts)}."""
    return {model: rates_of(rows) for model, rows in sorted(attempts.items())}


def rates_of(rows: list[SolverAttempt]) -> Object:
    """Return {attempts, passes, mean_reward, interval, tokens, unsolved} of one model's attempts at
    a datapoint. `interval` is the pass rate's 95 % Wilson interval; `tokens` is None if unknown."""
    passes = sum(row.reward == 1.0 for row in rows)
    tokens = [row.usage.get(key) for row in rows for key in ("tokens_in", "tokens_out")]
    return {"attempts": len(rows), "passes": passes,
            "mean_reward": round(fmean(row.reward for row in rows), 4),
            "interval": [round(end, 4) for end in wilson(passes / len(rows), len(rows))],
            "tokens": sum(tokens) if {*map(type, tokens)} <= {int, float} else None,
            "unsolved": not passes}


def is_outside(rates: Object, profile: str) -> bool:
    """Return whether the whole interval of a pass rate lies outside the band of a profile."""
    low, high = rates["interval"]
    wanted = PROFILES[profile]
    return low > wanted["max_rate"] or high < wanted["min_rate"]
