"""Check stages that read several stores: an edit in any of them makes what was made with it stale,
and records of different commits are never put together."""
import json

import pytest
from conftest import REPO, edit, run_here
from heron_environment import an_environment
from line_tables import rows
from root import read_json, write_json

from codedata.bugs.preprocess import Analyses
from codedata.disk.store import Store
from codedata.errors import Excluded
from codedata.records import Analysis, BugConfig, Coverage
from codedata.run import cli, start
from codedata.run.stage import Reads, Stage, Writes
from codedata.suites.environments import Environments


@pytest.fixture
def root(tmp_path):
    """Write spanset's environment, analysis and coverage."""
    for part in ("analysis", "coverage"):
        write_json(tmp_path / part / "spanset.json",
                   read_json(REPO / f"samples/{part}/spanset.json"))
    commit = read_json(tmp_path / "coverage/spanset.json")["base_commit"]
    write_json(tmp_path / "env/spanset.json", an_environment("spanset", base_commit=commit))
    return tmp_path


@pytest.fixture
def run(root, capsys):
    """Return a function: run a stage with flags; it returns (what make() was given, what was
    printed). `by_rule` it leaves all out but tern."""
    def run(*flags, by_rule: str = "", **about) -> tuple[list, str]:
        given = []

        def make(environment, coverage=None, analysis=None):
            given.append((coverage, analysis))
            if by_rule and environment.repo_name != "tern":
                raise Excluded(by_rule)
            return BugConfig("", environment.repo_name, environment.base_commit, "", ["."], [],
                             "none", 1.0, len(given), 0)

        def main(argv) -> int:
            settings, options = cli.read(cli.parser("toy.py").parse_args(argv))
            stage = Stage(
                "toy", make=make, reads=Reads(Environments(root), ("test_script",)),
                also_reads=(
                    Reads(Store(root, Coverage), ("import_lines",), made_by="analyze.coverage",
                          same="base_commit"),
                    Reads(Store(root, Analysis), ("edges",), made_by="analyze.analysis",
                          same="base_commit", optional=True)),
                writes=Writes(Store(root, BugConfig), tuple(BugConfig.__dataclass_fields__)),
                **about)
            return start.run(lambda _: stage, settings, options)
        run_here(main, root, *flags)
        return given, capsys.readouterr().err
    return run


@pytest.mark.parametrize(("part", "field", "is_read"), rows("""
env      | test_script  | yes
env      | summary      |
coverage | reason       |
coverage | import_lines | yes
analysis | edges        | yes
analysis | reason       |
"""))
def test_an_edit_in_any_store_makes_stale_what_was_made_with_it(root, run, part, field, is_read):
    assert len(run()[0]) == 1 and run()[0] == []
    was = read_json(root / part / "spanset.json")[field]
    value = f"{was}!" if isinstance(was, str) else type(was)()
    edit(root / part / "spanset.json", **{field: value})
    assert ("stale 1" in run("--status")[1]) == bool(is_read)
    assert len(run()[0]) == bool(is_read)


def test_what_is_optional_may_be_missing_and_is_read_when_it_comes(root, run):
    aside = (root / "analysis").rename(root / "later")
    (coverage, analysis), = run()[0]
    assert isinstance(coverage, Coverage) and analysis is None
    aside.rename(root / "analysis")
    assert isinstance(run()[0][0][1], Analysis)
    edit(root / "analysis/spanset.json", base_commit="0" * 40)
    (_, analysis), = run()[0]   # that of another commit is as if it were not there
    assert analysis is None


def test_a_step_that_failed_stops_those_behind_it_also_where_its_record_is_optional(root, run):
    (root / "analysis/spanset.json").unlink()
    line = {"stage": "analyze.analysis", "item": "spanset", "state": "failed", "error": "too slow"}
    (root / "analysis/_ledger.jsonl").write_text(json.dumps(line) + "\n")
    given, printed = run()
    assert not given and "left out: 1 (analyze.analysis failed: too slow)" in printed


@pytest.mark.parametrize(("rule", "per_limit", "n"), rows("""
   | 1   | 1
   | 0.1 | 1
   | 2   | 2
   | 0   | 2
no | 1   | 2
"""))
def test_a_limit_counts_what_no_rule_leaves_out_and_a_stage_may_make_more_for_each(
        root, run, rule, per_limit, n):
    for part in ("env", "coverage"):
        record = read_json(root / f"{part}/spanset.json")
        write_json(root / f"{part}/tern.json", {**record, "repo_name": "tern"})
    given, printed = run("--limit", 1, "--workers", 1, by_rule=rule,
                         per_limit=float(per_limit))
    assert len(given) == int(n) and ("wrote 1, left out 1 by a rule" in printed) == bool(rule)
    assert ("1 more item to do" in printed) == (n == "1")


def test_records_of_different_commits_are_not_put_together_and_what_is_needed_is_waited_for(
        root, run):
    edit(root / "coverage/spanset.json", base_commit="0" * 40)
    given, printed = run()
    assert not given and "waiting 1" in printed
    assert "coverage/ is of another base commit than env/: analyze.py makes it again" in printed
    (root / "coverage/spanset.json").unlink()
    given, printed = run()
    assert not given and "no coverage/ yet: " in printed


def test_an_analysis_that_a_row_names_has_a_commit_too(root):
    row = {"repo": "birds/spanset", "repo_name": "spanset", "image_name": "i",
           "test_case_result": [], "analysis": "analysis/spanset.json"}
    write_json(root / "rows.jsonl", row)
    named = Analyses(root / "elsewhere", root / "rows.jsonl").open()
    there = Store(root, Analysis).open().facts("spanset").digests
    assert named.facts("spanset").digests == there
