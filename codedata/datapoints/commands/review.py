"""Approve datapoints, return or cancel them: the commands of reviewers."""
from __future__ import annotations

from dataclasses import replace
from typing import Literal

from codedata.bounded import inside, read_bounded
from codedata.datapoints.approval import OF_REVIEW, TAXONOMY, categories
from codedata.datapoints.commands.desk import MAX_BYTES, SHOWN_CHARS, Desk, is_blind
from codedata.datapoints.contents import known_checks, validated, with_proof
from codedata.datapoints.datapoint_folder import (
    APPROVED,
    CANCELLED,
    RETURNED,
    content_digest,
    context_of,
    folder_of,
    labels_of,
    put,
    texts_of,
)
from codedata.datapoints.task_queue import REVIEW, QueuedTask, Refusal
from codedata.disk.layouts import set_aside
from codedata.records import DATAPOINT, Object, Task
from codedata.tasks.folder.task_folder import rivals_digest, with_about

MAX_RETURNS = 3                     # limit for returns of a datapoint to a builder by its reviewers


class ReviewCommands(Desk):
    """Read, approve, return and cancel datapoints."""

    def read_datapoint(self, task_id: str, name: str = "") -> Object:
        """Show the datapoint of a task: its parts and metadata, or one of its files. A reviewer
        sees tests, solution and rivals once he has handed in rivals of his own.

        name: a path in the image's context, or rivals/NAME
        """
        task = self.manager.get_task(task_id)
        point = self.point(task)
        blind = is_blind(task, point)
        rivals = {} if blind else {f"rivals/{path}": file
                                   for path, file in (point.rivals or {}).items()}
        files = {**context_of(point), **rivals}
        if name:
            if name not in files:
                raise Refusal(f"There is no file {name}, only: {', '.join(files)[:2000]}")
            text = read_bounded(files[name], MAX_BYTES)
            return {"text": text.decode(errors="replace")[:SHOWN_CHARS]}
        texts = {part: text for part, text in texts_of(point)._asdict().items()
                 if not blind or part in ("prompt", "dockerfile")}
        return {**texts, "files": [*files], "metadata": vars(labels_of(point)),
                "content": content_digest(point)}

    def show_categories_tags(self) -> Object:
        """Show the categories and tags that a datapoint may have."""
        return {"categories": categories(), **TAXONOMY}

    def approve_datapoint(self, task_id: str, claim: str, category: str, tags: str,
                          languages: str = "", difficulty: str = "") -> Object:
        """Approve a datapoint as it is, and end its review. All its checks must have passed, and
        it needs at least three cheats of yours beside the rivals.

        category: one of those that show_categories_tags lists
        tags: 1 to 3 of those, separated by |
        languages: separated by |; empty: keep the datapoint's
        difficulty: easy, medium, hard or extremely_hard; empty: keep the builder's
        """
        task = self.held(task_id, claim, REVIEW)
        point = self.point(task)
        given = [tag for tag in tags.split("|") if tag]
        if not category or not given:
            raise Refusal("Give a category and 1 to 3 tags: show_categories_tags lists them.")
        old = labels_of(point)
        point = with_about(
            point, status=None, reason=None,   # all datapoints in task/ are approved
            languages=[one for one in languages.split("|") if one] or old.languages,
            labels={"category": category, "tags": given,
                    "difficulty": difficulty or old.difficulty})
        checks = validated(self.root, point, OF_REVIEW)
        self._move_to_tasks(with_proof(self.root, point, checks))
        return self._reviewed(task, claim, APPROVED, checks.content)

    def _move_to_tasks(self, point: Task) -> None:
        """Write a datapoint with its proof to dp/, then move it to task/. After a kill it is in
        exactly one of the two. An earlier datapoint of its name is moved to task/_replaced/. Raise
        Refusal if a task of another kind has its name."""
        name = point.instance_id
        place = inside(self.root / Task.directory, name)
        if folder_of(point) == place:
            return   # moved before the reviewer was killed
        if place.exists() and Task.kind_in(place) != DATAPOINT:
            raise Refusal(f"{Task.directory}/{name} exists already, and is no datapoint: rename "
                          "one of the two.")
        put(self.at(name), point)
        place.parent.mkdir(exist_ok=True)
        if place.exists():
            set_aside(place, keep=False)
        self.at(name).rename(place)

    def return_datapoint(self, task_id: str, claim: str, reason: str) -> Object:
        """Give a datapoint back to a builder with what its checks have found, and end its review.

        reason: what has to be changed, and why
        """
        task = self.held(task_id, claim, REVIEW)
        point = self.in_dp(task)
        name, content, rivals = point.instance_id, content_digest(point), rivals_digest(point)
        if len(self.builds_again(name, "returned")) >= MAX_RETURNS:
            raise Refusal(f"It was given back {MAX_RETURNS} times: approve or cancel it.")
        checks = known_checks(self.root, point)
        found = [{key: one[key] for key in ("name", "why", "evidence")}
                 for one in (checks.checks if checks else ()) if one["status"] != "passed"]
        put(self.at(name), with_about(point, status=RETURNED))
        self.build_again(point, f"returned:{content}:{rivals}", task_id,
                         rivals=rivals, returned=reason, found=found)
        return self._reviewed(task, claim, RETURNED, content)

    def cancel_datapoint(self, task_id: str, claim: str, reason: str,
                         category: Literal["scope", "unfixable", "complexity", "quality",
                                           "other"]) -> Object:
        """Cancel a datapoint, and end its review.

        reason: why
        category: the kind of the reason
        """
        task = self.held(task_id, claim, REVIEW)
        point = self.in_dp(task)
        point = with_about(point, status=CANCELLED, reason=f"{category}: {reason}")
        content = content_digest(point)
        put(self.at(point.instance_id), replace(point, proof=None))
        return self._reviewed(task, claim, CANCELLED, content)

    def _reviewed(self, task: QueuedTask, claim: str, status: str, content: str) -> Object:
        result = {"status": status, "content": content}
        self.manager.complete_task(task.id, claim, result)
        return {"datapoint": task.data["datapoint"], **result}
