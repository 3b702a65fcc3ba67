"""Check that commits of real clones are cut into PR records, and that a clone runs nothing here."""

import os
import shutil
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest
from root import write_files

from codedata.code.git import clone_in, has_commit
from codedata.env.clones import cloned
from codedata.env.inputs import base_commit
from codedata.errors import BrokenRecord, Trouble
from codedata.sampling.git_prs import cut_rows
from codedata.sampling.pull_requests import fetch_prs

ENVIRONMENT = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a",
               "GIT_COMMITTER_EMAIL": "a@b", "GIT_AUTHOR_DATE": "2024-05-01T14:00:00+02:00",
               "GIT_CONFIG_GLOBAL": "/dev/null", "PATH": os.environ["PATH"]}
ADDRESS = "https://user:secret@host.example/Own/repo.git"


def git(folder: Path, *words: str, stdin: str = "") -> str:
    return subprocess.run(["git", *words], cwd=folder, env=ENVIRONMENT, check=True,
                          input=stdin.encode(), capture_output=True).stdout.decode().strip()


def commit(folder: Path, message: str, files: dict[str, bytes]) -> str:
    write_files(folder, files)
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", message)
    return git(folder, "rev-parse", "HEAD")[:8]


@pytest.fixture
def clone(tmp_path):
    folder = tmp_path / "clone"
    git(tmp_path, "init", "-qb", "main", "clone")
    git(folder, "remote", "add", "origin", ADDRESS)
    commit(folder, "One (#1)", {"src/a.py": b"a = 1\r\nb = 2\r\n", "src/old.py": b"x\n" * 9})
    commit(folder, "Directly", {"src/a.py": b"a = 1\r\nb = 3\r\n"})
    (folder / "src/old.py").rename(folder / "src/new.py")
    commit(folder, "Mend b (fixes #3) (#12)\n\nIt was wrong.", {
        "src/a.py": b"a = 1\r\nb = 4", "tests/test_a.py": b"def test(): pass\n",
        "tests/data/\u00e9 b/x.json": b"{}\n", "src/test/A.java": b"class A {}",
        "logo.png": bytes(range(256))})
    git(folder, "checkout", "-qb", "side")
    commit(folder, "part", {"pkg/a.go": b"package a\n", "pkg/a_test.go": b"package a\n"})
    git(folder, "checkout", "-q", "main")
    git(folder, "merge", "-q", "--no-ff", "side", "-m", "Merge pull request #15 from me/side\n\nGo")
    commit(folder, "Only a test (#16)", {"tests/test_a.py": b"def test(): assert 1\n"})
    return folder


def asked(*marks: object, prefix: str = "Own__repo") -> list[str]:
    return [f"{prefix}-{mark}" for mark in (*range(20), *marks)]


def ids(spec: str, *marks: object, prefix: str = "Own__repo") -> list[str]:
    path, _, revisions = spec.removeprefix("git:").partition("@")
    return [row["instance_id"]
            for row in cut_rows(path, revisions, asked(*marks, prefix=prefix))]


def test_merges_and_numbered_commits_become_records(clone):
    made, problems = fetch_prs(f"git:{clone}", asked(), None)
    assert problems == {"Own__repo-16": "its row has no text in patch"}
    assert list(made) == ["Own__repo-15", "Own__repo-12"]
    record = made["Own__repo-12"]
    patch, test_patch = record.pop("patch"), record.pop("test_patch")
    assert record == {
        "instance_id": "Own__repo-12", "repo": "Own/repo", "language": "python",
        "base_commit": git(clone, "rev-parse", "HEAD~3"), "issue": "", "licence": None,
        "description": "Mend b (fixes #3) (#12)\n\nIt was wrong.",
        "created_at": "2024-05-01T12:00:00Z", "matched": None,
        "files": ["logo.png", "src/a.py", "src/new.py", "src/old.py", "src/test/A.java",
                  "tests/data/\u00e9 b/x.json", "tests/test_a.py"]}
    assert "src/a.py" in patch and "rename to src/new.py" in patch and "tests/" not in patch
    assert "x.json" in test_patch and "A.java" in test_patch
    assert "a_test.go" in made["Own__repo-15"]["test_patch"]


def test_both_patches_lead_from_the_base_to_the_commit_exactly(clone):
    for row in cut_rows(str(clone), "HEAD~4..HEAD", asked()):
        after = git(clone, "log", "--first-parent", "--format=%T %P").split(row["base_commit"])[0]
        git(clone, "read-tree", row["base_commit"])
        for patch in filter(None, (row["patch"], row["test_patch"])):
            git(clone, "apply", "--cached", "-", stdin=patch)
        assert git(clone, "write-tree") == after.split("\n")[-1].split()[0]


