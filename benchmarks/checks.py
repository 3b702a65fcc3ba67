"""Measure the search for near-duplicates and for texts of benchmarks: recall, false positives, CPU
time and memory.

Texts are made of lines of the standard library and the installed packages, with duplicates and
benchmark texts planted in them. Each part runs in its own process, to measure its memory.

  python benchmarks/checks.py                              # full size: about five minutes
  python benchmarks/checks.py --n 5000 --samples 500       # smaller
  python benchmarks/checks.py --part duplicates            # one part

One JSON line on stdout, a table on stderr. benchmarks/README.md defines the figures.
"""
import argparse
import json
import random
import resource
import sys
import sysconfig
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
from measure import PROJECT, Others, machine, parser_of, run

TEXT_CHARS, SAMPLE_CHARS, PLANTED = 4000, 25_000, 1000
THRESHOLD = 0.8


def main() -> None:
    args = parser().parse_args()
    sys.path.insert(0, str(PROJECT))
    if args.child:
        print(json.dumps({**PARTS[args.child](args), "peak_mb": peak_mb()}))
        return
    report = {"benchmark": "checks", **machine()}
    with tempfile.TemporaryDirectory(prefix="codedata_checks.") as folder:
        for part in [args.part] if args.part else PARTS:
            others = Others()
            flags = ["--child", part, "--n", args.n, "--rows", args.rows, "--samples", args.samples]
            cost = run([sys.executable, Path(__file__).resolve(), *flags], Path(folder))
            report[part] = {**json.loads(cost.stdout),
                            "cores_used_by_others": others.cores(cost.cpu_s)}
    table(report)
    print(json.dumps(report))


def parser() -> argparse.ArgumentParser:
    p = parser_of(__doc__)
    p.add_argument("--n", type=int, default=100_000, help="texts for near-duplicates (%(default)s)")
    p.add_argument("--rows", type=int, default=5000, help="rows of the benchmark (%(default)s)")
    p.add_argument("--samples", type=int, default=10_000,
                   help="samples to decontaminate (%(default)s)")
    p.add_argument("--part", choices=PARTS)
    p.add_argument("--child", choices=PARTS, help=argparse.SUPPRESS)
    return p


class Clock:
    """Sum the CPU seconds of `with` blocks."""

    def __init__(self):
        self.s = 0.0

    def __enter__(self):
        self._started = time.process_time()

    def __exit__(self, *_):
        self.s += time.process_time() - self._started


def peak_mb() -> float:
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)


def code_lines(least_mb: float) -> list[str]:
    """Return the non-blank lines of Python files of the standard library and the packages, in the
    order of their names, from about `least_mb` MB of files.
    """
    out, size = [], 0
    for folder in (sysconfig.get_path("stdlib"), sysconfig.get_path("purelib")):
        for path in sorted(Path(folder).rglob("*.py")):
            if size < least_mb * 1e6 and (folder != sysconfig.get_path("stdlib")
                                          or "site-packages" not in path.parts):
                text = path.read_text(encoding="utf-8", errors="replace")
                out += [line for line in text.split("\n") if line.strip()]
                size += len(text)
    return out


def code_text(draw: random.Random, lines: list[str], chars: int) -> str:
    """Return random runs of eight lines, together at most `chars` characters."""
    out, size = [], 0
    while size < chars:
        at = draw.randrange(len(lines))
        out += lines[at:at + 8]
        size += sum(map(len, lines[at:at + 8])) + 8
    return "\n".join(out)[:chars]


# parts: each returns its figures

