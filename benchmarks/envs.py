"""Measure how many real projects the recipe planner turns into an environment without a model.

Pinned releases that include their tests (envs.toml) are fetched with the clients of their
registries, checked, and given to the planner (codedata/env/planner.py): each in fresh containers,
with the checks of env_setup.py. Each success is then verified again in a new container; if the
second verification disagrees, it is a false success.

  python benchmarks/envs.py --cache DIR                    # all of them: hours on 2 cores
  python benchmarks/envs.py --cache DIR --group npm        # pure, hard or npm
  python benchmarks/envs.py --cache DIR --only 'a*' --log DIR   # keeps scripts and logs, to read
  python benchmarks/envs.py --cache DIR --rows FILE        # appends results; builds none twice

It needs the Docker engine, `npm`, and the package unearth (a client of PyPI that downloads without
building). It prints one JSON line on stdout and a table on stderr; --cache keeps the archives, not
the builds. It exits with 1 if a target is missed.
"""
import argparse
import fnmatch
import hashlib
import json
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from codedata.env.planner import plan, project_of
from codedata.env.recipes.package_index import table as table_of
from codedata.env.repository_facts import read_facts
from codedata.env.verify_scripts import Verified, Verifier
from codedata.errors import Trouble
from codedata.sandbox import open_sandbox
from codedata.sandbox.docker.engine import connect, remove_images
from codedata.texts import tomllib

LIST = Path(__file__).with_suffix(".toml")
BASE = "codedata-base:bookworm"
RUN = f"envs-{time.strftime('%Y%m%d-%H%M%S')}"
# minimum shares: verified, healthy
TARGETS = {"pure": (0.90, 0.85), "hard": (0.0, 0.0), "npm": (5 / 8, 0.0)}


def fetch(project: dict, cache: Path) -> Path:
    """Return the archive of a project, downloaded with its registry's client.

    Raise Trouble if its digest is not the pinned one.
    """
    folder = cache / f"{project['name']}-{project['version']}"
    if not folder.is_dir():
        making = Path(tempfile.mkdtemp(dir=cache))
        pinned = f"{project['name']}=={project['version']}" if project["index"] == "pypi" else (
            f"{project['name']}@{project['version']}")
        if project["index"] == "debian":
            command = ["apt-get", "download", "-q", f"{project['name']}={project['version']}"]
        elif project["index"] == "pypi":
            command = [sys.executable, "-m", "unearth", "--no-binary", pinned, "--download",
                       str(making)]
        else:
            command = ["npm", "pack", "--silent", "--ignore-scripts", pinned]
        subprocess.run(command, cwd=making, check=True, stdout=subprocess.DEVNULL)
        making.rename(folder)
    archive = next(path for path in sorted(folder.iterdir())
                   if path.name.endswith((".tar.gz", ".tgz", ".deb")))
    if hashlib.sha256(archive.read_bytes()).hexdigest() != project["sha256"]:
        raise Trouble("is not the archive that envs.toml names.", str(archive),
                      "Delete it and run again.")
    return archive


def unpacked(archive: Path, to: Path) -> Path:
    """Return the one folder in an archive; for a Debian package the folder of its Go module."""
    if archive.suffix == ".deb":
        subprocess.run(["dpkg-deb", "-x", str(archive), str(to)], check=True)
        return next(to.rglob("go.mod")).parent
    with tarfile.open(archive) as tar:
        tar.extractall(to, filter="data")
    return next(path for path in to.iterdir() if path.is_dir())


def build(project: dict, args, engine) -> dict:
    """Return the row of one project: the planner's result, verified twice."""
    started, label = time.monotonic(), f"{RUN}-{project['name']}"

    def opener(image: str):
        return open_sandbox("docker", image=image or BASE, workdir="/testbed", scripts=[],
                            run_label=label,
                            ca_bundle=args.ca_bundle)

    with tempfile.TemporaryDirectory() as folder:
        source = unpacked(fetch(project, args.cache), Path(folder))
        facts = read_facts(source)
        verifier = Verifier(opener, project_of(facts, source), args.script_s,
                            f"codedata-benchmark/{label}")
        planned = plan(verifier, facts, args.budget_s)
        took = round(time.monotonic() - started)
        first = planned.verified
        row = {"name": project["name"], "group": project["group"], "verified": first.ok,
               "healthy": first.is_healthy, "passed": first.n_passed, "cases": first.n_cases,
               "skipped": first.share_skipped, "flaky": len(first.flaky),
               "needs_network": len(first.needs_network),
               "failed": first.failed, "cause": first.cause.name, "evidence": first.cause.evidence,
               "left_out": list(planned.excluded_tests), "restored": first.restored,
               "changed_by_tests": len(first.changed_by_tests),
               "silent": len(first.unreported_files),
               "pairs": len(planned.attempts), "seconds": took, "false_success": False}
        if first.ok:
            row["image_bytes"] = engine.inspect_image(first.image_id)[
                "Size"] - engine.inspect_image(BASE)["Size"]
            again = replace(verifier, image_name="").verify(planned.install_script,
                                                            planned.test_script)
            row |= {"false_success": not agrees(first, again),
                    "differing": len(differing(first, again)),
                    "again": again.failed}
        if args.log:
            keep(args.log / project["name"], planned, row)
    remove_images(label)
    if args.rows:
        with open(args.rows, "a") as file:
            file.write(json.dumps(row) + "\n")
    print(f"  {row['name']:<22}{mark(row):<10}{row['passed']:>6} of {row['cases']:<6}"
          f"{row['seconds']:>5} s  {row['cause']} {row['evidence'][:70]}",
          file=sys.stderr, flush=True)
    return row


