"""Check the folders of tasks: what is in them, what is refused, and which formats are made."""
from __future__ import annotations

import hashlib
import json
import re
import runpy
import shutil
from functools import partial
from types import SimpleNamespace

import pytest
from conftest import REPO, edit, write_toml
from fake_judges import run_main
from judged import read_json, words, write_duel, write_json, write_turn

import export
from codedata.export.harbor import (
    ContextTask,
    Image,
    dockerfile_problem,
    set_image,
    task_files,
    to_toml,
)
from codedata.tasks.verifier.weighted_tests import share
from codedata.texts import tomllib

make = partial(run_main, export.main)   # its result is what export.py prints
TASK = REPO / "samples/task/tally.json"


@pytest.fixture
def root(tmp_path):
    """Return a root with the sample task, no duel, and no validation split."""
    write_toml(tmp_path, more="[export]\nvalidation = 0.0\n")
    (tmp_path / "task").mkdir()
    shutil.copy(TASK, tmp_path / "task")
    return tmp_path


def write_task(root, name: str, **fields) -> None:
    write_json(root / f"task/{name}.json", {**read_json(TASK), "instance_id": name, **fields})


def folder(root, name: str = "tally"):
    return root / "export/harbor" / name


def config(root, name: str = "tally") -> dict:
    return tomllib.loads((folder(root, name) / "task.toml").read_text(encoding="utf-8"))


def left_out(root) -> dict[str, str]:
    lines = (root / "export/left_out.jsonl").read_text().splitlines()
    return {line["name"]: line["reason"] for line in map(json.loads, lines)}


def exported(root) -> set[str]:
    return {path.name for path in (root / "export").glob("[!_]*/") if path.is_dir()}


# which formats are made --------------------------------------------------------------------------

def test_tasks_alone_need_no_duel_and_turns_alone_make_no_tasks(root, tmp_path_factory):
    assert "task/ 1 → export/   1 task" in make(root)
    assert exported(root) == {"harbor"} and folder(root).is_dir()
    other = tmp_path_factory.mktemp("turns")
    write_turn(other, "t_1")
    write_duel(other)
    make(other)
    assert exported(other) == {"sft_messages", "sft_completion", "dpo", "kto", "jsonl"}


def test_a_duel_that_is_refused_keeps_no_task_back(root):
    write_turn(root, "t_1")
    write_duel(root, accepted=False)
    assert "would be refused: " in make(root, "--status") and exported(root) == set()
    printed = make(root)
    assert "was refused: " in printed and "margin 1.00 is below 2" in printed
    assert exported(root) == {"harbor"}
    make(root, "--formats", "dpo")
    assert exported(root) == {"harbor"}
    make(root, "--rejected-too")
    assert {"harbor", "dpo", "jsonl"} <= exported(root)
    assert "jsonl, harbor\n" in make(root, "--rejected-too", "--formats", "dpo")


def test_a_root_without_any_record_is_refused_as_one_without_a_duel(tmp_path):
    assert "nobody has decided the duel" in make(tmp_path, code=2)


# a folder ----------------------------------------------------------------------------------------

def test_the_folder_of_a_task_says_all_that_its_record_says(root):
    make(root)
    record, written = read_json(TASK), config(root)
    assert written["task"]["name"] == "codedata/tally"
    assert written["artifacts"] == [written["environment"]["workdir"]] == [record["workdir"]]
    assert written["environment"]["docker_image"] == record["docker_image"]
    assert "environment" not in written["verifier"]   # an image there would have to hold /tests
    assert written["verifier"]["environment_mode"] == "separate" and "steps" not in written
    assert written["metadata"].items() >= {"repo": "samples/tally", "split": "train",
                                           **record["metadata"]}.items()
    texts = {"environment/Dockerfile": record["dockerfile"], "instruction.md":
             record["instruction"], "solution/solve.sh": record["solution"],
             "tests/test_outputs.py": record["tests"]["test_outputs.py"]}
    for path, text in texts.items():
        assert (folder(root) / path).read_text() == text
    assert read_json(folder(root) / "tests/config.json")["weights"] == record["weights"]


