"""Say what is wrong with a task's folder, fault by fault, without running anything.

What only runs can show is not looked for: that the gold is rewarded, that an image gives nothing
away, that a test is not flaky.
"""
from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from codedata.checks.secrets import credential_in, find_secrets
from codedata.code.entities import is_test_file
from codedata.code.git import git_output
from codedata.code.patches import diff_of
from codedata.errors import BrokenRecord
from codedata.layouts import content_of, load_folder
from codedata.records import BUG, STRIPPED_PATCH, Object, Task, check_of, parse
from codedata.sandbox.archives import UnsafeArchive
from codedata.sandbox.dockerfile import read_dockerfile
from codedata.tasks import tests_folder
from codedata.tasks.folder import (
    CONFIG,
    DOCKERFILE,
    GOLD,
    HIDDEN,
    HOW_TO_INSTRUCT,
    HOW_TO_PROVE,
    REVERSE,
    SOLVE,
    TASK_NAME,
    TEST_PATCH,
    TEST_SCRIPT,
    edited_parts,
    image_of,
    image_problem,
    kind_problem,
    label_problem,
    text_in,
    verifier_config,
    workdir_of,
    workdir_problem,
)
from codedata.tasks.task_toml import grading_of, toml_faults
from codedata.texts import printable, text_of

TOML = Task.places["config"]
TEST_FILE = "test_outputs.py"   # whose tests have weights
PROGRAMS = "codedata/tasks/verifier"
PATCHED = (BUG, STRIPPED_PATCH)   # kinds whose solution is a patch
OF_PATCH = re.compile(r"^diff --git a/(.*?) b/", re.MULTILINE)
TYPES = {"user": "str", "timeout_s": "float", "workdir": "str"}   # of config.json, and of a suite:
OF_SUITE = {"FAIL_TO_PASS": "list[str]", "PASS_TO_PASS": "list[str]", "canary": "str",
            "activation": "str", "archive": "str", "counts": "list[str] | None"}


class Fault(NamedTuple):
    """Hold a fault of a folder, and what to do."""

    place: str   # below the folder
    what: str
    todo: str


def faults_of(folder: Path) -> list[Fault]:
    """Return what is wrong with a task's folder, in the order of its files."""
    if folder.is_symlink() or not folder.is_dir():
        return [Fault("", "is no folder", "Name a folder of task/; a file there is of an earlier "
                                          "release: tools/convert-root makes a folder of it.")]
    data, faults = _loaded(folder)
    if faults:
        return faults
    if data["config"] is None:
        return [Fault(TOML, "is missing", "Write it: docs/tasks.md has an example.")]
    try:
        task = parse(Task, Task.completed(data), str(folder))
    except BrokenRecord as e:
        return [Fault("", printable(e.what.rstrip(".")), "Mend it.")]
    checks = (_instruction, _environment, _solution, _tests, _secrets, _proof)
    return [*_toml(task)] or [fault for check in checks for fault in check(task)]


def notes_on(folder: Path) -> list[str]:
    """Return what is good to know of a folder without faults."""
    task = Task(**Task.completed(_loaded(folder)[0]))
    notes = [f"Harbor grades it {grading_of(task.config)}"]
    if task.proof and not task.kind:
        notes.append("it has a proof.json and names no kind: it is taken for somebody else's")
    if secrets := find_secrets(task.instruction or ""):
        notes.append(f"instruction.md has what exports mask: {secrets[0].kind}")
    return notes


def _loaded(folder: Path) -> tuple[dict, list[Fault]]:
    """Return the fields of a Task, as far as they can be read, and why the rest cannot."""
    data: dict = {"instance_id": folder.resolve().name}
    faults = []
    for field, place in {**Task.places, "all": "./"}.items():
        if faults and field == "all":   # what is in a part has been named
            break
        try:
            data |= {field: load_folder(folder, {field: place})[field]}
        except BrokenRecord as e:
            faults.append(Fault(place.removeprefix("./"), printable(e.what.rstrip(".")),
                                "Mend it, or take it out."))
    data.pop("all", None)
    return data, faults


