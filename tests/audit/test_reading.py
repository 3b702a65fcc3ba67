"""Test what a model is asked of a survivor, and how its answers are read."""
import json
from types import SimpleNamespace

import pytest
from conftest import item_calls, settings_for

from codedata.audit.adversary import try_adversary
from codedata.audit.reading import read_survivors
from codedata.errors import ItemFailed
from codedata.llm import Models

SAID = "Blank lines are passed over."
SURVIVOR = {"path": "tally.py", "line": 2, "operator": "o", "place": 0, "diff": "-a\n+b\n"}


def answer(verdict: str = "wrong", quote: str = SAID, keeps: bool = True, why: str = "w") -> str:
    return json.dumps({"why": why, "verdict": verdict, "quote": quote, "gold_keeps_it": keeps})


def read(tmp_path, fake_llm, *replies, survivors=(SURVIVOR,), kind: str = "bug"):
    """Return the result of reading, each reply given in turn. The gold of a bug is not read."""
    fake_llm.script(*replies)
    texts = {"doc/rules.md": SAID.encode(), "doc/other.md": b"secret"}
    task = SimpleNamespace(kind=kind, instruction="Write tally.py as rules.md says.",
                           environment=texts)
    audited = SimpleNamespace(survivors=survivors, task=task,
                              changed=({}, {"tally.py": b"one\ntwo\nthree\n"}))
    with Models(settings_for(fake_llm)) as models, item_calls(tmp_path):
        return read_survivors(models.client("audit"), audited)


def test_a_wrong_survivor_is_a_fault_of_the_tests_and_a_wrong_gold_is_one_too(tmp_path, fake_llm):
    found = read(tmp_path, fake_llm, answer(), answer("equal", ""), answer("not said", ""),
                 answer("not said", keeps=False), survivors=[SURVIVOR] * 4)
    assert found.result == "failed" and len(found.evidence) == 2
    assert found.figures == {"read": 4, "gold_faults": 0, "wrong": 1, "wrong_gold": 1, "equal": 1,
                             "not_said": 2}
    assert "accepted though it breaks 'Blank lines" in found.evidence[0]
    assert "the gold itself breaks" in found.evidence[1]
    assert found.tries[1] == {**SURVIVOR, "verdict": "equal", "quote": "", "gold_keeps_it": True,
                              "why": "w"}
    request = fake_llm.requests[0].last
    assert SAID in request and "secret" not in request
    assert "-a\n+b" in request and "two\nthree" in request


def test_without_a_wrong_one_it_has_passed_and_without_survivors_nobody_is_asked(tmp_path,
                                                                                 fake_llm):
    assert read(tmp_path, fake_llm, answer("equal", "")).result == "passed"
    assert read(tmp_path, fake_llm, survivors=[]).result == "no case"
    assert read(tmp_path, fake_llm, survivors=None).result == "not checked"
    assert len(fake_llm.requests) == 1


def test_the_gold_is_read_once_and_its_faults_are_those_of_the_task(tmp_path, fake_llm):
    wrong = json.dumps({"faults": [{"quote": SAID, "why": "A blank line is counted."}]})
    found = read(tmp_path, fake_llm, wrong, answer("equal", ""), kind="datapoint")
    assert found.result == "failed" and found.figures["gold_faults"] == 1
    assert found.evidence == [f"the gold breaks {SAID!r}: A blank line is counted."]
    assert "two\nthree" in fake_llm.requests[0].last and SAID in fake_llm.requests[0].last
    keeps = '{"faults": []}'
    assert read(tmp_path / "b", fake_llm, "none", keeps, survivors=[], kind="").result == "passed"


@pytest.mark.parametrize("reply, problem", [
    (answer("bad"), "no JSON object"), (answer(quote=""), "quotes no sentence"),
    (answer(quote="Blank lines count."), "does not say")])
def test_an_answer_of_another_form_or_with_a_false_quote_is_asked_for_again(tmp_path, fake_llm,
                                                                            reply, problem):
    assert read(tmp_path, fake_llm, reply, answer()).result == "failed"
    assert problem in fake_llm.requests[1].last and len(fake_llm.requests) == 2


def test_what_cannot_be_read_fails_the_item_so_that_its_replies_are_kept(tmp_path, fake_llm):
    with pytest.raises(ItemFailed):
        read(tmp_path, fake_llm, *["nothing"] * 9)


def attack(tmp_path, fake_llm, reply: str, rewards: dict[str, float], **about):
    """Return the results of a model's scripts, with the rewards that they get."""
    fake_llm.script(reply)

    def grade_script(script):
        if script not in rewards:
            raise ItemFailed("its work cannot be packed", "it")
        return SimpleNamespace(reward=rewards[script])

    task = {"instruction": SAID, "kind": "", "environment": {"calls.py": b"count()"},
            "tests": {"test.sh": b"pytest", "test_it.py": b"assert calls() < 3"}}
    audited = SimpleNamespace(task=SimpleNamespace(**{**task, **about}), grade_script=grade_script,
                              grader=SimpleNamespace(workdir="/srv"))
    with Models(settings_for(fake_llm)) as models, item_calls(tmp_path):
        return try_adversary(models.client("audit"), audited)


def test_scripts_of_a_model_are_faults_where_they_are_rewarded(tmp_path, fake_llm):
    reply = json.dumps({"scripts": [
        {"why": "w", "kind": "untested", "quote": f" {SAID}", "script": name} for name in "abcd"]})
    found = attack(tmp_path, fake_llm, reply, {"a": 0.5, "b": 1.0})
    assert found.result == "failed"
    assert found.figures == {"scripts": 3, "rewarded": 1, "cheats": 1}
    (one,) = found.tries
    assert (one["path"], one["quote"], one["why"]) == ("cheat-2.sh", SAID, "w")
    assert "+b\n" in one["diff"] and SAID in found.evidence[0]
    request = fake_llm.requests[0].last
    assert "assert calls() < 3" in request and "count()" in request and "/srv" in request
    assert request.index("test_it.py") < request.index("test.sh")
    edge = attack(tmp_path, fake_llm, reply.replace("untested", "edge case"), {"b": 1.0},
                  tests={"other.py": b""})
    assert edge.result == "review" and edge.tries[0]["operator"] == "edge case"


def test_no_script_passes_and_patches_are_no_case(tmp_path, fake_llm):
    assert attack(tmp_path, fake_llm, '{"scripts": []}', {}).result == "passed"
    assert attack(tmp_path, fake_llm, "", {}, kind="bug").result == "no case"
    weighted = {"test_outputs.py": b"x = 7", "verify.py": b"secret"}
    attack(tmp_path, fake_llm, '{"scripts": []}', {}, kind="datapoint", tests=weighted)
    assert "x = 7" in fake_llm.requests[1].last and "secret" not in fake_llm.requests[1].last


@pytest.mark.parametrize("changed, problem", [
    ({"quote": "No."}, "does not say"), ({"kind": "x"}, "'x' is no kind")])
def test_a_script_of_another_form_is_asked_for_again(tmp_path, fake_llm, changed, problem):
    one = {"why": "w", "kind": "edge case", "quote": SAID, "script": "a"} | changed
    fake_llm.script(json.dumps({"scripts": [one]}))
    assert attack(tmp_path, fake_llm, '{"scripts": []}', {}).result == "passed"
    assert problem in fake_llm.requests[1].last
