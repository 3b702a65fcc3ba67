"""Test the steps of nl2repo.py up to the proof, by the script, on a project in a container."""
import shutil

import pytest
from conftest import edit, ledger_lines, run_script
from proven_strip import write_strip
from root import Root, read_json, write_json
from screened_wren import COUNTED, SCRIPT, WREN, wren_coverage, wren_environment
from screened_wren import wren as wren  # a fixture
from stripped import steps
from stripped_tide import write_root as write_tide

from codedata.disk.store import Store, all_readable
from codedata.records import Candidate, Task
from codedata.tasks.folder.task_folder import edited_parts, image_of, verifier_config

TO_SCREEN = "extract,meta,communities,screen,patches"
CANDIDATES = {"wren.py::doubled": 2, "wren.py::Wren.name": 1, "wren.py::each": 1,
              "wren.py::counted": 2}   # functions that can be stripped: how many tests fail then


@pytest.fixture
def root(wren, tmp_path):
    return write_root(tmp_path)


def write_root(root):
    root.with_env(vars(wren_environment()))
    return root.put("wren", wren_coverage(second=["following"]))


@pytest.fixture(scope="module")
def _screened(wren, tmp_path_factory):
    """Return a root in which all is screened: what a limit bounds at first, later never less."""
    root = write_root(Root(tmp_path_factory.mktemp("screened")))
    for flags, n_left in ((("--limit", 1), 3), ((), 0)):
        done = steps(root, TO_SCREEN, *flags)
        assert done.returncode == 0
        found = read_json(root / "nl2repo/_communities/wren.json")
        assert len(found["candidates"]) - len(found["screened"]) == n_left
    return root


@pytest.fixture
def screened(_screened, tmp_path):
    """Return a copy of a root in which all is done up to the patches; times are kept."""
    return shutil.copytree(_screened, tmp_path / "root")


def keep(root, *kept: tuple) -> None:
    """Remove all patches but some, named by kind and functions."""
    for key, patch in patches(root).items():
        if key not in kept:
            shutil.rmtree(root / "candidate" / patch.name)


def one_of_each_kind(root) -> list[tuple]:
    return [*{kind: (kind, *functions) for kind, *functions in patches(root)}.values()]


def tasks(root) -> dict[str, Task]:
    store = Store(root, Task).open()
    return {name: store.read(name) for name in store.names()}


def patches(root) -> dict[tuple, Candidate]:
    """Return the candidates by kind and functions."""
    found = all_readable(root, Candidate)
    return {(one.config["method"], *one.config["about"]["functions"]): one for one in found}


@pytest.mark.docker
def test_a_repository_becomes_patches_and_those_that_are_proven_tasks(screened):
    assert (screened / "nl2repo/_sources/wren/wren.py").read_text() == WREN
    found = read_json(screened / "nl2repo/_communities/wren.json")
    assert sorted(found["eligible"]) == sorted(CANDIDATES)
    assert found["left_out"] == {
        "no counted test runs it": ["wren.py::said", "wren.py::unused"],
        "runs at import": ["wren.py::following"], "trivial": ["wren.py::Bird.name"]}
    assert [kind for kind, *_ in patches(screened)].count("function") == 4
    assert any(one.words["n_survivors"] for one in patches(screened).values())
    assert "wrote" not in steps(screened, TO_SCREEN).stderr
    keep(screened, *one_of_each_kind(screened))
    assert steps(screened, "proof").returncode == 0
    for (kind, *functions), patch in patches(screened).items():
        task = tasks(screened)[patch.name]
        config, n_broken = verifier_config(task), sum(CANDIDATES[id] for id in functions)
        assert len(config["FAIL_TO_PASS"]) == n_broken == patch.words["n_failing"]
        assert len(config["FAIL_TO_PASS"]) + len(config["PASS_TO_PASS"]) == 11
        assert config["counts"] == ["wren.py"] and not edited_parts(task)
        assert task.about.items() >= {"method": kind, "functions": functions, "language": "python",
                                      "repo": "birds/wren"}.items()
        assert patch.name.startswith(f"wren.{kind}.")
        assert f'raise NotImplementedError("{functions[0].rpartition("::")[2]}")' in patch.change
        assert image_of(task).startswith("codedata-nl2repo/")
    again = steps(screened, "proof")
    assert again.returncode == 0 and "wrote" not in again.stderr


