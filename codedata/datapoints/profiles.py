"""Fill in the instructions of the roles with the values of a profile (profiles.toml), and list the
values that neither a datapoint nor a draft has."""
from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

from codedata.bounded import inside, read_bounded
from codedata.datapoints.approval import PROFILES
from codedata.datapoints.datapoint_folder import CANCELLED, DP, DRAFTS, labels_of, readable
from codedata.datapoints.task_queue import ROLES
from codedata.errors import BrokenRecord
from codedata.settings import DpSettings
from codedata.texts import fill, text_of

# the input of a role: for an agent with a shell, and for an agent with tools in a sandbox
MATERIAL = {"idea": ("`seed_data` of the task", "the files in /desk/seed"),
            "builder": ("`get_artifact`",
                        "/desk/draft.md; what an earlier try has staged is in /desk/datapoint"),
            "review": ("`read_datapoint`, with `--name PATH` a file beside its Dockerfile",
                       "the folder /desk/datapoint, at most 20,000 characters at a time, since "
                       "the middle of longer output is left out (`read_datapoint` shows the same, "
                       "and after step 2 tests, solution and rivals)")}


KINDS = "categories", "languages", "stacks"
MAX_VALIDATIONS = 6   # a draft is given up after this many failed validations
TECHNOLOGIES = re.compile(r"^#+ Key Technologies\s*$(.*?)(?=^#|\Z)", re.MULTILINE | re.DOTALL)


def gaps_in(root: Path, profile: str) -> dict[str, list[str]]:
    """Return the unused categories, languages and stacks of a profile: no datapoint has them in
    its labels (unless it is cancelled), and no draft in its section Key Technologies."""
    found = []
    for labels in map(labels_of, readable(root)):
        if labels.status != CANCELLED:
            found += [labels.category, *labels.tags, *labels.languages]
    for draft in sorted(Path(root, DP, DRAFTS).glob("*.md")):
        with suppress(OSError, BrokenRecord):   # skip unreadable drafts
            text = read_bounded(inside(root, DP, DRAFTS, draft.name)).decode(errors="replace")
            found += TECHNOLOGIES.findall(text)
    shown = "\n".join(found).lower()
    return {kind: [name for name in PROFILES[profile][kind]
                   if not re.search(rf"(?<!\w){re.escape(name.lower())}(?!\w)", shown)]
            for kind in KINDS}


def instructions(role: str, dp: DpSettings, base_image: str, is_inside: bool = False) -> str:
    """Return the instructions of a role for an agent with a shell, or, if `is_inside`, for one with
    tools in a sandbox of `base_image`."""
    profile = PROFILES[dp.profile]
    texts = {key: ", ".join(value) if isinstance(value, list) else str(value)
             for key, value in profile.items()}
    size = (f"`files/` has at least {profile['min_files']} source files in "
            f"{profile['min_folders']} folders. ") if profile["min_files"] else ""
    type = next(type for type in ROLES if ROLES[type] == role)
    how = text_of(__package__, "roles/inside.md" if is_inside else "roles/outside.md").strip()
    return fill(text_of(__package__, f"roles/{role}/workflow_instructions.md"), **texts, size=size,
                how=fill(how, type=type), material=MATERIAL[role][is_inside],
                base_image=base_image, max_validations=str(MAX_VALIDATIONS))
