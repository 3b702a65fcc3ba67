"""Test the form of a turn on replies in the shapes that models really give.

The rules stand in codedata/code/turn.py. Accepted turns are also read the way an agent's harness
reads them.
"""
from __future__ import annotations

import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

from codedata.code.turn import clean, format_problem, parse_turn

# mini-swe-agent and others like it run the only match of this in the message. None or several are
# sent back.
HARNESS = re.compile(r"```bash[ \t]*\r?\n(.*?)\r?\n```", re.DOTALL)
KIMI_CALL = (
    "<|tool_calls_section_begin|><|tool_call_begin|>functions.bash:0<|tool_call_argument_begin|>"
    '{"command": "ls -la"}<|tool_call_end|><|tool_calls_section_end|>')
LS = "```bash\nls\n```"

# name: a turn with the command `ls`
PLAIN = {
    "label in bold, colon outside": f"**Thought**: let me see.\n\n{LS}",
    "label in lower case": f"thought: let me see\n{LS}",
    "label in plural": f"THOUGHTS: let me see\n{LS}",
    "label on a line of its own": f"THOUGHT:\nThe cause is in `io.py`.\n\n{LS}",
    "label as a heading": f"## Thought\n\nThe cause is in `io.py`.\n\n{LS}",
    "thought of several paragraphs": f"THOUGHT: One.\n\n- two\n- three\n\n1. four\n\nFive.\n\n{LS}",
    "no blank line before the block": "THOUGHT: Look.\n```bash\nls\n```",
    "blanks behind the fences": "THOUGHT: Look.\n\n```bash  \nls\n```  ",
    "blank lines around": "\n\n  THOUGHT: Look.\n\n```bash\n\nls\n\n```\n\n",
    "prose behind the block": f"Look.\n\n{LS}\n\nThis lists the files.",
    "python block before": f"The code is\n\n```python\ndef f(): pass\n```\n\nso I run it.\n\n{LS}",
    "python block behind": f"I run it.\n\n{LS}\n\nIt does\n\n```python\ndef f(): pass\n```",
    "diff block before": f"I want\n\n```diff\n-a\n+b\n```\n\n{LS}",
    "block without a language before": f"The error was\n\n```\nKeyError\n```\n\n{LS}",
    "inline code with bash in it": f"I use ```bash``` here, and `ls`.\n\n{LS}",
    "inline code at the start of a line": f"```ls``` is what I run.\n\n{LS}",
    "the word bash in the prose": f"Write ```bash blocks, they said.\n\n{LS}",
    "thinking before": f"<think>\nHm, the user wants…\n</think>\n\nTHOUGHT: Look.\n\n{LS}",
    "thinking with a block of its own": "<think>I could\n```bash\nrm -rf /\n"
                                        f"```\nno</think>THOUGHT: Look.\n\n{LS}",
    "thinking without its opening tag": f"Okay, I should look.\n</think>\n\nTHOUGHT: Look.\n\n{LS}",
    "thinking long": f"<thinking>hm</thinking>\nLook.\n{LS}",
    "thinking of Kimi": f"◁think▷hm◁/think▷THOUGHT: Look.\n\n{LS}",
    "empty thinking": f"<think>\n\n</think>\n\nTHOUGHT: Look.\n\n{LS}",
    "thought in Chinese": f"思考：先看看目录。\n\n{LS}",
    "html in the prose": f"The `<output>` element is wrong.\n\n{LS}",
    "observation in the prose": f"Observation: the test fails. So I look.\n\n{LS}",
    "the word observation behind": f"I look.\n\n{LS}\n\n"
                                   "My observation will tell whether it worked.",
    "a closing think tag in the prose": "THOUGHT: The tokenizer drops `</think>`, so I look.\n\n"
                                        f"{LS}",
}
# name: (reply, the command of the turn)
GOOD = {name: (reply, "ls") for name, reply in PLAIN.items()} | {
    "as asked": ("THOUGHT: I look around first.\n\n```bash\nls -la\n```", "ls -la"),
    "prose without a label": (
        "I'll start by looking at the parser.\n\n```bash\nsed -n '1,80p' parser.py\n```",
        "sed -n '1,80p' parser.py"),
    "label in bold": ("**THOUGHT:** The test fails on windows.\n\n```bash\npytest -x\n```",
                      "pytest -x"),
    "CRLF": ("THOUGHT: Look.\r\n\r\n```bash\r\nls -la\r\npwd\r\n```\r\n", "ls -la\r\npwd"),
    "block of several lines": (
        "I edit it.\n\n```bash\ncd /testbed && \\\n  sed -i 's/a/b/' x.py\ngit diff\n```",
        "cd /testbed && \\\n  sed -i 's/a/b/' x.py\ngit diff"),
    "heredoc": (
        "I write a script.\n\n```bash\ncat > t.py <<'EOF'\nprint('```')\nEOF\npython t.py\n```",
        "cat > t.py <<'EOF'\nprint('```')\nEOF\npython t.py"),
    "backticks in the command": ("Count.\n\n```bash\necho `ls | wc -l`\n```", "echo `ls | wc -l`"),
    "unicode": ("THOUGHT: Größe prüfen — 数据 🙂.\n\n```bash\ngrep -rn 'größe' .\n```",
                "grep -rn 'größe' ."),
    "line separators of unicode": (
        "THOUGHT: a\u2028b\x0bc\x0cd\x85e.\n\n```bash\necho 'a\u2028b'\n```",
        "echo 'a\u2028b'"),
    "just a comment to run": ("Nothing is left to do.\n\n```bash\n# done\n```", "# done"),
    "submission": (
        "All is done.\n\n```bash\necho COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT\n```",
        "echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT"),
    "four blanks and a fence in a heredoc": (
        "I write.\n\n```bash\ncat > a.md <<'E'\n    ```\n    x\n    ```\nE\n```",
        "cat > a.md <<'E'\n    ```\n    x\n    ```\nE"),
    "a think tag in the command": (
        "THOUGHT: I search for the tag.\n\n```bash\ngrep -rn '</think>' src\n```",
        "grep -rn '</think>' src"),
}

