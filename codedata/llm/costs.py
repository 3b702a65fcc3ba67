"""Add up the costs of the calls under a root by stage and model, from ledgers and kept replies."""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from codedata.llm.replies import calls_under, ledger_calls
from codedata.terminal import money


@dataclass
class Cost:
    """Hold the sums of one stage's calls to one model."""

    stage: str
    model: str
    calls: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    seconds: float = 0.0    # summed over all calls
    cost_usd: float = 0.0   # summed over the calls with a known cost
    n_unpriced: int = 0

    @property
    def said(self) -> str:
        """Return the cost as text; unknown costs are named, not shown as 0."""
        return money(self.cost_usd, self.n_unpriced, self.calls)

    def add(self, call: dict) -> None:
        """Add a call, or the sum of several that compacting a ledger left."""
        n_calls = call.get("n", 1)
        self.calls += n_calls
        if call["cost_usd"] is None:
            self.n_unpriced += n_calls
        for key in ("tokens_in", "tokens_out", "seconds", "cost_usd"):
            setattr(self, key, getattr(self, key) + (call.get(key) or 0))


def costs_of(root: Path, within: str = "") -> list[Cost]:
    """Return the costs of all calls under a root by stage and model; calls of one id count once.
    `within` is a directory of the root: the calls of others are left out.
    """
    costs: dict[tuple[str, str], Cost] = {}
    for directory, stage, call in calls_under(root):
        place = directory.relative_to(root)
        if within not in ("", place.parts[0]):
            continue
        if stage is None:
            stage = f"unfinished in {place}/"
        elif not stage:
            stage = f"earlier ones in {place}/"
        key = stage, call["model"]
        costs.setdefault(key, Cost(*key)).add(call)
    return list(costs.values())


def cost_of_stage(directory: Path, stage: str) -> Cost:
    """Return the cost of a stage's calls in one directory, to whatever model."""
    cost = Cost(stage, "")
    for call_stage, call in ledger_calls(directory):
        if call_stage == stage:
            cost.add(call)
    return cost
