"""Test candidates that a person or a data set gives: how they are read, and that they cannot loosen
their own proof."""
import json
from dataclasses import replace

import pytest
from a_task import read_task
from conftest import run_here, run_script
from heron_environment import an_environment
from proof_heron import BUG, candidate, write_root
from proof_heron import heron as heron  # a fixture
from proven import bugs_in
from root import read_json, write_files
from setups import CA_FLAGS

import prove
from codedata.code.patches import diff_of, normalised
from codedata.disk.store import Store
from codedata.errors import Excluded
from codedata.records import BUG as BUG_KIND
from codedata.records import SOLVES, STRIPPED_PATCH, Candidate
from codedata.sandbox.docker import engine
from codedata.tasks.prove.rules import OF_KIND, rules_of

NAME, MINE = "birds__heron__00000000", "heron.mine.1"
CONFIG = """repo = "birds/heron"
environment = "heron"
base_commit = ""
direction = "breaks"
method = "mine"
"""


def write_by_hand(root, name: str = MINE, config: str = CONFIG, **files: str) -> None:
    write_files(root / "candidate" / name, {
        "candidate.toml": config, "change.patch": BUG,
        **{f"{stem}.md": text for stem, text in files.items()}})


@pytest.mark.parametrize("looser", [
    {"max_broken_share": 0.6}, {"needs_cases": False}, {"ungraded": ["t"]},
    {"counts_missing": True}, {"may_be_shown": True}])
def test_a_candidate_makes_the_rules_of_its_proof_stricter_and_never_looser(looser):
    name, = looser
    with pytest.raises(Excluded, match=f"its rule {name} is looser"):
        rules_of(candidate(BUG, rules=looser))
    stricter = {"max_broken_share": 0.1, "counts": ["heron.py"], "reduce_gold": True}
    assert rules_of(candidate(BUG, rules=stricter)) == replace(OF_KIND[BUG_KIND], **stricter)
    if name in ("ungraded", "counts_missing"):   # bodies that are gone skip tests
        rules = rules_of(candidate(BUG, kind=STRIPPED_PATCH, rules=looser))
        assert getattr(rules, name) == looser[name]


@pytest.mark.parametrize(("config", "fault"), [
    (CONFIG.replace("method", "way"), "`config`.method is missing"),
    (CONFIG.replace("breaks", "mends"), "Candidate: `direction` is not one of breaks, solves.\n"),
    (f'kind = "datapoint"\n{CONFIG}', "`kind` is not one of bug, stripped_patch, pull_request"),
    (f'kind = "pull_request"\n{CONFIG}', "`kind` pull_request does not go with that `direction`"),
    (CONFIG.replace("breaks", "solves"), "a solution needs a tests.patch"),
    (f"{CONFIG}[labels]\ntags = 3\n", "`config`.labels.tags is a number, not a list"),
    (f"{CONFIG}[rules]\nneeds_case = true\n", "[rules] has an unknown key: needs_case"),
    (f"{CONFIG}rules = 3\n", "`rules` is a number, not an object")])
def test_a_faulty_candidate_is_named_and_others_are_read(tmp_path, capsys, config, fault):
    tmp_path.with_env(an_environment(base_commit=""))
    write_by_hand(tmp_path)
    write_by_hand(tmp_path, "heron.mine.2", config)
    run_here(prove.main, tmp_path, "--status")
    printed = capsys.readouterr().err
    assert fault in printed and "missing 1, broken 1" in printed


def test_rows_of_other_data_sets_become_candidates(tmp_path, capsys):
    """The patch of a row of SWE-smith makes the bug; other rows have the solution and its tests.
    Each row gets the environment of its commit, not the newest of the repository. An image of
    SWE-smith has a copy of the repository, with a commit of its own."""
    copied = "birds__heron__11111111"
    tmp_path.with_env(*(
        an_environment(name, repo="birds/heron", base_commit=commit * 40,
                       verified={"healthy": True, "committed_at": 1 + int(commit)})
        for name, commit in ((NAME, "0"), (copied, "2"))))
    tests, gold = (diff_of({path: b"1\n"}, {path: b"2\n"}) for path in ("tests/test_a.py", "a.py"))
    smith = {"instance_id": "birds__heron.11111111.lm_rewrite__1", "patch": BUG,
             "repo": "swesmith/birds__heron.11111111", "image_name": "swebench/x",
             "problem_statement": "Herons say too much."}
    bench = {"instance_id": "birds__heron-7", "repo": "birds/heron", "base_commit": "0" * 40,
             "patch": gold, "test_patch": tests, "problem_statement": "Fly home."}
    others = {**bench, "instance_id": "birds__heron-8", "base_commit": f"{'0' * 8}{'1' * 32}"}
    rows = tmp_path / "rows.jsonl"
    homeless = {**bench, "instance_id": "birds__heron-9", "base_commit": "3" * 40}
    rows.write_text("\n".join(map(json.dumps, (smith, bench, others, homeless))))
    write_by_hand(tmp_path)
    run_here(prove.main, tmp_path, "--rows", rows, "--steps", "rows")
    printed = capsys.readouterr().err
    assert "is of another base commit than env/" in printed and "orphan: " not in printed
    assert "no env/ yet: " in printed and "--input ROWS.jsonl" in printed
    store = Store(tmp_path, Candidate).open()
    found = [store.read(name) for name in store.names() if name != MINE]
    assert [(one.kind, normalised(one.change), one.tests or "", one.instruction, one.base_commit,
             one.instance_id) for one in found] == [
        ("pull_request", normalised(gold), tests, "Fly home.\n", "0" * 40, NAME),
        ("bug", normalised(BUG), "", "Herons say too much.\n", "2" * 40, copied)]
    assert found[0].config["direction"] == SOLVES


@pytest.mark.docker
def test_a_folder_by_hand_becomes_a_task_and_a_refusal_stays_next_to_it(heron, tmp_path):
    write_root(tmp_path)
    write_by_hand(tmp_path, instruction="Herons say too much.\n")
    write_by_hand(tmp_path, "heron.mine.2", f"{CONFIG}[rules]\nneeds_cases = false\n")
    done = run_script("prove.py", tmp_path, *CA_FLAGS, timeout_s=300)
    try:
        assert done.returncode == 0, done.stderr
        assert bugs_in(tmp_path) == [MINE]
        task = read_task(tmp_path, MINE)
        assert task.instruction == "Herons say too much.\n"
        assert task.about.items() >= {"method": "mine", "repo": "birds/heron"}.items()
        assert read_json(tmp_path / f"task/{MINE}/proof.json")["rules"]["needs_cases"]
        refused, = (tmp_path / "candidate").glob("*.refused.txt")
        assert (refused.name, "looser" in refused.read_text()) == (
            "heron.mine.2.refused.txt", True)
        again = run_script("prove.py", tmp_path, *CA_FLAGS)
        assert again.stderr.count("nothing to do") == 2
    finally:
        engine.connect().remove_image(f"codedata-bug/{MINE}", force=True)
