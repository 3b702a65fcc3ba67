"""Pass on the results of analyze.py: to the agents and, with --output, to a file of rows. With
--input, these are the input's rows with the paths of the results added.

The rows are written whenever the step ends, from the records on disk. A failed item also has a row,
without the `analysis` or `tests` that failed.
"""
from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

import orjson

from codedata.bugs.inject import METHOD
from codedata.disk import layouts
from codedata.disk.locks import check_directories
from codedata.disk.store import Store, known
from codedata.errors import BrokenRecord, Trouble
from codedata.records import Analysis, Coverage, Environment
from codedata.run.stage import Stage
from codedata.settings import Settings
from codedata.suites.environments import Environments
from codedata.terminal import plural

FURTHER = ("repo", "repo_name", "base_commit", "image_name", "test_case_result")
# {key of a row: (the record whose path it holds, the stage that makes this record)}
MADE = {"analysis": (Analysis, "analyze.analysis"), "tests": (Coverage, "analyze.coverage")}
MEND = "Correct the row, or run: python bug_inject.py agent --steps preprocess"


class Analyses(Store):
    """Hold the analysis of each repository, by repo_name: from analysis/, else from the path in its
    row, which is relative to the rows' file. With the key `tests`, hold its Coverage."""

    def __init__(self, root: Path, rows: Path | None = None, key: str = "analysis"):
        super().__init__(root, MADE[key][0])
        self._key, self._rows = key, rows
        self._named: dict[str, Path] = {}   # paths from rows, if the root has no record

    def open(self) -> Analyses:
        """Find all records, and return self."""
        super().open()
        rows = Environments(self.root, rows=self._rows).open() if self._rows else None
        for name in rows.names() if rows else ():
            path = rows.read(name).row.get(self._key)
            if name not in self and path and isinstance(path, str):
                self._named[name] = self._rows.parent / path
                self._at[name] = self._named[name].parent, 0, 0
        return self

    def path(self, name: str) -> Path:
        """Return the path of a repository's record."""
        return self._named.get(name) or super().path(name)

    def read(self, name: str) -> Analysis | Coverage:
        """Return the record of a repository. Raise BrokenRecord if it belongs to another one."""
        record = super().read(name)
        if name in self._named and record.repo_name != name:
            what = f"is the {self.cls.directory} of {record.repo_name!r}, not of {name}."
            raise BrokenRecord(what, str(self.path(name)), MEND)
        return record


@dataclass(frozen=True)
class Preprocessed:
    """Write the results of the step as rows to the file `output`; None for no rows."""

    settings: Settings
    rows: Path | None           # --input
    output: Path | None

    def check(self) -> None:
        """Raise Trouble if the file cannot be written, before anything is measured."""
        check_directories(self.output.parents if self.output else [])
        if self.output and self.output.is_dir():
            raise Trouble("is a directory, not a file of JSON lines.", f"--output {self.output}",
                          "Name a file; --output-root is the directory of the run.")
        if self.output and self.rows and self.output.resolve() == self.rows.resolve():
            raise Trouble("is the --input, too.", f"--output {self.output}", "Name another file.")

    def step(self, stage: Stage, **changes) -> Stage:
        """Return a stage of analyze.py as a step of bug_inject.py, with the same key in the ledger.
        --only may also name a repository by one of its candidates."""
        numbers = range(1, self.settings.bug.per_repo + 1)
        reads = replace(stage.reads, leads_to=lambda name: [f"{name}.{METHOD}-{n}"
                                                            for n in numbers])
        return replace(stage, reads=reads, title=f"bug_inject.{stage.name.partition('.')[2]}",
                       **changes)

    def write(self) -> list[str]:
        """Write rows; return lines for the terminal."""
        if not self.output:
            return []
        root = self.settings.root
        environments = Environments(root, unhealthy_too=True, rows=self.rows).open()
        stores = {key: Store(root, cls).open() for key, (cls, _) in MADE.items()}
        # {repository: the stores with a readable record of it}; the step has reported broken ones
        names = {name: {key: store for key, store in stores.items()
                        if known(store, name) and not store.failed(MADE[key][1], name)}
                 for name in environments.names()}
        rows = [self._row(environments.read(name), made) for name, made in names.items()]
        layouts.write_atomic(self.output, b"".join(
            orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows))
        n_whole = sum("analysis" in made for made in names.values())
        return [f"      {self.output}: {plural(len(rows), 'row')}, {n_whole:,} with an analysis"]

    def _row(self, environment: Environment, made: dict[str, Store]) -> dict:
        """Return an environment's row with the paths of its records added, relative to the folder
        of the output. Without --input, also add the fields that --input requires."""
        row = dict(environment.row)
        if not self.rows:
            row |= {name: getattr(environment, name) for name in FURTHER}
        folder = self.output.resolve().parent
        return row | {key: os.path.relpath(store.path(environment.repo_name).resolve(), folder)
                      for key, store in made.items()}
