"""Run each sandbox in its own container, through the Docker SDK: for unreviewed code.

A container gets no environment variables of the host, no key and no access to the Docker engine.
Without `default_rights` it keeps only the few capabilities that package managers need as root, and
cannot gain privileges. Memory, CPU and the number of processes are limited. A watcher ends a
container that exceeds its disk limit. The network is off until network(True).

Not promised: protection against kernel exploits, or a limit for writes to volumes that the image
declares. With the network on, commands can reach every host that this machine can reach, and
services of this machine that listen on all addresses. They cannot reach services on this machine's
loopback address, or other sandboxes.
"""
from __future__ import annotations

import posixpath
import threading
import time
import weakref
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import requests
import urllib3

from codedata.disk.layouts import Program
from codedata.errors import Interrupted, ItemFailed, Trouble, start_thread
from codedata.sandbox import SCRIPT_BASH_FUNC, ClosesAtExit, OverLimit, Result, SandboxDied, Script
from codedata.sandbox.archives import BOUNDS, Bounds, Source, Stream, pack, parts_of, unpack
from codedata.sandbox.copies import text_at
from codedata.sandbox.docker import engine
from codedata.sandbox.docker.disk_limit import DiskWatch
from codedata.sandbox.process_labels import labels
from codedata.sandbox.shell import PART, Shell, in_parts
from codedata.sandbox.sizes import bytes_of
from codedata.terminal import say

# folder for scripts, state and CA bundle: a tmpfs, so that committed images do not contain them
FOLDER = "/run/codedata"
CA_PATH = f"{FOLDER}/ca.pem"
# capabilities that apt, dpkg and pip need as root: they change owners of files, write to files of
# other users and switch the user; KILL lets root end processes of other users
CAPABILITIES = ["CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID"]
RIGHTS = {"cap_drop": ["ALL"], "cap_add": CAPABILITIES, "security_opt": ["no-new-privileges"]}
# The container's first process. It adopts orphans, cannot be killed from inside, and kills all
# other processes when the engine sends it USR1. `kill` and `read` are bash builtins, so it works
# even if the limit of processes is reached. If no USR2 arrives for an hour, the run that created
# the container was killed: the process ends, and with it the container.
INIT = """
trap "" HUP INT QUIT ILL TRAP ABRT BUS FPE SEGV SYS PIPE ALRM TERM XCPU XFSZ VTALRM PROF
trap "kill -KILL -1" USR1
trap "n=0" USR2
exec {idle}<> <(:)
for ((n = 0; n < 36000; n++)); do read -r -t 0.1 -u "$idle"; done"""
# prints how often each limit was hit (cgroups v1 and v2), using only bash builtins
LIMITS = """cd /sys/fs/cgroup
for file in memory.events pids.events memory/memory.oom_control pids/pids.events; do
    [ ! -r $file ] || while read -r line; do echo "${file%%[./]*} $line"; done < $file
done"""
# Empty resolv.conf while the network is off, so that host name look-ups fail immediately: with the
# engine's name server in it, each would take 20 s.
NAMES_AWAY = f"cp /etc/resolv.conf {FOLDER}/resolv.conf; : > /etc/resolv.conf"
NAMES_BACK = (f"if [ -e {FOLDER}/resolv.conf ]; then cat {FOLDER}/resolv.conf > /etc/resolv.conf; "
              "fi")
WRITE = 'printf %s "${@:2}" > "$1"'
MAKE_WORKDIR = 'mkdir -p "$1" && chown "$2" "$1"'
# writes texts into a folder, in half the time of an archive; arguments: folder, name, text, name,
# text, …
PUT_TEXTS = """mkdir -p -- "$1" && cd -- "$1" && shift && while [ $# -gt 0 ]; do
    rm -rf -- "$1" && printf %s "$2" > "$1" && shift 2 || exit; done"""
PIDS_LIMIT = 1024   # processes and threads of a sandbox
CPU_PERIOD_US = 100_000
END_ALL = "USR1"           # signal that makes the first process kill all others
OWN_S = 60                 # timeout of this module's own commands
LOOK_S = 0.5               # seconds between two checks of whether the run stops
END_S = 15                 # seconds to wait until killed processes have disappeared
SETTLE_S = 0.3             # seconds to wait until the first process has reaped killed ones
CANNOT_RUN = 126           # the engine's exit code if a process could not start
NOT_STARTED = "OCI runtime exec failed"   # the engine's message if a process could not start
MAX_STARTS = 4             # attempts to start a process
LOST = (requests.RequestException, urllib3.exceptions.HTTPError)


