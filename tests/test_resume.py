"""The state table: what a re-run makes again, keeps, names or leaves, after a person has been at the directories."""
import hashlib
import json
import os
import shutil
import subprocess
import sys

import pytest
from conftest import (
    REPO,
    a_prompt,
    answers,
    flags_for,
    ledger_lines,
    read_answer,
    run_script,
    spent_usd,
    write_commits,
    write_json,
    write_prompts,
    write_toml,
)
from fake_llm import Status

from codedata import ledger
from codedata.settings import Price

N = 5


@pytest.fixture
def root(tmp_path, fake_llm):
    """Five prompts, answered by both; the fake starts counting afterwards."""
    write_prompts(tmp_path, N)
    write_commits(tmp_path, N)
    write_toml(tmp_path)
    for script in ("king.py", "ch.py"):
        assert run_script(script, tmp_path, *flags_for(fake_llm)).returncode == 0
    fake_llm.requests.clear()
    return tmp_path


def edit(path, change) -> None:
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))


def answer_path(root, i):
    return root / "answer" / f"prompts_{N}_1_{i}.json"


def status(script, root) -> str:
    return run_script(script, root, "--status").stderr


def asked(fake) -> list[str]:
    """The tasks of the requests since the last call."""
    tasks = sorted(r.task for r in fake.requests)
    fake.requests.clear()
    return tasks


def test_nothing_changed_nothing_asked_not_even_for_a_key(root, fake_llm):
    for script in ("king.py", "ch.py"):
        done = run_script(script, root)
        assert done.returncode == 0 and f"done {N}" in done.stderr and "nothing to do" in done.stderr
    assert fake_llm.n_requests == 0


def test_a_king_edited_by_hand_stays_and_costs_nothing(root, fake_llm):
    edit(answer_path(root, 2), lambda r: r.update(king="THOUGHT: mine.\n\n```bash\npwd\n```"))
    king, ch = (run_script(s, root, *flags_for(fake_llm)) for s in ("king.py", "ch.py"))
    assert "edited 1 (kept)" in king.stderr and f"prompts_{N}_1_2" in king.stderr
    assert f"done {N}" in ch.stderr and fake_llm.n_requests == 0
    assert read_answer(root, f"prompts_{N}_1_2")["king"].startswith("THOUGHT: mine")


def test_an_edit_is_still_known_after_a_later_stage_wrote_the_same_record(root, fake_llm):
    edit(answer_path(root, 2), lambda r: r.update(king="THOUGHT: mine.\n\n```bash\npwd\n```"))
    run_script("ch.py", root, *flags_for(fake_llm), "--force", "--only", "*_2")
    edit(root / "prompt" / f"prompts_{N}_1.json", lambda p: p[1]["messages"][1].update(content="task 2 changed"))
    king = run_script("king.py", root, *flags_for(fake_llm))
    assert "edited 1 (kept, 1 also stale)" in king.stderr
    assert read_answer(root, f"prompts_{N}_1_2")["king"].startswith("THOUGHT: mine")


def test_an_edited_pr_record_makes_the_challenger_s_answer_stale_and_no_king_s(root, fake_llm):
    edit(root / "commit" / "proj__repo-3.json", lambda r: r.update(description="corrected"))
    assert "done 5" in status("king.py", root) and "stale 1" in status("ch.py", root)
    old = read_answer(root, f"prompts_{N}_1_3")
    run_script("king.py", root, *flags_for(fake_llm)), run_script("ch.py", root, *flags_for(fake_llm))
    assert asked(fake_llm) == ["task 3"]
    new = read_answer(root, f"prompts_{N}_1_3")
    assert new["king"] == old["king"] and new["challenger"] != old["challenger"]


def test_fields_of_a_record_that_a_stage_does_not_read_make_nothing_stale(root, fake_llm):
    edit(root / "commit" / "proj__repo-3.json", lambda r: r.update(created_at=None, licence="MIT", note="mine"))
    edit(root / "prompt" / f"prompts_{N}_1.json", lambda p: p[0].update(turn=7, note="mine"))
    assert "done 5" in status("king.py", root) and "done 5" in status("ch.py", root)


