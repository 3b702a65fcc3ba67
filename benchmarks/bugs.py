"""Measure `bug_inject.py scale` on pinned real projects (`bugs` in envs.toml), beside SWE-smith
0.0.9 and beside a fresh container and the whole suite for each candidate.

  python benchmarks/bugs.py --cache DIR                      # all of them: hours on 2 cores
  python benchmarks/bugs.py --cache DIR --project boltons    # "many": 100,000 candidates
  python benchmarks/bugs.py --cache DIR --root ROOT          # env/, coverage/, analysis/ of there

Environments that are not there are made, by env_setup.py and analyze.py. One worker screens, in
turn with SWE-smith's flow and with --full on the same candidates; then the scripts are run with
two. It needs the Docker engine and the package unearth. One JSON line on stdout, a table on stderr;
it exits with 1 where a bar is missed.
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
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from statistics import geometric_mean, mean, median
from typing import NamedTuple

import envs
from measure import PROJECT, machine, run, script

sys.path.insert(0, str(PROJECT / "benchmarks" / "callgraph"))
from releases import environment as python_with

from codedata import cli
from codedata.bugs.instances import SCALE, ProvenBug
from codedata.bugs.kind import Bugs
from codedata.bugs.preprocess import Analyses
from codedata.code.entities import Rules, read_sources
from codedata.code.operators import unique_edits
from codedata.code.patches import normalised
from codedata.config import load
from codedata.errors import Excluded
from codedata.records import BUG, BugConfig, Candidates, Task, Verdicts
from codedata.sandbox.factory import SandboxFactory
from codedata.store import Store, all_readable, digest
from codedata.suites.environments import Environments
from codedata.tasks.first_run import first_run
from codedata.tasks.kinds import Candidate
from codedata.tasks.prove import PatchProver
from codedata.tasks.screen import Screener
from codedata.tasks.suite_outcomes import GOOD

HERE = Path(__file__).resolve().parent
MANY, EACH = "many", 10_000   # candidates of a repository, of which there are one, then ten
N_GENERATED, N_FEWER = 400, 120   # of a project: what two workers judge; fewer where tests are slow
N_WRITTEN = 6                 # of a project: what is proven
N_FLOW, FLOW_S = 20, 120      # candidates in SWE-smith's flow, and its seconds for a suite
LIMITS = ("--network=none", "--memory=5g", "--pids-limit=4096")   # as ours have
SETTINGS = "[bug]\nmax_candidates = {}\nmax_instances = {}\n"
BARS = {"candidates_a_s": 2000, "factor": 10, "equal": 0.995, "exact": 0.95, "wall": 20,
        "confirmed": 1.0}     # at least
LIGHT = ("voluptuous", "toolz")   # suites
SHOWN = ("candidates_a_s", "peer_a_s", "screened_s", "flow_s", "full_s", "factor", "judged",
         "equal", "good", "exact", "exact_all", "wall", "good_share", "subtle", "written",
         "confirmed", "proof_s")


def main() -> int:
    args = parser().parse_args()
    args.cache.mkdir(parents=True, exist_ok=True)
    rows = []
    for project in projects():
        if args.project in ("", project["name"]):
            rows.append(measured(project, args))
            print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    report = {"benchmark": "bugs", **machine(), "projects": rows, "figures": figures(rows)}
    if args.project in ("", MANY):
        report[MANY] = [many(n, args) for n in (1, 10)]
    table(report)
    print(json.dumps(report))
    return 0 if all(one["met"] for one in report["figures"].values()) else 1


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    add = p.add_argument
    add("--cache", type=Path, required=True, metavar="DIR", help="what is kept")
    add("--root", type=Path, help="where env/, coverage/ and analysis/ are taken from")
    add("--project", default="", metavar="NAME", help="this one alone",
        choices=[*(one["name"] for one in projects()), MANY])
    add("--n", type=int, default=60, help="candidates that --full judges, too (%(default)s)")
    return p


def projects() -> list[dict]:
    """Return the projects of envs.toml that are meant for this."""
    return [one for one in envs.tomllib.loads(envs.LIST.read_text())["project"] if "bugs" in one]


def measured(project: dict, args) -> dict:
    """Return all figures of a project."""
    name, source = repo_name(project), unpacked(project, args.cache)
    work = args.cache / "work" / name
    shutil.rmtree(work, ignore_errors=True)
    root = args.root or environment_root(name, source, args.cache)
    for folder in ("env", "coverage", "analysis"):
        (work / folder).mkdir(parents=True)
        shutil.copy(root / folder / f"{name}.json", work / folder)
    n_generated = N_GENERATED if name in LIGHT else N_FEWER
    (work / "chain.toml").write_text(SETTINGS.format(n_generated, N_WRITTEN))
    scale(work, "register,generate")
    row = {"project": name, "bugs": project["bugs"]}
    if project["bugs"] != "other":
        row |= generation(source, args.cache) | screening(work, name, args)
    return row | judged_by_two(work) | proofs(work, name)


# projects ----------------------------------------------------------------------------------------

def repo_name(project: dict) -> str:
    """Return the name under which a project stands in env/."""
    return project["name"].removeprefix("golang-github-masterminds-").removesuffix("-dev")


def unpacked(project: dict, cache: Path) -> Path:
    """Return the folder of a project's release; it is downloaded once."""
    folder = cache / "sources" / repo_name(project)
    if not folder.is_dir():
        with tempfile.TemporaryDirectory(dir=cache) as making:
            found = envs.unpacked(envs.fetch(project, cache), Path(making))
            shutil.copytree(found, folder, symlinks=True)
    return folder


