"""Validate the contents of datapoints as items of a run: each is checked once, wherever its folder
lies and whatever it is called."""
from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
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
from codedata.store import Store, View, known
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


class Contents(View):
    """List the contents of folders, by their digests."""

    cls, place = Content, "the datapoints"

    def __init__(self, folders: Iterable[Path], root: Path):
        super().__init__()
        self.folders, self._checks = [*folders], Store(root, DatapointChecks)
        self.points: list[Datapoint] = []       # those that could be read, in their order
        self._by_content: dict[str, Datapoint] = {}

    def open(self) -> Contents:
        """Read the folders, and return self."""
        for folder in self.folders:
            try:
                self.points.append(read_datapoint(folder))
            except BrokenRecord as e:
                self.broken.append(e)
        self._by_content = {point.content: point for point in self.points}
        self._checks.open()
        return self

    def names(self):
        """Return the contents."""
        return self._by_content.keys()

    def covers(self, name: str) -> bool:
        """Return True: what was found of others stays."""
        return True

    def read(self, name: str) -> Content:
        """Return a content."""
        return content_of(self._by_content[name], known(self._checks, name))


def content_of(point: Datapoint, found: DatapointChecks | None) -> Content:
    """Return what of a datapoint is checked, and by what. Where no engine has its base image, that
    is taken for the one it was checked on."""
    base = docker_engine.image_id(base_of(point.dockerfile)) or (found.base_image if found else "")
    return Content(point.instance_id, point.folder, point.content, base, VALIDATOR)


def validate_stage(settings: Settings, host: SandboxFactory, contents: Contents) -> Stage:
    """Return the stage that checks contents. Raise Trouble where no images can be built."""
    if not host.makes_images:
        raise Trouble("builds no images.", f"--sandbox {host.name}", "Choose docker.")
    return Stage(
        "build_dp.validate", make=partial(checked, settings, host),
        reads=Reads(contents, KEYS),
        writes=Writes(Store(settings.root, DatapointChecks),
                      tuple(DatapointChecks.__dataclass_fields__), fault=not_built),
        cost_note="no calls: no model is asked",
        finish=lambda: write_index(settings.root, contents.folders))


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


def results_of(root: Path, contents: Contents, profile: str) -> list[dict]:
    """Return what is known of each folder, as `validate --json` prints it."""
    store = Store(root, DatapointChecks).open()
    return [*({"id": Path(error.where).name, "ok": False, "trouble": str(error)}
              for error in contents.broken),
            *(shown(point, known(store, point.content), profile) for point in contents.points)]


def complaints(rows: Iterable[dict]) -> Iterator[str]:
    """Yield a line for each datapoint of results_of() that is not in order."""
    for row in rows:
        odd = [one for one in row.get("checks", []) if one["status"] != "passed"]
        first = [one for one in odd if one["status"] == "failed"] or odd   # others follow from it
        whys = "; ".join(f"{one['name']} {one['status']}: {one['why']}" for one in first)
        if not row["ok"]:
            yield f"{row['id']}: {row.get('trouble') or whys or 'not validated'}"
