"""Test the state table: what a re-run makes, keeps, names or leaves, after a person's changes."""
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from threading import Thread

import pytest
from conftest import (
    REPO,
    answers,
    edit,
    flags_for,
    ledger_lines,
    read_answer,
    run_script,
    spent_usd,
)
from fake_llm import Status
from line_tables import rows
from programs import run_program
from root import a_prompt, read_json, turn_of, write_files

from codedata import config
from codedata.agent.trajectory_names import new_trajectory
from codedata.bounded import read_bounded
from codedata.disk import ledger
from codedata.disk.store import Store
from codedata.errors import Trouble
from codedata.records import Answer
from codedata.run import cli
from codedata.settings import Price

NAME = "prompts_5_1"          # of the prompt file of answered_root; its items are NAME_1 to NAME_5
MINE = turn_of("pwd", "mine.")
BETTER = turn_of("ls", "better.")


@pytest.fixture
def root(answered_root):
    return answered_root


def edit_prompts(root, change) -> str:
    """Change the list of prompts by hand; return its text before."""
    path = root / f"prompt/{NAME}.json"
    before = path.read_text()
    edit(path, change)
    return before


def change_task(root, i: int) -> str:
    return edit_prompts(
        root, lambda prompts: prompts[i - 1]["messages"][1].update(content=f"task {i} changed"))


def edit_commit(root, i: int, **fields) -> None:
    edit(root / f"commit/proj__repo-{i}.json", **fields)


def answer_path(root, i: int):
    return root / f"answer/{NAME}_{i}.json"


def edit_answer(root, i: int, **fields) -> None:
    edit(answer_path(root, i), **fields or {"king": MINE})


def asked(fake) -> list[str]:
    """Return the tasks of the requests since the last call."""
    tasks = sorted(request.task for request in fake.requests)
    fake.requests.clear()
    return tasks


def all_done(status) -> bool:
    """Return whether both scripts say that there is nothing left of the five items to do."""
    return all("done 5" in status(script) for script in ("king", "ch"))


# what a person edits -----------------------------------------------------------------------------

def test_a_king_edited_by_hand_stays_and_costs_nothing_also_behind_a_later_stage(
        root, run, fake_llm):
    edit_answer(root, 2)
    king = run("king").stderr
    assert "edited 1 (kept)" in king and f"{NAME}_2" in king
    assert "done 5" in run("ch").stderr and fake_llm.n_requests == 0
    run("ch --force --only *_2")   # writes the same record
    change_task(root, 2)
    assert "edited 1 (kept, 1 also stale)" in run("king").stderr
    assert read_answer(root, f"{NAME}_2")["king"] == MINE


def test_an_edited_pr_record_makes_the_challenger_s_answer_stale_where_it_is_read(
        root, run, status, fake_llm):
    edit_commit(root, 3, created_at=None, licence="MIT", note="mine")   # not read
    edit_prompts(root, lambda prompts: prompts[0].update(turn=7, note="mine"))
    assert all_done(status)
    edit_commit(root, 3, description="corrected")
    assert "done 5" in status("king") and "stale 1" in status("ch")
    run("king"), run("ch")
    assert asked(fake_llm) == ["task 3"] and all_done(status)


def test_a_corrected_reference_is_copied_over_without_a_call(root, status):
    old = read_answer(root, f"{NAME}_1")
    edit_prompts(root, lambda prompts: prompts[0].update(assistant=BETTER))
    king = run_script("king.py", root)   # without a key: none is needed
    assert king.returncode == 0 and "without a call" in king.stderr
    assert read_answer(root, f"{NAME}_1") == {**old, "assistant": BETTER}
    assert all_done(status)


def test_an_added_entry_without_order_is_numbered_behind_the_highest(root, run, fake_llm):
    new = a_prompt(9)
    del new["order"]
    edit_prompts(root, lambda prompts: prompts.insert(0, new))
    run("king")
    assert asked(fake_llm) == ["task 9"] and f"{NAME}_6" in answers(root)


