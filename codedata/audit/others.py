"""Read tasks made by others, and copy them into task/. They come from task folders in Harbor's
form, or from a Parquet file with a tar of such a folder in each row.

Reading has limits and runs nothing. The gold of such a task may get no reward here, since its tests
may need a network, or files outside the working directory.
"""
from __future__ import annotations

import io
import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import yaml

from codedata.bounded import read_bounded
from codedata.disk.layouts import (
    MAX_FILES,
    MAX_FOLDER_BYTES,
    files_digest,
    load_files,
    load_folder,
    unwrapped,
)
from codedata.disk.locks import temporary_folder
from codedata.disk.row_files import ParquetRows
from codedata.disk.store import Store
from codedata.errors import ItemFailed, Trouble
from codedata.records import Files, RivalledTask, Task, parse
from codedata.run.states import Selection
from codedata.sandbox.archives import GZIP, Bounds, Stream, inflated, unpack
from codedata.sandbox.images.dockerfile import rewritten
from codedata.tasks.folder.task_folder import (
    DOCKERFILE,
    TASK_NAME,
    TOML,
    config_faults,
    part_faults,
    text_in,
    workdir_of,
)
from codedata.tasks.folder.task_toml import artifacts_in
from codedata.terminal import plural
from codedata.texts import printable

MAX_YAML_BYTES = 100_000
COMPOSE = "docker-compose.yaml"
WORKDIR = re.compile(r"^[ \t]*WORKDIR\s+(\S+)", re.MULTILINE | re.IGNORECASE)
# images of terminal-bench, whose agents start in /app
BENCH_BASE = re.compile(r"^[ \t]*FROM\s.*/t-bench/", re.MULTILINE | re.IGNORECASE)
# raised by code that reads an unexpected file
REFUSED = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError,
           OSError, zlib.error)
MAX_FAULTS = 20      # maximum of faults to print
BOUNDS = Bounds(MAX_FOLDER_BYTES, MAX_FILES, max_depth=50, max_seconds=60)   # limits of a row's tar
ALL = Selection()
LENGTHS = "select coalesce(octet_length(task_binary), 0) from read_parquet(?)"
ROWS = """select left(path, 1000), if(octet_length(task_binary) <= ?, task_binary, null)
    from read_parquet(?, file_row_number = true) where file_row_number between ? and ?"""


def copy_tasks(source: Path, root: Path, selection: Selection, read_only: bool = False
               ) -> list[str]:
    """Copy the selected tasks of `source` into task/ of a root, or with `read_only`, count them.
    Return lines for the terminal: the number of new tasks, and at most MAX_FAULTS lines about tasks
    that cannot be read, graded or stored. A task that was copied before stays unchanged. Raise
    Trouble if there is nothing to read."""
    store, faults, n_new = Store(root, RivalledTask).open(), [], 0
    for task in tasks_in(source, selection):
        if isinstance(task, ItemFailed):
            faults.append(str(task))
        elif task.instance_id not in store:
            n_new += 1
            if not read_only:
                store.put(task.instance_id, task, ())
        elif store.read(task.instance_id).about.get("made_from") != task.about.get("made_from"):
            faults.append(f"{task.instance_id}: task/ has another task of that name: rename one")
    if rest := faults[MAX_FAULTS:]:
        faults[MAX_FAULTS:] = [f"and {len(rest):,} more"]
    return [f"      {plural(n_new, 'task')} {'to copy' if read_only else 'copied'} from {source}",
            *(f"      {line}" for line in faults)]


class Found(NamedTuple):
    """Hold the place of a task made by others: the name of the folder or Parquet file that holds
    the task's folder, the task's name there, and a function that opens the task's folder."""

    directory: str
    item: str
    open_folder: Callable[[], AbstractContextManager[Path]]


def tasks_in(source: Path, selection: Selection = ALL) -> Iterator[Task | ItemFailed]:
    """Yield the selected tasks of a folder or Parquet file in Harbor's form. The files of a task
    from a Parquet file exist only until the next task is read. For a task that cannot be read or
    graded, yield an ItemFailed with its name and the reason. Raise Trouble if there is nothing to
    read."""
    source = source.resolve()
    is_file = source.suffix == ".parquet" and source.is_file()
    for found in rows_in(source) if is_file else _folders(source):
        try:
            name = task_name(found.item)
            if not selection.matches(name):
                continue
            with found.open_folder() as folder:
                yield _gradable(_folder_task(folder, name, found))
        except Trouble as e:
            yield ItemFailed(e.what, found.item, e.todo)
        except REFUSED as e:
            yield ItemFailed(f"is left out: {printable(str(e), 500)}", found.item)


def _folders(source: Path) -> Iterator[Found]:
    if not source.is_dir():
        raise Trouble("is not a folder.", str(source), "Name a folder of tasks in Harbor's form.")
    folders = [source] if (source / TOML).exists() else [
        one for one in sorted(source.iterdir())
        if one.name[0] not in "._" and (one.is_symlink() or not one.is_file())]
    if not folders:
        raise Trouble("holds no task folder.", str(source), "Name tasks to read.")
    for folder in folders:
        yield Found(folder.parent.name, folder.name, partial(nullcontext, folder))


