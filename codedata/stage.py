"""The run loop that every script shares: flags, plan, workers, signals, summary, exit code.

A script gives run() an item function and says what it reads and writes; which items are to do is said by resume.py.
"""
from __future__ import annotations

import argparse
import logging
import os
import shlex
import signal
import sys
import threading
import time
import traceback
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from codedata import ledger
from codedata.config import Settings
from codedata.errors import BrokenRecord, Interrupted, ItemFailed, RunStopped, Trouble
from codedata.ledger import PARTIAL
from codedata.llm.calls import Calls, counting
from codedata.llm.client import Models
from codedata.progress import Bar, Outcome, named, say
from codedata.resume import Item, Plan, Reads, States, Writes
from codedata.store import digest, lock, natural

# flags ---------------------------------------------------------------------------------------------------------------

def parser(doc: str, section: str = "") -> argparse.ArgumentParser:
    """The flags that mean the same everywhere. `section`: where a script's own flags stand in chain.toml."""
    p = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.set_defaults(section=section)
    add = p.add_argument_group("flags of every script").add_argument
    add("--root", "--output-root", "--output", default=".", metavar="DIR", help="the run's directory (default: here)")
    add("--config", metavar="FILE", help="settings, instead of chain.toml in --root or here")
    add("--only", metavar="GLOB", help="only items whose name or instance id matches")
    add("--limit", type=_positive, metavar="N", help="at most N items, in order")
    add("--force", action="store_true", help="make again, edited ones too; the old go to _replaced/")
    add("--refresh", action="store_true", help="also make again what was made with other settings")
    add("--no-retry", action="store_true", help="leave failed items alone")
    add("--prune", action="store_true", help="move orphans to _replaced/")
    add("--status", action="store_true", help="print the counts and do nothing")
    add("--dry-run", action="store_true", help="print the counts and the calls, tokens and cost to come")
    add("--show-config", action="store_true", help="print each setting and where it came from")
    add("--compact", action="store_true", help="shorten the ledger to the newest line of each item, and end")
    add("--workers", type=_positive, metavar="N", help="items under way at the same time")
    add("--shard", type=_shard, metavar="I/N", help="only the items of shard I (from 0) of N")
    add("--engine", choices=["threads"], default="threads", help="where items run")
    add("--llm", metavar="NAME", help="an endpoint of chain.toml, or `embedded`: a small model on this machine")
    add("--model", metavar="NAME", help="the model to ask")
    add("--llm-base-url", metavar="URL", help="an OpenAI-compatible endpoint")
    add("--llm-auth-token", metavar="KEY", help="its key (better: QIANFAN_BEARER_TOKEN in .env)")
    add("--proxy", metavar="URL", help="a proxy for calls and downloads")
    add("--budget", type=_usd, metavar="USD", help="the most to spend under this root, over all runs")
    add("--log-level", default="warning", choices=["debug", "info", "warning", "error"], help="of what goes to stderr")
    add("--quiet", action="store_true", help="no plan, bar or summary; errors only")
    return p


def _positive(text: str) -> int:
    if (n := int(text)) < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return n


def _usd(text: str) -> float:
    if not (usd := float(text)) > 0:
        raise argparse.ArgumentTypeError("must be more than 0")
    return usd


def _shard(text: str) -> tuple[int, int]:
    i, _, n = text.partition("/")
    if not (i.isdecimal() and n.isdecimal() and int(i) < int(n)):
        raise argparse.ArgumentTypeError("must be I/N with I from 0 to N - 1, such as 0/4")
    return int(i), int(n)


def main(run_script) -> None:
    """Run a script's main(): Trouble is printed without a traceback, and its exit code returned to the shell."""
    try:
        code = run_script()
    except Trouble as e:
        say(f"{Path(sys.argv[0]).name}: {e}")
        code = e.exit_code
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)


# the run -------------------------------------------------------------------------------------------------------------

