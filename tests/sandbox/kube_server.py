"""Serve the tests as a Kubernetes API: pods, network policies and exec over websockets.

    with KubeServer(tmp_path / "cluster") as kube:
        kube.fail(503, "reset")                         # the next REST requests; then good answers
        sandbox = SandboxK8s("debian:bookworm")                     # KUBECONFIG names its file
        kube.end(sandbox.pod, "OOMKilled")              # what befalls a pod

It refuses what a real one refuses: unknown fields (the published schemas, strict), wrong amounts of
a resource, a wrong token. As far as commands go a pod is real: its
container's command is process 1 of a pid namespace, in a root folder of its own under `folder`
(`Pod.root`), and exec runs commands beside it (kube_pod.sh; who is not root needs user namespaces).
It is no jail: limits, capabilities and policies are kept, and not enforced.
"""
from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import threading
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from uuid import uuid4

import kubernetes_validate
from aiohttp import WSMsgType, web
from kubernetes.utils.quantity import parse_quantity

VERSION = "1.34"
NAMESPACES = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
PODS = "/api/v1/namespaces/{ns}/pods"
POLICIES = "/apis/networking.k8s.io/v1/namespaces/{ns}/networkpolicies"
PROTOCOLS = "v5.channel.k8s.io", "v4.channel.k8s.io"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
KILLED = 137


