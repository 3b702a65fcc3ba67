"""What counts as a turn: replies in the shapes that models really give, each with its verdict.

The rules stand in codedata/code/turn.py. Accepted turns are also read the way an agent's harness reads them.
"""
from __future__ import annotations

import random
import re
import subprocess
import sys
import time

import pytest
from conftest import REPO

from codedata.code.turn import clean, format_ok, format_problem, parse_turn

# What mini-swe-agent and its kin run: the only match of this in the message. None or several are sent back.
HARNESS = re.compile(r"```bash[ \t]*\r?\n(.*?)\r?\n```", re.DOTALL)
KIMI_CALL = ("<|tool_calls_section_begin|><|tool_call_begin|>functions.bash:0<|tool_call_argument_begin|>"
             '{"command": "ls -la"}<|tool_call_end|><|tool_calls_section_end|>')
LS = "```bash\nls\n```"

# name: (reply, the command of the turn)
GOOD = {
    "as asked": ("THOUGHT: I look around first.\n\n```bash\nls -la\n```", "ls -la"),
    "prose without a label": ("I'll start by looking at the parser.\n\n```bash\nsed -n '1,80p' parser.py\n```",
                              "sed -n '1,80p' parser.py"),
    "label in bold": ("**THOUGHT:** The test fails on windows.\n\n```bash\npytest -x\n```", "pytest -x"),
    "label in bold, colon outside": ("**Thought**: let me see.\n\n" + LS, "ls"),
    "label in lower case": ("thought: let me see\n" + LS, "ls"),
    "label in plural": ("THOUGHTS: let me see\n" + LS, "ls"),
    "label on a line of its own": ("THOUGHT:\nThe cause is in `io.py`.\n\n" + LS, "ls"),
    "label as a heading": ("## Thought\n\nThe cause is in `io.py`.\n\n" + LS, "ls"),
    "thought of several paragraphs": ("THOUGHT: One.\n\n- two\n- three\n\n1. four\n\nFive.\n\n" + LS, "ls"),
    "no blank line before the block": ("THOUGHT: Look.\n```bash\nls\n```", "ls"),
    "CRLF": ("THOUGHT: Look.\r\n\r\n```bash\r\nls -la\r\npwd\r\n```\r\n", "ls -la\r\npwd"),
    "blanks behind the fences": ("THOUGHT: Look.\n\n```bash  \nls\n```  ", "ls"),
    "blank lines around": ("\n\n  THOUGHT: Look.\n\n```bash\n\nls\n\n```\n\n", "ls"),
    "block of several lines": ("I edit it.\n\n```bash\ncd /testbed && \\\n  sed -i 's/a/b/' x.py\ngit diff\n```",
                               "cd /testbed && \\\n  sed -i 's/a/b/' x.py\ngit diff"),
    "heredoc": ("I write a script.\n\n```bash\ncat > t.py <<'EOF'\nprint('```')\nEOF\npython t.py\n```",
                "cat > t.py <<'EOF'\nprint('```')\nEOF\npython t.py"),
    "backticks in the command": ("Count.\n\n```bash\necho `ls | wc -l`\n```", "echo `ls | wc -l`"),
    "prose behind the block": ("Look.\n\n" + LS + "\n\nThis lists the files.", "ls"),
    "python block before": ("The code is\n\n```python\ndef f(): pass\n```\n\nso I run it.\n\n" + LS, "ls"),
    "python block behind": ("I run it.\n\n" + LS + "\n\nIt does\n\n```python\ndef f(): pass\n```", "ls"),
    "diff block before": ("I want\n\n```diff\n-a\n+b\n```\n\n" + LS, "ls"),
    "block without a language before": ("The error was\n\n```\nKeyError\n```\n\n" + LS, "ls"),
    "inline code with bash in it": ("I use ```bash``` here, and `ls`.\n\n" + LS, "ls"),
    "inline code at the start of a line": ("```ls``` is what I run.\n\n" + LS, "ls"),
    "the word bash in the prose": ("Write ```bash blocks, they said.\n\n" + LS, "ls"),
    "thinking before": ("<think>\nHm, the user wants…\n</think>\n\nTHOUGHT: Look.\n\n" + LS, "ls"),
    "thinking with a block of its own": ("<think>I could\n```bash\nrm -rf /\n```\nno</think>THOUGHT: Look.\n\n" + LS,
                                         "ls"),
    "thinking without its opening tag": ("Okay, I should look.\n</think>\n\nTHOUGHT: Look.\n\n" + LS, "ls"),
    "thinking long": ("<thinking>hm</thinking>\nLook.\n" + LS, "ls"),
    "thinking of Kimi": ("◁think▷hm◁/think▷THOUGHT: Look.\n\n" + LS, "ls"),
    "empty thinking": ("<think>\n\n</think>\n\nTHOUGHT: Look.\n\n" + LS, "ls"),
    "unicode": ("THOUGHT: Größe prüfen — 数据 🙂.\n\n```bash\ngrep -rn 'größe' .\n```", "grep -rn 'größe' ."),
    "thought in Chinese": ("思考：先看看目录。\n\n" + LS, "ls"),
    "line separators of unicode": ("THOUGHT: a\u2028b\x0bc\x0cd\x85e.\n\n```bash\necho 'a\u2028b'\n```",
                                   "echo 'a\u2028b'"),
    "just a comment to run": ("Nothing is left to do.\n\n```bash\n# done\n```", "# done"),
    "submission": ("All is done.\n\n```bash\necho COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT\n```",
                   "echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT"),
    "html in the prose": ("The `<output>` element is wrong.\n\n" + LS, "ls"),
    "observation in the prose": ("Observation: the test fails. So I look.\n\n" + LS, "ls"),
    "the word observation behind": ("I look.\n\n" + LS + "\n\nMy observation will tell whether it worked.", "ls"),
    "four blanks and a fence in a heredoc": ("I write.\n\n```bash\ncat > a.md <<'E'\n    ```\n    x\n    ```\nE\n```",
                                             "cat > a.md <<'E'\n    ```\n    x\n    ```\nE"),
    "a closing think tag in the prose": ("THOUGHT: The tokenizer drops `</think>`, so I look.\n\n" + LS, "ls"),
    "a think tag in the command": ("THOUGHT: I search for the tag.\n\n```bash\ngrep -rn '</think>' src\n```",
                                   "grep -rn '</think>' src"),
}

