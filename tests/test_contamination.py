"""Decontamination: what a sample shares with a benchmark is found and named, what any two tasks share is not."""
from __future__ import annotations

import gzip
import json
import random
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest
from conftest import REPO

from codedata.checks.benchmark_rows import Row
from codedata.checks.contamination import Benchmarks, Hit, Material, added_and_old, statement_runs
from codedata.errors import Trouble

pytest.importorskip("rensa", reason="near-duplicates need rensa: pip install 'rensa>=0.5'")

COMMIT, OTHER_COMMIT = "1a" * 20, "2b" * 20
STATEMENT = """Comments eat the values of a settings file

When a value holds the mark of a comment, everything behind the mark is lost while loading, although it is quoted:

    sep = ";"

The README promises that quotes protect a value, so the loader should keep both the mark and the rest of the line."""
PATCH = '''diff --git a/settings/loader.py b/settings/loader.py
index 1111111..2222222 100644
--- a/settings/loader.py
+++ b/settings/loader.py
@@ -10,6 +10,14 @@ def load(path):
     for number, raw in enumerate(lines, 1):
         line = raw.strip()
         if not line:
             continue
-        name, _, value = line.partition("=")
+        quote = None
+        for at, letter in enumerate(line):
+            if quote is not None and letter == quote:
+                quote = None
+            elif letter in QUOTES and previous == "=":
+                quote = letter
+            elif letter in COMMENT_MARKS and quote is None:
+                line = line[:at].rstrip()
+        name, _, value = split_assignment(line)
         settings[name] = value
'''
TEST_PATCH = '''diff --git a/tests/test_loader.py b/tests/test_loader.py
--- a/tests/test_loader.py
+++ b/tests/test_loader.py
@@ -3,2 +3,6 @@ def test_plain(tmp_path):
     assert load(tmp_path / "a") == {}
+
+def test_marks_inside_quotes_are_kept(tmp_path):
+    path = tmp_path / "quoted.settings"
+    path.write_text("sep = ';' ; the real comment")
+    assert load(path)["sep"] == ";"
'''
ROW = {"instance_id": "acme__settings-12", "repo": "acme/settings", "base_commit": COMMIT, "version": "1.0",
       "problem_statement": STATEMENT, "patch": PATCH, "test_patch": TEST_PATCH, "FAIL_TO_PASS": "[]"}
SWE = Row("bench", ROW["instance_id"], (ROW["instance_id"],), STATEMENT, ROW["repo"], COMMIT, PATCH, TEST_PATCH)
OTHER_TEXT = " ".join(random.Random(1).choices(
    ["the", "agent", "looks", "at", "files", "of", "its", "own", "and", "finds", "nothing", "odd", "in"], k=900)) + "\n"


def a_sample(*texts: str, instance_id: str = "", repo: str = "", base_commit: str = "", **named: str) -> Material:
    return Material(instance_id, repo, base_commit, {**{f"text {i}": text for i, text in enumerate(texts, 1)}, **named})


def kinds(hits: list[Hit]) -> list[str]:
    return [hit.kind for hit in hits]


def added(*lines: str, path: str = "x.py") -> str:
    """A patch that adds lines."""
    return f"--- a/{path}\n+++ b/{path}\n@@ -1,0 +1,{len(lines)} @@\n" + "".join(f"+{line}\n" for line in lines)


def rows_of(*statements: str, patch: str = "") -> Benchmarks:
    return Benchmarks(Row("bench", f"row-{i}", (f"row-{i}",), statement, patch=patch)
                      for i, statement in enumerate(statements, 1))


# ---- ids and commits

