"""Open a script's sandboxes with the settings and limits of [sandbox], and clean up after them.

At the start, leftovers of killed runs of this root are removed, and temporary folders of killed
runs of any root. Only things with this package's labels and names are touched.
"""
from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from operator import add
from pathlib import Path
from typing import TYPE_CHECKING

from codedata.errors import ItemFailed, Trouble
from codedata.sandbox import SCRIPT_BASH_FUNC, Sandbox, local, open_sandbox
from codedata.sandbox.docker import disk_limit, engine
from codedata.sandbox.images import registry
from codedata.sandbox.sizes import bytes_of
from codedata.settings import Settings
from codedata.terminal import named, plural, say

if TYPE_CHECKING:
    from codedata.sandbox.images.build_image import Build

WORKDIR = "/testbed"
SCRIPTS_A_POD = 6   # a pod's time limit is this many times a script's


@dataclass(frozen=True)
class KeptImage:
    """Hold an image that outlives its run; the names are empty if there is none."""

    name: str = ""
    image_id: str = ""
    trouble: str = ""          # why there is no image


class SandboxFactory:
    """Open sandboxes, and remove the images made for an item. If the event `stop` is set, waiting
    ends."""

    def __init__(self, settings: Settings, stop: threading.Event):
        self._settings = settings.sandbox
        self._llm = settings.llm
        self._stop = stop
        self.name = self._settings.sandbox
        self.base_image = self._settings.base_image
        self.run_timeout_s = self._settings.run_timeout   # for one install or test script
        self.builds_images = self.name == "docker"   # from containers and from Dockerfiles
        # the reason why no image can be made, or ""
        self.no_images = "" if self.builds_images else f"--sandbox {self.name} makes none"
        has_policy = self.name == "kubernetes" and self._settings.network_policy
        self.can_cut_off = self.builds_images or has_policy

    def reap(self, all_roots: bool = False, only_list: bool = False) -> tuple[list[str], list[str]]:
        """Remove the leftovers of killed runs of this root; with `all_roots`, of all roots of this
        user on this host. Return (names of removed things, a line for each that cannot be removed).
        """
        # always remove temporary folders, which every kind of sandbox uses
        names, left = local.reap(only_list)
        if self.name == "kubernetes":
            from codedata.sandbox.kubernetes import reap  # its client may not be installed
            names += reap(self._settings.namespace, all_roots=all_roots, only_list=only_list)
        if self.name == "docker":
            names, left = map(add, (names, left), engine.reap(all_roots, only_list))
        return names, left

    def engine_id(self) -> str:
        """Return an id of the engine that makes images on this machine, or "". Name and folder are
        added to the engine's own id, which cloned machines share."""
        if self.name != "docker":
            return ""
        info = engine.connect().info()
        return " ".join(info[key] for key in ("ID", "Name", "DockerRootDir"))

    def reap_first(self) -> None:
        """Remove the leftovers of killed runs of this root, and print their names."""
        say_removed(*self.reap())

    def workdir_of(self, image: str) -> str:
        """Return the path of the source in an image: its working directory, or /testbed if it sets
        none."""
        workdir = engine.workdir_of(image) if self.name == "docker" else ""
        return workdir or WORKDIR

    def open(self, image: str, label: str, workdir: str = WORKDIR,
             is_stateful: bool = False, default_rights: bool = False, user: str = "",
             mounts: Mapping[str, str] | None = None) -> Sandbox:
        """Wait for disk space, and return a fresh sandbox from an image. Raise Interrupted if the
        run stops during the wait; except in pods, a running command raises it, too.

        With `is_stateful`, for agents, a command starts in the directory and the environment that
        the previous command left. With `default_rights`, a container has Docker's default
        capabilities, as when Harbor runs a task. `user` and `mounts` are for docker (see
        SandboxDocker): other sandboxes ignore `user`, and raise Trouble for `mounts`.
        """
        settings = self._settings
        if mounts and not self.builds_images:
            raise Trouble(f"--sandbox {self.name} mounts nothing.", todo="Use --sandbox docker.")
        options = {"run_label": label, "proxy": self._llm.proxy, "ca_bundle": self._llm.ca_bundle,
                   "scripts": [SCRIPT_BASH_FUNC] if is_stateful else []}
        if self.name != "kubernetes":
            options["stop"] = self._stop
        if self.name != "local":
            options |= {"image": image, "workdir": workdir, "disk_limit": settings.disk_limit}
        if self.name == "docker":
            folder = engine.folder(engine.connect())
            disk_limit.wait_for_room(folder, bytes_of(settings.disk_floor), self._stop)
            options |= {"cpus": settings.cpu_request, "memory": settings.memory_request,
                        "default_rights": default_rights,
                        "user": user, "mounts": mounts}
        if self.name == "kubernetes":
            same = ("namespace", "pod_prefix", "memory_request", "network_policy")
            options |= {name: getattr(settings, name) for name in same}
            options |= {"cpu_request": f"{settings.cpu_request:g}",
                        "run_timeout": SCRIPTS_A_POD * settings.run_timeout}
        return open_sandbox(self.name, **options)

    def files_of(self, image: str) -> AbstractContextManager:
        """Return a context manager that yields the files of an image; see engine.Files."""
        return engine.files_of(image, self._stop)

    def temporary_name(self, prefix: str) -> str:
        """Return a new name for a temporary image, which forget() removes."""
        return f"{prefix}{secrets.token_hex(6)}"

    def build(self, dockerfile: str, context: Path, tag: str, label: str,
              timeout_s: float) -> Build:
        """Build an image from a Dockerfile's text, with the network on; return the result. forget()
        removes the image; after a crash, reap() does."""
        from codedata.sandbox.images.build_image import BuildLimits, build  # only for docker
        limits = BuildLimits(**vars(self._settings), timeout_s=timeout_s)
        return build(context, dockerfile, tag, limits, run_label=label, stop=self._stop)

    def has_image(self, image: str, image_id: str = "") -> bool:
        """Return whether sandboxes can be opened from an image: the engine has the image, or the
        image's name includes a registry. With `image_id`, pull an image from a
        registry again if its id differs."""
        if self.builds_images:
            return bool(image) and registry.is_here(image, image_id)
        return self.name == "kubernetes" and registry.has_registry(image)

    def find_lost(self, prefix: str) -> Callable[[str], str]:
        """Return a function that takes an item's name, and returns a message if the engine lacks
        the item's image, <prefix><item>, else "". Only its first call asks the engine. Without an
        engine, or if [sandbox] names a registry, it always returns "": images may be elsewhere."""
        is_asked = self.builds_images and not self._settings.registry
        found = cache(lambda: engine.image_names(f"{prefix}*") if is_asked else None)

        def why_lost(item: str) -> str:
            image, there = registry.image_name(prefix, item), found()
            return "" if there is None or image in there else f"its image {image} is gone"

        return why_lost

    def keep(self, image_id: str, image_name: str) -> KeptImage:
        """Keep an image under this name. If [sandbox] names a registry, put the registry before the
        name, and push the image. If the push fails, raise ItemFailed and keep nothing.

        forget() or, after a crash, reap() removes images that are not kept.
        """
        host = self._settings.registry.rstrip("/")
        name = f"{host}/{image_name}" if host else image_name
        kept_id = engine.keep_image(image_id, name)
        try:
            if host:
                registry.push(name)
        except ItemFailed:
            engine.connect().remove_image(name)
            raise
        return KeptImage(name, kept_id)

    def forget(self, label: str) -> None:
        """Remove the images with a label."""
        if self.builds_images:
            engine.remove_images(label)


def say_removed(removed: list[str], left: list[str]) -> None:
    """Print which leftovers of killed runs were removed, and the lines about the remaining ones."""
    if removed:
        say(f"      removed leftovers of killed runs: {plural(len(removed), 'thing')} "
            f"({named(removed)})")
    for line in left:
        say(f"      {line}")
