"""Write the records of pull requests, and find pull requests without an environment: the steps
`records` and `setup` of pr_tasks.py."""
from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable
from itertools import chain
from pathlib import Path

from codedata.code.entities import SourceFile, language_of
from codedata.code.git import clone_in, own_repository, run_git
from codedata.code.operators.syntax import what_runs
from codedata.code.patches import files_of
from codedata.disk.store import Store
from codedata.errors import Excluded
from codedata.pulls.pull_tasks import pull_candidates, pull_request
from codedata.records import Commit
from codedata.run.stage import Stage, Writes, found_records
from codedata.sandbox.archives import UnsafeArchive
from codedata.settings import Settings
from codedata.suites.environments import Environments

# hashes of a file's content before and after
BLOBS = re.compile(r"^index (\w+)\.\.(\w+)", re.MULTILINE)
NEEDED = ("instance_id", "repo", "patch")   # other fields of a record may be empty


def records_stage(settings: Settings, spec: str, clones: str,
                  found: Iterable[tuple[str, dict | str]]) -> Stage:
    """Return the stage that writes a record for each pull request of `found`: (id, its record or
    the reason why it is unusable). `clones` is the folder of clones, or a clone, or "".
    """
    optional = tuple(field for field in Commit.__dataclass_fields__ if field not in NEEDED)

    def make(commit: Commit) -> Commit:
        _check_runs(clones, commit)
        return commit

    return Stage("pr_tasks.records", make=make, is_local=True, per_limit=0,
                 reads=found_records(Commit, lambda: found, spec),
                 writes=Writes(Store(settings.root, Commit), optional=optional),
                 then="pr_tasks.py --setup")


def _check_runs(clones: str, commit: Commit) -> None:
    """Raise Excluded if a clone of its repository shows that a request changes nothing that runs.
    """
    clone = clone_in(clones, commit.repo, commit.base_commit)
    request, refusal = pull_request(commit)
    if not clone or refusal:
        return
    with own_repository(clone) as own:
        if all(_runs_as_before(own, path, patch) for path, patch in files_of(request.change)):
            raise Excluded("it changes only names of files, layout, comments, docstrings and "
                           "annotations", commit.instance_id)


def _runs_as_before(own: Path, path: str, patch: str) -> bool:
    """Return whether a patch of one file keeps all code that runs; False if the file's language is
    unknown, or if the repository lacks one of the two versions or one cannot be parsed."""
    language = language_of(path)
    if not language:
        return False
    try:
        texts = [run_git(own, "cat-file", "blob", blob) for blob in chain(*BLOBS.findall(patch))]
    except UnsafeArchive:
        return False
    forms = {what_runs(SourceFile(path, language, text.encode(), is_test=False)) for text in texts}
    return len(forms) < 2 and "" not in forms


def missing_environments(settings: Settings, clones: str, limit: int | None = None
                         ) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Return ({name of an environment: its row for env_setup}, {the same name: the pull requests
    that need it}) of the missing environments. If there are more than `limit`, only the newest get
    rows, since the tools of old ones may be gone; None and 0 mean no limit. The oldest rows come
    first, so that later ones can start from the image of an ancestor. A row names its source if
    clone_in() finds a clone with the commit in `clones`.
    """
    commits, found = Store(settings.root, Commit).open(), Environments(settings.root, True).open()
    requests = pull_candidates(settings)
    candidates = requests.store.open()
    needed_by: dict[str, list[str]] = defaultdict(list)
    for name in candidates.names():
        one = candidates.read(name)
        environment = one.instance_id
        if environment not in found and not requests.leaves_out(name, environment):
            needed_by[environment].append(name)
    first = {name: commits.read(needed[0]) for name, needed in needed_by.items()}
    rows = {}
    newest = sorted(first.items(), key=lambda pair: pair[1].created_at or "")[-(limit or 0):]
    for name, commit in newest:
        row = {"repo": commit.repo, "base_commit": commit.base_commit}
        if clone := clone_in(clones, commit.repo, commit.base_commit):
            row["reformat_path"] = str(clone.resolve())
        rows[name] = json.dumps(row)
    return rows, needed_by
