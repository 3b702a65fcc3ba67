"""Check the rows that env_setup.py is given, and repositories by path and address."""
import json
import os
import re
import shutil
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
from conftest import run_here
from heron_project import git
from line_tables import rows
from root import write_files

from codedata.code.git import run_git
from codedata.disk.store import Derived
from codedata.env.clones import checked_out, cloned
from codedata.env.clones import git as git_of_strangers
from codedata.env.inputs import one_repository, repositories_of, tree_digest
from codedata.errors import BrokenRecord, Trouble
from codedata.sandbox.archives import UnsafeArchive
from env_setup import main


@pytest.fixture
def project(tmp_path):
    """Make a git repository with two commits, a.txt in both."""
    folder = tmp_path / "served/reel"
    folder.mkdir(parents=True)
    git(folder, "init", "-q", "-b", "main")
    for text in ("one", "two"):
        (folder / "a.txt").write_text(text)
        git(folder, "add", "-A"), git(folder, "commit", "-qm", text)
    return folder


def rows_of(tmp_path, *rows) -> Derived:
    path = tmp_path / "repos.jsonl"
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n"
                            for row in rows))
    return repositories_of(path).open()


def test_a_row_is_named_by_its_repo_and_keeps_what_else_it_holds(tmp_path, project):
    found = rows_of(
        tmp_path,
        {"repo": "ann/reel", "reformat_path": "served/reel", "stars": 3, "image_name": "deb:x"},
        {"repo": "bob/x.y", "repo_name": "x_y"}, '{"repo": "a/b", "note": "one\u2028two"}')
    assert list(found.names()) == ["ann__reel", "x_y", "a__b"] and found.broken == []
    reel, other = found.read("ann__reel"), found.read("x_y")
    assert (reel.repo, reel.base_image, reel.path) == ("ann/reel", "deb:x", str(project.resolve()))
    assert reel.base_commit == git(project, "rev-parse", "HEAD") and reel.row["stars"] == 3
    assert (other.path, other.base_commit, other.base_image) == ("", "", "")
    # a separator within a text ends no line
    assert found.read("a__b").row["note"] == "one\u2028two"


def text_of(repository, root) -> str:
    """Return a.txt of a repository's commit."""
    clone, commit = cloned(repository.origin, repository.base_commit, root)
    with checked_out(clone, commit) as folder:
        return (folder / "a.txt").read_text()


FULL = "0123456789abcdef0123456789abcdef01234567"


# a row, with FULL for a commit | its name | its origin; of SWE-bench, SWE-smith, SWE-rebench, …
@pytest.mark.parametrize("row, name, origin", rows("""
{"repo": "ann/reel", "base_commit": "FULL", "instance_id": "ann__reel-7", "version": "3.1",\
 "environment_setup_commit": "FULL", "FAIL_TO_PASS": "[]"} | ann__reel__01234567\
 | https://github.com/ann/reel
{"repo": "swesmith/ann__reel.01234567", "image_name": "x/swesmith.ann_1776_reel.01234567",\
 "instance_id": "ann__reel.01234567.lm_1", "PASS_TO_PASS": ["t"]} | ann__reel__01234567 |
{"repo": "swesmith/ann__reel.six.01234567"} | ann__reel.six__01234567\
 | https://github.com/ann/reel.six
{"repo": "ann/reel.20240101"} | ann__reel.20240101 | https://github.com/ann/reel.20240101
{"repo": "ann/reel", "base_commit": "FULL", "image_name": "x/ann_1776_reel-7",\
 "install_config": {"python": "3.9"}, "meta": {"lite": true}} | ann__reel__01234567 |
{"repo": "https://example.org/deep/ann/reel.git", "base_commit": "FULL"} | ann__reel__01234567\
 | https://example.org/deep/ann/reel.git
{"repo": "git@example.org:ann/reel.git"} | reel | git@example.org:ann/reel.git
{"repo": "reel", "reformat_path": "served/reel", "base_commit": "FULL"} | local__reel__01234567\
 | {folder}
{"repo": "ann/reel", "reformat_path": "served/reel", "base_commit": "FULL"} | ann__reel__01234567\
 | {folder}
{"repo": "ann/reel"} | ann__reel | https://github.com/ann/reel
{"repo": "served/reel"} | served__reel | https://github.com/served/reel
"""))
def test_rows_of_other_data_sets_set_up_their_commit(tmp_path, project, row, name, origin):
    row = json.loads(row.replace("FULL", FULL))
    found = rows_of(tmp_path, row).read(name)
    assert found.origin == origin.format(folder=project.resolve()) and found.path == ""
    is_copy = row["repo"].startswith("swesmith/") and not row.get("image_name")
    assert found.base_commit == ("01234567" if is_copy else row.get("base_commit", ""))
    assert found.row == row
    assert str(tmp_path) not in found.called


