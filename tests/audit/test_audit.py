"""Audit small tasks in containers, by the script: good ones pass, and planted faults are found."""
import json
import re
import shutil
from pathlib import Path

import pytest
from a_datapoint import CONTEXT, TEXTS, write_approved
from a_task import write_foreign, write_task
from conftest import edit, run_script
from proof_heron import candidate, factory_of
from root import read_json
from screened_wren import RUN, wren_coverage, wren_diff, wren_environment
from screened_wren import wren as wren  # a fixture
from setups import CA_FLAGS

from codedata.audit.audited import Audited
from codedata.audit.cheats import MADE, data_alone, graded, lines_of, made_of
from codedata.disk.store import Store
from codedata.records import RivalledTask
from codedata.sandbox.docker import engine
from codedata.suites.environments import labelled
from codedata.tasks.folder.task_folder import image_of
from codedata.tasks.prove.proof import PatchProver

pytestmark = pytest.mark.docker
PROGRAM = """import sys


def total(lines):
    numbers = [int(line) for line in lines if line.strip().isdigit()]
    if not numbers:
        sys.exit("no numbers here")
    return sum(numbers)


print(total(sys.stdin))
"""
RUNS = """import subprocess
import time


def run(text):
    return subprocess.run(["/usr/bin/python3", "/app/total.py"], input=text, text=True,
                          capture_output=True, timeout=20)


"""
TESTS = RUNS + """def test_numbers():
    assert run("7\\n12\\n").stdout.strip() == "19"


def test_words():
    assert run("7\\nx\\n5\\n").stdout.strip() == "12"


def test_none():
    done = run("x\\n")
    assert done.returncode == 1 and not done.stdout
"""


def solve(program: str) -> str:
    return f"#!/bin/bash\ncat > total.py <<'END'\n{program}END\n"


def a_task(root: Path, name: str, tests: str = TESTS, program: str = PROGRAM, **how) -> Path:
    """Write a datapoint whose tests have equal weights, and return its folder."""
    names = re.findall(r"def (test_\w+)", tests)
    weights = json.dumps({one: round(1 / len(names), 3) for one in names[1:]}
                         | {names[0]: 1 - round(1 / len(names), 3) * (len(names) - 1)})
    how = {"tests": tests, "solution": solve(program), "weights": weights, **how}
    return write_approved(root / "task" / name, **how)


def audit(root: Path, *flags):
    """Run audit.py, and return {task: {check: what was found}}."""
    done = run_script("audit.py", root, "--cpu-request", 1, *CA_FLAGS, *flags, timeout_s=300)
    assert done.returncode == 0, done.stderr
    audit.stderr = done.stderr
    return {path.stem: checks_in(path) for path in root.glob("audit/*.json")}


def checks_in(path: Path) -> dict:
    return {check["name"]: check for check in read_json(path)["checks"]}


def results(checks: dict) -> dict[str, str]:
    return {name: check["result"] for name, check in checks.items()}


# what is made, and what is kept ------------------------------------------------------------------

def test_a_good_task_passes_and_only_what_is_missing_is_made(tmp_path):
    task = a_task(tmp_path, "good")
    few = "gold,tests_read"
    first = audit(tmp_path, "--checks", few)["good"]
    assert results(first) == dict.fromkeys(few.split(","), "passed")
    audit(tmp_path, "--checks", few)
    assert "nothing to do" in audit.stderr

    more = audit(tmp_path, "--checks", "untouched")["good"]
    assert more.pop("untouched")["result"] == "passed" and more == first
    rival = task / "rivals/wrong-constant.sh"
    rival.parent.mkdir()
    rival.write_text("# Other numbers have another sum.\necho 'print(19)' > total.py\n")
    every = f"{few},untouched,rivals"
    with_rivals = audit(tmp_path, "--checks", every)["good"]
    assert with_rivals["rivals"]["figures"] == {"wrong": 1, "wrong accepted": 0}
    assert {name: with_rivals[name] for name in first} == first

    (task / "solution/solve.sh").write_text(solve("print(19)\n"))
    last = audit(tmp_path, "--checks", every)["good"]
    assert last["gold"]["result"] == "failed" and "the solution gets 0.3" in last["gold"]["why"]
    assert last["tests_read"]["result"] == "no case"
    assert "its gold gets 0.3" in last["tests_read"]["why"]