def test_an_edit_made_while_the_answer_is_under_way_is_kept(root, run, fake_llm):
    change_task(root, 1)
    fake_llm.script(lambda request: edit_answer(root, 1))
    king = run("king")
    assert king.returncode == 1 and "the edit is kept" in king.stderr
    assert read_answer(root, f"{NAME}_1")["king"] == MINE


def test_an_edit_made_while_the_disk_is_waited_for_is_set_aside(root, capfd):
    store, name = Store(root, Answer).open(), f"{NAME}_1"
    change = store.begin(name, replace(store.read(name), challenger=BETTER), ("challenger",))
    store.sync(change)
    edit_answer(root, 1)
    change.place()
    aside = root / f"answer/_replaced/{name}.1.json"
    assert read_answer(root, name)["challenger"] == BETTER and read_json(aside)["king"] == MINE
    assert f"that version is now {aside}" in capfd.readouterr().err


def test_answers_moved_by_hand_stay_what_they_are_and_an_edited_history_is_answered_again_by_both(
        root, run, status, fake_llm):
    (root / "answer_1").mkdir()
    shutil.move(answer_path(root, 2), root / "answer_1")
    assert all_done(status)
    change_task(root, 2)
    answer_path(root, 5).unlink()
    for script in ("king", "ch"):
        run(script)
        assert asked(fake_llm) == ["task 2 changed", "task 5"] and "done 5" in status(script)
    assert read_answer(root, f"{NAME}_2")["messages"][1]["content"] == "task 2 changed"


# orphans -----------------------------------------------------------------------------------------

def test_a_prompt_deleted_from_the_middle_shifts_nothing_and_leaves_an_orphan(
        root, run, status, fake_llm):
    whole = edit_prompts(root, lambda prompts: prompts.pop(2))
    king = run("king").stderr
    assert "done 4" in king and "orphan 1" in king and f"{NAME}_3" in king
    assert fake_llm.n_requests == 0
    run("king --prune")
    assert answers(root) == [f"{NAME}_{i}" for i in (1, 2, 4, 5)]
    assert len(list((root / "answer/_replaced").glob(f"{NAME}_3.*"))) == 1
    assert "done 4" in status("king") and "orphan" not in status("king")
    (root / f"prompt/{NAME}.json").write_text(whole)
    run("king")
    for script in ("king --compact", "ch --status"):   # gone for every stage, then and later
        assert "missing 1" in status("ch") and run(script).returncode == 0
    shutil.rmtree(root / "prompt")
    assert run("king --prune").returncode == 2 and len(answers(root)) == 5


def test_an_unreadable_prompt_file_makes_no_orphans(root, run, status):
    path = root / f"prompt/{NAME}.json"
    path.write_text(path.read_text()[:-20])
    root.with_prompts(1, stem="other")
    assert "orphan" not in status("king")
    run("king --prune --limit 1 --no-retry")
    assert len(answers(root)) == 5


# --force, --refresh
# --------------------------------------------------------------------------------------------------

def test_force_on_one_item_keeps_its_challenger_and_puts_the_old_one_aside_edited_or_not(
        root, run, status, fake_llm):
    edit_answer(root, 3)
    for i in (2, 3):
        old = read_answer(root, f"{NAME}_{i}")
        fake_llm.script(BETTER)
        run(f"king --force --only *_{i}")
        assert asked(fake_llm) == [f"task {i}"]
        assert read_answer(root, f"{NAME}_{i}") == {**old, "king": BETTER}
        assert read_json(root / f"answer/_replaced/{NAME}_{i}.1.json") == old
    assert "done 5" in status("ch")


