"""Say what is special about bugs as a kind of task, those of agents and those of operators."""
from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from codedata.analysis.measure import JUDGED_BY
from codedata.bugs.choose import chosen_in
from codedata.bugs.instances import AGENT, Word, bug_tasks, is_of_agent
from codedata.bugs.prove import check_repository, effects, grade_of
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

IMAGES = "codedata-bug/"
CATEGORY = "debugging"     # of tasks, as Harbor has them
SCREENED = ("verdict", "how", "n_run", "seconds", "audited")   # of what screening showed


def agents_candidates(root: Path) -> Derived:
    """Return the candidates of agents in bug/_candidates/. A change that an earlier file of the
    same repository and commit has is refused."""
    store = Store(root, Candidates, only=is_of_agent)
    first: dict[tuple[str, str, str], str] = {}   # (repository, commit, change) → its file

    def candidates_in(item: str, record: Candidates) -> dict[str, Candidate]:
        check_repository(record, store, item)
        found = {}
        for words in record.candidates:
            change = normalised(words["diff"])
            before = first.setdefault((record.repo_name, record.base_commit, change), item)
            name = f"{item}.{change[:8]}"
            found.setdefault(name, Candidate(
                name, record.repo_name, record.base_commit, words["diff"], item, record.method,
                words=words,
                refused="" if before == item else f"it is the same change as {before}"))
        return found

    return Derived(store, candidates_in)


@dataclass(frozen=True)
class Bugs:
    """Hold what the stages of bugs are told; of those of a word of bug_inject.py."""

    settings: Settings
    word: Word
    environments: Derived | None = None
    analyses: Store | None = None   # for distances: where there is none, they are not known
    name = BUG
    image_prefix = IMAGES
    gold_is_long = False

    @property
    def hides_tests(self) -> bool:
        """Return whether an image is without the failing tests."""
        return self.settings.bug.hide_tests

    @property
    def max_broken_share(self) -> float:
        """Return the share of the passing tests that a bug may break."""
        return self.settings.bug.max_broken_share

    def tasks(self) -> Store:
        """Return the bugs of this word."""
        return bug_tasks(self.settings.root, self.word.owns)

    def candidates(self) -> Reads:
        """Return what agents handed in; of operators, what is chosen."""
        root = self.settings.root
        if self.word == AGENT:
            return Reads(agents_candidates(root), ("base_commit", "diff", "refused"),
                         made_by="bug_inject.inject")
        return Reads(chosen_in(root, self.settings.bug), ("base_commit", "diff"),
                     made_by="bug_inject.validate")

    def joined(self) -> tuple[Reads, ...]:
        """Return the environment and, where they are there, the analysis and the licence, for which
        nothing is proven again."""
        optional = partial(Reads, same="base_commit", optional=True)
        return (Reads(self.environments, JUDGED_BY, made_by="env_setup", same="base_commit"),
                optional(self.analyses, ("entities", "edges", "files")),
                optional(Store(self.settings.root, RepoMeta), ()))

    def counted(self, candidate: Candidate, environment: Environment, *joined
                ) -> tuple[Environment, None]:
        """Return that all known tests count, and all files of an agent's work but tests."""
        return environment, None

    def refusal(self, *about) -> str:
        """Return "": what any proof refuses is all."""
        return ""

    def described(self, candidate: Candidate, run: BrokenRun, environment: Environment,
                  analysis: Analysis | None, meta: RepoMeta | None) -> tuple[Object, Object]:
        """Return a bug's method, symbol, grade and licence, and what it does."""
        words, screened = candidate.words, candidate.screened
        shown = effects(run, analysis)
        symbols, symbol = shown["symbols"], words.get("symbol") or ""
        language = language_of(min(run.before | run.after))
        licence = meta.licence if meta else environment.row.get("licence")
        tags = language, BUG, str(words.get("family") or candidate.method)
        about = {
            "method": candidate.method, "language": language,
            "symbol": symbols[0] if symbols and symbol not in symbols else symbol,
            "grade": grade_of(shown["broken"], shown["tests"], shown["new_messages"]),
            "licence": licence and str(licence),
            "labels": {"category": CATEGORY, "tags": [*filter(None, tags)]},
            "made_from": {"directory": Candidates.directory, "item": candidate.item,
                          "digest": digest(candidate.diff)}}
        if screened:
            shown |= {
                "operator": operator_of(words), "family": str(words.get("family") or ""),
                "lines": words.get("lines") or [], "summary": words.get("summary") or "",
                "screened": {**{key: screened[key] for key in SCREENED if key in screened},
                             "same_tests": screened.get("failing") == run.fail_to_pass}}
        return about, shown

    def instructed(self) -> tuple[Reads, Reads]:
        """Return the bugs, of which none becomes stale by itself, and their reports."""
        issue = f"bug_inject.{self.word.prefix}issue"
        return (Reads(self.tasks(), ("kind",)),
                Reads(Store(self.settings.root, BugReport), ("problem_statement",), made_by=issue,
                      command=f"bug_inject.py {self.word.name} --steps issue"))

    def instruction(self, task: Task, text: BugReport) -> str:
        """Return the report of a bug."""
        return text.problem_statement
