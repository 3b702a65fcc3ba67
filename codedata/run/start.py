"""Run a script's stages one after the other, with their directories locked."""
from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from math import ceil
from pathlib import Path

from codedata.bounded import own_folder
from codedata.disk.layouts import clear_up
from codedata.disk.ledger import LEDGER
from codedata.disk.ledger_compact import compact
from codedata.disk.locks import check_directories, lock
from codedata.disk.store import digest, remove_half_written, shards_of
from codedata.errors import Trouble
from codedata.llm.client import Models
from codedata.run.cli import RunOptions
from codedata.run.loop import StageRun
from codedata.run.plan import Plan, States
from codedata.run.pool import Engine
from codedata.run.stage import Stage
from codedata.run.states import Selection
from codedata.run.status import StageStatus, hand_over
from codedata.run.summary import at_once, print_costs, print_plan, print_summary, status_of
from codedata.run.talk import Bar
from codedata.settings import Settings
from codedata.terminal import plural, say

Held = Path | type | tuple[type, str]   # a directory, a class of records, or (class, kind of items)


def run(make_stage: Callable[[Models], Stage], settings: Settings, options: RunOptions) -> int:
    """Run a script's only stage: make what is missing, stale or failed; return the exit code."""
    with Models(settings) as models:
        stage = make_stage(models)
        check_root(settings.root, "prompt.py" if stage.after else stage.script)
        store = stage.writes.store
        with hold_directories(stage.script, [(store.cls, store.kind)], options):
            return _run_held(stage, settings, models, options)


def run_steps(steps: dict[str, Callable[[Models], Stage]], settings: Settings, options: RunOptions,
              holds: Iterable[Held] | Mapping[str, Held], chosen: Iterable[str] | None = None
              ) -> int:
    """Run the steps of a script one after the other; return the highest exit code.

    A step's stage is created when its turn comes, since it depends on earlier steps' outputs; it
    has its own models. `holds` lists the directories to lock during all steps, or maps each step to
    its directory. A step that was stopped (exit code above 1) ends the run. `chosen` holds the
    words of --steps; by default all steps run.
    """
    check_root(settings.root)
    left = [name for name in steps if chosen is None or name in chosen]
    if isinstance(holds, Mapping):
        holds = dict.fromkeys(holds[name] for name in left)
    worst = 0
    with ExitStack() as held:
        for i, name in enumerate(left):
            with Models(settings) as models:
                stage = steps[name](models)
                if i == 0:
                    held.enter_context(hold_directories(stage.script, holds, options))
                if name != left[-1]:
                    stage = replace(stage, then="")
                if chosen is not None:
                    options = options.with_steps(left[i:] if len(left) - i < len(steps) else ())
                worst = max(worst, _run_held(stage, settings, models, options))
            # the next step may spend what is left
            settings = replace(settings, budget_run_usd=models.money.run_usd)
            if worst > 1:
                break
    return worst


def _run_held(stage: Stage, settings: Settings, models: Models, options: RunOptions) -> int:
    """Run a stage whose directory this process has locked."""
    store, selection = stage.writes.store, options.selection
    if stage.refresh:
        selection = replace(selection, refresh=True)
    if selection.limit:
        selection = replace(selection, limit=ceil(stage.per_limit * selection.limit) or None)
    states = States(stage.name, stage.reads, stage.writes, settings.exclude,
                    digest(stage.identity), stage.also_reads, selection)
    if options.compact:
        return _compact(stage.label, store.open().directories)
    plan = states.plan()
    if options.status and hand_over(lambda: status_of(stage, plan, options)):
        return 0
    print_plan(stage, plan, models, options)
    if options.read_only:
        print_costs(stage, states, plan, models, options)
        for line in stage.prune(stage.writes.store, selection, True) if options.prune else ():
            say(line)
        return 0
    if options.prune:
        _prune(stage, plan, selection)
        return 1 if plan.broken else 0
    if plan.asks:
        models.check()
        stage.planned({item.name for item in plan.todo})
    with closing(_engine_of(stage, plan, settings, models, options)) as engine:
        bar = Bar(stage.label, len(plan.todo), options.quiet)
        run = StageRun(stage, states, plan, models, engine, bar)
        return print_summary(run, models, options, run.run(lambda: at_once(run)))


