"""Use the Docker engine: connect to it, share a network between sandboxes, remove what killed
runs have left."""
from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import BinaryIO

import requests

from codedata.errors import Trouble
from codedata.progress import say
from codedata.sandbox import process_labels
from codedata.sandbox.archives import Stream
from codedata.sandbox.disk import remove_tree
from codedata.texts import printable

INSTALL = "pip install 'codedata[docker]', or choose another sandbox: --sandbox local, --sandbox kubernetes."
START = "Start it (tools/docker-up does on Debian), or choose another sandbox: --sandbox local, --sandbox kubernetes."
KEEP, KEPT = "codedata.keep", "1"   # the label of images that outlive their run
MEND = "Stop the engine, remove its folder of the container, start it, and run: python env_setup.py --reap"
TIMEOUT_S = 300            # seconds for a request, since a commit writes gigabytes
NOT_AMONG_THEMSELVES = {"com.docker.network.bridge.enable_icc": "false"}

# No other thread may remove the network between looking for it and joining it. The lock is reentrant because garbage
# collection of a sandbox that was not closed may remove a network in the same thread.
_network_lock = threading.RLock()


def connect():
    """Return the low-level client of the engine that DOCKER_HOST names. Raise Trouble where the
    SDK or the engine is missing."""
    try:
        import docker
    except ImportError as e:
        raise Trouble("--sandbox docker needs the Docker SDK for Python.", todo=INSTALL) from e
    try:
        return docker.from_env(version="auto", timeout=TIMEOUT_S).api
    except docker.errors.DockerException as e:
        raise Trouble(f"the Docker engine cannot be reached: {e}", todo=START) from e


def create(api, image: str, **options) -> str:
    """Create a container and return its id; pull the image if it is not here."""
    try:
        return api.create_container(image, **options)["Id"]
    except requests.HTTPError as e:
        if e.response.status_code != 404:
            raise
    api.pull(image)
    return api.create_container(image, **options)["Id"]


def folder(api) -> Path:
    """Return the folder where the engine keeps images and containers; the current folder where
    the engine is on another machine."""
    place = Path(api.info()["DockerRootDir"])
    return place if place.exists() else Path.cwd()


def reason(e: Exception) -> str:
    """Return what the engine says about an error, in one line."""
    return str(getattr(e, "explanation", None) or e).strip().replace("\n", " ")


# the network

def join_network(api, container_id: str, labels: dict[str, str]) -> str:
    """Connect a container to this process's bridge network, on which containers cannot reach one
    another. Return the network's id."""
    with _network_lock:
        found = api.networks(filters={"label": [f"{name}={value}" for name, value in labels.items()]})
        network = found[0]["Id"] if found else api.create_network(
            f"codedata-{secrets.token_hex(6)}", driver="bridge", options=NOT_AMONG_THEMSELVES, labels=labels)["Id"]
        api.connect_container_to_network(container_id, network)
    return network


def drop_network(api, network: str) -> None:
    """Remove the network if no container is on it."""
    with _network_lock, suppress(requests.RequestException):
        api.remove_network(network)


# files

class Files:
    """Read the files of a container through the engine, without running anything in it."""

    def __init__(self, api, container_id: str):
        self._api, self._id = api, container_id

    def all(self) -> BinaryIO:
        """Return a tar of all files except those in volumes."""
        return Stream(self._api.export(self._id))

    def below(self, path: str) -> BinaryIO:
        """Return a tar of one folder or file."""
        return Stream(self._api.get_archive(self._id, path)[0])


# leftovers of runs

