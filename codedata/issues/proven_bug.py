"""Read the bug of a proven task from its folder: the fix, the failing tests, the image."""
from __future__ import annotations

from dataclasses import dataclass, field

from codedata.records import Files, Task
from codedata.tasks.folder.task_folder import (
    GOLD,
    REVERSE,
    TEST_PATCH,
    TEST_SCRIPT,
    hidden_in,
    image_of,
    text_in,
    verifier_config,
)
from codedata.verifier.junit import restored_name


@dataclass(frozen=True)
class ProvenBug:
    """Hold the fields of a task's folder about its bug. In a task of a pull request, the code
    before the request counts as the bug, and the request as the fix."""

    instance_id: str
    repo: str
    language: str
    symbol: str              # id of the changed function, as in analysis/
    patch: str               # the gold patch: removes the bug
    bug_patch: str           # its reverse: introduces the bug
    FAIL_TO_PASS: list[str]  # escaped by junit.escaped_name()
    test_patch: str = ""
    hidden: Files = field(default_factory=dict)   # the tests that graders put in place, by path
    image: str = ""
    log: str = ""            # the end of the output of a run with the bug
    symbols: list[str] = field(default_factory=list)   # ids of all functions that the bug changes
    test_script: str = ""

    @classmethod
    def of(cls, task: Task) -> ProvenBug:
        """Return the bug of a task."""
        proof, failing = task.proof or {}, verifier_config(task).get("FAIL_TO_PASS")
        repo, language, symbol = (str(task.about.get(key) or "")
                                  for key in ("repo", "language", "symbol"))
        return cls(
            task.instance_id, repo, language, symbol, text_in(task.solution, GOLD),
            text_in(task.solution, REVERSE), [*map(str, failing or [])],
            text_in(task.tests, TEST_PATCH),
            hidden_in(task), image_of(task), str(proof.get("log") or ""),
            [*map(str, proof.get("symbols") or [])], text_in(task.tests, TEST_SCRIPT))

    @property
    def failing(self) -> list[str]:
        """Return the sorted names of the tests that fail with the bug, spelled as in env/."""
        return sorted(map(restored_name, self.FAIL_TO_PASS))
