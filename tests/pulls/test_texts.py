"""Test the questions to a model about a pull request's text, and when it is rewritten."""
import json
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import pytest
from conftest import item_calls, settings_for

from codedata.code.patches import diff_of
from codedata.errors import Excluded, ItemFailed
from codedata.llm import Models
from codedata.pulls.instructions import TextWriter, own_text, tells
from codedata.records import Commit

GOLD = """diff --git a/heron.py b/heron.py
--- a/heron.py
+++ b/heron.py
@@ -1,2 +1,4 @@
+def _stride_below(depth_cm):
+    return depth_cm // 7
 def wade(depth_cm):
-    return _pace_of(depth_cm)
+    return _stride_below(depth_cm)
"""
TESTS = GOLD.replace("heron.py", "test_heron.py").replace("_stride_below", "wade_slowly")
COMMIT = Commit("birds__heron-7", "birds/heron", "javascript", "0" * 40, "",
                "Herons sink in the mud, as it is deep.", ["heron.py"], GOLD, TESTS)
TASK = SimpleNamespace(
    tests={"test.patch": TESTS.encode(),
           "config.json": json.dumps({"FAIL_TO_PASS": ["t.py::test_mud_is_deep"]}).encode()},
    solution={"gold.patch": GOLD.encode()}, new_names=[], about={})
NAMED = SimpleNamespace(**{**vars(TASK), "new_names": ["wade_slowly"]})
REPORT = "Why 3?\n\n    wade_slowly(7)\n\nIt gives 3, I expected 2.\n"


def reported(task, **about) -> SimpleNamespace:
    return SimpleNamespace(problem_statement=REPORT, reproduction=about)


def unreported(task) -> SimpleNamespace:
    raise Excluded("no report")


UNSAID = {"test": "test_mud_is_deep", "demand": "the name wade_slowly"}


def found(unsaid=(), told=()) -> str:
    return json.dumps({"unsaid": [*unsaid], "tells": [{"quote": one, "why": "w"} for one in told]})


def written(tmp_path, fake_llm, *replies, writer: str = "llm", commit: Commit = COMMIT,
            task=TASK, make=unreported, **fields) -> str:
    fake_llm.script(*replies)
    settings = settings_for(fake_llm)
    settings = replace(settings, pr_tasks=replace(settings.pr_tasks, writer=writer))
    with Models(settings) as models, item_calls(tmp_path) as calls:
        writer_of_texts = TextWriter(settings, models, SimpleNamespace(identity=dict, make=make))
        text = writer_of_texts.text_of(task, replace(commit, **fields))
    assert ("told" in calls.notes) == (writer == "llm")
    return text


def test_a_text_that_does_is_kept_and_without_a_model_it_is_the_requests_own(tmp_path, fake_llm):
    assert written(tmp_path, fake_llm, writer="own") == "Herons sink in the mud, as it is deep.\n"
    assert written(tmp_path, fake_llm, found()) == "Herons sink in the mud, as it is deep.\n"
    request, = fake_llm.requests
    assert "test_mud_is_deep" in request.text and "_stride_below" in request.text
    assert own_text(replace(COMMIT, issue="It sinks. ")) == "It sinks.\n"


