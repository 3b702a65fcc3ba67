"""Check that validate.py killed or stopped at any moment, or run several times at once, loses no
verdict and pays for none twice.
"""
from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter

from conftest import (
    eventually,
    finish,
    kill,
    ledger_lines,
    run_script,
    spent_usd,
    start_script,
)
from fake_judges import (
    A_CALL,
    PRICES,
    asks,
    by_model,
    duel,
    entry,
    everything,
    prefers,
    turns_in,
    validated,
    verdict,
    write_answers,
    write_panel,
)

from codedata.texts import name_hash


def test_a_shard_that_is_slow_to_decide_does_not_take_back_what_another_decided(tmp_path, fake_llm):
    names = write_answers(tmp_path, 120)
    n_slow = sum(name_hash(name) % 2 == 0 for name in names)
    write_panel(tmp_path, fake_llm, "a")
    quick_toml = (tmp_path / "chain.toml").read_text()
    (tmp_path / "slow.toml").write_text(quick_toml.replace("resamples = 500",
                                                           "resamples = 1_000_000"))
    fake_llm.always(verdict())
    slow = start_script("validate.py", tmp_path, "--shard", "0/2", "--config",
                        tmp_path / "slow.toml")
    eventually(lambda: len(ledger_lines(tmp_path / "score")) == n_slow)
    time.sleep(0.2)
    slow.send_signal(signal.SIGSTOP)   # it has read the scores, and draws its resamples
    assert not (tmp_path / "score/_duel.json").exists()
    quick = start_script("validate.py", tmp_path, "--shard", "1/2")
    eventually(lambda: len(ledger_lines(tmp_path / "score")) == len(names))
    time.sleep(0.5)                    # it has decided, or waits for the other one
    slow.send_signal(signal.SIGCONT)
    assert [finish(shard).returncode for shard in (slow, quick)] == [0, 0]
    assert turns_in(tmp_path) == (len(names), 0) and fake_llm.n_requests == 2 * len(names)


def test_sigkills_lose_no_verdict_and_pay_again_only_for_what_was_in_flight(tmp_path, fake_llm):
    n, workers = 24, 8
    names = write_answers(tmp_path, n)
    many = {"workers": workers}
    write_panel(tmp_path, fake_llm, "a", more=PRICES, llm=many)
    fake_llm.always(by_model(a=prefers("onyx"), b=prefers("quartz"), c=verdict()))
    validated(tmp_path, "--limit", n // 2)   # half of the turns have a verdict already
    write_panel(tmp_path, fake_llm, "a", "b", "c", more=PRICES, llm=many)
    fake_llm.latency_s, all_calls, kept = 0.06, 6 * n, {}
    draw = random.Random(os.getpid())
    for k in range(3):
        process = start_script("validate.py", tmp_path)
        fake_llm.wait_for(n + int((k + draw.uniform(0.3, 0.9)) * (all_calls - n) / 4), "answered")
        kill(process)
        for name, record in everything(tmp_path).items():   # parses: none is torn
            for one in record["judges"]:
                key = name, one["judge"], one["order"]
                assert kept.setdefault(key, one) == one
    eventually(lambda: fake_llm.in_flight == 0)
    last = run_script("validate.py", tmp_path)
    assert last.returncode == 0, last.stderr
    after = everything(tmp_path)
    assert sorted(after) == sorted(names) and {r["score"] for r in after.values()} == {50}
    assert all(entry(after[name], judge, order) == one
               for (name, judge, order), one in kept.items())
    paid = Counter(r.raw for r in fake_llm.answered)
    assert len(paid) == all_calls and sum(paid.values()) - all_calls <= 3 * workers
    lost = round(sum(paid.values()) * A_CALL - spent_usd(tmp_path), 6)
    # what the ledgers say was spent: all but the lost replies
    assert 0 <= lost <= 3 * workers * A_CALL
    assert duel(tmp_path)["turns_parsed"] == n
    asks(tmp_path, fake_llm)