def test_a_manifest_has_the_digest_of_every_file(root):
    make(root)
    there = {str(path.relative_to(folder(root))): hashlib.sha256(path.read_bytes()).hexdigest()
             for path in folder(root).rglob("*") if path.is_file()}
    listed = tomllib.loads((folder(root) / "manifest.toml").read_text())["sha256"]
    assert there.keys() - listed.keys() == {"manifest.toml"} and listed.items() <= there.items()
    whole = read_json(root / "export/harbor/manifest.json")
    assert whole["tasks"][0]["source"] == "task" and "tally/manifest.toml" in whole["files"]


@pytest.mark.parametrize("network", ["public", "no-network", "compose"])
def test_the_network_of_tasks_is_a_setting(root, network):
    write_toml(root, more=f'[export]\nharbor_network = "{network}"\n')
    make(root)
    assert config(root)["environment"].get("network_mode", "compose") == network
    overlay = folder(root) / "environment/docker-compose.yaml"
    assert overlay.exists() == (network == "compose")
    assert not overlay.exists() or "network_mode: none" in overlay.read_text()


def test_tasks_of_repositories_have_no_network_and_those_of_terminals_a_public_one(root):
    make(root)
    assert config(root)["environment"]["network_mode"] == "no-network"
    terminal = task_files(ContextTask(**read_json(TASK)), Image("tally:1"), "auto", "train")
    assert tomllib.loads(terminal["task.toml"])["environment"]["network_mode"] == "public"


def test_the_address_of_an_author_in_a_project_s_files_is_no_secret(root):
    licence = "# Copyright (c) Eve Miller <eve.miller@wetlands.org>, all rights reserved\n"
    key = "ghp_" + "a1B2c3D4e5F6" * 3
    for name, more in {"author": "", "leaky": f"T = '{key}'\n"}.items():
        write_task(root, name, tests={"test_outputs.py": f"{licence}{more}"},
                   instruction="Ask eve.miller@wetlands.org.")
    make(root)
    assert left_out(root) == {"leaky": "secret in a file that runs"}
    assert (folder(root, "author") / "tests/test_outputs.py").read_text() == licence
    assert "wetlands" not in (folder(root, "author") / "instruction.md").read_text()


def test_any_text_comes_back_from_toml():
    odd = 'a "q" \\ \n\t\x00\x7f\u2028 \U0001f600 \'\'\' # x'
    table = {"k": odd, "a b": 1, odd: [odd, 0.1, True, []], "in": {"x": {"y.z": odd}}, "n": 1e22,
             "inf": float("inf")}
    assert tomllib.loads(to_toml({"top": [odd], "t": {**table, "none": None}})) == {
        "top": [odd], "t": table}


def test_a_second_run_changes_nothing_and_an_edited_folder_is_kept(root):
    make(root)
    assert "unchanged" in make(root)
    (folder(root) / "instruction.md").write_text("mine")
    assert "edited: tally/instruction.md (kept)" in make(root)
    edit(root / "task/tally.json", instruction="Another one.")
    assert "wrote; the edited one is in export/_replaced/harbor.1/" in make(root)
    assert (folder(root) / "instruction.md").read_text() == "Another one.\n"


@pytest.mark.parametrize("dockerfile, made_anew", [
    ("FROM codedata-base:bookworm\nRUN true\n", {"dockerfile": "FROM codedata-base:bookworm\n"}),
    ("", {"dockerfile": "FROM codedata-base:bookworm\n"}), ("", {"image_id": "sha256:c"})])
