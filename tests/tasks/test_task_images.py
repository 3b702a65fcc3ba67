"""Test that a task's image holds one commit, and that a planted solution is found in it."""
import bz2
import gzip
import io
import lzma
import os
import zipfile
from functools import partial

import pytest
from projects import make_lean
from proof_heron import factory_of

from codedata.code.patches import added_runs, diff_of
from codedata.errors import ItemFailed
from codedata.sandbox.archives import Bounds, OverBounds
from codedata.tasks.image.hidden_text import Search
from codedata.tasks.image.task_image import check_task_image, derive, with_tools

RUN = f"tests-task-images-{os.getpid()}"   # other workers have their own
BASE = "codedata-tests/heron:base"
TASK = "codedata-tests/heron:task"
SOLVED = """def wade(depth):
    if depth > 40:
        raise ValueError("deeper than its legs are long, so it turns back")
    return f"slowly, in {depth} cm"
"""
GOLD = """--- a/heron.py
+++ b/heron.py
@@ -1,2 +1,4 @@
 def wade(depth):
+    if depth > 40:
+        raise ValueError("deeper than its legs are long, so it turns back")
     return f"slowly, in {depth} cm"
"""
PATCH = """--- a/heron.py
+++ b/heron.py
@@ -1,4 +1,2 @@
 def wade(depth):
-    if depth > 40:
-        raise ValueError("deeper than its legs are long, so it turns back")
     return f"slowly, in {depth} cm"
"""
# What a project leaves of its text: two commits, and what was compiled, built, measured and cached.
SOURCE = r"""set -e
export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b.c GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b.c
git init -q; printf '*.pyc\nbuild/\ndist/\nlib/*.js\n' >.gitignore; echo one >README
git add -A; git commit -qm one
cp /tmp/solved heron.py; printf 'data\r\n' >data.pyc; git add -Af; git commit -qm two
mkdir -p build/lib dist lib x.egg-info htmlcov venv/lib/python3/site-packages/build
mkdir -p ~/.cache/pip/wheels
python3 -m compileall -q heron.py
for place in build/lib/heron.py dist/heron.py lib/heron.js x.egg-info/heron.py htmlcov/index.html \
    .coverage ~/.cache/pip/wheels/heron.whl; do cp heron.py $place; done
echo kept >venv/lib/python3/site-packages/build/__init__.py; echo kept >x.egg-info/PKG-INFO
rm -r /tmp/solved"""
# Each prints the place where the solution can be read.
PLANTED = {
    "a reachable commit": """git checkout -qb other; cp $S heron.py; git commit -qam solved
        object $(git rev-parse HEAD:heron.py); git checkout -q main""",
    "a dangling blob": "sed 1d $S >/tmp/cut; object $(git hash-object -w /tmp/cut); rm /tmp/cut",
    "a stash": """cat $S $S >heron.py; git stash -q; object $(git rev-parse stash@{0}:heron.py)""",
    "a .pyc": """mkdir -p /opt/old; cp $S /opt/old/h.py; cd /opt/old; python3 -m compileall -qb h.py
        rm h.py; echo /opt/old/h.pyc""",
    "bytecode of the source": """python3 -m compileall -q /testbed; mkdir /srv/a
        mv __pycache__/*.pyc /srv/a/h.pyc; echo /srv/a/h.pyc""",
    "bytecode in the source": "echo x >heron.pyc; echo /testbed/heron.pyc",
    "build/lib": "mkdir -p build/lib; cp $S build/lib/heron.py; echo /testbed/build/lib/heron.py",
    "a wheel in pip's cache": """mkdir -p ~/.cache/pip/http/a; cd /tmp; cp $S heron.py
        python3 -m zipfile -c w.whl heron.py; rm heron.py
        { echo cc=4,; cat w.whl; echo vary; } >~/.cache/pip/http/a/b; rm w.whl
        echo ~/.cache/pip/http/a/b!heron.py""",
    "a pack of its own": """cd /opt; git init -q p; cd p; cp $S f; cat $S $S >g; git add f g
        git commit -qm p; git repack -adq; cp .git/objects/pack/*.pack ../q; echo /opt/q""",
    "a bundle": """cd /opt/p; git bundle create -q ../b --all; rm -r /opt/p
        echo /opt/b""",
    "a dangling blob in a pack": """sed 2d $S >/tmp/cut
        git hash-object -w /tmp/cut | git pack-objects -q .git/objects/pack/pack >/dev/null
        git prune-packed; echo /testbed/.git/objects""",
    "a gzip": "gzip -c $S >/opt/h.gz; echo /opt/h.gz!",
    "a gzip in a gzip": "gzip -c $S | gzip >/opt/g.gz; echo /opt/g.gz!"}
