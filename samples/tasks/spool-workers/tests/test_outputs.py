"""Run workers on directories of jobs; kill some of them; read what became of the jobs."""
import contextlib
import json
import os
import random
import signal
import subprocess
import tempfile
import time

import pytest

PATIENCE_S = 40
# notes start and end, and waits for a file in between; notes overlap where another has the lock
SLOW = """
import fcntl, os, sys, time
log, gate = open(sys.argv[1], "a"), sys.argv[2]
def note(word):
    log.write(word + "\\n")
    log.flush()
lock = open(sys.argv[1] + ".lock", "a")
try:
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
except OSError:
    note("overlap")
    sys.exit(9)
print(os.getpid(), file=open(sys.argv[1] + ".pid", "w"))
note("start")
for _ in range(2400):
    if os.path.exists(gate):
        break
    time.sleep(0.05)
note("end")
print(sys.argv[3])
"""
# a worker for which it is the day after tomorrow
LATER = """
import datetime, runpy, sys, time
for name in ("time", "monotonic"):
    setattr(time, name, lambda real=getattr(time, name): real() + 2e5)
    setattr(time, name + "_ns", lambda real=getattr(time, name + "_ns"): real() + 2 * 10**14)
class Later(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return super().now(tz) + datetime.timedelta(days=2)
datetime.datetime = Later
sys.argv[0] = "spool"
runpy.run_module("spool", run_name="__main__", alter_sys=True)
"""

# a worker that is killed right before the file that it would rename, link or remove next after some
KILLED = """
import os, runpy, signal, sys
left, worker = [int(sys.argv.pop(1))], os.getpid()
def look(event, _):
    if event in ("os.rename", "os.link", "os.remove") and os.getpid() == worker:
        if not left[0]:
            os.kill(worker, signal.SIGKILL)
        left[0] -= 1
sys.addaudithook(look)
sys.argv[0] = "spool"
runpy.run_module("spool", run_name="__main__", alter_sys=True)
"""


def wait_for(condition):
    for _ in range(PATIENCE_S * 20):
        if condition():
            return True
        time.sleep(0.05)
    return False


def slow(log, gate, output):
    return ["/usr/bin/python3", "-c", SLOW, str(log), str(gate), output]


def words(log):
    return log.read_text().split() if log.exists() else []