def _engine_of(stage: Stage, plan: Plan, settings: Settings, models: Models, options: RunOptions
               ) -> Engine:
    """Return an engine for a stage, after removing the leftovers of killed runs."""
    if options.engine == "threads" or stage.is_local or not plan.todo:
        if plan.todo and not stage.is_local:
            options.before_work()
        return Engine(settings.llm.workers, lambda log, step, inputs: stage.make(*inputs),
                      stage.close)
    from codedata.cluster.ray_engine import RayEngine  # needs the optional dependency Ray
    fills_cluster = (options.host and options.ray_address and not stage.waits
                     and "llm.workers" not in settings.given)
    return RayEngine(stage, settings, models.stop, options.host, options.ray_address,
                     0 if fills_cluster else settings.llm.workers)


def _prune(stage: Stage, plan: Plan, selection: Selection) -> None:
    """Move records without an input to _replaced/, and prune others as the stage defines."""
    out, orphans = stage.writes.store, plan.names["orphan"]
    if orphans and not stage.reads.store.names():
        raise Trouble(f"has nothing in it, so all {len(orphans)} records would be orphans.",
                      str(out.root / stage.reads.store.place),
                      "Not pruned: check --root, or delete them yourself.")
    for name in orphans:
        out.set_aside(name)
        out.note(name, stage=stage.name, state="pruned")
        out.remove(name)
    say(f"{stage.label}  moved {plural(len(orphans), 'orphan')} to _replaced/")
    for line in (*stage.prune(out, selection, False), *stage.finish()):
        say(line)


def check_root(root: Path, first: str = "prompt.py") -> None:
    """Raise Trouble if the root does not exist; `first` is the script that creates it."""
    if not root.is_dir():
        raise Trouble("is not there.", str(root), f"Check --root; {first} makes a new one.")


@contextmanager
def whole_run(name: str, directory: Path, options: RunOptions, *, refuses: tuple[str, ...],
              ledgers: Iterable[Path] = (), counts: Callable[[], dict[str, int]] | None = None
              ) -> Iterator[bool]:
    """Within the block, lock the directory of a stage that has no items of its own. Yield whether
    the block should do the stage's work: False if status.py only counts, or with --compact.

    `refuses` lists flags that make no sense here: raise Trouble if one is given. `ledgers` lists
    the directories whose ledgers --compact shortens. counts() returns the number of outputs by
    state, for status.py; by default all outputs in the directory are done.
    """
    def status() -> StageStatus:
        n = counts() if counts else {"done": len([*directory.glob("[!_.]*")])}
        return StageStatus(name, f"{directory.name}/", n, n.get("missing", 0))

    if given := [flag for flag in options.given if flag in refuses]:
        flags = ", ".join("--" + flag.replace("_", "-") for flag in given)
        raise Trouble(f"{flags} does not go with {name}.py, which treats all items at once.")
    options.refuse_cluster("works only in this process")
    check_directories([directory])
    if options.status and hand_over(status):
        yield False
        return
    with hold_directories(f"{name}.py", [directory], options):
        for ledger in ledgers if options.compact else ():
            _compact(name, [ledger])
        yield not options.compact


def _compact(label: str, directories: list[Path]) -> int:
    before, after = compact(directories)
    names = ", ".join(f"{directory.name}/{LEDGER}" for directory in directories)
    say(f"{label}  {names}: {before} lines → {after}")
    return 0


@contextmanager
def hold_directories(script: str, holds: Iterable[Held], options: RunOptions) -> Iterator[None]:
    """Lock directories, or a shard of each, for this process; a read-only run needs no lock.

    Remove the half-written files of killed processes, unless other shards may be running. With
    --budget, lock the whole root, or its shard, against other runs with a budget: each process
    counts its own spending.
    """
    shard = options.selection.shard
    if options.compact and (options.read_only or shard):
        raise Trouble("--compact allows no --status, --dry-run or --shard.")
    places = []   # (directory to lock, kind of items to lock in it, or "" for all)
    for one in holds:
        of, kind = one if isinstance(one, tuple) else (one, "")
        places.append((of if isinstance(of, Path) else options.root / of.directory, kind))
    with ExitStack() as held:
        if not options.read_only:
            for directory, kind in places:
                kind = "" if options.compact else kind
                held.enter_context(lock(directory, shard, script, kind))
            if options.budget_usd is not None:
                held.enter_context(lock(own_folder(options.root, "_budget"), shard,
                                        f"{script} --budget"))
            for directory, kind in places if not shard else ():
                clear_up(directory, kind)
                if not kind:
                    remove_half_written(shards_of(directory))
        yield
