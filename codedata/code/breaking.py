"""Break a project's source in a sandbox, to see whether a test script notices.

Functions of Python raise once they are called by anything but an import, so that whatever only
imports, compiles or searches the source goes on as before. A file of JavaScript or of another
script language raises when it is loaded, one of Go when its program starts, one of most compiled
languages does not compile. Files that look like tests stay as they are, and so do languages without
a line in break_source.sh.
"""
from __future__ import annotations

from codedata.code.leftovers import activation
from codedata.code.source import TOOLS, Project, run_tool
from codedata.sandbox import Sandbox


def break_source(sandbox: Sandbox, project: Project, test_script: str) -> int:
    """Break the project's source in a sandbox that is thrown away after this. Return the number of
    broken files; 0 also where they cannot be broken."""
    done = run_tool(sandbox, "break_source.sh", sandbox.workdir, TOOLS, *project.modules,
                    before=activation(test_script), beside=("break_python.py",))
    last = done.output.strip().rpartition("\n")[2]
    return int(last) if last.isdecimal() else 0
