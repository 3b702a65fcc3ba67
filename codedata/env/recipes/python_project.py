"""Read the facts about a Python project from its files, without running any of its code.

The files are pyproject.toml (PEP 621, PEP 735, poetry, pdm, uv, hatch, tox in it), setup.cfg,
setup.py (its literals), PKG-INFO, requirements files, Pipfile, tox.ini, noxfile.py, pytest's
configuration, and the CI workflows.
"""
from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from codedata.env.recipes.ci import Workflows, read_workflows
from codedata.env.recipes.metadata import (
    Manifests,
    lines_of,
    read_manifests,
    strings_in,
)
from codedata.env.recipes.package_index import Strings, normalized, table
from codedata.env.recipes.python_requirements import (
    TEST_FOLDERS,
    requirements_by_use,
    runtime_requirements,
)
from codedata.env.recipes.repository_files import RepositoryFiles
from codedata.env.recipes.requirements import merged, name_of, usable

TEST_FILE = re.compile(r"(?:test_.*|.*_test)\.py\Z")
MAX_FILES = 20_000   # Python files that are listed in a repository, at most
TOX_VARIABLE = re.compile(r"(?!COVERAGE|PYTEST_ADDOPTS)[^\W\d]\w*\s*=[^{]*\Z")
ROOTS = ("src", "lib")   # folders that hold packages, unless they are packages themselves
Paths = list[Strings]    # of Python files: their parts


@dataclass(frozen=True)
class PythonProject:
    """Hold the facts about a Python project from which recipes are made."""

    name: str = ""                       # the distribution; "" if the project cannot be installed
    version: str = ""                    # only if it is written down as text
    build_requires: Strings = ()
    requires: Strings = ()       # of the project itself, for when it is not installed
    tests: Strings = ()          # requirements from groups and files for tests
    developers: Strings = ()     # requirements from groups and files for developers
    features: Strings = ()       # requirements from the other extras
    # normalized name → its requirements
    extras: dict[str, Strings] = field(default_factory=dict)
    modules: Strings = ()        # its top-level modules, including tests
    packages: Strings = ()       # the modules that are installed
    native: bool = False                 # the build compiles code
    version_from_git: bool = False
    addopts: Strings = ()
    settings: Strings = ()       # option names in pytest's configuration
    test_paths: Strings = ()     # for pytest; () if its configuration names them
    n_test_files: int = 0
    runner: str = ""                     # the command of the project's own test script
    unittest_in: str = ""                # the folder in which unittest discovers tests
    env: dict[str, str] = field(default_factory=dict)   # set by tox and pytest
    workflows: Workflows = field(default_factory=Workflows)


def read_python(source: RepositoryFiles) -> PythonProject:
    """Return the facts about the project in a folder; unreadable files count as missing."""
    manifests = read_manifests(source)
    skipped = tuple(table("skip")["python"]["not_looked_into"])
    files = [path.parts for path in source.walk(".py", skipped, MAX_FILES)]
    name = _declared(manifests, "name")
    required, extras = requirements_by_use(manifests, name)
    build = manifests.table("pyproject.toml/build-system").get(
        "requires", manifests.value("setup.py/setup_requires"))
    build_requires = tuple(filter(usable, strings_in(build)))
    packages, pytest = _packages(source, files), _pytest_settings(manifests)
    return PythonProject(
        name=name if _is_installable(manifests) else "", build_requires=build_requires,
        version=_declared(manifests, "version"),
        requires=runtime_requirements(manifests),
        **{use: merged(required[use], without=[name])
           for use in ("tests", "developers", "features")},
        extras={normalized(extra): merged(held, without=[name]) for extra, held in extras.items()},
        modules=tuple(sorted({*packages, *_top_modules(files)})), packages=packages,
        native=_is_native(manifests, build_requires),
        version_from_git=_version_is_from_git(manifests),
        addopts=tuple(_words(pytest.get("addopts"))), settings=tuple(pytest),
        test_paths=() if _words(pytest.get("testpaths")) else _test_paths(files),
        n_test_files=len(_tests(files)), runner=_own_runner(source),
        unittest_in=_unittest_folder(files),
        env=_pytest_env(pytest.get("env")) | _tox_env(manifests), workflows=read_workflows(source))


def _declared(files: Manifests, kind: str) -> str:
    """Return the first non-empty value among the places in packages.toml that declare a name or a
    version, or "" if there is none."""
    places = table("packages")["declared"][kind]
    return str(next(filter(None, map(files.value, places)), ""))


def _is_installable(files: Manifests) -> bool:
    """Return whether the files describe a package that pip could install."""
    tables = table("packages")["declared"]["installable"]
    return bool(any(map(files.table, tables)) or files.value("setup.cfg/metadata/name")
                or files.source.has("setup.py"))


def _version_is_from_git(files: Manifests) -> bool:
    """Return whether the build derives the version from git tags."""
    build = files.table("pyproject.toml/build-system")
    ways = str([build.get("requires"), build.get("build-backend"), files.files["setup.py"]])
    return (any(sign in ways for sign in table("packages")["version_from_git"])
            or "setuptools_scm" in files.table("pyproject.toml/tool")
            or files.value("pyproject.toml/tool/pdm/version/source") == "scm")


