"""Test that a turn whose blind answers agree costs no challenger, and how samples are kept."""
import json

from conftest import edit, ledger_lines
from fake_judges import run_main
from fake_llm import Status
from root import read_json, turn_of

import ch
import king

AGREE = "[king]\ntemperature = 0.0\n[challenger]\nhow = \"chosen\"\n"
LOOKS = ("cat src/a.py", "sed -n '1,80p' src/a.py", "head -200 src/a.py")   # the same step


def played(tmp_path, fake_llm, *commands, more: str = AGREE, n: int = 1, code: int = 0) -> None:
    """Write prompts, and let the king answer with these commands, or faults."""
    tmp_path.with_model(fake_llm, more, workers=1).with_prompts(n).with_commits(n)
    fake_llm.script(*[turn_of(command, "I look.") if isinstance(command, str) else command
                      for command in commands])
    run_main(king.main, tmp_path, code=code)


def picks(rival: str):
    """Return a reply that picks this command's answer of two, the other one being LOOKS[0]'s."""
    def reply(request) -> str:
        is_first = request.last.index(rival) < request.last.index(LOOKS[0])
        return json.dumps({"why": "it builds", "choice": 1 if is_first else 2})
    return reply


def test_a_turn_whose_blind_answers_agree_leaves_the_duel_by_name(tmp_path, fake_llm):
    played(tmp_path, fake_llm, *LOOKS, *LOOKS[:2], "cat src/b.py", n=2)
    asked = fake_llm.requests
    assert len({request.text for request in asked[:3]}) == 1   # one prefix
    assert [request.body["temperature"] for request in asked[:2]] == [0.0, 1.0]
    assert [*read_json(tmp_path / "answer/_samples/prompts_2_1_1.json")["samples"]] == [
        turn_of(command, "I look.") for command in LOOKS[1:]]
    fake_llm.requests.clear()
    fake_llm.always(picks("cat src/b.py"))
    for _ in range(2):   # the second time nothing is asked
        printed = run_main(ch.main, tmp_path)
    assert len(fake_llm.requests) == 2
    assert "agreed: 3 blind answers take the same step" in printed
    assert read_json(tmp_path / "answer/prompts_2_1_1.json")["challenger"] is None
    assert read_json(tmp_path / "answer/prompts_2_1_2.json")["challenger"]
    line, = ledger_lines(tmp_path / "answer", stage="ch", state="excluded")
    assert line["item"] == "prompts_2_1_1" and not line.get("calls")


def test_a_killed_king_pays_for_no_sample_twice_and_without_agreement_there_is_one_answer(
        tmp_path, fake_llm):
    played(tmp_path, fake_llm, *LOOKS[:2], Status(400), code=1)
    assert not (tmp_path / "answer/prompts_1_1_1.json").exists()
    n_asked = fake_llm.n_requests
    played(tmp_path, fake_llm, LOOKS[2])
    assert fake_llm.n_requests == n_asked + 1 and (tmp_path / "answer/prompts_1_1_1.json").exists()
    other = tmp_path / "other"
    other.mkdir()
    played(other, fake_llm, LOOKS[0], more="")
    assert not (other / "answer/_samples").exists()


def choices(*texts: str) -> dict:
    """Return a completion with several choices."""
    return {"choices": [{"message": {"content": text}, "finish_reason": "stop"} for text in texts],
            "usage": {"prompt_tokens": 100, "completion_tokens": 60}}


def test_blind_answers_come_from_one_call_paid_once_and_those_that_lack_are_asked_for_singly(
        tmp_path, fake_llm):
    one, two, three = (turn_of(command, "I look.") for command in LOOKS)
    more = "[king]\nsamples = 3\n[prices]\nm = { in = 1.0, out = 1.0 }\n"
    fake_llm.script(choices(one, two, three), choices(one, "no block"), two, three, Status(400),
                    one, two, three)
    played(tmp_path, fake_llm, more=more, n=4)
    ns = [request.body.get("n") for request in fake_llm.requests]
    assert ns == [3, 3, None, None, 3, None, None, None, None, None, None]   # refused once a run
    assert fake_llm.requests[1].last == fake_llm.requests[3].last != fake_llm.requests[2].last
    for i in (1, 2, 3):
        assert read_json(tmp_path / f"answer/prompts_4_1_{i}.json")["king"] == one
        kept = read_json(tmp_path / f"answer/_samples/prompts_4_1_{i}.json")
        assert kept["samples"] == [two, three]
    paid = [[call["cost_usd"] for call in line["calls"]]
            for line in ledger_lines(tmp_path / "answer", stage="king")]
    assert paid[0] == [160 / 1e6, 0, 0]


def test_a_sample_that_takes_the_kings_step_is_no_rival_and_the_record_says_what_was_picked_and_why(
        tmp_path, fake_llm):
    played(tmp_path, fake_llm, LOOKS[0], LOOKS[1], "make", more='[challenger]\nhow = "chosen"\n')
    fake_llm.requests.clear()
    fake_llm.always(picks("make"))
    assert "chooses by reading only" in run_main(ch.main, tmp_path)
    first, second = (request.last for request in fake_llm.requests)
    assert first.index(LOOKS[0]) < first.index("make") and (
        second.index("make") < second.index(LOOKS[0])) and LOOKS[1] not in first + second
    record = read_json(tmp_path / "answer/prompts_1_1_1.json")
    assert record["challenger"] == turn_of("make", "I look.") and record["choice"] == {
        "sample": 2, "of": 2, "picks": [{"number": 2, "why": "it builds"},
                                        {"number": 1, "why": "it builds"}]}
    edit(tmp_path / "answer/_samples/prompts_1_1_1.json", samples=["x", "y"])
    assert "stale 1" in run_main(ch.main, tmp_path, "--status")
    edit(tmp_path / "answer/prompts_1_1_1.json", note="a person's")
    fake_llm.script(turn_of("ls informed", "I know."))
    tmp_path.with_model(fake_llm)
    run_main(ch.main, tmp_path, "--force")
    record = read_json(tmp_path / "answer/prompts_1_1_1.json")
    assert "choice" not in record and record["note"] == "a person's"


def test_samples_that_a_person_has_broken_are_named(tmp_path, fake_llm):
    played(tmp_path, fake_llm, *LOOKS)
    edit(tmp_path / "answer/_samples/prompts_1_1_1.json", lambda record: record.update(samples=[1]))
    assert "`samples`[0] is" in run_main(ch.main, tmp_path, code=1)
