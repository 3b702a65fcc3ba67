"""List the bugs that verdicts call good, and write each as a record: the step `instances`, the end
of `prove` of `agent`. An instance whose candidate was edited since is an orphan. The files of
`scale` lie in the same directories; each word's views leave the other's alone."""
from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

from codedata.errors import BrokenRecord
from codedata.records import Bug, Object, Verdicts, parse
from codedata.run_loop import Stage
from codedata.states import Reads, Writes
from codedata.store import Store, View

OF_ISSUE = ("problem_statement", "reproduction")   # fields that the step `issue` fills in
PROVEN_FIELDS = tuple(field.name for field in fields(Bug) if field.name not in OF_ISSUE)
AGENTS = re.compile(r".+\.agent-\d+(\.[0-9a-f]+)?")   # a file of agents, or its instance
AGAIN = "Delete the file and run: python bug_inject.py agent --steps prove"


def is_of_agent(name: str) -> bool:
    """Return whether a name in bug/ is that of an agent's file or instance; all others are those of
    `scale`."""
    return AGENTS.fullmatch(name) is not None


class Instances(View):
    """Hold a Bug for each good verdict on an agent's candidate, without what the step `issue`
    fills in."""

    cls, place, derived = Bug, "bug/_verdicts/", True

    def __init__(self, root: Path):
        super().__init__()
        self._verdicts = Store(root, Verdicts)
        self._index: dict[str, tuple[str, int]] = {}   # name → its item, its place in there
        self._unread: set[str] = set()

    def open(self) -> Instances:
        """Index every good verdict, and return self."""
        store = self._verdicts.open()
        self.broken = [*store.broken]
        for item in filter(is_of_agent, store.names()):
            try:
                self._add(item, store.read(item))
            except BrokenRecord as e:
                self.broken.append(e)
                self._unread.add(item)
        return self

    def _add(self, item: str, record: Verdicts) -> None:
        for i, verdict in enumerate(record.verdicts):
            name = verdict["instance_id"]
            if verdict["good"] and name.rpartition(".")[0] != item:
                raise BrokenRecord(f"has an instance of another name: {name[:80]!r}.",
                                   str(self._verdicts.path(item)), AGAIN)
            if verdict["good"]:
                self._index[name] = item, i

    def names(self):
        """Return the ids of all instances."""
        return self._index.keys()

    def covers(self, name: str) -> bool:
        """Return whether an instance is there, may be in a file that cannot be read, or is one of
        `scale`."""
        return (name in self._index or not is_of_agent(name)
                or name.rpartition(".")[0] in self._unread)

    def __contains__(self, name: str) -> bool:
        return name in self._index

    def read(self, name: str) -> Bug:
        """Return an instance. Raise BrokenRecord where its verdict lacks fields of one."""
        item, i = self._index[name]
        verdict = self._verdicts.read(item).verdicts[i]
        known: Object = {**(verdict.get("instance") or {}), "evidence": verdict["evidence"]}
        return parse(Bug, {**dict.fromkeys(OF_ISSUE), **known, "instance_id": name},
                     f"{self._verdicts.path(item)} ({name})", AGAIN)

    def failed(self, stage: str, name: str):
        """Return the failed last attempt of a stage to make its verdict, or None."""
        return self._verdicts.failed(stage, self._index[name][0])


def instances_stage(root: Path) -> Stage:
    """Return the stage that writes a Bug of each good verdict."""
    return Stage(
        "bug_inject.instances", make=lambda bug: bug,
        reads=Reads(Instances(root), PROVEN_FIELDS, made_by="bug_inject.prove"),
        writes=Writes(Store(root, Bug), PROVEN_FIELDS),
        cost_note="no calls: no model is asked",
        after="bug_inject.py agent --steps prove", then="bug_inject.py agent --steps issue")


class OfScale(Store):
    """Hold the records of a directory in bug/ that no agent made."""

    derived = True

    def names(self) -> list[str]:
        """Return the names of its records in natural order."""
        return [name for name in super().names() if not is_of_agent(name)]

    def covers(self, name: str) -> bool:
        """Return whether there is a record of this name, or it is an agent's."""
        return name in self or is_of_agent(name)
