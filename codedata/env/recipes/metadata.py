"""Read the files with the metadata of Python projects: TOML, INI, setup.py literals and PKG-INFO.

The files are parsed as data and never executed. Missing or unreadable files are returned as empty.
"""
from __future__ import annotations

import ast
import configparser
import re
from dataclasses import dataclass
from email.parser import HeaderParser

from codedata.env.recipes.repository_files import MAX_BYTES, RepositoryFiles
from codedata.texts import tomllib

INI_FILES = ("setup.cfg", "tox.ini", "pytest.ini", ".pytest.ini")


@dataclass(frozen=True)
class Manifests:
    """Hold the parsed metadata files of a Python project: the arguments of setup(…) in setup.py;
    name, version and extras in PKG-INFO; the sections of INI files."""

    source: RepositoryFiles
    files: dict[str, dict]

    def table(self, path: str) -> dict:
        """Return the table under a path of keys, such as pyproject.toml/tool/poetry, or an empty
        dict if there is none."""
        return table_of(self.files, *path.split("/"))

    def value(self, path: str):
        """Return the value under a path of keys, or None if there is none."""
        table, _, key = path.rpartition("/")
        return self.table(table).get(key)


def read_manifests(source: RepositoryFiles) -> Manifests:
    """Return the parsed files. A missing or unreadable file is empty; an INI file with a syntax
    error has the sections before the error."""
    parsers = {"pyproject.toml": tomllib.loads, "setup.py": _arguments, "PKG-INFO": _metadata,
               "tox.toml": tomllib.loads}
    files = {name: source.parsed(name, parse, {}) for name, parse in parsers.items()}
    for name in INI_FILES:
        ini = configparser.RawConfigParser(strict=False, allow_no_value=True)
        ini.optionxform = str   # keys keep their case
        source.parsed(name, ini.read_string, None)
        # a parser that stopped early leaves values that are not texts: make them empty
        files[name] = {section: {key: value if isinstance(value, str) else ""
                                 for key, value in ini.items(section)}
                       for section in ini.sections()}
    return Manifests(source, files)


def table_of(tree, *keys: str) -> dict:
    """Return the table under the given path of keys, or an empty dict if there is none."""
    for key in keys:
        tree = tree.get(key) if isinstance(tree, dict) else None
    return tree if isinstance(tree, dict) else {}


def strings_in(value) -> list[str]:
    """Return the strings in a list or tuple; for a text, its stripped lines except blank lines and
    comments; [] for anything else."""
    if isinstance(value, str):
        lines = map(str.strip, value.splitlines())
        return [line for line in lines if line and line[0] != "#"]
    values = value if isinstance(value, (list, tuple)) else []
    return [one for one in values if isinstance(one, str)]


def _arguments(text: str) -> dict:
    """Return the arguments of setup(…) and dict(…): only literals, and variables set to literals.
    `ext_modules` is True if extension modules are declared by other expressions."""
    known, found, given = {}, {}, []

    def value(node):
        match node:
            case ast.Name(id=name):
                return known.get(name)
            case ast.List(elts=parts) | ast.Tuple(elts=parts):
                return [v for v in map(value, parts) if v is not None]
            case ast.Dict(keys=keys, values=values):
                pairs = zip(keys, map(value, values), strict=True)
                return {value(k): v for k, v in pairs if k is not None and v is not None}
            case ast.BinOp(op=ast.Add()):
                left, right = value(node.left), value(node.right)
                joins = type(left) is type(right) and left is not None
                return left + right if joins else left or right
            case ast.Constant():
                return node.value

    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Assign(targets=[ast.Name(id=name)]):
                known[name] = value(node.value)
            case ast.Call() if ast.unparse(node.func).split(".")[-1] in ("setup", "dict"):
                given += [(keyword.arg, value(keyword.value)) for keyword in node.keywords]
    for name, got in given:
        if name and got is not None:
            found.setdefault(name, got)
        elif name in ("ext_modules", "cffi_modules", "rust_extensions"):
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
