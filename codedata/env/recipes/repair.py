"""Repair recipes by what a log shows as missing: compilers, headers, libraries, commands, and the
rules of repairs.toml.

A rule takes a recipe and a log and returns the changed recipe, or the same one. All rules read each
log, so that one round applies every fix that the log shows.
"""
from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

from codedata.env.recipes.package_index import debian, table

COMPILER = ("g++", "gcc", "libc6-dev", "make", "pkg-config", "python3-dev")
OLD_RUST, NEW_RUST = ("cargo", "rustc"), ("cargo-web", "rustc-web")


@dataclass(frozen=True)
class Log:
    """Hold the output of one attempt."""

    phase: str                 # "install" or "test"
    text: str
    timed_out: bool = False
    not_run: bool = False      # no test case was run

    def shows(self, signs: Iterable[str]) -> bool:
        """Return whether any of the patterns matches."""
        return any(re.search(sign, self.text, re.MULTILINE) for sign in signs)

    def matches(self, kind: str) -> list[str]:
        """Return what the patterns of a kind in repairs.toml match, each once, in order: their
        group, such as the name of what is missing, or the whole match where they have none."""
        return list(dict.fromkeys(
            match[match.re.groups] for pattern in table("repairs")["patterns"][kind]
            for match in re.finditer(pattern, self.text, re.MULTILINE)))


class WithSystem(Protocol):
    """Describe a frozen data class that has Debian packages."""

    system: tuple[str, ...]


Recipe = TypeVar("Recipe", bound=WithSystem)


def repaired(recipe: Recipe, log: Log, *rules: Callable[[Recipe, Log], Recipe]) -> Recipe | None:
    """Return the recipe with every fix that the log suggests, or None if there is none."""
    better = recipe
    for rule in (missing_packages, newer_rust, *rules):
        better = rule(better, log)
    return better if better != recipe else None


def fitting(kind: str, log: Log) -> list[dict]:
    """Return the rules in repairs.toml of this kind that apply to a log."""
    return [rule for rule in table("repairs")[kind]
            if rule.get("phase", log.phase) == log.phase
            and (log.not_run or not rule.get("not_run"))
            and log.shows(rule["signs"]) and log.shows(rule.get("also", [""]))]


def with_system(recipe: Recipe, packages: Iterable[str]) -> Recipe:
    """Return the recipe with Debian packages added."""
    return replace(recipe, system=tuple(sorted({*recipe.system, *packages})))


def missing_packages(recipe: Recipe, log: Log) -> Recipe:
    """Return the recipe with the Debian packages added that the log shows as missing, in any
    language."""
    packages = [*COMPILER] if log.matches("compiler") else []
    for kind in ("headers", "libraries", "shared", "binaries"):
        for name in log.matches(kind):
            packages += debian(kind, name)
    for rule in fitting("system", log):
        packages += rule["system"].split()
    return with_system(recipe, packages)


def newer_rust(recipe: Recipe, log: Log) -> Recipe:
    """Return the recipe with the newer Rust that Debian packages for its browsers, if the usual one
    is too old. Both cannot be installed together."""
    others = set(recipe.system) - {*OLD_RUST}
    if len(others) == len(recipe.system) or not log.matches("old_rust"):
        return recipe
    return with_system(replace(recipe, system=()), (*others, *NEW_RUST))
