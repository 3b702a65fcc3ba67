"""Look up the TOML tables of this folder: providers of missing names, unneeded packages, tools."""
import re
from functools import lru_cache

from codedata.texts import toml_of

Strings = tuple[str, ...]
COMPILER = ("g++", "gcc", "libc6-dev", "make", "pkg-config", "python3-dev")   # Debian packages
# {table of packages.toml whose keys may be prefixes of names: the text that must follow a prefix}
BEGINNINGS = {"modules": ".", "options": "", "settings": "", "shared": ""}


@lru_cache
def table(name: str) -> dict:
    """Return a parsed TOML file of this folder: table("packages")["headers"]["zlib.h"]."""
    return toml_of(__package__, f"{name}.toml")


def provider(kind: str, name: str, default: str = "") -> str:
    """Return the provider of a name in packages.toml, or `default` if it is not listed. The longest
    matching key counts: the name, one of its folders, or (in BEGINNINGS) a prefix."""
    providers, end = table("packages")[kind], BEGINNINGS.get(kind, "\0")
    keys = [key for key in providers
            if f"{name}{end}".startswith(key if key.endswith("/") else f"{key}{end}")]
    return providers.get(max(keys, key=len, default=""), default)


def distribution_of(module: str) -> str:
    """Return the distribution that provides a missing module, or "" if packages.toml says that none
    does. A module that the table lacks is assumed to have its distribution's name."""
    return provider("modules", module, module.partition(".")[0].replace("_", "-"))


def helps_tests(index: str, package: str) -> bool:
    """Return whether a test may need a package of an index: "pypi", "npm" or "debian". No test
    needs linters or release tools."""
    skip = table("skip")[index]
    return package not in skip["names"] and not re.search(skip["patterns"], package)


def use_of(name: str) -> str:
    """Return the use of an extra, group, tox environment or file of requirements, by its name:
    others (linting, documentation, releases), tests, developers, or "" if the name does not show
    it."""
    uses = table("skip")["groups"]
    return next((use for use in uses if re.search(uses[use], name.lower())), "")
