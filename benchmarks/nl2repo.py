"""Measure `nl2repo.py --writer template` on pinned real projects (`nl2repo` in envs.toml): what
share of the functions can be stripped, what becomes of the strips, and of the documents.

  python benchmarks/nl2repo.py --cache DIR                       # all of them
  python benchmarks/nl2repo.py --cache DIR --project sqlparse    # one
  python benchmarks/nl2repo.py --cache DIR --root ROOT           # env/ and coverage/ of there

Environments that are not there are made, by env_setup.py and analyze.py. Strips are made and
screened twice, by two runs in two folders; a sample of the verdicts is made again by the whole
suite in fresh containers. It needs the Docker engine and the package unearth. One JSON line on
stdout, a table on stderr; it exits with 1 where a bar is missed.
"""
import argparse
import json
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from statistics import mean, median

import envs
from bugs import environment_root, records, repo_name, share, unpacked
from measure import machine, run, script

from codedata import cli
from codedata.checks.proof import GOOD, Prover, time_limit
from codedata.checks.screening import Screener
from codedata.code.environments import Environments
from codedata.config import load
from codedata.nl2repo.screen_strips import ALL
from codedata.nl2repo.strip import NESTED, NOT_MEASURED
from codedata.records import Communities, Coverage, Document, RepoDocument, StripPatch
from codedata.sandbox.factory import SandboxFactory
from codedata.store import Store

SETTINGS = "[nl2repo]\nmax_proven_functions = {}\n"
SLOW_S = 3                 # a suite from which on screening has to be cheaper
BARS = {"eligible": 0.7, "fail_to_pass": 0.97, "same": 1.0, "equal": 1.0, "factor": 5,
        "collected": 1.0, "restored": 1.0, "community": 0.9, "documented": 1.0}
SHOWN = ("covered", "eligible", "screened", "fail_to_pass", "same", "equal", "factor", "suite_s",
         "community", "proven", "collected", "restored", "documents", "documented", "n_examples")


def main() -> int:
    args = parser().parse_args()
    args.cache.mkdir(parents=True, exist_ok=True)
    rows = []
    for project in projects():
        if args.project in ("", project["name"]):
            rows.append(measured(project, args))
            print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    report = {"benchmark": "nl2repo", **machine(), "projects": rows, "figures": figures(rows)}
    table(report)
    print(json.dumps(report))
    return 0 if all(one["met"] for one in report["figures"].values()) else 1


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    add = p.add_argument
    add("--cache", type=Path, required=True, metavar="DIR", help="what is kept")
    add("--root", type=Path, help="where env/ and coverage/ are taken from")
    add("--project", default="", metavar="NAME", help="this one alone",
        choices=[one["name"] for one in projects()])
    add("--n", type=int, default=12, help="strips that the whole suite judges, too (%(default)s)")
    add("--functions", type=int, default=12, help="patches of one function to prove (%(default)s)")
    add("--proofs", type=int, default=20, help="patches to prove, drawn by a seed (%(default)s)")
    return p


def projects() -> list[dict]:
    """Return the projects of envs.toml that are meant for this."""
    return [one for one in envs.tomllib.loads(envs.LIST.read_text())["project"]
            if "nl2repo" in one]


def measured(project: dict, args) -> dict:
    """Return all figures of a project."""
    name, source = repo_name(project), unpacked(project, args.cache)
    root = args.root or environment_root(name, source, args.cache)
    works = [fresh(args.cache / "nl2repo" / f"{name}-{k}", root, name, args) for k in (1, 2)]
    steps = "extract,coverage,analysis,communities,screen,patches"
    seconds = [run(nl2repo(work, steps), work).wall_s for work in works]
    row = {"project": name, "nl2repo": project["nl2repo"], "seconds": round(seconds[0], 1),
           "same": ids(works[0]) == ids(works[1])}
    row |= screened(works[0]) | compared(works[0], name, args.n)
    keep_some(works[0], name, args.proofs)
    run(nl2repo(works[0], "meta,proof,doc_part2,doc_part1,doc", "--workers", "2"), works[0], (0, 1))
    return row | proven(works[0]) | documented(works[0])


