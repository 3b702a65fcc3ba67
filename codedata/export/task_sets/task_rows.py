"""Write tasks as rows: bugs and pull requests as `swebench`, for its harness from version 5 on, and
as `swesmith`, whose patch is the solution reversed; stripped patches as `nl2repo`, with their
document.
"""
from __future__ import annotations

from functools import partial

from codedata.errors import Excluded
from codedata.export.exports import Export
from codedata.export.formats import TEXT
from codedata.export.task_sets.task_exports import ExportTask, TaskOrigins, about_text
from codedata.records import Object, Task, check_of
from codedata.tasks.folder.eval_script import script_of
from codedata.tasks.folder.task_folder import (
    GOLD,
    REVERSE,
    TEST_PATCH,
    Problem,
    document_in,
    text_in,
    verifier_config,
)
from codedata.texts import squeezed, text_of

PROFILES = "swesmith_profiles.txt"
RATES = ('STRUCT(agent VARCHAR, model VARCHAR, attempts BIGINT, solved BIGINT, rate DOUBLE, '
         '"interval" DOUBLE[], is_cut BOOLEAN)[]')   # an entry for each agent with a model
LISTS = ("FAIL_TO_PASS", "PASS_TO_PASS", "functions")
LOG_PARSER, EVAL_TYPE = "parse_log_pytest", "pass_and_fail"   # swebench 5


def columns_of(names: str) -> dict[str, str]:
    """Return {name: column type} for names separated by spaces, and for the rates of models."""
    return {**{name: f"{TEXT}[]" if name in LISTS else TEXT for name in names.split()},
            "rates": RATES}


SWEBENCH = columns_of("""instance_id repo base_commit patch test_patch problem_statement hints_text
    created_at version FAIL_TO_PASS PASS_TO_PASS environment_setup_commit image eval_script
    log_parser eval_type language method symbol bug_patch source_commit image_name""")
SWESMITH = columns_of("""instance_id repo patch FAIL_TO_PASS PASS_TO_PASS image_name created_at
    problem_statement base_commit test_patch eval_script language method symbol source_commit""")
NL2REPO = columns_of("""instance_id repo base_commit licence kind functions document patch
    strip_patch test_patch FAIL_TO_PASS PASS_TO_PASS eval_script image_name task_commit created_at
    tests_visible tests_user""")
OF_ABOUT = ("repo", "source_commit", "task_commit", "created_at", "language", "method", "symbol",
            "tests_visible")


# {column: key of its value in _values()}, if they differ
OF_SWEBENCH = {"base_commit": "task_commit"}
OF_SWESMITH = {"base_commit": "task_commit", "patch": "bug_patch"}
OF_NL2REPO = {"base_commit": "source_commit", "kind": "method", "strip_patch": "bug_patch"}


def _values(task: Task, image: str) -> Object:
    """Return the values of all columns by name."""
    config, instruction = verifier_config(task), task.instruction or ""
    about = {name: about_text(task, name) for name in OF_ABOUT}
    return {
        **about, "instance_id": task.instance_id, "licence": about_text(task, "licence") or None,
        "functions": task.about.get("functions") or [], "patch": text_in(task.solution, GOLD),
        "bug_patch": text_in(task.solution, REVERSE),
        "test_patch": text_in(task.tests, TEST_PATCH), "problem_statement": instruction,
        "document": document_in(instruction), "hints_text": "", "version": "",
        "FAIL_TO_PASS": config.get("FAIL_TO_PASS", []),
        "PASS_TO_PASS": config.get("PASS_TO_PASS", []), "tests_user": str(config.get("user", "")),
        "environment_setup_commit": about["source_commit"], "image": image, "image_name": image,
        "eval_script": script_of(task), "log_parser": LOG_PARSER, "eval_type": EVAL_TYPE}


# what is left out --------------------------------------------------------------------------------

def strip_problems(tasks: list[Task], origins: TaskOrigins) -> dict[str, Problem]:
    """Return {name: problem} of the tasks that cannot become a row."""
    return {task.instance_id: problem for task in tasks
            if (problem := _columns_problem(task))}


def issue_problems(tasks: list[Task], origins: TaskOrigins) -> dict[str, Problem]:
    """Return {name: problem} of the tasks that cannot become a row, or whose report an earlier task
    of the same repository has."""
    problems = strip_problems(tasks, origins)
    first = {}   # (repository, report) → the first task that has it
    for task in tasks:
        if task.instance_id not in problems:
            report = about_text(task, "repo"), squeezed(task.instruction or "")
            name = first.setdefault(report, task.instance_id)
            if name != task.instance_id:
                problems[task.instance_id] = "report of another task", f"{name} has it, too"
    return problems


def _columns_problem(task: Task) -> Problem | None:
    try:
        values = _values(task, "")
    except (Excluded, ValueError) as e:   # the script is too long, or a test is not a text
        return "eval_script", str(e)
    faults = [f"{name}{fault}" for name in LISTS if (fault := check_of("list[str]")(values[name]))]
    return ("columns", "; ".join(faults)) if faults else None


# what is written ---------------------------------------------------------------------------------

def write_rows(export: Export, columns: dict[str, str], renamed: dict[str, str]) -> None:
    """Write a row for each task, with its image."""
    def make(one: ExportTask) -> Object:
        values = {**_values(one.task, one.image.ref),
                  "rates": [{"agent": agent, **rates} for agent, rates in one.rates.items()]}
        return {column: values[renamed.get(column, column)] for column in columns}

    export.write_tables(make, columns)


write_swebench = partial(write_rows, columns=SWEBENCH, renamed=OF_SWEBENCH)
write_nl2repo = partial(write_rows, columns=NL2REPO, renamed=OF_NL2REPO)


def write_swesmith(export: Export) -> None:
    """Write the rows of `swesmith`, and the module that lets SWE-smith read their logs."""
    write_rows(export, SWESMITH, OF_SWESMITH)
    (export.new / "profiles.py").write_text(text_of(__package__, PROFILES))
