"""Make the stages of `bug_inject.py agent` and of `bug_inject.py scale`."""
from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass

from codedata.analysis.analyse import analysis_stage
from codedata.analysis.measure import coverage_stage
from codedata.bugs import inject
from codedata.bugs.choose import chosen_in
from codedata.bugs.generate import generate_stage, register_stage
from codedata.bugs.held_out import HeldOutCases
from codedata.bugs.instances import agents_candidates, is_of_agent, is_of_scale
from codedata.bugs.preprocess import Analyses, Preprocessed
from codedata.bugs.screen_bugs import validate_stage
from codedata.disk.store import Store, all_readable
from codedata.issues.issue_facts import CASES
from codedata.issues.issue_report import Reporter
from codedata.llm import Models
from codedata.records import BUG, BugReport, Task
from codedata.run.stage import Reads, Stage, Writes
from codedata.sandbox.factory import SandboxFactory
from codedata.settings import Settings
from codedata.suites.environments import Environments
from codedata.tasks.folder.task_folder import PARTS
from codedata.tasks.prove.proof import PatchProver
from codedata.tasks.prove.rules import MAX_BROKEN_SHARE
from codedata.tasks.stages import Maker
from codedata.terminal import plural

Steps = dict[str, Callable[[Models], Stage]]


@dataclass(frozen=True)
class Word:
    """Describe a subcommand of bug_inject.py."""

    name: str
    owns: Callable[[str], bool]   # whether a name belongs to one of its bugs
    before: str              # the step before `candidates`
    proof: str               # the step that proves the candidates
    prefix: str = ""         # in ledgers, prefix of the steps that both subcommands have


AGENT = Word("agent", is_of_agent, "inject", "prove")
SCALE = Word("scale", is_of_scale, "validate", "report", "scale_")


@dataclass(frozen=True, slots=True)
class Stages:
    """Make the stages of each subcommand, from the flags of the script."""

    settings: Settings
    preprocessed: Preprocessed
    environments: Callable[[], Environments]
    num_runs: int            # runs of the suite with coverage
    strategy: str            # for agents: one of inject.STRATEGIES
    is_full: bool            # every candidate of scale is judged by the whole suite

    def agent(self) -> Steps:
        """Return the functions that make the stages of `agent`, by step."""
        settings, preprocessed, host = self.settings, self.preprocessed, self._host
        return {
            "coverage": lambda models: preprocessed.step(
                coverage_stage(settings.root, host(models), self.num_runs, self.environments()),
                then="bug_inject.py agent --steps analysis"),
            "analysis": lambda models: preprocessed.step(
                analysis_stage(settings.root, host(models), self.environments()),
                then="bug_inject.py agent --steps bug_issue", finish=preprocessed.write),
            "inject": lambda models: inject.Injector(
                settings, models, host(models), self.strategy).stage(
                self.environments(), self._analyses(), self._analyses("tests")),
            **self._from_candidates(AGENT, agents_candidates(settings.root))}

    def scale(self) -> Steps:
        """Return the functions that make the stages of `scale`, by step."""
        settings, host = self.settings, self._host
        return {
            "register": lambda models: register_stage(
                settings, host(models), self.environments()),
            "generate": lambda models: generate_stage(
                settings, host(models), self.environments(), self._analyses("tests")),
            "validate": lambda models: validate_stage(
                settings, host(models), self.environments(), self._analyses("tests"),
                self.is_full),
            **self._from_candidates(SCALE, chosen_in(settings.root, settings.bug))}

    def _from_candidates(self, word: Word, candidates: Reads) -> Steps:
        """Return the functions that make the stages from the candidates on, by step."""
        script, name = f"bug_inject.py {word.name}", f"bug_inject.{word.prefix}"
        before = f"{script} --steps {word.before}"
        maker = Maker(self.settings.root, BUG, word.owns)
        reports = Reads(Store(maker.root, BugReport), ("problem_statement",),
                        made_by=f"{name}issue", command=f"{script} --steps issue")
        return {
            "candidates": lambda models: maker.candidate_stage(
                f"{name}candidates", candidates, after=before,
                then=f"{script} --steps {word.proof}"),
            word.proof: lambda models: maker.prove_stage(
                f"bug_inject.{word.proof}", self.environments(),
                PatchProver(self._host(models), HeldOutCases().of),
                identity={"hide_tests": True, "max_broken_share": MAX_BROKEN_SHARE, "cases": CASES},
                after=before, then=f"{script} --steps issue"),
            "issue": lambda models: self._issue(word, maker, models),
            "instruct": lambda models: maker.instruct_stage(
                f"{name}instruct", reports, lambda task, report: report.problem_statement,
                sum_up=lambda: [describe_bugs(all_readable(maker.root, Task, BUG))],
                after=script, then="export.py")}

    def _issue(self, word: Word, maker: Maker, models: Models) -> Stage:
        script = f"bug_inject.py {word.name}"
        client = models.client("issue") if self.settings.issue.writer == "llm" else None
        reporter = Reporter(self._host(models), f"{script} --steps {word.proof}", client)
        return Stage(
            f"bug_inject.{word.prefix}issue", make=reporter.make, identity=reporter.identity(),
            cost_note=reporter.cost_note(),
            reads=Reads(maker.tasks(), PARTS, made_by=f"bug_inject.{word.proof}"),
            writes=Writes(Store(maker.root, BugReport),
                          fields=("problem_statement", "reproduction"),
                          optional=("reproduction",)),   # a user may write only the statement
            after=script)

    def _analyses(self, key: str = "analysis") -> Analyses:
        return Analyses(self.settings.root, self.preprocessed.rows, key)

    def _host(self, models: Models) -> SandboxFactory:
        return SandboxFactory(self.settings, models.stop)


def describe_bugs(bugs: Collection[Task]) -> str:
    """Return a line that counts bugs by kind, with an issue text, and with held-out cases."""
    texts = [bool(bug.instruction) for bug in bugs]
    none = "" if all(texts) else f", {texts.count(False)} without"
    kinds = Counter(str(family_of(bug) or bug.about.get("method") or "by hand") for bug in bugs)
    listed = ", ".join(f"{name} {n}" for name, n in kinds.most_common())
    whys = Counter(str(cases.get("none", "with held-out cases")) for bug in bugs
                   if isinstance(cases := (bug.proof or {}).get("cases"), dict))
    return (f"{plural(len(texts), 'bug')} proven ({listed}), {texts.count(True)} with a text{none}"
            + "".join(f"; {n} {why}" for why, n in whys.most_common()))


def family_of(bug: Task) -> str:
    """Return the family of the edit that made a bug, "" if it has none."""
    proof = bug.proof or {}
    return (proof.get("words") or proof).get("family") or ""   # proofs have `words` from 0.3.0 on
