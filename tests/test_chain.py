"""Check that tools/chain runs the stages in order with their flags; a fake python notes them."""
from __future__ import annotations

import os
import subprocess

import pytest
from conftest import REPO

NOTES = ('#!/bin/sh\nprintf "%s|" "$@" >> called; echo >> called\n'
         'case $1 in "$FAILS") exit "$CODE" ;; esac\n')


@pytest.fixture
def chain(tmp_path):
    def run(stages: str, *flags: str, fails: str = "", code: int = 0):
        (tmp_path / "python").write_text(NOTES)
        (tmp_path / "python").chmod(0o755)
        env = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "FAILS": fails,
                            "CODE": str(code)}
        done = subprocess.run([REPO / "tools" / "chain", stages, *flags], cwd=tmp_path, env=env,
                              capture_output=True, text=True, timeout=30)
        return done, [line.split("|")[:-1]
                      for line in (tmp_path / "called").read_text().splitlines()]
    return run


def test_what_narrows_goes_to_no_stage_that_is_of_all(chain):
    done, called = chain("king report export", "--root", "a b", "--limit", "3", "--only=x*",
                         "--only", "y z", "--quiet")
    assert done.returncode == 0 and called == [
        ["king.py", "--root", "a b", "--limit", "3", "--only=x*", "--only", "y z", "--quiet"],
        ["report.py", "--root", "a b", "--quiet"], ["export.py", "--root", "a b", "--quiet"]]


def test_failed_items_are_named_at_the_end_and_the_next_stage_runs(chain):
    done, called = chain("king ch", "--root", "r", fails="king.py", code=1)
    assert done.returncode == 1 and "king" in done.stderr and len(called) == 2


@pytest.mark.parametrize("code", [2, 130])
def test_anything_else_stops_the_chain(chain, code):
    done, called = chain("king ch", "--root", "r", fails="king.py", code=code)
    assert done.returncode == code and f"exit {code}" in done.stderr and len(called) == 1
