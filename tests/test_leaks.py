"""A turn that knows too much: ch.py asks again with what was found, report.py and export.py keep it from trainers."""
from __future__ import annotations

import json
from dataclasses import replace

import pytest
from conftest import (
    flags_for,
    kill,
    ledger_lines,
    read_answer,
    run_here,
    run_script,
    start_script,
    turn_of,
    write_commits,
    write_json,
    write_prompts,
    write_toml,
)
from fake_llm import Say
from judged import write_duel, write_turn
from scored import decide, write_answer, write_panel, write_score

import export
import report
from codedata.checks.leak import bars, find_leaks
from codedata.duel.leaks import KEPT, Leaks
from codedata.records import Answer, Commit
from codedata.store import Store

PATCH = """diff --git a/src/windlass_reel.py b/src/windlass_reel.py
--- a/src/windlass_reel.py
+++ b/src/windlass_reel.py
@@ -214,6 +214,6 @@ def unspool_cable(reel):
     turns = reel.turns
-    return turns * PITCH_OF_THREAD
+    return turns * reel.pitch_of_thread
"""
HONEST = turn_of("git grep -n 'task 1'", "I do not know the project yet, so I look around.")
LEAKY = turn_of("sed -n 205,225p src/windlass_reel.py", "`unspool_cable` multiplies with PITCH_OF_THREAD.")
WON, LOST = [1, 1, 1, 1, 1], [0, 0, 0, 0, 0]


def pr(i: int = 1, **fields) -> dict:
    return {"instance_id": f"proj__t_{i}", "repo": "proj/repo", "language": "python", "base_commit": "0" * 40,
            "issue": "", "description": "", "files": ["src/windlass_reel.py"], "patch": PATCH, "test_patch": "",
            "created_at": None, "licence": "MIT", **fields}


@pytest.fixture
def asked(tmp_path, fake_llm):
    """A root with one turn that the king has answered."""
    write_prompts(tmp_path, 1)
    write_commits(tmp_path, 1, patch=PATCH, files=["src/windlass_reel.py"])
    assert run_script("king.py", tmp_path, *flags_for(fake_llm)).returncode == 0
    fake_llm.requests.clear()
    return tmp_path


# ch.py ---------------------------------------------------------------------------------------------------------------

def test_a_turn_that_knows_too_much_is_asked_for_again_with_what_was_found(asked, fake_llm):
    fake_llm.script(LEAKY, LEAKY, HONEST)
    assert run_script("ch.py", asked, *flags_for(fake_llm)).returncode == 0
    first, second, third = (request.text for request in fake_llm.requests)
    assert "You have answered this turn before" not in first and LEAKY not in first
    for text in (second, third):
        told = text.partition("You have answered this turn before")[2]
        assert LEAKY in told and "src/windlass_reel.py (" in told and "unspool_cable" in told
    assert read_answer(asked, "prompts_1_1_1")["challenger"] == HONEST
    line, = ledger_lines(asked / "answer", stage="ch", state="done")
    assert len(line["calls"]) == 3   # and all of them are paid


def test_one_that_still_does_fails_and_is_tried_again_by_the_next_run(asked, fake_llm):
    fake_llm.script(LEAKY, LEAKY, LEAKY)
    done = run_script("ch.py", asked, *flags_for(fake_llm))
    assert done.returncode == 1 and fake_llm.n_requests == 3
    line, = ledger_lines(asked / "answer", stage="ch", state="failed")
    assert line["error"].startswith("shows what it cannot know: ") and "windlass_reel" in line["error"]
    assert len(line["calls"]) == 3 and read_answer(asked, "prompts_1_1_1")["challenger"] is None
    fake_llm.always(HONEST)
    assert run_script("ch.py", asked, *flags_for(fake_llm)).returncode == 0
    assert fake_llm.n_requests == 4 and read_answer(asked, "prompts_1_1_1")["challenger"] == HONEST