def fresh(work: Path, root: Path, name: str, args) -> Path:
    """Return a new root with the environment of a repository and its coverage."""
    shutil.rmtree(work, ignore_errors=True)
    for folder in ("env", "coverage"):
        (work / folder).mkdir(parents=True)
        shutil.copy(root / folder / f"{name}.json", work / folder)
    (work / "chain.toml").write_text(SETTINGS.format(args.functions))
    return work


def nl2repo(work: Path, steps: str, *flags: str) -> list:
    return script("nl2repo.py", work, "--writer", "template", "--num-runs", "1", "--steps", steps,
                  *flags)


def ids(work: Path) -> list[tuple]:
    """Return what says which strips there are, and what screening says of each."""
    return sorted((one.id, one.diff, one.screened["verdict"], one.screened["n_failing"])
                  for one in records(work, StripPatch))


def keep_some(work: Path, name: str, n: int) -> None:
    """Remove all patches of a root but those that are to be proven."""
    paths = sorted((work / StripPatch.directory).glob(f"{name}.*.json"))
    for path in random.Random(name).sample(paths, max(0, len(paths) - n)):
        path.unlink()


# strips ------------------------------------------------------------------------------------------

def screened(work: Path) -> dict:
    """Return the share of the functions that can be stripped, and what screening says."""
    found, = records(work, Communities)
    n_left_out = {rule: len(ids) for rule, ids in found.left_out.items()}
    n_covered = len(found.eligible) + sum(n for rule, n in n_left_out.items()
                                          if rule not in (NESTED, NOT_MEASURED))
    functions = [one for one in found.screened if one["kind"] == "function"]
    communities = [one for one in found.screened if one["kind"] == "community"
                   and one["verdict"] == GOOD]
    shares = [min(1.0, one["n_failing"] / one["n_covering"]) for one in communities]
    return {"covered": n_covered, "eligible": share(len(found.eligible), n_covered),
            "left_out": n_left_out, "screened": len(found.screened),
            "verdict": Counter(f"{one['kind']}: {one['verdict']}" for one in found.screened),
            "troubles": [f"{one['functions'][0]}: {one['reason']}" for one in functions
                         if one["verdict"] != GOOD],
            "fail_to_pass": share(sum(one["verdict"] == GOOD for one in functions), len(functions)),
            "communities": len(found.communities),
            "community": round(mean(shares), 4) if shares else 1.0,
            "community_least": round(min(shares), 4) if shares else 1.0}


def compared(work: Path, name: str, n: int) -> dict:
    """Return how many verdicts on strips are those of the whole suite, to the failing tests, and
    how much cheaper they are."""
    settings = load(cli.parser("", "nl2repo", "sandbox").parse_args(["--root", str(work)]))
    host = SandboxFactory(settings, threading.Event())
    environment = Environments(work).open().read(name)
    found, = records(work, Communities)
    coverage, = records(work, Coverage)
    diffs = random.Random(name).sample([one["diff"] for one in found.screened if one["diff"]], n)
    limit_s = time_limit(environment, host.run_timeout_s)
    with Screener(environment, coverage, "", limit_s, host, "bench", ALL) as screener:
        screener.screen([])
        screened_s, shown = timed(lambda: screener.screen(diffs))
    prover = Prover(host, hide_tests=True, max_broken_share=ALL)
    full_s, full = timed(lambda: [prover.quick(environment, diff, "bench") for diff in diffs])
    host.forget("bench")
    starts = {test["name"] for test in coverage.tests if test["starts"]}
    odd = [f"{diff.splitlines()[0]}: {ours and ours.verdict}, {theirs.verdict}; "
           f"{sorted({*ours.failing} ^ {*theirs.broken} if ours else ())[:5]}"
           for diff, ours, theirs in zip(diffs, shown, full, strict=True)
           if not ours or (ours.verdict, {*ours.failing} - starts)
           != (theirs.verdict, {*theirs.broken} - starts)]
    return {"judged": n, "equal": n - len(odd), "differences": odd,
            "suite_s": median(environment.verified.get("test_s") or coverage.measured["seconds"]),
            "screened_s": round(screened_s / n, 3), "full_s": round(full_s / n, 3),
            "factor": round(full_s / screened_s, 1)}


