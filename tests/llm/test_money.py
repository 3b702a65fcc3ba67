"""Check what a call costs, that each call counts once, and that budgets hold over restarts."""
import sys
from functools import partial

import pytest
from conftest import REPO, answers, flags_for, ledger_lines, run_here, run_script, spent_usd
from fake_llm import Say, Status
from line_tables import rows
from programs import run_program
from root import write_files, write_json

import ch
import king
from codedata.disk.ledger import to_line
from codedata.disk.locks import lock
from codedata.errors import RunStopped
from codedata.llm.costs import Money
from codedata.records import DIRECTORIES as RECORDED
from codedata.records import Answer
from codedata.run import cli
from codedata.run.start import run_steps
from codedata.settings import Price
from codedata.texts import name_hash

NO_BLOCK = "I would run ls."
TURN = "THOUGHT: I look.\n\n```bash\nls\n```"
A_CALL = 0.01   # USD: the fake's usage is 100 tokens in, 20 out
BY_M = {"m": Price(80.0, 100.0)}


def set_price(root, price: str, **llm) -> None:
    root.with_settings({"model": "m", **llm}, f'[prices]\n"m" = {{ {price} }}\n')


@pytest.fixture
def priced(tmp_path, fake_llm):
    """Return a function: run king.py, or another main(), at A_CALL a call; return its exit code."""
    set_price(tmp_path, "in = 80.0, out = 100.0")

    def run(*flags, main=king.main) -> int:
        return run_here(main, tmp_path, *flags_for(fake_llm, "--workers", 1, *flags))
    return run


def costs(root) -> list:
    return [line["cost_usd"] for line in ledger_lines(root / "answer")]


# what a call costs -------------------------------------------------------------------------------

# price in, out and cached | tokens in, out and cached | USD
@pytest.mark.parametrize("price, tokens, usd", rows("""
0.5 2.0     | 1_000_000 1_000_000   | 2.5
0.5 2.0 0.1 | 1_000_000 0 400_000   | 0.34
# no price for cached ones: the same
0.5 2.0     | 1_000_000 0 400_000   | 0.5
# free is a price
0.5 2.0 0.0 | 1_000_000 0 1_000_000 | 0
# never more cached ones than there are
0.5 2.0 0.1 | 100 0 900             | 0.000_01
0.5 2.0 0.1 | 100 10 -              | 0.000_07
0.0 0.0     | 5 5                   | 0
# a cost that is not known is None, never 0
1.0 1.0     | - 1                   | None
1.0 1.0     | 1 -                   | None
"""))
def test_cost_is_by_price_a_million_tokens_in_out_and_cached(price, tokens, usd):
    money = Money({"m": Price(*map(float, price.split()))})
    counts = [None if n == "-" else int(n) for n in tokens.split()]
    assert money.cost("m", *counts) == (None if usd == "None" else pytest.approx(float(usd)))
    assert money.cost("M", *counts) is None


def test_usage_seconds_and_cost_of_each_call_stand_in_the_ledger_and_on_screen(
        tmp_path, fake_llm, priced, capsys):
    tmp_path.with_prompts(1)
    set_price(tmp_path, "in = 80.0, out = 100.0, cached = 8.0")
    fake_llm.script(Say(NO_BLOCK, latency_s=0.2, usage={
        "prompt_tokens": 1100, "completion_tokens": 20,
        "prompt_tokens_details": {"cached_tokens": 1000}}))
    assert priced() == 0 and "$0.0280" in capsys.readouterr().err
    [line] = ledger_lines(tmp_path / "answer")
    first, second = line["calls"]
    assert (first["tokens_in"], first["tokens_out"], first["model"]) == (1100, 20, "m")
    assert first["cost_usd"] == pytest.approx(0.018)   # 100 of its tokens were not cached
    assert line["cost_usd"] == pytest.approx(0.018 + A_CALL)
    assert first["seconds"] >= 0.2 and first["id"] != second["id"]


def test_what_comes_is_estimated_by_what_the_same_models_took_for_items_before(
        tmp_path, fake_llm, priced, capsys):
    tmp_path.with_prompts(6)
    fake_llm.script(NO_BLOCK)
    priced("--limit", 2)
    for flags in ((), ("--force",), ("--model", "other")):
        priced("--dry-run", *flags)
    four, six, other = (line.partition("to come: ")[2] for line in
                        capsys.readouterr().err.splitlines() if "to come" in line)
    assert four.startswith("6 calls, about 600 tokens in and 120 out, $0.0600, at most $")
    assert six.startswith("9 calls, about 900 tokens in and 180 out") and "2 items" in six
    assert other.startswith("4 calls, about") and "usual lengths" in other


# each call counts once ---------------------------------------------------------------------------

