"""Check the rows of swebench, swesmith and nl2repo: what is in them, what is left out; that the
harnesses take them is for `make test-swebench`."""
import json

import pyarrow.parquet as parquet
import pytest
from a_task import (
    BUG_ID,
    BUG_PATCH,
    EARLIER,
    HEALS,
    HIDDEN,
    PULL_ID,
    PULLED,
    REPORT,
    STRIP,
    STRIP_ID,
    WORDS,
    WRITES,
    a_bug,
    a_datapoint,
    a_pull,
    a_strip,
    edited,
    file_of,
    files_in,
    proven_again,
    write_task,
)
from an_attempt import write_attempt
from exports import card, config, left_out, left_out_lines, manifest, rows
from fake_judges import exported as make

from codedata.code.patches import diff_of
from codedata.export.task_sets.task_rows import NL2REPO, RATES, SWEBENCH, SWESMITH
from codedata.tasks.folder.task_folder import audited_digest
from codedata.texts import tomllib

OF_BUGS = ("swebench", "swesmith")


@pytest.fixture
def root(tmp_path):
    """Return a root with a bug and a stripped patch that were proven, and no validation split."""
    tmp_path.with_settings(more="[export]\nvalidation = 0.0\n")
    write_task(tmp_path, a_bug())
    write_task(tmp_path, a_strip())
    return tmp_path


COLUMNS = {"swebench": SWEBENCH, "swesmith": SWESMITH, "nl2repo": NL2REPO}
ROWS = tomllib.loads(f"""
[all]
FAIL_TO_PASS = ["tests/test_words.py::test_none"]
PASS_TO_PASS = ["tests/test_depths.py::test_fly"]
repo = "birds/heron"
created_at = "2024-05-01T00:00:00Z"

[of_bugs]
instance_id = "{BUG_ID}"
base_commit = "{'b' * 40}"
source_commit = "{'a' * 40}"
language = "python"
method = "agent"
symbol = "heron.py::wade"
problem_statement = {json.dumps(REPORT)}
image_name = "codedata-bug/{BUG_ID}:1"

[swebench]
patch = {json.dumps(HEALS)}
bug_patch = {json.dumps(BUG_PATCH)}
hints_text = ""
version = ""
environment_setup_commit = "{'a' * 40}"
image = "codedata-bug/{BUG_ID}:1"
log_parser = "parse_log_pytest"
eval_type = "pass_and_fail"

[swesmith]
patch = {json.dumps(BUG_PATCH)}

[nl2repo]
instance_id = "{STRIP_ID}"
base_commit = "{'a' * 40}"
task_commit = "{'b' * 40}"
licence = "MIT"
kind = "function"
functions = ["{WORDS}"]
patch = {json.dumps(WRITES)}
strip_patch = {json.dumps(STRIP)}
document = "# heron\\n\\nWhat herons do.\\n\\n## words\\n\\nReturn the lower-case words of a text."
image_name = "codedata-bug/{STRIP_ID}:1"
tests_visible = ""
tests_user = "nobody"
""")
# the type of each column that is no text
LISTS = dict.fromkeys(("FAIL_TO_PASS", "PASS_TO_PASS", "functions"), "VARCHAR[]")


@pytest.mark.parametrize("name", COLUMNS)
def test_each_column_of_a_row_is_what_the_folder_says(root, name):
    for task in a_bug(), a_strip():
        write_attempt(root, task.instance_id, content=audited_digest(task))
    make(root)
    [row] = rows(root, name)
    [rates] = row.pop("rates")
    assert (rates["agent"], rates["solved"], rates["interval"]) == ("own-m-012345", 1, [0.2065, 1])
    test_patch, script = row.pop("test_patch"), row.pop("eval_script")
    of_bugs = ROWS["of_bugs"] if name in OF_BUGS else {}
    assert row == {**ROWS["all"], **of_bugs, **ROWS[name]}
    assert "+++ b/tests/test_words.py\n" in test_patch and test_patch.count("diff --git") == 1
    task = a_strip() if name == "nl2repo" else a_bug()
    assert files_in(script) == {path: file_of(task, "tests", path) for path in task.tests
                                if path != "test.patch"}
    assert COLUMNS[name] == {"rates": RATES} | {column: LISTS.get(column, "VARCHAR")
                       for column in (*row, "test_patch", "eval_script")}
    [file] = (root / f"export/{name}/data").iterdir()
    assert parquet.read_table(file).to_pylist() == rows(root, name)
    assert "1 task, a row each" in card(root, name)
    assert make(root).count("unchanged") == 4


def test_where_no_test_is_hidden_there_is_no_patch_of_tests(root):
    write_task(root, proven_again(a_bug(hidden={}), {"tests_visible": "it is off"}))
    make(root)
    assert [row["test_patch"] for row in rows(root, "swebench")] == [""]
    assert "registry" in (root / "export/swesmith/profiles.py").read_text()


def test_a_pull_request_has_the_row_of_a_bug_and_its_tests_begin_with_the_earlier_ones(root):
    write_task(root, a_pull())
    make(root)
    for name, patch in (("swebench", HEALS), ("swesmith", BUG_PATCH)):
        bug, pull = rows(root, name)
        wanted = {"instance_id": PULL_ID, "method": "pull_request", "symbol": "",
                  "problem_statement": PULLED, "patch": patch,
                  "test_patch": diff_of(EARLIER, HIDDEN)}
        images = {key: f"codedata-bug/{PULL_ID}:1" for key in ("image", "image_name") if key in bug}
        assert pull == {**bug, **wanted, **images}


