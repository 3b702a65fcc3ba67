"""Define the command line that all scripts share: flags, exit codes, and the next commands."""
from __future__ import annotations

import argparse
import logging
import os
import re
import shlex
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Mapping
from contextlib import redirect_stderr
from dataclasses import dataclass, fields, replace
from functools import cache, partial
from io import StringIO
from pathlib import Path
from typing import Any

from codedata import config
from codedata.errors import Trouble
from codedata.run.states import Selection
from codedata.settings import Settings
from codedata.terminal import (
    IS_INSTALLED,
    log,
    plural,
    program,
    runnable,
    say,
    work_in,
    write_out,
)
from codedata.texts import printable, terminal_safe

# flags to repeat in each suggested command, also in commands of other scripts
ALWAYS_REPEATED = ("root", "config", "mode", "workers", "engine", "ray_address", "llm", "model",
                   "llm_base_url", "proxy", "budget")
# flags that a suggested command never repeats, even for another run of the same script
NEVER_REPEATED = ("shard", "llm_auth_token", "status", "dry_run", "show_config", "compact", "prune",
                  "log_level", "quiet", "reap", "yes", "skip_existing",
                  "parallel", "continue_on_error")
SHARED = "flags of every script"   # --help hides groups of flags whose titles start with this
# flags that have no effect in a script that asks no model
OF_MODELS = ("llm", "model", "llm_base_url", "llm_auth_token", "budget", "budget_run")
# flags that have no effect in a script that processes no items in parallel
OF_WORKERS = ("workers", "engine", "ray_address")


@dataclass(frozen=True)
class RunOptions:
    """Hold the values of the flags that every script has, for the run loop."""

    root: Path
    selection: Selection
    status: bool
    dry_run: bool
    prune: bool
    compact: bool
    quiet: bool
    budget_usd: float | None
    given: dict[str, tuple[str, ...]]   # {flag on the command line: its words there}
    engine: str = "threads"
    ray_address: str = ""      # "" means a cluster on this machine
    host: Any = None           # a SandboxFactory; None in a script without sandboxes
    before_work: Callable[[], object] = list   # called before the first item is made

    @property
    def read_only(self) -> bool:
        """Return whether the run only prints: without a lock, a record or a ledger line."""
        return self.status or self.dry_run

    def unless_quiet(self, errors: Iterable = ()) -> redirect_stderr:
        """Return a context manager that hides stderr if --quiet was given. Do not hide it if the
        run only prints, or if there are `errors`. A log file still gets all lines."""
        is_hidden = self.quiet and not (errors or self.read_only)
        return redirect_stderr(StringIO() if is_hidden else sys.stderr)

    def make_root(self) -> None:
        """Create the root's directory, unless the run only prints."""
        if not self.read_only:
            self.root.mkdir(parents=True, exist_ok=True)

    def refuse_cluster(self, why: str) -> None:
        """Raise Trouble with the reason `why` if --engine asks for a cluster."""
        if self.engine != "threads":
            raise Trouble(f"does not go with this script: it {why}.", f"--engine {self.engine}",
                          "Leave the flag out.")

    def with_steps(self, steps: Iterable[str]) -> RunOptions:
        """Return these flags with `steps` as the value of --steps; if `steps` is empty, without the
        flag --steps."""
        given = {name: words for name, words in self.given.items() if name != "steps"}
        if steps:
            given["steps"] = ("--steps", ",".join(steps))
        return replace(self, given=given)

    def command(self, script: str, same: bool = False, without: tuple[str, ...] = ()) -> str:
        """Return a command, to be suggested to the user, that runs a script on this root. It never
        contains a key.

        With `same`, the command repeats the positional word and the flags of this run. `without`
        lists flags to leave out.
        """
        name, *rest = script.split()
        words = [*program(name), *rest]
        given = self.given
        names = [name for name in ALWAYS_REPEATED if name in given]
        if same:
            names += [name for name in given if name not in (*ALWAYS_REPEATED, *NEVER_REPEATED)]
        # positional words first, then flags
        for name in sorted(names, key=lambda name: given[name][0].startswith("-")):
            if given[name][0] not in words and name not in without:
                words += given[name]
        if script != "report.py":   # report.py reads all shards
            words += given.get("shard", ())
        return shlex.join(words)


class _Parser(argparse.ArgumentParser):
    """Parse flags, and note which flags are on the command line. Print no control characters."""

    def _print_message(self, message, file=None):
        super()._print_message(terminal_safe(runnable(message) if IS_INSTALLED else message), file)

    def _check_value(self, action, value):
        if hint := config.instead_of(f"{'/'.join(action.option_strings)} {value}"):
            raise argparse.ArgumentError(action, f"{value} is gone. {hint}")
        super()._check_value(action, value)

    def error(self, message):
        gone = re.findall(r"--[\w-]+", message) if message.startswith("unrecognized") else ()
        super().error(". ".join([message, *filter(None, map(config.instead_of, gone))]))

    def parse_args(self, args=None):
        # accept positional words both before and after flags
        parsed = self.parse_intermixed_args(args)
        parsed.given = {action.dest: words for action in self._actions
                        if (words := _words(action, getattr(parsed, action.dest, None)))}
        work_in(parsed.root)
        _start_log(parsed.log_level, parsed.log_file)
        return parsed


