"""Audit tasks with planted faults and clean tasks: count the faults found, and the false alarms.

    python benchmarks/audit.py FOLDER… --root R [--thorough] [--workers N] [--checks CHECK,…]

Each folder has task folders and a LABELS.json: {name: {class, what}}, class "clean" for a task
without a fault. The tasks are copied into R/task/ once; audited ones are not audited again.
A fault counts as found if a check has one of the results that FOUND lists for its class. A false
alarm is the result `failed` on a clean task, or `review` if the check is in ALARMS. Survivors
without other findings are no alarm. One JSON line, with Wilson's 95 % intervals.
"""
from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path

from measure import PROJECT, parser_of

sys.path.insert(0, str(PROJECT))
from codedata.checks.intervals import wilson

# the checks for each class of faults, and the results that count as found
FAILED, SAID = ("failed",), ("failed", "review")
FOUND = {
    "meter": {"adversary": FAILED},
    "vacuous": {"reading": FAILED, "rivals": FAILED, "adversary": FAILED},
    "answer in the image": {"answer": SAID}, "answer in a lower layer": {"answer": SAID},
    "readable tests": {"tests_read": SAID, "adversary": FAILED},
    "clumsy test": {"rivals": FAILED, "fairness": SAID},
    "flaky": {"gold": FAILED, "flakes": FAILED},
    "verifier greps the source": {"rivals": FAILED, "fairness": SAID},
    "exit code swallowed": {"untouched": FAILED, "rivals": FAILED, "adversary": FAILED},
    "wrong gold": {"gold": FAILED, "reading": FAILED},
    "unshown name": {"rivals": FAILED, "fairness": SAID}, "time bomb": {"flakes": FAILED}}
ALARMS = ("answer",)   # checks whose `review` is an alarm; for others it is only a question


def copied(folders: list[Path], root: Path) -> dict[str, dict]:
    """Copy the tasks of folders into a root, and return their labels by name."""
    labels = {}
    for folder in folders:
        for name, label in json.loads((folder / "LABELS.json").read_text()).items():
            labels[name] = label
            if not (root / "task" / name).exists():
                shutil.copytree(folder / name, root / "task" / name)
    return labels


def results_of(root: Path, name: str) -> dict[str, str]:
    """Return {check: its result} of a task; {} if it is not audited."""
    path = root / "audit" / f"{name}.json"
    return {one["name"]: one["result"] for one in json.loads(path.read_text())["checks"]
            } if path.exists() else {}


def main() -> None:
    """Measure, and print one JSON line."""
    parser = parser_of(__doc__)
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--thorough", action="store_true")
    parser.add_argument("--workers", default="1")
    parser.add_argument("--checks", help="make only these")
    args = parser.parse_args()
    labels = copied(args.folders, args.root)
    subprocess.run([sys.executable, PROJECT / "audit.py", "--root", args.root, "--workers",
                    args.workers, *(["--thorough"] if args.thorough else []),
                    *(["--checks", args.checks] if args.checks else [])], check=False)
    found, n_of, alarms = Counter(), Counter(), []
    missed = defaultdict(list)
    for name, label in labels.items():
        results, kind = results_of(args.root, name), label["class"]
        n_of[kind] += 1
        if kind == "clean":
            said = [check for check, result in results.items() if result == "failed"
                    or (result == "review" and check in ALARMS)]
            alarms += [f"{name}: {', '.join(said)}"] if said else []
        elif any(results.get(check) in wanted for check, wanted in FOUND[kind].items()):
            found[kind] += 1
        else:
            missed[kind].append(name)
    n_faults, n_clean = n_of.total() - n_of["clean"], n_of["clean"]
    print(json.dumps({
        "faults": n_faults, "found": found.total(), "found_interval": interval(found.total(),
                                                                               n_faults),
        "clean": n_clean, "alarms": len(alarms), "alarms_interval": interval(len(alarms), n_clean),
        "by_class": {kind: f"{found[kind]} of {n}" for kind, n in sorted(n_of.items())
                     if kind != "clean"},
        "missed": missed, "alarms_on": alarms}))


def interval(k: int, n: int) -> list[float] | None:
    """Return Wilson's interval of k of n; None if n is 0."""
    return [round(end, 3) for end in wilson(k / n, n)] if n else None


if __name__ == "__main__":
    main()
