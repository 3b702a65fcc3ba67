"""Look for the tests of a task in /tests and in the open files of every process, as a program that
the tests start could. It runs as the agent's user while the verifier runs, and writes its results
to /tmp/spied."""
import glob
import json
import os
import time

LIMIT_S, EVERY_S = 900, 0.02   # the tests of a small task may take only half a second


def read(path):
    """Return the content of a file, at most 1 MB; b"" if it cannot be read."""
    try:
        if not os.path.isfile(path):   # reading a pipe would take its content away
            return b""
        with open(path, "rb") as file:
            return file.read(1 << 20)
    except (OSError, ValueError):
        return b""


def started():
    """Return whether a test runner has started."""
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        if int(path.split("/")[2]) != os.getpid() and b"/tests/" in read(path):
            return True
    return False


def is_at_work():
    """Return whether a test runner has started and, if it hides its test files, has hidden them."""
    test_file = "/tests/test_outputs.py"
    hides = os.path.exists("/tests/weighted_tests.py")   # which replaces that file by a link
    return started() and (not hides or os.path.islink(test_file))


def main():
    """Look for tests until the container ends, or LIMIT_S has passed."""
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "marks.json")) as file:
        marks = [mark.encode() for mark in json.load(file)]
    found, end = set(), time.time() + LIMIT_S
    while time.time() < end:
        time.sleep(EVERY_S)
        if is_at_work():
            places = glob.glob("/tests/**", recursive=True) + glob.glob("/proc/[0-9]*/fd/*")
            found.update(path for path in places if any(mark in read(path) for mark in marks))
            with open("/tmp/spied", "w") as file:
                file.write("\n".join(["looked"] + sorted(found)))
            time.sleep(1)   # some tests measure processor time


if __name__ == "__main__":
    main()
