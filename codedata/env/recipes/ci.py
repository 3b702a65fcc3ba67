"""Read which packages and services the CI workflows and Dockerfiles of a repository set up."""
from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import islice

import yaml

from codedata.env.recipes.package_index import Strings, table
from codedata.env.recipes.repository_files import RepositoryFiles

NOT_FOR_TESTS = re.compile(
    r"-doc$|^(?:texlive|latexmk|clang-format|clang-tidy|cppcheck|shellcheck|lcov|gdb|valgrind"
    r"|ccache|graphviz|pandoc|aspell|sphinx|python3?(?:\.\d+)?(?:-.*)?|libpython.*|sudo|git|curl"
    r"|wget|gpg|gnupg2?)")
PLACES = (".github/workflows/*.y*ml", ".gitlab-ci.yml", ".travis.yml", ".circleci/config.yml",
          "azure-pipelines.yml")
DOCKERFILES = ("Dockerfile*", ".devcontainer/Dockerfile*")
MAX_NODES = 100_000   # per workflow: YAML aliases let a small text repeat one list many times
APT = re.compile(r"apt(?:-get)?\s+(?:-\S+\s+)*install\s+(.*)")


@dataclass(frozen=True)
class Workflows:
    """Hold the parts of CI workflows and Dockerfiles that a recipe can take over."""

    system: Strings = ()     # Debian packages that they install
    services: Strings = ()   # service names as in packages.toml


def read_workflows(source: RepositoryFiles) -> Workflows:
    """Return the packages and services of all readable CI files and Dockerfiles."""
    system: list[str] = []
    services: list[str] = []
    for places, parse in ((PLACES, _of_workflow),
                          (DOCKERFILES, lambda text: (_installed(text), []))):
        for name in sorted(name for place in places for name in source.matching(place)):
            packages, servers = source.parsed(name, parse, ([], []))
            system += packages
            services += servers
    return Workflows(tuple(dict.fromkeys(system)), tuple(dict.fromkeys(services)))


def _of_workflow(text: str) -> tuple[list[str], list[str]]:
    """Return (packages, services) of one workflow file; raise ValueError above MAX_NODES nodes."""
    known, system, services = table("packages")["services"], [], []
    nodes = list(islice(_nodes(yaml.safe_load(text)), MAX_NODES + 1))
    if len(nodes) > MAX_NODES:
        raise ValueError(f"more than {MAX_NODES:,} nodes")
    for key, value in nodes:
        if key in ("run", "script", "before_install", "before_script", "install", "command"):
            system += _installed(value)
        elif key in ("services", "image") or key in known:
            images = str(value).lower()
            services += [name for name, service in known.items() for image in service["images"]
                         if re.search(rf"\b{image}\b", images)]
    return system, services


def _nodes(tree, depth: int = 0):
    """Yield (key, value) of mapping entries and ("", value) of list items, 30 levels deep at
    most."""
    if depth > 30:
        return
    values = tree if isinstance(tree, list) else []
    for key, value in tree.items() if isinstance(tree, dict) else (("", value) for value in values):
        yield str(key), value
        yield from _nodes(value, depth + 1)


def _installed(script) -> list[str]:
    """Return the packages from a script's apt-get lines that a test could need."""
    text = "\n".join(map(str, script)) if isinstance(script, list) else str(script)
    words = [word for line in re.sub(r"\\\n", " ", text).splitlines() if (found := APT.search(line))
             for word in re.split(r"&&|;|\|", found[1])[0].split()]
    return [word for word in words if re.fullmatch(r"[a-z0-9][a-z0-9.+-]+", word)
            and not NOT_FOR_TESTS.search(word)]
