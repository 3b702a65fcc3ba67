"""Use the Docker engine: connect to it, share a network between sandboxes, read and keep images,
remove the leftovers of killed runs."""
from __future__ import annotations

import os
import secrets
import stat
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from tarfile import BLOCKSIZE
from typing import Any

import requests

from codedata.errors import Interrupted, MachineStopped, Trouble
from codedata.sandbox import process_labels
from codedata.sandbox.archives import BOUNDS, Stream
from codedata.sandbox.docker.disk_limit import remove_tree
from codedata.terminal import say
from codedata.texts import printable

OTHERS = "choose another sandbox: --sandbox local, --sandbox kubernetes."
INSTALL = f"pip install '.[docker]', or {OTHERS}"
START = f"Start it (tools/docker-up does on Debian), or {OTHERS}"
REMOVE_BY_HAND = ("Stop the engine, remove its folder of the container, start it, and run: "
                  "python env_setup.py --reap --yes")
KEEP = "codedata.keep"     # label of images that outlive their run, with the value KEPT
KEPT = "1"
GONE = 2                   # the engine's kind of change for a deleted path
IS_FOLDER = 1 << 31        # flag in the engine's file modes
MAX_SOCKETS = 1000         # idle ones; more are closed after use, with a warning
TIMEOUT_S = 300            # seconds for a request, since a commit writes gigabytes
ISOLATED = {"com.docker.network.bridge.enable_icc": "false"}   # containers cannot reach each other

# Held while a container joins a network, so that no other thread removes the network meanwhile. The
# lock is reentrant, since the garbage collection of an unclosed sandbox may remove a network in the
# same thread.
_network_lock = threading.RLock()
_volume_lock = threading.Lock()   # lets only one thread at a time fill a volume


def connect(exit_code: int = 1):
    """Return the low-level client of the engine at DOCKER_HOST. Raise Trouble if the SDK is
    missing. If the engine does not answer, raise MachineStopped, so that no item counts as failed.
    Callers pass 2 as `exit_code` if nothing has been done yet."""
    try:
        import docker
    except ImportError as e:
        raise Trouble("--sandbox docker needs the Docker SDK for Python.", todo=INSTALL) from e
    try:
        api = _client(docker.utils.kwargs_from_env().get("base_url"), os.getpid())
        api.ping()
        return api
    except (docker.errors.DockerException, requests.RequestException) as e:
        raise MachineStopped(f"the Docker engine cannot be reached: {e}", todo=START,
                             exit_code=exit_code) from e


@cache
def _client(host: str | None, process: int):
    """Return the client that a process's threads share: one for each of many containers would keep
    some sockets each."""
    import docker
    return docker.from_env(version="auto", timeout=TIMEOUT_S, max_pool_size=MAX_SOCKETS).api


def create(api, image: str, **options) -> str:
    """Create a container and return its id. Pull the image if this machine lacks it."""
    try:
        return api.create_container(image, **options)["Id"]
    except requests.HTTPError as e:
        if e.response.status_code != 404:
            raise
    api.pull(image)
    return api.create_container(image, **options)["Id"]


def named(labels: dict[str, str]) -> dict:
    """Return a new name and the labels, as arguments for the engine's client."""
    return {"name": f"codedata-{secrets.token_hex(6)}", "labels": labels}


@cache
def folder(api) -> Path:
    """Return the engine's data folder; the current folder if the engine is on another machine."""
    place = Path(api.info()["DockerRootDir"])
    return place if place.exists() else Path.cwd()


def reason(e: Exception) -> str:
    """Return the message of an error from the engine, in one line."""
    return str(getattr(e, "explanation", None) or e).strip().replace("\n", " ")


# the network

def join_network(api, container_id: str, labels: dict[str, str]) -> str:
    """Connect a container to this process's bridge network, on which containers cannot reach one
    another. Return the network's id."""
    with _network_lock:
        joined = [f"{name}={value}" for name, value in labels.items()]
        networks = api.networks(filters={"label": joined}) or [api.create_network(
            driver="bridge", options=ISOLATED, **named(labels))]
        network = networks[0]["Id"]
        api.connect_container_to_network(container_id, network)
    return network


def drop_network(api, network: str) -> None:
    """Remove the network if no container is on it."""
    with _network_lock, suppress(requests.RequestException):
        api.remove_network(network)


# files

@dataclass
class Files:
    """Read the files of a container through the engine, without running a process in it. Raise
    Interrupted as soon as `stop` is set."""

    api: Any
    container_id: str
    stop: threading.Event
    config: dict = field(default_factory=dict)   # the image's config; {} for files of a container

    def all(self) -> Stream:
        """Return a tar of all files except files in volumes."""
        return self._stream(self.api.export(self.container_id))

    def below(self, path: str) -> Stream:
        """Return a tar of one folder or file; an empty tar if the path does not exist."""
        try:
            return self._stream(self.api.get_archive(self.container_id, os.fsencode(path))[0])
        except requests.HTTPError as e:
            if e.response.status_code != 404:
                raise
            return Stream([bytes(2 * BLOCKSIZE)])

    def _stream(self, pieces: Iterable[bytes]) -> Stream:
        def checked() -> Iterator[bytes]:
            for piece in pieces:
                if self.stop.is_set():
                    raise Interrupted()
                yield piece
        return Stream(checked())


