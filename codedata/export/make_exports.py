"""Make the training sets in export/: rows of the judged turns, and folders of tasks.

Each format has a folder with its rows or tasks, card and manifest. The folders are made in
export/_tmp/ and put in place one by one.
"""
from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import duckdb

import codedata
from codedata.conversation.turn import plain, turn_text
from codedata.disk.layouts import NEW, list_items, write_atomic
from codedata.disk.ledger import disk_trouble
from codedata.disk.locks import check_directories
from codedata.disk.store import digest
from codedata.errors import Trouble
from codedata.export import folders
from codedata.export.card import Background, Contents, card
from codedata.export.collect import ExportTurn, ExportTurns, LeftOutLog, Problem
from codedata.export.folders import FOLDER
from codedata.export.formats import FORMATS, Format, row_problem
from codedata.export.harbor import harbor_problems, write_harbor
from codedata.export.outcome import duel_refusal, read_duel
from codedata.export.provenance import Provenance
from codedata.export.similar import Conversation, similar_turns
from codedata.export.split import MIN_ROWS, SPLITS, TRAIN, VALIDATION
from codedata.export.task_rows import (
    issue_problems,
    strip_problems,
    write_nl2repo,
    write_swebench,
    write_swesmith,
)
from codedata.export.tasks import (
    TaskExport,
    TaskFormat,
    compared_files,
    kinds_in,
    read_tasks,
)
from codedata.llm.embedded import NOISE
from codedata.records import (
    BUCKETS,
    BUG,
    KINDS,
    PULL_REQUEST,
    STRIPPED_PATCH,
    Task,
    TaskAudit,
)
from codedata.run.cli import RunOptions
from codedata.run.start import check_root, run_whole
from codedata.settings import Settings
from codedata.terminal import named, plural, say

STAGE = "export"
LEFT_OUT = "left_out.jsonl"
NOT_OF_A_ROW = ("decontaminate", "formats", "rejected_too", "harbor_network", "audited_only",
                "tool_calls")
REFUSED_FLAGS = ("only", "limit", "shard", "refresh", "prune", "compact", "budget")


FOREIGN = ""   # the kind of tasks that somebody else made
ISSUES = BUG, PULL_REQUEST   # kinds whose instruction is an issue, and whose gold is a patch
ALL_FORMATS: dict[str, Format | TaskFormat] = {**FORMATS, **{form.name: form for form in (
    TaskFormat("harbor", (FOREIGN, *KINDS), harbor_problems, write_harbor, "harbor_card.md"),
    TaskFormat("swebench", ISSUES, issue_problems, write_swebench, "swebench_card.md"),
    TaskFormat("swesmith", ISSUES, issue_problems, write_swesmith, "swesmith_card.md"),
    TaskFormat("nl2repo", (STRIPPED_PATCH,), strip_problems, write_nl2repo, "nl2repo_card.md"))}}


@dataclass(frozen=True)
class ExportGroup:
    """Hold the exports that are made of the same records."""

    exports: list[Export | TaskExport]
    head: str                          # what was read, in words
    masked: Counter                    # secrets by kind
    n_broken: int
    warnings: Callable[[], Iterable[str]]


def run(settings: Settings, options: RunOptions) -> int:
    """Make the exports, and return the exit code.

    It is 1 if a record is broken, or if some formats were refused while others were made, but for a
    duel that was not accepted. Raise Trouble if the settings are wrong, and the first refusal where
    it concerns all formats.
    """
    root = settings.root
    forms = _chosen(root, settings.export.formats)
    check_directories(root / STAGE / form.name for form in forms)
    of_tasks = [form for form in forms if isinstance(form, TaskFormat)]
    refusal = duel_refusal(settings) if len(of_tasks) < len(forms) else None
    if refusal and not options.read_only:
        if not of_tasks:
            raise refusal
        forms = of_tasks
    code = run_whole(STAGE, root / STAGE, options, lambda: _export(settings, options, forms),
                     refuses=REFUSED_FLAGS)
    if refusal:
        say(f"      {'would be' if options.read_only else 'was'} refused: {refusal}")
        if refusal.exit_code and not options.read_only:
            return 1
    return code


