"""Serve on the host for tests of who reaches it, and find the addresses to try."""
import json
import socket
import threading
from contextlib import contextmanager

CONNECT = ("import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 2); "
           "print('reached')")


@contextmanager
def listening(address: str):
    """Listen on an address of the host; give the port."""
    with socket.create_server((address, 0)) as server:
        threading.Thread(target=_accept, args=[server], daemon=True).start()
        yield server.getsockname()[1]


def _accept(server: socket.socket) -> None:
    try:
        while True:
            server.accept()[0].close()
    except OSError:
        pass   # closed


def connects(sandbox, host: str, port: int) -> bool:
    """Return whether a command in a sandbox reaches host:port."""
    return sandbox.run(f"python3 -c {json.dumps(CONNECT)} {host} {port}",
                       timeout_s=30).output == "reached\n"


def host_address() -> str:
    """Return the address by which other machines know the host; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.connect(("192.0.2.1", 9))
        return s.getsockname()[0]


def gateway(sandbox) -> str:
    """Return the host's address on the network that a sandbox is on."""
    routes = [line.split() for line in sandbox.run("cat /proc/net/route").output.splitlines()]
    default = next(fields[2] for fields in routes if fields[1] == "00000000")
    return ".".join(str(int(default[i:i + 2], 16)) for i in (6, 4, 2, 0))