# the reason: {name: reply}
BAD = {
    "empty answer": {
        "nothing": "",
        "only blanks": " \n\t\n ",
        "thinking without an end": f"<think>I could run\n{LS}\nor not",
    },
    "an empty bash block": {
        "empty block": "Look.\n\n```bash\n```",
        "block of blanks": "Look.\n\n```bash\n \n\t\n```",
    },
    "no bash block": {
        "prose alone": "I would now run ls.",
        "label and prose alone": "THOUGHT: I would now run ls.",
        "tool call of Kimi behind prose": f"THOUGHT: Look.\n{KIMI_CALL}",
        "tool call in XML": '<tool_call>\n{"name": "bash", "arguments": {"cmd": "ls"}}\n'
                            '</tool_call>',
        "JSON": '{"thought": "look", "command": "ls"}',
        "a refusal": "I'm sorry, but I can't help with that.",
        "sh": "Look.\n\n```sh\nls\n```",
        "shell": "Look.\n\n```shell\nls\n```",
        "console": "Look.\n\n```console\n$ ls\n```",
        "no language": "Look.\n\n```\nls\n```",
        "python": "Look.\n\n```python\nimport os\n```",
        "Bash": "Look.\n\n```Bash\nls\n```",
        "other fences": "Look.\n\n~~~bash\nls\n~~~",
        "block in quotes": "Look.\n\n> ```bash\n> ls\n> ```",
        "far indented fences": "Look.\n\n    ```bash\n    ls\n    ```",
        "escaped line ends": "THOUGHT: Look.\\n\\n```bash\\nls\\n```",
        "fence on one line": "Look.\n\n```bash ls -la```",
        "old Mac line ends": "THOUGHT: Look.\r\r```bash\rls\r```",
    },
    "a tool call, not a bash block": {
        "tool call of Kimi": KIMI_CALL,
        "tool call of Kimi behind blanks": f"\n {KIMI_CALL}",
        "tool call of Kimi behind thinking": f"<think>hm</think>{KIMI_CALL}",
        "tool call of Kimi and a turn": f"{KIMI_CALL}\n\nTHOUGHT: Look.\n\n{LS}",
    },
    "no thought before the bash block": {
        "block alone": LS,
        "block alone behind thinking": f"<think>I look.</think>\n{LS}",
        "label alone": f"THOUGHT:\n\n{LS}",
        "label in bold alone": f"**Thought:**\n\n{LS}",
        "label as a heading alone": f"## THOUGHT\n\n{LS}",
        "label without a colon alone": f"THOUGHT\n\n{LS}",
        "label with a wide colon alone": f"THOUGHT：\n\n{LS}",
        "label and dots": f"THOUGHT: ...\n\n{LS}",
        "label behind the block": f"{LS}\n\nTHOUGHT: I looked.",
        "a block of code for a thought": f"```python\nprint(1)\n```\n\n{LS}",
    },
    "2 bash blocks": {
        "two bash blocks": f"Look.\n\n{LS}\n\nand\n\n```bash\npwd\n```",
        "the same block twice": f"Look.\n\n{LS}\n\n{LS}",
        "made-up observation, another turn": f"Look.\n\n{LS}\n\nObservation: a.py\n\nSo.\n\n"
                                             "```bash\npwd\n```",
    },
    "3 bash blocks": {
        "three bash blocks": "Look.\n" + "\n".join([LS] * 3),
    },
    "a bash block that does not open with a line ```bash": {
        "bash behind a blank": "Look.\n\n``` bash\nls\n```",
        "four backticks": "Look.\n\n````bash\nls\n````",
        "fence on one line, closed below": "Look.\n\n```bash ls -la\n```",
        "indented fences": "Look.\n\n  ```bash\n  ls\n  ```",
    },
    "a block without an end": {
        "fence behind prose": "Look: ```bash\nls\n```",
    },
    "a bash block without an end": {
        "closing fence behind the command": "Look.\n\n```bash\nls```",
        "no end": "Look.\n\n```bash\nls",
        "no end, prose behind": "Look.\n\n```bash\nls\n\nThis lists the files.",
    },
    "a fence inside the bash block": {
        "end of another language": "Look.\n\n```bash\nls\n```bash",
        "indented end": "Look.\n\n```bash\nls\n  ```",
        "heredoc with a python fence": "I write.\n\n```bash\ncat > a.md <<'E'\n```python\nx\n"
                                       "```\nE\n```",
        "heredoc with indented fences": "I write.\n\n```bash\ncat > a.md <<'E'\n1.\n   ```\n"
                                        "   make\n   ```\nE\n```",
        "heredoc with a bash fence": "I write.\n\n```bash\ncat > a.md <<'E'\n```bash\nx\n```\nE\n"
                                     "```",
    },
    "a fence without a language behind the bash block": {
        "heredoc with plain fences": "I write.\n\n```bash\ncat > a.md <<'E'\nUsage:\n"
                                     "```\npip install x\n```\nE\n```",
    },
    "a bash block inside another block": {
        "bash block inside another": "I write.\n\n```markdown\n```bash\nls\n```\n```",
    },
    "an observation made up behind the bash block": {
        "made-up observation": f"Look.\n\n{LS}\n\nObservation: a.py b.py",
        "made-up observation in capitals": f"Look.\n\n{LS}\n\nOBSERVATION:\na.py",
        "made-up observation in bold": f"Look.\n\n{LS}\n\n**Observation:** a.py",
        "made-up observation as a heading": f"Look.\n\n{LS}\n\n### Observation\n\na.py b.py",
        "made-up output element": f"Look.\n\n{LS}\n\n<output>\na.py\n</output>",
        "made-up return code": f"Look.\n\n{LS}\n\n<returncode>0</returncode>",
        "made-up output in a block": f"Look.\n\n{LS}\n\n```\nObservation: a.py\n```",
    },
    "the answer has a NUL byte": {
        "NUL byte": f"THOUGHT: a\x00b.\n\n{LS}",
        "NUL byte in the command": "THOUGHT: Look.\n\n```bash\nprintf 'a\x00'\n```",
    },
    "the answer has a lone surrogate (half a character)": {
        "lone surrogate": f"THOUGHT: a\ud800b.\n\n{LS}",
        "lone surrogate in the command": "THOUGHT: Look.\n\n```bash\necho \udfff\n```",
    },
}


