"""Look up the tables beside the code: missing packages, unneeded packages, causes of failure."""
from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from functools import lru_cache

from codedata.texts import text_of

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Strings = tuple[str, ...]


@lru_cache
def table(name: str) -> dict:
    """Return a parsed table file, such as table("packages")["headers"]["zlib.h"]."""
    return tomllib.loads(text_of("codedata.env.recipes", f"{name}.toml"))


def debian(kind: str, name: str) -> list[str]:
    """Return the Debian packages that provide a header, library or command, or [] if unlisted. The
    longest entry counts that is the name or a folder of it; of a shared library, which may come
    without its `lib`, the longest that is a prefix of it."""
    if is_shared := kind == "shared":
        name = f"lib{name.removeprefix('lib')}"
    packages = table("packages")[kind]
    fits = (key for key in packages if key == name or (
        (is_shared or key.endswith("/")) and name.startswith(key)))
    return packages.get(_longest(fits), "").split()


def distribution_of(module: str) -> str:
    """Return the distribution that provides a missing module, or "" if none can. A module that is
    not in the table is assumed to have the name of its distribution."""
    modules = table("packages")["modules"]
    listed = _longest(key for key in modules if f"{module}.".startswith(f"{key}."))
    return modules[listed] if listed else module.partition(".")[0].replace("_", "-")


def brings_option(option: str) -> str:
    """Return the pytest plugin that provides a command line option, or "" if none is known."""
    options, name = table("packages")["options"], option.partition("=")[0]
    return options.get(_longest(key for key in options if name.startswith(key)), "")


def _longest(keys: Iterable[str]) -> str:
    return max(keys, key=len, default="")


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
    return _is_group("tests", name)


def is_developers_group(name: str) -> bool:
    """Return whether a group holds requirements of tests among others, by its name."""
    return _is_group("developers", name)


def is_other_group(name: str) -> bool:
    """Return whether a group is for linting, documentation or releases, by its name."""
    return bool(re.search(table("skip")["groups"]["others"], name.lower()))


def _is_group(use: str, name: str) -> bool:
    words = table("skip")["groups"][use]
    return not is_other_group(name) and bool(
        re.search(rf"(?:^|[^a-z])(?:{words})(?:$|[^a-z])", name.lower()))