@pytest.mark.parametrize(("description", "text"), [
    ("Herons sink (#7)\n\nIn mud: deep.\n\nCo-authored-by: E <e@x>\nChange-Id: I12",
     "Herons sink\n\nIn mud: deep."),
    ("Sink\n\nIt closes #3.\n\nCo-authored-by: E <e@x>\nCLoses https://x.org/a/pull/7\nFixes #5",
     "Sink"),
    ("Sink\n\nThis PR fixes #3.\n\nIt fixes #3 in mud.\nFrom https://github.com/a/b/pull/7: no",
     "Sink\n\nThis PR fixes #3.\n\nIt fixes #3 in mud."),
    ("Merge pull request #7 from birds/mud\n\nHerons sink (#7)", "Herons sink"),
    ("Fix: sinking", "Fix: sinking"),
    ("Merge pull request #7 from birds/mud\n\nFIX: sinking\n\nNote: deep mud raises MudError",
     "FIX: sinking\n\nNote: deep mud raises MudError"),
    ("Sink (#7)\n\n* Sink\n\nCloses #5\n\n* Update changelog\n\n* wip", "Sink"),
    ("Sink (#7)\n\n* Herons sink in mud.\n\n* Update test_mud.py\n\n* wip",
     "Sink\n\n* Herons sink in mud."),
    ("Sink (#7)\n\n* Sink\nlow\n\n* wip\n\n* fix\n\nMud\nis deep.\n\n* one\n* more\n\n---------\n\n"
     "Signed-off-by: E <e@x>", "Sink\n\n* Sink\nlow\n\nMud\nis deep.\n\n* one\n* more"),
    ("Merge pull request #7 from birds/mud\n\nSink\n\n----------\nDeep.\nBy mud-tidy[bot]\n\n"
     "for more, see https://pre-commit.ci\n(cherry picked)", "Sink\n\nDeep.\n\n(cherry picked)"),
    ("Merge branch 'mud'\n\n# Conflicts:\n#\tsrc/mud.py\n#\ttests/mud.py", ""),
    ("Raise mud\n\nBumps [mud](https://x.org) from 1.0 to 2.\nIt is deep.",
     "Raise mud\n\nIt is deep."),
    ("Raise mud\n\nDeep.\n\n---\nupdated-dependencies:\n- dependency-name: mud\n  version: 2\n..."
     "\n\nSigned-off-by: E <e@x>", "Raise mud\n\nDeep."),
    ("[pre-commit.ci] autoupdate\n\nhooks", "[pre-commit.ci] autoupdate\n\nhooks"),
    ("Sink\n\n* They sink.", "Sink\n\n* They sink."),
    ("Sink\n\nThus:\n\n* They\n\n* sink", "Sink\n\nThus:\n\n* They\n\n* sink")])
def test_what_git_and_its_host_have_added_is_no_part_of_a_text(description, text):
    assert own_text(replace(COMMIT, description=description)) == (f"{text}\n" if text else "")


def test_entries_in_a_changelog_are_words_of_a_request_that_solves_no_issue():
    entry = "* Herons no longer sink in mud.\n"
    patch = diff_of({}, {"CHANGES.rst": f"1.1\n---\n\n{entry}".encode()})
    commit = replace(COMMIT, description="Sink (#7)", patch=GOLD + patch)
    assert own_text(commit) == f"Sink\n\n{entry}" and tells(commit, own_text(commit)) == []
    assert own_text(replace(commit, issue="They sink.")) == "They sink.\n"


def test_added_documentation_tells_what_the_tests_use(tmp_path, fake_llm):
    patch = diff_of({}, {"docs/mud.md": b"wade_slowly keeps out of mud.\n"})
    commit = replace(COMMIT, patch=GOLD + patch)
    text = (f"{COMMIT.description}\n\nThe documentation is to say:\n\n"
            "    wade_slowly keeps out of mud.\n")
    assert written(tmp_path, fake_llm, writer="own", task=NAMED, commit=commit) == text
    assert written(tmp_path, fake_llm, writer="own", commit=commit) == f"{COMMIT.description}\n"


def test_a_request_whose_text_a_rule_is_against_gets_one_only_from_a_model(tmp_path, fake_llm):
    nothing = replace(COMMIT, description="Merge commit from fork\n\nCo-authored-by: E <e@x>")
    with pytest.raises(Excluded, match="fewer than 8 words"):
        written(tmp_path, fake_llm, writer="own", commit=nothing)
    assert written(tmp_path, fake_llm, writer="own", task=NAMED) == f"{COMMIT.description}\n"
    assert written(tmp_path, fake_llm, f"<issue>{COMMIT.description}</issue>", found(),
                   commit=nothing) == f"{COMMIT.description}\n"


