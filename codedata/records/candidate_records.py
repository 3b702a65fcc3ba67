"""Define a candidate for a task: what every maker leaves, and a person may write by hand."""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, TypedDict

from codedata.records.field_types import ItemName, Object
from codedata.records.task_records import BUG, PULL_REQUEST, STRIPPED_PATCH

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
