"""Let agents put bugs into the source of an environment: the step `inject` of bug_inject.py.

  break     the agent puts a bug into code that matters
  promise   it changes the behaviour that a function promises, and adapts all callers but one
  feature   it adds a feature without seeing the tests; the tests that then fail define the bug

An agent works in a sandbox without a history or a network. Only changed sources leave the
sandbox (for a feature, new ones, too). This machine computes the diff from their texts. A run of
the suite in a fresh container shows whether the change is a bug.
"""
from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from inspect import cleandoc
from pathlib import Path

from codedata.agent import (
    Agent,
    AgentResult,
    Failed,
    Stop,
    ToolBashExecutor,
    create_file,
    edit_file,
    new_trajectory,
    search,
    view_file,
)
from codedata.bugs.giveaways import giveaways
from codedata.bugs.hotspots import CodeMap
from codedata.bugs.instances import FEATURE
from codedata.code.entities import (
    SourceFile,
    branches_of,
    captured,
    grammar,
    is_of_tests,
    is_text,
    language_of,
    read_sources,
)
from codedata.code.patches import diff_of, hunks_of
from codedata.disk.locks import temporary_folder
from codedata.disk.store import Derived, Store, digest
from codedata.errors import Excluded, ItemFailed, Trouble
from codedata.llm import Models
from codedata.llm.replies import current_reply_log
from codedata.records import Analysis, Candidates, Coverage, Environment, ProposedChange
from codedata.run.stage import Reads, Stage, Writes
from codedata.run.talk import begin_step
from codedata.sandbox import Sandbox
from codedata.sandbox.factory import SandboxFactory
from codedata.settings import Settings
from codedata.suites.contexts import copy_source
from codedata.suites.environments import READ, labelled, open_environment
from codedata.suites.leftovers import activation
from codedata.suites.source import LOOK_S, Files, changed_files, files_in
from codedata.tasks.prove.effects import symbols_at
from codedata.tasks.prove.outcomes import known_results
from codedata.tasks.prove.rules import MAX_BROKEN_SHARE
from codedata.tasks.prove.run_suite import FirstRun, ScreeningRules, first_run
from codedata.terminal import named
from codedata.texts import fill, printable, text_of

METHOD = "agent"
TRAJECTORIES = "bug/_trajectories"
STRATEGIES = "break", FEATURE, "promise"   # each is described in inject_<name>.md
TASK = "inject.md"         # the task of an agent, with the rules of every strategy
MAX_ITERATIONS = 60        # replies of an agent
MAX_LINES = 150            # lines that an agent adds and removes
MAX_SUBMITS = 5            # submissions of an agent
SCRIPT = "run_tests.sh"    # the test script, in /tmp of the agent's sandbox
QUIET = "-qqqq"            # pytest prints no times, so a resumed agent sees the same output
COMMAND_S = 120            # seconds that a command may take, unless it asks for more
MAX_DIFF_CHARS = 100_000
MAX_NAMED = 20             # broken tests listed in an answer to an agent
CLEAN = "/tmp/clean"       # a copy of the source in the agent's sandbox
TESTS = "hidden_tests"     # a file in /tmp with the paths of the tests; PREPARE removes both
PREPARE = f"""[ ! -e /tmp/{TESTS} ] || xargs -0 rm -f /tmp/{TESTS} -- </tmp/{TESTS}
find . '(' -name .git -o -name __pycache__ -o -name .pytest_cache ')' -prune -exec rm -rf {{}} +
rm -rf {CLEAN}; cp -a . {CLEAN}"""
REMARKS = {"python": "[(comment) (expression_statement . (string) .)] @remark"}


# the items ---------------------------------------------------------------------------------------

def agent_items(environments: Derived, n: int) -> Derived:
    """Return each environment for each of its `n` agents, <repo_name>.agent-<k> from 1, in rounds:
    each round has one agent for each repository."""
    def names_of(repo_name: str) -> list[str]:
        return [f"{repo_name}.{METHOD}-{k}" for k in range(1, n + 1)]

    def items_of(repo_name: str, environment: Environment) -> dict[str, Environment]:
        return dict.fromkeys(names_of(repo_name), environment)

    def is_kept(name: str) -> bool:
        """Return whether `name` belongs to a known or unread repository, or to another method."""
        repo_name, _, batch = name.rpartition(".")
        return not batch.startswith(f"{METHOD}-") or environments.covers(repo_name)

    return Derived(
        environments, items_of, place=environments.place, keeps=is_kept, names_of=names_of,
        choose=lambda names: sorted(names, key=lambda name: int(name.rpartition("-")[2])))


