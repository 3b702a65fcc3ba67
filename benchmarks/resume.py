"""Measure scripts that have nothing to do: --status and a plain re-run, on up to a million answers.

The first 1,000 answers of a root are made as a user would: prompts and PR records as prompt.py
writes them, then answers by king.py and ch.py from mock_llm.py without latency. A generator writes
the others, after it has written those 1,000 byte for byte. Then it measures king.py and ch.py on
the root, each with --status and without a flag.

  python benchmarks/resume.py                        # builds the roots first: some minutes
  python benchmarks/resume.py --n 50000,1000000 --history-chars 300   # 11 minutes, 12 GB
  python benchmarks/resume.py --root DIR             # builds them there, or uses existing ones

One JSON line on stdout, a table on stderr. benchmarks/README.md defines the figures.
"""
import argparse
import hashlib
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from multiprocessing import get_context
from pathlib import Path

from measure import (
    LIST_LENGTH,
    PROJECT,
    commit_of,
    machine,
    mock_llm,
    parser_of,
    prompts_from,
    run,
    script,
    write_root,
)

WALL_TARGET_S, PEAK_TARGET_MB = 5.0, 500   # at 100,000 answers
# written last: a root without it was cut short and is built again
BUILT = "_built.json"
REAL = 1000   # answers of a root that the scripts make; generate() writes the others
TURNS = 8     # answers to a pull request
AT = "2026-01-01T00:00:00.000000Z"
# fields of a ledger line that are not known without the call
PAID = {"calls", "cost_usd", "seconds", "settings", "how", "at"}


def main() -> None:
    args = parser().parse_args()
    base = args.root or Path(tempfile.mkdtemp(prefix="codedata_resume.", dir=args.tmp))
    try:
        report = {"benchmark": "resume", "history_chars": args.history_chars, **machine(),
                  "repeat": args.repeat,
                  "empty": measure(empty_root(base), 0, args.repeat), "sizes": []}
        for n in sorted(args.n):
            built = build(base / f"root_{n}", n, args.history_chars)
            report["sizes"].append({"n": n, "built": built, "load_1m": round(os.getloadavg()[0], 2),
                                    "costs": measure(base / f"root_{n}", n, args.repeat)})
        report["growth"] = growth(report)
    finally:
        if not args.root:
            shutil.rmtree(base)
    table(report)
    print(json.dumps(report))


def parser() -> argparse.ArgumentParser:
    p = parser_of(__doc__)
    p.add_argument("--n", type=lambda text: [int(n) for n in text.split(",")],
                   default=[10_000, 100_000], metavar="N,N",
                   help="answers in a root (10000,100000)")
    p.add_argument("--history-chars", type=int, default=2000, metavar="N",
                   help="of a prompt (%(default)s)")
    p.add_argument("--repeat", type=int, default=3, metavar="N",
                   help="runs of each command (%(default)s)")
    p.add_argument("--root", type=Path, metavar="DIR",
                   help="where the roots are built and stay (default: temporary)")
    p.add_argument("--tmp", metavar="DIR", help="where the temporary root goes")
    return p


def empty_root(base: Path) -> Path:
    """Return a root without items, to measure only start-up."""
    root = base / "root_0"
    root.mkdir(parents=True, exist_ok=True)
    (root / "chain.toml").touch()
    return root


