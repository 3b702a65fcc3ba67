"""Run the candidates of a turn at its state, and the hidden tests after candidates that change
files.

Each candidate has its own branch on the replayed history, so that none sees another's effects. The
tests of the pull request are put over a candidate's files in one more branch, which ends with their
run. So no text shown to a judge or a model comes from a container with the tests, unless the
recording itself began with them in place (replay.py).
"""
from __future__ import annotations

import secrets
import shlex
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from codedata.code.entities import is_of_tests
from codedata.code.patches import files_of
from codedata.conversation.bash_commands import hands_in
from codedata.conversation.recorded_steps import steps_of
from codedata.conversation.turn import commands_of, form_of
from codedata.disk.store import Derived, Store, digest, known
from codedata.errors import Excluded, ItemFailed
from codedata.llm.replies import current_reply_log
from codedata.records import (
    Answer,
    Attempt,
    CandidateRun,
    Commit,
    Environment,
    Executed,
    Object,
    Prompt,
    Side,
    Task,
    TurnStates,
)
from codedata.run.talk import begin_step, current_step
from codedata.sandbox import Result, Sandbox
from codedata.sandbox.factory import SandboxFactory
from codedata.settings import Settings
from codedata.suites.environments import Environments, id_of, labelled, of_image
from codedata.suites.project_suite import run_suite
from codedata.suites.repo_names import repo_name_of
from codedata.suites.source import Files, apply_patch
from codedata.tasks.folder.task_folder import TEST_SCRIPT, image_of, text_in
from codedata.tasks.prove.outcomes import PASSED, ignored_tests
from codedata.texts import printable, text_of
from codedata.turns.branches import Branch, BranchedImage
from codedata.turns.fresh import FreshSandboxes
from codedata.turns.replay import (
    EQUAL,
    KEPT_SHELL,
    MASKED,
    N_TRIED,
    Branches,
    Replayed,
    Replayer,
    cut,
    variables_of,
)

COMMAND_S = 60.0           # time limit of a command
TESTS_S = 900.0            # time limit of one run of the hidden tests
ONLY = "/tmp/codedata-only"   # prefix of the folder of the plugin that runs only the hidden tests
KILLED = 137               # exit code of a command whose container is gone
NOT_RUN = Result(0, "", 0.0)   # result of a command that submits, which is not run
UNKNOWN = {".": ""}        # changes that cannot be read


def environments_of(settings: Settings) -> Derived:
    """Return the environments of a root's pull requests, by instance id: of the task's own image
    if the task has attempts, else of the base commit."""
    found = Environments(Path(settings.run.environments or settings.root), unhealthy_too=True)
    tasks = Store(settings.root, Task)

    def of(name: str, commit: Commit) -> dict[str, Environment]:
        attempts = (settings.root / Attempt.directory).glob(f"{name}.*")
        if name in tasks and any(attempts) and image_of(task := tasks.read(name)):
            return {name: environment_of(task, commit)}
        environment = known(found, repo_name_of(commit.repo, commit.base_commit))
        return {name: environment} if environment else {}

    return Derived(Store(settings.root, Commit), of, place="env/", also_reads=(found, tasks),
                   derived=False)


def environment_of(task: Task, commit: Commit) -> Environment:
    """Return a task's image as an environment with the task's name."""
    return of_image(
        repo=commit.repo, repo_name=task.instance_id, base_commit=commit.base_commit,
        image_name=image_of(task), test_script=text_in(task.tests, TEST_SCRIPT),
        verified={"image_id": (task.proof or {}).get("image_id")})


