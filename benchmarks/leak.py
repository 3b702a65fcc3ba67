"""Measure how well leaks are found, by facts and by a leak judge, on a set labelled without either.

The set has answers.jsonl: {id, instance_id, language, kind, leak, why, split, messages_from:
{trajectory, turn}, answer}, and kings.jsonl: {id, instance_id, messages_from, answer}, turns
written blind, which cannot leak. `messages_from` names a row of trajectories.json and an assistant
turn in it: the history is the conversation before that turn. The pull request comes from prs.json.
All files lie in the set's folder or next to it. A judge's replies are read from replies.jsonl: {id,
judge, prompt (digest of the rule), replies}.

  python benchmarks/leak.py                        # samples/leak, the held-out half, and the kings
  python benchmarks/leak.py --split tune           # the other half, and the errors of the facts
  python benchmarks/leak.py --ask --llm-base-url URL --model NAME --workers 200    # ask a judge

One JSON line on stdout, a table on stderr. benchmarks/README.md defines the figures.
"""
import argparse
import json
import random
import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

REPO = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPO))   # codedata is not installed

from codedata.checks.intervals import wilson  # noqa: E402
from codedata.disk.ledger import to_line  # noqa: E402
from codedata.disk.store import digest  # noqa: E402
from codedata.leak import judge  # noqa: E402
from codedata.leak.leaked_facts import find_facts  # noqa: E402
from codedata.leak.request import SHARED  # noqa: E402
from codedata.llm.asking import Rejected  # noqa: E402
from codedata.llm.client import LLMServerHTTP  # noqa: E402
from codedata.sampling.pull_requests import fetch_prs  # noqa: E402
from codedata.texts import text_of  # noqa: E402

TARGETS = {"facts": {"precision": 0.95, "careless": 0.60},
           "judge": {"precision": 0.97, "recall": 0.95, "paraphrase": 0.90, "king": 0.05}}
KING = "king"


def main() -> None:
    args = parser().parse_args()
    rows = [row for row in read_set(args.set / "answers.jsonl") if row["split"] == args.split]
    kings = [{**row, "kind": KING, "leak": False} for row in read_set(args.set / "kings.jsonl")]
    if not rows:
        sys.exit(f"{args.set / 'answers.jsonl'}: no line has the split {args.split!r}")
    join(rows + kings, args.set)
    if args.ask:
        return ask(rows + kings, args)
    report = {"benchmark": "leak", "set": args.set.name, "split": args.split, "n": len(rows),
              "facts": facts(rows)}
    report["facts"]["kings"] = facts(kings)["kinds"].get(KING)
    table("facts alone", report["facts"], TARGETS["facts"])
    kept = {row["id"]: row for row in read_set(args.set / "replies.jsonl")}
    if judged := [row for row in rows + kings if row["id"] in kept]:
        report["judge"] = replay(judged, kept)
        table(f"judge ({report['judge']['judge']})", report["judge"], TARGETS["judge"])
    if args.split == "tune":
        report["wrong"] = [row["id"] for row in rows if row["said_by_facts"] != row["leak"]]
    print(json.dumps(report))
    return None


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--set", type=Path, default=REPO / "samples" / "leak", metavar="DIR",
                   help="default: samples/leak")
    p.add_argument("--split", choices=("held_out", "tune"), default="held_out",
                   help="default: %(default)s")
    p.add_argument("--ask", action="store_true",
                   help="ask a judge about rows without a reply, and append its replies")
    p.add_argument("--llm-base-url", metavar="URL")
    p.add_argument("--model", default="judge")
    p.add_argument("--workers", type=int, default=8)
    return p


def read_set(path: Path) -> list[dict]:
    if not path.is_file():
        return []
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file if line.strip()]


def join(rows: list[dict], folder: Path) -> None:
    """Give each row its `history` and `commit`."""
    trajectories = json.loads(beside(folder, "trajectories.json").read_text(encoding="utf-8"))
    prs, problems = fetch_prs(str(beside(folder, "prs.json")),
                              {row["instance_id"] for row in rows}, None)
    if problems:
        sys.exit(f"prs.json: {problems}")
    for row in rows:
        messages = trajectories[row["messages_from"]["trajectory"]]["messages"]
        places = [i for i, message in enumerate(messages) if message["role"] == "assistant"]
        row["history"] = [dict(message)
                          for message in messages[:places[row["messages_from"]["turn"]]]]
        row["commit"] = SimpleNamespace(**prs[row["instance_id"]])


