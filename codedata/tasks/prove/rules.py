"""Read the rules of a candidate's proof from its kind of task and its candidate.toml.

A candidate may be foreign, so its candidate.toml can only make the rules stricter.
"""
from __future__ import annotations

from dataclasses import asdict

from codedata.errors import Excluded
from codedata.records import BUG, PULL_REQUEST, STRIPPED_PATCH, Candidate, Rules
from codedata.tasks.prove.run_suite import ScreeningRules

MAX_BROKEN_SHARE = 0.5   # share of the suite that a bug may break
OF_KIND = {BUG: Rules(max_broken_share=MAX_BROKEN_SHARE, needs_cases=True, may_be_shown=False),
           STRIPPED_PATCH: Rules(), PULL_REQUEST: Rules(counts_missing=True)}
# rules that a candidate of this kind may loosen: without the bodies, some tests do not run
MAY_LOOSEN = {STRIPPED_PATCH: {"ungraded", "counts_missing"}}


def rules_of(candidate: Candidate) -> Rules:
    """Return the rules of a candidate's proof. Raise Excluded if candidate.toml makes a
    rule looser than its kind of task does."""
    usual = OF_KIND[candidate.kind]
    own = {**asdict(usual), **candidate.rules}
    looser = {"ungraded": own["ungraded"],
              "max_broken_share": own["max_broken_share"] > usual.max_broken_share,
              "counts_missing": own["counts_missing"] and not usual.counts_missing,
              "needs_cases": usual.needs_cases and not own["needs_cases"],
              "may_be_shown": own["may_be_shown"] and not usual.may_be_shown}
    for name, is_looser in looser.items():
        if is_looser and name not in MAY_LOOSEN.get(candidate.kind, ()):
            raise Excluded(f"its rule {name} is looser than its kind of task allows",
                           candidate.name)
    return Rules(**own)


def screening_rules(kind: str, rules: Rules) -> ScreeningRules:
    """Return the rules for the run with the change."""
    return ScreeningRules(rules.max_broken_share, drops_same_error=kind == BUG,
                          counts_missing=rules.counts_missing)
