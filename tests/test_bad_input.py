"""Check that rubbish gives a named error and exit code 2, or one failed item."""
import subprocess
import sys

import pytest
from conftest import (
    REPO,
    a_prompt,
    answers,
    edit,
    flags_for,
    ledger_lines,
    run_on_full_disk,
    run_script,
    turn_of,
    write_json,
    write_prompts,
    write_toml,
)
from fake_llm import CUT, HTML


def test_every_broken_record_is_named_at_once_with_its_fields(tmp_path, run):
    entries = [a_prompt(1), a_prompt(2, messages="hi"), a_prompt(3, turn="3"), a_prompt(4), 17,
               a_prompt(6, instance_id="../../etc")]
    del entries[3]["assistant"]
    write_json(tmp_path / "prompt/p.json", entries)
    half = tmp_path / "prompt/half.json"
    half.write_text('[{"instance_id": "a')
    king = run("king")
    assert king.returncode == 1 and answers(tmp_path) == ["p_1"] and "broken 6" in king.stderr
    assert "half.json is not readable JSON" in king.stderr and len(half.read_text()) == 19
    for fault in ("p.json[1] is not a Prompt: `messages` is a text, not a list", "`turn` is a text",
                  "`assistant` is missing", "p.json[4] is not a Prompt: it is a number",
                  "../../etc"):
        assert fault in king.stderr


def test_a_broken_answer_is_left_as_it_is_by_both(answered_root, run, fake_llm):
    half, lacking, waiting = (answered_root / f"answer/prompts_5_1_{i}.json" for i in (1, 2, 3))
    half.write_text(half.read_text()[:50])
    edit(lacking, lambda record: record.pop("messages"))
    edit(waiting, challenger=None)
    before = half.read_text(), lacking.read_text()
    for script, calls in (("king", 0), ("ch", 1)):
        done = run(script)
        assert done.returncode == 1 and "broken 2" in done.stderr and fake_llm.n_requests == calls
        assert "prompts_5_1_1.json is not readable JSON" in done.stderr
        assert "`messages` is missing" in done.stderr
    assert before == (half.read_text(), lacking.read_text())


def test_one_stem_in_two_answer_directories_ends_with_2(answered_root, run):
    write_json(answered_root / "answer_3/prompts_5_1_1.json", {})
    king = run("king")
    assert king.returncode == 2
    assert "answer/prompts_5_1_1.json and answer_3/prompts_5_1_1.json" in king.stderr


@pytest.mark.parametrize("name", ["prompt", "answer", "commit", "answer_0"])
def test_a_file_where_a_directory_should_be_ends_with_2(tmp_path, run, fake_llm, name):
    if name != "prompt":
        write_prompts(tmp_path, 1)
    (tmp_path / name).write_text("")
    done = run("ch" if name == "commit" else "king")
    assert done.returncode == 2
    assert "is a file where a directory should be" in done.stderr
    assert name in done.stderr
    assert fake_llm.n_requests == 0


def test_a_full_disk_is_named_and_what_was_written_stays(tmp_path, run, fake_llm):
    entries = [a_prompt(i) for i in (1, 2)]
    entries[1]["messages"][0]["content"] = "x" * 100_000
    write_json(tmp_path / "prompt/p.json", entries)
    run_on_full_disk("king.py", tmp_path, 50_000, *flags_for(fake_llm, "--workers", 1))
    assert answers(tmp_path) == ["p_1"] and not list((tmp_path / "answer").glob("_tmp*"))
    assert run("king").returncode == 0   # there is room again
    # the kept reply was served
    assert answers(tmp_path) == ["p_1", "p_2"] and fake_llm.n_requests == 2


@pytest.mark.parametrize("rubbish, fault", [("a\x00b", "NUL"), ("a\ud800b", "lone surrogate")])
def test_nul_bytes_and_lone_surrogates_break_their_record_and_fail_their_answer_alone(
        tmp_path, run, fake_llm, rubbish, fault):
    write_json(tmp_path / "prompt/p.json",
               [a_prompt(1), a_prompt(2, assistant=rubbish), a_prompt(3)])
    fake_llm.always(lambda r: turn_of("ls", rubbish) if r.task == "task 3" else None)
    king = run("king")
    assert king.returncode == 1 and king.stderr.count(fault) == 2 and answers(tmp_path) == ["p_1"]


# tests/llm/test_http.py has each
@pytest.mark.parametrize("fault, reason", [(HTML, "Welcome"), (CUT, "connection failed")])
def test_an_answer_that_is_none_fails_its_item_alone(tmp_path, run, fake_llm, fault, reason):
    write_prompts(tmp_path, 3)
    write_toml(tmp_path)
    fake_llm.always(lambda r: fault if r.task == "task 2" else None)
    king = run("king --workers 1")
    assert king.returncode == 1 and reason in king.stderr, king.stderr
    assert answers(tmp_path) == ["prompts_3_1_1", "prompts_3_1_3"]
    fake_llm.always(None)
    assert run("king").returncode == 0


# root has no such limit: as another user, without the two capabilities that lift it. It counts all
# threads of a user
WITH_THREADS = """
if [ $(id -u) = 0 ]
then exec setpriv --ruid=61234 --bounding-set=-sys_admin,-sys_resource prlimit --nproc=$1 "${@:2}"
else exec prlimit --nproc=$(($1 + $(ps -L -u $(id -u) | wc -l))) "${@:2}"
fi
"""


@pytest.mark.parametrize("n_threads", [1, 8], ids=["no worker", "some workers"])
def test_a_machine_that_gives_no_more_threads_is_trouble_and_what_is_in_flight_is_kept(
        tmp_path, run, fake_llm, n_threads):
    write_prompts(tmp_path, 60)
    fake_llm.latency_s = 0.5
    command = [sys.executable, REPO / "king.py", "--root", tmp_path,
               *flags_for(fake_llm, "--workers", 50)]
    king = subprocess.run(["bash", "-c", WITH_THREADS, "bash", str(n_threads), *command],
                          capture_output=True, text=True, timeout=60)
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
