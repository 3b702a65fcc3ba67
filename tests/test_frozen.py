"""Check that what was decided on recorded runs is decided again, and that live runs still come to
what is recorded (make record-runs)."""
import sys

import pytest
from conftest import REPO
from frozen_decisions import DECISIONS, lines
from proof_heron import heron as heron  # a fixture

LINES = [(kind, line) for kind in DECISIONS for line in lines(kind)]
# others are run by test_proof.py, test_hollow.py and test_verify.py
LIVE = [(kind, name) for kind, names in {
    "bugs": ("a syntax error", "an endless loop"),
    "environments": ("results that are not in JUnit XML", "a known test that is gone",
                     "a suite that does not end"),
    "hollow": ("swallows the exit code", "a program"),
    "verifications": ("a case that comes and goes", "nothing without the network"),
    "datapoints": ("names-in-the-right-order", "installed-at-home")}.items()
    for name in names]


@pytest.mark.parametrize(("kind", "line"), LINES, ids=[f"{kind}: {line['name']}"
                                                       for kind, line in LINES])
def test_what_was_decided_is_decided_again(kind, line):
    found = DECISIONS[kind](line)
    assert found == {key: line[key] for key in found}


@pytest.mark.docker
@pytest.mark.parametrize(("kind", "name"), LIVE, ids=map(": ".join, LIVE))
def test_a_live_run_comes_to_what_is_recorded(heron, kind, name):
    sys.path.append(str(REPO / "benchmarks"))
    from record_runs import recorded, scenes_of
    frozen, = (line for line in lines(kind) if line["name"] == name)
    scene, = (one for one in scenes_of(kind) if one["name"] == name)
    live = recorded(kind, scene)
    assert {key: live[key] for key in DECISIONS[kind](frozen)} == DECISIONS[kind](frozen)
