"""Test that reports are written from a user's side, from a reproduction that shows the bug."""
import re

import pytest
from conftest import flags_for, run_here
from fake_llm import Say
from proven import write_task
from reported_heron import a_bug, bug_path, read_bug
from reported_heron import heron_bug as heron_bug  # a fixture

import bug_inject
from codedata.issues.issue_texts import FORMS
from codedata.settings import FORMAT_RETRIES

pytestmark = [pytest.mark.docker, pytest.mark.usefixtures("heron_bug")]
STEP = ("agent", "--steps", "issue")
SCRIPT = "import heron\n\nprint(heron.wade(20))\nprint(heron.wade(33))\n"
ERROR = "ValueError: too deep: 33"
TEXT = f"""wade() refuses shallow water

I call `heron.wade(33)` and get

    {ERROR}

I expected `slowly, in 33 cm`.
"""
REPORTED = f"<report>\n{TEXT}</report>"


FILE = "tests/test_wading.py"
KNEE = f"{FILE}::TestDeep::test_wades_up_to_the_knee[a%20b]"


def hidden(*depths: int) -> dict[str, str]:
    """Return a file of two tests that call the function with these depths."""
    body = (f"for depth in {depths}:\n"
            "            assert heron.wade(depth) == f'slowly, in {depth} cm'\n")
    return {FILE: "import pytest\nimport heron\n\n\nclass TestDeep:\n"
                  "    @pytest.mark.parametrize('way', ['a b'])\n"
                  f"    def test_wades_up_to_the_knee(self, way):\n        {body}"
                  f"\n\ndef test_knee():\n    if True:\n        {body}"}


def fenced(script: str, language: str = "python") -> str:
    return f"Here it is.\n```{language}\n{script}```\n"


@pytest.fixture
def report(tmp_path, fake_llm):
    """Return a function: report(reply, …) runs the step on one bug with these replies."""
    def run(*replies, flags=(), more="", bugs=()) -> int:
        tmp_path.with_settings(more=more)
        if not (tmp_path / "task").exists():
            for bug in bugs or (a_bug(),):
                write_task(tmp_path, bug)
        fake_llm.script(*replies)
        return run_here(bug_inject.main, tmp_path, *STEP, *flags_for(fake_llm, *flags))
    return run


def test_a_report_is_written_from_a_reproduction_and_its_writer_sees_neither_fix_nor_test(
        tmp_path, fake_llm, report):
    assert report(fenced(SCRIPT), REPORTED) == 0
    bug, (first, second) = read_bug(tmp_path), fake_llm.requests
    assert bug["problem_statement"] == TEXT
    made = bug["reproduction"]
    assert made["script"] == SCRIPT and made["fixed"]["output"].endswith("slowly, in 33 cm")
    assert made["bugged"] == {"exit_code": 1, "output": (
        "slowly, in 20 cm\nTraceback (most recent call last):\n"
        '  File "reproduce.py", line 4, in <module>\n    print(heron.wade(33))\n'
        f"          ^^^^^^^^^^^^^^\n{ERROR}")}
    assert "LEG_CM" in first.text and "says how a heron wades" in first.text
    assert not re.search("LEG_CM|wading|_pace_of|knee", second.text) and ERROR in second.text
    assert report() == 0 and fake_llm.n_requests == 2   # nothing to do


def problems_in(requests) -> list[str]:
    return [request.text.rpartition("not accepted as it stands")[2] for request in requests]


def test_a_reproduction_that_shows_nothing_is_asked_for_again(
        tmp_path, fake_llm, report, monkeypatch):
    refused = {
        "no block": "0 blocks",
        fenced("import heron\nprint(heron.wade(20))\n"): "is the same",
        fenced("import time, heron\nprint(time.time_ns(), heron.wade(20))\n"): "not the same each",
        fenced("yes | head -c 100000000\n", "bash"): "more than 10,000 bytes",
        fenced("cat /dev/zero > filled\n", "bash"): "disk of its sandbox with the bug",
        fenced("from tests.test_wading import x\n"): "test_wading",
        fenced("from heron.wading import _pace_of\nprint(_pace_of(33))\n"): "'_pace_of'",
        fenced("kill -9 1; kill -9 -1\n", "bash"): "is the same"}
    monkeypatch.setitem(FORMAT_RETRIES, "issue", len(refused))
    settings = "[sandbox]\ndisk_limit = '100MB'\n"
    assert report(*refused, fenced(SCRIPT), REPORTED, more=settings) == 0
    found = problems_in(fake_llm.requests[1:])
    assert [one for one, why in zip(found, refused.values(), strict=False) if why not in one] == []
    assert fake_llm.n_requests == 10 and read_bug(tmp_path)["problem_statement"] == TEXT


