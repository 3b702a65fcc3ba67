"""Check solve.py: attempts at small datapoints, by the script, with scripted replies."""
import os
import re
import threading
import time
from dataclasses import replace

import pytest
from a_datapoint import SOLUTION, TEXTS, write_approved
from a_task import read_task, write_foreign
from an_attempt import CALL, TOOLS, write_attempt
from conftest import eventually, finish, flags_for, kill, run_script, start_script
from fake_llm import HANG, Say, Status
from root import read_json

from codedata.checks.intervals import by_both
from codedata.conversation.atif_writer import atif_of
from codedata.disk.ledger import read_lines
from codedata.disk.store import known_in
from codedata.errors import Interrupted, ItemFailed, Trouble
from codedata.leak.forbidden import forbidden_in
from codedata.records import Attempt, Commit, Task, about_in
from codedata.sandbox import process_labels
from codedata.sandbox.docker import engine
from codedata.sandbox.factory import SandboxFactory
from codedata.settings import SandboxSettings, Settings, SolveSettings
from codedata.solving.agents import Nop
from codedata.solving.attempt import attempted, write_rates
from codedata.solving.room import CORE, LOOK_S, MEMORY, OVERHEAD, Room
from codedata.solving.trials import agent_id, problem_of, skip_rule, trials_in
from codedata.tasks.folder.task_folder import audited_digest
from codedata.tasks.rates import attempts_in, outcomes_in, rates_of

CHAIN = """[llm]
model = "m"
retry_max = 0
call_timeout_s = 60
[solve]
max_steps = 8
[prices]
m = { in = 10_000.0, out = 0.0 }
"""
SUBMIT = Say("", calls=(("submit", {"answer": "Done."}),))


def runs(command: str) -> Say:
    return Say("", calls=(("bash", {"command": command}),))


# what a model does at the task of that name, turn by turn
PLAYS = {"solved": [runs(SOLUTION), SUBMIT], "wrong": [runs("echo 1 > notes"), SUBMIT],
         "no-submission": [""], "out-of-steps": [runs("ls")],
         "out-of-context": [Status(400, {"error": {"message": "maximum context length"}})],
         "refused": [Say("", finish_reason="content_filter")],
         "cheated": [runs("cat /solution/solve.sh"), runs(SOLUTION), SUBMIT],
         "full-disk": [runs("truncate -s 1T big; sleep 20")],
         "full-in-its-diff": [runs("git() { truncate -s 1T big; sleep 20; }"), SUBMIT],
         "full-when-graded": [
             runs("""echo 'import os; os.system("yes > /app/big")' > total.py"""), SUBMIT],
         "leads-out": [runs("tar() { command tar -cPf $2 ../app/total.py; }"), SUBMIT],
         "broken": [runs("ls"), Status(500)]}
LIMITED = {"full-disk": "over the disk limit", "leads-out": "leads out",
           "full-in-its-diff": "over the disk limit",
           "full-when-graded": "be graded: over the disk limit"}   # they are wrong: why


def play(request):
    """Return the reply that is due to a request: that of its task after so many replies."""
    messages = request.body["messages"]
    name = messages[1]["content"].split()[-1].rstrip(".")
    n = sum(one["role"] == "assistant" for one in messages)
    return PLAYS[name][min(n, len(PLAYS[name]) - 1)]


def write_tasks(root, *names: str) -> None:
    (root / "chain.toml").write_text(CHAIN)
    for name in names:
        write_approved(root / f"task/{name}", prompt=f"{TEXTS['prompt'].strip()} It is {name}.")


def outcomes(root) -> dict[str, dict]:
    """Return the outcomes of a root's attempts by the name of the task and the attempt."""
    return {f"{one['task']} {one['attempt']}": one for one in outcomes_in(root).values()}


