"""Check the images of tasks with a real engine and registry, and rewards that cannot be cheated."""
import io
import os
import shutil
import subprocess
import sys
import tarfile

import pytest
from conftest import REPO, run_script
from in_place import SOLVED, graded_in_place
from projects import docker
from registry_server import registry_server
from root import Root, read_json

from codedata.export.task_sets.harbor import read_image

pytestmark = pytest.mark.docker
SAMPLE = REPO / "samples/tasks/tally"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Return a root with the sample task exported and its image built; the images go in the end."""
    root = Root(tmp_path_factory.mktemp("harbor"))
    shutil.copytree(SAMPLE, root / "task/tally")
    with open(root / "task/tally/environment/Dockerfile", "a") as file:
        file.write(f"LABEL of={os.getpid()}\n")   # an image of its own
    assert run_script("export.py", root).returncode == 0
    push_images(root)
    yield root
    left = docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}").splitlines()
    if mine := [name for name in left if name.endswith(tag_of(root))]:
        docker("image", "rm", "--force", *mine)


def tag_of(root) -> str:
    manifest = read_json(root / "export/harbor/manifest.json")
    return manifest["tasks"][0]["docker_image"]


def push_images(root, *words) -> None:
    done = subprocess.run([sys.executable, REPO / "tools/push-images", root / "export/harbor",
                           *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def registry():
    """Return the address of a registry on the loopback."""
    with registry_server() as address:
        yield address


def test_a_solution_is_rewarded_and_nothing_is_not_where_trl_grades(root):
    # before the image is in a registry that goes
    folder = root / "export/harbor/tally"
    assert [graded_in_place(folder, done)[0] for done in (SOLVED, "true")] == ["1.0", "0.0"]


def test_images_are_built_pushed_and_named_by_digest_and_can_be_pulled(root, registry):
    folder, tag = root / "export/harbor/tally", tag_of(root)
    built = read_image(folder)
    assert built.ref == tag and built.id == docker("image", "inspect", "-f", "{{.Id}}", tag)
    push_images(root, f"{registry}/team")
    pushed = read_image(folder)
    assert pushed.id == built.id and pushed.ref.startswith(f"{registry}/team/{tag.split(':')[0]}@")
    before = (folder / "task.toml").read_bytes()
    push_images(root)   # a pushed one stays as it is
    done = run_script("export.py", root)
    assert "unchanged" in done.stderr and (folder / "task.toml").read_bytes() == before
    docker("image", "rm", f"{registry}/team/{tag}")
    docker("pull", "--quiet", pushed.ref)
    assert docker("run", "--rm", pushed.ref, "cat", "amounts.csv").startswith("ann,3")
    docker("image", "rm", pushed.ref)


SOLUTION = (SAMPLE / "solution/solve.sh").read_text()
FORGERY = """import glob, os
places = ["/logs/verifier/" + name for name in ("reward.json", "reward.txt", "reward.new")]
for place in [*glob.glob(f"/proc/{os.getppid()}/fd/*"), *places, "/tests/config.json"]:
    try:
        open(place, "w").write("1")
    except OSError:
        pass
"""
SPY = """import glob, os
def read(place):
    try:
        return open(place, errors="replace").read(99_999)
    except OSError:
        return ""
places = ("/tests/*", f"/proc/{os.getppid()}/fd/*", f"/proc/{os.getppid()}/environ", "/dev/fd/777")
if not any("names_are_whole" in read(path) for place in places for path in glob.glob(place)):
    raise SystemExit("there is nothing to see")
"""
NO_TESTS = "import pytest\\ndef pytest_collection_modifyitems(items):\\n    items.clear()\\n"


@pytest.mark.parametrize("done, reward", [
    (SOLUTION, 1.0), ("true", 0.0),
    (SOLUTION.replace("sorted(totals)", "totals"), 0.7),   # two of three tests
    (r"""printf 'print("ann 13\\nbob 4")' > tally.py""", 0.0),   # by heart
    ("""mkdir -p /logs/verifier; cd /logs/verifier; echo 1 > reward.txt
     echo '{"reward": 1}' > reward.json""", 0.0),
    (r"printf '#!/bin/sh\necho 1' > /usr/local/bin/python3; chmod +x /usr/local/bin/python3", 0.0),
    (f"{SOLUTION}printf '{NO_TESTS}' > conftest.py; export PYTHONPATH=/app", 1.0),
    (f"{SOLUTION}printf '[pytest]\naddopts = --co' > pytest.ini", 1.0),
    (f"{SOLUTION}rm /tests/config.json", 0.0), (f"{SOLUTION}rm /tests/*.py", 0.0),
    (f"{SOLUTION}echo 'x(' >> /tests/verify.py", 0.0),
    (f"{SOLUTION}sed -i 's/\"timeout_s\": [0-9]*/\"timeout_s\": 1/' /tests/config.json\n"
     "echo 'import time; time.sleep(60)' >> /tests/test_outputs.py", 0.0),
    (f"{SOLUTION}cat - tally.py >both <<'END'\n{SPY}END\nmv both tally.py", 0.0),   # else it works
    (f"cat > tally.py <<'END'\n{FORGERY}END", 0.0),
    (f"{SOLUTION}cat >> tally.py <<'END'\n{FORGERY}END", 1.0)], ids=range(15))
def test_the_reward_is_that_of_the_tests_and_0_whatever_breaks(root, done, reward):
    tests = io.BytesIO()
    with tarfile.open(fileobj=tests, mode="w") as tar:
        tar.add(root / "export/harbor/tally/tests", "tests")
    script = (f"tar -x -C /\n{done}\nbash /tests/test.sh >/dev/null 2>&1\n"
              "cat /logs/verifier/reward.json 2>/dev/null || cat /logs/verifier/reward.txt")
    command = ["docker", "run", "--rm", "-i", "--network", "none", tag_of(root), "bash", "-c",
               script]
    printed = subprocess.run(command, input=tests.getvalue(), capture_output=True)
    assert float(printed.stdout) == reward, printed.stderr
