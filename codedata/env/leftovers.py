"""What scripts leave in a sandbox that would make its results worth less: a changed source, a history that goes on
after the base commit, another copy of the project. Programs that run in the sandbox look for it."""
from __future__ import annotations

import re
import shlex

from codedata.sandbox import Result, Sandbox
from codedata.texts import text_of

TOOLS = "/tmp/codedata"    # where what is run beside the scripts lies, while it runs
PYTHON_IN = re.compile(r"(?:(?<!\S)|\bPATH=[\"']?)(/[^\s\"':]+)/bin(?:/(?:python[\d.]*|pytest)\b|[:\"'])")
LOOK_S = 600               # for the source to be copied, and to be looked through


def run_tool(sandbox: Sandbox, name: str, *words: str, start: str = "bash", before: str = "") -> Result:
    """What one of this package's programs comes to in the sandbox; nothing of it is left there."""
    sandbox.put({name: text_of("codedata.env", name).encode()}, TOOLS)
    command = f"({before}{start} {TOOLS}/{name} {shlex.join(words)}); code=$?; rm -rf {TOOLS}; exit $code"
    return sandbox.run(command, timeout_s=LOOK_S)


def restore(sandbox: Sandbox, commit: str, since: str = "") -> tuple[list[str], str]:
    """Put the source's files back as they are in a commit: (those that were changed or deleted, what went wrong). With
    `since`, a time as now() gives it, those that were written after it are among them."""
    done = run_tool(sandbox, "restore.sh", sandbox.workdir, commit, since)
    return (done.output.splitlines(), "") if done.ok else ([], done.output.strip()[-500:] or "git failed")


def now(sandbox: Sandbox) -> str:
    """Seconds, by the sandbox's clock."""
    return sandbox.run("date +%s.%N").output.strip()


def history_after(sandbox: Sandbox, base_commit: str) -> list[str]:
    """What of a history beside the base commit's is in the sandbox, a line each."""
    found = []
    for tool in ("check_history.sh", "find_history.sh"):
        done = run_tool(sandbox, tool, sandbox.workdir, base_commit)
        found += done.output.splitlines() + ([] if done.ok else [f"looking for it ended with {done.exit_code}"])
    return found


def shadows(sandbox: Sandbox, distribution: str, modules: tuple[str, ...], node_package: str,
            test_script: str) -> list[str]:
    """Installed copies of the project that would be imported instead of its source, a line each."""
    found: list[str] = []
    if modules or distribution:
        inside = sandbox.run("find \"$PWD\" -maxdepth 4 -name pyvenv.cfg -printf '%h\\n'").output.splitlines()
        for start in [activation(test_script), *(f"PATH={shlex.quote(venv)}/bin:$PATH; " for venv in inside)]:
            found += run_tool(sandbox, "shadowed.py", sandbox.workdir, distribution, *modules, start="python3",
                              before=f"{start}cd / && ").output.splitlines()
    if node_package:
        place = shlex.quote(f"node_modules/{node_package}")
        look = f"[ ! -e {place} ] || [ -L {place} ] || echo {place} is a copy of the project itself"
        found += sandbox.run(look).output.splitlines()
    return found


def activation(test_script: str) -> str:
    """The command that activates the environment in which a test script runs Python; "" for the system's."""
    if used := re.search(r"(?:^|[\s;])(?:\.|source)\s+(\S+/bin/activate)\b", test_script):
        return f". {used[1]}; "
    if named := PYTHON_IN.search(test_script):
        return f"PATH={named[1]}/bin:$PATH; " if named[1] != "/usr" else ""
    return ""
