"""Check how datapoints are read and made, and what is as it was proven."""
import gzip
import json
from dataclasses import replace
from hashlib import sha256
from io import BytesIO

import pytest
from a_datapoint import a_datapoint, write_approved, write_datapoint
from line_tables import rows
from recorded import judged
from root import read_json

from codedata.datapoints.approval import approval_problem, is_as_proven
from codedata.datapoints.datapoint_folder import (
    PARTS,
    content_digest,
    context_of,
    folders_in,
    for_agent,
    labels_of,
    last_workdir,
    read_datapoint,
    texts_of,
    weights_of,
    with_texts,
)
from codedata.datapoints.validate import ImageSearch
from codedata.errors import BrokenRecord, ItemFailed
from codedata.records import DatapointChecks
from codedata.sandbox.archives import GZIP, ZSTD, UnsafeArchive, pack
from codedata.tasks.folder.task_folder import proven, task_problem, workdir_of


def test_a_content_is_all_but_the_labels(tmp_path):
    first = read_datapoint(write_datapoint(tmp_path / "sums"))
    again = read_datapoint(write_datapoint(tmp_path / "other", {"status": "cancelled"}))
    edited = read_datapoint(write_datapoint(tmp_path / "sums", prompt="Another one."))
    digests = [*map(content_digest, (first, again, edited))]
    assert digests[0] == digests[1] != digests[2]
    assert ([*context_of(first)], labels_of(first).lineage) == (["total.py"], {"seed": "sums"})


@pytest.mark.parametrize("harm, words", [
    (lambda folder: (folder / PARTS["tests"]).unlink(), "tests/test_outputs.py is missing"),
    (lambda folder: (folder / "beside").open("w").truncate(1 << 40), "'beside' is too large"),
    (lambda folder: (folder / "task.toml").write_text("a = 1\n" * 40_000), "200,000 characters"),
    (lambda folder: (folder / "task.toml").write_text(""), "not a datapoint: task.toml has no")])
def test_what_is_no_datapoint_is_named(tmp_path, harm, words):
    harm(write_datapoint(tmp_path / "dp/sums"))
    folder, = folders_in(tmp_path)
    with pytest.raises(BrokenRecord, match=words):
        read_datapoint(folder)


def test_another_text_changes_what_follows_from_it_and_the_lines_for_the_agent_stand_once():
    task = a_datapoint("sums")
    again = with_texts(task, {"tests": "# other"})
    assert texts_of(again) == texts_of(task)._replace(tests="# other")
    assert [again.environment, again.config] == [task.environment, task.config]
    dockerfile = again.environment["Dockerfile"].decode()
    assert dockerfile.count("useradd") == 1 and for_agent(dockerfile) == dockerfile
    moved = with_texts(again, {"dockerfile": dockerfile.replace("/app", "/srv")})
    assert moved.environment["Dockerfile"].decode() == dockerfile.replace("/app", "/srv")
    assert workdir_of(moved) == json.loads(moved.tests["config.json"])["workdir"] == "/srv"
    with pytest.raises(ItemFailed, match="their sum is 0"):
        with_texts(task, {"weights": '{"a": 0.9}'})


@pytest.mark.parametrize("text, words", rows("""
{"a": 0.1, "b": 0.2, "c": 0.7} |
{"a": NaN}                     | NaN is not a number
{"a": 0.3, "b": 0.69999}       | their sum is 0.99999
{"a": 2, "b": -1}              | 'a' has
{"a": 0.5, "a": 0.5}           | twice
{"a": true}                    | 'a' has True
{}                             | not an object
""") + [("[" * 100_000, "not readable")])
def test_weights_are_exact(text, words):
    try:
        found = ""
        weights_of(text)
    except ValueError as e:
        found = str(e)
    assert words in found and bool(words) == bool(found)


# a comma ends a line of the Dockerfile
@pytest.mark.parametrize("dockerfile, workdir", rows(r"""
FROM a, WORKDIR /srv, workdir /app/x | /app/x
FROM a                               |
FROM a, RUN x \, WORKDIR /a          |
WORKDIR $HOME                        |
WORKDIR app                          |
WORKDIR /app/../etc                  |
"""))
def test_the_work_directory_is_the_last_plain_one(dockerfile, workdir):
    assert last_workdir(dockerfile.replace(", ", "\n")) == workdir


def layer_of(files: dict[str, bytes], magic: bytes = b"") -> bytes:
    """Return a tar whose first bytes may look like a compression's."""
    layer = bytearray(pack({"xxxxx": b"", **files}).read())
    layer[:len(magic)] = magic
    layer[148:156] = b"%06o\0 " % (sum(layer[:148]) + 8 * ord(" ") + sum(layer[156:512]))
    return bytes(layer)


@pytest.mark.parametrize("name, magic, compress", [
    ("3f/layer.tar", b"", bytes), ("blobs/sha256/3f", b"", gzip.compress),
    ("blobs/sha256/3f", GZIP, bytes), ("blobs/sha256/3f", ZSTD, bytes)])
def test_layers_are_looked_through_whatever_they_and_their_files_are_called(name, magic, compress):
    text = "assert total('7 12') == 19 and total('a 1') == 1"
    layer = layer_of({"opt/log.gz": gzip.compress(text.encode()),
                      "usr/lib/idiom": text[:45].encode()}, magic)
    search = ImageSearch([text])
    search.look_at(name, BytesIO(compress(layer)), {f"sha256:{sha256(layer).hexdigest()}"})
    assert not search.traces
    search.look_at(name, BytesIO(compress(layer)), set())
    assert [trace.split()[0] for trace in search.traces] == ["layer/opt/log.gz!"]
    with pytest.raises(UnsafeArchive, match="zstd"):
        search.look_at(name, BytesIO(ZSTD), set())


def test_what_was_edited_since_its_proof_is_not_exported_and_labels_may_be_edited(tmp_path):
    write_approved(tmp_path / "task/sums")
    task = read_datapoint(tmp_path / "task/sums")
    assert is_as_proven(task) and task_problem(task) is None
    relabelled = replace(task, config={**task.config, "metadata": {
        **task.config["metadata"], "category": "Networking"}})
    assert is_as_proven(relabelled) and task_problem(relabelled) is None
    asked = replace(task, instruction="Add up.")   # the checks look at it, the proof does not
    assert not is_as_proven(asked) and task_problem(asked) is None
    edited = replace(task, tests={**task.tests, "more.py": b""})
    assert not is_as_proven(edited) and task_problem(edited)[0] == "not as proven"
    assert task_problem(replace(task, proof=None))[0] == "not proven"
    assert not is_as_proven(proven(task, {**task.proof, "validator": 1}))
    key = b"AWS_KEY = 'AKIA" + b"Q3X7ZT5WKV2NHB4D'"
    leaks = replace(task, environment={**task.environment, "key": key})
    assert task_problem(proven(leaks, task.proof))[0] == "secret in a file"


def test_another_base_image_than_the_validated_one_is_named(tmp_path):
    content = judged(tmp_path, base_image="sha256:1")
    task = read_datapoint(write_datapoint(tmp_path / "dp/sums"))
    found = DatapointChecks(**read_json(tmp_path / f"dp/_checks/{content}.json"))
    assert approval_problem(task, found, "") == ""   # no engine
    assert approval_problem(task, found, "sha256:1") == ""
    assert "sha256:2" in approval_problem(task, found, "sha256:2")
    assert "not validated" in approval_problem(task, replace(found, validator=0), "")
