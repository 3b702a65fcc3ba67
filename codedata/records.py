"""Define the schema: one frozen record for each directory.

Reading checks every field and names each fault. Unknown keys stay on disk unchanged: a user may add
notes to any record.

The entries of a record's lists (Message, Reason, Finding, JudgeVerdict) are TypedDicts, not frozen
classes: a record may hold thousands of them, they are read and written unchanged, and they keep
keys that a user or another version has added. parse() checks their keys.
"""
from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import MISSING, dataclass, field, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import ClassVar, TypedDict, is_typeddict

import orjson

from codedata.bounded import read_bounded
from codedata.errors import BrokenRecord
from codedata.texts import printable, toml_tables

Object = dict    # keys that this schema does not fix
Seconds = float
Points = float    # 0..100
ItemName = str    # a name that safe_name() accepts as a file name
Integer = int     # 64 bits
UnixTime = float
AnyText = str     # may contain NUL bytes
Ranges = list     # line ranges [first, last, first, last, …], from 1
Files = dict      # {relative path: bytes, or the Path of a file on disk}
Tools = list      # definitions of an agent's tools, in the form of the chat API
Side = str | dict   # a turn as its agent writes it: a text, or a Message with a tool call
METRICS = ("correctness", "grounding", "progress", "protocol", "efficiency")   # a judge's grades
# results of an audit's check, the worst first
AUDIT_RESULTS = FAILED, UNFINISHED, REVIEW, PASSED, NO_CASE = (
    "failed", "not checked", "review", "passed", "no case")
UNJUDGED = "no verdict"   # kind of the finding for a turn that no leak judge has seen
HOW = ("informed", "chosen")   # ways to make a challenger: [challenger] how
EVER_HOW = *HOW, "placebo"   # 0.2.0 also wrote placebo; its records stay readable
ORDERS = ("king_first", "reference_first", "challenger_first")   # whose answer is shown first
ABSENT = None             # default of a Duel's fields that older files lack
DUEL = "_duel.json"       # the Duel's file in the folder of scores
MAX_LINE = 2_000_000      # highest line number: a set of lines is a mask with a bit for each
# kinds of tasks
KINDS = BUG, STRIPPED_PATCH, DATAPOINT, PULL_REQUEST = (
    "bug", "stripped_patch", "datapoint", "pull_request")
MAY_LACK = ("calls", "planned")   # keys of TypedDicts that may be missing
# null values of these fields are not written to disk
OMITTED_IF_NULL = ("tools", "several", "choice", "new_names")
SAFE_NAME = re.compile(r"[A-Za-z0-9-][A-Za-z0-9._-]{0,199}")


class Message(TypedDict, total=False):
    """Hold a message of a conversation, in the form of the chat API.

    Most have only a role and a text. An assistant's message may have `tool_calls`, and thinking in
    `reasoning_content`; a tool's result has `tool_call_id`.
    """

    role: str
    content: str | list[Object] | None   # a text, or a list of parts {type, text}
    tool_calls: list[Object]    # {id, type, function {name, arguments}}; arguments are JSON text
    tool_call_id: str
    reasoning_content: str


class Reason(TypedDict):
    """Hold the reason that a judge gave for a verdict."""

    judge: str
    order: str
    reason: str


class Finding(TypedDict, total=False):
    """Hold an injection {side, kind, text}, or a leak {judge, kind, text, why}."""

    side: str
    judge: str
    kind: str
    text: str
    why: str


class Pick(TypedDict):
    """Hold the chooser's reply in one order, for `how = "chosen"`: {number (0: none), why}."""

    why: str


class Choice(TypedDict, total=False):
    """Hold how a blind answer was chosen: {sample (its number, from 1), of (how many), picks}."""

    picks: list[Pick]   # one for each order; none if the hidden tests left one answer


class Quote(TypedDict):
    """Hold one leak that a leak judge found: an entry of LeakVerdict.findings."""

    quote: str
    kind: str
    why: str


class JudgeVerdict(TypedDict, total=False):
    """Hold a judge's verdict on a turn in one order, as codedata/duel/panel.py describes it.

    A user may have edited it: parse() checks judge, order, parse_ok and scores, and the texts and
    `attempt` if they are present.
    """

    judge: str
    order: str                  # one of ORDERS
    parse_ok: bool
    verdict: dict[str, str]     # {metric: the side that won, or "draw"}
    scores: dict[str, float]    # {metric: challenger's 1, 0.5 or 0}; empty without a verdict
    reason: str
    raw: str                    # the unchanged reply
    truncated: bool
    usage: Object               # tokens_in, tokens_out, cost_usd
    seconds: Seconds
    error: str                  # why there is no verdict
    attempt: int
    marker: str
    settings: str
    ran: str                    # digest of the execution results shown; absent: none were shown
    by_program: bool            # a program found the draw: no judge was asked


@dataclass(frozen=True)
class Prompt:
    """Hold one turn to answer: an entry of prompt/prompts_<count>_<k>.json."""

    directory = "prompt"
    instance_id: str
    repo: str
    language: str
    turn: int                # index among the assistant turns of its trajectory, from 0
    messages: list[Message]  # the history as the agent saw it
    assistant: Side          # the dataset's own next turn: the reference
    order: int = 0           # 1-based position in its file when it was written; 0: not numbered yet
    tools: Tools | None = None   # the agent's tools; null: none
    several: bool | None = None  # whether any turn of its trajectory has several calls; null: no


@dataclass(frozen=True)
class SourceTrajectory:
    """Hold the source and the outcome of a whole trajectory:
    prompt/_trajectories/<instance_id>.<digest of its messages>.json. Exports use these outcomes;
    correct them if they are wrong.
    """

    directory = "prompt/_trajectories"
    instance_id: str
    repo: str
    source: str              # as in [prompt], like config and split
    config: str              # the attempt's name, if the source is `attempt`
    split: str
    row: Integer             # row number in the source, from 0
    digest: str              # covers the row's messages, tools and outcome
    resolved: bool | None    # null: unknown in the source
    reward: float | None     # null: unknown in the source
    exit_status: str         # "": unknown in the source
    n_turns: int
    n_chars: int             # in messages and calls
    n_patch_chars: int       # in the agent's own patch