def _chosen(root: Path, names: tuple[str, ...]) -> list[Format | TaskFormat]:
    """Return the formats of these names; without names those for which there are turns or tasks.

    Without any records these are the formats of turns, whose refusal names what is missing.
    """
    if unknown := [name for name in names if name not in ALL_FORMATS]:
        raise Trouble(f"names {', '.join(unknown)}.", "[export] formats",
                      f"Known: {', '.join(ALL_FORMATS)}.")
    check_root(root)
    if names:
        return [ALL_FORMATS[name] for name in dict.fromkeys(names)]
    check_directories(root / cls.directory for cls in (*BUCKETS, Task, TaskAudit))
    has_turns = any(next(list_items(root / cls.directory, []), None)
                    for cls in BUCKETS if (root / cls.directory).is_dir())
    kinds = kinds_in(root)
    forms = [form for form in ALL_FORMATS.values()
             if (has_turns if isinstance(form, Format) else kinds & {*form.kinds})]
    return forms or [*FORMATS.values()]


def _export(settings: Settings, options: RunOptions, forms: list[Format | TaskFormat]) -> int:
    root, read_only = settings.root, options.read_only
    directory = root / STAGE
    if not read_only:
        FOLDER.clear_up(directory)
    left_out = LeftOutLog()
    rows = [form for form in forms if isinstance(form, Format)]
    groups = [_export_turns(settings, options, rows, left_out)] if rows else []
    of_tasks = [form for form in forms if isinstance(form, TaskFormat)]
    groups += [_export_tasks(settings, of_tasks, left_out)] if of_tasks else []
    exports = [export for group in groups for export in group.exports]
    try:
        for export in exports:
            export.fill(write=not read_only)
        states = {export.form.name: folders.state(export) if read_only
                  else folders.put(export, options.selection.force) for export in exports}
        if not read_only:
            write_atomic(directory / LEFT_OUT, left_out.lines())
            FOLDER.clear_up(directory)
    except OSError as e:
        raise disk_trouble(e, e.filename or directory) from e
    if read_only or not options.quiet:
        _print_summary(directory, groups, states, left_out)
        say(f"      next:  read {directory}/*/README.md: how a set is loaded, or its tasks are run")
    return 1 if any(group.n_broken for group in groups) and not read_only else 0


def _export_turns(settings: Settings, options: RunOptions, forms: list[Format],
                   left_out: LeftOutLog) -> ExportGroup:
    root = settings.root
    turns = ExportTurns(root, settings.export, settings.exclude.ids, left_out)
    turns.collect(options.quiet)
    _leave_out_similar(turns)
    about = Background(root / STAGE, settings.export, settings.report, read_duel(root),
                       Provenance(root), turns)
    exports = [Export(form, about) for form in forms]
    n_in = ", ".join(f"{bucket}/ {n:,}" for bucket, n in turns.in_bucket.items())
    return ExportGroup(exports, f"{n_in} → {STAGE}/   {plural(len(turns.turns), 'turn')}",
                about.masked(), turns.n_broken, lambda: _warnings(about, exports))


def _export_tasks(settings: Settings, forms: list[TaskFormat], left_out: LeftOutLog) -> ExportGroup:
    tasks = read_tasks(settings)
    exports = [TaskExport(form, settings.export, tasks, left_out) for form in forms]
    names = {task.instance_id for export in exports for task in export.tasks}
    masked = sum((tasks.masked[name] for name in names), Counter())
    return ExportGroup(exports, f"{Task.directory}/ {len(tasks.kinds):,} → {STAGE}/   "
                f"{plural(len(names), 'task')}", masked, len(tasks.broken), lambda: ())


def _leave_out_similar(turns: ExportTurns) -> None:
    """Leave out near-duplicates.

    Of turns that are alike, one with a winner is exported, else one of the best bucket, else the
    first.
    """
    settings = turns.settings
    if not settings.duplicate_similarity:
        return
    rank = {cls.directory: i for i, cls in enumerate(BUCKETS)}
    best_first = sorted(turns.turns, key=lambda turn: (not turn.winner, rank[turn.bucket]))

    def conversations() -> Iterator[Conversation]:
        for turn in best_first:
            record = turns.record(turn)
            answer = turn_text(getattr(record, turn.winner or "challenger"), record.messages)
            yield Conversation(turn.name, turn.instance_id, plain(record.messages), answer)

    similar = {one.name: one
               for one in similar_turns(conversations, settings.duplicate_similarity)}
    for name, one in similar.items():
        turns.left_out.add(name, "near-duplicate",
                           f"{one.of} (answers {one.similarity:.2f} alike)")
    turns.turns = [turn for turn in turns.turns if turn.name not in similar]


