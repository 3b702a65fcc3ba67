"""List the faults of a task's folder, without running anything.

Only runs can show that the gold is rewarded, that an image does not reveal the solution, and that a
test is not flaky: these are not checked.
"""
from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from codedata.code.entities import is_test_file
from codedata.code.git import git_output
from codedata.code.patches import diff_of, files_of, hunks_of
from codedata.disk.layouts import load_folder
from codedata.errors import BrokenRecord
from codedata.records import BUG, PULL_REQUEST, STRIPPED_PATCH, Object, Task, check_of, parse
from codedata.sandbox.archives import UnsafeArchive
from codedata.sandbox.images.dockerfile import read_dockerfile
from codedata.tasks.folder import tests_folder
from codedata.tasks.folder.task_folder import (
    CONFIG,
    DOCKERFILE,
    GOLD,
    HIDDEN,
    HOW_TO_PROVE,
    REVERSE,
    SOLVE,
    TEST_PATCH,
    TEST_SCRIPT,
    TOML,
    Fault,
    config_faults,
    hidden_in,
    how,
    image_of,
    part_faults,
    secret_faults,
    text_in,
    verifier_config,
    workdir_of,
)
from codedata.texts import printable, text_of

TEST_FILE = "test_outputs.py"   # the file of tests with weights
PROGRAMS = "codedata/verifier"
PATCHED = (BUG, STRIPPED_PATCH, PULL_REQUEST)   # kinds whose solution is a patch
# keys of config.json, and keys that only a suite's config.json has
TYPES = {"user": "str", "timeout_s": "float", "workdir": "str"}
OF_SUITE = {"FAIL_TO_PASS": "list[str]", "PASS_TO_PASS": "list[str]", "canary": "str",
            "activation": "str", "archive": "str", "collect": "str", "counts": "list[str] | None",
            "programs": "list[str]"}


def faults_of(folder: Path) -> list[Fault]:
    """Return the faults of a task's folder. If parts cannot be read, return only these faults; if
    task.toml is wrong, return only its faults."""
    if folder.is_symlink() or not folder.is_dir():
        return [Fault("", "is not a folder", "Name a folder of task/.")]
    fields, faults = _read_parts(folder)
    if faults:
        return faults
    if fields["config"] is None:
        return [Fault(TOML, "is missing", "Write it: docs/tasks.md has an example.")]
    try:
        task = parse(Task, Task.completed(fields), str(folder))
    except BrokenRecord as e:
        return [Fault("", printable(e.what.rstrip(".")), "Correct it.")]
    checks = (part_faults, secret_faults, _environment, _solution, _tests)
    return [*config_faults(task)] or [fault for check in checks for fault in check(task)]


def _read_parts(folder: Path) -> tuple[dict, list[Fault]]:
    """Return (the fields of a Task that can be read, why the others cannot)."""
    fields: dict = {"instance_id": folder.resolve().name}
    faults = []
    for field, place in {**Task.places, "all": "./"}.items():
        if faults and field == "all":   # do not report a part's fault twice
            break
        try:
            fields |= load_folder(folder, {field: place})
        except BrokenRecord as e:
            faults.append(Fault(place.removeprefix("./"), printable(e.what.rstrip(".")),
                                "Correct it, or take it out."))
    fields.pop("all", None)
    return fields, faults


def _environment(task: Task) -> Iterator[Fault]:
    place, image = f"environment/{DOCKERFILE}", image_of(task)
    if not (text := text_in(task.environment, DOCKERFILE)):
        return
    instructions, fault = read_dockerfile(text)
    if fault and task.kind:
        yield Fault(place, fault, "Write it as docs/tasks.md says.")
    names = [] if fault else [one.name for one in instructions]
    if not fault and "FROM" not in names:
        yield Fault(place, "has no FROM", "Begin it with a FROM line that names the base image.")
    if image and names == ["FROM"] and (base := instructions[0].rest.strip()) != image:
        yield Fault(place, f"is FROM {base}, where task.toml has docker_image = {image!r}",
                    "Name one image in both.")


def _solution(task: Task) -> Iterator[Fault]:
    names = (SOLVE, GOLD, REVERSE) if task.kind in PATCHED else (SOLVE,)
    for name in names if task.kind else ():
        place, text = f"solution/{name}", text_in(task.solution, name)
        if not text.strip():
            yield Fault(place, "is missing or empty", how(HOW_TO_PROVE, task))
        elif name != SOLVE and (fault := _patch_fault(text)):
            yield Fault(place, fault, "Undo the edit: the proof is about the former patch.")


def _patch_fault(patch: str) -> str:
    """Return the fault of a patch of a project's source, or ""."""
    try:
        with git_output(".", "apply", "--numstat", "-z", "-", stdin=patch) as output:
            rows = output.read().decode(errors="replace").split("\0")
    except UnsafeArchive:
        return "is not a patch that git can read"
    paths = [row.split("\t", 2)[2] for row in rows if row.count("\t") >= 2]
    tests = [*filter(is_test_file, paths)]
    return f"changes tests: {printable(', '.join(tests))}" if tests else ""


# tests/ ------------------------------------------------------------------------------------------

