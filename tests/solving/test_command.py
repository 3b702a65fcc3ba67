"""Test a program of others at a task, in containers: mini-swe-agent, of tools/agent-image."""
from __future__ import annotations

import subprocess

import pytest
from conftest import KEY, REPO, settings_for
from fake_llm import Say
from proof_heron import factory_of

from codedata.disk.layouts import load_folder
from codedata.llm.client import Models
from codedata.records import Task
from codedata.sandbox.docker import engine
from codedata.solving.proxy import AGENT, FOLDER, Proxy
from codedata.tasks.prove.grade import grader_of

pytestmark = pytest.mark.docker
RUN = "tests-command"
MINI = f"{AGENT}/bin/mini -y --exit-immediately -m openai/{{model}} -t {{task}}"
# whatever a command says, the model hears it: where a key is, in words that do not have it
LOOK = f"""env; for one in /proc/[0-9]*; do tr '\\0' '\\n' < $one/environ; done
grep -rsl '{KEY[:-1]}[{KEY[-1]}]' /app /etc /home /root /run /tmp /var
touch {AGENT}/x {FOLDER}/x; id -un"""
LOOP = f"""{AGENT}/bin/python3 -c 'import os, urllib.request
while True:
    try:
        urllib.request.urlopen(os.environ["OPENAI_BASE_URL"] + "/chat/completions", DATA)
    except OSError:
        print("refused")
'""".replace("DATA", 'b"{\\"messages\\": []}"')


def bash(command: str) -> Say:
    return Say("I act.", calls=(("bash", {"command": command}),))


@pytest.fixture(scope="module")
def mount():
    image = subprocess.check_output(REPO / "tools/agent-image", text=True).split()[-1]
    return engine.volume_of(image, AGENT)


@pytest.fixture(scope="module")
def grader():
    host = factory_of()
    task = Task.completed(load_folder(REPO / "samples/tasks/tally", Task.places))
    yield grader_of(Task(**task), host, RUN)
    host.forget(RUN)


def attempt(fake_llm, grader, mount, command, limits):
    """Return the result of a program at the task, and the grade of its work."""
    client = Models(settings_for(fake_llm, KEY)).client("king")
    with Proxy(client, {"max_seconds": 100, **limits}) as proxy, grader.host.open(
            grader.image, RUN, grader.workdir, default_rights=True, user="agent",
            mounts=proxy.mounts | mount) as sandbox:
        result = proxy.run(command, grader.task.instruction, sandbox)
        assert sandbox.run("grep -sl [f]orward /proc/[0-9]*/cmdline").output == ""
        return result, grader.grade(grader.packed(sandbox))


def test_mini_swe_agent_solves_a_task_and_finds_no_key(fake_llm, grader, mount):
    fake_llm.script(bash(LOOK), bash((REPO / "samples/tasks/tally/solution/solve.sh").read_text()),
                    bash("echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT"))
    result, grade = attempt(fake_llm, grader, mount, MINI, {"max_iterations": 9})
    assert (result.status, result.iterations, grade.reward) == ("success", 3, 1.0), result.error
    found = result.messages[3]["content"]
    assert grader.task.instruction.strip() in result.messages[1]["content"]
    assert "OPENAI_API_KEY=none" in found and "agent" in found and found.count("Read-only") == 2
    assert not any(KEY.encode() in request.raw for request in fake_llm.requests)


def test_a_program_ends_at_a_limit_whatever_it_does(fake_llm, grader, mount):
    result, grade = attempt(fake_llm, grader, mount, LOOP, {"max_iterations": 2})
    assert (result.cause, result.iterations, fake_llm.n_requests) == ("steps", 2, 2)
    assert grade.reward == 0
    with grader.opened() as verifier:
        assert verifier.run(f"ls {AGENT} {FOLDER}").output.count("No such file") == 2
