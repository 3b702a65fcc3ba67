"""Screen the candidates of `bug_inject.py scale`: its step `validate`.

They are judged in a sandbox that is reused; with --full, by the whole suite in fresh containers. An
agent's change is judged when the agent submits it (inject.py).
"""
from __future__ import annotations

import time

from codedata.analysis.analyse import COVERAGE_FIELDS
from codedata.bugs.generate import BATCH, PER_TASK, PLUGIN, batch_items
from codedata.bugs.instances import name_of, scale_candidates
from codedata.disk.store import Derived, Store, digest
from codedata.records import (
    BUG,
    BugConfig,
    BugVerdict,
    Candidates,
    Coverage,
    Environment,
    ProposedChange,
    Verdicts,
)
from codedata.run.stage import Reads, Stage, Writes
from codedata.sandbox.factory import SandboxFactory
from codedata.settings import Settings
from codedata.tasks.prove.outcomes import GOOD
from codedata.tasks.prove.rules import MAX_BROKEN_SHARE, OF_KIND, screening_rules
from codedata.tasks.prove.run_suite import Screened
from codedata.tasks.stages import Screening, judged_in


def validate_stage(settings: Settings, host: SandboxFactory, environments: Derived,
                   coverages: Store, is_full: bool) -> Stage:
    """Return the stage that screens candidates and writes its verdicts."""
    screening = Screening("bug", screening_rules(BUG, OF_KIND[BUG]), host, is_full)

    def make(item: Candidates, environment: Environment, config: BugConfig,
             coverage: Coverage | None) -> Verdicts:
        started = time.monotonic()
        found = screening.verdicts(
            [one["diff"] for one in item.candidates], environment, coverage,
            why_whole_suite(config, coverage, environment), config.timeout_s)
        return Verdicts(
            item.repo, item.repo_name, item.base_commit,
            [_verdict(item.repo_name, one, found[one["diff"]]) for one in item.candidates],
            round(time.monotonic() - started, 1))

    root = settings.root
    return Stage(
        "bug_inject.validate", make=make, close=screening.close,
        reads=Reads(scale_candidates(root, batch_items(root)), ("base_commit", "candidates"),
                    made_by="bug_inject.generate"),
        also_reads=(judged_in(environments),
                    Reads(Store(root, BugConfig), ("selection", "timeout_s"),
                          made_by="bug_inject.register", same="base_commit"),
                    Reads(coverages, COVERAGE_FIELDS, same="base_commit", optional=True)),
        writes=Writes(Store(root, Verdicts)), refresh=is_full, per_limit=PER_TASK / BATCH,
        identity={"max_broken_share": MAX_BROKEN_SHARE, **({"is_full": True} if is_full else {})},
        after="bug_inject.py scale --steps generate", then="bug_inject.py scale --steps report")


def why_whole_suite(config: BugConfig, coverage: Coverage | None, environment: Environment) -> str:
    """Return why the whole suite must run for each change; "" if tests can be selected."""
    if config.selection != PLUGIN:
        return "selection: none"
    if coverage is None:
        name = environment.repo_name
        return (f"coverage/ has no record of its commit: run python analyze.py --only {name}, then "
                f"python bug_inject.py scale --only {name}")
    return "" if coverage.contexts == "pytest" else coverage.reason


def _verdict(repo_name: str, candidate: ProposedChange, shown: Screened) -> BugVerdict:
    """Return the verdict on a candidate."""
    evidence = {"verdict": shown.verdict, "failing": shown.failing, "how": shown.how,
                "n_run": shown.n_run, "seconds": round(shown.seconds, 3)}
    return BugVerdict(diff=digest(candidate["diff"]), instance_id=name_of(repo_name, candidate),
                      good=shown.verdict == GOOD, reason=shown.reason, evidence=evidence)
