"""Judge changes of a project's source, one after the other, in place of a run of pytest.

It is a plugin of pytest, placed beside it under the name codedata_screen by place_plugin.sh. It
runs with any pytest from 3.1 on, so its Python is old. Its folder holds an order: the changes, and
the tests to run with each. The answers are lines of JSON; a change has one when it begins, and one
when it has ended.

Three kinds of processes take part. The base has imported pytest and its plugins, nothing of the
project. The warm one, forked from it, has collected all tests; it forks a child for each change and
gives the functions in it their new code. When it is done, the base forks a child for each change
where that is not enough, and this one imports and collects anew.

The source carries a change while it is judged, and is put back then. A child and all that it
started are gone before the next one. A test that is out for it can forge an answer.
"""
import dis
import gc
import importlib
import json
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
import types
import warnings
from functools import partial

import pytest
from _pytest.junitxml import bin_xml_escape, mangle_test_address

FOLDER = "/tmp/codedata-screen"
ORDER, ANSWERS = FOLDER + "/batch.json", FOLDER + "/answers.jsonl"
TMP = FOLDER + "/tmp"                   # of a child, in place of /tmp
OUTPUT = TMP + "/codedata-answer.json"
OUTERMOST = "CODEDATA_SCREEN_PROCESS"   # id of the process of the outermost run
TIMES, MORE_S = 5, 1.0                  # limit of a child: its tests' seconds, times and more
IDLE_S = 30.0                           # limit of a child that waits: the other one is of CPU
RANKS = ("missing", "passed", "skipped", "failed", "error")
BONES = ["co_" + word for word in (
    "code", "names", "varnames", "freevars", "cellvars", "flags", "argcount", "kwonlyargcount",
    "posonlyargcount", "exceptiontable")]
Exit = pytest.exit.Exception
role = None                             # of this process, where it takes part


def tell(**answer):
    """Append a line to the answers."""
    with open(ANSWERS, "a") as file:
        file.write(json.dumps(answer) + "\n")


def read(path):
    """Return the content of a file."""
    with open(path, "rb") as file:
        return file.read()


def write(path, text, times):
    """Write a file in place, and set its times in nanoseconds."""
    with open(path, "wb") as file:
        file.write(text)
    os.utime(path, ns=times)


def places_of_modules():
    """Return {name: path} of all modules that have a file."""
    return {name: os.path.realpath(module.__file__) for name, module in list(sys.modules.items())
            if isinstance(getattr(module, "__file__", None), str)}


def silence():
    """Let nothing be seen of what this process prints."""
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    os.close(null)


def tree_of(root):
    """Return {path: state} of all files and folders but those of git and compiled ones."""
    found = {}
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if name not in (".git", "__pycache__")]
        for name in [""] + files:
            path = os.path.join(folder, name)
            state = os.lstat(path)
            found[path] = state.st_size, state.st_mtime, state.st_ino
    return found


# the processes of a change -----------------------------------------------------------------------

def alive():
    """Return the ids of all processes."""
    return {int(name) for name in os.listdir("/proc") if name.isdigit()}


def end_others(kept):
    """Kill all processes but those to keep; they may start others meanwhile."""
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


def cpu_s(pid):
    """Return the seconds of CPU that a process has used."""
    fields = read("/proc/" + str(pid) + "/stat").rpartition(b")")[2].split()
    return sum(map(int, fields[11:15])) / float(os.sysconf("SC_CLK_TCK"))


def await_child(pid, limit_s, kept):
    """Return what a child has written, or how it ended; all that it started is ended."""
    started = time.time()
    wait_s = 0.001
    done, is_over = 0, False
    while not done:
        time.sleep(wait_s)
        wait_s = min(wait_s * 1.5, 0.02)
        is_over = cpu_s(pid) > limit_s or time.time() - started > max(IDLE_S, TIMES * limit_s)
        if is_over:
            os.kill(pid, signal.SIGKILL)
        done, status = os.waitpid(pid, 0 if is_over else os.WNOHANG)
    end_others(kept)
    answer = {"end": "timeout" if is_over else "status " + str(status)}
    if not status and os.path.exists(OUTPUT):
        answer = json.loads(read(OUTPUT).decode())
    shutil.rmtree(TMP, ignore_errors=True)
    return dict(answer, seconds=round(time.time() - started, 3))


