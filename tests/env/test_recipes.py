"""Check that repositories become readable scripts, and failed logs better recipes."""
import json
import re
import subprocess
import sys
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
from line_tables import rows, toml_beside
from root import write_files
from setups import CA_BUNDLE

from codedata.env import causes
from codedata.env.bases import base_for, python_to_bring
from codedata.env.recipes import generic, node, python_recipe, python_repair
from codedata.env.recipes.ci import read_workflows
from codedata.env.recipes.node_scripts import chain
from codedata.env.recipes.package_index import (
    distribution_of,
    provider,
    table,
    use_of,
)
from codedata.env.recipes.python_project import PythonProject, read_python
from codedata.env.recipes.repair import Log
from codedata.env.recipes.repository_files import RepositoryFiles
from codedata.env.recipes.requirements import Collector, expanded, from_poetry, merged
from codedata.env.recipes.script import in_turn
from codedata.env.repository_facts import read_facts, recipes
from codedata.sandbox import open_sandbox
from codedata.suites.project_suite import run_script, run_suite
from codedata.suites.test_results import parse
from codedata.texts import tomllib

LOGS, PROJECTS = (toml_beside(__file__, name) for name in ("logs.toml", "projects.toml"))


def write(folder: Path, **files: str) -> Path:
    """Write files by their names: __ means a dot and ___ a slash."""
    write_files(folder, {name.replace("___", "/").replace("__", "."): text
                         for name, text in files.items()})
    return folder


def recipe_of(folder: Path):
    return python_recipe.initial(read_python(RepositoryFiles(folder)))


def learn(recipe, text: str, phase: str = "test", **how):
    return python_repair.repair(recipe, Log(phase, text, **how))


@pytest.fixture
def package(tmp_path):
    """Write a minimal Python package."""
    return write(tmp_path, pyproject__toml='[project]\nname = "heron"\nversion = "1.0"\n',
                 heron______init____py="", tests___test_heron__py="import heron\n")


@pytest.fixture
def recipe(package):
    """Return the first recipe of the minimal package."""
    return recipe_of(package)


LIKE = {"package__json": '{"version": "1", "devDependencies": {"mocha": "1", "eslint": "1"}, '
                         '"scripts": {"test": "mocha", "lint": "eslint", "prepare": "a gen.js"}}',
        "uv__lock": "1", "gen__js": "1", "setup__py": "1"}


# what the next commit changes: a file, old, new | whether it asks for nothing else
@pytest.mark.parametrize("file, old, new, like", rows("""
uv__lock        | 1              | 2                      | alike
package__json   | "version": "1" | "version": "2"         | alike
package__json   | , "eslint": "1" |                       | alike
package__json   | "eslint"       | "x"                    |
package__json   | "mocha": "1",  |                        | alike
package__json   | "1"}           | "2"}                   | alike
package__json   | "lint"         | "install"              |
gen__js         | 1              | 2                      |
setup__py       | 1              | 2                      |
pyproject__toml | version = "1.0" | dependencies = ["six"] |
"""))
def test_a_commit_asks_for_no_more_than_another(package, file, old, new, like):
    files = LIKE | {"pyproject__toml": (package / "pyproject.toml").read_text()}
    facts = read_facts(write(package, **files))
    changed = write(package, **files | {file: files[file].replace(old, new)})
    assert (read_facts(changed).asked <= facts.asked) == bool(like)


# what a repository says --------------------------------------------------------------------------

@pytest.mark.parametrize("name", PROJECTS)
def test_a_repository_becomes_a_project_and_its_first_recipe(tmp_path, name):
    row = PROJECTS[name]
    write_files(tmp_path, row["files"])
    project, recipe = read_python(RepositoryFiles(tmp_path)), recipe_of(tmp_path)
    for field, value in row.get("project", {}).items():
        assert getattr(project, field) == (tuple(value) if isinstance(value, list) else value)
    assert set(row.get("tests", [])) <= set(recipe.tests)
    assert set(row.get("system", [])) <= set(recipe.system)
    assert [sign for sign in row.get("script", []) if sign not in recipe.install_script()] == []
    assert row.get("option", "") in recipe.test_script()


def test_what_is_for_developers_waits_for_the_second_recipe(tmp_path):
    write(tmp_path, pyproject__toml="""
[project]
name = "heron"
[project.optional-dependencies]
test = ["pytest"]
dev = ["responses", "black"]
speedups = ["orjson"]
""", tests___test_a__py="")
    first = recipe_of(tmp_path)
    assert "responses" not in first.tests
    wider = python_repair.fallback(first, collected=True)
    assert {"responses", "orjson"} < set(wider.tests)
    assert python_repair.fallback(wider, collected=True) is None


def test_requirements_files_are_followed_and_their_options_are_not(tmp_path):
    write(tmp_path, a__txt="-r b.txt\n--index-url https://x.example\n-e .[speed]\nsix  # why\n"
                           "foo @ https://x.example/foo.zip\n./local\n",
          b__txt="attrs\\\n>=22 --hash=sha256:0\n-r a.txt\n")
    found = Collector(RepositoryFiles(tmp_path))
    found.add_file("a.txt")
    assert set(found.requirements) == {"attrs >=22", "six"} and set(found.labels) == {"speed"}


