"""Split rows, and put the folder of a format in place, with its card and its manifest.

The split into train and validation is by repository, so that no repository is in both.

A new folder is made in export/_tmp/ and put in place in one exchange (layouts.py). A folder whose
manifest would not change stays unchanged, with a user's edits; an edited folder is copied to
export/_replaced/ before it is replaced.
"""
from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import codedata
from codedata.disk.layouts import NEW, path_sha256, put_folder, set_aside, to_json
from codedata.export.folders import (
    MANIFEST,
    changed_by_hand,
    listed_files,
    read_manifest,
    write_parquet,
    write_rows,
)
from codedata.export.provenance import public
from codedata.terminal import named
from codedata.texts import name_hash, terminal_safe, text_of

if TYPE_CHECKING:
    from codedata.export.formats import Format
    from codedata.export.task_sets.task_exports import TaskFormat, TaskOrigins
    from codedata.export.turn_origins import TurnOrigins

CARD = "README.md"
SPLITS = TRAIN, VALIDATION = "train", "validation"
MIN_ROWS = 20              # smallest set that is split


@dataclass(frozen=True)
class Export:
    """Hold a folder of export/ that is to be made: its form, its rows, and their origins."""

    form: Format | TaskFormat
    rows: Sequence
    origins: TurnOrigins | TaskOrigins   # what was read for all formats of turns, or of tasks

    @property
    def place(self) -> Path:
        """Return the final path of the folder."""
        return self.origins.directory / self.form.name

    @property
    def new(self) -> Path:
        """Return the path of the folder before put() moves it."""
        return self.origins.directory / NEW / self.form.name

    def of_split(self, split: str) -> list:
        """Return the rows of a split."""
        return [row for row in self.rows if row.split == split]

    @property
    def n_rows(self) -> dict[str, int]:
        """Return the number of rows by split."""
        return {split: len(self.of_split(split)) for split in SPLITS}

    def write_tables(self, make: Callable[[Any], dict], columns: dict[str, str],
                     with_parquet: bool = True, if_empty: Iterable[str] = SPLITS) -> None:
        """Write make(row) of each row as JSON Lines, one file per split, and as Parquet if asked.
        Without any rows, write empty Parquet files for the splits `if_empty`: else `datasets` would
        load the manifest as rows."""
        paths = {split: self.new / f"{split}.jsonl" for split in SPLITS}
        sizes = {split: write_rows(path, map(make, self.of_split(split)))
                 for split, path in paths.items()}
        filled = [split for split in SPLITS if sizes[split]]
        if with_parquet or not filled:
            for split in filled or if_empty:
                write_parquet(paths[split], sizes[split], columns)

    def inputs(self) -> dict:
        """Return the manifest without the files: the origin of the rows."""
        settings = asdict(self.origins.settings)
        return {
            "format": self.form.name, "rows": self.n_rows,
            "made_by": f"codedata {codedata.__version__}",
            "decontaminate": [{"name": public(path), "sha256": path_sha256(Path(path), MANIFEST)}
                              for path in settings["decontaminate"]],
            "settings": {key: settings[key] for key in self.origins.kept_settings},
            **self.origins.inputs(self)}

    def card(self) -> str:
        """Return the text of the card; the files must be written before.

        The templates select the values to show, and their number of digits.
        """
        title, about = sections()[self.form.name]
        values = {"title": title, "version": codedata.__version__,
                  **self.origins.card_values(self)}
        template = text_of("codedata.export", self.origins.template)
        return terminal_safe(template.format_map({**values, "about": about.format_map(values)}))

    def state(self) -> str:
        """Return how the existing folder differs from a new one, for --status."""
        if not self.place.exists():
            return "missing"
        manifest = read_manifest(self.place)
        manifest.pop("files", None)
        is_same = to_json(manifest) == to_json(self.inputs())
        text = "rows unchanged" if is_same else "rows would change"
        edited = changed_by_hand(self.place)
        return f"{text}, edited: {named(edited)}" if edited else text

    def write(self) -> None:
        """Fill the new folder: the files of the form, the card and the manifest."""
        self.new.mkdir(parents=True)
        self.form.write(self)
        (self.new / CARD).write_text(self.card(), encoding="utf-8")
        (self.new / MANIFEST).write_bytes(to_json(
            {**self.inputs(), "files": listed_files(self.new)}))

    def put(self, force: bool) -> str:
        """Put the new folder in place. Return a text on the result."""
        edited = changed_by_hand(self.place)
        is_same = read_manifest(self.place) == read_manifest(self.new)
        if self.place.is_dir() and is_same and not force:
            return f"edited: {named(edited)} (kept)" if edited else "unchanged"
        copy = set_aside(self.place) if edited else None   # first: a kill would lose the edits
        put_folder(self.place, self.new)
        return f"wrote; the edited one is in export/_replaced/{copy.name}/" if copy else "wrote"


@cache
def sections() -> dict[str, tuple[str, str]]:
    """Return {name: (title, text)} from formats.md."""
    text = text_of("codedata.export", "formats.md")
    parts = re.split(r"^# (\w+): (.*)\n", text, flags=re.MULTILINE)[1:]
    return {name: (title, text.strip())
            for name, title, text in zip(parts[::3], parts[1::3], parts[2::3], strict=True)}


def splits(repos: Iterable[str], share: float) -> dict[str, str]:
    """Return {repository: split}, given the repository of each row. `share`, from 0 to 1, goes to
    validation. Fewer than MIN_ROWS rows all go to train.

    Otherwise the split of a repository depends only on its name (ignoring case), and the share. If
    train would be empty, the repository with the highest hash goes there.
    """
    repos = [*repos]
    share = share if len(repos) >= MIN_ROWS else 0
    places = {repo: _place(repo) for repo in repos}
    out = {repo: VALIDATION if place < share else TRAIN for repo, place in places.items()}
    if out and TRAIN not in out.values():
        last = max(places.values())
        out.update({repo: TRAIN for repo, place in places.items() if place == last})
    return out


def _place(repo: str) -> float:
    """Return a hash of a repository's name, evenly distributed from 0 to 1."""
    # the prefix "0:", once a seed, keeps the splits of earlier versions
    return name_hash(f"0:{repo.lower()}") / 2 ** 64
