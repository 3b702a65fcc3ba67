"""Read tasks of somebody else's: each form, rows of ours read back, and folders made to do harm."""
from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from a_task import BUG_PATCH, DOCKERFILE, FOREIGN, HEALS, a_bug, a_strip, write_task

from codedata.audit.others import task_name, tasks_in
from codedata.code.patches import diff_of, reversed_patch
from codedata.errors import ItemFailed, Trouble
from codedata.export.task_rows import SWEBENCH, SWESMITH, bench_row, smith_row, strip_row
from codedata.records import Task
from codedata.tasks.eval_script import eval_script
from codedata.tasks.folder import image_of, proven_parts, text_in, workdir_of
from codedata.texts import text_of

COMPOSE = "services:\n  client:\n    build:\n      dockerfile: Dockerfile\n"
BENCH = {"task.yaml": "instruction: Do it.\nparser_name: pytest\ntags: [a]\ndifficulty: easy\n"
                      "max_test_timeout_sec: 60\n",
         "Dockerfile": DOCKERFILE, "amounts.csv": "1\n", "docker-compose.yaml": COMPOSE,
         "run-tests.sh": "pytest $TEST_DIR/test_outputs.py -rA\n", "solution.sh": "make\n",
         "tests/test_outputs.py": "def test_a(): pass\n"}
HARBOR = {"task.toml": FOREIGN, "instruction.md": "Do it.\n", "environment/Dockerfile": DOCKERFILE,
          "tests/test.sh": "echo 1 >/logs/verifier/reward.txt\n"}
ROW = {"instance_id": "a__b-1", "repo": "a/b", "base_commit": "c" * 40, "patch": HEALS,
       "test_patch": "", "problem_statement": "Mend it.", "eval_script": "pytest -rA tests\n",
       "FAIL_TO_PASS": '["tests/test_a.py::test_x[a b]"]', "PASS_TO_PASS": "[]"}


def folder_of(root: Path, name: str, files: dict[str, str], **more: str | None) -> Path:
    """Write a folder; `more` replaces files by their names without their endings, or removes."""
    for path, text in files.items():
        text = more.get(path.partition(".")[0].replace("-", "_"), text)
        if text is not None:
            (root / name / path).parent.mkdir(parents=True, exist_ok=True)
            (root / name / path).write_text(text)
    return root / name


def rows_of(path: Path, *rows: dict) -> Path:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def one(source: Path) -> Task:
    [task] = tasks_in(source)
    assert isinstance(task, Task), str(task)
    return task


def test_a_harbor_folder_is_a_task_as_it_is_and_says_where_it_was_read(tmp_path):
    task = one(folder_of(tmp_path, "theirs", HARBOR))
    assert (task.kind, task.instance_id, workdir_of(task)) == ("", "theirs", "/app")
    assert text_in(task.tests, "test.sh") == HARBOR["tests/test.sh"]
    assert task.config["metadata"]["author"] == "Them"
    made_from = task.about["made_from"]
    assert (made_from["directory"], made_from["item"]) == (tmp_path.name, "theirs")
    write_task(tmp_path / "root", task)
    assert one(tmp_path / "root/task/theirs").config["task"] == {"name": "them/theirs"}


def test_of_ours_the_proven_keep_their_kind_and_exported_ones_have_none(tmp_path):
    bug = a_bug()
    write_task(tmp_path, bug)
    assert one(tmp_path / "task").kind == "bug"
    (tmp_path / "task" / bug.instance_id / "proof.json").unlink()
    exported = one(tmp_path / "task")
    assert (exported.kind, "kind" in exported.about) == ("", False)


def test_a_terminal_bench_folder_becomes_one_of_harbor(tmp_path):
    task = one(folder_of(tmp_path, "theirs", BENCH))
    assert task.instruction == "Do it." and task.config["verifier"]["timeout_sec"] == 60
    assert sorted(task.environment) == ["Dockerfile", "amounts.csv"]
    assert text_in(task.solution, "solve.sh") == "make\n"
    assert sorted(task.tests) == ["run-tests.sh", "test.sh", "test_outputs.py"]
    typed = folder_of(tmp_path, "typed", {**BENCH, "solution.yaml": "- command: make all\n"},
                      solution="- command: make all\n")
    (typed / "solution.sh").unlink()
    assert text_in(one(typed).solution, "solve.sh") == "#!/bin/bash\nmake all\n"


@pytest.mark.parametrize(("printed", "reward"), [
    ("PASSED a.py::test_a", "1"), ("PASSED a.py::test_a\nFAILED a.py::test_b - x", "0"),
    ("SKIPPED [1] a.py:1: x", "1"), ("PASSED a.py::test_a\nERROR a.py", "0"), ("", "0")])
def test_its_summary_is_read_as_terminal_bench_does(tmp_path, printed, reward):
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests/run-tests.sh").write_text(
        f"echo 'FAILED before'\ncat <<'END'\n== short test summary info ==\n{printed}\nEND\n")
    script = text_of("codedata.tasks.verifier", "pytest_summary.sh").replace(
        "{workdir}", str(tmp_path)).replace("/tests/", f"{tmp_path}/tests/").replace(
        "/logs/", f"{tmp_path}/logs/")
    subprocess.run(["bash", "-c", script], check=True, capture_output=True)
    assert (tmp_path / "logs/verifier/reward.txt").read_text() == f"{reward}\n"


