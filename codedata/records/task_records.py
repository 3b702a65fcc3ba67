"""Define a task, the content of its folder task/<instance_id>/, and its proof; a candidate for a
task, which every maker leaves, and a person may write by hand; the results of audit.py, build_dp.py
and solve.py: audits, checks of datapoints, the queue of agents' tasks, attempts."""
from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, TypedDict

from codedata.bounded import read_bounded
from codedata.records.field_types import (
    AnyText,
    Files,
    Integer,
    ItemName,
    Object,
    Seconds,
    UnixTime,
)
from codedata.texts import toml_tables

# kinds of tasks
KINDS = BUG, STRIPPED_PATCH, DATAPOINT, PULL_REQUEST = (
    "bug", "stripped_patch", "datapoint", "pull_request")


@dataclass(frozen=True)
class Task:
    """Hold a task, the content of its folder task/<instance_id>/, which Harbor accepts unchanged.

    docs/tasks.md describes the folder. All makers of tasks write it; audits, attempts and exports
    read it. A folder from elsewhere is a task, too.
    """

    directory = "task"
    is_shared: ClassVar = True
    places: ClassVar = {"instruction": "instruction.md", "config": "task.toml",
                        "environment": "environment/", "solution": "solution/", "tests": "tests/",
                        "proof": "proof.json"}
    instance_id: str         # the folder's name
    kind: str                # one of KINDS, from `config`; "": not made by codedata
    config: Object           # Harbor's keys; our own data are in [metadata.codedata]
    environment: Files       # the Dockerfile and its build context
    solution: Files
    tests: Files             # the content of /tests in the verifier
    instruction: str | None = None   # for the agent; null: not written yet
    proof: Object | None = None      # results of the runs, and a digest of the proven parts

    @classmethod
    def completed(cls, data: dict) -> dict:
        """Return a folder's fields, with the kind that its task.toml names."""
        return {**data, "kind": cls.kind_of(data["config"])}

    @staticmethod
    def kind_of(config) -> str:
        """Return the kind of task that a task.toml names; "" if it is not one of KINDS."""
        kind = about_in(config).get("kind")
        return kind if kind in KINDS else ""

    @classmethod
    def kind_in(cls, folder: Path) -> str:
        """Return the kind of the task in a folder; "" if it has none, or cannot be read."""
        try:
            return cls.kind_of(toml_tables(read_bounded(folder / cls.places["config"]).decode()))
        except (OSError, ValueError, RecursionError):
            return ""

    @property
    def about(self) -> Object:
        """Return our own data on the task: [metadata.codedata] of its task.toml."""
        return about_in(self.config)

    @property
    def new_names(self) -> list[str]:
        """Return the names and texts that the task's tests demand, and that no source in its image
        has."""
        names = self.about.get("new_names")
        return [*map(str, names)] if isinstance(names, list) else []


class Proof(TypedDict, total=False):
    """Hold the results of the runs that prove a task: its proof.json. Kinds of tasks add fields."""

    proof: int               # version; missing: 1
    runs: list[Object]       # {of: the run's name, seconds}; {reward}, or exit_code and counts
    digest: str              # covers the task's parts that the runs prove
    parts: dict[str, str]    # {part: its digest}
    log: str                 # the end of the output of a run without the solution
    image_id: str            # the engine's id
    seconds: Seconds         # all runs together


def about_in(config) -> Object:
    """Return [metadata.codedata] of a task.toml; {} if it has none."""
    metadata = config.get("metadata") if isinstance(config, dict) else None
    about = metadata.get("codedata") if isinstance(metadata, dict) else None
    return about if isinstance(about, dict) else {}


@dataclass(frozen=True)
class RivalledTask(Task):
    """Hold a task with the scripts that test its verifier: rivals/ in its folder."""

    places: ClassVar = {**Task.places, "rivals": "rivals/"}
    rivals: Files | None = None   # right-*, wrong-* and cheat-*; null: there are none

    @classmethod
    def completed(cls, data: dict) -> dict:
        """Return a folder's fields, with its kind; `rivals` is None if there are none."""
        return {**super().completed(data), "rivals": data["rivals"] or None}


# candidates ---------------------------------------------------------------------------------------

BREAKS, SOLVES = "breaks", "solves"   # what change.patch does to the repository at its commit
KIND_OF = {BREAKS: BUG, SOLVES: PULL_REQUEST}   # the kind of task, if candidate.toml names none
PROVEN_KINDS = BUG, STRIPPED_PATCH, PULL_REQUEST