def assert_counted_once(root, fake, n_calls: int | None = None):
    """Check that the suite's total is the sum of what the server answered."""
    assert spent_usd(root, BY_M) == pytest.approx(len(fake.answered) * A_CALL)
    assert n_calls in (None, len(fake.answered))


def test_compact_changes_nothing_of_what_was_spent(tmp_path, fake_llm, priced):
    tmp_path.with_prompts(3).with_commits(3)
    fake_llm.script(NO_BLOCK, Status(400))
    for flags in ([], [], ["--force", "--limit", 2]):
        priced(*flags)
    fake_llm.script(NO_BLOCK, Status(400), NO_BLOCK, NO_BLOCK, NO_BLOCK)
    priced(main=ch.main)
    assert_counted_once(tmp_path, fake_llm)
    for _ in range(2):
        assert priced("--compact") == 0
        lines = ledger_lines(tmp_path / "answer")
        calls = [call for line in lines
                 for call in [*line.get("calls", []), *line.get("earlier", [])]]
        assert_counted_once(tmp_path, fake_llm, sum(call.get("n", 1) for call in calls))
        kept = (tmp_path / "answer/_partial").glob("*.jsonl")
        waiting = {path.stem for path in kept}   # their lines stay
        keys = [(line["stage"], line["item"]) for line in lines if line["item"] not in waiting]
        assert len(keys) == len(set(keys))
        priced("--force", "--limit", 1)
    priced(main=ch.main)     # a reply kept from before is served, and not counted again
    assert_counted_once(tmp_path, fake_llm)


# the budget --------------------------------------------------------------------------------------

def test_a_budget_is_kept_but_for_the_calls_in_flight_over_all_restarts(tmp_path, fake_llm, priced):
    tmp_path.with_prompts(30)
    fake_llm.latency_s = 0.03
    flags = flags_for(fake_llm, "--workers", 4, "--budget", 5.5 * A_CALL)
    done = run_script("king.py", tmp_path, *flags)
    assert done.returncode == 1 and "budget" in done.stderr
    assert 6 <= fake_llm.n_requests <= 6 + 3 and fake_llm.n_requests == len(answers(tmp_path))
    n = fake_llm.n_requests
    assert [priced("--budget", 5.5 * A_CALL) for _ in range(2)] == [1, 1]
    assert fake_llm.n_requests == n
    assert priced("--workers", 4, "--budget", 15.5 * A_CALL) == 1
    assert 16 <= fake_llm.n_requests <= 16 + 3


def test_a_budget_that_is_used_up_to_the_cent_lets_no_call_out():
    money = Money({}, budget_usd=0.5)
    money.gate()
    money.add({"cost_usd": 0.5})
    with pytest.raises(RunStopped, match="used up"):
        money.gate()


def test_a_run_has_a_budget_of_its_own_whatever_was_spent_before(tmp_path, fake_llm, priced):
    tmp_path.with_prompts(12)
    priced("--model", "no/price", "--limit", 1)
    for n in (4, 7, 7):
        usd = 2.5 * A_CALL if n > fake_llm.n_requests else 0
        assert priced("--budget-run", usd) == 1 and fake_llm.n_requests == n
    assert priced("--budget-run", 2.5 * A_CALL, "--shard", "0/2") == 1
    assert fake_llm.n_requests == 9


def test_the_budget_of_a_run_is_one_sum_for_the_stages_of_a_chain_and_steps_of_a_script(
        tmp_path, fake_llm, priced):
    tmp_path.with_prompts(5).with_commits(5)
    chain = [sys.executable, REPO / "tools/chain", "king ch", "--root", tmp_path, "--workers", "1",
             *flags_for(fake_llm), "--budget-run", str(7.5 * A_CALL)]
    assert run_program(*chain).returncode == 1 and fake_llm.n_requests == 8
    settings, options = cli.read(cli.parser("").parse_args(
        [*map(str, chain[3:-1]), str(6.5 * A_CALL), "--force"]))
    step = partial(king.king_stage, settings, options, False)
    assert run_steps({"king": step, "again": step}, settings, options, [Answer]) == 1
    assert fake_llm.n_requests == 8 + 7


def test_a_shard_has_its_part_of_the_budget_for_the_calls_of_its_own_items(
        tmp_path, fake_llm, priced, capsys):
    tmp_path.with_prompts(40)
    parts = [("--budget", 7 * A_CALL, "--shard", f"{i}/2") for i in (0, 1)]
    with lock(tmp_path / "_budget", (1, 2), "another shard"):
        assert [priced(*parts[0]) for _ in range(2)] == [1, 1] and fake_llm.n_requests == 4
    assert "this shard: $0.0350 of $0.0700, $0.0400 spent" in capsys.readouterr().err
    assert priced("--dry-run", *parts[1]) == 0
    assert "this shard: $0.0350 of $0.0700, $0.00 spent" in capsys.readouterr().err
    assert priced(*parts[1]) == 1 and fake_llm.n_requests == 8