@contextmanager
def files_of(image: str, stop: threading.Event | None = None) -> Iterator[Files]:
    """Yield the files of an image, in a container that never runs; see Files."""
    api = connect()
    config = api.inspect_image(image)["Config"]
    labels = process_labels.labels("") | {KEEP: ""}
    container = api.create_container(image, ["bash"], **named(labels))["Id"]
    try:
        yield Files(api, container, stop or threading.Event(), config)
    finally:
        remove_container(api, container)


def differences(api, container_id: str, stop: threading.Event) -> Iterator[tuple[str, bool]]:
    """Yield (path, whether the path exists) for each difference between a container and its image,
    a folder before its content. If this process is root on the engine's machine, read the engine's
    storage; a folder is then listed only if it is gone, was replaced, or changes meanwhile.
    Otherwise let the engine compare all files, which is slow, and also lists folders that contain
    changes. Raise OverBounds if BOUNDS are exceeded."""
    driver = api.inspect_container(container_id)["GraphDriver"]["Data"]
    upper = driver.get("UpperDir", "")
    if os.geteuid() == 0 and os.path.isdir(upper):
        yield from _differences_in(upper, None, "", BOUNDS.meter(), stop)
    else:
        yield from ((one["Path"], one["Kind"] != GONE) for one in api.diff(container_id) or [])


def _differences_in(name: str, parent: int | None, path: str, count: Callable,
                    stop: threading.Event) -> Iterator[tuple[str, bool]]:
    """Yield the differences in a folder, given by its name in the open folder `parent`. Follow no
    link, since processes in the container may replace files meanwhile."""
    with ExitStack() as held:
        folder = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
        held.callback(os.close, folder)
        if _is_new(folder):
            yield path, False
        for entry in held.enter_context(os.scandir(folder)):
            place = f"{path}/{entry.name}"
            count(place, 0)
            if stop.is_set():
                raise Interrupted()
            try:
                if entry.is_dir(follow_symlinks=False):
                    yield from _differences_in(entry.name, folder, place, count, stop)
                else:
                    about = entry.stat(follow_symlinks=False)
                    is_mark = stat.S_ISCHR(about.st_mode) and about.st_rdev == 0
                    yield place, not is_mark
            except OSError:   # the entry was just removed or replaced
                yield place, True


def _is_new(folder: int) -> bool:
    """Return whether a folder replaces the image's folder at its path."""
    try:
        return os.getxattr(folder, "trusted.overlay.opaque") == b"y"
    except OSError:
        return False


# leftovers of runs

def reap(all_roots: bool = False, only_list: bool = False) -> tuple[list[str], list[str]]:
    """Remove the leftovers of killed processes of this root, or with `all_roots` of any root:
    containers with their volumes, networks, and images without the keep label. Return (names of
    removed things, a line for each that cannot be removed)."""
    api = connect(exit_code=2)
    ours = {"label": process_labels.LOCK}
    things = [(thing["Names"][0].lstrip("/"), thing["Labels"],
               partial(remove_container, api, thing["Id"]))
              for thing in api.containers(all=True, filters=ours)]
    things += [(thing["Name"], thing["Labels"], partial(api.remove_network, thing["Id"]))
               for thing in api.networks(filters=ours)]
    things += _images(api, ours)
    left = [thing for thing in things if process_labels.is_left(thing[1], all_roots)]
    return _removed(left, only_list)


def running(root: Path) -> list[str]:
    """Return the run labels of a root's running containers; [] without an engine."""
    with suppress(Trouble, requests.RequestException):
        ours = connect().containers(filters={"label": process_labels.of_root(root)})
        return sorted(container["Labels"][process_labels.RUN] for container in ours)
    return []


def remove_images(run_label: str) -> list[str]:
    """Remove the images that a run has made, except images with the keep label; return their names.
    """
    api = connect()
    images = _images(api, {"label": f"{process_labels.RUN}={run_label}"})
    removed, left = _removed(images)
    for line in left:
        say(line)
    return removed


def _images(api, filters: dict) -> list[tuple[str, dict, Callable]]:
    """Return (name, labels, function that removes the name) for each name of an image. An untagged
    image has its id as name; older engines list a placeholder tag for it."""
    images = []
    for image in api.images(filters=filters):
        tags = [tag for tag in image["RepoTags"] or [] if tag != "<none>:<none>"]
        images += [(name, image["Labels"], partial(api.remove_image, name))
                   for name in tags or [image["Id"]]]
    return images