def test_versions_of_poetry_mean_what_poetry_means():
    table = """
a = "^1.2.3"
b = "^0.3"
c = "~2.1"
d = "*"
e = {version = ">=1,<3", extras = ["x"]}
f = "1.5"
python = "^3.9"
g = {git = "https://x.example"}
h = {version = "^2", python = "<3.11"}
"""
    assert from_poetry(tomllib.loads(table)) == [
        "a>=1.2.3,<2", "b>=0.3,<0.4", "c>=2.1,<2.2", "d", "e[x]>=1,<3", "f==1.5",
        "h>=2,<3; python_version < '3.11'"]


def test_the_first_of_each_name_is_kept_and_the_project_is_none_of_its_requirements():
    others = ["pytest-mock", "heron", "tox", "sphinx-rtd-theme"]
    assert merged(["Pytest_Mock>3"], others, without="Heron") == ("Pytest_Mock>3",)
    assert expanded(["heron[a]", "six"], {"a": ["x", "heron[b]"], "b": ["y"]},
                    "Heron") == ["x", "y", "six"]


def test_tests_are_named_where_no_configuration_does(package, tmp_path_factory):
    assert recipe_of(package).test_script().rstrip().endswith("tests")
    inside = write(tmp_path_factory.mktemp("inside"), setup__py="", pack______init____py="",
                   pack___tests___test_a__py="")
    assert recipe_of(inside).test_script().rstrip().endswith("pack")
    write(package, pytest__ini="[pytest]\ntestpaths = tests\n")
    assert not recipe_of(package).test_script().rstrip().endswith("tests")


def test_workflows_and_dockerfiles_name_packages_and_services(tmp_path):
    write(tmp_path, **{"__github___workflows___ci__yml": """
jobs:
  test:
    strategy: {matrix: {python-version: ["3.9", "3.11", pypy3.10]}}
    services: {db: {image: "postgres:15"}, cache: {image: redis}}
    steps:
      - run: |
          sudo apt-get update
          sudo apt-get install -y --no-install-recommends libxml2-dev python3-sphinx \\
            zlib1g-dev $EXTRA && echo done
      - run: sudo apt install texlive-latex-base
""", "Dockerfile": "FROM debian\nRUN apt-get update && apt-get install -y libffi-dev git\n"})
    found = read_workflows(RepositoryFiles(tmp_path))
    assert found == (("libxml2-dev", "zlib1g-dev", "libffi-dev"), ("postgresql", "redis"),
                     ("3.9", "3.11"), ())
    write(tmp_path, **{"__github___workflows___more__yml": """
jobs:
  nightly:
    if: github.event_name == 'schedule'
    steps: [{run: apt-get install a-nightly && pytest}]
  unit:
    steps: [{run: apt-get install libpq-dev, if: "runner.os == 'Linux'"}, {run: tox -e py}]
  shares: {steps: [{run: apt-get install samba && ./latest.sh}]}
""", "__circleci___config__yml": """
commands:
  db: {steps: [mime, {run: apt-get install libdb-dev}]}
  mime: {steps: [{run: apt-get install libmagic1}]}
  docs: {steps: [docs, {run: apt-get install ghostscript}]}
jobs: {unit: {steps: [{db: {version: 5}}, {run: pytest}]}, docs: {steps: [docs]}}
"""})
    found = read_workflows(RepositoryFiles(tmp_path))
    assert found == (("libmagic1", "libdb-dev", "libpq-dev", "libffi-dev"), (), (), ())


CI_VARIABLES = """
env: {TZ: UTC, PLACE: "${{ github.ref }}", API_TOKEN: abc, DATA: /srv/data, LIMITS: yes}
jobs:
  docs: {env: {DOCS: 1}, steps: [{run: make html}]}
  unit:
    env: {TZ: America/New_York, FORCE_COLOR: 1}
    services: {db: {env: {DB: of-a-service}}}
    steps: [{run: ./publish.sh, env: {REGION: eu}}, {run: npm test}]
"""


@pytest.mark.parametrize("file, locale", [("test_it.py", "C.UTF-8"), ("package.json", "C"),
                                          ("go.mod", "C")])
def test_plain_variables_of_jobs_and_dockerfiles_are_set_for_the_tests(tmp_path, file, locale):
    write(tmp_path, __github___workflows___ci__yml=CI_VARIABLES,
          Dockerfile="ENV TZ=Asia/Tokyo \\\n  DEPTH='1 m' LC_ALL=C\nENV BIRD=\"grey heron\"\n"
                     "ENV PATH=/x:$PATH PASSWORD=abc\nENV MUD 3 cm=deep\nENV NEST \"an egg\"\n")
    (tmp_path / file).write_text('{"scripts": {"test": "mocha"}}' if "json" in file else "")
    recipe = recipes(read_facts(tmp_path))[0]
    assert re.findall(r"(?m)^export (?!CI=|PATH|PYTHON|GOTOOL)(.*)", recipe.test_script()) == [
        "BIRD='grey heron'", "DEPTH='1 m'", f"LC_ALL={locale}", "LIMITS=yes",
        "MUD='3 cm=deep'", "NEST='an egg'", "TZ=America/New_York"]
    assert "TZ=" not in recipe.install_script()


