"""Test run_turns.py on turns of a small project: replays, what candidates do, runs cut short."""
import re
import subprocess
from contextlib import contextmanager

import pytest
from conftest import edit, eventually, kill, run_script, start_script
from fake_judges import run_main
from heron_environment import TEST_SCRIPT, an_environment
from projects import COMMIT, Project
from root import read_json, turn_of, write_json
from tool_turns import asks, call, result

import ch
import king
from codedata.code.patches import diff_of
from codedata.conversation.recorded_steps import observation_of, steps_of
from codedata.conversation.tool_calls import default_tools
from codedata.duel.executed import Execution, execution_of
from codedata.records import Answer, Executed, parse
from codedata.sandbox import Result
from codedata.turns.execute import State, run_sides
from codedata.turns.replay import Replayer, compare

ID, NAME = "birds__heron-7", "birds__heron__00000000"
# modes as a clone under umask 002 has them
PROJECT = Project("heron", commands=f"{COMMIT}\nchmod -R g+w . && chmod 775 .")
HERON, TESTS = PROJECT.texts["heron.py"], PROJECT.texts["tests/test_heron.py"]
HIDDEN = (f"{TESTS}\n\ndef test_swim():\n    from heron import swim\n"
          "    assert swim() == 3, 'SECRET'\n")
SWIM = "tests/test_heron.py::test_swim"
RIGHT = "printf '\\n\\ndef swim():\\n    return 3\\n' >> heron.py"


def mini(output: str, code: int = 0) -> str:
    return f"<returncode>{code}</returncode>\n<output>\n{output}</output>"


def write_answer(root, name: str, *history: tuple[str, str], **sides) -> None:
    """Write an answer: the history has (command, observation), each side a command."""
    messages = [{"role": "system", "content": "You are an agent. Answer with one bash block."},
                {"role": "user", "content": f"task {name}"}]
    for command, shown in history:
        messages += [{"role": "assistant", "content": turn_of(command)},
                     {"role": "user", "content": shown}]
    sides = {"king": "true", "challenger": None, "assistant": "true"} | sides
    write_json(root / f"answer/{name}.json", {
        "instance_id": ID, "messages": messages,
        **{side: command and turn_of(command) for side, command in sides.items()}})


def write_root(root, **fields) -> None:
    """Write the environment and the pull request."""
    root.with_env(an_environment(NAME, repo="birds/heron", **{
        "image_name": PROJECT.make(), "test_script": TEST_SCRIPT, **fields}))
    root.with_commit(ID, repo="birds/heron", files=[],
                     patch=diff_of({"heron.py": b"1\n"}, {"heron.py": b"2\n"}),
                     test_patch=diff_of({"tests/test_heron.py": TESTS.encode()},
                                        {"tests/test_heron.py": HIDDEN.encode()}))


def executed(root, name: str) -> dict:
    return read_json(root / f"executed/{name}.json")


def run_turns(root, *flags, **options):
    return run_script("run_turns.py", root, "--workers", 1, *flags, timeout_s=300, **options)


def runs_of(record: dict) -> dict[str, dict]:
    return {side: run for run in record["runs"] for side in run["sides"]}


# what observations say ---------------------------------------------------------------------------

LONG = "".join(f"line {i}\n" for i in range(999))


@pytest.mark.parametrize(("shown", "output", "code", "is_equal"), [
    ("Observation: a\n", "a\n", 1, True), ("a", "b", 0, False),
    ("a\n(Open file: n/a)\n(Current directory: /x)\nbash-$", "a\n", 0, True),
    ("Your command ran successfully and did not produce any output.", "", 0, True),
    ("a\n[The command completed with exit code 1.]\n[Current working directory: /w]", "a", 1, True),
    ("Exit code 1\na", "a", 1, True),
    ("Chunk ID: 1\nWall time: 0.1 s\nProcess exited with code 1\nOutput:\na", "a", 1, True),
    ('{"output":"a","metadata":{"exit_code":1,"duration_seconds":1}}', "a", 1, True),
    (f"<exception>e</exception>\n{mini('a', -1)}", "a", -1, True),
    (mini("a\n", 1), "a\n", 1, True), (mini("a\n"), "a\n", 1, False), (mini(""), "", 0, True),
    ("<returncode>0</returncode>\n<warning>\nlong\n</warning>\n<output_head>\n" + LONG[:50]
     + f"\n</output_head>\n<elided_chars>\n{len(LONG) - 90} characters elided\n</elided_chars>\n"
     f"<output_tail>\n{LONG[-40:]}\n</output_tail>", LONG, 0, True),
    (f"{LONG[:50]}\n... [output truncated, {len(LONG) - 90} chars elided] ...\n{LONG[-40:]}", LONG,
     0, True),
    (f"<returncode>0</returncode>\n<output>\n{LONG[:50]}\n[… {len(LONG) - 90:,} characters are "
     f"left out here; the whole text is in ~/a …]\n{LONG[-40:]}</output>", LONG, 0, True),
    (f"{LONG[:50]}\n... [output truncated, {len(LONG) - 190} chars elided] ...\n{LONG[-40:]}", LONG,
     0, False)])
