"""Describe a repository: its definitions, its calls, and the functions that most tests reach.

A test is counted if it passed in every run and is not flaky. With coverage/, the score of a
function is the number of counted tests that ran it. Without coverage/, it is estimated from the
call graph: a test adds 1 to each function that it calls directly, and 0.8 times as much for each
further call on the way. The factor is below 1 since the call graph has more calls than a test
makes.
"""
from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from functools import partial
from pathlib import Path

from codedata.code.calls import LANGUAGE, Edge, call_graph, import_closure, static_scores
from codedata.code.entities import Entity, Sources, all_entities
from codedata.disk.store import Store
from codedata.records import Analysis, Coverage, Environment, Object
from codedata.run.stage import Reads, Stage, Writes
from codedata.run.talk import begin_step
from codedata.sandbox.factory import SandboxFactory
from codedata.suites.contexts import add_lines, lines_by_test, mask_of, masks_of, sources_in
from codedata.suites.environments import READ, Environments, fresh_sandbox
from codedata.suites.test_results import Case, place_of
from codedata.terminal import plural

PASSED = "passed"
COVERAGE_FIELDS = ("contexts", "reason", "files", "functions", "line_sets", "function_sets",
                   "tests", "import_lines", "runnable")   # without times, which differ in each run


def coverage_reads(root: Path) -> Reads:
    """Return the Reads of a stage that needs the coverage of each test of an environment."""
    return Reads(Store(root, Coverage), COVERAGE_FIELDS, made_by="analyze.coverage",
                 same="base_commit")


def analysis_stage(root: Path, host: SandboxFactory, environments: Environments,
                   is_static: bool = False) -> Stage:
    """Return the step `analysis`. If `is_static`, it does not read coverage/."""
    return Stage(
        "analyze.analysis", make=partial(analyse, host), identity={"static": is_static},
        reads=Reads(environments, READ), also_reads=() if is_static else (coverage_reads(root),),
        writes=Writes(Store(root, Analysis)), after="env_setup.py", in_words=describe_analysis,
        then="bug_inject.py scale; nl2repo.py --writer template")


def analyse(host: SandboxFactory, environment: Environment,
            coverage: Coverage | None = None) -> Analysis:
    """Return the analysis of an environment's source."""
    name = environment.repo_name
    begin_step("analysing the source")
    with fresh_sandbox(environment, host, "analysis") as sandbox:
        sources = sources_in(sandbox)
    return analysis_of(environment.repo, name, environment.base_commit, sources,
                       tests_of(environment), coverage)


def tests_of(environment: Environment) -> list[Object]:
    """Return the tests of an environment, in the form that analysis_of() takes."""
    flaky = set(environment.flaky)
    return [{"name": case.name, "status": case.status, "flaky": case.name in flaky}
            for case in map(Case.of, environment.test_case_result)]


def analysis_of(repo: str, repo_name: str, base_commit: str, sources: Sources,
                tests: list[Object], coverage: Coverage | None = None) -> Analysis:
    """Return the analysis of sources. `tests`, {name, status, flaky}, are used without coverage; if
    there are none, each test in the source counts as passed."""
    entities, faults = all_entities(sources)
    by_id = {entity.id: entity for listed in entities.values() for entity in listed}
    edges = call_graph(sources.files, entities)
    reason = "not measured" if coverage is None else ""
    if coverage and coverage.contexts == "none":
        reason = f"not measured: {coverage.reason}"
    coverage = None if reason else coverage
    rows = _test_rows(coverage.tests if coverage else tests, coverage, by_id)
    masks = tests_by_function(coverage) if coverage else {}
    scores = ({id: mask.bit_count() for id, mask in masks.items()} if coverage
              else static_scores(edges, _starts(rows, by_id)))
    test_files = {file.path for file in sources.files if file.is_test}
    at_import = _at_import(by_id.values(), edges, coverage)
    hotspots = [{"id": id, "score": round(score, 4)}
                for id, score in sorted(scores.items(), key=lambda pair: (-pair[1], pair[0]))
                if score and id in by_id and by_id[id].path not in test_files]
    files = _files(sources, coverage)
    return Analysis(
        repo, repo_name, base_commit,
        source="static" if reason else "runtime", reason=reason,
        languages=_languages(files, entities), files=files, faults=faults,
        entities=[{**asdict(entity), "at_import": entity.id in at_import}
                  for entity in by_id.values()],
        edges=[{**asdict(edge), "n_tests": _n_together(edge, masks) if coverage else None}
               for edge in edges],
        hotspots=hotspots, tests=rows,
        measured={"tests": len(rows), "counted": sum(map(is_counted, rows)),
                  "runs": max((len(row["status"]) for row in rows if coverage), default=0)})