def test_an_edited_history_is_answered_again_by_both(root, fake_llm):
    edit(root / "prompt" / f"prompts_{N}_1.json", lambda p: p[3]["messages"][1].update(content="task 4 changed"))
    for script in ("king.py", "ch.py"):
        run_script(script, root, *flags_for(fake_llm))
        assert asked(fake_llm) == ["task 4 changed"]
    assert read_answer(root, f"prompts_{N}_1_4")["messages"][1]["content"] == "task 4 changed"


def test_a_corrected_reference_is_copied_over_without_a_call(root, fake_llm):
    old = read_answer(root, f"prompts_{N}_1_1")
    better = "THOUGHT: better.\n\n```bash\nls\n```"
    edit(root / "prompt" / f"prompts_{N}_1.json", lambda p: p[0].update(assistant=better))
    king = run_script("king.py", root)   # without a key: none is needed
    assert king.returncode == 0 and "without a call" in king.stderr
    assert read_answer(root, f"prompts_{N}_1_1") == {**old, "assistant": better}
    assert "done 5" in status("king.py", root) and "done 5" in status("ch.py", root) and fake_llm.n_requests == 0


def test_a_prompt_deleted_from_the_middle_shifts_nothing_and_leaves_an_orphan(root, fake_llm):
    before = {name: read_answer(root, name) for name in answers(root)}
    edit(root / "prompt" / f"prompts_{N}_1.json", lambda p: p.pop(2))
    king = run_script("king.py", root, *flags_for(fake_llm))
    assert "done 4" in king.stderr and "orphan 1" in king.stderr and f"prompts_{N}_1_3" in king.stderr
    assert {name: read_answer(root, name) for name in answers(root)} == before and fake_llm.n_requests == 0
    run_script("king.py", root, "--prune")
    assert f"prompts_{N}_1_3" not in answers(root) and len(answers(root)) == 4
    assert len(list((root / "answer" / "_replaced").glob(f"prompts_{N}_1_3.*"))) == 1
    assert "done 4" in status("king.py", root) and "orphan" not in status("king.py", root)


def test_prune_refuses_to_take_everything(root):
    shutil.rmtree(root / "prompt")
    king = run_script("king.py", root, "--prune")
    assert king.returncode == 2 and len(answers(root)) == N


def test_an_unreadable_prompt_file_makes_no_orphans(root):
    path = root / "prompt" / f"prompts_{N}_1.json"
    path.write_text(path.read_text()[:-20])
    write_prompts(root, 1, stem="other")
    assert "orphan" not in status("king.py", root)
    run_script("king.py", root, "--prune", "--limit", "1", "--no-retry")
    assert len([a for a in answers(root) if a.startswith("prompts")]) == N


def test_an_added_entry_without_order_is_numbered_behind_the_highest(root, fake_llm):
    new = a_prompt(9)
    del new["order"]
    edit(root / "prompt" / f"prompts_{N}_1.json", lambda p: p.insert(0, new))
    run_script("king.py", root, *flags_for(fake_llm))
    assert asked(fake_llm) == ["task 9"] and f"prompts_{N}_1_6" in answers(root)


def test_a_deleted_answer_is_made_again_by_both(root, fake_llm):
    answer_path(root, 5).unlink()
    for script in ("king.py", "ch.py"):
        run_script(script, root, *flags_for(fake_llm))
        assert asked(fake_llm) == ["task 5"]
    record = read_answer(root, f"prompts_{N}_1_5")
    assert record["king"] and record["challenger"]


def test_force_on_one_item_keeps_its_challenger_and_puts_the_old_one_aside(root, fake_llm):
    old = read_answer(root, f"prompts_{N}_1_3")
    fake_llm.script("THOUGHT: another look.\n\n```bash\nls -la\n```")
    run_script("king.py", root, *flags_for(fake_llm), "--force", "--only", "*_3")
    new = read_answer(root, f"prompts_{N}_1_3")
    assert asked(fake_llm) == ["task 3"] and new == {**old, "king": "THOUGHT: another look.\n\n```bash\nls -la\n```"}
    assert json.loads((root / "answer" / "_replaced" / f"prompts_{N}_1_3.1.json").read_text()) == old
    assert "done 5" in status("ch.py", root)