@pytest.mark.docker
def test_each_attempt_has_its_cause_and_more_attempts_replace_none(tmp_path, fake_llm):
    write_tasks(tmp_path, *PLAYS)
    fake_llm.always(play)
    flags = flags_for(fake_llm, "--workers", 2, "--disk-limit", "300MB")
    said = run_script("solve.py", tmp_path, *flags, "--n", 1, timeout_s=300)
    assert said.returncode == 1 and "failed 1" in said.stderr and "does not count" in said.stderr
    found = outcomes(tmp_path)
    assert {name.rpartition(" ")[0]: one["status"].replace(" ", "-")
            for name, one in found.items()} == {
                name: name for name in PLAYS if name != "broken"} | dict.fromkeys(
                    LIMITED, "wrong")
    assert all(why in found[f"{name} 1"]["why"] for name, why in LIMITED.items())
    assert [found[f"{name} 1"]["reward"] for name in ("solved", "wrong", "cheated")] == [1, 0, 1]
    usage = found["solved 1"]["usage"]
    assert usage == {"calls": 2, "tokens_in": 200, "tokens_out": 40, "cost_usd": 2.0}
    solved, = (known_in(tmp_path, Attempt, name) for name, one in outcomes_in(tmp_path).items()
               if one["task"] == "solved")
    assert solved.patch is None   # there is no repository
    assert solved.trajectory["steps"][-1]["tool_calls"][0]["function_name"] == "submit"
    paid = fake_llm.n_requests
    again = run_script("solve.py", tmp_path, *flags, "--n", 2, "--only", "solved", timeout_s=300)
    assert again.returncode == 0 and outcomes(tmp_path).keys() == {*found, "solved 2"}
    assert "status.py --html" in again.stderr
    assert fake_llm.n_requests == paid + 2 and outcomes(tmp_path)["solved 1"] == found["solved 1"]
    dry = run_script("solve.py", tmp_path, *flags, "--n", 4, "--only", "solved", "--dry-run")
    assert "calls, " in dry.stderr and "by the mean of 12 attempts" in dry.stderr
    fake_llm.always(lambda request: SUBMIT)   # the endpoint is back
    run_script("solve.py", tmp_path, *flags, "--n", 1, "--only", "broken", timeout_s=300)
    broken = outcomes(tmp_path)["broken 1"]
    assert (broken["status"], broken["replayed"], broken["usage"]["calls"]) == ("wrong", 1, 2)


def test_a_look_tells_of_other_settings_of_rates_and_of_tasks_that_are_not_there(tmp_path):
    write_tasks(tmp_path, "solved")
    write_attempt(tmp_path)
    write_attempt(tmp_path, k=2, status="wrong")
    assert "does not go on with own-m-012345, of another model, prompt or limit" in run_script(
        "solve.py", tmp_path, "--status").stderr
    write_attempt(tmp_path, "other", status="wrong")
    assert ("datapoint own-m-012345 25% solved (3% to 80%), the mean of 2 tasks: wrong 2, solved 1"
            in run_script("status.py", tmp_path, "--summary").stdout)
    gone = run_script("solve.py", tmp_path, "--tasks", tmp_path / "gone", "--dry-run")
    assert gone.returncode == 2 and "gone is not a folder" in gone.stderr
    others = run_script("audit.py", tmp_path / "task", "--tasks", tmp_path / "task", "--dry-run")
    assert "1 task to copy" in others.stderr and not (tmp_path / "task/task").exists()


@pytest.mark.docker
def test_a_killed_attempt_goes_on_from_its_kept_replies(tmp_path, fake_llm):
    write_tasks(tmp_path, "solved")
    times = "date +'%T.%N  %N.%N sec  duration_ms %N'; ls -la /run"
    fake_llm.script(runs(times), PLAYS["solved"][0], HANG)
    flags = flags_for(fake_llm, "--n", 1)
    process = start_script("solve.py", tmp_path, *flags)
    fake_llm.wait_for(3, timeout_s=90)
    kill(process)
    assert not [*tmp_path.glob("attempt/[!_]*")]
    fake_llm.script(SUBMIT)
    assert finish(start_script("solve.py", tmp_path, *flags), 120).returncode == 0
    outcome = outcomes(tmp_path)["solved 1"]
    assert (outcome["status"], outcome["replayed"], outcome["usage"]["calls"]) == ("solved", 2, 3)
    assert fake_llm.n_requests == 4   # the one in flight is paid twice
    lines = [*read_lines(tmp_path / "attempt/_ledger.jsonl")]
    assert sum(len(line.get("calls", ())) for line in lines) == 3
    left = engine.connect().containers(all=True, filters={"label": process_labels.RUN})
    assert not [one for one in left if "attempt-solved-" in one["Labels"][process_labels.RUN]]


