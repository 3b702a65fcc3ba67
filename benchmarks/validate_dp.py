"""Measure `build_dp.py validate` on the tasks of samples/: the engine's share of its time, and the
speed-up by four workers. With --mutants: does the check meant for each fault find it?

  python benchmarks/validate_dp.py                        # one worker, then four
  python benchmarks/validate_dp.py --only same-bytes      # copies of one, for a quick look
  python benchmarks/validate_dp.py --mutants              # all mutants, and the samples themselves
  python benchmarks/validate_dp.py --mutants --check solvable --limit 1

A mutant is a sample with a fault (tests/datapoints/mutants.toml); it counts as caught if the first
check that fails is the check named in mutants.toml. With --root DIR, samples that were checked
there are not checked again. It needs the Docker engine. One JSON line on stdout, a table on stderr;
exit code 1: a target is missed.
"""
import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from measure import PROJECT, Others, machine, parser_of, run

sys.path.insert(0, str(PROJECT / "samples"))
sys.path.insert(0, str(PROJECT))
from task_set import unpack

from codedata.audit.audit_stage import run_check
from codedata.audit.cheats import CHEATS, constant, graded, lines_of
from codedata.config import load
from codedata.datapoints.datapoint_folder import read_datapoint
from codedata.datapoints.validate import CHECKS, FIRST, Validation
from codedata.disk.store import Store
from codedata.records import DATAPOINT, DatapointChecks, Task
from codedata.run import cli
from codedata.sandbox.factory import SandboxFactory
from codedata.suites.environments import labelled
from codedata.texts import tomllib

SAMPLES = PROJECT / "samples/tasks"   # the samples that mutants are made from, as folders
MUTANTS = PROJECT / "tests/datapoints/mutants.toml"
CPUS = 0.5                       # for each of several containers that run at once
ENGINE_SHARE, RATIO = 0.9, 1.5   # minimums


def main() -> int:
    args = parser().parse_args()
    with tempfile.TemporaryDirectory(prefix="codedata_validate_dp.") as folder:
        measured = mutation if args.mutants else speed
        report, is_good = measured(args, Path(folder))
    print(json.dumps({"benchmark": "validate_dp", **machine(), **report}))
    return 0 if is_good else 1


def parser() -> argparse.ArgumentParser:
    p = parser_of(__doc__)
    p.add_argument("--only", action="append", metavar="SAMPLE", help="samples to use (all)")
    p.add_argument("--at-once", type=int, default=4, help="workers for the speed-up (%(default)s)")
    p.add_argument("--mutants", action="store_true", help="run the mutants")
    p.add_argument("--check", help="only mutants for this check")
    p.add_argument("--limit", type=int, help="maximum number of mutants")
    p.add_argument("--workers", type=int, default=2, help="mutants at once (%(default)s)")
    p.add_argument("--good", action="store_true",
                   help="check the samples, too, even if not all mutants run")
    p.add_argument("--root", type=Path, help="folder for the results of the samples")
    return p


def datapoints(work: Path) -> list[Path]:
    """Unpack all samples below a folder, and return their folders."""
    folders = unpack(work / "samples").iterdir()
    return sorted(path for path in folders if Task.kind_in(path) == DATAPOINT)


def validated(folders: list[Path], root: Path, *flags) -> dict:
    """Return the time and the findings of `build_dp.py validate`, run as a user runs it."""
    root.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, PROJECT / "build_dp.py", "--root", root, "validate", *folders,
               "--json", *certificates(), *flags]
    cost = run(command, root, want=(0, 1))
    store = Store(root, DatapointChecks).open()
    return {"wall_s": cost.wall_s, "cpu_s": cost.cpu_s, "found": json.loads(cost.stdout),
            "records": [store.read(name) for name in store.names()]}


def certificates() -> list[str]:
    """Return the flags for a network with its own certificate authority."""
    bundle = os.environ.get("REQUESTS_CA_BUNDLE")
    return ["--ca-bundle", bundle] if bundle else []


def failed(found: list[dict]) -> dict[str, list[str]]:
    """Return {sample: its checks that did not pass}, without samples that passed."""
    return {one["id"]: [check["name"] for check in one.get("checks", [])
                        if check["status"] != "passed"] or ["all"]
            for one in found if not one["ok"]}


# speed -------------------------------------------------------------------------------------------

