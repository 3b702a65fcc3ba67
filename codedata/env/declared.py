"""Files in which Python projects describe themselves, read as data: TOML, INI, the literals of setup.py, PKG-INFO.

Nothing of them is run. What is not there or can't be read is empty.
"""
from __future__ import annotations

import ast
import configparser
import re
from email.parser import HeaderParser

from codedata.env.source import MAX_BYTES, Source
from codedata.env.tables import tomllib


def read_toml(source: Source, name: str) -> dict:
    return source.parsed(name, tomllib.loads, {})


def table_of(tree, *keys: str) -> dict:
    """Return the table below some keys; an empty one where there is none."""
    for key in keys:
        tree = tree.get(key) if isinstance(tree, dict) else None
    return tree if isinstance(tree, dict) else {}


def empty_ini() -> configparser.ConfigParser:
    ini = configparser.ConfigParser(interpolation=None, strict=False, allow_no_value=True)
    ini.optionxform = str
    return ini


def read_ini(source: Source, name: str) -> configparser.ConfigParser:
    """Return what stands in an INI file; what was read before a fault counts."""
    ini = empty_ini()
    source.parsed(name, ini.read_string, None)
    return ini


def value_of(ini: configparser.ConfigParser, section: str, key: str) -> str:
    value = ini.get(section, key, fallback="")
    return value if isinstance(value, str) else ""   # a list where reading broke off


def section_of(ini: configparser.ConfigParser, name: str) -> dict[str, str]:
    keys = ini.options(name) if ini.has_section(name) else []
    return {key: value_of(ini, name, key) for key in keys}


def lines_of(text: str) -> list[str]:
    return [line.strip() for line in (text or "").splitlines() if line.strip() and not line.strip().startswith("#")]


def strings_in(value) -> list[str]:
    values = [value] if isinstance(value, str) else value if isinstance(value, (list, tuple)) else []
    return [one for one in values if isinstance(one, str)]


def setup_arguments(source: Source) -> dict:
    """Return the arguments of setup(…), as far as they are literals or names of literals above;
    what is compiled counts as true whatever it is."""
    return source.parsed("setup.py", _arguments, {})


def _arguments(text: str) -> dict:
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
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            known[node.targets[0].id] = value(node.value)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in ("setup", "dict"):
            for keyword in node.keywords:
                got = value(keyword.value)
                if keyword.arg and got is not None:
                    found.setdefault(keyword.arg, got)
                elif keyword.arg in ("ext_modules", "cffi_modules", "rust_extensions"):
                    found["ext_modules"] = True
    if len(repr(found)) > MAX_BYTES:   # lists of one list are small here, and endless where they are read
        raise ValueError("its literals come to more than a file may hold")
    return found


def read_metadata(source: Source) -> dict:
    """Return the name, version and extras of a source distribution."""
    return source.parsed("PKG-INFO", _metadata, {})


def _metadata(text: str) -> dict:
    message, extras = HeaderParser().parsestr(text), {}
    for line in message.get_all("Requires-Dist", []):
        requirement, _, marker = line.partition(";")
        if found := re.search(r"extra\s*==\s*['\"]([^'\"]+)['\"]", marker):
            rest = re.sub(r"\s*(?:and\s+)?extra\s*==\s*['\"][^'\"]+['\"](?:\s+and)?\s*", "", marker).strip(" ()")
            extras.setdefault(found[1], []).append(requirement.strip() + (f"; {rest}" if rest else ""))
    return {"name": message.get("Name", ""), "version": message.get("Version", ""), "extras": extras}