def test_an_image_by_digest_is_named_everywhere_and_by_later_exports(root, dockerfile, made_anew):
    edit(root / "task/tally.json", dockerfile=dockerfile)
    write_toml(root, more='[export]\nharbor_network = "compose"\n')
    make(root)
    pushed = Image("127.0.0.1:5000/tally@sha256:" + "a" * 64, "sha256:" + "b" * 64)
    manifest = read_json(root / "export/harbor/manifest.json")
    tag, = (task["docker_image"] for task in manifest["tasks"])
    set_image(folder(root), pushed)
    after = {path: path.read_bytes() for path in folder(root).rglob("*") if path.is_file()}
    assert config(root)["metadata"]["image_id"] == pushed.id
    assert not [path for path, data in after.items() if tag.encode() in data]
    edit(root / "export/harbor/manifest.json", images={tag: {
        "docker_image": pushed.ref, "image_id": pushed.id,
        "made_of": manifest["tasks"][0]["made_of"]}})
    make(root, "--force")
    assert {path: path.read_bytes() for path in after} == after
    edit(root / "task/tally.json", **made_anew)
    make(root)
    assert config(root)["environment"]["docker_image"] == tag   # that image is none of it


@pytest.mark.parametrize("rubbish", [{"images": []}, {"files": [1]}, {"files": {"README.md": 5}}])
def test_a_manifest_that_was_edited_into_nonsense_counts_as_none(root, rubbish):
    make(root)
    edit(root / "export/harbor/manifest.json", **rubbish)
    assert "the edited one is in export/_replaced/harbor.1/" in make(root)
    assert "unchanged" in make(root)


# what is left out --------------------------------------------------------------------------------

@pytest.mark.parametrize("fields, reason", [
    ({"instruction": " \n"}, "empty"), ({"docker_image": ""}, "empty"),
    ({"workdir": "app"}, "workdir"), ({"workdir": "/"}, "workdir"),
    ({"workdir": "/app/.."}, "workdir"), ({"workdir": "/tests/app"}, "workdir"),
    ({"workdir": "/usr"}, "workdir"), ({"workdir": "//etc"}, "workdir"),
    ({"dockerfile": "FROM a\nCOPY x /x\n"}, "dockerfile"),
    ({"dockerfile": "", "docker_image": "a\nCOPY x /x"}, "dockerfile"),
    ({"tests": {}}, "tests"), ({"tests": {"test_outputs.py": "", "../x": ""}}, "tests"),
    ({"tests": {"test_outputs.py": "", "verify.py": ""}}, "tests"),
    ({"tests": {"test_outputs.py": "", "/x": ""}}, "tests"),
    *(({"tests": {"test_outputs.py": "", path: ""}}, "tests")
      for path in ("test_outputs.py/x", "test.sh/x", "a\0b", "a" * 300, "", ".")),
    ({"weights": {}}, "weights"), ({"weights": {"test_a": 0.5}}, "weights"),
    ({"weights": {"test_a": 1.5, "test_b": -0.5}}, "weights"),
    ({"metadata": {"tags": "python"}}, "metadata"), ({"metadata": {"difficulty": 3}}, "metadata"),
    ({"solution": "export TOKEN=ghp_" + "a1B2c3D4e5F6" * 3}, "secret in a file that runs"),
    ({"weights": None}, "broken record")], ids=str)
def test_what_a_reader_would_trip_over_is_left_out_and_named(root, fields, reason):
    write_task(root, "odd", **fields)
    make(root, code=1 if reason == "broken record" else 0)
    assert left_out(root) == {"odd": reason} and not folder(root, "odd").exists()
    card = (root / "export/harbor/README.md").read_text()
    assert folder(root).is_dir() and f"| left out | {reason} 1 |" in card


def test_a_task_takes_the_place_of_no_file_of_the_export(root):
    for name in ("README.md", "manifest.json"):
        write_task(root, name)
    assert "1 task" in make(root)
    assert left_out(root) == {"README.md": "name", "manifest.json": "name"}


