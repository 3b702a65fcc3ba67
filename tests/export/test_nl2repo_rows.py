"""Check what is in the rows and tasks of stripped patches, and what is left out, without running
any."""
from __future__ import annotations

import json
from functools import partial

import pyarrow.parquet as parquet
import pytest
from conftest import edit, write_toml
from fake_judges import run_main
from judged import json_lines, read_json
from proven_strip import GOLD, STRIP, WORDS, a_strip, write_strip

import export
from codedata.records import StripPatch
from codedata.texts import tomllib

HERON = "heron.function.0123abcd"
FORMATS = ("harbor", "nl2repo")
make = partial(run_main, export.main)   # its result is what export.py prints


@pytest.fixture
def root(tmp_path):
    """Return a root with a patch that is proven and documented, and no validation split."""
    write_toml(tmp_path, more="[export]\nvalidation = 0.0\n")
    write_strip(tmp_path, HERON)
    return tmp_path


def rows(root) -> list[dict]:
    return json_lines(root / "export/nl2repo/train.jsonl")


def left_out(root) -> dict[str, str]:
    lines = map(json.loads, (root / "export/left_out.jsonl").read_text().splitlines())
    return {line["name"]: line["reason"] for line in lines if line["formats"] == [*FORMATS]}


def test_a_row_is_the_patch_as_it_was_proven_with_its_document(root):
    assert make(root).count("nl2repo/_patches/ 1 → export/   1 task") == 2
    [row], proof = rows(root), a_strip(HERON).proof
    assert row["document"] == ("# heron\n\nWhat herons do.\n\n## words\n\n"
                               "Return the lower-case words of a text.")
    assert row.items() >= {"patch": GOLD, "strip_patch": STRIP, "base_commit": "a" * 40,
                           "task_commit": "b" * 40, "licence": "MIT", "kind": "function",
                           "functions": [WORDS], "image_name": proof["image_name"],
                           "eval_script": proof["eval_script"], "tests_user": "nobody"}.items()
    [file] = (root / "export/nl2repo/data").iterdir()
    assert parquet.read_table(file).to_pylist() == rows(root)
    assert "1 task, a row each" in (root / "export/nl2repo/README.md").read_text()
    assert make(root).count("unchanged") == 2


def test_a_task_tells_the_document_and_no_test_and_takes_an_archive_alone(root):
    edit(root / f"{StripPatch.directory}/{HERON}.json",
         lambda patch: patch["proof"].update(
             verifier={"user": "root", "canary": "tests"}, runs=[{"seconds": 100.0}]))
    make(root)
    folder = root / "export/harbor" / HERON
    told = (folder / "instruction.md").read_text()
    assert "- `heron.py`: `words`\n" in told and told.endswith("## words\n\nReturn the lower-case "
                                                               "words of a text.\n")
    assert "test_" not in told
    config = tomllib.loads((folder / "task.toml").read_text())
    assert config["artifacts"] == ["/var/tmp/codedata-work.tar"]
    assert config["artifacts"][0] in config["verifier"]["collect"][0]["command"]
    assert config["metadata"].items() >= {"tests_user": "root", "kind": "function",
                                          "licence": "MIT", "base_commit": "a" * 40}.items()
    assert config["verifier"]["timeout_sec"] == 1000.0
    task = read_json(folder / "tests/config.json")
    assert task.items() >= {"user": "root", "canary": "tests", "timeout_s": 900,
                            "counts": ["heron.py"]}.items()
    assert (folder / "tests/tests.sh").read_text() == "pytest\n"


def test_what_is_not_as_proven_or_documented_is_left_out_by_name(root):
    names = ("crane", "egret", "ibis", "stork", "swan", "wren")
    for name in names:
        write_strip(root, f"{name}.function.0123abcd")
    at = "nl2repo/_patches/{}.function.0123abcd.json".format
    edit(root / at("crane"), lambda patch: patch.update(diff=patch["diff"] + "\n"))
    edit(root / at("egret"), lambda patch: patch["proof"].update(proven=False, reason="no"))
    edit(root / at("ibis"), proof=None)
    (root / "nl2repo/stork.json").unlink()
    edit(root / "nl2repo/swan.json", lambda record: record["sections"].pop())
    key = "ghp_" + "a8Kx93LmQz71TbVw4RpYs6NcJe2HdF05Gu1o"
    write_strip(root, "wren.function.0123abcd", test_patch=f"+TOKEN = '{key}'\n")
    make(root)
    assert left_out(root) == {f"{name}.function.0123abcd": reason for name, reason in zip(names, (
        "not as proven", "not proven", "not proven", "no document", "not documented",
        "secret in a file that runs"), strict=True)}
    assert [row["instance_id"] for row in rows(root)] == [HERON]
    details = (root / "export/left_out.jsonl").read_text()
    assert "python nl2repo.py --steps doc_part2,doc_part1,doc" in details and WORDS in details


def test_a_document_that_cannot_be_read_is_none_and_secrets_in_one_are_masked(root):
    write_strip(root, "crane.function.0123abcd")
    (root / "nl2repo/crane.json").write_text("{")
    edit(root / "nl2repo/heron.json", lambda record: record["sections"][0].update(
        text="Mail to eve.miller@wetlands.org."))
    assert "masked: e-mail address 2" in make(root)
    assert left_out(root) == {"crane.function.0123abcd": "no document"}
    assert rows(root)[0]["document"].startswith("Mail to [masked: e-mail address].")


def test_rules_of_all_exports_hold_for_patches(root):
    write_strip(root, "crane.function.0123abcd")
    edit(root / "nl2repo/_meta/crane.json", licence=None)
    write_toml(root, more='[export]\nlicences = ["MIT"]\nvalidation = 0.0\n')
    make(root)
    assert left_out(root) == {"crane.function.0123abcd": "licence"}
    write_toml(root, more=f'[export]\nvalidation = 0.0\n[exclude]\nids = ["{HERON}"]\n')
    make(root)
    assert left_out(root) == {HERON: "[exclude] ids"} and rows(root)[0]["licence"] is None
