"""Make the training sets in export/ from the buckets.

Each format has a folder with its rows, card and manifest. The folders are made in export/_tmp/ and
put in place one by one. A folder whose manifest would not change stays as it is, with a person's
edits. An edited folder that has to be replaced is copied to export/_replaced/ first.
"""
from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import duckdb

import codedata
from codedata.cli import RunOptions
from codedata.errors import RunStopped, Trouble
from codedata.export import folders
from codedata.export.card import Background, Contents, card, is_noise
from codedata.export.collect import BUCKETS, ExportTurn, ExportTurns
from codedata.export.folders import CARD, MANIFEST, NEW, RowFiles
from codedata.export.formats import FORMATS, Format, row_problem
from codedata.export.provenance import Provenance, public, read_duel
from codedata.export.similar import Conversation, read_conversations, similar_turns
from codedata.export.split import SPLITS, TRAIN, VALIDATION, splits
from codedata.layouts import to_json, write_atomic
from codedata.ledger import disk_trouble
from codedata.llm.costs import costs_of
from codedata.llm.embedded import NOISE
from codedata.progress import named, plural, say
from codedata.records import DUEL, Score
from codedata.run_loop import check_root, run_whole
from codedata.settings import Settings
from codedata.store import check_directories, digest

STAGE, LEFT_OUT = "export", "left_out.jsonl"
COMPARED = ("against", "decontaminate")   # settings that name files
NOT_OF_A_ROW = (*COMPARED, "formats", "rejected_too")
DOES_NOT_FIT = ("only", "limit", "shard", "refresh", "prune", "compact", "budget")


def run(settings: Settings, options: RunOptions, turn_problem) -> int:
    """Make the exports, and return the exit code: 1 if a record is broken, else 0.

    turn_problem(text) returns why a text is no turn of an agent, or None. Raise Trouble if the
    settings are wrong or the duel has no outcome, and RunStopped if the duel was not accepted.
    """
    if unknown := [name for name in settings.export.formats if name not in FORMATS]:
        raise Trouble(f"names {', '.join(unknown)}.", "[export] formats", f"Known: {', '.join(FORMATS)}.")
    check_root(settings.root)
    directory = settings.root / STAGE
    check_directories(directory / name for name in settings.export.formats)
    duel = read_duel(settings.root)
    refusal = _refusal(settings, duel)

    def work() -> int:
        if refusal and not options.read_only:
            raise refusal
        return _export(settings, options, duel, turn_problem)

    code = run_whole(STAGE, directory, options, work, refuses=DOES_NOT_FIT)
    if refusal:
        say(f"      would be refused: {refusal}")
    return code


def _export(settings: Settings, options: RunOptions, duel: dict | None, turn_problem) -> int:
    directory, read_only = settings.root / STAGE, options.read_only
    if not read_only:
        folders.clear_up(directory)
    turns = ExportTurns(settings).collect(options.quiet)
    _leave_out_similar(turns)
    about = Background(settings, duel, Provenance(settings.root), costs_of(settings.root), turns.turns,
                       turns.in_bucket, turns.left_out)
    split_of = splits({turn.repo for turn in turns.turns}, settings.export.validation, settings.export.seed)
    try:
        exports = [Export(FORMATS[name], settings) for name in dict.fromkeys(settings.export.formats)]
        for export in exports:
            export.fill(turns, split_of, turn_problem, write=not read_only)
        force = options.selection.force
        states = [export.state(about) if read_only else export.put(about, force) for export in exports]
        if not read_only:
            write_atomic(directory / LEFT_OUT, turns.left_out.lines())
            folders.clear_up(directory)
    except OSError as e:
        raise disk_trouble(e, e.filename or directory) from e
    if read_only or not options.quiet:
        _print_summary(turns, about, split_of, exports, states)
    return 1 if turns.n_broken and not read_only else 0


def _refusal(settings: Settings, duel: dict | None) -> Trouble | None:
    """Return the error that stops the export, or None.

    A challenger that is not better than the king has won its turns by chance, so they are not
    exported.
    """
    path = str(settings.root / Score.directory / DUEL)
    todo = "To export all the same, with a warning in the cards: --rejected-too, or rejected_too in [export]."
    if settings.export.rejected_too or (duel and duel["accepted"]):
        return None
    if duel is None:
        return Trouble("is not there: nobody has decided the duel.", path, f"Run validate.py and report.py. {todo}")
    return RunStopped(f"says that the duel was not accepted: {'; '.join(duel['reasons'])}. Nothing is exported.", path,
                      todo)


