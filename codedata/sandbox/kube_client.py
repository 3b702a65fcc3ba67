"""Use one namespace of a Kubernetes cluster through the official client: its pods, their policies,
commands in them.

REST calls are repeated after a lost connection, 429 or 5xx, which is safe since we choose the
names. Opening an exec is tried several times; a command is never repeated, since it is sent only to
an exec that is open.
"""
from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as TooSlow
from contextlib import contextmanager

from codedata.errors import ItemFailed, RunStopped, Trouble
from codedata.texts import text_of

try:
    import urllib3
    import yaml
    from kubernetes import client, config
    from kubernetes.stream import stream
    from websocket import ABNF, WebSocketException, WebSocketTimeoutException
except ImportError as e:
    raise Trouble(f"the sandbox `kubernetes` needs a package that is not installed: {e.name}.",
                  todo="pip install 'codedata[kubernetes]'") from None

RETRIES = urllib3.Retry(total=5, backoff_factor=0.3, status_forcelist=(429, 500, 502, 503, 504), allowed_methods=None,
                        raise_on_status=False)
TIMEOUT_S = (10, 60)         # seconds for a REST call to connect, and to be answered
OPEN_S = 30.0                # seconds for an exec to open
OPEN_WAITS_S = (0.2, 0.5, 1.0, 2.0, 4.0)   # between the attempts to open one
PING_S = 20.0                # seconds of silence before a ping, since proxies cut idle connections
LAST_S = 2.0                 # seconds for output that arrives after the status, and for the connection to end
SEND_S = 120.0               # seconds for a piece on stdin to be read
PIECE = 1 << 20              # bytes of such a piece
STDIN, STDOUT, STDERR, STATUS = range(4)   # channels of an exec: the first byte of its messages
MESSAGES = (ABNF.OPCODE_BINARY, ABNF.OPCODE_TEXT)
WHOLE = "# whole"            # marks the end of an exec's text, so that a text that was cut is not run
RECEIVE = 'LC_ALL=C read -r -N "$1" text; [[ $text == *"$2" ]] && eval "$text"'   # starts no further process


class Cut(Exception):
    """Report an exec that did not end normally: the connection was lost, or the pod with it."""


