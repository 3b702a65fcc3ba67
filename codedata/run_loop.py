"""The run loop that every script shares: flags, plan, workers, signals, summary, exit code.

A script gives run() an item function and says what it reads and writes; which items are to do is said by states.py.
"""
from __future__ import annotations

import argparse
import gc
import logging
import os
import re
import shlex
import signal
import sys
import threading
import time
import traceback
from collections import Counter
from contextlib import ExitStack, contextmanager
from dataclasses import fields, replace
from pathlib import Path

from codedata import ledger
from codedata.config import SECTIONS, Settings
from codedata.errors import (
    BrokenRecord,
    Excluded,
    Interrupted,
    ItemFailed,
    RunStopped,
    Trouble,
    start_thread,
)
from codedata.llm.calls import Calls, counting
from codedata.llm.client import Models
from codedata.llm.embedded import NOISE
from codedata.progress import Bar, RunTotals, money, named, plural, say, usd
from codedata.states import Item, Plan, Reads, States, Writes
from codedata.store import digest, lock, natural, remove_half_written, shards_of
from codedata.texts import printable, terminal_safe

# flags ---------------------------------------------------------------------------------------------------------------

def parser(doc: str, *sections: str) -> argparse.ArgumentParser:
    """Return a parser with the flags of every script. `sections`: those of chain.toml that its own flags set."""
    p = _Parser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.set_defaults(sections=sections, own_flags=[f.name for name in sections for f in fields(SECTIONS[name])])
    add = p.add_argument_group("flags of every script").add_argument
    add("--root", "--output-root", "--output", default=".", metavar="DIR", help="the run's directory (default: here)")
    add("--config", metavar="FILE", help="settings, instead of chain.toml in --root or here")
    add("--only", metavar="GLOB", help="only items whose name or instance id matches")
    add("--limit", type=positive, metavar="N", help="at most N items, in order")
    add("--force", action="store_true", help="make again, edited ones too; the old go to _replaced/")
    add("--refresh", action="store_true", help="also make again what was made with other settings")
    add("--no-retry", action="store_true", help="leave failed items alone")
    add("--prune", action="store_true", help="move orphans to _replaced/, and end")
    add("--status", action="store_true", help="print the counts and do nothing")
    add("--dry-run", action="store_true", help="print the counts and the calls, tokens and cost to come")
    add("--show-config", action="store_true", help="print each setting and where it came from")
    add("--compact", action="store_true", help="shorten the ledger to the newest line of each item, and end")
    add("--workers", type=positive, metavar="N", help="items under way at the same time")
    add("--shard", type=_shard, metavar="I/N", help="only the items of shard I (from 0) of N")
    add("--engine", choices=["threads"], default="threads", help="where items run")
    add("--llm", metavar="NAME", help="an endpoint of chain.toml, or `embedded`: a small model on this machine")
    add("--model", metavar="NAME", help="the model to ask")
    add("--llm-base-url", metavar="URL", help="an OpenAI-compatible endpoint")
    add("--llm-auth-token", metavar="KEY", help="its key (better in .env: see README)")
    add("--proxy", metavar="URL", help="a proxy for calls and downloads")
    add("--budget", type=_usd, metavar="USD", help="the most to spend under this root, over all runs")
    add("--log-level", default="warning", choices=["debug", "info", "warning", "error"], help="of what goes to stderr")
    add("--quiet", action="store_true", help="no plan, bar or summary; errors only")
    return p


class _Parser(argparse.ArgumentParser):
    def _print_message(self, message, file=None):
        super()._print_message(terminal_safe(message), file)


