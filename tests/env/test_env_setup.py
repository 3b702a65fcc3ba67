"""Test env_setup.py in real containers, with scripted models; kill it, edit records, run again."""
import json
import subprocess
from functools import partial
from pathlib import Path

import pytest
from conftest import kill, ledger_lines, run_here, start_script
from heron_project import commit_all
from heron_project import git as heron_git
from projects import docker
from root import read_json, write_files
from scenario import Scenario
from setups import (
    CA_FLAGS,
    INSTALL,
    TEST,
    WRONG,
    handed_in,
    on_lean,
    record,
    scenario,
    set_up,
    wait_till_reaped,
    write_rows,
)

from codedata.env.setup_agent import MAX_LOG_CHARS, end_of, listing, scripts_in
from codedata.sandbox.images.registry import IMAGE_NAME, image_name
from env_setup import main


def by_agent(root: Path, *replies, flags=("--no-image",), **scenes):
    """Run with a model that gives these replies; return (the ended process, the model)."""
    with Scenario(scenario(*replies, **scenes)) as model:
        return set_up(root, *flags, model=model), model


def start(root: Path, model: Scenario) -> subprocess.Popen:
    on_lean(root)
    return start_script("env_setup.py", root, "--input", root / "repos.jsonl", "--planner", "agent",
                        "--llm-base-url", model.base_url, *CA_FLAGS)


def names_of(root: Path) -> dict[str, str]:
    """Return {function: status} of the record's cases."""
    return {case["name"].rpartition("::")[2]: case["status"]
            for case in record(root)["test_case_result"]}


# without containers ------------------------------------------------------------------------------

def test_the_scripts_of_an_answer_are_the_last_ones_without_fences():
    answer = ("Old:\n<install_script>\nfalse\n</install_script>\nBetter:\n<install_script>\n"
              "```bash\n#!/bin/bash\ntrue\n```\n</install_script><test_script> </test_script>")
    assert scripts_in(answer) == {"install_script": "#!/bin/bash\ntrue\n"}


def test_an_agent_is_shown_the_end_of_a_log_in_whole_lines_and_none_again_and_again():
    again = "start\nretrying\n(the line above 400 times)\ngave up"
    assert end_of("start\n" + "retrying\n" * 400 + "gave up\n") == again
    assert end_of("10 %\r50 %\r\x1b[1mdone\x1b[0m\n") == "done" and end_of("") == ""
    shown = end_of("\n".join(f"line {i} {'x' * 90}" for i in range(200)))
    assert MAX_LOG_CHARS - 100 < len(shown) <= MAX_LOG_CHARS
    assert shown.startswith("line 14")
    assert shown.endswith("x")
    assert len(end_of("y" * 9000)) == MAX_LOG_CHARS


def test_an_agent_is_shown_what_lies_on_top_first(tmp_path):
    pages = (f"docs/pages/{i}.md" for i in range(400))
    write_files(tmp_path, dict.fromkeys(("tox.ini", "tests/test_a.py", *pages), ""))
    said = subprocess.run(["bash", "-c", listing()], cwd=tmp_path, capture_output=True, text=True,
                          check=True).stdout
    lines = said.splitlines()
    assert lines[:3] == ["tox.ini", "tests/test_a.py", "docs/pages/0.md"]
    assert lines[-1] == "… and 102 more"


@pytest.mark.parametrize("name", ["heron", "a__b", "Foo", "foo", "owner__.github", "x___y", "foo-",
                                  "a..b", "A.b_C"])
def test_every_name_makes_an_image_name_of_its_own(name):
    def of(repo_name):
        return image_name("codedata-env/", repo_name).removeprefix("codedata-env/")
    assert IMAGE_NAME.fullmatch(of(name)) and (of(name) == name or of(name)[-7] == "-")
    assert of("Foo") != of("foo") == "foo"


def test_what_is_there_is_shown_without_an_engine(heron, capsys):
    rows = ["--input", heron / "repos.jsonl"]
    assert run_here(main, heron, *rows, "--planner", "recipe", "--status") == 0
    assert "missing 1" in capsys.readouterr().err and not (heron / "env").exists()
    # one of --input and --repo is needed
    assert run_here(main, heron) == 2 and "--input" in capsys.readouterr().err


def test_an_address_is_not_cloned_to_look_on(tmp_path, capsys):
    assert run_here(main, tmp_path, "--repo", "https://127.0.0.1:9/birds/heron.git",
                    "--dry-run") == 0
    seen = capsys.readouterr().err
    assert "missing 1" in seen and "at most 260 calls" in seen
    assert run_here(main, tmp_path / "new", "--repo", "git://127.0.0.1/a", "--status") == 2
    assert "env_setup.py makes a new one" in capsys.readouterr().err and not [*tmp_path.iterdir()]


