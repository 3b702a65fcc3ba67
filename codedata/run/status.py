"""Gather the status of every stage of a root for status.py. No record or ledger line is written.

Within gathering(), a script called with --status or --dry-run hands over its counts or its estimate
instead of printing them. Costs, tokens and rates come from the ledgers.
"""
from __future__ import annotations

import glob
import re
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from codedata.disk.ledger import PARTIAL
from codedata.llm.costs import Cost, attempts_under
from codedata.sandbox.process_labels import of_root
from codedata.terminal import aligned, usd
from codedata.texts import natural, printable

STATES_SHOWN = ("done", "stale", "edited", "failed", "orphan")   # columns shown even if all are 0
MADE = ("done", "failed", "excluded")   # ledger states of items that a run has worked on
NEWEST = 2000     # number of newest attempts that give a stage's rate
PAUSE_S = 60.0    # seconds with nothing in flight that separate two runs
PAGES = {"index.html": "all of it on one page", "report*/report.md": "the report of a duel",
         "nl2repo/*.md": "the document of a repository",
         "export/*/README.md": "a set's card: its rows, how it is loaded or its tasks are run"}
WITH_A_MODEL = {"bug_inject.py scale --steps issue --issue-writer llm --refresh":
                    "bug/_verdicts/[!_.]*.json",
                "nl2repo.py --steps doc_part2,doc_part1,doc --refresh": "nl2repo/[!_.]*.json",
                "bug_inject.py agent": "analysis/[!_.]*.json"}   # {call: records that it needs}
YIELDS = "bug_inject.report"   # the stage that counts candidates by outcome
ONLY = " --only="   # at the end of a command, before an item
SHOWN_S = 3.0     # minimum seconds for a stage without lines of its own to be in the summary
UNITS = (("G", 1e9), ("M", 1e6), ("k", 1e3))

_gathered: ContextVar[list | None] = ContextVar("gathered", default=None)


@dataclass
class StageStatus:
    """Hold the status of one stage in one directory of a root."""

    stage: str                              # "check_judges probe"
    place: str                              # the directory that it writes: "probe/"
    counts: dict[str, int] = field(default_factory=dict)   # items by state
    n_todo: int = 0
    note: str = ""                          # a further remark
    key: str = ""                           # the stage's name in ledgers
    directories: tuple[str, ...] = ()       # the directories of its ledgers
    n_calls: int = 0
    n_unpriced: int = 0                     # calls whose cost is unknown
    cost_usd: float = 0.0                   # without the unpriced calls
    tokens_in: int = 0
    tokens_out: int = 0
    items_per_hour: float | None = None     # in its last run; None: unknown
    hours_to_go: float | None = None
    seconds: float = 0.0                    # for all attempts
    # not fields: words() yields descriptions of the records for the user, failed() yields (item,
    # state, cause, command) of failed ones, `tries` holds the times of failed attempts by item
    words = failed = list
    tries = {}


@dataclass
class FailedItem:
    """Hold an item that is now failed, excluded or broken."""

    stage: str
    place: str         # the directory that the stage writes
    name: str
    state: str
    cause: str
    again: str         # the command that tries it again; "": a rule would leave it out
    log: str           # from log_of()
    tries: list[str]   # the times (UTC) of its failures or exclusions


@contextmanager
def gathering() -> Iterator[list]:
    """Yield a list. Within the block, stages called with --status append their StageStatus to it;
    with --dry-run, an estimate of calls (a ToCome, or a text)."""
    token = _gathered.set([])
    try:
        yield _gathered.get()
    finally:
        _gathered.reset(token)


def hand_over(status: Callable[[], object]) -> bool:
    """Append a stage's status if statuses are being gathered; return whether they are."""
    if is_gathering():
        _gathered.get().append(status())
    return is_gathering()


def is_gathering() -> bool:
    """Return whether statuses are being gathered."""
    return _gathered.get() is not None


