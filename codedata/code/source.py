"""Put a project's source into a sandbox, as a repository whose history ends at one commit, and put
back what was changed of it."""
from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from codedata.sandbox import Result, Sandbox
from codedata.texts import text_of

TOOLS = "/tmp/codedata"    # holds this package's files in the sandbox while they are used
LOOK_S = 600               # seconds to copy the source, or to search it


@dataclass(frozen=True)
class Project:
    """Hold what the checks have to know about the source."""

    source: Path | None = None      # a folder of the host; None: the image's working directory
    commit: str = ""                # the end of the history; "": HEAD with uncommitted changes
    distribution: str = ""          # the names under which another copy could be installed
    modules: tuple[str, ...] = ()
    node_package: str = ""


def run_tool(sandbox: Sandbox, name: str, *words: str, start: str = "bash",
             before: str = "", beside: tuple[str, ...] = ()) -> Result:
    """Run one of this package's programs in the sandbox, with those `beside` it in TOOLS; remove
    them, and return its result."""
    sandbox.put({file: text_of("codedata.code", file).encode() for file in (name, *beside)}, TOOLS)
    command = f"({before}{start} {TOOLS}/{name} {shlex.join(words)})"
    return sandbox.run(f"{command}; code=$?; rm -rf {TOOLS}; exit $code", timeout_s=LOOK_S)


def put_source(sandbox: Sandbox, project: Project) -> tuple[str, str]:
    """Put the source into the sandbox's working directory, as a repository whose history ends at
    the project's commit. Return (commit, "") or ("", error message)."""
    origin = f"{TOOLS}/source"
    if project.source is None:
        sandbox.run(f"mkdir -p {origin} && cp -a . {origin}/", timeout_s=LOOK_S)
    else:
        sandbox.put(project.source, origin)
    done = run_tool(sandbox, "clean_history.sh", origin, sandbox.workdir, project.commit)
    output = done.output.strip()
    last = output.rpartition("\n")[2]
    is_commit = done.ok and re.fullmatch(r"[0-9a-f]{40,64}", last)
    return (last, "") if is_commit else ("", output[-500:] or "no output")


def restore(sandbox: Sandbox, commit: str, since: str = "") -> tuple[list[str], str]:
    """Restore the source's files to their state in a commit. Return (paths that were changed or
    deleted, "") or ([], error message). With `since`, a time from now(), files written after it
    are listed, too."""
    done = run_tool(sandbox, "restore.sh", sandbox.workdir, commit, since)
    if done.ok:
        return done.output.splitlines(), ""
    return [], done.output.strip()[-500:] or "git failed"


def now(sandbox: Sandbox) -> str:
    """Return the time of the sandbox's clock in seconds, as a string."""
    return sandbox.run("date +%s.%N").output.strip()