def test_an_observation_is_compared_with_what_its_form_shows_of_a_result(
        shown, output, code, is_equal):
    found = compare(observation_of(shown), Result(code, output, 0.1))
    assert (found == "equal") is is_equal


def test_only_words_that_differ_between_two_runs_are_masked():
    def found(shown: str, first: str, second: str) -> str:
        return compare(observation_of(shown), Result(0, first, 0.1), Result(0, second, 0.1))
    assert found("3 in 1.25s", "3 in 0.5s", "3 in 0.75s") == "masked"
    assert found("4 in 1.25s", "3 in 0.5s", "3 in 0.75s") == "unequal"
    assert found("3 in 1.25s", "3 in 0.5s", "3 in 0.5s") == "unequal"


# replay ------------------------------------------------------------------------------------------

@pytest.mark.docker
def test_a_history_is_equal_masked_of_the_same_tree_or_unequal_from_a_turn_on(tmp_path):
    write_root(tmp_path)
    look = ("cat heron.py", HERON)
    write_answer(tmp_path, "t_1", look, ("echo x > made; cat made nowhere 2>/dev/null",
                                         mini("x\n", 1)))
    write_answer(tmp_path, "t_2", look, ("date +%N | tee made", "123456789\n"),
                 ("mktemp -u", "/tmp/tmp.AbCdEfGhIj\n"))
    write_answer(tmp_path, "t_3", look, ("hostname", "elsewhere\n"), ("echo y | tee made", "y"))
    write_answer(tmp_path, "t_4", look, ("ls", "elsewhere"), ("echo x >> made; cat made", "x\nx"),
                 look, king="cat made")
    write_answer(tmp_path, "t_5", ("grep -c SECRET tests/*.py", "tests/__init__.py:0\n"
                                   "tests/test_heron.py:1\n"), ("true", ""))
    write_answer(tmp_path, "t_6", ("stat -c %a heron.py .", "644\n755"))
    write_answer(tmp_path, "t_7", ("stat -c %a heron.py .", "644\n755"), ("ls", "other"),
                 ("grep -c SECRET tests/test_heron.py", "1"))
    done = run_turns(tmp_path)
    assert done.returncode == 0, done.stderr
    assert [(one["start"], one["n_equal"]) for one in (   # found by itself
        executed(tmp_path, f"t_{i}") for i in (5, 6, 7))] == [
        ("base, test patch", 2), ("base, umask 022", 1), ("base, test patch, umask 022", 2)]
    found = [executed(tmp_path, f"t_{i}") for i in (1, 2, 3, 4)]
    assert [(one["replay"], one["n_commands"], one["n_equal"], one["n_masked"]) for one in found
            ] == [("equal", 2, 2, 0), ("equal", 3, 1, 2), ("tree unchanged", 3, 2, 0),
                  ("unequal at turn 2", 4, 2, 0)]
    assert [(one["turn"], one["tree_changed"]) for one in found[3]["unequal"]
            ] == [(1, False), (2, True)]
    assert runs_of(found[3])["king"]["output"] == "x\n" and {one["start"] for one in found
                                                             } == {"base"}
    assert execution_of(tmp_path, "t_4", turn_of("cat made")) is None
    assert execution_of(tmp_path, "t_1", turn_of("true")).text().startswith("(exit code 0)")


def runs(*commands: str) -> dict:
    """Return a turn that calls the shell for each command."""
    return asks(*(call("bash", {"command": command}, f"c{i}")
                  for i, command in enumerate(commands)), text="")


class Folder:
    """A branch and its makers: commands run in a folder of this machine."""

    layers = ()

    def __init__(self, folder):
        self.folder = folder

    @contextmanager
    def branch(self, *_):
        yield self

    def run(self, command: str, **_) -> Result:
        done = subprocess.run(["bash", "-c", command], cwd=self.folder, capture_output=True,
                              text=True)
        return Result(done.returncode, done.stdout, 0.25)

    def changes(self) -> dict:
        return {}