def add_usage(root: Path, stages: list[StageStatus]) -> list[StageStatus]:
    """Return the stages with the usage of their attempts, and an entry for all other calls."""
    others = StageStatus("others", "")
    usage = [(one, Cost(), deque(maxlen=NEWEST)) for one in (*stages, others)]
    for one, *_ in usage:
        one.tries = defaultdict(list)
    owners = {(directory, entry[0].key): entry for entry in usage
              for directory in entry[0].directories}
    for directory, line, calls in attempts_under(root):
        one, cost, newest = owners.get((str(directory), str(line.get("stage"))), usage[-1])
        for call in calls:
            cost.add(call)
        with suppress(TypeError):   # the line may have been edited
            one.seconds += line.get("seconds", 0.0)
        if line.get("state") in MADE:
            newest.append((line.get("at"), line.get("seconds", 0.0)))
        if line.get("state") in MADE[1:]:
            one.tries[str(line.get("item"))].append(str(line.get("at")))
    for one, cost, newest in usage:
        one.seconds = round(one.seconds, 1)
        one.n_calls, one.n_unpriced = cost.n_calls, cost.n_unpriced
        one.cost_usd = round(cost.cost_usd, 8)
        one.tokens_in, one.tokens_out = cost.tokens_in, cost.tokens_out
        one.items_per_hour = items_per_hour(newest) if one.place else None
        if one.n_todo and one.items_per_hour:
            one.hours_to_go = one.n_todo / one.items_per_hour
    return [*stages, others] if others.n_calls else stages


def failed_in(root: Path, stages: list[StageStatus]) -> Iterator[FailedItem]:
    """Yield the failed, excluded and broken items of stages that add_usage() returned."""
    for one in stages:
        for name, state, cause, again in one.failed():
            log = "" if state == "excluded" else log_of(root, one.place, name)
            yield FailedItem(one.stage, one.place, name, state, cause, again, log, one.tries[name])


def log_of(root: Path, place: str, name: str) -> str:
    """Return a path, relative to the root: an item's newest agent trajectory, else its kept
    replies, else its record, else ""."""
    name = glob.escape(name)
    logs = [log for pattern in (f"{place}{name}.json", f"{place}{PARTIAL}/{name}.jsonl",
                                f"{place.partition('/')[0]}/_trajectories/{name}.[0-9]*.json")
            for log in sorted(glob.glob(pattern, root_dir=root), key=natural)]
    return logs[-1] if logs else ""


def items_per_hour(attempts: deque) -> float | None:
    """Return the rate of the last run, from (time, seconds) of attempts; None if it is not known.
    """
    spans = []
    for at, seconds in attempts:
        with suppress(ValueError, TypeError, AttributeError):   # the line may have been edited
            end = datetime.fromisoformat(at.replace("Z", "+00:00")).timestamp()
            spans.append((end, end - seconds))
    n = 0
    begin = last = max(spans, default=(0.0, 0.0))[0]
    for end, start in sorted(spans, reverse=True):
        if end < begin - PAUSE_S:
            break
        begin = min(start, begin)
        n += 1
    return 3600 * n / (last - begin) if last > begin else None


def summary(root: Path, stages: list[StageStatus], command: Callable[[str], str]) -> Iterator[str]:
    """Yield lines about a root: results, work by stage, pages to open, and possible additions by a
    model. command() completes the call of a script."""
    for one in sorted(stages, key=lambda one: (one.key == YIELDS, one.place != "task/")):
        words = one.words()
        head = f"{one.stage:23}{one.seconds / 60:5.1f} min  "
        for line in words or [""][:one.seconds >= SHOWN_S]:
            yield f"{head}{line}"
            head = " " * len(head)
    yield (f"{'in all':23}{sum(one.seconds for one in stages) / 60:5.1f} min, summed over all runs "
           "and parallel workers")
    for pattern, what in PAGES.items():
        yield from (f"open:  {path}   {what}" for path in sorted(root.glob(pattern)))
    for call, pattern in WITH_A_MODEL.items():
        if any(root.glob(pattern)):
            yield f"with a model:  {command(call)}"
    if any(root.glob("env/[!_.]*.json")):
        yield f"its images:  docker image ls --filter label={of_root(root)}"


