"""Fetch the source of a published package, for a datapoint that is based on real code.

Fetching from PyPI may run the package's own build script, in a container with the network on. The
metadata may name a wrong licence.
"""
from __future__ import annotations

import re
import shlex
from pathlib import Path

from codedata.code.entities import language_of
from codedata.errors import ItemFailed
from codedata.records import Object
from codedata.sandbox.archives import Bounds
from codedata.sandbox.factory import SandboxFactory
from codedata.suites.environments import labelled

FETCH = {
    "pypi": "pip download --quiet --no-deps --no-binary {name} --dest /tmp/fetched {spec}",
    "npm": "(which npm || (apt-get update -qq && apt-get install -y -qq --no-install-recommends "
           "npm)) >/dev/null && mkdir -p /tmp/fetched && "
           "npm pack --silent --pack-destination /tmp/fetched {spec}"}
UNPACK = ("mkdir /tmp/source && cd /tmp/fetched && for one in *; do case $one in *.zip) "
          "python3 -m zipfile -e $one /tmp/source;; *) tar -C /tmp/source -xf $one;; esac; done")
BETWEEN = {"pypi": "==", "npm": "@"}   # between a name and its version
TAKEN = Bounds(max_bytes=20_000_000, max_files=2_000, max_depth=20, max_seconds=120)
FETCH_S = 600
LICENCE = re.compile(r'^(?:License(?:-Expression)?:|[ \t]*"license":)[ \t]*"?([^"\n]+)',
                     re.MULTILINE)


def fetch(host: SandboxFactory, registry: str, name: str, version: str, place: Path) -> None:
    """Put the source of a package into the new folder `place`. Raise ItemFailed if it cannot be
    fetched or is too large."""
    spec = f"{name}{BETWEEN[registry]}{version}" if version else name
    with (labelled(host, place.name, "dp") as label,
          host.open(host.base_image, label) as sandbox):
        sandbox.network(True)
        command = FETCH[registry].format(name=shlex.quote(name), spec=shlex.quote(spec))
        done = sandbox.run(command, timeout_s=FETCH_S)
        done = sandbox.run(UNPACK) if done.ok else done
        if not done.ok:
            raise ItemFailed(f"cannot be fetched: {done.output[-300:]}", spec)
        sandbox.get("/tmp/source", place, TAKEN)


def described(folder: Path) -> Object:
    """Return {files, lines of source files, licence} of a package's source."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    sources = [path for path in files if language_of(path.name)]
    stated = [found[1].strip() for path in files if path.name in ("PKG-INFO", "package.json")
              if (found := LICENCE.search(path.read_text(errors="replace")))]
    return {"files": len(files), "lines": sum(path.read_bytes().count(b"\n") for path in sources),
            "licence": next(iter(stated), "")}
