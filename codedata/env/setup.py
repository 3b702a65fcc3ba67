"""Set up one repository for env_setup.py: find its scripts, verify them, keep the image, return the
record.

It tries, in this order: the image and scripts of the commit's nearest ancestor; the recipe planner,
if the tests are not healthy; the agent, if no scripts are verified. Only verified scripts make a
record a success.
"""
from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

from codedata.agent import new_trajectory
from codedata.code import projects
from codedata.disk.store import Store, known
from codedata.driver import in_driver
from codedata.env.bases import base_for, python_to_bring
from codedata.env.clones import checked_out, distance
from codedata.env.inputs import Repository, Source, source_of
from codedata.env.planner import Planned, plan, plan_as, project_of
from codedata.env.repository_facts import Facts, read_facts
from codedata.env.setup_agent import (
    MAX_ITERATIONS,
    SCRIPTS,
    TEST_ITERATIONS,
    AgentPlanner,
    FailedTry,
    SetupRun,
    end_of,
)
from codedata.env.verify_scripts import Verified, Verifier
from codedata.errors import ItemFailed
from codedata.llm import Client, Models
from codedata.records import Environment
from codedata.run.stage import Reads, Stage, Writes
from codedata.run.talk import begin_step, current_step
from codedata.sandbox.factory import WORKDIR, KeptImage, SandboxFactory
from codedata.settings import AgentSettings, EnvSettings, Settings
from codedata.suites.environments import SUCCESS, TRIES, id_of, image_name_of
from codedata.suites.source import put_source
from codedata.terminal import plural, usd

TRAJECTORIES = "_trajectories"
# runs of an agent: one finds scripts, one fixes them if their verification fails
ROUNDS = 2
NO_TESTS = ("no_recipe", "no_tests")   # causes that added tests may remove
ADD_TESTS = "add tests that pytest, or the runner of its language, finds, or have "
ASK_AN_AGENT = "an agent look for the scripts (it asks a model): --planner agent in place of recipe"
PLAN_TIMEOUTS = 4           # after this many times run_timeout, the planner starts no new recipe
# fields of a Repository: a change of one makes the record stale
READ = ("repo", "base_image", "base_commit", "source", "row")
# fields of Verified that are copied into the record's `verified`
RECORDED = ("failed", "n_passed", "n_cases", "share_passed", "share_skipped", "not_collected",
            "needs_network", "restored", "changed_by_tests")


def setup_stage(settings: Settings, models: Models, host: SandboxFactory, repositories: Reads,
                **more) -> Stage:
    """Return the stage that sets up repositories."""
    client = models.client("agent") if settings.env.planner != "recipe" else None
    setup = Setup(settings.root, settings.env, settings.agent, host, client)
    fields = tuple(Environment.__dataclass_fields__)
    return Stage(
        "env_setup", make=setup.make, identity=setup.identity(), cost_note=setup.bound(),
        in_words=describe_environment, reads=repositories,
        writes=Writes(Store(settings.root, Environment), fields, fault=fault_of), **more)