# Python of the project | Pythons of its CI | date of the commit | release of Debian
@pytest.mark.parametrize("requires, runs, committed, image", rows("""
>=3.8    |              |            | bookworm
>=3.12   |              |            | trixie
<3.11    |              |            | bullseye
^3.7     |              | 2019-08-13 | bullseye
>=3.7,<4 |              | 2023-05-01 | bookworm
         | 3.8 3.9 3.13 |            | trixie
rubbish  |              | 2021-03-01 | bullseye
>=3.11   |              | 2021-03-01 | bookworm
"""))
def test_the_base_image_has_the_python_of_the_project_and_its_day(requires, runs, committed, image):
    date = int(datetime.fromisoformat(committed).timestamp()) if committed else 0
    project = PythonProject("heron", python=requires, ci_versions=tuple(runs.split()))
    default = "codedata-base:bookworm"
    assert base_for(project, date, default, lambda name: True) == f"codedata-base:{image}"
    assert base_for(project, date, default, lambda name: False) == default
    assert base_for(project, date, "own:1", lambda name: True) == "own:1"
    if image == "bookworm":
        assert base_for(replace(project, native=True), date, default,
                        lambda name: True) == f"{default}-build"


@pytest.mark.parametrize("requires, runs, brought", rows("""
>=3.8   |      |
>=3.12  |      | 3.14
>=3.12  | 3.12 | 3.12
<3.11   |      | 3.10
==2.7.* |      |
"""))
def test_a_python_that_no_image_has_is_brought(requires, runs, brought):
    project = PythonProject("heron", python=requires, ci_versions=tuple(runs.split()))
    assert python_to_bring(project, "codedata-base:bookworm") == brought
    assert python_to_bring(project, "own:1") == ""


# the image's own Python: its program and modules, as uv's archives hold them
MIRROR = """mkdir -p /srv/mirror && cd /srv/mirror && machine=$(uname -m)
tar -C / --transform 's,^usr,python,' --exclude=sitecustomize.py -czf python.tar.gz \\
    usr/bin/python3.11 usr/lib/python3.11
cat >downloads.json <<END
{"cpython-3.11.2-linux-$machine-gnu": {"name": "cpython", "os": "linux", "libc": "gnu",
    "arch": {"family": "$machine", "variant": null}, "major": 3, "minor": 11, "patch": 2,
    "prerelease": "", "variant": null, "build": "1", "url": "http://127.0.0.1:8000/python.tar.gz",
    "sha256": "$(sha256sum python.tar.gz | cut -d' ' -f1)"}}
END
python3 -m http.server 8000 --bind 127.0.0.1 >/dev/null 2>&1 &
"""


@pytest.mark.docker
def test_a_python_is_brought_from_a_mirror(tmp_path):
    write(tmp_path, setup__py="from setuptools import setup\nsetup(name='heron')\n",
          test_it__py="def test(): pass\n")
    recipe, *_ = recipes(replace(read_facts(tmp_path), brought="3.11"))
    with open_sandbox("docker", scripts=[], run_label="tests-mirror", ca_bundle=CA_BUNDLE) as box:
        box.put(tmp_path, "/testbed")
        box.network(True)
        assert box.run(MIRROR).ok
        installed = box.run(recipe.install_script(), timeout_s=300, env={
            "UV_PYTHON_DOWNLOADS_JSON_URL": "http://127.0.0.1:8000/downloads.json"})
        assert installed.ok, installed.output
        found = run_suite(box, recipe.test_script(), 60)
        where = box.run("/opt/venv/bin/python -c 'import sys; print(sys.base_prefix)'").output
    assert [case.status for case in found.results] == ["passed"], found.text
    assert where.startswith("/opt/python/cpython-3.11")


def test_versions_of_a_lock_file_are_kept_but_the_projects_own_and_those_of_two(tmp_path):
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "He_ron"\nversion = "2"\n')
    package = '[[package]]\nname = "{}"\nversion = "{}"\nsource = {{ registry = "x" }}\n\n'
    locks = "attrs 23.1, he-ron 2, numpy 1.26, numpy 2.1, pip 24"
    (tmp_path / "uv.lock").write_text('version = 1\nrevision = 2\n\n' + "".join(
        package.format(*lock.split()) for lock in locks.split(", ")))
    (tmp_path / "test_it.py").touch()
    locked, today = recipes(read_facts(tmp_path))
    script = locked.install_script()
    command = script[script.index("awk "):script.index(" >/tmp/locked.txt")]
    said = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True)
    assert sorted(said.stdout.split()) == ["attrs==23.1", "pip==24"] and not said.stderr
    assert "-c /tmp/locked.txt -e ." in script and "locked" not in today.install_script()


