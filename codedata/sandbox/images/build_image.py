"""Build an image from an unreviewed Dockerfile, within limits.

The network is on for RUN and ADD. The engine itself pulls the images of FROM and COPY --from; a
base image with ONBUILD steps is refused. A step's processes are limited from its first second.
`.dockerignore` is not applied.
"""
from __future__ import annotations

import io
import json
import re
import secrets
import shutil
import tarfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import requests

from codedata.errors import Interrupted, ItemFailed, start_thread
from codedata.sandbox import process_labels
from codedata.sandbox.archives import Bounds, pack
from codedata.sandbox.docker import disk_limit, engine
from codedata.sandbox.docker.container import CPU_PERIOD_US, LOST, PIDS_LIMIT
from codedata.sandbox.docker.output import Output
from codedata.sandbox.images.dockerfile import read_dockerfile
from codedata.sandbox.sizes import bytes_of
from codedata.settings import SandboxSettings

CONTEXT = Bounds(max_bytes=1_000_000_000, max_files=100_000, max_depth=64, max_seconds=120)
BUILD = "codedata.build"   # label of one build's images and containers
LOOK_S = 1.0               # seconds between two checks of a build's usage
SILENT_S = 60.0            # seconds that the engine may take to end a build
TRIGGERS = re.compile(r"# Executing \d+ build triggers?\b")   # the engine's message about ONBUILD


@dataclass(frozen=True)
class BuildLimits(SandboxSettings):
    """Hold the limits of a build. Each step of a build has the limits of a sandbox. While less than
    `disk_floor` is free on the engine's disk, no build starts, and running builds are ended."""

    timeout_s: float = 600.0
    pids_limit: int = PIDS_LIMIT


@dataclass(frozen=True)
class Build:
    """Hold the result of a build."""

    image_id: str              # "" if the build failed
    log: str                   # output of the build, at most OUTPUT_BYTES
    failed: str                # why the build failed; "" on success
    seconds: float


def build(context: Path, text: str, tag: str, limits: BuildLimits, *, run_label: str = "",
          stop: threading.Event | None = None) -> Build:
    """Build an image from a Dockerfile's text and return the result. The image has the run's label,
    for remove_images() or reap(). Raise ItemFailed if the context cannot be read, RunStopped if the
    engine is gone, Interrupted if `stop` is set."""
    api, stop = engine.connect(), stop or threading.Event()
    token = secrets.token_hex(8)
    labels = process_labels.labels(run_label)
    labels |= {engine.KEEP: "", BUILD: token}
    disk_limit.wait_for_room(engine.folder(api), bytes_of(limits.disk_floor), stop)
    started = time.monotonic()
    output = Output()
    ended: list[str] = []
    with _packed(context, text, labels, limits) as archive:
        try:
            with _watched(api, token, limits, stop) as ended:
                image_id, failed = _read(_request(api, archive, tag, labels, limits), output)
        except LOST as e:
            engine.connect()
            image_id, failed = "", engine.reason(e)
        finally:
            _remove_steps(api, labels, image_id)
    if failed and stop.is_set():
        raise Interrupted()
    if not (image_id or failed):
        failed = "the engine ended it without a reason"
    why = "; ".join(dict.fromkeys(ended)) if failed and ended else failed
    return Build(image_id, output.text(), why, round(time.monotonic() - started, 2))


# the request -------------------------------------------------------------------------------------

@contextmanager
def _packed(context: Path, text: str, labels: dict[str, str],
            limits: BuildLimits) -> Iterator[BinaryIO]:
    """Yield a tar of the context, with a labelled Dockerfile that COPY does not see."""
    name = f".codedata.{labels[BUILD]}"
    added = {name: labelled(text, labels),
             ".dockerignore": f"{name}\n.dockerignore\n"}
    with pack(context, bounds=CONTEXT) as archive:
        with tarfile.open(fileobj=archive, mode="a") as tar:
            for path, content in added.items():
                member = tarfile.TarInfo(path)
                member.size = len(content.encode())
                tar.addfile(member, io.BytesIO(content.encode()))
        archive.seek(0)
        yield archive


