"""Start the nodes of a Ray cluster as processes of this machine, each blind to the roots."""
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

# Ray reads it when it is imported: codedata.cluster comes after this module
os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32))
RAY = Path(sys.executable).with_name("ray")
MEMORY = str(40 << 30)   # claimed: what containers may take is no more than a limit


class Nodes:
    """Hold a head, which makes nothing, and nodes with slots for containers. The nodes do not see
    what lies in the folder `hidden`, as on machines without a common file system."""

    def __init__(self, hidden: Path, temp: Path):
        self.hidden, self.temp = hidden, temp
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{probe.getsockname()[1]}"
        self.env = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "RAY_ADDRESS": "",
                    "PYTHONPATH": str(Path(__file__).parents[1])}
        self.processes: list[subprocess.Popen] = []

    def start(self, *words: str, is_blind: bool = True) -> subprocess.Popen:
        """Start a node with these further words of `ray start`."""
        command = [str(RAY), "start", "--block", "--object-store-memory", "100000000", *words]
        if is_blind:
            command = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs none "$0" && exec "$@"',
                       str(self.hidden), *command]
        log = open(self.temp / f"node{len(self.processes)}.log", "w")
        process = subprocess.Popen(command, env=self.env, stdout=log, stderr=log,
                                   stdin=subprocess.DEVNULL, start_new_session=True)
        self.processes.append(process)
        while "Ray runtime started" not in Path(log.name).read_text():   # two at once disturb
            assert process.poll() is None, Path(log.name).read_text()    # each other
            time.sleep(0.1)
        return process

    def workers(self) -> list[tuple[int, int]]:
        """Return (process id, its node's process id) of the workers that make items."""
        port = self.address.partition(":")[2]
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                parent = Path("/proc", folder.joinpath("stat").read_text().rpartition(")")[2]
                              .split()[1])
                if (folder / "cmdline").read_bytes().startswith(b"ray::ClusterWorker") and (
                        f":{port}".encode() in (parent / "cmdline").read_bytes()):
                    found.append((int(folder.name), int(parent.name)))
        return found

    @staticmethod
    def node_of(process: subprocess.Popen) -> int:
        """Return the process id of a node that start() has started."""
        return next(int(folder.name) for folder in Path("/proc").glob("[0-9]*")
                    if b"raylet/raylet" in _command(folder)
                    and os.getpgid(int(folder.name)) == process.pid)

    def kill_node(self, node: int) -> None:
        """End a node and all that runs there, as if its machine went away."""
        for number in (node, *(worker for worker, its_node in self.workers() if its_node == node)):
            os.kill(number, signal.SIGKILL)

    def end(self) -> None:
        """End all nodes, the head last."""
        for process in reversed(self.processes):
            process.send_signal(signal.SIGTERM)
        for process in self.processes:
            process.wait(30)


def _command(folder: Path) -> bytes:
    with suppress(OSError):   # it has ended
        return (folder / "cmdline").read_bytes()
    return b""


@contextmanager
def nodes(hidden: Path, temp: Path) -> Iterator[Nodes]:
    """Yield a head and two nodes with a slot for containers each."""
    one = Nodes(hidden, temp)
    host, port = one.address.split(":")
    one.start("--head", "--port", port, "--num-cpus", "0", "--include-dashboard", "false",
              "--node-ip-address", host, is_blind=False)
    for _ in range(2):
        one.start("--address", one.address, "--num-cpus", "8", "--memory", MEMORY,
                  "--resources", '{"sandbox": 1}')
    try:
        yield one
    finally:
        one.end()
