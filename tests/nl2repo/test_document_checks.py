"""Check what the checks of documents find: of sixty, half have a planted fault."""
import json
import os
from dataclasses import replace
from functools import cache

import pytest
from conftest import REPO
from line_tables import rows
from root import read_json
from stripped_tide import TIDEBOOK, analysed

from codedata.errors import ItemFailed
from codedata.nl2repo.document_checks import (
    Checks,
    HiddenParts,
    example_findings,
    form_findings,
    run_examples,
)
from codedata.nl2repo.documents import FUNCTION, Codebase, function_content
from codedata.nl2repo.write_documents import HandIn
from codedata.sandbox import open_sandbox

DOCUMENTS = [read_json(path)
             for path in sorted((REPO / "tests/nl2repo/documents").glob("*.json"))]
PROJECTS = sorted({one["project"] for one in DOCUMENTS})
LABEL = f"tests-documents-{os.getpid()}"


@cache
def hidden_of(place: str) -> HiddenParts:
    """Return the hidden parts of a project without the bodies that DOCUMENTS describe."""
    folder = REPO / place
    analysis = analysed(folder)
    project = Codebase.of(folder.name, folder, analysis)
    subjects = frozenset(one["subject"] for one in DOCUMENTS if one["project"] == place)
    tests = frozenset(one["id"] for one in analysis.entities if one["is_test"])
    paths = frozenset(path.relative_to(folder).as_posix() for path in folder.rglob("*"))
    return HiddenParts(project, subjects - {""}, tests, paths)


def checks_of(document: dict) -> Checks:
    hidden, subject = hidden_of(document["project"]), document["subject"]
    return Checks(hidden,
                  hidden.project.function(subject) if subject else None)


@pytest.fixture(scope="module")
def found() -> list[list[str]]:
    """Return the findings of each document; all examples run in one container."""
    with open_sandbox("docker", scripts=[], run_label=LABEL) as box:
        for place in PROJECTS:
            box.put(REPO / place, "/testbed")
        codes = [*{one["code"]
                   for document in DOCUMENTS for one in document["content"]["examples"]}]
        answers = dict(zip(codes, run_examples(box, [{"code": code} for code in codes], ""),
                           strict=True))
    return [checks_of(one).findings(one["content"], [
        answers[example["code"]] for example in one["content"]["examples"]]) for one in DOCUMENTS]


@pytest.mark.docker
def test_of_thirty_planted_faults_29_are_found_and_no_good_document_is_refused(found):
    faulty = [i for i, one in enumerate(DOCUMENTS) if one["fault"]]
    good = [i for i, one in enumerate(DOCUMENTS) if not one["fault"]]
    assert (len(faulty), [len(good), *(i for i in good if found[i])]) == (30, [30])
    missed = [i for i in faulty if not found[i]]
    assert missed == [33]   # a wrong default that only a sentence states


@pytest.mark.docker
@pytest.mark.parametrize(("i", "words"), [
    (30, "`parameters` are stated as `line` with annotation null"),
    (38, "`raises` has `TypeError`, which neither the function nor what it calls raises"),
    (49, "It shares 26% of a body's runs of 8 words and symbols"),
    (54, "It quotes 40 characters in a row of the tests in tests/tides.py: ' load(\"7"),
    (55, "It names the test `tests/test_header.py`.")])
def test_a_finding_says_what_to_do(found, i, words):
    assert any(one.startswith(words) for one in found[i]), found[i]


@pytest.mark.docker
def test_examples_run_as_in_a_session_each_by_itself_and_within_limits():
    codes = ["x = 2\nx * 21\nNone\n'a'", "raise ValueError('no\\nmore')\n1", "x", "def f(:",
             "while True: pass", "print('y' * 20_000)", "import os; os.getpid()", "input()",
             "import sys; print('out', file=sys.stderr); sys.exit(3)\n", "print('\\udc80')",
             "import os; _ = os.system('sleep 300 & exit')\n'left'"]
    with open_sandbox("docker", scripts=[], run_label=LABEL) as box:
        examples = [{"code": code, "output": ""} for code in codes]
        answers = run_examples(box, examples, "", seconds=1)
        assert "sleep" not in box.run("cat /proc/[0-9]*/comm").output
        box.run("ln -s /bin/true /usr/local/bin/python3")
        with pytest.raises(ItemFailed, match="did not run"):
            run_examples(box, examples, "")
    assert [pair[0] for pair in answers[:6]] == [
        "42\n'a'\n", "ValueError: no\nmore\n1\n", "NameError: name 'x' is not defined\n",
        "SyntaxError: invalid syntax\n", None, None]
    assert answers[7][0] == "EOFError: EOF when reading a line\n" and answers[8][0] == ""
    assert "UnicodeEncodeError" in answers[9][0] and answers[10][0] == "'left'\n"
    assert example_findings(examples[6:7], answers[6:7]) == {
        0: "`examples[0]` does not print the same each time."}


