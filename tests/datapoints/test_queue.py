"""Check the queue of tasks: claims, leases and tokens, what files survive, what is refused."""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
from conftest import REPO, eventually, everything_under, queue_line
from root import read_json

from codedata.datapoints.task_queue import JOURNAL, Refusal, TaskManager, open_queue
from codedata.errors import Trouble

IDEA, BUILD = "generate_idea", "build_datapoint"


# the distribution's PostgreSQL; it refuses to run as root
PROGRAMS = max(Path("/usr/lib/postgresql").glob("*/bin"), default="(apt install postgresql)")
USER = "postgres" if os.geteuid() == 0 else None
RESTART = ("pg_ctl restart -m fast -w -l $PGHOST/log "
           "-o '-k '$PGHOST' -h \"\" -c max_connections=200'")
IN_POSTGRES = pytest.param("postgres", marks=pytest.mark.postgres)


@pytest.fixture(scope="session")
def postgres():
    """Run PostgreSQL, reached by a socket in its folder. Return a function that runs one of its
    programs and returns the folder."""
    folder = tempfile.mkdtemp(prefix="codedata_pg.", dir="/tmp")   # a short path
    if USER:
        shutil.chown(folder, USER)

    def run(command: str) -> str:
        subprocess.run(f"{PROGRAMS}/{command}", shell=True, check=True, user=USER, cwd="/",
                       env={"PGHOST": folder, "PGDATA": f"{folder}/data", "PGUSER": "codedata"},
                       stdout=subprocess.DEVNULL)
        return folder

    run("initdb --no-sync --auth=trust --username=codedata")
    run(RESTART)
    yield run
    run("pg_ctl stop -m immediate")
    shutil.rmtree(folder)


@pytest.fixture(params=["", IN_POSTGRES])
def queue(request, tmp_path):
    """Return a function that opens the test's queue: in a file, or in a database of its own."""
    url, name = request.param, tmp_path.name
    if url:
        folder = request.getfixturevalue(url)(f"createdb {name}")
        url = f"postgresql://codedata@/{name}?host={folder}"
    return partial(open_queue, Path(tmp_path), url)


@pytest.fixture
def tm(queue):
    return queue()


def start(queue: partial, program: str, lease_s: float = 60) -> subprocess.Popen:
    """Start a process that runs lines of Python with `tm`, the queue."""
    head = ("import os, time\nfrom pathlib import Path, PosixPath\n"
            "from codedata.datapoints.task_queue import TaskManager, open_queue\n"
            f"tm = open_queue(*{queue.args!r}, lease_s={lease_s})\n")
    return subprocess.Popen([sys.executable, "-c", head + program], env={"PYTHONPATH": str(REPO)},
                            stdout=subprocess.PIPE, text=True)


def held(tm: TaskManager) -> tuple[str, str]:
    """Claim a task, and return its id and token."""
    task = tm.get_next_task("a")
    return task.id, task.token


def seen(tm: TaskManager) -> tuple:
    return tm.counts(), tm.tasks()


def test_processes_and_threads_claim_each_task_once(tm, queue):
    ids = {tm.create_task(BUILD, {"n": n}) for n in range(80)}
    program = "while task := tm.get_next_task('a'): print(task.id, flush=True)"
    with ThreadPoolExecutor(4) as pool:
        threads = pool.map(lambda n: tm.get_next_task(f"thread {n}").id, range(20))
        processes = [start(queue, program) for _ in range(4)]
    claimed = "".join(process.communicate()[0] for process in processes).split()
    assert sorted([*claimed, *threads]) == sorted(ids)


def test_the_highest_priority_goes_first_then_the_oldest_of_the_wanted_types(tm):
    first, second = (tm.create_task(IDEA, {}) for _ in range(2))
    urgent, other = tm.create_task(IDEA, {}, priority=2), tm.create_task(BUILD, {}, priority=1)
    assert [tm.get_next_task("a", IDEA).id for _ in range(3)] == [urgent, first, second]
    assert tm.get_next_task("a", IDEA) is None and tm.get_next_task("a").id == other
    child = tm.create_task(BUILD, {}, parent=first, key="one")
    assert tm.create_task(BUILD, {"a": 2}, key="one") == child
    assert [task.id for task in tm.tasks(parent=first)] == [child]
    assert [task.id for task in tm.tasks(type=BUILD, state="pending")] == [child]


def test_a_killed_agents_task_returns_after_its_lease_and_not_before(tm, queue):
    id = tm.create_task(IDEA, {})
    agent = start(queue, "print(tm.get_next_task('a').lease_until, flush=True)\n"
                         "time.sleep(60)", lease_s=1.5)
    lease_until = float(agent.stdout.readline())
    agent.kill()
    agent.communicate()
    eventually(lambda: tm.get_next_task("b"))
    assert tm.get_task(id).at >= lease_until and tm.get_task(id).attempts == 2


