"""Look up the tables beside the code: missing packages, unneeded packages, causes of failure."""
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
    """Return a parsed table file, such as table("packages")["headers"]["zlib.h"]."""
    return tomllib.loads(text_of("codedata.env.recipes", f"{name}.toml"))


def debian(kind: str, name: str) -> tuple[str, ...]:
    """Return the Debian packages that provide a header, library or binary, or () if unlisted."""
    return tuple(table("packages")[kind].get(name, "").split())


def debian_by_beginning(kind: str, name: str) -> tuple[str, ...]:
    """Return the Debian packages of the longest entry that is a prefix of the name, or ()."""
    fits = [key for key in table("packages")[kind] if name == key or (
        name.startswith(key) and (kind == "shared" or key.endswith("/")))]
    return debian(kind, max(fits, key=len)) if fits else ()


def distribution_of(module: str) -> str:
    """Return the distribution that provides a missing module, or "" if none can. A module that is
    not in the table is assumed to have the name of its distribution."""
    modules, parts = table("packages")["modules"], module.split(".")
    for n in range(len(parts), 0, -1):
        if (found := modules.get(".".join(parts[:n]))) is not None:
            return found
    return parts[0].replace("_", "-")


def brings_option(option: str) -> str:
    """Return the pytest plugin that provides a command line option, or "" if none is known."""
    name = option.partition("=")[0]
    options = table("packages")["options"]
    if not name.startswith("--"):
        return options.get(name[:2], "")
    return options[max(fits, key=len)] if (fits := [key for key in options if name.startswith(key)
                                                    and key.startswith("--")]) else ""


def normalized(name: str) -> str:
    """Return a distribution name in the form in which PyPI compares names."""
    return re.sub(r"[-_.]+", "-", name).lower()


def helps_tests(distribution: str) -> bool:
    """Return whether a test may need a distribution, unlike linters and release tools."""
    name, skip = normalized(distribution), table("skip")
    return name not in skip["names"] and not name.startswith(tuple(skip["beginning"]))


def helps_node_tests(package: str) -> bool:
    """Return whether a test may need an npm package."""
    skip = table("skip")["npm"]
    return package not in skip["names"] and not re.search(skip["patterns"], package)


def is_test_group(name: str) -> bool:
    """Return whether an extra, group, tox environment or file is for tests, by its name."""
    return _is_group(r"(?:unit)?-?(?:tests?|testing|pytest|tst)", name)


def is_developers_group(name: str) -> bool:
    """Return whether a group holds requirements of tests among others, by its name."""
    return _is_group(r"(?:dev|devel|develop|development|ci|all|full|complete|check|qa)", name)


def is_other_group(name: str) -> bool:
    """Return whether a group is for linting, documentation or releases, by its name."""
    return bool(re.search(table("skip")["groups"], name.lower()))


def _is_group(words: str, name: str) -> bool:
    return bool(re.search(rf"(?:^|[^a-z]){words}(?:$|[^a-z])", name.lower())) and not is_other_group(name)
