"""Check that no text of others takes the patterns that read it more than seconds."""
import signal
from contextlib import suppress
from functools import partial

import pytest

from codedata.checks.requests import TRAILERS
from codedata.code.patches import files_of
from codedata.datapoints.validate import IMPORTS
from codedata.issues.issue_report import FENCED
from codedata.leak.leaked_facts import REPLACED, find_facts
from codedata.records import Commit
from codedata.sampling.pull_requests import touched_files
from codedata.suites.repo_names import parts_of
from codedata.texts import between, toml_tables

MANY = 200_000


def facts_of(line: str) -> list:
    """Return the facts in a line, of a patch that adds it."""
    commit = Commit("a", "a/b", "c", "", "", "", ["m.c"],
                    f"--- a/m.c\n+++ b/m.c\n@@ -1 +1 @@\n-x\n+{line}\n", "")
    return find_facts([{"role": "user", "content": line}], f"{line} x", commit)


def listed(names: str) -> list:
    """Return the files of a diff with such a head."""
    return [*files_of(f"diff --git a/{names}\n")]


@pytest.mark.parametrize("read, text", [
    (facts_of, "*" * 60), (facts_of, "*&" * 10_000), (facts_of, "-" * 60_000),
    (touched_files, "diff --git " * MANY), (TRAILERS.search, "\nA: a" * 30_000 + "\n!"),
    (REPLACED.search, "assert" + " " * MANY), (partial(between, tag="report"), "<report>" * MANY),
    (FENCED.findall, "```sh\n" * MANY), (listed, " b/" * MANY), (listed, " b/" + "a" * MANY),
    (parts_of, "/" * MANY + "x"), (IMPORTS.search, "\n" * MANY),
    (toml_tables, "".join(f"a{i}.{'b.' * 898}c = 1\n" for i in range(3_000))),
    (toml_tables, f"[{'a.' * 900}a]\n" + "".join(f"{i} = 1\n" for i in range(30_000)))])
def test_no_text_of_others_takes_more_than_seconds(read, text):
    def end(*_):
        raise TimeoutError
    signal.signal(signal.SIGVTALRM, end)
    signal.setitimer(signal.ITIMER_VIRTUAL, 10)   # seconds of this process
    try:
        with suppress(ValueError):
            read(text)
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
