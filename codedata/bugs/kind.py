"""Implement bugs as a kind of task: those of bug_inject.py agent, and those of bug_inject.py scale.

Candidates of `scale` are screened in a warm sandbox: the step `validate`. All
with --full are judged by the whole suite in fresh containers.
An agent's change is judged when the agent submits it (inject.py).
"""
from __future__ import annotations

from functools import partial

from codedata.analysis.analyse import COVERAGE_FIELDS
from codedata.bugs.choose import chosen_in
from codedata.bugs.effects import effects, grade_of, new_messages_of
from codedata.bugs.generate import batch_items, operator_parts
from codedata.bugs.instances import (
    AGENT,
    Word,
    agents_candidates,
    bug_tasks,
    name_of,
    operator_of,
    scale_candidates,
)
from codedata.bugs.register import why_not_chosen
from codedata.code.entities import language_of
from codedata.disk.store import Store, digest
from codedata.records import (
    BUG,
    Analysis,
    BugConfig,
    BugReport,
    BugVerdict,
    Candidates,
    Coverage,
    Environment,
    Object,
    ProposedChange,
    RepoMeta,
    Task,
    Verdicts,
)
from codedata.run.stage import Reads, Writes
from codedata.settings import Settings
from codedata.tasks.folder.folder import PROVEN_FIELDS
from codedata.tasks.kinds import Candidate, DiffsToScreen, PatchKind
from codedata.tasks.prove.first_run import FirstRun, Screened, ScreeningRules
from codedata.tasks.prove.suite_outcomes import GOOD, PASSED, known_results

CATEGORY = "debugging"     # one of Harbor's categories of tasks
SCREENED = ("verdict", "how", "n_run", "seconds")   # fields of the evidence that go to proof.json


class Bugs(PatchKind):
    """Implement the bugs of one subcommand of bug_inject.py (`word`) as a kind of task. Without
    `analyses`, changed functions are not known; without `coverages`, the whole suite screens
    candidates."""

    name, label, gold_is_long = BUG, "bug", False
    proven, instructed = PROVEN_FIELDS, ("kind",)   # kind never changes: no instruction gets stale
    lint = staticmethod(new_messages_of)

    def __init__(self, word: Word, settings: Settings, analyses: Store | None = None,
                 coverages: Store | None = None):
        root, bug = settings.root, settings.bug
        optional = {"same": "base_commit", "optional": True}
        self._word, self.tasks = word, bug_tasks(root, word.owns)
        self.hides_tests = bug.hide_tests
        self.rules = ScreeningRules(bug.max_broken_share, drops_same_error=True)
        self.items = Reads(scale_candidates(root, batch_items(root, "", operator_parts)),
                           ("base_commit", "candidates"), made_by="bug_inject.generate")
        self.items_with = (Reads(Store(root, BugConfig), ("selection", "reason", "timeout_s"),
                                 made_by="bug_inject.register", same="base_commit"),
                           Reads(coverages, COVERAGE_FIELDS, **optional))
        self.verdicts = Writes(Store(root, Verdicts))
        self.candidates = Reads(chosen_in(root, bug), ("base_commit", "diff"),
                                made_by="bug_inject.validate")
        if word == AGENT:
            self.candidates = Reads(agents_candidates(root), ("base_commit", "diff", "refused"),
                                    made_by="bug_inject.inject")
        self.candidates_with = (Reads(analyses, ("entities", "edges", "files"), **optional),
                                Reads(Store(root, RepoMeta), (), **optional))   # the licence
        self.texts = Reads(Store(root, BugReport), ("problem_statement",),
                           made_by=f"bug_inject.{word.prefix}issue",
                           command=f"bug_inject.py {word.name} --steps issue")

    @staticmethod
    def to_screen(item: Candidates, environment: Environment, config: BugConfig,
                  coverage: Coverage | None) -> DiffsToScreen:
        """Return the diffs of a file of candidates, and how to screen them."""
        return DiffsToScreen(
            [one["diff"] for one in item.candidates], coverage,
            partial(_verdicts, item, environment),
            why_not_chosen(config, coverage, environment), config.timeout_s)

    def described(self, candidate: Candidate, run: FirstRun, environment: Environment,
                  analysis: Analysis | None, meta: RepoMeta | None) -> tuple[Object, Object]:
        """Return a bug's fields of task.toml (grade, labels, …), and its effects for proof.json."""
        words, screened = candidate.words, candidate.screened
        measured = effects(run, analysis)
        symbols, symbol = measured["symbols"], words.get("symbol") or ""
        language = language_of(min(run.before | run.after))
        licence = meta.licence if meta else environment.row.get("licence")
        tags = language, BUG, str(words.get("family") or candidate.method)
        about = {
            "method": candidate.method, "language": language,
            "symbol": symbols[0] if symbols and symbol not in symbols else symbol,
            "grade": grade_of(measured["broken"], measured["tests"], measured["new_messages"]),
            "licence": licence and str(licence),
            "labels": {"category": CATEGORY, "tags": [*filter(None, tags)]},
            "made_from": {"directory": Candidates.directory, "item": candidate.item,
                          "digest": digest(candidate.diff)}}
        if self._word != AGENT:
            measured |= {
                "operator": operator_of(words), "family": str(words.get("family") or ""),
                "lines": words.get("lines") or [], "summary": words.get("summary") or "",
                "screened": {**{key: screened[key] for key in SCREENED if key in screened},
                             "same_tests": screened.get("failing") == run.fail_to_pass}}
        return about, measured

    def instruction(self, task: Task, text: BugReport) -> str:
        """Return the report of a bug."""
        return text.problem_statement


# verdicts of screening ---------------------------------------------------------------------------

def _verdicts(record: Candidates, environment: Environment, screened: list[Screened],
              seconds: float) -> Verdicts:
    """Return the record of verdicts on a file of candidates."""
    n_passed = [*known_results(environment).values()].count(PASSED)
    return Verdicts(environment.repo, environment.repo_name, environment.base_commit,
                    [_verdict(environment.repo_name, candidate, shown, n_passed)
                     for candidate, shown in zip(record.candidates, screened, strict=True)],
                    seconds)


def _verdict(repo_name: str, candidate: ProposedChange, shown: Screened,
             n_passed: int) -> BugVerdict:
    """Return the verdict on a candidate."""
    evidence = {"verdict": shown.verdict, "failing": shown.failing, "how": shown.how,
                "n_run": shown.n_run, "seconds": round(shown.seconds, 3)}
    if shown.verdict == GOOD:
        evidence |= {"grade": grade_of(len(shown.failing), n_passed, shown.new_messages),
                     "new_messages": shown.new_messages}
    return BugVerdict(diff=digest(candidate["diff"]), instance_id=name_of(repo_name, candidate),
                      good=shown.verdict == GOOD, reason=shown.reason, evidence=evidence)
