"""Check that what was paid for and what a person wrote stays: over panels that change, judges that
fail, kills, lost ledgers.
"""
import signal
import time

import pytest
from conftest import (
    REPO,
    edit,
    eventually,
    finish,
    kill,
    ledger_lines,
    mtimes,
    run_here,
    run_script,
    start_script,
)
from fake_judges import (
    BOTH,
    N,
    by_model,
    calls,
    duel,
    entry,
    everything,
    judged,
    prefers,
    score,
    score_path,
    set_up,
    turns_in,
    validated,
    verdict,
)
from fake_judges import asked as asked_for
from fake_judges import root as root  # a fixture
from fake_llm import HANG, Status
from root import read_json

import report
from codedata.texts import name_hash

UNREADABLE = "I would rather not say."


def test_a_score_that_could_not_be_read_was_not_edited(root, fake_llm):
    fake_llm.always(by_model(a=prefers("onyx"), b=verdict(1), c=UNREADABLE))
    for panel in ("a", "c", "a"):
        root.with_judges(fake_llm, panel)
        done = validated(root)
        assert "edited" not in done
    assert score(root, "t_1")["score"] == 100
    root.with_judges(fake_llm, "a", "b")
    validated(root)
    assert duel(root)["turns_parsed"] == N


def test_a_refresh_that_fails_leaves_the_verdicts_that_were_there(root, fake_llm):
    before = everything(root)
    root.with_judges(fake_llm, *(f'{{ model = "{name}", temperature = 0.5 }}' for name in "ab"))
    fake_llm.always(by_model(a=prefers("onyx"), b=Status(400, "no")))
    failed = validated(root, "--refresh", code=1)
    assert "failed 5" in failed
    for name, record in before.items():
        now = score(root, name)
        for order in BOTH:
            assert entry(now, "b", order) == entry(record, "b", order)
            assert entry(now, "a", order)["settings"] != entry(record, "a", order)["settings"]
    assert duel(root)["turns_parsed"] == N
    fake_llm.requests.clear()
    fake_llm.always(by_model(a=prefers("onyx"), b=verdict(1)))
    validated(root, "--refresh")
    assert asked_for(fake_llm) == calls("b", 1, 2, 3, 4, 5)


def test_an_edit_between_the_two_attempts_of_a_forced_run_is_kept(tmp_path, fake_llm):
    root = judged(tmp_path, fake_llm, 1)
    seen = []

    def b(request):
        seen.append(request)
        if len(seen) <= 2:
            return Status(400, "no")
        edit(score_path(root, "t_1"), score=12.5)
        return verdict(1)
    fake_llm.always(by_model(a=prefers("onyx"), b=b))
    done = validated(root, "--force", code=1)
    assert score(root, "t_1")["score"] == 12.5 and "edited" in done


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_replies_of_a_judge_that_is_not_asked_now_wait_for_it(tmp_path, fake_llm, number):
    set_up(tmp_path, fake_llm, 3, by_model(a=prefers("onyx"), b=HANG, c=verdict(1)), "a", "b")
    process = start_script("validate.py", tmp_path)
    fake_llm.wait_for(6, "answered")
    kept = (tmp_path / "score/_partial").glob
    eventually(lambda: sum(path.read_text().count('"reply"') for path in kept("t_*.jsonl")) == 6)
    process.send_signal(number)
    kill(process)
    n_seen = -1
    while n_seen != len(fake_llm.requests):   # a busy server reads what was sent before the kill
        n_seen = len(fake_llm.requests)
        time.sleep(0.3)
    fake_llm.requests.clear()
    tmp_path.with_judges(fake_llm, "c")
    validated(tmp_path)
    assert asked_for(fake_llm) == calls("c", 1, 2, 3)
    tmp_path.with_judges(fake_llm, "a", "c")
    validated(tmp_path)
    assert asked_for(fake_llm) == []
    assert duel(tmp_path)["turns_parsed"] == 3


