"""Check that the embedded model answers in form, goes with its parent, or is named as missing."""
import os
import signal
import time
from pathlib import Path

import pytest
from conftest import eventually, finish, kill, ledger_lines, read_answer, run_script, start_script

from codedata.conversation.turn import Form
from codedata.llm.embedded import NOISE

pytestmark = pytest.mark.embedded
FLAGS = ("--llm", "embedded")


def parent(pid) -> int:
    """Return the parent of a living process, 0 where there is none."""
    try:
        state, parent_pid = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:2]
    except OSError:
        return 0
    return 0 if state == "Z" else int(parent_pid)


def children(pid: int) -> list[str]:
    return [path.name for path in Path("/proc").glob("[0-9]*") if parent(path.name) == pid]


def test_both_answers_are_the_model_s_own_well_formed_words(tmp_path):
    patch = "diff --git a/lib/quagga.py b/lib/quagga.py\n+fix\n"   # a file that it does not name
    tmp_path.with_prompts(1).with_commits(1, files=["lib/quagga.py"], patch=patch)
    for script, field in (("king.py", "king"), ("ch.py", "challenger")):
        done = run_script(script, tmp_path, *FLAGS, timeout_s=280)
        assert done.returncode == 0 and NOISE in done.stderr, done.stderr
        assert not Form().problem(read_answer(tmp_path, "prompts_1_1_1")[field])
    for line in ledger_lines(tmp_path / "answer"):
        call, = line["calls"]
        assert call["model"] == "smollm2-135m-instruct" and call["tokens_out"] > 10
        assert line["cost_usd"] == 0


def test_a_history_longer_than_the_context_is_cut_and_answered(tmp_path):
    roles = ("system", "user", *("assistant", "user") * 9)
    tmp_path.with_prompts(1, messages=[
        {"role": role, "content": "The parser drops the last token. " * 15} for role in roles])
    tmp_path.with_settings({"max_prompt_tokens": 900})
    king = run_script("king.py", tmp_path, *FLAGS, timeout_s=280)
    assert king.returncode == 0, king.stderr
    line, = ledger_lines(tmp_path / "answer")
    assert "messages" in line["cut"] and line["calls"][0]["tokens_in"] <= 900


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_model_s_process_ends_with_its_parent_however_that_ends(tmp_path, number):
    tmp_path.with_prompts(1)
    process = start_script("king.py", tmp_path, *FLAGS)
    eventually(lambda: children(process.pid), 60)
    child, = children(process.pid)
    time.sleep(0.5)
    if number == signal.SIGKILL:
        kill(process)
    else:
        process.send_signal(number)
        finish(process, 280)
    eventually(lambda: not parent(child))


def test_missing_wheels_are_named_with_the_other_ways(tmp_path):
    tmp_path.with_prompts(1)
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\nsys.modules['xllamacpp'] = None\n")   # as if it were not installed
    king = run_script("king.py", tmp_path, *FLAGS, env={"PYTHONPATH": str(tmp_path)})
    assert king.returncode == 2 and "no wheel for this platform" in king.stderr
    assert "--llm NAME" in king.stderr
    assert os.listdir(tmp_path / "answer") and not ledger_lines(tmp_path / "answer")
