"""Copy a repository's source out of its image, and describe it: the steps `extract` and `meta` of
nl2repo.py. Later steps read the copy. A lost copy is made again."""
from __future__ import annotations

import time
from collections import Counter
from functools import partial
from pathlib import Path

from codedata.analysis.analyse import is_counted
from codedata.bounded import inside
from codedata.code.entities import Sources, all_entities, read_sources
from codedata.code.projects import licence_of, project_of, text_in
from codedata.disk.layouts import NEW, put_folder
from codedata.disk.store import Derived, Store, digest
from codedata.driver import in_driver
from codedata.errors import Excluded, ItemFailed
from codedata.records import Coverage, Environment, RepoMeta, SourceCopy
from codedata.run.stage import Reads, Stage, Writes
from codedata.run.talk import begin_step
from codedata.sandbox.copies import new_folder
from codedata.sandbox.factory import SandboxFactory
from codedata.settings import Settings
from codedata.suites.contexts import LANGUAGE, copy_source
from codedata.suites.environments import JUDGED_BY, fresh_sandbox
from codedata.suites.source import files_in

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
    begin_step("reading the source")
    with new_folder(built) as folder:
        with fresh_sandbox(environment, host, "nl2repo") as sandbox:
            copy_source(sandbox, folder)
        sources = read_sources(folder)
        if not any(file.language == LANGUAGE for file in sources.files):
            raise Excluded("has no Python, the only language whose functions are stripped.", name)
        read = {file.path: digest(file.text.hex()) for file in sources.files}
        others = sorted(files_in(folder).keys() - read.keys())
    _put(place, built)
    return SourceCopy(environment.repo, name, environment.base_commit, read, sources.faults,
                      others, round(time.monotonic() - started, 1))


_put = in_driver(put_folder)


def folder_of(root: Path, repo_name: str) -> Path:
    """Return the folder that holds the copy of a repository's source."""
    return inside(root / SourceCopy.directory, repo_name)


@in_driver
def sources_of(root: Path, repo_name: str) -> Sources:
    """Return the sources in the copy of a repository. Raise ItemFailed if the copy is gone."""
    folder = folder_of(root, repo_name)
    if not folder.is_dir():
        raise ItemFailed("the copy of its source is gone.", repo_name, AGAIN.format(repo_name))
    return read_sources(folder)


def readme_of(folder: Path) -> str:
    """Return the text of the README in a folder, "" without one."""
    return text_in(folder, "README.md") or text_in(folder, "README.rst")


# the description ---------------------------------------------------------------------------------

def meta_stage(root: Path) -> Stage:
    """Return the step that describes repositories."""
    return Stage(
        "nl2repo.meta", make=partial(describe, root), is_local=True,
        reads=Reads(Store(root, SourceCopy), ("base_commit", "files"), made_by="nl2repo.extract"),
        also_reads=(Reads(Store(root, Coverage), ("tests",), made_by="analyze.coverage",
                      same="base_commit"),),
        writes=Writes(Store(root, RepoMeta), optional=("licence",)),
        after="nl2repo.py --steps coverage", then="nl2repo.py --steps relationship")


def describe(root: Path, copy: SourceCopy, coverage: Coverage) -> RepoMeta:
    """Return the description of a repository, from its project files, sources and coverage."""
    name, folder = copy.repo_name, folder_of(root, copy.repo_name)
    sources = sources_of(root, name)
    entities, project = all_entities(sources)[0], project_of(folder)
    kinds = Counter(one.kind for file in sources.files if not file.is_test
                    for one in entities[file.path])
    files = [{"path": file.path, "language": file.language, "is_test": file.is_test,
              "lines": len(file.text.splitlines())} for file in sources.files]
    return RepoMeta(
        copy.repo, name, copy.base_commit, licence_of(folder, project), project["summary"],
        project["dependencies"], files,
        sum(file["lines"] for file in files if not file["is_test"]), dict(sorted(kinds.items())),
        [test["name"] for test in coverage.tests if is_counted(test)],
        [test["name"] for test in coverage.tests if test["flaky"]])
