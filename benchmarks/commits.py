"""Measure what setting up commits in the images of their ancestors saves against each from nothing.

The rows of a JSONL file ({repo, base_commit}, the oldest commit of each repository first) are set
up twice by env_setup.py, without a model: all of a repository in one root, and each in a root of
its own, in which it has no ancestor.

  python benchmarks/commits.py ROWS.jsonl --work DIR       # an hour for three repositories of eight
  GIT_CONFIG_GLOBAL=FILE python benchmarks/commits.py …    # where git is to clone from elsewhere

It prints a JSON line a repository: seconds and bytes of image layers of both ways, their ratios,
and the commits whose passing cases differ. It exits with 1 where one is off target. What is set up
already in DIR isn't set up again, but its seconds count.
"""
import argparse
import json
import subprocess
import sys
from itertools import groupby
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from codedata.records import Environment
from codedata.store import all_readable

SCRIPT = Path(__file__).resolve().parents[1] / "env_setup.py"
MAX_WALL, MAX_DISK = 0.40, 0.35   # of what it takes from nothing


def set_up(root: Path, rows: list[dict], flags: list[str]) -> list[Environment]:
    """Set up rows in a root, one after the other; return their environments."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    subprocess.run([sys.executable, SCRIPT, "--root", root, "--input",
                    root / "rows.jsonl", "--planner", "recipe", "--workers", "1", *flags])
    return all_readable(root, Environment)


def docker(*words: str) -> str:
    """Return what docker prints."""
    return subprocess.run(["docker", *words], check=True, capture_output=True, text=True).stdout


def disk(environments: list[Environment]) -> int:
    """Return the bytes of the layers that these images have above their base images, each once."""
    sizes = {}
    for one in environments:
        above = [json.loads(docker("image", "inspect", "-f", "{{json .RootFS.Layers}}", name))
                 for name in (one.base_image, one.image_name)]
        layers = above[1][len(above[0]):]
        history = docker("history", "--human=false", "--format", "{{.Size}}", one.image_name)
        written = [size for size in map(int, history.split()) if size][:len(layers)]
        sizes |= dict(zip(reversed(layers), written, strict=True))
    return sum(sizes.values())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("rows", type=Path)
    parser.add_argument("--work", type=Path, required=True, metavar="DIR")
    args, flags = parser.parse_known_args()
    rows, is_good = [json.loads(line) for line in args.rows.read_text().splitlines()], True
    for repo, group in groupby(rows, key=lambda row: row["repo"]):
        place, its = args.work / repo.replace("/", "__"), [*group]
        ways = {"reused": set_up(place / "reused", its, flags), "alone": []}
        # now, since an equal image of the other way takes the name
        said = {"repo": repo, "commits": len(its), "reused_bytes": disk(ways["reused"])}
        for n, row in enumerate(its):
            ways["alone"] += set_up(place / f"alone-{n}", [row], flags)
        passing = {way: {one.base_commit: sorted(case["name"] for case in one.test_case_result
                                                 if case["status"] == "passed") for one in made}
                   for way, made in ways.items()}
        said["alone_bytes"] = disk(ways["alone"])
        said |= {
            f"{way}_{what}": measure(made) for way, made in ways.items() for what, measure in (
                ("s", lambda made: round(sum(one.seconds for one in made))),
                ("runs", lambda made: sum(len(one.verified["test_s"]) for one in made)))}
        said["wall"] = round(said["reused_s"] / said["alone_s"], 2)
        said["disk"] = round(said["reused_bytes"] / said["alone_bytes"], 2)
        said["differ"] = [commit[:8] for commit, names in passing["alone"].items()
                          if names != passing["reused"].get(commit)]
        print(json.dumps(said), flush=True)
        is_good &= said["wall"] <= MAX_WALL and said["disk"] <= MAX_DISK and not said["differ"]
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
