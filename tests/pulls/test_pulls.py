"""Test tasks of pull requests: what of a request is gold, hidden or neither, and the proof."""
import re
import subprocess

import pytest
from conftest import run_script
from fake_judges import run_main
from heron_environment import CASES, HERON, TEST_SCRIPT, TESTS, an_environment
from in_place import SOLVED, graded_in_place
from line_tables import rows
from root import write_files, write_json

import pr_tasks
from codedata.code.entities import is_document
from codedata.code.patches import diff_of
from codedata.disk.layouts import Program
from codedata.disk.store import Store, all_readable
from codedata.pulls.pull_records import missing_environments
from codedata.pulls.pull_tasks import pull_request
from codedata.records import PULL_REQUEST, Candidate, Commit, Task, parse
from codedata.settings import Settings
from codedata.tasks.folder.task_folder import verifier_config

ID = "birds__heron-7"
BASE = "0" * 40


PLUMB = Program(b"#!/bin/sh\necho 3\n")


def record(files: dict[str, tuple], **fields) -> dict:
    """Return a PR record that changes {path: (text or bytes before, the same after)}."""
    before, after = ({path: texts[i] if isinstance(texts[i], bytes) else texts[i].encode()
                      for path, texts in files.items() if texts[i]} for i in (0, 1))
    return {"instance_id": ID, "repo": "birds/heron", "language": "python", "base_commit": BASE,
            "issue": "", "description": "Fix wading (#7)\n\nIt sank.", "files": sorted(files),
            "patch": diff_of(before, after), "test_patch": "", "created_at": None, "licence": "MIT",
            **fields}


def test_code_tests_and_documents_of_a_request_are_told_apart():
    made = record({"a.py": ("a\n", "b\n"), "tests/test_a.py": ("", "c\n"), "docs/x.py": ("", "d\n"),
                   "CHANGES.rst": ("e\n", "f\n"), "tests/data/in.json": ("", "{}\n"),
                   **dict.fromkeys((".gitignore", ".eslintrc.js", "b/.github/ci.yml", "uv.lock",
                                    "tasks.py", "dev-requirements.txt", "package-lock.json"),
                                   ("g\n", "h\n"))})
    request, refusal = pull_request(parse(Commit, made, ""))
    assert re.findall(r"^diff --git a/(\S+)", request.change, re.MULTILINE) == ["a.py"]
    assert re.findall(r"^diff --git a/(\S+)", request.tests, re.MULTILINE) == [
        "tests/data/in.json", "tests/test_a.py"]
    assert not refusal and request.instance_id == "birds__heron__00000000"
    assert is_document("README.md") and not is_document("changes/code.py")


@pytest.mark.parametrize("field", ["patch", "test_patch"])
@pytest.mark.parametrize("heads", [   # all of them, their prefixes, that of the second file
    r"^diff .*\n", "(?<=[ ])[ab]/", r"(?<=\+b\n)diff .*\n.*\n"])
def test_a_patch_without_heads_of_git_is_refused_as_such(field, heads):
    code = diff_of({"a.py": b"a\n", "b.py": b"a\n"}, {"a.py": b"b\n", "b.py": b"b\n"})
    patches = {"patch": code, "test_patch": code.replace("b.py", "test_b.py")}
    patches[field] = re.sub(heads, "", patches[field], flags=re.MULTILINE)
    _, refusal = pull_request(parse(Commit, {**record({}), **patches}, ""))
    assert refusal == "a patch lacks heads of git, diff --git a/FILE b/FILE"


# number of files of code, the lines that each adds to one that it removes | those of tests
@pytest.mark.parametrize(("n_files", "n_lines", "n_tests", "reason"), rows("""
1  | 1   | 0 | it changes no tests
0  | 1   | 1 | it changes no code
10 | 1   | 1 |
11 | 1   | 1 | it changes more than 10 files of code
1  | 399 | 1 |
1  | 400 | 1 | it changes more than 400 lines of code
"""))
def test_a_request_that_can_be_no_task_is_refused_by_name(n_files, n_lines, n_tests, reason):
    files = {f"{n}.py": ("a\n", "b\n" * int(n_lines)) for n in range(int(n_files))}
    files |= {f"tests/test_{n}.py": ("", "b\n") for n in range(int(n_tests))}
    assert pull_request(parse(Commit, record(files), ""))[1] == reason


