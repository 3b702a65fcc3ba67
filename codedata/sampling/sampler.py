"""Fill prompt/ and commit/: draw prompts, fetch the records of their PRs, write files of at most
200 prompts.

Files that a user edited are kept. A deleted file is drawn again from its first cursor, and a larger
`count` adds files after the last one. Prompts that are left out are counted by reason; each
oversized PR gets its own ledger line, which report.py lists.
"""
from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from itertools import count, filterfalse, islice

from codedata.checks.contamination import Benchmarks, of_turn
from codedata.disk.store import Lists, Store, digest
from codedata.errors import Interrupted, Trouble
from codedata.leak.leaked_facts import has_fix_begun, shown_share
from codedata.llm import Models
from codedata.records import Commit, Prompt, parse
from codedata.run.cli import RunOptions
from codedata.run.signals import signals
from codedata.run.start import whole_run
from codedata.run.states import Selection
from codedata.sampling.draw import DUPLICATE, Choice, Cursor, Drawn, Seen, draw, prompt_problem
from codedata.sampling.pull_requests import fetch_prs
from codedata.sampling.refusals import EXCLUDED
from codedata.sampling.session_folders import print_table
from codedata.sampling.trajectories import Hub, Trajectories, attempt_names, hub_of, open_source
from codedata.settings import ATTEMPTS, MAX_PATCH_CHARS, Settings
from codedata.terminal import named, plural, say
from codedata.texts import natural

STAGE = "prompt"
PER_FILE = 200
START: Cursor = (0, 0, -1)
FILE_NAME = re.compile(r"prompts_\d+_\d+")
# settings left out of the ledger's digest; settings in NO_IDENTITY_IF, only with this value
NO_IDENTITY = ("count", "hub_url")
SHOWN, BEGUN = "the code that the PR changes was shown", "the agent has begun the fix"
# reasons that apply to all turns of a trajectory
OF_PR = (EXCLUDED, "PR sampled already", "oversized PR", "in a benchmark")
NO_IDENTITY_IF = {"decontaminate": (), "only_repo": ""}
MAX_SHOWN_SHARE = 0.99   # share of the PR's code that a history may show


@dataclass(frozen=True)
class PromptFile:
    """Describe a file of prompt/ that prompt.py wrote or is to write.

    Its state is todo, done, edited, adopted (it has no ledger line) or lost (deleted, and not
    selected by --only).
    """

    stem: str
    state: str
    n: int                  # prompts drawn into it, or to draw
    same_settings: bool | None = None   # whether its settings are the current ones; None: it has no
                                        # ledger line
    after: Cursor = START   # where its draw begins
    last: Cursor = START    # where its draw ended
    exhausted: bool = False             # the source had no more prompts


@dataclass(frozen=True)
class SamplingPlan:
    """Describe the state of prompt/ and the files and PR records that are still to be made."""

    files: list[PromptFile]   # in the order of drawing; deleted ones included
    commits: list[str]        # instance ids whose PR record is missing

    def in_state(self, state: str) -> list[PromptFile]:
        """Return the files in a state."""
        return [file for file in self.files if file.state == state]

    @property
    def todo(self) -> list[PromptFile]:
        """Return the files to write."""
        return self.in_state("todo")

    @property
    def n_wanted(self) -> int:
        """Return the number of prompts to draw."""
        return sum(file.n for file in self.todo)

    def line(self) -> str:
        """Return the existing files and those to write, for the terminal."""
        done, adopted, edited, todo = map(self.in_state, ("done", "adopted", "edited", "todo"))
        others = [file for file in self.files if file.same_settings is False]
        there = _joined(
            done and f"done {plural(len(done), 'file')}",
            adopted and f"adopted {len(adopted)}",
            edited and f"edited {len(edited)} (kept): {named([file.stem for file in edited])}",
            others and f"made with other settings {len(others)}",
            any(file.exhausted for file in self.files) and "the source has no more")
        to_do = _joined(
            todo and f"{plural(self.n_wanted, 'prompt')} in {plural(len(todo), 'file')}",
            self.commits and plural(len(self.commits), "PR record"))
        return f"{there or 'nothing there'}   {f'to do {to_do}' if to_do else 'nothing to do'}"


def _joined(*texts) -> str:
    return ", ".join(filter(None, texts))


