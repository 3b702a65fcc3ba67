"""Convert bugs: what bug/<id>.json had of a proven bug becomes a task, and its report stays
there."""
from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path

from conversion.carried import Carrier
from conversion.old import (
    FAULTS,
    as_proven,
    digests,
    longest_s,
    put,
    records_in,
    verifier_of,
    why,
)

from codedata.bugs.instances import AGENT, SCALE, Word, bug_tasks
from codedata.bugs.kind import CATEGORY
from codedata.layouts import set_aside
from codedata.records import (
    BUG,
    BugConfig,
    BugReport,
    Candidates,
    Environment,
    Object,
    RepoMeta,
    Task,
    Verdicts,
)
from codedata.run_loop import Stage
from codedata.settings import Settings
from codedata.states import read_digest
from codedata.store import Store, digest, known
from codedata.tasks.folder import with_about
from codedata.tasks.repository import task_of

PROVEN = ("patch", "test_patch", "bug_patch", "FAIL_TO_PASS", "PASS_TO_PASS", "eval_script",
          "log_parser", "eval_type", "image", "image_name", "base_commit")   # of an old bug
READ_BY_ISSUE = ("base_commit", "patch", "test_patch", "FAIL_TO_PASS", "image_name")
# all but its report
FIELDS = ("instance_id", "repo", "base_commit", "patch", "test_patch", "hints_text", "created_at",
          "version", "FAIL_TO_PASS", "PASS_TO_PASS", "environment_setup_commit", "image",
          "eval_script", "log_parser", "eval_type", "bug_patch", "source_commit", "image_name",
          "language", "method", "symbol", "evidence", "grade", "trajectory", "usage")
KEPT = ("instance_id", "repo")   # of these, by a report


class Bugs:
    """Convert the bugs of a root. `stage_of` gives the stages of bug_inject.py by word and step;
    refuse() is told of what cannot be converted, and why."""

    def __init__(self, root: Path, settings: Settings, stage_of: Callable[[Word, str], Stage],
                 refuse: Callable[[Path, str], None]):
        self._root, self._settings, self._stage_of = root, settings, stage_of
        self._refuse = refuse
        self._reports, self._verdicts = root / BugReport.directory, root / Verdicts.directory
        self._licences: dict[str, str | None] = {}   # by repository

    def convert(self) -> int:
        """Convert all, or what a killed run has left; return the number of bugs."""
        olds: dict[str, Object] = {}   # the bugs that have become tasks
        tasks = bug_tasks(self._root).open()
        fields = self._stage_of(SCALE, SCALE.maker).writes.fields
        for path, bug in records_in(self._reports, "eval_script"):
            try:
                put(tasks, self._task(bug), fields)
                olds[path.stem] = bug
            except FAULTS as e:
                self._refuse(path, why(e))
        if olds:
            proof = self._carrier(SCALE, SCALE.maker, self._reports)   # those of agents are adopted
            proof.adopt_all({name: digests(bug) for name, bug in olds.items() if SCALE.owns(name)})
            proof.carry_others()
            self._switch_reports(olds)
        configs = self._carrier(SCALE, "register", self._root / BugConfig.directory)
        for name in configs.store.names():
            if facts := configs.facts_of_input(name):   # what coverage/ says was not noted
                configs.inputs[name] = (read_digest(facts.digests, configs.stage.reads.fields),
                                        configs.states.read_of(facts))
        configs.renew()
        return len(olds)

    # tasks ---------------------------------------------------------------------------------------

    @cached_property
    def _candidate_of(self) -> dict[str, tuple[str, str]]:
        """Return {instance id: (the file of its candidate, the digest of its change)} of all that
        are called good."""
        return {verdict["instance_id"]: (path.stem, verdict["diff"])
                for path, record in records_in(self._verdicts, "verdicts")
                for verdict in record["verdicts"] if verdict["good"]}

    def _made_from(self, bug: Object) -> Object | None:
        """Return what a bug was made from, by its verdict. Where there are verdicts, but none of
        it, that is nothing which is there: the bug is an orphan, and stays one."""
        name = bug["instance_id"]
        gone = name.rpartition(".")[0], digest(bug["bug_patch"])
        item, diff = self._candidate_of.get(name, gone)
        made = {"directory": Candidates.directory, "item": item, "digest": diff}
        return made if self._candidate_of else None

    def _task(self, bug: Object) -> Task:
        """Return the task of an old bug. It was proven as root, without a canary."""
        name, repo, proof = bug["instance_id"], bug["repo"], bug["evidence"]
        task = task_of(name, BUG, verifier_of(bug, user="root"), (bug["patch"], bug["bug_patch"]),
                       bug["image_name"], bug["base_commit"], longest_s(proof["runs"]))
        tags = bug["language"], BUG, proof.get("family") or bug["method"]
        task = with_about(
            task, repo=repo, split=repo, source_commit=bug["source_commit"],
            task_commit=bug["base_commit"], created_at=bug["created_at"],
            tests_visible=proof.get("why_visible", ""), licence=self._licence(bug),
            **{key: bug[key] for key in ("method", "language", "symbol", "grade")},
            made_from=self._made_from(bug),
            labels={"category": CATEGORY, "tags": [*filter(None, tags)]})
        was = digest({field: bug[field] for field in PROVEN})
        return as_proven(task, proof, was, proof["digest"])

    def _licence(self, bug: Object) -> str | None:
        """Return the licence of a bug's repository, as a proof finds it."""
        name = bug["instance_id"].rsplit(".", 2)[0]
        if name not in self._licences:
            meta = known(Store(self._root, RepoMeta).open(), name, bug["source_commit"])
            environment = known(Store(self._root, Environment).open(), name)
            row = environment.row if environment else {}
            self._licences[name] = meta.licence if meta else row.get("licence")
        found = self._licences[name]
        return found and str(found)

    # what the stages have made -------------------------------------------------------------------

    def _carrier(self, word: Word, step: str, directory: Path) -> Carrier:
        return Carrier(self._stage_of(word, step), self._settings, directory)

    def _switch_reports(self, olds: Mapping[str, Object]) -> None:
        """Leave of each old bug its report; one without a report is no record any more."""
        for word in (AGENT, SCALE):
            carrier = self._carrier(word, "issue", self._reports)
            for name in filter(word.owns, olds):
                if facts := carrier.facts_of_input(name):
                    carrier.inputs[name] = (read_digest(digests(olds[name]), READ_BY_ISSUE),
                                            carrier.states.read_of(facts))
            carrier.carry_others()
            for name in filter(word.owns, olds):
                path, bug = self._reports / f"{name}.json", olds[name]
                if bug.get("problem_statement") is None:
                    set_aside(path, keep=False)
                else:
                    carrier.switch(path, bug, {key: value for key, value in bug.items()
                                               if key in KEPT or key not in FIELDS}, name)
