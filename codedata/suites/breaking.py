"""Break a project's source in a sandbox, to see whether a test script notices it.

A Python function raises when it is called, except by an import, so code that only imports,
compiles or searches the source works as before. A file of JavaScript or another script language
raises when it is loaded; a program in Go, C or C++ fails when it starts; files of other compiled
languages no longer compile. Test files, and languages that break_source.sh does not list, stay
unchanged. Programs of an earlier build may still work.
"""
import re

from codedata.sandbox import Sandbox
from codedata.suites.leftovers import activation
from codedata.suites.source import TOOLS, Project, run_tool


def break_source(sandbox: Sandbox, project: Project, test_script: str) -> tuple[int, int]:
    """Break the project's source in a sandbox. Afterwards, the sandbox is good only for a test run.
    Return (number of broken files, number of broken files that a build compiles first, without
    Go's), both 0 if the source cannot be broken."""
    done = run_tool(sandbox, "break_source.sh", sandbox.workdir, TOOLS, *project.modules,
                    before=activation(test_script), beside=("break_python.py",))
    numbers = re.search(r"^(\d+) (\d+)\s*\Z", done.output, re.MULTILINE)
    return (int(numbers[1]), int(numbers[2])) if numbers else (0, 0)
