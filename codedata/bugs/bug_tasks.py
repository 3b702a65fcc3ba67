"""Implement bugs, made by `bug_inject.py agent` or by `bug_inject.py scale`, as a kind of task.

Candidates of `scale` are screened in a warm sandbox: the step `validate`. With --full, all are
judged by the whole suite in fresh containers. An agent's change is judged when the agent submits it
(inject.py).
"""
from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from codedata.analysis.analyse import COVERAGE_FIELDS
from codedata.bugs.choose import chosen_in
from codedata.bugs.effects import effects
from codedata.bugs.generate import batch_items
from codedata.bugs.instances import (
    AGENT,
    FEATURE,
    MAX_BROKEN_SHARE,
    Word,
    agents_candidates,
    bug_tasks,
    name_of,
    operator_of,
    scale_candidates,
)
from codedata.bugs.register import why_whole_suite
from codedata.code.entities import language_of
from codedata.code.patches import diff_of, n_changed_lines
from codedata.disk.store import Store, digest
from codedata.errors import Excluded, ItemFailed
from codedata.issues.issue_facts import Differences
from codedata.records import (
    BUG,
    Analysis,
    BugConfig,
    BugVerdict,
    Candidates,
    Coverage,
    Environment,
    Object,
    ProposedChange,
    RepoMeta,
    Verdicts,
)
from codedata.run.stage import Reads, Writes
from codedata.run.talk import begin_step
from codedata.sandbox import SandboxDied
from codedata.sandbox.factory import SandboxFactory
from codedata.settings import BugSettings
from codedata.suites import recorded_calls
from codedata.suites.environments import open_environment
from codedata.suites.source import apply_patch
from codedata.tasks.folder.tests_folder import Case
from codedata.tasks.prove.kinds import Candidate, DiffsToScreen, PatchKind, Screens
from codedata.tasks.prove.outcomes import GOOD, time_limit
from codedata.tasks.prove.run_suite import FirstRun, Screened, ScreeningRules

CATEGORY = "debugging"     # one of Harbor's categories of tasks
RULES = ScreeningRules(MAX_BROKEN_SHARE, drops_same_error=True)   # whether a change may be a bug
SCREENED = ("verdict", "how", "n_run", "seconds")   # fields of the evidence that go to proof.json


