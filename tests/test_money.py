"""Money: what a call costs, that each call counts once whatever happens, and a budget that holds over restarts."""
from __future__ import annotations

import json
import random

import pytest
from conftest import (
    answers,
    eventually,
    flags_for,
    kill,
    ledger_lines,
    read_answer,
    run_here,
    run_script,
    spent_usd,
    start_script,
    write_commits,
    write_prompts,
    write_toml,
)
from fake_llm import ABSENT, DROP, HANG, OK, Say, Status

import ch
import king
from codedata.errors import RunStopped
from codedata.llm.calls import Money
from codedata.settings import Price

NO_BLOCK = "I would run ls."
A_CALL = 0.01   # USD: the fake's usage is 100 tokens in, 20 out
PRICES = '[prices]\n"m" = { in = 80.0, out = 100.0 }\n'
BY_M = {"m": Price(80.0, 100.0)}


def priced(root, fake, *more, llm=None) -> list[str]:
    """The flags of a run whose calls cost A_CALL each."""
    write_toml(root, {"model": "m", **(llm or {})}, PRICES)
    return flags_for(fake, *more)


# what a call costs ---------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("price, tokens, usd", [
    (Price(0.5, 2.0), (1_000_000, 1_000_000), 2.5),
    (Price(0.5, 2.0, 0.1), (1_000_000, 0, 400_000), 0.6 * 0.5 + 0.4 * 0.1),
    (Price(0.5, 2.0), (1_000_000, 0, 400_000), 0.5),         # no price for cached ones: as the others
    (Price(0.5, 2.0, 0.0), (1_000_000, 0, 1_000_000), 0.0),  # free is a price
    (Price(0.5, 2.0, 0.1), (100, 0, 900), 100 * 0.1 / 1e6),  # never more cached ones than there are
    (Price(0.5, 2.0, 0.1), (100, 10, None), (50 + 20) / 1e6),
    (Price(0.0, 0.0), (5, 5), 0.0),
])
def test_cost_is_by_price_a_million_tokens_in_out_and_cached(price, tokens, usd):
    assert Money({"m": price}).cost("m", *tokens) == pytest.approx(usd)


@pytest.mark.parametrize("model, tokens", [("other", (1, 1)), ("m", (None, 1)), ("m", (1, None)), ("M", (1, 1))])
def test_a_cost_that_is_not_known_is_none_never_0(model, tokens):
    assert Money({"m": Price(1.0, 1.0)}).cost(model, *tokens) is None


def test_usage_seconds_and_cost_of_each_call_stand_in_the_ledger(tmp_path, fake_llm):
    write_prompts(tmp_path, 1)
    fake_llm.script(Say(NO_BLOCK, usage={"prompt_tokens": 100, "completion_tokens": 20}, latency_s=0.2))
    assert run_here(king.main, tmp_path, *priced(tmp_path, fake_llm)) == 0
    [line] = ledger_lines(tmp_path / "answer")
    first, second = line["calls"]
    assert (first["tokens_in"], first["tokens_out"], first["model"]) == (100, 20, "m")
    assert first["cost_usd"] == pytest.approx(A_CALL) and line["cost_usd"] == pytest.approx(2 * A_CALL)
    assert 0.2 <= first["seconds"] < 3 and second["seconds"] < 0.2
    assert first["id"] != second["id"]


def test_the_cached_price_reaches_the_ledger(tmp_path, fake_llm):
    write_prompts(tmp_path, 1)
    write_toml(tmp_path, {"model": "m"}, '[prices]\n"m" = { in = 10.0, out = 0.0, cached = 1.0 }\n')
    fake_llm.always(lambda request: Say("THOUGHT: I look.\n\n```bash\nls\n```", usage={
        "prompt_tokens": 1000, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 600}}))
    assert run_here(king.main, tmp_path, *flags_for(fake_llm)) == 0
    assert ledger_lines(tmp_path / "answer")[0]["cost_usd"] == pytest.approx((400 * 10 + 600 * 1) / 1e6)


