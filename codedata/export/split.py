"""Train and validation by repository: no repository is in both, whatever the number of its turns."""
from __future__ import annotations

import hashlib
from collections.abc import Iterable

SPLITS = TRAIN, VALIDATION = "train", "validation"


def splits(repos: Iterable[str], share: float, seed: int) -> dict[str, str]:
    """{repository: split}. A repository's place follows from its name, the share and the seed alone.

    One exception: where nothing would be left to train on, the repository that is farthest from train's side goes
    there, and comes back when another one is in train. Names that differ in case are one repository.
    """
    places = {repo: _place(repo, seed) for repo in repos}
    out = {repo: VALIDATION if place < share else TRAIN for repo, place in places.items()}
    if out and TRAIN not in out.values():
        last = max(places.values())
        out.update({repo: TRAIN for repo, place in places.items() if place == last})
    return out


def _place(repo: str, seed: int) -> float:
    """0 up to 1, evenly."""
    data = hashlib.blake2b(f"{seed}:{repo.lower()}".encode(), digest_size=8).digest()
    return int.from_bytes(data, "big") / 2 ** 64