class Spool:
    """Hold a directory of jobs and the workers on it."""

    def __init__(self, root):
        self.root = root
        self.workers = []
        (root / "new").mkdir(parents=True)

    def add(self, name, command, **more):
        self.add_file(name, json.dumps({"command": command, **more}).encode())

    def add_file(self, name, data):
        (self.root / "part").write_bytes(data)
        os.rename(self.root / "part", self.root / "new" / f"{name}.json")

    def start(self, how=("-m", "spool")):
        with tempfile.TemporaryFile() as words:
            words.write(b"for no command\n")
            words.seek(0)
            worker = subprocess.Popen(["/usr/bin/python3", *how, "work", str(self.root)],
                                      cwd="/app", stdin=words, stdout=subprocess.DEVNULL,
                                      stderr=subprocess.DEVNULL, start_new_session=True)
        self.workers.append(worker)
        return worker

    def start_later(self):
        """Start a worker after a jump of the clock."""
        for path in self.root.rglob("*"):
            with contextlib.suppress(FileNotFoundError):
                os.utime(path, (10**9, 10**9))
        return self.start(("-c", LATER))

    def finish(self, worker):
        """Wait until a worker exits, with 0."""
        try:
            status = worker.wait(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            raise AssertionError("a worker does not end") from None
        assert status == 0, f"a worker exits with {status}"

    def kill(self, worker):
        os.kill(worker.pid, signal.SIGKILL)   # and nothing of what it has started
        worker.wait(timeout=PATIENCE_S)

    def outcomes(self, kind):
        """Return {name: content} of the jobs that are done, or failed."""
        found = {}
        for path in (self.root / kind).glob("*.json"):
            try:
                found[path.stem] = json.loads(path.read_text(encoding="utf-8"))
            except ValueError as error:
                raise AssertionError(f"{kind}/{path.name} is not JSON") from error
        return found

    def waiting(self):
        return sorted(path.name for path in (self.root / "new").glob("*.json"))


@pytest.fixture
def make_spool(tmp_path):
    spools = []

    def make(name):
        spools.append(Spool(tmp_path / name))
        return spools[-1]

    yield make
    for worker in [worker for spool in spools for worker in spool.workers]:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(worker.pid, signal.SIGKILL)
        worker.wait(timeout=PATIENCE_S)


def test_idle_workers_take_what_waits(make_spool, tmp_path):
    spool = make_spool("two")
    log, gate = tmp_path / "log", tmp_path / "gate"
    spool.add("a0", slow(log, gate, "slow"))
    numbers = random.Random(1)
    quick = {f"b{i}": f"{i * i}" for i in numbers.sample(range(100), 10)}
    later = {f"c{i}": f"{i * i}" for i in numbers.sample(range(100), 5)}
    for name, text in quick.items():
        spool.add(name, ["/bin/sh", "-c", f"printf {text}"])
    busy = spool.start()
    assert wait_for(lambda: words(log) == ["start"]), "the slow job was not started"
    for name, text in later.items():
        spool.add(name, ["/bin/sh", "-c", f"printf {text}"])
    time.sleep(0.5)   # time to run them beside the slow one, for whoever would
    assert not later.keys() & spool.outcomes("done").keys(), "a worker runs two jobs at a time"
    idle = spool.start_later()
    done = {name: {"attempts": 1, "output": text} for name, text in {**quick, **later}.items()}
    wait_for(lambda: spool.outcomes("done") == done or idle.poll() is not None)
    assert spool.outcomes("done") == done, "jobs wait though a worker has nothing to do"
    time.sleep(1)   # time to go, for whoever would
    assert idle.poll() is None, "a worker went while a job was running"
    spool.add("d", ["/bin/sh", "-c", "printf late"])
    done["d"] = {"attempts": 1, "output": "late"}
    wait_for(lambda: spool.outcomes("done") == done or idle.poll() is not None)
    assert spool.outcomes("done") == done, "a job that came late waits though a worker is idle"
    gate.touch()
    for worker in (busy, idle):
        spool.finish(worker)
    assert spool.outcomes("done") == {**done, "a0": {"attempts": 1, "output": "slow\n"}}
    assert words(log) == ["start", "end"]

    twins = make_spool("twins")   # each waits for the other
    together = "echo x >> both; for i in $(seq 600); do [ $(wc -l < both) = 2 ] && exit; sleep 0.05; done; exit 1"
    pair = []
    for name in ("t1", "t2"):   # the second comes while the first is running
        twins.add(name, ["/bin/sh", "-c", together], max_attempts=1)
        pair.append(twins.start())
        assert wait_for(lambda: words(twins.root / "both")), "no twin was started"
    for worker in pair:
        twins.finish(worker)
    assert sorted(twins.outcomes("done")) == ["t1", "t2"], "a job waits for one like it"

    many = make_spool("many")
    for i in range(120):
        many.add(f"j{i}", ["/bin/sh", "-c", f"echo j{i} >> runs; sleep 0.01"])
    for worker in [many.start() for _ in range(5)]:
        many.finish(worker)
    runs = words(many.root / "runs")
    assert sorted(runs) == sorted(f"j{i}" for i in range(120)), "a job was left out, or run twice"
    assert sorted(many.outcomes("done")) == sorted(set(runs))
    assert many.waiting() == spool.waiting() == []


def test_jobs_of_killed_workers_are_tried_again(make_spool, tmp_path):
    for name, kills, more in [("once", 1, {}), ("thrice", 3, {}), ("twice", 2, {"max_attempts": 2}),
                              ("four", 4, {"max_attempts": 5})]:
        spool = make_spool(name)
        log = tmp_path / f"{name}.log"
        gate = tmp_path / f"{name}.gate"
        spool.add("job", slow(log, gate, name), **more)
        for attempt in range(1, kills + 1):
            worker = spool.start()
            started = wait_for(lambda n=attempt, log=log: words(log).count("start") == n)
            assert started, f"attempt {attempt} was not made"
            spool.kill(worker)
            if attempt == 2:   # the command is killed, too
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(words(tmp_path / f"{name}.log.pid")[0]), signal.SIGKILL)
            else:
                gate.touch()   # the command ends, if it has not
            assert wait_for(lambda log=log: is_unlocked(log)), "the command runs on"
            gate.unlink(missing_ok=True)
        gate.touch()
        spool.finish(spool.start())
        if kills < more.get("max_attempts", 3):
            expected = {"job": {"attempts": kills + 1, "output": f"{name}\n"}}
            assert (spool.outcomes("done"), spool.outcomes("failed")) == (expected, {})
        else:
            expected = {"job": {"attempts": kills, "errors": ["worker died"] * kills}}
            assert (spool.outcomes("done"), spool.outcomes("failed")) == ({}, expected)
        assert spool.waiting() == []

    spool = make_spool("mixed")
    spool.add("job", ["/bin/sh", "-c", "echo x >> runs; n=$(wc -l < runs); [ $n = 2 ] || exit $n;"
                      " until [ -e go ]; do sleep 0.05; done"])
    worker = spool.start()
    assert wait_for(lambda: len(words(spool.root / "runs")) == 2), "no second attempt was made"
    spool.kill(worker)
    other = make_spool("other")   # with a job of that name
    other.add("job", ["/bin/echo", "other"])
    other.finish(other.start())
    assert other.outcomes("done") == {"job": {"attempts": 1, "output": "other\n"}}
    (spool.root / "go").touch()
    spool.finish(spool.start())
    assert spool.outcomes("failed") == {
        "job": {"attempts": 3, "errors": ["exit 1", "worker died", "exit 3"]}}

    spool = make_spool("taken")
    log, gate = tmp_path / "taken.log", tmp_path / "taken.gate"
    spool.add("taken", slow(log, gate, "taken"))
    first = spool.start()
    assert wait_for(lambda: words(log) == ["start"]), "the job was not started"
    spool.add("quick", ["/bin/echo", "q"])
    second = spool.start()
    assert wait_for(lambda: "quick" in spool.outcomes("done")), "jobs wait though a worker is idle"
    os.kill(second.pid, signal.SIGSTOP)   # until the command has ended
    spool.kill(first)
    gate.touch()
    assert wait_for(lambda: is_unlocked(log)), "the command runs on"
    os.kill(second.pid, signal.SIGCONT)
    spool.finish(second)   # no other one starts
    assert spool.outcomes("done") == {"taken": {"attempts": 2, "output": "taken\n"},
                                      "quick": {"attempts": 1, "output": "q\n"}}
    assert spool.waiting() == []