@pytest.mark.parametrize("fields, found", [
    ({"instance_id": "acme__settings-12"}, ["instance_id"]), ({"instance_id": "Acme__Settings-12"}, ["instance_id"]),
    ({"instance_id": "acme__settings-1"}, []), ({"instance_id": ""}, []),
    ({"repo": "Acme/Settings", "base_commit": COMMIT}, ["repository and base commit"]),
    ({"repo": "acme/settings", "base_commit": COMMIT[:10]}, ["repository and base commit"]),
    ({"repo": "a-fork/settings", "base_commit": COMMIT}, ["repository and base commit"]),   # in full
    ({"repo": "a-fork/settings", "base_commit": COMMIT[:10]}, []),
    ({"repo": "acme/settings", "base_commit": OTHER_COMMIT}, []), ({"repo": "acme/settings", "base_commit": ""}, []),
    ({"repo": "acme/settings", "base_commit": COMMIT, "instance_id": "acme__settings-12"},
     ["instance_id", "repository and base commit"]),
])
def test_ids_and_commits(fields, found):
    hits = Benchmarks([SWE]).hits(a_sample(OTHER_TEXT, **fields))
    assert kinds(hits) == found
    assert all((hit.benchmark, hit.row_id) == ("bench", "acme__settings-12") for hit in hits)


# ---- 13 words

def test_a_statement_in_a_long_history_is_found_and_shown_as_it_stands_there():
    history = f"{OTHER_TEXT}\n> **{STATEMENT.upper().replace(' ', '  ')}**\n{OTHER_TEXT}"
    [hit] = Benchmarks([SWE]).hits(a_sample(issue="another issue", history=history))
    assert (hit.kind, hit.part, hit.where, hit.share) == ("13-gram", "problem statement", "history", 1.0)
    assert hit.overlap.startswith("COMMENTS  EAT  THE  VALUES") and len(hit.overlap) == 300


@pytest.mark.parametrize("n, found", [(12, []), (13, ["13-gram"]), (14, ["13-gram"])])
def test_thirteen_words_are_enough_and_twelve_are_not(n, found):
    quoted = " ".join(STATEMENT.split()[8:8 + n])   # When a value holds …
    hits = Benchmarks([SWE]).hits(a_sample(f"{OTHER_TEXT} XX {quoted} XX {OTHER_TEXT}"))
    assert kinds(hits) == found and all(hit.overlap == quoted for hit in hits)


@pytest.mark.parametrize("patch, part", [(PATCH, "patch"), (TEST_PATCH, "test patch")])
def test_the_added_lines_of_a_patch_are_found_as_code_and_as_a_diff(patch, part):
    benchmarks = Benchmarks([SWE])
    code = "\n".join(line[1:] for line in patch.splitlines() if line.startswith("+") and "+++" not in line)
    for text in (code, patch, code.replace("    ", "\t"), f"```python\n{code}\n```", json.dumps(code)):
        assert [(hit.kind, hit.part) for hit in benchmarks.hits(a_sample(OTHER_TEXT + text))] == [("13-gram", part)]


def test_the_repository_without_the_patch_is_no_hit():
    """What a sample quotes of the same files: headers, context and removed lines, and other code."""
    quoted = "\n".join(line[1:] for line in (PATCH + TEST_PATCH).splitlines() if not line.startswith("+"))
    assert Benchmarks([SWE]).hits(a_sample(quoted * 3, PATCH.split("+        quote")[0])) == []


def test_lines_that_a_patch_moves_are_no_evidence():
    lines = ["def expand_references(sections, name, trail):", "    reference = sections[name].find('${')",
             "    return reference if reference in trail else sections"]
    moved = "--- a/x.py\n+++ b/x.py\n@@ -1,3 +9,3 @@\n" + "".join(f"{sign}{line}\n" for sign in "-+" for line in lines)
    assert rows_of("", patch=moved).hits(a_sample("\n".join(lines))) == []
    assert kinds(rows_of("", patch=added(*lines)).hits(a_sample("\n".join(lines)))) == ["13-gram"]


def test_a_removed_line_that_looks_like_a_header_is_one_of_its_hunk():
    patch = "--- a/x.sql\n+++ b/x.sql\n@@ -1,2 +1,2 @@\n--- an old comment\n+++ a new comment\n same\n"
    assert added_and_old(patch) == (["++ a new comment"], ["-- an old comment\nsame"])


LICENCE = ["# Copyright (c) 2019 Some Body", "# Permission is hereby granted, free of charge, to everybody who has a",
           "# copy of these files, to use, sell and change them as they like, as long as this notice goes with them"]
