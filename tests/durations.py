"""Note in the JUnit file how long each fixture took to be set up, for tools/durations.

A fixture's seconds are a property `fixture NAME` of the test that it was set up for.
"""
import time

import pytest

LEAST_S = 0.05   # shorter ones are left out

_fixtures: list[tuple[str, float]] = []   # set up for the test that runs: (name, seconds)


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef, request):
    began = time.monotonic()
    try:
        return (yield)
    finally:
        _fixtures.append((fixturedef.argname, time.monotonic() - began))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    if call.when == "setup":
        item.user_properties += [(f"fixture {name}", round(seconds, 2))
                                 for name, seconds in _fixtures if seconds >= LEAST_S]
        _fixtures.clear()
    return (yield)