def build(root: Path, n: int, chars: int) -> dict:
    """Make prompts, PR records and both answers; return the seconds that king.py and ch.py took.
    The scripts make the first REAL answers, generate() writes the others."""
    if (root / BUILT).exists():
        return json.loads((root / BUILT).read_text())
    shutil.rmtree(root, ignore_errors=True)
    started = time.monotonic()
    n_real = min(n, REAL)
    write_root(root, n_real, chars, commits=True, turns=TURNS)
    for path in (root / "prompt").glob("prompts_*"):   # as in a root of n prompts
        path.rename(path.with_name(path.name.replace(f"_{n_real}_", f"_{n}_")))
    (root / "prompt/_ledger.jsonl").write_text((root / "prompt/_ledger.jsonl").read_text().replace(
        f"prompts_{n_real}_", f"prompts_{n}_"))
    built = {"history_chars": chars}
    for name in ("king", "ch"):
        with mock_llm("--latency", 0) as mock:
            (root / "chain.toml").write_text(
                f'[llm]\nbase_url = "{mock.base_url}"\nmodel = "mock"\n'
                "[leak]\nmodels = []\n")
            cost = run(script(f"{name}.py", root, "--workers", 64), root)
        if mock.stats["paid"] != n_real:
            sys.exit(f"{name}.py paid {mock.stats['paid']} calls for {n_real}\n{cost.stderr}")
        built[name] = {"wall_s": round(cost.wall_s, 1),
                       "cpu_ms_a_call": round(1000 * cost.cpu_s / n_real, 2),
                       "peak_mb": round(cost.peak_mb)}
    child = get_context("spawn").Process(target=generate, args=(root, n, chars))
    child.start()
    child.join()
    if child.exitcode:
        sys.exit("the further answers could not be written")
    built["write_root_s"] = round(time.monotonic() - started, 1)
    (root / BUILT).write_text(json.dumps(built))
    return built