def _leave_out_similar(turns: ExportTurns) -> None:
    """Leave out near-duplicates.

    A turn with a winner is kept before others, then one of the best bucket, then the first.
    """
    own = turns.own
    if not own.duplicate_similarity:
        return
    rank = {cls.directory: i for i, cls in enumerate(BUCKETS)}
    best_first = sorted(turns.turns, key=lambda turn: (not turn.winner, rank[turn.bucket]))

    def conversations():
        for turn in best_first:
            texts = turns.texts(turn)
            yield Conversation(turn.name, turn.instance_id, texts["messages"], texts[turn.winner or "challenger"] or "")

    found = similar_turns(conversations, lambda: read_conversations(own.against), own.duplicate_similarity)
    for one in found:
        turns.left_out.add(one.name, "near-duplicate", f"{one.of} (answers {one.similarity:.2f} alike)")
    turns.keep({turn.name for turn in turns.turns} - {one.name for one in found})


class Export:
    """Make the rows of one format and the folder that holds them."""

    def __init__(self, form: Format, settings: Settings):
        self.form, self.settings = form, settings
        self.place = settings.root / STAGE / form.name
        self.new = settings.root / STAGE / NEW / form.name
        self.contents = Contents(form, dict.fromkeys(SPLITS, 0), dict.fromkeys(SPLITS, 0))
        self.edited: list[str] = []   # changed files of the existing folder

    def fill(self, turns: ExportTurns, split_of: dict[str, str], turn_problem, write: bool) -> None:
        """Make and count every row. With `write` also write the files, to the folder in _tmp/."""
        form, own = self.form, self.settings.export
        for split in SPLITS:
            rows = RowFiles(self.new, split, form.columns, own.shard_rows, form.for_trainers) if write else None
            for turn, side in form.pieces([turn for turn in turns.turns if split_of[turn.repo] == split]):
                row = form.make(turn, side, turns.texts(turn))
                if problem := self._flagged(turn) or row_problem(
                        form, row, turn_problem, own.max_chars, own.dpo_max_length_ratio):
                    turns.left_out.add(turn.name, *problem, format=form.name)
                    continue
                self._count(turn, split, row)
                if rows:
                    rows.add(row)
            if rows:
                rows.close()
                self.contents.n_bytes[split] = rows.n_bytes

    def _flagged(self, turn: ExportTurn) -> tuple[str, str] | None:
        """Return the first flag of a turn that trainers must not see, or None.

        A verdict on an answer that addresses its judge, or shows the hidden PR, is no evidence for
        either side.
        """
        matters = self.form.for_trainers and not self.settings.report.keep_flagged
        return next(iter(turn.flags), None) if matters else None

    def _count(self, turn: ExportTurn, split: str, row: dict) -> None:
        of = self.contents
        of.rows[split] += 1
        of.turns[turn.name], of.split_of[turn.name] = turn, split
        of.rows_of[turn.name] += 1
        conversations = self.form.conversations(row) or [row["messages"]]
        of.lengths.append(max(sum(len(m["content"]) for m in messages) for messages in conversations))
        for column in ("chosen", "rejected"):
            if column in row:
                of.answer_lengths.setdefault(column, []).append(len(row[column][0]["content"]))
        if "label" in row:
            of.labels[str(row["label"]).lower()] += 1

    def inputs(self, about: Background) -> dict:
        """Return the part of the manifest that says which inputs the rows come from."""
        of, own = self.contents, self.settings.export
        return {
            "format": self.form.name, "made_by": f"codedata {codedata.__version__}, duckdb {duckdb.__version__}",
            "buckets": asdict(self.settings.report),
            "settings": {key: value for key, value in asdict(own).items() if key not in NOT_OF_A_ROW},
            **{key: [{"name": public(path), "sha256": folders.sha256(Path(path))} for path in getattr(own, key)]
               for key in COMPARED},
            "duel": about.duel and {"digest": digest(about.duel), **{key: about.duel[key] for key in (
                "accepted", "margin", "lcb")}}, "rows": of.rows,
            "turns": [{"name": turn.name, "bucket": turn.bucket, "instance_id": turn.instance_id, "digest": turn.digest,
                       "commit_digest": turn.commit, "split": of.split_of[turn.name], "rows": of.rows_of[turn.name],
                       "masked": turn.masked} for turn in of.turns.values()]}

    def state(self, about: Background) -> str:
        """Return how the existing folder differs from what a run would make, for --status."""
        if not self.place.exists():
            return "missing"
        self.edited, told = folders.changed_by_hand(self.place), folders.read_manifest(self.place)
        told.pop("files", None)
        state = "rows as they are there" if to_json(told) == to_json(self.inputs(about)) else "rows would change"
        return f"{state}, edited: {named(self.edited)}" if self.edited else state

    def put(self, about: Background, force: bool) -> str:
        """Put the folder in place with its card and manifest. Return what was done."""
        of = self.contents
        self.new.mkdir(parents=True, exist_ok=True)
        pattern = "*.parquet" if self.form.for_trainers else "*.jsonl"
        of.n_file_bytes = sum(path.stat().st_size for path in self.new.rglob(pattern))
        (self.new / CARD).write_text(card(of, about), encoding="utf-8")
        listed = {path: {"sha256": found, "bytes": (self.new / path).stat().st_size}
                  for path, found in folders.digests(self.new).items()}
        (self.new / MANIFEST).write_bytes(to_json({**self.inputs(about), "files": listed}))
        self.edited = folders.changed_by_hand(self.place) if self.place.exists() else []
        same = self.place.is_dir() and folders.read_manifest(self.place) == folders.read_manifest(self.new)
        if same and not force:
            return f"edited: {named(self.edited)} (kept)" if self.edited else "unchanged"
        copy = folders.put_in_place(self.new, self.place, keep_old=bool(self.edited))
        return f"wrote; the edited one is in {STAGE}/_replaced/{copy.name}/" if copy else "wrote"


