"""Solve a datapoint in a container and grade it in another, as the export has Harbor do it: from
the one to the other goes what is in the work directory, laid over what the image has there."""
from __future__ import annotations

import hashlib
import io
import json
import shlex
import tarfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from difflib import SequenceMatcher
from pathlib import Path

from codedata.bounded import read_bounded
from codedata.checks.datapoints import AGENT, FILES, exported_dockerfile
from codedata.errors import ItemFailed
from codedata.records import Datapoint
from codedata.sandbox import Sandbox
from codedata.sandbox.archives import Bounds, OverBounds
from codedata.sandbox.factory import SandboxFactory
from codedata.sandbox.image_build import Build
from codedata.sandbox.process_labels import temporary_folder
from codedata.store import digest

LIMIT_S = 600.0            # of a build, a solution, a verifier; --run-timeout may say less
TRIES = "codedata-dp-try/"
ARCHIVE = "/var/tmp/codedata-work.tar"
WORK = Bounds(max_bytes=200_000_000, max_files=2, max_depth=2, max_seconds=120)
# bash of the agent, with its own home
AS_AGENT = (f"HOME=$(getent passwd {AGENT} | cut -d: -f6) USER={AGENT} LOGNAME={AGENT} "
            f"runuser -u {AGENT} -- bash")
GRADE = ("bash /tests/test.sh; echo; cat /logs/verifier/results.json; echo; "
         "cat /logs/verifier/reward.json 2>/dev/null || cat /logs/verifier/reward.txt")
ASSERTIONS = ("AssertionError", "Failed")   # what a test raises that looked, and did not find

Tree = dict[str, tuple]   # {path: (kind, mode, link or content)}


@dataclass(frozen=True)
class Grade:
    """Hold what a verifier says."""

    reward: float
    phases: list[list[str]]     # [test, phase, outcome, exception], as weighted_tests.py has them
    log: str
    seconds: float

    def passed(self) -> set[str]:
        """Return the tests all of whose phases passed."""
        odd = {name for name, _, outcome, _ in self.phases if outcome != "passed"}
        return {name for name, phase, *_ in self.phases if phase == "call"} - odd


def build_image(point: Datapoint, host: SandboxFactory, label: str) -> tuple[str, Build]:
    """Build the image of a datapoint, as it is exported. Return (its name, what the build came to).
    Raise ItemFailed where its context cannot be read."""
    # of its own for each label: what another process makes of the same content may go at any time
    name, files = f"{TRIES}{point.content}:{digest(label)[:12]}", Path(point.folder, FILES)
    with temporary_folder() as nothing:
        return name, host.build(exported_dockerfile(point), files if files.is_dir() else
                                Path(nothing), name, label, min(LIMIT_S, host.run_timeout_s))