def test_two_commits_of_one_repository_are_two_rows_and_two_tasks_of_one_are_one(tmp_path,
                                                                                  project):
    head, first = git(project, "rev-parse", "HEAD"), git(project, "rev-parse", "HEAD~1")
    source = {"repo": "served/reel", "reformat_path": "served/reel"}
    tasks = [{**source, "base_commit": commit, "instance_id": name}
            for commit, name in ((head, "a"), (first, "b"), (head, "c"))]
    found = rows_of(tmp_path, *tasks, {**source, "base_commit": "HEAD"})
    assert "not a commit's id" in str(found.broken[0]) and len(found.broken) == 1
    copy = {"repo": "swesmith/ann__reel.01234567", "image_name": "x/swesmith.ann_1776_reel"}
    copies = rows_of(tmp_path, *({**copy, "instance_id": name} for name in "ab"))
    assert [*copies.names()] == ["ann__reel__01234567"] and not copies.broken
    with ThreadPoolExecutor() as pool:
        texts = [*pool.map(lambda name: text_of(found.read(name), tmp_path), found.names())]
    assert texts == ["two", "one"] and git(project, "status", "--porcelain") == ""


def test_half_a_clone_of_a_killed_run_is_removed_by_the_next(tmp_path, project):
    sources = tmp_path / "env/_sources"
    write_files(sources, {"_tmp.1.reel-01234567/.git/config": ""})
    write = ["--repo", f"file://{project}", "--planner", "recipe", "--only", "nothing"]
    run_here(main, tmp_path, *write)
    assert [path.name[:5] for path in sources.iterdir()] == ["reel-"]


