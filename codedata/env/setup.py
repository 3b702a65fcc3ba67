"""Set up one repository for env_setup.py: find its scripts, verify them, keep the image, return the
record.

The recipe planner runs first, and the agent where none of its recipes verifies. Whichever planner
found the scripts, a record is a success only if they were verified.
"""
from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from functools import partial
from pathlib import Path

from codedata.agent import new_trajectory
from codedata.disk.locks import temporary_folder
from codedata.disk.store import Store, known
from codedata.driver import in_driver
from codedata.env.agents import SCRIPTS, AgentPlanner, AgentRun, FailedTry, end_of
from codedata.env.bases import base_for, python_to_bring
from codedata.env.clones import (
    SOURCES,
    checked_out,
    cloned,
    date_of,
    distance,
    install_key,
)
from codedata.env.inputs import Repository
from codedata.env.planner import Planned, plan, project_of
from codedata.env.repository_facts import Facts, read_facts
from codedata.env.verify import Limits, Verified, Verifier
from codedata.errors import BrokenRecord, ItemFailed, Trouble
from codedata.llm import Models
from codedata.records import Environment
from codedata.run.outcomes import of_environment
from codedata.run.stage import Reads, Stage, Writes
from codedata.run.talk import begin_step, current_step
from codedata.sandbox import Sandbox
from codedata.sandbox.copies import at_hand
from codedata.sandbox.factory import WORKDIR, KeptImage, SandboxFactory
from codedata.settings import Settings
from codedata.suites.environments import TRIES, id_of, image_name_of
from codedata.suites.source import put_source
from codedata.terminal import usd

TRAJECTORIES = "_trajectories"
# runs of an agent: one to find scripts, one to fix them if they did not verify
ROUNDS = 2
PLAN_TIMEOUTS = 4           # times run_timeout, after which the recipe planner starts nothing new
DATED_AFTER = 180 * 86_400   # seconds, from which on today's packages are the second choice
SUCCESS, ERROR = "success", "error"
READ = ("repo", "base_image", "base_commit", "source", "row")   # of a repository
# Fields of Verified that the record's `verified` has under the same name.
RECORDED = ("failed", "n_passed", "n_cases", "share_passed", "share_skipped", "not_collected",
            "needs_network", "restored", "changed_by_tests")


@dataclass(frozen=True)
class SetupOutcome(Planned):
    """Hold the result of both planners so far: the scripts with their verification, and the agent's
    runs where one was asked."""

    agent: AgentRun | None = None

    @property
    def status(self) -> str:
        """Return how an agent ended that handed in no scripts; else if the scripts verified."""
        if self.agent and self.agent.status != SUCCESS:
            return self.agent.status
        return SUCCESS if self.verified.ok else ERROR

    @property
    def error(self) -> str:
        """Return why the status is not success; an empty string where it is."""
        if self.agent and self.agent.status != SUCCESS:
            return self.agent.error
        cause = self.verified.cause
        why = ": ".join(filter(None, (self.verified.failed, cause.name, cause.evidence)))
        return "" if self.verified.ok else f"not verified: {why}"


@dataclass(frozen=True)
class Source:
    """Say where sandboxes get a source from."""

    place: Path | None       # a folder of this machine; None: it is in the image
    commit: str = ""         # "": HEAD with what is not committed
    committed_at: int = 0    # seconds since 1970; 0: not known
    near: Path | None = None   # `place`, or a copy on this machine


def setup_stage(settings: Settings, models: Models, host: SandboxFactory, repositories: Reads,
                **more) -> Stage:
    """Return the stage that sets up repositories."""
    setup = Setup(settings, models, host)
    fields = tuple(Environment.__dataclass_fields__)
    return Stage(
        "env_setup", make=setup.make, identity=setup.identity(), cost_note=setup.bound(),
        in_words=of_environment, reads=repositories,
        writes=Writes(Store(settings.root, Environment), fields, fault=fault_of), **more)


