"""Tell whether a stripped patch is still the one that was proven: whoever edits one of the
fields below has another one, which no run has seen."""
from __future__ import annotations

from collections.abc import Mapping

from codedata.records import StripPatch
from codedata.store import digest

PROVEN_STRIP = ("patch", "test_patch", "FAIL_TO_PASS", "PASS_TO_PASS", "eval_script", "image_name",
                "base_commit")   # of a proof, beside the patch's own
OF_STRIP = ("functions", "diff")


def strip_digest(patch: StripPatch, proof: Mapping) -> str:
    """Return the digest of what the runs of a stripped patch are evidence for: `digest` of its
    proof."""
    return digest([{name: vars(patch)[name] for name in OF_STRIP},
                   {name: proof[name] for name in PROVEN_STRIP}])


def matches_proof(patch: StripPatch) -> bool:
    """Return whether a stripped patch, its tests and its image are those that were proven."""
    proof = patch.proof or {}
    return bool(proof) and proof["digest"] == strip_digest(patch, proof)
