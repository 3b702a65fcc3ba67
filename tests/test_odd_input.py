"""Check that odd numbers, depths, sizes and texts in a record, a ledger, a queue, a reply or a
datapoint give a record or a Trouble that names them, and end nothing else."""
import json
import shutil
from dataclasses import fields
from pathlib import Path
from tempfile import TemporaryDirectory

from conftest import REPO, with_odd
from hypothesis import example, given, settings
from hypothesis import strategies as st
from root import filled, write_files

from codedata import records
from codedata.datapoints.approval import is_as_proven
from codedata.datapoints.contents import row_of
from codedata.datapoints.datapoint_folder import PARTS, read_datapoint
from codedata.disk.store import Lists, Store, digests_of
from codedata.errors import Trouble
from codedata.report.index_page import write_index
from codedata.settings import Settings
from codedata.tasks.folder.task_folder import task_problem

WORDS = r'''1E+999999999 1E-999999999 1e400 NaN Infinity -0 -1 true null 9223372036854775808
    1180591620717411303424 "\ud800" "\u0000" "../x" [] {} 1]'''
ODD = [*WORDS.split(), "9" * 5000, "[" * 10**5, "[" * 600 + "]" * 600, '"\udcff"',
       '{"a":' * 600 + "1" + "}" * 600, '"' + "x" * 10**5 + '"']
odd = st.sampled_from(ODD) | st.recursive(
    st.floats() | st.integers() | st.text(max_size=3) | st.booleans(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=4).map(json.dumps)
often = settings(max_examples=100, deadline=None, derandomize=True)
SAMPLE = REPO / "samples/tasks/hook-inbox"
SCHEMAS = [one for one in vars(records).values()
           if hasattr(one, "__dataclass_fields__") and hasattr(one, "directory")]


def write(path: Path, text: str) -> Path:
    write_files(path.parent, {path.name: text})
    return path


@settings(often, max_examples=70)
@given(st.sampled_from(SCHEMAS), st.data(), odd)
def test_each_record_is_read_or_named(schema, data, value):
    record = filled(schema, instance_id="x", repo_name="x")
    text = with_odd(record, data.draw(st.sampled_from([one.name for one in fields(schema)])), value)
    is_list = schema is records.Prompt
    with TemporaryDirectory() as root:
        store = (Lists if is_list else Store)(Path(root), schema)
        path = write(store.path("x"), f"[{text}]" if is_list else text)
        for name in store.open().names():
            try:
                assert digests_of(store.read(name)) and store.facts(name)
            except Trouble as e:
                assert str(path) in str(e)


@settings(often, max_examples=40)
@given(st.sampled_from(["category", "tags", "languages", "reason", "lineage", "user", "artifacts",
                        "weights", "proof.json"]), odd)
@example("weights", '{"a": 1E+999999999, "b": 1E+999999999}')
@example("lineage", "18446744073709551616")
@example("lineage", "{a = 1979-05-27, b = [07:32:00]}")
def test_a_datapoint_is_read_or_named_and_the_page_has_the_others(name, value):
    with TemporaryDirectory() as root:
        folder = Path(root, "dp/odd")
        shutil.copytree(SAMPLE, folder)
        if name == "weights":
            write(folder / PARTS["weights"], f'{{"weights": {value}}}')
        elif name == "proof.json":
            write(folder / name, with_odd({"content": "c", "parts": {}}, "parts", value))
        else:   # `lineage` stands last, below [metadata.codedata]
            lines = [line for line in (folder / "task.toml").read_text().splitlines()
                     if not line.startswith(f"{name} =")]
            at = lines.index("[metadata.codedata]") + 1
            write(folder / "task.toml", "\n".join([*lines[:at], f"{name} = {value}", *lines[at:]]))
        assert write_index(Settings(root=Path(root)))
        try:
            task = read_datapoint(folder)
            assert row_of(task, None) and (task_problem(task) or is_as_proven(task))
        except Trouble as e:
            assert str(folder) in str(e)