def test_an_unknown_price_is_null_in_the_ledger_and_unknown_on_screen(tmp_path, fake_llm):
    write_prompts(tmp_path, 2)
    done = run_script("king.py", tmp_path, *flags_for(fake_llm))
    assert done.returncode == 0 and "unknown" in done.stderr and "$" not in done.stderr
    lines = ledger_lines(tmp_path / "answer")
    assert [line["cost_usd"] for line in lines] == [None, None]
    assert [call["cost_usd"] for line in lines for call in line["calls"]] == [None, None]


def test_usage_that_is_not_reported_is_unknown_too(tmp_path, fake_llm):
    write_prompts(tmp_path, 1)
    fake_llm.always(lambda request: Say("THOUGHT: I look.\n\n```bash\nls\n```", usage=ABSENT))
    done = run_script("king.py", tmp_path, *priced(tmp_path, fake_llm))
    assert done.returncode == 0 and "unknown" in done.stderr
    assert ledger_lines(tmp_path / "answer")[0]["cost_usd"] is None


def test_the_cost_of_a_run_is_shown(tmp_path, fake_llm):
    write_prompts(tmp_path, 3)
    done = run_script("king.py", tmp_path, *priced(tmp_path, fake_llm))
    assert "$0.0300" in done.stderr


def test_what_a_dry_run_says_is_to_come_bounds_what_it_costs(tmp_path, fake_llm):
    write_prompts(tmp_path, 3)
    flags = priced(tmp_path, fake_llm, llm={"max_tokens": 20})
    dry = run_script("king.py", tmp_path, *flags, "--dry-run")
    assert dry.returncode == 0 and fake_llm.n_requests == 0 and "3 calls" in dry.stderr
    most = float(dry.stderr.partition("at most $")[2].split()[0])
    assert 3 * 20 * 100 / 1e6 <= most < 0.1


# each call counts once -----------------------------------------------------------------------------------------------

def assert_counted_once(root, fake):
    """The suite's own sum is what the server answered."""
    assert spent_usd(root, BY_M) == pytest.approx(len(fake.answered) * A_CALL)


def test_calls_of_failed_attempts_count_once(tmp_path, fake_llm):
    write_prompts(tmp_path, 2)
    flags = priced(tmp_path, fake_llm, "--workers", 1)
    fake_llm.script(NO_BLOCK, Status(400), OK)        # item 1: a paid reply, then failed
    assert run_here(king.main, tmp_path, *flags) == 1
    assert_counted_once(tmp_path, fake_llm)
    fake_llm.script(NO_BLOCK, Status(422))            # its first reply is served; the second is paid; failed again
    assert run_here(king.main, tmp_path, *flags) == 1
    assert_counted_once(tmp_path, fake_llm)
    assert run_here(king.main, tmp_path, *flags) == 0  # two are served, the third is paid
    assert len(fake_llm.answered) == 4
    assert_counted_once(tmp_path, fake_llm)


def test_calls_of_a_killed_run_count_once(tmp_path, fake_llm):
    write_prompts(tmp_path, 1)
    flags = priced(tmp_path, fake_llm)
    fake_llm.script(NO_BLOCK, HANG)
    run = start_script("king.py", tmp_path, *flags)
    fake_llm.wait_for(2)
    kill(run)
    assert_counted_once(tmp_path, fake_llm)     # from _partial/: no ledger line names it
    assert ledger_lines(tmp_path / "answer") == []
    assert run_here(king.main, tmp_path, *flags) == 0
    assert_counted_once(tmp_path, fake_llm)     # from the ledger


def test_calls_count_once_when_an_answer_is_put_there_by_hand(tmp_path, fake_llm):
    """As after a kill between the record and its ledger line: the answer is adopted, and with it its kept replies."""
    write_prompts(tmp_path, 1)
    flags = priced(tmp_path, fake_llm)
    fake_llm.script(NO_BLOCK, Status(400))
    assert run_here(king.main, tmp_path, *flags) == 1
    prompt = json.loads((tmp_path / "prompt" / "prompts_1_1.json").read_text())[0]
    (tmp_path / "answer" / "prompts_1_1_1.json").write_text(json.dumps(
        {"instance_id": prompt["instance_id"], "messages": prompt["messages"], "assistant": prompt["assistant"],
         "king": "THOUGHT: by hand\n\n```bash\nls\n```", "challenger": None}))
    assert run_here(king.main, tmp_path, *flags) == 0
    assert ledger_lines(tmp_path / "answer", state="adopted")
    assert_counted_once(tmp_path, fake_llm)


