"""Test a root of version 0.2.0 with settings and flags that are gone: each is refused with what to
use instead. Its records are read and left alone."""
import pytest
from conftest import run_script
from line_tables import rows
from root import write_json
from scaled import a_candidate, write_judged

from codedata.disk.store import Store
from codedata.nl2repo.facts import facts_about
from codedata.records import Answer, BugReport, RepoFacts, variant


# a script with its flags | a setting | what is said
@pytest.mark.parametrize("command, setting, todo", rows("""
bug_inject scale | [bug] prefer = 'hard'             | Take it out: the caps of [bug]
bug_inject scale | [bug] max_model_candidates = 9    | Take it out: scale asks no
ch               | [challenger] leak_retries = 3     | Take it out: a turn with a leak
ch               | [duel] agreement = true           | Take it out: [challenger] how
ch               | [challenger] how = 'placebo'      | Take it out: informed is the default
ch               | [king] headers = { X = 'a' }      | Set them in the endpoint's table
ch               | [judge] models = [{ model = 'a', headers = {} }] | Set them in the endpoint
ch --how placebo                    | | docs/duel.md has what
bug_inject scale --strategy history | | Real changes become tasks with
bug_inject scale --strategy rewrite | | A model makes bugs with bug_inject
pr_tasks --check                    | | Use --steps records,candidates
run_turns --kubeconfig x            | | Set KUBECONFIG, which kubectl reads
"""))
def test_what_is_gone_is_refused_with_what_to_use_instead(
        tmp_path, command, setting, todo):
    (tmp_path / "chain.toml").write_text(setting.replace("] ", "]\n", 1))
    script, *flags = command.split()
    done = run_script(f"{script}.py", tmp_path, *flags, "--status")
    assert done.returncode == 2
    assert f"Version 0.2.0 was the last one with it. {todo}" in " ".join(done.stderr.split())


def test_candidates_of_strategies_that_are_gone_are_read_and_no_orphans(tmp_path):
    for strategy in ("history", "rewrite"):
        write_judged(tmp_path, f"heron.{strategy}-1", [a_candidate("1", strategy)], method=strategy)
    assert run_script("bug_inject.py", tmp_path, "scale", "--prune").returncode == 0
    assert len([*(tmp_path / "bug/_candidates").glob("*.json")]) == 2
    done = run_script("bug_inject.py", tmp_path, "scale", "--status")
    assert done.returncode == 0
    assert "bug/_candidates/ 2 → bug/_verdicts/ waiting 2" in " ".join(done.stderr.split())


def test_challengers_of_a_way_that_is_gone_are_left_alone(tmp_path):
    path = tmp_path / "variants/placebo/prompts_1_1_1.json"
    write_json(path, {"instance_id": "a", "messages": [], "assistant": "b", "king": "c",
                      "challenger": "d"})
    before = path.read_bytes()
    assert run_script("ch.py", tmp_path, "--prune").returncode == 0
    assert path.read_bytes() == before
    assert Store(tmp_path, variant(Answer, "placebo")).read(path.stem).challenger == "d"


def test_facts_that_were_held_out_and_reports_by_recorded_calls_are_read(tmp_path):
    fact = {"functions": ["m.py::f"], "ran": {}, "code": ["f(1)"], "told": "1", "kind": "value",
            "held_out": True}
    write_json(tmp_path / "nl2repo/_facts/m.json", {
        "repo": "a/m", "repo_name": "m", "base_commit": "", "facts": [fact], "measured": {},
        "seconds": 1.0})
    facts = Store(tmp_path, RepoFacts).read("m").facts
    assert facts_about("m.py::f", facts) == [fact]
    made = {"writer": "template", "language": "javascript", "script": "f(1)"}
    write_json(tmp_path / "bug/m.flip.0123abcd.json", {
        "instance_id": "m.flip.0123abcd", "repo": "a/m", "problem_statement": "Wrong.",
        "reproduction": made})
    assert Store(tmp_path, BugReport).read("m.flip.0123abcd").reproduction == made