def failed_lines(items: Iterable[FailedItem]) -> Iterator[str]:
    """Yield failed items for the terminal, by stage and cause, each group with its command."""
    groups = defaultdict(list)
    for item in items:
        cause = re.sub(rf"(?<![\w.-]){re.escape(item.name)}(?![\w-])", "…", item.cause)
        groups[item.stage, item.state, cause, item.again.rpartition(ONLY)[0]].append(item)
    for (stage, state, cause, again), group in groups.items():
        yield f"{stage}  {state} {len(group)}: {printable(cause, 400)}"
        for one in group:
            tries = one.tries and f"tries {len(one.tries)}, the last {one.tries[-1]}"
            yield printable(f"      {'   '.join(filter(None, (one.name, tries, one.log)))}")
        # --force without --only would make all other items again, too
        if len(group) == 1 or state in ("excluded", "unread"):
            again, makes = group[0].again, ", the first" if len(group) > 1 else ""
        else:
            makes = ", with all missing items"
        none = "no command: correct the record, or the setting or rule that left it out"
        yield printable(f"      again{makes}: {again}" if again else f"      {none}")


def screen(stages: list[StageStatus], about: dict) -> str:
    """Return a root's status for the terminal; `about` holds the root's entries in --json."""
    disk = f"{short(about['root_bytes'])}B, {short(about['free_bytes'])}B free"
    lines = [table(stages), f"disk: {about['root']}/ {disk}"]
    if containers := about["containers"]:
        lines.append(f"containers {len(containers)}: {', '.join(containers)}")
    return "\n".join(lines)


def table(stages: list[StageStatus]) -> str:
    """Return the stages as a table for the terminal; a dot means 0 or unknown."""
    rows = [[cell or "·" for cell in cells] for cells in table_of(stages)]
    lines = aligned(rows)
    if any(one.n_unpriced for one in stages):
        lines.append("?: calls without a price ([prices] in chain.toml)")
    return "\n".join([*lines, *(f"{one.stage}: {one.note}" for one in stages if one.note)])


def table_of(stages: list[StageStatus]) -> list[list[str]]:
    """Return the heads of a table of stages, then the cells of each stage; 0 and unknown are "".
    """
    others = {state for one in stages for state, n in one.counts.items() if n}
    states = [*STATES_SHOWN, *sorted(others - {*STATES_SHOWN})]
    head = ["stage", "writes", *states, "to do", "cost", "tokens", "an hour", "to go"]
    return [head, *(_cells(one, states) for one in stages)]


def _cells(one: StageStatus, states: list[str]) -> list[str]:
    costs = [usd(one.cost_usd)] if one.n_calls > one.n_unpriced else []
    costs += ["?"] if one.n_unpriced else []
    tokens = [short(n) for n in (one.tokens_in, one.tokens_out) if n]
    hours = one.hours_to_go or 0
    to_go = f"{hours:.1f} h" if hours >= 1 else f"{60 * hours:.0f} min"
    counts = [*map(one.counts.get, states), one.n_todo]
    return [one.stage, one.place, *(f"{n:,}" if n else "" for n in counts), " + ".join(costs),
            " + ".join(tokens), f"{one.items_per_hour:,.0f}" if one.items_per_hour else "",
            to_go if hours else ""]


def short(n: int) -> str:
    """Return an amount as 950, 12k, 3.4M or 75G."""
    unit, factor = next((entry for entry in UNITS if n >= entry[1]), ("", 1))
    return f"{n / factor:.{int(factor > 1 and n < 10 * factor)}f}{unit}"