def test_calls_count_once_when_another_stage_made_the_item_again_in_between(tmp_path, fake_llm):
    write_prompts(tmp_path, 1), write_commits(tmp_path, 1)
    flags = priced(tmp_path, fake_llm)
    assert run_here(king.main, tmp_path, *flags) == 0
    fake_llm.script(NO_BLOCK, Status(400))
    assert run_here(ch.main, tmp_path, *flags) == 1
    assert_counted_once(tmp_path, fake_llm)
    assert run_here(king.main, tmp_path, *flags, "--force") == 0
    assert_counted_once(tmp_path, fake_llm)
    assert run_here(ch.main, tmp_path, *flags) == 0
    assert_counted_once(tmp_path, fake_llm)


def test_calls_that_were_made_again_by_force_all_count(tmp_path, fake_llm):
    write_prompts(tmp_path, 2)
    flags = priced(tmp_path, fake_llm)
    for _ in range(3):
        assert run_here(king.main, tmp_path, *flags, "--force") == 0
    assert len(fake_llm.answered) == 6
    assert_counted_once(tmp_path, fake_llm)


def test_a_rerun_with_nothing_to_do_counts_nothing_again(tmp_path, fake_llm):
    write_prompts(tmp_path, 2)
    flags = priced(tmp_path, fake_llm)
    for _ in range(3):
        assert run_here(king.main, tmp_path, *flags) == 0
    assert len(fake_llm.answered) == 2
    assert_counted_once(tmp_path, fake_llm)


def test_calls_that_were_answered_at_the_second_try_count_once(tmp_path, fake_llm):
    write_prompts(tmp_path, 2)
    fake_llm.script(DROP, Status(500), Status(429, headers={"Retry-After": "0.01"}))
    assert run_here(king.main, tmp_path, *priced(tmp_path, fake_llm)) == 0
    assert len(fake_llm.answered) == 2
    assert_counted_once(tmp_path, fake_llm)


def test_compact_changes_nothing_of_what_was_spent(tmp_path, fake_llm):
    write_prompts(tmp_path, 3), write_commits(tmp_path, 3)
    flags = priced(tmp_path, fake_llm, "--workers", 1)
    fake_llm.script(NO_BLOCK, Status(400))
    run_here(king.main, tmp_path, *flags)
    run_here(king.main, tmp_path, *flags)
    run_here(king.main, tmp_path, *flags, "--force", "--limit", 2)
    fake_llm.script(NO_BLOCK, Status(400), NO_BLOCK, NO_BLOCK, NO_BLOCK)
    run_here(ch.main, tmp_path, *flags)
    assert_counted_once(tmp_path, fake_llm)
    for _ in range(2):
        assert run_here(king.main, tmp_path, *flags, "--compact") == 0
        assert_counted_once(tmp_path, fake_llm)
        lines = ledger_lines(tmp_path / "answer")
        calls = [call for line in lines for call in [*line.get("calls", []), *line.get("earlier", [])]]
        assert sum(call.get("n", 1) for call in calls) == len(fake_llm.answered)
        waiting = {path.stem for path in (tmp_path / "answer" / "_partial").glob("*.jsonl")}   # their lines stay
        keys = [(line["stage"], line["item"]) for line in lines if line["item"] not in waiting]
        assert len(keys) == len(set(keys))
        run_here(king.main, tmp_path, *flags, "--force", "--limit", 1)
    run_here(ch.main, tmp_path, *flags)     # a reply kept from before is served, and not counted again
    assert_counted_once(tmp_path, fake_llm)