def generate(root: Path, n: int, chars: int) -> None:
    """Write the prompts, PR records and answers from REAL on, with their ledger lines, as the
    scripts would. First check that it writes the REAL ones byte for byte, given their replies."""
    sys.path.insert(0, str(PROJECT))
    from codedata.disk.layouts import to_json
    from codedata.disk.ledger import read_lines, to_line
    from codedata.disk.store import digest, digests_of, values_of
    from codedata.records import Answer
    real = {(line["stage"], line["item"]): line
            for line in read_lines(root / "answer/_ledger.jsonl")}
    with ExitStack() as files:
        ledgers = {d: files.enter_context(open(root / d / "_ledger.jsonl", "ab"))
                   for d in ("prompt", "commit", "answer")}
        commit, commit_digests = None, {}
        for first in range(0, n, LIST_LENGTH):
            prompts = prompts_from(first, n, chars, TURNS)
            stem, is_real = f"prompts_{n}_{first // LIST_LENGTH + 1}", first < REAL
            data = [*map(values_of, prompts)]
            entries = []
            for i, prompt in enumerate(prompts, first):
                if not commit or commit.instance_id != prompt.instance_id:
                    commit = commit_of(i // TURNS)
                    commit_digests = digests_of(commit)
                    stat = put(root / f"commit/{commit.instance_id}.json",
                               to_json(values_of(commit)), is_real)
                    is_real or ledgers["commit"].write(to_line({
                        "item": commit.instance_id, "stage": "prompt", "state": "done",
                        "instance_id": commit.instance_id, "wrote": commit_digests, **stat,
                        "at": AT}))
                name, digests = f"{stem}_{prompt.order}", digests_of(prompt)
                path = root / f"answer/{name}.json"
                made = json.loads(path.read_text()) if is_real else {
                    side: reply_of(f"{side} {i}") for side in ("king", "challenger")}
                answer = Answer(prompt.instance_id, prompt.messages, prompt.assistant,
                                king=made["king"], challenger=made["challenger"])
                wrote = digests_of(answer)
                stat = put(path, to_json(values_of(answer)), is_real)
                for stage, line in lines_of(name, prompt.instance_id, digests, wrote,
                                            commit_digests).items():
                    if stage == "ch":   # the king's file was smaller
                        line |= stat
                    if is_real:
                        left = line.keys() ^ real[stage, name].keys()
                        assert left <= PAID | {"size", "mtime_ns"}, left
                        assert line == {key: real[stage, name][key] for key in line}, line
                        continue
                    old = real[stage, f"prompts_{n}_1_1"]
                    call = {**old["calls"][0], "id": f"{stage}{n}-{i}"}
                    ledgers["answer"].write(to_line({**old, **line, "calls": [call], "at": AT}))
                del digests["order"]
                entries.append([prompt.order, prompt.instance_id, digests])
            stat = put(root / f"prompt/{stem}.json", to_json(data), is_real)
            is_real or ledgers["prompt"].write(to_line({
                "item": stem, "wrote": {"entries": digest(data)}, **stat, "entries": entries,
                "stage": "prompt", "state": "done", "at": AT}))


def lines_of(name: str, instance_id: str, prompt: dict, answer: dict, commit: dict) -> dict:
    """Return {stage: its ledger line without what was paid}, given the digests of records."""
    from codedata.duel.variants import COMMIT_FIELDS
    from codedata.run.plan import read_digest
    fields = ("instance_id", "messages", "tools", "several")
    wrote = {f: answer[f] for f in ("instance_id", "messages", "assistant", "king")}
    common = {"item": name, "state": "done", "instance_id": instance_id}
    return {"king": {"stage": "king", **common, "wrote": wrote,
                     "read": read_digest((prompt, fields))},
            "ch": {"stage": "ch", **common, "wrote": {"challenger": answer["challenger"]},
                   "read": read_digest((answer, fields), (commit, COMMIT_FIELDS))}}


def put(path: Path, data: bytes, is_real: bool) -> dict:
    """Write a file, or compare it with the real one; return its part of a ledger line."""
    if is_real:
        assert path.read_bytes() == data, path
    else:
        path.write_bytes(data)
    stat = path.stat()
    return {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns}


def reply_of(key: str) -> str:
    """Return a reply in the form of mock_llm.py's."""
    key = hashlib.sha256(key.encode()).hexdigest()
    return (f"THOUGHT: mock step {key[:8]}; look before changing.\n\n```bash\n"
            "find . -name '*.py' | wc -l\n```")


def measure(root: Path, n: int, repeat: int) -> dict:
    """Return {command: its cost}: the medians of wall and CPU time, and the largest peak memory."""
    figures = {}
    for name in ("king", "ch"):
        for flags in (["--status"], []):
            costs = [run(script(f"{name}.py", root, *flags), root) for _ in range(repeat)]
            if n and f"done {n} " not in costs[-1].stderr.replace(",", " "):
                sys.exit(f"{name}.py should find {n} done:\n{costs[-1].stderr}")
            figures[" ".join([f"{name}.py", *flags])] = {
                "wall_s": round(statistics.median(c.wall_s for c in costs), 2),
                "cpu_s": round(statistics.median(c.cpu_s for c in costs), 2),
                "peak_mb": round(max(c.peak_mb for c in costs))}
    return figures


def growth(report: dict) -> dict:
    """Return how costs without start-up grow from the smallest root to the largest; 1.0 is linear.
    """
    small, large = report["sizes"][0], report["sizes"][-1]
    factor = large["n"] / small["n"]
    out = {}
    for command, figures in large["costs"].items():
        empty, least = report["empty"][command], small["costs"][command]
        out[command] = {key: round((figures[key] - empty[key])
                                   / max(0.01, least[key] - empty[key]) / factor, 2)
                        for key in figures}
    return out


def table(report: dict) -> None:
    def row(name, figures):
        print(f"  {name:<18}" + "".join(f"{figures[k]:>9.2f}"
                                        for k in ("wall_s", "cpu_s", "peak_mb")), file=sys.stderr)

    for size in [{"n": 0, "costs": report["empty"]}, *report["sizes"]]:
        print(f"\n{size['n']:>7,} answers          wall s    CPU s  peak MB", file=sys.stderr)
        for name, figures in size["costs"].items():
            row(name, figures)
    print(f"\ntargets at 100,000: < {WALL_TARGET_S:g} s, < {PEAK_TARGET_MB} MB; growth over "
          "start-up, 1.00 is linear:", file=sys.stderr)
    for name, figures in report["growth"].items():
        row(name, figures)


if __name__ == "__main__":
    main()