def _tests(task: Task) -> Iterator[Fault]:
    config = verifier_config(task)
    if not task.kind and CONFIG not in task.tests:   # the task has its own verifier
        return
    if not config:
        yield Fault(f"tests/{CONFIG}", "is missing, or not a JSON object", _how_to_prove(task))
        return
    yield from _config(task, config)
    yield from _weights(task, config) if "weights" in config else _suite(task, config)
    yield from _verifier(task, config)


def _config(task: Task, config: Object) -> Iterator[Fault]:
    place, todo = f"tests/{CONFIG}", "Correct it: docs/tasks.md has its keys."
    types = TYPES if "weights" in config else TYPES | OF_SUITE
    for key, kind in types.items():
        if key not in config:
            yield Fault(place, f"{key} is missing", todo)
        elif fault := check_of(kind)(config[key]):
            yield Fault(place, f"{key}{fault}", todo)
    if config.get("workdir") not in (None, workdir_of(task)):
        yield Fault(place, f"workdir is {config['workdir']!r}, in task.toml {workdir_of(task)!r}",
                    "Name one folder in both.")


def _weights(task: Task, config: Object) -> Iterator[Fault]:
    place, weights = f"tests/{CONFIG}", config["weights"]
    if not isinstance(weights, dict) or check_of("dict[str, float]")(weights):
        yield Fault(place, "weights is not an object of {test: share}", "Give each test a share.")
        return
    total = sum(weights.values())
    if not weights or min(weights.values()) <= 0 or abs(total - 1) > 1e-6:
        yield Fault(place, f"weights must be above 0, with a sum of 1: it is {total:g}",
                    "Give the tests weights above 0 with a sum of 1.")
    try:
        tree = ast.parse(text_in(task.tests, TEST_FILE))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as e:   # last two: deep nesting
        yield Fault(f"tests/{TEST_FILE}", f"is not Python: {printable(str(e))}", "Correct it.")
        return
    tests = {node.name for node in ast.walk(tree) if isinstance(
        node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name.startswith("test")}
    for names, what in ((weights.keys() - tests, f"has weights for tests that {TEST_FILE} lacks"),
                        (tests - weights.keys(), f"has no weight for tests of {TEST_FILE}")):
        if names:
            yield Fault(place, f"{what}: {printable(', '.join(sorted(names)))}",
                        "Name each test function once.")


def _suite(task: Task, config: Object) -> Iterator[Fault]:
    place = f"tests/{CONFIG}"
    failing, passing = (config.get(key) for key in ("FAIL_TO_PASS", "PASS_TO_PASS"))
    if config.get("reads") not in tests_folder.READS:
        yield Fault(place, f"reads is none of {', '.join(tests_folder.READS)}", "Correct it.")
    if not any(map(check_of("list[str]"), (failing, passing))):
        if not failing:
            yield Fault(place, "FAIL_TO_PASS names no test", _how_to_prove(task))
        if {*failing} & {*passing} or re.search(r"\s", "".join([*failing, *passing])):
            yield Fault(place, "FAIL_TO_PASS and PASS_TO_PASS share a test, or have a name that is "
                        "not escaped", "Name each test once, %20 for a blank.")
    if not text_in(task.tests, TEST_SCRIPT).strip():
        yield Fault(f"tests/{TEST_SCRIPT}", "is missing or empty", _how_to_prove(task))
    yield from _hidden(task)


def _hidden(task: Task) -> Iterator[Fault]:
    """Check that tests/test.patch changes exactly the files of the hidden tests, and that the new
    lines of each hunk occur in the hidden test. The patch may create a file, or change what the
    image has of it: an earlier version or a part. Tasks with visible tests have no such patch.
    """
    hidden, patch = hidden_in(task), text_in(task.tests, TEST_PATCH)
    if not patch and task.about.get("tests_visible"):
        return
    try:
        wanted, actual = dict(files_of(diff_of({}, hidden))), dict(files_of(patch))
    except (UnsafeArchive, ValueError):
        wanted, actual = {}, {HIDDEN: ""}
    differing = sorted({*wanted} ^ {*actual} | {
        hunk.path for hunk in hunks_of(patch)
        if "\n".join(hunk.new) not in hidden.get(hunk.path, b"").decode(errors="replace")})
    if differing:
        yield Fault(f"tests/{TEST_PATCH}", f"does not create the files in tests/{HIDDEN}/: "
                    f"{printable(', '.join(differing))}",
                    "Undo the edit, or change both in the same way.")


def _verifier(task: Task, config: Object) -> Iterator[Fault]:
    names = tests_folder.OF_WEIGHTED if "weights" in config else tests_folder.OF_SUITE
    if config.get("reads") in tests_folder.READS[1:]:
        names += tests_folder.OF_OTHER_REPORTS
    others = [name for name in names
              if text_in(task.tests, name) not in _versions(name)]
    if others:
        copy = f"Copy all: cp {PROGRAMS}/{{{','.join(names)}}} FOLDER/tests/"   # they fit together
        yield Fault("tests/", f"differs from the verifier of this version: {', '.join(others)}",
                    f"{copy}. Then prove it again." if task.kind else f"{copy}.")


def _versions(name: str) -> tuple[str, str]:
    """Return a program of the verifier as it is shipped, and as it is in its package."""
    text = text_of(tests_folder.ROOM, name)
    return tests_folder.as_shipped(text), text


def _how_to_prove(task: Task) -> str:
    return how(HOW_TO_PROVE, task, "Write it: docs/tasks.md has an example.")
