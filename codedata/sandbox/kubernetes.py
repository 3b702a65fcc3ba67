"""Run each sandbox in a pod of a Kubernetes cluster, through the official client (pip install
'.[kubernetes]').

A pod is made from pod.yaml; its image needs bash, GNU tar and coreutils. Commands, file copies and
kills after a time-out go through exec. The user needs these rights in the namespace: create, get,
list and delete on pods, get and create on pods/exec; with `network_policy` also create and delete
on networkpolicies. The pod holds no token of the cluster.

Not promised: that a pod has a lower limit of processes than its node, or that the cluster's network
enforces NetworkPolicies. A process that is killed for its memory has the exit code 137, as after
any kill; if the whole pod is killed, SandboxDied is raised. If the connection is lost, it is not
known whether the command ran: the pod is deleted, and the command is not run again.
"""
from __future__ import annotations

import posixpath
import secrets
import shlex
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from itertools import chain
from pathlib import Path

from codedata.errors import ItemFailed
from codedata.sandbox import (
    SCRIPT_BASH_FUNC,
    ClosesAtExit,
    Result,
    SandboxDied,
    Script,
    process_labels,
)
from codedata.sandbox.archives import BOUNDS, Bounds, Source, Stream, pack, unpack
from codedata.sandbox.copies import text_at
from codedata.sandbox.docker.output import Output
from codedata.sandbox.kube_client import END_S, PIECE, STDOUT, Cluster, Cut, Exec, template
from codedata.sandbox.shell import Shell
from codedata.sandbox.sizes import bytes_of
from codedata.terminal import say
from codedata.texts import text_of

FOLDER = "/run/codedata"     # folder in the pod for scripts, state and CA bundle
CA_FILE = f"{FOLDER}/ca.pem"
POD = "codedata.pod"         # label whose value a policy uses to select its pod
COPY_S = 900.0               # seconds for a copy in or out
STATUS_S = 5.0               # seconds that a pod's status may lag behind its end
MAX_DISK_REQUEST = 1 << 30   # limit for the bytes of disk space that a pod requests
NO_START = ("ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull",
            "CreateContainerConfigError", "CreateContainerError", "RunContainerError")
ADVICE = {
    "ImagePullBackOff": "Check the image's name, and that the cluster's nodes may pull it.",
    "Unschedulable": "Smaller --cpu-request and --memory-request, fewer --workers, or more nodes.",
}
GET = """place={place}
if [ -d "$place" ]; then tar -C "$place" -cf - .
else tar -C "$(dirname "$place")" -cf - "$(basename "$place")"; fi"""


