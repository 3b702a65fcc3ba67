"""Let a spy read the tests of each sample datapoint while they run, and grade its gold meanwhile.

    python benchmarks/spy_on_tests.py [NAME …]

The spy is a process of the agent's user in the verifier's container: it can do what a program that
the tests start can do. It looks into /tests and into every process. One JSON line: the gold's
rewards, the untouched ones, and what the spy has read of the tests (bytes, in all samples 0).
"""
from __future__ import annotations

import argparse
import json
import sys
import threading

from measure import PROJECT

sys.path.insert(0, str(PROJECT))
from codedata import cli, config
from codedata.datapoints.folder import read_datapoint
from codedata.layouts import content_of
from codedata.records import DATAPOINT, Task
from codedata.sandbox.factory import SandboxFactory
from codedata.suites.environments import labelled
from codedata.tasks.grade import GRADE, Grader, build_image

SPY = """import glob, os, time
end, found = time.time() + 900, set()
while time.time() < end:
    time.sleep(0.05)
    if os.path.islink("/tests/test_outputs.py"):   # they run
        places = glob.glob("/tests/**", recursive=True) + glob.glob("/proc/[0-9]*/fd/*")
        for path in places + [f"/proc/{pid}/mem" for pid in os.listdir("/proc") if pid.isdigit()]:
            try:
                if not os.path.isfile(path):   # a pipe would lack what is read
                    continue
                with open(path, "rb") as file:
                    data = file.read(1 << 20)
            except (OSError, ValueError):
                continue
            if b"def test_" in data or b'"weights"' in data:
                found.add((path.split("/")[-1], len(data)))
        with open("/tmp/spied", "w") as file:
            file.write(f"looked {sum(size for _, size in found)} {sorted(found)}")
        time.sleep(1)   # some tests look at the processor time
"""


def spied(grader: Grader, work: bytes) -> tuple[float, str]:
    """Return (the gold's reward, what the spy says) of a verifier that is spied on."""
    with grader.opened() as sandbox:
        grader.deliver(sandbox, work)
        sandbox.put({"spy.py": SPY.encode()}, "/opt")
        sandbox.put({name: content_of(file) for name, file in grader.task.tests.items()}, "/tests")
        start = "runuser -u agent -- sh -c 'python3 /opt/spy.py >/dev/null 2>&1 &'; "
        done = sandbox.run(start + GRADE, timeout_s=900)
        return (float(done.output.rstrip().rpartition("\n")[2] or 0),
                sandbox.run("cat /tmp/spied").output)


def main() -> None:
    """Measure, and print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME")
    names = parser.parse_args().names
    args = cli.parser("spy_on_tests.py", "sandbox")
    cli.sandbox_flags(args, pod_prefix="spy")
    host = SandboxFactory(config.load(args.parse_args([])), threading.Event())
    rows = {}
    for folder in sorted(PROJECT.glob("samples/tasks/*")):
        if Task.kind_in(folder) != DATAPOINT or (names and folder.name not in names):
            continue
        task = read_datapoint(folder)
        with labelled(host, task.instance_id, "dp") as label:
            image, built = build_image(task, host, label)
            assert not built.failed, built.failed
            grader = Grader(host, task, image, label)
            reward, said = spied(grader, grader.gold()[0])
            rows[folder.name] = (reward, grader.grade(None).reward, said)
        print(folder.name, rows[folder.name], file=sys.stderr)
    print(json.dumps({
        "samples": len(rows), "gold": sum(row[0] == 1.0 for row in rows.values()),
        "untouched": sum(row[1] == 0.0 for row in rows.values()),
        "spied_on": sum(row[2].startswith("looked 0 ") for row in rows.values())}))


if __name__ == "__main__":
    main()
