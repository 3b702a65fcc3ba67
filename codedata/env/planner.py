"""Plan an environment without a model. A recipe makes a pair of scripts: install and test. The
likeliest kind of recipe is tried first, and of each kind the cheapest recipe.

Each pair is verified from the start in a fresh container. If it failed or is not healthy, its
recipe is repaired in a scratch container, where running a changed script again is cheap. The repair
ends if the tests are healthy, if the log suggests no further fix, or after ROUNDS runs. Then the
new pair is verified. Planning ends with the first kind that has a verified pair. If no pair of this
kind is healthy, the one with the most passed tests is used, and the record says so. plan_as() tries
the scripts of a commit's nearest ancestor in the ancestor's image.
"""
from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from codedata.env.causes import Cause
from codedata.env.recipes import generic, node, python_repair
from codedata.env.recipes.generic import PlainRecipe
from codedata.env.recipes.node import NodeRecipe
from codedata.env.recipes.python_recipe import PythonRecipe
from codedata.env.recipes.repair import Log, Recipe
from codedata.env.repository_facts import Facts, recipes
from codedata.env.setup_agent import SetupRun
from codedata.env.verify_scripts import Verified, Verifier
from codedata.records import Environment
from codedata.run.talk import begin_step, current_step
from codedata.sandbox import Sandbox, SandboxDied
from codedata.suites.environments import SUCCESS
from codedata.suites.project_suite import Run
from codedata.suites.source import Project, put_source
from codedata.suites.test_results import counts, not_collected
from codedata.texts import displayed

ERROR = "error"
PAIRS = 3      # maximum number of pairs of scripts to verify for each kind of recipe
ROUNDS = 6     # maximum number of draft runs before each pair except the first
MAX_SKIPPED = 0.2   # share of skipped cases above which one more pair is tried
REPAIRS = {PythonRecipe: python_repair, NodeRecipe: node, PlainRecipe: generic}
NO_RECIPE = Cause("no_recipe", "nothing says how to install or test")
NOT_TRIED = Verified(failed="recipe", cause=NO_RECIPE)


@dataclass(frozen=True)
class Planned:
    """Hold the best pair of scripts, the result of verifying it, and the run of the agent, if an
    agent was asked."""

    install_script: str = ""
    test_script: str = ""
    verified: Verified = NOT_TRIED
    recipe: str = ""               # the kind of recipe
    # all verified pairs, each with the failed check, its cause and figures
    attempts: list[dict] = field(default_factory=list)
    # tests, and commands of the project's own test script, that `test_script` leaves out
    excluded_tests: tuple[str, ...] = ()
    agent: SetupRun | None = None
    planner: str = "recipe"        # recipe | agent: the author of the scripts

    @property
    def status(self) -> str:
        """Return the agent's status if it submitted no scripts, else SUCCESS if the scripts were
        verified, else ERROR."""
        if self.agent and self.agent.status != SUCCESS:
            return self.agent.status
        return SUCCESS if self.verified.ok else ERROR

    @property
    def error(self) -> str:
        """Return why the status is not success, or ""."""
        if self.agent and self.agent.status != SUCCESS:
            return self.agent.error
        cause = self.verified.cause
        why = ": ".join(filter(None, (self.verified.failed, cause.name, cause.evidence)))
        return "" if self.verified.ok else f"not verified: {why}"


def project_of(facts: Facts, source: Path | None = None, commit: str = "") -> Project:
    """Return the project description that the checks need, made from these facts."""
    return Project(source, commit, facts.python.name, facts.python.packages, facts.node.name)


def propose(recipe: Recipe, log: Log, collected: bool, may_fall_back: bool) -> Recipe | None:
    """Return the recipe to try after an unhealthy one: the same recipe with the fixes that its log
    suggests, else the next more expensive recipe of the same kind, or None. After a failed install
    without a known fix, return None, since a more expensive recipe installs even more."""
    kind = REPAIRS[type(recipe)]
    if (better := kind.repair(recipe, log)) or not may_fall_back or log.phase != "test":
        return better
    return kind.fallback(recipe, collected)


def plan(verifier: Verifier, facts: Facts, budget_s: float = 3600.0,
         attempts: Sequence[dict] = ()) -> Planned:
    """Return the best scripts for a project. Try up to PAIRS pairs of scripts for each kind of
    recipe, until a pair is verified or `budget_s` seconds have passed. The record lists `attempts`,
    the earlier ones, first."""
    trial = _RecipeTrial(verifier, time.monotonic() + budget_s)
    best = Planned(attempts=[*attempts])
    if facts.unreadable:
        cause = Cause("manifest_unreadable", ": ".join(next(iter(facts.unreadable.items()))))
        best = replace(best, verified=replace(NOT_TRIED, cause=cause))
    for recipe in recipes(facts):
        best = trial.best_of_kind(recipe, best)
        if best.verified.ok or trial.is_over():
            break
    return best