def environment_root(name: str, source: Path, cache: Path) -> Path:
    """Return a root with the environment of a source, its coverage and its analysis; they are made
    once."""
    root, rows = cache / "root", cache / f"{name}.jsonl"
    root.mkdir(exist_ok=True)
    (root / "chain.toml").touch()
    rows.write_text(json.dumps({"repo": name, "repo_name": name, "reformat_path": str(source)}))
    run(script("env_setup.py", root, "--input", rows, "--planner", "recipe"), root)
    run(script("analyze.py", root, "--only", name), root)
    return root


def scale(work: Path, steps: str, *flags: str):
    """Run steps of bug_inject.py, and return their cost."""
    return run(script("bug_inject.py", work, "scale", "--steps", steps, *flags), work, (0, 1))


def records(work: Path, cls) -> list:
    """Return the records of a kind in a root."""
    store = Store(work, cls).open()
    return [store.read(name) for name in store.names()]


def opened(work: Path, name: str) -> tuple:
    """Return the environment of a repository, the sandboxes' factory and the proof."""
    settings = load(cli.parser("", "bug", "sandbox").parse_args(["--root", str(work)]))
    host = SandboxFactory(settings, threading.Event())
    kind = Bugs(SCALE, settings)
    return Environments(work).open().read(name), host, PatchProver(kind, host), kind.rules


# in memory ---------------------------------------------------------------------------------------

def generation(source: Path, cache: Path) -> dict:
    """Return the rates of unique candidates that parse, ours and SWE-smith's, of the same files."""
    files = [file for file in read_sources(source, Rules()).files
             if file.language == "python" and not file.is_test]
    unique_edits(replace(files[0], text=b"x = 1\n"))   # which compiles the queries
    seconds = []
    for _ in range(3):
        started = time.process_time()
        n = sum(len(unique_edits(file)) for file in files)
        seconds.append(time.process_time() - started)
    peer = python_with(cache / "swesmith", sys.executable, "-r", HERE / "bugs_peer.txt")
    done = subprocess.run([peer, HERE / "bugs_peer.py", source], check=True, text=True,
                          input="\n".join(file.path for file in files), stdout=subprocess.PIPE)
    theirs = json.loads(done.stdout)
    return {"candidates": n, "candidates_a_s": round(n / median(seconds)), "peer": theirs,
            "peer_a_s": round(theirs["candidates"] / theirs["seconds"])}


# screening ---------------------------------------------------------------------------------------