def test_force_also_makes_an_edited_one_again_and_keeps_the_edit_in_replaced(root, fake_llm):
    edit(answer_path(root, 2), lambda r: r.update(king="THOUGHT: mine.\n\n```bash\npwd\n```"))
    run_script("king.py", root, *flags_for(fake_llm), "--force", "--only", "*_2")
    assert "mine" not in read_answer(root, f"prompts_{N}_1_2")["king"]
    assert "mine" in (root / "answer" / "_replaced" / f"prompts_{N}_1_2.1.json").read_text()


def test_an_edit_made_while_the_answer_is_under_way_is_kept(root, fake_llm):
    edit(root / "prompt" / f"prompts_{N}_1.json", lambda p: p[0]["messages"][1].update(content="task 1 changed"))

    def meanwhile(request):
        edit(answer_path(root, 1), lambda r: r.update(king="THOUGHT: mine.\n\n```bash\npwd\n```"))
        return "THOUGHT: from the model.\n\n```bash\nls\n```"
    fake_llm.script(meanwhile)
    king = run_script("king.py", root, *flags_for(fake_llm))
    assert king.returncode == 1 and "the edit is kept" in king.stderr
    assert "mine" in read_answer(root, f"prompts_{N}_1_1")["king"]


def test_keys_that_a_person_adds_to_a_record_survive(root, fake_llm):
    edit(answer_path(root, 1), lambda r: r.update(note="look at this one", challenger=None))
    run_script("ch.py", root, *flags_for(fake_llm))
    record = read_answer(root, f"prompts_{N}_1_1")
    assert asked(fake_llm) == ["task 1"] and record["note"] == "look at this one" and record["challenger"]


def test_a_touched_but_equal_file_is_done(root):
    for path in [*root.glob("*/*.json")]:
        os.utime(path)
    assert "done 5" in status("king.py", root) and "done 5" in status("ch.py", root)


def test_a_deleted_ledger_adopts_what_is_there_and_sees_later_edits(root, fake_llm):
    (root / "answer" / "_ledger.jsonl").unlink()
    assert "adopted 5" in status("king.py", root)
    for script in ("king.py", "ch.py"):
        assert run_script(script, root, *flags_for(fake_llm)).returncode == 0
    assert fake_llm.n_requests == 0 and "done 5" in status("king.py", root)
    edit(answer_path(root, 1), lambda r: r.update(king="THOUGHT: mine.\n\n```bash\npwd\n```"))
    assert "edited 1" in status("king.py", root)


def test_an_answer_put_there_by_hand_is_adopted(root, fake_llm):
    write_prompts(root, 1, stem="mine")
    shutil.copy(answer_path(root, 1), root / "answer" / "mine_1.json")
    assert "adopted 1" in status("king.py", root)
    run_script("king.py", root, *flags_for(fake_llm))
    assert fake_llm.n_requests == 0


def test_a_failed_item_leaves_no_record_is_retried_and_later_stages_wait(tmp_path, fake_llm):
    write_prompts(tmp_path, 2)
    write_commits(tmp_path, 2)
    write_toml(tmp_path)
    fake_llm.always(lambda r: "no block" if r.task == "task 2" else None)
    king = run_script("king.py", tmp_path, *flags_for(fake_llm))
    assert king.returncode == 1 and "no bash block, 3 tries" in king.stderr and answers(tmp_path) == ["prompts_2_1_1"]
    assert len([r for r in fake_llm.requests if r.task == "task 2"]) == 3
    assert run_script("king.py", tmp_path, *flags_for(fake_llm), "--no-retry").returncode == 0
    assert fake_llm.n_requests == 4
    fake_llm.always(None)
    assert run_script("king.py", tmp_path, *flags_for(fake_llm)).returncode == 0
    assert answers(tmp_path) == ["prompts_2_1_1", "prompts_2_1_2"]


def test_what_failed_again_at_the_king_waits_at_the_challenger(root, fake_llm):
    edit(root / "prompt" / f"prompts_{N}_1.json", lambda p: p[0]["messages"][1].update(content="task 1 changed"))
    edit(root / "commit" / "proj__repo-1.json", lambda r: r.update(issue="changed"))
    fake_llm.script("bad", "bad", "bad")
    assert run_script("king.py", root, *flags_for(fake_llm)).returncode == 1
    fake_llm.requests.clear()
    ch = run_script("ch.py", root, *flags_for(fake_llm))
    assert "waiting 1" in ch.stderr and fake_llm.n_requests == 0


