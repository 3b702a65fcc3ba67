"""Read the facts about a Python project from its files, without running any of its code.

The files are pyproject.toml (PEP 621, PEP 735, poetry, pdm, uv, hatch, tox in it), setup.cfg,
setup.py (its literals), PKG-INFO, requirements files, Pipfile, tox.ini, noxfile.py, pytest's
configuration, and the CI workflows.
"""
from __future__ import annotations

import configparser
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from codedata.env.recipes.ci import Workflows, read_workflows
from codedata.env.recipes.metadata import (
    lines_of,
    read_ini,
    read_metadata,
    read_toml,
    section_of,
    setup_arguments,
    strings_in,
    table_of,
    value_of,
)
from codedata.env.recipes.package_index import normalized
from codedata.env.recipes.python_requirements import TEST_FOLDERS, bare_requirements, requirements_by_use
from codedata.env.recipes.repository_files import RepositoryFiles
from codedata.env.recipes.requirements import merged, name_of, usable

NOT_MODULES = {"docs", "doc", "examples", "example", "build", "dist", "scripts", "tools", "benchmarks", "node_modules"}
NOT_INSTALLED = {"setup", "conftest", "noxfile", "tasks", "fabfile", "manage", "tests", "test", "runtests", "run_tests",
                 "versioneer", "__init__"}
NOT_LOOKED_INTO = ("node_modules", "site-packages", "build")
OWN_RUNNERS = ("tests/runtests.py", "tests/run_tests.py", "tests/run.py", "tests/alltests.py", "test/alltests.py",
               "test/runtests.py", "test/run.py", "runtests.py", "run_tests.py", "runtest.py", "tests.py", "test.py")
COMPILED = {"cffi", "cmake", "cppy", "cython", "maturin", "meson-python", "mypy", "nanobind", "py-build-cmake",
            "pybind11", "scikit-build", "scikit-build-core", "setuptools-rust", "swig"}   # builds that compile
FROM_GIT = ("setuptools_scm", "setuptools-scm", "hatch-vcs", "vcs_versioning", "pbr", "use_scm_version",
            "versioningit")
TEST_FILE = re.compile(r"(?:test_.*|.*_test)\.py\Z")
MAX_FILES = 20_000   # Python files that are listed in a repository, at most


@dataclass(frozen=True)
class PythonProject:
    """Hold the facts about a Python project from which recipes are made."""

    name: str = ""                       # the distribution; "" if the project cannot be installed
    version: str = ""                    # only if it is written down as text
    backend: str = ""
    build_requires: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()       # requirements.txt or Pipfile, if it is no package
    tests: tuple[str, ...] = ()          # requirements from groups and files for tests
    developers: tuple[str, ...] = ()     # requirements from groups and files for developers
    features: tuple[str, ...] = ()       # requirements from the other extras
    extras: dict[str, tuple[str, ...]] = field(default_factory=dict)   # normalized name → its requirements
    modules: tuple[str, ...] = ()        # its top-level modules, including tests
    packages: tuple[str, ...] = ()       # the modules that are installed
    native: bool = False                 # the build compiles code
    version_from_git: bool = False
    addopts: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()       # option names in pytest's configuration
    test_paths: tuple[str, ...] = ()     # for pytest; () if its configuration names them
    n_test_files: int = 0
    runner: str = ""                     # the command of the project's own test script
    unittest_in: str = ""                # the folder in which unittest discovers tests
    env: dict[str, str] = field(default_factory=dict)   # set by tox and pytest
    workflows: Workflows = field(default_factory=Workflows)


