"""Take commits of a repository back, as its newest text has them: the step `generate` of
bug_inject.py scale with --strategy history. Report such bugs in the words of the commits.

This machine's git (2.38 or newer) reads the history of the environment's image, and merges as for a
revert, also after renames. Only files of the program change. A commit whose lines later ones have
changed is left out. Not promised: that a commit mended something.
"""
from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from codedata.bugs.effects import symbols_at
from codedata.bugs.generate import ProgramCache, SelectedSources, candidate_of, generate_stage
from codedata.bugs.issue_checks import Hidden
from codedata.checks.requests import names_brought, own_words, request_problems
from codedata.code.entities import is_of_tests, is_test_file, language_of
from codedata.code.git import MAX_OUTPUT, git_output, own_repository, run_git
from codedata.code.operators.syntax import syntax_of
from codedata.code.patches import diff_of, hunks_of, n_changed_lines, normalised
from codedata.disk.locks import temporary_folder
from codedata.disk.store import Derived, Store
from codedata.leak.hidden import NAME
from codedata.records import BugConfig, BugReport, ProposedChange, Task
from codedata.run.stage import Stage
from codedata.sandbox import Sandbox
from codedata.sandbox.archives import UnsafeArchive
from codedata.sandbox.factory import SandboxFactory
from codedata.settings import Settings

HISTORY = "history"
MAX_COMMITS = 2_000        # the newest of a history
MAX_LINES = 150            # that a candidate adds or removes
NO_COMMIT = "has no history in its image of which a commit could be taken back."
FORMS = ("This change is missing:\n\n{}\n", "Please make this change:\n\n{}\n", "Wanted:\n\n{}\n",
         "{}\n\nThe code does not have this change yet. Please make it.\n")


def history_stage(settings: Settings, host: SandboxFactory, *stores: Derived | Store) -> Stage:
    """Return the stage whose candidates take commits back."""
    return generate_stage(settings, HISTORY, ProgramCache(host, reversed_commits), NO_COMMIT,
                          *stores)


def reversed_commits(program: SelectedSources, config: BugConfig,
                     sandbox: Sandbox) -> list[ProposedChange]:
    """Return as many different candidates as a config asks for. Commits that also change tests come
    first, then newer ones."""
    if not sandbox.run("git -c safe.directory='*' rev-parse -q --verify HEAD~1").ok:
        return []
    with temporary_folder() as folder:
        sandbox.get(".git", folder / ".git")
        with own_repository(folder) as own:
            commits = run_git(own, "rev-list", "--no-merges", "--min-parents=1",
                              f"--max-count={MAX_COMMITS}", "HEAD").split()
            found = [one for commit in commits for one in _reversed(own, commit, program)]
    by_change: dict[str, ProposedChange] = {}
    for _, candidate in sorted(found, key=lambda one: not one[0]):
        by_change.setdefault(normalised(candidate["diff"]), candidate)
    return [*by_change.values()][:config.max_candidates]


def _reversed(own: Path, commit: str, program: SelectedSources
              ) -> Iterator[tuple[bool, ProposedChange]]:
    """Yield (whether a commit changes tests, the candidate that takes it back), unless it makes or
    deletes source files, or nothing of its code is left."""
    message, *names = run_git(own, "show", "-z", "--no-renames", "--name-only", "--format=%B%x00",
                              commit).split("\0")
    if not any(map(language_of, names)):   # saves a merge
        return
    tree, *conflicts = _merged(own, commit)
    listed = run_git(own, "diff-tree", "-r", "-z", "--name-status", "HEAD", tree).split("\0")
    code = {path: status for status, path in zip(listed[::2], listed[1::2], strict=False)
            if language_of(path) and not is_test_file(path)}
    if {*code.values()} != {"M"} or not code.keys().isdisjoint(conflicts):
        return
    old = [file for file in program.files if file.path in code]
    new = [replace(file, text=run_git(own, "show", f"{tree}:{file.path}").encode())
           for file in old]
    with suppress(SyntaxError):
        if [*map(syntax_of, old)] != [*map(syntax_of, new)]:
            before, after = ({file.path: file.text for file in some} for some in (old, new))
            candidate = candidate_of(before, after, HISTORY, own_words(message), "")
            place = candidate["path"], candidate["lines"][0]
            candidate["symbol"] = next(iter(symbols_at([place], before)), "")
            if n_changed_lines(candidate["diff"]) <= MAX_LINES:
                yield any(map(is_of_tests, names)), candidate


def _merged(own: Path, commit: str) -> list[str]:
    """Return the id of HEAD's tree without what a commit changed, then the paths of conflicts."""
    parent = run_git(own, "-c", "user.name=codedata", "-c", "user.email=codedata@example.org",
                     "commit-tree", "-p", commit, "-m", "", f"{commit}^^{{tree}}").strip()
    printed = b""
    try:
        with git_output(own, "merge-tree", "--write-tree", "-z", "--name-only", "--no-messages",
                        "HEAD", parent) as output:
            printed = output.read(MAX_OUTPUT)
    except UnsafeArchive:   # a conflict is a failure for git
        if not printed:
            raise
    return printed.decode(errors="replace").split("\0")


def own_report(task: Task, hidden: Hidden, min_words: int,
               draw: random.Random) -> BugReport | None:
    """Return the report of a bug in the words of the commit that it takes back. Return None for
    other bugs, and if these words say too little or what a user could not know."""
    bug, proof = hidden.bug, task.proof or {}
    text, tests = str(proof.get("summary") or ""), diff_of({}, bug.hidden)
    known = NAME.findall("\n".join(line for hunk in hunks_of(bug.patch) for line in hunk.old))
    if not text or proof.get("operator") != HISTORY or hidden.in_report(text, tests) or [
            *request_problems(text, names_brought(bug.patch, tests) - {*known}, min_words)]:
        return None
    return BugReport(bug.instance_id, bug.repo, draw.choice(FORMS).format(text),
                     {"writer": "template", "form": "commit"})