def sandbox_flags(p: argparse.ArgumentParser) -> None:
    """Add the flags of scripts that run commands in sandboxes; they set [sandbox]."""
    add = p.add_argument_group("flags of every script with sandboxes").add_argument
    add("--sandbox", choices=["docker", "kubernetes", "local"], help="where commands run (default: docker)")
    add("--base-image", metavar="NAME", help="of a sandbox (default: codedata-base:bookworm)")
    add("--cpu-request", type=float, metavar="N", help="cores of a sandbox (default: 2)")
    add("--memory-request", metavar="SIZE", help="its memory (default: 5Gi)")
    add("--disk-limit", metavar="SIZE", help="the most it may write (default: 10GB)")
    add("--disk-floor", metavar="SIZE", help="new work waits while less is free (default: 10GB)")
    add("--run-timeout", type=positive, metavar="S", help="seconds of one install or test script (default: 1800)")
    add("--namespace", metavar="NAME", help="of Kubernetes (default: data-synthesis)")
    add("--pod-prefix", metavar="NAME", help="of the pods' names (default: code-data-env-agent)")
    add("--kubeconfig", metavar="FILE", help="of Kubernetes (default: as kubectl finds it)")
    add("--ca-bundle", metavar="FILE", help="PEM file of further certificate authorities, for sandboxes too")
    add("--keep-images", action="store_true", help="keep those of failed attempts till the next start")
    add("--reap", action="store_true", help="remove what killed runs have left, and end")


def positive(text: str) -> int:
    """Return a flag as a whole number of 1 or more."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError("must be a whole number, 1 or more")
    return int(text)


def _usd(text: str) -> float:
    try:
        amount = float(text)
    except ValueError:
        amount = 0.0
    if not 0 < amount < float("inf"):
        raise argparse.ArgumentTypeError("must be USD, more than 0")
    return amount


def _shard(text: str) -> tuple[int, int]:
    i, _, n = text.partition("/")
    if not (i.isdecimal() and n.isdecimal() and int(i) < int(n)):
        raise argparse.ArgumentTypeError("must be I/N with I from 0 to N - 1, such as 0/4")
    return int(i), int(n)


def main(run_script) -> None:
    """Run a script's main(): Trouble is printed without a traceback, and its exit code returned to the shell."""
    sys.excepthook = lambda *error: say("".join(traceback.format_exception(*error)))
    signal.signal(signal.SIGTERM, signal.default_int_handler)   # before the run loop it is like Ctrl-C
    try:
        code = run_script()
    except Trouble as e:
        say(f"{Path(sys.argv[0]).name}: {e}")
        code = e.exit_code
    except OSError as e:   # a file of the user's that cannot be opened, wherever that comes up
        say(f"{Path(sys.argv[0]).name}: {printable(str(e.filename or ''))} cannot be used: {e.strerror or e}.")
        code = 2
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)


# the run -------------------------------------------------------------------------------------------------------------

def run(stage: str, args, settings: Settings, models: Models, make, *, reads: Reads, writes: Writes,
        joined: Reads | None = None, identity: dict | None = None, requests=None, bound: str = "", finish=None,
        after: str = "", then: str = "") -> int:
    """Make what is missing, stale or failed; returns the exit code.

    make(record) or make(record, joined record) returns a record, of which the `writes` fields are put on disk.
    `joined` is read by the item's instance_id; an item without it is excluded. `identity` is what else the output
    depends on (model, temperature, prompt text): its digest is noted, and a change of it makes nothing stale.
    Where the output has `parts`, both are also given `name` and `old`. requests(record, …) gives (client, messages) of
    the calls that make() would send, for --dry-run; where nobody knows them before, `bound` says how many they can be.
    finish() is called when no more is written, and returns what is to be said. `after` and `then` are the scripts
    before and behind this one.
    """
    start_log(args.log_level)
    if not settings.root.is_dir():
        first = "prompt" if after else stage
        raise Trouble("is not there.", str(settings.root), f"Check --root; {first}.py makes a new one.")
    states = States(stage, args, settings.exclude, reads, writes, joined, digest(identity or {}))
    job = _Job(states, settings, models, make, finish)
    with hold_directory(stage, settings.root / writes.store.cls.directory, args):
        if args.compact:
            return compact(stage, writes.store.open().directories)
        plan = states.plan()
        job.say_plan(plan, after)
        if args.status or args.dry_run:
            job.say_money(plan, requests, bound)
            return 0
        if args.prune:
            job.prune(plan)
            return 1 if plan.broken else 0
        if any(not item.no_call for item in plan.todo):
            models.check()
        return job.run(plan, then)