IMPORTS = ["import argparse", "import json", "import logging", "import os", "import pathlib", "import subprocess",
           "from collections import Counter", "from dataclasses import dataclass"]
TEMPLATE = """<!-- Thank you for the report! Please search among the open issues of this project before you write a new
one, it may be known already -->
- [x] I have searched among the existing issues and did not find a similar one there
- [ ] I am willing to open a pull request that mends this issue in the next few weeks"""
TRACEBACK = """Traceback (most recent call last):
  File "/usr/lib/python3/app/main.py", line 12, in run_the_command_now
  File "/usr/lib/python3/app/core.py", line 31, in load_all_settings_from_disk"""
HEADERS = PATCH[:PATCH.index("@@ def")]


@pytest.mark.parametrize("name, row", {
    "a licence header": Row("b", "r", ("r",), "", patch=added(*LICENCE, "", "x = 1")),
    "a licence file": Row("b", "r", ("r",), "", patch=added(*(line[2:] for line in LICENCE), path="LICENSE.txt")),
    "imports": Row("b", "r", ("r",), "", patch=added(*IMPORTS)),
    "a lock file": Row("b", "r", ("r",), "", patch=added(STATEMENT.replace("\n", " "), path="web/package-lock.json")),
    "an issue template": Row("b", "r", ("r",), TEMPLATE),
    "the frames of a traceback": Row("b", "r", ("r",), TRACEBACK),
    "the headers of a diff": Row("b", "r", ("r",), HEADERS),
    "numbers": Row("b", "r", ("r",), " ".join(map(str, range(1000, 1060)))),
    "few words": Row("b", "r", ("r",), "one two three four five six " * 9),
    "single letters": Row("b", "r", ("r",), "a b c d e f g h i j k l m n o p q r s t u v w x y z"),
}.items())
def test_boilerplate_is_no_evidence(name, row):
    texts = [row.statement, "\n".join(line[1:] for line in row.patch.splitlines()), row.patch]
    assert "13-gram" not in kinds(Benchmarks([row]).hits(a_sample(*texts))), name


def test_a_statement_with_a_template_around_it_still_counts():
    assert statement_runs(f"{TEMPLATE}\n{STATEMENT}\n{TRACEBACK}") == [STATEMENT]
    assert kinds(rows_of(f"{TEMPLATE}\n{STATEMENT}\n{TRACEBACK}").hits(a_sample(OTHER_TEXT + STATEMENT))) == ["13-gram"]


@pytest.mark.parametrize("n, hits", [(1, 1), (3, 3), (4, 0)])
def test_what_more_than_three_instances_share_is_no_evidence(n, hits):
    shared = "every template of this organisation asks first of all whether the newest release was tried"
    rows = rows_of(*(f"{' '.join(random.Random(i).choices(STATEMENT.split(), k=30))} {shared}" for i in range(n)))
    assert len(rows.hits(a_sample(f"{OTHER_TEXT} {shared}"))) == hits


def test_one_instance_in_five_files_is_one_instance_and_named_for_each():
    rows = [replace(SWE, benchmark=f"file {i}") for i in range(5)]
    found = Benchmarks(rows).hits(a_sample(OTHER_TEXT + STATEMENT))
    assert [(hit.benchmark, hit.kind) for hit in found] == [(f"file {i}", "13-gram") for i in range(5)]


def test_a_habit_of_the_project_in_a_large_patch_is_no_hit_unless_asked_for():
    draw = random.Random(2)
    habit = "for key in self.argument_spec: setattr(self, key, parameters[key] if key in parameters else default)"
    lines = [f"call_{i}({', '.join(draw.choices(STATEMENT.split(), k=9))})" for i in range(200)]
    benchmarks, sample = rows_of("", patch=added(*lines, "", habit)), a_sample(f"{OTHER_TEXT}\n{habit}\n")
    assert benchmarks.hits(sample) == []
    [hit] = benchmarks.hits(sample, least_share=0)
    assert hit.part == "patch" and 0 < hit.share < 0.02 and hit.overlap.startswith("for key in self.argument_spec")
    assert [round(hit.share, 1) for hit in benchmarks.hits(a_sample("\n".join(lines[:100])))] == [0.5]