# what tests ran ----------------------------------------------------------------------------------

def is_counted(test: Object) -> bool:
    """Return whether a test passed in every run and is not flaky. Its `status` is one status or a
    list."""
    statuses = test["status"] if isinstance(test["status"], list) else [test["status"]]
    return not test.get("flaky") and {*statuses} == {PASSED}


def tests_by_function(coverage: Coverage) -> dict[str, int]:
    """Return {id of a function: bit mask of the counted tests that ran it}; bit i is the i-th
    test."""
    masks = Counter()
    for i, test in enumerate(coverage.tests):
        if is_counted(test) and test["functions"] is not None:   # None: it was not traced
            for function in coverage.function_sets[test["functions"]]:
                masks[coverage.functions[function]] |= 1 << i
    return masks


def _n_together(edge: Edge, masks: dict[str, int]) -> int | None:
    """Return how many counted tests ran both caller and callee; None if that is unknown."""
    if edge.caller.endswith("::<module>"):
        return None
    return (masks.get(edge.caller, 0) & masks.get(edge.callee, 0)).bit_count()


def _at_import(entities: Iterable[Entity], edges: list[Edge],
               coverage: Coverage | None) -> set[str]:
    """Return the ids of the functions that run at import: functions with a body line that ran
    outside of tests, and functions that module-level code reaches by resolved calls. Without
    coverage, guessed calls count, too."""
    if coverage is None:
        return import_closure(edges)
    lines = masks_of(coverage.import_lines)
    return import_closure([edge for edge in edges if edge.certainty == "resolved"]) | {
        entity.id for entity in entities
        if entity.kind != "class" and lines.get(entity.path, 0) & mask_of(entity.body_lines)
        & ~(1 << entity.line)}   # running the line of a one-line function may only define it


# tests -------------------------------------------------------------------------------------------

def _test_rows(tests: list[Object], coverage: Coverage | None,
               by_id: dict[str, Entity]) -> list[Object]:
    """Return the rows of tests in a record."""
    paths = {entity.path for entity in by_id.values()}
    rows = []
    for test in tests:
        entity = "::".join(filter(None, place_of(test["name"], paths)))
        k = test.get("functions")
        rows.append({
            "name": test["name"], "status": test["status"], "flaky": bool(test.get("flaky")),
            "entity": entity if entity in by_id else "",
            "n_functions": None if k is None else len(coverage.function_sets[k])})
    return rows


def _starts(rows: list[Object], by_id: dict[str, Entity]) -> list[str]:
    """Return the id of the function of each counted test case; without tests, the ids of the test
    functions in the source."""
    if rows:
        return [row["entity"] for row in rows if row["entity"] and is_counted(row)]
    return [id for id, entity in by_id.items() if entity.is_test]


# files -------------------------------------------------------------------------------------------

def _languages(files: list[Object], entities: dict[str, list[Entity]]) -> dict[str, Object]:
    rows = {language: {"files": 0, "lines": 0, "entities": 0, "edges": language == LANGUAGE}
            for language in sorted({file["language"] for file in files})}
    for file in files:
        row = rows[file["language"]]
        row["files"] += 1
        row["lines"] += file["lines"]
        row["entities"] += len(entities[file["path"]])
    return rows


def _files(sources: Sources, coverage: Coverage | None) -> list[Object]:
    """Return a row for each file; `covered` is the share of its statements that ran."""
    covered = {}
    if coverage:
        ran = masks_of(coverage.import_lines)
        for lines in lines_by_test(coverage):
            add_lines(ran, lines)
        covered = {path: round((mask & ran.get(path, 0)).bit_count() / mask.bit_count(), 4)
                   for path, mask in masks_of(coverage.runnable).items() if mask}
    return [{"path": file.path, "language": file.language, "lines": len(file.text.splitlines()),
             "is_test": file.is_test, "covered": covered.get(file.path)} for file in sources.files]


def describe_analysis(one: Analysis) -> str:
    """Return the numbers of definitions and hotspots."""
    return f"{plural(len(one.entities), 'definition')}, {plural(len(one.hotspots), 'hotspot')}"