def test_a_late_completion_is_refused_even_under_the_same_name(tm, queue):
    tm.create_task(IDEA, {})
    slow = queue(lease_s=0.2)
    late = held(slow)
    time.sleep(0.3)
    with pytest.raises(Refusal, match="is pending, and not held"):   # though no other agent has it
        slow.complete_task(*late)
    claim = held(tm)
    cancel = partial(tm.cancel_task, reason="too hard")
    for change in (slow.complete_task, tm.heartbeat, slow.release, cancel):
        with pytest.raises(Refusal):
            change(*late)
    slow.complete_task(*claim)
    task, = tm.tasks()
    assert (task.state, task.attempts, len(task.errors)) == ("completed", 2, 1)


def test_a_clock_that_is_set_ends_no_lease_and_holds_none(tm, queue):
    tm.create_task(BUILD, {})
    agent = start(queue, f"""clock, task = time.time, tm.get_next_task('a')
for days in (3, -3):
    time.time = lambda: clock() + 86400 * days
    tm.heartbeat(task.id, task.token)
    print(tm.get_next_task('b'))
other = open_queue(*{queue.args!r})   # as of a process that starts when the clock is back
print(other.get_next_task('b'))
time.sleep(2)
print(other.get_next_task('b').id == task.id)""", lease_s=2)
    assert agent.communicate()[0].split() == ["None", "None", "None", "True"]


def test_what_changes_a_task_renews_its_lease(queue):
    tm = queue(lease_s=0.8)
    id = tm.create_task(IDEA, {"a": 1})
    claim = held(tm)
    for change in (tm.heartbeat, tm.heartbeat, tm.complete_task):
        time.sleep(0.4)
        change(*claim)
    assert (tm.get_task(id).data["a"], tm.get_task(id).state) == (1, "completed")


def test_three_attempts_then_it_has_failed_with_all_errors_and_a_release_is_no_attempt(queue):
    tm = queue(lease_s=0.2)
    id = tm.create_task(IDEA, {})
    tm.release(*held(tm))
    for n in range(2):
        tm.fail_task(*held(tm), f"no build {n}")
        assert tm.get_task(id).state == "pending"
    tm.get_next_task("b")
    time.sleep(0.3)
    task = tm.get_task(id)
    assert (task.state, task.attempts) == ("failed", 3) and tm.get_next_task("a") is None
    assert task.errors == ["no build 0", "no build 1", "The lease ended without a heartbeat."]


def test_another_process_finds_all_claims_and_leases(tm, queue, tmp_path):
    odd = {"text": "é\x00\u2028\n", "numbers": [1e300, 2**60, {"": None}]}
    ids = [tm.create_task(BUILD, odd, key=f"k{n}") for n in range(4)]
    result = {"long": "é" * 5_000_000, **odd}
    tm.complete_task(*held(tm), result)
    mine = tm.get_next_task("a\x00\n")
    start(queue, "task = tm.get_next_task('b')\n"
                 "tm.fail_task(task.id, task.token, 'no')\nos._exit(0)").wait()
    odd["text"] = result["text"] = "what the caller changes afterwards is not the queue's"
    again = queue()
    tasks = again.tasks()
    assert tasks[0].data["text"] == tasks[0].result["text"] == "é\x00\u2028\n"
    assert tasks[0].data["numbers"] == odd["numbers"] and seen(tm) == seen(again)
    assert again.create_task(BUILD, {}, key="k3") == ids[3]
    again.complete_task(mine.id, mine.token)
    assert again.get_next_task("a").id == ids[2]
    assert tm.get_next_task("b").id == ids[3] and seen(tm) == seen(again)
    assert mine.token not in everything_under(tmp_path)


def test_a_torn_line_is_passed_over_and_the_whole_one_before_it_has_happened(tmp_path):
    tm = TaskManager(tmp_path)
    id = tm.create_task(IDEA, {})
    line = read_json(tmp_path / JOURNAL)
    line["task"]["state"] = "cancelled"
    with open(tmp_path / JOURNAL, "a") as journal:
        journal.write(json.dumps({**line, "event": "cancelled"}) + '\n{"at": 1, "ta')
    assert tm.get_task(id).state == "cancelled"
    second = tm.create_task(IDEA, {})
    assert seen(TaskManager(tmp_path)) == seen(tm) and tm.get_next_task("a").id == second


def test_an_earlier_file_that_is_put_back_is_read_anew(tmp_path):
    tm = TaskManager(tmp_path)
    tm.create_task(IDEA, {})
    shutil.copy(tmp_path / JOURNAL, tmp_path / "earlier")
    shutil.copy(tmp_path / JOURNAL, tmp_path / "renamed")
    for name, put in (("earlier", shutil.copy), ("renamed", os.rename)):
        tm.create_task(IDEA, {})
        put(tmp_path / name, tmp_path / JOURNAL)
        assert len(tm.tasks()) == 1