@pytest.mark.parametrize("retries, n_calls, code", [(0, 1, 1), (1, 2, 1), (-1, 1, 0)])
def test_how_often_is_a_setting(asked, fake_llm, retries, n_calls, code):
    write_toml(asked, more=f"[challenger]\nleak_retries = {retries}\n")
    fake_llm.always(LEAKY)
    assert run_script("ch.py", asked, *flags_for(fake_llm)).returncode == code
    assert fake_llm.n_requests == n_calls


def test_a_kill_between_two_tries_pays_for_neither_again(asked, fake_llm):
    """The leaky reply is kept: the next run goes on with the request that names what was found."""
    fake_llm.script(LEAKY, Say(HONEST, latency_s=30))
    process = start_script("ch.py", asked, *flags_for(fake_llm))
    fake_llm.wait_for(2)
    kill(process)
    fake_llm.always(HONEST)
    assert run_script("ch.py", asked, *flags_for(fake_llm)).returncode == 0
    assert fake_llm.n_requests == 3 and fake_llm.requests[1].raw == fake_llm.requests[2].raw
    line, = ledger_lines(asked / "answer", stage="ch", state="done")
    assert len(line["calls"]) == 2


def test_attempts_of_refining_are_held_to_the_same_rule(asked, fake_llm):
    assert run_script("ch.py", asked, *flags_for(fake_llm)).returncode == 0
    answer = read_answer(asked, "prompts_1_1_1")
    reasons = [{"judge": "j", "order": "king_first", "reason": "It guesses."}]
    write_json(asked / "refined" / "prompts_1_1_1.json", {
        **answer, "score": 70, "metrics": {}, "reasons": reasons, "injections": [], "leaks": []})
    fake_llm.requests.clear()
    fake_llm.script(LEAKY, HONEST)
    assert run_script("ch.py", asked, "--refine", *flags_for(fake_llm)).returncode == 0
    text = fake_llm.requests[1].text
    assert "It guesses." in text and "unspool_cable" in text.partition(LEAKY)[2]
    attempt = json.loads((asked / "answer" / "_attempts" / "prompts_1_1_1.jsonl").read_text())
    assert attempt["challenger"] == HONEST


def test_what_was_found_in_a_turn_is_noted_and_not_looked_for_again(asked, fake_llm):
    assert run_script("ch.py", asked, *flags_for(fake_llm)).returncode == 0
    answer, commit = Store(asked, Answer).open(), Store(asked, Commit).open()
    read = answer.read("prompts_1_1_1"), commit.read("proj__repo-1")
    ledger = asked / "answer" / "_ledger.jsonl"
    assert ledger.read_text().count('"found":[]') == 1
    ledger.write_text(ledger.read_text().replace('"found":[]', '"found":[{"text":"as noted"}]'))
    leaks = Leaks(asked, asked / "report")
    assert leaks.of(*read) == [{"text": "as noted"}]
    leaks.save()
    assert not (asked / "report").exists()   # there is nothing that the ledger lacks
    assert Leaks(asked, asked / "report").of(replace(read[0], challenger=LEAKY), read[1]) != []


# report.py -----------------------------------------------------------------------------------------------------------

@pytest.fixture
def judged(tmp_path):
    """t_1 knows too much, t_2 does not, t_3 has no PR record; all won."""
    write_panel(tmp_path, "a")
    for i, text in ((1, LEAKY), (2, HONEST), (3, LEAKY)):
        write_answer(tmp_path, f"t_{i}")
        path = tmp_path / "answer" / f"t_{i}.json"
        write_json(path, {**json.loads(path.read_text()), "challenger": text})
        write_score(tmp_path, f"t_{i}", {"a": WON})
        if i < 3:
            write_json(tmp_path / "commit" / f"proj__t_{i}.json", pr(i))
    decide(tmp_path)
    assert run_here(report.main, tmp_path) == 0
    return tmp_path


def bucket(root, i: int) -> dict:
    return json.loads(next(root.glob(f"[dfr]*/t_{i}.json")).read_text())


