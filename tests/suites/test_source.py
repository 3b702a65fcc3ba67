"""Check that a source is put into a container without a look at the future."""
import pytest
from heron_project import commit_all, git, opener

from codedata.code.patches import diff_of
from codedata.disk.layouts import Program
from codedata.env.clones import cloned
from codedata.suites.leftovers import history_after
from codedata.suites.source import Project, apply_patch, changed_files, put_source

pytestmark = pytest.mark.docker


def test_nothing_of_the_history_after_the_base_commit_is_left(repository):
    source, base = repository
    with opener("") as sandbox:
        assert put_source(sandbox, Project(source, base)) == (base, "")
        assert history_after(sandbox, base) == []
        assert sandbox.run("git log --all --format=%s").output.split() == ["base", "one"]
        assert sandbox.run("git tag").output.split() == ["v1.0"]
        assert sandbox.run("cat heron.py").output.endswith("# base\n")
        assert not sandbox.run("git status --porcelain").output
        assert "the fix of 2f8c" not in sandbox.run(
            "git cat-file --batch-all-objects --batch --unordered").output
        assert not sandbox.run(
            "grep -rsl 'the fix of 2f8c' / --exclude-dir=proc --exclude-dir=sys").output


def test_of_a_history_that_is_not_whole_the_commits_tree_is_taken(source, tmp_path):
    """Take away a blob of the first commit, as in a partial clone."""
    commit_all(source)
    git(source, "tag", "v1")
    lost = git(source, "rev-parse", "HEAD:heron.py")
    next(source.glob(f".git/objects/*/{lost[2:]}")).unlink()
    (source / "heron.py").write_text("DEEP = 2\n")
    git(source, "commit", "-qam", "two")
    head = git(source, "rev-parse", "HEAD")
    for place in (source, *(cloned(str(source), commit, tmp_path / f"root{commit}")[0]
                            for commit in ("", head))):
        with opener("") as sandbox:
            assert put_source(sandbox, Project(place, head)) == (head, "")
            assert sandbox.run("git tag; cat heron.py").output == "DEEP = 2\n"


LEFT = [   # a command of an install, and how a trace of it begins
    ("git remote add origin https://example.org/x.git", "a remote: origin"),
    ("git commit -q --allow-empty -m later && git tag later && git reset -q --hard HEAD~1",
     "refs/tags/later leads past "),
    ("git commit -q --allow-empty -m later", "HEAD is not at"),
    ("echo x >> heron.py && git stash -q", "refs/stash leads past "),
    ("git commit -q --allow-empty -m later && git reset -q --hard HEAD~1", "the reflog names"),
    ("git commit -q --allow-empty -m later && git reset -q --hard HEAD~1 && rm -rf .git/logs "
     ".git/ORIG_HEAD",
     "a commit that nothing leads to"),
    ("git commit -q --allow-empty -m later && git update-ref FETCH_HEAD HEAD; git reset -q --hard "
     "HEAD~1",
     "left over: .git/"),
    ("mkdir -p .git/objects/info && echo /elsewhere/objects > .git/objects/info/alternates",
     "objects are taken from elsewhere"),
    ("git clone -q . /opt/copy", "another repository: /opt/copy/.git"),
    ("git clone -q --bare . /opt/all.git", "another repository: /opt/all.git"),
    ("git clone -q --bare . /opt/.cache/all", "another repository: /opt/.cache/all"),
    ("git bundle create -q /opt/all.bundle HEAD", "a bundle of a repository: /opt/all.bundle")
]


def test_what_an_install_leaves_of_a_history_is_found(source):
    with opener("") as sandbox:
        base, trouble = put_source(sandbox, Project(source))
        assert not trouble
        sandbox.run("git config user.name t && git config user.email t@example.org; "
                    "tar -cf /tmp/source.tar .")
        for leave, sign in LEFT:
            assert sandbox.run(leave).ok
            found = history_after(sandbox, base)
            assert any(line.startswith(sign) for line in found), (leave, found)
            sandbox.run("find . -mindepth 1 -delete; tar -xf /tmp/source.tar; "
                        "rm -rf /opt/copy /opt/all.* /opt/.cache")
        # bare repositories of dependencies and of tests
        sandbox.run("git init -q --bare ~/.cargo/git/db/other && git init -q --bare tests/fixture")
        assert history_after(sandbox, base) == []


