"""Use a namespace of a Kubernetes cluster through the official client: pods, network policies, and
commands in pods.

REST calls are repeated after a lost connection, 429 or 5xx. This is safe, since we choose the names
of all objects. Opening an exec is tried several times. A command is sent only after its exec is
open, and never twice.
"""
from __future__ import annotations

import json
import os
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
    from websocket import ABNF, WebSocket, WebSocketException, WebSocketTimeoutException
except ImportError as e:
    raise Trouble(f"the sandbox `kubernetes` needs a package that is not installed: {e.name}.",
                  todo="pip install '.[kubernetes]'") from None

RETRIES = urllib3.Retry(total=5, backoff_factor=0.3, status_forcelist=(429, 500, 502, 503, 504),
                        allowed_methods=None, raise_on_status=False)
QUOTA_ADVICE = "Fewer --workers, smaller requests, or pods that others left: `kubectl get pods`."
ADVICE = {
    400: "Check the settings of the sandbox.",
    401: "The cluster does not know you: log in again, or check the kubeconfig's user.",
    403: "Ask for the rights that docs/clusters.md lists, or use another --namespace.",
    422: "Check the settings of the sandbox.",
}
HANDSHAKE = re.compile(r"Handshake status (\d+) (.*?) -\+-\+-.*-\+-\+- b?(.*)", re.DOTALL)
TIMEOUT_S = (10, 60)         # seconds for a REST call to connect, and to be answered
OPEN_S = 30.0                # seconds for an exec to open
OPEN_WAITS_S = (0.2, 0.5, 1.0, 2.0, 4.0)   # seconds between the attempts to open an exec
PING_S = 20.0                # seconds of silence before a ping, since proxies cut idle connections
END_S = 15.0                 # seconds for an exec to end after its command
LAST_S = 2.0                 # seconds after the status to wait for late output, or the close
SEND_S = 120.0               # seconds until a piece of stdin must have been read
PIECE = 1 << 20              # bytes of a piece of stdin
STDIN = 0                    # channels of an exec: the first byte of its messages
STDOUT = 1
STDERR = 2
STATUS = 3
MESSAGES = (ABNF.OPCODE_BINARY, ABNF.OPCODE_TEXT)
WHOLE = "# whole"            # the end of an exec's text; a text without it was cut, and is not run
# reads a text from stdin and runs it; starts no process, since it uses only builtins
RECEIVE = 'LC_ALL=C read -r -N "$1" text; [[ $text == *"$2" ]] && eval "$text"'


class Cut(Exception):
    """Report that an exec did not end normally: the connection or the pod was lost."""


class Cluster:
    """Manage the pods of a namespace. Address and account are read from the files in $KUBECONFIG,
    else from kubectl's default file; without these, the account of our own pod is used."""

    def __init__(self, namespace: str):
        self.namespace = namespace
        self._settings = client.Configuration()
        files = os.environ.get("KUBECONFIG")   # noqa: TID251 - kubectl's own variable
        given = {"config_file": files} if files else {}
        try:
            config.load_config(client_configuration=self._settings, **given)
        except (config.ConfigException, OSError, TypeError) as e:
            raise Trouble(f"no way to a cluster is known: {e}.", files or "",
                          "Check that `kubectl get pods` works; $KUBECONFIG names another "
                          "file.") from e
        self._settings.retries = RETRIES
        self._client = client.ApiClient(self._settings)
        self._pods = client.CoreV1Api(self._client)
        self._policies = client.NetworkingV1Api(self._client)

    # pods and policies

    def create_pod(self, body: dict) -> str:
        """Create a pod and return its uid."""
        name = body["metadata"]["name"]
        made = self._request(f"create the pod {name}", self._pods.create_namespaced_pod, 409,
                             body=body, field_validation="Strict")
        # 409: an earlier attempt has created the pod, but its answer was lost
        made = made or self.read_pod(name)
        return made["metadata"]["uid"]

    def read_pod(self, name: str) -> dict | None:
        """Return a pod in the API's form; None if it does not exist."""
        return self._request(f"read the pod {name}", self._pods.read_namespaced_pod, 404, name=name)

    def list_pods(self, selector: str) -> list[dict]:
        """Return the pods that match a label selector, in the API's form."""
        return self._request("list pods", self._pods.list_namespaced_pod,
                             label_selector=selector)["items"]

    def delete_pod(self, name: str) -> None:
        """Delete a pod immediately. A missing pod is not an error."""
        self._request(f"delete the pod {name}", self._pods.delete_namespaced_pod, 404, name=name,
                      grace_period_seconds=0)

    def create_policy(self, body: dict) -> None:
        """Create a network policy, unless it exists."""
        self._request("create a network policy", self._policies.create_namespaced_network_policy,
                      409, body=body, field_validation="Strict")

    def delete_policy(self, name: str) -> None:
        """Delete a network policy. A missing one is not an error."""
        self._request("delete a network policy", self._policies.delete_namespaced_network_policy,
                      404, name=name)

    def _request(self, what: str, call: Callable, accepts: int = 0, **options):
        """Return the API's answer; None for the HTTP status `accepts`. Raise Trouble if the API
        refuses the request or does not answer."""
        try:
            answer = call(namespace=self.namespace, _request_timeout=TIMEOUT_S, **options)
        except client.ApiException as e:
            # never accept a missing namespace
            if e.status == accepts and "namespaces" not in _message(e):
                return None
            raise self._trouble(e, what) from e
        except urllib3.exceptions.HTTPError as e:
            raise RunStopped(f"does not answer: {getattr(e, 'reason', None) or e}",
                             self._settings.host, f"It was asked to {what}. Check that "
                             "`kubectl get pods` works, and run again.") from e
        return self._client.sanitize_for_serialization(answer)

    def _trouble(self, e: client.ApiException, what: str) -> Trouble:
        """Return the exception for a refusal by the API, with advice."""
        message = _message(e)
        where = f"{self._settings.host}, namespace {self.namespace}:"
        if e.status == 403 and "exceeded quota" in message:
            return ItemFailed(f"no room in the quota to {what}: {message}", where, QUOTA_ADVICE)
        if e.status == 404 and "namespaces" in message:
            return Trouble("there is no such namespace.", where,
                           f"kubectl create namespace {self.namespace}   "
                           "(or another one: --namespace)")
        refused = f"HTTP {e.status} when asked to {what}: {message}"
        if e.status in ADVICE:
            return Trouble(refused, where, ADVICE[e.status])
        return RunStopped(refused, where, "Run again when the cluster works.")

    # commands

    @contextmanager
    def exec(self, pod: str, text: str, still_there: Callable[[], object]) -> Iterator[Exec]:
        """Yield an open exec: a bash in the pod that runs `text`, with stdin. If it cannot be
        opened, call still_there(), which may raise an error, and try again. Raise Cut if all
        attempts fail."""
        data = f"{text}\n{WHOLE}".encode(errors="replace")
        command = ["bash", "-c", RECEIVE, "bash", str(len(data)), WHOLE]
        for wait_s in (*OPEN_WAITS_S, None):
            try:
                socket = self._open(pod, command)
                break
            except (client.ApiException, TooSlow) as e:
                still_there()
                refused = _refused(e)
                if refused.status in (401, 403):
                    raise self._trouble(refused, f"run a command in the pod {pod}") from e
                if wait_s is None:
                    raise Cut(f"cannot be started: {refused.reason}") from e
                time.sleep(wait_s)
        try:
            exec_ = Exec(socket)
            exec_.send(data)
            yield exec_
        finally:
            socket.close(timeout=0)

    def _open(self, pod: str, command: list[str]) -> WebSocket:
        """Open an exec, in a thread, since the websocket client has no time-out for its handshake.
        """
        opened = Future()
        api = client.CoreV1Api(client.ApiClient(self._settings))   # new, as stream() changes it

        def connect() -> None:
            try:
                opened.set_result(stream(
                    api.connect_get_namespaced_pod_exec, pod, self.namespace, command=command,
                    container="sandbox", stdin=True, stdout=True, stderr=True, tty=False,
                    binary=True, _preload_content=False))
            except client.ApiException as e:
                opened.set_exception(e)

        threading.Thread(target=connect, daemon=True).start()
        return opened.result(OPEN_S).sock


