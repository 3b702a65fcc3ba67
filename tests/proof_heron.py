"""Provide heron as an environment to prove bugs in: a suite of two files, names with blanks and
`::`, and the former text of its source wherever a build leaves it."""
import difflib
import os
import threading
from pathlib import Path

import pytest
from heron_environment import an_environment
from projects import make_lean
from root import write_json

from codedata.analysis.analyse import analysis_of
from codedata.code.entities import SourceFile, Sources
from codedata.records import BREAKS, STRIPPED_PATCH, Candidate, Environment, Task, candidate_of
from codedata.sandbox import open_sandbox
from codedata.sandbox.docker import engine
from codedata.sandbox.factory import SandboxFactory
from codedata.settings import SandboxSettings, Settings
from codedata.tasks.prove.proof import Cases, PatchProver

RUN = f"tests-proof-{os.getpid()}"
IMAGE = f"codedata-tests/proof-heron:{os.getpid()}"
VENV = "/opt/venv"
GOLD_LINE = "    return [word for word in said.split() if word.isalpha() and word.islower()]"
BUG_LINE = "    return [word for word in said.split() if word.isalpha()]"
HERON = f'''"""Herons, and what they do."""
import random


def depths(n):
    return [2 * i for i in range(n)]


def words(said):
{GOLD_LINE}


def fly():
    return "away"
'''
WORDS = '''"""Of words."""
import pytest
from heron import words


@pytest.mark.parametrize("said", ["A heron", "x::y Z", "caf\\u00e9 [1m] Q"])
def test_words(said):
    assert words(said) == [word for word in said.split() if word.isalpha() and word.islower()], said


def test_none():
    assert words("") == [] and "what a heron says before it leaves for the south in autumn"
'''
DEPTHS = '''import pytest
from heron import depths, fly


@pytest.mark.parametrize("i", range(len(depths(6))))
def test_depth(i):
    assert depths(6)[i] == 2 * i


def test_fly():
    with open("heron.pid", "a") as file:   # a suite that writes into the tree
        file.write(fly())
    with open("heron.py", "a") as file:
        file.write("# seen")
    assert fly() == "away"
'''
SOURCES = Sources([SourceFile("heron.py", "python", HERON.encode(), False),
                   SourceFile("tests/test_words.py", "python", WORDS.encode(), True)])
BROKEN = [f"tests/test_words.py::test_words[{said}]"
          for said in ("A heron", "caf\\xe9 [1m] Q", "x::y Z")]
WORKING = ["tests/test_words.py::test_none",
           *(f"tests/test_depths.py::test_depth[{i}]" for i in range(6)),
           "tests/test_depths.py::test_fly"]
# what derive() has to take away: everything here holds the line that heals the bug
LEFTOVERS = """set -e
git init -q; git add -A; git commit -qm one
echo '# stashed' >>heron.py; git stash -q
git checkout -qb other; git commit -q --allow-empty -m two
python3 -m compileall -q heron.py; mkdir -p build/lib ~/.cache/pip/wheels
for place in build/lib/heron.py .coverage ~/.cache/pip/wheels/heron.whl; do cp heron.py $place; done
mkdir -p /tmp/pytest-of-root; cp heron.py tests/test_words.py /tmp/pytest-of-root
printf '*.pyc\\nbuild/\\n.coverage\\n' >.git/info/exclude"""


def diff(old: str, new: str) -> str:
    """Return the patch that replaces a line of heron.py."""
    sides = (text.splitlines(keepends=True) for text in (HERON, HERON.replace(old, new, 1)))
    return "".join(difflib.unified_diff(*sides, "a/heron.py", "b/heron.py"))


BUG = diff(GOLD_LINE, BUG_LINE)


def environment_of(**fields) -> Environment:
    cases = [{"name": name, "status": "passed"} for name in (*BROKEN, *WORKING)]
    return Environment(**an_environment(**{
        "image_name": IMAGE, "base_commit": "", "install_script": "true\n",
        "test_case_result": cases, **fields}))


def write_root(root: Path, **fields) -> None:
    """Write heron's environment and its analysis."""
    environment = environment_of(**fields)
    root.with_env(vars(environment))
    write_json(root / "analysis/heron.json", vars(
        analysis_of(environment.repo, "heron", "", SOURCES, [])))


def factory_of(**sandbox) -> SandboxFactory:
    return SandboxFactory(Settings(sandbox=SandboxSettings(disk_floor="1GB", **sandbox)),
                          threading.Event())


ONE_FILE = {"kind": STRIPPED_PATCH, "rules": {"counts": ["heron.py"]}}   # as of stripped patches


def candidate(patch: str, name: str = "i.b.1", **config) -> Candidate:
    return candidate_of(name, patch, {}, **{
        "repo": "birds/heron", "environment": "heron", "base_commit": "", "direction": BREAKS,
        "method": "agent", **config})


def prove(environment: Environment, patch: str, name: str = "i.b.1",
          cases: Cases | None = None, **config) -> Task:
    """Return the task of a candidate. Whoever calls this removes its image."""
    return PatchProver(factory_of(), cases).prove(candidate(patch, name, **config), RUN,
                                                  environment)


def make_image(name: str, commands: str = "", workdir: str = "/testbed", **files: str) -> None:
    """Make an image of heron, with further files and what commands leave."""
    texts = {"heron.py": HERON, "tests/test_words.py": WORDS, "tests/test_depths.py": DEPTHS,
             "conftest.py": "", **files}
    with open_sandbox("docker", image=make_lean(), scripts=[], run_label=RUN,
                      workdir=workdir) as box:
        box.put({path: text.encode() for path, text in texts.items()}, ".")
        me = {f"GIT_{who}_{what}": "a@b.c" for who in ("AUTHOR", "COMMITTER")
              for what in ("NAME", "EMAIL")}
        dates = {f"GIT_{who}_DATE": "2024-05-01T12:00:00+02:00" for who in ("AUTHOR", "COMMITTER")}
        done = box.run(f"{LEFTOVERS}\n{commands}", env=me | dates)
        assert done.ok, done.output
        box.commit(name, keep=False)


@pytest.fixture(scope="module")
def heron():
    """Make the image of heron."""
    make_image(IMAGE, f"""mkdir -p {VENV}/bin; ln -s $(command -v python3) {VENV}/bin/python
        echo 'PATH={VENV}/bin:$PATH' >{VENV}/bin/activate""")
    yield
    engine.remove_images(RUN)
