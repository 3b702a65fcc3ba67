"""Read tasks that somebody else made: folders of Harbor and of terminal-bench, rows of SWE-bench
and SWE-smith.

What is read is bounded, and nothing of it runs. Only runs can show that a gold is rewarded: tests
may need a network, or something that lies outside the working directory.
"""
from __future__ import annotations

import json
import re
import shlex
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path, PurePosixPath

from codedata.bounded import read_bounded
from codedata.code.patches import reversed_patch
from codedata.errors import ItemFailed, Trouble
from codedata.layouts import (
    content_of,
    files_digest,
    load_files,
    load_folder,
)
from codedata.progress import plural
from codedata.records import Files, Object, Task, check_of, parse
from codedata.sampling.row_files import JsonRows, ParquetRows, find_files
from codedata.store import Store, digest
from codedata.tasks.eval_script import carried_tests
from codedata.tasks.folder import (
    CONFIG,
    DOCKERFILE,
    HIDDEN,
    REVERSE,
    SOLVE,
    TASK_NAME,
    TEST_SCRIPT,
    TOML,
    Container,
    config_faults,
    config_of,
    part_faults,
    text_in,
    workdir_of,
)
from codedata.tasks.repository import SuiteVerifier, task_of
from codedata.tasks.task_toml import artifacts_in
from codedata.tasks.tests_folder import READS
from codedata.tasks.verifier.junit import escaped_name
from codedata.texts import fill, printable, text_of

MAX_ROWS_BYTES, MAX_YAML_BYTES = 2_000_000_000, 1_000_000
ROWS = (".jsonl", ".json", ".parquet")
BENCH, RUN_TESTS, COMPOSE, VERIFIER = "task.yaml", "run-tests.sh", "docker-compose.yaml", "test.sh"
# of task.yaml: tests in the agent's shell would see what no file holds
GRADED = {"parser_name": "pytest", "run_tests_in_same_shell": False}
LABELS = ("difficulty", "category", "tags")
WORKDIR = re.compile(r"^\s*WORKDIR\s+(\S+)", re.MULTILINE | re.IGNORECASE)
# terminal-bench's own images, in which agents start in /app
BENCH_BASE = re.compile(r"^\s*FROM\s.*/t-bench/", re.MULTILINE | re.IGNORECASE)
IMAGES = ("image", "image_name", "docker_image")   # columns, the best first
EVALUATION_S = 180    # so that a verifier gets the half hour of SWE-bench's harness
PYTEST = re.compile(r"\S+\.py(::.+)?")
COMMIT = re.compile(r"[0-9a-f]{7,40}")
OF_ROW = ("repo", "language", "method", "created_at", "licence", "source_commit")
REFUSED = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError,
           OSError, zlib.error)   # of what is read where the code expects something else


def copy_tasks(source: Path, root: Path) -> list[str]:
    """Copy the tasks of somebody else into task/ of a root. Return a line for each that cannot be
    read, graded or put there. A task that was copied before is left as it is. Raise Trouble if
    there is nothing to read."""
    store, faults, n_new = Store(root, Task).open(), [], 0
    for task in tasks_in(source):
        if isinstance(task, ItemFailed):
            faults.append(str(task))
        elif task.instance_id not in store:
            store.put(task.instance_id, task, ())
            n_new += 1
        elif store.read(task.instance_id).about.get("made_from") != task.about.get("made_from"):
            faults.append(f"{task.instance_id}: task/ has another task of that name: rename one")
    return [f"      {plural(n_new, 'task')} copied from {source}",
            *(f"      {line}" for line in faults)]


def tasks_in(source: Path) -> Iterator[Task | ItemFailed]:
    """Yield the tasks of a folder or file of somebody else's: Harbor folders, terminal-bench
    folders, rows of SWE-bench or SWE-smith. One that cannot be read or graded is yielded as
    ItemFailed that names it and says why. Raise Trouble if there is nothing to read."""
    source = source.resolve()
    for place, read in _rows(source) if source.is_file() else _folders(source):
        try:
            yield _gradable(read())
        except Trouble as e:
            yield ItemFailed(e.what, place, e.todo)
        except REFUSED as e:
            yield ItemFailed(f"is left out: {printable(str(e), 500)}", place)


