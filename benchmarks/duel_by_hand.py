"""Replay duels whose replies were written by hand; measure their leaks and what knowing is worth.

Reads samples/duel_by_hand/: its turns and replies, which samples/replay.py serves, and reader.json
(what a reader said who wrote none of the turns). king.py, ch.py (informed, placebo, chosen; and
once more with a challenger that leaks deliberately), validate.py and report.py run as they are.
Requests that have changed since the replies were written get that of the same turn, and are
counted.

With --data, a folder with `trajectories/` and `prs.jsonl` that is not part of this repository, the
duel of benchmarks/duel_real/ is played on its turns: kings with samples, and the choice, with what
running showed. There, a changed request ends the run.

  python benchmarks/duel_by_hand.py [--keep DIR] [--data DIR]

One JSON line on stdout, a table on stderr. Who played, and how, stands in
samples/duel_by_hand/README.md and benchmarks/duel_real/README.md.
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

from duel_input import DUEL, write_input  # noqa: E402
from replay import Replay  # noqa: E402

from codedata.progress import table  # noqa: E402
from codedata.report.make_report import effect_sections, read_turns  # noqa: E402
from codedata.sampling.draw import prompts_of, trajectory_name  # noqa: E402
from codedata.sampling.pull_requests import fetch_prs  # noqa: E402
from codedata.sampling.trajectories import Hub, open_source  # noqa: E402

REAL = REPO / "benchmarks/duel_real"
CHEATED = 8   # turns that the leaking challenger was asked for: the first ones
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
king_share = 1.0
"""
FOLDERS = ("king", "candidates", "challenger", "leaking", "placebo", "leak", "panel")


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--keep", type=Path, metavar="DIR",
                   help="leave the roots here (default: they are removed)")
    p.add_argument("--data", type=Path, metavar="DIR",
                   help="trajectories/ and prs.jsonl: play the duel of duel_real/ on them")
    args = p.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        root = args.keep or Path(scratch)
        if args.data:
            print(json.dumps({"benchmark": "duel_by_hand --data", **play_real(root, args.data)}))
            return
        server = serving(DUEL)
        play(root / "duel", server, cheats=False)
        play(root / "leaking", server, cheats=True)
        figures = {**measure(root), "requests that have changed since": len(server.kept.changed)}
    print(table(["", "figure"], [[name, str(value)] for name, value in figures.items()], "lr"),
          file=sys.stderr)
    print(json.dumps({"benchmark": "duel_by_hand", **figures}))


def serving(folder: Path) -> Replay:
    """Return a server of a folder's replies that has begun to serve."""
    server = Replay(folder)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def play(root: Path, server: Replay, cheats: bool) -> None:
    """Run the scripts on a root; the endpoint of each role is a path of the server."""
    write_input(root, CHEATED if cheats else None)
    base = f"http://127.0.0.1:{server.server_address[1]}"
    endpoints = "".join(f'[endpoints.{name}]\nbase_url = "{base}/{name}/v1"\n' for name in FOLDERS)

    def run(script: str, *flags: str, king: str = "king", challenger: str = "challenger") -> None:
        (root / "chain.toml").write_text(TOML.format(king=king, challenger=challenger) + endpoints)
        subprocess.run([sys.executable, REPO / script, "--root", root, "--quiet", *flags],
                       check=False)

    run("king.py")
    run("ch.py", challenger="leaking" if cheats else "challenger")
    if cheats:
        return
    run("validate.py")
    for how in ("placebo", "chosen"):
        run("ch.py", "--how", how, king="candidates",
            challenger="placebo" if how == "placebo" else "challenger")
        run("validate.py", "--how", how)
    run("report.py")


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
    settings = TOML.format(king="king", challenger="choose").replace("king_share = 1.0", "")
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


def measure(root: Path) -> dict:
    """Return the figures of the table."""
    from codedata import cli, config
    duel, reader = root / "duel", json.loads((DUEL / "reader.json").read_text())
    settings = config.load(cli.parser("").parse_args(["--root", str(duel)]))
    turns = read_turns(settings, "validate.py")
    hidden = [row.name.removeprefix("duel_") for row in turns.rows if row.shown_share < 1]
    n, read = len(turns.rows), reader["turns"]
    made = {path.stem.removeprefix("duel_")
            for path in (root / "leaking" / "answer").glob("[!_]*.json")
            if json.loads(path.read_text())["challenger"]}
    through = [turn for turn in made if reader["told_to_leak"][turn]["still_leaks"]]
    whole = json.loads((duel / "score" / "_duel.json").read_text())
    better = {how: sum(bool(read[turn][f"{how}_better"]) for turn in hidden)
              for how in ("informed", "chosen")}
    figures = {
        "turns": n, "with less than the whole patch shown": len(hidden),
        "deliberate leaks": CHEATED,
        "refused to the end": CHEATED - len(made),
        "given up for an honest turn": len(made) - len(through),
        "leaks that got through, by the reader": len(through),
        "honest challengers barred": sum(one["was_honest"] for one in reader["refused"].values()),
        "leaking challengers: the report counts": sum(bool(row.leaks) for row in turns.rows),
        "leaking challengers: the reader finds":
            sum(one["informed_leaks"] for one in read.values()),
        "kings in which a leak is found": sum(bool(row.king_leaks) for row in turns.rows),
        "challengers longer than the king": sum(row.chars[1] > row.chars[0] for row in turns.rows),
        **{f"better for honest reasons, by the reader: {how}": f"{k} of {len(hidden)}"
           for how, k in better.items()},
        "score, both orders": f"challenger {whole['challenger_score']}, king "
                              f"{whole['king_score']}: "
                              f"{'accepted' if whole['accepted'] else '; '.join(whole['reasons'])}"}
    for heading, items in effect_sections(settings, turns, ""):
        if heading.startswith("What knowing"):
            figures |= {f"{row[0]}: margin": row[2] for row in items[0][1]}
            figures |= {f"note {i}": text for i, text in enumerate(items[1:], 1)}
    return figures


if __name__ == "__main__":
    main()