class Exec:
    """Control a running exec. Read frames one by one: the client's update() would collect the whole
    output of an endless writer."""

    def __init__(self, socket: WebSocket):
        self._socket = socket
        self._status = None   # the API's Status object at the exec's end

    def send(self, data: bytes) -> None:
        """Send data to stdin. Raise Cut if the data is not read, or the connection is lost."""
        for i in range(0, len(data), PIECE):
            self._send(bytes([STDIN]) + data[i:i + PIECE], ABNF.OPCODE_BINARY)

    def frames(self, timeout_s: float) -> Iterator[tuple[int, bytes]]:
        """Yield (channel, data) of stdout and stderr until the end. Raise TimeoutError after
        `timeout_s` seconds, Cut if the connection is lost."""
        end = time.monotonic() + timeout_s
        lost = ""
        while not lost and (left := end - time.monotonic()) > 0:
            self._socket.settimeout(min(left, PING_S))
            try:
                code, frame = self._socket.recv_data_frame(True)
            except WebSocketTimeoutException:
                self._send(b"", ABNF.OPCODE_PING)
                continue
            except (WebSocketException, OSError) as e:
                lost = f"lost its connection: {e}"
                continue
            # skip the first message, which is empty
            is_message = code in MESSAGES and len(frame.data) > 1
            channel = frame.data[0] if is_message else None
            if channel == STATUS:
                self._status = json.loads(frame.data[1:])
                end = time.monotonic() + LAST_S
            elif channel in (STDOUT, STDERR):
                yield channel, frame.data[1:]
            if code == ABNF.OPCODE_CLOSE:
                lost = "was closed before its end"
        if self._status is None:
            raise Cut(lost) if lost else TimeoutError

    def exit_code(self) -> int:
        """Wait for the end of the exec, drop its remaining output, and return its exit code. Raise
        TimeoutError or Cut if it does not end normally."""
        if self._status is None:
            for _ in self.frames(END_S):
                pass
        if self._status.get("status") == "Success":
            return 0
        for cause in self._status.get("details", {}).get("causes", []):
            if cause.get("reason") == "ExitCode":
                return int(cause["message"])
        raise Cut(f"failed: {self._status.get('message', self._status)}")

    def _send(self, frame: bytes, opcode: int) -> None:
        self._socket.settimeout(SEND_S)
        try:
            self._socket.send(frame, opcode)
        except (WebSocketException, OSError) as e:
            raise Cut(f"lost its connection: {e}") from e


def _refused(e: client.ApiException | TooSlow) -> client.ApiException:
    """Return the refusal to open an exec, parsed from stream()'s error text."""
    text = getattr(e, "reason", None) or "no answer"
    match = HANDSHAKE.match(text)
    if not match:
        return client.ApiException(0, text)
    refused = client.ApiException(int(match[1]), match[2])
    refused.body = match[3].strip("'\"")
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
