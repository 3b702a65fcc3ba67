"""Check that what is hostile ends and is named."""
import json

import pytest
from a_datapoint import write_datapoint
from conftest import run_script
from setups import CA_FLAGS

FLAGS = ["--json", "--cpu-request", 1, *CA_FLAGS]
LIMITS = '[sandbox]\nrun_timeout = 12\ndisk_limit = "300MB"\n'
BOMB = "bomb() { bomb | bomb & }; bomb; sleep 60"
IMAGE = "FROM codedata-base:bookworm\nWORKDIR /app\n"


@pytest.mark.docker
@pytest.mark.parametrize(("parts", "check", "words"), [
    ({"dockerfile": f"{IMAGE}RUN sleep 99\n"}, "docker_build", "took more than 12 s"),
    ({"dockerfile": f"{IMAGE}RUN {BOMB}\n"}, "docker_build", "a step started 1024 processes"),
    ({"dockerfile": f"{IMAGE}RUN head -c 2G /dev/zero > /big; sleep 60\n"}, "docker_build",
     "a step wrote more than 300MB"),
    ({"solution": BOMB}, "solvable", "[too many processes: 1024 allowed]"),
    ({"solution": "head -c 2G /dev/zero > big; sleep 60"}, "solvable", "over the disk limit")])
def test_what_is_hostile_ends_and_is_named(tmp_path, parts, check, words):
    (tmp_path / "chain.toml").write_text(LIMITS)
    folder = write_datapoint(tmp_path / "sums", **parts)
    done = run_script("build_dp.py", tmp_path, "validate", folder, *FLAGS, timeout_s=300)
    row, = json.loads(done.stdout)
    first = next(one for one in row["checks"] if one["status"] == "failed")
    assert done.returncode == 1 and first["name"] == check
    assert words in " ".join([first["why"], *first["evidence"]]), first