@dataclass(frozen=True)
class Setup:
    """Set up repositories; make() is the item function."""

    root: Path
    settings: EnvSettings
    limits: AgentSettings     # limits of an agent
    host: SandboxFactory
    client: Client | None     # for the agents; None if only recipes are tried

    @property
    def _no_image(self) -> str:
        """Return why no repository gets an image; "" if verified ones do."""
        if self.settings.no_image:
            return "--no-image"
        missing = self.host.no_images
        return missing and f"{missing}: install it in the sandbox that runs it"

    def make(self, repository: Repository) -> Environment:
        """Return the environment of a repository, verified or with the reason why it failed."""
        started = time.monotonic()
        # only characters that Docker and Kubernetes allow in labels
        label = f"env-{repository.repo_name[:40]}-{secrets.token_hex(4)}"
        base_image = repository.base_image or self.host.base_image
        is_put = repository.path or repository.origin
        workdir = WORKDIR if is_put else self.host.workdir_of(base_image)
        opened = partial(self.host.open, label=label, workdir=workdir)
        kept = KeptImage(trouble=self._no_image or "it was not verified")
        try:
            begin_step("reading the source")
            with source_of(repository, self.root, partial(opened, base_image)) as source:
                facts = read_facts(source.files)
                if is_put and not repository.base_image:
                    base_image = base_for(facts.python, source.committed_at, base_image,
                                          self.host.has_image)
                licence = projects.licence_of(source.files, projects.project_of(source.files))
                repository = replace(repository, base_image=base_image,
                                     row={"licence": licence, **repository.row})
                facts = replace(facts, until=source.until,
                                brought=python_to_bring(facts.python, base_image))
                verifier = Verifier(
                    opened, project_of(facts, source.near, source.commit),
                    self.host.run_timeout_s,
                    "" if self._no_image else self.host.temporary_name(TRIES), base_image)
                outcome = self._planned(repository, source, facts, verifier)
            if outcome.status == SUCCESS and not self._no_image:
                kept = self.host.keep(outcome.verified.image_id, image_name_of(
                    repository.repo_name, outcome.verified.base_commit, base_image,
                    outcome.install_script))
        finally:
            self.host.forget(label)
        return _record(repository, outcome, kept, time.monotonic() - started,
                       unreadable=facts.unreadable, network_was_off=self.host.can_cut_off,
                       source_path=str(source.place or ""), committed_at=source.committed_at)

    def _planned(self, repository: Repository, source: Source, facts: Facts, verifier: Verifier
                 ) -> Planned:
        """Return the first scripts that are verified, else the scripts of the last planner."""
        planner = self.settings.planner
        outcome = Planned(verified=Verified(failed="recipe"))   # nothing was tried
        if neighbour := nearest_ancestor(self.root, repository, source,
                                         self.host.has_image):
            with checked_out(source.near, neighbour.base_commit) as files:
                is_like = facts.asked <= read_facts(files).asked
            is_installed = is_like and not (facts.builds or neighbour.planner == "agent")
            outcome = plan_as(verifier, neighbour, is_like, is_installed)
        if planner != "agent" and not outcome.verified.is_healthy:
            outcome = plan(verifier, facts, PLAN_TIMEOUTS * verifier.limit_s, outcome.attempts)
        if planner != "recipe" and outcome.status != SUCCESS:
            outcome = self._by_agent(repository.repo_name, verifier, outcome, facts.is_node)
        return outcome

    def identity(self) -> dict:
        """Return the settings that determine a record, in addition to the repository. A changed
        setting does not make the record stale."""
        return {"planner": self.settings.planner, "base_image": self.host.base_image,
                "sandbox": self.host.name,
                **({"agent": self.client.spec.identity()} if self.client else {})}

    def bound(self) -> str:
        """Return a line with the maximum number of calls, and their maximum cost."""
        if not self.client:
            return "no calls: recipes ask no model"
        where = " if no recipe verifies" if self.settings.planner == "auto" else ""
        max_calls = TEST_ITERATIONS + ROUNDS * MAX_ITERATIONS
        max_usd = self.limits.max_usd * (ROUNDS + 1)
        cost = f", {usd(max_usd)}" if max_usd else ""
        return (f"an agent for each repository{where}: at most {max_calls} calls{cost}, "
                "most of them take far fewer")

    def _by_agent(self, name: str, verifier: Verifier, outcome: Planned, in_two: bool) -> Planned:
        """Let an agent find scripts after the recipes failed, and return the outcome. If their
        verification fails, the agent may fix them once."""
        failure: FailedTry | None = None
        # returns a new path each time, so that earlier attempts keep their trajectories
        trajectory = partial(new_trajectory, self.root,
                             f"{Environment.directory}/{TRAJECTORIES}", name)
        planner = AgentPlanner(self.client, self.limits, trajectory, verifier.limit_s)
        outcome = replace(outcome, excluded_tests=())
        for n in range(ROUNDS):
            if outcome.install_script:
                failure = FailedTry(outcome.install_script, outcome.test_script,
                                    outcome.error, end_of(outcome.verified.log))
            current_step().within = "agent"
            begin_step("its container")
            with verifier.open_sandbox(verifier.base_image, is_stateful=True) as sandbox:
                if trouble := put_source(sandbox, verifier.project)[1]:
                    raise ItemFailed(f"its source cannot be used: {trouble}")
                sandbox.network(True)
                run = (planner.mend(sandbox, name, failure) if n
                       else planner.find(sandbox, name, failure, in_two))
            # use both scripts of a run or neither: scripts of two runs may not fit together
            scripts = run.scripts if len(run.scripts) == len(SCRIPTS) else {}
            so_far = outcome.agent.followed_by(run) if outcome.agent else run
            outcome = replace(outcome, **scripts, agent=so_far, planner="agent")
            if run.status != SUCCESS:
                break
            current_step().within = "the agent's scripts"
            verified = verifier.verify(**run.scripts)
            outcome = replace(outcome, verified=verified,
                              attempts=[*outcome.attempts, verified.as_attempt("agent")])
            if verified.ok:
                break
        return outcome


