"""Killed at any moment, a run loses nothing and pays twice for no more than what was in flight."""
import json
import os
import random
import signal
from collections import Counter

import pytest
from conftest import (
    answers,
    eventually,
    finish,
    flags_for,
    kill,
    ledger_lines,
    read_answer,
    run_script,
    spent_usd,
    start_script,
    write_commits,
    write_prompts,
    write_toml,
)

N, WORKERS = 300, 32
PRICE = '[prices]\n"m" = { in = 1.0, out = 1.0 }\n'


def flags(fake):
    return flags_for(fake, "--model", "m", "--workers", WORKERS)


@pytest.mark.parametrize("script, field", [("king.py", "king"), ("ch.py", "challenger")])
def test_three_sigkills_lose_no_record_and_pay_again_only_for_what_was_in_flight(tmp_path, fake_llm, script, field):
    names = write_prompts(tmp_path, N)
    write_commits(tmp_path, N)
    write_toml(tmp_path, more=PRICE)
    if script == "ch.py":
        assert run_script("king.py", tmp_path, *flags(fake_llm)).returncode == 0
    done_before = len(fake_llm.answered)
    fake_llm.latency_s = 0.15
    draw, in_flight_at_kills, kept = random.Random(f"{script} {os.getpid()}"), 0, {}
    for k in range(3):
        process = start_script(script, tmp_path, *flags(fake_llm))
        fake_llm.wait_for(done_before + int((k + draw.uniform(0.3, 0.9)) * N / 4), "answered")
        kill(process)
        in_flight_at_kills += WORKERS   # each worker has at most one answer that is not on disk
        for name in answers(tmp_path):
            text = read_answer(tmp_path, name)[field]   # parses: no torn file
            if text is not None:
                assert kept.setdefault(name, text) == text   # and none is made twice
    eventually(lambda: fake_llm.in_flight == 0)
    last = run_script(script, tmp_path, *flags(fake_llm))
    assert last.returncode == 0, last.stderr
    made = {name: read_answer(tmp_path, name) for name in answers(tmp_path)}
    assert sorted(made) == sorted(names) and all(record[field] for record in made.values())
    assert all(made[name][field] == text for name, text in kept.items())
    paid = Counter(request.raw for request in fake_llm.answered[done_before:])
    paid_again = sum(n - 1 for n in paid.values())
    assert len(paid) == N and paid_again <= in_flight_at_kills
    lost_calls = round((done_before + N + paid_again) * 120e-6 - spent_usd(tmp_path), 9)
    assert 0 <= lost_calls <= in_flight_at_kills * 120e-6   # what the ledgers say was spent: all but the lost replies
    again = run_script(script, tmp_path, *flags(fake_llm))
    assert again.returncode == 0 and len(fake_llm.answered) == done_before + N + paid_again


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_term_signal_lets_calls_finish_so_that_none_is_paid_twice(tmp_path, fake_llm, number):
    write_prompts(tmp_path, 120)
    fake_llm.latency_s = 0.2
    for n in (20, 70):
        process = start_script("king.py", tmp_path, *flags(fake_llm))
        fake_llm.wait_for(n, "answered")
        stopped = kill(process, number)
        assert stopped.returncode == 130 and "stopping" in stopped.stderr and "again:" in stopped.stderr
        assert len(answers(tmp_path)) == len(fake_llm.answered) == fake_llm.n_requests
    assert run_script("king.py", tmp_path, *flags(fake_llm)).returncode == 0
    assert fake_llm.n_requests == 120 == len(answers(tmp_path))


def test_a_second_signal_ends_at_once(tmp_path, fake_llm):
    write_prompts(tmp_path, 4)
    fake_llm.latency_s = 30
    process = start_script("king.py", tmp_path, *flags(fake_llm))
    fake_llm.wait_for(4, "in_flight")
    process.send_signal(signal.SIGTERM)
    assert any("stopping" in process.stderr.readline() for _ in range(5))
    process.send_signal(signal.SIGTERM)
    assert finish(process, 5).returncode == 130


