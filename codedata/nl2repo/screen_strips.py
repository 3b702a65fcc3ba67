"""Screen functions that can be stripped, in a warm sandbox: the stage `screen` of the step
`relationship`. Without the bodies, tests have to fail, and all tests still have to be collected."""
from __future__ import annotations

from dataclasses import replace
from functools import partial, reduce
from operator import or_
from pathlib import Path

from codedata.analysis.analyse import COVERAGE_FIELDS
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
from codedata.settings import Settings
from codedata.states import Reads, Writes
from codedata.store import Derived, Store, digest
from codedata.tasks.first_run import Screened, ScreeningRules
from codedata.tasks.screen_stage import DiffsToScreen
from codedata.tasks.suite_outcomes import GOOD, SURVIVES

ALL = 1.0                  # share of the tests that a strip may fail
SHOWN = ("verdict", "reason", "n_covering", "n_failing", "how", "seconds")


class ScreenedStrips:
    """Supply the functions that can be stripped to screen_stage()."""

    stage, label = "nl2repo.screen", "nl2repo"
    rules, identity, lint = ScreeningRules(ALL, ignores_skipped=True), {}, None
    after = then = "nl2repo.py --steps relationship"

    def __init__(self, root: Path):
        self._root = root
        store = Store(root, Communities)
        self.reads = Reads(store, ("base_commit", "candidates"), made_by="nl2repo.relationship")
        self.joined = (Reads(Store(root, Coverage), COVERAGE_FIELDS, made_by="analyze.coverage",
                             same="base_commit"),)
        self.writes = Writes(store, ("screened", "ungraded"))

    def to_screen(self, found: Communities, environment: Environment,
                  coverage: Coverage) -> DiffsToScreen:
        """Return the diffs that strip the candidates of a repository."""
        strippable = Strippable(sources_of(self._root, found.repo_name), coverage)
        strips = [_strip(found.repo_name, one, strippable) for one in found.candidates]
        return DiffsToScreen([one["diff"] for one in strips if one["diff"]], coverage,
                             partial(_with_verdicts, found, strips))


def _with_verdicts(found: Communities, strips: list[ScreenedStrip], screened: list[Screened],
                   seconds: float) -> Communities:
    """Return the candidates of a repository with their screening results. Tests that a candidate
    makes skip are not graded, since they show nothing about a body: tests that may fail (xfail),
    and tests that ask the code whether to run."""
    skipped = sorted({name for shown in screened for name in shown.skipped})
    verdicts = iter(screened)
    shown = [_judged(one, next(verdicts), skipped) if one["diff"] else one for one in strips]
    return replace(found, screened=shown, ungraded=skipped)


def _judged(strip: ScreenedStrip, shown: Screened, skipped: list[str]) -> ScreenedStrip:
    """Return a candidate with its screening result. Tests that are not graded are left out."""
    verdict, reason = shown.verdict, shown.reason
    failing = {*shown.failing}.difference(skipped)
    if verdict == GOOD and not failing:
        verdict, reason = SURVIVES
    return {**strip, "verdict": verdict, "reason": reason, "how": shown.how,
            "n_failing": len(failing), "seconds": round(shown.seconds, 3)}


def _strip(repo_name: str, candidate: StripCandidate, strippable: Strippable) -> ScreenedStrip:
    """Return a candidate with its diff, before screening. If there is no diff, its verdict is
    "refused"."""
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
    """Return a StripPatch for each screened candidate that is rejected or is to be proven. Of the
    good candidates with one function, only the first `max_functions` are to be proven."""
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
    """Return the patches by id. The id follows from the diff, so an edited patch has a new id."""
    return Derived(
        Store(root, StripPatch),
        lambda _, patch: {id_of(patch.repo_name, patch.kind, patch.diff): patch})