@pytest.mark.parametrize("seed", range(3))
def test_each_call_counts_once_over_faults_kills_and_reruns(tmp_path, fake_llm, seed):
    rng = random.Random(seed)
    names = write_prompts(tmp_path, 20)
    flags = priced(tmp_path, fake_llm, "--workers", 3)
    fake_llm.always(HANG)
    for _ in range(3):
        fake_llm.script(*rng.choices([OK, NO_BLOCK, Status(400), Status(500), DROP], [2, 4, 2, 1, 1], k=5))
        run = start_script("king.py", tmp_path, *flags)
        n = fake_llm.n_requests + 5 + 3   # then each of the workers hangs
        eventually(lambda n=n: fake_llm.n_requests == n and fake_llm.in_flight == 3)
        kill(run)
        eventually(lambda: fake_llm.in_flight == 0)
        assert_counted_once(tmp_path, fake_llm)
    fake_llm.always(OK)
    assert run_script("king.py", tmp_path, *flags).returncode == 0
    assert answers(tmp_path) == sorted(names)
    assert_counted_once(tmp_path, fake_llm)


# the budget ----------------------------------------------------------------------------------------------------------

def test_a_budget_is_kept_but_for_the_calls_in_flight_over_all_restarts(tmp_path, fake_llm):
    write_prompts(tmp_path, 30)
    fake_llm.latency_s = 0.03
    flags = priced(tmp_path, fake_llm, "--workers", 4)
    done = run_script("king.py", tmp_path, *flags, "--budget", 5.5 * A_CALL)
    assert done.returncode == 1 and "budget" in done.stderr
    assert 6 <= fake_llm.n_requests <= 6 + 3 and fake_llm.n_requests == len(answers(tmp_path))
    n = fake_llm.n_requests
    for _ in range(2):
        assert run_here(king.main, tmp_path, *flags, "--budget", 5.5 * A_CALL) == 1
        assert fake_llm.n_requests == n   # nothing more is asked
    assert run_here(king.main, tmp_path, *flags, "--budget", 15.5 * A_CALL) == 1
    assert 16 <= fake_llm.n_requests <= 16 + 3
    assert run_here(king.main, tmp_path, *flags, "--budget", 99) == 0
    assert len(answers(tmp_path)) == 30 == fake_llm.n_requests


def test_a_budget_counts_what_other_stages_spent_under_the_same_root(tmp_path, fake_llm):
    write_prompts(tmp_path, 5), write_commits(tmp_path, 5)
    flags = priced(tmp_path, fake_llm, "--workers", 1)
    assert run_here(king.main, tmp_path, *flags) == 0
    assert run_here(ch.main, tmp_path, *flags, "--budget", 6.5 * A_CALL) == 1
    assert fake_llm.n_requests == 7


def test_a_budget_counts_replies_of_a_killed_run(tmp_path, fake_llm):
    write_prompts(tmp_path, 4)
    flags = priced(tmp_path, fake_llm, "--workers", 1)
    fake_llm.script(NO_BLOCK, NO_BLOCK, HANG)
    run = start_script("king.py", tmp_path, *flags, "--budget", 3.5 * A_CALL)
    fake_llm.wait_for(3)
    kill(run)
    assert run_here(king.main, tmp_path, *flags, "--budget", 3.5 * A_CALL) == 1
    assert len(fake_llm.answered) == 4


def test_a_budget_counts_rejected_replies(tmp_path, fake_llm):
    write_prompts(tmp_path, 4)
    fake_llm.always(NO_BLOCK)
    assert run_here(king.main, tmp_path, *priced(tmp_path, fake_llm, "--workers", 1, "--budget", 4.5 * A_CALL)) == 1
    assert fake_llm.n_requests == 5


def test_a_budget_of_more_than_it_costs_changes_nothing(tmp_path, fake_llm):
    write_prompts(tmp_path, 3)
    assert run_here(king.main, tmp_path, *priced(tmp_path, fake_llm, "--budget", 1)) == 0
    assert len(answers(tmp_path)) == 3


def test_a_budget_without_a_price_is_refused_with_the_line_that_is_missing(tmp_path, fake_llm):
    write_prompts(tmp_path, 2)
    done = run_script("king.py", tmp_path, *flags_for(fake_llm, "--budget", 1, "--model", "some/model"))
    assert done.returncode == 2 and fake_llm.n_requests == 0
    assert '"some/model" = { in = 0.00, out = 0.00 }' in done.stderr and "[prices]" in done.stderr


