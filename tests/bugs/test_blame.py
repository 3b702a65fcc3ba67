"""Test which part of a project the title of a report names."""
import sys
from types import ModuleType

import pytest
from line_tables import toml_beside

from codedata.issues.blame import blamed
from codedata.suites.replayed_scripts import Outcome

CASES = toml_beside(__file__, "blame_cases.toml")


def outcome(heron: ModuleType, job) -> Outcome | None:
    """Return the outcome of a job with one of the two sources, as a replay does."""
    sys.modules["heron"] = heron
    names = {"__name__": "__main__"}
    try:
        exec("\n".join(job.lines), names)
        text = repr(eval(job.last or "None", names))
    except Exception as error:
        return Outcome(job.lines, job.last, "raises", type(error).__name__, str(error))
    return None if " at 0x" in text else Outcome(job.lines, job.last, "value", "", text)


@pytest.mark.parametrize("case", CASES["cases"], ids=lambda case: case["script"])
def test_a_title_names_the_first_part_that_differs(case, monkeypatch):
    trees = []
    monkeypatch.setitem(sys.modules, "heron", None)
    for source in (CASES["source"], CASES["source"].replace(*case["bug"])):
        trees.append(ModuleType("heron"))
        exec(source, vars(trees[-1]))
    *lines, last = case["script"].split("; ")   # the last one may be empty
    script = Outcome(lines, last, "value", "", "")
    found = blamed(script, lambda jobs: [[outcome(tree, job) for job in jobs] for tree in trees])
    assert found == (case["name"], case.get("is_last", False))
