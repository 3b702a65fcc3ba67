"""Make images of pods: a builder pod takes a pod's files as a tar, and pushes an image of them.

The builder (pod_builder.yaml) has buildah and skopeo of its distribution, which it installs where
its image lacks them. It serves one request at a time, and runs nothing of an image. What an image
shows is read from the registry's copy. Who may push and pull, and is that registry trusted by the
nodes? That is the cluster's configuration (docs/kubernetes.md).
"""
from __future__ import annotations

import json
import shlex
import threading
import weakref
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import BinaryIO

from codedata.errors import ItemFailed, Trouble
from codedata.sandbox import SandboxDied, Script
from codedata.sandbox.archives import PIECE, Stream
from codedata.sandbox.kubernetes import FOLDER, SandboxK8s
from codedata.texts import printable, text_of

SCRIPT = Script("pod_builder.sh", text_of("codedata.sandbox", "pod_builder.sh"))
DEADLINE_S = 86_400        # then the cluster ends a builder, and the next one is opened
DISK = "60GB"              # that a builder may use
STEP_S = 1800.0            # seconds for a builder's command
# A pod's files; its processes wait until they are read.
READ = """kill -STOP -1
tar --one-file-system --xattrs --xattrs-include=security.capability -C / -cf - .
code=$?
kill -CONT -1
exit $code"""


class PodImages:
    """Make images of pods in a registry, and read their files. `open_pod` is SandboxK8s with the
    settings of the cluster."""

    def __init__(self, registry: str, open_pod: Callable[..., SandboxK8s]):
        self._registry = registry
        self._open_pod = open_pod
        self._pod: SandboxK8s | None = None
        self._one_at_a_time = threading.RLock()
        self._n_readers = 0
        self._made: dict[str, list[str]] = defaultdict(list)   # {label: images to forget}

    def open(self, image: str, run_label: str, **options) -> PodWithImages:
        """Return a sandbox of an image, of which images can be made."""
        return PodWithImages(image, self, run_label=run_label, **options)

    def commit(self, container: str, image: str, workdir: str, label: str) -> str:
        """Push an image of a container's files, to be removed with the label. Return its name by
        digest."""
        found = self.ask("push", container, image, workdir)
        self._made[label].append(found)
        return found

    def remove_images(self, label: str) -> None:
        """Delete the images that were made under a label, where the registry allows that."""
        for image in self._made.pop(label, ()):
            self.attempt("skopeo delete", f"docker://{image}")

    @contextmanager
    def files(self, image: str) -> Iterator[PodFiles]:
        """Yield the files of an image."""
        with self._one_at_a_time:
            self._n_readers += 1
        try:
            tree = self.ask("view", image)
            config = json.loads(self.ask("skopeo inspect --config", f"docker://{image}"))["config"]
            yield PodFiles(self, tree, config)
        finally:
            with self._one_at_a_time:
                self._n_readers -= 1
                if not self._n_readers:   # else it would take others' files away
                    self.attempt("prune")

    # the builder

    def ask(self, function: str, *args: str) -> str:
        """Return what a function of the builder prints. Raise ItemFailed where it fails."""
        command = f"prepare {shlex.quote(self._registry)} && {function} {shlex.join(args)}"
        with self._builder() as pod:
            done = pod.run(f"{{ {command}; }} 2>/tmp/error || {{ cat /tmp/error; exit 1; }}",
                           timeout_s=STEP_S)
        if not done.ok:
            raise ItemFailed(f"the builder pod cannot {function}: "
                             f"{printable(done.output.strip()[-500:])}", args[-1],
                             "docs/kubernetes.md says what images of pods need.")
        return done.output.strip()

    def attempt(self, function: str, *args: str) -> None:
        """Ask the builder, if there is one, for what may fail."""
        with suppress(ItemFailed):
            if self._pod:
                self.ask(function, *args)

    def fill(self, tree: str, archive: BinaryIO) -> list[str]:
        """Replace a container's files by those of a tar. Return the paths that are new or other."""
        with self._builder() as pod:
            pod.feed(f'{_with_script("fill", tree)} "$size"', archive, tree)
            changed = self.fetch("cat", "/tmp/changed").read()
        return changed.decode(errors="surrogateescape").split("\0")[:-1]

    def fetch(self, function: str, *args: str) -> BinaryIO:
        """Return a temporary file of what a function of the builder prints."""
        with self._builder() as pod:
            return pod.fetch(_with_script(function, *args), args[-1])

    @contextmanager
    def _builder(self) -> Iterator[SandboxK8s]:
        """Yield the builder, which is opened where there is none; its end is the item's."""
        with self._one_at_a_time:
            if self._pod is None:
                self._pod = self._open_pod(
                    workdir="/", scripts=[SCRIPT], template_file="pod_builder.yaml",
                    run_timeout=DEADLINE_S, disk_limit=DISK, run_label="builder")
                weakref.finalize(self, _close, self._pod)   # also at interpreter exit
            try:
                yield self._pod
            except SandboxDied:
                self._pod = None
                raise