class PromptSampler:
    """Manage prompt/ and commit/ under a root: plan() compares them with `count`, make() draws the
    missing ones.
    """

    def __init__(self, settings: Settings):
        self.settings = settings.prompt
        self.root = settings.root
        self.exclude = settings.exclude
        self.lists = Lists(settings.root, Prompt)
        self.commits = Store(settings.root, Commit)
        # with chosen blind answers, the history may show all code that the PR changes
        self.is_blind = settings.challenger.how == "chosen"
        # a file drawn from other attempts does not tell where to continue
        is_of_attempts = self.settings.source == ATTEMPTS
        self.attempts = digest(attempt_names(self.root)) if is_of_attempts else ""
        self.identity = digest({
            key: value
            for key, value in {**asdict(self.settings), "window_rows": 1,
                               "max_shown_share": MAX_SHOWN_SHARE}.items()
            if key not in NO_IDENTITY and value != NO_IDENTITY_IF.get(key)}
            | ({"blind": True} if self.is_blind else {}))
        self.skipped: Counter[str] = Counter()
        self.n_records = 0      # PR records found for drawn prompts, usable or not
        self.benchmarks: Benchmarks | None = None   # loaded at the first draw
        self.source: Trajectories | None = None     # opened for the first draw

    # the plan

    def plan(self, selection: Selection) -> SamplingPlan:
        """Return the files that exist and those to draw.

        Deleted files are drawn from their first cursor, new files after the last cursor.
        """
        ledger = self.lists.open().ledger
        self.commits.open()
        stems = {stem for (_, stem), detail in ledger.details.items() if "to" in detail}
        stems.update(filter(FILE_NAME.fullmatch, self.lists.stems()))
        files = [self._file(stem, selection) for stem in sorted(stems, key=natural)]
        return SamplingPlan([*files, *self._new_files(files, selection)],
                            self._missing_commits(selection))

    def counts(self, selection: Selection) -> dict[str, int]:
        """Return the number of prompts by the state of their file, for status.py. Count none as
        missing if no existing file was drawn with the current settings."""
        plan = self.plan(selection)
        is_drawn = any(file.same_settings for file in plan.files) or not self.lists.names()
        n_edited = sum(len(self.lists.names_in(file.stem)) for file in plan.in_state("edited"))
        return {"done": len(self.lists.names()) - n_edited, "edited": n_edited,
                "missing": plan.n_wanted if is_drawn else 0}

    def _file(self, stem: str, selection: Selection) -> PromptFile:
        """Return a file that exists or existed."""
        ledger = self.lists.ledger
        detail = ledger.details.get((STAGE, stem))
        if not detail:
            state = "edited" if stem in self.lists.broken_stems else "adopted"
            return PromptFile(stem, state, len(self.lists.names_in(stem)))
        same = ledger.succeeded[STAGE, stem].settings == self.identity
        state = self._state(stem, same, selection)
        goes_on = same and detail.get("attempts", "") == self.attempts
        cursors = (tuple(detail["from"]), tuple(detail["to"])) if goes_on else ()
        return PromptFile(stem, state, detail["n"], same, *cursors,
                          exhausted=goes_on and detail.get("exhausted", False))

    def _state(self, stem: str, same_settings: bool, selection: Selection) -> str:
        is_there = stem in self.lists.stems()
        anew = not is_there or selection.force or (selection.refresh and not same_settings)
        if anew and selection.matches(stem):
            return "todo"
        if not is_there:
            return "lost"
        return "edited" if self.lists.is_edited(stem) else "done"

    def _new_files(self, files: list[PromptFile], selection: Selection) -> Iterator[PromptFile]:
        """Yield the files to add, up to `count` prompts in all, or --limit new ones."""
        if any(file.exhausted for file in files):
            return
        n_missing = self.settings.count - sum(file.n for file in files)
        n_missing = min(n_missing, selection.limit or n_missing)
        last = max([START, *(file.last for file in files)])
        taken = {file.stem for file in files}
        stems = (f"prompts_{self.settings.count}_{k}" for k in count(1))
        free = filterfalse(taken.__contains__, stems)
        for n_left in range(n_missing, 0, -PER_FILE):
            stem = next(free)
            if selection.matches(stem):
                yield PromptFile(stem, "todo", min(PER_FILE, n_left), after=last)

    def _missing_commits(self, selection: Selection) -> list[str]:
        """Return the instance ids without a PR record, except those already searched for without
        success."""
        ids = {self.lists.facts(name).instance_id for name in self.lists.names()}
        if not (selection.force or selection.refresh):
            ids -= {item for stage, item in self.lists.ledger.details if stage == STAGE}
        return sorted(ids.difference(self.commits.names()))

    # drawing

    def make(self, plan: SamplingPlan, models: Models) -> int:
        """Write the files and PR records of the plan; return the number of prompts written."""
        settings = self.settings
        hub = hub_of(models.settings, models.http)
        if plan.todo:
            self._opened(hub)
            if settings.decontaminate:
                self.benchmarks = Benchmarks.load(settings.decontaminate)
        for file in plan.in_state("adopted"):
            # its last cursor is unknown: later draws skip its prompts as duplicates
            self.lists.adopt(file.stem, **self._line("adopted", file))
        self._restore(plan.commits, hub)
        together = defaultdict(list)   # new files share one cursor: one draw, one query of PRs
        for file in plan.todo:
            together[file.after].append(file)
        stems = {file.stem for file in plan.todo}   # still to be made
        n_written = 0
        for after, files in together.items():
            seen = self._seen(stems)
            choices = draw(self.source, settings, self.skipped, after,
                           self.root / "executed/_states")
            accepted = self._accepted(choices, seen, sum(file.n for file in files), hub)
            for file in files:
                chunk = list(islice(accepted, file.n))
                if chunk:
                    made = replace(file, n=len(chunk), after=after, last=chunk[-1][1],
                                   exhausted=len(chunk) < file.n)
                    self._write(made, chunk, self.source.notes)
                    after = made.last
                    n_written += made.n
                stems.remove(file.stem)
        return n_written

    def _seen(self, without: set[str]) -> Seen:
        """Return the prompts sampled so far, except prompts of the files `without`, which are drawn
        again and must get the same prompts.
        """
        seen = Seen(0 if self.settings.turns == "all" else self.settings.max_per_instance)
        for name in self.lists.names():
            if self.lists.stem_of(name) not in without:
                seen.add(self.lists.read(name))
        return seen

    def _accepted(self, choices: Iterator[Choice], seen: Seen, n_wanted: int,
                  hub: Hub) -> Iterator[Drawn]:
        """Yield the first acceptable turn of each choice, and save its PR record; count the others
        by reason.

        Draw about as many choices at a time as `n_wanted` needs.
        """
        while True:
            batch = []
            for choice in islice(choices, n_wanted + n_wanted // 10 + 20):   # some yield no prompt
                hub.http.wait(0)   # raises Interrupted if the run is to end
                batch.append(choice)
            if not batch:
                return
            records, problems = self._records(
                {prompts[0].instance_id for prompts, *_ in batch if not seen.is_full(prompts[0])},
                hub)
            for prompts, turns, place in batch:
                hub.http.wait(0)
                prompt, reasons = self._first(map(prompts.__getitem__, turns), seen, records,
                                              problems)
                self.skipped.update(reasons)
                if not prompt:
                    continue
                n_wanted -= 1
                seen.add(prompt)
                if prompt.instance_id in records:
                    self._put(records[prompt.instance_id])
                yield prompt, (*place, prompt.turn)

    def _opened(self, hub: Hub) -> Trajectories:
        """Return the source; open it if it is not open yet."""
        if not self.source:
            settings = self.settings
            self.source = open_source(settings.source, hub, settings.split, settings.config,
                                      settings.only_repo)
            print_table(self.source)
        return self.source

    def _records(self, ids: set[str], hub: Hub) -> tuple[dict[str, Commit], dict[str, str]]:
        """Return ({id: PR record}, {id: reason why it is unusable}), from commit/ or else from
        --prs."""
        records = {name: self.commits.read(name) for name in ids if name in self.commits}
        fetched, problems = {}, {}
        if missing := ids - records.keys():
            fetched, problems = fetch_prs(self.settings.prs, missing, hub,
                                          lambda: self._opened(hub).sessions)
        records |= {name: parse(Commit, record, f"{self.settings.prs} {name}")
                    for name, record in fetched.items()}
        self.n_records += len(records) + len(problems)
        return records, problems

    def _first(self, prompts: Iterable[Prompt], seen: Seen, records: dict[str, Commit],
               problems: dict[str, str]) -> tuple[Prompt | None, list[str]]:
        """Return (the first acceptable turn, with its PR's language, or None; the reasons why the
        turns before it are refused)."""
        reasons = []
        for prompt in prompts:
            record = records.get(prompt.instance_id)
            reason = prompt_problem(prompt, self.settings, self.exclude) or seen.problem(prompt)
            if not reason and not record:
                kept, reason = self._without_pr(prompt, problems.get(prompt.instance_id))
                return kept, [*reasons, reason]
            if not (reason := reason or self._problem(prompt, record)):
                prompt = replace(prompt, repo=prompt.repo or record.repo, language=record.language)
                return prompt, reasons
            reasons.append(reason)
            # one prompt per trajectory, even if attempts were added
            if reason in OF_PR or (self.attempts and reason == DUPLICATE):
                break
        return None, reasons

    def _without_pr(self, prompt: Prompt, problem: str | None) -> tuple[Prompt | None, str]:
        """Return (a prompt whose PR has no usable record, or None if it is left out, the reason).
        """
        self._note_unmatched(prompt.instance_id, problem)
        if overlap := self._benchmark_problem(prompt, None):
            return None, overlap
        reason = "unusable PR record" if problem else "no PR record"
        if problem and problem.startswith("session: "):
            reason = problem.partition(" (")[0]   # without the other session's name
        if not self.settings.keep_unmatched:
            return None, reason
        return replace(prompt, language="unknown"), f"{reason}, kept for the king alone"

    def _problem(self, prompt: Prompt, record: Commit) -> str | None:
        """Return the reason to leave a prompt out because of its PR, or None."""
        if len(record.patch) > MAX_PATCH_CHARS:
            self._note(prompt.instance_id, "oversized PR", repo=record.repo,
                       language=record.language, patch_chars=len(record.patch),
                       n_files=len(record.files), created_at=record.created_at)
            return "oversized PR"
        if not self.is_blind and shown_share(prompt.messages, record) > MAX_SHOWN_SHARE:
            return SHOWN
        if has_fix_begun(prompt.messages, record):
            return BEGUN
        return self._benchmark_problem(prompt, record)

    def _benchmark_problem(self, prompt: Prompt, record: Commit | None) -> str | None:
        """Return a reason if prompt or PR overlaps with a benchmark; note the hits in the
        ledger."""
        if not self.benchmarks:
            return None
        facts = defaultdict(str, vars(record) if record else {})   # "" without a record
        texts = {name: facts[name] for name in ("issue", "patch", "test_patch")}
        hits = self.benchmarks.hits(
            of_turn(prompt, prompt.repo or facts["repo"], facts["base_commit"], **texts))
        if not hits:
            return None
        self._note(prompt.instance_id, "in a benchmark", hits=[*map(str, hits)])
        return "in a benchmark"

    # writing

    def _put(self, record: Commit) -> None:
        """Save the PR record unless one exists, since a user may have corrected it."""
        name = record.instance_id
        if name not in self.commits:
            known = self.commits.put(name, record, owned=tuple(asdict(record)))
            self.commits.note(name, stage=STAGE, state="done", **known.line())

    def _restore(self, instance_ids: list[str], hub: Hub) -> None:
        """Fetch the missing PR records of existing prompts, including hand-written prompts."""
        n_before = self.n_records   # n_records counts only drawn prompts
        records, problems = self._records({*instance_ids}, hub)
        self.n_records = n_before
        for instance_id in instance_ids:
            if instance_id in records:
                self._put(records[instance_id])
            else:
                why = self._note_unmatched(instance_id, problems.get(instance_id))
                say(f"{STAGE}  {instance_id} has no PR record ({why})")

    def add_commits(self, instance_ids: set[str], hub: Hub) -> None:
        """Fetch the PR records of these instances that are missing."""
        self.commits.open()
        for record in self._records(instance_ids, hub)[0].values():
            self._put(record)

    def _note_unmatched(self, instance_id: str, problem: str | None) -> str:
        """Note in the ledger that a PR has no usable record; return the reason."""
        why = problem or f"not in {self.settings.prs}"
        self._note(instance_id, f"no PR record: {why}")
        return why

    def _note(self, instance_id: str, rule: str, **detail) -> None:
        """Note in the ledger, once, that a rule leaves an instance out."""
        if (STAGE, instance_id) not in self.lists.ledger.details:
            self.lists.note(instance_id, stage=STAGE, state="excluded", instance_id=instance_id,
                            detail={"rule": rule, **detail})

    def _line(self, state: str, file: PromptFile, **detail) -> dict:
        """Return the fields of a file's ledger line."""
        detail |= {"attempts": self.attempts} if self.attempts else {}
        return {"stage": STAGE, "state": state, "settings": self.identity, "detail": {
            "n": file.n, "from": file.after, "to": file.last, "source": self.settings.source,
            "seed": self.settings.seed, **detail}}

    def _write(self, file: PromptFile, chunk: list[Drawn], notes: list[str]) -> None:
        if file.stem in self.lists.stems():
            self.lists.set_aside(file.stem)
        prompts = [replace(prompt, order=i) for i, (prompt, _) in enumerate(chunk, 1)]
        self.lists.put_file(file.stem, prompts, **self._line(
            "done", file, exhausted=file.exhausted, notes=notes, skipped=dict(self.skipped)))


def run(settings: Settings, options: RunOptions, models) -> int:
    """Run prompt.py and return its exit code. --limit counts prompts, --only matches file names."""
    sampler = PromptSampler(settings)
    with whole_run(STAGE, sampler.lists.into, options, refuses=("prune", "shard"),
                   counts=lambda: sampler.counts(options.selection),
                   ledgers=[sampler.lists.into, sampler.commits.into]) as is_wanted:
        return _sample(sampler, options, models) if is_wanted else 0


def _sample(sampler: PromptSampler, options: RunOptions, models) -> int:
    plan = sampler.plan(options.selection)
    broken = sampler.lists.broken + sampler.commits.broken
    for e in broken:
        say(f"{STAGE}.py: {e}")
    with options.unless_quiet():
        say(f"{STAGE}  {sampler.settings.source} → prompt/   {len(sampler.lists.names()):,} of "
            f"{sampler.settings.count:,} prompts   {plan.line()}")
    if options.read_only:
        return 0
    _refuse_to_mix(sampler, plan, options)
    try:
        with signals(STAGE, models.stop.set):
            n_written = sampler.make(plan, models)
    except Interrupted:
        say(f"{STAGE}  stopped; whole files are kept\n"
            f"      again: {options.command('prompt.py', same=True)}")
        return 130
    with options.unless_quiet():
        _print_summary(sampler, plan, n_written, options)
    if models.stop.is_set():   # after the last prompt
        return 130
    is_empty = plan.todo and not n_written and not sampler.lists.names()
    n_unmatched = sampler.skipped["no PR record"]
    if n_unmatched and not (n_written or sampler.n_records):
        say(f"{STAGE}.py: no row has a PR record in {sampler.settings.prs} "
            f"({plural(n_unmatched, 'prompt')} drawn).\n"
            "  Check --prs, or keep such prompts (only for king.py): --keep-unmatched")
        return 2 if is_empty else 1   # no next stage has anything to do
    if is_empty:
        forms = ", ".join(sorted(sampler.source.forms)) or "none"
        raise Trouble(f"has no row that can be used; forms met: {forms}.", sampler.settings.source,
                      f"Why not: {options.command('prompt.py --check', same=True)}\n"
                      "  What a row of each form needs: docs/data.md")
    return 1 if broken else 0


def _refuse_to_mix(sampler: PromptSampler, plan: SamplingPlan, options: RunOptions) -> None:
    """Raise Trouble if prompts with other settings would be added without a flag that allows it."""
    on_purpose = ("source" in options.given or options.selection.refresh
                  or options.selection.force)
    # all files with a ledger line have other settings
    mixes = {file.same_settings for file in plan.files} - {None} == {False}
    if plan.todo and mixes and not on_purpose:
        raise Trouble("holds prompts that were drawn with other settings of [prompt]; "
                      f"{plan.n_wanted:,} more would come from these.", str(sampler.lists.into),
                      "Give the settings they were drawn with (chain.toml in the root is a good "
                      "place), another --root, or --source to mix on purpose.")


def _print_summary(sampler: PromptSampler, plan: SamplingPlan, n_written: int,
                   options: RunOptions) -> None:
    n_fewer = plan.n_wanted - n_written
    if plan.todo:
        fewer = f", {n_fewer:,} fewer than asked for: the source has no more that fit"
        if n_written and sampler.settings.turns != "all":
            fewer += " (one turn of each trajectory; --turns all takes every turn)"
        say(f"{STAGE}  wrote {plural(n_written, 'prompt')}{fewer if n_fewer else ''}")
    for reason, n in sampler.skipped.most_common():
        outcome = "kept" if "kept" in reason else "left out"
        say(f"      {outcome}: {n:,} ({reason})")
    if sampler.source and sampler.source.unread:
        say(f"      {sampler.source.unread}")
    ids = [sampler.lists.facts(name).instance_id for name in sampler.lists.names()]
    if ids:
        n_solved = sum(one in sampler.commits for one in ids)
        say(f"      with a hidden solution: {n_solved:,} of {plural(len(ids), 'turn')}")
    if n_written:
        say(f"      next:  {options.command('king.py')}")
