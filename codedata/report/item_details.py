"""Show one item of a root on its page: cells of the table, a line that says more, and details.

Texts of records are untrusted: elements.py escapes them and cuts long ones.
"""
from __future__ import annotations

from pathlib import Path

from codedata.conversation.turn import plain, turn_text
from codedata.datapoints.approval import is_as_proven
from codedata.datapoints.contents import known_checks
from codedata.datapoints.datapoint_folder import APPROVED, labels_of, read_datapoint
from codedata.disk.layouts import content_of
from codedata.disk.store import known, known_in
from codedata.duel.executed import execution_of
from codedata.duel.panel import SIDES
from codedata.duel.scoring import is_parsed
from codedata.page.elements import Html, fold, shown, sides, table
from codedata.records import (
    AUDIT_RESULTS,
    DATAPOINT,
    METRICS,
    UNFINISHED,
    Answer,
    Attempt,
    Environment,
    Object,
    RivalledTask,
    Score,
    TaskAudit,
)
from codedata.report.content import by_metric, number
from codedata.report.turn_rows import ReportTurns, TurnRow
from codedata.tasks.folder.task_folder import (
    DOCKERFILE,
    GOLD,
    audited_digest,
    part_faults,
    verifier_config,
)

FIELDS = {**SIDES, "challenger": "challenger"}   # field of an Answer for each side
MAX_FILES = 200
NOUNS = {DATAPOINT: "terminal task", "": "task of others"}
EDITED = "approved, edited"   # edited since the approval: to be proven again


# cells of COLUMNS in index_page.py; a line that says more; details
Item = tuple[Object, str, list[Html]]


def unjudged_turn(answer: Answer, cause: str) -> Item:
    """Return a turn without verdicts; `cause` says why there are none."""
    pair = {side: turn_text(getattr(answer, side), answer.messages)
            for side in ("king", "challenger")}
    return {"kind": "turn", "result": "not judged"}, cause, [sides(pair), _history(answer)]


def turn(row: TurnRow, turns: ReportTurns) -> Item:
    """Return a judged turn."""
    answer, score = turns.read(row.name)
    rival = turns.duel.mode
    texts = {side: turn_text(getattr(answer, field), answer.messages)
             for side, field in FIELDS.items()}
    pair = {side: texts.pop(side) for side in (rival, "challenger")}
    runs = {f"{side}, when it was run": run.text() for side in pair if (
        run := execution_of(turns.root, row.name, getattr(answer, FIELDS[side])))}
    pull = known(turns.commits, row.instance_id)
    about = {"instance": row.instance_id, "step": " → ".join(row.styles),
             "score": "edited: not what the verdicts give" if row.is_edited else "",
             "leaks": _leaks(row), "injections": row.injections or "none found"}
    cells = {"kind": "turn" if rival == "king" else f"turn against the {rival}",
             "result": row.label or "no verdict", "score": row.score and number(row.score),
             "repo": row.repo, "language": row.language}
    return cells, row.commands[1], [
        sides(pair), sides(runs), shown(about), _verdicts(row, score, rival),
        fold("Refused, and asked for again", shown(row.leaks.tries())),
        fold("Reference, choice, pull request", shown(
            {**texts, "choice": answer.choice, **{f"pull request: {key}": getattr(pull, key, "")
             for key in ("description", "patch", "test_patch")}})),
        _history(answer)]


def _leaks(row: TurnRow) -> list | str:
    """Return the leak verdict on a turn's challenger."""
    if row.leaks.found is None:
        return "not checked: there is no record of the pull request"
    lacking = "no verdict of a leak judge yet" if row.leaks.lacks_verdict else "none found"
    return row.leaks.found or lacking


def _verdicts(row: TurnRow, score: Score, rival: str) -> Html:
    """Return a table of a turn's verdicts, with the judges' reasons."""
    words = {1: "challenger", 0.5: "draw", 0: rival}
    lines = [[entry["judge"], entry["order"], *(
        words[entry["scores"][metric]] if is_parsed(entry) else "not read" for metric in METRICS),
        entry.get("error") or entry.get("reason")] for entry in score.judges]
    lines.append(["score", number(row.score), *by_metric(row.metrics), ""])
    return table(["judge", "order", *METRICS, "reason"], lines, "l" * (3 + len(METRICS)))


def _history(answer: Answer) -> Html:
    messages = plain(answer.messages, answer.tools)
    return fold(f"History: {len(messages)} messages", shown(
        [{one["role"]: one["content"]} for one in messages]))


def attempt(one: Attempt) -> Item:
    """Return an attempt."""
    outcome, steps = one.outcome, one.trajectory["steps"]
    cells = {"kind": "attempt", "result": outcome["status"], "reward": outcome["reward"],
             "model": outcome["model"] or outcome["agent"]}
    return cells, outcome["why"], [
        shown({**outcome, "patch": one.patch}),
        fold(f"Trajectory: {len(steps)} steps", shown(steps))]


def environment(one: Environment) -> Item:
    """Return an environment."""
    keys = ("error", "summary", "image_name", "seconds", "install_script", "test_script")
    cells = {"kind": "environment", "result": one.status, "repo": one.repo}
    return cells, one.error or one.summary, [shown({key: getattr(one, key) for key in keys})]


def task(root: Path, path: Path, task: RivalledTask, is_in_review: bool) -> Item:
    """Return a task, or a terminal task that is not approved."""
    cells, checks, audit = {}, {}, known_in(root, TaskAudit, task.instance_id)
    if task.kind == DATAPOINT or is_in_review:
        task = read_datapoint(path)   # also checks its parts
        labels, found = labels_of(task), known_checks(root, task)
        is_edited = labels.status == APPROVED and not is_as_proven(task)
        cells = {"result": EDITED if is_edited else labels.status.replace("_", " "),
                 "language": ", ".join(labels.languages), "checks": "not validated"}
        checks = {one["name"]: {**one, "result": one["status"]}
                  for one in (found.checks if found else ())}
    if audit and audit.content == audited_digest(task):   # the task has not changed since
        checks |= {one["name"]: one for one in audit.checks}
    if checks:
        cells["checks"] = min(map(_result, checks.values()), key=AUDIT_RESULTS.index)
    fault = next(part_faults(task), None)
    files = _files(task)
    cells = {"kind": NOUNS.get(task.kind, task.kind.replace("_", " ")),
             "result": fault.reason if fault else "ready",
             **{key: task.about.get(key) for key in ("repo", "language")}, **cells}
    first = {"instruction": task.instruction, "gold": files.pop(f"solution/{GOLD}", ""),
             "FAIL_TO_PASS": verifier_config(task).get("FAIL_TO_PASS")}
    return cells, task.instruction or "", [
        shown({**first, "checks": [*checks.values()]}), fold("Files", shown(files))]


def _result(check: Object) -> str:
    """Return the result of a check; an unknown one counts as not checked."""
    return check["result"] if check["result"] in AUDIT_RESULTS else UNFINISHED


def _files(task: RivalledTask) -> dict[str, str]:
    """Return the texts in a task's folder by path; from its environment, only the Dockerfile. Raise
    BrokenRecord if a file cannot be read."""
    files = {f"{place}/{path}": file for place in ("environment", "solution", "tests", "rivals")
             for path, file in (getattr(task, place) or {}).items()
             if place != "environment" or path == DOCKERFILE}
    return {path: content_of(file).decode(errors="replace")
            for path, file in [*files.items()][:MAX_FILES]}
