"""Read a task's gold, the patch hidden from its agent, as a pull request."""
from __future__ import annotations

from codedata.code.patches import files_of
from codedata.records import Commit, Task
from codedata.tasks.folder.task_folder import GOLD, TEST_PATCH, text_in


def commit_of(task: Task) -> Commit:
    """Return the pull request of a task; its patch is "" if the gold is not a patch."""
    about = task.about
    patch, test_patch = text_in(task.solution, GOLD), text_in(task.tests, TEST_PATCH)
    texts = {key: str(about.get(key) or "") for key in ("repo", "language", "task_commit")}
    files = dict.fromkeys(path for text in (patch, test_patch) for path, _ in files_of(text))
    return Commit(
        task.instance_id, texts["repo"], texts["language"], texts["task_commit"],
        task.instruction or "", "", [*files], patch, test_patch,
        about.get("created_at"), about.get("licence"))
