"""Fill prompt/ and commit/: draw prompts, fetch the records of their PRs, write files of at most
200 prompts.

Files that a person edited are kept. A deleted file is drawn again from its first cursor, and a
larger `count` adds files after the last one. Prompts that are left out are counted by reason; each
oversized PR gets a ledger line of its own, which report.py lists.
"""
from __future__ import annotations

import re
import threading
from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from itertools import islice

from codedata.checks.contamination import Benchmarks, of_turn
from codedata.cli import RunOptions
from codedata.errors import Interrupted, Trouble
from codedata.leak.facts import shown_share
from codedata.progress import named, plural, say
from codedata.records import Commit, Prompt, parse
from codedata.run_loop import run_whole, signals
from codedata.sampling.draw import Cursor, Drawn, Seen, draw
from codedata.sampling.pull_requests import fetch_prs
from codedata.sampling.trajectories import open_source
from codedata.settings import PromptSettings, Settings
from codedata.store import Lists, Store, digest
from codedata.texts import natural

STAGE = "prompt"
PER_FILE = 200
START: Cursor = (0, 0, -1)
OWN_NAME = re.compile(r"prompts_\d+_\d+")


@dataclass(frozen=True)
class File:
    """Describe a prompt file to write: its stem, number of prompts and start cursor."""

    stem: str
    n: int
    after: Cursor


@dataclass
class SamplingPlan:
    """Describe the state of prompt/ and the files and PR records that are still to be made."""

    done: list[str] = field(default_factory=list)
    edited: list[str] = field(default_factory=list)
    adopted: list[str] = field(default_factory=list)   # files without a ledger line
    n_files: int = 0       # files that prompt.py wrote, deleted ones included
    n_sampled: int = 0     # prompts that prompt.py drew into its files
    other_settings: int = 0
    exhausted: bool = False                            # the source has no more prompts
    todo: list[File] = field(default_factory=list)     # in the order of drawing
    commits: list[str] = field(default_factory=list)   # instance ids whose PR record is missing

    @property
    def n_wanted(self) -> int:
        """Return the number of prompts to draw."""
        return sum(file.n for file in self.todo)

    @property
    def mixes(self) -> bool:
        """Return whether prompts are to be added while all files have other settings."""
        return bool(self.todo) and 0 < self.other_settings == self.n_files

    def line(self, own: PromptSettings, n_there: int) -> str:
        """Return the status line for the terminal; `n_there` is the number of prompts on disk."""
        parts = [f"done {plural(len(self.done), 'file')}"] if self.done else []
        parts += [f"adopted {len(self.adopted)}"] if self.adopted else []
        parts += [f"edited {len(self.edited)} (kept): {named(self.edited)}"] if self.edited else []
        parts += [f"made with other settings {self.other_settings}"] if self.other_settings else []
        parts += ["the source has no more"] if self.exhausted else []
        to_do = [f"{plural(self.n_wanted, 'prompt')} in {plural(len(self.todo), 'file')}"] * bool(self.todo)
        to_do += [plural(len(self.commits), "PR record")] * bool(self.commits)
        return (f"{STAGE}  {own.source} → prompt/   {n_there:,} of {own.count:,} prompts   "
                f"{', '.join(parts) or 'nothing there'}   {'to do ' + ', '.join(to_do) if to_do else 'nothing to do'}")


