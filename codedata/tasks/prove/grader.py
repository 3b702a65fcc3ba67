"""Work on a task in one container and grade the work in another, as Harbor does. Only the files
that the task collects are carried from the first container to the second.

A task collects either its work directory, which is copied over the work directory of the second
container, or an archive that the task's own script writes. From an archive, the verifier takes only
the files that count.
"""
from __future__ import annotations

import hashlib
import io
import json
import math
import shlex
import tarfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath

from codedata.bounded import read_bounded
from codedata.disk.layouts import content_of, files_digest, write_files
from codedata.disk.locks import temporary_folder
from codedata.disk.store import digest
from codedata.errors import ItemFailed
from codedata.records import Task
from codedata.run.talk import current_step
from codedata.sandbox import Result, Sandbox
from codedata.sandbox.archives import Bounds, OverBounds, members, parts_of, read_tar
from codedata.sandbox.factory import SandboxFactory
from codedata.sandbox.images.build_image import Build
from codedata.sandbox.images.dockerfile import rewritten
from codedata.tasks.folder.task_folder import (
    ARCHIVE,
    DOCKERFILE,
    IGNORE,
    SOLVE,
    agent_of,
    collect_of,
    from_line,
    image_of,
    text_in,
    workdir_of,
)
from codedata.tasks.folder.task_toml import artifacts_in
from codedata.texts import fill
from codedata.verifier import weighted_tests

LIMIT_S = 600.0            # time limit of a build, a solution or a verifier; --run-timeout may
                           # lower it
PACK_S = 120.0             # time limit for packing an agent's work
TRIES = "codedata-task-try/"
LOG_CHARS = 1_000           # characters to show from the end of a failed build's log
NOT_BUILT = "its image is not built"
WORK = Bounds(max_bytes=200_000_000, max_files=2, max_depth=2, max_seconds=120)
CONTENT = Bounds(max_bytes=200_000_000, max_files=400_000, max_seconds=120)   # for an archive
# runs bash as a user, with the user's home
AS_USER = ("HOME=$(getent passwd {user} | cut -d: -f6) USER={user} LOGNAME={user} "
           "runuser -u {user} -- bash")
BESIDE = "/opt"
# grades: create the folder that Harbor creates before it grades, and let pip, which has no network
# here, not retry
GRADE = "export PIP_RETRIES=0; mkdir -p /logs/verifier; bash /tests/test.sh"
# prints the reward on the first line; a separate command, so that no output of tests gets into it
READ = """cd /logs/verifier && { cat reward.json 2>/dev/null || cat reward.txt; } | tr '\\n' ' '
echo; cat results.json"""

# packs the existing paths of a folder; the archive may be empty, and exit code 1 is accepted, since
# files may change while tar reads them
PACK = """cd {folder} && set -- && for one in {paths}; do
    if [ -e "$one" ] || [ -L "$one" ]; then set -- "$@" "$one"; fi
done && { tar -cf {archive} -T /dev/null "$@" || [ $? = 1 ]; }
"""
UNREADABLE = (ValueError, LookupError, TypeError, RecursionError, ArithmeticError)
Tree = dict[str, tuple]   # {path: (kind, mode, link or content)}


@dataclass(frozen=True)
class Grade:
    """Hold the result of one run of a verifier."""

    reward: float
    phases: list[list[str]]     # [test, phase, outcome, exception] of tests with weights
    log: str
    seconds: float

    def passed(self) -> set[str]:
        """Return the tests whose phases all passed."""
        return weighted_tests.passed(self.phases)

    @property
    def last_lines(self) -> list[str]:
        """Return the last lines of the log."""
        return self.log.splitlines()[-5:]


def build_image(task: Task, host: SandboxFactory, label: str) -> tuple[str, Build]:
    """Build the image of a task from its environment/. Return (its name, the result of the build).
    Raise ItemFailed if the files for the build cannot be read."""
    # the label in the name keeps apart images of the same files: each process removes its own
    name = f"{TRIES}{files_digest(task.environment)}:{digest(label)[:12]}"
    context = {path: file for path, file in task.environment.items()
               if path not in (DOCKERFILE, IGNORE)}   # .dockerignore is not read here
    text, more = text_in(task.environment, DOCKERFILE), {}
    if not task.kind:
        text, more = rewritten(text)
    with temporary_folder() as folder:
        write_files(folder, {**context, **more})
        return name, host.build(text, folder, name, label,
                                min(LIMIT_S, host.run_timeout_s))


def grader_of(task: Task, host: SandboxFactory, label: str) -> Grader:
    """Return the grader of a task. Build the image if the task names none. Raise ItemFailed if the
    image is gone, or the build fails."""
    name = image_of(task)
    if not name or text_in(task.environment, DOCKERFILE) not in ("", from_line(name)):
        current_step().count = "building its image"
        name, build = build_image(task, host, label)
        current_step().count = ""
        if build.failed:
            raise ItemFailed(f"{NOT_BUILT}: {build.failed}: {build.log[-LOG_CHARS:].strip()}",
                             task.instance_id)
    else:   # pull the image if another machine has rebuilt it
        host.has_image(name, str((task.proof or {}).get("image_id") or ""))
    return Grader(host, task, name, label)


