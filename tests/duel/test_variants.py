"""Test the variants of a challenger: their folders, their requests, and their part of the report.
"""
import json
import re
from collections import defaultdict
from itertools import count

import pytest
from conftest import answers, edit, ledger_lines, spent_usd
from fake_judges import A_CALL, report_text, run_main, validated, verdict
from root import read_json, turn_of, write_json

import ch
import king
import validate

NUMBERS = count(1)   # of blind answers
COMMAND = re.compile(r"ls d(\d+)")
SETTINGS = (
    "[judge]\nmodels = [\"a\"]\n[duel]\nmin_turns = 1\nmin_instances = 1\n"
    "[prices]\nm = { in = 50.0, out = 250.0 }\na = { in = 50.0, out = 250.0 }\n")


@pytest.fixture
def root(tmp_path, fake_llm):
    """Write three turns with a king and an informed challenger, judged."""
    tmp_path.with_model(fake_llm, SETTINGS, workers=2).with_prompts(3).with_commits(3)
    play(fake_llm)
    for script in (king, ch):
        run_main(script.main, tmp_path)
    validated(tmp_path)
    fake_llm.requests.clear()
    return tmp_path


def last_of(shown: dict[int, str]) -> int:
    """Return the number of the blind answer that came last."""
    return max(shown, key=lambda i: int(COMMAND.search(shown[i])[1]))


def pick(request, number_of) -> str:
    """Return a choice, made by what is shown behind each number."""
    parts = re.split(r"^\[\[\w{16} (\d+|end)\b.*\]\]\n?", request.last, flags=re.MULTILINE)
    shown: dict[int, str] = defaultdict(str)
    for number, text in zip(parts[1::2], parts[2::2], strict=True):
        if number != "end":
            shown[int(number)] += text
    return json.dumps({"why": "It looks at the {place}.", "choice": number_of(shown)})


def play(fake, number_of=last_of) -> None:
    """Play every role; of blind candidates no two are alike."""

    def reply(request):
        if "Several agents" in request.text:
            return pick(request, number_of)
        if "MODEL 1" in request.text:
            informed_second = "informed" in request.last.partition("MODEL 2")[2]
            return verdict("22222" if informed_second
                           else "11111") if "informed" in request.last else verdict("00000")
        if "the pull request that later solved this task\n" in request.text:
            return turn_of("ls informed", "I know where to look.")
        return turn_of(f"ls d{next(NUMBERS)}", "I look around.")
    fake.always(reply)


def made(root, how: str, *flags) -> str:
    """Make challengers in this way; return what is printed."""
    return run_main(ch.main, root, "--how", how, *flags)


def turns(root, how: str) -> dict[str, dict]:
    folder = root / "variants" / how
    return {path.stem: read_json(path) for path in folder.glob("[!_]*.json")}


def test_another_way_goes_beside_and_is_resumed_and_judged_beside(root, fake_llm):
    how, n_calls = "chosen", 4
    before = (root / f"answer/{answers(root)[0]}.json").read_bytes()
    made(root, how, "--limit=1")
    assert fake_llm.n_requests == n_calls and len(turns(root, how)) == 1
    done = made(root, how)
    assert fake_llm.n_requests == 3 * n_calls and f"validate.py --how {how}" in done
    made(root, how)
    assert fake_llm.n_requests == 3 * n_calls
    assert before == (root / f"answer/{answers(root)[0]}.json").read_bytes()
    validated(root, "--how", how)
    assert read_json(root / f"score_{how}/_duel.json")["turns"] == 3
    lines = ledger_lines(root / "variants" / how)
    assert {line["how"] for line in lines} == {how}
    paid = sum(len(line["calls"]) for line in lines)
    assert paid == 3 * n_calls and spent_usd(root) == pytest.approx(A_CALL * (6 + 6 + 6 + paid))


def test_an_edit_of_a_king_costs_no_call_and_an_edited_variant_is_kept(root, fake_llm):
    made(root, "chosen")
    name, other, _ = answers(root)
    edit(root / f"answer/{name}.json", king=turn_of("ls mine"))
    edit(root / f"variants/chosen/{other}.json", challenger=turn_of("ls edited"))
    fake_llm.requests.clear()
    done = made(root, "chosen")
    assert fake_llm.n_requests == 0 and "edited 1 (kept)" in done
    assert turns(root, "chosen")[name]["king"] == turn_of("ls mine")
    assert turns(root, "chosen")[other]["challenger"] == turn_of("ls edited")