@dataclass(frozen=True)
class Commit:
    """Hold the hidden pull request of an instance: commit/<instance_id>.json."""

    directory = "commit"
    named_by_id = True
    instance_id: str
    repo: str
    language: str
    base_commit: str
    issue: str               # the agent's instruction (problem_statement); may be empty
    description: str         # the pull request's own text; may be empty
    files: list[str]         # paths that patch and test_patch touch
    patch: str
    test_patch: str
    created_at: str | None = None   # ISO 8601, UTC
    licence: str | None = None      # the repository's, SPDX if the source has it
    new_names: list[str] | None = None   # names that tests use and no file had; null: no clone


@dataclass(frozen=True)
class Answer:
    """Hold the two answers to one prompt: answer/<source>_<order>.json.

    A missing side is null, here and on disk; an empty one on disk means the same.
    """

    directory = "answer"
    sharded = True           # answer/, answer_0/, answer_1/ … are read as one
    instance_id: str
    messages: list[Message]
    assistant: Side
    king: Side | None = None
    challenger: Side | None = None
    tools: Tools | None = None
    several: bool | None = None   # as in the prompt
    choice: Choice | None = None   # with `how = "chosen"`

    def __post_init__(self):
        for side in ("king", "challenger"):
            if getattr(self, side) == "":
                object.__setattr__(self, side, None)


@dataclass(frozen=True)
class Score:
    """Hold the judges' verdicts on one turn: score/<answer stem>.json.

    `score` and `metrics` grade the challenger.
    """

    directory = "score"
    instance_id: str
    answer_file: str         # <answer stem>.json
    mode: str                # "king" or "reference": the challenger's opponent
    parse_ok: bool           # at least one verdict could be read, so there is a score
    score: Points | None     # null: no verdict could be read
    metrics: dict[str, Points | None]   # empty if `score` is null
    reason: str              # the judges' reasons, a line each
    judges: list[JudgeVerdict]   # an entry for each judge and order
    leaks: list[LeakVerdict] | None = None   # each leak judge's, on kings too; null: none asked


@lru_cache
def variant(cls, how: str):
    """Return the record class for challengers made with another `how`.

    The directory is variants/<how>/ for Answer, and score_<how>/ for Score.
    """
    directory = f"variants/{how}" if cls is Answer else f"{cls.directory}_{how}"
    return type(f"{cls.__name__}_{how}", (cls,), {"directory": directory})


class CallRun(TypedDict):
    """Hold the result of running one call of a candidate: an entry of CandidateRun.calls. A call
    that submits is not run; its exit code is 0."""

    command: str
    exit_code: int
    timed_out: bool
    seconds: Seconds
    output: AnyText          # as the agent would have seen it


class CandidateRun(TypedDict):
    """Hold the result of running one candidate turn: an entry of Executed.runs.

    A turn with several calls has the exit code of the last call that ran.
    """

    sides: list[str]         # every side that gave this turn: king, challenger, sample 1, …
    turns: list[str]         # their digests
    command: str
    exit_code: int
    timed_out: bool
    seconds: Seconds
    output: AnyText          # as the agent would have seen it
    calls: list[CallRun]     # the calls of a turn with several, in order; absent: one call
    changes: dict[str, str]  # {path: diff} of the source's files; "": the diff is not shown
    tests: dict[str, str]    # {hidden test: status} after it; {} if none was or could be run


@dataclass(frozen=True)
class Executed:
    """Hold the results of a turn's candidates, run in the state before the turn:
    executed/<answer stem>.json. It names hidden tests, which no judge or model is shown."""

    directory = "executed"
    instance_id: str
    repo_name: ItemName      # the environment's
    image_name: str
    start: str               # state at the replay's start, one of turns/replay.py's
    how: str                 # commit | replayed (in pods: the history again for each candidate)
    replay: str              # equal | tree unchanged | unequal at turn n
    unequal: list[Object]    # {turn, recorded, got, tree_changed} of observations, shortened
    n_commands: int          # in the history
    n_equal: int             # observations that are exactly equal
    n_masked: int            # observations equal except for parts that differ between two runs
    before: dict[str, str]   # {hidden test: status} before the turn; {} if no candidate edits
    runs: list[CandidateRun]
    seconds: Seconds


@dataclass(frozen=True)
class TurnStates:
    """Hold the results of the pull request's tests before each turn of a trajectory:
    executed/_states/<instance_id>.<digest of its messages>.json.
    """

    directory = "executed/_states"
    instance_id: str
    start: str               # as in Executed
    turns: dict[str, Object]   # {turn: {passed, failed}}, of turns with a command


class ReferenceScore(Score):
    """Hold the score against the reference: score_reference/<answer stem>.json."""

    directory = "score_reference"


class Probe(Score):
    """Hold the score of an answer with an attack in it: probe/<answer stem>.<family>.json.

    The attacked answer is the "challenger".
    """

    directory = "probe"


class Sanity(Score):
    """Hold the score of a pair whose better side is known: sanity/<answer stem>.<kind>.json.

    The better side is the "challenger".
    """

    directory = "sanity"


@dataclass(frozen=True)
class Sample:
    """Hold a judged turn as it is exported: final/<answer stem>.json and its neighbours.

    These are copies: edit answer/ or score/ instead.
    """

    instance_id: str
    messages: list[Message]
    assistant: Side          # the reference
    king: Side | None
    challenger: Side | None
    score: Points            # the challenger's
    metrics: dict[str, Points | None]
    reasons: list[Reason]    # {judge, order, reason} of each verdict that has a reason
    injections: list[Finding]   # passages that address a judge; they keep a turn out of final/
    leaks: list[Finding] | None = None   # facts the challenger cannot know; null: no PR record
    tools: Tools | None = None
    several: bool | None = None
    choice: Choice | None = None