@pytest.mark.parametrize("name", GOOD)
def test_a_turn_passes_and_a_harness_runs_the_very_command(name):
    reply, command = GOOD[name]
    assert format_problem(reply) is None
    assert parse_turn(reply).command == command
    assert [found.strip("\r\n") for found in HARNESS.findall(clean(reply))] == [command]


@pytest.mark.parametrize("reason", BAD)
def test_what_is_no_turn_is_refused_with_the_reason(reason):
    problems = {name: format_problem(reply) for name, reply in BAD[reason].items()}
    assert problems == dict.fromkeys(BAD[reason], reason)
    assert not any(map(parse_turn, BAD[reason].values()))


@pytest.mark.parametrize("seed", range(20))
def test_whatever_passes_has_just_one_command_for_a_harness(seed):
    """Check random arrangements of what replies are made of."""
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
        if not format_problem(reply):
            accepted += 1
            commands = [found.strip() for found in HARNESS.findall(clean(reply))]
            assert commands == [parse_turn(reply).command.strip()], reply
    assert accepted > 100


@pytest.mark.parametrize("name", ["as asked", "thinking before"])
def test_a_truncated_reply_is_none_whatever_it_holds(name):
    reply, _ = GOOD[name]
    assert format_problem(reply, truncated=True) == "truncated at max_tokens"


