"""Grade a task in the agent's own container, by the steps of `HarborEnv` of TRL 1.16 with Harbor
0.26: no hook is run and nothing carried; user and network of task.toml are not looked at.

    graded_in_place(folder, SOLVED)   # ("1.0", what the verifier printed)
"""
import subprocess
from pathlib import Path

from codedata.texts import tomllib

SOLVED = "bash /solution/solve.sh"
OUT = "/logs/verifier"
EMPTIED = f"mkdir -p {OUT} && find {OUT} -mindepth 1 -delete && chmod 777 {OUT}"


def docker(*words) -> str:
    """Return the output of a command, whether it fails or not."""
    return subprocess.run(["docker", *words], capture_output=True, text=True,
                          errors="replace").stdout


def graded_in_place(folder: Path, done: str) -> tuple[str, str]:
    """Return (the reward after an agent's work, "" if there is none; the verifier's output).
    The solution lies in /solution."""
    environment = tomllib.loads((folder / "task.toml").read_text())["environment"]
    container = docker("run", "--detach", "--network", "none", environment["docker_image"],
                       "sh", "-c", "sleep infinity").strip()

    def shell(command: str, *flags: str) -> str:
        return docker("exec", "--workdir", environment["workdir"], *flags, container, "bash", "-c",
                      command)

    try:
        shell("mkdir -p /workdir /home/user/input")
        docker("cp", f"{folder}/solution/.", f"{container}:/solution")
        shell(done)
        shell(EMPTIED, "--user", "root")
        docker("cp", f"{folder}/tests/.", f"{container}:/tests")
        shell("chmod +x /tests/test.sh", "--user", "root")
        shell(f"(/tests/test.sh) > {OUT}/test-stdout.txt 2>&1")
        return shell(f"cat {OUT}/reward.*").strip(), shell(f"cat {OUT}/test-stdout.txt")
    finally:
        docker("rm", "--force", container)