def test_an_endless_reproduction_is_ended_and_the_item_fails_after_the_last_try(
        tmp_path, fake_llm, report, capsys):
    endless = fenced("while true; do :; done\n", "bash")
    assert report(endless, *"xyz", more="[sandbox]\nrun_timeout = 3\n") == 1
    assert "did not end within 3 s" in fake_llm.requests[1].text and fake_llm.n_requests == 4
    assert "0 blocks" in capsys.readouterr().err
    assert not bug_path(tmp_path).exists()


def test_a_report_that_shows_more_than_a_user_knows_or_quotes_nothing_is_asked_for_again(
        tmp_path, fake_llm, report, monkeypatch):
    refused = [(f"<report>{TEXT}\n{more}</report>", why) for more, why in (
        ("Look at line 11 of it.", "line 11"),
        ("See test_wades_up_to_the_knee.", "'test_wades_up_to_the_knee'"))]
    refused += [("<report>Wrong\n\nIt says: IndexError</report>", "quotes no line"),
                (Say("<report>Wrong", finish_reason="length"), "no report"),
                ("<report> </report>", "no report"), ("", "empty")]
    replies, reasons = zip(*refused, strict=True)
    monkeypatch.setitem(FORMAT_RETRIES, "issue", len(replies))
    assert report(fenced(SCRIPT), *replies, REPORTED) == 0
    found = problems_in(fake_llm.requests[2:])
    assert [one for one, why in zip(found, reasons, strict=True) if why not in one] == []
    assert read_bug(tmp_path)["problem_statement"] == TEXT


def test_without_a_model_a_case_that_no_test_has_is_told_as_it_is_printed(
        tmp_path, fake_llm, report):
    assert report(more="[issue]\nwriter = 'template'\n", bugs=[a_bug(hidden=hidden(31, 37))]) == 0
    bug = read_bug(tmp_path)
    text, made = bug["problem_statement"], bug["reproduction"]
    call = re.fullmatch(r"import heron\nprint\(repr\(heron\.(.*)\)\)\n", made["script"])[1]
    depth = call.removeprefix("wade(").removesuffix(")")
    assert 30 <= int(depth) < 40 and depth not in ("31", "37") and fake_llm.n_requests == 0
    assert (made["writer"], made["case"], made["kind"]) == ("template", "varied", "raises")
    assert made["fixed"] == {"exit_code": 0, "output": f"'slowly, in {depth} cm'"}
    assert made["bugged"]["output"].endswith(f"\nValueError: too deep: {depth}")
    assert FORMS["forms"][made["form"]]
    for part in (call, f"ValueError: too deep: {depth}", f"'slowly, in {depth} cm'"):
        assert part in text
    assert not re.search("_pace_of|LEG_CM|assert|knee|test", text)
    # a model words the same case
    reply = f"<report>Wet feet\n\n`{call}`: ValueError: too deep: {depth}</report>"
    assert report(reply, more="[issue]\nwriter = 'llm'\n", flags=["--refresh"]) == 0
    assert fake_llm.n_requests == 1 and text.partition("\n")[0] in fake_llm.requests[0].text
    assert read_bug(tmp_path)["reproduction"]["script"] == made["script"]