def rows_in(file: Path) -> Iterator[Found]:
    """Yield the tasks in a Parquet file. In each row, `path` is a task's name, and `task_binary` is
    a tar of its folder, usually compressed by gzip. Raise Trouble if the file cannot be read."""
    rows, first, n_bytes = ParquetRows(str(file), [str(file)], None), 0, 0
    [name] = rows.names
    lengths = [size for size, in rows.query(LENGTHS, name)]
    for i, size in enumerate(lengths):   # in batches: duckdb keeps requested rows in memory
        n_bytes += size
        if i + 1 < len(lengths) and n_bytes + lengths[i + 1] <= MAX_FOLDER_BYTES:
            continue
        for path, archive in rows.query(ROWS, MAX_FOLDER_BYTES, name, first, i):
            yield Found(file.name, path or "", partial(_unpacked, archive))
        first, n_bytes = i + 1, 0


@contextmanager
def _unpacked(archive: bytes | None) -> Iterator[Path]:
    """Unpack a task's folder, yield it, and remove it at the end."""
    if archive is None:
        raise ValueError(f"it has no archive, or one of more than {MAX_FOLDER_BYTES:,} bytes")
    tar = io.BytesIO(archive)
    with temporary_folder() as folder:
        unpack(Stream(inflated(tar)) if archive.startswith(GZIP) else tar, folder, BOUNDS)
        yield unwrapped(folder)   # the tar may have the folder, or only its files


def _folder_task(folder: Path, name: str, found: Found) -> Task:
    """Return the task in a folder, with a note of its source."""
    if folder.is_symlink() or not folder.is_dir():
        raise ValueError("it is a link, or no folder")
    files = load_files(folder)
    if TOML not in files:
        raise ValueError(f"it has no {TOML}")
    task = _harbor_task(folder, name)
    # its kind and its proof are removed, since only runs of this root count
    about = {key: value for key, value in task.about.items() if key != "kind"}
    about["made_from"] = {"directory": printable(found.directory), "item": printable(found.item),
                          "digest": files_digest(files)}
    metadata = {**task.config.get("metadata", {}), "codedata": about}
    return replace(task, kind="", proof=None, config={**task.config, "metadata": metadata})


def task_name(name: str) -> str:
    """Return a valid task name made from any name. Raise ValueError if nothing of it is left."""
    safe = re.sub(r"\.{2,}", ".", re.sub(r"[^A-Za-z0-9._-]+", "-", name)).lstrip("._-")[:200]
    safe = safe.rstrip(".")
    if not TASK_NAME.fullmatch(safe):
        raise ValueError("its name has no character that a task's name may have")
    return safe


def _gradable(task: Task) -> Task:
    """Return the task unchanged. Raise ValueError if we cannot grade it as its maker does."""
    for fault in chain(config_faults(task), part_faults(task)):
        raise ValueError(f"{fault.place or 'its name'}: {fault.what}")
    if task.config.get("steps"):
        raise ValueError("it has steps, each with tests of its own")
    (task.instruction or "").encode()   # raises ValueError for a lone surrogate
    return task


def _harbor_task(folder: Path, name: str) -> Task:
    fields = {**load_folder(folder, RivalledTask.places), "instance_id": name}
    task = parse(RivalledTask, RivalledTask.completed(fields), str(folder))
    if COMPOSE in task.environment:
        _only_service(task.environment)
    if workdir_of(task) or artifacts_in(task.config):
        return task
    workdir = _workdir(rewritten(text_in(task.environment, DOCKERFILE))[0])
    environment = {**task.config.get("environment", {}), "workdir": workdir}
    return replace(task, config={**task.config, "environment": environment})


def _workdir(dockerfile: str) -> str:
    """Return the working directory from the Dockerfile. Raise ValueError if it is not clear."""
    base = "/app" if BENCH_BASE.search(dockerfile) else ""
    workdir = PurePosixPath(base, *(one.strip("\"'") for one in WORKDIR.findall(dockerfile)))
    if workdir.root != "/" or len(workdir.parts) == 1 or "$" in str(workdir):
        raise ValueError("neither task.toml nor the Dockerfile names the working directory, whose "
                         "files go to the verifier")
    return str(workdir)


def _only_service(files: Files) -> None:
    """Raise ValueError if a task needs several containers."""
    text = read_bounded(files[COMPOSE], MAX_YAML_BYTES).decode()
    try:   # BaseLoader makes no objects, and does not merge aliases, which could grow to any length
        services = yaml.load(text, yaml.BaseLoader)["services"]
    except yaml.YAMLError as e:
        raise ValueError(f"{COMPOSE}: {e}") from e
    if not isinstance(services, dict) or len(services) != 1:
        raise ValueError(f"{COMPOSE}: it needs more than one container")
