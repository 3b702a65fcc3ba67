"""Judge changes of a project's source one after the other, without a new run of pytest for each.

place_plugin.sh copies this plugin next to pytest as codedata_screen. It runs with any pytest from
3.1 on, so it uses only old Python. FOLDER has a batch: the changes, and the tests to run with each.
The answers are lines of JSON, one at the start of each judgement and one at its end.

There are three kinds of processes. The base process has imported pytest and its plugins, but
nothing of the project. The warm process, forked from the base, has collected all tests. For each
change it forks a child, and gives functions in the child their new code. Some changes cannot be
judged in this way. For each of these, the base process forks a child at the end, which imports the
project and collects its tests again. If a plugin may have imported a file of such a change
before, the only answer is "suite": the whole suite has to run.

A source file has a change only while the change is judged. A child and all processes that it
started are killed before the next child starts. Not promised: protection against a test that forges
an answer.
"""
import gc
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import threading
import time
import types
import warnings
from functools import lru_cache
from itertools import zip_longest
from math import ceil

import pytest
from _pytest.junitxml import bin_xml_escape, mangle_test_address

FOLDER = "/tmp/codedata-screen"
BATCH = FOLDER + "/batch.json"
ANSWERS = FOLDER + "/answers.jsonl"
ORDERS = FOLDER + "/orders.jsonl"       # from the warm process to the base process
TMP = FOLDER + "/tmp"                   # a child's folder for temporary files
OUTPUT = TMP + "/codedata-answer.json"
# A child's limit of processor time is TIMES * the seconds of its tests (and of collecting them, if
# it does) + MORE_S, or `min_s` if that is longer. The child may also wait: its limit of real time
# is TIMES * this limit + IDLE_S.
TIMES, MORE_S = 5, 1.0
IDLE_S = 20.0
RANKS = ("missing", "passed", "skipped", "failed", "error")
Exit = pytest.exit.Exception
realpath = lru_cache(None)(os.path.realpath)


def append_line(path, **words):
    """Append a line to a file."""
    with open(path, "a") as file:
        file.write(json.dumps(words) + "\n")


def read_lines(path):
    """Return the JSON values in the lines of a file."""
    with open(path) as file:
        return [json.loads(line) for line in file]


def read(path):
    """Return the content of a file."""
    with open(path, "rb") as file:
        return file.read()


def write(path, text, ns):
    """Write a file in place, and set its modification time, in nanoseconds."""
    with open(path, "wb") as file:
        file.write(text)
    os.utime(path, ns=(ns, ns))


def edited(text, edits):
    """Return the bytes of a file with edits of its lines."""
    lines = text.decode("utf-8").split("\n")
    for line, n_old, new in reversed(edits):
        lines[line - 1:line - 1 + n_old] = new
    return "\n".join(lines).encode("utf-8")


def discard_output():
    """Redirect the input and output of this process to /dev/null."""
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    os.close(null)


def tree_of(root):
    """Return (path, size, time, inode) of each file and folder, except .git and compiled files."""
    found = set()
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if name not in (".git", "__pycache__")]
        for name in [""] + files:
            path = os.path.join(folder, name)
            state = os.lstat(path)
            found.add((path, state.st_size, state.st_mtime, state.st_ino))
    return found


# the processes of a change -----------------------------------------------------------------------

def alive():
    """Return the ids of all processes."""
    return {int(name) for name in os.listdir("/proc") if name.isdigit()}


def end_others(kept):
    """Kill all processes except `kept`. Repeat this, since they may start others before they end.
    """
    for _ in range(100):
        others = alive() - kept
        for pid in others:
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                pass
        if not others:
            break
        time.sleep(0.01)


def await_child(pid, limit_s, kept):
    """Wait for a child; return the answer that it wrote, or else how it ended. Kill all processes
    that it started."""
    started = time.monotonic()
    done, is_over = 0, False
    while not done:
        time.sleep(0.002)
        is_over = time.monotonic() - started > TIMES * limit_s + IDLE_S
        if is_over:
            os.kill(pid, signal.SIGKILL)
        done, status = os.waitpid(pid, 0 if is_over else os.WNOHANG)
    end_others(kept)
    answer = {"timed_out": is_over, "signal": status % 128}
    if not status and os.path.exists(OUTPUT):
        answer = read_lines(OUTPUT)[0]
    shutil.rmtree(TMP, ignore_errors=True)
    return dict(answer, seconds=time.monotonic() - started)


def unformatted(excinfo, style=None):
    """Return the name of an error's type, "" for a failed check. It replaces pytest's formatting of
    errors, which takes longer than most tests and is not used."""
    kind = excinfo.type
    if issubclass(kind, (AssertionError, pytest.fail.Exception)) or "doctest" in kind.__module__:
        return ""
    return kind.__name__


class RunPlugin:
    """Act as a plugin of one run of pytest, and not of runs that tests start."""

    files = ()

    @pytest.hookimpl(hookwrapper=True)
    def pytest_cmdline_main(self, config):
        """Run the tests in this process, without xdist, and collect only the given files."""
        config.option.numprocesses, config.option.dist, config.option.tx = 0, "no", []
        config.args = self.files or config.args
        yield


