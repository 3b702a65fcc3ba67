"""Check the rows and tasks of stripped patches: what is in them, what is left out; and that the
verifier rewards bodies alone, whatever an agent plants, in containers as Harbor starts them."""
from __future__ import annotations

import io
import json
import subprocess
import tarfile
import tomllib

import pytest
from conftest import write_toml
from fake_judges import run_main
from proof_heron import HERON, IMAGE, RUN, environment_of, factory_of, heron  # noqa: F401
from stripped import BODY, STRIPPED, WORDS, write_strip, STRIP

import export
from codedata.checks.proof import Prover

NAME = "heron.function.0123abcd"


def make(root, *words, **kwargs):
    return run_main(export.main, root, *words, **kwargs)


@pytest.fixture(scope="module")
def task(heron, tmp_path_factory):  # noqa: F811
    """Return the folder of a task that was proven in containers, and the name of its image."""
    root = tmp_path_factory.mktemp("strip")
    write_toml(root, more="[export]\nvalidation = 0.0\n")
    factory = factory_of()
    proof = Prover(factory, True, 1.0).prove(environment_of(), STRIP, NAME, RUN)
    assert not proof.trouble
    write_strip(root, NAME, proof)
    run_main(export.main, root, "--formats", "nl2repo,harbor")
    return root / "export/harbor" / NAME


def docker(*words: str, stdin: bytes = b"") -> subprocess.CompletedProcess:
    return subprocess.run(["docker", "run", "--rm", "-i", "--network", "none", *words],
                          input=stdin, capture_output=True)


def rewarded(folder, done: str) -> str:
    """Return the reward after an agent has done something, "" where there is none."""
    config = tomllib.loads((folder / "task.toml").read_text())
    image = config["environment"]["docker_image"]
    [archive], [hook] = config["artifacts"], config["verifier"]["collect"]
    work = docker(image, "sh", "-c", f"({done}\n) >/dev/null 2>&1; cd /; {hook['command']}\n"
                  f"cat {archive}")
    bundle = io.BytesIO()
    with tarfile.open(fileobj=bundle, mode="w") as tar:
        tar.add(folder / "tests", "tests")
        member = tarfile.TarInfo(archive[1:])
        member.size = len(work.stdout)
        tar.addfile(member, io.BytesIO(work.stdout))
    script = ("tar -x -C / && mkdir -p /logs/verifier && chmod 777 /logs/verifier\n"
              "bash /tests/test.sh >&2; sleep 0.3; cat /logs/verifier/reward.*")
    printed = docker(image, "bash", "-c", script, stdin=bundle.getvalue())
    print(printed.stderr.decode())
    return printed.stdout.decode().strip()


@pytest.mark.docker
def test_it(task):
    solve = (task / "solution/solve.sh").read_text()
    assert rewarded(task, solve) == "1.0"
    assert rewarded(task, "true") == "0.0"
