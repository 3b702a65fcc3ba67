"""Check what the checks of an audit do without a container."""
import gzip
import hashlib
import io
from dataclasses import replace

import pytest
from a_datapoint import write_approved
from a_task import a_bug, a_datapoint
from conftest import run_script
from line_tables import rows
from root import write_files
from setups import CA_FLAGS

from codedata.audit.audit_stage import has_ended
from codedata.audit.audited import Audited, Groups
from codedata.audit.cheats import (
    AnswerSearch,
    breaks,
    constant,
    graded,
    lines_of,
    new_lines,
    rivals_in,
    try_cheats,
)
from codedata.audit.verdicts import FLAKE_RUNS, check_flakes, check_strength, check_untouched
from codedata.checks.intervals import at_most
from codedata.disk.store import Store
from codedata.errors import BrokenRecord, ItemFailed
from codedata.llm.replies import ReplyLog
from codedata.records import RivalledTask, Task
from codedata.tasks.prove.grader import Grade, _read, archive_of

NEW = "numbers = [int(line) for line in lines]\ntotal = sum(numbers)\nprint('the total', total)\n"


class FakeGrader:
    """Give grades in turn, and the text of a script as its work."""

    def __init__(self, *grades: Grade):
        self._grades = iter(grades)

    def work(self, script: str) -> tuple[bytes, str]:
        if "unpacked" in script:
            raise ItemFailed("its work cannot be packed")
        return script.encode(), ""

    gold = work

    def grade(self, work: bytes, *_, **how) -> Grade:
        return next(self._grades)


def a_grade(reward: float, log: str = "2 passed in 0.1s", **outcomes: str) -> Grade:
    return Grade(reward, [[name, "call", outcome, ""] for name, outcome in outcomes.items()], log,
                 0.1)


def an_audited(gold: Grade, *grades: Grade) -> Audited:
    """Return a task whose gold was graded, and whose next grades are known."""
    audited = Audited(a_datapoint(), None, "", None)
    audited.grader = FakeGrader(*grades)
    audited.gold, audited.changed = (b"", gold), ({}, {})
    return audited


# the script --------------------------------------------------------------------------------------

@pytest.mark.parametrize("flags, said", rows("""
--checks gold,fast            | no check: fast
--sandbox local               | builds no images
--sandbox local try none a.sh | task.toml: is missing
try none                      | try takes the folder
"""))
def test_wrong_usage_is_named_before_a_container_starts(tmp_path, flags, said):
    (tmp_path / "none/tests").mkdir(parents=True)
    (tmp_path / "a.sh").write_text("true\n")
    done = run_script("audit.py", tmp_path, *CA_FLAGS, *flags.split())
    assert done.returncode == 2 and said in done.stderr


def test_results_that_are_written_are_not_served_again(tmp_path):
    for is_there, is_made in ((False, False), (True, True), (False, True), (False, True)):
        log = ReplyLog(tmp_path, "audit", "a", in_parts=True)
        assert bool(log.result_of("gold")) == is_there
        if not is_there:
            log.keep("gold", {"result": "passed"})
        assert log.to_count() == []
        log.finish(is_made)


# verdicts ----------------------------------------------------------------------------------------

@pytest.mark.parametrize("untouched, gold, result, why", [
    (a_grade(0, a="failed"), a_grade(1, a="passed"), "passed", ""),
    (a_grade(0.2, a="passed"), a_grade(1, a="passed"), "failed", "does nothing gets 0.2"),
    (a_grade(0, a="failed"), a_grade(1, a="passed", b="passed"), "review", "that never failed"),
    (a_grade(0), a_grade(1, "no tests ran in 0.01s"), "failed", "no test runs"),
    (a_grade(0), a_grade(1, "3 skipped in 0.01s"), "failed", "all tests are skipped"),
    (a_grade(0), a_grade(1, "2 passed, 3 skipped in 0.01s"), "passed", "")])
def test_an_untouched_image_is_not_rewarded_and_every_test_can_fail(untouched, gold, result, why):
    found = check_untouched(an_audited(gold, untouched))
    assert found.result == result and why in found.why
    named = {"review": ["b"], "failed": ["passes: a", gold.log] if untouched.reward else [gold.log]}
    assert found.evidence == named.get(result, [])


