"""Check that rubbish in score/, answer/ and the settings is named with its place."""
import json

import pytest
from fake_judges import asked, calls, duel, score_path, validated
from fake_judges import root as root  # a fixture
from line_tables import rows


def changed(text: str, place: str, value: str) -> str:
    """Return a record's text with this value, which is JSON or `gone`, at a place as a.0.b."""
    record = json.loads(text)
    *folders, last = place.split(".")
    part = record
    for name in folders:
        part = part[int(name) if name.isdigit() else name]
    part.pop(last) if value == "gone" else part.update({last: json.loads(value)})
    return json.dumps(record)


# a place in the record | what stands there | what is said
@pytest.mark.parametrize("place, value, said", rows(f"""
score                    | 1{"0" * 400}   | `score` is not a number from 0 to 100
score                    | NaN            | `score` is not a number from 0 to 100
score                    | "75"           | `score` is not a number from 0 to 100
judges                   | gone           | `judges` is missing
metrics                  | []             | `metrics` is a list, not an object
judges                   | {{}}           | `judges` is an object, not a list
judges.0.scores.progress | 0.7            | [0].scores does not hold 0, 0.5 or 1 for each of correct
judges.0.scores.progress | true           | [0].scores does not hold
judges.0.scores.style    | 1              | [0].scores does not hold
judges.0.scores.progress | gone           | [0].scores does not hold
judges.0.order           | "kings_first"  | [0].order is 'kings_first', not one of king_first
judges.0.parse_ok        | "yes"          | [0].parse_ok is a text
judges.0.judge           | null           | [0].judge is null
# the file as a whole
                         | half           | is not readable JSON
                         | []             | is not a Score: it is a list
"""))
def test_a_broken_score_is_named_costs_nothing_and_stops_no_other(
        root, fake_llm, place, value, said):
    path = score_path(root, "t_2")
    whole = path.read_text()
    broken = changed(whole, place, value) if place else value.replace("half", whole[:200])
    path.write_text(broken)
    score_path(root, "t_3").unlink()
    done = validated(root, code=1)
    assert f"{path} " in done and said in done, done
    assert "run again" in done and "Traceback" not in done
    assert asked(fake_llm) == calls("ab", 3)
    assert path.read_text() == broken
    assert duel(root)["turns"] == 4


@pytest.mark.parametrize("field, value", rows("""
attempt | "2"
attempt | null
marker  | ["x"]
error   | 5
"""))
@pytest.mark.parametrize("panel", ["ab", "abc"])
def test_an_entry_that_a_person_wrote_wrongly_costs_its_own_turn_at_most(
        root, fake_llm, panel, field, value):
    path = score_path(root, "t_2")
    unread = changed(path.read_text(), "judges.0.parse_ok", "false")
    path.write_text(changed(unread, f"judges.0.{field}", value))
    (root / "score/_ledger.jsonl").unlink()
    root.with_judges(fake_llm, *panel)
    done = validated(root, code=None)
    assert "Traceback" not in done, done
    assert {i for _, i, _ in asked(fake_llm)} - {2} == ({1, 3, 4, 5} if panel == "abc" else set())


# a section and a line of it | what is named
@pytest.mark.parametrize("setting, place", rows("""
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
[duel] gate_alpha = 2 | [duel] gate_alpha
[duel] gate_alpha = nan | [duel] gate_alpha
[duel] min_valid_turn_frac = 1.5 | [duel] min_valid_turn_frac
[duel] win_margin = -101.0 | [duel] win_margin
[duel] min_turn = 3 | min_turns?
"""))
def test_settings_that_make_no_sense_end_with_2_and_name_the_place(
        tmp_path, fake_llm, setting, place):
    tmp_path.with_answers(1).with_model(fake_llm, setting.replace("] ", "]\n", 1) + "\n")
    done = validated(tmp_path, code=2)
    assert place in done, done
    assert fake_llm.n_requests == 0
    assert not (tmp_path / "score").exists()


def test_a_mode_that_is_none_ends_with_2_and_names_the_variable(tmp_path, fake_llm, monkeypatch):
    tmp_path.with_answers(1).with_judges(fake_llm, "a")
    monkeypatch.setenv("DUEL_MODE", "3")
    done = validated(tmp_path, code=2)
    assert "DUEL_MODE" in done and "king, reference" in done
    assert fake_llm.n_requests == 0
