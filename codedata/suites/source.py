"""Put a project's source into a sandbox, as a repository whose history ends at one commit. Apply
patches to the source, find changes, and restore it."""
from __future__ import annotations

import os
import re
import shlex
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from codedata.code.entities import is_text
from codedata.disk.layouts import without_paths
from codedata.disk.locks import temporary_folder
from codedata.sandbox import Result, Sandbox
from codedata.sandbox.archives import Bounds, UnsafeArchive
from codedata.texts import text_of

TOOLS = "/tmp/codedata"    # the folder of this package's files in the sandbox while they are used
PATCHED = f"{TOOLS}-patched"   # the folder of a patch, and of copies of the files that it changes
CHANGED = Bounds(max_bytes=20_000_000, max_files=1_000, max_depth=64, max_seconds=60)
Files = dict[str, bytes]   # content by path
LOOK_S = 600               # time limit for copying or searching the source


@dataclass(frozen=True)
class Project:
    """Describe the source of a project for the checks."""

    source: Path | None = None      # a folder of this machine; None: the image's working directory
    commit: str = ""                # the end of the history; "": HEAD with uncommitted changes
    distribution: str = ""          # the name under which another copy could be installed
    modules: tuple[str, ...] = ()
    node_package: str = ""


def run_tool(sandbox: Sandbox, name: str, *words: str, before: str = "",
             beside: tuple[str, ...] = (), patch: str | None = None,
             timeout_s: float = LOOK_S) -> Result:
    """Run one of this package's programs in the sandbox and return its result. Put it into TOOLS
    with the programs `beside` and a file `patch`; remove all of them afterwards."""
    files = {file: text_of("codedata.suites.programs", file).encode() for file in (name, *beside)}
    if patch is not None:
        end = "" if patch.endswith("\n") or not patch else "\n"
        files["patch"] = f"{patch}{end}".encode(errors="replace")
    sandbox.put(files, TOOLS)
    start = "python3" if name.endswith(".py") else "bash"
    command = f"({before}{start} {TOOLS}/{name} {shlex.join(words)})"
    return sandbox.run(f"{command}; code=$?; rm -rf {TOOLS}; exit $code",
                       timeout_s=timeout_s)


def put_source(sandbox: Sandbox, project: Project, keeps_others: bool = False
               ) -> tuple[str, str]:
    """Put the source into the sandbox's working directory, as a repository whose history ends at
    the project's commit, and remove everything else there. With `keeps_others`, keep the files that
    the repository there did not track. Return (commit, "") or ("", error message)."""
    origin = f"{TOOLS}/source"
    if project.source is None:
        sandbox.run(f"mkdir -p {origin} && cp -a . {origin}/", timeout_s=LOOK_S)
    else:
        sandbox.put(project.source, origin)
    done = run_tool(sandbox, "clean_history.sh", origin, sandbox.workdir, project.commit,
                    "keep" if keeps_others else "")
    output = done.output.strip()
    last = output.rpartition("\n")[2]
    is_commit = done.ok and re.fullmatch(r"[0-9a-f]{40,64}", last)
    return (last, "") if is_commit else ("", output[-500:] or "no output")


def restore(sandbox: Sandbox, commit: str, since: str = "") -> tuple[list[str], str]:
    """Restore the source's files to their state in a commit. Return (paths that were changed or
    deleted, "") or ([], error message). With `since`, a time from now(), also list files written
    after it."""
    done = run_tool(sandbox, "restore.sh", sandbox.workdir, commit, since)
    if done.ok:
        return done.output.splitlines(), ""
    return [], done.output.strip()[-500:] or "git failed"


def now(sandbox: Sandbox) -> str:
    """Return the time of the sandbox's clock in seconds, as a string."""
    return sandbox.run("date +%s.%N").output.strip()


def apply_patch(sandbox: Sandbox, patch: str) -> tuple[Files, Files, str]:
    """Apply a patch to the source in a sandbox. Return (the changed files before, the same files
    after, "") or ({}, {}, error message). It is an error if nothing changes, or if a changed file
    is not text. Contents of executable files are Programs."""
    done = run_tool(sandbox, "apply_patch.sh", ".", f"{TOOLS}/patch", PATCHED, patch=patch)
    if not done.ok:
        return {}, {}, f"the patch does not apply: {done.output.strip()[-500:]}"
    with temporary_folder() as folder:
        sandbox.get(PATCHED, folder, CHANGED)
        before, after = (without_paths(files_in(folder / side))
                         for side in ("before", "after"))
    sandbox.run(f"rm -rf {PATCHED}")
    if before == after and [*map(type, before.values())] == [*map(type, after.values())]:
        return {}, {}, "the patch changes nothing"
    for path, content in (*before.items(), *after.items()):
        if not is_text(content):
            return {}, {}, f"the patch changes a file that is not text: {path}"
    return before, after, ""


def changed_files(sandbox: Sandbox, clean: str) -> tuple[set[str], Files, str]:
    """Compare the source in a sandbox with `clean`, an earlier copy of it in the sandbox. Return
    (paths that differ, {path: new content} of changed or new regular files, "") or (set(), {},
    error message). It is an error if the changes are too many or too large."""
    to = f"{TOOLS}-changed"
    done = run_tool(sandbox, "changed_files.sh", sandbox.workdir, clean, to)
    if not done.ok:
        return set(), {}, done.output.strip()[-300:]
    with temporary_folder() as folder:
        try:
            sandbox.get(to, folder, CHANGED)
            paths = os.fsdecode((folder / "paths").read_bytes()).split("\0")
        except UnsafeArchive as e:
            return set(), {}, e.what
        except OSError as e:   # a root process in the sandbox may have replaced it
            return set(), {}, f"the list of changes cannot be read: {e.strerror}"
        files = {path: place.read_bytes() for path, place in files_in(folder / "files").items()}
        return {*paths} - {""}, files, ""


def files_in(folder: Path) -> dict[str, Path]:
    """Return the regular files in a folder, sorted by path."""
    return {path.relative_to(folder).as_posix(): path
            for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink()}


def commit_date(sandbox: Sandbox, commit: str) -> str:
    """Return the date of a commit in ISO 8601, UTC; "" if it has none."""
    which = shlex.quote(commit or "HEAD")
    done = sandbox.run(f"git -c safe.directory='*' show -s --format=%ct {which}")
    seconds = done.output.strip()
    is_date = done.ok and seconds.isascii() and seconds.isdecimal() and len(seconds) < 12
    return f"{datetime.fromtimestamp(int(seconds), timezone.utc):%FT%TZ}" if is_date else ""
