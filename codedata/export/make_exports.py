"""Make the training sets in export/ from the buckets.

Each format has a folder with its rows, card and manifest. The folders are made in export/_tmp/ and
put in place one by one. A folder whose manifest would not change stays as it is, with a person's
edits. An edited folder that has to be replaced is copied to export/_replaced/ first.
"""
from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import duckdb

import codedata
from codedata.cli import RunOptions
from codedata.errors import RunStopped, Trouble
from codedata.export import folders
from codedata.export.card import Background, Contents, card
from codedata.export.collect import ExportTurn, ExportTurns
from codedata.export.folders import CARD, FOLDER, MANIFEST
from codedata.export.formats import FORMATS, Format, Problem, row_problem
from codedata.export.provenance import Provenance, public
from codedata.export.similar import Conversation, read_conversations, similar_turns
from codedata.export.split import SPLITS, TRAIN, VALIDATION
from codedata.layouts import NEW, set_aside, to_json, write_atomic
from codedata.ledger import disk_trouble
from codedata.llm.costs import costs_of
from codedata.llm.embedded import NOISE
from codedata.progress import named, plural, say
from codedata.records import BUCKETS, DUEL, Duel, Score
from codedata.run_loop import check_root, run_whole
from codedata.settings import Settings
from codedata.store import check_directories, digest

STAGE = "export"
LEFT_OUT = "left_out.jsonl"
COMPARED = ("against", "decontaminate")   # settings that name files
NOT_OF_A_ROW = (*COMPARED, "formats", "rejected_too")
REFUSED_FLAGS = ("only", "limit", "shard", "refresh", "prune", "compact", "budget")


def run(settings: Settings, options: RunOptions) -> int:
    """Make the exports, and return the exit code: 1 if a record is broken, else 0.

    Raise Trouble if the settings are wrong or the duel has no outcome, and RunStopped if the duel
    was not accepted.
    """
    root, formats = settings.root, settings.export.formats
    if unknown := [name for name in formats if name not in FORMATS]:
        raise Trouble(f"names {', '.join(unknown)}.", "[export] formats",
                      f"Known: {', '.join(FORMATS)}.")
    check_root(root)
    check_directories(root / STAGE / name for name in formats)
    path = root / Score.directory / DUEL
    try:
        duel = Duel.read(path, "king", "Run: python validate.py", complete=False)
    except FileNotFoundError:
        duel = None
    refusal = _refusal(duel, str(path)) if not settings.export.rejected_too else None
    if refusal and not options.read_only:
        raise refusal
    code = run_whole(STAGE, root / STAGE, options, lambda: _export(settings, options, duel),
                     refuses=REFUSED_FLAGS)
    if refusal:
        say(f"      would be refused: {refusal}")
    return code


def _export(settings: Settings, options: RunOptions, duel: Duel | None) -> int:
    root, read_only = settings.root, options.read_only
    directory = root / STAGE
    if not read_only:
        FOLDER.clear_up(directory)
    turns = ExportTurns(root, settings.export, settings.exclude.ids).collect(options.quiet)
    _leave_out_similar(turns)
    about = Background(directory, settings.export, settings.report, duel, Provenance(root),
                       costs_of(root), turns)
    exports = [Export(FORMATS[name], about) for name in dict.fromkeys(settings.export.formats)]
    force = options.selection.force
    try:
        for export in exports:
            export.fill(write=not read_only)
        states = [export.state() if read_only else export.put(force) for export in exports]
        if not read_only:
            write_atomic(directory / LEFT_OUT, turns.left_out.lines())
            FOLDER.clear_up(directory)
    except OSError as e:
        raise disk_trouble(e, e.filename or directory) from e
    if read_only or not options.quiet:
        _print_summary(about, exports, states)
    return 1 if turns.n_broken and not read_only else 0


