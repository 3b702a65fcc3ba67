"""The planner without a model: recipes in rising order of cost, each learning from what the one before came to.

A draft is tried in a scratch container, where a changed script that is run again costs little, until its tests are
healthy or its log teaches nothing. What stands then is verified from nothing in a fresh container. The first healthy
one is taken; below that the one with most passes that verified, and the record says so.
"""
from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from codedata.code.results import counts, not_collected
from codedata.env import node, plain, python_recipe, python_repair
from codedata.env.causes import Cause
from codedata.env.facts import Facts, Recipe, recipes
from codedata.env.node import NodeRecipe
from codedata.env.python_recipe import PythonRecipe
from codedata.env.repair import Log
from codedata.env.verify import Limits, Opener, Project, Verified, put_source, run_install, run_tests, verify
from codedata.sandbox import SandboxDied

PAIRS = 3      # install and test scripts that are verified, at most
ROUNDS = 6     # of trying and learning before each pair but the first
NOT_TRIED = Verified(failed="recipe", cause=Cause("no_recipe", "nothing says how to install or test"))


@dataclass(frozen=True)
class Planned:
    """The scripts that are best, and what verification found of them."""

    install_script: str = ""
    test_script: str = ""
    verified: Verified = NOT_TRIED
    recipe: str = ""               # which kind
    attempts: list[dict] = field(default_factory=list)   # each pair with its check, cause and figures
    left_out: tuple[str, ...] = ()   # tests, and commands of a script, that the test script does not run
    log: str = ""                  # of the last that failed: where an agent would begin
    seconds: float = 0.0


def project_of(facts: Facts, source: Path | None = None, commit: str = "") -> Project:
    """Return what the checks have to know of the project that has these facts."""
    return Project(source, commit, facts.python.name, facts.python.packages, facts.node.name)


def learned(recipe: Recipe, log: Log) -> Recipe | None:
    """The recipe with what a log taught, or None."""
    if isinstance(recipe, PythonRecipe):
        return python_repair.learn(recipe, log)
    return node.learn(recipe, log) if isinstance(recipe, NodeRecipe) else plain.learn(recipe, log)


def next_way(recipe: Recipe, collected: bool) -> Recipe | None:
    """The next costlier recipe of its kind, or None."""
    if isinstance(recipe, PythonRecipe):
        return python_recipe.next_way(recipe, collected)
    return node.next_way(recipe, collected) if isinstance(recipe, NodeRecipe) else plain.next_way(recipe, collected)


def propose(recipe: Recipe, log: Log, collected: bool) -> Recipe | None:
    """The recipe to try after one that was not healthy: with what its log taught, else the next way. An install that
    fails for what nobody knows fails with more requirements, too."""
    return learned(recipe, log) or (next_way(recipe, collected) if log.phase == "test" else None)


def plan(open_sandbox: Opener, project: Project, facts: Facts, limits: Limits, image_name: str = "",
         budget_s: float = 3600.0, say: Callable[[str], None] = lambda text: None) -> Planned:
    """Find the scripts for the project that has these facts. Each kind of recipe gets its pairs, till
    one verifies."""
    started, best = time.monotonic(), Planned()
    if facts.unreadable:
        told = ": ".join(next(iter(facts.unreadable.items())))
        best = Planned(verified=replace(NOT_TRIED, cause=Cause("manifest_unreadable", told)))
    for recipe in recipes(facts):
        best = _of_kind(recipe, best, _Trial(open_sandbox, project, limits, image_name, started + budget_s, say))
        if best.verified.ok or time.monotonic() > started + budget_s:
            break
    return replace(best, seconds=round(time.monotonic() - started, 1))


@dataclass(frozen=True)
class _Trial:
    """What all attempts share."""

    open_sandbox: Opener
    project: Project
    limits: Limits
    image_name: str
    end: float
    say: Callable[[str], None]

    def verify(self, recipe: Recipe, only_healthy: bool) -> Verified:
        self.say(f"verifying a {recipe.planner} recipe")
        return verify(self.open_sandbox, self.project, recipe.install_script(), recipe.test_script(), self.limits,
                      self.image_name, only_if=lambda run: run.healthy or not only_healthy)


def _of_kind(recipe: Recipe, best: Planned, trial: _Trial) -> Planned:
    """Up to PAIRS pairs of one kind; the first is verified as it stands, and only if it is healthy to the end."""
    for n in range(PAIRS):
        verified = trial.verify(recipe, only_healthy=n == 0)
        best = _better(best, recipe, verified)
        settled = verified.failed not in ("", "install", "tests")   # of the other checks a log says nothing
        if settled or (verified.ok and verified.healthy) or n == PAIRS - 1 or time.monotonic() > trial.end:
            break
        following = propose(recipe, _log_of(verified), verified.n_cases > len(verified.not_collected))
        better = _draft(following, trial, verified) if following else None
        if better is None and (n or not verified.n_passed):
            break
        recipe = better or recipe   # the first was not verified to its end
    return best


def _log_of(verified: Verified) -> Log:
    return Log(verified.phase, verified.log, verified.timed_out, not verified.n_cases)


def _draft(recipe: Recipe, trial: _Trial, before: Verified) -> Recipe | None:
    """The recipe with all that trying it teaches, in one scratch container: the best of its rounds, or None where none
    came to more than what was verified before. Where nothing could be installed, what is known most of."""
    best, reached = None, (before.failed != "install", before.n_passed)
    try:
        with trial.open_sandbox("") as sandbox:
            commit, trouble = put_source(sandbox, trial.project)
            if trouble:
                return None
            sandbox.network(True)
            for _ in range(ROUNDS):
                if time.monotonic() > trial.end:
                    break
                trial.say("trying a draft")
                installed, _ = run_install(sandbox, commit, recipe.install_script(), trial.limits.install_s)
                if installed.ok:
                    run = run_tests(sandbox, recipe.test_script(), trial.limits.test_s)
                    passed = counts(run.results)["passed"]
                    if run.healthy:
                        return recipe
                    if (True, passed) > reached:
                        best, reached = recipe, (True, passed)
                    log = Log("test", run.text, run.timed_out, not run.results)
                    collected = len(run.results) > len(not_collected(run.results))
                else:
                    log, collected = Log("install", installed.output, installed.timed_out, True), False
                following = learned(recipe, log) if reached[1] else propose(recipe, log, collected)
                if following is None:
                    break
                recipe = following
    except SandboxDied:
        pass   # what it took too much of, verification will say
    return best or (None if reached[0] else recipe)


def _better(best: Planned, recipe: Recipe, verified: Verified) -> Planned:
    """The better of two: what verified before what did not, then a healthy one, then the one with most passes."""
    healthy = verified.ok and verified.healthy
    attempt = {"recipe": recipe.planner, "failed": verified.failed, "cause": verified.cause.name,
               "evidence": verified.cause.evidence, "n_passed": verified.n_passed, "n_cases": verified.n_cases,
               "healthy": healthy}
    attempts = [*best.attempts, attempt]
    log = best.log if healthy else verified.log
    likelier = best.recipe not in ("", recipe.planner)   # of two that came to the same, the kind that fits better
    if _rank(verified) < _rank(best.verified) or (likelier and _rank(verified) == _rank(best.verified)):
        return replace(best, attempts=attempts, log=log)
    return Planned(recipe.install_script(), recipe.test_script(), verified, recipe.planner, attempts,
                   recipe.left_out, log)


def _rank(verified: Verified) -> tuple:
    tried = verified.failed != NOT_TRIED.failed
    return verified.ok, verified.ok and verified.healthy, verified.n_passed, verified.n_cases, tried