def test_every_line_that_is_no_row_is_named_and_the_others_go_on(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    no_rows = ["{half", {"name": "x"}, "[1]", {"repo": "../c"}, {"repo": "a/b"},
               {"repo": "f/g", "repo_name": 7}, {"repo": "i/j", "repo_name": {"a": 1}},
               *({"repo": "d/e", "reformat_path": path}
                 for path in ("gone", "x" * 5000, "a\0b", "loop"))]
    deep = json.dumps({"repo": "e/f", "x": 0}).replace("0", "[" * 900 + "]" * 900)
    found = rows_of(tmp_path, {"repo": "a/b"}, "", *no_rows, {"repo": "z/z"}, deep)
    assert {"a__b", "z__z"} <= {*found.names()} <= {"a__b", "z__z", "e__f"}
    places = [int(e.where.rpartition(":")[2]) for e in found.broken]
    assert places[:len(no_rows)] == [*range(3, 3 + len(no_rows))]
    with pytest.raises(Trouble, match="cannot be read"):
        repositories_of(tmp_path / "gone.jsonl")


def test_what_is_in_the_folder_is_an_input(project):
    before = tree_digest.__wrapped__(str(project))
    git(project, "gc", "-q")
    assert tree_digest.__wrapped__(str(project)) == before   # .git is not
    (project / "b.txt").symlink_to("a.txt")
    linked = tree_digest.__wrapped__(str(project))
    (project / "a.txt").chmod(0o755)
    assert len({before, linked, tree_digest.__wrapped__(str(project))}) == 3


def test_an_address_is_cloned_once_at_the_commit_that_is_asked_for(tmp_path, project):
    root, address = tmp_path / "root", f"file://{project}"
    first = git(project, "rev-parse", "HEAD~1")
    newest = one_repository(address, root).open().read("reel")
    assert newest.base_commit == git(project, "rev-parse", "HEAD") and newest.repo == address
    older = one_repository(f"{address}@{first[:9]}", root).open().read(f"local__reel__{first[:8]}")
    assert older.base_commit == first and text_of(older, root) == "one"
    (project / "a.txt").write_text("three")
    git(project, "commit", "-qam", "three")
    latest = git(project, "rev-parse", "HEAD")
    # it is fetched
    newest = one_repository(f"{address}@{latest}", root).open().read(f"local__reel__{latest[:8]}")
    assert text_of(newest, root) == "three" and len([*(root / "env/_sources").iterdir()]) == 1


@pytest.mark.parametrize("named, says", rows("""
no/such/folder                             | neither a folder
# nor an option of git
--upload-pack=touch x                      | neither a folder nor a git address
-x@host:y                                  | neither a folder nor a git address
file:///x@--detach                         | neither a folder nor a git address
ext::sh -c id                              | neither a folder nor a git address
file:///no/such/place.git                  | git clone
file://{project}@0123456789abcdef          | git
# the user in an address is no commit
ssh://git@127.0.0.1/o/r.git                | git clone
git@127.0.0.1:o/r.git                      | git clone
https://p4ssw0rd@127.0.0.1/o/r             | git clone
git://ann:p4ssw0rd@127.0.0.1:9/o/r@abc     | git clone
ssh://ann:p4ssw0rd@127.0.0.1:9/o/r@abc     | git clone
http://ann:p4ssw0rd@127.0.0.1:9/o/r@abc    | git clone
"""))
def test_what_cannot_be_fetched_is_trouble_that_shows_no_password(tmp_path, project, named, says):
    with pytest.raises(Trouble, match=says) as caught:
        one_repository(named.replace("{project}", str(project)), tmp_path)
    assert "p4ssw0rd" not in str(caught.value)


def test_two_addresses_that_end_alike_have_a_clone_each(tmp_path, project):
    other = tmp_path / "other/reel"
    shutil.copytree(project, other)
    (other / "a.txt").write_text("others")
    git(other, "commit", "-qam", "others")
    root = tmp_path / "root"
    assert {text_of(one_repository(f"file://{one}", root).open().read("reel"), root)
            for one in (project, other)} == {"two", "others"}


def test_a_folder_by_its_path_is_called_by_its_name_and_may_have_a_commit(tmp_path, project,
                                                                          monkeypatch):
    monkeypatch.chdir(project.parent)
    root, head = tmp_path / "root", git(project, "rev-parse", "HEAD")
    named = one_repository("./reel", root).open()
    found = named.read("reel")
    assert [*named.names()] == ["reel"] and found.path == str(project.resolve())
    assert (found.called, found.base_commit) == ("reel", head)
    found = one_repository(f"./reel@{head}", root).open().read(f"local__reel__{head[:8]}")
    assert (found.called, found.base_commit) == ("local/reel", head)
    git(project.parent, "clone", "-q", "--bare", "reel", "bare.git")
    found = one_repository("./bare.git", root).open().read("bare")
    assert (text_of(found, root), found.base_commit) == ("two", head)
    # no orphans
    assert named.covers("another") and not rows_of(tmp_path, {"repo": "a/b"}).covers("another")
    with pytest.raises(Trouble, match="lies in the source"):
        one_repository(str(project), project / "runs")


# unread repositories and rows --------------------------------------------------------------------

@pytest.mark.parametrize("repo", [".", "{folder}", "file://{folder}", "/etc", "reel"])
def test_a_row_names_no_folder_of_this_machine(tmp_path, project, monkeypatch, repo):
    monkeypatch.chdir(project.parent)
    repo = repo.replace("{folder}", str(project))
    found = rows_of(tmp_path, *({"repo": repo, "repo_name": name, "base_commit": commit}
                                for name, commit in (("a", ""), ("b", FULL))))
    assert len(found.broken) == 2 and "not an address or owner/name" in str(found.broken[0])

@pytest.mark.parametrize("kind", ["fifo", "bytes", "depth"])
def test_a_folder_that_cannot_be_looked_through_is_a_broken_row(tmp_path, project, kind):
    if kind == "fifo":
        (project / ".git/HEAD").unlink(), os.mkfifo(project / ".git/HEAD")
    elif kind == "bytes":
        with open(project / "sparse", "wb") as file:
            file.truncate(5_000_000_001)
    else:
        (project / "/".join("d" * 150)).mkdir(parents=True)
    found = rows_of(tmp_path, {"repo": "a/b", "reformat_path": str(project)}, {"repo": "z/z"})
    assert list(found.names()) == ["z__z"] and len(found.broken) == 1


def bomb(folder, levels: int, wide: int, blob: bytes) -> None:
    """Commit a tree with one blob at wide ** levels paths."""
    def stored(content: bytes, *words: str) -> str:
        return subprocess.run(["git", *words], cwd=folder, input=content, capture_output=True,
                              check=True).stdout.decode().strip()

    found = f"100644 blob {stored(blob, 'hash-object', '-w', '--stdin')}"
    for _ in range(levels):
        entries = "".join(f"{found}\t{n}\n" for n in range(wide))
        found = f"040000 tree {stored(entries.encode(), 'mktree')}"
    tree = found.split()[-1]
    git(folder, "update-ref", "HEAD", git(folder, "commit-tree", "-m", "bomb", tree))


@pytest.mark.parametrize("levels, wide, blob, says", [
    (9, 10, b"x", "files"), (4, 10, b"x" * 600_000, "bytes"), (150, 1, b"x", "folders deep")])
def test_a_clone_that_would_write_without_end_is_refused_before_it_does(
        tmp_path, project, levels, wide, blob, says):
    bomb(project, levels, wide, blob)
    with pytest.raises(BrokenRecord, match=says):
        one_repository(f"file://{project}", tmp_path / "root")
    assert sum(len(files) for _, _, files in os.walk(tmp_path / "root")) < 100


by_each_git = pytest.mark.parametrize("run", [git_of_strangers, partial(run_git, ".")])


@by_each_git
def test_git_takes_no_more_memory_and_time_than_a_repository_needs(run):
    """A delta of 16 KB may expand to an object of gigabytes, a tree of 1 KB to 10^10 names."""
    printed = run("-c", "alias.a=!echo $GIT_ALLOC_LIMIT; cat /proc/self/limits", "a")
    assert re.match(r"1g\n(?s:.*)cpu time +1200 +1200 (?s:.*)data size +2000000000 +2", printed)


@by_each_git
def test_a_git_that_ends_without_a_message_is_reported_with_its_exit_code(run):
    with pytest.raises((Trouble, UnsafeArchive), match="git -c failed: exit code 3"):
        run("-c", "alias.a=!exit 3", "a")


def test_git_runs_nothing_that_a_repository_names(tmp_path, project):
    script, ran = tmp_path / "run.sh", tmp_path / "ran"
    script.write_text(f"#!/bin/sh\ntouch {ran}\ncat\n")
    script.chmod(0o755)

    def name_programs(repository) -> None:
        for key, value in (("fsmonitor", script), ("hooksPath", tmp_path)):
            git(repository, "config", f"core.{key}", str(value))

    name_programs(project)
    (tmp_path / "post-checkout").symlink_to("run.sh")
    (project / ".gitattributes").write_text("* filter=lfs\n")
    git(project, "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/", "commit", "-qam", "x",
        "--allow-empty")
    assert rows_of(tmp_path, {"repo": "a/b", "reformat_path": str(project)}).read(
        "a__b").base_commit
    one_repository(f"file://{project}", tmp_path / "root")
    clone = next((tmp_path / "root/env/_sources").iterdir())
    name_programs(clone)
    one_repository(f"file://{project}", tmp_path / "root").open()
    assert not ran.exists()


def test_a_clone_keeps_no_password(tmp_path, project):
    git(project, "update-server-info")
    served = partial(SimpleHTTPRequestHandler, directory=str(project.parent))
    with ThreadingHTTPServer(("127.0.0.1", 0), served) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://ann:p4ssw0rd@127.0.0.1:{server.server_port}/reel/.git"
        found = one_repository(url, tmp_path / "root").open().read("reel")
        server.shutdown()
    assert found.repo == url.replace("ann:p4ssw0rd@", "") and found.base_commit
    clone, = (tmp_path / "root/env/_sources").iterdir()
    assert "p4ssw0rd" not in repr(found) + (clone / ".git/config").read_text()
    row = rows_of(tmp_path, {"repo": url, "base_commit": FULL}).read("local__reel__01234567")
    assert "p4ssw0rd" not in repr(row) + json.dumps(row.row) and row.origin == url
