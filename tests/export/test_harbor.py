"""Check the folders of tasks: what is in them, what is refused, and which formats are made."""
import hashlib
import os
import shutil

import line_tables
import pytest
from a_task import (
    IMAGE_ID,
    a_bug,
    a_datapoint,
    a_strip,
    edited,
    proven_again,
    write_foreign,
    write_task,
)
from conftest import REPO, edit
from exports import card, config, left_out, manifest
from fake_judges import exported as make
from root import Root, files_under, write_files

from codedata.disk.layouts import content_of
from codedata.export.task_sets.harbor import set_image
from codedata.export.task_sets.task_exports import Image
from codedata.texts import tomllib
from codedata.verifier.weighted_tests import share


@pytest.fixture
def root(tmp_path):
    """Return a root with the sample task, no duel, and no validation split."""
    tmp_path.with_settings(more="[export]\nvalidation = 0.0\n")
    shutil.copytree(REPO / "samples/tasks/tally", tmp_path / "task/tally")
    return tmp_path


def folder(root, name: str = "tally"):
    return root / "export/harbor" / name


def exported(root) -> set[str]:
    return {path.name for path in (root / "export").glob("[!_]*/") if path.is_dir()}


# which formats are made --------------------------------------------------------------------------

def test_tasks_alone_need_no_duel_and_turns_alone_make_no_tasks(root, tmp_path_factory):
    assert "task/ 1 → export/   1 task" in make(root)
    assert exported(root) == {"harbor"} and folder(root).is_dir()
    other = Root(tmp_path_factory.mktemp("turns")).with_turn("t_1").with_duel()
    make(other)
    assert exported(other) == {"sft_messages", "sft_completion", "dpo", "kto", "jsonl"}


def test_a_duel_that_is_refused_keeps_no_task_back(root):
    root.with_turn("t_1").with_duel(accepted=False)
    assert "would be refused: " in make(root, "--status") and exported(root) == set()
    printed = make(root)
    assert "was refused: " in printed and "margin 1.00 is below 2" in printed
    assert exported(root) == {"harbor"}
    make(root, "--formats=dpo")
    assert exported(root) == {"harbor"}
    make(root, "--rejected-too")
    assert {"harbor", "dpo", "jsonl"} <= exported(root)
    assert "jsonl, harbor\n" in make(root, "--rejected-too", "--formats=dpo")


def test_a_root_without_any_record_is_refused_as_one_without_a_duel(tmp_path):
    assert "the duel is not decided yet" in make(tmp_path, code=2)
    (tmp_path / "task").mkdir()
    (tmp_path / "task/old.json").write_text("{}")
    assert "Items are folders here" in make(tmp_path, code=1)


# a folder ----------------------------------------------------------------------------------------

@pytest.mark.parametrize("task, network", [
    (a_bug(), "no-network"), (a_strip(), "no-network"), (a_datapoint("shell-1"), "public")],
    ids=["bug", "strip", "datapoint"])
def test_the_folder_of_a_task_is_its_own_with_split_and_image_and_without_its_proof(
        root, task, network):
    place = write_task(root, task)
    write_files(place, {"rivals/1/solve.sh": "x\n", "README.md": "x\n"})
    make(root)
    there = files_under(folder(root, task.instance_id))
    wanted = {f"{part}/{name}": content_of(file) for part in ("environment", "solution", "tests")
              for name, file in getattr(task, part).items()}
    assert {path: data for path, data in there.items() if "/" in path} == wanted
    assert there.keys() - wanted.keys() == {"task.toml", "instruction.md", "manifest.toml",
                                            "README.md"}
    assert there["instruction.md"].decode() == task.instruction
    known = {"split": "train", **({} if network == "public" else {"image_id": IMAGE_ID})}
    metadata = {**task.config["metadata"], **known}
    assert config(root, task.instance_id) == {**task.config, "metadata": metadata}
    assert task.config["environment"]["network_mode"] == network


