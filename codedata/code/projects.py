"""Read a project's summary, dependencies and licence from its files."""
from __future__ import annotations

import re
from configparser import ConfigParser
from configparser import Error as ConfigError
from contextlib import suppress
from email.parser import HeaderParser
from pathlib import Path

from codedata.bounded import read_bounded, resolved_in
from codedata.code.git import run_git
from codedata.disk.locks import temporary_folder
from codedata.sandbox.archives import UnsafeArchive
from codedata.texts import storable, toml_of, toml_tables

MAX_FILES = 20             # to read from a clone
MAX_TEXT = 200_000         # bytes of a project file, a licence or a README
REQUIREMENT = re.compile(r"\s*([A-Za-z0-9][\w.-]*)")
PACKAGE = re.compile(r'^(?: {1,4}|\t)"license": *"(.+)"', re.MULTILINE)   # licence in package.json
WORD = re.compile(r"\w+")
FILES = ("pyproject.toml", "setup.cfg", "package.json")   # files that may declare a licence
LICENCES = ("LICENSE", "LICENCE", "COPYING")   # prefixes of licence files


def licence_in(repository: Path) -> str | None:
    """Return the licence at HEAD of a repository; see licence_of()."""
    with temporary_folder() as folder, suppress(UnsafeArchive):
        names = run_git(repository, "ls-tree", "-z", "--name-only", "HEAD").split("\0")
        for name in [name for name in names if "/" not in name and (
                name in FILES or name.upper().startswith(LICENCES))][:MAX_FILES]:
            with suppress(OSError, UnsafeArchive):
                (folder / name).write_text(run_git(repository, "show", f"HEAD:{name}"))
        return licence_of(folder, project_of(folder))


def text_in(folder: Path, path: str) -> str:
    """Return the text of a file in a folder; "" if it is missing, outside, or too large."""
    with suppress(OSError, RuntimeError):
        return read_bounded(resolved_in(folder, folder / path), MAX_TEXT).decode(errors="replace")
    return ""


def project_of(folder: Path) -> dict:
    """Return {summary, dependencies, licence, classifiers} as declared by the project files in a
    folder. A file that cannot be read counts as missing."""
    toml, cfg = _pyproject(folder), _setup_cfg(folder)
    info = HeaderParser().parsestr(text_in(folder, "PKG-INFO"), headersonly=True)
    licence = (toml.get("license") or info.get("License-Expression") or cfg.get("license")
               or "".join(PACKAGE.findall(text_in(folder, "package.json"))))
    if isinstance(licence, dict):
        licence = licence.get("text") or ""
    required = _texts(toml.get("dependencies")) or [
        *cfg.get("install_requires", "").splitlines(),
        *(line.partition(";")[0] for line in info.get_all("Requires-Dist", [])
          if "extra ==" not in line)]
    names = {match[1].lower() for line in required if (match := REQUIREMENT.match(line))}
    summary = toml.get("description") or info.get("Summary") or cfg.get("description") or ""
    return {
        "summary": storable(str(summary)), "dependencies": sorted(names), "licence": str(licence),
        "classifiers": [*_texts(toml.get("classifiers")), *info.get_all("Classifier", []),
                        *cfg.get("classifiers", "").splitlines()]}


def _pyproject(folder: Path) -> dict:
    """Return [project] of pyproject.toml."""
    with suppress(ValueError, RecursionError):
        project = toml_tables(text_in(folder, "pyproject.toml")).get("project")
        return project if isinstance(project, dict) else {}
    return {}


def _setup_cfg(folder: Path) -> dict[str, str]:
    """Return the keys of [metadata] and [options] of setup.cfg."""
    config = ConfigParser(interpolation=None)
    config.read_dict({"metadata": {}, "options": {}})
    with suppress(ConfigError):
        config.read_string(text_in(folder, "setup.cfg"))
        return {**config["metadata"], **config["options"]}
    return {}


def _texts(value) -> list[str]:
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []


def licence_of(folder: Path, project: dict) -> str | None:
    """Return the SPDX id of a project's licence, from its declaration, its classifiers or its
    licence file; None if none of them names a known licence."""
    licences = toml_of(__package__, "licences.toml")
    words = project["licence"].replace("(", " ").replace(")", " ").split()
    if words and {*words} <= {*licences, "AND", "OR"}:
        return project["licence"]
    for line in project["classifiers"]:
        for id, table in licences.items():
            if line.strip().endswith(f":: {table.get('classifier', id)}"):
                return id
    names = sorted(path.name for path in folder.iterdir()
                   if path.name.upper().startswith(LICENCES))
    text = " ".join(WORD.findall(" ".join(text_in(folder, name) for name in names))).lower()
    return next((id for id, table in licences.items()
                 if " ".join(WORD.findall(table["text"])).lower() in text), None)
