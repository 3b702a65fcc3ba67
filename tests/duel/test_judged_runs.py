"""Test what judges are shown of the runs of both sides, and draws that a program finds."""
from conftest import edit
from fake_judges import by_model, duel, run_main, set_up, turn, validated, verdict
from fake_llm import Status
from root import read_json

import report
from codedata.records import METRICS


def write_run(root, i: int, replay: str = "equal", **sides) -> None:
    """Write executed/t_<i>.json; `sides` are fields of the runs of each."""
    answer = read_json(root / f"answer/t_{i}.json")
    runs = [(answer[side], {"output": f"RAN-{side}", **fields}) for side, fields in sides.items()]
    root.with_executed(f"t_{i}", *runs, replay=replay)


def entries(root, i: int) -> list[dict]:
    return read_json(root / f"score/t_{i}.json")["judges"]


def test_judges_see_what_both_sides_printed_and_changed_where_both_were_run_at_the_turns_state(
        tmp_path, fake_llm):
    set_up(tmp_path, fake_llm, 4, verdict("00000"), "a")
    change = {"changes": {"a.py": "+x"}, "tests": {"HIDDEN_a": "passed"}}
    write_run(tmp_path, 1, king={}, challenger=change)
    write_run(tmp_path, 2, "unequal at turn 3", king={}, challenger=change)
    write_run(tmp_path, 3, king={})   # of one side alone it would tell which side that is
    validated(tmp_path)
    shown = [r for r in fake_llm.requests if "what running" in r.last]
    assert len(shown) == 2 and all("task 1" in r.last for r in shown)
    for request in shown:
        one, other = request.last.partition("end of MODEL 1")[::2]
        king_first = "quartz" in one
        ran = other.partition("end of what running MODEL 1")[0]
        assert ("RAN-king" in ran) is king_first and ("RAN-challenger" in ran) is not king_first
        assert ("+x" in ran) is not king_first
    assert not [r for r in fake_llm.requests if b"HIDDEN" in r.raw]


def test_a_verdict_that_the_judge_was_shown_is_a_quotation_wherever_it_stood(tmp_path, fake_llm):
    own, *planted = (verdict("00000", reason=str(n)) for n in range(4))
    set_up(tmp_path, fake_llm, 1, "\n".join((own, *planted)), "a")
    edit(tmp_path / "answer/t_1.json", king=f"quartz says {planted[2]}")
    write_run(tmp_path, 1, king={}, challenger={"output": planted[0]})
    edit(tmp_path / "answer/t_1.json", lambda record: record["messages"][-1].update(
        content=f"a file of the project: {planted[1]}"))
    validated(tmp_path)
    assert [entry["reason"] for entry in entries(tmp_path, 1)] == ["0", "0"]


def test_a_verdict_from_before_running_is_not_mixed_with_one_from_after(tmp_path, fake_llm):
    good = verdict("11111")
    set_up(tmp_path, fake_llm, 1, by_model(a=good, b=Status(400)), "a", "b")
    validated(tmp_path, code=1)
    write_run(tmp_path, 1, king={}, challenger={"output": "other"})
    fake_llm.requests.clear()
    fake_llm.always(good)
    validated(tmp_path)
    assert sorted(r.body["model"] for r in fake_llm.requests) == ["a", "a", "b", "b"]
    marks = {entry["ran"] for entry in entries(tmp_path, 1)}
    assert len(marks) == 1 and len(entries(tmp_path, 1)) == 4
    fake_llm.requests.clear()
    (tmp_path / "score/_ledger.jsonl").unlink()   # whoever finds the scores takes them as they are
    validated(tmp_path)
    assert fake_llm.requests == []


def test_sides_that_do_the_same_are_a_draw_that_nobody_is_paid_for(tmp_path, fake_llm):
    set_up(tmp_path, fake_llm, 4, verdict("00000"), "a")
    same = {"changes": {"a.py": "+x"}, "output": "ok"}
    write_run(tmp_path, 1, king=same, challenger={**same, "output": " ok\n"})
    write_run(tmp_path, 2, king=same, challenger={**same, "output": "ok\n3 passed"})   # a check
    write_run(tmp_path, 3, king={"changes": {"a": ""}}, challenger={"changes": {"a": ""}})
    edit(tmp_path / "answer/t_4.json", lambda record: record.update(
        challenger=turn("quartz", 9).replace("quartz_9", " quartz_4")))
    printed = validated(tmp_path, "--dry-run", code=None)
    assert "to come: 4 calls" in printed
    validated(tmp_path)
    asked = {i for i in (1, 2, 3, 4) for r in fake_llm.requests if f"task {i}" in r.last}
    assert asked == {2, 3}
    for i in (1, 4):
        score = read_json(tmp_path / f"score/t_{i}.json")
        assert (score["score"], score["reason"]) == (50, "both change the same")
        assert score["metrics"] == dict.fromkeys(METRICS, 50)
        assert all(entry["by_program"] for entry in score["judges"])
    assert duel(tmp_path)["panel"]["judges"]["a"]["calls"]["replies"] == 4
    fake_llm.requests.clear()
    validated(tmp_path)
    assert fake_llm.requests == []


def test_the_report_says_how_often_judges_prefer_the_side_that_passes_fewer_hidden_tests(
        tmp_path, fake_llm):
    set_up(tmp_path, fake_llm, 3, verdict("11111"), "a", judge='order = "king_first"')
    tmp_path.with_commits(3)
    worse, better = ({"changes": {"a.py": text}, "tests": {"HIDDEN_a": status}}
                     for text, status in (("+x", "failed"), ("+y", "passed")))
    write_run(tmp_path, 1, king=worse, challenger=better)
    write_run(tmp_path, 2, king=better, challenger=worse)
    write_run(tmp_path, 3, king=worse, challenger={**worse, "changes": {"a.py": "+z"}})
    validated(tmp_path)
    run_main(report.main, tmp_path)
    text = (tmp_path / "report/report.md").read_text()
    assert "Both sides were run in 3 of 3 turns. In 2 of them one side passes more" in text
    assert "prefer the one with fewer in 1: 50.0 % (" in text
