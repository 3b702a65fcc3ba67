"""Run the demo's duel: every request that is made today has a kept reply."""
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import REPO
from root import read_json

from codedata.llm.costs import costs_of


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
    foretold, taken = price_of_rest(root, {f"duel_{n}" for n in range(21, 34)})
    assert foretold == pytest.approx(taken, rel=0.3)
    (root / "chain.toml").write_text('[llm]\nmodel = "mine"\n')
    done = subprocess.run(["sh", "samples/demo.sh", "runs/demo", "--root", root], cwd=REPO,
                          text=True, capture_output=True, timeout=300)
    assert done.returncode == 2 and "settings of its own" in done.stderr


def price_of_rest(root, left: set[str]) -> tuple[list[int], list[int]]:
    """Return calls, tokens in and out of the turns that are left: as foretold from the others, and
    as taken."""
    begun = root.with_name("begun")
    shutil.copytree(root, begun, ignore=lambda _, names: {
        name for name in names if name.removesuffix(".json") in left})
    for path in begun.glob("[as]*/_ledger.jsonl"):
        lines = path.read_text().splitlines(keepends=True)
        path.write_text("".join(line for line in lines if json.loads(line)["item"] not in left))
    done = subprocess.run([sys.executable, "tools/price", "king ch validate", "--root", begun,
                           "--dry-run"], cwd=REPO, text=True, capture_output=True)
    *_, all_stages = done.stderr.splitlines()
    foretold = [int(n) for n in re.findall(r"\d+", all_stages.replace(",", ""))][:3]
    paid, before = (np.array([[one.n_calls, one.tokens_in, one.tokens_out]
                              for one in costs_of(each)]).sum(0) for each in (root, begun))
    return foretold, paid - before
