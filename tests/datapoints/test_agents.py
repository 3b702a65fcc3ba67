"""Check build_dp.py agents by the script: replies are recorded ones, the agents'
sandboxes are containers; where nothing is said of validation, its results lie in dp/_checks/."""
import json
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from a_datapoint import ALL_RIVALS, RIVALS, TEXTS, write_approved, write_datapoint
from an_attempt import write_attempt
from conftest import REPO, run_script
from recorded import (
    APPROVE,
    CREATE,
    Replay,
    builder_turns,
    idea_turns,
    judged,
    record,
    review_turns,
)
from root import read_json, write_files

from codedata.checks.intervals import wilson
from codedata.datapoints.commands import Commands
from codedata.datapoints.commands.desk import Desk
from codedata.datapoints.datapoint_folder import content_digest, labels_of, read_datapoint
from codedata.datapoints.profiles import gaps_in, instructions
from codedata.datapoints.rate_bands import is_outside
from codedata.datapoints.role_agents import material, task_text
from codedata.datapoints.task_queue import ROLES, QueuedTask, TaskManager
from codedata.datapoints.workers import room
from codedata.disk.ledger import read_lines
from codedata.errors import Interrupted
from codedata.llm.replies import ReplyLog
from codedata.records import Task
from codedata.settings import (
    AgentSettings,
    DpSettings,
    Endpoint,
    RoleSettings,
    SandboxSettings,
    Settings,
)
from codedata.tasks.folder.task_folder import audited_digest

CHAIN = """[llm]
base_url = "{url}"
model = "m"
retry_max = 0
[dp]
drafts = 1
profile = "general"
lease_s = {lease_s}
[prices]
m = {{ in = 1.0, out = 2.0 }}
"""


class Runs:
    """Hold a root, the replies that its agents get, and the server that gives them."""

    def __init__(self, root: Path):
        self.root, self.folder, self.seeds = root, root / "recorded", root / "seeds"
        self.folder.mkdir()
        self.server = None

    def seed(self, name: str, idea=(), builder=(), review=()) -> None:
        """Write a seed, and record what its agents say."""
        self.seeds.mkdir(exist_ok=True)
        (self.seeds / f"{name}.md").write_text(f"# {name}\n\nAdd up numbers.\n")
        record(self.folder, "generate_idea", name, *(idea or idea_turns(name)))
        record(self.folder, "build_datapoint", f"{name}_001_a", *(builder or builder_turns()))
        record(self.folder, "review_datapoint", f"{name}_001_a", *(review or review_turns()))

    def serve(self, latency_s: float = 0.0, lease_s: float = 60.0) -> None:
        self.server = Replay(self.folder, latency_s=latency_s)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        (self.root / "chain.toml").write_text(
            CHAIN.format(url=self.server.base_url, lease_s=lease_s))

    def run(self, *flags, code: int = 0) -> str:
        """Return what build_dp.py prints."""
        # two minutes where nothing else runs
        done = run_script("build_dp.py", self.root, *flags, timeout_s=600)
        assert done.returncode == code, done.stderr
        return done.stderr

    def agents(self, agents: str = "idea=1,builder=1,review=1", *flags, code: int = 0) -> str:
        return self.run("agents", "--agents", agents, "--seeds", self.seeds, *flags, code=code)

    def tasks(self, type: str) -> list[QueuedTask]:
        return TaskManager(self.root / "dp").tasks(type=type)

    def approved(self, name: str) -> Task:
        return read_datapoint(self.root / "task" / name)


@pytest.fixture
def runs(tmp_path):
    found = Runs(tmp_path)
    yield found
    if found.server:
        found.server.shutdown()
        found.server.server_close()


@pytest.mark.docker
def test_killed_agents_lose_nothing_and_pay_at_most_the_calls_in_flight_again(runs):
    content = judged(runs.root, rivals=RIVALS)
    names = ["seed0", "seed1"]
    for name in names:
        runs.seed(name)
    (runs.seeds / "empty.md").write_text(" \n")
    runs.serve(latency_s=0.3, lease_s=4)
    command = [sys.executable, REPO / "build_dp.py", "agents", "--root", runs.root, "--seeds",
               runs.seeds, "--agents", "idea=2,builder=2"]   # reviewers find other checks below
    for wait_s in (9.0, 7.0):
        child = subprocess.Popen(command, cwd=runs.root, stderr=subprocess.DEVNULL,
                                 env={"PATH": os.environ["PATH"], "HOME": str(runs.root)})
        time.sleep(wait_s)
        child.kill()
        child.wait()
    runs.agents("idea=2,builder=2")
    judged(runs.root, rivals=ALL_RIVALS)
    time.sleep(4)   # no lease of a killed run is left
    said = runs.agents("review=1")
    assert "the seed empty has no text" in said and "status.py --html" in said
    for name in names:
        labels = labels_of(runs.approved(f"{name}_001_a"))
        assert (labels.status, labels.lineage["profile"]) == ("approved", "general")
        assert content_digest(runs.approved(f"{name}_001_a")) == content
    assert len([*(runs.root / "dp/_drafts").glob("[!_]*")]) == 2   # one may be half written
    asked = dict(runs.server.asked)
    assert sum(n - 1 for n in asked.values()) <= 2 * 5
    lines = [*read_lines(runs.root / "dp/_ledger.jsonl")]
    assert all((runs.root / line["trajectory"]).is_file() and line["cost_usd"] for line in lines)
    assert sum(len(line["calls"]) for line in lines) == len(asked)
    assert "this run: 0 ended" in runs.agents() and dict(runs.server.asked) == asked
    # a reviewer sees the datapoint, and nothing of those who made it
    shown = next((runs.root / "dp/_trajectories").glob("review*.json")).read_text()
    assert "Idea 1" not in shown and "create_file" in shown and "draft.md" not in shown
    assert "print('not yet')" in shown


