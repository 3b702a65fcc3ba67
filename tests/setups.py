"""Run env_setup.py on a small repository with a model that plays a scenario."""
import os
import subprocess
from pathlib import Path

from conftest import eventually, finish, run_script, start_script
from engine_line import EngineLine
from projects import docker, make_lean
from root import read_json
from scenario import Scenario
from source_rows import write_jsonl

from codedata.sandbox import process_labels
from codedata.sandbox.docker import engine

CA_BUNDLE = os.environ.get("REQUESTS_CA_BUNDLE", "")
CA_FLAGS = ["--ca-bundle", CA_BUNDLE] if CA_BUNDLE else []
INSTALL = "#!/bin/bash\nset -e\ntouch /opt/installed\n"
TEST = ("#!/bin/bash\nmkdir -p /tmp/results\ntest -e /opt/installed || exit 3\n"
        "python3 -m pytest -q -p no:cacheprovider -o junit_family=xunit1 "
        "--junitxml=/tmp/results/pytest.xml\n")
WRONG = TEST.replace("/opt/installed", "/opt/other")


def handed_in(install: str = INSTALL, test: str = TEST) -> dict:
    answer = (f"It needs nothing.\n<install_script>\n{install}</install_script>\n<test_script>\n"
              f"{test}</test_script>")
    return {"calls": [["submit", {"answer": answer}]]}


def scenario(*replies, **scenes) -> dict:
    """Return a scenario: `replies` to any task, scene=(word, replies) to a task with that word."""
    found = [{"when": when, "native": list(native)} for when, native in scenes.values()]
    return {"scenes": [*found, {"native": list(replies)}]}


def write_rows(root: Path, *rows) -> None:
    write_jsonl(root / "repos.jsonl", rows)


def on_lean(root: Path) -> None:
    """Set up in the lean image, unless the root has settings."""
    if not (root / "chain.toml").exists():
        (root / "chain.toml").write_text(f'[sandbox]\nbase_image = "{make_lean()}"\n')


def set_up(root: Path, *flags, model: Scenario | None = None, env: dict | None = None):
    at = ["--llm-base-url", model.base_url, "--planner", "agent"] if model else ["--planner",
                                                                                 "recipe"]
    on_lean(root)
    return run_script("env_setup.py", root, "--input", root / "repos.jsonl", *CA_FLAGS, *at, *flags,
                      env=env, timeout_s=300)


def record(root: Path, name: str = "birds__heron") -> dict:
    return read_json(root / f"env/{name}.json")


def made_here(kind: str, *more) -> list[str]:
    """Return the ids of the containers, images or networks that carry a run's label."""
    return docker(kind, "ls", "-q", "--filter", "label=codedata.run", *more).split()


def wait_till_open(process: subprocess.Popen) -> None:
    """Wait till a process has a container."""
    eventually(lambda: made_here("container", "--filter", f"label=codedata.pid={process.pid}"),
               timeout_s=100)


def without_engine(script: str, root: Path, *flags) -> subprocess.CompletedProcess:
    """Return a process that has lost the engine when it had opened its first container."""
    with EngineLine() as line:
        process = start_script(script, root, *flags, env={"DOCKER_HOST": line.address})
        wait_till_open(process)
        line.cut()
        done = finish(process, timeout_s=200)
    wait_till_reaped(root, [process.pid])
    return done


def left_by(pid: int) -> list[str]:
    """Return the ids of all that a process has made and that was not to be kept. Kept images may be
    those of an earlier process: process ids are used again."""
    made = "--filter", f"label=codedata.pid={pid}", "--filter", "label=codedata.keep="
    return [id for kind in ("container", "network", "image") for id in made_here(kind, *made)]


def wait_till_reaped(root: Path, pids: list[int]) -> None:
    """Wait till a start in the root has removed all that killed processes have made: the engine
    ends what it was asked for, such as the commit of an image, after a kill as well.
    """
    process_labels.label_with(root)

    def is_clean() -> bool:
        engine.reap()
        return not any(map(left_by, pids))

    eventually(is_clean, timeout_s=120)
