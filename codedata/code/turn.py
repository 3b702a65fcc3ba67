r"""Check that a turn is well-formed: prose, then exactly one non-empty bash block.

    THOUGHT: I look at the parser first.          (the prose is required, the label is not)

    ```bash
    sed -n '1,80p' src/parser.py
    ```

The rules apply in this order. An agent's harness runs the text between "```bash" at the end of a
line and the next line that starts with "```". In a turn that passes, this is the same command.

1.  A reply that was cut at its token limit is not a turn.
2.  Leaked thinking (`<think>…</think>`, also without its opening tag) is removed first. If it has
    no closing tag, nothing remains. A tag in backticks is a mention of the tag, and is kept.
3.  NUL bytes and lone surrogates do not pass, because they cannot be stored.
4.  `<|tool_calls_section_begin|>` at the start does not pass: that is another tool call protocol.
5.  There is exactly one bash block, opened by a line "```bash" and closed by a line "```"; both
    lines may end in blanks. A second one, a missing end, "```sh", "```bash ls```" on one line, and
    indented or longer fences do not pass. Blocks of other languages may come before it, and after
    it if they name their language. A fence inside it does not pass.
6.  The block contains more than whitespace.
7.  Prose comes before the block; a label alone or a block of code is not prose.
8.  Prose may follow the block, but not an observation that the model made up. No prose contains
    thinking tags or special tokens (`<|im_end|>`), unless in backticks.
"""
from __future__ import annotations

import re

from codedata.records import text_problem

TOOL_CALLS = "<|tool_calls_section_begin|>"
CLOSING_TAGS = ("</think>", "</thinking>", "◁/think▷")
# thinking at the start of a text; without a closing tag it goes on to the end
THINKING = re.compile(r"(?:\s*(?:<(think(?:ing)?)>.*?(?:</\1>|\Z)|◁think▷.*?(?:◁/think▷|\Z)))*\s*",
                      re.DOTALL)
# this matches thinking tags and special tokens such as <|im_end|>
TAG = re.compile(r"(?<!`)(?:</?think(?:ing)?>|◁/?think▷|<\|\w+\|>)")
FENCE = re.compile(r" {0,3}(`{3,})(.*)\Z")   # groups: its ticks, and the text after them
# the text that a harness runs; takes linear time in a text that ends with a fence
HARNESS = re.compile(r"```bash[ \t]*\r?\n(.*?)\n```", re.DOTALL)
# repeats are bounded, so that a megabyte of stars or line ends does not take quadratic time
LABEL = re.compile(r"\A[#*_ ]{0,8}THOUGHTS?[*_]{0,4}"
                   r"(?:[ ]{0,4}[:：][*_]{0,4}|[ ]{0,8}(?=\n|\Z))", re.IGNORECASE)
OBSERVATION = re.compile(
    r"^[ \t>#*_]{0,8}(?:observations?[*_ ]{0,6}(?::|\r?$)|<(?:output|returncode|observation)\b)",
    re.IGNORECASE | re.MULTILINE)


def clean(text: str) -> str:
    """Return the reply without leaked thinking and outer blanks, or "" if thinking has no end."""
    text = text.strip()
    before_blocks = text.partition("```")[0]
    start = 0
    for tag in CLOSING_TAGS:   # the opening tag may have been part of the prompt template
        end = before_blocks.rfind(tag)
        if end >= 0 and text[end - 1:end] != "`":
            start = max(start, end + len(tag))
    return text[THINKING.match(text, start).end():]


def format_problem(text: str, truncated: bool = False) -> str | None:
    """Return in a few words why a reply is not a well-formed turn, or None if it is one."""
    return "truncated at max_tokens" if truncated else Turn(clean(text)).problem()


def parse_turn(text: str) -> Turn | None:
    """Return a reply as a turn if it is well-formed, else None."""
    turn = Turn(clean(text))
    return None if turn.problem() else turn


def has_one_bash_block(text: str) -> bool:
    """Return whether a turn has exactly one non-empty bash block; check no other rule."""
    turn = Turn(text)
    return not turn.fault and len(turn.bash) == 1 and bool(turn.command.strip())


class Turn:
    """Hold a reply, read as a turn up to its first faulty fence."""

    def __init__(self, text: str):
        lines = text.split("\n")
        self.text = text
        self.in_blocks: set[int] = set()        # the lines of all blocks, with their fences
        self.bash: list[tuple[int, int]] = []   # the lines of the fences of each bash block
        self.fault = self._read_blocks(lines)   # what is wrong with the faulty fence, or None
        first, last = self.bash[0] if self.bash else (0, 0)
        self.command = "\n".join(lines[first + 1:last]).strip("\r\n")
        prose = [line for i, line in enumerate(lines[:first]) if i not in self.in_blocks]
        self.thought = LABEL.sub("", "\n".join(prose).strip()).strip()
        self.behind = "\n".join(lines[last + 1:])

    def problem(self) -> str | None:
        """Return why this is not a well-formed turn, or None if it is one."""
        if not self.text:
            return "empty answer"
        if problem := text_problem(self.text):
            return f"the answer {problem}"
        if self.text.startswith(TOOL_CALLS):
            return "a tool call, not a bash block"
        if not self.bash:
            return self.fault or "no bash block"
        if len(self.bash) > 1:
            return f"{len(self.bash)} bash blocks"
        if OBSERVATION.search(self.behind):
            return "an observation made up after the bash block"
        if self.fault:
            return self.fault
        if not self.command.strip():
            return "an empty bash block"
        commands = HARNESS.findall(self.text[:self.text.rfind("\n```") + 4])
        if [command.strip("\r\n") for command in commands] != [self.command]:
            return "fences that a harness reads differently"
        if not any(map(str.isalnum, self.thought)):
            return "no thought before the bash block"
        if TAG.search(self.thought) or TAG.search(self.behind):
            return "thinking tags or special tokens in the prose"
        return None

    def _read_blocks(self, lines: list[str]) -> str | None:
        """Find the blocks, and return what is wrong with the first faulty fence, or None."""
        start, ticks, language = -1, "", ""   # of the open block: its line is -1 outside of blocks
        for i, line in enumerate(lines):
            line = line.rstrip(" \t\r")
            fence = FENCE.match(line)
            if not fence:
                continue
            info = fence[2].strip()
            if start < 0:
                if "`" in info:
                    continue
                if info.split()[:1] == ["bash"] and line != "```bash":
                    return "a bash block that does not open with a line ```bash"
                if not info and self.bash:
                    return "a fence without a language after the bash block"
                start, ticks, language = i, fence[1], info
                continue
            if language == "bash" and line != "```":
                return "a fence inside the bash block"
            if line == "```bash":
                return "a bash block inside another block"
            if info or len(fence[1]) < len(ticks):
                continue   # a line of the block
            self.in_blocks.update(range(start, i + 1))
            if language == "bash":
                self.bash.append((start, i))
            start = -1
        if start < 0:
            return None
        return "a bash block without an end" if language == "bash" else "a block without an end"
