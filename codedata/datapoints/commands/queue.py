"""Claim, end and list the tasks of agents: commands for every role."""
from __future__ import annotations

from collections import Counter
from typing import Literal

from codedata.datapoints.commands.desk import Desk
from codedata.datapoints.datapoint_folder import content_digest, labels_of, readable
from codedata.datapoints.profiles import instructions
from codedata.datapoints.rate_bands import outside_band
from codedata.datapoints.task_queue import BUILD, REVIEW, QueuedTask, Refusal
from codedata.records import Object
from codedata.tasks.folder.task_folder import audited_digest
from codedata.tasks.rates import attempts_in, rates_by_agent

ENDS = {BUILD: "add_dp_to_review", REVIEW: "approve_datapoint or cancel_datapoint"}
MAX_RETURNS = 2   # limit for returns of a datapoint to a builder because of its pass rate
LISTED = ("id", "type", "state", "parent", "attempts")


class QueueCommands(Desk):
    """Claim, end and list tasks."""

    def next(self, agent: str, task_type: str = "") -> Object:
        """Claim the next task. Pass the returned `claim` to commands that change the task. `id` is
        null if no task is pending.

        agent: a name of your own
        task_type: generate_idea, build_datapoint or review_datapoint; empty: any
        """
        self.queue_reviews()
        self.queue_returns()
        task = self.manager.get_next_task(agent, task_type)
        return {"claim": task.token, **task.shown()} if task else {"id": None}

    def queue_returns(self) -> None:
        """Queue the datapoints whose pass rate is outside the band of their profile to be built
        again, unless MAX_RETURNS other versions of one were queued before."""
        for task, rates, names in outside_band(self.root, self.settings.profile):
            content = content_digest(task)
            earlier = {one.data.get("content") for one in
                       self.builds_again(task.instance_id, "rates")}
            if content in earlier or len(earlier) < MAX_RETURNS:
                self.build_again(task, f"rates:{content}", rates=rates, tried=names)

    def complete(self, task_id: str, claim: str,
                 status: Literal["completed", "failed", "rejected"] = "completed",
                 reason: str = "") -> Object:
        """End a task that you hold as completed, failed (others may try it again) or rejected
        (nobody tries it again).

        reason: why it failed or was rejected
        """
        if status != "completed" and not reason.strip():
            raise Refusal("A reason is missing.")
        if status == "completed":
            self._check_complete(self.manager.get_task(task_id))
            self.manager.complete_task(task_id, claim)
        elif status == "failed":
            self.manager.fail_task(task_id, claim, reason)
        else:
            self.manager.cancel_task(task_id, claim, reason)
        return self.info(task_id)

    def _check_complete(self, task: QueuedTask) -> None:
        """Raise Refusal if another command completes tasks of this type, if the task has no child
        tasks, or if one of its drafts has no child task that builds it."""
        if task.type in ENDS:
            raise Refusal(f"Complete this task with {ENDS[task.type]}.")
        queued = {child.data.get("datapoint") for child in self.manager.tasks(parent=task.id)}
        unqueued = {*self.drafts(task)} - queued
        if not queued or unqueued:
            raise Refusal(f"No task builds {', '.join(unqueued) or 'an idea of this seed'}: run "
                          "add_artifact and create_task first, or give the status rejected.")

    def release(self, task_id: str, claim: str) -> Object:
        """Give a task back, as if it had never been claimed."""
        self.manager.release(task_id, claim)
        return self.info(task_id)

    def heartbeat(self, task_id: str, claim: str) -> Object:
        """Renew the lease of a task."""
        self.manager.heartbeat(task_id, claim)
        return {"id": task_id, "lease_until": self.manager.get_task(task_id).lease_until}

    def info(self, task_id: str) -> Object:
        """Show a task with its data, and the ids of its children."""
        return {**self.manager.get_task(task_id).shown(),
                "children": [child.id for child in self.manager.tasks(parent=task_id)]}

    def list(self, task_type: str = "", state: str = "") -> Object:
        """List tasks by type and state."""
        return {"tasks": [{key: getattr(task, key) for key in LISTED}
                          for task in self.manager.tasks(type=task_type, state=state)]}

    def status(self) -> Object:
        """Count the tasks by type and state, and the datapoints by status, category, language and
        difficulty; show how often models pass each datapoint."""
        self.queue_reviews()
        counts = {key: Counter() for key in ("status", "category", "language", "difficulty")}
        attempts, rates = attempts_in(self.root), {}
        for task in readable(self.root):
            labels = labels_of(task)
            for key in ("status", "category", "difficulty"):
                counts[key][getattr(labels, key)] += 1
            counts["language"].update(labels.languages)
            if tried := attempts.get((task.instance_id, audited_digest(task))):
                rates[task.instance_id] = rates_by_agent(tried, of_models=False)
        return {"tasks": self.manager.counts(), "datapoints": counts, "rates": rates}

    def instructions(self, role: Literal["idea", "builder", "review"]) -> Object:
        """Show the instructions of a role.

        role: the role of the agent
        """
        return {"text": instructions(role, self.settings, self.host.base_image)}
