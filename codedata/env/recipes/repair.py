"""Add the system packages that a log shows as missing, in any language: compilers, headers,
libraries, commands.

A rule takes a recipe and a log and returns the changed recipe, or the same one. All rules read each
log, so that one round applies every fix that the log shows.
"""
from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

from codedata.env.recipes.package_index import debian, debian_by_beginning, table

OLD_RUST = (r"requires rustc [\d.]+ or newer", r"Rust [\d.]+ does not match extension requirement",
            r"feature `edition20\d\d` is required", r"lock file version .* requires")
COMPILER = ("g++", "gcc", "libc6-dev", "make", "pkg-config", "python3-dev")


@dataclass(frozen=True)
class Log:
    """Hold the output of one attempt."""

    phase: str                 # "install" or "test"
    text: str
    timed_out: bool = False
    not_run: bool = False      # no test case was run


class WithSystem(Protocol):
    """Describe a frozen data class that has Debian packages."""

    system: tuple[str, ...]


Recipe = TypeVar("Recipe", bound=WithSystem)


def found(pattern: str, text: str) -> list[str]:
    """Return the first group of every match of a pattern, each once, in order."""
    return list(dict.fromkeys(match[1] for match in re.finditer(pattern, text, re.MULTILINE)))


def found_by(patterns: tuple[str, ...], text: str) -> list[str]:
    """Return the first group of every match of any pattern, each once."""
    return list(dict.fromkeys(name for pattern in patterns for name in found(pattern, text)))


def with_system(recipe: Recipe, packages: tuple[str, ...]) -> Recipe:
    """Return the recipe with Debian packages added."""
    return replace(recipe, system=tuple(sorted({*recipe.system, *packages})))


def compiler(recipe: Recipe, log: Log) -> Recipe:
    """Return the recipe with a C compiler if the log shows that one is missing."""
    signs = (r"(?:command|execute) '?(?:\w+-linux-gnu-)?(?:gcc|g\+\+|cc|c\+\+|clang)'?.*(?:No such file|not found)",
             r"Unknown compiler\(s\)", r"No CMAKE_\w+_COMPILER could be found", r"linker `cc` not found",
             r"Python\.h: No such file", r"working C compiler")
    return with_system(recipe, COMPILER) if any(re.search(sign, log.text) for sign in signs) else recipe


def headers(recipe: Recipe, log: Log) -> Recipe:
    """Return the recipe with the packages added that provide missing C headers."""
    names = found(r"fatal error: '?([\w./+-]+\.(?:h|hpp))'?(?:: No such file| file not found)", log.text)
    return with_system(recipe, tuple(p for name in names for p in debian_by_beginning("headers", name)))


def libraries(recipe: Recipe, log: Log) -> Recipe:
    """Return the recipe with the packages added that provide libraries missing at build time."""
    names = found_by((r"cannot find -l(\w[\w.+-]*)", r"No package '([^']+)' found", r"Could NOT find (\w+)",
                      r"Package '?([\w.+-]+)'?,? .*not found", r'Dependency "([^"]+)" not found'), log.text)
    said = table("packages")["said"]
    packages = [p for sign in said if sign in log.text for p in said[sign].split()]
    return with_system(recipe, (*packages, *(p for name in names for p in debian("libraries", name))))


def shared_libraries(recipe: Recipe, log: Log) -> Recipe:
    """Return the recipe with the packages added that provide missing shared libraries."""
    names = found_by((r"(lib[\w+-]+)[\w.+-]*\.so[\w.]*: cannot open shared object",
                      r"cannot load library '(?:lib)?([\w+-]+)",
                      r"(?:unable|failed) to (?:find|load) (?:the )?(?:shared library )?'?(lib[\w+-]+)"), log.text)
    return with_system(recipe, tuple(p for name in names for p in (
        debian_by_beginning("shared", name) or debian_by_beginning("shared", f"lib{name}"))))


def commands(recipe: Recipe, log: Log) -> Recipe:
    """Return the recipe with the packages added that provide missing commands."""
    names = found_by((r"(?:^|[\s:/])([\w.+-]+): (?:command )?not found\b", r"No such file or directory: '([\w.+-]+)'$",
                      r"(?:[Pp]rogram|executable|command) '?([\w.+-]+)'? (?:was )?not found",
                      r"([\w.+-]+) executable not found"), log.text)
    return with_system(recipe, tuple(p for name in names for p in debian("binaries", name)))


def newer_rust(recipe: Recipe, log: Log) -> Recipe:
    """Return the recipe with the newer Rust that Debian packages for its browsers, if the usual one
    is too old. Both cannot be installed together."""
    if not {"cargo", "rustc"} & set(recipe.system) or not any(re.search(sign, log.text) for sign in OLD_RUST):
        return recipe
    others = tuple(package for package in recipe.system if package not in ("cargo", "rustc"))
    return with_system(replace(recipe, system=others), ("cargo-web", "rustc-web"))


SYSTEM = (compiler, headers, libraries, shared_libraries, commands, newer_rust)
