"""Run the demo's duel: every request that is made today has a kept reply."""
import os
import subprocess
import sys
from pathlib import Path

from conftest import REPO
from root import read_json


def test_the_demo_plays_the_kept_duel_whole_and_makes_sets_of_it(tmp_path):
    """A request that has changed since has no reply (404), and its turn fails: play it anew."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    root = tmp_path / "demo"
    done = subprocess.run(["sh", "samples/demo.sh", root], cwd=REPO, text=True,
                          capture_output=True, env={**os.environ, "PATH": path}, timeout=300)
    assert done.returncode == 0, done.stderr
    turns = read_json(root / "prompt/duel.json")
    assert len([*root.glob("score/[!_]*.json")]) == len(turns)
    n_pairs = sum(len(path.read_text().splitlines()) for path in root.glob("export/dpo/*.jsonl"))
    assert n_pairs >= 6
    assert done.stdout.count("\nchallenger:\n") == done.stdout.count("\nrow    line ") == 3
    (root / "chain.toml").write_text('[llm]\nmodel = "mine"\n')
    done = subprocess.run(["sh", "samples/demo.sh", "runs/demo", "--root", root], cwd=REPO,
                          text=True, capture_output=True, timeout=300)
    assert done.returncode == 2 and "settings of its own" in done.stderr
