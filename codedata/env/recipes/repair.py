"""Repair a recipe according to the log of an attempt: add missing headers, libraries and commands,
and apply the rules of repairs.toml.

A rule is a function of a recipe and a log that returns the changed recipe, or the same one. Every
rule is called for each log, so one round applies all fixes that the log suggests.
"""
from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Protocol

from codedata.env.recipes.package_index import Strings, provider, table


@dataclass(frozen=True)
class Log:
    """Hold the output of one attempt."""

    phase: str                 # "install" or "test"
    text: str
    timed_out: bool = False
    not_run: bool = False      # no test case was run

    def shows(self, signs: Iterable[str]) -> bool:
        """Return whether the log matches any of these patterns."""
        return any(re.search(sign, self.text, re.MULTILINE) for sign in signs)

    def matches(self, kind: str) -> list[str]:
        """Return the distinct matches of the patterns that repairs.toml has for a kind, in order.
        A match is the pattern's group, such as the name of a missing package, or the whole match if
        the pattern has no group."""
        return list(dict.fromkeys(
            match[match.re.groups] for pattern in table("repairs")["patterns"][kind]
            for match in re.finditer(pattern, self.text, re.MULTILINE)))


class Recipe(Protocol):
    """Define a recipe: a frozen data class that describes one way to install and test, and makes
    both scripts."""

    planner: str               # the kind of recipe
    system: Strings            # Debian packages
    variables: tuple           # (name, value) that CI sets for the tests
    excluded_tests: Strings    # tests, and commands of scripts, that the test script does not run

    def install_script(self) -> str:
        """Return the bash script that installs the project."""

    def test_script(self) -> str:
        """Return the bash script that runs the tests."""


def repaired(recipe: Recipe, log: Log, *rules: Callable[[Recipe, Log], Recipe]) -> Recipe | None:
    """Return the recipe with every fix that the log suggests, or None if there is none."""
    better = recipe
    for rule in (missing_packages, *rules, by_table):
        better = rule(better, log)
    return better if better != recipe else None


def extended(recipe: Recipe, **added: Iterable[str]) -> Recipe:
    """Return the recipe with values added to its fields, each once."""
    return replace(recipe, **{name: tuple(dict.fromkeys((*getattr(recipe, name), *values)))
                              for name, values in added.items()})


def missing_packages(recipe: Recipe, log: Log) -> Recipe:
    """Add the Debian packages that are missing according to the log, in any language."""
    return extended(recipe, system=[
        package for kind in ("headers", "libraries", "shared", "binaries")
        for name in log.matches(kind) for package in provider(kind, name).split()])


def fitting(recipe: Recipe, log: Log) -> list[dict]:
    """Return the rules of repairs.toml that apply to a recipe and a log."""
    kind, *_ = recipe.planner.split()   # `python by date` becomes python
    limits = {"planner": kind, "phase": log.phase, "not_run": log.not_run}
    return [rule for rule in table("repairs")["rule"]
            if all(rule.get(key, value) == value for key, value in limits.items())
            and log.shows(rule["signs"]) and log.shows(rule.get("also", [""]))]


def by_table(recipe: Recipe, log: Log) -> Recipe:
    """Apply the rules of repairs.toml that fit the recipe and the log."""
    for rule in fitting(recipe, log):
        instead = rule.get("instead", {})
        system = " ".join(instead.get(name, name) for name in recipe.system)
        fixed = {name: tuple(value) if isinstance(value, list) else value
                 for name, value in rule.get("set", {}).items()}
        recipe = extended(replace(recipe, system=(), **fixed), system=system.split())
        recipe = extended(recipe, **rule.get("add", {}))
    return recipe