# what an agent hands in --------------------------------------------------------------------------

class RefusedChange(Exception):
    """Report why a change may not be submitted, and how to correct it."""


@dataclass
class Submission:
    """Receive the change of an agent; submit() is the agent's tool."""

    program: Files                       # the sources that may be changed, as they were
    ignored: set[str]                    # paths that the tests themselves change
    strategy: str                        # one of STRATEGIES
    run_with: Callable[[str], FirstRun]  # runs the suite with a diff
    n_runs: int = 0
    reason: str = ""                     # why the last submission did not count
    candidate: ProposedChange | None = None

    def submit(self, sandbox: Sandbox, answer: str) -> str | Stop:
        """Hand in your change: the difference between the source as it is now and as it was. The
        whole suite is run with it in a fresh container, only a few times in all.

        answer: one or two sentences on the change: what it is, and what a user meets of it
        """
        try:
            before, after = self._changes(sandbox)
            diff, symbol = diff_and_symbol(before, after, self.strategy)
        except RefusedChange as e:
            self.reason = str(e)
            return Failed(f"Not handed in: {e}.")
        self.n_runs += 1
        begin_step("tests in a fresh container")
        run = self.run_with(diff)
        self.reason, failing = run.screened.reason, run.screened.failing
        if self.strategy != FEATURE:   # a feature hides nothing
            self.reason = self.reason or ", ".join(giveaways(before, after, run.log))
        if not self.reason:
            self.candidate = {"diff": diff, "symbol": symbol, "summary": answer.strip(),
                              "family": self.strategy}
        n_left = MAX_SUBMITS - self.n_runs
        if not self.reason or n_left <= 0:
            return Stop(answer, is_success=not self.reason)
        reason, names = self.reason, f": {named(failing, MAX_NAMED)}"
        if self.strategy == FEATURE:   # test names would show the tested behaviour
            reason, names = reason.partition(":")[0], ""
        return Failed(   # this text must not differ between two runs
            f"It does not count: {reason}.\n{run.row.get('passed', 0)} tests pass, "
            f"{len(failing)} fail that passed before{names}\n"
            f"The suite may be run {n_left} more times for you.")

    def _changes(self, sandbox: Sandbox) -> tuple[Files, Files]:
        """Return (old contents, new contents) of the changed files. Raise RefusedChange if a file
        changed that may not change. The copy in the sandbox only shows which files to compare. The
        old contents do not come from it, since the agent may have changed it."""
        paths, files, error = changed_files(sandbox, CLEAN)
        if error:
            raise RefusedChange(f"the source cannot be compared with {CLEAN}: {printable(error)}")
        adds = self.strategy == FEATURE
        after = {path: files[path] for path in sorted(files.keys() - self.ignored)
                 if is_text(files[path]) and (path in self.program or (
                     adds and language_of(path) and not is_of_tests(path)))}
        if wrong := sorted(paths - after.keys() - self.ignored):
            raise RefusedChange(f"only sources {'and new ones' if adds else 'that tests load'} may "
                                "change, as texts in UTF-8; undo this: "
                                f"{printable(named(wrong), 500)}")
        return {path: self.program[path] for path in after if path in self.program}, after


