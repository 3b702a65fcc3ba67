"""What the CI workflows and Dockerfiles of a repository install, and which services they start."""
from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import yaml

from codedata.env.tables import table

NOT_FOR_TESTS = re.compile(
    r"-doc$|^(?:texlive|latexmk|clang-format|clang-tidy|cppcheck|shellcheck|lcov|gdb|valgrind|ccache|graphviz|pandoc|aspell"
    r"|sphinx|python3?(?:\.\d+)?(?:-.*)?|libpython.*|sudo|git|curl|wget|gpg|gnupg2?)")
PLACES = (".github/workflows/*.y*ml", ".gitlab-ci.yml", ".travis.yml", ".circleci/config.yml", "azure-pipelines.yml")
APT = re.compile(r"apt(?:-get)?\s+(?:-\S+\s+)*install\s+(.*)")


@dataclass(frozen=True)
class Workflows:
    """What they do that a recipe can take over."""

    system: tuple[str, ...] = ()     # Debian packages that it installs
    services: tuple[str, ...] = ()   # by the names in packages.toml


def read_workflows(folder: Path) -> Workflows:
    """Of all workflow files together; what can't be read counts as not there."""
    system: dict[str, None] = {}
    services: dict[str, None] = {}
    known = table("packages")["services"]
    for path in sorted(p for place in PLACES for p in folder.glob(place)):
        try:
            tree = yaml.safe_load(path.read_text(encoding="utf-8", errors="replace"))
        except (OSError, yaml.YAMLError, RecursionError, ValueError):
            continue
        for key, value in _entries(tree):
            if key in ("run", "script", "before_install", "before_script", "install", "command"):
                system |= dict.fromkeys(_installed(value))
            elif key in ("services", "image") or key in known:
                said = str(value).lower()
                services |= dict.fromkeys(name for name, service in known.items() for image in service["images"]
                                          if re.search(rf"\b{image}\b", said))
    for path in sorted(p for name in ("Dockerfile*", ".devcontainer/Dockerfile*") for p in folder.glob(name)
                       if p.is_file()):
        system |= dict.fromkeys(_installed(path.read_text(encoding="utf-8", errors="replace")))
    return Workflows(tuple(system), tuple(services))


def _entries(tree, depth: int = 0):
    """(key, value) of every mapping in a tree."""
    if depth > 30:
        return
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield str(key), value
            yield from _entries(value, depth + 1)
    elif isinstance(tree, list):
        for value in tree:
            yield from _entries(value, depth + 1)


def _installed(script) -> list[str]:
    """The packages of the apt-get lines of a script that a test could need."""
    text = "\n".join(map(str, script)) if isinstance(script, list) else str(script)
    words = [word for line in re.sub(r"\\\n", " ", text).splitlines() if (found := APT.search(line))
             for word in re.split(r"&&|;|\|", found[1])[0].split()]
    return [word for word in words if re.fullmatch(r"[a-z0-9][a-z0-9.+-]+", word) and not NOT_FOR_TESTS.search(word)]
