"""Check that no text of others takes the patterns that read it more than seconds."""
import signal

import pytest

from codedata.audit.cheats import NAMED_FILE
from codedata.audit.others import WORKDIR
from codedata.bugs.issue_report import REPORT
from codedata.checks.secrets import find_secrets
from codedata.datapoints.validate import IMPORTS, SENTENCE
from codedata.leak.facts import find_facts
from codedata.pulls.texts import TRAILERS
from codedata.records import Commit
from codedata.sampling.pull_requests import touched_files
from codedata.suites.repo_names import parts_of
from codedata.texts import toml_tables

DIFF = "--- a/m.c\n+++ b/m.c\n@@ -1 +1 @@\n-x\n+"
MANY = 200_000


def facts_of(line: str) -> list:
    """Return the facts in a line, of a patch that adds it."""
    commit = Commit("a", "a/b", "c", "", "", "", ["m.c"], f"{DIFF}{line}\n", "")
    return find_facts([{"role": "user", "content": line}], f"```bash\n{line}\n```", commit)


def refused(text: str) -> None:
    with pytest.raises(ValueError, match="more than"):
        toml_tables(text)


@pytest.mark.parametrize("read, text", [
    (facts_of, "*" * 60), (facts_of, "*&" * 10_000), (facts_of, "-" * 60_000),
    (touched_files, "diff --git " * MANY), (TRAILERS.search, "\nA: a" * 30_000 + "\n!"),
    (parts_of, "/" * MANY + "x"), (IMPORTS.search, "\n" * MANY), (SENTENCE.search, "\n" * MANY),
    (NAMED_FILE.search, "a" * MANY), (WORKDIR.search, "\n" * MANY), (REPORT.search, "x" * MANY),
    (find_secrets, "+" * 60_000), (find_secrets, "a" * 60_000),
    (refused, "\n".join(f"a{i}.{'b.' * 898}c = 1" for i in range(300))),
    (refused, "a = {" + "b." * 40_000 + "c = 1}"),
    (refused, f"[{'.'.join('a' * 900)}]\n" + "".join(f"{i} = 1\n" for i in range(9_000)))])
def test_no_text_of_others_takes_more_than_seconds(read, text):
    def end(*_):
        raise TimeoutError
    before = signal.signal(signal.SIGVTALRM, end)
    signal.setitimer(signal.ITIMER_VIRTUAL, 10)   # seconds of this process
    try:
        read(text)
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
