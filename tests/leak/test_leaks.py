"""Check that turns that know too much are found, made again, and barred from buckets and exports.
"""
import json
import re

import pytest
from conftest import (
    edit,
    everything_under,
    flags_for,
    kill,
    ledger_lines,
    read_answer,
    start_script,
)
from fake_judges import asks, prefers, report_text, run_main, score, validated, verdict
from fake_judges import validated as decide
from fake_llm import Say
from root import json_lines, read_json, turn_of, write_json

import ch
import check_judges
import export
import king
import report

PATCH = """diff --git a/src/windlass_reel.py b/src/windlass_reel.py
--- a/src/windlass_reel.py
+++ b/src/windlass_reel.py
@@ -214,6 +214,6 @@ def unspool_cable(reel):
     turns = reel.turns
-    return turns * PITCH_OF_THREAD
+    return turns * reel.pitch_of_thread
"""
HONEST = turn_of("git grep -n 'task 1'", "I do not know the project yet, so I look around.")
LEAKY = turn_of("sed -n 205,225p src/windlass_reel.py",
                "`unspool_cable` multiplies with PITCH_OF_THREAD.")
OTHER_WORDS = turn_of("git grep -n cable", "The length is off by the constant of the thread.")
WON = [1, 1, 1, 1, 1]


def said(*quotes: str) -> str:
    """Return a leak judge's reply."""
    findings = [{"quote": quote, "kind": "cause", "why": "nothing has shown it"}
                for quote in quotes]
    return json.dumps({"findings": findings, "hedged_claims": 0, "leak": bool(quotes)})


def is_leak_request(request) -> bool:
    return "You are an auditor" in request.text


def candidate(request) -> str:
    return request.text.partition(" candidate]]\n")[2].partition("\n[[")[0]


def finds(*leaky: str):
    """Play a leak judge that finds the word cable in these turns."""
    return lambda request: said("cable") if candidate(request) in leaky else said()


def play(fake, judge, *turns) -> None:
    """Have the fake answer as leak judge, and as challenger with `turns`, one after the other."""
    left = list(turns)
    fake.always(lambda request: judge(request) if is_leak_request(request) else left.pop(0) if left
                else HONEST)


@pytest.fixture
def asked(tmp_path, fake_llm):
    """Return a root with one turn that the king has answered, and no leak judge."""
    tmp_path.with_prompts(1).with_commits(1, patch=PATCH, files=["src/windlass_reel.py"])
    run_main(king.main, tmp_path, *flags_for(fake_llm))
    fake_llm.requests.clear()
    return tmp_path


@pytest.fixture
def judged_by(asked, fake_llm):
    """Return that root with a leak judge."""
    panel_and_judges(asked, fake_llm)
    return asked


def tries(root) -> list[dict]:
    return read_json(root / "answer/_leaks/prompts_1_1_1.json")["tries"]


# ch.py -------------------------------------------------------------------------------------------

def test_what_a_judge_finds_is_asked_for_again_with_every_refused_turn(judged_by, fake_llm):
    play(fake_llm, finds(LEAKY, OTHER_WORDS), LEAKY, OTHER_WORDS, HONEST)
    done = run_main(ch.main, judged_by)
    assert "asked again 1 (2 calls)" in done
    assert read_answer(judged_by, "prompts_1_1_1")["challenger"] == HONEST
    asks = [r for r in fake_llm.requests if not is_leak_request(r)]
    judgements = leak_requests(fake_llm)
    assert LEAKY in asks[1].last and 'cable": nothing has shown it' in asks[1].last
    assert LEAKY in asks[2].last and OTHER_WORDS in asks[2].last
    assert [candidate(r) for r in judgements] == [LEAKY, OTHER_WORDS, HONEST]
    quoted = [r.text.count('- "cable": nothing has shown it') for r in judgements]
    assert quoted == [0, 1, 2] and "Known leaks at this turn" not in judgements[0].text
    assert LEAKY not in judgements[1].text   # what was refused, and not who wrote it
    assert PATCH.strip() in judgements[0].text
    assert "src/windlass_reel.py (a file that was not shown)" in judgements[0].text   # a hint
    assert [len(one["findings"]) for one in tries(judged_by)] == [1, 1, 0]
    line, = ledger_lines(judged_by / "answer", stage="ch", state="done")
    assert len(line["calls"]) == 6 and line["asked_again"] == 2


