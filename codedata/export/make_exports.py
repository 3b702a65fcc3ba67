"""Make the training sets in export/: rows of judged turns and of whole trajectories, and folders of
tasks.

Each format has a folder with its rows or tasks, card and manifest. The folders are made in
export/_tmp/ and put in place one by one.
"""
from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from codedata.disk.layouts import clear_up, list_items, write_atomic
from codedata.disk.ledger import disk_trouble
from codedata.disk.locks import check_directories
from codedata.errors import Trouble
from codedata.export.collect import ExportRules, ExportTurns, LeftOutLog, leave_out_similar
from codedata.export.exports import TRAIN, VALIDATION, Export
from codedata.export.formats import FORMATS, WHOLE, Format
from codedata.export.provenance import Provenance
from codedata.export.task_sets.harbor import (
    harbor_problems,
    verifiers_problems,
    write_harbor,
    write_verifiers,
)
from codedata.export.task_sets.task_exports import (
    HARBOR,
    VERIFIERS,
    TaskFormat,
    kinds_in,
    read_tasks,
)
from codedata.export.task_sets.task_rows import (
    issue_problems,
    strip_problems,
    write_nl2repo,
    write_swebench,
    write_swesmith,
)
from codedata.export.turn_origins import TurnOrigins, duel_refusal, read_duel
from codedata.export.whole_trajectories import KEPT_SETTINGS, RowReader, read_trajectories
from codedata.records import BUCKETS, BUG, KINDS, PULL_REQUEST, STRIPPED_PATCH, Task, TaskAudit
from codedata.run.cli import RunOptions
from codedata.run.start import check_root, whole_run
from codedata.settings import ExportSettings, ReportSettings
from codedata.terminal import say

STAGE = "export"
LEFT_OUT = "left_out.jsonl"
REFUSED_FLAGS = ("only", "limit", "shard", "refresh", "prune", "compact", "budget",
                 "budget_run")

FOREIGN = ""   # the kind of imported tasks
ISSUES = BUG, PULL_REQUEST   # kinds whose instruction is an issue, and whose gold is a patch
ALL_FORMATS: dict[str, Format | TaskFormat] = {**FORMATS, **WHOLE, **{form.name: form for form in (
    TaskFormat(HARBOR, (FOREIGN, *KINDS), harbor_problems, write_harbor, "harbor"),
    TaskFormat(VERIFIERS, (FOREIGN, *KINDS), verifiers_problems, write_verifiers, "verifiers"),
    TaskFormat("swebench", ISSUES, issue_problems, write_swebench, "swe-bench"),
    TaskFormat("swesmith", ISSUES, issue_problems, write_swesmith, "swe-smith"),
    TaskFormat("nl2repo", (STRIPPED_PATCH,), strip_problems, write_nl2repo, "documentation"))}}


def run(settings: ExportSettings, buckets: ReportSettings, excluded_ids: Sequence[str],
        read_row: RowReader, options: RunOptions) -> int:
    """Make the exports, and return the exit code. `buckets` are the settings of report.py,
    `read_row` reads the row that a record of prompt/_trajectories/ names.

    Return 1 if a record is broken, or if some formats were refused and others made (a duel that was
    not accepted does not count). Raise Trouble if the settings are wrong, and raise the first
    refusal if it concerns all formats.
    """
    root = options.root
    forms = _chosen(root, settings.formats)
    check_directories([root / STAGE / form.name for form in forms])
    of_tasks = [form for form in forms if isinstance(form, TaskFormat)]
    of_turns = [form for form in forms if isinstance(form, Format) and not form.whole]
    of_whole = [form for form in forms if isinstance(form, Format) and form.whole]
    refusal = duel_refusal(root, settings.rejected_too) if of_turns else None
    if refusal and not options.read_only:
        if not of_tasks + of_whole:
            raise refusal
        of_turns = []

    code, groups, left_out = 0, [], LeftOutLog()
    rules = ExportRules(excluded_ids, settings.licences, settings.decontaminate)
    with whole_run(STAGE, root / STAGE, options, refuses=REFUSED_FLAGS) as is_wanted:
        if is_wanted:
            if of_turns:
                turns = ExportTurns(root, settings, rules, left_out).collect(options.quiet)
                if settings.duplicate_similarity:
                    leave_out_similar(turns, settings.duplicate_similarity)
                origins = TurnOrigins(root / STAGE, settings, buckets, turns, read_duel(root),
                                      Provenance(root))
                fitting = [form.fitting(turns.turns) for form in of_turns]
                groups.append([Export(form, form.choose(turns), origins) for form in fitting])
            if of_whole:
                turns = read_trajectories(root, settings, rules, left_out, read_row,
                                          [form.name for form in of_whole])
                origins = TurnOrigins(root / STAGE, settings, buckets, turns, None,
                                      Provenance(root), KEPT_SETTINGS, "trajectory_card.md")
                groups.append([Export(form, form.choose(turns), origins) for form in of_whole])
            if of_tasks:
                tasks = read_tasks(root, settings, rules, left_out)
                groups.append([Export(form, form.choose(tasks), tasks) for form in of_tasks])
            code = _make(groups, left_out, root / STAGE, options)
    if refusal:
        say(f"      {'would be' if options.read_only else 'was'} refused: {refusal}")
        if refusal.exit_code and not options.read_only:
            return 1
    return code


