"""Define what a maker of tasks provides: a Kind, and the candidates that may become such tasks.

Each maker has its own files of candidates, documents and reports. stages.py screens, proves and
writes instructions in the same way for all kinds.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from codedata.records import Coverage, Environment, Object, Task
from codedata.states import Reads, Writes
from codedata.store import Store
from codedata.tasks.first_run import FirstRun, ScreeningRules


@dataclass(frozen=True, slots=True)
class DiffsToScreen:
    """Hold the diffs of an item that are to be screened, and how."""

    diffs: Sequence[str]
    coverage: Coverage | None
    record_of: Callable       # (verdicts, one a diff; seconds) → the record that is written
    why_whole: str = ""       # why no tests can be chosen for a diff; "" where they can
    limit_s: float = 0.0      # of a run of the whole suite; 0: as it needs in env/
    in_fresh: frozenset[int] = frozenset()   # numbers of diffs that need a fresh container


@dataclass(frozen=True)
class Candidate:
    """Hold a change of a repository's source that may become a task of the same name."""

    name: str                # instance id of the task
    repo_name: str
    base_commit: str         # in env/
    diff: str
    item: str                # the record that it comes from
    method: str              # who or what made it
    functions: list[str] = field(default_factory=list)   # ids of those that it is about
    words: Object = field(default_factory=dict)      # what its maker says of it
    screened: Object = field(default_factory=dict)   # what screening showed
    refused: str = ""        # why it needs no proof to be refused

    @property
    def instance_id(self) -> str:
        """Return the id under which ledgers list the candidate: the name of its repository."""
        return self.repo_name


class Kind(Protocol):
    """Say what is special about one kind of task. Each of its candidates has a name and, in
    `refused`, the reason why it needs no proof to be refused, or ""."""

    name: str                # one of records.KINDS
    label: str               # what labels of containers and names of images begin with
    candidates: Reads        # by name
    candidates_with: tuple[Reads, ...]   # what is read beside them (and an environment): *joined
    tasks: Store             # those in task/
    proven: tuple[str, ...]  # the fields of a task that its proof writes


class Prover(Protocol):
    """Prove the candidates of a kind."""

    lacks: Callable[[str], str] | None   # (name) → what its task has lost, such as its image, or ""

    def prove(self, candidate: Any, label: str, *joined) -> Task:
        """Return the proven task of a candidate. What is made under the label is removed. Raise
        Excluded if a run disproves the task, ItemFailed if it can be neither proven nor disproven.
        """


class PatchKind(Kind, Protocol):
    """Say what is special about one kind of task whose solution is a patch of a repository, the
    reverse of its Candidate."""

    rules: ScreeningRules    # ignores_skipped is for screening alone: a proof refuses such tests
    # for screening
    items: Reads             # records that hold what is screened
    items_with: tuple[Reads, ...]   # what is read beside them and the environment: *joined
    verdicts: Writes
    lint: Callable | None    # returns a list of messages for each good (files before, after)
    # for the proof
    gold_is_long: bool       # any project has single lines of it: only long runs give it away
    hides_tests: bool
    # for the instruction
    instructed: tuple[str, ...]   # fields of a task that make its instruction stale
    texts: Reads             # records that instructions are made of, by task

    def to_screen(self, item: Any, environment: Environment, *joined) -> DiffsToScreen:
        """Return the diffs of an item to screen, and how to screen them."""

    def counted(self, candidate: Candidate, environment: Environment, *joined
                ) -> tuple[Environment, tuple[str, ...] | None]:
        """Return (the environment, in which tests that do not count are called flaky; the files of
        an agent's work that count, or None for all files but tests)."""

    def refusal(self, candidate: Candidate, run: FirstRun, label: str, environment: Environment,
                *joined) -> str:
        """Return why a candidate breaks a rule of this kind of task, or ""."""

    def described(self, candidate: Candidate, run: FirstRun, environment: Environment, *joined
                  ) -> tuple[Object, Object]:
        """Return (entries for [metadata.codedata], with the labels; entries for proof.json)."""

    def instruction(self, task: Task, text: Any) -> str:
        """Return the instruction of a task, made from `text`, its record among the `texts`."""