def test_other_settings_make_nothing_stale_until_refresh(root, fake_llm):
    king = run_script("king.py", root, *flags_for(fake_llm), "--model", "another")
    assert "done 5" in king.stderr and "made with other settings 5" in king.stderr and fake_llm.n_requests == 0
    run_script("king.py", root, *flags_for(fake_llm), "--model", "another", "--refresh")
    assert len(asked(fake_llm)) == N
    assert "other settings" not in run_script("king.py", root, "--model", "another", "--status").stderr


def test_excluded_ids_are_skipped_and_the_rule_is_named(tmp_path, fake_llm):
    write_prompts(tmp_path, 3)
    write_toml(tmp_path, more='[exclude]\nids = ["proj__repo-2"]\n')
    king = run_script("king.py", tmp_path, *flags_for(fake_llm))
    assert "excluded 1" in king.stderr and "[exclude] ids" in king.stderr
    assert asked(fake_llm) == ["task 1", "task 3"]


def test_a_prompt_without_a_pr_record_is_answered_by_the_king_alone(tmp_path, fake_llm):
    write_prompts(tmp_path, 2)
    write_commits(tmp_path, 1)
    run_script("king.py", tmp_path, *flags_for(fake_llm))
    fake_llm.requests.clear()
    ch = run_script("ch.py", tmp_path, *flags_for(fake_llm))
    assert ch.returncode == 0 and "no PR record" in ch.stderr and asked(fake_llm) == ["task 1"]


def test_only_and_limit_narrow_the_run(tmp_path, fake_llm):
    write_prompts(tmp_path, 20)
    run_script("king.py", tmp_path, *flags_for(fake_llm), "--limit", 3, "--workers", 1)
    assert [r.task for r in fake_llm.requests] == ["task 1", "task 2", "task 3"]
    fake_llm.requests.clear()
    run_script("king.py", tmp_path, *flags_for(fake_llm), "--only", "*_1[0-9]")
    assert asked(fake_llm) == sorted(f"task {i}" for i in range(10, 20))
    run_script("king.py", tmp_path, *flags_for(fake_llm), "--only", "proj__repo-20")
    assert asked(fake_llm) == ["task 20"]


def test_status_and_dry_run_do_nothing_and_dry_run_tells_the_cost(tmp_path, fake_llm):
    write_prompts(tmp_path, 3)
    write_toml(tmp_path, more='[prices]\n"m" = { in = 1.0, out = 2.0 }\n')
    dry = run_script("king.py", tmp_path, *flags_for(fake_llm), "--model", "m", "--dry-run")
    assert dry.returncode == 0 and "3 calls" in dry.stderr
    assert "3,072 out" in dry.stderr and "at most $0.006" in dry.stderr
    assert "missing 3" in status("king.py", tmp_path)
    assert fake_llm.n_requests == 0 and not (tmp_path / "answer").exists()


def test_compacting_the_ledger_changes_no_state_and_no_spending(root, fake_llm):
    run_script("king.py", root, *flags_for(fake_llm), "--force")
    edit(answer_path(root, 2), lambda r: r.update(king="THOUGHT: mine.\n\n```bash\npwd\n```"))
    fake_llm.script(*["bad"] * 3)
    edit(root / "commit" / "proj__repo-3.json", lambda r: r.update(issue="changed"))
    run_script("ch.py", root, *flags_for(fake_llm))
    before = [status(s, root) for s in ("king.py", "ch.py")]
    tokens = sum(c.get("tokens_in", 0) for line in ledger_lines(root / "answer")
                 for c in [*line.get("calls", []), *line.get("earlier", [])])
    n_lines = len(ledger_lines(root / "answer"))
    assert run_script("king.py", root, "--compact").returncode == 0
    lines = ledger_lines(root / "answer")
    assert len(lines) < n_lines and [status(s, root) for s in ("king.py", "ch.py")] == before
    assert tokens == sum(c.get("tokens_in", 0) for line in lines
                         for c in [*line.get("calls", []), *line.get("earlier", [])])