def _folders(source: Path) -> Iterator[tuple[str, Callable[[], Task]]]:
    if not source.is_dir():
        raise Trouble("is no folder and no file.", str(source), "Name tasks to read.")
    folders = [source]
    if not any((source / name).exists() for name in (TOML, BENCH)):
        folders = [one for one in sorted(source.iterdir())
                   if one.name[0] not in "._" and (one.is_symlink() or not one.is_file())]
    if not folders:
        raise Trouble("holds no folder of a task.", str(source), "Name tasks to read.")
    for folder in folders:
        yield folder.name, partial(_folder_task, folder)


def _folder_task(folder: Path) -> Task:
    if folder.is_symlink() or not folder.is_dir():
        raise ValueError("it is a link, or no folder")
    files, name = load_files(folder), task_name(folder.name)
    if TOML not in files and BENCH not in files:
        raise ValueError(f"it has no {TOML} and no {BENCH}")
    task = _harbor_task(folder, name) if TOML in files else _bench_task(files, name)
    if task.kind and task.proof:   # ours
        return task
    return _made_from(task, folder.parent.name, folder.name, files_digest(files))


def task_name(name: str) -> str:
    """Return a name that a task may have, made of somebody's. Raise ValueError where none is left.
    """
    safe = re.sub(r"\.{2,}", ".", re.sub(r"[^A-Za-z0-9._-]+", "-", name)).lstrip("._-")[:200]
    safe = safe.rstrip(".")
    if not TASK_NAME.fullmatch(safe):
        raise ValueError("no name for a task can be made of its name")
    return safe


def _made_from(task: Task, directory: str, item: str, made_of: str) -> Task:
    """Return a task of somebody else's that says where it was read."""
    about = {key: value for key, value in task.about.items() if key != "kind"}   # needs a proof
    about["made_from"] = {"directory": printable(directory), "item": printable(item),
                          "digest": made_of}
    metadata = {**task.config.get("metadata", {}), "codedata": about}
    return replace(task, kind="", proof=None, config={**task.config, "metadata": metadata})


def _gradable(task: Task) -> Task:
    """Return a task. Raise ValueError if no verifier could grade it as its maker does."""
    for fault in chain(config_faults(task), part_faults(task)):
        raise ValueError(f"{fault.place or 'its name'}: {fault.what}")
    if task.config.get("steps"):
        raise ValueError("it has steps, each with tests of its own")
    (task.instruction or "").encode()   # raises ValueError for half a character
    return task


# folders -----------------------------------------------------------------------------------------

def _harbor_task(folder: Path, name: str) -> Task:
    fields = {**load_folder(folder, Task.places), "instance_id": name}
    task = parse(Task, Task.completed(fields), str(folder))
    if task.kind and task.proof:
        return task
    if COMPOSE in task.environment:
        _only_service(task.environment)
    if workdir_of(task) or artifacts_in(task.config):
        return task
    workdir = _workdir(text_in(task.environment, DOCKERFILE))
    environment = {**task.config.get("environment", {}), "workdir": workdir}
    return replace(task, config={**task.config, "environment": environment})


def _workdir(dockerfile: str) -> str:
    """Return the folder in which an agent starts."""
    workdir = PurePosixPath("/app" if BENCH_BASE.search(dockerfile) else "")
    for place in WORKDIR.findall(dockerfile):
        workdir /= place.strip("\"'")
    if workdir.root != "/" or len(workdir.parts) == 1 or "$" in str(workdir):
        raise ValueError("neither task.toml nor the Dockerfile names the working directory, whose "
                         "files go to the verifier")
    return str(workdir)


