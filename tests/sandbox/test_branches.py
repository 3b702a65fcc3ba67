"""Check branches of an image whose programs are hostile: what they see, may do, and leave."""
from __future__ import annotations

import pytest
from projects import COMMIT, Project

from codedata.errors import ItemFailed
from codedata.sandbox import OUTPUT_BYTES
from codedata.sandbox.branches import BranchedImage
from codedata.sandbox.docker import SandboxDocker

pytestmark = pytest.mark.docker
# each program notes its rights, and does its work then
LIES = r"""
for program in bash python3 mount base64 mkdir rm; do
    place=$(readlink -f "$(command -v $program)")
    mv $place $place.real
    printf '#!/bin/sh\ngrep CapEff /proc/self/status >>/rights\nexec %s.real "$@"\n' $place >$place
    chmod +x $place
done"""
IMAGE = Project("heron", commands=f"mkdir old; echo 1 >old/a; echo 1 >old/b; ln -s a old/link; "
                                  f"{COMMIT}{LIES}")
RIGHTS = "CapEff:\t00000000000000fb\n"   # those of any sandbox
REMOVED = "--- a/{0}\n+++ b/{0}\n@@ -1 +0,0 @@\n-1\n"


@pytest.fixture(scope="module")
def images():
    with SandboxDocker(workdir="/", supervises=True, run_label="tests-branches",
                       pids=80) as sandbox:
        yield BranchedImage(sandbox, IMAGE.make(), "/testbed")


def test_branches_see_what_is_below_them_and_nothing_of_each_other(images):
    look = "cat old/a new /tmp/x ~/x /dev/shm/x /proc/[0-9]*/cmdline 2>/dev/null; ls | wc -l"
    with images.branch() as below:
        below.run("echo below > old/a")
        with images.branch(*below.layers) as one, images.branch(*below.layers) as other:
            before = other.run(look).output
            one.run("for f in old/a new /tmp/x ~/x /dev/shm/x; do echo SPOILT > $f; done; rm *.py;"
                    "setsid sleep 4242 > /dev/null & sleep 0.2")
            assert "below" in before and other.run(look).output == before
            own = one.run(look).output
            assert own.count("SPOILT") == 4 and "4242" not in own   # /dev/shm is empty again
            assert below.run("cat old/a; ls heron.py").output == "below\nheron.py\n"
    with images.branch() as last:
        last.run("true")
    left = images.own("ls /run/layers; cat /proc/[0-9]*/comm | grep -cx sleep || :")
    assert left.split() == [*last.layers, "0"]


@pytest.mark.parametrize(("command", "changes"), [
    ("sed -i s/nowhere/here/ heron.py; touch heron.py; echo x > .git/x; mkdir -p __pycache__; "
     "echo x > __pycache__/x; rm old/a; echo 1 > old/a", {}),
    ("rm -r old", {"old/a": REMOVED.format("old/a"), "old/b": REMOVED.format("old/b"),
                   "old/link": "old/link: removed\n"}),
    ("rm -r old; mkdir old; echo 1 > old/a",
     {"old/b": REMOVED.format("old/b"), "old/link": "old/link: removed\n"}),
    ("rm -r old; ln -s /etc old", {"old": "old: a link to '/etc'\n",
                                   "old/a": REMOVED.format("old/a"),
                                   "old/b": REMOVED.format("old/b"),
                                   "old/link": "old/link: removed\n"}),
    ("ln -sf /etc/passwd old/link; chmod +x old/a; : > empty; printf '1\\0' > old/b; mkfifo pipe",
     {"old/link": "old/link: a link to '/etc/passwd'\n", "old/a": "old/a: mode 755\n",
      "empty": "empty: mode 644\n", "old/b": "", "pipe": ""}),
    ("seq 9000 > long; echo 1 > short; yes | head -c 9000000 > vast; echo x > $'\\xff'",
     {"long": "", "short": "--- a/short\n+++ b/short\n@@ -0,0 +1 @@\n+1\n", "vast": "",
      "�": "--- a/�\n+++ b/�\n@@ -0,0 +1 @@\n+x\n"})])
def test_changes_are_the_files_that_are_other_than_below(images, command, changes):
    with images.branch() as below:
        same, _ = below.tree(), below.run("touch heron.py")
        assert below.tree() == same
        with images.branch(*below.layers) as branch:
            assert branch.run(command).ok
            assert branch.changes() == changes and (branch.tree() == same) is not bool(changes)


@pytest.mark.parametrize("command", ["rm -rf /testbed", "mv /testbed /gone; ln -s /etc /testbed"])
def test_a_source_that_is_gone_is_removed_files_and_no_link_is_followed(images, command):
    with images.branch() as branch:
        branch.run(f"cd /; {command}")
        found = branch.changes()
        assert len(found) == 6 and found["old/a"] == REMOVED.format("old/a")


@pytest.mark.parametrize("command", [
    "mount.real -t tmpfs x /mnt", "unshare -m true", "unshare -Ur true", "mknod /x c 1 3",
    "mknod x c 0 0", "chroot / true", "echo x > /proc/sys/kernel/hostname",
    "mount.real -o remount,rw /proc/sys"])
def test_a_branch_may_not(images, command):
    with images.branch() as branch:
        assert not branch.run(command).ok
        assert branch.run("grep NoNewPrivs /proc/self/status").output == "NoNewPrivs:\t1\n"


def test_no_program_of_the_image_ever_has_more_rights_than_in_any_sandbox(images, tmp_path):
    with images.branch() as branch:
        branch.run(": >/rights; python3 -c 'print(1)'; mount; mkdir -p /tmp/a; echo x > /tmp/a/b")
        branch.put({"a b/c": b"1\n", "a b/\xe9": b"\xff" * 900_000}, "d")
        branch.changes(), branch.tree(), branch.get("/tmp/a", tmp_path)
        assert branch.run("cat 'd/a b/c'; wc -c < d/a*/é").output == "1\n900000\n"
        assert {*branch.run("cat /rights").output.splitlines(True)} == {RIGHTS}
    assert (tmp_path / "b").read_text() == "x\n"
    assert images.own("ls /rights 2>&1 || true").startswith("ls: cannot access")


def test_links_lead_put_and_get_nowhere_else(images, tmp_path):
    with images.branch() as branch:
        branch.run("mv /tmp /old; ln -s /etc /tmp; ln -s /etc/passwd old/passwd; ln -s /etc old/e")
        branch.put({"passwd": b"SPOILT", "e/passwd": b"SPOILT"}, "old")
        assert "SPOILT" not in images.own("cat /etc/passwd /below/etc/passwd")
        with pytest.raises(ItemFailed):
            branch.get("/tmp/passwd", tmp_path)
        branch.run("rm -rf old/e; ln -s /etc old/e")
        with pytest.raises(ItemFailed):
            branch.get("old/e/hostname", tmp_path)
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("command", ["f() { f | f & }; f; sleep 60", "sleep 60", "yes"])
def test_what_does_not_end_ends_alone_and_output_is_cut(images, command):
    with images.branch() as branch:
        branch.run("echo 1 > kept")
        done = branch.run(command, timeout_s=2)
        assert done.timed_out and done.seconds < 20 and len(done.output) < OUTPUT_BYTES + 1000
        assert branch.run("cat kept").output == "1\n" and [*branch.changes()] == ["kept"]
