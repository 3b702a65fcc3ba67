"""Check that text shared with a benchmark is found and named, and that common text is not."""
import gzip
import json
import random
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest
from line_tables import rows
from root import write_files

from codedata.checks.benchmark_rows import BenchmarkRow
from codedata.checks.contamination import (
    SAME_COMMIT,
    SAME_ID,
    Benchmarks,
    Hit,
    Material,
)
from codedata.errors import Trouble

COMMIT = "1a" * 20
STATEMENT = """Comments eat the values of a settings file

When a value holds the mark of a comment, everything behind the mark is lost while loading, \
although it is quoted:

    sep = ";"

The README promises that quotes protect a value, so the loader should keep both the mark \
and the rest of the line."""
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
ROW = {"instance_id": "acme__settings-12", "repo": "acme/settings", "base_commit": COMMIT,
       "version": "1.0", "problem_statement": STATEMENT, "patch": PATCH, "test_patch": TEST_PATCH,
       "FAIL_TO_PASS": "[]"}
SWE_ROW = BenchmarkRow("bench", ROW["instance_id"], (ROW["instance_id"],), STATEMENT, ROW["repo"],
                       COMMIT, PATCH, TEST_PATCH)
SWE = Benchmarks([SWE_ROW])
OTHER_WORDS = "the agent looks at files of its own and finds nothing odd in"
OTHER_TEXT = " ".join(random.Random(1).choices(OTHER_WORDS.split(), k=900)) + "\n"


def a_sample(*texts: str, instance_id: str = "", repo: str = "", base_commit: str = "",
             **named: str) -> Material:
    return Material(instance_id, repo, base_commit,
                    {**{f"text {i}": text for i, text in enumerate(texts, 1)}, **named})


def hits_of(benchmarks: Benchmarks, *texts: str, **fields: str) -> list[Hit]:
    return benchmarks.hits(a_sample(*texts, **fields))


def kinds(benchmarks: Benchmarks, *texts: str, **fields: str) -> list[str]:
    return [hit.kind for hit in hits_of(benchmarks, *texts, **fields)]


def added(*lines: str) -> str:
    """Return a patch that adds lines."""
    return f"--- a/x.py\n+++ b/x.py\n@@ -1,0 +1,{len(lines)} @@\n" + "".join(
        f"+{line}\n" for line in lines)


def added_lines(patch: str) -> str:
    return "\n".join(line[1:] for line in patch.splitlines()
                     if line.startswith("+") and "+++" not in line)


def rows_of(*statements: str, patch: str = "") -> Benchmarks:
    return Benchmarks(BenchmarkRow("bench", f"row-{i}", (f"row-{i}",), statement, patch=patch)
                      for i, statement in enumerate(statements, 1))


# ---- ids and commits

@pytest.mark.parametrize("instance_id, repo, base_commit, found", rows(f"""
acme__settings-12 |                 |               | {SAME_ID}
Acme__Settings-12 |                 |               | {SAME_ID}
acme__settings-1  |                 |               |
                  |                 |               |
                  | Acme/Settings   | {COMMIT}      | {SAME_COMMIT}
                  | acme/settings   | {COMMIT[:10]} | {SAME_COMMIT}
                  | a-fork/settings | {COMMIT}      | {SAME_COMMIT}
                  | a-fork/settings | {COMMIT[:10]} |
                  | acme/settings   | {"2b" * 20}   |
                  | acme/settings   |               |
acme__settings-12 | acme/settings   | {COMMIT}      | {SAME_ID}, {SAME_COMMIT}
"""))
def test_ids_and_commits(instance_id, repo, base_commit, found):
    hits = hits_of(SWE, OTHER_TEXT, instance_id=instance_id, repo=repo, base_commit=base_commit)
    assert ", ".join(hit.kind for hit in hits) == found
    assert {(hit.benchmark, hit.row_id) for hit in hits} <= {("bench", "acme__settings-12")}


# ---- 13 words

def test_a_statement_in_a_long_history_is_found_and_shown_as_it_stands_there():
    history = f"{OTHER_TEXT}\n> **{STATEMENT.upper().replace(' ', '  ')}**\n{OTHER_TEXT}"
    [hit] = hits_of(SWE, issue="another issue", history=history)
    assert hit.kind == "13-gram"
    assert hit.part == "problem statement"
    assert hit.overlap.startswith("COMMENTS  EAT  THE  VALUES") and len(hit.overlap) == 300


def test_thirteen_words_are_enough_and_twelve_are_not():
    for n, n_hits in ((12, 0), (13, 1), (14, 1)):
        quoted = " ".join(STATEMENT.split()[8:8 + n])   # When a value holds …
        hits = hits_of(SWE, f"{OTHER_TEXT} XX {quoted} XX {OTHER_TEXT}")
        assert [(hit.kind, hit.overlap) for hit in hits] == [("13-gram", quoted)] * n_hits


