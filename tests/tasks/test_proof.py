"""Test that a bug is proven by runs, and that its image gives graders what the proof says."""
from __future__ import annotations

import subprocess
from dataclasses import replace

import pytest
from kube_server import KubeServer
from proof_heron import (
    BROKEN,
    BUG,
    BUG_LINE,
    GOLD_LINE,
    IMAGE,
    RUN,
    WORDS,
    WORKING,
    diff,
    environment_of,
    factory_of,
    make_image,
)
from proof_heron import heron as heron  # a fixture
from steps_seen import StepsSeen

from codedata.env.recipes.package_index import table
from codedata.errors import Excluded, ItemFailed
from codedata.progress import showing
from codedata.sandbox import docker_engine
from codedata.tasks.eval_script import printed_results, run_evaluation, script_of
from codedata.tasks.first_run import ScreeningRules, first_run
from codedata.tasks.images import check_task_image
from codedata.tasks.prove import Prover
from codedata.texts import fill

DEPTH_LINE = "    return [2 * i for i in range(n)]"
FLY_LINE = '    return "away"'
RULES = ScreeningRules(0.5)


def prover(max_broken_share: float = 0.5, hide_tests: bool = True, **sandbox) -> Prover:
    return Prover(factory_of(**sandbox), hide_tests, max_broken_share)


@pytest.fixture(scope="module")
def proof(heron):
    """Return the proof of a bug, whose image is removed in the end."""
    step = StepsSeen()
    with showing(step):
        proof = prover().prove(environment_of(), BUG, "Heron.agent-1.c0ffee", RUN)
    steps = dict.fromkeys(one.partition(" ")[0] for one in step.seen)
    assert [*steps] == ["", *(f"{k}/7" for k in range(1, 8))]
    yield proof
    docker_engine.connect().remove_image(proof.image.name, force=True)


def in_image(image: str, command: str) -> str:
    return subprocess.run(["docker", "run", "--rm", image, "bash", "-c", command],
                          capture_output=True, text=True, check=True).stdout


@pytest.mark.docker
def test_a_bug_is_proven_by_five_runs(proof):
    assert proof.trouble == "" and proof.tests_visible == ""
    assert proof.fail_to_pass == BROKEN and {*proof.pass_to_pass} == {*WORKING}
    assert [(run["of"], run["broken"], run["passed"]) for run in proof.runs[:-1]] == [
        *[("bug", 3, 8)] * 3, ("image", 3, 8)]
    assert proof.runs[-1]["of"] == "image with the gold patch" and proof.runs[-1]["reward"] == 1.0
    assert f"-{GOLD_LINE}\n+{BUG_LINE}\n" in proof.bug_patch
    assert f"-{BUG_LINE}\n+{GOLD_LINE}\n" in proof.patch
    assert "3 failed, 8 passed" in proof.log and proof.created_at == "2024-05-01T10:00:00Z"


@pytest.mark.docker
def test_the_image_has_one_commit_no_hidden_test_and_nothing_of_the_former_text(proof):
    image = proof.image.name
    assert image.startswith("codedata-bug/heron-agent-1-c0ffee-")   # as Docker takes names
    assert in_image(image, "git log --all --oneline | wc -l; git rev-parse HEAD; "
                           "git status --short; git ls-files") == (
        f"1\n{proof.base_commit}\nconftest.py\nheron.py\ntests/test_depths.py\n")
    left = in_image(image, "find /testbed /tmp /root -type f -not -path '*/.git/*' -newer /bin/sh")
    assert sorted(left.split()) == [
        "/testbed/conftest.py", "/testbed/heron.py", "/testbed/tests/test_depths.py"]
    assert check_task_image(image, proof.patch, proof.test_patch) == []


@pytest.mark.docker
@pytest.mark.parametrize("left", [
    "", "mkdir tests/test_words.py; touch tests/test_words.py/x", "rm -r tests; touch tests",
    "mv tests o; ln -s o tests; rm o/*",
    "echo '* text eol=crlf ident working-tree-encoding=UTF-16 filter=x' >.gitattributes; "
    "git config filter.x.smudge 'sed s/assert.*/pass/'; git config core.attributesFile /nowhere",
    "git init -q /tmp; echo '* filter=x' >/tmp/.gitattributes; mkdir -p ~/.config/git; "
    "echo '* eol=crlf' >~/.config/git/attributes",
    "mkdir /tmp/codedata_tests.sh; echo 'print(\"PASSED x\"); quit()' >/tmp/re.py"])
def test_graders_run_the_hidden_tests_as_they_were_whatever_an_agent_left(proof, left):
    with factory_of().open(proof.image.name, RUN) as sandbox:
        assert sandbox.run(left).ok
        run, printed = run_evaluation(sandbox, script_of(proof.task), 60)
        assert sandbox.run("cat tests/test_words.py").output == WORDS
    results = printed_results(printed)
    assert results == {case.name: case.status for case in run.results}
    assert not [name for name in BROKEN if results.get(name) == "passed"]