class SandboxK8s(ClosesAtExit):
    """Run commands in a pod, one at a time. The cluster ends the pod after `run_timeout` seconds.

    A background process runs until close(), or until a command runs out of time, which ends all
    processes in the pod; its output is not read. Limits of CPU and memory equal the requests. With
    `network_policy` the pod starts without network; otherwise it has the cluster's network, which
    network(False) cannot switch off. Proxy and CA bundle are passed to each command, and not stored
    in objects of the cluster.
    """

    name = "kubernetes"

    def __init__(self, image: str, *, namespace: str = "data-synthesis",
                 pod_prefix: str = "code-data-env-agent", cpu_request: str = "2",
                 memory_request: str = "5Gi",
                 disk_limit: str = "10GB", run_timeout: int = 1800, start_timeout: float = 600.0,
                 workdir: str = "/testbed",
                 scripts: Sequence[Script] = (SCRIPT_BASH_FUNC,),
                 proxy: str = "", ca_bundle: str = "", network_policy: bool = False,
                 run_label: str = ""):
        self.image = image
        self.workdir = workdir
        self.pod = f"{pod_prefix}-{secrets.token_hex(5)}"
        self._disk_bytes = bytes_of(disk_limit)
        self._has_policy = network_policy
        self._shell = Shell(workdir, FOLDER, scripts, proxy, CA_FILE if ca_bundle else "")
        self._one_at_a_time = threading.RLock()
        self._end = ""       # why the pod has ended
        self._cluster = Cluster(namespace)
        files = {script.name: script.text.encode() for script in scripts}
        if ca_bundle:
            files["ca.pem"] = text_at(ca_bundle).encode()

        body = template("pod.yaml")
        about = process_labels.labels(run_label)
        run = about[process_labels.RUN]
        body["metadata"] = {
            "name": self.pod, "labels": {POD: self.pod, process_labels.RUN: run},
            "annotations": about}   # not labels, which do not allow all names of hosts
        body["spec"]["activeDeadlineSeconds"] = run_timeout
        limits = {"cpu": cpu_request, "memory": memory_request,
                  "ephemeral-storage": str(self._disk_bytes)}
        requests = {**limits, "ephemeral-storage": str(min(self._disk_bytes, MAX_DISK_REQUEST))}
        body["spec"]["containers"][0].update(
            image=image, workingDir=workdir, resources={"requests": requests, "limits": limits})
        self._uid = self._cluster.create_pod(body)
        with ExitStack() as undo:
            undo.callback(self.close)
            if network_policy:
                self.network(False)
            self._wait_for_start(start_timeout)
            self.put(files, FOLDER)
            undo.pop_all()

    def run(self, command: str, *, timeout_s: float = 120.0,
            env: dict[str, str] | None = None) -> Result:
        """Return the result of a bash command; see Sandbox.run."""
        token = secrets.token_hex(16)
        output = self._shell.output()
        variables = self._shell.env(env).items()
        lines = [f"export {name}={shlex.quote(value)}" for name, value in variables]
        lines += [f"token={token}", f"argv=({shlex.join(self._shell.argv(command))})",
                  text_of("codedata.sandbox", "pod_run.sh")]
        with self._exec("\n".join(lines)) as exec_:
            try:
                has_ended = _read(exec_, output, timeout_s, token.encode())
            except TimeoutError:
                self._end_all()
                with suppress(Cut):
                    _read(exec_, output, END_S)     # the remaining output
                return output.result(None)
            if has_ended:
                exec_.send(b"\n")
            else:            # the command has killed the shell, or the pod has ended
                self._stay_alive(STATUS_S)
                self._end_all()
            return output.result(exec_.exit_code())

    def put(self, source: Source, to: str) -> None:
        """Copy files of the host into the pod; see Sandbox.put."""
        place, errors = self._place(to), Output()
        with pack(source) as archive:
            size = archive.seek(0, 2)
            archive.seek(0)
            script = f"mkdir -p {place} && head -c {size} | tar -C {place} -xof -"
            with self._exec(script) as exec_:
                with suppress(Cut):             # tar may have ended; its errors give the reason
                    while piece := archive.read(PIECE):
                        exec_.send(piece)
                _read(exec_, errors, COPY_S)
                code = exec_.exit_code()
        if code != 0:
            raise ItemFailed(f"cannot be written in the pod: {errors.text().strip()}", to)

    def get(self, path: str, to: Path, bounds: Bounds = BOUNDS) -> None:
        """Copy files of the pod to the host; see Sandbox.get. Their size is also limited by the
        disk limit."""
        bounds = replace(bounds, max_bytes=min(bounds.max_bytes, self._disk_bytes))
        errors = Output()
        with self._exec(GET.format(place=self._place(path))) as exec_:
            pieces = _stdout(exec_, errors)
            first = next(pieces, None)
            if first is not None:
                unpack(Stream(chain([first], pieces)), to, bounds)
            code = exec_.exit_code()
        if code > 1:                                # ignore 1: a file changed while it was read
            raise ItemFailed(f"cannot be read in the pod: {errors.text().strip()}", path)

    def network(self, is_on: bool) -> None:
        """Switch the network on or off by a policy that blocks all traffic of the pod. Without
        `network_policy`, the network stays on, and a line says so."""
        if self._has_policy and is_on:
            self._cluster.delete_policy(self.pod)
        elif self._has_policy:
            body = template("pod_policy.yaml")
            owner = {"apiVersion": "v1", "kind": "Pod", "name": self.pod, "uid": self._uid}
            body["metadata"] = {"name": self.pod, "ownerReferences": [owner]}
            body["spec"]["podSelector"] = {"matchLabels": {POD: self.pod}}
            self._cluster.create_policy(body)
        elif not is_on:
            say(f"the pod {self.pod} keeps the cluster's network: no network policy was asked for")

    def close(self) -> None:
        """Delete the pod immediately."""
        self._end = self._end or "was closed"
        self._cluster.delete_pod(self.pod)

    # the pod's life

    def _wait_for_start(self, timeout_s: float) -> None:
        """Wait until the pod runs. Raise ItemFailed or SandboxDied if it does not start."""
        end = time.monotonic() + timeout_s
        wait_s = 0.05
        while (pod := self._stay_alive())["status"].get("phase") != "Running":
            reason, message = _waiting_for(pod)
            if reason in NO_START or time.monotonic() > end:
                describe = f"kubectl -n {self._cluster.namespace} describe pods"
                raise ItemFailed(f"the pod does not start: {reason}: {message}",
                                 f"image {self.image}:",
                                 ADVICE.get(reason, f"while one waits, `{describe}` says more."))
            time.sleep(wait_s)
            wait_s = min(1.0, wait_s * 1.5)

    def _stay_alive(self, watch_s: float = 0.0) -> dict:
        """Return the pod. Raise SandboxDied if it has ended, or ends within `watch_s` seconds."""
        end = time.monotonic() + watch_s
        while True:
            pod = self._cluster.read_pod(self.pod)
            if reason := _end_of(pod):
                raise self._died(reason)
            if time.monotonic() >= end:
                return pod
            time.sleep(0.25)

    def _died(self, what: str) -> SandboxDied:
        """Store the reason for the pod's end; return the exception with it."""
        self._end = what
        return SandboxDied(what, f"the pod {self.pod}")

    @contextmanager
    def _exec(self, text: str) -> Iterator[Exec]:
        """Yield an exec that runs `text`; other execs wait. If it does not end normally, delete the
        pod, unless it has ended, and raise SandboxDied with the reason."""
        with self._one_at_a_time:
            if self._end:
                raise self._died(self._end)
            try:
                with self._cluster.exec(self.pod, text, self._stay_alive) as exec_:
                    yield exec_
            except (Cut, TimeoutError) as e:
                self._end = (f"was given up: a command in it {str(e) or 'does not end'}. "
                             "How far it came is not known")
                self._stay_alive(STATUS_S)
                self._cluster.delete_pod(self.pod)
                raise self._died(self._end) from e

    def _end_all(self) -> None:
        """End all processes in the pod except this shell and the first process, which cannot be
        killed from inside."""
        with self._exec("kill -KILL -1") as exec_:
            exec_.exit_code()

    def _place(self, path: str) -> str:
        """Return a path in the pod, quoted for the shell. Resolve a relative path from the working
        directory."""
        return shlex.quote(posixpath.join(self.workdir, path))