def can_make_pods() -> bool:
    """Return whether this machine lets us make namespaces."""
    command = ["unshare", *NAMESPACES, "--mount", "--pid", "--fork", "true"]
    try:
        return subprocess.run(command, capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


@dataclass
class Pod:
    # the posted body, with the server's metadata
    body: dict
    root: Path
    status: dict
    init: subprocess.Popen | None = None
    init_pid: int = 0                              # its process 1, as seen from outside
    deleted: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def as_json(self) -> dict:
        return {**self.body, "status": self.status}

    @property
    def folder(self) -> str:
        return self.body["spec"]["containers"][0].get("workingDir", "/")

    @property
    def environment(self) -> dict[str, str]:
        own = {e["name"]: e.get("value", "")
               for e in self.body["spec"]["containers"][0].get("env", [])}
        return {"PATH": PATH, "HOME": "/root", "HOSTNAME": self.body["metadata"]["name"], **own}


class Refused(Exception):
    """End a request with a Status as its answer."""

    def __init__(self, code: int, reason: str, message: str):
        self.code, self.reason, self.message = code, reason, message


class KubeServer:
    def __init__(self, folder: Path):
        self.folder = folder
        self.namespaces, self.token = ["data-synthesis"], "token-of-tests"
        self.images = {"debian:bookworm"}          # what the registry has
        self.pod_limit = 100                       # the namespace's quota
        self.unschedulable = ""                    # the scheduler's message, for pods to come
        self.start_s = 0.02                        # from scheduled to running
        self.status_lag_s = 0.05                   # from a pod's end to the status that says so
        # words of the paths that the token's owner may not go
        self.forbidden = ""
        self.closes = True                         # the connection, when an exec has ended
        # bytes of the next exec's output, then its connection is reset
        self.cut_after = -1
        self.forget_after_create = False           # the next POST is done, and its answer lost
        self.pods: dict[str, Pod] = {}
        self.policies: dict[str, dict] = {}
        self.posted: list[dict] = []               # bodies as they came
        self.n_execs = 0                           # that were begun
        self._tasks: list[asyncio.Task] = []
        self._to_fail: deque = deque()
        self._to_fail_exec: deque = deque()

    def fail(self, *faults: int | str) -> None:
        """Give the next REST requests these statuses, or "reset": a connection closed unanswered.
        """
        self._to_fail.extend(faults)

    def fail_exec(self, *faults: int | str) -> None:
        """Give the next execs these statuses."""
        self._to_fail_exec.extend(faults)

    def end(self, name: str, reason: str, message: str = "") -> None:
        """End a pod's container: OOMKilled, Evicted, PreemptionByScheduler, Deleted, Error."""
        asyncio.run_coroutine_threadsafe(self._end(self.pods[name], reason, message),
                                         self._loop).result(10)

    # the server

    def __enter__(self) -> KubeServer:
        self.folder.mkdir(parents=True, exist_ok=True)
        started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(started)),
                                        daemon=True)
        self._thread.start()
        assert started.wait(10)
        self.kubeconfig = self.folder / "kubeconfig"
        self.kubeconfig.write_text(json.dumps({
            "apiVersion": "v1", "kind": "Config", "current-context": "tests",
            "clusters": [{"name": "c", "cluster": {"server": self.url}}],
            "users": [{"name": "u", "user": {"token": self.token}}],
            "contexts": [{"name": "tests", "context": {"cluster": "c", "user": "u"}}]}))
        return self

    def __exit__(self, *_) -> None:
        if self._loop.is_closed():
            return
        for pod in list(self.pods.values()):
            asyncio.run_coroutine_threadsafe(self._remove(pod), self._loop).result(60)
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    async def _serve(self, started: threading.Event) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        app = web.Application(middlewares=[self._door], client_max_size=1 << 24)
        app.add_routes([web.post(PODS, self._create_pod), web.get(PODS, self._list_pods),
                        web.get(PODS + "/{name}", self._get_pod),
                        web.delete(PODS + "/{name}", self._delete_pod),
                        web.get(PODS + "/{name}/exec", self._exec),
                        web.post(POLICIES, self._create_policy),
                        web.delete(POLICIES + "/{name}", self._delete_policy)])
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        started.set()
        await self._stop.wait()
        await runner.cleanup()

    @web.middleware
    async def _door(self, request: web.Request, handler):
        """Check who may come in; give every refusal as a Status."""
        faults = self._to_fail_exec if request.path.endswith("/exec") else self._to_fail
        try:
            if faults:
                fault = faults.popleft()
                if fault == "reset":
                    request.transport.abort()
                    return web.Response()
                raise Refused(fault, "Scripted", f"scripted {fault}")
            if request.headers.get("Authorization") != f"Bearer {self.token}":
                raise Refused(401, "Unauthorized", "Unauthorized")
            if self.forbidden and self.forbidden in request.path:
                raise Refused(403, "Forbidden",
                              f'{self.forbidden} is forbidden: User "u" cannot {request.method} it')
            ns = request.match_info.get("ns")
            if ns and ns not in self.namespaces:
                raise Refused(404, "NotFound", f'namespaces "{ns}" not found')
            return await handler(request)
        except Refused as e:
            return web.json_response(
                {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                 "message": e.message, "reason": e.reason, "code": e.code},
                status=e.code, headers={"Retry-After": "0"} if e.code == 429 else {})

    # pods

    async def _create_pod(self, request: web.Request) -> web.Response:
        body = await self._posted(request)
        check_pod(body)
        name = body["metadata"]["name"]
        if name in self.pods:
            raise Refused(409, "AlreadyExists", f'pods "{name}" already exists')
        if len(self.pods) >= self.pod_limit:
            raise Refused(403, "Forbidden",
                          f'pods "{name}" is forbidden: exceeded quota: compute, requested: '
                          'pods=1, '
                          f'used: pods={len(self.pods)}, limited: '
                          f'pods={self.pod_limit}')
        body["metadata"].update(_born(), namespace=request.match_info["ns"])
        pod = self.pods[name] = Pod(body, self.folder / name,
                                    {"phase": "Pending", "conditions": []})
        self._tasks.append(asyncio.create_task(self._start(pod)))
        if self.forget_after_create:
            self.forget_after_create = False
            request.transport.abort()
        return web.json_response(pod.as_json, status=201)

    async def _list_pods(self, request: web.Request) -> web.Response:
        selector = request.query.get("labelSelector", "")
        items = [pod.as_json for pod in self.pods.values()
                 if selector in pod.body["metadata"].get("labels", {})]
        return web.json_response({"kind": "PodList", "apiVersion": "v1", "metadata": {},
                                  "items": items})

    async def _get_pod(self, request: web.Request) -> web.Response:
        return web.json_response(self._pod(request).as_json)

    async def _delete_pod(self, request: web.Request) -> web.Response:
        pod = self._pod(request)
        options = await request.json() if request.can_read_body else {}
        grace = options.get("gracePeriodSeconds", request.query.get("gracePeriodSeconds"))
        await self._remove(pod, 30 if grace is None else int(grace))
        return web.json_response(pod.as_json)

    def _pod(self, request: web.Request) -> Pod:
        name = request.match_info["name"]
        if name not in self.pods:
            raise Refused(404, "NotFound", f'pods "{name}" not found')
        return self.pods[name]

    async def _start(self, pod: Pod) -> None:
        """Take a pod from Pending to Running, as scheduler and kubelet would."""
        if self.unschedulable:
            pod.status["conditions"] = [{"type": "PodScheduled", "status": "False",
                                         "reason": "Unschedulable", "message": self.unschedulable}]
            return
        pod.status["conditions"] = [{"type": "PodScheduled", "status": "True"}]
        spec = pod.body["spec"]["containers"][0]
        if spec["image"] not in self.images:
            for reason in ("ErrImagePull", "ImagePullBackOff"):
                state = {"reason": reason,
                         "message": f'failed to pull and unpack image "{spec["image"]}": not found'}
                pod.status["containerStatuses"] = [_container(spec, {"waiting": state})]
                await asyncio.sleep(self.start_s)
            return
        pod.status["containerStatuses"] = [_container(spec,
                                                      {"waiting": {"reason": "ContainerCreating"}})]
        await asyncio.sleep(self.start_s)
        pod.root.mkdir()
        for mount in spec.get("volumeMounts", []):
            (pod.root / mount["mountPath"].lstrip("/")).mkdir(parents=True)
        command = [*spec.get("command", []), *spec.get("args", [])]
        pod.init = subprocess.Popen(
            ["unshare", *NAMESPACES, "--mount", "--pid", "--fork", "--kill-child", "sh",
             str(Path(__file__).with_name("kube_pod.sh")), str(pod.root), *command],
            env=pod.environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, start_new_session=True)
        children = Path(f"/proc/{pod.init.pid}/task/{pod.init.pid}/children")
        # chroot comes last
        while not (pod.init_pid and os.path.samefile(f"/proc/{pod.init_pid}/root", pod.root)):
            await asyncio.sleep(0.005)
            pod.init_pid = int((children.read_text().split() or [0])[0])
        (pod.root / pod.folder.lstrip("/")).mkdir(parents=True, exist_ok=True)
        running = _container(spec, {"running": {"startedAt": _now()}}, True)
        pod.status.update(phase="Running", containerStatuses=[running])
        self._loop.call_later(pod.body["spec"].get("activeDeadlineSeconds", 10**6), self._deadline,
                              pod)

    def _deadline(self, pod: Pod) -> None:
        if pod.status["phase"] == "Running":
            self._tasks.append(asyncio.create_task(self._end(
                pod, "DeadlineExceeded",
                "Pod was active on the node longer than the specified deadline")))

    async def _end(self, pod: Pod, reason: str, message: str) -> None:
        _kill(pod)
        await asyncio.sleep(self.status_lag_s)
        if reason == "Deleted":
            return await self._remove(pod)
        spec = pod.body["spec"]["containers"][0]
        why = reason if reason in ("OOMKilled", "Error") else "Error"
        pod.status.update(phase="Failed", containerStatuses=[_container(
            spec, {"terminated": {"reason": why, "exitCode": KILLED, "finishedAt": _now()}})])
        if reason == "PreemptionByScheduler":
            pod.status["conditions"].append({"type": "DisruptionTarget", "status": "True",
                                             "reason": reason, "message": message})
        elif why != reason:
            pod.status.update(reason=reason, message=message)

    async def _remove(self, pod: Pod, grace_s: int = 0) -> None:
        name, uid = pod.body["metadata"]["name"], pod.body["metadata"]["uid"]
        pod.body["metadata"].update(deletionTimestamp=_now(), deletionGracePeriodSeconds=grace_s)
        if grace_s and pod.init_pid:
            # it goes on till the grace is over: a client that wants it gone says 0
            return
        _kill(pod)
        self.pods.pop(name, None)
        for policy in [p for p in self.policies.values() if any(
                owner["uid"] == uid for owner in p["metadata"].get("ownerReferences", []))]:
            del self.policies[policy["metadata"]["name"]]   # the garbage collector
        shutil.rmtree(pod.root, ignore_errors=True)

    # network policies

    async def _create_policy(self, request: web.Request) -> web.Response:
        body = await self._posted(request)
        check_known_fields(body, "NetworkPolicy", "networking.k8s.io/v1")
        if body["metadata"]["name"] in self.policies:
            raise Refused(409, "AlreadyExists",
                          f'networkpolicies "{body["metadata"]["name"]}" already exists')
        body["metadata"].update(_born(), namespace=request.match_info["ns"])
        self.policies[body["metadata"]["name"]] = body
        return web.json_response(body, status=201)

    async def _delete_policy(self, request: web.Request) -> web.Response:
        if self.policies.pop(request.match_info["name"], None) is None:
            raise Refused(404, "NotFound", "networkpolicies not found")
        return web.json_response({"kind": "Status", "apiVersion": "v1", "metadata": {},
                                  "status": "Success"})

    async def _posted(self, request: web.Request) -> dict:
        body = await request.json()
        self.posted.append(json.loads(json.dumps(body)))
        return body

    # exec

    async def _exec(self, request: web.Request) -> web.StreamResponse:
        pod = self._pod(request)
        if pod.status["phase"] != "Running":
            raise Refused(400, "BadRequest", f"pod is not running: {pod.status['phase']}")
        if not request.query.getall("command", []):
            raise Refused(400, "BadRequest",
                          "you must specify at least 1 command for the container")
        if pod.init.poll() is not None:            # its status is not there yet
            raise Refused(500, "InternalError", "container not found")
        channels = web.WebSocketResponse(protocols=PROTOCOLS, max_msg_size=1 << 26)
        await channels.prepare(request)
        if channels.ws_protocol is None:
            await channels.close(code=1002)
            return channels
        self.n_execs += 1
        await channels.send_bytes(b"\x01")         # as a real one does: it is open
        command = ["nsenter", "--target", str(pod.init_pid),
                   *(["--user", "--preserve-credentials"] * bool(NAMESPACES)),
                   "--mount", "--pid", "--root", f"--wd=/proc/{pod.init_pid}/root{pod.folder}",
                   *request.query.getall("command")]
        process = await asyncio.create_subprocess_exec(
            *command, env=pod.environment, stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE)
        reading = asyncio.create_task(self._read_stdin(channels, process))
        cut_after, self.cut_after = self.cut_after, -1
        try:
            await asyncio.gather(self._send(channels, 1, process.stdout, request, cut_after),
                                 self._send(channels, 2, process.stderr, request))
            # behind the pipes: a real one, too, waits for all who hold them
            code = await process.wait()
            if not channels.closed:
                await channels.send_bytes(
                    b"\x03" + json.dumps(_exit(code if code >= 0 else 128 - code)).encode())
                await (channels.close() if self.closes else asyncio.sleep(60))
        except (ConnectionError, asyncio.CancelledError):
            pass                                   # the client has gone; the command goes on
        finally:
            reading.cancel()
        return channels

    async def _read_stdin(self, channels: web.WebSocketResponse, process) -> None:
        async for message in channels:
            if message.type != WSMsgType.BINARY:
                continue
            if message.data == b"\xff\x00" and channels.ws_protocol.startswith("v5"):
                process.stdin.close()
            elif message.data[:1] == b"\0":
                with suppress(ConnectionError):    # it reads no more
                    process.stdin.write(message.data[1:])
                    await process.stdin.drain()

    async def _send(self, channels, number: int, pipe, request, cut_after: int = -1) -> None:
        n_sent = 0
        while part := await pipe.read(32 << 10):
            n_sent += len(part)
            if 0 <= cut_after < n_sent:
                request.transport.abort()
                raise ConnectionResetError
            await channels.send_bytes(bytes([number]) + part)


