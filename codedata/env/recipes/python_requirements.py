"""Collect the requirements of a Python project's tests from groups, extras and tool settings."""
from __future__ import annotations

import re
from pathlib import PurePosixPath

from codedata.env.recipes.metadata import Manifests, strings_in, table_of
from codedata.env.recipes.package_index import Strings, normalized, table, tomllib, use_of
from codedata.env.recipes.repository_files import RepositoryFiles
from codedata.env.recipes.requirements import (
    Collector,
    expanded,
    from_poetry,
    listed,
    merged,
    name_of,
    usable,
)

TEST_FOLDERS = ("tests", "test", "Tests", "testing", "testsuite", "unittests", "t")
TOX_ENVS = ("pyproject.toml/tool/tox/env_run_base", "tox.toml/env_run_base")
# Requirements, extras and groups, as hatch and tox call them
SETTINGS = (("dependencies", "features", "dependency-groups"), ("extra-dependencies",),
            ("deps", "extras", "dependency_groups"))
CONDITION = re.compile(r"[\w!{}, .-]+:\s")   # before a line of tox
INCLUDED = "include-group"   # a key of PEP 735, here with its value like an extra's name
Lists = dict[str, list[str]]


def requirements_by_use(files: Manifests, name: str) -> tuple[Lists, Lists]:
    """Return ({"tests", "developers", "features"}: requirements by purpose, in the order of the
    places where they were found; all extras by name)."""
    extras, groups, wanted = _extras(files), _groups(files), _of_tools(files)
    found: Lists = {"tests": [], "developers": [], "features": [], "others": []}
    for label, requirements in (*groups.items(), *extras.items()):
        is_wanted = label in wanted.extras or label in wanted.groups
        other = "features" if label in extras else "others"
        found["tests" if is_wanted else use_of(label) or other] += requirements
    found["tests"] += wanted.requirements
    found["tests"] += listed(files, *table("packages")["declared"]["tests"])
    for path in _requirement_files(files.source):
        listing = Collector(files.source)
        listing.add_file(str(path))
        folder = path.parent.name
        for_tests = folder in TEST_FOLDERS or "tests" in (use_of(path.stem), use_of(folder))
        found["tests" if for_tests else "developers"] += [
            *listing.requirements, *(r for extra in listing.extras for r in extras.get(extra, []))]
    files.source.announce("pyproject.toml")   # endless extras are blamed on pyproject.toml
    return tuple({key: expanded(held, extras, name) for key, held in lists.items()}
                 for lists in (found, extras))


def _first_of_each(*tables: dict) -> Lists:
    """Return the strings in the lists of several tables, of each name the first that has any."""
    lists: Lists = {}
    for key, value in (item for held in tables for item in held.items()):
        if strings := strings_in(value):
            lists.setdefault(str(key), strings)
    return lists


def _extras(files: Manifests) -> Lists:
    """Return the requirements of every extra that any of the project's files declares."""
    declared = files.table("pyproject.toml/tool/poetry/dependencies")
    by_name = {normalized(name_of(r)): r for r in from_poetry(declared, with_optional=True)}
    return _first_of_each(
        files.table("pyproject.toml/project/optional-dependencies"),
        {extra: [by_name.get(normalized(name), name) for name in strings_in(names)]
         for extra, names in files.table("pyproject.toml/tool/poetry/extras").items()},
        *map(files.table, table("packages")["declared"]["extras"]))


def _groups(files: Manifests) -> Lists:
    """Return dependency groups from PEP 735, including nested ones, and from poetry, pdm and uv."""
    declared = files.table("pyproject.toml/dependency-groups").items()
    groups = {name: [*strings_in(entries), *(f"{INCLUDED}[{entry.get(INCLUDED)}]"
                                             for entry in entries if isinstance(entry, dict))]
              for name, entries in declared if isinstance(entries, list)}
    return _first_of_each(
        {name: expanded(entries, groups, INCLUDED) for name, entries in groups.items()},
        {name: from_poetry(table_of(group, "dependencies"))
         for name, group in files.table("pyproject.toml/tool/poetry/group").items()},
        {"dev": listed(files, "pyproject.toml/tool/poetry/dev-dependencies")},
        files.table("pyproject.toml/tool/pdm/dev-dependencies"),
        {"dev": files.value("pyproject.toml/tool/uv/dev-dependencies")})