@dataclass(frozen=True)
class Rules:
    """Hold the rules of a proof: [rules] of candidate.toml; the kind of task has the defaults."""

    counts: list[str] | None = None   # files of an agent's work to grade; null: all but tests
    ungraded: list[str] = field(default_factory=list)   # names of tests that are not graded
    max_broken_share: float = 1.0   # limit for failing tests, as a share of the tests that passed
    counts_missing: bool = False    # tests that no longer run count as failing
    reduce_gold: bool = False   # the solution is the smallest part of the change that tests need
    needs_cases: bool = False   # the verifier gets cases that no test has, if any are found
    may_be_shown: bool = True   # single lines of the solution may be in the image


class Labels(TypedDict, total=False):
    """Hold labels of a task."""

    category: str            # one of Harbor's categories of tasks
    tags: list[str]


@dataclass(frozen=True)
class CandidateConfig:
    """Describe a candidate.toml; it may have further keys. A Candidate holds it as a dict."""

    repo: str                # as in env/
    environment: ItemName    # name of the repository's record in env/
    direction: str           # breaks | solves
    method: str              # the change's origin: agent, procedural, function, by-hand, …
    base_commit: str = ""    # the commit in env/; "": unknown
    kind: str = ""           # one of PROVEN_KINDS; the direction has the default
    licence: str = ""
    words: Object = field(default_factory=dict)   # the maker's, on the change; go to proof.json
    about: Object = field(default_factory=dict)   # goes to [metadata.codedata] of task.toml
    labels: Labels = field(default_factory=dict)   # go to [metadata] of task.toml
    rules: Rules = field(default_factory=Rules)


@dataclass(frozen=True)
class Candidate:
    """Hold a change of a repository that may become the task of the same name:
    candidate/<name>/. Ledgers list it by its repository."""

    directory = "candidate"
    is_shared: ClassVar = True
    places: ClassVar = {"change": "change.patch", "tests": "tests.patch",
                        "config": "candidate.toml", "instruction": "instruction.md"}
    name: ItemName           # the folder's name
    instance_id: str         # name of the environment
    base_commit: str
    kind: str                # one of PROVEN_KINDS
    change: str              # git's format, without tests
    rules: Rules             # [rules] of `config`
    config: CandidateConfig
    tests: str | None = None   # patch of the test files to hide; null or "": none
    instruction: str | None = None   # of the task; null: its maker writes it after the proof

    @classmethod
    def completed(cls, data: dict) -> dict:
        """Return a folder's fields, some from its candidate.toml."""
        config = data["config"] if isinstance(data["config"], dict) else {}
        return {**data, "name": data["instance_id"], "instance_id": config.get("environment", ""),
                "base_commit": config.get("base_commit", ""), "kind": cls.kind_of(config),
                "rules": config.get("rules", {})}

    @staticmethod
    def kind_of(config) -> str:
        """Return the kind of task that a candidate.toml names; "" if it names none."""
        config = config if isinstance(config, dict) else {}
        return config.get("kind") or KIND_OF.get(config.get("direction"), "")

    @staticmethod
    def faults_between(data: dict) -> list[str]:
        """Return the values that are not allowed, or do not go together."""
        direction, faults = data["config"]["direction"], []
        if direction not in KIND_OF:
            faults.append(f"`direction` is not one of {', '.join(KIND_OF)}")
        elif data["kind"] not in PROVEN_KINDS:
            faults.append(f"`kind` is not one of {', '.join(PROVEN_KINDS)}")
        elif (data["kind"] == PULL_REQUEST) != (direction == SOLVES):
            faults.append(f"`kind` {data['kind']} does not go with that `direction`")
        if direction == SOLVES and not data.get("tests"):
            faults.append("a solution needs a tests.patch")
        unknown = data["rules"].keys() - Rules.__annotations__.keys()
        return faults + [f"[rules] has an unknown key: {key}" for key in sorted(unknown)]

    @property
    def solves(self) -> bool:
        """Return whether the change is a solution, which tests have to need."""
        return self.config["direction"] == SOLVES

    @property
    def words(self) -> Object:
        """Return the maker's description of the change."""
        return self.config.get("words", {})


def candidate_of(name: str, change: str, about: Object, tests: str = "", **config) -> Candidate:
    """Return a maker's candidate. `config` holds keys of candidate.toml with
    their values. Keys with the value None are left out, also from `about`."""
    config = {key: value for key, value in config.items() if value is not None}
    config["about"] = {key: value for key, value in about.items() if value is not None}
    return Candidate(**Candidate.completed(
        {"instance_id": name, "change": change, "tests": tests, "config": config}))


# audits -------------------------------------------------------------------------------------------

# results of an audit's check, the worst first
AUDIT_RESULTS = FAILED, UNFINISHED, REVIEW, PASSED, NO_CASE = (
    "failed", "not checked", "review", "passed", "no case")


