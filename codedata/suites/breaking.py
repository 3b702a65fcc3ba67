"""Break a project's source in a sandbox, to see whether a test script notices it.

Python functions raise when anything but an import calls them, so that code which only imports,
compiles or searches the source works as before. Files of JavaScript and other script languages
raise when they are loaded, files of Go, C and C++ when the program starts; files of other compiled
languages do not compile. Test files, and languages without a line in break_source.sh, stay
unchanged. Programs of an earlier build may still work.
"""
import re

from codedata.sandbox import Sandbox
from codedata.suites.leftovers import activation
from codedata.suites.source import TOOLS, Project, run_tool


def break_source(sandbox: Sandbox, project: Project, test_script: str) -> tuple[int, int]:
    """Break the project's source in a sandbox, which must not be used for anything else afterwards.
    Return (number of broken files, number of these in a compiled language), both 0 if the source
    cannot be broken."""
    done = run_tool(sandbox, "break_source.sh", sandbox.workdir, TOOLS, *project.modules,
                    before=activation(test_script), beside=("break_python.py",))
    numbers = re.search(r"^(\d+) (\d+)\s*\Z", done.output, re.MULTILINE)
    return (int(numbers[1]), int(numbers[2])) if numbers else (0, 0)
