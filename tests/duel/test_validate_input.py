"""Check that rubbish in score/, answer/ and the settings is named with its place."""
from __future__ import annotations

import json

import pytest
from conftest import write_toml
from fake_judges import (
    asked,
    calls,
    duel,
    judged,
    score_path,
    validate_here,
    validated,
    write_answers,
    write_panel,
)

N = 5


@pytest.fixture
def root(tmp_path, fake_llm):
    """Write five turns, judged by a and b; the fake starts counting afterwards."""
    return judged(tmp_path, fake_llm, N)


def in_record(change):
    """Make a change of a record one of its text."""
    def changed(text):
        record = json.loads(text)
        change(record)
        return json.dumps(record)
    return changed


def in_entry(**fields):
    return in_record(lambda record: record["judges"][0].update(fields))


def in_scores(**fields):
    return in_record(lambda record: record["judges"][0]["scores"].update(fields))


@pytest.mark.parametrize("change, said", [
    (lambda text: text[:200], "is not readable JSON"),
    (lambda text: "[]", "is not a Score: it is a list"),
    (lambda text: text.replace("75.0", "1" + "0" * 400), "`score` is not a number from 0 to 100"),
    (lambda text: text.replace("75.0", "NaN"), "`score` is not a number from 0 to 100"),
    (lambda text: text.replace("75.0", '"75"'), "`score` is not a number from 0 to 100"),
    (in_record(lambda record: record.pop("judges")), "`judges` is missing"),
    (in_record(lambda record: record.update(metrics=[])), "`metrics` is a list, not an object"),
    (in_record(lambda record: record.update(judges={})), "`judges` is an object, not a list"),
    (in_scores(progress=0.7), "[0].scores does not hold 0, 0.5 or 1 for each of correctness"),
    (in_scores(progress=True), "[0].scores does not hold"),
    (in_scores(style=1), "[0].scores does not hold"),
    (in_record(lambda record: record["judges"][0]["scores"].pop("progress")),
     "[0].scores does not hold"),
    (in_entry(order="kings_first"), "[0].order is 'kings_first', not one of king_first"),
    (in_entry(parse_ok="yes"), "[0].parse_ok is a text"),
    (in_entry(judge=None), "[0].judge is null"),
], ids=["half", "list", "huge", "NaN", "text", "judges gone", "metrics", "judges", "0.7", "true",
        "a sixth", "four",
        "order", "parse_ok", "judge"])
def test_a_broken_score_is_named_costs_nothing_and_stops_no_other(root, fake_llm, change, said):
    path = score_path(root, "t_2")
    path.write_text(change(path.read_text()))
    broken = path.read_text()
    score_path(root, "t_3").unlink()
    done = validated(root, code=1)
    assert f"{path} " in done and said in done, done
    assert "run again" in done and "Traceback" not in done
    assert asked(fake_llm) == calls("ab", 3)
    assert path.read_text() == broken
    assert duel(root)["turns"] == 4


@pytest.mark.parametrize(
    "fields", [{"attempt": "2"}, {"attempt": None}, {"marker": ["x"]}, {"error": 5}], ids=str)
@pytest.mark.parametrize("panel", ["ab", "abc"])
def test_an_entry_that_a_person_wrote_wrongly_costs_its_own_turn_at_most(
        root, fake_llm, panel, fields):
    path = score_path(root, "t_2")
    path.write_text(in_entry(parse_ok=False, **fields)(path.read_text()))
    (root / "score" / "_ledger.jsonl").unlink()
    write_panel(root, fake_llm, *panel)
    done = validate_here(root).stderr
    assert "Traceback" not in done, done
    assert {i for _, i, _ in asked(fake_llm)} - {2} == ({1, 3, 4, 5} if panel == "abc" else set())


def test_a_broken_answer_is_named_and_its_score_is_no_orphan(root, fake_llm):
    path = root / "answer" / "t_2.json"
    path.write_text(path.read_text().replace("quartz", "\\u0000quartz"))
    done = validated(root, code=1)
    assert "`king` has a NUL byte" in done and "orphan" not in done
    assert duel(root)["turns"] == 4 and fake_llm.n_requests == 0


# a section and a line of it | what is named
NO_SENSE = """
[judge] models = [] | [judge] models
[judge] models = "a" | [judge] models is not a list
[judge] models = ["a", 7] | [judge] models[1] should be
[judge] models = [{ name = "a" }] | [judge] models[0] should be
[judge] models = [{ model = "a", temprature = 1.0 }] | models[0] has an unknown key: temprature
[judge] models = [{ model = "a", max_tokens = 0 }] | [judge] models[0] max_tokens is 0
[judge] models = [{ model = "a", endpoint = "nowhere" }] | 'nowhere'
[judge] models = ["a", "b", "a"] | [judge] models names 'a' twice
[judge] models = ["a", { model = "b", name = "a" }] | [judge] models names 'a' twice
[judge] order = "bth" | [judge] order
[judge] score_max_tokens = 0 | [judge] score_max_tokens
[duel] gate_alpha = 2 | [duel] gate_alpha
[duel] gate_alpha = nan | [duel] gate_alpha
[duel] min_valid_turn_frac = 1.5 | [duel] min_valid_turn_frac
[duel] win_margin = -101.0 | [duel] win_margin
[duel] bootstrap_resamples = 0 | [duel] bootstrap_resamples
[duel] min_turn = 3 | min_turns?
"""


@pytest.mark.parametrize("case", NO_SENSE.strip().split("\n"))
def test_settings_that_make_no_sense_end_with_2_and_name_the_place(tmp_path, fake_llm, case):
    line, place = case.split(" | ")
    write_answers(tmp_path, 1)
    write_toml(tmp_path, {"base_url": fake_llm.base_url}, line.replace("] ", "]\n", 1) + "\n")
    done = validated(tmp_path, code=2)
    assert place in done, done
    assert "Traceback" not in done
    assert fake_llm.n_requests == 0
    assert not (tmp_path / "score").exists()


def test_a_mode_that_is_none_ends_with_2_and_names_the_variable(tmp_path, fake_llm, monkeypatch):
    write_answers(tmp_path, 1)
    write_panel(tmp_path, fake_llm, "a")
    monkeypatch.setenv("DUEL_MODE", "3")
    done = validated(tmp_path, code=2)
    assert "DUEL_MODE" in done and "king, reference" in done
    validated(tmp_path, "--mode", "queen", code=2)
    assert fake_llm.n_requests == 0