def test_the_one_case_of_an_only_test_is_no_report_till_another_writer_is_asked(
        tmp_path, report, capsys):
    bugs = [a_bug(1, hidden=hidden(*range(30, 40))),
            a_bug(2, hidden=hidden(*range(30, 40)), FAIL_TO_PASS=[KNEE, f"{FILE}::test_knee"])]
    assert report(more="[issue]\nwriter = 'template'\n", bugs=bugs) == 0
    printed = capsys.readouterr().err
    assert "wrote 1, left out 1" in printed
    # what to do has to stand in what a screen has of a reason
    assert re.search(r"no report.{,100}--issue-writer llm --refresh", printed)
    assert not bug_path(tmp_path).exists()
    assert read_bug(tmp_path, 2)["reproduction"]["case"] == "recorded"
    assert report(more="[issue]\nwriter = 'template'\n") == 0
    assert "excluded 1" in capsys.readouterr().err
    report(more="[issue]\nwriter = 'llm'\n", flags=["--refresh", "--dry-run"])
    assert "to do 2" in capsys.readouterr().err


def test_a_bug_of_another_language_has_the_message_of_a_failing_test_or_a_model_writes_it(
        tmp_path, fake_llm, report):
    ini = "[pytest]\naddopts = --tb=line --junitxml=/tmp/results/r.xml\n"
    bugs = [a_bug(language="javascript", hidden=hidden(31, 37) | {"pytest.ini": ini})]
    assert report(more="[issue]\nwriter = 'template'\n", bugs=bugs) == 0
    bug = read_bug(tmp_path)
    assert bug["reproduction"]["test"] == "test_wades_up_to_the_knee[a b]"
    assert "    E   ValueError: too deep: 31\n" in bug["problem_statement"]
    shell = "python3 -c 'import heron; print(heron.wade(33))'\n"
    more = "[issue]\nwriter = 'llm'\n"
    assert report(fenced(shell, "bash"), REPORTED, more=more, flags=["--refresh"]) == 0
    assert "that somebody made in birds/heron (javascript)" in fake_llm.requests[0].text
    assert read_bug(tmp_path)["reproduction"]["script"] == shell


def test_what_a_script_prints_with_the_fix_is_wanted_where_it_ends_before(tmp_path, report):
    files = {FILE: "import heron\n\n\ndef test_knee():\n    paces = ['']\n"
                   "    paces += [heron.wade(31)]\n    mud = 'x' * 9\n"
                   "    assert len(paces) == 2 and mud\n"}
    bug = a_bug(hidden=files, FAIL_TO_PASS=[f"{FILE}::test_knee"])
    assert report(more="[issue]\nwriter = 'template'\n", bugs=[bug]) == 0
    made = read_bug(tmp_path)
    assert made["reproduction"]["kind"] == "raises"
    assert "slowly, in" in made["reproduction"]["fixed"]["output"]
    assert "wade" in made["problem_statement"].partition("\n")[0]


def test_a_reproduction_is_asked_for_with_the_failing_tests_and_what_is_around_the_change(
        tmp_path, fake_llm, report):
    before = "".join(f"def test_{n}():\n    pass\n\n\n" for n in range(200))
    text = ("import random\nimport pytest\nimport heron\n\n\nclass Depth(int):\n    pass\n\n\n"
            "@pytest.fixture\ndef deep():\n    return Depth(random.randint(31, 39))\n\n\n"
            f"{before}class TestDeep:\n    LEGS = 2\n\n"
            "    @pytest.mark.parametrize('way', ['a b'])\n"
            "    def test_wades_up_to_the_knee(self, deep, way):\n        heron.wade(deep)\n")
    log = "tests/a.py::test_1 PASSED   [ 50%]\nPASSED tests/a.py::test_1\nE   ValueError: deep\n"
    bug = a_bug(hidden={"tests/test_wading.py": text},
                proof={"log": log, "symbols": ["heron/wading.py::_pace_of"]})
    assert report(fenced(SCRIPT), REPORTED, bugs=[bug]) == 0
    asked = fake_llm.requests[0].text
    for part in ("return Depth(", "LEGS = 2\n\n    @pytest.mark.parametrize", "heron.wade(deep)",
                 "def wade(depth):\n    \"", "def _pace_of(depth):\n    if depth >= LEG_CM - 10",
                 "E   ValueError: deep", "[a%20b]"):
        assert part in asked
    assert not re.search(r"def test_\d|PASSED", asked)
