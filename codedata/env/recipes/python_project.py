"""Read the facts about a Python project from its files, without running any of its code.

The files are pyproject.toml (PEP 621, PEP 735, poetry, pdm, uv, hatch, tox in it), setup.cfg,
setup.py (its literals), PKG-INFO, requirements files, tox.ini, pytest's configuration, and the CI
workflows.
"""
from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import islice

from packaging.utils import canonicalize_name

from codedata.env.recipes.ci import read_workflows
from codedata.env.recipes.metadata import Manifests, read_manifests, strings_in
from codedata.env.recipes.package_index import Strings, table
from codedata.env.recipes.repository_files import RepositoryFiles
from codedata.env.recipes.requirements import (
    TEST_FOLDERS,
    local_packages,
    merged,
    name_of,
    requirements_by_use,
    runtime_requirements,
    usable,
)

TEST_FILE = re.compile(r"(?:test_.*|.*_test)\.py\Z")
PYTEST_VARIABLE = re.compile(r"(?s)(?:[DR]:)*([^=]*)=?(.*)")   # pytest-env's D:NAME=value
TESTS = "tests.py"
# NAME=value in tox's setenv; does not match a value with a substitution
TOX_VARIABLE = re.compile(r"(?!COVERAGE|PYTEST_ADDOPTS)([^\W\d]\w*\s*)=([^{]*)")
DOCTESTS = "--doctest-modules"
ROOTS = ("src", "lib")   # folders that hold packages, unless they are packages themselves
Paths = list[Strings]    # the parts of each Python file's path


@dataclass(frozen=True)
class PythonProject:
    """Hold the facts about a Python project from which recipes are made."""

    name: str = ""                       # the distribution; "" if the project cannot be installed
    version: str = ""                    # the version, if given as text
    python: str = ""                     # the allowed versions of Python (PEP 440)
    ci_versions: Strings = ()            # versions of Python and Node in CI, such as 3.11 and 20
    lock: str = ""                       # its lock file
    build_requires: Strings = ()
    requires: Strings = ()       # its own requirements, used if the project is not installed
    listed: Strings = ()         # requirements in requirements.txt
    declares: bool = True        # whether its metadata list requirements
    local: Strings = ()          # other packages of the repository: ./libs/core
    tests: Strings = ()          # requirements from groups and files for tests
    developers: Strings = ()     # requirements from groups and files for developers
    features: Strings = ()       # requirements from the other extras
    # normalized name → its requirements
    extras: dict[str, Strings] = field(default_factory=dict)
    modules: Strings = ()        # top-level modules, including tests
    packages: Strings = ()       # top-level modules that an installation provides
    native: bool = False                 # the build compiles code
    version_from_git: bool = False
    addopts: Strings = ()
    options: Strings = ()        # pytest options from tox without which fewer tests run
    settings: Strings = ()       # option names in pytest's configuration
    test_paths: Strings = ()     # paths for pytest's command line; () to name none
    n_test_files: int = 0
    runner: str = ""                     # the command of the project's own test script
    unittest_in: str = ""                # the folder for unittest's discovery
    env: dict[str, str] = field(default_factory=dict)   # set by tox and pytest
    system: Strings = ()         # Debian packages that CI workflows and Dockerfiles install
    services: Strings = ()       # services that CI workflows and Dockerfiles start
    variables: tuple = ()        # (name, value) that CI workflows and Dockerfiles set


