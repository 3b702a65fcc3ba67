"""List the bugs that verdicts call good, and write each as a record: the step `instances`, the end
of `prove` of `agent`. An instance whose candidate was edited since is an orphan. The files of
`scale` lie in the same directories; each word leaves the other's alone."""
from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

from codedata.errors import BrokenRecord
from codedata.records import Bug, Object, Verdicts, parse
from codedata.run_loop import Stage
from codedata.states import Reads, Writes
from codedata.store import Derived, Store

OF_ISSUE = ("problem_statement", "reproduction")   # fields that the step `issue` fills in
PROVEN_FIELDS = tuple(field.name for field in fields(Bug) if field.name not in OF_ISSUE)
AGENTS = re.compile(r".+\.agent-\d+(\.[0-9a-f]+)?")   # a file of agents, or its instance
AGAIN = "Delete the file and run: python bug_inject.py agent --steps prove"


def is_of_agent(name: str) -> bool:
    """Return whether a name in bug/ is that of an agent's file or instance; all others are those of
    `scale`."""
    return AGENTS.fullmatch(name) is not None


def is_of_scale(name: str) -> bool:
    """Return whether a name in bug/ is none of an agent's."""
    return not is_of_agent(name)


def instances_in(root: Path) -> Derived:
    """Return a Bug for each good verdict on an agent's candidate, without what the step `issue`
    fills in."""
    verdicts = Store(root, Verdicts, only=is_of_agent)

    def bugs_of(item: str, record: Verdicts) -> dict[str, Bug | BrokenRecord]:
        where = str(verdicts.path(item))
        bugs = {}
        for verdict in record.verdicts:
            name = verdict["instance_id"]
            if not verdict["good"]:
                continue
            if name.rpartition(".")[0] != item:
                raise BrokenRecord(f"has an instance of another name: {name[:80]!r}.", where, AGAIN)
            known: Object = {**(verdict.get("instance") or {}), "evidence": verdict["evidence"]}
            try:
                bugs[name] = parse(Bug, {**dict.fromkeys(OF_ISSUE), **known, "instance_id": name},
                                   f"{where} ({name})", AGAIN)
            except BrokenRecord as e:
                bugs[name] = e   # the others of the file are none the worse
        return bugs

    return Derived(verdicts, bugs_of, keeps=is_of_scale)


def instances_stage(root: Path) -> Stage:
    """Return the stage that writes a Bug of each good verdict."""
    return Stage(
        "bug_inject.instances", make=lambda bug: bug,
        reads=Reads(instances_in(root), PROVEN_FIELDS, made_by="bug_inject.prove"),
        writes=Writes(Store(root, Bug), PROVEN_FIELDS),
        cost_note="no calls: no model is asked",
        after="bug_inject.py agent --steps prove", then="bug_inject.py agent --steps issue")
