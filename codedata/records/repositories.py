"""Define what env_setup.py and analyze.py write: environments, coverage, analyses."""
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
