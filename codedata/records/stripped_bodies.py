"""Define what nl2repo.py writes: copies of sources, metadata, facts, communities, documents, and
patches that strip bodies."""
from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

from codedata.records.field_types import Object, Seconds
from codedata.records.repositories import OfRepository


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
