"""Look for the tests of a task, as a program that the tests start could: in /tests, and in every
process. Runs beside the verifier, as the agent's user; /tmp/spied says what it read."""
import glob
import json
import os
import time

LIMIT_S, EVERY_S = 900, 0.02   # all tests of a small task may take half a second


def read(path):
    """Return what can be read of a file, at most 1 MB."""
    try:
        if not os.path.isfile(path):   # reading a pipe would take from it
            return b""
        with open(path, "rb") as file:
            return file.read(1 << 20)
    except (OSError, ValueError):
        return b""


def started():
    """Return whether a test runner is at work."""
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        if int(path.split("/")[2]) != os.getpid() and b"/tests/" in read(path):
            return True
    return False


def is_at_work():
    """Return whether tests run that are not about to be hidden."""
    test_file = "/tests/test_outputs.py"
    hides = os.path.exists("/tests/weighted_tests.py")   # which makes a link of that file
    return started() and (not hides or os.path.islink(test_file))


def main():
    """Look until the container is gone, or the limit is over."""
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