def test_after_the_last_try_the_item_fails_and_the_next_run_asks_anew(judged_by, fake_llm):
    play(fake_llm, finds(LEAKY), LEAKY, LEAKY, LEAKY)
    run_main(ch.main, judged_by, code=1)
    assert read_answer(judged_by, "prompts_1_1_1")["challenger"] is None
    line, = ledger_lines(judged_by / "answer", stage="ch", state="failed")
    assert "shows what it cannot know" in line["error"] and len(line["calls"]) == 6
    run_main(ch.main, judged_by)
    assert len(tries(judged_by)) == 4


def test_one_judge_that_finds_something_is_enough(judged_by, fake_llm):
    panel_and_judges(judged_by, fake_llm, '["mild", "strict"]')
    play(fake_llm, lambda r: said("cable") if r.body["model"] == "strict" and candidate(r) == LEAKY
                             else said(), LEAKY, HONEST)
    run_main(ch.main, judged_by)
    assert read_answer(judged_by, "prompts_1_1_1")["challenger"] == HONEST
    assert [one["judge"] for one in tries(judged_by)[0]["verdicts"]] == ["mild", "strict"]


def test_a_finding_may_be_contested_once_and_the_judge_weighs_it(judged_by, fake_llm):
    defence = "Mine, because the task names the cable."
    play(fake_llm, lambda r: said() if "names the cable" in r.text else said("cable"), LEAKY,
         defence)
    run_main(ch.main, judged_by)
    assert read_answer(judged_by, "prompts_1_1_1")["challenger"] == LEAKY
    assert [one["defence"] for one in tries(judged_by)] == ["", defence]
    # validate.py takes over the verdict that weighed the defence
    n_before = len(leak_requests(fake_llm))
    a_panel(fake_llm, lambda r: said("cable"))
    validated(judged_by)
    assert len(leak_requests(fake_llm)) == n_before
    record = score(judged_by, "prompts_1_1_1")
    assert [one["leak"] for one in record["leaks"]] == [False]
    # a second one is no turn
    play(fake_llm, lambda r: said("cable"), LEAKY, defence, defence, HONEST)
    run_main(ch.main, judged_by, "--force", code=1)
    asks = [request for request in fake_llm.requests if not is_leak_request(request)]
    assert "Mine, because" in asks[-3].last and "could not be used" in asks[-1].last


@pytest.mark.parametrize("reply", [
    "no idea", said("words that are not there"), '{"leak": true, "findings": []}',
    '{"leak": "no", "findings": []}', "{" * 5000, '{"leak": true, "findings": [3]}'])
def test_a_reply_that_cannot_be_read_is_asked_for_once_more_and_then_the_item_fails(
        judged_by, fake_llm, reply):
    play(fake_llm, lambda r: reply, HONEST)
    run_main(ch.main, judged_by, code=1)
    assert len(leak_requests(fake_llm)) == 2
    line, = ledger_lines(judged_by / "answer", stage="ch", state="failed")
    assert "cannot be read" in line["error"] and len(line["calls"]) == 3
    play(fake_llm, finds())   # the turn is kept for the next run
    fake_llm.requests.clear()
    run_main(ch.main, judged_by)
    assert [*map(is_leak_request, fake_llm.requests)] == [True]


def test_a_kill_between_turn_and_verdict_pays_for_neither_again(judged_by, fake_llm):
    answers = iter([LEAKY, said("cable"), Say(HONEST, latency_s=30)])
    fake_llm.always(lambda request: next(answers))
    process = start_script("ch.py", judged_by)
    fake_llm.wait_for(3)
    kill(process)
    play(fake_llm, finds(LEAKY), HONEST)
    run_main(ch.main, judged_by)
    assert fake_llm.n_requests == 5 and fake_llm.requests[2].raw == fake_llm.requests[3].raw
    line, = ledger_lines(judged_by / "answer", stage="ch", state="done")
    assert len(line["calls"]) == 4


def test_without_a_judge_certain_facts_bar(asked, fake_llm):
    fake_llm.always(LEAKY)
    run_main(ch.main, asked, *flags_for(fake_llm), code=1)
    assert fake_llm.n_requests == 3 and not (asked / "answer/_leaks").exists()


def test_what_was_cut_from_the_judge_s_request_may_have_shown_it(judged_by, fake_llm):
    middle = [{"role": role, "content": f"{role} {i} " + "y" * 400} for i in range(8)
              for role in ("assistant", "user")]
    edit(judged_by / "answer/prompts_1_1_1.json", messages=[
        {"role": "system", "content": "rules"}, {"role": "user", "content": "task"}, *middle])
    for limit, is_cut in ((0, False), (3100, True)):
        panel_and_judges(judged_by, fake_llm,
                         f'[{{ model = "auditor", max_prompt_tokens = {limit} }}]')
        play(fake_llm, finds(), HONEST)
        run_main(ch.main, judged_by, "--force")
        text = fake_llm.requests[-1].text
        assert is_leak_request(fake_llm.requests[-1])
        assert ("left out here" in text) == is_cut
        assert "what may well have stood in a part of the conversation that was cut" in text