# in containers -----------------------------------------------------------------------------------

@pytest.mark.docker
def test_an_agent_s_scripts_are_verified_and_make_an_image_also_after_a_kill(heron):
    look = {"text": "I look.", "calls": [["bash", {"command": "ls && cat heron.py"}]]}
    with Scenario(scenario(look, {**handed_in(), "after": "slowly"})) as model:
        model.latency_s = 0.5
        process = start(heron, model)
        model.wait_for(2)
        kill(process)
        done = set_up(heron, model=model)
        assert done.returncode == 0, done.stderr
        assert model.n_requests == 2 + 1   # one was in flight
        system_prompt, task = (message["content"] for message in model.requests[0].messages[:2])
        assert "ended after 30 minutes" in system_prompt and "Repository: birds__heron\n" in task
        # nothing to do, for which no engine is needed
        again = set_up(heron, model=model, env={"DOCKER_HOST": "unix:///nowhere"})
        assert again.returncode == 0 and model.n_requests == 3
    found = record(heron)
    assert (found["status"], found["planner"], found["error"]) == ("success", "agent", "")
    assert (found["install_script"], found["test_script"]) == (INSTALL, TEST)
    assert found["summary"] == "It needs nothing."
    assert names_of(heron) == {"test_wade": "passed", "test_name": "passed"}
    assert found["row"]["stars"] == 3
    assert found["usage"]["calls"] == 2
    assert found["verified"]["healthy"]
    assert found["messages"][0]["role"] == "system" and found["image_name"].startswith(
        "codedata-env/birds__heron:")
    trajectories = map(read_json, (heron / "env" / "_trajectories").iterdir())
    assert found["messages"] in [one["messages"] for one in trajectories]
    line, = ledger_lines(heron / "env", state="done")
    assert len(line["calls"]) == 2
    wait_till_reaped(heron, [process.pid])
    assert "2 passed" in docker("run", "--rm", "--network", "none", found["image_name"], "bash",
                                "-c", TEST)
    docker("rmi", "-f", found["image_name"])


@pytest.mark.docker
def test_what_does_not_verify_is_mended_once_and_picked_tests_make_no_healthy_environment(heron):
    """A package.json beside Python makes no second stage."""
    (heron / "heron/package.json").write_text(
        '{\n  "license": "Apache-2.0",\n  "devDependencies": {"prettier": "*"}}')
    for name in ("reeds", "tide"):
        (heron / f"heron/test_{name}.py").write_text("def test_it():\n    pass\n")
    picked = handed_in(test=TEST.replace("pytest -q", "pytest -q test_heron.py"))
    done, model = by_agent(heron, handed_in(test=WRONG),
                           again=("that failed: not verified: tests", [picked]))
    assert done.returncode == 0 and "/opt/other" in model.requests[1].text and model.n_requests == 2
    found = record(heron)
    assert found["status"] == "success"
    assert found["row"]["licence"] == "Apache-2.0"
    assert found["image_name"] == ""
    assert found["verified"]["network_was_off"]
    assert [attempt["failed"] for attempt in found["verified"]["attempts"]] == ["tests", ""]
    assert not found["verified"]["healthy"]
    assert found["verified"]["silent"] == ["test_reeds.py", "test_tide.py"]
    assert found["verified"]["cause"]["name"] == "part_of_suite"


SLOW = ["bash", {"command": "sleep 60", "timeout_s": 7200}]   # ended by --run-timeout


@pytest.mark.docker
@pytest.mark.parametrize("calls, status, says", [
    ([SLOW, ["submit", {"answer": "done"}]], "max_iteration", "100 replies"),
    ([["stop", {"reason": "it wants a licence key"}]], "tool_stop", "stop")],
    ids=["slow, then hands in nothing", "gives up"])
def test_how_an_agent_ends_is_the_record_s_status(heron, calls, status, says):
    done, _ = by_agent(heron, *({"calls": [call]} for call in calls),
                       flags=["--run-timeout", "3"])
    found = record(heron)
    assert done.returncode == 1 and found["status"] == status and says in found["error"]
    assert "image_id" in found["verified"]
    slow = "not finished after 3 s" in json.dumps(found["messages"])
    assert slow == (SLOW in calls)