def unformatted(excinfo, style=None):
    """Return no text for a failure: nobody reads it, and it takes longer than most tests."""
    return ""


class Child:
    """Run tests in a process that carries a change, and write what comes of them."""

    config = None   # of the run, where the process imports anew

    def __init__(self, order):
        """Take the tests to run: those of `first`, then those of `then` where none has failed."""
        self.order = order
        self.lost, self.statuses, self.seconds, self.failed = [], {}, {}, set()
        os.setsid()
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("1000")   # it is killed, not its parent
        os.mkdir(TMP)
        tempfile.tempdir = None
        os.environ.update(TMPDIR=TMP, PYTHONDONTWRITEBYTECODE="1")
        sys.dont_write_bytecode = True

    def take(self, report):
        """Note the report of a phase of a test, as JUnit XML has it."""
        id, status = report.nodeid, report.outcome
        if status == "failed" and report.when != "call":
            status = "error"
        elif status == "failed" and hasattr(report, "wasxfail"):
            status = "skipped"
        if status in RANKS and id in self.statuses:   # it may be of a run that a test makes
            self.statuses[id] = max(self.statuses[id], status, key=RANKS.index)
            self.seconds[id] = self.seconds.get(id, 0) + report.duration
            self.failed.update([id] if status in RANKS[3:] else [])

    def run(self, session):
        """Run the tests, write what came of them, and end the process."""
        answer = {"end": "done", "lost": list(self.lost)}
        # it says what differs, which nobody reads: that may take longer than the suite
        session.config.pluginmanager.unregister(name="assertion")
        items = {item.nodeid: item for item in session.items}
        if session.testsfailed and not session.config.option.continue_on_collection_errors:
            items = {}
        try:
            for ids in (self.order["first"], self.order["then"]):
                if not self.failed:
                    self.statuses.update(dict.fromkeys(ids, RANKS[0]))
                    self.run_items(session, [items[id] for id in self.statuses if id in items
                                             and id not in self.seconds])
        except (SystemExit, KeyboardInterrupt, session.Interrupted, Exit) as end:
            answer["end"] = "stopped: " + repr(end)[:200]
        root = os.path.join(self.order["root"], "")
        answer.update(statuses=self.statuses, seconds_by_test=self.seconds, modules=[
            name for name, path in places_of_modules().items() if not path.startswith(root)])
        with open(OUTPUT, "w") as file:
            json.dump(answer, file)
        os._exit(0)

    def run_items(self, session, items):
        """Run tests, but no more of them when more have failed than a bug may break."""
        for n, item in enumerate(items):
            following = items[n + 1] if item is not items[-1] else None
            if len(self.failed) <= self.order["max_failed"]:
                item.repr_failure = item._repr_failure_py = unformatted
                session.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
                if session.shouldstop or getattr(session, "shouldfail", ""):
                    raise session.Interrupted(session.shouldstop or session.shouldfail)


# new code for live functions ---------------------------------------------------------------------

class NeedsImport(Exception):
    """Say that new code for live functions is not enough. The argument is whether nobody knows
    which tests use what has changed."""


def live_functions():
    """Return {path: functions} of all functions that there are."""
    places, found = {}, {}
    for one in gc.get_objects():
        if type(one) is types.FunctionType:
            name = one.__code__.co_filename
            if name not in places:
                places[name] = os.path.realpath(name)
            found.setdefault(places[name], []).append(one)
    return found


def codes_of(code, key=()):
    """Yield (key, code object) of a code object and of those within it."""
    yield key, code
    inner = [const for const in code.co_consts if isinstance(const, types.CodeType)]
    for n, const in enumerate(inner):
        yield from codes_of(const, key + ((const.co_name, n),))