def test_what_documents_or_checks_a_project_decides_no_install(tmp_path):
    project = """
[project]
name = "heron"
version = "{version}"
requires-python = "{python}"
dependencies = ["{needs}"]
optional-dependencies = {{tests = ["pytest"], docs = ["sphinx=={docs}"], dev = ["ruff=={docs}"]}}
"""
    def facts(**changed):
        parts = {"version": "1", "needs": "attrs", "docs": "1", "python": ">=3.9"} | changed
        write(tmp_path, pyproject__toml=project.format(**parts))
        return read_facts(tmp_path)
    assert facts().asked == facts(version="2", docs="3", needs="attrs>2").asked
    assert facts().asked != facts(needs="cattrs").asked
    assert facts().asked != facts(python=">=3.10").asked


def test_packages_of_the_same_repository_are_installed_from_it(tmp_path):
    member = '[project]\nname = "{}"\n'
    write(tmp_path, pyproject__toml="""
[project]
name = "heron"
dependencies = ["Heron_core"]
[tool.uv.sources]
heron-core = {workspace = true}
heron-path = {path = "libs/path"}
[tool.uv.workspace]
members = ["packages/*"]
""", **{"requirements-dev__txt": """
-e ./libs/dev[test]
--editable libs/more
../outside
-e libs/none
-e .
""", "libs___path___setup__py": "", "libs___dev___setup__py": "", "libs___more___setup__py": "",
        "packages___core___pyproject__toml": member.format("heron-core"),
        "packages___docs___pyproject__toml": member.format("heron-docs")})
    script = recipe_of(tmp_path).install_script()
    wanted = ["'./libs/dev[test]'", "./libs/more", "./libs/path", "./packages/core"]
    assert f"-e {' -e '.join(wanted)} -e . " in script
    (tmp_path / "pyproject.toml").write_text('[tool.uv.workspace]\nmembers = ["packages/*"]\n')
    assert "-e ./packages/core -e ./packages/docs " in recipe_of(tmp_path).install_script()


def test_requirements_beside_a_project_count_where_it_declares_none_and_else_later(package):
    write(package, pyproject__toml='[project]\nname = "he-ron"\n',
          requirements__txt="six==1.16.0\n")
    assert "six==1.16.0" in recipe_of(package).tests
    write(package, pyproject__toml='[project]\nname = "he-ron"\ndependencies = ["attrs"]\n')
    recipe = recipe_of(package)
    assert "six==1.16.0" not in recipe.tests
    assert "six==1.16.0" in python_repair.fallback(recipe, collected=True).tests
    assert "six==1.16.0" in learn(recipe, "ModuleNotFoundError: No module named 'six'").tests


def test_an_old_commit_gets_the_packages_of_its_day_first(tmp_path):
    (tmp_path / "setup.py").write_text("setup(name='heron', python_requires='>=3.6')")
    (tmp_path / "test_it.py").write_text("import heron")
    facts = read_facts(tmp_path)
    dated, today = recipes(replace(facts, until="2019-08-13"))
    script = dated.install_script()
    assert facts.python.python == ">=3.6" and [*recipes(facts)] == [today]
    assert "--exclude-newer 2019-08-13" in script and "exclude-newer" not in today.install_script()
    assert not re.search("for one in .*pytest", script)   # its plugins are of that day, too
    assert "setuptools<81" in script and subprocess.run(["bash", "-n"], input=script.encode()
                                                        ).returncode == 0


# what logs teach ---------------------------------------------------------------------------------

@pytest.mark.parametrize("row", LOGS["tests"], ids=lambda row: row["brought"])
def test_a_distribution_is_named_by(package, row):
    if "pyproject" in row:
        write(package, pyproject__toml=row["pyproject"])
    assert row["brought"] in learn(recipe_of(package), row["log"]).tests


@pytest.mark.parametrize("row", LOGS["system"], ids=lambda row: row["brought"])
def test_a_debian_package_is_named_by(recipe, row):
    for phase in ("install", "test"):
        assert row["brought"] in learn(recipe, row["log"], phase).system


@pytest.mark.parametrize("log", [
    "E   assert 1 == 2", "ModuleNotFoundError: No module named 'heron.fast'\n"
    "E   ImportError: No module named 'test_heron'",
    "E   Exception: must ``pip install egret[art]`` to draw"])
def test_a_log_that_shows_nothing_new_teaches_nothing(package, log):
    write(package, pyproject__toml='[project]\nname = "heron"\n[project.optional-dependencies]\n'
                                   'art = ["pillow>=9"]\n')
    recipe = recipe_of(package)
    assert learn(recipe, log) is None
    better = learn(recipe, "ModuleNotFoundError: No module named 'yaml'")
    assert learn(better, "ModuleNotFoundError: No module named 'yaml'") is None


