"""Write the ledger lines that stages would have written, had they made the converted records.

A line says that an output was adopted; what it has cost is in the old line, which stays. What was
made of the inputs of then counts as made of those of now, where these are the same in another form.
What a person has edited stays edited, and what was stale stays stale.
"""
from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from conversion.old import digests

from codedata.layouts import set_aside, to_json, write_atomic
from codedata.ledger import FileState, LastAttempt, Ledger
from codedata.records import Object
from codedata.run_loop import Stage
from codedata.settings import Settings
from codedata.states import States

Digests = Mapping[str, str]   # of a record, by field


class Carrier:
    """Carry the attempts of a stage over, from the ledger of a directory."""

    def __init__(self, stage: Stage, settings: Settings, old: Path):
        self.stage, self.store, self._old = stage, stage.writes.store, Ledger(old)
        self.states = States(stage.name, stage.reads, stage.writes, settings.exclude, "",
                             stage.joined)
        self.states.plan()   # which opens all stores
        # {item: (digest of its inputs in their old form, that in the new one)}
        self.inputs: dict[str, tuple[str, str]] = {}

    def facts_of_input(self, name: str) -> FileState | None:
        """Return the digests of what an item is made of; None of an orphan."""
        source = self.states.reads.store
        return source.facts(name) if name in source else None

    def _read_now(self, name: str, attempt: LastAttempt) -> str:
        """Return the digest of inputs that an attempt has to note."""
        if name not in self.inputs and (facts := self.facts_of_input(name)):
            # as older releases noted it, which knew of fewer joined records
            self.inputs[name] = self.states.read_before(facts), self.states.read_of(facts)
        same = self.inputs.get(name, ())
        return same[1] if attempt.read in same else attempt.read

    def adopt_all(self, olds: Mapping[str, Digests]) -> None:
        """Note of these records, in their old form, that the stage has made what is on disk of
        them now, unless that is noted already."""
        for name, old in olds.items():
            is_noted = (self.stage.name, name) in self.store.ledger.succeeded
            if name in self.store and not is_noted:
                self._adopt(name, old, self.store.facts(name))

    def renew(self) -> None:
        """Note of all that is on disk what it is made of, where older releases noted it in another
        form."""
        for name in self.store.names():
            made = self._old.succeeded.get((self.stage.name, name))
            if made and self._read_now(name, made) != made.read:
                facts = self.store.facts(name)
                self._adopt(name, facts.digests, facts)

    def _adopt(self, name: str, old: Digests, facts: FileState) -> None:
        made, fields = self._old.succeeded.get((self.stage.name, name)), self.stage.writes.fields
        if not made:
            return   # put there by hand: the next run adopts it
        line = facts.line(fields)
        if any(digest not in (old.get(one, ""), facts.digests.get(one))
               for one, digest in made.wrote.items()):   # a person has edited it
            line = {"instance_id": facts.instance_id,   # without its size: so that it is read
                    "wrote": {one: made.wrote[one] for one in fields if one in made.wrote}}
        self.store.note(name, stage=self.stage.name, state="adopted",
                        read=self._read_now(name, made), settings=made.settings, **line,
                        found=self.store.external_edits(name, facts.digests, fields))

    def switch(self, path: Path, old: Object, new: Object, instance_id: str) -> None:
        """Put a record's new form in place of the old one, which goes to _replaced/. Its line is
        written before: a kill in between leaves the old one, which is converted again."""
        built = path.with_name(f"_tmp.convert.{path.name}")
        stat = write_atomic(built, to_json(new))
        facts = FileState(instance_id, digests(new), stat.st_size, stat.st_mtime_ns)
        self._adopt(path.stem, digests(old), facts)
        set_aside(path)
        os.replace(built, path)

    def refuse_all(self, reasons: Mapping[str, str]) -> None:
        """Note that a rule excludes what the stage has made, for these reasons, unless it is noted
        already."""
        for name, reason in reasons.items():
            made = self._old.succeeded.get((self.stage.name, name))
            if made and (self.stage.name, name) not in self.store.ledger.excluded:
                self._note(name, "excluded", reason, made)

    def carry_others(self) -> None:
        """Note what a rule has excluded, and what failed, unless it is noted already."""
        for state in ("excluded", "failed"):
            noted = getattr(self.store.ledger, state)
            for key, attempt in [*getattr(self._old, state).items()]:
                if key[0] != self.stage.name or key in self._old.succeeded:
                    continue
                if key not in noted or noted[key].read != self._read_now(key[1], attempt):
                    self._note(key[1], state, attempt.error, attempt)

    def _note(self, name: str, state: str, error: str, attempt: LastAttempt) -> None:
        self.store.into.mkdir(parents=True, exist_ok=True)
        self.store.note(name, stage=self.stage.name, state=state, error=error,
                        read=self._read_now(name, attempt), settings=attempt.settings)