PLANT = r"""set -e
export S=/run/codedata/solved   # in memory: not in the image
printf %s "$SOLVED" >$S
export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b.c GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b.c
object() { echo "/testbed/.git/objects/${1:0:2}/${1:2}!"; }
"""


@pytest.fixture(scope="module")
def factory():
    factory = factory_of()
    yield factory
    factory.forget(RUN)


def commit(factory, image: str, script: str, name: str, **files: str) -> str:
    """Put files into a container of an image, run a script there, and commit it; return the name.
    """
    with factory.open(image, RUN) as sandbox:
        sandbox.put({path: text.encode() for path, text in files.items()}, "/tmp")
        done = sandbox.run(script)
        assert done.ok, done.output
        sandbox.commit(name, keep=False)
    return name


@pytest.fixture(scope="module")
def base(factory):
    """Return the name of an image with a source that has a history and leftovers."""
    return commit(factory, make_lean(), SOURCE, BASE, solved=SOLVED)


@pytest.fixture(scope="module")
def task(factory, base):
    return derive(factory, base, PATCH, TASK, RUN)


@pytest.mark.docker
def test_a_planted_solution_is_found_wherever_it_lies(factory, task):
    with factory.open(TASK, RUN) as sandbox:
        planted = {}
        for name, commands in PLANTED.items():
            done = sandbox.run(f"{PLANT}{commands}", env={"SOLVED": SOLVED})
            assert done.ok, f"{name}: {done.output}"
            planted[name] = done.output.strip()
        sandbox.commit("codedata-tests/heron:planted", keep=False)
    traces, unread = check_task_image("codedata-tests/heron:planted", GOLD)
    lines = [*traces, *unread.values()]
    assert {name for name, place in planted.items()
            if not any(line.startswith(f"{place} ") for line in lines)} == set()
    assert {*unread} == {"/opt/q", "/opt/b", "/opt/g.gz"}
    assert "git log --all shows 4 commits" in traces   # the task's, the branch's, two of the stash


@pytest.mark.docker
def test_no_build_of_a_changed_file_is_left_where_a_compiler_writes_other_lines(factory, base):
    name = "codedata-tests/heron:built"
    commit(factory, base, r"""mkdir -p sea/dist land/src land/out land/node_modules/.cache dist
        touch {sea,land}/package.json land/src/{depth,tide}.js sea/dist/a.js dist/b.js
        touch land/x.tsbuildinfo land/out/depth.mjs land/node_modules/.cache/depth
        echo 'export const d: number = 1' >land/src/depth.ts
        printf '%s\n' dist/ out/ '*.js' '*.tsbuildinfo' node_modules >>.gitignore
        git add .; git -c user.name=a -c user.email=a commit -qm three""", name)
    patch = diff_of({"land/src/depth.ts": b"export const d: number = 1\n"},
                    {"land/src/depth.ts": b"export const d: number = 2\n"})
    derive(factory, name, patch, f"{name}-task", RUN)
    with factory.open(f"{name}-task", RUN) as sandbox:
        left = sandbox.run("git ls-files -o -i --exclude-standard dist/b.js land sea").output
    assert left.split() == ["dist/b.js", "land/src/tide.js", "sea/dist/a.js"]


