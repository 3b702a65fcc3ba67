"""Split into train and validation by repository, so that no repository is in both."""
from __future__ import annotations

import hashlib
from collections.abc import Iterable

SPLITS = TRAIN, VALIDATION = "train", "validation"


def splits(repos: Iterable[str], share: float, seed: int) -> dict[str, str]:
    """Return {repository: split}, where `share` from 0 to 1 is the part that goes to validation.

    The split of a repository follows from its name, the share and the seed alone, ignoring case.
    Where train would be empty, the repository with the highest hash goes there, for as long as no
    other one does.
    """
    places = {repo: _place(repo, seed) for repo in repos}
    out = {repo: VALIDATION if place < share else TRAIN for repo, place in places.items()}
    if out and TRAIN not in out.values():
        last = max(places.values())
        out.update({repo: TRAIN for repo, place in places.items() if place == last})
    return out


def _place(repo: str, seed: int) -> float:
    """Return a hash of a repository's name, evenly distributed from 0 to 1."""
    data = hashlib.blake2b(f"{seed}:{repo.lower()}".encode(), digest_size=8).digest()
    return int.from_bytes(data, "big") / 2 ** 64
