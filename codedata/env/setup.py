"""Set up one repository for env_setup.py: find its scripts, verify them, keep the image, return the
record.

The recipe planner runs first, and the agent where none of its recipes verifies. Whichever planner
found the scripts, a record is a success only if they were verified.
"""
from __future__ import annotations

import glob
import re
import secrets
import tempfile
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from codedata.config import Settings
from codedata.env.agents import SCRIPTS, Failure, Planner, ScriptsFound
from codedata.env.inputs import Repository
from codedata.env.planner import Planned, plan, project_of
from codedata.env.repository_facts import read_facts
from codedata.env.runs import part_of_suite
from codedata.env.verify import Limits, Project, Verified, put_source, verify
from codedata.errors import Interrupted, ItemFailed
from codedata.llm import Models
from codedata.llm.calls import current
from codedata.progress import usd
from codedata.records import Environment
from codedata.sandbox import Sandbox
from codedata.sandbox.factory import WORKDIR, SandboxFactory
from codedata.store import digest

TRAJECTORIES = "_trajectories"
ROUNDS = 2                  # runs of an agent: one to find scripts, one to fix them if they did not verify
PLAN_TIMEOUTS = 4           # times run_timeout, after which the recipe planner starts nothing new
IMAGE_NAME = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*")
SUCCESS, ERROR = "success", "error"
IMAGES = "codedata-env/"


@dataclass(frozen=True)
class SetupOutcome:
    """Hold the result of the planners so far."""

    planner: str
    install_script: str = ""
    test_script: str = ""
    verified: Verified = field(default_factory=lambda: Verified(failed="recipe"))
    status: str = ERROR
    summary: str = ""
    error: str = ""
    messages: list[dict] = field(default_factory=list)
    usage: dict = field(default_factory=dict)
    attempts: list[dict] = field(default_factory=list)
    excluded_tests: tuple[str, ...] = ()   # parts of the suite that the recipe excludes by name
    unreadable: dict[str, str] = field(default_factory=dict)   # file → why planning could not read it