class Export(Contents):
    """Make the rows of one format and the folder that holds them."""

    noun = "rows"

    def __init__(self, form: Format, about: Background):
        super().__init__(form.fitting(about.turns.turns), about)
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
                self._write_parquet(path, sizes)
        if write and not sum(self.n_bytes.values()):   # `datasets` would load the manifest as rows
            self._write_parquet(self.new / f"{TRAIN}.jsonl", [])

    def _write_parquet(self, path: Path, sizes: list[int]) -> None:
        folders.write_parquet(path, sizes, self.form.columns)

    def _make_rows(self, split: str) -> Iterator[dict]:
        """Yield and count the rows of a split, and log those that are left out."""
        turns, split_of = self.about.turns, self.split_of
        in_split = [turn for turn in turns.turns if split_of.get(turn.repo) == split]
        for turn, side in self.form.pieces(in_split):
            row = self.form.make(turn, side, turns.record(turn))
            if problem := self._problem(turn, row):
                turns.left_out.add(turn.name, *problem, format=self.form.name)
            else:
                self.count(turn, row)
                yield row

    def _problem(self, turn: ExportTurn, row: dict) -> Problem | None:
        """Return why a row is left out: the flag of its turn, or what is wrong with it.

        A verdict on an answer that speaks to its judge, or shows the hidden PR, is no evidence for
        either side, so trainers must not see it.
        """
        settings = self.about.settings
        if turn.flag and self.form.for_trainers:
            return turn.flag
        return row_problem(self.form, row, settings.max_chars)

    def inputs(self) -> dict:
        """Return the part of the manifest that says which inputs the rows come from."""
        about, duel = self.about, self.about.duel
        return {
            "format": self.form.name, "rows": self.rows,
            "decontaminate": compared_files(about.settings),
            "made_by": f"codedata {codedata.__version__}, duckdb {duckdb.__version__}",
            "buckets": asdict(about.buckets),
            "settings": {key: value for key, value in asdict(about.settings).items()
                         if key not in NOT_OF_A_ROW},
            **({"tool_calls": "native"} if self.form.has_calls else {}),
            "duel": duel and {"digest": digest(duel.raw), "accepted": duel.accepted,
                              "margin": duel.margin, "lcb": duel.lcb},
            "turns": [{"name": turn.name, "bucket": turn.bucket, "instance_id": turn.instance_id,
                       "digest": turn.digest, "commit_digest": turn.commit,
                       "split": self.split_of[turn.repo], "rows": n_rows,
                       "masked": turn.masked} for turn, n_rows in self.rows_of.items()]}

    def card(self) -> str:
        """Return the text of the card, after fill() has written the files."""
        pattern = "*.parquet" if self.form.for_trainers else "*.jsonl"
        self.n_file_bytes = sum(path.stat().st_size for path in self.new.rglob(pattern))
        return card(self)


# the terminal ------------------------------------------------------------------------------------

def _print_summary(directory: Path, groups: list[ExportGroup], states: dict[str, str],
                   left_out: LeftOutLog) -> None:
    for group in groups:
        say(f"{STAGE}  {group.head}")
        for export in group.exports:
            n, name = export.rows, export.form.name
            say(f"      {name:14} {n[TRAIN]:,} + {n[VALIDATION]:,} {export.noun}   {states[name]}")
            if isinstance(export, Export) and not sum(n.values()):
                say(f"      {'':14} empty: it takes {export.form.takes}. That is no fault.")
    masked = sum((group.masked for group in groups), Counter())
    for label, counts, where in (("left out", left_out.counts(), f"   {STAGE}/{LEFT_OUT}"),
                                 ("masked", masked, "")):
        if counts:
            listed = ", ".join(f"{kind} {n:,}" for kind, n in counts.most_common())
            say(f"      {label}: {listed}{where}")
    if others := [name for name in ALL_FORMATS
                  if name not in states and (directory / name).exists()]:
        say(f"      not among the formats, left as they were: {', '.join(others)}")
    for line in (line for group in groups for line in group.warnings()):
        say(f"      {line}")


def _warnings(about: Background, exports: list[Export]) -> Iterator[str]:
    """Yield warnings that a person should read before training on the sets."""
    turns = about.turns
    unsplit = [export.form.name for export in exports if not export.rows[VALIDATION]]
    if turns.edited:
        yield f"edited by hand, exported as they are: {named(turns.edited)}"
    if turns.left_out.counts()["not up to date"]:
        yield ("answers or scores were changed since the buckets were filled: first run "
               "python report.py")
    if not turns.turns:
        yield "no turn came through: the sets are empty"
    elif about.settings.validation and unsplit:
        yield (f"no validation rows in {', '.join(unsplit)}: a set of fewer than {MIN_ROWS} rows "
               "is not split, nor one whose repositories are all in train")
    for export in exports:
        if len(export.labels) == 1:
            [label] = export.labels
            yield f"{export.form.name}: every label is {label}, and KTO needs both"
    if not (about.duel and about.duel.accepted):
        yield "the duel was not accepted, which the cards say"
    if about.is_noise(turns.turns):
        yield NOISE
