"""Test validate.py: the outcome, what is judged again, kept, named and left out, and its costs."""
import json

import pytest
from conftest import edit, spent_usd
from fake_judges import (
    A_CALL,
    ALL,
    BOTH,
    PRICES,
    N,
    asked,
    asks,
    by_model,
    by_order,
    calls,
    duel,
    entry,
    everything,
    prefers,
    report_text,
    run_main,
    score,
    score_path,
    scores,
    set_up,
    turn,
    turns_in,
    validated,
    verdict,
)
from fake_judges import root as root  # a fixture
from fake_llm import Status

import ch

# the outcome -------------------------------------------------------------------------------------

def test_another_order_is_decided_on_without_a_call(root, fake_llm):
    assert duel(root)["challenger_score"] == 75
    root.with_judges(fake_llm, "a", "b", judge='order = "king_first"')
    asks(root, fake_llm)
    assert duel(root)["challenger_score"] == 50
    # the records follow
    assert [score(root, f"t_{i}")["score"] for i in ALL] == [50] * N


def test_other_numbers_for_the_gate_cost_nothing_and_touch_no_record(root, fake_llm):
    before = {name: score_path(root, name).stat() for name in scores(root)}
    for line, accepted in (("win_margin = 60.0", False), ("min_turns = 6", False),
                           ("gate_alpha = 0.1", True)):
        root.with_judges(fake_llm, "a", "b", duel=line)
        validated(root)
        assert duel(root)["accepted"] == accepted
    assert duel(root)["gate_alpha"] == 0.1 and fake_llm.n_requests == 0
    assert {name: score_path(root, name).stat() for name in scores(root)} == before


def test_what_makes_verdicts_doubtful_is_said_in_the_plan_the_outcome_and_the_report(
        tmp_path, fake_llm):
    set_up(tmp_path, fake_llm, N, verdict("11111"), "a")   # which is the first answer, always
    call = {"model": "a-large", "cost_usd": None}
    (tmp_path / "answer/_ledger.jsonl").write_text(json.dumps(
        {"stage": "king", "item": "x", "state": "failed", "calls": [call]}) + "\n")
    own = "self-judging, by models of the same family: a (the king's model)"
    turned = "verdicts that change with the order of the answers: a (100 %)"
    plan = validated(tmp_path, "--dry-run")
    assert own in plan and turned not in plan
    assert own in (outcome := validated(tmp_path)) and turned in outcome.partition("wrote")[2]
    assert turned in validated(tmp_path, "--dry-run", "--force")
    report = report_text(tmp_path).partition("## Buckets")[0]
    assert f"**Doubtful: {own}.**" in report and f"**Doubtful: {turned}.**" in report
    assert "self-judging, by" in (tmp_path / "index.html").read_text()


@pytest.mark.parametrize("nothing", [None, ""])
def test_answers_without_both_sides_wait_and_are_counted(tmp_path, fake_llm, nothing):
    set_up(tmp_path, fake_llm, 4, verdict(), "a")
    tmp_path.with_commits(4)
    for i, side in ((1, "king"), (2, "challenger")):
        edit(tmp_path / f"answer/t_{i}.json", **{side: nothing})
    assert "adopted 3, missing 1" in run_main(ch.main, tmp_path, "--status")
    done = validated(tmp_path)
    assert "waiting 2" in done and "no challenger yet" in done
    assert asked(fake_llm) == calls("a", 3, 4)
    outcome = duel(tmp_path)
    assert (outcome["missing_answers"], outcome["turns"], outcome["turns_left"]) == (2, 2, 0)


# another panel -----------------------------------------------------------------------------------