def _bench_task(files: Files, name: str) -> Task:
    if missing := {RUN_TESTS, DOCKERFILE} - files.keys():
        raise ValueError(f"it has no {', '.join(sorted(missing))}")
    about = _yaml(files, BENCH)
    for key, graded in GRADED.items():
        if about.get(key, graded) != graded:
            raise ValueError(f"{BENCH}: {key} is {about[key]!r:.80}, not {graded!r}")
    build = _only_service(files).get("build", ".") if COMPOSE in files else "."
    build = build if isinstance(build, dict) else {"context": build}
    if {build.get("context", "."), build.get("dockerfile", DOCKERFILE)} - {".", "./", DOCKERFILE}:
        raise ValueError(f"{COMPOSE}: it is not built from the folder's Dockerfile")
    tests = {RUN_TESTS: files[RUN_TESTS], **_below(files, "tests/")}
    workdir, ours = _workdir(text_in(files, DOCKERFILE)), text_of(
        "codedata.tasks.verifier", VERIFIER)
    if text_in(tests, VERIFIER) not in ("", ours):
        raise ValueError(f"tests/{VERIFIER}: it is where the verifier has to begin")
    summary = fill(text_of("codedata.tasks.verifier", "pytest_summary.sh"),
                   workdir=shlex.quote(workdir))
    container = Container(workdir, agent_s=float(about.get("max_agent_timeout_sec") or 1800),
                          verifier_s=float(about.get("max_test_timeout_sec") or 600),
                          network="public")
    config = config_of(name, container, {}, {key: about[key] for key in LABELS if about.get(key)})
    others = (BENCH, RUN_TESTS, COMPOSE, "solution.sh", "solution.yaml", "manifest.toml")
    environment = {path: file for path, file in files.items()
                   if path not in others and not path.startswith("tests/")}
    return Task(name, "", config, environment, _solution(files),
                {VERIFIER: summary.encode(), **tests}, _instruction(about))


def _instruction(about: Object) -> str:
    """Return the instruction in a task.yaml, where older ones have several under keys."""
    texts = {one["key"]: one["description"] for one in about.get("descriptions") or []}
    named = about.get("instruction") or "base"
    return str(texts.get(named, about.get("instruction") or ""))


def _below(files: Files, folder: str) -> Files:
    return {path.removeprefix(folder): file for path, file in files.items()
            if path.startswith(folder)}


def _only_service(files: Files) -> Object:
    services = _yaml(files, COMPOSE).get("services")
    if not isinstance(services, dict) or len(services) != 1:
        raise ValueError(f"{COMPOSE}: it needs more than one container")
    return next(iter(services.values())) or {}


def _solution(files: Files) -> Files:
    """Return the script that solves a task of terminal-bench, if it has one."""
    if "solution.sh" in files or "solution.yaml" not in files:
        return {SOLVE: files["solution.sh"]} if "solution.sh" in files else {}
    commands = _yaml(files, "solution.yaml", list)
    if not all(one.get("append_enter", True) is True for one in commands):
        raise ValueError("solution.yaml: it presses keys, which no script does")
    return {SOLVE: "\n".join(["#!/bin/bash", *(one["command"] for one in commands), ""]).encode()}


def _yaml(files: Files, name: str, kind: type = dict):
    """Return what is in a YAML file, without aliases, which may stand for any length."""
    try:
        import yaml  # an extra
    except ImportError as e:
        raise Trouble("YAML needs a package", name, "Run: pip install '.[yaml]'.") from e
    text = read_bounded(files[name], MAX_YAML_BYTES).decode()
    try:
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text)):
            raise ValueError(f"{name}: it has aliases")
        value = yaml.safe_load(text)
    except yaml.YAMLError as e:
        raise ValueError(f"{name}: {e}") from e
    if not isinstance(value, kind):
        raise ValueError(f"{name}: it is no {kind.__name__}")
    json.dumps(value, ensure_ascii=False, default=str).encode()   # ValueError for half a character
    return value


# rows --------------------------------------------------------------------------------------------

def _rows(source: Path) -> Iterator[tuple[str, Callable[[], Task]]]:
    if source.suffix not in ROWS or source.stat().st_size > MAX_ROWS_BYTES:
        raise Trouble(f"is no file of rows that is read: {', '.join(ROWS)} of at most "
                      f"{MAX_ROWS_BYTES:,} bytes.", str(source), "Name such a file, or a folder.")
    form, names = find_files(str(source))
    try:
        files = (ParquetRows(str(source), names, None) if form == "parquet"
                 else JsonRows(form, names, None))
    except RecursionError as e:
        raise Trouble("is nested too deep.", str(source), "Name another file.") from e
    for i in range(files.n_rows):
        yield f"{source.name} row {i + 1}", partial(_row_task, files, i, source.name)


