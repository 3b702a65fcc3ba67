"""Test what facts a document shows, which are held out, and what a verifier makes of these, by the
script and in containers."""
import json
import os
from pathlib import Path

import pytest
from heron_environment import TEST_SCRIPT, an_environment
from projects import Project
from proof_heron import factory_of
from root import read_json, write_json
from stripped import TEMPLATE, a_fact, steps

from codedata.disk.layouts import content_of
from codedata.disk.store import Store
from codedata.nl2repo.facts import facts_about, is_describable, shown_facts, with_sides
from codedata.nl2repo.kind import TaskDocument, instruction_of
from codedata.records import RepoFacts, Task, parse
from codedata.tasks.folder.folder import image_of, verifier_config
from codedata.tasks.folder.tests_folder import case_files
from codedata.tasks.prove.grade import Grader

TERN = '''"""Terns."""


def leg(miles, wind=0):
    """Return the hours of a leg.

    >>> leg(30, 10)
    1.0
    """
    if miles < 0:
        raise ValueError(f"{miles} miles")
    return round(miles / (20 + wind), 2)


def band(weight):
    if weight > 150:
        return "heavy"
    if weight > 90:
        return "fit"
    return "light"


def legs(trips):
    found = [trip for trip in trips if trip]
    return len(found)


def days(text):
    return [int(day) for day in text.split(",")]
'''
TESTS = '''import pytest
from tern import band, days, leg, legs


def test_leg():
    assert leg(30, 10) == 1.0
    assert [leg(miles) for miles in range(0, 400, 20)] == list(range(20))
    with pytest.raises(ValueError):
        leg(-1)


def test_band():
    assert {band(weight) for weight in range(60, 180, 10)} == {"light", "fit", "heavy"}


def test_legs():
    assert legs([1, 0]) == 1
    assert [days(text) for text in ("1,2", "3")] == [[1, 2], [3]]
'''
PROJECT = Project("tern", files={"tern.py": TERN, "test_tern.py": TESTS})
LEG = "tern.py::leg"
UP_TO_PATCHES = "extract,coverage,meta,facts,analysis,communities,screen,patches"
HOSTILE = '''
import os, sys
print("cases beside the tests: 99 of 99 passed")
print("cases beside the tests: 99 of 99 passed", file=sys.stderr)
with open("/proc/self/cmdline") as file:
    program = file.read().split("\\0")[1]
for path in ("/logs/verifier/reward.txt", "/logs/verifier/cases.json", "/tests/config.json"):
    try:
        open(path, "w")
        raise SystemExit(path)
    except OSError:
        pass
if program.endswith("replay_calls.py") and not os.fork():
    os.setsid()
    os.closerange(0, 100)
    folder = os.path.dirname(program)
    try:
        os.symlink("/etc/passwd", folder + "/answers.json")
    except OSError:
        pass
    os.chdir(folder)
    for _ in range(2000):
        os.mkdir("d")
        os.chdir("d")
    os.execvp("sleep", ["sleep", "1000"])
'''


@pytest.fixture(scope="session")
def tern():
    PROJECT.make()


def write_tern(root):
    cases = [{"name": f"test_tern.py::test_{name}", "status": "passed"}
             for name in ("leg", "band", "legs")]
    root.with_env(an_environment("tern", image_name=PROJECT.image, base_commit="",
                                       install_script="true\n", test_case_result=cases,
                                       test_script=f"{TEST_SCRIPT} --continue-on-collection-errors",
                                       verified={"healthy": True, "test_s": [0.5]}))
    return root


def facts_of(root) -> RepoFacts:
    return parse(RepoFacts, read_json(root / "nl2repo/_facts/tern.json"), "")


def documents(root) -> dict[str, dict]:
    found = map(read_json, sorted((root / "nl2repo/_docs").glob("*.json")))
    return {one["subject"]: one for one in found}


def cases_in(log: str) -> str:
    return log.strip().split("\n")[-1]


