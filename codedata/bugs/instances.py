"""Read the candidates of bugs and the bugs in task/, and tell which subcommand of bug_inject.py
made them (Word). `agent` and `scale` write to the same directories; each subcommand ignores the
other's bugs."""
from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from codedata.code.patches import normalised
from codedata.disk.store import Derived, Store
from codedata.errors import BrokenRecord
from codedata.records import (
    BREAKS,
    BUG,
    Candidate,
    Candidates,
    ProposedChange,
    Task,
    candidate_of,
)
from codedata.run.stage import Reads

BY_HAND = "by-hand"        # the operator of a candidate that names none
FEATURE = "feature"        # the family of an agent's candidate that is not meant as a bug
CATEGORY = "debugging"     # one of Harbor's categories of tasks
READ = "base_commit", "change", "config"   # fields of a candidate
AGENTS = re.compile(r".+\.agent-\d+(\.[0-9a-f]+)?")   # names of agents' files and instances


def is_of_agent(name: str) -> bool:
    """Return whether a name belongs to an agent's file or instance. Other names belong to `scale`.
    """
    return AGENTS.fullmatch(name) is not None


def is_of_scale(name: str) -> bool:
    """Return whether a name belongs to a file or instance of `scale`."""
    return not is_of_agent(name)


@dataclass(frozen=True)
class Word:
    """Describe a subcommand of bug_inject.py and the bugs that it owns."""

    name: str
    maker: str               # the step that writes the tasks of these bugs
    owns: Callable[[str], bool]   # whether a name belongs to one of these bugs
    before: str              # the step that writes their candidates into bug/
    prefix: str = ""         # in ledgers, before the names of steps that both subcommands have


AGENT = Word("agent", "prove", is_of_agent, "inject")
SCALE = Word("scale", "report", is_of_scale, "validate", "scale_")


def bug_tasks(root: Path, owns: Callable[[str], bool] = bool) -> Store:
    """Return the tasks of a root that are bugs: all, or only names that `owns` accepts."""
    return Store(root, Task, kind=BUG, only=owns, derived=True)


# candidates --------------------------------------------------------------------------------------

def candidate_in(record: Candidates, change: ProposedChange, name: str, word: Word, **words
                 ) -> Candidate:
    """Return a change of a file as the candidate `name`; `words` describe it, too."""
    words = {key: value for key, value in {**change, **words}.items() if key != "diff"}
    family = words.get("family")
    about = {"tier": "operator" if word == SCALE else word.name,
             "symbol": words.get("symbol") or ""}
    return candidate_of(
        name, change["diff"], about, repo=record.repo, environment=record.repo_name,
        base_commit=record.base_commit, direction=BREAKS, method=record.method, words=words,
        labels={"category": CATEGORY, "tags": [BUG, str(family or record.method)]},
        rules={"reduce_gold": True} if family == FEATURE else None)


def agents_candidates(root: Path) -> Reads:
    """Return the candidates of agents in bug/_candidates/. Leave out a change that an earlier file
    of the same repository and commit has."""
    store = Store(root, Candidates, only=is_of_agent)
    first: dict[tuple[str, str, str], str] = {}   # (repository, commit, change) → its file
    same: dict[str, str] = {}                     # why candidates are left out

    def candidates_in(item: str, record: Candidates) -> dict[str, Candidate]:
        _check_repository(record, store, item)
        candidates = {}
        for words in record.candidates:
            change = normalised(words["diff"])
            before = first.setdefault((record.repo_name, record.base_commit, change), item)
            name = f"{item}.{change[:8]}"
            candidates.setdefault(name, candidate_in(record, words, name, AGENT))
            if before != item:
                same[name] = f"it is the same change as {before}"
        return candidates

    return Reads(Derived(store, candidates_in), READ, made_by="bug_inject.inject",
                 leaves_out=lambda name, _: same.get(name, ""))


def scale_candidates(root: Path, within: Derived | None = None) -> Derived:
    """Return the files of candidates that agents did not make. Files whose makers are in `within`
    are never orphans. A file is broken if its name and its record give different repositories."""
    store = Store(root, Candidates, only=is_of_scale)

    def checked(name: str, record: Candidates) -> dict[str, Candidates]:
        _check_repository(record, store, name)
        return {name: record}

    def names_of(name: str) -> list[str]:
        return [name] if within is None or within.covers(name) else []

    return Derived(store, checked, also_reads=[within] if within else (), names_of=names_of,
                   keeps=store.covers)


def _check_repository(record: Candidates, store: Store, name: str) -> None:
    """Raise BrokenRecord if a file has candidates of another repository than its name says."""
    if name.rpartition(".")[0] != record.repo_name:
        raise BrokenRecord(f"holds candidates of another repository: {record.repo_name[:80]!r}",
                           str(store.path(name)), "Rename the file, or correct its repo_name.")


def operator_of(candidate: ProposedChange) -> str:
    """Return the name of the operator that made a candidate."""
    return str(candidate.get("operator") or BY_HAND)


def name_of(repo_name: str, candidate: ProposedChange) -> str:
    """Return the instance id of a candidate."""
    return f"{repo_name}.{operator_of(candidate)}.{normalised(candidate['diff'])[:8]}"
