"""Add up the costs of the calls under a root, from ledgers and kept replies; enforce a budget."""
from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from codedata.config import PRICE_LINE
from codedata.disk.ledger import LEDGER, PARTIAL, calls_of, read_lines, sound_call
from codedata.errors import RunStopped
from codedata.records import DIRECTORIES, EVER_HOW
from codedata.terminal import Spending, plural, usd
from codedata.texts import in_shard

# matches codedata's directories, but not a user's answer_backup
DIRECTORY = re.compile(
    rf"[a-z0-9]+(_reference|_\d+|_({'|'.join(EVER_HOW)}))?|({'|'.join(DIRECTORIES)})(_\d+)?")
# basis of an estimate without finished items
USUAL = "by usual lengths of replies (docs/costs.md), since no item is finished"
WITHOUT_LEDGERS = (PARTIAL, "_replaced", "_tmp")   # folders that are not searched for ledgers


@dataclass
class Cost(Spending):
    """Hold the sums of one stage's calls to one model."""

    stage: str = ""
    model: str = ""
    tokens_in: int = 0
    tokens_out: int = 0
    seconds: float = 0.0    # summed over all calls

    def add(self, call: dict) -> None:
        """Add a call, or a sum of calls from a compacted ledger."""
        super().add(call)
        for key in ("tokens_in", "tokens_out", "seconds"):
            setattr(self, key, getattr(self, key) + (call.get(key) or 0))


@dataclass
class ToCome(Cost):
    """Add up estimates of calls to come."""

    max_usd: float = 0.0   # cost if every reply took all of max_tokens
    n_unfit: int = 0       # items without calls, since they are too long or broken
    n_like: int = 0        # number of finished items that the estimate is based on
    items: list[str] = field(default_factory=list)   # names of the items to be made

    def __str__(self) -> str:
        if not self.n_calls and not self.n_unfit:
            return "no calls"
        most = f", at most {usd(self.max_usd)}" if self.max_usd else ""
        source = f"by the calls for {plural(self.n_like, 'item')} before" if self.n_like else USUAL
        unfit = f"; {plural(self.n_unfit, 'item')} will fail: too long, or broken"
        return (f"{plural(round(self.n_calls), 'call')}, about {self.tokens_in:,.0f} tokens in and "
                f"{self.tokens_out:,.0f} out, {super().__str__()}{most}; {source}"
                f"{unfit if self.n_unfit else ''}")


def costs_of(root: Path) -> list[Cost]:
    """Return the costs of all calls under a root by stage and model. Calls with the same id count
    once."""
    costs: dict[tuple[str, str], Cost] = {}
    for directory, line, calls in attempts_under(root):
        place, stage = directory.relative_to(root), line.get("stage", "")
        if stage is None:
            stage = f"unfinished in {place}/"
        elif not stage or not isinstance(stage, str):
            stage = f"earlier ones in {place}/"
        for call in calls:
            key = stage, call["model"]
            costs.setdefault(key, Cost(stage=stage, model=call["model"])).add(call)
    return list(costs.values())


def spending(root: Path, stage: str = "") -> Spending:
    """Return the sum of all calls under a root, or of the finished calls of one stage."""
    spent = Spending()
    for _, line, calls in attempts_under(root):
        for call in calls if stage in ("", line.get("stage")) else ():
            spent.add(call)
    return spent


def attempts_under(root: Path) -> Iterator[tuple[Path, dict, list[dict]]]:
    """Yield (directory, ledger line, the line's calls) of all attempts under a root. For a file of
    kept replies, the line has only the item, and None as the stage.

    Calls with the same id are yielded once, so that nothing is counted twice if a directory was
    copied, or if a ledger already lists a kept reply.
    """
    seen: set[str] = set()

    def unseen(calls: list[dict]) -> Iterator[dict]:
        for call in calls:
            if call.get("id") not in seen:
                yield call
            if call.get("id"):
                seen.add(call["id"])

    stages = sorted(p for p in root.glob("*") if p.is_dir() and DIRECTORY.fullmatch(p.name))
    for directory in chain.from_iterable(map(_with_ledgers, stages)):
        for line in read_lines(directory / LEDGER):
            yield directory, line, [*unseen(calls_of(line))]
        for file in sorted((directory / PARTIAL).glob("*.jsonl")):
            kept = (line["call"] for line in read_lines(file) if isinstance(line.get("call"), dict))
            line = {"item": file.stem, "stage": None}
            yield directory, line, [*unseen(map(sound_call, kept))]


