"""Break a project's source in a sandbox, to see whether a test script notices.

Functions of Python raise once they are called by anything but an import, so that whatever only
imports, compiles or searches the source goes on as before. A file of JavaScript or of another
script language raises when it is loaded, one of Go, C or C++ when its program starts, one of other
compiled languages does not compile. Files that look like tests stay as they are, and so do
languages without a line in break_source.sh. What has to be built may leave the programs of an
earlier build behind.
"""
from __future__ import annotations

import re
from dataclasses import dataclass

from codedata.sandbox import Sandbox
from codedata.suites.leftovers import activation
from codedata.suites.source import TOOLS, Project, run_tool


@dataclass(frozen=True)
class Broken:
    """Count the broken files of a source."""

    n_files: int = 0
    n_built: int = 0      # those of a language whose files have to be built


def break_source(sandbox: Sandbox, project: Project, test_script: str) -> Broken:
    """Break the project's source in a sandbox that is thrown away after this. Return the numbers of
    broken files; 0 also where they cannot be broken."""
    done = run_tool(sandbox, "break_source.sh", sandbox.workdir, TOOLS, *project.modules,
                    before=activation(test_script), beside=("break_python.py",))
    numbers = re.search(r"^(\d+) (\d+)\s*\Z", done.output, re.MULTILINE)
    return Broken(int(numbers[1]), int(numbers[2])) if numbers else Broken()