@pytest.mark.parametrize(("data", "reason"), [
    ("a/package.json", ""), ("LICENSE", "changes no code")])
def test_metadata_alone_are_no_code_but_data_are(data, reason):
    files = dict.fromkeys(["setup.py", "tests/test_a.py", data], ("a\n", "b\n"))
    assert pull_request(parse(Commit, record(files), ""))[1][3:] == reason


def test_what_changes_nothing_that_runs_is_no_candidate(tmp_path):
    def written(spec: object) -> tuple[int, str]:
        printed = run_main(pr_tasks.main, tmp_path, "--prs", spec, "--steps", "records,candidates")
        return len(all_readable(tmp_path, Candidate)), printed

    def commit(source: str, comment: bytes = b"") -> None:
        nonlocal number
        number += 1
        write_files(tmp_path / "clone", {"heron.py": source.encode(),
                                         "test_heron.py": b"%d%s\n" % (number, comment)})
        subprocess.run(
            "git init -q; git add .; git -c user.name=E -c user.email=e@x commit -qF -",
            shell=True, cwd=tmp_path / "clone", text=True, input=f"Wade (#{number})", check=True)

    source, number = "import mud\n\ndef wade(depth_cm):\n    return depth_cm\n", 0
    commit(source)
    spec = f"git:{tmp_path}/clone"
    printed = run_main(pr_tasks.main, tmp_path, "--prs", spec, "--status")
    assert "commit/ has nothing\n" in printed   # not of prompt.py
    assert f"/pr_tasks.py --setup --root {tmp_path} --prs {spec}\n" in printed
    commit(f"{source}fly_on = 1\n")
    assert written(spec)[0] == 1
    typed = source.replace("(depth_cm):", "(\n        depth_cm: int) -> int:  # why")
    commit(f"from typing import Any\n{typed}fly_on = 1\n")
    found, printed = written(spec)
    assert found == 1 and "(it changes only names of files, layout" in printed
    commit("fly_on = 2\n", b"  # in latin-1: \xe9")
    assert "(the tests that it changes are not UTF-8" in written(spec)[1]
    write_json(tmp_path / "rows.json", [record({"a.py": ("a", "b"), "test_a.py": ("a", "b")})])
    assert written(tmp_path / "rows.json")[0] == 2   # no clone has its base commit


def test_a_limit_takes_the_newest_of_missing_environments_and_ancestors_come_first(tmp_path):
    files = {"heron.py": ("", "a\n"), "test_heron.py": ("", "b\n")}
    for year in "2009", "2024", "2023":
        write_json(tmp_path / f"commit/birds__heron-{year}.json", record(
            files, issue="Let herons wade in mud that is deep", base_commit=year * 10,
            instance_id=f"birds__heron-{year}", created_at=year))
    for limit, years in (2, ["2023", "2024"]), (None, ["2009", "2023", "2024"]):
        rows, _ = missing_environments(Settings(tmp_path), "", limit)
        assert [name[-4:] for name in rows] == years


ANY_TEXT = "[export]\nmin_words = 0\n"


def with_tests(texts: str, **more: tuple) -> dict[str, tuple]:
    """Return the files of a request that adds tests to those of heron."""
    return {"tests/test_heron.py": (TESTS, f"{TESTS}\n\n{texts}"), **more}


