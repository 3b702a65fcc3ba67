"""The tables beside the code: which package brings what a log misses, what no test needs, why an environment fails."""
from __future__ import annotations

import re
import sys
from functools import lru_cache

from codedata.texts import text_of

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


@lru_cache
def table(name: str) -> dict:
    """A table file as it stands: table("packages")["headers"]["zlib.h"]."""
    return tomllib.loads(text_of("codedata.env", f"{name}.toml"))


def debian(kind: str, name: str) -> tuple[str, ...]:
    """The Debian packages that bring a header, library or binary; () where the table does not know it."""
    return tuple(table("packages")[kind].get(name, "").split())


def debian_by_beginning(kind: str, name: str) -> tuple[str, ...]:
    """The same, for a table whose entries may be the beginnings of names; the longest that fits."""
    fits = [key for key in table("packages")[kind] if name == key or (
        name.startswith(key) and (kind == "shared" or key.endswith("/")))]
    return debian(kind, max(fits, key=len)) if fits else ()


def distribution_of(module: str) -> str:
    """The distribution to try for a module that is missing; "" where none can bring it. A name that the table does not
    know is taken for the distribution's own."""
    modules, parts = table("packages")["modules"], module.split(".")
    for n in range(len(parts), 0, -1):
        if (found := modules.get(".".join(parts[:n]))) is not None:
            return found
    return parts[0].replace("_", "-")


def brings_option(option: str) -> str:
    """The plugin that knows an option of pytest's command line; "" where none is known."""
    name = option.partition("=")[0]
    options = table("packages")["options"]
    if not name.startswith("--"):
        return options.get(name[:2], "")
    return options[max(fits, key=len)] if (fits := [key for key in options if name.startswith(key)
                                                    and key.startswith("--")]) else ""


def normalized(name: str) -> str:
    """As PyPI compares names of distributions."""
    return re.sub(r"[-_.]+", "-", name).lower()


def helps_tests(distribution: str) -> bool:
    """Whether a test may need it: not so for linters, documentation and release tools."""
    name, skip = normalized(distribution), table("skip")
    return name not in skip["names"] and not name.startswith(tuple(skip["beginning"]))


def helps_node_tests(package: str) -> bool:
    """The same for packages of npm."""
    skip = table("skip")["npm"]
    return package not in skip["names"] and not re.search(skip["patterns"], package)


def is_test_group(name: str) -> bool:
    """Extras, dependency groups, tox environments and requirements files that are there for tests."""
    return _is_group(r"(?:unit)?-?(?:tests?|testing|pytest|tst)", name)


def is_developers_group(name: str) -> bool:
    """Groups that hold what tests need beside much else."""
    return _is_group(r"(?:dev|devel|develop|development|ci|all|full|complete|check|qa)", name)


def is_other_group(name: str) -> bool:
    """Linting, documentation, releases."""
    return bool(re.search(table("skip")["groups"], name.lower()))


def _is_group(words: str, name: str) -> bool:
    return bool(re.search(rf"(?:^|[^a-z]){words}(?:$|[^a-z])", name.lower())) and not is_other_group(name)