class PromptSampler:
    """Manage prompt/ and commit/ under a root: plan() compares them with `count`, make() draws what
    is missing.
    """

    def __init__(self, settings: Settings):
        self.settings, self.own = settings, settings.prompt
        self.lists, self.commits = Lists(settings.root, Prompt), Store(settings.root, Commit)
        drawn_by = {key: value for key, value in asdict(self.own).items() if not (
            key in ("count", "rows_url", "hub_url") or (key == "decontaminate" and not value)
            or (key == "max_shown_share" and value == 1.0))}
        self.identity = digest(drawn_by)
        self.skipped: Counter[str] = Counter()
        self.benchmarks: Benchmarks | None = None   # loaded once there is something to draw
        self.n_told = 0   # number of the source's notes that were printed

    def plan(self, only=lambda stem: True, force: bool = False, refresh: bool = False,
             limit: int | None = None) -> SamplingPlan:
        """Return the files that exist and those to draw.

        Deleted ones are drawn from their first cursor, new ones after the last one.
        """
        book = self.lists.open().ledger
        self.commits.open()
        written = {stem: detail for by, stem in book.succeeded if by == STAGE and "to" in (
            detail := book.details.get((STAGE, stem), {}))}
        plan, last = SamplingPlan(), START
        stems = set(self.lists.stems())
        for stem in sorted({*written, *filter(OWN_NAME.fullmatch, stems)}, key=natural):
            if stem not in written and stem in self.lists.broken_stems:
                plan.edited.append(stem)
                continue
            if stem not in written:
                plan.adopted.append(stem)
                plan.n_sampled += len(self.lists.names_in(stem))
                continue
            detail, made = written[stem], book.succeeded[STAGE, stem]
            is_there, same = stem in stems, made.settings == self.identity
            plan.n_sampled += detail["n"]
            plan.n_files += 1
            plan.other_settings += not same
            if same:
                last = max(last, tuple(detail["to"]))
                plan.exhausted |= bool(detail.get("exhausted"))
            if only(stem) and (not is_there or force or (refresh and not same)):
                plan.todo.append(File(stem, detail["n"], tuple(detail["from"]) if same else START))
            elif is_there and self.lists.is_edited(stem):
                plan.edited.append(stem)
            elif is_there:
                plan.done.append(stem)
        missing = 0 if plan.exhausted else self.own.count - plan.n_sampled
        missing, k = min(missing, limit or missing), 0
        while missing > 0:
            k += 1
            stem = f"prompts_{self.own.count}_{k}"
            if stem not in written and stem not in stems:
                if only(stem):
                    plan.todo.append(File(stem, min(PER_FILE, missing), last))
                missing -= PER_FILE
        sampled = {self.lists.facts(name).instance_id for name in self.lists.names()}
        looked_up = set() if force or refresh else {i for by, i in book.details if by == STAGE}
        plan.commits = sorted(i for i in sampled if i not in self.commits and i not in looked_up)
        return plan

    def make(self, plan: SamplingPlan, http) -> int:
        """Write the files and PR records of the plan; return the number of prompts written."""
        source = open_source(self.own.source, http, split=self.own.split, config=self.own.config,
                             token=self.settings.hf_token, rows_url=self.own.rows_url,
                             hub_url=self.own.hub_url) if plan.todo else None
        if plan.todo and self.own.decontaminate:
            self.benchmarks = Benchmarks.load(self.own.decontaminate)
        n_written = 0
        for stem in plan.adopted:
            self._adopt(stem)
        self._restore(plan.commits, http)
        todo = list(plan.todo)
        while todo:   # new files share one start cursor: they are drawn together, with one PR query
            first, seen = todo[0], self._seen(without={file.stem for file in todo})
            together = [file for file in todo if file.after == first.after]
            todo = [file for file in todo if file.after != first.after]
            accepted = self._accepted(source, seen, first.after, sum(file.n for file in together), http)
            after = first.after
            for file in together:
                chunk = list(islice(accepted, file.n))
                if not chunk:
                    break
                n_written += len(chunk)
                self._write(file, after, chunk, source)
                after = chunk[-1].cursor
        return n_written

    def _seen(self, without: set[str]) -> Seen:
        """Return the prompts sampled so far, except those of the files `without`.

        These files are drawn again and must get the same prompts.
        """
        seen = Seen(0 if self.own.turns == "all" else self.own.max_per_instance)
        for name in self.lists.names():
            if self.lists.stem_of(name) not in without:
                seen.add(self.lists.read(name))
        return seen

    def _accepted(self, source, seen: Seen, after: Cursor, wanted: int, http):
        """Yield up to `wanted` prompts that their PR does not rule out, in drawing order.

        They are fewer if the source ends.
        """
        stream = draw(source, self.own, self.settings.exclude, seen, self.skipped, after)
        while wanted > 0:
            batch = []
            for drawn in islice(stream, wanted + wanted // 10 + 20):   # spares: some will be rejected
                if http.stop.is_set():
                    raise Interrupted()
                batch.append(drawn)
                for note in source.notes[self.n_told:]:   # such as the switch to Parquet: printed at once
                    say(f"{STAGE}  {note}")
                self.n_told = len(source.notes)
            if not batch:
                return
            records, problems = fetch_prs(self.own.prs, {d.prompt.instance_id for d in batch}, http,
                                          token=self.settings.hf_token, hub_url=self.own.hub_url)
            for drawn in batch:
                if http.stop.is_set():
                    raise Interrupted()
                if wanted > 0 and (prompt := self._with_pr(drawn.prompt, records, problems)):
                    yield Drawn(prompt, drawn.cursor)
                    wanted -= 1

    def _with_pr(self, prompt: Prompt, records: dict, problems: dict) -> Prompt | None:
        """Return the prompt with its PR's language and save the PR record.

        Return None if the PR rules the prompt out.
        """
        instance_id, limit = prompt.instance_id, self.settings.exclude.max_patch_chars
        if instance_id not in records:
            self._note(instance_id, f"no PR record: {problems.get(instance_id, f'not in {self.own.prs}')}")
            reason = "unusable PR record" if instance_id in problems else "no PR record"
            if self._is_in_a_benchmark(prompt, None):
                return None
            self.skipped[f"{reason}, kept for the king alone" if self.own.keep_unmatched else reason] += 1
            return replace(prompt, language="unknown") if self.own.keep_unmatched else None
        record = parse(Commit, records[instance_id], f"{self.own.prs} {instance_id}")
        if limit and len(record.patch) > limit:
            self.skipped["oversized PR"] += 1
            self._note(instance_id, "oversized PR", repo=record.repo, language=record.language,
                       patch_chars=len(record.patch), n_files=len(record.files), created_at=record.created_at)
            return None
        if self.own.max_shown_share < 1.0 and shown_share(prompt.messages, record) > self.own.max_shown_share:
            self.skipped["too much of the patch was shown"] += 1
            return None
        if self._is_in_a_benchmark(prompt, record):
            return None
        self._put(record)
        return replace(prompt, repo=prompt.repo or record.repo, language=record.language)

    def _is_in_a_benchmark(self, prompt: Prompt, record: Commit | None) -> bool:
        """Return whether prompt or PR overlap with a benchmark; note the hits in the ledger."""
        if not self.benchmarks:
            return False
        texts = {name: getattr(record, name) for name in ("issue", "patch", "test_patch")} if record else {}
        hits = self.benchmarks.hits(of_turn(prompt, prompt.repo or (record.repo if record else ""),
                                            record.base_commit if record else "", **texts))
        if hits:
            self.skipped["in a benchmark"] += 1
            self._note(prompt.instance_id, "in a benchmark", hits=[*map(str, hits)])
        return bool(hits)

    def _put(self, record: Commit) -> None:
        """Save the PR record unless one exists, as a person may have corrected that one."""
        if record.instance_id not in self.commits:
            known, _ = self.commits.put(record.instance_id, record, owned=tuple(asdict(record)))
            self.commits.note(record.instance_id, stage=STAGE, state="done", instance_id=record.instance_id,
                              wrote=known.digests, size=known.size, mtime_ns=known.mtime_ns)

    def _restore(self, instance_ids: list[str], http) -> None:
        """Fetch the missing PR records of existing prompts, including hand-written prompts."""
        records, problems = fetch_prs(self.own.prs, instance_ids, http, token=self.settings.hf_token,
                                      hub_url=self.own.hub_url) if instance_ids else ({}, {})
        for instance_id in instance_ids:
            if instance_id in records:
                self._put(parse(Commit, records[instance_id], f"{self.own.prs} {instance_id}"))
            else:
                why = problems.get(instance_id, f"not in {self.own.prs}")
                self._note(instance_id, f"no PR record: {why}")
                say(f"{STAGE}  {instance_id} has no PR record ({why})")

    def _adopt(self, stem: str) -> None:
        """Write a ledger line for a file that has none.

        Its last cursor is unknown, so later draws skip its prompts as duplicates.
        """
        self.lists.adopt(stem, stage=STAGE, state="adopted", settings=self.identity, detail={
            "n": len(self.lists.names_in(stem)), "from": START, "to": START, "source": self.own.source,
            "seed": self.own.seed})

    def _note(self, instance_id: str, rule: str, **detail) -> None:
        if (STAGE, instance_id) not in self.lists.ledger.details:
            self.lists.note(instance_id, stage=STAGE, state="excluded",
                                     instance_id=instance_id, detail={"rule": rule, **detail})

    def _write(self, file: File, after: Cursor, chunk: list[Drawn], source) -> None:
        if file.stem in self.lists.stems():
            self.lists.set_aside(file.stem)
        self.lists.put_file(file.stem, [replace(drawn.prompt, order=i) for i, drawn in enumerate(chunk, 1)],
                       stage=STAGE, state="done", settings=self.identity, detail={
                           "n": len(chunk), "from": after, "to": chunk[-1].cursor, "source": source.name,
                           "seed": self.own.seed, "exhausted": len(chunk) < file.n, "notes": source.notes,
                           "skipped": dict(self.skipped)})


def run(prompts: PromptSampler, options: RunOptions, models) -> int:
    """Run prompt.py and return its exit code. --limit counts prompts, --only matches file names."""
    lists, commits = prompts.lists.into, prompts.settings.root / Commit.directory
    return run_whole(STAGE, lists, options, lambda: _sample(prompts, options, models),
                     refuses=("prune", "shard"), ledgers=[lists, commits])


def _sample(prompts: PromptSampler, options: RunOptions, models) -> int:
    selection = options.selection
    plan = prompts.plan(lambda stem: selection.matches(stem), selection.force, selection.refresh, selection.limit)
    broken = prompts.lists.broken + prompts.commits.broken
    for e in broken:
        say(f"prompt.py: {e}")
    if not options.quiet or options.read_only:
        say(plan.line(prompts.own, len(prompts.lists.names())))
    if options.read_only:
        return 0
    if plan.mixes and not ("source" in dict(options.given) or selection.refresh or selection.force):
        raise Trouble("holds prompts that were drawn with other settings (source, seed, …); "
                      f"{plan.n_wanted:,} more would come from these.", str(prompts.lists.into),
                      "Give the settings they were drawn with (chain.toml in the root is a good place), another "
                      "--root, or --source to mix on purpose.")
    interrupted = threading.Event()

    def interrupt() -> None:
        interrupted.set()
        models.stop.set()

    try:
        with signals(STAGE, interrupt):
            n_written = prompts.make(plan, models.http)
    except Interrupted:
        say(f"{STAGE}  stopped; whole files are kept\n      again: {options.command('prompt.py', same=True)}")
        return 130
    if not options.quiet:
        _print_summary(prompts, plan, n_written, options)
    if interrupted.is_set():
        return 130
    if plan.todo and not n_written and prompts.skipped["no PR record"]:
        say(f"{STAGE}.py: no row has a PR record in {prompts.own.prs}.\n  Check --prs, or keep such prompts "
            "(for king.py alone): --keep-unmatched")
        return 1
    return 1 if broken else 0


def _print_summary(prompts: PromptSampler, plan: SamplingPlan, n_written: int, options: RunOptions) -> None:
    if plan.todo:
        fewer = f", {plan.n_wanted - n_written:,} fewer than asked for: the source has no more that fit"
        say(f"{STAGE}  wrote {plural(n_written, 'prompt')}{fewer if n_written < plan.n_wanted else ''}")
    for reason, n in prompts.skipped.most_common():
        say(f"      left out: {n:,} ({reason})".replace("left out", "kept" if "kept" in reason else "left out"))
    if n_written:
        say(f"      next:  {options.command('king.py')}")