def test_a_forced_attempt_that_fails_leaves_the_old_answer_and_says_what_force_would_pay_again(
        root, run, status, fake_llm):
    fake_llm.script("bad", Status(400))
    said = run("king --force").stderr
    assert "wrote 4, failed 1" in said and "--force asks again for the 4 that" in said
    fake_llm.always(Status(404, "no such model"))
    assert run("king --force").returncode == 2
    fake_llm.requests.clear()
    assert all_done(status)
    assert run("king").returncode == 0 and fake_llm.n_requests == 0


def test_other_settings_make_nothing_stale_until_refresh_which_takes_a_changed_reference_too(
        root, run, fake_llm):
    king = run("king --model another").stderr
    assert "done 5" in king and "made with other settings 5" in king and fake_llm.n_requests == 0
    edit_prompts(root, lambda prompts: prompts[0].update(assistant=BETTER))
    run("king --model another --refresh")
    assert len(asked(fake_llm)) == 5 and read_answer(root, f"{NAME}_1")["assistant"] == BETTER
    assert "other settings" not in run("king --model another --status").stderr


# ledgers and kept replies ------------------------------------------------------------------------

def test_what_has_no_line_of_a_ledger_is_adopted_and_later_edits_are_seen(
        root, run, status, fake_llm):
    (root / "answer/_ledger.jsonl").unlink()
    root.with_prompts(1, stem="mine")
    shutil.copy(answer_path(root, 1), root / "answer/mine_1.json")   # by hand
    assert "adopted 6" in status("king")
    assert run("king").returncode == run("ch").returncode == 0
    assert fake_llm.n_requests == 0 and "done 6" in status("king")
    edit_answer(root, 1)
    assert "edited 1" in status("king")


def test_compacting_the_ledger_changes_no_state(root, run, status, fake_llm):
    run("king --force")
    edit_answer(root, 2)
    for _ in range(2):   # the second line of ch.py no longer finds the edit new
        run("ch --force --only *_2")
    fake_llm.script(*["bad"] * 3)
    edit_commit(root, 3, issue="changed")
    run("ch")
    before = status("king"), status("ch")
    n_lines = len(ledger_lines(root / "answer"))
    assert run("king --compact").returncode == 0
    assert len(ledger_lines(root / "answer")) < n_lines
    assert before == (status("king"), status("ch")) and "edited 1" in before[0]
    change_task(root, 2)
    run("king")
    assert read_answer(root, f"{NAME}_2")["king"] == MINE


def test_compacting_shards_again_and_again_leaves_the_money_as_it_was(tmp_path, run, status):
    names = tmp_path.with_prompts(4).prompts()
    tmp_path.with_settings(more='[prices]\n"m" = { in = 1.0, out = 2.0 }\n')
    run("king --model m --shard 0/1")
    for name in names:
        shutil.move(tmp_path / f"answer_0/{name}.json", tmp_path / "answer")
    run("king --model m --force")
    once = spent_usd(tmp_path)
    for _ in range(3):
        assert run("king --compact").returncode == 0
        assert spent_usd(tmp_path) == pytest.approx(once) and "done 4" in status("king")