@pytest.mark.docker
def test_two_stages_for_javascript(tmp_path):
    write_files(tmp_path / "tern", {"package.json": '{"name": "tern"}',
                                    "spec.py": "def test_it():\n    pass\n"})
    write_rows(tmp_path, {"repo": "tern", "reformat_path": "tern"})
    test_script = TEST.replace("-q", "-q spec.py")
    first = {"calls": [["submit", {"answer": f"<install_script>\n{INSTALL}</install_script>"}]]}
    second = {"calls": [["submit", {"answer": f"<test_script>\n{test_script}</test_script>"}]]}
    done, model = by_agent(tmp_path, second, one=("the tests come next", [first]))
    assert done.returncode == 0, done.stderr
    assert "It is installed here by this script" in model.requests[1].text
    found = record(tmp_path, "tern")
    assert (found["install_script"], found["test_script"]) == (INSTALL, test_script)


@pytest.mark.docker
def test_by_recipe_without_a_model_and_one_failure_does_not_cost_the_others(heron):
    """Set up a repository with a file that is not committed, and one without tests."""
    commit_all(heron / "heron")
    (heron / "heron" / "test_more.py").write_text("def test_more():\n    pass\n")
    (heron / "outside.txt").write_text("hostilesecret\n")
    (heron / "heron/requirements-test.txt").symlink_to(heron / "outside.txt")
    (heron / "empty").mkdir()
    (heron / "empty" / "Makefile").symlink_to("/etc/hostname")
    write_rows(heron, {"repo": "birds/heron", "reformat_path": "heron"},
               {"repo": "birds/empty", "repo_name": "empty", "reformat_path": "empty"})
    done = set_up(heron, "--no-image")
    assert done.returncode == 1 and "wrote 1, failed 1: empty" in done.stderr
    assert "tests pass, image (none), " in done.stderr and "analyze.py --root" in done.stderr
    assert record(heron)["status"] == "success" and record(heron)["planner"] == "recipe"
    assert names_of(heron).keys() == {"test_wade", "test_name", "test_more"}
    assert [*record(heron)["verified"]["unreadable"]] == ["requirements-test.txt"]
    assert record(heron, "empty")["status"] == "error"
    assert "manifest_unreadable" in record(heron, "empty")["error"]
    texts = [path.read_text() for path in (heron / "env").rglob("*.json*")]
    assert "hostilesecret" not in "".join([done.stderr, *texts])


NAMED_BY_TIME = """import time
import pytest


@pytest.mark.parametrize("at", [time.time_ns()])
def test_at(at):
    pass


@pytest.mark.parametrize("n", range(20))
def test_as_ever(n):
    pass
"""


@pytest.mark.docker
def test_the_next_commit_is_installed_in_the_image_of_the_one_before(heron):
    """Set up the second of four commits from nothing, and the later ones in its image: by one run
    where nothing that decides the install differs. The first is set up from nothing, since the
    images of the others hold what came after it."""
    git = partial(heron_git, heron / "heron")
    git("init", "-q")
    (heron / "heron/test_time.py").write_text(NAMED_BY_TIME)
    commits = []
    for n in (1, 2, 3, 4):
        (heron / "heron/requirements.txt").write_text("six" if n == 4 else "")
        (heron / f"heron/test_{n}.py").write_text(f"def test_{n}():\n    pass\n")
        git("add", "-A"), git("commit", "-qm", str(n), "--date", f"2026-11-0{n}T00:00:00Z")
        commits.append(git("rev-parse", "HEAD"))
    names = [f"local__heron__{commit[:8]}" for commit in commits]
    counting = INSTALL.replace("touch /opt/installed", "echo once >>/opt/installed")
    on_lean(heron)
    for n, replies in ((1, [handed_in(counting)]), (2, []), (3, []), (0, [handed_in(counting)])):
        write_rows(heron, {"repo": "heron", "reformat_path": "heron", "base_commit": commits[n]})
        done, model = by_agent(heron, *replies, flags=())
        assert done.returncode == 0 and model.n_requests == len(replies), done.stderr
    all_four = first, second, third, fourth = [record(heron, name) for name in names]
    assert [len(one["verified"]["test_s"]) for one in all_four] == [4, 4, 1, 4]
    assert fourth["summary"] == f"recipe: that of {names[2]}"
    assert third["summary"] == f"recipe: that of {names[1]}" and third["base_commit"] == commits[2]
    assert third["image_name"] != second["image_name"]
    assert first["planner"] == third["planner"] == "agent"   # whose scripts the third has, too
    cases = {case["name"].rpartition("::")[2] for case in third["test_case_result"]}
    assert not any("test_at" in name for name in cases) and len(third["flaky"]) == 4
    assert {"test_1", "test_2", "test_3"} <= cases and third["base_image"] == second["base_image"]
    for one in all_four:
        docker("rmi", "-f", one["image_name"])