@pytest.mark.docker
def test_a_test_may_need_a_body_that_another_ran_for_it_but_not_suffer_from_another(root):
    root.with_env(vars(wren_environment(test_script=f"export LEAVES=1\n{SCRIPT}")))
    hidden = COUNTED.partition("::test_")[2]   # its lines are another test's, it seems
    write_json(root / "coverage/wren.json", vars(wren_coverage(
        **{hidden: [], "each": [], "limit": ["each"]})))
    assert steps(root, TO_SCREEN).returncode == 0
    keep(root, *(("function", f"wren.py::{name}") for name in ("counted", "doubled")))
    done = steps(root, "proof")
    assert done.returncode == 0 and "left out 1 by a rule" in done.stderr, done.stderr
    [task] = tasks(root).values()
    doubled = patches(root)["function", "wren.py::doubled"].name
    [refused] = ledger_lines(root / "task", state="excluded", item=doubled)
    assert task.about["functions"] == ["wren.py::counted"]
    assert refused["error"] == (
        "tests fail that do not need the functions: tests/test_wren.py::test_limit")


@pytest.mark.docker
def test_edited_candidates_are_screened_again_and_others_not(screened):
    path = screened / "nl2repo/_communities/wren.json"
    record = read_json(path)
    record["candidates"] = [{"kind": "community",
                             "functions": ["wren.py::counted", "wren.py::each"]},
                            {"kind": "function", "functions": ["wren.py::following"]}]
    write_json(path, record)
    done = steps(screened, TO_SCREEN)
    assert done.returncode == 0 and "edited 1 (kept)" in done.stderr
    shown = read_json(path)["screened"]
    assert [one["verdict"] for one in shown] == ["good", "refused"]
    assert shown[1]["reason"] == "wren.py::following cannot be stripped"
    assert ("community", "wren.py::counted", "wren.py::each") in patches(screened)
    assert "orphan" in done.stderr and "wrote 1" in done.stderr


def test_a_task_whose_candidate_is_gone_is_an_orphan(tmp_path):
    write_tide(tmp_path)
    mine, others = Store(tmp_path, Task).open(), write_strip(tmp_path).instance_id
    gone, _ = (path for path in sorted((tmp_path / "candidate").glob("tide*")))
    mine.note(gone.name, stage="nl2repo.proof", state="done", read="0")
    shutil.rmtree(gone)
    assert "orphan 1" in steps(tmp_path, "proof", "--status").stderr
    assert "moved 1 orphan" in steps(tmp_path, "proof", "--prune").stderr
    assert others in tasks(tmp_path) and gone.name not in tasks(tmp_path)


def test_more_than_2000_lines_are_not_rebuilt_from_an_empty_folder(tmp_path):
    write_tide(tmp_path)
    edit(tmp_path / "coverage/tide.json", lambda one: one.update(
        import_lines={"tidebook.py": [1, 9]}))
    with (tmp_path / "nl2repo/_sources/tide/tidebook.py").open("a") as file:
        file.write("\n" * 2000)
    done = steps(tmp_path, "communities", "--from-empty")
    assert "lines of source are more than the 2,000" in done.stderr


def test_without_a_model_only_documents_are_refused_and_a_step_names_the_one_that_it_waits_for(
        tmp_path):
    tmp_path.with_env(vars(wren_environment()))
    done = run_script("nl2repo.py", tmp_path)
    assert done.returncode == 2 and "Or without a model: --writer template" in done.stderr
    assert not (tmp_path / "nl2repo").exists()
    for flag in ("--prune", "--steps=meta,relationship", "--steps=communities,screen"):
        done = run_script("nl2repo.py", tmp_path, flag)
        assert done.returncode == 0
    assert "nl2repo.py --steps extract" in done.stderr
