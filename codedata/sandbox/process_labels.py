"""Record which process a sandbox belongs to, so that the next start can remove what a killed
process left."""
from __future__ import annotations

import os
import platform
from pathlib import Path

RUN = "codedata.run"
HOST = "codedata.host"
PID = "codedata.pid"
STARTED = "codedata.started"


def labels(run: str) -> dict[str, str]:
    """Return the labels of what this process makes for a run."""
    pid = os.getpid()
    return {RUN: run or f"pid-{pid}", HOST: platform.node(), PID: str(pid), STARTED: _started(pid)}


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
