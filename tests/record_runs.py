"""Run the scenarios of tests/frozen/scenarios.toml in containers, and write what comes out, with
what is decided of it: `make record-runs` (five minutes)."""
from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from frozen_decisions import DECISIONS, FOLDER, data_of
from heron_environment import TEST_SCRIPT
from heron_project import add_test, opener, write_source
from proof_heron import IMAGE, RUN, environment_of, factory_of, make_image
from proof_heron import diff as heron_diff
from screened_wren import PROJECT as WREN
from screened_wren import wren_diff, wren_environment
from validate_dp import SAMPLES, mutants, mutated, open_host

from codedata.checks.datapoints import read_datapoint, weights_of
from codedata.checks.proof import known_results
from codedata.code.breaking import break_source
from codedata.code.environments import labelled, open_environment
from codedata.code.eval_script import eval_script, run_evaluation
from codedata.code.source import Project, apply_patch, put_source
from codedata.code.suite import RESULTS, Run, run_suite
from codedata.datapoints.grade import Grader, build_image
from codedata.datapoints.validate import verifier_of, workdir_of
from codedata.env.verify import Limits, Verifier
from codedata.sandbox import docker_engine
from codedata.texts import tomllib

TESTS = (f"mkdir -p {RESULTS} && python3 -m pytest -p no:cacheprovider -o junit_family=xunit1 "
         f"--junitxml={RESULTS}/r.xml")
LIMIT_S, HANGS_S = 60, 5   # of a run; of one with a bug
SCENARIOS = tomllib.loads((FOLDER / "scenarios.toml").read_text())


def bug(scene: dict, folder: Path) -> dict:
    """Run a suite with a patch."""
    is_strip = scene.get("project") == "wren"
    environment = wren_environment() if is_strip else environment_of()
    patch = (wren_diff if is_strip else heron_diff)(scene["old"], scene["new"])
    with open_environment(environment, factory_of(), RUN) as sandbox:
        assert apply_patch(sandbox, patch)[2] == "", scene
        run = run_suite(sandbox, environment.test_script, HANGS_S)
    return {"patch": patch, "known": known_results(environment),
            "may_break": 1.0 if is_strip else 0.5, "run": data_of(run)}


def misread(scene: dict, folder: Path) -> dict:
    """Run a suite as graders do."""
    script = eval_script(f"{TEST_SCRIPT}\n{scene['script']}")
    with open_environment(environment_of(), factory_of(), RUN) as sandbox:
        run, printed = run_evaluation(sandbox, script, LIMIT_S)
    return {"script": scene["script"], "run": data_of(run), "for_graders": printed}


def hollow(scene: dict, folder: Path) -> dict:
    """Run a script with a source as it is, and broken."""
    for path, text in SCENARIOS["heron"].items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    project, script = Project(folder, distribution="heron", modules=("heron",)), scene["script"]
    with opener("") as sandbox:
        assert put_source(sandbox, project)[1] == ""
        passed = [case.name for case in run_suite(sandbox, script, LIMIT_S).results
                  if case.status == "passed"]
        assert passed and break_source(sandbox, project, script).n_files
        run = run_suite(sandbox, script, LIMIT_S)
    return {"script": script, "passed": passed, "broken": data_of(run)}


@dataclass(frozen=True)
class Noting(Verifier):
    """Verify, and note the runs."""

    runs: list[Run] = field(default_factory=list)

    def test(self, sandbox, script: str) -> Run:
        self.runs.append(super().test(sandbox, script))
        return self.runs[-1]


def verification(scene: dict, folder: Path) -> dict:
    """Verify the scripts of a small project."""
    source = write_source(folder / "heron")
    add_test(source, scene.get("body", ""))
    for path in scene.get("files", ()):
        (source / path).write_text(scene.get("text", "def test_it():\n    pass\n"))
    limits = Limits(LIMIT_S, scene.get("test_s", LIMIT_S))
    project = Project(source, distribution="heron", modules=("heron",))
    verifier = Noting(opener, project, limits)
    found = verifier.verify("true", TESTS + scene.get("script", ""))
    paths = sorted(str(path.relative_to(source)) for path in source.rglob("*.py"))
    line = {"limit_s": limits.test_s, "committed": paths, "runs": [*map(data_of, verifier.runs)]}
    seen = found.failed or ("healthy" if found.healthy else "verified")
    assert seen == "hollow" or DECISIONS["verifications"](line)["verdict"] == seen, found
    return line


def datapoint(scene: dict, folder: Path) -> dict:
    """Grade a datapoint as it is and, unless that shows enough, its solution."""
    place = mutated(scene, folder) if "patch" in scene else SAMPLES / scene["name"]
    point, host = read_datapoint(place), open_host(folder)
    with labelled(host, point.instance_id, "dp") as label:
        image, built = build_image(point, host, label)
        assert not built.failed, built.log
        grader = Grader(host, image, workdir_of(point.dockerfile), verifier_of(point), label)
        grades = [grader.grade(None)]
        if scene.get("check") in (None, "solvable"):
            grades += [grader.grade(grader.work(point.solution)[0], before="true; ")
                       for _ in range(2)]
    return {"tests": sorted(weights_of(point.weights)), "grades": [
        {"reward": grade.reward, "phases": grade.phases} for grade in grades]}


RECORDERS = {"bugs": bug, "misread": misread, "hollow": hollow, "verifications": verification,
             "datapoints": datapoint}


def scenes_of(kind: str) -> list[dict]:
    """Return the scenarios of a kind."""
    if kind != "datapoints":
        return SCENARIOS[kind]
    wanted = SCENARIOS[kind]
    return [*({"name": name} for name in wanted["samples"]),
            *(one for one in mutants() if one["name"] in wanted["mutants"])]


def recorded(kind: str, scene: dict) -> dict:
    """Run a scenario, and return its line."""
    with tempfile.TemporaryDirectory() as folder:
        line = {"name": scene["name"], **RECORDERS[kind](scene, Path(folder))}
    return line | DECISIONS[kind](line)


def main(kinds: list[str]) -> None:
    make_image(IMAGE)
    WREN.make()
    for kind in kinds or RECORDERS:
        lines = [recorded(kind, scene) for scene in scenes_of(kind)]
        for line in lines:
            print(f"{kind}: {line['name']}: {line['verdict']}  {line['reason'][:150]}")
        (FOLDER / f"{kind}.jsonl").write_text(
            "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines))
    docker_engine.remove_images(RUN)


if __name__ == "__main__":
    main(sys.argv[1:])