class Setup:
    """Set up repositories; make() is the item function."""

    def __init__(self, settings: Settings, models: Models, host: SandboxFactory):
        self._settings, self._models, self._host = settings, models, host
        self._agent = models.client("agent") if settings.env.planner != "recipe" else None
        self._limits = Limits(settings.sandbox.run_timeout, settings.sandbox.run_timeout)

    def make(self, repository: Repository) -> Environment:
        """Return the environment of a repository, verified or with the reason why it failed."""
        started, token = time.monotonic(), secrets.token_hex(4)
        label = f"env-{repository.repo_name[:40]}-{token}"   # valid in Docker and Kubernetes
        row_image = repository.base_image
        repository = replace(repository, base_image=row_image
                             or self._settings.sandbox.base_image)
        has_image = self._host.builds_images and not self._settings.env.no_image
        # not verified yet
        image_name = self._host.temporary_name(TRIES) if has_image else ""
        is_put = repository.path or repository.origin
        workdir = WORKDIR if is_put else self._host.workdir_of(repository.base_image)

        def opener(image: str, is_stateful: bool = False) -> Sandbox:
            return self._host.open(image or repository.base_image, label, workdir, is_stateful)

        # none was tried
        outcome, kept = SetupOutcome(verified=Verified(failed="recipe")), self._no_image()
        try:
            begin_step("reading the source")
            with self._source(repository, opener) as (folder, source):
                facts = read_facts(folder)
                if is_put and not row_image:
                    repository = replace(repository, base_image=base_for(
                        facts.python, source.committed_at, repository.base_image,
                        self._host.has_image))
                facts = replace(facts, until=_until(source),
                                brought=python_to_bring(facts.python, repository.base_image))
                project = project_of(facts, source.near, source.commit)
                verifier = Verifier(opener, project, self._limits, image_name)
                key = _key_of(source, repository.base_image, facts)
                if neighbour := self._neighbour(repository, source):
                    outcome = _as_neighbour(verifier, neighbour, key)
                if self._settings.env.planner != "agent" and not outcome.verified.is_healthy:
                    tried, budget_s = outcome.attempts, PLAN_TIMEOUTS * self._limits.test_s
                    outcome = SetupOutcome(**vars(plan(verifier, facts, budget_s)))
                    outcome = replace(outcome, attempts=[*tried, *outcome.attempts])
                if self._agent and outcome.status != SUCCESS:
                    outcome = self._by_agent(repository.repo_name, verifier, outcome, facts.is_node)
            if has_image and outcome.status == SUCCESS:
                kept = self._host.keep(outcome.verified.image_id,
                                       _image_of(repository, outcome))
        finally:
            self._host.forget(label)
        return _record(repository, outcome, kept, time.monotonic() - started,
                       unreadable=facts.unreadable, network_was_off=self._host.can_cut_off,
                       source_path=str(source.place or ""), committed_at=source.committed_at,
                       install_key=key)

    def _neighbour(self, repository: Repository, source: Source) -> Environment | None:
        """Return the environment of the nearest ancestor of a commit that is healthy, starts from
        the same base image and has its own image here; None where there is none. No descendant's:
        the layers of its image hold what came after the commit."""
        found: dict[int, Environment] = {}
        family, last = repository.repo_name[:-8], source.commit[:8]
        if not (source.committed_at and last and repository.repo_name.endswith(last)):
            return None
        for one in _environments_of(self._settings.root, family):
            if (one.status == SUCCESS and one.verified.get("healthy") and one.base_commit
                    and (one.repo, one.base_image) == (repository.called, repository.base_image)
                    and self._host.has_image(one.image_name, id_of(one))):
                found[distance(one.base_commit, source.commit, source.near)] = one
        found.pop(0, None)   # no ancestors
        return found[min(found)] if found else None

    def _no_image(self) -> KeptImage:
        """Return why a repository has no image, unless one is made."""
        if self._settings.env.no_image:
            return KeptImage(trouble="--no-image")
        if self._host.builds_images:
            return KeptImage(trouble="it was not verified")
        return KeptImage(trouble=f"{self._host.no_images}: install it where it is opened")

    @contextmanager
    def _source(self, repository: Repository, opener) -> Iterator[tuple[Path, Source]]:
        """Yield a folder with the source's files, and where sandboxes get them from. Raise
        ItemFailed where a commit cannot be had."""
        if repository.origin:
            sources = self._settings.root / Environment.directory / SOURCES
            try:
                clone, commit = cloned(repository.origin, repository.base_commit, sources)
            except (Trouble, BrokenRecord) as e:
                raise ItemFailed(f"its source cannot be had: {e}") from e
            with at_hand(clone) as near, checked_out(near, commit) as folder:
                yield folder, Source(clone, commit, date_of(commit, near), near)
        elif repository.path:
            with at_hand(Path(repository.path)) as folder:
                yield folder, Source(Path(repository.path), near=folder)
        else:
            with temporary_folder() as folder:
                with opener("") as sandbox:
                    sandbox.get(sandbox.workdir, Path(folder))
                yield Path(folder), Source(None, repository.base_commit)

    def identity(self) -> dict:
        """Return what a record depends on beside the repository. A change of it makes nothing
        stale."""
        sandbox = self._settings.sandbox
        return {"planner": self._settings.env.planner, "base_image": sandbox.base_image,
                "sandbox": sandbox.sandbox,
                **({"agent": self._agent.spec.identity()} if self._agent else {})}

    def bound(self) -> str:
        """Return a line that says how many calls there can be, and what they can cost."""
        settings = self._settings
        if not self._agent:
            return "no calls: recipes ask no model"
        where = " where no recipe verifies" if settings.env.planner == "auto" else ""
        max_calls = settings.env.stage2_max_iterations + ROUNDS * settings.env.max_iterations
        max_usd = settings.agent.max_usd * (ROUNDS + 1)
        cost = f", {usd(max_usd)}" if max_usd else ""
        return (f"an agent for each repository{where}: at most {max_calls} calls{cost}, "
                "most of them take far fewer")

    def _by_agent(self, name: str, verifier: Verifier, outcome: SetupOutcome,
                  in_two: bool) -> SetupOutcome:
        """Return the outcome of an agent, started where the recipes failed. Scripts that do not
        verify may be fixed once."""
        planner, failures = self._planner(name), []
        outcome = replace(outcome, excluded_tests=())
        for n in range(ROUNDS):
            if outcome.install_script:
                failures.append(FailedTry(outcome.install_script, outcome.test_script,
                                          outcome.error, end_of(outcome.verified.log)))
            with verifier.open_sandbox("", is_stateful=True) as sandbox:
                if trouble := put_source(sandbox, verifier.project)[1]:
                    raise ItemFailed(f"its source cannot be used: {trouble}")
                sandbox.network(True)
                current_step().within = "agent"
                run = (planner.mend(sandbox, name, failures[-1]) if n
                       else planner.find(sandbox, name, failures, in_two))
            # scripts count only together: one alone would go with an older one
            scripts = run.scripts if len(run.scripts) == len(SCRIPTS) else {}
            so_far = outcome.agent.followed_by(run) if outcome.agent else run
            outcome = replace(outcome, **scripts, agent=so_far)
            if run.status != SUCCESS:
                break
            current_step().within = "the agent's scripts"
            verified = verifier.verify(**run.scripts)
            outcome = replace(outcome, verified=verified,
                              attempts=[*outcome.attempts, verified.as_attempt("agent")])
            if verified.ok:
                break
        return outcome

    def _planner(self, name: str) -> AgentPlanner:
        """Return the agent planner, whose trajectories do not replace those of earlier attempts."""
        settings = self._settings
        trajectory = partial(new_trajectory, settings.root,
                             f"{Environment.directory}/{TRAJECTORIES}", name)
        return AgentPlanner(self._agent, {"max_seconds": settings.agent.max_seconds,
                                          "max_usd": settings.agent.max_usd},
                            (settings.env.max_iterations, settings.env.stage2_max_iterations),
                            trajectory, self._limits.test_s)