def test_the_calls_of_a_turn_run_in_order_each_with_its_own_result(tmp_path):
    history = [{"role": "user", "content": "task"}, runs("ls", "pwd"), result("c1", "seen 1"),
               result("c0", "seen 0")]
    tools = default_tools("mini-swe-agent", history)[0]
    assert [(step.turn, step.command, step.shown.head) for step in steps_of(history, tools)] == [
        (0, "ls", "seen 0"), (0, "pwd", "seen 1")]
    sides = {"king": runs("echo a > a", "cat a; exit 3"), "challenger": runs("cat a")}
    here = Folder(tmp_path)
    state = State(here, None, Replayer(here, {}, 9.0, None), None)
    (several, one), _ = run_sides(sides, Answer(ID, history, "", tools=tools), state)
    assert several["command"] == "echo a > a\ncat a; exit 3" and several["seconds"] == 0.5
    assert Execution(several, {}).text() == (
        "(1 of 2: exit code 0)\n(no output)\n(2 of 2: exit code 3)\na\n(no file changed)")
    assert "calls" not in one and Execution(one, {}).text() == "(exit code 0)\na\n(no file changed)"
    record = Executed(ID, NAME, "", "base", "commit", "equal", [], 2, 2, 0, {}, [several, one], 1.0)
    assert parse(Executed, vars(record), "") == record


def test_a_hand_in_is_not_run_and_its_text_says_so(tmp_path):
    mark = "COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT"
    work = [f"touch a && echo '{mark}'", f"grep -r {mark} ."]
    names = ["submit", "finish", "mark_task_complete"]
    ends = [*(call(name, {}) for name in names), *(call("bash", {"command": one}) for one in (
        "submit", f"cd . && echo {mark} && git add -A", *work))]
    tools = [{"function": {"name": name}} for name in (*names, "bash")]
    here = Folder(tmp_path)
    state = State(here, None, Replayer(here, {}, 9.0, None), None)
    found, _ = run_sides(dict(zip("0123456", map(asks, ends), strict=True)),
                         Answer(ID, [], "", tools=tools), state)
    said = {side: Execution({**run, "exit_code": 127}, {}).text()   # as earlier records have it
            for run in found for side in run["sides"]}
    assert {side for side in said if said[side] == "(hands in)\n(no file changed)"} == {*"01234"}
    history = [message for one in ends for message in (asks(one), result("c1", "seen"))]
    assert [step.command for step in steps_of(history, tools)] == work


# candidates --------------------------------------------------------------------------------------

def write_candidates(root) -> None:
    """Write a turn whose candidates fix, break, miss, crash, edit tests, look, and do the same."""
    write_answer(root, "t_1", ("cat heron.py", HERON), king=RIGHT,
                 assistant="sed -i s/no/yes/ *.py",
                 challenger="printf '\\n\\ndef swim():\\n    return 4\\n' >> heron.py")
    samples = [RIGHT, "echo 'def (:' >> heron.py; python3 heron.py",
               f"{RIGHT}; rm tests/test_heron.py",
               "cat tests/test_heron.py; grep -rl SECRET . /tmp /root /run; :"]
    write_json(root / "answer/_samples/t_1.json", {"samples": [*map(turn_of, samples), "no block"]})


@pytest.mark.docker
def test_candidates_are_told_apart_by_what_they_change_and_by_hidden_tests_that_nobody_sees(
        tmp_path):
    write_root(tmp_path)
    write_candidates(tmp_path)
    assert run_turns(tmp_path).returncode == 0
    record = executed(tmp_path, "t_1")
    runs = runs_of(record)
    assert record["before"][SWIM] == "failed" and len(record["before"]) == 22
    assert [one["sides"] for one in record["runs"]] == [
        ["king", "sample 1"], ["challenger"], ["reference"], ["sample 2"], ["sample 3"],
        ["sample 4"]]
    passed = {"king": 22, "challenger": 21, "sample 2": 0, "sample 3": 22}
    assert {side: [*run["tests"].values()].count("passed") for side, run in runs.items()
            if run["tests"]} == passed | {"sample 1": 22}
    assert {side for side, run in runs.items() if not run["changes"]} == {"reference", "sample 4"}
    assert [side for side, run in runs.items() if run["exit_code"]] == ["sample 2"]
    assert [*runs["sample 3"]["changes"]] == ["heron.py", "tests/test_heron.py"]
    king_s = execution_of(tmp_path, "t_1", turn_of(RIGHT))
    broken = execution_of(tmp_path, "t_1", turn_of(runs["sample 2"]["command"]))
    assert SWIM in king_s.passed and broken.passed == set() and "+def swim():" in king_s.text()
    shown = [execution_of(tmp_path, "t_1", turn_of(run["command"])).text()
             for run in record["runs"]]
    assert not re.search("SECRET|test_swim|^/", "".join(
        shown + [runs["sample 4"]["output"]]), re.MULTILINE)


