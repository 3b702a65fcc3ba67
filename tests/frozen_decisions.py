"""Read what tests/frozen/*.jsonl holds, and decide on it: the one place where recorded runs and
verdicts meet the package.

A line has a `name`, what is decided on, and `verdict` and `reason`, with what else the decision
shows. It is in words of the field, so that all behind it can be built anew.
"""
from __future__ import annotations

import json
from pathlib import Path

from codedata.checks.proof import judged, outcome_of
from codedata.code.eval_script import misread
from codedata.code.suite import Run
from codedata.code.test_results import Case
from codedata.datapoints import validate
from codedata.datapoints.grade import Grade
from codedata.env.health import why_hollow
from codedata.env.verify import Verified, concluded, promising, repeated
from codedata.sandbox import Result

FOLDER = Path(__file__).parent / "frozen"
N_CHARS = 1_500   # of what a run printed, from its end


def lines(kind: str) -> list[dict]:
    """Return what is frozen of a kind of decision."""
    return [*map(json.loads, (FOLDER / f"{kind}.jsonl").read_text().splitlines())]


def data_of(run: Run) -> dict:
    """Return a run as a line has it."""
    return {"cases": [[case.name, case.status] for case in run.results],
            "exit_code": run.exit_code, "seconds": round(run.seconds),
            "timed_out": run.timed_out, "printed": run.text[-N_CHARS:]}


def run_of(data: dict) -> Run:
    done = Result(data["exit_code"], data["printed"], data["seconds"], data["timed_out"])
    return Run(done, [Case(*case) for case in data["cases"]])


def of_bug(line: dict) -> dict:
    known = line["known"]
    verdict, reason = judged(outcome_of(run_of(line["run"]), known), known, line["may_break"])
    return {"verdict": verdict, "reason": reason}


def of_misread(line: dict) -> dict:
    reason = misread(run_of(line["run"]), line["for_graders"])
    return {"verdict": "misread" if reason else "read", "reason": reason}


def of_hollow(line: dict) -> dict:
    reason = why_hollow(line["passed"], run_of(line["broken"]))
    return {"verdict": "hollow" if reason else "real", "reason": reason}


def of_verification(line: dict) -> dict:
    """Decide on up to three runs, then one without the network."""
    runs, limit_s = [*map(run_of, line["runs"])], line["limit_s"]
    found = promising(Verified(), runs[0], limit_s)
    if not found.failed:
        found = repeated(found, runs[:3])
    if not found.failed:
        found = concluded(found, runs[:3], runs[3], line["committed"], limit_s)
    cause = found.cause
    return {"verdict": found.failed or ("healthy" if found.healthy else "verified"),
            "reason": f"{cause.name}: {cause.evidence}" if cause.name else "",
            "flaky": found.flaky, "needs_network": found.needs_network,
            "unreported": found.unreported_files}


def of_datapoint(line: dict) -> dict:
    """Decide on the image as it is, then on the solution, as far as they were graded."""
    tests, (untouched, *solved) = line["tests"], (Grade(**grade, log="", seconds=0)
                                                  for grade in line["grades"])
    try:
        validate.check_collected(untouched, tests)
        validate.check_fails_first(untouched, tests)
        for n, grade in enumerate(solved, 1):
            validate.check_solved(grade, tests, n)
    except validate.Failure as e:
        return {"verdict": "refused", "reason": "; ".join([str(e), *e.evidence])}
    return {"verdict": "good", "reason": ""}


DECISIONS = {"bugs": of_bug, "misread": of_misread, "hollow": of_hollow,
             "verifications": of_verification, "datapoints": of_datapoint}
