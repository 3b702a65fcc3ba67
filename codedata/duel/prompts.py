"""Fill prompt/ and commit/: draw prompts, look up their PRs, write files of at most 200.

Files that a person edited stay; a file that is gone is made again from where it began; a larger count goes on behind
the last file. What is left out is counted by reason, oversized PRs are noted one by one for report.py.
"""
from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, replace
from fnmatch import fnmatchcase
from itertools import islice

from codedata import stage
from codedata.config import PromptSettings, Settings
from codedata.duel.prs import fetch_prs
from codedata.duel.sample import Cursor, Drawn, Seen, draw
from codedata.duel.sources import open_source
from codedata.errors import Trouble
from codedata.progress import named, say
from codedata.records import Commit, Prompt, parse
from codedata.store import Lists, Store, digest, natural

STAGE = "prompt"
PER_FILE = 200
START: Cursor = (0, 0, -1)


@dataclass(frozen=True)
class File:
    """One prompt file to make: its name, how many prompts, and behind which cursor to draw them."""

    stem: str
    n: int
    after: Cursor


@dataclass
class Plan:
    done: list[str]
    edited: list[str]
    n_there: int           # prompts in files that prompt.py wrote
    other_settings: int
    todo: list[File]       # in the order of drawing
    exhausted: bool        # the source has no more for these settings

    def line(self, own: PromptSettings) -> str:
        parts = [f"done {_files(len(self.done))}"] if self.done else []
        parts += [f"edited {len(self.edited)} (kept): {named(self.edited)}"] if self.edited else []
        parts += [f"made with other settings {self.other_settings}"] if self.other_settings else []
        parts += ["the source has no more"] if self.exhausted else []
        to_do = f"to do {sum(f.n for f in self.todo):,} prompts in {_files(len(self.todo))}"
        return (f"{STAGE}  {own.source} → prompt/   {self.n_there:,} of {own.count:,} prompts   "
                f"{', '.join(parts) or 'nothing there'}   {to_do if self.todo else 'nothing to do'}")