def test_a_submodules_files_are_part_of_the_source(source, tmp_path):
    (tmp_path / "egret").mkdir()
    (tmp_path / "egret" / "egret.py").write_text("x = 1\n")
    for folder in (tmp_path / "egret", source):
        commit_all(folder)
    git(source, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add",
        str(tmp_path / "egret"), "egret")
    git(source, "commit", "-qm", "two")
    for change in ("", "\nx = 2\n"):
        with open(source / "heron.py", "a") as file:
            file.write(change)
        with opener("") as sandbox:
            base, trouble = put_source(sandbox, Project(source))
            assert not trouble and history_after(sandbox, base) == []
            assert sandbox.run("git ls-files; git status --porcelain").output.split() == [
                ".gitmodules", "egret/egret.py", "heron.py", "tests/test_heron.py"]
    git(source, "submodule", "--quiet", "deinit", "--all", "--force")
    git(source, "checkout", "-q", "heron.py")
    with opener("") as sandbox:
        assert put_source(sandbox, Project(source)) == (git(source, "rev-parse", "HEAD"), "")


def test_changes_that_were_not_committed_are_part_of_the_source_and_nothing_ignored(
        repository, tmp_path):
    (repository[0] / ".gitignore").write_text(".env\n")
    commit_all(repository[0])
    source = tmp_path / "tree"
    git(repository[0], "worktree", "add", "-q", str(source))
    (source / ".env").write_text("KEY=1\n")
    (source / "heron.py").write_text("changed = True\n")
    (source / "new.py").write_text("new = True\n")
    git(source, "rm", "-q", "--cached", "tests/test_heron.py")
    (source / "tests" / "test_heron.py").unlink()
    head = git(source, "rev-parse", "HEAD")
    with opener("") as sandbox:
        base, trouble = put_source(sandbox, Project(source))
        assert not trouble and base != head
        assert sandbox.run("cat heron.py new.py; ls tests").output.startswith(
            "changed = True\nnew = True\n")
        assert not sandbox.run("test -e tests/test_heron.py || test -e .env").ok
        assert history_after(sandbox, base) == []


def test_a_folder_without_a_history_gives_the_same_commit_every_time(source):
    (source / "sub").mkdir()
    git(source / "sub", "init", "-q")
    (source / ".gitignore").write_text("*.log\n")
    (source / "kept.log").write_text("a file that the folder has\n")
    found = set()
    for _ in range(2):
        with opener("") as sandbox:
            found.add(put_source(sandbox, Project(source)))
            assert sandbox.run("git ls-files kept.log").output.strip() == "kept.log"
            before, after, reason = apply_patch(sandbox, diff_of(
                {"heron.py": b""}, {"heron.py": Program(b"")}))   # its mode alone
            assert (reason, [*map(type, before.values())]) == ("", [bytes])
            sandbox.put(after, "copy")
            assert sandbox.run("test -x heron.py && test -x copy/heron.py && ! test -x tests/*").ok
            assert changed_files(sandbox, ".")[1:] == ({}, "")
            assert not sandbox.run("test -e sub/.git").ok
    assert len(found) == 1 and found.pop()[1] == ""


# in place of the container's bash, by somebody who is root in there
LYING = """#!/bin/real
case $1 in */changed_files.sh) ;; *) exec /bin/real "$@" ;; esac
cd /tmp; rm -rf codedata-changed; mkdir -p codedata-changed/files; cd codedata-changed; . /lie
"""


def test_what_a_container_says_was_changed_is_no_way_to_the_host():
    with opener("") as sandbox:
        sandbox.put({"lying": LYING.encode()}, "/")
        assert sandbox.run("cp /bin/bash /bin/real; chmod +x /lying; mv /lying /bin/bash").ok
        for lie in ("ln -s /etc/passwd paths", "mkdir paths", "mkfifo paths", "true",
                    "touch paths; ln -s /etc/passwd files/x", "rmdir files; ln -s /etc files"):
            sandbox.put({"lie": lie.encode()}, "/")
            paths, files, trouble = changed_files(sandbox, "/tmp/clean")
            assert trouble and not paths and not files, lie
