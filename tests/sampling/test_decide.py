"""Check that prompt.py draws turns at which something is to be decided, pays once for each, and
shows nobody what it was told."""
import json
import re

import pytest
from conftest import flags_for, kill, ledger_lines, run_script, start_script
from fake_llm import HANG, Status
from judged import read_json
from source_rows import a_pr, a_row, sample, write_sources

from codedata.sampling.draw import trajectory_name

N_ROWS = 6


def place_of(request) -> tuple[int, int]:
    """Return (row, turn) that a request is about: each turn before has its observation."""
    row = int(re.search(r"task (\d+)", request.text)[1])
    return row, len(re.findall(r"Observation: \d+ \d+", request.text))


def said(state: str, quote: str = "") -> str:
    return json.dumps({"quote": quote, "why": "MARK of the patch", "state": state})


def by_row(request) -> str:
    """Return that all is routine but the second turn of the even rows, of which more is known."""
    row, turn = place_of(request)
    if row % 2 == 0 and turn == 1:
        return said("stuck", f"Observation:  {row} 0")
    return said("nothing_to_tell")


@pytest.fixture
def root(tmp_path, fake_llm):
    """Return a root beside the sources, with the fake as the model of [decide]."""
    rows = [a_row(i) for i in range(N_ROWS)]
    write_sources(tmp_path, rows, [a_pr(i, pr_description=f"HIDDEN {i}") for i in range(N_ROWS)],
                  'decide = true\n[prices]\nm = { in = 1.0, out = 2.0 }\n')
    fake_llm.always(by_row)
    return tmp_path / "a"


def draw(root, fake, *flags, **options) -> str:
    return sample(root, "--count 2", *flags_for(fake, "--model m --workers 2", *flags), **options)


def drawn(root) -> list[dict]:
    return [entry for path in sorted((root / "prompt").glob("*.json")) for entry in read_json(path)]


def test_other_turns_are_drawn_until_there_are_enough_at_which_something_is_decided(root, fake_llm):
    printed = draw(root, fake_llm)
    assert [(one["turn"], int(one["instance_id"][-1]) % 2) for one in drawn(root)] == [(1, 0)] * 2
    n = fake_llm.n_requests
    assert f"left out: {n - 2} (nothing is to be decided there)" in printed
    assert f"decided: {n - 2} nothing_to_tell, 2 stuck" in printed or "decided: 2 stuck" in printed
    request = fake_llm.requests[0]
    assert request.body["temperature"] == 0 and "HIDDEN" in request.text
    assert request.body["response_format"]["json_schema"]["strict"] is True


def test_what_it_was_told_is_in_no_prompt_and_in_no_request_of_the_king(root, fake_llm):
    draw(root, fake_llm)
    texts = [path.read_text() for path in (root / "prompt").glob("*.json")]
    fake_llm.requests.clear()
    fake_llm.always("I look.\n\n```bash\nls\n```")
    assert run_script("king.py", root, *flags_for(fake_llm)).returncode == 0
    texts += [request.raw.decode() for request in fake_llm.requests]
    assert len(fake_llm.requests) == 2
    assert not [text for text in texts if re.search("MARK|HIDDEN|stuck|nothing_to_tell", text)]


def test_a_killed_run_asks_about_no_turn_twice_and_pays_for_each_once(root, fake_llm):
    whole = root.with_name("whole")
    draw(whole, fake_llm)
    asked = {place_of(request) for request in fake_llm.requests}
    fake_llm.requests.clear()
    fake_llm.script(by_row, by_row, HANG)
    process = start_script("prompt.py", root, "--config", root.parent / "chain.toml", "--count", 2,
                           *flags_for(fake_llm, "--model", "m", "--workers", 1), cwd=root.parent)
    fake_llm.wait_for(3)
    kill(process)
    draw(root, fake_llm, "--budget", 1)
    places = [place_of(request) for request in fake_llm.requests]
    assert places[2] in places[3:] and len(set(places)) == len(places) - 1
    assert set(places) == asked and drawn(root) == drawn(whole)
    calls = [call["cost_usd"] for line in ledger_lines(root / "prompt/_decided")
             for call in line["calls"]]
    assert calls == [pytest.approx(100 / 1e6 + 2 * 20 / 1e6)] * len(asked)
    fake_llm.requests.clear()
    draw(root, fake_llm, "--force")
    assert fake_llm.requests == [] and drawn(root) == drawn(whole)


def test_a_quote_that_was_not_said_is_asked_for_again_and_then_left_out_by_name(root, fake_llm):
    wrong = said("decision_open", "nobody has said that")
    fake_llm.script(wrong, lambda r: said("decision_open", f"task {place_of(r)[0]}"[:4]))
    printed = draw(root, fake_llm, "--workers", 1)
    first, second = fake_llm.requests[:2]
    assert place_of(first) == place_of(second)
    assert "does not say 'nobody has said that'" in second.last and "refused" not in first.last
    assert "is left out: its `quote` is too short" in printed
    assert "1 (the model of [decide] gave no state that can be read)" in printed
    assert place_of(first) not in [*map(place_of, fake_llm.requests[2:])]


@pytest.mark.parametrize("reply", [Status(500), Status(400, "too long")])
def test_an_endpoint_that_does_not_answer_ends_the_run_and_leaves_no_turn_out(
        root, fake_llm, reply):
    fake_llm.always(reply)
    draw(root, fake_llm, code=1)
    assert drawn(root) == [] and not list((root / "prompt/_decided").glob("*.json"))
    fake_llm.always(by_row)
    draw(root, fake_llm)
    assert len(drawn(root)) == 2


def test_a_person_may_correct_a_state(root, fake_llm):
    draw(root, fake_llm)
    names = {(one["instance_id"], one["turn"]) for one in drawn(root)}
    for path in (root / "prompt/_decided").glob("*.json"):
        record = read_json(path)
        if record["state"] == "stuck":   # of two turns one has to go
            path.write_text(json.dumps({**record, "state": "nothing_to_tell"}))
    draw(root, fake_llm, "--force", "--count", 1)
    assert not names & {(one["instance_id"], one["turn"]) for one in drawn(root)}
    next((root / "prompt/_decided").glob("*.json")).write_text("{}")
    assert "has no `state`" in draw(root, fake_llm, "--force", code=2)


def test_of_turns_at_which_the_pull_requests_tests_pass_only_the_first_may_be_drawn(tmp_path):
    rows = [a_row(i, n_turns=4) for i in range(2)]
    write_sources(tmp_path, rows)
    states = tmp_path / "a/executed/_states"
    states.mkdir(parents=True)
    passes, fails = {"passed": ["t"], "failed": []}, {"passed": [], "failed": ["t"]}
    path = states / f"{trajectory_name(rows[1])}.json"
    path.write_text(json.dumps({"turns": {"0": fails, "1": passes, "2": passes, "3": passes}}))
    printed = sample(tmp_path / "a", "--count 9 --turns all")
    assert "left out: 2 (solved: the pull request's tests pass already)" in printed
    turns = sorted((one["instance_id"][-1], one["turn"]) for one in drawn(tmp_path / "a"))
    assert turns == [*(("0", turn) for turn in range(4)), ("1", 0), ("1", 1)]
    path.write_text('{"turns": {"0": true}}')
    assert "has no `turns`" in sample(tmp_path / "a", "--count 9 --force", code=2)