# name: (reply, a part of the reason)
BAD = {
    "nothing": ("", "empty"),
    "only blanks": (" \n\t\n ", "empty"),
    "prose alone": ("I would now run ls.", "no bash block"),
    "label and prose alone": ("THOUGHT: I would now run ls.", "no bash block"),
    "tool call of Kimi": (KIMI_CALL, "tool call"),
    "tool call of Kimi behind blanks": ("\n " + KIMI_CALL, "tool call"),
    "tool call of Kimi behind thinking": ("<think>hm</think>" + KIMI_CALL, "tool call"),
    "tool call of Kimi and a turn": (KIMI_CALL + "\n\nTHOUGHT: Look.\n\n" + LS, "tool call"),
    "tool call of Kimi behind prose": ("THOUGHT: Look.\n" + KIMI_CALL, "no bash block"),
    "tool call in XML": ('<tool_call>\n{"name": "bash", "arguments": {"cmd": "ls"}}\n</tool_call>', "no bash block"),
    "JSON": ('{"thought": "look", "command": "ls"}', "no bash block"),
    "a refusal": ("I'm sorry, but I can't help with that.", "no bash block"),
    "block alone": (LS, "no thought"),
    "block alone behind thinking": ("<think>I look.</think>\n" + LS, "no thought"),
    "label alone": ("THOUGHT:\n\n" + LS, "no thought"),
    "label in bold alone": ("**Thought:**\n\n" + LS, "no thought"),
    "label as a heading alone": ("## THOUGHT\n\n" + LS, "no thought"),
    "label without a colon alone": ("THOUGHT\n\n" + LS, "no thought"),
    "label with a wide colon alone": ("THOUGHT：\n\n" + LS, "no thought"),
    "label and dots": ("THOUGHT: ...\n\n" + LS, "no thought"),
    "label behind the block": (LS + "\n\nTHOUGHT: I looked.", "no thought"),
    "a block of code for a thought": ("```python\nprint(1)\n```\n\n" + LS, "no thought"),
    "two bash blocks": ("Look.\n\n" + LS + "\n\nand\n\n```bash\npwd\n```", "2 bash blocks"),
    "three bash blocks": ("Look.\n" + "\n".join([LS] * 3), "3 bash blocks"),
    "the same block twice": ("Look.\n\n" + LS + "\n\n" + LS, "2 bash blocks"),
    "sh": ("Look.\n\n```sh\nls\n```", "no bash block"),
    "shell": ("Look.\n\n```shell\nls\n```", "no bash block"),
    "console": ("Look.\n\n```console\n$ ls\n```", "no bash block"),
    "no language": ("Look.\n\n```\nls\n```", "no bash block"),
    "python": ("Look.\n\n```python\nimport os\n```", "no bash block"),
    "Bash": ("Look.\n\n```Bash\nls\n```", "no bash block"),
    "bash behind a blank": ("Look.\n\n``` bash\nls\n```", ""),
    "other fences": ("Look.\n\n~~~bash\nls\n~~~", "no bash block"),
    "four backticks": ("Look.\n\n````bash\nls\n````", ""),
    "fence on one line": ("Look.\n\n```bash ls -la```", ""),
    "fence on one line, closed below": ("Look.\n\n```bash ls -la\n```", ""),
    "fence behind prose": ("Look: ```bash\nls\n```", ""),
    "closing fence behind the command": ("Look.\n\n```bash\nls```", ""),
    "no end": ("Look.\n\n```bash\nls", "without an end"),
    "no end, prose behind": ("Look.\n\n```bash\nls\n\nThis lists the files.", "without an end"),
    "end of another language": ("Look.\n\n```bash\nls\n```bash", ""),
    "block in quotes": ("Look.\n\n> ```bash\n> ls\n> ```", "no bash block"),
    "indented fences": ("Look.\n\n  ```bash\n  ls\n  ```", ""),
    "far indented fences": ("Look.\n\n    ```bash\n    ls\n    ```", "no bash block"),
    "indented end": ("Look.\n\n```bash\nls\n  ```", ""),
    "empty block": ("Look.\n\n```bash\n```", "empty"),
    "block of blanks": ("Look.\n\n```bash\n \n\t\n```", "empty"),
    "heredoc with a python fence": ("I write.\n\n```bash\ncat > a.md <<'E'\n```python\nx\n```\nE\n```", ""),
    "heredoc with plain fences": ("I write.\n\n```bash\ncat > a.md <<'E'\nUsage:\n```\npip install x\n```\nE\n```", ""),
    "heredoc with indented fences": ("I write.\n\n```bash\ncat > a.md <<'E'\n1.\n   ```\n   make\n   ```\nE\n```", ""),
    "heredoc with a bash fence": ("I write.\n\n```bash\ncat > a.md <<'E'\n```bash\nx\n```\nE\n```", ""),
    "bash block inside another": ("I write.\n\n```markdown\n```bash\nls\n```\n```", ""),
    "made-up observation": ("Look.\n\n" + LS + "\n\nObservation: a.py b.py", "observation"),
    "made-up observation in capitals": ("Look.\n\n" + LS + "\n\nOBSERVATION:\na.py", "observation"),
    "made-up observation in bold": ("Look.\n\n" + LS + "\n\n**Observation:** a.py", "observation"),
    "made-up observation as a heading": ("Look.\n\n" + LS + "\n\n### Observation\n\na.py b.py", "observation"),
    "made-up output element": ("Look.\n\n" + LS + "\n\n<output>\na.py\n</output>", "observation"),
    "made-up return code": ("Look.\n\n" + LS + "\n\n<returncode>0</returncode>", "observation"),
    "made-up observation, another turn": ("Look.\n\n" + LS + "\n\nObservation: a.py\n\nSo.\n\n```bash\npwd\n```", ""),
    "made-up output in a block": ("Look.\n\n" + LS + "\n\n```\nObservation: a.py\n```", "observation"),
    "thinking without an end": ("<think>I could run\n" + LS + "\nor not", ""),
    "NUL byte": ("THOUGHT: a\x00b.\n\n" + LS, "NUL"),
    "NUL byte in the command": ("THOUGHT: Look.\n\n```bash\nprintf 'a\x00'\n```", "NUL"),
    "lone surrogate": ("THOUGHT: a\ud800b.\n\n" + LS, "surrogate"),
    "lone surrogate in the command": ("THOUGHT: Look.\n\n```bash\necho \udfff\n```", "surrogate"),
    "old Mac line ends": ("THOUGHT: Look.\r\r```bash\rls\r```", ""),
    "escaped line ends": ("THOUGHT: Look.\\n\\n```bash\\nls\\n```", "no bash block"),
}