def read_python(source: RepositoryFiles) -> PythonProject:
    """Return the facts about the project in a folder; unreadable files count as missing."""
    pyproject = read_toml(source, "pyproject.toml")
    setup_cfg, tox_ini = read_ini(source, "setup.cfg"), read_ini(source, "tox.ini")
    setup_py, info = setup_arguments(source), read_metadata(source)
    project, tool, build = (table_of(pyproject, key) for key in ("project", "tool", "build-system"))
    poetry = table_of(tool, "poetry")

    def said(key: str, *others) -> str:
        """Return the first non-empty value of a metadata key, or "" if there is none."""
        places = (project.get(key), poetry.get(key), value_of(setup_cfg, "metadata", key), setup_py.get(key))
        return str(next((value for value in (*places, *others) if value), ""))
    installable = bool(project or poetry or build or value_of(setup_cfg, "metadata", "name")
                       or source.has("setup.py"))
    name = said("name", table_of(tool, "flit", "metadata").get("dist-name"), info.get("name"))
    required, extras = requirements_by_use(source, pyproject, setup_cfg, setup_py, tox_ini, info, name)
    asked = build.get("requires", setup_py.get("setup_requires", []))
    build_requires = tuple(filter(usable, strings_in(asked)))
    files = source.walk(".py", NOT_LOOKED_INTO, MAX_FILES)
    packages, pytest = _packages(source, files), _pytest_settings(source, tool, setup_cfg, tox_ini)
    return PythonProject(
        name=name if installable else "", version=str(info.get("version") or said("version")),
        backend=str(build.get("build-backend", "")), build_requires=build_requires,
        requires=() if installable else bare_requirements(source),
        **{use: merged(required[use], without=[name]) for use in ("tests", "developers", "features")},
        extras={normalized(extra): merged(held, without=[name]) for extra, held in extras.items()},
        modules=tuple(sorted({*packages, *_top_modules(files)})), packages=packages,
        native=_is_native(source, build_requires, setup_py, tool),
        version_from_git=_version_is_from_git(build, setup_py, tool),
        addopts=pytest["addopts"], settings=pytest["names"], test_paths=_test_paths(files, pytest["testpaths"]),
        n_test_files=sum(bool(TEST_FILE.match(path.name)) for path in files), runner=_own_runner(source),
        unittest_in=_unittest_folder(files), env=pytest["env"] | _tox_env(tox_ini), workflows=read_workflows(source))


def _version_is_from_git(build: dict, setup_py: dict, tool: dict) -> bool:
    """Return whether the build derives the version from git tags."""
    ways = str([build.get("requires"), build.get("build-backend"), setup_py])
    return (any(sign in ways for sign in FROM_GIT) or "setuptools_scm" in tool
            or table_of(tool, "pdm", "version").get("source") == "scm")


# tests ---------------------------------------------------------------------------------------------------------------

def _pytest_settings(source: RepositoryFiles, tool: dict, setup_cfg, tox_ini) -> dict:
    """Return options, option names, test paths and variables from the file that pytest would
    use."""
    table = table_of(tool, "pytest")
    places = (*(section_of(read_ini(source, name), "pytest") for name in ("pytest.ini", ".pytest.ini")),
              table_of(table, "ini_options") or {key: value for key, value in table.items() if key != "ini_options"},
              section_of(tox_ini, "pytest"), section_of(setup_cfg, "tool:pytest"))
    options = next((dict(found) for found in places if found), {})

    def split(key: str) -> list[str]:
        return options[key].split() if isinstance(options.get(key), str) else strings_in(options.get(key))
    env = {}
    for line in lines_of(options["env"]) if isinstance(options.get("env"), str) else strings_in(options.get("env")):
        key, _, value = re.sub(r"^(?:[DR]:)+", "", line).partition("=")
        env[key.strip()] = value.strip()
    return {"addopts": tuple(split("addopts")), "names": tuple(options), "testpaths": split("testpaths"), "env": env}