class Child(RunPlugin):
    """Run the tests of one change in a forked process, and write their results."""

    def __init__(self, batch, order):
        """Set the limits of this process. It will run the tests `first` of the order and, if none
        fails, the tests `then` of the batch."""
        self.batch, self.first, self.files = batch, order["first"], order["files"]
        self.is_unchanged = order["is_unchanged"]
        self.lost, self.statuses, self.seconds, self.failed = [], {}, {}, {}
        limit_s = ceil(order["limit_s"])
        resource.setrlimit(resource.RLIMIT_CPU, (limit_s, limit_s + 1))
        os.setsid()
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("1000")   # if memory runs out, the kernel kills this child, not its parent
        os.mkdir(TMP)
        tempfile.tempdir = None
        os.environ.update(TMPDIR=TMP, PYTHONDONTWRITEBYTECODE="1")
        sys.dont_write_bytecode = True

    def pytest_collectreport(self, report):
        """Record a collection error."""
        if report.failed:
            self.lost.append(names_of(report.nodeid)[1])

    def pytest_runtest_logreport(self, report):
        """Record the status of a test, as JUnit XML names it, after one of its phases."""
        id, status = report.nodeid, report.outcome
        if status == "failed" and report.when != "call":
            status = "error"
        elif status == "failed" and hasattr(report, "wasxfail"):
            status = "skipped"
        if status in RANKS and id in self.statuses:
            self.statuses[id] = max(self.statuses[id], status, key=RANKS.index)
            self.seconds[id] = self.seconds.get(id, 0) + report.duration
            if status in RANKS[3:]:
                self.failed.setdefault(id, str(report.longrepr))

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session):
        """Run the tests, write their results, and end the process."""
        stopped = ""
        # explanations of failed assertions are not used, and may take longer than the suite
        session.config.pluginmanager.unregister(name="assertion")
        items = {} if self.lost else {item.nodeid: item for item in session.items}
        try:
            for ids in (self.first, self.batch["then"]):
                if not self.failed:
                    self.statuses.update(dict.fromkeys(ids, RANKS[0]))
                    self.run_items(session, [items[id] for id in ids if id in items])
        except (KeyboardInterrupt, Exit) as end:   # pytest ends a run on these
            stopped = repr(end)[:200]
        is_cut_short = len(self.failed) > self.batch["max_failed"]
        unsaid = RANKS[:2] if is_cut_short else RANKS[1:2]
        more = {}
        if self.is_unchanged:
            more = {"names": {id: names_of(id) for id in self.statuses},
                    "seconds_by_test": self.seconds}
        append_line(OUTPUT, is_done=not stopped, stopped=stopped, lost=self.lost,
                    n_run=len(self.seconds), errors=self.failed, **more,
                    statuses={id: status for id, status in self.statuses.items()
                              if status not in unsaid})
        os._exit(0)

    def run_swapped(self, swaps, session):
        """Give functions their new code, and run the tests without collecting them again."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")   # Python warns if a generator becomes a function
            for function, code in swaps:
                function.__code__ = code
        session.config.pluginmanager.register(self)
        self.pytest_runtestloop(session)

    def run_items(self, session, items):
        """Run tests until more than `max_failed` have failed."""
        for item, following in zip_longest(items, items[1:]):
            if len(self.failed) <= self.batch["max_failed"]:
                item.repr_failure = item._repr_failure_py = unformatted
                session.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
                reason = session.shouldstop or getattr(session, "shouldfail", "")
                if reason:
                    raise session.Interrupted(reason)


# new code for live functions ---------------------------------------------------------------------

def live_functions():
    """Return {path: functions} of all functions in memory."""
    found = {}
    for one in gc.get_objects():
        if type(one) is types.FunctionType:
            found.setdefault(realpath(one.__code__.co_filename), []).append(one)
    return found


def codes_of(code, key=()):
    """Yield (key, code object) of a code object and of all code objects nested in it."""
    yield key, code
    inner = [const for const in code.co_consts if isinstance(const, types.CodeType)]
    for n, const in enumerate(inner):
        yield from codes_of(const, key + ((const.co_name, n),))


def compiled(text, path):
    """Return {key: code object} of all code in a source."""
    return dict(codes_of(compile(text, path, "exec")))


# the driver --------------------------------------------------------------------------------------

class Driver(RunPlugin):
    """Judge all changes. First judge changes that only replace the code of functions in memory."""

    def __init__(self, batch):
        self.batch, self.codes = batch, {}
        self.root = batch["root"] = realpath(batch["root"])
        for one in batch["candidates"]:
            one["files"] = {realpath(os.path.join(self.root, name)): edits
                            for name, edits in one["files"].items()}
        self.time = random.randrange(1 << 30)   # modification time of changed files
        open(ORDERS, "w").close()
        self.early = {realpath(module.__file__) for module in list(sys.modules.values())
                      if isinstance(getattr(module, "__file__", None), str)}

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session):
        """Judge the changes that this warm process can judge. Write orders for changes that need a
        new import, and answer "suite" for changes that need a run of the whole suite."""
        self.collect_s = time.process_time()   # seconds of CPU, as in limits
        self.places = {item.nodeid: str(item.fspath) for item in session.items}
        self.functions = live_functions()
        getattr(gc, "freeze", int)()
        self.settle()
        for i, one in enumerate(self.batch["candidates"]):
            order, swaps = self.order_of(one)
            if order["how"] == "suite":
                append_line(ANSWERS, i=i, how="suite")
            elif order["how"] == "import":
                append_line(ORDERS, i=i, order=order)
            else:
                child = self.judge(i, order)
                if child:
                    child.run_swapped(swaps, session)
        os._exit(0)

    def run_rest(self):
        """Judge each change listed in ORDERS in a forked child, then end the base process. This
        method returns only in a child: it returns the child's plugin."""
        self.settle()
        for one in read_lines(ORDERS):
            child = self.judge(**one)
            if child:
                return child
        os._exit(0)

    def settle(self):
        """Remember which processes and files exist before changes are judged."""
        self.kept, self.tree = alive(), tree_of(self.root)

    def judge(self, i, order):
        """Let a forked child judge a change, and write its answer. Return None; in the child,
        return its plugin."""
        files = self.batch["candidates"][i]["files"]
        before = {path: (read(path), os.stat(path).st_mtime_ns) for path in files}
        append_line(ANSWERS, i=i, how="begun")
        for path, (text, _) in before.items():
            # a new modification time, so that Python sees that compiled files are stale
            write(path, edited(text, files[path]), (self.time + i) * 10 ** 9)
        pid = os.fork()
        if not pid:
            return Child(self.batch, order)
        answer = await_child(pid, order["limit_s"], self.kept)
        try:
            for path, (text, ns) in before.items():
                write(path, text, ns)
            dirty = {state[0] for state in self.tree ^ tree_of(self.root)}
            dirty.update(path for path in before if read(path) != before[path][0])
        except OSError:
            dirty = set(before)
        dirty = {os.path.relpath(path, self.root) for path in dirty} - set(self.batch["touched"])
        append_line(ANSWERS, i=i, **dict(answer, how=order["how"], dirty=sorted(dirty)))
        if dirty:
            os._exit(1)

    def order_of(self, one):
        """Return (the order for a change, [(function, its new code)]). The order tells how to
        judge the change, and lists the tests to run first."""
        batch, how, swaps = self.batch, "swap", []
        try:
            for path, edits in one["files"].items():
                swaps += self.swaps_of(path, edits)
        except (ValueError, SyntaxError):
            how = "import"
        if one["at_import"] or threading.active_count() > 1:
            how = "import"
        if how == "import" and self.early.intersection(one["files"]):
            how = "suite"   # a plugin may have imported it
        first = list(self.places) if one["tests"] is None else one["tests"]
        ids = first + batch["then"]
        limit_s = MORE_S + TIMES * sum(batch["seconds"].get(id, 0) for id in ids)
        if how == "import":
            limit_s += TIMES * self.collect_s
        return {"how": how, "first": first, "is_unchanged": not one["files"],
                "limit_s": max(batch["min_s"], limit_s),
                "files": sorted({self.places[id] for id in ids})}, swaps

    def swaps_of(self, path, edits):
        """Return [(function, its new code)] of a file with edits. Raise ValueError if a
        function cannot be given its new code, or if bytecode outside of functions changes. A
        changed constant outside of functions is not noticed."""
        text = read(path)
        if path not in self.codes:
            self.codes[path] = compiled(text, path)
        old, new = self.codes[path], compiled(edited(text, edits), path)
        for key, code in old.items():
            is_of_function = code.co_flags & 1   # CO_OPTIMIZED
            if not is_of_function and code.co_code != new.get(key, code).co_code:
                raise ValueError(key)
        keys = {code: key for key, code in old.items()}
        swaps = []
        for function in self.functions.get(path, ()):
            code = new.get(keys.get(function.__code__))
            # if code objects are equal, it is unknown which one a function has
            if not code or len(keys) < len(old) or (
                    code.co_freevars != function.__code__.co_freevars):
                raise ValueError(function)
            swaps.append((function, code))
        return swaps


# hooks -------------------------------------------------------------------------------------------

def names_of(id):
    """Return the names that results may give a test: its id, and its name in JUnit XML."""
    parts = mangle_test_address(id)
    return [str(bin_xml_escape(name)) for name in (id, "::".join(
        [".".join(parts[:-1])] * (len(parts) > 1) + parts[-1:]))]


@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_load_initial_conftests(early_config):
    """Take over the outermost run of pytest, before anything of the project is imported. That is
    the first run that finds a batch without answers."""
    if os.path.exists(BATCH) and not os.path.exists(ANSWERS):
        early_config.known_args_namespace.cov_source = None   # keeps pytest-cov from measuring
        part = Driver(read_lines(BATCH)[0])
        warm = os.fork()
        if warm:
            if os.waitpid(warm, 0)[1]:
                os._exit(1)
            part = part.run_rest()
        discard_output()
        early_config.pluginmanager.register(part)
    yield