def run(stage: str, args, settings: Settings, models: Models, make, *, reads: Reads, writes: Writes,
        joined: Reads | None = None, identity: dict | None = None, requests=None, then: str = "") -> int:
    """Make what is missing, stale or failed; returns the exit code.

    make(record) or make(record, joined record) returns a record, of which the `writes` fields are put on disk.
    `joined` is read by the item's instance_id; an item without it is excluded. `identity` is what else the output
    depends on (model, temperature, prompt text): its digest is noted, and a change of it makes nothing stale.
    requests(record, …) gives the message lists that make() would send, for --dry-run.
    """
    _start_log(args.log_level)
    if not settings.root.is_dir():
        raise Trouble("is not there.", str(settings.root), "Check --root; prompt.py makes a new one.")
    states = States(stage, args, settings.exclude, reads, writes, joined, digest(identity or {}))
    job = _Job(states, settings, models, make)
    held = None
    if not (args.status or args.dry_run):
        held = hold(stage, settings.root / writes.store.cls.directory, args.shard)
    try:
        if args.compact:
            return compact(stage, writes.store.open().ledgers.values())
        plan = states.plan()
        quiet = args.quiet and not (args.status or args.dry_run)
        for e in plan.broken.values():
            say(f"{stage}.py: {e}")
        if not quiet:
            say(f"{stage}  " + plan.line(f"{reads.store.cls.directory}/", sum(len(v) for s, v in plan.names.items()
                                         if s != "orphan"), f"{writes.store.into.name}/"))
            _say_why(stage, plan)
        if args.status:
            return 0
        if args.dry_run:
            return _dry_run(stage, job, plan, requests)
        if args.prune:
            job.prune(plan)
        if plan.todo and any(not item.only_copies for item in plan.todo):
            models.check()
        return job.run(plan, then)
    finally:
        if held:
            held.close()


