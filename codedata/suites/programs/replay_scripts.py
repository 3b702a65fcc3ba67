"""Run scripts in a sandbox, each in its own process, and record the outcomes of their last
expressions.

    python3 replay_scripts.py FOLDER

FOLDER/jobs.json has `source`, the folder of the project; `seconds` for a script and `total_s` for
all; `runs`, 3 or 1; `now`, the stopped clock of held-out cases, or 0 for other scripts;
and `jobs`. A job has the `lines` of a script; its `last` expression, or "" where the last line may
raise and nothing is printed; and whether its lines are to be pruned. Each of three processes
imports the project once and forks for each script: with another seed for hashes, in another working
directory, the third with a clock 400 days later if `now` is 0. FOLDER/answers.json gets for each
job its script and outcome, if this is the same in all three processes, or null. If `runs` is 1,
there is only the third process, and it records no lines. It runs on Python 3.9 and later and
imports nothing from its package.
"""
import datetime
import dis
import gc
import json
import os
import resource
import select
import signal
import subprocess
import sys
import tempfile
import time

KNOWN = ("value", "raises")   # kinds of outcomes that are answers
MAX_TEXT = 4000
MAX_ANSWER = 400000
SEEDS = ("0", "1", "2")
LATER_S = 400 * 86400
MAX_TRIALS = 150          # runs for pruning one script


def main(folder):
    """Answer the jobs of a folder."""
    with open(folder + "/jobs.json", encoding="utf-8") as file:
        given = json.load(file)
    end = time.monotonic() + given["total_s"]
    workers = [Worker(folder, seed, end) for seed in SEEDS[-given["runs"]:]]
    answers = [answered(job, workers) for job in given["jobs"]]
    for worker in workers:
        worker.close()
    with open(folder + "/answers.json", "w", encoding="utf-8") as file:
        json.dump(answers, file)


def answered(job, workers):
    """Return the answer to a job (its script, pruned if wanted, with its outcome) or None."""
    lines, last = job["lines"], job["last"]
    if job["prune"]:
        first = workers[0].run(lines, last)
        if first["kind"] not in KNOWN:
            return None
        lines = pruned(lines, last, first, workers[0])
    first = workers[0].run(lines, last, observe=len(workers) > 1)
    if first["kind"] not in KNOWN:
        return None
    is_same = all(told(worker.run(lines, last)) == told(first) for worker in workers[1:])
    return {**first, "lines": lines} if is_same else None


def told(outcome):
    """Return the parts of an outcome that must be the same in each run."""
    return outcome["kind"], outcome.get("type"), outcome.get("text")


def pruned(lines, last, outcome, worker):
    """Return the lines of a script that its outcome needs; try to remove the last lines first."""
    size, trials = len(lines), MAX_TRIALS
    while size:
        for at in range(len(lines) - size, -size, -size):
            fewer = lines[:max(at, 0)] + lines[at + size:]
            if trials and told(worker.run(fewer, last)) == told(outcome):
                lines = fewer
            trials = max(0, trials - 1)
        size //= 2
    return lines


class Worker:
    """Control a process that has imported the project and forks for each script. It returns no
    outcome after the time `end`."""

    def __init__(self, folder, seed, end):
        self.end = end
        self.env = dict(os.environ, PYTHONHASHSEED=seed, PYTHONDONTWRITEBYTECODE="1",
                        FOLDER=folder, SHIFT=str(LATER_S if seed == SEEDS[-1] else 0))
        self.start()

    def start(self):
        """Start the process, which imports the project."""
        self.process = subprocess.Popen(
            [sys.executable, os.path.abspath(__file__), "serve"], env=self.env,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)

    def run(self, lines, last, observe=False):
        """Return the outcome of a script."""
        line = json.dumps([lines, last, observe]) + "\n"
        if time.monotonic() > self.end:
            return {"kind": "late"}
        try:
            self.process.stdin.write(line.encode())
            self.process.stdin.flush()
            left = max(0, self.end - time.monotonic())
            if select.select([self.process.stdout], [], [], left)[0]:
                return json.loads(self.process.stdout.readline())
        except (OSError, ValueError):
            self.close()
            self.start()
        return {"kind": "lost"}

    def close(self):
        """End the process."""
        self.process.kill()
        self.process.wait()


# in a worker -------------------------------------------------------------------------------------

def set_clock(seconds):
    """Make this process see the time seconds(), in whatever way it asks for it."""
    real = dict(vars(time))
    shifted = {
        "time": seconds, "time_ns": lambda: int(seconds() * 10 ** 9),
        "strftime": lambda form, *at: real["strftime"](form, *(at or [time.localtime()])),
        "asctime": lambda *at: real["asctime"](*(at or [time.localtime()])),
        "clock_gettime": lambda clock: (seconds() if clock == time.CLOCK_REALTIME
                                        else real["clock_gettime"](clock)),
        "clock_gettime_ns": lambda clock: (int(seconds() * 10 ** 9) if clock == time.CLOCK_REALTIME
                                           else real["clock_gettime_ns"](clock))}
    for name in ("localtime", "gmtime", "ctime"):
        shifted[name] = lambda at=None, name=name: real[name](time.time() if at is None else at)
    for name, function in shifted.items():
        setattr(time, name, function)
    kind, utc = datetime.datetime, datetime.timezone.utc
    names = gc.get_referents(kind.__dict__)[0]   # a built-in class refuses setattr()
    names["now"] = classmethod(lambda cls, tz=None: cls.fromtimestamp(seconds(), tz))
    names["utcnow"] = classmethod(
        lambda cls: cls.fromtimestamp(seconds(), utc).replace(tzinfo=None))
    import ctypes
    ctypes.pythonapi.PyType_Modified(ctypes.py_object(kind))


