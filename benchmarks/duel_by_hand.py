"""Replay a duel whose replies were written by hand; say what a reader found of the pairs that it
keeps.

The duel of benchmarks/duel_real/ is played on its turns: kings with samples, and the choice, with
what running showed. DIR is a folder with `trajectories/` and `prs.jsonl` that is not part of this
repository. A request that has changed since the replies were written ends the run.

  python benchmarks/duel_by_hand.py --data DIR [--keep DIR]

One JSON line on stdout. Who played, and how, stands in benchmarks/duel_real/README.md.
"""
import argparse
import gzip
import json
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from dataclasses import asdict
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(REPO), str(REPO / "samples")]   # codedata is not installed

from replay import Replay  # noqa: E402

from codedata.sampling.draw import prompts_of, trajectory_name  # noqa: E402
from codedata.sampling.pull_requests import fetch_prs  # noqa: E402
from codedata.sampling.trajectories import Hub, open_source  # noqa: E402

REAL = REPO / "benchmarks/duel_real"
TOML = """[llm]
model = "by-hand"
endpoint = "challenger"
workers = 8
[king]
endpoint = "{king}"
[challenger]
endpoint = "{challenger}"
[judge]
models = [{{ model = "by-hand", name = "panel", endpoint = "panel" }}]
[leak]
models = [{{ model = "by-hand", name = "leak", endpoint = "leak" }}]
"""


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--keep", type=Path, metavar="DIR",
                   help="leave the root here (default: it is removed)")
    p.add_argument("--data", type=Path, metavar="DIR", required=True,
                   help="trajectories/ and prs.jsonl: play the duel of duel_real/ on them")
    args = p.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        figures = play_real(args.keep or Path(scratch), args.data)
    print(json.dumps({"benchmark": "duel_by_hand", **figures}))


def serving(folder: Path) -> Replay:
    """Return a server of a folder's replies that has begun to serve."""
    server = Replay(folder)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def play_real(root: Path, data: Path) -> dict:
    """Play the duel of duel_real/ as `chosen`. Return what became of its turns, and what readers
    say of the pairs that the challenger won; of `informed` by the scores that are kept.
    """
    turns = json.loads((REAL / "drawn.json").read_text())
    read = json.loads((REAL / "reader.json").read_text())
    server, place = serving(REAL), root / "chosen"
    base = f"http://127.0.0.1:{server.server_address[1]}"
    endpoints = "".join(f'[endpoints.{name}]\nbase_url = "{base}/{name}/v1"\n'
                        for name in ("king", "choose", "leak", "panel"))
    write_real(place, turns, data)
    settings = TOML.format(king="king", challenger="choose")
    (place / "chain.toml").write_text(
        f'{settings}[duel]\nagreement = true\n{endpoints}'
        .replace('endpoint = "king"', 'endpoint = "king"\nsamples = 3')
        .replace("[challenger]", '[challenger]\nhow = "chosen"'))
    for script in ("king.py", "ch.py", "validate.py", "report.py"):
        subprocess.run([sys.executable, REPO / script, "--root", place, "--quiet"], check=False)
    if changed := server.kept.changed:
        sys.exit(f"{len(changed)} requests were not asked so, such as {changed[0]}: "
                 "the prompts have changed since the replies were written")
    lines = map(json.loads, (place / "answer/_ledger.jsonl").read_text().splitlines())
    states = Counter((line.get("error") or line["state"]).partition(":")[0]
                     for line in lines if line["stage"] == "ch")
    scores = {path.stem: json.loads(path.read_text())["score"]
              for path in (place / "score").glob("[!_]*.json")}
    return {"turns": len(turns), **states, "chosen": kept_pairs(scores, read["chosen"]),
            "informed": kept_pairs({name: one["score"] for name, one in read["informed"].items()},
                                   read["informed"])}


def kept_pairs(scores: dict[str, float], read: dict[str, dict]) -> dict:
    """Return what the reader says of the pairs that the challenger won, and of those in refined/
    and final/."""
    figures = {}
    for kind, least in (("won", 50), ("refined", 66)):
        kept = [read[name] for name, score in scores.items() if name in read and score > least]
        figures[kind] = {"pairs": len(kept), **Counter(
            f"{one['better']} better{'' if one['honest'] else ', not honestly'}" for one in kept)}
    return figures


def write_real(root: Path, turns: list[dict], data: Path) -> None:
    """Write prompt/, commit/ and executed/ of turns of the trajectories in `data`."""
    source = open_source(str(data / "trajectories"), Hub(None))
    rows = {trajectory_name(row): row for row in source.rows(0, source.n_rows)}
    prompts = [asdict(prompts_of(rows[turn["trajectory"]])[0][turn["turn"]])
               | {"order": turn["order"]} for turn in turns]
    prs, _ = fetch_prs(str(data / "prs.jsonl"), {one["instance_id"] for one in prompts}, None)
    for folder in ("prompt", "commit", "executed"):
        (root / folder).mkdir(parents=True)
    for one in prompts:
        (root / "commit" / f"{one['instance_id']}.json").write_text(
            json.dumps(prs[one["instance_id"]]))
    (root / "prompt/hand.json").write_text(json.dumps(prompts))
    for line in gzip.open(REAL / "executed.jsonl.gz", "rt"):
        row = json.loads(line)
        (root / f"executed/{row['name']}.json").write_text(json.dumps(row["record"]))


if __name__ == "__main__":
    main()