@pytest.mark.docker
@pytest.mark.parametrize(("patch", "trouble"), [
    (BUG, ""), ("none", "the patch does not apply: "), ("", "the patch does not apply: "),
    (BUG.replace("-    return", "-    returns"), "the patch does not apply: "),
    (diff("def fly():", "def fly():\n    while True: pass"), "the suite does not end: it was"),
    ("--- /dev/null\n+++ b/tests/test_more.py\n@@ -0,0 +1 @@\n+x = 1\n",
     "the patch changes tests: tests/test_more.py"),
    ("--- /dev/null\n+++ b/b.py\n@@ -0,0 +1 @@\n+\0\n", "the patch changes what is no text: b.py"),
    ("diff --git a/l b/l\nnew file mode 120000\n--- /dev/null\n+++ b/l\n@@ -0,0 +1 @@\n+/etc\n"
     "\\ No newline at end of file\n", "the patch does not apply: l is a link"),
    ("diff --git a/heron.py b/heron.py\nold mode 100644\nnew mode 100755\n",
     "the patch changes nothing")])
def test_one_run_says_what_is_wrong_with_a_patch(heron, patch, trouble):
    known = first_run(environment_of(), patch, factory_of(run_timeout=5), RUN, RULES)
    assert known.screened.reason.startswith(trouble)
    assert bool(known.screened.reason) == bool(trouble)
    if not trouble:
        assert (known.screened.failing, known.n_passed) == (BROKEN, 8) and "3 failed" in known.log


@pytest.mark.docker
def test_tests_behind_an_exception_fail_and_those_of_other_files_do_not(heron):
    script = (
        "mkdir -p /tmp/results /tmp/t; export PYTHONPATH=. PYTHONUNBUFFERED=1\n"
        "echo 'import heron; print(\"ok 1 same\"); heron.fly(); print(\"ok 2 same\\n1..2\")'"
        " >/tmp/t/a.py; echo 'print(\"ok 1 same\\n1..1\")' >/tmp/t/b.py; cd /testbed\n"
        + fill(table("tools")["node"]["by_file"]["lines"], command="python3", files="/tmp/t/*.py",
               report="/tmp/results/r"))
    names = [f"/tmp/t/{name}" for name in ("a.py > same", "a.py > same (2)", "b.py > same")]
    environment = environment_of(test_script=script, test_case_result=[
        {"name": name, "status": "passed"} for name in names])
    found = prover().prove(environment, diff(FLY_LINE, "    raise OSError"), "i.tap.1", RUN)
    docker_engine.connect().remove_image(found.image.name, force=True)
    assert (found.trouble, found.fail_to_pass) == ("", names[1:2])
    assert found.pass_to_pass == [names[0], names[2]]


@pytest.mark.docker
def test_tests_that_are_flaky_or_need_the_network_count_for_nothing(heron):
    environment = environment_of(flaky=BROKEN[:1], verified={"needs_network": BROKEN[1:]})
    shown = first_run(environment, BUG, factory_of(), RUN, RULES).screened
    assert shown.reason == "no test fails that passed before"


@pytest.mark.docker
def test_a_failure_that_comes_and_goes_is_no_bug(heron):
    line = "    return [2 * i + (not i or random.randrange(2)) for i in range(n)]"
    runs = prover(1.0).prove(environment_of(), diff(DEPTH_LINE, line), "i.b.1", RUN)
    assert runs.trouble.startswith("these tests do not fail in every run: tests/test_depths.py")
    assert len(runs.runs) in (2, 3) and not runs.image.name


@pytest.mark.docker
def test_what_is_only_printed_is_proven_as_graders_read_it(heron, proof):
    printing = environment_of(test_script="python3 -m pytest -v -p no:cacheprovider")
    printed = prover().prove(printing, BUG, "Heron.printed.c0ffee", RUN)
    docker_engine.connect().remove_image(printed.image.name, force=True)
    assert printed.trouble == "" and printed.fail_to_pass == BROKEN
    assert printed.pass_to_pass == proof.pass_to_pass
    assert {"runner_output.py", "patterns.json"} == (
        printed.task.tests.keys() - proof.task.tests.keys())


