"""Take an agent's work out of its container, with the patch that it comes to."""
from __future__ import annotations

import shlex
from contextlib import suppress
from dataclasses import dataclass, field

from codedata.code.patches import diff_of
from codedata.errors import ItemFailed
from codedata.sandbox import OUTPUT_BYTES, Sandbox, SandboxDied
from codedata.suites.source import is_text
from codedata.tasks.prove.grade import Grader, Tree, tree_of

# with new files, but not those that the project ignores; of what the agent has committed, too
DIFF = """cd {workdir}; git -c safe.directory='*' add -A -N . 2>/dev/null
git -c safe.directory='*' diff --no-color --no-ext-diff --no-renames {commit}"""


@dataclass
class Watch:
    """Hold the container of an agent, from before its work to the end."""

    grader: Grader
    sandbox: Sandbox
    before: Tree | None = field(init=False, default=None)   # of a task without a repository

    def __post_init__(self):
        if not self.grader.packs_itself:
            self.before = self._tree(self._packed())

    def work(self) -> tuple[bytes | None, str | None]:
        """Return (the archive of the work, or None where it cannot be packed or is too large; the
        patch, or None where it is not of text alone, or too long)."""
        work = self._packed()
        if not self.grader.packs_itself:
            return work, self._patch_of(self._tree(work))
        commit = str(self.grader.task.about.get("task_commit") or "HEAD")
        done = self.sandbox.run(DIFF.format(
            workdir=shlex.quote(self.grader.workdir), commit=commit))
        return work, done.output if done.ok and done.n_bytes <= OUTPUT_BYTES else None

    def _packed(self) -> bytes | None:
        try:
            return self.grader.packed(self.sandbox)
        except SandboxDied:
            raise
        except ItemFailed:
            return None

    def _tree(self, work: bytes | None) -> Tree | None:
        with suppress(ItemFailed):
            return tree_of(work) if work else None

    def _patch_of(self, after: Tree | None) -> str | None:
        if self.before is None or after is None:
            return None
        changed = {name for name in {*self.before, *after}
                   if self.before.get(name) != after.get(name)}
        old, new = ({name.removeprefix("./"): tree[name][2] for name in sorted(changed)
                     if isinstance(tree.get(name, ("", 0, ""))[2], bytes)}
                    for tree in (self.before, after))
        return diff_of(old, new) if all(map(is_text, [*old.values(), *new.values()])) else None