@pytest.mark.parametrize("number_of, why, n_picks", [
    (lambda shown: 0, "none of the blind answers was picked", 1),
    (lambda shown: 3, "in another order another blind answer was picked", 2),
    (lambda shown: min(shown, key=lambda i: int(COMMAND.search(shown[i])[1])),
     "the king's own answer is the best", 1)])
def test_where_no_blind_answer_beats_the_king_s_in_both_orders_there_is_no_challenger_and_a_draw(
        root, fake_llm, number_of, why, n_picks):
    play(fake_llm, number_of)
    done = made(root, "chosen")
    assert "left out 3 by a rule" in done and turns(root, "chosen") == {}
    line = ledger_lines(root / "variants/chosen", state="excluded")[0]
    assert line["error"] == why and len(line["calls"]) == 2 + n_picks
    assert [one["why"] for one in line["picks"]] == ["It looks at the {place}."] * n_picks
    fake_llm.requests.clear()
    assert "excluded 3" in made(root, "chosen") and fake_llm.n_requests == 0
    play(fake_llm)
    made(root, "chosen", "--force", "--limit=1")


def test_a_picked_turn_that_names_what_nothing_has_shown_is_counted_and_in_no_final(
        tmp_path, fake_llm):
    more = f'{SETTINGS}[challenger]\nhow = "chosen"\n'
    tmp_path.with_model(fake_llm, more, workers=1).with_prompts(2).with_commits(2)
    blind = iter(("ls a", "ls b", "cat src/file_1.py", "ls c", "ls d", "ls e"))

    def reply(request):
        if "Several agents" in request.text:   # the first turn's is picked, of the second none
            return pick(request, lambda shown: max(
                [i for i in shown if "file_1" in shown[i]], default=0))
        if "MODEL 1" in request.text:
            return verdict("22222" if "file_1" in request.last.partition("MODEL 2")[2]
                           else "11111")
        return turn_of(next(blind), "I look.")

    fake_llm.always(reply)
    for script in (king, ch):
        run_main(script.main, tmp_path)
    said = run_main(validate.main, tmp_path)
    assert "excluded 1" in said and "waiting" not in said
    text = report_text(tmp_path)
    assert [path.parent.name for path in tmp_path.glob("*/prompts_*_1.json")
            if path.parent.name in ("final", "refined")] == ["refined"]
    assert "cannot know (kept out of final/) | 1" in text
    assert "the margin leaves out (over all turns it is 50.00) | 1" in text
    assert any(re.search(rb'"enum": ?\[0, ?1, ?2, ?3\]', r.raw) for r in fake_llm.requests)


@pytest.mark.parametrize("passed, n_asked, expected", [
    ("a,ab,", 0, 1), ("a,,a", 2, 2), ("a,,", 0, None)])   # of three sides, which tests
def test_hidden_tests_decide_among_edits_and_running_is_shown_to_who_chooses_among_the_rest(
        root, fake_llm, passed, n_asked, expected):
    name = answers(root)[0]
    sides = [turn_of(f"ls d{i}", "I look around.") for i in (7001, 7002, 7003)]
    edit(root / f"answer/{name}.json", king=sides[0])
    write_json(root / f"answer/_samples/{name}.json", {"samples": sides[1:]})
    runs = [{"output": f"side {i} was run", "changes": {"a.py": f"diff {i}"},
             "tests": {f"HIDDEN_{test}": "passed" if test in tests else "failed" for test in "ab"}}
            for i, tests in enumerate(passed.split(","))]
    root.with_executed(name, *zip(sides, runs, strict=True))
    play(fake_llm)
    made(root, "chosen", "--only", name)
    picked = turns(root, "chosen").get(name)
    assert (picked and sides.index(picked["challenger"])) == expected
    asked = fake_llm.requests
    assert len(asked) == n_asked and not any(
        "HIDDEN" in r.text or "side 1" in r.text for r in asked)
    assert all("(exit code 0)\nside 2 was run" in r.text for r in asked)