def _refusal(duel: Duel | None, path: str) -> Trouble | None:
    """Return the error that stops the export, or None.

    A challenger that is not better than the king has won its turns by chance, so they are not
    exported.
    """
    todo = ("To export all the same, with a warning in the cards: --rejected-too, or rejected_too "
            "in [export].")
    if duel is None:
        return Trouble("is not there: nobody has decided the duel.", path,
                       f"Run validate.py and report.py. {todo}")
    if duel.accepted:
        return None
    return RunStopped(f"says that the duel was not accepted: {'; '.join(duel.reasons)}. Nothing is "
                      "exported.", path, todo)


def _leave_out_similar(turns: ExportTurns) -> None:
    """Leave out near-duplicates.

    A turn with a winner is kept before others, then one of the best bucket, then the first.
    """
    settings = turns.settings
    if not settings.duplicate_similarity:
        return
    rank = {cls.directory: i for i, cls in enumerate(BUCKETS)}
    best_first = sorted(turns.turns, key=lambda turn: (not turn.winner, rank[turn.bucket]))

    def conversations() -> Iterator[Conversation]:
        for turn in best_first:
            record = turns.record(turn)
            answer = getattr(record, turn.winner or "challenger") or ""
            yield Conversation(turn.name, turn.instance_id, record.messages, answer)

    similar = similar_turns(conversations, lambda: read_conversations(settings.against),
                            settings.duplicate_similarity)
    for one in similar:
        turns.left_out.add(one.name, "near-duplicate",
                           f"{one.of} (answers {one.similarity:.2f} alike)")
    left_out = {one.name for one in similar}
    turns.turns = [turn for turn in turns.turns if turn.name not in left_out]


class Export(Contents):
    """Make the rows of one format and the folder that holds them."""

    def __init__(self, form: Format, about: Background):
        super().__init__(form, about)
        self.place = about.directory / form.name
        self.new = about.directory / NEW / form.name

    def fill(self, write: bool) -> None:
        """Make and count every row. With `write` also write the files, to the folder in _tmp/."""
        for split in SPLITS:
            rows = self._make_rows(split)
            if not write:
                deque(rows, 0)
                continue
            path = self.new / f"{split}.jsonl"
            sizes = folders.write_rows(path, rows)
            self.n_bytes[split] = sum(sizes)
            if sizes and self.form.for_trainers:
                folders.write_parquet(path, sizes, self.form.columns,
                                      self.about.settings.shard_rows)

    def _make_rows(self, split: str) -> Iterator[dict]:
        """Yield and count the rows of a split, and log those that are left out."""
        turns, split_of = self.about.turns, self.about.split_of
        in_split = [turn for turn in turns.turns if split_of[turn.repo] == split]
        for turn, side in self.form.pieces(in_split):
            row = self.form.make(turn, side, turns.record(turn))
            if problem := self._problem(turn, row):
                turns.left_out.add(turn.name, *problem, format=self.form.name)
            else:
                self.count(turn, row)
                yield row

    def _problem(self, turn: ExportTurn, row: dict) -> Problem | None:
        """Return why a row is left out: the flag of its turn, or what is wrong with it.

        A verdict on an answer that addresses its judge, or shows the hidden PR, is no evidence for
        either side, so trainers must not see it.
        """
        settings = self.about.settings
        if turn.flag and self.form.for_trainers and not self.about.buckets.keep_flagged:
            return turn.flag
        return row_problem(self.form, row, settings.max_chars, settings.dpo_max_length_ratio)

    def inputs(self) -> dict:
        """Return the part of the manifest that says which inputs the rows come from."""
        about, duel = self.about, self.about.duel
        compared = {key: [{"name": public(path), "sha256": FOLDER.sha256(Path(path))}
                          for path in getattr(about.settings, key)] for key in COMPARED}
        return {
            "format": self.form.name, **compared, "rows": self.rows,
            "made_by": f"codedata {codedata.__version__}, duckdb {duckdb.__version__}",
            "buckets": asdict(about.buckets),
            "settings": {key: value for key, value in asdict(about.settings).items()
                         if key not in NOT_OF_A_ROW},
            "duel": duel and {"digest": digest(duel.raw), "accepted": duel.accepted,
                              "margin": duel.margin, "lcb": duel.lcb},
            "turns": [{"name": turn.name, "bucket": turn.bucket, "instance_id": turn.instance_id,
                       "digest": turn.digest, "commit_digest": turn.commit,
                       "split": about.split_of[turn.repo], "rows": n_rows,
                       "masked": turn.masked} for turn, n_rows in self.rows_of.items()]}

    def state(self) -> str:
        """Return how the existing folder differs from what a run would make, for --status."""
        if not self.place.exists():
            return "missing"
        manifest = folders.read_manifest(self.place)
        manifest.pop("files", None)
        is_same = to_json(manifest) == to_json(self.inputs())
        state = "rows as they are there" if is_same else "rows would change"
        edited = folders.changed_by_hand(self.place)
        return f"{state}, edited: {named(edited)}" if edited else state

    def put(self, force: bool) -> str:
        """Put the folder in place with its card and manifest. Return what was done."""
        pattern = "*.parquet" if self.form.for_trainers else "*.jsonl"
        self.n_file_bytes = sum(path.stat().st_size for path in self.new.rglob(pattern))
        (self.new / CARD).write_text(card(self), encoding="utf-8")
        files = {path: {"sha256": sha256, "bytes": (self.new / path).stat().st_size}
                 for path, sha256 in FOLDER.digests(self.new).items()}
        (self.new / MANIFEST).write_bytes(to_json({**self.inputs(), "files": files}))
        edited = folders.changed_by_hand(self.place)
        is_same = folders.read_manifest(self.place) == folders.read_manifest(self.new)
        if self.place.is_dir() and is_same and not force:
            return f"edited: {named(edited)} (kept)" if edited else "unchanged"
        copy = set_aside(self.place) if edited else None   # first: a kill would lose it
        FOLDER.put(self.place, self.new)
        return f"wrote; the edited one is in {STAGE}/_replaced/{copy.name}/" if copy else "wrote"


