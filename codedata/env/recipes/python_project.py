"""Read the facts about a Python project from its files, without running any of its code.

The files are pyproject.toml (PEP 621, PEP 735, poetry, pdm, uv, hatch, tox in it), setup.cfg,
setup.py (its literals), PKG-INFO, requirements files, Pipfile, tox.ini, noxfile.py, pytest's
configuration, and the CI workflows.
"""
from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from codedata.env.recipes.ci import Workflows, read_workflows
from codedata.env.recipes.metadata import (
    Manifests,
    lines_of,
    read_ini,
    read_manifests,
    section_of,
    strings_in,
    table_of,
    value_of,
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
ROOTS = ("src", "lib")   # folders that hold packages, unless they are packages themselves


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
    files = source.walk(".py", tuple(table("skip")["python"]["not_looked_into"]), MAX_FILES)
    name = _declared(manifests, "name") or str(
        manifests.table("tool", "flit", "metadata").get("dist-name")
        or manifests.info.get("name", ""))
    required, extras = requirements_by_use(manifests, name)
    build = manifests.table("build-system").get("requires",
                                                manifests.setup_py.get("setup_requires"))
    build_requires = tuple(filter(usable, strings_in(build)))
    packages, pytest = _packages(source, files), _pytest_settings(manifests)
    return PythonProject(
        name=name if _is_installable(manifests) else "", build_requires=build_requires,
        version=str(manifests.info.get("version") or _declared(manifests, "version")),
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


def _declared(files: Manifests, key: str) -> str:
    """Return the first non-empty value of a metadata key, or "" if there is none."""
    values = (files.table("project").get(key), files.table("tool", "poetry").get(key),
              value_of(files.setup_cfg, "metadata", key), files.setup_py.get(key))
    return str(next(filter(None, values), ""))


def _is_installable(files: Manifests) -> bool:
    """Return whether the files describe a package that pip could install."""
    return bool(files.table("project") or files.table("tool", "poetry")
                or files.table("build-system")
                or value_of(files.setup_cfg, "metadata", "name") or files.source.has("setup.py"))


def _version_is_from_git(files: Manifests) -> bool:
    """Return whether the build derives the version from git tags."""
    build, tool = files.table("build-system"), files.table("tool")
    ways = str([build.get("requires"), build.get("build-backend"), files.setup_py])
    return (any(sign in ways for sign in table("packages")["version_from_git"])
            or "setuptools_scm" in tool
            or table_of(tool, "pdm", "version").get("source") == "scm")


# tests --------------------------------------------------------------------------------------------

def _pytest_settings(files: Manifests) -> dict:
    """Return the settings from the file that pytest would use."""
    pytest = files.table("tool", "pytest")
    older = table_of(pytest, "ini_options")
    places = (section_of(read_ini(files.source, "pytest.ini"), "pytest"),
              section_of(read_ini(files.source, ".pytest.ini"), "pytest"),
              older or {key: value for key, value in pytest.items() if key != "ini_options"},
              section_of(files.tox_ini, "pytest"), section_of(files.setup_cfg, "tool:pytest"))
    return dict(next(filter(None, places), {}))


def _words(value) -> list[str]:
    """Return the words of a setting that is a text or a list."""
    return value.split() if isinstance(value, str) else strings_in(value)


def _pytest_env(value) -> dict[str, str]:
    """Return the variables that pytest-env would set."""
    lines = lines_of(value) if isinstance(value, str) else strings_in(value)
    pairs = (re.sub(r"^(?:[DR]:)+", "", line).partition("=") for line in lines)
    return {key.strip(): value.strip() for key, _, value in pairs}


def _tests(files: list[PurePosixPath]) -> list[PurePosixPath]:
    """Return the test files."""
    return [path for path in files if TEST_FILE.match(path.name)]


def _test_paths(files: list[PurePosixPath]) -> Strings:
    """Return the paths for pytest's command line where its configuration names none: the test
    folders at the top and in packages; if no test folder is at the top, the folders that contain
    tests, or none if test files lie at the top."""
    tests, others = _tests(files), {*TEST_FOLDERS, *table("skip")["python"]["not_modules"]}
    if at_top := {path.parts[0] for path in tests if path.parts[0] in TEST_FOLDERS
                  and len(path.parts) > 1}:
        inside = {"/".join(path.parts[:i + 1]) for path in tests if path.parts[0] not in others
                  for i, part in enumerate(path.parts[1:-1], 1) if part in TEST_FOLDERS
                  and part != "testing"}
        outermost = {folder for folder in inside
                     if not any(folder.startswith(f"{other}/") for other in inside)}
        return tuple(sorted(at_top | outermost))
    if any(len(path.parts) == 1 for path in tests):
        return ()
    return tuple(sorted({"/".join(path.parts[:2 if path.parts[0] in ROOTS else 1]) for path in tests
                         if path.parts[0] not in table("skip")["python"]["not_modules"]}))


def _own_runner(source: RepositoryFiles) -> str:
    """Return the command of the project's own test script, or "" if it has none."""
    if runner := next((path for path in table("packages")["own_runners"] if source.has(path)), ""):
        return f"python {runner}"
    return next((f"python -m {name}" for name in TEST_FOLDERS if source.has(f"{name}/__main__.py")),
                "")


def _unittest_folder(files: list[PurePosixPath]) -> str:
    """Return the first test folder at the top level, or "." if there is none."""
    tops = {path.parts[0] for path in files if len(path.parts) > 1}
    return next((name for name in TEST_FOLDERS if name in tops), ".")


def _tox_env(files: Manifests) -> dict[str, str]:
    """Return the variables of tox's setenv that do not depend on tox substitutions."""
    lines = lines_of(value_of(files.tox_ini, "testenv", "setenv"))
    pairs = (line.partition("=") for line in lines if "=" in line and "{" not in line)
    return {key.strip(): value.strip() for key, _, value in pairs
            if key.strip().isidentifier() and not key.startswith(("COVERAGE", "PYTEST_ADDOPTS"))}


# code ---------------------------------------------------------------------------------------------

def _packages(source: RepositoryFiles, files: list[PurePosixPath]) -> Strings:
    """Return the top-level modules that an installation provides, without tests and scripts."""
    skip = table("skip")["python"]
    roots = [root for root in ROOTS if any(path.parts[0] == root for path in files)
             and not source.has(f"{root}/__init__.py")]
    inside = [path.relative_to(root) for root in roots for path in files
              if path.parts[0] == root] if roots else files
    packages = {path.parts[0] for path in inside if len(path.parts) > 1}
    if not roots:   # folders without __init__.py hold scripts
        packages &= {path.parts[0] for path in inside if len(path.parts) == 2
                     and path.name == "__init__.py"}
    modules = {path.stem for path in inside if len(path.parts) == 1} - {*skip["not_installed"]}
    names = packages - {*skip["not_modules"], *TEST_FOLDERS, *ROOTS} | modules
    return tuple(sorted(filter(str.isidentifier, names)))


def _top_modules(files: list[PurePosixPath]) -> set[str]:
    """Return every name that an import could refer to: folders and files at the top level, in src
    and lib, and beside the tests."""
    names = {path.parts[0] for path in files}
    names |= {path.parts[1] for path in files if len(path.parts) > 1
              and path.parts[0] in (*ROOTS, *TEST_FOLDERS)}
    return set(filter(str.isidentifier, (name.removesuffix(".py") for name in names)))


def _is_native(files: Manifests, build_requires: Strings) -> bool:
    """Return whether building the project compiles code."""
    setuptools = files.table("tool", "setuptools")
    declared = files.setup_py.get("ext_modules") or "ext-modules" in setuptools
    written = files.source.has("meson.build") or "Extension(" in files.source.text("setup.py")
    compilers = {*table("packages")["compiled_by"]}
    return bool(declared or written or compilers & {name_of(r) for r in build_requires})
