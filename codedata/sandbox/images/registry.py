"""Name images, push them and pull them. A name HOST[:PORT]/PATH:TAG begins with its registry.

A name without a host is never pulled: the owner of that name on a public registry could offer any
image. The rights to push and pull come from the engine's configuration (docker login).
"""
import re

import requests

from codedata.disk.store import digest
from codedata.errors import ItemFailed
from codedata.sandbox.docker import engine
from codedata.texts import printable

IMAGE_NAME = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*")


def image_name(prefix: str, name: str) -> str:
    """Return an image name that Docker accepts. If `name` has to be changed, add a digest of it, so
    that different names stay different."""
    if IMAGE_NAME.fullmatch(name):
        return prefix + name
    valid = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "repository"
    return f"{prefix}{valid}-{digest(name)[:6]}"


def has_registry(image: str) -> bool:
    """Return whether an image's name includes its registry."""
    host, slash, _ = image.partition("/")
    return bool(slash) and (host == "localhost" or "." in host or ":" in host)


def is_here(image: str, image_id: str = "") -> bool:
    """Return whether the engine has an image. If its name includes a registry, pull it first if it
    is missing, or if its id is not `image_id`, since another machine may have remade it."""
    api = engine.connect()
    for may_pull in (has_registry(image), False):
        try:
            found = api.inspect_image(image)["Id"]
            if not may_pull or image_id in ("", found):
                return True
        except requests.HTTPError as e:
            if e.response.status_code != 404 or not may_pull:
                return False
        try:
            api.pull(image)
        except requests.RequestException:
            return False
    return False


def push(image: str) -> None:
    """Push an image to the registry in its name. The engine retries uploads that fail. Raise
    ItemFailed if the push fails."""
    try:
        lines = [*engine.connect().push(image, stream=True, decode=True)]
        trouble = next((line["error"] for line in lines if "error" in line), "")
    except requests.RequestException as e:
        trouble = engine.reason(e)
    if trouble:
        raise ItemFailed(f"cannot be pushed: {printable(trouble, 300)}", image,
                         "Check [sandbox] registry, and `docker login` for it.")
