"""Build the argument list of a sandbox's bash command, and the variables of its environment."""
from __future__ import annotations

import shlex
from urllib.parse import urlsplit

from codedata.errors import ItemFailed
from codedata.sandbox import Script

PART = 30_000            # characters of a command in one argument: Linux allows 128 KiB
COMMAND_BYTES = 1 << 20  # limit of a command: Linux allows 2 MiB, environment included
PROXY_NAMES = ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")
NO_PROXY = "localhost,127.0.0.1,::1"   # no proxy for servers that tests start
CA_NAMES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "PIP_CERT", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO",
            "NODE_EXTRA_CA_CERTS", "CARGO_HTTP_CAINFO")


def bash(command: str, workdir: str, folder: str, scripts: list[Script]) -> list[str]:
    """Return the arguments that run a command in `workdir` after sourcing the scripts, which lie
    in `folder`. Raise ItemFailed for a command of more than COMMAND_BYTES."""
    data = command.replace("\0", "").encode(errors="replace")   # bash drops a NUL, too
    command = data.decode()
    if len(data) > COMMAND_BYTES:
        raise ItemFailed(f"a command of {len(command):,} characters is too long.",
                         todo="Put it into a file first.")
    sources = "".join(f". {shlex.quote(f'{folder}/{script.name}')}; " for script in scripts)
    start = (f'cd {shlex.quote(workdir)} 2>/dev/null; {sources}'
             'printf -v __command %s "$@"; set --; eval "$__command"')
    parts = [command[i:i + PART] for i in range(0, len(command), PART)]
    return ["bash", "-c", start, "bash", *parts]


def given_env(proxy: dict[str, str], env: dict[str, str] | None) -> dict[str, str]:
    """Return the variables of one command, and CODEDATA_ENV, which names them for bash_func.sh."""
    given = {**proxy, **(env or {})}
    return {**given, "CODEDATA_ENV": " ".join(given)}


def proxy_env(proxy: str, ca_path: str) -> dict[str, str]:
    """Return the variables by which programs find a proxy and a CA bundle; {} where there is
    neither."""
    env = {}
    if proxy:
        env |= dict.fromkeys(PROXY_NAMES, proxy) | dict.fromkeys(("no_proxy", "NO_PROXY"), NO_PROXY)
    if ca_path:
        env |= dict.fromkeys(CA_NAMES, ca_path)
    return env


def secrets_of(proxy: str) -> list[str]:
    """Return the texts that must not be printed, longest first: the proxy's address, its host,
    its password."""
    parts = urlsplit(proxy)
    texts = {proxy, parts.netloc, parts.netloc.rpartition("@")[2], parts.password}
    if parts.hostname and "." in parts.hostname:   # a plain word may occur for other reasons
        texts.add(parts.hostname)
    return sorted(filter(None, texts), key=len, reverse=True)
