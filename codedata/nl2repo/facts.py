"""Find the facts of a repository, and choose the facts that a function's document shows: the step
`facts` of nl2repo.py. A fact is a script made from a test, with its outcome. A call with a string
argument is also run with the empty string and with a malformed one ('?!').
"""
from __future__ import annotations

import re
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

from codedata.checks.secrets import credential_in
from codedata.code.entities import Entity, all_entities
from codedata.disk.store import Derived, Store
from codedata.issues.scripts_of_tests import jobs_of_tests, texts_of
from codedata.nl2repo.sources import sources_of
from codedata.records import Environment, RecordedFact, RepoFacts, SourceCopy
from codedata.run.stage import Reads, Stage, Writes
from codedata.run.talk import begin_step
from codedata.sandbox.factory import SandboxFactory
from codedata.suites.contexts import mask_of
from codedata.suites.environments import JUDGED_BY, fresh_sandbox
from codedata.suites.replayed_scripts import Outcome, ReplayJob, distinct, replay
from codedata.tasks.prove.outcomes import known_results, passed_in
from codedata.texts import CONTROL

FACTS = 3                  # version: increase it if a change of this code produces other facts
REPLAY_S = 900             # seconds for all scripts of a repository
MAX_OF_CALLEE = 40         # scripts of one callee
# Reason for MIN_OUTCOMES: with 1 or 2 different outcomes, a function's facts differ for 51 % of the
# small faults put into its body; with 3 or more, for 74 % (22 functions of isodate and simpleeval)
MAX_SHOWN, MIN_OUTCOMES = 12, 3
MAX_CHARS = 700            # limit for a fact in a document: its script and outcome
# groups: (code before a string that is a call's first argument, called name, code after the string)
TEXT_CALL = re.compile(r"(.*?\b(\w+)\()'(?:[^'\\]|\\.)*'([,)].*)", re.DOTALL)
CALLED = re.compile(r"(\w+)\(")
TRIED = "(''", "'?!'"      # the empty string, and a malformed one


def facts_stage(root: Path, environments: Derived, host: SandboxFactory) -> Stage:
    """Return the step that finds the facts of repositories."""
    return Stage(
        "nl2repo.facts", make=partial(find_facts, root, host), identity={"facts": FACTS},
        reads=Reads(environments, JUDGED_BY, made_by="env_setup"),
        also_reads=(Reads(Store(root, SourceCopy), ("files",), made_by="nl2repo.extract",
                      same="base_commit"),),
        writes=Writes(Store(root, RepoFacts)),
        after="nl2repo.py --steps extract", then="nl2repo.py --steps relationship")


def find_facts(root: Path, host: SandboxFactory, environment: Environment, copy: SourceCopy
               ) -> RepoFacts:
    """Return the facts of a repository, from its tests that always pass."""
    name, started = environment.repo_name, time.monotonic()
    passed, sources = passed_in(known_results(environment)), sources_of(root, name)
    begin_step("reading its tests")
    jobs = _some_of_each_callee(jobs_of_tests(passed, *texts_of(sources), as_examples=True))
    jobs += text_jobs(jobs)
    begin_step("running scripts of its tests")
    with fresh_sandbox(environment, host, "nl2repo") as sandbox:
        outcomes = replay(sandbox, jobs, environment.test_script, prune=True, total_s=REPLAY_S)
    found = distinct(one for one in outcomes
                     if one and one.direct and one.type != "NameError"
                     and not credential_in([one.program, one.text])
                     and not CONTROL.search(one.program + one.text))
    entities = all_entities(sources)[0]
    return RepoFacts(
        environment.repo, name, environment.base_commit,
        [fact_of(one, entities) for one in found],
        {"tests": len(passed), "scripts": len(jobs)}, round(time.monotonic() - started, 1))


def _some_of_each_callee(jobs: Iterable[ReplayJob]) -> list[ReplayJob]:
    """Return the scripts that use only public names. Group them by the first call in their last
    line; keep MAX_OF_CALLEE per group."""
    of_callees = defaultdict(list)
    for job in jobs:
        if job.is_public:
            of_callees[(CALLED.search(job.last) or [job.last])[0]].append(job)
    return [job for found in of_callees.values() for job in found[:MAX_OF_CALLEE]]