def test_a_line_is_not_lost_where_another_process_is_killed_within_its_own(tmp_path):
    book = ledger.Ledger(tmp_path)
    book.append(tmp_path, {"stage": "s", "item": "a", "state": "done"})
    late = Thread(target=lambda: book.append(tmp_path, {"stage": "s", "item": "c", "cost_usd": 1}))
    with open(tmp_path / "_ledger.jsonl", "a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)   # as each writer does, till it ends
        file.write('{"stage": "s", "item": "b", "st')
        file.flush()
        late.start()
        late.join(0.2)
        assert late.is_alive()
    late.join()
    assert [line["item"] for line in ledger.read_lines(tmp_path / "_ledger.jsonl")] == ["a", "c"]


# failures ----------------------------------------------------------------------------------------


def test_what_failed_again_at_the_king_waits_at_the_challenger_till_the_edit_is_reverted(
        root, run, status, fake_llm):
    before = change_task(root, 1)
    edit_commit(root, 1, issue="changed")
    fake_llm.script("bad", "bad", "bad")
    king = run("king")
    assert king.returncode == 1 and "no bash block, 3 tries" in king.stderr
    assert len(asked(fake_llm)) == 3 and run("king --no-retry").returncode == 0
    assert "waiting 1" in run("ch").stderr and fake_llm.n_requests == 0
    (root / f"prompt/{NAME}.json").write_text(before)
    assert run("king").returncode == 0 and fake_llm.n_requests == 0
    run("ch")
    assert asked(fake_llm) == ["task 1"]


def test_what_failed_in_a_shard_is_made_once_by_a_plain_run_with_the_kept_replies(
        tmp_path, run, fake_llm):
    tmp_path.with_prompts(1).with_settings()
    fake_llm.script("bad", Status(400, "no"))
    assert sorted(run(f"king --shard {i}/2").returncode for i in (0, 1)) == [0, 1]
    assert [run("king").returncode for _ in range(3)] == [0, 0, 0]
    assert fake_llm.n_requests == 3   # the bad reply counted as the first try
    assert not list(tmp_path.glob("answer*/_partial/*"))


def in_a_shell(command: str, root, fake) -> subprocess.CompletedProcess:
    """Run a shell command with KING in it."""
    king = f"{sys.executable} {REPO}/king.py --root {root} --workers 1 {' '.join(flags_for(fake))}"
    return run_program("bash", "-c", command.replace("KING", king), cwd=root)


def test_many_failures_use_up_no_descriptors(tmp_path, fake_llm):
    tmp_path.with_prompts(120).with_settings({"retry_max": 0})
    fake_llm.always(lambda r: "bad" if r.n % 2 == 0 else Status(500, "no"))
    king = in_a_shell("ulimit -n 64; exec KING", tmp_path, fake_llm)
    assert king.returncode == 1 and "Too many" not in king.stderr and "left" not in king.stderr


@pytest.mark.parametrize("command, n_answers", [
    ("KING --help | true", 0), ("KING --show-config | true", 0),
    ("KING --limit 3 2>&1 >&- | true", 3), ("exec KING 2>&-", 6)])
def test_a_reader_that_goes_away_or_no_stderr_at_all_does_not_stop_a_script(
        tmp_path, fake_llm, command, n_answers):
    tmp_path.with_prompts(6)
    fake_llm.latency_s = 0.1
    done = in_a_shell(f"set -o pipefail; {command}", tmp_path, fake_llm)
    assert (done.returncode, done.stderr) == (0, "") and len(answers(tmp_path)) == n_answers


# what narrows a run ------------------------------------------------------------------------------

def test_a_prompt_without_a_pr_record_is_answered_by_the_king_alone(tmp_path, run, fake_llm):
    tmp_path.with_prompts(2).with_commits(1)
    run("king")
    fake_llm.requests.clear()
    ch = run("ch")
    assert ch.returncode == 0 and "no PR record" in ch.stderr and asked(fake_llm) == ["task 1"]
    tmp_path.with_commits(2, instance_id="proj__repo-1", issue="another")
    ch = run("ch")
    assert ch.returncode == 1 and "proj__repo-2.json is the record of 'proj__repo-1'" in ch.stderr


@pytest.mark.parametrize("flags, tasks", rows("""
--limit 3           | 1 2 3
--only *_1[0-3]     | 10 11 12 13
--only proj__repo-9 | 9
--only *_[4-6]      | 4 6
"""))
def test_only_limit_and_excluded_ids_narrow_the_run(tmp_path, run, fake_llm, flags, tasks):
    tmp_path.with_prompts(13).with_settings(more='[exclude]\nids = ["proj__repo-5"]\n')
    run(f"king {flags} --workers 1")
    assert fake_llm.prompts_seen == [f"task {i}" for i in tasks.split()]


# what is no regular file, and what somebody else has written -------------------------------------

def test_a_file_that_is_longer_than_its_size_is_read_up_to_the_limit():
    with pytest.raises(OSError, match="than 9 bytes"):
        read_bounded("/proc/self/stat", 9)   # of 0 bytes, as a file that grows while it is read


FREE = '[prices]\n"m" = { in = 0.0, out = 0.0 }\n"3" = { in = 0.0, out = 0.0 }\n'


@pytest.mark.parametrize("case", rows("""
prompt/p_2.json 1
prompt/p_2.json 0 --status
prompt/_ledger.jsonl 2 --status
answer/p_1_1.json 1
answer/p_1_1.json 0 --status
answer/_ledger.jsonl 2
answer/_ledger.jsonl 2 --status
answer/_ledger.jsonl 2 --compact
answer/_partial/p_1_1.jsonl 1
answer/_partial/x.jsonl 2 --budget 1 --model m
answer/_lock 2
answer/_lock.all 2
chain.toml 2
.env 2
"""))
def test_a_fifo_in_place_of_any_file_is_named_and_never_waited_for(tmp_path, run, case):
    place, code, *flags = case.split()
    tmp_path.with_prompts(1, stem="p_1").with_settings(more=FREE)
    path = tmp_path / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    done = run("king", *flags, timeout_s=20)
    assert done.returncode == int(code) and "Traceback" not in done.stderr
    assert path.name.removesuffix(".jsonl") in done.stderr and "not a regular file" in done.stderr


FOLDERS = """answer answer_0 attempt bug dp env export final prompt report score_chosen task
variants variants/chosen"""
OWN = """answer/_partial answer/_replaced answer/_reasoning answer/_ledger.jsonl answer/_lock.all
attempt/_rates bug/_candidates/_partial env/_sources export/_tmp task/_tmp/_x
variants/chosen/_partial"""


def test_a_link_in_place_of_a_folder_that_is_written_is_named_and_not_followed(tmp_path, run):
    root, mine = tmp_path / "root", tmp_path / "mine"
    write_files(mine, {"p_1_1.jsonl": "mine"})
    (tmp_path / "disk").with_prompts(1, stem="p_1")
    root.symlink_to("disk")   # the root itself may be one

    def load():
        return config.load(cli.parser("king.py").parse_args(["--root", str(root)]))
    for may_be_links in False, True:
        root.with_settings(more=f"[run]\nlinked_folders = {str(may_be_links).lower()}\n")
        for name in [*FOLDERS.split(), *OWN.split()]:
            shutil.rmtree(tmp_path / "disk" / name.partition("/")[0], ignore_errors=True)
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).symlink_to(mine)
            if may_be_links and name in FOLDERS.split():
                load()
                assert new_trajectory(root, name, "x") == root / name / "x.0.json"
            else:
                with pytest.raises(Trouble, match=f"root/{name} is a link"):
                    load()
            (root / name).unlink()
    (root / "answer").mkdir(exist_ok=True)
    for name in "_budget", "answer/_partial":
        (root / name).symlink_to(mine)
        done = run("king", "--root", root, "--budget", 1)
        assert done.returncode == 2 and f"{name} is a link" in done.stderr
    assert (mine / "p_1_1.jsonl").read_text() == "mine"