def diff_and_symbol(before: Files, after: Files, strategy: str) -> tuple[str, str]:
    """Return (the diff in git's format, the id of the first changed function or ""). Raise
    RefusedChange if the difference is empty or too long, or if a feature is in one file. Other
    changes are also refused if they look artificial, or add or change a comment or a docstring."""
    if strategy == FEATURE and len(after) == 1:
        raise RefusedChange("a feature changes two files or more")
    if strategy != FEATURE and (more := remarks(after) - remarks(before)):
        raise RefusedChange("leave comments and docstrings as they were; this is new or changed: "
                            f"{printable(min(more), 200)!r}")
    diff = diff_of(before, after)
    hunks = hunks_of(diff_of(before, after, n_context=0))
    n_lines = sum(len(hunk.old) + len(hunk.added) for hunk in hunks)
    if not hunks:
        raise RefusedChange("the source is as it was")
    if n_lines > MAX_LINES or len(diff) > MAX_DIFF_CHARS:
        raise RefusedChange(f"{n_lines} lines are added or removed in {len(diff):,} characters; "
                            f"the limits are {MAX_LINES} lines and {MAX_DIFF_CHARS:,} characters")
    if strategy != FEATURE and (found := giveaways(before, after)):
        raise RefusedChange(f"it gives itself away, in {found[0]}")
    symbols = symbols_at([(hunk.path, hunk.start) for hunk in hunks], before)
    return diff, next(iter(symbols), "")


def remarks(files: Files) -> Counter:
    """Count the comments of files, and the strings that are statements, such as docstrings."""
    from tree_sitter import Query
    remarks = Counter()
    for path, text in files.items():
        language = language_of(path)
        query = Query(grammar(language), REMARKS.get(language, "(comment) @remark"))
        nodes = captured(SourceFile(path, language, text, is_test=False), query).get("remark", [])
        remarks.update(cleandoc(node.text.decode()) for node in nodes)
    return remarks


# one agent ---------------------------------------------------------------------------------------

class Injector:
    """Let agents make candidates by a strategy; make() is the item function."""

    def __init__(self, settings: Settings, models: Models, host: SandboxFactory, strategy: str):
        self._settings, self._host, self._strategy = settings, host, strategy
        self._prompt = f"inject_{strategy}.md"
        self._agent = models.client("agent")
        self._candidates = Store(settings.root, Candidates)

    def stage(self, environments: Derived, analyses: Store, coverages: Store) -> Stage:
        """Return the stage that has agents make candidates. It reads environments, analyses and
        existing coverages. Raise Trouble if the sandbox isolates nothing."""
        if self._host.name == "local":
            raise Trouble("isolates nothing, but an agent would work in it.", "--sandbox local",
                          "Choose another sandbox.")
        bug = self._settings.bug
        prompts = digest([text_of(__package__, name) for name in (self._prompt, TASK)])
        return Stage(
            "bug_inject.inject", make=self.make, after="analyze.py",
            identity={"agent": self._agent.spec.identity(), "prompts": prompts},
            cost_note=f"at most {MAX_ITERATIONS} calls for each agent, usually fewer",
            after_same=lambda name: name.rpartition(".")[0],   # an agent sees the earlier bugs
            reads=Reads(agent_items(environments, bug.per_repo), fields=(*READ, "test_script"),
                        made_by="env_setup"),
            also_reads=(Reads(analyses, fields=(), made_by="analyze.analysis", same="base_commit"),
                    Reads(coverages, fields=(), same="base_commit", optional=True)),
            writes=Writes(self._candidates))

    def make(self, item: Environment, analysis: Analysis, coverage: Coverage | None
             ) -> Candidates:
        """Return the candidate that an agent submits. Raise ItemFailed if it submits no valid one,
        Excluded if no test passes."""
        if "passed" not in known_results(item).values():
            raise Excluded("has no test that passes.")
        started = time.monotonic()
        trajectory = new_trajectory(self._settings.root, TRAJECTORIES, current_reply_log().item)
        submission, result = self._run(item, analysis, coverage, trajectory)
        if submission.candidate is None:
            raise _failure(submission, result)
        return Candidates(item.repo, item.repo_name, item.base_commit, METHOD,
                          [submission.candidate], f"{TRAJECTORIES}/{trajectory.name}", result.usage,
                          round(time.monotonic() - started, 1))

    def _run(self, item: Environment, analysis: Analysis, coverage: Coverage | None,
             trajectory: Path) -> tuple[Submission, AgentResult]:
        """Run an agent. Return its submission, and the result of its run."""
        settings, earlier, strategy = self._settings, self._earlier(item), self._strategy
        bash = ToolBashExecutor(COMMAND_S, max_timeout_s=self._host.run_timeout_s)
        with labelled(self._host, item.repo_name) as label, \
                open_environment(item, self._host, label, is_stateful=True) as sandbox:
            files = _prepare(sandbox, item.test_script, strategy == FEATURE)
            submission = Submission(
                _program(files, analysis, strategy),
                {*map(str, item.verified.get("changed_by_tests") or ())}, strategy,
                lambda diff: first_run(item, diff, self._host, f"{label}-first-run",
                                       ScreeningRules(MAX_BROKEN_SHARE)))
            code = CodeMap(analysis, {file.path: file.text for file in files},
                           {bug["symbol"]: name for name, bug in earlier}, coverage,
                           branches_of(files))
            tells_tests = [code.get_hotspots, code.inspect_symbol] if strategy != FEATURE else []
            agent = Agent(
                _text(self._prompt, script=f"/tmp/{SCRIPT}"),
                [bash, view_file, search, edit_file, create_file, *tells_tests,
                 submission.submit], self._agent, sandbox,
                max_iterations=MAX_ITERATIONS, trajectory=trajectory,
                max_seconds=settings.agent.max_seconds, max_usd=settings.agent.max_usd)
            return submission, agent.run(self._task(item, sandbox.workdir, earlier))

    def _earlier(self, item: Environment) -> list[tuple[str, ProposedChange]]:
        """Return (name, change) of the other agents' bugs in the same repository; for a feature,
        of the other features."""
        prefix = f"{item.repo_name}.{METHOD}-"
        return [(name, bug) for name in self._candidates.names()
                if name.startswith(prefix) and name != current_reply_log().item
                for bug in self._candidates.read(name).candidates
                if (bug.get("family") == FEATURE) == (self._strategy == FEATURE)]

    def _task(self, item: Environment, workdir: str,
              earlier: list[tuple[str, ProposedChange]]) -> str:
        """Return the task of an agent."""
        bugs = [f"- {name}, in {bug['symbol'] or 'no function'}: {bug['summary']}"
                for name, bug in earlier]
        n_passing = [*known_results(item).values()].count("passed")
        return _text(TASK, repo=item.repo, workdir=workdir, clean=CLEAN,
                     what=FEATURE if self._strategy == FEATURE else "bug",
                     n_passing=str(n_passing), max_submits=str(MAX_SUBMITS),
                     max_lines=str(MAX_LINES), earlier="\n".join(bugs or ["- none yet"]))


