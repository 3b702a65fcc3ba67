"""Make a task's image from an environment's image, and check from outside that it holds neither a
history nor the solution.

derive() works in a container of the image, with its tools. check_task_image() trusts none of them:
it reads the files that a process in a container can read, on this machine. Lower layers of the
image may hold the former source; whoever can read those has the engine or the registry.
"""
from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from codedata.code.git import git_output, run_git
from codedata.code.patches import added_runs, hunks_of
from codedata.errors import Excluded, ItemFailed
from codedata.sandbox import Sandbox, docker_engine
from codedata.sandbox.archives import Stream, UnsafeArchive
from codedata.sandbox.factory import WORKDIR, SandboxFactory
from codedata.sandbox.process_labels import temporary_folder
from codedata.sandbox.registry import image_name
from codedata.suites.outside import take_repository
from codedata.suites.source import TOOLS, run_tool
from codedata.tasks.hidden_text import Search
from codedata.tasks.known_files import KnownFiles
from codedata.texts import printable

TOOLS_IMAGES = "codedata-tools/"
LINK = f"""[ -L {WORKDIR} ] || [ ! -d {WORKDIR} ] || rmdir {WORKDIR}
[ -e {WORKDIR} ] || ln -s "$(pwd -P)" {WORKDIR}
[ "$(cd {WORKDIR} && pwd -P)" = "$(pwd -P)" ]"""


@dataclass(frozen=True)
class TaskImage:
    """Hold an image in which a task's source is the only commit."""

    name: str
    image_id: str
    base_commit: str
    made_of: str = ""        # id of the image that it was made from
    changed: tuple[str, ...] | None = None   # paths that differ from that image; None: not known


def derive(factory: SandboxFactory, image: str, patch: str, name: str, label: str) -> TaskImage:
    """Return a new image with a patch applied to the source in `image`, as one root commit. It is
    removed with the run's label unless factory.keep() keeps it. Raise ItemFailed where the patch
    does not apply."""
    with factory.open(image, label, factory.workdir_of(image)) as sandbox:
        done = run_tool(sandbox, "derive.sh", ".", f"{TOOLS}/patch", patch=patch)
        commit = done.output.strip().rpartition("\n")[2]
        if not (done.ok and re.fullmatch(r"[0-9a-f]{40}", commit)):
            raise ItemFailed(f"no task can be made of it: {done.output.strip()[-500:]}", image)
        made_of, changed = sandbox.changed()   # no process is left that could add to them
        return TaskImage(name, sandbox.commit(name, keep=False), commit, made_of, tuple(changed))


def lead_from_testbed(factory: SandboxFactory, image: TaskImage, label: str) -> TaskImage:
    """Return an image of the same name in which /testbed, where graders work, is the source or a
    link to it. Raise Excluded if the image has anything else at /testbed."""
    workdir = factory.workdir_of(image.name)
    if workdir == WORKDIR:
        return image
    with factory.open(image.name, label, workdir) as sandbox:
        if not sandbox.run(LINK).ok:
            raise Excluded(f"its image has something other than the source at {WORKDIR}, where "
                           "graders work.")
        return replace(image, image_id=sandbox.commit(image.name, keep=False), changed=None)


def check_task_image(image: str, gold: str, hidden: str = "", changed: Iterable[str] | None = None,
                     known: KnownFiles | None = None, base: KnownFiles | None = None,
                     files_of: Callable = docker_engine.files_of) -> list[str]:
    """Return a line for each trace of a history or of the solution in an image, whose files
    files_of() yields; an empty list if the image is clean.

    The search is for lines that the patch `gold` adds, and for long runs of the lines that the
    patch `hidden` adds. It ignores text that is also in the image's source, or in the image `base`,
    which lacks the project. A line that `gold` adds counts only in a copy of a file that `gold`
    changes. `known` holds the files of the image from which this one was made, and `changed` names
    those that differ; if both are given, unchanged files are read again only if they may contain a
    match.
    """
    paths = {hunk.path for patch in (gold, hidden) for hunk in hunks_of(patch, "")}
    with files_of(image) as files, temporary_folder() as folder:
        source = (files.config.get("WorkingDir") or WORKDIR).rstrip("/")
        search = Search(added_runs(gold), source, paths, added_runs(hidden))
        try:
            traces = _history(files, f"{source}/.git", Path(folder))
            with git_output(folder, "cat-file", "--batch", "--buffer",
                            stdin=_tracked(folder)) as tracked:
                search.exempt(tracked)
            search.know(_changed(Path(folder), gold))
        except (ItemFailed, OSError) as e:
            traces = [f"the source's repository cannot be read: {printable(str(e), 300)}"]
        if base and base.is_whole:
            for windows in (*search.all_windows, *(windows for _, windows in search.project)):
                windows.remove({window for _, window in base.hits(windows)})
        search.look("the image's settings", Stream([json.dumps(files.config).encode()]))
        if changed is None or known is None or not known.is_whole:
            search.look_through(files.all())
        else:
            _look_beside(known, files, search, changed, source)
    return [*traces, *search.traces]


def _look_beside(known: KnownFiles, files: docker_engine.Files, search: Search,
                 changed: Iterable[str], source: str) -> None:
    """Search the source, the `changed` files outside of it, and the known files that may contain a
    match, if the image still has them."""
    search.look_through(files.below(source), source.rpartition("/")[0])
    for path in sorted(known.found(search).union(changed)):
        if not f"{path}/".startswith(f"{source}/") and (file := files.one(path)):
            search.look_through(file, path.rpartition("/")[0])


def _history(files: docker_engine.Files, place: str, to: Path) -> list[str]:
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
    for path in sorted({hunk.path for hunk in hunks_of(gold, "")}):
        text = gold
        with suppress(UnsafeArchive):   # the patch may add the file
            text += run_git(folder, "show", f"HEAD:{path}")
        yield text


def _tracked(folder: str) -> str:
    """Return the ids of all files and folders of the commit, a line each."""
    return run_git(folder, "rev-list", "--objects", "--no-object-names", "HEAD^{tree}")


def with_tools(factory: SandboxFactory, image: str, install: Callable[[Sandbox], None],
               label: str, repo_name: str) -> str:
    """Make an image with the additional tools that install(sandbox) installs, and return its name.
    It serves only for measuring (with coverage 7, for instance), is never part of a task, and is
    removed with the run's label."""
    name = factory.temporary_name(f"{image_name(TOOLS_IMAGES, repo_name)}:")
    with factory.open(image, label, factory.workdir_of(image)) as sandbox:
        install(sandbox)
        sandbox.commit(name, keep=False)
    return name
