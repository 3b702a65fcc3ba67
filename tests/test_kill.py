"""Check that a killed run loses nothing, and pays twice for no more than what was in flight."""
import signal
import time

import pytest
from conftest import answers, finish, flags_for, kill, ledger_lines, read_answer, start_script
from fake_llm import HANG
from root import turn_of

from codedata.disk.ledger import LEDGER
from codedata.disk.locks import locked


@pytest.fixture
def start(tmp_path, fake_llm):
    """Return a function: start("king.py", …) starts a process on tmp_path."""
    return lambda script, *more: start_script(
        script, tmp_path, *flags_for(fake_llm, "--model", "m", "--workers", 32, *more))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_term_signal_lets_calls_finish_so_that_none_is_paid_twice(tmp_path, fake_llm, run, start,
                                                                    number):
    tmp_path.with_prompts(120)
    fake_llm.latency_s = 0.2
    process = start("king.py")
    fake_llm.wait_for(40, "answered")
    stopped = kill(process, number)
    assert stopped.returncode == 130 and "stopping" in stopped.stderr and "again:" in stopped.stderr
    assert len(answers(tmp_path)) == len(fake_llm.answered) == fake_llm.n_requests
    assert run("king --model m").returncode == 0
    assert fake_llm.n_requests == 120 == len(answers(tmp_path))


def test_a_second_signal_ends_at_once_and_says_what_is_lost(tmp_path, fake_llm, start):
    tmp_path.with_prompts(5)
    fake_llm.script(turn_of("ls"))
    fake_llm.always(HANG)
    process = start("king.py", "--workers", 1)
    fake_llm.wait_for(2)
    process.send_signal(signal.SIGTERM)
    assert any("stopping" in process.stderr.readline() for _ in range(5))
    ended = kill(process, signal.SIGTERM)
    assert ended.returncode == 130 and len(answers(tmp_path)) == 1
    assert "ended at once: wrote 1, left 4" in ended.stderr
    assert "not finished: prompts_5_1_2\n" in ended.stderr


def test_shards_share_a_root_and_together_ask_once_for_each_prompt(tmp_path, fake_llm, run, start):
    names = tmp_path.with_prompts(60).prompts()
    fake_llm.latency_s = 0.1
    shards = [start("king.py", "--shard", f"{i}/3") for i in range(3)]
    assert [finish(process).returncode for process in shards] == [0, 0, 0]
    assert fake_llm.n_requests == 60 and answers(tmp_path) == sorted(names)
    assert {p.name for p in tmp_path.glob("answer*")} == {"answer", "answer_0", "answer_1",
                                                          "answer_2"}
    assert run("king --model m").returncode == 0 and fake_llm.n_requests == 60
    tmp_path.with_commits(60)
    assert run("ch --model m").returncode == 0
    assert all(read_answer(tmp_path, name)["challenger"] for name in names)
    assert fake_llm.n_requests == 120


def test_results_that_wait_for_the_ledger_are_appended_together(tmp_path, fake_llm, start):
    tmp_path.with_prompts(60)
    ledger = tmp_path / "answer" / LEDGER
    ledger.parent.mkdir()
    ledger.touch()
    with locked(ledger):   # as by another process
        process = start("king.py")
        fake_llm.wait_for(60, "answered")
        time.sleep(1)
    assert finish(process).returncode == 0
    lines = ledger_lines(ledger.parent)
    assert len({line["item"] for line in lines}) == len(lines) == 60 == len(answers(tmp_path))
    assert len({line["at"] for line in lines}) <= 8 + 1   # appends: of each writer, of all else