def test_a_duel_with_too_many_turns_that_no_judge_answered_is_not_accepted(tmp_path, fake_llm):
    set_up(tmp_path, fake_llm, 12,
           lambda r: Status(400, "no") if int(r.last.partition("task ")[2].split()[0]) > 5
                     else prefers("onyx")(r), "a")
    assert "no judge answered" in validated(tmp_path, code=1)
    now = duel(tmp_path)
    assert now == now | {"accepted": False, "turns": 5, "turns_left": 7, "challenger_score": 100}
    assert "7 turns of 12 not judged yet" in now["reasons"]


def test_a_judge_that_is_down_and_alone_to_be_asked_ends_the_run_and_writes_nothing(root, fake_llm):
    before = mtimes(root.glob("score/t_*.json"))
    root.with_judges(fake_llm, "a", "b", '{ model = "c", endpoint = "gone" }', llm={"workers": 1},
                     more='[endpoints.gone]\nbase_url = "http://127.0.0.1:9/v1"')
    assert "does not answer" in validated(root, code=2)
    assert not ledger_lines(root / "score", state="failed")
    assert mtimes(root.glob("score/t_*.json")) == before


SLOW = """
import validate
from codedata.duel import scoring
from codedata.run import cli
scoring.RESAMPLES = 1_000_000
cli.main(validate.main)
"""


def test_a_shard_that_is_slow_to_decide_does_not_take_back_what_another_decided(tmp_path, fake_llm):
    tmp_path.with_answers(120)
    n_slow = sum(name_hash(f"t_{i}") % 2 == 0 for i in range(1, 121))
    tmp_path.with_judges(fake_llm, "a")
    (tmp_path / "slow.py").write_text(SLOW)
    fake_llm.always(verdict())
    slow = start_script(tmp_path / "slow.py", tmp_path, "--shard", "0/2",
                        env={"PYTHONPATH": str(REPO)})
    eventually(lambda: len(ledger_lines(tmp_path / "score")) == n_slow)
    time.sleep(0.2)
    slow.send_signal(signal.SIGSTOP)   # it has read the scores, and draws its resamples
    assert not (tmp_path / "score/_duel.json").exists()
    quick = start_script("validate.py", tmp_path, "--shard", "1/2")
    eventually(lambda: len(ledger_lines(tmp_path / "score")) == 120)
    time.sleep(0.5)                    # it has decided, or waits for the other one
    slow.send_signal(signal.SIGCONT)
    assert [finish(shard).returncode for shard in (slow, quick)] == [0, 0]
    assert turns_in(tmp_path) == (120, 0) and fake_llm.n_requests == 240


# report.py ---------------------------------------------------------------------------------------

def test_the_report_goes_by_the_panel_that_decided_whatever_the_settings_say(
        root, fake_llm, capsys):
    assert run_here(report.main, root) == 0
    before = sorted(p.name for p in root.glob("[fdr]*/t_*.json"))
    root.with_judges(fake_llm, "somebody-else", judge='order = "king_first"')
    assert run_here(report.main, root) == 0
    assert sorted(p.name for p in root.glob("[fdr]*/t_*.json")) == before and len(before) == N
    assert "other verdicts" not in capsys.readouterr().err


def test_turns_that_only_another_panel_has_scored_are_not_called_edited(root, fake_llm):
    fake_llm.always(by_model(a=prefers("onyx")))
    root.with_judges(fake_llm, "a")
    # 3 of 5 still have the score of a and b
    assert run_script("validate.py", root, "--limit", 2).returncode == 0
    assert run_here(report.main, root) == 0
    text = (root / "report/report.md").read_text()
    assert "; score was edited: it is not what the verdicts give" in text.partition("0 turns:")[2]
    assert len(list((root / "final").glob("t_*.json"))) == N
    assert read_json(root / "final/t_5.json")["score"] == 100
