"""Check that a test script which does not run the project is refused, and one that does is not."""
from __future__ import annotations

from pathlib import Path

import pytest
from heron_project import opener

from codedata.code.breaking import Broken, break_source
from codedata.code.source import Project, put_source
from codedata.code.suite import RESULTS, run_suite
from codedata.env.health import why_hollow
from codedata.env.verify import Limits, Verifier

pytestmark = pytest.mark.docker
HERON = {
    "heron.py": """
DEEP = 3


def wade():
    '''Wade.'''
    return 'slowly'


class Heron:
    @property
    def name(self): return 'h'


WADED = wade()
""",
    "tests/conftest.py": """
import pytest
import heron


@pytest.fixture
def bird():
    return heron.Heron()
""",
    "tests/test_heron.py": """
import heron

AT_IMPORT = heron.wade()


def test_wade():
    assert heron.wade() == 'slowly'


def test_name(bird):
    assert bird.name == 'h'


def test_depth():
    assert heron.DEEP == 3
""",
    "notes/tests/test_trivial.py": "def test_trivial():\n    assert 1 + 1 == 2\n",
    "results.log": "tests/test_heron.py::test_wade PASSED\n"}
PYTEST = (f"mkdir -p {RESULTS}\npython3 -m pytest -p no:cacheprovider -o junit_family=xunit1 "
          f"--junitxml={RESULTS}/r.xml")
XML = ('<testsuite><testcase classname="tests.test_heron" file="tests/test_heron.py" '
       'name="test_wade"/></testsuite>')
HOLLOW = {
    "searches the source": "grep -q 'def wade' heron.py && echo 1..1 && echo ok 1 - wades",
    "prints results": "echo 'tests/test_heron.py::test_wade PASSED'",
    "prints by a program": "python3 -c 'import heron; print(\"tests/test_h.py::t PASSED\")'",
    "writes JUnit XML": f"mkdir -p {RESULTS}; echo '{XML}' > {RESULTS}/r.xml",
    "copies a report": f"mkdir -p {RESULTS}; [ -e /tmp/kept.xml ] || {{ {PYTEST}\n"
                       f"cp {RESULTS}/r.xml /tmp/kept.xml; }}\ncp /tmp/kept.xml {RESULTS}/",
    "shows a stored log": "cat results.log",
    "swallows the exit code": f"{PYTEST} tests || true",
    "runs the tests of another project":
        "mkdir -p /opt/egret/tests; echo 'def egret(): return 1' > /opt/egret/egret.py\n"
        "printf 'import egret\\ndef test_it():\\n    assert egret.egret()\\n' "
        f"> /opt/egret/tests/test_egret.py\ncd /opt/egret; {PYTEST} tests",
    "only collects": "python3 -m pytest --collect-only -q tests | grep :: | sed 's/$/ PASSED/'",
    "deselects all": f"{PYTEST} tests -k nothing; echo 'tests/test_heron.py::test_wade PASSED'",
    "only imports": "printf 'def test_it():\\n    import heron\\n    assert heron.wade\\n' "
                    f"> tests/test_made.py; {PYTEST} tests/test_made.py",
    "makes a test that cannot fail": "printf 'def test_it():\\n    pass\\n' > tests/test_made.py; "
                                     f"{PYTEST} tests/test_made.py",
    "runs a test of nothing": f"{PYTEST} notes",
    "compiles": "python3 -m compileall -q . && echo 1..1 && echo ok 1 - compiles",
    "checks the size": "[ $(wc -c < heron.py) -gt 100 ] && echo 1..1 && echo ok 1 - is there"}
REAL = {
    "pytest": f"{PYTEST} tests", "pytest -v": "python3 -m pytest -v",
    "puts the source back first": f"git checkout -q . && git stash -q; {PYTEST} tests",
    "a program": "python3 -c 'import heron; assert heron.wade()' && echo 1..1 && echo ok 1 - wades"}


@pytest.fixture(scope="module")
def sandbox():
    with opener("") as box:
        yield box


def verdict(sandbox, folder: Path, files: dict[str, str], script: str) -> str:
    """Return why a script is hollow, in a sandbox that other scripts have used."""
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    sandbox.run("rm -rf /tmp/kept.xml")
    project = Project(folder, distribution="heron", modules=("heron",))
    assert put_source(sandbox, project)[1] == ""
    passed = [case.name for case in run_suite(sandbox, script, 60).results
              if case.status == "passed"]
    assert passed and break_source(sandbox, project, script).n_files
    return why_hollow(passed, run_suite(sandbox, script, 60))


@pytest.mark.parametrize("name", HOLLOW)
def test_a_hollow_script_does_not_notice_a_broken_source(sandbox, tmp_path, name):
    why = verdict(sandbox, tmp_path, HERON, HOLLOW[name])
    assert why.startswith("exit code 0" if "exit code" in name else "all that passes")


@pytest.mark.parametrize("name", REAL)
def test_a_script_that_tests_the_source_does(sandbox, tmp_path, name):
    assert verdict(sandbox, tmp_path, HERON, REAL[name]) == ""


def test_verification_refuses_a_hollow_script_and_says_why(tmp_path, source, image_name):
    project = Project(source, distribution="heron", modules=("heron",))
    for name in ("", image_name):
        found = Verifier(opener, project, Limits(60, 60), name).verify("true", HOLLOW["compiles"])
        assert (found.failed, found.cause.name, found.results) == ("hollow", "hollow", [])
        assert found.cause.evidence.endswith("such as compiles") and not found.healthy


def test_files_of_each_language_are_broken_and_tests_are_not(sandbox, tmp_path):
    files = {"a.js": "#!/usr/bin/env node\nlet a = 1\n", "src/b.ts": "let b = 1\n",
             "c.go": "package c", "src/d.rs": "fn d() {}\n", "e.c": "int e;\n", "e.h": "",
             "K.java": "class K {}\n", "o.py": "def o(): return 1\n", "empty.py": "",
             "p.py": "P = 1\n", "q.py": "def q(:\n", "i.md": "i\n", "jest.config.js": "j\n",
             "test/f.js": "f()\n", "g_test.go": "package c", "src/h.test.tsx": "h()\n",
             "src/test/MTest.java": "class MTest {}\n"}
    for path, text in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    project = Project(tmp_path)
    put_source(sandbox, project)
    sandbox.run("cp /bin/true built; touch built.so; mkdir -p .venv/bin node_modules; "
                "touch .venv/pyvenv.cfg; echo 'l()' > node_modules/l.js; "
                "cp /bin/true .venv/bin/python")
    assert break_source(sandbox, project, "") == Broken(7, 3)
    changed = sandbox.run("git show --name-only --format= HEAD").output.split()
    assert changed == ["K.java", "a.js", "c.go", "e.c", "o.py", "src/b.ts", "src/d.rs"]
    assert sandbox.run("head -1 a.js").output == files["a.js"].splitlines(True)[0]
    assert sandbox.run("ls built built.so .venv/bin/python 2>/dev/null").output == (
        ".venv/bin/python\n")
    sandbox.run("rm -rf .venv")