def test_a_line_behind_a_torn_one_is_not_lost(tmp_path):
    book = ledger.Ledger(tmp_path)
    book.append(tmp_path, stage="s", item="a", state="done", read="1")
    book.close()
    with open(tmp_path / "_ledger.jsonl", "a") as file:
        file.write('{"stage": "s", "item": "b", "st')
    book = ledger.Ledger(tmp_path)
    book.append(tmp_path, stage="s", item="c", state="done", read="3")
    book.close()
    assert set(ledger.Ledger(tmp_path).succeeded) == {("s", "a"), ("s", "c")}


def test_a_run_in_a_copy_of_the_root_asks_nothing(root, fake_llm, tmp_path_factory):
    copy = tmp_path_factory.mktemp("copy") / "root"
    shutil.copytree(root, copy, copy_function=shutil.copyfile)   # other mtimes
    assert "done 5" in status("king.py", copy) and "done 5" in status("ch.py", copy)


def test_compacting_forgets_no_hand_edit(root, fake_llm):
    edit(answer_path(root, 2), lambda r: r.update(king="THOUGHT: mine.\n\n```bash\npwd\n```"))
    for _ in range(2):   # the second line of ch.py no longer finds the edit new
        run_script("ch.py", root, *flags_for(fake_llm), "--force", "--only", "*_2")
    assert run_script("king.py", root, "--compact").returncode == 0
    assert "edited 1" in status("king.py", root)
    edit(root / "prompt" / f"prompts_{N}_1.json", lambda p: p[1]["messages"][1].update(content="task 2 changed"))
    run_script("king.py", root, *flags_for(fake_llm))
    assert read_answer(root, f"prompts_{N}_1_2")["king"].startswith("THOUGHT: mine")


def test_what_failed_in_a_shard_is_made_once_by_a_plain_run(tmp_path, fake_llm):
    write_prompts(tmp_path, 1)
    write_toml(tmp_path)
    shard = next(f"{i}/2" for i in (0, 1) if "missing 1" in run_script(
        "king.py", tmp_path, "--status", "--shard", f"{i}/2").stderr)
    fake_llm.script("bad", "bad", "bad")
    assert run_script("king.py", tmp_path, *flags_for(fake_llm), "--shard", shard).returncode == 1
    for _ in range(3):
        assert run_script("king.py", tmp_path, *flags_for(fake_llm)).returncode == 0
    assert fake_llm.n_requests == 4 and "done 1" in status("king.py", tmp_path)


def test_answers_moved_to_another_shard_by_hand_stay_what_they_are(root, fake_llm):
    (root / "answer_1").mkdir()
    shutil.move(answer_path(root, 2), root / "answer_1" / answer_path(root, 2).name)
    assert "done 5" in status("king.py", root) and "done 5" in status("ch.py", root)
    edit(root / "prompt" / f"prompts_{N}_1.json", lambda p: p[1]["messages"][1].update(content="task 2 changed"))
    for script in ("king.py", "ch.py"):
        run_script(script, root, *flags_for(fake_llm))
        assert asked(fake_llm) == ["task 2 changed"] and "done 5" in status(script, root)


def test_kept_replies_of_a_shard_are_served_to_a_plain_run(tmp_path, fake_llm):
    write_prompts(tmp_path, 1)
    write_toml(tmp_path)
    shard = next(f"{i}/2" for i in (0, 1) if "missing 1" in run_script(
        "king.py", tmp_path, "--status", "--shard", f"{i}/2").stderr)
    fake_llm.script("bad", Status(400, "no"))
    assert run_script("king.py", tmp_path, *flags_for(fake_llm), "--shard", shard).returncode == 1
    assert run_script("king.py", tmp_path, *flags_for(fake_llm)).returncode == 0
    assert fake_llm.n_requests == 3   # the bad reply counted as the first try
    assert not list(tmp_path.glob("answer*/_partial/*"))


def test_a_forced_attempt_that_fails_leaves_the_old_answer_valid(root, fake_llm):
    fake_llm.always(Status(404, "no such model"))
    assert run_script("king.py", root, *flags_for(fake_llm), "--force").returncode == 1
    fake_llm.requests.clear()
    assert "done 5" in status("king.py", root) and "done 5" in status("ch.py", root)
    assert run_script("king.py", root, *flags_for(fake_llm)).returncode == 0 and fake_llm.n_requests == 0


