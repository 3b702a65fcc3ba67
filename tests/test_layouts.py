"""Test that files and folders are put in place whole, a folder wherever its writer is killed."""
import ctypes
import json
import shutil
from functools import partial
from pathlib import Path

import pytest
from killed import at_events, is_killed_at
from root import files_under, filled, write_files

from codedata.disk.layouts import NEW, Draft, FolderDraft, clear_up, put_folder, set_aside
from codedata.disk.store import Store, remove_half_written
from codedata.errors import Trouble, is_full_disk
from codedata.records import Answer, Attempt
from codedata.run import cli
from codedata.run.start import hold_directories

FILES = {"old": {"prompt.md": b"old", "files/a.py": b"a = 1"},
         "new": {"prompt.md": b"new", "tests.py": b"def test(): pass", "files/b/c.py": b"c = 1"}}
# audit events of calls that change what is on disk, or stand right before or after one
STEPS = ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.scandir", "os.chmod",
         "ctypes.dlsym")


def test_a_file_of_the_current_folder_is_drafted_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    draft = Draft("index.html", b"page")
    assert [path.name for path in tmp_path.iterdir()] == [draft._tmp]


def test_a_field_that_a_stage_no_longer_writes_is_no_edit_and_a_success_ends_an_exclusion(
        tmp_path):
    owned = ("challenger", "choice")
    for choice in ({"model": "m", "reason": "r"}, None):
        store = Store(tmp_path, Answer).open()
        record = Answer(**filled(Answer, instance_id="i", challenger="b", choice=choice))
        change, line = store.begin("t_1", record, owned), {"stage": "ch", "item": "t_1"}
        state = store.sync(change).line(owned)
        store.ledger.append(store.into, {**line, "state": "excluded", "read": "1"}, {
            **line, "state": "done", **state, "found": change.external})
        change.place()
    store = Store(tmp_path, Answer).open()
    assert store.placed("ch", "t_1", owned) and not store.ledger.excluded


def test_a_full_disk_is_seen_in_what_copying_a_folder_raises(tmp_path):
    write_files(tmp_path / "one", {"file": "text"})
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy/file").symlink_to("/dev/full")
    with pytest.raises(shutil.Error) as caught:
        shutil.copytree(tmp_path / "one", tmp_path / "copy", dirs_exist_ok=True)
    assert is_full_disk(caught.value)


def replace_item(directory: Path, exchanges: bool) -> None:
    if not exchanges:   # as on a system that cannot
        ctypes.CDLL = lambda *_, **__: None
    built = directory / NEW / "item"
    write_files(built, FILES["new"])
    put_folder(directory / "item", built)


@pytest.mark.parametrize("exchanges", [True, False])
def test_an_item_folder_is_the_old_or_the_new_one_wherever_its_writer_is_killed(
        tmp_path, exchanges):
    seen = []
    for step in range(200):
        directory = tmp_path / str(step)
        write_files(directory / "item", FILES["old"])
        killed = is_killed_at(step, partial(replace_item, directory, exchanges),
                              at_events(STEPS))
        if not exchanges:   # the next run restores what was taken away between two renames
            clear_up(directory)
        found = files_under(directory / "item")
        seen.append(next(name for name, files in FILES.items() if found == files))
        clear_up(directory)
        assert files_under(directory) == {f"item/{name}": text for name, text in found.items()}
        if not killed:
            break
    assert not killed and seen == sorted(seen, reverse=True) and set(seen) == {"old", "new"}


def test_what_a_kill_leaves_of_an_attempt_goes_and_is_no_other_item(tmp_path):
    args = cli.parser("toy.py").parse_args(["--root", str(tmp_path)])
    _, options = cli.read(args)
    for name in ("old.b", "c"):
        FolderDraft(tmp_path / "attempt" / name, {"record.json": {}}, "")
    with hold_directories("solve.py", [Attempt], options):
        assert files_under(tmp_path / "attempt").keys() <= {"_lock", "_lock.all"}


def test_a_link_that_leads_nowhere_stays_in_an_item(tmp_path):
    write_files(tmp_path / "item", {"a": "a"})
    (tmp_path / "item/link").symlink_to("nowhere")
    draft = FolderDraft(tmp_path / "item", {"a": "b"}, "kind")
    draft.sync()
    draft.place()
    assert (tmp_path / "item/a").read_text() == "b" and (tmp_path / "item/link").is_symlink()


def test_a_users_key_leaves_the_keys_of_tools_in_their_order(tmp_path):
    tools = [{"type": "function", "function": {"name": "run", "description": "d"}}]
    record = Answer(**filled(Answer, instance_id="i", king="k", tools=tools))
    store = Store(tmp_path, Answer).open()
    store.put("t_1", record, tuple(vars(record)))
    path = store.path("t_1")
    plain = path.read_text()
    path.write_text(plain.replace("{", '{\n  "zz": {"b": 12345678901234567890123, "a": 1},', 1))
    Store(tmp_path, Answer).open().put("t_1", record, ("king",))
    edited = path.read_text()
    assert json.loads(edited)["zz"] == {"b": 12345678901234567890123, "a": 1}
    assert edited.startswith(plain.rstrip("}\n")), "only the key is added, at its place"


@pytest.mark.parametrize("name, change", [
    (NEW, lambda item: clear_up(item.parent, "kind")),
    (f"{NEW}/kind", lambda item: clear_up(item.parent, "kind")),
    (f"{NEW}/kind", lambda item: FolderDraft(item, {"a": "a"}, "kind")),
    (f"{NEW}/kind/item", lambda item: FolderDraft(item, {"a": "a"}, "kind")),
    ("_replaced", lambda item: set_aside(item.parent / "old")),
    ("item", lambda item: replace_item(item.parent, True))])
def test_a_link_where_only_codedata_has_files_is_refused_and_a_linked_directory_is_not(
        tmp_path, name, change):
    strangers = dict.fromkeys(("_tmp.1", "kind/a", "old.b/a"), b"x")
    write_files(tmp_path / "out", strangers)
    link = tmp_path / "disk" / name
    write_files(tmp_path / "disk/old", {"a": "a"})
    link.parent.mkdir(parents=True, exist_ok=True)
    for one in (link, tmp_path / "disk/_left"):
        one.symlink_to(tmp_path / "out")
    (tmp_path / "root").symlink_to("disk")
    remove_half_written([tmp_path / "root"])
    with pytest.raises(Trouble, match="is a link"):
        change(tmp_path / "root/item")
    assert files_under(tmp_path / "out") == strangers
    link.unlink()
    change(tmp_path / "root/item")