def compiled(text, path):
    """Return {key: code object} of a source. Raise NeedsImport where it is none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return dict(codes_of(compile(text.encode("utf-8"), path, "exec", dont_inherit=True)))
    except (SyntaxError, ValueError):
        raise NeedsImport(True)


def bones_of(code):
    """Return what a code object does, without its lines and the code objects within it."""
    consts = [const.co_name if isinstance(const, types.CodeType) else repr(const)
              for const in code.co_consts]
    return consts, [getattr(code, name, None) for name in BONES]


def swaps_of(functions, old, new, ran):
    """Return [(function, its new code)]. Raise NeedsImport where one cannot have it, or code
    differs that runs when a file is imported, with the lines `ran`."""
    keys = {}
    for key, code in old.items():
        keys.setdefault(code, []).append(key)
        if key in new and bones_of(code) == bones_of(new[key]):
            continue
        is_in_function = any(old[key[:n]].co_flags & 1 for n in range(len(key)))   # CO_OPTIMIZED
        lines = {line for _, line in dis.findlinestarts(code)}
        if not is_in_function:       # the line of its def runs in any case
            lines.discard(code.co_firstlineno)
        if not (is_in_function or code.co_flags & 1) or not lines or lines & ran:
            raise NeedsImport(True)
    swaps = []
    for function in functions:
        found = {new.get(key) for key in keys.get(function.__code__, [None])}
        code = found.pop()
        if found or code is None or code.co_freevars != function.__code__.co_freevars:
            raise NeedsImport(False)
        swaps.append((function, code))
    return swaps


def run_swapped(swaps, session):
    """Run the tests of this child with new code of functions."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")   # a generator becomes a function
        for function, code in swaps:
            function.__code__ = code
    role.run(session)


# the driver --------------------------------------------------------------------------------------

class Driver:
    """Judge all changes: those first for which live functions are enough."""

    def __init__(self, batch):
        self.batch, self.started = batch, time.time()
        self.lost, self.trees = [], {}
        self.root = os.path.realpath(batch["root"])
        for name in batch["modules"]:
            try:
                importlib.import_module(name)
            except ImportError:
                pass
        self.early = set(places_of_modules().values())

    def path(self, name):
        """Return the path of a file of the source."""
        return os.path.realpath(os.path.join(self.root, name))

    def edited(self, name, edits):
        """Return the text of a file with edits of its lines."""
        lines = self.batch["sources"][name].split("\n")
        for line, n_old, new in reversed(edits):
            lines[line - 1:line - 1 + n_old] = new
        return "\n".join(lines)

    def run(self, session):
        """Do the warm process's part: judge what can be judged, order a child for the rest."""
        self.collect_s = time.time() - self.started
        self.files = {item.nodeid: str(item.fspath) for item in session.items}
        self.functions = live_functions()
        tell(ready=[[id, names_of(id)] for id in self.files])
        gc.collect()
        getattr(gc, "freeze", int)()
        self.settle()
        for i, one in enumerate(self.batch["candidates"]):
            order, swaps = self.order_of(one)
            if order["how"] == "swap":
                self.judge(i, order, partial(run_swapped, swaps, session))
            else:
                tell(i=i, **order)
        os._exit(0)

    def run_rest(self):
        """Do the base's part. Return in a child; end in the base itself."""
        self.settle()
        for answer in map(json.loads, read(ANSWERS).decode().splitlines()):
            if "files" in answer and self.judge(answer["i"], answer, silence):
                return
        os._exit(0)

    def settle(self):
        """Note the processes and files that stay."""
        self.kept = alive()
        self.tree = tree_of(self.root)

    def judge(self, i, order, begin):
        """Have a change judged by a child, and write what came of it. Return whether this is the
        child, after begin()."""
        global role
        files = self.batch["candidates"][i]["files"]
        before = {name: (read(self.path(name)), os.stat(self.path(name))) for name in files}
        tell(begins=i)
        for name in files:
            # a time of its own, as compiled files go by it
            at = (int(before[name][1].st_mtime) + 2 + self.batch["number"] + i) * 10 ** 9
            write(self.path(name), self.edited(name, files[name]).encode("utf-8"), (at, at))
        pid = os.fork()
        if not pid:
            role = Child(order)
            begin()
            return True
        answer = await_child(pid, order["limit_s"], self.kept)
        try:
            for name, (text, state) in before.items():
                write(self.path(name), text, (state.st_atime_ns, state.st_mtime_ns))
            now = tree_of(self.root)
            dirty = [name for name in before if read(self.path(name)) != before[name][0]]
        except OSError:
            now, dirty = {}, list(files)
        dirty += [os.path.relpath(path, self.root) for path in set(self.tree).union(now)
                  if self.tree.get(path) != now.get(path)]
        dirty = sorted(set(dirty).difference(self.batch["touched"]))
        tell(i=i, how=order["how"], dirty=dirty, **answer)
        if dirty:
            os._exit(1)

    def order_of(self, one):
        """Return (the tests to run with a change and how, [(function, its new code)])."""
        batch, how, swaps, first = self.batch, "swap", [], list(one["tests"])
        for name, edit in one["files"].items():
            try:
                swaps += self.swaps(name, edit)
            except NeedsImport as needs:
                is_early = self.path(name) in self.early   # a plugin has imported it, say
                how = "suite" if is_early or how == "suite" else "import"
                first += batch["users"][name] if needs.args[0] else []
        if how == "swap" and threading.active_count() > 1:
            how = "import"
        if batch["is_first"]:
            first = list(self.files)
        ids = first + batch["then"]
        limit_s = MORE_S + TIMES * sum(batch["seconds"].get(id, 0) for id in set(ids))
        order = {"how": how, "first": first, "then": batch["then"],
                 "limit_s": max(batch["min_s"], limit_s), "max_failed": batch["max_failed"],
                 "root": self.root}
        if how == "import":
            order["limit_s"] += TIMES * self.collect_s
            order["files"] = list(dict.fromkeys(self.files[id] for id in ids))
        return order, swaps

    def swaps(self, name, edit):
        """Return [(function, its new code)] of a file with an edit."""
        path = self.path(name)
        if name not in self.trees:
            self.trees[name] = compiled(self.batch["sources"][name], path)
        return swaps_of(self.functions.get(path, ()), self.trees[name],
                        compiled(self.edited(name, edit), path),
                        set(self.batch["import_lines"][name]))