class AuditCheck(TypedDict):
    """Hold the result of one check of an audit."""

    name: str
    version: str             # the check's version; raised if its results would change
    result: str              # one of AUDIT_RESULTS
    why: str                 # "" if it passed
    evidence: list[str]
    figures: Object          # measured numbers
    tries: list[Object]      # variants for a reviewer: {path, line, operator, place, diff, …}
    seconds: Seconds
    command: str             # repeats this check


@dataclass(frozen=True)
class TaskAudit:
    """Hold the audit of a task, with the result of each check: audit/<id>.json."""

    directory = "audit"
    instance_id: str
    kind: str                # the task's kind
    content: str             # digest of the audited task
    rivals: str              # digest of the scripts in rivals/; "" without
    checks: list[AuditCheck]
    seconds: Seconds


# datapoints ---------------------------------------------------------------------------------------

class DatapointCheck(TypedDict):
    """Hold the result of one check of a datapoint."""

    name: str
    status: str              # passed | failed | not checked
    why: str                 # "" if it passed
    evidence: list[str]
    seconds: Seconds


@dataclass(frozen=True)
class DatapointChecks:
    """Hold the validator's results for a datapoint's content: dp/_checks/<content>.json."""

    directory = "dp/_checks"
    instance_id: str
    content: str
    base_image: str          # the engine's id of the Dockerfile's base image
    validator: int           # version of the validator
    ok: bool
    checks: list[DatapointCheck]
    review: list[str]        # points for a reviewer
    seconds: Seconds
    engine_s: Seconds        # part of `seconds` spent in calls of the engine
    runs: list[Object] = field(default_factory=list)   # {of, reward, seconds}
    rivals: str = ""         # digest of the scripts in rivals/; "" without
    audit: list[AuditCheck] = field(default_factory=list)   # the audit's checks in full


class QueueTask(TypedDict):
    """Hold a task of dp/_queue.jsonl. Its `result`, any JSON, is not listed here."""

    id: ItemName             # begins with its type
    type: str
    state: str
    parent: str              # id of another task, or ""
    priority: Integer
    attempts: Integer
    agent: AnyText | None    # holder of the newest claim
    claim: str | None        # digest of the claim's token
    lease_until: UnixTime | None  # end of the claim; null: unclaimed
    created_at: UnixTime
    errors: list[str]
    key: AnyText             # idempotency key: unique unless it is ""


class QueueData(TypedDict, total=False):
    """Hold the keys of a task's data that codedata reads; it may have others."""

    seed: ItemName
    datapoint: ItemName
    content: str
    rates: Object
    tried: list[ItemName]    # attempts that led to the task


class QueueLine(TypedDict):
    """Hold a line of dp/_queue.jsonl: an event, and the task after it."""

    event: str
    detail: str
    at: UnixTime
    task: QueueTask
    data: QueueData          # if the event changed the data


# attempts -----------------------------------------------------------------------------------------

# outcomes of an attempt: "solved" if the verifier rewarded it, otherwise the reason why not
ATTEMPT_STATUSES = SOLVED, WRONG, NO_SUBMISSION, CHEATED, *_ = (
    "solved", "wrong", "no submission", "cheated", "out of steps", "out of time",
    "out of context", "out of money", "refused")


class AgentRun(TypedDict):
    """Hold trajectory.json: an agent's trajectory in Harbor's ATIF 1.8, which has further keys."""

    steps: list[Object]


class AttemptOutcome(TypedDict):
    """Hold record.json: the outcome of an attempt."""

    task: ItemName
    kind: str                # the task's kind
    content: str             # the task's digest
    agent: str               # name, model and 6 hex digits of the settings
    model: str               # "" for nop and gold
    settings: Object         # the agent's sampling and limits
    attempt: Integer         # its number, from 1
    planned: Integer         # number of attempts that the run planned
    status: str              # one of ATTEMPT_STATUSES
    why: str                 # details of the status
    reward: float
    until: list[Integer]     # the setting [solve] until
    verifier: str            # the end of the verifier's output
    replayed: Integer        # replies reused from a killed run
    usage: Object            # calls, tokens_in, tokens_out, cost_usd
    seconds: Object          # keys: model, verifier, agent (with the model's), all


@dataclass(frozen=True)
class Graded:
    """Hold the outcome of an attempt, without its trajectory and patch."""

    directory = "attempt"
    places: ClassVar = {"outcome": "record.json"}
    instance_id: str         # the folder's name
    outcome: AttemptOutcome

    @classmethod
    def completed(cls, data: dict) -> dict:
        """Return the fields of a folder unchanged."""
        return data


@dataclass(frozen=True)
class Attempt(Graded):
    """Hold an agent's attempt at a task: attempt/<task>.<content 8>.<agent>.<attempt>/."""

    places: ClassVar = {**Graded.places, "trajectory": "trajectory.json", "patch": "patch.diff"}
    trajectory: AgentRun
    patch: str | None = None   # the work directory's diff; null: none, too long, or not text
