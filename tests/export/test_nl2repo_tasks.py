"""Check that the verifier of a stripped patch rewards bodies alone, whatever an agent plants, in
containers of an image that was proven, as Harbor starts them."""
import io
import os
import shutil
import subprocess
import tarfile
from concurrent.futures import ThreadPoolExecutor
from textwrap import dedent

import pytest
from a_task import BODY, STRIP, write_task
from conftest import edit
from heron_environment import TEST_SCRIPT
from in_place import graded_in_place
from proof_heron import (  # noqa: F401  fixture
    HERON,
    ONE_FILE,
    environment_of,
    heron,
    prove,
)
from root import read_json

from codedata.records import Task
from codedata.tasks.folder.task_folder import image_of, verifier_config
from codedata.tasks.folder.tests_folder import suite_tests
from codedata.texts import tomllib

pytestmark = pytest.mark.docker
NAME = f"heron.function.{os.getpid():08x}"


def proven(name: str = NAME, **environment) -> Task:
    task = prove(environment_of(**environment), STRIP, name, **ONE_FILE)
    assert not task.about["tests_visible"]
    return task


def remove_image(name: str) -> None:
    subprocess.run(["docker", "image", "rm", "--force", name], check=True)


@pytest.fixture(scope="module")
def task(heron, tmp_path_factory):  # noqa: F811
    """Return the folder of a task that was proven; its image goes in the end."""
    task = proven()
    assert verifier_config(task).items() >= {"user": "nobody", "canary": "tests"}.items()
    yield write_task(tmp_path_factory.mktemp("strip"), task)
    remove_image(image_of(task))


def docker(image: str, script: str, stdin: bytes = b"") -> subprocess.CompletedProcess:
    return subprocess.run(["docker", "run", "--rm", "-i", "--network", "none", image, "bash", "-c",
                           script], input=stdin, capture_output=True)


def tar_of(folder, more: dict[str, bytes] | None = None) -> bytes:
    """Return the archive of a folder, by its name, and of further files."""
    bundle = io.BytesIO()
    with tarfile.open(fileobj=bundle, mode="w") as tar:
        tar.add(folder, folder.name)
        for name, content in (more or {}).items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return bundle.getvalue()


def rewarded(folder, done: str) -> tuple[str, str]:
    """Return (the reward after an agent has done something, "" where there is none; what the
    verifier printed)."""
    config = tomllib.loads((folder / "task.toml").read_text())
    image = config["environment"]["docker_image"]
    [archive], [hook] = config["artifacts"], config["verifier"]["collect"]
    work = docker(image, f"(tar -x -C /\n{done}\n) >/dev/null 2>&1\n{hook['command']}\n"
                         f"cat {archive}", tar_of(folder / "solution"))
    # else Harbor has nothing to put there
    bundle = tar_of(folder / "tests", {archive[1:]: work.stdout} if work.stdout else {})
    graded = docker(image, "tar -x -C / && mkdir -p /logs/verifier && chmod 777 /logs/verifier\n"
                    "bash /tests/test.sh >&2; sleep .1; cat /logs/verifier/reward.*",
                    bundle)
    return graded.stdout.decode().strip(), graded.stderr.decode()


def write(path: str, text: str) -> str:
    """Return the script that writes a file."""
    return f"mkdir -p $(dirname {path}); cat >{path} <<'END'\n{dedent(text)}\nEND\n"


def body(line: str) -> str:
    return HERON.replace(BODY, f"    {line}\n")


def at_import(code: str) -> str:
    """Return the script that puts code to the top of the stripped module."""
    return write("code.py", code) + "cat code.py heron.py >both; mv both heron.py; rm code.py"


FORGE = """
    import pytest
    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_makereport():
        report = yield
        report.get_result().outcome = "passed"
"""
REWARD = """
    import os
    for place in ("/logs/verifier/reward.txt", "/logs/verifier/reward.json", "/tests/config.json"):
        try:
            os.makedirs("/logs/verifier", exist_ok=True)
            open(place, "w").write("1")
        except OSError:
            pass
"""
DAEMON = """
    import os, time
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            while True:
                try:
                    open("/logs/verifier/reward.txt", "w").write("1")
                except OSError:
                    time.sleep(.01)
        os._exit(0)
"""
REWRITE = """
    import os, re
    try:
        text = open("tests/test_words.py").read()
        open("tests/new", "w").write(re.sub("assert .*", "pass", text))
        os.replace("tests/new", "tests/test_words.py")
    except OSError:
        pass
"""
HELPED = write("beak.py", "def peck(said):\n" + BODY) + write(
    "heron.py", "from beak import peck\n" + body("return peck(said)"))
PACKAGE = write("peck/__init__.py", "from .json import peck") + write(
    "peck/json.py", "def peck(said):\n" + BODY) + write("peck/__main__.py", "") + write(
    "heron.py", "from peck import peck\n" + body("return peck(said)"))
# what is patched in the process that reports
PASSES = """
    import _pytest.reports as reports
    made = reports.TestReport.from_item_and_call.__func__
    def forged(cls, item, call):
        report = made(cls, item, call)
        report.outcome = "passed"
        return report
    reports.TestReport.from_item_and_call = classmethod(forged)
"""
REPLACE = ("runuser -u daemon -- bash -c 'cd /var/tmp; while :; do echo 1 >$$; "
           "mv -f $$ /logs/verifier/reward.txt; done' &")
