"""Check records that are made of other stores' ones: what is broken, covered, chosen, opened."""
import os

import pytest

from codedata.disk.store import Derived, Store
from codedata.errors import BrokenRecord
from codedata.records import Candidates


def write_files(root, **n_candidates: int) -> Store:
    """Write files of n candidates each, heron.<key>."""
    for key, n in n_candidates.items():
        root.with_candidates(f"heron.{key}", *({"diff": str(i)} for i in range(n)), method=key)
    return Store(root, Candidates)


def one_each(name: str, record: Candidates) -> dict[str, Candidates]:
    """Give <item>.<index> for each candidate; of none, the item is broken."""
    if not record.candidates:
        raise BrokenRecord("is empty.", name)
    return {f"{name}.{i}": record for i, _ in enumerate(record.candidates)}


def test_what_may_be_of_an_item_that_cannot_be_made_is_no_orphan(tmp_path):
    store = write_files(tmp_path, a=2, b=0, c=1)
    (tmp_path / Candidates.directory / "heron.d.json").write_text("{")
    some = Derived(store, one_each, keeps=lambda name: name.startswith("ibis")).open()
    assert [*some.names()] == ["heron.a.0", "heron.a.1", "heron.c.0"]
    assert [len(some.broken), some.unread] == [2, {"heron.b", "heron.d"}]
    names = ("heron.a.1", "heron.b.0", "heron.d.7", "ibis.x", "heron.a.2", "heron.bb.0")
    assert [*map(some.covers, names)] == [True, True, True, True, False, False]


def test_what_is_chosen_is_read_as_it_is_now_and_digests_as_it_was(tmp_path):
    store = write_files(tmp_path, a=2, b=1, c=1)
    some = Derived(store, one_each, choose=lambda found: sorted(found, reverse=True)[:3]).open()
    assert [*some.names()] == ["heron.c.0", "heron.b.0", "heron.a.1"] and some.derived
    before = some.facts("heron.a.1")
    write_files(tmp_path, a=1)
    assert some.facts("heron.a.1") == before
    with pytest.raises(BrokenRecord, match="has changed since"):
        some.read("heron.a.1")


def test_a_file_as_a_script_left_it_is_not_opened_where_the_names_are_known(tmp_path):
    store = write_files(tmp_path, a=1).open()
    state = store.put("heron.a", store.read("heron.a"), owned=("method",))
    store.note("heron.a", stage="x", state="done", **state.line())
    place = store.path("heron.a")
    place.write_text("{" * state.size)
    os.utime(place, ns=(state.mtime_ns, state.mtime_ns))
    some = Derived(Store(tmp_path, Candidates), lambda name, record: {name: record},
                   names_of=lambda name: [name]).open()
    assert some.facts("heron.a").digests == state.digests