def screening(work: Path, name: str, args) -> dict:
    """Return how fast one worker screens candidates beside the other flows, and how right it is."""
    environment, host, _, rules = opened(work, name)
    coverage = Analyses(work, key="tests").open().read(name)
    config = Store(work, BugConfig).open().read(name)
    diffs = [one["diff"] for record in records(work, Candidates) for one in record.candidates]
    diffs = random.Random(name).sample(diffs, min(args.n, len(diffs)))
    in_flow, half = diffs[:N_FLOW], N_FLOW // 2
    flow = [smith_flow(environment, diff) for diff in in_flow[:half]]
    with Screener(environment, coverage, config.timeout_s, host, "bench", rules) as screener:
        warm_s, _ = timed(screener.screen, [])
        screened_s, shown = timed(screener.screen, diffs)
    flow += [smith_flow(environment, diff) for diff in in_flow[half:]]
    full_s, full = timed(lambda: [first_run(environment, diff, host, "bench", rules)
                                  .screened for diff in diffs])
    found = [Found(diff, *({*one.failing} if one.verdict == GOOD else set()
                           for one in (ours, true)), true.reason)
             for diff, ours, true in zip(diffs, shown, full, strict=True) if ours]
    times = {"screened_s": screened_s / len(diffs), "flow_s": mean(flow),
             "full_s": full_s / len(diffs), "warm_s": warm_s}
    row = {key: round(seconds, 3) for key, seconds in times.items()}
    return row | {"factor": round(times["flow_s"] / times["screened_s"], 1), "judged": len(found),
                  "how": Counter(one.how if one else "left to the whole suite" for one in shown),
                  **agreement(found, {one["name"] for one in coverage.tests if one["starts"]})}


class Found(NamedTuple):
    """Hold the failing tests of a candidate that is good, none of another: by screening, and by
    --full, with why it is none."""

    diff: str
    ours: set[str]
    true: set[str]
    trouble: str


def agreement(found: list[Found], starts: set[str]) -> dict:
    """Return how many verdicts are those of --full, and failing sets without and with the tests
    that start processes; and all differences."""
    good = [one for one in found if one.ours and one.true]
    odd = [one for one in found if bool(one.ours) != bool(one.true)]
    inexact = [one for one in good if one.ours - starts != one.true - starts]
    return {"equal": len(found) - len(odd), "good": len(good), "exact": len(good) - len(inexact),
            "exact_all": sum(one.ours == one.true for one in good),
            "differences": [f"{one.diff}more {sorted(one.ours - one.true)}, "
                            f"lost {sorted(one.true - one.ours)} {one.trouble}"
                            for one in odd + inexact]}


def timed(call, *words) -> tuple:
    """Return (seconds of a call, what it returns)."""
    started = time.monotonic()
    result = call(*words)
    return time.monotonic() - started, result


