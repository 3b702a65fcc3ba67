"""Replay a duel whose replies were written by hand; measure its leaks and what knowing is worth.

Reads samples/duel_by_hand/: turns.json (which turns of samples/trajectories.parquet), replies.jsonl
{folder, asked (digest of a request's messages), replies (in the order in which they were given)}
and reader.json (what a reader said who wrote none of the turns). A server on loopback gives the
replies back to king.py, ch.py (informed, placebo, chosen; and once more with a challenger that
leaks deliberately), validate.py and report.py, which run as they are. A request that nobody has
answered ends the run: the prompts have changed since the replies were written.

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
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import duckdb

REPO = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPO))   # codedata is not installed

from codedata.progress import table  # noqa: E402
from codedata.report.make_report import effect_sections, read_turns  # noqa: E402
from codedata.sampling.pull_requests import fetch_prs  # noqa: E402
from codedata.store import digest  # noqa: E402

SET = REPO / "samples" / "duel_by_hand"
CHEATED = 8   # turns that the leaking challenger was asked for: the first ones
TOML = """[llm]
model = "by-hand"
endpoint = "challenger"
workers = 8
[king]
endpoint = "{king}"
[challenger]
endpoint = "{challenger}"
candidates = 3
[judge]
models = [{{ model = "by-hand", name = "panel", endpoint = "panel" }}]
[leak]
models = [{{ model = "by-hand", name = "leak", endpoint = "leak" }}]
king_share = 1.0
"""
FOLDERS = ("king", "candidates", "challenger", "leaking", "placebo", "leak", "panel")


class Replies(ThreadingHTTPServer):
    """Give kept replies back. `missing` are requests that nobody has answered."""

    def __init__(self, path: Path):
        super().__init__(("127.0.0.1", 0), Handler)
        self.kept = {(row["folder"], row["asked"]): list(row["replies"])
                     for row in read_lines(path)}
        self.missing: list[str] = []
        self.lock = threading.Lock()

    def reply(self, folder: str, asked: str) -> str | None:
        with self.lock:
            left = self.kept.get((folder, asked))
            if not left:
                self.missing.append(f"{folder} {asked}")
                return None
            return left.pop(0) if len(left) > 1 else left[0]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        text = self.server.reply(self.path.split("/")[1], digest(request["messages"]))
        body = json.dumps({"choices": [{"message": {"role": "assistant", "content": text},
                                        "finish_reason": "stop"}],
                           "model": "by-hand",
                           "usage": {"prompt_tokens": 0, "completion_tokens": 0}}).encode()
        self.send_response(200 if text is not None else 400)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--keep", type=Path, metavar="DIR",
                   help="leave the roots here (default: they are removed)")
    args = p.parse_args()
    server = Replies(SET / "replies.jsonl")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as scratch:
        root = args.keep or Path(scratch)
        play(root / "duel", server, cheats=False)
        play(root / "leaking", server, cheats=True)
        if server.missing:
            sys.exit(f"{len(server.missing)} requests have no reply, such as {server.missing[0]}: "
                     "the prompts have changed since the replies were written")
        figures = measure(root)
    print(table(["", "figure"], [[name, str(value)] for name, value in figures.items()], "lr"),
          file=sys.stderr)
    print(json.dumps({"benchmark": "duel_by_hand", **figures}))


def read_lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()
            if line.strip()]


def play(root: Path, server: Replies, cheats: bool) -> None:
    """Run the scripts on a root; the endpoint of each role is a path of the server."""
    turns = json.loads((SET / "turns.json").read_text())
    write_input(root, turns[:CHEATED] if cheats else turns)
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


def write_input(root: Path, turns: list[dict]) -> None:
    """Write prompt/ and commit/ of the turns."""
    query = "select messages from read_parquet(?, file_row_number = true) order by file_row_number"
    trajectories = duckdb.execute(query, [str(SET.parent / "trajectories.parquet")]).fetchall()
    prs, _ = fetch_prs(str(SET.parent / "prs.parquet"), {turn["instance_id"] for turn in turns},
                       None)
    for name in ("prompt", "commit"):
        (root / name).mkdir(parents=True, exist_ok=True)
    prompts = []
    for order, turn in enumerate(turns, 1):
        messages = [dict(message) for message in trajectories[turn["trajectory"]][0]]
        at = [i for i, message in enumerate(messages)
              if message["role"] == "assistant"][turn["turn"]]
        record = prs[turn["instance_id"]]
        prompts.append({"instance_id": turn["instance_id"], "repo": record["repo"],
                        "language": record["language"], "turn": turn["turn"], "order": order,
                        "messages": messages[:at], "assistant": messages[at]["content"]})
        (root / "commit" / f"{turn['instance_id']}.json").write_text(json.dumps(record))
    (root / "prompt" / "duel.json").write_text(json.dumps(prompts))


def measure(root: Path) -> dict:
    """Return the figures of the table."""
    from codedata import cli, config
    duel, reader = root / "duel", json.loads((SET / "reader.json").read_text())
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
