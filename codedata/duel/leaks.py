"""What the leak check finds in the turns of a duel: looked for once, and kept for whoever asks next.

Unless leak_retries is -1, ch.py looks at each turn that comes and notes what it found in its ledger line: `leaks`
{of, found}. `of` is a digest of all that the check goes by, its own code too, so a note that does not fit any more is
not used. What report.py has to look at itself (a turn edited by hand, another version of the check) it notes in
report/_leaks.jsonl. Both are work done and nothing else: without them the check is made again, at some milliseconds a
turn.
"""
from __future__ import annotations

from functools import lru_cache
from importlib import resources
from pathlib import Path

from codedata.checks.leak import Finding, find_leaks, in_record
from codedata.ledger import LEDGER, read_lines, to_line
from codedata.llm.calls import current
from codedata.records import Answer, Attempts, Commit, Message
from codedata.store import digest, shards_of, write_atomic

KEPT = "_leaks.jsonl"
OF_COMMIT = ("instance_id", "repo", "base_commit", "issue", "description", "files", "patch", "test_patch")


class Leaks:
    """of() each turn, then save() what was looked for here."""

    def __init__(self, root: Path, directory: Path):
        self._path, self._own, self._kept = directory / KEPT, {}, {}
        ledgers = [folder / LEDGER for folder in (*shards_of(root / Answer.directory), root / Attempts.directory)]
        for note in [*(line.get("leaks") for path in ledgers for line in read_lines(path)), *read_lines(self._path)]:
            if isinstance(note, dict) and isinstance(note.get("of"), str) and isinstance(note.get("found"), list):
                self._kept[note["of"]] = note["found"]
        self._noted_before = {note["of"] for note in read_lines(self._path) if isinstance(note.get("of"), str)}

    def of(self, answer: Answer, commit: Commit | None) -> list[dict] | None:
        """The findings in the challenger's turn: {kind, severity, text, why, source, start, end}; None without a PR."""
        if commit is None:
            return None
        turn = answer.challenger or ""
        key = _key(answer.messages, turn, commit)
        if key not in self._kept:
            self._kept[key] = in_record(find_leaks(answer.messages, turn, commit))
            self._noted_before.add(key)
        if key in self._noted_before:
            self._own[key] = self._kept[key]
        return self._kept[key]

    def save(self) -> None:
        """Keep what no ledger has; what nobody asked for goes."""
        lines = b"".join(to_line({"of": key, "found": found}) for key, found in self._own.items())
        if (self._path.read_bytes() if self._path.is_file() else b"") != lines:
            write_atomic(self._path, lines)


def note_leaks(messages: list[Message], turn: str, commit: Commit, findings: list[Finding]) -> None:
    """Have what was found in a turn stand in the ledger line of the item in hand."""
    current().notes["leaks"] = {"of": _key(messages, turn, commit), "found": in_record(findings)}


def _key(messages: list[Message], turn: str, commit: Commit) -> str:
    return digest([_version(), messages, turn, *(getattr(commit, name) for name in OF_COMMIT)])


@lru_cache
def _version() -> str:
    """Of the check's code and words."""
    files = sorted((file for file in resources.files("codedata.checks").iterdir() if file.name.startswith("leak")),
                   key=lambda file: file.name)
    return digest([file.read_text(encoding="utf-8") for file in files])