class Runner:
    """Run the candidates of turns; make() is the item function of run_turns.py."""

    def __init__(self, settings: Settings, factory: SandboxFactory,
                 samples_of: Callable[[Path], list[Side]]):
        """`samples_of` returns the further blind answers saved for the answer at a path."""
        self.settings, self._factory, self._samples_of = settings, factory, samples_of
        self._answers = Store(settings.root, Answer)
        self._starts = {}   # {digest of instance and first commands: the start that was found}

    def make(self, answer: Answer, commit: Commit, environment: Environment) -> Executed:
        """Return the effects of a turn's candidates."""
        began = time.monotonic()
        sides = self.candidates(answer, current_reply_log().item)   # may fail: before the replay
        with self.state(answer, commit, environment) as state:
            runs, before = run_sides(sides, answer, state)
        found = state.found
        return Executed(
            answer.instance_id, environment.repo_name, environment.image_name, found.start,
            state.replayer.branches.how, found.state, found.unequal, len(found.results),
            found.n(EQUAL), found.n(MASKED), before, runs, round(time.monotonic() - began, 2))

    def states(self, trajectory: Prompt, commit: Commit, environment: Environment) -> TurnStates:
        """Return which of the pull request's tests pass before each turn. Raise Excluded if the
        history cannot be replayed."""
        known = {}   # {digest of the files: results of the tests}
        turns = {}

        def look(turn: int, branch: Branch, tree: str) -> None:
            if tree not in known:
                known[tree] = hidden.run(branch)
            tests = known[tree]
            passed = sorted(name for name in tests if tests[name] == PASSED)
            turns[str(turn)] = {"passed": passed, "failed": sorted(tests.keys() - passed)}

        with self._opened_for(trajectory, commit, environment) as (replayer, hidden, steps), \
                replayer.replay(steps, look=look) as (_, found):
            if found.diverged is not None:
                turns = {turn: turns[turn] for turn in turns if int(turn) <= found.diverged}
        return TurnStates(trajectory.instance_id, found.start, turns)

    @contextmanager
    def state(self, answer: Answer, commit: Commit, environment: Environment) -> Iterator[State]:
        """Yield the state after a turn's history."""
        with self._opened_for(answer, commit, environment) as (replayer, hidden, steps):
            tried = digest([answer.instance_id, [step.command for step in steps[:N_TRIED]]])
            with replayer.replay(steps, self._starts.get(tried, "")) as (branch, found):
                self._starts[tried] = found.start
                yield State(branch, found, replayer, hidden)

    @contextmanager
    def _opened_for(self, record: Answer | Prompt, commit: Commit, environment: Environment
                    ) -> Iterator[tuple]:
        """Yield (replayer, hidden tests, steps) for the history of a record."""
        with self.branches(environment, current_reply_log().item) as branches:
            hidden = HiddenTests(branches, environment, commit)
            is_task = environment.repo_name == commit.instance_id   # attempts had no variables
            # whether each command starts in the shell state that the previous one left
            keeps_shell = KEPT_SHELL in f"{record.messages[:1]}{record.tools}"
            replayer = Replayer(branches, {} if is_task else hidden.variables, COMMAND_S,
                                hidden.put, keeps_shell)
            steps = steps_of(record.messages, record.tools)
            begin_step("replaying commands")
            yield replayer, hidden, steps

    @contextmanager
    def branches(self, environment: Environment, name: str) -> Iterator[Branches]:
        """Yield a maker of branches of the environment; remove its images at the end."""
        image = environment.image_name
        with labelled(self._factory, name, "turn") as label:
            if self._factory.name != "docker":
                yield FreshSandboxes(environment, self._factory, label)
            elif not self._factory.has_image(image, id_of(environment)):
                raise ItemFailed(f"its image {image or '(none)'} is not here.", name,
                                 "Make it again: pr_tasks.py --setup")
            else:
                begin_step("reading the image's source")
                yield BranchedImage(self._factory, image, label)

    def candidates(self, answer: Answer, name: str) -> dict[str, Side]:
        """Return the existing sides of a turn, by name."""
        sides = {"king": answer.king, "challenger": answer.challenger,
                 "reference": answer.assistant}
        samples = self._samples_of(self._answers.path(name))
        sides |= {f"sample {i}": side for i, side in enumerate(samples, 1)}
        return {name: side for name, side in sides.items() if side}