def heron_requests() -> dict[int, dict[str, tuple]]:
    """Return the files of requests by number: 7 adds a program and changes the mode of one, and its
    tests start a new one of their own; the tests of 9 hang before it. No test of 8 fails before it,
    and tests of 10 come behind a test that hangs."""
    plumb = ("def test_plumbline():\n    import subprocess\n"
             "    from heron import plumbline\n    assert plumbline() == 3\n"
             "    for name in ('bin/plumb', 'tests/data/plumb.sh'):\n"
             "        assert subprocess.check_output([name]) == b'3\\n'\n")
    nest = ("def test_nest():\n    import heron\n    assert heron.nest() == 2\n"
            "    assert heron.nest(3) == 3\n\n\n"
            "def test_rest():\n    import heron, time\n    while not hasattr(heron, 'nest'):\n"
            "        time.sleep(1)\n")
    plumbed, nesting = ((HERON, f"{HERON}\n\ndef {text}\n") for text in (
        "plumbline():\n    return 3", "nest(n=2):\n    return n"))
    return {
        7: with_tests(plumb, **{"heron.py": plumbed, "bin/plumb": ("", PLUMB),
                                "tests/data/plumb.sh": ("", PLUMB),
                                "README.md": ("", "Plumbline is new.\n")}),
        8: with_tests("def test_nothing():\n    pass\n",
                      **{"heron.py": (HERON, HERON + "\nUNUSED = 1\n")}),
        9: with_tests(nest, **{"heron.py": nesting}),
        10: with_tests(f"{nest}\n\ndef test_behind():\n    pass\n", **{"heron.py": nesting})}


@pytest.mark.docker
def test_requests_become_tasks_whose_images_have_nothing_of_them(tmp_path, heron_image):
    for k, files in heron_requests().items():
        write_json(tmp_path / f"commit/birds__heron-{k}.json",
                   record(files, instance_id=f"birds__heron-{k}"))
    tmp_path.with_env(an_environment("birds__heron__00000000", repo="birds/heron",
                                     test_script=TEST_SCRIPT.replace("-q", "-v")))
    (tmp_path / "chain.toml").write_text(ANY_TEXT)
    done = run_script("pr_tasks.py", tmp_path, "--workers", 2, timeout_s=600)
    assert done.returncode == 0, done.stderr
    store = Store(tmp_path, Task, kind=PULL_REQUEST).open()
    assert [*store.names()] == [ID, "birds__heron-9"]
    for name, failing, names in ((ID, ["plumbline"], ["plumbline"]),
                                 ("birds__heron-9", ["nest", "rest"], ["nest"])):
        task = store.read(name)
        assert task.new_names == names
        config = verifier_config(task)
        assert config["FAIL_TO_PASS"] == [f"tests/test_heron.py::test_{one}" for one in failing]
        assert len(config["PASS_TO_PASS"]) == len(CASES) + 1
        assert all(run["seconds"] < 60 for run in task.proof["runs"])
        about = task.config["metadata"]["codedata"]
        assert (about["language"], about["told"]) == (
                "python", "not read by a model before the proof")
    # their own words name nothing that fails: a script of a test follows
    for name, lines in ((ID, ["print(plumbline())", "ImportError: cannot import name 'plumbline'"]),
                        ("birds__heron-9", ["print(heron.nest())", "has no attribute 'nest'",
                                           "Another case:", "print(heron.nest(3))"])):
        text = store.read(name).instruction
        assert text.startswith("Fix wading\n\nIt sank.\n\n")
        assert [line for line in lines if line not in text] == []
    ledger = (tmp_path / "task/_ledger.jsonl").read_text()
    assert "no test fails before it and passes after it" in ledger
    assert "ends before tests that it changes: tests/test_heron.py::test_behind" in ledger
    image = store.read(ID).config["environment"]["docker_image"]
    found = subprocess.run(
        ["docker", "run", "--rm", image, "grep", "-rlE", "plumbline|Plumbline", "."],
        capture_output=True, text=True)
    assert (found.returncode, found.stdout) == (1, "")
    folder = tmp_path / "task" / ID
    assert [graded_in_place(folder, done)[0] for done in (SOLVED, "true")] == ["1.0", "0.0"]