@pytest.mark.parametrize("text, problem", [
    ("", "only FROM"), ("RUN x\nFROM a", "only FROM"), ("# c\nFROM a", ""),
    ("FROM a\nFROM b", "only FROM"),
    ("FROM a\n# why\nRUN x \\\n  && y\nWORKDIR /a\nENV A=b\nUSER me\nLABEL a=b", ""),
    ("# syntax=x\nFROM a", "directive"),
    ("FROM a\nADD . /", "ADD is not"), ("FROM a\nENTRYPOINT x", "ENTRYPOINT is not"),
    ("FROM a\nRUN x \\\n# why\n && y", ""), ("FROM a\n# why \\\nCOPY . /", "COPY is not"),
    ("FROM a\nRUN x \\\\\nCOPY . /", "COPY is not"),
    ("FROM a\nRUN --mount=type=bind,target=/x y", "option"), ("FROM a\nRUN <<E\nx\nE", "here-doc"),
    ("FROM a\nru\\\nn x\nCOPY a b", "COPY is not")])
def test_a_dockerfile_rebuilds_without_a_context(text, problem):
    assert problem in dockerfile_problem(text) and bool(problem) == bool(dockerfile_problem(text))


def test_masking_licences_benchmarks_exclusion_and_the_split_are_shared(root):
    bench = {"instance_id": "b__b-1", "problem_statement": words("a benchmark's problem", 120)}
    (root / "bench.jsonl").write_text(json.dumps(bench) + "\n")
    write_task(root, "masked", instruction="Use ghp_" + "a1B2c3D4e5F6" * 3)
    write_task(root, "gpl", licence="GPL-3.0")
    write_task(root, "known", instruction=bench["problem_statement"])
    write_task(root, "unwanted")
    for i in range(20):
        write_task(root, f"n-{i}", repo=f"owner/repo{i // 2}")
    write_toml(root, more='[exclude]\nids = ["unwanted"]\n[export]\nvalidation = 0.4\n'
                          'licences = ["mit"]\ndecontaminate = ["bench.jsonl"]\n')
    assert "masked: GitHub token 1" in make(root)
    assert left_out(root) == {"gpl": "licence", "known": "in a benchmark",
                              "unwanted": "[exclude] ids"}
    assert "[masked: GitHub token]" in (folder(root, "masked") / "instruction.md").read_text()
    split = {f"n-{i}": config(root, f"n-{i}")["metadata"]["split"] for i in range(20)}
    assert all(split[f"n-{i}"] == split[f"n-{i + 1}"] for i in range(0, 20, 2))
    assert set(split.values()) == {"train", "validation"}


# the reward --------------------------------------------------------------------------------------

@pytest.mark.parametrize("found, reward", [
    (["a call passed", "b call passed", "b call passed", "b teardown passed"], 1.0),
    (["a call passed", "b call passed", "b call failed"], 0.7),
    (["a call skipped", "b call passed"], 0.3),
    (["a call passed", "a teardown failed", "c call passed"], 0.0),
    (["a setup passed", " collect failed"], 0.0), ([], 0.0)])
def test_a_test_counts_if_all_its_cases_passed(found, reward):
    phases = [[*one.split(" "), ""] for one in found]
    assert share(phases, {"a": 0.7, "b": 0.3}) == reward


# the table of readers ----------------------------------------------------------------------------

def test_the_table_of_readers_has_what_a_folder_has_and_their_versions(tmp_path):
    tool = SimpleNamespace(**runpy.run_path(str(REPO / "tools/harbor-readers")))
    page = (REPO / "docs/exports.md").read_text(encoding="utf-8")
    made = page.partition(tool.BEGIN)[2].partition(tool.END)[0].splitlines()
    head, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in made]
    tool.write_sample(tmp_path / "tally")
    assert [row[0] for row in rows] == tool.names_of(tmp_path / "tally")
    assert head[1:] == list(tool.READERS)
    assert {cell for row in rows for cell in row[1:]} <= {"needs", "reads", "asks for it", "–"}
    version = re.search(r"HARBOR_VERSION:-([\d.]+)", (REPO / "tools/run-harbor").read_text())[1]
    assert f"Harbor {version}" in head
