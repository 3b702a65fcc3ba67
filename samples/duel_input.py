#!/usr/bin/env python3
"""Write the turns of samples/duel_by_hand/turns.json into a root.

writes  prompt/duel.json, commit/<instance_id>.json
        executed/duel_<n>.json: what run_turns.py found for the turns of the Python projects

  python samples/duel_input.py ROOT
"""
import json
import shutil
import sys
from pathlib import Path

SAMPLES = Path(__file__).resolve().parent
DUEL = SAMPLES / "duel_by_hand"
sys.path.insert(0, str(SAMPLES.parent))   # codedata is not installed

from replay import prompts_of  # noqa: E402

from codedata.sampling.pull_requests import fetch_prs  # noqa: E402


def write_input(root: Path, n_turns: int | None = None) -> None:
    """Write prompt/ and commit/ of the first turns, by default of all."""
    prompts = prompts_of(DUEL)[:n_turns]
    prs, _ = fetch_prs(str(SAMPLES / "prs.json"), {one["instance_id"] for one in prompts}, None)
    for name in ("prompt", "commit"):
        (root / name).mkdir(parents=True, exist_ok=True)
    for one in prompts:
        pr = prs[one["instance_id"]]
        one["language"] = pr["language"]
        path = root / "commit" / f"{one['instance_id']}.json"
        path.write_text(json.dumps(pr), encoding="utf-8")
    (root / "prompt" / "duel.json").write_text(json.dumps(prompts), encoding="utf-8")
    shutil.copytree(DUEL / "executed", root / "executed", dirs_exist_ok=True)


if __name__ == "__main__":
    write_input(Path(sys.argv[1]))
