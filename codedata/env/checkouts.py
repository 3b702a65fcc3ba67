"""Have the source of a repository at hand: a folder with its files to read the facts from, and
where sandboxes get the source from."""
from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from codedata.disk.locks import temporary_folder
from codedata.env.clones import SOURCES, checked_out, cloned, date_of, install_key
from codedata.env.inputs import Repository
from codedata.env.repository_facts import Facts
from codedata.errors import BrokenRecord, ItemFailed, Trouble
from codedata.records import Environment
from codedata.sandbox import Sandbox
from codedata.sandbox.copies import at_hand

DATED_AFTER = 180 * 86_400   # seconds, from which on today's packages are the second choice


@dataclass(frozen=True)
class Source:
    """Hold where a source is."""

    files: Path              # a folder with its files, to be read alone
    place: Path | None       # a folder of the driver's machine; None: it is in the image
    near: Path | None = None   # `place`, or a copy on this machine
    commit: str = ""         # "": HEAD with what is not committed
    committed_at: int = 0    # seconds since 1970; 0: not known

    @property
    def until(self) -> str:
        """Return the day of a commit that is older than DATED_AFTER; else ""."""
        is_old = 0 < self.committed_at < time.time() - DATED_AFTER
        return f"{datetime.fromtimestamp(self.committed_at, timezone.utc):%F}" if is_old else ""

    def install_key(self, base_image: str, facts: Facts) -> str:
        """Return the digest of what decides the install of a commit; "" where it has no date."""
        if not self.committed_at:
            return ""
        return install_key(self.near, self.commit, base_image, facts.brought, facts.decisive)


@contextmanager
def source_of(repository: Repository, root: Path,
              open_image: Callable[[], Sandbox]) -> Iterator[Source]:
    """Yield a repository's source. Addresses are cloned below `root`; without an address or a
    folder, open_image() opens a sandbox in whose working directory it is. Raise ItemFailed where a
    commit cannot be had."""
    if repository.origin:
        try:
            clone, commit = cloned(repository.origin, repository.base_commit,
                                   root / Environment.directory / SOURCES)
        except (Trouble, BrokenRecord) as e:
            raise ItemFailed(f"its source cannot be had: {e}") from e
        with at_hand(clone) as near, checked_out(near, commit) as files:
            yield Source(files, clone, near, commit, date_of(commit, near))
    elif repository.path:
        place = Path(repository.path)
        with at_hand(place) as near:
            yield Source(near, place, near)
    else:
        with temporary_folder() as folder:
            with open_image() as sandbox:
                sandbox.get(sandbox.workdir, Path(folder))
            yield Source(Path(folder), None, commit=repository.base_commit)