class _Job:
    """One run of a stage: the workers and what they have come to."""

    def __init__(self, states: States, settings: Settings, models: Models, make, finish):
        self.states, self.stage, self.args, self.settings = states, states.stage, states.args, settings
        self.reads, self.writes, self.joined = states.reads, states.writes, states.joined
        self.models, self.make, self.finish = models, make, finish
        self.later: list[Item] = []    # of outputs in parts: what lacks one after its first attempt
        self.last_attempt = states.writes.parts is None
        self.outcome, self.reason, self.interrupted = RunTotals(), None, False
        self.under_way: dict[str, Calls | None] = {}   # by item
        self._lock = threading.Lock()
        self._at_disk = threading.Semaphore(8)   # hundreds of threads writing at once only wait for each other

    def print_plan(self, plan: Plan, after: str) -> None:
        """Print what is there and what is to do, and every broken record with its fault."""
        for e in plan.broken.values():
            say(f"{self.stage}.py: {e}")
        if self.args.quiet and not (self.args.status or self.args.dry_run):
            return
        out = self.writes.store
        n = sum(len(names) for state, names in plan.names.items() if state != "orphan")
        say(f"{self.stage}  {plan.line(self.reads.place, n, f'{out.into.relative_to(out.root)}/')}")
        for spec in [c.spec for c in self.models.clients() if any(not item.no_call for item in plan.todo)]:
            name = f"{spec.role} ({spec.model})" if spec.is_judge and spec.role != spec.model else (
                spec.model)
            what_for = " for leaks" if spec.is_leak_judge else ""
            place = printable(spec.endpoint.base_url, 500) or "this machine"
            say(f"      asks {printable(name, 200)} at {place}{what_for}")
        for state in ("edited", "orphan"):
            if names := plan.names[state]:
                say(f"      {state}: {named(names)}")
        rules = Counter(plan.why[name] for name in plan.names["excluded"] + plan.names["waiting"])
        for rule, k in rules.most_common(5):
            say(f"      left out: {k} ({rule.partition(chr(10))[0][:160]})")
        if not n and not plan.broken:
            hint = f" that matches {self.args.only}" if self.args.only else f": run {after} first" if after else ""
            say(f"      {self.reads.place} has nothing{hint}")

    def print_costs(self, plan: Plan, requests, bound: str) -> None:
        """Print what this directory has cost; with --dry-run the calls to come, with answers of at most max_tokens."""
        ledger = self.writes.store.ledger
        if ledger.n_calls:
            say(f"      so far {plural(ledger.n_calls, 'call')}, {money(ledger.cost_usd, ledger.n_unpriced, ledger.n_calls)}")
        if any(c.spec.endpoint.name == "embedded" for c in self.models.clients()):
            say(f"      {NOISE}")
        if not self.args.dry_run:
            return
        if bound:
            say(f"{self.stage}  to come: {bound}")
            return
        if plan.todo and any(c.spec.endpoint.name == "embedded" for c in self.models.clients()):
            self.models.check()   # its tokens are counted by itself
        n_calls = tokens_in = tokens_out = n_unpriced = n_unfit = 0
        cost = 0.0
        for item in plan.todo:
            if item.no_call or requests is None:
                continue
            try:
                record = self.reads.store.read(item.name)
                others = [self.joined.store.read(record.instance_id)] if self.joined else []
                calls = list(requests(record, *others, **self._old(item)))
            except (ItemFailed, BrokenRecord):
                n_unfit += 1
                continue
            n_unfit += any(messages is None for _, messages in calls)
            for client, messages in calls:
                if messages is None:
                    continue
                tokens, most = client.estimate(messages)
                n_calls, tokens_in, tokens_out = n_calls + 1, tokens_in + tokens, tokens_out + client.spec.max_tokens
                cost, n_unpriced = cost + (most or 0.0), n_unpriced + (most is None)
        say(f"{self.stage}  to come: {plural(n_calls, 'call')} (more where an answer has to be asked for again), about "
            f"{tokens_in:,} tokens in, at most {tokens_out:,} out, "
            f"{'cost unknown (no price)' if n_unpriced else f'at most {usd(cost)}'}"
            + (f"; {plural(n_unfit, 'item')} will fail: too long, or broken" if n_unfit else ""))

    def prune(self, plan: Plan) -> None:
        """Move the records whose input is gone to _replaced/."""
        out, orphans = self.writes.store, plan.names["orphan"]
        if orphans and not self.reads.store.names():
            raise Trouble(f"has nothing in it, so all {len(orphans)} records would be orphans.",
                          str(self.settings.root / self.reads.place),
                          "Not pruned: check --root, or delete them yourself.")
        for name in orphans:
            out.set_aside(name)
            out.note(name, stage=self.stage, state="pruned")
            out.remove(name)
        say(f"{self.stage}  moved {plural(len(orphans), 'orphan')} to _replaced/")
        for line in self.finish() if self.finish else []:
            say(line)

    def run(self, plan: Plan, then: str) -> int:
        """Make every item of the plan; return the exit code."""
        for name, read, intent in plan.adopted:
            self._adopt(name, read, intent)
        gc.freeze()   # the plan's objects stay to the end: no collection needs to look at them
        bar = Bar(self.stage, len(plan.todo), self.args.quiet)
        with signals(self.stage, self._interrupt, bar.say):
            try:
                self._round(plan.todo, bar)
                if not self.last_attempt:
                    self.last_attempt = True
                    self._round(sorted(self.later, key=lambda item: natural(item.name)), bar)
            finally:
                bar.close()
                gc.unfreeze()
            try:
                told = self.finish() if self.finish else []
            except Trouble as e:
                told = []
                self._stop(e)
        return self._summary(plan, then, told)

    def _round(self, todo: list[Item], bar: Bar) -> None:
        """Make every item of `todo` once, as many at a time as there are workers."""
        items, n_workers = iter(todo), min(self.settings.llm.workers, len(todo))

        def work():
            while not self.models.stop.is_set():
                with self._lock:
                    item = next(items, None)
                    if item is None:
                        return
                    self.under_way[item.name] = None
                try:
                    self._one(item, bar)
                finally:
                    with self._lock:
                        del self.under_way[item.name]

        threads = []
        try:
            for _ in range(n_workers):
                threads.append(start_thread(work))
        except RunStopped as e:   # those that did start finish what is in flight
            self._stop(e)
        for thread in threads:
            while thread.is_alive():
                thread.join(0.1)
                with self._lock:
                    doing = {name: calls.doing for name, calls in self.under_way.items() if calls and calls.doing}
                    n_under_way = len(self.under_way)
                bar.update(self.outcome, n_under_way, doing)

    def _one(self, item: Item, bar: Bar) -> None:
        """One item: its failure is a ledger line, and the others go on."""
        started, calls = time.monotonic(), None
        try:
            calls = self.states.calls(item.name, item.state)
            self.under_way[item.name] = calls
            with counting(calls):
                self._make(item, calls, started)
        except BrokenRecord as e:
            with self._lock:
                self.outcome.broken[item.name] = str(e)
            bar.say(f"{self.stage}.py: {e}")
        except ItemFailed as e:
            self._fail(item, calls, started, e)
        except Excluded as e:
            self._exclude(item, calls, started, e)
        except Trouble as e:   # RunStopped, and what no other item would be spared
            self._stop(e)
        except Exception as e:   # a bug of ours: its traceback is welcome, the other items go on
            bar.say(traceback.format_exc())
            self._fail(item, calls, started, Trouble(f"{type(e).__name__}: {e}"))

    def _make(self, item: Item, calls: Calls, started: float) -> None:
        store, own = self.writes.store, self.writes.fields
        record = self.reads.store.read(item.name)
        others = [self.joined.store.read(record.instance_id)] if self.joined else []
        read = self.states.read_digest(_some_digests(record, self.reads.fields),
                                       _some_digests(others[0], self.joined.fields) if others else {})
        parts = self.writes.parts
        if item.no_call and not parts:
            made = replace(store.read(item.name), **{f: getattr(record, f) for f in self.writes.copies})
        else:
            made = self.make(record, *others, **self._old(item))
        if self.args.force and item.state != "incomplete" and item.name in store:
            store.set_aside(item.name)
        old = store.ledger.made.get((self.stage, item.name))
        settings = old.settings if item.no_call and old else self.states.settings
        in_parts = {"parts": parts.of(made), "view": parts.view} if parts else {}
        with self._at_disk:
            def about_to_write(wrote):
                calls.about_to_write({"read": read, "wrote": wrote, "settings": settings, **in_parts})

            known, found = store.put(item.name, made, own, keep_edits=not self.args.force or item.state == "incomplete",
                                     about_to_write=about_to_write if old else None)
            self._book(item.name, known, found, read, settings, calls, "done", time.monotonic() - started, in_parts)
        if self.writes.fault and (fault := self.writes.fault(made)):
            item.was = ""
            if parts:
                item.state, item.same_inputs = "incomplete", True
                if not self.last_attempt:
                    with self._lock:
                        self.later.append(item)
                    return
            raise ItemFailed(fault)
        with self._lock:
            self.outcome.refreshed += item.no_call
            self.outcome.wrote += not item.no_call

    def _old(self, item: Item) -> dict:
        """Return what the item function of an output in parts, or of one that grows, is given beside the records."""
        store = self.writes.store
        if self.writes.appends:
            return {"old": store.read(item.name) if item.name in store else None}
        if not self.writes.parts:
            return {}
        goes_on = item.name in store and item.same_inputs and not (
            item.state != "incomplete" and (self.args.force or item.state == "forced"))
        return {"name": item.name, "old": store.read(item.name) if goes_on else None}

    def _book(self, name, known, found, read, settings, calls, state, seconds, in_parts) -> None:
        paid = calls.to_count()
        self.writes.store.note(
            name, stage=self.stage, state=state, instance_id=known.instance_id, read=read, found=found,
            wrote={f: known.digests[f] for f in self.writes.fields if f in known.digests}, size=known.size,
            mtime_ns=known.mtime_ns, settings=settings, calls=paid, cost_usd=_sum(paid), seconds=round(seconds, 3),
            cut="; ".join(calls.cuts), **calls.notes, **in_parts)
        calls.finish(made=True)
        self._count(paid, calls)

    def _adopt(self, name: str, read: str, intent: dict) -> None:
        store = self.writes.store
        known, calls = store.facts(name), self.states.calls(name)
        found = store.found(name, known.digests, self.writes.fields)
        in_parts = {key: intent[key] for key in ("parts", "view") if key in intent}
        if (parts := self.writes.parts) and not in_parts:   # put there by hand, or the ledger is gone
            record = store.read(name)
            in_parts = {"parts": parts.of(record), "view": parts.view if parts.fits(record) else ""}
        self._book(name, known, found, read, intent.get("settings", ""), calls, "adopted", 0.0, in_parts)

    def _fail(self, item: Item, calls: Calls | None, started: float, error: Trouble) -> None:
        """Write the failed attempt's ledger line. What was made before from the same inputs still counts (`still`)."""
        paid = calls.to_count() if calls else []
        try:
            self.writes.store.note(
                item.name, stage=self.stage, state="failed",
                still=item.was if item.was in ("done", "adopted", "edited") else "",
                instance_id=item.instance_id, calls=paid, cost_usd=_sum(paid), settings=self.states.settings,
                seconds=round(time.monotonic() - started, 3), cut="; ".join(calls.cuts) if calls else "",
                error=str(error).replace("\n ", ""))
            if calls:
                calls.finish(made=False)
        except RunStopped as e:
            self._stop(e)
        with self._lock:
            if self.last_attempt:
                self.outcome.failed[item.name] = error
            else:
                self.later.append(item)
        if calls:
            self._count(paid, calls)
        if getattr(self.args, "stop_on_error", False):
            self._stop(RunStopped(f"{item.name} failed, and --stop-on-error was given.", todo="Run again to go on."))

    def _exclude(self, item: Item, calls: Calls, started: float, rule: Excluded) -> None:
        """Write the ledger line of an item that its item function leaves out."""
        paid = calls.to_count()
        record = self.reads.store.facts(item.name)
        self.writes.store.note(
            item.name, stage=self.stage, state="excluded", instance_id=item.instance_id, error=rule.what,
            read=self.states.read_of(record), calls=paid, cost_usd=_sum(paid), settings=self.states.settings,
            seconds=round(time.monotonic() - started, 3))
        calls.finish(made=True)
        with self._lock:
            self.outcome.excluded += 1
        self._count(paid, calls)

    def _stop(self, reason: Trouble) -> None:
        """No new calls. The first reason is the one that is told; being interrupted is none of its own."""
        with self._lock:
            if self.reason is None or isinstance(self.reason, Interrupted):
                self.reason = reason
        self.models.stop.set()

    def _interrupt(self) -> None:
        self.interrupted = True
        self._stop(Interrupted())

    def _count(self, paid: list[dict], calls: Calls) -> None:
        with self._lock:
            self.outcome.add_calls(paid)
            self.outcome.served += calls.served
            self.outcome.cut += bool(calls.cuts)
            self.outcome.asked_again += "asked_again" in calls.notes
            self.outcome.again_calls += calls.notes.get("asked_again", 0)

    def _summary(self, plan: Plan, then: str, told: list[str]) -> int:
        out, reason, args = self.outcome, self.reason, self.args
        n_left = len(plan.todo) - out.finished
        if reason is not None and not isinstance(reason, Interrupted):
            say(f"{self.stage}.py: {reason}")
        parts = [f"wrote {out.wrote}"] if plan.todo else ["nothing to do"]
        parts += [f"brought {out.refreshed} up to date without a call"] if out.refreshed else []
        parts += [f"{plural(out.served, 'answer')} kept from an earlier run"] if out.served else []
        parts += [f"{plural(out.cut, 'request')} cut to fit"] if out.cut else []
        parts += [f"asked again {out.asked_again} ({plural(out.again_calls, 'call')})"] if out.asked_again else []
        parts += [f"left out {out.excluded} by a rule"] if out.excluded else []
        parts += [f"left {n_left}"] if n_left else []
        failed = sorted(out.failed.items(), key=lambda kv: natural(kv[0]))
        reasons = {e.what.partition("\n")[0][:120] for _, e in failed}
        why = f"{named([name for name, _ in failed])} ({reasons.pop()})" if len(reasons) == 1 else named(
            [f"{name} ({e.what.partition(chr(10))[0][:120]})" for name, e in failed])
        parts += [f"failed {len(failed)}: {why}"] if failed else []
        if not args.quiet or failed:
            say(f"{self.stage}  {', '.join(parts)}" + (f"   {out.money()}" if out.calls else ""))
            for todo in list(dict.fromkeys(e.todo for _, e in failed if e.todo))[:2]:
                say(f"      {todo}")
        if not args.quiet:
            for line in told:
                say(line)
            if out.calls and not any(NOISE in line for line in told) and any(
                    c.spec.endpoint.name == "embedded" for c in self.models.clients()):
                say(f"      {NOISE}")
            if n_left or failed or out.broken or plan.broken:
                if self.writes.parts and not n_left:   # with --force it would ask for everything again
                    args = argparse.Namespace(**{**vars(args), "force": False})
                say(f"      again: {resume_command(args, f'{self.stage}.py', same=True)}")
            elif plan.limited:
                say(f"      {plural(plan.limited, 'more item')} to do: {resume_command(args, f'{self.stage}.py')}")
            if then and reason is None and self.writes.store.names():
                say(f"      next:  {resume_command(args, then)}")
        if self.interrupted:
            return 130
        if reason is not None:
            return reason.exit_code
        return 1 if n_left or failed or out.broken or plan.broken else 0


