"""Define what env_setup.py, analyze.py, bug_inject.py and nl2repo.py write about a repository:
environments, coverage, analyses; settings, candidates, verdicts and reports of bugs; copies of
sources, metadata, facts, communities, documents."""
from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

from codedata.records.field_types import ItemName, Object, Ranges, Seconds


@dataclass(frozen=True)
class OfRepository:
    """Hold the common fields of records about a repository. Ledgers name records by `repo_name`."""

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
    status: str              # success (later stages need it) | max_iteration | tool_stop | error
    install_script: str      # bash, in the source's folder, with network access
    test_script: str         # bash, in the source's folder, without network access
    summary: str             # findings, for the user
    planner: str             # recipe | agent: author of the scripts
    messages: list[Object]   # the agent's trajectory; empty without an agent
    error: str               # the failed check and the reason; "" on success
    test_case_result: list[CaseResult]
    flaky: list[str]         # names of tests whose status differed between runs
    verified: Object         # runs, shares of tests passed and collected, healthy, image
    usage: Object            # calls, tokens and cost of the agent
    seconds: Seconds         # in total


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
    """Hold the lines and functions that a test ran: an entry of Coverage."""

    name: str
    status: list[str]        # one for each run
    flaky: bool
    lines: dict[str, int]    # {index into files: index of a line set}
    functions: int | None    # index of a function set; null: not recorded
    starts: list[str]        # events after which coverage.py may miss code


class Otherwise(TypedDict):
    """Hold a test whose outcome differs from its outcome in env/: an entry of Coverage."""

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
    reason: str              # why static; "" if runtime
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


# bugs ---------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class BugConfig(OfRepository):
    """Configure how `bug_inject.py scale` injects and judges bugs in a repository:
    bug/_config/<repo_name>.json."""

    directory = "bug/_config"
    named_by_id = True
    environment: str         # digest of the image, test script and results that judge bugs
    roots: list[str]         # files and folders to inject bugs into; ["."]: all
    exclude: list[str]       # fnmatch patterns of paths to leave unchanged
    selection: str           # plugin: tests chosen by coverage/, in a warm process | none: all
    timeout_s: Seconds       # for a run of the whole suite
    max_candidates: int      # made by operators
    seed: int

    @staticmethod
    def faults_between(data: dict) -> list[str]:
        """Return the faults of an edited config."""
        faults = []
        if data["selection"] not in ("plugin", "none"):
            faults.append("`selection` is neither plugin nor none")
        if not data["roots"]:
            faults.append("`roots` names nothing: \".\" is all of the source")
        return faults + [f"`{field}` is below 1" for field in ("timeout_s", "max_candidates")
                         if data[field] < 1]


class ProposedChange(TypedDict):
    """Hold a candidate for a bug: an entry of Candidates. It may have further keys."""

    diff: str                # git's format, only source files
    symbol: str              # id of the changed function, as in analysis/; "": unknown
    summary: str             # the maker's description of the bug; not for publication


@dataclass(frozen=True)
class Candidates(OfRepository):
    """Hold changes that may be bugs, as one batch: bug/_candidates/<repo_name>.<batch>.json."""

    directory = "bug/_candidates"
    method: str              # origin of the changes: agent
    candidates: list[ProposedChange]
    trajectory: str          # path of the agent's trajectory, from the root; "": none
    usage: Object            # calls, tokens and cost of the agent
    seconds: Seconds


class BugVerdict(TypedDict):
    """Hold the result of screening a candidate: an entry of Verdicts."""

    diff: str                # digest of the candidate's diff
    instance_id: str         # id of the possible task
    good: bool               # whether the candidate may become a task
    reason: str              # why not; "" if good
    evidence: Object         # results of the runs


@dataclass(frozen=True)
class Verdicts(OfRepository):
    """Hold the results of screening the candidates of `bug_inject.py scale`:
    bug/_verdicts/<name>.json."""

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


# documents and stripped bodies --------------------------------------------------------------------

@dataclass(frozen=True)
class SourceCopy(OfRepository):
    """Describe a copy of a repository's source: nl2repo/_sources/<repo_name>.json, next to the
    folder of that name."""

    directory = "nl2repo/_sources"
    files: dict[str, str]    # {path of a readable source: digest of its text}
    faults: dict[str, str]   # {path: why it could not be read, wholly or in part}
    others: list[str]        # other files in the copy
    seconds: Seconds


class RecordedFact(TypedDict):
    """Hold a script that calls the project, and its outcome: an entry of RepoFacts."""

    functions: list[str]     # ids of the functions that it calls directly
    ran: dict[str, int]      # {id of a function that ran: number of its lines that ran}
    code: list[str]          # statements, ending in an expression
    told: str                # the value, or the exception with its message
    kind: str                # value | raises


@dataclass(frozen=True)
class RepoFacts(OfRepository):
    """Hold the facts of a repository: nl2repo/_facts/<repo_name>.json. A fact is a script made
    from a test of the repository, with its outcome."""

    directory = "nl2repo/_facts"
    facts: list[RecordedFact]
    measured: Object         # {tests, scripts}
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
    """List functions whose bodies are stripped together: an entry of Communities."""

    kind: str                # function | community | module | package | empty
    functions: list[str]     # ids, as in analysis/


class ScreenedStrip(TypedDict):
    """Hold the result of screening a candidate: an entry of Communities. Newer records have
    `n_survivors`, the number of wrong variants of the function that pass all tests."""

    id: str                  # <repo_name>.<kind>.<8 hex digits of the normalised diff>; "": no diff
    kind: str
    functions: list[str]
    sources: list[str]       # digest of each function's source
    diff: str                # strips the bodies; "" if that is impossible
    verdict: str             # good, or a code for the reason against it
    reason: str              # the reason in words; "" if it is good
    n_covering: int          # counted tests that run one of the functions
    n_failing: int           # tests that fail
    how: str                 # swap | import | suite | full (in a fresh container)
    seconds: Seconds


@dataclass(frozen=True)
class Communities(OfRepository):
    """Hold which functions of a repository can be stripped, and which of them belong together:
    nl2repo/_communities/<repo_name>.json."""

    directory = "nl2repo/_communities"
    eligible: list[str]      # ids of the functions that can be stripped
    left_out: dict[str, list[str]]   # {rule: ids of other functions}
    communities: list[list[str]]     # eligible functions that belong together
    candidates: list[StripCandidate]
    screened: list[ScreenedStrip] | None = None   # one for each candidate, in their order
    ungraded: list[str] | None = None   # tests that a stripped body makes skipped or xfail


@dataclass(frozen=True)
class Document(OfRepository):
    """Document a function or a whole project: nl2repo/_docs/<repo_name>.<8 hex digits of the
    id>.json, or <repo_name>.project.json."""

    directory = "nl2repo/_docs"
    kind: str                # function | project
    subject: str             # id of the function; "" for a project
    source: str              # digest of the documented source
    writer: str              # template | llm
    content: Object          # the fields that `text` is made from
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
