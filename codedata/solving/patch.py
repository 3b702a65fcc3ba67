"""Take an agent's work out of its container, with the resulting patch."""
from __future__ import annotations

import shlex

from codedata.errors import ItemFailed
from codedata.sandbox import OUTPUT_BYTES, Sandbox, SandboxDied
from codedata.tasks.prove.grader import Grader

# includes new files (except files that the project ignores) and the agent's commits
DIFF = """cd {workdir} && { git -c safe.directory='*' add -A -N .
git -c safe.directory='*' diff --no-color --no-ext-diff --no-renames {commit}; } 2>/dev/null"""


def work_in(grader: Grader, sandbox: Sandbox) -> tuple[bytes | None, str | None, str]:
    """Return (the archive of an agent's work, its patch, why the work cannot be packed or ""). The
    archive is None if it cannot be packed. The patch is None without a repository, or if it is too
    long or not text."""
    work, why = None, ""
    try:
        work = grader.packed(sandbox)
    except SandboxDied:
        raise
    except ItemFailed as e:
        why = e.what
    commit = str(grader.task.about.get("task_commit") or "HEAD")
    done = sandbox.run(DIFF.replace("{workdir}", shlex.quote(grader.workdir)).replace(
        "{commit}", shlex.quote(commit)))
    is_text = done.ok and done.n_bytes <= OUTPUT_BYTES and "\ufffd" not in done.output
    return work, done.output if is_text else None, why