@pytest.mark.parametrize("file, text", [
    ("pyproject.toml", '[project]\nname = "h"\ndependencies = ["six>=1", "sphinx"]\n'),
    ("pyproject.toml",
     '[tool.poetry]\nname = "h"\n[tool.poetry.dependencies]\nsix = ">=1"\nsphinx = "*"\n'),
    ("setup.cfg", "[metadata]\nname = h\n[options]\ninstall_requires =\n  six>=1\n  sphinx\n"),
    ("setup.py", "setup(name='h', install_requires=['six>=1', 'sphinx'])\n")])
def test_a_source_that_pip_does_not_install_gets_what_the_project_requires(tmp_path, file, text):
    (tmp_path / file).write_text(text)
    assert " six" not in recipe_of(tmp_path).install_script()
    better = learn(recipe_of(tmp_path),
                   "error: Multiple top-level packages discovered in a flat-layout", "install")
    assert "pip install -q 'six>=1' sphinx " in better.install_script()
    assert " -e " not in better.install_script()
    assert "PYTHONPATH=.:src" in better.test_script()


@pytest.mark.parametrize("asked, log, brought", [
    ("", "E   pytest.PytestRemovedIn9Warning: The (path: py.path.local) argument …", "pytest<9"),
    ("pytest>=5.4,<6; os_name == 'posix'",
     'TypeError: required field "lineno" missing from alias', "pytest>=7,<8")],
    ids=["older", "newer"])
def test_a_suite_gets_a_pytest_that_it_and_this_python_can_run(package, asked, log, brought):
    write(package,
          pyproject__toml=f'[project]\nname = "h"\n[dependency-groups]\ntest = ["{asked}"]\n')
    better = learn(recipe_of(package), log)
    assert [r for r in better.tests if "pytest" in r and "timeout" not in r] == [brought]


def test_commands_of_a_chain_run_in_turn_and_one_that_fails_is_the_code_of_the_script(tmp_path):
    text = node_recipe(tmp_path, scripts={"test": "mocha a && jest b"}).test_script()
    commands = text.partition("code=0\n")[2]
    assert [line.partition(" ")[0] for line in commands.splitlines()] == ["mocha", "jest", "exit"]
    for first, second, code in (("true", "true", 0), ("(exit 7)", "true", 7),
                                ("true", "(exit 3)", 3)):
        script = "\n".join(in_turn([first, second]))
        assert subprocess.run(["bash", "-c", script]).returncode == code


HANGS = """import signal, sys, threading, time
assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
open(sys.argv[1], "w").write("<testsuites/>")
threading.Thread(target=time.sleep, args=[float(sys.argv[2])]).start()
sys.exit(5)
"""


@pytest.mark.parametrize("hangs_s, code", [(300, 1), (0, 5)])
def test_a_process_that_hangs_behind_its_report_is_ended(tmp_path, hangs_s, code):
    ended = table("tools")["python"]["ended"]["lines"].replace("sleep 60", "sleep 0.1")
    ended = ended.replace("{results}", str(tmp_path))
    words = [sys.executable, "-c", HANGS, f"{tmp_path}/pytest.xml", str(hangs_s)]
    done = subprocess.run(["bash", "-c", f'{ended}\nended "$@"', "bash", *words], timeout=30)
    assert done.returncode == code


def test_a_suite_does_not_stop_at_a_failure_and_leaves_out_what_ran_when_time_was_over(recipe):
    assert "--maxfail=0" in recipe.test_script() and recipe.excluded_tests == ()
    log = "tests/test_a.py::test_one PASSED [ 10%]\ntests/test_a.py::test_waits[a b] \n"
    better = learn(recipe, log, timed_out=True)
    assert better.excluded_tests == ("tests/test_a.py::test_waits[a b]",)
    assert "--deselect=tests/test_a.py::test_waits[a b]" in better.test_script()
    assert learn(better, log, timed_out=True) is None
    again = learn(better, log.replace("[a b]", "[c]"), timed_out=True)
    assert again.excluded_tests == ("tests/test_a.py::test_waits",)


def test_a_server_is_started_for_clients_that_miss_it_and_its_database_made(recipe):
    refused = ('psycopg2.OperationalError: connection to server at "localhost", port 5432 '
               'failed: Connection refused')
    better = learn(recipe, refused)
    assert better.services == ("postgresql",) and "service postgresql start" in better.test_script()
    better = learn(better, 'FATAL:  database "heron_test" does not exist')
    assert 'create database "heron_test"' in better.test_script()


@pytest.mark.parametrize("row", LOGS["scripts"], ids=lambda row: row["sign"])
def test_a_sign_in_a_log_changes_the_scripts(recipe, row):
    better = learn(recipe, row["log"], row["phase"])
    assert row["sign"] in better.install_script() + better.test_script()


def test_runners_follow_one_another_where_nothing_was_collected(package):
    write(package, tests___run__py="")
    ways = [recipe_of(package)]
    while following := python_repair.fallback(ways[-1], collected=False):
        ways.append(following)
    assert [way.runner for way in ways] == ["pytest", "own", "unittest"]
    assert "python tests/run.py -v" in ways[1].test_script()
    assert "xmlrunner discover" in ways[2].test_script()


