"""Build the argument list and the environment of a sandbox's bash commands."""
from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from urllib.parse import urlsplit

from codedata.errors import ItemFailed
from codedata.sandbox import Script
from codedata.sandbox.docker.output import Output

PART = 30_000            # characters of a command per argument: Linux allows 128 KiB
COMMAND_BYTES = 1 << 20  # limit for a command: Linux allows 2 MiB, including the environment
PROXY_NAMES = ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")
NO_PROXY_NAMES = ("no_proxy", "NO_PROXY")
NO_PROXY = "localhost,127.0.0.1,::1"   # servers started by tests need no proxy
CA_NAMES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "PIP_CERT", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO",
            "NODE_EXTRA_CA_CERTS", "CARGO_HTTP_CAINFO")


class Shell:
    """Build the bash commands of a sandbox, and their environments.

    A command runs in `workdir`, after the scripts in `folder` were sourced. `ca_path` is the path
    of the CA bundle in the sandbox, or "".
    """

    def __init__(self, workdir: str, folder: str, scripts: Iterable[Script], proxy: str,
                 ca_path: str):
        sources = "".join(f". {shlex.quote(f'{folder}/{script.name}')}; " for script in scripts)
        # merge stdout and stderr, since Docker does not keep the order of two streams
        self._start = (f'exec 2>&1; cd {shlex.quote(workdir)} 2>/dev/null; {sources}'
                       'printf -v __command %s "$@"; set --; eval "$__command"')
        self._env = {}
        if proxy:
            self._env = dict.fromkeys(PROXY_NAMES, proxy) | dict.fromkeys(NO_PROXY_NAMES, NO_PROXY)
        if ca_path:
            self._env |= dict.fromkeys(CA_NAMES, ca_path)
        # texts that are never printed: the proxy's address, host and password
        parts = urlsplit(proxy)
        hosts = parts.netloc, parts.netloc.rpartition("@")[2], parts.hostname or ""
        # do not hide a host name without a dot, since it may occur in any text
        self._secrets = proxy, parts.password, *filter(re.compile("[.:@]").search, hosts)

    def argv(self, command: str) -> list[str]:
        """Return the arguments to run a command. Raise ItemFailed for more than COMMAND_BYTES."""
        data = command.replace("\0", "").encode(errors="replace")   # bash also drops a NUL
        if len(data) > COMMAND_BYTES:
            raise ItemFailed(f"a command of {len(command):,} characters is too long.",
                             todo="Put it into a file first.")
        return ["bash", "-c", self._start, "bash", *in_parts(data.decode())]

    def env(self, given: dict[str, str] | None) -> dict[str, str]:
        """Return the variables of one command, and CODEDATA_ENV, which lists their names for
        bash_func.sh."""
        env = self._env | (given or {})
        return {**env, "CODEDATA_ENV": " ".join(env)}

    def output(self) -> Output:
        """Return a collector for a command's output; it hides the proxy."""
        return Output(filter(None, self._secrets))


def in_parts(text: str) -> list[str]:
    """Return a text in parts that each fit into one argument."""
    return [text[i:i + PART] for i in range(0, len(text), PART)]