# planted faults ----------------------------------------------------------------------------------

def test_an_answer_in_the_image_is_found_and_tried_also_below_a_layer_that_removes_it(tmp_path):
    dockerfile = TEXTS["dockerfile"] + "COPY answer readme /srv/\nCOPY answer /srv/gone\n" \
        "RUN rm /srv/gone\n"
    readme = "".join(f"{one} is a number that it adds up.\n" for one in ("Seven", "Eight", "Ten"))
    files = {**CONTEXT, "answer": f"# Here it is.\n{PROGRAM}", "readme": readme}
    a_task(tmp_path, "one-file", dockerfile=dockerfile, context=files)
    a_task(tmp_path, "two-files", dockerfile=dockerfile, context=files,
           solution=f"{solve(PROGRAM)}cat > README <<'END'\n{readme}END\n")
    found = audit(tmp_path, "--checks", "answer")
    for name, n_files in (("one-file", 2), ("two-files", 3)):
        answer = found[name]["answer"]
        assert (answer["result"], answer["figures"]) == ("failed", {"files": n_files})
        rewarded = [line for line in answer["evidence"] if "rewarded" in line]
        assert sorted(rewarded) == [f"/srv/{place} is rewarded in place of total.py"
                                    for place in ("answer", "gone")], name


def test_tests_that_check_little_let_wrong_programs_pass(tmp_path):
    tests = RUNS + ("def test_number():\n    assert run('7').stdout.strip().isdigit()\n\n\n"
                    "def test_file():\n    assert open('/app/total.py')\n")
    copies = ("import sys\nif __name__ == 'x':\n    print()\n"
              "print(*(line for line in sys.stdin if line))\n")   # with five variants
    task = a_task(tmp_path, "vacuous", tests, copies)
    (task / "rivals").mkdir()
    (task / "rivals/wrong-constant.sh").write_text(
        "#!/bin/bash\n# Other numbers have another sum.\necho 'print(19)' > total.py\n")
    found = audit(tmp_path, "--checks", "strength,rivals,untouched")["vacuous"]
    strength = found["strength"]
    assert strength["result"] == "review" and strength["figures"]["killed"] > 0
    assert len(strength["tries"]) == strength["figures"]["tried"] - strength["figures"]["killed"]
    assert any("line in sys.stdin))" in one["diff"] for one in strength["tries"]), strength
    assert {one["line"] for one in strength["tries"] if one["unrun"]} == {3}, strength
    assert found["rivals"]["result"] == "failed"
    assert found["rivals"]["evidence"] == [
        "wrong-constant.sh is rewarded: Other numbers have another sum."]
    assert found["untouched"]["result"] == "failed"   # the file is there from the start
    assert "gets 0.5" in found["untouched"]["why"]


def test_a_verifier_that_takes_a_crash_for_success_or_reads_the_source_is_found(tmp_path):
    grade = "python3 -m pytest -q /tests{}; " \
            "[ $? = 0 ] && echo 1 > /logs/verifier/reward.txt\n"
    for name, swallows, reads in (("swallows", " | tail", ""), ("reads", "", "sys.stdin")):
        write_foreign(tmp_path, name, {
            "environment/Dockerfile": "FROM codedata-base:bookworm\nWORKDIR /app\n",
            "environment/total.py": "", "instruction.md": "Say the sum.\n",
            "solution/solve.sh": solve(PROGRAM), "tests/test.sh": "test -e total.py || exit 0\n"
            + grade.format(swallows), "tests/test_outputs.py": TESTS + (
                f"\n\ndef test_source():\n    assert {reads!r} in open('/app/total.py').read()\n")})
    found = audit(tmp_path, "--checks", "fairness,untouched")
    assert {name: results(one) for name, one in found.items()} == {
        "swallows": {"fairness": "passed", "untouched": "failed"},
        "reads": {"fairness": "failed", "untouched": "passed"}}, found
    assert "programs end at once" in found["swallows"]["untouched"]["why"]
    assert found["reads"]["fairness"]["why"].endswith("its source encoded")