def test_the_request_has_the_pull_request_once_behind_the_conversation_and_code_before_the_rest(
        judged_by, fake_llm):
    document = "diff --git a/README.md b/README.md\n+words\n"
    edit(judged_by / "commit/proj__repo-1.json", patch=document + PATCH, issue="Do\n  task 1")
    messages = [{"role": "user", "content": "Do task 1"}]
    edit(judged_by / "answer/prompts_1_1_1.json", messages=messages)
    play(fake_llm, finds())
    run_main(ch.main, judged_by)
    for request in fake_llm.requests:
        assert request.text.count(PATCH) == 1 and request.text.endswith(request.last)
        assert f"Patch:\n{PATCH}{document}" in request.last
        assert request.text.count("task 1") - request.text.count("git grep -n 'task 1'") == 1
        assert request.last.startswith("Do task 1\n\n# Private note to you: the pull request")
    assert "]]" not in fake_llm.requests[-1].text.partition(PATCH)[0]   # no marker before it


# validate.py -------------------------------------------------------------------------------------

def panel_and_judges(root, fake, leak: str = '["auditor"]', more: str = "king_share = 0.0",
                     judges: str = '["a"]'):
    root.with_model(fake, f"[leak]\nmodels = {leak}\n{more}\n[judge]\nmodels = {judges}\n"
                    "[duel]\nmin_instances = 1\n", workers=4)


def a_panel(fake, judge=lambda request: said()) -> None:
    fake.always(lambda request: judge(request) if is_leak_request(request) else verdict("22222"))


def leak_requests(fake) -> list:
    return [request for request in fake.requests if is_leak_request(request)]


@pytest.fixture
def duel(tmp_path, fake_llm):
    """Write three turns judged without a leak judge, as an earlier version left them."""
    tmp_path.with_answers(3).with_commits(3)
    panel_and_judges(tmp_path, fake_llm, "[]")
    a_panel(fake_llm)
    validated(tmp_path)
    fake_llm.requests.clear()
    return tmp_path


def leaks_in(root, i: int) -> list[dict] | None:
    return score(root, f"t_{i}")["leaks"]


def test_without_a_leak_judge_an_earlier_root_is_left_as_it_was(duel, fake_llm):
    for i in (1, 2, 3):   # as a version without the field wrote them
        edit(duel / f"score/t_{i}.json", lambda record: record.pop("leaks"))
    before = everything_under(duel / "score")
    asks(duel, fake_llm)
    assert everything_under(duel / "score") == before and '"leaks"' not in before


def test_a_leak_judge_that_is_added_is_asked_alone_and_once(duel, fake_llm):
    panel_and_judges(duel, fake_llm)
    validated(duel)
    assert len(leak_requests(fake_llm)) == fake_llm.n_requests == 3
    validated(duel)
    assert fake_llm.n_requests == 3
    panel_and_judges(duel, fake_llm, '["auditor", "second"]')
    validated(duel)
    assert fake_llm.n_requests == 6
    assert [one["judge"] for one in leaks_in(duel, 1)] == ["auditor", "second"]
    panel_and_judges(duel, fake_llm, '["second"]')   # taken away: nobody is asked
    validated(duel)
    assert fake_llm.n_requests == 6


def test_a_turn_edited_by_hand_is_looked_at_again(duel, fake_llm):
    panel_and_judges(duel, fake_llm)
    validated(duel)
    fake_llm.requests.clear()
    edit(duel / "answer/t_2.json", challenger=LEAKY)
    a_panel(fake_llm, finds(LEAKY))
    validated(duel)
    assert [candidate(request) for request in leak_requests(fake_llm)] == [LEAKY]
    assert leaks_in(duel, 2)[0]["leak"] and not leaks_in(duel, 1)[0]["leak"]
    # marked, not overwritten
    assert read_answer(duel, "t_2")["challenger"] == LEAKY