def timed(call) -> tuple:
    """Return (seconds of a call, what it returns)."""
    started = time.monotonic()
    result = call()
    return time.monotonic() - started, result


def proven(work: Path) -> dict:
    """Return how many patches are proven, and of those the share that collects, and that git puts
    back to the byte."""
    tried = [one for one in records(work, StripPatch) if one.proof]
    good = [one for one in tried if one.proof["proven"]]
    n_collected = sum(not run.get("exit_code", 0) & ~1 for one in good for run in one.proof["runs"])
    n_runs = sum(len(one.proof["runs"]) for one in good)
    return {"tried": len(tried), "proven": len(good),
            "kinds": Counter(one.kind for one in good),
            "refused": [f"{one.id}: {one.proof['reason']}" for one in tried
                        if not one.proof["proven"]],
            "proof_s": median([one.proof["seconds"] for one in tried] or [0]),
            "collected": share(n_collected, n_runs),
            "restored": share(sum(restores(one, work) for one in good), len(good))}


def restores(patch: StripPatch, work: Path) -> bool:
    """Return whether git strips the bodies of a copy of the source, and puts them back to the
    byte."""
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder, "source")
        shutil.copytree(work / "nl2repo/_sources" / patch.repo_name, here, symlinks=True)
        before = texts(here)
        codes = [subprocess.run(["git", "apply", "-"], cwd=here, input=diff.encode(), check=False,
                                env={"PATH": "/usr/bin:/bin", "GIT_DIR": folder}).returncode
                 for diff in (patch.diff, patch.proof["patch"])]
        return codes == [0, 0] and texts(here) == before


def texts(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*.py"))
            if path.is_file()}


# documents ---------------------------------------------------------------------------------------

def documented(work: Path) -> dict:
    """Return the shares of stripped functions that are documented, and of examples that run."""
    needed = {id for one in records(work, StripPatch) if one.proof and one.proof["proven"]
              for id in one.functions}
    documents = [one for one in records(work, Document) if one.kind == "function"]
    whole = Store(work, RepoDocument).open()
    shown = {section["subject"] for name in whole.names()
             for section in whole.read(name).sections}
    return {"documents": len(documents), "functions": len(needed),
            "documented": share(len(needed & shown), len(needed)),
            "findings": sum(len(one.checks.get("findings") or []) for one in documents),
            "n_examples": sum(len(one.content.get("examples") or []) for one in documents),
            "missing_names": sum(len(entry["missing"]) for name in whole.names()
                                 for entry in whole.read(name).index.values())}


# the figures -------------------------------------------------------------------------------------

def figures(rows: list[dict]) -> dict:
    """Return each figure with its bar: a share of everything, or of each project the least."""
    def total(part: str, whole: str) -> float:
        return share(sum(row[part] for row in rows), sum(row[whole] for row in rows))

    slow = [row["factor"] for row in rows if row["suite_s"] > SLOW_S]
    values = {
        "eligible": min(row["eligible"] for row in rows),
        "fail_to_pass": min(row["fail_to_pass"] for row in rows),
        "same": float(all(row["same"] for row in rows)), "equal": total("equal", "judged"),
        **({"factor": min(slow)} if slow else {}),
        "community": min(row["community"] for row in rows),
        "collected": min(row["collected"] for row in rows),
        "restored": min(row["restored"] for row in rows),
        "documented": min(row["documented"] for row in rows)}
    return {name: {"value": value, "bar": BARS[name], "met": value >= BARS[name]}
            for name, value in values.items()}


def table(report: dict) -> None:
    """Print a line for each figure of each project, and each bar."""
    rows = report["projects"]
    print(f"{'':<15}" + "".join(f"{row['project']:>12}" for row in rows), file=sys.stderr)
    for key in SHOWN:
        print(f"{key:<15}" + "".join(f"{row[key]!s:>12}" for row in rows), file=sys.stderr)
    for name, one in report["figures"].items():
        print(f"{name:<20}{one['value']:>10}  at least {one['bar']:<6} "
              f"{'' if one['met'] else 'MISSED'}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
