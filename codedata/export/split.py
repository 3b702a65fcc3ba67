"""Split into train and validation by repository, so that no repository is in both."""
import hashlib
from collections.abc import Iterable

SPLITS = TRAIN, VALIDATION = "train", "validation"
MIN_ROWS = 20              # of a set that is split


def splits(repos: Iterable[str], share: float, seed: int) -> dict[str, str]:
    """Return {repository: split} of rows, given the repository of each, where `share` from 0 to 1
    is the part that goes to validation. Fewer than MIN_ROWS rows are all in train.

    Else the split of a repository follows from its name, the share and the seed alone, ignoring
    case. Where train would be empty, the repository with the highest hash goes there, for as long
    as no other one does.
    """
    repos = [*repos]
    share = share if len(repos) >= MIN_ROWS else 0
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
