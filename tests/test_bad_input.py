"""Check that rubbish gives a named error and exit code 2, or one failed item."""
import resource
import socket
import subprocess
import sys

import pytest
from conftest import (
    KEY,
    REPO,
    a_prompt,
    answers,
    edit,
    flags_for,
    ledger_lines,
    read_answer,
    run_script,
    turn_of,
    write_commits,
    write_json,
    write_prompts,
    write_toml,
)
from fake_llm import DROP, HTML, Say, Status


def king_of_chutes(root, fake):
    """Run king.py with an endpoint and a key from its environment."""
    env = {"CHUTES_BASE_URL": fake.base_url, "CHUTES_API_KEY": KEY}
    return run_script("king.py", root, "--workers", "1", env=env)


def test_no_key_is_said_with_the_ways_out(tmp_path):
    write_prompts(tmp_path, 2)
    king = run_script("king.py", tmp_path)
    assert king.returncode == 2
    assert "CHUTES_API_KEY" in king.stderr
    assert "--llm embedded" in king.stderr
    assert "Traceback" not in king.stderr and not answers(tmp_path)


def test_a_key_refused_at_the_first_call_ends_with_2_and_fails_no_item(tmp_path, fake_llm):
    write_prompts(tmp_path, 5)
    fake_llm.always(Status(401, {"error": {"message": f"Incorrect API key provided: {KEY}"}}))
    king = king_of_chutes(tmp_path, fake_llm)
    assert king.returncode == 2 and "refused the key" in king.stderr and fake_llm.n_requests == 1
    assert KEY not in king.stderr and not ledger_lines(tmp_path / "answer")


def test_a_key_refused_in_mid_run_ends_with_1_and_keeps_what_is_done(tmp_path, fake_llm):
    write_prompts(tmp_path, 5)
    fake_llm.always(lambda r: None if r.n < 2 else Status(401, "gone"))
    king = king_of_chutes(tmp_path, fake_llm)
    assert king.returncode == 1 and len(answers(tmp_path)) == 2 and fake_llm.n_requests == 3
    assert "left 3" in king.stderr and not ledger_lines(tmp_path / "answer", state="failed")
    fake_llm.always(None)
    assert king_of_chutes(tmp_path, fake_llm).returncode == 0 and len(answers(tmp_path)) == 5


def test_an_endpoint_that_nobody_answers_at_stops_the_run_and_fails_no_item(tmp_path):
    write_prompts(tmp_path, 40)
    write_toml(tmp_path)
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}/v1"
        king = run_script("king.py", tmp_path, "--llm-base-url", url)
    assert king.returncode == 2 and "does not answer" in king.stderr and url in king.stderr
    assert not ledger_lines(tmp_path / "answer") and "left 40" in king.stderr


def test_half_a_prompt_file_is_named_and_the_others_go_on(tmp_path, run):
    write_prompts(tmp_path, 2, stem="good")
    write_prompts(tmp_path, 2, stem="half")
    path = tmp_path / "prompt" / "half.json"
    path.write_text(path.read_text()[:90])
    king = run("king")
    assert king.returncode == 1 and "half.json is not readable JSON" in king.stderr
    assert answers(tmp_path) == ["good_1", "good_2"] and len(path.read_text()) == 90


def test_every_broken_record_is_named_at_once_with_its_fields(tmp_path, run):
    entries = [a_prompt(1), a_prompt(2, messages="hi"), a_prompt(3, turn="3"), a_prompt(4), 17,
               a_prompt(6, instance_id="../../etc")]
    del entries[3]["assistant"]
    write_json(tmp_path / "prompt" / "p.json", entries)
    king = run("king")
    assert king.returncode == 1 and answers(tmp_path) == ["p_1"] and "broken 5" in king.stderr
    for fault in ("p.json[1] is not a Prompt: `messages` is a text, not a list", "`turn` is a text",
                  "`assistant` is missing", "p.json[4] is not a Prompt: it is a number",
                  "../../etc"):
        assert fault in king.stderr


def test_a_broken_answer_is_left_as_it_is_by_both(answered_root, run, fake_llm):
    half, lacking, waiting = (answered_root / "answer" / f"prompts_5_1_{i}.json" for i in (1, 2, 3))
    half.write_text(half.read_text()[:50])
    edit(lacking, lambda record: record.pop("messages"))
    edit(waiting, lambda record: record.update(challenger=None))
    before = half.read_text(), lacking.read_text()
    for script, calls in (("king", 0), ("ch", 1)):
        done = run(script)
        assert done.returncode == 1 and "broken 2" in done.stderr and fake_llm.n_requests == calls
        assert "prompts_5_1_1.json is not readable JSON" in done.stderr
        assert "`messages` is missing" in done.stderr
    assert before == (half.read_text(), lacking.read_text())


