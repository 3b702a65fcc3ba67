"""Screen the candidates of bug_inject.py scale: its step `validate`. Most are judged in a warm
sandbox. Candidates that combine bugs (with --full, all candidates) are judged by the whole suite in
fresh containers."""
from __future__ import annotations

from functools import partial
from pathlib import Path

from codedata.analysis.analyse import COVERAGE_FIELDS
from codedata.bugs.effects import grade_of, new_messages_of
from codedata.bugs.instances import check_repository, is_of_scale
from codedata.bugs.register import why_not_chosen
from codedata.code.patches import normalised
from codedata.records import (
    BugConfig,
    BugVerdict,
    Candidates,
    Coverage,
    Environment,
    ProposedChange,
    Verdicts,
)
from codedata.settings import Settings
from codedata.states import Reads, Writes
from codedata.store import Derived, Store, digest
from codedata.tasks.first_run import Screened, ScreeningRules
from codedata.tasks.screen_stage import DiffsToScreen
from codedata.tasks.suite_outcomes import GOOD, PASSED, known_results
from codedata.texts import printable

BY_HAND = "by-hand"        # the operator of a candidate that names none


def scale_candidates(root: Path) -> Derived:
    """Return the files of candidates of `scale`. A file with candidates of another repository than
    the one in its name is broken."""
    store = Store(root, Candidates, only=is_of_scale)

    def checked(name: str, record: Candidates) -> dict[str, Candidates]:
        check_repository(record, store, name)
        return {name: record}

    return Derived(store, checked, names_of=lambda name: [name], keeps=store.covers)


class ScreenedBugs:
    """Supply the candidates of `scale` to screen_stage()."""

    stage, label = "bug_inject.validate", "bug"
    after, then = "bug_inject.py scale --steps generate", "bug_inject.py scale --steps report"
    lint = staticmethod(new_messages_of)

    def __init__(self, settings: Settings, coverages: Store):
        """Set up the rules and inputs of screening. `coverages` tell which lines the tests ran."""
        root, share = settings.root, settings.bug.max_broken_share
        self.rules, self.identity = ScreeningRules(share), {"max_broken_share": share}
        self.reads = Reads(scale_candidates(root), ("base_commit", "candidates"),
                           made_by="bug_inject.generate")
        self.joined = (Reads(Store(root, BugConfig), ("selection", "reason", "timeout_s"),
                             made_by="bug_inject.register", same="base_commit"),
                       Reads(coverages, COVERAGE_FIELDS, same="base_commit", optional=True))
        self.writes = Writes(Store(root, Verdicts), tuple(Verdicts.__dataclass_fields__))

    @staticmethod
    def to_screen(record: Candidates, environment: Environment, config: BugConfig,
                  coverage: Coverage | None) -> DiffsToScreen:
        """Return the diffs of a file of candidates."""
        return DiffsToScreen(
            [one["diff"] for one in record.candidates], coverage,
            partial(_verdicts, record, environment),
            why_not_chosen(config, coverage, environment), config.timeout_s,
            frozenset(i for i, one in enumerate(record.candidates) if one.get("parts")))


def _verdicts(record: Candidates, environment: Environment, screened: list[Screened],
              seconds: float) -> Verdicts:
    """Return the record of verdicts on a file of candidates."""
    n_passed = [*known_results(environment).values()].count(PASSED)
    return Verdicts(environment.repo, environment.repo_name, environment.base_commit,
                    [_verdict(environment.repo_name, candidate, shown, n_passed)
                     for candidate, shown in zip(record.candidates, screened, strict=True)],
                    seconds)


def _verdict(repo_name: str, candidate: ProposedChange, shown: Screened,
             n_passed: int) -> BugVerdict:
    """Return the verdict on a candidate. If it combines bugs, the failing tests of each bug have to
    fail."""
    verdict, reason = shown.verdict, shown.reason
    parts = candidate.get("parts") or []
    lost = sorted({test for part in parts for test in part}.difference(shown.failing))
    if verdict == GOOD and lost:
        verdict, reason = "masked", f"one of the combined bugs is masked: {printable(lost[0])}"
    evidence = {"verdict": verdict, "failing": shown.failing, "how": shown.how,
                "n_run": shown.n_run, "seconds": round(shown.seconds, 3)}
    if verdict == GOOD:
        evidence |= {"grade": grade_of(len(shown.failing), n_passed, shown.new_messages),
                     "new_messages": shown.new_messages}
    return BugVerdict(diff=digest(candidate["diff"]), instance_id=name_of(repo_name, candidate),
                      good=verdict == GOOD, reason=reason, evidence=evidence)


def operator_of(candidate: ProposedChange) -> str:
    """Return the name of the operator that made a candidate."""
    return str(candidate.get("operator") or BY_HAND)


def name_of(repo_name: str, candidate: ProposedChange) -> str:
    """Return the instance id of a candidate."""
    return f"{repo_name}.{operator_of(candidate)}.{normalised(candidate['diff'])[:8]}"