class Setup:
    """Set up repositories; make() is the item function."""

    def __init__(self, settings: Settings, models: Models, host: SandboxFactory):
        self._settings, self._models, self._host = settings, models, host
        self._agent = models.client("agent") if settings.env.planner != "recipe" else None
        self._limits = Limits(settings.sandbox.run_timeout, settings.sandbox.run_timeout)

    def make(self, repository: Repository) -> Environment:
        """Return the environment of a repository, verified or with the reason why it failed."""
        started, label = time.monotonic(), _label(repository.repo_name)
        base_image = repository.base_image or self._settings.sandbox.base_image
        has_image = self._host.makes_images and not self._settings.env.no_image
        image_name = f"codedata-env-try/{label.rpartition('-')[2]}" if has_image else ""   # not verified yet
        workdir = WORKDIR if repository.path else self._host.workdir_of(base_image)

        def opener(image: str, is_stateful: bool = False) -> Sandbox:
            return self._host.open(image or base_image, label, workdir, is_stateful)

        outcome = SetupOutcome("recipe")
        try:
            with _folder(repository, opener) as folder:
                facts = read_facts(folder)
                project = project_of(facts, Path(repository.path) if repository.path else None)
                if self._settings.env.planner != "agent":
                    planned = plan(opener, project, facts, self._limits, image_name,
                                   budget_s=PLAN_TIMEOUTS * self._limits.test_s, say=self._tick)
                    outcome = _of_recipe(planned)
                if self._agent and outcome.status != SUCCESS:
                    outcome = self._by_agent(repository, project, opener, image_name, outcome, facts.is_node)
        finally:
            image_id = ""
            if has_image and outcome.status == SUCCESS:
                image_id = self._host.keep(outcome.verified.image_id, _image_of(repository, base_image, outcome))
            self._host.forget(label)
        outcome = replace(outcome, verified=replace(outcome.verified, image_id=image_id),
                          unreadable=facts.unreadable)
        return _record(repository, base_image, outcome, time.monotonic() - started, self._host.can_cut_off)

    def _tick(self, what: str) -> None:
        """Show the next step, which may take minutes, in the progress bar. Raise Interrupted
        where the run is ending."""
        current().doing = what
        if self._models.stop.is_set():
            raise Interrupted()

    def identity(self) -> dict:
        """Return what a record depends on beside the repository. A change of it makes nothing
        stale."""
        own = self._settings
        return {"planner": own.env.planner, "base_image": own.sandbox.base_image, "sandbox": own.sandbox.sandbox,
                **({"agent": self._agent.spec.identity()} if self._agent else {})}

    def bound(self) -> str:
        """Return a line that says how many calls there can be, and what they can cost."""
        own = self._settings
        if not self._agent:
            return "no calls: recipes ask no model"
        where = " where no recipe verifies" if own.env.planner == "auto" else ""
        at_most = own.env.stage2_max_iterations + ROUNDS * own.env.max_iterations
        usd_each = f", {usd(own.agent.max_usd * (ROUNDS + 1))}" if own.agent.max_usd else ""
        return f"an agent for each repository{where}: at most {at_most} calls{usd_each}, most of them take far fewer"

    def _by_agent(self, repository: Repository, project: Project, opener, image_name: str, before: SetupOutcome,
                  in_two: bool) -> SetupOutcome:
        """Return the outcome of an agent, started where the recipes failed. Scripts that do not
        verify may be fixed once."""
        own = self._settings
        trajectories = own.root / Environment.directory / TRAJECTORIES
        n_before = len([*trajectories.glob(f"{glob.escape(repository.repo_name)}.*.json")])   # earlier attempts
        planner = Planner(self._agent, {"max_seconds": own.agent.max_seconds, "max_usd": own.agent.max_usd},
                          (own.env.max_iterations, own.env.stage2_max_iterations),
                          lambda n: trajectories / f"{repository.repo_name}.{n_before + n}.json",
                          self._limits.test_s)
        failures = [Failure(before.install_script, before.test_script, before.error, before.verified.log)
                    ] if before.install_script else []
        outcome = replace(before, planner="agent", summary="", excluded_tests=())
        for n in range(ROUNDS):
            with opener("", is_stateful=True) as sandbox:
                if fault := put_source(sandbox, project)[1]:
                    raise ItemFailed(f"its source cannot be used: {fault}")
                sandbox.network(True)
                self._tick("an agent is at work")
                found = planner.mend(sandbox, repository.repo_name, failures[-1]) if n else planner.find(
                    sandbox, repository.repo_name, failures, in_two)
            outcome = merge_agent_result(outcome, found)
            if found.status != SUCCESS:
                return outcome
            self._tick("verifying what the agent handed in")
            outcome = with_status(replace(outcome, verified=demote_partial_suite(verify(
                opener, project, outcome.install_script, outcome.test_script, self._limits, image_name))))
            if outcome.status == SUCCESS:
                return outcome
            failures.append(Failure(outcome.install_script, outcome.test_script, outcome.error, outcome.verified.log))
        return outcome


def _label(repo_name: str) -> str:
    """Return a random label for the sandboxes and images of one attempt, valid in Docker and
    Kubernetes."""
    return f"env-{repo_name[:40]}-{secrets.token_hex(4)}"


def fault_of(environment: Environment) -> str:
    """Return why an environment counts as failed; an empty string where it does not."""
    return "" if environment.status == SUCCESS else f"{environment.status}: {environment.error}"


@contextmanager
def _folder(repository: Repository, opener):
    """Yield a folder with the source: the given one, or a temporary copy of the image's."""
    if repository.path:
        yield Path(repository.path)
        return
    with tempfile.TemporaryDirectory(prefix="codedata_source.") as folder:
        with opener("") as sandbox:
            sandbox.get(sandbox.workdir, Path(folder))
        yield Path(folder)