class Final(Sample):
    """Hold a Sample that the challenger reliably wins."""

    directory = "final"


class Refined(Sample):
    """Hold a Sample that the challenger often wins."""

    directory = "refined"


class Defeat(Sample):
    """Hold a Sample that the challenger does not often win."""

    directory = "defeat"


BUCKETS = (Final, Refined, Defeat)   # from the best to the worst


class Share(TypedDict):
    """Hold a share or another figure with its 95 % interval and the number of observations."""

    value: float
    low: float
    high: float
    n: int


class JudgeStatistics(TypedDict, total=False):
    """Hold the figures of codedata/duel/judge_stats.py on one judge."""

    changes_with_order: Share | None
    prefers_first: Share | None
    calls: dict[str, int]
    kin_of: list[str]                  # sides answered by a model of the judge's family
    beside_the_others: Object | None   # {own, others, difference}, against the unrelated judges


class PanelStatistics(TypedDict, total=False):
    """Hold the figures of codedata/duel/judge_stats.py on a panel."""

    judges: dict[str, JudgeStatistics]
    alpha: dict[str, float | None]     # Krippendorff's alpha of each metric


@dataclass(frozen=True)
class JudgeResult:
    """Hold the scores of one judge over all turns: an entry of Duel.judges."""

    score: Points | None
    parse_rate: float | None   # share of the turns, 0..1, on which it has a verdict
    metrics: dict[str, Points | None] = ABSENT
    model: str = ABSENT


@dataclass(frozen=True)
class Duel:
    """Hold the outcome of a duel: score/_duel.json.

    Files of earlier versions lack the fields that default to ABSENT. An export does not need them,
    a report needs all.
    """

    title = "the outcome of a duel"
    raw: Object                   # the file's content, including keys that are not fields
    mode: str                     # "king" or "reference": the challenger's opponent
    order: str                    # "both" or "king_first"
    accepted: bool
    reasons: list[str]            # why it was not accepted
    judges: dict[str, JudgeResult]
    challenger_score: Points | None
    margin: float | None         # in points, like the scores; null: too little could be read
    lcb: float | None            # lower confidence bound of the margin
    turns: int
    win_margin: float            # minimum margin for acceptance
    gate_alpha: float            # quantile for the bound
    resamples: int
    interval: list[float] | None = ABSENT   # 95 % interval of the margin, in points
    metrics: dict[str, Points | None] = ABSENT
    panel: PanelStatistics = ABSENT
    verdicts: str = ABSENT                   # digest of the verdicts behind the decision
    turns_parsed: int = ABSENT               # every judge of the panel has a verdict
    turns_judged: int = ABSENT               # at least one judge has a verdict
    turns_left: int = ABSENT                 # not judged yet
    missing_answers: int = ABSENT            # answer records without both sides
    instances: int = ABSENT
    seed: int = ABSENT
    min_turns: int = ABSENT
    bootstrap_resamples: int = ABSENT
    parsed_frac: float = ABSENT             # turns_parsed / turns
    min_valid_turn_frac: float = ABSENT
    min_instances: int = 0

    @property
    def models(self) -> set[str]:
        """Return the models of its judges."""
        return {judge.model or name for name, judge in self.judges.items()}

    @property
    def rival_score(self) -> float | None:
        """Return the score of the challenger's opponent: king or reference."""
        return self.raw.get(f"{self.mode}_score")

    @classmethod
    def read(cls, path: Path, mode: str, todo: str, complete: bool = True) -> Duel:
        """Return the outcome in a file. Raise FileNotFoundError, or BrokenRecord for a fault.

        With `complete`, every field is required.
        """
        faults = []
        try:
            duel = cls.of(orjson.loads(read_bounded(path)), str(path), todo, complete)
        except ValueError as e:
            faults.append(str(e))
        else:
            if duel.mode != mode:
                faults.append(f"`mode` is {duel.mode!r}, not {mode!r}")
            if complete and (duel.order not in ("both", "king_first") or not duel.judges):
                faults.append("it has no judges, or their order is none")
        _refuse(cls, faults, str(path), todo)
        return duel

    @classmethod
    def of(cls, raw: Object, where: str = DUEL, todo: str = "", complete: bool = False) -> Duel:
        """Return the record in a file's content. Raise BrokenRecord with every fault."""
        # a judge's name or reason may be any text: it is only displayed
        data = {**storable(raw), "raw": raw} if isinstance(raw, dict) else raw
        duel = parse(cls, data, where, todo, complete)
        if duel.margin is not None:
            scores = {key: (" is missing", check_of("float"))
                      for key in ("lcb", "challenger_score", f"{duel.mode}_score")}
            _refuse(cls, _named_faults(scores, raw), where, todo)
        return replace(duel, judges={
            name: parse(JudgeResult, judge, f"{where}[{printable(name, 200)}]", todo, complete)
            for name, judge in duel.judges.items()})


@dataclass(frozen=True)
class OfRepository:
    """Hold the common fields of records about a repository. Ledgers list them by `repo_name`."""

    repo: str                # as in the input
    repo_name: ItemName      # usually the file's name
    base_commit: str         # "": unknown

    @property
    def instance_id(self) -> str:
        """Return the item's name in ledgers."""
        return self.repo_name


