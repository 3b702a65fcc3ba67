"""Files in which Python projects describe themselves, read as data: TOML, INI, the literals of setup.py, PKG-INFO.

Nothing of them is run. What is not there or can't be read is empty.
"""
from __future__ import annotations

import ast
import configparser
import re
from email.parser import HeaderParser
from pathlib import Path

from codedata.env.tables import tomllib


def text_in(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def read_toml(path: Path) -> dict:
    try:
        return tomllib.loads(text_in(path))
    except tomllib.TOMLDecodeError:
        return {}


def parsed_ini(text: str) -> configparser.ConfigParser:
    ini = configparser.ConfigParser(interpolation=None, strict=False, allow_no_value=True)
    ini.optionxform = str
    try:
        ini.read_string(text)
    except configparser.Error:
        pass   # what was read before the fault counts
    return ini


def read_ini(path: Path) -> configparser.ConfigParser:
    return parsed_ini(text_in(path))


def value_of(ini: configparser.ConfigParser, section: str, key: str) -> str:
    return ini.get(section, key, fallback="") or ""


def section_of(ini: configparser.ConfigParser, name: str) -> dict[str, str]:
    return {key: value or "" for key, value in ini.items(name)} if ini.has_section(name) else {}


def lines_of(text: str) -> list[str]:
    return [line.strip() for line in (text or "").splitlines() if line.strip() and not line.strip().startswith("#")]


def strings_in(value) -> list[str]:
    values = [value] if isinstance(value, str) else value if isinstance(value, (list, tuple)) else []
    return [one for one in values if isinstance(one, str)]


def tree_of(path: Path) -> ast.Module:
    try:
        return ast.parse(text_in(path))
    except (SyntaxError, ValueError, RecursionError):
        return ast.Module(body=[], type_ignores=[])


def setup_arguments(path: Path) -> dict:
    """The arguments of setup(…) as far as they are literals or names of literals above; what is compiled counts as
    true whatever it is."""
    tree, known, found = tree_of(path), {}, {}

    def value(node):
        if isinstance(node, ast.Name):
            return known.get(node.id)
        if isinstance(node, (ast.List, ast.Tuple)):
            return [v for v in map(value, node.elts) if v is not None]
        if isinstance(node, ast.Dict):
            pairs = zip(node.keys, node.values, strict=True)
            return {value(k): value(v) for k, v in pairs if k is not None and value(v) is not None}
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            left, right = value(node.left), value(node.right)
            return left + right if type(left) is type(right) and left is not None else left or right
        return node.value if isinstance(node, ast.Constant) else None
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            known[node.targets[0].id] = value(node.value)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in ("setup", "dict"):
            for keyword in node.keywords:
                got = value(keyword.value)
                if keyword.arg and got is not None:
                    found.setdefault(keyword.arg, got)
                elif keyword.arg in ("ext_modules", "cffi_modules", "rust_extensions"):
                    found["ext_modules"] = True
    return found


def read_metadata(path: Path) -> dict:
    """Name, version and extras of a source distribution."""
    if not path.is_file():
        return {}
    message, extras = HeaderParser().parsestr(text_in(path)), {}
    for line in message.get_all("Requires-Dist", []):
        requirement, _, marker = line.partition(";")
        if found := re.search(r"extra\s*==\s*['\"]([^'\"]+)['\"]", marker):
            rest = re.sub(r"\s*(?:and\s+)?extra\s*==\s*['\"][^'\"]+['\"](?:\s+and)?\s*", "", marker).strip(" ()")
            extras.setdefault(found[1], []).append(requirement.strip() + (f"; {rest}" if rest else ""))
    return {"name": message.get("Name", ""), "version": message.get("Version", ""), "extras": extras}