@pytest.mark.parametrize("name", GOOD)
def test_a_turn_passes_with_its_command(name):
    reply, command = GOOD[name]
    assert format_problem(reply) is None and format_ok(reply)
    assert parse_turn(reply).command == command


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_turn_is_refused_with_the_reason(name):
    reply, reason = BAD[name]
    assert reason in (format_problem(reply) or "accepted") and not format_ok(reply) and parse_turn(reply) is None


def test_the_table_is_long_enough():
    assert len(GOOD) + len(BAD) >= 45


@pytest.mark.parametrize("name", GOOD)
def test_a_harness_runs_the_very_command(name):
    reply, command = GOOD[name]
    assert [found.strip("\r\n") for found in HARNESS.findall(clean(reply))] == [command]


@pytest.mark.parametrize("seed", range(20))
def test_whatever_passes_has_just_one_command_for_a_harness(seed):
    """Random arrangements of what replies are made of."""
    rng = random.Random(seed)
    parts = ["THOUGHT: I look.", "", "prose", "```bash", "```", "ls", "```python", "  ```", "   ```bash", "``` bash",
             "EOF", "cat > a <<'EOF'", "~~~", "</think>", "Observation: x", "```bash ls```", "\t", "````", "`a`"]
    accepted = 0
    for _ in range(1500):
        core = ["THOUGHT: I look.", "```bash", "ls", "```"] if rng.random() < 0.7 else []
        for _ in range(rng.randrange(5)):
            core.insert(rng.randrange(len(core) + 1), rng.choice(parts))
        reply = "\n".join(core)
        if format_ok(reply):
            accepted += 1
            commands = [found.strip() for found in HARNESS.findall(clean(reply))]
            assert commands == [parse_turn(reply).command.strip()], reply
    assert accepted > 100


