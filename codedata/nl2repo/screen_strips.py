"""Screen what may be stripped, in a warm sandbox: the stage `screen` of the step `relationship`.
Without the bodies tests have to fail, and all of them still have to be collected."""
from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import reduce
from operator import or_
from pathlib import Path

from codedata.analysis.analyse import COVERAGE_FIELDS
from codedata.analysis.measure import JUDGED_BY
from codedata.code.patches import diff_of, normalised
from codedata.nl2repo.sources import sources_of
from codedata.nl2repo.strip import Strippable
from codedata.records import (
    Communities,
    Coverage,
    Environment,
    ScreenedStrip,
    StripCandidate,
    StripPatch,
)
from codedata.run_loop import Stage
from codedata.sandbox import SandboxDied
from codedata.sandbox.factory import SandboxFactory
from codedata.settings import Settings
from codedata.states import Reads, Writes
from codedata.store import Derived, Store, digest
from codedata.suites.environments import labelled
from codedata.tasks.first_run import FirstRun, first_run
from codedata.tasks.screen import Screened, Screener
from codedata.tasks.suite_outcomes import GOOD, PASSED, judged, known_results, time_limit

ALL = 1.0                  # share of the tests that a strip may fail
SHOWN = ("verdict", "reason", "n_covering", "n_failing", "how", "seconds")


class StripScreener:
    """Screen the candidates of repositories; make() is the item function."""

    def __init__(self, settings: Settings, host: SandboxFactory):
        self._root, self._host = settings.root, host

    def stage(self, environments: Derived) -> Stage:
        """Return the stage. What tests ran is looked up in coverage/."""
        store = Store(self._root, Communities)
        return Stage(
            "nl2repo.screen", make=self.make,
            reads=Reads(store, ("base_commit", "candidates"), made_by="nl2repo.relationship"),
            joined=(Reads(environments, JUDGED_BY, made_by="env_setup", same="base_commit"),
                    Reads(Store(self._root, Coverage), COVERAGE_FIELDS,
                          made_by="analyze.coverage", same="base_commit")),
            writes=Writes(store, ("screened", "ungraded")), cost_note="no calls: no model is asked",
            after="nl2repo.py --steps relationship", then="nl2repo.py --steps relationship")

    def make(self, found: Communities, environment: Environment,
             coverage: Coverage) -> Communities:
        """Return the candidates of a repository with what screening shows of each."""
        name = found.repo_name
        strippable = Strippable(sources_of(self._root, name), coverage)
        strips = [_strip(name, one, strippable) for one in found.candidates]
        diffs = [one["diff"] for one in strips]
        with labelled(self._host, name, "nl2repo") as label:
            limit_s = time_limit(environment, self._host.run_timeout_s)
            with Screener(environment, coverage, "", limit_s, self._host, label, ALL) as screener:
                screened = screener.screen(diffs)
            ungraded = skipped_by(screened, screener.known)
            graded = replace(environment, flaky=[*environment.flaky, *ungraded])
            shown = [self._read(one, seen, graded, label)
                     for one, seen in zip(strips, screened, strict=True)]
        return replace(found, screened=shown, ungraded=ungraded)

    def _read(self, strip: ScreenedStrip, seen: Screened | None, environment: Environment,
              label: str) -> ScreenedStrip:
        """Return a candidate with what screening shows; what it cannot judge, the whole suite in a
        fresh container does."""
        if not strip["diff"]:
            return strip
        if seen:
            verdict, trouble = judged(seen.outcome, known_results(environment), ALL)
            return {**strip, "verdict": verdict, "reason": trouble, "how": seen.how,
                    "n_failing": len(seen.failing), "seconds": round(seen.seconds, 3)}
        started = time.monotonic()
        try:
            run = first_run(environment, strip["diff"], self._host, label, ALL)
        except SandboxDied as e:
            run = FirstRun("crash", f"the suite ends its sandbox: {e.what}")
        return {**strip, "verdict": run.verdict, "reason": run.reason, "how": "full",
                "n_failing": len(run.broken), "seconds": round(time.monotonic() - started, 3)}


def skipped_by(screened: Iterable[Screened | None], known: Mapping[str, str]) -> list[str]:
    """Return the tests that passed before and are skipped where a body raises: those that may fail
    (xfail), and those that ask the code whether to run. They say nothing of a body."""
    return sorted({name for seen in screened if seen
                   for name, status in seen.outcome.statuses.items()
                   if status == "skipped" and known.get(name) == PASSED})


def _strip(repo_name: str, candidate: StripCandidate, strippable: Strippable) -> ScreenedStrip:
    """Return a candidate with its diff, not screened yet; "refused" is one without."""
    ids, kind = candidate["functions"], candidate["kind"]
    strip: ScreenedStrip = {
        "id": "", "kind": kind, "functions": ids, "sources": [], "diff": "", "verdict": "refused",
        "reason": "", "n_covering": 0, "n_failing": 0, "how": "", "seconds": 0.0}
    try:
        before, after = strippable.stripped(ids)
    except KeyError as e:
        return {**strip, "reason": f"{e.args[0]} cannot be stripped"}
    except ValueError as e:
        return {**strip, "reason": str(e)}
    diff = diff_of(before, after)
    return {**strip, "id": id_of(repo_name, kind, diff), "diff": diff,
            "sources": [digest(strippable.source(id).hex()) for id in ids],
            "n_covering": reduce(or_, (strippable.tests[id] for id in ids)).bit_count()}


def id_of(repo_name: str, kind: str, diff: str) -> str:
    """Return the id of a patch."""
    return f"{repo_name}.{kind}.{normalised(diff)[:8]}"


# the patches -------------------------------------------------------------------------------------

def screened_strips(root: Path, max_functions: int) -> Derived:
    """Return a StripPatch for each candidate that was screened: those that screening rejects, and
    those that are to be proven: all of several functions, and the first ones of one function."""
    others: set[str] = set()   # ids of functions that are not proven

    def patches_of(repo_name: str, record: Communities) -> dict[str, StripPatch]:
        patches = {}
        n_functions = 0
        for one in record.screened or []:
            is_function = one["kind"] == "function" and one["verdict"] == GOOD
            n_functions += is_function
            if is_function and n_functions > max_functions:
                others.add(one["id"])
            elif one["id"]:
                patches[one["id"]] = StripPatch(
                    one["id"], record.repo, repo_name, record.base_commit, one["kind"],
                    one["functions"], one["sources"], one["diff"],
                    {key: one[key] for key in SHOWN})
        return patches

    return Derived(Store(root, Communities), patches_of, keeps=others.__contains__)


def patches_stage(settings: Settings) -> Stage:
    """Return the stage that writes a StripPatch of each candidate that was screened."""
    written = tuple(StripPatch.__dataclass_fields__)
    return Stage(
        "nl2repo.patches", make=lambda patch: patch,
        reads=Reads(screened_strips(settings.root, settings.nl2repo.max_proven_functions),
                    written, made_by="nl2repo.screen"),
        writes=Writes(Store(settings.root, StripPatch), written),
        cost_note="no calls: no model is asked",
        after="nl2repo.py --steps relationship", then="nl2repo.py --steps relationship")


def strip_patches(root: Path) -> Derived:
    """Return the patches by the ids that follow from their diffs: an edited one is another."""
    return Derived(
        Store(root, StripPatch),
        lambda _, patch: {id_of(patch.repo_name, patch.kind, patch.diff): patch})