@pytest.mark.docker
def test_gold_and_nop_show_whether_the_tasks_of_others_are_sound(tmp_path):
    theirs = tmp_path / "theirs"
    write_foreign(theirs, "sound", {
        "solution/solve.sh": "echo hello > /app/said\n",
        "task.toml": 'schema_version = "1.4"\n[task]\nname = "them/sound"\n[environment]\n'
                     'workdir = "/app"\nallow_internet = true\n',
        "environment/Dockerfile": "FROM codedata-base:bookworm\nWORKDIR /app\n",
        "tests/test.sh": "[ ! -e /app/said ]; echo $? > /logs/verifier/reward.txt\n"})
    for agent, reward in (("gold", 1.0), ("nop", 0.0)):
        done = run_script("solve.py", tmp_path, "--tasks", theirs / "task", "--agent", agent,
                          "--n", 1, timeout_s=200)
        assert done.returncode == 0, done.stderr
        assert [one["reward"] for one in outcomes_in(tmp_path).values()
                if one["agent"].startswith(agent)] == [reward]


def test_names_come_from_content_and_settings_and_first_attempts_come_first(tmp_path):
    write_tasks(tmp_path, "a", "b")
    names = [*trials_in(tmp_path, "own-m-1", 2).open().names()]
    assert [name.rsplit(".", 2)[1:] for name in names] == [["own-m-1", k] for k in "1122"]
    edited = tmp_path / "task/a/instruction.md"
    edited.write_text("Something else.")
    after = [*trials_in(tmp_path, "own-m-1", 2).open().names()]
    assert [one == other for one, other in zip(names, after, strict=True)] == [
        False, True, False, True]
    write_tasks(tmp_path, "a" * 160)
    trials = trials_in(tmp_path, f"own-{'m' * 40}-123456", 1).open()
    assert ["too long" in trials.read(name).problem for name in sorted(trials.names())] == [
        False, True, False]
    settings = {"model": "deep/m", "temperature": 1.0}
    assert agent_id("own", settings) != agent_id("own", {**settings, "temperature": 0.5})
    assert agent_id("own", settings).startswith("own-deep-m-")


def test_a_task_that_was_edited_since_the_plan_is_not_attempted(tmp_path):
    write_tasks(tmp_path, "a")
    trials = trials_in(tmp_path, "nop-1", 1).open()
    trial = trials.read(next(iter(trials.names())))
    (tmp_path / "task/a/instruction.md").write_text("Something else.")
    host = SandboxFactory(Settings(sandbox=SandboxSettings("local")), threading.Event())
    room = Room("5Gi", [], threading.Event())
    with pytest.raises(ItemFailed, match="edited just now"):
        attempted(host, room, Nop(), "nop-1", [], trial)


def test_the_status_is_about_the_attempts_that_a_run_was_to_make(tmp_path):
    write_tasks(tmp_path, "sums")
    name, = trials_in(tmp_path, agent_id("gold", {}), 1).open().names()
    write_attempt(tmp_path, "sums", 1, "wrong", *name.split(".")[1:3], planned=3)
    (tmp_path / "chain.toml").write_text('[solve]\nagent = "gold"')
    assert re.search("\nsolve .* 2 +2 ", run_script("status.py", tmp_path).stdout)