@dataclass(frozen=True)
class Environment(OfRepository):
    """Hold a repository's install and test scripts, and their results: env/<repo_name>.json."""

    directory = "env"
    row: Object              # the input's row and the source's licence
    base_image: str          # image that the install script starts from
    image_name: str          # image with the repository installed; "": none was made
    status: str              # success | max_iteration | tool_stop | error; later stages: success
    install_script: str      # bash, in the source's folder, with network access
    test_script: str         # bash, in the source's folder, without network access
    summary: str             # findings, for the user
    planner: str             # recipe | agent: which one wrote the scripts
    messages: list[Object]   # the agent's trajectory; empty without an agent
    error: str               # the failed check and its reason; "" on success
    test_case_result: list[CaseResult]
    flaky: list[str]         # names of tests whose status differed between runs
    verified: Object         # runs, shares passed and collected, healthy, image: from verification
    usage: Object            # calls, tokens and cost of the agent
    seconds: Seconds         # in all


class CaseResult(TypedDict):
    """Hold the outcome of a test case; it may have further keys."""

    name: str
    status: str              # passed | failed | error | skipped


class Measurement(TypedDict):
    """Describe the measurement of a Coverage; it may have further keys."""

    runs: int
    seconds: list[Seconds]   # the suite's duration in each run
    versions: list[Object]


class CoveredTest(TypedDict):
    """Hold the lines and functions that a test ran, in a Coverage."""

    name: str
    status: list[str]        # one for each run
    flaky: bool
    lines: dict[str, int]    # {index into files: index of a line set}
    functions: int | None    # index of a function set; null: not recorded
    starts: list[str]        # events after which nothing is recorded


class Otherwise(TypedDict):
    """Hold a test whose outcome differs from env/, in a Coverage."""

    name: str
    expected: str
    status: str


@dataclass(frozen=True)
class Coverage(OfRepository):
    """Hold the coverage of each test of a repository: coverage/<repo_name>.json.

    A list of ranges [first, last, first, last, …] is a set of lines, from 1. Equal sets are stored
    once and referenced by index.
    """

    directory = "coverage"
    contexts: str            # pytest: coverage is known by test | none: unknown, see `reason`
    reason: str              # why there are no contexts; "" if there are
    measured: Measurement    # also has digests of the image and scripts that ran
    files: list[str]         # paths of the sources that tests executed
    functions: list[str]     # ids of the functions that tests executed: path::Qual.name
    line_sets: list[Ranges]
    function_sets: list[list[int]]   # indexes into `functions`
    tests: list[CoveredTest]
    test_seconds: list[Seconds]          # each test's duration in its last run
    import_lines: dict[str, Ranges]   # {path: ranges} of lines that ran outside of any test
    runnable: dict[str, Ranges]       # {path: ranges} of the first lines of statements
    otherwise: list[Otherwise]
    seconds: Seconds         # all runs together

    @staticmethod
    def faults_between(data: dict) -> list[str]:
        """Return the contradictions between valid fields of a record."""
        tests, n_runs = data["tests"], data["measured"]["runs"]
        used = {"files": {i for test in tests for i in test["lines"]},
                "line_sets": {str(k) for test in tests for k in test["lines"].values()},
                "function_sets": {str(test["functions"]) for test in tests} - {"None"},
                "functions": {str(i) for indexes in data["function_sets"] for i in indexes}}
        faults = [f"`{name}` lacks an entry that is named elsewhere" for name, indexes in
                  used.items() if not indexes <= {*map(str, range(len(data[name])))}]
        if len(data["test_seconds"]) != len(tests):
            faults.append("`test_seconds` and `tests` differ in length")
        if {len(data["measured"]["seconds"]), *(len(test["status"]) for test in tests)} != {n_runs}:
            faults.append("`measured.runs` differs from the number of runs")
        return faults


@dataclass(frozen=True)
class Analysis(OfRepository):
    """Hold the structure of a repository: analysis/<repo_name>.json."""

    directory = "analysis"
    source: str              # runtime: scores come from coverage/ | static: from the call graph
    reason: str              # why it is static; "" if it is not
    languages: dict[str, Object]   # {name: {files, lines, entities, edges: whether there are any}}
    files: list[Object]      # {path, language, lines, is_test, covered: share of the executable
                             # lines, or null}
    faults: dict[str, str]   # {path: why its analysis failed or is partial}
    entities: list[Object]   # definitions: see codedata/code/entities.py
    edges: list[Object]      # {caller, callee, kind, certainty: resolved | guessed, n_tests:
                             # counted tests that ran both ends, or null}; path::<module> calls, too
    hotspots: list[Object]   # {id, score}, highest score first; without test files
    tests: list[Object]      # {name, status, flaky, entity: id of its function or "", n_functions}
    measured: Object         # numbers of tests, of counted tests (passed, not flaky), of runs


@dataclass(frozen=True)
class BugConfig(OfRepository):
    """Configure how `bug_inject.py scale` injects and judges bugs in a repository:
    bug/_config/<repo_name>.json."""

    directory = "bug/_config"
    named_by_id = True
    environment: str         # digest of the image, test script and results that judge bugs
    roots: list[str]         # files and folders to inject bugs into; ["."]: all
    exclude: list[str]       # fnmatch patterns of paths to leave unchanged
    selection: str           # plugin: tests by coverage/, in a warm process | none: the whole suite
    timeout_s: Seconds       # for a run of the whole suite
    max_candidates: int      # made by procedures
    seed: int

    @staticmethod
    def faults_between(data: dict) -> list[str]:
        """Return the faults of an edited config."""
        faults = []
        if data["selection"] not in ("plugin", "none"):
            faults.append("`selection` is neither plugin nor none")
        if not data["roots"]:
            faults.append("`roots` names nothing: \".\" is all of the source")
        faults += [f"`{field}` is below {least}" for field, least in
                   (("timeout_s", 1), ("max_candidates", 1)) if data[field] < least]
        return faults


class ProposedChange(TypedDict):
    """Hold a candidate for a bug, in a Candidates; it may have further keys."""

    diff: str                # git's format, only source files
    symbol: str              # id of the changed function, as in analysis/; "": unknown
    summary: str             # the maker's description of the bug; not for publication