def test_a_judge_that_is_added_is_asked_alone_and_one_that_left_may_come_back(root, fake_llm):
    two = everything(root)
    root.with_judges(fake_llm, "a", "b", "c")
    dry = validated(root, "--dry-run")
    assert "incomplete 5" in dry and "to come: 10 calls" in dry
    asks(root, fake_llm, "c", *ALL)
    three = everything(root)
    assert three["t_1"]["score"] == 50
    assert all(e in three["t_1"]["judges"] for e in two["t_1"]["judges"])
    for panel, total in (("b", 50), ("cb", 25), ("ab", 75), ("abc", 50)):
        root.with_judges(fake_llm, *panel)
        asks(root, fake_llm)
        assert duel(root)["challenger_score"] == total == score(root, "t_3")["score"]
        assert sorted(duel(root)["judges"]) == sorted(panel)
    assert everything(root) == three
    root.with_settings(more='[judge]\nmodels = ["a"]\n')   # no endpoint, no key: none is needed
    done = validated(root)
    assert "brought 5 up to date without a call" in done
    assert score(root, "t_3")["score"] == 100


def test_a_turn_that_the_panel_was_not_asked_about_in_each_order_is_left_and_not_lost(
        tmp_path, fake_llm):
    set_up(tmp_path, fake_llm, N, prefers("onyx"), "a", judge='order = "king_first"')
    asks(tmp_path, fake_llm, "a", *ALL, orders=BOTH[:1])
    for judge, orders in (("a", BOTH[1:]), ("c", BOTH)):
        tmp_path.with_judges(fake_llm, judge)
        validated(tmp_path, "--limit=2")
        assert asked(fake_llm) == calls(judge, 1, 2, orders=orders)
        assert turns_in(tmp_path) == (2, 3)


@pytest.mark.parametrize("is_compacted", [True, False])
def test_what_is_known_of_verdicts_survives_the_loss_of_the_ledger(root, fake_llm, is_compacted):
    if is_compacted:
        validated(root, "--compact")
    else:
        (root / "score/_ledger.jsonl").unlink()
    before = everything(root)
    asks(root, fake_llm)
    assert everything(root) == before
    root.with_judges(fake_llm, "a")   # the scores follow the panel
    asks(root, fake_llm)
    assert duel(root)["challenger_score"] == 100
    assert {record["score"] for record in everything(root).values()} == {100}
    root.with_judges(fake_llm, "a", "b", "c")
    asks(root, fake_llm, "c", *ALL)


# after a person has been there -------------------------------------------------------------------

def test_a_changed_answer_is_judged_again_alone(root, fake_llm):
    before = everything(root)
    edit(root / "answer/t_2.json", king=turn("quartz", 20))
    edit(root / "answer/t_3.json", note="mine")
    validated(root, "--only=t_1")   # t_2 is stale: its verdicts are of another king
    assert turns_in(root) == (4, 1)
    done = validated(root)
    assert "stale 1" in done and asked(fake_llm) == calls("ab", 2)
    after = everything(root)
    assert after["t_2"] != before["t_2"] and {**after, "t_2": 0} == {**before, "t_2": 0}
    assert turns_in(root) == (5, 0)


def test_an_answer_that_changes_while_it_is_judged_is_judged_again(tmp_path, fake_llm):
    set_up(tmp_path, fake_llm, 2, verdict(), "a", llm={"workers": 1})

    def meanwhile(request):
        edit(tmp_path / "answer/t_1.json", king=turn("quartz", 10))
        return verdict()
    fake_llm.script(meanwhile)
    asks(tmp_path, fake_llm, "a", 1, 2)
    assert turns_in(tmp_path) == (1, 1)
    asks(tmp_path, fake_llm, "a", 1)
    assert duel(tmp_path)["turns"] == 2