def test_a_hand_made_answer_after_a_failure_ends_the_waiting_of_the_challenger(root, fake_llm):
    edit(root / "prompt" / f"prompts_{N}_1.json", lambda p: p[0]["messages"][1].update(content="task 1 changed"))
    edit(root / "commit" / "proj__repo-1.json", lambda r: r.update(issue="changed"))
    fake_llm.script("bad", "bad", "bad")
    run_script("king.py", root, *flags_for(fake_llm))
    assert "waiting 1" in status("ch.py", root)
    edit(answer_path(root, 1), lambda r: r.update(king="THOUGHT: mine.\n\n```bash\npwd\n```"))
    assert "stale 1" in status("ch.py", root)


def test_refresh_takes_an_item_whose_reference_changed_too(root, fake_llm):
    better = "THOUGHT: better.\n\n```bash\nls\n```"
    edit(root / "prompt" / f"prompts_{N}_1.json", lambda p: p[0].update(assistant=better))
    run_script("king.py", root, *flags_for(fake_llm), "--model", "another", "--refresh")
    assert len(asked(fake_llm)) == N and read_answer(root, f"prompts_{N}_1_1")["assistant"] == better


@pytest.mark.parametrize("flags", [["--compact", "--status"], ["--compact", "--shard", "0/2"],
                                   ["--budget", "1", "--shard", "0/2"]])
def test_flags_that_would_hurt_together_are_refused(root, flags):
    assert run_script("king.py", root, *flags).returncode == 2


def test_a_commit_record_of_another_pull_request_is_broken(root, fake_llm):
    edit(root / "commit" / "proj__repo-3.json", lambda r: r.update(instance_id="proj__repo-4"))
    ch = run_script("ch.py", root, *flags_for(fake_llm))
    assert ch.returncode == 1 and "is the record of 'proj__repo-4'" in ch.stderr and fake_llm.n_requests == 0


def test_a_reader_that_goes_away_does_not_stop_the_run(tmp_path, fake_llm):
    write_prompts(tmp_path, 6)
    command = [sys.executable, str(REPO / "king.py"), "--root", str(tmp_path), *flags_for(fake_llm), "--workers", "1"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE)
    fake_llm.latency_s = 0.1
    process.stderr.close()
    assert process.wait(30) == 0 and len(answers(tmp_path)) == 6


def test_no_stderr_at_all_is_borne(tmp_path, fake_llm):
    write_prompts(tmp_path, 2)
    command = f"exec {sys.executable} {REPO}/king.py --root {tmp_path} {' '.join(flags_for(fake_llm))} 2>&-"
    assert subprocess.run(["sh", "-c", command], cwd=tmp_path).returncode == 0 and len(answers(tmp_path)) == 2


@pytest.mark.parametrize("rubbish", ["not json", '{"stage": "king", "reply": 3}', '{"stage": "king", "reply": {}}',
                                     "[]"])
def test_rubbish_among_the_kept_replies_is_passed_over(tmp_path, fake_llm, rubbish):
    [name] = write_prompts(tmp_path, 1)
    (tmp_path / "answer" / "_partial").mkdir(parents=True)
    (tmp_path / "answer" / "_partial" / f"{name}.jsonl").write_text(rubbish + "\n")
    assert run_script("king.py", tmp_path, *flags_for(fake_llm)).returncode == 0 and answers(tmp_path) == [name]


def test_a_kept_reply_file_that_cannot_be_read_fails_its_item_alone(tmp_path, fake_llm):
    names = write_prompts(tmp_path, 2)
    (tmp_path / "answer" / "_partial" / f"{names[0]}.jsonl").mkdir(parents=True)
    king = run_script("king.py", tmp_path, *flags_for(fake_llm), "--workers", "1")
    assert king.returncode == 1 and answers(tmp_path) == names[1:] and "Traceback" not in king.stderr


def test_a_copy_of_a_directory_in_the_root_is_not_spent_again(tmp_path, fake_llm):
    write_prompts(tmp_path, 3)
    write_toml(tmp_path, more='[prices]\n"m" = { in = 1.0, out = 1.0 }\n')
    run_script("king.py", tmp_path, *flags_for(fake_llm), "--model", "m")
    once = spent_usd(tmp_path)
    shutil.copytree(tmp_path / "answer", tmp_path / "answer_backup")
    assert once > 0 and spent_usd(tmp_path) == once