# helpers -------------------------------------------------------------------------------------------------------------

def resume_command(args, script: str, same: bool = False) -> str:
    """Return the command that goes on with this root, without a key. `same` repeats what narrowed this run."""
    exe = os.path.relpath(sys.executable) if sys.prefix != sys.base_prefix else "python"
    words = [exe if not exe.startswith("..") else "python", *script.split()]
    flags = ["root", "config", "mode", "workers", "llm", "model", "llm_base_url", "proxy", "budget"]
    narrowed = ["only", "limit", "force", "refresh", "no_retry", "probe", "sanity", "refine", "defeat", "how",
                "input", "repo", "ca_bundle", "keep_images", "stop_on_error"]
    own = [*narrowed, *(f for f in args.own_flags if f not in flags)] if same else []
    for flag in [*flags, *own]:
        value = getattr(args, flag, None)
        has_password = "@" in str(value) and (flag != "repo" or re.search("://[^/]*@", str(value)))
        if value and not (flag == "root" and value == ".") and not has_password:
            words += ["--" + flag.replace("_", "-"), *([] if value is True else [f"{value:g}" if flag == "budget"
                                                                                 else str(value)])]
    if args.shard and script != "report.py":   # which is of all shards
        words += ["--shard", f"{args.shard[0]}/{args.shard[1]}"]
    return shlex.join(words)


