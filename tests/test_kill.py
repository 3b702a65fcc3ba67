"""Check that a killed run loses nothing, and pays twice for no more than what was in flight."""
import json
import os
import random
import shutil
import signal
import threading
from collections import Counter
from functools import partial

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
    turn_of,
    write_commits,
    write_prompts,
    write_toml,
)
from fake_judges import verdict
from fake_llm import HANG
from killed import is_killed_at

from codedata.ledger import Ledger
from codedata.llm.reply_log import ReplyLog, Spares

N, WORKERS = 300, 32
USD_A_CALL = 120e-6
PRICE = '[prices]\n"m" = { in = 1.0, out = 1.0 }\n'


@pytest.fixture
def start(tmp_path, fake_llm):
    """Return a function: start("king.py", …) starts a process on tmp_path."""
    return lambda script, *more: start_script(
        script, tmp_path, *flags_for(fake_llm, "--model", "m", "--workers", WORKERS, *more))


def test_three_sigkills_lose_no_record_and_pay_again_only_for_what_was_in_flight(
        tmp_path, fake_llm, run, start):
    names = write_prompts(tmp_path, N)
    write_toml(tmp_path, more=PRICE)
    to_the_end = f"king --model m --workers {WORKERS}"
    fake_llm.latency_s = 0.15
    draw, kept = random.Random(os.getpid()), {}
    for k in range(3):
        process = start("king.py")
        fake_llm.wait_for(int((k + draw.uniform(0.3, 0.9)) * N / 4), "answered")
        kill(process)
        for name in answers(tmp_path):
            text = read_answer(tmp_path, name)["king"]   # parses: no torn file
            assert kept.setdefault(name, text) == text   # and none is made twice
    eventually(lambda: fake_llm.in_flight == 0)
    last = run(to_the_end)
    assert last.returncode == 0, last.stderr
    made = {name: read_answer(tmp_path, name)["king"] for name in answers(tmp_path)}
    assert sorted(made) == sorted(names) and all(made.values()) and made.items() >= kept.items()
    paid = Counter(request.raw for request in fake_llm.answered)
    paid_again = sum(n - 1 for n in paid.values())
    # each worker had at most one answer that was not on disk
    assert len(paid) == N and paid_again <= 3 * WORKERS
    lost_usd = round((N + paid_again) * USD_A_CALL - spent_usd(tmp_path), 9)
    # what the ledgers say was spent: all but the lost replies
    assert 0 <= lost_usd <= 3 * WORKERS * USD_A_CALL
    assert run(to_the_end).returncode == 0 and len(fake_llm.answered) == N + paid_again


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_term_signal_lets_calls_finish_so_that_none_is_paid_twice(tmp_path, fake_llm, run, start,
                                                                    number):
    write_prompts(tmp_path, 120)
    fake_llm.latency_s = 0.2
    process = start("king.py")
    fake_llm.wait_for(40, "answered")
    stopped = kill(process, number)
    assert stopped.returncode == 130 and "stopping" in stopped.stderr and "again:" in stopped.stderr
    assert len(answers(tmp_path)) == len(fake_llm.answered) == fake_llm.n_requests
    assert run("king --model m").returncode == 0
    assert fake_llm.n_requests == 120 == len(answers(tmp_path))


def test_a_second_signal_ends_at_once_and_says_what_is_lost(tmp_path, fake_llm, start):
    write_prompts(tmp_path, 5)
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


def test_a_kill_between_record_and_ledger_line_is_adopted_and_its_cost_counted(
        tmp_path, fake_llm, run, status):
    [name] = write_prompts(tmp_path, 1)
    write_toml(tmp_path, more=PRICE)
    run("king --model m")
    line, = ledger_lines(tmp_path / "answer")
    kept = {"stage": "king", "request": "r", "attempt": 0, "call": line["calls"][0],
            "reply": {"text": "x", "reasoning": "", "finish_reason": "stop", "model": "m"}}
    # torn
    (tmp_path / "answer/_ledger.jsonl").write_text(
        '{"stage": "king", "item": "prompts_1_1_1", "sta')
    partial = tmp_path / f"answer/_partial/{name}.jsonl"
    partial.parent.mkdir(exist_ok=True)
    partial.write_text(json.dumps(kept) + "\n")
    assert "adopted 1" in status("king")
    assert run("king --model m").returncode == 0 and fake_llm.n_requests == 1
    assert spent_usd(tmp_path) == pytest.approx(USD_A_CALL) and not partial.exists()
    assert "done 1" in status("king")


# system calls that change what is on disk; an audit hook does not see all of them
CALLS = ("write", "fsync", "replace", "rename", "ftruncate", "unlink")


def plant(count) -> None:
    """Have count() called before each of CALLS."""
    def counted(call):
        def before(*args, **kwargs):
            count()
            return call(*args, **kwargs)
        return before
    for name in CALLS:
        setattr(os, name, counted(getattr(os, name)))


def edit_prompt(root) -> None:
    prompts = root / "prompt/prompts_1_1.json"
    prompts.write_text(prompts.read_text().replace("task 1", "task one"))