# the terminal ------------------------------------------------------------------------------------

def _print_summary(about: Background, exports: list[Export], states: list[str]) -> None:
    turns = about.turns
    n_in = ", ".join(f"{bucket}/ {n:,}" for bucket, n in turns.in_bucket.items())
    say(f"{STAGE}  {n_in} → {STAGE}/   {plural(len(turns.turns), 'turn')}")
    for export, state in zip(exports, states, strict=True):
        n = export.rows
        say(f"      {export.form.name:14} {n[TRAIN]:,} + {n[VALIDATION]:,} rows   {state}")
    for label, counts, where in (("left out", turns.left_out.counts(), f"   {STAGE}/{LEFT_OUT}"),
                                 ("masked", about.masked(), "")):
        if counts:
            listed = ", ".join(f"{kind} {n:,}" for kind, n in counts.most_common())
            say(f"      {label}: {listed}{where}")
    for line in _warnings(about, exports):
        say(f"      {line}")


def _warnings(about: Background, exports: list[Export]) -> Iterator[str]:
    """Yield warnings that a person should read before training on the sets."""
    turns, split_of = about.turns, about.split_of
    made = {export.form.name for export in exports}
    if others := [name for name in FORMATS
                  if name not in made and (about.directory / name).exists()]:
        yield f"not among the formats, left as they were: {', '.join(others)}"
    if turns.edited:
        yield f"edited by hand, exported as they are: {named(turns.edited)}"
    if turns.left_out.counts()["not up to date"]:
        yield "answers or scores were changed since the buckets were filled: run report.py first"
    if not turns.turns:
        yield "no turn came through: the sets are empty"
    elif about.settings.validation and VALIDATION not in split_of.values():
        yield (f"no validation rows: of the repositories ({len(split_of):,}) none is in that "
               "split")
    for export in exports:
        if len(export.labels) == 1:
            label = next(iter(export.labels))
            yield f"{export.form.name}: every label is {label}, and KTO needs both"
    if not (about.duel and about.duel.accepted):
        yield "the duel was not accepted, which the cards say"
    if about.is_noise(turns.turns):
        yield NOISE