def _removed(things: list[tuple[str, dict, Callable]], only_list: bool = False
             ) -> tuple[list[str], list[str]]:
    """Remove the things, (name, labels, function), that have no keep label. Return (names of
    removed things, a line for each that cannot be removed)."""
    names = []
    left = []
    for name, labels, remove in things:
        if labels.get(KEEP) == KEPT:
            continue
        try:
            if not only_list:
                remove()
            names.append(name)
        except (requests.RequestException, OSError) as e:
            left.append(not_removed(name, e))
    return names, [*filter(None, left)]


def remove_container(api, container_id: str) -> None:
    """Remove a container with its volumes, even if its folders are too deep for the engine."""
    try:
        api.remove_container(container_id, v=True, force=True)
    except requests.HTTPError as e:
        if e.response.status_code < 500:
            raise
        driver = api.inspect_container(container_id)["GraphDriver"]["Data"]
        upper = Path(driver.get("UpperDir", ""))
        if not (upper.is_absolute() and os.access(upper, os.W_OK)):
            raise   # the engine is on another machine, or its storage is not writable
        remove_tree(upper)
        api.remove_container(container_id, v=True, force=True)


def not_removed(name: str, e: Exception) -> str:
    """Return a line about a thing that cannot be removed, with advice. Return "" if the thing is
    gone or in use, or if the engine is gone; then the next start removes it."""
    if isinstance(e, requests.ConnectionError):
        return ""
    if getattr(getattr(e, "response", None), "status_code", 0) in (403, 404, 409):
        return ""
    return f"{name} cannot be removed: {printable(reason(e), 200)}. {REMOVE_BY_HAND}"


def workdir_of(image: str) -> str:
    """Return the working directory set in a local image; "" if none is."""
    try:
        return connect().inspect_image(image)["Config"]["WorkingDir"].rstrip("/")
    except requests.RequestException:
        return ""


def layers_of(image: str) -> list[str]:
    """Return the digests of a local image's layers, the lowest first."""
    return connect().inspect_image(image)["RootFS"]["Layers"]


def image_id(image: str) -> str:
    """Return the engine's id of an image; "" if there is no such image, or no engine."""
    with suppress(Trouble, requests.RequestException):
        return connect().inspect_image(image)["Id"] if image else ""
    return ""


def volume_of(image: str, path: str) -> dict[str, str]:
    """Return {volume: path}, to mount a folder of an image in a sandbox. The volume is filled once,
    and kept by a container that never runs and that no run removes. Raise Trouble if the engine
    lacks the image."""
    if not (found := image_id(image)):
        raise Trouble("is not here.", f"the image {image}", "Make or pull it first.")
    api, name = connect(), f"codedata-{found[-64:][:12]}{path.replace('/', '-')}"
    with _volume_lock:
        try:
            holder = api.inspect_container(name)
        except requests.HTTPError:
            made = api.create_container(image, volumes=[path])["Id"]   # the engine fills the volume
            try:
                # name it only now: another process that finds the name expects a filled volume
                api.rename(made, name)
            except requests.HTTPError:   # another process was first: use its volume
                remove_container(api, made)
            holder = api.inspect_container(name)
    return {holder["Mounts"][0]["Name"]: path}


def image_names(pattern: str) -> set[str] | None:
    """Return the names, without tags, of images that match a pattern such as "codedata-bug/*"; None
    if no engine answers."""
    with suppress(Trouble, requests.RequestException):
        images = connect().images(filters={"reference": pattern})
        return {tag.rpartition(":")[0] for image in images for tag in image["RepoTags"] or []}
    return None


def keep_image(image_id: str, image_name: str) -> str:
    """Give an image a name, and the label that keeps it after its run. Return its new id. Remove
    the earlier image of this name, unless it is in use."""
    api = connect()
    former = ""
    with suppress(requests.RequestException):   # there may be no image of this name
        former = api.inspect_image(image_name)["Id"]
    container = api.create_container(image_id, **named({}))["Id"]   # inherits the image's labels
    try:
        kept = commit(api, container, image_name, [f"LABEL {KEEP}={KEPT}"])
    finally:
        api.remove_container(container, v=True, force=True)
    with suppress(requests.RequestException):   # the old image may be gone or in use
        if former and not api.inspect_image(former)["RepoTags"]:
            api.remove_image(former)
    return kept


def commit(api, container_id: str, image_name: str, changes: list[str],
           pauses: bool = True) -> str:
    """Commit a container's files as an image, with changes as in a Dockerfile; return its id."""
    from docker.utils import parse_repository_tag
    repository, tag = parse_repository_tag(image_name)
    return api.commit(container_id, repository, tag, changes=changes, pause=pauses)["Id"]