def _kill(pod: Pod) -> None:
    if pod.init is not None and pod.init.poll() is None:
        # unshare; with it goes process 1, and with that all of its namespace
        os.killpg(pod.init.pid, signal.SIGKILL)
        pod.init.wait()


def _exit(code: int) -> dict:
    if code == 0:
        return {"metadata": {}, "status": "Success"}
    return {"metadata": {}, "status": "Failure", "reason": "NonZeroExitCode",
            "message": f"command terminated with non-zero exit code: exit status {code}",
            "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]}}


def _container(spec: dict, state: dict, is_ready: bool = False) -> dict:
    return {"name": spec["name"], "image": spec["image"], "imageID": "", "ready": is_ready,
            "restartCount": 0, "state": state}


def _now() -> str:
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def _born() -> dict:
    return {"uid": str(uuid4()), "creationTimestamp": _now(), "resourceVersion": "1"}


# what is refused

def check_known_fields(body: dict, kind: str, version: str) -> None:
    if (body.get("kind"), body.get("apiVersion")) != (kind, version):
        raise Refused(400, "BadRequest", f"not a {kind} of {version}")
    try:
        kubernetes_validate.validate(body, VERSION, strict=True)
    except kubernetes_validate.ValidationError as e:
        raise Refused(400, "BadRequest",
                      f"strict decoding error: {e.message} at {list(e.path)}") from e


def check_pod(body: dict) -> None:
    """Check the fields, and of what the schemas leave open the amounts of resources."""
    check_known_fields(body, "Pod", "v1")
    for kind, amounts in body["spec"]["containers"][0]["resources"].items():
        for name, value in amounts.items():
            try:
                parse_quantity(value)
            except ValueError:
                raise Refused(422, "Invalid", f"is invalid: spec.containers.resources.{kind}."
                              f"{name}: Invalid value: {value!r}") from None