class SandboxDocker(ClosesAtExit):
    """Run commands in a long-lived container, each with `exec`.

    A background process runs until close(), or until a command exceeds its timeout: a timeout ends
    all processes in the container. If a background process keeps the output of its command open,
    the engine waits two seconds for that process. If a failed command hit the limit of memory or
    processes, `limit_hit` and the last line of its output report the limit. With `default_rights`
    the container has Docker's default capabilities, and processes can gain privileges. `mounts`
    maps absolute paths of the host, or names of volumes, to read-only paths in the container. Once
    `stop` is set, running commands end and raise Interrupted.
    """

    name = "docker"

    def __init__(self, image: str = "codedata-base:bookworm", workdir: str = "/testbed",
                 scripts: Sequence[Script] = (SCRIPT_BASH_FUNC,), *,
                 cpus: float = 2, memory: str = "5Gi", pids: int = PIDS_LIMIT,
                 disk_limit: str = "10GB", network: bool = False, run_label: str = "",
                 proxy: str = "", ca_bundle: str = "", user: str = "", default_rights: bool = False,
                 mounts: Mapping[str, str] | None = None,
                 stop: threading.Event | None = None):
        self._stop = stop or threading.Event()
        address = urlsplit(proxy)
        if address.hostname in ("localhost", "127.0.0.1", "::1"):
            raise Trouble("is out of a container's reach.",
                          f"the proxy {address.netloc.rpartition('@')[2]}",
                          "Let it listen on an address of this machine's network, and name "
                          "that one.")
        self.image = image
        self.workdir = workdir
        self.user = user or "0"
        self._limits = {"memory oom_kill": f"out of memory: {memory} allowed",
                        "pids max": f"too many processes: {pids} allowed"}
        self._disk_bytes = bytes_of(disk_limit)
        self._shell = Shell(workdir, FOLDER, scripts, proxy, CA_PATH if ca_bundle else "")
        self._labels = labels(run_label) | {engine.KEEP: ""}
        self._networks: list[str] = []          # networks of the container: at most one
        self._hits = Counter()                  # how often each limit was hit so far
        self._api = engine.connect()
        rights = {} if default_rights else RIGHTS
        binds = [f"{source}:{target}:ro" for source, target in (mounts or {}).items()]
        self.id = self._create(cpus, pids_limit=pids, mem_limit=bytes_of(memory), binds=binds,
                               **rights)
        self._remove = weakref.finalize(   # removes the container also at interpreter exit
            self, _remove, self._api, self.id, self._networks)
        self._disk = DiskWatch(self._api, self.id, self._disk_bytes)
        with ExitStack() as undo:
            undo.callback(self.close)
            files = {script.name: script.text for script in scripts}
            if ca_bundle:
                files["ca.pem"] = text_at(ca_bundle)
            self._start(files)
            self.network(network)
            undo.pop_all()

    def _create(self, cpus: float, mem_limit: int, **more) -> str:
        limits = self._api.create_host_config(
            **more, mem_limit=mem_limit, memswap_limit=mem_limit,
            cpu_period=CPU_PERIOD_US, cpu_quota=int(cpus * CPU_PERIOD_US),
            oom_score_adj=500,                  # kill sandboxes first if the host lacks memory
            network_mode="none", tmpfs={FOLDER: "mode=1777,size=16m"},
            ulimits=[{"Name": "core", "Soft": 0, "Hard": 0}],
            # no log: output that a command writes to /proc/1/fd/1 would fill the host's disk
            log_config={"Type": "none"})
        try:
            return engine.create(
                self._api, self.image, entrypoint=[], command=["bash", "-c", INIT], user="0",
                working_dir=self.workdir, hostname="sandbox", host_config=limits,
                use_config_proxy=False,         # do not set the Docker client's proxy inside
                **engine.named(self._labels))
        except LOST as e:
            # raise MachineStopped if the engine is gone, so that this item does not count as failed
            engine.connect()
            raise ItemFailed(f"no container can be made: {engine.reason(e)}", self.image,
                             "Check the image's name; codedata-base:bookworm is made by "
                             "tools/docker-up.") from e

    def _start(self, files: dict[str, str]) -> None:
        try:
            self._api.start(self.id)
        except LOST as e:
            engine.connect()
            raise ItemFailed(f"does not start: {engine.reason(e)}", self.image,
                             "The image needs bash.") from e
        start_thread(self._disk.run)
        for name, text in files.items():
            self._bash(WRITE, f"{FOLDER}/{name}", *in_parts(text))
        self._uid = self._gid = 0
        if self.user != "0":   # root's work directory was created by the engine
            self._bash(MAKE_WORKDIR, self.workdir, self.user)
            self._uid, self._gid = map(int, self._bash("id -u; id -g", user=self.user).split())

    def run(self, command: str, *, timeout_s: float = 120.0,
            env: dict[str, str] | None = None) -> Result:
        """Return the result of a bash command; see Sandbox.run."""
        result = self._exec(self._shell.argv(command), timeout_s, self._shell.env(env), self.user)
        hit = "" if result.ok else self._limit_hit()
        if not hit:
            return result
        return replace(result, limit_hit=hit, output=f"{result.output}\n[{hit}]\n")

    def put(self, source: Source, to: str) -> None:
        """Copy files of the host into the container; see Sandbox.put."""
        place = posixpath.join(self.workdir, to)
        if texts := _short_texts(source):
            self._bash(PUT_TEXTS, place, *texts, user=self.user)
            return
        self._bash('mkdir -p -- "$1"', place, user=self.user)
        with pack(source, self._uid, self._gid) as archive, self._named_end():
            self._api.put_archive(self.id, place, archive)

    def get(self, path: str, to: Path, bounds: Bounds = BOUNDS) -> None:
        """Copy files of the container to the host; see Sandbox.get. Their size is also bounded by
        the container's disk limit."""
        bounds = replace(bounds, max_bytes=min(bounds.max_bytes, self._disk_bytes))
        place = posixpath.join(self.workdir, path)
        with self._named_end():
            try:
                pieces, about = self._api.get_archive(self.id, place)
            except requests.HTTPError as e:
                if e.response.status_code == 404 and self._state().get("Running"):
                    raise ItemFailed("is not there", place) from e
                raise
            with closing(pieces):
                is_folder = about["mode"] & engine.IS_FOLDER
                unpack(Stream(pieces), to, bounds, strip=1 if is_folder else 0)

    def network(self, is_on: bool) -> None:
        """Switch the network and name resolution on or off."""
        if is_on == bool(self._networks):
            return
        with self._named_end():
            if is_on:
                # leave "none" first: a container in it can join no other network
                with suppress(requests.HTTPError):
                    self._api.disconnect_container_from_network(self.id, "none")
                self._networks.append(engine.join_network(self._api, self.id, self._labels))
                self._bash(NAMES_BACK)
            else:
                self._api.disconnect_container_from_network(self.id, self._networks[0])
                engine.drop_network(self._api, self._networks.pop())
                self._bash(NAMES_AWAY)

    def commit(self, image_name: str, keep: bool = True, pauses: bool = True,
               changes: Sequence[str] = ()) -> str:
        """Commit the container's current files as an image and return the image's id. Without
        `keep`, the image is removed at the end of the run. With `pauses`, the container is paused
        during the commit. `changes` holds further Dockerfile instructions.

        The image contains no scripts, state, proxy or CA bundle of codedata.
        """
        changes = [f"WORKDIR {self.workdir}", f"USER {self.user}", 'CMD ["bash"]',
                   f"LABEL {engine.KEEP}={engine.KEPT if keep else ''}", *changes]
        with self._named_end():
            return engine.commit(self._api, self.id, image_name, changes, pauses)

    def differences(self) -> Iterator[tuple[str, bool]]:
        """Yield (path, whether the path exists) for each difference from the image; see
        engine.differences()."""
        with self._named_end():
            yield from engine.differences(self._api, self.id, self._stop)

    @contextmanager
    def files(self, image_name: str = "") -> Iterator[engine.Files]:
        """Yield the container's files while its processes keep running. With `image_name`, yield
        that image's files, read from a container that never ran."""
        with self._named_end():
            if image_name:
                with engine.files_of(image_name, self._stop) as files:
                    yield files
            else:
                yield engine.Files(self._api, self.id, self._stop)

    def end_all(self, signal: str = END_ALL) -> None:
        """End all processes in the container except the first; with signal KILL, end all."""
        with suppress(*LOST):
            self._api.kill(self.id, signal)
        time.sleep(SETTLE_S)

    def close(self) -> None:
        """Remove the container, and its network if no other container uses it."""
        self._disk.stopped.set()
        self._remove()

    # an exec

    def _bash(self, script: str, *args: str, user: str = "0") -> str:
        """Run a bash script of this module and return its output. Raise ItemFailed if it fails."""
        result = self._exec(["bash", "-c", script, "bash", *args], OWN_S, {}, user)
        if not result.ok:
            raise ItemFailed(_failure(result), f"sandbox, {script}:")
        return result.output

    def _limit_hit(self) -> str:
        """Return the messages of the limits that were hit since the last call, or ""."""
        for _ in range(MAX_STARTS):
            result = self._exec(["bash", "-c", LIMITS], OWN_S, {}, "0")
            if result.exit_code != CANNOT_RUN or NOT_STARTED not in result.output:
                break
            self.end_all()   # make room: no process could start, as the container is at its limit
        if not result.ok:     # not even this script runs: the container is ending
            raise self._death(_failure(result))
        lines = [line.rpartition(" ") for line in result.output.splitlines()]
        hits = Counter({name: int(n) for name, _, n in lines if name in self._limits})
        new = hits - self._hits   # keeps only counts that have grown
        self._hits = hits
        return "; ".join(text for name, text in self._limits.items() if name in new)

    def _exec(self, argv: list[str], timeout_s: float, env: dict[str, str], user: str) -> Result:
        api = self._api
        if self._stop.is_set():
            raise Interrupted()
        output = self._shell.output()
        with self._named_end():
            exec_id = api.exec_create(self.id, argv, environment=env, user=user, workdir="/")["Id"]
            # Send the request without api.exec_start(): it reads past http.client's buffer, and so
            # loses output that arrived together with the reply's head. The engine counts as gone
            # after a silence longer than this timeout.
            reply = api.post(f"{api.base_url}/v{api.api_version}/exec/{exec_id}/start", stream=True,
                             json={"Detach": False, "Tty": False}, timeout=timeout_s + 4 * END_S)
            with closing(reply), self._deadline(timeout_s) as is_over:
                if not reply.ok:
                    raise requests.HTTPError(reply.text)
                for piece in _pieces(reply.raw):
                    output.add(piece)
                wait_s = 0.001
                while (state := api.exec_inspect(exec_id))["Running"]:   # after the end of output
                    time.sleep(wait_s)
                    wait_s = min(2 * wait_s, 0.25)
        if is_over.is_set() and self._stop.is_set():
            raise Interrupted()
        return output.result(None if is_over.is_set() else state["ExitCode"])

    @contextmanager
    def _deadline(self, timeout_s: float) -> Iterator[threading.Event]:
        """When the time is over or the run stops, end all processes in the container, and then the
        container itself if they do not end. Yield an event that is set before the first kill."""
        has_ended = threading.Event()
        is_over = threading.Event()

        def watch() -> None:
            for wait_s, signal in ((timeout_s, END_ALL), (END_S, "KILL")):
                end = time.monotonic() + wait_s
                while (left := end - time.monotonic()) > 0 and not self._stop.is_set():
                    if has_ended.wait(min(left, LOOK_S)):
                        return
                if not has_ended.is_set():
                    is_over.set()
                    self.end_all(signal)

        thread = start_thread(watch)
        try:
            yield is_over
        finally:
            has_ended.set()
            thread.join()   # wait, so that a late signal does not hit the next command

    @contextmanager
    def _named_end(self) -> Iterator[None]:
        """Raise SandboxDied with the reason if a request to the engine fails, MachineStopped if the
        engine is gone, Interrupted if the run stops."""
        try:
            yield
        except LOST as e:
            if self._stop.is_set():
                raise Interrupted() from e
            engine.connect()
            raise self._death(engine.reason(e)) from e

    def _death(self, error: str) -> SandboxDied:
        """Return the exception with the reason why commands no longer run, or with `error` if the
        reason is unknown."""
        if self._disk.n_over:
            return OverLimit(f"over the disk limit: {self._disk.n_over:,} bytes written, "
                             f"{self._disk_bytes:,} allowed")
        state = self._state()
        if not state:
            return SandboxDied(f"the container is gone: {error}")
        if state["OOMKilled"]:
            return OverLimit(self._limits["memory oom_kill"])
        if not state["Running"]:
            return SandboxDied(f"the container ended with exit code {state['ExitCode']}")
        return SandboxDied(error)

    def _state(self) -> dict:
        """Return the container's state from the engine; {} if the container is gone."""
        try:
            return self._api.inspect_container(self.id)["State"]
        except LOST:
            return {}


