"""Say what is special about bugs as a kind of task, those of agents and those of operators."""
from __future__ import annotations

from pathlib import Path

from codedata.bugs.choose import chosen_in
from codedata.bugs.effects import effects, grade_of
from codedata.bugs.instances import AGENT, Word, bug_tasks, check_repository, is_of_agent
from codedata.bugs.validate import operator_of
from codedata.code.entities import language_of
from codedata.code.patches import normalised
from codedata.records import (
    BUG,
    Analysis,
    BugReport,
    Candidates,
    Environment,
    Object,
    RepoMeta,
    Task,
)
from codedata.settings import Settings
from codedata.states import Reads
from codedata.store import Derived, Store, digest
from codedata.tasks.kinds import BrokenRun, Candidate

CATEGORY = "debugging"     # of tasks, as Harbor has them
SCREENED = ("verdict", "how", "n_run", "seconds")   # of what screening showed


def agents_candidates(root: Path) -> Derived:
    """Return the agents' candidates in bug/_candidates/. A candidate is refused if an earlier file
    has the same change of the same repository and commit."""
    store = Store(root, Candidates, only=is_of_agent)
    first: dict[tuple[str, str, str], str] = {}   # (repository, commit, change) → its file

    def candidates_in(item: str, record: Candidates) -> dict[str, Candidate]:
        check_repository(record, store, item)
        candidates = {}
        for words in record.candidates:
            change = normalised(words["diff"])
            before = first.setdefault((record.repo_name, record.base_commit, change), item)
            name = f"{item}.{change[:8]}"
            candidates.setdefault(name, Candidate(
                name, record.repo_name, record.base_commit, words["diff"], item, record.method,
                words=words,
                refused="" if before == item else f"it is the same change as {before}"))
        return candidates

    return Derived(store, candidates_in)


class Bugs:
    """Implement bugs as a kind of task, for one subcommand of bug_inject.py (`word`). Distances in
    the call graph are computed from `analyses`; without an analysis they are null."""

    name, image_prefix, gold_is_long = BUG, "codedata-bug/", False
    instructed = ("kind",)   # which never changes

    def __init__(self, word: Word, settings: Settings, analyses: Store | None = None):
        root, bug = settings.root, settings.bug
        optional = {"same": "base_commit", "optional": True}
        self._word, self.tasks = word, bug_tasks(root, word.owns)
        self.hides_tests, self.max_broken_share = bug.hide_tests, bug.max_broken_share
        self.reads = Reads(chosen_in(root, bug), ("base_commit", "diff"),
                           made_by="bug_inject.validate")
        if word == AGENT:
            self.reads = Reads(agents_candidates(root), ("base_commit", "diff", "refused"),
                               made_by="bug_inject.inject")
        self.joined = (Reads(analyses, ("entities", "edges", "files"), **optional),
                       Reads(Store(root, RepoMeta), (), **optional))   # the licence
        self.texts = Reads(Store(root, BugReport), ("problem_statement",),
                           made_by=f"bug_inject.{word.prefix}issue",
                           command=f"bug_inject.py {word.name} --steps issue")

    def counted(self, candidate: Candidate, environment: Environment, *joined
                ) -> tuple[Environment, None]:
        """Return the environment unchanged, since all known tests are graded, and None, since all
        files of an agent's work but tests are taken."""
        return environment, None

    def refusal(self, *about) -> str:
        """Return "", since bugs have no reasons for refusal besides those of every proof."""
        return ""

    def described(self, candidate: Candidate, run: BrokenRun, environment: Environment,
                  analysis: Analysis | None, meta: RepoMeta | None) -> tuple[Object, Object]:
        """Return a bug's method, symbol, grade and licence, and its effects."""
        words, screened = candidate.words, candidate.screened
        measured = effects(run, analysis)
        symbols, symbol = measured["symbols"], words.get("symbol") or ""
        language = language_of(min(run.before | run.after))
        licence = meta.licence if meta else environment.row.get("licence")
        tags = language, BUG, str(words.get("family") or candidate.method)
        about = {
            "method": candidate.method, "language": language,
            "symbol": symbols[0] if symbols and symbol not in symbols else symbol,
            "grade": grade_of(measured["broken"], measured["tests"], measured["new_messages"]),
            "licence": licence and str(licence),
            "labels": {"category": CATEGORY, "tags": [*filter(None, tags)]},
            "made_from": {"directory": Candidates.directory, "item": candidate.item,
                          "digest": digest(candidate.diff)}}
        if self._word != AGENT:
            measured |= {
                "operator": operator_of(words), "family": str(words.get("family") or ""),
                "lines": words.get("lines") or [], "summary": words.get("summary") or "",
                "screened": {**{key: screened[key] for key in SCREENED if key in screened},
                             "same_tests": screened.get("failing") == run.fail_to_pass}}
        return about, measured

    def instruction(self, task: Task, text: BugReport) -> str:
        """Return the report of a bug."""
        return text.problem_statement