def test_a_merge_without_words_has_those_of_its_commits(clone):
    git(clone, "checkout", "-qb", "more", "HEAD~2")
    commit(clone, "Herons sink\n\nDeeply.\n\nFixes #3", {"pkg/b.go": b"package b\n"})
    commit(clone, "wip", {"pkg/c.go": b"package c\n"})
    commit(clone, "Storks, too", {"pkg/b_test.go": b"package b\n"})
    git(clone, "checkout", "-q", "main")
    git(clone, "merge", "-q", "--no-ff", "more", "-m", "Merge branch 'more'")
    row = next(cut_rows(str(clone)))
    assert row["pr_description"] == (
        "Merge branch 'more'\n\nHerons sink\n\nDeeply.\n\nStorks, too")


def test_a_range_or_a_list_takes_direct_commits_too(clone):
    direct, last = (git(clone, "rev-parse", f"HEAD~{n}")[:8] for n in (3, 0))
    assert ids(f"git:{clone}@HEAD~4..HEAD~2", direct) == ["Own__repo-12", f"Own__repo-{direct}"]
    assert ids(f"git:{clone}@{direct},main", direct) == [f"Own__repo-{direct}", "Own__repo-16"]
    assert ids(f"git:{clone}@HEAD~4") == []   # there is nothing before it
    commit(clone, "More (#16)", {"more": b""})
    assert ids(f"git:{clone}", last)[:2] == ["Own__repo-16", f"Own__repo-{last}"]


def test_of_all_commits_reverts_and_what_they_revert_are_left_out(clone):
    long = git(clone, "rev-parse", "HEAD~3")
    for message in (
            "Go (#17)", "More (#18)", f'Revert "Directly"\n\nThis reverts commit {long}.',
            'fix: Revert "More (#18)" (#19)',
            'Merge pull request #21 from me/revert-17-go\n\nRevert "Go"',
            f"Let mud revert (#22)\n\n* Revert \"x\"\n\nThis reverts commit {long}.\n\n* y"):
        commit(clone, message, {"src/a.py": message.encode()})
    rows = {row["instance_id"]: row for row in cut_rows(str(clone))}
    assert [name.rpartition("-")[2] for name, row in rows.items() if "no_patch" not in row] == [
        "22", "16", "15", "12"]
    assert next(iter(cut_rows(str(clone), instance_ids=["Own__repo-15"])))["patch"]


def test_ids_that_are_asked_for_are_matched_and_kept(clone):
    direct = git(clone, "rev-parse", "HEAD~3")[:8]
    asked = ["own__repo-15", f"Own__repo-{direct}", "Other__repo-12", "Own__repo-99"]
    records, problems = fetch_prs(f"git:{clone}", [*asked, "own__repo-16"], None)
    assert [*records] == asked[:2] and [*problems] == ["own__repo-16"]
    assert records["own__repo-15"]["instance_id"] == "own__repo-15"
    git(clone, "remote", "set-url", "origin", "/somewhere/else")
    assert [*fetch_prs(f"git:{clone}", ["Other__clone-12", "clone-15", "Own__repo-12"], None)[0]] \
        == ["clone-15", "Other__clone-12"]
    assert next(cut_rows(str(clone), instance_ids=["clone-15"]))["repo"] == "clone"


def test_a_session_gets_the_commit_that_follows_the_one_at_which_it_began(clone):
    began = f"base-{git(clone, 'rev-parse', 'HEAD~3')[:8]}"
    assert {*ids(f"git:{clone}@HEAD~3..HEAD~2", began)} == {"Own__repo-12", f"Own__repo-{began}"}
    assert not ids(f"git:{clone}@HEAD~4..HEAD~3", began)


def test_bare_and_shallow_clones_are_read_and_nothing_else_is(clone, tmp_path):
    git(tmp_path, "clone", "-q", "--bare", str(clone), "repo.git")
    git(clone, "worktree", "add", "-q", "--detach", "../linked", "HEAD~1")
    git(tmp_path, "clone", "-q", "--depth", "2", f"file://{clone}", "shallow")
    assert ids(f"git:{tmp_path}/repo.git", prefix="repo") == ["repo-16", "repo-15", "repo-12"]
    assert ids(f"git:{tmp_path}/shallow", prefix="shallow") == ["shallow-16"]
    for spec in ("/nowhere", str(tmp_path), f"{tmp_path}/linked", f"{clone}/src",
                 f"{clone}@no-such", f"{clone}@--all", f"{clone}@no..such"):
        with pytest.raises(Trouble, match=r"cannot be read: git .*\n.*Give git:PATH of a clone"):
            ids(f"git:{spec}")


