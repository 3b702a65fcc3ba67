"""Measure the page of a duel: to build, carry, open and use it. 10,000 turns with histories of 20
kB.

Builds the page from rows and records made here (texts are pieces of Python's own library, which
deflate about as histories of coding agents do), then opens it in a headless Chromium: until its
table is drawn, a search, a filter, a sort, a turn. It is compared with a page of the same bytes
that only marks that it has been read: no page could be faster.

  python benchmarks/page.py                    # needs chromium and playwright (the extra `dev`)
  python benchmarks/page.py --n 10000 --history-chars 26000

One JSON line on stdout, a table on stderr. benchmarks/README.md says what is counted.
"""
import argparse
import json
import random
import re
import resource
import shutil
import statistics
import sys
import sysconfig
import tempfile
import time
from functools import cache
from pathlib import Path

from measure import PROJECT, machine

sys.path.insert(0, str(PROJECT))
from codedata.page.builder import Packed, build
from codedata.records import METRICS, Answer, Duel, Score
from codedata.report.content import ReportContent
from codedata.report.html_page import html as report_page
from codedata.report.turn_rows import TurnRow
from codedata.report.verdict_codes import verdict_codes
from codedata.settings import ReportSettings

OPEN_TARGET_S, SIZE_TARGET_MB = 3.0, 30.0
PANEL = ["judge-a", "judge-b", "judge-c"]
PIECES = (300, 1500, 4000)   # characters of a message
RUNS = 5
STEPS = {"first_search_ms": "q=def", "search_ms": "q=self",
         "filter_ms": "bucket=refined&judge=judge-b&verdict=c",
         "sort_ms": "sort=-score", "turn_ms": "turn={turn}"}   # addresses: the page follows them
STEP = """async anchor => {
    const started = performance.now();
    const changed = new Promise(done => addEventListener('hashchange', done, {once: true}));
    location.hash = anchor;
    await changed;
    do await new Promise(done => requestAnimationFrame(done));
    while (anchor.startsWith('turn=') && !document.getElementById('reader').open);
    return performance.now() - started;
}"""   # till the frame after it
SEEN = """() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(
    Math.max(performance.getEntriesByName('ready')[0].startTime,
             performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0)))))"""


def main() -> None:
    args = parser().parse_args()
    started = time.perf_counter()
    html = a_page(args)
    build_s = time.perf_counter() - started
    turns = sorted(map(int, re.findall(rb'id="block-turn-(\d+)"', html)))
    turn = f"prompts_{args.n}_{turns[-1] // 200 + 1}_{turns[-1] % 200 + 1}"
    report = {"benchmark": "page", "n": args.n, "history_chars": args.history_chars, **machine(),
              "build_s": round(build_s, 2), "page_mb": round(len(html) / 1e6, 2),
              "turns_in_full": len(turns),
              "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
              **in_browser(html, turn)}
    print(f"\n{args.n:,} turns: {report['page_mb']} MB (target under {SIZE_TARGET_MB:g})",
          f"built in {report['build_s']} s",
          f"open {report['open_ms']} ms (target under {1000 * OPEN_TARGET_S:g}), the same bytes "
          f"alone {report['floor_open_ms']} ms",
          *(f"{name} {report[name]}" for name in STEPS), sep="\n", file=sys.stderr)
    print(json.dumps(report))


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--n", type=int, default=10_000, help="turns (%(default)s)")
    p.add_argument("--history-chars", type=int, default=20_000, metavar="N",
                   help="of a turn (%(default)s)")
    return p


@cache
def python_source() -> str:
    library = Path(sysconfig.get_paths()["stdlib"])
    return "".join(path.read_text(encoding="utf-8", errors="replace")
                   for path in sorted(library.glob("*.py")))


def draw_text(draw: random.Random, chars: int) -> str:
    start = draw.randrange(len(python_source()) - chars)
    return python_source()[start:start + chars]


def draw_verdicts(draw: random.Random) -> list[dict]:
    return [{"judge": judge, "order": order, "parse_ok": True, "raw": draw_text(draw, 400),
             "reason": draw_text(draw, 200),
             "scores": {metric: draw.choice((0, 0.5, 1, 1)) for metric in METRICS},
             "seconds": 3.2, "attempt": 1,
             "usage": {"tokens_in": 9000, "tokens_out": 150, "cost_usd": 0.001}}
            for judge in PANEL for order in ("king_first", "challenger_first")]


