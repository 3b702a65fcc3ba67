"""Validate the contents of datapoints as items of a run: each is checked once, wherever its folder
lies and whatever it is called."""
from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from codedata.checks.approval import VALIDATOR, meta_faults
from codedata.checks.datapoints import read_datapoint
from codedata.code.environments import labelled
from codedata.datapoints.index_page import write_index
from codedata.datapoints.validate import MAX_LINE, NOT_BUILT, Validation
from codedata.errors import BrokenRecord, Trouble
from codedata.progress import current_step
from codedata.records import Datapoint, DatapointChecks
from codedata.run_loop import Stage
from codedata.sandbox import docker_engine
from codedata.sandbox.dockerfile import base_of
from codedata.sandbox.factory import SandboxFactory
from codedata.settings import Settings
from codedata.states import Reads, Writes
from codedata.store import Derived, Readers, Store, known
from codedata.texts import printable

KEYS = "content", "base_image", "validator"


@dataclass(frozen=True)
class Content:
    """Hold what is checked, and by what: equal ones are not checked again."""

    instance_id: str
    folder: str
    content: str
    base_image: str
    validator: str


def contents_in(folders: Iterable[Path], root: Path) -> Derived:
    """Return the contents of folders, by their digests. What was found of others stays."""
    checks = Store(root, DatapointChecks)

    def read_folders() -> Readers:
        checks.open()
        return {str(folder): partial(read_datapoint, folder) for folder in folders}

    def content_in(_folder: str, point: Datapoint) -> dict[str, Content]:
        return {point.content: content_of(point, known(checks, point.content))}

    return Derived(read_folders, content_in, place="the datapoints", derived=False,
                   keeps=lambda name: True)


def content_of(point: Datapoint, found: DatapointChecks | None) -> Content:
    """Return what of a datapoint is checked, and by what. Where no engine has its base image, that
    is taken for the one it was checked on."""
    base = docker_engine.image_id(base_of(point.dockerfile)) or (found.base_image if found else "")
    return Content(point.instance_id, point.folder, point.content, base, VALIDATOR)


def validate_stage(settings: Settings, host: SandboxFactory,
                   folders: Sequence[Path]) -> Stage:
    """Return the stage that checks contents. Raise Trouble where no images can be built."""
    if not host.makes_images:
        raise Trouble("builds no images.", f"--sandbox {host.name}", "Choose docker.")
    return Stage(
        "build_dp.validate", make=partial(checked, settings, host),
        reads=Reads(contents_in(folders, settings.root), KEYS),
        writes=Writes(Store(settings.root, DatapointChecks),
                      tuple(DatapointChecks.__dataclass_fields__), fault=not_built),
        cost_note="no calls: no model is asked",
        finish=lambda: write_index(settings.root, folders))


def checked(settings: Settings, host: SandboxFactory, content: Content,
            tell: Callable[[str], None] = lambda line: None) -> DatapointChecks:
    """Return what the checks find of a content, and tell of each that ends."""
    started = time.monotonic()
    current_step().within = content.instance_id[:30]   # the item is called by its digest
    with labelled(host, content.instance_id, "dp") as label:
        validation = Validation(read_datapoint(Path(content.folder)), host, label, tell)
        results = validation.run()
    return DatapointChecks(
        content.instance_id, content.content, content.base_image, content.validator,
        all(one["status"] == "passed" for one in results), results,
        [*dict.fromkeys(validation.review)], round(time.monotonic() - started, 2),
        round(validation.engine_s, 2))


def is_current(found: DatapointChecks, content: Content) -> bool:
    """Return whether checks were made of this content, on this base image, by this validator, and
    need not be made again."""
    is_same = all(getattr(found, key) == getattr(content, key) for key in KEYS)
    return is_same and not not_built(found)


def not_built(found: DatapointChecks) -> str:
    """Return why the image was not built, or "". A build may fail for want of the network, so that
    it is tried again."""
    return next((one["why"] for one in found.checks
                 if one["status"] == "failed" and one["why"].startswith(NOT_BUILT)), "")


def shown(point: Datapoint, found: DatapointChecks | None, profile: str = "") -> dict:
    """Return what is known of a datapoint. Its id and metadata are checked here, as part of
    `structure`: they may be corrected without new checks of its content."""
    faults = meta_faults(point, profile)
    checks = [*found.checks] if found else []
    if checks and faults:
        whys = [why for why in (checks[0]["why"], *faults) if why]
        checks[0] = {**checks[0], "status": "failed", "why": printable("; ".join(whys), MAX_LINE)}
    return {"id": point.instance_id, "content": point.content,
            "ok": bool(found and found.ok and not faults), "checks": checks,
            "review": found.review if found else []}


def results_of(root: Path, folders: Iterable[Path], profile: str) -> list[dict]:
    """Return what is known of each folder, as `validate --json` prints it: first of those that
    cannot be read."""
    store = Store(root, DatapointChecks).open()
    broken, results = [], []
    for folder in folders:
        try:
            point = read_datapoint(folder)
            results.append(shown(point, known(store, point.content), profile))
        except BrokenRecord as e:
            broken.append({"id": Path(e.where).name, "ok": False, "trouble": str(e)})
    return broken + results


def complaints(rows: Iterable[dict]) -> Iterator[str]:
    """Yield a line for each datapoint of results_of() that is not in order."""
    for row in rows:
        odd = [one for one in row.get("checks", []) if one["status"] != "passed"]
        first = [one for one in odd if one["status"] == "failed"] or odd   # others follow from it
        whys = "; ".join(f"{one['name']} {one['status']}: {one['why']}" for one in first)
        if not row["ok"]:
            yield f"{row['id']}: {row.get('trouble') or whys or 'not validated'}"
