"""Begin with the environment of a commit's nearest ancestor, so that only the difference is
installed."""
from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from codedata.disk.store import Store
from codedata.env.checkouts import Source
from codedata.env.clones import distance
from codedata.env.inputs import Repository
from codedata.env.planner import Planned
from codedata.env.verify import Verified, Verifier
from codedata.errors import BrokenRecord
from codedata.records import Environment
from codedata.run.talk import current_step
from codedata.suites.environments import SUCCESS, id_of


def nearest_ancestor(root: Path, repository: Repository, source: Source,
                     has_image: Callable[[str, str], bool]) -> Environment | None:
    """Return the environment of the nearest ancestor of a commit that is healthy, starts from the
    same base image and has its own image here; None where there is none. No descendant's: the
    layers of its image hold what came after the commit."""
    found: dict[int, Environment] = {}
    family, last = repository.repo_name[:-8], source.commit[:8]
    if not (source.committed_at and last and repository.repo_name.endswith(last)):
        return None
    store = Store(root, Environment).open()
    for name in store.names():
        with suppress(BrokenRecord):
            if name[:-8] != family:
                continue
            one = store.read(name)
            if (one.status == SUCCESS and one.verified.get("healthy") and one.base_commit
                    and (one.repo, one.base_image) == (repository.called, repository.base_image)
                    and has_image(one.image_name, id_of(one))):
                found[distance(one.base_commit, source.commit, source.near)] = one
    found.pop(0, None)   # no ancestors
    return found[min(found)] if found else None


def plan_as(verifier: Verifier, neighbour: Environment, key: str) -> Planned:
    """Return what a neighbour's scripts come to in its image: of what is installed there already,
    only the difference is installed. Where nothing differs that decides the install, whose digest
    is `key`, the neighbour's results count, too."""
    current_step().within = f"as {neighbour.repo_name}"
    known = neighbour.verified
    shown = Verified(results=neighbour.test_case_result, flaky=neighbour.flaky,
                     needs_network=known.get("needs_network", []))
    verified = replace(verifier, base_image=neighbour.image_name).verify(
        neighbour.install_script, neighbour.test_script, only_healthy=True,
        like=shown if known.get("install_key") == key else None)
    recipe = f"that of {neighbour.repo_name}"
    return Planned(neighbour.install_script, neighbour.test_script, verified, recipe,
                   [verified.as_attempt(recipe)], tuple(known.get("left_out", ())))