def test_the_command_that_goes_on_keeps_what_narrowed_the_run(tmp_path, fake_llm):
    write_prompts(tmp_path, 2)
    write_toml(tmp_path)
    fake_llm.always("bad")
    king = run_script("king.py", tmp_path, *flags_for(fake_llm), "--only", "*_1", "--llm-auth-token", "sk-hidden-1")
    again, = [line for line in king.stderr.splitlines() if "again:" in line]
    assert "--only '*_1'" in again and "sk-hidden" not in king.stderr


def test_pruned_and_compacted_is_gone_for_every_stage(root, fake_llm):
    prompts = root / "prompt" / f"prompts_{N}_1.json"
    whole = prompts.read_text()
    edit(prompts, lambda p: p.pop(2))
    run_script("king.py", root, "--prune")
    prompts.write_text(whole)
    run_script("king.py", root, *flags_for(fake_llm))
    assert "missing 1" in status("ch.py", root)
    run_script("king.py", root, "--compact")
    assert "missing 1" in status("ch.py", root)


def test_a_reverted_edit_clears_the_failure_it_led_to(root, fake_llm):
    prompts = root / "prompt" / f"prompts_{N}_1.json"
    whole = prompts.read_text()
    edit(prompts, lambda p: p[0]["messages"][1].update(content="task 1 changed"))
    fake_llm.script("bad", "bad", "bad")
    run_script("king.py", root, *flags_for(fake_llm))
    prompts.write_text(whole)
    edit(root / "commit" / "proj__repo-1.json", lambda r: r.update(issue="changed"))
    assert run_script("king.py", root, *flags_for(fake_llm)).returncode == 0
    fake_llm.requests.clear()
    run_script("ch.py", root, *flags_for(fake_llm))
    assert asked(fake_llm) == ["task 1"]


def test_compacting_shards_again_and_again_leaves_the_money_as_it_was(tmp_path, fake_llm):
    names = write_prompts(tmp_path, 4)
    write_toml(tmp_path, more='[prices]\n"m" = { in = 1.0, out = 1.0 }\n')
    flags = (*flags_for(fake_llm), "--model", "m")
    run_script("king.py", tmp_path, *flags, "--shard", "0/1")
    for name in names:
        shutil.move(tmp_path / "answer_0" / f"{name}.json", tmp_path / "answer" / f"{name}.json")
    run_script("king.py", tmp_path, *flags, "--force")
    once = spent_usd(tmp_path)
    for _ in range(3):
        assert run_script("king.py", tmp_path, "--compact").returncode == 0
        assert spent_usd(tmp_path) == pytest.approx(once) and "done 4" in status("king.py", tmp_path)


def test_many_failures_use_up_no_descriptors(tmp_path, fake_llm):
    write_prompts(tmp_path, 120)
    write_toml(tmp_path, {"retry_max": 0})
    fake_llm.always(lambda r: "bad" if r.n % 2 == 0 else Status(500, "no"))
    king_py = f"{sys.executable} {REPO}/king.py --root {tmp_path} --workers 1 {' '.join(flags_for(fake_llm))}"
    command = f"ulimit -n 64; exec {king_py}"
    king = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True)
    assert king.returncode == 1 and "Too many" not in king.stderr and "left" not in king.stderr


def test_numbers_that_a_person_added_stay_to_the_letter(root, fake_llm):
    long = 123456789012345678901234567890
    edit(answer_path(root, 1), lambda r: r.update(note=long, challenger=None))
    run_script("ch.py", root, *flags_for(fake_llm))
    record = read_answer(root, f"prompts_{N}_1_1")
    assert record["note"] == long and record["challenger"]


# what is no regular file, and what somebody else has written ----------------------------------------------------------

FIFOS = """
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
"""


@pytest.mark.parametrize("case", FIFOS.strip().split("\n"))
def test_a_fifo_in_place_of_any_file_is_named_and_never_waited_for(tmp_path, fake_llm, case):
    place, code, *flags = case.split()
    write_prompts(tmp_path, 1, stem="p_1")
    write_toml(tmp_path, more=FREE)
    path = tmp_path / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    done = run_script("king.py", tmp_path, *flags_for(fake_llm, *flags), timeout_s=20)
    assert done.returncode == int(code) and "Traceback" not in done.stderr
    assert path.name.removesuffix(".jsonl") in done.stderr and "not a regular file" in done.stderr