def a_row(i: int, n: int) -> TurnRow:
    draw, name = random.Random(i), f"prompts_{n}_{i // 200 + 1}_{i % 200 + 1}"
    score, repo = draw.uniform(20, 100), f"repo{i % 1500}"
    return TurnRow(
        name, draw.choice(("python", "go", "javascript", "rust")), score,
        {metric: draw.uniform(0, 100) for metric in METRICS},
        styles=(draw.choice(("explore", "test")), "edit"),
        repeats=("king",) if not i % 9 else (), injections=(),
        bucket="final" if score >= 80 else "refined" if score >= 66 else "defeat",
        instance_id=f"owner__{repo}-{i}", repo=f"owner/{repo}",
        commands=(draw_text(draw, 150), draw_text(draw, draw.choice((100, 300, 1200)))),
        verdicts=verdict_codes(draw_verdicts(draw), PANEL, "both"),
        files=(f"answer/{name}.json", f"score/{name}.json"))


def a_record(name: str, history_chars: int) -> tuple[Answer, Score]:
    draw, messages, left = random.Random(name), [], history_chars
    while left > 0:
        chars = min(left, draw.choice(PIECES))
        messages.append({"role": ("assistant", "user")[len(messages) % 2],
                         "content": draw_text(draw, chars)})
        left -= chars
    turns = [f"THOUGHT: {draw_text(draw, 300)}\n\n```bash\n{draw_text(draw, 200)}\n```"
             for _ in range(3)]
    score = Score("i", name, "king", True, 50.0, {}, "", draw_verdicts(draw))
    return Answer("i", messages, *turns), score


def a_page(args) -> bytes:
    metrics = dict.fromkeys(METRICS, 60.0)
    judge = {"score": 60.0, "metrics": metrics, "parse_rate": 1.0}
    duel = {"mode": "king", "order": "both", "challenger_score": 60.0, "king_score": 40.0,
            "margin": 20.0, "interval": [18.0, 22.0], "lcb": 0.09, "lcb_turn": 0.09,
            "lcb_cluster": 0.09, "bootstrap": "cluster", "instances": args.n, "turns": args.n,
            "parsed_frac": 1.0, "accepted": True, "reasons": [], "win_margin": 2.0,
            "gate_alpha": 0.05, "seed": 0, "resamples": 10_000, "classic": None, "panel": {},
            "metrics": metrics, "judges": {name: {**judge, "model": name} for name in PANEL}}
    content = ReportContent(Duel.of(duel), [a_row(i, args.n) for i in range(args.n)], costs=[],
                            counts=[], sections=[], trials=[], refined=[])
    return report_page(content, ReportSettings(), lambda name: a_record(name, args.history_chars))


def floor_of(html: bytes) -> bytes:
    """Return a page with the same data and blocks that does nothing with them."""
    data = re.search(rb'id="data">(.*?)</script>', html)[1]
    found = re.findall(rb'id="block-([^"]+)">([^<]*)</script>', html)
    blocks = {name.decode(): Packed(text) for name, text in found}
    script = 'document.getElementById("main").textContent = "read";\nperformance.mark("ready");'
    return build("floor", json.loads(data), blocks=blocks, script=script)


def in_browser(html: bytes, turn: str) -> dict:
    """Return medians. `turn`: one that is in the page in full."""
    # only here: a benchmark of no other kind needs it
    from playwright.sync_api import sync_playwright
    path = shutil.which("chromium") or sys.exit(
        "no chromium on this machine (Debian: apt-get install chromium)")
    figures: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="codedata_page.") as folder, sync_playwright() as play:
        browser = play.chromium.launch(executable_path=path, chromium_sandbox=False,
                                       args=["--disable-dev-shm-usage"])
        for name, content in (("page", html), ("floor", floor_of(html))):
            Path(folder, f"{name}.html").write_bytes(content)
        for _ in range(RUNS):
            for name, key in (("page", "open_ms"), ("floor", "floor_open_ms")):
                tab = browser.new_page()
                tab.goto(Path(folder, f"{name}.html").as_uri())
                figures.setdefault(key, []).append(tab.evaluate(SEEN))
                for step, anchor in STEPS.items() if name == "page" else ():
                    took = tab.evaluate(STEP, anchor.format(turn=turn))
                    figures.setdefault(step, []).append(took)
                tab.close()
        browser.close()
    return {key: round(statistics.median(values)) for key, values in figures.items()}


if __name__ == "__main__":
    main()