def _chosen(root: Path, names: tuple[str, ...]) -> list[Format | TaskFormat]:
    """Return the formats with these names; without names, the formats with any turns or tasks.

    Without any records, return the formats of turns: their refusal names the missing records.
    """
    if unknown := [name for name in names if name not in ALL_FORMATS]:
        raise Trouble(f"names {', '.join(unknown)}.", "[export] formats",
                      f"Known: {', '.join(ALL_FORMATS)}.")
    check_root(root)
    if names:
        return [ALL_FORMATS[name] for name in dict.fromkeys(names)]
    check_directories([root / cls.directory for cls in (*BUCKETS, Task, TaskAudit)])
    has_turns = any(next(list_items(root / cls.directory, []), None)
                    for cls in BUCKETS if (root / cls.directory).is_dir())
    kinds = kinds_in(root)
    forms = [form for name, form in ALL_FORMATS.items() if name not in (*WHOLE, VERIFIERS)
             and (has_turns if isinstance(form, Format) else kinds & {*form.kinds})]
    return forms or [*FORMATS.values()]


def _make(groups: list[list[Export]], left_out: LeftOutLog, directory: Path,
          options: RunOptions) -> int:
    """Write the exports, unless the run is read-only, and print the results. Return 1 if a record
    is broken."""
    exports = [export for group in groups for export in group]
    try:
        if options.read_only:
            states = {export.form.name: export.state() for export in exports}
        else:
            for export in exports:
                export.write()
            states = {export.form.name: export.put(options.selection.force) for export in exports}
            write_atomic(directory / LEFT_OUT, left_out.lines())
            clear_up(directory)
    except OSError as e:
        raise disk_trouble(e, e.filename or directory) from e
    with options.unless_quiet():
        _print_summary(directory, groups, states, left_out)
        say(f"      next:  read {directory}/*/README.md: how a set is loaded, or its tasks are run")
    is_broken = any(export.origins.n_broken for export in exports)
    return 1 if is_broken and not options.read_only else 0


def _print_summary(directory: Path, groups: list[list[Export]], states: dict[str, str],
                   left_out: LeftOutLog) -> None:
    all_masked = Counter()
    all_warnings = []
    for group in groups:
        head, masked, warnings = group[0].origins.summary(group)
        all_masked.update(masked)
        all_warnings += warnings
        say(f"{STAGE}  {head}")
        for export in group:
            form, n = export.form, export.n_rows
            say(f"      {form.name:14} {n[TRAIN]:,} + {n[VALIDATION]:,} {export.origins.noun}   "
                f"{states[form.name]}")
            if isinstance(form, Format) and not export.rows:
                say(f"      {'':14} empty: it takes {form.takes}. That is no fault.")
    for label, counts, where in (("left out", left_out.counts(), f"   {STAGE}/{LEFT_OUT}"),
                                 ("masked", all_masked, "")):
        if counts:
            listed = ", ".join(f"{kind} {n:,}" for kind, n in counts.most_common())
            say(f"      {label}: {listed}{where}")
    if others := [name for name in ALL_FORMATS
                  if name not in states and (directory / name).exists()]:
        say(f"      not among the formats, left as they were: {', '.join(others)}")
    for line in all_warnings:
        say(f"      {line}")