def test_tests_that_want_more_than_the_instruction_says_are_found(tmp_path):
    tests = TESTS.replace("not done.stdout", "done.stderr == 'no numbers here\\n'")
    task = a_task(tmp_path, "strict", tests)
    (task / "rivals").mkdir()
    (task / "rivals/right-message.sh").write_text(solve(PROGRAM.replace("no num", "No num")))
    found = audit(tmp_path, "--checks", "fairness,rivals")["strict"]
    assert found["fairness"]["result"] == "review"
    assert found["fairness"]["evidence"] == ["total.py:7 'no numbers here'"]
    assert found["rivals"]["result"] == "failed"
    assert found["rivals"]["evidence"] == ["right-message.sh is right but refused"]


def test_a_program_that_the_tests_start_looks_for_them(tmp_path):
    grade = "chmod 700 /logs{}\npython3 -m pytest -q /tests && " \
            "echo 1 > /logs/verifier/reward.txt\n"
    program = 'from __future__ import annotations\nprint("hello")\n'
    for name, closed, start in (
            ("open", "", ["python3", "hello.py"]), ("none", "", ["echo", "hello"]),
            ("closed", " /tests", ["runuser", "-u", "nobody", "--", "python3", "hello.py"])):
        write_foreign(tmp_path, name, {
            "task.toml": '[metadata]\nauthor = "Them"\n[environment]\nworkdir = "/srv"\n',
            "solution/solve.sh": f"cat > hello.py <<'END'\n{program}END\n",
            "tests/test.sh": grade.format(closed), "tests/test_it.py":
            "import subprocess\n\n\ndef test_it():\n    said = subprocess.check_output("
            f"{start}, cwd='/srv')\n    assert said == b'hello\\n'\n"})
    found = {name: checks["tests_read"] for name, checks in
             audit(tmp_path, "--checks", "tests_read").items()}
    assert {name: one["result"] for name, one in found.items()} == {
        "open": "review", "closed": "passed", "none": "no case"}, found
    assert found["open"]["evidence"][0] == "/logs/verifier can be written"
    assert found["open"]["evidence"][-2:] == ["/tests/test.sh", "/tests/test_it.py"]


# tasks of somebody else --------------------------------------------------------------------------

def theirs(root: Path, name: str, test: str, solve: str, dockerfile: str = "", more: str = "",
           **files: str) -> None:
    """Write a task of somebody else whose test.sh rewards what a condition of bash finds right."""
    dockerfile = f"FROM codedata-base:bookworm\nWORKDIR /app\n{dockerfile}"
    write_foreign(root, name, {
        "task.toml": f'{more}\n[environment]\nworkdir = "/app"\n', "tests/test.sh":
        f"cd /app; if {test}; then echo 1; else echo 0; fi >/logs/verifier/reward.txt\n",
        "solution/solve.sh": solve, "environment/Dockerfile": dockerfile,
        **{f"environment/{path.replace('_', '.')}": text for path, text in files.items()}})


def test_what_is_missing_is_work_that_was_not_done_and_no_fault(tmp_path):
    is_42 = '[ "$(cat out)" = 42 ]'
    theirs(tmp_path, "one-of-two", is_42, "echo 42 >/app/out",
           more='artifacts = [{source = "/app/out"}, "/app/log", "/var/never"]')
    theirs(tmp_path, "unsolved", is_42, "")
    shutil.rmtree(tmp_path / "task/unsolved/solution")
    theirs(tmp_path, "rewritten", "[ -e /made ] && " + is_42, "echo $(($(cat /n) * 5 + 2)) >out",
           "RUN echo $((1 << 3)) >/n\nRUN <<EOF\ntouch /made\nEOF\n")
    theirs(tmp_path, "elsewhere", '[ "$(cat /out)" = 42 ]', "echo 42 >/out")
    found = audit(tmp_path, "--checks", "gold,untouched")
    assert {name: results(checks) for name, checks in found.items()} == {
        "elsewhere": {"gold": "not checked", "untouched": "no case"},
        "one-of-two": {"gold": "passed", "untouched": "passed"},
        "unsolved": {"gold": "no case", "untouched": "no case"},
        "rewritten": {"gold": "passed", "untouched": "passed"}}, found


