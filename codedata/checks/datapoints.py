"""Read datapoints: terminal tasks that are folders, dp/<id>/.

    prompt.md dockerfile tests.py weights.json solution.sh metadata.json files/

Nothing is run here, and no link is followed.
"""
from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from decimal import Decimal
from pathlib import Path, PurePosixPath

from codedata.bounded import inside, read_bounded
from codedata.errors import BrokenRecord
from codedata.layouts import NAMES, Folder, to_json
from codedata.records import Datapoint, DatapointMeta, parse, safe_name
from codedata.sandbox.dockerfile import read_dockerfile

PARTS = {"prompt": "prompt.md", "dockerfile": "dockerfile", "tests": "tests.py",
         "weights": "weights.json", "solution": "solution.sh"}
META, FILES = "metadata.json", "files"
LAYOUT = Folder(ignored=(META,))
MAX_PART_BYTES = 1_000_000
MAX_FILE_BYTES, MAX_BYTES, MAX_FILES = 50_000_000, 200_000_000, 5_000   # of all that is in it
MIN_WEIGHT = Decimal("1E-9")
AGENT = "agent"            # who solves it, and whom its tests run as
# what an export adds behind a dockerfile: an image in which the agent owns the work directory
FOR_AGENT = f"""USER root
RUN id -u {AGENT} >/dev/null 2>&1 || useradd --create-home {AGENT}; \\
    mkdir -p {{workdir}} && chown -R {AGENT}: {{workdir}}
WORKDIR {{workdir}}
"""


def read_datapoint(folder: Path) -> Datapoint:
    """Return the datapoint in a folder. Raise BrokenRecord where a part is missing, is no text, or
    is larger than it may be, and for links and too many or too large files."""
    where = str(folder)
    try:
        texts = {part: read_bounded(folder / name, MAX_PART_BYTES).decode()
                 for part, name in PARTS.items()}
        meta = json.loads(read_bounded(folder / META, MAX_PART_BYTES))
        to_json(meta)   # it is written again
        files = _files(folder)
        content = LAYOUT.sha256(folder)[:16]
    except (OSError, ValueError, TypeError, RecursionError) as e:
        raise BrokenRecord(f"is no datapoint: {e}.", where, "Restore that file.") from e
    return Datapoint(folder.name, where, content, **texts, files=files,
                     meta=parse(DatapointMeta, meta, f"{where}/{META}"))


def _files(folder: Path) -> list[str]:
    """Return the paths below files/. Raise ValueError for what no export can hold, or is too large
    to be read."""
    n_bytes, n_files, found = 0, 0, []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        name.encode()   # raises ValueError for one that is not UTF-8
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise ValueError(f"{name[:200]!r} is a link, or no file")
        if path.is_file():
            size = path.stat().st_size
            n_bytes, n_files = n_bytes + size, n_files + 1
            found += [name.partition("/")[2]] if name.startswith(f"{FILES}/") else []
            if size > MAX_FILE_BYTES or n_bytes > MAX_BYTES or n_files > MAX_FILES:
                raise ValueError(f"{name[:200]!r} is too large, or one file too many: at most "
                                 f"{MAX_FILES:,} files with {MAX_BYTES:,} bytes, "
                                 f"{MAX_FILE_BYTES:,} each")
    return found


def weights_of(text: str) -> dict[str, Decimal]:
    """Return the weights of tests. Raise ValueError where they are not numbers above 0 whose sum
    is exactly 1."""
    def unique(pairs: Iterable[tuple]) -> dict:
        rows = [*pairs]
        if len(dict(rows)) < len(rows):
            raise ValueError("a test stands there twice")
        return dict(rows)

    def refuse(word: str):
        raise ValueError(f"{word} is no number")

    try:
        weights = json.loads(text, parse_float=Decimal, parse_int=Decimal, parse_constant=refuse,
                             object_pairs_hook=unique)
    except (ArithmeticError, RecursionError) as e:
        raise ValueError(f"not readable: {e}") from e
    if not isinstance(weights, dict) or not weights:
        raise ValueError("no object with a weight for each test")
    for name, weight in weights.items():
        if not isinstance(weight, Decimal) or not MIN_WEIGHT <= weight <= 1:
            raise ValueError(f"{name[:80]!r} has {weight!r:.80}, not a number from "
                             f"{MIN_WEIGHT} to 1")
    if sum(weights.values()) != 1:
        raise ValueError(f"their sum is {sum(weights.values())}, not 1")
    return weights


def workdir_of(dockerfile: str) -> str:
    """Return where an agent works: the last WORKDIR, "" where that is no plain absolute path."""
    places = [one.rest.strip() for one in read_dockerfile(dockerfile)[0] if one.name == "WORKDIR"]
    place = ["", *places][-1]
    path = PurePosixPath(place)
    is_plain = re.fullmatch(r"/[\w./-]+", place) and ".." not in path.parts
    return str(path) if is_plain else ""


def exported_dockerfile(datapoint: Datapoint) -> str:
    """Return the Dockerfile of an export, with the agent as owner of the work directory."""
    added = FOR_AGENT.format(workdir=workdir_of(datapoint.dockerfile))
    return f"{datapoint.dockerfile.rstrip()}\n{added}"


class Datapoints:
    """List the datapoints of a root: the folders of dp/ whose names do not begin with _ or a
    point."""

    cls = Datapoint

    def __init__(self, root: Path, _cls: type = Datapoint):
        self.broken: list[BrokenRecord] = []
        self._directory = Path(root, Datapoint.directory)
        self._names: list[str] = []

    def open(self) -> Datapoints:
        """List what is there, and return self."""
        entries = sorted(self._directory.iterdir()) if self._directory.is_dir() else []
        for path in entries:
            try:
                if path.name[0] in "_." or not path.is_dir():
                    continue
                if not safe_name(path.name):
                    raise BrokenRecord("has a name that is refused.", str(path), NAMES)
                inside(self._directory, path.name)
                self._names.append(path.name)
            except BrokenRecord as e:
                self.broken.append(e)
        return self

    def names(self) -> list[str]:
        """Return the ids."""
        return self._names

    def read(self, name: str) -> Datapoint:
        """Return a datapoint. Raise BrokenRecord where its folder is none."""
        return read_datapoint(inside(self._directory, name))


def readable(root: Path) -> Iterator[Datapoint]:
    """Yield the datapoints of a root, without those that cannot be read: `validate` names them."""
    points = Datapoints(root).open()
    for name in points.names():
        with suppress(BrokenRecord):
            yield points.read(name)