@pytest.mark.parametrize(("make", "columns"), [(bench_row, SWEBENCH), (smith_row, SWESMITH)])
def test_rows_of_ours_are_read_back_as_what_was_proven(tmp_path, make, columns):
    bug = a_bug()
    row = {name: make(bug, image_of(bug))[name] for name in columns}
    parquet.write_table(pa.Table.from_pylist([row]), tmp_path / "rows.parquet")
    for source in (tmp_path / "rows.parquet", rows_of(tmp_path / "rows.jsonl", row)):
        task = one(source)
        assert [text_in(task.solution, name) for name in ("gold.patch", "reverse.patch")] == [
            HEALS, BUG_PATCH]
        assert (task.kind, image_of(task)) == ("", image_of(bug))
        assert proven_parts(task)["tests/"] == proven_parts(bug)["tests/"]


def test_a_stripped_patch_keeps_the_files_that_count(tmp_path):
    task = one(rows_of(tmp_path / "rows.jsonl", strip_row(a_strip(), "of/it:1")))
    assert json.loads(text_in(task.tests, "config.json"))["counts"] == ["heron.py"]


def test_a_row_of_swe_bench_is_graded_by_what_its_script_prints(tmp_path):
    task = one(rows_of(tmp_path / "rows.jsonl", ROW))
    config = json.loads(text_in(task.tests, "config.json"))
    assert config["FAIL_TO_PASS"] == ["tests/test_a.py::test_x[a%20b]"]
    assert (config["reads"], config["user"]) == ("output", "root")
    assert text_in(task.tests, "tests.sh") == ROW["eval_script"]
    assert image_of(task) == "swebench/sweb.eval.x86_64.a_1776_b-1:latest"
    assert sorted(task.solution) == ["gold.patch", "solve.sh"]


@pytest.mark.parametrize(("change", "why"), [
    ({"eval_script": None}, "no eval_script"), ({"FAIL_TO_PASS": "[]"}, "is empty"),
    ({"FAIL_TO_PASS": ["test_x (a.B)"]}, "none of pytest"), ({"patch": 3}, "patch is no text"),
    ({"FAIL_TO_PASS": ["a.py::test_x[a"]}, "was cut"), ({"base_commit": "$(id)"}, "base_commit"),
    ({"eval_script": eval_script({"config.json": "[]"})}, "get"),
    ({"image_name": "swesmith.x86_64.a__b.c"}, "SWE-smith"), ({"patch": "\0"}, "patch is no text"),
    ({"instance_id": "../.."}, "no name"), ({"image": "a\nRUN b"}, "docker_image")])
def test_a_row_that_cannot_be_graded_is_named(tmp_path, change, why):
    failed, task = tasks_in(rows_of(tmp_path / "rows.jsonl", {**ROW, **change}, ROW))
    assert why in str(failed) and "rows.jsonl row 1" in str(failed)
    assert task.instance_id == "a__b-1"


@pytest.mark.parametrize(("changes", "why"), [
    ({"task": "a: ["}, "task.yaml"), ({"task": "a: &a [1]\nb: *a\n"}, "aliases"),
    ({"task": 'instruction: "\\ud800"\n'}, "surrogates"),
    ({"task": "instruction: Do\nparser_name: swebench\n"}, "parser_name"),
    ({"docker_compose": f"{COMPOSE}  other:\n    image: db\n"}, "more than one container"),
    ({"docker_compose": COMPOSE.replace("Dockerfile", "../Other")}, "not built"),
    ({"Dockerfile": "FROM debian\n"}, "working directory"), ({"run_tests": None}, "run-tests.sh")])
def test_a_terminal_bench_folder_that_cannot_be_graded_is_named(tmp_path, changes, why):
    [failed] = tasks_in(folder_of(tmp_path, "theirs", BENCH, **changes))
    assert isinstance(failed, ItemFailed) and failed.where == "theirs" and why in str(failed)


def test_folders_made_to_do_harm_are_named_and_the_next_is_read(tmp_path):
    for name in ("link", "huge", "toml", "nul", "fifo", "steps", "whole"):
        folder_of(tmp_path, name, HARBOR)
    (tmp_path / "link/tests/passwd").symlink_to("/etc/passwd")
    os.truncate(tmp_path / "huge/tests/test.sh", 60_000_000)
    (tmp_path / "toml/task.toml").write_text("a = [")
    (tmp_path / "nul/task.toml").write_text("a = '\0'")
    os.mkfifo(tmp_path / "fifo/tests/pipe")
    (tmp_path / "steps/task.toml").write_text(f'{FOREIGN}[[steps]]\nname = "a"\n')
    (tmp_path / "out").symlink_to("/etc")
    results = [*tasks_in(tmp_path)]
    assert [one.instance_id for one in results if isinstance(one, Task)] == ["whole"]
    assert [one.where.split("/")[0] for one in results if isinstance(one, ItemFailed)] == [
        "fifo", "huge", "link", "nul", "out", "steps", "toml"]
    for source in ("fifo/tests/pipe", "whole/tests"):
        with pytest.raises(Trouble, match="no folder"):
            [*tasks_in(tmp_path / source)]


def test_names_become_those_that_a_task_may_have():
    names = ["../x", "a b", "_a", "django__django-1", "a..b", "x" * 300]
    assert [*map(task_name, names)] == ["x", "a-b", "a", "django__django-1", "a.b", "x" * 200]


def test_a_patch_is_reversed_as_git_would_write_it():
    before = {"a.py": b"-- a\nb\n\n++ c\nd", "gone": b"x\n"}
    after = {"a.py": b"++ a\nb\n\nd\n", "new": b"y"}
    assert reversed_patch(diff_of(before, after)) == diff_of(after, before)
    with pytest.raises(ValueError, match="rename"):
        reversed_patch("diff --git a/x b/y\nrename from x\nrename to y\n")
