"""Replay a duel whose replies were written by hand; measure its leaks and what knowing is worth.

Reads samples/duel_by_hand/: its turns and replies, which samples/replay.py serves, and reader.json
(what a reader said who wrote none of the turns). king.py, ch.py (informed, placebo, chosen; and
once more with a challenger that leaks deliberately), validate.py and report.py run as they are. A
request that nobody has answered ends the run: the prompts have changed since the replies were
written.

  python benchmarks/duel_by_hand.py [--keep DIR]

One JSON line on stdout, a table on stderr. Who played, and how, stands in
samples/duel_by_hand/README.md.
"""
import argparse
import json
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(REPO), str(REPO / "samples")]   # codedata is not installed

from duel_input import DUEL, write_input  # noqa: E402
from replay import Replay  # noqa: E402

from codedata.progress import table  # noqa: E402
from codedata.report.make_report import effect_sections, read_turns  # noqa: E402

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
    args = p.parse_args()
    server = Replay(DUEL)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as scratch:
        root = args.keep or Path(scratch)
        play(root / "duel", server, cheats=False)
        play(root / "leaking", server, cheats=True)
        if changed := server.kept.changed:
            sys.exit(f"{len(changed)} requests were not asked so, such as {changed[0]}: "
                     "the prompts have changed since the replies were written")
        figures = measure(root)
    print(table(["", "figure"], [[name, str(value)] for name, value in figures.items()], "lr"),
          file=sys.stderr)
    print(json.dumps({"benchmark": "duel_by_hand", **figures}))


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