def agrees(first: Verified, again: Verified) -> bool:
    """Return whether a second verification agrees: it passes, is equally healthy, and 99 of 100
    cases have the same result.
    """
    is_alike = len(differing(first, again)) <= len(first.results) / 100
    return again.ok and again.healthy == first.healthy and is_alike


def differing(first: Verified, again: Verified) -> list[str]:
    """Return the cases, except flaky ones, that passed in only one of two verifications."""
    passed = [{case["name"] for case in v.results if case["status"] == "passed"}
              for v in (first, again)]
    return sorted((passed[0] ^ passed[1]) - set(first.flaky) - set(again.flaky))


def keep(folder: Path, planned, row: dict) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    texts = {"install.sh": planned.install_script, "test.sh": planned.test_script,
             "log.txt": planned.verified.log,
             "row.json": json.dumps(row | {"attempts": planned.attempts}, indent=1)}
    for name, text in texts.items():
        (folder / name).write_text(text)


def mark(row: dict) -> str:
    if row["false_success"]:
        return "FALSE"
    return "healthy" if row["healthy"] else "verified" if row["verified"] else "failed"


def summary(rows: list[dict], group: str) -> dict:
    rows = [row for row in rows if row["group"] == group]
    bytes_more = [row["image_bytes"] for row in rows if "image_bytes" in row] or [0]
    totals = {key: sum(row[key] for row in rows)
              for key in ("verified", "healthy", "false_success")}
    return {"n": len(rows), "verified": totals["verified"], "healthy": totals["healthy"],
            "false_successes": totals["false_success"],
            "median_s": statistics.median(row["seconds"] for row in rows),
            "median_image_mb": round(statistics.median(bytes_more) / 1e6)}


def main() -> int:
    p = argparse.ArgumentParser(description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--cache", type=Path, required=True, help="a folder for archives")
    p.add_argument("--group", choices=[*TARGETS], help="only these")
    p.add_argument("--only", default="*", metavar="GLOB", help="only projects with these names")
    p.add_argument("--jobs", type=int, default=2, help="projects at the same time (%(default)s)")
    p.add_argument("--script-s", type=float, default=600,
                   help="seconds for an install script or a test run (%(default)s)")
    p.add_argument("--budget-s", type=float, default=1800,
                   help="seconds after which no further recipe is tried (%(default)s)")
    p.add_argument("--ca-bundle", default="", metavar="FILE",
                   help="certificate authorities, for the containers")
    p.add_argument("--rows", type=Path,
                   help="results, one JSON line per project; this run reads and extends them")
    p.add_argument("--log", type=Path, help="a folder for scripts and logs")
    args = p.parse_args()
    args.cache.mkdir(parents=True, exist_ok=True)
    projects = [project for project in tomllib.loads(LIST.read_text())["project"]
                if project["group"] in TARGETS and fnmatch.fnmatch(project["name"], args.only)
                and args.group in (None, project["group"])]
    if not shutil.which("npm") and any(project["index"] == "npm" for project in projects):
        raise Trouble("npm is missing, which fetches some of these projects.",
                      todo="Install it, or name another --group.")
    engine = connect()
    rows = []
    if args.rows and args.rows.exists():
        rows = [json.loads(line) for line in args.rows.read_text().splitlines()]
    rows = [row for row in rows if row["name"] in {project["name"] for project in projects}]
    with ThreadPoolExecutor(args.jobs) as pool:
        for row in pool.map(lambda project: build(project, args, engine),
                            [project for project in projects
                             if project["name"] not in {row["name"] for row in rows}]):
            rows.append(row)
    groups = {group: summary(rows, group) for group in TARGETS
              if any(row["group"] == group for row in rows)}
    table(groups)
    print(json.dumps({"benchmark": "envs", "groups": groups, "projects": rows}))
    causes = table_of("causes")
    names = {*(cause["name"] for cause in causes["cause"]), *causes["from_checks"]}
    named = all(row["healthy"] or row["cause"] in names for row in rows)
    return 0 if named and all(reached(group, totals) for group, totals in groups.items()) else 1


def reached(group: str, totals: dict) -> bool:
    verified, healthy = TARGETS[group]
    return not totals["false_successes"] and totals["verified"] >= verified * totals["n"] and (
        totals["healthy"] >= healthy * totals["n"])


def table(groups: dict) -> None:
    print(f"\n{'':<8}{'projects':>9}{'verified':>14}{'healthy':>14}{'false':>7}"
          f"{'median s':>10}{'image MB':>10}", file=sys.stderr)
    for name, g in groups.items():
        shares = [f"{g[key]} ({g[key] / g['n']:.0%})" for key in ("verified", "healthy")]
        print(f"{name:<8}{g['n']:>9}{shares[0]:>14}{shares[1]:>14}{g['false_successes']:>7}"
              f"{g['median_s']:>10.0f}{g['median_image_mb']:>10}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