def fact_of(one: Outcome, entities: dict[str, list[Entity]]) -> RecordedFact:
    """Return an outcome as a fact."""
    def places_in(path: str) -> list[Entity]:
        return [place for place in entities.get(path, ()) if place.kind != "class"]

    around = ([place for place in places_in(path) if place.line <= line <= place.end_line]
              for path, line in one.direct)
    functions = {max(places, key=lambda place: place.line).id for places in around if places}
    masks = {path: sum(1 << line for line in ran) for path, ran in one.ran.items()}
    lines = {place.id: n for path, mask in masks.items() for place in places_in(path)
             if (n := (mask & mask_of(place.body_lines)).bit_count())}
    return {"functions": sorted(functions), "ran": dict(sorted(lines.items())),
            "code": [*one.lines, one.last], "told": one.shown, "kind": one.kind}


def text_jobs(jobs: Iterable[ReplayJob]) -> list[ReplayJob]:
    """Return, for each call whose first argument is a string, two scripts with that string
    replaced: by '' and by '?!'. Of scripts that call the same names, use the first."""
    calls = {}   # by the names that their scripts call
    for job in jobs:
        if call := TEXT_CALL.fullmatch(job.last):
            calls.setdefault((*CALLED.findall("".join([*job.lines, call[1]])),), (job.lines, call))
    return [ReplayJob(lines, f"{call[1]}{text}{call[3]}")
            for lines, call in calls.values() for text in ("''", TRIED[1])]


# the choice --------------------------------------------------------------------------------------

def facts_about(id: str, facts: Iterable[RecordedFact]) -> list[RecordedFact]:
    """Return the facts whose scripts call the function directly and that have at most MAX_CHARS
    characters."""
    return [one for one in facts if id in one["functions"]
            and sum(map(len, one["code"])) + len(one["told"]) <= MAX_CHARS]


def outcomes_of(facts: Iterable[RecordedFact]) -> set[str]:
    """Return the distinct outcomes of facts, except None."""
    return {one["told"] for one in facts} - {"None"}


def is_describable(id: str, facts: Sequence[RecordedFact]) -> bool:
    """Return whether the facts of a function suffice to describe it without a model: not only
    errors, and if it was called with a string, also calls with the strings of TRIED."""
    name = re.split("[.:]", id.removesuffix(".__init__"))[-1]
    lasts = [one["code"][-1] for one in facts]
    takes_text = any((call := TEXT_CALL.fullmatch(last)) and call[2] == name for last in lasts)
    has_tried = all(any(text in last for last in lasts) for text in TRIED)
    return (len(outcomes_of(facts)) >= MIN_OUTCOMES and (has_tried or not takes_text)
            and any(one["kind"] == "value" for one in facts))


def shown_facts(id: str, facts: Sequence[RecordedFact]) -> list[RecordedFact]:
    """Return up to MAX_SHOWN facts of a function. Prefer a new outcome, then a new kind (value or
    error), then a new number of executed lines. Of equal ones, take scripts with '' first, those
    with '?!' last, the outcome None last, short scripts first."""
    left = sorted(facts, key=lambda one: (
        TRIED[0] not in "".join(one["code"]), TRIED[1] in "".join(one["code"]),
        one["told"] == "None", sum(map(len, one["code"]))))
    shown: list[RecordedFact] = []
    while left and len(shown) < MAX_SHOWN:
        told, kinds = outcomes_of(shown) | {"None"}, {one["kind"] for one in shown}
        sizes = {one["ran"].get(id, 0) for one in shown}
        best = min(left, key=lambda one: (
            one["told"] in told, one["kind"] in kinds, one["ran"].get(id, 0) in sizes))
        if best["told"] in told and len(shown) >= 3:
            break
        shown.append(best)
        left.remove(best)
    return shown
