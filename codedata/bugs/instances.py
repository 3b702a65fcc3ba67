"""Read the candidates of bugs, and tell by a name which subcommand of bug_inject.py made a bug.
`agent` and `scale` write to the same directories; each subcommand ignores the other's bugs."""
from __future__ import annotations

import re
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


# candidates --------------------------------------------------------------------------------------

def candidate_in(record: Candidates, change: ProposedChange, name: str, tier: str, **words
                 ) -> Candidate:
    """Return a change from a file of candidates as a Candidate. Add `words` to its own fields."""
    words = {key: value for key, value in {**change, **words}.items() if key != "diff"}
    family, symbol = words.get("family"), words.get("symbol") or ""
    return candidate_of(
        name, change["diff"], {"tier": tier, "symbol": symbol}, repo=record.repo,
        environment=record.repo_name, base_commit=record.base_commit, direction=BREAKS,
        method=record.method, words=words,
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
            candidates.setdefault(name, candidate_in(record, words, name, "agent"))
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
