"""Make the evaluation script of a task: its test script, with results that graders read."""
from __future__ import annotations

from codedata.code.suite import RESULTS
from codedata.texts import fill, text_of


def eval_script(test_script: str) -> str:
    """Return a bash script that runs the test script unchanged and then prints, between the marks
    of SWE-bench's harness, "PASSED name" for each case of its JUnit XML. It needs nothing of this
    package, only a Python from 3.7 on, and exits as the test script does.

    Names are escaped by junit.escaped_name(), so lists such as FAIL_TO_PASS have to be, too. A test
    script without JUnit XML has its output between the marks instead.
    """
    end = "END_OF_TEST_SCRIPT"
    while end in test_script:
        end += "_"
    return fill(text_of("codedata.code", "eval_script.sh"), results=RESULTS, end=end,
                test_script=test_script.rstrip("\n"), reader=text_of("codedata.code", "junit.py"))