def nearest_ancestor(root: Path, repository: Repository, source: Source,
                     has_image: Callable[[str, str], bool]) -> Environment | None:
    """Return the healthy environment of the commit's nearest ancestor with the same base image and
    an image on this machine, or None. Never use a descendant, whose image has later changes in its
    layers."""
    found: dict[int, Environment] = {}
    family, last = repository.repo_name[:-8], source.commit[:8]
    if not (source.committed_at and last and repository.repo_name.endswith(last)):
        return None
    for one in _environments_of(root, family):
        if (one.status == SUCCESS and one.verified.get("healthy") and one.base_commit
                and (one.repo, one.base_image) == (repository.called, repository.base_image)
                and has_image(one.image_name, id_of(one))):
            found[distance(one.base_commit, source.commit, source.near)] = one
    found.pop(0, None)   # a distance of 0: no ancestor
    return found[min(found)] if found else None


@in_driver
def _environments_of(root: Path, family: str) -> list[Environment]:
    """Return the readable environments of a project, at any commit."""
    store = Store(root, Environment).open()
    return [one for name in store.names() if name[:-8] == family and (one := known(store, name))]


def fault_of(environment: Environment) -> str:
    """Return why an environment counts as failed; an empty string if it does not."""
    return "" if environment.status == SUCCESS else f"{environment.status}: {environment.error}"


def _record(repository: Repository, outcome: Planned, kept: KeptImage, seconds: float,
            **figures) -> Environment:
    """Return the record of an outcome, with its image, its time and the figures of its
    verification."""
    result = outcome.verified
    collected = 1 - len(result.not_collected) / result.n_cases if result.n_cases else 0.0
    verified = {name: getattr(result, name) for name in RECORDED} | figures | {
        "cause": asdict(result.cause), "healthy": result.is_healthy,
        "share_collected": round(collected, 4), "silent": result.unreported_files,
        "left_out": [*outcome.excluded_tests], "image_id": kept.image_id,
        "image_trouble": kept.trouble,
        "install_s": round(result.install_s, 1), "test_s": [*result.test_s],
        "attempts": outcome.attempts}
    agent = outcome.agent or SetupRun("", summary=f"recipe: {outcome.recipe or 'none'}")
    return Environment(
        repository.called, repository.repo_name,
        result.base_commit or repository.base_commit, repository.row, repository.base_image,
        kept.name, outcome.status, outcome.install_script, outcome.test_script, agent.summary,
        outcome.planner, agent.messages, outcome.error, result.results,
        result.flaky, verified, agent.usage, round(seconds, 1))


def describe_environment(one: Environment) -> str:
    """Return the number of passing tests and the image or, after a failed setup, what may help."""
    cause = one.verified.get("cause") or {}
    if one.status != "success":
        first = ADD_TESTS if cause.get("name") in NO_TESTS else "have "
        return f"{one.error}; to do: {first}{ASK_AN_AGENT}"
    n_passed = sum(case["status"] == "passed" for case in one.test_case_result)
    flaky = f", {len(one.flaky)} flaky" if one.flaky else ""
    text = (f"{n_passed:,} of {plural(len(one.test_case_result), 'test')} pass{flaky}, "
            f"image {one.image_name or '(none)'}, {one.seconds:.0f} s")
    if one.verified.get("healthy"):
        return text
    return (f"{text}; the suite is not healthy ({cause.get('name')}: {cause.get('evidence')}), so "
            "later scripts leave it out; to do: mend the tests, or give analyze.py, bug_inject.py "
            "and nl2repo.py --unhealthy-too")