def _prepare(sandbox: Sandbox, test_script: str, hides_tests: bool) -> list[SourceFile]:
    """Return the sources in a fresh sandbox, and prepare it for an agent: remove the history, copy
    the source and the test script to /tmp, and activate the test script's Python. With
    `hides_tests`, remove the tests and the files of their folders, and copy no script."""
    with temporary_folder() as folder:
        copy_source(sandbox, folder)
        files = read_sources(folder).files
        tests = "\0".join(filter(is_of_tests, files_in(folder)))
    name, text = (TESTS, tests) if hides_tests else (SCRIPT, test_script)
    sandbox.put({name: text.encode()}, "/tmp")
    sandbox.run(PREPARE, timeout_s=LOOK_S)
    sandbox.run(f"{activation(test_script)}export PYTEST_ADDOPTS={QUIET}")
    return files


def _program(files: list[SourceFile], analysis: Analysis, strategy: str) -> Files:
    """Return the program's text files, without tests. Except for a feature, also leave out files of
    which the suite runs no line, according to the analysis."""
    unused = {file["path"] for file in analysis.files
              if file["covered"] == 0 and strategy != FEATURE}
    return {file.path: file.text for file in files
            if not file.is_test and file.path not in unused and is_text(file.text)}


def _failure(submission: Submission, result: AgentResult) -> ItemFailed:
    """Return the failure of an agent that made no candidate."""
    log = current_reply_log()
    log.discard_failed(result.status)
    how = result.error or "it ended without handing in a bug"
    last = f"; its last bug: {submission.reason}" if submission.reason else ""
    return ItemFailed(f"its agent made no bug ({result.status}): {how}{last}", log.item)


def _text(name: str, **parts: str) -> str:
    return fill(text_of(__package__, name), **parts)