@dataclass(frozen=True)
class Candidates(OfRepository):
    """Hold changes that may be bugs, as one batch: bug/_candidates/<repo_name>.<batch>.json."""

    directory = "bug/_candidates"
    method: str              # how they were made: agent
    candidates: list[ProposedChange]
    trajectory: str          # path of the agent's trajectory, from the root; "": none
    usage: Object            # calls, tokens and cost of the agent
    seconds: Seconds


class BugVerdict(TypedDict):
    """Hold the result of screening a candidate, in a Verdicts."""

    diff: str                # digest of the candidate's diff
    instance_id: str         # the task it may become
    good: bool               # whether it may become a bug
    reason: str              # why it may not; "" if it may
    evidence: Object         # results of the runs


@dataclass(frozen=True)
class Verdicts(OfRepository):
    """Hold the results of screening candidates of scale: bug/_verdicts/<name>.json."""

    directory = "bug/_verdicts"
    verdicts: list[BugVerdict]   # one for each candidate, in their order
    seconds: Seconds


@dataclass(frozen=True)
class BugReport:
    """Hold the report of a bug: bug/<instance_id>.json. The bug itself is the task of that name."""

    directory = "bug"
    named_by_id = True
    instance_id: str         # <repo_name>.<batch>.<8 hex digits of the normalised diff>
    repo: str
    problem_statement: str   # as a user would write it; becomes the task's instruction
    reproduction: Object | None = None   # the script that shows the bug, and its two outputs


@dataclass(frozen=True)
class SourceCopy(OfRepository):
    """Describe a copy of a repository's source: nl2repo/_sources/<repo_name>.json, next to the
    folder of that name."""

    directory = "nl2repo/_sources"
    files: dict[str, str]    # {path: digest of its text} of readable sources
    faults: dict[str, str]   # {path: why it could not be read, wholly or in part}
    others: list[str]        # other files in the copy
    seconds: Seconds


class RecordedFact(TypedDict):
    """Hold a script that calls the project, and its outcome: an entry of `facts`."""

    functions: list[str]     # ids of the functions that it calls directly
    ran: dict[str, int]      # {id of a function that ran: number of its lines that ran}
    code: list[str]          # statements, ending in an expression
    told: str                # the value, or the exception with its message
    kind: str                # value | raises


@dataclass(frozen=True)
class RepoFacts(OfRepository):
    """Hold the facts of a repository, its tests' calls as standalone scripts:
    nl2repo/_facts/<repo_name>.json."""

    directory = "nl2repo/_facts"
    facts: list[RecordedFact]
    measured: Object         # {tests, events, scripts, suite_seconds, changed}
    seconds: Seconds


@dataclass(frozen=True)
class RepoMeta(OfRepository):
    """Describe a repository: nl2repo/_meta/<repo_name>.json."""

    directory = "nl2repo/_meta"
    licence: str | None      # SPDX; null if none is recognised
    summary: str             # from its project file; "": none
    dependencies: list[str]  # as declared in its project files
    files: list[Object]      # {path, language, lines, is_test}
    lines: int               # in sources that are not tests
    entities: dict[str, int] # {kind: number outside of test files}
    stable_tests: list[str]  # passed in every run
    flaky_tests: list[str]


class StripCandidate(TypedDict):
    """List functions whose bodies are stripped together, in a Communities."""

    kind: str                # function | community | module | package | empty
    functions: list[str]     # ids, as in analysis/


class ScreenedStrip(TypedDict):
    """Hold the result of screening a candidate, in a Communities. Newer records have `n_survivors`:
    the number of wrong variants of the function that pass all tests."""

    id: str                  # <repo_name>.<kind>.<8 hex digits of the normalised diff>; "": no diff
    kind: str
    functions: list[str]
    sources: list[str]       # digest of each function's source
    diff: str                # strips the bodies; "" if that is impossible
    verdict: str             # good, or a code for the reason against it
    reason: str              # the reason in words; "" if it is good
    n_covering: int          # counted tests that run one of the functions
    n_failing: int           # tests
    how: str                 # swap | import | suite | full (in a fresh container)
    seconds: Seconds


@dataclass(frozen=True)
class Communities(OfRepository):
    """Hold which functions of a repository can be stripped, and which of them belong together:
    nl2repo/_communities/<repo_name>.json."""

    directory = "nl2repo/_communities"
    eligible: list[str]      # ids of the functions that can be stripped
    left_out: dict[str, list[str]]   # {rule: ids of functions that cannot}
    communities: list[list[str]]     # eligible functions that belong together
    candidates: list[StripCandidate]
    screened: list[ScreenedStrip] | None = None   # one for each candidate, in their order
    ungraded: list[str] | None = None   # tests skipped because of a stripped body, as by xfail


@dataclass(frozen=True)
class StripPatch(OfRepository):
    """Hold a candidate for a task, functions with stripped bodies: nl2repo/_patches/<id>.json."""

    directory = "nl2repo/_patches"
    id: ItemName             # <repo_name>.<kind>.<8 hex digits of the normalised diff>
    kind: str                # function | community | module | package | empty
    functions: list[str]     # ids, as in analysis/
    sources: list[str]       # digest of each function's source
    diff: str                # strips the bodies
    screened: Object         # {verdict, reason, n_covering, n_failing, how, seconds}


@dataclass(frozen=True)
class Document(OfRepository):
    """Document a function or a whole project: nl2repo/_docs/<repo_name>.<8 hex digits of the
    id>.json, or <repo_name>.project.json."""

    directory = "nl2repo/_docs"
    kind: str                # function | project
    subject: str             # id of the function; "" for a project
    source: str              # digest of the documented source
    writer: str              # template | llm
    content: Object          # its fields; the text is made from them
    text: str                # Markdown
    checks: Object           # figures measured by the checks
    trajectory: str          # path of the agent's trajectory, from the root; "": none
    usage: Object            # calls, tokens and cost of the agent
    seconds: Seconds


