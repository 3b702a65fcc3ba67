"""Implement pull requests as a kind of task: the gold is the request's change of code, the hidden
tests are the test files that it changes, in their new version.

Documentation and files that no test reads are in neither and stay unchanged. The gold also has
changes that do not belong to the request's purpose.
"""
from __future__ import annotations

import re
from dataclasses import replace

from codedata.code.entities import is_document, is_of_tests
from codedata.code.patches import files_of, hunks_of, n_changed_lines
from codedata.disk.store import Derived, Store
from codedata.pulls.instructions import own_text, tells
from codedata.records import PULL_REQUEST, SOLVES, Candidate, Commit, candidate_of
from codedata.run.stage import Reads, Stage
from codedata.sandbox.factory import SandboxFactory
from codedata.settings import Settings
from codedata.suites.environments import Environments
from codedata.suites.repo_names import repo_name_of
from codedata.tasks.prove.proof import PatchProver
from codedata.tasks.stages import Maker

MAX_FILES = 10       # files of code that a request may change
MAX_LINES = 400      # lines of code that a request may add or remove
CATEGORY = "software-engineering"   # one of Harbor's categories of tasks
# paths that count as not read by tests: settings of git, editors and CI; scripts of developers;
# dependencies, which are installed before the tests run
UNTESTED = re.compile(r"""(?:\A|/)\. | \.lockb?\Z | -lock\.(?:json|yaml)\Z
    | \A(?:appveyor\.yml|tox\.ini|tasks\.py|noxfile\.py)\Z
    | (?:\A|/)(?:[\w-]*requirements[\w-]*\.(?:txt|in)|requirements/.+)\Z""", re.VERBOSE)
# paths that are no code on their own; beside code, they belong to the gold
METADATA = re.compile(
    r"setup\.(?:py|cfg)|pyproject\.toml|package\.json|MANIFEST\.in|flake\.nix|LICEN[CS]E.*")
# the value of `told` if no program finds a giveaway; a model reads the text only after the proof
NOT_READ = "not read by a model before the proof"


def pull_request(commit: Commit) -> tuple[Candidate, str]:
    """Return (the candidate of a pull request, the reason for a refusal or ""). Refuse a request
    whose patch lacks git's headers, that changes no code or no text tests, or that changes more
    than MAX_FILES files or MAX_LINES lines of code."""
    code, tests = {}, dict(files_of(commit.test_patch))
    for path, text in files_of(commit.patch):
        if is_of_tests(path):
            tests[path] = text
        elif not (is_document(path) or UNTESTED.search(path)):
            code[path] = text
    change, test_patch = "".join(code.values()), "".join(tests.values())
    has_heads = all({hunk.path for hunk in hunks_of(patch)} <= dict(files_of(patch)).keys()
                    for patch in (commit.patch, commit.test_patch))
    not_text, is_binary = "\n@@ " not in test_patch, "\nGIT binary patch\n" in test_patch
    refusals = {"a patch lacks heads of git, diff --git a/FILE b/FILE": not has_heads,
                "the tests that it changes are not UTF-8": not_text and is_binary,
                "it changes no tests": not_text,
                "it changes no code": all(map(METADATA.fullmatch, code)),
                f"it changes more than {MAX_FILES} files of code": len(code) > MAX_FILES,
                f"it changes more than {MAX_LINES} lines of code":
                    n_changed_lines(change) > MAX_LINES}
    return candidate_of(
        commit.instance_id, change, {"tier": "real"}, test_patch, repo=commit.repo,
        environment=repo_name_of(commit.repo, commit.base_commit), base_commit=commit.base_commit,
        direction=SOLVES, method=PULL_REQUEST, licence=commit.licence,
        labels={"category": CATEGORY, "tags": ["swe"]}), next(
            (reason for reason, applies in refusals.items() if applies), "")


def pull_candidates(settings: Settings) -> Reads:
    """Return the pull requests in commit/ as candidates. Refused ones are left out."""
    refused: dict[str, str] = {}

    def made_of(name: str, commit: Commit) -> dict[str, Candidate]:
        candidate, refused[name] = pull_request(commit)
        return {name: candidate}

    return Reads(Derived(Store(settings.root, Commit), made_of, derived=False),
                 ("base_commit", "change", "tests", "config"), made_by="prompt",
                 leaves_out=lambda name, _: refused[name], command="prompt.py")


def candidates_stage(settings: Settings, after: str) -> Stage:
    """Return the stage that writes pull requests to candidate/. `after` fills commit/."""
    commits = Store(settings.root, Commit)

    def with_told(candidate: Candidate) -> Candidate:   # too slow to call in a plan
        commit = commits.read(candidate.name)
        about = {**candidate.config["about"],
                 "told": tells(commit, own_text(commit)) or NOT_READ}
        return replace(candidate, config={**candidate.config, "about": about})

    return Maker(settings.root, PULL_REQUEST).candidate_stage(
        "pr_tasks.candidates", pull_candidates(settings), with_told, after=after,
        then="pr_tasks.py --steps prove")


def proof_stage(settings: Settings, host: SandboxFactory) -> Stage:
    """Return the stage that proves pull requests."""
    return Maker(settings.root, PULL_REQUEST).prove_stage(
        "pr_tasks.prove", Environments(settings.root, unhealthy_too=True), PatchProver(host),
        after="pr_tasks.py --setup", then="pr_tasks.py --steps instruct")