def test_an_edited_score_is_kept_and_named_and_the_duel_goes_by_the_verdicts(root, fake_llm):
    outcome = duel(root)
    edit(score_path(root, "t_2"), score=12.5, reason="mine")
    done = validated(root)
    assert "edited 1 (kept)" in done and "edited: t_2" in done
    assert score(root, "t_2")["score"] == 12.5
    assert duel(root) == outcome
    assert fake_llm.n_requests == 0

    def b_says_it_won(record):
        for order in BOTH:
            edited = entry(record, "b", order)
            edited["scores"] = dict.fromkeys(edited["scores"], 1)
    edit(score_path(root, "t_2"), b_says_it_won)
    asks(root, fake_llm)
    assert duel(root)["challenger_score"] == outcome["challenger_score"] + 5
    assert score(root, "t_2")["score"] == 12.5
    root.with_judges(fake_llm, "a", "b", "c")
    asks(root, fake_llm, "c", 1, 3, 4, 5)   # it stays as it is


def test_a_deleted_score_is_made_again_and_a_deleted_answer_leaves_an_orphan(root, fake_llm):
    score_path(root, "t_5").unlink()
    (root / "answer/t_4.json").unlink()
    done = validated(root)
    assert asked(fake_llm) == calls("ab", 5)
    assert "orphan: t_4" in done and "t_4" in scores(root) and duel(root)["turns"] == 4


WARM = [f'{{ model = "{name}", temperature = 0.5 }}' for name in "abc"]


def test_verdicts_made_with_other_settings_are_told_and_made_again_with_refresh(root, fake_llm):
    root.with_judges(fake_llm, *WARM[:2])
    done = validated(root)
    assert "made with other settings 5" in done and fake_llm.n_requests == 0
    root.with_judges(fake_llm, *WARM)
    asks(root, fake_llm, "c", *ALL)
    assert "made with other settings 5" in validated(root, "--status")
    validated(root, "--refresh")
    assert asked(fake_llm) == calls("ab", *ALL)
    assert "other settings" not in validated(root, "--status")
    root.with_judges(fake_llm, WARM[0], '{ model = "c", name = "b", temperature = 0.5 }')
    assert "made with other settings 5" in validated(root, "--status")


# flags -------------------------------------------------------------------------------------------


def test_status_and_dry_run_do_nothing_and_dry_run_tells_what_comes(tmp_path, fake_llm):
    gone = by_order(king_first=verdict(), challenger_first=Status(404, "gone"))
    set_up(tmp_path, fake_llm, 3, by_model(a=verdict(), b=gone), "a", "b", more=PRICES)
    dry = validated(tmp_path, "--dry-run")
    assert "to come: 12 calls" in dry and "and 1,106 out" in dry   # 12 % of max_tokens
    most = float(dry.partition("at most $")[2].split(";")[0])
    assert "missing 3" in validated(tmp_path, "--status")
    assert fake_llm.n_requests == 0 and not (tmp_path / "score").exists()
    validated(tmp_path, code=1)
    assert spent_usd(tmp_path) + 3 * A_CALL <= most
    assert "to come: 3 calls" in validated(tmp_path, "--dry-run")
    edit(tmp_path / "answer/t_1.json", challenger=None)   # as if king.py had made it again
    assert "to come: 2 calls" in validated(tmp_path, "--dry-run")


def test_a_dry_run_counts_a_judge_s_calls_though_another_s_request_is_too_long(tmp_path, fake_llm):
    set_up(tmp_path, fake_llm, 2, verdict(), '{ model = "b", max_prompt_tokens = 100 }', "a")
    dry = validated(tmp_path, "--dry-run")
    done = validated(tmp_path, code=1)
    assert "max_prompt_tokens" in done and asked(fake_llm) == calls("a", 1, 2)
    assert "to come: 4 calls" in dry and "will fail" in dry


def test_a_run_that_ends_before_its_second_pass_leaves_one_more_try_to_the_next(tmp_path, fake_llm):
    set_up(tmp_path, fake_llm, 1, "hm", "a", judge='order = "king_first"', more=PRICES)
    validated(tmp_path, "--budget=0.01", code=1)
    assert fake_llm.n_requests == 1
    assert "to come: 1 call," in validated(tmp_path, "--dry-run")
    for _ in range(2):
        validated(tmp_path, "--budget=1")
        assert fake_llm.n_requests == 2