def run_sides(sides: Mapping[str, Side], answer: Answer, state: State
              ) -> tuple[list[CandidateRun], dict[str, str]]:
    """Return (a run for each turn of the sides; the results of the hidden tests at the state, or {}
    if no turn changes files). Turns with equal commands are run once. Malformed turns and commands
    that submit are not run. A turn that ends its container, or whose changes cannot be read, passes
    no test."""
    form = form_of(answer.messages, answer.tools)
    by_commands = defaultdict(list)   # {commands: sides}
    for name, side in sides.items():
        commands = commands_of(form.read(side, answer.messages))
        if any(commands):
            by_commands[tuple(commands)].append(name)
    runs = []
    before: dict[str, str] | None = None
    for i, (commands, names) in enumerate(by_commands.items(), 1):
        begin_step("running the candidates", i, len(by_commands))
        done = []   # one per command, up to one that ends the container
        changes, tests = {}, {}
        with state.replayer.branches.branch(*state.branch.layers) as branch:
            try:
                for command in commands:
                    done.append(Result(KILLED, "", 0.0))
                    done[-1] = NOT_RUN if hands_in(command) else state.replayer.run(branch, command)
                changes = branch.changes()
                if changes:
                    before = state.hidden.run(state.branch) if before is None else before
                    tests = state.hidden.run(branch, before)
            except ItemFailed as e:
                if changes and before is None:   # the tests cannot be run at the state itself
                    raise
                if not changes:   # else the error is about hidden tests: keep it out of the output
                    output = f"{done[-1].output}\n[{printable(e.what, 200)}]\n"
                    done[-1] = replace(done[-1], output=output)
                changes = changes or UNKNOWN
        turns = list(dict.fromkeys(digest(sides[name]) for name in names))
        runs.append({"sides": names, "turns": turns, **_shown(commands, done),
                     "changes": changes, "tests": tests})
    return runs, before or {}


def _shown(commands: Sequence[str], results: Sequence[Result]) -> Object:
    """Return the fields of a CandidateRun about the commands of a turn and their results."""
    calls = [{"command": command, "exit_code": one.exit_code, "timed_out": one.timed_out,
              "seconds": round(one.seconds, 3), "output": cut(one.output)}
             for command, one in zip(commands, results, strict=False)]
    if len(commands) == 1:
        return calls[0]
    return {**calls[-1], "command": "\n".join(commands), "calls": calls,
            "timed_out": any(one["timed_out"] for one in calls),
            "seconds": round(sum(one["seconds"] for one in calls), 3),
            "output": "\n".join(one["output"] for one in calls)}


@dataclass(frozen=True)
class State:
    """Hold the state after the history of a turn."""

    branch: Branch
    found: Replayed
    replayer: Replayer
    hidden: HiddenTests


class HiddenTests:
    """Run the tests of a pull request over the files of a branch."""

    def __init__(self, branches: Branches, environment: Environment, commit: Commit):
        """Read the test files as they are after the pull request. Raise Excluded if their patch
        does not apply."""
        self._branches, self._environment = branches, environment
        self._ignored = ignored_tests(environment)
        self.variables = variables_of(environment.test_script)
        patch = commit.test_patch + "".join(
            text for path, text in files_of(commit.patch) if is_of_tests(path))
        self._files: Files = {}
        self._gone: list[str] = []
        if patch:
            with branches.branch() as branch:
                before, self._files, reason = apply_patch(branch, patch)
            if reason:
                raise Excluded(f"its tests cannot be put in place: {printable(reason, 200)}")
            self._gone = sorted(before.keys() - self._files.keys())

    def put(self, sandbox: Sandbox) -> None:
        """Put the tests into a sandbox, replacing existing files."""
        if self._gone:
            sandbox.run(f"rm -f -- {shlex.join(self._gone)}")
        sandbox.put(self._files, ".")

    def run(self, branch: Branch, before: Mapping[str, str] | None = None) -> dict[str, str]:
        """Run the request's test files on top of a branch; return {test: status}. If the
        result differs from `before`, run them again, and leave out tests that differ between the
        two runs."""
        first = self._run_once(branch)
        if before is None or first == before or not first:
            return first
        second = self._run_once(branch)
        return {name: status for name, status in first.items() if second.get(name) == status}

    def _run_once(self, below: Branch) -> dict[str, str]:
        """Run only the request's test files if the runner is pytest, else the whole suite."""
        if not self._files:
            return {}
        current_step().count = "hidden tests"
        plugin = text_of("codedata.suites.programs", "pytest_only.py")
        places = [f"{below.workdir}/{path}" for path in self._files]
        folder = f"{ONLY}-{secrets.token_hex(8)}"   # random, so that files left by commands cannot
                                                    # be in the way
        listed = {"codedata_only.txt": "\n".join(places).encode(),
                  "codedata_only.py": plugin.encode()}
        with self._branches.branch(*below.layers) as branch:
            self.put(branch)
            branch.put(listed, folder)
            env = {**self.variables, "PYTHONPATH": folder, "PYTEST_ADDOPTS": "-p codedata_only"}
            run = run_suite(branch, self._environment.test_script, TESTS_S, env=env)
        return {case.name: case.status for case in run.results if case.name not in self._ignored}