@pytest.mark.docker
def test_a_task_whose_process_was_killed_at_its_end_gets_its_ledger_line(runs):
    manager = TaskManager(runs.root / "dp")
    manager.create_task("build_datapoint", {"datapoint": "one"})
    task = manager.get_next_task("builder-01")
    calls = ReplyLog(runs.root / "dp", "build_dp.builder", task.id)
    calls.save("a", 0, {}, {"id": "x", "cost_usd": 0.5})
    write_files(runs.root, {f"dp/_trajectories/{task.id}.0.json": "{}"})
    manager.complete_task(task.id, task.token)
    for lease_s, n in ((60, 0), (1, 1)):   # another process may yet write a young one's
        runs.serve(lease_s=lease_s)
        time.sleep(1)
        runs.run("agents", "--agents", "review=1")
        assert [(line["cost_usd"], line["trajectory"]) for line in read_lines(
            runs.root / "dp/_ledger.jsonl")] == n * [(0.5, f"dp/_trajectories/{task.id}.0.json")]
    assert not calls.path.exists()


@pytest.mark.docker
def test_models_that_do_not_do_their_work_are_bounded_and_named(runs):
    content = judged(runs.root)   # the builder's rivals are graded
    judged(runs.root, prompt="Good.", rivals=RIVALS)
    judged(runs.root, "solvable", prompt="Bad.")
    judged(runs.root, "solvable", prompt="Worse.")
    judged(runs.root, "solvable", prompt="Worst.", rivals=RIVALS)
    worse, worst = ([("create_file", {"path": "x.md", "content": text}),
                     ("patch_dp", {"part": "prompt", "file": "x.md"})]
                    for text in ("Worse.", "Worst."))
    runs.seed("talks", idea=["I would rather talk."] * 30)
    runs.seed("repeats", idea=[("get_idea_refinement_details", {}),
                               ("complete", {"status": "rejected", "reason": "no ideas"})])
    runs.seed("fails", builder=[*builder_turns(prompt="Bad.")[:3], ("validate_datapoint", {}),
                                worse, *[("validate_datapoint", {})] * 5, ("add_dp_to_review", {})])
    runs.seed("reaches", builder=[
        ("approve_datapoint", {}), ("complete", {"task_id": "generate_idea_1"}),
        ("create_dp", {**CREATE[1], "prompt_file": "/etc/nothing"}), *builder_turns()])
    runs.seed("unbuilt", builder=builder_turns(dockerfile=f"{TEXTS['dockerfile']}RUN false\n"))
    runs.seed("edits", builder=builder_turns(prompt="Good."), review=[
        worst, APPROVE, ("cancel_datapoint", {
            "reason": "it cannot be mended", "category": "quality"})])
    runs.serve()
    said = runs.agents("idea=2,builder=2", code=1)
    judged(runs.root, rivals=ALL_RIVALS)
    said += runs.agents("review=1")
    states = {task.data["seed"]: (task.state, task.errors) for task in runs.tasks("generate_idea")}
    assert states["talks"][0] == "failed" and "malformed" in states["talks"][1][-1]
    assert states["repeats"] == ("cancelled", ["no ideas"])
    states = {task.data["seed"]: (task.state, task.errors)
              for task in runs.tasks("build_datapoint")}
    assert states["unbuilt"][1][-1].startswith("its image is not built: ")
    assert states["fails"] == ("cancelled", ["6 validations have failed, the last: solvable"])
    assert content_digest(runs.approved("reaches_001_a")) == content
    text = json.dumps([read_json(path)["messages"] for path in
                       (runs.root / "dp/_trajectories").glob("*.json")])
    for told in ("There is no tool 'approve_datapoint'", "there is no argument `task_id`",
                 "/etc/nothing does not exist", "ideas with different titles are saved",
                 "These checks have not passed: solvable"):
        assert told in text, told
    cancelled = labels_of(read_datapoint(runs.root / "dp/edits_001_a"))
    assert cancelled.reason == "quality: it cannot be mended"
    assert "6 validations have failed" in said and "quality: it cannot be mended" in said
    assert "again:" in said