def test_until_ends_the_attempts_of_a_task_and_a_longer_one_goes_on(tmp_path):
    write_tasks(tmp_path, "sums")
    trials = trials_in(tmp_path, "own-m-012345", 5).open()
    content = trials.read(next(iter(trials.names()))).content
    for k, status in enumerate(("solved", "wrong", "cheated"), 1):
        write_attempt(tmp_path, "sums", k, status, content, until=[1, 2])
    rule = skip_rule(tmp_path, trials, SolveSettings(until=(1, 2)))
    *earlier, fourth, _ = trials.names()
    assert [bool(rule(name, "")) for name in (*earlier, fourth)] == [False] * 3 + [True]
    assert not skip_rule(tmp_path, trials, SolveSettings(until=(2, 2)))(fourth, "")
    for usd, is_over in ((1.5, True), (1.6, False)):   # of all three
        assert bool(skip_rule(tmp_path, trials, SolveSettings(max_task_usd=usd))(fourth, "")
                    ) == is_over
    with pytest.raises(Trouble, match="two numbers"):
        SolveSettings(until=(2,))
    write_attempt(tmp_path, "sums", 1, "solved", "f" * 16)   # at another version of the task
    write_rates(tmp_path)
    assert len([*tmp_path.glob("attempt/_rates/sums.*.json")]) == 2
    found = attempts_in(tmp_path)["sums", content]
    rates = rates_of([*found["own-m-012345"].values()])
    assert (rates["attempts"], rates["solved"], rates["is_cut"]) == (3, 1, True)
    assert rates["interval"] == [round(end, 4) for end in by_both(1, 2, 1, 2)]


@pytest.mark.parametrize(("files", "reason"), [
    ({"environment/docker-compose.yaml": "services: {}\n"}, "further containers"),
    ({"task.toml": '[environment]\ngpus = 1\n[[environment.mcp_servers]]\nname = "x"\n'},
     "GPUs, MCP servers"),
    ({"task.toml": "[[steps]]\nname = 'one'\n"}, "steps"), ({"instruction.md": " "}, "instruction"),
    ({}, "")])
def test_what_cannot_run_here_is_named(tmp_path, files, reason):
    write_foreign(tmp_path, "theirs", files)
    problem = problem_of(read_task(tmp_path, "theirs"))
    assert reason in problem and bool(problem) == bool(reason)
    write_approved(tmp_path / "task/ours")
    ours = read_task(tmp_path, "ours")
    assert not problem_of(ours)
    assert "as it was proven" in problem_of(replace(ours, tests={}))


def test_a_number_that_no_file_of_ours_may_hold_is_in_no_trajectory():
    odd = {**CALL, "function": {"name": "bash", "arguments": '{"timeout": 18446744073709551615}'}}
    says = {"role": "assistant", "content": "", "tool_calls": [odd]}
    (step,) = atif_of([says], TOOLS, "s", {})["steps"]
    assert step["tool_calls"][0]["arguments"] == {}


def test_exports_choose_tasks_by_how_often_models_solve_them(tmp_path):
    write_tasks(tmp_path, "easy", "some", "none")
    for name, k, status in (("easy", 1, "solved"), ("some", 1, "solved"), ("some", 2, "wrong")):
        content = audited_digest(read_task(tmp_path, name))
        write_attempt(tmp_path, name, k, status, content)
        write_attempt(tmp_path, name, k, "solved", content, agent="gold-012345", model="")
        # of another agent, which solves the easy task at times
        write_attempt(tmp_path, name, k, ["wrong", "solved"][k - 1], content, "own-n-012345",
                      model="n")
        write_attempt(tmp_path, name, 3, "solved", content, agent="own-n-012345", model="n")
    with (tmp_path / "chain.toml").open("a") as file:
        file.write("[export]\npass_rate = [0.1, 0.9]\nformats = ['harbor']\n"
                   "pass_rate_agent = 'm'\n")   # the model of one agent
    assert run_script("export.py", tmp_path).returncode == 0
    (task,) = read_json(tmp_path / "export/harbor/manifest.json")["tasks"]
    assert task["name"] == "some" and task["rates"]["own-m-012345"]["rate"] == 0.5
    assert task["rates"].keys() == {"own-m-012345", "own-n-012345"}
    assert about_in(Task.config_in(tmp_path / "export/harbor/some"))["rates"] == task["rates"]
    assert "1 task: 1 are solved" in (tmp_path / "export/harbor/README.md").read_text()
    left = [*read_lines(tmp_path / "export/left_out.jsonl")]
    assert {one["name"]: one["reason"] for one in left} == {
        "easy": "pass rate", "none": "no attempts"}