def test_a_task_of_somebody_else_keeps_all_its_files_and_names_no_image_that_is_not_there(root):
    more = {"steps/one/instruction.md": "Mail to eve.miller@wetlands.org.\n",
            "steps/one/tests/test.sh": "true\n"}
    place = write_foreign(root, files=more)
    make(root)
    assert exported(root) == {"harbor"}
    for path in (one for one in place.rglob("*") if one.is_file()):
        copy = folder(root, "theirs") / path.relative_to(place)
        assert copy.read_bytes() == path.read_bytes() or path.name in ("task.toml",
                                                                       "instruction.md")
        assert os.access(copy, os.X_OK) == os.access(path, os.X_OK)
    told = folder(root, "theirs") / "steps/one/instruction.md"
    assert told.read_text() == "Mail to [masked: e-mail address].\n"
    theirs = tomllib.loads((place / "task.toml").read_text())
    assert config(root, "theirs") == {**theirs, "metadata": {"author": "Them", "split": "train"}}


def test_a_manifest_has_the_digest_of_every_file(root):
    make(root)
    there = {str(path.relative_to(folder(root))): hashlib.sha256(path.read_bytes()).hexdigest()
             for path in folder(root).rglob("*") if path.is_file()}
    listed = tomllib.loads((folder(root) / "manifest.toml").read_text())["sha256"]
    assert there.keys() - listed.keys() == {"manifest.toml"} and listed.items() <= there.items()
    whole = manifest(root, "harbor")
    assert whole["tasks"][0]["kind"] == "" and "tally/manifest.toml" in whole["files"]


@pytest.mark.parametrize("network", ["public", "no-network", "compose"])
def test_the_network_of_tasks_is_a_setting(root, network):
    root.with_settings(more=f'[export]\nharbor_network = "{network}"\n')
    write_foreign(root, files={"task.toml": '[environment]\nnetwork_mode = "allowlist"\n'
                               'allowed_hosts = ["a.org"]\n[agent]\nnetwork_mode = "public"\n'})
    make(root)
    for name in ("tally", "theirs"):
        tables = config(root, name)
        assert tables["environment"].get("network_mode", "compose") == network
        assert "allowed_hosts" not in tables["environment"]
        assert "network_mode" not in tables["agent"]
        overlay = folder(root, name) / "environment/docker-compose.yaml"
        assert overlay.exists() == (network == "compose")
        assert not overlay.exists() or "network_mode: none" in overlay.read_text()


def test_the_address_of_an_author_in_a_project_s_files_is_no_secret(root):
    licence = "# Copyright (c) Eve Miller <eve.miller@wetlands.org>, all rights reserved\n"
    key = "ghp_" + "a1B2c3D4e5F6" * 3
    for name, more in {"author": "", "leaky": f"T = '{key}'\n"}.items():
        write_foreign(root, name, {"tests/test.sh": f"{licence}{more}",
                                   "instruction.md": "Ask eve.miller@wetlands.org."})
    write_foreign(root, "beside", {"notes/mine": f"T = '{key}'\n"})
    make(root)
    assert left_out(root) == {"leaky": "secret in a file", "beside": "secret in a file"}
    assert (folder(root, "author") / "tests/test.sh").read_text() == licence
    assert "wetlands" not in (folder(root, "author") / "instruction.md").read_text()


IMAGES = {   # a task, and one whose image is another
    "by tag": (a_bug(), edited(a_bug(), environment={"Dockerfile": b"FROM b\nRUN true\n"})),
    "by id": (a_bug(), edited(a_bug(), proof={"image_id": "sha256:c"})),
    "built": (a_datapoint(), proven_again(a_datapoint(), environment={"amounts.csv": b""}))}