# ---- near-duplicates

@pytest.mark.parametrize("issue, found", [
    ("The loader loses values that hold a semicolon.", ["near-duplicate"]),   # too short for 13 words
    ("the loader LOSES values,\nthat hold a semicolon", ["near-duplicate"]), ("The loader loses values.", []),
])
def test_a_short_statement_is_found_as_a_near_duplicate(issue, found):
    hits = rows_of("The loader loses values that hold a semicolon", "", "loses").hits(a_sample(OTHER_TEXT, issue=issue))
    assert kinds(hits) == found
    assert all((hit.where, hit.overlap, hit.share) == ("issue", issue, 1.0) for hit in hits)


def test_every_kind_at_once_in_the_order_of_the_rows():
    rows = Benchmarks([SWE, replace(SWE, row_id="x", names=("x",), repo="", base_commit="", statement="", patch="")])
    sample = a_sample(STATEMENT, TEST_PATCH, instance_id=SWE.row_id, repo=SWE.repo, base_commit=COMMIT)
    assert [(hit.row_id, hit.kind) for hit in rows.hits(sample)] == [
        (SWE.row_id, "instance_id"), (SWE.row_id, "repository and base commit"), (SWE.row_id, "13-gram"),
        (SWE.row_id, "near-duplicate"), ("x", "13-gram")]


def test_no_rows_and_no_texts():
    assert Benchmarks([]).hits(a_sample(STATEMENT, instance_id="x")) == [] and len(Benchmarks([])) == 0
    assert Benchmarks([SWE]).hits(a_sample()) == Benchmarks([SWE]).hits(a_sample("", "\n")) == []


# ---- reading

MULTI = {"org": "acme", "repo": "settings", "number": 12, "title": "Keep marks", "body": None,
         "base": {"label": "acme:main", "ref": "main", "sha": COMMIT}, "fix_patch": PATCH, "test_patch": TEST_PATCH,
         "resolved_issues": [{"number": 11, "title": STATEMENT.split("\n")[0], "body": STATEMENT}]}
SMITH = {"instance_id": "acme__settings.1a1a1a1a.lm_rewrite__x", "repo": "swesmith/acme__settings.1a1a1a1a",
         "image_name": "swesmith.x86_64.acme", "patch": PATCH, "problem_statement": STATEMENT, "FAIL_TO_PASS": ["a"]}
TERMINAL = {"task_id": "keep-marks", "instruction": STATEMENT, "archive": None}


def write(path: Path, rows: list[dict]) -> Path:
    """Rows in the form that the name says."""
    lines = "".join(json.dumps(row) + "\n\n" for row in rows)
    if path.name.endswith(".gz"):
        path.write_bytes(gzip.compress(lines.encode()))
    elif path.suffix == ".parquet":
        (path.parent / "rows.ndjson").write_text(lines)
        duckdb.sql(f"copy (from read_json('{path.parent}/rows.ndjson')) to '{path}'")
        (path.parent / "rows.ndjson").unlink()
    else:
        path.write_text(lines if path.suffix == ".jsonl" else json.dumps(rows))
    return path


@pytest.mark.parametrize("name", ["rows.json", "rows.jsonl", "rows.jsonl.gz", "rows [1].parquet"])
@pytest.mark.parametrize("family, instance_id", [(ROW, "acme__settings-12"), (MULTI, "acme__settings-12"),
                                                 (MULTI, "acme/settings:pr-12"), (SMITH, SMITH["instance_id"]),
                                                 (TERMINAL, "keep-marks")])
def test_every_family_is_read_from_every_form(tmp_path, name, family, instance_id):
    path = write(tmp_path / name, [family])
    benchmarks = Benchmarks.load([path])
    hits = benchmarks.hits(a_sample(OTHER_TEXT + STATEMENT, instance_id=instance_id))
    assert len(benchmarks) == 1 and kinds(hits) == ["instance_id", "13-gram"]
    assert all(hit.benchmark == str(path) for hit in hits)


