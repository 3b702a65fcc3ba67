"""Read what the release before task/ has written: evaluation scripts, and what its proofs are of.

Its records are read as the JSON that they are. Nothing is run but `git apply`, in an empty folder.
"""
from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from codedata.errors import BrokenRecord, Trouble
from codedata.layouts import list_items, load
from codedata.records import Files, Object, Task
from codedata.store import Store, digest, digests_of
from codedata.tasks.folder import proven
from codedata.tasks.repository import SuiteVerifier

# what a record that somebody wrote may raise
FAULTS = (ValueError, LookupError, TypeError, AttributeError, Trouble)
SCRIPT = re.compile(r"""^cat >"\$own/tests\.sh" <<'(END_OF_TEST_SCRIPT_*)'\n(.*?)\n\1$""",
                    re.MULTILINE | re.DOTALL)
PLACED = re.compile(r"""^cat >"\$work/patch" <<'END_OF_TESTS'\n(.*?)^END_OF_TESTS$""",
                    re.MULTILINE | re.DOTALL)
READER = re.compile(r"""^lines=\$\("\$python" -I "\$own" \S+ (\S+)\)$""", re.MULTILINE)
READS = {"/dev/null": "reports", '"$own/log"': "output"}   # by what that reads beside reports


def records_in(directory: Path, field: str) -> Iterator[tuple[Path, Object]]:
    """Yield (path, JSON) of each record of a directory that has a field. What cannot be read stays:
    the scripts name it."""
    for name, _ in list_items(directory, ".json", []) if directory.is_dir() else ():
        path = directory / f"{name}.json"
        try:
            data = load(path)
        except BrokenRecord:
            continue
        if isinstance(data, dict) and field in data:
            yield path, data


def why(error: Exception) -> str:
    """Return what is wrong with a record that cannot be converted."""
    if isinstance(error, Trouble):
        return error.what
    return f"it has no {error}" if isinstance(error, KeyError) else str(error)


def verifier_of(record: Mapping, **how) -> SuiteVerifier:
    """Return what a verifier runs, of a record with an evaluation script, and `how`. Raise
    ValueError where the script is none of that release."""
    script = record["eval_script"]
    found = SCRIPT.search(script)
    if not found:
        raise ValueError("its eval_script is none of the release before this")
    placed = PLACED.search(script[:found.start()])
    read = READER.findall(script[found.end():])
    return SuiteVerifier(f"{found[2]}\n", READS[read[-1]] if read else "junit",
                         files_made_by(placed[1]) if placed else {}, record["test_patch"],
                         record["FAIL_TO_PASS"], record["PASS_TO_PASS"], **how)


def files_made_by(patch: str) -> Files:
    """Return the files that a patch of new ones makes, which are texts. Raise ValueError where it
    does not apply."""
    with tempfile.TemporaryDirectory() as folder:
        alone = {"PATH": os.environ["PATH"], "HOME": folder, "GIT_CONFIG_NOSYSTEM": "1",
                 "GIT_CEILING_DIRECTORIES": str(Path(folder).parent), "GIT_ATTR_NOSYSTEM": "1"}
        done = subprocess.run(["git", "apply", "--whitespace=nowarn", "-"], cwd=folder, env=alone,
                              input=patch.encode(), capture_output=True)
        if done.returncode:
            raise ValueError(f"git does not apply its tests: {done.stderr.decode()[:200]}")
        files = {path.relative_to(folder).as_posix(): path.read_bytes()
                 for path in sorted(Path(folder).rglob("*")) if path.is_file()}
    for data in files.values():
        data.decode()   # raises ValueError
    return files


def longest_s(runs: list[Object]) -> float:
    """Return the seconds of the longest run of a proof."""
    return max((run["seconds"] for run in runs), default=0.0)


def as_proven(task: Task, proof: Mapping, was: str, then: str) -> Task:
    """Return a task with the proof of its record, which has the digest `was`. Where it had another
    one `then`, when it was proven, the task stays another than was proven."""
    task = proven(task, {"image_id": "", **proof, "converted": True})
    edited = {"digest": then, "parts": {}} if was != then else {}
    return replace(task, proof={**task.proof, **edited})


def digests(record: Mapping) -> dict[str, str]:
    """Return {field: digest} of a record, as ledgers have them."""
    return {name: digest(value) for name, value in record.items() if value is not None}


def put(store: Store, task: Task, fields: tuple[str, ...]) -> None:
    """Write a task, unless it is there already. Raise ValueError where another one is."""
    name = task.instance_id
    if name not in store:
        store.put(name, task, fields)
        return
    there, new = digests_of(store.read(name)), digests_of(task)
    if any(there.get(field) != new.get(field) for field in fields):
        raise ValueError(f"{store.path(name)} is there already, and is another")
