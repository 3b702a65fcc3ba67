"""Parse the reports of test runners into one list of cases: name, status (passed, failed, error or
skipped) and, if JUnit XML has them, seconds.

It reads JUnit XML (pytest, unittest, jest, vitest, mocha, node, go, cargo, Maven, Gradle), `go test
-json`, jest's JSON and, if none of these has a case, the printed output. A case is named by its
file, class or suite and the runner's name for it; with pytest, by its node id. Cases with the same
name are merged into one with the worst status, so the order of the reports does not matter. A
report or output that is cut short adds an error case (BROKEN_OFF). Two runners may name the same
test differently.
"""
from __future__ import annotations

import re
from collections.abc import Collection, Container, Iterable, Mapping
from dataclasses import dataclass

from codedata.texts import printable, storable, toml_of
from codedata.verifier.junit import RANKS, Found, worst
from codedata.verifier.runner_output import compiled, read_results

GOOD = ("passed", "skipped")
OVER = re.compile(r"\((results_too_\w+): (.*)\)")
PYTEST_CLASS = re.compile(r".*\b(?:\w+\.py|test_\w+)\b.*::[A-Z]\w*")
RUNNERS = toml_of(__package__, "test_runners.toml")
PATTERNS = compiled(RUNNERS)


@dataclass(frozen=True)
class Case:
    """Hold the outcome of a test case: its status is one of RANKS."""

    name: str
    status: str
    seconds: float | None = None    # None if no report has it

    @classmethod
    def of(cls, row: Mapping) -> Case:
        """Return the case of a row {name, status}. Its status may be in upper case."""
        return cls(row["name"], row["status"].lower(), row.get("seconds"))


def parse(files: dict[str, bytes], text: str = "", beside: Iterable[Found] = ()) -> list[Case]:
    """Return the cases in report files {path: content}, sorted by name; if the files have none, the
    cases in `text`, the runner's output. Add the cases in `beside`. Content above a size limit
    becomes an error case."""
    cases = [*read_results(sorted(files.items()), text, PATTERNS, over), *beside]
    found = worst((storable(name), *rest) for name, *rest in cases)
    return [Case(name, *rest) for name, rest in sorted(found.items())]


def over(kind: str, what: str) -> Found:
    """Return an error case for a limit that was reached. `kind` is too_large, too_many, too_deep or
    too_slow."""
    return f"(results_{kind}: {printable(what, 200).replace('::', ':')})", "error"


def not_collected(results: list[Case]) -> list[str]:
    """Return the names of the files, modules, packages and pytest classes that could not be
    collected, so that their cases never ran."""
    errors = [case.name for case in results if case.status == "error"]
    return [name for name in errors
            if "::" not in name or "_FailedTest" in name or PYTEST_CLASS.fullmatch(name)]


def with_lost(results: list[Case], known: Collection[str]) -> tuple[dict[str, str], list[str]]:
    """Return ({name: status}, the names of not_collected() except files of known cases). If a known
    case is missing and its file failed, the case has the status error."""
    statuses = {case.name: case.status for case in results}
    files = {name: name.partition(" > ")[0] for name in known}
    missing = {name: "error" for name, file in files.items()
               if name not in statuses and statuses.get(file) in ("failed", "error")}
    return statuses | missing, sorted({*not_collected(results)}.difference(files.values()))


def counts(results: list[Case]) -> dict[str, int]:
    """Return {status: number of cases} for every status."""
    return {status: sum(case.status == status for case in results) for status in RANKS}


def place_of(name: str, paths: Container[str]) -> tuple[str, str]:
    """Return (path, qualified name in the file) of a test named path::Class::test_x[a] or
    package.module.Class::test_x; both are "" if the file is not in `paths`."""
    head, _, rest = name.partition("[")[0].partition("::")
    qualified = rest.replace("::", ".")
    if head in paths:
        return head, qualified
    dotted = head.split(".")
    for n in range(len(dotted), 0, -1):
        path = "/".join(dotted[:n]) + ".py"
        if path in paths:
            return path, ".".join([*dotted[n:], qualified]).strip(".")
    return "", ""
