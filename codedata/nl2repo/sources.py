"""Copy a repository's source out of its image, and describe it: the steps `extract` and `meta` of
nl2repo.py. Later steps read the copy. A lost copy is made again."""
from __future__ import annotations

import re
import sys
import time
from collections import Counter
from collections.abc import Iterable
from configparser import ConfigParser
from configparser import Error as ConfigError
from contextlib import suppress
from email.parser import HeaderParser
from functools import partial
from pathlib import Path, PurePosixPath

from codedata.analysis.analyse import is_counted
from codedata.bounded import inside, read_bounded, resolved_in
from codedata.code.entities import (
    SourceFile,
    Sources,
    all_entities,
    captured,
    query_of,
    read_sources,
)
from codedata.disk.layouts import NEW, Folder
from codedata.disk.store import Derived, Store, digest
from codedata.driver import in_driver
from codedata.errors import Excluded, ItemFailed
from codedata.records import Coverage, Environment, RepoMeta, SourceCopy, storable
from codedata.run.stage import Reads, Stage, Writes
from codedata.sandbox.copies import new_folder
from codedata.sandbox.factory import SandboxFactory
from codedata.settings import Settings
from codedata.suites.contexts import LANGUAGE, copy_source
from codedata.suites.environments import JUDGED_BY, labelled, open_environment
from codedata.texts import toml_of, toml_tables

MAX_TEXT = 200_000         # bytes of a project file, a licence or a README
REQUIREMENT = re.compile(r"\s*([A-Za-z0-9][\w.-]*)")
WORD = re.compile(r"\w+")
AGAIN = "Run: python nl2repo.py --steps extract --force --only {}"


# the copy ----------------------------------------------------------------------------------------

def extract_stage(settings: Settings, host: SandboxFactory, environments: Derived) -> Stage:
    """Return the step that copies sources. If a copy's folder is gone, the copy counts as failed
    and is made again."""
    root = settings.root
    return Stage(
        "nl2repo.extract", make=partial(extract, root, host),
        reads=Reads(environments, JUDGED_BY[:4], made_by="env_setup"),
        writes=Writes(Store(root, SourceCopy),
                      fault=lambda copy: "" if folder_of(root, copy.repo_name).is_dir()
                      else "its folder is gone"),
        finish=lambda: [f"      left out: {name}: {why}"
                        for name, why in getattr(environments, "left_out", {}).items()],
        after="env_setup.py", then="nl2repo.py --steps coverage")


def extract(root: Path, host: SandboxFactory, environment: Environment) -> SourceCopy:
    """Copy a repository's source out of its image. Raise Excluded if it has no Python source."""
    name, started = environment.repo_name, time.monotonic()
    place = folder_of(root, name)
    built = inside(place.parent, NEW, name)
    with new_folder(built) as folder:
        with (labelled(host, name, "nl2repo") as label,
              open_environment(environment, host, label) as sandbox):
            copy_source(sandbox, folder)
        sources = read_sources(folder)
        if not any(file.language == LANGUAGE for file in sources.files):
            raise Excluded("has no Python, the only language whose functions are stripped.", name)
        read = {file.path: digest(file.text.hex()) for file in sources.files}
        others = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*")
                        if path.is_file() and not path.is_symlink())
    _put(place, built)
    return SourceCopy(environment.repo, name, environment.base_commit, read, sources.faults,
                      [path for path in others if path not in read],
                      round(time.monotonic() - started, 1))


_put = in_driver(Folder.put)


def folder_of(root: Path, repo_name: str) -> Path:
    """Return the folder that holds the copy of a repository's source."""
    return inside(root, SourceCopy.directory, repo_name)


@in_driver
def sources_of(root: Path, repo_name: str) -> Sources:
    """Return the sources in the copy of a repository. Raise ItemFailed if it is gone."""
    folder = folder_of(root, repo_name)
    if not folder.is_dir():
        raise ItemFailed("the copy of its source is gone.", repo_name, AGAIN.format(repo_name))
    return read_sources(folder)


def text_in(folder: Path, path: str) -> str:
    """Return the text of a file in a folder; "" if it is missing, outside, or too large."""
    with suppress(OSError, RuntimeError):
        return read_bounded(resolved_in(folder, folder / path), MAX_TEXT).decode(errors="replace")
    return ""


def readme_of(folder: Path) -> str:
    """Return the text of the README in a folder, "" without one."""
    return text_in(folder, "README.md") or text_in(folder, "README.rst")


# the description ---------------------------------------------------------------------------------

def meta_stage(root: Path) -> Stage:
    """Return the step that describes repositories."""
    return Stage(
        "nl2repo.meta", make=partial(describe, root), is_local=True,
        reads=Reads(Store(root, SourceCopy), ("base_commit", "files"), made_by="nl2repo.extract"),
        joined=(Reads(Store(root, Coverage), ("tests",), made_by="analyze.coverage",
                      same="base_commit"),),
        writes=Writes(Store(root, RepoMeta), optional=("licence",)),
        after="nl2repo.py --steps coverage", then="nl2repo.py --steps relationship")


def describe(root: Path, copy: SourceCopy, coverage: Coverage) -> RepoMeta:
    """Return the description of a repository, from its project files, sources and coverage."""
    name, folder = copy.repo_name, folder_of(root, copy.repo_name)
    sources = sources_of(root, name)
    project = project_of(folder)
    files = [{"path": file.path, "language": file.language, "is_test": file.is_test,
              "lines": len(file.text.splitlines())} for file in sources.files]
    return RepoMeta(
        copy.repo, name, copy.base_commit, licence_of(folder, project), project["summary"],
        project["dependencies"], foreign_imports(sources.files), files,
        sum(file["lines"] for file in files if not file["is_test"]), entities_by_kind(sources),
        [test["name"] for test in coverage.tests if is_counted(test)],
        [test["name"] for test in coverage.tests if test["flaky"]])


def entities_by_kind(sources: Sources) -> dict[str, int]:
    """Return the number of entities of each kind, without entities of tests."""
    entities = all_entities(sources)[0]
    return dict(sorted(Counter(one.kind for file in sources.files if not file.is_test
                               for one in entities[file.path]).items()))


def project_of(folder: Path) -> dict:
    """Return {summary, dependencies, licence, classifiers} as declared by the project files in a
    folder. A file that cannot be read counts as missing."""
    toml, cfg = _pyproject(folder), _setup_cfg(folder)
    info = HeaderParser().parsestr(text_in(folder, "PKG-INFO"), headersonly=True)
    licence = toml.get("license") or info.get("License-Expression") or cfg.get("license") or ""
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
                   if path.name.upper().startswith(("LICENSE", "LICENCE", "COPYING")))
    text = " ".join(WORD.findall(" ".join(text_in(folder, name) for name in names))).lower()
    return next((id for id, table in licences.items()
                 if " ".join(WORD.findall(table["text"])).lower() in text), None)


def foreign_imports(files: Iterable[SourceFile]) -> list[str]:
    """Return the third-party modules that a repository's Python imports outside of its tests."""
    query = query_of(LANGUAGE, "python_imports.scm")
    python = [file for file in files if file.language == LANGUAGE]
    own = {part.removesuffix(".py") for file in python for part in PurePosixPath(file.path).parts}
    modules = {node.text.decode(errors="replace").partition(".")[0]
               for file in python if not file.is_test for node in
               captured(file, query).get("module", [])}
    return sorted(modules - own - sys.stdlib_module_names)
