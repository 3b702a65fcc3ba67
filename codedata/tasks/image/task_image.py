"""Make a task's image from an environment's image, and check from outside that it holds neither a
history nor the solution.

derive() works in a container of the image, with its tools. check_task_image() trusts none of them:
on this machine, it reads the files that a process in a container could read. Lower layers of the
image may hold the former source, but reading them needs control of the engine or the registry.
"""
from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from codedata.code.git import git_output, run_git
from codedata.code.patches import added_runs, hunks_of
from codedata.disk.locks import temporary_folder
from codedata.errors import Excluded, ItemFailed
from codedata.sandbox import Sandbox
from codedata.sandbox.archives import Stream, UnsafeArchive
from codedata.sandbox.docker import engine
from codedata.sandbox.factory import WORKDIR, SandboxFactory
from codedata.sandbox.images.registry import image_name
from codedata.suites.leftovers import activation
from codedata.suites.outside import take_repository
from codedata.suites.source import TOOLS, run_tool
from codedata.tasks.image.hidden_text import Search
from codedata.texts import printable

TOOLS_IMAGES = "codedata-tools/"
CONTENT = "cat-file", "--batch", "--buffer"
LINK = f"""[ -L {WORKDIR} ] || [ ! -d {WORKDIR} ] || rmdir {WORKDIR}
[ -e {WORKDIR} ] || ln -s "$(pwd -P)" {WORKDIR}
[ "$(cd {WORKDIR} && pwd -P)" = "$(pwd -P)" ]"""


@dataclass(frozen=True)
class TaskImage:
    """Describe an image whose only commit is a task's source."""

    name: str
    base_commit: str


def derive(factory: SandboxFactory, image: str, patch: str, name: str, label: str,
           test_script: str = "") -> TaskImage:
    """Return a new image with a patch applied to the source in `image`, as one root commit, and
    with the PATH that the test script uses. The image is removed with all images that have the
    run's label, unless factory.keep() keeps it. Raise ItemFailed if the patch does not apply."""
    with factory.open(image, label, factory.workdir_of(image)) as sandbox:
        done = run_tool(sandbox, "derive.sh", ".", f"{TOOLS}/patch", patch=patch)
        commit = done.output.strip().rpartition("\n")[2]
        if not (done.ok and re.fullmatch(r"[0-9a-f]{40}", commit)):
            raise ItemFailed(f"no task can be made of it: {done.output.strip()[-500:]}", image)
        shown = sandbox.run(f'{activation(test_script)}printf "\\n%s" "$PATH"').output
        path = shown.rpartition("\n")[2]
        sandbox.commit(name, keep=False, changes=[f'ENV PATH="{path}"'])
        return TaskImage(name, commit)


def lead_from_testbed(factory: SandboxFactory, image: TaskImage, label: str) -> TaskImage:
    """Return an image of the same name whose /testbed, where graders work, is the source or a link
    to it. Raise Excluded if the image has anything else at /testbed."""
    workdir = factory.workdir_of(image.name)
    if workdir == WORKDIR:
        return image
    with factory.open(image.name, label, workdir) as sandbox:
        if not sandbox.run(LINK).ok:
            raise Excluded(f"its image has something other than the source at {WORKDIR}, where "
                           "graders work.")
        sandbox.commit(image.name, keep=False)
    return image


def check_task_image(image: str, gold: str, hidden: str = "",
                     files_of: Callable = engine.files_of
                     ) -> tuple[list[str], dict[str, str]]:
    """Return (traces, unread). `traces` has a line for each trace of a history or the solution in
    the image. `unread` maps each archive that was not searched to a line; archives of packages and
    of the commit are left out. files_of(image) yields the image's files.

    The search is for lines that the patch `gold` adds, and for long runs of the lines that the
    patch `hidden` adds. It ignores text that is also in the image's source. A line that `gold` adds
    counts only in a copy of a file that `gold` changes.
    """
    paths = {hunk.path for patch in (gold, hidden) for hunk in hunks_of(patch)}
    with files_of(image) as files, temporary_folder() as folder:
        source = (files.config.get("WorkingDir") or WORKDIR).rstrip("/")
        search = Search(added_runs(gold), source, paths, added_runs(hidden))
        objects, own = f"{source}/.git/objects", set()
        try:
            traces = _history(files, f"{source}/.git", folder)
            ids = run_git(folder, "rev-list", "--objects", "--no-object-names", "HEAD^{tree}")
            with git_output(folder, *CONTENT, stdin=ids) as tracked:
                search.exempt(tracked)
            search.know(_changed(folder, gold))
            with git_output(folder, *CONTENT, "--batch-all-objects", "--unordered") as found:
                search.look(objects, found)
            listed = run_git(folder, "ls-tree", "-rz", "--name-only", "HEAD").split("\0")
            own.update(f"{source}/{name}" for name in listed)
        except (ItemFailed, OSError) as e:
            traces = [f"the source's repository cannot be read: {printable(str(e), 300)}"]
        search.look("the image's settings", Stream([json.dumps(files.config).encode()]))
        search.look_through(files.all())
    return [*traces, *search.traces], {place: line for place, line in search.unread.items()
                                       if place not in own and not place.startswith(objects)}


def _history(files: engine.Files, place: str, to: Path) -> list[str]:
    """Copy the objects and refs of an image's repository into the folder `to`. Return a line for
    each sign that it does not hold exactly one commit."""
    if reason := take_repository(files, place, to / ".git"):
        raise UnsafeArchive(reason)
    n_reached = len(run_git(to, "rev-list", "--all", "HEAD").split())
    kinds = run_git(to, "cat-file", "--batch-all-objects", "--batch-check=%(objecttype)").split()
    n_commits = kinds.count("commit") + kinds.count("tag")
    lines = {f"git log --all shows {n_reached} commits": n_reached != 1,
             f"{n_commits} commits and tags are among its objects": n_commits != 1}
    return [line for line, is_wrong in lines.items() if is_wrong]


def _changed(folder: Path, gold: str) -> Iterator[str]:
    """Yield for each file that a patch changes: the patch, followed by the file in the commit."""
    for path in sorted({hunk.path for hunk in hunks_of(gold)}):
        text = gold
        with suppress(UnsafeArchive):   # the patch may add the file
            text += run_git(folder, "show", f"HEAD:{path}")
        yield text


def with_tools(factory: SandboxFactory, image: str, install: Callable[[Sandbox], None],
               label: str, repo_name: str) -> str:
    """Make an image with the additional tools that install(sandbox) installs, and return its name.
    It is only for measuring (for instance with coverage 7), never part of a task, and removed with
    all images that have the run's label."""
    name = factory.temporary_name(f"{image_name(TOOLS_IMAGES, repo_name)}:")
    with factory.open(image, label, factory.workdir_of(image)) as sandbox:
        install(sandbox)
        sandbox.commit(name, keep=False)
    return name