def test_what_has_ended_stays_whenever_its_worker_is_killed(make_spool):
    for step in range(100):
        spool = make_spool(f"step{step}")
        for name, status in (("good", 0), ("bad", 3)):
            script = f"echo {name} >> runs; echo {name}; exit {status}"
            spool.add(name, ["/bin/sh", "-c", script], max_attempts=2 - status // 3)
        spool.add_file("none", b"{")
        status = spool.start(("-c", KILLED, str(step))).wait(timeout=PATIENCE_S)
        assert status in (0, -signal.SIGKILL), f"a worker exits with {status}"
        before = [spool.outcomes(kind) for kind in ("done", "failed")]
        spool.finish(spool.start())
        after = [spool.outcomes(kind) for kind in ("done", "failed")]
        for old, new in zip(before, after):
            assert old.items() <= new.items(), "a job that has ended was run again"
        runs = words(spool.root / "runs")
        assert runs.count("good") == 1 or "good" not in before[0], "a job that is done ran again"
        assert runs.count("bad") < 2, "a job was run after its last attempt"
        assert after[0].pop("good", None) in [{"attempts": n, "output": "good\n"} for n in (1, 2)]
        assert after[1].pop("bad", None) in [{"attempts": 1, "errors": [e]}
                                       for e in ("exit 3", "worker died")]
        assert after == [{}, {"none": {"attempts": 0, "errors": ["not a job"]}}]
        assert spool.waiting() == [], "a job that has ended is in new"
        if status == 0:
            break


def is_unlocked(log):
    """Return whether no command holds the lock beside its log."""
    done = subprocess.run(["/usr/bin/flock", "-n", f"{log}.lock", "true"], timeout=60)
    return done.returncode == 0


def test_a_command_outlives_its_worker_alone(make_spool, tmp_path):
    spool = make_spool("spool")
    log, gate = tmp_path / "log", tmp_path / "gate"
    spool.add("a-slow", slow(log, gate, "word"))
    first = spool.start()
    assert wait_for(lambda: words(log) == ["start"]), "the job was not started"
    spool.add("quick", ["/bin/echo", "q"])
    second = spool.start()
    assert wait_for(lambda: "quick" in spool.outcomes("done")), "jobs wait though a worker is idle"
    spool.kill(first)
    spool.add("later", ["/bin/echo", "l"])
    third = spool.start_later()
    # whoever keeps the command alive does other jobs, whoever ends it may begin again at once
    went_on = wait_for(lambda: "later" in spool.outcomes("done") or words(log).count("start") > 1)
    assert went_on, "no worker goes on after another was killed"
    time.sleep(2)   # time to run the command again, for whoever would
    assert "overlap" not in words(log), "the command runs twice at the same time"
    gate.touch()
    spool.finish(second)
    spool.finish(third)
    assert "overlap" not in words(log), "the command runs twice at the same time"
    assert words(log).count("start") == 2
    assert spool.outcomes("done") == {
        "a-slow": {"attempts": 2, "output": "word\n"},
        "quick": {"attempts": 1, "output": "q\n"}, "later": {"attempts": 1, "output": "l\n"}}


def test_attempts_and_their_outcomes(make_spool):
    spool = make_spool("spool")
    count = "echo x >> {0}; n=$(wc -l < {0}); "
    spool.add("third", ["/bin/sh", "-c", count.format("t") + "[ $n = 3 ] && pwd || { echo $n; exit $((n + 4)); }"])
    spool.add("never", ["/bin/sh", "-c", count.format("n") + "exit $((n + 7))"], max_attempts=4)
    spool.add("signal", ["/bin/sh", "-c", "kill -15 $$"], max_attempts=1)
    spool.add("other", ["/bin/sh", "-c", count.format("o") + "kill -$((n + 9)) $$"])
    spool.add("shell", ["/bin/sh", "-c", count.format("s") + "exit $((n + 125))"], max_attempts=2)
    spool.add("plain", ["/etc/passwd"], max_attempts=1)   # no program
    spool.add("mixed", ["/bin/sh", "-c", count.format("m") + "[ $n = 2 ] && kill -9 $$; exit $n"])
    spool.add("missing", ["/no/such/program"], max_attempts=2)
    spool.add("nul", ["/bin/echo", "a\0b"], max_attempts=1)
    spool.add("bytes", ["/usr/bin/printf", "a\\xff\\303\\244\\r\\nb"])
    spool.add("large", ["/bin/sh", "-c", "cat; yes 12345678 | head -n 500000; echo oops >&2"])
    no_jobs = [b"{", b"[]", b'{"command": []}', b'{"command": "ls"}', b'{"command": ["ls", 1]}',
               b'{"command": ["ls"], "max_attempts": 0}', b'{"max_attempts": 2}',
               b'{"command": ["ls"], "max_attempts": true}', b'"command"', b"",
               *(b'{"command": ["ls"], "max_attempts": %s}' % n for n in (b"null", b'"2"', b"1.5", b"-1")),
               b'{"command": ["\xff"]}', b"[" * 99999]
    for i, data in enumerate(no_jobs):
        spool.add_file(f"x{i}", data)
    spool.finish(spool.start())
    assert spool.outcomes("done") == {
        "third": {"attempts": 3, "output": f"{spool.root}\n"},
        "bytes": {"attempts": 1, "output": "a\ufffdä\r\nb"},
        "large": {"attempts": 1, "output": "12345678\n" * 500000}}
    empty = make_spool("empty")
    (empty.root / "new").rmdir()
    empty.root.rmdir()
    empty.finish(empty.start())
    assert {"new", "done", "failed"} <= {path.name for path in empty.root.iterdir()}
    bad = {f"x{i}": {"attempts": 0, "errors": ["not a job"]} for i in range(len(no_jobs))}
    assert spool.outcomes("failed") == {
        "never": {"attempts": 4, "errors": ["exit 8", "exit 9", "exit 10", "exit 11"]},
        "signal": {"attempts": 1, "errors": ["signal 15"]},
        "other": {"attempts": 3, "errors": ["signal 10", "signal 11", "signal 12"]},
        "shell": {"attempts": 2, "errors": ["exit 126", "exit 127"]},
        "plain": {"attempts": 1, "errors": ["cannot run"]},
        "mixed": {"attempts": 3, "errors": ["exit 1", "signal 9", "exit 3"]},
        "missing": {"attempts": 2, "errors": ["cannot run"] * 2},
        "nul": {"attempts": 1, "errors": ["cannot run"]}, **bad}
    assert spool.waiting() == []