def test_a_suite_put_together_by_functions_is_run_by_the_projects_own_runner(package):
    log = ("tests/test_a.py::TestBase::test_one FAILED [ 1%]\n"
           "tests/test_a.py::test_suite PASSED [ 2%]\n")
    assert learn(recipe_of(package), log) is None
    write(package, test__py="")
    assert learn(recipe_of(package), log).test_script().endswith("\npython test.py -v -v\n")


# Node and the others -----------------------------------------------------------------------------

def node_recipe(folder: Path, **package):
    write(folder, package__json=json.dumps({"name": "wren", "version": "1.0.0", **package}))
    return next(iter(node.initial(read_facts(folder).node)), None)


def test_the_runner_is_found_behind_linters_and_coverage():
    scripts = {"test": "npm run lint && npm run unit && npm run test:types", "lint": "eslint .",
               "test:types": "tsd", "unit": "c8 --check-coverage --lines 90 npm run mocha",
               "mocha": "cross-env NODE_ENV=test ./node_modules/.bin/mocha -R dot 'test/**/*.js'"}
    steps = list(chain(scripts, "test"))
    assert [step.runner for step in steps] == ["mocha"]
    line = steps[0].line(1)
    assert line == ("(export NODE_ENV=test && mocha 'test/**/*.js' --reporter xunit "
                    "-O output=/tmp/results/mocha-1.xml)")


@pytest.mark.parametrize("row", LOGS["runner"], ids=lambda row: row["command"])
def test_a_runner_is_asked_for_a_report(row):
    assert [step.line(1) for step in chain({"test": row["command"]}, "test")] == [row["line"]]


def test_each_file_of_tape_runs_alone_and_one_that_dies_costs_no_other(tmp_path):
    write(tmp_path, test___a__js="echo ok 1 same; exit 7", test___b__js="echo ok 1 same; echo 1..1",
          test___sub___c__js="echo ok 1 same; echo not ok 2 same; echo 1..2; exit 1")
    step, = chain({"test": "nyc tape -r ./x 'test/**/*.js'"}, "test")
    script = f"tape() {{ bash $3; }}\n{step.line(1)}".replace("/tmp/results", str(tmp_path))
    done = subprocess.run(["bash", "-uo", "pipefail", "-c", script], cwd=tmp_path, text=True,
                          stdout=subprocess.PIPE)
    assert done.returncode == 1
    assert {case.name: case.status for case in parse({}, done.stdout)} == {
        "test/a.js": "error", "test/a.js > same": "passed", "test/b.js > same": "passed",
        "test/sub/c.js > same": "passed", "test/sub/c.js > same (2)": "failed"}


KILL = """
const { test } = require("node:test"), { spawn } = require("node:child_process");
test("a signal", (t, done) => {
  const child = spawn("node", ["-e", `process.on("SIGTERM", () => process.exit(5));
    setTimeout(() => {}, 9000); console.log("up")`]);
  child.stdout.once("data", () => child.kill());
  child.once("exit", (code) => done(code === 5 ? undefined : new Error(`${code}`)));
});
"""
DIE = """
const { describe, it } = require("node:test");
describe("parse", () => { it("first", () => {}); it("last", () => process.exit(3)); });
"""


@pytest.mark.docker
def test_the_program_that_node_names_gets_its_signals_and_a_file_that_dies_is_named(tmp_path):
    lock = b"lockfileVersion: '9.0'\nimporters:\n  .: {}\n"
    recipe = node_recipe(tmp_path, scripts={"test": "node --test test/"}, engines={"node": "^20"},
                         packageManager="pnpm@10.12.1")
    with open_sandbox("docker", scripts=[], run_label="tests-node", ca_bundle=CA_BUNDLE) as box:
        box.put({"pnpm-lock.yaml": lock, "package.json": (tmp_path / "package.json").read_bytes(),
                 "test/kill.js": KILL.encode(), "test/sub/die.js": DIE.encode()}, "/testbed")
        box.network(True)
        installed = run_script(box, recipe.install_script(), 300)
        assert installed.ok, installed.output
        used = box.run("PATH=/opt/node/bin:$PATH; npx --version && npm --version && pnpm --version")
        assert used.ok and used.output.endswith("10.12.1\n")
        found = run_suite(box, recipe.test_script(), 60)
    assert {case.name: case.status for case in found.results} == {
        "test/kill.js > a signal": "passed", "test/sub/die.js": "failed"}, found.text


def test_unit_tests_are_preferred_and_an_unknown_chain_runs_as_it_stands(tmp_path):
    whole = {"test": "nyc npm run tests-only", "tests-only": "tape test"}
    assert node_recipe(tmp_path, scripts=whole).label == "tests-only"
    covered = {"test": "npm run test-coverage", "test-coverage": "c8 npm run test-api",
               "test-api": "node test/index.js"}
    assert node_recipe(tmp_path, scripts=covered).label == "test-api"
    part = {"test": "npm run test:unit && npm run more", "test:unit": "mocha test/unit",
            "more": "mocha test/more"}
    text = node_recipe(tmp_path, scripts=part).test_script()
    assert "mocha test/unit" in text and "mocha test/more" in text
    assert "npm run test" in node_recipe(tmp_path, scripts={"test": "./check.sh"}).test_script()
    assert node_recipe(tmp_path,
                       scripts={"test": 'echo "Error: no test specified" && exit 1'}) is None


