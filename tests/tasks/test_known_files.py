"""Test that with an image's files known, one made of it is searched as it is alone."""
from __future__ import annotations

import gc
import os

import pytest
from projects import make_lean
from test_task_images import RUN, commit, factory  # noqa: F401  fixture

from codedata.sandbox import docker_engine
from codedata.tasks.images import check_task_image, derive
from codedata.tasks.known_files import KnownFiles
from codedata.tasks.prove import KNOWN_IMAGES, Prover

pytestmark = pytest.mark.docker
BASE, TASK = f"codedata-tests/known:{os.getpid()}", f"codedata-tests/known-task:{os.getpid()}"
SOLVED = 'def wade(depth):\n    raise ValueError("deeper than its legs are long, so it turns")\n'
HEAD = "--- a/heron.py\n+++ b/heron.py\n@@ "
GOLD = f"{HEAD}-0,0 +1,2 @@\n" + "".join(f"+{line}\n" for line in SOLVED.splitlines())
REMOVED = f"{HEAD}-1,2 +0,0 @@\n" + "".join(f"-{line}\n" for line in SOLVED.splitlines())
# In the image, beside its source: copies of the solution that stay, one that goes when a task is
# made of it, one that is packed and has a name as those in archives, and many blanks.
SOURCE = """set -e; mv /tmp/solved heron.py
git init -q; git -c user.name=a -c user.email=a@b commit -qm one --allow-empty
git add -A; git -c user.name=a -c user.email=a@b commit -qm two
mkdir -p /opt/a!b ~/.cache/pip; cp heron.py /opt/stays.py; gzip -c heron.py >/opt/a!b/c.gz
cp heron.py ~/.cache/pip/goes; yes '          ' | head -c 3000000 >/opt/blanks
cd /opt; python3 -m compileall -qb /testbed/heron.py; mv /testbed/heron.pyc /opt/of_source.pyc"""


@pytest.fixture(scope="module")
def task(factory):  # noqa: F811
    base = commit(factory, make_lean(), SOURCE, BASE, solved=SOLVED)
    return derive(factory, base, REMOVED, TASK, RUN)


def traces(image: str, *known) -> set[str]:
    return {trace.partition(" ")[0] for trace in check_task_image(image, GOLD, "", *known)}


def test_what_is_known_and_what_has_changed_give_the_same_traces(factory, task):  # noqa: F811
    known = KnownFiles(task.made_of, "/testbed")
    assert known.is_whole
    expected = {"/opt/stays.py", "/opt/a!b/c.gz!", "/opt/of_source.pyc"}
    assert traces(TASK, task.changed, known) == traces(TASK) == expected
    assert traces(TASK, [*task.changed, "/opt", "/nowhere"], known) == expected
    assert traces(TASK, None, None, known) == {"/opt/of_source.pyc"}   # what the base has, too


def test_what_was_added_since_is_found_and_what_was_taken_away_is_not(factory, task):  # noqa: F811
    with factory.open(TASK, RUN) as sandbox:
        sandbox.put({"solved": SOLVED.encode()}, "/srv")
        assert sandbox.run("rm -r /opt/a!b; echo x >/opt/stays.py; mkdir '/srv/a b'; "
                           "cp /srv/solved '/srv/a b/c'; cp /srv/solved other.py").ok
        made_of, changed = sandbox.changed()
        sandbox.commit("codedata-tests/known:more", keep=False)
    assert made_of == docker_engine.connect().inspect_image(TASK)["Id"]
    known = KnownFiles(task.made_of, "/testbed")
    found = traces("codedata-tests/known:more", [*task.changed, *changed], known)
    assert found == {"/srv/solved", "/srv/a", "/testbed/other.py", "/opt/of_source.pyc"}


def test_few_images_are_known_at_a_time_and_their_files_go(factory, task):  # noqa: F811
    gc.collect()   # what other tests have left
    prover, n_before = Prover(factory, True, 0.5), n_held()
    for n in range(KNOWN_IMAGES + 2):
        prover._known_files(task.made_of, f"/testbed/{n}")
    assert prover._known_files.cache_info().currsize == KNOWN_IMAGES
    assert 0 < n_held() - n_before <= KNOWN_IMAGES
    prover._known_files.cache_clear()
    assert n_held() == n_before


def n_held() -> int:
    """Return how many files without a name this process has mapped to read them."""
    with open("/proc/self/maps") as maps:
        return sum(" r--s " in line and "(deleted)" in line for line in maps)
