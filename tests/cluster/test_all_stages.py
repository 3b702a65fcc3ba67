"""Run every stage that has containers on nodes that see no root (long: a quarter of an hour)."""
import json
import os
import shutil
import subprocess

import pytest
from conftest import REPO, finish
from setups import CA_FLAGS
from test_cluster import cluster as cluster  # a fixture
from test_cluster import root as root  # a fixture
from test_cluster import start
from test_run_turns import RIGHT, mini, write_answer
from test_run_turns import write_root as write_turns

pytestmark = [pytest.mark.docker, pytest.mark.pods, pytest.mark.long]
GIT = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b.c"}
STAGES = (("env_setup.py", "--input", "repos.jsonl", "--planner", "recipe"),
          ("analyze.py",), ("bug_inject.py", "scale", "--limit", "2"),
          ("nl2repo.py", "--writer", "template", "--limit", "2"),
          ("audit.py", "--limit", "1", "--checks", "gold,untouched,strength"))
LEFT = """env coverage coverage/_raw analysis bug/_candidates bug/_verdicts task nl2repo/_sources
    nl2repo/_facts nl2repo/_communities candidate nl2repo/_docs nl2repo audit"""


def goes_well(cluster, root, script: str, *flags) -> None:
    done = finish(start(cluster, script, root, "--workers", "2", *CA_FLAGS, *flags), 900)
    assert done.returncode == 0, done.stderr


def test_a_repository_goes_through_all_stages(cluster, root):
    source = root / "source"   # which no node sees, either
    shutil.copytree(REPO / "samples/repos/spanset", source)
    (root / "repos.jsonl").write_text(json.dumps(
        {"repo": "samples/spanset", "repo_name": "spanset", "reformat_path": str(source)}))
    (root / "chain.toml").write_text("[bug]\nmax_candidates = 20\n")
    for stage in STAGES:
        goes_well(cluster, root, *stage)
    assert [place for place in LEFT.split() if not any((root / place).glob("[a-z]*"))] == []


def test_pull_requests_of_a_clone_become_tasks(cluster, root):
    clone, env = root / "clone", {**os.environ, **GIT}
    for words in (["init", "-q", "-b", "main", clone],
                  ["-C", clone, "am", "-q", "--committer-date-is-author-date",
                   *sorted((REPO / "samples/pulls").glob("*.patch"))]):
        subprocess.run(["git", *words], env=env, check=True)
    goes_well(cluster, root, "pr_tasks.py", "--prs", f"git:{clone}", "--setup", "--planner",
              "recipe", "--limit", "2")
    assert len([*(root / "task").glob("[a-z]*")]) == 2


def test_candidates_of_turns_are_run(cluster, root):
    write_turns(root)
    for name in ("t_1", "t_2"):
        write_answer(root, name, ("ls", mini("heron.py\ntests")), challenger=RIGHT)
    goes_well(cluster, root, "run_turns.py")
    assert len([*(root / "executed").glob("t_*.json")]) == 2
