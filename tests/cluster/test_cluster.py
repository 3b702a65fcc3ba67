"""Check runs on a cluster of three nodes, which are processes of this machine and see no root."""
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
from collections import Counter
from functools import partial
from pathlib import Path
from threading import Thread

import pytest
from conftest import REPO, answers, eventually, finish, flags_for, ledger_lines, start_script
from fake_llm import Say
from proof_heron import environment_of
from proof_heron import heron as heron  # a fixture
from ray_nodes import nodes
from root import Root, different_files, read_json, turn_of
from scenario import Scenario
from setups import CA_FLAGS, made_here
from test_inject import DEEP, SUBMIT, act, bash, edit
from test_inject import marsh_image as marsh_image  # a fixture
from test_inject import write_root as write_marsh

from codedata.cluster import ray
from codedata.cluster.ray_engine import RayEngine
from codedata.disk.store import digest
from codedata.errors import ItemFailed, MachineStopped, RunStopped
from codedata.llm.replies import ReplyLog
from codedata.run.stage import Stage
from codedata.run.talk import Step
from codedata.sandbox.factory import SandboxFactory
from codedata.settings import Settings

pytestmark = [pytest.mark.docker, pytest.mark.pods]
AUTH = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN")
SLOW = partial(Say, turn_of("ls"), latency_s=2.0)   # a reply that takes time


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    hidden = Root(tmp_path_factory.mktemp("roots"))
    with nodes(hidden, tmp_path_factory.mktemp("logs")) as found:
        yield found


@pytest.fixture
def root(cluster, request):
    """Return a folder that no node sees."""
    folder = cluster.hidden / re.sub(r"\W", "_", request.node.name)[:40]
    folder.mkdir()
    return folder


def start(cluster, script: str, root: Path, *flags):
    """Start a script that runs on the cluster."""
    return start_script(script, root, *flags, "--engine", "ray", "--ray-address", cluster.address,
                        env={name: cluster.env[name] for name in AUTH})


def same_but_times(one: Path, other: Path, *directories: str) -> None:
    """Check that two roots hold the same files, without ledgers."""
    assert any((one / name).exists() for name in directories)
    assert different_files(one, other, *directories) == []


# models ------------------------------------------------------------------------------------------

def test_a_model_stage_gives_what_threads_give_to_each_root_on_a_cluster(cluster, root, fake_llm):
    running = []
    on_nodes = partial(start, cluster)
    for name, begin in (("threads", start_script), ("a", on_nodes), ("b", on_nodes)):
        (root / name).with_prompts(12)
        (root / name).with_settings()
        running.append(begin("king.py", root / name, *flags_for(fake_llm, "--workers", 6)))
    for done in map(finish, running):
        assert done.returncode == 0, done.stderr
    for name in "ab":
        same_but_times(root / "threads", root / name, "answer")
        lines = ledger_lines(root / name / "answer")
        assert len(lines) == 12 and all(len(line["calls"]) == 1 for line in lines)
    assert fake_llm.n_requests == 36


def test_killed_workers_and_a_killed_node_cost_no_call_and_no_item(cluster, root, fake_llm):
    names = root.with_prompts(24).prompts()
    root.with_settings()
    fake_llm.always(SLOW())
    extra = cluster.start("--address", cluster.address, "--num-cpus", "8")
    process = start(cluster, "king.py", root, *flags_for(fake_llm, "--workers", 8))
    eventually(lambda: fake_llm.n_requests >= 8 and len(cluster.workers()) >= 3)
    os.kill(cluster.workers()[0][0], signal.SIGKILL)
    eventually(lambda: fake_llm.n_requests >= 12)
    cluster.kill_node(cluster.node_of(extra))
    done = finish(process, 90)
    assert done.returncode == 0, done.stderr
    assert answers(root) == sorted(names) and done.stdout == ""
    assert set(Counter(fake_llm.prompts_seen).values()) == {1}
    assert "is lost, its items go to others" in done.stderr


