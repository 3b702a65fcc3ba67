"""Define the cluster's actors: workers, which make items, and the mailbox through which they call
their driver. They store nothing: a worker that dies loses only the items in flight.
"""
from __future__ import annotations

import asyncio
import platform
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ray

import codedata
from codedata import driver
from codedata.cluster import parcels
from codedata.disk.layouts import files_digest
from codedata.errors import MachineStopped, Trouble, is_full_disk
from codedata.llm.replies import recording
from codedata.run.talk import Step, showing
from codedata.sandbox import process_labels

BEAT_S = 1.0               # seconds between signs of life
_lease: ContextVar[int] = ContextVar("lease", default=0)   # lease of this thread's item


@dataclass
class ItemOutcome:
    """Hold the outcome of making an item: a result, an error of the item, or an error of the
    machine (`is_unwell`), after which the item can be made on another machine."""

    result: Any = None
    error: Exception | None = None
    traceback: str = ""        # set if the error is a bug, not a Trouble
    is_unwell: bool = False


def packed_outcome(work: Callable[[], Any]) -> bytes:
    """Return the packed outcome of work(). A result that cannot be packed becomes an error, so that
    the driver does not wait for it."""
    try:
        return parcels.pack(ItemOutcome(work()))
    except Exception as e:
        is_unwell = isinstance(e, MachineStopped) or any(map(is_full_disk, (e, e.__cause__)))
        text = "" if isinstance(e, Trouble) else traceback.format_exc()
        outcome = ItemOutcome(None, e, text, is_unwell)
    try:
        return parcels.pack(outcome)
    except Exception:
        return parcels.pack(replace(outcome, error=RuntimeError(repr(outcome.error))))


@dataclass
class Job:
    """Hold the functions and settings that a worker needs for a stage's items."""

    make: Any                  # the stage's make() and close()
    close: Any
    root: Path
    host: Any = None           # the SandboxFactory of a stage with containers


def engine_of(job: bytes) -> str:
    """Return the id of this machine's container engine if the job makes images there, else ""."""
    host = parcels.unpack(job).host
    return host.engine_id() if host else ""


def package_digest() -> str:
    """Return the digest of the package's files on this machine, including prompts and tables."""
    folder = Path(codedata.__file__).parent
    return files_digest({str(path.relative_to(folder)): path for path in folder.rglob("[!.]*")
                         if path.is_file() and path.parent.name != "__pycache__"})


class Mailbox:
    """Pass workers' calls to the driver, and its answers back. It runs on the driver's machine."""

    def __init__(self):
        self._calls: asyncio.Queue = asyncio.Queue()
        self._answers: dict[int, asyncio.Future] = {}
        self._n_calls = 0
        self._is_ending = False

    async def call(self, lease: int, message: bytes) -> bytes:
        """Return the driver's answer to a worker's call."""
        self._n_calls += 1
        number, answer = self._n_calls, asyncio.get_running_loop().create_future()
        self._answers[number] = answer
        self._calls.put_nowait((number, lease, message))
        return await answer

    async def beat(self, worker: int, steps: dict[int, Step]) -> bool:
        """Receive a worker's sign of life, with the current steps of its items; return whether the
        run is ending."""
        self._calls.put_nowait((0, worker, steps))
        return self._is_ending

    async def take(self) -> list[tuple]:
        """Wait for messages for the driver, and return them."""
        taken = [await self._calls.get()]
        with suppress(asyncio.QueueEmpty):
            while True:
                taken.append(self._calls.get_nowait())
        return taken

    async def answer(self, answers: list[tuple[int, bytes]]) -> None:
        """Answer calls, given as (number, answer)."""
        for number, message in answers:
            if number in self._answers:
                self._answers.pop(number).set_result(message)

    async def end(self) -> None:
        """Tell the workers, at their next sign of life, that the run is ending."""
        self._is_ending = True


class ClusterWorker:
    """Make items in a process of its own."""

    def __init__(self, mailbox, number: int):
        self._mailbox, self._number = mailbox, number
        self._steps: dict[int, Step] = {}   # by lease
        self._job: Job | None = None
        threading.Thread(target=self._beat, daemon=True).start()

    def about(self) -> dict:
        """Return the package's digest on this machine, and the machine's name."""
        return {"code": package_digest(), "machine": platform.node()}

    def begin(self, job: bytes) -> tuple[str, list[str], list[str]]:
        """Prepare for a stage's items: remove the leftovers of dead workers of the stage's root
        on this machine. Return (the id of the machine's container engine if images are made there,
        the names of removed things, a line for each thing that could not be removed)."""
        driver.work_for(self._call)
        self._job = parcels.unpack(job)
        process_labels.label_with(self._job.root)
        host = self._job.host
        return (host.engine_id(), *host.reap()) if host else ("", [], [])

    def make(self, lease: int, inputs: bytes, log: bytes) -> bytes:
        """Return the outcome of an item."""
        step = self._steps[lease] = Step()
        token = _lease.set(lease)
        try:
            with recording(parcels.unpack(log)), showing(step):
                return packed_outcome(lambda: self._job.make(*parcels.unpack(inputs)))
        finally:
            _lease.reset(token)
            del self._steps[lease]

    def end(self) -> list[str]:
        """Call the stage's close(); return its lines for the terminal."""
        return self._job.close()

    def _call(self, target, name: str, arguments):
        message = parcels.pack((target, name, arguments))
        try:
            reply = ray.get(self._mailbox.call.remote(_lease.get(), message))
        except ray.exceptions.RayError as e:
            raise MachineStopped(f"the driver cannot be reached: {e}") from e
        answer: ItemOutcome = parcels.unpack(reply)
        if answer.error:
            raise answer.error
        return answer.result

    def _beat(self) -> None:
        """Give signs of life for as long as the driver lives."""
        while True:
            with suppress(ray.exceptions.GetTimeoutError):
                steps = dict(self._steps)
                if ray.get(self._mailbox.beat.remote(self._number, steps), timeout=10 * BEAT_S):
                    parcels.stop.set()
            time.sleep(BEAT_S)
