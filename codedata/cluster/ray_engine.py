"""Give items to the workers of a Ray cluster, from the driver (the process that plans and writes).

Each item has a thread of the run loop, which waits for its result and meanwhile serves the worker's
calls. So a model's reply is on the driver's disk before the worker gets it, and limits, back-off
and budget work as in one process. If a worker dies, another one gets its item, with all replies so
far, under a new lease; calls with an older lease are refused.
"""
from __future__ import annotations

import os
import queue
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from itertools import count
from operator import attrgetter
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from codedata import driver
from codedata.cluster import parcels
from codedata.cluster.ray_actors import (
    ClusterWorker,
    ItemOutcome,
    Job,
    Mailbox,
    engine_of,
    package_digest,
    packed_outcome,
)
from codedata.config import bare_environment
from codedata.errors import Interrupted, ItemFailed, RunStopped, Trouble, start_thread
from codedata.run.talk import Step
from codedata.sandbox.factory import say_removed
from codedata.sandbox.sizes import bytes_of
from codedata.settings import Settings
from codedata.terminal import plural, say

SLOT = "sandbox"           # Ray's resource on nodes that may run containers: one for each container
MAX_GIVEN = 3              # workers that may try an item
MAX_STARTS = 3             # times in a row that a slot may fail to start a worker
SILENT_S = 60.0            # seconds without a sign of life, after which a worker counts as dead
NO_WORKER_S = 120.0        # seconds without any worker, after which the run stops
CONNECT_S = 10.0           # seconds for a cluster to answer
WATCH_S = 1.0              # seconds between two checks of the workers
HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"   # gRPC's connection preface
# accepted first bytes of an answer: from gRPC, from gRPC that requires TLS, none
GRPC = (b"\0", b"\x15", b"")
MAX_BYTES = 1 << 30        # limit for an item's packed inputs, and for its packed result


WAITING = Step(name="waiting for a worker")


class WorkerLost(Exception):
    """Report that an item's worker died, or that its machine is unwell."""


@dataclass(eq=False)
class Slot:
    """Hold a slot of the cluster for one worker at a time."""

    strategy: Any = "SPREAD"   # Ray's rule for choosing the next worker's node
    actor: Any = None
    machine: str = ""
    seen: float = 0.0          # time of the worker's last sign of life
    n_failed: int = 0          # failed starts in a row
    leases: set[int] = field(default_factory=set)