@dataclass(frozen=True)
class RepoDocument(OfRepository):
    """Hold the document of a repository: nl2repo/<repo_name>.json, also written as .md next to it.
    """

    directory = "nl2repo"
    licence: str | None
    sections: list[Object]   # {name of its Document, subject, title, text}: the project's first
    index: dict[str, Object] # {id of a task: {kind, functions, names: public names that its
                             # tests use, api: the text that documents these and others,
                             # missing: names without a document}}
    checks: Object           # shares of documented functions and names; maximum overlap


@dataclass(frozen=True)
class Task:
    """Hold a task, the content of its folder task/<instance_id>/, which Harbor accepts unchanged.

    docs/tasks.md describes the folder. All makers of tasks write it; audits, attempts and exports
    read it. A folder from elsewhere is a task, too.
    """

    directory = "task"
    places: ClassVar = {"instruction": "instruction.md", "config": "task.toml",
                        "environment": "environment/", "solution": "solution/", "tests": "tests/",
                        "proof": "proof.json"}
    instance_id: str         # the folder's name
    kind: str                # one of KINDS, from `config`; "": not made by codedata
    config: Object           # Harbor's keys; our own data are in [metadata.codedata]
    environment: Files       # its Dockerfile, with its context
    solution: Files
    tests: Files             # the content of its verifier's /tests
    instruction: str | None = None   # for the agent; null: not written yet
    proof: Object | None = None      # results of the runs, and a digest of the proven parts

    @classmethod
    def completed(cls, data: dict) -> dict:
        """Return a folder's fields, with the kind that its task.toml names."""
        return {**data, "kind": kind_of(data["config"])}

    @classmethod
    def kind_in(cls, folder: Path) -> str:
        """Return the kind of the task in a folder; "" if it has none, or cannot be read."""
        try:
            return kind_of(toml_tables(read_bounded(folder / cls.places["config"]).decode()))
        except (OSError, ValueError, RecursionError):
            return ""

    @property
    def about(self) -> Object:
        """Return our own data on the task: [metadata.codedata] of its task.toml."""
        return about_in(self.config)


class Proof(TypedDict, total=False):
    """Hold the results of the runs that prove a task: its proof.json. Kinds of tasks add fields."""

    proof: int               # version; missing: 1
    runs: list[Object]       # {of, seconds}, with {reward}, or {broken, passed, cases, exit_code}
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


def kind_of(config) -> str:
    """Return the kind of task that a task.toml names; "" if it is not one of KINDS."""
    kind = about_in(config).get("kind")
    return kind if kind in KINDS else ""


@dataclass(frozen=True)
class RivalledTask(Task):
    """Hold a task with the scripts that test its verifier: rivals/ in its folder."""

    places: ClassVar = {**Task.places, "rivals": "rivals/"}
    rivals: Files | None = None   # right-*, wrong-* and cheat-*; null: there are none

    @classmethod
    def completed(cls, data: dict) -> dict:
        """Return a folder's fields, with its kind; `rivals` is None if there are none."""
        return {**super().completed(data), "rivals": data["rivals"] or None}


class AuditCheck(TypedDict):
    """Hold the result of one check of an audit."""

    name: str
    version: str             # the check's, raised when its results would change
    result: str              # one of AUDIT_RESULTS
    why: str                 # "" if it passed
    evidence: list[str]
    figures: Object          # numbers
    tries: list[Object]      # variants for a reviewer: {path, line, operator, place, diff, …}
    seconds: Seconds
    command: str             # repeats this check


@dataclass(frozen=True)
class TaskAudit:
    """Hold the audit of a task, with the result of each check: audit/<id>.json."""

    directory = "audit"
    instance_id: str
    kind: str                # the task's
    content: str             # digest of the audited task
    rivals: str              # digest of the scripts in rivals/; "" without
    checks: list[AuditCheck]
    seconds: Seconds


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


# outcomes of an attempt: rewarded by the verifier, or why not
ATTEMPT_STATUSES = SOLVED, WRONG, NO_SUBMISSION, CHEATED, *_ = (
    "solved", "wrong", "no submission", "cheated", "out of steps", "out of time",
    "out of context", "out of money", "refused")


class AgentRun(TypedDict):
    """Hold an agent's trajectory, in Harbor's ATIF 1.8, which has further keys: trajectory.json."""

    steps: list[Object]


class AttemptOutcome(TypedDict):
    """Hold the outcome of an attempt: its record.json."""

    task: ItemName
    kind: str                # the task's
    content: str             # digest of the attempted task
    agent: str               # its name, model and 6 hex digits of its settings
    model: str               # "" for nop and gold
    settings: Object         # the agent's: sampling, limits
    attempt: Integer         # from 1
    planned: Integer         # attempts at the task that its run planned
    status: str              # one of ATTEMPT_STATUSES
    why: str                 # details of the status
    reward: float
    until: list[Integer]     # [solve] until at that time
    verifier: str            # the end of its output
    replayed: Integer        # replies reused from an earlier, killed run of it
    usage: Object            # calls, tokens_in, tokens_out, cost_usd
    seconds: Object          # for model, tools, verifier, and in total


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
    patch: str | None = None   # the work directory's diff; null: none, or it has binary files


class QueueTask(TypedDict):
    """Hold a task of dp/_queue.jsonl. Its `result`, any JSON, is not listed here."""

    id: ItemName             # begins with its type
    type: str
    state: str
    parent: str              # id of another task, or ""
    priority: Integer
    attempts: Integer
    agent: AnyText | None    # from the newest claim, like the next two fields
    claim: str | None        # digest of its token
    lease_until: UnixTime | None  # null: no agent holds the task
    created_at: UnixTime
    errors: list[str]
    key: AnyText             # idempotency key: unique unless it is ""


