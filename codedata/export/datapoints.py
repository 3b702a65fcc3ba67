"""Say what a datapoint's verifier is, for build_dp.py, until its maker writes task/ itself."""
from __future__ import annotations

from codedata.checks.datapoints import AGENT, weights_of, workdir_of
from codedata.records import Datapoint
from codedata.tasks.tests_folder import TestFiles, weighted_tests

# names below files/ that an export needs
TAKEN = {"dockerfile", "docker-compose.yaml", ".dockerignore", "task.yaml", "run-tests.sh",
         "solution.sh", "solution.yaml", "tests", "manifest.toml"}
VERIFIER_S = 600.0


def verifier_of(datapoint: Datapoint) -> TestFiles:
    """Return {path: text} of what lies in /tests of a verifier."""
    weights = {name: float(weight) for name, weight in weights_of(datapoint.weights).items()}
    files = weighted_tests(weights, AGENT, workdir_of(datapoint.dockerfile), VERIFIER_S)
    return {**files, "test_outputs.py": datapoint.tests}