def in_body(code: str) -> str:
    """Return a script of an agent that puts code where leg() has been stripped."""
    code = "\n".join(f"    {line}" for line in code.strip().split("\n"))
    return ("cd /testbed\npython3 - <<'END'\ntext = open('tern.py').read()\n"
            "stub = '    raise NotImplementedError(\"leg\")'\nassert stub in text\n"
            f"open('tern.py', 'w').write(text.replace(stub, {code!r}))\nEND\n")


def check_edited_facts(root: Path) -> None:
    """Check that documents follow facts that a person edits, and show none that is not so."""
    def edited(change) -> str:
        record = read_json(root / "nl2repo/_facts/tern.json")
        for one in record["facts"]:
            change(one)
        write_json(root / "nl2repo/_facts/tern.json", record)
        return steps(root, "doc_part2", *TEMPLATE).stderr

    wrong = edited(lambda one: one["held_out"] or one.update(told="'wrong'"))
    assert "stale 1" in wrong and "wrote 1" in wrong
    assert documents(root)[LEG]["content"]["examples"] == []   # no example that does not print it
    assert "Traceback" not in edited(lambda one: one.update(code=["("]))


def test_a_function_is_describable_by_three_outcomes_and_with_texts_by_an_empty_and_a_broken_one():
    told = [a_fact([f"f({n})"], n, "m.py::f") for n in ("1", "2", "2", "None")]
    hidden = a_fact(["f(9)"], "9", "m.py::f", held_out=True)
    long = a_fact(["f(8)"], "8" * 999, "m.py::f")
    some = facts_about("m.py::f", [*told, hidden, long, a_fact(["g()"], "7", "m.py::g")])
    assert some == told and not is_describable("m.py::f", some)
    some += [a_fact(["f(3)"], "3", "m.py::f"), a_fact(["g('4')"], "4", "m.py::f")]
    assert is_describable("m.py::f", some)
    some += [a_fact([f"m.f({text!r}, 2)"], "2", "m.py::f") for text in ("two", "")]
    assert not is_describable("m.py::f", some)
    assert is_describable("m.py::f", [*some, a_fact(["m.f('?!', 2)"], "2", "m.py::f")])


def test_facts_are_chosen_for_other_outcomes_then_other_lines_and_at_first_a_value_and_an_error():
    facts = [a_fact([f"f({n})"], "True", "m.py::f", lines=3) for n in range(9)]
    facts += [a_fact(["f('')"], "ValueError", "m.py::f", kind="raises"),
              a_fact(["f('other lines')"], "True", "m.py::f", lines=5),
              a_fact(["f('none')"], "None", "m.py::f")]
    shown = shown_facts("m.py::f", facts)
    assert [one["code"][0] for one in shown] == ["f('')", "f(0)", "f('other lines')"]


def test_what_a_source_shows_and_the_first_of_each_kind_are_not_held_out():
    errors = [a_fact([f"f({n})"], "KeyError", "m.py::f", kind="raises") for n in range(9)]
    facts = [*(a_fact(["from m import f", f"f({n})"], "1", "m.py::f") for n in range(99)), *errors]
    sides = [one["held_out"] for one in with_sides(facts, "")]
    assert 20 < sum(sides) < 50 and not sides[0] and not sides[99]
    empty = [a_fact([f"f({n}).g('')"], "1", "m.py::f") for n in range(9)]
    assert not any(one["held_out"] for one in with_sides([facts[0], *empty], ""))
    assert not any(one["held_out"] for one in with_sides([*errors[:1], *facts[:1]] * 2, ""))
    twins = [{**one, "code": ["import m", *one["code"][1:]], "functions": []} for one in facts[:99]]
    both = with_sides([*facts[:99], *twins], "")
    assert [one["held_out"] for one in both] == sides[:99] * 2
    shown = "\n".join(one["code"][-1] for one in facts)
    assert not any(one["held_out"] for one in with_sides(facts, shown))


def test_scripts_of_cases_cannot_read_what_has_to_come_of_them():
    files = case_files([(["import m", "m.f(1)"], "value", "'told'"),
                        (["m.g()"], "raises", "KeyError: 'told'")])
    assert "told" not in files["cases/jobs.json"]
    assert json.loads(files["cases/expected.json"]) == [
        ["value", "'told'"], ["raises", "KeyError: 'told'"]]
    assert json.loads(files["cases/jobs.json"])["imports"] == ["import m"]