def _test_paths(files: list[PurePosixPath], configured: list[str]) -> tuple[str, ...]:
    """Return the paths for pytest's command line. They are empty if its configuration names paths.
    Otherwise they are the test folders at the top and in packages; if no test folder is at the top,
    they are the folders that contain tests, or empty if test files lie at the top."""
    tests = [path for path in files if TEST_FILE.match(path.name)]
    if configured:
        return ()
    if at_top := {path.parts[0] for path in tests if path.parts[0] in TEST_FOLDERS and len(path.parts) > 1}:
        within = ("/".join(path.parts[:i + 1]) for path in tests if path.parts[0] not in {*TEST_FOLDERS, *NOT_MODULES}
                  for i, part in enumerate(path.parts[1:-1], 1) if part in {*TEST_FOLDERS} - {"testing"})
        return tuple(sorted({*at_top, *_outermost(within)}))
    if any(len(path.parts) == 1 for path in tests):
        return ()
    inside = {path.parts[0] if path.parts[0] not in ("src", "lib") else "/".join(path.parts[:2])
              for path in tests if path.parts[0] not in NOT_MODULES}
    return tuple(sorted(inside))


def _outermost(folders: Iterable[str]) -> set[str]:
    """Return the folders that do not lie inside another one of them."""
    folders = set(folders)
    return {folder for folder in folders if not any(folder.startswith(f"{other}/") for other in folders)}


def _own_runner(source: RepositoryFiles) -> str:
    """Return the command of the project's own test script, or "" if it has none."""
    if runner := next((path for path in OWN_RUNNERS if source.has(path)), ""):
        return f"python {runner}"
    return next((f"python -m {name}" for name in TEST_FOLDERS if source.has(f"{name}/__main__.py")), "")


def _unittest_folder(files: list[PurePosixPath]) -> str:
    """Return the first test folder at the top level, or "." if there is none."""
    tops = {path.parts[0] for path in files if len(path.parts) > 1}
    return next((name for name in TEST_FOLDERS if name in tops), ".")


def _tox_env(ini: configparser.ConfigParser) -> dict[str, str]:
    """Return the variables of tox's setenv that do not depend on tox substitutions."""
    lines = lines_of(value_of(ini, "testenv", "setenv"))
    pairs = (line.partition("=") for line in lines if "=" in line and "{" not in line)
    return {key.strip(): value.strip() for key, _, value in pairs
            if key.strip().isidentifier() and not key.startswith(("COVERAGE", "PYTEST_ADDOPTS"))}


# code ----------------------------------------------------------------------------------------------------------------

def _packages(source: RepositoryFiles, files: list[PurePosixPath]) -> tuple[str, ...]:
    """Return the top-level modules that an installation provides, without tests and scripts."""
    roots = [root for root in ("src", "lib") if any(path.parts[0] == root for path in files)
             and not source.has(f"{root}/__init__.py")]
    inside = [path.relative_to(root) for root in roots for path in files if path.parts[0] == root] if roots else files
    packages = {path.parts[0] for path in inside if len(path.parts) > 1}
    if not roots:   # folders without __init__.py hold scripts
        packages &= {path.parts[0] for path in inside if len(path.parts) == 2 and path.name == "__init__.py"}
    modules = {path.stem for path in inside if len(path.parts) == 1} - NOT_INSTALLED
    names = packages - {*NOT_MODULES, *TEST_FOLDERS, "src", "lib"} | modules
    return tuple(sorted(name for name in names if name.isidentifier()))


def _top_modules(files: list[PurePosixPath]) -> set[str]:
    """Return every name that an import could refer to: folders and files at the top level, in src
    and lib, and beside the tests."""
    names = set()
    for path in files:
        parts = path.parts[1:] if path.parts[0] in ("src", "lib", *TEST_FOLDERS) and len(path.parts) > 1 else path.parts
        names |= {parts[0].removesuffix(".py"), path.parts[0].removesuffix(".py")}
    return {name for name in names if name.isidentifier()}


def _is_native(source: RepositoryFiles, build_requires: tuple[str, ...], setup_py: dict, tool: dict) -> bool:
    """Return whether building the project compiles code."""
    declared = setup_py.get("ext_modules") or "ext-modules" in table_of(tool, "setuptools")
    written = source.has("meson.build") or "Extension(" in source.text("setup.py")
    return bool({name_of(r) for r in build_requires} & COMPILED or declared or written)