@dataclass
class Grader:
    """Open containers of one task's image. `engine_s` is the seconds of all these containers."""

    host: SandboxFactory
    task: Task
    image: str
    label: str
    engine_s: float = 0.0
    _grades: dict[str, Grade] = field(default_factory=dict)

    @property
    def limit_s(self) -> float:
        """Return the time limit in seconds, both of the solution and of the verifier."""
        return min(LIMIT_S, self.host.run_timeout_s)

    @cached_property
    def workdir(self) -> str:
        """Return the agent's working directory: from task.toml, else from the image."""
        return workdir_of(self.task) or self.host.workdir_of(self.image)

    @contextmanager
    def opened(self) -> Iterator[Sandbox]:
        """Yield a fresh container of the image without network, with Docker's default rights."""
        started = time.monotonic()
        try:
            with self.host.open(self.image, self.label, self.workdir,
                                default_rights=True) as sandbox:
                yield sandbox
        finally:
            self.engine_s += time.monotonic() - started

    def run(self, sandbox: Sandbox, path: str, timeout_s: float):
        """Return the result of a bash script in a container, run as the agent's user."""
        user = agent_of(self.task)
        shell = AS_USER.format(user=user) if user else "bash"
        return sandbox.run(f"{shell} {path}", timeout_s=timeout_s)

    def gold(self) -> tuple[bytes, str]:
        """Return (the archive, the output) of the task's gold, as work() does."""
        return self.work(text_in(self.task.solution, SOLVE))

    def work(self, script: str) -> tuple[bytes, str]:
        """Run a script as the agent in a fresh container. Return (the archive of its work, its
        output). Raise ItemFailed as packed() does."""
        with self.opened() as sandbox:
            done = self._attempt(sandbox, script)
            return self.packed(sandbox), done.output

    def gold_in_place(self) -> Grade:
        """Run the gold, and grade it in the same container; return the grade."""
        with self.opened() as sandbox:
            self._attempt(sandbox, text_in(self.task.solution, SOLVE))
            return self._graded_in(sandbox, {}, "", self.limit_s)

    def _attempt(self, sandbox: Sandbox, script: str) -> Result:
        files = {name: content_of(file) for name, file in self.task.solution.items()}
        sandbox.put({**files, SOLVE: script.encode()}, "/solution")
        return self.run(sandbox, f"/solution/{SOLVE}", self.limit_s)

    def packed(self, sandbox: Sandbox) -> bytes:
        """Return the archive of the agent's work in a container. Raise ItemFailed if the work
        cannot be packed, or is too large."""
        script = collect_of(self.task)
        if not self.packs_itself:
            folder, paths = self.carried
            script += "\n" + fill(PACK, folder=shlex.quote(folder), paths=paths, archive=ARCHIVE)
        return self.archived(sandbox, script)

    def archived(self, sandbox: Sandbox, script: str) -> bytes:
        """Return the archive that a script makes in a container. Raise ItemFailed if the script
        makes none, or if the archive is too large."""
        # run the script in a subshell, so that the working directory stays
        tar = sandbox.run(f"({script}\n)", timeout_s=PACK_S)
        if not tar.ok:
            raise ItemFailed(f"its work cannot be packed: {tar.output[-300:]}")
        with temporary_folder() as folder:
            try:
                sandbox.get(ARCHIVE, folder, WORK)
                return read_bounded(folder / Path(ARCHIVE).name, WORK.max_bytes)
            except OverBounds as e:
                raise ItemFailed(f"its work is too large: {e}") from e
            except OSError as e:
                raise ItemFailed(f"its work is in no archive: {e.strerror}", ARCHIVE) from e

    @cached_property
    def packs_itself(self) -> bool:
        """Return whether the task has a script that writes the archive."""
        return bool(collect_of(self.task)) and artifacts_in(self.task.config) == [ARCHIVE]

    @property
    def carried(self) -> tuple[str, str]:
        """Return (a folder, the shell words of the paths below it that go to the verifier). For a
        task of another maker these are the artifacts in task.toml, if any; otherwise the work
        directory. A missing path is not an error: the agent has not made it."""
        places = [] if self.task.kind else artifacts_in(self.task.config)
        if not places:
            return self.workdir, "."
        return "/", shlex.join(place.lstrip("/") or "." for place in places)

    def grade(self, work: bytes | None, more: Mapping[str, bytes] | None = None,
              before: str = "", anew: bool = False, limit_s: float = LIMIT_S) -> Grade:
        """Return the grade of an agent's work in a fresh container. If `work` is None, grade the
        unchanged image. Equal work is graded only once, unless `anew` is set, or `more` test files
        or a bash command `before` are given. The verifier is killed after `limit_s` seconds."""
        is_kept = not (more or before or anew)
        key = digest_of(work) if work else ""
        if is_kept and key in self._grades:
            return self._grades[key]
        with self.graded(work, more, before, limit_s) as (_, grade):
            pass
        if is_kept:
            self._grades[key] = grade
        return grade

    @contextmanager
    def graded(self, work: bytes | None, more: Mapping[str, bytes] | None = None, before: str = "",
               limit_s: float = LIMIT_S, beside: Mapping[str, bytes] | None = None
               ) -> Iterator[tuple[Sandbox, Grade]]:
        """Yield the container after grading an agent's work, as by grade(), and the grade.
        Files in `beside` are put into BESIDE."""
        with self.opened() as sandbox:
            self.deliver(sandbox, work)
            if beside:
                sandbox.put(beside, BESIDE)
            yield sandbox, self._graded_in(sandbox, more or {}, before, min(limit_s, self.limit_s))

    def _graded_in(self, sandbox: Sandbox, more: Mapping[str, bytes], before: str,
                   limit_s: float) -> Grade:
        tests = {path: content_of(file) for path, file in self.task.tests.items()}
        sandbox.put({**tests, **more}, "/tests")
        done = sandbox.run(before + GRADE, timeout_s=limit_s)
        log = done.output[-2000:]
        if done.timed_out:
            return Grade(0.0, [], f"{log}\n[not finished after {limit_s:g} s]", done.seconds)
        return _read(sandbox.run(READ, timeout_s=PACK_S).output, log, done.seconds)

    def deliver(self, sandbox: Sandbox, work: bytes | None) -> None:
        """Put an agent's work into a fresh container, as Harbor does before it grades."""
        if self.packs_itself and work is None:
            sandbox.run(collect_of(self.task), timeout_s=PACK_S)   # archive the untouched source
        elif work is not None:
            folder, paths = self.carried
            if paths != "." and not self.packs_itself:
                work = only_below(work, shlex.split(paths))
            sandbox.put({Path(ARCHIVE).name: work}, str(Path(ARCHIVE).parent))
            if not self.packs_itself:
                sandbox.run(f"tar -C {shlex.quote(folder)} -xpf {ARCHIVE}; rm {ARCHIVE}")