def test_ctrl_c_lets_what_is_in_flight_finish(cluster, root, fake_llm):
    root.with_prompts(12).with_settings()
    fake_llm.always(SLOW())
    process = start(cluster, "king.py", root, *flags_for(fake_llm, "--workers", 4))
    eventually(lambda: fake_llm.n_requests >= 4)
    os.killpg(process.pid, signal.SIGINT)
    done = finish(process)
    n = fake_llm.n_requests   # 4, or more where a node that has just died kept one back
    assert done.returncode == 130 and f"wrote {n}, left {12 - n}" in done.stderr, done.stderr
    assert "--engine ray --ray-address" in done.stderr   # in the command that goes on
    assert len(answers(root)) == n < 8


def test_a_node_with_another_prompt_file_is_refused_by_name(cluster, root, fake_llm):
    root.with_prompts(2)
    shutil.copy(REPO / "king.py", root)   # which no node sees, as the copy of the package
    shutil.copytree(REPO / "codedata", root / "codedata")
    with (root / "codedata/duel/form.md").open("a") as prompt:
        prompt.write("Be brief.\n")
    refused = threading.Event()

    def reply(_) -> str:   # the head sees the copy: it may make all before a node's worker starts
        refused.wait(90)
        return turn_of("ls")

    fake_llm.always(reply)
    process = start(cluster, root / "king.py", root, *flags_for(fake_llm, "--workers", 3))
    for line in process.stderr:
        if "has other files of codedata than the driver" in line:
            refused.set()
    assert finish(process).returncode == 0 and refused.is_set()


@pytest.mark.parametrize("answer, reason", [
    (None, "the Ray cluster {} cannot be reached: [Errno 111]"),
    (b"HTTP/1.1 400 Bad Request", "the Ray cluster {} cannot be reached: another service answers"),
    (b"token", "the Ray cluster {} does not take this process's token")])
def test_a_cluster_that_cannot_be_had_is_named_with_the_reason(
        cluster, tmp_path, fake_llm, answer, reason):
    tmp_path.with_prompts(1)
    env = {name: cluster.env[name] for name in AUTH}
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        if answer is None:
            server.close()
        elif answer == b"token":
            address, env["RAY_AUTH_TOKEN"] = cluster.address, "0" * 64
        else:
            Thread(target=lambda: server.accept()[0].sendall(answer), daemon=True).start()
        done = finish(start_script("king.py", tmp_path, *flags_for(fake_llm), "--engine", "ray",
                                   env={**env, "RAY_ADDRESS": address}), 30)
    assert done.returncode == 2 and reason.format(address) in done.stderr, done.stderr


# the engine --------------------------------------------------------------------------------------

@pytest.fixture
def engine(cluster, root):
    """Return a function that makes an engine for a make() of this file."""
    made = []

    def make_engine(make, host=None, n=2, **how) -> RayEngine:
        made.append(RayEngine(Stage("one", None, None, make, **how), Settings(root=root),
                              threading.Event(), host, cluster.address, n))
        return made[-1]

    yield make_engine
    for one in made:
        one.close()
    ray.shutdown()


def test_an_item_whose_workers_die_fails_and_the_others_do_not(engine):
    def make(word: str) -> str:
        if word == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if word == "unwell":
            raise MachineStopped("the engine cannot be reached")
        return word.upper()

    one = engine(make)
    for word in ("die", "unwell"):
        with pytest.raises(ItemFailed, match=r"^infrastructure: 3 workers died"):
            one.make(ReplyLog(), Step(), [word])
        assert one.make(ReplyLog(), Step(), ["good"]) == "GOOD"


def test_errors_show_where_in_the_worker_they_are_and_lose_no_worker(engine, capfd):
    def make(word: str):
        return {}[word] if word == "gone" else (one for one in word)   # which cannot be sent

    one = engine(make)
    with pytest.raises(TypeError, match="generator"):
        one.make(ReplyLog(), Step(), ["word"])
    with pytest.raises(KeyError) as caught:
        one.make(ReplyLog(), Step(), ["gone"])
    assert "return {}[word]" in str(caught.value.__cause__)
    assert "is lost" not in capfd.readouterr().err


