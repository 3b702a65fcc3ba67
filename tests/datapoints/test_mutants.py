"""Check that each check of build_dp.py validate finds the faults that are its own, on samples with
a fault."""
import sys
from itertools import takewhile

import pytest
from a_datapoint import SOLUTION, TEXTS, write_datapoint
from conftest import REPO

sys.path.append(str(REPO / "benchmarks"))   # behind the scripts: one has a name of theirs
from task_set import unpack
from validate_dp import mutants, mutated, open_host

from codedata.audit.cheats import CHEATS, graded, lines_of
from codedata.datapoints.datapoint_folder import read_datapoint
from codedata.datapoints.validate import CheckFailed, Validation
from codedata.records import DATAPOINT, Task
from codedata.suites.environments import labelled

MUTANTS = mutants()
WITHOUT_CONTAINER = ("structure", "weight_validation", "prompt")
FROZEN = ("test_discovery", "fail_first", "solvable")   # what these find is in frozen/
CHECKS = (*WITHOUT_CONTAINER, "docker_build", "test_discovery", "dependency_check", "fail_first",
          "solvable", "repeatable", "cheats")   # as they are made, the last one by the audit


def named(chosen: list[dict]):
    return pytest.mark.parametrize("mutant", chosen, ids=[one["name"] for one in chosen])


def results(point: Task) -> dict[str, str]:
    """Return {check: result} of a datapoint that has no image."""
    return {one["name"]: one["result"] for one in Validation(point, None, "").run()}


@named([one for one in MUTANTS if one["check"] in WITHOUT_CONTAINER])
def test_what_needs_no_container_is_found_without_one(tmp_path, mutant):
    point = read_datapoint(mutated(mutant, tmp_path))
    assert next(name for name, result in results(point).items() if result == "failed") == mutant[
        "check"]


def test_faults_are_named_together_and_no_container_is_opened_for_what_has_one(tmp_path):
    point = read_datapoint(write_datapoint(
        tmp_path / "names", {"category": "Cooking"}, weights='{"test_x": 1}',
        prompt="One. Two. Three. See test_x. Four.", solution="true\0"))
    found = results(point)
    assert {name for name, result in found.items() if result == "failed"} == {*WITHOUT_CONTAINER}
    assert {*found.values()} == {"failed", "not checked"}
    point = read_datapoint(write_datapoint(tmp_path / "a", dockerfile="FROM scratch\n"))
    with pytest.raises(CheckFailed, match="scratch has none"):
        Validation(point, None, "").structure()


def test_no_good_sample_is_refused_without_a_container(tmp_path):
    folders = [path for path in unpack(tmp_path).iterdir() if Task.kind_in(path) == DATAPOINT]
    assert len(folders) == 23
    for folder in folders:
        validation = Validation(read_datapoint(folder), None, "")
        for check in WITHOUT_CONTAINER:
            getattr(validation, check)()


def test_the_set_has_the_files_of_the_folders_of_samples(tmp_path):
    place, rows = REPO / "samples/tasks", unpack(tmp_path)
    files = [file.relative_to(place) for file in place.rglob("*") if file.is_file()]
    given = [file for file in files if file.parts[0] != "tally"]   # not a row
    assert len(given) > 30
    for file in given:
        assert (rows / file).read_bytes() == (place / file).read_bytes(), file


@pytest.mark.docker
@named([one for one in MUTANTS if one.get("quick")
        and one["check"] not in (*WITHOUT_CONTAINER, *FROZEN)])
def test_a_mutant_is_caught_by_the_check_that_is_for_it_and_by_none_before(tmp_path, mutant):
    host, point = open_host(tmp_path), read_datapoint(mutated(mutant, tmp_path))
    with labelled(host, point.instance_id, "dp") as label:
        validation = Validation(point, host, label)
        for check in takewhile(lambda check: check != mutant["check"], CHECKS):
            getattr(validation, check)()
        if "cheat" in mutant:   # only this one: all of them take a minute or two
            scripts = [(one["name"], one["bash"]) for one in CHEATS
                       if one["name"] == mutant["cheat"]]
            assert lines_of(graded(validation.grader, scripts), 0)
            return
        with pytest.raises(CheckFailed):
            getattr(validation, mutant["check"])()


@pytest.mark.docker
def test_what_no_check_can_decide_is_for_the_review(tmp_path):
    """Take a program that does not run with a shifted clock, and an image with a broken pack."""
    solution = SOLUTION.replace("total = 0", "import os\ntotal = "
                                "99 if os.path.exists('/etc/ld.so.preload') else 0")
    host = open_host(tmp_path)
    point = read_datapoint(write_datapoint(
        tmp_path / "sums", solution=f"{solution}echo done > notes\n",
        dockerfile=TEXTS["dockerfile"] + r"RUN printf 'PACK\0\0\0\2' > lost.pack" + "\n"))
    with labelled(host, point.instance_id, "dp") as label:
        validation = Validation(point, host, label)
        for check in ("weight_validation", "docker_build", "solvable", "repeatable"):
            getattr(validation, check)()
    unread, *clock = validation.review
    assert unread == "/app/lost.pack is an archive that is not read"
    assert len(clock) == 2 and all("clock could not be shifted" in line for line in clock)