@pytest.mark.parametrize("patch, part", [(PATCH, "patch"), (TEST_PATCH, "test patch")])
def test_the_added_lines_of_a_patch_are_found_as_code_and_as_a_diff(patch, part):
    code = added_lines(patch)
    for text in (code, patch, code.replace("    ", "\t"), f"```python\n{code}\n```",
                 json.dumps(code)):
        hits = hits_of(SWE, OTHER_TEXT + text)
        assert [(hit.kind, hit.part) for hit in hits] == [("13-gram", part)]


def test_the_repository_without_the_patch_is_no_hit():
    """Quote of the same files headers, context and removed lines, and other code."""
    quoted = "\n".join(line[1:] for line in (PATCH + TEST_PATCH).splitlines()
                       if not line.startswith("+"))
    assert hits_of(SWE, quoted * 3, PATCH.split("+        quote")[0]) == []


@pytest.mark.parametrize("n, hits", [(1, 1), (3, 3), (4, 0)])
def test_what_more_than_three_instances_share_is_no_evidence(n, hits):
    shared = ("every template of this organisation asks first of all whether the newest release "
              "was tried")
    rows = rows_of(*(f"{' '.join(random.Random(i).choices(STATEMENT.split(), k=30))} {shared}"
                     for i in range(n)))
    assert kinds(rows, f"{OTHER_TEXT} {shared}") == ["13-gram"] * hits


def test_one_instance_in_five_files_is_one_instance_and_named_for_each():
    rows = [replace(SWE_ROW, benchmark=f"file {i}") for i in range(5)]
    found = hits_of(Benchmarks(rows), OTHER_TEXT + STATEMENT)
    assert [(hit.benchmark, hit.kind) for hit in found] == [(f"file {i}", "13-gram")
                                                            for i in range(5)]


def test_a_habit_of_the_project_is_a_hit_only_where_it_is_much_of_the_patch():
    draw = random.Random(2)
    habit = ("for key in self.argument_spec: setattr(self, key, parameters[key] if key in "
             "parameters else default)")
    lines = [f"call_{i}({', '.join(draw.choices(STATEMENT.split(), k=9))})" for i in range(200)]
    benchmarks = rows_of("", patch=added(*lines, "", habit))
    sample = a_sample(f"{OTHER_TEXT}\n{habit}\n")
    assert benchmarks.hits(sample) == []
    [hit] = rows_of("", patch=added(*lines[:10], "", habit)).hits(sample)
    assert hit.part == "patch" and hit.overlap.startswith("for key in self.argument_spec")
    assert len(hits_of(benchmarks, "\n".join(lines[:100]))) == 1


# ---- reading

MULTI = {"org": "acme", "repo": "settings", "number": 12, "title": "Keep marks", "body": None,
         "base": {"label": "acme:main", "ref": "main", "sha": COMMIT}, "fix_patch": PATCH,
         "test_patch": TEST_PATCH,
         "resolved_issues": [{"number": 11, "title": STATEMENT.split("\n")[0], "body": STATEMENT}]}
SMITH = {"instance_id": "acme__settings.1a1a1a1a.lm_rewrite__x",
         "repo": "swesmith/acme__settings.1a1a1a1a", "image_name": "swesmith.x86_64.acme",
         "patch": PATCH, "problem_statement": STATEMENT, "FAIL_TO_PASS": ["a"]}
TERMINAL = {"task_id": "keep-marks", "instruction": STATEMENT, "archive": None}


def write(path: Path, rows) -> Path:
    """Write rows in the form that the name says."""
    text = json.dumps(rows) if path.suffix == ".json" else "".join(json.dumps(row) + "\n\n"
                                                                   for row in rows)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    if path.suffix == ".parquet":
        copy = path.rename(path.with_name("rows.ndjson"))
        duckdb.sql(f"copy (from read_json('{copy}')) to '{path}'")
        copy.unlink()
    return path


@pytest.mark.parametrize("name", ["rows.json", "rows.jsonl", "rows.jsonl.gz", "rows [1].parquet"])
@pytest.mark.parametrize("family, instance_id, has_repo, has_gold_patch", [
    (ROW, "acme__settings-12", True, True), (MULTI, "acme__settings-12", True, True),
    ({**MULTI, "number": 12.0}, "acme/settings:pr-12", True, True),
    (SMITH, SMITH["instance_id"], True, False),   # its patch makes the bug
    (TERMINAL, "keep-marks", False, False)])