def one_judge_short(root, fake_llm, run) -> None:
    """Score the answer by the first of two judges."""
    toml = root / "chain.toml"
    toml.write_text(toml.read_text() + '[judge]\nmodels = ["a"]\norder = "king_first"\n')
    assert run("ch").returncode == 0
    fake_llm.always(verdict())
    assert run("validate").returncode == 0
    toml.write_text(toml.read_text().replace('["a"]', '["a", "b"]'))


# script: what is done before it runs and is killed
KILLED = {"first": ("king", lambda *_: None), "again": ("king", lambda root, *_: edit_prompt(root)),
          "in parts": ("validate", one_judge_short)}


@pytest.mark.parametrize("case", KILLED)
def test_a_kill_between_any_two_system_calls_costs_no_reply_that_was_kept(
        tmp_path, fake_llm, case):
    script, prepare = KILLED[case]
    before = tmp_path / "before"
    before.mkdir()

    def run_in(root, words: str):
        return run_script(f"{words}.py", root, *flags_for(fake_llm, "--workers", 1))

    write_prompts(before, 1)
    write_commits(before, 1)
    write_toml(before, more=PRICE)
    if case != "first":
        assert run_in(before, "king").returncode == 0
    prepare(before, fake_llm, partial(run_in, before))
    for step in range(100):
        root = tmp_path / str(step)
        shutil.copytree(before, root)
        n_before = len(fake_llm.answered)
        killed = is_killed_at(step, partial(run_in, root, script), plant)
        is_kept = any('"reply":{' in path.read_text() and path.read_text().endswith("\n")
                      for path in root.glob("*/_partial/*.jsonl")) or not killed
        is_kept |= len(fake_llm.answered) == n_before
        is_kept |= bool(ledger_lines(root / {"validate": "score"}.get(script, "answer"),
                                     stage=script)[int(case in ("again", "in parts")):])
        done = run_in(root, script)
        assert done.returncode == 0 and "edited" not in done.stderr and "adopted" not in done.stderr
        assert len(fake_llm.answered) - n_before == 1 + (not is_kept), (step, done.stderr)
        if not killed:
            break
    assert "done 1" in run_in(root, script).stderr and not killed and step > 5


@pytest.mark.parametrize("with_answers", [True, False])
def test_kept_replies_that_cannot_be_opened_cost_their_item_alone(tmp_path, run, with_answers):
    name, other = write_prompts(tmp_path, 2)
    if with_answers:
        run("king")
        (tmp_path / "answer/_ledger.jsonl").unlink()
    (tmp_path / f"answer/_partial/{name}.jsonl").mkdir(parents=True)
    done = run("king")
    assert done.returncode == 1 and "has kept replies that cannot be read" in done.stderr
    done_items = ledger_lines(tmp_path / "answer", state="adopted" if with_answers else "done")
    assert [line["item"] for line in done_items] == [other]


def test_two_processes_on_one_directory_the_second_names_the_first(tmp_path, fake_llm, run, start):
    write_prompts(tmp_path, 4)
    go_on = threading.Event()
    fake_llm.always(lambda request: go_on.wait(60) and None)
    first = start("king.py")
    fake_llm.wait_for(4, "in_flight")
    for script in ("king", "ch"):
        other = run(script)
        assert other.returncode == 2 and f"king.py (process {first.pid}" in other.stderr
    go_on.set()
    assert finish(first).returncode == 0 and fake_llm.n_requests == 4


def test_shards_share_a_root_and_together_ask_once_for_each_prompt(tmp_path, fake_llm, run, start):
    names = write_prompts(tmp_path, 60)
    fake_llm.latency_s = 0.1
    shards = [start("king.py", "--shard", f"{i}/3") for i in range(3)]
    assert [finish(process).returncode for process in shards] == [0, 0, 0]
    assert fake_llm.n_requests == 60 and sorted(answers(tmp_path)) == sorted(names)
    assert {p.name for p in tmp_path.glob("answer*")} == {"answer", "answer_0", "answer_1",
                                                          "answer_2"}
    assert run("king --model m").returncode == 0 and fake_llm.n_requests == 60
    write_commits(tmp_path, 60)
    assert run("ch --model m").returncode == 0
    assert all(read_answer(tmp_path, name)["challenger"] for name in names)
    assert fake_llm.n_requests == 120


def test_the_recycled_files_of_items_that_come_again_lose_no_reply_also_where_one_is_removed(
        tmp_path):
    ledger, spares = Ledger(tmp_path), Spares()
    for items in (("one", "two"), ("one",), ("one", "two"), ("two", "three", "one")):
        logs = [ReplyLog(tmp_path, "validate", item, ledger, spares=spares) for item in items]
        for item, log in zip(items, logs, strict=True):
            log.save("request", 0, {"text": item}, {"id": item})
            kept, = (json.loads(line) for line in log.path.read_text().splitlines()
                     if line.endswith("}"))
            assert kept["reply"] == {"text": item}
            if item == "three":
                log.path.unlink()   # by somebody else, as below
        for log in logs:
            log.finish(made=True)
        left = [*(tmp_path / "_partial").iterdir()]
        assert all(path.name.startswith("_tmp.") for path in left)
        left[0].unlink()
    spares.close()
    assert not [*(tmp_path / "_partial").iterdir()]
