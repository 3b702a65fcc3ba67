"""Relay a script's requests to the Docker engine until the line is cut: the engine is gone then.

    with EngineLine() as line:
        ... a process with DOCKER_HOST=line.address ...
        line.cut()
"""
from __future__ import annotations

import os
import shutil
import socket
import tempfile
import threading
from contextlib import suppress

ENGINE = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock").removeprefix("unix://")


class EngineLine:
    """Forward the connections of a socket to the engine's."""

    def __init__(self):
        self._folder = tempfile.mkdtemp(prefix="engine")
        self.address = f"unix://{self._folder}/s"
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(f"{self._folder}/s")
        self._listener.listen(64)
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                here, there = self._listener.accept()[0], socket.socket(socket.AF_UNIX)
                there.connect(ENGINE)
                self._open += [here, there]
                for pair in ((here, there), (there, here)):
                    threading.Thread(target=self._forward, args=pair, daemon=True).start()

    @staticmethod
    def _forward(source: socket.socket, to: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                to.sendall(data)
            to.shutdown(socket.SHUT_WR)

    def cut(self) -> None:
        """End all connections, and take no more."""
        for one in (self._listener, *self._open):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def __enter__(self) -> EngineLine:
        return self

    def __exit__(self, *exc) -> None:
        self.cut()
        shutil.rmtree(self._folder)