def smith_flow(environment, diff: str) -> float:
    """Return the seconds of SWE-smith's flow on a candidate: a container is made, the patch put
    into it and applied, the script put into it, the whole suite run, the container removed."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "patch").write_text(diff)
        Path(folder, "eval.sh").write_text(environment.test_script)
        started = time.monotonic()
        box = docker("run", "-d", *LIMITS, "--entrypoint", "sleep", environment.image_name,
                     "infinity").strip()
        docker("cp", f"{folder}/patch", f"{box}:/tmp/patch")
        docker("exec", box, "git", "-c", "safe.directory=*", "apply", "/tmp/patch")
        docker("cp", f"{folder}/eval.sh", f"{box}:/eval.sh")
        docker("exec", box, "timeout", str(FLOW_S), "bash", "/eval.sh")
        docker("rm", "-f", box)
        return time.monotonic() - started


def docker(*words: str) -> str:
    return subprocess.run(["docker", *words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                          text=True, errors="replace").stdout


# by the scripts ----------------------------------------------------------------------------------

def judged_by_two(work: Path) -> dict:
    """Return what two workers of `validate` make of all candidates, and how fast."""
    cost = scale(work, "validate", "--workers", "2")
    made = {digest(one["diff"]): one["operator"] for record in records(work, Candidates)
            for one in record.candidates}
    verdicts = [one for record in records(work, Verdicts) for one in record.verdicts]
    good = [one for one in verdicts if one["good"]]
    n_good = Counter(made[one["diff"]] for one in good)
    n_judged = Counter(made[one["diff"]] for one in verdicts)
    subtle = sum(one["evidence"]["grade"] == "subtle" for one in good)
    return {"wall": round(len(verdicts) / cost.wall_s, 1), "verdicts": len(verdicts),
            "verdict": Counter(one["evidence"]["verdict"] for one in verdicts),
            "good_share": share(len(good), len(verdicts)), "subtle": share(subtle, len(good)),
            "operators": {name: f"{n_good[name]} of {n}" for name, n in n_judged.most_common()}}


def proofs(work: Path, name: str) -> dict:
    """Return how many bugs are written, how many of them are proven once more, and the seconds."""
    scale(work, "report", "--workers", "2")
    environment, host, prover, _ = opened(work, name)
    seconds, n_confirmed, bugs = [0.0], 0, [*map(ProvenBug.of, all_readable(work, Task, BUG))]
    for bug in bugs:
        docker("rmi", "-f", bug.image)
        candidate = Candidate(bug.instance_id, name, environment.base_commit, bug.bug_patch, "",
                              "procedural")
        with suppress(Excluded):   # it is not confirmed
            took_s, task = timed(lambda one=candidate: prover.prove(
                one, "bench", environment, None, None))
            seconds.append(took_s)
            again = ProvenBug.of(task)
            docker("rmi", "-f", again.image)
            n_confirmed += again.failing == bug.failing
        host.forget("bench")
    return {"written": len(bugs), "confirmed": n_confirmed, "proof_s": round(median(seconds), 1)}


def share(part: int, whole: int) -> float:
    return round(part / whole, 4) if whole else 1.0


# many candidates ---------------------------------------------------------------------------------

def many(n: int, args) -> dict:
    """Return what steps cost on n repositories of many candidates: copies of boltons, without
    coverage. Each candidate gets a good verdict that is drawn."""
    work, draw = args.cache / "work" / MANY, random.Random(0)
    shutil.rmtree(work, ignore_errors=True)
    (work / "env").mkdir(parents=True)
    (work / "chain.toml").write_text(SETTINGS.format(EACH, 1))
    environment = json.loads(((args.root or args.cache / "root") / "env/boltons.json").read_text())
    tests = [case["name"] for case in environment["test_case_result"]]
    for i in range(n):
        (work / "env" / f"b{i}.json").write_text(json.dumps(environment | {"repo_name": f"b{i}"}))
    costs = {"generate": scale(work, "register,generate")}
    verdicts, candidates = (Store(work, cls).open() for cls in (Verdicts, Candidates))
    row: dict = {"n": 0}
    for item in candidates.names():
        one = candidates.read(item)
        row["n"] += len(one.candidates)
        made = [drawn_verdict(made, one.repo_name, tests, draw) for made in one.candidates]
        verdicts.put(item, Verdicts(one.repo, one.repo_name, one.base_commit, made, 1.0), ())
    costs["status"] = scale(work, "all", "--status")
    for step in ("proof", "report"):   # the second time there is nothing to prove
        costs[step] = scale(work, "report", "--only", "b0.*")
    return row | {step: f"{one.wall_s:.1f} s, {one.peak_mb:.0f} MB" for step, one in costs.items()}


def drawn_verdict(candidate: dict, name: str, tests: list[str], draw: random.Random) -> dict:
    diff = candidate["diff"]
    id = f"{name}.{candidate['operator']}.{normalised(diff)[:8]}"
    return {"diff": digest(diff), "good": True, "reason": "", "instance_id": id,
            "evidence": {"verdict": GOOD, "failing": draw.sample(tests, 3), "grade": "subtle",
                         "how": "swap", "seconds": 0.1}}


# what is printed ---------------------------------------------------------------------------------

def figures(rows: list[dict]) -> dict:
    """Return the figures that have a bar: the least of the projects, a mean or a share of all."""
    found = {}
    for part, whole in (("equal", "judged"), ("exact", "good"), ("confirmed", "written")):
        found[part] = share(*(sum(row.get(key, 0) for row in rows) for key in (part, whole)))
    several = {f"factor, {group}": [row["factor"] for row in rows if row["bugs"] == group]
               for group in ("measured", "held out")}
    found |= {key: geometric_mean(factors) for key, factors in several.items() if factors}
    several = {"candidates_a_s": [row["candidates_a_s"] for row in rows if "factor" in row],
               "wall": [row["wall"] for row in rows if row["project"] in LIGHT]}
    found |= {key: min(rates) for key, rates in several.items() if rates}
    bars = {key: BARS[key.partition(",")[0]] for key in found}
    return {key: {"value": round(value, 4), "bar": bars[key], "met": value >= bars[key]}
            for key, value in found.items()}


def table(report: dict) -> None:
    """Print the figures of each project, and all beside their bars."""
    for key in ("project", *SHOWN):
        cells = "".join(f"{row.get(key, ''):>11}" for row in report["projects"])
        print(f"{key:<15}{cells}", file=sys.stderr)
    for name, one in report["figures"].items():
        print(f"{name:<20}{one['value']:>10}  at least {one['bar']:<6} "
              f"{'' if one['met'] else 'MISSED'}", file=sys.stderr)
    for row in report.get(MANY, ()):
        print(row, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