def _toml(task: Task) -> Iterator[Fault]:
    if not TASK_NAME.fullmatch(task.instance_id):
        yield Fault("", f"{task.instance_id} is no name that Harbor takes",
                    "Rename the folder: letters, digits, `_`, `-`, and points between them.")
    for fault in toml_faults(task.config):
        yield Fault(TOML, fault, "Harbor refuses it: mend that key.")
    if odd := kind_problem(task):
        yield Fault(TOML, " ".join(odd),
                    "Mend it; remove it from a task that no maker of ours has made.")
    problems = (workdir_problem(workdir_of(task)), label_problem(task)) if task.kind else ()
    for what, why in filter(None, (image_problem(task), *problems)):
        yield Fault(TOML, f"{what}: {why}", "Mend that key.")


def _instruction(task: Task) -> Iterator[Fault]:
    if not (task.instruction or "").strip() and not task.config.get("steps"):
        todo = HOW_TO_INSTRUCT.get(task.kind, "write what the agent is told")
        yield Fault("instruction.md", "is missing or empty", f"{todo[0].upper()}{todo[1:]}.")


def _environment(task: Task) -> Iterator[Fault]:
    place, image = f"environment/{DOCKERFILE}", image_of(task)
    text = text_in(task.environment, DOCKERFILE)
    if not text:
        if not image and not task.environment:
            yield Fault(place, "is missing, and task.toml names no docker_image",
                        "Write one of the two.")
        return
    instructions, fault = read_dockerfile(text)
    if fault and task.kind:
        yield Fault(place, fault, "Write it as docs/tasks.md says.")
    names = [one.name for one in instructions]
    if not fault and "FROM" not in names:
        yield Fault(place, "has no FROM", "Begin it with the image that it is made from.")
    if image and names == ["FROM"] and (base := instructions[0].rest.strip()) != image:
        yield Fault(place, f"is FROM {base}, where task.toml has docker_image = {image!r}",
                    "Name one image in both.")


def _solution(task: Task) -> Iterator[Fault]:
    if not task.kind:
        return
    wanted = (SOLVE, GOLD, REVERSE) if task.kind in PATCHED else (SOLVE,)
    for name in wanted:
        if not text_in(task.solution, name).strip():
            yield Fault(f"solution/{name}", "is missing or empty", HOW_TO_PROVE[task.kind])
        elif name != SOLVE:
            yield from _patch(name, text_in(task.solution, name))


def _patch(name: str, patch: str) -> Iterator[Fault]:
    place, todo = f"solution/{name}", "Undo the edit: a patch is what the runs have proven."
    try:
        with git_output(".", "apply", "--numstat", "-z", "-", stdin=patch) as output:
            rows = output.read().decode(errors="replace").split("\0")
    except UnsafeArchive:
        yield Fault(place, "is no patch that git can read", todo)
        return
    paths = [row.split("\t", 2)[2] for row in rows if row.count("\t") >= 2]
    if tests := [*filter(is_test_file, paths)]:
        yield Fault(place, f"changes tests: {printable(', '.join(tests))}", todo)


# tests/ ------------------------------------------------------------------------------------------

def _tests(task: Task) -> Iterator[Fault]:
    config = verifier_config(task)
    if not task.kind and CONFIG not in task.tests:   # a verifier of its own
        if "test.sh" not in task.tests and not task.config.get("steps"):
            yield Fault("tests/test.sh", "is missing",
                        "Write it: it leaves the reward in /logs/verifier/reward.txt.")
        return
    if not config:
        yield Fault(f"tests/{CONFIG}", "is missing, or no JSON object", _how_to_prove(task))
        return
    yield from _config(task, config)
    yield from _weights(task, config) if "weights" in config else _suite(task, config)
    yield from _verifier(task, config)


