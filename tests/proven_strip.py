"""Write stripped patches and their documents as nl2repo.py leaves them; and prove one of heron.

    write_strip(root, "heron.function.0123abcd")      # proven and documented, without any run
"""
from __future__ import annotations

import difflib
from pathlib import Path

import proof_heron
from conftest import write_json

from codedata.checks.evidence import strip_digest
from codedata.records import RepoDocument, RepoMeta, StripPatch
from codedata.tasks.eval_script import eval_script
from codedata.tasks.prove import Proof
from codedata.tasks.tests_folder import suite_tests
from codedata.tasks.verifier.junit import escaped_name

WORDS = "heron.py::words"
BODY = f"{proof_heron.GOLD_LINE}\n"
STRIPPED = '    raise NotImplementedError("words")\n'
COMMIT = "a" * 40


def strip_diff(old: str, new: str) -> str:
    """Return the patch in git's form that makes `new` of heron.py."""
    lines = difflib.unified_diff(old.splitlines(True), new.splitlines(True), "a/heron.py",
                                 "b/heron.py")
    return "diff --git a/heron.py b/heron.py\n" + "".join(lines)


STRIP = strip_diff(proof_heron.HERON, proof_heron.HERON.replace(BODY, STRIPPED))
GOLD = strip_diff(proof_heron.HERON.replace(BODY, STRIPPED), proof_heron.HERON)


def a_strip(instance_id: str, proof: Proof | None = None, **more) -> StripPatch:
    """Return a patch of which a proof says that it strips `words`, with other fields of the proof
    by name."""
    name = instance_id.partition(".")[0]
    shown = proof or Proof(patch=GOLD, fail_to_pass=["tests/test_words.py::test_none"],
                           pass_to_pass=["tests/test_depths.py::test_fly"], base_commit="b" * 40,
                           eval_script=eval_script(suite_tests("pytest\n")),
                           created_at="2024-05-01T00:00:00Z")
    fields = {
        "proven": not shown.trouble, "reason": shown.trouble, "patch": shown.patch,
        "test_patch": shown.test_patch, "tests_visible": shown.tests_visible,
        "FAIL_TO_PASS": [*map(escaped_name, shown.fail_to_pass)],
        "PASS_TO_PASS": [*map(escaped_name, shown.pass_to_pass)],
        "image_name": shown.image.name or f"codedata-bug/{instance_id}:1",
        "base_commit": shown.base_commit, "eval_script": shown.eval_script,
        "created_at": shown.created_at, "runs": shown.runs, "log": "", "verifier": {},
        "seconds": 1.0, **more}
    patch = StripPatch(instance_id, f"birds/{name}", name, COMMIT, "function", [WORDS], ["0" * 16],
                       STRIP, {"verdict": "good"}, {**fields, "digest": ""})
    patch.proof["digest"] = strip_digest(patch, fields)
    return patch


def write_strip(root: Path, instance_id: str = "heron.function.0123abcd",
                proof: Proof | None = None, **more) -> StripPatch:
    """Write a patch, the document of its repository, and what is known of that."""
    patch = a_strip(instance_id, proof, **more)
    name = patch.repo_name
    of_repository = {"repo": patch.repo, "repo_name": name, "base_commit": COMMIT}
    write_json(root / f"{StripPatch.directory}/{instance_id}.json", vars(patch))
    write_json(root / f"{RepoDocument.directory}/{name}.json", {
        **of_repository, "licence": "MIT", "index": {}, "checks": {}, "sections": [
            {"name": f"{name}.project", "subject": "", "title": "heron",
             "text": "# heron\n\nWhat herons do.\n"},
            {"name": f"{name}.00000000", "subject": "heron.py::fly", "title": "fly",
             "text": "## fly\n\nReturn `away`.\n"},
            {"name": f"{name}.11111111", "subject": WORDS, "title": "words",
             "text": "## words\n\nReturn the lower-case words of a text.\n"}]})
    write_json(root / f"{RepoMeta.directory}/{name}.json", {
        **of_repository, "licence": "MIT", "summary": "", "dependencies": [], "imports": [],
        "files": [], "lines": 10, "entities": {}, "stable_tests": [], "flaky_tests": []})
    return patch
