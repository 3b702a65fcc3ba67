"""Tell whether a bug is still the one that was proven: whoever edits one of the fields below has
another bug, which no run has seen."""
from __future__ import annotations

from collections.abc import Mapping

from codedata.records import Bug
from codedata.store import digest

PROVEN = ("patch", "test_patch", "bug_patch", "FAIL_TO_PASS", "PASS_TO_PASS", "eval_script",
          "log_parser", "eval_type", "image", "image_name", "base_commit")


def evidence_digest(fields: Mapping) -> str:
    """Return the digest of what the runs are evidence for: `digest` of a Bug's evidence."""
    return digest({name: fields[name] for name in PROVEN})


def matches_evidence(bug: Bug) -> bool:
    """Return whether a bug's patches, tests and image are those that were proven."""
    return bug.evidence.get("digest") == evidence_digest(vars(bug))
