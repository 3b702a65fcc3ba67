"""Check branches of an image whose programs lie: what they see, and what is seen of them."""
import threading

import pytest
from conftest import eventually
from heron_environment import an_environment
from projects import COMMIT, Project

from codedata.errors import Interrupted
from codedata.records import Environment
from codedata.sandbox.docker.engine import connect
from codedata.sandbox.factory import SandboxFactory
from codedata.settings import Settings
from codedata.turns.branches import MAX_DIFFS, BranchedImage
from codedata.turns.fresh import FreshSandboxes

pytestmark = pytest.mark.docker
# programs that say that nothing is other than before
LIES = r"""
for program in sha256sum find stat; do
    place=$(readlink -f "$(command -v $program)"); printf '#!/bin/sh\n' >$place
done"""
IMAGE = Project("heron", commands=f"mkdir old; echo 1 >old/a; echo 1 >old/b; ln -s a old/link; "
                                  f"{COMMIT}{LIES}")
REMOVED = "--- a/{0}\n+++ b/{0}\n@@ -1 +0,0 @@\n-1\n"
RUN = "tests-branches"


@pytest.fixture(scope="module")
def images():
    factory = SandboxFactory(Settings(), threading.Event())
    yield BranchedImage(factory, IMAGE.make(), RUN)
    factory.forget(RUN)
    assert not connect().images(filters={"label": f"codedata.run={RUN}"})


def test_branches_see_what_is_below_them_and_nothing_of_each_other(images):
    look = "cat old/a new /tmp/x ~/x /dev/shm/x /proc/[0-9]*/cmdline 2>/dev/null; ls | wc -l"
    with images.branch() as below:
        below.run("echo below > old/a")
        with images.branch(below) as one, images.branch(below) as other:
            before = other.run(look).output
            one.run("for f in old/a new /tmp/x ~/x /dev/shm/x; do echo SPOILT > $f; done; rm *.py;"
                    "setsid sleep 4242 > /dev/null & sleep 0.2")
            assert "below" in before and other.run(look).output == before
            with images.branch(one) as above:
                own = above.run(look).output
            assert own.count("SPOILT") == 4 and "4242" not in own   # /dev/shm is empty again
            assert below.run("cat old/a; ls heron.py").output == "below\nheron.py\n"


CHANGES = [
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
      "\\xff": ""})]


def test_changes_are_the_files_that_are_other_than_below(images):
    with images.branch() as below:
        same, _ = below.tree(), below.run("touch heron.py")
        assert below.tree() == same
        for command, changes in CHANGES:
            with images.branch(*below.layers) as branch:
                assert branch.run(command).ok
                assert branch.changes() == changes, command
                assert (branch.tree() == same) is not bool(changes), command


def test_changes_that_go_or_are_many_are_listed_without_a_diff_and_a_stop_ends_it(images):
    stop = threading.Event()
    factory = SandboxFactory(Settings(), stop)
    with BranchedImage(factory, IMAGE.make(), RUN).branch() as branch:
        branch.run("touch {100..350}; echo x > 0; (sleep 2; rm 0; touch done) &> /dev/null &")
        assert "/testbed/0" in branch.entries()
        eventually(lambda: "/testbed/done" in dict(branch._sandbox.differences()))
        found = branch.changes()
        assert len(found) == 252 and sum(map(bool, found.values())) == MAX_DIFFS - 1
        branch.run("rm {100..350}; echo y > heron.py")
        stop.set()
        with pytest.raises(Interrupted):
            branch.changes()


@pytest.mark.parametrize("command", ["rm -rf /testbed", "mv /testbed /gone; ln -s /etc /testbed"])
def test_a_source_that_is_gone_is_removed_files_and_no_link_is_followed(images, command):
    with images.branch() as branch:
        branch.run(f"cd /; {command}")
        found = branch.changes()
        assert len(found) == 6 and found["old/a"] == REMOVED.format("old/a")


def test_where_no_image_is_made_a_branch_shows_the_same(images):
    environment = Environment(**an_environment(image_name=IMAGE.image))
    found = []
    for make in (images, FreshSandboxes(environment, images.factory, RUN)):
        with make.branch() as below:
            below.run("echo x > 'a b'; rm tests/__init__.py; touch conftest.py")
            same = below.tree()
            with make.branch(*below.layers) as branch:
                branch.put({"d/e": b"1\n"}, ".")
                branch.run("ls > /dev/null; echo y > 'a b'; printf '\\0' > 'é'; echo z > new")
                assert below.tree() == same != branch.tree()
                found.append(branch.changes())
    assert found[0] == found[1] and len(found[0]) == 4
