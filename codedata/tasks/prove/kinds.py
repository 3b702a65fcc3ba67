"""Define what a maker of tasks provides: how its candidates are screened, and a Kind with the
candidates for its tasks.

Each maker has its own files of candidates, documents and reports. stages.py screens, proves and
writes instructions in the same way for all kinds.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from codedata.disk.store import Store
from codedata.records import Coverage, Environment, Object, Task
from codedata.run.stage import Reads, Writes
from codedata.sandbox.factory import SandboxFactory
from codedata.tasks.folder.task_folder import PROVEN_FIELDS
from codedata.tasks.folder.tests_folder import Case
from codedata.tasks.prove.run_suite import FirstRun, ScreeningRules


@dataclass(frozen=True, slots=True)
class DiffsToScreen:
    """Hold the diffs of an item to screen, and the settings for screening them."""

    diffs: Sequence[str]
    coverage: Coverage | None
    record_of: Callable       # ({diff: its verdict}, seconds) → the record to write
    why_whole: str = ""       # why no tests can be chosen for a diff; "" if tests can be chosen
    limit_s: float = 0.0      # time limit of the whole suite; 0 means time_limit()


@dataclass(frozen=True)
class Screens:
    """Describe a maker's items to screen."""

    label: str               # prefix of labels of containers
    rules: ScreeningRules
    items: Reads             # records with the diffs to screen
    also_reads: tuple[Reads, ...]   # read with each item, after its environment
    verdicts: Writes
    to_screen: Callable[..., DiffsToScreen]   # (item, environment, *joined)


@dataclass(frozen=True)
class Candidate:
    """Hold a change of a repository's source that may become a task of the same name."""

    name: str                # instance id of the task that it may become
    repo_name: str
    base_commit: str         # the commit in env/
    diff: str
    item: str                # name of the record that the candidate comes from
    method: str              # maker or method of the change
    functions: list[str] = field(default_factory=list)   # ids of the functions concerned
    words: Object = field(default_factory=dict)      # the maker's description of the change
    screened: Object = field(default_factory=dict)   # results of screening
    refused: str = ""        # why the candidate is refused without a proof, or ""

    @property
    def instance_id(self) -> str:
        """Return the id under which ledgers list the candidate: the name of its repository."""
        return self.repo_name


class Kind(Protocol):
    """Describe one kind of task. Each candidate has a `name`, and `refused`: the reason why the
    candidate is refused without a proof, or ""."""

    name: str                # one of records.KINDS
    label: str               # prefix of labels of containers and names of images
    candidates: Reads        # the candidates by name
    candidates_with: tuple[Reads, ...]   # read with each candidate, after an environment: *joined
    tasks: Store             # the store of the kind's tasks in task/
    proven: tuple[str, ...]  # the fields of a task that the proof writes


class Prover(Protocol):
    """Prove the candidates of a kind."""

    lacks: Callable[[str], str] | None   # (name) → what this task has lost, such as its image, or
                                         # ""

    def prove(self, candidate: Any, label: str, *joined) -> Task:
        """Return the proven task of a candidate. The caller removes everything that is made under
        the label. Raise Excluded if a run disproves the task, ItemFailed if it can be neither
        proven nor disproven."""


class PatchKind(Kind):
    """Describe one kind of task whose solution is a patch of a repository: the reverse of its
    Candidate. By default, a derived kind has no further rules, hides the failing tests, and grades
    all files except tests, only by known tests."""

    rules: ScreeningRules    # a proof does not use ignores_skipped
    candidates_with = ()
    proven = PROVEN_FIELDS
    gold_is_long = True      # other code may share single lines with it: only long runs are traces

    def counted(self, candidate: Candidate, environment: Environment, *joined
                ) -> tuple[Environment, tuple[str, ...] | None]:
        """Return (the environment, with tests that do not count listed as flaky; the files of an
        agent's work that are graded, None for all files except tests)."""
        return environment, None

    def reduces_gold(self, candidate: Candidate) -> bool:
        """Return whether the gold is reduced to the smallest part of the reverse that makes all
        tests pass."""
        return False

    def refusal(self, candidate: Candidate, run: FirstRun, label: str, environment: Environment,
                *joined) -> str:
        """Return why a candidate breaks a rule of this kind of task, or ""."""
        return ""

    def cases(self, candidate: Candidate, run: FirstRun, host: SandboxFactory, label: str,
              environment: Environment, *joined) -> tuple[list[Case], Object]:
        """Return (the cases that a reward needs in addition to the tests, entries for proof.json).
        Raise Excluded if wrong repairs pass, ItemFailed if another run may find cases."""
        return [], {}

    def described(self, candidate: Candidate, run: FirstRun, environment: Environment, *joined
                  ) -> tuple[Object, Object]:
        """Return (arguments of with_about(), entries for proof.json) of a candidate's task."""
        raise NotImplementedError
