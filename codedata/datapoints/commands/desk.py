"""Hold the folders and the queue that the commands of all roles use."""
from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from codedata.bounded import inside, read_bounded
from codedata.datapoints.approval import BLIND, lacking_rivals
from codedata.datapoints.datapoint_folder import (
    DP,
    DRAFTS,
    IN_REVIEW,
    content_digest,
    folder_of,
    folders_in_dp,
    labels_of,
    put,
    read_all,
    read_datapoint,
)
from codedata.datapoints.task_queue import BUILD, REVIEW, QueuedTask, Refusal, TaskManager
from codedata.errors import ItemFailed
from codedata.records import ItemName, RivalledTask, Task
from codedata.sandbox.factory import SandboxFactory
from codedata.settings import DpSettings
from codedata.tasks.folder.task_folder import rivals_digest, with_about
from codedata.texts import safe_name

STAGING = "_staging"
MAX_BYTES = 1_000_000      # limit for a file that an agent names
SHOWN_CHARS = 20_000       # limit for a text in a result


@dataclass
class Desk:
    """Hold a root and its queue. `room` limits how many datapoints have containers at a time in
    this process."""

    root: Path
    settings: DpSettings
    manager: TaskManager
    host: SandboxFactory
    room: Callable[[], AbstractContextManager] = nullcontext

    def at(self, *names: str) -> Path:
        """Return a place below dp/. Raise BrokenRecord for a path outside of it."""
        return inside(self.root / DP, *names)

    def held(self, task_id: str, claim: str, *types: str) -> QueuedTask:
        """Return a task, and renew its lease. Raise Refusal if it has another type than these, or
        is not held under this claim."""
        task = self.manager.get_task(task_id)
        if task.type not in types:
            raise Refusal(f"{task_id} is a task of type {task.type}, not {' or '.join(types)}.")
        self.manager.heartbeat(task_id, claim)
        return task

    def queue_reviews(self) -> None:
        """Queue a review of each datapoint in review without an open review task. So a reviewer's
        own edits queue no further review."""
        reviewed = {task.data.get("datapoint") for state in ("pending", "in_progress")
                    for task in self.manager.tasks(type=REVIEW, state=state)}
        for point in read_all(folders_in_dp(self.root), []):   # skips broken ones
            if labels_of(point).status == IN_REVIEW and point.instance_id not in reviewed:
                self.queue_review(point)

    def queue_review(self, point: RivalledTask, parent: str = "") -> str:
        """Queue a review of a datapoint unless one is queued; return the id of its task."""
        name, content = point.instance_id, content_digest(point)
        key = f"{REVIEW}:{name}:{content}:{rivals_digest(point)}"
        return self.manager.create_task(REVIEW, {"datapoint": name, "content": content},
                                         parent=parent, key=key)

    def point(self, task: QueuedTask) -> RivalledTask:
        """Return the datapoint of a task: the staged one for a builder, the one in review for a
        reviewer. First stage a datapoint that its builder has to change. Raise ItemFailed or
        Refusal if there is none."""
        name = name_of(task, "datapoint")
        approved = inside(self.root / Task.directory, name)
        if task.type != BUILD:
            # it is approved already if a reviewer was killed right after the approval
            for place in filter(Path.is_dir, (self.at(name), approved)):
                return read_datapoint(place)
            raise ItemFailed("is not there any more.", str(self.at(name)))
        place = self.at(STAGING, name)
        # a datapoint to be made harder or easier, or one that its reviewer gave back
        before = approved if "rates" in task.data else self.at(name)
        if {"rates", "returned"} & task.data.keys() and not place.is_dir() and before.is_dir():
            put(place, in_review(read_datapoint(before)))
        if not place.is_dir():
            raise Refusal(f"{name} is not staged: run create_dp.")
        return read_datapoint(place)

    def seen(self, task: QueuedTask) -> RivalledTask:
        """Return the datapoint of a task. Raise Refusal for a reviewer without the right to see its
        tests yet."""
        point = self.point(task)
        if is_blind(task, point):
            raise Refusal("First write rivals without having seen the tests, and hand them in with "
                          "patch_rivals.")
        return point

    def in_dp(self, task: QueuedTask) -> Task:
        """Return the datapoint of a task for a change. Raise Refusal if it is approved already,
        because a reviewer was killed after the approval."""
        point = self.point(task)
        if folder_of(point).is_relative_to(self.root / DP):
            return point
        raise Refusal("It is approved already: end its review with approve_datapoint.")

    def drafts(self, task: QueuedTask) -> list[str]:
        """Return the names of the drafts of a task's seed."""
        return sorted(
            path.stem for path in self.at(DRAFTS).glob(f"{name_of(task, 'seed')}_???_?.md"))

    def builds_again(self, name: str, why: str) -> list[QueuedTask]:
        """Return the tasks that build a datapoint again for the reason `why`, a key of their data.
        """
        return [task for task in self.manager.tasks(type=BUILD)
                if task.data.get("datapoint") == name and why in task.data]

    def build_again(self, point: Task, key: str, parent: str = "", **data) -> None:
        """Queue a datapoint to be built again, once for each key."""
        name, seed = point.instance_id, str(labels_of(point).lineage.get("seed", ""))
        self.manager.create_task(BUILD, {
            "datapoint": name, **({"seed": seed} if safe_name(seed) else {}),
            "content": content_digest(point), **data}, key=f"{BUILD}:{name}:{key}", parent=parent)


def is_blind(task: QueuedTask, point: RivalledTask) -> bool:
    """Return whether the agent of a task may not see tests and solution yet. This holds for a
    reviewer until rivals are written."""
    return task.type == REVIEW and bool(lacking_rivals(point, BLIND))


def name_of(task: QueuedTask, key: str) -> ItemName:
    """Return the name of a task's seed or datapoint. Raise Refusal if the task has none."""
    if key not in task.data:
        raise Refusal(f"{task.id} is about no {key}.")
    return task.data[key]


def in_review(point: Task) -> Task:
    """Return a datapoint with the status in_review and without a proof."""
    return replace(with_about(point, status=IN_REVIEW), proof=None)


def read(path: str | Path) -> bytes:
    """Return the bytes of a file that an agent names. Raise Refusal if it cannot be read."""
    try:
        return read_bounded(Path(path), MAX_BYTES)
    except OSError as e:
        raise Refusal(f"{path} cannot be read: {e.strerror or e}.") from e
