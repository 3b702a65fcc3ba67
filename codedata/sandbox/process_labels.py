"""Record which process of which root a sandbox or a temporary folder belongs to, so that the next
start in that root can remove what a killed process left.

Labels alone prove nothing: `docker commit`, `docker run` and FROM hand those of an image on. What
is removed has the name that we gave it as well. An image that has none counts, too: it lost its
name to a later one, or is a step of a build or a commit that was cut short.
"""
from __future__ import annotations

import json
import os
import platform
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from codedata.store import digest

RUN = "codedata.run"
HOST = "codedata.host"
USER = "codedata.user"
ROOT = "codedata.root"
PID = "codedata.pid"
STARTED = "codedata.started"
BUILD = "codedata.build"   # of one build's images and containers, which the engine names
NAME = "codedata.name"     # what a container, network or image was called when it was made
FOLDERS = "codedata-"      # how the names of temporary folders begin
LABELS = "process_labels.json"   # a file in each of them

_root: list[Path] = []     # in which this process works: a script has one, others have none


def work_in(root: Path) -> None:
    """Label what this process makes from now on as made in this root."""
    _root[:] = [root.resolve()]


def labels(run: str) -> dict[str, str]:
    """Return the labels of what this process makes for a run."""
    pid = os.getpid()
    return {RUN: run or f"pid-{pid}", HOST: platform.node(), USER: str(os.getuid()),
            ROOT: _root_digest(), PID: str(pid), STARTED: _started(pid)}


def of_root() -> str:
    """Return the label, with its value, of all that is made in this process's root."""
    return f"{ROOT}={_root_digest()}"


def _root_digest() -> str:
    """Return the digest of the root's real path; an empty string where there is none. A folder that
    was deleted and made again is the same root; host and user stand in labels of their own."""
    return digest(str(_root[0])) if _root else ""


def is_left(labels: Mapping[str, str], all_roots: bool) -> bool:
    """Return whether labels() were written by a process of this user and host that is gone, in this
    process's root; with `all_roots`, anywhere. Labels of earlier versions name neither root nor
    user: they count with `all_roots` alone."""
    uid = str(os.getuid())
    is_near = all_roots or "" != labels.get(ROOT) == _root_digest()
    return is_near and labels.get(USER, uid) == uid and is_gone(labels)


def has_our_name(name: str, labels: Mapping[str, str]) -> bool:
    """Return whether this package gave something its name."""
    return name.removesuffix(":latest") == labels.get(NAME, "").removesuffix(":latest")


def label_folder(folder: Path, run: str = "") -> None:
    """Write the labels of this process into a temporary folder whose name begins with FOLDERS."""
    (folder / LABELS).write_text(json.dumps(labels(run)))


@contextmanager
def temporary_folder() -> Iterator[str]:
    """Yield an empty temporary folder, which is removed in the end, or after a kill by the next
    start."""
    with (tempfile.TemporaryDirectory(prefix=FOLDERS) as folder,
          tempfile.TemporaryDirectory(dir=folder) as place):
        label_folder(Path(folder))
        yield place


def is_gone(labels: dict[str, str]) -> bool:
    """Return whether labels() were written on this host by a process that is no longer there.
    Labels of another host never count as gone."""
    pid = labels.get(PID, "")
    if labels.get(HOST) != platform.node() or not pid.isdecimal():
        return False
    return not _is_alive(int(pid)) or _started(int(pid)) != labels.get(STARTED)


def _is_alive(pid: int) -> bool:
    """Return whether a process has this id."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _started(pid: int) -> str:
    """Return the boot and the tick at which a process started, since process ids are used again;
    an empty string where there is no /proc."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    fields = stat.rpartition(")")[2].split()   # the name before it may contain blanks and brackets
    return f"{boot}.{fields[19]}"
