"""Check the step preprocess of bug_inject.py as a user runs it: rows in, rows and reports out."""
import shutil

import pytest
from conftest import run_script
from heron_environment import CASES, PROJECT, an_environment
from line_tables import rows as table
from root import filled, json_lines, write_json
from setups import CA_FLAGS
from source_rows import write_jsonl

from codedata.bugs.preprocess import Analyses
from codedata.errors import BrokenRecord
from codedata.records import Analysis

AGENT = ("agent", *CA_FLAGS, "--steps", "preprocess")


def bug_inject(root, *flags):
    cwd = root if root.exists() else root.parent
    return run_script("bug_inject.py", root, *flags, cwd=cwd, timeout_s=300)


def a_row(name: str, **more) -> dict:
    cases = [{"name": case["name"], "status": "PASSED"} for case in CASES]
    return {"repo": f"birds/{name}", "image_name": PROJECT.image, "test_case_result": cases, **more}


@pytest.mark.docker
def test_rows_come_out_as_they_went_in_with_the_paths_of_what_is_known(heron_image, tmp_path):
    given = [a_row("egret", note="mine"), a_row("ibis", image_name="codedata-tests/no-such:1")]
    write_jsonl(tmp_path / "input.jsonl", given)
    flags = (*AGENT, "--input", tmp_path / "input.jsonl", "--output", tmp_path / "out/rows.jsonl")
    done = bug_inject(tmp_path / "run", *flags)
    assert "codedata-tests/no-such:1" in done.stderr and "2 rows, 1 with an analysis" in done.stderr
    egret = {"analysis": "../run/analysis/birds__egret.json",
             "tests": "../run/coverage/birds__egret.json"}
    rows = [given[0] | egret, given[1]]
    assert json_lines(tmp_path / "out/rows.jsonl") == rows
    (tmp_path / "out/rows.jsonl").unlink()
    assert "nothing to do" in bug_inject(tmp_path / "run", *flags, "--only", "*egret").stderr
    assert json_lines(tmp_path / "out/rows.jsonl") == rows
    (tmp_path / "run/analysis/birds__egret.json").write_text("{")
    bug_inject(tmp_path / "run", *flags, "--only", "*egret")
    del rows[0]["analysis"]
    assert json_lines(tmp_path / "out/rows.jsonl") == rows


@pytest.mark.docker
def test_rows_of_env_are_such_that_they_can_be_an_input(heron_image, tmp_path):
    tmp_path.with_env(an_environment("egret", row={"reformat_path": "egret"}))
    done = bug_inject(tmp_path, *AGENT, "--output", tmp_path / "a/rows.jsonl")
    assert done.returncode == 0 and "--steps bug_issue" in done.stderr.partition("next:")[2]
    [row] = json_lines(tmp_path / "a/rows.jsonl")
    assert row["reformat_path"] == "egret" and row["analysis"] == "../analysis/egret.json"


def an_analysis(name: str, **more) -> dict:
    return filled(Analysis, repo=name, repo_name=name, source="static",
                  measured={"tests": 0, "counted": 0, "runs": 0}, **more)


def test_the_analysis_of_the_root_goes_before_that_of_the_row(tmp_path):
    write_json(tmp_path / "kept/a.json", an_analysis("birds__egret", reason="row"))
    rows = tmp_path / "rows.jsonl"
    write_jsonl(rows, [
        a_row("egret", analysis="kept/a.json"), a_row("ibis", analysis="kept/a.json"),
        a_row("stork", analysis=""), a_row("wren", analysis=3)])
    analyses = Analyses(tmp_path / "run", rows).open()
    assert analyses.names() == ["birds__egret", "birds__ibis"] and not analyses.broken
    assert analyses.read("birds__egret").reason == "row"
    with pytest.raises(BrokenRecord, match="is the analysis of 'birds__egret'"):
        analyses.read("birds__ibis")
    write_json(tmp_path / f"run/{Analysis.directory}/birds__egret.json",
               an_analysis("birds__egret", reason="root"))
    assert Analyses(tmp_path / "run", rows).open().read("birds__egret").reason == "root"
    shutil.rmtree(tmp_path / "kept")
    with pytest.raises(BrokenRecord, match="is gone"):
        analyses.read("birds__ibis")


@pytest.mark.parametrize("flags, message", table("""
                                                    | arguments are required: agent
heron                                               | choose from
scale --per-repo 3                                  | does not go with scale
scale --steps inject                                | does not go with scale
scale --output x                                    | does not go with scale
agent --full                                        | does not go with agent
scale --strategy promise                            | --strategy does not go with scale
agent --steps generate                              | does not go with agent
agent --steps prepare                               | prepare is not one of coverage, analysis,
agent --input rows.jsonl --output rows.jsonl        | is the --input, too
agent --input rows.jsonl --output rows.jsonl/b/c    | a file where a directory should be
agent --input rows.jsonl --output .                 | is a directory
"""))
def test_wrong_flags_are_named_before_anything_is_done(tmp_path, flags, message):
    write_jsonl(tmp_path / "rows.jsonl", [a_row("egret")])
    done = bug_inject(tmp_path, *flags.split())
    assert (done.returncode, message in done.stderr) == (2, True), done.stderr
    assert not (tmp_path / "coverage").exists()