def test_cheats_are_made_of_the_files_that_a_tasks_tests_name(tmp_path):
    checks = "import sys\nprint('all is well' if open('out').read() == '42' else 'wrong')\n"
    only, ends = (one["name"] for one in MADE)
    theirs(tmp_path, "runs", '[ "$(python3 check.py)" = "all is well" ]', "printf 42 >out",
           "COPY check.py .\n", check_py=checks)
    theirs(tmp_path, "imports", "python3 -c 'import rule; assert rule.of(3) == 9'",
           "echo 'of = lambda n: n * n' >rule.py")
    theirs(tmp_path, "compares", "cmp out.txt expected.txt", "cat expected.txt >out.txt",
           "COPY expected.txt .\n", expected_txt="1\n2\n")
    theirs(tmp_path, "sound", "chmod 700 /logs; [ \"$(runuser -u nobody ./add 1 2)\" = 3 ]",
           "printf '#!/bin/sh\\necho $(($1 + $2))\\n' >add; chmod 755 add; echo done >notes.txt")
    theirs(tmp_path, "played-back", "[ \"$(cat sum.txt)\" = 3 ]",
           "echo 'echo $((1 + 2))' >sum.sh; bash sum.sh >sum.txt")
    worked = {}
    for name, task in ((path.name, Store(tmp_path, RivalledTask).open().read(path.name))
                       for path in sorted(tmp_path.glob("task/*"))):
        with labelled(factory_of(), name, "audit") as label:
            audited = Audited(task, factory_of(), label, None)
            cheats = lines_of(graded(audited.grader, [*made_of(audited)]), 0)
            worked[name] = {one.partition(": ")[0] for one in cheats} | {*data_alone(audited)}
    assert worked == {"runs": {only, ends}, "imports": {only, ends}, "compares": {only},
                      "sound": set(), "played-back": {"sum.txt rewarded without sum.sh"}}


# scripts that somebody tries ---------------------------------------------------------------------

def test_scripts_are_graded_and_what_fails_is_shown(tmp_path):
    task = a_task(tmp_path, "good")
    for name, program in {"right.sh": PROGRAM, "wrong.sh": "print(19)\n"}.items():
        (tmp_path / name).write_text(solve(program))
    (tmp_path / "as.patch").write_text("--- a/wrong.sh\n+++ b/wrong.sh\n@@ -3,1 +3,1 @@\n"
                                       "-print(19)\n+print(12)\n")
    done = run_script("audit.py", tmp_path, *CA_FLAGS, "try", task, "right.sh", "gone.sh",
                      "as.patch", "wrong.sh", timeout_s=100)
    assert "AssertionError: assert '12' == '19'" in done.stderr
    assert done.returncode == 1, done.stderr
    assert "right.sh: reward 1," in done.stderr and "gone.sh: " in done.stderr
    wrong = done.stderr.partition("wrong.sh: reward 0.3")[2]
    assert "failed: test_words" in wrong and "failed: test_none" in wrong, done.stderr
    assert "failed: test_numbers" not in wrong
    assert "AssertionError: assert '19' == '12'" in wrong


# a bug of a repository ---------------------------------------------------------------------------

@pytest.fixture
def bug(wren, tmp_path):
    """Write the environment of wren, what its tests run, and a bug of it; yield its id."""
    environment, patch = wren_environment(), wren_diff("    return 2 * n", "    return 3 * n")
    name = "wren.agent-1.0123abcd"
    task = PatchProver(wren).prove(candidate(patch, name, environment="wren"), RUN, environment)
    write_task(tmp_path, task)
    tmp_path.with_env(vars(environment)).put("wren", wren_coverage())
    yield name
    engine.connect().remove_image(image_of(task), force=True)


def test_a_bug_is_judged_in_a_warm_sandbox_where_coverage_is_known(bug, tmp_path):
    flags = "--checks", "strength"
    found = audit(tmp_path, *flags)[bug]
    assert results(found) == {"strength": "not checked"}, found
    killed = found["strength"]["figures"]["killed"]   # all that its one line has
    assert killed > 0 and found["strength"]["why"] == f"{killed} of 30 variants"
    # by a coverage that is wrong, no test can notice
    coverage = tmp_path / "coverage/wren.json"
    edit(coverage, **vars(wren_coverage(doubled=[], port=[])))
    blind = audit(tmp_path, *flags, "--force")[bug]["strength"]
    assert blind["result"] == "review" and blind["figures"]["killed"] == 0