def _with_ledgers(directory: Path) -> Iterator[Path]:
    """Yield a directory and, at any depth, its subfolders that may have their own ledger."""
    yield directory
    with os.scandir(directory) as entries:
        within = sorted(entry.name for entry in entries
                        if (entry.name[0] == "_" or entry.name in EVER_HOW) and entry.is_dir())
    for name in within:
        if name not in WITHOUT_LEDGERS:
            yield from _with_ledgers(directory / name)


@dataclass
class Money:
    """Compare the spending (USD) with two budgets: of the root's whole life, and of this run. An
    unknown cost is None, never 0.

    A shard (i, n) has 1/n of the root's budget, for the calls of the shard's items. `run_usd` is
    what this run may still spend; each call lowers it.
    """

    prices: dict
    budget_usd: float | None = None
    shard: tuple[int, int] | None = None
    run_usd: float | None = None
    spent_usd: float = 0.0

    def __post_init__(self):
        if self.budget_usd is not None and self.shard:
            self.budget_usd /= self.shard[1]
        self._lock = threading.Lock()

    def cost(self, model: str, tokens_in, tokens_out, tokens_cached=0) -> float | None:
        """Return a call's cost in USD, or None if the price or a token count is unknown."""
        price = self.prices.get(model)
        if price is None or tokens_in is None or tokens_out is None:
            return None
        cached = min(tokens_cached or 0, tokens_in)
        cached_price = price.in_ if price.cached is None else price.cached
        uncached = tokens_in - cached
        return (uncached * price.in_ + cached * cached_price + tokens_out * price.out) / 1e6

    @property
    def is_limited(self) -> bool:
        """Return whether there is a budget, so that each call needs a known cost."""
        return self.budget_usd is not None or self.run_usd is not None

    def gate(self) -> None:
        """Raise RunStopped if a budget is used up. Call this before each request."""
        if self.run_usd is not None and self.run_usd <= 0:
            raise RunStopped("the budget of this run is used up (--budget-run).",
                             todo="Run again to go on: what is done is kept.")
        if self.budget_usd is not None and self.spent_usd >= self.budget_usd:
            raise RunStopped(f"the budget of {usd(self.budget_usd)} is used up "
                             f"({usd(self.spent_usd)} spent "
                             f"{'by this shard' if self.shard else 'under this root'}).",
                             todo="Give a larger --budget to go on: what is done is kept.")

    def against_budget(self) -> str:
        """Return the spending and the budget, or the rest of this run's, as text; "" without a
        budget."""
        if self.run_usd is not None:
            return f"{usd(max(self.run_usd, 0.0))} left of --budget-run"
        if self.budget_usd is None:
            return ""
        return f"budget {usd(self.spent_usd)} of {usd(self.budget_usd)}"

    def add(self, call: dict) -> None:
        """Add a call's cost. Raise RunStopped if there is a budget and the cost is unknown."""
        if call["cost_usd"] is not None:
            with self._lock:
                self.spent_usd += call["cost_usd"]
                if self.run_usd is not None:
                    self.run_usd -= call["cost_usd"]
        elif self.is_limited:
            raise RunStopped(f"model {call['model']} reports no usage, so a budget cannot be kept.",
                             todo="Run without a budget, or use an endpoint that reports usage.")

    def add_up(self, root: Path) -> None:
        """Set spent_usd to the cost of all calls under a root; with a shard, of the calls for the
        shard's items. Costs without an item (sums written by --compact) count for every shard.
        Raise RunStopped if a cost is unknown."""
        costs = (self._known(call, directory) for directory, line, calls in attempts_under(root)
                 if not line.get("item") or in_shard(str(line["item"]), self.shard)
                 for call in calls)
        self.spent_usd = sum(costs)

    def part(self) -> str:
        """Describe the shard's part of the budget, and its spending."""
        whole = usd(self.budget_usd * self.shard[1])
        return (f"budget of this shard: {usd(self.budget_usd)} of {whole}, "
                f"{usd(self.spent_usd)} spent")

    def _known(self, call: dict, directory: Path) -> float:
        """Return a call's cost in USD; raise RunStopped if it is unknown."""
        model = call["model"]
        cost = call["cost_usd"]
        if cost is None:
            cost = self.cost(model, *map(call.get, ("tokens_in", "tokens_out", "tokens_cached")))
        if cost is not None:
            return cost
        if model in self.prices:
            problem = "for which the endpoint reported no usage"
            todo = "Run without --budget."
        else:
            problem = "whose cost is not known"
            todo = PRICE_LINE.format(model=model)
        raise RunStopped(f"has calls to {model!r} {problem}, so a budget cannot be kept.",
                         str(directory), todo, exit_code=2)