def test_a_leaky_turn_is_not_final_and_what_nobody_could_look_at_is(judged):
    assert sorted(path.name for path in judged.glob("final/t*")) == ["t_2.json", "t_3.json"]
    found = bucket(judged, 1)["leaks"]
    assert {one["text"] for one in found} >= {"src/windlass_reel.py"} and bars(found)
    assert all(LEAKY[one["start"]:one["end"]] == one["text"] for one in found)
    assert bucket(judged, 2)["leaks"] == [] and bucket(judged, 3)["leaks"] is None
    text = (judged / "report" / "report.md").read_text()
    assert "| the challenger shows what it cannot know (kept out of final/) | 1 |" in text
    assert "| without a PR record, so nobody can tell what it cannot know | 1 |" in text


def test_keep_flagged_lets_it_in(judged):
    write_panel(judged, "a", more="[report]\nkeep_flagged = true\n")
    assert run_here(report.main, judged) == 0 and (judged / "final" / "t_1.json").is_file()
    assert "| the challenger shows what it cannot know | 1 |" in (judged / "report" / "report.md").read_text()


def test_findings_are_made_once_and_again_where_something_changed(judged):
    kept = judged / "report" / KEPT
    lines = [json.loads(line) for line in kept.read_text().splitlines()]
    assert sorted(len(line["found"]) > 0 for line in lines) == [False, True]
    marked = [{**line, "found": [{"kind": "path", "severity": "high", "text": "kept", "start": 0, "end": 4}]}
              for line in lines]
    kept.write_text("".join(json.dumps(line) + "\n" for line in marked) + "rubbish\n")
    assert run_here(report.main, judged) == 0
    assert bucket(judged, 1)["leaks"][0]["text"] == "kept"   # it was read, not made again
    path = judged / "answer" / "t_2.json"
    write_json(path, {**json.loads(path.read_text()), "challenger": turn_of("ls -la", "Another look around.")})
    write_json(judged / "commit" / "proj__t_1.json", pr(1, patch="", files=[]))
    decide_again(judged)
    assert bucket(judged, 1)["leaks"] == [] == bucket(judged, 2)["leaks"]
    kept.unlink()
    assert run_here(report.main, judged) == 0 and bucket(judged, 1)["leaks"] == []


def decide_again(root) -> None:
    """A judge that is not there cannot be asked: the scores stay and are taken for those of the new answers."""
    (root / "score" / "_ledger.jsonl").unlink()
    decide(root)
    assert run_here(report.main, root) == 0


# export.py -----------------------------------------------------------------------------------------------------------

def test_a_leaky_turn_is_for_no_trainer(tmp_path):
    commit = Commit(**pr())
    messages = [{"role": "user", "content": "task"}]
    write_duel(tmp_path)
    write_toml(tmp_path, more="[export]\nvalidation = 0.0\nduplicate_similarity = 0\n")
    found = [{"kind": one.kind, "severity": one.severity, "text": one.text, "why": one.why, "source": one.source,
              "start": one.start, "end": one.end} for one in find_leaks(messages, LEAKY, commit)]
    write_turn(tmp_path, "t_1", leaks=found, challenger=LEAKY)
    write_turn(tmp_path, "t_2", leaks=[])
    write_turn(tmp_path, "t_3", leaks=[{**found[0], "severity": "low"}])
    assert run_here(export.main, tmp_path) == 0
    left, = map(json.loads, (tmp_path / "export" / "left_out.jsonl").read_text().splitlines())
    assert (left["name"], left["reason"]) == ("t_1", "shows what it cannot know") and "windlass" in left["detail"]
    assert "jsonl" not in left["formats"]
    rows = [json.loads(line) for line in (tmp_path / "export" / "jsonl" / "train.jsonl").read_text().splitlines()]
    assert [row["source"] for row in rows if row["leaks"]] == ["t_1", "t_3"]
    for name in ("sft_messages", "dpo", "kto"):
        assert "windlass" not in (tmp_path / "export" / name / "train.jsonl").read_text()
