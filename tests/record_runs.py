"""Run the scenarios of tests/frozen/scenarios.toml in containers, and write what comes out, with
what is decided of it: `make record-runs` (five minutes)."""
import json
import re
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from frozen_decisions import CHANGING, DECISIONS, FOLDER, VERDICTS, data_of, shown
from heron_environment import TEST_SCRIPT
from heron_project import add_test, opener, write_source
from proof_heron import IMAGE, RUN, environment_of, factory_of, make_image
from proof_heron import diff as heron_diff
from root import write_files
from screened_wren import PROJECT as WREN
from screened_wren import wren_diff, wren_environment
from validate_dp import SAMPLES, mutants, mutated, open_host

from codedata.datapoints.datapoint_folder import read_datapoint, weights_in
from codedata.datapoints.validate import CheckFailed, Validation
from codedata.env.verify_scripts import Verifier
from codedata.errors import Excluded, ItemFailed
from codedata.sandbox.docker import engine
from codedata.suites.environments import labelled, open_environment
from codedata.suites.project_suite import RESULTS, Run, run_suite
from codedata.suites.source import Project, apply_patch
from codedata.tasks.folder.eval_script import eval_script, misread, run_evaluation
from codedata.tasks.folder.tests_folder import READS, suite_tests
from codedata.tasks.prove.grader import Grade, Grader
from codedata.tasks.prove.outcomes import known_results
from codedata.tasks.prove.proof import PatchProver
from codedata.tasks.prove.run_suite import ScreeningRules, first_run
from codedata.texts import tomllib

TESTS = (f"mkdir -p {RESULTS} && python3 -m pytest -p no:cacheprovider -o junit_family=xunit1 "
         f"--junitxml={RESULTS}/r.xml")
LIMIT_S, HANGS_S = 60, 5   # of a run; of one with a bug
SCENARIOS = tomllib.loads((FOLDER / "scenarios.toml").read_text())


def bug(scene: dict, folder: Path) -> tuple[dict, dict]:
    """Run a suite with a patch; and have the patch judged."""
    is_strip = scene.get("project") == "wren"
    environment = wren_environment() if is_strip else environment_of()
    patch = (wren_diff if is_strip else heron_diff)(scene["old"], scene["new"])
    may_break, factory = 1.0 if is_strip else 0.5, factory_of(run_timeout=HANGS_S)
    with open_environment(environment, factory, RUN) as sandbox:
        assert apply_patch(sandbox, patch)[2] == "", scene
        run = run_suite(sandbox, environment.test_script, HANGS_S)
    first = first_run(environment, patch, factory, RUN, ScreeningRules(may_break)).screened
    line = {"patch": patch, "known": known_results(environment), "may_break": may_break,
            "run": data_of(run)}
    # a loaded machine ends a run later than at its limit
    reason = re.sub(r"after \d+ s", f"after {HANGS_S} s", first.reason)
    return line, {"verdict": first.verdict, "reason": reason}


def environment(scene: dict, folder: Path) -> tuple[dict, dict]:
    """Run a suite as graders do; and have a prover look at it."""
    cases = environment_of().test_case_result
    cases = [*cases, {"name": scene["more"], "status": "passed"}] if "more" in scene else cases
    if "failing" in scene:
        cases = [{"name": name, "status": "error"} for name in scene["failing"]]
    given = environment_of(test_case_result=cases, test_script=fill_script(scene))
    factory, runs = factory_of(run_timeout=scene.get("test_s", LIMIT_S)), []
    for reads in READS:
        with open_environment(given, factory, RUN) as sandbox:
            run, printed = run_evaluation(sandbox, eval_script(
                suite_tests(given.test_script, reads=reads)),
                                          factory.run_timeout_s)
        runs.append([data_of(run), CHANGING.sub("0", printed)])
        if run.timed_out or not misread(run, printed):
            break
    prover = PatchProver(factory)
    line = {"script": given.test_script, "known": cases, "runs": runs}
    try:
        baseline = prover.baseline_of(given, RUN)
    except (ItemFailed, Excluded) as e:
        return line, {"verdict": VERDICTS[type(e)], "reason": e.what, "reads": ""}
    return line, {"verdict": "as known", "reason": "", "reads": baseline.reads}


def fill_script(scene: dict) -> str:
    """Return the test script of an environment, with what a scene has in its place or behind."""
    return scene["whole"] if "whole" in scene else f"{TEST_SCRIPT}\n{scene['script']}"


@dataclass(frozen=True)
class Noting(Verifier):
    """Verify, and note the runs."""

    runs: list[Run] = field(default_factory=list)

    def test(self, sandbox, script: str) -> Run:
        self.runs.append(super().test(sandbox, script))
        return self.runs[-1]