@pytest.mark.docker
def test_a_source_may_belong_to_another_user(factory, base):
    # as where the tests refuse root
    commit(factory, base, "chown -R 1000:1000 .", "codedata-tests/heron:owned")
    derive(factory, "codedata-tests/heron:owned", PATCH, "codedata-tests/heron:owned-task", RUN)
    assert check_task_image("codedata-tests/heron:owned-task", GOLD) == ([], {})
    with pytest.raises(ItemFailed, match="patch does not apply"):
        derive(factory, "codedata-tests/heron:owned-task", PATCH, "codedata-tests/heron:none", RUN)


@pytest.mark.docker
def test_the_image_s_own_tools_are_not_believed(factory, task):
    commit(factory, TASK, "mv /tmp/solved .; git add -A; git -c user.name=a -c user.email=a commit "
           "-qm more; for tool in git find grep cat; do cp /bin/true $(which $tool); done",
           "codedata-tests/heron:lies", solved=SOLVED)
    traces, _ = check_task_image("codedata-tests/heron:lies", GOLD)
    assert traces[0] == "git log --all shows 2 commits"


@pytest.mark.docker
def test_a_layer_of_tools_goes_with_the_run(factory, base):
    name = with_tools(factory, base, lambda box: box.run("touch /opt/tool"), "tests-tools", "He_n")
    assert factory.has_image(name) and name.startswith("codedata-tools/he-n-")
    with factory.open(name, RUN) as sandbox:
        assert sandbox.run("ls /opt/tool heron.py").ok
    factory.forget("tests-tools")
    assert not factory.has_image(name)


# the search --------------------------------------------------------------------------------------

def found(texts: list[str], data: bytes, exempt: bytes = b"") -> list[str]:
    """Return the traces of a search through one file."""
    search = Search(texts)
    search.exempt(io.BytesIO(exempt))
    search.look("file", io.BytesIO(data))
    return search.traces + [*search.unread.values()]


def test_every_40_bytes_in_a_row_are_found_at_every_place():
    text = "".join(chr(97 + i * i % 26) + f"{i:x}" for i in range(60))
    for n in range(0, 80):
        for start in (0, 7, len(text) - 40):
            part = text[start:start + 40].encode()
            assert found([text], b"-" * n + part + b"-" * 9), (n, start)
            assert not found([text], b"-" * n + part[1:] + b"-" * 9)
    at_the_end_of_a_piece = b"-" * ((1 << 20) - 20) + text[:40].encode()
    assert found([text], at_the_end_of_a_piece)


def test_of_a_hidden_file_only_long_runs_count():
    text = "".join(chr(97 + i * i % 26) + f"{i:x}" for i in range(150))
    for data, is_found in ((text[9:209], True), (text[:199] + "-" + text[200:300], False),
                           (text[-200:], True), (text[:150] * 9, False)):
        for n in (0, 7, (1 << 20) - 100):
            search = Search([], hidden=[text, "-", "\n"])   # no part of the texts around them
            search.look("file", io.BytesIO(b"-" * n + data.encode() + b"-" * 300))
            assert bool(search.traces) is is_found, (n, data)
    line = "short, but longer than forty bytes: all of it"
    for imported in ("import { fileURLToPath } from 'node:url';",
                     "const { fileURLToPath } = require('node:url');"):
        search = Search([], hidden=[f"{imported}\n", f"{imported}\n{line}"])
        search.look("other program", io.BytesIO(f"{imported}\nhop(1)\n".encode()))
        assert not search.traces
        search.look("file", io.BytesIO(f"-\n{line}".encode()))
        assert search.traces
    tried = "try:\n    import heron\nexcept ImportError:  # cannot wade\n    pass\nimport mud\n"
    search = Search([], hidden=[f"{tried}{text}"])
    search.look("other program", io.BytesIO(tried.encode()))
    assert not search.traces