def reap(namespace: str = "data-synthesis", *, all_roots: bool = False,
         only_list: bool = False) -> list[str]:
    """Delete the leftover pods of killed processes of this root, or with `all_roots` of any root.
    Return their names."""
    cluster = Cluster(namespace)
    names = []
    for about in (pod["metadata"] for pod in cluster.list_pods(POD)):
        # skip a pod that a user has copied with our labels
        is_ours = about["labels"][POD] == about["name"]
        if is_ours and process_labels.is_left(about.get("annotations", {}), all_roots):
            if not only_list:
                cluster.delete_pod(about["name"])
            names.append(about["name"])
    return names


# output of an exec

def _read(exec_: Exec, output: Output, timeout_s: float, token: bytes = b"") -> bool:
    """Add the output of an exec to `output`, up to the token or the end. Return whether the token
    came. Raise TimeoutError after `timeout_s` seconds."""
    held = b""
    try:
        for channel, data in exec_.frames(timeout_s):
            if channel != STDOUT or not token:
                output.add(data)
                continue
            held += data
            before, found, _ = held.partition(token)
            if found:
                held = before
                return True
            n_sure = max(0, len(held) - len(token) + 1)   # the rest may be the start of the token
            output.add(held[:n_sure])
            held = held[n_sure:]
        return False
    finally:
        output.add(held)


def _stdout(exec_: Exec, errors: Output) -> Iterator[bytes]:
    """Yield the pieces of stdout; add stderr to `errors`."""
    for channel, data in exec_.frames(COPY_S):
        if channel == STDOUT:
            yield data
        else:
            errors.add(data)


# status of a pod

def _end_of(pod: dict | None) -> str:
    """Return why a pod has ended; "" if it runs or may still start."""
    if pod is None:
        return "was deleted by another user"
    status = pod["status"]
    ended = _container_state(pod).get("terminated", {})
    disruption = _condition(pod, "DisruptionTarget", "True")
    if status.get("reason") == "DeadlineExceeded":
        return f"was ended after run_timeout ({pod['spec']['activeDeadlineSeconds']} s)"
    if ended.get("reason") == "OOMKilled":
        limits = pod["spec"]["containers"][0]["resources"]["limits"]
        return f"was ended: out of memory (limit {limits['memory']})"
    is_deleted = pod["metadata"].get("deletionTimestamp")
    if not (ended or disruption or is_deleted or status.get("phase") in ("Failed", "Succeeded")):
        return ""
    why = {**ended, **disruption, **status}
    reason = why.get("reason") or "deleted by another user"
    return f"was ended: {': '.join(filter(None, [reason, why.get('message')]))}"


def _waiting_for(pod: dict) -> tuple[str, str]:
    """Return (reason, message) of a pod that does not run yet."""
    cause = _container_state(pod).get("waiting") or _condition(pod, "PodScheduled", "False")
    cause = cause or {"reason": pod["status"].get("phase", "")}
    return cause.get("reason", ""), cause.get("message", "the cluster gives no reason")


def _container_state(pod: dict) -> dict:
    """Return the state of the pod's container; {} if there is none yet."""
    return next(iter(pod["status"].get("containerStatuses", [])), {}).get("state", {})


def _condition(pod: dict, kind: str, status: str) -> dict:
    """Return the pod's condition of this type and status; {} if there is none."""
    conditions = pod["status"].get("conditions", [])
    return next((c for c in conditions if (c["type"], c["status"]) == (kind, status)), {})