class Prompts:
    """The state of prompt/ and commit/ under a root, and make() to bring it to `count`."""

    def __init__(self, settings: Settings):
        self.settings, self.own = settings, settings.prompt
        self.lists, self.commits = Lists(settings.root, Prompt), Store(settings.root, Commit)
        drawn_by = {k: v for k, v in asdict(self.own).items() if k not in ("count", "rows_url", "hub_url")}
        self.identity = digest({**drawn_by, "exclude": asdict(settings.exclude)})
        self.skipped: Counter[str] = Counter()

    def plan(self, only=lambda stem: True, force: bool = False, refresh: bool = False) -> Plan:
        book, count = self.lists.open().ledger, self.own.count
        self.commits.open()
        written = {stem: book.details[STAGE, stem] for by, stem in book.made if by == STAGE}
        plan = Plan([], [], 0, 0, [], False)
        last: Cursor = START
        for stem in sorted(written, key=natural):
            detail, made, stat = written[stem], book.made[STAGE, stem], self.lists.stats.get(stem)
            same, known = made.settings == self.identity, book.known[stem]
            plan.n_there += detail["n"]
            plan.other_settings += not same
            if same:
                last = max(last, tuple(detail["to"]))
                plan.exhausted |= bool(detail.get("exhausted"))
            again = force or (refresh and not same)
            if stat is None or (again and only(stem)):
                after = tuple(detail["from"]) if same else START
                plan.todo.append(File(stem, detail["n"], after))
            elif (stat.st_size, stat.st_mtime_ns) != (known.size, known.mtime_ns) and self.lists.edited(stem):
                plan.edited.append(stem)
            else:
                plan.done.append(stem)
        taken = {*written, *self.lists.stats}
        missing, k = 0 if plan.exhausted else count - plan.n_there, 0
        while missing > 0:
            k += 1
            stem = f"prompts_{count}_{k}"
            if stem not in taken:
                if only(stem):
                    plan.todo.append(File(stem, min(PER_FILE, missing), last))
                missing -= PER_FILE
        return plan

    def make(self, plan: Plan, http) -> int:
        """Draw and write what the plan lacks; returns the number of prompts written."""
        source = open_source(self.own.source, http, split=self.own.split, config=self.own.config,
                             token=self.settings.hf_token, rows_url=self.own.rows_url, hub_url=self.own.hub_url)
        seen = Seen(0 if self.own.turns == "all" else self.own.max_per_instance)
        redone = {file.stem for file in plan.todo}
        for name in self.lists.names():
            if self.lists.stem_of(name) not in redone:
                seen.add(self.lists.read(name))
        n_written, n_notes = 0, 0
        todo = list(plan.todo)
        while todo:   # files that follow one another are drawn in one go, with one look-up of their PRs
            first = todo[0]
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
            for note in source.notes[n_notes:]:
                say(f"{STAGE}  {note}")
            n_notes = len(source.notes)
        return n_written

    def _accepted(self, source, seen: Seen, after: Cursor, wanted: int, http):
        """Prompts whose PR allows them, in drawing order, until `wanted` are given or the source has no more."""
        stream = draw(source, self.own, self.settings.exclude, seen, self.skipped, after)
        while wanted > 0:
            batch = list(islice(stream, wanted + wanted // 10 + 20))   # a few more: some will be left out
            if not batch:
                return
            records, problems = fetch_prs(self.own.prs, {d.prompt.instance_id for d in batch}, http,
                                          token=self.settings.hf_token, hub_url=self.own.hub_url)
            for drawn in batch:
                if wanted > 0 and (prompt := self._with_pr(drawn.prompt, records, problems)):
                    yield Drawn(prompt, drawn.cursor)
                    wanted -= 1

    def _with_pr(self, prompt: Prompt, records: dict, problems: dict) -> Prompt | None:
        """The prompt with its PR's language, the PR record put in place; None where the PR rules it out."""
        instance_id, limit = prompt.instance_id, self.settings.exclude.max_patch_chars
        if instance_id not in records:
            self.skipped["unusable PR record" if instance_id in problems else "no PR record"] += 1
            if (STAGE, instance_id) not in self.lists.ledger.details:
                why = problems.get(instance_id, f"not in {self.own.prs}")
                self._note(instance_id, f"no PR record: {why}")
            return replace(prompt, language="unknown") if self.own.keep_unmatched else None
        record = parse(Commit, records[instance_id], f"{self.own.prs} {instance_id}")
        if limit and len(record.patch) > limit:
            self.skipped["oversized PR"] += 1
            self._note(instance_id, "oversized PR", repo=record.repo, language=record.language,
                       patch_chars=len(record.patch), n_files=len(record.files), created_at=record.created_at)
            return None
        if instance_id not in self.commits:
            known, _ = self.commits.put(instance_id, record, own=tuple(asdict(record)))
            self.commits.ledger(instance_id).append(
                stage=STAGE, item=instance_id, state="done", instance_id=instance_id, wrote=known.digests,
                size=known.size, mtime_ns=known.mtime_ns)
        return replace(prompt, repo=prompt.repo or record.repo, language=record.language)

    def _note(self, instance_id: str, rule: str, **detail) -> None:
        if (STAGE, instance_id) not in self.lists.ledger.details:
            self.lists.ledger.append(stage=STAGE, item=instance_id, state="excluded", instance_id=instance_id,
                                     detail={"rule": rule, **detail})

    def _write(self, file: File, after: Cursor, chunk: list[Drawn], source) -> None:
        if file.stem in self.lists.stats:
            self.lists.set_aside(file.stem)
        self.lists.put(file.stem, [replace(drawn.prompt, order=i) for i, drawn in enumerate(chunk, 1)],
                       stage=STAGE, state="done", settings=self.identity, detail={
                           "n": len(chunk), "from": after, "to": chunk[-1].cursor, "source": source.name,
                           "seed": self.own.seed, "exhausted": len(chunk) < file.n, "notes": source.notes,
                           "skipped": dict(self.skipped)})


def _files(n: int) -> str:
    return f"{n} file{'s' * (n != 1)}"


def run(prompts: Prompts, args, models) -> int:
    """prompt.py: plan, draw, summary, exit code. An item is a file of up to 200 prompts."""
    if args.shard:
        raise Trouble("prompt.py is one process: a sample is one sequence.", todo="Leave --shard to the later stages.")
    held = None if args.status or args.dry_run else stage.hold(STAGE, prompts.lists.directory, None)
    try:
        if args.compact:
            return stage.compact(STAGE, [prompts.lists.open().ledger])
        plan = prompts.plan(lambda stem: not args.only or fnmatchcase(stem, args.only), args.force, args.refresh)
        broken = prompts.lists.broken + prompts.commits.broken
        for e in broken:
            say(f"prompt.py: {e}")
        plan.todo = plan.todo[:args.limit]
        if not args.quiet:
            say(plan.line(prompts.own))
        if args.status or args.dry_run or not plan.todo:
            if not (args.status or args.dry_run or args.quiet):
                say(f"      next: {stage.again(args, 'king.py')}")
            return 1 if broken and not args.status else 0
        with stage.signals(STAGE, models.stop.set):
            n_written = prompts.make(plan, models.http)
        wanted = sum(file.n for file in plan.todo)
        if not args.quiet:
            fewer = f", {wanted - n_written:,} fewer than asked for: the source has no more that fit"
            say(f"{STAGE}  wrote {n_written:,} prompts{fewer if n_written < wanted else ''}")
            for reason, n in prompts.skipped.most_common():
                say(f"      left out: {n:,} ({reason})")
            say(f"      next: {stage.again(args, 'king.py')}")
        return 1 if broken else 0
    finally:
        if held:
            held.close()
