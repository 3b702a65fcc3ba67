"""Write the records of pull requests: the step `records` of pr_tasks.py."""
from __future__ import annotations

from collections.abc import Iterable

from codedata.errors import BrokenRecord
from codedata.records import Commit, parse
from codedata.run_loop import Stage
from codedata.settings import Settings
from codedata.states import Reads, Writes
from codedata.store import Derived, Readers, Store


def records_stage(settings: Settings, spec: str, found: Iterable[tuple[str, dict | str]]) -> Stage:
    """Return the stage that writes a record for each pull request that is `found`: (id, its
    record, or why it cannot be used).
    """
    def readers() -> Readers:
        return {name: (lambda value=value: value) for name, value in found}

    def commit_of(name: str, value: dict | str) -> dict[str, Commit]:
        where = f"{spec} {name}"
        if isinstance(value, str):
            raise BrokenRecord(f"{value}.", where)
        return {name: parse(Commit, value, where)}

    fields = tuple(Commit.__dataclass_fields__)
    return Stage("pr_tasks.records", make=lambda commit: commit,
                 reads=Reads(Derived(readers, commit_of, place=spec, derived=False), fields),
                 writes=Writes(Store(settings.root, Commit), fields),
                 then="env_setup.py --input ROWS, then pr_tasks.py")
