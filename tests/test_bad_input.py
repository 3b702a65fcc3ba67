"""Check that rubbish gives a named error and exit code 2, or one failed item."""
import sys

import pytest
from conftest import REPO, answers, flags_for, ledger_lines, run_script
from programs import run_program
from root import a_prompt, turn_of, write_json


def test_every_broken_record_is_named_at_once_with_its_fields(tmp_path, run):
    entries = [a_prompt(1), a_prompt(2, messages="hi"), a_prompt(3, turn="3"), a_prompt(4), 17,
               a_prompt(6, instance_id="../../etc")]
    del entries[3]["assistant"]
    write_json(tmp_path / "prompt/p.json", entries)
    king = run("king")
    assert king.returncode == 1 and answers(tmp_path) == ["p_1"] and "broken 5" in king.stderr
    for fault in ("p.json[1] is not a Prompt: `messages` is a text, not a list", "`turn` is a text",
                  "`assistant` is missing", "p.json[4] is not a Prompt: it is a number",
                  "../../etc"):
        assert fault in king.stderr


def test_one_stem_in_two_answer_directories_ends_with_2(answered_root, run):
    write_json(answered_root / "answer_3/prompts_5_1_1.json", {})
    king = run("king")
    assert king.returncode == 2
    assert "answer/prompts_5_1_1.json and answer_3/prompts_5_1_1.json" in king.stderr


@pytest.mark.parametrize("rubbish, fault", [("a\x00b", "NUL"), ("a\ud800b", "lone surrogate")])
def test_nul_bytes_and_lone_surrogates_break_their_record_and_fail_their_answer_alone(
        tmp_path, run, fake_llm, rubbish, fault):
    write_json(tmp_path / "prompt/p.json",
               [a_prompt(1), a_prompt(2, assistant=rubbish), a_prompt(3)])
    fake_llm.always(lambda r: turn_of("ls", rubbish) if r.task == "task 3" else None)
    king = run("king")
    assert king.returncode == 1 and king.stderr.count(fault) == 2 and answers(tmp_path) == ["p_1"]


# root has no such limit: as another user, without the two capabilities that lift it. It counts all
# threads of a user
WITH_THREADS = """
if [ $(id -u) = 0 ]
then exec setpriv --ruid=61234 --bounding-set=-sys_admin,-sys_resource prlimit --nproc=$1 "${@:2}"
else exec prlimit --nproc=$(($1 + $(ps -L -u $(id -u) | wc -l))) "${@:2}"
fi
"""


@pytest.mark.parametrize("n_threads", ["1", "8"])   # no worker, some
def test_a_machine_that_gives_no_more_threads_is_trouble_and_what_is_in_flight_is_kept(
        tmp_path, run, fake_llm, n_threads):
    tmp_path.with_prompts(60)
    fake_llm.latency_s = 0.5
    king = run_program("bash", "-c", WITH_THREADS, "bash", n_threads, sys.executable,
                       REPO / "king.py", "--root", tmp_path, *flags_for(fake_llm, "--workers", 50))
    assert king.returncode == 1
    assert "Lower --workers" in king.stderr
    assert "Traceback" not in king.stderr
    assert len(answers(tmp_path)) == fake_llm.n_requests
    assert not ledger_lines(tmp_path / "answer", state="failed")
    assert run("king").returncode == 0


def test_a_root_that_is_not_there_is_said_and_an_empty_one_is_no_error(tmp_path):
    king = run_script("king.py", tmp_path)
    assert king.returncode == 0 and "nothing there" in king.stderr
    king = run_script("king.py", tmp_path / "typo", cwd=tmp_path)
    assert king.returncode == 2 and "typo" in king.stderr and not (tmp_path / "typo").exists()
    assert "must name a directory" in run_script("king.py", tmp_path, "--root", "").stderr
    status = run_script("status.py", tmp_path, "--root", "/", timeout_s=30)
    assert status.returncode == 2 and "/ is no root" in status.stderr