def _read(printed: str, log: str, seconds: float) -> Grade:
    """Return the grade from the output of READ: the reward is a number or {"reward": number}, as in
    Harbor."""
    reward_text, _, results = printed.partition("\n")
    phases, reward = [], 0.0
    with suppress(*UNREADABLE):
        value = json.loads(reward_text)
        number = float(value["reward"] if isinstance(value, dict) else value)
        reward = number if math.isfinite(number) else 0.0
    with suppress(*UNREADABLE):   # ignore an output that was cut in its middle
        phases = [[str(one) for one in (name, phase, outcome, said)]
                  for name, phase, outcome, said in json.loads(results)]
    return Grade(reward, phases, log, seconds)


def tree_of(archive: bytes) -> Tree:
    """Return {name: (type, mode, content or link target)} of the members of an untrusted tar
    archive. Raise UnsafeArchive if it cannot be read or members lead out of the folder, OverBounds
    if it exceeds CONTENT."""
    tree, count = {}, CONTENT.meter()
    with read_tar(io.BytesIO(archive)) as tar:
        for member in members(tar):
            parts_of(member.name)
            count(member.name, member.size)
            content = tar.extractfile(member).read() if member.isreg() else member.linkname
            tree[member.name] = (member.type, member.mode, content)
    return tree


def archive_of(tree: Tree) -> bytes:
    """Return a tar archive of a tree; root owns all its files."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, (kind, mode, content) in tree.items():
            member = tarfile.TarInfo(name)
            member.type, member.mode = kind, mode
            if isinstance(content, bytes):
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
            else:
                member.linkname = content
                tar.addfile(member)
    return out.getvalue()


def only_below(archive: bytes, places: list[str]) -> bytes:
    """Return an archive of only the members at or below some places, without members reached
    through a link: the agent may have made the tar itself."""
    tree = tree_of(archive)
    no_folders = {PurePosixPath(name) for name, (kind, *_) in tree.items()
                  if kind != tarfile.DIRTYPE}
    return archive_of({name: one for name, one in tree.items()
                       if any(map(PurePosixPath(name).is_relative_to, places))
                       and no_folders.isdisjoint(PurePosixPath(name).parents)})


def digest_of(archive: bytes) -> str:
    """Return a digest of the content of a tar archive. Times and owners do not count."""
    return digest(sorted(
        [name, repr(kind), mode, hashlib.sha256(content).hexdigest()
         if isinstance(content, bytes) else content]
        for name, (kind, mode, content) in tree_of(archive).items()))