def test_a_kill_between_record_and_ledger_line_is_adopted_and_its_cost_counted(tmp_path, fake_llm):
    [name] = write_prompts(tmp_path, 1)
    write_toml(tmp_path, more=PRICE)
    run_script("king.py", tmp_path, *flags(fake_llm))
    line, = ledger_lines(tmp_path / "answer")
    partial = {"stage": "king", "request": "r", "attempt": 0, "call": line["calls"][0],
               "reply": {"text": "x", "reasoning": "", "finish_reason": "stop", "model": "m"}}
    (tmp_path / "answer" / "_ledger.jsonl").write_text('{"stage": "king", "item": "prompts_1_1_1", "sta')   # torn
    (tmp_path / "answer" / "_partial").mkdir(exist_ok=True)
    (tmp_path / "answer" / "_partial" / f"{name}.jsonl").write_text(json.dumps(partial) + "\n")
    status = run_script("king.py", tmp_path, "--status")
    assert "adopted 1" in status.stderr
    again = run_script("king.py", tmp_path, *flags(fake_llm))
    assert again.returncode == 0 and fake_llm.n_requests == 1
    assert spent_usd(tmp_path) == pytest.approx(120e-6)
    assert not (tmp_path / "answer" / "_partial" / f"{name}.jsonl").exists()
    assert "done 1" in run_script("king.py", tmp_path, "--status").stderr


def test_an_answer_made_again_and_killed_before_its_ledger_line_is_not_taken_for_a_hand_edit(tmp_path, fake_llm):
    [name] = write_prompts(tmp_path, 1)
    run_script("king.py", tmp_path, *flags(fake_llm))
    prompts = tmp_path / "prompt" / "prompts_1_1.json"
    prompts.write_text(prompts.read_text().replace("task 1", "task one"))
    ledger = tmp_path / "answer" / "_ledger.jsonl"
    before = ledger.read_text()
    folder = tmp_path / "answer" / "_partial"
    fake_llm.latency_s = 0.3
    process = start_script("king.py", tmp_path, *flags(fake_llm))
    partial, seen = folder / f"{name}.jsonl", []

    def intent_noted():
        try:
            seen.append(partial.read_text())
        except FileNotFoundError:
            pass
        return process.poll() is not None
    eventually(intent_noted)
    kept = next(text for text in reversed(seen) if '"intent"' in text) if any('"intent"' in t for t in seen) else None
    finish(process)
    if kept is None:   # too quick to be seen: what it wrote is known all the same
        done = json.loads(ledger.read_text().splitlines()[-1])
        kept = json.dumps({"stage": "king", "intent": {"read": done["read"], "wrote": done["wrote"],
                                                       "settings": done["settings"]}}) + "\n"
    ledger.write_text(before)       # as the kill would have left it
    partial.write_text(kept)
    status = run_script("king.py", tmp_path, "--status").stderr
    assert "adopted 1" in status and "edited" not in status
    n = fake_llm.n_requests
    assert run_script("king.py", tmp_path, *flags(fake_llm)).returncode == 0 and fake_llm.n_requests == n
    assert "done 1" in run_script("king.py", tmp_path, "--status").stderr


def test_two_processes_on_one_directory_the_second_names_the_first(tmp_path, fake_llm):
    write_prompts(tmp_path, 4)
    fake_llm.latency_s = 3.0
    first = start_script("king.py", tmp_path, *flags(fake_llm))
    fake_llm.wait_for(4, "in_flight")
    second = run_script("king.py", tmp_path, *flags(fake_llm))
    other = run_script("ch.py", tmp_path, *flags(fake_llm))
    assert second.returncode == 2 and other.returncode == 2
    assert f"king.py (process {first.pid}" in second.stderr and f"king.py (process {first.pid}" in other.stderr
    assert finish(first).returncode == 0 and fake_llm.n_requests == 4


def test_shards_share_a_root_and_together_ask_once_for_each_prompt(tmp_path, fake_llm):
    names = write_prompts(tmp_path, 60)
    fake_llm.latency_s = 0.1
    shards = [start_script("king.py", tmp_path, *flags(fake_llm), "--shard", f"{i}/3") for i in range(3)]
    assert [finish(p).returncode for p in shards] == [0, 0, 0]
    assert fake_llm.n_requests == 60 and sorted(answers(tmp_path)) == sorted(names)
    assert {p.name for p in tmp_path.glob("answer*")} == {"answer", "answer_0", "answer_1", "answer_2"}
    whole = run_script("king.py", tmp_path, *flags(fake_llm))
    assert whole.returncode == 0 and fake_llm.n_requests == 60
    write_commits(tmp_path, 60)
    assert run_script("ch.py", tmp_path, *flags(fake_llm)).returncode == 0
    assert all(read_answer(tmp_path, name)["challenger"] for name in names) and fake_llm.n_requests == 120