@dataclass(frozen=True)
class _RecipeTrial:
    """Try recipes until the time `end`."""

    verifier: Verifier
    end: float

    def is_over(self) -> bool:
        """Return whether the time for planning has passed."""
        return time.monotonic() > self.end

    def best_of_kind(self, recipe: Recipe, best: Planned) -> Planned:
        """Verify up to PAIRS pairs of scripts of one kind of recipe; return the best result, or
        `best`. The first pair is verified without a draft, and its verification stops early if the
        tests are not healthy. If it is healthy but skips many cases, one more pair is tried."""
        for n in range(PAIRS):
            current_step().within = f"{recipe.planner} recipe"
            verified = self.verifier.verify(recipe.install_script(), recipe.test_script(),
                                            only_healthy=n == 0)
            best = _better(best, recipe, verified)
            # stop after a failure that is not listed here: its log suggests no fix
            settled = verified.failed not in ("", "install", "tests", "hollow")
            enough = verified.is_healthy and (n or verified.share_skipped <= MAX_SKIPPED)
            if settled or enough or n == PAIRS - 1 or self.is_over():
                break
            # ignore the log of hollow tests: the fault is in the recipe, not in the project
            shown = "" if verified.failed == "hollow" else verified.log
            log = Log(verified.phase, displayed(shown), verified.timed_out, not verified.n_cases)
            collected = verified.n_cases > len(verified.not_collected)
            following = propose(recipe, log, collected, may_fall_back=True)
            better = self._draft(following, verified) if following else None
            if better is None and (n or verified.ok or not verified.n_passed):
                break
            # without a better draft, verify the same recipe again: the first verification may have
            # stopped early
            recipe = better or recipe
        return best

    def _draft(self, recipe: Recipe, before: Verified) -> Recipe | None:
        """Improve a recipe in a scratch container. Return the first healthy version, else the one
        with the most passed tests, or None if none is better than the verified recipe. If neither
        that recipe nor any version could be installed, return the last version."""
        best, is_installed, n_passed = None, before.failed != "install", before.n_passed
        try:
            with self.verifier.open_sandbox(self.verifier.base_image) as sandbox:
                commit, trouble = put_source(sandbox, self.verifier.project)
                if trouble:
                    return None
                sandbox.network(True)
                for _ in range(ROUNDS):
                    if self.is_over():
                        break
                    phase, run = self._run(recipe, sandbox, commit)
                    passed = counts(run.results)["passed"]
                    if run.healthy and (passed > n_passed or not before.is_healthy):
                        return recipe
                    if phase == "test" and (passed > n_passed or not is_installed):
                        best, is_installed, n_passed = recipe, True, passed
                    log = Log(phase, displayed(run.text), run.timed_out, not run.results)
                    collected = len(run.results) > len(not_collected(run.results))
                    following = propose(recipe, log, collected, may_fall_back=not n_passed)
                    if following is None:
                        break
                    recipe = following
        except SandboxDied:
            pass   # go on: the verification will report which limit was exceeded
        return best or (None if is_installed else recipe)

    def _run(self, recipe: Recipe, sandbox: Sandbox, commit: str) -> tuple[str, Run]:
        """Run a recipe in a scratch container. Return ("test", the run of its tests) or, if the
        install failed, ("install", a run without cases)."""
        begin_step("install of a draft")
        installed, _ = self.verifier.install(sandbox, commit, recipe.install_script())
        if installed.ok:
            begin_step("tests of a draft")
            return "test", self.verifier.test(sandbox, recipe.test_script())
        return "install", Run(installed, [])


def _better(best: Planned, recipe: Recipe, verified: Verified) -> Planned:
    """Return the better of two results: verified before unverified, then healthy before unhealthy,
    then more passed tests. In a tie, keep `best` if it is of another kind, since likelier kinds are
    tried first; within one kind, return the later pair."""
    attempts = [*best.attempts, verified.as_attempt(recipe.planner)]
    is_other_kind = best.recipe not in ("", recipe.planner)
    rank, best_rank = _rank(verified), _rank(best.verified)
    if rank < best_rank or (is_other_kind and rank == best_rank):
        return replace(best, attempts=attempts)
    return Planned(recipe.install_script(), recipe.test_script(), verified, recipe.planner,
                   attempts, recipe.excluded_tests)


def _rank(verified: Verified) -> tuple:
    return (verified.ok, verified.is_healthy, verified.n_passed, verified.n_cases,
            verified.failed != NOT_TRIED.failed)


# as another commit -------------------------------------------------------------------------------

def plan_as(verifier: Verifier, neighbour: Environment, is_like: bool,
            is_installed: bool) -> Planned:
    """Run the scripts of a neighbour, another commit's environment, in the neighbour's image, and
    return the result. If the image has everything that this commit needs (`is_installed`), first
    try the tests without an install. If it does not, but both commits are installed in
    the same way (`is_like`), one test run after the install is enough; the neighbour's record gives
    flaky tests and tests that need the network."""
    current_step().within = f"as {neighbour.repo_name}"
    known = neighbour.verified
    shown = Verified(results=neighbour.test_case_result, flaky=neighbour.flaky,
                     needs_network=known.get("needs_network", []))
    verifier = replace(verifier, base_image=neighbour.image_name)
    verified = ((is_installed and verifier.verify_installed(neighbour.test_script, shown))
                or verifier.verify(neighbour.install_script, neighbour.test_script,
                                   only_healthy=True,
                                   like=shown if is_like and not is_installed else None))
    recipe = f"that of {neighbour.repo_name}"
    return Planned(neighbour.install_script, neighbour.test_script, verified, recipe,
                   [verified.as_attempt(recipe)], tuple(known.get("left_out", ())),
                   planner=neighbour.planner)