def serve(folder):
    """Read scripts from stdin, and write their outcomes to stdout."""
    with open(folder + "/jobs.json", encoding="utf-8") as file:
        given = json.load(file)
    sys.path[0] = given["source"]
    shift, real = int(os.environ.pop("SHIFT")), time.time
    if given["now"]:
        set_clock(lambda: given["now"])
    elif shift:
        set_clock(lambda: real() + shift)
    out, given_in = os.dup(1), os.fdopen(os.dup(0), "rb")
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nothing, number)
    for line in given["imports"]:   # once for all scripts
        try:
            exec(line, {})
        except BaseException:
            pass
    for line in given_in:
        answer = forked(json.loads(line), given, (out, given_in.fileno()))
        os.write(out, (answer + "\n").encode())


def forked(script, given, ours):
    """Return the outcome of a script as JSON, from a forked process that has closed the files
    `ours`."""
    ends = os.pipe()
    child = os.fork()
    if not child:
        for number in (ends[0], *ours):
            os.close(number)
        answer_in_child(script, given, ends[1])
    os.close(ends[1])
    data, end = b"", time.monotonic() + given["seconds"]
    while len(data) < MAX_ANSWER:
        ready = select.select([ends[0]], [], [], max(0, end - time.monotonic()))[0]
        part = os.read(ends[0], 65536) if ready else b""
        if not part:
            break
        data += part
    os.close(ends[0])
    for kill in (os.killpg, os.kill):
        try:
            kill(child, signal.SIGKILL)
        except OSError:
            pass
    os.waitpid(child, 0)
    try:
        return json.dumps(json.loads(data))
    except ValueError:
        return json.dumps({"kind": "timeout"})


def answer_in_child(script, given, end):
    """Write the outcome of a script to a pipe, and end this process."""
    try:
        os.setsid()
        for name, limit in (("FSIZE", 50000000), ("CORE", 0), ("CPU", 10 * given["seconds"])):
            resource.setrlimit(getattr(resource, "RLIMIT_" + name), (limit, limit))
        try:
            os.chdir(tempfile.mkdtemp())
            text = json.dumps(outcome_of(*script, given))
        except BaseException as error:
            text = json.dumps({"kind": "broken", "text": type(error).__name__})
        with os.fdopen(end, "wb") as pipe:
            pipe.write(text.encode())
    finally:
        os._exit(0)


def outcome_of(lines, last, observe, given):
    """Return the outcome of a script: the kind is value, raises, opaque or fails."""
    source = given["source"]
    names, ran, is_last = {"__name__": "__main__"}, Ran(source), False
    if observe:
        sys.setprofile(ran.enter)
        sys.settrace(ran.trace)
    try:
        for line in lines[:-1]:
            exec(line, names)
        for line in lines[-1:]:
            is_last = not last
            exec(line, names)
        is_last = True
        value = eval(compile(last or "None", "<last>", "eval"), names)
        if hasattr(type(value), "__next__"):
            last = f"list({last})"
            value = list(value)
        if type(value) in (set, frozenset) and len({*map(type, value)}) == 1:
            last, value = f"sorted({last})", sorted(value)
        text = shown(value, is_case=given["now"]) if last else ""
    except Exception as error:
        sys.settrace(None)
        sys.setprofile(None)
        found = {"kind": "raises" if is_last else "fails", "type": type(error).__name__,
                 "text": message_of(error)[:MAX_TEXT], "last": last,
                 "mro": [one.__name__ for one in type(error).__mro__]}
    else:
        sys.settrace(None)
        sys.setprofile(None)
        found = {"kind": "value", "type": type(value).__name__, "text": text[:MAX_TEXT],
                 "last": last, "as_printed": str(value) == text}
        if len(text) > MAX_TEXT or " object>" in text:
            found["kind"] = "opaque"
    if " at 0x" in found["text"] or source in found["text"]:
        found["kind"] = "opaque"
    return dict(found, direct=ran.direct, ran={path: sorted(lines)
                                               for path, lines in ran.lines.items()})


def shown(value, is_case):
    """Return the repr of a value. For a case, use the repr of the built-in class for an object of a
    derived class that is compared in the same way, since both may be equal."""
    type_ = type(value)
    for kind in (dict, list, tuple, str, int, float):
        if is_case and type_ is not bool and issubclass(type_, kind) and (
                type_.__eq__ is kind.__eq__ or type_.__module__ == "collections"):
            return kind.__repr__(value)
    return repr(value)


def message_of(error):
    """Return the text of an exception, without the path in that of an ImportError."""
    return str(error).replace(" ({})".format(getattr(error, "path", None)), "")


class Ran:
    """Trace the lines of the project that run, and the functions that a script calls itself."""

    def __init__(self, source):
        self.source, self.lines, self.direct = source.rstrip("/") + "/", {}, []

    def path(self, frame):
        """Return a frame's path in the project, "" for other code."""
        file = frame.f_code.co_filename
        is_own = file.startswith(self.source) and "site-packages" not in file
        return file[len(self.source):] if is_own else ""

    def enter(self, frame, event, _):
        """Note a function of the project that was called from outside of it."""
        path = self.path(frame) if event == "call" else ""
        before = frame.f_back
        while path and before:
            path, before = ("", None) if self.path(before) else (path, before.f_back)
        if path:
            line = max(line for _, line in dis.findlinestarts(frame.f_code) if line)
            if [path, line] not in self.direct:
                self.direct.append([path, line])

    def trace(self, frame, event, _):
        """Note a line."""
        path = self.path(frame)
        if not path:
            return None
        self.lines.setdefault(path, set()).add(frame.f_lineno)
        return self.trace


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(os.environ.pop("FOLDER"))
    else:
        main(sys.argv[1])