def hollow(scene: dict, folder: Path) -> tuple[dict, dict]:
    """Verify a script; return what had passed, and the run of it with a broken source."""
    write_files(folder, SCENARIOS["heron"] | scene.get("files", {}))
    project = Project(folder, distribution="heron", modules=("heron",))
    verifier = Noting(opener, project, scene.get("test_s", LIMIT_S))
    found = verifier.verify("true", scene["script"])
    assert found.failed in ("", "hollow") and len(verifier.runs) == 5, (scene, found)
    names = [{case.name for case in run.results if case.status == "passed"}
             for run in verifier.runs[:4]]
    line = {"script": scene["script"], "passed": sorted(set.intersection(*names)),
            "is_built": "files" in scene, "broken": data_of(verifier.runs[-1])}
    return line, {"verdict": found.failed or "real",
                  "reason": found.cause.evidence if found.failed else ""}


def verification(scene: dict, folder: Path) -> tuple[dict, dict]:
    """Verify the scripts of a small project."""
    source = write_source(folder / "heron")
    add_test(source, scene.get("body", ""))
    for path in scene.get("files", ()):
        (source / path).write_text(scene.get("text", "def test_it():\n    pass\n"))
    limit_s = scene.get("test_s", LIMIT_S)
    project = Project(source, distribution="heron", modules=("heron",))
    verifier, only_healthy = Noting(opener, project, limit_s), scene.get("only_healthy", False)
    found = verifier.verify("true", TESTS + scene.get("script", ""), only_healthy)
    paths = sorted(str(path.relative_to(source)) for path in source.rglob("*.py"))
    return {"limit_s": limit_s, "only_healthy": only_healthy, "committed": paths,
            "runs": [*map(data_of, verifier.runs)]}, shown(found)


class NotingGrader(Grader):
    """Grade, and note what comes out."""

    def grade(self, *work, **how) -> Grade:
        self.grades = [*getattr(self, "grades", ()), super().grade(*work, **how)]
        return self.grades[-1]


def datapoint(scene: dict, folder: Path) -> tuple[dict, dict]:
    """Check the tests and the solution of a datapoint."""
    place = mutated(scene, folder) if "patch" in scene else SAMPLES / scene["name"]
    task, host = read_datapoint(place), open_host(folder)
    found = {"verdict": "good", "reason": "", "evidence": []}
    with labelled(host, task.instance_id, "dp") as label:
        checks = Validation(task, host, label)
        checks.weight_validation()
        checks.docker_build()
        checks.grader = grader = NotingGrader(*(vars(checks.grader)[key] for key in (
            "host", "task", "image", "label")))
        try:
            for check in (checks.test_discovery, checks.fail_first, checks.solvable):
                check()
        except CheckFailed as e:
            found = {"verdict": "refused", "reason": str(e), "evidence": e.evidence}
    n_gold = sum(run["of"] == "gold" for run in checks.runs)
    line = {"tests": sorted(weights_in(task)), "grades": [
        {"reward": grade.reward, "phases": grade.phases} for grade in grader.grades[:1 + n_gold]]}
    return line, found


RECORDERS = {"bugs": bug, "environments": environment, "hollow": hollow,
             "verifications": verification, "datapoints": datapoint}


def scenes_of(kind: str) -> list[dict]:
    """Return the scenarios of a kind."""
    if kind != "datapoints":
        return SCENARIOS[kind]
    wanted = SCENARIOS[kind]
    return [*({"name": name} for name in wanted["samples"]),
            *(one for one in mutants() if one["name"] in wanted["mutants"]), *wanted["more"]]


def recorded(kind: str, scene: dict) -> dict:
    """Run a scenario, and return its line, with what the package's own checks said of it: the
    adapter has to say the same."""
    with tempfile.TemporaryDirectory() as folder:
        line, live = RECORDERS[kind](scene, Path(folder))
    live["reason"] = CHANGING.sub("0", live["reason"])
    again = DECISIONS[kind](line)
    assert {**again, "evidence": 0} == {**again, **live, "evidence": 0}, (scene, again, live)
    assert {*again.get("evidence", ())} <= {*live.get("evidence", ())}, (again, live)
    return {"name": scene["name"], **line, **again}


def main(kinds: list[str]) -> None:
    make_image(IMAGE)
    WREN.make()
    for kind in kinds or RECORDERS:
        lines = [recorded(kind, scene) for scene in scenes_of(kind)]
        for line in lines:
            print(f"{kind}: {line['name']}: {line['verdict']}  {line['reason'][:150]}")
        (FOLDER / f"{kind}.jsonl").write_text(
            "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines))
    engine.remove_images(RUN)


if __name__ == "__main__":
    main(sys.argv[1:])
