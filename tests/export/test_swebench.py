"""Check the rows of swebench and swesmith: what is in them, what is left out; that the harnesses
take them is for `make test-swebench`."""
from __future__ import annotations

import json
from functools import partial

import pyarrow.parquet as parquet
import pytest
from conftest import REPO, edit, write_toml
from fake_judges import run_main
from judged import read_json
from proven import BUG_PATCH, GOLD, write_bug

import export

FORMATS = ("swebench", "swesmith")
HERON = "heron.agent-1.0123abcd"
make = partial(run_main, export.main)   # its result is what export.py prints


@pytest.fixture
def root(tmp_path):
    """Return a root with a proven bug and no validation split."""
    write_toml(tmp_path, more="[export]\nvalidation = 0.0\n")
    write_bug(tmp_path, HERON)
    return tmp_path


def rows(root, name: str = "swebench", split: str = "train") -> list[dict]:
    path = root / f"export/{name}/{split}.jsonl"
    return [*map(json.loads, path.read_text().splitlines())] if path.exists() else []


def left_out(root) -> dict[str, str]:
    lines = map(json.loads, (root / "export/left_out.jsonl").read_text().splitlines())
    return {line["name"]: line["reason"] for line in lines if line["formats"] == [*FORMATS]}


def test_a_row_is_the_bug_as_it_was_proven(root):
    assert "bug/ 1 → export/   1 task" in make(root)
    record, [row] = read_json(root / f"bug/{HERON}.json"), rows(root)
    assert row.items() <= record.items() and row["patch"] == GOLD
    assert {"image", "eval_script", "log_parser", "eval_type", "hints_text",
            "environment_setup_commit"} <= row.keys()
    [smith] = rows(root, "swesmith")
    assert smith["patch"] == BUG_PATCH and smith["image_name"] == record["image"]
    for name in FORMATS:
        [file] = (root / f"export/{name}/data").iterdir()
        assert parquet.read_table(file).to_pylist() == rows(root, name)
        assert "1 task" in (root / f"export/{name}/README.md").read_text()
    assert "registry" in (root / "export/swesmith/profiles.py").read_text()
    assert make(root).count("unchanged") == 2


def test_what_is_not_as_proven_is_left_out_by_name(root):
    for name in ("crane", "egret", "ibis", "stork"):
        write_bug(root, f"{name}.agent-1.0123abcd")
    record = "bug/{}.agent-1.0123abcd.json".format
    edit(root / record("crane"), lambda bug: bug.update(patch=bug["patch"] + "\n"))
    edit(root / record("egret"), lambda bug: bug.update(problem_statement=None))
    (root / "bug/_verdicts/ibis.agent-1.json").unlink()
    edit(root / "bug/_verdicts/stork.agent-1.json",
         lambda record: record["verdicts"][0].update(good=False))
    key = "ghp_" + "a8Kx93LmQz71TbVw4RpYs6NcJe2HdF05Gu1o"
    write_bug(root, "wren.agent-1.0123abcd", test_patch=f"+TOKEN = '{key}'\n")
    make(root)
    assert left_out(root) == {f"{name}.agent-1.0123abcd": reason for name, reason in {
        "crane": "not as proven", "egret": "no report", "ibis": "orphan",
        "stork": "orphan", "wren": "secret in a file that runs"}.items()}
    assert [row["instance_id"] for row in rows(root)] == [HERON]


def test_bugs_alone_have_no_orphans_and_a_broken_one_keeps_none_back(root):
    write_bug(root, "crane.agent-1.0123abcd")
    for path in (root / "bug/_verdicts").iterdir():
        path.unlink()
    (root / "bug/crane.agent-1.0123abcd.json").write_text("{")
    assert "crane.agent-1.0123abcd.json" in make(root, code=1)
    assert [row["instance_id"] for row in rows(root)] == [HERON]


def test_two_bugs_of_a_repository_never_share_a_report(root):
    write_bug(root, "heron.agent-2.0123abcd", problem_statement="Wrong.\nSo wrong.")
    write_bug(root, "heron.agent-3.0123abcd", problem_statement="Wrong. So wrong.\n")
    write_bug(root, "crane.agent-1.0123abcd")
    make(root)
    assert left_out(root) == {"heron.agent-3.0123abcd": "report of another bug"}


def test_an_edited_report_is_exported_with_its_secrets_masked_and_one_line_a_row(root):
    text = "Mail to eve.miller@wetlands.org\u2028about\x85birds."
    edit(root / f"bug/{HERON}.json", lambda bug: bug.update(problem_statement=text))
    assert "masked: e-mail address" in make(root)
    for name in FORMATS:
        [row] = rows(root, name)
        assert row["problem_statement"] == (
            "Mail to [masked: e-mail address]\u2028about\x85birds.")


def test_rules_of_all_exports_hold_for_bugs(root):
    write_bug(root, "crane.agent-1.0123abcd")
    benchmark = root / "benchmark.jsonl"
    benchmark.write_text(json.dumps({"instance_id": "b", "repo": "birds/crane", "base_commit":
                                     "a" * 40, "problem_statement": "", "patch": ""}) + "\n")
    write_toml(root, more=f'[export]\ndecontaminate = ["{benchmark}"]\nvalidation = 0.0\n'
               f'[exclude]\nids = ["{HERON}"]\n')
    make(root, "--formats", "swebench,swesmith")
    assert left_out(root) == {HERON: "[exclude] ids",
                              "crane.agent-1.0123abcd": "in a benchmark"}
    write_toml(root, more='[export]\nlicences = ["MIT"]\n')
    make(root)
    assert {*left_out(root).values()} == {"licence"} and rows(root) == []


def test_no_repository_is_in_both_splits(root):
    for name in ("crane", "egret", "ibis"):
        for n in (1, 2):
            write_bug(root, f"{name}.agent-{n}.0123abcd")
    write_toml(root, more="[export]\nvalidation = 0.5\n")
    make(root)
    train, validation = ({row["repo"] for row in rows(root, split=split)}
                         for split in ("train", "validation"))
    assert train and validation and not train & validation


def test_the_sample_bugs_are_exported_as_they_were_proven(tmp_path):
    write_toml(tmp_path, more="[export]\nvalidation = 0.0\n")
    samples = [*map(read_json, (REPO / "samples/bugs").glob("*.json"))]
    for bug in samples:
        write_bug(tmp_path, **bug)
    make(tmp_path, "--formats", "swebench")
    assert len(rows(tmp_path)) == len(samples) == 6
