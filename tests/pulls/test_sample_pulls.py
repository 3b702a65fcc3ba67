"""Check that the patches of samples/pulls make the same history wherever they are applied."""
from __future__ import annotations

import os
import subprocess

from conftest import REPO
from sample_suites import PULLS

from codedata.pulls.kind import pull_request
from codedata.records import Commit, parse
from codedata.sampling.pull_requests import all_prs

FOLDER = REPO / "samples/pulls"


def test_each_patch_after_the_first_is_a_pull_request_with_code_and_tests(tmp_path):
    """Make the clone by the commands of the demo, with an odd git configuration."""
    script = (REPO / "samples/demo-pr.sh").read_text()
    made = script[script.index("set -eu"):script.index("code=0")]
    (tmp_path / ".gitconfig").write_text("[core]\nautocrlf = true\n[commit]\ngpgsign = true\n")
    subprocess.run(["sh", "-c", made, "sh", tmp_path / "run"], cwd=REPO, check=True,
                   env={**os.environ, "HOME": str(tmp_path), "GIT_AUTHOR_NAME": "Somebody"})
    clone = tmp_path / "run/berthbook"
    patches = [path.read_text() for path in sorted(FOLDER.glob("*.patch"))]
    log = subprocess.run(["git", "-C", clone, "log", "--reverse", "--format=%H %an <%ae>"],
                         capture_output=True, text=True, check=True).stdout.splitlines()
    assert log == [f"{patch.split()[1]} Sample Author <author@example.org>" for patch in patches]
    records = {name: parse(Commit, value, "") for name, value in all_prs(f"git:{clone}", None)}
    assert {*records} == {*PULLS} and len(patches) == len(PULLS) + 1
    for name, record in records.items():
        assert not pull_request(record, 0, 0).refused
        assert "CHANGELOG.md" in record.files, name
        assert len(record.description.splitlines()) > 10, name