# tests -------------------------------------------------------------------------------------------

def _pytest_settings(files: Manifests) -> dict:
    """Return the settings from the file that pytest would use."""
    pytest = files.table("pyproject.toml/tool/pytest")
    older = files.table("pyproject.toml/tool/pytest/ini_options")
    places = (files.table("pytest.ini/pytest"), files.table(".pytest.ini/pytest"),
              older or {key: value for key, value in pytest.items() if key != "ini_options"},
              files.table("tox.ini/pytest"), files.table("setup.cfg/tool:pytest"))
    return next(filter(None, places), {})


def _words(value) -> list[str]:
    """Return the words of a setting that is a text or a list."""
    return value.split() if isinstance(value, str) else strings_in(value)


def _variables(lines: Iterable[str]) -> dict[str, str]:
    """Return the variables that lines `name = value` set."""
    pairs = (line.partition("=") for line in lines)
    return {key.strip(): value.strip() for key, _, value in pairs}


def _pytest_env(value) -> dict[str, str]:
    """Return the variables that pytest-env would set."""
    lines = lines_of(value) if isinstance(value, str) else strings_in(value)
    return _variables(re.sub(r"^(?:[DR]:)+", "", line) for line in lines)


def _tox_env(files: Manifests) -> dict[str, str]:
    """Return the variables of tox's setenv that do not depend on tox substitutions."""
    lines = lines_of(files.value("tox.ini/testenv/setenv"))
    return _variables(filter(TOX_VARIABLE.match, lines))


def _tests(files: Paths) -> Paths:
    """Return the test files."""
    return [path for path in files if TEST_FILE.match(path[-1])]


def _test_paths(files: Paths) -> Strings:
    """Return the paths for pytest's command line where its configuration names none: the test
    folders at the top and in packages; if no test folder is at the top, the folders that contain
    tests, or none if test files lie at the top."""
    tests = _tests(files)
    not_modules = table("skip")["python"]["not_modules"]
    if at_top := {path[0] for path in tests if path[0] in TEST_FOLDERS and len(path) > 1}:
        inside = {"/".join(path[:i + 1]) for path in tests
                  if path[0] not in (*TEST_FOLDERS, *not_modules)
                  for i, part in enumerate(path[1:-1], 1)
                  if part in TEST_FOLDERS and part != "testing"}
        outermost = {folder for folder in inside
                     if not any(folder.startswith(f"{other}/") for other in inside)}
        return tuple(sorted(at_top | outermost))
    if any(len(path) == 1 for path in tests):
        return ()
    return tuple(sorted({"/".join(path[:2 if path[0] in ROOTS else 1]) for path in tests
                         if path[0] not in not_modules}))


def _own_runner(source: RepositoryFiles) -> str:
    """Return the command of the project's own test script, or "" if it has none."""
    runners = table("packages")["own_runners"]
    return next((runners[path] for path in runners if source.has(path)), "")


def _unittest_folder(files: Paths) -> str:
    """Return the first test folder at the top level, or "." if there is none."""
    tops = {path[0] for path in files if len(path) > 1}
    return next(filter(tops.__contains__, TEST_FOLDERS), ".")


# code --------------------------------------------------------------------------------------------

def _packages(source: RepositoryFiles, files: Paths) -> Strings:
    """Return the top-level modules that an installation provides, without tests and scripts."""
    skip = table("skip")["python"]
    roots = [root for root in {path[0] for path in files}.intersection(ROOTS)
             if not source.has(f"{root}/__init__.py")]
    inside = [path[1:] for path in files if path[0] in roots] if roots else files
    # without roots, folders that have no __init__.py hold scripts
    packages = {path[0] for path in inside
                if len(path) > 1 and (roots or path[1:] == ("__init__.py",))}
    modules = {path[0].removesuffix(".py") for path in inside if len(path) == 1}
    names = (packages - {*skip["not_modules"], *TEST_FOLDERS, *ROOTS}
             | modules - {*skip["not_installed"]})
    return tuple(sorted(filter(str.isidentifier, names)))


def _top_modules(files: Paths) -> set[str]:
    """Return every name that an import could refer to: folders and files at the top level, in src
    and lib, and beside the tests."""
    names = {name.removesuffix(".py") for path in files
             for name in path[:2 if path[0] in (*ROOTS, *TEST_FOLDERS) else 1]}
    return set(filter(str.isidentifier, names))


def _is_native(files: Manifests, build_requires: Strings) -> bool:
    """Return whether building the project compiles code."""
    setuptools = files.table("pyproject.toml/tool/setuptools")
    declared = files.value("setup.py/ext_modules") or "ext-modules" in setuptools
    written = files.source.has("meson.build") or "Extension(" in files.source.text("setup.py")
    compilers = {*table("packages")["compiled_by"]}
    return bool(declared or written or compilers & {name_of(r) for r in build_requires})