class _Help(argparse.Action):
    """Print the help and exit. Without --help-all, leave out the flags that all scripts share."""

    def __call__(self, parser, namespace, values, option_string=None):
        for action in parser._actions:
            if action.dest in parser.get_default("without"):
                action.help = argparse.SUPPRESS
        if option_string != "--help-all":
            parser.epilog = f"{SHARED} (--root, --only, --limit, --status, --dry-run …): --help-all"
            parser._action_groups = [group for group in parser._action_groups
                                     if not group.title.startswith(SHARED)]
        parser.print_help()
        parser.exit()


class _HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Print the name of a flag's value only once if the flag has several spellings."""

    def _format_action_invocation(self, action):
        return super()._format_action_invocation(action).replace(f" {action.metavar},", ",")


def _words(action: argparse.Action, value) -> tuple[str, ...]:
    """Return the words that repeat a flag in a command; () if the value is the default or contains
    a password."""
    if value in (None, False) or value == action.default:
        return ()
    flag = action.option_strings[:1]
    if value is True:
        return tuple(flag)
    if isinstance(value, list):
        return tuple(word for entry in value for word in (*flag, str(entry)))
    if isinstance(value, tuple):
        value = ("/" if action.dest == "shard" else ",").join(map(str, value))
    text = f"{value:g}" if isinstance(value, float) else str(value)
    # a proxy's address may have no "http://"
    password = "@" if action.dest == "proxy" else "://[^/]*@"
    return () if re.search(password, text) else (*flag, text)


def read(args: argparse.Namespace) -> tuple[Settings, RunOptions]:
    """Return the settings and the options of a script, given its parsed flags."""
    settings = config.load(args)
    selection = Selection(**{f.name: getattr(args, f.name) or f.default for f in fields(Selection)})
    return settings, RunOptions(
        settings.root, selection, args.status, args.dry_run, args.prune, args.compact, args.quiet,
        args.budget, args.given, args.engine, config.ray_address(args))


def parser(doc: str, *sections: str, without: Iterable[str] = ()) -> argparse.ArgumentParser:
    """Return a parser with the flags of every script.

    `sections` lists the sections of chain.toml that the script's own flags set. `without` lists
    flags that have no effect in the script: the parser accepts them, but the help hides them.
    --output means --root, unless the script defines its own --output.
    """
    p = _Parser(description=doc, usage=argparse.SUPPRESS, add_help=False,
                formatter_class=partial(_HelpFormatter, max_help_position=33),
                conflict_handler="resolve")   # lets a script define its own --output
    p.set_defaults(sections=sections, without=without)
    add = p.add_argument_group(SHARED).add_argument
    add("-h", "--help", "--help-all", action=_Help, nargs=0,
        help="print help; --help-all: with these flags, too")
    add("--root", "--output-root", "--output", default=".", type=_named, metavar="DIR",
        help="the run's directory (default: here)")
    add("--config", metavar="FILE", help="settings, instead of chain.toml in --root or here")
    add("--only", metavar="GLOB", action="append",
        help="only items whose name or instance id matches (may be repeated)")
    add("--limit", type=positive, metavar="N",
        help="at most N items, in order; for a script that makes tasks, N tasks")
    for flag, text in {
            "--force": "make existing records again, even edited ones; the old go to _replaced/",
            "--refresh": "also remake records made with other settings",
            "--no-retry": "leave failed items alone",
            "--prune": "move orphans to _replaced/, and end",
            "--status": "print the counts and do nothing",
            "--dry-run": "print the counts and the calls, tokens and cost to come",
            "--show-config": "print each setting and its source",
            "--compact": "shorten the ledger to the newest line of each item, and end"}.items():
        add(flag, action="store_true", help=text)
    add("--workers", type=positive, metavar="N", help="items in flight at the same time")
    add("--shard", type=_shard, metavar="I/N", help="only the items of shard I (from 0) of N")
    add("--engine", choices=["threads", "ray"], default="threads",
        help="where items run: in this process, or on Ray (docs/clusters.md)")
    add("--ray-address", metavar="HOST:PORT", default="",
        help="address of the cluster (default: RAY_ADDRESS, else a cluster for this run)")
    _model_flags(add)
    add("--budget", type=dollars, metavar="USD",
        help="maximum to spend under this root, over all runs and shards")
    add("--budget-run", type=dollars, metavar="USD",
        help="maximum that this run may spend; 0: make no call")
    add("--log-level", default="warning", type=str.lower,
        choices=["debug", "info", "warning", "error"], help="lowest level of log lines on stderr")
    add("--log-file", metavar="FILE",
        help="append printed lines (with --quiet, too) and each retry of a call, with times")
    add("--quiet", action="store_true", help="no plan, bar or summary; errors only")
    return p