class Cluster:
    """Manage the pods of a namespace. `kubeconfig` and `context` work as in kubectl; without
    them, a pod of the cluster uses its own account."""

    def __init__(self, namespace: str, kubeconfig: str = "", context: str = ""):
        self.namespace, self._settings = namespace, client.Configuration()
        given = {"config_file": kubeconfig, "context": context}
        try:
            config.load_config(client_configuration=self._settings, **{k: v for k, v in given.items() if v})
        except (config.ConfigException, OSError, TypeError) as e:
            raise Trouble(f"no way to a cluster is known: {e}.", kubeconfig, "Check that `kubectl get pods` works, or "
                          "name a file with --kubeconfig.") from e
        self._settings.retries = RETRIES
        self._client = client.ApiClient(self._settings)
        self._pods, self._policies = client.CoreV1Api(self._client), client.NetworkingV1Api(self._client)

    # pods and policies

    def create_pod(self, body: dict) -> str:
        """Create a pod and return its uid."""
        name = body["metadata"]["name"]
        with self._asking(f"create the pod {name}"):
            try:
                return self._pods.create_namespaced_pod(
                    self.namespace, body, field_validation="Strict", _request_timeout=TIMEOUT_S).metadata.uid
            except client.ApiException as e:
                if e.status != 409:
                    raise
        return self.read_pod(name)["metadata"]["uid"]   # ours, since the answer to the first attempt was lost

    def read_pod(self, name: str) -> dict | None:
        """Return a pod as the API gives it; None where there is none."""
        with self._asking(f"read the pod {name}"):
            try:
                return self._plain(self._pods.read_namespaced_pod(name, self.namespace, _request_timeout=TIMEOUT_S))
            except client.ApiException as e:
                if e.status == 404:
                    return None
                raise

    def list_pods(self, selector: str) -> list[dict]:
        """Return the pods that match a label selector, as the API gives them."""
        with self._asking("list pods"):
            return self._plain(self._pods.list_namespaced_pod(
                self.namespace, label_selector=selector, _request_timeout=TIMEOUT_S))["items"]

    def delete_pod(self, name: str) -> None:
        """Delete a pod at once. A pod that does not exist is no error."""
        with self._asking(f"delete the pod {name}"), _absent_is_fine():
            self._pods.delete_namespaced_pod(name, self.namespace, grace_period_seconds=0, _request_timeout=TIMEOUT_S)

    def create_policy(self, body: dict) -> None:
        """Create a network policy. One that exists is left as it is."""
        with self._asking("create a network policy"):
            try:
                self._policies.create_namespaced_network_policy(
                    self.namespace, body, field_validation="Strict", _request_timeout=TIMEOUT_S)
            except client.ApiException as e:
                if e.status != 409:
                    raise

    def delete_policy(self, name: str) -> None:
        """Delete a network policy. One that does not exist is no error."""
        with self._asking("delete a network policy"), _absent_is_fine():
            self._policies.delete_namespaced_network_policy(name, self.namespace, _request_timeout=TIMEOUT_S)

    def _plain(self, answer) -> dict:
        return self._client.sanitize_for_serialization(answer)

    @contextmanager
    def _asking(self, what: str) -> Iterator[None]:
        """Raise Trouble where the API refuses the request `what` or does not answer."""
        try:
            yield
        except client.ApiException as e:
            raise self._trouble(e, what) from e
        except urllib3.exceptions.HTTPError as e:
            raise RunStopped(f"does not answer: {getattr(e, 'reason', None) or e}", self._settings.host,
                             f"It was asked to {what}. Check that `kubectl get pods` works, and run again.") from e

    def _trouble(self, e: client.ApiException, what: str) -> Trouble:
        """Return the exception for a refusal, with advice on what to do."""
        said, where = _message(e), f"{self._settings.host}, namespace {self.namespace}:"
        if e.status == 403 and "exceeded quota" in said:
            return ItemFailed(f"no room in the quota to {what}: {said}", where,
                              "Fewer --workers, smaller requests, or pods that others left: `kubectl get pods`.")
        if e.status == 404 and "namespaces" in said:
            return Trouble("there is no such namespace.", where, f"kubectl create namespace {self.namespace}   "
                           "(or another one: --namespace)")
        todo = {401: "The cluster does not know you: log in again, or check the kubeconfig's user.",
                403: "Ask for the rights that codedata/sandbox/kubernetes.py lists, or use another --namespace.",
                400: "Check the settings of the sandbox.", 422: "Check the settings of the sandbox."}.get(e.status)
        if todo:
            return Trouble(f"HTTP {e.status} when asked to {what}: {said}", where, todo)
        return RunStopped(f"HTTP {e.status} when asked to {what}: {said}", where, "Run again when the cluster is well.")

    # commands

    def exec(self, pod: str, text: str, still_there: Callable[[], None]) -> Exec:
        """Return an open exec: a bash in the pod that runs `text` and reads what is sent to it.
        still_there() raises where another attempt to open it is useless. Raise Cut where it
        cannot be opened."""
        data = f"{text}\n{WHOLE}".encode(errors="replace")
        command = ["bash", "-c", RECEIVE, "bash", str(len(data)), WHOLE]
        for wait_s in (*OPEN_WAITS_S, None):
            try:
                opened = self._open(pod, command)
            except (client.ApiException, TooSlow) as e:
                still_there()
                if (refused := _refused(e)).status in (401, 403):
                    raise self._trouble(refused, f"run a command in the pod {pod}") from e
                if wait_s is None:
                    raise Cut(f"cannot be started: {refused.reason}") from e
                time.sleep(wait_s)
                continue
            opened.send(data)
            return opened

    def _open(self, pod: str, command: list[str]) -> Exec:
        """Open an exec in a thread, since the websocket client has no time-out for its
        handshake."""
        found = Future()
        api = client.CoreV1Api(client.ApiClient(self._settings))   # a separate one, since stream() changes its client

        def connect() -> None:
            try:
                found.set_result(stream(
                    api.connect_get_namespaced_pod_exec, pod, self.namespace, command=command, container="sandbox",
                    stdin=True, stdout=True, stderr=True, tty=False, binary=True, _preload_content=False))
            except client.ApiException as e:
                found.set_exception(e)

        threading.Thread(target=connect, daemon=True).start()
        return Exec(found.result(OPEN_S).sock)