def test_a_shard_counts_its_items_also_their_kept_replies_and_what_compacting_summed(tmp_path):
    usd = {"a": 1, "b": 2, "c": 4, "d": 8}
    lines = [{"item": "", "earlier": [{"cost_usd": 16}]}]
    lines += [{"item": item, "calls": [{"cost_usd": usd[item]}]} for item in "ab"]
    write_files(tmp_path / "answer", {
        "_ledger.jsonl": b"".join(map(to_line, lines)),
        **{f"_partial/{item}.jsonl": to_line({"call": {"cost_usd": usd[item]}}) for item in "cd"}})
    for i in range(3):
        money = Money({}, 1.0, (i, 3))
        money.add_up(tmp_path)
        own = [item for item in usd if name_hash(item) % 3 == i]
        assert money.spent_usd == 16 + sum(map(usd.get, own))


def test_a_budget_without_a_price_is_refused_with_the_line_that_mends_it(
        tmp_path, fake_llm, capsys):
    tmp_path.with_prompts(2)
    flags = flags_for(fake_llm, "--budget", 1, "--model", "some/model")
    assert run_here(king.main, tmp_path, *flags) == 2 and fake_llm.n_requests == 0
    printed = capsys.readouterr().err
    line = '"some/model" = { in = 0.00, out = 0.00 }'
    assert line in printed and "[prices]" in printed
    tmp_path.with_settings(more=f"[prices]\n{line}\n")
    assert run_here(king.main, tmp_path, *flags) == 0


def test_earlier_calls_whose_price_is_known_by_now_count_in_a_budget(tmp_path, fake_llm, priced):
    tmp_path.with_prompts(4)
    config = tmp_path / "chain.toml"
    prices = config.read_text()
    tmp_path.with_settings()
    priced("--model", "m", "--limit", 2)
    config.write_text(prices)
    assert costs(tmp_path) == [None, None]
    assert priced("--budget", 2.5 * A_CALL) == 1
    assert fake_llm.n_requests == 3


@pytest.mark.parametrize("compacted", [False, True])
def test_earlier_calls_without_usage_are_unknown_not_free(tmp_path, fake_llm, priced, compacted):
    tmp_path.with_prompts(2)
    fake_llm.script(Say(TURN, usage=None))
    priced("--limit", 1)
    priced("--limit", 1, "--force")
    if compacted:
        priced("--compact")
    with pytest.raises(RunStopped, match="no usage"):
        spent_usd(tmp_path, BY_M)
    assert priced("--budget", 1) == 2


def test_a_budget_where_no_usage_is_reported_ends_the_run(tmp_path, fake_llm, priced, capsys):
    tmp_path.with_prompts(8)
    fake_llm.always(Say(TURN, usage=None))
    assert priced("--budget", 1, "--workers", 2) == 1
    assert "reports no usage" in capsys.readouterr().err and fake_llm.n_requests <= 2
    assert priced() == 0     # without a budget: what was paid for is served
    assert "cost unknown (no reported usage)" in capsys.readouterr().err
    assert fake_llm.n_requests == 8


PLACES = """prompt commit answer answer_0 variants/chosen variants/placebo score
    score_chosen score_reference report final refined defeat export probe sanity
    env coverage analysis bug bug/_config bug/_candidates bug/_verdicts nl2repo nl2repo/_meta
    nl2repo/_facts nl2repo/_communities nl2repo/_docs candidate dp dp/_seeds
    dp/_ideas dp/_drafts dp/_staging dp/_checks dp/_checks/_deeper task
    audit executed executed/_states attempt"""
NO_PLACES = ["runs/other/answer", "answer_backup", "answer/_replaced", "dp/_tmp", "dp/a_task"]


def test_every_ledger_under_a_root_counts_however_deep(tmp_path):
    places = PLACES.split()
    for i, place in enumerate([*places, *NO_PLACES]):
        call = {"id": str(i), "model": "m", "cost_usd": A_CALL}
        write_json(tmp_path / place / "_ledger.jsonl",
                   {"stage": "s", "item": "x", "state": "done", "calls": [call]})
        write_json(tmp_path / place / "_partial/x.jsonl", {"call": {**call, "id": f"kept {i}"}})
        write_json(tmp_path / place / "_partial/y.jsonl", {"call": call})   # billed by then
    assert spent_usd(tmp_path) == pytest.approx(2 * A_CALL * len(places))
    assert {*RECORDED} <= {*places}