@pytest.mark.parametrize("make", [
    lambda path, mine: path.symlink_to(mine), lambda path, _: os.mkfifo(path),
    lambda path, _: path.mkdir()])
def test_what_stands_in_place_of_the_file_is_trouble_and_not_written_through(tmp_path, make):
    (tmp_path / "mine").write_text("mine")
    make(tmp_path / JOURNAL, tmp_path / "mine")
    for folder in (tmp_path, tmp_path / "mine"):
        with pytest.raises(Trouble, match=f"{JOURNAL}"):
            TaskManager(folder)
    assert (tmp_path / "mine").read_text() == "mine"


@pytest.mark.parametrize("change, words", [
    (lambda task: task.update(state="in_progress"), "do not fit"),
    (lambda task: task.update(priority=2**70), "is a number, not a whole"),
    (lambda task: task.pop("result"), "do not fit"), (lambda task: task.update(token=""), "do not"),
    # so long that it has ended
    (lambda task: task.update(state="in_progress", lease_until=1e15), "")])
def test_a_line_that_nobody_can_use_is_named_and_holds_nobody_up(tmp_path, capsys, change, words):
    line = queue_line()
    change(line["task"])
    (tmp_path / JOURNAL).write_text(f"{json.dumps(line)}\n[]\n")
    tm = TaskManager(tmp_path)
    tm.create_task(BUILD, {})
    assert tm.get_next_task("a").type == (BUILD if words else IDEA)
    said = capsys.readouterr().err
    assert words in said and f"{JOURNAL} has lines that no queue writes" in said
    assert said.count("line 2: ") == 1 and ("line 1: " in said) == bool(words)


@pytest.mark.parametrize("call, why", [
    (lambda tm: tm.get_next_task("a", "paint"), "paint is not a type of task"),
    (lambda tm: tm.create_task(IDEA, {"state": 1, "token": 2}), "cannot have state, token"),
    (lambda tm: tm.create_task(IDEA, {"a": float("nan")}), "NaN"),
    (lambda tm: tm.create_task(IDEA, {"a": "\ud800"}), "surrogates not allowed"),
    (lambda tm: tm.create_task(IDEA, {}, priority=2**64), "64-bit range"),
    (lambda tm: tm.create_task(IDEA, {}, parent="none"), "There is no task none"),
    (lambda tm: tm.get_task("\ud800"), "There is no task")])
def test_what_is_refused_changes_nothing(tm, call, why):
    tm.create_task(IDEA, {})
    before = tm.tasks()
    with pytest.raises(Refusal, match=why):
        call(tm)
    assert tm.tasks() == before


WORK = """from codedata.datapoints.task_queue import Refusal
while task := tm.get_next_task('a'):
    print(task.id, flush=True)
    try:
        tm.complete_task(task.id, task.token)
    except Refusal:   # done before the server stopped, which could not say so any more
        assert tm.get_task(task.id).state == 'completed'
"""


@pytest.mark.parametrize("queue", [IN_POSTGRES], indirect=True)
@pytest.mark.parametrize("n_tasks, n_processes", [
    (300, 4), pytest.param(10_000, 32, marks=pytest.mark.long)])
def test_each_task_is_done_once_while_the_server_restarts(queue, postgres, n_tasks, n_processes):
    tm = queue()
    ids = [tm.create_task(BUILD, {}) for _ in range(n_tasks)]
    processes = [start(queue, WORK) for _ in range(n_processes)]
    eventually(lambda: tm.counts()[BUILD]["completed"] > n_tasks / 3, 600)
    postgres(RESTART)
    done = "".join(process.communicate()[0] for process in processes).split()
    assert sorted(done) == sorted(ids) and tm.counts()[BUILD]["completed"] == n_tasks


@pytest.mark.parametrize("queue", [IN_POSTGRES], indirect=True)
def test_a_database_that_cannot_be_used_is_named_at_once(queue, postgres, tmp_path):
    tm, began = queue(), time.monotonic()
    postgres(f"psql -qc 'ALTER TABLE codedata_queue DROP line' {tmp_path.name}")
    for call in (tm.counts, lambda: open_queue(tmp_path, "postgresql://u@localhost:1/x")):
        with pytest.raises(Trouble, match=r"cannot be used: .*(refused|does not exist)"):
            call()
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("address", ["u:s3cret@h/x", "u:s3/cret@h/x", "h/x?user=u&password=s3cret"])
@pytest.mark.parametrize("words", ["agents --show-config", "agents", "tool status"])
def test_an_address_with_a_password_is_refused_unprinted(tmp_path, words, address):
    told = subprocess.run([sys.executable, REPO / "build_dp.py", "--root", tmp_path, "--queue",
                           f"postgresql://{address}", *words.split()],
                          capture_output=True, text=True)
    assert "PGPASSWORD" in told.stderr and "cret" not in told.stderr + told.stdout
    assert not [*tmp_path.iterdir()]