class PodWithImages(SandboxK8s):
    """Be a pod of which images can be made. What runs in it waits while its files are read."""

    def __init__(self, image: str, images: PodImages, run_label: str, **options):
        self._images, self._label = images, run_label
        self._tree = ""      # in the builder
        super().__init__(image, run_label=run_label, **options)

    def commit(self, image_name: str, keep: bool = False) -> str:
        """Make an image of the pod's current files, under a name of the registry. Return its name
        by digest. It is removed with the run's label."""
        if not self._tree:
            self._read()
        found = self._images.commit(self.pod, image_name, self.workdir, self._label)
        self._drop()
        return found

    def changed(self) -> tuple[str, list[str]]:
        """End all that runs. Return (its image, the paths that are other than there, without those
        that are gone): commit() makes an image of these files."""
        self._end_all()
        return self.image, self._read()

    @contextmanager
    def files(self, image_name: str = "") -> Iterator[PodFiles]:
        """Yield the files of an image, or those that the pod has now."""
        if image_name:
            with self._images.files(image_name) as files:
                yield files
            return
        self._read()
        try:
            yield PodFiles(self._images, self._tree, {})
        finally:
            self._drop()

    def close(self) -> None:
        """Delete the pod at once."""
        super().close()
        self._drop()

    def _read(self) -> list[str]:
        """Have the pod's files in the builder. Return the paths that are other than in its image.
        """
        self._tree = self._images.ask("begin", self.pod, self.image)
        with self.fetch(READ, self.pod) as archive:
            return self._images.fill(self._tree, archive)

    def _drop(self) -> None:
        if self._tree:
            self._tree = ""
            self._images.attempt("b rm", self.pod)


class PodFiles:
    """Read the files in a folder of the builder; see docker_engine.Files."""

    def __init__(self, images: PodImages, tree: str, config: dict):
        self._images, self._tree = images, tree
        self.config = config

    def all(self) -> Stream:
        """Return a tar of all files."""
        return _stream(self._images.fetch("all", self._tree))

    def below(self, path: str) -> Stream:
        """Return a tar of one folder or file."""
        return _stream(self._images.fetch("below", self._tree, path))

    def one(self, path: str) -> Stream | None:
        """Return a tar of one file; None where a folder is there, or nothing."""
        file = self._images.fetch("one", self._tree, path)
        return _stream(file) if file.seek(0, 2) else None


def _close(pod: SandboxK8s) -> None:
    with suppress(Trouble):   # the next start in this root tries again
        pod.close()


def _stream(file: BinaryIO) -> Stream:
    file.seek(0)
    return Stream(iter(partial(file.read, PIECE), b""))


def _with_script(function: str, *args: str) -> str:
    """Return a command of the builder for an exec that sources no scripts."""
    return f". {FOLDER}/{SCRIPT.name} && {function} {shlex.join(args)}"
