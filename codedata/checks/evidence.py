"""Tell whether a bug or a stripped patch is still the one that was proven: whoever edits one of the
fields below has another one, which no run has seen."""
from __future__ import annotations

from collections.abc import Mapping

from codedata.records import Bug, StripPatch
from codedata.store import digest

PROVEN = ("patch", "test_patch", "bug_patch", "FAIL_TO_PASS", "PASS_TO_PASS", "eval_script",
          "log_parser", "eval_type", "image", "image_name", "base_commit")
PROVEN_STRIP = ("patch", "test_patch", "FAIL_TO_PASS", "PASS_TO_PASS", "eval_script", "image_name",
                "base_commit")   # of a proof, beside the patch's own
OF_STRIP = ("functions", "diff")


def evidence_digest(fields: Mapping) -> str:
    """Return the digest of what the runs are evidence for: `digest` of a Bug's evidence."""
    return digest({name: fields[name] for name in PROVEN})


def matches_evidence(bug: Bug) -> bool:
    """Return whether a bug's patches, tests and image are those that were proven."""
    return bug.evidence.get("digest") == evidence_digest(vars(bug))


def strip_digest(patch: StripPatch, proof: Mapping) -> str:
    """Return the digest of what the runs of a stripped patch are evidence for: `digest` of its
    proof."""
    return digest([{name: vars(patch)[name] for name in OF_STRIP},
                   {name: proof[name] for name in PROVEN_STRIP}])


def matches_proof(patch: StripPatch) -> bool:
    """Return whether a stripped patch, its tests and its image are those that were proven."""
    proof = patch.proof or {}
    return bool(proof) and proof["digest"] == strip_digest(patch, proof)