def _model_flags(add: Callable) -> None:
    """Add the flags that choose model and endpoint; `add` is a group's add_argument."""
    add("--llm", metavar="NAME",
        help="an endpoint of chain.toml, or `embedded`: a small local model")
    add("--model", metavar="NAME",
        help="the model for every role; in validate.py, for the whole panel")
    add("--llm-base-url", metavar="URL", help="an OpenAI-compatible endpoint")
    add("--llm-auth-token", metavar="KEY", help="its key (better in .env: docs/design.md)")
    add("--proxy", metavar="URL", help="a proxy for calls and downloads")


def row_flags(group, rows: str) -> None:
    """Add to a group the flags of scripts that process a file's rows; `rows` is the help of
    --input."""
    add = group.add_argument
    add("--input", metavar="FILE", help=rows)
    # accept these flags, but ignore them: they ask for the default behaviour
    for flag in ("--skip-existing", "--parallel", "--continue-on-error"):
        add(flag, action="store_true", help=argparse.SUPPRESS)


def environment_flags(p: argparse.ArgumentParser, only_newest: bool = True) -> None:
    """Add the flags of scripts that process environments; see environments.chosen_by(). Without
    `only_newest`, the script always uses all commits of a repository."""
    group = p.add_argument_group(f"{SHARED} with environments")
    row_flags(group, "environments instead of env/: {repo, image_name, test_case_result}")
    add = group.add_argument
    add("--unhealthy-too", action="store_true",
        help="also use environments whose suite is not healthy")
    p.set_defaults(all_commits=not only_newest)
    if only_newest:
        add("--all-commits", action="store_true",
            help="use all commits of a repository, not only the newest (as --only does)")


def planner_flag(group, default: str = "auto") -> None:
    """Add --planner to a group of flags."""
    group.add_argument("--planner", choices=["auto", "recipe", "agent"],
                       help=f"source of an environment's scripts (default: {default})")


def steps_flag(group, steps: Iterable[str], groups: Mapping[str, Iterable[str]] | None = None
               ) -> None:
    """Add --steps to a group of flags. The flag selects some of the script's `steps`; their order
    stays. `groups` maps further words to several steps each."""
    steps = tuple(steps)
    words = {step: (step,) for step in steps} | dict(groups or {}) | {"all": steps}

    def chosen(text: str) -> tuple[str, ...]:
        given = text.split(",")
        if unknown := [word for word in given if word not in words]:
            raise argparse.ArgumentTypeError(
                f"{', '.join(unknown)} is not one of {', '.join(words)}")
        named = {step for word in given for step in words[word]}
        return tuple(step for step in steps if step in named)

    group.add_argument("--steps", type=chosen, default=steps, metavar="A,B",
                       help="only these of the steps above (default: all)")


def sandbox_flags(p: argparse.ArgumentParser, pod_prefix: str = "") -> None:
    """Add the flags of scripts that run commands in sandboxes. The flags set values of [sandbox].
    `pod_prefix` is the default of --pod-prefix; it is "" for a script that builds images and so
    cannot run in pods."""
    p.set_defaults(in_pods=bool(pod_prefix), defaults={})
    add = p.add_argument_group(f"{SHARED} with sandboxes").add_argument
    add("--sandbox", choices=["docker", "kubernetes", "local"],
        help="where commands run (default: docker)")
    add("--base-image", metavar="NAME", help="its image (default: codedata-base:bookworm)")
    add("--cpu-request", type=float, metavar="N", help="cores of a sandbox (default: 2)")
    add("--memory-request", metavar="SIZE", help="its memory (default: 5Gi)")
    add("--disk-limit", metavar="SIZE", help="maximum that it may write (default: 10GB)")
    add("--disk-floor", metavar="SIZE", help="new work waits while less is free (default: 10GB)")
    add("--run-timeout", type=positive, metavar="S",
        help="seconds allowed for a script or an agent's command (default: 1800)")
    if pod_prefix:
        p.set_defaults(defaults={"sandbox.pod_prefix": pod_prefix})
        add("--namespace", metavar="NAME", help="Kubernetes namespace (default: data-synthesis)")
        add("--pod-prefix", metavar="NAME", help=f"prefix of pods' names (default: {pod_prefix})")
    add("--ca-bundle", metavar="FILE",
        help="PEM file of further certificate authorities, for sandboxes too")
    add("--reap", action="store_true",
        help="list the leftovers of killed runs of all roots, and end")
    add("--yes", action="store_true", help="with --reap: remove them")