def test_the_line_that_is_named_does_mend_it(tmp_path, fake_llm):
    write_prompts(tmp_path, 2)
    done = run_script("king.py", tmp_path, *flags_for(fake_llm, "--budget", 1, "--model", "some/model"))
    line = next(part for part in done.stderr.splitlines() if '"some/model" =' in part)
    write_toml(tmp_path, more="[prices]\n" + line[line.index('"some/model" ='):] + "\n")
    assert run_here(king.main, tmp_path, *flags_for(fake_llm, "--budget", 1, "--model", "some/model")) == 0


def test_a_budget_over_earlier_calls_without_a_price_is_refused(tmp_path, fake_llm):
    write_prompts(tmp_path, 3)
    run_here(king.main, tmp_path, *flags_for(fake_llm, "--model", "old/model", "--limit", 1))
    done = run_script("king.py", tmp_path, *priced(tmp_path, fake_llm, "--budget", 1))
    assert done.returncode == 2 and '"old/model" = {' in done.stderr and fake_llm.n_requests == 1


def test_earlier_calls_whose_price_is_known_by_now_count_in_a_budget(tmp_path, fake_llm):
    write_prompts(tmp_path, 4)
    run_here(king.main, tmp_path, *flags_for(fake_llm, "--model", "m", "--limit", 2))
    assert run_here(king.main, tmp_path, *priced(tmp_path, fake_llm, "--workers", 1, "--budget", 2.5 * A_CALL)) == 1
    assert fake_llm.n_requests == 3


@pytest.mark.parametrize("compacted", [False, True], ids=["", "compacted"])
def test_earlier_calls_without_usage_are_unknown_not_free(tmp_path, fake_llm, compacted):
    write_prompts(tmp_path, 2)
    flags = priced(tmp_path, fake_llm)
    fake_llm.script(Say("THOUGHT: I look.\n\n```bash\nls\n```", usage=None))
    run_here(king.main, tmp_path, *flags, "--limit", 1)
    run_here(king.main, tmp_path, *flags, "--limit", 1, "--force")
    if compacted:
        run_here(king.main, tmp_path, "--compact")
    with pytest.raises(RunStopped, match="no usage"):
        spent_usd(tmp_path, BY_M)
    assert run_here(king.main, tmp_path, *flags, "--budget", 1) == 2


def test_a_budget_where_no_usage_is_reported_ends_the_run(tmp_path, fake_llm):
    write_prompts(tmp_path, 8)
    fake_llm.always(Say("THOUGHT: I look.\n\n```bash\nls\n```", usage=None))
    done = run_script("king.py", tmp_path, *priced(tmp_path, fake_llm, "--budget", 1, "--workers", 2))
    assert done.returncode == 1 and "reports no usage" in done.stderr and fake_llm.n_requests <= 2
    assert run_here(king.main, tmp_path, *flags_for(fake_llm)) == 0     # without a budget: what was paid for is served
    assert fake_llm.n_requests == 8


@pytest.mark.parametrize("usd", ["0", "-1", "nan", "much"])
def test_a_budget_that_is_none_is_refused(tmp_path, usd):
    assert run_here(king.main, tmp_path, "--budget", usd) == 2


@pytest.mark.parametrize("price", ["nan", "inf", "-1.0", "true", '"1"'])
def test_a_price_that_is_none_is_refused(tmp_path, fake_llm, price):
    """With nan as a price no budget would ever be used up."""
    write_toml(tmp_path, more=f'[prices]\n"m" = {{ in = {price}, out = 1.0 }}\n')
    assert run_here(king.main, tmp_path, *flags_for(fake_llm)) == 2


def test_negative_usage_earns_no_money_back(tmp_path, fake_llm):
    write_prompts(tmp_path, 1)
    fake_llm.always(Say("THOUGHT: I look.\n\n```bash\nls\n```", usage={"prompt_tokens": -100, "completion_tokens": 5}))
    run_here(king.main, tmp_path, *priced(tmp_path, fake_llm))
    assert ledger_lines(tmp_path / "answer")[0]["cost_usd"] is None
    assert read_answer(tmp_path, "prompts_1_1_1")