@pytest.mark.parametrize("reply", [GOOD["as asked"][0], GOOD["thinking before"][0]])
def test_a_truncated_reply_is_none_whatever_it_holds(reply):
    assert format_ok(reply) and not format_ok(reply, truncated=True)
    assert "truncated" in format_problem(reply, truncated=True)


@pytest.mark.parametrize("reply, thought", [
    ("THOUGHT: I look.\n\n" + LS, "I look."), ("**Thought:** I look.\n\n" + LS, "I look."),
    ("I look.\n" + LS, "I look."),
    ("I look. My thoughts: none.\n" + LS, "I look. My thoughts: none."),
    ("<think>hm</think>THOUGHT: I look.\n" + LS + "\nbye", "I look."),
])
def test_the_thought_of_a_turn_is_without_its_label(reply, thought):
    assert parse_turn(reply).thought == thought


@pytest.mark.parametrize("reply, cleaned", [
    ("<think>a</think>\n\nTHOUGHT: b", "THOUGHT: b"), ("a\n</think>\n\nb", "b"), ("<think>a", ""), ("  b \n", "b"),
    ("b", "b"),
    ("<think>a</think><think>b</think>c", "c"), ("<thinking>a</thinking>\n<think>b</think>\nc", "c"),
    ("<think>a</think>\n<thinking>b</thinking>\nc", "c"),
], ids=["before", "no opening tag", "no end", "blanks", "none", "twice", "two kinds", "two kinds turned round"])
def test_leaked_thinking_is_cut_off(reply, cleaned):
    assert clean(reply) == cleaned