OTHER_TAR = "chmod +x /usr/local/bin/tar </dev/null >/usr/local/bin/tar; echo >>/usr/local/bin/tar "
EARNED = {
    "1.0": {
        "solution": "bash /solution/solve.sh", "a new module": HELPED,
        "a new module, committed": f"{HELPED}git add -A; git -c user.name=a -c user.email=a@b.c "
                                   "commit -qm done",
        "a new package, beside modules that hide installed ones":
            f"{PACKAGE}{write('pluggy.py', 'raise SystemExit')}{write('json/x.py', '')}"},
    "0.0": {
        "nothing": "true",
        "another broken": write("heron.py", HERON.replace('"away"', '"back"')),
        "conftest": write("conftest.py", FORGE) + write("tests/conftest.py", FORGE) + write(
            "pytest.ini", "[pytest]\naddopts = --co\n")},
    "0.5": {"a part": write("heron.py", body("return []"))}}
CHEATS = {"0.0": {
    "sitecustomize": "".join(write(f"{name}.py", REWARD) for name in (
        "sitecustomize", "usercustomize", "pluggy", "json")),
    "site-packages": "site=$(python3 -c 'import pytest; print(pytest.__path__[0])')/..\n"
                     f"{write('$site/forge.py', FORGE)}echo 'import forge' >$site/forge.pth\n"
                     "sed -i 's/failed/passed/' $site/_pytest/reports.py",
    "an early reward": f"{write('reward.py', REWARD)}python3 reward.py\n{at_import(REWARD)}",
    "a late reward": at_import(DAEMON),
    "tests rewritten": at_import(REWRITE),
    "a report beside": at_import(
        "open('/tmp/results/z.xml', 'w').write('<testsuite><testcase classname=\"tests.test_words\""
        " name=\"test_none\"/></testsuite>')"),
    "all reports forged": at_import(PASSES),
    "the reports forged of names that are no canary's": at_import(PASSES.replace(
        "report.outcome", 'if not re.search("test_[0-9a-f]{16}$", report.nodeid): report.outcome',
        ).replace("import", "import re; import", 1)),
    "a link": "mv heron.py away.py; ln -s away.py heron.py",
    "a folder": "rm heron.py; mkdir heron.py; cp /etc/passwd heron.py/__init__.py",
    "a large file": "head -c 5000000 /dev/zero >>heron.py",
    "no end": at_import("while True: pass"),
    "no archive": f"{OTHER_TAR}'true'",
    "an archive that is none": f"{OTHER_TAR}'echo x >/var/tmp/codedata-work.tar'"},
    "": {
        "no pipe is waited for": at_import('import os; os.mkfifo("/tmp/results/z.xml")'),
        "an exit": at_import("import os; os._exit(0)")}}
BESIDE = {"0.0": {"no repository": "rm -rf .git", "another's daemon": REPLACE},
          "": {"an exit": CHEATS[""]["an exit"]}}


@pytest.mark.parametrize(("grade", "more"), [(rewarded, CHEATS), (graded_in_place, BESIDE)])
def test_bodies_are_rewarded_and_nothing_else(task, tmp_path, grade, more):
    quick = shutil.copytree(task, tmp_path / "task")   # what has no end ends soon
    edit(quick / "tests/config.json", timeout_s=8)
    cases = [(wanted, name, script) for some in (EARNED, more)
             for wanted, scripts in some.items() for name, script in scripts.items()]
    with ThreadPoolExecutor(4) as pool:
        rewards = [*pool.map(lambda case: grade(quick, case[2]), cases)]
    assert [(name, reward) for (wanted, name, _), reward in zip(cases, rewards, strict=True)
            if reward[0] != wanted] == []
    assert not [name for (_, name, _), (_, printed) in zip(cases, rewards, strict=True)
                if "assert not '" in printed]   # where attempts show it, no canary can be learned


def test_who_runs_the_tests_is_measured(task):
    files = "$(ls tests/test_{depths,words}.py)"   # one may be hidden; no canary is named so
    as_root = proven(f"{NAME}0", test_script=f"[ $(id -u) = 0 ] || exit 1\n{TEST_SCRIPT} {files}\n")
    remove_image(image_of(as_root))
    assert verifier_config(as_root).items() >= {"user": "root", "canary": ""}.items()


# what makes of a suite's environment one of its own, with a plugin that the system's Python lacks
OWN = "/opt/own"
INSTALL = f"""python3 -m venv --without-pip --system-site-packages {OWN}
cd {OWN}/lib/python3*/site-packages; echo >pytest_wade.py; mkdir wade-1.dist-info
echo 'Name: wade' >wade-1.dist-info/METADATA
printf '[pytest11]\\nwade = pytest_wade\\n' >wade-1.dist-info/entry_points.txt"""


def test_no_new_module_hides_one_of_the_suites_own_environment(task, tmp_path):
    image, folder = f"codedata-tests/own:{os.getpid()}", shutil.copytree(task, tmp_path / "task")
    config = (folder / "task.toml").read_text()
    base = tomllib.loads(config)["environment"]["docker_image"]
    subprocess.run(["docker", "build", "--network", "none", "-qt", image, "-"], check=True,
                   input=f"FROM {base}\nRUN {INSTALL.replace(chr(10), '; ')}\n", text=True)
    (folder / "task.toml").write_text(config.replace(base, image))
    script = f". {OWN}/bin/activate; export PYTHONPATH=.; python -m {TEST_SCRIPT.split(chr(10))[1]}"
    config = read_json(folder / "tests/config.json")
    del config["activation"]
    for name, text in suite_tests(script, **config).items():
        (folder / "tests" / name).write_text(text)
    forge = FORGE.replace("report.get", 'if "test_words" in str(report.get_result()): report.get')
    try:
        for path in ("pytest_wade.py", "pytest_wade/__init__.py"):
            assert rewarded(folder, write(path, forge))[0] == "0.0"
        assert rewarded(folder, HELPED)[0] == "1.0"
    finally:
        remove_image(image)
