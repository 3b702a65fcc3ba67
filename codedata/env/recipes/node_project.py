"""Read the facts of a Node project: package.json, version files, lock file, workspaces."""
from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import yaml

from codedata.env.recipes.metadata import table_of
from codedata.env.recipes.package_index import Strings, table
from codedata.env.recipes.repository_files import RepositoryFiles

LATEST = 22                   # the Node major where no other is required
MAJORS = (18, 20, 22, 24)     # the Node majors on PyPI
RELEASE = re.compile(r".*/yarn-(\d[\w.-]*?)\.c?js")


@dataclass(frozen=True)
class NodeProject:
    """Hold the facts about a Node project from which recipes are made."""

    name: str = ""
    version: str = ""
    scripts: dict[str, str] = field(default_factory=dict)
    dependencies: Strings = ()   # names, including development dependencies
    engine: int = LATEST                 # the required Node major
    manager: str = ""                    # the entry of tools.toml for its package manager, if any
    manager_version: str = ""            # "" for npm as it comes with Node
    release: str = ""                    # the committed program of yarn
    built: str = ""                      # the script that builds the missing files of the package
    native: bool = False
    # scripts of the packages of its workspaces, by folder
    members: dict[str, dict[str, str]] = field(default_factory=dict)


def read_node(source: RepositoryFiles) -> NodeProject:
    """Return the facts from package.json; they are empty if the file is missing or unreadable."""
    return source.parsed("package.json", lambda text: _project(source, json.loads(text)),
                         NodeProject())


def _project(source: RepositoryFiles, package: dict) -> NodeProject:
    scripts, members = _scripts(package), _members(source, package)
    kinds = ("dependencies", "devDependencies", "optionalDependencies")
    manager, version, release = _manager(source, package)
    is_built = bool(members) or any(_is_missing(source, path) for path in _files(
        [package.get(key) for key in ("main", "module", "exports")]))
    return NodeProject(
        name=str(package.get("name") or ""), version=str(package.get("version") or ""),
        scripts=scripts,
        dependencies=tuple(sorted({name for kind in kinds for name in table_of(package, kind)})),
        engine=_engine(source, package),
        manager=manager, manager_version=version, release=release,
        built=next((label for label in ("build", "compile", "prepare")
                    if is_built and label in scripts), ""),
        native=source.has("binding.gyp"), members=members)


def _scripts(package: dict) -> dict[str, str]:
    """Return the scripts of a package.json."""
    return {name: str(text) for name, text in table_of(package, "scripts").items()}


def _files(tree) -> Iterator[str]:
    """Yield the files in `main`, `module` and `exports`, without those of types alone."""
    if isinstance(tree, dict):
        tree = [inner for key, inner in tree.items() if key != "types"]
    if isinstance(tree, list):
        for inner in tree:
            yield from _files(inner)
    elif tree:
        yield str(tree)


def _is_missing(source: RepositoryFiles, path: str) -> bool:
    """Return whether there is neither such a file nor a folder with files."""
    is_file = any(source.has(f"{path}{end}") for end in ("", ".js", ".json"))
    return "*" not in path and not is_file and not source.matching(f"{path}/*")


def _manager(source: RepositoryFiles, package: dict) -> Strings:
    """Return (entry of tools.toml, version, committed program) of the package manager: as
    package.json pins it, else by the lock file."""
    managers = table("tools")["node"]["managers"]
    locks = {name: lock for name, manager in managers.items()
             for lock in manager.get("locks", ()) if source.has(lock)}
    pinned = re.match(r"(npm|pnpm|yarn)@(\d[^+\s]*)", str(package.get("packageManager", "")))
    name, version = pinned.groups() if pinned else (next(iter(locks), ""), "")
    releases = source.matching(".yarn/releases/yarn-*js") if name == "yarn" else []
    if releases and (found := RELEASE.fullmatch(releases[-1])):
        version = found[1]
    version = version or str(table_of(package, "volta").get(name, ""))
    if name and not version:
        start = source.start(locks[name])
        version = next((version for pattern, version in managers[name]["versions"]
                        if re.search(pattern, start)), "")
    if re.match(r"1\b", version) and name == "yarn":
        name = "yarn@1"
    return name, version, "".join(releases[-1:])


def _engine(source: RepositoryFiles, package: dict) -> int:
    """Return the Node major to use: of a version file, of volta, else as `engines` requires."""
    pins = [*map(source.text, (".nvmrc", ".node-version")),
            str(table_of(package, "volta").get("node", ""))]
    pinned = next(filter(None, (re.match(r"\s*v?(\d{1,9})\b", pin) for pin in pins)), None)
    if pinned and int(pinned[1]) >= MAJORS[0]:
        major = int(pinned[1])
    else:
        major = _major(str(table_of(package, "engines").get("node", "")))
    return next((one for one in MAJORS if one >= major), MAJORS[-1])


def _major(engines: str) -> int:
    """Return the Node major to use: LATEST if `engines` allows it, else the newest one it names."""
    def majors(pattern: str) -> list[int]:
        return [int(n) for n in re.findall(pattern, engines)]

    lowest, below = majors(r">=?\s*v?(\d{1,9})"), majors(r"<\s*v?(\d{1,9})")
    exact = majors(r"(?:^|\|\||[\s^~=])\s*v?(\d{1,9})(?:\.|\s|$)")
    if exact and LATEST not in exact and ">" not in engines:
        return max(exact)
    if below and min(below) <= LATEST:
        return max(min(below) - 1, *lowest, 1)
    return LATEST if "||" in engines else max([LATEST, *lowest])


def _members(source: RepositoryFiles, package: dict) -> dict[str, dict[str, str]]:
    """Return the scripts of the packages of the workspaces, by folder."""
    listed = package.get("workspaces") or []
    patterns = listed.get("packages", []) if isinstance(listed, dict) else listed
    patterns = patterns or source.parsed(
        "pnpm-workspace.yaml", lambda text: yaml.safe_load(text).get("packages"), []) or []
    folders = dict.fromkeys(folder for pattern in patterns for folder in source.packages(pattern))
    return {folder: source.parsed(f"{folder}/package.json",
                                  lambda text: _scripts(json.loads(text)), {})
            for folder in folders if folder != "."}
