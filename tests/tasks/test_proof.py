"""Test that a bug is proven by runs, and that its image gives graders what the proof says."""
import re
import subprocess

import pytest
from heron_environment import TEST_SCRIPT
from proof_heron import (
    BROKEN,
    BUG,
    BUG_LINE,
    GOLD_LINE,
    IMAGE,
    RUN,
    VENV,
    WORDS,
    WORKING,
    candidate,
    diff,
    environment_of,
    factory_of,
    make_image,
    prove,
)
from proof_heron import heron as heron  # a fixture
from steps_seen import StepsSeen

from codedata.bugs.held_out import HeldOutCases
from codedata.env.recipes.package_index import table
from codedata.errors import Excluded
from codedata.records import BREAKS, SOLVES, STRIPPED_PATCH, Rules, Task
from codedata.run.talk import showing
from codedata.sandbox.docker import engine
from codedata.tasks.folder.eval_script import printed_results, run_evaluation, script_of
from codedata.tasks.folder.task_folder import (
    GOLD,
    PROOF,
    REVERSE,
    TEST_PATCH,
    edited_parts,
    image_of,
    text_in,
    verifier_config,
)
from codedata.tasks.image.task_image import check_task_image
from codedata.tasks.prove.gold_grades import NotRewarded, prove_gold, prove_repeatable
from codedata.tasks.prove.grader import Grade, grader_of
from codedata.tasks.prove.proof import CandidateProof, PatchProver
from codedata.tasks.prove.run_suite import ScreeningRules, first_run
from codedata.texts import fill
from codedata.verifier.junit import restored_name

DEPTH_LINE = "    return [2 * i for i in range(n)]"
FLY_LINE = '    return "away"'
RULES = ScreeningRules(0.5)


@pytest.fixture(scope="module")
def images():
    """Return the names of images that go in the end."""
    names = []
    yield names
    for name in {*names}:   # a bug may be proven twice
        engine.connect().remove_image(name, force=True)


@pytest.fixture
def proven(heron, images):
    """Return a function: prove a bug; it returns its task."""
    def proven(*what, **how) -> Task:
        task = prove(*what, **how)
        images.append(image_of(task))
        return task
    return proven


@pytest.fixture(scope="module")
def task(heron, images):
    """Return the task of a bug."""
    step = StepsSeen()
    with showing(step):
        task = prove(environment_of(test_script=f". {VENV}/bin/activate\n{TEST_SCRIPT}"), BUG,
                     "Heron.agent-1.c0ffee", HeldOutCases().of)
    steps = dict.fromkeys(one.partition(" ")[0] for one in step.seen if "/6" in one)
    assert [*steps] == [f"{k}/6" for k in range(1, 7)]   # cases are found in steps of their own
    images.append(image_of(task))
    return task


def graded_tests(task: Task) -> tuple[list[str], set[str]]:
    """Return FAIL_TO_PASS and PASS_TO_PASS, as env/ names them."""
    failing, passing = (map(restored_name, verifier_config(task)[name])
                        for name in ("FAIL_TO_PASS", "PASS_TO_PASS"))
    return [*failing], {*passing}


def refused(match: str):
    return pytest.raises(Excluded, match=match)


def in_image(image: str, command: str) -> str:
    return subprocess.run(["docker", "run", "--rm", image, "bash", "-c", command],
                          capture_output=True, text=True, check=True).stdout


class Rewards:
    """Reward what is graded in turn, in place of a grader."""

    def __init__(self, *rewards: float):
        self._left = iter(rewards)

    def gold(self) -> tuple[bytes, str]:
        return b"work", ""

    def grade(self, *_, **how) -> Grade:
        return Grade(next(self._left), [], "", 1.0)


def test_a_gold_that_is_rewarded_once_is_not_proven():
    rows = []
    with pytest.raises(NotRewarded, match="run 2, the solution gets 0"):
        prove_gold(Rewards(1.0, 0.0), rows)
    assert [row["reward"] for row in rows] == [1.0, 0.0]


def test_the_gold_runs_once_if_the_environment_s_own_runs_agree():
    def n_runs(n: int, direction: str = BREAKS, **fields) -> int:
        environment = environment_of(verified={"test_s": [1.0] * n}, **fields)
        changed = candidate("", direction=direction)
        return CandidateProof(changed, Rules(), environment, *[None] * 4)._gold_runs

    assert n_runs(4) == 1
    assert n_runs(1) == n_runs(4, SOLVES) == n_runs(4, flaky=["test_luck"]) == 3