class _Job:
    """One run of a stage: the workers and what they have come to."""

    def __init__(self, states: States, settings: Settings, models: Models, make):
        self.states, self.stage, self.args, self.settings = states, states.stage, states.args, settings
        self.reads, self.writes, self.joined = states.reads, states.writes, states.joined
        self.models, self.make = models, make
        self.outcome, self.reason, self.under_way = Outcome(), None, 0
        self._lock = threading.Lock()

    def prune(self, plan: Plan) -> None:
        out, orphans = self.writes.store, plan.names["orphan"]
        if orphans and not self.reads.store.names():
            raise Trouble(f"has nothing in it, so all {len(orphans)} records would be orphans.",
                          str(self.settings.root / self.reads.store.cls.directory),
                          "Not pruned: check --root, or delete them yourself.")
        for name in orphans:
            book = out.ledger(name)
            out.set_aside(name)
            out.remove(name)
            book.append(stage=self.stage, item=name, state="pruned")
        if orphans:
            say(f"{self.stage}  moved {len(orphans)} orphans to _replaced/")

    def run(self, plan: Plan, then: str) -> int:
        for name, read, intent in plan.adopted:
            self._adopt(name, read, intent)
        bar = Bar(self.stage, len(plan.todo), self.args.quiet)
        items, n_workers = iter(plan.todo), min(self.settings.llm.workers, len(plan.todo))

        def work():
            while not self.models.stop.is_set():
                with self._lock:
                    item = next(items, None)
                    self.under_way += item is not None
                if item is None:
                    return
                try:
                    self._one(item, bar)
                finally:
                    with self._lock:
                        self.under_way -= 1

        threads = [threading.Thread(target=work, daemon=True) for _ in range(n_workers)]
        with signals(self.stage, lambda: self._stop(Interrupted()), bar.say):
            try:
                for thread in threads:
                    thread.start()
                for thread in threads:
                    while thread.is_alive():
                        thread.join(0.1)
                        bar.update(self.outcome, self.under_way)
            finally:
                bar.close()
        return self._summary(plan, then)

    def _one(self, item: Item, bar: Bar) -> None:
        """One item: its failure is a ledger line, and the others go on."""
        started = time.monotonic()
        calls = self.states.calls(item.name)
        book = self.writes.store.ledger(item.name)
        try:
            with counting(calls):
                self._make(item, calls, book, started)
        except BrokenRecord as e:
            with self._lock:
                self.outcome.broken[item.name] = str(e)
            bar.say(f"{self.stage}.py: {e}")
        except ItemFailed as e:
            self._fail(item, calls, book, started, e)
        except Trouble as e:   # RunStopped, and what no other item would be spared
            self._stop(e)
        except Exception as e:   # a bug of ours: its traceback is welcome, the other items go on
            bar.say(traceback.format_exc())
            self._fail(item, calls, book, started, Trouble(f"{type(e).__name__}: {e}"))

    def _make(self, item: Item, calls: Calls, book, started: float) -> None:
        store, own = self.writes.store, self.writes.fields
        record = self.reads.store.read(item.name)
        others = [self.joined.store.read(record.instance_id)] if self.joined else []
        read = self.states.read_digest(_some_digests(record, self.reads.fields),
                                       _some_digests(others[0], self.joined.fields) if others else {})
        if item.only_copies:
            made = replace(store.read(item.name), **{f: getattr(record, f) for f in self.writes.copies})
        else:
            made = self.make(record, *others)
        if self.args.force and item.name in store:
            store.set_aside(item.name)
        old = store.made(self.stage, item.name)
        settings = old.settings if item.only_copies and old else self.states.settings
        known, found = store.put(item.name, made, own, keep_edits=not self.args.force,
                                 about_to_write=(lambda wrote: calls.about_to_write(
                                     {"read": read, "wrote": wrote, "settings": settings})) if old else None)
        self._book(book, item.name, known, found, read, settings, calls, "done", time.monotonic() - started)
        with self._lock:
            self.outcome.refreshed += item.only_copies
            self.outcome.wrote += not item.only_copies

    def _book(self, book, name, known, found, read, settings, calls, state, seconds) -> None:
        paid = list(calls.uncounted)
        book.append(stage=self.stage, item=name, state=state, instance_id=known.instance_id, read=read,
                    wrote={f: known.digests[f] for f in self.writes.fields if f in known.digests}, found=found,
                    size=known.size, mtime_ns=known.mtime_ns, settings=settings, calls=paid, cost_usd=_sum(paid),
                    seconds=round(seconds, 3), cut="; ".join(calls.cuts))
        calls.finish(made=True)
        self._count(paid, calls)

    def _adopt(self, name: str, read: str, intent: dict) -> None:
        store = self.writes.store
        known, calls = store.facts(name), self.states.calls(name)
        found = store.found(name, known.digests, self.writes.fields)
        self._book(store.ledger(name), name, known, found, read, intent.get("settings", ""), calls, "adopted", 0.0)

    def _fail(self, item: Item, calls: Calls, book, started: float, error: Trouble) -> None:
        paid = list(calls.uncounted)
        try:
            book.append(stage=self.stage, item=item.name, state="failed", instance_id=item.instance_id, calls=paid,
                        cost_usd=_sum(paid), seconds=round(time.monotonic() - started, 3), cut="; ".join(calls.cuts),
                        settings=self.states.settings, error=str(error).replace("\n ", ""))
            calls.finish(made=False)
        except RunStopped as e:
            self._stop(e)
        self._count(paid, calls)
        with self._lock:
            self.outcome.failed[item.name] = error.what

    def _stop(self, reason: Trouble) -> None:
        """No new calls. The first reason is the one that is told; being interrupted is none of its own."""
        with self._lock:
            if self.reason is None or isinstance(self.reason, Interrupted):
                self.reason = reason
        self.models.stop.set()

    def _count(self, paid: list[dict], calls: Calls) -> None:
        with self._lock:
            self.outcome.add_calls(paid)
            self.outcome.served += calls.served
            self.outcome.cut += bool(calls.cuts)

    def _summary(self, plan: Plan, then: str) -> int:
        out, reason, stage = self.outcome, self.reason, self.stage
        n_left = len(plan.todo) - out.finished
        quiet = self.args.quiet
        if reason is not None and not isinstance(reason, Interrupted):
            say(f"{stage}.py: {reason}")
        parts = [f"wrote {out.wrote}"] if plan.todo else ["nothing to do"]
        parts += [f"brought {out.refreshed} up to date without a call"] if out.refreshed else []
        parts += [f"{out.served} replies from an earlier run"] if out.served else []
        parts += [f"{out.cut} histories cut to fit"] if out.cut else []
        parts += [f"left {n_left}"] if n_left else []
        failed = named([f"{name} ({error.partition(chr(10))[0][:120]})" for name, error in
                        sorted(out.failed.items(), key=lambda kv: natural(kv[0]))])
        parts += [f"failed {len(out.failed)}: {failed}"] if failed else []
        if not quiet or out.failed:
            say(f"{stage}  {', '.join(parts)}" + (f"   {out.money()}" if out.calls else ""))
        unfinished = bool(n_left or out.failed or out.broken or plan.broken)
        if not quiet:
            if out.calls and any(c.speaker.endpoint.name == "embedded" for c in self.models.clients()):
                from codedata.llm.embedded import NOISE
                say(f"      {NOISE}")
            commands = [f"again: {again(self.args, f'{stage}.py')}"] if unfinished else []
            commands += [f"next: {again(self.args, then)}"] if then else []
            say("      " + "    ".join(commands)) if commands else None
        if reason is not None:
            return reason.exit_code
        return 1 if out.failed or out.broken or plan.broken else 0


