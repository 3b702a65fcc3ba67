"""Add up the costs of the calls under a root by stage and model, from ledgers and kept replies."""
from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from codedata.llm.calls import kept_calls, ledger_calls, spending_directories
from codedata.progress import money


@dataclass(frozen=True)
class Cost:
    """Hold the sums of one stage's calls to one model."""

    stage: str
    model: str
    calls: int
    tokens_in: int
    tokens_out: int
    seconds: float     # summed over all calls
    cost_usd: float    # summed over the calls with a known cost
    n_unpriced: int

    @property
    def said(self) -> str:
        """Return the cost as text; unknown costs are named, not shown as 0."""
        return money(self.cost_usd, self.n_unpriced, self.calls)


def costs_of(root: Path) -> list[Cost]:
    """Return the costs of all calls under the root by stage and model; calls with one id count once."""
    sums: dict[tuple[str, str], Counter] = {}
    seen: set[str] = set()

    def count(stage: str, call: dict) -> None:
        if call.get("id") in seen:
            return
        seen.update(filter(None, [call.get("id")]))
        n, total = call.get("n", 1), sums.setdefault((stage, call["model"]), Counter())
        total.update(calls=n, n_unpriced=n * (call.get("cost_usd") is None),
                     **{key: call.get(key) or 0 for key in ("tokens_in", "tokens_out", "seconds", "cost_usd")})

    for directory in spending_directories(root):
        place = directory.relative_to(root)
        for stage, call in ledger_calls(directory):
            count(stage or f"earlier ones in {place}/", call)
        for call in kept_calls(directory):
            count(f"unfinished in {place}/", call)
    return [Cost(stage, model, **{key: total[key] for key in (
        "calls", "tokens_in", "tokens_out", "seconds", "cost_usd", "n_unpriced")})
        for (stage, model), total in sums.items()]


def spent(directory: Path, stage: str) -> str:
    """Return the cost of a stage's calls in one directory as text; "" where there were none."""
    calls = [call for by, call in ledger_calls(directory) if by == stage] if directory.is_dir() else []
    known = [call["cost_usd"] for call in calls if call["cost_usd"] is not None]
    return money(sum(known), len(calls) - len(known), len(calls)) if calls else ""