def reap(api=None) -> tuple[list[str], list[str]]:
    """Remove what killed processes of this host have left: containers with their volumes,
    networks, images that were not to be kept. Return (their names, a line for each that cannot
    be removed)."""
    api = api or connect()
    ours = {"label": process_labels.PID}
    found = [(c["Names"][0].lstrip("/"), c["Labels"], partial(remove_container, api, c["Id"]))
             for c in api.containers(all=True, filters=ours)]
    found += [(n["Name"], n["Labels"], partial(api.remove_network, n["Id"])) for n in api.networks(filters=ours)]
    found += [(name, i["Labels"], partial(api.remove_image, name)) for i in api.images(filters=ours)
              for name in _names_of(i)]
    return _removed(api, ((name, remove) for name, labels, remove in found
                          if process_labels.is_gone(labels) and labels.get(KEEP) != KEPT))


def remove_container(api, container_id: str) -> None:
    """Remove a container with its volumes, also one whose folders are too deep for the engine."""
    try:
        api.remove_container(container_id, v=True, force=True)
    except requests.HTTPError as e:
        if e.response.status_code < 500:
            raise
        upper = Path(api.inspect_container(container_id)["GraphDriver"]["Data"].get("UpperDir", ""))
        if not (upper.is_absolute() and os.access(upper, os.W_OK)):
            raise   # the engine is on another machine, or we have no right to
        remove_tree(upper)
        api.remove_container(container_id, v=True, force=True)


def not_removed(api, name: str, e: Exception) -> str:
    """Return a line with the name and size of what cannot be removed, and what to do about it;
    an empty string where it is gone or still in use."""
    if getattr(getattr(e, "response", None), "status_code", 0) in (403, 404, 409):
        return ""
    n_bytes = -1
    with suppress(requests.RequestException, LookupError):
        n_bytes = api.containers(all=True, size=True, filters={"name": name})[0].get("SizeRw", 0)
    return (f"{name} ({f'{n_bytes:,} bytes' if n_bytes >= 0 else 'of unknown size'}) cannot be removed: "
            f"{printable(reason(e), 200)}. {MEND}")


def workdir_of(image: str) -> str:
    """Return the working directory that a local image names; an empty string where it names
    none."""
    try:
        found = connect().inspect_image(image)["Config"]["WorkingDir"]
    except requests.RequestException:
        return ""
    return found if found not in ("", "/") else ""


def keep_image(image_id: str, image_name: str, api=None) -> str:
    """Give an image a name, and a label that keeps it when its run ends. Return its new id."""
    api = api or connect()
    container = api.create_container(image_id)["Id"]
    try:
        repository, tag = split_name(image_name)
        return api.commit(container, repository, tag, changes=[f"LABEL {KEEP}={KEPT}"])["Id"]
    finally:
        api.remove_container(container, v=True, force=True)


def split_name(image_name: str) -> tuple[str, str]:
    """Return (repository, tag) of an image's name. The colon before a registry's port starts no
    tag."""
    repository, colon, tag = image_name.rpartition(":")
    return (repository, tag) if colon and "/" not in tag else (image_name, "latest")


def remove_images(run_label: str, api=None) -> list[str]:
    """Remove the images that a run has made, except those that were to be kept. Return their
    names."""
    api = api or connect()
    removed, left = _removed(api, ((name, partial(api.remove_image, name))
                                   for image in api.images(filters={"label": f"{process_labels.RUN}={run_label}"})
                                   if image["Labels"].get(KEEP) != KEPT for name in _names_of(image)))
    for line in left:
        say(line)
    return removed


def _names_of(image: dict) -> list[str]:
    """Return an image's tags; its id where it has none, for which older engines list a
    placeholder."""
    return [tag for tag in image["RepoTags"] or [] if tag != "<none>:<none>"] or [image["Id"]]


def _removed(api, found: Iterable[tuple[str, Callable]]) -> tuple[list[str], list[str]]:
    """Call each function that removes something. Return (names of what is removed, lines for
    what is not)."""
    names, left = [], []
    for name, remove in found:
        try:
            remove()
            names.append(name)
        except (requests.RequestException, OSError) as e:
            left.append(not_removed(api, name, e))
    return names, [*filter(None, left)]
