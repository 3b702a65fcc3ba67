"""Check how a source is broken, and that a script which does not notice is refused; which scripts
those are is in frozen/hollow.jsonl."""
import pytest
from heron_project import opener
from root import write_files

from codedata.env.verify_scripts import Verifier
from codedata.suites.breaking import break_source
from codedata.suites.source import Project, put_source

pytestmark = pytest.mark.docker


@pytest.fixture(scope="module")
def sandbox():
    with opener("") as box:
        yield box


def test_verification_refuses_a_hollow_script_and_says_why(tmp_path, source, image_name):
    project = Project(source, distribution="heron", modules=("heron",))
    found = Verifier(opener, project, 60, image_name).verify(
        "true", "python3 -m compileall -q . && echo 1..1 && echo ok 1 - compiles")
    assert (found.failed, found.cause.name, found.results) == ("hollow", "hollow", [])
    assert found.cause.evidence.endswith("such as compiles") and not found.healthy


def test_files_of_each_language_are_broken_and_tests_are_not(sandbox, tmp_path):
    files = {"a.js": "#!/usr/bin/env node\nlet a = 1\n", "src/b.ts": "let b = 1\n",
             "c.go": "package c", "src/d.rs": "fn d() {}\n", "e.c": "int e;\n", "e.h": "",
             "K.java": "class K {}\n", "o.py": "def o(): return 1\n", "empty.py": "",
             "p.py": "P = 1\n", "q.py": "def q(:\n", "i.md": "i\n", "jest.config.js": "j\n",
             "test/f.js": "f()\n", "g_test.go": "package c", "src/h.test.tsx": "h()\n",
             "src/test/MTest.java": "class MTest {}\n"}
    project = Project(write_files(tmp_path, files))
    put_source(sandbox, project)
    sandbox.run("cp /bin/true built; touch built.so; mkdir -p .venv/bin node_modules; "
                "touch .venv/pyvenv.cfg; echo 'l()' > node_modules/l.js; "
                "cp /bin/true .venv/bin/python")
    assert break_source(sandbox, project, "") == (7, 3)
    changed = sandbox.run("git show --name-only --format= HEAD").output.split()
    assert changed == ["K.java", "a.js", "c.go", "e.c", "o.py", "src/b.ts", "src/d.rs"]
    assert sandbox.run("head -1 a.js").output == files["a.js"].splitlines(True)[0]
    assert sandbox.run("ls built built.so .venv/bin/python 2>/dev/null").output == (
        ".venv/bin/python\n")
    sandbox.run("rm -rf .venv")
