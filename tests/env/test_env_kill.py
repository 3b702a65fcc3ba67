"""Check that env_setup.py killed at five random moments loses no record, pays for no finished reply
twice and leaves nothing behind.
"""
from __future__ import annotations

import json
import random
import subprocess
import time

import pytest
from conftest import kill, ledger_lines, run_script, start_script
from scenario import Scenario
from setups import handed_in, on_lean, scenario, wait_till_reaped, write_rows

pytestmark = pytest.mark.docker
KILLS, NAMES, AT_ONCE = 5, ("crane", "stork", "ibis"), 2
STEPS = [{"text": f"Step {n}.", "calls": [
    ["bash", {"command": f"echo {n} >> /tmp/steps; cat /tmp/steps"}]]} for n in range(4)]


def test_five_kills_at_random_moments(tmp_path):
    for name in NAMES:
        (tmp_path / name).mkdir()
        (tmp_path / name / f"test_{name}.py").write_text("def test_it():\n    pass\n")
    write_rows(tmp_path, *({"repo": name, "reformat_path": name} for name in NAMES))
    on_lean(tmp_path)
    draw, pids = random.Random(5), []
    with Scenario(scenario(*STEPS, handed_in())) as model:
        model.latency_s = 0.2
        flags = ["--input", tmp_path / "repos.jsonl", "--planner", "agent", "--no-image",
                 "--workers", AT_ONCE, "--llm-base-url", model.base_url]
        for _ in range(KILLS):
            process = start_script("env_setup.py", tmp_path, *flags)
            pids.append(process.pid)
            time.sleep(draw.uniform(0.5, 6))
            kill(process)
        done = run_script("env_setup.py", tmp_path, *flags, timeout_s=300)
        assert done.returncode == 0, done.stderr
        records = {name: json.loads((tmp_path / "env" / f"{name}.json").read_text())
                   for name in NAMES}
        assert {found["status"] for found in records.values()} == {"success"}
        assert model.n_requests <= len(NAMES) * (len(STEPS) + 1) + KILLS * AT_ONCE
        paid = [call["id"] for line in ledger_lines(tmp_path / "env")
                for call in line.get("calls", ())]
        assert len(paid) == len(set(paid))
        assert len(NAMES) * (len(STEPS) + 1) <= len(paid) <= model.n_requests
    wait_till_reaped(tmp_path, pids)
    assert not subprocess.run(["docker", "volume", "ls", "-q", "--filter", "label=codedata.run"],
                              capture_output=True, text=True).stdout