def _as_neighbour(verifier: Verifier, neighbour: Environment, key: str) -> SetupOutcome:
    """Return the outcome of a neighbour's scripts in its image: of what is installed there already,
    only the difference is installed. Where nothing differs that decides the install, the
    neighbour's results count, too."""
    def opener(image: str, is_stateful: bool = False) -> Sandbox:
        return verifier.open_sandbox(image or neighbour.image_name, is_stateful)

    current_step().within = f"as {neighbour.repo_name}"
    shown = Verified(results=neighbour.test_case_result, flaky=neighbour.flaky,
                     needs_network=neighbour.verified.get("needs_network", []))
    is_same = neighbour.verified.get("install_key") == key
    verified = replace(verifier, open_sandbox=opener).verify(
        neighbour.install_script, neighbour.test_script, only_healthy=True,
        like=shown if is_same else None)
    return SetupOutcome(neighbour.install_script, neighbour.test_script, verified,
                        f"that of {neighbour.repo_name}",
                        [verified.as_attempt(f"that of {neighbour.repo_name}")],
                        tuple(neighbour.verified.get("left_out", ())), verified.log)


@in_driver
def _environments_of(root: Path, family: str) -> list[Environment]:
    """Return the environments of a project that can be read, at whatever commits."""
    store = Store(root, Environment).open()
    return [one for name in store.names() if name[:-8] == family and (one := known(store, name))]