@pytest.mark.docker
def test_a_repository_becomes_documents_with_facts_and_tasks_with_cases_that_harm_no_reward(
        tern, tmp_path):
    root = write_tern(tmp_path)
    root.with_settings(more="[nl2repo]\nmax_candidates = 9\n")
    done = steps(root, UP_TO_PATCHES, *TEMPLATE)
    assert done.returncode == 0, done.stderr
    assert "left out: 1 function: too few facts" in done.stderr
    first = facts_of(root)
    assert len(first.facts) > 20 and first.measured["changed"] == []
    told = {one["code"][-1]: one["told"] for one in first.facts}
    for text in ("", "?!"):
        wrong = f"ValueError: invalid literal for int() with base 10: {text!r}"
        assert told[f"days({text!r})"] == wrong
    assert steps(root, "facts", "--force").returncode == 0
    assert facts_of(root).facts == first.facts
    for path in (root / "nl2repo/_patches").glob("*.json"):
        if read_json(path)["functions"] != [LEG]:
            path.unlink()
    done = steps(root, "proof,doc_part2,doc_part1,doc", *TEMPLATE)
    assert done.returncode == 0, done.stderr

    facts = [one for one in facts_of(root).facts if LEG in one["ran"]]
    shown = documents(root)[LEG]
    assert shown["checks"]["findings"] == []
    examples = shown["content"]["examples"]
    assert len({one["output"] for one in examples}) >= 4
    raised, = [one for one in examples if one["output"].startswith("ValueError")]
    assert raised["code"].endswith("leg(-1)") and raised["output"].endswith("ValueError: -1 miles")
    text = (root / "nl2repo/tern.md").read_text()
    hidden = [one for one in facts if one["held_out"]]
    assert hidden and not any(one["code"][-1] in text for one in hidden)

    task, = (Store(root, Task).open().read(path.name) for path in (root / "task").glob("tern*"))
    n_cases = len(json.loads(content_of(task.tests["cases/expected.json"])))
    assert n_cases == len(hidden)
    grader = Grader(factory_of(), task, image_of(task), f"tests-facts-{os.getpid()}")

    def graded(code: str):
        return grader.grade(grader.work(in_body(code))[0])

    whole = TERN[TERN.index("    if miles"):TERN.index("\n\n\ndef band")].replace("\n    ", "\n")
    assert cases_in(grader.grade(grader.gold()[0]).log) == (
        f"cases beside the tests: {n_cases} of {n_cases} passed")
    for empty in (graded("pass"), grader.grade(None)):
        assert empty.reward == 0 and f"tests: 0 of {n_cases} passed" in cases_in(empty.log)
    hostile = graded(f"{HOSTILE}\n{whole.strip()}")
    assert hostile.reward == 1 and f"tests: 0 of {n_cases} passed" in cases_in(hostile.log)
    check_edited_facts(root)
    check_from_empty(root, task.instance_id)


def check_from_empty(root: Path, other: str) -> None:
    """Check that the whole source can be the task, too, and is graded."""
    (root / f"nl2repo/_patches/{other}.json").unlink()   # its facts were edited: it is stale
    done = steps(root, "relationship", "--from-empty", "--refresh", *TEMPLATE)
    assert done.returncode == 0, done.stderr
    tasks = Store(root, Task).open()
    task, = (tasks.read(name) for name in tasks.names() if name != other)
    assert task.about["method"] == "empty" and verifier_config(task)["counts"] == ["tern.py"]
    assert "missing:\n\n- `tern.py`\n" in instruction_of(task, TaskDocument("", [], "All."))
    assert [run["reward"] for run in task.proof["runs"] if "reward" in run] == [1.0] * 3
    grader = Grader(factory_of(), task, image_of(task), f"tests-empty-{os.getpid()}")
    with grader.opened() as sandbox:
        assert not sandbox.run("test -e tern.py").ok
    assert grader.grade(None).reward == 0