def _failure(result: Result) -> str:
    return f"exit code {result.exit_code}: {result.output.strip()[-300:]}"


def _short_texts(source: Source) -> list[str]:
    """Return files as arguments of a command, [name, text, name, text, …]; [] if a name or text
    cannot be an argument, or all together are too long."""
    if not isinstance(source, dict) or sum(map(len, source.values())) > PART:
        return []
    if any(parts_of(name) != (name,) or b"\0" in content or isinstance(content, Program)
           for name, content in source.items()):
        return []
    try:
        return [part for name, content in source.items() for part in (name, content.decode())]
    except UnicodeDecodeError:
        return []


def _pieces(raw) -> Iterator[bytes]:
    """Yield the data of a multiplexed stream. Each frame has 4 bytes that name the stream, 4 bytes
    for the length, and the data."""
    while len(head := raw.read(8)) == 8:
        if data := raw.read(int.from_bytes(head[4:], "big")):
            yield data


def _remove(api, container_id: str, networks: list[str]) -> None:
    """Remove a container and its networks. Print a line if the container cannot be removed."""
    try:
        engine.remove_container(api, container_id)
    except (*LOST, OSError) as e:
        if line := engine.not_removed(f"container {container_id[:12]}", e):
            say(line)
    for network in networks:
        engine.drop_network(api, network)
