"""Measure how the verifier of a stripped patch runs its tests, for nl2repo.py, until its maker
writes task/ itself."""
from __future__ import annotations

import itertools
import os
import shlex
from collections.abc import Mapping

from codedata.errors import Excluded
from codedata.records import StripPatch
from codedata.sandbox.factory import WORKDIR, SandboxFactory
from codedata.tasks.eval_script import files_in
from codedata.tasks.folder import ARCHIVE, HIDDEN, TEST_SCRIPT
from codedata.tasks.tests_folder import TestFiles, seconds_for_tests, suite_tests
from codedata.texts import fill, printable, text_of

HOW = {"user": "nobody", "canary": ""}   # a verifier runs tests, where a proof does not say
GRADE = ("mkdir -p /logs/verifier; cd /tests && bash solve.sh && sh collect.sh && bash test.sh; "
         "echo reward $(cat /logs/verifier/reward.txt)")


def touched(patch: StripPatch) -> list[str]:
    """Return the paths of the files that a patch changes."""
    return sorted({name.partition("::")[0] for name in patch.functions})


def solution(patch: StripPatch) -> str:
    """Return the script that writes the bodies again."""
    return fill(text_of("codedata.export", "strip_solve.sh"), patch=patch.proof["patch"])


def collect_script(patch: StripPatch) -> str:
    """Return the script that writes the archive of an agent's work."""
    return fill(text_of("codedata.export", "strip_collect.sh"), archive=ARCHIVE,
                touched=shlex.join(touched(patch)), commit=patch.proof["base_commit"])


def verifier_files(patch: StripPatch, how: Mapping[str, str], timeout_s: float) -> TestFiles:
    """Return {path: text} of what a verifier needs that has so many seconds. It reads JUnit XML
    alone: an agent's code could print the rest."""
    proof = patch.proof
    proven = files_in(proof["eval_script"])
    hidden = {path.partition("/")[2]: text.encode() for path, text in proven.items()
              if path.startswith(f"{HIDDEN}/")}
    names = {name: proof[name] for name in ("FAIL_TO_PASS", "PASS_TO_PASS")}
    return suite_tests(proven[TEST_SCRIPT], hidden, workdir=WORKDIR, counts=touched(patch),
                       timeout_s=seconds_for_tests(timeout_s), **names, **how)


def measured_verifier(factory: SandboxFactory, patch: StripPatch, label: str) -> dict[str, str]:
    """Return how a verifier runs the tests of a proven patch such that its gold patch gets the
    whole reward, for `verifier` of its proof: as which user, and in which folder a test lies that
    has to fail; "" where such a test is not run. Raise Excluded where there is no way."""
    test = patch.proof["FAIL_TO_PASS"][0].partition("::")[0]
    folders = [os.path.dirname(test) or ".", ""] if test.endswith(".py") else [""]
    for user, folder in itertools.product((HOW["user"], "root"), folders):
        how = {"user": user, "canary": folder}
        printed = _graded_gold(factory, patch, how, label)
        if printed.endswith("reward 1.0"):
            return how
    raise Excluded(f"its verifier does not reward the gold patch: {printable(printed[-500:])}",
                   patch.id)


def _graded_gold(factory: SandboxFactory, patch: StripPatch, how: Mapping[str, str],
                 label: str) -> str:
    """Return what a verifier prints of the gold patch, and the reward behind it."""
    files = verifier_files(patch, how, factory.run_timeout_s)
    files |= {"solve.sh": solution(patch), "collect.sh": collect_script(patch)}
    with factory.open(patch.proof["image_name"], label, default_rights=True) as sandbox:
        sandbox.put({name: text.encode() for name, text in files.items()}, "/tests")
        return sandbox.run(GRADE, timeout_s=factory.run_timeout_s).output.strip()