def test_a_runner_that_a_wrapper_calls_is_asked_for_a_report(tmp_path):
    recipe = node_recipe(tmp_path, scripts={"test": "ts-scripts test && npm run size"},
                         devDependencies={"@borderless/ts-scripts": "1", "vitest": "4"})
    assert recipe.test_script().splitlines()[-1].startswith("vitest run --reporter=junit ")
    assert recipe.excluded_tests == ()
    assert "npm run test" in replace(recipe, unchanged=True).test_script()


def test_commands_of_a_chain_that_nobody_knows_are_left_out_and_named(tmp_path):
    scripts = {
        "test": "eslint . && echo now && mocha --bail test/unit && ./run-integration.sh && karma "
                "start"}
    recipe = node_recipe(tmp_path, scripts=scripts)
    assert recipe.excluded_tests == ("./run-integration.sh", "karma start")
    assert "karma" not in recipe.test_script() and "--bail" not in recipe.test_script()
    assert node_recipe(tmp_path, scripts={"test": "eslint . && mocha"}).excluded_tests == ()


@pytest.mark.parametrize("engines, in_ci, major", rows("""
                 | []                    | 22
>=18             | []                    | 22
>= 0.4           | [8, 16, 18]           | 18
^20.1.0 or >=22  | [20, 22]              | 22
>=24             | [20]                  | 24
^18.0.0          | []                    | 18
20.x             | []                    | 20
>=14 <19         | []                    | 18
*                | [lts/*, "20.x", 18.1] | 20
"""))
def test_node_is_of_the_version_that_engines_allow_and_ci_runs(tmp_path, engines, in_ci, major):
    write(tmp_path, __travis__yml=f"node_js: {in_ci}\n")
    recipe = node_recipe(tmp_path, scripts={"test": "tape"},
                         engines={"node": engines.replace("or", "||")})
    assert recipe.project.engine == int(major)


def test_ranges_that_nothing_meets_are_relaxed_and_not_deleted(tmp_path):
    wanted = dict.fromkeys(("eslint", "@x/eslint-config", "nyc"), "1")   # linters are left out
    recipe = node_recipe(tmp_path, scripts={"test": "nyc tape"},
                         devDependencies={**wanted, "tape": "^99"})
    better = node.repair(
        recipe, Log("install", "npm error notarget No matching version found for tape@^99."))
    text = better.install_script()
    order = ["npm pkg delete 'devDependencies[@x/eslint-config]' 'devDependencies[eslint]' "
             "'devDependencies[nyc]'", "npm install", "git checkout -q -- package.json"]
    assert [*map(text.index, order)] == sorted(map(text.index, order))
    assert text.index("npm pkg set 'devDependencies[tape]=*'") < text.index(order[2])
    for log in ("npm error code ERESOLVE",
                "npm error Cannot read properties of null (reading 'edgesOut')"):
        better = node.repair(recipe, Log("install", log))
        assert "--legacy-peer-deps" in better.install_script()
    better = node.repair(
        recipe, Log("test", "Error: Cannot find module '@scope/x/y'\nsh: 1: nyc: not found"))
    assert better.added == ("@scope/x", "nyc")


def test_only_the_dependency_that_brings_a_copy_of_the_project_keeps_it(tmp_path):
    text = node_recipe(tmp_path, scripts={"test": "tape"},
                       dependencies={"tape": "1"}).install_script()
    write(tmp_path, node_modules___wren___old__js="", node_modules___other___package__json="{}",
          node_modules___wren___package__json='{"bin": {"wren": "x"}}',
          node_modules___tape___package__json='{"dependencies": {"wren": "1"}}')
    lines = text[text.index("if [ -d node_modules/wren"):text.index("rm -rf ~/.npm")]
    subprocess.run(["bash", "-euo", "pipefail", "-c", lines], cwd=tmp_path, check=True)
    assert (tmp_path / "node_modules/wren").resolve() == tmp_path.resolve()
    assert (tmp_path / "node_modules/tape/node_modules/wren/old.js").exists()
    assert not (tmp_path / "node_modules/other/node_modules").exists()


@pytest.mark.parametrize("row", LOGS["project"])
def test_a_project_is_installed_as_its_people_do_and_then_without_its_lock(tmp_path, row):
    lines = row["lines"]
    write_files(tmp_path, {path: text.replace("LONG", "#" * 2_000_000)
                           for path, text in row["files"].items()})
    recipe = node_recipe(tmp_path, scripts={"test": "tape"}, devDependencies={"eslint": "1"},
                         **row.get("package", {}))
    assert all(line in recipe.install_script() for line in lines), recipe.install_script()
    assert node.repair(recipe, Log("test", "Cannot find module 'x'")) is None
    second = node.initial(recipe.project)[1].install_script()
    assert "npm pkg delete" in second and lines[-1] not in second