@pytest.mark.parametrize("name", [".", "repo", "repo.git", "Own/repo", "Own__repo.git"])
def test_a_clone_is_found_by_its_name_and_commit(name, clone, tmp_path):
    place, head = tmp_path / "clones" / name, git(clone, "rev-parse", "HEAD")
    shutil.copytree(clone, place)
    folder = str(tmp_path / "clones")
    assert clone_in(folder, "Own/repo", head) == place
    assert not clone_in(folder, "Own/repo", "0" * 40) and not clone_in("", "Own/repo", head)
    if name != ".":
        assert not clone_in(folder, "../clone", head)
        shutil.rmtree(place), place.symlink_to(clone)
        with pytest.raises(BrokenRecord, match=f"{name}.* leads out of the folder"):
            clone_in(folder, "Own/repo", head)


@pytest.mark.parametrize("name", [".git", "HEAD", "config", "objects", "refs/heads/main",
                                  "packed-refs", "shallow", "objects/info/alternates",
                                  "objects/info/http-alternates"])
@pytest.mark.parametrize("kind", ["link", "fifo"])
def test_a_clone_leads_into_no_other_repository_and_nothing_waits(clone, tmp_path, name, kind):
    other, handed = tmp_path / "other", tmp_path / "handed"
    shutil.copytree(clone, other), shutil.copytree(clone, handed)
    place = handed / name if name == ".git" else handed / ".git" / name
    shutil.rmtree(place) if place.is_dir() else place.unlink(missing_ok=True)
    if kind == "fifo":
        os.mkfifo(place)
    elif "alternates" in name:
        place.write_text(f"{other}/.git/objects\n")
    else:
        place.symlink_to(other / place.relative_to(handed))
    started, head = time.monotonic(), git(clone, "rev-parse", "HEAD")
    with pytest.raises(Trouble, match="git "):
        ids(f"git:{handed}")
    with pytest.raises(Trouble, match="git "):
        cloned(str(handed), "", tmp_path / "root")
    assert not has_commit(handed, head)
    with suppress(Trouble):
        assert not base_commit(str(handed))
    assert time.monotonic() - started < 20


def test_a_list_of_refs_with_a_hole_is_refused_before_git_reads_it(clone, tmp_path):
    shutil.copytree(clone, tmp_path / "handed")
    with open(tmp_path / "handed/.git/packed-refs", "ab") as file:
        file.truncate(1 << 38)
    with pytest.raises(Trouble, match="packed-refs is larger than"):
        ids(f"git:{tmp_path}/handed")


def test_a_diff_that_is_too_large_costs_its_commit_and_bytes_that_are_no_utf8_do_not(clone):
    commit(clone, "Latin (#17)", {
        "src/a.py": b"a = 1\n", "tests/\u00e9 [b]!.py": b"b = '\xe9'\n"})
    commit(clone, "Large (#18)", {"src/b.py": b"b = 1\n" * 3_000_000})
    records, problems = fetch_prs(f"git:{clone}", asked(), None)
    assert [*records] == [f"Own__repo-{number}" for number in (17, 15, 12)]
    assert "more than 20,000,000 bytes" in problems["Own__repo-18"]
    latin_one = records["Own__repo-17"]
    assert "+a = 1" in latin_one["patch"] and "GIT binary patch" in latin_one["test_patch"]
    git(clone, "read-tree", latin_one["base_commit"])
    git(clone, "apply", "--cached", "-", stdin=latin_one["patch"] + latin_one["test_patch"])
    assert git(clone, "write-tree") == git(clone, "rev-parse", "HEAD~1^{tree}")


PROGRAMS = """core.fsmonitor core.pager core.sshCommand gpg.program diff.external diff.x.command
    diff.x.textconv filter.x.smudge filter.x.clean core.alternateRefsCommand alias.log
    alias.diff-tree"""


def test_no_program_that_a_clone_names_is_run(clone, tmp_path):
    mark = tmp_path / "ran"
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\ntouch {mark}\ncat\n")
    program.chmod(0o755)
    whole = [*cut_rows(str(clone), instance_ids=asked())]
    for name in PROGRAMS.split():
        git(clone, "config", name, str(program))
    for name, value in {"log.showSignature": "true", "core.hooksPath": str(tmp_path)}.items():
        git(clone, "config", name, value)
    (clone / ".git/info/attributes").write_text("* diff=x filter=x\n")
    (clone / ".gitattributes").write_text("* diff=x filter=x\n")
    git(clone, "replace", "HEAD~1", "HEAD~2")
    mark.unlink(missing_ok=True)
    assert [*cut_rows(str(clone), instance_ids=asked())] == whole and not mark.exists()