@contextmanager
def hold_directory(stage: str, directory: Path, args):
    """Have the directory (or the shard of it) for this process; looking on (--status, --dry-run) needs no hold.

    What killed processes left half-written is removed when no shard can be at work. With --budget the whole root is
    held against other budgets, as each process counts what it spends itself.
    """
    read_only = args.status or args.dry_run
    if args.compact and (read_only or args.shard):
        raise Trouble("--compact goes alone: not with --status, --dry-run or --shard.")
    if args.budget and args.shard:
        raise Trouble("--budget does not go with --shard: n processes would each spend it.",
                      todo="Run without --shard, or give each part a root of its own.")
    with ExitStack() as held:
        if not read_only:
            held.enter_context(lock(directory, args.shard, f"{stage}.py"))
            if args.budget:
                held.enter_context(lock(Path(args.root) / "_budget", None, f"{stage}.py --budget"))
        if not read_only and not args.shard:
            remove_half_written(shards_of(directory))
        yield


def compact(stage: str, directories: list[Path]) -> int:
    """Shorten the ledgers of the directories, and say by how much."""
    before, after = ledger.compact(directories)
    say(f"{stage}  {', '.join(f'{d.name}/{ledger.LEDGER}' for d in directories)}: {before} lines → {after}")
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
        try:
            threading.Thread(target=wind_down).start()   # not here: what was interrupted may hold a lock or be printing
        except RuntimeError:   # no further thread
            second()

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
    """Return the cost of calls; None where a price is unknown."""
    costs = [call["cost_usd"] for call in calls]
    return None if None in costs else round(sum(costs), 8)


class _Formatter(logging.Formatter):
    def format(self, record):
        return terminal_safe(super().format(record))


def start_log(level: str) -> None:
    """Send log lines to stderr from a level on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=level.upper(), handlers=[handler])
    logging.getLogger("urllib3").setLevel(logging.WARNING)
