"""Record whole trajectories in prompt/_trajectories/, and find their rows again for export.py.

A record is small: it holds the place of the row and the outcome of the trajectory. A row that has
changed since it was recorded is refused.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache, partial

from codedata.disk.store import Store, digest, known, known_in
from codedata.errors import BrokenRecord, Excluded, Trouble
from codedata.llm import Models
from codedata.messages import calls_text, content_text
from codedata.records import PRUNED, Message, Prompt, SourceTrajectory
from codedata.run.cli import RunOptions
from codedata.run.stage import Stage, Writes, found_records
from codedata.run.start import run_steps
from codedata.run.states import Selection
from codedata.sampling.draw import MAX_MESSAGES, prompts_of, trajectory_name
from codedata.sampling.sampler import PromptSampler
from codedata.sampling.trajectories import PAGE, hub_of, open_source
from codedata.settings import Settings

NOT_WHOLE = f"turns that are not its own (demonstrated, copied), or over {MAX_MESSAGES:,} messages"


def record_trajectories(settings: Settings, options: RunOptions) -> int:
    """Record the trajectories of [prompt] source, and the PR records of their tasks; return the
    exit code."""
    options.make_root()
    return run_steps({"trajectories": partial(trajectories_stage, settings, options.selection)},
                     settings, options, [settings.root / Prompt.directory])


def trajectories_stage(settings: Settings, selection: Selection, models: Models) -> Stage:
    """Return the stage that records the whole trajectories of [prompt] source. With a limit, the
    source is read only up to the page with the last one to record."""
    prompt, hub = settings.prompt, hub_of(settings, models.http)
    store = Store(settings.root, SourceTrajectory)

    def found() -> Iterator[tuple[str, dict | str]]:
        missing = set()
        source = open_source(prompt.source, hub, prompt.split, prompt.config,
                             prompt.only_repo)
        for number, row in enumerate(source.in_pages(source.n_rows)):
            messages, tools, problem = _whole(row)
            if problem:
                yield f"row {row['row']} {number}", problem
                continue
            name, instance_id = trajectory_name(row), row["instance_id"]
            place = prompt.config, prompt.split, row["row"]
            if "attempt" in row:   # row numbers change if attempts are added
                place = row["attempt"], prompt.split, 0
                # attempts may have equal messages; records of earlier versions keep their names
                there = known_in(settings.root, SourceTrajectory, name)
                if getattr(there, "config", "") != row["attempt"]:
                    name = row["attempt"]
            yield name, vars(SourceTrajectory(instance_id, row.get("repo", ""), prompt.source,
                                              *place, *_end_of(row, messages, tools)))
            is_taken = selection.in_shard(name) and selection.matches(name, instance_id)
            if is_taken and instance_id not in settings.exclude.ids and (
                    selection.force or not store.path(name).exists()):
                missing.add(name)
            if len(missing) == selection.limit:
                return

    def add_commits() -> list[str]:
        try:
            ids = {store.facts(name).instance_id for name in store.names()}
            PromptSampler(settings).add_commits(ids, hub)
        except Trouble as e:
            return [f"      without PR records, and so without licences: {e}"]
        return []

    def keeps(name: str) -> bool:   # it is from another source, or its row may be beyond the limit
        return bool(selection.limit) or getattr(known(store, name), "source", "") != prompt.source

    return Stage("prompt.trajectories", make=lambda record: record, is_local=True,
                 reads=found_records(SourceTrajectory, found, prompt.source, keeps=keeps),
                 writes=Writes(store, optional=("resolved", "reward")), finish=add_commits,
                 then="export.py --formats sft_trajectories,dpo_trajectories")


def row_reader(settings: Settings, http
               ) -> Callable[[SourceTrajectory], tuple[list[Message], list | None]]:
    """Return a function that reads the row of a record: (its messages up to the last turn, its
    tools).

    It raises BrokenRecord if the row differs from the recorded one, Excluded if solve.py --prune
    has removed its messages.
    """
    hub = hub_of(settings, http)

    @lru_cache(1)
    def pages_of(source: str, config: str, split: str) -> Callable[[int], list[dict]]:
        rows = open_source(source, hub, split, config).rows
        return lru_cache(1)(lambda page: rows(page * PAGE, PAGE))

    def read(record: SourceTrajectory) -> tuple[list[Message], list | None]:
        page = pages_of(record.source, record.config, record.split)
        for row in page(record.row // PAGE):
            if row["row"] == record.row:
                messages, tools, problem = _whole(row)
                if problem == PRUNED:
                    raise Excluded(PRUNED)
                if _end_of(row, messages, tools)[0] == record.digest:
                    return messages, tools
        raise BrokenRecord(f"is not the trajectory of {record.instance_id} that was recorded: it "
                           "was changed, or files were added before it.",
                           f"{record.source} row {record.row}",
                           "Run: python prompt.py --trajectories (a record that you edited stays: "
                           "delete it first)")
    return read


def _whole(row: dict) -> tuple[list[Message], list | None, str]:
    """Return (the last turn and the messages before it, the tools, ""), or ([], None, the reason
    why a row is not the whole trajectory of one agent)."""
    turns, problem = prompts_of(row)
    roles = [one["role"] for one in row.get("messages", ())]
    if problem or len(turns) < roles.count("assistant"):
        return [], None, problem or NOT_WHOLE
    return [*turns[-1].messages, row["messages"][turns.places[-1]]], turns.tools, ""


def _end_of(row: dict, messages: list[Message], tools: list | None) -> tuple:
    """Return the fields of a record after `row`, from `digest` to `n_patch_chars`."""
    outcome = row.get("outcome")
    resolved, reward, exit_status, patch = outcome or (None, None, "", "")
    return (digest([messages, tools, outcome]), resolved, reward, exit_status,
            sum(one["role"] == "assistant" for one in messages),
            sum(len(content_text(one) + calls_text(one)) for one in messages), len(patch))