def _config(task: Task, config: Object) -> Iterator[Fault]:
    place, todo = f"tests/{CONFIG}", "Mend it: docs/tasks.md has its keys."
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
        yield Fault(place, "weights is no object of {test: share}", "Give each test a share.")
        return
    total = sum(weights.values())
    if not weights or min(weights.values()) <= 0 or abs(total - 1) > 1e-6:
        yield Fault(place, f"weights are not above 0 with a sum of 1: it is {total:g}",
                    "Share 1 among the tests.")
    try:
        tree = ast.parse(text_in(task.tests, TEST_FILE))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as e:   # too complex, too
        yield Fault(f"tests/{TEST_FILE}", f"is no Python: {printable(str(e))}", "Mend it.")
        return
    tests = {node.name for node in ast.walk(tree) if isinstance(
        node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name.startswith("test")}
    for names, what in ((weights.keys() - tests, f"has weights of no test in {TEST_FILE}"),
                        (tests - weights.keys(), f"has no weight for tests of {TEST_FILE}")):
        if names:
            yield Fault(place, f"{what}: {printable(', '.join(sorted(names)))}",
                        "Name each test function once.")


def _suite(task: Task, config: Object) -> Iterator[Fault]:
    place = f"tests/{CONFIG}"
    lists = [config.get(key) for key in ("FAIL_TO_PASS", "PASS_TO_PASS")]
    if config.get("reads") not in tests_folder.READS:
        yield Fault(place, f"reads is none of {', '.join(tests_folder.READS)}", "Mend it.")
    if not any(check_of("list[str]")(names) for names in lists):
        if not lists[0]:
            yield Fault(place, "FAIL_TO_PASS names no test", _how_to_prove(task))
        odd = [name for name in (*lists[0], *lists[1]) if re.search(r"\s", name)]
        if odd or {*lists[0]} & {*lists[1]}:
            yield Fault(place, "FAIL_TO_PASS and PASS_TO_PASS share a test, or have a name that is "
                        "not escaped", "Name each test once, %20 for a blank.")
    if not text_in(task.tests, TEST_SCRIPT).strip():
        yield Fault(f"tests/{TEST_SCRIPT}", "is missing or empty", _how_to_prove(task))
    yield from _hidden(task)


def _hidden(task: Task) -> Iterator[Fault]:
    """Compare the hidden tests with the patch that rows have of them; where the tests are visible,
    rows have none."""
    hidden = {name.removeprefix(f"{HIDDEN}/"): content_of(file)
              for name, file in task.tests.items() if name.startswith(f"{HIDDEN}/")}
    patch = text_in(task.tests, TEST_PATCH)
    if not patch and task.about.get("tests_visible"):
        return
    try:
        made, there = _by_path(diff_of({}, hidden) if hidden else ""), _by_path(patch)
    except (UnsafeArchive, ValueError):
        made, there = {}, {HIDDEN: ""}
    if odd := sorted(path for path in {*made, *there} if made.get(path) != there.get(path)):
        yield Fault(f"tests/{TEST_PATCH}", f"does not make what is in tests/{HIDDEN}/: "
                    f"{printable(', '.join(odd))}", "Undo the edit of one, or edit both alike.")


def _by_path(patch: str) -> dict[str, str]:
    """Return {path: its part} of a patch."""
    _, *parts = OF_PATCH.split(patch)
    return dict(zip(parts[::2], parts[1::2], strict=True))


def _verifier(task: Task, config: Object) -> Iterator[Fault]:
    names = tests_folder.OF_WEIGHTED if "weights" in config else tests_folder.OF_SUITE
    if config.get("reads") in tests_folder.READS[1:]:
        names += tests_folder.OF_OTHER_REPORTS
    odd = [name for name in names
           if text_in(task.tests, name) != text_of("codedata.tasks.verifier", name)]
    if odd:
        copy = f"Copy them: cp {PROGRAMS}/{{{','.join(odd)}}} FOLDER/tests/"
        yield Fault("tests/", f"has not the verifier of this version: {', '.join(odd)}",
                    f"{copy}. Then prove it again." if task.kind else f"{copy}.")


# all of it ---------------------------------------------------------------------------------------

def _secrets(task: Task) -> Iterator[Fault]:
    for part in ("environment", "solution", "tests"):
        for name, file in getattr(task, part).items():
            text = content_of(file).replace(b"\0", b"").decode(errors="replace")
            if kind := credential_in([text]):
                yield Fault(f"{part}/{printable(name)}", f"has a secret: {kind}",
                            "Take it out, and revoke it if it is one.")


def _proof(task: Task) -> Iterator[Fault]:
    if not task.kind:
        return
    if not task.proof:
        yield Fault("proof.json", "is missing: no run has proven it", HOW_TO_PROVE[task.kind])
    elif parts := edited_parts(task):
        yield Fault(parts[0], f"was edited since its runs: {', '.join(parts)}",
                    HOW_TO_PROVE[task.kind])


def _how_to_prove(task: Task) -> str:
    return HOW_TO_PROVE.get(task.kind, "Write it: docs/tasks.md has an example.")