class Bugs(PatchKind):
    """Implement the bugs of one subcommand of bug_inject.py (`word`) as a kind of task. Without
    `analyses`, the changed functions are unknown."""

    name, label, gold_is_long = BUG, "bug", False

    def __init__(self, word: Word, root: Path, bug: BugSettings, analyses: Store | None = None):
        optional = {"same": "base_commit", "optional": True}
        self._events = {}   # {repository: the events of its suite, or why there are none}
        self._locks = defaultdict(threading.Lock)   # one recording of a suite at a time
        self._word, self.tasks = word, bug_tasks(root, word.owns)
        self.rules = RULES
        self.candidates = Reads(chosen_in(root, bug), ("base_commit", "diff"),
                                made_by="bug_inject.validate")
        if word == AGENT:
            self.candidates = Reads(agents_candidates(root), ("base_commit", "diff", "refused"),
                                    made_by="bug_inject.inject")
        self.candidates_with = (Reads(analyses, ("entities", "edges", "files"), **optional),
                                Reads(Store(root, RepoMeta), (), **optional))   # for the licence

    def reduces_gold(self, candidate: Candidate) -> bool:
        """Return whether the gold may keep harmless parts of the change: the rest of a feature."""
        return candidate.words.get("family") == FEATURE

    def cases(self, candidate: Candidate, run: FirstRun, host: SandboxFactory, label: str,
              environment: Environment, *joined) -> tuple[list[Case], Object]:
        """Return calls with other arguments than the tests', and the strength of the task. Raise
        Excluded for a feature that the fix mostly reverts."""
        if self.reduces_gold(candidate):
            n_undone = n_changed_lines(diff_of(run.after, run.before))
            if 2 * n_undone > n_changed_lines(candidate.diff):
                raise Excluded("its tests refuse the feature: a fix takes most of it back")
        name, script = environment.repo_name, environment.test_script
        with (open_environment(environment, host, label) as right,
              open_environment(environment, host, label) as wrong):
            apply_patch(wrong, candidate.diff)
            with self._locks[name]:
                if name not in self._events:
                    begin_step("tests, with their calls recorded")
                    try:
                        self._events[name] = recorded_calls.record(
                            right, script, 5 * time_limit(environment, host.run_timeout_s))[1]
                    except SandboxDied:   # not kept as a reason: another run may succeed
                        raise
                    except ItemFailed as e:
                        self._events[name] = e.what
            if self.reduces_gold(candidate):
                apply_patch(right, candidate.diff)
                apply_patch(right, diff_of(run.after, run.before))
            events = self._events[name]
            if isinstance(events, str):
                return [], {"cases": {"none": events}}
            return Differences(right, wrong, script).held_out(events, run.fail_to_pass)

    def described(self, candidate: Candidate, run: FirstRun, environment: Environment,
                  analysis: Analysis | None, meta: RepoMeta | None) -> tuple[Object, Object]:
        """Return a bug's fields of task.toml (labels, …), and its effects for proof.json."""
        words, screened = candidate.words, candidate.screened
        measured = effects(run, analysis)
        symbols, symbol = measured["symbols"], words.get("symbol") or ""
        language = language_of(min(run.before | run.after))
        licence = meta.licence if meta else environment.row.get("licence")
        tags = language, BUG, str(words.get("family") or candidate.method)
        about = {
            "method": candidate.method, "language": language, "tier": self._word.name,
            "symbol": symbols[0] if symbols and symbol not in symbols else symbol,
            "licence": licence and str(licence),
            "labels": {"category": CATEGORY, "tags": [*filter(None, tags)]},
            "made_from": {"directory": Candidates.directory, "item": candidate.item,
                          "digest": digest(candidate.diff)}}
        if self._word != AGENT:
            measured |= {
                "operator": operator_of(words), "family": str(words.get("family") or ""),
                "lines": words.get("lines") or [], "summary": words.get("summary") or "",
                "screened": {**{key: screened[key] for key in SCREENED if key in screened},
                             "same_tests": screened.get("failing") == run.fail_to_pass}}
        return about, measured


# screening ---------------------------------------------------------------------------------------

def scale_screens(root: Path, bug: BugSettings, coverages: Store) -> Screens:
    """Return how candidates of `scale` are screened."""
    return Screens(
        "bug", RULES,
        Reads(scale_candidates(root, batch_items(root)),
              ("base_commit", "candidates"), made_by="bug_inject.generate"),
        (Reads(Store(root, BugConfig), ("selection", "timeout_s"),
               made_by="bug_inject.register", same="base_commit"),
         Reads(coverages, COVERAGE_FIELDS, same="base_commit", optional=True)),
        Writes(Store(root, Verdicts)), to_screen)


def to_screen(item: Candidates, environment: Environment, config: BugConfig,
              coverage: Coverage | None) -> DiffsToScreen:
    """Return the diffs of a file of candidates, and how to screen them."""
    return DiffsToScreen(
        [one["diff"] for one in item.candidates], coverage, partial(_verdicts, item),
        why_whole_suite(config, coverage, environment), config.timeout_s)


def _verdicts(record: Candidates, screened: Mapping[str, Screened], seconds: float) -> Verdicts:
    """Return the record of verdicts on a file of candidates."""
    return Verdicts(record.repo, record.repo_name, record.base_commit,
                    [_verdict(record.repo_name, one, screened[one["diff"]])
                     for one in record.candidates], seconds)


def _verdict(repo_name: str, candidate: ProposedChange, shown: Screened) -> BugVerdict:
    """Return the verdict on a candidate."""
    evidence = {"verdict": shown.verdict, "failing": shown.failing, "how": shown.how,
                "n_run": shown.n_run, "seconds": round(shown.seconds, 3)}
    return BugVerdict(diff=digest(candidate["diff"]), instance_id=name_of(repo_name, candidate),
                      good=shown.verdict == GOOD, reason=shown.reason, evidence=evidence)