def speed(args, work: Path) -> tuple[dict, bool]:
    """Return the figures of the same datapoints with one worker and with several."""
    samples = [path for path in datapoints(work) if path.name in (args.only or [path.name])]
    copies = -(-args.at_once // len(samples))
    folders = [copy_of(path, work / "datapoints", n) for n in range(copies) for path in samples]
    others = Others()
    one = validated(folders, work / "one", "--workers", 1)
    several = validated(folders, work / "several", "--workers", args.at_once,
                        "--cpu-request", CPUS)
    seconds = sum(record.seconds for record in one["records"])
    report = {
        "n": len(folders), "at_once": args.at_once, "one_s": one["wall_s"],
        "several_s": several["wall_s"],
        "each_s": {record.instance_id: [record.seconds, record.engine_s]
                   for record in one["records"]},
        "engine_share": sum(record.engine_s for record in one["records"]) / seconds,
        "ratio": one["wall_s"] / several["wall_s"],
        "cores_used_by_others": others.cores(one["cpu_s"] + several["cpu_s"]),   # the engine's, too
        "failed": failed(one["found"]) | failed(several["found"])}
    report = {key: round(value, 3) if isinstance(value, float) else value
              for key, value in report.items()}
    for name, (total, engine) in report["each_s"].items():
        print(f"  {name:20}{total:8.1f} s   engine {engine / total:6.1%}", file=sys.stderr)
    print(f"\n  engine's share {report['engine_share']:.1%} (at least {ENGINE_SHARE:.0%})\n"
          f"  {report['n']} one at a time {report['one_s']:.0f} s, {args.at_once} at once "
          f"{report['several_s']:.0f} s: {report['ratio']:.2f} x the rate (at least {RATIO})\n"
          f"  failed: {report['failed'] or 'none'}\n", file=sys.stderr)
    return report, (report["engine_share"] >= ENGINE_SHARE and report["ratio"] >= RATIO
                    and not report["failed"])


def copy_of(sample: Path, folder: Path, n: int) -> Path:
    """Return a copy of a sample; its content differs for each `n`."""
    place = folder / (f"{sample.name}-{n}" if n else sample.name)
    shutil.copytree(sample, place)
    with open(place / "instruction.md", "a", encoding="utf-8") as file:
        file.write("\n" * n)
    return place


# mutants -----------------------------------------------------------------------------------------

def mutants() -> list[dict]:
    """Return all mutants, in the order of the checks."""
    return tomllib.loads(MUTANTS.read_text(encoding="utf-8"))["mutant"]


def mutated(mutant: dict, folder: Path) -> Path:
    """Write the datapoint of a mutant below a folder, and return the datapoint's folder."""
    place = folder / mutant["name"]
    shutil.copytree(SAMPLES / mutant["base"], place)
    subprocess.run(["git", "apply", "--unidiff-zero", "-"], cwd=place, input=mutant["patch"],
                   text=True, check=True)
    return place


def first_failed(folder: Path, host: SandboxFactory) -> dict:
    """Return the first check that fails on a datapoint; {} if none does."""
    task = read_datapoint(folder)
    with labelled(host, task.instance_id, "dp") as label:
        validation = Validation(task, host, label)
        for name in sorted(CHECKS, key=lambda name: name not in FIRST):
            found = run_check(name, CHECKS[name], validation)
            if found["result"] == "failed":
                return found
        scripts = [*((one["name"], one["bash"]) for one in CHEATS),
                   ("constant output", constant(task.instruction))]
        cheats = lines_of(graded(validation.grader, scripts), 0)
    return {"name": "cheats", "evidence": cheats} if cheats else {}


def caught(mutant: dict, work: Path, host: SandboxFactory) -> dict:
    """Return the check that catches a mutant, and the reason."""
    started = time.monotonic()
    found = first_failed(mutated(mutant, work), host)
    row = {"name": mutant["name"], "base": mutant["base"], "check": mutant["check"],
           "by": found.get("name", ""), "why": found.get("why", ""),
           "evidence": found.get("evidence", []), "seconds": round(time.monotonic() - started, 1)}
    is_caught = row["by"] == row["check"]
    mark = "" if is_caught else f"caught by {row['by'] or 'NONE'}"
    lines = [row["why"], *row["evidence"]][:2 if is_caught else None]
    print(f"  {row['check']:18}{row['name']:28}{row['seconds']:7.1f} s  {mark}\n"
          + "".join(f"      {line[:150]}\n" for line in lines), file=sys.stderr, end="", flush=True)
    return row


def open_host(work: Path) -> SandboxFactory:
    """Return a factory of containers with default settings."""
    flags = cli.parser("", "sandbox")
    cli.sandbox_flags(flags, pod_prefix="benchmark")
    given = flags.parse_args(["--root", str(work), *certificates()])
    return SandboxFactory(load(given), threading.Event())


def mutation(args, work: Path) -> tuple[dict, bool]:
    """Return which mutants are caught by the right check, and which samples are refused."""
    chosen = [one for one in mutants() if args.check in (None, one["check"])][:args.limit]
    started = time.monotonic()
    with ThreadPoolExecutor(args.workers) as pool:
        rows = [*pool.map(partial(caught, work=work, host=open_host(work)), chosen)]
    wrong = [row["name"] for row in rows if row["by"] != row["check"]]
    report = {"mutants": len(rows), "caught": len(rows) - len(wrong), "wrong": wrong,
              "seconds": round(time.monotonic() - started, 1), "rows": rows}
    print(f"\n  {report['caught']} of {report['mutants']} by the right check", file=sys.stderr)
    if args.good or not (args.check or args.limit):
        good = validated(datapoints(work), args.root or work / "good",
                         "--workers", args.workers)
        report |= {"good": len(good["found"]), "refused": failed(good["found"])}
        print(f"  {len(report['refused'])} of {report['good']} good ones refused: "
              f"{report['refused'] or 'none'}", file=sys.stderr)
    return report, bool(rows) and not wrong and not report.get("refused")


if __name__ == "__main__":
    sys.exit(main())