def test_a_gold_is_rewarded_in_any_order_on_any_day():
    for rewards, why in (([0, 1], "400 days later"), ([0, 0, 0], "in another order")):
        with pytest.raises(NotRewarded, match=why):
            prove_repeatable(Rewards(*rewards), b"", b"", [])
    assert prove_repeatable(Rewards(1, 1), b"", b"", []) == []
    # where the clock cannot be shifted it is for the review
    assert len(prove_repeatable(Rewards(0, 0, 1, 1), b"", b"", [])) == 1


@pytest.mark.docker
def test_a_bug_is_proven_by_five_runs(task):
    assert graded_tests(task) == (BROKEN, {*WORKING}) and not edited_parts(task)
    changed, *runs = task.proof["runs"]
    untouched = runs.pop(1)
    assert [(run["of"], run["broken"], run["passed"]) for run in (changed, untouched)] == [
        ("changed", 3, 8), ("untouched", 3, 8)]
    assert [(run["of"], run["reward"]) for run in runs] == [("gold", 1.0)] * 3
    assert f"-{GOLD_LINE}\n+{BUG_LINE}\n" in text_in(task.solution, REVERSE)
    assert f"-{BUG_LINE}\n+{GOLD_LINE}\n" in text_in(task.solution, GOLD)
    assert "3 failed, 8 passed" in task.proof["log"] and task.proof["proof"] == PROOF
    assert task.about.items() >= {"created_at": "2024-05-01T10:00:00Z", "tests_visible": ""}.items()


@pytest.mark.docker
def test_the_image_has_one_commit_no_hidden_test_and_nothing_of_the_former_text(task):
    image = image_of(task)
    assert image.startswith("codedata-bug/heron-agent-1-c0ffee-")   # as Docker takes names
    assert in_image(image, "git log --all --oneline | wc -l; git rev-parse HEAD; "
                           "git status --short; git ls-files") == (
        f"1\n{task.about['task_commit']}\nconftest.py\nheron.py\ntests/test_depths.py\n"
        "tests/test_words.py\n")
    left = in_image(image, "find /testbed /tmp /root -type f -not -path '*/.git/*' -newer /bin/sh")
    assert sorted(left.split()) == [
        "/testbed/conftest.py", "/testbed/heron.py", "/testbed/tests/test_depths.py",
        "/testbed/tests/test_words.py"]
    assert in_image(image, "command -v python") == f"{VENV}/bin/python\n"   # as its tests find it
    assert in_image(image, "cat tests/test_words.py") == re.sub(r"(?s)@.*?\n\n\n", "", WORDS)
    patches = text_in(task.solution, GOLD), text_in(task.tests, TEST_PATCH)
    assert patches[1] and check_task_image(image, *patches) == ([], {})


@pytest.mark.docker
@pytest.mark.parametrize("left", [
    "echo 'def test_words(): pass' >>tests/test_words.py",
    "rm tests/test_words.py; mkdir tests/test_words.py; touch tests/test_words.py/x",
    "rm -r tests; touch tests", "mv tests o; ln -s o tests; rm o/*",
    "echo '* text eol=crlf ident working-tree-encoding=UTF-16 filter=x' >.gitattributes; "
    "git config filter.x.smudge 'sed s/assert.*/pass/'; git config core.attributesFile /nowhere; "
    "mkdir -p ~/.config/git; echo '* eol=crlf' >~/.config/git/attributes",
    "git init -q /tmp; echo '* filter=x' >/tmp/.gitattributes; "
    "mkdir /tmp/codedata_tests.sh; echo 'print(\"PASSED x\"); quit()' >/tmp/re.py"])
def test_graders_run_the_hidden_tests_as_they_were_whatever_an_agent_left(task, left):
    with factory_of().open(image_of(task), RUN) as sandbox:
        assert sandbox.run(left).ok
        run, printed = run_evaluation(sandbox, script_of(task), 60)
        assert sandbox.run("cat tests/test_words.py").output == WORDS
    results = printed_results(printed)
    assert results == {case.name: case.status for case in run.results}
    assert not [name for name in BROKEN if results.get(name) == "passed"]


@pytest.mark.docker
@pytest.mark.parametrize(("patch", "trouble"), [   # tests/frozen has what runs show
    (BUG.replace("-    return", "-    returns"), "the patch does not apply: "),
    ("--- /dev/null\n+++ b/tests/test_more.py\n@@ -0,0 +1 @@\n+x = 1\n",
     "the patch changes tests: tests/test_more.py"),
    ("--- /dev/null\n+++ b/b.py\n@@ -0,0 +1 @@\n+\0\n",
     "the patch changes a file that is not text: b.py"),
    ("diff --git a/l b/l\nnew file mode 120000\n--- /dev/null\n+++ b/l\n@@ -0,0 +1 @@\n+/etc\n"
     "\\ No newline at end of file\n", "the patch does not apply: l is a link"),
    ("diff --git a/heron.py b/heron.py\nold mode 100644\nnew mode 100755\n",
     "no test that passed")])
