"""Build install and test scripts from lines of bash, which can be read and run by hand."""
from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from itertools import chain

from codedata.env.recipes.package_index import table
from codedata.suites.project_suite import RESULTS
from codedata.texts import fill, printable

VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
TESTER = "tester"                 # the user for suites that must not run as root
VENV_THERE = ("python3 -c 'import ensurepip' 2>/dev/null || "
              "{ apt-get update -qq; apt-get install -qq -y python3-venv >/dev/null; }")
# lines that configure git, since some test suites make commits
GIT_USER = ("git config --global user.name >/dev/null || git config --global user.name tests",
            "git config --global user.email >/dev/null || "
            "git config --global user.email tests@example.org",
            "git config --global --replace-all safe.directory '*'")
EMPTY_RESULTS = (f"rm -rf {RESULTS}", f"mkdir -p {RESULTS}")
# removes the IPv6 address of localhost if no interface has IPv6, as in some containers
ONLY_IPV4 = ("[ -s /proc/net/if_inet6 ] || "
             "{ hosts=$(grep -v '^::1' /etc/hosts); echo \"$hosts\" >/etc/hosts; }")
ASIDE = "# one that cannot be had must not cost the rest"


def install_script(what: str, env: Mapping[str, str], *parts: Iterable[str]) -> str:
    """Return an install script of these lines that ends at the first failure."""
    return _text(f"Install {what}: in the source folder, as root, with the network on.", "-euo",
                 {**env, "DEBIAN_FRONTEND": "noninteractive"}, *parts)


def purpose(project) -> str:
    """Return a phrase for the head of an install script: its project's name and version."""
    return " ".join(filter(None, (project.name or "the project", project.version, "for its tests")))


def test_script(variables: tuple, env: Mapping[str, str], *parts: Iterable[str]) -> str:
    """Return a test script of these lines that continues after a failure. It exports `env`,
    and each of CI's `variables` that `env` lacks, with its first value."""
    return _text(f"Run the tests: in the source folder. Reports go to {RESULTS}.", "-uo",
                 {**dict(reversed(variables)), **env}, *parts)


def _text(what: str, options: str, env: Mapping[str, str], *parts: Iterable[str]) -> str:
    """Return the text of a script. Its comment is one line, since a second line would be executed.
    Only variables with valid names are exported, sorted."""
    head = ["#!/usr/bin/env bash", f"# {printable(what)}", f"set {options} pipefail",
            *(f"export {name}={shlex.quote(value)}" for name, value in sorted(env.items())
              if VARIABLE.fullmatch(name))]
    return "\n".join((*head, *chain(*parts), ""))


def apt(needed: Iterable[str], wished: Iterable[str] = ()) -> list[str]:
    """Return lines that install the needed Debian packages, if one is missing, and each of the
    wished packages that exists."""
    needed, wished = shlex.join(sorted(set(needed))), sorted(set(wished) - set(needed))
    update, install = "apt-get update -qq", "apt-get install -qq -y --no-install-recommends"
    lines = []
    if needed:
        lines.append(f"dpkg -s {needed} >/dev/null 2>&1 || "
                     f"{{ {update}; {install} {needed} >/dev/null; }}")
    if wished:
        lines += [update, f"for one in {shlex.join(wished)}; do   {ASIDE}",
                  f"    {install} \"$one\" >/dev/null || echo \"left out: $one\"", "done"]
    return lines


def start_services(services: Iterable[str], databases: Iterable[str]) -> list[str]:
    """Return lines that start servers, wait for PostgreSQL and create databases. PostgreSQL gets a
    superuser role for the current user."""
    lines = []
    for name in services:
        service = table("packages")["services"][name]
        lines += [f"service {name} start >/dev/null", *service.get("prepare", ())]
        lines += [fill(service["database"], name=database) for database in (
            *service.get("databases", ()), *databases) if "database" in service]
    return lines


def in_turn(commands: list[str]) -> list[str]:
    """Return lines that run all commands in order, even after a failure. The script then exits with
    the code of the last command that failed, or 0."""
    if len(commands) < 2:
        return commands
    return ["code=0", *(f"{command} || code=$?" for command in commands), "exit $code"]