def test_a_record_over_the_limit_is_broken_and_not_read(tmp_path, run):
    tmp_path.with_prompts(1, stem="good")
    with open(tmp_path / "prompt/large.json", "wb") as file:
        file.truncate(1 << 40)   # a hole of a terabyte
    done = run("king", timeout_s=30)
    assert done.returncode == 1
    assert "larger than 200,000,000 bytes" in done.stderr
    os.truncate(tmp_path / "answer/_ledger.jsonl", 1 << 38)
    done = run("king", "--status", timeout_s=30)
    assert done.returncode == 2 and "larger than 20,000,000,000 bytes" in done.stderr
    assert answers(tmp_path) == ["good_1"]


CALL = json.loads('{"id": "a-1", "model": "m", "cost_usd": 0.25, "tokens_in": 1, "tokens_out": 1}')
ODD = """
{"item": ["x"]}
{"item": {}}
{"stage": 7}
{"state": {}}
{"at": 5}
{"wrote": "x"}
{"wrote": {"king": 7}, "state": "done"}
{"found": [1]}
{"parts": [[]]}
{"settings": {}}
{"detail": "x"}
{"entries": [7], "state": "done"}
{"entries": 7, "state": "done"}
{"earlier": {}}
{"instance_id": []}
{"error": [1]}
{"size": 1e400}
{"size": null, "state": "done"}
{"mtime_ns": "x", "state": "done"}
{"asked_again": 1180591620717411303424}
{"asked_again": -1e300, "state": "done"}
{"read": "\\ud800", "state": "done"}
{"item": "../x", "state": "done"}
{"detail": {"a": NaN}, "state": "excluded", "read": {}}
{"calls": 7}
{"calls": [7, "x", null]}
{"calls": [{"id": "z", "model": 3, "cost_usd": 1e400, "tokens_in": 1, "tokens_out": 1, \
"tokens_cached": NaN, "seconds": -1e300}]}
{"calls": [{"id": ["y"], "model": 3, "cost_usd": "much", "n": "x", "seconds": [], \
"tokens_in": 1, "tokens_out": 1}]}
"""