def test_without_a_test_of_the_root_each_package_of_the_workspaces_is_tested(tmp_path):
    write(tmp_path, packages___a___package__json='{"scripts": {"test": "TZ=UTC mocha"}}',
          packages___b___package__json='{"scripts": {"test": "eslint . && jest"}}')
    (tmp_path / "pnpm-workspace.yaml").write_text(
        "packages: [., ./packages/**, '!packages/c', ../*, '']")
    recipe = node_recipe(tmp_path, scripts={"test": "pnpm -r test", "build": "tsc -b"})
    text = recipe.test_script()
    assert ("(cd packages/a && export PATH=$PWD/node_modules/.bin:$PATH TZ=UTC && mocha "
            "--reporter xunit") in text
    assert "(cd packages/b && export PATH=$PWD/node_modules/.bin:$PATH && jest --ci" in text
    assert "timeout 300 npm run build || echo" in recipe.install_script()
    hollow = node.repair(recipe, Log("hollow", ""))
    assert "\nnpm run build\n" in hollow.test_script() and "\nnpm run build" not in text


def test_what_a_script_calls_is_followed_with_its_environment():
    scripts = {"test": "TZ=UTC run-s lint test:*", "test:a": "A=1 pnpm run \"/^e2.*/\"",
               "e2e": "jest",
               "test:b": "cd b && ava", "test:c": "node --x node_modules/vitest/vitest.mjs",
               "pretest:c": "npm run build", "build": "./build.sh"}
    steps = list(chain(scripts, "test"))
    assert [(step.runner, step.env, step.unknown) for step in steps] == [
        ("jest", ("TZ=UTC", "A=1"), False), ("", ("TZ=UTC",), True), ("", ("TZ=UTC",), False),
        ("vitest", ("TZ=UTC",), False)]
    assert steps[3].words[0] == "node"


def test_build_files_bring_their_own_recipes(tmp_path):
    def first():
        return generic.initial(RepositoryFiles(tmp_path))

    assert first() is None
    write(tmp_path, Makefile="all:\n\ncheck: all\n\t./t.sh\n")
    assert "make -k check" in first().test_script()
    for file, sign in (("build.gradle", "gradle --no-daemon"), ("pom.xml", "mvn -B -o"),
                       ("Cargo.toml", "cargo test --offline"), ("go.mod", "go test")):
        (tmp_path / file).write_text("")
        assert sign in first().test_script()
    log = Log("install", "fatal error: openssl/ssl.h: No such file")
    assert "libssl-dev" in generic.repair(first(), log).system


@pytest.mark.parametrize("line", [
    "error: Rust 1.63.0 does not match extension requirement >=1.64.0",
    "error: package `tern v1.2.0` cannot be built because it requires rustc 1.74 or newer, while "
    "the …",
    "  feature `edition2024` is required",
    "  this version of Cargo is older than the `2024` edition, and only supports `2021` …",
    "  lock file version `4` was found, but this version of Cargo does not understand …",
])
def test_a_rust_that_is_too_old_makes_room_for_the_newest_of_debian(tmp_path, line):
    write(tmp_path, **{"Cargo.toml": ""})
    recipe, log = generic.initial(RepositoryFiles(tmp_path)), Log("install", line)
    better = generic.repair(recipe, log)
    assert {"cargo-web", "rustc-web"} <= {*better.system}
    assert not {"cargo", "rustc"} & {*better.system}
    assert generic.repair(better, log) is None
    assert causes.cause_of("install", line).name == "language_version"


# tables ------------------------------------------------------------------------------------------

def test_headers_modules_and_groups_are_recognized_by_their_names():
    assert provider("headers", "openssl/ssl.h") == "libssl-dev"   # the longest beginning
    assert provider("headers", "brinepan/pan.h") == ""
    modules = ("google.protobuf.message", "some_thing.sub", "imp")
    assert tuple(map(distribution_of, modules)) == ("protobuf", "some-thing", "")
    names = ("test", "tests", "testing", "unit-test", "requirements-tests", "test_extra")
    assert {use_of(name) for name in names} == {"tests"}
    others = ("latest", "contest", "lint", "test-docs", "typing")
    assert [use_of(name) for name in others] == ["", "", "others", "others", "others"]
    assert (use_of("dev"), use_of("docs")) == ("developers", "others")
    assert merged(["pytest-mock", "Flake8_Bugbear", "sphinx"]) == ("pytest-mock",)


def test_a_line_or_two_are_not_the_cause_of_a_hundred_failures():
    log = ("FileNotFoundError: [Errno 2] No such file or directory: 'runTest'\n"
           + 300 * "E   assert 1 == 2\n")
    assert causes.cause_of("test", log, n_failed=10).name == "missing_command"
    assert causes.cause_of("test", log, n_failed=301).name == "other"