@pytest.mark.parametrize("how", IMAGES)
def test_an_image_by_digest_is_named_everywhere_and_by_later_exports(root, how):
    task, other = IMAGES[how]
    name = task.instance_id
    shutil.rmtree(root / "task")
    write_task(root, task)
    root.with_settings(more='[export]\nharbor_network = "compose"\n')
    make(root)
    pushed = Image("127.0.0.1:5000/tally@sha256:" + "a" * 64, "sha256:" + "b" * 64)
    told, = manifest(root, "harbor")["tasks"]
    tag = told["docker_image"]
    set_image(folder(root, name), pushed)
    after = files_under(folder(root, name))
    assert config(root, name)["metadata"]["image_id"] == pushed.id
    assert not [path for path, data in after.items() if tag.encode() in data]
    edit(root / "export/harbor/manifest.json", images={tag: {
        "docker_image": pushed.ref, "image_id": pushed.id,
        "made_of": told["made_of"]}})
    make(root, "--force")
    assert files_under(folder(root, name)) == after
    write_task(root, other)
    make(root)
    if how != "by tag":   # else it is not exported: no run has shown what it is
        named = config(root, name)["environment"].get("docker_image", "")
        assert named == task.config["environment"].get("docker_image", "") != pushed.ref


@pytest.mark.parametrize("rubbish", [{"images": []}, {"files": [1]}, {"files": {"README.md": 5}}])
def test_a_manifest_that_was_edited_into_nonsense_counts_as_none(root, rubbish):
    make(root)
    edit(root / "export/harbor/manifest.json", **rubbish)
    assert "the edited one is in export/_replaced/harbor.1/" in make(root)
    assert "unchanged" in make(root)


# what is left out --------------------------------------------------------------------------------

COMPOSE = "environment/docker-compose.yaml"


@pytest.mark.parametrize("files, reason", [
    ({"instruction.md": " \n"}, "no instruction"), ({"task.toml": "metadata = 3\n"}, "task.toml"),
    ({COMPOSE: "x"}, "network"), ({"proof.json": "{"}, "broken record"),
    ({"task.toml": "x = " + 200 * "[" + 200 * "]"}, "broken record")], ids=str)
def test_what_a_reader_would_trip_over_is_left_out_and_named(root, files, reason):
    write_foreign(root, "odd", files)
    root.with_settings(more='[export]\nharbor_network = "compose"\n')
    make(root, code=1 if reason == "broken record" else 0)
    assert left_out(root) == {"odd": reason} and not folder(root, "odd").exists()
    assert folder(root).is_dir() and f"| left out | {reason} 1 |" in card(root, "harbor")


def test_no_link_of_a_task_is_followed_and_no_file_of_the_export_replaced(root):
    write_foreign(root, "beside")
    (root / "task/beside/notes").symlink_to("/etc/passwd")
    (write_foreign(root, "within") / "tests/data").symlink_to("/etc")
    (root / "task/whole").symlink_to(root / "task/tally")
    for name in ("README.md", "manifest.json"):   # files of the export
        write_foreign(root, name)
    assert "whole is not a folder" in make(root, code=1)
    assert left_out(root) == {"beside": "files", "within": "broken record", "README.md": "name",
                              "manifest.json": "name"}
    assert {path.name for path in folder(root).parent.iterdir()} == {
        "tally", "README.md", "manifest.json"}


# the reward --------------------------------------------------------------------------------------

@pytest.mark.parametrize("found, reward", line_tables.rows("""
a call passed, b call passed, b call passed, b teardown passed | 1.0
a call passed, b call passed, b call failed                    | 0.7
a call skipped, b call passed                                  | 0.3
a call passed, a teardown failed, c call passed                | 0.0
a setup passed,  collect failed                                | 0.0
                                                               | 0.0
"""))
def test_a_test_counts_if_all_its_cases_passed(found, reward):
    phases = [[*one.split(" "), ""] for one in found.split(", ") if one]
    assert share(phases, {"a": 0.7, "b": 0.3}) == float(reward)


# the table of readers ----------------------------------------------------------------------------
