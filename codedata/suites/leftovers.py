"""Search a sandbox, from inside, for leftovers of an install that make test results worthless: the
history after the base commit, or another copy of the project."""
import re
import shlex

from codedata.sandbox import Sandbox
from codedata.suites.source import Project, run_tool

PYTHON_IN = re.compile(r"(?:(?<!\S)|\bPATH=[\"']?)(/[^\s\"':]+)/bin"
                       r"(?:/(?:python[\d.]*|pytest)\b|[:\"'])")


def history_after(sandbox: Sandbox, base_commit: str) -> list[str]:
    """Return a line for each trace in the sandbox of commits that are not in the base commit's
    history."""
    traces = []
    for tool in ("check_history.sh", "find_history.sh"):
        done = run_tool(sandbox, tool, sandbox.workdir, base_commit)
        traces += done.output.splitlines()
        if not done.ok:
            traces.append(f"the search for history had exit code {done.exit_code}")
    return traces


def shadows(sandbox: Sandbox, project: Project, test_script: str) -> list[str]:
    """Return a line for each installed copy of the project that tests would import instead of the
    source."""
    copies: list[str] = []
    if project.modules or project.distribution:
        done = sandbox.run("find \"$PWD\" -maxdepth 4 -name pyvenv.cfg -printf '%h\\n'")
        venvs = [f"PATH={shlex.quote(venv)}/bin:$PATH; " for venv in done.output.splitlines()]
        for start in [activation(test_script), *venvs]:
            done = run_tool(sandbox, "shadowed.py", sandbox.workdir, project.distribution,
                            *project.modules, before=f"{start}cd / && ")
            copies += done.output.splitlines()
    if project.node_package:
        place = shlex.quote(f"node_modules/{project.node_package}")
        look = f"[ ! -e {place} ] || [ -L {place} ] || echo {place} is a copy of the project itself"
        copies += sandbox.run(look).output.splitlines()
    return copies


def activation(test_script: str) -> str:
    """Return the shell prefix that activates the Python environment of a test script, or "" for the
    system's Python."""
    if script := re.search(r"(?:^|[\s;])(?:\.|source)\s+(\S+/bin/activate)\b", test_script):
        return f". {script[1]}; "
    prefix = PYTHON_IN.search(test_script)
    return f"PATH={prefix[1]}/bin:$PATH; " if prefix and prefix[1] != "/usr" else ""
