"""Serve an image registry on the loopback: Debian's docker-registry, with a folder of its own."""
import shutil
import socket
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

CONFIG = """version: 0.1
log: {{level: error}}
storage: {{filesystem: {{rootdirectory: "{folder}"}}, delete: {{enabled: true}}}}
http: {{addr: "{address}"}}
"""


@contextmanager
def registry_server():
    """Yield the address of a running registry, 127.0.0.1:PORT."""
    program = shutil.which("docker-registry")
    assert program, "no docker-registry: apt-get install docker-registry (.ci/run does)"
    with socket.socket() as free, tempfile.TemporaryDirectory() as folder:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
        free.close()
        config = Path(folder, "config.yml")
        config.write_text(CONFIG.format(folder=folder, address=address))
        process = subprocess.Popen([program, "serve", config], stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL)
        try:
            _wait_for(address)
            yield address
        finally:
            process.kill()
            process.wait()


def _wait_for(address: str) -> None:
    host, _, port = address.partition(":")
    for _ in range(200):
        try:
            socket.create_connection((host, int(port)), timeout=1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise AssertionError(f"the registry does not answer at {address}")