def test_what_the_source_has_anyway_blanks_and_line_ends():
    line = "    if depth is deeper than the legs are long: back"
    assert not found([line], line.encode(), exempt=f"# {line}".encode())
    assert found([line + " at once"], f"{line} at once".encode(), exempt=line.encode())
    assert not found([" " * 60 + "return"], b" " * 100 + b"return")
    assert found(["one line of text\nand another line of it\n"],
                 b"one line of text\r\nand another line of it\r\n")


def test_a_line_counts_in_a_copy_of_the_project_s_file_alone():
    line = "    if depth is deeper than the legs are long: back"
    project = f"{line}\ndef wade(depth, pace, heron, shore):\n    return pace * shore(heron)\n" * 9
    others = {"pip": f"class Session:\n{line}\n    return self.adapters",
              "a changelog": f"2.0: {line.strip()}", "a copy": project, "bytecode":
              f"{line.strip()} wade pace heron shore", "a half": project[:200],
              "two lines": f"{line}\n#\n    and this is another one of the added lines\n"}
    found = set()
    for name, text in others.items():
        search = Search([line])
        search.know([project + "    and this is another one of the added lines\n"])
        search.look(name, io.BytesIO(text.encode()))
        found.update(trace.partition(" holds ")[0] for trace in search.traces)
    assert found == others.keys() - {"pip", "a changelog"}


def test_an_archive_that_is_broken_in_part_hides_nothing():
    text = "the text that the solution adds, in a row of it"
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("first", "x" * 5000)
        archive.writestr("second", text * 10)
    whole = packed.getvalue()
    data = whole[:45] + b"\xff" * 4 + whole[49:]   # the first member cannot be read
    assert found([text], data)[0].startswith("file!second ")
    cut = gzip.compress(os.urandom(100_000) + text.encode() * 9 + os.urandom(100_000))[:-60_000]
    assert found([text], cut)[0].startswith("file! holds")
    assert found([text], b"PACKAGES that the project needs\n") == []


GZIP = partial(gzip.compress, mtime=0)   # names of tests are the same in each process


@pytest.mark.parametrize(("name", "data"), [
    ("file!", GZIP(b"") + GZIP(GZIP(b"x"))),
    ("file", b"PACK\0\0\0\2"), ("file", b"# v2 git bundle\n"), ("file", bz2.compress(b"x")),
    ("file", lzma.compress(b"x")), ("file", b"\x28\xb5\x2f\xfd"), ("file", b"7z\xbc\xaf\x27\x1c")])
def test_an_archive_that_is_not_read_is_named_outside_of_packages(name, data):
    assert found(["x" * 50], data) == [f"{name} is an archive that is not read"]
    search = Search([])
    search.look("/usr/lib/python3/dist-packages/a", io.BytesIO(data))
    assert not search.unread


def test_the_members_of_a_zip_file_count_as_files():
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for n in range(3):
            archive.writestr(f"{n}/", "")
    search = Search([])
    search._count = Bounds(max_files=2).meter()
    with pytest.raises(OverBounds):
        search.look("file", io.BytesIO(packed.getvalue()))


def test_a_zip_file_whose_members_may_be_of_any_size_cannot_be_searched():
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("a", "x" * 5000)
        archive.writestr("b", "y" * 50, zipfile.ZIP_DEFLATED)
    hidden, unread = found(["y" * 50], packed.getvalue())
    assert hidden.startswith("file!b ") and unread == "file!a is an archive that is not read"


def test_the_runs_of_added_lines():
    patch = ("--- a/f\n+++ b/f\n@@ -1,3 +1,5 @@\n a\n-b\n+one\n+++ two\n c\n+three\n"
             "\\ No newline at end of file\n@@ -9 +9 @@ +no\n-x\n+y\n+not of it\n")
    assert [*added_runs(patch)] == ["one\n++ two\n", "three\n", "y\n"]