def _key_of(source: Source, base_image: str, facts: Facts) -> str:
    """Return the digest of what decides the install of a commit; "" where the source is none."""
    if not source.committed_at:
        return ""
    return install_key(source.near, source.commit, base_image, facts.brought, facts.decisive)


def _until(source: Source) -> str:
    """Return the day of a commit that is older than DATED_AFTER; else ""."""
    is_old = 0 < source.committed_at < time.time() - DATED_AFTER
    return f"{datetime.fromtimestamp(source.committed_at, timezone.utc):%F}" if is_old else ""


def fault_of(environment: Environment) -> str:
    """Return why an environment counts as failed; an empty string where it does not."""
    return "" if environment.status == SUCCESS else f"{environment.status}: {environment.error}"


def _image_of(repository: Repository, outcome: SetupOutcome) -> str:
    """Return the image's name with a tag that no other result of the same repository gets."""
    return image_name_of(repository.repo_name, outcome.verified.base_commit, repository.base_image,
                         outcome.install_script)


def _record(repository: Repository, outcome: SetupOutcome, kept: KeptImage, seconds: float,
            **figures) -> Environment:
    """Return the record of an outcome, with these figures beside those of the verification."""
    result = outcome.verified
    collected = 1 - len(result.not_collected) / result.n_cases if result.n_cases else 0.0
    verified = {name: getattr(result, name) for name in RECORDED} | figures | {
        "cause": asdict(result.cause), "healthy": result.is_healthy,
        "share_collected": round(collected, 4), "silent": result.unreported_files,
        "left_out": [*outcome.excluded_tests], "image_id": kept.image_id,
        "image_trouble": kept.trouble,
        "install_s": round(result.install_s, 1), "test_s": [*result.test_s],
        "attempts": outcome.attempts}
    agent = outcome.agent or AgentRun("", summary=f"recipe: {outcome.recipe or 'none'}")
    return Environment(
        repository.called, repository.repo_name,
        result.base_commit or repository.base_commit, repository.row, repository.base_image,
        kept.name, outcome.status, outcome.install_script, outcome.test_script, agent.summary,
        "agent" if outcome.agent else "recipe", agent.messages, outcome.error, result.results,
        result.flaky, verified, agent.usage, round(seconds, 1))