def read_python(source: RepositoryFiles) -> PythonProject:
    """Return the facts about the project in a folder; unreadable files count as missing."""
    files, places = read_manifests(source), table("packages")["declared"]
    paths = source.python_files()

    def first(kind, read=files.value):
        return next(filter(None, map(read, places[kind])), "")

    name, pytest = str(first("name")), first("pytest", files.table) or {}
    required, extras = requirements_by_use(files, name)
    build = files.table("pyproject.toml/build-system").get(
        "requires", files.value("setup.py/setup_requires"))
    build_requires = tuple(filter(usable, strings_in(build)))
    is_installable = any(map(files.value, places["installable"])) or source.has("setup.py")
    is_native = (any(map(files.value, places["native"])) or source.has("meson.build")
                 or "Extension(" in source.text("setup.py")
                 or {*table("packages")["compiled_by"]}.intersection(map(name_of, build_requires)))
    runners = table("packages")["own_runners"]
    tops = {path[0] for path in paths if len(path) > 1}
    packages, local = _packages(source, paths), local_packages(files, is_installable)
    folders = [tuple(place[2:].partition("[")[0].split("/")) for place in local]
    inner = [path[len(top):] for top in folders for path in paths if path[:len(top)] == top]
    addopts = tuple(" ".join(strings_in(pytest.get("addopts"))).split())
    # with doctests, name no paths: any module may have doctests
    names_paths = strings_in(pytest.get("testpaths")) or DOCTESTS in addopts
    commands = re.findall(r"[\w./-]+", str(files.value("tox.ini/testenv/commands")))
    system, services, versions, variables = read_workflows(source)
    declared, in_lists = runtime_requirements(files)
    return PythonProject(
        name=name if is_installable else "", version=str(first("version")),
        python=str(first("python")), ci_versions=versions,
        lock=next(filter(source.has, table("tools")["python"]["locked"]["files"]), ""),
        build_requires=build_requires, requires=declared or in_lists, listed=in_lists,
        declares=bool(declared), local=local,
        **{use: merged(required[use], without=name)
           for use in ("tests", "developers", "features")},
        extras={canonicalize_name(extra): merged(held, without=name)
                for extra, held in extras.items()},
        modules=tuple(sorted({*packages, *_top_modules([*paths, *inner])})), packages=packages,
        native=bool(is_native), version_from_git=_version_is_from_git(files),
        addopts=addopts, options=(DOCTESTS,) if DOCTESTS in commands else (),
        settings=tuple(pytest),
        test_paths=() if names_paths else _doctest_paths(source, paths, tops, commands),
        n_test_files=len(_tests(paths)),
        unittest_in=next(filter(tops.__contains__, TEST_FOLDERS), "."),
        runner=next((runners[path] for path in runners if source.has(path)), ""),
        env=_variables(pytest.get("env"), PYTEST_VARIABLE)
        | _variables(files.value("tox.ini/testenv/setenv"), TOX_VARIABLE),
        system=system, services=services, variables=variables)


def _version_is_from_git(files: Manifests) -> bool:
    """Return whether the build derives the version from git tags."""
    build = files.table("pyproject.toml/build-system")
    ways = str([build.get("requires"), build.get("build-backend"), files.files["setup.py"],
                [*files.table("pyproject.toml/tool")]])
    return (any(sign in ways for sign in table("packages")["version_from_git"])
            or files.value("pyproject.toml/tool/pdm/version/source") == "scm")


# tests -------------------------------------------------------------------------------------------

def _variables(value, pattern: re.Pattern) -> dict[str, str]:
    """Return the variables that a setting defines, from the lines that match the pattern."""
    matches = filter(None, map(pattern.fullmatch, strings_in(value)))
    return {match[1].strip(): match[2].strip() for match in matches}


def _tests(files: Paths) -> Paths:
    """Return the files in which pytest looks for tests or, without any, the files tests.py."""
    not_modules = table("skip")["python"]["not_modules"]
    return [path for path in files if TEST_FILE.match(path[-1])] or [
        path for path in files if path[-1] == TESTS and path[0] not in not_modules]


def _doctest_paths(source: RepositoryFiles, files: Paths, tops: set[str], commands: list[str]
                   ) -> Strings:
    """Return the paths for pytest's command line: the paths in tox's commands if these have
    --doctest-modules and name code, else _test_paths()."""
    named = tuple(word for word in commands if word in tops or source.has(word))
    has_code = any(word in tops or word.endswith(".py") for word in named)
    return named if has_code and DOCTESTS in commands else _test_paths(files)


def _test_paths(files: Paths) -> Strings:
    """Return the paths for pytest's command line if its configuration names none. They are the test
    folders at the top and inside packages. Without a test folder at the top, they are the folders
    that contain tests, or () if test files lie at the top. pytest does not look for files named
    tests.py, so they are paths themselves."""
    tests = _tests(files)
    if any(path[-1] == TESTS for path in tests):
        return tuple(sorted(map("/".join, tests)))
    not_modules = table("skip")["python"]["not_modules"]
    if at_top := {path[0] for path in tests if path[0] in TEST_FOLDERS and len(path) > 1}:
        inside = {"/".join(path[:i + 1]) for path in tests
                  if path[0] not in (*TEST_FOLDERS, *not_modules)
                  for i in islice((i for i, part in enumerate(path[1:-1], 1)
                                   if part in TEST_FOLDERS and part != "testing"), 1)}
        return tuple(sorted(at_top | inside))
    if any(len(path) == 1 for path in tests):
        return ()
    return tuple(sorted({"/".join(path[:2 if path[0] in ROOTS else 1]) for path in tests
                         if path[0] not in not_modules}))


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
    """Return all names that tests could import: folders and files at the top level, in src and lib,
    and next to the tests."""
    names = {name.removesuffix(".py") for path in files
             for name in path[:2 if path[0] in (*ROOTS, *TEST_FOLDERS) else 1]}
    return set(filter(str.isidentifier, names))