def duplicates(args) -> dict:
    from codedata.checks.duplicates import WordHashes, jaccard, near_duplicates, shingles, words
    draw, lines, word_hashes = random.Random(1), code_lines(40), WordHashes()
    texts = [(f"text {i}", code_text(draw, lines, TEXT_CHARS)) for i in range(args.n)]
    n_planted = min(PLANTED, args.n // 2)
    copies = [(f"copy {i}", edited(draw, text, draw.uniform(0, 0.06)))
              for i, (_, text) in enumerate(texts[:n_planted])]
    similarities = [jaccard(shingles(text, word_hashes), shingles(copy, word_hashes))
                    for (_, text), (_, copy) in zip(texts, copies, strict=False)]
    before_mb, clock, floor, started = peak_mb(), Clock(), Clock(), time.perf_counter()
    with clock:
        found = near_duplicates(texts + copies, threshold=THRESHOLD)
    wall_s, peak = time.perf_counter() - started, peak_mb()
    with floor:
        for _, text in texts:
            words(text)
    every_text, listed = dict(texts + copies), {duplicate.name for duplicate in found}
    wrong = sum(jaccard(shingles(every_text[d.name], word_hashes),
                        shingles(every_text[d.of], word_hashes)) < THRESHOLD for d in found)

    def recall(least: float, most: float) -> list[int]:
        there = [f"copy {i}" in listed for i, similarity in enumerate(similarities)
                 if least <= similarity < most]
        return [sum(there), len(there)]
    return {"n": len(every_text), "text_mb": round(sum(map(len, every_text.values())) / 1e6, 1),
            "wall_s": round(wall_s, 1), "cpu_s": round(clock.s, 1),
            "cpu_over_words": round(clock.s / floor.s, 1),
            "mb_more": round(peak - before_mb, 1), "listed": len(found), "wrong": wrong,
            "found_just_above": recall(THRESHOLD, THRESHOLD + 0.05),
            "found_0.05_above": recall(THRESHOLD + 0.05, 2),
            "found_exactly_at": found_exactly_at(args.n // 5)}


def found_exactly_at(n_pairs: int) -> list[int]:
    """Return [pairs found, pairs], for pairs of texts of random words with the similarity
    480 / 600.
    """
    from codedata.checks.duplicates import near_duplicates
    draw, n_found = np.random.default_rng(7), 0
    for _ in range(n_pairs):
        random_words = [f"{number:x}" for number in draw.integers(0, 2**63, 604, dtype=np.uint64)]
        one = random_words[:544]   # words, which make 540 shingles
        other = [*random_words[:484], *random_words[544:]]
        n_found += len(near_duplicates([("one", " ".join(one)), ("other", " ".join(other))],
                                       threshold=THRESHOLD))
    return [n_found, n_pairs]


def contamination(args) -> dict:
    from codedata.checks.benchmark_rows import BenchmarkRow
    from codedata.checks.contamination import Benchmarks, Material
    from codedata.checks.duplicates import words
    draw, lines = random.Random(2), code_lines(40)
    prose = sorted({word for line in lines[:200_000] for word in words(line)
                    if word.isalpha() and len(word) > 2})
    rows = [BenchmarkRow("rows", f"a__b-{i}", (f"a__b-{i}",), " ".join(draw.choices(prose, k=250)),
                patch=patch(draw, prose, 40), test_patch=patch(draw, prose, 60))
            for i in range(args.rows)]
    before_mb, index_clock, clock, floor = peak_mb(), Clock(), Clock(), Clock()
    with index_clock:
        benchmarks = Benchmarks(rows)
    hit = 0
    for _ in range(args.samples):
        sample = Material("", "", "", {"issue": " ".join(draw.choices(prose, k=200)),
                                       "history": code_text(draw, lines, SAMPLE_CHARS)})
        with clock:
            hit += bool(benchmarks.hits(sample))
        with floor:
            for text in sample.texts.values():
                words(text)
    mb_more = peak_mb() - before_mb
    found = Counter()
    for row in draw.sample(rows, min(200, len(rows))):
        for variant, text in variants(draw, row).items():
            around = code_text(draw, lines, SAMPLE_CHARS)
            sample = Material("", "", "", {"history": f"{around[:9000]}\n{text}\n{around[9000:]}"})
            found[variant] += row.row_id in {hit.row_id for hit in benchmarks.hits(sample)}
    return {"rows": len(benchmarks), "samples": args.samples, "sample_chars": SAMPLE_CHARS,
            "index_cpu_s": round(index_clock.s, 1),
            "cpu_ms_a_sample": round(1000 * clock.s / args.samples, 2),
            "cpu_over_words": round(clock.s / floor.s, 1), "mb_more": round(mb_more, 1),
            "clean_hit": hit, "planted": min(200, len(rows)), "found": dict(found),
            "samples_folder": samples_folder()}


def edited(draw: random.Random, text: str, share: float) -> str:
    """Return the text with about this share of its words changed, removed or doubled."""
    words = text.split(" ")
    for at in draw.sample(range(len(words)), round(share * len(words))):
        words[at] = draw.choice((f"new{at}", "", f"{words[at]} {words[at]}"))
    return " ".join(words)


def patch(draw: random.Random, prose: list[str], n_lines: int) -> str:
    added = [f"    {name} = {'.'.join(more)}({more[0]}={draw.randrange(99)})"
             for name, *more in (draw.choices(prose, k=5) for _ in range(n_lines))]
    return f"--- a/x.py\n+++ b/x.py\n@@ -0,0 +1,{n_lines} @@\n" + "".join(
        f"+{line}\n" for line in added)


def variants(draw: random.Random, row) -> dict[str, str]:
    """Return {description: form} of a row's texts as a sample may contain them."""
    statement, added = row.statement.split(), [line[1:] for line in row.patch.split("\n")[3:-1]]
    return {
        "the statement": row.statement,
        "the statement, laid out anew": ",\n> ".join(" ".join(statement[i:i + 9]).upper()
                                                     for i in range(0, 250, 9)),
        "40 words of it": " ".join(statement[100:140]),
        "13 words of it": " ".join(statement[100:113]),
        "every 20th word changed": " ".join("changed" if i % 20 == 0 else word
                                            for i, word in enumerate(statement)),
        "every 10th word changed": " ".join("changed" if i % 10 == 0 else word
                                            for i, word in enumerate(statement)),
        "the gold patch": row.patch,
        "the code of the gold patch": "\n".join(added),
        "five lines of it": "\n".join(added[10:15]),
        "the test patch": row.test_patch,
    }


def samples_folder() -> dict:
    """Use each half of the PRs in samples/ as a benchmark: count the hits among samples of this
    half ("known") and among the others.
    """
    from codedata.checks.contamination import Benchmarks, Material
    rows = json.loads((PROJECT / "samples" / "prs.json").read_text(encoding="utf-8"))
    histories = [(row["instance_id"],
                  {"history": "\n".join(message["content"] for message in row["messages"])})
                 for row in json.loads(
                     (PROJECT / "samples" / "trajectories.json").read_text(encoding="utf-8"))]
    names = ("problem_statement", "pr_description", "patch", "test_patch")
    prs = [(row["instance_id"], {name: row[name] for name in names}) for row in rows]
    out = Counter()
    for half in (0, 1):
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump(rows[half::2], file)
            file.flush()
            benchmarks, known = Benchmarks.load([file.name]), {row["instance_id"]
                                                               for row in rows[half::2]}
        for name, samples in (("prs", prs), ("trajectories", histories)):
            for instance_id, texts in samples:
                hits = benchmarks.hits(Material("", "", "", texts))
                if instance_id in known:
                    out[f"{name}_known"] += 1
                    out[f"{name}_known_found"] += instance_id in {hit.row_id for hit in hits}
                else:
                    out[f"{name}_other"] += 1
                    out[f"{name}_other_hit"] += bool(hits)
    return dict(out)


PARTS = {"duplicates": duplicates, "contamination": contamination}


def table(report: dict) -> None:
    for part in PARTS:
        if part in report:
            print(f"\n{part}", file=sys.stderr)
            for key, value in report[part].items():
                print(f"  {key:<28} {value}", file=sys.stderr)


if __name__ == "__main__":
    main()
