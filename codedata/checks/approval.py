"""Say whether a datapoint may be exported: it is approved as it is, its metadata are in order, and
the validator has found all checks passed of this very content.

The metadata alone approve nothing: they lie beside the content, and anybody may write them. It is
not proven who wrote a record of dp/_checks/.
"""
from __future__ import annotations

import re
from itertools import chain

from codedata.code.entities import language_of
from codedata.records import Datapoint, DatapointChecks
from codedata.sandbox.dockerfile import read_dockerfile
from codedata.texts import toml_of

VALIDATOR = "1"   # to be raised where the checks of a content would find something else
PROFILES = toml_of("codedata.datapoints", "profiles.toml")
TAXONOMY = toml_of("codedata.datapoints", "taxonomy.toml")
APPROVED = "approved"


def categories() -> dict[str, list[str]]:
    """Return the categories of each profile."""
    return {name: profile["categories"] for name, profile in PROFILES.items()}


def meta_faults(point: Datapoint, profile: str = "") -> list[str]:
    """Return what is wrong with the id and the metadata of a datapoint, which are no part of its
    content, and whether it is as large as its profile wants: the one that it was built for, where
    none is given."""
    meta = point.meta
    profile = profile or str(meta.lineage.get("profile", ""))
    wanted = PROFILES.get(profile, {})
    allowed = wanted.get("categories") or [*chain.from_iterable(categories().values())]
    unknown = {*meta.tags} - {*TAXONOMY["tags"]}
    sources = [path for path in point.files if language_of(path)]
    folders = {path.rpartition("/")[0] for path in sources}
    min_files, min_folders = wanted.get("min_files", 0), wanted.get("min_folders", 0)
    faults = {
        f"its id has other characters than a-z, 0-9, _ and -: {point.instance_id}":
            not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", point.instance_id),
        # a reviewer gives it category and tags
        f"{meta.category!r} is no category of {profile or 'all'}":
            meta.category not in allowed and (meta.category or meta.status == APPROVED),
        "it has more than 3 tags": len({*meta.tags}) > 3,
        f"unknown tags: {', '.join(sorted(unknown))}": unknown,
        f"{meta.difficulty!r} is no difficulty": meta.difficulty not in TAXONOMY["difficulties"],
        f"files/ has {len(sources)} source files in {len(folders)} folders; {profile} wants "
        f"{min_files} in {min_folders}":
            len(sources) < min_files or len(folders) < min_folders}
    return [fault for fault, is_so in faults.items() if is_so]


def approval_problem(point: Datapoint, found: DatapointChecks | None,
                     base_image: str) -> tuple[str, str] | None:
    """Return why a datapoint may not be approved, or None. `found` is what the validator has found
    of its content, `base_image` the engine's id of what its dockerfile begins with, "" where there
    is none."""
    if faults := meta_faults(point):
        return "metadata", "; ".join(faults)
    if fault := read_dockerfile(point.dockerfile)[1]:
        return "dockerfile", fault
    if not found or (found.content, found.validator) != (point.content, VALIDATOR):
        return "not validated", "It is not validated as it is: validate_datapoint"
    if not found.ok:
        failed = [one["name"] for one in found.checks if one["status"] != "passed"]
        return "not validated", f"These checks have not passed: {', '.join(failed)}"
    if base_image and found.base_image not in ("", base_image):
        return "another base image", f"Validated was {found.base_image}, here it is {base_image}"
    return None