def with_sandboxes(args: argparse.Namespace) -> tuple[Settings, RunOptions]:
    """Return the settings and options of a script with sandboxes. The options' `before_work`
    removes the leftovers of killed runs: this root's, and all temporary folders. With --reap, list
    or remove the leftovers of all roots now, and exit."""
    # import here: most scripts use no sandboxes
    from codedata.sandbox.factory import SandboxFactory
    from codedata.sandbox.process_labels import label_with
    settings, shared = read(args)
    settings = with_container_workers(settings)
    label_with(settings.root)
    if settings.sandbox.sandbox == "kubernetes" and not args.in_pods:
        raise Trouble("makes no images, and this script needs them.", "--sandbox kubernetes",
                      "Run it by --engine ray on nodes that have Docker: docs/clusters.md.")
    host = SandboxFactory(settings, threading.Event())
    if args.reap:
        names, left = host.reap(all_roots=True, only_list=not args.yes)
        for name in names:
            print(printable(name))
        done = "removed" if args.yes else "left by killed runs; with --yes they are removed"
        say(f"{plural(len(names), 'thing')} {done}")
        for line in left:
            say(line)
        sys.exit(1 if left else 0)
    if args.yes:
        raise Trouble("goes with --reap.", "--yes")
    return settings, replace(shared, host=host, before_work=cache(host.reap_first))


def with_container_workers(settings: Settings) -> Settings:
    """Return the settings with as many workers as containers fit on the CPU cores. If the user has
    set [llm] workers, return the settings unchanged."""
    if "llm.workers" in settings.given:
        return settings
    n_workers = max(1, int((os.cpu_count() or 1) // settings.sandbox.cpu_request))
    return replace(settings, llm=replace(settings.llm, workers=n_workers))


def positive(text: str) -> int:
    """Return a flag's value as an integer, 1 or more."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError("must be a whole number, 1 or more")
    return int(text)


def dollars(text: str) -> float:
    """Return a flag's value as an amount in USD. With a budget of 0, no call is made."""
    try:
        amount = float(text)
    except ValueError:
        amount = -1.0
    if not 0 <= amount < float("inf"):
        raise argparse.ArgumentTypeError("must be USD, 0 or more")
    return amount


def _named(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("must name a directory; . is this one")
    return text


def _shard(text: str) -> tuple[int, int]:
    i, _, n = text.partition("/")
    if not (i.isdecimal() and n.isdecimal() and int(i) < int(n)):
        raise argparse.ArgumentTypeError("must be I/N with I from 0 to N - 1, such as 0/4")
    return int(i), int(n)


def main(run_script) -> None:
    """Run a script's main() and exit with its code. Print Trouble without a traceback."""
    sys.excepthook = lambda *error: say("".join(traceback.format_exception(*error)))
    # until the run loop sets its own handlers, treat SIGTERM as Ctrl-C
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    script = Path(sys.argv[0]).name
    try:
        code = run_script()
    except Trouble as e:
        say(f"{script}: {e}")
        code = e.exit_code
    except BrokenPipeError:   # stdout was closed, as in `… | head`
        code = 0
    except OSError as e:   # raised anywhere in the code if a user's file cannot be opened
        say(f"{script}: {printable(str(e.filename or ''))} cannot be used: {e.strerror or e}.")
        code = 2
    except KeyboardInterrupt:
        code = 130
    except SystemExit as e:
        code = e.code
    write_out()
    sys.exit(code)


class _SafeFormatter(logging.Formatter):
    converter = time.gmtime

    def format(self, record):
        return terminal_safe(super().format(record))


def _start_log(level: str, path: str | None) -> None:
    """Log lines of `level` and above to stderr. If `path` is given, append printed lines and
    log lines from INFO (or a lower `level`) on to that file; raise OSError if it cannot be opened.
    """
    if logging.root.handlers:   # keep the log that the calling script has already set up
        return
    shown = logging.StreamHandler(sys.stderr)
    shown.setFormatter(_SafeFormatter("%(levelname)s %(name)s: %(message)s"))
    shown.setLevel(level.upper())
    # leave out the lines of say(), which has already printed them
    shown.addFilter(lambda record: record.name != log.name)
    handlers = [shown]
    if path:
        kept = logging.FileHandler(path, encoding="utf-8")
        kept.setFormatter(_SafeFormatter("%(asctime)s %(message)s", "%Y-%m-%dT%H:%M:%SZ"))
        handlers.append(kept)
    logging.raiseExceptions = False   # print no traceback for each line if the disk is full
    logging.basicConfig(level=min(logging.INFO, shown.level), handlers=handlers)
    logging.getLogger("urllib3").setLevel(logging.WARNING)
