"""Check samples/repos, planned without a model and verified in real containers with registries."""
import os

import pytest
from conftest import REPO
from sample_suites import HEALTHY, IN_DEMOS

from codedata.env.planner import plan, project_of
from codedata.env.repository_facts import read_facts
from codedata.env.verify_scripts import Verifier
from codedata.sandbox import open_sandbox

pytestmark = pytest.mark.docker
FOLDER = REPO / "samples" / "repos"
CA_BUNDLE = os.environ.get("REQUESTS_CA_BUNDLE", "")

SKIPS = """import pytest
def test_it():
    pass
def test_six():
    pytest.importorskip("six")
@pytest.mark.parametrize("n", range(3))
def test_elsewhere(n):
    pytest.skip()
"""


def planned(name: str):
    def opener(image: str):
        return open_sandbox("docker", image=image or "codedata-base:bookworm", workdir="/testbed",
                            scripts=[], run_label="test-repos", ca_bundle=CA_BUNDLE)
    facts = read_facts(FOLDER / name)
    return plan(Verifier(opener, project_of(facts, FOLDER / name), 600), facts)


@pytest.mark.long   # repositories of the demos are in test_demos.py
@pytest.mark.parametrize("name", [name for name in HEALTHY if name not in IN_DEMOS])
def test_a_repository_becomes_a_healthy_environment_with_the_first_recipe(name):
    found = planned(name)
    verified = found.verified
    assert verified.ok and verified.healthy, verified.cause
    assert [verified.n_passed, verified.n_cases] == HEALTHY[name][:2] and len(found.attempts) == 1
    assert HEALTHY[name][2] in {case["name"] for case in verified.results}
    assert not verified.flaky and not verified.needs_network


def test_a_flaky_suite_is_verified_and_its_flaky_case_named():
    verified = planned("dicehedge").verified
    assert verified.ok
    assert verified.flaky == ["tests/test_dice.py::test_scores_start_empty"]
    assert verified.n_passed >= 6


def test_a_suite_that_skips_most_of_itself_is_healthy_and_skips_no_more_than_it_has_to(tmp_path):
    (tmp_path / "test_it.py").write_text(SKIPS)
    found = planned(tmp_path)   # in place of a sample
    assert found.verified.is_healthy
    assert [attempt["n_passed"] for attempt in found.attempts] == [1, 2]


def test_what_cannot_be_installed_fails_with_its_cause():
    found = planned("saltpan")
    assert (found.verified.failed, found.verified.cause.name) == ("install", "missing_header")
    assert "brinepan/pan.h" in found.verified.cause.evidence and "brinepan" in found.verified.log