def test_a_link_in_place_of_a_lock_or_a_ledger_is_not_written_through(tmp_path, fake_llm):
    write_prompts(tmp_path, 1)
    (tmp_path / "answer").mkdir()
    (tmp_path / "mine").write_text("mine")
    for name in ("_lock.all", "_ledger.jsonl"):
        link = tmp_path / "answer" / name
        link.symlink_to(tmp_path / "mine")
        assert run_script("king.py", tmp_path, *flags_for(fake_llm)).returncode in (1, 2)
        assert (tmp_path / "mine").read_text() == "mine"
        link.unlink()


def test_a_record_over_the_limit_is_broken_and_not_read(tmp_path, fake_llm):
    write_prompts(tmp_path, 1, stem="good")
    with open(tmp_path / "prompt" / "large.json", "wb") as file:
        file.truncate(1 << 40)   # a hole of a terabyte
    done = run_script("king.py", tmp_path, *flags_for(fake_llm), timeout_s=30)
    assert done.returncode == 1 and "larger than 200,000,000 bytes" in done.stderr and answers(tmp_path) == ["good_1"]


FREE = '[prices]\n"m" = { in = 0.0, out = 0.0 }\n"3" = { in = 0.0, out = 0.0 }\n'
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
{"calls": 7}
{"calls": [7, "x", null]}
{"calls": [{"id": ["y"], "model": 3, "cost_usd": "much", "n": "x", "seconds": [], "tokens_in": 1, "tokens_out": 1}]}
"""


def test_lines_that_somebody_wrote_into_a_ledger_stop_nothing_and_lose_no_money(tmp_path, fake_llm):
    [name] = write_prompts(tmp_path, 1)
    write_toml(tmp_path, more=FREE)
    odd = [json.loads(line) for line in ODD.strip().split("\n")]
    lines = [{"stage": "king", "item": name, "state": "failed", "calls": [{**CALL, "id": f"a-{i}"}], **line}
             for i, line in enumerate(odd)]
    (tmp_path / "answer").mkdir()
    for folder, own in (("answer", {}), ("prompt", {"calls": []})):   # what compacting sums up has no ids
        (tmp_path / folder / "_ledger.jsonl").write_text("".join(json.dumps(line | own) + "\n" for line in lines))
    for flags in ("--status", "--compact", "--compact", "", "--force", "--compact", "--dry-run"):
        done = run_script("king.py", tmp_path, *flags_for(fake_llm, "--model", "other", *flags.split()))
        assert done.returncode == 0, done.stderr
        paid = 0.25 * sum("calls" not in line for line in odd)
        assert spent_usd(tmp_path, {name: Price(0, 0) for name in ("3", "other")}) == pytest.approx(paid)
    over = run_script("king.py", tmp_path, *flags_for(fake_llm, "--model", "m", "--budget", "1", "--force"))
    assert over.returncode == 2 and "whose cost is not known" in over.stderr
    for script in ("ch.py", "validate.py", "report.py", "prompt.py"):
        assert "Traceback" not in run_script(script, tmp_path, "--status").stderr


@pytest.mark.parametrize("kept", """
{"request": ["x"]}
{"attempt": {}}
{"reply": {"text": 7}}
{"reply": {"x": "y"}}
{"call": {"id": []}}
{"call": {"id": "x", "model": 7}}
{"intent": 7}
{"intent": {"wrote": 7}}
""".strip().split("\n"))
def test_kept_replies_of_any_shape_are_passed_over(tmp_path, fake_llm, kept):
    [name] = write_prompts(tmp_path, 1)
    fake_llm.script(Status(400))
    run_script("king.py", tmp_path, *flags_for(fake_llm))
    request = hashlib.blake2b(fake_llm.requests[0].raw, digest_size=8).hexdigest()
    line = {"stage": "king", "request": request, "attempt": 0, "reply": {"text": "x"}, "call": CALL, **json.loads(kept)}
    write_json(tmp_path / "answer" / "_partial" / f"{name}.jsonl", line)
    for flags in ([], ["--force"]):
        done = run_script("king.py", tmp_path, *flags_for(fake_llm, *flags))
        assert done.returncode == 0 and "Traceback" not in done.stderr and answers(tmp_path) == [name]