# helpers -------------------------------------------------------------------------------------------------------------

def again(args, script: str) -> str:
    """The command that goes on with this root: what was given, less what was for once, and never a key."""
    words = ["python", script]
    for flag in ("root", "config", "workers", "llm", "model", "llm_base_url", "proxy", "budget"):
        value = getattr(args, flag, None)
        if value and not (flag == "root" and value == ".") and "@" not in str(value):   # a proxy's password
            words += ["--" + flag.replace("_", "-"), str(value)]
    if args.shard:
        words += ["--shard", f"{args.shard[0]}/{args.shard[1]}"]
    return shlex.join(words)


def _say_why(stage: str, plan: Plan) -> None:
    for state in ("edited", "orphan"):
        if names := plan.names[state]:
            say(f"      {state}: {named(names)}")
    rules: dict[str, int] = {}
    for name in plan.names["excluded"] + plan.names["waiting"]:
        rules[plan.why[name]] = rules.get(plan.why[name], 0) + 1
    for rule, n in list(rules.items())[:5]:
        say(f"      left out: {n} ({rule})")


def _dry_run(stage: str, job: _Job, plan: Plan, requests) -> int:
    """Print the calls, tokens and cost to come: prompts measured, answers at most max_tokens."""
    n_calls = tokens_in = tokens_out = n_unpriced = 0
    cost = 0.0
    for item in plan.todo:
        if item.only_copies or requests is None:
            continue
        record = job.reads.store.read(item.name)
        others = [job.joined.store.read(record.instance_id)] if job.joined else []
        for client, messages in requests(record, *others):
            tokens, most = client.estimate(messages)
            n_calls, tokens_in, tokens_out = n_calls + 1, tokens_in + tokens, tokens_out + client.speaker.max_tokens
            cost, n_unpriced = cost + (most or 0.0), n_unpriced + (most is None)
    price = "cost unknown (no price)" if n_unpriced else f"at most ${cost:.4f}"
    say(f"{stage}  to come: {n_calls} calls (more where an answer has to be asked for again), about {tokens_in:,} "
        f"tokens in, at most {tokens_out:,} out, {price}")
    return 0


def hold(stage: str, directory: Path, shard: tuple[int, int] | None):
    """Take the directory for this process; what a killed one left half-written is removed. Returns the open lock."""
    held = lock(directory, shard, f"{stage}.py")
    if shard is None:
        for left in (*directory.glob("_tmp.*"), *directory.glob(f"{PARTIAL}/_tmp.*")):
            left.unlink(missing_ok=True)
    return held


def compact(stage: str, ledgers) -> int:
    for book in ledgers:
        if book.path.exists():
            before, after = ledger.compact(book.path)
            say(f"{stage}  {book.path.parent.name}/{book.path.name}: {before} lines → {after}")
    return 0


@contextmanager
def signals(stage: str, stop, tell=say):
    """First SIGINT or SIGTERM: stop(), no new calls start, those in flight finish. A second one ends at once."""
    def wind_down():
        stop()
        tell(f"{stage}  stopping: what is in flight finishes and is kept (again: end at once)")

    def first(*_):
        for n in (signal.SIGINT, signal.SIGTERM):
            signal.signal(n, second)
        threading.Thread(target=wind_down).start()   # not here: what was interrupted may hold a lock or be printing

    def second(*_):
        os.write(2, b"\x1b[?25h\n" if os.isatty(2) else b"")   # the bar hides the cursor
        os._exit(130)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    old = {number: signal.signal(number, first) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


def _some_digests(record, names: tuple[str, ...]) -> dict[str, str]:
    return {f: digest(value) for f in names if (value := getattr(record, f)) is not None}


def _sum(calls: list[dict]) -> float | None:
    """None where a price is unknown."""
    costs = [call["cost_usd"] for call in calls]
    return None if None in costs else round(sum(costs), 8)


def _start_log(level: str) -> None:
    logging.basicConfig(stream=sys.stderr, level=level.upper(), format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("urllib3").setLevel(logging.WARNING)