# hooks -------------------------------------------------------------------------------------------

def names_of(id):
    """Return the names that results may have for a test: its id, and the one in JUnit XML."""
    parts = mangle_test_address(id)
    return [str(bin_xml_escape(name)) for name in (id, "::".join(
        [".".join(parts[:-1])] * (len(parts) > 1) + parts[-1:]))]


def is_asked():
    """Return whether this is the outermost run, and an order is there that nobody has answered."""
    first = int(os.environ.setdefault(OUTERMOST, str(os.getpid())))
    return first == os.getpid() and os.path.exists(ORDER) and not os.path.exists(ANSWERS)


@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_load_initial_conftests(early_config):
    """Take over from the outermost run, before anything of the project is imported."""
    global role
    if role is None and is_asked():
        early_config.known_args_namespace.cov_source = None   # pytest-cov would measure
        role = Driver(json.loads(read(ORDER).decode()))
        warm = os.fork()
        if not warm:
            silence()
        elif os.waitpid(warm, 0)[1]:
            os._exit(1)
        else:
            role.run_rest()
        role.config = early_config
    yield


def is_of(config):
    """Return whether this process takes part, with a run that no test has started."""
    return role is not None and role.config is config


@pytest.hookimpl(hookwrapper=True)
def pytest_cmdline_main(config):
    """Keep the tests in this process, and collect no others than are wanted."""
    if is_of(config):
        if hasattr(config.option, "numprocesses"):
            config.option.numprocesses, config.option.dist, config.option.tx = 0, "no", []
        config.args = getattr(role, "order", {}).get("files") or config.args
    yield


def pytest_collectreport(report):
    """Note what cannot be collected."""
    if role is not None and report.failed:
        role.lost.append(names_of(report.nodeid)[1])


def pytest_runtest_logreport(report):
    """Note the report of a phase of a test."""
    if isinstance(role, Child):
        role.take(report)


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session):
    """Do this process's part in place of the tests."""
    if is_of(session.config):
        role.run(session)