def test_what_models_solve_too_often_goes_back_twice_at_most(runs):
    (runs.root / "dp").mkdir()

    def attempts(name: str, content: str, solved: int) -> None:
        for k in range(1, 9):
            write_attempt(runs.root, name, k, "solved" if k <= solved else "wrong", content)

    def content_of(name: str) -> str:
        return audited_digest(runs.approved(name))

    solved = {"easy": 8, "never": 0, "some": 2}
    for name, n in solved.items():
        write_approved(runs.root / f"task/{name}",
                       {"lineage": {"profile": "general", "seed": "sums"}})
        attempts(name, content_of(name), n)
    desk = Commands(runs.root, DpSettings(), TaskManager(runs.root / "dp"), None)
    for _ in range(2):   # once for each content
        desk.queue_returns()
    rates = desk.status()["rates"]
    assert {name: (one["own-m-012345"]["attempts"], one["own-m-012345"]["solved"])
            for name, one in rates.items()} == {name: (8, n) for name, n in solved.items()}
    assert rates["easy"]["own-m-012345"]["interval"][0] == pytest.approx(0.6756, abs=1e-3)
    (back,) = runs.tasks("build_datapoint")
    assert back.data["datapoint"] == "easy"
    assert back.data["rates"]["own-m-012345"]["solved"] == 8
    found = material(back, desk)["attempts"]
    assert len(found) == 8 and b"ATIF" in next(iter(found.values()))
    for n in range(2):   # of three versions two went back
        prompt = runs.root / "task/easy/instruction.md"
        write_approved(runs.root / "task/easy", {"lineage": {"profile": "general"}},
                       prompt=f"{prompt.read_text()} Again {n}.")
        attempts("easy", content_of("easy"), 8)
        desk.queue_returns()
    assert len(runs.tasks("build_datapoint")) == 2


def a_task(type: str, data: dict) -> QueuedTask:
    return QueuedTask(id=type, type=type, created_at=1.0, data=data, at=1.0)


def test_a_builder_finds_what_an_earlier_try_has_staged(tmp_path):
    task = a_task("build_datapoint", {"datapoint": "sums_001_a", "seed": "sums"})
    write_files(tmp_path, {"dp/_drafts/sums_001_a.md": "# Sums"})
    desk = Desk(tmp_path, DpSettings(), TaskManager(tmp_path / "dp"), None)
    assert material(task, desk) == {"": {"draft.md": b"# Sums"}}
    staged = write_datapoint(tmp_path / "dp/_staging/sums_001_a")
    assert material(task, desk)["datapoint"] == staged


def test_wilsons_interval_decides_what_goes_back():
    rates = (0, 8), (6, 8), (7, 8), (0, 100)
    assert [is_outside({"interval": wilson(passes / n, n)}, "backend")
            for passes, n in rates] == [False, False, True, True]


def test_rooms_let_in_as_many_as_there_are_and_a_stop_ends_the_wait():
    places, stop, inside, most = threading.Semaphore(2), threading.Event(), [], []

    def enter(i: int) -> None:
        with room(places, stop):
            inside.append(i)
            most.append(len(inside))
            time.sleep(0.05)
            inside.remove(i)

    with ThreadPoolExecutor(6) as pool:
        assert len([*pool.map(enter, range(6))]) == 6 and max(most) == 2
        with room(places, stop), room(places, stop):   # nobody leaves
            waiting = pool.submit(enter, 6)
            time.sleep(0.1)
            stop.set()
            assert isinstance(waiting.exception(timeout=30), Interrupted)


def test_wrong_usage_ends_with_2_and_a_dry_run_writes_nothing(tmp_path, capfd):
    for flags in ("--workers 3 --agents idea=1", "--agents idea=0", "--agents idea=1,idea=2",
                  "--agents cook=1", "--force"):
        assert run_script("build_dp.py", tmp_path, "agents", *flags.split()).returncode == 2
    done = run_script("build_dp.py", tmp_path, "agents", "--seeds", REPO / "samples/seed_tasks",
                      "--agents", "idea=2,builder=2,review=1", "--limit", 3, "--dry-run")
    assert done.returncode == 0 and done.stderr.count("at most 3 tasks to come") == 3
    assert not (tmp_path / "dp").exists()
    assert "API Development" in gaps_in(tmp_path, "backend")["categories"]


def test_a_role_has_a_model_of_its_own_or_that_of_agents():
    settings = Settings(agent=AgentSettings(model="a", max_tokens=9),
                        dp_review=RoleSettings(model="r"),
                        endpoints={"chutes": Endpoint("chutes")})
    assert settings.model_spec("dp_review").model == "r"
    assert settings.model_spec("dp_idea").model == "a"
    assert settings.model_spec("dp_review").max_tokens == 9


@pytest.mark.parametrize("type", ROLES)
def test_the_demo_was_played_with_the_prompts_of_today(type):
    path, = (REPO / "samples/dp_trajectories").glob(f"{type}.*.json")
    system, user = read_json(path)["messages"][:2]
    name = path.stem.removeprefix(f"{type}.")
    prompt = instructions(ROLES[type], DpSettings(profile="general"),
                          SandboxSettings().base_image, is_inside=True)
    assert system["content"] == prompt, f"play {path.name} anew: its prompt has changed"
    assert user["content"] == task_text(a_task(type, {"seed": name, "datapoint": name}))