@dataclass
class Grader:
    """Open the containers of one datapoint. `engine_s` sums the seconds that they take."""

    host: SandboxFactory
    image: str
    workdir: str
    tests: Mapping[str, str]    # what lies in /tests
    label: str
    engine_s: float = 0.0
    _grades: dict[str, Grade] = field(default_factory=dict)

    @property
    def limit_s(self) -> float:
        """Return the limit of a solution, and of a verifier."""
        return min(LIMIT_S, self.host.run_timeout_s)

    @contextmanager
    def opened(self) -> Iterator[Sandbox]:
        """Yield a fresh container of the image without network, with the rights that Docker gives
        by default."""
        started = time.monotonic()
        try:
            with self.host.open(self.image, self.label, self.workdir,
                                default_rights=True) as sandbox:
                yield sandbox
        finally:
            self.engine_s += time.monotonic() - started

    def work(self, script: str) -> tuple[bytes, str]:
        """Return (a tar of the work directory after the agent ran a script there, what it printed).
        Raise ItemFailed where that is too large."""
        with self.opened() as sandbox:
            sandbox.put({"solve.sh": script.encode()}, "/solution")
            done = sandbox.run(f"{AS_AGENT} /solution/solve.sh", timeout_s=self.limit_s)
            return self.packed(sandbox), done.output

    def packed(self, sandbox: Sandbox) -> bytes:
        """Return a tar of the work directory in a container. Raise ItemFailed where it is too
        large."""
        tar = sandbox.run(f"tar -C {shlex.quote(self.workdir)} -cf {ARCHIVE} .", timeout_s=120)
        if not tar.ok:
            raise ItemFailed(f"its work cannot be packed: {tar.output[-300:]}")
        with temporary_folder() as folder:
            try:
                sandbox.get(ARCHIVE, Path(folder), WORK)
            except OverBounds as e:
                raise ItemFailed(f"its work is too large: {e}") from e
            return read_bounded(Path(folder, Path(ARCHIVE).name), WORK.max_bytes)

    def grade(self, work: bytes | None, more: Mapping[str, bytes] | None = None,
              before: str = "") -> Grade:
        """Return how a fresh container with a work directory is graded; None: with the image's own.
        Equal work is graded once, unless there are `more` files of tests, or a shell prefix."""
        is_kept = not (more or before)
        key = digest_of(work) if work else ""
        if is_kept and key in self._grades:
            return self._grades[key]
        tests = {path: text.encode() for path, text in self.tests.items()} | {**(more or {})}
        with self.opened() as sandbox:
            if work is not None:
                sandbox.put({Path(ARCHIVE).name: work}, str(Path(ARCHIVE).parent))
                sandbox.run(f"tar -C {shlex.quote(self.workdir)} -xpf {ARCHIVE}; rm {ARCHIVE}")
            sandbox.put(tests, "/tests")
            done = sandbox.run(before + GRADE, timeout_s=self.limit_s)
        found = _read(done.output, done.seconds)
        if done.timed_out:
            found = replace(found, log=f"{found.log}\n[not finished after {self.limit_s:g} s]")
        if is_kept:
            self._grades[key] = found
        return found


def _read(output: str, seconds: float) -> Grade:
    """Return a grade from the last two lines that a verifier prints."""
    log, *last = output.rstrip("\n").rsplit("\n", 2)
    try:
        phases, reward = json.loads(last[0] or "[]"), float(last[1])
    except (ValueError, IndexError):
        phases, reward = [], 0.0
    return Grade(reward, phases, log[-2000:], seconds)


# partial solutions -------------------------------------------------------------------------------

def tree_of(archive: bytes) -> Tree:
    """Return what a tar holds."""
    tree = {}
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        for member in tar:
            content = tar.extractfile(member).read() if member.isreg() else member.linkname
            tree[member.name] = (member.type, member.mode, content)
    return tree


def digest_of(archive: bytes) -> str:
    """Return a digest of what a tar holds, whatever the times and owners."""
    return digest(sorted(
        [name, repr(kind), mode, hashlib.sha256(content).hexdigest()
         if isinstance(content, bytes) else content]
        for name, (kind, mode, content) in tree_of(archive).items()))


def archive_of(tree: Tree) -> bytes:
    """Return a tar of a tree, of which everything belongs to root."""
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


def partial_solutions(before: Tree, after: Tree, most: int) -> list[tuple[str, Tree]]:
    """Return [(what is left out, the work directory without it)] for changes of a solution: of a
    file that was there each run of lines, else the file. Of more than `most` some are taken, at
    equal distances."""
    found = []
    for path in sorted(after):
        old, new = before.get(path), after[path]
        if old == new or (not isinstance(new[2], bytes) and old is not None):
            continue
        if old is None:
            found.append((path, {name: one for name, one in after.items()
                                 if name != path and not name.startswith(f"{path}/")}))
        elif isinstance(old[2], bytes) and isinstance(new[2], bytes):
            found += [(f"{path}, line {line}", {**after, path: (*new[:2], content)})
                      for line, content in _without_a_change(old[2], new[2])]
    step = len(found) / most
    return found if step <= 1 else [found[int(i * step)] for i in range(most)]


def _without_a_change(old: bytes, new: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (line, the new text without one of its changes) for each of them."""
    lines, others = old.splitlines(keepends=True), new.splitlines(keepends=True)
    for kind, i, j, k, n in SequenceMatcher(None, lines, others, autojunk=False).get_opcodes():
        if kind != "equal":
            yield k + 1, b"".join([*others[:k], *lines[i:j], *others[n:]])