class QueueData(TypedDict, total=False):
    """Hold the keys of a task's data that codedata reads; it may have others."""

    seed: ItemName
    datapoint: ItemName
    content: str
    rates: Object
    tried: list[ItemName]    # attempts that led to it


@dataclass(frozen=True)
class Fact:
    """Hold a text that a turn shares with a pull request although the conversation has not shown
    it. codedata/leak/facts.py finds them."""

    kind: str                # path | name | test | literal | line | code | anchor
    text: str                # verbatim from the turn
    start: int               # in the turn, in characters
    why: str
    certain: bool            # bars the turn if there is no leak judge


@dataclass(frozen=True)
class LeakVerdict:
    """Hold the verdict of one leak judge on one turn: in answer*/_leaks/ and in score/."""

    judge: str
    side: str                # challenger | king (a blind turn, which measures false alarms)
    of: str                  # digest of history, turn and pull request
    attempt: int             # 2: the first reply could not be read
    leak: bool
    findings: list[Quote]    # empty if nothing leaks
    hedged_claims: int       # claims in the thought that are stated as guesses
    raw: str                 # the unchanged reply
    usage: Object            # tokens_in, tokens_out, cost_usd
    seconds: Seconds
    settings: str            # digest of model, temperature and prompt text


def text_problem(value: str) -> str | None:
    """Return why a text cannot be stored or sent (NUL byte, lone surrogate), or else None."""
    if "\x00" in value:
        return "has a NUL byte"
    try:
        value.encode()
    except UnicodeEncodeError:
        return "has a lone surrogate (half a character)"
    return None


def storable(value):
    """Return a JSON value with NUL bytes and lone surrogates replaced in its texts, since they can
    neither be sent nor stored."""
    if isinstance(value, str):
        return value.replace("\x00", "�").encode("utf-8", "replace").decode()
    if isinstance(value, list):
        return [storable(entry) for entry in value]
    if isinstance(value, dict):
        return {key: storable(entry) for key, entry in value.items()}
    return value


def safe_name(name: str) -> bool:
    """Return whether an id may be a file name: up to 200 of [A-Za-z0-9._-], not starting with a dot
    or an underscore."""
    return bool(SAFE_NAME.fullmatch(name))


def parse(cls, data, where: str, todo: str = "", complete: bool = False):
    """Return `data` as a record of `cls`. Raise BrokenRecord with every fault in one sentence.

    With `complete`, fields whose default is ABSENT are required, too.
    """
    keys = _keys(cls, complete)
    faults = [f"it is {_kind(data)}, not an object"]
    if type(data) is dict:
        faults = _named_faults(keys, data)
    if not faults and hasattr(cls, "faults_between"):
        faults = cls.faults_between(data)
    _refuse(cls, faults, where, todo)
    return cls(**{name: data[name] for name in keys if name in data})


def _refuse(cls, faults: list[str], where: str, todo: str) -> None:
    """Raise BrokenRecord if there are faults."""
    if faults:
        article = "an" if cls.__name__[0] in "AEIOU" else "a"
        title = getattr(cls, "title", f"{article} {cls.__name__}")
        raise BrokenRecord(f"is not {title}: {', '.join(faults)}.", where, todo)


# Checks. A check returns the fault of a value, or None. A fault continues the value's name:
# " is null, not a text", "[0].role is null, not a text"

@lru_cache
def _keys(cls, complete: bool = False) -> dict:
    """Return {key: (the fault if it is missing, the check of its value)} of a record class."""
    needed = (MISSING, ABSENT) if complete else (MISSING,)
    return {field.name: (" is missing" if field.default in needed
                         and field.default_factory is MISSING else "", check_of(field.type))
            for field in fields(cls)}


def _keys_of(kind) -> dict:
    """Return the same as _keys() for a TypedDict."""
    return {name: (" is missing" if kind.__total__ and name not in MAY_LACK else "",
                   check_of(one.__forward_arg__))
            for name, one in kind.__annotations__.items()}


def _faults(keys: dict, data: dict) -> Iterator[tuple[str, str]]:
    """Yield (key, fault) for each key that is missing or wrong."""
    for name, (missing, check) in keys.items():
        if fault := check(data[name]) if name in data else missing:
            yield name, fault


def _named_faults(keys: dict, data: dict) -> list[str]:
    return [f"`{name}`{fault}" for name, fault in _faults(keys, data)]


@lru_cache
def check_of(kind: str):
    """Return the check for a type, given the type's name."""
    if kind in _CHECKS:
        return _CHECKS[kind]
    if kind.endswith(" | None"):
        check = check_of(kind.removesuffix(" | None"))
        return lambda value: None if value is None else check(value)
    outer, _, inner = kind.removesuffix("]").partition("[")
    if not inner:
        cls = globals()[kind]
        return _has(_keys_of(cls) if is_typeddict(cls) else _keys(cls))
    return _each({"list": list, "dict": dict}[outer], check_of(inner.removeprefix("str, ")))


def _is_a(kind: type):
    return lambda value: None if type(value) is kind else f" is {_kind(value)}, not {_NAMES[kind]}"


def _is_from(low: float, high: float, name: str):
    return lambda value: (None if type(value) in (int, float) and low <= value <= high
                          else f" is not {name}")


def _each(kind: type, check):
    """Return the check that a value is a list or an object whose entries all pass `check`."""
    def fault_of(value):
        if type(value) is not kind:
            return _is_a(kind)(value)
        for key, entry in value.items() if kind is dict else enumerate(value):
            if fault := check(entry):
                return f"[{printable(str(key), 200)}]{fault}"
        return None
    return fault_of