def _of_recipe(planned: Planned) -> SetupOutcome:
    """Return the outcome of the recipe planner."""
    return with_status(SetupOutcome("recipe", planned.install_script, planned.test_script, planned.verified,
                           summary=f"recipe: {planned.recipe or 'none'}", attempts=planned.attempts,
                           excluded_tests=planned.excluded_tests))


def merge_agent_result(outcome: SetupOutcome, found: ScriptsFound) -> SetupOutcome:
    """Return the outcome with the result of an agent's run added."""
    usage = {key: None if None in (a := outcome.usage.get(key, 0), b := found.usage.get(key)) else a + b
             for key in found.usage}
    scripts = found.scripts if len(found.scripts) == len(SCRIPTS) else {}   # one alone would go with an older one
    return replace(outcome, **scripts, status=found.status, summary=found.summary, error=found.error,
                   messages=outcome.messages + found.messages, usage=usage)


def demote_partial_suite(found: Verified) -> Verified:
    """Return the verification of an agent's scripts, not healthy where they leave out most test
    files: unlike a recipe, an agent may have picked the tests that pass."""
    part = part_of_suite(found.unreported_files, found.n_test_files)
    return replace(found, healthy=False, cause=part) if found.healthy and part.name else found


def with_status(outcome: SetupOutcome) -> SetupOutcome:
    """Return the outcome with its status set from its verification."""
    found = outcome.verified
    attempt = {"recipe": outcome.planner, "failed": found.failed, "cause": found.cause.name,
               "evidence": found.cause.evidence, "n_passed": found.n_passed, "n_cases": found.n_cases,
               "healthy": found.ok and found.healthy}
    attempts = outcome.attempts if outcome.planner == "recipe" else [*outcome.attempts, attempt]
    if found.ok:
        return replace(outcome, status=SUCCESS, error="", attempts=attempts)
    why = ": ".join(filter(None, (found.failed, found.cause.name, found.cause.evidence)))
    return replace(outcome, status=ERROR, error=f"not verified: {why}", attempts=attempts)


def image_name_of(repository: Repository) -> str:
    """Return an image name that Docker accepts. A repo_name that has to be changed for this gets
    a digest, so that similar names stay distinct."""
    own = repository.repo_name
    name = own if IMAGE_NAME.fullmatch(own) else re.sub(r"[^a-z0-9]+", "-", own.lower()).strip("-") or "repository"
    return IMAGES + (name if name == own else f"{name}-{digest(own)[:6]}")


def _image_of(repository: Repository, base_image: str, outcome: SetupOutcome) -> str:
    """Return the image's name with a tag that no other result of the same repository gets."""
    made_of = [outcome.verified.base_commit, base_image, outcome.install_script]
    return f"{image_name_of(repository)}:{digest(made_of)[:12]}"


def _record(repository: Repository, base_image: str, outcome: SetupOutcome, seconds: float,
            network_was_off: bool) -> Environment:
    """Return the record of an outcome."""
    found = outcome.verified
    verified = {"failed": found.failed, "cause": asdict(found.cause), "healthy": found.ok and found.healthy,
                "n_passed": found.n_passed, "n_cases": found.n_cases, "share_passed": found.share_passed,
                "share_collected": round(1 - len(found.not_collected) / found.n_cases, 4) if found.n_cases else 0.0,
                "share_skipped": found.share_skipped, "not_collected": found.not_collected,
                "silent": found.unreported_files, "left_out": [*outcome.excluded_tests],
                "unreadable": outcome.unreadable,
                "needs_network": found.needs_network, "restored": found.restored,
                "changed_by_tests": found.changed_by_tests, "network_was_off": network_was_off,
                "image_id": found.image_id, "install_s": round(found.install_s, 1), "test_s": list(found.test_s),
                "attempts": outcome.attempts}
    return Environment(
        repository.repo, repository.repo_name, repository.row, found.base_commit or repository.base_commit, base_image,
        _image_of(repository, base_image, outcome) if found.image_id else "", outcome.status, outcome.install_script,
        outcome.test_script, outcome.summary, outcome.planner,
        outcome.messages, outcome.error, found.results, found.flaky, verified, outcome.usage, round(seconds, 1))
