"""Record whole trajectories in prompt/_trajectories/, and find their rows again for export.py.

A record is small: it says where the row is and how it ended. A row that is not as it was recorded
is refused. A record that is there is never written anew.
"""
from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from itertools import islice

from codedata.disk.store import Store, digest
from codedata.errors import BrokenRecord, Trouble
from codedata.messages import calls_text, content_text
from codedata.records import Message, SourceTrajectory
from codedata.run.cli import RunOptions
from codedata.run.start import run_whole
from codedata.sampling.draw import MAX_MESSAGES, prompts_of, trajectory_name
from codedata.sampling.sampler import STAGE, PromptSampler
from codedata.sampling.trajectories import Hub, open_source
from codedata.settings import Settings
from codedata.terminal import say

STEP = 20          # rows to read at a time
NOT_WHOLE = f"turns that are not its own (demonstrated, copied), or over {MAX_MESSAGES:,} messages"


def open_rows(hub: Hub, source: str, config: str, split: str
              ) -> tuple[int, Callable[[int], list[dict]]]:
    """Return the number of rows in a source, and what reads the trajectories of a row by its
    number: it may hold several."""
    found = open_source(source, hub, split, config)

    @lru_cache(1)
    def page(k: int) -> list[list[dict]]:
        numbers = range(found.n_rows)[k * STEP:][:STEP]
        rows = found.rows(numbers.start, len(numbers))
        if len(rows) == len(numbers):
            return [[row] for row in rows]
        return [found.rows(number, 1) for number in numbers]
    return found.n_rows, lambda number: page(number // STEP)[number % STEP]


def hub_of(settings: Settings, http) -> Hub:
    """Return the Hub that the settings name."""
    return Hub(http, settings.hf_token, settings.prompt.rows_url, settings.prompt.hub_url)


def row_reader(settings: Settings, http
               ) -> Callable[[SourceTrajectory], tuple[list[Message], list | None]]:
    """Return what reads the row of a record: (its messages up to the last turn, its tools).

    It raises BrokenRecord if the row is not the one that was recorded.
    """
    opened = lru_cache(1)(partial(open_rows, hub_of(settings, http)))

    def read(record: SourceTrajectory) -> tuple[list[Message], list | None]:
        n_rows, rows_at = opened(record.source, record.config, record.split)
        for row in rows_at(record.row) if 0 <= record.row < n_rows else ():
            messages, tools, _ = _whole(row)
            if digest([messages, tools, row.get("outcome")]) == record.digest:
                return messages, tools
        raise BrokenRecord(f"is not the trajectory of {record.instance_id} that was recorded: it "
                           "was changed, or files were added before it.",
                           f"{record.source} row {record.row}", "Delete the record, and run: "
                           "python prompt.py --trajectories")
    return read


def record_trajectories(settings: Settings, options: RunOptions, http) -> int:
    """Write the records of [prompt] source that are missing, at most --limit of them, and the PR
    records of their tasks. Return the exit code."""
    store = Store(settings.root, SourceTrajectory)
    return run_whole(STAGE, settings.root / "prompt", options,
                     lambda: _record(settings, store.open(), options, http),
                     ledgers=[store.into],
                     refuses=("prune", "shard", "only", "refresh", "force", "dry_run", "status"))


def _record(settings: Settings, store: Store, options: RunOptions, http) -> int:
    hub, prompt = hub_of(settings, http), settings.prompt
    place = {"source": prompt.source, "config": prompt.config, "split": prompt.split}
    n_rows, rows_at = open_rows(hub, **place)
    known = {detail.get("row") for (_, name), detail in store.ledger.details.items()
             if name in store and place.items() <= detail.items()
             and prompt.source.startswith("hf:")}   # rows of files move where files are added
    left_out: Counter[str] = Counter()

    def missing() -> Iterator[tuple[str, SourceTrajectory]]:
        for number in range(n_rows):
            for row in () if number in known else rows_at(number):
                messages, tools, problem = _whole(row)
                if problem:
                    left_out[problem] += 1
                elif (name := trajectory_name(row)) not in store:
                    yield name, _record_of(row, messages, tools, place | {"row": number})

    n_there = len(store.names())
    for name, record in islice(missing(), options.selection.limit or None):
        change = store.begin(name, record, ())
        store.note(name, stage=STAGE, state="done", detail={**place, "row": record.row},
                   **store.sync(change).line())
        change.place()
    names = store.names()
    say(f"{STAGE}  {prompt.source} → {store.cls.directory}/   wrote {len(names) - n_there:,}, "
        f"there are {len(names):,}")
    for problem, n in left_out.most_common():
        say(f"      left out: {n:,} ({problem})")
    try:
        PromptSampler(settings).add_commits({store.facts(name).instance_id for name in names}, hub)
    except Trouble as e:
        say(f"      without PR records, and so without licences: {e}")
    say(f"      next:  {options.command('export.py')} --formats sft_trajectories,dpo_trajectories")
    return 0 if names else 1


def _whole(row: dict) -> tuple[list[Message], list | None, str]:
    """Return (the messages that the last turn has seen, and that turn; the tools; ""), or why a row
    is not the whole trajectory of one agent: ([], None, reason)."""
    turns, problem = prompts_of(row)
    roles = [one["role"] for one in row.get("messages", ())]
    if problem or len(turns) < roles.count("assistant"):
        return [], None, problem or NOT_WHOLE
    return [*turns[-1].messages, row["messages"][turns.places[-1]]], turns.tools, ""


def _record_of(row: dict, messages: list[Message], tools: list | None, place: dict
               ) -> SourceTrajectory:
    outcome = row.get("outcome")
    resolved, reward, exit_status, patch = outcome or (None, None, "", "")
    return SourceTrajectory(
        row["instance_id"], row["repo"], **place, digest=digest([messages, tools, outcome]),
        resolved=resolved, reward=reward, exit_status=exit_status, n_patch_chars=len(patch),
        n_turns=sum(one["role"] == "assistant" for one in messages),
        n_chars=sum(len(content_text(one) + calls_text(one)) for one in messages))