def beside(folder: Path, name: str) -> Path:
    return next((path for path in (folder / name, folder.resolve().parent / name)
                 if path.is_file()), folder / name)


def facts(rows: list[dict]) -> dict:
    """Return the figures of the certain facts; set `said_by_facts` in each row."""
    took = []
    for row in rows:
        started = time.process_time()
        row["said_by_facts"] = any(
            one.certain for one in find_facts(row["history"], row["answer"], row["commit"]))
        took.append(1000 * (time.process_time() - started))
    cpu_ms = {"median": round(statistics.median(took), 2),
              "max": round(max(took), 2)} if took else {}
    return {**figures(rows, "said_by_facts"), "cpu_ms": cpu_ms}


def replay(rows: list[dict], kept: dict[str, dict]) -> dict:
    """Return the figures of a judge's verdicts; an unreadable reply counts as unread and as no
    leak.
    """
    n_unread = 0
    for row in rows:
        last = None
        for reply in kept[row["id"]]["replies"]:
            with suppress(Rejected):
                last = last or judge.verdict_in(reply, row["answer"])
        n_unread += last is None
        row["said_by_judge"] = bool(last and last["leak"])
    first = kept[rows[0]["id"]]
    return {**figures(rows, "said_by_judge"), "judge": first["judge"], "unread": n_unread,
            "made_with_present_rule": all(kept[row["id"]]["prompt"] == rule() for row in rows)}


def figures(rows: list[dict], said: str) -> dict:
    labelled = [row for row in rows if row["kind"] != KING]
    hits = sum(row[said] and row["leak"] for row in labelled)
    return {"n": len(rows), "precision": share(hits, sum(row[said] for row in labelled)),
            "recall": share(hits, sum(row["leak"] for row in labelled)),
            "kinds": {kind: share(sum(row[said] for row in of), len(of))
                      for kind in sorted({r["kind"] for r in rows})
                      if (of := [row for row in rows if row["kind"] == kind])}}


def rule() -> str:
    return digest([SHARED, text_of("codedata.leak", "judge.md")])[:8]


def ask(rows: list[dict], args) -> None:
    """Ask the judge about every row without a reply, in random order, and write each reply when it
    arrives.
    """
    path = args.set / "replies.jsonl"
    there = {row["id"] for row in read_set(path)}
    rows = [row for row in rows if row["id"] not in there]
    random.shuffle(rows)
    client = LLMServerHTTP(args.llm_base_url, args.model, temperature=0.0)
    with open(path, "ab", buffering=0) as file, ThreadPoolExecutor(args.workers) as pool:
        def one(row: dict) -> None:
            replies: list[str] = []
            suspect = judge.Suspect(row["history"], row["answer"], row["commit"])
            for attempt in range(1, 3):
                messages = judge.request(client, suspect, attempt)
                replies.append(client.ask(messages, schema=judge.SCHEMA).text)
                with suppress(Rejected):
                    judge.verdict_in(replies[-1], row["answer"])
                    break
            file.write(to_line({"id": row["id"], "judge": args.model, "prompt": rule(),
                                "replies": replies}))
        for done in [pool.submit(one, row) for row in rows]:
            done.result()


def share(k: int, n: int) -> dict:
    """Return the share k of n with Wilson's 95 % interval; None for both if n is 0."""
    if not n:
        return {"k": 0, "n": 0, "share": None, "low": None, "high": None}
    low, high = wilson(k / n, n)
    return {"k": k, "n": n, "share": round(k / n, 4), "low": round(low, 4),
            "high": round(high, 4)}


def table(title: str, found: dict, targets: dict[str, float]) -> None:
    print(f"\n{title}: {found['n']} answers", file=sys.stderr)
    for name, figure in {"precision": found["precision"], "recall": found["recall"],
                         **found["kinds"]}.items():
        line = f"  {name:<16}{figure['k']:>4} of {figure['n']:<4}"
        if figure["n"]:
            line += f"{figure['share']:8.3f}   {figure['low']:.3f}–{figure['high']:.3f}"
        if name in targets:
            line += f"   target {'at most ' if name == KING else ''}{targets[name]}"
        print(line, file=sys.stderr)


if __name__ == "__main__":
    main()
