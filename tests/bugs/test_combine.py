"""Check candidates that are made of proven bugs."""
from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from conftest import write_json
from proof_heron import HERON, environment_of, factory_of
from proof_heron import heron as heron  # a fixture
from proven import a_bug, write_task

from codedata.bugs.combine import combinable, combinations, combine_stage, merged
from codedata.bugs.instances import ProvenBug
from codedata.bugs.preprocess import Analyses
from codedata.code.patches import diff_of
from codedata.settings import Settings
from codedata.suites.environments import Environments

CONFIG = {"repo": "birds/heron", "repo_name": "heron", "base_commit": "", "environment": "",
          "roots": ["."], "exclude": [], "selection": "none", "reason": "", "timeout_s": 60.0,
          "max_candidates": 10, "seed": 0}
TEXTS = {"a/one.py": "".join(f"x{i} = {i}\n" for i in range(20)), "a/two.py": "y = 1\ny = 2\n",
         "b/three.py": "z = 1\n"}


def a_part(name: str, path: str, line: int, *failing: str, lines: int = 1):
    """Return a proven bug, which changes lines of a file, as a part."""
    old = TEXTS[path].split("\n")
    new = [*old[:line - 1], *(f"{name} = {i}" for i in range(lines)), *old[line - 1 + lines:]]
    diff = diff_of({path: "\n".join(old).encode()}, {path: "\n".join(new).encode()})
    return combinable(bug_of(name, diff, *failing), TEXTS)


def bug_of(name: str, diff: str, *failing: str) -> ProvenBug:
    return ProvenBug.of(a_bug(name, bug_patch=diff, FAIL_TO_PASS=failing))


def drawn(*parts, seed: int = 0) -> dict[str, tuple[dict, dict]]:
    return {"+".join(part.name for part in chosen): (before, after)
            for chosen, before, after in combinations([*parts], TEXTS, seed)}


def test_bugs_of_a_file_and_of_a_folder_are_put_together_and_others_are_not():
    parts = [a_part("p", "a/one.py", 2, "t1"), a_part("q", "a/one.py", 10, "t2"),
             a_part("r", "a/two.py", 1, "t3"), a_part("s", "b/three.py", 1, "t4")]
    found = drawn(*parts)
    assert {*found} == {"p+q", "p+r", "q+r", "p+q+r"}
    before, after = found["p+q+r"]
    assert before == {path: TEXTS[path].encode() for path in ("a/one.py", "a/two.py")}
    assert after["a/one.py"] == before["a/one.py"].replace(b"x1 = 1", b"p = 0").replace(
        b"x9 = 9", b"q = 0")
    assert after["a/two.py"] == b"r = 0\ny = 2\n"
    assert [*drawn(*parts)] == [*found]
    assert len({tuple(drawn(*parts, seed=seed)) for seed in range(5)}) > 1


@pytest.mark.parametrize("other", [
    a_part("q", "a/one.py", 3, "t2"),            # the next line
    a_part("q", "a/one.py", 1, "t2", lines=5),   # around it
    a_part("q", "a/one.py", 10, "t1"),           # noticed by the same tests
    a_part("q", "b/three.py", 1, "t2")])         # elsewhere
def test_bugs_that_touch_or_that_the_same_tests_notice_are_not_put_together(other):
    assert not drawn(a_part("p", "a/one.py", 2, "t1"), other)


def test_a_bug_that_is_more_than_changed_lines_is_left_out():
    made = diff_of({}, {"a/new.py": b"n = 1\n"})
    assert combinable(bug_of("n", made, "t"), TEXTS) is None
    gone = diff_of({"a/gone.py": b"n = 1\n"}, {"a/gone.py": b"n = 2\n"})
    assert combinable(bug_of("g", gone, "t"), TEXTS) is None
    assert merged([a_part("p", "a/one.py", 2, "t")])["a/one.py"][0].line == 2


def test_names_of_failing_tests_are_those_of_env():
    part = combinable(bug_of("p", a_diff("a/two.py"), "t[b%20c]", "a"), TEXTS)
    assert part.failing == ["a", "t[b c]"]


def a_diff(path: str) -> str:
    return diff_of({path: TEXTS[path].encode()}, {path: TEXTS[path].replace("1", "3").encode()})


def written(root: Path, **bugs: dict) -> None:
    """Write the config of heron, and bugs in their order."""
    write_json(root / "bug/_config/heron.json", CONFIG)
    for name, fields in bugs.items():
        id = fields.pop("id", f"heron.boundary.{name}")
        write_task(root, a_bug(id, **fields))


def stage_of(root: Path, host=None):
    """Return the items of combine, and what makes candidates of one."""
    views = Analyses(root), Analyses(root, key="tests")
    stage = combine_stage(Settings(root=root), host, Environments(root), *views)
    return stage.reads.store.open(), stage.make


def test_what_is_combined_are_scales_own_bugs_of_the_same_source(tmp_path):
    own = {"source_commit": ""}
    written(tmp_path, p=own, q=own, other={"source_commit": "1" * 40},
            again={**own, "method": "combine"}, agent={**own, "id": "heron.agent-1.0123abcd"})
    items = stage_of(tmp_path)[0]
    assert [*items.names()] == ["heron.combine-1"]
    assert items.read("heron.combine-1").part == ["heron.boundary.p", "heron.boundary.q"]
    assert all(map(items.covers, ("heron.3", "heron.modify-3", "heron.mirror-0123abcd")))
    assert not items.covers("heron.combine-2")
    shutil.rmtree(tmp_path / "task/heron.boundary.q")
    assert not [*stage_of(tmp_path)[0].names()]


# in containers -----------------------------------------------------------------------------------

@pytest.mark.docker
@pytest.mark.usefixtures("heron")
def test_a_candidate_has_the_changes_and_the_failing_tests_of_its_parts(tmp_path):
    changes = {"p": ("2 * i", "3 * i"), "q": ('"away"', '"here"')}
    patches = {name: diff_of({"heron.py": HERON.encode()},
                             {"heron.py": HERON.replace(*change, 1).encode()})
               for name, change in changes.items()}
    written(tmp_path, **{name: {"source_commit": "", "bug_patch": patch, "FAIL_TO_PASS": [name]}
                         for name, patch in patches.items()})
    items, make = stage_of(tmp_path, factory_of())
    made = make(items.read("heron.combine-1"), environment_of(), None, None)
    candidate, = made.candidates
    assert made.method == candidate["operator"] == "combine"
    assert candidate["summary"] == "combine of heron.boundary.p, heron.boundary.q"
    assert candidate["parts"] == [["p"], ["q"]] and candidate["lines"] == [6, 14]
    assert candidate["diff"].count("\n-    ") == candidate["diff"].count("\n+    return ") == 2