def labelled(dockerfile: str, labels: dict[str, str]) -> str:
    """Return a Dockerfile with the labels added after each FROM and each LABEL, so that all images
    and containers of a build have them. Raise ItemFailed if the Dockerfile is refused."""
    words = " ".join(f"{name}={json.dumps(value)}" for name, value in labels.items())
    lines = []
    instructions, fault = read_dockerfile(dockerfile)
    if fault:
        raise ItemFailed(fault, "the Dockerfile")
    for one in instructions:
        lines.append(one.text)   # write it in one line, so that Docker parses it as we did
        if one.name in ("FROM", "LABEL"):
            lines.append("LABEL " + words.replace("$", "\\$"))
    return "\n".join(lines)


def _request(api, archive: BinaryIO, tag: str, labels: dict[str, str], limits: BuildLimits):
    """Request a build; return the engine's streaming reply."""
    memory = bytes_of(limits.memory_request)
    options = {"t": tag, "dockerfile": f".codedata.{labels[BUILD]}", "version": "1",   # no BuildKit
               "rm": "1", "forcerm": "1", "labels": json.dumps(labels),
               "memory": memory, "memswap": memory, "cpuperiod": CPU_PERIOD_US,
               "cpuquota": int(limits.cpu_request * CPU_PERIOD_US)}
    reply = api.post(f"{api.base_url}/v{api.api_version}/build", data=archive, params=options,
                     headers={"Content-Type": "application/x-tar"}, stream=True,
                     timeout=limits.timeout_s + SILENT_S)
    if not reply.ok:
        raise requests.HTTPError(reply.text, response=reply)
    return reply


# the reply ---------------------------------------------------------------------------------

def _read(reply, output: Output) -> tuple[str, str]:
    """Read a build's reply to its end. Return (image id or "", error or "")."""
    image_id = failed = ""
    with closing(reply):
        for line in reply.iter_lines():
            message = json.loads(line) if line.strip() else {}
            stream = message.get("stream") or ""
            output.add((stream or message.get("error") or "").encode())
            image_id = (message.get("aux") or {}).get("ID", image_id)
            failed = message.get("error", failed)
            if TRIGGERS.match(stream):
                return "", "a base image has ONBUILD steps, which the limits do not reach"
    return ("" if failed else image_id), failed


@contextmanager
def _watched(api, token: str, limits: BuildLimits,
             stop: threading.Event) -> Iterator[list[str]]:
    """During the block, remove the containers of the build if it exceeds a limit, or if the run
    stops. Yield the list of reasons."""
    reasons: list[str] = []
    has_ended = threading.Event()
    ends_at = time.monotonic() + limits.timeout_s
    place = engine.folder(api)

    def watch() -> None:
        while not has_ended.wait(LOOK_S):
            with suppress(requests.RequestException):
                steps = api.containers(all=True, size=True, filters={"label": f"{BUILD}={token}"})
                n_bytes = sum(step.get("SizeRw") or 0 for step in steps)
                checks = {
                    "the run stops": stop.is_set(),
                    f"it took more than {limits.timeout_s:g} s": time.monotonic() > ends_at,
                    f"a step started {limits.pids_limit} processes":
                        any(_is_full(api, step["Id"], limits.pids_limit) for step in steps),
                    f"a step wrote more than {limits.disk_limit}":
                        n_bytes > bytes_of(limits.disk_limit),
                    f"less than {limits.disk_floor} is free on the disk":
                        shutil.disk_usage(place).free < bytes_of(limits.disk_floor)}
                reasons.extend(reason for reason, is_over in checks.items() if is_over)
                for step in steps if any(checks.values()) else []:
                    engine.remove_container(api, step["Id"])

    thread = start_thread(watch)
    try:
        yield reasons
    finally:
        has_ended.set()
        thread.join()


def _is_full(api, id: str, pids: int) -> bool:
    """Set a container's limit of processes. Return whether it already had that many processes."""
    with suppress(requests.RequestException, ValueError):   # the container may have ended
        place = f"{api.base_url}/v{api.api_version}/containers/{id}"
        found = api.get(f"{place}/stats", params={"stream": "0", "one-shot": "1"}, timeout=SILENT_S)
        api.post(f"{place}/update", json={"PidsLimit": pids}, timeout=SILENT_S)
        return (found.json().get("pids_stats") or {}).get("current", 0) >= pids
    return False


def _remove_steps(api, labels: dict[str, str], image_id: str) -> None:
    """Remove a build's images except the final one."""
    images = []
    with suppress(*LOST):
        images = api.images(filters={"label": f"{BUILD}={labels[BUILD]}"})
    for image in images:
        with suppress(*LOST):
            if image["Id"] != image_id:
                api.remove_image(image["Id"])