def _of_tools(files: Manifests) -> Collector:
    """Return the extras, groups and requirements that hatch and tox install for the tests."""
    wanted = Collector(files.source)
    envs = [env for name, env in files.table("pyproject.toml/tool/hatch/envs").items()
            if isinstance(env, dict) and (name == "default" or use_of(name) == "tests")]
    for env in (*envs, *map(files.table, TOX_ENVS)):
        for keys in SETTINGS:
            wanted.add(*map(env.get, keys))
    for section, values in files.table("tox.ini").items():
        if re.match(r"testenv(?:\Z|:(?:py|test|unit))", section):
            wanted.add((), *([name.strip() for line in _tox_lines(values.get(key))
                              for name in line.split(",")]
                             for key in ("extras", "dependency_groups")))
            for line in _tox_lines(values.get("deps")):
                wanted.add_line(line)
    return wanted


def _tox_lines(text: str | None) -> list[str]:
    """Return the lines of a tox value that have no condition, such as `py311: x`: what those bring
    is found where tests miss it."""
    return [line.replace("{toxinidir}/", "").replace("{tox_root}/", "")
            for line in strings_in(text) if "{[" not in line and not CONDITION.match(line)]


def _requirement_files(source: RepositoryFiles) -> list[PurePosixPath]:
    """Return the requirements files for tests or developers in the usual places, tests first."""
    found = []
    for folder in ("", "requirements/", "reqs/", "ci/", *(f"{name}/" for name in TEST_FOLDERS)):
        for path in map(PurePosixPath, source.matching(f"{folder}*")):
            whole = f"{path.parent.name}-{path.stem}"
            label = path.stem if folder in ("", "ci/") else whole
            is_list = path.suffix in (".txt", ".in", ".pip") and re.search("req|depend", whole)
            is_wanted = use_of(label) in ("tests", "developers")
            if is_list and is_wanted and "constraint" not in path.stem:
                found.append(path)
    return sorted(found, key=lambda path: use_of(f"{path.parent.name}-{path.stem}") != "tests")


def runtime_requirements(files: Manifests) -> tuple[Strings, Strings]:
    """Return what the project itself needs: (as it declares, as requirements.txt lists it)."""
    declared = tuple(filter(usable, listed(files, *table("packages")["declared"]["requires"])))
    listing = Collector(files.source)
    for name in ("requirements.txt", "requirements.in"):
        if not listing.requirements:
            listing.add_file(name)
    return declared, merged(listing.requirements)


def local_packages(files: Manifests, is_installable: bool) -> Strings:
    """Return the other packages of the repository that are installed with the project, such as
    ./libs/core: those that requirements files, poetry or uv name by a path, and of uv's workspace
    those that the project needs, or all where its root is no package."""
    found, source = Collector(files.source), files.source
    for path in ("requirements.txt", *map(str, _requirement_files(source))):
        found.add_file(path)
    sources = files.table("pyproject.toml/tool/uv/sources")
    groups = files.table("pyproject.toml/tool/poetry/group").values()
    for held in (sources, files.table("pyproject.toml/tool/poetry/dependencies"),
                 *(table_of(group, "dependencies") for group in groups)):
        for one in held.values():
            found.add_folder(str(table_of({"": one}, "").get("path", ".")))
    shared = {normalized(name) for name in sources if table_of(sources, name).get("workspace")}
    members = files.table("pyproject.toml/tool/uv/workspace")
    for folder in (folder for pattern in strings_in(members.get("members"))
                   for folder in source.packages(pattern, "pyproject.toml")):
        about = source.parsed(f"{folder}/pyproject.toml", tomllib.loads, {})
        if not is_installable or normalized(str(table_of(about, "project").get("name"))) in shared:
            found.add_folder(folder)
    return tuple(found.folders)