@pytest.mark.parametrize("reward, result", [(0.2, "review"), (0.3, "failed")])
def test_what_stays_as_it_is_may_pass_at_first_for_a_quarter_of_the_reward(reward, result):
    untouched = a_grade(reward, test_still_a="passed")
    assert check_untouched(an_audited(untouched, untouched, untouched)).result == result


def test_one_run_of_ten_that_fails_is_a_flake_with_its_bound():
    good, bad = a_grade(1, a="passed", b="passed"), a_grade(0.5, a="passed", b="failed")
    found = check_flakes(an_audited(good, *[good] * (FLAKE_RUNS - 1), bad))
    assert found.result == "failed" and found.evidence == ["b"]
    assert found.figures == {"runs": 10, "failed": 1, "at_most": 0.394}
    assert round(at_most(0, 10), 3) == 0.259


@pytest.mark.parametrize("printed, reward", [
    ("1", 1), ('{"reward": 0.5}', 0.5), ("NaN", 0), ("[" * 3000, 0), ("1" + "0" * 5000, 0),
    ("1\n5", 1), ('1\n[["a"]]', 1), ('1\n[[["u"], "call", "passed", ""]]', 1)])
def test_a_reward_is_a_number_or_0_and_results_of_any_shape_are_passed_or_none(printed, reward):
    grade = _read(f"{printed} \n", "", 1.0)
    assert grade.reward == reward and grade.passed() <= {"['u']"}


@pytest.mark.parametrize("n_lines, result", [(1, "not checked"), (20, "passed")])
def test_few_variants_say_nothing_of_the_strength(n_lines, result):
    audited = an_audited(a_grade(1), *[a_grade(0)] * 99)
    audited.gold = archive_of({}), a_grade(1)
    lines = "".join(f"SELECT a FROM b WHERE a = {n} ORDER BY c;\n" for n in range(n_lines))
    audited.changed = {}, {"a.sql": lines.encode()}
    found = check_strength(audited)
    n_tried = found.figures["tried"]
    assert found.result == result and found.figures["killed"] == n_tried
    assert found.why == (f"{n_tried} of 30 variants" if n_tried < 30 else "")
    assert has_ended({"result": result, "figures": found.figures})


def test_a_cheat_is_named_with_its_reward_and_one_that_cannot_be_packed_is_none():
    grader = FakeGrader(a_grade(0), a_grade(0.7))
    scripts = [("none", "true"), ("some", "echo"), ("large", "unpacked")]
    assert lines_of(graded(grader, scripts), 0) == ["some: 0.7"]


def test_known_cheats_are_tried_once_for_an_environment_a_kind_and_a_verifier():
    layers = {"one": ["env", "a"], "two": ["env", "b"], "other": ["env 2", "b"]}
    groups = Groups()

    def n_tried(task: Task, image: str, reward: float = 0.0, gold: float = 1.0) -> int:
        audited = an_audited(a_grade(1), *[a_grade(reward)] * 30)
        if gold != 1.0:
            del audited.gold
            audited.grader.gold = lambda: (b"", "")
        audited.task, audited.groups, audited.layers = task, groups, layers[image]
        audited.empty_work, audited.outputs = archive_of({}), ({}, {})
        try_cheats(audited)
        return 30 - len([*audited.grader._grades])

    bug, same = a_bug(), a_bug("heron.b.1", FAIL_TO_PASS=("test_wade",), task_commit="1234567")
    with_cases = replace(bug, tests={**bug.tests, "cases/jobs.json": "{}"})
    # neither a cheat that works nor a verifier that refuses the gold, too, says anything of others
    assert n_tried(bug, "one", reward=1.0) == 29
    assert n_tried(bug, "one", gold=0.0) == 30
    assert n_tried(bug, "one") == n_tried(with_cases, "one") == 29
    assert n_tried(same, "two") == 9   # those that use the task's own files
    assert n_tried(bug, "other") == 29


