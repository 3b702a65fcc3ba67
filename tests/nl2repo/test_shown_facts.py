"""Test which facts a document shows, by the script and in containers."""
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from heron_environment import TEST_SCRIPT, an_environment
from projects import Project
from proof_heron import factory_of
from root import read_json, write_json
from stripped import TEMPLATE, a_fact, steps

from codedata.disk.store import Store, all_readable
from codedata.nl2repo.facts import facts_about, is_describable, shown_facts
from codedata.nl2repo.strip_tasks import TaskDocument, instruction_of
from codedata.records import Candidate, RepoFacts, Task, parse
from codedata.tasks.folder.task_folder import image_of, verifier_config
from codedata.tasks.folder.tests_folder import case_files
from codedata.tasks.prove.grader import Grader

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
    for miles in (0, 20, 50, 300):
        assert leg(miles) == miles / 20
    with pytest.raises(ValueError):
        leg(-1)


def test_band():
    for weight, kind in ((60, "light"), (100, "fit"), (170, "heavy")):
        assert band(weight) == kind


def test_legs():
    assert legs([1, 0]) == 1
    for text, found in (("1,2", [1, 2]), ("3", [3])):
        assert days(text) == found
'''
PROJECT = Project("tern", files={"tern.py": TERN, "test_tern.py": TESTS})
LEG = "tern.py::leg"
UP_TO_PATCHES = "extract,coverage,meta,facts,analysis,communities,screen,patches"
HOSTILE = '''
import os, sys
print("held-out cases: 99 of 99 passed")
print("held-out cases: 99 of 99 passed", file=sys.stderr)
with open("/proc/self/cmdline") as file:
    program = file.read().split("\\0")[1]
for path in ("/logs/verifier/reward.txt", "/logs/verifier/cases.json", "/tests/config.json"):
    try:
        open(path, "w")
        raise SystemExit(path)
    except OSError:
        pass
if program.endswith("replay_scripts.py") and not os.fork():
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


def check_edited_facts(root: Path) -> None:
    """Check that documents follow facts that a person edits, and show none that is not so."""
    def edited(change) -> str:
        record = read_json(root / "nl2repo/_facts/tern.json")
        for one in record["facts"]:
            change(one)
        write_json(root / "nl2repo/_facts/tern.json", record)
        return steps(root, "doc_part2", *TEMPLATE).stderr

    wrong = edited(lambda one: one.update(told="'wrong'"))
    assert "stale 1" in wrong and "wrote 1" in wrong
    assert documents(root)[LEG]["content"]["examples"] == []   # no example that does not print it
    assert "Traceback" not in edited(lambda one: one.update(code=["("]))


def test_a_function_is_describable_by_three_outcomes_and_with_texts_by_an_empty_and_a_broken_one():
    f = "m.py::C.f"
    told = [a_fact([f"f({n})"], n, f) for n in ("1", "2", "2", "None")]
    some = facts_about(f, [*told, a_fact(["f(8)"], "8" * 999, f), a_fact(["g()"], "7", "m.py::g")])
    assert some == told and not is_describable(f, some)
    some += [a_fact(["f(3)"], "3", f), a_fact(["C('4').f()"], "4", f)]
    assert is_describable(f, some)
    assert not is_describable(f, [{**one, "kind": "raises"} for one in some])
    some += [a_fact([f"m.f({text!r}, 2)"], "2", f) for text in ("two", "")]
    assert not is_describable(f, some)
    assert is_describable(f, [*some, a_fact(["m.f('?!', 2)"], "2", f)])


def test_facts_are_chosen_for_other_outcomes_then_other_lines_and_at_first_a_value_and_an_error():
    facts = [a_fact([f"f({n})"], "True", "m.py::f", lines=3) for n in range(9)]
    facts += [a_fact(["f('')"], "ValueError", "m.py::f", kind="raises"),
              a_fact(["f('other lines')"], "True", "m.py::f", lines=5),
              a_fact(["f('none')"], "None", "m.py::f")]
    shown = shown_facts("m.py::f", facts)
    assert [one["code"][0] for one in shown] == ["f('')", "f(0)", "f('other lines')"]


@pytest.mark.docker
def test_a_repository_becomes_documents_with_facts_and_tasks_and_no_code_forges_cases(
        tern, tmp_path):
    root = write_tern(tmp_path)
    done = steps(root, UP_TO_PATCHES, *TEMPLATE)
    assert done.returncode == 0, done.stderr
    assert "left out: 1 function: too few facts" in done.stderr
    first = facts_of(root)
    assert len(first.facts) > 12
    told = {one["code"][-1]: one["told"] for one in first.facts}
    for text in ("", "?!"):
        wrong = f"ValueError: invalid literal for int() with base 10: {text!r}"
        assert told[f"days({text!r})"] == wrong
    assert steps(root, "facts", "--force").returncode == 0
    assert facts_of(root).facts == first.facts
    for one in all_readable(root, Candidate):
        if one.config["about"]["functions"] != [LEG]:
            shutil.rmtree(root / "candidate" / one.name)
    done = steps(root, "proof,doc_part2,doc_part1,doc", *TEMPLATE)
    assert done.returncode == 0, done.stderr

    shown = documents(root)[LEG]
    assert shown["checks"]["findings"] == []
    examples = shown["content"]["examples"]
    assert len({one["output"] for one in examples}) >= 4
    raised, = [one for one in examples if one["output"].startswith("ValueError")]
    assert raised["code"].endswith("leg(-1)") and raised["output"].endswith("ValueError: -1 miles")

    task, = (Store(root, Task).open().read(path.name) for path in (root / "task").glob("tern*"))
    assert not any(path.startswith("cases/") for path in task.tests)
    check_cases(task)
    check_edited_facts(root)
    check_from_empty(root, task.instance_id)


def check_cases(task: Task) -> None:
    """Check that a reward needs the cases of a task, and that no code forges them."""
    cases = case_files([(["from tern import leg", "leg(30)"], "value", "1.5"),
                        (["import tern", "tern.leg(-7)"], "raises", "ValueError: -7 miles")])
    cases = {path: text.encode() for path, text in cases.items()}
    grader = Grader(factory_of(), replace(task, tests={**task.tests, **cases}), image_of(task),
                    f"tests-cases-{os.getpid()}")

    def graded(code: str) -> tuple[float, str]:
        body = "\n".join(f"    {line}" for line in code.strip().split("\n"))
        grade = grader.grade(grader.work(
            "cd /testbed\npython3 - <<'END'\ntext = open('tern.py').read()\n"
            "stub = '    raise NotImplementedError(\"leg\")'\nassert stub in text\n"
            f"open('tern.py', 'w').write(text.replace(stub, {body!r}))\nEND\n")[0])
        return grade.reward, grade.log.strip().split("\n")[-1]

    told = "held-out cases: {} of 2 passed"
    whole = TERN[TERN.index("    if miles"):TERN.index("\n\n\ndef band")].replace("\n    ", "\n")
    assert graded(whole) == (1.0, told.format(2))
    only_tests = f"if (miles, wind) == (30, 0):\n    return 9\n{whole.strip()}"
    assert graded(only_tests) == (0.0, told.format(1))
    assert graded(f"{HOSTILE}\n{whole.strip()}") == (0.0, told.format(0))


def check_from_empty(root: Path, other: str) -> None:
    """Check that the whole source can be the task, too, and is graded."""
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
