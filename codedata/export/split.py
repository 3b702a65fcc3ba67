"""Split into train and validation by repository, so that no repository is in both."""
import hashlib
from collections.abc import Iterable

SPLITS = TRAIN, VALIDATION = "train", "validation"
MIN_ROWS = 20              # smallest set that is split


def splits(repos: Iterable[str], share: float) -> dict[str, str]:
    """Return {repository: split}, given the repository of each row. `share`, from 0 to 1, goes to
    validation. Fewer than MIN_ROWS rows all go to train.

    Otherwise the split of a repository depends only on its name (ignoring case), and the share. If
    train would be empty, the repository with the highest hash goes there.
    """
    repos = [*repos]
    share = share if len(repos) >= MIN_ROWS else 0
    places = {repo: _place(repo) for repo in repos}
    out = {repo: VALIDATION if place < share else TRAIN for repo, place in places.items()}
    if out and TRAIN not in out.values():
        last = max(places.values())
        out.update({repo: TRAIN for repo, place in places.items() if place == last})
    return out


def _place(repo: str) -> float:
    """Return a hash of a repository's name, evenly distributed from 0 to 1."""
    # the prefix "0:", once a seed, keeps the splits of earlier versions
    data = hashlib.blake2b(f"0:{repo.lower()}".encode(), digest_size=8).digest()
    return int.from_bytes(data, "big") / 2 ** 64
