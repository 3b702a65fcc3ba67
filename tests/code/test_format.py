"""Test the form of a turn on replies in the shapes that models really give (format_cases.toml).

The rules are in codedata/conversation/turn.py. Accepted turns are also read the way an agent's
harness reads them.
"""
import os
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest
from line_tables import toml_beside

from codedata.conversation.turn import Form, clean

FORM = Form()
# mini-swe-agent and others like it run the only match of this in the message. None or several are
# sent back.
HARNESS = re.compile(r"```bash[ \t]*\r?\n(.*?)\r?\n```", re.DOTALL)
LS = "```bash\nls\n```"

CASES = toml_beside(__file__, "format_cases.toml")
# name: (reply, the command of the turn)
GOOD = {name: (reply, "ls") for name, reply in CASES["plain"].items()} | {
    name: (turn["reply"], turn["command"]) for name, turn in CASES["good"].items()}
# the reason: {name: reply}; a TOML file can hold no half of a character
BAD = CASES["bad"] | {"the answer has a lone surrogate (half a character)": {
    "lone surrogate": f"THOUGHT: a\ud800b.\n\n{LS}",
    "lone surrogate in the command": "THOUGHT: Look.\n\n```bash\necho \udfff\n```"}}


@pytest.mark.parametrize("name", GOOD)
def test_a_turn_passes_and_a_harness_runs_the_very_command(name):
    reply, command = GOOD[name]
    assert FORM.problem(reply) is None
    assert FORM.read(reply).block == command
    assert [found.strip("\r\n") for found in HARNESS.findall(clean(reply))] == [command]


@pytest.mark.parametrize("reason", BAD)
def test_what_is_no_turn_is_refused_with_the_reason(reason):
    problems = {name: FORM.problem(reply) for name, reply in BAD[reason].items()}
    assert problems == dict.fromkeys(BAD[reason], reason)


@pytest.mark.parametrize("seed", range(8))
def test_whatever_passes_has_just_one_command_for_a_harness(seed):
    """Check random arrangements of the parts of replies."""
    rng = random.Random(seed)
    parts = ["THOUGHT: I look.", "", "prose", "```bash", "```", "ls", "```python", "  ```",
             "   ```bash", "``` bash", "EOF", "cat > a <<'EOF'", "~~~", "</think>",
             "Observation: x", "```bash ls```", "\t", "````", "`a`"]
    accepted = 0
    for _ in range(1500):
        core = ["THOUGHT: I look.", "```bash", "ls", "```"] if rng.random() < 0.7 else []
        for _ in range(rng.randrange(5)):
            core.insert(rng.randrange(len(core) + 1), rng.choice(parts))
        reply = "\n".join(core)
        if not FORM.problem(reply):
            accepted += 1
            commands = [found.strip() for found in HARNESS.findall(clean(reply))]
            assert commands == [FORM.read(reply).block.strip()], reply
    assert accepted > 100


@pytest.mark.parametrize("name", ["as asked", "thinking before"])
def test_a_truncated_reply_is_none_whatever_it_holds(name):
    reply, _ = GOOD[name]
    assert FORM.problem(reply, truncated=True) == "truncated at max_tokens"


def test_the_thought_of_a_turn_is_without_its_label():
    thoughts = [FORM.read(row["reply"]).thought for row in CASES["thought"]]
    assert thoughts == [row["thought"] for row in CASES["thought"]]


@pytest.mark.parametrize("row", CASES["leaked"], ids=lambda row: row["name"])
def test_leaked_thinking_is_cut_off(row):
    assert clean(row["reply"]) == row["cleaned"]


HUGE = [row["before"] + row["part"] * (1_000_000 // len(row["part"])) + row["behind"]
        for row in CASES["huge"]]


@pytest.mark.long
def test_a_megabyte_of_anything_is_judged():
    """Run it in a process that can be ended: if it is not linear, it takes hours."""
    program = "import test_format; list(map(test_format.FORM.problem, test_format.HUGE))"
    subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).parent, check=True,
                   env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}, timeout=100)
