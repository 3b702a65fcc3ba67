"""Make the rows of attempts and of terminal tasks for the page of a root, and their details."""
from __future__ import annotations

import json
from itertools import islice

from codedata.datapoints.approval import is_as_proven
from codedata.datapoints.folder import APPROVED, content_digest, labels_of
from codedata.page.blocks import Block, part
from codedata.page.builder import shortened
from codedata.records import AUDIT_RESULTS, UNFINISHED, Attempt, DatapointChecks, Object, Task
from codedata.texts import without_middle

MAX_CHARS = 10_000   # of a text of an attempt
MAX_STEPS = 150      # of a trajectory, at its start and at its end
CUT = "{n} characters left out: the attempt's files have them"
LABEL_CHARS, MAX_LABELS = 300, 30   # of values in metadata
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
    """Return the row of a terminal task in the table, with its checks."""
    labels = labels_of(task)
    texts = {key: [*map(_label, value[:MAX_LABELS])] if isinstance(value, list) else _label(value)
             for key, value in vars(labels).items() if key != "lineage"}
    is_edited = labels.status == APPROVED and not is_as_proven(task)
    return {
        **texts, "language": texts["languages"], "content": content_digest(task),
        "result": EDITED if is_edited else texts["status"].replace("_", " "),
        "seed": _label(labels.lineage.get("seed") or ""),
        "checks": [check | {"result": check["status"] if check["status"] in AUDIT_RESULTS
                            else UNFINISHED} for check in found.checks] if found else [],
        **({"seconds": found.seconds, "review": found.review} if found else {})}


def lineage(task: Task, draft: str) -> Block:
    """Return what a terminal task was made from, with a link to its draft; `draft` is "" if there
    is none."""
    pairs = [[_label(key), _label(value)] for key, value in
             islice(labels_of(task).lineage.items(), MAX_LABELS)]
    if draft:
        pairs.append(["draft", {"kind": "file", "path": draft}])
    return pairs and part("Lineage", {"kind": "facts", "pairs": pairs})


def _label(value) -> str:
    """Return a value of metadata as a text that is short enough for a table."""
    try:
        text = value if isinstance(value, str) else json.dumps(
            value, ensure_ascii=False, default=str)
    except RecursionError:
        text = "…"
    return shortened(text, LABEL_CHARS)