def test_every_family_is_read_from_every_form(tmp_path, name, family, instance_id, has_repo,
                                              has_gold_patch):
    path = write(tmp_path / name, [family])
    benchmarks = Benchmarks.load([path])
    hits = hits_of(benchmarks, OTHER_TEXT + STATEMENT, instance_id=instance_id)
    assert len(benchmarks) == 1 and [(hit.benchmark, hit.kind) for hit in hits] == [
        (str(path), SAME_ID), (str(path), "13-gram")]
    assert kinds(benchmarks, repo="acme/settings", base_commit=COMMIT) == [SAME_COMMIT] * has_repo
    assert kinds(benchmarks, added_lines(PATCH)) == ["13-gram"] * has_gold_patch


def test_a_folder_of_tasks(tmp_path):
    write_files(tmp_path, {
        "keep-marks/instruction.md": STATEMENT,
        "keep-marks/tests/data.json": "[]",   # a task's own file, no rows
        "other/instruction.md": "Write a haiku about semicolons into /app/haiku.txt",
        "other/task.toml": 'schema_version = "1.4"\n'})
    benchmarks = Benchmarks.load([tmp_path])
    [hit] = hits_of(benchmarks, OTHER_TEXT + STATEMENT)
    assert hit.benchmark == str(tmp_path / "keep-marks")
    assert hit.row_id == "keep-marks"
    assert kinds(benchmarks, instance_id="other") == [SAME_ID] and len(benchmarks) == 2


def test_the_solution_and_the_tests_of_a_terminal_task_count(tmp_path):
    solution = ("cut -d= -f2 /app/settings | grep -v semicolon | sort --unique --reverse > "
                "/app/sorted_values.txt && wc")
    test = ("lines = open('/app/sorted_values.txt').read().splitlines()\n"
            "assert lines == list(reversed(expected)), 'x'")
    write_files(tmp_path / "sort",
                {"instruction.md": "Sort it.", "solution/solve.sh": solution, "tests/it.py": test})
    for text, part in ((solution, "patch"), (test, "test patch")):
        hits = hits_of(Benchmarks.load([tmp_path]), OTHER_TEXT + text)
        assert [hit.part for hit in hits] == [part]


def test_a_folder_of_files_is_read_whole(tmp_path):
    write_files(tmp_path, {"README.md": "# rows", "data/more.jsonl": json.dumps(TERMINAL)})
    write(tmp_path / "test-00000.parquet", [ROW])
    assert len(Benchmarks.load([tmp_path])) == 2


# name | content, with ROW for the fields of a good row | what the message says
@pytest.mark.parametrize("name, content, reported", rows("""
a.json        | [{"prompt": "x", "answer": "y"}]  | row 1 .*answer, prompt.*instance_id
a.jsonl       | {ROW}\\n{"id": 1}                 | a.jsonl row 2 .*`task_id` with `instruction`
a.json        | ["x"]                             | line 1 is broken: "x" is no dict
a.json        | {"rows": []}                      | is not a list of objects
a.json        | [{ROW, "patch": 3}]               | has 3 as `patch`
a.json        | [{ROW, "instance_id": ""}]        | row 1
a.jsonl       |                                   | holds no rows
a.jsonl       | {"instance_id": "x"               | a.jsonl line 1 is broken
a.jsonl       | [LONG{}]                          | line 1 is broken
a.jsonl.gz    | no gzip                           | cannot be unpacked
a.parquet     | PAR1 no parquet                   | cannot be read
a.csv         | instance_id,patch                 | is none of .parquet
instruction.md |                                  | has no instruction
"""))
def test_what_is_no_benchmark_is_refused_with_its_name(tmp_path, name, content, reported):
    path = tmp_path / name
    content = content.replace("ROW", json.dumps(ROW)[1:-1]).replace("LONG", "{}," * 7_000_000)
    path.write_text(content.replace(r"\n{", "\n{"))
    with pytest.raises(Trouble, match=f"^{tmp_path}.*{reported}"):
        Benchmarks.load([tmp_path if name == "instruction.md" else path])


@pytest.mark.parametrize("columns, reported", rows("""
'x' as prompt                              | has the columns prompt.*instance_id
'x' as instance_id, 'diff'::blob as patch  | has bytes as `patch`
"""))
def test_a_parquet_file_of_other_columns_or_with_a_text_in_bytes_is_refused(
        tmp_path, columns, reported):
    path = tmp_path / "a.parquet"
    duckdb.sql(f"copy (select {columns}) to '{path}'")
    with pytest.raises(Trouble, match=reported):
        Benchmarks.load([path])


def test_every_file_that_is_no_use_is_named_at_once(tmp_path):
    good, bad = write(tmp_path / "good.json", [ROW]), write(tmp_path / "bad.json", [{"x": 1}])
    (tmp_path / "empty").mkdir()
    with pytest.raises(
            Trouble,
            match=r"(?s)missing.json is neither.*bad.json row 1.*empty holds no task") as trouble:
        Benchmarks.load([tmp_path / "missing.json", good, bad, str(tmp_path / "empty")])
    assert "good.json" not in str(trouble.value)