@pytest.mark.docker
def test_a_candidate_that_breaks_its_container_passes_no_test_and_others_do(tmp_path):
    write_root(tmp_path)
    write_answer(tmp_path, "t_1", king=f"{RIGHT}; touch /tmp/codedata-only",
                 challenger=f"{RIGHT}; rm /bin/bash",
                 assistant=f"{RIGHT}; mkdir -p $(printf 'd/%.0s' {{1..300}}); echo done")
    assert run_turns(tmp_path).returncode == 0
    runs = runs_of(executed(tmp_path, "t_1"))
    assert runs["king"]["tests"][SWIM] == "passed"
    assert [*runs["challenger"]["changes"]] == ["heron.py"] and not runs["challenger"]["tests"]
    assert runs["reference"]["changes"] == {".": ""}
    assert runs["reference"]["output"] == "done\n\n[more than 200 folders deep]\n"
    shown = execution_of(tmp_path, "t_1", turn_of(runs["reference"]["command"]))
    assert shown.passed == set() and "(changed: .)" in shown.text()


# runs cut short, edits, blindness ----------------------------------------------------------------

@pytest.mark.docker
def test_a_killed_run_goes_on_and_an_edited_king_is_run_again(tmp_path, fake_llm):
    write_root(tmp_path)
    for i in (1, 2):
        write_answer(tmp_path, f"t_{i}", king=f"echo {i}; sleep {i - 1}")
    write_json(tmp_path / "answer/_samples/t_2.json", {"samples": ["no block"]})
    process = start_script("run_turns.py", tmp_path, "--workers", 1)
    eventually(lambda: (tmp_path / "executed/t_1.json").exists())
    kill(process)
    first = (tmp_path / "executed/t_1.json").stat().st_mtime_ns
    assert "done 1, missing 1" in run_turns(tmp_path, "--status").stderr
    assert run_turns(tmp_path).returncode == 0
    assert (tmp_path / "executed/t_1.json").stat().st_mtime_ns == first
    edit(tmp_path / "answer/_samples/t_2.json", samples=["none"])
    assert "done 1, stale 1" in run_turns(tmp_path, "--status").stderr
    edit(tmp_path / "answer/t_2.json", king=turn_of("echo MARK"))
    assert "done 1, stale 1" in run_turns(tmp_path, "--status").stderr
    assert execution_of(tmp_path, "t_2", turn_of("echo MARK")) is None
    assert run_turns(tmp_path).returncode == 0
    assert runs_of(executed(tmp_path, "t_2"))["king"]["output"] == "MARK\n"
    edit(tmp_path / "executed/t_1.json", before={"MARK": "passed"})
    write_json(tmp_path / "prompt/t.json", [
        {**read_json(tmp_path / "answer/t_1.json"), "order": i, "turn": 0,
         "repo": "birds/heron", "language": "python"} for i in (1, 2)])
    tmp_path.with_settings()
    for script in (king, ch):
        run_main(script.main, tmp_path, "--llm-base-url", fake_llm.base_url, "--force")
    assert fake_llm.n_requests == 4 and not [r for r in fake_llm.requests if b"MARK" in r.raw]


@pytest.mark.docker
def test_turns_wait_for_their_environment_and_fail_while_its_image_is_not_here(tmp_path):
    write_root(tmp_path, image_name="codedata-env/gone:0")
    write_answer(tmp_path, "t_1")
    environment = tmp_path / f"env/{NAME}.json"
    environment.rename(tmp_path / "later.json")
    done = run_turns(tmp_path)
    assert done.returncode == 0 and "waiting 1" in done.stderr and "no env/ yet: " in done.stderr
    (tmp_path / "later.json").rename(environment)
    assert "codedata-env/gone:0 is not here" in run_turns(tmp_path).stderr
    edit(environment, image_name=PROJECT.make())
    assert run_turns(tmp_path).returncode == 0
    edit(environment, verified={"healthy": True, "image_id": "another"})
    assert "stale 1" in run_turns(tmp_path, "--status").stderr
