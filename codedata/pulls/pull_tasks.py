"""Implement pull requests as a kind of task: the gold is the request's change of code, the hidden
tests are the test files that it changes, in their new version.

Documentation and files that no test reads are in neither and stay unchanged. The gold also has
changes that do not belong to the request's purpose.
"""
from __future__ import annotations

import re
from dataclasses import dataclass
from statistics import mode

from codedata.code.entities import is_document, is_of_tests, language_of
from codedata.code.patches import files_of, hunks_of, n_changed_lines
from codedata.disk.store import Derived, Store, digest
from codedata.pulls.instructions import own_text, tells
from codedata.records import PULL_REQUEST, Commit, Environment, Object, Task
from codedata.run.stage import Reads
from codedata.settings import Settings
from codedata.suites.repo_names import repo_name_of
from codedata.tasks.prove.kinds import Candidate, PatchKind
from codedata.tasks.prove.run_suite import FirstRun, ScreeningRules

ALL = 1.0            # share of the tests that may fail before a request
MAX_FILES = 10       # files of code that a request may change
MAX_LINES = 400      # lines of code that a request may add or remove
CATEGORY = "software-engineering"   # one of Harbor's categories of tasks
# settings of git, editors and CI; scripts of developers; dependencies, which are installed before
# tests
UNTESTED = re.compile(r"""(?:\A|/)\. | \.lockb?\Z | -lock\.(?:json|yaml)\Z
    | \A(?:appveyor\.yml|tox\.ini|tasks\.py|noxfile\.py)\Z
    | (?:\A|/)(?:[\w-]*requirements[\w-]*\.(?:txt|in)|requirements/.+)\Z""", re.VERBOSE)
# the value of `told` if no program finds a giveaway: a model reads the text only after the proof
NOT_READ = "not read by a model before the proof"


@dataclass(frozen=True)
class PullRequest(Candidate):
    """Hold a pull request; its `diff` changes only code."""

    tests: str = ""          # its patch of test files


def pull_request(commit: Commit) -> PullRequest:
    """Return the pull request of a record. Refuse it if it changes no code or no tests, or more
    than MAX_FILES files or MAX_LINES lines of code."""
    code, tests = {}, dict(files_of(commit.test_patch))
    for path, text in files_of(commit.patch):
        if is_of_tests(path):
            tests[path] = text
        elif not (is_document(path) or UNTESTED.search(path)):
            code[path] = text
    n_lines = n_changed_lines("".join(code.values()))
    has_heads = all({hunk.path for hunk in hunks_of(patch)} <= dict(files_of(patch)).keys()
                    for patch in (commit.patch, commit.test_patch))
    refusals = {"a patch lacks heads of git, diff --git a/FILE b/FILE": not has_heads,
                "it changes no tests": "\n@@ " not in "".join(tests.values()),
                "it changes no code": not code,
                f"it changes more than {MAX_FILES} files of code": len(code) > MAX_FILES,
                f"it changes more than {MAX_LINES} lines of code": n_lines > MAX_LINES}
    return PullRequest(
        commit.instance_id, repo_name_of(commit.repo, commit.base_commit), commit.base_commit,
        "".join(code.values()), commit.instance_id, PULL_REQUEST,
        refused=next((reason for reason, applies in refusals.items() if applies), ""),
        tests="".join(tests.values()))


class Pulls(PatchKind):
    """Implement pull requests as a kind of task."""

    name, label = PULL_REQUEST, "pr"
    rules = ScreeningRules(ALL, counts_missing=True)

    def __init__(self, settings: Settings):
        root = settings.root
        self._commits = Store(root, Commit)

        def candidates_of(name: str, commit: Commit) -> dict[str, PullRequest]:
            return {name: pull_request(commit)}

        self.tasks = Store(root, Task, kind=PULL_REQUEST)
        self.candidates = Reads(Derived(self._commits, candidates_of, derived=False),
                                ("base_commit", "diff", "tests", "refused"), made_by="prompt",
                                command="prompt.py")

    def described(self, candidate: PullRequest, run: FirstRun, environment: Environment
                  ) -> tuple[Object, Object]:
        """Return a request's fields for task.toml, and {} for proof.json."""
        commit = self._commits.read(candidate.name)
        languages = [language_of(path) for path, _ in files_of(candidate.diff)]
        language = mode([*filter(None, languages)] or [None])
        return {"method": PULL_REQUEST, "language": language, "licence": commit.licence,
                "new_names": commit.new_names,
                "told": tells(commit, own_text(commit)) or NOT_READ,
                "labels": {"category": CATEGORY, "tags": [*filter(None, (language, "swe"))]},
                "made_from": {"directory": Commit.directory, "item": candidate.item,
                              "digest": digest([candidate.diff, candidate.tests])}}, {}
