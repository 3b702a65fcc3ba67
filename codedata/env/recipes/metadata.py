"""Read the files in which Python projects declare metadata: TOML, INI, setup.py literals and
PKG-INFO.

The files are parsed as data and never executed. Whatever is missing or unreadable is returned as
empty.
"""
from __future__ import annotations

import ast
import configparser
import re
from dataclasses import dataclass
from email.parser import HeaderParser

from codedata.env.recipes.package_index import tomllib
from codedata.env.recipes.repository_files import MAX_BYTES, RepositoryFiles

Ini = configparser.ConfigParser


@dataclass(frozen=True)
class Manifests:
    """Hold the parsed files in which a Python project declares metadata."""

    source: RepositoryFiles
    pyproject: dict
    setup_cfg: Ini
    setup_py: dict      # arguments of setup(…)
    tox_ini: Ini
    info: dict          # name, version and extras of PKG-INFO

    def table(self, *keys: str) -> dict:
        """Return a table of pyproject.toml, or an empty dict if there is none."""
        return table_of(self.pyproject, *keys)


def read_manifests(source: RepositoryFiles) -> Manifests:
    """Return the parsed files; each is empty if it is missing or unreadable."""
    return Manifests(source, read_toml(source, "pyproject.toml"), read_ini(source, "setup.cfg"),
                     source.parsed("setup.py", _arguments, {}), read_ini(source, "tox.ini"),
                     source.parsed("PKG-INFO", _metadata, {}))


def read_toml(source: RepositoryFiles, name: str) -> dict:
    """Return a TOML file as a dict; it is empty if the file is missing or unreadable."""
    return source.parsed(name, tomllib.loads, {})


def table_of(tree, *keys: str) -> dict:
    """Return the table under the given path of keys, or an empty dict if there is none."""
    for key in keys:
        tree = tree.get(key) if isinstance(tree, dict) else None
    return tree if isinstance(tree, dict) else {}


def empty_ini() -> Ini:
    """Return an empty INI parser that keeps the case of keys and does not interpolate values."""
    ini = Ini(interpolation=None, strict=False, allow_no_value=True)
    ini.optionxform = str
    return ini


def read_ini(source: RepositoryFiles, name: str) -> Ini:
    """Return a parsed INI file; after a syntax error it holds what was read before the error."""
    ini = empty_ini()
    source.parsed(name, ini.read_string, None)
    return ini


def value_of(ini: Ini, section: str, key: str) -> str:
    """Return an INI value as text, or "" if it is missing."""
    value = ini.get(section, key, fallback="")
    return value if isinstance(value, str) else ""   # the parser leaves a list if reading broke off


def section_of(ini: Ini, name: str) -> dict[str, str]:
    """Return an INI section as a dict from keys to texts; it is empty if the section is missing."""
    keys = ini.options(name) if ini.has_section(name) else []
    return {key: value_of(ini, name, key) for key in keys}


def lines_of(text: str) -> list[str]:
    """Return the stripped lines of a text without blank lines and comments."""
    return [line.strip() for line in (text or "").splitlines() if line.strip()
            and not line.strip().startswith("#")]


def strings_in(value) -> list[str]:
    """Return the strings in a list or tuple, a single string as a list, or [] for anything else."""
    if isinstance(value, str):
        return [value]
    values = value if isinstance(value, (list, tuple)) else []
    return [one for one in values if isinstance(one, str)]


def _arguments(text: str) -> dict:
    """Return the arguments of setup(…) that are literals or names of literals. `ext_modules` is
    True if extension modules are declared in a way that cannot be read."""
    known, found = {}, {}

    def value(node):
        if isinstance(node, ast.Name):
            return known.get(node.id)
        if isinstance(node, (ast.List, ast.Tuple)):
            return [v for v in map(value, node.elts) if v is not None]
        if isinstance(node, ast.Dict):
            pairs = zip(node.keys, map(value, node.values), strict=True)
            return {value(k): held for k, held in pairs if k is not None and held is not None}
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            left, right = value(node.left), value(node.right)
            return left + right if type(left) is type(right) and left is not None else left or right
        return node.value if isinstance(node, ast.Constant) else None
    for node in ast.walk(ast.parse(text)):
        targets = node.targets if isinstance(node, ast.Assign) else []
        is_setup = isinstance(node, ast.Call) and (
            ast.unparse(node.func).split(".")[-1] in ("setup", "dict"))
        if len(targets) == 1 and isinstance(targets[0], ast.Name):
            known[targets[0].id] = value(node.value)
        elif is_setup:
            for keyword in node.keywords:
                got = value(keyword.value)
                if keyword.arg and got is not None:
                    found.setdefault(keyword.arg, got)
                elif keyword.arg in ("ext_modules", "cffi_modules", "rust_extensions"):
                    found["ext_modules"] = True
    if len(repr(found)) > MAX_BYTES:   # nested references to one list become huge when expanded
        raise ValueError("its literals come to more than a file may hold")
    return found


def _metadata(text: str) -> dict:
    """Return the name, the version and the extras of PKG-INFO."""
    message, extras = HeaderParser().parsestr(text), {}
    for line in message.get_all("Requires-Dist", []):
        requirement, _, marker = line.partition(";")
        if found := re.search(r"extra\s*==\s*['\"]([^'\"]+)['\"]", marker):
            rest = re.sub(r"\s*(?:and\s+)?extra\s*==\s*['\"][^'\"]+['\"](?:\s+and)?\s*", "",
                          marker).strip(" ()")
            extras.setdefault(found[1], []).append(requirement.strip()
                                                   + (f"; {rest}" if rest else ""))
    return {"name": message.get("Name", ""), "version": message.get("Version", ""),
            "extras": extras}
