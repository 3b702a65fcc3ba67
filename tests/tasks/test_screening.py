"""Test that screening shows what a whole suite in a fresh container would, and what a mutant may do
to that."""

import pytest
from line_tables import toml_beside
from projects import Project
from proof_heron import factory_of
from screened_wren import (
    PLACE,
    RUN,
    SCRIPT,
    WREN,
    wren_coverage,
    wren_diff,
    wren_environment,
)
from screened_wren import wren as wren  # a fixture
from steps_seen import StepsSeen

from codedata.code.patches import edits_of
from codedata.llm.replies import ReplyLog, recording
from codedata.run.talk import showing
from codedata.tasks.prove.outcomes import SuiteOutcome, time_limit
from codedata.tasks.prove.run_suite import Screened, ScreeningRules
from codedata.tasks.screen.covering_tests import CoveringTests
from codedata.tasks.screen.screening import Screener
from codedata.tasks.stages import KeptVerdicts, Screening

DOUBLED = "    return 2 * n"
MUTANTS = toml_beside(__file__, "screened.toml")


def mutated(name: str) -> str:
    """Return the diff of a change in MUTANTS."""
    return wren_diff(MUTANTS[name].get("old", DOUBLED), MUTANTS[name]["new"])


def screener(factory, max_broken_share=0.5, **fields) -> Screener:
    environment = wren_environment(**fields)
    return Screener(environment, wren_coverage(), time_limit(environment, 30.0), factory, RUN,
                    ScreeningRules(max_broken_share, drops_same_error=True))


def named(names: list[str]) -> list[str]:
    return sorted(name if "::" in name else f"{PLACE}::test_{name}" for name in names)


@pytest.fixture(scope="module")
def shown(wren):
    """Screen all mutants in one batch, and return (what each shows, what runs in the end)."""
    with screener(wren) as one:
        found = one.screen([*map(mutated, MUTANTS)])
        left = one._sandbox.run("cat /proc/[0-9]*/comm; git status --short; "
                               "ls /tmp/codedata-screen").output
    return dict(zip(MUTANTS, found, strict=True)), left


@pytest.mark.docker
@pytest.mark.parametrize("name", MUTANTS)
def test_each_change_is_judged_by_itself(shown, name):
    case, found = MUTANTS[name], shown[0][name]
    if "how" not in case:   # a fresh container judges it
        assert found is None
        return
    assert (found.verdict, found.how) == (case["verdict"], case["how"])
    assert "failing" not in case or found.failing == named(case["failing"])


@pytest.mark.docker
def test_only_tests_that_may_notice_are_run_and_nothing_is_left_of_a_batch(shown):
    found, left = shown
    assert found["swapped"].n_run == 2
    assert found["unnoticed"].n_run == 1   # of which is seen what no test runs
    assert found["one error"].reason.endswith("2 tests that run a changed line ends in TypeError")
    assert "sleep" not in left and "wren.py" not in left and "tmp" not in left


@pytest.mark.docker
def test_a_sandbox_in_which_the_last_change_left_something_is_not_used_again(wren):
    with screener(wren) as one:
        assert one.is_opened()
        before = one._sandbox
        assert one.screen([mutated("a new module")]) == [None]
        assert one.is_opened() and one._sandbox is not before


@pytest.mark.docker
def test_what_breaks_too_much_is_not_judged_to_the_end_and_names_what_failed(wren):
    step = StepsSeen()
    with screener(wren, max_broken_share=0.05) as one, showing(step):
        good = wren_diff(DOUBLED, "    return 3")
        none = "", good.replace("2 * n", "4 * n"), good.replace("wren", "new")   # cannot be put in
        found, *others = one.screen([good, *none])
    assert others == [None] * 3 and "screening, 1 of 4" in step.seen
    assert (found.verdict, found.n_run, len(found.failing)) == ("too_broad", 1, 1)
    assert "breaks 1 of 11 tests" in found.reason


@pytest.mark.docker
@pytest.mark.parametrize(("fields", "why"), [
    ({"test_script": f"{SCRIPT}\n".replace("pytest -q", "pytest -q tests/test_wren.py")
      + SCRIPT.replace("r.xml", "s.xml").replace("pytest -q", "pytest -q tests/sub")},
     "these tests are not collected in one process: tests/sub/test_wren.py::test_same_name"),
    ({"test_script": SCRIPT.replace("-q", "-q -p no:codedata_screen")},
     "its test script runs no pytest that loads the driver"),
    ({"test_script": f"export WRITES=1\n{SCRIPT}"}, "its tests change its source: wren.py")])
def test_where_no_driver_can_judge_it_is_said_why(wren, fields, why):
    with screener(wren, **fields) as one:
        assert one.screen([mutated("swapped")]) == [None]
        assert one.note == f"the whole suite runs for each candidate, as {why}"


LEAKS = "    open('/var/tmp/left', 'w').close()\n    return 2 * n"


@pytest.mark.docker
def test_what_comes_behind_another_that_leaves_something_is_judged_again_without_it(wren):
    diffs = [wren_diff(DOUBLED, new) for new in ("    return n", LEAKS, "    return n + n")]
    with screener(wren) as one:
        found = [*one.verdicts(diffs)]
        assert [shown.verdict for shown in one.screen(diffs)] == ["good", "good", "survives"]
    assert diffs in [in_doubt for _, in_doubt in found]
    last = {diff: screened.verdict for batch, _ in found for diff, screened in batch.items()}
    assert last == dict(zip(diffs, ("good", "good", "survives"), strict=True))