LEFT_OUT = {   # name of a task → (the task, reason); tests/tasks/test_check.py has the others
    "image.a.1": (edited(a_bug("image.a.1"), environment={"Dockerfile": b"FROM other\n"}),
                  "not as proven"),
    "report.a.1": (a_bug("report.a.1", instruction=None), "no instruction"),
    "blank.a.1": (a_strip("blank.a.1", " \n"), "no instruction"),
    "functions.a.1": (edited(a_strip("functions.a.1"), {"functions": "words"}), "columns")}


def test_what_is_not_as_proven_or_lacks_a_part_is_left_out_by_name(root):
    for task, _ in LEFT_OUT.values():
        write_task(root, task)
    make(root)
    assert left_out(root) == {name: reason for name, (_, reason) in LEFT_OUT.items()}
    details = (root / "export/left_out.jsonl").read_text()
    for part in ("environment/", "bug_inject.py agent --steps issue", "nl2repo.py --steps"):
        assert part in details
    assert [row["instance_id"] for row in rows(root, "swebench")] == [BUG_ID]


def test_requests_that_need_a_text_are_left_out_and_counted_by_rule(root):
    for name, text, names in (("short", "Wade deeper.\n", ""), ("names", PULLED, ["wade_on"]),
                              ("said", f"{PULLED}See wade_on.\n", ["wade_on"])):
        write_task(root, a_pull(f"birds__heron-{name}", text, new_names=names))
    make(root)
    assert [line["detail"] for line in left_out_lines(root)] == ["wade_on", "Wade deeper."]
    counted = "needs a text: it has fewer than 8 words 1, needs a text: it lacks names"
    assert counted in card(root, "swebench") and counted in card(root, "harbor")


def test_two_tasks_of_a_repository_never_share_a_report(root):
    write_task(root, a_pull(instruction=REPORT))
    write_task(root, a_bug("heron.agent-2.0123abcd", "Wrong.\nSo wrong."))
    write_task(root, a_bug("heron.agent-3.0123abcd", "Wrong. So wrong.\n"))
    write_task(root, a_bug("crane.agent-1.0123abcd"))
    make(root)
    assert [(line["name"], line["reason"], line["formats"]) for line in left_out_lines(root)] == [
        (name, "report of another task", [*OF_BUGS])
        for name in ("heron.agent-3.0123abcd", PULL_ID)]


def test_an_edited_instruction_is_exported_with_its_secrets_masked_and_one_line_a_row(root):
    text = "Mail to eve.miller@wetlands.org\u2028about\x85birds."
    write_task(root, edited(a_bug(), instruction=text))
    write_task(root, edited(a_strip(), instruction=f"# heron\n\n{text}\n"))
    assert "masked: e-mail address 2" in make(root)
    masked = "Mail to [masked: e-mail address]\u2028about\x85birds."
    assert [rows(root, name)[0]["problem_statement"] for name in OF_BUGS] == [masked] * 2
    assert rows(root, "nl2repo")[0]["document"] == f"# heron\n\n{masked}"
    told = root / "export/harbor" / BUG_ID / "instruction.md"
    assert told.read_text() == masked


def test_rules_of_all_exports_hold_for_tasks(root):
    write_task(root, a_bug("crane.agent-1.0123abcd", licence="GPL-3.0",
                           source_commit="c" * 40))
    write_task(root, a_strip("egret.function.0123abcd", licence=None))
    benchmark = root / "benchmark.jsonl"
    benchmark.write_text(json.dumps({"instance_id": "b", "repo": "birds/crane", "base_commit":
                                     "c" * 40, "problem_statement": "", "patch": ""}) + "\n")
    root.with_settings(more=f'[export]\ndecontaminate = ["{benchmark}"]\nvalidation = 0.0\n'
                       f'[exclude]\nids = ["{BUG_ID}"]\n')
    make(root, "--formats", "swebench,swesmith,nl2repo")
    assert left_out(root) == {BUG_ID: "[exclude] ids", "crane.agent-1.0123abcd": "in a benchmark"}
    root.with_settings(more='[export]\nlicences = ["MIT"]\n')
    make(root)
    assert {*left_out(root).values()} == {"licence"} and rows(root, "swebench") == []
    assert [row["licence"] for row in rows(root, "nl2repo")] == ["MIT"]


def test_the_cards_count_the_tasks_of_each_tier(root):
    for n, tier in enumerate(("real", "operator", "operator")):
        write_task(root, a_bug(f"egret.x.{n:08x}", f"Egret {n} wades too deep.", tier=tier))
    make(root)
    assert "| operator (2 tasks), no tier (1 task), real (1 task) |" in card(root, "swesmith")
    assert "| no tier (2 tasks), operator (2 tasks), real (1 task) |" in card(root, "harbor")


def test_nothing_of_one_origin_is_in_both_splits(root):
    for name in ("crane", "egret", "ibis"):
        for n in range(7):
            write_task(root, a_bug(f"{name}.agent-{n}.0123abcd", f"{name} {n}"))
            write_task(root, a_datapoint(f"{name}-{n}", split=name))
    root.with_settings(more="[export]\nvalidation = 0.5\n")
    make(root)
    train, validation = ({row["repo"] for row in rows(root, "swebench", split)}
                         for split in ("train", "validation"))
    assert train and validation and not train & validation
    tasks = manifest(root, "harbor")["tasks"]
    for task in tasks:
        assert config(root, task["name"])["metadata"]["split"] == task["split"]
    splits = {(task["repo"], task["split"]) for task in tasks if task["kind"] == "datapoint"}
    assert len(splits) == len({repo for repo, _ in splits}) == 3
