"""Make the stages whose records are converted, as their scripts make them."""
from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from codedata.bugs.instances import AGENT, SCALE, Word, bug_tasks
from codedata.bugs.preprocess import Preprocessed
from codedata.bugs.stages import Stages
from codedata.llm import Models
from codedata.nl2repo.kind import instructions_stage, patches_stage, proof_stage
from codedata.records import STRIPPED_PATCH, Task
from codedata.run_loop import Stage
from codedata.sandbox.factory import SandboxFactory
from codedata.settings import Settings
from codedata.store import Store
from codedata.suites.environments import Environments


def bug_stage(settings: Settings, models: Models, word: Word, step: str) -> Stage:
    """Return a stage of bug_inject.py."""
    stages = Stages(settings, Preprocessed(settings, None, None, None),
                    partial(Environments, settings.root, unhealthy_too=True), keep_images=False,
                    num_runs=1, strategy="procedural", is_full=False)
    return getattr(stages, word.name)()[step](models)


def strip_stage(settings: Settings, models: Models, step: str) -> Stage:
    """Return the stage `proof` or `patches` of nl2repo.py."""
    if step == "patches":
        return patches_stage(settings)
    return proof_stage(settings.root, Environments(settings.root, unhealthy_too=True),
                       SandboxFactory(settings, models.stop))


def instruct_stages(settings: Settings, models: Models) -> Iterator[Stage]:
    """Yield the stages that write the instructions of a root's bugs and stripped patches."""
    for word in AGENT, SCALE:
        if bug_tasks(settings.root, word.owns).open().names():
            yield bug_stage(settings, models, word, "instruct")
    if Store(settings.root, Task, kind=STRIPPED_PATCH).open().names():
        yield instructions_stage(settings.root)