def _row_task(files: JsonRows | ParquetRows, number: int, directory: str) -> Task:
    row = files.rows(number, 1)[0]
    item = str(row.get("instance_id"))
    try:
        return _made_from(_task_in(row), directory, item, digest(row))
    except REFUSED as e:
        raise ValueError(f"{printable(item, 200)}: {e}") from e


def _task_in(row: Object) -> Task:
    """Return the task of a row. The verifier of a row of ours is in its script, which is the test
    script of other rows: pytest prints their cases."""
    name, script, gold = (_text(row, key) for key in ("instance_id", "eval_script", "patch"))
    commit = _text(row, "task_commit") or _text(row, "base_commit")
    if not script:
        raise ValueError("it has no eval_script: how its tests are run is known to the harness of "
                         "its benchmark alone")
    if not COMMIT.fullmatch(commit):
        raise ValueError(f"base_commit is {commit[:80]!r}")
    carried = carried_tests(script)
    config = json.loads(text_in(carried, CONFIG) or "{}")
    image = next(filter(None, (_text(row, key) for key in IMAGES)), "")
    if not carried and "swesmith" in _text(row, "repo") + image:
        raise ValueError("it is of SWE-smith: its image lacks the bug, which a branch has")
    reverse = _text(row, "bug_patch") or _text(row, "strip_patch")
    if carried and not reverse:   # ours for SWE-smith, where the patch makes the bug
        gold, reverse = reversed_patch(gold), gold
    failing, passing = (_tests(row, key, bool(carried))
                        for key in ("FAIL_TO_PASS", "PASS_TO_PASS"))
    if not failing or not gold.strip():
        raise ValueError("FAIL_TO_PASS or patch is empty")
    verifier = SuiteVerifier(
        text_in(carried, TEST_SCRIPT) or script, config.get("reads", READS[-1]),
        {path: content_of(file) for path, file in _below(carried, f"{HIDDEN}/").items()},
        _text(row, "test_patch") if carried else "", failing, passing, config.get("counts"),
        config.get("user", "root"), config.get("canary", ""))
    # the verifier's time of a row of ours comes out as it was
    longest_s = config["timeout_s"] / 9 if carried else EVALUATION_S
    task = task_of(task_name(name), "", verifier, (gold, reverse), image or _default_image(name),
                   commit, longest_s)
    solution = {path: file for path, file in task.solution.items() if path != REVERSE or reverse}
    about = {key: _text(row, key) for key in OF_ROW if row.get(key)} | {"task_commit": commit}
    return replace(task, solution=solution, instruction=_text(row, "problem_statement"),
                   config={**task.config, "metadata": {"codedata": about}})


def _default_image(name: str) -> str:
    """Return the image that SWE-bench's harness takes for a row that names none."""
    return f"swebench/sweb.eval.x86_64.{name}:latest".lower().replace("__", "_1776_")


def _text(row: Object, key: str) -> str:
    text = row.get(key)
    if text is None:
        return ""
    if not isinstance(text, str) or "\0" in text:
        raise ValueError(f"{key} is no text")
    text.encode()   # raises ValueError for half a character
    return text


def _tests(row: Object, key: str, is_escaped: bool) -> list[str]:
    """Return escaped names of tests. Raise ValueError for names that the verifier would not read in
    the output of a script of somebody else's."""
    names = row.get(key) or []
    names = json.loads(names) if isinstance(names, str) else names
    if fault := check_of("list[str]")(names):
        raise ValueError(f"{key}{fault}")
    if is_escaped:
        return names
    for one in names:   # its harness cuts names at blanks
        if not PYTEST.fullmatch(one) or one.count("[") > one.count("]"):
            raise ValueError(f"{key} has a name that is none of pytest, or was cut: {one[:200]!r}")
    return [escaped_name(one) for one in names]