@pytest.mark.docker
def test_a_sandbox_that_ends_costs_the_change_that_ends_it_and_no_verdict(wren):
    diffs = [wren_diff(DOUBLED, "    return n"), mutated("a full disk"),
             wren_diff(DOUBLED, "    return 3 * n")]
    with screener(wren) as one:
        found = [*one.verdicts(diffs)]
    assert [one for judged, in_doubt in found
            for one in (*judged, *in_doubt)] == [diffs[0], diffs[2]]


SONG = Project("wren", files={"song.js": "twit\n"})
SINGS = """song=$(cat song.js); mkdir -p /tmp/results; a= b=
[[ $song == twit* ]] || a='<failure/>'
[ ! -e /tmp/left ] || b='<failure/>'
echo "<testsuite><testcase name='a'>$a</testcase><testcase name='b'>$b</testcase></testsuite>" \\
    >/tmp/results/r.xml
[[ $song != *leaves* ]] || touch /tmp/left
[ -z "$a$b" ]"""


@pytest.mark.docker
@pytest.mark.parametrize("first", ["hum", "leaves"])
def test_changes_that_are_not_python_share_a_sandbox_unless_one_spoils_it(tmp_path, capsys, first):
    SONG.make()
    environment = wren_environment(image_name=SONG.image, test_script=SINGS, test_case_result=[
        {"name": name, "status": "passed"} for name in "ab"])
    diffs = [SONG.diff("song.js", "twit", song) for song in (first, "twit tweet", "humming")]
    with recording(ReplyLog(tmp_path, "screen", "wren")):
        found = Screening("bug", ScreeningRules(0.5), factory_of()).verdicts(
            diffs, environment, None, "it is not Python")
    assert [found[diff].verdict for diff in diffs] == ["good", "survives", "good"]
    assert ("3 verdicts taken back" in capsys.readouterr().err) == (first == "leaves")


# without a sandbox -------------------------------------------------------------------------------

def test_before_a_request_tests_that_are_skipped_or_did_not_run_count_as_failing():
    known = dict.fromkeys(("wades", "flies", "sinks", "eats"), "passed") | {"swims": "skipped"}
    before = SuiteOutcome({"wades": "skipped", "sinks": "passed", "eats": "failed"})
    screened = ScreeningRules(0.9, counts_missing=True).screened(before, known, "", 3)
    assert (screened.verdict, screened.failing) == ("good", ["eats", "flies", "wades"])


def test_tests_are_chosen_by_function_likeliest_first():
    coverage = wren_coverage(name=["Bird.name", "Wren.name", "doubled"])
    text = wren_diff(DOUBLED, "    return n")
    texts = {"wren.py": WREN, PLACE: "import wren\n"}
    covering = CoveringTests(coverage, texts)
    [edit] = edits_of(text, texts)["wren.py"]
    tests = named(["doubled", "port"]) + named(["name"])
    assert covering.tests_of("wren.py", edit) == (tests, False, tests)
    assert covering.blind == named(["process"])


@pytest.mark.parametrize(("old", "new", "at_import"), [
    (DOUBLED, "    n = n\n    return n", False), ("    for i in range(n):\n", "", False),
    ("        return \"bird\"", "        if self:\n            return \"bird\"", False),
    ("def counted(n, step=1):\n    return [", "def counted(n, step=2):\n    return [0, ", True),
    ("    return n + 1", "    return n + 2", True), ("LIMIT = 3", "LIMIT = 4", True),
    ("class Wren(Bird):", "class Wren:", True), ("import os\n", "", True)])
def test_what_runs_at_import_may_be_noticed_by_whoever_uses_the_file(old, new, at_import):
    texts = {"wren.py": WREN, PLACE: "import wren\n"}
    covering = CoveringTests(wren_coverage(), texts)
    [edit] = edits_of(wren_diff(old, new), texts)["wren.py"]
    tests, is_at_import, _ = covering.tests_of("wren.py", edit)
    assert is_at_import == at_import
    assert ({*named(["second", "limit"])} <= {*tests}) == at_import


def test_verdicts_are_shown_and_kept_as_they_come_in_and_those_taken_back_are_missing(
        tmp_path, capsys):
    step, keys = StepsSeen(), {"a": "1", "b": "2", "c": "3"}
    with recording(ReplyLog(tmp_path, "screen", "wren")), showing(step):
        verdicts = KeptVerdicts(keys)
        for diff, word in (("a", "good"), ("b", "survives")):
            verdicts.add({diff: Screened(word, "")})
        verdicts.drop(["b"])
    assert capsys.readouterr().err.startswith("      wren: 1 verdict taken back")
    assert [text for text in step.seen if text][-3:] == [
        f"{n} of 3 judged, 1 good" for n in (1, 2, 1)]
    with recording(ReplyLog(tmp_path, "screen", "wren")):   # after a kill
        again = KeptVerdicts(keys)
    assert again.found == {"a": Screened("good", "")} and again.missing() == ["b", "c"]