@pytest.mark.parametrize("reply, thought", [
    (f"THOUGHT: I look.\n\n{LS}", "I look."), (f"**Thought:** I look.\n\n{LS}", "I look."),
    (f"I look.\n{LS}", "I look."),
    (f"I look. My thoughts: none.\n{LS}", "I look. My thoughts: none."),
    (f"<think>hm</think>THOUGHT: I look.\n{LS}\nbye", "I look."),
    (f"One.\n\n```python\nx\n```\n\nTwo.\n{LS}", "One.\n\n\nTwo."),
])
def test_the_thought_of_a_turn_is_without_its_label(reply, thought):
    assert parse_turn(reply).thought == thought


@pytest.mark.parametrize("reply, cleaned", [
    ("<think>a</think>\n\nTHOUGHT: b", "THOUGHT: b"), ("a\n</think>\n\nb", "b"), ("<think>a", ""),
    ("  b \n", "b"),
    ("b", "b"),
    ("<think>a</think><think>b</think>c", "c"),
    ("<thinking>a</thinking>\n<think>b</think>\nc", "c"),
    ("<think>a</think>\n<thinking>b</thinking>\nc", "c"),
], ids=["before", "no opening tag", "no end", "blanks", "none", "twice", "two kinds",
        "two kinds turned round"])
def test_leaked_thinking_is_cut_off(reply, cleaned):
    assert clean(reply) == cleaned


@pytest.mark.parametrize("behind", ["<think>That should do.</think>",
                                    "<think>That should do.</think>\n\nBye.", "<think>or should I"])
def test_thinking_behind_the_block_is_in_no_record_either(behind):
    reply = f"THOUGHT: I look.\n\n{LS}\n\n{behind}"
    assert format_problem(reply) or "think>" not in clean(reply)


@pytest.mark.parametrize("name", ["a closing think tag in the prose", "a think tag in the command"])
def test_a_turn_that_speaks_of_a_tag_is_left_whole(name):
    assert clean(GOOD[name][0]) == GOOD[name][0]


def test_cleaning_twice_changes_nothing():
    for table in (PLAIN, *BAD.values()):
        assert all(clean(clean(reply)) == clean(reply) for reply in table.values())


HUGE = [before + part * (1_000_000 // len(part)) + behind for before, part, behind in (
    ("", "word ", f"\n{LS}"), ("", "THOUGHT ", f"\n{LS}"),
    ("THOUGHT: ", "look at it. ", f"\n{LS}\n\nand then"), ("Look.", " ", f"x\n{LS}"),
    ("Look.", "\n", f"x\n{LS}"), ("Look.", "*", f"\n{LS}"), ("Look.", "* ", f"\n{LS}"),
    (f"Look.\n{LS}", "\n", "x"), (f"Look.\n{LS}\n", " ", "x"), (f"Look.\n{LS}\n", "*", "x"),
    ("Look.\n", f"{LS}\n", ""), ("Look.\n```bash\n", "ls\n", "```"), ("", "```bash\n", ""),
    ("Look.\n", "```\n", LS), ("Look.\n", "`", f"\n{LS}"), ("Look.\n```", " ", f"x\n```\n{LS}"),
    ("Look.\n```", "x", f"\n```\n{LS}"), ("", "<think>", ""), ("", "</think>", LS),
    ("", "<think>a</think>", f"Look.\n{LS}"))]


@pytest.mark.long
def test_a_megabyte_of_anything_is_judged():
    """Run it in a process that can be ended: where it is not linear, it takes hours."""
    program = "import test_format; list(map(test_format.format_problem, test_format.HUGE))"
    subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).parent, check=True,
                   timeout=100)