def _has(keys: dict):
    """Return the check that a value is an object with these keys; others are allowed."""
    def fault_of(value):
        if fault := _is_object(value):
            return fault
        return next((f".{name}{fault}" for name, fault in _faults(keys, value)), None)
    return fault_of


def _texts(*names: str, missing: str = " is missing") -> dict:
    return dict.fromkeys(names, (missing, _text))


def _entries(*names: str, of_entry=None):
    """Return the check of a list of objects. Entries pass if `names` are exactly their keys and the
    values are texts; others must pass `of_entry`, by default that they have these texts."""
    check = of_entry or _has(_texts(*names))

    def entry_fault(entry):   # the entry may have other keys
        return check(entry) or _text(json.dumps(entry, ensure_ascii=False))

    def fault_of(value):
        try:   # fast path: check all texts at once
            if type(value) is list and {*map(len, value)} <= {len(names)} and not text_problem(
                    "".join([entry[name] for entry in value for name in names])):
                return None
        except (TypeError, KeyError):
            pass
        return _each(list, entry_fault)(value)
    return fault_of


_NAMES = {dict: "an object", list: "a list", str: "a text", bool: "true or false",
          int: "a whole number", type(None): "null"}


def _kind(value) -> str:
    return "a number" if type(value) is int else _NAMES.get(type(value), "a number")


def _text(value):
    fault = text_problem(value) if type(value) is str else _is_text(value)
    return fault and f" {fault.lstrip()}"


def _item_name(value):
    return _text(value) or (None if safe_name(value) else " is refused as the name of an item")


def _message(value):
    """Return the fault of a message, or None."""
    if fault := _has(_texts("role"))(value):
        return fault
    if value.get("content") is not None and (fault := _content(value["content"])):
        return f".content{fault}"
    calls = value.get("tool_calls")
    if not calls:
        return None if value.get("content") is not None else ".content is missing"
    if fault := _each(list, _is_object)(calls):
        return f".tool_calls{fault}"
    for i, call in enumerate(calls):
        function = call.get("function")
        arguments = function.get("arguments") if type(function) is dict else None
        if type(arguments) not in (str, dict) or type(function.get("name")) is not str:
            return f".tool_calls[{i}].function has no name and arguments"
    return None


def _tools(value):
    """Return the fault of a list of tool definitions, or None. Check only keys that are read."""
    if fault := _each(list, _is_object)(value):
        return fault
    for i, tool in enumerate(value):
        function = tool.get("function", tool)
        schema = function.get("parameters") or {} if type(function) is dict else None
        is_one = type(schema) is dict and type(function.get("name")) is str and (
            type(schema.get("properties") or {}) is dict
            and not check_of("list[str]")(schema.get("required") or []))
        if not is_one:
            return f"[{i}] is not a definition {{type, function {{name, description, parameters}}}}"
    try:
        orjson.dumps(value)
    except TypeError as e:
        return f" cannot be stored: {e}"
    return None


def _content(value):
    """Return the fault of a message's content, or None."""
    if type(value) is str:
        return None
    return _each(list, _is_object)(value) and " is neither a text nor a list of parts"


def _side(value):
    """Return the fault of a Side, or None."""
    if type(value) is str:
        return _text(value)
    fault = _is_object(value) and f" is {_kind(value)}, neither a text nor a message"
    return fault or _entries(of_entry=_message)([{"role": "assistant", **value}])


def _order(value):
    return None if value in ORDERS else f" is {value!r}, not one of {', '.join(ORDERS)}"


def _ranges(value):
    if fault := check_of("list[int]")(value):
        return fault
    is_even = len(value) % 2 == 0
    if is_even and [1, *value, MAX_LINE] == sorted([1, *value, MAX_LINE]):
        return None
    return " is not a list of ranges [first, last, first, last, …]"


def _judge_verdict(value):
    if fault := _VERDICT(value):
        return fault
    scores = value.get("scores")
    if value["parse_ok"] and not (
            type(scores) is dict and scores.keys() == set(METRICS)
            and all(type(score) is not bool and score in (0, 0.5, 1) for score in scores.values())):
        return f".scores does not hold 0, 0.5 or 1 for each of {', '.join(METRICS)}"
    return None


_is_object, _is_text, _is_int, _is_bool = map(_is_a, (dict, str, int, bool))
_MAX = sys.float_info.max
_CHECKS = {
    "str": _text, "int": _is_int, "bool": _is_bool,
    "Points": _is_from(0, 100, "a number from 0 to 100"),
    "Seconds": _is_from(0, _MAX, "a number of seconds"),
    "float": _is_from(-_MAX, _MAX, "a number"),
    **dict.fromkeys(("Object", "Files", "Finding", "PanelStatistics"), _is_object),
    "list[Message]": _entries("role", "content", of_entry=_message), "Side": _side,
    "Tools": _tools,
    "JudgeVerdict": _judge_verdict,
    "list[Reason]": _entries("judge", "order", "reason"),
    "list[Quote]": _entries("quote", "kind", "why"),
    "Ranges": _ranges, "ItemName": _item_name, "AnyText": _is_text,
    "UnixTime": _is_from(0, 2**62, "a time in seconds"),
    "Integer": lambda value: _is_int(value) or _is_from(-2**63, 2**63 - 1, "of 64 bits")(value)}
_VERDICT = _has({
    **_texts("judge"), "order": (" is missing", _order), "parse_ok": (" is missing", _is_bool),
    **_texts("reason", "error", "marker", "settings", missing=""), "attempt": ("", _is_int)})
_CHECKS["QueueLine"] = _has({
    **_texts("event", "detail"), "at": (" is missing", _CHECKS["UnixTime"]),
    "task": (" is missing", check_of("QueueTask")), "data": ("", check_of("QueueData"))})

# a root's folders with records: "answer", "variants"
DIRECTORIES = sorted({kind.directory.partition("/")[0] for kind in list(globals().values())
                      if isinstance(getattr(kind, "directory", None), str)})
