"""Test the view of environments, and how one is opened: from its image, or installed again."""
import json
from dataclasses import replace
from pathlib import Path

import heron_environment
import pytest
from heron_project import commit_all, git
from proof_heron import factory_of
from registry_server import registry_server
from root import write_json

from codedata.errors import Excluded, ItemFailed, Trouble
from codedata.records import Environment
from codedata.sandbox.docker import engine
from codedata.suites.environments import Environments, image_of, open_environment
from codedata.suites.project_suite import run_suite

RUN = "tests-environments"
BASE = "codedata-base:bookworm"


def an_environment(**fields) -> dict:
    return heron_environment.an_environment(**{
        "base_commit": "", "image_name": "", "install_script": "true\n", **fields})


def committed(folder: Path) -> str:
    """Return the commit of a folder's files; another one follows it."""
    commit_all(folder)
    git(folder, "commit", "-q", "--allow-empty", "-m", "it went on")
    return git(folder, "rev-parse", "HEAD~")


def one_row(folder: Path, **row):
    """Return the environment of one row of --input."""
    path = folder / "rows.jsonl"
    path.write_text(json.dumps({"repo": "birds/heron", "test_case_result": [], **row}) + "\n")
    view = Environments(folder, rows=path).open()
    return view.read("birds__heron")


def test_only_what_succeeded_and_is_healthy_is_used(tmp_path):
    records = {"heron": {}, "egret": {"status": "error"}, "stork": {"verified": {"healthy": False}}}
    for name, fields in records.items():
        write_json(tmp_path / f"env/{name}.json", an_environment(repo_name=name, **fields))
    (tmp_path / "env/crane.json").write_text("{")
    view = Environments(tmp_path).open()
    assert [*view.names()] == ["heron"] and view.facts("heron").instance_id == "heron"
    assert view.left_out == {"egret": "its status is error",
                             "stork": "its suite is not healthy (--unhealthy-too)"}
    assert [*map(view.covers, ("egret", "stork", "ibis"))] == [True, True, False]
    assert len(view.broken) == 1
    assert {*Environments(tmp_path, unhealthy_too=True).open().names()} == {"heron", "stork"}


def test_the_newest_healthy_commit_of_a_repository_is_used(tmp_path):
    for name, repo, date, healthy in (
            ("a1", "birds/heron", 10, True), ("a2", "birds/heron", 30, True),
            ("a3", "birds/heron", 40, False), ("b", "birds/ibis", 5, True),
            ("c", "birds/heron", None, True)):
        write_json(tmp_path / f"env/{name}.json", an_environment(
            repo=repo, repo_name=name, verified={"healthy": healthy, "committed_at": date}))
    view = Environments(tmp_path, newest=True).open()
    assert [*view.names()] == ["a2", "b", "c"] and view.covers("a1")
    assert view.left_out["a1"] == "there is a newer commit (--all-commits)"
    assert {*Environments(tmp_path).open().names()} == {"a1", "a2", "b", "c"}


def test_rows_of_both_forms_and_broken_ones(tmp_path):
    results = [{"name": "test_wade", "status": "PASSED"}]
    rows = [{"repo": "birds/heron", "image_name": "birds/heron:1", "test_case_result": results},
            {"repo": "a/ibis", "image_name": "i", "test_case_result": [], "base_commit": "c0ffee"},
            {"repo": "birds/heron", "image_name": "again", "test_case_result": []},
            {"repo": "birds/crane", "image_name": "c"}, []]
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join([*map(json.dumps, rows), "{", "[" * 100_000, ""]))
    view = Environments(tmp_path, rows=path).open()
    heron, ibis = map(view.read, view.names())
    assert (heron.repo_name, heron.row) == ("birds__heron", rows[0])
    assert heron.test_case_result == results
    assert ibis.base_commit == "c0ffee" and "pytest" in ibis.test_script.splitlines()[-1]
    assert [e.where.rpartition(":")[2] for e in view.broken] == ["3", "4", "5", "6", "7"]
    with pytest.raises(Trouble, match="cannot be read"):
        Environments(tmp_path, rows=tmp_path / "none.jsonl").open()