@pytest.mark.parametrize("wrong, finding", rows("""
[]                                         | `content` is not an object.
{}                                         | `content` lacks `signature`.
{"algorithm": [1]}                         | `content.algorithm[0]` is not a text.
{"returns": {"annotation": 3, "text": ""}} | `content.returns.annotation` is not a text or null.
"""))
def test_content_of_another_form_is_named(wrong, finding):
    right, wrong = DOCUMENTS[27]["content"], json.loads(wrong)
    assert form_findings(right, FUNCTION) == []
    assert finding in form_findings(right | wrong if wrong else wrong, FUNCTION)


def test_what_a_solver_sees_anyway_is_no_leak_and_what_is_hidden_is():
    hidden = hidden_of("tests/projects/tidebook")
    source = (TIDEBOOK / "tidebook.py").read_text()
    assert hidden.findings(hidden.project.readme + source[:source.index("HOURS")]) == []
    seen = 'Yield (hour, height), with a straight line between the hours that are known.'
    body = "for hour in range(first, last, step): yield hour, round("   # broken otherwise
    assert hidden.findings(seen) == [] and "tidebook.py::Table.filled" in hidden.findings(body)[0]
    assert hidden.findings("from tidebook import GapError, Table, TideError, dump, load") == []
    filled = ["tidebook.py::Table.filled"]
    assert (hidden.overlap(seen, filled), hidden.overlap(source, filled)) == (0, 1)


def test_a_message_that_an_example_prints_may_be_told_and_nothing_else_of_its_body():
    hidden = hidden_of("tests/projects/tidebook")
    hidden = replace(hidden, functions=hidden.functions | {"tidebook.py::Table.span"})
    body = hidden.bodies["tidebook.py::Table.span"]
    told = "TideError: Brest: there are no heights, so no range either"
    assert "quotes 40 characters" in hidden.findings(told)[0]
    assert hidden.findings(hidden.without_messages(told, ["TideError: Brest: gone"])) != []
    assert hidden.findings(hidden.without_messages(told, [told])) == []
    assert hidden.findings(hidden.without_messages(body, [body])) != []


PHASE = read_json(REPO / "tests/nl2repo/documents/27.json")
BODY = "if abs(now - before) <= tolerance: return"
HOSTILE = rows(r"""
{"purpose": "\u001b]0;x\u0007"}                    | It contains '\x1b'
{"purpose": "\u202e"}                             | u202e
{"purpose": "<SCRIPT>"}                           | <SCRIPT
{"purpose": "<!--"}                               | <!--
{"algorithm": ["```"]}                            | ```
{"purpose": "Is\n~~~~"}                           | ~~~
{"examples": [{"code": "1", "output": "\u009b31m"}]} | x9b
{"purpose": "`../../x.py`"}                       | does not exist
{"purpose": "`/etc/`"}                            | does not exist
{"signature": "BODY"}                             | It quotes 40 characters
{"signature": "DEEP"}                             | nothing that can be read
""")
LONG = {"BODY": f"x = {BODY!r}\n{PHASE['content']['signature']}",
        "DEEP": "def phase(" + "(" * 5_000}


@pytest.mark.parametrize("harm, told", HOSTILE)
def test_a_hostile_document_is_refused(harm, told):
    harm = json.loads(harm)
    content = PHASE["content"] | {key: LONG.get(str(text), text) for key, text in harm.items()}
    answers = [[one["output"]] * 2 for one in content["examples"]]
    submission = HandIn(checks_of(PHASE), lambda examples: answers)
    assert told in submission.submit(json.dumps(content)) and submission.content is None


def test_names_and_paths_in_backquotes_have_to_exist():
    text = ("`tidebook.py`, `tests/`, `./tests/tides.py`, `gone/`, `load`, `tidebook.load()`, "
            "`lode`, `1-9/2`, `x = lode`, ``lode``, `len`")
    assert hidden_of("tests/projects/tidebook").unknown(text) == [
        "The path `gone/` does not exist.", "The name `lode` does not exist."]


def test_a_template_drops_what_does_not_pass_and_keeps_the_rest():
    checks = checks_of(DOCUMENTS[27])
    draft = function_content(checks.function)
    draft["examples"] = [{"code": "1", "output": "1"}, {"code": "2", "output": "3"}]
    answers = [["1\n", "1\n"], ["2\n", "2\n"]]
    kept = {**draft, "examples": draft["examples"][:1]}
    assert checks.tidied(draft, answers) == kept and checks.findings(kept, answers[:1]) == []
    for shown in (checks.hidden.bodies[checks.subject],
                  "It is what `test_slack_water_is_within_the_tolerance` wants."):
        told = {**draft, "algorithm": [shown]}
        assert checks.tidied(told, answers) == {**kept, "algorithm": []}
        told["examples"] = [{"code": "1", "output": f"1\n{shown}"}]
        outputs = [[told["examples"][0]["output"]] * 2]
        assert checks.tidied(told, outputs) == {**kept, "algorithm": [], "examples": []}
