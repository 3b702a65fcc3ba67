"""Say what kind of tasks is wanted (profiles.toml), and check a datapoint's metadata by it."""
from __future__ import annotations

import re
from itertools import chain

from codedata.code.entities import language_of
from codedata.records import Datapoint
from codedata.settings import Settings
from codedata.texts import fill, text_of, toml_of

PROFILES = toml_of(__package__, "profiles.toml")
TAXONOMY = toml_of(__package__, "taxonomy.toml")
TASK_TYPES = {"idea": "generate_idea", "builder": "build_datapoint", "review": "review_datapoint"}
# what a role begins with: for an agent with a shell, and for one with tools
MATERIAL = {"idea": ("`seed_data` of the task", "the files in /desk/seed"),
            "builder": ("`get_artifact`",
                        "/desk/draft.md; what an earlier try has staged is in /desk/datapoint"),
            "review": ("`read_datapoint`, with `--name PATH` what lies in `files/`",
                       "the folder /desk/datapoint, at most 20,000 characters at a time, for the "
                       "middle of a longer output is left out (`read_datapoint` shows the same)")}


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
            meta.category not in (*allowed, ""),
        "it has more than 3 tags": len({*meta.tags}) > 3,
        f"unknown tags: {', '.join(sorted(unknown))}": unknown,
        f"{meta.difficulty!r} is no difficulty": meta.difficulty not in TAXONOMY["difficulties"],
        f"files/ has {len(sources)} source files in {len(folders)} folders; {profile} wants "
        f"{min_files} in {min_folders}":
            len(sources) < min_files or len(folders) < min_folders}
    return [fault for fault, is_so in faults.items() if is_so]


def instructions(role: str, settings: Settings, is_inside: bool = False) -> str:
    """Return how the work of a role is done, by an agent with a shell, or inside by one with
    tools."""
    dp, profile = settings.dp, PROFILES[settings.dp.profile]
    texts = {key: ", ".join(value) if isinstance(value, list) else str(value)
             for key, value in profile.items()}
    size = (f"`files/` has at least {profile['min_files']} source files in "
            f"{profile['min_folders']} folders. ") if profile["min_files"] else ""
    how = text_of(__package__, "roles/inside.md" if is_inside else "roles/outside.md").strip()
    return fill(text_of(__package__, f"roles/{role}/workflow_instructions.md"), **texts, size=size,
                how=fill(how, type=TASK_TYPES[role]), material=MATERIAL[role][is_inside],
                base_image=dp.base_image or settings.sandbox.base_image,
                max_validations=str(dp.max_validations))
