"""Test that the candidates of scale get verdicts, in a warm sandbox and with --full."""
import json

import pytest
from conftest import eventually, kill, run_script, start_script
from root import read_json
from screened_wren import wren as wren  # a fixture
from screened_wren import wren_config, wren_coverage, wren_diff, wren_environment
from setups import CA_FLAGS

STEP = ["scale", "--steps", "validate", "--workers", 1,
        *CA_FLAGS]
DOUBLED = "    return 2 * n"
GOOD = wren_diff(DOUBLED, "    return 2 * n + 1")
UNNOTICED = wren_diff("    return 1", "    return 3")
UNDEFINED = wren_diff(DOUBLED, "    return two * n")


def write_candidates(root, name: str, *candidates: dict | str, **fields) -> None:
    made = [{"diff": one, "operator": "by-rule"} if isinstance(one, str) else one
            for one in candidates]
    root.with_candidates(name, *made, **{"base_commit": "", "method": "procedural", **fields})


def verdicts(root, name: str = "wren.1") -> list[dict]:
    return read_json(root / f"bug/_verdicts/{name}.json")["verdicts"]


def words(root, name: str = "wren.1") -> list[str]:
    return [one["evidence"]["verdict"] for one in verdicts(root, name)]


@pytest.fixture
def root(wren, tmp_path):
    environment = wren_environment()
    tmp_path.with_env(vars(environment)).put("wren", wren_coverage(), wren_config(environment))
    (tmp_path / "chain.toml").touch()
    return tmp_path


def validate(root, *flags):
    return run_script("bug_inject.py", root, *STEP, *flags, timeout_s=300)


@pytest.mark.docker
def test_candidates_get_verdicts_and_full_makes_them_again(root):
    by_hand = {"diff": UNDEFINED, "symbol": "", "summary": ""}
    write_candidates(root, "wren.1", GOOD, UNNOTICED, by_hand, "no diff at all")
    done = validate(root)
    assert done.returncode == 0 and words(root) == ["good", "survives", "same_error", "refused"]
    good, survives, undefined, refused = verdicts(root)
    assert [one["evidence"]["how"] for one in verdicts(root)] == [*["swap"] * 3, "full"]
    assert good["good"]
    assert good["instance_id"].startswith("wren.by-rule.")
    assert undefined["instance_id"].startswith("wren.by-hand.")
    assert survives["reason"] == "no test that passed before fails"
    assert refused["reason"].startswith("the patch does not apply: ")
    assert "done 1" in validate(root).stderr
    assert validate(root, "--full").returncode == 0   # without --force: it is another setting
    assert words(root) == ["good", "survives", "good", "refused"]
    assert {one["evidence"]["how"] for one in verdicts(root)} == {"full"}


@pytest.mark.docker
def test_a_batch_that_is_cut_short_keeps_its_verdicts_and_judges_none_again(root):
    quick, endless = "    return 2 * n + {}", "    while True: n = {}"   # seconds, each
    diffs = [wren_diff(DOUBLED, line.format(k)) for k, line in enumerate(
        [quick] * 9 + [endless] * 2 + [quick] * 9, 1)]
    write_candidates(root, "wren.1", *diffs)
    partial = root / "bug/_verdicts/_partial/wren.1.jsonl"
    process = start_script("bug_inject.py", root, *STEP)
    eventually(lambda: partial.exists() and partial.read_text().count("\n") > 5, timeout_s=100)
    kill(process)
    kept = [json.loads(line)["result"] for line in partial.read_text().splitlines()]
    assert 5 < len(kept) < len(diffs)   # in the middle of the only batch
    write_candidates(root, "wren.1", UNNOTICED, *diffs[1:])
    done = validate(root)
    assert done.returncode == 0
    assert f"{len(kept) - 1} verdicts kept from an earlier run" in done.stderr
    assert words(root) == [
        "survives", *["good"] * 8, *["timeout"] * 2, *["good"] * 9] and not partial.exists()
    assert [one["evidence"]["seconds"] for one in verdicts(root)[1:len(kept)]] == [
        round(one["seconds"], 3) for one in kept[1:]]