# the terminal --------------------------------------------------------------------------------------------------------

def _print_summary(turns: ExportTurns, about: Background, split_of: dict[str, str], exports: list[Export],
                     states: list[str]) -> None:
    n_in = ", ".join(f"{cls.directory}/ {turns.in_bucket[cls.directory]:,}" for cls in BUCKETS)
    say(f"{STAGE}  {n_in} → {STAGE}/   {plural(len(turns.turns), 'turn')}")
    for export, state in zip(exports, states, strict=True):
        n = export.contents.rows
        say(f"      {export.form.name:14} {n[TRAIN]:,} + {n[VALIDATION]:,} rows   {state}")
    if left := turns.left_out.counts():
        say(f"      left out: {', '.join(f'{reason} {n:,}' for reason, n in left.most_common())}   {STAGE}/{LEFT_OUT}")
    if masked := sum((Counter(turn.masked) for turn in turns.turns), Counter()):
        say(f"      masked: {', '.join(f'{kind} {n:,}' for kind, n in masked.most_common())}")
    for line in _to_heed(turns, about, split_of, exports):
        say(f"      {line}")


def _to_heed(turns: ExportTurns, about: Background, split_of: dict[str, str], exports: list[Export]) -> Iterator[str]:
    """Yield warnings that a person should read before training on the sets."""
    made = {export.form.name for export in exports}
    if others := [name for name in FORMATS if name not in made and (turns.settings.root / STAGE / name).exists()]:
        yield f"not among the formats, left as they were: {', '.join(others)}"
    if turns.edited:
        yield f"edited by hand, exported as they are: {named(turns.edited)}"
    if turns.left_out.counts()["not up to date"]:
        yield "answers or scores were changed since the buckets were filled: run report.py first"
    if not turns.turns:
        yield "no turn came through: the sets are empty"
    elif turns.own.validation and VALIDATION not in split_of.values():
        yield f"no validation rows: of the repositories ({len(split_of):,}) none falls into it"
    for export in exports:
        if len(export.contents.labels) == 1:
            yield f"{export.form.name}: every label is {next(iter(export.contents.labels))}, and KTO needs both"
    if not (about.duel and about.duel["accepted"]):
        yield "the duel was not accepted, which the cards say"
    if is_noise(about, turns.turns):
        yield NOISE
