"""Build install and test scripts from lines of bash, which can be read and run by hand."""
from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping

from codedata.env.recipes.package_index import table
from codedata.texts import printable

VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
RESULTS = "/tmp/results"          # where test scripts write reports, outside the source folder
TESTER = "tester"                 # the user for suites that must not run as root
WHERE_INSTALLED = "in the source folder, as root, with the network on."
VENV_THERE = ("python3 -c 'import ensurepip' 2>/dev/null || "
              "{ apt-get update -qq; apt-get install -qq -y python3-venv >/dev/null; }")
ASIDE = "# one that cannot be had must not cost the rest"


def head(what: str, strict: bool) -> list[str]:
    """Return the first lines of a script. If `strict`, the script ends at its first failure, as
    install scripts do; otherwise it continues, as test scripts do."""
    first = f"# {printable(what)}"   # on one line; a second one would be executed
    return ["#!/usr/bin/env bash", first, "set -euo pipefail" if strict else "set -uo pipefail"]


def exports(env: Mapping[str, str]) -> list[str]:
    """Return sorted `export` lines for the variables whose names bash allows."""
    return [f"export {name}={shlex.quote(value)}" for name, value in sorted(env.items())
            if VARIABLE.fullmatch(name)]


def apt(needed: Iterable[str], wished: Iterable[str] = ()) -> list[str]:
    """Return lines that install the needed Debian packages and any wished ones that exist."""
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
    """Return lines that configure git, because some test suites make commits."""
    return ["git config --global user.name >/dev/null || git config --global user.name tests",
            "git config --global user.email >/dev/null || git config --global user.email tests@example.org",
            "git config --global --replace-all safe.directory '*'"]


def empty_results() -> list[str]:
    """Return lines that make RESULTS an empty folder."""
    return [f"rm -rf {RESULTS}", f"mkdir -p {RESULTS}"]


def only_ipv4() -> list[str]:
    """Return a line that removes the IPv6 address of localhost from /etc/hosts if no interface has
    IPv6, as in some containers."""
    return ["[ -s /proc/net/if_inet6 ] || { hosts=$(grep -v '^::1' /etc/hosts); echo \"$hosts\" >/etc/hosts; }"]


def install_services(services: Iterable[str]) -> tuple[str, ...]:
    """Return the Debian packages of the named services."""
    return tuple(package for name in services for package in table("packages")["services"][name]["packages"].split())


def start_services(services: Iterable[str], databases: Iterable[str] = ()) -> list[str]:
    """Return lines that start servers, wait for PostgreSQL and create databases. PostgreSQL gets a
    superuser role for the current user."""
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
    """Return lines that run all commands in order, even after a failure. The script then exits with
    the code of the last command that failed, or 0."""
    commands = list(commands)
    if len(commands) < 2:
        return commands
    return ["code=0", *(f"{command} || code=$?" for command in commands), "exit $code"]


def words(parts: Iterable[str]) -> str:
    """Return the parts quoted for bash and joined by spaces."""
    return " ".join(map(shlex.quote, parts))


def text(lines: Iterable[str]) -> str:
    """Return the script as text, ending in a line break."""
    return "\n".join(lines) + "\n"
