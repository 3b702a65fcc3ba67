"""Record whole trajectories in prompt/_trajectories/, and find their rows again for export.py.

A record is small: it says where the row is and how it ended. A row that is not as it was recorded
is refused. Records that are there are never written anew without --force.
"""
from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import islice

from codedata.disk.store import Store, digest
from codedata.errors import BrokenRecord, Interrupted
from codedata.messages import calls_text, content_text
from codedata.records import Message, SourceTrajectory
from codedata.run.cli import RunOptions
from codedata.run.signals import signals
from codedata.run.start import run_whole
from codedata.run.talk import Bar, RunTotals
from codedata.sampling.draw import MAX_MESSAGES, prompts_of, trajectory_name
from codedata.sampling.sampler import STAGE, PromptSampler
from codedata.sampling.trajectories import Hub, Trajectories, open_source
from codedata.settings import PromptSettings, Settings
from codedata.terminal import plural, say

STEP = 20          # rows to read at a time
RowReader = Callable[[SourceTrajectory], tuple[list[Message], list | None, str]]


def row_reader(settings: PromptSettings, http, token: str | None) -> RowReader:
    """Return what reads the row of a record: (its messages up to the last turn, tools, patch).

    It raises BrokenRecord if the row is not the one that was recorded.
    """
    hub = Hub(http, token, settings.rows_url, settings.hub_url)
    source_of = lru_cache(1)(lambda name, config, split: open_source(name, hub, split, config))

    @lru_cache(2)
    def rows_in(place: tuple[str, str, str], page: int) -> list[tuple[int, dict]]:
        return [*_numbered(source_of(*place), page * STEP, STEP)]

    def read(record: SourceTrajectory) -> tuple[list[Message], list | None, str]:
        rows = rows_in((record.source, record.config, record.split), record.row // STEP)
        row = next((row for number, row in rows if number == record.row and "problem" not in row
                    and _digest(row) == record.digest), None)
        if row is None:
            raise BrokenRecord(f"is not what was recorded as {record.instance_id}.",
                               f"{record.source} row {record.row}", "Delete the record, and run: "
                               "python prompt.py --trajectories")
        return *_conversation(row), row["outcome"].model_patch
    return read


def record_trajectories(settings: Settings, options: RunOptions, models) -> int:
    """Write the records of [prompt] source that are missing, and return the exit code. --limit
    counts records."""
    store = Store(settings.root, SourceTrajectory)

    def work() -> int:
        try:
            with signals(STAGE, models.stop.set):
                return _record(settings, store.open(), options, models.http)
        except Interrupted:
            say(f"{STAGE}  stopped; whole records are kept")
            return 130
    return run_whole(STAGE, settings.root / "prompt", options, work, ledgers=[store.into],
                     refuses=("prune", "shard", "only", "refresh", "dry_run"))


def _record(settings: Settings, store: Store, options: RunOptions, http) -> int:
    prompt, left_out = settings.prompt, Counter()
    hub = Hub(http, settings.hf_token, prompt.rows_url, prompt.hub_url)
    source = open_source(prompt.source, hub, prompt.split, prompt.config)
    place = [prompt.source, prompt.config, prompt.split]
    force = options.selection.force
    n_there = len(store.names())
    known = set() if force else {
        detail.get("row") for (_, name), detail in store.ledger.details.items()
        if name in store and detail.get("place") == place}
    bar = Bar(STAGE, source.n_rows, options.quiet)
    totals = RunTotals()

    def records() -> Iterator[tuple[str, SourceTrajectory]]:
        for start in range(0, source.n_rows, STEP):
            http.wait(0)   # raises Interrupted if the run is to end
            length = min(STEP, source.n_rows - start)
            if known.issuperset(range(start, start + length)):
                continue
            for number, row in _numbered(source, start, length):
                if reason := _problem(row):
                    left_out[reason] += 1
                    continue
                name = trajectory_name(row)
                if number not in known and name not in ids and (force or name not in store):
                    yield name, _record_of(row, place, number)

    endings: Counter[str] = Counter()
    ids: dict[str, str] = {}   # of the records that were written, by name
    for name, record in islice(records(), options.selection.limit or None):
        if name in store:
            store.set_aside(name)
        change = store.begin(name, record, tuple(vars(record)), keep_edits=False)
        line = store.sync(change).line()
        store.note(name, stage=STAGE, state="done", **line,
                   detail={"place": place, "row": record.row})
        change.place()
        endings[_ending(record)] += 1
        ids[name] = record.instance_id
        totals.wrote += 1
        bar.update(totals, 0)
    bar.close()
    n_prs = PromptSampler(settings).add_commits(ids.values(), hub) if ids else 0
    listed = ", ".join(f"{ending} {n:,}" for ending, n in endings.most_common())
    say(f"{STAGE}  {prompt.source} → {store.cls.directory}/   there {n_there:,}, wrote "
        f"{totals.wrote:,}{f': {listed}' if listed else ''}   PR records {n_prs:,}")
    for reason, n in left_out.most_common():
        say(f"      left out: {n:,} ({reason})")
    say(f"      next:  {options.command('export.py')} --formats sft_trajectories,dpo_trajectories")
    return 0 if store.names() or endings else 1


def _numbered(source: Trajectories, start: int, length: int) -> Iterator[tuple[int, dict]]:
    """Yield (number, row) of rows; a number comes again where its row holds several trajectories.
    """
    length = min(length, source.n_rows - start)
    rows = source.rows(start, length)
    if len(rows) == length:
        yield from enumerate(rows, start)
    else:
        yield from ((i, row) for i in range(start, start + length) for row in source.rows(i, 1))


def _problem(row: dict) -> str:
    """Return why a row is not a whole trajectory of one agent, or ""."""
    turns, problem = prompts_of(row)
    if problem:
        return problem
    if len(row["messages"]) > MAX_MESSAGES:
        return f"over {plural(MAX_MESSAGES, 'message')}"
    is_whole = len(turns) == sum(one["role"] == "assistant" for one in row["messages"])
    return "" if is_whole else "turns that are not its own: demonstrated, copied or by no model"


def _conversation(row: dict) -> tuple[list[Message], list | None]:
    """Return (the messages that the last turn has seen, and that turn; the tools)."""
    turns, _ = prompts_of(row)
    return [*turns[-1].messages, row["messages"][turns.places[-1]]], turns.tools


def _digest(row: dict) -> str:
    return digest([row["messages"], row["tools"], [*row.get("outcome", ())]])


def _record_of(row: dict, place: list[str], number: int) -> SourceTrajectory:
    messages, _ = _conversation(row)
    outcome = row["outcome"]
    n_chars = sum(len(content_text(one)) + len(calls_text(one)) for one in messages)
    return SourceTrajectory(
        row["instance_id"], row["repo"], *place, number, _digest(row), outcome.resolved,
        outcome.reward, outcome.exit_status, len(prompts_of(row)[0]), n_chars,
        len(outcome.model_patch))


def _ending(record: SourceTrajectory) -> str:
    """Return the outcome of a record in words."""
    if record.resolved is not None:
        return "resolved" if record.resolved else "not resolved"
    return "without an outcome" if record.reward is None else "with a reward"
