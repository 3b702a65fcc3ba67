"""Decide whether a datapoint may be approved, and whether an approved one is still in its proven
state.

A status in the labels does not approve a datapoint: anyone may write it. Records in dp/_checks/ and
proof.json files are believed, although anyone can write them.
"""
from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from itertools import chain

from codedata.audit.cheats import RIVAL
from codedata.code.entities import language_of
from codedata.datapoints.datapoint_folder import (
    APPROVED,
    content_digest,
    context_of,
    labels_of,
    texts_of,
)
from codedata.records import DatapointChecks, RivalledTask, Task
from codedata.sandbox.images.dockerfile import read_dockerfile
from codedata.tasks.folder.task_folder import PROOF, config_faults, edited_parts, rivals_digest
from codedata.texts import toml_of

# required numbers of rivals: from a builder; from a reviewer before seeing the tests; from a
# reviewer before the approval
OF_BUILDER = {"right": 2, "wrong": 6}
BLIND = {"right-review": 1, "wrong-review": 3}
OF_REVIEW = {**BLIND, "cheat-review": 3}
KIND = re.compile(r"[a-z]+(-review(?=-))?")   # at the beginning of a rival's name
PROFILES = toml_of("codedata.datapoints", "profiles.toml")
TAXONOMY = toml_of("codedata.datapoints", "taxonomy.toml")


def categories() -> dict[str, list[str]]:
    """Return {profile: its categories}."""
    return {name: profile["categories"] for name, profile in PROFILES.items()}


def label_faults(task: Task, profile: str = "") -> list[str]:
    """Return the faults of a datapoint's id, of task.toml and of the number of its source files.
    The default profile is the datapoint's own."""
    labels = labels_of(task)
    profile = profile or str(labels.lineage.get("profile", ""))
    wanted = PROFILES.get(profile, {})
    allowed = wanted.get("categories") or [*chain.from_iterable(categories().values())]
    unknown = {*labels.tags} - {*TAXONOMY["tags"]}
    sources = [path for path in context_of(task) if language_of(path)]
    folders = {path.rpartition("/")[0] for path in sources}
    min_files, min_folders = wanted.get("min_files", 0), wanted.get("min_folders", 0)
    faults = {
        f"its id has other characters than a-z, 0-9, _ and -: {task.instance_id}":
            not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", task.instance_id),
        # it has no category until a reviewer assigns one
        f"{labels.category!r} is no category of {profile or 'all'}, take one of: "
        f"{', '.join(sorted({*allowed}))}":
            labels.category not in allowed and (labels.category or labels.status == APPROVED),
        "it has more than 3 tags": len({*labels.tags}) > 3,
        f"unknown tags: {', '.join(sorted(unknown))}; codedata/datapoints/taxonomy.toml has all":
            unknown,
        f"{labels.difficulty!r} is no difficulty, take one of: "
        f"{', '.join(TAXONOMY['difficulties'])}":
            labels.difficulty not in TAXONOMY["difficulties"],
        f"environment/ has {len(sources)} source files in {len(folders)} folders; {profile} wants "
        f"{min_files} in {min_folders}":
            len(sources) < min_files or len(folders) < min_folders}
    return [*(f"{one.place or 'its folder'}: {one.what}" for one in config_faults(task)),
            *(fault for fault, is_so in faults.items() if is_so)]


def approval_problem(task: RivalledTask, checks: DatapointChecks | None, base_image: str) -> str:
    """Return why a datapoint may not be approved, or "". `checks` are the known results for its
    content, None if there are none. `base_image` is the engine's id of the Dockerfile's base image;
    "" (the engine does not have it) is not compared."""
    if faults := label_faults(task):
        return "; ".join(faults)
    if fault := read_dockerfile(texts_of(task).dockerfile)[1]:
        return fault
    if not checks or (checks.content, checks.validator) != (content_digest(task), PROOF) or (
            checks.ok and not checks.audit):
        return "Its current content is not validated: run validate_datapoint"
    if checks.rivals != rivals_digest(task):
        return "Its current rivals are not tried: run validate_datapoint"
    if not checks.ok:
        failed = [one["name"] for one in checks.checks if one["status"] != "passed"]
        return f"These checks have not passed: {', '.join(failed)}"
    if base_image and checks.base_image not in ("", base_image):
        return f"It was validated on the base image {checks.base_image}; now that is {base_image}"
    return ""


def lacking_rivals(task: RivalledTask, wanted: Mapping[str, int]) -> str:
    """Return which rivals of a datapoint are missing, or "". `wanted` maps the start of their names
    to the required number."""
    found = Counter(KIND.match(name)[0] for name in task.rivals or {} if RIVAL.fullmatch(name))
    lacking = [f"{n} {kind}-*" for kind, n in wanted.items() if found[kind] < n]
    return f"rivals/ needs at least {', '.join(lacking)}" if lacking else ""


def is_as_proven(task: Task) -> bool:
    """Return whether the current validator version proved a datapoint's present content."""
    proof = task.proof or {}
    return bool(proof) and not edited_parts(task) and (
        proof.get("content"), proof.get("validator")) == (content_digest(task), PROOF)
