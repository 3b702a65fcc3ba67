"""Check the wheel: what lies in it, and that `codedata` works where nothing else of ours is."""
import os
import shlex
import subprocess
import sys
import zipfile

import pytest
from conftest import REPO
from programs import run_program
from root import write_files

BUILD = "from setuptools.build_meta import build_wheel; build_wheel('..')"
SHOW = "from codedata.terminal import say; say(\"pip install '.[ray]'; tools/docker-up\")"
LISTED = {*subprocess.check_output(["git", "ls-files"], cwd=REPO, text=True).split("\n")[:-1]}


def plant(folder, *names: str) -> None:
    """Write programs that are none of ours."""
    write_files(folder, dict.fromkeys(names, "raise SystemExit('not codedata')"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("build")
    plant(folder, "x/runs/king.py", "x/.venv/x.py", "x/codedata/__pycache__/x.pyc")
    subprocess.run(["cp", "--parents", *LISTED, folder / "x"], cwd=REPO, check=True)
    subprocess.run([sys.executable, "-c", BUILD], cwd=folder / "x", check=True, capture_output=True)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel):
    """Return a function that runs a command in an environment with the wheel and .venv's packages.
    """
    env = wheel.parent / "an environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", env], check=True)
    packages, = env.glob("lib/python*/site-packages")
    (packages / "all.pth").write_text("\n".join(path for path in sys.path if "-packages" in path))
    subprocess.run([sys.executable, "-m", "pip", "--python", env / "bin/python", "install", "-q",
                    "--no-deps", "--no-index", wheel], check=True)
    before = sorted(env.rglob("*"))

    def run(command: str, cwd) -> subprocess.CompletedProcess:
        return run_program(*shlex.split(command), cwd=cwd, env={
            "PATH": f"{env}/bin:{os.environ['PATH']}", "PYTHONDONTWRITEBYTECODE": "1"})
    yield run
    assert sorted(env.rglob("*")) == before   # roots lie elsewhere


def test_every_file_of_the_package_lies_in_the_wheel_with_scripts_and_samples(wheel):
    names = {name.removeprefix("codedata/scripts/") for name in zipfile.ZipFile(wheel).namelist()
             if "-info/" not in name}
    of_package = {name for name in LISTED if name.startswith("codedata/")}
    assert of_package | {path.name for path in REPO.glob("*.py")} < names < LISTED
    assert wheel.stat().st_size < 3_000_000


def test_an_installed_command_runs_the_demo_and_prints_commands_that_run(installed, tmp_path):
    plant(tmp_path, "king.py", "codedata/__init__.py", "samples/replay.py", "tools/chain")
    done = installed("codedata demo --root 'my runs'", tmp_path)
    assert done.returncode == 0, done.stderr
    assert [*tmp_path.glob("my runs/export/dpo/data/*.parquet")]
    assert "next:  codedata ch --root 'my runs'\n" in done.stderr
    for command in ("duel --dry-run --limit 1", "status"):
        done = installed(f"codedata {command} --root 'my runs'", tmp_path)
        assert done.returncode == 0 and "33" in done.stdout + done.stderr


def test_an_installed_command_says_what_it_has_and_names_no_clone(installed, tmp_path):
    assert installed("codedata env-setup --help", tmp_path).returncode == 0
    assert "codedata repo PATH" in installed("codedata repo --help", tmp_path).stdout
    done = installed("codedata nope", tmp_path)
    assert done.returncode == 2 and "\n  docker-up  " in done.stderr
    assert installed(f"python -c {shlex.quote(SHOW)}", tmp_path).stderr.endswith(
        "/an environment/bin/python' -m pip install 'codedata[ray]'; codedata docker-up\n")