@pytest.mark.parametrize("leaks", ["x", [3], [{}], [{"judge": 5}], "half", "finding"])
def test_a_verdict_that_a_person_spoilt_is_named_and_costs_its_turn_alone(duel, fake_llm, leaks):
    panel_and_judges(duel, fake_llm)
    validated(duel)
    good = leaks_in(duel, 2)
    spoilt = {"half": [{**good[0], "findings": "none"}],
              "finding": [{**good[0], "findings": [{"quote": 1}]}]}
    edit(duel / "score/t_2.json",
         leaks=spoilt.get(leaks, leaks) if isinstance(leaks, str) else leaks)
    write_json(duel / "answer/_leaks/t_1.json", {"tries": [{"turn": 3, "verdicts": [{}]}]})
    done = validated(duel, code=1)
    assert "t_2.json is not a Score: `leaks`" in done and "Traceback" not in done
    run_main(report.main, duel, code=1)
    assert len([*duel.glob("[dfr]*/t_*.json")]) == 2


def test_kings_are_looked_at_too_and_no_judge_of_the_panel_sees_the_pull_request(duel, fake_llm):
    panel_and_judges(duel, fake_llm, more="king_share = 1.0", judges='["a", "b"]')
    validated(duel)
    assert len(leak_requests(fake_llm)) == 6
    assert sum("quartz" in candidate(r) for r in leak_requests(fake_llm)) == 3
    assert sorted(one["side"] for one in leaks_in(duel, 1)) == ["challenger", "king"]
    others = [request for request in fake_llm.requests if not is_leak_request(request)]
    assert others and not any("fix 1" in request.text for request in others)


@pytest.mark.parametrize("n, n_kings", [(19, 19), (20, 0)])
def test_of_fewer_than_20_turns_every_king_is_looked_at(tmp_path, fake_llm, n, n_kings):
    tmp_path.with_answers(n).with_commits(n)
    panel_and_judges(tmp_path, fake_llm, more="king_share = 1e-9")
    a_panel(fake_llm)
    validated(tmp_path)
    assert sum("quartz" in candidate(r) for r in leak_requests(fake_llm)) == n_kings


def write_run(root, **outputs: str) -> None:
    """Write what running the sides of t_1 has printed."""
    answer = read_answer(root, "t_1")
    root.with_executed("t_1", *((answer[side], {"output": text, "exit_code": 3})
                                for side, text in outputs.items()))


def test_leak_judges_see_what_running_a_side_showed_and_none_is_asked_of_what_was_chosen_blind(
        duel, fake_llm):
    write_run(duel, king="RAN-king", challenger="RAN-challenger")
    panel_and_judges(duel, fake_llm)
    validated(duel)
    shown, = (r.text for r in leak_requests(fake_llm) if " run]]" in r.text)
    mark, = re.findall(r"^\[\[(\w+) run\]\]\n\(exit code 3\)\nRAN-challenger\n", shown,
                       re.MULTILINE)
    assert f"[[{mark} candidate]]" in shown and f"[[{mark} end of the run]]" in shown
    fake_llm.requests.clear()
    edit(duel / "answer/t_2.json", challenger=LEAKY)
    panel_and_judges(duel, fake_llm, more='king_share = 1.0\n[challenger]\nhow = "chosen"')
    validated(duel)
    run_main(report.main, duel)
    assert not leak_requests(fake_llm)
    assert bucket(duel, 2)["leaks"] == bucket(duel, 3)["leaks"] == []


def test_a_reply_of_a_leak_judge_that_a_candidate_has_written_or_printed_is_a_quotation(
        duel, fake_llm):
    write_run(duel, king=said(), challenger=said())
    edit(duel / "answer/t_2.json", challenger=LEAKY.replace("PITCH_OF_THREAD", said()))
    panel_and_judges(duel, fake_llm)
    a_panel(fake_llm, lambda request: f"{said(candidate(request)[:20])} It printed {said()}")
    validated(duel)
    assert [leaks_in(duel, i)[0]["leak"] for i in (1, 2, 3)] == [True, True, False]


def test_a_king_is_looked_at_beside_the_leaks_that_are_known_at_its_turn_and_both_are_counted(
        judged_by, fake_llm):
    play(fake_llm, finds(LEAKY, OTHER_WORDS), LEAKY, OTHER_WORDS)
    run_main(ch.main, judged_by)
    panel_and_judges(judged_by, fake_llm, more="king_share = 1.0")
    wins = prefers("git grep")
    fake_llm.always(lambda request: said() if is_leak_request(request) else wins(request))
    fake_llm.requests.clear()
    validated(judged_by)
    of_king, = leak_requests(fake_llm)   # the challenger's verdict is there
    assert "whoever wrote them" in of_king.text
    assert of_king.text.count('- "cable": nothing has shown it') == 2
    text = report_text(judged_by)
    assert "Asked for again because of leaks: 1 turn (2 calls); 1 of the 1 turn that" in text
    assert "only 1 king checked: too few" in text


