"""Test that what is wrong with a repository is named and bounded, and that the rest goes on."""
import pytest
from heron_environment import an_environment
from projects import Project
from root import read_json, write_json
from stripped import a_coverage, sources_with, steps

SETUP = ("head -c 10000000 /dev/zero | tr '\\0' '#' >huge.py; ln -s /etc/passwd linked.py; "
         "git init -q; git add -A; git commit -qm one")
PROJECT = Project("warbler", SETUP)
RUNS = {"sing": ["sing", "tune"], "rest": ["rest"], "maybe": ["sing"]}


@pytest.fixture(scope="session")
def warbler():
    """Make the image of a repository with cyclic imports, a file that does not parse, a huge one, a
    link out, and a test that never ends when a body raises."""
    PROJECT.make()


def environment(name: str = "warbler", **fields) -> dict:
    cases = [{"name": f"test_warbler.py::test_{name}", "status": "passed"} for name in RUNS]
    return an_environment(name, **{
        "image_name": PROJECT.image, "base_commit": "", "install_script": "true\n",
        "test_case_result": cases, "verified": {"healthy": True, "test_s": [0.5]}, **fields})


def coverage(runs: dict = RUNS, **fields) -> dict:
    sources = sources_with(warbler=PROJECT.contents["warbler.py"], song=PROJECT.contents["song.py"])
    found = vars(a_coverage(sources, tests=runs)) | {"repo_name": "warbler", "base_commit": ""}
    for row in found["tests"]:
        row["name"] = row["name"].replace("test_m.py", "test_warbler.py")
    return {**found, **fields}


@pytest.mark.docker
def test_a_hostile_source_and_a_suite_that_hangs_are_named_and_the_rest_goes_on(warbler, tmp_path):
    tmp_path.with_env(environment(), environment("gone", image_name="codedata-tests/gone:1",
                                                           install_script="", base_image=""))
    write_json(tmp_path / "coverage/warbler.json", coverage())
    done = steps(tmp_path, "extract,communities,screen,patches")
    assert done.returncode == 0
    assert "cannot be opened: its image codedata-tests/gone:1" in steps(
        tmp_path, "extract", "--status").stderr
    copy = read_json(tmp_path / "nl2repo/_sources/warbler.json")
    assert sorted(copy["files"]) == ["broken.py", "song.py", "test_warbler.py", "warbler.py"]
    assert "huge.py" in copy["faults"] and not (tmp_path / "nl2repo/_sources/warbler/linked.py"
                                                ).exists()
    found = read_json(tmp_path / "nl2repo/_communities/warbler.json")
    verdicts = {one["functions"][-1].rpartition("::")[2]: one["verdict"]
                for one in found["screened"] if one["kind"] == "function"}
    assert verdicts == {"sing": "good", "tune": "good", "rest": "timeout"}
    assert found["ungraded"] == ["test_warbler.py::test_maybe"]
    for measured, why in (
            (coverage({name: [] for name in RUNS}), "no counted test runs it (4)"),
            (coverage(contexts="none", reason="it has no Python"), "function: it has no Python")):
        write_json(tmp_path / "coverage/warbler.json", measured)
        assert steps(tmp_path, "communities").returncode == 0
        assert why in steps(tmp_path, "communities", "--status").stderr