def test_uncertain_tasks_come_first_and_saturated_ones_are_left(tmp_path):
    (tmp_path / "chain.toml").write_text('[solve]\nagent = "gold"\nn = 9\nfirst = "uncertain"\n')
    for name in "abc":
        write_approved(tmp_path / f"task/{name}")
    agent = agent_id("gold", {})
    digests = {name: audited_digest(read_task(tmp_path, name)) for name in "abc"}
    for k in range(1, 9):
        write_attempt(tmp_path, "a", k, "solved", digests["a"], agent)
        write_attempt(tmp_path, "b", k, "wrong" if k > 4 else "solved", digests["b"], agent)
    names = [*trials_in(tmp_path, agent, 9, "uncertain").open().names()]
    todo = [name[0] + name[-1] for name in names if name[0] == "c" or name[-1] == "9"]
    assert todo == ["c1", "c2", "c3", "c4", "c5", "c6", "c7", "c8", "b9", "c9", "a9"]
    said = run_script("solve.py", tmp_path, "--status", "--n", 9).stderr
    assert "excluded 1" in said and "left for the next checkpoint" in said
    said = run_script("solve.py", tmp_path, "--status", "--n", 9, "--shard", "0/2").stderr
    assert "cannot go with --shard" in said


def test_a_task_about_git_may_look_at_its_history():
    pr = Commit("a", "them/a", "", "", "", "", [], "", "")
    assert forbidden_in("git reflog", [], pr) and not forbidden_in("git reflog", [], pr, False)
    assert forbidden_in("cat /tests/test.sh", [], pr, False)


def test_as_many_are_open_as_fit_into_the_memory_and_as_many_work_as_there_are_cores():
    stop, entered, ends, n = threading.Event(), [], [], os.cpu_count()
    room = Room("0", [], stop)
    room.limit()   # looks at the memory, once
    each = room._most * 2 // (2 * n + 3) - OVERHEAD   # n + 1.5 fit
    room.in_use += [each, 1 << 50, each]   # one record is wrong

    def hold(what) -> None:
        try:
            with room.place(what):
                entered.append(what)
                stop.wait()
        except Interrupted:
            ends.append(what)

    for what in (n + 3) * [MEMORY] + (n + 1) * [CORE]:
        threading.Thread(target=hold, args=(what,)).start()
    eventually(lambda: len(entered) == 2 * n + 1)
    time.sleep(2 * LOOK_S)
    assert (entered.count(MEMORY), entered.count(CORE)) == (n + 1, n)
    stop.set()
    eventually(lambda: len(ends) == 3)


def test_a_look_says_what_will_be_open(tmp_path):
    write_tasks(tmp_path, *"abc")
    settings = CHAIN.replace("[solve]", "workers = 2\n[solve]\nworkers = 7")
    (tmp_path / "chain.toml").write_text(settings + '[endpoints.base_url]\nbase_url = "http://x"')
    dry = run_script("solve.py", tmp_path, "--n", 9, "--dry-run").stderr
    assert "7 open at once, about 1.9 GB of memory" in dry


@pytest.mark.docker
def test_attempts_are_open_together_while_they_wait_for_their_model(tmp_path, fake_llm):
    write_foreign(tmp_path, files={
        "task.toml": '[environment]\ndocker_image = "codedata-base:bookworm"\nworkdir = "/app"\n',
        "environment/Dockerfile": "FROM codedata-base:bookworm\n"})
    together = threading.Event()

    def wait(_) -> Say:
        together.wait(90)
        return SUBMIT

    fake_llm.always(wait)
    process = start_script("solve.py", tmp_path, *flags_for(fake_llm, "--n", 7, "--workers", 6))
    fake_llm.wait_for(6, timeout_s=90)
    time.sleep(1)
    assert fake_llm.n_requests == 6   # of 7
    together.set()
    assert finish(process, 120).returncode == 0
    assert [one["memory_bytes"] > 0 for one in outcomes(tmp_path).values()] == [True] * 7