def test_lines_that_somebody_wrote_into_a_ledger_stop_nothing_and_lose_no_money(tmp_path, run):
    [name] = tmp_path.with_prompts(1).prompts()
    tmp_path.with_settings(more=FREE)
    odd = [json.loads(line) for line in ODD.strip().split("\n")]
    lines = [{"stage": "king", "item": name, "state": "failed", "calls": [{**CALL, "id": f"a-{i}"}],
              **line} for i, line in enumerate(odd)]
    (tmp_path / "answer").mkdir()
    # what compacting sums up has no ids
    for folder, more in (("answer", {}), ("prompt", {"calls": []})):
        (tmp_path / folder / "_ledger.jsonl").write_text("".join(json.dumps(line | more) + "\n"
                                                                 for line in lines))
    paid = 0.25 * sum("calls" not in line for line in odd)
    for flag in ("--status", "--compact", "--compact", "", "--force", "--compact", "--dry-run"):
        done = run(f"king --model other {flag}")
        assert done.returncode == 0, done.stderr
        assert spent_usd(tmp_path, {name: Price(0, 0) for name in ("3", "other")}) == pytest.approx(
            paid)
    over = run("king --model m --budget 1 --force")
    assert over.returncode == 2 and "whose cost is not known" in over.stderr
    for script in ("ch", "validate", "report", "prompt"):
        assert "Traceback" not in run(f"{script} --status").stderr


RUBBISH = """not json
[]
{"stage": "king", "reply": 3}
{"stage": "king", "reply": {}}
"""


@pytest.mark.parametrize("kept", rows("""
{"request": ["x"]}
{"attempt": {}}
{"reply": {"text": 7}}
{"reply": {"x": "y"}}
{"call": {"id": []}}
{"call": {"id": "x", "model": 7}}
"""))
def test_kept_replies_of_any_shape_are_passed_over(tmp_path, run, fake_llm, kept):
    [name] = tmp_path.with_prompts(1).prompts()
    fake_llm.script(Status(400))
    run("king")
    request = hashlib.blake2b(fake_llm.requests[0].raw, digest_size=8).hexdigest()
    line = {"stage": "king", "request": request, "attempt": 0, "reply": {"text": "x"}, "call": CALL,
            **json.loads(kept)}
    write_files(tmp_path, {
        f"answer/_partial/{name}.jsonl": f"{RUBBISH}{json.dumps(line)}\n"})
    for flag in ("", "--force"):
        assert run(f"king {flag}").returncode == 0
        assert answers(tmp_path) == [name]