def test_one_run_says_what_is_wrong_with_a_patch(heron, patch, trouble):
    known = first_run(environment_of(), patch, factory_of(run_timeout=5), RUN, RULES)
    assert known.screened.reason.startswith(trouble)


@pytest.mark.docker
def test_tests_behind_an_exception_fail_and_those_of_other_files_do_not(proven):
    script = (
        "mkdir -p /tmp/results /tmp/t; export PYTHONPATH=. PYTHONUNBUFFERED=1\n"
        "echo 'import heron; print(\"ok 1 same\"); heron.fly(); print(\"ok 2 same\\n1..2\")'"
        " >/tmp/t/a.py; echo 'print(\"ok 1 same\\n1..1\")' >/tmp/t/b.py; cd /testbed\n"
        + fill(table("tools")["node"]["by_file"]["lines"], command="python3", files="/tmp/t/*.py",
               report="/tmp/results/r"))
    names = [f"/tmp/t/{name}" for name in ("a.py > same", "a.py > same (2)", "b.py > same")]
    environment = environment_of(test_script=script, test_case_result=[
        {"name": name, "status": "passed"} for name in names])
    found = proven(environment, diff(FLY_LINE, "    raise OSError"), "i.tap.1")
    assert graded_tests(found) == (names[1:2], {names[0], names[2]})


@pytest.mark.docker
def test_tests_that_are_flaky_or_need_the_network_count_for_nothing(heron):
    environment = environment_of(flaky=BROKEN[:1], verified={"needs_network": BROKEN[1:]})
    shown = first_run(environment, BUG, factory_of(), RUN, RULES).screened
    assert shown.reason == "no test that passed before fails"


@pytest.mark.docker
def test_a_failure_that_comes_and_goes_is_no_bug(heron):
    line = "    return [2 * i + (not i or random.randrange(2)) for i in range(n)]"
    image, names = f"{IMAGE}-luck", [f"tests/test_luck.py::test_luck[{i}]" for i in range(40)]
    make_image(image, **{"tests/test_luck.py": "import pytest, heron\n\n@pytest.mark.parametrize("
                         "'i', range(40))\ndef test_luck(i):\n"
                         "    assert heron.depths(40)[i] == 2 * i\n"})
    environment = environment_of(image_name=image, test_case_result=[
        {"name": name, "status": "passed"} for name in names])
    with refused("its image: these tests have other results than in the first run"):
        prove(environment, diff(DEPTH_LINE, line), kind=STRIPPED_PATCH)


@pytest.mark.docker
def test_what_is_only_printed_is_proven_as_graders_read_it(proven, task):
    printing = environment_of(test_script="python3 -m pytest -v -p no:cacheprovider")
    printed = proven(printing, BUG, "Heron.printed.c0ffee")
    assert graded_tests(printed) == graded_tests(task)
    assert {"runner_output.py", "patterns.json"} == printed.tests.keys() - task.tests.keys()


@pytest.mark.docker
def test_where_others_need_a_failing_test_s_file_the_tests_stay_and_graders_restore_them(proven):
    image = f"{IMAGE}-needed"
    make_image(image, "sed -i '1i from test_words import test_words as _' tests/test_depths.py; "
               "git commit -qam 1", workdir="/srv/heron")
    shown = proven(environment_of(image_name=image), BUG, "heron.agent-2.1")
    name, visible = image_of(shown), shown.about["tests_visible"]
    assert TEST_PATCH not in shown.tests
    assert visible.startswith(
        "hiding the files of the failing tests breaks other tests: tests/test_depths")
    assert in_image(name, "pwd; cd /testbed; pwd -P; ls tests; git log --oneline | wc -l") == (
        "/srv/heron\n/srv/heron\ntest_depths.py\ntest_words.py\n1\n")
    with factory_of().open(name, RUN, "/srv/heron") as sandbox:
        assert sandbox.run("sed -i 's/assert.*/assert True/' tests/test_words.py").ok
        printed = printed_results(run_evaluation(sandbox, script_of(shown), 60)[1])
    failed = {test for test, status in printed.items() if status == "failed"}
    assert failed > {*BROKEN} and len(failed) == len(BROKEN) + 3   # with canaries