def test_a_leak_judge_that_fails_costs_its_own_verdict_alone(duel, fake_llm):
    panel_and_judges(duel, fake_llm)
    a_panel(fake_llm, lambda request: "rubbish")
    done = validated(duel, code=1)
    assert "no verdict of leak auditor" in done
    assert score(duel, "t_1")["score"] == 50.0
    a_panel(fake_llm)
    validated(duel)
    assert len(leaks_in(duel, 1)) == 1


# report.py and export.py -------------------------------------------------------------------------

@pytest.fixture
def reported(tmp_path):
    """Write t_1, which leaks by certain facts, t_2, which does not, and t_3 without a PR record;
    all won; there is no leak judge.
    """
    tmp_path.with_panel("a")
    for i, text in ((1, LEAKY), (2, HONEST), (3, LEAKY)):
        tmp_path.with_answer(f"t_{i}")
        edit(tmp_path / f"answer/t_{i}.json", challenger=text)
        tmp_path.with_score(f"t_{i}", {"a": WON})
        if i < 3:
            tmp_path.with_commit(f"proj__t_{i}", files=["src/windlass_reel.py"], patch=PATCH,
                                 licence="MIT")
    decide(tmp_path)
    run_main(report.main, tmp_path)
    return tmp_path


def bucket(root, i: int) -> dict:
    return read_json(next(root.glob(f"[dfr]*/t_{i}.json")))


def test_a_leaky_turn_is_not_final_nor_for_trainers_and_what_nobody_could_look_at_is(reported):
    assert sorted(path.name for path in reported.glob("final/t*")) == ["t_2.json", "t_3.json"]
    assert {"judge": "facts", "kind": "path", "text": "src/windlass_reel.py",
            "why": "a file that was not shown"} in (bucket(reported, 1)["leaks"])
    assert bucket(reported, 2)["leaks"] == [] and bucket(reported, 3)["leaks"] is None
    text = (reported / "report/report.md").read_text()
    assert "| the challenger shows what it cannot know (kept out of final/) | 1 |" in text
    assert "| without a PR record, so leaks cannot be detected | 1 |" in text
    reported.with_settings(more="[export]\nvalidation = 0.0\nrejected_too = true\n"
                                          "duplicate_similarity = 0\n")
    run_main(export.main, reported)
    left, = json_lines(reported / "export/left_out.jsonl")
    assert (left["name"], left["reason"]) == ("t_1", "shows what it cannot know")
    assert "windlass" in left["detail"]
    found = {form: json_lines(reported / f"export/{form}/train.jsonl")
             for form in ("jsonl", "sft_messages", "dpo", "kto")}
    assert [row["source"] for row in found.pop("jsonl") if row["leaks"]] == ["t_1"]
    for rows in found.values():
        assert {row["source"] for row in rows} == {"t_2", "t_3"}


def test_where_a_leak_judge_is_set_a_turn_without_its_verdict_is_for_no_trainer(reported):
    reported.with_panel("a", more='[leak]\nmodels = ["auditor"]\n[export]\nrejected_too = true\n'
                                            'validation = 0.0\n')
    run_main(report.main, reported)
    assert [path.name for path in reported.glob("final/t*")] == ["t_3.json"]
    assert bucket(reported, 2)["leaks"][0]["kind"] == "no verdict"
    run_main(export.main, reported)
    left = {line["name"]: line["reason"] for line in json_lines(reported / "export/left_out.jsonl")}
    assert left["t_2"] == "no leak verdict"


def test_false_alarms_are_reported_and_a_judge_that_finds_them_everywhere_is_not_trusted(
        tmp_path, fake_llm):
    tmp_path.with_answers(24).with_commits(24)
    panel_and_judges(tmp_path, fake_llm, more="king_share = 1.0")
    a_panel(fake_llm, lambda request: said(candidate(request).split()[1]))
    validated(tmp_path)
    text = report_text(tmp_path)
    assert "The leak judge cannot be trusted" in text and "| any | 100.0 % (" in text
    assert "verdicts on these turns: cost unknown" in text
    assert not [*tmp_path.glob("final/[!_]*.json")]


def test_checks_of_the_judges_ask_no_leak_judge(duel, fake_llm):
    panel_and_judges(duel, fake_llm)
    printed = run_main(check_judges.main, duel, "sanity", "--turns", 2)
    assert "for leaks" not in printed and not leak_requests(fake_llm)
    assert "asks auditor at" in validated(duel) and leak_requests(fake_llm)
