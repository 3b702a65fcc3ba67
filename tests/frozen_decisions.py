"""Read the recorded decisions in tests/frozen/*.jsonl, and decide again: the one place where
recorded runs and verdicts meet the package.

A line has a `name`, the recorded facts, and the decision's `verdict` and `reason`, with its other
results. It uses the field's words, so that the code behind it can be rewritten.
"""
import json
import re
from dataclasses import replace
from pathlib import Path

from proof_heron import environment_of

from codedata.datapoints import validate
from codedata.env.causes import Cause
from codedata.env.health import why_hollow
from codedata.env.verify_scripts import Verified, concluded, promising, repeated
from codedata.errors import Excluded, ItemFailed
from codedata.sandbox import Result
from codedata.suites.project_suite import Run
from codedata.suites.test_results import Case
from codedata.tasks.folder.eval_script import misread
from codedata.tasks.folder.tests_folder import READS
from codedata.tasks.prove.gold_grades import NotRewarded
from codedata.tasks.prove.grader import Grade
from codedata.tasks.prove.outcomes import check_drift, judged, outcome_of

VERDICTS = {ItemFailed: "drifted", Excluded: "excluded"}
FOLDER = Path(__file__).parent / "frozen"
N_CHARS = 1_500   # kept from the end of a run's output
# times, addresses, numbers of processes
CHANGING = re.compile(r"(?<=\bin )\d+\.\d+(?=s\b)|(?<=\b0x)[0-9a-f]{6,}|\d+(?= Killed)")


def lines(kind: str) -> list[dict]:
    """Return the recorded lines of a kind of decision."""
    return [*map(json.loads, (FOLDER / f"{kind}.jsonl").read_text().splitlines())]


def data_of(run: Run) -> dict:
    """Return a run as a line has it, alike each time that it is recorded."""
    return {"cases": [[case.name, case.status] for case in run.results],
            "exit_code": run.exit_code, "seconds": round(run.seconds) if run.timed_out else 0,
            "timed_out": run.timed_out, "printed": CHANGING.sub("0", run.text)[-N_CHARS:]}


def run_of(data: dict) -> Run:
    done = Result(data["exit_code"], data["printed"], data["seconds"], data["timed_out"])
    return Run(done, [Case(*case) for case in data["cases"]])


def of_bug(line: dict) -> dict:
    known = line["known"]
    verdict, reason = judged(outcome_of(run_of(line["run"]), known), known, line["may_break"])
    return {"verdict": verdict, "reason": reason}


def of_environment(line: dict) -> dict:
    """Decide on the first run, by each way to read it up to the first that graders can follow."""
    known = environment_of(test_case_result=line["known"])
    runs = [(run_of(run), printed) for run, printed in line["runs"]]
    run, printed = runs[-1]
    try:
        if run.timed_out:
            raise ItemFailed("the environment has drifted: its suite does not end.")
        if why := misread(run, printed):
            raise Excluded(f"{why}.")
        check_drift(known, {case.name: case.status for case in run.results})
    except (ItemFailed, Excluded) as e:
        return {"verdict": VERDICTS[type(e)], "reason": e.what, "reads": ""}
    reads, = [how for how, (run, printed) in zip(READS, runs, strict=False)
              if not misread(run, printed)]   # only the last
    return {"verdict": "as known", "reason": "", "reads": reads}


def of_hollow(line: dict) -> dict:
    reason = why_hollow(line["passed"], run_of(line["broken"]), line["is_built"])
    return {"verdict": "hollow" if reason else "real", "reason": reason}


def of_verification(line: dict) -> dict:
    """Decide on up to three runs, then one without the network, then one of a broken source."""
    runs, limit_s = [*map(run_of, line["runs"])], line["limit_s"]
    found = promising(Verified(), runs[0], limit_s, line["only_healthy"])
    if not found.failed:
        found = repeated(found, runs[:3])
    if not found.failed:
        found = concluded(found, runs[:3], runs[3], line["committed"], limit_s)
    if not found.failed:
        passed = [case["name"] for case in found.results if case["status"] == "passed"]
        hollow = why_hollow(passed, runs[4])
        found = replace(found, failed="hollow", cause=Cause("hollow", hollow)) if hollow else found
    return shown(found)


def shown(found: Verified) -> dict:
    """Return the fields of a verification in a line."""
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
            if grade.reward != 1.0:
                raise validate.unsolved(NotRewarded(f"run {n}", grade), tests)
    except validate.CheckFailed as e:
        return {"verdict": "refused", "reason": str(e), "evidence": e.evidence}
    return {"verdict": "good", "reason": "", "evidence": []}


DECISIONS = {"bugs": of_bug, "environments": of_environment, "hollow": of_hollow,
             "verifications": of_verification, "datapoints": of_datapoint}
