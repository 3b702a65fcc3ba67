"""Check candidates that are made of proven bugs, and of pull requests that are undone."""
from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from conftest import write_json
from proof_heron import HERON, IMAGE, RUN, environment_of, factory_of, make_image
from proven import a_bug, write_task

from codedata.bugs.combine import combinable, combinations, combine_stage, merged
from codedata.bugs.instances import ProvenBug
from codedata.bugs.preprocess import Analyses
from codedata.code.patches import diff_of
from codedata.errors import Excluded
from codedata.sandbox import docker_engine
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


def write_commit(root: Path, id: str = "heron-7", repo: str = "birds/heron", **fields) -> None:
    write_json(root / f"commit/{id}.json", {
        "instance_id": id, "repo": repo, "language": "python", "base_commit": "a" * 40, "issue": "",
        "description": "", "files": [], "patch": "p", "test_patch": "", **fields})


def stage_of(root: Path, strategy: str, host=None):
    """Return the items of a strategy, and what makes candidates of one."""
    views = Analyses(root), Analyses(root, key="tests")
    stage = combine_stage(Settings(root=root), host, strategy, Environments(root), *views)
    return stage.reads.store.open(), stage.make


def test_what_is_combined_are_scales_own_bugs_of_the_same_source(tmp_path):
    own = {"source_commit": ""}
    written(tmp_path, p=own, q=own, other={"source_commit": "1" * 40},
            again={**own, "method": "combine"}, agent={**own, "id": "heron.agent-1.0123abcd"})
    items = stage_of(tmp_path, "combine")[0]
    assert [*items.names()] == ["heron.combine-1"]
    assert items.read("heron.combine-1").part == ["heron.boundary.p", "heron.boundary.q"]
    assert items.covers("heron.3") and items.covers("heron.modify-3")
    assert not items.covers("heron.combine-2")
    shutil.rmtree(tmp_path / "task/heron.boundary.q")
    assert not [*stage_of(tmp_path, "combine")[0].names()]


def test_each_pull_request_of_the_repository_is_an_item(tmp_path):
    write_commit(tmp_path)
    write_commit(tmp_path, "stork-1", "birds/stork")
    written(tmp_path)
    items = stage_of(tmp_path, "mirror")[0]
    name, = items.names()
    assert items.read(name).part == ["heron-7", "a" * 40, "p"] and name.startswith("heron.mirror-")


# in containers -----------------------------------------------------------------------------------

GOOD_HERON = HERON.replace("def fly", "def call():\n    return 'kraak'\n\n\ndef fly")
HISTORY = """git init -q /tmp/h && cd /tmp/h
cp /testbed/heron.py . && sed -i /call/,/kraak/d heron.py
git add -A && git commit -qm parent && git rev-parse HEAD >/testbed/parent
cp /testbed/heron.py . && git add -A && git commit -qm feature
echo '# last' >>heron.py && git commit -qam last
rm -rf /testbed/.git && cp -a .git /testbed/ && cp heron.py /testbed/"""
PULL_REQUEST = diff_of({"heron.py": HERON.encode()}, {"heron.py": GOOD_HERON.encode()})


@pytest.fixture(scope="module")
def grown():
    """Make an image of heron with a history of three commits; return the first."""
    image = f"{IMAGE}-grown"
    make_image(image, HISTORY, **{"heron.py": GOOD_HERON})
    with factory_of().open(image, RUN) as box:
        yield image, box.run("cat parent").output.strip()
    docker_engine.remove_images(RUN)


def undone(tmp_path, grown, parent: str = "", patch: str = PULL_REQUEST) -> dict:
    """Return the candidate that undoes a pull request."""
    image, first = grown
    written(tmp_path)
    write_commit(tmp_path, base_commit=parent or first, patch=patch)
    items, make = stage_of(tmp_path, "mirror", factory_of())
    item, = map(items.read, items.names())
    candidate, = make(item, environment_of(image_name=image), None, None).candidates
    return candidate


@pytest.mark.docker
def test_a_pull_request_is_undone_in_the_source_of_today(tmp_path, grown):
    candidate = undone(tmp_path, grown)
    assert "\n-def call():\n-    return 'kraak'\n" in candidate["diff"]
    assert candidate["summary"] == "mirror of heron-7" and candidate["operator"] == "mirror"
    assert candidate["lines"][0] <= 14 <= candidate["lines"][1]


@pytest.mark.docker
@pytest.mark.parametrize("parent, patch, why", [
    ("0" * 40, PULL_REQUEST, "is no ancestor of the environment's"),
    ("HEAD; touch x", PULL_REQUEST, "its base_commit 'HEAD; touch x' is no ancestor"),
    ("", PULL_REQUEST.replace("kraak", "squawk"), "cannot be undone: the patch does not apply"),
    ("", "nothing", "cannot be undone")])
def test_a_pull_request_that_cannot_be_undone_is_left_out_by_name(
        tmp_path, grown, parent, patch, why):
    with pytest.raises(Excluded) as excluded:
        undone(tmp_path, grown, parent, patch)
    assert why in str(excluded.value) and "heron-7" in str(excluded.value)
