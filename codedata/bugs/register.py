"""Write the bug config of each repository: the step `register` of bug_inject.py scale.

A config selects the files that operators may change, and sets limits. A user may edit it; the edits
are kept. The lines that each test runs are in coverage/, the commands that run the tests in env/.
"""
from __future__ import annotations

from codedata.code.entities import LANGUAGES
from codedata.disk.store import Derived, Store, digest
from codedata.records import BugConfig, Coverage, Environment
from codedata.run.stage import Reads, Stage, Writes
from codedata.sandbox.factory import SandboxFactory
from codedata.settings import Settings
from codedata.suites.environments import JUDGED_BY
from codedata.tasks.prove.outcomes import time_limit
from codedata.texts import toml_of

PLUGIN = "plugin"
SEED = 0   # for random draws


def register_stage(settings: Settings, host: SandboxFactory, environments: Derived) -> Stage:
    """Return the stage that writes the configs of these environments."""
    bug = settings.bug

    def make(environment: Environment) -> BugConfig:
        return BugConfig(
            environment.repo, environment.repo_name, environment.base_commit,
            digest([getattr(environment, field) for field in JUDGED_BY]),
            ["."], patterns(), PLUGIN, time_limit(environment, host.run_timeout_s),
            bug.max_candidates, SEED)

    return Stage(
        "bug_inject.register", make=make, is_local=True,
        identity={"seed": SEED, "max_candidates": bug.max_candidates,
                  "exclude": digest(patterns())},
        reads=Reads(environments, JUDGED_BY, made_by="env_setup"),
        writes=Writes(Store(settings.root, BugConfig)),
        after="env_setup.py", then="bug_inject.py scale --steps generate")


def patterns() -> list[str]:
    """Return the path patterns of files that get no bugs: tests, and the paths that register.toml
    excludes."""
    tests = {pattern for table in LANGUAGES.values() for pattern in table["test_files"]}
    return [*sorted(tests), *toml_of(__package__, "register.toml")["exclude"]]


def why_whole_suite(config: BugConfig, coverage: Coverage | None, environment: Environment) -> str:
    """Return why the whole suite must run for each change; "" if tests can be selected."""
    if config.selection != PLUGIN:
        return "selection: none"
    if coverage is None:
        name = environment.repo_name
        return (f"coverage/ has no record of its commit: run python analyze.py --only {name}, then "
                f"python bug_inject.py scale --only {name}")
    return "" if coverage.contexts == "pytest" else coverage.reason