def test_words_that_name_nothing_of_the_tests_get_a_script(tmp_path, fake_llm):
    own, body = COMMIT.description, REPORT.partition("\n\n")[2]
    texts = {own: f"{own}\n\n{body}", "": REPORT, f"{own} See _stride_below.": REPORT,
             f"{own}\n\nSee _stride_below.": f"{own}\n\n{body}",   # its title stays
             f"{own}\n\nWhat a pity.": f"{own}\n\nWhat a pity.\n\n{body}",   # both patches: a/
             f"{own}\n\nThey wade.": f"{own}\n\nThey wade.\n\n{body}",   # no code
             f"{own} See wade().": f"{own} See wade().\n\n{body}",   # a title only
             f"{own}\n\nSee wade().": f"{own}\n\nSee wade().\n"}
    for said, text in texts.items():
        assert text == written(tmp_path, fake_llm, writer="own", make=reported,
                               issue=said, description="")
    said = f"{own}\n\nSee wade()."   # a commit's message
    assert f"{said}\n\n{body}" == written(tmp_path, fake_llm, writer="own", make=reported,
                                          description=said)
    make = partial(reported, kind="failing_test")   # its title is that of the test
    assert written(tmp_path, fake_llm, writer="own", make=make) == f"{own}\n\n{REPORT}"
    text = f"{own} wade_slowly(7) should give 2.\n"
    assert text == written(tmp_path, fake_llm, found(), f"<issue>{text}</issue>", found(),
                           make=reported)
    assert all(body in request.text for request in fake_llm.requests[:2])
    assert "- a program has put its parts together" in fake_llm.requests[1].text
    assert f"{said}\n" == written(tmp_path, fake_llm, found(), make=reported, description=said)


def test_a_request_with_ten_values_that_only_its_tests_know_is_excluded(tmp_path, fake_llm):
    values = [f"bird{letter}" for letter in "abcdefghij"]
    task = SimpleNamespace(**{**vars(TASK), "about": {"new_values": values}})
    listed = SimpleNamespace(**{**vars(task), "new_names": ["a birdj"]})
    with pytest.raises(Excluded, match=r"demand 10 words .*: birda, birdb"):
        written(tmp_path, fake_llm, writer="own", task=task, make=reported)
    told = f"{COMMIT.description} birdj"
    assert told in written(tmp_path, fake_llm, writer="own", task=task, make=reported,
                           description=told)
    assert written(tmp_path, fake_llm, writer="own", task=listed, make=reported)


def test_a_text_is_written_until_nothing_is_unsaid_and_nothing_told(tmp_path, fake_llm):
    good = "Herons sink\n\n`wade_slowly(depth_cm)` keeps them out of the mud.\n"
    text = written(
        tmp_path, fake_llm, found([UNSAID]), "no issue",
        "<issue>Call _stride_below, see test_mud_is_deep.</issue>", found(),
        f"<issue>{good}</issue>", found(told=["out of the mud"]), f"<issue>{good}</issue>", found())
    assert text == good
    asked = [request.text for request in fake_llm.requests]
    assert "the name wade_slowly (test_mud_is_deep)" in asked[1]
    assert "no issue between" in asked[2]
    assert "'_stride_below'" in asked[4] and "the test 'test_mud_is_deep'" in asked[4]
    assert "it tells the solution: 'out of the mud'" in asked[6]


def test_a_text_that_an_export_would_leave_out_is_written_until_it_would_not(tmp_path, fake_llm):
    text = f"{COMMIT.description} See wade_slowly.\n"
    assert written(tmp_path, fake_llm, found(), "<issue>It sinks.</issue>", found(),
                   f"<issue>{text}</issue>", found(), task=NAMED) == text
    asked = [request.text for request in fake_llm.requests]
    assert "lacks names or wording that its tests use: wade_slowly" in asked[1]
    assert "it has fewer than 8 words: It sinks." in asked[3]


def test_a_reader_that_quotes_what_is_not_there_is_asked_again(tmp_path, fake_llm):
    assert written(tmp_path, fake_llm, "hm", found(told=["stilts"]), found())
    assert "does not say 'stilts'" in fake_llm.requests[2].text
    with pytest.raises(ItemFailed):
        written(tmp_path / "other", fake_llm, *["hm"] * 9)


def test_words_that_only_the_solution_has_are_told(tmp_path):
    assert tells(COMMIT, "Use _stride_below in wade.") == [
        "the name '_stride_below', a name that was not shown"]
    assert tells(COMMIT, "wade_slowly is new.") == []
    assert tells(COMMIT, "Use _stride_below.", said="Use\n_stride_below.") == []