@pytest.mark.docker
def test_a_file_of_an_agent_s_takes_the_place_of_no_hidden_one_whatever_its_name(proven):
    image, names = f"{IMAGE}-named", [
        re.sub(r".*words\.py", "checks.py", name) for name in (*BROKEN, *WORKING)]
    make_image(image, "git mv tests/test_words.py checks.py; git commit -qm 1")
    task = proven(environment_of(
        image_name=image, test_script=TEST_SCRIPT.replace("pytest", "pytest checks.py tests"),
        test_case_result=[{"name": name, "status": "passed"} for name in names]), BUG)
    grader = grader_of(task, factory_of(), RUN)
    cheat = WORDS.replace("assert", "assert True or")
    work, _ = grader.work(   # Python prefers a package to a module of its name
        f"cat >checks.py <<'END'\n{cheat}END\nmkdir checks; cp checks.py checks/__init__.py\n"
        "echo '__file__ = __file__.replace(\"/__init__\", \"\")' >>checks/__init__.py")
    assert b"True or" in work and grader.grade(work).reward == grader.grade(None).reward == 0


WADE = '''import heron


def flies():
    """Fly.

    >>> flies()
    'away'
    """
    return heron.fly()
'''


@pytest.mark.docker
@pytest.mark.parametrize(("options", "reason"), [
    ("", ""), ("--doctest-glob=x.rst", "no test that passed before fails")])
def test_a_doctest_is_graded_from_a_copy_that_no_agent_can_edit_or_is_not_graded(
        proven, options, reason):
    image, name = f"{IMAGE}-doctest", "wade.py::wade.flies"
    make_image(image, **{"wade.py": WADE, "tests/test_depths.py": "def test_fly(): pass\n"})
    environment = environment_of(
        image_name=image, test_script=f"{TEST_SCRIPT} --doctest-modules {options}",
        test_case_result=[{"name": one, "status": "passed"} for one in (name, WORKING[-1])])
    if reason:
        with refused(reason):
            proven(environment, diff(FLY_LINE, '    return "home"'))
        return
    setting = "--- /dev/null\n+++ b/tox.ini\n@@ -0,0 +1 @@\n+[tox]\n"
    task = proven(environment, diff(FLY_LINE, '    return "home"') + setting)
    grader = grader_of(task, factory_of(), RUN)
    rewards = [grader.grade(grader.work(f"sed -i \"{edit}\" wade.py")[0]).reward
               for edit in ("s/heron.fly()/'away'/", "s/'away'/'home'/")]
    assert rewards == [1, 0]
    assert verifier_config(task)["steering"] == ["tox.ini"]   # which the gold changes, too
    assert graded_tests(task)[0] == ["test_examples_of_wade.txt"]


@pytest.mark.docker
def test_graders_work_at_testbed_and_something_else_there_is_in_their_way(heron):
    make_image(f"{IMAGE}-taken", "mkdir -p /testbed; touch /testbed/x", workdir="/srv/heron")
    with refused("something other than the source at /testbed, where graders work"):
        prove(environment_of(image_name=f"{IMAGE}-taken"), BUG)


@pytest.mark.docker
def test_what_an_image_gives_away_rejects_the_task_before_any_run_in_it(heron, tmp_path):
    further = "away, over the reeds and back again to its nest"
    make_image(f"{IMAGE}-planted", f"sed 's/away/{further}/' /testbed/heron.py >/tmp/mine;"
               "python3 -m compileall -q /testbed/tests; cd tests; cp __pycache__/test_words*.pyc"
               " /opt; python3 -m zipfile -c /opt/t.whl test_words.py")
    request = diff(FLY_LINE, f'    return "{further}"')
    planted, shown = environment_of(image_name=f"{IMAGE}-planted"), StepsSeen()
    with refused("shows the gold or hidden tests: /tmp/mine holds"), showing(shown):
        prove(planted, request, "birds__heron-7", direction=SOLVES)
    assert not re.search("tests", " ".join(shown.seen))
    with refused("its image shows the gold or hidden tests: ") as why:
        prove(planted, BUG)
    for place in ("/tmp/mine holds", "/opt/t.whl!test_words.py holds", "/opt/test_words.cpython"):
        assert place in str(why.value)


@pytest.mark.docker
def test_without_scripts_three_runs_say_what_is_flaky(heron):
    image = f"{IMAGE}-row"
    make_image(image, **{"tests/test_luck.py": "import pytest, random\n\n@pytest.mark.parametrize("
                         "'i', [random.random()])\ndef test_luck(i):\n    assert i < 0.5\n"})
    row = environment_of(image_name=image, install_script="", verified={})
    baseline = PatchProver(factory_of()).baseline_of(row, RUN)
    assert baseline.statuses == dict.fromkeys([*BROKEN, *WORKING], "passed")