@pytest.mark.parametrize("behind", ["<think>That should do.</think>", "<think>That should do.</think>\n\nBye.",
                                    "<think>or should I"])
def test_thinking_behind_the_block_is_in_no_record_either(behind):
    reply = f"THOUGHT: I look.\n\n{LS}\n\n{behind}"
    assert not format_ok(reply) or "think>" not in clean(reply)


@pytest.mark.parametrize("name", ["a closing think tag in the prose", "a think tag in the command"])
def test_a_turn_that_speaks_of_a_tag_is_left_whole(name):
    assert clean(GOOD[name][0]) == GOOD[name][0]


def test_cleaning_twice_changes_nothing():
    for reply, _ in [*GOOD.values(), *BAD.values()]:
        assert clean(clean(reply)) == clean(reply)


MEGABYTE = 1_000_000
HUGE = {
    "prose": "word " * (MEGABYTE // 5) + "\n" + LS,
    "blanks in the thought": "Look." + " " * MEGABYTE + "x\n" + LS,
    "line ends in the thought": "Look." + "\n" * MEGABYTE + "x\n" + LS,
    "stars in the thought": "Look." + "*" * MEGABYTE + "\n" + LS,
    "stars and blanks in the thought": "Look." + "* " * (MEGABYTE // 2) + "\n" + LS,
    "labels in the thought": "THOUGHT " * (MEGABYTE // 8) + "\n" + LS,
    "line ends behind the block": "Look.\n" + LS + "\n" * MEGABYTE + "x",
    "blanks behind the block": "Look.\n" + LS + "\n" + " " * MEGABYTE + "x",
    "stars behind the block": "Look.\n" + LS + "\n" + "*" * MEGABYTE + "x",
    "lines in the block": "Look.\n```bash\n" + "ls\n" * (MEGABYTE // 3) + "```",
    "fences": "Look.\n" + "```\n" * (MEGABYTE // 4) + LS,
    "bash blocks": "Look.\n" + (LS + "\n") * (MEGABYTE // 15),
    "backticks": "Look.\n" + "`" * MEGABYTE + "\n" + LS,
    "blanks behind a fence": "Look.\n```" + " " * MEGABYTE + "x\n```\n" + LS,
    "a word behind a fence": "Look.\n```" + "x" * MEGABYTE + "\n```\n" + LS,
    "thinking without an end": "<think>" * (MEGABYTE // 7),
    "closing tags": "</think>" * (MEGABYTE // 8) + LS,
    "thinking again and again": "<think>a</think>" * (MEGABYTE // 16) + "Look.\n" + LS,
}


@pytest.mark.parametrize("name", HUGE)
def test_a_megabyte_of_anything_is_judged_in_no_time(name):
    """In a process that can be ended: where it is not linear, it takes hours."""
    program = ("import resource, sys; from codedata.code.turn import format_problem; text = sys.stdin.read(); "
               "resource.setrlimit(resource.RLIMIT_CPU, (5, 5)); format_problem(text); print('judged')")
    done = subprocess.run([sys.executable, "-c", program], input=HUGE[name], cwd=REPO, capture_output=True,
                          encoding="utf-8")
    assert done.stdout == "judged\n", "not in 5 s of CPU"


def test_time_grows_with_the_length_not_its_square():
    def seconds(n):
        reply = "THOUGHT: " + "look at it. " * n + "\n\n```bash\n" + "echo a\n" * n + "```\n\nand then " + "more\n" * n
        started = time.process_time()
        assert format_ok(reply)
        return time.process_time() - started
    seconds(1000)
    assert seconds(80_000) < 40 * max(seconds(8_000), 0.002)
