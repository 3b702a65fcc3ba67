"""Make the rows of attempts and of terminal tasks for the page of a root, and their details."""
from __future__ import annotations

from pathlib import Path

from codedata.code.entities import is_text
from codedata.datapoints.approval import is_as_proven
from codedata.datapoints.folder import APPROVED, content_digest, labels_of
from codedata.disk.layouts import content_of
from codedata.page.blocks import Block
from codedata.page.builder import shortened
from codedata.records import (
    AUDIT_RESULTS,
    UNFINISHED,
    Attempt,
    DatapointChecks,
    Object,
    RivalledTask,
    Task,
    TaskAudit,
)
from codedata.tasks.folder.folder import DOCKERFILE, TOML
from codedata.texts import without_middle

MAX_CHARS = 10_000   # of a text of an attempt
MAX_STEPS = 150      # of a trajectory, at its start and at its end
CUT = "{n} characters left out: the attempt's files have them"
LABEL_CHARS = 300    # of a value in metadata
MAX_FILES, MAX_FILE = 200, 20_000   # files of a task, characters of each
MAX_DIFF, MAX_FIGURES = 20_000, 500   # characters
SURVIVOR = ("path", "line", "operator", "place", "diff", "verdict", "quote", "why")   # its texts
EDITED = "approved, edited"          # edited since the approval: to be proven again


def attempt_row(attempt: Attempt) -> Object:
    """Return the row of an attempt in the table. An edited task counts as another one."""
    outcome = attempt.outcome
    return {**outcome["usage"], **outcome, "verifier": "", "settings": "",
            "kind": "attempt", "result": outcome["status"], "second": outcome["why"],
            "task": f"{outcome['task']}.{outcome['content'][:8]}",
            "model": outcome["model"] or outcome["agent"],
            "steps": len(attempt.trajectory["steps"]), "seconds": outcome["seconds"].get("all")}


def attempt_details(attempt: Attempt) -> list[Block]:
    """Return the details that the page shows when an attempt is opened, below its row."""
    steps = attempt.trajectory["steps"]
    results = [["verifier", attempt.outcome["verifier"], True],
               ["patch.diff", attempt.patch or "", True]]
    return _cut([{"kind": "texts", "texts": results},
                 {"kind": "trajectory", "n": len(steps),
                  "steps": steps[:MAX_STEPS] + steps[MAX_STEPS:][-MAX_STEPS:]}])


def _cut(value):
    """Return a JSON value with the middle of its long texts left out."""
    if isinstance(value, str):
        return without_middle(value, MAX_CHARS, CUT)
    if isinstance(value, dict):
        return {key: _cut(one) for key, one in value.items()}
    return [*map(_cut, value)] if isinstance(value, list) else value


def task_row(task: Task, found: DatapointChecks | None) -> Object:
    """Return the row of a terminal task in the table."""
    labels = labels_of(task)
    is_edited = labels.status == APPROVED and not is_as_proven(task)
    status = shortened(labels.status, LABEL_CHARS).replace("_", " ")
    return {
        "language": shortened(", ".join(labels.languages), LABEL_CHARS),
        "content": content_digest(task), "result": EDITED if is_edited else status,
        **({"seconds": found.seconds, "review": found.review} if found else {})}


def checks_of(found: DatapointChecks | None, audit: TaskAudit | None) -> list[Object]:
    """Return the checks of a terminal task and those of an audit, the worst first. An unknown
    result counts as not checked."""
    checks = [{**check, "result": check["status"]} for check in found.checks] if found else []
    for check in audit.checks if audit else ():
        figures = ", ".join(f"{key} {value}" for key, value in check["figures"].items())
        checks.append({**check, "words": shortened(figures, MAX_FIGURES),
                       "tries": [*map(_survivor, check["tries"])]})
    for check in checks:
        if check["result"] not in AUDIT_RESULTS:
            check["result"] = UNFINISHED
    by_name = {check["name"]: check for check in checks}   # the audit's, where both have one
    return sorted(by_name.values(), key=lambda check: AUDIT_RESULTS.index(check["result"]))


def _survivor(one: Object) -> Object:
    """Return a survivor as short texts, since a person may have edited it."""
    return {"unrun": one.get("unrun") is True, "is_wrong_gold": one.get("gold_keeps_it") is False,
            **{key: shortened(str(one.get(key, "")), MAX_DIFF) for key in SURVIVOR}}


def task_files(task: RivalledTask, folder: Path) -> list[Object]:
    """Return the texts in a task's folder, of its environment the Dockerfile alone. Raise
    BrokenRecord if a file cannot be read."""
    files = {"instruction.md": (task.instruction or "").encode(), TOML: folder / TOML}
    for place in ("environment", "solution", "tests", "rivals"):
        files |= {f"{place}/{path}": file for path, file in (getattr(task, place) or {}).items()
                  if place != "environment" or path == DOCKERFILE}
    return [_file(path, content_of(file)) for path, file in [*files.items()][:MAX_FILES]]


def _file(path: str, content: bytes) -> Object:
    """Return the start of a file's text; null if it is not text."""
    text = content.decode() if is_text(content) else None
    return {"path": path, "text": text and text[:MAX_FILE],
            "size": len(content if text is None else text)}