@pytest.mark.parametrize("family, found", [(ROW, ["13-gram"]), (MULTI, ["13-gram"]), (SMITH, []), (TERMINAL, [])])
def test_gold_patches_count_and_patches_that_make_a_bug_do_not(tmp_path, family, found):
    code = "\n".join(line[1:] for line in PATCH.splitlines() if line.startswith("+"))
    assert kinds(Benchmarks.load([write(tmp_path / "rows.json", [family])]).hits(a_sample(code))) == found


@pytest.mark.parametrize("family", [ROW, MULTI, SMITH])
def test_every_family_tells_repository_and_commit(tmp_path, family):
    benchmarks = Benchmarks.load([write(tmp_path / "rows.jsonl", [family])])
    assert kinds(benchmarks.hits(a_sample(repo="acme/settings", base_commit=COMMIT))) == ["repository and base commit"]


YAML = {
    "literal": "instruction: |-\n" + "".join(f"  {line}\n" if line else "\n" for line in STATEMENT.split("\n")),
    "folded": "instruction: >2\n" + "".join(f"  {line}\n" for line in STATEMENT.split("\n")),
    "double quotes": f"instruction: {json.dumps(STATEMENT)}\n",
    "single quotes": "instruction: '" + STATEMENT.replace("\n", "\n\n  ") + "'\n",
    "plain": "instruction: " + STATEMENT.replace(": ", " ").replace("\n", "\n  ") + "\n",
}


@pytest.mark.parametrize("style", YAML)
def test_a_folder_of_terminal_tasks(tmp_path, style):
    for task in ("keep-marks", "other"):
        (tmp_path / "tasks" / task / "tests").mkdir(parents=True)
        (tmp_path / "tasks" / task / "tests" / "data.json").write_text("[]")   # a task's own file, no rows
    (tmp_path / "tasks" / "keep-marks" / "task.yaml").write_text(
        f"# a comment\nauthor_name: x\n{YAML[style]}difficulty: easy\ntags:\n  - files\n")
    (tmp_path / "tasks" / "other" / "instruction.md").write_text("Write a haiku about semicolons into /app/haiku.txt")
    (tmp_path / "tasks" / "other" / "task.toml").write_text('schema_version = "1.4"\n')
    benchmarks = Benchmarks.load([tmp_path / "tasks"])
    [hit] = benchmarks.hits(a_sample(OTHER_TEXT + STATEMENT))
    assert (hit.benchmark, hit.row_id, hit.share) == (str(tmp_path / "tasks" / "keep-marks"), "keep-marks", 1.0)
    assert kinds(benchmarks.hits(a_sample(instance_id="other"))) == ["instance_id"] and len(benchmarks) == 2


def test_the_solution_and_the_tests_of_a_terminal_task_count(tmp_path):
    solution = "cut -d= -f2 /app/settings | grep -v semicolon | sort --unique --reverse > /app/sorted_values.txt && wc"
    test = "lines = open('/app/sorted_values.txt').read().splitlines()\nassert lines == list(reversed(expected)), 'x'"
    for name, text in (("instruction.md", "Sort it."), ("solution/solve.sh", solution), ("tests/test_it.py", test)):
        (tmp_path / "sort" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "sort" / name).write_text(text)
    for text, part in ((solution, "patch"), (test, "test patch")):
        assert [hit.part for hit in Benchmarks.load([tmp_path]).hits(a_sample(OTHER_TEXT + text))] == [part]


def test_a_folder_of_files_is_read_whole(tmp_path):
    (tmp_path / "data").mkdir()
    write(tmp_path / "data" / "test-00000.parquet", [ROW])
    write(tmp_path / "more.jsonl", [TERMINAL])
    (tmp_path / "README.md").write_text("# rows")
    assert len(Benchmarks.load([tmp_path])) == 2