def test_constant_output_is_the_longest_example_of_the_prompt(tmp_path):
    script = constant("Write out.py and a/b.txt; `1` gives ```\n12\n```\n")
    assert "cat > 'out.py'" in script and "print('12')" in script
    assert "cat > 'a/b.txt' <<'END-OF-CHEAT'\n12\n" in script
    assert constant("It names nothing.") == "true"


def test_rivals_are_scripts_of_either_name_and_links_are_refused(tmp_path):
    folder = write_approved(tmp_path / "task/sums")
    write_files(folder / "rivals", {
        name: f"#!/bin/sh\n\n# {name} breaks it.\n"
        for name in ("wrong-a.sh", "right-b.sh", "other.sh", "wrong-c.py")})
    patch = ("--- a/right-b.sh\n+++ b/right-b.sh\n@@ -1,3 +1,3 @@\n #!/bin/sh\n \n-{}\n"
             "+# Too late.\n")
    (folder / "rivals/wrong-d.patch").write_text(patch.format("# right-b.sh breaks it."))
    tasks = Store(tmp_path, RivalledTask).open()
    found = rivals_in(tasks.read("sums"))
    assert found.pop("wrong-d.patch") == "#!/bin/sh\n\n# Too late.\n"
    plain = patch.replace("a/right", "right").replace("b/right-b.sh\n", "changed.sh\t2026-01-01\n")
    (folder / "rivals/wrong-d.patch").write_text(plain.format("# right-b.sh breaks it."))
    assert rivals_in(tasks.read("sums"))["wrong-d.patch"] == "#!/bin/sh\n\n# Too late.\n"
    (folder / "rivals/wrong-d.patch").write_text(patch.format("# another"))
    with pytest.raises(ItemFailed, match="is not a patch of a"):
        rivals_in(tasks.read("sums"))
    (folder / "rivals/wrong-z.sh").symlink_to("other.sh")
    with pytest.raises(BrokenRecord, match="link"):
        tasks.read("sums")
    assert [*found] == ["right-b.sh", "wrong-a.sh"]
    assert breaks(found["wrong-a.sh"]) == "wrong-a.sh breaks it." and breaks("true") == ""


# answers in an image -----------------------------------------------------------------------------

def layer(**files: bytes) -> bytes:
    return archive_of({f"srv/{name}": (b"0", 0o644, data) for name, data in files.items()})


def search(data: bytes, texts=(NEW,), known=(), **files: bytes) -> AnswerSearch:
    found = AnswerSearch([*texts], files)
    found.look_at("blobs/sha256/0", io.BytesIO(data), {*known})
    return found


def test_a_layer_is_searched_for_files_with_much_of_the_new_text():
    assert new_lines(b"a\n b\n", b"b\nc\na\nd\n") == ["c", "d"]
    two = "".join(NEW.splitlines(keepends=True)[:2]).encode()
    data = layer(copy=NEW.encode(), indented=NEW.replace("\n", "\n  ").encode(), part=two,
                 packed=gzip.compress(NEW.encode()), other=b"print('nothing')\n" * 9)
    for packed in (data, gzip.compress(data)):
        found = search(packed).found
        assert [*found] == ["layer/srv/copy", "layer/srv/indented", "layer/srv/packed!"]
        assert found["layer/srv/packed!"] == NEW.encode()
    assert not search(data, known=["sha256:" + hashlib.sha256(data).hexdigest()]).found


def test_a_file_that_is_the_same_is_the_answer_whatever_its_size():
    large = bytes(range(256)) * 9_000
    for data in (b"42 cm\n", large):
        found = search(layer(out=data, other=b"x" + data), [], out=data)
        assert found.same == {"layer/srv/out": "out"} and found.found["layer/srv/out"] == data
    assert not search(layer(out=b"0\n"), [], out=b"0\n").found   # any image may have such a file


def test_a_long_run_of_one_line_is_found_too_and_few_lines_of_many_are_not():
    line = " ".join(f"word{i}" for i in range(60))
    assert search(layer(a=line[50:300].encode()), [line]).found
    many = "".join(f"some_value_{i} = {i}\n" for i in range(20))
    assert not search(layer(a=many[:80].encode()), [many]).found   # 4 of 20 lines
    assert search(layer(a=many[:119].encode()), [many]).found