class RayEngine:
    """Make a stage's items on workers. A worker has its own process, and makes one item at a time,
    or many if the stage needs no containers, or if its containers wait for a model."""

    def __init__(self, stage: Any, settings: Settings, stop: threading.Event, host: Any,
                 address: str, n_workers: int):
        """Start the workers. `host` is the SandboxFactory of a script with sandboxes, or None. With
        `n_workers` 0, start as many as fit into the cluster."""
        sandbox, needs = settings.sandbox, {}   # cores and bytes of memory for an item's containers
        if host:
            needs = {"cores": sandbox.cpu_request,
                     "memory": float(bytes_of(sandbox.memory_request))}
        _connect(address, 1 if stage.waits else max(1, n_workers), needs)
        own_node = ray.get_runtime_context().get_node_id()
        self._mailbox = ray.remote(Mailbox).options(
            num_cpus=0, max_concurrency=100_000,
            scheduling_strategy=NodeAffinitySchedulingStrategy(own_node, soft=False)).remote()
        self._stop, self._needs = stop, needs
        self.n_workers = n_workers or _room(needs)
        self._at_a_time = 1            # items that a worker makes at once
        if needs and not stage.waits:
            self._slots = [Slot() for _ in range(self.n_workers)]
        else:   # one worker on each machine: Ray might put all on one
            nodes = [node["NodeID"] for node in ray.nodes()
                     if node["Alive"] and (SLOT in node["Resources"] or not needs)]
            self._slots = [Slot(NodeAffinitySchedulingStrategy(node, soft=False))   # True: any node
                           for node in sorted(nodes, key=own_node.__ne__)[:self.n_workers]]
            if not self._slots:
                _room(needs)   # raises the reason
            self._at_a_time = -(-self.n_workers // len(self._slots))
        job = Job(stage.make, stage.close, settings.root.resolve(), host)
        self._job = ray.put(parcels.pack(job))
        self._code = package_digest()
        self._engines: set[str] = set()   # ids of container engines
        self._has_registry = bool(sandbox.registry)
        self._fault: RunStopped | None = None
        if needs and not self._has_registry:    # later engines are checked when a worker starts
            self._see_engines(_engines(self._job))
        self._numbers = count(1)       # numbers of workers and leases
        self._idle: queue.SimpleQueue[tuple[Slot, int]] = queue.SimpleQueue()
        self._inboxes: dict[int, queue.SimpleQueue] = {}   # by lease
        self._answers: queue.SimpleQueue[tuple[int, bytes]] = queue.SimpleQueue()
        self._steps: dict[int, Step] = {}                  # by lease
        self._refused: dict[str, str] = {}                 # {machine: why it gets no items}
        self._alive: dict[int, Slot] = {}                  # {number of a worker: its slot}
        self._ended = threading.Event()
        self._threads: list[threading.Thread] = []
        for slot in self._slots:
            self._in_thread(partial(self._fill, slot))
        self._in_thread(self._receive)
        self._in_thread(self._send)
        self._in_thread(self._watch)

    # the run loop's side -------------------------------------------------------------------------

    def make(self, log: Any, step: Step, inputs: list) -> Any:
        """Make an item from `inputs` on a worker; return it. `log` is the item's reply log.
        Raise the errors of the stage's make(), and ItemFailed if its workers die."""
        parcel, reasons = _bounded(parcels.pack(inputs)), []
        while len(reasons) < MAX_GIVEN:
            step.follow(WAITING)
            slot, number = self._take()
            try:
                return _result(self._make_in(slot, step, parcel, log))
            except WorkerLost as e:
                reasons.append(f"{slot.machine}: {e}")
                self._drop(slot, number, str(e))
                log.begin_again()
            finally:
                self._idle.put((slot, number))   # _take() skips a lost worker
        raise ItemFailed(f"infrastructure: {plural(MAX_GIVEN, 'worker')} died or failed with it: "
                         f"{'; '.join(dict.fromkeys(reasons))}")

    def _make_in(self, slot: Slot, step: Step, parcel: bytes, log: Any) -> ItemOutcome:
        """Return an item's outcome from a slot's worker. Raise WorkerLost if the worker dies."""
        lease = next(self._numbers)
        self._inboxes[lease] = inbox = queue.SimpleQueue()
        self._steps[lease] = step
        slot.leases.add(lease)
        try:
            ref = slot.actor.make.remote(lease, parcel, parcels.pack(log))
            ref.future().add_done_callback(inbox.put)
            return self._serve(inbox)
        finally:
            slot.leases.discard(lease)
            del self._inboxes[lease], self._steps[lease]
            driver.forget(log)

    def _serve(self, inbox: queue.SimpleQueue) -> ItemOutcome:
        """Serve the calls of an item's worker; return the outcome. Raise WorkerLost if it dies."""
        while True:
            message = inbox.get()
            if isinstance(message, WorkerLost):
                raise message
            if isinstance(message, tuple):
                self._answer(*message)
                continue
            if error := message.exception():
                raise WorkerLost(f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")
            outcome = parcels.unpack(_bounded(message.result()))
            if outcome.is_unwell:
                raise WorkerLost(str(outcome.error))
            return outcome

    def _take(self) -> tuple[Slot, int]:
        """Return a slot with a free worker. Raise Interrupted if the run ends, RunStopped if no
        worker starts."""
        waited_since = time.monotonic()
        while True:
            if self._stop.is_set():
                raise Interrupted()
            if self._fault:
                raise self._fault
            try:
                slot, number = self._idle.get(timeout=0.2)
            except queue.Empty:
                if self._alive:
                    waited_since = time.monotonic()
                has_given_up = all(slot.n_failed >= MAX_STARTS for slot in self._slots)
                if has_given_up or time.monotonic() - waited_since > NO_WORKER_S:
                    raise RunStopped(self._why_none(), todo=ADVICE) from None
                continue
            if number in self._alive:
                return slot, number

    def _why_none(self) -> str:
        """Return why no worker has started."""
        wanted = f"{self._needs or 'no containers'}".strip("{}").replace("'", "")
        reasons = [f"{machine}: {why}" for machine, why in self._refused.items()]
        return "; ".join(reasons) or f"no machine of the cluster has room for a worker ({wanted})"

    def where(self) -> Counter[str]:
        """Return the number of items in flight by machine."""
        return Counter(slot.machine for slot in self._slots for _ in [*slot.leases])

    def end(self) -> list[str]:
        """Call the stage's close() on all workers; return its lines."""
        ends = [slot.actor.end.remote() for slot in [*self._alive.values()]]
        lines: list[str] = []
        for ref in ends:
            try:
                lines += ray.get(ref, timeout=60)
            except (ray.exceptions.RayError, Trouble):   # the next start removes its containers
                continue
        return sorted({*lines})

    def close(self) -> None:
        """End the workers."""
        self._ended.set()
        self._answers.put((0, b""))
        for actor in (*(slot.actor for slot in self._slots if slot.actor), self._mailbox):
            ray.kill(actor)
        for thread in self._threads:
            thread.join(5)   # none of them may outlive Ray

    # workers -------------------------------------------------------------------------------------

    def _fill(self, slot: Slot) -> None:
        """Start a worker in a slot as soon as it fits into the cluster; make it available for
        items."""
        while not self._ended.is_set() and slot.n_failed < MAX_STARTS:
            number = next(self._numbers)
            try:
                self._start(slot, number)
                return
            except (ray.exceptions.RayError, Trouble, ImportError) as e:
                slot.n_failed += 1
                why = " ".join(str(e).split())[-300:]
                if slot.machine not in self._refused and not self._ended.is_set():
                    say(f"a worker does not start on {slot.machine or 'a machine'}: {why}")
                self._refused[slot.machine] = why
                self._ended.wait(1)

    def _start(self, slot: Slot, number: int) -> None:
        options = {"num_cpus": 0, "scheduling_strategy": slot.strategy,
                   "max_concurrency": self._at_a_time}
        slot.strategy = "SPREAD"
        if self._needs:
            options |= {"num_cpus": self._needs["cores"], "memory": int(self._needs["memory"]),
                        "resources": {SLOT: 1}}
        slot.actor = ray.remote(ClusterWorker).options(**options).remote(self._mailbox, number)
        about = ray.get(slot.actor.about.remote())
        slot.machine = about["machine"]
        if about.get("code") != self._code:
            slot.n_failed = MAX_STARTS
            raise Trouble("has other files of codedata than the driver.", slot.machine,
                          "Bring the same commit, without edits, to all machines.")
        engine, removed, left = ray.get(slot.actor.begin.remote(self._job))
        self._see_engines([engine])
        say_removed(removed, left)
        slot.n_failed, slot.seen = 0, time.monotonic()
        self._alive[number] = slot
        for _ in range(self._at_a_time):
            self._idle.put((slot, number))

    def _see_engines(self, engines: list[str]) -> None:
        """Raise RunStopped, here and for all items, if there are several container engines without
        a registry: images of one would be missing on another."""
        self._engines.update(engines)
        if len(self._engines) > 1 and not self._has_registry:
            self._fault = RunStopped(
                "is not set, but images that one machine makes are needed on others.",
                "[sandbox] registry", "Name a registry that all machines may push to and pull "
                "from, or give only one machine: docs/clusters.md.", exit_code=2)
            raise self._fault

    def _drop(self, slot: Slot, number: int, why: str) -> None:
        """Give a lost worker no more items, and start another one in its place."""
        if self._alive.pop(number, None):   # only once, as several threads may notice the loss
            say(f"a worker on {slot.machine} is lost, its items go to others: {why}")
            ray.kill(slot.actor)
            self._in_thread(partial(self._fill, slot))

    def _in_thread(self, target: Callable[[], None]) -> None:
        self._threads.append(start_thread(target))

    def _watch(self) -> None:
        """Drop workers that have given no sign of life for SILENT_S."""
        why = f"it gave no sign of life for {SILENT_S:.0f} s"
        while not self._ended.wait(WATCH_S):
            if self._stop.is_set():
                self._mailbox.end.remote()
            for number, slot in [*self._alive.items()]:
                if time.monotonic() - slot.seen > SILENT_S:
                    inboxes = [self._inboxes.get(lease) for lease in [*slot.leases]]
                    self._drop(slot, number, why)
                    for inbox in filter(None, inboxes):
                        inbox.put(WorkerLost(why))

    # messages ------------------------------------------------------------------------------------

    def _receive(self) -> None:
        """Pass workers' calls to the threads of their items."""
        while not self._ended.is_set():
            try:
                messages = ray.get(self._mailbox.take.remote())
            except ray.exceptions.RayError as e:
                self._fault = RunStopped(f"cannot be reached: {e}", "The cluster", "Run again: "
                                         "what is done is kept.")
                return
            for number, sender, message in messages:
                if number:
                    self._forward(number, sender, message)
                    continue
                if slot := self._alive.get(sender):
                    slot.seen = time.monotonic()
                for lease, at in message.items():
                    if step := self._steps.get(lease):
                        step.follow(at)

    def _send(self) -> None:
        """Send answers to workers. All waiting answers are sent together, since they come in
        bursts."""
        while not self._ended.is_set():
            answers = [self._answers.get()]
            with suppress(queue.Empty):
                while True:
                    answers.append(self._answers.get_nowait())
            self._mailbox.answer.remote(answers)

    def _forward(self, number: int, lease: int, message: bytes) -> None:
        if inbox := self._inboxes.get(lease):
            inbox.put((number, message))
        elif lease:   # from a worker that was dropped but is alive
            self._answers.put((number, parcels.pack(ItemOutcome(error=Interrupted()))))
        else:         # from a worker without an item
            self._answer(number, message)

    def _answer(self, number: int, message: bytes) -> None:
        """Execute a worker's call, and send it the result or the exception."""
        def work() -> Any:
            target, name, arguments = parcels.unpack(message)
            place = import_module(target) if isinstance(target, str) else target
            found = attrgetter(name)(place)
            if arguments is None:
                return found
            args, kwargs = arguments
            return found(*args, **kwargs)

        self._answers.put((number, packed_outcome(work)))


ADVICE = ("Look at `ray status`; docs/clusters.md says how nodes are started, and which token they "
          "share.")
TOKEN = ("Set RAY_AUTH_MODE=token, and bring the cluster's token to ~/.ray/auth_token or to "
         "RAY_AUTH_TOKEN: docs/clusters.md.")


class _Remote(Exception):
    """Show the traceback of a worker as the cause of its error."""


def _result(outcome: ItemOutcome) -> Any:
    if outcome.error is None:
        return outcome.result
    if outcome.traceback:
        raise outcome.error from _Remote(f"\n{outcome.traceback}")
    raise outcome.error


def _bounded(parcel: bytes) -> bytes:
    if len(parcel) > MAX_BYTES:
        raise ItemFailed(f"is larger than {MAX_BYTES:,} bytes, the most that is sent.")
    return parcel


def _connect(address: str, n_workers: int, needs: dict[str, float]) -> None:
    """Connect to a cluster, or start one on this machine that ends with this process."""
    if ray.is_initialized():
        return
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    if not address:
        cores, memory = needs.get("cores", 0), needs.get("memory", 0)
        quiet |= {"num_cpus": max(os.cpu_count() or 1, -int(-cores * n_workers // 1)),
                  "resources": {SLOT: n_workers}, "include_dashboard": False,
                  "_memory": max(1 << 30, memory * n_workers)}
    try:
        if address:
            _check_answers(address)
        with bare_environment():   # processes of a local cluster inherit the environment
            ray.init(address=address or "local", **quiet)
    except ray.exceptions.AuthenticationError as e:
        raise Trouble("does not take this process's token: none was sent, or another one.",
                      f"the Ray cluster {address}", TOKEN) from e
    except (OSError, ValueError, RuntimeError, ray.exceptions.RayError) as e:
        raise Trouble(f"cannot be reached: {' '.join(str(e).split())[-300:]}",
                      f"the Ray cluster {address}", ADVICE) from e


def _check_answers(address: str) -> None:
    """Raise an error with the reason if no Ray answers at HOST:PORT, or if it refuses this process;
    ray.init() would retry for minutes, or for ever."""
    host, _, port = address.rpartition(":")
    if not port.isdecimal():
        raise ValueError("it is not HOST:PORT")
    with socket.create_connection((host, int(port)), CONNECT_S) as probe:
        probe.sendall(HELLO)
        if probe.recv(1) not in GRPC:
            raise ConnectionError("another service answers there")
    ray._raylet.GcsClient(address=address)   # requests the cluster's id, with the token


def _engines(job: Any) -> list[str]:
    """Return the ids of the container engines on nodes with slots, if there are several nodes."""
    places = [NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
              for node in ray.nodes() if node["Alive"] and SLOT in node["Resources"]]
    ask = ray.remote(engine_of)
    return ray.get([ask.options(num_cpus=0, scheduling_strategy=place).remote(job)
                    for place in places]) if len(places) > 1 else []


def _room(needs: dict[str, float]) -> int:
    """Return the number of items that fit into the cluster. Raise Trouble if none fits."""
    wanted = {SLOT: 1, "CPU": needs["cores"], "memory": needs["memory"]} if needs else {"CPU": 1}
    n = sum(min(int(node["Resources"].get(name, 0) // much) for name, much in wanted.items())
            for node in ray.nodes() if node["Alive"])
    if not n:
        raise Trouble("has no room for an item's containers.", "the Ray cluster",
                      f"Each takes {wanted}; start nodes with --resources '{{\"{SLOT}\": N}}'.")
    return n