@pytest.mark.docker
def test_where_others_need_a_failing_test_s_file_the_tests_stay_and_graders_restore_them(heron):
    image = f"{IMAGE}-needed"
    make_image(image, "sed -i '1i import test_words' tests/test_depths.py; git commit -qam 1",
               workdir="/srv/heron")
    shown = prover().prove(environment_of(image_name=image), BUG, "heron.agent-2.1", RUN)
    name = shown.image.name
    try:
        assert shown.trouble == shown.test_patch == ""
        assert shown.tests_visible.startswith("without them others do not pass: tests/test_depths")
        assert in_image(name, "pwd; cd /testbed; pwd -P; ls tests; git log --oneline | wc -l") == (
            "/srv/heron\n/srv/heron\ntest_depths.py\ntest_words.py\n1\n")
        with factory_of().open(name, RUN, "/srv/heron") as sandbox:
            assert sandbox.run("sed -i 's/assert.*/assert True/' tests/test_words.py").ok
            printed = printed_results(run_evaluation(sandbox, script_of(shown.task), 60)[1])
        failed = {test for test, status in printed.items() if status == "failed"}
        assert failed > {*BROKEN} and len(failed) == len(BROKEN) + 1   # with the canary
    finally:
        docker_engine.connect().remove_image(name, force=True)


@pytest.mark.docker
def test_graders_work_at_testbed_and_something_else_there_is_in_their_way(heron):
    make_image(f"{IMAGE}-taken", "mkdir -p /testbed; touch /testbed/x", workdir="/srv/heron")
    with pytest.raises(Excluded, match="something else at /testbed, where graders work"):
        prover().prove(environment_of(image_name=f"{IMAGE}-taken"), BUG, "i.b.1", RUN)


@pytest.mark.docker
@pytest.mark.parametrize(("planted", "place"), [
    ("cp heron.py /tmp/mine", "/tmp/mine holds"),
    ("cp tests/test_words.py /opt/t.py", "/opt/t.py holds"),
    ("cd tests; python3 -m zipfile -c /opt/t.whl test_words.py", "/opt/t.whl!test_words.py holds"),
    ("cp tests/__pycache__/test_words*.pyc /opt", "/opt/test_words.cpython")])
def test_what_an_image_gives_away_rejects_the_bug(heron, planted, place):
    make_image(f"{IMAGE}-planted", f"python3 -m compileall -q /testbed/tests; {planted}")
    found = prover().prove(environment_of(image_name=f"{IMAGE}-planted"), BUG, "i.b.1", RUN)
    assert found.trouble.startswith(f"its image gives it away: {place}") and not found.image.name


@pytest.mark.docker
def test_without_scripts_three_runs_say_what_is_flaky(heron):
    image = f"{IMAGE}-row"
    make_image(image, **{"tests/test_luck.py": "import pytest, random\n\n@pytest.mark.parametrize("
                         "'i', [random.random()])\ndef test_luck(i):\n    assert i < 0.5\n"})
    row = environment_of(image_name=image, install_script="", verified={})
    found = prover().prove(row, BUG, "heron.agent-3.1", RUN)
    docker_engine.connect().remove_image(found.image.name, force=True)
    assert found.fail_to_pass == BROKEN and {*found.pass_to_pass} == {*WORKING}
    with pytest.raises(ItemFailed, match="drifted"):
        lost = [{"name": "gone", "status": "passed"}]
        prover().prove(replace(row, test_case_result=lost), BUG, "i.b.1", RUN)


@pytest.mark.docker
def test_hiding_no_test_is_a_setting(heron):
    found = prover(hide_tests=False).prove(environment_of(), BUG, "heron.agent-4.1", RUN)
    assert "test_words.py" in in_image(found.image.name, "ls tests")
    docker_engine.connect().remove_image(found.image.name, force=True)
    assert (found.tests_visible, found.test_patch) == ("[bug] hide_tests is off", "")


@pytest.mark.pods
def test_pods_make_no_image_but_show_what_a_patch_breaks(tmp_path):
    folder = tmp_path / "heron"
    folder.mkdir()
    (folder / "wade.sh").write_text("echo ok 1 - wades\necho ok 2 - flies\necho 1..2\n")
    run = "git init -q; git add -A; git -c user.name=a -c user.email=a@b.c commit -qm one"
    subprocess.run(run, shell=True, check=True, cwd=folder)
    commit = subprocess.check_output(["git", "rev-parse", "HEAD"], cwd=folder, text=True).strip()
    environment = environment_of(
        image_name="", base_commit=commit, base_image="debian:bookworm", test_script="sh wade.sh",
        row={"reformat_path": str(folder)},
        test_case_result=[{"name": name, "status": "passed"} for name in ("wades", "flies")])
    patch = ("--- a/wade.sh\n+++ b/wade.sh\n@@ -1,3 +1,3 @@\n-echo ok 1 - wades\n"
             "+echo not ok 1 - wades\n echo ok 2 - flies\n echo 1..2\n")
    with KubeServer(tmp_path / "cluster") as kube:
        pods = factory_of(sandbox="kubernetes", kubeconfig=str(kube.kubeconfig))
        known = first_run(environment, patch, pods, RUN, RULES)
        with pytest.raises(Excluded, match="no image can be made: --sandbox kubernetes makes none"):
            Prover(pods, True, 0.5).prove(environment, patch, "heron.agent-1.1", RUN)
    assert (known.screened.reason, known.screened.failing, known.n_passed) == ("", ["wades"], 1)
