"""Lines of bash that install and test scripts are made of. What comes out is meant to be read and run by hand."""
from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping

from codedata.env.tables import table
from codedata.texts import printable

VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
RESULTS = "/tmp/results"          # where test scripts write reports, outside the source folder
TESTER = "tester"                 # the user of suites that must not run as root
WHERE_INSTALLED = "in the source folder, as root, with the network on."
VENV_THERE = ("python3 -c 'import ensurepip' 2>/dev/null || "
              "{ apt-get update -qq; apt-get install -qq -y python3-venv >/dev/null; }")
ASIDE = "# one that cannot be had must not cost the rest"


def head(what: str, strict: bool) -> list[str]:
    """The first lines. An install script ends at its first failure; a test script goes on and ends as its runner."""
    first = f"# {printable(what)}"   # in one line, or what follows would be run
    return ["#!/usr/bin/env bash", first, "set -euo pipefail" if strict else "set -uo pipefail"]


def exports(env: Mapping[str, str]) -> list[str]:
    return [f"export {name}={shlex.quote(value)}" for name, value in sorted(env.items())
            if VARIABLE.fullmatch(name)]


def apt(needed: Iterable[str], wished: Iterable[str] = ()) -> list[str]:
    """Install Debian packages; of the wished ones those that Debian has."""
    needed, wished = sorted(set(needed)), sorted(set(wished) - set(needed))
    lines = ["apt-get update -qq"] if needed or wished else []
    install = "apt-get install -qq -y --no-install-recommends"
    if needed:
        lines.append(f"{install} {words(needed)} >/dev/null")
    if wished:
        lines += [f"for one in {words(wished)}; do   {ASIDE}",
                  f"    {install} \"$one\" >/dev/null || echo \"left out: $one\"", "done"]
    return lines


def git_user() -> list[str]:
    """Suites that commit want to know who they are."""
    return ["git config --global user.name >/dev/null || git config --global user.name tests",
            "git config --global user.email >/dev/null || git config --global user.email tests@example.org",
            "git config --global --replace-all safe.directory '*'"]


def empty_results() -> list[str]:
    return [f"rm -rf {RESULTS}", f"mkdir -p {RESULTS}"]


def only_ipv4() -> list[str]:
    """In a container `localhost` may name an address of IPv6 that no interface has."""
    return ["[ -s /proc/net/if_inet6 ] || { hosts=$(grep -v '^::1' /etc/hosts); echo \"$hosts\" >/etc/hosts; }"]


def install_services(services: Iterable[str]) -> tuple[str, ...]:
    return tuple(package for name in services for package in table("packages")["services"][name]["packages"].split())


def start_services(services: Iterable[str], databases: Iterable[str] = ()) -> list[str]:
    """Start servers in the container and wait for them; PostgreSQL and MariaDB let in whoever runs the tests."""
    lines = []
    for name in services:
        lines.append(f"service {name} start >/dev/null")
        if name == "postgresql":
            lines += ["until runuser -u postgres -- pg_isready -q; do sleep 0.2; done",
                      "as_postgres() { runuser -u postgres -- psql -qc \"$1\" 2>/dev/null || true; }   # may be there",
                      "as_postgres \"create role $(id -un) superuser login password 'postgres'\"",
                      "as_postgres \"alter role postgres password 'postgres'\"",
                      *(f"as_postgres 'create database \"{database}\"'" for database in ("root", "test", *databases))]
        if name == "mariadb":
            lines += ["mysql -e \"create database if not exists test\"",
                      *(f"mysql -e 'create database if not exists `{database}`'" for database in databases)]
    return lines


def in_turn(commands: Iterable[str]) -> list[str]:
    """One after the other, each also where one before it failed; the script ends as the last one that failed."""
    commands = list(commands)
    if len(commands) < 2:
        return commands
    return ["code=0", *(f"{command} || code=$?" for command in commands), "exit $code"]


def words(parts: Iterable[str]) -> str:
    return " ".join(map(shlex.quote, parts))


def text(lines: Iterable[str]) -> str:
    return "\n".join(lines) + "\n"