def test_two_container_engines_need_a_registry(engine):
    class Host:
        """Stand for a factory of sandboxes: each worker has an engine of its own."""

        def engine_id(self) -> str:
            return str(os.getpid())

        def reap(self) -> tuple[list[str], list[str]]:
            return [], []

    with pytest.raises(RunStopped, match=r"\[sandbox\] registry is not set") as caught:
        engine(str, Host())
    assert caught.value.exit_code == 2


def test_workers_without_containers_start_on_a_machine_each_the_driver_s_first(engine):
    one = engine(lambda _: ray.get_runtime_context().get_node_id())
    eventually(lambda: len(one._alive) == 2)
    nodes = {one.make(ReplyLog(), Step(), [i]) for i in range(2)}
    assert len(nodes) == 2 and ray.get_runtime_context().get_node_id() in nodes


def test_items_that_wait_for_a_model_share_a_worker_on_each_node_with_slots(engine, root):
    one = engine(lambda _: ray.get_runtime_context().get_node_id(),
                 SandboxFactory(Settings(root=root), threading.Event()), 6, waits=True)
    eventually(lambda: len(one._alive) == 2)
    nodes = Counter(one.make(ReplyLog(), Step(), [i]) for i in range(6))
    assert [*nodes.values()] == [3, 3] and ray.get_runtime_context().get_node_id() not in nodes


# containers --------------------------------------------------------------------------------------

def test_an_agent_whose_worker_dies_goes_on_where_it_was_and_nothing_of_it_is_left(
        cluster, root, marsh_image):
    write_marsh(root, "crane")
    scenes = [{"when": "none yet", "native": [
        act(bash("sleep 1")), act(bash("sleep 2")), act(DEEP, SUBMIT)]},
              {"native": [
                  act(["get_hotspots", {}]),
                  act(edit("heron.py", "'away'", "'here'"), SUBMIT,
                      after="earlier bug: crane.agent-1"), act(DEEP, SUBMIT)]}]
    with Scenario({"scenes": scenes}) as model:
        process = start(cluster, "bug_inject.py", root, "agent", "--steps", "inject", *CA_FLAGS,
                        "--workers", 2, "--llm-base-url", model.base_url)
        eventually(lambda: model.n_requests == 2)
        for worker, _ in cluster.workers():
            os.kill(worker, signal.SIGKILL)
        done = finish(process, 200)
        assert (done.returncode, model.n_requests) == (0, 3 + 3), done.stderr
    here = f"label=codedata.root={digest(str(root.resolve()))}"
    assert made_here("container", "--filter", here) == []
    assert len([*(root / "bug/_trajectories").iterdir()]) >= 2


def test_bugs_made_on_nodes_without_the_root_are_those_of_threads(cluster, root, heron):
    settings = "[bug]\nmax_candidates = 2\nmax_instances = 1\nmax_per_failing_set = 2\n"
    running = []
    for name, begin in (("threads", start_script), ("ray", partial(start, cluster))):
        (root / name).mkdir()
        # a name of its own: images are named by it, and others make bugs of heron meanwhile
        (root / name).with_env(vars(environment_of(name="ibis")))
        (root / name / "chain.toml").write_text(settings)
        running.append(begin("bug_inject.py", root / name, "scale", "--workers", "2"))
        done = finish(running[-1], 300)
        assert done.returncode == 0, done.stderr
    tasks = sorted(path.name for path in (root / "ray/task").glob("[a-z]*"))
    subprocess.run(["docker", "image", "rm", "-f", *(f"codedata-bug/{name}" for name in tasks)],
                   capture_output=True)
    same_but_times(root / "threads", root / "ray", "bug", "task")
    proof = read_json(root / f"ray/task/{tasks[0]}/proof.json")
    assert len(proof["runs"]) == 5 and not Path(REPO, "task", tasks[0]).exists()