def test_a_broken_pr_record_is_named_once_and_its_prompts_wait(tmp_path, run):
    write_prompts(tmp_path, 3)
    write_commits(tmp_path, 3)
    (tmp_path / "commit" / "proj__repo-2.json").write_text("{")
    run("king")
    ch = run("ch")
    assert ch.returncode == 1 and ch.stderr.count("proj__repo-2.json is not readable JSON") == 1
    assert [bool(read_answer(tmp_path, f"prompts_3_1_{i}")["challenger"]) for i in (1, 2, 3)] == [
        True, False, True]


def test_one_stem_in_two_answer_directories_ends_with_2(answered_root, run):
    write_json(answered_root / "answer_3" / "prompts_5_1_1.json", {})
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
    """Set a file-size limit in place of a full disk: a mount needs rights that a test may lack."""
    entries = [a_prompt(i) for i in (1, 2)]
    entries[1]["messages"][0]["content"] = "x" * 100_000
    write_json(tmp_path / "prompt" / "p.json", entries)
    king = subprocess.run(
        [sys.executable, REPO / "king.py", "--root", tmp_path, *flags_for(fake_llm), "--workers",
         "1"], capture_output=True, text=True, cwd=tmp_path,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000)))
    assert king.returncode == 1
    assert "could not be written" in king.stderr
    assert "Traceback" not in king.stderr
    assert answers(tmp_path) == ["p_1"] and not list((tmp_path / "answer").glob("_tmp*"))
    assert run("king").returncode == 0   # there is room again
    # the kept reply was served
    assert answers(tmp_path) == ["p_1", "p_2"] and fake_llm.n_requests == 2


def test_a_prompt_longer_than_the_context_fails_alone_and_says_what_to_do(tmp_path, run, fake_llm):
    write_prompts(tmp_path, 2)
    write_toml(tmp_path)
    fake_llm.always(lambda r: Status(400, {"error": {"message": "context length 8192 exceeded"}})
                              if "task 1" in r.text else None)
    king = run("king")
    assert king.returncode == 1
    assert answers(tmp_path) == ["prompts_2_1_2"]
    assert fake_llm.n_requests == 2
    line, = ledger_lines(tmp_path / "answer", state="failed")
    assert "context length 8192" in line["error"] and "max_prompt_tokens" in line["error"]


def test_a_history_over_max_prompt_tokens_is_cut_and_the_ledger_says_so(tmp_path, run, fake_llm):
    middle = [m for i in range(10)
              for m in ({"role": "assistant", "content": f"step {i} " + "y" * 300},
                        {"role": "user", "content": f"Observation: {i} " + "z" * 300})]
    messages = [{"role": "system", "content": "the rules"}, {"role": "user", "content": "the task"},
                *middle]
    write_prompts(tmp_path, 1, messages=messages)
    write_toml(tmp_path, {"max_prompt_tokens": 700})
    king = run("king")
    assert king.returncode == 0 and "cut to fit" in king.stderr
    sent = fake_llm.requests[0].messages
    assert sent[0] == messages[0]
    assert sent[1]["content"].startswith("the task")
    assert len(sent) < len(messages)
    assert sent[-2] == messages[-2] and sent[-1]["content"].startswith(messages[-1]["content"])
    assert "left out here" in fake_llm.requests[0].text and len(fake_llm.requests[0].text) < 2100
    assert "of 22 messages" in ledger_lines(tmp_path / "answer")[0]["cut"]
    # the record keeps the whole history
    assert read_answer(tmp_path, "prompts_1_1_1")["messages"] == messages


@pytest.mark.parametrize("rubbish, fault", [("a\x00b", "NUL"), ("a\ud800b", "lone surrogate")])
def test_nul_bytes_and_lone_surrogates_break_their_record_and_fail_their_answer_alone(
        tmp_path, run, fake_llm, rubbish, fault):
    write_json(tmp_path / "prompt" / "p.json",
               [a_prompt(1), a_prompt(2, assistant=rubbish), a_prompt(3)])
    fake_llm.always(lambda r: turn_of("ls", rubbish) if r.task == "task 3" else None)
    king = run("king")
    assert king.returncode == 1 and king.stderr.count(fault) == 2 and answers(tmp_path) == ["p_1"]


@pytest.mark.parametrize("fault, reason", [(HTML, "Welcome to the portal"),
                                           (DROP, "connection failed"),
                                           (Say(""), "empty answer"),
                                           (Status(503, "busy"), "HTTP 503")])
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


@pytest.mark.parametrize("n_threads", [1, 2, 8], ids=["no worker", "no watch", "some workers"])
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


def test_an_empty_root_is_said_and_is_no_error(tmp_path):
    king = run_script("king.py", tmp_path)
    assert king.returncode == 0 and "nothing there" in king.stderr


def test_a_root_that_is_not_there_is_said(tmp_path):
    king = run_script("king.py", tmp_path / "typo", cwd=tmp_path)
    assert king.returncode == 2 and "typo" in king.stderr and not (tmp_path / "typo").exists()