REFUSED = {   # name: (file, content, what the message says)
    "another kind of row": ("a.json", [{"prompt": "x", "answer": "y"}], ["row 1", "answer, prompt", "instance_id"]),
    "in the second line": ("a.jsonl", [ROW, {"id": 1}], ["a.jsonl row 2", "`task_id` with `instruction`"]),
    "no object": ("a.json", ["x"], ['row 1 is "x", no object']),
    "no list": ("a.json", {"rows": []}, ["is no list of rows"]),
    "a number as a text": ("a.json", [{**ROW, "patch": 3}], ["has 3 as `patch`"]),
    "an empty id": ("a.json", [{**ROW, "instance_id": ""}], ["row 1"]),
    "no rows": ("a.jsonl", [], ["holds no rows"]),
    "broken JSON": ("a.jsonl", b'{"instance_id": "x"\n', ["a.jsonl line 1", "is broken"]),
    "broken gzip": ("a.jsonl.gz", b"no gzip", ["cannot be unpacked"]),
    "broken Parquet": ("a.parquet", b"PAR1 no parquet", ["cannot be read"]),
    "other columns": ("a.parquet", [{"prompt": "x"}], ["has the columns prompt", "instance_id"]),
    "another form": ("a.csv", b"instance_id,patch\n", ["is none of .parquet"]),
    "a task without an instruction": ("t/task.yaml", b"author_name: x\n", ["t has no instruction"]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_benchmark_is_refused_with_its_name(tmp_path, name):
    file, content, said = REFUSED[name]
    path = tmp_path / file
    path.parent.mkdir(exist_ok=True)
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        write(path, content) if isinstance(content, list) else path.write_text(json.dumps(content))
    with pytest.raises(Trouble) as trouble:
        Benchmarks.load([path if path.parent == tmp_path else path.parent])
    assert str(tmp_path) in str(trouble.value) and all(part in str(trouble.value) for part in said), str(trouble.value)


def test_every_file_that_is_no_use_is_named_at_once(tmp_path):
    good, bad = write(tmp_path / "good.json", [ROW]), write(tmp_path / "bad.json", [{"x": 1}])
    (tmp_path / "empty").mkdir()
    with pytest.raises(Trouble) as trouble:
        Benchmarks.load([tmp_path / "missing.json", good, bad, str(tmp_path / "empty")])
    said = str(trouble.value)
    assert all(name in said for name in ("missing.json is no file", "bad.json row 1", "empty holds no task"))
    assert "good.json" not in said


# ---- the samples: half of the PRs is a benchmark, the other half and its trajectories are not

@pytest.fixture(scope="module")
def samples() -> dict[str, list[Material]]:
    """instance id: its PR's texts, then its trajectories."""
    names = ("problem_statement", "pr_description", "patch", "test_patch")
    out = {row["instance_id"]: [a_sample(*(row[name] for name in names))] for row in sample_rows("prs")}
    for row in sample_rows("trajectories"):
        said = [message["content"] for message in row["messages"]]
        out[row["instance_id"]].append(a_sample(issue=said[1], history="\n".join(said)))
    return out


def sample_rows(name: str) -> list[dict]:
    return json.loads((REPO / "samples" / f"{name}.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("half", [0, 1])
def test_other_prs_and_trajectories_of_the_same_repositories_are_clean(tmp_path, samples, half):
    """All but two PRs of one project, whose tests begin with the same lines."""
    known = sample_rows("prs")[half::2]
    benchmarks = Benchmarks.load([write(tmp_path / "known.jsonl", known)])
    others = samples.keys() - {row["instance_id"] for row in known}
    hits = {(instance_id, hit.row_id, hit.part) for instance_id in others for sample in samples[instance_id]
            for hit in benchmarks.hits(sample)}
    assert len(others) >= 12 and {(*sorted(ids), part) for *ids, part in hits} == {
        ("stonecrop__lrupot-3", "stonecrop__lrupot-7", "test patch")}


@pytest.mark.parametrize("half", [0, 1])
def test_every_pr_and_trajectory_of_the_benchmark_is_found_without_its_id(tmp_path, samples, half):
    known = sample_rows("prs")[half::2]
    benchmarks = Benchmarks.load([write(tmp_path / "known.parquet", known)])
    for row in known:
        for sample in samples[row["instance_id"]]:
            assert (row["instance_id"], "13-gram") in [(hit.row_id, hit.kind) for hit in benchmarks.hits(sample)]
