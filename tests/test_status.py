"""Check status.py: the scripts' own counts in one table, costs, rates; and that it writes nothing.
"""
import json
import re
import uuid

import pytest
from conftest import edit, flags_for, mtimes, run_script
from fake_llm import Status
from projects import docker
from root import write_files, write_json

from codedata.disk.store import digest


def status_of(root, *flags) -> dict:
    done = run_script("status.py", root, "--json", *flags)
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


def stages(root, *flags) -> dict[str, dict]:
    """Return {stage: its status}; counts without zeros."""
    found = status_of(root, *flags)["stages"]
    return {one["stage"]: {**one, "counts": {state: n for state, n in one["counts"].items() if n}}
            for one in found}


@pytest.fixture
def root(answered_root, fake_llm):
    """Write a root in which something is in each state: of six kings one is edited, one failed."""
    answered_root.with_prompts(1, stem="more")
    fake_llm.script(Status(400))
    run_script("king.py", answered_root, *flags_for(fake_llm))
    edit(answered_root / "answer/prompts_5_1_2.json", king="mine")
    (answered_root / "commit/proj__repo-3.json").unlink()
    write_json(answered_root / "env/a.json", {"repo_name": "a"})
    write_json(answered_root / "executed/a.json", {})   # nobody has run run_turns.py here
    return answered_root


def test_every_script_s_own_counts_in_one_table(root):
    found = stages(root)
    assert [*found] == ["prompt", "king", "ch", "validate", "env_setup"]
    assert found["prompt"]["n_todo"] == 0   # 2,000 could be drawn
    assert found["king"]["counts"] == {"done": 4, "edited": 1, "failed": 1}
    assert found["ch"]["counts"] == {"done": 4, "excluded": 1}
    assert found["validate"]["counts"] == {"missing": 5} and found["validate"]["n_todo"] == 5
    assert found["env_setup"]["counts"] == {"broken": 1}
    for script, one in found.items():
        printed = run_script(f"{script}.py", root, "--status").stderr
        assert all(f"{state} {n}" in printed for state, n in one["counts"].items()
                   if script not in ("prompt", "env_setup"))
    assert re.search(r"\nking +answer/ +4 +· +1 +1 +· ", run_script("status.py", root).stdout)
    assert stages(root, "--only", "more*", "--only", "*_2")["king"]["counts"] == {
        "edited": 1, "failed": 1}


def test_costs_add_up_and_what_no_row_has_is_named(root):
    found = stages(root)
    for stage in ("king", "ch"):   # of which the fake says 100 tokens
        assert (found[stage]["n_calls"], found[stage]["tokens_in"]) == (5, 500)
    write_json(root / "bug/_ledger.jsonl", {
        "stage": "bug_inject.verify", "item": "x", "state": "done",
        "calls": [{"id": "1", "model": "m", "cost_usd": 2.5}]})
    assert stages(root)["others"]["cost_usd"] == 2.5
    assert re.search(r"^others .* \$2\.50 ", run_script("status.py", root).stdout, re.MULTILINE)


def test_the_rate_is_that_of_the_last_run(root):
    def line(at: str, seconds: float, state: str = "done") -> str:
        return json.dumps({"stage": "validate", "item": "x", "state": state, "seconds": seconds,
                           "at": f"2026-01-02T{at}.000000Z"})
    write_files(root, {"score/_ledger.jsonl": "\n".join([
        line("02:00:00", 60), line("03:00:00", 60), line("03:00:30", 60), line("03:01:00", 30),
        line("03:02:00", 10, "failed"), line("03:02:00", 0, "adopted"), line("later", 1)]) + "\n"})
    validate = stages(root)["validate"]
    assert validate["items_per_hour"] == pytest.approx(4 * 3600 / 180)   # from 02:59:00 on
    assert validate["hours_to_go"] == pytest.approx(5 / 80)


def test_it_writes_nothing_and_a_script_that_cannot_say_costs_no_other_one(root):
    write_files(root, {"score/_duel.json": "{"})
    before = mtimes([root, *root.rglob("*")])
    found = stages(root)
    assert mtimes([root, *root.rglob("*")]) == before
    (root / "final").mkdir()
    broken = stages(root)
    assert "_duel.json" in broken["export"]["note"] and broken["king"] == found["king"]
    (root / "score/_duel.json").unlink()   # refused, which is no word on the screen here
    assert stages(root)["export"]["counts"] == {}


def test_what_failed_or_is_left_out_with_its_tries_its_log_and_the_command_for_it(root, fake_llm):
    root.with_prompts(1, stem="other")
    (root / "score").mkdir()
    (root / "chain.toml").write_text('[exclude]\nids = ["proj__repo-4"]\n')
    for reply in [Status(400)] * 2, ["no block"] * 6:
        fake_llm.script(*reply)
        run_script("king.py", root, *flags_for(fake_llm))
    (root / "answer/prompts_5_1_1.json").write_text("{")
    king = [one for one in status_of(root, "--failed")["failed"] if one["stage"] == "king"]
    assert [one["state"] for one in king] == ["failed", "failed", "excluded", "broken"]
    assert king[0]["log"] == "answer/_partial/more_1.jsonl" and king[2]["again"] == ""
    assert re.match(r"king  failed 2: no bash block, 3 tries\n      more_1   tries 3, .*\n"
                    r"      other_1   tries 2, .*\n      again, .*: \S+ \S*king.py --root \S+\n"
                    r"king  excluded 1: \[exclude\] ids\n      prompts_5_1_4\n .*\n"
                    r"king  broken 1: \S+answer/….json is not readable",
                    run_script("status.py", root, "--failed").stdout)
    run_script("king.py", root, *king[0]["again"].split()[2:], *flags_for(fake_llm))
    assert "more_1" not in run_script("status.py", root, "--failed").stdout


@pytest.mark.docker
def test_containers_of_the_root_that_run_are_named(root):
    label = f"status-{uuid.uuid4().hex[:8]}"
    of_root = f"codedata.root={digest(str(root.resolve()))}"
    container = docker("run", "-d", "--rm", "--label", f"codedata.run={label}", "--label", of_root,
                       "codedata-base:bookworm", "sleep", "60")
    try:
        assert label in status_of(root)["containers"]
        (root / "other").with_prompts(1)
        assert label not in status_of(root / "other")["containers"]
    finally:
        docker("rm", "-f", container)
    assert label not in status_of(root)["containers"]