@pytest.mark.docker
def test_a_kept_image_is_pushed_removed_and_pulled_again(tmp_path):
    with registry_server() as address:
        factory = factory_of(registry=f"{address}/codedata")
        with factory.open(BASE, RUN) as sandbox:
            sandbox.put({"test_heron.py": b"def test_wade(): pass\n"}, ".")
            image_id = sandbox.commit("codedata-tests/pushed", keep=False)
        kept = factory.keep(image_id, "codedata-tests/pushed:1")
        factory.forget(RUN)
        assert kept.name == f"{address}/codedata/codedata-tests/pushed:1" and not kept.trouble
        environment = one_row(tmp_path, image_name=kept.name)
        api = engine.connect()
        api.remove_image(kept.name)
        with open_environment(environment, factory, RUN) as sandbox:
            results = run_suite(sandbox, environment.test_script, 60).results
        assert [case.status for case in results] == ["passed"]
        api.remove_image(kept.name)
    for gone in (environment, one_row(tmp_path, image_name="codedata-tests/nobody:1")):
        # its registry is gone, or its name has none: then it is never pulled
        with pytest.raises(Excluded, match=f"{gone.image_name} is not available"):
            open_environment(gone, factory, RUN).__enter__()


@pytest.mark.docker
def test_an_item_fails_whose_image_cannot_be_pushed_and_none_is_left_of_those_that_were_kept():
    factory = factory_of()
    other = factory.keep(BASE, "codedata-tests/here")
    former, kept = (factory.keep(BASE, "codedata-tests/here:1") for _ in range(2))
    assert factory.has_image(kept.image_id) and not factory.has_image(former.image_id)
    assert factory.has_image(BASE) and factory.has_image(other.name)
    engine.connect().remove_image(other.name)
    engine.connect().remove_image(kept.name)
    with pytest.raises(ItemFailed, match=r"cannot be pushed: .*refused"):
        factory_of(registry="127.0.0.1:9").keep(BASE, "codedata-tests/here:2")
    assert engine.image_names("127.0.0.1:9/*") == set()


@pytest.mark.docker
def test_without_an_image_the_source_is_installed_again_and_an_image_can_be_made_of_it(heron):
    factory = factory_of()
    base_commit = committed(heron / "heron")
    fields = {"base_commit": base_commit, "verified": {"source_path": str(heron / "heron")},
              "install_script": "touch /opt/installed; echo >>heron.py\n"}
    environment = Environment(**an_environment(**fields))
    kept = image_of(environment, factory, RUN)
    again = replace(environment, image_name=kept.name)
    try:
        assert kept.name.startswith("codedata-env/heron:") and factory.has_image(kept.name)
        assert image_of(again, factory, RUN).name == kept.name
        with open_environment(again, factory, RUN, default_rights=True) as sandbox:
            done = sandbox.run("ls /opt/installed; git rev-parse HEAD; git status --short; "
                               "grep CapEff /proc/self/status")
        # Docker's default capabilities
        assert done.output == f"/opt/installed\n{base_commit}\nCapEff:\t00000000a80425fb\n"
    finally:
        engine.connect().remove_image(kept.name)
    for changed, why in (({"install_script": "exit 3"}, "cannot be installed again"),
                         ({"base_commit": "0" * 40}, "its source is not the verified one"),
                         ({"base_commit": ""}, "its source is not the verified one")):
        with pytest.raises(ItemFailed, match=why):
            open_environment(replace(environment, **changed), factory, RUN).__enter__()


def test_an_environment_that_can_be_had_nowhere_is_excluded_by_name():
    environment = Environment(**an_environment(image_name="nowhere/heron:1"))
    pods = factory_of(sandbox="kubernetes")
    for path in ("/nowhere", 5):
        gone = replace(environment, row={"reformat_path": path})
        with pytest.raises(Excluded, match=f"its source is not in {path}"):
            open_environment(gone, pods, RUN).__enter__()
    with pytest.raises(Excluded, match="kubernetes makes none"):
        image_of(environment, pods, RUN)
    assert pods.has_image("registry.example.org/d/heron:1") and not pods.has_image("heron/a:1")