class Exec:
    """Control a running exec. Frames are read one by one: the client's own update() would
    collect the whole output of an endless writer."""

    def __init__(self, socket):
        self._socket, self._status = socket, None

    def __enter__(self) -> Exec:
        return self

    def __exit__(self, *exc) -> None:
        self._socket.close(timeout=0)

    def send(self, data: bytes) -> None:
        """Send data to stdin. Raise Cut where nobody reads it or the connection is lost."""
        self._socket.settimeout(SEND_S)
        try:
            for i in range(0, len(data), PIECE):
                self._socket.send(bytes([STDIN]) + data[i:i + PIECE], ABNF.OPCODE_BINARY)
        except (WebSocketException, OSError) as e:
            raise Cut(f"lost its connection: {e}") from e

    def frames(self, timeout_s: float) -> Iterator[tuple[int, bytes]]:
        """Yield (channel, data) of stdout and stderr until the end. Raise TimeoutError after
        `timeout_s` seconds, Cut where the connection is lost."""
        end = time.monotonic() + timeout_s
        while (left := end - time.monotonic()) > 0:
            self._socket.settimeout(min(left, PING_S))
            try:
                code, frame = self._socket.recv_data_frame(True)
                channel = frame.data[0] if code in MESSAGES and len(frame.data) > 1 else None   # the first one is empty
            except WebSocketTimeoutException:
                self._ping()
                continue
            except (WebSocketException, OSError) as e:
                if self._status is None:
                    raise Cut(f"lost its connection: {e}") from e
                return
            if channel == STATUS:
                self._status, end = json.loads(frame.data[1:]), time.monotonic() + LAST_S
            elif channel in (STDOUT, STDERR):
                yield channel, frame.data[1:]
            if code == ABNF.OPCODE_CLOSE:
                if self._status is None:
                    raise Cut("was closed before its end")
                return
        if self._status is None:
            raise TimeoutError

    def exit_code(self, timeout_s: float) -> int:
        """Return the exit code once the exec has ended, dropping its remaining output. Raise
        TimeoutError or Cut where it does not end normally."""
        for _ in self.frames(timeout_s) if self._status is None else ():
            pass
        if self._status.get("status") == "Success":
            return 0
        for cause in self._status.get("details", {}).get("causes", []):
            if cause.get("reason") == "ExitCode":
                return int(cause["message"])
        raise Cut(f"failed: {self._status.get('message', self._status)}")

    def _ping(self) -> None:
        try:
            self._socket.settimeout(SEND_S)
            self._socket.ping()
        except (WebSocketException, OSError) as e:
            raise Cut(f"lost its connection: {e}") from e


@contextmanager
def _absent_is_fine() -> Iterator[None]:
    """Ignore the error for an object that does not exist, but not for a missing namespace."""
    try:
        yield
    except client.ApiException as e:
        if e.status != 404 or "namespaces" in _message(e):
            raise


def _refused(e: client.ApiException | TooSlow) -> client.ApiException:
    """Return why an exec could not be opened, read from stream()'s error text."""
    told = getattr(e, "reason", None) or ""
    found = re.match(r"Handshake status (\d+) (.*?) -\+-\+-.*-\+-\+- b?(.*)", told, re.DOTALL)
    refused = client.ApiException(int(found[1]) if found else 0, found[2] if found else told or "no answer")
    refused.body = found[3].strip("'\"") if found else None
    return refused


def _message(e: client.ApiException) -> str:
    """Return the message of the Status object that the API sent."""
    try:
        return json.loads(e.body)["message"]
    except (TypeError, ValueError, KeyError):
        return str(e.body or e.reason)[:500]


def template(name: str) -> dict:
    """Return the content of a YAML file of this package."""
    return yaml.safe_load(text_of("codedata.sandbox", name))
